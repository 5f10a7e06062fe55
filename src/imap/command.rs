//! A client's commands as types. Grammar: RFC 3501, section 9, and each extension's own.

use crate::mail::{DateTime, FlagNames, SpecialUse};
pub use crate::message::section::{Partial, Section, SectionText};
use crate::secret::Secret;

/// One command line, literals included.
#[derive(Debug)]
pub struct Request {
    pub tag: String,
    pub command: Command,
}

/// A mailbox argument, already decoded from modified UTF-7, not yet checked.
pub type MailboxArg = String;

#[derive(Debug)]
pub enum Command {
    Capability,
    Noop,
    Logout,
    /// RFC 2971.
    Id(Vec<(String, Option<String>)>),
    StartTls,
    Authenticate {
        /// In upper case.
        mechanism: String,
        /// The initial response (RFC 4959), decoded from base64; `=` is an empty one.
        initial: Option<Secret<Vec<u8>>>,
    },
    Login {
        user: String,
        password: Secret<String>,
    },
    /// RFC 5161; names in upper case.
    Enable(Vec<String>),
    Select {
        mailbox: MailboxArg,
        read_only: bool,
        condstore: bool,
    },
    Create {
        mailbox: MailboxArg,
        special_use: Vec<SpecialUse>,
    },
    Delete(MailboxArg),
    Rename {
        from: MailboxArg,
        to: MailboxArg,
    },
    Subscribe(MailboxArg),
    Unsubscribe(MailboxArg),
    List(List),
    Lsub {
        reference: String,
        pattern: String,
    },
    Status {
        mailbox: MailboxArg,
        items: Vec<StatusItem>,
    },
    Namespace,
    /// The quota of this root (RFC 9208, 4.1.2).
    GetQuota(String),
    /// The roots of a mailbox, and their quotas (RFC 9208, 4.1.3).
    GetQuotaRoot(MailboxArg),
    Idle,
    Check,
    Close,
    Unselect,
    Expunge,
    /// RFC 4315.
    UidExpunge(SequenceSet),
    Search {
        uid: bool,
        options: Option<SearchReturn>,
        charset: Option<String>,
        key: SearchKey,
    },
    Fetch {
        uid: bool,
        set: SequenceSet,
        items: Vec<FetchItem>,
        changed_since: Option<u64>,
    },
    Store(StoreFlags),
    /// RFC 4467: pairs of a URL's rump and a mechanism, in upper case.
    GenUrlAuth(Vec<(String, String)>),
    UrlFetch(Vec<String>),
    /// The mechanisms in upper case.
    ResetKey {
        mailbox: Option<MailboxArg>,
        mechanisms: Vec<String>,
    },
    Copy {
        uid: bool,
        set: SequenceSet,
        mailbox: MailboxArg,
    },
    Move {
        uid: bool,
        set: SequenceSet,
        mailbox: MailboxArg,
    },
}

/// The head of an APPEND, parsed when its message literal is announced: the framer hands
/// the literal's bytes through, chunk by chunk, instead of keeping them.
#[derive(Debug)]
pub struct Append {
    pub tag: String,
    pub mailbox: MailboxArg,
    pub flags: FlagNames,
    pub date: Option<DateTime>,
    /// Bytes of the message to come.
    pub size: u64,
    /// `~{n}` (RFC 3516): may hold NUL.
    pub binary: bool,
    /// `{n+}`: sent without waiting (RFC 7888).
    pub non_synchronizing: bool,
    /// CATENATE (RFC 4469): the message is made of URLs and texts; `size` says nothing.
    pub catenate: bool,
}

