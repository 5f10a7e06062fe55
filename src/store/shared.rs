//! What the callers' side, the readers and the writer thread share.

use super::Options;
use super::audit::Pending;
use super::blob::Damaged;
use super::change::Hub;
use super::check::Touched;
use super::disk::{Counters, Disk};
use super::ending::Endings;
use super::error::{Error, Result};
use super::outbox::OutboxNews;
use super::queue::Queue;
use super::segment::{Segments, lock};
use super::space::Space;
use super::staging::Uploads;
use crate::mail::{MailboxId, Quota, Uid, UidSet};
use event_listener::Event;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a reader waits at most for a database that is being reopened.
const REOPEN_WAIT: Duration = Duration::from_secs(5);

pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub options: Options,
    pub segments: Segments,
    pub space: Space,
    pub uploads: Uploads,
    pub queue: Queue,
    pub hub: Hub,
    pub counters: Arc<Counters>,
    pub outbox: OutboxNews,
    /// Told when a record has changed.
    pub records: Event,
    /// Told when an account has come to another level of its quota.
    pub quotas: Event,
    /// Events for the audit log that are not saved yet.
    pub audit: Mutex<Pending>,
    /// Of accounts that have no other.
    pub quota: Mutex<Quota>,
    /// Logins that are over.
    pub endings: Endings,
    /// \Recent claims that the mailboxes' rows don't have yet.
    pub recent: Mutex<HashMap<MailboxId, Uid>>,
    /// UIDs of mailboxes read lately.
    pub uids: UidCache,
    /// For a check that is under way.
    pub touched: Touched,
    pub damaged: Arc<Damaged>,
    slot: Mutex<Slot>,
    /// Told when `slot` has changed.
    reopened: Condvar,
}

/// What readers find.
enum Slot {
    Open(Arc<Handle>),
    /// They wait for it, until then.
    Reopening(Instant),
    Down,
}

/// An open database. Nobody keeps it longer than one snapshot or one batch.
pub(super) struct Handle {
    pub db: redb::Database,
}

/// The UIDs of the mailboxes read last, each of one highest mod-sequence: every SELECT
/// asks for them. The last used is at the end.
#[derive(Default)]
pub(super) struct UidCache(Mutex<Vec<(MailboxId, u64, Arc<UidSet>)>>);

/// Mailboxes whose UIDs are kept.
const MAX_CACHED: usize = 32;
/// Ranges of UIDs of a mailbox worth keeping: 32 KiB.
const MAX_CACHED_RANGES: usize = 4096;

impl UidCache {
    pub fn get(&self, mailbox: MailboxId, modseq: u64) -> Option<Arc<UidSet>> {
        let mut cached = lock(&self.0);
        let at = cached.iter().position(|it| it.0 == mailbox)?;
        let entry = cached.remove(at);
        let found = (entry.1 == modseq).then(|| entry.2.clone());
        cached.push(entry);
        found
    }

    pub fn put(&self, mailbox: MailboxId, modseq: u64, uids: &UidSet) {
        if uids.ranges().len() > MAX_CACHED_RANGES {
            return;
        }
        let mut cached = lock(&self.0);
        cached.retain(|it| it.0 != mailbox);
        if cached.len() >= MAX_CACHED {
            cached.remove(0);
        }
        cached.push((mailbox, modseq, Arc::new(uids.clone())));
    }
}

impl Shared {
    pub fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        segments: Segments,
        counters: Arc<Counters>,
        handle: Arc<Handle>,
    ) -> Shared {
        Shared {
            space: Space::new(disk.clone(), &options),
            disk,
            options,
            segments,
            uploads: Uploads::default(),
            queue: Queue::default(),
            hub: Hub::default(),
            counters,
            outbox: OutboxNews::default(),
            records: Event::new(),
            quotas: Event::new(),
            audit: Mutex::default(),
            quota: Mutex::default(),
            endings: Endings::default(),
            recent: Mutex::default(),
            uids: UidCache::default(),
            touched: Touched::default(),
            damaged: Arc::default(),
            slot: Mutex::new(Slot::Open(handle)),
            reopened: Condvar::new(),
        }
    }

    /// Waits for a database that is being reopened: readers notice no more of it than a pause.
    /// [`Error::Storage`] if that fails or takes longer than [`REOPEN_WAIT`].
    pub fn handle(&self) -> Result<Arc<Handle>> {
        let mut slot = lock(&self.slot);
        loop {
            let left = match &*slot {
                Slot::Open(handle) => return Ok(handle.clone()),
                Slot::Reopening(until) => until.saturating_duration_since(Instant::now()),
                Slot::Down => Duration::ZERO,
            };
            if self.queue.is_closed() {
                return Err(Error::Closed);
            }
            if left.is_zero() {
                return Err(Error::Storage("the database is being reopened".into()));
            }
            let waited = self.reopened.wait_timeout(slot, left);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Readers wait from now on, if they had a database.
    pub fn begin_reopening(&self) {
        let mut slot = lock(&self.slot);
        if matches!(*slot, Slot::Open(_)) {
            *slot = Slot::Reopening(Instant::now() + REOPEN_WAIT);
        }
    }

    pub fn put_handle(&self, handle: Arc<Handle>) {
        self.set(Slot::Open(handle));
    }

    /// Takes the database from readers; those that wait for another go on waiting.
    pub fn take_handle(&self) {
        let mut slot = lock(&self.slot);
        if matches!(*slot, Slot::Open(_)) {
            *slot = Slot::Down;
        }
    }

    /// It could not be reopened: nobody waits any longer.
    pub fn give_up(&self) {
        self.set(Slot::Down);
    }

    fn set(&self, slot: Slot) {
        *lock(&self.slot) = slot;
        self.reopened.notify_all();
    }

    /// Largest message, bytes; sizes are 32 bits wide.
    pub fn max_message(&self) -> u64 {
        self.options.max_message.min(u64::from(u32::MAX))
    }

    /// Takes over what has been claimed as \Recent and not yet been recorded.
    pub fn take_recent(&self) -> HashMap<MailboxId, Uid> {
        std::mem::take(&mut *lock(&self.recent))
    }
}
