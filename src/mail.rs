//! The nouns that the store and the protocols share. Pure: no I/O, no clock.

pub mod addressing;
pub mod capability;
pub mod certificate;
pub mod home;
pub mod listing;
pub mod option;
pub mod outgoing;
pub mod srs;

use crate::address::Address;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

/// A message's number in its mailbox, ascending and never used again (RFC 9051, 2.3.1.1).
pub type Uid = NonZeroU32;
/// Says whether UIDs seen earlier are still meant (RFC 9051, 2.3.1.1).
pub type UidValidity = NonZeroU32;
/// A message's position in a session's view, from 1 (RFC 9051, 2.3.1.2).
pub type SeqNum = NonZeroU32;
/// A mailbox-wide, ascending number of a change (RFC 7162, 3.1).
pub type ModSeq = NonZeroU64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxId(pub u32);

/// The stored bytes of one message, whatever mailboxes hold it (EMAILID of RFC 8474).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailId(pub u64);

/// A person's (or device's) mailboxes on this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    /// Its own address; also its login name.
    pub address: Address,
    /// Further addresses that deliver to it and that it may send from.
    pub aliases: Vec<Address>,
}

/// Local parts that no account may have and nobody logs in by: they name no person, and mail
/// programs and attackers try them (RFC 2142 names the others, which are for aliases).
const RESERVED: [&str; 3] = ["administrator", "anonymous", "guest"];

/// Whether a local part, or a login name without a domain, is nobody's.
pub fn is_reserved(local: &str) -> bool {
    let local = local.trim().to_lowercase();
    RESERVED.contains(&local.as_str())
}

/// How an account stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Active,
    /// Nobody logs in to it.
    Disabled {
        /// Whether mail still comes in.
        takes_mail: bool,
    },
    /// It is kept until then, seconds since 1970, in case it is wanted back.
    Deleted { until: i64 },
}

impl Standing {
    pub fn takes_mail(self) -> bool {
        match self {
            Standing::Active => true,
            Standing::Disabled { takes_mail } => takes_mail,
            Standing::Deleted { .. } => false,
        }
    }
}

/// Percentages at which an account is warned that it fills, the highest first.
const QUOTA_LEVELS: [u64; 2] = [95, 80];

/// How much an account may hold, or holds; as a limit 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Sum of the sizes of all messages: a copy counts again (STORAGE of RFC 9208, 5.1).
    pub bytes: u64,
    pub messages: u64,
}

impl Quota {
    /// Whether so much fits within this limit.
    pub fn holds(self, used: Quota) -> bool {
        (self.bytes == 0 || used.bytes <= self.bytes)
            && (self.messages == 0 || used.messages <= self.messages)
    }

    /// How full this limit is, percent, by what is fuller; 0 where there is none.
    pub fn percent(self, used: Quota) -> u64 {
        let part = |used: u64, limit: u64| used.saturating_mul(100).checked_div(limit);
        let bytes = part(used.bytes, self.bytes).unwrap_or(0);
        bytes.max(part(used.messages, self.messages).unwrap_or(0))
    }

    /// The percentage that `used` has come to at which people are told; `None` under the first.
    pub fn level(self, used: Quota) -> Option<u64> {
        let percent = self.percent(used);
        QUOTA_LEVELS.into_iter().find(|level| percent >= *level)
    }

    /// With what an account's options have in its place.
    pub fn or(self, options: &option::AccountOptions) -> Quota {
        Quota {
            bytes: options.quota.unwrap_or(self.bytes),
            messages: options.max_messages.map_or(self.messages, u64::from),
        }
    }

    pub fn and(self, more: Quota) -> Quota {
        Quota {
            bytes: self.bytes.saturating_add(more.bytes),
            messages: self.messages.saturating_add(more.messages),
        }
    }
}

/// The hierarchy separator of every mailbox name.
pub const SEPARATOR: char = '/';
/// Longest mailbox name in bytes of UTF-8.
pub const MAX_MAILBOX_NAME: usize = 1000;
/// Deepest mailbox hierarchy.
pub const MAX_MAILBOX_DEPTH: usize = 32;
/// Keywords one mailbox can name.
pub const MAX_KEYWORDS: usize = 56;
/// Longest keyword in bytes.
pub const MAX_KEYWORD: usize = 128;

/// A mailbox name in UTF-8, parts joined by `/`. The part INBOX, first and in any
/// case, is always held as `INBOX` (RFC 9051, 5.1); nobody else re-checks that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxName(String);

