//! IMAP4rev1 from the client's side, for mail that is fetched from another server. Pure:
//! bytes in, commands out, an [`Event`] for what a fetching client needs to know; all else
//! that a server says is passed over. What is asked for and when is the caller's affair.
//!
//! A server is trusted with nothing: every line, literal and list has a limit, and what is
//! not IMAP ends the connection with an [`Error`] that says so.

pub mod command;
mod response;

pub use command::Command;
pub use response::{Body, Fetch};

use crate::mail::UidValidity;
use crate::wire::{Input, Line};
use response::{Response, Status};
use std::fmt;
use std::num::NonZeroU32;

/// Longest response, bytes, with the literals in it that are no message.
pub const MAX_RESPONSE: usize = 64 << 10;
/// Longest literal that is no message, bytes.
pub const MAX_LITERAL: u64 = 16 << 10;
/// Untagged responses to one command. A listing has one for each message.
pub const MAX_UNTAGGED: u32 = 1 << 20;
/// Capabilities that are kept.
pub const MAX_CAPABILITIES: usize = 256;
/// What of a server's text goes into an error, characters.
const MAX_EXCERPT: usize = 120;

/// What a server did that no IMAP server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    TooLong,
    TooMany,
    /// A literal that is no message is longer than [`MAX_LITERAL`], or a second message
    /// came in one response.
    Literal,
    /// Not a response: its beginning.
    Malformed(String),
    /// An answer to a command that was not given: its beginning.
    Unasked(String),
    /// Bytes came behind the answer to STARTTLS (RFC 3501, 6.2.1): somebody may have put
    /// them there.
    Injected,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooLong => write!(f, "a line of it is longer than {MAX_RESPONSE} bytes"),
            Error::TooMany => write!(f, "it never ends its answer"),
            Error::Literal => write!(f, "it sends a literal that nobody asked for"),
            Error::Malformed(text) => write!(f, "it does not speak IMAP: {text}"),
            Error::Unasked(text) => write!(f, "it answers what nobody asked: {text}"),
            Error::Injected => write!(f, "it sends more than it may before TLS begins"),
        }
    }
}

impl std::error::Error for Error {}

#[derive(Debug)]
pub enum Step<'a> {
    NeedInput,
    /// The next bytes of the message that [`Event::Body`] announced.
    Data(&'a [u8]),
    Event(Event),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server's first words. `preauth`: it takes the client as logged in already.
    Greeting {
        preauth: bool,
    },
    /// The server waits for [`Client::answer`], or is idle.
    Continue(Vec<u8>),
    /// The selected mailbox has that many messages now.
    Exists(u32),
    /// A message of that many bytes follows as [`Step::Data`], then the [`Event::Fetch`]
    /// that says which it was.
    Body(u64),
    Fetch(Box<Fetch>),
    /// The command is over.
    Done(Outcome),
    /// The server is about to close the connection.
    Bye(String),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub ok: bool,
    /// The response code's first word in upper case, or empty.
    pub code: String,
    /// For a person; printable.
    pub text: String,
}

/// What SELECT told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    pub uid_validity: Option<UidValidity>,
    pub uid_next: Option<NonZeroU32>,
    /// UIDs of this mailbox are not kept (RFC 4315, 3).
    pub uid_not_sticky: bool,
}

#[derive(Debug)]
enum State {
    Greeting,
    Line,
    /// Inside a literal that belongs to the response.
    Literal(u64),
    /// Inside a message.
    Body(u64),
}

