//! FETCH at work: answers are rendered in batches, each within one read of the store, and
//! sent between them. A large body spans as many batches as it takes; nothing is held but
//! one batch.

use super::body::{Body, Source};
use super::todo::Todo;
use crate::imap::command::FetchItem;
use crate::imap::fetch;
use crate::imap::flags::{has_unknown_keyword, write_flag_lists};
use crate::imap::numbering::Numbering;
use crate::imap::response::fetch::Fetch;
use crate::imap::view::View;
use crate::mail::{Flags, MailboxId, Message, UidSet};
use crate::store::{Error, Result, Snapshot};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Output of one batch, bytes; a batch ends with the chunk of a body that reaches it.
pub const BATCH: usize = 128 * 1024;
/// Time for one batch: sessions share the thread that renders it.
const TURN: Duration = Duration::from_millis(10);
/// Messages whose \Seen is set in one write, ahead of their bodies.
const SEEN_AHEAD: usize = 64;

/// How far a batch came.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The batch is full.
    More,
    /// These are about to be read and have no \Seen yet: set it, then go on.
    Seen(UidSet),
    Done,
}

/// A FETCH between two batches.
pub struct Job {
    mailbox: MailboxId,
    items: Vec<FetchItem>,
    numbering: Arc<Numbering>,
    recent: Arc<UidSet>,
    keywords: Arc<Vec<String>>,
    read_only: bool,
    condstore: bool,
    todo: Todo,
    current: Option<Current>,
    sets_seen: bool,
    /// Up to here \Seen has been seen to.
    seen_through: u32,
    /// Messages that this FETCH set \Seen on: their FLAGS are told along.
    newly_seen: UidSet,
    /// Messages asked for and found.
    found: u64,
    asked: u64,
    /// Why some message could not be told in full.
    failure: Option<Failure>,
    /// When the batch at work has to end.
    end: Instant,
    /// The last batch used its time up.
    slow: bool,
}

/// What a message could not be read for; the others are told all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Store(Error),
    /// BINARY of a part in an encoding that is not known (RFC 3516, 4.3).
    UnknownCte,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

/// A message whose answer is begun.
struct Current {
    message: Message,
    source: Source,
    /// The next item.
    item: usize,
    /// An item has been written.
    any: bool,
    body: Option<Body>,
    /// Part of its answer has left with an earlier batch.
    sent: bool,
    /// An item was told as NIL.
    failure: Option<Failure>,
}

impl Job {
    pub fn new(view: &View, condstore: bool, uids: &UidSet, items: Vec<FetchItem>) -> Job {
        Job {
            mailbox: view.mailbox,
            sets_seen: !view.read_only && fetch::sets_seen(&items),
            items,
            numbering: view.numbering(),
            recent: view.recent(),
            keywords: view.keywords(),
            read_only: view.read_only,
            condstore,
            todo: Todo::new(uids),
            current: None,
            seen_through: 0,
            newly_seen: UidSet::new(),
            found: 0,
            asked: uids.len(),
            failure: None,
            end: Instant::now(),
            slow: false,
        }
    }

    pub fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// The keyword table that the client knows by now.
    pub fn keywords(&self) -> Arc<Vec<String>> {
        self.keywords.clone()
    }

    /// \Seen was set on these, or could not be.
    pub fn seen(&mut self, uids: UidSet) {
        self.newly_seen = uids;
    }

    /// Whether some messages had gone when they were to be read.
    pub fn has_missed(&self) -> bool {
        self.found < self.asked
    }

    /// Whether an answer is begun and not ended.
    pub fn is_within(&self) -> bool {
        self.current.is_some()
    }

