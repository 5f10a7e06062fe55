//! The state machine of SMTP: bytes in, replies and steps out. It holds no socket,
//! clock or store; what only those can give is an [`Ask`], and [`Session::answer`] takes
//! the [`Answer`]. Replies to a pipelined group come out of one run of steps, so that the
//! driver writes them at once.

pub use super::ask::{Answer, Arrived, Ask, Commit, Found, NoRecipient, Trouble};

use super::author::{Author, Trusted};
use super::burl::Url;
use super::command::{Command, Mail};
use super::incoming::{Chunk, Incoming};
use super::needs;
use super::patience::Stage;
use super::reply::Reply;
use super::role::Role;
use super::tally::{MAX_PROTOCOL_ERRORS, Tally};
use super::text::Unstuffer;
use super::transaction::Transaction;
use crate::mail::Account;
use crate::mail::addressing::Grant;
use crate::mail::capability::Off;
use crate::mail::home::Forwarded;
use crate::sasl;
use crate::sasl::dialogue::{Dialogue, Nonces};
use crate::wire::Input;
use std::net::IpAddr;

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    pub hostname: String,
    /// The client's address, for Received; `None` where it says nothing: a Unix socket.
    pub peer: Option<IpAddr>,
    /// Bytes; as SIZE says it.
    pub max_message_size: u64,
    pub max_recipients: usize,
    /// Where IMAP is, as a URL says it: the host, and the port where it is another than 143.
    pub imap: String,
    /// MAIL commands of one connection; `None` for no limit.
    pub max_messages: Option<u32>,
    /// Refusals without a message taken between them.
    pub max_refusals: u32,
    /// Whether TLS is there from the start.
    pub tls: bool,
    /// Whether a password may come without TLS.
    pub plain_login: bool,
    /// Who submits from there without a login.
    pub device: Option<Trusted>,
    /// Fresh randomness, for SCRAM.
    pub seed: [u8; 32],
    /// When it begins, seconds since 1970: what FUTURERELEASE counts from.
    pub now: i64,
}

/// What the driver does next, then it calls [`Session::step`] again.
#[derive(Debug)]
pub enum Step<'a> {
    /// Flush the output, then give input.
    NeedInput,
    /// Find out, then [`Session::answer`].
    Ask(Ask),
    /// Write this to the message begun; [`Answer::Written`] only if that fails.
    Data(&'a [u8]),
    /// Drop the message begun, if there is one.
    Abandon,
    /// Flush, do the handshake, then [`Session::tls_started`].
    StartTls,
    /// Flush and close.
    Close,
}

/// Its commands are spread by subject: the envelope and the end of a message in
/// [`super::transaction`], AUTH in [`super::login`], DATA and BDAT in [`super::incoming`].
pub struct Session {
    pub(super) config: Config,
    pub(super) input: Input,
    /// What the last step lent of the input.
    pub(super) lent: usize,
    /// What the step lends that is not of the input: a repaired header.
    pub(super) header: Vec<u8>,
    pub(super) phase: Phase,
    pub(super) client: Option<Client>,
    pub(super) author: Option<Author>,
    /// Of the account that is logging in.
    pub(super) grants: Vec<Grant>,
    pub(super) login_failures: u32,
    pub(super) nonces: Nonces,
    pub(super) channel: sasl::Channel,
    pub(super) forwarded: Forwarded,
    pub(super) transaction: Option<Transaction>,
    /// What was in vain since the last message.
    pub(super) tally: Tally,
    /// The last refusal, until it is taken.
    refusal: Option<Reply>,
    /// MAIL commands taken.
    pub(super) mails: u32,
    /// What the greeting says behind the name, where the owner has words of his own.
    banner: String,
    /// Commands that are none or come out of order, without a message taken between them.
    max_protocol_errors: u32,
    /// See [`Session::go_without`].
    pub(super) off: Off,
}

/// Who EHLO or HELO said it is.
pub(super) struct Client {
    pub name: String,
    pub extended: bool,
}

pub(super) enum Phase {
    Greeting,
    Commands,
    /// Bytes dropped of a line that is too long.
    SkipLine(usize),
    /// A line of a SASL exchange is due.
    Login(Dialogue),
    /// What the exchange has come to.
    Turn(Dialogue, sasl::Turn),
    Data(Unstuffer),
    Chunk(Chunk),
    Url(Url),
    /// The data is over: deliver it.
    Commit,
    Asked(Asked),
    Closed,
}

