//! One transaction from begin to commit, and the supervisor: redb refuses all calls after
//! an I/O error, so the handle is dropped and opened again.
//!
//! A transaction is made when its batch is durable in the log; the database follows in memory
//! and is made durable by a checkpoint now and then.

use super::error::{Error, Result};
use super::log::{Log, Mark};
use super::mailbox;
use super::recover::{self, Replayed};
use super::redo::MAX_REDO;
use super::segment::DIRECTORY;
use super::shared::{Handle, Shared};
use super::tx::{Effects, Finished, Position, Tx};
use redb::Durability;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Redo since the last checkpoint that asks for one, bytes. It bounds how long a start takes
/// after a crash, and about how much of the page cache waits to be written.
const CHECKPOINT_REDO: usize = MAX_REDO;
/// Batches since the last checkpoint that ask for one: each changes a page or two at least.
const CHECKPOINT_BATCHES: u32 = 2048;
/// Pages that a changed row takes at most, on average: its leaf, and what is above and split.
const ROW_PAGES: u64 = 2;
const PAGE: u64 = 4096;
/// What a checkpoint writes beside changed rows: the allocator's state, twice for a while, has
/// about 40 KiB and a 8192th of the database's length, and there are a few pages of its own.
const CHECKPOINT_BASE: u64 = 128 << 10;
const CHECKPOINT_SHARE: u64 = 4096;
/// redb's cache where the disk has no room, bytes: half of it may be pages that were changed, so
/// what the log has can be read without writing any.
pub(super) const FULL_CACHE: usize = 64 << 20;
/// Until the next attempt at a checkpoint that failed.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(5);
/// How long a checkpoint that may fail waits for those that read.
const HUSH_WAIT: Duration = Duration::from_secs(1);
/// Pauses before the attempts to reopen a failed database while a write waits for it.
const REOPEN_PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(10),
    Duration::from_millis(40),
];

/// Room that a checkpoint takes at most, bytes: for the pages of so many changed rows, whose
/// redo has so many bytes (beyond what the cache holds, they were written already), in a
/// database of that length.
pub(super) fn checkpoint_room(rows: u64, redo: u64, cache: u64, length: u64) -> u64 {
    let pages = rows * ROW_PAGES * PAGE + 2 * redo;
    pages.min(cache) + CHECKPOINT_BASE + length / CHECKPOINT_SHARE
}

/// The writer thread's hold on the database and the log.
pub(super) struct Committer {
    shared: Arc<Shared>,
    /// None while it can't be reopened.
    handle: Option<Arc<Handle>>,
    /// Why it can't.
    down: Error,
    /// Set by the database's backend when the disk was full.
    full: Arc<AtomicBool>,
    /// The database's, bytes.
    cache: usize,
    log: Log,
    /// After the last transaction that was made: what the log has, and the database must.
    position: Position,
    /// After a checkpoint that failed: nobody knows yet whether it was made.
    pending: Option<Position>,
    /// Where a batch failed that could not be taken away: it may be there at the next start.
    doubt: Option<Mark>,
    /// A part of the log is lost, and the numbers that it may have given are not skipped yet:
    /// whatever is changed first skips them.
    lost: bool,
    since: Since,
}

/// What was done since the last checkpoint.
#[derive(Default)]
struct Since {
    redo: usize,
    rows: u64,
    batches: u32,
    last: Option<Instant>,
    not_before: Option<Instant>,
}

/// Whether a transaction is to be kept.
pub(super) enum Outcome {
    Keep,
    Abort,
}

/// How a transaction ended.
pub(super) enum Ended {
    /// With what is to be done now, and whether the database is durable too.
    Committed(Effects, bool),
    /// Nothing was changed, or it was aborted.
    Unchanged(Outcome),
}

/// How far a transaction came before it failed.
enum Stage {
    Working,
    /// Its batch may be in the log.
    Writing(Mark, Effects),
    /// It is made: its batch is in the log.
    Logged(Effects),
    /// It is made if the database says so.
    Committing(Effects),
}

impl Stage {
    fn take(&mut self) -> Effects {
        match std::mem::replace(self, Stage::Working) {
            Stage::Working => Effects::default(),
            Stage::Writing(_, effects) | Stage::Logged(effects) | Stage::Committing(effects) => {
                effects
            }
        }
    }
}

