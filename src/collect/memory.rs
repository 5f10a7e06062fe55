//! What has been taken from a provider, so that nothing is taken twice. It is written in
//! the transaction that delivers, and what it does not say was not delivered.

use super::record::{MEMORY, Number};
use crate::mail::{Uid, UidSet};
use crate::store::codec::{Reader, put};
use crate::store::{Error, MAX_RECORD, Note, Result, Store};
use ring::digest;

/// Ranges of UIDs that are kept of one kind; with more, something is wrong over there.
pub const MAX_RANGES: usize = 4000;
/// Pages of one POP3 collector's memory: a delivery writes one of them.
const PAGES: usize = 64;
/// Bytes of a unique-id's hash: of 100,000, two are the same once in 10^19.
const HASH: usize = 12;
/// Entries that fit a page.
const MAX_ENTRIES: usize = MAX_RECORD / (HASH + 2);
/// How long the memory of a message outlives it at the provider, days: a list may be cut
/// short by a fault there.
pub const MEMORY_DAYS: u16 = 14;

/// What was taken from an IMAP mailbox: all up to a UID, but for some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uids {
    /// The one that the UIDs belong to, or 0.
    pub validity: u32,
    /// The highest UID taken or left, or 0.
    pub highest: u32,
    /// Those up to it that were too large, or were not given.
    pub left: UidSet,
    /// Taken, and still to be deleted or moved over there.
    pub pending: UidSet,
}

impl Uids {
    pub fn load(store: &Store, number: Number) -> Result<Uids> {
        match store.look(|it| it.record(MEMORY, &number.to_string()))? {
            Some(row) => Uids::decode(&row),
            None => Ok(Uids::default()),
        }
    }

    pub fn note(&self, number: Number) -> Note {
        Note {
            kind: MEMORY,
            key: number.to_string(),
            value: Some(self.encode()),
        }
    }

    /// Counts a message as dealt with.
    pub fn pass(&mut self, uid: Uid) {
        self.highest = self.highest.max(uid.get());
        self.left = without(&self.left, uid);
    }

    /// Counts a message as one that stays.
    pub fn leave(&mut self, uid: Uid) {
        self.highest = self.highest.max(uid.get());
        self.left.insert(uid);
    }

    /// Whether it was taken.
    pub fn has(&self, uid: Uid) -> bool {
        uid.get() <= self.highest && !self.left.contains(uid)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, u64::from(self.validity));
        put(&mut out, u64::from(self.highest));
        for set in [&self.left, &self.pending] {
            put(&mut out, set.ranges().len() as u64);
            let mut last = 0;
            for &(low, high) in set.ranges() {
                put(&mut out, u64::from(low - last));
                put(&mut out, u64::from(high - low));
                last = high;
            }
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Uids> {
        let row = &mut Reader(bytes);
        Ok(Uids {
            validity: row.take_u32()?,
            highest: row.take_u32()?,
            left: take_set(row)?,
            pending: take_set(row)?,
        })
    }
}

fn take_set(row: &mut Reader<'_>) -> Result<UidSet> {
    let wrong = || Error::Corrupt("what a collector has taken".into());
    let mut ranges = Vec::new();
    let mut last = 0u32;
    for _ in 0..row.take()? {
        let low = last.checked_add(row.take_u32()?).ok_or_else(wrong)?;
        last = low.checked_add(row.take_u32()?).ok_or_else(wrong)?;
        ranges.push((low, last));
    }
    Ok(UidSet::from_ranges(ranges))
}

fn without(set: &UidSet, uid: Uid) -> UidSet {
    if !set.contains(uid) {
        return set.clone();
    }
    let uid = uid.get();
    let ranges = set.ranges().iter().flat_map(|&(low, high)| {
        let (below, above) = (
            (low, high.min(uid - 1)),
            (low.max(uid.saturating_add(1)), high),
        );
        [below, above].into_iter().filter(|(low, high)| low <= high)
    });
    UidSet::from_ranges(ranges.collect())
}

/// A unique-id of POP3 (RFC 1939, 7), hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unique([u8; HASH]);

impl Unique {
    pub fn new(id: &str) -> Unique {
        let digest = digest::digest(&digest::SHA256, id.as_bytes());
        let mut hash = [0; HASH];
        hash.iter_mut()
            .zip(digest.as_ref())
            .for_each(|(to, from)| *to = *from);
        Unique(hash)
    }

    fn page(self) -> usize {
        usize::from(self.0[0]) % PAGES
    }
}

/// A message taken, and the day since when the provider lists it no more, or 0; days since
/// 1970.
type Entry = (Unique, u16);

/// What was taken by POP3.
#[derive(Debug)]
pub struct Uniques {
    /// Each in order.
    pages: Vec<Vec<Entry>>,
}

impl Uniques {
    pub fn load(store: &Store, number: Number) -> Result<Uniques> {
        store.look(|snapshot| {
            let mut pages = Vec::new();
            for page in 0..PAGES {
                let row = snapshot.record(MEMORY, &key(number, page))?;
                pages.push(decode(&row.unwrap_or_default())?);
            }
            Ok(Uniques { pages })
        })
    }

    pub fn contains(&self, unique: Unique) -> bool {
        let page = self.pages.get(unique.page());
        page.is_some_and(|page| find(page, unique).is_ok())
    }

