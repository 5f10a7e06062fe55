//! One write transaction, shared by the jobs of a batch: the open tables, what goes to the
//! log before the commit, and what is to happen after it.

use super::Origin;
use super::change::Publication;
use super::error::{Error, Result};
use super::log::{Batch, Mark};
use super::redo::{HEADER, Redo};
use super::schema::*;
use super::segment::Segments;
use super::staging::StagedData;
use super::table::{Bytes, Table};
use crate::mail::*;
use redb::WriteTransaction;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Lists the tables, each with the number that names it in the log: once given, it stays.
macro_rules! tables {
    ($($number:literal $name:ident: $key:ty => $value:ty, $definition:ident;)*) => {
        pub(super) struct Tables<'t> {
            $(pub $name: Table<'t, $key, $value>,)*
        }

        impl<'t> Tables<'t> {
            /// Their names in the database.
            pub const NAMES: &'static [&'static str] = &[$($definition.name()),*];

            /// Makes those that are missing; `redo` takes up what is changed in them.
            pub fn open(txn: &'t WriteTransaction, redo: &Redo) -> Result<Tables<'t>> {
                Ok(Tables {
                    $($name: Table::open(txn, &$definition, $number, redo)?,)*
                })
            }

            /// Does what a row of the log says.
            pub fn apply(
                &mut self,
                table: u8,
                key: &[u8],
                value: Option<&[u8]>,
            ) -> Result<()> {
                match table {
                    $($number => self.$name.apply(key, value),)*
                    _ => Err(Error::corrupt("the log names a table that isn't there")),
                }
            }
        }
    };
}

tables! {
    1 state: &'static str => u64, STATE;
    2 accounts: u32 => Bytes, ACCOUNTS;
    3 addresses: Bytes => u32, ADDRESSES;
    4 domains: &'static str => u32, DOMAINS;
    5 mailboxes: u32 => Bytes, MAILBOXES;
    6 names: (u32, &'static str) => u32, NAMES;
    7 subscriptions: (u32, &'static str) => (), SUBSCRIPTIONS;
    8 messages: u64 => Bytes, MESSAGES;
    9 vanished: (u32, u64) => Bytes, VANISHED;
    10 blobs: u64 => Bytes, BLOBS;
    11 structures: u64 => Bytes, STRUCTURES;
    12 doomed: u32 => (), DOOMED;
    13 outbox: (u64, u64) => Bytes, OUTBOX;
    14 records: (&'static str, &'static str) => Bytes, RECORDS;
}

/// What the writer thread carries from one transaction to the next; a failed transaction
/// leaves it as it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// The next email id, and the first that isn't reserved in [`STATE_EMAIL`].
    pub email: u64,
    pub email_reserved: u64,
    /// The active segment, its end, and the number of the next batch.
    pub log: Mark,
}

/// What to do after the commit.
#[derive(Default)]
pub(super) struct Effects {
    /// Files that the commit takes over.
    pub kept: Vec<Arc<StagedData>>,
    pub publications: Vec<Publication>,
    /// Segments without a row from now on.
    pub dead: Vec<u32>,
    /// The first place in the queue's order that this transaction gave to a message.
    pub queue_changed: Option<(u64, u64)>,
    /// Segments whose rows have changed, and whether they are worth copying forward now.
    pub sparse: Vec<(u32, bool)>,
    /// Messages of which a row that names them, or the row of their bytes, has changed.
    pub touched: Vec<u64>,
    /// An account has come to another level of its quota.
    pub quotas: Cell<bool>,
}

pub(super) enum Appended {
    Staged(Arc<StagedData>),
    Moved(Vec<u8>),
}

impl Appended {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Appended::Staged(data) => &data.packed,
            Appended::Moved(bytes) => bytes,
        }
    }
}

/// A segment's row as this transaction changes it.
#[derive(Default)]
struct SegmentDelta {
    live: i64,
    /// Where it is longer now.
    length: Option<u64>,
    /// Message bytes more.
    payload: u64,
    single: bool,
}

pub(super) struct Tx<'t> {
    tables: Tables<'t>,
    /// Counts the accesses for change.
    changes: u64,
    segments: &'t Segments,
    /// Seconds since 1970.
    pub now: i64,
    position: Position,
    redo: Redo,
    /// Where this transaction's batch begins, once it is known.
    start: Option<Mark>,
    appends: Vec<Appended>,
    deltas: BTreeMap<u32, SegmentDelta>,
    effects: Effects,
}

/// A transaction that has nothing left to do but to be written and committed.
pub(super) struct Finished {
    /// None if there is nothing to write to the segment.
    pub batch: Option<Batch>,
    /// After the commit.
    pub position: Position,
    pub effects: Effects,
    /// Rows that were changed, unless it is durable.
    pub rows: usize,
    /// The commit has to be durable: it is a checkpoint.
    pub durable: bool,
}

