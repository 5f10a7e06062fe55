//! One IMAP connection as a state machine: bytes in, bytes and steps out. It holds no
//! socket, no clock and no store; what it needs of them it asks ([`Ask`]).
//!
//! The driver calls [`Session::step`] until that wants something, does it, answers, and
//! calls again. One command is answered before the next is looked at.

mod ask;
mod authenticate;
mod dispatch;

pub use ask::{Action, Ask, Fetch, Outcome, Search, Store};
pub use dispatch::names_modseq;

use crate::imap::capability::{self, Offer};
use crate::imap::command::{Append, Command, ParseError, Rejected};
use crate::imap::flags::write_flag_lists;
use crate::imap::framer::{Event, Framer, LineEvent, MAX_COMMAND};
use crate::imap::needs::needs;
use crate::imap::response::{self, Code, Status};
use crate::imap::view::{Opened, Report, View};
use crate::mail::capability::{Capability, Off};
use crate::mail::home::Forwarded;
use crate::mail::{AccountId, MailboxName, Uid, UidValidity};
use crate::sasl;
use crate::wire::Input;
use authenticate::Login;
use std::io::Write;

/// Commands not understood, one after the other, before the connection is ended.
const MAX_BAD_STRANGER: u32 = 20;
const MAX_BAD_USER: u32 = 200;
/// Logins refused before the connection is ended.
const MAX_LOGINS: u32 = 5;
/// Of a command, or part of one, that the server is not to know.
const UNKNOWN: &str = "an unknown command";

/// What a session is told of its connection and server.
#[derive(Clone, Debug)]
pub struct Config {
    pub hostname: String,
    pub tls: bool,
    /// Whether passwords may cross without TLS.
    pub plain_login: bool,
    /// Largest message, bytes.
    pub append_limit: u64,
}

/// What the session wants.
#[derive(Debug)]
pub enum Step {
    /// More bytes from the client.
    NeedInput,
    /// News of the mailbox, or more bytes from the client.
    Idle,
    /// See [`Ask`].
    Ask(Box<Ask>),
    /// The next n bytes of a message on its way in: use [`Session::data`], then call
    /// [`Session::taken`].
    Data(usize),
    /// Flush, do the handshake, then call [`Session::tls_started`].
    StartTls,
    /// Flush and close.
    Close,
}

/// What a SELECT found besides the view.
#[derive(Clone, Debug)]
pub struct Selected {
    pub opened: Opened,
    pub uid_validity: UidValidity,
    pub uid_next: Uid,
    pub first_unseen: Option<Uid>,
}

enum State {
    Stranger,
    User,
    Selected(Box<View>),
    Closed,
}

/// What the client's next bytes belong to.
enum Doing {
    Commands,
    Login(Box<Login>),
    Idle,
    /// An APPEND's message, once it is accepted.
    Append,
}

pub struct Session {
    config: Config,
    framer: Framer,
    input: Input,
    state: State,
    doing: Doing,
    account: Option<AccountId>,
    channel: sasl::Channel,
    /// Of the command at work.
    tag: String,
    /// The command at work is FETCH, STORE or SEARCH by sequence number (RFC 3501, 7.4.1).
    by_number: bool,
    /// A CONDSTORE enabling command was given (RFC 7162, 3.1).
    condstore: bool,
    bad: u32,
    refused_logins: u32,
    forwarded: Forwarded,
    /// See [`Session::with_max_command`].
    max_command: usize,
    /// See [`Session::go_without`].
    off: Off,
}

impl Session {
    pub fn new(config: Config) -> Session {
        Session {
            config,
            max_command: MAX_COMMAND,
            framer: Framer::new(),
            input: Input::new(),
            state: State::Stranger,
            doing: Doing::Commands,
            account: None,
            channel: sasl::Channel::default(),
            tag: String::new(),
            by_number: false,
            condstore: false,
            bad: 0,
            refused_logins: 0,
            forwarded: Forwarded::default(),
            off: Off::NONE,
        }
    }

    /// What the account that is being granted the login is served without.
    pub fn go_without(&mut self, off: Off) {
        self.off = off;
        self.framer
            .take_non_synchronizing(!off.has(Capability::LiteralPlus));
    }

    pub fn lacks(&self, capability: Capability) -> bool {
        self.off.has(capability)
    }

    /// What the connection brings to a login; called when TLS has begun.
    pub fn bind(&mut self, channel: sasl::Channel) {
        self.channel = channel;
    }

    /// How long a command may be after login with its literals, messages left out; bytes.
    pub fn with_max_command(self, max_command: usize) -> Session {
        Session {
            max_command,
            ..self
        }
    }

    /// The server speaks first: the owner's words, or its own where there are none.
    pub fn greet(&self, banner: &str, out: &mut Vec<u8>) {
        let capabilities = self.capabilities();
        let _ = match banner {
            "" => write!(
                out,
                "* OK [CAPABILITY {capabilities}] {} is ready.\r\n",
                self.config.hostname
            ),
            banner => write!(out, "* OK [CAPABILITY {capabilities}] {banner}\r\n"),
        };
    }

