//! Just enough of an IMAP client to drive and check a server.

use crate::client::{Connection, Result, Site};

/// Most bytes sent ahead of the answers while filling: well under both socket buffers' worth of answers.
const WINDOW: usize = 100;

pub struct Imap {
    connection: Connection,
    tag: u32,
    pub capabilities: String,
}

/// A piece of the untagged responses, as they come.
pub enum Piece<'a> {
    /// The line that begins a response; it may end in a literal's announcement.
    Line(&'a [u8]),
    /// Bytes of a literal.
    Bytes(&'a [u8]),
    /// What follows a literal in its response.
    Rest(&'a [u8]),
}

impl Imap {
    /// Over implicit TLS, as `name` at the site's domain.
    pub fn login(site: &Site, name: &str) -> Result<Imap> {
        let mut connection = Connection::tls(site.port_base + 993, &site.tls)?;
        let greeting = connection.line()?;
        if !greeting.starts_with(b"* OK") {
            return Err(format!("greeting: {}", text(greeting)).into());
        }
        let mut imap = Imap {
            connection,
            tag: 0,
            capabilities: String::new(),
        };
        let address = site.address(name);
        imap.command(&format!("LOGIN \"{address}\" \"{}\"", site.password))?;
        Ok(imap)
    }

    /// As `login`, then asks what the server can do.
    pub fn open(site: &Site, name: &str) -> Result<Imap> {
        let mut imap = Imap::login(site, name)?;
        imap.capabilities = imap.command("CAPABILITY")?.join(" ") + " ";
        Ok(imap)
    }

    /// As `open`, by the login that doesn't sync, for filling mailboxes.
    pub fn open_filler(site: &Site, name: &str) -> Result<Imap> {
        Imap::open(site, &format!("{}{name}", site.filler))
    }

    /// Runs a command; gives its untagged lines, or an error if the answer isn't OK.
    pub fn command(&mut self, command: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        self.stream(command, |piece| match piece {
            Piece::Line(line) => lines.push(text(line)),
            Piece::Bytes(bytes) | Piece::Rest(bytes) => {
                if let Some(last) = lines.last_mut() {
                    last.push_str(&text(bytes));
                }
            }
        })?;
        Ok(lines)
    }

    /// Runs a command and hands its untagged responses on piece by piece.
    pub fn stream(&mut self, command: &str, each: impl FnMut(Piece)) -> Result<()> {
        let tag = self.next_tag();
        let line = format!("{tag} {command}\r\n");
        self.connection.send(line.as_bytes())?;
        self.answer(&tag, each)
    }

    /// Reads up to the answer with this tag.
    fn answer(&mut self, tag: &str, mut each: impl FnMut(Piece)) -> Result<()> {
        let mut inside = false;
        loop {
            let line = self.connection.line()?;
            let literal = literal(line);
            if inside {
                each(Piece::Rest(line));
            } else if let Some(rest) = line.strip_prefix(tag.as_bytes()) {
                return match rest.starts_with(b" OK") {
                    true => Ok(()),
                    false => Err(format!("answered{}", text(rest)).into()),
                };
            } else {
                each(Piece::Line(line));
            }
            inside = literal.is_some();
            if let Some(size) = literal {
                self.connection
                    .bytes(size, |bytes| each(Piece::Bytes(bytes)))?;
            }
        }
    }

    fn next_tag(&mut self) -> String {
        self.tag += 1;
        format!("t{}", self.tag)
    }

    /// Waits for the next line, in IDLE.
    pub fn line(&mut self) -> Result<String> {
        Ok(text(self.connection.line()?))
    }

    /// Enters IDLE (RFC 2177); ended by `done`.
    pub fn idle(&mut self) -> Result<()> {
        let tag = self.next_tag();
        self.connection.send(format!("{tag} IDLE\r\n").as_bytes())?;
        let line = self.line()?;
        match line.starts_with('+') {
            true => Ok(()),
            false => Err(format!("IDLE answered {line}").into()),
        }
    }

    pub fn done(&mut self) -> Result<()> {
        self.connection.send(b"DONE\r\n")?;
        let tag = format!("t{}", self.tag);
        self.answer(&tag, |_| ())
    }

    /// One message, with a non-synchronising literal, waiting for the answer.
    pub fn append(&mut self, mailbox: &str, message: &[u8]) -> Result<()> {
        let tag = self.next_tag();
        self.connection.send(&append(&tag, mailbox, message))?;
        self.answer(&tag, |_| ())
    }

    /// Many messages as fast as the server takes them.
    pub fn fill(
        &mut self,
        mailbox: &str,
        messages: impl Iterator<Item = std::sync::Arc<[u8]>>,
    ) -> Result<()> {
        let mut batch = Vec::with_capacity(WINDOW);
        let mut messages = messages.peekable();
        while messages.peek().is_some() {
            batch.extend(messages.by_ref().take(WINDOW));
            match self.capabilities.contains(" MULTIAPPEND ") {
                true => self.append_together(mailbox, &batch)?,
                false => self.append_pipelined(mailbox, &batch)?,
            }
            batch.clear();
        }
        Ok(())
    }

    /// RFC 3502.
    fn append_together(&mut self, mailbox: &str, batch: &[std::sync::Arc<[u8]>]) -> Result<()> {
        let tag = self.next_tag();
        let mut out = format!("{tag} APPEND \"{mailbox}\"").into_bytes();
        for message in batch {
            out.extend_from_slice(format!(" {{{}+}}\r\n", message.len()).as_bytes());
            out.extend_from_slice(message);
        }
        out.extend_from_slice(b"\r\n");
        self.connection.send(&out)?;
        self.answer(&tag, |_| ())
    }

    fn append_pipelined(&mut self, mailbox: &str, batch: &[std::sync::Arc<[u8]>]) -> Result<()> {
        let mut tags = Vec::with_capacity(batch.len());
        for message in batch {
            let tag = self.next_tag();
            self.connection.send(&append(&tag, mailbox, message))?;
            tags.push(tag);
        }
        tags.iter().try_for_each(|tag| self.answer(tag, |_| ()))
    }

    /// How many messages a mailbox has, by STATUS.
    pub fn count(&mut self, mailbox: &str) -> Result<usize> {
        let lines = self.command(&format!("STATUS \"{mailbox}\" (MESSAGES)"))?;
        let found = lines
            .iter()
            .find_map(|line| number_after(line, "MESSAGES "));
        found.ok_or_else(|| format!("no count of {mailbox} in {lines:?}").into())
    }

    /// SELECTs; gives what EXISTS says.
    pub fn select(&mut self, mailbox: &str) -> Result<usize> {
        let lines = self.command(&format!("SELECT \"{mailbox}\""))?;
        let exists = lines.iter().find_map(|line| {
            let number = line.strip_prefix("* ")?.strip_suffix(" EXISTS")?;
            number.parse().ok()
        });
        exists.ok_or_else(|| format!("no EXISTS of {mailbox} in {lines:?}").into())
    }

    /// Removes all messages, and makes the mailbox if it isn't there.
    pub fn empty(&mut self, mailbox: &str) -> Result<()> {
        if self.select(mailbox).is_err() {
            self.command(&format!("CREATE \"{mailbox}\""))?;
        } else if self.count(mailbox)? > 0 {
            self.stream("UID STORE 1:* +FLAGS.SILENT (\\Deleted)", |_| ())?;
            self.stream("EXPUNGE", |_| ())?;
        }
        match self.select(mailbox)? {
            0 => Ok(()),
            left => Err(format!("{left} messages left in {mailbox}").into()),
        }
    }

    /// How many messages a SEARCH finds in the selected mailbox.
    pub fn search(&mut self, keys: &str) -> Result<usize> {
        let mut found = 0;
        self.stream(&format!("UID SEARCH {keys}"), |piece| {
            if let Piece::Line(line) = piece
                && let Some(numbers) = line.strip_prefix(b"* SEARCH")
            {
                found += numbers.iter().filter(|byte| **byte == b' ').count();
            }
        })?;
        Ok(found)
    }
}

fn append(tag: &str, mailbox: &str, message: &[u8]) -> Vec<u8> {
    let size = message.len();
    let mut out = format!("{tag} APPEND \"{mailbox}\" {{{size}+}}\r\n").into_bytes();
    out.extend_from_slice(message);
    out.extend_from_slice(b"\r\n");
    out
}

/// The size that a line's end announces: `{12}`.
fn literal(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', inner)?;
    std::str::from_utf8(&inner[open + 1..]).ok()?.parse().ok()
}

/// The number behind the first `word` of a line.
pub fn number_after(line: &str, word: &str) -> Option<usize> {
    let rest = &line[line.find(word)? + word.len()..];
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
