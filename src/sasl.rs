//! SASL mechanisms of the server side: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 5802,
//! 7677), EXTERNAL (RFC 4422, appendix A). Pure: an [`Exchange`] turns the client's answers
//! into turns; what only the login service can know is an [`Ask`], answered by a [`Verdict`].
//! A protocol of lines talks to a [`dialogue::Dialogue`].
//!
//! SCRAM-SHA-256-PLUS binds a login to its TLS connection by `tls-exporter` (RFC 9266), so that
//! who sits between with a certificate of their own can't pass it on. No mechanism lets one
//! login act as another.

pub mod client;
pub mod dialogue;
mod scram;

use crate::mail::Account;
use crate::mail::certificate::Certificate;
use crate::secret::{ScramKeys, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use scram::{ClientFinal, ClientFirst, proves, server_signature};
use std::borrow::Cow;

/// Longest client answer, bytes after base64 decoding.
pub const MAX_RESPONSE: usize = 9 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Login,
    ScramSha256,
    ScramSha256Plus,
    /// By the client's certificate (RFC 4422, appendix A).
    External,
}

/// What a login can be bound to: `tls-exporter` of the connection.
pub type Binding = [u8; 32];

/// What a connection brings to a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    pub binding: Option<Binding>,
    /// That the client has shown, if an account has it.
    pub certificate: Option<Certificate>,
    /// Whether mechanisms that show the password (PLAIN, LOGIN) are kept from it.
    pub hides_passwords: bool,
}

/// The one channel binding that is offered (RFC 9266).
const BINDING: &str = "p=tls-exporter";

impl Mechanism {
    /// In the order in which they are offered.
    pub const ALL: [Mechanism; 5] = [
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::ScramSha256,
        Mechanism::ScramSha256Plus,
        Mechanism::External,
    ];

    /// By its registered name, in any case.
    pub fn parse(name: &str) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .find(|it| it.name().eq_ignore_ascii_case(name))
    }

    /// Those that a connection offers.
    pub fn offered(channel: Channel) -> impl Iterator<Item = Mechanism> {
        let offered = move |it: &Mechanism| match it {
            Mechanism::ScramSha256Plus => channel.binding.is_some(),
            Mechanism::External => channel.certificate.is_some(),
            Mechanism::Plain | Mechanism::Login => !channel.hides_passwords,
            Mechanism::ScramSha256 => true,
        };
        Mechanism::ALL.into_iter().filter(offered)
    }

    /// As [`Mechanism::parse`], of those that are offered.
    pub fn find(name: &str, channel: Channel) -> Option<Mechanism> {
        Mechanism::offered(channel).find(|it| it.name().eq_ignore_ascii_case(name))
    }

    /// The names of those that are offered, between spaces.
    pub fn names(channel: Channel) -> String {
        let names: Vec<&str> = Mechanism::offered(channel).map(Mechanism::name).collect();
        names.join(" ")
    }

    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::External => "EXTERNAL",
        }
    }
}

/// What the exchange wants next.
#[derive(Debug)]
pub enum Turn {
    /// Send this (base64 is the protocol's part) and give the answer to [`Exchange::respond`].
    Challenge(Vec<u8>),
    /// Let the login service answer, and give that to [`Exchange::verdict`].
    Ask(Ask),
    /// The login holds. `last` is data for the client that a success may carry; where the
    /// protocol can't carry it, it is sent as a challenge first and an empty answer taken.
    Granted {
        account: Account,
        last: Option<Vec<u8>>,
    },
    Denied(Denial),
}

#[derive(Debug)]
pub enum Ask {
    /// Is this the password of this login name?
    Password {
        login: String,
        password: Secret<String>,
    },
    /// The SCRAM keys of this login name; for an unknown one, steady made-up ones.
    Keys { login: String },
    /// SCRAM has been won (or lost): who is it, and count it. `won` is the stored key that the
    /// client has proved to know.
    Proof {
        login: String,
        won: Option<[u8; 32]>,
    },
    /// Whose certificate is this, and is that whom the client wants to act as? Empty: whoever
    /// it is.
    Certificate {
        certificate: Certificate,
        acting_as: String,
    },
}

