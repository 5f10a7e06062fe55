//! Logins that are over though their sessions may still run: of an app password that was
//! revoked, of an account that was disabled or deleted.

use super::Store;
use super::segment::lock;
use crate::mail::AccountId;
use event_listener::Event;
use std::sync::Mutex;

/// Endings that wait to be seen; past that all sessions of the accounts end.
const MAX_WAITING: usize = 1000;

/// Whose sessions are to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub account: AccountId,
    /// Those that logged in by this, as the audit log names it; `None` is all of them.
    pub means: Option<String>,
}

#[derive(Default)]
pub(super) struct Endings {
    event: Event,
    waiting: Mutex<Vec<Ended>>,
}

impl Store {
    /// Has the sessions end that logged in so; call it after the change is made.
    pub fn end_sessions(&self, account: AccountId, means: Option<String>) {
        let endings = &self.shared().endings;
        let mut waiting = lock(&endings.waiting);
        if waiting.len() >= MAX_WAITING {
            for it in waiting.iter_mut() {
                it.means = None;
            }
            waiting.dedup();
        }
        let ended = Ended { account, means };
        if !waiting.contains(&ended) {
            waiting.push(ended);
        }
        drop(waiting);
        endings.event.notify(usize::MAX);
    }

    /// Waits until sessions are to end.
    pub async fn ended_sessions(&self) -> Vec<Ended> {
        let endings = &self.shared().endings;
        loop {
            let told = endings.event.listen();
            let ended = std::mem::take(&mut *lock(&endings.waiting));
            if !ended.is_empty() {
                return ended;
            }
            told.await;
        }
    }
}
