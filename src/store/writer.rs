//! The writer thread: takes what waits, commits it as one, publishes, answers. Between
//! batches it does the slow work in slices.

use super::change::Publication;
use super::commit::{Committer, Ended, Outcome};
use super::compact::{Compactor, SLICE_BYTES};
use super::error::{Error, Result};
use super::gather::Gather;
use super::mailbox;
use super::queue::Job;
use super::segment::lock;
use super::shared::Shared;
use super::tx::{Effects, Tx};
use crate::mail::{MailboxId, Uid};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Quiet after which a checkpoint is made.
const QUIET: Duration = Duration::from_secs(10);
/// How long segments without a row wait for a checkpoint: until then a crash brings them back.
const CONDEMNED_WAIT: Duration = Duration::from_secs(1);
/// Between two looks at dead segments that a snapshot still holds.
const GRAVE_PAUSE: Duration = Duration::from_millis(100);
/// Blocks of a deleted mailbox taken away in one slice.
const PURGE_BLOCKS: usize = 16;
/// Batches after which a slice of slow work is done though writes wait.
const BUSY_BATCHES: u32 = 16;
/// Between two attempts while nobody waits.
const REOPEN_REST: Duration = Duration::from_secs(1);
/// How long a closing store waits for its readers.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

pub(super) struct Writer {
    shared: Arc<Shared>,
    committer: Committer,
    /// The segment files found at the start, to be swept once what the log had is durable.
    unswept: Option<Vec<String>>,
    /// Some of them can go then.
    found_dead: bool,
    settle_tried: bool,
    gather: Gather,
    compactor: Compactor,
    /// Deleted mailboxes may have messages left.
    purging: bool,
    /// Segments without a row, to be removed after the next checkpoint, and since when.
    condemned: Vec<u32>,
    condemned_since: Option<Instant>,
    /// Dead segments wait for snapshots to end.
    graves: bool,
    /// Batches since the last slice of slow work.
    busy: u32,
}

/// Tells those who wait that the thread has ended, however it did.
struct EndNotice(Arc<Shared>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0.queue.set_ended();
    }
}

impl Writer {
    pub fn new(shared: Arc<Shared>, committer: Committer, unswept: Option<Vec<String>>) -> Writer {
        Writer {
            shared,
            committer,
            unswept,
            found_dead: false,
            settle_tried: false,
            gather: Gather::default(),
            compactor: Compactor::new(),
            purging: true,
            condemned: Vec::new(),
            condemned_since: None,
            graves: false,
            busy: 0,
        }
    }

