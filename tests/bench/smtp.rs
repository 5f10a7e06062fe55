//! Submission over implicit TLS on a connection that stays.

use crate::client::{Connection, Result, Site};
use base64::Engine;

pub struct Smtp {
    connection: Connection,
    sender: String,
}

impl Smtp {
    pub fn login(site: &Site, name: &str) -> Result<Smtp> {
        let mut smtp = Smtp {
            connection: Connection::tls(site.port_base + 465, &site.tls)?,
            sender: site.address(name),
        };
        smtp.expect(220)?;
        smtp.connection.send(b"EHLO client.demo.test\r\n")?;
        smtp.expect(250)?;
        let plain = format!("\0{}\0{}", smtp.sender, site.password);
        let plain = base64::engine::general_purpose::STANDARD.encode(plain);
        smtp.connection
            .send(format!("AUTH PLAIN {plain}\r\n").as_bytes())?;
        smtp.expect(235)?;
        Ok(smtp)
    }

    /// Submits one message, envelope and DATA in one flight (RFC 2920). No line of `message`
    /// may begin with a dot, and its last line must have an end.
    pub fn submit(&mut self, recipient: &str, message: &[u8]) -> Result<()> {
        let sender = &self.sender;
        let size = message.len();
        let envelope =
            format!("MAIL FROM:<{sender}> SIZE={size}\r\nRCPT TO:<{recipient}>\r\nDATA\r\n");
        self.connection.send(envelope.as_bytes())?;
        for code in [250, 250, 354] {
            self.expect(code)?;
        }
        self.connection.send(&[message, b".\r\n"].concat())?;
        self.expect(250)
    }

    /// Reads a whole reply.
    fn expect(&mut self, code: u16) -> Result<()> {
        let code = code.to_string();
        loop {
            let line = self.connection.line()?;
            if !line.starts_with(code.as_bytes()) {
                let line = String::from_utf8_lossy(line);
                return Err(format!("{code} expected, got {line}").into());
            }
            if line.get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}
