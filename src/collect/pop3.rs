//! Fetching by POP3: what is new comes here and is noted as taken with its delivery. With
//! deletion the provider lets go of it at QUIT; a cut before that costs a second DELE,
//! never a second delivery.

use super::collector::{After, Security};
use super::failure::Failure;
use super::job::{Job, now};
use super::link::Link;
use super::login::Exchange;
use super::memory::{Unique, Uniques};
use super::take::{Batch, Incoming, Message, Trace};
use crate::mail::FlagNames;
use crate::pop3::client::{Client, Command, Event, Outcome, Step, can_be_sent};
use crate::secret::Secret;
use crate::store::{self, Note};
use std::collections::HashMap;

/// Messages that one look lists.
const MAX_LISTED: usize = 200_000;
/// Messages that one connection takes: only its end deletes them.
const MAX_TAKEN: usize = 500;
/// Messages that a provider may refuse to give in one look; then something else is wrong.
const MAX_REFUSED: u32 = 20;
/// Longest line with an initial response (RFC 5034, 4).
const MAX_INITIAL: usize = 200;
const DAY: i64 = 24 * 3600;

/// What one connection came to.
pub struct Looked {
    /// Some were put off to the next connection, which may be at once.
    pub more: bool,
    /// How many are too large, can't be told apart or are not given, and stay.
    pub left: u64,
}

/// Messages that have come, of which some are not delivered yet.
#[derive(Default)]
struct Taken {
    /// How many, delivered or not.
    all: usize,
    batch: Batch,
    /// Over there, of those not delivered.
    numbers: Vec<u32>,
}

impl Taken {
    fn push(&mut self, number: u32, message: Message, note: Note) {
        self.all += 1;
        self.numbers.push(number);
        self.batch.push(message);
        self.batch.note(note);
    }
}

/// Looks once.
pub async fn collect(job: &Job) -> Result<Looked, Failure> {
    let link = Link::open(&job.collector, &job.world).await?;
    let trace = job.trace(&link, "POP3")?;
    let mut pop = Pop {
        job,
        link,
        client: Client::default(),
        trace,
        memory: Uniques::load(&job.store, job.number)?,
    };
    pop.greet().await?;
    let looked = pop.take_all().await?;
    pop.must("end the session", &Command::Quit).await?;
    pop.link.close().await;
    Ok(looked)
}

struct Pop<'a> {
    job: &'a Job,
    link: Link,
    client: Client,
    trace: Trace,
    memory: Uniques,
}

