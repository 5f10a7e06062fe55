//! FETCH and SEARCH: their jobs run in the store's reader pool, batch by batch.

use super::Driver;
use super::append::seconds_now;
use super::fetch::{Failure, Job, Progress, changed_since};
use super::refusal::refusal;
use super::search;
use crate::imap::command::SearchReturn;
use crate::imap::fetch::complete;
use crate::imap::response::Code;
use crate::imap::response::search::{Extended, extended, search as write_search};
use crate::imap::session::{Fetch, Outcome, Search, names_modseq};
use crate::mail::{FlagNames, Flags, UidSet};
use crate::store::{Error, FlagChange, Result, Store, Watch};
use async_lock::Semaphore;
use futures_lite::future;
use std::io;
use std::time::Duration;

/// Searches that read message bytes at once, in the whole process: the pool that they read
/// in has threads for others too.
const HEAVY_SEARCHES: usize = 2;
static HEAVY: Semaphore = Semaphore::new(HEAVY_SEARCHES);
/// Commands that a client may send ahead while its SEARCH runs, bytes.
const MAX_AHEAD: usize = 64 * 1024;

impl Driver {
    pub(super) async fn fetch(&mut self, command: Fetch) -> io::Result<Outcome> {
        let job = match self.fetch_job(&command).await {
            Ok(job) => job,
            Err(error) => return Ok(refusal(&error)),
        };
        let job = match self.send_batches(Box::new(job)).await? {
            Ok(job) => job,
            Err(error) => return Ok(refusal(&error)),
        };
        if let Some(view) = self.session.view_mut() {
            view.told_keywords(job.keywords());
        }
        Ok(match job.failure() {
            Some(Failure::UnknownCte) => Outcome::no(
                Code::UnknownCte,
                "A part's encoding can't be undone: fetch it as BODY.",
            ),
            Some(Failure::Store(error)) => refusal(error),
            None if job.has_missed() && !command.uid => Outcome::no(
                Code::ExpungeIssued,
                "Some messages are gone: NOOP tells which.",
            ),
            None => Outcome::ok("Fetched."),
        })
    }

    async fn fetch_job(&mut self, command: &Fetch) -> Result<Job> {
        let view = self.session.view().ok_or(Error::NoMailbox)?;
        let mailbox = view.mailbox;
        let mut uids = command.uids.clone();
        if let Some(since) = command.changed_since {
            let read = self
                .context
                .store
                .read(move |snapshot| changed_since(snapshot, mailbox, &uids, since));
            uids = read.await?;
        }
        let view = self.session.view().ok_or(Error::NoMailbox)?;
        let modseq = command.changed_since.is_some();
        let items = complete(command.items.clone(), command.uid, modseq);
        Ok(Job::new(view, self.session.condstore(), &uids, items))
    }

    /// While one batch is sent the next is rendered. The outer error ends the connection:
    /// an answer can't be ended.
    async fn send_batches(&mut self, job: Box<Job>) -> io::Result<Result<Box<Job>>> {
        // The answers to earlier commands are not at stake where a batch fails.
        self.flush().await?;
        let store = self.store();
        let mut spare = Vec::new();
        let mut begun = false;
        let mut ran = run(&store, job, std::mem::take(&mut self.out)).await;
        loop {
            let (mut job, progress, mut out) = match ran {
                Ok(ran) => ran,
                Err(error) if begun => return Err(io::Error::other(error)),
                Err(error) => return Ok(Err(error)),
            };
            match progress {
                Progress::Done => {
                    self.out = out;
                    return Ok(Ok(job));
                }
                Progress::Seen(uids) => {
                    self.set_seen(&mut job, uids).await;
                    ran = run(&store, job, out).await;
                }
                Progress::More => {
                    begun = job.is_within();
                    let next = run(&store, job, std::mem::take(&mut spare));
                    let (sent, next) = future::zip(self.stream.send(&out), next).await;
                    sent?;
                    out.clear();
                    spare = out;
                    ran = next;
                }
            }
        }
    }

