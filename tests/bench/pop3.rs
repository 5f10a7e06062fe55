//! POP3 over implicit TLS.

use crate::client::{Connection, Result, Site};

pub struct Pop3 {
    connection: Connection,
}

impl Pop3 {
    pub fn login(site: &Site, name: &str) -> Result<Pop3> {
        let connection = Connection::tls(site.port_base + 995, &site.tls)?;
        let mut pop3 = Pop3 { connection };
        pop3.expect()?;
        pop3.command(&format!("USER {}", site.address(name)))?;
        pop3.command(&format!("PASS {}", site.password))?;
        Ok(pop3)
    }

    pub fn command(&mut self, command: &str) -> Result<String> {
        self.connection.send(format!("{command}\r\n").as_bytes())?;
        self.expect()
    }

    /// RETR; gives the message's size and CRC-32, with the dots taken off again.
    pub fn retrieve(&mut self, number: usize) -> Result<(usize, u32)> {
        self.command(&format!("RETR {number}"))?;
        let (mut size, mut sum) = (0, crc32fast::Hasher::new());
        loop {
            let line = self.connection.line()?;
            let line = match line {
                b"." => return Ok((size, sum.finalize())),
                [b'.', rest @ ..] => rest,
                line => line,
            };
            sum.update(line);
            sum.update(b"\r\n");
            size += line.len() + 2;
        }
    }

    fn expect(&mut self) -> Result<String> {
        let line = String::from_utf8_lossy(self.connection.line()?).into_owned();
        match line.starts_with("+OK") {
            true => Ok(line),
            false => Err(format!("answered {line}").into()),
        }
    }
}
