//! The state machine of POP3: bytes in, replies and steps out. It holds no socket, clock
//! or store; what only those can give is an [`Ask`], and [`Session::answer`] takes the
//! [`Answer`].

use super::command::{self, Command};
use super::maildrop::{Entry, Maildrop, Update};
use super::stuff::Stuffer;
use crate::mail::{Account, AccountId, Uid};
use crate::sasl::dialogue::{self, Dialogue, Nonces};
use crate::sasl::{self, Denial, Mechanism, Turn};
use crate::secret::Secret;
use crate::wire::{Input, Line};

/// Longest command line, bytes without its end (RFC 2449, 4). AUTH and PASS may carry more.
const MAX_LINE: usize = 255;
/// A longer line is read away, that far.
const MAX_SKIPPED: usize = 1 << 20;
/// Errors in a row before the connection is closed.
const MAX_ERRORS: u32 = 20;
/// Logins that may fail before the connection is closed.
const MAX_LOGIN_FAILURES: u32 = 5;
/// A listing is flushed in pieces of this, bytes.
const MAX_OUTPUT: usize = 16 * 1024;

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether TLS is there from the start.
    pub tls: bool,
    /// Whether a password may come without TLS.
    pub plain_login: bool,
    /// Fresh randomness, for SCRAM.
    pub seed: [u8; 32],
}

/// What the driver does next, then it calls [`Session::step`] again.
#[derive(Debug)]
pub enum Step {
    /// Flush the output, then give input.
    NeedInput,
    /// Flush the output: more follows.
    Flush,
    /// Find out, then [`Session::answer`].
    Ask(Ask),
    /// Flush, do the handshake, then [`Session::tls_started`].
    StartTls,
    /// Flush and close.
    Close,
}

#[derive(Debug)]
pub enum Ask {
    Authenticate(sasl::Ask),
    /// Hold the maildrop and read it.
    Open(AccountId),
    /// Find the message and read its first piece.
    Retrieve(Uid),
    /// Read the next piece of that message.
    More,
    /// Do what QUIT does.
    Update(Update),
}

pub enum Answer<'a> {
    Verdict(sasl::Verdict),
    Opened(Result<Maildrop, Unopened>),
    /// A piece of the message, empty at its end; `None` if it can't be read.
    Piece(Option<&'a [u8]>),
    Updated(Result<(), ()>),
}

/// Why there is no maildrop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    InUse,
    Trouble,
}

pub struct Session {
    config: Config,
    input: Input,
    phase: Phase,
    nonces: Nonces,
    /// What USER named.
    user: Option<String>,
    login_failures: u32,
    errors: u32,
    account: Option<Account>,
    maildrop: Option<Maildrop>,
}

enum Phase {
    Greeting,
    Commands,
    /// Bytes dropped of a line that is too long.
    SkipLine(usize),
    /// A line of a SASL exchange is due.
    Login(Dialogue),
    /// What the exchange has come to.
    Turn(Option<Dialogue>, Turn),
    Listing(Listing, u32),
    /// A message has begun; its next piece is due.
    Sending(Sending),
    Asked(Asked),
    Closed,
}

/// What is being found out.
enum Asked {
    /// By AUTH, or by PASS.
    Login(Option<Dialogue>),
    Open(Account),
    Piece(Sending),
    Update,
}

struct Sending {
    entry: Entry,
    /// TOP: how many lines of the body.
    lines: Option<u32>,
    /// Once the first piece has come.
    stuffer: Option<Stuffer>,
}

#[derive(Clone, Copy)]
enum Listing {
    Sizes,
    UniqueIds,
}

/// A step, or none yet.
enum Next {
    Again,
    Step(Step),
}

impl Session {
    pub fn new(config: Config) -> Session {
        Session {
            nonces: Nonces::new(config.seed),
            config,
            input: Input::new(),
            phase: Phase::Greeting,
            user: None,
            login_failures: 0,
            errors: 0,
            account: None,
            maildrop: None,
        }
    }

