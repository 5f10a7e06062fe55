//! Who sends us mail, by address: how many messages, and whether a sender has been here
//! before (greylisting). In memory alone: after a restart all are strangers.

use crate::store::MAX_UPLOADS;
use async_lock::Semaphore;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sources, and greylisted senders, that are remembered at once.
const MAX_KNOWN: usize = 20_000;
/// Seconds over which messages are counted.
const WINDOW: i64 = 60;
/// A stranger's first attempt is put off by so many seconds at least …
const GREY_DELAY: i64 = 60;
/// … and counts for so long, in seconds.
const GREY_PATIENCE: i64 = 2 * 24 * 3600;
/// Who has come back is known for so long, in seconds.
const GREY_MEMORY: i64 = 35 * 24 * 3600;

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
    /// Begin of the window, messages in it.
    messages: HashMap<IpAddr, (i64, u32)>,
    grey: HashMap<(IpAddr, String, String), Grey>,
}

/// When a triplet came first, and whether it has come back in time.
#[derive(Clone, Copy)]
struct Grey {
    since: i64,
    known: bool,
}

impl Sources {
    /// Counts a message; false if the source has sent `limit` in a minute. `now` in seconds.
    pub fn may_send(&self, peer: IpAddr, limit: u32, now: i64) -> bool {
        let mut known = self.lock();
        make_room(&mut known.messages, |(since, _)| since + WINDOW > now);
        let window = known.messages.entry(masked(peer, 32)).or_insert((now, 0));
        if window.0 + WINDOW <= now {
            *window = (now, 0);
        }
        window.1 += 1;
        window.1 <= limit
    }

    /// Whether this sender should come again later. `now` in seconds.
    pub fn is_stranger(&self, peer: IpAddr, sender: &str, recipient: &str, now: i64) -> bool {
        let lasts = |it: &Grey| {
            let time = if it.known { GREY_MEMORY } else { GREY_PATIENCE };
            it.since + time > now
        };
        let mut known = self.lock();
        make_room(&mut known.grey, lasts);
        let key = (masked(peer, 24), sender.to_owned(), recipient.to_owned());
        let first = Grey {
            since: now,
            known: false,
        };
        let grey = known.grey.entry(key).or_insert(first);
        if !lasts(grey) {
            *grey = first;
        }
        if grey.known || grey.since + GREY_DELAY <= now {
            *grey = Grey {
                since: now,
                known: true,
            };
        }
        !grey.known
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        assert!(waits("192.0.2.1", 61 + GREY_MEMORY));
    }

    #[test]
    fn memory_has_an_end() {
        let sources = Sources::default();
        for n in 0..(MAX_KNOWN as u32 + 10) {
            sources.may_send(IpAddr::V4(n.into()), 1, 0);
            sources.is_stranger(ip("192.0.2.1"), &n.to_string(), "", 0);
        }
        assert!(sources.lock().messages.len() <= MAX_KNOWN);
        assert!(sources.lock().grey.len() <= MAX_KNOWN);
    }
}
