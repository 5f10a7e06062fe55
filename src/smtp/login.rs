//! AUTH (RFC 4954).

use super::author::Author;
use super::reply::Reply;
use super::session::{Ask, Asked, Next, Phase, Session, sequence};
use crate::sasl::dialogue::{self, Dialogue};
use crate::sasl::{Denial, Mechanism, Turn};
use crate::wire::Line;

/// Logins that may fail before the connection is closed.
const MAX_FAILURES: u32 = 5;

impl Session {
    pub(super) fn auth(
        &mut self,
        mechanism: &str,
        initial: Option<String>,
        out: &mut Vec<u8>,
    ) -> Next {
        if let Err(reply) = self.may_start_login() {
            return self.say(reply, out);
        }
        let channel = self.channel;
        let Some(mechanism) = Mechanism::find(mechanism, channel) else {
            let text = format!("The mechanisms are {}", Mechanism::names(channel));
            return self.say(Reply::with(504, "5.5.4", text), out);
        };
        let dialogue = Dialogue::new(mechanism, self.nonces.fresh());
        let mut dialogue = dialogue.bind(channel);
        let turn = dialogue.start(initial.as_deref());
        self.login_turn(dialogue, turn, out)
    }

    fn may_start_login(&self) -> Result<(), Reply> {
        if !self.may_log_in() {
            let text = "Begin TLS first: STARTTLS";
            return Err(Reply::new(538, "5.7.11", text));
        }
        if self.account().is_some() {
            return Err(sequence("This connection has logged in"));
        }
        if !self.client.as_ref().is_some_and(|client| client.extended) {
            return Err(sequence("Send EHLO first"));
        }
        // RFC 4954, 4.
        if self.transaction.is_some() {
            return Err(sequence("Log in before MAIL"));
        }
        Ok(())
    }

    pub(super) fn login_line(&mut self, mut dialogue: Dialogue, out: &mut Vec<u8>) -> Next {
        match self.input.line(dialogue::MAX_LINE, true) {
            Line::Partial => {
                self.phase = Phase::Login(dialogue);
                Next::NeedInput
            }
            Line::TooLong => {
                // RFC 4954, 6.
                self.phase = Phase::SkipLine(0);
                let text = "The line of the login is too long";
                self.say(Reply::new(500, "5.5.6", text), out)
            }
            Line::Complete { length, end } => {
                let turn = dialogue.line(self.input.bytes().get(..length).unwrap_or_default());
                self.input.consume(end);
                self.login_turn(dialogue, turn, out)
            }
        }
    }

    pub(super) fn login_turn(&mut self, dialogue: Dialogue, turn: Turn, out: &mut Vec<u8>) -> Next {
        match turn {
            Turn::Challenge(challenge) => {
                // Not a Reply: a challenge may be longer than a reply's text.
                out.extend_from_slice(b"334 ");
                out.extend_from_slice(dialogue::encode(&challenge).as_bytes());
                out.extend_from_slice(b"\r\n");
                self.phase = Phase::Login(dialogue);
                Next::Again
            }
            Turn::Ask(ask) => {
                self.phase = Phase::Asked(Asked::Login(dialogue));
                Next::Ask(Ask::Authenticate(ask))
            }
            Turn::Granted { account, .. } => {
                let grants = std::mem::take(&mut self.grants);
                self.author = Some(Author::Account { account, grants });
                self.login_failures = 0;
                self.say(Reply::new(235, "2.7.0", "Logged in"), out)
            }
            Turn::Denied(denial) => self.denied(denial, out),
        }
    }

    fn denied(&mut self, denial: Denial, out: &mut Vec<u8>) -> Next {
        self.login_failures += 1;
        let reply = refusal(denial);
        reply.write(out);
        self.tally.count_login(&reply);
        let next = self.go_on(Next::Again, out);
        match (next, self.login_failures >= MAX_FAILURES) {
            (Next::Again, true) => {
                self.close(Reply::new(421, "4.7.0", "Too many failed logins"), out)
            }
            (next, _) => next,
        }
    }
}

fn refusal(denial: Denial) -> Reply {
    match denial {
        Denial::Credentials => Reply::new(535, "5.7.8", "Wrong name or password"),
        Denial::Expired => Reply::new(
            535,
            "5.7.8",
            "The certificate has expired, or is not valid yet",
        ),
        // RFC 5248 (X.7.13): permanent until the administrator does something about it.
        Denial::Closed => Reply::new(
            525,
            "5.7.13",
            "Submission is off for this account; ask the administrator",
        ),
        Denial::Disabled => Reply::new(
            525,
            "5.7.13",
            "This account is disabled; ask the administrator",
        ),
        Denial::Connections => Reply::new(
            454,
            "4.7.0",
            "This account has too many connections, try later",
        ),
        Denial::Wait => Reply::new(454, "4.7.0", "Too many failed logins, try later"),
        Denial::Unavailable => Reply::new(454, "4.3.0", "Logins can't be checked now, try later"),
        Denial::Malformed => Reply::new(501, "5.5.2", "That is not how the mechanism goes"),
        Denial::Cancelled => Reply::new(501, "5.7.0", "Login given up"),
    }
}
