//! Sockets that were opened before us, by systemd (sd_listen_fds(3)): the ports under 1024 need
//! no capability then. A socket serves the listener whose address it has; while no listener has
//! it, who connects there is reset at once.

use super::listen::BACKLOG;
use crate::task;
use async_io::{Async, Timer};
use rustix::net::sockopt;
use smol::Task;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long to wait when the system has no file or memory for another connection.
const PAUSE: Duration = Duration::from_millis(100);

static POOL: Mutex<Pool> = Mutex::new(Pool {
    sockets: Vec::new(),
    refuses: false,
});

struct Pool {
    sockets: Vec<Passed>,
    /// Whether connections to those that serve nothing are reset; until then, they wait.
    refuses: bool,
}

struct Passed {
    address: SocketAddr,
    socket: Arc<Async<TcpListener>>,
    serves: bool,
    refusing: Option<Task<()>>,
}

/// A listening socket: of our own, or lent from those that were passed.
#[derive(Debug)]
pub struct Listener {
    socket: Arc<Async<TcpListener>>,
    lent: bool,
}

impl Listener {
    pub(super) fn own(socket: Async<TcpListener>) -> Listener {
        Listener {
            socket: Arc::new(socket),
            lent: false,
        }
    }

    pub async fn accept(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        self.socket.accept().await
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.lent {
            return;
        }
        let mut pool = pool();
        let refuses = pool.refuses;
        let mut all = pool.sockets.iter_mut();
        if let Some(passed) = all.find(|it| Arc::ptr_eq(&it.socket, &self.socket)) {
            passed.serves = false;
            passed.refuse(refuses);
        }
    }
}

impl Passed {
    fn refuse(&mut self, refuses: bool) {
        let socket = self.socket.clone();
        self.refusing = (refuses && !self.serves).then(|| task::spawn(refuse(socket)));
    }
}

/// Takes the sockets that systemd has passed to this process; their number. Call it once,
/// before anything is bound. The error is a sentence.
pub fn adopt() -> Result<usize, String> {
    let passed = sd_notify::listen_fds().map_err(|error| format!("passed sockets: {error}"))?;
    for fd in passed {
        // SAFETY: LISTEN_PID says that these are this process's own, and nobody else takes them.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        add(fd).map_err(|error| format!("a socket that systemd passed can't be used: {error}"))?;
    }
    Ok(pool().sockets.len())
}

fn add(fd: OwnedFd) -> io::Result<()> {
    if !sockopt::socket_acceptconn(&fd)? {
        let why = "it is no listening TCP socket";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    // As long as that of our own.
    rustix::net::listen(&fd, BACKLOG)?;
    let socket = TcpListener::from(fd);
    let address = socket.local_addr()?;
    pool().sockets.push(Passed {
        address,
        socket: Arc::new(Async::new(socket)?),
        serves: false,
        refusing: None,
    });
    Ok(())
}

/// The passed socket of that address, if there is one: `[::]` is `0.0.0.0` too.
pub(super) fn lend(address: SocketAddr) -> Option<io::Result<Listener>> {
    let same = |it: &SocketAddr| {
        *it == address
            || it.ip().is_unspecified()
                && address.ip().is_unspecified()
                && it.port() == address.port()
    };
    let mut pool = pool();
    let passed = pool.sockets.iter_mut().find(|it| same(&it.address))?;
    if passed.serves {
        return Some(Err(io::ErrorKind::AddrInUse.into()));
    }
    passed.serves = true;
    passed.refusing = None;
    Some(Ok(Listener {
        socket: passed.socket.clone(),
        lent: true,
    }))
}

/// From now on resets who connects to a passed socket that serves nothing; or, with `false`,
/// lets them wait, as they do for a server that starts.
pub fn refuse_others(refuses: bool) {
    let mut pool = pool();
    pool.refuses = refuses;
    for passed in &mut pool.sockets {
        passed.refuse(refuses);
    }
}

async fn refuse(socket: Arc<Async<TcpListener>>) {
    loop {
        match socket.accept().await {
            // Closed with no time to linger, it is reset.
            Ok((connection, _)) => {
                let _ = sockopt::set_socket_linger(connection.get_ref(), Some(Duration::ZERO));
            }
            Err(_) => {
                Timer::after(PAUSE).await;
            }
        }
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen::bind;
    use std::io::Read;

    /// Whether who connects is reset before anything is said.
    fn is_reset(address: SocketAddr) -> bool {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        let limit = Some(Duration::from_secs(60));
        client.set_read_timeout(limit).unwrap();
        let read = client.read_exact(&mut [0]);
        read.is_err_and(|it| it.kind() == io::ErrorKind::ConnectionReset)
    }

    #[test]
    fn a_passed_socket_serves_its_address_and_is_refused_meanwhile() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        add(socket.into()).unwrap();
        // It is taken, but for who has it lent.
        let first = bind(address).unwrap();
        let taken = bind(address).map(|_| ()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        refuse_others(true);
        let mut client = std::net::TcpStream::connect(address).unwrap();
        let (mut served, _) = smol::block_on(first.accept()).unwrap();
        smol::block_on(futures_lite::AsyncWriteExt::write_all(&mut served, b"x")).unwrap();
        client.read_exact(&mut [0]).unwrap();
        drop(first);
        assert!(is_reset(address));
        // Served again.
        let again = bind(address).unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (_, peer) = smol::block_on(again.accept()).unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        refuse_others(false);
        drop(again);
        // Nobody answers, nobody is turned away.
        let waits = std::net::TcpStream::connect(address).unwrap();
        waits.set_nonblocking(true).unwrap();
        let nothing = (&waits).read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_does_not_listen_is_not_taken() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(add(socket.into()).is_err());
    }
}
