//! The pages of the database, each of which has a checksum. Redb looks at all of them only with
//! the database to itself, and may write then: it writes to memory here.

use crate::store::disk::{Backend, Disk, File};
use crate::store::error::{Error, Result};
use crate::store::recover::META;
use crate::store::segment::lock;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// Bytes of a piece that is kept in memory instead of being written.
const PIECE: u64 = 4096;
/// Pieces that are kept at most: 64 MiB.
const MAX_PIECES: usize = 16_384;
/// Redb's cache, bytes.
const CACHE: usize = 4 << 20;

/// What the pages of the database are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    Whole,
    /// Some are not what was written.
    Damaged,
    /// There is no database yet.
    None,
}

/// Looks at every page of `meta.redb`, which nobody may have open. Changes nothing.
pub fn check_pages(disk: &dyn Disk) -> Result<Pages> {
    let below = match disk.open(META, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pages::None),
        Err(error) => return Err(error.into()),
    };
    let length = below.length()?;
    let file: Arc<dyn File> = Arc::new(Overlay {
        below,
        pieces: Mutex::new(Pieces {
            length,
            pieces: BTreeMap::new(),
        }),
    });
    let backend = Backend {
        file,
        full: Arc::default(),
    };
    let whole = catch_unwind(AssertUnwindSafe(|| -> Result<bool> {
        let mut db = redb::Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(backend)?;
        Ok(db.check_integrity()?)
    }));
    match whole {
        Ok(Ok(true)) => Ok(Pages::Whole),
        Ok(Ok(false)) | Ok(Err(Error::Corrupt(_))) | Err(_) => Ok(Pages::Damaged),
        Ok(Err(error)) => Err(error),
    }
}

/// A file whose changes stay in memory.
#[derive(Debug)]
struct Overlay {
    below: Arc<dyn File>,
    pieces: Mutex<Pieces>,
}

#[derive(Debug)]
struct Pieces {
    length: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// A piece as it is below; zeros past its end.
    fn read_below(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; PIECE as usize];
        let start = number * PIECE;
        let there = self.below.length()?.saturating_sub(start).min(PIECE) as usize;
        if let Some(part) = piece.get_mut(..there).filter(|it| !it.is_empty()) {
            self.below.read_at(start, part)?;
        }
        Ok(piece)
    }
}

/// The pieces that a range lies in: number, where in it, and how many bytes.
fn split(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let end = offset.saturating_add(length as u64);
    std::iter::from_fn(move || {
        let within = at % PIECE;
        let bytes = (PIECE - within).min(end.checked_sub(at).filter(|&it| it > 0)?);
        let piece = (at / PIECE, within as usize, bytes as usize);
        at += bytes;
        Some(piece)
    })
}

impl File for Overlay {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let pieces = lock(&self.pieces);
        if offset.saturating_add(out.len() as u64) > pieces.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (number, within, bytes) in split(offset, rest.len()) {
            let (part, later) = rest.split_at_mut(bytes);
            rest = later;
            let below;
            let piece = match pieces.pieces.get(&number) {
                Some(piece) => piece,
                None => {
                    below = self.read_below(number)?;
                    &below
                }
            };
            part.copy_from_slice(piece.get(within..within + bytes).unwrap_or_default());
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut pieces = lock(&self.pieces);
        let mut rest = bytes;
        for (number, within, length) in split(offset, bytes.len()) {
            let (part, later) = rest.split_at(length);
            rest = later;
            if !pieces.pieces.contains_key(&number) {
                if pieces.pieces.len() >= MAX_PIECES {
                    return Err(io::Error::other("too much to repair"));
                }
                let below = self.read_below(number)?;
                pieces.pieces.insert(number, below);
            }
            if let Some(piece) = pieces.pieces.get_mut(&number)
                && let Some(place) = piece.get_mut(within..within + length)
            {
                place.copy_from_slice(part);
            }
        }
        pieces.length = pieces.length.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.pieces).length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        // What is cut off may come back as zeros only: pieces are small, so they are kept so.
        let mut pieces = lock(&self.pieces);
        let cut = length.div_ceil(PIECE);
        let gone: Vec<u64> = pieces.pieces.range(cut..).map(|it| *it.0).collect();
        for number in gone {
            pieces.pieces.remove(&number);
        }
        pieces.length = length;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
