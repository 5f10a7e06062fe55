//! A disk in memory for tests: it knows what is durable and what isn't, can lose its power
//! at any sync, and can be full.

use super::disk::{Disk, File};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Granularity of torn writes and of the space taken, bytes.
const BLOCK: usize = 512;

/// A disk in memory; clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Names as every process sees them.
    names: BTreeMap<String, usize>,
    /// Names as they would be after a power cut.
    durable_names: BTreeMap<String, usize>,
    files: Vec<Content>,
    syncs: u64,
    reads: u64,
    writes: u64,
    cut_at: Option<u64>,
    failing: std::ops::Range<u64>,
    /// A sync that fails forgets what it should have written.
    forgetting: bool,
    failing_reads: std::ops::Range<u64>,
    off: bool,
    /// Bytes that all files together may take.
    capacity: Option<u64>,
    locked: bool,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// Blocks that were ever written: the others are holes and take no room.
    written: Vec<bool>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// A small generator (xorshift64*): tests must repeat from their seed.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit` (0 if that is 0).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16)
            .checked_rem(limit)
            .unwrap_or(0)
    }
}

impl SimDisk {
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is read or written until what this gives is dropped: who wants to, waits.
    pub fn stop(&self) -> impl Sized {
        self.state()
    }

    /// Syncs so far, of files and directories.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The power fails in place of the sync of this number (from 0): it and all after it fail.
    pub fn cut_at(&self, sync: u64) {
        self.state().cut_at = Some(sync);
    }

    /// The syncs of these numbers (from 0) fail, and make nothing durable.
    pub fn fail_syncs(&self, numbers: std::ops::Range<u64>) {
        self.state().failing = numbers;
    }

    /// As `fail_syncs`, and what they should have made durable is read as if it were, and is
    /// not: so does a kernel that marks pages as clean though it could not write them.
    pub fn forget_syncs(&self, numbers: std::ops::Range<u64>) {
        let mut state = self.state();
        state.failing = numbers;
        state.forgetting = true;
    }

