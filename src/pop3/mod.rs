//! POP3 (RFC 1939) with CAPA (2449), STLS (2595), AUTH (5034) and response codes (3206).
//!
//! [`session`] is the state machine, on [`command`], [`maildrop`] (what it sees) and
//! [`stuff`] (how messages go out); [`serve`] drives it.

pub mod command;
pub mod maildrop;
pub mod serve;
pub mod session;
pub mod stuff;
