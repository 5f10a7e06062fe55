//! What the callers' side, the readers and the writer thread share.

use super::Options;
use super::change::Hub;
use super::disk::{Counters, Disk};
use super::error::{Error, Result};
use super::queue::Queue;
use super::segment::{Segments, lock};
use super::space::Space;
use super::staging::Uploads;
use crate::mail::{MailboxId, Uid};
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
    /// \Recent claims that the mailboxes' rows don't have yet.
    pub recent: Mutex<HashMap<MailboxId, Uid>>,
    /// None while the supervisor reopens it, and after close.
    handle: RwLock<Option<Arc<Handle>>>,
}

/// An open database. Nobody keeps it longer than one snapshot or one batch.
pub(super) struct Handle {
    pub db: redb::Database,
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
            recent: Mutex::default(),
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
