//! Logging in at a provider: the mechanism, and its messages in base64.

use super::collector::Collector;
use super::failure::Failure;
use crate::sasl::Mechanism;
use crate::sasl::client::{Client, Login};
use crate::secret::{Secret, random};
use crate::task;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt::Write;

/// Challenges that one login has at most.
const MAX_CHALLENGES: u32 = 4;

/// One SASL exchange with a provider.
pub struct Exchange {
    pub mechanism: Mechanism,
    /// Away while it works.
    client: Option<Client>,
    /// Still to be said, in base64.
    initial: Option<Secret<String>>,
    challenges: u32,
}

impl Exchange {
    /// By the best mechanism that `offers` has; `None` if it has none of ours.
    pub fn begin(
        collector: &Collector,
        offers: impl Fn(&str) -> bool,
    ) -> Result<Option<Exchange>, Failure> {
        let offered: Vec<Mechanism> = Mechanism::ALL
            .into_iter()
            .filter(|it| offers(it.name()))
            .collect();
        let Some(mechanism) = Client::choose(&offered) else {
            return Ok(None);
        };
        let seed: [u8; 18] = random().map_err(|error| Failure::passing(error.to_string()))?;
        let mut nonce = String::new();
        for byte in seed {
            // A string takes all.
            let _ = write!(nonce, "{byte:02x}");
        }
        let login = Login {
            user: collector.user.clone(),
            password: collector.password.clone(),
        };
        let mut client = Client::new(mechanism, login, nonce);
        let initial = client.initial();
        Ok(Some(Exchange {
            mechanism,
            client: Some(client),
            initial: initial.map(|it| Secret::new(BASE64.encode(it.reveal()))),
            challenges: 0,
        }))
    }

    /// What may stand in the command itself, if the server takes it there; else it is the
    /// first answer.
    pub fn initial(&mut self) -> Option<Secret<String>> {
        self.initial.take()
    }

    /// How long that is, bytes.
    pub fn initial_length(&self) -> usize {
        self.initial.as_ref().map_or(0, |it| it.reveal().len())
    }

    /// The answer to a challenge, as a line. The rounds of SCRAM take their time: they are
    /// not for the executor.
    pub async fn answer(&mut self, challenge: Vec<u8>) -> Result<Secret<String>, Failure> {
        let wrong = |why: &str| Failure::refused(format!("the provider's login: {why}"));
        if let Some(initial) = self.initial.take() {
            return Ok(initial);
        }
        self.challenges += 1;
        if self.challenges > MAX_CHALLENGES {
            return Err(wrong("it asks on and on"));
        }
        let challenge = BASE64
            .decode(challenge)
            .map_err(|_| wrong("its challenge is no base64"))?;
        let mut client = self.client.take().ok_or_else(|| wrong("it was cut"))?;
        let (client, answer) = task::unblock(move || {
            let answer = client.respond(&challenge);
            (client, answer)
        })
        .await;
        self.client = Some(client);
        let answer = answer.map_err(wrong)?;
        Ok(Secret::new(BASE64.encode(answer.reveal())))
    }

    /// Called when the server says that the login holds: it may have to prove itself first.
    pub fn check(&self) -> Result<(), Failure> {
        match self.client.as_ref().is_some_and(Client::is_done) {
            true => Ok(()),
            false => Err(Failure::refused(
                "the provider let us in without showing that it knows the password",
            )),
        }
    }
}