/// Why a command is refused before anybody looks at what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Not the grammar, or over one of the parser's limits; the text says which: `BAD`.
    Syntax(&'static str),
    /// A literal, or a command with its literals, is too large (RFC 7888, 4): `BAD [TOOBIG]`.
    TooBig,
    /// SEARCH in a charset that is not known (RFC 3501, 6.4.4): `NO [BADCHARSET (…)]`.
    Charset,
    /// A mailbox name that is not in modified UTF-7: `NO [CANNOT]`.
    MailboxName,
    /// CREATE with a special use that is not kept here (RFC 6154, 3): `NO [USEATTR]`.
    SpecialUse,
}

/// A command that could not be read. `response::rejected` writes the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// `None`: not even the tag could be read, the answer is `* BAD`.
    pub tag: Option<String>,
    pub error: ParseError,
}

/// LIST, basic and with the SPECIAL-USE selection and return options (RFC 5258, 6154).
#[derive(Debug, Default)]
pub struct List {
    pub reference: String,
    pub patterns: Vec<String>,
    pub select_subscribed: bool,
    pub select_remote: bool,
    pub select_recursive_match: bool,
    pub select_special_use: bool,
    pub return_subscribed: bool,
    pub return_children: bool,
    pub return_special_use: bool,
    pub return_status: Vec<StatusItem>,
    /// The account goes without CHILDREN, SPECIAL-USE.
    pub without_children: bool,
    pub without_special_use: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    /// RFC 9208, 4.1.4.
    DeletedStorage,
    /// RFC 8438.
    Size,
    /// RFC 7162.
    HighestModSeq,
    /// RFC 7889.
    AppendLimit,
}

/// `1,3:*` as sent; `*` is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSet(pub Vec<(Option<u32>, Option<u32>)>);

/// RETURN options (RFC 4731); all false is `RETURN ()`, which means ALL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchReturn {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
}

/// Strings are decoded from the command's charset to UTF-8 by the parser.
#[derive(Clone, Debug, PartialEq)]
pub enum SearchKey {
    All,
    And(Vec<SearchKey>),
    Or(Box<SearchKey>, Box<SearchKey>),
    Not(Box<SearchKey>),
    /// System flags: ANSWERED, SEEN …; UNSEEN is `Not`.
    Flag(crate::mail::Flags),
    Keyword(String),
    Recent,
    /// NEW is RECENT UNSEEN, OLD is NOT RECENT: made by the parser.
    Header {
        name: String,
        value: String,
    },
    /// FROM, TO, CC, BCC, SUBJECT are `Header` with that name.
    Body(String),
    Text(String),
    /// Internal date, days since 1970-01-01 by its own zone.
    Before(i64),
    On(i64),
    Since(i64),
    /// The Date header, likewise.
    SentBefore(i64),
    SentOn(i64),
    SentSince(i64),
    Larger(u64),
    Smaller(u64),
    Uid(SequenceSet),
    Sequence(SequenceSet),
    /// RFC 7162, 3.1.5.
    ModSeq(u64),
    /// RFC 5032, seconds.
    Older(u64),
    Younger(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    Uid,
    Flags,
    InternalDate,
    Rfc822Size,
    Envelope,
    /// BODY without a section.
    Body,
    BodyStructure,
    ModSeq,
    /// BODY[…], BODY.PEEK[…] and RFC822, RFC822.HEADER, RFC822.TEXT, which answer under `name`.
    Section {
        section: Section,
        peek: bool,
        partial: Option<Partial>,
        name: SectionName,
    },
    /// BINARY[…], BINARY.PEEK[…] (RFC 3516).
    Binary {
        path: Vec<u32>,
        peek: bool,
        partial: Option<Partial>,
    },
    BinarySize(Vec<u32>),
}

/// Which name the answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionName {
    Body,
    Rfc822,
    Rfc822Header,
    Rfc822Text,
}

#[derive(Debug)]
pub struct StoreFlags {
    pub uid: bool,
    pub set: SequenceSet,
    pub change: FlagOp,
    pub flags: FlagNames,
    pub silent: bool,
    pub unchanged_since: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOp {
    Set,
    Add,
    Remove,
}