    /// Where received bytes go.
    pub fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Goes as far as it can without the world; replies are appended to `out`.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Step {
        loop {
            if let Next::Step(step) = self.advance(out) {
                return step;
            }
        }
    }

    /// The handshake is done: everything said before is forgotten (RFC 2595, 4).
    pub fn tls_started(&mut self) {
        self.input.clear();
        self.config.tls = true;
        self.user = None;
    }

    /// May have a further question: the driver goes on with what [`Session::step`] says.
    pub fn answer(&mut self, answer: Answer<'_>, out: &mut Vec<u8>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Commands);
        match (phase, answer) {
            (Phase::Asked(Asked::Login(Some(mut dialogue))), Answer::Verdict(verdict)) => {
                let turn = dialogue.verdict(verdict);
                self.phase = Phase::Turn(Some(dialogue), turn);
            }
            (Phase::Asked(Asked::Login(None)), Answer::Verdict(verdict)) => {
                let turn = match verdict {
                    sasl::Verdict::Granted(account) => Turn::Granted {
                        account,
                        last: None,
                    },
                    sasl::Verdict::Denied(denial) => Turn::Denied(denial),
                    sasl::Verdict::Keys(_) => Turn::Denied(Denial::Credentials),
                };
                self.phase = Phase::Turn(None, turn);
            }
            (Phase::Asked(Asked::Open(account)), Answer::Opened(opened)) => {
                self.opened(account, opened, out);
            }
            (Phase::Asked(Asked::Piece(sending)), Answer::Piece(piece)) => {
                self.piece(sending, piece, out);
            }
            (Phase::Asked(Asked::Update), Answer::Updated(updated)) => {
                match updated {
                    Ok(()) => self.ok("Goodbye", out),
                    Err(()) => self.err("[SYS/TEMP] Messages were not deleted", out),
                };
                self.phase = Phase::Closed;
            }
            (phase, _) => self.phase = phase,
        }
    }

    fn advance(&mut self, out: &mut Vec<u8>) -> Next {
        match std::mem::replace(&mut self.phase, Phase::Commands) {
            Phase::Greeting => self.ok("POP3 server ready", out),
            Phase::Commands => self.command_line(out),
            Phase::SkipLine(skipped) => self.skip_line(skipped, out),
            Phase::Login(dialogue) => self.login_line(dialogue, out),
            Phase::Turn(dialogue, turn) => self.login_turn(dialogue, turn, out),
            Phase::Listing(listing, from) => self.list_from(listing, from, out),
            Phase::Sending(sending) => self.ask(Asked::Piece(sending), Ask::More),
            // A driver that steps on without an answer gets no further.
            Phase::Asked(_) | Phase::Closed => {
                self.phase = Phase::Closed;
                Next::Step(Step::Close)
            }
        }
    }

    fn ask(&mut self, asked: Asked, ask: Ask) -> Next {
        self.phase = Phase::Asked(asked);
        Next::Step(Step::Ask(ask))
    }

    fn ok(&mut self, text: &str, out: &mut Vec<u8>) -> Next {
        self.errors = 0;
        out.extend_from_slice(format!("+OK {text}\r\n").as_bytes());
        Next::Again
    }

    fn err(&mut self, text: &str, out: &mut Vec<u8>) -> Next {
        out.extend_from_slice(format!("-ERR {text}\r\n").as_bytes());
        self.errors += 1;
        match self.errors > MAX_ERRORS {
            true => self.close("Too many errors", out),
            false => Next::Again,
        }
    }

    fn close(&mut self, text: &str, out: &mut Vec<u8>) -> Next {
        out.extend_from_slice(format!("-ERR {text}\r\n").as_bytes());
        self.phase = Phase::Closed;
        Next::Step(Step::Close)
    }

