//! The tables of `meta.redb` and the encodings of their smaller rows.
//!
//! A delivery touches four of them (messages, mailboxes, blobs, structures): each further
//! table costs 4 to 12 KB of writes a commit. So the state of the segments lives in the
//! last leaf of `blobs`, and ids are reserved in strides.

use super::codec::{Reader, put, put_bytes};
use super::error::{Error, Result};
use super::table::{Bytes, Definition};
use crate::mail::*;
use redb::WriteTransaction;
use std::num::NonZeroU32;

type Rows<K> = Definition<K, Bytes>;

/// Brings a store from one schema to the next, in a transaction of its own.
pub(super) type Step = fn(&WriteTransaction) -> Result<()>;

/// The forms of everything below that a program knows, each with a number. A store is read and
/// written in whichever of them it has; one that is older or newer than all of them is refused.
/// It is raised to the newest at a start that allows it ([`Options::raise_schema`]), so that
/// until then an older program can open it again.
///
/// A table that a program before did not have is a new schema, and what writes to it looks at
/// the store's first: that program could not read its rows in the log.
///
/// [`Options::raise_schema`]: super::Options::raise_schema
#[derive(Clone, Copy, Debug)]
pub struct Schemas {
    /// Of a new store too, which is raised at once.
    pub(super) oldest: u64,
    /// From the oldest on, each to the next.
    pub(super) steps: &'static [Step],
}

/// What this program knows.
pub(super) const SCHEMAS: Schemas = Schemas {
    oldest: 3,
    steps: &[],
};

impl Schemas {
    pub fn newest(&self) -> u64 {
        self.oldest + self.steps.len() as u64
    }

    /// A sentence that says why a store of that schema can't be opened.
    pub(super) fn refuse(&self, found: u64) -> Result<()> {
        let (oldest, newest) = (self.oldest, self.newest());
        let known = match oldest == newest {
            true => format!("schema {newest}"),
            false => format!("schemas {oldest} to {newest}"),
        };
        let which = match found {
            _ if found > newest => "a newer",
            _ if found < oldest => "an older",
            _ => return Ok(()),
        };
        Err(Error::Unusable(format!(
            "the store has schema {found}, this program reads {known}: {which} version of \
             pillarbox wrote it, which has to be used again"
        )))
    }
}

/// Counters that outlive what they counted; see the `STATE_` names.
pub(super) const STATE: Definition<&str, u64> = Definition::new("state");
/// Account id -> [`AccountRow`](super::account::AccountRow).
pub(super) const ACCOUNTS: Rows<u32> = Definition::new("accounts");
/// Local part in lower case, NUL, domain -> account id, of own addresses and aliases.
pub(super) const ADDRESSES: Definition<Bytes, u32> = Definition::new("addresses");
/// Domain -> how many addresses it has.
pub(super) const DOMAINS: Definition<&str, u32> = Definition::new("domains");
/// Mailbox id -> [`MailboxRow`].
pub(super) const MAILBOXES: Rows<u32> = Definition::new("mailboxes");
/// (account, name) -> mailbox id.
pub(super) const NAMES: Definition<(u32, &str), u32> = Definition::new("names");
/// (account, name), whether or not there is such a mailbox.
pub(super) const SUBSCRIPTIONS: Definition<(u32, &str), ()> = Definition::new("subscriptions");
/// [`block_key`] -> a block of 32 message rows, see [`super::block`].
pub(super) const MESSAGES: Rows<u64> = Definition::new("messages");
/// (mailbox, mod-sequence) -> UIDs expunged by it.
pub(super) const VANISHED: Rows<(u32, u64)> = Definition::new("vanished");
/// Email id -> [`BlobRow`]; [`segment_key`] -> [`SegmentRow`].
pub(super) const BLOBS: Rows<u64> = Definition::new("blobs");
/// Email id -> `Structure::encode`.
pub(super) const STRUCTURES: Rows<u64> = Definition::new("structures");
/// Ids of deleted mailboxes whose messages are still to be taken away.
pub(super) const DOOMED: Definition<u32, ()> = Definition::new("doomed");

