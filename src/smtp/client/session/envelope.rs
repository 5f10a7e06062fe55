//! One transaction: MAIL, RCPT, DATA or BDAT, and what came of each recipient.

use super::super::reply::Said;
use super::super::text::Stuffer;
use super::super::transaction::{Form, NO_REQUIRETLS, Transaction, refusal};
use super::{Session, State};
use crate::mail::outgoing::{Outcome, Reply};
use std::collections::VecDeque;

/// Commands sent ahead of their replies, with PIPELINING (RFC 2920): few enough for their
/// replies to fit any socket's buffer.
pub(super) const MAX_AHEAD: usize = 50;

pub(super) enum Sent {
    Mail,
    Rcpt(usize),
    Data,
}

/// The transaction under way.
pub(super) struct Current {
    transaction: Transaction,
    pub(super) form: Form,
    /// The next recipient to be named.
    next: usize,
    mail_sent: bool,
    data_sent: bool,
    /// Bytes of the message may have gone.
    begun: bool,
    pub(super) ahead: VecDeque<Sent>,
    outcomes: Vec<Option<Outcome>>,
    /// Recipients that the server took.
    accepted: Vec<usize>,
    stuffer: Stuffer,
}

impl Session {
    /// Begins a transaction, when [`Step::Ready`].
    pub fn send(&mut self, transaction: Transaction) {
        self.onward.clear();
        let outcomes = vec![None; transaction.recipients.len()];
        match transaction.form(&self.capabilities) {
            Ok(form) => {
                self.current = Some(Current {
                    transaction,
                    form,
                    next: 0,
                    mail_sent: false,
                    data_sent: false,
                    begun: false,
                    ahead: VecDeque::new(),
                    outcomes,
                    accepted: Vec::new(),
                    stuffer: Stuffer::default(),
                });
                self.state = State::Envelope;
            }
            Err(reply) => {
                let reply = self.named(reply);
                // Another of the domain's servers may promise it (RFC 8689, 4.2.1).
                if reply.enhanced == NO_REQUIRETLS {
                    self.onward.extend(0..outcomes.len());
                }
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

    /// The connection is gone or was given up: what that means for the recipients of the
    /// transaction under way. Nothing was taken that was not said to be.
    pub fn lost(&mut self, why: Reply) -> Vec<Outcome> {
        let why = self.named(why);
        self.state = State::Closed(why.clone());
        let Some(current) = self.current.take() else {
            return Vec::new();
        };
        if !current.begun {
            self.onward.extend(current.untold());
        }
        let outcomes = current.outcomes.into_iter();
        outcomes
            .map(|it| it.unwrap_or_else(|| Outcome::Deferred(why.clone())))
            .collect()
    }

    /// Those recipients of the last transaction whom the server said nothing about, though
    /// their outcome is told: it failed before a byte of the message went. Another server may
    /// have them at once (RFC 5321, 5.1).
    pub fn onward(&self) -> &[usize] {
        &self.onward
    }

    /// Sends of the envelope what may go now.
    pub(super) fn advance(&mut self, out: &mut Vec<u8>) {
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
                current.begun = true;
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
    pub(super) fn answered(&mut self, said: &Said, reply: Reply, out: &mut Vec<u8>) {
        self.state = State::Envelope;
        let Some(current) = &mut self.current else {
            return self.close("4.5.0", "the server answers what was not asked");
        };
        match current.ahead.pop_front() {
            Some(Sent::Mail) if said.is_positive() => {}
            Some(Sent::Mail) => {
                // Whoever was named behind it is refused too, and not for his own sake.
                current.next = current.transaction.recipients.len();
                if !said.is_permanent() {
                    self.onward.extend(current.untold());
                }
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
                let outcome = match is_crowded(&reply) {
                    true => Outcome::Deferred(reply),
                    false => refused(said, reply),
                };
                current.set(at, outcome);
            }
            Some(Sent::Data) if said.code == 354 => {
                current.begun = true;
                self.state = State::Body;
            }
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
    pub(super) fn finished(&mut self, said: &Said, reply: Reply) {
        let notifies = self.capabilities.dsn;
        let keeps_time = self.capabilities.deliver_by.is_some();
        let form = self.current.as_ref().map(|it| it.form);
        // It has promised BDAT and does not know it: it may take the message for commands.
        self.unchunked = form == Some(Form::Bdat) && matches!(said.code, 500 | 502);
        if self.unchunked
            && let Some(current) = &mut self.current
        {
            for at in std::mem::take(&mut current.accepted) {
                self.onward.push(at);
                current.set(at, Outcome::Deferred(reply.clone()));
            }
            self.finish();
            return self.close("4.5.0", "the server does not know what it has promised");
        }
        if let Some(current) = &mut self.current {
            for at in std::mem::take(&mut current.accepted) {
                let reply = reply.clone();
                let outcome = match said.is_positive() {
                    true if self.cut => Outcome::Deferred(reply),
                    true => Outcome::Delivered {
                        reply,
                        notifies,
                        keeps_time,
                    },
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
    fn untold(&self) -> impl Iterator<Item = usize> {
        let places = self.outcomes.iter().enumerate();
        places.filter(|it| it.1.is_none()).map(|it| it.0)
    }

    /// The first outcome stands.
    fn set(&mut self, at: usize, outcome: Outcome) {
        if let Some(place) = self.outcomes.get_mut(at)
            && place.is_none()
        {
            *place = Some(outcome);
        }
    }
}

/// Whether a recipient is refused for being one too many: 552 is then as good as 452 (RFC 5321,
/// 4.5.3.1.10). Of a server without status codes (RFC 2034) it has to be supposed.
pub fn is_crowded(reply: &Reply) -> bool {
    let known = ["4.5.3", "5.5.3", "4.0.0", "5.0.0"];
    matches!(reply.code, 452 | 552) && known.contains(&reply.enhanced.as_str())
}

fn refused(said: &Said, reply: Reply) -> Outcome {
    match said.is_permanent() {
        true => Outcome::Failed(reply),
        false => Outcome::Deferred(reply),
    }
}
