//! What a session asks of its driver, and how the driver answers.

use crate::imap::command::{
    Append, FetchItem, FlagOp, List, SearchKey, SearchReturn, StatusItem, StoreFlags,
};
use crate::imap::response::{Code, Status, coded, tagged};
use crate::mail::{FlagNames, MailboxName, SpecialUse, UidSet};
use crate::sasl;
use std::borrow::Cow;

/// What only the world can give. Each is answered once, by the method named.
#[derive(Debug)]
pub enum Ask {
    /// Make an exchange with a fresh nonce: `begin`.
    Exchange { mechanism: sasl::Mechanism },
    /// `verdict`.
    Login(sasl::Ask),
    /// `selected`, or `complete` with a refusal.
    Select { name: MailboxName, read_only: bool },
    /// Look at an APPEND's mailbox and size: `accept_append` or `refuse_append`.
    Append { append: Append, name: MailboxName },
    /// Put what the URL names into the message (RFC 4469); `refuse_append` if that fails.
    AppendUrl(String),
    /// Look at the size of a text to come: `accept_append` or `refuse_append`.
    AppendText { size: u64, binary: bool },
    /// The message is whole: commit it, then `complete`.
    AppendEnd,
    /// `complete`.
    Do(Action),
}

/// A command on the store: its untagged answers are the driver's to write.
#[derive(Debug)]
pub enum Action {
    /// NOOP, CHECK, the end of IDLE: there is nothing to do but to tell the news.
    Poll(&'static str),
    Create {
        name: MailboxName,
        special_use: Option<SpecialUse>,
    },
    Delete(MailboxName),
    Rename {
        from: MailboxName,
        to: MailboxName,
    },
    Subscribe {
        name: MailboxName,
        subscribed: bool,
    },
    List(List),
    Lsub {
        reference: String,
        pattern: String,
    },
    Status {
        /// As the client wrote it, to answer under the same name.
        name: MailboxName,
        items: Vec<StatusItem>,
    },
    /// The account's quota; of a mailbox, whose root it is.
    Quota(Option<MailboxName>),
    Fetch(Fetch),
    Search(Search),
    Store(Store),
    Copy {
        uids: UidSet,
        to: MailboxName,
    },
    Move {
        uids: UidSet,
        to: MailboxName,
    },
    /// RFC 4467; see [`Command`](crate::imap::command::Command).
    GenUrlAuth(Vec<(String, String)>),
    UrlFetch(Vec<String>),
    ResetKey {
        mailbox: Option<MailboxName>,
        mechanisms: Vec<String>,
    },
    /// Of these UIDs, or all that are \Deleted.
    Expunge(Option<UidSet>),
    /// CLOSE expunges silently where the mailbox is not read-only; UNSELECT does not.
    Close {
        expunge: bool,
    },
}

#[derive(Debug)]
pub struct Fetch {
    pub uid: bool,
    /// Those of the set that the session knows.
    pub uids: UidSet,
    pub items: Vec<FetchItem>,
    pub changed_since: Option<u64>,
}

#[derive(Debug)]
pub struct Search {
    pub tag: String,
    pub uid: bool,
    pub options: Option<SearchReturn>,
    pub key: SearchKey,
}

#[derive(Debug)]
pub struct Store {
    pub uid: bool,
    pub uids: UidSet,
    pub change: FlagOp,
    pub flags: FlagNames,
    pub silent: bool,
    pub unchanged_since: Option<u64>,
}

impl Store {
    pub fn new(command: StoreFlags, uids: UidSet) -> Store {
        Store {
            uid: command.uid,
            uids,
            change: command.change,
            flags: command.flags,
            silent: command.silent,
            unchanged_since: command.unchanged_since,
        }
    }
}

/// How a command ended: its tagged response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: Status,
    /// As it stands between the brackets; empty for none.
    pub code: String,
    pub text: Cow<'static, str>,
}

impl Outcome {
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::new(Status::Ok, text)
    }

    pub fn no(code: Code, text: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::new(Status::No, text).with(code)
    }

    pub fn bad(text: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::new(Status::Bad, text)
    }

    fn new(status: Status, text: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome {
            status,
            code: String::new(),
            text: text.into(),
        }
    }

    pub fn with(mut self, code: Code) -> Outcome {
        self.code = coded(code);
        self
    }

    pub fn write(&self, tag: &str, out: &mut Vec<u8>) {
        let code = (!self.code.is_empty()).then_some(Code::Written(&self.code));
        tagged(out, tag, self.status, code, &self.text);
    }
}