/// Why a string is not a mailbox name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    Empty,
    TooLong,
    TooDeep,
    /// An empty part: `a//b`, `/a`.
    EmptyPart,
    /// A control character, `*` or `%`.
    Forbidden(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => write!(f, "a mailbox name can't be empty"),
            NameError::TooLong => write!(f, "a mailbox name has at most {MAX_MAILBOX_NAME} bytes"),
            NameError::TooDeep => write!(f, "a mailbox name has at most {MAX_MAILBOX_DEPTH} parts"),
            NameError::EmptyPart => write!(f, "a part of the mailbox name is empty"),
            NameError::Forbidden(c) => write!(f, "{c:?} is not allowed in a mailbox name"),
        }
    }
}

impl std::error::Error for NameError {}

impl MailboxName {
    /// The mailbox that every account has.
    pub fn inbox() -> MailboxName {
        MailboxName("INBOX".into())
    }

    /// One trailing separator is dropped: `CREATE a/` names `a` (RFC 9051, 6.3.4).
    pub fn parse(name: &str) -> Result<MailboxName, NameError> {
        let name = name.strip_suffix(SEPARATOR).unwrap_or(name);
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_MAILBOX_NAME {
            return Err(NameError::TooLong);
        }
        if let Some(c) = name
            .chars()
            .find(|c| c.is_control() || matches!(c, '*' | '%'))
        {
            return Err(NameError::Forbidden(c));
        }
        let mut parts: Vec<&str> = name.split(SEPARATOR).collect();
        if parts.len() > MAX_MAILBOX_DEPTH {
            return Err(NameError::TooDeep);
        }
        if parts.iter().any(|part| part.is_empty()) {
            return Err(NameError::EmptyPart);
        }
        if parts[0].eq_ignore_ascii_case("INBOX") {
            parts[0] = "INBOX";
        }
        Ok(MailboxName(parts.join("/")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_inbox(&self) -> bool {
        self.0 == "INBOX"
    }

    /// The name one level up, if there is one.
    pub fn parent(&self) -> Option<MailboxName> {
        self.0
            .rsplit_once(SEPARATOR)
            .map(|(parent, _)| MailboxName(parent.into()))
    }

    /// Whether this name lies anywhere below `other`.
    pub fn is_below(&self, other: &MailboxName) -> bool {
        self.0
            .strip_prefix(other.as_str())
            .is_some_and(|rest| rest.starts_with(SEPARATOR))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message's flags in one mailbox: bits 0 to 4 are the system flags, bit `8 + n` is
/// keyword `n` of the mailbox's keyword table ([`MailboxInfo::keywords`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u64);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const SEEN: Flags = Flags(1);
    pub const ANSWERED: Flags = Flags(2);
    pub const FLAGGED: Flags = Flags(4);
    pub const DELETED: Flags = Flags(8);
    pub const DRAFT: Flags = Flags(16);
    /// Every system flag that a client may set, with its name on the wire.
    pub const SYSTEM: [(Flags, &'static str); 5] = [
        (Flags::ANSWERED, "\\Answered"),
        (Flags::FLAGGED, "\\Flagged"),
        (Flags::DELETED, "\\Deleted"),
        (Flags::SEEN, "\\Seen"),
        (Flags::DRAFT, "\\Draft"),
    ];

    pub fn keyword(n: usize) -> Flags {
        debug_assert!(n < MAX_KEYWORDS);
        Flags(1 << (8 + n))
    }

    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// The numbers of the keywords set.
    pub fn keywords(self) -> impl Iterator<Item = usize> {
        (0..MAX_KEYWORDS).filter(move |n| self.0 >> (8 + n) & 1 == 1)
    }
}

/// Flags by name, before a mailbox's keyword table turns them into [`Flags`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagNames {
    /// System flags alone.
    pub system: Flags,
    pub keywords: Vec<String>,
}

/// A moment with its zone, as INTERNALDATE keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix: i64,
    /// Offset from UTC, minutes.
    pub offset: i16,
}

/// One message of one mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub uid: Uid,
    pub email: EmailId,
    pub flags: Flags,
    pub internal_date: DateTime,
    /// When it came into this mailbox (RFC 8514), seconds since 1970.
    pub save_date: i64,
    pub modseq: ModSeq,
    /// RFC822.SIZE: bytes of the message as FETCH BODY[] gives it.
    pub size: u32,
}

/// SPECIAL-USE attributes (RFC 6154).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    Archive,
    Drafts,
    Junk,
    Sent,
    Trash,
}

impl SpecialUse {
    pub const ALL: [(SpecialUse, &'static str); 5] = [
        (SpecialUse::Archive, "\\Archive"),
        (SpecialUse::Drafts, "\\Drafts"),
        (SpecialUse::Junk, "\\Junk"),
        (SpecialUse::Sent, "\\Sent"),
        (SpecialUse::Trash, "\\Trash"),
    ];

    pub fn name(self) -> &'static str {
        SpecialUse::ALL
            .iter()
            .find(|(it, _)| *it == self)
            .map_or("", |(_, name)| name)
    }
}

/// A mailbox and its counters, all kept up to date by each write: reading them scans nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxInfo {
    pub id: MailboxId,
    pub account: AccountId,
    pub name: MailboxName,
    pub uid_validity: UidValidity,
    pub uid_next: Uid,
    pub highest_modseq: ModSeq,
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    /// Sum of the sizes of all messages, bytes.
    pub size: u64,
    pub special_use: Option<SpecialUse>,
    pub subscribed: bool,
    /// The keyword table: names in the case first seen; found case-insensitively.
    pub keywords: Vec<String>,
}

