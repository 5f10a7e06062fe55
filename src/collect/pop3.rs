//! Fetching by POP3: what is new comes here and is noted as taken with its delivery. With
//! deletion the provider lets go of it at QUIT; a cut before that costs a second DELE,
//! never a second delivery. Messages are asked for in rounds, of several where the provider
//! takes commands together (PIPELINING; RFC 2449, 6.6).

mod talk;

use super::collector::After;
use super::failure::Failure;
use super::job::{Job, now};
use super::link::Link;
use super::memory::{Unique, Uniques};
use super::take::{Batch, Incoming, Message, Trace};
use crate::mail::{FlagNames, Quota};
use crate::pop3::client::{Client, Command, Event, Step};
use crate::store::{self, Note};
use std::collections::HashMap;
use talk::broken;

/// Messages that one look lists.
const MAX_LISTED: usize = 200_000;
/// Messages that one connection takes: only its end deletes them.
const MAX_TAKEN: usize = 500;
/// Commands that are sent together: so few bytes that neither side can block the other.
const MAX_TOGETHER: usize = 32;
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

/// A message to be asked for.
struct Wanted {
    number: u32,
    unique: Unique,
    /// As listed, bytes.
    size: u64,
}

/// Messages that have come, of which some are not delivered yet.
#[derive(Default)]
struct Taken {
    /// How many, delivered or not.
    all: usize,
    refused: u32,
    left: u64,
    batch: Batch,
    /// Over there, of those not delivered.
    numbers: Vec<u32>,
    /// Over there, of those that are here.
    delivered: Vec<u32>,
    /// The provider's reason not to delete one: that keeps no other mail over there.
    undeleted: Option<String>,
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
    let (looked, full) = pop.take_all().await?;
    // Only this lets what was taken go, whether there is room for the rest or not.
    pop.must("end the session", &Command::Quit).await?;
    pop.link.close().await;
    full.map(|()| looked)
}

struct Pop<'a> {
    job: &'a Job,
    link: Link,
    client: Client,
    trace: Trace,
    memory: Uniques,
}

