//! Cuts a client's bytes into commands (RFC 3501, 2.2.1 and 4.3; LITERAL+ of RFC 7888;
//! literal8 of RFC 3516). Pure.
//!
//! A line that ends in `{n}` goes on after n bytes. Those are collected into the command,
//! up to a limit; only the message of an APPEND is not: its head is told when the literal
//! is announced, and its bytes are handed through as they come; of a CATENATE (RFC 4469)
//! likewise each URL and each TEXT.
//!
//! A command that is refused leaves the connection in step: what the client sends anyway
//! (non-synchronizing literals) is read and dropped, what it waits to be asked for is not.
//! A line may end in a bare LF, as Dovecot takes it too: no proxy in front of an IMAP
//! server splits commands by other rules.

mod limits;
mod literal;
#[cfg(test)]
mod tests;

use super::command::{Append, ParseError, Rejected, Request};
use super::parse::{self, Announced};
use crate::secret::Secret;
use crate::wire::{Input, Line};
pub use limits::MAX_COMMAND;
use limits::{Limits, MAX_LITERALS, MAX_PARTS, STRANGER, USER};
use literal::{announced, may_begin};
use memchr::memchr;
use std::borrow::Cow;
use std::collections::VecDeque;

/// What the client wants, or what the framer needs.
#[derive(Debug)]
pub enum Event {
    /// Nothing whole yet: receive more.
    NeedInput,
    /// The client waits: send a continuation (`+ OK`), then go on.
    Continue,
    Request(Request),
    /// An APPEND whose message is next: call [`Framer::accept`] or [`Framer::refuse`].
    Append(Append),
    /// What this URL names is the next part of a CATENATE; or call [`Framer::refuse`].
    Url(String),
    /// The next part of a CATENATE comes: call [`Framer::accept`] or [`Framer::refuse`].
    Text {
        size: u64,
        binary: bool,
    },
    /// The first n bytes of the input belong to the message; use them, then call
    /// [`Framer::taken`].
    Message(usize),
    /// The APPEND is complete: commit it and answer.
    AppendEnd,
    /// Answer as `response::rejected` does, and go on. Also ends an APPEND that was begun
    /// with accept: it has to be dropped.
    Rejected(Rejected),
    /// The client can't be kept in step: answer, say BYE and close.
    Fatal(Rejected),
}

/// What [`Framer::line`] found.
#[derive(Debug)]
pub enum LineEvent {
    NeedInput,
    /// May be a SASL response.
    Line(Secret<Vec<u8>>),
    /// Say BYE and close.
    TooLong,
}

#[derive(Debug)]
enum State {
    /// At the start of a line; of a new command if nothing is collected.
    Line,
    /// Collecting a literal.
    Literal { left: u64 },
    /// An APPEND's head is told, the driver has not decided.
    Announced { size: u64, non_synchronizing: bool },
    /// The head of a CATENATE is told, the driver has not decided.
    Catenate,
    /// Its URLs are told, then what follows them.
    Urls,
    /// The message's bytes.
    Message { left: u64 },
    /// The rest of the line behind a message.
    AfterMessage,
    /// Dropping a literal, and the rest of that command.
    Discard { left: u64 },
    /// Out of step.
    Failed,
}

pub struct Framer {
    state: State,
    limits: Limits,
    /// The command so far, its literals in place; empty while a command is one line.
    collected: Vec<u8>,
    literals: usize,
    /// Tag of the APPEND in progress.
    append: Option<String>,
    /// Whether it is a CATENATE; its URLs not yet told, and how many parts there were.
    catenates: bool,
    urls: VecDeque<String>,
    parts: usize,
    /// The TEXT behind those URLs; none at the end.
    text: Option<Announced>,
    /// A synchronizing message literal was accepted, and not yet asked for.
    ask: bool,
    /// Bytes of this command dropped so far.
    discarded: u64,
    /// See [`Framer::take_non_synchronizing`].
    synchronizing: bool,
}

impl Default for Framer {
    fn default() -> Framer {
        Framer::new()
    }
}

impl Framer {
    /// With the limits for a client that has not logged in.
    pub fn new() -> Framer {
        Framer {
            state: State::Line,
            limits: STRANGER,
            collected: Vec::new(),
            literals: 0,
            append: None,
            catenates: false,
            urls: VecDeque::new(),
            parts: 0,
            text: None,
            ask: false,
            discarded: 0,
            synchronizing: false,
        }
    }

