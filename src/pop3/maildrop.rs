//! The maildrop as one session sees it: the INBOX as it was at login.

use crate::mail::listing::Listing;
use crate::mail::option::Order;
use crate::mail::{Uid, UidSet, UidValidity};
use std::sync::Arc;

/// A listing, and what the session has done to it.
pub struct Maildrop {
    uid_validity: UidValidity,
    listing: Arc<Listing>,
    order: Order,
    deleted: Marks,
    retrieved: Marks,
    /// What is marked deleted: how many messages and bytes.
    gone: (u32, u64),
}

/// One message, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub number: u32,
    pub uid: Uid,
    /// As it is kept, bytes. A surrogate that RETR may send (RFC 6858) has another, which no
    /// listing tells: it would cost a look at each header.
    pub size: u32,
}

/// What QUIT does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub delete: UidSet,
    /// They get \Seen, so that an IMAP client shows them as read.
    pub retrieved: UidSet,
}

impl Maildrop {
    pub fn new(uid_validity: UidValidity, listing: Arc<Listing>, order: Order) -> Maildrop {
        Maildrop {
            uid_validity,
            listing,
            order,
            deleted: Marks::default(),
            retrieved: Marks::default(),
            gone: (0, 0),
        }
    }

    /// Unless there is none or it is marked deleted.
    pub fn get(&self, number: u32) -> Option<Entry> {
        if self.deleted.has(number) {
            return None;
        }
        let (uid, size) = self.listing.get(self.place(number)?)?;
        Some(Entry { number, uid, size })
    }

    /// Where in the listing it stands.
    fn place(&self, number: u32) -> Option<usize> {
        let number = number as usize;
        match self.order {
            Order::Ascending => number.checked_sub(1),
            Order::Descending if number == 0 => None,
            Order::Descending => self.listing.len().checked_sub(number),
        }
    }

    /// Those not marked deleted, from that number on.
    pub fn from(&self, number: u32) -> impl Iterator<Item = Entry> {
        (number..=self.listing.len() as u32).filter_map(|number| self.get(number))
    }

    /// How many are not marked deleted, and their bytes.
    pub fn totals(&self) -> (u32, u64) {
        let (messages, bytes) = (self.listing.len() as u32, self.listing.bytes());
        (messages - self.gone.0, bytes - self.gone.1)
    }

    /// Stable for as long as the message is there (RFC 1939, 7).
    pub fn unique_id(&self, entry: Entry) -> String {
        format!("{:08x}{:08x}", entry.uid, self.uid_validity)
    }

    pub fn delete(&mut self, entry: Entry) {
        if self.deleted.set(entry.number) {
            self.gone.0 += 1;
            self.gone.1 += u64::from(entry.size);
        }
    }

    pub fn retrieved(&mut self, entry: Entry) {
        self.retrieved.set(entry.number);
    }

    /// RSET: nothing is to be deleted.
    pub fn reset(&mut self) {
        self.deleted = Marks::default();
        self.gone = (0, 0);
    }

    pub fn update(&self) -> Update {
        let uids = |marks: &Marks| {
            let places = marks.iter().filter_map(|number| self.place(number));
            let found = places.filter_map(|at| self.listing.get(at));
            found.map(|(uid, _)| uid).collect()
        };
        Update {
            delete: uids(&self.deleted),
            retrieved: uids(&self.retrieved),
        }
    }
}

/// A set of message numbers, a bit each, up to the highest.
#[derive(Default)]
struct Marks(Vec<u64>);

impl Marks {
    fn has(&self, number: u32) -> bool {
        let word = self.0.get(number as usize / 64);
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Whether it was not there.
    fn set(&mut self, number: u32) -> bool {
        let at = number as usize / 64;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let fresh = !self.has(number);
        if let Some(word) = self.0.get_mut(at) {
            *word |= 1 << (number % 64);
        }
        fresh
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.0.len() as u32 * 64).filter(|number| self.has(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn uid(uid: u32) -> Uid {
        NonZeroU32::new(uid).unwrap()
    }

    fn maildrop(order: Order) -> Maildrop {
        let mut listing = Listing::default();
        for it in [4, 5, 9] {
            listing.push(uid(it), 100 * it);
        }
        Maildrop::new(uid(0x1f), Arc::new(listing), order)
    }

    #[test]
    fn numbers_stay_while_messages_are_marked() {
        let mut maildrop = maildrop(Order::Ascending);
        assert_eq!(maildrop.totals(), (3, 1800));
        let second = maildrop.get(2).unwrap();
        maildrop.delete(second);
        maildrop.delete(second);
        assert_eq!((maildrop.totals(), maildrop.get(2)), ((2, 1300), None));
        assert_eq!(
            maildrop.from(2).map(|it| it.number).collect::<Vec<_>>(),
            [3]
        );
        maildrop.reset();
        assert_eq!(maildrop.get(2), Some(second));
        assert_eq!(maildrop.totals(), (3, 1800));
        assert_eq!((maildrop.get(0), maildrop.get(4)), (None, None));
        assert_eq!(maildrop.unique_id(second), "000000050000001f");
    }

    #[test]
    fn the_newest_may_come_first() {
        let mut maildrop = maildrop(Order::Descending);
        let uids: Vec<u32> = maildrop.from(1).map(|it| it.uid.get()).collect();
        assert_eq!(uids, [9, 5, 4]);
        for number in [0, 4, u32::MAX] {
            assert_eq!(maildrop.get(number), None);
        }
        maildrop.delete(maildrop.get(1).unwrap());
        maildrop.retrieved(maildrop.get(3).unwrap());
        let update = maildrop.update();
        assert_eq!(update.delete.to_string(), "9");
        assert_eq!(update.retrieved.to_string(), "4");
    }
}
