//! POP3 (RFC 1939) with CAPA (2449), STLS (2595), AUTH (5034), response codes (3206), UTF8 and
//! LANG (6856).
//!
//! [`session`] is the state machine, with [`login`] and [`transaction`], on [`command`],
//! [`text`] (what it says), [`maildrop`] (what it sees), [`stuff`] and [`surrogate`] (how
//! messages go out); [`serve`] drives it.

pub mod client;
pub mod command;
mod login;
pub mod maildrop;
pub mod serve;
pub mod session;
pub mod stuff;
pub mod surrogate;
pub mod text;
mod transaction;
