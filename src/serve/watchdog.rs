//! Tells systemd that the server lives (WatchdogSec in its unit): a server that hangs is started
//! anew, and with it the machine if systemd itself does.

use crate::net::listen::Listeners;
use crate::store::{Error, Store};
use crate::task;
use async_io::Timer;
use sd_notify::NotifyState;
use smol::Task;
use std::sync::Arc;

/// Of the time that systemd waits: one that comes late is not the last.
const TIMES: u32 = 3;

/// Tells it as often as the unit asks, for as long as the task lives; none if it does not ask.
pub fn start(store: Store, listeners: Arc<Listeners>) -> Option<Task<()>> {
    let every = sd_notify::watchdog_enabled()? / TIMES;
    Some(task::spawn(async move {
        loop {
            // A writer that is stuck never answers, so nothing is told.
            if lives(&store, &listeners).await {
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            }
            Timer::after(every).await;
        }
    }))
}

/// That a disk is full, or has failed, starting anew does not mend.
async fn lives(store: &Store, listeners: &Listeners) -> bool {
    let writer = !matches!(store.reach_writer().await, Err(Error::Closed));
    writer && listeners.accept_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::stream::Deadlines;
    use crate::store::Options;
    use std::time::Duration;

    #[test]
    fn a_server_without_its_writer_does_not_live() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let second = Duration::from_secs(1);
        let listeners = Listeners::new(Deadlines {
            handshake: second,
            write: second,
        });
        smol::block_on(async {
            let before = store
                .counters()
                .operations
                .load(std::sync::atomic::Ordering::Relaxed);
            assert!(lives(&store, &listeners).await);
            let after = store
                .counters()
                .operations
                .load(std::sync::atomic::Ordering::Relaxed);
            assert_eq!(before, after, "it wrote");
            store.close().await;
            assert!(!lives(&store, &listeners).await);
        });
    }
}
