//! What the callers' side, the readers and the writer thread share.

use super::Options;
use super::change::Hub;
use super::disk::{Counters, Disk};
use super::error::{Error, Result};
use super::outbox::OutboxNews;
use super::queue::Queue;
use super::segment::{Segments, lock};
use super::space::Space;
use super::staging::Uploads;
use crate::mail::{MailboxId, Uid, UidSet};
use event_listener::Event;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

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
    /// \Recent claims that the mailboxes' rows don't have yet.
    pub recent: Mutex<HashMap<MailboxId, Uid>>,
    /// UIDs of mailboxes read lately.
    pub uids: UidCache,
    /// None while the supervisor reopens it, and after close.
    handle: RwLock<Option<Arc<Handle>>>,
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
            recent: Mutex::default(),
            uids: UidCache::default(),
            handle: RwLock::new(Some(handle)),
        }
    }

    /// [`Error::Storage`] while the database is being reopened.
    pub fn handle(&self) -> Result<Arc<Handle>> {
        let handle = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        match &*handle {
            Some(handle) => Ok(handle.clone()),
            None if self.queue.is_closed() => Err(Error::Closed),
            None => Err(Error::Storage("the database is being reopened".into())),
        }
    }

    /// Puts another database in place, or none; gives back what was there.
    pub fn swap_handle(&self, handle: Option<Arc<Handle>>) -> Option<Arc<Handle>> {
        let mut slot = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut slot, handle)
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
