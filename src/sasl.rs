//! SASL mechanisms of the server side: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 5802,
//! 7677). Pure: an [`Exchange`] turns the client's answers into turns; what only the
//! login service can know is an [`Ask`], answered by a [`Verdict`]. A protocol of lines
//! talks to a [`dialogue::Dialogue`].
//!
//! SCRAM-SHA-256-PLUS binds a login to its TLS connection by `tls-exporter` (RFC 9266), so that
//! who sits between with a certificate of their own can't pass it on. No mechanism lets one
//! login act as another.

pub mod client;
pub mod dialogue;

use crate::mail::Account;
use crate::secret::{ScramKeys, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac};
use std::borrow::Cow;
use subtle::ConstantTimeEq;

/// Longest client answer, bytes after base64 decoding.
pub const MAX_RESPONSE: usize = 9 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Login,
    ScramSha256,
    ScramSha256Plus,
}

/// What a login can be bound to: `tls-exporter` of the connection.
pub type Binding = [u8; 32];

/// The one channel binding that is offered (RFC 9266).
const BINDING: &str = "p=tls-exporter";

impl Mechanism {
    /// In the order in which they are offered.
    pub const ALL: [Mechanism; 4] = [
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::ScramSha256,
        Mechanism::ScramSha256Plus,
    ];

    /// By its registered name, in any case.
    pub fn parse(name: &str) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .find(|it| it.name().eq_ignore_ascii_case(name))
    }

    /// Those that a connection offers, which can be bound to or not.
    pub fn offered(bound: bool) -> impl Iterator<Item = Mechanism> {
        let offered = move |it: &Mechanism| bound || *it != Mechanism::ScramSha256Plus;
        Mechanism::ALL.into_iter().filter(offered)
    }

    /// As [`Mechanism::parse`], of those that are offered.
    pub fn find(name: &str, bound: bool) -> Option<Mechanism> {
        Mechanism::offered(bound).find(|it| it.name().eq_ignore_ascii_case(name))
    }

    /// The names of those that are offered, between spaces.
    pub fn names(bound: bool) -> String {
        let names: Vec<&str> = Mechanism::offered(bound).map(Mechanism::name).collect();
        names.join(" ")
    }

    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
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
    /// SCRAM has been won (or lost): who is it, and count it.
    Proof { login: String, won: bool },
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
    /// Too many failures from there: try later.
    Wait,
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
    binding: Option<Binding>,
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
            binding: None,
            state: State::Initial,
        }
    }

    /// What the connection can be bound to; without it -PLUS fails.
    pub fn bind(self, binding: Option<Binding>) -> Exchange {
        Exchange { binding, ..self }
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
                    bound.extend_from_slice(&self.binding?);
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
        match (self.mechanism, self.binding) {
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

/// `gs2-header client-first-message-bare` (RFC 5802, 7):
/// `("n" / "y" / "p=" cb-name) "," ["a=" saslname] "," "n=" saslname "," "r=" c-nonce
/// ["," extensions]`.
struct ClientFirst {
    /// What stands before the first comma.
    flag: String,
    gs2_header: String,
    bare: String,
    login: String,
    nonce: String,
}

impl ClientFirst {
    /// Refuses `m=`: no extension is known.
    fn parse(message: &str) -> Option<ClientFirst> {
        let (flag, rest) = message.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        let mut attributes = bare.split(',');
        let login = sasl_name(attributes.next()?.strip_prefix("n=")?)?;
        let login = prepare(&login).into_owned();
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|b| b.is_ascii_graphic()) || login.is_empty() {
            return None;
        }
        let authzid = match authzid.strip_prefix("a=") {
            Some(name) => sasl_name(name)?,
            None if authzid.is_empty() => String::new(),
            None => return None,
        };
        if !may_act_as(&login, &authzid) {
            return None;
        }
        Some(ClientFirst {
            flag: flag.into(),
            gs2_header: message.get(..message.len() - bare.len())?.into(),
            bare: bare.into(),
            login,
            nonce: nonce.into(),
        })
    }
}

/// `saslname`: a comma is written `=2C`, an equals sign `=3D`, and `=` means nothing else.
fn sasl_name(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next()?);
    for part in parts {
        let (c, rest) = match part.get(..2)? {
            "2C" => (',', part.get(2..)?),
            "3D" => ('=', part.get(2..)?),
            _ => return None,
        };
        name.push(c);
        name.push_str(rest);
    }
    Some(name)
}

/// `client-final-message = "c=" base64 "," "r=" nonce ["," extensions] "," "p=" base64`.
struct ClientFinal<'a> {
    channel_binding: Vec<u8>,
    nonce: &'a str,
    without_proof: &'a str,
    proof: [u8; 32],
}

impl ClientFinal<'_> {
    fn parse(message: &str) -> Option<ClientFinal<'_>> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let channel_binding = attributes.next()?.strip_prefix("c=")?;
        Some(ClientFinal {
            channel_binding: BASE64.decode(channel_binding).ok()?,
            nonce: attributes.next()?.strip_prefix("r=")?,
            without_proof,
            proof: BASE64.decode(proof).ok()?.try_into().ok()?,
        })
    }
}

