//! How many connections there may be. Pure counting; the listener asks, a [`Pass`] gives back.

use crate::net::source::Source;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The limits of one gate on connections that are open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All of them.
    pub total: usize,
    /// Those that have not logged in.
    pub unauthenticated: usize,
    /// Those that have not logged in, from one address (IPv6: one /64).
    pub per_source: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            total: 4096,
            unauthenticated: 1024,
            per_source: 256,
        }
    }
}

/// Which limit turned a connection away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Total,
    Unauthenticated,
    PerSource,
}

struct Counts {
    limits: Limits,
    total: usize,
    unauthenticated: usize,
    /// Of the unauthenticated; a source with none has no entry.
    sources: HashMap<Source, usize>,
}

/// Counts the connections of the listeners that share it.
pub struct Gate {
    counts: Mutex<Counts>,
    /// Who is let in where too many have not logged in, while there is room for anybody.
    known: OnceLock<Test>,
    /// Whose address stands for many people.
    many: OnceLock<Test>,
}

type Test = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

impl Gate {
    pub fn new(limits: Limits) -> Arc<Gate> {
        Arc::new(Gate {
            counts: Mutex::new(Counts {
                limits,
                total: 0,
                unauthenticated: 0,
                sources: HashMap::new(),
            }),
            known: OnceLock::new(),
            many: OnceLock::new(),
        })
    }

    /// A crowd of those that have not logged in keeps nobody out for whom `known` holds. Once;
    /// later calls change nothing.
    pub fn spare(&self, known: impl Fn(IpAddr) -> bool + Send + Sync + 'static) {
        let _ = self.known.set(Box::new(known));
    }

    /// Nor has who `many` holds for a limit by source: a proxy that passes others on. Once;
    /// later calls change nothing.
    pub fn exempt(&self, many: impl Fn(IpAddr) -> bool + Send + Sync + 'static) {
        let _ = self.many.set(Box::new(many));
    }

    /// For connections that come from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.counts().limits = limits;
    }

    /// Counts a new connection, or says which limit it would break.
    pub fn admit(self: &Arc<Gate>, peer: IpAddr) -> Result<Pass, Refusal> {
        let source = Source::new(peer);
        let mut counts = self.counts();
        let limits = counts.limits;
        if counts.total >= limits.total {
            return Err(Refusal::Total);
        }
        let is_known = || self.known.get().is_some_and(|known| known(peer));
        if counts.unauthenticated >= limits.unauthenticated && !is_known() {
            return Err(Refusal::Unauthenticated);
        }
        let is_many = self.many.get().is_some_and(|many| many(peer));
        if !is_many {
            let here = counts.sources.entry(source).or_default();
            if *here >= limits.per_source {
                return Err(Refusal::PerSource);
            }
            *here += 1;
        }
        counts.total += 1;
        counts.unauthenticated += 1;
        Ok(Pass {
            gate: self.clone(),
            source: (!is_many).then_some(source),
            stranger: true,
            also: None,
            presence: Arc::default(),
        })
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.counts().total
    }

    /// Nothing panics while it holds the counts, so they are whole even if poisoned.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a connection from outside of it.
#[derive(Default)]
pub struct Presence {
    /// Whether it waits for its client: then it can be ended between commands.
    pub waiting: AtomicBool,
    /// Whether the server has ended it for itself, while others go on.
    pub dismissed: AtomicBool,
    /// Who has logged in, in words of the login service; 0 is nobody.
    pub owner: AtomicU64,
}

/// One counted connection; dropping it gives its place back.
pub struct Pass {
    gate: Arc<Gate>,
    /// As long as it counts as one of these: until it has logged in, at another gate to the
    /// end.
    source: Option<Source>,
    /// Until it has logged in.
    stranger: bool,
    /// Its place at another gate, which counts it as its source's to the end.
    also: Option<Box<Pass>>,
    presence: Arc<Presence>,
}

impl Pass {
    /// It has logged in: it counts against the total alone from now on.
    pub fn authenticated(&mut self) {
        self.leave_strangers();
        self.leave_source();
        if let Some(also) = &mut self.also {
            also.leave_strangers();
        }
    }

    fn leave_strangers(&mut self) {
        if std::mem::take(&mut self.stranger) {
            self.gate.counts().unauthenticated -= 1;
        }
    }