    /// Whether `{n+}` is known; it is at first.
    pub fn take_non_synchronizing(&mut self, known: bool) {
        self.synchronizing = !known;
    }

    /// The client has logged in: the wider limits hold, with `command` bytes for a command.
    pub fn logged_in(&mut self, command: usize) {
        self.limits = Limits { command, ..USER };
    }

    /// The next event; takes from `input` what it used.
    pub fn next(&mut self, input: &mut Input) -> Event {
        loop {
            let event = match self.state {
                State::Line => self.line_of_command(input),
                State::Literal { left } => self.collect(input, left),
                State::Announced { .. } | State::Catenate => return Event::NeedInput,
                State::Urls => Some(self.next_part()),
                State::Message { left } => self.message(input, left),
                State::AfterMessage => self.after_message(input),
                State::Discard { left } => self.discard(input, left),
                State::Failed => return Event::NeedInput,
            };
            if let Some(event) = event {
                if let Event::Fatal(_) = event {
                    self.state = State::Failed;
                    self.collected = Vec::new();
                }
                return event;
            }
        }
    }

    /// Lets the message of the [`Event::Append`], or the [`Event::Text`], come.
    pub fn accept(&mut self) {
        if let State::Catenate = self.state {
            self.state = State::Urls;
        }
        if let State::Announced {
            size,
            non_synchronizing,
        } = self.state
        {
            self.ask = !non_synchronizing;
            self.state = State::Message { left: size };
        }
    }

    /// Ends the APPEND of the [`Event::Append`], or of one accepted before all its bytes
    /// are there (the store failed): what still comes of it is dropped. Answer it now.
    pub fn refuse(&mut self) {
        match self.state {
            State::Announced {
                size,
                non_synchronizing,
            } => self.drop_literal(size, non_synchronizing),
            State::Message { left } => self.drop_literal(left, !self.ask),
            State::AfterMessage => self.drop_literal(0, true),
            State::Catenate | State::Urls => match self.text {
                Some(text) => self.drop_literal(text.size, text.non_synchronizing),
                None => self.begin_command(),
            },
            _ => {}
        }
    }

    /// The `n` bytes of [`Event::Message`] are used.
    pub fn taken(&mut self, input: &mut Input, n: usize) {
        if let State::Message { left } = self.state {
            let n = n.min(input.bytes().len());
            input.consume(n);
            self.state = State::Message {
                left: left.saturating_sub(n as u64),
            };
        }
    }

    /// A line that is no command: DONE, or the answer to a SASL challenge. Without its end.
    pub fn line(&mut self, input: &mut Input) -> LineEvent {
        match input.line(self.limits.line, true) {
            Line::Partial => LineEvent::NeedInput,
            Line::TooLong => LineEvent::TooLong,
            Line::Complete { length, end } => {
                let line = input.bytes().get(..length).unwrap_or_default().to_vec();
                input.consume(end);
                LineEvent::Line(Secret::new(line))
            }
        }
    }

    fn line_of_command(&mut self, input: &mut Input) -> Option<Event> {
        let (length, end) = match self.find_line(input) {
            Ok(found) => found,
            Err(event) => return Some(event),
        };
        let line = input.bytes().get(..length).unwrap_or_default();
        let event = match announced(line) {
            None => self.complete(line),
            Some((before, literal)) => self.announce(line, before, literal),
        };
        input.consume(end);
        event
    }

    /// Length of the next line, and where the one behind it starts.
    fn find_line(&self, input: &mut Input) -> Result<(usize, usize), Event> {
        match input.line(self.limits.line, true) {
            Line::Complete { length, end } => Ok((length, end)),
            Line::Partial => Err(Event::NeedInput),
            Line::TooLong => {
                let head = input.bytes().get(..parse::MAX_TAG * 2);
                let head = head.unwrap_or(input.bytes());
                Err(Event::Fatal(Rejected {
                    tag: self.tag(head),
                    error: ParseError::Syntax("the command line is too long"),
                }))
            }
        }
    }

    /// The tag of the command that `line` begins or goes on with.
    fn tag(&self, line: &[u8]) -> Option<String> {
        let start = match &self.append {
            Some(tag) => return Some(tag.clone()),
            None if self.collected.is_empty() => line,
            None => &self.collected,
        };
        parse::tag_of(start)
    }

