//! IMAP4rev1 (RFC 3501) and its extensions.
//!
//! Bytes to types: [`framer`] cuts the stream into commands, [`parse`] reads one into a
//! [`command::Command`], with [`sequence`], [`date`], [`utf7`] and [`pattern`] for the small
//! languages inside. Types to bytes: [`response`].
//!
//! Between them: [`session`] is the state machine, [`view`] what it knows of its mailbox
//! ([`numbering`]), [`fetch`], [`search`], [`list`], [`flags`], [`capability`] what commands
//! mean; [`serve`] drives it all.

pub mod capability;
pub mod client;
pub mod command;
pub mod date;
pub mod fetch;
pub mod flags;
pub mod framer;
pub mod list;
pub mod needs;
pub mod numbering;
pub mod parse;
pub mod pattern;
pub mod response;
pub mod search;
pub mod sequence;
pub mod serve;
pub mod session;
pub mod utf7;
pub mod view;
