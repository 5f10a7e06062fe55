//! Listeners: accept, count, hand over to a driver, and end what runs at shutdown.

use super::passed::{Listener, lend};
use crate::net::limit::{Gate, Pass, Presence, Refusal};
use crate::net::stream::{Deadlines, Stream};
use crate::task;
use async_io::{Async, Timer};
use futures_lite::FutureExt;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smol::Task;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections that the kernel holds until they are accepted.
pub(super) const BACKLOG: i32 = 1024;
/// How long to wait when the system has no file or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refusals and accept errors are logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Files that are not connections: store, listeners, reactor.
const OTHER_FILES: u64 = 128;
/// How often shutdown looks for connections that have come to rest.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// The future of one connection.
pub type Driving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a listener does with its connections.
#[derive(Clone)]
pub struct Handler {
    /// For logs: `imaps`.
    pub name: &'static str,
    /// What counts its connections, with those of other services.
    pub gate: Arc<Gate>,
    /// What counts them alone, logged in or not.
    pub own: Option<Arc<Gate>>,
    /// Said in clear to a connection over a limit; empty where TLS comes first: that port
    /// just closes, for a handshake costs more than what the limit is to save.
    pub refusal: &'static str,
    /// Said to a waiting client at shutdown.
    pub goodbye: &'static str,
    /// Said to a client whose connection alone is ended.
    pub farewell: &'static str,
    pub drive: Arc<dyn Fn(Stream) -> Driving + Send + Sync>,
}

enum Accepted {
    Tcp(Async<TcpStream>),
    Unix(Async<UnixStream>),
}

struct Connection {
    task: Task<()>,
    presence: Arc<Presence>,
}

/// All listeners and their connections.
pub struct Listeners {
    deadlines: Mutex<Deadlines>,
    /// By address; none for a Unix socket.
    accepting: Mutex<Vec<(Option<SocketAddr>, Task<()>)>>,
    connections: Mutex<HashMap<u64, Connection>>,
    next_id: AtomicU64,
    last_log: Mutex<Option<Instant>>,
}

impl Listeners {
    pub fn new(deadlines: Deadlines) -> Arc<Listeners> {
        Arc::new(Listeners {
            deadlines: Mutex::new(deadlines),
            accepting: Mutex::default(),
            connections: Mutex::default(),
            next_id: AtomicU64::new(1),
            last_log: Mutex::default(),
        })
    }

    /// For connections that come from now on.
    pub fn set_deadlines(&self, deadlines: Deadlines) {
        *lock(&self.deadlines) = deadlines;
    }

    /// Accepts from now on, until [`Listeners::close`] with that address, or
    /// [`Listeners::drain`].
    pub fn serve(self: &Arc<Self>, listener: Listener, address: SocketAddr, handler: Handler) {
        let all = self.clone();
        let task = task::spawn(async move { all.accept(listener, handler).await });
        lock(&self.accepting).push((Some(address), task));
    }

