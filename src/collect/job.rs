//! One collector at work: what it does, where its mail goes, and how it does.

use super::collector::Collector;
use super::failure::Failure;
use super::link::{Link, World};
use super::memory::Unique;
use super::record::{self, Number, Status};
use super::take::{Target, Trace};
use crate::address::Address;
use crate::context::Context;
use crate::mail::DateTime;
use crate::store::{Error, Result, Store};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How old the moment of the last success may be in the store, seconds: it is not worth a
/// write each time.
pub const KEEP_SUCCESS: i64 = 600;
/// Messages whose listed sizes are wrong that are remembered until the next start.
const MAX_TOO_LARGE: usize = 1000;

pub struct Job {
    pub number: Number,
    pub collector: Collector,
    pub store: Store,
    pub world: World,
    pub target: Target,
    max_message_size: u64,
    hostname: String,
    address: Address,
    status: Mutex<Status>,
    /// Messages are asked for one by one, until all that is there has been.
    singly: AtomicBool,
    /// Larger than listed.
    too_large: Mutex<BTreeSet<Unique>>,
}

impl Job {
    /// [`Error::NoAccount`] where the account is gone.
    pub fn new(
        context: &Context,
        world: &World,
        number: Number,
        collector: Collector,
    ) -> Result<Job> {
        let store = &context.store;
        let (account, status) = store.look(|snapshot| {
            let account = snapshot.account(collector.account)?;
            Ok((account, record::status(snapshot, number)?))
        })?;
        Ok(Job {
            number,
            store: store.clone(),
            world: world.clone(),
            target: Target {
                account: collector.account,
                mailbox: collector.into.clone(),
            },
            collector,
            max_message_size: context.settings().max_message_size,
            hostname: context.settings().hostname.clone(),
            address: account.ok_or(Error::NoAccount)?.address,
            status: Mutex::new(status),
            singly: AtomicBool::new(false),
            too_large: Mutex::default(),
        })
    }

    /// Largest message that is taken, bytes: another never fits into the mailbox.
    pub fn max_size(&self) -> u64 {
        self.target.largest(&self.store, self.max_message_size)
    }

    pub fn trace(&self, link: &Link, with: &'static str) -> std::result::Result<Trace, Failure> {
        Ok(Trace {
            host: self.collector.host.clone(),
            peer: link.peer(),
            hostname: self.hostname.clone(),
            with,
            tls: link.is_tls(),
            account: self.address.clone(),
            now: now(),
        })
    }

    /// The status with that many messages more, to be noted with their delivery.
    pub fn more(&self, messages: u64) -> Status {
        let mut status = lock(&self.status).clone();
        status.taken += messages;
        status
    }

    pub fn set_status(&self, status: Status) {
        *lock(&self.status) = status;
    }

    /// All has been fetched but for `left` messages.
    pub async fn succeeded(&self, left: u64) {
        self.set_singly(false);
        let (before, now) = (lock(&self.status).clone(), now().unix);
        let failed = before.failing_since != 0;
        let old = now - before.success >= KEEP_SUCCESS;
        if failed {
            log::info!("collector {}: it works again", self.number);
        }
        if failed || old || left != before.left {
            let status = Status {
                taken: before.taken,
                success: now,
                left,
                ..Status::default()
            };
            self.save(status).await;
        }
    }

    pub async fn failed(&self, failure: &Failure) {
        let before = lock(&self.status).clone();
        let mut status = before.clone();
        if status.failing_since == 0 {
            status.failing_since = now().unix;
        }
        status.error = failure.text.clone();
        if status.error != before.error {
            let (number, source) = (self.number, self.collector.source());
            log::warn!("collector {number}: {source}: {failure}");
            self.save(status).await;
        }
    }

    async fn save(&self, status: Status) {
        let saved = self.store.note(vec![status.note(self.number)]).await;
        self.set_status(status);
        if let Err(error) = saved {
            log::warn!("collector {}: its status: {error}", self.number);
        }
    }

    pub fn is_singly(&self) -> bool {
        self.singly.load(Relaxed)
    }

    pub fn set_singly(&self, singly: bool) {
        self.singly.store(singly, Relaxed);
    }

    pub fn is_too_large(&self, unique: Unique) -> bool {
        lock(&self.too_large).contains(&unique)
    }

    pub fn note_too_large(&self, unique: Unique) {
        let mut known = lock(&self.too_large);
        if known.len() < MAX_TOO_LARGE {
            known.insert(unique);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This moment, in UTC.
pub fn now() -> DateTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    DateTime {
        unix: since.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX)),
        offset: 0,
    }
}