#[derive(Debug)]
pub enum Verdict {
    Granted(Account),
    Keys(ScramKeys),
    Denied(Denial),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Unknown name or wrong password: never told apart.
    Credentials,
    /// The client's certificate has expired, or is not valid yet.
    Expired,
    /// The password is right; the owner lets nobody log in to the account.
    Disabled,
    /// Too many failures from there: try later.
    Wait,
    /// The password is right, and this service closed to the account.
    Closed,
    /// The account has as many connections of this service as it may.
    Connections,
    /// The store can't answer now.
    Unavailable,
    /// The client's bytes are no such exchange.
    Malformed,
    /// The client gave up with `*`.
    Cancelled,
}

/// One AUTH or AUTHENTICATE in progress.
pub struct Exchange {
    mechanism: Mechanism,
    nonce: String,
    channel: Channel,
    state: State,
}

/// What the exchange waits for.
enum State {
    Initial,
    /// LOGIN: the password for this name.
    Password {
        login: String,
    },
    /// A password or a proof is with the login service. `last` goes to a client that is
    /// granted; `won` is false where no verdict can grant it any more.
    Verdict {
        won: bool,
        last: Option<Vec<u8>>,
    },
    /// SCRAM: the keys are with the login service.
    Keys(ClientFirst),
    /// SCRAM: the client's final message.
    Proof {
        login: String,
        /// `client-first-message-bare "," server-first-message`.
        so_far: String,
        gs2_header: String,
        nonce: String,
        keys: ScramKeys,
    },
    Done,
}

impl Exchange {
    /// `nonce` is fresh printable randomness for SCRAM, without a comma.
    pub fn new(mechanism: Mechanism, nonce: String) -> Exchange {
        Exchange {
            mechanism,
            nonce,
            channel: Channel::default(),
            state: State::Initial,
        }
    }

    /// What the connection brings; without it -PLUS and EXTERNAL fail.
    pub fn bind(self, channel: Channel) -> Exchange {
        Exchange { channel, ..self }
    }

    /// The first turn: `initial` is the initial response where the command carried one
    /// (an empty one is `Some(&[])`).
    pub fn start(&mut self, initial: Option<&[u8]>) -> Turn {
        match (self.mechanism, initial) {
            // An empty initial response names nobody: ask.
            (Mechanism::Login, None | Some([])) => Turn::Challenge(b"Username:".to_vec()),
            (_, None) => Turn::Challenge(Vec::new()),
            (_, Some(initial)) => self.respond(initial),
        }
    }

    /// The client's answer to a challenge, base64 decoded.
    pub fn respond(&mut self, answer: &[u8]) -> Turn {
        self.answered(answer)
            .unwrap_or(Turn::Denied(Denial::Malformed))
    }