/// One connection to an IMAP server.
#[derive(Debug)]
pub struct Client {
    input: Input,
    /// The response so far, without the bytes of a message in it.
    response: Vec<u8>,
    /// Where in it that message stood.
    body: Option<usize>,
    state: State,
    greeted: bool,
    /// The number of the last command, and whether it is not answered yet.
    tag: u32,
    pending: bool,
    /// Whether it may be answered with `+`.
    may_continue: bool,
    untagged: u32,
    capabilities: Vec<String>,
    selected: Selected,
    /// Bytes of the input that the caller has in hand.
    lent: usize,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            input: Input::new(),
            response: Vec::new(),
            body: None,
            state: State::Greeting,
            greeted: false,
            tag: 0,
            pending: false,
            may_continue: false,
            untagged: 0,
            capabilities: Vec::new(),
            selected: Selected::default(),
            lent: 0,
        }
    }
}

impl Client {
    /// Where received bytes go.
    pub fn input(&mut self) -> &mut Input {
        self.input.consume(std::mem::take(&mut self.lent));
        &mut self.input
    }

    /// Whether the server has said that it can do this; a name in upper case.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|it| it == capability)
    }

    /// Whether the server has named any capability since the connection or TLS began.
    pub fn knows_capabilities(&self) -> bool {
        !self.capabilities.is_empty()
    }

    /// What the server has named, in upper case.
    pub fn capabilities(&self) -> &[String] {
        &self.capabilities
    }

    /// What the last SELECT told.
    pub fn selected(&self) -> Selected {
        self.selected
    }

    /// Gives a command; the one before must be over.
    pub fn command(&mut self, command: &Command<'_>, out: &mut Vec<u8>) {
        self.tag = self.tag.wrapping_add(1);
        self.pending = true;
        self.untagged = 0;
        self.may_continue = command.may_continue();
        if let Command::Select(_) = command {
            self.selected = Selected::default();
        }
        if let Command::Authenticate { .. } | Command::Login { .. } = command {
            // A login changes what a server can do (RFC 3501, 7.1).
            self.capabilities.clear();
        }
        out.extend_from_slice(format!("p{} ", self.tag).as_bytes());
        command.write(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Answers [`Event::Continue`]: a line without its end.
    pub fn answer(&mut self, line: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }

    /// TLS is about to begin. Nothing that was said without it counts.
    pub fn begin_tls(&mut self) -> Result<(), Error> {
        if !self.input().is_empty() {
            return Err(Error::Injected);
        }
        self.capabilities.clear();
        Ok(())
    }

    pub fn step(&mut self) -> Result<Step<'_>, Error> {
        self.input.consume(std::mem::take(&mut self.lent));
        loop {
            match self.state {
                State::Greeting | State::Line => {
                    let room = MAX_RESPONSE.saturating_sub(self.response.len());
                    match self.input.line(room, true) {
                        Line::Partial => return Ok(Step::NeedInput),
                        Line::TooLong => return Err(Error::TooLong),
                        Line::Complete { length, end } => {
                            let line = self.input.bytes().get(..length).unwrap_or_default();
                            self.response.extend_from_slice(line);
                            self.input.consume(end);
                            if let Some(event) = self.line_ended()? {
                                return Ok(Step::Event(event));
                            }
                        }
                    }
                }
                State::Literal(left) => {
                    let n = self.available(left);
                    let bytes = self.input.bytes().get(..n).unwrap_or_default();
                    self.response.extend_from_slice(bytes);
                    self.input.consume(n);
                    match left - n as u64 {
                        0 => self.state = State::Line,
                        left => {
                            self.state = State::Literal(left);
                            return Ok(Step::NeedInput);
                        }
                    }
                }
                State::Body(0) => self.state = State::Line,
                State::Body(left) => {
                    let n = self.available(left);
                    if n == 0 {
                        return Ok(Step::NeedInput);
                    }
                    self.state = State::Body(left - n as u64);
                    self.lent = n;
                    return Ok(Step::Data(self.input.bytes().get(..n).unwrap_or_default()));
                }
            }
        }
    }

    /// How many of `left` bytes are there.
    fn available(&self, left: u64) -> usize {
        usize::try_from(left).map_or(self.input.len(), |left| left.min(self.input.len()))
    }

    /// The response's next line is there: with a literal at its end it goes on.
    fn line_ended(&mut self) -> Result<Option<Event>, Error> {
        let Some(literal) = response::literal(&self.response) else {
            let response = std::mem::take(&mut self.response);
            return self.understand(&response);
        };
        self.response.extend_from_slice(b"\r\n");
        if literal.body {
            if self.body.is_some() {
                return Err(Error::Literal);
            }
            self.body = Some(self.response.len());
            self.state = State::Body(literal.length);
            return Ok(Some(Event::Body(literal.length)));
        }
        let fits = literal.length <= MAX_LITERAL
            && self.response.len() as u64 + literal.length < MAX_RESPONSE as u64;
        if !fits || !self.greeted {
            return Err(Error::Literal);
        }
        self.state = State::Literal(literal.length);
        Ok(None)
    }

    /// What a whole response means, if it means anything to a client that fetches.
    fn understand(&mut self, bytes: &[u8]) -> Result<Option<Event>, Error> {
        let body = self.body.take();
        let response = response::parse(bytes, body);
        let response = response.ok_or_else(|| Error::Malformed(excerpt(bytes)))?;
        if !self.greeted {
            return self.greeting(response, bytes);
        }
        if let Response::Tagged(tag, status) = response {
            if !self.pending || tag != format!("p{}", self.tag).as_bytes() {
                return Err(Error::Unasked(excerpt(bytes)));
            }
            (self.pending, self.may_continue) = (false, false);
            self.note(&status);
            let Status { ok, code, text, .. } = status;
            return Ok(Some(Event::Done(Outcome { ok, code, text })));
        }
        if let Response::Continue(text) = response {
            return match self.may_continue {
                true => Ok(Some(Event::Continue(text))),
                false => Err(Error::Unasked(excerpt(bytes))),
            };
        }
        self.untagged += 1;
        if self.untagged > MAX_UNTAGGED {
            return Err(Error::TooMany);
        }
        Ok(match response {
            Response::Capability(names) => {
                self.learn(names);
                None
            }
            Response::Exists(count) => Some(Event::Exists(count)),
            Response::Fetch(fetch) => Some(Event::Fetch(fetch)),
            Response::Status(status) if status.bye => Some(Event::Bye(status.text)),
            Response::Status(status) => {
                self.note(&status);
                None
            }
            _ => None,
        })
    }

    fn greeting(&mut self, response: Response, bytes: &[u8]) -> Result<Option<Event>, Error> {
        let Response::Status(status) = response else {
            return Err(Error::Malformed(excerpt(bytes)));
        };
        if status.bye {
            return Ok(Some(Event::Bye(status.text)));
        }
        if !status.ok {
            return Err(Error::Malformed(excerpt(bytes)));
        }
        self.note(&status);
        self.greeted = true;
        self.state = State::Line;
        let preauth = status.preauth;
        Ok(Some(Event::Greeting { preauth }))
    }

    /// Keeps what a response code says.
    fn note(&mut self, status: &Status) {
        let number = || status.arguments.trim().parse().ok();
        match status.code.as_str() {
            "CAPABILITY" => self.learn(response::words(&status.arguments)),
            "UIDVALIDITY" => self.selected.uid_validity = number(),
            "UIDNEXT" => self.selected.uid_next = number(),
            "UIDNOTSTICKY" => self.selected.uid_not_sticky = true,
            _ => {}
        }
    }

    fn learn(&mut self, mut names: Vec<String>) {
        names.truncate(MAX_CAPABILITIES);
        self.capabilities = names;
    }
}

/// The beginning of what a server sent, as a person can read it.
fn excerpt(bytes: &[u8]) -> String {
    response::printable(
        bytes
            .get(..MAX_EXCERPT.min(bytes.len()))
            .unwrap_or_default(),
    )
}

#[cfg(test)]
#[path = "client/tests.rs"]
mod tests;
