//! SASL mechanisms of the server side: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 5802,
//! 7677). Pure: an [`Exchange`] turns the client's answers into turns; what only the
//! login service can know is an [`Ask`], answered by a [`Verdict`].

use crate::mail::Account;
use crate::secret::{ScramKeys, Secret};

/// Longest client answer, bytes after base64 decoding.
pub const MAX_RESPONSE: usize = 9 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Login,
    ScramSha256,
}

/// What the exchange wants next.
#[derive(Debug)]
pub enum Turn {
    /// Send this (base64 is the protocol's part) and give the answer to [`Exchange::respond`].
    Challenge(Vec<u8>),
    /// Let the login service answer, and give that to [`Exchange::verdict`].
    Ask(Ask),
    /// The login holds. `last` is data for the client that a success may carry; where the
    /// protocol can't carry it, it is sent as a challenge first and an empty answer taken.
    Granted {
        account: Account,
        last: Option<Vec<u8>>,
    },
    Denied(Denial),
}

#[derive(Debug)]
pub enum Ask {
    /// Is this the password of this login name?
    Password {
        login: String,
        password: Secret<String>,
    },
    /// The SCRAM keys of this login name; for an unknown one, steady made-up ones.
    Keys { login: String },
    /// SCRAM has been won (or lost): who is it, and count it.
    Proof { login: String, won: bool },
}

#[derive(Debug)]
pub enum Verdict {
    Granted(Account),
    Keys(ScramKeys),
    Denied(Denial),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Unknown name or wrong password: never told apart.
    Credentials,
    /// Too many failures from there: try later.
    Wait,
    /// The store can't answer now.
    Unavailable,
    /// The client's bytes are no such exchange.
    Malformed,
    /// The client gave up with `*`.
    Cancelled,
}

/// One AUTH or AUTHENTICATE in progress.
pub struct Exchange {}

impl Exchange {
    /// `nonce` is fresh printable randomness for SCRAM.
    pub fn new(_mechanism: Mechanism, _nonce: String) -> Exchange {
        todo!()
    }
    /// The first turn: `initial` is the initial response where the command carried one
    /// (an empty one is `Some(&[])`).
    pub fn start(&mut self, _initial: Option<&[u8]>) -> Turn {
        todo!()
    }
    /// The client's answer to a challenge, base64 decoded.
    pub fn respond(&mut self, _answer: &[u8]) -> Turn {
        todo!()
    }
    /// The login service's answer to an [`Ask`].
    pub fn verdict(&mut self, _verdict: Verdict) -> Turn {
        todo!()
    }
}
