//! Connections that may carry more: kept for a moment, and no more of them at once to one
//! server than it should be asked to bear.

use super::connection::Connection;
use async_io::Timer;
use async_lock::{Semaphore, SemaphoreGuardArc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections at once to one server.
pub const MAX_PER_SERVER: usize = 4;
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
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    key: String,
    /// As whom it is logged in.
    who: String,
    since: Instant,
    connection: Connection,
}

impl Pool {
    /// Waits for a place among the connections to that server.
    pub async fn place(&self, key: &str) -> SemaphoreGuardArc {
        let semaphore = {
            let mut places = lock(&self.0.places);
            // Those that nobody holds or waits for are forgotten.
            places.retain(|_, it| Arc::strong_count(it) > 1);
            let new = || Arc::new(Semaphore::new(MAX_PER_SERVER));
            places.entry(key.to_owned()).or_insert_with(new).clone()
        };
        semaphore.acquire_arc().await
    }

    /// The connection last given back for that server and that login.
    pub fn take(&self, key: &str, who: &str) -> Option<Connection> {
        let mut idle = lock(&self.0.idle);
        let at = idle.iter().rposition(|it| it.key == key && it.who == who)?;
        Some(idle.remove(at).connection)
    }

    /// Keeps a connection for a moment, then ends it.
    pub fn give_back(&self, key: &str, who: &str, connection: Connection) {
        let mut idle = lock(&self.0.idle);
        if connection.carried >= MAX_CARRIED || idle.len() >= MAX_IDLE {
            drop(idle);
            return smol::spawn(connection.quit()).detach();
        }
        idle.push(Idle {
            key: key.to_owned(),
            who: who.to_owned(),
            since: Instant::now(),
            connection,
        });
        drop(idle);
        let pool = self.clone();
        smol::spawn(async move {
            Timer::after(IDLE).await;
            for connection in pool.tired() {
                connection.quit().await;
            }
        })
        .detach();
    }

    fn tired(&self) -> Vec<Connection> {
        let mut idle = lock(&self.0.idle);
        let tired = idle.extract_if(.., |it| it.since.elapsed() >= IDLE);
        tired.map(|it| it.connection).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
