//! DATA and BDAT: a message on its way in.

use super::author::{self, Author};
use super::passage::{self, Passage};
use super::repair::{Output, Repair, Stamp, Trace, header_of};
use super::reply::Reply;
use super::role::Role;
use super::session::{Arrived, Ask, Asked, Next, Phase, Session, Trouble, sequence};
use super::text::{Lines, Piece, Unstuffer};

/// The text of a message between the wire and the store.
pub struct Incoming {
    header: Header,
    /// Of a message with binary parts none: its lines are seen to at its end.
    lines: Option<Lines>,
    received: u64,
    /// Bytes that came after the refusal.
    skipped: u64,
    eight_bit: bool,
    limit: u64,
    refusal: Option<Reply>,
}

/// What is done to the header.
pub enum Header {
    Repaired(Repair),
    Passed(Passage),
}

impl Header {
    fn push<'a>(&mut self, text: &'a [u8]) -> Result<Output<'a>, Reply> {
        match self {
            Header::Repaired(repair) => repair.push(text),
            Header::Passed(passage) => passage.push(text),
        }
    }

    fn finish(&mut self) -> Result<Vec<u8>, Reply> {
        match self {
            Header::Repaired(repair) => repair.finish(),
            Header::Passed(passage) => passage.finish(),
        }
    }
}

pub fn too_large(limit: u64) -> Reply {
    let text = format!("The message is larger than {limit} bytes");
    Reply::with(552, "5.3.4", text)
}

impl Incoming {
    /// `limit` is for the message as the client sends it, bytes.
    pub fn new(header: Header, binary: bool, limit: u64) -> Incoming {
        Incoming {
            header,
            lines: (!binary).then(Lines::default),
            received: 0,
            skipped: 0,
            eight_bit: false,
            limit,
            refusal: None,
        }
    }

    /// What of `text` goes to the store. An error comes once: from then on nothing goes.
    pub fn take<'a>(&mut self, text: &'a [u8]) -> Result<Output<'a>, Reply> {
        if self.refusal.is_some() {
            self.skipped += text.len() as u64;
            return Ok(Output::Nothing);
        }
        self.received += text.len() as u64;
        if let Some(lines) = &mut self.lines {
            lines.push(text);
        }
        self.eight_bit |= !text.is_ascii();
        let taken = match self.received > self.limit {
            true => Err(too_large(self.limit)),
            false => self.check_lines().and_then(|()| self.header.push(text)),
        };
        taken.inspect_err(|reply| self.refuse(reply.clone()))
    }

    /// Bytes that may still come.
    pub fn room(&self) -> u64 {
        self.limit.saturating_sub(self.received)
    }

    /// Whether any byte so far was beyond ASCII.
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// Also called where the store did not take what [`Incoming::take`] gave.
    pub fn refuse(&mut self, reply: Reply) {
        self.refusal.get_or_insert(reply);
    }

    pub fn refusal(&self) -> Option<&Reply> {
        self.refusal.as_ref()
    }

    /// The refusal, once more came than two of the largest messages have: who still sends only
    /// keeps us busy. All bytes count, so that it does not matter in which pieces they come.
    fn worn_out(&self) -> Option<Reply> {
        let all = self.received.saturating_add(self.skipped);
        let refusal = self.refusal.as_ref();
        refusal
            .filter(|_| all > self.limit.saturating_mul(2))
            .cloned()
    }

    /// Refuses a chunk of so many bytes more before they come, where they are too many.
    pub(super) fn announce(&mut self, size: u64) -> Option<Reply> {
        if self.received.saturating_add(size) > self.limit {
            self.refuse(too_large(self.limit));
        }
        self.refusal.clone()
    }

    /// At the end of the data: what is still to be stored, if the message is taken at all.
    pub fn finish(&mut self) -> Result<Vec<u8>, Reply> {
        if let Some(reply) = &self.refusal {
            return Err(reply.clone());
        }
        if let Some(lines) = &mut self.lines {
            lines.finish();
        }
        self.check_lines()?;
        self.header.finish()
    }

    /// A bare LF is refused rather than mended: a mended message is another than the one
    /// that its sender, or a signature in it, speaks of; and no relay behind this server
    /// gets to see an end of data that this one did not.
    fn check_lines(&self) -> Result<(), Reply> {
        const BARE: Reply = Reply::new(
            554,
            "5.6.0",
            "The message has a CR or LF alone; lines end with CRLF (RFC 5321, 2.3.8)",
        );
        const NUL: Reply = Reply::new(554, "5.6.0", "The message has a NUL byte");
        match &self.lines {
            Some(lines) if lines.bare => Err(BARE),
            Some(lines) if lines.nul => Err(NUL),
            _ => Ok(()),
        }
    }
}