    /// A message can be read though the store can't note that it was.
    async fn set_seen(&mut self, job: &mut Job, uids: UidSet) {
        let origin = self.watch.as_ref().map(Watch::origin).unwrap_or_default();
        let seen = FlagNames {
            system: Flags::SEEN,
            keywords: Vec::new(),
        };
        let store = &self.context.store;
        let set = store.set_flags(
            job.mailbox(),
            uids.clone(),
            FlagChange::Add,
            seen,
            None,
            origin,
        );
        match set.await {
            Ok(stored) => {
                job.seen(uids);
                self.own_flags(&stored, true).await;
            }
            Err(error) => {
                log::warn!("IMAP {}: \\Seen is not set: {error}", self.stream.id());
                job.seen(UidSet::new());
            }
        }
    }

    pub(super) async fn search(&mut self, command: Search) -> io::Result<Outcome> {
        let Some(view) = self.session.view() else {
            return Ok(refusal(&Error::NoMailbox));
        };
        let modseq = names_modseq(&command.key);
        let job = search::Job::new(view, command.key, seconds_now());
        match self.run_search(Box::new(job)).await? {
            Ok(found) => {
                let (tag, uid, options) = (&command.tag, command.uid, command.options);
                self.tell_found(tag, uid, options, modseq, &found);
                Ok(Outcome::ok("Searched."))
            }
            Err(error) => Ok(refusal(&error)),
        }
    }

    async fn run_search(&mut self, mut job: Box<search::Job>) -> io::Result<Result<search::Found>> {
        loop {
            let turn = match job.is_heavy() {
                true => Some(HEAVY.acquire().await),
                false => None,
            };
            let read = self.context.store.read(move |snapshot| {
                let done = job.run(snapshot)?;
                Ok((job, done))
            });
            let (back, done) = match read.await {
                Ok(ran) => ran,
                Err(error) => return Ok(Err(error)),
            };
            drop(turn);
            if done {
                return Ok(Ok(back.found()));
            }
            job = back;
            self.look_for_client().await?;
        }
    }

    /// A client that has gone needs no answer.
    async fn look_for_client(&mut self) -> io::Result<()> {
        let input = self.session.input();
        if input.bytes().len() >= MAX_AHEAD {
            return Ok(());
        }
        let look = self.stream.receive(input, Duration::from_secs(1));
        let looked = future::poll_once(look).await;
        self.stream.at_work();
        match looked {
            Some(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn tell_found(
        &mut self,
        tag: &str,
        uid: bool,
        options: Option<SearchReturn>,
        modseq: bool,
        found: &search::Found,
    ) {
        let numbers = match (uid, self.session.view()) {
            (false, Some(view)) => view.numbering().numbers(&found.uids),
            _ => found.uids.clone(),
        };
        let Some(options) = options else {
            let modseq = found.highest_modseq.filter(|_| modseq);
            let each = numbers.ranges().iter().flat_map(|&(low, high)| low..=high);
            return write_search(&mut self.out, each, modseq);
        };
        let nothing = SearchReturn::default();
        let all = options.all || options == nothing;
        // RFC 7162, 3.1.10: of the messages that are named, the highest.
        let told_modseq = match (all || options.count, options.min, options.max) {
            (true, _, _) => found.highest_modseq,
            (false, true, true) => found.first_modseq.max(found.last_modseq),
            (false, true, false) => found.first_modseq,
            (false, false, _) => found.last_modseq,
        };
        let ends = (numbers.ranges().first(), numbers.ranges().last());
        let result = Extended {
            uid,
            min: ends.0.map(|&(low, _)| low).filter(|_| options.min),
            max: ends.1.map(|&(_, high)| high).filter(|_| options.max),
            count: options.count.then(|| numbers.len()),
            all: all.then_some(&numbers),
            modseq: told_modseq.filter(|_| modseq),
        };
        extended(&mut self.out, tag, result);
    }
}

type Ran = (Box<Job>, Progress, Vec<u8>);

/// Renders one batch behind what `out` holds; in the pool if the one before took long, as it
/// does where the disk has to be waited for.
async fn run(store: &Store, mut job: Box<Job>, mut out: Vec<u8>) -> Result<Ran> {
    if !job.is_slow() {
        let progress = store.look(|snapshot| job.run(snapshot, &mut out))?;
        return Ok((job, progress, out));
    }
    let batch = store.read(move |snapshot| {
        let progress = job.run(snapshot, &mut out)?;
        Ok((job, progress, out))
    });
    batch.await
}
