//! The one place of test doubles and helpers.

pub mod client;
pub mod pattern;
pub mod server;
pub mod transcript;