impl<'t> Tx<'t> {
    pub fn new(
        txn: &'t WriteTransaction,
        segments: &'t Segments,
        position: Position,
    ) -> Result<Tx<'t>> {
        let redo = Redo::default();
        Ok(Tx {
            tables: Tables::open(txn, &redo)?,
            changes: 0,
            segments,
            now: unix_now(),
            position,
            redo,
            start: None,
            appends: Vec::new(),
            deltas: BTreeMap::new(),
            effects: Effects::default(),
        })
    }

    pub fn tables(&self) -> &Tables<'t> {
        &self.tables
    }

    /// The tables to change; notes that they were.
    pub fn change(&mut self) -> &mut Tables<'t> {
        self.changes += 1;
        &mut self.tables
    }

    /// Goes up with each change so far.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    pub fn touched(&self) -> bool {
        self.changes > 0
    }

    pub fn state(&self, name: &str) -> Result<u64> {
        Ok(self.tables.state.get(name)?.map_or(0, |row| row.value()))
    }

    pub fn set_state(&mut self, name: &str, value: u64) -> Result<()> {
        self.change().state.insert(name, value)?;
        Ok(())
    }

    /// The next number of a counter that starts at 1.
    pub fn next_id(&mut self, counter: &str) -> Result<u32> {
        let id = self.state(counter)? + 1;
        let small = u32::try_from(id).map_err(|_| Error::Limit("ids"))?;
        self.set_state(counter, id)?;
        Ok(small)
    }

    pub fn mailbox(&self, id: MailboxId) -> Result<MailboxRow> {
        match self.tables.mailboxes.get(id.0)? {
            Some(row) => MailboxRow::decode(row.value()),
            None => Err(Error::NoMailbox),
        }
    }

    pub fn put_mailbox(&mut self, id: MailboxId, row: &MailboxRow) -> Result<()> {
        let row = row.encode();
        self.change().mailboxes.insert(id.0, row.as_slice())?;
        Ok(())
    }

    /// To be called before what is told of is done: it is told of once it is.
    pub fn tell_of_quotas(&self) {
        self.effects.quotas.set(true);
    }

    pub fn publish(&mut self, mailbox: MailboxId, modseq: u64, change: Change, origin: Origin) {
        if let Some(modseq) = ModSeq::new(modseq) {
            self.effects.publications.push(Publication {
                mailbox,
                modseq,
                change,
                origin,
            });
        }
    }

    /// A message of the queue has this place in its order now.
    pub fn queue_changed(&mut self, place: (u64, u64)) {
        let first = &mut self.effects.queue_changed;
        *first = Some(first.map_or(place, |first| first.min(place)));
    }

    /// A row that names the message came, went or moved: for a check that is under way.
    pub fn touch(&mut self, email: EmailId) {
        self.effects.touched.push(email.0);
    }

    /// The next number that will be given out.
    pub fn peek_number(&self) -> u64 {
        self.position.email
    }

    /// A number that was never given out before, neither to a message nor to the queue.
    pub fn next_number(&mut self) -> Result<u64> {
        if self.position.email >= self.position.email_reserved {
            self.position.email_reserved = self.position.email + EMAIL_STRIDE;
            self.set_state(STATE_EMAIL, self.position.email_reserved)?;
        }
        let number = self.position.email;
        self.position.email += 1;
        Ok(number)
    }

    /// Stores a message's bytes and structure for `references` rows to come.
    pub fn put_blob(&mut self, data: &Arc<StagedData>, references: u32) -> Result<EmailId> {
        let email = self.next_number()?;
        let (segment, offset) = match &data.file {
            Some(file) => {
                let delta = self.deltas.entry(file.segment).or_default();
                delta.single = true;
                delta.length = Some(file.length);
                delta.payload += file.length;
                self.effects.kept.push(data.clone());
                (file.segment, 0)
            }
            None => {
                let length = data.packed.len() as u64;
                self.append(length, Appended::Staged(data.clone()))
            }
        };
        self.effects.touched.push(email);
        let blob = BlobRow {
            references,
            segment,
            offset,
            size: data.size,
            frames: data.frames.clone(),
        };
        self.deltas.entry(segment).or_default().live += blob.stored() as i64;
        let tables = self.change();
        tables.blobs.insert(email, blob.encode().as_slice())?;
        tables.structures.insert(email, data.structure.as_slice())?;
        Ok(EmailId(email))
    }

    /// Gives bytes a place at the end of the active segment.
    fn append(&mut self, length: u64, bytes: Appended) -> (u32, u64) {
        self.begin();
        let Mark {
            segment, offset, ..
        } = self.position.log;
        self.position.log.offset += length;
        self.deltas.entry(segment).or_default().payload += length;
        self.appends.push(bytes);
        (segment, offset)
    }

    /// Settles where this transaction's batch begins, in a new segment if the active one is
    /// long enough.
    fn begin(&mut self) {
        if self.start.is_some() {
            return;
        }
        if self.position.log.offset >= self.segments.roll {
            self.roll();
        }
        self.start = Some(self.position.log);
        self.position.log.offset += HEADER as u64;
    }

    /// Begins a new active segment; before anything is appended.
    pub fn roll(&mut self) {
        debug_assert!(self.start.is_none());
        self.changes += 1;
        // Its row doesn't say yet where the log in it ends. And it may have nothing live:
        // `finish` looks at all that have a delta.
        let left = self.position.log;
        if left.offset > 0 {
            self.deltas.entry(left.segment).or_default().length = Some(left.offset);
        }
        self.position.log.segment = self.segments.reserve();
        self.position.log.offset = 0;
    }

    /// Moves a blob's bytes, read from where it was, to the active segment.
    pub fn move_blob(&mut self, email: EmailId, mut blob: BlobRow, bytes: Vec<u8>) -> Result<()> {
        let length = blob.stored();
        self.touch(email);
        self.deltas.entry(blob.segment).or_default().live -= length as i64;
        (blob.segment, blob.offset) = self.append(length, Appended::Moved(bytes));
        self.deltas.entry(blob.segment).or_default().live += length as i64;
        let row = blob.encode();
        self.change().blobs.insert(email.0, row.as_slice())?;
        Ok(())
    }

    /// Has `finish` take away a segment's row if nothing in it is alive.
    pub fn retire(&mut self, segment: u32) {
        self.changes += 1;
        self.deltas.entry(segment).or_default();
    }

    /// The segment has so many bytes more alive than its row says.
    pub fn correct_live(&mut self, segment: u32, more: i64) {
        self.changes += 1;
        self.deltas.entry(segment).or_default().live += more;
    }

    pub fn blob(&self, email: EmailId) -> Result<Option<BlobRow>> {
        match self.tables.blobs.get(email.0)? {
            Some(row) => Ok(Some(BlobRow::decode(row.value())?)),
            None => Ok(None),
        }
    }

    /// Counts `more` rows that name the message.
    pub fn reference(&mut self, email: EmailId, more: u32) -> Result<()> {
        let mut blob = self
            .blob(email)?
            .ok_or_else(|| Error::corrupt("a message without its bytes"))?;
        blob.references = blob
            .references
            .checked_add(more)
            .ok_or(Error::Limit("copies of a message"))?;
        self.touch(email);
        let row = blob.encode();
        self.change().blobs.insert(email.0, row.as_slice())?;
        Ok(())
    }

    /// Counts `fewer` rows that name the message; the last takes it away.
    pub fn release(&mut self, email: EmailId, fewer: u32) -> Result<()> {
        self.touch(email);
        // A message without its bytes is damage already; it must still be possible to expunge it.
        let Some(mut blob) = self.blob(email)? else {
            return Ok(());
        };
        blob.references = blob.references.saturating_sub(fewer);
        if blob.references > 0 {
            let row = blob.encode();
            self.change().blobs.insert(email.0, row.as_slice())?;
            return Ok(());
        }
        self.deltas.entry(blob.segment).or_default().live -= blob.stored() as i64;
        let tables = self.change();
        tables.blobs.remove(email.0)?;
        tables.structures.remove(email.0)?;
        Ok(())
    }

    /// Writes the segments' rows and sums up; `durable` is for a commit that is a checkpoint.
    pub fn finish(mut self, durable: bool) -> Result<Finished> {
        if !durable {
            self.begin();
        }
        let active = self.position.log;
        if active.offset > 0 {
            // Without the redo, whose length isn't known yet.
            self.deltas.entry(active.segment).or_default().length = Some(active.offset);
        }
        for (segment, delta) in std::mem::take(&mut self.deltas) {
            self.put_segment(segment, delta)?;
        }
        let rows = self.redo.rows();
        let redo = match durable {
            true => None,
            false => self.redo.take(),
        };
        let durable = redo.is_none();
        if let Some(redo) = &redo {
            self.position.log.offset += redo.len() as u64;
            self.position.log.sequence += 1;
        } else {
            self.position.log = self.position.log.checkpoint();
            for (name, value) in self.position.log.rows() {
                self.tables.state.insert(name, value)?;
            }
        }
        let appends = self.appends;
        Ok(Finished {
            batch: self.start.map(|start| Batch {
                start,
                appends,
                redo,
            }),
            position: self.position,
            effects: self.effects,
            rows,
            durable,
        })
    }

    fn put_segment(&mut self, segment: u32, delta: SegmentDelta) -> Result<()> {
        let key = segment_key(segment);
        let mut row = match self.tables.blobs.get(key)? {
            Some(row) => SegmentRow::decode(row.value())?,
            None => SegmentRow {
                single: delta.single,
                ..SegmentRow::default()
            },
        };
        row.live = row.live.saturating_add_signed(delta.live);
        row.length = delta.length.unwrap_or(row.length);
        row.payload += delta.payload;
        let active = segment == self.position.log.segment;
        let sparse = row.is_sparse(active);
        self.effects.sparse.push((segment, sparse));
        if row.live == 0 && !active {
            self.change().blobs.remove(key)?;
            self.effects.dead.push(segment);
        } else {
            let row = row.encode();
            self.change().blobs.insert(key, row.as_slice())?;
        }
        Ok(())
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}
