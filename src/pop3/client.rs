//! POP3 (RFC 1939) from the client's side, for mail that is fetched from another server.
//! Pure: bytes in, commands out. What is asked for and when is the caller's affair.
//!
//! A server is trusted with nothing: every line and list has a limit, and what is not POP3
//! ends the connection with an [`Error`] that says so.

mod unstuff;

use crate::secret::Secret;
use crate::wire::{Input, Line};
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use unstuff::{Piece, Unstuffer};

/// Longest line but those of messages, bytes without its end. RFC 1939, 3 allows 512,
/// capabilities may be longer (RFC 2449, 4).
pub const MAX_LINE: usize = 2048;
/// Lines of one answer that is no message.
pub const MAX_LINES: u32 = 1 << 20;
/// Capabilities that are kept.
const MAX_CAPABILITIES: usize = 64;
/// What of a server's text is kept, characters.
const MAX_TEXT: usize = 300;

/// What a server did that no POP3 server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    TooLong,
    TooMany,
    /// Not an answer: its beginning.
    Malformed(String),
    /// Bytes came that no command asked for.
    Unasked,
    /// Bytes came behind the answer to STLS (RFC 2595, 4): somebody may have put them there.
    Injected,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooLong => write!(f, "a line of it is longer than {MAX_LINE} bytes"),
            Error::TooMany => write!(f, "it never ends its answer"),
            Error::Malformed(text) => write!(f, "it does not speak POP3: {text}"),
            Error::Unasked => write!(f, "it answers what nobody asked"),
            Error::Injected => write!(f, "it sends more than it may before TLS begins"),
        }
    }
}

impl std::error::Error for Error {}

#[derive(Debug)]
pub enum Step<'a> {
    NeedInput,
    /// The next bytes of a message, as it was before its dots were doubled.
    Data(&'a [u8]),
    Event(Event),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A row of LIST or UIDL: message number, and size or unique-id.
    Row(u32, String),
    /// The server waits for [`Client::answer`]: a challenge in base64.
    Continue(Vec<u8>),
    /// The greeting or the command is over.
    Done(Outcome),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub ok: bool,
    /// The response code in upper case (RFC 2449, 8), or empty.
    pub code: String,
    /// For a person; printable.
    pub text: String,
}

#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    Capa,
    Stls,
    /// Without control characters, as the password: [`can_be_sent`].
    User(&'a str),
    Pass(&'a Secret<String>),
    /// With the initial response in base64 where it fits the line (RFC 5034, 4).
    Auth {
        mechanism: &'a str,
        initial: Option<&'a Secret<String>>,
    },
    /// Where the client is for whom we pass the connection on, and how many servers more may.
    Xclient {
        address: Option<IpAddr>,
        hops: u8,
    },
    Uidl,
    List,
    Retr(u32),
    Dele(u32),
    Quit,
}

/// Whether USER and PASS can send it.
pub fn can_be_sent(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// What the server's next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: no command is open.
    Quiet,
    /// The first line of an answer, and what follows it.
    Answer(Follow),
    Lines(Follow),
    Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    Nothing,
    /// Or a challenge.
    Dialogue,
    Capabilities,
    Rows,
    Message,
}

/// One connection to a POP3 server.
#[derive(Debug)]
pub struct Client {
    input: Input,
    state: State,
    /// Commands behind the one that is being answered (RFC 2449, 6.6).
    waiting: VecDeque<Follow>,
    unstuffer: Unstuffer,
    lines: u32,
    /// The answer's first line, until its other lines are over.
    outcome: Option<Outcome>,
    capabilities: Vec<String>,
    /// Bytes of the input that the caller has in hand.
    lent: usize,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            input: Input::new(),
            // The greeting.
            state: State::Answer(Follow::Nothing),
            waiting: VecDeque::new(),
            unstuffer: Unstuffer::default(),
            lines: 0,
            outcome: None,
            capabilities: Vec::new(),
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

    /// Whether the last CAPA named it: a tag, in upper case.
    pub fn has(&self, capability: &str) -> bool {
        self.arguments(capability).is_some()
    }

    /// Whether SASL knows this mechanism.
    pub fn has_mechanism(&self, name: &str) -> bool {
        self.names("SASL", name)
    }

    /// Whether XCLIENT takes this name.
    pub fn takes_by_xclient(&self, name: &str) -> bool {
        self.names("XCLIENT", name)
    }

    fn names(&self, capability: &str, name: &str) -> bool {
        let rest = self.arguments(capability).unwrap_or_default();
        rest.split(' ').any(|it| it == name)
    }

    fn arguments(&self, capability: &str) -> Option<&str> {
        self.capabilities.iter().find_map(|line| {
            let rest = line.strip_prefix(capability)?;
            (rest.is_empty() || rest.starts_with(' ')).then_some(rest)
        })
    }

    /// Gives a command. Those before it must be over unless the server says PIPELINING; how many
    /// wait is the caller's to bound.
    pub fn command(&mut self, command: &Command<'_>, out: &mut Vec<u8>) {
        match self.state {
            State::Quiet => self.state = State::Answer(command.follow()),
            _ => self.waiting.push_back(command.follow()),
        }
        if let Command::Capa = command {
            self.capabilities.clear();
        }
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
            if self.state == State::Message {
                match self.unstuffer.next(self.input.bytes()) {
                    Piece::NeedInput => return Ok(Step::NeedInput),
                    Piece::Dot => self.input.consume(1),
                    Piece::End => {
                        self.input.consume(3);
                        return Ok(Step::Event(self.done()));
                    }
                    Piece::Data(n) => {
                        self.lent = n;
                        return Ok(Step::Data(self.input.bytes().get(..n).unwrap_or_default()));
                    }
                }
                continue;
            }
            let line = match self.input.line(MAX_LINE, true) {
                Line::Partial => return Ok(Step::NeedInput),
                Line::TooLong => return Err(Error::TooLong),
                Line::Complete { length, end } => {
                    let line = self.input.bytes().get(..length).unwrap_or_default();
                    let line = line.to_vec();
                    self.input.consume(end);
                    line
                }
            };
            let event = match self.state {
                State::Answer(follow) => self.answered(&line, follow)?,
                State::Lines(follow) => self.listed(&line, follow)?,
                State::Quiet | State::Message => return Err(Error::Unasked),
            };
            if let Some(event) = event {
                return Ok(Step::Event(event));
            }
        }
    }

    /// The first line of an answer.
    fn answered(&mut self, line: &[u8], follow: Follow) -> Result<Option<Event>, Error> {
        if follow == Follow::Dialogue
            && let Some(challenge) = line.strip_prefix(b"+")
            && (challenge.is_empty() || challenge.starts_with(b" "))
        {
            let challenge = challenge.trim_ascii_start().to_vec();
            return Ok(Some(Event::Continue(challenge)));
        }
        let outcome = outcome(line).ok_or_else(|| Error::Malformed(printable(line)))?;
        let ok = outcome.ok;
        self.outcome = Some(outcome);
        self.state = match follow {
            Follow::Message if ok => {
                self.unstuffer = Unstuffer::default();
                State::Message
            }
            Follow::Capabilities | Follow::Rows if ok => State::Lines(follow),
            _ => return Ok(Some(self.done())),
        };
        Ok(None)
    }

    /// A further line of an answer.
    fn listed(&mut self, line: &[u8], follow: Follow) -> Result<Option<Event>, Error> {
        if line == b"." {
            return Ok(Some(self.done()));
        }
        self.lines += 1;
        if self.lines > MAX_LINES {
            return Err(Error::TooMany);
        }
        // A line that begins with a dot has another before it (RFC 1939, 3).
        let line = line.strip_prefix(b".").unwrap_or(line);
        if follow == Follow::Capabilities {
            if self.capabilities.len() < MAX_CAPABILITIES {
                let words = String::from_utf8_lossy(line).to_ascii_uppercase();
                self.capabilities.push(words);
            }
            return Ok(None);
        }
        let row = row(line).ok_or_else(|| Error::Malformed(printable(line)))?;
        Ok(Some(Event::Row(row.0, row.1)))
    }

    fn done(&mut self) -> Event {
        let next = self.waiting.pop_front();
        self.state = next.map_or(State::Quiet, State::Answer);
        self.lines = 0;
        Event::Done(self.outcome.take().unwrap_or(Outcome {
            ok: true,
            code: String::new(),
            text: String::new(),
        }))
    }
}

