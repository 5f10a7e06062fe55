//! The store as a whole, on a disk whose power can fail.

mod audit;
mod basics;
mod changes;
pub(super) mod check;
mod cuts;
mod log;
mod model;
mod outbox;
mod power;
mod quota;
mod records;
mod recovery;
mod schema;
mod space;
pub(super) mod support;
mod unbinary;
mod vanished;
mod writer;
