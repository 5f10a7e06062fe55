//! All integration tests are one binary: one link, one run.

mod fuzz;
mod smtp;
mod support;
