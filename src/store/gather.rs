//! When the writer thread waits for others to share a commit with.

use super::queue::Queue;
use std::time::{Duration, Instant};

/// Longest wait for others.
const MAX_GATHER: Duration = Duration::from_millis(4);
/// Shortest time in which another writer may be expected to come.
const MIN_GAP: Duration = Duration::from_micros(500);
/// Writers seen longer ago are not waited for.
const FRESH: Duration = Duration::from_millis(16);

/// Waits a moment for those who wrote just now to come again: a lone client is never kept,
/// eight at once share one commit.
#[derive(Default)]
pub(super) struct Gather {
    /// Writers seen around the last commits; forgotten by a quarter a batch.
    expected: usize,
    last: Option<Instant>,
    /// How long a batch takes, smoothed.
    took: Duration,
}

impl Gather {
    /// As long as one comes after the other: whoever doesn't come again costs one gap.
    pub fn wait(&mut self, queue: &Queue) {
        let began = Instant::now();
        if self.last.is_none_or(|last| began - last >= FRESH) {
            return;
        }
        let gap = self.took.clamp(MIN_GAP, MAX_GATHER);
        let mut here = queue.len();
        while here < self.expected {
            let deadline = (Instant::now() + gap).min(began + MAX_GATHER);
            queue.wait(here + 1, Some(deadline));
            let before = std::mem::replace(&mut here, queue.len());
            if here == before {
                break;
            }
        }
    }

    pub fn note(&mut self, served: usize, waiting: usize, took: Duration) {
        self.expected = (served + waiting).max(self.expected * 3 / 4);
        self.took = (self.took * 3 + took) / 4;
        self.last = Some(Instant::now());
    }
}