impl Committer {
    pub fn new(
        shared: Arc<Shared>,
        handle: Arc<Handle>,
        full: Arc<AtomicBool>,
        cache: usize,
        key: u64,
        position: Position,
    ) -> Committer {
        Committer {
            shared,
            handle: Some(handle),
            down: Error::Closed,
            full,
            cache,
            log: Log::new(key),
            position,
            pending: None,
            doubt: None,
            lost: false,
            since: Since::default(),
        }
    }

    /// What was read from the log at the start is not in a checkpoint yet.
    pub fn note_replayed(&mut self, replayed: &Replayed) {
        self.lost = replayed.hole || replayed.skipped;
        self.since.redo = replayed.redo;
        self.since.rows = replayed.rows;
    }

    pub fn position(&self) -> Position {
        self.position
    }

    pub fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// When the last write was that a start would have to read from the log.
    pub fn unsettled(&self) -> Option<Instant> {
        self.since.last
    }

    /// No attempt at a checkpoint before this.
    pub fn not_before(&self) -> Option<Instant> {
        self.since.not_before
    }

    /// Whether so much was written that a checkpoint is due though writes wait.
    pub fn wants_checkpoint(&self) -> bool {
        let much = self.since.redo >= CHECKPOINT_REDO || self.since.batches >= CHECKPOINT_BATCHES;
        much && self.may_checkpoint()
    }

    pub fn may_checkpoint(&self) -> bool {
        let now = Instant::now();
        self.is_open() && self.since.not_before.is_none_or(|it| it <= now)
    }

    /// Room on the disk that a checkpoint takes at most now, bytes.
    pub fn checkpoint_room(&self) -> u64 {
        let length = recover::database_length(&*self.shared.disk);
        let (rows, redo) = (self.since.rows, self.since.redo as u64);
        checkpoint_room(rows, redo, self.cache as u64, length)
    }

    /// Whether a checkpoint has room for certain; the ballast goes where it takes that.
    /// A checkpoint that fails closes the database to readers for a moment.
    pub fn make_room(&self) -> bool {
        self.has_room() || (self.shared.space.drop_ballast() && self.has_room())
    }

    fn has_room(&self) -> bool {
        let room = self.checkpoint_room();
        !self.shared.disk.free().is_ok_and(|free| free < room)
    }

