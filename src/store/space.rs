//! Room on the disk: a reserve that new mail may not use, and a ballast file that is
//! dropped so that even a full disk takes the deletes that make room.

use super::Options;
use super::disk::Disk;
use super::error::{Error, Result};
use std::sync::Arc;

const BALLAST: &str = "ballast";
const PIECE: usize = 64 * 1024;

pub(super) struct Space {
    disk: Arc<dyn Disk>,
    reserve: u64,
    ballast: u64,
}

impl Space {
    pub fn new(disk: Arc<dyn Disk>, options: &Options) -> Space {
        Space {
            disk,
            reserve: options.reserve,
            ballast: options.ballast,
        }
    }

    /// [`Error::Full`] if `more` bytes would reach into the reserve.
    pub fn check(&self, more: u64) -> Result<()> {
        if self.disk.free()? < self.reserve.saturating_add(more) {
            return Err(Error::Full);
        }
        Ok(())
    }

    /// Whether work in the background may write `bytes`: compaction has to go on in the reserve,
    /// but never to its end, where deletes need it.
    pub fn has_slack(&self, bytes: u64) -> bool {
        let free = self.disk.free().unwrap_or(0);
        free >= (self.reserve / 2).saturating_add(bytes)
    }

    /// Gives the ballast's room back to the disk; false if there is none.
    pub fn drop_ballast(&self) -> bool {
        let dropped = self.disk.remove(BALLAST).is_ok();
        if dropped {
            log::warn!(
                "the disk is full: dropped the ballast of {} bytes",
                self.ballast
            );
        }
        dropped
    }

    /// Makes the ballast again where there is room for it above the reserve.
    pub fn restore_ballast(&self) {
        if let Err(error) = self.try_restore() {
            log::debug!("no ballast: {error}");
            self.disk.remove(BALLAST).ok();
        }
    }

    fn try_restore(&self) -> Result<()> {
        let length = match self.disk.open(BALLAST, false) {
            Ok(file) => file.length()?,
            Err(_) => 0,
        };
        if length == self.ballast {
            return Ok(());
        }
        self.check(self.ballast)?;
        let file = self.disk.open(BALLAST, true)?;
        file.set_len(0)?;
        // Written, not just lengthened: a hole would take no room. Not zeros: some disks
        // store those as a hole too.
        let piece: Vec<u8> = (0..PIECE).map(|n| ((n * 31) >> 3) as u8 | 1).collect();
        let mut at = 0;
        while at < self.ballast {
            let length = (self.ballast - at).min(PIECE as u64);
            file.write_at(at, &piece[..length as usize])?;
            at += length;
        }
        Ok(())
    }
}
