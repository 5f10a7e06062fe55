//! The writer thread: takes what waits, commits it as one, publishes, answers. Between
//! batches it does the slow work in slices, and it is the supervisor: redb refuses all
//! calls after an I/O error, so the handle is dropped and opened again.

use super::change::Publication;
use super::compact::Compactor;
use super::disk::File;
use super::error::{Error, Result};
use super::mailbox;
use super::queue::Job;
use super::recover;
use super::schema::*;
use super::segment::lock;
use super::shared::{Handle, Shared};
use super::tx::{Appended, Effects, Position, Tx, unix_now};
use redb::ReadableTable;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Quiet after which the allocator state is saved, so that a crash at rest needs no repair.
const QUIET: Duration = Duration::from_secs(2);
/// Between two looks at dead segments that a snapshot still holds.
const GRAVE_PAUSE: Duration = Duration::from_millis(100);
/// Blocks of a deleted mailbox taken away in one slice.
const PURGE_BLOCKS: usize = 16;
/// Batches after which a slice of slow work is done though writes wait.
const BUSY_BATCHES: u32 = 16;
/// Longest wait for others to share a commit with.
const MAX_GATHER: Duration = Duration::from_millis(4);
/// Pauses before the attempts to reopen a failed database while a write waits for it.
const REOPEN_PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(10),
    Duration::from_millis(40),
];
/// Between two attempts while nobody waits.
const REOPEN_REST: Duration = Duration::from_secs(1);
/// How long a closing store waits for its readers.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// None while it can't be reopened.
    handle: Option<Arc<Handle>>,
    /// Why it can't.
    down: Error,
    /// Set by the database's backend when the disk was full.
    full: Arc<AtomicBool>,
    position: Position,
    active: Option<(u32, Arc<dyn File>)>,
    gather: Gather,
    compactor: Compactor,
    /// Deleted mailboxes may have messages left.
    purging: bool,
    /// The last commit that didn't save the allocator state.
    unsettled: Option<Instant>,
    graves: bool,
    attempt: u64,
}

/// Whether a transaction is to be kept.
enum Outcome {
    Keep,
    Abort,
}

