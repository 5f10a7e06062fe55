//! Compaction: a segment of which less than half is alive is copied forward, slice by slice
//! between batches, frames as they are; then it dies like any other without a live byte.

use super::blob::read_stored;
use super::error::Result;
use super::schema::*;
use super::segment::Segments;
use super::table::{Bytes, ReadTable};
use super::tx::{Position, Tx};
use crate::mail::EmailId;
use redb::Database;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Bytes copied in one slice.
pub(super) const SLICE_BYTES: u64 = 512 * 1024;
/// Rows looked at in one slice.
const SLICE_ROWS: usize = 4096;
/// Between two slices: a writer that comes meanwhile waits for one slice at most.
const PAUSE: Duration = Duration::from_millis(20);
/// Until the next look at a disk that is too full to copy anything.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Compactor {
    due: Option<Instant>,
    task: Option<Task>,
    /// Segments worth copying forward, kept in step with the rows; none until those were read.
    sparse: Option<BTreeSet<u32>>,
    /// Segments that were gone through, or could not be read: no more to be had from them.
    tried: BTreeSet<u32>,
}

struct Task {
    segment: u32,
    /// The first email id not looked at yet.
    next: u64,
}

/// Blobs to move, with their bytes.
pub(super) struct Slice {
    segment: u32,
    blobs: Vec<(EmailId, BlobRow, Vec<u8>)>,
    next: Option<u64>,
    /// The segment is the active one: first begin another.
    roll: bool,
}

impl Compactor {
    pub fn new() -> Compactor {
        Compactor {
            due: Some(Instant::now()),
            task: None,
            sparse: None,
            tried: BTreeSet::new(),
        }
    }

    /// What a commit says of the segments that it changed.
    pub fn note(&mut self, changed: &[(u32, bool)]) {
        for (segment, sparse) in changed {
            match (&mut self.sparse, sparse) {
                (Some(all), true) => all.insert(*segment),
                (Some(all), false) => all.remove(segment),
                (None, _) => false,
            };
            if *sparse && self.due.is_none() {
                self.due = Some(Instant::now() + PAUSE);
            }
        }
    }

    /// A commit may have been made that nobody could tell of.
    pub fn look_again(&mut self) {
        self.sparse = None;
        self.due.get_or_insert_with(|| Instant::now() + PAUSE);
    }

    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The next slice, if it is time for one and there is any.
    pub fn read(
        &mut self,
        db: &Database,
        segments: &Segments,
        position: &Position,
    ) -> Option<Slice> {
        if self.due.is_none_or(|due| due > Instant::now()) {
            return None;
        }
        match self.try_read(db, segments, position) {
            Ok(Some(slice)) => Some(slice),
            Ok(None) => {
                self.due = None;
                None
            }
            Err(error) => {
                if let Some(task) = self.task.take() {
                    log::error!("segment {} can't be compacted: {error}", task.segment);
                    self.tried.insert(task.segment);
                }
                self.due = Some(Instant::now() + PAUSE);
                None
            }
        }
    }

    fn try_read(
        &mut self,
        db: &Database,
        segments: &Segments,
        position: &Position,
    ) -> Result<Option<Slice>> {
        let read = redb::ReadableDatabase::begin_read(db)?;
        let blobs = BLOBS.read(&read)?;
        if self.task.is_none() {
            self.task = self.choose(&blobs, position.log.segment)?;
        }
        let Some(task) = &self.task else {
            return Ok(None);
        };
        let mut slice = Slice {
            segment: task.segment,
            blobs: Vec::new(),
            next: None,
            roll: task.segment == position.log.segment,
        };
        let mut bytes = 0;
        for (count, row) in blobs.range(task.next..segment_key(0))?.enumerate() {
            let (key, row) = row?;
            if bytes >= SLICE_BYTES || count >= SLICE_ROWS {
                slice.next = Some(key.value());
                break;
            }
            let blob = BlobRow::decode(row.value())?;
            if blob.segment == task.segment {
                bytes += blob.stored();
                let stored = read_stored(&*segments.open(task.segment)?, &blob)?;
                slice.blobs.push((EmailId(key.value()), blob, stored));
            }
        }
        Ok(Some(slice))
    }

    /// The first of the segments that are worth it, if they still are.
    fn choose(&mut self, blobs: &ReadTable<u64, Bytes>, active: u32) -> Result<Option<Task>> {
        if self.sparse.is_none() {
            let mut sparse = BTreeSet::new();
            for row in blobs.range(segment_key(0)..)? {
                let (key, row) = row?;
                let segment = key.value() as u32;
                if SegmentRow::decode(row.value())?.is_sparse(segment == active) {
                    sparse.insert(segment);
                }
            }
            self.sparse = Some(sparse);
        }
        while let Some(segment) = self.sparse.as_mut().and_then(BTreeSet::pop_first) {
            let row = blobs.get(segment_key(segment))?;
            let row = row.map(|row| SegmentRow::decode(row.value())).transpose()?;
            let sparse = row.is_some_and(|row| row.is_sparse(segment == active));
            if sparse && !self.tried.contains(&segment) {
                return Ok(Some(Task { segment, next: 0 }));
            }
        }
        Ok(None)
    }

    /// There is no room for a slice now.
    pub fn wait(&mut self) {
        self.due = self.due.map(|_| Instant::now() + NO_ROOM_PAUSE);
    }

    /// The slice was applied, or failed and is read again later.
    pub fn done(&mut self, slice: Slice, applied: bool) {
        self.due = Some(Instant::now() + PAUSE);
        if !applied {
            return;
        }
        match (slice.next, &mut self.task) {
            (Some(next), Some(task)) => task.next = next,
            _ => {
                // Whatever its row may say: nothing in it is named any more.
                self.tried.insert(slice.segment);
                self.task = None;
            }
        }
    }
}

impl Slice {
    pub fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        if self.roll {
            tx.roll();
        }
        for (email, blob, bytes) in &self.blobs {
            tx.move_blob(*email, blob.clone(), bytes.clone())?;
        }
        if self.next.is_none() {
            tx.retire(self.segment);
        }
        Ok(())
    }
}
