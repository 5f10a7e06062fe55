//! Certificates by ACME (RFC 8555): ordered when they are due, kept, and told of when they are
//! about to end.
//!
//! [`keeper`] decides when, [`order`] is one order from its beginning to its end, [`client`]
//! talks to the authority, [`answers`] shows that the names are ours (HTTP-01, TLS-ALPN-01,
//! DNS-01), [`state`] is what outlives a restart, and [`alarm`] says when people are told.
//! [`json`], [`http`], [`jose`] and [`message`] read and write, without I/O.

pub mod alarm;
mod answers;
mod client;
pub mod http;
pub mod jose;
pub mod json;
mod keeper;
pub mod message;
mod order;
pub mod state;

pub use keeper::{Keeper, Status, reload};

use std::time::Duration;

/// Why there is no certificate, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub why: String,
    /// How long the authority asks us to wait before the next try.
    pub wait: Option<Duration>,
    /// Whether the authority was there: what it refused must not be asked again soon.
    pub reached: bool,
    /// Whether the order that was under way is over with it: to go on with it is of no use.
    pub over: bool,
}

impl Failure {
    fn new(why: impl Into<String>) -> Failure {
        Failure {
            why: why.into(),
            wait: None,
            reached: true,
            over: false,
        }
    }

    fn over(why: impl Into<String>) -> Failure {
        Failure {
            over: true,
            ..Failure::new(why)
        }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure::new(why)
    }
}