/// A set of UIDs as ascending, disjoint, non-adjacent inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidSet(Vec<(u32, u32)>);

impl UidSet {
    pub fn new() -> UidSet {
        UidSet::default()
    }

    /// Puts the ranges in order and joins those that touch.
    pub fn from_ranges(mut ranges: Vec<(u32, u32)>) -> UidSet {
        ranges.sort_unstable();
        let mut set = UidSet::new();
        for (low, high) in ranges {
            set.push_range(low, high);
        }
        set
    }

    /// Adds a UID; cheap when it is the highest so far.
    pub fn insert(&mut self, uid: Uid) {
        let uid = uid.get();
        match self.0.last() {
            Some(&(_, high)) if uid <= high => {
                let mut ranges = std::mem::take(&mut self.0);
                ranges.push((uid, uid));
                *self = UidSet::from_ranges(ranges);
            }
            _ => self.push_range(uid, uid),
        }
    }

    fn push_range(&mut self, low: u32, high: u32) {
        match self.0.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => self.0.push((low, high)),
        }
    }

    pub fn contains(&self, uid: Uid) -> bool {
        let uid = uid.get();
        let at = self.0.partition_point(|&(_, high)| high < uid);
        self.0.get(at).is_some_and(|&(low, _)| low <= uid)
    }

    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers the ranges span.
    pub fn len(&self) -> u64 {
        self.0
            .iter()
            .map(|&(low, high)| u64::from(high - low) + 1)
            .sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.0
            .iter()
            .flat_map(|&(low, high)| low..=high)
            .filter_map(Uid::new)
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> UidSet {
        UidSet::from_ranges(uids.into_iter().map(|uid| (uid.get(), uid.get())).collect())
    }
}

/// `1:3,7`, as IMAP writes a set.
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (low, high)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}:{high}")?;
            }
        }
        Ok(())
    }
}

/// What one commit did to a mailbox, told to every session that has it selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New messages, ascending by UID.
    Arrived(Vec<Message>),
    /// Messages gone for good.
    Expunged { uids: UidSet, modseq: ModSeq },
    /// New flags; `keywords` is the mailbox's table where it grew, else empty.
    Flags {
        messages: Vec<(Uid, Flags, ModSeq)>,
        keywords: Vec<String>,
    },
    /// Its access key is another or gone: no URL of before holds (RFC 4467, RESETKEY).
    KeyReset,
    /// The mailbox itself was deleted.
    Deleted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_the_inbox_rule() {
        assert_eq!(MailboxName::parse("inbox").map(|n| n.is_inbox()), Ok(true));
        assert_eq!(
            MailboxName::parse("iNbOx/a").map(|n| n.to_string()),
            Ok("INBOX/a".into())
        );
        assert_eq!(
            MailboxName::parse("a/inbox/").map(|n| n.to_string()),
            Ok("a/inbox".into())
        );
        assert_eq!(MailboxName::parse("a//b"), Err(NameError::EmptyPart));
        assert_eq!(MailboxName::parse("a*b"), Err(NameError::Forbidden('*')));
        assert_eq!(MailboxName::parse("/"), Err(NameError::Empty));
    }

    #[test]
    fn uid_sets_join_and_print() {
        let set = UidSet::from_ranges(vec![(7, 7), (1, 2), (3, 3), (9, 12), (10, 11)]);
        assert_eq!(set.to_string(), "1:3,7,9:12");
        assert_eq!(set.len(), 8);
        assert!(Uid::new(10).is_some_and(|uid| set.contains(uid)));
        assert!(Uid::new(8).is_some_and(|uid| !set.contains(uid)));
    }
}
