//! What a session asks the world, and what that may answer.

use super::repair::Stamp;
use super::reply::Reply;
use crate::address::{Address, Domain};
use crate::mail::outgoing::{self, Envelope};
use crate::mail::{AccountId, MailboxName};
use crate::message::notice::Delivered;
use crate::sasl;

#[derive(Debug)]
pub enum Ask {
    Authenticate(sasl::Ask),
    Recipient(Address),
    /// Whether a message of that announced size may be held back.
    Hold {
        size: Option<u64>,
    },
    /// Begin a message; `size` is what the client announced.
    Begin {
        size: Option<u64>,
    },
    /// Find what the URL names: [`Answer::Opened`].
    Open(String),
    /// Read on in it: [`Answer::Piece`].
    Piece,
    Commit(Box<Commit>),
}

/// Take the message, for all or none; then tell the sender, if asked to.
#[derive(Debug)]
pub struct Commit {
    /// The mailboxes that it goes to.
    pub local: Vec<(AccountId, MailboxName)>,
    /// Of LMTP: accounts for which somebody alone was named, who is told if they are full.
    pub alone: Vec<AccountId>,
    /// What is for other servers, and waits in the queue.
    pub remote: Vec<outgoing::Recipient>,
    /// As whom the accounts of `local` would wait with it, if they are full; a group's member, who
    /// has `accepted`, by an address that only the store knows.
    pub waiting: Vec<(AccountId, outgoing::Recipient)>,
    pub envelope: Envelope,
    /// Whether it may hold what is not lines of text, which no mailbox does.
    pub binary: bool,
    /// The name that the reply and Received give it.
    pub name: String,
    /// When it began to come, seconds since 1970.
    pub submitted: i64,
    pub delivered: Option<Delivered>,
    /// The domain of the first recipient for which the message goes on to other addresses.
    pub forwarder: Option<Domain>,
    /// Whether it goes to other servers for those alone to whom it is a bounce.
    pub returns: bool,
    /// Of mail from other servers: what is to be judged and traced.
    pub arrived: Option<Arrived>,
    /// The domain of the From field, where LMTP brought it and it is one.
    pub author: Option<String>,
}

/// How a message came in from another server.
#[derive(Debug, Default)]
pub struct Arrived {
    /// As the client called itself.
    pub client: String,
    /// Return-Path, to stand at the very front.
    pub return_path: String,
    /// Received, to stand behind what is found out.
    pub received: String,
}

pub enum Answer {
    Verdict(sasl::Verdict),
    Recipient(Result<Found, NoRecipient>),
    Held(Result<(), Trouble>),
    Begun(Result<Stamp, Trouble>),
    /// How many bytes it has.
    Opened(Result<u64, Reply>),
    /// None at the end.
    Piece(Result<Vec<u8>, Trouble>),
    Written(Trouble),
    /// The accounts whose mailboxes are full, and which go without.
    Committed(Result<Vec<AccountId>, Trouble>),
}

/// Where mail to a recipient goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub local: Vec<(AccountId, MailboxName)>,
    /// To other servers, by the queue: the recipient itself, or members of a group.
    pub remote: Vec<Address>,
    /// It is a bounce's, back to who wrote what went on from here.
    pub returns: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRecipient {
    /// The domain is ours, the name is not.
    Unknown,
    /// Its account is disabled and takes no mail.
    Disabled,
    /// Who sends has written to too many today that it never wrote to before.
    TooManyNew,
    /// Its mailbox is full; `never`: the message would not fit into an empty one.
    OverQuota {
        never: bool,
    },
    /// The domain is another server's, and there is no way to it: why, in a sentence.
    NoRoute(&'static str),
    /// The domain is none of ours and a single word: on whose network should that be?
    Unqualified,
    Trouble(Trouble),
}

/// Why the store does not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Full,
    /// The mailboxes that it is for are.
    OverQuota,
    TooLarge,
    /// Who sends it has as much held back as may be.
    TooMuchHeld,
    /// It has binary parts that can't be made others without loss.
    Unconvertible,
    /// Busy, or broken and to be mended.
    Later,
    /// It is against a rule, says the sentence.
    Refused(&'static str),
    /// Not now, says the sentence.
    Wait(&'static str),
}
