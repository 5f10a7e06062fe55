//! Messages with binary parts, as BINARYMIME (RFC 3030) and literal8 (RFC 3516) bring them:
//! read back while they are staged, and staged anew with those parts in base64.

use super::blob::Blob;
use super::disk::File;
use super::error::Result;
use super::schema::BlobRow;
use super::staging::{Staged, Staging};
use crate::mail::EmailId;
use crate::message::convert::{self, Base64Lines, Piece, Target};
use crate::message::structure::{ByteRange, MAX_HEADER};
use crate::message::survey::Survey;
use crate::task;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// Bytes that are read back at a time.
const CHUNK: u32 = 256 << 10;

impl Staging {
    /// As [`Staging::finish`], of a message that becomes what the target says; `None` if it
    /// can't without loss. Memory is bounded; the bytes of a large message are written twice.
    pub async fn finish_as(self, target: Target) -> Result<Option<Staged>> {
        let shared = self.shared.clone();
        let staged = self.finish().await?;
        if target == Target::NoNul && !staged.structure.has_nul {
            return Ok(Some(staged));
        }
        let (root, size) = (staged.structure.root.clone(), staged.data.size);
        let mut source = Source(staged.open());
        let (source, pieces) = task::unblock(move || {
            let pieces = convert::plan(&root, size, target, &mut source);
            (source, pieces)
        })
        .await;
        let Some(pieces) = pieces else {
            return Ok(None);
        };
        if pieces.iter().all(|it| matches!(it, Piece::Copy(_))) {
            return Ok(Some(staged));
        }
        let mut staging = Staging::new(&shared)?;
        let mut blob = source.0;
        for piece in pieces {
            match piece {
                Piece::Header(bytes) => staging.write(&bytes).await?,
                Piece::Copy(range) => blob = copy(blob, range, None, &mut staging).await?,
                Piece::Encode(range) => {
                    blob = copy(blob, range, Some(Base64Lines::default()), &mut staging).await?;
                }
            }
        }
        staging.finish().await.map(Some)
    }
}

impl Staged {
    fn open(&self) -> Blob {
        let data = &self.data;
        let file: Arc<dyn File> = match &data.file {
            Some(spill) => spill.file.clone(),
            None => Arc::new(Memory(data.packed.clone())),
        };
        let row = BlobRow {
            references: 0,
            segment: 0,
            offset: 0,
            size: data.size,
            frames: data.frames.clone(),
        };
        // Not stored yet: it has no number.
        Blob::new(file, row, EmailId(0), Arc::default())
    }
}

/// Gives the blob back to be read on.
async fn copy(
    mut blob: Blob,
    range: ByteRange,
    mut encoder: Option<Base64Lines>,
    staging: &mut Staging,
) -> Result<Blob> {
    for part in parts(range) {
        let read = task::unblock(move || {
            let mut bytes = Vec::new();
            blob.read(part, &mut bytes).map(|()| (blob, bytes))
        });
        let bytes;
        (blob, bytes) = read.await?;
        let mut encoded = Vec::new();
        match &mut encoder {
            Some(encoder) => encoder.push(&bytes, &mut encoded),
            None => encoded = bytes,
        }
        staging.write(&encoded).await?;
    }
    let mut rest = Vec::new();
    if let Some(encoder) = encoder {
        encoder.finish(&mut rest);
    }
    staging.write(&rest).await?;
    Ok(blob)
}

fn parts(range: ByteRange) -> impl Iterator<Item = ByteRange> {
    let end = range.end;
    range
        .step_by(CHUNK as usize)
        .map(move |at| at..at.saturating_add(CHUNK).min(end))
}

struct Source(Blob);

impl convert::Source for Source {
    fn header(&mut self, range: ByteRange) -> Option<Vec<u8>> {
        if range.len() > MAX_HEADER {
            return None;
        }
        let mut bytes = Vec::new();
        self.0.read(range, &mut bytes).ok()?;
        Some(bytes)
    }

    fn survey(&mut self, range: ByteRange) -> Option<Survey> {
        let (mut survey, mut bytes) = (Survey::default(), Vec::new());
        for part in parts(range) {
            bytes.clear();
            self.0.read(part, &mut bytes).ok()?;
            survey.push(&bytes);
        }
        Some(survey.finish())
    }
}

/// A staged message that no file holds.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl File for Memory {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.0.get(start..).and_then(|it| it.get(..out.len()));
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _length: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
