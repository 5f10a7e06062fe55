//! A card whose power fails at every write and sync of an update: whatever of the writes since
//! the last sync is on it, and the last one in part, it boots what it should.

use super::*;
use ring::digest::digest;
use std::cell::{Cell, RefCell};

const SLOT: u64 = 600 << 10;
const CARD: u64 = (4 << 20) + 2 * SLOT;

/// A card in memory.
struct Sim {
    durable: RefCell<Vec<u8>>,
    /// Writes since the last sync.
    pending: RefCell<Vec<(u64, Vec<u8>)>>,
    /// Writes and syncs left until the power fails.
    left: Cell<u64>,
    /// A byte that the card can't keep.
    worn: Cell<Option<u64>>,
}

/// For noise; any numbers do.
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    *seed >> 33
}

impl Sim {
    fn of(bytes: Vec<u8>) -> Sim {
        Sim {
            durable: RefCell::new(bytes),
            pending: RefCell::default(),
            left: Cell::new(u64::MAX),
            worn: Cell::new(None),
        }
    }

    fn new() -> Sim {
        let mut bytes = vec![0; CARD as usize];
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        for (number, start) in [(2, 4 << 20), (3, (4 << 20) + SLOT)] {
            let entry = &mut bytes[446 + 16 * (number - 1)..][..16];
            entry[4] = 0x83;
            entry[8..12].copy_from_slice(&((start / 512) as u32).to_le_bytes());
            entry[12..].copy_from_slice(&((SLOT / 512) as u32).to_le_bytes());
        }
        Sim::of(bytes)
    }

    fn spend(&self) -> io::Result<()> {
        match self.left.get() {
            0 => Err(io::Error::other("the power is off")),
            left => {
                self.left.set(left - 1);
                Ok(())
            }
        }
    }

    fn put(bytes: &mut [u8], at: u64, what: &[u8]) {
        bytes[at as usize..][..what.len()].copy_from_slice(what);
    }

    /// What is found after the power failed: of what was not synced any part, in sectors.
    fn after_cut(&self, mut seed: u64) -> Sim {
        let mut bytes = self.durable.borrow().clone();
        for (at, what) in self.pending.borrow().iter() {
            for (n, sector) in what.chunks(512).enumerate() {
                if next(&mut seed).is_multiple_of(2) {
                    Sim::put(&mut bytes, at + 512 * n as u64, sector);
                }
            }
        }
        Sim::of(bytes)
    }
}

impl Device for Sim {
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.durable.borrow()[at as usize..][..out.len()]);
        let end = at + out.len() as u64;
        for (start, what) in self.pending.borrow().iter() {
            let from = at.max(*start);
            let to = end.min(start + what.len() as u64);
            if from < to {
                let found = &what[(from - start) as usize..(to - start) as usize];
                Sim::put(out, from - at, found);
            }
        }
        if let Some(worn) = self.worn.get()
            && (at..at + out.len() as u64).contains(&worn)
        {
            out[(worn - at) as usize] ^= 1;
        }
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        // The one at which the power fails may be there in part.
        self.pending.borrow_mut().push((at, bytes.to_vec()));
        self.spend()
    }

    fn sync(&self) -> io::Result<()> {
        self.spend()?;
        for (at, what) in self.pending.take() {
            Sim::put(&mut self.durable.borrow_mut(), at, &what);
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(CARD)
    }
}

fn image(seed: u64) -> Vec<u8> {
    let mut seed = seed;
    let words = (0..145_000).flat_map(|_| (next(&mut seed) as u32).to_le_bytes());
    words.collect()
}

fn head(version: &str, image: &[u8]) -> Head {
    Head {
        board: "test".into(),
        version: super::super::package::Version::parse(version).unwrap(),
        schema: 3,
        length: image.len() as u64,
        sha256: digest(&SHA256, image).as_ref().try_into().unwrap(),
    }
}

