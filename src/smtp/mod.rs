//! SMTP (RFC 5321), for submission (RFC 6409) and from other servers, and LMTP (RFC 2033).
//!
//! Bytes to types: [`command`]; types to bytes: [`reply`]. [`session`] is the state
//! machine; [`ask`] is what it wants to know of the world. It reads lines in [`line`]; its
//! commands are in [`hello`] (EHLO), [`login`] (AUTH), [`transaction`] (the envelope) and
//! [`incoming`] (the message; [`burl`]: what is here already), of which [`text`] finds the
//! end, [`repair`] mends the header and [`author`] says who may send it. [`tally`] and
//! [`patience`] let go who only takes a place. [`serve`] drives it all.

pub mod ask;
pub mod author;
pub mod burl;
pub mod client;
pub mod command;
pub mod hello;
pub mod incoming;
pub mod line;
pub mod login;
mod needs;
pub mod passage;
pub mod patience;
pub mod policy;
pub mod repair;
pub mod reply;
pub mod role;
pub mod serve;
pub mod session;
pub mod tally;
pub mod text;
pub mod transaction;
mod xclient;
