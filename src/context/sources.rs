//! Who sends us mail, by address: how many messages, how many recipients that are not here,
//! and whether a sender has been here before (greylisting). Kept in memory, and remembered in
//! the store now and then: a restart makes nobody a stranger.

mod saved;

use crate::store::MAX_UPLOADS;
use async_lock::Semaphore;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sources, and greylisted senders, that are known at once.
const MAX_KNOWN: usize = 20_000;
/// Seconds over which messages are counted …
const MINUTE: i64 = 60;
/// … and unknown recipients.
const HOUR: i64 = 3600;
/// A stranger's first attempt is put off by so many seconds at least …
const GREY_DELAY: i64 = 60;
/// … and counts for so long, in seconds.
const GREY_PATIENCE: i64 = 2 * 24 * 3600;
/// Who has come back is known for so long, in seconds …
const GREY_MEMORY: i64 = 35 * 24 * 3600;
/// … after the last time that he came, to the day.
const GREY_STEP: i64 = 24 * 3600;

pub struct Sources {
    known: Mutex<Known>,
    /// Messages of other servers that may come in at once: users have the other half of the
    /// places.
    pub arrivals: Arc<Semaphore>,
}

impl Default for Sources {
    fn default() -> Sources {
        Sources {
            known: Mutex::default(),
            arrivals: Arc::new(Semaphore::new(MAX_UPLOADS / 2)),
        }
    }
}

#[derive(Default)]
struct Known {
    messages: HashMap<IpAddr, Window>,
    /// On submission; a restart begins anew.
    submitted: HashMap<IpAddr, Window>,
    guesses: HashMap<IpAddr, Window>,
    /// By a hash of network, sender and recipient.
    grey: HashMap<u64, Grey>,
    /// What the store does not know yet.
    unsaved: saved::Unsaved,
}

/// A count, and when it began, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    since: i64,
    count: u32,
}

/// When a triplet came first, and whether it has come back in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grey {
    since: i64,
    known: bool,
}

impl Grey {
    fn lasts(&self, now: i64) -> bool {
        let time = if self.known {
            GREY_MEMORY
        } else {
            GREY_PATIENCE
        };
        self.since + time > now
    }
}

impl Window {
    fn lasts(&self, length: i64, now: i64) -> bool {
        self.since + length > now
    }
}

impl Sources {
    /// Counts a message; false if the source has sent `limit` in a minute. `now` in seconds.
    pub fn may_send(&self, peer: IpAddr, limit: u32, now: i64) -> bool {
        let mut known = self.lock();
        let count = count(&mut known.messages, peer, MINUTE, now);
        // Who is over it stays so after a restart; the others are not worth a write.
        known.unsaved.counts |= count.checked_sub(limit) == Some(1);
        count <= limit
    }

    /// As [`Sources::may_send`], of what users submit.
    pub fn may_submit(&self, peer: IpAddr, limit: u32, now: i64) -> bool {
        count(&mut self.lock().submitted, peer, MINUTE, now) <= limit
    }

    /// Counts a recipient that is not here.
    pub fn has_guessed(&self, peer: IpAddr, now: i64) {
        let mut known = self.lock();
        count(&mut known.guesses, peer, HOUR, now);
        known.unsaved.counts = true;
    }

    /// Whether the source has asked for `limit` such recipients in an hour.
    pub fn guesses(&self, peer: IpAddr, limit: u32, now: i64) -> bool {
        let known = self.lock();
        let window = known.guesses.get(&masked(peer, 32));
        window.is_some_and(|it| it.lasts(HOUR, now) && it.count >= limit)
    }

