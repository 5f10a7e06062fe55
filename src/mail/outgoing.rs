//! The nouns of mail on its way out, shared by submission, the store's queue and the client.

use super::{AccountId, EmailId};
use crate::address::{Address, Domain};
use std::sync::Arc;

/// The kind of the store's records that say where mail for other servers goes.
pub const ROUTES: &str = "route";

/// A queued message's number; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

/// What MAIL said of a message, and what has to be said again further on (RFC 5321, 2.3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path; `None` is the null path `<>`, which is never told of anything.
    pub sender: Option<Address>,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// BODY (RFC 6152, 3030).
    pub body: Body,
    /// ENVID, decoded (RFC 3461, 4.4).
    pub envelope_id: Option<String>,
    /// RET: what a notice of failure gives back (RFC 3461, 4.3).
    pub ret: Option<Ret>,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// MT-PRIORITY, -9 to 9 (RFC 6710).
    pub priority: i8,
    /// BY (RFC 2852).
    pub deliver_by: Option<DeliverBy>,
    /// HOLDFOR or HOLDUNTIL: not before this, seconds since 1970 (RFC 4865).
    pub hold_until: Option<i64>,
    /// The seconds of HOLDFOR, where it was said so: a notice repeats what was asked for.
    pub hold_for: Option<i64>,
}

impl Envelope {
    /// That of a notice about a message with this one: from the null path, so that it is never
    /// answered, and as safe and as urgent as the message (RFC 8689, 5; RFC 6710, 4.6).
    pub fn of_notice(&self) -> Envelope {
        Envelope {
            smtputf8: self.smtputf8,
            body: self.body.max(Body::EightBitMime),
            require_tls: self.require_tls,
            priority: self.priority,
            ..Envelope::default()
        }
    }
}

/// BODY of MAIL. The order is that of what a server must be able to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Body {
    #[default]
    SevenBit,
    EightBitMime,
    BinaryMime,
}

/// RET of MAIL (RFC 3461, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    Full,
    Headers,
}

/// BY of MAIL (RFC 2852, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliverBy {
    /// Seconds since 1970.
    pub until: i64,
    /// What happens then: the message is returned, or its sender told of the delay.
    pub returns: bool,
    /// Whether each relaying is told.
    pub trace: bool,
}

/// NOTIFY of RCPT (RFC 3461, 4.1): what the sender is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
    /// Whether NOTIFY was given: a server further on is then told the same.
    pub given: bool,
}

impl Notify {
    /// NOTIFY=NEVER.
    pub fn is_never(self) -> bool {
        self.given && !(self.success || self.failure || self.delay)
    }

    /// As a server is asked that does not know DELIVERBY, where the sender only wants to be
    /// told of a delay: that one is to tell it too (RFC 2852, 4.1.4.2).
    pub fn with_delay(self) -> Notify {
        match self.is_never() {
            true => self,
            false => Notify {
                delay: true,
                given: true,
                ..self
            },
        }
    }

    /// As it is passed on to the members of a group: who is told that the message was sent on
    /// to them is not told of each one's success (RFC 3461, 5.2.7.3).
    pub fn of_members(self) -> Notify {
        Notify {
            success: false,
            ..self
        }
    }
}

impl Default for Notify {
    /// Failure alone, and a delay where that is the server's habit (RFC 3461, 4.1).
    fn default() -> Notify {
        Notify {
            success: false,
            failure: true,
            delay: true,
            given: false,
        }
    }
}

/// A message in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueItem {
    pub id: QueueId,
    /// The stored bytes.
    pub email: EmailId,
    /// Bytes of the message.
    pub size: u32,
    /// Who submitted it; `None` for a device, for what the server itself writes and for what
    /// comes from outside.
    pub account: Option<AccountId>,
    /// Whether it was submitted or is a notice of this server. What another server brought and
    /// only goes on from here may claim any author: it is never signed (RFC 6376).
    pub ours: bool,
    /// The name that `250` and Received gave it.
    pub name: String,
    /// Seconds since 1970.
    pub submitted: i64,
    /// Stopped by the owner until released.
    pub held: bool,
    pub envelope: Envelope,
    /// A recipient's place in this list is its name.
    pub recipients: Vec<Recipient>,
}

/// One RCPT of a queued message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub address: Address,
    pub notify: Notify,
    /// ORCPT, decoded, as it was given: `rfc822;ann@example.org`.
    pub original: Option<String>,
    /// The group or alias that RCPT named, where that leads to `address`.
    pub accepted: Option<Address>,
    pub status: Status,
}

