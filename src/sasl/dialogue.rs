//! An [`Exchange`] as a client of lines sees it: base64 both ways, `*` to give up, and
//! a success that carries no data, so that the last word comes as a challenge.

use super::{BASE64, Channel, Denial, Exchange, MAX_RESPONSE, Mechanism, Turn, Verdict};
use crate::mail::Account;
use base64::Engine;
use ring::hmac;

/// Longest line of an exchange, bytes without its end: [`MAX_RESPONSE`] in base64.
pub const MAX_LINE: usize = MAX_RESPONSE.div_ceil(3) * 4;

pub struct Dialogue {
    exchange: Box<Exchange>,
    /// Granted once the client has taken the last challenge.
    granted: Option<Box<Account>>,
}

impl Dialogue {
    pub fn new(mechanism: Mechanism, nonce: String) -> Dialogue {
        Dialogue {
            exchange: Box::new(Exchange::new(mechanism, nonce)),
            granted: None,
        }
    }

    /// As [`Exchange::bind`].
    pub fn bind(self, channel: Channel) -> Dialogue {
        Dialogue {
            exchange: Box::new(self.exchange.bind(channel)),
            ..self
        }
    }

    /// `initial` as it stood in the command, in base64; empty for `=`.
    pub fn start(&mut self, initial: Option<&str>) -> Turn {
        let turn = match initial.map(|text| BASE64.decode(text)) {
            None => self.exchange.start(None),
            Some(Ok(initial)) => self.exchange.start(Some(&initial)),
            Some(Err(_)) => Turn::Denied(Denial::Malformed),
        };
        self.followed(turn)
    }

    /// The client's next line.
    pub fn line(&mut self, line: &[u8]) -> Turn {
        if line == b"*" {
            return Turn::Denied(Denial::Cancelled);
        }
        let Ok(answer) = BASE64.decode(line) else {
            return Turn::Denied(Denial::Malformed);
        };
        match self.granted.take() {
            Some(account) if answer.is_empty() => Turn::Granted {
                account: *account,
                last: None,
            },
            Some(_) => Turn::Denied(Denial::Malformed),
            None => {
                let turn = self.exchange.respond(&answer);
                self.followed(turn)
            }
        }
    }

    pub fn verdict(&mut self, verdict: Verdict) -> Turn {
        let turn = self.exchange.verdict(verdict);
        self.followed(turn)
    }

    fn followed(&mut self, turn: Turn) -> Turn {
        match turn {
            Turn::Granted {
                account,
                last: Some(last),
            } => {
                self.granted = Some(Box::new(account));
                Turn::Challenge(last)
            }
            turn => turn,
        }
    }
}

/// A challenge as it goes over the wire.
pub fn encode(challenge: &[u8]) -> String {
    BASE64.encode(challenge)
}

/// Makes the nonces of one connection from randomness given at its start.
pub struct Nonces {
    seed: [u8; 32],
    made: u64,
}

impl Nonces {
    pub fn new(seed: [u8; 32]) -> Nonces {
        Nonces { seed, made: 0 }
    }

    /// Printable, without a comma (RFC 5802, 5.1), never the same twice.
    pub fn fresh(&mut self) -> String {
        self.made += 1;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.seed);
        let tag = hmac::sign(&key, &self.made.to_be_bytes());
        BASE64.encode(tag.as_ref().get(..18).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::mail::AccountId;

    fn account() -> Account {
        Account {
            id: AccountId(1),
            address: Address::parse("user@example.org").unwrap(),
            aliases: Vec::new(),
        }
    }

    #[test]
    fn stars_and_garbage_end_it() {
        let mut dialogue = Dialogue::new(Mechanism::Plain, String::new());
        assert!(matches!(dialogue.start(None), Turn::Challenge(c) if c.is_empty()));
        assert!(matches!(
            dialogue.line(b"*"),
            Turn::Denied(Denial::Cancelled)
        ));
        for garbage in ["A", "AA=A", "\u{e4}", "AGEAYg", " "] {
            let mut dialogue = Dialogue::new(Mechanism::Plain, String::new());
            let turn = dialogue.start(Some(garbage));
            assert!(matches!(turn, Turn::Denied(Denial::Malformed)), "{garbage}");
        }
    }

    #[test]
    fn the_last_word_is_a_challenge_that_must_be_taken() {
        for (line, granted) in [(&b""[..], true), (b"AAAA", false), (b"*", false)] {
            let mut dialogue = Dialogue::new(Mechanism::Plain, String::new());
            let last = Some(b"v=1".to_vec());
            let turn = dialogue.followed(Turn::Granted {
                account: account(),
                last,
            });
            assert!(matches!(turn, Turn::Challenge(c) if c == b"v=1"));
            assert_eq!(matches!(dialogue.line(line), Turn::Granted { .. }), granted);
        }
    }

    #[test]
    fn nonces_differ() {
        let (mut one, mut other) = (Nonces::new([1; 32]), Nonces::new([2; 32]));
        let nonces = [one.fresh(), one.fresh(), other.fresh()];
        assert!(nonces.iter().all(|it| it.len() == 24 && !it.contains(',')));
        assert!(nonces[0] != nonces[1] && nonces[0] != nonces[2]);
    }
}
