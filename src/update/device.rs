//! The card that the slots are on.

use rustix::fs::Advice;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A card, or in tests something whose power can fail.
pub trait Device {
    /// Fills `out` or fails.
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes`.
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written durable; what is read after it comes from the card.
    fn sync(&self) -> io::Result<()>;
    /// Bytes from the start to the end.
    fn length(&self) -> io::Result<u64>;
}

/// A part of the device, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub start: u64,
    pub length: u64,
}

/// Bytes of a sector as the partition table counts them.
const SECTOR: u64 = 512;

/// Of the partition table (MBR), the partition of that number, from 1 to 4; `None` if there is
/// none that lies on the device. Pure.
pub fn partition(sector: &[u8; 512], number: usize, device: u64) -> Option<Region> {
    if sector.get(510..)? != [0x55, 0xaa] {
        return None;
    }
    let begin = 446 + 16 * number.checked_sub(1).filter(|it| *it < 4)?;
    let entry = sector.get(begin..begin + 16)?;
    let sectors = |at: usize| {
        let bytes = entry.get(at..at + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    };
    let region = Region {
        start: sectors(8)? * SECTOR,
        length: sectors(12)? * SECTOR,
    };
    let kind = *entry.get(4)?;
    let end = region.start + region.length;
    (kind != 0 && region.start > 0 && region.length > 0 && end <= device).then_some(region)
}

/// How long the device's lock is tried for: udev holds it for moments.
const LOCK_WAIT: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A block device, or a file with what would be on one.
pub struct Card(File);

impl Card {
    /// For reading alone, or for writing too, and then by nobody else.
    pub fn open(path: &Path, writing: bool) -> Result<Card, String> {
        let opened = OpenOptions::new().read(true).write(writing).open(path);
        let fails = |error: io::Error| format!("{}: {error}", path.display());
        let file = opened.map_err(fails)?;
        if writing && !lock(&file).map_err(fails)? {
            return Err("another update is under way".into());
        }
        Ok(Card(file))
    }
}

/// Whether nobody else has it.
fn lock(file: &File) -> io::Result<bool> {
    let end = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() > end => return Ok(false),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

impl Device for Card {
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, at)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()?;
        // So that reading back reads the card and not the memory.
        Ok(rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }

    fn length(&self) -> io::Result<u64> {
        use std::io::{Seek, SeekFrom};
        (&self.0).seek(SeekFrom::End(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_lie_on_the_device_are_found() {
        let mut sector = [0; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector[446 + 16 + 4] = 0x83;
        sector[446 + 16 + 8..][..4].copy_from_slice(&8u32.to_le_bytes());
        sector[446 + 16 + 12..][..4].copy_from_slice(&4u32.to_le_bytes());
        let found = Region {
            start: 4096,
            length: 2048,
        };
        assert_eq!(partition(&sector, 2, 6144), Some(found));
        assert_eq!(partition(&sector, 2, 6143), None);
        for number in [0, 1, 3, 4, 5] {
            assert_eq!(partition(&sector, number, 1 << 40), None);
        }
        sector[446 + 16 + 8..][..8].fill(0xff);
        assert_eq!(partition(&sector, 2, 1 << 30), None);
        sector[511] = 0;
        assert_eq!(partition(&sector, 2, u64::MAX), None);
    }

    #[test]
    fn one_writes_at_a_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let card = Card::open(file.path(), true).unwrap();
        assert!(Card::open(file.path(), false).is_ok());
        let why = Card::open(file.path(), true).err().unwrap();
        assert!(why.contains("another update is under way"), "{why}");
        drop(card);
        assert!(Card::open(file.path(), true).is_ok());
    }
}
