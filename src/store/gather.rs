//! When the writer thread waits for others to share a commit with.

use super::queue::Queue;
use std::time::{Duration, Instant};

/// Longest wait for others.
const MAX_GATHER: Duration = Duration::from_millis(4);
/// Writers seen longer ago are not waited for.
const FRESH: Duration = Duration::from_millis(16);
/// After n waits in vain in a row, this many doublings of the batches not waited for.
const MAX_MISSES: u32 = 6;

/// Waits a moment for those who wrote just now to come again: a lone client is never kept,
/// eight at once share one commit.
#[derive(Default)]
pub(super) struct Gather {
    /// Writers seen around the last commit.
    expected: usize,
    last: Option<Instant>,
    /// How long a batch takes, smoothed.
    took: Duration,
    /// Waits that nobody came to, in a row; each doubles the number of batches not waited for.
    misses: u32,
    skip: u32,
}

impl Gather {
    pub fn wait(&mut self, queue: &Queue) {
        let now = Instant::now();
        let window = self.took.min(MAX_GATHER);
        let fresh = self.last.is_some_and(|last| now - last < FRESH);
        if !fresh || self.expected <= queue.len() {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        queue.wait(self.expected, Some(now + window));
        if queue.len() < self.expected {
            self.misses = (self.misses + 1).min(MAX_MISSES);
            self.skip = (1 << self.misses) - 2;
        } else {
            self.misses = 0;
        }
    }

    pub fn note(&mut self, served: usize, waiting: usize, took: Duration) {
        self.expected = served + waiting;
        self.took = (self.took * 3 + took) / 4;
        self.last = Some(Instant::now());
    }
}
