//! The store as a whole, on a disk whose power can fail.

mod basics;
mod model;
mod power;
mod support;
