//! The client's state machine. Give it what came ([`Session::receive`]), ask what is next
//! ([`Session::step`]), send what it wrote; it holds no socket and no clock.

use super::Wait;
use super::capabilities::Capabilities;
use super::reply::{Reader, Said};
use super::text::Stuffer;
use super::transaction::{Form, Transaction, refusal};
use crate::mail::outgoing::{Outcome, Reply};
use crate::sasl::Mechanism;
use crate::sasl::client::{Client, Login};
use crate::wire::Input;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::VecDeque;
use std::net::IpAddr;

/// Commands sent ahead of their replies, with PIPELINING (RFC 2920): few enough for their
/// replies to fit any socket's buffer.
const MAX_AHEAD: usize = 50;
/// Replies to one command that only say that the server still works on it or is nonsense.
const MAX_CHALLENGES: usize = 8;

/// What the session is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// What EHLO says: our name.
    pub name: String,
    /// The server's name, for replies that are kept.
    pub server: String,
    pub tls: TlsUse,
    pub login: Option<Login>,
    /// Fresh and printable, for SCRAM.
    pub nonce: String,
}

/// STARTTLS (RFC 3207).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsUse {
    /// Not used; or TLS is there already.
    Never,
    IfOffered,
    Required,
}

/// What the driver does next, after it has sent what was written.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Receive more, within that time.
    Wait(Wait),
    /// Make TLS, then say [`Session::tls_started`].
    StartTls,
    /// Give it a transaction, or say goodbye.
    Ready,
    /// Give it the message: [`Session::body`], then [`Session::body_end`].
    Body(Form),
    /// An outcome for each recipient of the transaction, in their order.
    Done(Vec<Outcome>),
    /// It is over, and why; before any transaction, or with one's outcomes told by
    /// [`Session::lost`].
    Closed(Reply),
}

/// What can't be done without a server's help.
const NO_TLS: (&str, &str) = (
    "4.7.5",
    "the server does not offer TLS, which is required here",
);

#[derive(Debug, PartialEq)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Xclient,
    Auth,
    Ready,
    Envelope,
    Body,
    /// The message is out, or a lone dot for a message that nobody may have.
    Final,
    Reset,
    Quit,
    Closed(Reply),
}

enum Sent {
    Mail,
    Rcpt(usize),
    Data,
}

/// The transaction under way.
struct Current {
    transaction: Transaction,
    form: Form,
    /// The next recipient to be named.
    next: usize,
    mail_sent: bool,
    data_sent: bool,
    ahead: VecDeque<Sent>,
    outcomes: Vec<Option<Outcome>>,
    /// Recipients that the server took.
    accepted: Vec<usize>,
    stuffer: Stuffer,
}

pub struct Session {
    config: Config,
    state: State,
    input: Input,
    reader: Reader,
    capabilities: Capabilities,
    tls: bool,
    /// The login is another's, whose connection we pass on.
    passes_on: bool,
    /// Where that one is, until the server has been told.
    origin: Option<IpAddr>,
    auth: Option<Client>,
    challenges: usize,
    current: Option<Current>,
    done: Option<Vec<Outcome>>,
    /// The message was cut short.
    cut: bool,
    /// Replies so far.
    heard: u64,
}

impl Session {
    /// For a connection just made; `tls` says that it is there before the greeting.
    pub fn new(config: Config, tls: bool) -> Session {
        Session {
            config,
            state: State::Greeting,
            input: Input::new(),
            reader: Reader::default(),
            capabilities: Capabilities::default(),
            tls,
            passes_on: false,
            origin: None,
            auth: None,
            challenges: 0,
            current: None,
            done: None,
            cut: false,
            heard: 0,
        }
    }

    /// For a connection that is passed on: the server is told this client's address, if it
    /// lets us (XCLIENT, as Postfix has it). It may pass it on itself, so that the password
    /// must be shown: no SCRAM.
    pub fn passing_on(mut self, origin: Option<IpAddr>) -> Session {
        self.passes_on = true;
        self.origin = origin;
        self
    }

