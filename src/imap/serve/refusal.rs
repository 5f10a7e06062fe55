//! What a trouble of the store is answered with.

use crate::imap::response::Code;
use crate::imap::session::Outcome;
use crate::store::Error;

/// Says whose fault it is, and what to do next. What is ours is logged.
pub fn refusal(error: &Error) -> Outcome {
    match error {
        Error::NoMailbox => Outcome::no(
            Code::NonExistent,
            "There is no such mailbox: LIST shows those there are.",
        ),
        Error::NoAccount => Outcome::no(
            Code::Unavailable,
            "This account was deleted: ask the administrator.",
        ),
        Error::Exists => Outcome::no(
            Code::AlreadyExists,
            "A mailbox of that name exists: choose another name.",
        ),
        Error::Forbidden(what) => Outcome::no(Code::Cannot, *what),
        Error::Limit(what) => {
            Outcome::no(Code::Limit, format!("That is over the limit on {what}."))
        }
        Error::OverQuota => Outcome::no(
            Code::OverQuota,
            "This mailbox is full: delete something and empty the trash first.",
        ),
        Error::TooLarge => Outcome::no(
            Code::TooBig,
            "The message is too large: APPENDLIMIT names the limit.",
        ),
        Error::Full => Outcome::no(
            Code::OverQuota,
            "The disk is full: delete something, or try again later.",
        ),
        Error::Busy => Outcome::no(
            Code::Unavailable,
            "Too much at once: try again in a minute.",
        ),
        Error::Corrupt(what) => {
            log::error!("stored mail is damaged: {what}");
            Outcome::no(
                Code::Corruption,
                "What is stored is damaged: ask the administrator to check the store.",
            )
        }
        Error::Storage(_) | Error::Closed | Error::Unusable(_) => {
            log::warn!("IMAP is refused by the store: {error}");
            Outcome::no(
                Code::Unavailable,
                "The store can't do that now: try again in a minute.",
            )
        }
    }
}

/// The same for the target of APPEND, COPY and MOVE: a missing one can be made (RFC 3501, 6.3.11).
pub fn target_refusal(error: &Error) -> Outcome {
    match error {
        Error::NoMailbox => Outcome::no(
            Code::TryCreate,
            "There is no such mailbox: CREATE it, then try again.",
        ),
        error => refusal(error),
    }
}
