//! Reading messages. Pure: no I/O; everything works on bytes as they come.

pub mod header;
pub mod structure;
pub mod text;
