//! SEARCH at work, in slices of time: between two of them other sessions get their turn.

use super::body::{Source, chunk};
use super::todo::Todo;
use crate::imap::command::SearchKey;
use crate::imap::numbering::Numbering;
use crate::imap::search::{Cost, Evidence, Head, Program, Scope};
use crate::imap::view::View;
use crate::mail::{MailboxId, ModSeq, Uid, UidSet};
use crate::message::structure::{Kind, Part};
use crate::message::text::{Needle, PartText, fold, header_text};
use crate::store::{Error, Result, Snapshot};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one slice runs: a snapshot pins pages, and a reader's thread is shared.
const SLICE: Duration = Duration::from_millis(100);
/// Rows between two looks at the clock.
const ROWS: u32 = 256;
/// Stored bytes of a part decoded at once.
const STEP: u32 = 64 * 1024;
/// Bytes of one header that are searched.
const MAX_HEADER: u32 = 1024 * 1024;

/// A SEARCH between two slices.
pub struct Job {
    mailbox: MailboxId,
    /// Until the first slice has made a program of it.
    key: Option<SearchKey>,
    program: Program,
    numbering: Arc<Numbering>,
    recent: Arc<UidSet>,
    now: i64,
    todo: Todo,
    found: Found,
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub uids: UidSet,
    /// Of the first, of the last, and the highest.
    pub first_modseq: Option<ModSeq>,
    pub last_modseq: Option<ModSeq>,
    pub highest_modseq: Option<ModSeq>,
}

impl Found {
    fn add(&mut self, uid: Uid, modseq: ModSeq) {
        self.uids.insert(uid);
        self.first_modseq.get_or_insert(modseq);
        self.last_modseq = Some(modseq);
        self.highest_modseq = self.highest_modseq.max(Some(modseq));
    }
}

impl Job {
    /// `now` in seconds since 1970.
    pub fn new(view: &View, key: SearchKey, now: i64) -> Job {
        Job {
            mailbox: view.mailbox,
            key: Some(key),
            program: Program::All(Vec::new()),
            numbering: view.numbering(),
            recent: view.recent(),
            now,
            todo: Todo::new(&UidSet::new()),
            found: Found::default(),
        }
    }

    pub fn found(self) -> Found {
        self.found
    }

    /// Whether message bytes have to be read: such searches take turns.
    pub fn is_heavy(&self) -> bool {
        self.program.cost() > Cost::Head
    }

    /// Runs one slice; true when all is searched.
    pub fn run(&mut self, snapshot: &Snapshot) -> Result<bool> {
        if let Some(key) = self.key.take() {
            self.compile(key, snapshot)?;
            if self.is_heavy() {
                return Ok(self.todo.next().is_none());
            }
        }
        let end = Instant::now() + SLICE;
        while self.todo.next().is_some() {
            if !self.run_window(snapshot, end)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn compile(&mut self, key: SearchKey, snapshot: &Snapshot) -> Result<()> {
        let info = snapshot.mailbox_by_id(self.mailbox)?;
        let keywords = info.map(|info| info.keywords).unwrap_or_default();
        let scope = Scope {
            numbering: &self.numbering,
            recent: &self.recent,
            keywords: &keywords,
            now: self.now,
        };
        self.program = Program::new(key, &scope);
        let uids = self.program.narrow(self.numbering.uids());
        self.todo = Todo::new(&uids);
        Ok(())
    }

    fn run_window(&mut self, snapshot: &Snapshot, end: Instant) -> Result<bool> {
        let window = self.todo.window(u32::MAX);
        let (mut rows, mut time) = (0, true);
        let heavy = self.is_heavy();
        snapshot.messages(self.mailbox, &window, |message| {
            let mut stored = Stored {
                source: Source::new(message.email, message.size),
                snapshot,
                header: None,
            };
            if self.program.matches(&message, &mut stored)? {
                self.found.add(message.uid, message.modseq);
            }
            self.todo.pass(message.uid.get());
            rows += 1;
            if heavy || rows % ROWS == 0 {
                time = Instant::now() < end;
            }
            Ok(time)
        })?;
        if time && let Some(&(_, high)) = window.ranges().last() {
            self.todo.pass(high);
        }
        Ok(time)
    }
}

/// A message as the tests see it.
struct Stored<'a> {
    source: Source,
    snapshot: &'a Snapshot,
    header: Option<Vec<u8>>,
}

impl Evidence for Stored<'_> {
    type Error = Error;

    fn head(&mut self) -> Result<Head<'_>> {
        let head = self.source.head(self.snapshot)?;
        Ok(Head {
            sent_day: head.sent_day,
            envelope: (!head.abridged).then_some(head.envelope),
        })
    }

    fn header(&mut self) -> Result<&[u8]> {
        if self.header.is_none() {
            let range = self.source.structure(self.snapshot)?.root.header.clone();
            self.header = Some(self.read(range)?);
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }

    fn contains(&mut self, needle: &Needle, headers: bool) -> Result<bool> {
        let root = self.source.structure(self.snapshot)?.root.clone();
        if headers && self.header_contains(&root, needle)? {
            return Ok(true);
        }
        self.part_contains(&root, needle, headers)
    }
}

impl Stored<'_> {
    fn read(&mut self, range: std::ops::Range<u32>) -> Result<Vec<u8>> {
        let end = range.end.min(range.start.saturating_add(MAX_HEADER));
        let mut bytes = Vec::new();
        let blob = self.source.blob(self.snapshot)?;
        blob.read(range.start..end, &mut bytes)?;
        Ok(bytes)
    }

    fn header_contains(&mut self, part: &Part, needle: &Needle) -> Result<bool> {
        let header = self.read(part.header.clone())?;
        let mut folded = Vec::new();
        fold(&header_text(&header), &mut folded);
        Ok(needle.is_in_folded(&folded))
    }

    /// Text parts, and the headers of embedded messages; with `headers` those of all parts.
    fn part_contains(&mut self, part: &Part, needle: &Needle, headers: bool) -> Result<bool> {
        for child in &part.children {
            if (headers || part.kind == Kind::Message) && self.header_contains(child, needle)? {
                return Ok(true);
            }
            if self.part_contains(child, needle, headers)? {
                return Ok(true);
            }
        }
        let Some(mut text) = PartText::new(part) else {
            return Ok(false);
        };
        let blob = self.source.blob(self.snapshot)?;
        let mut search = needle.search();
        let mut rest = part.body.clone();
        let mut stored = Vec::new();
        while !rest.is_empty() {
            let step = chunk(&rest, STEP);
            rest.start = step.end;
            stored.clear();
            blob.read(step, &mut stored)?;
            if search.push(text.push(&stored)) {
                return Ok(true);
            }
        }
        Ok(search.push(text.finish()))
    }
}
