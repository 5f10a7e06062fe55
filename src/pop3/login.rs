//! AUTH, USER and PASS (RFC 5034, RFC 1939), with the response codes of RFC 3206.

use super::session::{Ask, Asked, Next, Phase, Session, Step};
use super::text::Text;
use crate::sasl::dialogue::{self, Dialogue};
use crate::sasl::{self, Denial, Mechanism, Turn};
use crate::secret::Secret;
use crate::wire::Line;

/// Logins that may fail before the connection is closed.
const MAX_LOGIN_FAILURES: u32 = 5;

impl Session {
    /// AUTH alone lists the mechanisms, as clients of old ask.
    pub(super) fn mechanisms(&mut self, out: &mut Vec<u8>) -> Next {
        self.ok(Text::Mechanisms, out);
        if self.may_log_in() {
            for mechanism in Mechanism::offered(self.channel) {
                out.extend_from_slice(mechanism.name().as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b".\r\n");
        Next::Again
    }

    pub(super) fn auth(
        &mut self,
        mechanism: &str,
        initial: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Next {
        let channel = self.channel;
        let Some(mechanism) = Mechanism::find(mechanism, channel) else {
            let names = Mechanism::names(channel);
            return self.err_with(None, Text::MechanismsAre, &[&names], out);
        };
        let dialogue = Dialogue::new(mechanism, self.nonces.fresh());
        let mut dialogue = dialogue.bind(channel);
        let turn = dialogue.start(initial);
        self.login_turn(Some(dialogue), turn, out)
    }

    pub(super) fn pass(&mut self, password: Secret<String>, out: &mut Vec<u8>) -> Next {
        let Some(user) = self.user.take() else {
            return self.err(Text::SendUser, out);
        };
        let login = sasl::prepare(&user).into_owned();
        let ask = sasl::Ask::Password { login, password };
        self.ask(Asked::Login(None), Ask::Authenticate(ask))
    }

    pub(super) fn login_line(&mut self, mut dialogue: Dialogue, out: &mut Vec<u8>) -> Next {
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

    pub(super) fn login_turn(
        &mut self,
        dialogue: Option<Dialogue>,
        turn: Turn,
        out: &mut Vec<u8>,
    ) -> Next {
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

    fn denied(&mut self, denial: Denial, out: &mut Vec<u8>) -> Next {
        let (code, text) = match denial {
            Denial::Credentials => (Some("AUTH"), Text::WrongPassword),
            Denial::Expired => (Some("AUTH"), Text::CertificateExpired),
            // A policy counts among the credentials (RFC 3206, 4).
            Denial::Closed => (Some("AUTH"), Text::LoginClosed),
            Denial::Connections => (Some("SYS/TEMP"), Text::TooManyConnections),
            Denial::Disabled => (Some("SYS/PERM"), Text::AccountDisabled),
            Denial::Wait => (Some("SYS/TEMP"), Text::LoginLater),
            Denial::Unavailable => (Some("SYS/TEMP"), Text::LoginUnavailable),
            Denial::Malformed => (None, Text::LoginMalformed),
            Denial::Cancelled => (None, Text::LoginCancelled),
        };
        self.login_failures += 1;
        let next = self.err_with(code, text, &[], out);
        match (next, self.login_failures >= MAX_LOGIN_FAILURES) {
            (Next::Again, true) => self.close(Text::LoginTooOften, out),
            (next, _) => next,
        }
    }
}
