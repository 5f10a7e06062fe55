//! Makes inputs from seeds.

/// Longest mutant, bytes.
const MAX_INPUT: usize = 128 * 1024;

/// What parsers stumble over, whatever they parse.
const TOKENS: [&[u8]; 40] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"  ",
    b"\t",
    b"\"",
    b"\\",
    b"\\\"",
    b"(",
    b")",
    b"()",
    b"((((",
    b"))))",
    b"[",
    b"]",
    b"{",
    b"}",
    b"{3}\r\n",
    b"{3+}\r\n",
    b"~{1}\r\n",
    b"<",
    b">",
    b"<0.1>",
    b",",
    b":",
    b";",
    b"=",
    b"*",
    b"%",
    b"&",
    b"-",
    b"0",
    b"4294967295",
    b"4294967296",
    b"18446744073709551616",
    b"\xff",
    b"\xc3\xa9",
    b"\xf0\x9f\x98\x80",
];

/// xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        // Neighbouring seeds are to give unlike runs; zero would give zeros for ever.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 up to and without `end`; 0 if there is nothing.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end.max(1)
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from.get(self.below(from.len()))
            .copied()
            .unwrap_or_default()
    }
}

pub struct Mutator<'a> {
    random: Random,
    seeds: &'a [&'a [u8]],
}

impl<'a> Mutator<'a> {
    pub fn new(seed: u64, seeds: &'a [&'a [u8]]) -> Mutator<'a> {
        Mutator {
            random: Random::new(seed),
            seeds,
        }
    }

    /// A seed after one to eight changes.
    pub fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.random.pick(self.seeds).to_vec();
        // Few changes leave most of a seed's meaning.
        let changes = 1 << self.random.below(4);
        for _ in 0..changes {
            self.change(&mut bytes);
            bytes.truncate(MAX_INPUT);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.random.below(bytes.len() + 1);
        let end = at + self.random.below(bytes.len() + 1 - at);
        match self.random.below(16) {
            0 | 1 => self.flip(bytes, at),
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = self.random.next() as u8;
                }
            }
            3 | 4 => {
                // Mostly a little is taken out.
                let end = end.min(at + 1 + self.random.below(8));
                bytes.drain(at..end.min(bytes.len()));
            }
            5 => {
                bytes.drain(at..end);
            }
            6 => bytes.truncate(at),
            7 => self.repeat(bytes, at, end),
            8 => {
                let run = bytes[at..end].to_vec();
                let to = self.random.below(bytes.len() + 1);
                insert(bytes, to, &run);
            }
            9 | 10 => self.splice(bytes, at),
            11 => {
                for byte in &mut bytes[at..end] {
                    *byte ^= 0x20 * u8::from(byte.is_ascii_alphabetic());
                }
            }
            _ => {
                let token = self.random.pick(&TOKENS);
                insert(bytes, at, token);
            }
        }
    }

    fn flip(&mut self, bytes: &mut [u8], at: usize) {
        let bit = self.random.below(8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    /// Twice mostly, sometimes many times over: depth and number are where limits are.
    fn repeat(&mut self, bytes: &mut Vec<u8>, at: usize, end: usize) {
        let end = end.min(at + 1 + self.random.below(16)).min(bytes.len());
        let times = match self.random.below(32) {
            0 => 10_000,
            1..4 => 300,
            _ => 1 + self.random.below(4),
        };
        let run = bytes[at..end].repeat(times);
        insert(bytes, end, &run);
    }

    /// A run of another seed, put in.
    fn splice(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let other = self.random.pick(self.seeds);
        let from = self.random.below(other.len() + 1);
        let to = from + self.random.below(other.len() + 1 - from);
        insert(bytes, at, &other[from..to]);
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, run: &[u8]) {
    bytes.splice(at..at, run.iter().copied());
}