    /// What is to be noted with the delivery of this message.
    pub fn add(&mut self, number: Number, unique: Unique) -> Result<Note> {
        let at = unique.page();
        let page = self.pages.get_mut(at).ok_or(Error::Limit("pages"))?;
        if page.len() >= MAX_ENTRIES {
            return Err(Error::Limit("messages that stay at the provider"));
        }
        if let Err(place) = find(page, unique) {
            page.insert(place, (unique, 0));
        }
        Ok(note(number, at, page))
    }

    /// Forgets what the provider has not listed for [`MEMORY_DAYS`]. `listed` is in order.
    pub fn prune(&mut self, number: Number, listed: &[Unique], today: u16) -> Vec<Note> {
        let mut notes = Vec::new();
        for (at, page) in self.pages.iter_mut().enumerate() {
            let before = page.clone();
            page.retain_mut(|(unique, missing)| {
                let there = listed.binary_search(unique).is_ok();
                *missing = match *missing {
                    _ if there => 0,
                    0 => today,
                    since => since,
                };
                there || today.saturating_sub(*missing) < MEMORY_DAYS
            });
            if *page != before {
                notes.push(note(number, at, page));
            }
        }
        notes
    }
}

fn find(page: &[Entry], unique: Unique) -> std::result::Result<usize, usize> {
    page.binary_search_by_key(&unique, |entry| entry.0)
}

fn key(number: Number, page: usize) -> String {
    format!("{number}-{page}")
}

fn note(number: Number, at: usize, page: &[Entry]) -> Note {
    let mut row = Vec::with_capacity(page.len() * (HASH + 2));
    for (unique, missing) in page {
        row.extend_from_slice(&unique.0);
        row.extend_from_slice(&missing.to_be_bytes());
    }
    Note {
        kind: MEMORY,
        key: key(number, at),
        value: Some(row).filter(|row| !row.is_empty()),
    }
}

fn decode(row: &[u8]) -> Result<Vec<Entry>> {
    let reader = &mut Reader(row);
    let mut page = Vec::with_capacity(row.len() / (HASH + 2));
    while !reader.is_empty() {
        let unique = Unique(reader.take_fixed()?);
        page.push((unique, u16::from_be_bytes(reader.take_fixed()?)));
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    #[test]
    fn uids_come_back() {
        let mut uids = Uids {
            validity: u32::MAX,
            highest: 9,
            left: UidSet::from_ranges(vec![(2, 4), (7, 7)]),
            pending: UidSet::from_ranges(vec![(5, 6), (4_294_967_295, 4_294_967_295)]),
        };
        assert_eq!(Uids::decode(&uids.encode()), Ok(uids.clone()));
        uids.pass(uid(3));
        uids.pass(uid(7));
        assert_eq!((uids.left.to_string(), uids.highest), ("2,4".into(), 9));
        assert!(uids.has(uid(3)) && !uids.has(uid(4)) && !uids.has(uid(10)));
        uids.pass(uid(12));
        uids.leave(uid(3));
        uids.leave(uid(13));
        assert_eq!((uids.left.to_string(), uids.highest), ("2:4,13".into(), 13));
        let row = uids.encode();
        for end in 0..row.len() {
            assert!(Uids::decode(&row[..end]).is_err());
        }
        assert!(Uids::decode(&[1, 1, 2, 255, 255, 255, 255, 15, 1, 1, 0, 0]).is_err());
    }

    #[test]
    fn the_widest_memory_fits_a_record() {
        let apart = |step: u32| {
            let ranges = (1..=MAX_RANGES as u32).map(|n| (n * step, n * step));
            UidSet::from_ranges(ranges.collect())
        };
        let uids = Uids {
            validity: u32::MAX,
            highest: u32::MAX,
            left: apart(1_000_000),
            pending: apart(1_000_001),
        };
        assert!(uids.encode().len() <= MAX_RECORD);
    }

    fn empty() -> Uniques {
        Uniques {
            pages: vec![Vec::new(); PAGES],
        }
    }

    #[test]
    fn unique_ids_are_known_until_long_after_they_are_gone() {
        let mut uniques = empty();
        let ids: Vec<Unique> = (0..1000).map(|n| Unique::new(&n.to_string())).collect();
        for &id in &ids {
            assert!(!uniques.contains(id));
            uniques.add(1, id).unwrap();
            assert!(uniques.contains(id));
        }
        let mut listed = ids[..900].to_vec();
        listed.sort();
        assert!(!uniques.prune(1, &listed, 20_000).is_empty());
        // Told once, not every day.
        assert!(uniques.prune(1, &listed, 20_001).is_empty());
        assert!(uniques.contains(ids[950]));
        // Back again: the list was cut short.
        let mut longer = ids[..910].to_vec();
        longer.sort();
        assert!(!uniques.prune(1, &longer, 20_013).is_empty());
        uniques.prune(1, &longer, 20_014);
        assert!(uniques.contains(ids[905]) && !uniques.contains(ids[950]));
        assert!(ids[..910].iter().all(|id| uniques.contains(*id)));
    }

    #[test]
    fn pages_come_back() {
        let mut uniques = empty();
        let note = uniques.add(7, Unique::new("a")).unwrap();
        assert!(note.key.starts_with("7-"));
        let page = decode(&note.value.unwrap()).unwrap();
        assert_eq!(page, [(Unique::new("a"), 0)]);
        assert!(decode(&[0; HASH + 1]).is_err());
        uniques.prune(7, &[], 100);
        let notes = uniques.prune(7, &[], 100 + MEMORY_DAYS);
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].value, None);
    }
}
