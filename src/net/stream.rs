//! One connection's stream, plain or TLS, every read and write under a deadline.
//! The only file that reads sockets.

use crate::mail::certificate::Certificate;
use crate::net::exporter::Binding;
use crate::net::limit::{Pass, Presence};
use crate::net::record::{MAX_PLAIN, MAX_SEALED, MAX_WIRE, Records};
use crate::net::tap::Tap;
use crate::net::tls::Tls;
use crate::wire::Input;
use async_io::{Async, Timer};
use futures_lite::future;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most bytes that one [`Stream::receive`] gives.
pub const MAX_RECEIVE: usize = MAX_WIRE;
/// How long a closing connection waits for the client to close too, so that a reset does
/// not eat the last reply on its way.
const LINGER: Duration = Duration::from_millis(500);
/// What it reads away meanwhile, at most.
const LINGER_BYTES: usize = 1 << 20;
/// Receives in a row that may go without giving way to other connections.
const MAX_TURNS: u8 = 16;

/// How long a stream waits for its client.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the whole TLS handshake.
    pub handshake: Duration,
    /// For each 64 KiB of output.
    pub write: Duration,
}

enum Socket {
    Tcp(Async<TcpStream>),
    Unix(Async<UnixStream>),
}

/// A client's connection.
pub struct Stream {
    socket: Socket,
    tls: Option<Box<Records>>,
    /// Sealed bytes that the socket has not taken yet.
    unsent: Vec<u8>,
    peer: IpAddr,
    deadlines: Deadlines,
    id: u64,
    pass: Option<Pass>,
    /// Said if the server ends the connection while it waits for the client.
    goodbye: &'static str,
    /// Said in its place to this client alone.
    farewell: &'static str,
    /// What has to be given back when the connection is over.
    held: Option<Box<dyn Send + Sync>>,
    /// Where what is said goes to the log, and under which name.
    tap: Option<Box<(&'static str, Tap)>>,
    /// Receives since it last gave way.
    turns: u8,
}

thread_local! {
    /// Where reads land before they are sorted: one a thread, so that an idle connection
    /// holds no buffer.
    static WIRE_IN: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_WIRE]);
    static WIRE_OUT: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_SEALED]);
}

impl Stream {
    /// An accepted connection.
    pub fn tcp(socket: Async<TcpStream>, peer: IpAddr, deadlines: Deadlines) -> Stream {
        // Replies are written whole: waiting to fill a segment only delays them.
        let _ = socket.get_ref().set_nodelay(true);
        Stream::new(Socket::Tcp(socket), peer.to_canonical(), deadlines)
    }

    /// A connection that we made.
    pub fn outgoing(socket: Async<TcpStream>, peer: IpAddr, deadlines: Deadlines) -> Stream {
        Stream::tcp(socket, peer, deadlines)
    }

    /// Whether there is something for the protocol already, bytes or the end. They go to
    /// `input`; nothing is waited for.
    pub fn has_news(&mut self, input: &mut Input) -> bool {
        loop {
            match self.receive_now(input) {
                // TLS's own: a server's tickets come behind the handshake.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return true,
            }
        }
    }

    /// An accepted connection of a Unix socket.
    pub fn unix(socket: Async<UnixStream>, deadlines: Deadlines) -> Stream {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Stream::new(Socket::Unix(socket), peer, deadlines)
    }

    /// A connection within this process: the server's end and the client's.
    pub fn pair() -> io::Result<(Stream, Async<UnixStream>)> {
        let (server, client) = Async::<UnixStream>::pair()?;
        let deadlines = Deadlines {
            handshake: Duration::from_secs(10),
            write: Duration::from_secs(10),
        };
        Ok((Stream::unix(server, deadlines), client))
    }

    fn new(socket: Socket, peer: IpAddr, deadlines: Deadlines) -> Stream {
        Stream {
            socket,
            tls: None,
            unsent: Vec::new(),
            peer,
            deadlines,
            id: 0,
            pass: None,
            goodbye: "",
            farewell: "",
            held: None,
            tap: None,
            turns: 0,
        }
    }

    /// Ties the stream to its place in the listener's count. `id` names it in logs;
    /// `goodbye` is what the client is told when the server shuts down.
    pub fn admitted(mut self, id: u64, pass: Pass, goodbye: &'static str) -> Stream {
        self.id = id;
        self.pass = Some(pass);
        self.goodbye = goodbye;
        self
    }

