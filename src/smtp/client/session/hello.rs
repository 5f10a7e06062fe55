//! From the greeting to the login (RFC 5321, 4.1.1.1; RFC 3207; RFC 4954).

use super::super::reply::Said;
use super::{Session, State, TlsUse};
use crate::mail::outgoing::Reply;
use crate::sasl::Mechanism;
use crate::sasl::client::{Broken, Client};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::net::IpAddr;

/// Replies to one command that only say that the server still works on it or is nonsense.
const MAX_CHALLENGES: usize = 8;

/// What can't be done without a server's help.
const NO_TLS: (&str, &str) = (
    "4.7.5",
    "the server does not offer TLS, which is required here",
);

/// SCRAM's answer, still to be worked out; whole in itself, so that another thread can.
pub struct Proof {
    client: Client,
    challenge: Vec<u8>,
}

/// The answer to a challenge, without base64.
type Answer = Result<Secret<Vec<u8>>, Broken>;

pub struct Proven {
    client: Client,
    answer: Answer,
}

impl Session {
    pub(super) fn ehlo(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("EHLO {}\r\n", self.config.name).as_bytes());
        self.state = State::Ehlo;
    }

    pub(super) fn greeted(&mut self, out: &mut Vec<u8>) {
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
        let (origin, hops) = self.origin.take()?;
        let takes = |name: &str| self.capabilities.xclient.iter().any(|it| it == name);
        let mut words = Vec::new();
        if let Some(origin) = origin.filter(|_| takes("ADDR")) {
            words.push(match origin.to_canonical() {
                IpAddr::V4(four) => format!("ADDR={four}"),
                IpAddr::V6(six) => format!("ADDR=IPV6:{six}"),
            });
            // What the real name is, nobody has asked.
            words.extend(takes("NAME").then(|| "NAME=[UNAVAILABLE]".into()));
        }
        words.extend(takes("TTL").then(|| format!("TTL={hops}")));
        (!words.is_empty()).then(|| format!("XCLIENT {}\r\n", words.join(" ")))
    }

    pub(super) fn log_in(&mut self, out: &mut Vec<u8>) {
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

    pub(super) fn challenged(&mut self, said: &Said, reply: Reply, out: &mut Vec<u8>) {
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
        // LOGIN's prompts are for the eye: not every server encodes them.
        let challenge = BASE64.decode(text).unwrap_or_else(|_| text.into());
        if self.challenges > MAX_CHALLENGES {
            return self.close("4.7.0", "the login failed: it asks and asks");
        }
        if client.is_slow() {
            let client = self.auth.take();
            self.proof = client.map(|client| Proof { client, challenge });
            self.state = State::Proof;
            return;
        }
        let answer = client.respond(&challenge);
        self.respond(answer, out);
    }

    fn respond(&mut self, answer: Answer, out: &mut Vec<u8>) {
        match answer {
            Ok(answer) => {
                out.extend_from_slice(BASE64.encode(answer.reveal()).as_bytes());
                out.extend_from_slice(b"\r\n");
                self.state = State::Auth;
            }
            Err(why) => self.close("4.7.0", &format!("the login failed: {why}")),
        }
    }

    /// What is to be worked out, at [`Step::Prove`](super::Step::Prove).
    pub fn proof(&mut self) -> Option<Proof> {
        self.proof.take()
    }

    /// It has been.
    pub fn proven(&mut self, proven: Proven, out: &mut Vec<u8>) {
        if self.state == State::Proof {
            self.auth = Some(proven.client);
            self.respond(proven.answer, out);
        }
    }
}

impl Proof {
    /// Takes as long as the server wants: 100 ms and more on a small board.
    pub fn work(mut self) -> Proven {
        Proven {
            answer: self.client.respond(&self.challenge),
            client: self.client,
        }
    }
}