    /// Whether this sender should come again later. `now` in seconds.
    pub fn is_stranger(&self, peer: IpAddr, sender: &str, recipient: &str, now: i64) -> bool {
        let known = &mut *self.lock();
        make_room(&mut known.grey, |it| it.lasts(now));
        let key = triplet(peer, sender, recipient);
        let first = Grey {
            since: now,
            known: false,
        };
        let before = known.grey.get(&key).copied();
        let grey = before.filter(|it| it.lasts(now)).unwrap_or(first);
        let (due, stale) = (
            grey.since + GREY_DELAY <= now,
            grey.since + GREY_STEP <= now,
        );
        let grey = match grey.known {
            true if stale => Grey { since: now, ..grey },
            false if due => Grey {
                since: now,
                known: true,
            },
            _ => grey,
        };
        if before != Some(grey) {
            known.grey.insert(key, grey);
            known.unsaved.grey(key);
        }
        !grey.known
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more of that source; gives how many in this time.
fn count(map: &mut HashMap<IpAddr, Window>, peer: IpAddr, length: i64, now: i64) -> u32 {
    make_room(map, |it| it.lasts(length, now));
    let fresh = Window {
        since: now,
        count: 0,
    };
    let window = map.entry(masked(peer, 32)).or_insert(fresh);
    if !window.lasts(length, now) {
        *window = fresh;
    }
    window.count = window.count.saturating_add(1);
    window.count
}

/// Network, sender and recipient in eight bytes: two that agree only make each other known.
fn triplet(peer: IpAddr, sender: &str, recipient: &str) -> u64 {
    let text = format!("{}\0{sender}\0{recipient}", masked(peer, 24));
    let hash = digest(&SHA256, text.as_bytes());
    let bytes = hash.as_ref().iter().take(8);
    bytes.fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Forgets what is over where there is no room; all of it if nothing is.
fn make_room<K: Eq + Hash, V>(map: &mut HashMap<K, V>, lasts: impl Fn(&V) -> bool) {
    if map.len() < MAX_KNOWN {
        return;
    }
    map.retain(|_, value| lasts(value));
    if map.len() >= MAX_KNOWN {
        map.clear();
    }
}

/// One customer: of IPv6 a /64, of IPv4 so many bits.
fn masked(peer: IpAddr, bits: u32) -> IpAddr {
    match peer {
        IpAddr::V4(four) => {
            let mask = u32::MAX << (32 - bits.clamp(1, 32));
            IpAddr::V4(Ipv4Addr::from(u32::from(four) & mask))
        }
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from(u128::from(six) & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn messages_are_counted_by_the_minute() {
        let sources = Sources::default();
        let may = |now| sources.may_send(ip("192.0.2.1"), 2, now);
        assert_eq!(
            [may(0), may(1), may(2), may(59)],
            [true, true, false, false]
        );
        assert!(sources.may_send(ip("192.0.2.2"), 2, 59));
        assert!(may(60));
    }

    #[test]
    fn strangers_come_again() {
        let sources = Sources::default();
        let waits = |peer, now| sources.is_stranger(ip(peer), "a@b", "c@d", now);
        assert!(waits("192.0.2.1", 0));
        assert!(waits("192.0.2.1", 59));
        // From a neighbour of the same farm.
        assert!(!waits("192.0.2.200", 60));
        assert!(!waits("192.0.2.1", 61));
        assert!(waits("198.51.100.1", 61));
        // Known to the day.
        assert!(!waits("192.0.2.1", 60 + GREY_MEMORY - 1));
        assert!(waits("192.0.2.1", 60 + 2 * GREY_MEMORY));
    }

    #[test]
    fn guesses_are_counted_by_the_hour() {
        let sources = Sources::default();
        let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for n in 0..3 {
            assert!(!sources.guesses(one, 3, n));
            sources.has_guessed(one, n);
        }
        assert!(sources.guesses(one, 3, 3) && !sources.guesses(two, 3, 3));
        assert!(!sources.guesses(one, 3, HOUR));
    }

    #[test]
    fn memory_has_an_end() {
        let sources = Sources::default();
        for n in 0..(MAX_KNOWN as u32 + 10) {
            sources.may_send(IpAddr::V4(n.into()), 1, 0);
            sources.is_stranger(ip("192.0.2.1"), &n.to_string(), "", 0);
            sources.has_guessed(IpAddr::V4(n.into()), 0);
        }
        assert!(sources.lock().guesses.len() <= MAX_KNOWN);
        assert!(sources.lock().messages.len() <= MAX_KNOWN);
        assert!(sources.lock().grey.len() <= MAX_KNOWN);
    }
}
