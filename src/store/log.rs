//! The log: what each transaction wrote, in the active segment, durable with one sync. The
//! database follows without a sync of its own; opened again, it is brought up to date from here.

use super::disk::File;
use super::error::{Error, Result};
use super::redo::{HEADER, Header, MAX_REDO, read_rows};
use super::schema::*;
use super::segment::{self, Segments};
use super::table::ReadTable;
use super::tx::{Appended, Tables};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bytes gathered for one write.
const WRITE: usize = 256 * 1024;

/// Where the log goes on after the last checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub segment: u32,
    /// Where the next batch begins, if not in a newer segment.
    pub offset: u64,
    /// Its number. The upper half counts checkpoints: what was written before one and is in
    /// no checkpoint can never pass for a batch after it.
    pub sequence: u64,
}

impl Mark {
    /// The mark of a checkpoint made here.
    pub fn checkpoint(self) -> Mark {
        Mark {
            sequence: ((self.sequence >> 32) + 1) << 32,
            ..self
        }
    }

    pub fn read(state: &ReadTable<&'static str, u64>) -> Result<Mark> {
        let get = |name| -> Result<u64> {
            let row = state.get(name)?;
            let missing = || Error::corrupt("the place of the log is missing");
            Ok(row.ok_or_else(missing)?.value())
        };
        Ok(Mark {
            segment: get(STATE_LOG_SEGMENT)? as u32,
            offset: get(STATE_LOG_OFFSET)?,
            sequence: get(STATE_LOG_SEQUENCE)?,
        })
    }

    pub fn rows(self) -> [(&'static str, u64); 3] {
        [
            (STATE_LOG_SEGMENT, u64::from(self.segment)),
            (STATE_LOG_OFFSET, self.offset),
            (STATE_LOG_SEQUENCE, self.sequence),
        ]
    }
}

/// What one transaction writes to the active segment.
pub(super) struct Batch {
    pub start: Mark,
    pub appends: Vec<Appended>,
    /// None if the transaction's own commit will be durable: then this is no batch of the log.
    pub redo: Option<Vec<u8>>,
}

impl Batch {
    pub fn redo(&self) -> &[u8] {
        self.redo.as_deref().unwrap_or_default()
    }

    fn header(&self, key: u64) -> [u8; HEADER] {
        let Some(redo) = &self.redo else {
            return [0; HEADER];
        };
        let mut crc = crc32fast::Hasher::new();
        let mut payload = 0;
        for bytes in &self.appends {
            crc.update(bytes.bytes());
            payload += bytes.bytes().len() as u64;
        }
        Header {
            sequence: self.start.sequence,
            payload,
            redo: redo.len() as u32,
            payload_crc: crc.finalize(),
            redo_crc: crc32fast::hash(redo),
        }
        .encode(key)
    }
}

/// The writing end.
pub(super) struct Log {
    key: u64,
    active: Option<(u32, Arc<dyn File>)>,
    buffer: Vec<u8>,
}

impl Log {
    pub fn new(key: u64) -> Log {
        Log {
            key,
            active: None,
            buffer: Vec::new(),
        }
    }

    /// Writes the batch and makes it durable. After an error it may be there all the same.
    pub fn write(&mut self, segments: &Segments, batch: &Batch) -> Result<()> {
        let Mark {
            segment, offset, ..
        } = batch.start;
        let file = match &self.active {
            Some((active, file)) if *active == segment && offset > 0 => file.clone(),
            _ if offset == 0 => segments.create(segment)?,
            _ => segments.open(segment)?,
        };
        self.active = Some((segment, file.clone()));
        let mut at = offset;
        self.buffer.clear();
        let header = batch.header(self.key);
        let payload = batch.appends.iter().map(Appended::bytes);
        let pieces = std::iter::once(&header[..]).chain(payload);
        for piece in pieces.chain([batch.redo()]) {
            if self.buffer.len() + piece.len() > WRITE && !self.buffer.is_empty() {
                file.write_at(at, &self.buffer)?;
                at += self.buffer.len() as u64;
                self.buffer.clear();
            }
            self.buffer.extend_from_slice(piece);
        }
        file.write_at(at, &self.buffer)?;
        self.buffer.shrink_to(WRITE);
        file.sync()?;
        if offset == 0 {
            segments.sync_directory()?;
        }
        Ok(())
    }

