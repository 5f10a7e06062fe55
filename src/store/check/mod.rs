//! The integrity check: whether the rows agree with each other and the bytes with the rows.
//!
//! It runs beside the server. It reads in short snapshots, rests between them, and holds
//! nothing that grows with the store but a number for each segment. What it can't tell from one
//! snapshot, it counts over many, and leaves out what was touched meanwhile ([`touched`]).
//!
//! A repair puts right what follows from other rows, each fix in a transaction that looks
//! again. It never takes away a message: bytes that nothing names stay, and where rows can't be
//! read, nothing is concluded from their absence.

mod content;
mod mailboxes;
mod pages;
mod queue;
mod records;
mod references;
mod repair;
mod report;
mod rows;
mod touched;

#[cfg(test)]
mod tests;

pub use pages::{Pages, check_pages};
pub use report::{Kind, MAX_PROBLEMS, Problem, Progress, RecordRule, Report, Verdict, Wanted};
pub(super) use touched::Touched;

use super::Store;
use super::error::{Error, Result};
use super::snapshot::Snapshot;
use super::table;
use references::{AT_ONCE, Live};
use repair::Fix;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How long a snapshot is held, about.
const SLICE: Duration = Duration::from_millis(20);
/// Rows between two looks at the clock.
const ROWS: usize = 256;
/// Rows of one table that can't be read after which it is given up.
const MAX_UNREADABLE: usize = 100;

/// Why a stage ended early.
enum Stop {
    Cancelled,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error {
            Error::Closed => Stop::Cancelled,
            error => Stop::Failed(error),
        }
    }
}

/// Takes a row: its key and its value.
type Visit<'v, C> = &'v mut dyn FnMut(&mut C, &Snapshot, &[u8], &[u8]) -> Result<()>;
type Checked<T> = std::result::Result<T, Stop>;

struct Check<'a> {
    store: &'a Store,
    wanted: Wanted,
    progress: &'a Progress,
    report: Report,
    /// Of problems, by their place in the report.
    fixes: Vec<(usize, Fix)>,
    /// Every row of the accounts, their addresses, mailboxes and names could be read.
    names_certain: bool,
    /// Every row of the messages, their bytes and the queue could be read, and none is missing.
    messages_certain: bool,
    /// What messages in a segment take.
    live: BTreeMap<u32, Live>,
    /// Rows up to which the segments are added up in one snapshot.
    rows_at_once: u64,
    /// Messages whose bytes are damaged, and how.
    damaged: BTreeMap<u64, String>,
    /// Time worked since the last rest.
    busy: Duration,
}

impl Store {
    /// Checks the store. Takes long: call it on a thread of its own; it may be called while
    /// the store is used. What is found is in the report; an error says that there is none.
    pub fn check(&self, wanted: Wanted, progress: &Progress) -> Report {
        let mut check = Check::new(self, wanted, progress, AT_ONCE);
        check.report.complete = check.run();
        check.report
    }
}

