//! The client's state machine. Give it what came ([`Session::receive`]), ask what is next
//! ([`Session::step`]), send what it wrote; it holds no socket and no clock. [`hello`] goes as
//! far as the login, [`envelope`] is one message's transaction.

mod envelope;
mod hello;

pub use envelope::is_crowded;
pub use hello::{Proof, Proven};

use super::Wait;
use super::capabilities::Capabilities;
use super::reply::{Reader, Said};
use super::transaction::{Form, refusal};
use crate::mail::outgoing::{Outcome, Reply};
use crate::sasl::client::{Client, Login};
use crate::wire::Input;
use envelope::{Current, Sent};
use std::net::IpAddr;

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
    /// Have [`Session::proof`] worked out where it holds up nobody, then say
    /// [`Session::proven`].
    Prove,
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

#[derive(Debug, PartialEq)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Xclient,
    Auth,
    /// SCRAM's rounds are to be done.
    Proof,
    Ready,
    Envelope,
    Body,
    /// The message is out, or a lone dot for a message that nobody may have.
    Final,
    Reset,
    Quit,
    Closed(Reply),
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
    /// Where that one is, and how many servers more may pass it on, until the server has
    /// been told.
    origin: Option<(Option<IpAddr>, u8)>,
    auth: Option<Client>,
    proof: Option<Proof>,
    challenges: usize,
    current: Option<Current>,
    /// See [`Session::onward`].
    onward: Vec<usize>,
    done: Option<Vec<Outcome>>,
    /// The message was cut short.
    cut: bool,
    /// See [`Session::is_unchunked`].
    unchunked: bool,
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
            proof: None,
            challenges: 0,
            current: None,
            onward: Vec::new(),
            done: None,
            cut: false,
            unchunked: false,
            heard: 0,
        }
    }

    /// For a connection that is passed on: the server is told this client's address and how
    /// many servers more may pass it on, if it lets us (XCLIENT, as Postfix has it). It may pass it on itself, so that the password
    /// must be shown: no SCRAM.
    pub fn passing_on(mut self, origin: Option<IpAddr>, hops: u8) -> Session {
        self.passes_on = true;
        self.origin = Some((origin, hops));
        self
    }

    /// Replies heard so far: whoever waits for the next one sees by it that it has come.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether the last transaction failed since the server does not know BDAT, though it
    /// announces it. The connection is over.
    pub fn is_unchunked(&self) -> bool {
        self.unchunked
    }

    /// Sends by DATA, whatever the server announces.
    pub fn without_chunking(&mut self) {
        self.capabilities.chunking = false;
        self.capabilities.binary = false;
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
                State::Proof => return Step::Prove,
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
            // What is left is to hear why it hung up, if it did.
            State::Final if self.cut => Wait::Goodbye,
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

    /// When [`Step::Ready`] and nothing more is to be sent.
    pub fn quit(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"QUIT\r\n");
        self.state = State::Quit;
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
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
