//! LOGIN and AUTHENTICATE (RFC 3501, 6.2.2 and 6.2.3; RFC 4959).

use super::{Ask, Doing, MAX_LOGINS, Outcome, Session, State, Step};
use crate::imap::framer::LineEvent;
use crate::imap::response::{Code, continuation};
use crate::mail::Account;
use crate::sasl::{self, Denial, Exchange, Mechanism, Turn, Verdict};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A login in progress.
pub(super) enum Login {
    /// LOGIN: one question, one verdict.
    Password,
    /// AUTHENTICATE, before the driver has made the exchange.
    Begun { initial: Option<Secret<Vec<u8>>> },
    /// The turn to take next; `None` while the client's or the driver's answer is awaited.
    Exchange {
        exchange: Box<Exchange>,
        next: Option<Turn>,
    },
    /// The mechanism's last word was sent; an empty answer ends it (RFC 3501, 6.2.2).
    Last { account: Account },
}

impl Session {
    pub(super) fn login(&mut self, user: String, password: Secret<String>) -> Step {
        self.doing = Doing::Login(Box::new(Login::Password));
        Step::Ask(Box::new(Ask::Login(sasl::Ask::Password {
            login: sasl::prepare(&user).into_owned(),
            password,
        })))
    }

    pub(super) fn authenticate(
        &mut self,
        mechanism: &str,
        initial: Option<Secret<Vec<u8>>>,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        let channel = self.channel;
        let Some(mechanism) = Mechanism::find(mechanism, channel) else {
            let text = "No such mechanism: CAPABILITY names those that there are.";
            self.complete(&Outcome::no(Code::Cannot, text), out);
            return None;
        };
        self.doing = Doing::Login(Box::new(Login::Begun { initial }));
        Some(Step::Ask(Box::new(Ask::Exchange { mechanism })))
    }

    /// The answer to [`Ask::Exchange`].
    pub fn begin(&mut self, mut exchange: Exchange) {
        let Doing::Login(login) = &mut self.doing else {
            return;
        };
        let next = match &**login {
            Login::Begun { initial } => {
                let initial = initial.as_ref().map(|it| it.reveal().as_slice());
                Some(exchange.start(initial))
            }
            _ => None,
        };
        let exchange = Box::new(exchange);
        **login = Login::Exchange { exchange, next };
    }

    /// The answer to [`Ask::Login`].
    pub fn verdict(&mut self, verdict: Verdict, out: &mut Vec<u8>) {
        let Doing::Login(login) = &mut self.doing else {
            return;
        };
        match &mut **login {
            Login::Exchange { exchange, next } => *next = Some(exchange.verdict(verdict)),
            _ => match verdict {
                Verdict::Granted(account) => self.granted(account, out),
                Verdict::Denied(denial) => self.denied(denial, out),
                Verdict::Keys(_) => self.denied(Denial::Unavailable, out),
            },
        }
    }

    /// Takes the next turn of the exchange, or the client's next line.
    pub(super) fn go_on_login(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let Doing::Login(login) = &mut self.doing else {
            return None;
        };
        let turn = match &mut **login {
            Login::Exchange { next, .. } => next.take(),
            _ => None,
        };
        match turn {
            Some(turn) => self.take_turn(turn, out),
            None => self.login_line(out),
        }
    }

    fn take_turn(&mut self, turn: Turn, out: &mut Vec<u8>) -> Option<Step> {
        match turn {
            Turn::Challenge(challenge) => write_challenge(&challenge, out),
            Turn::Ask(ask) => return Some(Step::Ask(Box::new(Ask::Login(ask)))),
            Turn::Granted {
                account,
                last: Some(last),
            } => {
                write_challenge(&last, out);
                self.doing = Doing::Login(Box::new(Login::Last { account }));
            }
            Turn::Granted {
                account,
                last: None,
            } => self.granted(account, out),
            Turn::Denied(denial) => self.denied(denial, out),
        }
        None
    }

    fn login_line(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let line = match self.framer.line(&mut self.input) {
            LineEvent::NeedInput => return Some(Step::NeedInput),
            LineEvent::TooLong => {
                self.bye("The line is too long.", out);
                return None;
            }
            LineEvent::Line(line) => line,
        };
        if line.reveal() == b"*" {
            self.denied(Denial::Cancelled, out);
            return None;
        }
        let Ok(answer) = STANDARD.decode(line.reveal()).map(Secret::new) else {
            self.denied(Denial::Malformed, out);
            return None;
        };
        let Doing::Login(login) = &mut self.doing else {
            return None;
        };
        match &mut **login {
            Login::Exchange { exchange, next } => *next = Some(exchange.respond(answer.reveal())),
            Login::Last { account } if answer.reveal().is_empty() => {
                let account = account.clone();
                self.granted(account, out);
            }
            _ => self.denied(Denial::Malformed, out),
        }
        None
    }

    fn granted(&mut self, account: Account, out: &mut Vec<u8>) {
        self.account = Some(account.id);
        self.state = State::User;
        self.framer.logged_in(self.max_command);
        let code = format!("CAPABILITY {}", self.capabilities());
        let outcome = Outcome::ok("Logged in.").with(Code::Written(&code));
        self.complete(&outcome, out);
    }

    /// In place of a verdict, where the login can't be decided: says why not.
    pub fn put_off(&mut self, text: String, out: &mut Vec<u8>) {
        self.refused(&Outcome::no(Code::Unavailable, text), out);
    }

    fn denied(&mut self, denial: Denial, out: &mut Vec<u8>) {
        let outcome = match denial {
            Denial::Credentials => Outcome::no(
                Code::AuthenticationFailed,
                "The login name or the password is wrong.",
            ),
            Denial::Expired => Outcome::no(
                Code::Expired,
                "This certificate has expired, or is not valid yet.",
            ),
            // RFC 5530, 3: nothing that the program could do about it.
            Denial::Closed => Outcome::no(
                Code::ContactAdmin,
                "IMAP is off for this account: ask the administrator.",
            ),
            Denial::Disabled => Outcome::no(
                Code::ContactAdmin,
                "This account is disabled: ask the administrator.",
            ),
            Denial::Connections => Outcome::no(
                Code::Limit,
                "This account has too many connections: close some, or wait a minute.",
            ),
            Denial::Wait => Outcome::no(
                Code::Limit,
                "Too many logins failed from there: wait a minute, then try again.",
            ),
            Denial::Unavailable => Outcome::no(
                Code::Unavailable,
                "Logins can't be checked now: try again in a minute.",
            ),
            Denial::Malformed => Outcome::bad("That is no answer to this mechanism."),
            Denial::Cancelled => Outcome::bad("The login was given up."),
        };
        self.refused(&outcome, out);
    }

    fn refused(&mut self, outcome: &Outcome, out: &mut Vec<u8>) {
        self.complete(outcome, out);
        self.refused_logins += 1;
        if self.refused_logins >= MAX_LOGINS {
            self.bye("Too many logins failed: connect again later.", out);
        }
    }
}

fn write_challenge(challenge: &[u8], out: &mut Vec<u8>) {
    continuation(out, &STANDARD.encode(challenge));
}
