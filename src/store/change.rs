//! The hub: what a commit did to a mailbox, told to the sessions that have it selected.

use super::Origin;
use super::segment::lock;
use crate::mail::{Change, MailboxId, ModSeq};
use event_listener::Event;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

/// Messages that the changes waiting for one session name; beyond, it reads its mailbox again.
pub const MAX_WAITING: usize = 1024;

#[derive(Default)]
pub(super) struct Hub {
    mailboxes: Mutex<HashMap<MailboxId, Vec<Arc<Watcher>>>>,
    next: AtomicU64,
}

/// A change for the hub, made by a transaction.
#[derive(Clone, Debug)]
pub(super) struct Publication {
    pub mailbox: MailboxId,
    pub modseq: ModSeq,
    pub change: Change,
    pub origin: Origin,
}

struct Watcher {
    id: u64,
    waiting: Mutex<Waiting>,
    event: Event,
}

#[derive(Default)]
struct Waiting {
    changes: Vec<(ModSeq, Change)>,
    /// Messages named in `changes`.
    weight: usize,
    overflow: bool,
}

/// A session's place in a mailbox's hub. Dropping it unsubscribes.
pub struct Watch {
    hub: Weak<super::shared::Shared>,
    mailbox: MailboxId,
    watcher: Arc<Watcher>,
}

/// What came since the last take.
#[derive(Debug)]
pub enum News {
    Changes(Vec<(ModSeq, Change)>),
    /// More than the bounded list holds: read the mailbox again.
    Overflow,
}

impl Hub {
    fn subscribe(&self, mailbox: MailboxId) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher {
            id: self.next.fetch_add(1, Relaxed),
            waiting: Mutex::default(),
            event: Event::new(),
        });
        lock(&self.mailboxes)
            .entry(mailbox)
            .or_default()
            .push(watcher.clone());
        watcher
    }

    fn unsubscribe(&self, mailbox: MailboxId, id: u64) {
        let mut mailboxes = lock(&self.mailboxes);
        if let Some(watchers) = mailboxes.get_mut(&mailbox) {
            watchers.retain(|watcher| watcher.id != id);
            if watchers.is_empty() {
                mailboxes.remove(&mailbox);
            }
        }
    }

    /// Called by the writer thread alone, after the commit, in its order.
    pub fn publish(&self, publications: Vec<Publication>) {
        for it in publications {
            let mailboxes = lock(&self.mailboxes);
            let Some(watchers) = mailboxes.get(&it.mailbox) else {
                continue;
            };
            for watcher in watchers {
                if it.origin != Origin(Some(watcher.id)) {
                    watcher.tell(it.modseq, &it.change);
                }
            }
        }
    }
}

impl Hub {
    /// Something may have been committed that can't be told: everybody reads again.
    pub fn overflow(&self) {
        for watcher in lock(&self.mailboxes).values().flatten() {
            *lock(&watcher.waiting) = Waiting {
                overflow: true,
                ..Waiting::default()
            };
            watcher.event.notify(usize::MAX);
        }
    }
}

impl Watcher {
    fn tell(&self, modseq: ModSeq, change: &Change) {
        let mut waiting = lock(&self.waiting);
        if !waiting.overflow {
            waiting.weight += weight(change);
            if waiting.weight > MAX_WAITING {
                *waiting = Waiting {
                    overflow: true,
                    ..Waiting::default()
                };
            } else {
                waiting.changes.push((modseq, change.clone()));
            }
        }
        drop(waiting);
        self.event.notify(usize::MAX);
    }
}

/// How many messages it lists, and one for itself.
fn weight(change: &Change) -> usize {
    1 + match change {
        Change::Arrived(messages) => messages.len(),
        Change::Expunged { uids, .. } => uids.ranges().len(),
        Change::Flags { messages, keywords } => messages.len() + keywords.len(),
        Change::KeyReset | Change::Deleted => 0,
    }
}

impl Watch {
    pub(super) fn new(shared: &Arc<super::shared::Shared>, mailbox: MailboxId) -> Watch {
        Watch {
            hub: Arc::downgrade(shared),
            mailbox,
            watcher: shared.hub.subscribe(mailbox),
        }
    }

    /// Names this watcher as the origin of its own writes.
    pub fn origin(&self) -> Origin {
        Origin(Some(self.watcher.id))
    }

    /// What has come; empties the list. Does not wait.
    pub fn take(&mut self) -> News {
        let waiting = std::mem::take(&mut *lock(&self.watcher.waiting));
        if waiting.overflow {
            News::Overflow
        } else {
            News::Changes(waiting.changes)
        }
    }

    pub fn is_empty(&self) -> bool {
        let waiting = lock(&self.watcher.waiting);
        waiting.changes.is_empty() && !waiting.overflow
    }

    /// Returns when there is something to take. Cancel-safe.
    pub async fn changed(&self) {
        while self.is_empty() {
            let listener = self.watcher.event.listen();
            if !self.is_empty() {
                return;
            }
            listener.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(shared) = self.hub.upgrade() {
            shared.hub.unsubscribe(self.mailbox, self.watcher.id);
        }
    }
}