/// Outgoing mail: (0, number) -> the item; (when it is due + 1, number) -> nothing.
pub(super) const OUTBOX: Rows<(u64, u64)> = Definition::new("outbox");

/// (kind, key) -> what the kind's owner encoded: routes, keys, groups, whatever has few rows.
pub(super) const RECORDS: Rows<(&str, &str)> = Definition::new("records");

pub(super) const STATE_VERSION: &str = "version";
/// The last id given out.
pub(super) const STATE_ACCOUNT: &str = "account";
pub(super) const STATE_MAILBOX: &str = "mailbox";
/// No email id or number in the queue at or above this was ever given out.
pub(super) const STATE_EMAIL: &str = "email";
/// The last UIDVALIDITY given out.
pub(super) const STATE_UID_VALIDITY: &str = "uid-validity";
/// The highest mod-sequence that any deleted mailbox had: new ones begin above it.
pub(super) const STATE_MODSEQ: &str = "modseq";
/// The four words of the site key, drawn when the store is made.
pub(super) const STATE_SITE: [&str; 4] = ["site-0", "site-1", "site-2", "site-3"];
/// Begins each batch of the log, drawn when the store is made.
pub(super) const STATE_LOG_KEY: &str = "log-key";
/// Where the log goes on after what this database has, see [`super::log::Mark`].
pub(super) const STATE_LOG_SEGMENT: &str = "log-segment";
pub(super) const STATE_LOG_OFFSET: &str = "log-offset";
pub(super) const STATE_LOG_SEQUENCE: &str = "log-sequence";

/// Email ids are reserved this many at a time; a crash skips the rest.
pub(super) const EMAIL_STRIDE: u64 = 4096;
/// Bit that sets segment keys apart from email ids, above all of them.
const SEGMENT_BIT: u64 = 1 << 63;

pub(super) fn segment_key(segment: u32) -> u64 {
    SEGMENT_BIT | u64::from(segment)
}

/// The key of the block that holds `uid`: a mailbox's blocks are neighbours.
pub(super) fn block_key(mailbox: MailboxId, uid: u32) -> u64 {
    u64::from(mailbox.0) << 32 | u64::from(uid >> 5)
}

/// A mailbox: [`MailboxInfo`] less what other tables say, plus what only the store needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MailboxRow {
    pub account: AccountId,
    pub name: MailboxName,
    pub uid_validity: UidValidity,
    pub uid_next: u32,
    pub modseq: u64,
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub size: u64,
    pub special_use: Option<SpecialUse>,
    /// UIDs from here on are \Recent to the next session that selects the mailbox.
    pub recent: u32,
    /// Expunges up to this mod-sequence are no longer recorded in `vanished`.
    pub vanished_floor: u64,
    /// Rows in `vanished`.
    pub vanished_rows: u32,
    pub keywords: Vec<String>,
}