    /// Where received bytes go.
    pub fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    pub fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// What a server before us has said by ID (as Dovecot does).
    pub fn forwarded(&mut self) -> &mut Forwarded {
        &mut self.forwarded
    }

    /// The connection is over; everything has been said.
    pub fn end(&mut self) {
        self.state = State::Closed;
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    pub fn is_logged_in(&self) -> bool {
        self.account.is_some()
    }

    /// Whether an accepted APPEND is still to be committed or dropped.
    pub fn is_appending(&self) -> bool {
        matches!(self.doing, Doing::Append)
    }

    pub fn view(&self) -> Option<&View> {
        match &self.state {
            State::Selected(view) => Some(view),
            _ => None,
        }
    }

    pub fn view_mut(&mut self) -> Option<&mut View> {
        match &mut self.state {
            State::Selected(view) => Some(view),
            _ => None,
        }
    }

    pub fn condstore(&self) -> bool {
        self.condstore
    }

    fn capabilities(&self) -> String {
        capability::list(Offer {
            logged_in: self.is_logged_in(),
            tls: self.config.tls,
            login: self.may_login(),
            channel: self.channel,
            append_limit: self.config.append_limit,
            off: self.off,
        })
    }

    /// A LIST answers without what the account goes without.
    fn plain(&self, command: Command) -> Command {
        match command {
            Command::List(mut list) => {
                list.without_children = self.lacks(Capability::Children);
                list.without_special_use = self.lacks(Capability::SpecialUse);
                Command::List(list)
            }
            other => other,
        }
    }

    /// Whether a response code is of what the account goes without.
    fn withholds(&self, code: &str) -> bool {
        let of = |words: &[&str], capability| {
            self.lacks(capability) && words.iter().any(|it| code.starts_with(it))
        };
        of(&["APPENDUID ", "COPYUID "], Capability::UidPlus)
            || of(&["HIGHESTMODSEQ "], Capability::CondStore)
    }

    fn may_login(&self) -> bool {
        self.config.tls || self.config.plain_login
    }

    /// Goes on until something is wanted.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Step {
        loop {
            if let State::Closed = self.state {
                return Step::Close;
            }
            let step = match self.doing {
                Doing::Commands | Doing::Append => self.next_event(out),
                Doing::Login(_) => self.go_on_login(out),
                Doing::Idle => self.idle_line(out),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn next_event(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        match self.framer.next(&mut self.input) {
            Event::NeedInput => Some(Step::NeedInput),
            Event::Continue => {
                response::continuation(out, "Go on.");
                None
            }
            Event::Request(request) => {
                if self.off.meets(needs(&request.command)) {
                    self.reject(&unknown(request.tag), out);
                    return None;
                }
                self.tag = request.tag;
                self.bad = 0;
                self.dispatch(self.plain(request.command), out)
            }
            Event::Append(append) => self.begin_append(append, out),
            Event::Url(url) => Some(Step::Ask(Box::new(Ask::AppendUrl(url)))),
            Event::Text { binary: true, .. } if self.lacks(Capability::Binary) => {
                self.refuse_append(&Outcome::bad(UNKNOWN), out);
                None
            }
            Event::Text { size, binary } => {
                Some(Step::Ask(Box::new(Ask::AppendText { size, binary })))
            }
            Event::Message(n) => Some(Step::Data(n)),
            Event::AppendEnd => Some(Step::Ask(Box::new(Ask::AppendEnd))),
            Event::Rejected(rejected) => {
                self.doing = Doing::Commands;
                self.reject(&rejected, out);
                None
            }
            Event::Fatal(rejected) => {
                self.reject(&rejected, out);
                self.bye("The connection is out of step: connect again.", out);
                None
            }
        }
    }

    fn reject(&mut self, rejected: &Rejected, out: &mut Vec<u8>) {
        response::rejected(out, rejected);
        self.count_bad(out);
    }

    fn count_bad(&mut self, out: &mut Vec<u8>) {
        self.bad += 1;
        let limit = match self.is_logged_in() {
            true => MAX_BAD_USER,
            false => MAX_BAD_STRANGER,
        };
        if self.bad >= limit {
            self.bye("Too many commands that are none.", out);
        }
    }

    /// Ends the connection, with the reason.
    pub fn bye(&mut self, text: &str, out: &mut Vec<u8>) {
        if !matches!(self.state, State::Closed) {
            response::bye(out, None, text);
            self.state = State::Closed;
        }
    }

    fn begin_append(&mut self, append: Append, out: &mut Vec<u8>) -> Option<Step> {
        self.tag.clone_from(&append.tag);
        if !self.is_logged_in() {
            self.refuse_append(&Outcome::bad("Log in first."), out);
            return None;
        }
        let needs = Off::NONE
            .and_if(append.catenate, Capability::Catenate)
            .and_if(append.binary, Capability::Binary);
        if self.off.meets(needs) {
            self.refuse_append(&Outcome::bad(UNKNOWN), out);
            return None;
        }
        match MailboxName::parse(&append.mailbox) {
            Ok(name) => Some(Step::Ask(Box::new(Ask::Append { append, name }))),
            Err(error) => {
                self.refuse_append(&dispatch::bad_name(error), out);
                None
            }
        }
    }

    /// Lets the message come.
    pub fn accept_append(&mut self) {
        self.framer.accept();
        self.doing = Doing::Append;
    }

    /// Ends an APPEND, before or while its message comes.
    pub fn refuse_append(&mut self, outcome: &Outcome, out: &mut Vec<u8>) {
        self.framer.refuse();
        self.complete(outcome, out);
    }

    /// Bytes of a message, as [`Step::Data`] told.
    pub fn data(&self, n: usize) -> &[u8] {
        self.input.bytes().get(..n).unwrap_or_default()
    }

    pub fn taken(&mut self, n: usize) {
        self.framer.taken(&mut self.input, n);
    }

    /// TLS is up. What came before it is void (CVE-2011-0411).
    pub fn tls_started(&mut self) {
        self.input.clear();
        self.framer = Framer::new();
        self.config.tls = true;
        self.forwarded.forget_client();
    }

    fn idle_line(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        match self.framer.line(&mut self.input) {
            LineEvent::NeedInput => Some(Step::Idle),
            LineEvent::TooLong => {
                self.bye("The line is too long.", out);
                None
            }
            LineEvent::Line(line) => {
                self.doing = Doing::Commands;
                if line.reveal().eq_ignore_ascii_case(b"DONE") {
                    let poll = Action::Poll("Idle ended.");
                    return Some(Step::Ask(Box::new(Ask::Do(poll))));
                }
                self.complete(&Outcome::bad("IDLE ends with DONE alone."), out);
                self.count_bad(out);
                None
            }
        }
    }

    /// The answer to [`Ask::Select`] where that worked.
    pub fn selected(&mut self, selected: Selected, out: &mut Vec<u8>) {
        self.close_selected(out);
        let Selected {
            opened,
            uid_validity,
            uid_next,
            first_unseen,
        } = selected;
        let (read_only, modseq) = (opened.read_only, opened.highest_modseq);
        let view = View::new(opened);
        write_flag_lists(out, &view.keywords(), read_only);
        response::numbered(out, view.numbering().len(), "EXISTS");
        response::numbered(out, view.recent_count(), "RECENT");
        let first_unseen = first_unseen.and_then(|uid| view.numbering().seq(uid));
        let codes = [
            first_unseen.map(|seq| (Code::Unseen(seq), "The first unseen message.")),
            Some((Code::UidValidity(uid_validity), "These UIDs are valid.")),
            Some((Code::UidNext(uid_next), "The next UID, at least.")),
            (!self.lacks(Capability::CondStore))
                .then_some((Code::HighestModSeq(modseq), "The highest there is.")),
            (!self.lacks(Capability::UrlAuth))
                .then_some((Code::UrlMech, "How URLs are authorized.")),
        ];
        for (code, text) in codes.into_iter().flatten() {
            response::untagged(out, Status::Ok, Some(code), text);
        }
        self.state = State::Selected(Box::new(view));
        let outcome = match read_only {
            true => Outcome::ok("Examining.").with(Code::ReadOnly),
            false => Outcome::ok("Selected.").with(Code::ReadWrite),
        };
        self.complete(&outcome, out);
    }

    /// Leaves the selected mailbox, as a SELECT that fails does too (RFC 3501, 6.3.1).
    pub fn close_selected(&mut self, out: &mut Vec<u8>) {
        if let State::Selected(_) = self.state {
            let text = "The previous mailbox is closed.";
            response::untagged(out, Status::Ok, Some(Code::Closed), text);
            self.unselect();
        }
    }

    /// As `close_selected`, without a word (CLOSE and UNSELECT).
    pub fn unselect(&mut self) {
        if let State::Selected(_) = self.state {
            self.state = State::User;
        }
    }

    /// Tells what the view knows and the client does not, as far as the command at work
    /// allows. Ends the session if its mailbox is gone.
    pub fn report(&mut self, out: &mut Vec<u8>) {
        let report = Report {
            expunge: !self.by_number,
            condstore: self.condstore,
        };
        let Some(view) = self.view_mut() else {
            return;
        };
        view.report(report, out);
        if view.is_deleted() {
            self.bye(
                "The selected mailbox was deleted: connect again and select another.",
                out,
            );
        }
    }

    /// Ends the command at work.
    pub fn complete(&mut self, outcome: &Outcome, out: &mut Vec<u8>) {
        if let State::Closed = self.state {
            return;
        }
        self.doing = Doing::Commands;
        self.by_number = false;
        match self.withholds(&outcome.code) {
            true => {
                let bare = Outcome {
                    code: String::new(),
                    ..outcome.clone()
                };
                bare.write(&self.tag, out);
            }
            false => outcome.write(&self.tag, out),
        }
        self.tag = String::new();
    }
}

/// What uses a capability that the account goes without.
fn unknown(tag: String) -> Rejected {
    Rejected {
        tag: Some(tag),
        error: ParseError::Syntax(UNKNOWN),
    }
}

#[cfg(test)]
mod tests;
