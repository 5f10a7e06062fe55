//! A mailbox as POP3 lists it.

use super::{Uid, UidSet};

/// UIDs and sizes of a mailbox, eight bytes a message: neither ever changes, so that sessions
/// share them and a poll that finds nothing new reads none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Ascending.
    messages: Vec<(Uid, u32)>,
    bytes: u64,
}

impl Listing {
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Sizes of all, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// By its place, from 0.
    pub fn get(&self, place: usize) -> Option<(Uid, u32)> {
        self.messages.get(place).copied()
    }

    /// Adds one with a higher UID than all before.
    pub fn push(&mut self, uid: Uid, size: u32) {
        self.messages.push((uid, size));
        self.bytes += u64::from(size);
    }

    /// The UIDs above all that are here.
    pub fn beyond(&self) -> UidSet {
        let last = self.messages.last().map_or(0, |(uid, _)| uid.get());
        match last.checked_add(1) {
            Some(first) => UidSet::from_ranges(vec![(first, u32::MAX)]),
            None => UidSet::new(),
        }
    }

    /// Those that are still in the mailbox.
    pub fn still_in(&self, uids: &UidSet) -> Listing {
        let mut listing = Listing {
            messages: Vec::with_capacity(self.messages.len()),
            bytes: 0,
        };
        let mut ranges = uids.ranges().iter().peekable();
        for &(uid, size) in &self.messages {
            while ranges.next_if(|(_, high)| *high < uid.get()).is_some() {}
            if ranges.peek().is_some_and(|(low, _)| *low <= uid.get()) {
                listing.push(uid, size);
            }
        }
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(uids: &[u32]) -> Listing {
        let mut listing = Listing::default();
        for &uid in uids {
            listing.push(Uid::new(uid).unwrap(), 100 * uid);
        }
        listing
    }

    #[test]
    fn a_listing_follows_its_mailbox() {
        let old = listing(&[1, 2, 3, 7, 9]);
        let uids = UidSet::from_ranges(vec![(2, 2), (7, 12)]);
        assert_eq!(old.still_in(&uids), listing(&[2, 7, 9]));
        assert_eq!(old.still_in(&UidSet::new()), Listing::default());
        assert_eq!(old.beyond().ranges(), [(10, u32::MAX)]);
        assert_eq!(Listing::default().beyond().ranges(), [(1, u32::MAX)]);
        assert_eq!(old.bytes(), 2200);
    }
}