    /// As [`Listeners::serve`], on a Unix socket.
    pub fn serve_unix(self: &Arc<Self>, listener: Async<UnixListener>, handler: Handler) {
        let all = self.clone();
        let task = task::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((socket, _)) => {
                        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
                        all.admit(Accepted::Unix(socket), peer, &handler);
                    }
                    Err(error) => all.accept_failed(&error, &handler).await,
                }
            }
        });
        lock(&self.accepting).push((None, task));
    }

    /// Accepts no more on that address; the connections it has go on.
    pub async fn close(&self, address: SocketAddr) {
        let found: Vec<_> = lock(&self.accepting)
            .extract_if(.., |(at, _)| *at == Some(address))
            .collect();
        for (_, task) in found {
            task.cancel().await;
        }
    }

    async fn accept(self: Arc<Self>, listener: Listener, handler: Handler) {
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    self.admit(Accepted::Tcp(socket), peer.ip().to_canonical(), &handler);
                }
                Err(error) => self.accept_failed(&error, &handler).await,
            }
        }
    }

    async fn accept_failed(&self, error: &io::Error, handler: &Handler) {
        if !is_the_clients(error) {
            self.log_rarely(|| log::warn!("{}: can't accept: {error}", handler.name));
            Timer::after(ACCEPT_PAUSE).await;
        }
    }

    fn admit(self: &Arc<Self>, socket: Accepted, peer: IpAddr, handler: &Handler) {
        let admitted = handler.gate.admit(peer).and_then(|pass| {
            let own = handler.own.as_ref().map(|gate| gate.admit(peer));
            match own {
                Some(own) => own.map(|own| pass.and(own)),
                None => Ok(pass),
            }
        });
        match admitted {
            Ok(pass) => self.start(socket, peer, pass, handler.clone()),
            Err(limit) => {
                // The socket is new, so its buffer takes the line; else it just closes.
                let refusal = handler.refusal.as_bytes();
                let _ = match &socket {
                    Accepted::Tcp(socket) => socket.get_ref().write(refusal),
                    Accepted::Unix(socket) => socket.get_ref().write(refusal),
                };
                self.log_rarely(|| {
                    let limit = describe(limit);
                    log::warn!("{}: refused {peer}: {limit}", handler.name);
                });
            }
        }
    }

    fn start(self: &Arc<Self>, socket: Accepted, peer: IpAddr, pass: Pass, handler: Handler) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let presence = pass.presence().clone();
        let deadlines = *lock(&self.deadlines);
        let stream = match socket {
            Accepted::Tcp(socket) => Stream::tcp(socket, peer, deadlines),
            Accepted::Unix(socket) => Stream::unix(socket, deadlines),
        };
        let stream = stream
            .admitted(id, pass, handler.goodbye)
            .with_farewell(handler.farewell);
        let all = self.clone();
        // Locked until the entry is in, so that a task that ends at once finds it.
        let mut connections = lock(&self.connections);
        let task = task::spawn(async move {
            let name = handler.name;
            log::debug!("{name} #{id}: connected from {peer}");
            let driving = AssertUnwindSafe((handler.drive)(stream));
            if driving.catch_unwind().await.is_err() {
                log::error!("{name} #{id}: ended by a bug; other connections go on");
            }
            log::debug!("{name} #{id}: closed");
            if let Some(connection) = lock(&all.connections).remove(&id) {
                connection.task.detach();
            }
        });
        connections.insert(id, Connection { task, presence });
    }

    /// The connections whose owner this is true of.
    pub fn owned(&self, is_meant: impl Fn(u64) -> bool) -> Vec<u64> {
        let connections = lock(&self.connections);
        let owner = |it: &Connection| it.presence.owner.load(Ordering::Acquire);
        let found = connections.iter().filter(|(_, it)| is_meant(owner(it)));
        found.map(|(id, _)| *id).collect()
    }

    /// Whether all that were opened accept.
    pub fn accept_all(&self) -> bool {
        lock(&self.accepting)
            .iter()
            .all(|(_, task)| !task.is_finished())
    }

    /// Stops accepting and ends the connections: those that wait for their client at once,
    /// the others when their command is done or `grace` is over.
    pub async fn drain(&self, grace: Duration) {
        let accepting = std::mem::take(&mut *lock(&self.accepting));
        for (_, task) in accepting {
            task.cancel().await;
        }
        self.end_those(|_| true, grace).await;
    }

    /// Ends these connections, as [`Listeners::drain`] does.
    pub async fn end(&self, ids: &[u64], grace: Duration) {
        for id in ids {
            if let Some(connection) = lock(&self.connections).get(id) {
                connection.presence.dismissed.store(true, Ordering::Release);
            }
        }
        self.end_those(|id| ids.contains(id), grace).await;
    }

    async fn end_those(&self, chosen: impl Fn(&u64) -> bool, grace: Duration) {
        let deadline = Instant::now() + grace;
        loop {
            let over = Instant::now() >= deadline;
            let ended: Vec<Connection> = lock(&self.connections)
                .extract_if(|id, it| {
                    chosen(id) && (over || it.presence.waiting.load(Ordering::Acquire))
                })
                .map(|(_, connection)| connection)
                .collect();
            for connection in ended {
                connection.task.cancel().await;
            }
            if !lock(&self.connections).keys().any(&chosen) {
                return;
            }
            Timer::after(DRAIN_STEP).await;
        }
    }

    fn log_rarely(&self, log: impl FnOnce()) {
        let mut last = lock(&self.last_log);
        if last.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
            *last = Some(Instant::now());
            log();
        }
    }
}

/// Listens on `address`, by the socket that was passed for it if there is one; `[::]` takes
/// IPv4 too, and where there is no IPv6, IPv4 alone.
pub fn bind(address: SocketAddr) -> io::Result<Listener> {
    if let Some(lent) = lend(address) {
        return lent;
    }
    match bind_one(address) {
        Err(error)
            if address.ip().is_unspecified()
                && error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            bind_one(SocketAddr::new(
                Ipv4Addr::UNSPECIFIED.into(),
                address.port(),
            ))
        }
        other => other,
    }
}

fn bind_one(address: SocketAddr) -> io::Result<Listener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restarted server must not wait for old connections to be forgotten.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let socket = Async::new_nonblocking(TcpListener::from(socket))?;
    Ok(Listener::own(socket))
}

/// Raises this process's limit on open files as far as it may; gives how many connections
/// that leaves room for.
pub fn raise_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let connections = files.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES).max(1);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Errors of the connection that was to be accepted, not of the listener (accept(2)).
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

fn describe(limit: Refusal) -> &'static str {
    match limit {
        Refusal::Total => "too many connections",
        Refusal::Unauthenticated => "too many connections that have not logged in",
        Refusal::PerSource => "too many connections from there",
    }
}

/// Nothing here panics while it holds a lock, so what it guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
