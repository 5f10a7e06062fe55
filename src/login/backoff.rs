//! Back-off against guessing: how long an attempt has to wait before it is looked at.
//! Pure: the caller gives the time.
//!
//! Waiting instead of refusing keeps the owner in: the right password works even in the
//! middle of an attack, a few seconds later, and from where it has worked before, at once.

use crate::net::source::Source;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Failures of one source for one name that cost nothing: a person mistypes.
const FREE_PAIR: u32 = 5;
/// Failures of one source over all names that cost nothing: an office behind one address.
const FREE_SOURCE: u32 = 40;
/// Failures for one name from anywhere that cost nothing.
const FREE_NAME: u32 = 60;
/// Longest wait for one name from one source.
const MAX_PAIR: Duration = Duration::from_secs(5);
/// Longest wait for a source that tries many names.
const MAX_SOURCE: Duration = Duration::from_secs(15);
/// Longest wait for a name that many sources try; a known source does not wait for this.
const MAX_NAME: Duration = Duration::from_secs(3);
/// A count is halved each time this passes.
const HALF_LIFE: Duration = Duration::from_secs(300);
/// Entries kept in each table; past that the stalest goes.
const MAX_ENTRIES: usize = 4096;

/// A decaying count.
#[derive(Clone, Copy)]
struct Count {
    failures: u32,
    last: Instant,
}

impl Count {
    fn now(&self, now: Instant) -> u32 {
        let halvings = now.saturating_duration_since(self.last).as_secs() / HALF_LIFE.as_secs();
        self.failures
            .checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX))
            .unwrap_or(0)
    }
}

/// Names are held as keyed hashes: the tables' size is bounded whatever clients send.
#[derive(Default)]
pub struct Backoff {
    pairs: HashMap<(Source, u64), Count>,
    sources: HashMap<Source, Count>,
    names: HashMap<u64, Count>,
}

/// How an attempt looks: the better it does, the less it waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// From where that name has logged in before, and made no row of mistakes since.
    Known,
    /// From where nothing has failed of late.
    Fresh,
    /// From where something has.
    Suspect,
}

impl Backoff {
    /// How this attempt looks; `known`: that name has logged in from there before.
    pub fn lane(&self, now: Instant, source: Source, name: u64, known: bool) -> Lane {
        let of = |count: Option<&Count>| count.map_or(0, |count| count.now(now));
        if known && of(self.pairs.get(&(source, name))) < FREE_PAIR {
            Lane::Known
        } else if of(self.sources.get(&source)) == 0 {
            Lane::Fresh
        } else {
            Lane::Suspect
        }
    }

    /// How long this attempt has to wait; `known` as for [`Backoff::lane`].
    pub fn wait(&self, now: Instant, source: Source, name: u64, known: bool) -> Duration {
        let of = |count: Option<&Count>| count.map_or(0, |count| count.now(now));
        let pair = growing(of(self.pairs.get(&(source, name))), FREE_PAIR, MAX_PAIR);
        if known {
            return pair;
        }
        pair.max(growing(
            of(self.sources.get(&source)),
            FREE_SOURCE,
            MAX_SOURCE,
        ))
        .max(growing(of(self.names.get(&name)), FREE_NAME, MAX_NAME))
    }

    pub fn failed(&mut self, now: Instant, source: Source, name: u64) {
        count(&mut self.pairs, (source, name), now);
        count(&mut self.sources, source, now);
        count(&mut self.names, name, now);
    }

    pub fn succeeded(&mut self, source: Source, name: u64) {
        self.pairs.remove(&(source, name));
    }
}

/// Nothing up to `free`, then half a second, doubled with each further failure.
fn growing(failures: u32, free: u32, longest: Duration) -> Duration {
    match failures.checked_sub(free) {
        None | Some(0) => Duration::ZERO,
        Some(over) => Duration::from_millis(250)
            .saturating_mul(1 << over.min(10))
            .min(longest),
    }
}

