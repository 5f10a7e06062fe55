//! Connections that may carry more: kept for a moment, and no more of them at once to one
//! server than it should be asked to bear.

use super::connection::Connection;
use crate::task;
use async_io::Timer;
use async_lock::{Semaphore, SemaphoreGuardArc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections that wait for more mail, of all servers together.
const MAX_IDLE: usize = 32;
/// How long one waits.
const IDLE: Duration = Duration::from_secs(5);
/// Messages that one connection carries.
const MAX_CARRIED: usize = 100;

#[derive(Clone, Default)]
pub struct Pool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    places: Mutex<HashMap<String, Places>>,
    kept: Mutex<Kept>,
}

/// Connections that one server may be asked to carry mail by at once.
struct Places {
    most: usize,
    free: Arc<Semaphore>,
}

#[derive(Default)]
struct Kept {
    idle: Vec<Idle>,
    /// Whether a task waits to end them: one for all.
    watched: bool,
}

/// A connection that has carried a message: it carries no other, and keeps its place, until this
/// is dropped, when the outcome is on disk; and what it carries in several transactions is recorded
/// after each. So a power cut costs one transaction a connection at most that its server has and
/// we don't know of.
pub struct Lease {
    pool: Pool,
    key: String,
    who: String,
    connection: Option<Box<Connection>>,
    _place: SemaphoreGuardArc,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.give_back(&self.key, &self.who, connection);
        }
    }
}

struct Idle {
    key: String,
    /// As whom it is logged in.
    who: String,
    since: Instant,
    connection: Box<Connection>,
}

impl Pool {
    /// Who has it: one task of its own, if any connection waits.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Waits for a place among the `most` connections to that server.
    pub async fn place(&self, key: &str, most: usize) -> SemaphoreGuardArc {
        let free = {
            let mut places = lock(&self.0.places);
            // Those that nobody holds or waits for are forgotten.
            places.retain(|_, it| Arc::strong_count(&it.free) > 1);
            let new = || Places {
                most,
                free: Arc::new(Semaphore::new(most)),
            };
            let places = places.entry(key.to_owned()).or_insert_with(new);
            places.resize(most);
            places.free.clone()
        };
        free.acquire_arc().await
    }

    /// The connection last given back for that server and that login.
    pub fn take(&self, key: &str, who: &str) -> Option<Box<Connection>> {
        let idle = &mut lock(&self.0.kept).idle;
        let at = idle.iter().rposition(|it| it.key == key && it.who == who)?;
        Some(idle.remove(at).connection)
    }

    /// A connection to be given back once it is recorded what came of what it carried.
    pub fn lease(
        &self,
        key: String,
        who: &str,
        connection: Box<Connection>,
        place: SemaphoreGuardArc,
    ) -> Lease {
        Lease {
            pool: self.clone(),
            key,
            who: who.to_owned(),
            connection: Some(connection),
            _place: place,
        }
    }

    /// Keeps a connection for a moment, then ends it.
    fn give_back(&self, key: &str, who: &str, connection: Box<Connection>) {
        let mut kept = lock(&self.0.kept);
        let spent = connection.carried >= MAX_CARRIED || connection.is_spent();
        if spent || kept.idle.len() >= MAX_IDLE {
            drop(kept);
            return task::spawn(connection.quit()).detach();
        }
        kept.idle.push(Idle {
            key: key.to_owned(),
            who: who.to_owned(),
            since: Instant::now(),
            connection,
        });
        if !std::mem::replace(&mut kept.watched, true) {
            task::spawn(self.clone().watch()).detach();
        }
    }

    /// Ends those that have waited long enough, until there are none.
    async fn watch(self) {
        while let Some(wait) = self.next() {
            Timer::after(wait).await;
            for tired in self.tired() {
                task::spawn(tired.connection.quit()).detach();
            }
        }
    }

    /// How long until the next has waited enough; `None` if none waits.
    fn next(&self) -> Option<Duration> {
        let mut kept = lock(&self.0.kept);
        let oldest = kept.idle.iter().map(|it| it.since).min();
        kept.watched = oldest.is_some();
        oldest.map(|since| IDLE.saturating_sub(since.elapsed()))
    }

    fn tired(&self) -> Vec<Idle> {
        let idle = &mut lock(&self.0.kept).idle;
        let tired = idle.extract_if(.., |it| it.since.elapsed() >= IDLE);
        tired.collect()
    }
}

impl Places {
    /// As the owner has it now. Of places that are taken, those too many go when they are free.
    fn resize(&mut self, most: usize) {
        self.free.add_permits(most.saturating_sub(self.most));
        self.most = self.most.max(most);
        while self.most > most
            && let Some(place) = self.free.try_acquire_arc()
        {
            place.forget();
            self.most -= 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