    fn complete(&mut self, line: &[u8]) -> Option<Event> {
        let whole = match self.collected.is_empty() {
            true => Cow::Borrowed(line),
            false => Cow::Owned([&self.collected, line].concat()),
        };
        if memchr(0, line).is_none()
            && let Some(read) = self.append_part(&whole, None)
        {
            return match read {
                Ok(told) => told.map(Event::Append),
                Err(error) => {
                    let tag = self.tag(line);
                    self.begin_command();
                    Some(Event::Rejected(Rejected { tag, error }))
                }
            };
        }
        let parsed = if memchr(0, line).is_some() {
            Err(Rejected {
                tag: self.tag(line),
                error: ParseError::Syntax("a command holds a NUL"),
            })
        } else {
            parse::command(&whole)
        };
        self.begin_command();
        Some(match parsed {
            Ok(request) => Event::Request(request),
            Err(rejected) => Event::Rejected(rejected),
        })
    }

    fn begin_command(&mut self) {
        *self = Framer {
            limits: self.limits,
            synchronizing: self.synchronizing,
            ..Framer::new()
        };
    }

    /// A literal is announced at the end of `line`, behind `before`.
    fn announce(&mut self, line: &[u8], before: usize, literal: Announced) -> Option<Event> {
        let head = line.get(..before).unwrap_or_default();
        let refusal = if memchr(0, line).is_some() {
            Some(ParseError::Syntax("a command holds a NUL"))
        } else if !may_begin(head) {
            Some(ParseError::Syntax("a literal is out of place"))
        } else if self.synchronizing && literal.non_synchronizing {
            Some(ParseError::Syntax("a literal has to wait to be asked for"))
        } else {
            let whole = [&self.collected, head].concat();
            match self.append_part(&whole, Some(literal)) {
                Some(Ok(told)) => return told.map(Event::Append),
                Some(Err(error)) => Some(error),
                None => self.check_literal(line, literal),
            }
        };
        if let Some(error) = refusal {
            return Some(self.reject(line, literal, error));
        }
        self.literals += 1;
        self.collected.extend_from_slice(line);
        self.collected.extend_from_slice(b"\r\n");
        self.state = State::Literal { left: literal.size };
        (!literal.non_synchronizing).then_some(Event::Continue)
    }

    /// Takes up the head of an APPEND, which is to be told, or what follows a TEXT of one;
    /// `None` if the bytes are neither, or not yet.
    fn append_part(
        &mut self,
        bytes: &[u8],
        literal: Option<Announced>,
    ) -> Option<Result<Option<Append>, ParseError>> {
        let (append, urls) = match &self.append {
            Some(_) => match parse::catenated(bytes, literal.is_some()) {
                Ok(urls) => (None, urls?),
                Err(error) => return Some(Err(error)),
            },
            None => match parse::append(bytes, literal)? {
                Ok((append, urls)) => (Some(append), urls),
                Err(rejected) => return Some(Err(rejected.error)),
            },
        };
        self.parts += urls.len() + usize::from(literal.is_some());
        if self.parts > MAX_PARTS {
            return Some(Err(ParseError::Syntax("a CATENATE has too many parts")));
        }
        self.state = match (&append, literal) {
            (Some(append), Some(literal)) if !append.catenate => State::Announced {
                size: literal.size,
                non_synchronizing: literal.non_synchronizing,
            },
            (Some(_), _) => State::Catenate,
            (None, _) => State::Urls,
        };
        if let Some(append) = &append {
            self.append = Some(append.tag.clone());
            self.catenates = append.catenate;
        }
        self.collected = Vec::new();
        self.literals = 0;
        self.urls = urls.into();
        self.text = literal;
        Some(Ok(append))
    }

    /// The next URL of a CATENATE, the TEXT behind them, or the end.
    fn next_part(&mut self) -> Event {
        if let Some(url) = self.urls.pop_front() {
            return Event::Url(url);
        }
        match self.text {
            Some(Announced {
                size,
                non_synchronizing,
                binary,
            }) => {
                self.state = State::Announced {
                    size,
                    non_synchronizing,
                };
                Event::Text { size, binary }
            }
            None => {
                self.begin_command();
                Event::AppendEnd
            }
        }
    }