    fn command_line(&mut self, out: &mut Vec<u8>) -> Next {
        let (length, end) = match self.input.line(MAX_LINE + dialogue::MAX_LINE, true) {
            Line::Partial => return Next::Step(Step::NeedInput),
            Line::TooLong => return self.line_too_long(out),
            Line::Complete { length, end } => (length, end),
        };
        let line = self.input.bytes().get(..length).unwrap_or_default();
        let verb = line.get(..5).unwrap_or_default();
        let may_be_long = [b"AUTH ", b"PASS "]
            .iter()
            .any(|it| verb.eq_ignore_ascii_case(*it));
        if length > MAX_LINE && !may_be_long {
            return self.line_too_long(out);
        }
        let parsed = command::parse(line);
        self.input.consume(end);
        match parsed {
            Ok(command) => self.command(command, out),
            Err(text) => self.err(text, out),
        }
    }

    fn line_too_long(&mut self, out: &mut Vec<u8>) -> Next {
        self.phase = Phase::SkipLine(0);
        self.err("The line is too long", out)
    }

    fn skip_line(&mut self, skipped: usize, out: &mut Vec<u8>) -> Next {
        let (dropped, ended) = self.input.skip_line();
        if ended {
            return Next::Again;
        }
        if skipped + dropped > MAX_SKIPPED {
            return self.close("The line does not end", out);
        }
        self.phase = Phase::SkipLine(skipped + dropped);
        Next::Step(Step::NeedInput)
    }

    fn command(&mut self, command: Command, out: &mut Vec<u8>) -> Next {
        match command {
            Command::Capa => self.capabilities(out),
            Command::Quit => match &self.maildrop {
                Some(maildrop) => {
                    let update = maildrop.update();
                    self.ask(Asked::Update, Ask::Update(update))
                }
                None => {
                    self.ok("Goodbye", out);
                    self.phase = Phase::Closed;
                    Next::Step(Step::Close)
                }
            },
            command if self.maildrop.is_some() => self.transaction(command, out),
            Command::Stls if self.config.tls => self.err("TLS is on already", out),
            Command::Stls => {
                // What came behind it came in clear (CVE-2011-0411).
                self.input.clear();
                self.ok("Begin TLS now", out);
                Next::Step(Step::StartTls)
            }
            Command::Auth {
                mechanism: None, ..
            } => self.mechanisms(out),
            Command::Auth { .. } | Command::User(_) | Command::Pass(_) if !self.may_log_in() => {
                self.err("Begin TLS first: STLS", out)
            }
            Command::Auth {
                mechanism: Some(mechanism),
                initial,
            } => self.auth(&mechanism, initial.as_deref(), out),
            Command::User(user) => {
                self.user = Some(user);
                self.ok("Send PASS", out)
            }
            Command::Pass(password) => self.pass(password, out),
            _ => self.err("Log in first", out),
        }
    }