impl MailboxRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.name.as_str().len());
        put(&mut out, u64::from(self.account.0));
        put_bytes(&mut out, self.name.as_str().as_bytes());
        put(&mut out, u64::from(self.uid_validity.get()));
        put(&mut out, u64::from(self.uid_next));
        put(&mut out, self.modseq);
        put(&mut out, u64::from(self.messages));
        put(&mut out, u64::from(self.unseen));
        put(&mut out, u64::from(self.deleted));
        put(&mut out, self.size);
        put(&mut out, special_use_number(self.special_use));
        put(&mut out, u64::from(self.recent));
        put(&mut out, self.vanished_floor);
        put(&mut out, u64::from(self.vanished_rows));
        put(&mut out, self.keywords.len() as u64);
        for keyword in &self.keywords {
            put_bytes(&mut out, keyword.as_bytes());
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<MailboxRow> {
        let row = &mut Reader(bytes);
        let mut mailbox = MailboxRow {
            account: AccountId(row.take_u32()?),
            name: MailboxName::parse(row.take_str()?)
                .map_err(|_| Error::corrupt("a mailbox name"))?,
            uid_validity: NonZeroU32::new(row.take_u32()?)
                .ok_or_else(|| Error::corrupt("a UIDVALIDITY"))?,
            uid_next: row.take_u32()?,
            modseq: row.take()?,
            messages: row.take_u32()?,
            unseen: row.take_u32()?,
            deleted: row.take_u32()?,
            size: row.take()?,
            special_use: special_use_of(row.take()?)?,
            recent: row.take_u32()?,
            vanished_floor: row.take()?,
            vanished_rows: row.take_u32()?,
            keywords: Vec::new(),
        };
        for _ in 0..row.take()?.min(MAX_KEYWORDS as u64) {
            mailbox.keywords.push(row.take_str()?.into());
        }
        Ok(mailbox)
    }

    pub fn info(self, id: MailboxId, subscribed: bool) -> Result<MailboxInfo> {
        Ok(MailboxInfo {
            id,
            account: self.account,
            name: self.name,
            uid_validity: self.uid_validity,
            uid_next: Uid::new(self.uid_next).ok_or_else(|| Error::corrupt("a UIDNEXT"))?,
            highest_modseq: ModSeq::new(self.modseq)
                .ok_or_else(|| Error::corrupt("a HIGHESTMODSEQ"))?,
            messages: self.messages,
            unseen: self.unseen,
            deleted: self.deleted,
            size: self.size,
            special_use: self.special_use,
            subscribed,
            keywords: self.keywords,
        })
    }
}

/// 0 is none; else the place in [`SpecialUse::ALL`], from 1.
fn special_use_number(special_use: Option<SpecialUse>) -> u64 {
    SpecialUse::ALL
        .iter()
        .position(|(it, _)| Some(*it) == special_use)
        .map_or(0, |n| n as u64 + 1)
}

fn special_use_of(number: u64) -> Result<Option<SpecialUse>> {
    if number == 0 {
        return Ok(None);
    }
    SpecialUse::ALL
        .get(number as usize - 1)
        .map(|(it, _)| Some(*it))
        .ok_or_else(|| Error::corrupt("a special use"))
}

/// Where a message's bytes are. `references` counts the rows of `messages` and `outbox` that
/// name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlobRow {
    pub references: u32,
    pub segment: u32,
    /// Where its first frame begins in the segment.
    pub offset: u64,
    /// Bytes of the message.
    pub size: u32,
    /// Length of each frame in the segment, header included.
    pub frames: Vec<u32>,
}

impl BlobRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 3 * self.frames.len());
        put(&mut out, u64::from(self.references));
        put(&mut out, u64::from(self.segment));
        put(&mut out, self.offset);
        put(&mut out, u64::from(self.size));
        for &frame in &self.frames {
            put(&mut out, u64::from(frame));
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<BlobRow> {
        let row = &mut Reader(bytes);
        let mut blob = BlobRow {
            references: row.take_u32()?,
            segment: row.take_u32()?,
            offset: row.take()?,
            size: row.take_u32()?,
            frames: Vec::new(),
        };
        while !row.is_empty() {
            blob.frames.push(row.take_u32()?);
        }
        Ok(blob)
    }

    /// Bytes in the segment.
    pub fn stored(&self) -> u64 {
        self.frames.iter().map(|&frame| u64::from(frame)).sum()
    }
}

/// A segment file's state as of the last commit; bytes past `length` mean nothing, except
/// in the active segment, where up to the next commit the log goes on behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentRow {
    pub length: u64,
    /// Bytes that some blob still names.
    pub live: u64,
    /// Message bytes ever put there; the rest is the log's.
    pub payload: u64,
    /// Holds one large message and is never appended to.
    pub single: bool,
}

/// Dead bytes below which copying isn't worth it.
const MIN_DEAD: u64 = 256 * 1024;

