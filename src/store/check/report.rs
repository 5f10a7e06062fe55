//! What a check says: while it runs, and at the end.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Problems that are named; the others are counted.
pub const MAX_PROBLEMS: usize = 1000;

/// What to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Read every message too, not just the rows.
    pub bytes: bool,
    /// Put right what follows from other rows.
    pub repair: bool,
    /// Leave room for those who work: rest as long as was worked.
    pub gently: bool,
    /// Of records that others own: whether a record of that kind can be read.
    pub records: &'static [RecordRule],
}

/// A kind of records, and whether one by this key can be read.
pub type RecordRule = (&'static str, fn(&str, &[u8]) -> bool);

/// What can be done about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It follows from other rows: a repair puts it right.
    Derived,
    /// What was there is lost, or nobody can tell.
    Damaged,
    /// It was changed again and again while the check looked.
    Unsettled,
}

impl Kind {
    pub const ALL: [(&'static str, Kind); 3] = [
        ("derived", Kind::Derived),
        ("damaged", Kind::Damaged),
        ("unsettled", Kind::Unsettled),
    ];

    pub fn word(self) -> &'static str {
        Kind::ALL
            .iter()
            .find(|it| it.1 == self)
            .map_or("", |it| it.0)
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    /// In a sentence for the owner.
    pub what: String,
    pub repaired: bool,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub problems: Vec<Problem>,
    /// Problems beyond [`MAX_PROBLEMS`].
    pub more: u64,
    /// Rows of messages looked at.
    pub messages: u64,
    /// Bytes of messages read.
    pub bytes: u64,
    /// It was not cancelled.
    pub complete: bool,
}

/// What all of it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Sound,
    /// All that was wrong has been put right.
    Repaired,
    /// A repair would put all of it right.
    Repairable,
    /// Some of it can't be put right.
    Damaged,
    /// It was stopped, or the store was too busy to tell of some things.
    Unfinished,
}

impl Verdict {
    pub const ALL: [(&'static str, Verdict); 5] = [
        ("sound", Verdict::Sound),
        ("repaired", Verdict::Repaired),
        ("repairable", Verdict::Repairable),
        ("damaged", Verdict::Damaged),
        ("unfinished", Verdict::Unfinished),
    ];

    pub fn word(self) -> &'static str {
        Verdict::ALL
            .iter()
            .find(|it| it.1 == self)
            .map_or("", |it| it.0)
    }

    pub fn parse(word: &str) -> Option<Verdict> {
        Verdict::ALL.iter().find(|it| it.0 == word).map(|it| it.1)
    }
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        let left = |kind: Kind| {
            let mut of = self.problems.iter();
            of.any(|it| it.kind == kind && !it.repaired)
        };
        match () {
            () if left(Kind::Damaged) => Verdict::Damaged,
            () if !self.complete || left(Kind::Unsettled) => Verdict::Unfinished,
            () if left(Kind::Derived) || self.more > 0 => Verdict::Repairable,
            () if !self.problems.is_empty() => Verdict::Repaired,
            () => Verdict::Sound,
        }
    }
}

/// How far a check has come, for those who wait for it; and the way to stop it.
#[derive(Debug, Default)]
pub struct Progress {
    stage: AtomicUsize,
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
}

/// What a check does one after the other.
const STAGES: [&str; 4] = ["rows", "mailboxes", "references", "messages"];

impl Progress {
    /// What is done now, how much of it, and of how much; in rows, and at last in bytes.
    pub fn now(&self) -> (&'static str, u64, u64) {
        let stage = STAGES.get(self.stage.load(Relaxed)).copied();
        let total = self.total.load(Relaxed);
        let done = self.done.load(Relaxed).min(total);
        (stage.unwrap_or_default(), done, total)
    }

    /// It ends within a moment.
    pub fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    pub(super) fn begin(&self, stage: usize, total: u64) {
        self.done.store(0, Relaxed);
        self.total.store(total, Relaxed);
        self.stage.store(stage, Relaxed);
    }

    pub(super) fn add(&self, done: u64) {
        self.done.fetch_add(done, Relaxed);
    }
}
