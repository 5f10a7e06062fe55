//! The TLS of one connection as a machine: wire bytes in, plain bytes out, and back.
//! Touches no socket and keeps no buffer while nothing is half done.

use super::client_certificate;
use super::exporter::{Binding, Exporter};
use crate::mail::certificate::Certificate;
use crate::wire::Input;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::sync::Arc;

/// Most wire bytes held at once: one record of TLS 1.2 at its largest (RFC 5246, 6.2.3).
pub const MAX_WIRE: usize = 5 + (1 << 14) + 2048;
/// Most plain bytes that one [`Records::encrypt`] takes.
pub const MAX_PLAIN: usize = 64 << 10;
/// Wire bytes that [`MAX_PLAIN`] plain ones become, with room for a key update: five
/// records, each with header, nonce, tag and content type.
pub const MAX_SEALED: usize = MAX_PLAIN + 1024;

/// One end of a TLS connection.
pub enum Records {
    Server(End<UnbufferedServerConnection>),
    Client(End<UnbufferedClientConnection>),
}

macro_rules! either {
    ($records:expr, $end:ident => $call:expr) => {
        match $records {
            Records::Server($end) => $call,
            Records::Client($end) => $call,
        }
    };
}

impl Records {
    pub fn server(config: Arc<ServerConfig>) -> io::Result<Records> {
        let exporter = Arc::new(Exporter::default());
        let mut config = ServerConfig::clone(&config);
        config.key_log = exporter.clone();
        let connection = UnbufferedServerConnection::new(Arc::new(config)).map_err(broken)?;
        let mut end = End::new(connection);
        end.exporter = Some(exporter);
        Ok(Records::Server(end))
    }

    /// What it says first is in `out`.
    pub fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        out: &mut Vec<u8>,
    ) -> io::Result<Records> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(broken)?;
        let mut end = End::new(connection);
        end.receive(&mut [], &mut Input::new(), out)?;
        Ok(Records::Client(end))
    }

    pub fn is_handshaking(&self) -> bool {
        either!(self, end => end.handshaking)
    }

    /// What a login can be bound to, after the handshake; of a server, under TLS 1.3 alone.
    pub fn binding(&self) -> Option<Binding> {
        either!(self, end => end.binding)
    }

    /// What the client has shown a certificate to be, if it has.
    pub fn client_certificate(&self) -> Option<Certificate> {
        let Records::Server(end) = self else {
            return None;
        };
        let shown = end.connection.peer_certificates()?;
        client_certificate::read(shown.first()?)
    }

    /// Whether the peer has said goodbye: nothing more will come.
    pub fn has_ended(&self) -> bool {
        either!(self, end => end.ended)
    }

    /// Plain bytes that came with the end of the handshake, once.
    pub fn take_early(&mut self) -> Vec<u8> {
        either!(self, end => std::mem::take(&mut end.early))
    }

    /// Lays what is kept of an unfinished record at the start of `wire`, for the next
    /// bytes to follow it; gives its length.
    pub fn restore(&self, wire: &mut [u8]) -> io::Result<usize> {
        either!(self, end => end.restore(wire))
    }

    /// Takes wire bytes ([`Records::restore`]d ones first): plain bytes go to `input`, what
    /// must be sent to `out`. After an error `out` may hold an alert, worth one try to send.
    pub fn receive(
        &mut self,
        wire: &mut [u8],
        input: &mut Input,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        either!(self, end => end.receive(wire, input, out))
    }

    /// Seals [`MAX_PLAIN`] bytes at most into `room`, which has [`MAX_SEALED`]; gives the
    /// length of what was written.
    pub fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> io::Result<usize> {
        either!(self, end => end.encrypt(plain, room))
    }

    /// The goodbye of TLS.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        either!(self, end => end.close_notify(out))
    }
}

/// What rustls has for both ends under one name, but in no trait.
pub trait Machine {
    type Data;

    fn advance<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Machine for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn advance<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(wire)
    }
}

impl Machine for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn advance<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(wire)
    }
}

/// The server's or the client's.
pub struct End<M> {
    connection: M,
    /// Wire bytes that are not a whole record yet; kept at their place, for a handshake
    /// message that spans records is read again from its start.
    partial: Vec<u8>,
    /// Plain bytes that came with the end of the handshake.
    early: Vec<u8>,
    /// Of a server, until the handshake is over.
    exporter: Option<Arc<Exporter>>,
    binding: Option<Binding>,
    handshaking: bool,
    ended: bool,
    /// After an error rustls must not be asked for anything but its alert, and that once.
    failed: bool,
}