    /// Replies heard so far: whoever waits for the next one sees by it that it has come.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// Goes as far as it can with what it has.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Step {
        loop {
            if let Some(done) = self.done.take() {
                return Step::Done(done);
            }
            self.advance(out);
            match &self.state {
                State::Ready if self.done.is_none() => return Step::Ready,
                State::Handshake => return Step::StartTls,
                State::Body => {
                    let form = self.current.as_ref().map_or(Form::Data, |it| it.form);
                    return Step::Body(form);
                }
                State::Closed(why) if self.current.is_none() => return Step::Closed(why.clone()),
                State::Closed(why) => {
                    let why = why.clone();
                    return Step::Done(self.lost(why));
                }
                _ => {}
            }
            if self.done.is_some() {
                continue;
            }
            match self.reader.next(&mut self.input) {
                Ok(Some(said)) => self.said(said, out),
                Ok(None) => return Step::Wait(self.wait()),
                Err(_) => self.close("4.5.0", "what the server says is no SMTP"),
            }
        }
    }

    /// What the replies awaited now may take.
    fn wait(&self) -> Wait {
        match &self.state {
            State::Greeting => Wait::Greeting,
            State::Envelope => {
                let first = self.current.as_ref().and_then(|it| it.ahead.front());
                match first {
                    Some(Sent::Mail) | None => Wait::Mail,
                    Some(Sent::Rcpt(_)) => Wait::Rcpt,
                    Some(Sent::Data) => Wait::DataStart,
                }
            }
            State::Final => Wait::DataEnd,
            State::Reset | State::Quit => Wait::Goodbye,
            _ => Wait::Hello,
        }
    }

    /// TLS holds now: what came before it is forgotten (RFC 3207, 4.2).
    pub fn tls_started(&mut self, out: &mut Vec<u8>) {
        self.input.clear();
        self.reader = Reader::default();
        self.tls = true;
        self.ehlo(out);
    }

    /// Begins a transaction, when [`Step::Ready`].
    pub fn send(&mut self, transaction: Transaction) {
        let outcomes = vec![None; transaction.recipients.len()];
        match transaction.form(&self.capabilities) {
            Ok(form) => {
                self.current = Some(Current {
                    transaction,
                    form,
                    next: 0,
                    mail_sent: false,
                    data_sent: false,
                    ahead: VecDeque::new(),
                    outcomes,
                    accepted: Vec::new(),
                    stuffer: Stuffer::default(),
                });
                self.state = State::Envelope;
            }
            Err(reply) => {
                let reply = self.named(reply);
                self.done = Some(vec![Outcome::Failed(reply); outcomes.len()]);
            }
        }
    }

    /// The next bytes of the message.
    pub fn body(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if let (State::Body, Some(current)) = (&self.state, &mut self.current) {
            match current.form {
                Form::Bdat => out.extend_from_slice(bytes),
                Form::Data | Form::Converted => current.stuffer.push(bytes, out),
            }
        }
    }

    /// The message is complete.
    pub fn body_end(&mut self, out: &mut Vec<u8>) {
        if let (State::Body, Some(current)) = (&self.state, &mut self.current) {
            if current.form != Form::Bdat {
                std::mem::take(&mut current.stuffer).finish(out);
            }
            self.state = State::Final;
        }
    }

    /// The message could not be sent to its end: a server that hung up has perhaps said why.
    /// The connection is of no further use.
    pub fn body_cut(&mut self) {
        if self.state == State::Body {
            self.cut = true;
            self.state = State::Final;
        }
    }

    /// When [`Step::Ready`] and nothing more is to be sent.
    pub fn quit(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"QUIT\r\n");
        self.state = State::Quit;
    }

    /// The connection is gone or was given up: what that means for the recipients of the
    /// transaction under way. Nothing was taken that was not said to be.
    pub fn lost(&mut self, why: Reply) -> Vec<Outcome> {
        let why = self.named(why);
        self.state = State::Closed(why.clone());
        let Some(current) = self.current.take() else {
            return Vec::new();
        };
        let outcomes = current.outcomes.into_iter();
        outcomes
            .map(|it| it.unwrap_or_else(|| Outcome::Deferred(why.clone())))
            .collect()
    }

    /// Our own words about this server.
    fn named(&self, mut reply: Reply) -> Reply {
        reply
            .server
            .get_or_insert_with(|| self.config.server.clone());
        reply
    }

    fn close(&mut self, enhanced: &str, text: &str) {
        self.state = State::Closed(self.named(refusal(enhanced, text)));
    }

    fn ehlo(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("EHLO {}\r\n", self.config.name).as_bytes());
        self.state = State::Ehlo;
    }

    fn said(&mut self, said: Said, out: &mut Vec<u8>) {
        self.heard += 1;
        let reply = said.reply(&self.config.server);
        // The server goes away, whatever was asked (RFC 5321, 3.8).
        if said.code == 421 && self.state != State::Quit {
            self.state = State::Closed(reply);
            return;
        }
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Greeting if said.code == 220 => self.ehlo(out),
            State::Ehlo if said.code == 250 => {
                self.capabilities = Capabilities::parse(&said.lines);
                self.greeted(out);
            }
            // A server from before EHLO (RFC 5321, 3.2).
            State::Ehlo if said.is_permanent() && !self.tls => {
                out.extend_from_slice(format!("HELO {}\r\n", self.config.name).as_bytes());
                self.state = State::Helo;
            }
            State::Helo if said.code == 250 => self.greeted(out),
            State::StartTls if said.code == 220 => self.state = State::Handshake,
            State::StartTls if self.config.tls != TlsUse::Required => self.log_in(out),
            // It begins anew, as for that client; or it doesn't and goes on as before.
            State::Xclient if said.code < 300 => self.ehlo(out),
            State::Xclient => self.log_in(out),
            State::Auth => self.challenged(&said, reply, out),
            State::Envelope => self.answered(&said, reply, out),
            State::Final => self.finished(&said, reply),
            State::Reset => self.state = State::Ready,
            State::Quit => self.state = State::Closed(reply),
            _ => self.state = State::Closed(reply),
        }
    }

    fn greeted(&mut self, out: &mut Vec<u8>) {
        let wanted = !self.tls && self.config.tls != TlsUse::Never;
        if wanted && self.capabilities.starttls {
            out.extend_from_slice(b"STARTTLS\r\n");
            self.state = State::StartTls;
        } else if wanted && self.config.tls == TlsUse::Required {
            self.close(NO_TLS.0, NO_TLS.1);
        } else if let Some(line) = self.xclient() {
            out.extend_from_slice(line.as_bytes());
            self.state = State::Xclient;
        } else {
            self.log_in(out);
        }
    }

    fn xclient(&mut self) -> Option<String> {
        let takes = |name: &str| self.capabilities.xclient.iter().any(|it| it == name);
        let (address, name) = (takes("ADDR"), takes("NAME"));
        let origin = self.origin.take().filter(|_| address)?;
        // What the real name is, nobody has asked.
        let name = if name { " NAME=[UNAVAILABLE]" } else { "" };
        Some(match origin.to_canonical() {
            IpAddr::V4(four) => format!("XCLIENT ADDR={four}{name}\r\n"),
            IpAddr::V6(six) => format!("XCLIENT ADDR=IPV6:{six}{name}\r\n"),
        })
    }

    fn log_in(&mut self, out: &mut Vec<u8>) {
        self.state = State::Ready;
        let Some(login) = &self.config.login else {
            return;
        };
        let mut offered = self.capabilities.auth.clone();
        if self.passes_on {
            offered.retain(|it| matches!(it, Mechanism::Plain | Mechanism::Login));
        }
        let Some(mechanism) = Client::choose(&offered) else {
            self.close(
                "4.7.0",
                "the server offers no way to log in that is known here",
            );
            return;
        };
        let mut client = Client::new(mechanism, login.clone(), self.config.nonce.clone());
        out.extend_from_slice(format!("AUTH {}", mechanism.name()).as_bytes());
        if let Some(initial) = client.initial() {
            out.push(b' ');
            out.extend_from_slice(BASE64.encode(initial.reveal()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        self.auth = Some(client);
        self.challenges = 0;
        self.state = State::Auth;
    }

    fn challenged(&mut self, said: &Said, reply: Reply, out: &mut Vec<u8>) {
        let Some(client) = &mut self.auth else {
            return self.close("4.7.0", "the login was not under way");
        };
        if said.code == 235 {
            match client.is_done() {
                true => self.auth = None,
                false => self.close(
                    "4.7.0",
                    "the server does not prove that it knows the password",
                ),
            }
            return;
        }
        if said.code != 334 {
            self.state = State::Closed(reply);
            return;
        }
        self.challenges += 1;
        let text = said.lines.first().map_or("", String::as_str);
        let answer = match BASE64.decode(text) {
            _ if self.challenges > MAX_CHALLENGES => Err("it asks and asks"),
            Ok(challenge) => client.respond(&challenge),
            // LOGIN's prompts are for the eye: not every server encodes them.
            Err(_) => client.respond(text.as_bytes()),
        };
        match answer {
            Ok(answer) => {
                out.extend_from_slice(BASE64.encode(answer.reveal()).as_bytes());
                out.extend_from_slice(b"\r\n");
                self.state = State::Auth;
            }
            Err(why) => self.close("4.7.0", &format!("the login failed: {why}")),
        }
    }

    /// Sends of the envelope what may go now.
    fn advance(&mut self, out: &mut Vec<u8>) {
        let (State::Envelope, Some(current)) = (&self.state, &mut self.current) else {
            return;
        };
        let server = &self.capabilities;
        let most = if server.pipelining { MAX_AHEAD } else { 1 };
        if !current.mail_sent {
            current.mail_sent = true;
            out.extend_from_slice(&current.transaction.mail(server, current.form));
            current.ahead.push_back(Sent::Mail);
        }
        while current.ahead.len() < most
            && let Some(to) = current.transaction.recipients.get(current.next)
        {
            let at = current.next;
            current.next += 1;
            if current.outcomes.get(at).is_some_and(Option::is_some) {
                continue;
            }
            match current.transaction.rcpt(to, server) {
                Ok(line) => {
                    out.extend_from_slice(&line);
                    current.ahead.push_back(Sent::Rcpt(at));
                }
                Err(mut reply) => {
                    reply.server = Some(self.config.server.clone());
                    current.set(at, Outcome::Failed(reply));
                }
            }
        }
        if current.next < current.transaction.recipients.len() || current.data_sent {
            return;
        }
        self.finish_envelope(out);
    }

    /// All recipients are named: DATA goes with them where it may, else when they are answered.
    fn finish_envelope(&mut self, out: &mut Vec<u8>) {
        let Some(current) = &mut self.current else {
            return;
        };
        let outcomes = &current.outcomes;
        let asked = |it: &Sent| matches!(it, Sent::Rcpt(at) if outcomes.get(*at).is_some_and(Option::is_none));
        let hopeful = !current.accepted.is_empty() || current.ahead.iter().any(asked);
        if !hopeful && current.ahead.is_empty() {
            return self.give_up(out);
        }
        match current.form {
            Form::Bdat if current.ahead.is_empty() => {
                let size = current.transaction.size;
                out.extend_from_slice(format!("BDAT {size} LAST\r\n").as_bytes());
                current.data_sent = true;
                self.state = State::Body;
            }
            Form::Data | Form::Converted
                if hopeful
                    && (current.ahead.is_empty()
                        || (self.capabilities.pipelining && current.ahead.len() < MAX_AHEAD)) =>
            {
                out.extend_from_slice(b"DATA\r\n");
                current.data_sent = true;
                current.ahead.push_back(Sent::Data);
            }
            _ => {}
        }
    }

    /// Nobody gets the message.
    fn give_up(&mut self, out: &mut Vec<u8>) {
        self.finish();
        out.extend_from_slice(b"RSET\r\n");
        self.state = State::Reset;
    }

    /// A reply to a command of the envelope.
    fn answered(&mut self, said: &Said, reply: Reply, out: &mut Vec<u8>) {
        self.state = State::Envelope;
        let Some(current) = &mut self.current else {
            return self.close("4.5.0", "the server answers what was not asked");
        };
        match current.ahead.pop_front() {
            Some(Sent::Mail) if said.is_positive() => {}
            Some(Sent::Mail) => {
                // Whoever was named behind it is refused too, and not for his own sake.
                current.next = current.transaction.recipients.len();
                for at in 0..current.outcomes.len() {
                    current.set(at, refused(said, reply.clone()));
                }
            }
            Some(Sent::Rcpt(at)) if said.is_positive() => {
                if current.outcomes.get(at).is_some_and(Option::is_none) {
                    current.accepted.push(at);
                }
            }
            Some(Sent::Rcpt(at)) => {
                // 552 for too many recipients is as good as 452 (RFC 5321, 4.5.3.1.10).
                let outcome = match said.code {
                    552 => Outcome::Deferred(reply),
                    _ => refused(said, reply),
                };
                current.set(at, outcome);
            }
            Some(Sent::Data) if said.code == 354 => self.state = State::Body,
            Some(Sent::Data) => {
                for at in std::mem::take(&mut current.accepted) {
                    current.set(at, refused(said, reply.clone()));
                }
                // A later DATA is not to be tried.
                current.data_sent = false;
                current.next = current.transaction.recipients.len();
            }
            None => self.close("4.5.0", "the server answers what was not asked"),
        }
        let nobody = |it: &Current| it.accepted.is_empty();
        if self.state == State::Body && self.current.as_ref().is_some_and(nobody) {
            // It takes a message for nobody: an empty one (RFC 2920, 3.1).
            out.extend_from_slice(b".\r\n");
            self.state = State::Final;
        }
    }

    /// The reply to the whole message.
    fn finished(&mut self, said: &Said, reply: Reply) {
        let notifies = self.capabilities.dsn;
        if let Some(current) = &mut self.current {
            for at in std::mem::take(&mut current.accepted) {
                let reply = reply.clone();
                let outcome = match said.is_positive() {
                    true if self.cut => Outcome::Deferred(reply),
                    true => Outcome::Delivered { reply, notifies },
                    false => refused(said, reply),
                };
                current.set(at, outcome);
            }
        }
        self.finish();
        self.state = State::Ready;
    }

    /// Ends the transaction; whoever has no outcome by now may be tried again.
    fn finish(&mut self) {
        if let Some(current) = self.current.take() {
            let left = self.named(refusal("4.5.0", "the server left the recipient out"));
            let outcomes = current.outcomes.into_iter();
            let outcomes = outcomes.map(|it| it.unwrap_or_else(|| Outcome::Deferred(left.clone())));
            self.done = Some(outcomes.collect());
        }
    }
}

impl Current {
    /// The first outcome stands.
    fn set(&mut self, at: usize, outcome: Outcome) {
        if let Some(place) = self.outcomes.get_mut(at)
            && place.is_none()
        {
            *place = Some(outcome);
        }
    }
}

fn refused(said: &Said, reply: Reply) -> Outcome {
    match said.is_permanent() {
        true => Outcome::Failed(reply),
        false => Outcome::Deferred(reply),
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
