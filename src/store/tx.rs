//! One write transaction, shared by the jobs of a batch: the open tables, and what is to
//! happen around the commit (bytes to append before, changes to publish after).

use super::Origin;
use super::change::Publication;
use super::error::{Error, Result};
use super::schema::*;
use super::segment::Segments;
use super::staging::StagedData;
use crate::mail::*;
use redb::{ReadableTable, Table, WriteTransaction};
use std::collections::BTreeMap;
use std::sync::Arc;

type Rows<'t, K> = Table<'t, K, &'static [u8]>;

pub(super) struct Tables<'t> {
    pub state: Table<'t, &'static str, u64>,
    pub accounts: Rows<'t, u32>,
    pub addresses: Table<'t, &'static [u8], u32>,
    pub domains: Table<'t, &'static str, u32>,
    pub mailboxes: Rows<'t, u32>,
    pub names: Table<'t, (u32, &'static str), u32>,
    pub subscriptions: Table<'t, (u32, &'static str), ()>,
    pub messages: Rows<'t, u64>,
    pub vanished: Rows<'t, (u32, u64)>,
    pub blobs: Rows<'t, u64>,
    pub structures: Rows<'t, u64>,
    pub doomed: Table<'t, u32, ()>,
    pub outbox: Rows<'t, (u64, u64)>,
    pub records: Table<'t, (&'static str, &'static str), &'static [u8]>,
}

impl<'t> Tables<'t> {
    /// Makes those that are missing.
    pub fn open(txn: &'t WriteTransaction) -> Result<Tables<'t>> {
        Ok(Tables {
            state: txn.open_table(STATE)?,
            accounts: txn.open_table(ACCOUNTS)?,
            addresses: txn.open_table(ADDRESSES)?,
            domains: txn.open_table(DOMAINS)?,
            mailboxes: txn.open_table(MAILBOXES)?,
            names: txn.open_table(NAMES)?,
            subscriptions: txn.open_table(SUBSCRIPTIONS)?,
            messages: txn.open_table(MESSAGES)?,
            vanished: txn.open_table(VANISHED)?,
            blobs: txn.open_table(BLOBS)?,
            structures: txn.open_table(STRUCTURES)?,
            doomed: txn.open_table(DOOMED)?,
            outbox: txn.open_table(OUTBOX)?,
            records: txn.open_table(RECORDS)?,
        })
    }
}

/// What the writer thread carries from one transaction to the next; a failed transaction
/// leaves it as it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// The next email id, and the first that isn't reserved in [`STATE_EMAIL`].
    pub email: u64,
    pub email_reserved: u64,
    /// The active segment and its length.
    pub segment: u32,
    pub length: u64,
}

/// What to do around the commit.
#[derive(Default)]
pub(super) struct Effects {
    /// Message bytes for (segment, offset), to be durable before the commit.
    pub appends: Vec<(u32, u64, Appended)>,
    /// Files that the commit takes over.
    pub kept: Vec<Arc<StagedData>>,
    pub publications: Vec<Publication>,
    /// Segments without a row from now on.
    pub dead: Vec<u32>,
    /// Something of the queue of outgoing mail is different now.
    pub queue_changed: bool,
    /// Some bytes lost their last row.
    pub released: bool,
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
    deltas: BTreeMap<u32, SegmentDelta>,
    effects: Effects,
}

impl<'t> Tx<'t> {
    pub fn new(
        txn: &'t WriteTransaction,
        segments: &'t Segments,
        position: Position,
    ) -> Result<Tx<'t>> {
        Ok(Tx {
            tables: Tables::open(txn)?,
            changes: 0,
            segments,
            now: unix_now(),
            position,
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

    pub fn queue_changed(&mut self) {
        self.effects.queue_changed = true;
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
                self.effects.kept.push(data.clone());
                (file.segment, 0)
            }
            None => {
                let length = data.packed.len() as u64;
                self.append(length, Appended::Staged(data.clone()))
            }
        };
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
        if self.position.length >= self.segments.roll {
            self.roll();
        }
        let (segment, offset) = (self.position.segment, self.position.length);
        if length > 0 {
            self.position.length += length;
            self.deltas.entry(segment).or_default().length = Some(self.position.length);
            self.effects.appends.push((segment, offset, bytes));
        }
        (segment, offset)
    }

    /// Begins a new active segment.
    pub fn roll(&mut self) {
        self.changes += 1;
        // The one left may have nothing live: `finish` looks at all that have a delta.
        self.deltas.entry(self.position.segment).or_default();
        self.position.segment = self.segments.reserve();
        self.position.length = 0;
    }

    /// Moves a blob's bytes, read from where it was, to the active segment.
    pub fn move_blob(&mut self, email: EmailId, mut blob: BlobRow, bytes: Vec<u8>) -> Result<()> {
        let length = blob.stored();
        self.deltas.entry(blob.segment).or_default().live -= length as i64;
        (blob.segment, blob.offset) = self.append(length, Appended::Moved(bytes));
        self.deltas.entry(blob.segment).or_default().live += length as i64;
        let row = blob.encode();
        self.change().blobs.insert(email.0, row.as_slice())?;
        Ok(())
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
        let row = blob.encode();
        self.change().blobs.insert(email.0, row.as_slice())?;
        Ok(())
    }

    /// Counts `fewer` rows that name the message; the last takes it away.
    pub fn release(&mut self, email: EmailId, fewer: u32) -> Result<()> {
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
        self.effects.released = true;
        let tables = self.change();
        tables.blobs.remove(email.0)?;
        tables.structures.remove(email.0)?;
        Ok(())
    }

    /// Writes the segments' rows; then nothing but the commit is left.
    pub fn finish(mut self) -> Result<(Position, Effects)> {
        for (segment, delta) in std::mem::take(&mut self.deltas) {
            self.put_segment(segment, delta)?;
        }
        Ok((self.position, self.effects))
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
        if row.live == 0 && segment != self.position.segment {
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
