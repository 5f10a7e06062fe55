//! Sockets: listeners and their limits, streams with deadlines, TLS.

pub mod authority;
pub mod client_certificate;
pub mod connect;
pub mod dns;
pub mod exporter;
pub mod limit;
pub mod listen;
pub mod passed;
mod record;
pub mod relay;
pub mod source;
pub mod stream;
pub mod tap;
pub mod tls;
pub mod trust;
pub mod x509;
