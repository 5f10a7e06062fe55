//! The state machine of POP3: bytes in, replies and steps out. It holds no socket, clock
//! or store; what only those can give is an [`Ask`], and [`Session::answer`] takes the
//! [`Answer`].

use super::command::{self, Command};
use super::maildrop::{Entry, Maildrop, Update};
use super::stuff::Stuffer;
use super::text::{Language, Text};
use crate::mail::capability::{Capability, Off};
use crate::mail::home::Forwarded;
use crate::mail::{Account, AccountId, Uid};
use crate::sasl::dialogue::{self, Dialogue, Nonces};
use crate::sasl::{self, Denial, Mechanism, Turn};
use crate::wire::{Input, Line};

/// Longest command line, bytes without its end (RFC 2449, 4). AUTH and PASS may carry more.
const MAX_LINE: usize = 255;
/// A longer line is read away, that far.
const MAX_SKIPPED: usize = 1 << 20;
/// Errors in a row before the connection is closed.
const MAX_ERRORS: u32 = 20;

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether TLS is there from the start.
    pub tls: bool,
    /// Whether a password may come without TLS.
    pub plain_login: bool,
    /// Seconds from one login of an account to the next; 0 for none.
    pub login_delay: u64,
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
    /// Less than [`Config::login_delay`] after the login before.
    TooSoon,
    /// Later it may be there.
    Trouble,
    Damaged,
}

/// AUTH, USER and PASS are in [`super::login`], what follows the login in
/// [`super::transaction`].
pub struct Session {
    pub(super) config: Config,
    pub(super) input: Input,
    pub(super) phase: Phase,
    pub(super) nonces: Nonces,
    pub(super) channel: sasl::Channel,
    forwarded: Forwarded,
    /// What USER named.
    pub(super) user: Option<String>,
    pub(super) login_failures: u32,
    errors: u32,
    language: Language,
    /// UTF8 was said (RFC 6856, 2.1).
    pub(super) utf8: bool,
    pub(super) account: Option<Account>,
    pub(super) maildrop: Option<Maildrop>,
    /// In place of the first words; empty for none.
    banner: String,
    /// Longest command line, bytes without its end.
    max_line: usize,
    /// See [`Session::go_without`].
    pub(super) off: Off,
}

pub(super) enum Phase {
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
pub(super) enum Asked {
    /// By AUTH, or by PASS.
    Login(Option<Dialogue>),
    Open(Account),
    Piece(Sending),
    Update,
}

pub(super) struct Sending {
    pub entry: Entry,
    /// TOP: how many lines of the body.
    pub lines: Option<u32>,
    /// Once the first piece has come.
    pub stuffer: Option<Stuffer>,
}

#[derive(Clone, Copy)]
pub(super) enum Listing {
    Sizes,
    UniqueIds,
}

/// A step, or none yet.
pub(super) enum Next {
    Again,
    Step(Step),
}

impl Session {
    pub fn new(config: Config) -> Session {
        Session {
            nonces: Nonces::new(config.seed),
            channel: sasl::Channel::default(),
            forwarded: Forwarded::default(),
            config,
            input: Input::new(),
            phase: Phase::Greeting,
            user: None,
            login_failures: 0,
            errors: 0,
            language: Language::default(),
            utf8: false,
            account: None,
            maildrop: None,
            banner: String::new(),
            max_line: MAX_LINE,
            off: Off::NONE,
        }
    }

    /// With words of the owner's in the greeting, where he has any, and another longest line.
    pub fn with_greeting(self, banner: &str, max_line: usize) -> Session {
        Session {
            banner: banner.into(),
            max_line,
            ..self
        }
    }

    /// Of the account that logs in, in place of the server's own; called before the maildrop
    /// is there.
    pub fn set_login_delay(&mut self, seconds: u64) {
        self.config.login_delay = seconds;
    }

    /// What the account that is being granted the login is served without.
    pub fn go_without(&mut self, off: Off) {
        self.off = off;
    }

    /// Where received bytes go.
    pub fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// What the connection brings to a login; called when TLS has begun.
    pub fn bind(&mut self, channel: sasl::Channel) {
        self.channel = channel;
    }