/// A BDAT's bytes on their way.
pub(super) struct Chunk {
    pub size: u64,
    pub left: u64,
    pub last: bool,
    /// Read them away, then say this.
    pub refusal: Option<Reply>,
}

impl Session {
    pub(super) fn begin_data(&mut self, out: &mut Vec<u8>) -> Next {
        let begun = self
            .transaction
            .as_ref()
            .map(|it| (it.incoming.is_some(), it.failed));
        let may = match begun {
            Some((true, _) | (_, true)) => {
                Err(sequence("The message came by BDAT; send BDAT or RSET"))
            }
            // RFC 3030, 3.
            _ if self.transaction.as_ref().is_some_and(|it| it.mail.binary) => {
                Err(sequence("BODY=BINARYMIME comes by BDAT"))
            }
            _ => self.may_send(),
        };
        match may {
            Ok(size) => {
                self.phase = Phase::Asked(Asked::Data);
                Next::Ask(Ask::Begin { size })
            }
            Err(reply) => self.say(reply, out),
        }
    }

    /// A chunk is read whatever becomes of it, since its bytes are no commands (RFC 3030, 2);
    /// but one that is refused and twice as large as any message may be ends the connection,
    /// as DATA does.
    pub(super) fn begin_chunk(&mut self, size: u64, last: bool) -> Next {
        let mut chunk = Chunk {
            size,
            left: size,
            last,
            refusal: None,
        };
        match &mut self.transaction {
            Some(transaction) if transaction.failed => {
                chunk.refusal = Some(sequence("The message has been refused; send RSET"));
            }
            Some(transaction) if transaction.incoming.is_some() => {
                let incoming = transaction.incoming.as_mut();
                chunk.refusal = incoming.and_then(|it| it.announce(size));
            }
            _ => match self.may_send() {
                Ok(size) => {
                    self.phase = Phase::Asked(Asked::Chunk(chunk));
                    return Next::Ask(Ask::Begin { size });
                }
                Err(reply) => chunk.refusal = Some(reply),
            },
        }
        self.phase = Phase::Chunk(chunk);
        Next::Again
    }

    /// The store has begun a message, or has not.
    pub(super) fn begin(&mut self, begun: Result<Stamp, Trouble>) -> Result<(), Reply> {
        let limit = self.config.max_message_size;
        let stamp = begun.map_err(|trouble| trouble.reply(limit))?;
        let config = &self.config;
        let (Some(client), Some(transaction)) = (&self.client, &mut self.transaction) else {
            return Err(sequence("Send MAIL first"));
        };
        let sender = transaction.mail.sender.as_ref();
        let trace = Trace {
            hostname: self.config.hostname.clone(),
            client: client.name.clone(),
            sender: sender.map(|path| path.text.clone()).unwrap_or_default(),
            tls: self.config.tls,
            login: matches!(self.author, Some(Author::Account { .. })),
            smtputf8: transaction.mail.envelope.smtputf8,
            priority: transaction.mail.envelope.priority,
        };
        transaction.id = stamp.id.clone();
        transaction.begun = stamp.date.unix;
        let header = match (config.role, &self.author) {
            (Role::Submission, Some(author)) => {
                Header::Repaired(Repair::new(author.clone(), trace, stamp))
            }
            (Role::Submission, None) => return Err(sequence("Send MAIL first")),
            (role, _) => {
                let (lmtp, extended) = (role == Role::Lmtp, client.extended);
                let with = passage::protocol(lmtp, extended, trace.tls, trace.smtputf8);
                let [return_path, received] =
                    passage::trace_fields(&trace, config.peer, with, &stamp);
                let mut front = Vec::new();
                if lmtp {
                    front.extend_from_slice(return_path.as_bytes());
                    front.extend_from_slice(received.as_bytes());
                } else {
                    transaction.arrived = Some(Arrived {
                        client: client.name.clone(),
                        return_path,
                        received,
                    });
                }
                Header::Passed(Passage::new(front))
            }
        };
        transaction.incoming = Some(Incoming::new(header, transaction.mail.binary, limit));
        Ok(())
    }

