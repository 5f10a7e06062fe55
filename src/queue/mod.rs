//! The outgoing queue at work: what is due goes out, what can't go yet waits longer, and
//! who sent it is told what he asked to be told.
//!
//! The items are in the store ([`crate::store::Store::update_queue`]); here are only their
//! numbers. [`runner`] picks what is due; [`ready`] holds it, by destination; [`attempt`]
//! hands one message for one destination to the [`Carrier`] and records what came of it;
//! [`retry`] says when to try again; [`tell`] writes the notices.
//!
//! The way out is [`transport`]: a [`route`] of the owner's, or the domain's own servers
//! ([`destination`], [`policy`], [`sts`]); a [`connection`], or one from the [`pool`], takes the
//! [`letter`].

pub mod attempt;
pub mod connection;
pub mod destination;
pub mod letter;
pub mod policy;
pub mod pool;
pub mod ready;
pub mod retry;
pub mod route;
pub mod runner;
pub mod sts;
pub mod tell;
pub mod transport;

use crate::mail::outgoing::{Consignment, Outcome};
use std::future::Future;

/// Takes mail to the next server.
pub trait Carrier: Send + Sync + 'static {
    /// What it came to, by the recipients' places. A place without an outcome is tried again.
    fn send(&self, consignment: Consignment) -> impl Future<Output = Vec<(usize, Outcome)>> + Send;
}