/// What is being found out.
pub(super) enum Asked {
    Login(Dialogue),
    Mail(Box<Mail>),
    Recipient,
    Data,
    Chunk(Chunk),
    Url {
        url: String,
        last: bool,
    },
    Open {
        last: bool,
    },
    Piece {
        size: u64,
        last: bool,
    },
    /// `queued`: at least for one recipient it goes to the queue.
    Commit {
        queued: bool,
    },
}

/// A step without what it lends.
pub(super) enum Next {
    Again,
    NeedInput,
    Ask(Ask),
    LendInput,
    LendHeader,
    Abandon,
    StartTls,
    Close,
}

impl Session {
    pub fn new(config: Config) -> Session {
        Session {
            author: config.device.as_ref().and_then(|it| it.author(config.tls)),
            grants: Vec::new(),
            login_failures: 0,
            nonces: Nonces::new(config.seed),
            channel: sasl::Channel::default(),
            forwarded: Forwarded::default(),
            config,
            input: Input::new(),
            lent: 0,
            header: Vec::new(),
            phase: Phase::Greeting,
            client: None,
            transaction: None,
            tally: Tally::default(),
            refusal: None,
            mails: 0,
            banner: String::new(),
            max_protocol_errors: MAX_PROTOCOL_ERRORS,
            off: Off::NONE,
        }
    }

    /// With words of the owner's in the greeting, where he has any.
    pub fn with_banner(self, banner: &str) -> Session {
        Session {
            banner: banner.into(),
            ..self
        }
    }

    /// With another limit on commands that are none.
    pub fn with_max_protocol_errors(self, max_protocol_errors: u32) -> Session {
        Session {
            max_protocol_errors,
            ..self
        }
    }

    /// Where received bytes go.
    pub fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    pub fn account(&self) -> Option<&Account> {
        match &self.author {
            Some(Author::Account { account, .. }) => Some(account),
            _ => None,
        }
    }

    /// Who submits: a login or a device.
    pub fn author(&self) -> Option<&Author> {
        self.author.as_ref()
    }

    /// What the connection brings to a login; called when TLS has begun.
    pub fn bind(&mut self, channel: sasl::Channel) {
        self.channel = channel;
    }

    /// Whom else the account may send as that is being granted the login.
    pub fn set_grants(&mut self, grants: Vec<Grant>) {
        self.grants = grants;
    }

    /// What the account that is being granted the login is served without.
    pub fn go_without(&mut self, off: Off) {
        self.off = off;
    }

    /// What the client said of the size of the message, bytes.
    pub fn announced_size(&self) -> Option<u64> {
        self.transaction.as_ref()?.mail.size
    }

    /// The reverse-path of the transaction, as written; empty for `<>`.
    pub fn sender(&self) -> Option<String> {
        let mail = &self.transaction.as_ref()?.mail;
        Some(
            mail.sender
                .as_ref()
                .map_or_else(String::new, |it| it.text.clone()),
        )
    }

    /// Refusals that the client is to wait for, each told once: [`Tally::take_guesses`].
    pub fn take_guesses(&mut self) -> u32 {
        self.tally.take_guesses()
    }

    /// The last refusal for good, for the log; each once.
    pub fn take_refusal(&mut self) -> Option<Reply> {
        self.refusal.take()
    }

    /// What the client is at.
    pub fn stage(&self) -> Stage {
        let begun = |it: &Transaction| it.incoming.is_some();
        match self.phase {
            Phase::Data(_) | Phase::Chunk(_) => Stage::Text,
            _ if self.transaction.as_ref().is_some_and(begun) => Stage::Between,
            _ => Stage::Command,
        }
    }

