//! Coming in: greeting, TLS, login, and the mailbox.

use super::Imap;
use super::talk::{away, broken};
use crate::collect::collector::Security;
use crate::collect::failure::Failure;
use crate::collect::login::Exchange;
use crate::collect::memory::Uids;
use crate::imap::client::{Command, Event, Outcome, command};

impl Imap<'_> {
    pub(super) async fn greet(&mut self) -> Result<(), Failure> {
        let preauth = match self.next().await? {
            Event::Greeting { preauth } => preauth,
            Event::Bye(text) => return Err(away(&text)),
            _ => return Err(Failure::passing("the provider's server does not greet")),
        };
        let security = self.job.collector.security;
        if security == Security::StartTls {
            if preauth {
                // Somebody may have said so to keep us from TLS.
                return Err(Failure::refused(
                    "the provider's server skips the login, and TLS with it",
                ));
            }
            self.must("begin TLS", &Command::StartTls).await?;
            self.client.begin_tls().map_err(broken)?;
            self.link.start_tls().await?;
        }
        self.learn().await?;
        if !preauth {
            self.log_in().await?;
            self.learn().await?;
        }
        if self.client.has("ID") {
            // Some providers let nobody in who does not say it; the answer is theirs.
            self.ask(&Command::Id).await?;
        }
        Ok(())
    }

    async fn learn(&mut self) -> Result<(), Failure> {
        if !self.client.knows_capabilities() {
            self.must("say what it can do", &Command::Capability)
                .await?;
        }
        Ok(())
    }

    async fn log_in(&mut self) -> Result<(), Failure> {
        let collector = &self.job.collector;
        let offers = |name: &str| self.client.has(&format!("AUTH={name}"));
        if let Some(exchange) = Exchange::begin(collector, offers)? {
            return self.authenticate(exchange).await;
        }
        let (user, password) = (&collector.user, &collector.password);
        let quotable = command::can_be_quoted(user) && command::can_be_quoted(password.reveal());
        if self.client.has("LOGINDISABLED") || !quotable {
            return Err(Failure::refused(
                "the provider offers no login that we can use with this name and password",
            ));
        }
        let outcome = self.ask(&Command::Login { user, password }).await?;
        admitted(&outcome)
    }

    async fn authenticate(&mut self, mut exchange: Exchange) -> Result<(), Failure> {
        let initial = self
            .client
            .has("SASL-IR")
            .then(|| exchange.initial())
            .flatten();
        let mechanism = exchange.mechanism.name();
        self.give(&Command::Authenticate {
            mechanism,
            initial: initial.as_ref(),
        })
        .await?;
        loop {
            match self.next().await? {
                Event::Continue(challenge) => {
                    let answer = exchange.answer(challenge).await?;
                    self.say(&answer).await?;
                }
                Event::Done(outcome) => {
                    admitted(&outcome)?;
                    return exchange.check();
                }
                Event::Bye(text) => return Err(away(&text)),
                _ => {}
            }
        }
    }

    pub(super) async fn select(&mut self) -> Result<(), Failure> {
        let folder = &self.job.collector.folder;
        let outcome = self.ask(&Command::Select(folder)).await?;
        if !outcome.ok {
            let what = format!("open the folder {folder}");
            return Err(Failure::said_no(&what, &outcome.text));
        }
        let selected = self.client.selected();
        let validity = match selected.uid_validity {
            Some(validity) if !selected.uid_not_sticky => validity.get(),
            _ => {
                return Err(Failure::refused(
                    "the provider gives its messages no lasting numbers, so what was taken could not be told from what is new",
                ));
            }
        };
        if self.memory.validity != validity {
            if self.memory.validity != 0 {
                let (number, source) = (self.job.number, self.job.collector.source());
                log::warn!(
                    "collector {number}: {source} has numbered its messages anew; all that is there comes again"
                );
            }
            self.memory = Uids {
                validity,
                ..Uids::default()
            };
        }
        Ok(())
    }
}

fn admitted(outcome: &Outcome) -> Result<(), Failure> {
    match (outcome.ok, outcome.code.as_str()) {
        (true, _) => Ok(()),
        // RFC 5530.
        (false, "UNAVAILABLE" | "INUSE" | "SERVERBUG") => Err(Failure::passing(format!(
            "the provider's login: {}",
            outcome.text
        ))),
        (false, _) => Err(Failure::said_no("let us in", &outcome.text)),
    }
}
