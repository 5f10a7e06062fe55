//! One connection's stream, plain or TLS, every read and write under a deadline.
//! The only file that reads sockets.

use crate::net::tls::Tls;
use crate::wire::Input;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// A client's connection.
pub struct Stream {}

impl Stream {
    /// The peer's address; loopback for a Unix socket.
    pub fn peer(&self) -> IpAddr {
        todo!()
    }

    pub fn is_tls(&self) -> bool {
        todo!()
    }

    /// Waits for bytes and appends them to `input`, 16 KiB at most a call. `Ok(0)` is the
    /// end; `TimedOut` after `wait`. Holds no buffer while it waits. Cancel-safe: dropped
    /// before it is ready, it has taken nothing.
    pub async fn receive(&mut self, _input: &mut Input, _wait: Duration) -> io::Result<usize> {
        todo!()
    }

    /// Writes all of it and flushes; `TimedOut` if any 64 KiB of it takes longer than the
    /// write timeout given at accept.
    pub async fn send(&mut self, _bytes: &[u8]) -> io::Result<()> {
        todo!()
    }

    /// The TLS handshake, as server, within the login timeout.
    pub async fn start_tls(&mut self, _tls: &Tls) -> io::Result<()> {
        todo!()
    }

    /// Says goodbye (close_notify) and closes.
    pub async fn close(&mut self) {
        todo!()
    }
}
