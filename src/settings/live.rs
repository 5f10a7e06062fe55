//! The settings that hold now, and word of their change.

use super::Settings;
use super::document::{self, Chosen};
use event_listener::{Event, EventListener};
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
}

impl Live {
    /// `given` over `chosen` over `defaults`. The error is a sentence.
    pub fn new(defaults: Settings, given: Chosen, chosen: &Chosen) -> Result<Live, String> {
        let live = Live {
            current: RwLock::new(Arc::new(defaults.clone())),
            defaults,
            given,
            turn: async_lock::Mutex::new(()),
            changed: Event::new(),
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
        self.changed.notify(usize::MAX);
        Ok(())
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
