//! What is said to a provider by POP3, but for the messages: until the login, and each command
//! with its answer.

use super::{MAX_INITIAL, MAX_LISTED, Pop};
use crate::collect::collector::Security;
use crate::collect::failure::Failure;
use crate::collect::login::Exchange;
use crate::pop3::client::{Command, Event, Outcome, Step, can_be_sent};
use crate::secret::Secret;

impl Pop<'_> {
    pub(super) async fn greet(&mut self) -> Result<(), Failure> {
        let greeting = self.until_done().await?;
        if !greeting.ok {
            return Err(Failure::passing(format!(
                "the provider's server is not ready: {}",
                greeting.text
            )));
        }
        if self.job.collector.security == Security::StartTls {
            self.must("begin TLS", &Command::Stls).await?;
            self.client.begin_tls().map_err(broken)?;
            self.link.start_tls().await?;
        }
        // Old servers know no CAPA.
        self.ask(&Command::Capa).await?;
        self.log_in().await
    }

    async fn log_in(&mut self) -> Result<(), Failure> {
        let collector = &self.job.collector;
        let offers = |name: &str| self.client.has_mechanism(name);
        if let Some(exchange) = Exchange::begin(collector, offers)? {
            return self.authenticate(exchange).await;
        }
        let (user, password) = (&collector.user, &collector.password);
        if !can_be_sent(user) || !can_be_sent(password.reveal()) {
            return Err(Failure::refused("POP3 can't send this name and password"));
        }
        let outcome = self.ask(&Command::User(user)).await?;
        admitted(&outcome)?;
        let outcome = self.ask(&Command::Pass(password)).await?;
        admitted(&outcome)
    }

    async fn authenticate(&mut self, mut exchange: Exchange) -> Result<(), Failure> {
        let fits = exchange.initial_length() <= MAX_INITIAL;
        let initial = fits.then(|| exchange.initial()).flatten();
        let mechanism = exchange.mechanism.name();
        self.give(&Command::Auth {
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
                Event::Row(..) => {}
            }
        }
    }

    pub(super) async fn list(
        &mut self,
        command: &Command<'_>,
    ) -> Result<Vec<(u32, String)>, Failure> {
        self.give(command).await?;
        let mut rows = Vec::new();
        loop {
            match self.next().await? {
                Event::Row(number, text) if rows.len() < MAX_LISTED => rows.push((number, text)),
                Event::Done(outcome) if outcome.ok => return Ok(rows),
                Event::Done(outcome) => {
                    return Err(Failure::said_no(
                        "list its messages with lasting names (UIDL), so what was taken could not be told from what is new",
                        &outcome.text,
                    ));
                }
                _ => {}
            }
        }
    }

    pub(super) async fn give(&mut self, command: &Command<'_>) -> Result<(), Failure> {
        let mut out = Vec::new();
        self.client.command(command, &mut out);
        self.link.allow(0);
        self.link.send_secret(out).await
    }

    /// Several at once, which the server must be able to take.
    pub(super) async fn give_all(&mut self, commands: &[Command<'_>]) -> Result<(), Failure> {
        let mut out = Vec::new();
        for command in commands {
            self.client.command(command, &mut out);
        }
        self.link.allow(0);
        self.link.send(&out).await
    }

    async fn say(&mut self, line: &Secret<String>) -> Result<(), Failure> {
        let mut out = Vec::new();
        self.client.answer(line.reveal().as_bytes(), &mut out);
        self.link.send_secret(out).await
    }

    pub(super) async fn ask(&mut self, command: &Command<'_>) -> Result<Outcome, Failure> {
        self.give(command).await?;
        self.until_done().await
    }

    pub(super) async fn must(&mut self, what: &str, command: &Command<'_>) -> Result<(), Failure> {
        let outcome = self.ask(command).await?;
        match outcome.ok {
            true => Ok(()),
            false => Err(Failure::said_no(what, &outcome.text)),
        }
    }

    pub(super) async fn until_done(&mut self) -> Result<Outcome, Failure> {
        loop {
            if let Event::Done(outcome) = self.next().await? {
                return Ok(outcome);
            }
        }
    }

    pub(super) async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            match self.client.step().map_err(broken)? {
                Step::NeedInput => {}
                Step::Data(_) => {
                    return Err(Failure::passing(
                        "the provider's server sends a message that nobody asked for",
                    ));
                }
                Step::Event(event) => return Ok(event),
            }
            self.link.receive(self.client.input()).await?;
        }
    }
}

pub(super) fn broken(error: crate::pop3::client::Error) -> Failure {
    Failure::passing(format!(
        "the provider's server is not to be understood: {error}"
    ))
}

fn admitted(outcome: &Outcome) -> Result<(), Failure> {
    // RFC 2449, 8.1 and RFC 3206: the maildrop is busy, or it may pass.
    let passes = ["IN-USE", "LOGIN-DELAY", "SYS/TEMP"].contains(&outcome.code.as_str());
    match outcome.ok {
        true => Ok(()),
        false if passes => Err(Failure::passing(format!(
            "the provider's login: {}",
            outcome.text
        ))),
        false => Err(Failure::said_no("let us in", &outcome.text)),
    }
}