    fn leave_source(&mut self) {
        let Some(source) = self.source.take() else {
            return;
        };
        let mut counts = self.gate.counts();
        if let Some(here) = counts.sources.get_mut(&source) {
            *here -= 1;
            if *here == 0 {
                counts.sources.remove(&source);
            }
        }
    }

    /// With a place at another gate, given back with this one.
    pub fn and(mut self, other: Pass) -> Pass {
        self.also = Some(Box::new(other));
        self
    }

    pub fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }

    pub fn set_waiting(&self, waiting: bool) {
        self.presence.waiting.store(waiting, Ordering::Release);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.authenticated();
        self.gate.counts().total -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_crowd_of_strangers_keeps_nobody_out_who_is_known() {
        let gate = Gate::new(Limits {
            total: 4,
            unauthenticated: 2,
            per_source: 2,
        });
        gate.spare(|peer| peer == ip("192.0.2.9"));
        let crowd = [1, 2].map(|n| gate.admit(IpAddr::from([192, 0, 2, n])));
        assert!(crowd.iter().all(Result::is_ok));
        let stranger = gate.admit(ip("192.0.2.3")).err();
        assert_eq!(stranger, Some(Refusal::Unauthenticated));
        let known = [9, 9].map(|n| gate.admit(IpAddr::from([192, 0, 2, n])));
        assert!(known.iter().all(Result::is_ok));
        assert_eq!(gate.admit(ip("192.0.2.9")).err(), Some(Refusal::Total));
    }

    #[test]
    fn idle_strangers_leave_room_at_a_services_own_gate() {
        let limits = |total, unauthenticated, per_source| Limits {
            total,
            unauthenticated,
            per_source,
        };
        let all = Gate::new(limits(100, 100, 100));
        let own = Gate::new(limits(4, 2, 2));
        own.spare(|peer| peer == ip("192.0.2.9"));
        own.exempt(|peer| peer == ip("192.0.2.7"));
        let enter = |peer: &str| {
            let pass = all.admit(ip(peer))?;
            own.admit(ip(peer)).map(|it| pass.and(it))
        };
        let idle = ["192.0.2.1"; 2].map(|peer| enter(peer).ok().unwrap());
        assert_eq!(enter("192.0.2.2").err(), Some(Refusal::Unauthenticated));
        let mut owner = enter("192.0.2.9").ok().unwrap();
        owner.authenticated();
        drop(idle);
        // Two strangers again: who has logged in is none of them, but still of his address.
        let _idle = ["192.0.2.3", "192.0.2.9"].map(|peer| enter(peer).ok().unwrap());
        assert_eq!(enter("192.0.2.9").err(), Some(Refusal::PerSource));
        drop((owner, _idle));
        let mut proxied: Vec<Pass> = Vec::new();
        for _ in 0..4 {
            let mut pass = enter("192.0.2.7").ok().unwrap();
            pass.authenticated();
            proxied.push(pass);
        }
        assert_eq!(enter("192.0.2.7").err(), Some(Refusal::Total));
        drop(proxied);
        assert_eq!((all.open(), own.open()), (0, 0));
    }

    #[test]
    fn limits_hold_and_places_come_back() {
        let gate = Gate::new(Limits {
            total: 4,
            unauthenticated: 3,
            per_source: 2,
        });
        let mut first = gate.admit(ip("192.0.2.1")).unwrap();
        let second = gate.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(gate.admit(ip("192.0.2.1")).err(), Some(Refusal::PerSource));
        let _third = gate.admit(ip("2001:db8::1")).unwrap();
        assert_eq!(
            gate.admit(ip("192.0.2.9")).err(),
            Some(Refusal::Unauthenticated)
        );
        first.authenticated();
        first.authenticated();
        let _fourth = gate.admit(ip("2001:db8::2")).unwrap();
        assert_eq!(gate.admit(ip("192.0.2.9")).err(), Some(Refusal::Total));
        drop(second);
        let _fifth = gate.admit(ip("192.0.2.1")).unwrap();
        drop(first);
        assert_eq!(gate.open(), 3);
        assert_eq!(
            gate.admit(ip("2001:db8::3")).err(),
            Some(Refusal::Unauthenticated)
        );
    }
}
