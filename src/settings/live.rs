//! The settings that hold now, and word of their change.

use super::Settings;
use super::document::{self, Chosen};
use event_listener::{Event, EventListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Shared by all that ask; [`Live::apply`] changes what they hear.
pub struct Live {
    /// What holds where nothing was chosen.
    defaults: Settings,
    /// Given at the start; it goes over what the store has.
    given: Chosen,
    current: RwLock<Arc<Settings>>,
    /// Who changes them holds it from reading what is chosen to applying it.
    pub turn: async_lock::Mutex<()>,
    changed: Event,
    /// How often they were applied.
    applied: AtomicU64,
    /// After how many of those the server was as they say; [`NOBODY`] while none follows.
    followed: AtomicU64,
    caught_up: Event,
}

/// With no server there is nothing to wait for.
const NOBODY: u64 = u64::MAX;

impl Live {
    /// `given` over `chosen` over `defaults`. The error is a sentence.
    pub fn new(defaults: Settings, given: Chosen, chosen: &Chosen) -> Result<Live, String> {
        let live = Live {
            current: RwLock::new(Arc::new(defaults.clone())),
            defaults,
            given,
            turn: async_lock::Mutex::new(()),
            changed: Event::new(),
            applied: AtomicU64::new(0),
            followed: AtomicU64::new(NOBODY),
            caught_up: Event::new(),
        };
        live.apply(chosen)?;
        Ok(live)
    }

    /// Where nothing is chosen.
    #[cfg(test)]
    pub fn fixed(settings: Settings) -> Arc<Live> {
        Arc::new(Live::new(settings, Chosen::new(), &Chosen::new()).unwrap())
    }

    pub fn now(&self) -> Arc<Settings> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// What they would be with `chosen`. The error is a sentence, and nothing changes.
    pub fn with(&self, chosen: &Chosen) -> Result<Settings, String> {
        let mut settings = self.defaults.clone();
        let mut all = chosen.clone();
        all.extend(self.given.clone());
        document::apply(&mut settings, &all)?;
        Ok(settings)
    }

    /// From now on `chosen` holds, under what was given at the start.
    pub fn apply(&self, chosen: &Chosen) -> Result<(), String> {
        let settings = Arc::new(self.with(chosen)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.applied.fetch_add(1, Ordering::SeqCst);
        self.changed.notify(usize::MAX);
        Ok(())
    }

    /// The number of the last change; to ask before looking what they are.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// The server is as they were at that change: sockets, limits, certificate.
    pub fn set_followed(&self, applied: u64) {
        self.followed.store(applied, Ordering::SeqCst);
        self.caught_up.notify(usize::MAX);
    }

    /// Ends when the server has followed what was applied until now; at once with none.
    pub async fn followed(&self) {
        let applied = self.applied();
        loop {
            let caught_up = self.caught_up.listen();
            if self.followed.load(Ordering::SeqCst) >= applied {
                return;
            }
            caught_up.await;
        }
    }

    /// Ends at the next change.
    pub fn changed(&self) -> EventListener {
        self.changed.listen()
    }

    pub fn defaults(&self) -> &Settings {
        &self.defaults
    }

    /// Whether it was given at the start, so that setting it changes nothing until then.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future;

    #[test]
    fn a_change_is_followed_when_the_server_says_so() {
        let live = Live::fixed(Settings::default());
        let is_followed = || smol::block_on(future::poll_once(live.followed())).is_some();
        let change = || live.apply(&Chosen::new()).unwrap();
        assert!(is_followed(), "nobody follows yet");
        live.set_followed(live.applied());
        assert!(is_followed());
        change();
        let first = live.applied();
        assert!(!is_followed());
        change();
        live.set_followed(first);
        assert!(!is_followed(), "the second is to come");
        // Who waits already is told.
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| smol::block_on(live.followed()));
            live.set_followed(live.applied());
            waiting.join()
        });
        assert!(waiting.is_ok() && is_followed());
    }
}
