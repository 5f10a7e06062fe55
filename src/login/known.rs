//! Where people logged in before: from there their next login passes whoever else guesses at
//! their name. Pure: the caller gives the time, and keeps what [`Known::unsaved`] gives.

use crate::net::source::Network;
use std::collections::HashMap;

/// Places that are known; past that the one of which was longest nothing heard goes.
const MAX_PLACES: usize = 4096;
/// How long a place is known after the last login from there, in days.
const KNOWN_FOR: u32 = 60;
/// Names of saved parts end in a number below this.
pub const PARTS: usize = 4;
/// Bytes of a saved place.
const PLACE: usize = 16 + 8 + 4;

/// A network, and a login name's keyed hash.
type Place = (Network, u64);

#[derive(Default)]
pub struct Known {
    /// With the day of the last login, counted from 1970.
    places: HashMap<Place, u32>,
    unsaved: [bool; PARTS],
}

impl Known {
    /// Whether that name has logged in from there of late.
    pub fn knows(&self, network: Network, name: u64, today: u32) -> bool {
        let day = self.places.get(&(network, name));
        day.is_some_and(|day| lasts(*day, today))
    }

    /// Whether anybody has.
    pub fn knows_network(&self, network: Network, today: u32) -> bool {
        let mut places = self.places.iter();
        places.any(|((at, _), day)| *at == network && lasts(*day, today))
    }

    pub fn met(&mut self, network: Network, name: u64, today: u32) {
        let place = (network, name);
        if self.places.get(&place) == Some(&today) {
            return;
        }
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&place) {
            let stalest = self.places.iter().min_by_key(|(_, day)| **day);
            if let Some(stalest) = stalest.map(|(place, _)| *place) {
                self.places.remove(&stalest);
                self.changed(stalest.1);
            }
        }
        self.places.insert(place, today);
        self.changed(name);
    }

    /// The parts that have changed since the last call, each with what it is now.
    pub fn unsaved(&mut self, today: u32) -> Vec<(usize, Vec<u8>)> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let parts = (0..PARTS).filter(|part| unsaved.get(*part) == Some(&true));
        parts.map(|part| (part, self.write(part, today))).collect()
    }

    /// What could not be saved is to be saved yet.
    pub fn not_saved(&mut self) {
        self.unsaved = [true; PARTS];
    }

    /// Takes what a part was saved as; of what is damaged, as much as there is.
    pub fn read(&mut self, saved: &[u8]) {
        for place in saved.chunks_exact(PLACE).take(MAX_PLACES) {
            let (network, rest) = place.split_at(16);
            let (name, day) = rest.split_at(8);
            let fixed = (network.try_into(), name.try_into(), day.try_into());
            if let (Ok(network), Ok(name), Ok(day)) = fixed {
                let place = (Network::from_bytes(network), u64::from_le_bytes(name));
                self.places.insert(place, u32::from_le_bytes(day));
            }
        }
    }

    fn write(&self, part: usize, today: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for ((network, name), day) in &self.places {
            if part_of(*name) == part && lasts(*day, today) {
                out.extend_from_slice(&network.to_bytes());
                out.extend_from_slice(&name.to_le_bytes());
                out.extend_from_slice(&day.to_le_bytes());
            }
        }
        out
    }

    fn changed(&mut self, name: u64) {
        if let Some(part) = self.unsaved.get_mut(part_of(name)) {
            *part = true;
        }
    }
}

fn lasts(day: u32, today: u32) -> bool {
    // A clock that was set back makes nobody a stranger.
    today.saturating_sub(day) <= KNOWN_FOR
}

fn part_of(name: u64) -> usize {
    (name % PARTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(a: u8, b: u8) -> Network {
        Network::new([192, 0, a, b].into())
    }

    #[test]
    fn a_place_is_known_for_a_while_to_its_name() {
        let mut known = Known::default();
        known.met(network(2, 1), 7, 100);
        assert!(known.knows(network(2, 99), 7, 100), "the same network");
        assert!(!known.knows(network(3, 1), 7, 100));
        assert!(!known.knows(network(2, 1), 8, 100), "another name");
        assert!(known.knows(network(2, 1), 7, 100 + KNOWN_FOR));
        assert!(!known.knows(network(2, 1), 7, 101 + KNOWN_FOR));
        assert!(known.knows_network(network(2, 5), 99));
        assert!(!known.knows_network(network(3, 5), 100));
    }

    #[test]
    fn it_is_read_as_it_was_saved_and_saved_when_it_changes() {
        let mut known = Known::default();
        (0..20).for_each(|n| known.met(network(n, 1), n.into(), 100));
        let saved = known.unsaved(100);
        assert_eq!(saved.len(), PARTS);
        known.met(network(3, 1), 3, 100);
        assert_eq!(known.unsaved(100), [], "the same day is no news");
        known.met(network(3, 1), 3, 101);
        assert_eq!(known.unsaved(101).len(), 1);
        let mut again = Known::default();
        saved.iter().for_each(|(_, bytes)| again.read(bytes));
        assert!((0..20).all(|n| again.knows(network(n, 9), n.into(), 100)));
        again.read(b"damaged");
        assert_eq!(again.places.len(), 20);
    }

    #[test]
    fn there_is_room_for_so_many_and_the_stalest_goes() {
        let mut known = Known::default();
        (0..MAX_PLACES as u64 + 5).for_each(|name| {
            known.met(network(2, 1), name, 100 + name as u32);
        });
        assert_eq!(known.places.len(), MAX_PLACES);
        let today = 100 + MAX_PLACES as u32;
        assert!(known.knows(network(2, 1), MAX_PLACES as u64, today));
        let longest = (0..PARTS).map(|part| known.places.len().div_ceil(PARTS) * PLACE + part);
        assert!(longest.max() < Some(crate::store::MAX_REMEMBERED));
    }
}
