//! Commands and what is said to them.

use super::Imap;
use crate::collect::failure::Failure;
use crate::imap::client::{Command, Event, Outcome, Step};
use crate::secret::Secret;

impl Imap<'_> {
    pub(super) async fn give(&mut self, command: &Command<'_>) -> Result<(), Failure> {
        let mut out = Vec::new();
        self.client.command(command, &mut out);
        self.link.allow(0);
        self.link.send_secret(out).await
    }

    pub(super) async fn say(&mut self, line: &Secret<String>) -> Result<(), Failure> {
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
        let mut bye: Option<String> = None;
        loop {
            let event = match (self.next().await, &bye) {
                // It has said why it closes.
                (Err(_), Some(text)) => return Err(away(text)),
                (event, _) => event?,
            };
            match event {
                Event::Done(outcome) => return Ok(outcome),
                Event::Bye(text) => bye = Some(text),
                Event::Body(_) => return Err(Failure::passing(UNASKED)),
                _ => {}
            }
        }
    }

    pub(super) async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.next_now()? {
                return Ok(event);
            }
            self.link.receive(self.client.input()).await?;
        }
    }

    /// The next event that needs no more bytes. No message is expected.
    pub(super) fn next_now(&mut self) -> Result<Option<Event>, Failure> {
        match self.client.step().map_err(broken)? {
            Step::NeedInput => Ok(None),
            Step::Data(_) => Err(Failure::passing(UNASKED)),
            Step::Event(event) => {
                self.news |= matches!(event, Event::Exists(_));
                Ok(Some(event))
            }
        }
    }
}

pub(super) const UNASKED: &str =
    "the provider's server answers with a message that nobody asked for";

pub(super) fn broken(error: crate::imap::client::Error) -> Failure {
    Failure::passing(format!(
        "the provider's server is not to be understood: {error}"
    ))
}

pub(super) fn away(text: &str) -> Failure {
    Failure::passing(format!(
        "the provider's server closes the connection: {text}"
    ))
}
