//! The maildrop as one session sees it: the INBOX as it was at login.

use crate::mail::{Flags, Message, Uid, UidSet, UidValidity};

/// Nine bytes a message: a session holds them from login to the end.
pub struct Maildrop {
    uid_validity: UidValidity,
    /// UID and size, ascending.
    messages: Vec<(Uid, u32)>,
    marks: Vec<u8>,
}

const DELETED: u8 = 1;
const RETRIEVED: u8 = 2;
const SEEN: u8 = 4;

/// One message, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub number: u32,
    pub uid: Uid,
    pub size: u32,
}

/// What QUIT does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub delete: UidSet,
    /// Retrieved and kept: they get \Seen, so that an IMAP client shows them as read.
    pub seen: UidSet,
}

impl Maildrop {
    pub fn new(uid_validity: UidValidity, messages: u32) -> Maildrop {
        Maildrop {
            uid_validity,
            messages: Vec::with_capacity(messages as usize),
            marks: Vec::with_capacity(messages as usize),
        }
    }

    /// In ascending order of UIDs.
    pub fn push(&mut self, message: &Message) {
        self.messages.push((message.uid, message.size));
        let seen = message.flags.contains(Flags::SEEN);
        self.marks.push(if seen { SEEN } else { 0 });
    }

    /// Unless there is none or it is marked deleted.
    pub fn get(&self, number: u32) -> Option<Entry> {
        let at = (number as usize).checked_sub(1)?;
        if self.marks.get(at)? & DELETED != 0 {
            return None;
        }
        let (uid, size) = *self.messages.get(at)?;
        Some(Entry { number, uid, size })
    }

    /// Those not marked deleted, from that number on.
    pub fn from(&self, number: u32) -> impl Iterator<Item = Entry> {
        (number..=self.messages.len() as u32).filter_map(|number| self.get(number))
    }

    /// How many are not marked deleted, and their bytes.
    pub fn totals(&self) -> (u32, u64) {
        self.from(1)
            .fold((0, 0), |(n, bytes), it| (n + 1, bytes + u64::from(it.size)))
    }

    /// Stable for as long as the message is there (RFC 1939, 7).
    pub fn unique_id(&self, entry: Entry) -> String {
        format!("{:08x}{:08x}", entry.uid, self.uid_validity)
    }

    pub fn delete(&mut self, entry: Entry) {
        self.mark(entry, DELETED);
    }

    pub fn retrieved(&mut self, entry: Entry) {
        self.mark(entry, RETRIEVED);
    }

    fn mark(&mut self, entry: Entry, mark: u8) {
        if let Some(marks) = self.marks.get_mut((entry.number - 1) as usize) {
            *marks |= mark;
        }
    }

    /// RSET: nothing is to be deleted.
    pub fn reset(&mut self) {
        self.marks.iter_mut().for_each(|marks| *marks &= !DELETED);
    }

    pub fn update(&self) -> Update {
        let mut update = Update::default();
        for ((uid, _), marks) in self.messages.iter().zip(&self.marks) {
            match marks & (DELETED | RETRIEVED | SEEN) {
                marks if marks & DELETED != 0 => update.delete.insert(*uid),
                RETRIEVED => update.seen.insert(*uid),
                _ => {}
            }
        }
        update
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{DateTime, EmailId};
    use std::num::{NonZeroU32, NonZeroU64};

    fn maildrop() -> Maildrop {
        let mut maildrop = Maildrop::new(NonZeroU32::new(0x1f).unwrap(), 3);
        for uid in [4, 5, 9] {
            maildrop.push(&Message {
                uid: Uid::new(uid).unwrap(),
                email: EmailId(1),
                flags: if uid == 5 { Flags::SEEN } else { Flags::NONE },
                internal_date: DateTime { unix: 0, offset: 0 },
                save_date: 0,
                modseq: NonZeroU64::MIN,
                size: 100 * uid,
            });
        }
        maildrop
    }

    #[test]
    fn numbers_stay_while_messages_are_marked() {
        let mut maildrop = maildrop();
        assert_eq!(maildrop.totals(), (3, 1800));
        let second = maildrop.get(2).unwrap();
        maildrop.delete(second);
        assert_eq!((maildrop.totals(), maildrop.get(2)), ((2, 1300), None));
        assert_eq!(
            maildrop.from(2).map(|it| it.number).collect::<Vec<_>>(),
            [3]
        );
        maildrop.reset();
        assert_eq!(maildrop.get(2), Some(second));
        assert_eq!((maildrop.get(0), maildrop.get(4)), (None, None));
        assert_eq!(maildrop.unique_id(second), "000000050000001f");
    }

    #[test]
    fn quit_deletes_what_is_marked_and_flags_what_was_retrieved_unseen() {
        let mut maildrop = maildrop();
        for number in 1..=3 {
            let entry = maildrop.get(number).unwrap();
            maildrop.retrieved(entry);
        }
        maildrop.delete(maildrop.get(3).unwrap());
        let update = maildrop.update();
        assert_eq!(update.delete.to_string(), "9");
        assert_eq!(update.seen.to_string(), "4");
    }
}