fn install(sim: &Sim, running: Slot, version: &str, image: &[u8]) -> Result<()> {
    let head = head(version, image);
    Slots::find(sim)?.install(running, &head, &mut &*image)
}

/// What the boot loader does: counts a try down, and names what it starts.
fn boot(sim: &Sim) -> Slot {
    let slots = Slots::find(sim).unwrap();
    let slot = slots.state().unwrap().next_boot();
    slots
        .change(|state| {
            let mut standing = state.of(slot);
            if !standing.good {
                standing.tries = standing.tries.saturating_sub(1);
            }
            state.with(slot, standing)
        })
        .unwrap();
    slot
}

/// The version in a slot, if the slot holds it entirely.
fn version_in(sim: &Sim, slot: Slot) -> Option<String> {
    let slots = Slots::find(sim).unwrap();
    let head = slots.label(slot).unwrap()?;
    slots.read_back(slot, &head).ok()?;
    Some(head.version.to_string())
}

/// A card whose slot a has 1 and whose slot b had 0, both good; a runs.
fn used() -> Sim {
    let sim = Sim::new();
    install(&sim, Slot::B, "1", &image(1)).unwrap_err();
    let slots = Slots::find(&sim).unwrap();
    slots
        .change(|state| state.with(Slot::B, Standing::GOOD))
        .unwrap();
    install(&sim, Slot::B, "1", &image(1)).unwrap();
    assert_eq!(boot(&sim), Slot::A);
    slots.confirm(Slot::A).unwrap();
    install(&sim, Slot::A, "0", &image(0)).unwrap();
    assert_eq!(boot(&sim), Slot::B);
    slots.confirm(Slot::B).unwrap();
    assert_eq!(slots.go_back(Slot::B), Ok(Slot::A));
    assert_eq!(boot(&sim), Slot::A);
    sim
}

#[test]
fn an_update_is_tried_three_times_and_kept_when_confirmed() {
    let sim = used();
    let slots = Slots::find(&sim).unwrap();
    install(&sim, Slot::A, "2", &image(2)).unwrap();
    assert_eq!(slots.state().unwrap().b, Standing::ON_TRIAL);
    for _ in 0..3 {
        assert_eq!(boot(&sim), Slot::B);
        // There would be nothing to go back to.
        assert!(
            install(&sim, Slot::B, "3", &image(3))
                .unwrap_err()
                .contains("on trial")
        );
    }
    for _ in 0..3 {
        assert_eq!(boot(&sim), Slot::A);
    }
    assert_eq!(version_in(&sim, Slot::A).as_deref(), Some("1"));
    // Once more, and this time it serves.
    install(&sim, Slot::A, "2", &image(2)).unwrap();
    assert_eq!(boot(&sim), Slot::B);
    assert_eq!(slots.confirm(Slot::B), Ok(true));
    assert_eq!(slots.confirm(Slot::B), Ok(false));
    for _ in 0..5 {
        assert_eq!(boot(&sim), Slot::B);
    }
    assert_eq!(version_in(&sim, Slot::B).as_deref(), Some("2"));
    // And back, and back again.
    assert_eq!(slots.go_back(Slot::B), Ok(Slot::A));
    assert_eq!(boot(&sim), Slot::A);
    assert_eq!(slots.go_back(Slot::A), Ok(Slot::B));
    assert_eq!(boot(&sim), Slot::B);
}

#[test]
fn from_a_trial_one_goes_back_and_it_is_not_tried_again() {
    let sim = used();
    install(&sim, Slot::A, "2", &image(2)).unwrap();
    assert_eq!(boot(&sim), Slot::B);
    let slots = Slots::find(&sim).unwrap();
    assert_eq!(slots.go_back(Slot::B), Ok(Slot::A));
    assert_eq!(slots.state().unwrap().b, Standing::EMPTY);
    assert!(slots.go_back(Slot::A).unwrap_err().contains("slot b"));
    assert_eq!(boot(&sim), Slot::A);
}

