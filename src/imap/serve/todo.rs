//! How far a FETCH or a SEARCH has come through its UIDs.

use crate::mail::UidSet;

/// Ranges of UIDs looked up at once.
const WINDOW: usize = 256;

/// UIDs still to be looked at, ascending.
pub struct Todo {
    ranges: Vec<(u32, u32)>,
    at: usize,
    /// Up to here all is done.
    done: u32,
}

impl Todo {
    pub fn new(uids: &UidSet) -> Todo {
        Todo {
            ranges: uids.ranges().to_vec(),
            at: 0,
            done: 0,
        }
    }

    pub fn next(&self) -> Option<u32> {
        let &(low, _) = self.ranges.get(self.at)?;
        Some(low.max(self.done.saturating_add(1)))
    }

    pub fn pass(&mut self, uid: u32) {
        self.done = self.done.max(uid);
        while self
            .ranges
            .get(self.at)
            .is_some_and(|&(_, high)| high <= self.done)
        {
            self.at += 1;
        }
    }

    /// The next few ranges, up to `through`.
    pub fn window(&self, through: u32) -> UidSet {
        let next = self.next().unwrap_or(1);
        let ranges = self.ranges.iter().skip(self.at).take(WINDOW);
        let ranges = ranges.map(|&(low, high)| (low.max(next), high.min(through)));
        UidSet::from_ranges(ranges.filter(|(low, high)| low <= high).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uids(ranges: &[(u32, u32)]) -> UidSet {
        UidSet::from_ranges(ranges.to_vec())
    }

    #[test]
    fn what_is_passed_is_not_looked_at_again() {
        let mut todo = Todo::new(&uids(&[(2, 5), (9, 9), (12, 20)]));
        assert_eq!(todo.next(), Some(2));
        todo.pass(3);
        assert_eq!(todo.window(u32::MAX), uids(&[(4, 5), (9, 9), (12, 20)]));
        assert_eq!(todo.window(13), uids(&[(4, 5), (9, 9), (12, 13)]));
        todo.pass(9);
        assert_eq!(todo.next(), Some(12));
        todo.pass(20);
        assert_eq!(todo.next(), None);
    }

    #[test]
    fn a_window_is_bounded() {
        let many: Vec<(u32, u32)> = (0..1000).map(|n| (n * 2 + 1, n * 2 + 1)).collect();
        let todo = Todo::new(&uids(&many));
        assert_eq!(todo.window(u32::MAX).ranges().len(), WINDOW);
    }
}
