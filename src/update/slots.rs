//! The two slots on a card. The one that runs is never touched. What a step leaves is durable
//! before the next begins, so that the power may fail at any moment: the idle slot counts as
//! empty from before its first byte is changed until its last one was read back.

use super::device::{Device, Region, partition};
use super::package::{Head, MAX_HEAD};
use super::state::{BLOCK, Slot, Standing, State, choose};
use ring::digest::{Context, SHA256};
use std::io::{self, Read};

/// Where the copies of the boot state are, bytes from the card's start.
const COPIES: [u64; 2] = [3 << 20, (3 << 20) + (64 << 10)];
/// At a slot's end, the head of what is in it, so that it is known without a file system.
pub const LABEL: u64 = 4096;
/// Bytes written or read at once.
const PIECE: usize = 256 << 10;

/// A sentence for the owner.
pub type Result<T> = std::result::Result<T, String>;

pub struct Slots<'d> {
    device: &'d dyn Device,
    a: Region,
    b: Region,
}

impl<'d> Slots<'d> {
    /// By the card's partition table: slot a is partition 2, slot b partition 3.
    pub fn find(device: &'d dyn Device) -> Result<Slots<'d>> {
        let mut sector = [0; 512];
        device.read(0, &mut sector).map_err(reading)?;
        let length = device.length().map_err(reading)?;
        let find = |number| {
            partition(&sector, number, length)
                .filter(|it| it.length > LABEL && it.start >= COPIES[1] + BLOCK as u64)
        };
        match (find(2), find(3)) {
            (Some(a), Some(b)) => Ok(Slots { device, a, b }),
            _ => Err("the card has no two slots: partitions 2 and 3 are not an appliance's".into()),
        }
    }

    fn region(&self, slot: Slot) -> Region {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }

    /// Bytes that an image may have.
    pub fn room(&self, slot: Slot) -> u64 {
        self.region(slot).length - LABEL
    }

    pub fn state(&self) -> Result<State> {
        Ok(self.copies()?.0)
    }

    fn copies(&self) -> Result<(State, usize)> {
        let mut copies = [None; 2];
        for (copy, at) in copies.iter_mut().zip(COPIES) {
            let mut block = [0; BLOCK];
            self.device.read(at, &mut block).map_err(reading)?;
            *copy = State::decode(&block);
        }
        Ok(choose(copies))
    }

    /// Writes what `change` makes of the boot state, if it changes anything.
    fn change(&self, change: impl Fn(State) -> State) -> Result<bool> {
        let (old, place) = self.copies()?;
        let new = change(old);
        if new == old {
            return Ok(false);
        }
        let serial = old
            .serial
            .checked_add(1)
            .ok_or("the boot state is worn out")?;
        let new = State { serial, ..new };
        let at = COPIES.get(place).copied().unwrap_or(COPIES[0]);
        self.device.write(at, &new.encode()).map_err(writing)?;
        self.device.sync().map_err(writing)?;
        Ok(true)
    }

    /// What is in a slot; `None` if that is not known.
    pub fn label(&self, slot: Slot) -> Result<Option<Head>> {
        let mut bytes = [0; MAX_HEAD];
        let at = self.label_at(slot);
        self.device.read(at, &mut bytes).map_err(reading)?;
        Ok(Head::read(&bytes).map(|it| it.0))
    }

    fn label_at(&self, slot: Slot) -> u64 {
        let region = self.region(slot);
        region.start + region.length - LABEL
    }

    fn put_label(&self, slot: Slot, text: &str) -> Result<()> {
        let mut bytes = [0; LABEL as usize];
        for (place, byte) in bytes.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        let at = self.label_at(slot);
        self.device.write(at, &bytes).map_err(writing)?;
        self.device.sync().map_err(writing)
    }

    /// Whether an update could be taken: there has to be something to go back to.
    pub fn may_install(&self, running: Slot) -> Result<()> {
        match self.state()?.of(running).good {
            true => Ok(()),
            false => Err(
                "the version that runs is on trial itself: wait until it is confirmed \
                 (pillarbox update --status)"
                    .into(),
            ),
        }
    }

    /// Puts an image into the slot that does not run, and has it tried at the next start.
    pub fn install(&self, running: Slot, head: &Head, image: &mut dyn Read) -> Result<()> {
        self.may_install(running)?;
        let idle = running.other();
        if head.length > self.room(idle) {
            return Err(format!(
                "the update has {} bytes, slot {idle} has room for {}",
                head.length,
                self.room(idle)
            ));
        }
        self.change(|state| State {
            first: running,
            ..state.with(idle, Standing::EMPTY)
        })?;
        self.put_label(idle, "")?;
        self.write_image(idle, head, image)?;
        self.device.sync().map_err(writing)?;
        self.read_back(idle, head)?;
        self.put_label(idle, &head.write())?;
        self.change(|state| State {
            first: idle,
            ..state.with(idle, Standing::ON_TRIAL)
        })?;
        Ok(())
    }

    fn write_image(&self, slot: Slot, head: &Head, image: &mut dyn Read) -> Result<()> {
        let begin = self.region(slot).start;
        let mut piece = vec![0; PIECE];
        let (mut done, mut hash) = (0, Context::new(&SHA256));
        loop {
            let count = fill(image, &mut piece)
                .map_err(|error| format!("the update can't be unpacked: {error}"))?;
            let bytes = piece.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            if count as u64 > head.length.saturating_sub(done) {
                return Err("the update is longer than it says".into());
            }
            hash.update(bytes);
            self.device.write(begin + done, bytes).map_err(writing)?;
            done += count as u64;
        }
        match done == head.length && hash.finish().as_ref() == head.sha256 {
            true => Ok(()),
            false => Err("the update does not hold what it says".into()),
        }
    }

    fn read_back(&self, slot: Slot, head: &Head) -> Result<()> {
        let begin = self.region(slot).start;
        let mut piece = vec![0; PIECE];
        let (mut done, mut hash) = (0, Context::new(&SHA256));
        while done < head.length {
            let count = (head.length - done).min(PIECE as u64);
            let bytes = piece.get_mut(..count as usize).unwrap_or_default();
            self.device.read(begin + done, bytes).map_err(reading)?;
            hash.update(bytes);
            done += count;
        }
        match hash.finish().as_ref() == head.sha256 {
            true => Ok(()),
            false => Err(format!(
                "slot {slot} does not give back what was written to it: the card is worn out"
            )),
        }
    }

    /// The running slot is good from now on; whether it was not known to be.
    pub fn confirm(&self, running: Slot) -> Result<bool> {
        match self.state()?.of(running).good {
            true => Ok(false),
            false => self.change(|state| state.with(running, Standing::GOOD)),
        }
    }

    /// The other slot boots from now on, which has to be good. A running one that is on trial
    /// is not tried again.
    pub fn go_back(&self, running: Slot) -> Result<Slot> {
        let other = running.other();
        if !self.state()?.of(other).good {
            return Err(format!(
                "slot {other} holds no version that is known to be good"
            ));
        }
        self.change(|state| {
            let mut own = state.of(running);
            own.tries = 0;
            State {
                first: other,
                ..state.with(running, own)
            }
        })?;
        Ok(other)
    }
}

/// Reads until `piece` is full or there is no more.
fn fill(from: &mut dyn Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = piece.get_mut(done..).filter(|it| !it.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn reading(error: io::Error) -> String {
    format!("the card can't be read: {error}")
}

fn writing(error: io::Error) -> String {
    format!("the card can't be written: {error}")
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
