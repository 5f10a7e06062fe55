//! Submission (RFC 6409) over SMTP (RFC 5321).
//!
//! Bytes to types: [`command`]; types to bytes: [`reply`]. [`session`] is the state
//! machine; its commands are in [`login`] (AUTH), [`transaction`] (the envelope) and
//! [`incoming`] (the message), of which [`text`] finds the end, [`repair`] mends the
//! header and [`author`] says who may send it. [`serve`] drives it all.

pub mod author;
pub mod client;
pub mod command;
pub mod incoming;
pub mod login;
pub mod repair;
pub mod reply;
pub mod serve;
pub mod session;
pub mod text;
pub mod transaction;