#[test]
fn wherever_the_power_fails_it_boots_and_a_new_version_is_whole() {
    let start = used();
    let (whole, new) = (start.after_cut(0), image(2));
    whole.left.set(1000);
    install(&whole, Slot::A, "2", &new).unwrap();
    let steps = 1000 - whole.left.get();
    assert!(steps > 10, "{steps}");
    let (mut old_boots, mut new_boots) = (0, 0);
    for cut in 0..steps {
        for seed in 0..6 {
            let sim = start.after_cut(0);
            sim.left.set(cut);
            install(&sim, Slot::A, "2", &new).unwrap_err();
            let sim = sim.after_cut(seed);
            assert_eq!(version_in(&sim, Slot::A).as_deref(), Some("1"), "cut {cut}");
            match boot(&sim) {
                Slot::A => old_boots += 1,
                Slot::B => {
                    new_boots += 1;
                    let found = version_in(&sim, Slot::B);
                    assert_eq!(found.as_deref(), Some("2"), "cut {cut}, seed {seed}");
                }
            }
            // Whatever it was, the same again ends well.
            let slots = Slots::find(&sim).unwrap();
            slots.go_back(Slot::B).unwrap();
            install(&sim, Slot::A, "2", &new).unwrap();
            assert_eq!(boot(&sim), Slot::B);
            assert_eq!(version_in(&sim, Slot::B).as_deref(), Some("2"));
        }
    }
    assert!(old_boots > 0 && new_boots > 0, "{old_boots} {new_boots}");
}

#[test]
fn confirmed_or_gone_back_from_in_a_power_cut_it_is_one_or_the_other() {
    let start = used();
    install(&start, Slot::A, "2", &image(2)).unwrap();
    assert_eq!(boot(&start), Slot::B);
    let before = Slots::find(&start).unwrap().state().unwrap();
    for back in [false, true] {
        for cut in 0..2 {
            for seed in 0..20 {
                let sim = start.after_cut(0);
                sim.left.set(cut);
                let slots = Slots::find(&sim).unwrap();
                match back {
                    true => slots.go_back(Slot::B).map(|_| ()).unwrap_err(),
                    false => slots.confirm(Slot::B).map(|_| ()).unwrap_err(),
                };
                let sim = sim.after_cut(seed);
                let after = Slots::find(&sim).unwrap().state().unwrap();
                let done = match back {
                    true => after.first == Slot::A && after.b == Standing::EMPTY,
                    false => after.first == Slot::B && after.b == Standing::GOOD,
                };
                assert!(done || after == before, "{after:?}");
            }
        }
    }
}

#[test]
fn what_is_not_as_it_says_is_never_tried() {
    let refused = |head: &Head, image: &[u8], why: &str| {
        let sim = used();
        let found = Slots::find(&sim)
            .unwrap()
            .install(Slot::A, head, &mut &*image);
        let found = found.unwrap_err();
        assert!(found.contains(why), "{found}");
        for _ in 0..4 {
            assert_eq!(boot(&sim), Slot::A);
        }
    };
    let new = image(2);
    let good = head("2", &new);
    refused(&good, &new[1..], "does not hold");
    refused(&good, &[&new[..], b"x"].concat(), "longer");
    refused(&good, &image(3), "does not hold");
    let large = Head {
        length: SLOT - LABEL + 1,
        ..good.clone()
    };
    refused(&large, &new, "room for");
    // A card that forgets.
    let sim = used();
    sim.worn.set(Some((4 << 20) + SLOT + 70_000));
    let found = install(&sim, Slot::A, "2", &new).unwrap_err();
    assert!(found.contains("worn out"), "{found}");
    assert_eq!(boot(&sim), Slot::A);
}

#[test]
fn a_card_without_slots_is_refused() {
    let sim = Sim::of(vec![0; CARD as usize]);
    assert!(Slots::find(&sim).err().unwrap().contains("no two slots"));
}