impl Pop<'_> {
    /// Takes what is new and has room; an error in the pair is that there is none for the rest, or
    /// that what came could not be deleted.
    async fn take_all(&mut self) -> Result<(Looked, Result<(), Failure>), Failure> {
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
        let wanted = self.wanted(&rows, &sizes, &twice, &mut taken);
        self.let_go(&mut taken).await?;
        let all = self.take_new(&wanted, &mut taken).await;
        // What came before the connection was cut came.
        self.deliver(&mut taken).await?;
        let full = all?;
        self.let_go(&mut taken).await?;
        let looked = Looked {
            more: wanted.len() > MAX_TAKEN,
            left: taken.left,
        };
        let deleted = match &taken.undeleted {
            Some(text) => Err(Failure::said_no("delete messages", text)),
            None => Ok(()),
        };
        Ok((looked, full.and(deleted)))
    }

    /// What of the listed messages is to be fetched, in order.
    fn wanted(
        &self,
        rows: &[(u32, Unique)],
        sizes: &HashMap<u32, u64>,
        twice: &[Unique],
        taken: &mut Taken,
    ) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for &(number, unique) in rows {
            let size = sizes.get(&number).copied().unwrap_or(0);
            // Two messages by one name can't be told apart: neither is touched.
            if twice.binary_search(&unique).is_ok() {
                taken.left += 1;
            } else if self.memory.contains(unique) {
                taken.delivered.push(number);
            } else if size > self.job.max_size() || self.job.is_too_large(unique) {
                taken.left += 1;
            } else {
                wanted.push(Wanted {
                    number,
                    unique,
                    size,
                });
            }
        }
        wanted
    }

    /// In rounds, each asked for as a whole; between them nothing is on its way.
    async fn take_new(
        &mut self,
        wanted: &[Wanted],
        taken: &mut Taken,
    ) -> Result<Result<(), Failure>, Failure> {
        let mut rest = wanted.get(..MAX_TAKEN).unwrap_or(wanted);
        while !rest.is_empty() {
            let round = self.round(rest, &taken.batch);
            if round == 0 {
                self.deliver(taken).await?;
                self.let_go(taken).await?;
            }
            // By itself it may have room, and else the reason is told.
            let round = match round {
                0 => match self.hold(&taken.batch, rest.get(..1).unwrap_or_default()) {
                    Ok(()) => 1,
                    full => return Ok(full),
                },
                round => round,
            };
            let (now, later) = rest.split_at(round.min(rest.len()));
            self.take_round(now, taken).await?;
            self.let_go(taken).await?;
            rest = later;
        }
        Ok(Ok(()))
    }

    /// How many of these may be asked for at once: the account has room for them.
    fn round(&self, rest: &[Wanted], batch: &Batch) -> usize {
        let most = self.together().min(rest.len());
        let fits = |&count: &usize| {
            let round = rest.get(..count).unwrap_or_default();
            self.hold(batch, round).is_ok()
        };
        (1..=most).rev().find(fits).unwrap_or(0)
    }

    /// How many commands may wait for their answers.
    fn together(&self) -> usize {
        match self.client.has("PIPELINING") {
            true => MAX_TOGETHER,
            false => 1,
        }
    }

    /// By the sizes that were listed.
    fn hold(&self, batch: &Batch, round: &[Wanted]) -> Result<(), Failure> {
        let more = batch.held().and(Quota {
            bytes: round.iter().fold(0, |all, it| all.saturating_add(it.size)),
            messages: round.len() as u64,
        });
        self.job.target.must_hold(&self.job.store, more)
    }

    async fn take_round(&mut self, round: &[Wanted], taken: &mut Taken) -> Result<(), Failure> {
        let retrieve: Vec<Command<'_>> = round.iter().map(|it| Command::Retr(it.number)).collect();
        self.give_all(&retrieve).await?;
        for wanted in round {
            match self.retrieved(wanted).await? {
                Ok(message) => {
                    let (store, target) = (&self.job.store, &self.job.target);
                    if taken.batch.ends_before(&message, store, target) {
                        self.deliver(taken).await?;
                    }
                    let note = self.memory.add(self.job.number, wanted.unique)?;
                    taken.push(wanted.number, message, note);
                }
                Err(text) => {
                    (taken.left, taken.refused) = (taken.left + 1, taken.refused + 1);
                    if taken.refused > MAX_REFUSED {
                        return Err(Failure::said_no("give its messages", &text));
                    }
                }
            }
            if taken.batch.is_full() {
                self.deliver(taken).await?;
            }
        }
        Ok(())
    }

    /// Delivers what has come and remembers it in one commit.
    async fn deliver(&mut self, taken: &mut Taken) -> Result<(), Failure> {
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
        taken.delivered.extend(numbers);
        Ok(())
    }

    /// Of what is here, over there.
    async fn let_go(&mut self, taken: &mut Taken) -> Result<(), Failure> {
        let delivered = std::mem::take(&mut taken.delivered);
        if self.job.collector.after != After::Delete {
            return Ok(());
        }
        for some in delivered.chunks(self.together()) {
            let delete: Vec<Command<'_>> = some.iter().map(|it| Command::Dele(*it)).collect();
            self.give_all(&delete).await?;
            for _ in some {
                let outcome = self.until_done().await?;
                if !outcome.ok {
                    taken.undeleted = Some(outcome.text);
                }
            }
        }
        Ok(())
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

    /// One that was asked for. The inner error is the provider's reason not to give it.
    async fn retrieved(&mut self, wanted: &Wanted) -> Result<Result<Message, String>, Failure> {
        let &Wanted {
            number,
            unique,
            size,
        } = wanted;
        self.trace.now = now();
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
}
