//! What is remembered of sources in the store: the counts under one name, the greylist under
//! several, so that a new sender costs one of them.

use super::{GREY_MEMORY, Grey, HOUR, Known, Sources, Window};
use crate::store::{MAX_REMEMBERED, Snapshot, Store};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Names of the greylist's parts end in a number below this.
const PARTS: usize = 8;
/// Bytes of one source and of one sender.
const SOURCE: usize = 16 + 8 + 4 + 1;
const SENDER: usize = 8 + 8 + 1;

/// A name and its value, as [`Store::remember`] takes them.
type Remembered = (String, Option<Vec<u8>>);

/// What has changed since it was saved.
#[derive(Default)]
pub struct Unsaved {
    pub counts: bool,
    grey: [bool; PARTS],
}

impl Unsaved {
    pub fn grey(&mut self, key: u64) {
        if let Some(part) = self.grey.get_mut(part_of(key)) {
            *part = true;
        }
    }
}

impl Sources {
    /// Those that were remembered. What can't be read is forgotten.
    pub fn restore(store: &Store) -> Sources {
        let sources = Sources::default();
        let read = store.look(|snapshot| {
            read(snapshot, &mut sources.lock())?;
            Ok(())
        });
        if let Err(error) = read {
            log::warn!("who sent mail before can't be read: {error}");
        }
        sources
    }

    /// What is to be remembered now.
    fn unsaved(&self, now: i64) -> Vec<Remembered> {
        let known = &mut *self.lock();
        let unsaved = std::mem::take(&mut known.unsaved);
        let mut values = Vec::new();
        if unsaved.counts {
            values.push((COUNTS.to_owned(), Some(write_counts(known, now))));
        }
        for (part, _) in unsaved.grey.iter().enumerate().filter(|it| *it.1) {
            let value = write_grey(&known.grey, part, now);
            values.push((name_of(part), Some(value)));
        }
        values
    }

    /// Saves what is unsaved; what could not be is tried again next time.
    pub async fn save(&self, store: &Store) {
        let values = self.unsaved(jiff::Timestamp::now().as_second());
        if values.is_empty() {
            return;
        }
        let parts: Vec<String> = values.iter().map(|it| it.0.clone()).collect();
        if let Err(error) = store.remember(values).await {
            log::warn!("who sent mail can't be remembered: {error}");
            let unsaved = &mut self.lock().unsaved;
            unsaved.counts |= parts.iter().any(|it| it == COUNTS);
            for (part, changed) in unsaved.grey.iter_mut().enumerate() {
                *changed |= parts.contains(&name_of(part));
            }
        }
    }
}

const COUNTS: &str = "sources";

fn name_of(part: usize) -> String {
    format!("greylist {part}")
}

fn part_of(key: u64) -> usize {
    usize::try_from(key % PARTS as u64).unwrap_or_default()
}

fn read(snapshot: &Snapshot, known: &mut Known) -> crate::store::Result<()> {
    for row in snapshot
        .remembered(COUNTS)?
        .unwrap_or_default()
        .chunks_exact(SOURCE)
    {
        read_source(row, known);
    }
    for part in 0..PARTS {
        let value = snapshot.remembered(&name_of(part))?.unwrap_or_default();
        let rows = value.chunks_exact(SENDER).filter_map(read_sender);
        known.grey.extend(rows);
    }
    Ok(())
}

/// Address, begin, count, and which of the two it is.
fn write_counts(known: &Known, now: i64) -> Vec<u8> {
    let messages = known.messages.iter().map(|it| (it, 0));
    let guesses = known.guesses.iter().map(|it| (it, 1));
    let mut rows: Vec<_> = messages
        .chain(guesses)
        .filter(|((_, window), _)| window.lasts(HOUR, now))
        .collect();
    // Who sends most is remembered best.
    rows.sort_unstable_by_key(|((_, window), _)| std::cmp::Reverse(window.count));
    rows.truncate(MAX_REMEMBERED / SOURCE);
    let mut out = Vec::with_capacity(rows.len() * SOURCE);
    for ((source, window), kind) in rows {
        let six = match source {
            IpAddr::V4(four) => four.to_ipv6_mapped(),
            IpAddr::V6(six) => *six,
        };
        out.extend(six.octets());
        out.extend(window.since.to_be_bytes());
        out.extend(window.count.to_be_bytes());
        out.push(kind);
    }
    out
}

fn read_source(row: &[u8], known: &mut Known) {
    let Some((address, row)) = row.split_first_chunk::<16>() else {
        return;
    };
    let (Some((since, row)), source) = (
        row.split_first_chunk::<8>(),
        Ipv6Addr::from(*address).to_canonical(),
    ) else {
        return;
    };
    let Some((count, kind)) = row.split_first_chunk::<4>() else {
        return;
    };
    let window = Window {
        since: i64::from_be_bytes(*since),
        count: u32::from_be_bytes(*count),
    };
    let map = match kind {
        [0] => &mut known.messages,
        _ => &mut known.guesses,
    };
    map.insert(source, window);
}

