//! Sockets: listeners and their limits, streams with deadlines, TLS.

pub mod listen;
pub mod stream;
pub mod tls;
