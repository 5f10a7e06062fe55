//! The segment files: `mail/NNNNNNNN.seg`.
//!
//! One segment is active: the writer thread appends to it where the log ends, so whatever a
//! crash left beyond is overwritten. It holds batches, one after another (see [`super::redo`]):
//! the frames of messages and the redo of rows. A large upload gets a segment of its own, with
//! its frames and nothing else. A file is never changed below its recorded length.

use super::disk::{Disk, File};
use super::error::Result;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Length from which on the next message begins a new segment, bytes; on a small disk less,
/// because compaction needs room for what is alive in one.
const MAX_ROLL: u64 = 64 << 20;
const MIN_ROLL: u64 = 1 << 20;
/// Part of the free space that one segment may take.
const ROLL_SHARE: u64 = 32;
/// Segment files kept open for readers.
const MAX_OPEN: usize = 32;
/// Where the segments are.
pub(super) const DIRECTORY: &str = "mail";

/// A moment that snapshots hold on to: files that died after it wait for them.
pub(super) type Epoch = Arc<()>;

pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    /// Length from which on the next message begins a new segment.
    pub roll: u64,
    /// Open files, the last used last.
    open: Mutex<Vec<(u32, Arc<dyn File>)>>,
    /// The next number to give out.
    next: AtomicU32,
    /// Files with numbers below this stay, whatever dies: part of the log in them can't be read.
    kept: AtomicU32,
    graves: Mutex<Graves>,
}

/// Segments that no row names any more. Older snapshots may still name them, so each waits
/// until the epoch that it died in is held by nobody else.
#[derive(Default)]
struct Graves {
    current: Epoch,
    waiting: VecDeque<(Epoch, Vec<u32>)>,
}

pub(super) fn path(segment: u32) -> String {
    format!("{DIRECTORY}/{segment:08}.seg")
}

/// The number of a file in the segments' directory, if it is one of ours.
pub(super) fn number(file_name: &str) -> Option<u32> {
    file_name.strip_suffix(".seg")?.parse().ok()
}

impl Segments {
    pub fn new(disk: Arc<dyn Disk>, next: u32) -> Segments {
        let free = disk.free().unwrap_or(0);
        Segments {
            disk,
            roll: (free / ROLL_SHARE).clamp(MIN_ROLL, MAX_ROLL),
            open: Mutex::default(),
            next: AtomicU32::new(next),
            kept: AtomicU32::new(0),
            graves: Mutex::default(),
        }
    }

    /// A number that no segment has had since the store was opened.
    pub fn reserve(&self) -> u32 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Gives out no number below `next`.
    pub fn skip_to(&self, next: u32) {
        self.next.fetch_max(next, Relaxed);
    }

    /// Makes the file; its name is durable after [`Segments::sync_directory`].
    pub fn create(&self, segment: u32) -> Result<Arc<dyn File>> {
        let file = self.disk.open(&path(segment), true)?;
        self.remember(segment, &file);
        Ok(file)
    }

    pub fn open(&self, segment: u32) -> Result<Arc<dyn File>> {
        Ok(self.try_open(segment)?)
    }

    /// Fills `out`; false if there is no such file, or it ends before. A disk that fails says
    /// nothing about what is there, so that is an error.
    pub fn read_if_there(&self, segment: u32, at: u64, out: &mut [u8]) -> Result<bool> {
        let read = self
            .try_open(segment)
            .and_then(|file| file.read_at(at, out));
        Ok(if_there(read)?.is_some())
    }

    /// None if there is no such file.
    pub fn open_if_there(&self, segment: u32) -> Result<Option<Arc<dyn File>>> {
        Ok(if_there(self.try_open(segment))?)
    }

    /// The length of the file, if there is one.
    pub fn length_if_there(&self, segment: u32) -> Result<Option<u64>> {
        Ok(if_there(
            self.try_open(segment).and_then(|file| file.length()),
        )?)
    }

    fn try_open(&self, segment: u32) -> io::Result<Arc<dyn File>> {
        let mut open = lock(&self.open);
        if let Some(at) = open.iter().position(|(number, _)| *number == segment) {
            // Not the strict order of use: moving within the last few would buy nothing.
            if at < open.len() / 2 {
                let entry = open.remove(at);
                open.push(entry);
                return Ok(open[open.len() - 1].1.clone());
            }
            return Ok(open[at].1.clone());
        }
        drop(open);
        let file = self.disk.open(&path(segment), false)?;
        self.remember(segment, &file);
        Ok(file)
    }

    fn remember(&self, segment: u32, file: &Arc<dyn File>) {
        let mut open = lock(&self.open);
        if open.len() >= MAX_OPEN {
            open.remove(0);
        }
        open.push((segment, file.clone()));
    }

    pub fn sync_directory(&self) -> Result<()> {
        Ok(self.disk.sync_directory(DIRECTORY)?)
    }

    /// From now on no file is removed that is there now.
    pub fn keep_files(&self) {
        self.kept.store(self.next.load(Relaxed), Relaxed);
    }

    /// Removes a file that no committed row names.
    pub fn remove(&self, segment: u32) {
        if segment < self.kept.load(Relaxed) {
            return;
        }
        lock(&self.open).retain(|(number, _)| *number != segment);
        if let Err(error) = self.disk.remove(&path(segment)) {
            log::debug!("segment {segment} stays until the next start: {error}");
        }
    }

    /// Taken by a snapshot before it begins to read.
    pub fn epoch(&self) -> Epoch {
        lock(&self.graves).current.clone()
    }

    /// Takes segments that the commit just made left without a row.
    pub fn bury(&self, segments: Vec<u32>) {
        if segments.is_empty() {
            return;
        }
        let mut graves = lock(&self.graves);
        let died = std::mem::take(&mut graves.current);
        graves.waiting.push_back((died, segments));
    }

    /// Removes the dead segments that no snapshot can name any more; true if some must wait.
    pub fn sweep(&self) -> bool {
        loop {
            let mut graves = lock(&self.graves);
            match graves.waiting.front() {
                None => return false,
                // In order of death: an epoch's end says that all before it have ended.
                Some((epoch, _)) if Arc::strong_count(epoch) > 1 => return true,
                Some(_) => {}
            }
            let dead = graves.waiting.pop_front();
            drop(graves);
            for segment in dead.into_iter().flat_map(|(_, segments)| segments) {
                self.remove(segment);
            }
        }
    }
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{NotFound, UnexpectedEof};
    match result {
        Err(error) if matches!(error.kind(), NotFound | UnexpectedEof) => Ok(None),
        other => other.map(Some),
    }
}

/// Nothing here is left half done by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
