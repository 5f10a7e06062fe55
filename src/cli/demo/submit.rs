//! The smallest submission client, to fill the demo over loopback.

use super::messages::{MESSAGES, Message};
use super::{ACCOUNTS, DOMAIN, Error};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest reply line, bytes (RFC 5321, 4.5.3.1.5 has 512).
const MAX_REPLY: u64 = 4 << 10;

/// Sends every message of the demo, each on its author's connection, in their order.
pub fn all(port: u16, password: &Secret<String>) -> Result<(), Error> {
    let connect = |name| Connection::login(port, name, password);
    let mut connections: Vec<Connection> = ACCOUNTS
        .into_iter()
        .map(connect)
        .collect::<Result<_, _>>()?;
    for message in MESSAGES {
        let author = connections.iter_mut().find(|it| it.name == message.from);
        author
            .ok_or("a message of the demo has no author")?
            .send(message)?;
    }
    for mut connection in connections {
        connection.ask("QUIT\r\n", "221")?;
    }
    Ok(())
}

struct Connection {
    name: &'static str,
    socket: BufReader<TcpStream>,
}

impl Connection {
    fn login(
        port: u16,
        name: &'static str,
        password: &Secret<String>,
    ) -> Result<Connection, Error> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        let mut connection = Connection {
            name,
            socket: BufReader::new(socket),
        };
        connection.expect("220")?;
        connection.ask("EHLO localhost\r\n", "250")?;
        let plain = Secret::new(format!("\0{name}\0{}", password.reveal()));
        let auth = Secret::new(format!(
            "AUTH PLAIN {}\r\n",
            STANDARD.encode(plain.reveal())
        ));
        connection.ask(auth.reveal(), "235")?;
        Ok(connection)
    }

    fn send(&mut self, message: &Message) -> Result<(), Error> {
        let body = if message.bytes.is_ascii() {
            ""
        } else {
            " BODY=8BITMIME"
        };
        self.ask(
            &format!("MAIL FROM:<{}@{DOMAIN}>{body}\r\n", message.from),
            "250",
        )?;
        for to in message.to {
            self.ask(&format!("RCPT TO:<{to}@{DOMAIN}>\r\n"), "250")?;
        }
        self.ask("DATA\r\n", "354")?;
        self.socket.get_mut().write_all(&stuffed(message.bytes))?;
        self.expect("250")
    }

    fn ask(&mut self, command: &str, code: &str) -> Result<(), Error> {
        self.socket.get_mut().write_all(command.as_bytes())?;
        self.expect(code)
    }

    /// Reads a reply of any number of lines.
    fn expect(&mut self, code: &str) -> Result<(), Error> {
        loop {
            let mut line = String::new();
            self.socket.by_ref().take(MAX_REPLY).read_line(&mut line)?;
            match line.strip_prefix(code) {
                Some(rest) if rest.starts_with('-') => {}
                Some(_) => return Ok(()),
                None => return Err(format!("the demo's mail was refused: {}", line.trim()).into()),
            }
        }
    }
}

/// The message as DATA takes it: CRLF, dots doubled, and the end (RFC 5321, 4.5.2).
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 32);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_and_line_ends_are_made_fit() {
        assert_eq!(stuffed(b"a\n.b\r\n..\nc"), b"a\r\n..b\r\n...\r\nc\r\n.\r\n");
    }
}
