//! Seeded-mutation fuzzing on stable Rust, one test a parser.
//!
//! `PILLARBOX_FUZZ_SECONDS` says how long each runs (1 unless given). A failure prints the
//! input as a Rust literal, to be put among the seeds, and the seed: with
//! `PILLARBOX_FUZZ_SEED` set to it the same inputs come in the same order.

mod acme;
mod authentication;
mod client;
mod dns;
mod fetching;
mod imap;
mod imap_session;
mod login;
mod message;
mod mutate;
mod owner;
mod pop3;
mod smtp;
mod store;
mod update;
mod url;

use mutate::Mutator;
pub use mutate::Random;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One input may take that long, unoptimised and on a loaded machine; then it hangs.
const HANG: Duration = Duration::from_secs(30);
/// One input that takes that long is slow enough to be a way to hurt the server.
const SLOW: Duration = Duration::from_secs(5);

/// Gives `check` the empty input, each seed, and mutants of them until the time is up.
/// `check` panics at what must not be.
pub fn fuzz(name: &str, seeds: &[&[u8]], mut check: impl FnMut(&[u8])) {
    let seed = number("PILLARBOX_FUZZ_SEED").unwrap_or_else(from_clock);
    let seconds = number("PILLARBOX_FUZZ_SECONDS").unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds);
    let watchdog = Watchdog::start(name, seed);
    let mut mutator = Mutator::new(seed, seeds);
    let mut count: u64 = 0;
    let plain = std::iter::once(&[][..]).chain(seeds.iter().copied());
    for input in plain {
        run(name, seed, count, &watchdog, input, &mut check);
        count += 1;
    }
    while Instant::now() < end {
        let input = mutator.next();
        run(name, seed, count, &watchdog, &input, &mut check);
        count += 1;
    }
    println!("fuzz {name}: {count} inputs, seed {seed}");
}

/// Plays each input to a session at once and in slices, in `kinds` kinds of worlds: how the
/// bytes came must not matter. `talk` is asked for the size of the next slice.
pub fn fuzz_sessions<T: PartialEq + std::fmt::Debug>(
    name: &str,
    seeds: &[&[u8]],
    kinds: u8,
    talk: impl Fn(&[u8], u8, &mut dyn FnMut() -> usize) -> T,
) {
    let mut random = Random::new(1);
    fuzz(name, seeds, |bytes| {
        for kind in 0..kinds {
            let at_once = talk(bytes, kind, &mut || usize::MAX);
            let in_slices = talk(bytes, kind, &mut || 1 + random.below(24));
            assert_eq!(at_once, in_slices, "kind {kind}");
        }
    });
}

fn run(
    name: &str,
    seed: u64,
    count: u64,
    watchdog: &Watchdog,
    input: &[u8],
    check: &mut impl FnMut(&[u8]),
) {
    let start = Instant::now();
    watchdog.watch(input);
    let outcome = catch_unwind(AssertUnwindSafe(|| check(input)));
    watchdog.rest();
    if let Err(panic) = outcome {
        eprintln!(
            "fuzz {name}: seed {seed}, input {count}:\n{}",
            literal(input)
        );
        resume_unwind(panic);
    }
    let took = start.elapsed();
    assert!(
        took < SLOW,
        "fuzz {name}: seed {seed}, input {count} took {took:?}:\n{}",
        literal(input)
    );
}

fn literal(input: &[u8]) -> String {
    format!("b\"{}\"", input.escape_ascii())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn from_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64)
}

/// An input being checked, and since when.
type Current = Option<(Instant, Vec<u8>)>;

/// Names the input that does not come to an end: nothing else could.
struct Watchdog {
    current: Arc<Mutex<Current>>,
    done: Arc<AtomicBool>,
}

impl Watchdog {
    fn start(name: &str, seed: u64) -> Watchdog {
        let watchdog = Watchdog {
            current: Arc::default(),
            done: Arc::default(),
        };
        let (current, done) = (watchdog.current.clone(), watchdog.done.clone());
        let name = name.to_owned();
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(500));
                let held = current.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((since, input)) = &*held
                    && since.elapsed() > HANG
                {
                    eprintln!("fuzz {name}: seed {seed}: hangs on\n{}", literal(input));
                    std::process::abort();
                }
            }
        });
        watchdog
    }

    fn watch(&self, input: &[u8]) {
        self.set(Some((Instant::now(), input.to_vec())));
    }

    fn rest(&self) {
        self.set(None);
    }

    fn set(&self, to: Current) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// The harness itself: it has to find what can be found, and come again with the same seed.
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_a_few_steps_away() {
        let mut mutator = Mutator::new(7, &[b"{5}", b"~", b"(a b)"]);
        let found = |input: Vec<u8>| input.windows(4).any(|run| run == b"~{5}");
        assert!((0..1_000_000).any(|_| found(mutator.next())));
    }

    #[test]
    fn a_seed_gives_the_same_inputs() {
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, &[b"one two", b"three"]);
            (0..1000).map(|_| mutator.next()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(3), inputs(3));
        assert_ne!(inputs(3), inputs(4));
    }
}
