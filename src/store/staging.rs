//! A message on its way in. Small ones wait in memory, compressed, for the writer thread to
//! append them with others; a large one goes to a segment of its own, synced by its own
//! uploader, so that 50 MB hold nobody up. Nothing of it is in the database until then.

use super::disk::File;
use super::error::{Error, Result};
use super::frame::{self, FRAME};
use super::segment::Segments;
use super::shared::Shared;
use crate::message::structure::{Scanner, Structure};
use crate::task;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Uploads at once; each takes up to [`FRAME`] plus a header's bytes of memory.
pub const MAX_UPLOADS: usize = 64;
/// Most compressed bytes that wait in memory for one message.
const MAX_IN_MEMORY: usize = 256 * 1024;
/// Most compressed bytes that wait in memory for all; beyond, messages go to files.
const MAX_STAGED: usize = 4 << 20;
/// Compressed bytes that a large upload gathers for one write.
const SPILL_WRITE: usize = 256 * 1024;

/// What bounds the uploads.
#[derive(Default)]
pub(super) struct Uploads {
    count: AtomicUsize,
    staged: AtomicUsize,
}

/// A message on its way in: compressed, checksummed and scanned as it comes; memory is
/// bounded whatever its size. Dropped without `finish`, it leaves nothing.
pub struct Staging {
    pub(super) shared: Arc<Shared>,
    _slot: Slot,
    scanner: Scanner,
    /// What doesn't fill a frame yet.
    raw: Vec<u8>,
    body: Body,
    frames: Vec<u32>,
    size: u64,
}

/// Frames not yet named by a row.
struct Body {
    /// In memory: all of them, or for a large message those not yet in its file.
    packed: Vec<u8>,
    hold: Hold,
    file: Option<Spill>,
}

/// A whole message, not yet in any mailbox.
pub struct Staged {
    pub structure: Structure,
    pub(super) data: Arc<StagedData>,
}

impl Staged {
    /// Bytes.
    pub fn size(&self) -> u32 {
        self.data.size
    }
}

/// What the writer needs of it.
pub(super) struct StagedData {
    pub size: u32,
    pub frames: Vec<u32>,
    pub structure: Vec<u8>,
    /// Empty if the bytes are in `file`.
    pub packed: Vec<u8>,
    pub file: Option<Spill>,
    _hold: Hold,
}

/// A segment of one message. Removed with this value unless a commit has taken it over.
pub(super) struct Spill {
    pub segment: u32,
    pub length: u64,
    pub file: Arc<dyn File>,
    shared: Arc<Shared>,
    kept: AtomicBool,
}

impl Spill {
    /// The commit that names it is durable.
    pub fn keep(&self) {
        self.kept.store(true, Relaxed);
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if !self.kept.load(Relaxed) {
            self.shared.segments.remove(self.segment);
        }
    }
}

/// One of the uploads at once.
struct Slot(Arc<Shared>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.uploads.count.fetch_sub(1, Relaxed);
    }
}

/// A share of the memory for staged bytes.
struct Hold {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Hold {
    /// Sets the share; false if all shares together are over the limit now.
    fn resize(&mut self, bytes: usize) -> bool {
        let staged = &self.shared.uploads.staged;
        let others = staged.fetch_sub(self.bytes, Relaxed) - self.bytes;
        staged.fetch_add(bytes, Relaxed);
        self.bytes = bytes;
        others + bytes <= MAX_STAGED
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.resize(0);
    }
}

impl Staging {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Staging> {
        let before = shared.uploads.count.fetch_add(1, Relaxed);
        let slot = Slot(shared.clone());
        if before >= MAX_UPLOADS {
            return Err(Error::Busy);
        }
        Ok(Staging {
            shared: shared.clone(),
            _slot: slot,
            scanner: Scanner::new(),
            raw: Vec::new(),
            body: Body {
                packed: Vec::new(),
                hold: Hold {
                    shared: shared.clone(),
                    bytes: 0,
                },
                file: None,
            },
            frames: Vec::new(),
            size: 0,
        })
    }

    /// [`Error::TooLarge`] past the limit, [`Error::Full`] when the disk is.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        if self.size > self.shared.max_message() {
            return Err(Error::TooLarge);
        }
        self.scanner.push(bytes);
        while !bytes.is_empty() {
            let room = FRAME - self.raw.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.raw.extend_from_slice(now);
            bytes = later;
            if self.raw.len() == FRAME {
                self.end_frame()?;
                self.body.relieve(&self.shared).await?;
            }
        }
        Ok(())
    }

    fn end_frame(&mut self) -> Result<()> {
        let length = frame::compress(&self.raw, &mut self.body.packed)?;
        self.frames.push(length);
        self.raw.clear();
        Ok(())
    }

    pub async fn finish(mut self) -> Result<Staged> {
        if !self.raw.is_empty() {
            self.end_frame()?;
            self.body.relieve(&self.shared).await?;
        }
        if self.body.file.is_some() {
            self.body.write_out(true).await?;
        }
        let structure = self.scanner.finish();
        let Body { packed, hold, file } = self.body;
        let data = Arc::new(StagedData {
            size: self.size as u32,
            frames: self.frames,
            structure: structure.encode(),
            packed,
            file,
            _hold: hold,
        });
        Ok(Staged { structure, data })
    }
}

impl Body {
    /// Moves bytes to a file where there are too many in memory.
    async fn relieve(&mut self, shared: &Arc<Shared>) -> Result<()> {
        if self.file.is_some() {
            if self.packed.len() >= SPILL_WRITE {
                self.write_out(false).await?;
            }
            return Ok(());
        }
        let fits = self.hold.resize(self.packed.len());
        if fits && self.packed.len() <= MAX_IN_MEMORY {
            return Ok(());
        }
        let segment = shared.segments.reserve();
        let own = shared.clone();
        let file = task::unblock(move || own.segments.create(segment)).await?;
        self.file = Some(Spill {
            segment,
            length: 0,
            file,
            shared: shared.clone(),
            kept: AtomicBool::new(false),
        });
        self.hold.resize(0);
        self.write_out(false).await
    }

    /// Writes what is in memory to the file; `last` makes the file durable.
    async fn write_out(&mut self, last: bool) -> Result<()> {
        let Some(spill) = &mut self.file else {
            return Ok(());
        };
        let packed = std::mem::take(&mut self.packed);
        spill.shared.space.check(packed.len() as u64)?;
        let (offset, file, shared) = (spill.length, spill.file.clone(), spill.shared.clone());
        spill.length += packed.len() as u64;
        let written = task::unblock(move || write(&*file, offset, packed, last, &shared.segments));
        let mut packed = written.await?;
        if !last {
            packed.clear();
            self.packed = packed;
        }
        Ok(())
    }
}

/// Gives the buffer back to be used again.
fn write(
    file: &dyn File,
    offset: u64,
    packed: Vec<u8>,
    last: bool,
    segments: &Segments,
) -> Result<Vec<u8>> {
    file.write_at(offset, &packed)?;
    if last {
        file.sync()?;
        segments.sync_directory()?;
    }
    Ok(packed)
}