/// Hash, begin, and whether it is known.
fn write_grey(grey: &HashMap<u64, Grey>, part: usize, now: i64) -> Vec<u8> {
    let ours = grey.iter().filter(|(key, _)| part_of(**key) == part);
    let mut rows: Vec<_> = ours.filter(|(_, it)| it.lasts(now)).collect();
    rows.sort_unstable_by_key(|(_, it)| std::cmp::Reverse((it.known, it.since)));
    rows.truncate(MAX_REMEMBERED / SENDER);
    let mut out = Vec::with_capacity(rows.len() * SENDER);
    for (key, it) in rows {
        out.extend(key.to_be_bytes());
        out.extend(it.since.to_be_bytes());
        out.push(u8::from(it.known));
    }
    out
}

fn read_sender(row: &[u8]) -> Option<(u64, Grey)> {
    let (key, row) = row.split_first_chunk::<8>()?;
    let (since, known) = row.split_first_chunk::<8>()?;
    let since = i64::from_be_bytes(*since);
    let grey = Grey {
        // A clock that was wrong must not make it last for ever.
        since: since.clamp(0, i64::MAX - GREY_MEMORY),
        known: known == [1],
    };
    Some((u64::from_be_bytes(*key), grey))
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_KNOWN, MINUTE};
    use super::*;
    use crate::store::Options;
    use crate::store::simdisk::SimDisk;
    use smol::block_on;
    use std::sync::Arc;

    const NOW: i64 = 1_800_000_000;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn store() -> Store {
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        Store::open_on(Arc::new(SimDisk::default()), options).unwrap()
    }

    #[test]
    fn a_restart_makes_nobody_a_stranger() {
        let store = store();
        let sources = Sources::restore(&store);
        for source in ["192.0.2.1", "2001:db8::1"] {
            assert!(sources.is_stranger(ip(source), "a@b", "c@d", NOW));
            assert!(!sources.is_stranger(ip(source), "a@b", "c@d", NOW + 60));
            assert!(sources.may_send(ip(source), 1, NOW));
            sources.has_guessed(ip(source), NOW);
        }
        assert!(!sources.may_send(ip("192.0.2.1"), 1, NOW));
        block_on(store.remember(sources.unsaved(NOW + 59))).unwrap();
        assert!(sources.unsaved(NOW).is_empty());
        let sources = Sources::restore(&store);
        for source in ["192.0.2.1", "2001:db8::1"] {
            assert!(!sources.is_stranger(ip(source), "a@b", "c@d", NOW + 61));
            assert!(sources.is_stranger(ip(source), "x@b", "c@d", NOW + 61));
            assert!(!sources.may_send(ip(source), 1, NOW + MINUTE - 1));
            assert!(sources.guesses(ip(source), 1, NOW + HOUR - 1));
            assert!(sources.may_send(ip(source), 1, NOW + MINUTE));
        }
    }

    #[test]
    fn only_what_matters_is_saved() {
        let sources = Sources::default();
        assert!(sources.unsaved(NOW).is_empty());
        sources.may_send(ip("192.0.2.1"), 1, NOW);
        assert!(sources.unsaved(NOW).is_empty());
        for _ in 0..3 {
            sources.may_send(ip("192.0.2.1"), 1, NOW);
        }
        assert_eq!(sources.unsaved(NOW).len(), 1);
        sources.is_stranger(ip("192.0.2.1"), "a@b", "c@d", NOW);
        assert_eq!(sources.unsaved(NOW).len(), 1);
        // It is known from then on; that it comes again is not worth a write.
        sources.is_stranger(ip("192.0.2.1"), "a@b", "c@d", NOW + 60);
        assert_eq!(sources.unsaved(NOW).len(), 1);
        sources.is_stranger(ip("192.0.2.1"), "a@b", "c@d", NOW + 61);
        assert!(sources.unsaved(NOW).is_empty());
    }

    #[test]
    fn the_largest_memory_fits() {
        let sources = Sources::default();
        for n in 0..(MAX_KNOWN as u32 - 1) {
            let peer = IpAddr::V4(n.into());
            sources.may_send(peer, 1, NOW);
            sources.has_guessed(peer, NOW);
            sources.is_stranger(peer, &n.to_string(), "", NOW);
        }
        let values = sources.unsaved(NOW);
        assert_eq!(values.len(), 1 + PARTS);
        let store = store();
        block_on(store.remember(values)).unwrap();
        let read = Sources::restore(&store);
        assert!(read.lock().grey.len() > MAX_KNOWN * 9 / 10);
        // Rubbish is no sender.
        let odd = vec![("sources".to_owned(), Some(vec![0xff; 100]))];
        block_on(store.remember(odd)).unwrap();
        assert!(Sources::restore(&store).unsaved(NOW).is_empty());
    }
}