fn count<K: Hash + Eq + Copy>(table: &mut HashMap<K, Count>, key: K, now: Instant) {
    make_room(table, &key, |count| count.last);
    let count = table.entry(key).or_insert(Count {
        failures: 0,
        last: now,
    });
    *count = Count {
        failures: count.now(now).saturating_add(1),
        last: now,
    };
}

/// For an entry at `key`: one that is there already needs none.
fn make_room<K: Hash + Eq + Copy, V>(
    table: &mut HashMap<K, V>,
    key: &K,
    age: impl Fn(&V) -> Instant,
) {
    if table.len() < MAX_ENTRIES || table.contains_key(key) {
        return;
    }
    if let Some(stalest) = table
        .iter()
        .min_by_key(|(_, value)| age(value))
        .map(|(key, _)| *key)
    {
        table.remove(&stalest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> Source {
        Source::new([192, 0, 2, n].into())
    }

    #[test]
    fn a_few_mistypings_cost_nothing_then_the_wait_grows_to_its_limit() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(backoff.wait(now, source(1), 1, false).as_millis());
            backoff.failed(now, source(1), 1);
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(
            backoff.wait(now, source(2), 1, false),
            Duration::ZERO,
            "another source does not wait"
        );
        backoff.succeeded(source(1), 1);
        assert_eq!(
            backoff.wait(now, source(1), 1, false),
            Duration::ZERO,
            "a success clears it"
        );
    }

    #[test]
    fn a_distributed_guesser_does_not_hold_up_a_known_source() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for n in 0..200 {
            backoff.failed(now, source(n % 100 + 10), 1);
        }
        assert_eq!(backoff.wait(now, source(9), 1, true), Duration::ZERO);
        assert_eq!(
            backoff.wait(now, source(8), 1, false),
            MAX_NAME,
            "a new source waits, and gets in"
        );
    }

    #[test]
    fn who_has_failed_makes_others_wait_the_least() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert_eq!(backoff.lane(now, source(1), 1, true), Lane::Known);
        assert_eq!(backoff.lane(now, source(1), 1, false), Lane::Fresh);
        backoff.failed(now, source(1), 1);
        assert_eq!(backoff.lane(now, source(1), 1, true), Lane::Known);
        assert_eq!(backoff.lane(now, source(1), 1, false), Lane::Suspect);
        assert_eq!(backoff.lane(now, source(1), 2, false), Lane::Suspect);
        assert_eq!(backoff.lane(now, source(2), 1, false), Lane::Fresh);
        (0..FREE_PAIR).for_each(|_| backoff.failed(now, source(1), 1));
        assert_eq!(backoff.lane(now, source(1), 1, true), Lane::Suspect);
    }

    #[test]
    fn counts_decay() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        (0..20).for_each(|_| backoff.failed(now, source(1), 1));
        assert_eq!(
            backoff.wait(now + HALF_LIFE * 2, source(1), 1, false),
            Duration::ZERO
        );
    }

    #[test]
    fn tables_stay_bounded() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        (0..3 * MAX_ENTRIES as u64).for_each(|name| backoff.failed(now, source(1), name));
        assert_eq!(backoff.pairs.len(), MAX_ENTRIES);
        assert_eq!(backoff.names.len(), MAX_ENTRIES);
    }

    #[test]
    fn a_full_table_forgets_nobody_who_fails_again() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        (0..MAX_ENTRIES as u64).for_each(|name| backoff.failed(now, source(1), name));
        let later = now + Duration::from_secs(1);
        (0..20).for_each(|_| backoff.failed(later, source(1), 7));
        assert_eq!(backoff.wait(later, source(1), 7, false), MAX_SOURCE);
        assert_eq!(backoff.pairs.len(), MAX_ENTRIES);
        assert_eq!(backoff.pairs[&(source(1), 7)].failures, 21);
    }
}