    /// What the client is told when the server ends its connection alone.
    pub fn with_farewell(mut self, farewell: &'static str) -> Stream {
        self.farewell = farewell;
        self
    }

    /// What is said goes to the log, with the service's name.
    pub fn with_tap(mut self, service: &'static str, tap: Tap) -> Stream {
        self.tap = Some(Box::new((service, tap)));
        self
    }

    /// Keeps it until the connection is over, in place of what was held before.
    pub fn hold(&mut self, held: Option<Box<dyn Send + Sync>>) {
        self.held = held;
    }

    /// The client has logged in: that frees a place for others that have not. More calls do nothing.
    pub fn authenticated(&mut self) {
        if let Some((_, tap)) = self.tap.as_deref_mut() {
            tap.logged_in();
        }
        if let Some(pass) = &mut self.pass {
            pass.authenticated();
        }
    }

    /// What others know of this connection.
    pub fn presence(&self) -> Option<Arc<Presence>> {
        self.pass.as_ref().map(|pass| pass.presence().clone())
    }

    /// A [`Stream::receive`] that was dropped leaves the connection among those that wait for
    /// their client, and shutdown ends those at once: this one has work to do.
    pub fn at_work(&self) {
        self.set_waiting(false);
    }

    /// The connection's number in this process, for logs; 0 in tests.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The peer's address; loopback for a Unix socket. An IPv4 client of an IPv6 socket is IPv4.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// A server that may be believed passes the connection on for that client: who it is
    /// from now on.
    pub fn passed_on_for(&mut self, client: IpAddr) {
        self.peer = client;
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// `tls-exporter` of RFC 9266: what a login can be bound to, under TLS 1.3 alone.
    pub fn binding(&self) -> Option<Binding> {
        self.tls.as_ref().and_then(|tls| tls.binding())
    }

    /// What the client has shown a certificate to be, if it was asked and has one.
    pub fn client_certificate(&self) -> Option<Certificate> {
        let tls = self.tls.as_ref().filter(|tls| !tls.is_handshaking())?;
        tls.client_certificate()
    }

    /// Waits for bytes and appends them to `input`, [`MAX_RECEIVE`] at most a call. `Ok(0)`
    /// is the end; `TimedOut` after `wait`. Holds no buffer while it waits. Cancel-safe:
    /// dropped before it is ready, it has taken nothing.
    pub async fn receive(&mut self, input: &mut Input, wait: Duration) -> io::Result<usize> {
        let deadline = Instant::now().checked_add(wait);
        loop {
            if let Some(n) = self.receive_part(input, deadline).await? {
                if let Some((service, tap)) = self.tap.as_deref_mut() {
                    let from = input.len().saturating_sub(n);
                    let bytes = input.bytes().get(from..).unwrap_or_default();
                    tap.client(bytes, &mut |line| protocol(service, self.id, line));
                }
                return Ok(n);
            }
        }
    }

    /// As [`Stream::receive`] without waiting: `None` if nothing is there.
    pub(super) fn take_now(&mut self, input: &mut Input) -> io::Result<Option<usize>> {
        loop {
            match self.receive_now(input) {
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => {
                    // It may be a TLS alert that tells the peer why.
                    let _ = self.flush_now();
                    return Err(error);
                }
                received => return received,
            }
        }
    }

    /// Sends of `input` what the socket takes without waiting; whether it took anything.
    pub(super) fn give_now(&mut self, input: &mut Input) -> io::Result<bool> {
        let mut moved = false;
        loop {
            let before = self.unsent.len();
            self.flush_now()?;
            moved |= self.unsent.len() < before;
            if !self.unsent.is_empty() || input.is_empty() {
                return Ok(moved);
            }
            let most = MAX_PLAIN.min(input.len());
            let chunk = input.bytes().get(..most).unwrap_or_default();
            let given = match &mut self.tls {
                Some(tls) => {
                    seal(&mut self.socket, tls, &mut self.unsent, chunk)?;
                    most
                }
                None => match self.socket.write(chunk) {
                    Ok(given) => given,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                    Err(error) => return Err(error),
                },
            };
            input.consume(given);
            moved |= given > 0;
        }
    }

    /// Whether the socket has not taken all that was given.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Until it can be read or written, as far as either is asked for; for ever if neither is.
    /// An error shows when it is read or written.
    pub(super) async fn ready(&self, read: bool, write: bool) {
        let until = async |wanted: bool, direction: Direction| match wanted {
            true => {
                let _ = self.socket.ready(direction, None).await;
            }
            false => future::pending().await,
        };
        future::or(until(read, Direction::Read), until(write, Direction::Write)).await;
    }

    /// The peer is told that no more comes; it may go on itself.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.close_notify(&mut self.unsent);
        }
        self.flush_now()?;
        self.socket.shutdown()
    }

    pub(super) fn write_timeout(&self) -> Duration {
        self.deadlines.write
    }

    /// The connection waits for its client: shutdown may end it at once.
    pub(super) fn is_waiting(&self) {
        self.set_waiting(true);
    }

    /// Writes all of it and flushes; `TimedOut` if any 64 KiB of it takes longer than the
    /// write timeout given at accept.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some((service, tap)) = self.tap.as_deref_mut() {
            tap.server(bytes, &mut |line| protocol(service, self.id, line));
        }
        self.set_waiting(false);
        for chunk in bytes.chunks(MAX_PLAIN) {
            let deadline = Instant::now().checked_add(self.deadlines.write);
            if let Some(tls) = &mut self.tls {
                seal(&mut self.socket, tls, &mut self.unsent, chunk)?;
                self.flush(deadline).await?;
            } else {
                self.send_plain(chunk, deadline).await?;
            }
        }
        Ok(())
    }

    /// Sends what has been collected in `out` and empties it; its memory stays, for more.
    pub async fn send_out(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !out.is_empty() {
            self.send(out).await?;
            out.clear();
        }
        Ok(())
    }

    /// The TLS handshake, as server, within the login timeout.
    pub async fn start_tls(&mut self, tls: &Tls) -> io::Result<()> {
        self.start_server_tls(tls.config()).await
    }

    /// The same, by a configuration of its own.
    pub async fn start_server_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        self.shake_hands(Records::server(config)?).await
    }

    /// The TLS handshake, as client, with the server of that name.
    pub async fn start_client_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        let records = Records::client(config, name, &mut self.unsent)?;
        self.shake_hands(records).await
    }

    async fn shake_hands(&mut self, records: Records) -> io::Result<()> {
        if self.tls.is_some() {
            return Err(io::Error::other("TLS is already there"));
        }
        self.tls = Some(Box::new(records));
        let deadline = Instant::now().checked_add(self.deadlines.handshake);
        let mut none = Input::new();
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            if self.receive_part(&mut none, deadline).await? == Some(0) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // A client's last word of the handshake has to go; a server's (session tickets) rides with
        // the next bytes either way.
        self.flush_now()
    }

    /// Says goodbye (close_notify) and closes, once the client has closed or half a second is over.
    pub async fn close(&mut self) {
        self.goodbye = "";
        self.farewell = "";
        let write_deadline = Instant::now().checked_add(self.deadlines.write);
        if let Some(tls) = &mut self.tls {
            tls.close_notify(&mut self.unsent);
        }
        if self.flush(write_deadline).await.is_err() || self.socket.shutdown().is_err() {
            return;
        }
        let deadline = Instant::now().checked_add(LINGER);
        let mut left = LINGER_BYTES;
        loop {
            match WIRE_IN.with_borrow_mut(|buffer| self.socket.read(buffer)) {
                Ok(0) => return,
                Ok(n) if n >= left => return,
                Ok(n) => left -= n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.socket.ready(Direction::Read, deadline).await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// One read, or the wait for one. `None`: nothing came for the protocol, not yet.
    async fn receive_part(
        &mut self,
        input: &mut Input,
        deadline: Option<Instant>,
    ) -> io::Result<Option<usize>> {
        self.give_way().await;
        match self.receive_now(input) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.turns = 0;
                self.flush(deadline).await?;
                self.set_waiting(true);
                self.socket.ready(Direction::Read, deadline).await?;
                self.set_waiting(false);
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => {
                // It may be a TLS alert that tells the client why.
                let _ = self.flush_now();
                Err(error)
            }
            received => received,
        }
    }

    /// One read without waiting. `None`: bytes came, but none for the protocol.
    fn receive_now(&mut self, input: &mut Input) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return WIRE_IN.with_borrow_mut(|buffer| {
                let n = self.socket.read(buffer)?;
                input.push(buffer.get(..n).unwrap_or_default());
                Ok(Some(n))
            });
        };
        let early = tls.take_early();
        if !early.is_empty() && !tls.is_handshaking() {
            input.push(&early);
            return Ok(Some(early.len()));
        }
        if tls.has_ended() {
            return Ok(Some(0));
        }
        WIRE_IN.with_borrow_mut(|buffer| {
            let kept = tls.restore(buffer)?;
            let n = self
                .socket
                .read(buffer.get_mut(kept..).unwrap_or_default())?;
            if n == 0 {
                return Ok(Some(0));
            }
            let wire = buffer.get_mut(..kept + n).unwrap_or_default();
            let taken = tls.receive(wire, input, &mut self.unsent)?;
            Ok(if taken > 0 { Some(taken) } else { None })
        })
    }

    async fn send_plain(&mut self, mut chunk: &[u8], deadline: Option<Instant>) -> io::Result<()> {
        while !chunk.is_empty() {
            match self.socket.write(chunk) {
                Ok(n) => chunk = chunk.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.ready(Direction::Write, deadline).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn flush(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        loop {
            self.flush_now()?;
            if self.unsent.is_empty() {
                return Ok(());
            }
            self.socket.ready(Direction::Write, deadline).await?;
        }
    }

    /// Writes of `unsent` what the socket takes.
    fn flush_now(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            let rest = self.unsent.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.socket.write(rest) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if sent == self.unsent.len() {
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..sent);
        }
        result
    }

    /// A client that always has more to send must not keep a thread to itself.
    async fn give_way(&mut self) {
        self.turns += 1;
        if self.turns >= MAX_TURNS {
            self.turns = 0;
            future::yield_now().await;
        }
    }

    fn set_waiting(&self, waiting: bool) {
        if let Some(pass) = &self.pass {
            pass.set_waiting(waiting);
        }
    }
}

fn protocol(service: &str, id: u64, line: &str) {
    log::info!("{service} #{id} {line}");
}

impl Drop for Stream {
    /// The server is going down and has dropped the connection's task: a client that was
    /// between commands is told so, as far as that takes no waiting.
    fn drop(&mut self) {
        let waiting = |pass: &Pass| {
            pass.presence()
                .waiting
                .load(std::sync::atomic::Ordering::Acquire)
        };
        if self.goodbye.is_empty() || !self.pass.as_ref().is_some_and(waiting) {
            return;
        }
        let is_dismissed = |pass: &Pass| {
            pass.presence()
                .dismissed
                .load(std::sync::atomic::Ordering::Acquire)
        };
        let goodbye = match self.pass.as_ref().is_some_and(is_dismissed) {
            true => self.farewell.as_bytes(),
            false => self.goodbye.as_bytes(),
        };
        if let Some(tls) = &mut self.tls {
            if seal(&mut self.socket, tls, &mut self.unsent, goodbye).is_ok() {
                tls.close_notify(&mut self.unsent);
                let _ = self.flush_now();
            }
        } else {
            let _ = self.socket.write(goodbye);
        }
        let _ = self.socket.shutdown();
    }
}

/// Seals `chunk` behind what is unsent; what the socket takes at once is not copied again.
fn seal(
    socket: &mut Socket,
    tls: &mut Records,
    unsent: &mut Vec<u8>,
    chunk: &[u8],
) -> io::Result<()> {
    WIRE_OUT.with_borrow_mut(|buffer| {
        let length = tls.encrypt(chunk, buffer)?;
        let mut sealed = buffer.get(..length).unwrap_or_default();
        if unsent.is_empty() {
            match socket.write(sealed) {
                Ok(n) => sealed = sealed.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        unsent.extend_from_slice(sealed);
        Ok(())
    })
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl Socket {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.get_ref().read(buffer),
            Socket::Unix(socket) => socket.get_ref().read(buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Socket::Tcp(socket) => socket.get_ref().write(bytes),
            Socket::Unix(socket) => socket.get_ref().write(bytes),
        };
        match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            other => other,
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.get_ref().shutdown(Shutdown::Write),
            Socket::Unix(socket) => socket.get_ref().shutdown(Shutdown::Write),
        }
    }

    /// Waits until it can be read or written; `TimedOut` at the deadline.
    async fn ready(&self, direction: Direction, deadline: Option<Instant>) -> io::Result<()> {
        let ready = async {
            match (self, direction) {
                (Socket::Tcp(socket), Direction::Read) => socket.readable().await,
                (Socket::Tcp(socket), Direction::Write) => socket.writable().await,
                (Socket::Unix(socket), Direction::Read) => socket.readable().await,
                (Socket::Unix(socket), Direction::Write) => socket.writable().await,
            }
        };
        let Some(deadline) = deadline else {
            return ready.await;
        };
        let late = async {
            Timer::at(deadline).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        future::or(ready, late).await
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