    pub(super) fn data(&mut self, mut unstuffer: Unstuffer, out: &mut Vec<u8>) -> Next {
        let piece = unstuffer.next(self.input.bytes());
        if let Piece::End = piece {
            self.input.consume(3);
            return self.end(out);
        }
        self.phase = Phase::Data(unstuffer);
        match piece {
            Piece::Text(n) => self.take(n, out),
            Piece::Dot => {
                self.input.consume(1);
                Next::Again
            }
            Piece::More | Piece::End => Next::NeedInput,
        }
    }

    pub(super) fn chunk(&mut self, mut chunk: Chunk, out: &mut Vec<u8>) -> Next {
        if chunk.left == 0 {
            return self.end_chunk(chunk, out);
        }
        if let Some(reply) = &chunk.refusal
            && chunk.left > self.config.max_message_size.saturating_mul(2)
        {
            return self.close(reply.clone(), out);
        }
        let n =
            usize::try_from(chunk.left).map_or(self.input.len(), |left| left.min(self.input.len()));
        chunk.left -= n as u64;
        let refused = chunk.refusal.is_some();
        self.phase = Phase::Chunk(chunk);
        match n {
            0 => Next::NeedInput,
            n if refused => {
                self.input.consume(n);
                Next::Again
            }
            n => self.take(n, out),
        }
    }

    fn end_chunk(&mut self, chunk: Chunk, out: &mut Vec<u8>) -> Next {
        let refusal = self.incoming().and_then(|it| it.refusal().cloned());
        match chunk.refusal.or(refusal) {
            None if chunk.last => self.end(out),
            None => {
                let text = format!("{} bytes taken", chunk.size);
                self.say(Reply::with(250, "2.0.0", text), out)
            }
            Some(reply) => {
                // After the last chunk the transaction is over, else it waits for RSET.
                let next = match &mut self.transaction {
                    Some(transaction) if !chunk.last => {
                        transaction.failed = true;
                        match transaction.incoming.take() {
                            Some(_) => Next::Abandon,
                            None => Next::Again,
                        }
                    }
                    _ => return self.refuse_message(reply, out),
                };
                self.say_and(reply, next, out)
            }
        }
    }

    /// Takes `n` bytes of text off the input.
    fn take(&mut self, n: usize, out: &mut Vec<u8>) -> Next {
        let text = self.input.bytes().get(..n).unwrap_or_default();
        let incoming = self
            .transaction
            .as_mut()
            .and_then(|it| it.incoming.as_mut());
        let taken = incoming.map_or(Ok(Output::Nothing), |incoming| incoming.take(text));
        match taken {
            // Its bytes are consumed when the next step begins.
            Ok(Output::Body(_)) => {
                self.lent = n;
                Next::LendInput
            }
            Ok(Output::Header(header)) => {
                self.begins_with(&header);
                self.header = header;
                self.input.consume(n);
                Next::LendHeader
            }
            Ok(Output::Nothing) => {
                self.input.consume(n);
                match self.incoming().and_then(|it| it.worn_out()) {
                    Some(reply) => self.close(reply, out),
                    None => Next::Again,
                }
            }
            // The rest is read away; the reply comes at its end.
            Err(_) => {
                self.input.consume(n);
                match self.incoming().and_then(|it| it.worn_out()) {
                    Some(reply) => self.close(reply, out),
                    None => Next::Abandon,
                }
            }
        }
    }

    /// What goes to the store first: the header, once it is whole.
    pub(super) fn begins_with(&mut self, text: &[u8]) {
        if let Some(transaction) = &mut self.transaction {
            transaction.begins_with(text);
            if self.config.role == Role::Lmtp {
                transaction.author = author::domain(header_of(text));
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Next {
        let finished = self.incoming().map_or(Ok(Vec::new()), Incoming::finish);
        match finished {
            Ok(rest) => {
                self.phase = Phase::Commit;
                match rest.is_empty() {
                    true => Next::Again,
                    false => {
                        self.begins_with(&rest);
                        self.header = rest;
                        Next::LendHeader
                    }
                }
            }
            Err(reply) => self.refuse_message(reply, out),
        }
    }
}