impl Recipient {
    /// Whom a notice tells of: the address as it was accepted, never what it stands for (RFC
    /// 3464, 2.3.2).
    pub fn named(&self) -> &Address {
        self.accepted.as_ref().unwrap_or(&self.address)
    }

    /// ORCPT for the next server: as given, else the address that RCPT named where another is
    /// named now (RFC 3461, 5.2.1). In a notice of ours the latter is no original recipient.
    pub fn orcpt(&self) -> Option<String> {
        let original = self.original.clone();
        original.or_else(|| self.accepted.as_ref().map(original_of))
    }
}

/// An address as ORCPT would say it (RFC 3461, 4.2; RFC 6533, 3).
fn original_of(address: &Address) -> String {
    let kind = match address.needs_utf8() {
        true => "utf-8",
        false => "rfc822",
    };
    format!("{kind};{address}")
}

/// Text beyond ASCII as utf-8-addr-xtext (RFC 6533, 3), which holds it in ASCII.
pub fn utf8_xtext(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_graphic() && !"\\+=".contains(c) => out.push(c),
            c => out.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    out
}

/// How far a recipient has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Waiting {
        /// Attempts so far.
        attempts: u32,
        /// The next attempt, seconds since 1970.
        next: i64,
        /// What the last attempt came to.
        last: Option<Reply>,
        /// Whether the sender has been told of the delay.
        told: bool,
    },
    /// For good; never tried again.
    Delivered(Reply),
    Failed(Reply),
}

impl Lane {
    /// The way of what is for mailboxes on this server.
    pub fn here() -> Lane {
        Lane {
            hop: "".into(),
            domain: None,
        }
    }
}

impl Status {
    /// Before the first attempt, which is due at `next`, seconds since 1970.
    pub fn waiting(next: i64) -> Status {
        Status::Waiting {
            attempts: 0,
            next,
            last: None,
            told: false,
        }
    }
}

/// What a server said, or what kept us from asking it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// 0 where no server replied.
    pub code: u16,
    /// `5.1.1` (RFC 3463); made up from the code where the server gave none.
    pub enhanced: String,
    /// Printable, one line, [`MAX_REPLY`] bytes at most.
    pub text: String,
    /// The server that said it, if one did.
    pub server: Option<String>,
}

/// Longest text of a [`Reply`] that is kept, bytes.
pub const MAX_REPLY: usize = 500;

/// What recipients of a message go together: they have the next server in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The next server, or the servers of which any will do, as far as that is known; by it
    /// limits and rests are counted.
    pub hop: Arc<str>,
    /// `None`: whatever their domain is, as with a smarthost.
    pub domain: Option<Domain>,
}

/// One message for those of its recipients that the same server may take.
#[derive(Clone, Debug)]
pub struct Consignment {
    pub item: QueueItem,
    /// The lane of all the recipients below.
    pub lane: Lane,
    /// Places in `item.recipients`.
    pub recipients: Vec<usize>,
}

/// What an attempt came to for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The next server has taken it.
    Delivered {
        reply: Reply,
        /// It knows DSN, so what NOTIFY asks for is its duty now; else a notice "relayed" is
        /// ours to send (RFC 3461, 5.2).
        notifies: bool,
        /// It knows DELIVERBY, so the time that the sender gave is its care now (RFC 2852).
        keeps_time: bool,
    },
    /// Another attempt makes sense.
    Deferred(Reply),
    /// It doesn't.
    Failed(Reply),
}

/// Bytes at the start of a stored message that are not passed on: the Return-Path that is
/// for the mailboxes here (RFC 5321, 4.4). `head`: its first [`MAX_KEPT_HERE`] bytes.
pub fn kept_here(head: &[u8]) -> usize {
    const NAME: &[u8] = b"Return-Path:";
    let start = head.get(..NAME.len()).unwrap_or_default();
    if !start.eq_ignore_ascii_case(NAME) {
        return 0;
    }
    head.windows(2)
        .position(|it| it == b"\r\n")
        .map_or(0, |at| at + 2)
}

/// Longest Return-Path line that this server writes, bytes.
pub const MAX_KEPT_HERE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_return_path_stays_here() {
        let head = b"Return-Path: <a@b.de>\r\nReceived: x\r\n";
        assert_eq!(kept_here(head), 23);
        assert_eq!(kept_here(b"Received: x\r\nReturn-Path: <>\r\n"), 0);
        assert_eq!(kept_here(b"Return-Path: <>"), 0);
        assert_eq!(kept_here(b""), 0);
    }
}