impl Command<'_> {
    fn follow(&self) -> Follow {
        match self {
            Command::Auth { .. } => Follow::Dialogue,
            Command::Capa => Follow::Capabilities,
            Command::Uidl | Command::List => Follow::Rows,
            Command::Retr(_) => Follow::Message,
            _ => Follow::Nothing,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut put = |words: &[&str]| out.extend_from_slice(words.join(" ").as_bytes());
        match self {
            Command::Capa => put(&["CAPA"]),
            Command::Stls => put(&["STLS"]),
            Command::User(name) => put(&["USER", name]),
            Command::Pass(password) => {
                put(&["PASS "]);
                out.extend_from_slice(password.reveal().as_bytes());
            }
            Command::Auth { mechanism, initial } => {
                put(&["AUTH", mechanism]);
                if let Some(initial) = initial {
                    out.push(b' ');
                    out.extend_from_slice(initial.reveal().as_bytes());
                }
            }
            Command::Xclient { address, hops } => {
                let address = address.map(|it| format!("ADDR={} ", it.to_canonical()));
                let address = address.unwrap_or_default();
                put(&[&format!("XCLIENT {address}TTL={hops}")]);
            }
            Command::Uidl => put(&["UIDL"]),
            Command::List => put(&["LIST"]),
            Command::Retr(number) => put(&["RETR", &number.to_string()]),
            Command::Dele(number) => put(&["DELE", &number.to_string()]),
            Command::Quit => put(&["QUIT"]),
        }
    }
}

/// `+OK text` or `-ERR [CODE] text`.
fn outcome(line: &[u8]) -> Option<Outcome> {
    let (ok, rest) = match line {
        [b'+', b'O' | b'o', b'K' | b'k', rest @ ..] => (true, rest),
        [b'-', b'E' | b'e', b'R' | b'r', b'R' | b'r', rest @ ..] => (false, rest),
        _ => return None,
    };
    if !rest.is_empty() && !rest.starts_with(b" ") {
        return None;
    }
    let text = printable(rest.trim_ascii());
    let code = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or(String::new(), |(code, _)| code.to_ascii_uppercase());
    Some(Outcome { ok, code, text })
}

/// `number SP rest`, without what a server may add behind it.
fn row(line: &[u8]) -> Option<(u32, String)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    Some((number, words.next()?.to_owned()))
}

/// Text for a person, without what could play tricks in a terminal or a log.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(MAX_TEXT)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
#[path = "client/tests.rs"]
mod tests;