    /// What a server before us has said by XCLIENT.
    pub fn forwarded(&mut self) -> &mut Forwarded {
        &mut self.forwarded
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
        self.forwarded.forget_client();
        self.language = Language::default();
        self.utf8 = false;
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
                    Ok(()) => self.ok(Text::Goodbye, out),
                    Err(()) => self.err_with(Some("SYS/TEMP"), Text::NotDeleted, &[], out),
                };
                self.phase = Phase::Closed;
            }
            (phase, _) => self.phase = phase,
        }
    }

    /// In place of a verdict, where the login can't be decided: says why not, in a line of ASCII.
    pub fn put_off(&mut self, code: &str, text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("-ERR [{code}] {text}\r\n").as_bytes());
        self.phase = Phase::Commands;
        self.errors += 1;
        if self.errors > MAX_ERRORS {
            self.close(Text::TooManyErrors, out);
        }
    }

    fn advance(&mut self, out: &mut Vec<u8>) -> Next {
        match std::mem::replace(&mut self.phase, Phase::Commands) {
            Phase::Greeting => match std::mem::take(&mut self.banner) {
                banner if banner.is_empty() => self.ok(Text::Ready, out),
                banner => self.ok_line(&banner, out),
            },
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

    pub(super) fn ask(&mut self, asked: Asked, ask: Ask) -> Next {
        self.phase = Phase::Asked(asked);
        Next::Step(Step::Ask(ask))
    }

    pub(super) fn ok(&mut self, text: Text, out: &mut Vec<u8>) -> Next {
        self.ok_with(text, &[], out)
    }

    pub(super) fn ok_with(&mut self, text: Text, with: &[&str], out: &mut Vec<u8>) -> Next {
        let text = text.fill(self.language, with);
        self.ok_line(&text, out)
    }

    pub(super) fn ok_line(&mut self, text: &str, out: &mut Vec<u8>) -> Next {
        self.errors = 0;
        out.extend_from_slice(format!("+OK {text}\r\n").as_bytes());
        Next::Again
    }

    pub(super) fn err(&mut self, text: Text, out: &mut Vec<u8>) -> Next {
        self.err_with(None, text, &[], out)
    }

    /// With a response code (RFC 2449, 8).
    pub(super) fn err_with(
        &mut self,
        code: Option<&str>,
        text: Text,
        with: &[&str],
        out: &mut Vec<u8>,
    ) -> Next {
        let code = code.map(|code| format!("[{code}] ")).unwrap_or_default();
        let text = text.fill(self.language, with);
        out.extend_from_slice(format!("-ERR {code}{text}\r\n").as_bytes());
        self.errors += 1;
        match self.errors > MAX_ERRORS {
            true => self.close(Text::TooManyErrors, out),
            false => Next::Again,
        }
    }

    pub(super) fn close(&mut self, text: Text, out: &mut Vec<u8>) -> Next {
        let text = text.fill(self.language, &[]);
        out.extend_from_slice(format!("-ERR {text}\r\n").as_bytes());
        self.phase = Phase::Closed;
        Next::Step(Step::Close)
    }

    fn command_line(&mut self, out: &mut Vec<u8>) -> Next {
        let (length, end) = match self.input.line(self.max_line + dialogue::MAX_LINE, true) {
            Line::Partial => return Next::Step(Step::NeedInput),
            Line::TooLong => return self.line_too_long(out),
            Line::Complete { length, end } => (length, end),
        };
        let line = self.input.bytes().get(..length).unwrap_or_default();
        let verb = line.get(..5).unwrap_or_default();
        let may_be_long = [b"AUTH ", b"PASS "]
            .iter()
            .any(|it| verb.eq_ignore_ascii_case(*it));
        if length > self.max_line && !may_be_long {
            return self.line_too_long(out);
        }
        let parsed = command::parse(line);
        self.input.consume(end);
        match parsed {
            Ok(command) => self.command(command, out),
            Err(text) => self.err(text, out),
        }
    }

    pub(super) fn line_too_long(&mut self, out: &mut Vec<u8>) -> Next {
        self.phase = Phase::SkipLine(0);
        self.err(Text::LineTooLong, out)
    }

    fn skip_line(&mut self, skipped: usize, out: &mut Vec<u8>) -> Next {
        let (dropped, ended) = self.input.skip_line();
        if ended {
            return Next::Again;
        }
        if skipped + dropped > MAX_SKIPPED {
            return self.close(Text::LineEndless, out);
        }
        self.phase = Phase::SkipLine(skipped + dropped);
        Next::Step(Step::NeedInput)
    }

    fn command(&mut self, command: Command, out: &mut Vec<u8>) -> Next {
        match command {
            command if self.lacks(&command) => self.err(Text::Unknown, out),
            Command::Capa => self.capabilities(out),
            Command::Quit => match &self.maildrop {
                Some(maildrop) => {
                    let update = maildrop.update();
                    self.ask(Asked::Update, Ask::Update(update))
                }
                None => {
                    self.ok(Text::Goodbye, out);
                    self.phase = Phase::Closed;
                    Next::Step(Step::Close)
                }
            },
            Command::Lang(language) => self.lang(language.as_deref(), out),
            command if self.maildrop.is_some() => self.transaction(command, out),
            Command::Stls if self.config.tls => self.err(Text::TlsAlready, out),
            Command::Stls => {
                // What came behind it came in clear (CVE-2011-0411).
                self.input.clear();
                self.ok(Text::TlsBegin, out);
                Next::Step(Step::StartTls)
            }
            Command::Auth {
                mechanism: None, ..
            } => self.mechanisms(out),
            Command::Auth { .. } | Command::User(_) | Command::Pass(_) if !self.may_log_in() => {
                self.err(Text::TlsFirst, out)
            }
            Command::Auth {
                mechanism: Some(mechanism),
                initial,
            } => self.auth(&mechanism, initial.as_deref(), out),
            Command::Xclient(arguments) => match self.forwarded.xclient(&arguments) {
                Ok(()) => self.ok(Text::Forwarded, out),
                Err(_) => self.err(Text::XclientArguments, out),
            },
            Command::User(_) | Command::Pass(_) if self.channel.hides_passwords => {
                let names = Mechanism::names(self.channel);
                self.err_with(None, Text::MechanismsAre, &[&names], out)
            }
            Command::User(user) => {
                self.user = Some(user);
                self.ok(Text::SendPass, out)
            }
            Command::Pass(password) => self.pass(password, out),
            Command::Utf8 => {
                self.utf8 = true;
                self.ok(Text::Utf8, out)
            }
            _ => self.err(Text::LoginFirst, out),
        }
    }

    /// Once the account is known that goes without it.
    fn lacks(&self, command: &Command) -> bool {
        let needed = match command {
            Command::Top { .. } => Capability::Top,
            Command::Uidl(_) => Capability::Uidl,
            Command::Lang(_) => Capability::Lang,
            _ => return false,
        };
        self.maildrop.is_some() && self.off.has(needed)
    }

    /// RFC 2449, 5: only what holds now.
    fn capabilities(&mut self, out: &mut Vec<u8>) -> Next {
        self.ok(Text::Capabilities, out);
        let mut lines = vec!["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"];
        lines.extend(["UTF8 USER", "LANG"]);
        let sasl = format!("SASL {}", Mechanism::names(self.channel));
        let before_login = self.maildrop.is_none();
        // An account may have its own (RFC 2449, 6.5).
        let whose = if before_login { " USER" } else { "" };
        let delay = format!("LOGIN-DELAY {}{whose}", self.config.login_delay);
        if before_login && self.may_log_in() {
            let user = (!self.channel.hides_passwords).then_some("USER");
            lines.extend(user.into_iter().chain([sasl.as_str()]));
        }
        if before_login && !self.config.tls {
            lines.push("STLS");
        }
        let xclient = format!("XCLIENT {}", self.forwarded.names());
        if before_login {
            lines.push(&xclient);
        }
        if self.config.login_delay > 0 {
            lines.push(&delay);
        }
        lines.extend(["EXPIRE NEVER", "IMPLEMENTATION pillarbox", "."]);
        if !before_login {
            lines.retain(|it| !self.off.hides("pop3", it));
        }
        for line in lines {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Next::Again
    }

    /// RFC 6856, 3.1. The texts are UTF-8 whether or not UTF8 was said.
    fn lang(&mut self, range: Option<&str>, out: &mut Vec<u8>) -> Next {
        let Some(range) = range else {
            self.ok(Text::Languages, out);
            for language in Language::ALL {
                let line = format!("{} {}\r\n", language.tag(), language.name());
                out.extend_from_slice(line.as_bytes());
            }
            out.extend_from_slice(b".\r\n");
            return Next::Again;
        };
        match Language::find(range) {
            Some(language) => {
                self.language = language;
                let text = Text::Language.fill(language, &[]);
                self.ok_line(&format!("{} {text}", language.tag()), out)
            }
            None => self.err(Text::NoLanguage, out),
        }
    }

    pub(super) fn may_log_in(&self) -> bool {
        self.config.tls || self.config.plain_login
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
