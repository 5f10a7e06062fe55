//! All integration tests are one binary: one link, one run.

mod fuzz;
mod layout;
mod smtp;
mod support;
