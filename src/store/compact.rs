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
/// Dead bytes below which copying isn't worth it.
const MIN_DEAD: u64 = 256 * 1024;

pub(super) struct Compactor {
    due: Option<Instant>,
    task: Option<Task>,
    /// Segments that could not be read: not tried again before the next start.
    unreadable: BTreeSet<u32>,
}

struct Task {
    segment: u32,
    /// The first email id not looked at yet.
    next: u64,
}

/// Blobs to move, with their bytes.
pub(super) struct Slice {
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
            unreadable: BTreeSet::new(),
        }
    }

    /// Something was released: a segment may have fallen under half.
    pub fn look(&mut self) {
        if self.due.is_none() {
            self.due = Some(Instant::now() + PAUSE);
        }
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
                    self.unreadable.insert(task.segment);
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

    /// A segment under half alive. Of the active one only its messages count: rolling it for
    /// the log in it would never end.
    fn choose(&self, blobs: &ReadTable<u64, Bytes>, active: u32) -> Result<Option<Task>> {
        for row in blobs.range(segment_key(0)..)? {
            let (key, row) = row?;
            let (segment, row) = (key.value() as u32, SegmentRow::decode(row.value())?);
            let filled = match segment == active {
                true => row.payload,
                false => row.length,
            };
            let dead = filled.saturating_sub(row.live);
            if dead > row.live && dead >= MIN_DEAD && !self.unreadable.contains(&segment) {
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
            _ => self.task = None,
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
        Ok(())
    }
}
