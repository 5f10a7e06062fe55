//! A blocking client connection, plain or TLS, that reads lines and counted bytes from one buffer.

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// An answer that takes longer is a failed measure.
const TIMEOUT: Duration = Duration::from_secs(120);
/// What one read takes at most.
const CHUNK: usize = 64 * 1024;
/// Longest line that is believed.
const MAX_LINE: usize = 16 << 20;

/// Where a server listens and who logs in there.
#[derive(Clone)]
pub struct Site {
    /// As the table calls it.
    pub name: &'static str,
    /// Added to 143, 993, 995, 465.
    pub port_base: u16,
    pub domain: &'static str,
    pub password: String,
    pub tls: Arc<ClientConfig>,
    /// Prefix of a second login for the same mailboxes that fills them without syncing.
    pub filler: &'static str,
    /// Whose mailbox is written to when the server is killed. One of its own for Dovecot: mdbox
    /// may bring messages back twice for good after that.
    pub victim: &'static str,
}

impl Site {
    pub fn address(&self, name: &str) -> String {
        format!("{name}@{}", self.domain)
    }
}

/// Trusts the CA in `ca` alone; resumes nothing, so that every login pays its handshake.
pub fn trust(ca: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

/// rustls reads 4 KiB at a time; this makes it one system call for many records.
struct Socket(BufReader<TcpStream>);

impl Read for Socket {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }
    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection {
    pub fn plain(port: u16) -> Result<Connection> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        Ok(Connection::over(Stream::Plain(socket)))
    }

    /// Implicit TLS.
    pub fn tls(port: u16, config: &Arc<ClientConfig>) -> Result<Connection> {
        let Stream::Plain(socket) = Connection::plain(port)?.stream else {
            unreachable!("just made plain")
        };
        let name = ServerName::try_from("localhost")?;
        let session = ClientConnection::new(config.clone(), name)?;
        let socket = Socket(BufReader::with_capacity(CHUNK, socket));
        let stream = Box::new(StreamOwned::new(session, socket));
        Ok(Connection::over(Stream::Tls(stream)))
    }

    fn over(stream: Stream) -> Connection {
        Connection {
            stream,
            buffer: Vec::new(),
            start: 0,
            end: 0,
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes)?,
            Stream::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()?;
            }
        }
        Ok(())
    }

    /// The next line, without its CRLF.
    pub fn line(&mut self) -> Result<&[u8]> {
        let mut seen = self.start;
        let end = loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[seen..self.end]) {
                break seen + at;
            }
            seen = self.end;
            if self.end - self.start > MAX_LINE {
                return Err("a line without end".into());
            }
            seen -= self.fill()?;
        };
        let line = &self.buffer[self.start..end];
        self.start = end + 1;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The next `count` bytes, in pieces as they come.
    pub fn bytes(&mut self, mut count: usize, mut each: impl FnMut(&[u8])) -> Result<()> {
        while count > 0 {
            if self.start == self.end {
                self.fill()?;
            }
            let take = count.min(self.end - self.start);
            each(&self.buffer[self.start..self.start + take]);
            self.start += take;
            count -= take;
        }
        Ok(())
    }

    /// Reads more behind what is there. Gives how far what was there moved to the front.
    fn fill(&mut self) -> Result<usize> {
        let moved = self.start;
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= moved;
        self.start = 0;
        if self.buffer.len() < self.end + CHUNK / 16 {
            let grown = (self.buffer.len() * 2).clamp(CHUNK / 16, MAX_LINE + CHUNK);
            self.buffer.resize(grown.max(self.end + CHUNK / 16), 0);
        }
        let space = &mut self.buffer[self.end..];
        let got = match &mut self.stream {
            Stream::Plain(socket) => socket.read(space)?,
            Stream::Tls(stream) => stream.read(space)?,
        };
        if got == 0 {
            return Err("the server closed the connection".into());
        }
        // A full read means that more is waiting: bulk transfers get a big buffer, idle ones keep a small.
        if got == space.len() && self.buffer.len() < CHUNK {
            self.buffer.resize(CHUNK, 0);
        }
        self.end += got;
        Ok(moved)
    }
}
