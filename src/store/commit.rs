//! One transaction from begin to commit, and the supervisor: redb refuses all calls after
//! an I/O error, so the handle is dropped and opened again.

use super::disk::File;
use super::error::{Error, Result};
use super::recover;
use super::schema::*;
use super::shared::{Handle, Shared};
use super::tx::{Appended, Effects, Position, Tx, unix_now};
use redb::ReadableTable;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Pauses before the attempts to reopen a failed database while a write waits for it.
const REOPEN_PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(10),
    Duration::from_millis(40),
];

/// The writer thread's hold on the database and the active segment.
pub(super) struct Committer {
    shared: Arc<Shared>,
    /// None while it can't be reopened.
    handle: Option<Arc<Handle>>,
    /// Why it can't.
    down: Error,
    /// Set by the database's backend when the disk was full.
    full: Arc<AtomicBool>,
    position: Position,
    active: Option<(u32, Arc<dyn File>)>,
    /// The last commit that didn't save the allocator state.
    unsettled: Option<Instant>,
    attempt: u64,
}

/// Whether a transaction is to be kept.
pub(super) enum Outcome {
    Keep,
    Abort,
}

/// How a transaction ended.
pub(super) enum Ended {
    Committed(Effects),
    /// Nothing was changed, or it was aborted.
    Unchanged(Outcome),
}

impl Committer {
    pub fn new(
        shared: Arc<Shared>,
        handle: Arc<Handle>,
        full: Arc<AtomicBool>,
        position: Position,
    ) -> Committer {
        Committer {
            shared,
            handle: Some(handle),
            down: Error::Closed,
            full,
            position,
            active: None,
            unsettled: Some(Instant::now()),
            // No earlier process has used these numbers.
            attempt: unix_now().unsigned_abs() << 24,
        }
    }

    pub fn position(&self) -> Position {
        self.position
    }

    pub fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// Since when a crash would cost a repair at the next start.
    pub fn unsettled(&self) -> Option<Instant> {
        self.unsettled
    }

    /// Puts the next attempt at saving the allocator state off.
    pub fn settle_later(&mut self) {
        self.unsettled = Some(Instant::now());
    }

    /// Runs `f` in a transaction and commits it if it changed anything (or `settle`: then the
    /// allocator state is saved too). After an error the database has been reopened.
    pub fn transact(
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
        let Some(effects) = committing else {
            return Err(error);
        };
        match mark {
            Some(mark) if self.has_mark(mark) => Ok(Ended::Committed(effects)),
            Some(_) if self.is_open() => Err(error),
            _ => {
                self.forget(effects);
                Err(Error::Storage(error.to_string()))
            }
        }
    }

    /// After a commit of which nobody knows whether it was made: it is not tried again, its
    /// files stay if they may be named, and who watches has to look for himself.
    fn forget(&self, effects: Effects) {
        self.shared.hub.overflow();
        for file in effects.kept.iter().filter_map(|data| data.file.as_ref()) {
            if self.may_have_segment(file.segment) {
                file.keep();
            }
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

    pub fn handle(&self) -> Result<Arc<Handle>> {
        match &self.handle {
            Some(handle) => Ok(handle.clone()),
            None => Err(self.down.clone()),
        }
    }

    /// Drops the handle and opens the database again, in a few attempts; if they fail, each
    /// write and, without one, the clock bring further ones.
    pub fn reopen(&mut self) {
        self.active = None;
        for pause in REOPEN_PAUSES {
            std::thread::sleep(pause);
            match self.try_reopen() {
                Ok(()) => return,
                Err(error) => log::error!("the database can't be reopened: {error}"),
            }
        }
    }

    pub fn try_reopen(&mut self) -> Result<()> {
        let opened = self.open_again();
        if let Err(error) = &opened {
            self.down = error.clone();
        }
        opened
    }

    fn open_again(&mut self) -> Result<()> {
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
    pub fn close_handle(&mut self, deadline: Option<Instant>) {
        self.shared.swap_handle(None);
        if let Some(handle) = self.handle.take() {
            let late = || deadline.is_some_and(|deadline| Instant::now() > deadline);
            while Arc::strong_count(&handle) > 1 && !late() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