impl<M: Machine> End<M> {
    fn new(connection: M) -> End<M> {
        End {
            connection,
            partial: Vec::new(),
            early: Vec::new(),
            exporter: None,
            binding: None,
            handshaking: true,
            ended: false,
            failed: false,
        }
    }

    fn restore(&self, wire: &mut [u8]) -> io::Result<usize> {
        let kept = self.partial.len();
        match wire.get_mut(..kept) {
            Some(start) if kept < MAX_WIRE => start.copy_from_slice(&self.partial),
            _ => return Err(broken("a handshake message is too long")),
        }
        Ok(kept)
    }

    fn receive(
        &mut self,
        wire: &mut [u8],
        input: &mut Input,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        self.check()?;
        let received = self.process(wire, input, out);
        self.failed = received.is_err();
        received
    }

    fn process(
        &mut self,
        wire: &mut [u8],
        input: &mut Input,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        let mut used = 0;
        loop {
            let rest = wire.get_mut(used..).unwrap_or_default();
            let status = self.connection.advance(rest);
            let discard = status.discard;
            let mut done = false;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let payload = record.map_err(broken)?.payload;
                        taken += payload.len();
                        if self.handshaking {
                            self.early.extend_from_slice(payload);
                        } else {
                            input.push(payload);
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(out, |room| data.encode(room))?
                }
                // `out` keeps its order, so what is in it counts as sent.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::Closed) => {
                    self.ended = true;
                    done = true;
                }
                Ok(ConnectionState::BlockedHandshake) => done = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.handshaking = false;
                    if let Some(exporter) = self.exporter.take() {
                        self.binding = exporter.take();
                    }
                    done = true;
                }
                Ok(_) => return Err(broken("early data was not offered")),
                Err(error) => {
                    self.keep(wire, used + discard);
                    self.alert(out);
                    return Err(broken(error));
                }
            }
            used += discard;
            if done {
                break;
            }
        }
        self.keep(wire, used);
        Ok(taken)
    }

    fn check(&self) -> io::Result<()> {
        match self.failed {
            true => Err(broken("TLS has failed")),
            false => Ok(()),
        }
    }

    /// rustls wants to see again, whatever it is asked for next, what it has not discarded.
    fn keep(&mut self, wire: &[u8], used: usize) {
        self.partial = wire.get(used..).unwrap_or_default().to_vec();
    }

    /// What rustls wants to tell the client about its error.
    fn alert(&mut self, out: &mut Vec<u8>) {
        if let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.connection.advance(&mut self.partial).state
        {
            // The connection ends either way.
            let _ = append(out, |room| data.encode(room));
        }
    }

    fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let mut written = 0;
        loop {
            let rest = room.get_mut(written..).unwrap_or_default();
            let status = self.connection.advance(&mut self.partial);
            let discard = status.discard;
            match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return Ok(written + traffic.encrypt(plain, rest).map_err(broken)?);
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    written += data.encode(rest).map_err(broken)?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(_) => return Err(broken("TLS is not ready to send")),
                Err(error) => {
                    self.failed = true;
                    return Err(broken(error));
                }
            }
            self.partial.drain(..discard.min(self.partial.len()));
        }
    }

    fn close_notify(&mut self, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
            self.connection.advance(&mut self.partial).state
        {
            // Without it the client sees a truncated stream; nothing else is lost.
            let _ = append(out, |room| {
                traffic
                    .queue_close_notify(room)
                    .map_err(|error| match error {
                        EncryptError::InsufficientSize(size) => EncodeError::InsufficientSize(size),
                        EncryptError::EncryptExhausted => EncodeError::AlreadyEncoded,
                    })
            });
        }
    }
}

/// Lets `encode` write at the end of `out`, with as much room as it asks for.
fn append(
    out: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> io::Result<()> {
    let start = out.len();
    let written = match encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => {
            out.resize(start + size.required_size, 0);
            encode(out.get_mut(start..).unwrap_or_default())
        }
        other => other,
    };
    out.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(drop).map_err(broken)
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
