//! What changed while a check counts: it reads the store in many short snapshots, and what is
//! touched between two of them it can't judge.

use crate::store::segment::lock;
use crate::store::tx::Effects;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Messages, and segments, that are remembered; beyond, all count as touched.
const MAX_TOUCHED: usize = 65_536;

/// Noted by the writer thread after each commit, while a check has it on.
#[derive(Default)]
pub(in crate::store) struct Touched {
    on: AtomicBool,
    emails: Mutex<Seen>,
    segments: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    numbers: BTreeSet<u64>,
    overflow: bool,
}

impl Seen {
    fn note(&mut self, numbers: impl Iterator<Item = u64>) {
        if self.overflow {
            return;
        }
        self.numbers.extend(numbers);
        if self.numbers.len() > MAX_TOUCHED {
            self.numbers.clear();
            self.overflow = true;
        }
    }

    fn has(&self, number: u64) -> bool {
        self.overflow || self.numbers.contains(&number)
    }
}

impl Touched {
    pub fn note(&self, effects: &Effects) {
        if !self.on.load(SeqCst) {
            return;
        }
        lock(&self.emails).note(effects.touched.iter().copied());
        lock(&self.segments).note(effects.sparse.iter().map(|it| u64::from(it.0)));
    }

    pub fn start(&self) {
        self.forget_emails();
        *lock(&self.segments) = Seen::default();
        self.on.store(true, SeqCst);
    }

    pub fn stop(&self) {
        self.on.store(false, SeqCst);
        self.forget_emails();
        *lock(&self.segments) = Seen::default();
    }

    pub fn forget_emails(&self) {
        *lock(&self.emails) = Seen::default();
    }

    pub fn has_email(&self, email: u64) -> bool {
        lock(&self.emails).has(email)
    }

    pub fn has_segment(&self, segment: u32) -> bool {
        lock(&self.segments).has(u64::from(segment))
    }
}