    /// The reads of these numbers (from 0) fail.
    pub fn fail_reads(&self, numbers: std::ops::Range<u64>) {
        self.state().failing_reads = numbers;
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Bytes that the files may take together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Bytes that the files take now.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// The length of a file, by name.
    pub fn length(&self, name: &str) -> Option<usize> {
        let state = self.state();
        let file = state.names.get(name)?;
        Some(state.files[*file].bytes.len())
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// Changes a byte of a file, as a failing disk would.
    pub fn damage(&self, name: &str, at: usize) {
        let mut state = self.state();
        if let Some(&file) = state.names.get(name)
            && let Some(byte) = state.files[file].bytes.get_mut(at)
        {
            *byte ^= 0x55;
        }
    }

    /// What a machine finds after the power came back: everything synced, and of the rest
    /// whatever the seed says, in any order, torn at block borders.
    pub fn after_power_cut(&self, seed: u64) -> SimDisk {
        let state = self.state();
        let mut random = Seeded::new(seed);
        let mut names = state.durable_names.clone();
        for (name, file) in &state.names {
            if random.below(2) == 0 {
                names.insert(name.clone(), *file);
            }
        }
        names.retain(|name, _| state.names.contains_key(name) || random.below(2) == 0);
        let files = state
            .files
            .iter()
            .map(|file| file.survivor(&mut random))
            .collect();
        SimDisk(Arc::new(Mutex::new(State {
            durable_names: names.clone(),
            names,
            files,
            capacity: state.capacity,
            ..State::default()
        })))
    }

    /// What a new process finds after this one was killed: everything written.
    pub fn after_kill(&self) -> SimDisk {
        let state = self.state();
        SimDisk(Arc::new(Mutex::new(State {
            durable_names: state.durable_names.clone(),
            names: state.names.clone(),
            files: state.files.clone(),
            capacity: state.capacity,
            ..State::default()
        })))
    }
}

impl State {
    fn used(&self) -> u64 {
        let live = self.names.values().map(|&file| &self.files[file]);
        live.map(Content::used).sum()
    }

    fn check_power(&self) -> io::Result<()> {
        match self.off {
            true => Err(io::Error::other("the power is off")),
            false => Ok(()),
        }
    }

    fn count_sync(&mut self) -> io::Result<()> {
        self.check_power()?;
        if self.cut_at == Some(self.syncs) {
            self.off = true;
        }
        let fails = self.failing.contains(&self.syncs);
        self.syncs += 1;
        match fails {
            true => Err(io::Error::other("the disk failed")),
            false => self.check_power(),
        }
    }
}

impl Content {
    fn used(&self) -> u64 {
        (self.written.iter().filter(|it| **it).count() * BLOCK) as u64
    }

    /// Bytes that a write would newly take.
    fn new_bytes(&self, offset: usize, length: usize) -> u64 {
        let blocks = offset / BLOCK..(offset + length).div_ceil(BLOCK);
        let new = blocks.filter(|&block| !self.written.get(block).is_some_and(|it| *it));
        (new.count() * BLOCK) as u64
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        overwrite(&mut self.bytes, offset, bytes);
        let end = (offset + bytes.len()).div_ceil(BLOCK);
        if self.written.len() < end {
            self.written.resize(end, false);
        }
        self.written[offset / BLOCK..end].fill(true);
        self.pending.push(Pending::Write(offset, bytes.to_vec()));
    }

    fn survivor(&self, random: &mut Seeded) -> Content {
        let mut bytes = self.durable.clone();
        // All, none, or a part: the ends are as likely as the middle.
        let odds = random.below(4);
        for change in &self.pending {
            match change {
                Pending::Length(length) => {
                    if random.below(3) < odds {
                        bytes.resize(*length, 0);
                    }
                }
                Pending::Write(offset, written) => {
                    for (n, block) in written.chunks(BLOCK).enumerate() {
                        if random.below(3) < odds {
                            overwrite(&mut bytes, offset + n * BLOCK, block);
                        }
                    }
                }
            }
        }
        Content {
            written: vec![true; bytes.len().div_ceil(BLOCK)],
            durable: bytes.clone(),
            bytes,
            pending: Vec::new(),
        }
    }
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

impl Disk for SimDisk {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.check_power()?;
        let file = match state.names.get(name) {
            Some(file) => *file,
            None if create => {
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.names.insert(name.into(), file);
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            file,
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        match state.names.remove(name) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        state.check_power()?;
        let inside = |name: &String| Some(name.strip_prefix(directory)?.strip_prefix('/')?.into());
        Ok(state.names.keys().filter_map(inside).collect())
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        let mut state = self.state();
        state.count_sync()?;
        let inside = |name: &String| {
            let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
            parent == directory
        };
        state.durable_names.retain(|name, _| !inside(name));
        let new: Vec<(String, usize)> = state
            .names
            .iter()
            .filter(|(name, _)| inside(name))
            .map(|(name, file)| (name.clone(), *file))
            .collect();
        state.durable_names.extend(new);
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let state = self.state();
        state.check_power()?;
        let capacity = state.capacity.unwrap_or(u64::MAX);
        Ok(capacity.saturating_sub(state.used()))
    }

    fn lock(&self) -> io::Result<bool> {
        let mut state = self.state();
        Ok(!std::mem::replace(&mut state.locked, true))
    }

    fn unlock(&self) {
        self.state().locked = false;
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl File for SimFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_power()?;
        state.reads += 1;
        if state.failing_reads.contains(&(state.reads - 1)) {
            return Err(io::Error::other("the disk failed"));
        }
        let start = offset as usize;
        match state.files[self.file].bytes.get(start..start + out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_power()?;
        state.writes += 1;
        let room = state.capacity.map(|it| it.saturating_sub(state.used()));
        let file = &mut state.files[self.file];
        let offset = offset as usize;
        let mut length = bytes.len();
        // What fits is written, as by a file system.
        while room.is_some_and(|room| {
            let new = file.new_bytes(offset, length);
            new > 0 && new > room
        }) {
            length = length.saturating_sub(BLOCK);
        }
        if length > 0 {
            file.write(offset, &bytes[..length]);
        }
        match length == bytes.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check_power()?;
        Ok(state.files[self.file].bytes.len() as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_power()?;
        let file = &mut state.files[self.file];
        file.bytes.resize(length as usize, 0);
        file.written.truncate((length as usize).div_ceil(BLOCK));
        file.pending.push(Pending::Length(length as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let counted = state.count_sync();
        let forgets = state.forgetting && !state.off;
        let file = &mut state.files[self.file];
        if counted.is_err() && forgets {
            let lengths = |it: &Pending| matches!(it, Pending::Length(_));
            file.pending.retain(lengths);
        }
        counted?;
        for change in std::mem::take(&mut file.pending) {
            match change {
                Pending::Write(offset, bytes) => overwrite(&mut file.durable, offset, &bytes),
                Pending::Length(length) => file.durable.resize(length, 0),
            }
        }
        Ok(())
    }
}