    /// `None` if the answer is none of this mechanism's.
    fn answered(&mut self, answer: &[u8]) -> Option<Turn> {
        if answer.len() > MAX_RESPONSE {
            return None;
        }
        let answer = std::str::from_utf8(answer).ok()?;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Initial => match self.mechanism {
                Mechanism::Plain => self.plain(answer),
                Mechanism::External => self.external(answer),
                Mechanism::Login => {
                    let login = prepare(answer).into_owned();
                    self.state = State::Password { login };
                    Some(Turn::Challenge(b"Password:".to_vec()))
                }
                Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                    let first = ClientFirst::parse(answer)?;
                    if !self.is_bound_as(&first.flag) {
                        return None;
                    }
                    let login = first.login.clone();
                    self.state = State::Keys(first);
                    Some(Turn::Ask(Ask::Keys { login }))
                }
            },
            State::Password { login } => Some(self.ask_password(login, answer)),
            State::Proof {
                login,
                so_far,
                gs2_header,
                nonce,
                keys,
            } => {
                let last = ClientFinal::parse(answer)?;
                let mut bound = gs2_header.into_bytes();
                if self.mechanism == Mechanism::ScramSha256Plus {
                    bound.extend_from_slice(&self.channel.binding?);
                }
                if last.nonce != nonce || last.channel_binding != bound {
                    return None;
                }
                let signed = format!("{so_far},{}", last.without_proof);
                let won = proves(&keys, &signed, &last.proof);
                self.state = State::Verdict {
                    won,
                    last: Some(server_signature(&keys, &signed)),
                };
                let won = won.then_some(keys.stored_key);
                Some(Turn::Ask(Ask::Proof { login, won }))
            }
            State::Verdict { .. } | State::Keys(_) | State::Done => None,
        }
    }

    /// The login service's answer to an [`Ask`].
    pub fn verdict(&mut self, verdict: Verdict) -> Turn {
        match (std::mem::replace(&mut self.state, State::Done), verdict) {
            (_, Verdict::Denied(denial)) => Turn::Denied(denial),
            (State::Verdict { won: true, last }, Verdict::Granted(account)) => {
                Turn::Granted { account, last }
            }
            (State::Keys(first), Verdict::Keys(keys)) => self.server_first(first, keys),
            _ => Turn::Denied(Denial::Credentials),
        }
    }

    /// RFC 5802, 6: -PLUS binds; without it `n` says that the client can't, and `y` that it
    /// could but saw no offer, which is a lie told to it where there was one.
    fn is_bound_as(&self, flag: &str) -> bool {
        match (self.mechanism, self.channel.binding) {
            (Mechanism::ScramSha256Plus, Some(_)) => flag == BINDING,
            (Mechanism::ScramSha256Plus, None) => false,
            (_, Some(_)) => flag == "n",
            (_, None) => matches!(flag, "n" | "y"),
        }
    }

    /// `message = [authzid] NUL authcid NUL passwd` (RFC 4616, 2).
    fn plain(&mut self, message: &str) -> Option<Turn> {
        let mut parts = message.split('\0');
        let (authzid, authcid, password) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || authcid.is_empty() || password.is_empty() {
            return None;
        }
        let login = prepare(authcid).into_owned();
        if !may_act_as(&login, authzid) {
            return Some(Turn::Denied(Denial::Credentials));
        }
        Some(self.ask_password(login, password))
    }

    /// `[authzid]`, without NUL (RFC 4422, appendix A).
    fn external(&mut self, authzid: &str) -> Option<Turn> {
        let certificate = self.channel.certificate?;
        if authzid.contains('\0') {
            return None;
        }
        self.state = State::Verdict {
            won: true,
            last: None,
        };
        let acting_as = prepare(authzid).into_owned();
        Some(Turn::Ask(Ask::Certificate {
            certificate,
            acting_as,
        }))
    }

    fn ask_password(&mut self, login: String, password: &str) -> Turn {
        self.state = State::Verdict {
            won: true,
            last: None,
        };
        Turn::Ask(Ask::Password {
            login,
            password: Secret::new(password.into()),
        })
    }

    /// `server-first-message = "r=" nonce "," "s=" salt "," "i=" iteration-count`.
    fn server_first(&mut self, first: ClientFirst, keys: ScramKeys) -> Turn {
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let salt = BASE64.encode(&keys.salt);
        let message = format!("r={nonce},s={salt},i={}", keys.iterations);
        self.state = State::Proof {
            login: first.login,
            so_far: format!("{},{message}", first.bare),
            gs2_header: first.gs2_header,
            nonce,
            keys,
        };
        Turn::Challenge(message.into_bytes())
    }
}

/// A login name, however it came, by SASLprep (RFC 4013); what it forbids stays as it is, to be denied
/// like any unknown name.
pub fn prepare(login: &str) -> Cow<'_, str> {
    stringprep::saslprep(login).unwrap_or(Cow::Borrowed(login))
}

/// Nobody acts for another: the authorization identity is absent or the login itself.
fn may_act_as(login: &str, authzid: &str) -> bool {
    authzid.is_empty() || prepare(authzid).to_lowercase() == login.to_lowercase()
}

#[cfg(test)]
mod tests;