/// How a transaction ended.
enum Ended {
    Committed(Effects),
    /// Nothing was changed, or it was aborted.
    Unchanged(Outcome),
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        handle: Arc<Handle>,
        full: Arc<AtomicBool>,
        position: Position,
    ) -> Writer {
        Writer {
            shared,
            handle: Some(handle),
            down: Error::Closed,
            full,
            position,
            active: None,
            gather: Gather::default(),
            compactor: Compactor::new(),
            purging: true,
            unsettled: Some(Instant::now()),
            graves: false,
            // No earlier process has used these numbers.
            attempt: unix_now().unsigned_abs() << 24,
        }
    }

    pub fn run(mut self) {
        let mut busy = 0;
        loop {
            let next = self.next_background();
            self.shared.queue.wait(1, next);
            if self.shared.queue.len() == 0 {
                if self.shared.queue.is_closed() {
                    break;
                }
                busy = 0;
                self.background();
                continue;
            }
            self.gather.wait(&self.shared);
            let batch = self.shared.queue.take_batch();
            let (count, started) = (batch.len(), Instant::now());
            self.serve(batch);
            self.gather
                .note(count, self.shared.queue.len(), started.elapsed());
            busy += 1;
            if busy >= BUSY_BATCHES {
                busy = 0;
                self.slow_work();
            }
        }
        self.end();
    }

    /// Commits `batch`, without those of its jobs that fail, and answers all of them.
    fn serve(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let mut failures: Vec<Option<Error>> = vec![None; batch.len()];
        let mut result = self.commit(&mut batch, &mut failures);
        if result == Err(Error::Full) {
            // What doesn't grow the store is worth another try with the ballast gone.
            self.shared.space.drop_ballast();
            let mut left = 0;
            for (job, failure) in batch.iter().zip(&mut failures) {
                if failure.is_none() && job.grows() {
                    *failure = Some(Error::Full);
                }
                left += u32::from(failure.is_none());
            }
            result = match left {
                0 => Ok(()),
                _ => self.commit(&mut batch, &mut failures),
            };
        }
        for (job, failure) in batch.into_iter().zip(failures) {
            job.answer(failure.or_else(|| result.clone().err()));
        }
    }

    /// One transaction; [`Error::Full`] says that it had no effect and can be tried again.
    fn commit(&mut self, batch: &mut [Box<dyn Job>], failures: &mut [Option<Error>]) -> Result<()> {
        loop {
            let jobs = batch.iter_mut().zip(failures.iter_mut());
            let mut jobs: Vec<_> = jobs.filter(|(_, failure)| failure.is_none()).collect();
            let count = jobs.len() as u64;
            let ended = self.transact(false, &mut |tx| run_jobs(tx, &mut jobs))?;
            match ended {
                Ended::Unchanged(Outcome::Abort) => continue,
                Ended::Unchanged(Outcome::Keep) => {}
                Ended::Committed(effects) => {
                    self.shared.counters.operations.fetch_add(count, Relaxed);
                    self.after_commit(effects);
                }
            }
            return Ok(());
        }
    }

    fn after_commit(&mut self, effects: Effects) {
        for data in effects.kept {
            data.file.iter().for_each(|file| file.keep());
        }
        self.purging |= dooms(&effects.publications);
        if effects.released {
            self.compactor.look();
        }
        self.shared.segments.bury(effects.dead);
        self.graves = self.shared.segments.sweep();
        self.shared.hub.publish(effects.publications);
    }

    /// Runs `f` in a transaction and commits it if it changed anything (or `settle`: then the
    /// allocator state is saved too). After an error the database has been reopened.
    fn transact(
        &mut self,
        settle: bool,
        f: &mut dyn FnMut(&mut Tx<'_>) -> Result<Outcome>,
    ) -> Result<Ended> {
        // Where room is short, a mark in the transaction tells afterwards whether a commit
        // that failed half way was made nevertheless.
        let mark = self.shared.space.check(0).is_err().then(|| {
            self.attempt += 1;
            self.attempt
        });
        let mut committing = None;
        let tried = catch_unwind(AssertUnwindSafe(|| {
            self.try_transact(settle, mark, f, &mut committing)
        }));
        let error = match tried {
            Ok(Ok(ended)) => return Ok(ended),
            Ok(Err(error)) => error,
            Err(_) => Error::Storage("the writer stumbled over a bug".into()),
        };
        let error = match self.full.swap(false, Relaxed) {
            true => Error::Full,
            false => error,
        };
        log::warn!("a transaction failed: {error}");
        if !error.breaks_handle() {
            return Err(error);
        }
        self.reopen();
        match (committing, mark) {
            (Some(effects), Some(mark)) if self.has_mark(mark) => Ok(Ended::Committed(effects)),
            (Some(effects), None) => {
                // It may have been made: not to be tried again, and its files are to stay if so.
                for file in effects.kept.iter().filter_map(|data| data.file.as_ref()) {
                    if self.may_have_segment(file.segment) {
                        file.keep();
                    }
                }
                Err(Error::Storage(error.to_string()))
            }
            _ => Err(error),
        }
    }

    fn try_transact(
        &mut self,
        settle: bool,
        mark: Option<u64>,
        f: &mut dyn FnMut(&mut Tx<'_>) -> Result<Outcome>,
        committing: &mut Option<Effects>,
    ) -> Result<Ended> {
        let handle = self.handle()?;
        let mut txn = handle.db.begin_write()?;
        txn.set_quick_repair(settle);
        let mut tx = Tx::new(&txn, &self.shared.segments, self.position)?;
        let outcome = f(&mut tx)?;
        let wanted = matches!(outcome, Outcome::Keep) && (tx.touched() || settle);
        if !wanted {
            drop(tx);
            txn.abort()?;
            return Ok(Ended::Unchanged(outcome));
        }
        if let Some(mark) = mark {
            tx.set_state(STATE_ATTEMPT, mark)?;
        }
        let (position, mut effects) = tx.finish()?;
        let appends = std::mem::take(&mut effects.appends);
        self.write_appends(appends)?;
        *committing = Some(effects);
        txn.commit()?;
        self.position = position;
        self.shared.counters.commits.fetch_add(1, Relaxed);
        self.unsettled = (!settle).then(Instant::now);
        match committing.take() {
            Some(effects) => Ok(Ended::Committed(effects)),
            None => Ok(Ended::Unchanged(outcome)),
        }
    }

    /// Writes message bytes and makes them durable, before any row names them.
    fn write_appends(&mut self, appends: Vec<(u32, u64, Appended)>) -> Result<()> {
        let mut files: Vec<Arc<dyn File>> = Vec::new();
        let mut made = false;
        for (segment, offset, bytes) in appends {
            let file = match &self.active {
                Some((active, file)) if *active == segment => file.clone(),
                _ => {
                    let file = match offset {
                        0 => self.shared.segments.create(segment)?,
                        _ => self.shared.segments.open(segment)?,
                    };
                    made |= offset == 0;
                    self.active = Some((segment, file.clone()));
                    file
                }
            };
            if files.last().is_none_or(|last| !Arc::ptr_eq(last, &file)) {
                files.push(file.clone());
            }
            file.write_at(offset, bytes.bytes())?;
        }
        for file in files {
            file.sync()?;
        }
        if made {
            self.shared.segments.sync_directory()?;
        }
        Ok(())
    }

    /// Whether the transaction that carried `mark` was committed.
    fn has_mark(&self, mark: u64) -> bool {
        let read = || -> Result<bool> {
            let read = redb::ReadableDatabase::begin_read(&self.handle()?.db)?;
            let state = read.open_table(STATE)?;
            let found = ReadableTable::get(&state, STATE_ATTEMPT)?;
            Ok(found.is_some_and(|row| row.value() == mark))
        };
        read().unwrap_or(false)
    }

    /// Whether a row names the segment, as far as can be told.
    fn may_have_segment(&self, segment: u32) -> bool {
        let read = || -> Result<bool> {
            let read = redb::ReadableDatabase::begin_read(&self.handle()?.db)?;
            let blobs = read.open_table(BLOBS)?;
            let found = ReadableTable::get(&blobs, segment_key(segment))?;
            Ok(found.is_some())
        };
        read().unwrap_or(true)
    }

    fn handle(&self) -> Result<Arc<Handle>> {
        match &self.handle {
            Some(handle) => Ok(handle.clone()),
            None => Err(self.down.clone()),
        }
    }

    /// Drops the handle and opens the database again, in a few attempts; if they fail, each
    /// write and, without one, the clock bring further ones.
    fn reopen(&mut self) {
        self.active = None;
        for pause in REOPEN_PAUSES {
            std::thread::sleep(pause);
            match self.try_reopen() {
                Ok(()) => return,
                Err(error) => {
                    log::error!("the database can't be reopened: {error}");
                    self.down = error;
                }
            }
        }
    }

    fn try_reopen(&mut self) -> Result<()> {
        self.close_handle(None);
        let shared = &self.shared;
        let opened = recover::open_database(&*shared.disk, &shared.options, &self.full);
        if self.full.swap(false, Relaxed) {
            shared.space.drop_ballast();
            return Err(Error::Full);
        }
        let db = opened?;
        recover::check_version(&db)?;
        let recovered = recover::read_rows(&db)?;
        self.position = recovered.position(&shared.segments);
        let handle = Arc::new(Handle { db });
        self.handle = Some(handle.clone());
        self.shared.swap_handle(Some(handle));
        self.unsettled = Some(Instant::now());
        Ok(())
    }

    /// Lets no new snapshot begin, waits for those that are (to a second handle, the pages
    /// that they read would look free), and closes the database.
    fn close_handle(&mut self, deadline: Option<Instant>) {
        self.shared.swap_handle(None);
        if let Some(handle) = self.handle.take() {
            let late = || deadline.is_some_and(|deadline| Instant::now() > deadline);
            while Arc::strong_count(&handle) > 1 && !late() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// When to stop waiting for jobs and look after the slow work; none if there is none.
    fn next_background(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.handle.is_none() {
            return Some(now + REOPEN_REST);
        }
        let mut times = [
            self.purging.then_some(now),
            self.compactor.due(),
            self.graves.then(|| now + GRAVE_PAUSE),
            self.unsettled.map(|since| since + QUIET),
        ];
        times.sort();
        times.into_iter().flatten().next()
    }

    fn background(&mut self) {
        if self.handle.is_none() {
            if let Err(error) = self.try_reopen() {
                self.down = error;
            }
            return;
        }
        self.slow_work();
        let quiet = |since: Instant| since.elapsed() >= QUIET;
        if !self.purging && self.unsettled.is_some_and(quiet) {
            self.settle();
            self.shared.space.restore_ballast();
        }
    }

    fn slow_work(&mut self) {
        if self.graves {
            self.graves = self.shared.segments.sweep();
        }
        if self.purging {
            let mut more = false;
            self.alone(false, &mut |tx| {
                more = mailbox::purge(tx, PURGE_BLOCKS)?;
                Ok(())
            });
            self.purging = more;
            return;
        }
        let Ok(handle) = self.handle() else {
            return;
        };
        let slice = self
            .compactor
            .read(&handle.db, &self.shared.segments, &self.position);
        drop(handle);
        if let Some(slice) = slice {
            let applied = self.alone(false, &mut |tx| slice.apply(tx));
            self.compactor.done(slice, applied);
        }
    }

    /// Records the \Recent claims, and the allocator state so that reopening needs no repair.
    fn settle(&mut self) {
        let claims = self.shared.take_recent();
        let recorded = self.alone(true, &mut |tx| {
            for (id, uid) in &claims {
                match tx.mailbox(*id) {
                    Ok(mut row) if row.recent < uid.get() => {
                        row.recent = uid.get();
                        tx.put_mailbox(*id, &row)?;
                    }
                    Ok(_) | Err(Error::NoMailbox) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        if !recorded {
            // Not lost: claims made since then are newer.
            let mut recent = lock(&self.shared.recent);
            for (id, uid) in claims {
                recent.entry(id).or_insert(uid);
            }
            self.unsettled = Some(Instant::now());
        }
    }

    /// A transaction of the writer's own; false if it failed.
    fn alone(&mut self, settle: bool, f: &mut dyn FnMut(&mut Tx<'_>) -> Result<()>) -> bool {
        let ended = self.transact(settle, &mut |tx| f(tx).map(|()| Outcome::Keep));
        match ended {
            Ok(Ended::Committed(effects)) => {
                self.after_commit(effects);
                true
            }
            Ok(Ended::Unchanged(_)) => true,
            Err(error) => {
                log::warn!("work in the background failed: {error}");
                false
            }
        }
    }

    fn end(mut self) {
        self.settle();
        self.shared.segments.sweep();
        // Closing saves the allocator state; a snapshot that lasts longer leaves a repair.
        self.close_handle(Some(Instant::now() + CLOSE_WAIT));
        self.shared.disk.unlock();
        self.shared.queue.set_ended();
    }
}

/// Runs each job; one that fails is marked. If it had changed something already, or panicked,
/// the transaction can't be kept: the others run again without it.
fn run_jobs(
    tx: &mut Tx<'_>,
    jobs: &mut [(&mut Box<dyn Job>, &mut Option<Error>)],
) -> Result<Outcome> {
    for (job, failure) in jobs.iter_mut() {
        let before = tx.changes();
        match catch_unwind(AssertUnwindSafe(|| job.run(tx))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.breaks_handle() => return Err(error),
            Ok(Err(error)) => {
                **failure = Some(error);
                if tx.changes() != before {
                    return Ok(Outcome::Abort);
                }
            }
            Err(_) => {
                **failure = Some(Error::Corrupt("a write stumbled over a bug".into()));
                return Ok(Outcome::Abort);
            }
        }
    }
    Ok(Outcome::Keep)
}

fn dooms(publications: &[Publication]) -> bool {
    publications
        .iter()
        .any(|it| matches!(it.change, crate::mail::Change::Deleted))
}

/// Waits a moment for those who wrote just now to come again: a lone client is never kept,
/// eight at once share one commit.
#[derive(Default)]
struct Gather {
    /// Writers seen around the last commit.
    expected: usize,
    last: Option<Instant>,
    /// How long a batch takes, smoothed.
    took: Duration,
    /// Waits that nobody came to, in a row; each doubles the number of batches not waited for.
    misses: u32,
    skip: u32,
}

impl Gather {
    fn wait(&mut self, shared: &Shared) {
        let now = Instant::now();
        let window = self.took.min(MAX_GATHER);
        let fresh = self.last.is_some_and(|last| now - last < 4 * MAX_GATHER);
        if !fresh || self.expected <= shared.queue.len() {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        shared.queue.wait(self.expected, Some(now + window));
        if shared.queue.len() < self.expected {
            self.misses = (self.misses + 1).min(6);
            self.skip = (1 << self.misses) - 2;
        } else {
            self.misses = 0;
        }
    }

    fn note(&mut self, served: usize, waiting: usize, took: Duration) {
        self.expected = served + waiting;
        self.took = (self.took * 3 + took) / 4;
        self.last = Some(Instant::now());
    }
}