    fn check_literal(&self, line: &[u8], literal: Announced) -> Option<ParseError> {
        if literal.binary {
            return Some(ParseError::Syntax("a binary literal is out of place"));
        }
        let so_far = (self.collected.len() + line.len()) as u64;
        let all = so_far.saturating_add(literal.size);
        if literal.size > self.limits.literal || all > self.limits.command as u64 {
            return Some(ParseError::TooBig);
        }
        (self.literals == MAX_LITERALS).then_some(ParseError::Syntax("too many literals"))
    }

    /// Refuses the command that `line` belongs to, and what its literal will bring.
    fn reject(&mut self, line: &[u8], literal: Announced, error: ParseError) -> Event {
        let rejected = Rejected {
            tag: self.tag(line),
            error,
        };
        let budget = self.limits.discard.saturating_sub(self.discarded);
        if literal.non_synchronizing && literal.size > budget {
            return Event::Fatal(rejected);
        }
        self.drop_literal(literal.size, literal.non_synchronizing);
        Event::Rejected(rejected)
    }

    fn drop_literal(&mut self, size: u64, sent_anyway: bool) {
        let discarded = self.discarded;
        self.begin_command();
        if sent_anyway {
            self.discarded = discarded;
            self.state = State::Discard { left: size };
        }
    }

    fn collect(&mut self, input: &mut Input, left: u64) -> Option<Event> {
        if left == 0 {
            self.state = State::Line;
            return None;
        }
        let n = available(input, left);
        if n == 0 {
            return Some(Event::NeedInput);
        }
        self.collected
            .extend_from_slice(input.bytes().get(..n).unwrap_or_default());
        input.consume(n);
        self.state = State::Literal {
            left: left - n as u64,
        };
        None
    }

    fn message(&mut self, input: &Input, left: u64) -> Option<Event> {
        if std::mem::take(&mut self.ask) {
            return Some(Event::Continue);
        }
        if left == 0 {
            self.state = State::AfterMessage;
            return None;
        }
        match available(input, left) {
            0 => Some(Event::NeedInput),
            n => Some(Event::Message(n)),
        }
    }

    /// Behind the message only the line's end may come, behind a TEXT the next part;
    /// MULTIAPPEND (RFC 3502) would read the next message's head here.
    fn after_message(&mut self, input: &mut Input) -> Option<Event> {
        if self.catenates {
            self.state = State::Line;
            return None;
        }
        let (length, end) = match self.find_line(input) {
            Ok(found) => found,
            Err(event) => return Some(event),
        };
        let line = input.bytes().get(..length).unwrap_or_default();
        let event = if line.iter().all(|&b| b == b' ') {
            self.begin_command();
            Event::AppendEnd
        } else {
            let error = ParseError::Syntax("something follows the message");
            let nothing = Announced {
                size: 0,
                non_synchronizing: false,
                binary: false,
            };
            let literal = announced(line).map_or(nothing, |(_, literal)| literal);
            self.reject(line, literal, error)
        };
        input.consume(end);
        Some(event)
    }

    /// Drops a literal, then the rest of the line; and so on if that line announces one more
    /// that is sent without asking.
    fn discard(&mut self, input: &mut Input, left: u64) -> Option<Event> {
        if left > 0 {
            let n = available(input, left);
            if n == 0 {
                return Some(Event::NeedInput);
            }
            input.consume(n);
            self.discarded += n as u64;
            self.state = State::Discard {
                left: left - n as u64,
            };
            return (self.discarded > self.limits.discard).then(too_much);
        }
        let (length, end) = match input.line(self.limits.line, true) {
            Line::Complete { length, end } => (length, end),
            Line::Partial => return Some(Event::NeedInput),
            Line::TooLong => return Some(too_much()),
        };
        let literal = announced(input.bytes().get(..length).unwrap_or_default());
        input.consume(end);
        self.discarded += end as u64;
        match literal {
            Some((_, literal)) if literal.non_synchronizing => {
                self.state = State::Discard { left: literal.size };
            }
            _ => self.begin_command(),
        }
        None
    }
}

/// While dropping: the command itself was answered already.
fn too_much() -> Event {
    Event::Fatal(Rejected {
        tag: None,
        error: ParseError::TooBig,
    })
}

fn available(input: &Input, left: u64) -> usize {
    let here = input.bytes().len();
    usize::try_from(left).map_or(here, |left| left.min(here))
}
