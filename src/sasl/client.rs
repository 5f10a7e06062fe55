//! The client's side of SASL, for servers that want a login: SCRAM-SHA-256 (RFC 5802, 7677),
//! PLAIN (RFC 4616), LOGIN. Pure.

use super::{BASE64, Mechanism};
use crate::secret::Secret;
use base64::Engine;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Most PBKDF2 rounds that a server may make us do; some 100 ms on a small board.
pub const MAX_ITERATIONS: u32 = 200_000;
/// Fewest, below which a server's record of the password is not worth the name (RFC 7677, 4).
pub const MIN_ITERATIONS: u32 = 4096;

/// The channel is bound to nothing (RFC 5802, 7).
const GS2_HEADER: &str = "n,,";

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: Secret<String>,
}

/// Why the server's part of the exchange can't be taken, in a sentence.
pub type Broken = &'static str;

/// One exchange. Challenges and answers are without base64.
pub struct Client {
    mechanism: Mechanism,
    login: Login,
    state: State,
}

enum State {
    Initial {
        nonce: String,
    },
    /// LOGIN: the name is said, the password next.
    Named,
    First {
        nonce: String,
        bare: String,
    },
    /// SCRAM: what the server must prove to know.
    Proven {
        server: Vec<u8>,
    },
    Done,
}

impl Client {
    /// The strongest of what is offered: SCRAM keeps the password from the server.
    pub fn choose(offered: &[Mechanism]) -> Option<Mechanism> {
        let order = [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];
        order.into_iter().find(|it| offered.contains(it))
    }

    /// `nonce` as [`super::Exchange::new`] has it.
    pub fn new(mechanism: Mechanism, login: Login, nonce: String) -> Client {
        Client {
            mechanism,
            login,
            state: State::Initial { nonce },
        }
    }

    /// What is said with the command, if the mechanism lets the client begin.
    pub fn initial(&mut self) -> Option<Secret<Vec<u8>>> {
        match self.mechanism {
            Mechanism::Login => None,
            _ => self.respond(b"").ok(),
        }
    }

    /// Whether the next answer takes SCRAM's rounds of hashing, [`MAX_ITERATIONS`] at most:
    /// too long for a thread that others wait for.
    pub fn is_slow(&self) -> bool {
        matches!(self.state, State::First { .. })
    }

    /// The answer to a challenge.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, Broken> {
        let Login { user, password } = &self.login;
        let (answer, state) = match std::mem::replace(&mut self.state, State::Done) {
            State::Initial { nonce } => match self.mechanism {
                Mechanism::Plain => {
                    let message = format!("\0{user}\0{}", password.reveal());
                    (message.into_bytes(), State::Done)
                }
                Mechanism::Login => (user.clone().into_bytes(), State::Named),
                // -PLUS is never chosen.
                Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                    let bare = format!("n={},r={nonce}", escaped(user));
                    let message = format!("{GS2_HEADER}{bare}");
                    (message.into_bytes(), State::First { nonce, bare })
                }
                // Nor is this: who logs in has a password.
                Mechanism::External => return Err("it takes certificates alone"),
            },
            State::Named => (password.reveal().clone().into_bytes(), State::Done),
            State::First { nonce, bare } => {
                let (answer, server) = prove(challenge, &nonce, &bare, password)?;
                (answer, State::Proven { server })
            }
            State::Proven { server } => {
                verify(challenge, &server)?;
                (Vec::new(), State::Done)
            }
            State::Done => return Err("it asks for more than the login needs"),
        };
        self.state = state;
        Ok(Secret::new(answer))
    }

    /// Whether the server may say now that the login holds. With SCRAM it must have proved
    /// first that it knows the password too.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

/// The client-final-message, and the signature that the server must show for it.
fn prove(
    challenge: &[u8],
    nonce: &str,
    bare: &str,
    password: &Secret<String>,
) -> Result<(Vec<u8>, Vec<u8>), Broken> {
    const WRONG: Broken = "its SCRAM message is malformed";
    let challenge = std::str::from_utf8(challenge).map_err(|_| WRONG)?;
    let mut parts = challenge.split(',');
    let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
    let full = part("r=").ok_or(WRONG)?;
    let salt = part("s=").and_then(|salt| BASE64.decode(salt).ok());
    let salt = salt.ok_or(WRONG)?;
    let iterations: u32 = part("i=").and_then(|it| it.parse().ok()).ok_or(WRONG)?;
    if !full.starts_with(nonce) || full.len() == nonce.len() {
        return Err("its SCRAM nonce is not ours");
    }
    if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
        return Err("it asks for too few or too many SCRAM rounds");
    }
    let channel = BASE64.encode(GS2_HEADER);
    let without_proof = format!("c={channel},r={full}");
    let signed = format!("{bare},{challenge},{without_proof}");
    let rounds = NonZeroU32::new(iterations).ok_or(WRONG)?;
    let salted = salted(password, &salt, rounds);
    let client_key = hmac::sign(&salted, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client_key.as_ref());
    let signature = sign(stored.as_ref(), &signed);
    let keys = client_key.as_ref().iter().zip(&signature);
    let proof: Vec<u8> = keys.map(|(key, mask)| key ^ mask).collect();
    let server_key = hmac::sign(&salted, b"Server Key");
    let answer = format!("{without_proof},p={}", BASE64.encode(proof));
    Ok((answer.into_bytes(), sign(server_key.as_ref(), &signed)))
}