    /// Goes as far as it can without the world; replies are appended to `out`.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Step<'_> {
        self.input.consume(std::mem::take(&mut self.lent));
        self.header = Vec::new();
        loop {
            return match self.advance(out) {
                Next::Again => continue,
                Next::NeedInput => Step::NeedInput,
                Next::Ask(ask) => Step::Ask(ask),
                Next::LendInput => {
                    Step::Data(self.input.bytes().get(..self.lent).unwrap_or_default())
                }
                Next::LendHeader => Step::Data(&self.header),
                Next::Abandon => Step::Abandon,
                Next::StartTls => Step::StartTls,
                Next::Close => Step::Close,
            };
        }
    }

    /// The handshake is done: everything said before is forgotten (RFC 3207, 4.2).
    pub fn tls_started(&mut self) {
        self.input.clear();
        self.config.tls = true;
        self.client = None;
        self.transaction = None;
        self.forwarded.forget_client();
        self.off = Off::NONE;
        let device = self.config.device.as_ref();
        self.author = device.and_then(|it| it.author(true));
    }

    /// May have a further question: the driver goes on with what [`Session::step`] says.
    pub fn answer(&mut self, answer: Answer, out: &mut Vec<u8>) {
        // A failed write comes between two steps of any phase.
        if let Answer::Written(trouble) = answer {
            let limit = self.config.max_message_size;
            if let Some(incoming) = self.incoming() {
                incoming.refuse(trouble.reply(limit));
            }
            return;
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Commands);
        match (phase, answer) {
            (Phase::Asked(Asked::Login(mut dialogue)), Answer::Verdict(verdict)) => {
                let turn = dialogue.verdict(verdict);
                self.phase = Phase::Turn(dialogue, turn);
            }
            (Phase::Asked(Asked::Mail(mail)), Answer::Held(held)) => {
                self.may_be_held(*mail, held, out);
            }
            (Phase::Asked(Asked::Recipient), Answer::Recipient(found)) => {
                self.recipient_found(found, out);
            }
            (Phase::Asked(Asked::Data), Answer::Begun(begun)) => match self.begin(begun) {
                Ok(()) => {
                    let text = "Send the message, then a line with a dot alone";
                    Reply::new(354, "", text).write(out);
                    self.phase = Phase::Data(Unstuffer::default());
                }
                Err(reply) => {
                    self.transaction = None;
                    self.say(reply, out);
                }
            },
            (Phase::Asked(Asked::Chunk(mut chunk)), Answer::Begun(begun)) => {
                chunk.refusal = self.begin(begun).err();
                let announced = self.incoming().and_then(|it| it.announce(chunk.size));
                chunk.refusal = chunk.refusal.or(announced);
                self.phase = Phase::Chunk(chunk);
            }
            (Phase::Asked(Asked::Url { url, last }), Answer::Begun(begun)) => {
                let begun = self.begin(begun);
                self.url_begun(url, last, begun);
            }
            (Phase::Asked(Asked::Open { last }), Answer::Opened(opened)) => {
                self.url_opened(last, opened);
            }
            (Phase::Asked(Asked::Piece { size, last }), Answer::Piece(piece)) => {
                self.url_piece(size, last, piece);
            }
            (Phase::Asked(Asked::Commit { queued }), Answer::Committed(committed)) => {
                self.committed(committed, queued, out);
            }
            (phase, _) => self.phase = phase,
        }
    }

    /// In place of a verdict, where the login can't be decided: says why not.
    pub fn put_off(&mut self, reply: Reply, out: &mut Vec<u8>) {
        self.phase = Phase::Commands;
        self.say(reply, out);
    }

    fn advance(&mut self, out: &mut Vec<u8>) -> Next {
        match std::mem::replace(&mut self.phase, Phase::Commands) {
            Phase::Greeting => self.greet(out),
            Phase::Commands => self.command_line(out),
            Phase::SkipLine(skipped) => self.skip_line(skipped, out),
            Phase::Login(dialogue) => self.login_line(dialogue, out),
            Phase::Turn(dialogue, turn) => self.login_turn(dialogue, turn, out),
            Phase::Data(unstuffer) => self.data(unstuffer, out),
            Phase::Chunk(chunk) => self.chunk(chunk, out),
            Phase::Url(url) => self.url(url),
            Phase::Commit => self.commit(out),
            // A driver that steps on without an answer gets no further.
            Phase::Asked(_) | Phase::Closed => {
                self.phase = Phase::Closed;
                Next::Close
            }
        }
    }

    pub(super) fn greet(&mut self, out: &mut Vec<u8>) -> Next {
        let banner = std::mem::take(&mut self.banner);
        let text = match banner.as_str() {
            "" => format!("{} {}", self.config.hostname, self.config.role.greeting()),
            banner => format!("{} ESMTP {banner}", self.config.hostname),
        };
        self.say(Reply::with(220, "", text), out)
    }

    /// Writes a reply; too many refusals close the connection.
    pub(super) fn say(&mut self, reply: Reply, out: &mut Vec<u8>) -> Next {
        reply.write(out);
        self.tally.count(&reply);
        if reply.code >= 500 {
            self.refusal = Some(reply);
        }
        self.go_on(Next::Again, out)
    }

    /// `next`, unless the client has tried too much in vain.
    pub(super) fn go_on(&mut self, next: Next, out: &mut Vec<u8>) -> Next {
        let over = self.tally.over(
            self.config.role,
            self.config.max_refusals,
            self.max_protocol_errors,
        );
        match over {
            Some(reply) => self.close(reply, out),
            None => next,
        }
    }

    /// As `say`; where that does not close, `next` follows.
    pub(super) fn say_and(&mut self, reply: Reply, next: Next, out: &mut Vec<u8>) -> Next {
        match self.say(reply, out) {
            Next::Again => next,
            closing => closing,
        }
    }

    pub(super) fn close(&mut self, reply: Reply, out: &mut Vec<u8>) -> Next {
        reply.write(out);
        self.phase = Phase::Closed;
        Next::Close
    }

    pub(super) fn command(&mut self, command: Command, out: &mut Vec<u8>) -> Next {
        use Command::{Ehlo, Helo, Help, Lhlo, Noop, Rset, Vrfy};
        if let Helo(_) | Ehlo(_) | Lhlo(_) | Rset | Noop | Vrfy | Help = command {
            self.tally.idle();
        }
        if let Some(reply) = needs::refusal(&command, self.off) {
            // The bytes of a chunk would be taken for commands.
            return match command {
                Command::Bdat { .. } => self.close(reply, out),
                _ => self.say(reply, out),
            };
        }
        match command {
            Command::Helo(_) | Command::Ehlo(_) if self.config.role == Role::Lmtp => {
                self.say(Reply::new(500, "5.5.1", "This is LMTP: send LHLO"), out)
            }
            Command::Lhlo(_) if self.config.role != Role::Lmtp => {
                self.say(Reply::new(500, "5.5.1", "This is SMTP: send EHLO"), out)
            }
            Command::Helo(name) => self.hello(name, false, out),
            Command::Ehlo(name) | Command::Lhlo(name) => self.hello(name, true, out),
            Command::StartTls if self.config.tls => self.say(sequence("TLS is on already"), out),
            Command::StartTls => {
                // What came behind it came in clear (CVE-2011-0411).
                self.input.clear();
                self.transaction = None;
                Reply::new(220, "2.0.0", "Begin TLS now").write(out);
                Next::StartTls
            }
            Command::Auth { .. } if !self.config.role.needs_login() => {
                let text = "Nobody logs in here; submission is on ports 465 and 587";
                self.say(Reply::new(502, "5.5.1", text), out)
            }
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial, out),
            Command::Xclient(arguments) => self.xclient(&arguments, out),
            Command::Mail(mail) => self.mail(mail, out),
            Command::Rcpt(recipient, wishes) => self.recipient(recipient, wishes, out),
            Command::Data => self.begin_data(out),
            Command::Bdat { size, last } => self.begin_chunk(size, last),
            Command::Burl { url, last } => self.begin_url(url, last, out),
            Command::Rset => {
                let next = self.reset();
                self.say_and(Reply::new(250, "2.0.0", "Ok"), next, out)
            }
            Command::Noop => self.say(Reply::new(250, "2.0.0", "Ok"), out),
            Command::Vrfy => {
                let text = "Send the message and see; addresses are not told";
                self.say(Reply::new(252, "2.1.5", text), out)
            }
            Command::Expn => self.say(Reply::new(502, "5.5.1", "There are no lists here"), out),
            Command::Help => {
                let text =
                    "EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, BDAT, BURL, RSET, NOOP, VRFY, QUIT";
                self.say(Reply::new(214, "2.0.0", text), out)
            }
            Command::Quit => self.close(Reply::new(221, "2.0.0", "Goodbye"), out),
        }
    }

    /// Ends the transaction, whatever has come of it.
    pub(super) fn reset(&mut self) -> Next {
        match self.transaction.take().and_then(|it| it.incoming) {
            Some(_) => Next::Abandon,
            None => Next::Again,
        }
    }

    pub(super) fn incoming(&mut self) -> Option<&mut Incoming> {
        self.transaction.as_mut()?.incoming.as_mut()
    }
}

/// A command out of its order.
pub(super) fn sequence(text: &'static str) -> Reply {
    Reply::new(503, "5.5.1", text)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