/// `H(ClientProof XOR HMAC(StoredKey, AuthMessage)) = StoredKey`, compared in constant time.
fn proves(keys: &ScramKeys, signed: &str, proof: &[u8; 32]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &keys.stored_key);
    let mut client_key = *proof;
    for (byte, mask) in client_key
        .iter_mut()
        .zip(hmac::sign(&key, signed.as_bytes()).as_ref())
    {
        *byte ^= mask;
    }
    let hash = digest::digest(&digest::SHA256, &client_key);
    hash.as_ref().ct_eq(&keys.stored_key).into()
}

/// `"v=" base64(HMAC(ServerKey, AuthMessage))`: proves the server to the client.
fn server_signature(keys: &ScramKeys, signed: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &keys.server_key);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("v={}", BASE64.encode(signature)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::AccountId;
    use ring::pbkdf2;
    use std::num::NonZeroU32;

    /// The exchange of RFC 7677, section 3.
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn salted(password: &str, salt: &[u8]) -> hmac::Key {
        let iterations = NonZeroU32::new(4096).unwrap();
        let mut salted = [0; 32];
        let password = password.as_bytes();
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            password,
            &mut salted,
        );
        hmac::Key::new(hmac::HMAC_SHA256, &salted)
    }

    fn keys(password: &str) -> ScramKeys {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let key = salted(password, &salt);
        let client = hmac::sign(&key, b"Client Key");
        let stored = digest::digest(&digest::SHA256, client.as_ref());
        ScramKeys {
            salt,
            iterations: 4096,
            stored_key: stored.as_ref().try_into().unwrap(),
            server_key: hmac::sign(&key, b"Server Key").as_ref().try_into().unwrap(),
        }
    }

    fn account() -> Account {
        Account {
            id: AccountId(1),
            address: crate::address::Address::parse("user@example.org").unwrap(),
            aliases: Vec::new(),
        }
    }

    fn scram() -> Exchange {
        Exchange::new(Mechanism::ScramSha256, SERVER_NONCE.into())
    }

    /// Plays the RFC's exchange against `keys`, up to the question who has won.
    fn scram_proof(keys: ScramKeys) -> (Exchange, bool) {
        let mut exchange = scram();
        assert!(matches!(exchange.start(None), Turn::Challenge(c) if c.is_empty()));
        let turn = exchange.respond(CLIENT_FIRST.as_bytes());
        assert!(matches!(turn, Turn::Ask(Ask::Keys { login }) if login == "user"));
        let turn = exchange.verdict(Verdict::Keys(keys));
        assert!(matches!(turn, Turn::Challenge(c) if c == SERVER_FIRST.as_bytes()));
        match exchange.respond(CLIENT_FINAL.as_bytes()) {
            Turn::Ask(Ask::Proof { login, won }) if login == "user" => (exchange, won),
            turn => panic!("{turn:?}"),
        }
    }

    #[test]
    fn scram_matches_the_rfc() {
        let (mut exchange, won) = scram_proof(keys("pencil"));
        assert!(won);
        match exchange.verdict(Verdict::Granted(account())) {
            Turn::Granted { last, .. } => assert_eq!(last.unwrap(), SERVER_FINAL.as_bytes()),
            turn => panic!("{turn:?}"),
        }
    }

    #[test]
    fn scram_with_a_wrong_password_is_lost_whatever_the_verdict() {
        let (mut exchange, won) = scram_proof(keys("pen"));
        assert!(!won);
        let turn = exchange.verdict(Verdict::Granted(account()));
        assert!(matches!(turn, Turn::Denied(Denial::Credentials)));
    }

    /// What -PLUS comes to for a client that knows the password and these of the connection.
    fn plus(server: Option<Binding>, flag: &str, client: Binding) -> Turn {
        let mechanism = Mechanism::ScramSha256Plus;
        let mut exchange = Exchange::new(mechanism, SERVER_NONCE.into()).bind(server);
        let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO";
        let turn = exchange.start(Some(format!("{flag},,{bare}").as_bytes()));
        if !matches!(turn, Turn::Ask(Ask::Keys { .. })) {
            return turn;
        }
        exchange.verdict(Verdict::Keys(keys("pencil")));
        let bound = [format!("{flag},,").as_bytes(), &client].concat();
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let without_proof = format!("c={},r={nonce}", BASE64.encode(bound));
        let signed = format!("{bare},{SERVER_FIRST},{without_proof}");
        let salted = salted("pencil", &keys("pencil").salt);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored = hmac::Key::new(hmac::HMAC_SHA256, &keys("pencil").stored_key);
        let signature = hmac::sign(&stored, signed.as_bytes());
        let both = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = both.map(|(key, mask)| key ^ mask).collect();
        let last = format!("{without_proof},p={}", BASE64.encode(proof));
        exchange.respond(last.as_bytes())
    }

    #[test]
    fn plus_holds_on_the_same_connection_alone() {
        let here = [7; 32];
        let turn = plus(Some(here), BINDING, here);
        assert!(
            matches!(turn, Turn::Ask(Ask::Proof { won: true, .. })),
            "{turn:?}"
        );
        for (server, flag, client) in [
            (Some(here), BINDING, [8; 32]),
            (None, BINDING, here),
            (Some(here), "n", here),
            (Some(here), "y", here),
            (Some(here), "p=tls-unique", here),
            (Some(here), "p=tls-server-end-point", here),
        ] {
            let turn = plus(server, flag, client);
            assert!(matches!(turn, Turn::Denied(Denial::Malformed)), "{flag}");
        }
    }

    #[test]
    fn a_client_that_was_kept_from_binding_finds_out() {
        for (binding, flag, taken) in [
            (None, "y", true),
            (Some([7; 32]), "y", false),
            (Some([7; 32]), "n", true),
            (Some([7; 32]), BINDING, false),
        ] {
            let mut exchange = scram().bind(binding);
            let turn = exchange.start(Some(format!("{flag},,n=user,r=abc").as_bytes()));
            assert_eq!(matches!(turn, Turn::Ask(_)), taken, "{flag}");
        }
        assert_eq!(Mechanism::names(false), "PLAIN LOGIN SCRAM-SHA-256");
        assert!(Mechanism::names(true).ends_with(" SCRAM-SHA-256-PLUS"));
        assert_eq!(Mechanism::find("scram-sha-256-plus", false), None);
    }

    #[test]
    fn scram_refuses_what_it_does_not_offer() {
        for first in [
            "p=tls-exporter,,n=user,r=abc",
            "n,a=other,n=user,r=abc",
            "n,,m=x,n=user,r=abc",
            "n,,n=us=er,r=abc",
            "n,,n=user=2,r=abc",
            "n,,n=,r=abc",
            "n,,n=user,r=",
            "n,,n=user",
            "n,",
            "",
        ] {
            let turn = scram().start(Some(first.as_bytes()));
            assert!(matches!(turn, Turn::Denied(Denial::Malformed)), "{first}");
        }
        for last in ["c=eSws", "c=biws,r=other,p=AA==", "c=biws,r=x", "p=", ""] {
            let mut exchange = scram();
            exchange.start(Some(CLIENT_FIRST.as_bytes()));
            exchange.verdict(Verdict::Keys(keys("pencil")));
            let turn = exchange.respond(last.as_bytes());
            assert!(matches!(turn, Turn::Denied(Denial::Malformed)), "{last}");
        }
    }

    #[test]
    fn scram_names_are_unescaped() {
        let turn = scram().start(Some(b"y,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=abc"));
        assert!(matches!(turn, Turn::Ask(Ask::Keys { login }) if login == "a,b=c"));
    }

    fn plain(message: &[u8]) -> Turn {
        Exchange::new(Mechanism::Plain, String::new()).start(Some(message))
    }

    #[test]
    fn plain_asks_for_the_password() {
        for message in [&b"\0ann\0pw"[..], b"ann\0ann\0pw", b"ANN\0ann\0pw"] {
            match plain(message) {
                Turn::Ask(Ask::Password { login, password }) => {
                    assert_eq!((login.as_str(), password.reveal().as_str()), ("ann", "pw"));
                }
                turn => panic!("{turn:?}"),
            }
        }
    }

    #[test]
    fn plain_refuses_to_act_for_another_and_garbage() {
        let turn = plain(b"bob\0ann\0pw");
        assert!(matches!(turn, Turn::Denied(Denial::Credentials)));
        let long = [b"\0a\0".as_slice(), &[b'x'; MAX_RESPONSE]].concat();
        for message in [
            &b""[..],
            b"ann",
            b"\0\0pw",
            b"\0ann\0",
            b"\0a\0b\0c",
            b"\0a\0\xff",
            &long,
        ] {
            assert!(matches!(plain(message), Turn::Denied(Denial::Malformed)));
        }
    }

    #[test]
    fn login_prompts_with_and_without_an_initial_response() {
        for initial in [None, Some(&b""[..]), Some(b"ann")] {
            let mut exchange = Exchange::new(Mechanism::Login, String::new());
            let mut turn = exchange.start(initial);
            if initial != Some(b"ann") {
                assert!(matches!(turn, Turn::Challenge(c) if c == b"Username:"));
                turn = exchange.respond(b"ann");
            }
            assert!(matches!(turn, Turn::Challenge(c) if c == b"Password:"));
            let turn = exchange.respond(b"pw");
            assert!(matches!(turn, Turn::Ask(Ask::Password { login, .. }) if login == "ann"));
            let turn = exchange.verdict(Verdict::Denied(Denial::Wait));
            assert!(matches!(turn, Turn::Denied(Denial::Wait)));
            let turn = exchange.respond(b"again");
            assert!(matches!(turn, Turn::Denied(Denial::Malformed)));
        }
    }
}
