//! Message sequence numbers over UIDs (RFC 3501, 2.3.1.2), kept as runs: a mailbox
//! without gaps costs one run, whatever its size.

use crate::imap::command::SequenceSet;
use crate::mail::{Uid, UidSet};

/// UIDs `low..=high`, the first of which has sequence number `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    low: u32,
    high: u32,
    seq: u32,
}

impl Run {
    fn last_seq(&self) -> u32 {
        self.seq + (self.high - self.low)
    }
}

/// The numbers that one session has been told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    runs: Vec<Run>,
}

/// A sequence number that no message has: the client's mistake (RFC 3501, 9, seq-number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchNumber(pub u32);

impl Numbering {
    pub fn new(uids: &UidSet) -> Numbering {
        let mut numbering = Numbering {
            runs: Vec::with_capacity(uids.ranges().len()),
        };
        for &(low, high) in uids.ranges() {
            numbering.push_range(low, high);
        }
        numbering
    }

    fn push_range(&mut self, low: u32, high: u32) {
        let seq = self.len() + 1;
        match self.runs.last_mut() {
            Some(last) if last.high.checked_add(1) == Some(low) => last.high = high,
            _ => self.runs.push(Run { low, high, seq }),
        }
    }

    /// Numbers a message that came in; one not above all others is passed over.
    pub fn push(&mut self, uid: Uid) -> bool {
        let higher = self.last_uid().is_none_or(|last| uid > last);
        if higher {
            self.push_range(uid.get(), uid.get());
        }
        higher
    }

