//! IMAP4rev1 (RFC 3501) and its extensions.
//!
//! Bytes to types: [`framer`] cuts the stream into commands, [`parse`] reads one into a
//! [`command::Command`], with [`sequence`], [`date`], [`utf7`] and [`pattern`] for the small
//! languages inside. Types to bytes: [`response`].

pub mod command;
pub mod date;
pub mod framer;
pub mod parse;
pub mod pattern;
pub mod response;
pub mod sequence;
pub mod utf7;