    /// Whether the last batch used its time up: the next belongs into the reader pool.
    pub fn is_slow(&self) -> bool {
        self.slow
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Renders the next batch into `out`. An error says that an answer begun in an earlier
    /// batch can't be ended: the connection has to be.
    pub fn run(&mut self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<Progress> {
        self.end = Instant::now() + TURN;
        let progress = self.run_batch(snapshot, out);
        self.slow = Instant::now() >= self.end;
        progress
    }

    fn run_batch(&mut self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<Progress> {
        if let Some(current) = self.current.take()
            && !self.render(current, snapshot, out)?
        {
            return Ok(Progress::More);
        }
        loop {
            let Some(next) = self.todo.next() else {
                return Ok(Progress::Done);
            };
            if self.sets_seen && next > self.seen_through {
                let unseen = self.look_ahead(snapshot)?;
                if !unseen.is_empty() {
                    return Ok(Progress::Seen(unseen));
                }
            }
            if !self.render_window(snapshot, out)? {
                return Ok(Progress::More);
            }
        }
    }

    /// The next messages without \Seen.
    fn look_ahead(&mut self, snapshot: &Snapshot) -> Result<UidSet> {
        let window = self.todo.window(u32::MAX);
        let mut unseen = UidSet::new();
        let mut looked = 0;
        let mut through = window.ranges().last().map_or(0, |&(_, high)| high);
        snapshot.messages(self.mailbox, &window, |message| {
            if !message.flags.contains(Flags::SEEN) {
                unseen.insert(message.uid);
            }
            looked += 1;
            if looked == SEEN_AHEAD {
                through = message.uid.get();
            }
            Ok(looked < SEEN_AHEAD)
        })?;
        self.seen_through = through;
        Ok(unseen)
    }

    /// Whether there was room for all of it.
    fn render_window(&mut self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<bool> {
        let through = if self.sets_seen {
            self.seen_through
        } else {
            u32::MAX
        };
        let window = self.todo.window(through);
        let mut room = true;
        snapshot.messages(self.mailbox, &window, |message| {
            self.todo.pass(message.uid.get());
            self.found += 1;
            if has_unknown_keyword(message.flags, &self.keywords) {
                self.learn_keywords(snapshot, out)?;
            }
            let current = Current {
                message,
                source: Source::new(message.email, message.size),
                item: 0,
                any: false,
                body: None,
                sent: false,
                failure: None,
            };
            room = self.render(current, snapshot, out)?
                && out.len() < BATCH
                && Instant::now() < self.end;
            Ok(room)
        })?;
        if room && let Some(&(_, high)) = window.ranges().last() {
            self.todo.pass(high);
        }
        Ok(room)
    }

    fn learn_keywords(&mut self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<()> {
        if let Some(info) = snapshot.mailbox_by_id(self.mailbox)?
            && info.keywords.len() > self.keywords.len()
        {
            self.keywords = Arc::new(info.keywords);
            write_flag_lists(out, &self.keywords, self.read_only);
        }
        Ok(())
    }

    /// Goes on with a message; false if the batch is full before its answer is whole.
    fn render(
        &mut self,
        mut current: Current,
        snapshot: &Snapshot,
        out: &mut Vec<u8>,
    ) -> Result<bool> {
        let start = out.len();
        match self.render_items(&mut current, snapshot, out) {
            Ok(true) => {
                self.failure = current.failure.or(self.failure.take());
                Ok(true)
            }
            Ok(false) => {
                current.sent = true;
                self.current = Some(current);
                Ok(false)
            }
            Err(Failure::Store(error)) if current.sent => Err(error),
            Err(failure) => {
                out.truncate(start);
                self.failure = Some(failure);
                Ok(true)
            }
        }
    }

    fn render_items(
        &self,
        current: &mut Current,
        snapshot: &Snapshot,
        out: &mut Vec<u8>,
    ) -> std::result::Result<bool, Failure> {
        let Some(seq) = self.numbering.seq(current.message.uid) else {
            return Ok(true);
        };
        if !current.sent {
            Fetch::begin(out, seq);
        }
        loop {
            if let Some(body) = &mut current.body {
                if !body.drain(current.source.blob(snapshot)?, out, BATCH)? {
                    return Ok(false);
                }
                current.body = None;
            }
            let Some(item) = self.items.get(current.item) else {
                break;
            };
            current.item += 1;
            let mut fetch = Fetch::resume(out, current.any);
            current.any = true;
            let source = &mut current.source;
            match self.item(item, current.message, source, snapshot, &mut fetch) {
                Ok(body) => current.body = body,
                // What has left can't be taken back, and the answer has to go on.
                Err(failure @ Failure::UnknownCte) if current.sent => {
                    tell_nothing(item, &mut fetch);
                    current.failure = Some(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        let mut fetch = Fetch::resume(out, current.any);
        if self.newly_seen.contains(current.message.uid) {
            self.tell_seen(&current.message, &mut fetch);
        }
        fetch.end();
        Ok(true)
    }

    /// Writes one item, or its head: then the body is to follow.
    fn item(
        &self,
        item: &FetchItem,
        message: Message,
        source: &mut Source,
        snapshot: &Snapshot,
        fetch: &mut Fetch,
    ) -> std::result::Result<Option<Body>, Failure> {
        match item {
            FetchItem::Uid => fetch.uid(message.uid),
            FetchItem::Flags => self.flags(&message, fetch),
            FetchItem::InternalDate => fetch.internal_date(message.internal_date),
            FetchItem::Rfc822Size => fetch.rfc822_size(message.size),
            FetchItem::ModSeq => fetch.modseq(message.modseq),
            FetchItem::Envelope => fetch.wire("ENVELOPE", source.head(snapshot)?.envelope),
            FetchItem::BodyStructure => {
                fetch.wire("BODYSTRUCTURE", source.head(snapshot)?.body_structure);
            }
            FetchItem::Body => fetch.wire("BODY", &source.structure(snapshot)?.body()),
            FetchItem::Section {
                section,
                partial,
                name,
                ..
            } => {
                fetch.section(section, *partial, *name);
                return source.section(section, *partial, snapshot, fetch.out());
            }
            FetchItem::Binary { path, partial, .. } => {
                fetch.binary(path, *partial);
                return source.binary(path, *partial, snapshot, fetch.out());
            }
            FetchItem::BinarySize(path) => {
                let size = source.binary_size(path, snapshot)?;
                fetch.binary_size(path, size);
            }
        }
        Ok(None)
    }

    fn flags(&self, message: &Message, fetch: &mut Fetch) {
        let recent = self.recent.contains(message.uid);
        fetch.flags(message.flags, recent, &self.keywords);
    }

    fn tell_seen(&self, message: &Message, fetch: &mut Fetch) {
        if !self.items.contains(&FetchItem::Flags) {
            self.flags(message, fetch);
        }
        if self.condstore && !self.items.contains(&FetchItem::ModSeq) {
            fetch.modseq(message.modseq);
        }
    }
}

/// Ends a BINARY item whose part can't be decoded.
fn tell_nothing(item: &FetchItem, fetch: &mut Fetch) {
    match item {
        FetchItem::BinarySize(path) => fetch.binary_size(path, 0),
        _ => fetch.out().extend_from_slice(b"NIL"),
    }
}

/// Those of `uids` that changed after `since` (RFC 7162, 3.1.4.1).
pub fn changed_since(
    snapshot: &Snapshot,
    mailbox: MailboxId,
    uids: &UidSet,
    since: u64,
) -> Result<UidSet> {
    let mut changed = UidSet::new();
    snapshot.changed_since(mailbox, since, |message: Message| {
        if uids.contains(message.uid) {
            changed.insert(message.uid);
        }
        Ok(true)
    })?;
    Ok(changed)
}