    /// Has readers wait, and waits for those that read, so that none sees a commit fail.
    fn hush(&self) {
        self.shared.begin_reopening();
        let end = Instant::now() + HUSH_WAIT;
        let reading = |handle| Arc::strong_count(handle) > 1;
        while self.handle.as_ref().is_some_and(reading) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Puts the next checkpoint off.
    pub fn checkpoint_later(&mut self) {
        self.since.not_before = Some(Instant::now() + CHECKPOINT_PAUSE);
    }

    /// As `checkpoint_later`, where what was read from the log waits for it.
    pub fn settle_later(&mut self) {
        self.since.last = Some(Instant::now());
        self.checkpoint_later();
    }

    /// After the log was read at the start: makes a checkpoint of that.
    pub fn settle(&mut self) -> Result<()> {
        let mut settle = |_: &mut Tx<'_>| Ok(Outcome::Keep);
        self.make_room();
        let mut ended = self.transact(true, &mut settle);
        if matches!(ended, Err(Error::Full)) && self.shared.space.drop_ballast() {
            ended = self.transact(true, &mut settle);
        }
        if ended.is_err() {
            self.settle_later();
        }
        ended.map(|_| ())
    }

    /// After the log was read at the start: writes everything in the newest schema from now on.
    pub fn raise_schema(&mut self, from: u64) -> Result<()> {
        // An older program that finds the old schema may still read the log.
        self.settle()?;
        let handle = self.handle()?;
        let raised = recover::raise_schema(&handle.db, &self.shared.options.schemas, from);
        drop(handle);
        if raised.as_ref().is_err_and(Error::breaks_handle) {
            self.reopen();
        }
        raised
    }

    /// Brings the files of the segments into line with the rows, which have to be durable;
    /// `late` if anything was written since the start.
    pub fn sweep(&self, names: &[String], late: bool) -> Result<()> {
        let handle = self.handle()?;
        let rows = recover::read_rows(&handle.db)?;
        let active = self.position.log.segment;
        rows.sweep(&handle.db, names, &self.shared.segments, active, late);
        Ok(())
    }

    /// Whether a checkpoint would let any of the files go that were found at the start.
    pub fn finds_dead(&self, names: &[String]) -> bool {
        let found = self
            .handle()
            .and_then(|handle| recover::read_rows(&handle.db));
        let active = self.position.log.segment;
        found.is_ok_and(|rows| !rows.dead(names, active).is_empty())
    }

    /// Runs `f` in a transaction and makes it durable if it changed anything; with `checkpoint`
    /// in any case, and by a checkpoint. After an error the database has been reopened.
    pub fn transact(
        &mut self,
        checkpoint: bool,
        f: &mut dyn FnMut(&mut Tx<'_>) -> Result<Outcome>,
    ) -> Result<Ended> {
        if !checkpoint || self.has_room() {
            return self.transact_now(checkpoint, f);
        }
        self.hush();
        let ended = self.transact_now(checkpoint, f);
        if let Some(handle) = &self.handle {
            self.shared.put_handle(handle.clone());
        }
        ended
    }

    fn transact_now(
        &mut self,
        checkpoint: bool,
        f: &mut dyn FnMut(&mut Tx<'_>) -> Result<Outcome>,
    ) -> Result<Ended> {
        self.full.store(false, Relaxed);
        let mut stage = Stage::Working;
        let tried = catch_unwind(AssertUnwindSafe(|| {
            self.clear_doubt(checkpoint)?;
            self.try_transact(checkpoint, f, &mut stage)
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
        match stage {
            Stage::Working if error.breaks_handle() => self.reopen(),
            Stage::Working => {}
            Stage::Writing(start, effects) => return Err(self.unwrite(start, effects, error)),
            Stage::Logged(effects) => {
                self.lost = false;
                self.reopen();
                return Ok(Ended::Committed(effects, false));
            }
            Stage::Committing(effects) => {
                let made = self.pending;
                self.reopen();
                if !self.is_open() {
                    self.forget(effects);
                    return Err(Error::Storage(error.to_string()));
                }
                if made.is_some_and(|made| made.log.sequence == self.position.log.sequence) {
                    self.lost = false;
                    return Ok(Ended::Committed(effects, true));
                }
            }
        }
        Err(error)
    }

    /// After a failed write to the log. What can't be taken away from there may be found by the
    /// next start: then it isn't tried again, and its files have to stay.
    fn unwrite(&mut self, start: Mark, effects: Effects, error: Error) -> Error {
        match self.log.undo(&self.shared.segments, start) {
            Ok(()) => error,
            Err(undo) => {
                log::error!("a batch that failed stays in the log for now: {undo}");
                self.doubt = Some(start);
                self.forget(effects);
                Error::Storage(error.to_string())
            }
        }
    }

    /// Nothing may be written while an earlier batch is in doubt: it is taken away, or a
    /// checkpoint makes it void.
    fn clear_doubt(&mut self, checkpoint: bool) -> Result<()> {
        let Some(start) = self.doubt.filter(|_| !checkpoint) else {
            return Ok(());
        };
        match self.log.undo(&self.shared.segments, start) {
            Ok(()) => self.doubt = None,
            Err(_) => {
                let mut stage = Stage::Working;
                let ended = self.try_transact(true, &mut |_| Ok(Outcome::Keep), &mut stage);
                ended.map_err(|error| Error::Storage(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// After a transaction of which nobody knows whether it will be found to be made: its files
    /// stay, and who watches has to look for himself.
    fn forget(&self, effects: Effects) {
        self.shared.hub.overflow();
        self.shared.touched.note(&effects);
        if let Some(place) = effects.queue_changed {
            self.shared.outbox.tell(place);
        }
        let files = effects.kept.iter().filter_map(|data| data.file.as_ref());
        files.for_each(|file| file.keep());
    }

    fn try_transact(
        &mut self,
        checkpoint: bool,
        f: &mut dyn FnMut(&mut Tx<'_>) -> Result<Outcome>,
        stage: &mut Stage,
    ) -> Result<Ended> {
        let handle = self.handle()?;
        let mut txn = handle.db.begin_write()?;
        let mut tx = Tx::new(&txn, &self.shared.segments, self.position)?;
        if self.lost {
            mailbox::skip_lost(&mut tx)?;
        }
        let outcome = f(&mut tx)?;
        let wanted = matches!(outcome, Outcome::Keep) && (tx.touched() || checkpoint);
        if !wanted {
            drop(tx);
            txn.abort()?;
            return Ok(Ended::Unchanged(outcome));
        }
        let Finished {
            batch,
            position,
            mut effects,
            rows,
            durable,
        } = tx.finish(checkpoint)?;
        let redo = batch.as_ref().map_or(0, |batch| batch.redo().len());
        if let Some(batch) = batch {
            *stage = Stage::Writing(batch.start, effects);
            self.log.write(&self.shared.segments, &batch)?;
            effects = stage.take();
        }
        if durable {
            *stage = Stage::Committing(effects);
            self.pending = Some(position);
            // Without it, a start after a crash would have to read the whole database.
            txn.set_quick_repair(true);
            txn.commit()?;
            self.pending = None;
            self.doubt = None;
            self.since = Since::default();
            self.shared.counters.checkpoints.fetch_add(1, Relaxed);
        } else {
            self.since.redo += redo;
            self.since.rows += rows as u64;
            self.since.batches += 1;
            self.since.last = Some(Instant::now());
            self.position = position;
            *stage = Stage::Logged(effects);
            txn.set_durability(Durability::None)
                .map_err(|error| Error::Storage(error.to_string()))?;
            txn.commit()?;
        }
        self.lost = false;
        self.position = position;
        self.shared.counters.commits.fetch_add(1, Relaxed);
        Ok(Ended::Committed(stage.take(), durable))
    }

    pub fn handle(&self) -> Result<Arc<Handle>> {
        match &self.handle {
            Some(handle) => Ok(handle.clone()),
            None => Err(self.down.clone()),
        }
    }

    /// Drops the handle and opens the database again, in a few attempts; if they fail, each
    /// write and, without one, the clock bring further ones.
    pub fn reopen(&mut self) {
        self.shared.begin_reopening();
        for pause in REOPEN_PAUSES {
            std::thread::sleep(pause);
            match self.try_reopen() {
                Ok(()) => return,
                Err(error) => log::error!("the database can't be reopened: {error}"),
            }
        }
        self.shared.give_up();
    }

    pub fn try_reopen(&mut self) -> Result<()> {
        self.full.store(false, Relaxed);
        let opened = self.open_again();
        // The database may do without a write that failed.
        let full = self.full.swap(false, Relaxed);
        let opened = opened.map_err(|error| if full { Error::Full } else { error });
        if let Err(error) = &opened {
            self.close_handle(None);
            if *error == Error::Full && !self.shared.space.drop_ballast() {
                self.cache = self.cache.max(FULL_CACHE);
            }
            self.down = error.clone();
        }
        opened
    }

    fn open_again(&mut self) -> Result<()> {
        self.close_handle(None);
        let shared = &self.shared;
        let db = recover::open_database(&*shared.disk, self.cache, &self.full)?;
        recover::check_schema(&db, &shared.options.schemas)?;
        let names = shared.disk.list(DIRECTORY)?;
        let log = self.position.log;
        let end = recover::replay(&db, &shared.segments, &names, log.sequence)?.end;
        // A number stands for what was made, wherever the next batch goes.
        match self.pending.take() {
            Some(pending) if pending.log.sequence == end.sequence => self.position = pending,
            // It was not made.
            _ if end.sequence == log.sequence => {}
            pending => {
                self.pending = pending;
                return Err(Error::Storage("the log can't be read to its end".into()));
            }
        }
        let handle = Arc::new(Handle { db });
        self.handle = Some(handle.clone());
        self.shared.put_handle(handle);
        Ok(())
    }

    /// Lets no new snapshot begin, waits for those that are (to a second handle, the pages
    /// that they read would look free), and closes the database; false if some
    /// still have it at the deadline.
    pub fn close_handle(&mut self, deadline: Option<Instant>) -> bool {
        self.shared.take_handle();
        let Some(handle) = self.handle.take() else {
            return true;
        };
        while Arc::strong_count(&handle) > 1 {
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}