impl SegmentRow {
    /// Whether less than half is alive. Of the active one only its messages count: rolling it
    /// for the log in it would never end.
    pub fn is_sparse(&self, active: bool) -> bool {
        let filled = match active {
            true => self.payload,
            false => self.length,
        };
        let dead = filled.saturating_sub(self.live);
        let empty = self.live == 0 && !active;
        empty || dead > self.live && dead >= MIN_DEAD
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        put(&mut out, self.length);
        put(&mut out, self.live);
        put(&mut out, self.payload);
        put(&mut out, u64::from(self.single));
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<SegmentRow> {
        let row = &mut Reader(bytes);
        Ok(SegmentRow {
            length: row.take()?,
            live: row.take()?,
            payload: row.take()?,
            single: row.take()? != 0,
        })
    }
}

pub(super) fn encode_ranges(set: &UidSet) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = 0;
    for &(low, high) in set.ranges() {
        put(&mut out, u64::from(low - last));
        put(&mut out, u64::from(high - low));
        last = high;
    }
    out
}

/// Appends the ranges of an encoded set.
pub(super) fn decode_ranges(bytes: &[u8], ranges: &mut Vec<(u32, u32)>) -> Result<()> {
    let row = &mut Reader(bytes);
    let overflow = || Error::corrupt("a set of UIDs");
    let mut last = 0u32;
    while !row.is_empty() {
        let low = last.checked_add(row.take_u32()?).ok_or_else(overflow)?;
        last = low.checked_add(row.take_u32()?).ok_or_else(overflow)?;
        ranges.push((low, last));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let mailbox = MailboxRow {
            account: AccountId(7),
            name: MailboxName::parse("Büro/2026").unwrap(),
            uid_validity: UidValidity::new(1_700_000_000).unwrap(),
            uid_next: 4_000_000_000,
            modseq: 1 << 60,
            messages: 9,
            unseen: 8,
            deleted: 7,
            size: 1 << 40,
            special_use: Some(SpecialUse::Trash),
            recent: 3,
            vanished_floor: 12,
            vanished_rows: 5,
            keywords: vec!["$Forwarded".into(), "work".into()],
        };
        assert_eq!(MailboxRow::decode(&mailbox.encode()), Ok(mailbox.clone()));
        let row = mailbox.encode();
        for end in 0..row.len() {
            assert!(MailboxRow::decode(&row[..end]).is_err());
        }
        let blob = BlobRow {
            references: 3,
            segment: 2,
            offset: 1 << 33,
            size: 70_000,
            frames: vec![30_000, 99],
        };
        assert_eq!(BlobRow::decode(&blob.encode()), Ok(blob));
        let segment = SegmentRow {
            length: 300,
            live: 200,
            payload: 290,
            single: true,
        };
        assert_eq!(SegmentRow::decode(&segment.encode()), Ok(segment));
    }

    #[test]
    fn schemas_that_are_not_known_are_refused_by_both_numbers() {
        let one = Schemas {
            oldest: 3,
            steps: &[],
        };
        let two = Schemas {
            oldest: 3,
            steps: &[|_| Ok(())],
        };
        assert_eq!((one.newest(), two.newest()), (3, 4));
        assert_eq!(one.refuse(3), Ok(()));
        assert_eq!((two.refuse(3), two.refuse(4)), (Ok(()), Ok(())));
        let why = one.refuse(4).unwrap_err().to_string();
        assert!(
            why.contains("has schema 4, this program reads schema 3: a newer"),
            "{why}"
        );
        let why = two.refuse(2).unwrap_err().to_string();
        assert!(
            why.contains("has schema 2, this program reads schemas 3 to 4: an older"),
            "{why}"
        );
    }

    #[test]
    fn sets_come_back() {
        let set = UidSet::from_ranges(vec![(1, 5), (9, 9), (100, 4_294_967_295)]);
        let mut ranges = Vec::new();
        decode_ranges(&encode_ranges(&set), &mut ranges).unwrap();
        assert_eq!(UidSet::from_ranges(ranges), set);
        assert!(decode_ranges(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1], &mut Vec::new()).is_err());
    }
}
