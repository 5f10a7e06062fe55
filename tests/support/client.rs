//! A blocking client: lines over a socket, plain or TLS.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// How long a test waits for a line.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Either end of the world that a test connects to.
pub enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

enum Channel {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
    Closed,
}

pub struct Client {
    channel: Channel,
    received: Vec<u8>,
}

impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Socket {
        Socket::Unix(socket)
    }
}

impl Client {
    pub fn new(socket: impl Into<Socket>) -> Client {
        let socket = socket.into();
        socket.prepare().expect("a blocking socket");
        Client {
            channel: Channel::Plain(socket),
            received: Vec::new(),
        }
    }

    /// The handshake as client, any certificate being good enough.
    pub fn start_tls(&mut self) -> io::Result<()> {
        let Channel::Plain(socket) = std::mem::replace(&mut self.channel, Channel::Closed) else {
            return Err(io::Error::other("not a plain connection"));
        };
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        stream.conn.complete_io(&mut stream.sock)?;
        self.channel = Channel::Tls(Box::new(stream));
        Ok(())
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.channel {
            Channel::Plain(socket) => socket.write_all(bytes),
            Channel::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Channel::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The next line without its CRLF; `None` at the end of the connection.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.received.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let Some(line) = line.strip_suffix(b"\r\n") else {
                    return Err(io::Error::other("the server sent a line without CRLF"));
                };
                return Ok(Some(String::from_utf8_lossy(line).into_owned()));
            }
            if self.fill()? == 0 {
                let rest = std::mem::take(&mut self.received);
                return match rest.is_empty() {
                    true => Ok(None),
                    false => Err(io::Error::other(format!(
                        "the server closed within a line: {:?}",
                        String::from_utf8_lossy(&rest)
                    ))),
                };
            }
        }
    }

    /// Whether nothing comes for that long.
    pub fn is_silent(&mut self, wait: Duration) -> io::Result<bool> {
        if !self.received.is_empty() {
            return Ok(false);
        }
        self.set_patience(wait)?;
        let filled = self.fill();
        self.set_patience(PATIENCE)?;
        match filled {
            Ok(_) => Ok(false),
            Err(error) if is_timeout(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Ends our side; the server sees the end of input.
    pub fn shut_down(&mut self) {
        if let Channel::Tls(stream) = &mut self.channel {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = match &mut self.channel {
            Channel::Plain(socket) => socket.shut_down(),
            Channel::Tls(stream) => stream.sock.shut_down(),
            Channel::Closed => Ok(()),
        };
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let read = match &mut self.channel {
            Channel::Plain(socket) => socket.read(&mut buffer),
            Channel::Tls(stream) => stream.read(&mut buffer),
            Channel::Closed => Ok(0),
        };
        let n = match read {
            // A server that ends in haste is an end all the same.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
                ) =>
            {
                0
            }
            other => other?,
        };
        self.received.extend_from_slice(&buffer[..n]);
        Ok(n)
    }

    fn set_patience(&self, wait: Duration) -> io::Result<()> {
        match &self.channel {
            Channel::Plain(socket) => socket.set_patience(wait),
            Channel::Tls(stream) => stream.sock.set_patience(wait),
            Channel::Closed => Ok(()),
        }
    }
}

pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

impl Socket {
    fn prepare(&self) -> io::Result<()> {
        match self {
            Socket::Unix(socket) => {
                socket.set_nonblocking(false)?;
                socket.set_write_timeout(Some(PATIENCE))?;
            }
            Socket::Tcp(socket) => {
                socket.set_nonblocking(false)?;
                socket.set_nodelay(true)?;
                socket.set_write_timeout(Some(PATIENCE))?;
            }
        }
        self.set_patience(PATIENCE)
    }

    fn set_patience(&self, wait: Duration) -> io::Result<()> {
        match self {
            Socket::Unix(socket) => socket.set_read_timeout(Some(wait)),
            Socket::Tcp(socket) => socket.set_read_timeout(Some(wait)),
        }
    }

    fn shut_down(&self) -> io::Result<()> {
        match self {
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write),
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.read(buffer),
            Socket::Tcp(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.write(bytes),
            Socket::Tcp(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Transcripts test the protocol; certificates have tests of their own.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