    pub fn run(mut self) {
        let _notice = EndNotice(self.shared.clone());
        loop {
            let turn = AssertUnwindSafe(|| {
                self.after_crash();
                self.turn()
            });
            match catch_unwind(turn) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    log::error!("the store's writer stumbled over a bug; it goes on");
                    self.compactor = Compactor::new();
                    self.committer.reopen();
                }
            }
        }
        self.end();
    }

    /// Makes durable what was read from the log, while readers are served already. Before any
    /// write: what has no row now is in no snapshot either.
    fn after_crash(&mut self) {
        let Some(names) = self.unswept.as_ref().filter(|_| !self.settle_tried) else {
            return;
        };
        self.settle_tried = true;
        self.found_dead = self.committer.finds_dead(names);
        if !self.worth_trying() {
            log::warn!("no room for a checkpoint of what the log has: it waits");
            self.committer.settle_later();
        } else if self.committer.settle().is_ok() {
            self.sweep_found(false);
        }
    }

    /// Whether a checkpoint lets files go.
    fn makes_room(&self) -> bool {
        !self.condemned.is_empty() || (self.found_dead && self.unswept.is_some())
    }

    /// Not even tried without room, unless it makes some.
    fn worth_trying(&self) -> bool {
        self.committer.make_room() || self.makes_room() || self.shared.queue.is_closed()
    }

    /// Sweeps the files that were found at the start, unless that is done.
    fn sweep_found(&mut self, late: bool) {
        if let Some(names) = self.unswept.take()
            && let Err(error) = self.committer.sweep(&names, late)
        {
            log::warn!("segments without a row stay until the next start: {error}");
        }
    }

    /// Serves a batch, or does what the clock asks for; false at the end.
    fn turn(&mut self) -> bool {
        let next = self.next_background();
        self.shared.queue.wait(1, next);
        if self.shared.queue.len() == 0 {
            if self.shared.queue.is_closed() {
                return false;
            }
            self.busy = 0;
            self.background();
            return true;
        }
        self.gather.wait(&self.shared.queue);
        let batch = self.shared.queue.take_batch();
        let (count, started) = (batch.len(), Instant::now());
        self.serve(batch);
        let waiting = self.shared.queue.len();
        self.gather.note(count, waiting, started.elapsed());
        if self.committer.wants_checkpoint() || self.condemned_long() {
            self.checkpoint();
        }
        self.busy += 1;
        if self.busy >= BUSY_BATCHES {
            self.busy = 0;
            self.slow_work();
        }
        true
    }

    /// Commits `batch`, without those of its jobs that fail, and answers all of them.
    fn serve(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let mut failures: Vec<Option<Error>> = vec![None; batch.len()];
        let mut result = self.commit(false, &mut batch, &mut failures);
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
                _ => self.commit(false, &mut batch, &mut failures),
            };
            // No block for the log: the database may have free pages of its own, and what is
            // deleted then gives its room back.
            if result == Err(Error::Full) && self.committer.may_checkpoint() {
                result = self.commit(true, &mut batch, &mut failures);
                if result.is_err() {
                    self.committer.checkpoint_later();
                }
            }
        }
        for (job, failure) in batch.into_iter().zip(failures) {
            job.answer(failure.or_else(|| result.clone().err()));
        }
    }

    /// One transaction, by a checkpoint if `durable`; [`Error::Full`] says that it had no effect
    /// and can be tried again.
    fn commit(
        &mut self,
        durable: bool,
        batch: &mut [Box<dyn Job>],
        failures: &mut [Option<Error>],
    ) -> Result<()> {
        loop {
            let jobs = batch.iter_mut().zip(failures.iter_mut());
            let mut jobs: Vec<_> = jobs.filter(|(_, failure)| failure.is_none()).collect();
            let count = jobs.len() as u64;
            let ended = self
                .committer
                .transact(durable, &mut |tx| run_jobs(tx, &mut jobs));
            if matches!(ended, Err(Error::Storage(_))) {
                self.compactor.look_again();
            }
            match ended? {
                Ended::Unchanged(Outcome::Abort) => continue,
                Ended::Unchanged(Outcome::Keep) => {}
                Ended::Committed(effects, durable) => {
                    self.shared.counters.operations.fetch_add(count, Relaxed);
                    self.after_commit(effects, durable);
                }
            }
            return Ok(());
        }
    }

    fn after_commit(&mut self, effects: Effects, durable: bool) {
        self.shared.touched.note(&effects);
        for data in effects.kept {
            data.file.iter().for_each(|file| file.keep());
        }
        self.purging |= dooms(&effects.publications);
        self.compactor.note(&effects.sparse);
        if let Some(place) = effects.queue_changed {
            self.shared.outbox.tell(place);
        }
        if !effects.dead.is_empty() {
            self.condemned.extend(effects.dead);
            self.condemned_since.get_or_insert_with(Instant::now);
        }
        if durable {
            self.sweep_found(true);
            let dead = std::mem::take(&mut self.condemned);
            self.condemned_since = None;
            self.shared.segments.bury(dead);
            self.graves = self.shared.segments.sweep();
        }
        self.shared.hub.publish(effects.publications);
        if effects.quotas.get() {
            self.shared.quotas.notify(usize::MAX);
        }
    }

    /// When to stop waiting for jobs and look after the slow work; none if there is none.
    fn next_background(&self) -> Option<Instant> {
        let now = Instant::now();
        if !self.committer.is_open() {
            return Some(now + REOPEN_REST);
        }
        let times = [
            self.purging.then_some(now),
            self.compactor.due(),
            self.graves.then(|| now + GRAVE_PAUSE),
            self.checkpoint_due(),
        ];
        times.into_iter().flatten().min()
    }

    fn checkpoint_due(&self) -> Option<Instant> {
        let quiet = self.committer.unsettled().map(|since| since + QUIET);
        let condemned = self.condemned_since.map(|since| since + CONDEMNED_WAIT);
        let due = quiet.into_iter().chain(condemned).min()?;
        Some(due.max(self.committer.not_before().unwrap_or(due)))
    }

    fn condemned_long(&self) -> bool {
        self.condemned_since
            .is_some_and(|since| since.elapsed() >= CONDEMNED_WAIT)
            && self.committer.may_checkpoint()
    }

    fn background(&mut self) {
        if !self.committer.is_open() {
            if let Err(error) = self.committer.try_reopen() {
                log::error!("the database can't be reopened: {error}");
            }
            return;
        }
        self.slow_work();
        if self
            .checkpoint_due()
            .is_some_and(|due| due <= Instant::now())
        {
            let room = self.committer.checkpoint_room();
            match self.makes_room() || self.shared.space.has_slack(room) {
                true => self.checkpoint(),
                false => self.committer.checkpoint_later(),
            }
            self.shared.space.restore_ballast();
        }
    }

    fn slow_work(&mut self) {
        if self.graves {
            self.graves = self.shared.segments.sweep();
        }
        if self.purging {
            let mut more = false;
            self.alone(&mut |tx| {
                more = mailbox::purge(tx, PURGE_BLOCKS)?;
                Ok(())
            });
            self.purging = more;
            return;
        }
        if !self.shared.space.has_slack(4 * SLICE_BYTES) {
            self.compactor.wait();
            return;
        }
        let Ok(handle) = self.committer.handle() else {
            return;
        };
        let slice = self.compactor.read(
            &handle.db,
            &self.shared.segments,
            &self.committer.position(),
        );
        drop(handle);
        if let Some(slice) = slice {
            let applied = self.alone(&mut |tx| slice.apply(tx));
            self.compactor.done(slice, applied);
        }
    }

    /// Makes the database durable, with the \Recent claims: the log before is needed no more,
    /// and segments without a row can go. That makes room, so it may take the ballast's.
    fn checkpoint(&mut self) {
        if !self.worth_trying() {
            log::warn!("no room for a checkpoint: it waits");
            self.committer.checkpoint_later();
            return;
        }
        let claims = self.shared.take_recent();
        let mut made = self.try_checkpoint(&claims);
        if made == Err(Error::Full) && self.shared.space.drop_ballast() {
            made = self.try_checkpoint(&claims);
        }
        if let Err(error) = made {
            log::warn!("a checkpoint failed: {error}");
            // Not lost: claims made since then are newer.
            let mut recent = lock(&self.shared.recent);
            for (id, uid) in claims {
                recent.entry(id).or_insert(uid);
            }
            self.committer.checkpoint_later();
        }
    }

    fn try_checkpoint(&mut self, claims: &HashMap<MailboxId, Uid>) -> Result<()> {
        let ended = self.committer.transact(true, &mut |tx| {
            for (id, uid) in claims {
                match tx.mailbox(*id) {
                    Ok(mut row) if row.recent < uid.get() => {
                        row.recent = uid.get();
                        tx.put_mailbox(*id, &row)?;
                    }
                    Ok(_) | Err(Error::NoMailbox) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(Outcome::Keep)
        })?;
        if let Ended::Committed(effects, durable) = ended {
            self.after_commit(effects, durable);
        }
        Ok(())
    }

    /// A transaction of the writer's own; false if it failed.
    fn alone(&mut self, f: &mut dyn FnMut(&mut Tx<'_>) -> Result<()>) -> bool {
        let ended = self
            .committer
            .transact(false, &mut |tx| f(tx).map(|()| Outcome::Keep));
        match ended {
            Ok(Ended::Committed(effects, durable)) => {
                self.after_commit(effects, durable);
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
        self.checkpoint();
        self.shared.segments.sweep();
        // Closing saves the allocator state; a snapshot that lasts longer leaves a repair.
        // It also keeps the lock: the database is still open in this process.
        let deadline = Instant::now() + CLOSE_WAIT;
        if self.committer.close_handle(Some(deadline)) {
            self.shared.disk.unlock();
        }
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
