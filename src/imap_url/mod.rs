//! IMAP URLs: their form ([`url`]), what they name ([`content`]), and who may read it
//! ([`access`]).
//!
//! CATENATE and URLFETCH in IMAP and BURL at submission put messages together out of what is
//! in the store already. All resolve a URL here, in the process and on the store.

pub mod access;
pub mod content;
#[cfg(test)]
mod tests;
pub mod url;

use crate::store::Error;

/// Why a URL gives nothing.
#[derive(Debug)]
pub enum Refusal {
    /// It is no URL of a message or a part, says the sentence.
    Syntax(&'static str),
    /// It is about another server, or another's mailbox.
    Foreign,
    /// Who asks may not have it: the token is wrong, late or for somebody else.
    Forbidden,
    /// There is no such message or part.
    Missing,
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Store(error)
    }
}
