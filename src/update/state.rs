//! What boots next: a small block in two copies on the card, each with a checksum, which U-Boot
//! reads and writes too (`env import -c`, `env export -c`). Pure.
//!
//! ```text
//! block = CRC-32 of the rest (4, LE) | NAME=VALUE 0 … | 0 | zeros up to 1,024 bytes
//! ```
//!
//! Numbers are hexadecimal: U-Boot's `setexpr` and `itest` know no others. The valid copy with
//! the greater serial counts, the other one is written next: a write that a power cut spoils
//! spoils no copy that counts.

use std::fmt;

/// Length of a copy, bytes.
pub const BLOCK: usize = 1024;
/// How often a slot that is not known to be good is tried.
pub const TRIES: u8 = 3;

/// A root file system's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    A,
    B,
}

impl Slot {
    pub const ALL: [Slot; 2] = [Slot::A, Slot::B];

    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// As the boot state and the kernel's command line name it.
    pub fn parse(name: &str) -> Option<Slot> {
        Slot::ALL.into_iter().find(|it| it.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It has served.
    pub good: bool,
    /// How often it is still tried otherwise, 0 to [`TRIES`].
    pub tries: u8,
}

impl Standing {
    pub const GOOD: Standing = Standing {
        good: true,
        tries: 0,
    };
    pub const ON_TRIAL: Standing = Standing {
        good: false,
        tries: TRIES,
    };
    /// Nothing that could be booted.
    pub const EMPTY: Standing = Standing {
        good: false,
        tries: 0,
    };

    fn boots(self) -> bool {
        self.good || self.tries > 0
    }
}

/// The boot state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Greater with each write.
    pub serial: u32,
    /// Tried before the other.
    pub first: Slot,
    pub a: Standing,
    pub b: Standing,
}

impl State {
    /// Of a card on which there is none yet.
    pub const NEW: State = State {
        serial: 0,
        first: Slot::A,
        a: Standing::GOOD,
        b: Standing::EMPTY,
    };

    pub fn of(&self, slot: Slot) -> Standing {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }

    pub fn with(mut self, slot: Slot, standing: Standing) -> State {
        match slot {
            Slot::A => self.a = standing,
            Slot::B => self.b = standing,
        }
        self
    }

    /// What the boot loader boots: the first in order that is good or has tries left, else the
    /// first good one, else the first.
    pub fn next_boot(&self) -> Slot {
        let (first, second) = (self.first, self.first.other());
        match self.of(first).boots() || !self.of(second).boots() {
            true => first,
            false => second,
        }
    }

    /// A copy's bytes.
    pub fn encode(&self) -> [u8; BLOCK] {
        let text = format!(
            "pb_good_a={}\0pb_good_b={}\0pb_order={} {}\0pb_serial={:x}\0pb_tries_a={:x}\0\
             pb_tries_b={:x}\0\0",
            u8::from(self.a.good),
            u8::from(self.b.good),
            self.first,
            self.first.other(),
            self.serial,
            self.a.tries,
            self.b.tries
        );
        let mut block = [0; BLOCK];
        let (crc, rest) = block.split_at_mut(4);
        for (place, byte) in rest.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        crc.copy_from_slice(&crc32fast::hash(rest).to_le_bytes());
        block
    }

    /// `None` if the copy is no whole one.
    pub fn decode(block: &[u8]) -> Option<State> {
        let (crc, rest) = block.get(..BLOCK)?.split_first_chunk()?;
        if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
            return None;
        }
        let words = rest.split(|byte| *byte == 0);
        let words: Vec<&[u8]> = words.take_while(|it| !it.is_empty()).collect();
        let value = |name: &str| {
            let mut words = words.iter().filter_map(|it| std::str::from_utf8(it).ok());
            words.find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
        };
        let number = |name: &str| u32::from_str_radix(value(name)?, 16).ok();
        let standing = |good: &str, tries: &str| {
            Some(Standing {
                good: number(good)? != 0,
                tries: u8::try_from(number(tries)?).ok()?.min(TRIES),
            })
        };
        Some(State {
            serial: number("pb_serial")?,
            first: Slot::parse(value("pb_order")?.split(' ').next()?)?,
            a: standing("pb_good_a", "pb_tries_a")?,
            b: standing("pb_good_b", "pb_tries_b")?,
        })
    }
}

/// What the two copies say, and which of them is written next.
pub fn choose(copies: [Option<State>; 2]) -> (State, usize) {
    match copies {
        [Some(one), Some(two)] if two.serial > one.serial => (two, 0),
        [Some(one), _] => (one, 1),
        [None, Some(two)] => (two, 0),
        [None, None] => (State::NEW, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(serial: u32) -> State {
        State {
            serial,
            first: Slot::B,
            a: Standing::GOOD,
            b: Standing::ON_TRIAL,
        }
    }

    #[test]
    fn a_copy_comes_back_and_a_spoiled_one_does_not() {
        let block = state(0xfe).encode();
        assert_eq!(State::decode(&block), Some(state(0xfe)));
        let text = String::from_utf8_lossy(&block[4..]).into_owned();
        assert!(text.starts_with("pb_good_a=1\0pb_good_b=0\0pb_order=b a\0pb_serial=fe\0"));
        for at in 0..BLOCK {
            let mut spoiled = block;
            spoiled[at] ^= 1;
            assert_eq!(State::decode(&spoiled), None, "byte {at}");
        }
        assert_eq!(State::decode(&block[..BLOCK - 1]), None);
        assert_eq!(State::decode(&[0; BLOCK]), None);
    }

    #[test]
    fn what_the_boot_loader_wrote_is_read() {
        // As `env export -c -s 0x400` of U-Boot has it: sorted, with what else it was told to.
        let mut block = [0; BLOCK];
        let text = b"bootcount=7\0pb_good_a=1\0pb_good_b=0\0pb_order=b a\0pb_serial=10\0pb_tries_a=0\0pb_tries_b=2\0\0";
        block[4..4 + text.len()].copy_from_slice(text);
        let crc = crc32fast::hash(&block[4..]);
        block[..4].copy_from_slice(&crc.to_le_bytes());
        let found = State::decode(&block).unwrap();
        assert_eq!((found.serial, found.b.tries), (16, 2));
        assert_eq!(found.next_boot(), Slot::B);
    }

    #[test]
    fn the_copy_that_does_not_count_is_written_next() {
        let (old, new) = (Some(state(8)), Some(state(9)));
        assert_eq!(choose([old, new]), (state(9), 0));
        assert_eq!(choose([new, old]), (state(9), 1));
        assert_eq!(choose([None, old]), (state(8), 0));
        assert_eq!(choose([old, None]), (state(8), 1));
        assert_eq!(choose([old, old]), (state(8), 1));
        assert_eq!(choose([None, None]), (State::NEW, 0));
    }

    #[test]
    fn the_first_that_is_good_or_has_tries_left_boots() {
        let boot = |first, a, b| {
            let serial = 1;
            State {
                serial,
                first,
                a,
                b,
            }
            .next_boot()
        };
        let (good, trial, empty) = (Standing::GOOD, Standing::ON_TRIAL, Standing::EMPTY);
        assert_eq!(boot(Slot::B, good, trial), Slot::B);
        assert_eq!(boot(Slot::B, good, empty), Slot::A);
        assert_eq!(boot(Slot::A, good, good), Slot::A);
        assert_eq!(boot(Slot::A, empty, good), Slot::B);
        assert_eq!(boot(Slot::A, empty, trial), Slot::B);
        assert_eq!(boot(Slot::B, empty, empty), Slot::B);
    }
}
