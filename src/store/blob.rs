//! A stored message's bytes, by range.

use super::disk::File;
use super::error::{Error, Result};
use super::frame::{self, FRAME};
use super::schema::BlobRow;
use super::segment::lock;
use crate::mail::EmailId;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A stored message's bytes; stays readable though the message be expunged meanwhile.
pub struct Blob {
    email: EmailId,
    damaged: Arc<Damaged>,
    file: Arc<dyn File>,
    row: BlobRow,
    /// The frame read last, for callers that take less than a frame at a time.
    last: Option<(usize, Vec<u8>)>,
    /// Kept between frames.
    packed: Vec<u8>,
}

impl Blob {
    pub(super) fn new(
        file: Arc<dyn File>,
        row: BlobRow,
        email: EmailId,
        damaged: Arc<Damaged>,
    ) -> Blob {
        Blob {
            email,
            damaged,
            file,
            row,
            last: None,
            packed: Vec::new(),
        }
    }

    pub fn size(&self) -> u32 {
        self.row.size
    }

    /// Bytes that it takes on the disk.
    pub(super) fn stored(&self) -> u64 {
        self.row.stored()
    }

    /// Appends the bytes `range` to `out`; blocks on the disk: call it in the reader pool.
    /// Reads and decompresses only the frames that hold the range, each checked. What of the
    /// range lies past the end is left out.
    pub fn read(&mut self, range: Range<u32>, out: &mut Vec<u8>) -> Result<()> {
        let end = range.end.min(self.row.size) as usize;
        let mut at = range.start as usize;
        while at < end {
            let number = at / FRAME;
            let first = number * FRAME;
            let length = (self.row.size as usize - first).min(FRAME);
            let until = end.min(first + length);
            if at == first && until == first + length {
                self.read_frame(number, length, out)?;
            } else {
                let cached = matches!(self.last, Some((it, _)) if it == number);
                if !cached {
                    let mut raw = self.last.take().map_or_else(Vec::new, |(_, raw)| raw);
                    raw.clear();
                    self.read_frame(number, length, &mut raw)?;
                    self.last = Some((number, raw));
                }
                if let Some((_, raw)) = &self.last {
                    out.extend_from_slice(&raw[at - first..until - first]);
                }
            }
            at = until;
        }
        Ok(())
    }

    fn read_frame(&mut self, number: usize, raw: usize, out: &mut Vec<u8>) -> Result<()> {
        let missing = || Error::corrupt("a message has too few frames");
        let length = *self.row.frames.get(number).ok_or_else(missing)?;
        let before = self.row.frames.iter().take(number);
        let offset = self.row.offset + before.map(|&it| u64::from(it)).sum::<u64>();
        frame::fill(&mut self.packed, length as usize);
        self.file.read_at(offset, &mut self.packed)?;
        let whole = frame::decompress(&self.packed, raw, out);
        whole.inspect_err(|_| self.damaged.note(self.email))
    }
}

/// Messages that are remembered as damaged.
const MAX_DAMAGED: usize = 1000;

/// Messages found to be damaged since the start: refused before a byte of them is sent. What was
/// announced and can't be sent ends a connection, and a client would ask for it again and again.
#[derive(Default)]
pub(super) struct Damaged(Mutex<BTreeSet<EmailId>>);

impl Damaged {
    fn note(&self, email: EmailId) {
        let mut known = lock(&self.0);
        if known.len() < MAX_DAMAGED {
            known.insert(email);
        }
    }

    pub fn refuse(&self, email: EmailId) -> Result<()> {
        match lock(&self.0).contains(&email) {
            true => Err(Error::corrupt("a frame of a message")),
            false => Ok(()),
        }
    }

    /// They are to be looked at anew.
    pub fn forget(&self) {
        lock(&self.0).clear();
    }
}

/// All frames of a blob as they are stored.
pub(super) fn read_stored(file: &dyn File, row: &BlobRow) -> Result<Vec<u8>> {
    let mut stored = vec![0; row.stored() as usize];
    file.read_at(row.offset, &mut stored)?;
    Ok(stored)
}