impl Pop<'_> {
    async fn greet(&mut self) -> Result<(), Failure> {
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

    async fn take_all(&mut self) -> Result<Looked, Failure> {
        let rows = self.list(&Command::Uidl).await?;
        let rows: Vec<(u32, Unique)> = rows
            .into_iter()
            .map(|(number, id)| (number, Unique::new(&id)))
            .collect();
        let sizes = self.list(&Command::List).await?;
        let sizes: HashMap<u32, u64> = sizes
            .into_iter()
            .filter_map(|(number, size)| Some((number, size.parse().ok()?)))
            .collect();
        let twice = self.remember(&rows).await?;
        let mut taken = Taken::default();
        let looked = self.take_new(&rows, &sizes, &twice, &mut taken).await;
        // What came before the connection was cut came.
        self.keep(&mut taken).await?;
        looked
    }

    async fn take_new(
        &mut self,
        rows: &[(u32, Unique)],
        sizes: &HashMap<u32, u64>,
        twice: &[Unique],
        taken: &mut Taken,
    ) -> Result<Looked, Failure> {
        let (mut left, mut refused) = (0, 0);
        for &(number, unique) in rows {
            // Two messages by one name can't be told apart: neither is touched.
            if twice.binary_search(&unique).is_ok() {
                left += 1;
                continue;
            }
            if self.memory.contains(unique) {
                self.let_go(number).await?;
                continue;
            }
            let size = sizes.get(&number).copied().unwrap_or(0);
            if size > self.job.max_size() || self.job.is_too_large(unique) {
                left += 1;
                continue;
            }
            if taken.all == MAX_TAKEN {
                return Ok(Looked { more: true, left });
            }
            match self.retrieve(number, unique, size).await? {
                Ok(message) => {
                    let (store, target) = (&self.job.store, &self.job.target);
                    if taken.batch.ends_before(&message, store, target) {
                        self.keep(taken).await?;
                    }
                    let note = self.memory.add(self.job.number, unique)?;
                    taken.push(number, message, note);
                }
                Err(text) => {
                    (left, refused) = (left + 1, refused + 1);
                    if refused > MAX_REFUSED {
                        return Err(Failure::said_no("give its messages", &text));
                    }
                }
            }
            if taken.batch.is_full() {
                self.keep(taken).await?;
            }
        }
        self.keep(taken).await?;
        Ok(Looked { more: false, left })
    }

    /// Delivers what has come and remembers it in one commit, then lets go of it over there.
    async fn keep(&mut self, taken: &mut Taken) -> Result<(), Failure> {
        if taken.numbers.is_empty() {
            return Ok(());
        }
        // Both at once: nothing is let go of whose batch has failed.
        let mut batch = std::mem::take(&mut taken.batch);
        let numbers = std::mem::take(&mut taken.numbers);
        let status = self.job.more(numbers.len() as u64);
        batch.note(status.note(self.job.number));
        batch.deliver(&self.job.store, &self.job.target).await?;
        self.job.set_status(status);
        for number in numbers {
            self.let_go(number).await?;
        }
        Ok(())
    }

    async fn let_go(&mut self, number: u32) -> Result<(), Failure> {
        match self.job.collector.after {
            After::Delete => self.must("delete messages", &Command::Dele(number)).await,
            After::Keep | After::Move(_) => Ok(()),
        }
    }

    /// Prunes the memory by what is listed; gives, in order, what is listed twice.
    async fn remember(&mut self, rows: &[(u32, Unique)]) -> Result<Vec<Unique>, Failure> {
        let mut listed: Vec<Unique> = rows.iter().map(|(_, unique)| *unique).collect();
        listed.sort_unstable();
        let today = u16::try_from(now().unix / DAY).unwrap_or(u16::MAX);
        let notes = self.memory.prune(self.job.number, &listed, today);
        if !notes.is_empty() {
            self.job.store.note(notes).await?;
        }
        let pairs = listed.iter().zip(listed.iter().skip(1));
        let twice = pairs.filter(|(one, next)| one == next);
        Ok(twice.map(|(unique, _)| *unique).collect())
    }

    async fn list(&mut self, command: &Command<'_>) -> Result<Vec<(u32, String)>, Failure> {
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

    /// The inner error is the provider's reason not to give it.
    async fn retrieve(
        &mut self,
        number: u32,
        unique: Unique,
        size: u64,
    ) -> Result<Result<Message, String>, Failure> {
        self.trace.now = now();
        self.give(&Command::Retr(number)).await?;
        self.link.allow(self.job.max_size().min(size.max(1 << 20)));
        let mut incoming = Incoming::begin(&self.job.store, &self.trace, None).await?;
        loop {
            let event = match self.client.step().map_err(broken)? {
                Step::NeedInput => {
                    self.link.receive(self.client.input()).await?;
                    continue;
                }
                Step::Data(bytes) => match incoming.write(bytes).await {
                    Ok(()) => continue,
                    Err(store::Error::TooLarge) => {
                        // It would have to be read to its end: begun anew instead.
                        self.job.note_too_large(unique);
                        return Err(Failure::passing(format!(
                            "message {number} is larger than the provider said; it stays there"
                        )));
                    }
                    Err(error) => return Err(error.into()),
                },
                Step::Event(event) => event,
            };
            match event {
                Event::Done(outcome) if outcome.ok => break,
                Event::Done(outcome) => return Ok(Err(outcome.text)),
                _ => {}
            }
        }
        let message = incoming.finish(FlagNames::default(), self.trace.now);
        Ok(Ok(message.await?))
    }

    // Talking.

    async fn give(&mut self, command: &Command<'_>) -> Result<(), Failure> {
        let mut out = Vec::new();
        self.client.command(command, &mut out);
        self.link.allow(0);
        self.link.send_secret(out).await
    }

    async fn say(&mut self, line: &Secret<String>) -> Result<(), Failure> {
        let mut out = Vec::new();
        self.client.answer(line.reveal().as_bytes(), &mut out);
        self.link.send_secret(out).await
    }

    async fn ask(&mut self, command: &Command<'_>) -> Result<Outcome, Failure> {
        self.give(command).await?;
        self.until_done().await
    }

    async fn must(&mut self, what: &str, command: &Command<'_>) -> Result<(), Failure> {
        let outcome = self.ask(command).await?;
        match outcome.ok {
            true => Ok(()),
            false => Err(Failure::said_no(what, &outcome.text)),
        }
    }

    async fn until_done(&mut self) -> Result<Outcome, Failure> {
        loop {
            if let Event::Done(outcome) = self.next().await? {
                return Ok(outcome);
            }
        }
    }

    async fn next(&mut self) -> Result<Event, Failure> {
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

fn broken(error: crate::pop3::client::Error) -> Failure {
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