    /// RFC 2449, 5: only what holds now.
    fn capabilities(&mut self, out: &mut Vec<u8>) -> Next {
        self.ok("Capabilities follow", out);
        let mut lines = vec!["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"];
        let names = Mechanism::ALL.map(Mechanism::name).join(" ");
        let sasl = format!("SASL {names}");
        let before_login = self.maildrop.is_none();
        if before_login && self.may_log_in() {
            lines.extend(["USER", sasl.as_str()]);
        }
        if before_login && !self.config.tls {
            lines.push("STLS");
        }
        lines.extend(["EXPIRE NEVER", "IMPLEMENTATION pillarbox", "."]);
        for line in lines {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Next::Again
    }

    /// AUTH alone lists the mechanisms, as clients of old ask.
    fn mechanisms(&mut self, out: &mut Vec<u8>) -> Next {
        self.ok("Mechanisms follow", out);
        if self.may_log_in() {
            for mechanism in Mechanism::ALL {
                out.extend_from_slice(mechanism.name().as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b".\r\n");
        Next::Again
    }

    fn may_log_in(&self) -> bool {
        self.config.tls || self.config.plain_login
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&str>, out: &mut Vec<u8>) -> Next {
        let Some(mechanism) = Mechanism::parse(mechanism) else {
            return self.err("Mechanisms are PLAIN, LOGIN and SCRAM-SHA-256", out);
        };
        let mut dialogue = Dialogue::new(mechanism, self.nonces.fresh());
        let turn = dialogue.start(initial);
        self.login_turn(Some(dialogue), turn, out)
    }

    fn pass(&mut self, password: Secret<String>, out: &mut Vec<u8>) -> Next {
        let Some(user) = self.user.take() else {
            return self.err("Send USER first", out);
        };
        let login = sasl::prepare(&user).into_owned();
        let ask = sasl::Ask::Password { login, password };
        self.ask(Asked::Login(None), Ask::Authenticate(ask))
    }

    fn login_line(&mut self, mut dialogue: Dialogue, out: &mut Vec<u8>) -> Next {
        match self.input.line(dialogue::MAX_LINE, true) {
            Line::Partial => {
                self.phase = Phase::Login(dialogue);
                Next::Step(Step::NeedInput)
            }
            Line::TooLong => self.line_too_long(out),
            Line::Complete { length, end } => {
                let turn = dialogue.line(self.input.bytes().get(..length).unwrap_or_default());
                self.input.consume(end);
                self.login_turn(Some(dialogue), turn, out)
            }
        }
    }

    fn login_turn(&mut self, dialogue: Option<Dialogue>, turn: Turn, out: &mut Vec<u8>) -> Next {
        match (turn, dialogue) {
            (Turn::Challenge(challenge), Some(dialogue)) => {
                out.extend_from_slice(b"+ ");
                out.extend_from_slice(dialogue::encode(&challenge).as_bytes());
                out.extend_from_slice(b"\r\n");
                self.phase = Phase::Login(dialogue);
                Next::Again
            }
            (Turn::Ask(ask), dialogue) => self.ask(Asked::Login(dialogue), Ask::Authenticate(ask)),
            (Turn::Granted { account, .. }, _) => {
                let id = account.id;
                self.ask(Asked::Open(account), Ask::Open(id))
            }
            (Turn::Denied(denial), _) => self.denied(denial, out),
            (Turn::Challenge(_), None) => self.denied(Denial::Malformed, out),
        }
    }

    /// With the codes of RFC 3206.
    fn denied(&mut self, denial: Denial, out: &mut Vec<u8>) -> Next {
        let text = match denial {
            Denial::Credentials => "[AUTH] Wrong name or password",
            Denial::Wait => "[SYS/TEMP] Too many failed logins, try later",
            Denial::Unavailable => "[SYS/TEMP] Logins can't be checked now, try later",
            Denial::Malformed => "That is not how the mechanism goes",
            Denial::Cancelled => "Login given up",
        };
        self.login_failures += 1;
        let next = self.err(text, out);
        match (next, self.login_failures >= MAX_LOGIN_FAILURES) {
            (Next::Again, true) => self.close("Too many failed logins", out),
            (next, _) => next,
        }
    }

    fn opened(&mut self, account: Account, opened: Result<Maildrop, Unopened>, out: &mut Vec<u8>) {
        match opened {
            Ok(maildrop) => {
                self.account = Some(account);
                let (n, bytes) = maildrop.totals();
                self.maildrop = Some(maildrop);
                self.ok(&format!("{n} messages ({bytes} octets)"), out);
            }
            Err(Unopened::InUse) => {
                self.err("[IN-USE] Another session has this maildrop open", out);
            }
            Err(Unopened::Trouble) => {
                self.err("[SYS/TEMP] The maildrop can't be read now, try later", out);
            }
        }
    }

    fn transaction(&mut self, command: Command, out: &mut Vec<u8>) -> Next {
        let Some(maildrop) = &mut self.maildrop else {
            return self.err("Log in first", out);
        };
        let one = |number: u32| maildrop.get(number).ok_or("There is no such message");
        match command {
            Command::Noop => self.ok("", out),
            Command::Rset => {
                maildrop.reset();
                self.ok("Nothing is marked deleted", out)
            }
            Command::Stat => {
                let (n, bytes) = maildrop.totals();
                self.ok(&format!("{n} {bytes}"), out)
            }
            Command::List(None) => {
                let (n, bytes) = maildrop.totals();
                self.phase = Phase::Listing(Listing::Sizes, 1);
                self.ok(&format!("{n} messages ({bytes} octets)"), out)
            }
            Command::Uidl(None) => {
                self.phase = Phase::Listing(Listing::UniqueIds, 1);
                self.ok("Unique-ids follow", out)
            }
            Command::List(Some(number)) => match one(number) {
                Ok(entry) => self.ok(&format!("{number} {}", entry.size), out),
                Err(text) => self.err(text, out),
            },
            Command::Uidl(Some(number)) => match one(number) {
                Ok(entry) => {
                    let unique_id = maildrop.unique_id(entry);
                    self.ok(&format!("{number} {unique_id}"), out)
                }
                Err(text) => self.err(text, out),
            },
            Command::Dele(number) => match one(number) {
                Ok(entry) => {
                    maildrop.delete(entry);
                    self.ok("Marked deleted", out)
                }
                Err(text) => self.err(text, out),
            },
            Command::Retr(number) => match one(number) {
                Ok(entry) => self.retrieve(entry, None),
                Err(text) => self.err(text, out),
            },
            Command::Top { number, lines } => match one(number) {
                Ok(entry) => self.retrieve(entry, Some(lines)),
                Err(text) => self.err(text, out),
            },
            _ => self.err("Not after the login", out),
        }
    }

    fn list_from(&mut self, listing: Listing, from: u32, out: &mut Vec<u8>) -> Next {
        let Some(maildrop) = &self.maildrop else {
            return Next::Again;
        };
        for entry in maildrop.from(from) {
            if out.len() >= MAX_OUTPUT {
                self.phase = Phase::Listing(listing, entry.number);
                return Next::Step(Step::Flush);
            }
            let line = match listing {
                Listing::Sizes => format!("{} {}\r\n", entry.number, entry.size),
                Listing::UniqueIds => {
                    format!("{} {}\r\n", entry.number, maildrop.unique_id(entry))
                }
            };
            out.extend_from_slice(line.as_bytes());
        }
        out.extend_from_slice(b".\r\n");
        Next::Again
    }

    fn retrieve(&mut self, entry: Entry, lines: Option<u32>) -> Next {
        let sending = Sending {
            entry,
            lines,
            stuffer: None,
        };
        self.ask(Asked::Piece(sending), Ask::Retrieve(entry.uid))
    }

    fn piece(&mut self, mut sending: Sending, piece: Option<&[u8]>, out: &mut Vec<u8>) {
        let mut stuffer = match (sending.stuffer.take(), piece) {
            (Some(stuffer), _) => stuffer,
            (None, Some(_)) => {
                match sending.lines {
                    None => self.ok(&format!("{} octets", sending.entry.size), out),
                    Some(_) => self.ok("The top of the message follows", out),
                };
                Stuffer::new(sending.lines)
            }
            (None, None) => {
                self.err("[SYS/TEMP] The message is gone or can't be read now", out);
                return;
            }
        };
        match piece {
            // There is no way to say so within a message, but not to end it.
            None => self.phase = Phase::Closed,
            Some(piece) if !piece.is_empty() && stuffer.push(piece, out) => {
                sending.stuffer = Some(stuffer);
                self.phase = Phase::Sending(sending);
            }
            Some(_) => {
                stuffer.finish(out);
                if let (Some(maildrop), None) = (&mut self.maildrop, sending.lines) {
                    maildrop.retrieved(sending.entry);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
