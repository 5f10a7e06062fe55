//! TLS by rustls with ring, 1.2 and 1.3.

/// The server's current certificate and configuration; a clone is cheap, and new
/// connections see what `replace` set.
#[derive(Clone)]
pub struct Tls {}