    /// Takes away a batch whose writing failed, durably.
    pub fn undo(&mut self, segments: &Segments, start: Mark) -> Result<()> {
        let file = match &self.active {
            Some((active, file)) if *active == start.segment => Some(file.clone()),
            _ => segments.open_if_there(start.segment)?,
        };
        let Some(file) = file else {
            // Not even made.
            return match start.offset {
                0 => Ok(()),
                _ => Err(Error::Storage("the active segment is gone".into())),
            };
        };
        if file.length()? > start.offset {
            file.set_len(start.offset)?;
        }
        file.sync()?;
        if start.offset == 0 {
            segments.remove(start.segment);
        }
        self.active = None;
        Ok(())
    }
}

/// The reading end.
pub(super) struct Replay<'a> {
    segments: &'a Segments,
    key: u64,
    /// What the segments after the mark's begin with: sequence number and segment.
    starts: BTreeSet<(u64, u32)>,
    /// Those segments.
    newer: Vec<u32>,
    /// A damaged batch was passed over.
    pub skipped: bool,
    /// Segments that batches were read from.
    read: Vec<u32>,
    /// Rows applied, and the bytes of their redo.
    pub rows: u64,
    pub redo: usize,
}

/// A batch found in a segment.
#[derive(Clone, Copy)]
struct Found {
    segment: u32,
    start: u64,
    end: u64,
    header: Header,
}

impl Found {
    /// Where the next one is, if it isn't in another segment.
    fn after(&self) -> Mark {
        Mark {
            segment: self.segment,
            offset: self.end,
            sequence: self.header.sequence + 1,
        }
    }
}

