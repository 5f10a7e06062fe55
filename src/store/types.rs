//! What the store's calls take and give.

use super::schema::{SCHEMAS, Schemas};
use super::staging::Staged;
use crate::address::Domain;
use crate::mail::outgoing::{Envelope, Recipient, Status};
use crate::mail::*;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// redb's page cache, bytes.
    pub cache: usize,
    /// Free space below which nothing new is taken, bytes.
    pub reserve: u64,
    /// Size of the file that is dropped to make room for deletes on a full disk, bytes.
    pub ballast: u64,
    /// Largest message, bytes.
    pub max_message: u64,
    /// Whether a store of an older schema is taken to the newest: for the server's own start,
    /// and not while its version is on trial.
    pub raise_schema: bool,
    pub schemas: Schemas,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache: 4 << 20,
            reserve: 8 << 20,
            ballast: 2 << 20,
            max_message: 100 << 20,
            raise_schema: false,
            schemas: SCHEMAS,
        }
    }
}

/// Where one copy of a delivery goes.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub account: AccountId,
    /// Made (and subscribed) if missing; INBOX always exists.
    pub mailbox: MailboxName,
    pub flags: FlagNames,
}

/// A message for the queue, before it has a number.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// Who submitted it; `None` for a device, for what the server itself writes and for what
    /// comes from outside.
    pub account: Option<AccountId>,
    /// See [`QueueItem::ours`](crate::mail::outgoing::QueueItem::ours).
    pub ours: bool,
    /// The name that `250` and Received gave it.
    pub name: String,
    /// Seconds since 1970.
    pub submitted: i64,
    pub envelope: Envelope,
    /// 1 to [`MAX_QUEUE_RECIPIENTS`](super::MAX_QUEUE_RECIPIENTS), all waiting.
    pub recipients: Vec<Recipient>,
}

/// A message, and all the places it goes to.
pub struct Posting {
    pub message: Staged,
    pub date: DateTime,
    pub deliveries: Vec<Delivery>,
    pub queued: Option<NewItem>,
}

/// Where the copies of a queued message go for whom it is to be delivered here.
#[derive(Clone, Debug, Default)]
pub struct HandOver {
    pub deliveries: Vec<Delivery>,
    /// For members of groups that are elsewhere.
    pub queued: Vec<NewItem>,
}

/// What becomes of a queued message. A recipient whose status is final keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// New statuses, by the recipients' places.
    Statuses(Vec<(usize, Status)>),
    Hold(bool),
    /// All recipients, or those of a domain, are due at this moment, seconds since 1970, and
    /// their pauses begin anew.
    Retry {
        at: i64,
        domain: Option<Domain>,
    },
    /// All recipients, or those of a domain, are given up; nobody is told.
    Drop {
        domain: Option<Domain>,
    },
}

/// Where an APPEND, COPY or MOVE put messages (RFC 4315).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub uid_validity: UidValidity,
    /// (source UID, new UID), ascending by source; source is the new UID for an APPEND.
    pub uids: Vec<(Uid, Uid)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagChange {
    Set,
    Add,
    Remove,
}

/// What STORE did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// New flags of the messages that changed or, if unchanged, already were so.
    pub messages: Vec<(Uid, Flags, ModSeq)>,
    /// Not changed, for UNCHANGEDSINCE (RFC 7162, 3.1.3).
    pub modified: UidSet,
    /// The mailbox's keyword table afterwards, as in [`MailboxInfo::keywords`].
    pub keywords: Vec<String>,
}

/// Names the session that writes, so that the hub doesn't tell it its own change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin(pub Option<u64>);