    /// How many messages are numbered.
    pub fn len(&self) -> u32 {
        self.runs.last().map_or(0, Run::last_seq)
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn last_uid(&self) -> Option<Uid> {
        self.runs.last().and_then(|run| Uid::new(run.high))
    }

    pub fn uid(&self, seq: u32) -> Option<Uid> {
        let at = self.runs.partition_point(|run| run.last_seq() < seq);
        let run = self.runs.get(at).filter(|run| run.seq <= seq)?;
        Uid::new(run.low + (seq - run.seq))
    }

    pub fn seq(&self, uid: Uid) -> Option<u32> {
        let uid = uid.get();
        let at = self.runs.partition_point(|run| run.high < uid);
        let run = self.runs.get(at).filter(|run| run.low <= uid)?;
        Some(run.seq + (uid - run.low))
    }

    /// All UIDs numbered.
    pub fn uids(&self) -> UidSet {
        UidSet::from_ranges(self.runs.iter().map(|run| (run.low, run.high)).collect())
    }

    /// Those of `uids` that are numbered.
    pub fn intersect(&self, uids: &UidSet) -> UidSet {
        let mut found = Vec::new();
        for &(low, high) in uids.ranges() {
            let from = self.runs.partition_point(|run| run.high < low);
            for run in self.runs.iter().skip(from) {
                if run.low > high {
                    break;
                }
                found.push((run.low.max(low), run.high.min(high)));
            }
        }
        UidSet::from_ranges(found)
    }

    /// The sequence numbers of `uids`, as ascending ranges.
    pub fn numbers(&self, uids: &UidSet) -> UidSet {
        let mut found = Vec::new();
        for &(low, high) in self.intersect(uids).ranges() {
            let first = Uid::new(low).and_then(|uid| self.seq(uid)).unwrap_or(0);
            // A range of `intersect` lies within one run, or runs that touch in UIDs.
            found.push((first, first + (high - low)));
        }
        UidSet::from_ranges(found)
    }

    /// Takes messages out; returns the numbers they had, ascending. EXPUNGE is then to be
    /// said from the highest down, so that each number still means what it did here.
    pub fn remove(&mut self, uids: &UidSet) -> UidSet {
        let numbers = self.numbers(uids);
        if numbers.is_empty() {
            return numbers;
        }
        let mut kept = Numbering::default();
        for run in &self.runs {
            let mut low = run.low;
            let from = uids.ranges().partition_point(|&(_, high)| high < low);
            for &(gone_low, gone_high) in uids.ranges().iter().skip(from) {
                if gone_low > run.high || low > run.high {
                    break;
                }
                if gone_low > low {
                    kept.push_range(low, gone_low - 1);
                }
                low = gone_high.saturating_add(1);
            }
            if low <= run.high {
                kept.push_range(low, run.high);
            }
        }
        *self = kept;
        numbers
    }

    /// The UIDs that a client's set of sequence numbers means. `*` is the last message; in
    /// an empty mailbox `1:*` means none.
    pub fn resolve(&self, set: &SequenceSet) -> Result<UidSet, NoSuchNumber> {
        let last = self.len();
        let mut found = Vec::new();
        for &(from, to) in &set.0 {
            if last == 0 && (from.is_none() || to.is_none()) {
                continue;
            }
            let (from, to) = (from.unwrap_or(last), to.unwrap_or(last));
            let (low, high) = (from.min(to), from.max(to));
            if high > last || low == 0 {
                return Err(NoSuchNumber(high));
            }
            self.find(low, high, &mut found);
        }
        Ok(UidSet::from_ranges(found))
    }

    /// As `resolve`, for SEARCH: a number that no message has finds none, and a client that
    /// asks what there is need not know it before.
    pub fn resolve_existing(&self, set: &SequenceSet) -> UidSet {
        let mut found = Vec::new();
        for &(low, high) in set.resolve(self.len()).ranges() {
            self.find(low, high, &mut found);
        }
        UidSet::from_ranges(found)
    }

    /// Adds the UIDs of those of `low..=high` that are numbers of messages.
    fn find(&self, low: u32, high: u32, found: &mut Vec<(u32, u32)>) {
        let at = self.runs.partition_point(|run| run.last_seq() < low);
        for run in self.runs.iter().skip(at) {
            if run.seq > high {
                break;
            }
            let first = run.seq.max(low) - run.seq;
            let end = run.last_seq().min(high) - run.seq;
            found.push((run.low + first, run.low + end));
        }
    }

    /// The UIDs that a client's set of UIDs means: those that exist. `*` is the highest,
    /// so that `n:*` always has at least that one (RFC 3501, 6.4.8).
    pub fn resolve_uids(&self, set: &SequenceSet) -> UidSet {
        let Some(last) = self.last_uid() else {
            return UidSet::new();
        };
        let ranges = set.0.iter().map(|&(from, to)| {
            let (from, to) = (from.unwrap_or(last.get()), to.unwrap_or(last.get()));
            (from.min(to), from.max(to))
        });
        self.intersect(&UidSet::from_ranges(ranges.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uids(ranges: &[(u32, u32)]) -> UidSet {
        UidSet::from_ranges(ranges.to_vec())
    }

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    #[test]
    fn numbers_run_on_across_gaps() {
        let numbering = Numbering::new(&uids(&[(2, 4), (10, 10), (20, 30)]));
        assert_eq!(numbering.len(), 15);
        assert_eq!(numbering.uid(1), Some(uid(2)));
        assert_eq!(numbering.uid(4), Some(uid(10)));
        assert_eq!(numbering.uid(15), Some(uid(30)));
        assert_eq!(numbering.uid(16), None);
        assert_eq!(numbering.uid(0), None);
        for seq in 1..=15 {
            assert_eq!(numbering.seq(numbering.uid(seq).unwrap()), Some(seq));
        }
        assert_eq!(numbering.seq(uid(5)), None);
        assert_eq!(numbering.seq(uid(31)), None);
    }

    #[test]
    fn removing_gives_the_old_numbers_and_closes_the_gaps() {
        let mut numbering = Numbering::new(&uids(&[(1, 10)]));
        let gone = numbering.remove(&uids(&[(2, 3), (7, 7), (99, 99)]));
        assert_eq!(gone, uids(&[(2, 3), (7, 7)]));
        assert_eq!(numbering, Numbering::new(&uids(&[(1, 1), (4, 6), (8, 10)])));
        assert_eq!(numbering.seq(uid(8)), Some(5));
        assert_eq!(numbering.remove(&uids(&[(1, 100)])), uids(&[(1, 7)]));
        assert!(numbering.is_empty());
    }

    #[test]
    fn removing_agrees_with_a_plain_list() {
        let mut list: Vec<u32> = (1..200).filter(|n| n % 7 != 0).collect();
        let mut numbering = Numbering::new(&list.iter().map(|&n| uid(n)).collect());
        for step in [3, 5, 2, 11] {
            let gone: UidSet = (1..220).step_by(step).map(uid).collect();
            let expected: UidSet = (1..)
                .zip(&list)
                .filter(|(_, n)| gone.contains(uid(**n)))
                .map(|(seq, _)| uid(seq))
                .collect();
            assert_eq!(numbering.remove(&gone), expected);
            list.retain(|&n| !gone.contains(uid(n)));
            let all: Vec<u32> = (1..=numbering.len())
                .map(|seq| numbering.uid(seq).unwrap().get())
                .collect();
            assert_eq!(all, list);
        }
    }

    #[test]
    fn sets_of_sequence_numbers_are_checked() {
        let numbering = Numbering::new(&uids(&[(5, 6), (9, 9)]));
        let set = |ranges: &[(Option<u32>, Option<u32>)]| SequenceSet(ranges.to_vec());
        assert_eq!(
            numbering.resolve(&set(&[(Some(2), None)])),
            Ok(uids(&[(6, 6), (9, 9)]))
        );
        assert_eq!(
            numbering.resolve(&set(&[(Some(3), Some(1))])),
            Ok(uids(&[(5, 6), (9, 9)]))
        );
        assert_eq!(
            numbering.resolve(&set(&[(Some(4), Some(4))])),
            Err(NoSuchNumber(4))
        );
        let empty = Numbering::default();
        assert_eq!(empty.resolve(&set(&[(Some(1), None)])), Ok(UidSet::new()));
        assert!(empty.resolve(&set(&[(Some(1), Some(1))])).is_err());
    }

    #[test]
    fn a_set_of_uids_beyond_the_end_has_the_last() {
        let numbering = Numbering::new(&uids(&[(5, 6), (9, 9)]));
        let beyond = SequenceSet(vec![(Some(100), None)]);
        assert_eq!(numbering.resolve_uids(&beyond), uids(&[(9, 9)]));
        let among = SequenceSet(vec![(Some(1), Some(5)), (Some(7), Some(8))]);
        assert_eq!(numbering.resolve_uids(&among), uids(&[(5, 5)]));
    }
}