impl<'a> Replay<'a> {
    /// `names` are the files in the segments' directory.
    pub fn new(
        segments: &'a Segments,
        key: u64,
        mark: Mark,
        names: &[String],
    ) -> Result<Replay<'a>> {
        let mut replay = Replay {
            segments,
            key,
            starts: BTreeSet::new(),
            newer: Vec::new(),
            skipped: false,
            read: Vec::new(),
            rows: 0,
            redo: 0,
        };
        let numbers = names.iter().filter_map(|name| segment::number(name));
        for number in numbers.filter(|&number| number > mark.segment) {
            replay.newer.push(number);
            if let Some(header) = replay.header(number, 0)? {
                replay.starts.insert((header.sequence, number));
            }
        }
        Ok(replay)
    }

    /// Whether a batch begins there, whole or not.
    pub fn has(&self, mark: Mark) -> Result<bool> {
        Ok(!self.find(mark)?.is_empty())
    }

    /// Whether any batch was applied.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty()
    }

    /// Applies what follows `mark`, below the number `limit`; says where the log ends.
    pub fn run(&mut self, tables: &mut Tables<'_>, mut mark: Mark, limit: u64) -> Result<Mark> {
        while mark.sequence < limit {
            let Some((batch, redo)) = self.next(mark)? else {
                break;
            };
            match redo {
                Some(redo) => {
                    self.redo += redo.len();
                    read_rows(&redo, |table, key, value| {
                        self.rows += 1;
                        tables.apply(table, key, value)
                    })?
                }
                None => {
                    self.skipped = true;
                    log::error!(
                        "segment {}: the log is damaged at {}: what was written then is lost",
                        batch.segment,
                        batch.start
                    );
                }
            }
            if self.read.last() != Some(&batch.segment) {
                self.read.push(batch.segment);
            }
            mark = batch.after();
        }
        Ok(mark)
    }

    /// Whether more of the log lies behind `end`, where it seems to end: then what is between
    /// was durable once and can't be read. A crash leaves no batch but the one under way, which
    /// would be the next.
    pub fn goes_on(&self, end: Mark) -> Result<bool> {
        if self.scan(end.segment, end.offset, end)? {
            return Ok(true);
        }
        for &segment in &self.newer {
            let unread = segment != end.segment && !self.read.contains(&segment);
            if unread && self.scan(segment, 0, end)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a batch after `end` begins in that segment at `at` or behind.
    fn scan(&self, segment: u32, mut at: u64, end: Mark) -> Result<bool> {
        let key = self.key.to_le_bytes();
        let length = self.segments.length_if_there(segment)?.unwrap_or(0);
        let mut piece = vec![0; WRITE];
        while at + HEADER as u64 <= length {
            let bytes = (length - at).min(WRITE as u64);
            let piece = &mut piece[..bytes as usize];
            if !self.segments.read_if_there(segment, at, piece)? {
                break;
            }
            for (offset, word) in piece.windows(key.len()).enumerate() {
                if word == key
                    && let Some(header) = self.header(segment, at + offset as u64)?
                    && header.sequence >> 32 == end.sequence >> 32
                    && header.sequence > end.sequence
                {
                    return Ok(true);
                }
            }
            // The pieces overlap: a key may lie across their border.
            at += bytes - key.len() as u64 + 1;
        }
        Ok(false)
    }

    /// The next batch that counts, and its redo unless that is damaged. It counts if it is
    /// whole, or if another follows, for that was begun when this one was durable.
    fn next(&self, mark: Mark) -> Result<Option<(Found, Option<Vec<u8>>)>> {
        let found = self.find(mark)?;
        for batch in &found {
            let followed = found.len() == 1 && self.has(batch.after())?;
            match self.redo(batch)? {
                Some(redo) if followed || self.is_whole(batch)? => {
                    return Ok(Some((*batch, Some(redo))));
                }
                None if followed => return Ok(Some((*batch, None))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Makes durable what was read: after a kill, not a power cut, it may not be so yet.
    pub fn sync(&self, mark: Mark) -> Result<()> {
        for &segment in &self.read {
            self.segments.open(segment)?.sync()?;
        }
        // Names of segments that were begun after the mark.
        match mark.offset > 0 && self.read.iter().all(|it| *it == mark.segment) {
            true => Ok(()),
            false => self.segments.sync_directory(),
        }
    }

    /// The batches of that number: here, or at the start of another segment. Of several, all
    /// but one are remains of attempts that failed.
    fn find(&self, mark: Mark) -> Result<Vec<Found>> {
        let others = self
            .starts
            .range((mark.sequence, 0)..=(mark.sequence, u32::MAX));
        let here = (mark.segment, mark.offset);
        let places = std::iter::once(here).chain(others.map(|&(_, segment)| (segment, 0)));
        let mut found = Vec::new();
        for (segment, start) in places {
            if let Some(header) = self.header(segment, start)?
                && let Some(end) = header.end(start)
                && header.sequence == mark.sequence
            {
                found.push(Found {
                    segment,
                    start,
                    end,
                    header,
                });
            }
        }
        Ok(found)
    }

    fn header(&self, segment: u32, start: u64) -> Result<Option<Header>> {
        let mut bytes = [0; HEADER];
        let there = self.segments.read_if_there(segment, start, &mut bytes)?;
        Ok(Header::decode(&bytes, self.key).filter(|_| there))
    }

    fn redo(&self, batch: &Found) -> Result<Option<Vec<u8>>> {
        let mut redo = vec![0; (batch.header.redo as usize).min(MAX_REDO)];
        let Some(start) = batch.header.redo_start(batch.start) else {
            return Ok(None);
        };
        let there = self
            .segments
            .read_if_there(batch.segment, start, &mut redo)?;
        Ok((there && crc32fast::hash(&redo) == batch.header.redo_crc).then_some(redo))
    }

    fn is_whole(&self, batch: &Found) -> Result<bool> {
        let mut crc = crc32fast::Hasher::new();
        let mut piece = vec![0; WRITE.min(batch.header.payload as usize)];
        let mut at = batch.start + HEADER as u64;
        let mut left = batch.header.payload;
        while left > 0 {
            let length = left.min(piece.len() as u64);
            let piece = &mut piece[..length as usize];
            if !self.segments.read_if_there(batch.segment, at, piece)? {
                return Ok(false);
            }
            crc.update(piece);
            at += length;
            left -= length;
        }
        Ok(crc.finalize() == batch.header.payload_crc)
    }
}