fn salted(password: &Secret<String>, salt: &[u8], rounds: NonZeroU32) -> hmac::Key {
    let prepared = Secret::new(super::prepare(password.reveal()).into_owned());
    let mut out = [0; 32];
    let bytes = prepared.reveal().as_bytes();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, bytes, &mut out);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &out);
    out.zeroize();
    key
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// `server-final-message = (server-error / verifier)` (RFC 5802, 7).
fn verify(challenge: &[u8], expected: &[u8]) -> Result<(), Broken> {
    let said = challenge.strip_prefix(b"v=").map(|it| BASE64.decode(it));
    match said {
        Some(Ok(said)) if bool::from(said.ct_eq(expected)) => Ok(()),
        _ => Err("it does not know the password itself"),
    }
}

/// `saslname` (RFC 5802, 7).
fn escaped(user: &str) -> String {
    super::prepare(user).replace('=', "=3D").replace(',', "=2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::mail::{Account, AccountId};
    use crate::sasl::{Ask, Exchange, Turn, Verdict};
    use crate::secret::Credential;

    fn client(mechanism: Mechanism, user: &str, password: &str) -> Client {
        let login = Login {
            user: user.into(),
            password: Secret::new(password.into()),
        };
        Client::new(mechanism, login, "rOprNGfwEbeRWgbNEkqO".into())
    }

    fn text(answer: Secret<Vec<u8>>) -> String {
        String::from_utf8(answer.reveal().clone()).unwrap()
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn scram_is_that_of_rfc_7677() {
        let mut client = client(Mechanism::ScramSha256, "user", "pencil");
        let first = text(client.initial().unwrap());
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let last = client.respond(
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        );
        assert_eq!(
            text(last.unwrap()),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(!client.is_done());
        let proof = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(text(client.respond(proof).unwrap()), "");
        assert!(client.is_done());
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let first = b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        for last in [&b"v=AAAA"[..], b"e=other-error", b"v=", b""] {
            let mut client = client(Mechanism::ScramSha256, "user", "pencil");
            client.initial();
            client.respond(first).unwrap();
            assert!(client.respond(last).is_err() && !last.is_empty() || last.is_empty());
        }
        for first in [
            "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000",
            "r=rOprNGfwEbeRWgbNEkqOx,s=!,i=4096",
            "m=x,r=rOprNGfwEbeRWgbNEkqOx",
            "",
        ] {
            let mut client = client(Mechanism::ScramSha256, "user", "pencil");
            client.initial();
            assert!(client.respond(first.as_bytes()).is_err(), "{first}");
        }
    }

    #[test]
    fn plain_and_login_say_name_and_password() {
        let mut plain = client(Mechanism::Plain, "ann", "pw");
        assert_eq!(text(plain.initial().unwrap()), "\0ann\0pw");
        assert!(plain.is_done() && plain.respond(b"").is_err());
        let mut login = client(Mechanism::Login, "ann", "pw");
        assert!(login.initial().is_none());
        assert_eq!(text(login.respond(b"Username:").unwrap()), "ann");
        assert_eq!(text(login.respond(b"Password:").unwrap()), "pw");
        assert!(login.is_done());
    }

    /// Both sides of this file's protocol, and a name that must be escaped.
    #[test]
    fn our_own_server_takes_it() {
        let password = Secret::new("correct horse".to_string());
        let keys = Credential::create(&password).unwrap().scram;
        let mut client = client(Mechanism::ScramSha256, "a=b,c", "correct horse");
        let mut server = Exchange::new(Mechanism::ScramSha256, "server".into());
        let first = client.initial().unwrap();
        match server.start(Some(first.reveal())) {
            Turn::Ask(Ask::Keys { login }) => assert_eq!(login, "a=b,c"),
            turn => panic!("{turn:?}"),
        }
        let Turn::Challenge(challenge) = server.verdict(Verdict::Keys(keys)) else {
            panic!("no challenge");
        };
        let last = client.respond(&challenge).unwrap();
        let Turn::Ask(Ask::Proof { won: Some(_), .. }) = server.respond(last.reveal()) else {
            panic!("not won");
        };
        let account = Account {
            id: AccountId(1),
            address: Address::parse("a@example.org").unwrap(),
            aliases: Vec::new(),
        };
        let Turn::Granted {
            last: Some(proof), ..
        } = server.verdict(Verdict::Granted(account))
        else {
            panic!("not granted");
        };
        client.respond(&proof).unwrap();
        assert!(client.is_done());
    }
}