impl Check<'_> {
    fn new<'a>(
        store: &'a Store,
        wanted: Wanted,
        progress: &'a Progress,
        rows_at_once: u64,
    ) -> Check<'a> {
        Check {
            store,
            wanted,
            progress,
            report: Report::default(),
            fixes: Vec::new(),
            names_certain: true,
            messages_certain: true,
            live: BTreeMap::new(),
            rows_at_once,
            damaged: BTreeMap::new(),
            busy: Duration::ZERO,
        }
    }

    /// False if it was cancelled.
    fn run(&mut self) -> bool {
        type Stage = fn(&mut Check<'_>) -> Checked<()>;
        let stages: [(&str, Stage); 6] = [
            ("the accounts", |it| it.rows()),
            ("the records", |it| it.records()),
            ("the queue", |it| it.queue()),
            ("the mailboxes", |it| it.mailboxes()),
            ("the references of messages", |it| it.references()),
            ("the messages", |it| it.content()),
        ];
        for (what, stage) in stages {
            match stage(self) {
                Ok(()) => {}
                Err(Stop::Cancelled) => return false,
                Err(Stop::Failed(error)) => {
                    self.names_certain = false;
                    self.messages_certain = false;
                    self.damage(format!("{what} can't be read to the end: {error}"));
                }
            }
            self.fix();
        }
        !self.progress.is_cancelled()
    }

    // What stages say.

    fn problem(&mut self, kind: Kind, what: String) -> bool {
        if self.report.problems.len() >= MAX_PROBLEMS {
            self.report.more += 1;
            return false;
        }
        self.report.problems.push(Problem {
            kind,
            what,
            repaired: false,
        });
        true
    }

    fn damage(&mut self, what: String) {
        self.problem(Kind::Damaged, what);
    }

    /// Something that a fix puts right.
    fn derived(&mut self, what: String, fix: Fix) {
        if self.problem(Kind::Derived, what) && self.wanted.repair {
            self.fixes.push((self.report.problems.len() - 1, fix));
        }
    }

    /// As `derived` where it is `certain`, else it is only told.
    fn derived_if(&mut self, certain: bool, what: String, fix: Fix) {
        match certain {
            true => self.derived(what, fix),
            false => self.damage(format!("{what}; not touched, as other rows can't be read")),
        }
    }

    // How stages read.

    /// Runs `f` on a snapshot.
    fn look<T>(&mut self, f: impl FnOnce(&Snapshot) -> Result<T>) -> Checked<T> {
        self.look_and(|_, snapshot| f(snapshot))
    }

    /// Runs `f` on a snapshot. A damaged page may make the database panic.
    fn look_and<T>(&mut self, f: impl FnOnce(&mut Self, &Snapshot) -> Result<T>) -> Checked<T> {
        if self.progress.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let started = Instant::now();
        let store = self.store;
        let looked = catch_unwind(AssertUnwindSafe(|| {
            store.look(|snapshot| f(self, snapshot))
        }));
        self.worked(started.elapsed());
        match looked {
            Ok(looked) => Ok(looked?),
            Err(_) => Err(Error::corrupt("a page of the database").into()),
        }
    }

    /// Rests as long as was worked: others are quicker then.
    fn worked(&mut self, time: Duration) {
        self.busy += time;
        if self.busy >= SLICE / 2 {
            if self.wanted.gently {
                std::thread::sleep(self.busy.min(SLICE * 2));
            }
            self.busy = Duration::ZERO;
        }
    }

    /// Calls `visit` with the rows of a table from `first` to before `end`, in slices.
    fn walk(
        &mut self,
        name: &'static str,
        first: Vec<u8>,
        end: Option<Vec<u8>>,
        visit: Visit<'_, Self>,
    ) -> Checked<()> {
        let mut from = Bound::Included(first);
        let mut unreadable = 0;
        loop {
            let last = self.look_and(|it, snapshot| {
                let started = Instant::now();
                let rows = table::raw(&snapshot.txn, name)?;
                let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                let start = from.as_ref().map(Vec::as_slice);
                for (n, row) in rows.range::<&[u8]>((start, end))?.enumerate() {
                    let (key, value) = row?;
                    if let Err(error) = visit(it, snapshot, key.value(), value.value()) {
                        unreadable += 1;
                        it.damage(format!("a row of the table {name}: {error}"));
                        it.names_certain = false;
                        it.messages_certain = false;
                        if unreadable >= MAX_UNREADABLE {
                            return Err(error);
                        }
                    }
                    if n % ROWS == ROWS - 1 && started.elapsed() >= SLICE {
                        return Ok(Some(key.value().to_vec()));
                    }
                }
                Ok(None)
            })?;
            match last {
                Some(last) => from = Bound::Excluded(last),
                None => return Ok(()),
            }
        }
    }

    /// Rows of a table.
    fn count(&mut self, name: &'static str) -> Checked<u64> {
        use redb::ReadableTableMetadata;
        self.look(|snapshot| Ok(table::raw(&snapshot.txn, name)?.len()?))
    }

    /// Waits until the writer has told of all that was committed before; gives the next number
    /// that a message will have.
    fn settle(&self) -> Checked<u64> {
        let settled = smol::block_on(self.store.write(|tx| Ok(tx.peek_number())));
        Ok(settled?)
    }
}

/// Keys and values that must be readable.
fn readable<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::corrupt("its key or its value"))
}
