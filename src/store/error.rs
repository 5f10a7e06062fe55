//! Why the store did not do what it was asked, and how redb's and the disk's errors map to it.

use std::fmt;
use std::io;

pub type Result<T> = std::result::Result<T, Error>;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    NoAccount,
    NoMailbox,
    /// An account, alias or mailbox of that name exists.
    Exists,
    /// INBOX can't be deleted; a mailbox can't be renamed below itself.
    Forbidden(&'static str),
    /// Over a limit of the store: keywords, mailboxes, UIDs.
    Limit(&'static str),
    /// The account may not hold as much (RFC 9208).
    OverQuota,
    /// Too large for the limit on message size.
    TooLarge,
    /// The free-space reserve is reached or the disk is full: try later.
    Full,
    /// Too many uploads at once, or the writer's queue stays full: try later.
    Busy,
    /// What is stored doesn't match its checksum or form.
    Corrupt(String),
    /// The disk or the database failed; the supervisor reopens it: try later.
    Storage(String),
    /// The store is closed or closing.
    Closed,
    /// The store was written by another version, or is in use by another process.
    Unusable(String),
}

impl Error {
    /// Whether the database handle must be dropped and opened again: redb refuses every
    /// further call after an I/O error, a full disk's too.
    pub(super) fn breaks_handle(&self) -> bool {
        matches!(self, Error::Storage(_) | Error::Full)
    }

    pub(super) fn corrupt(what: &str) -> Error {
        Error::Corrupt(what.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoAccount => f.write_str("no such account"),
            Error::NoMailbox => f.write_str("no such mailbox"),
            Error::Exists => f.write_str("that name is taken"),
            Error::Forbidden(why) => f.write_str(why),
            Error::Limit(what) => write!(f, "over the limit on {what}"),
            Error::OverQuota => f.write_str("the mailbox is full"),
            Error::TooLarge => f.write_str("the message is too large"),
            Error::Full => f.write_str("the disk is full"),
            Error::Busy => f.write_str("too much at once"),
            Error::Corrupt(what) => write!(f, "what is stored is damaged: {what}"),
            Error::Storage(what) => write!(f, "the storage failed: {what}"),
            Error::Closed => f.write_str("the store is closed"),
            Error::Unusable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full,
            _ => Error::Storage(error.to_string()),
        }
    }
}

impl From<redb::Error> for Error {
    fn from(error: redb::Error) -> Error {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::Corrupted(what) => Error::Corrupt(what),
            // Up to version 2, the tables were of many types.
            redb::Error::TableTypeMismatch { .. } => Error::Unusable(
                "the store was written by an older version of this program, whose stores this one \
                 can't read"
                    .into(),
            ),
            redb::Error::DatabaseAlreadyOpen => {
                Error::Unusable("the store is in use by another process".into())
            }
            other => Error::Storage(other.to_string()),
        }
    }
}

impl From<redb::StorageError> for Error {
    fn from(error: redb::StorageError) -> Error {
        redb::Error::from(error).into()
    }
}

impl From<redb::TableError> for Error {
    fn from(error: redb::TableError) -> Error {
        redb::Error::from(error).into()
    }
}

impl From<redb::TransactionError> for Error {
    fn from(error: redb::TransactionError) -> Error {
        redb::Error::from(error).into()
    }
}

impl From<redb::CommitError> for Error {
    fn from(error: redb::CommitError) -> Error {
        redb::Error::from(error).into()
    }
}

impl From<redb::DatabaseError> for Error {
    fn from(error: redb::DatabaseError) -> Error {
        redb::Error::from(error).into()
    }
}
