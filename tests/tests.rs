//! All integration tests are one binary: one link, one run.

mod cli;
mod fuzz;
mod imap;
mod layout;
mod places;
mod pop3;
mod smtp;
mod support;
