//! The stored form of a [`Structure`].
//!
//! ```text
//! row  = format:1 flags:1 size sent? sent-day? envelope body-structure run* part
//! part = kind-and-encoding:1 gap header body charset count part*
//! ```
//!
//! Numbers are LEB128, byte strings are counted. `gap` is where a part's header starts,
//! counted from where its parent's body (or its elder's end) lies; ranges hold by nesting.

use super::structure::*;

/// The first byte of every row.
const FORMAT: u8 = 1;
const HAS_NUL: u8 = 1;
const HAS_SENT: u8 = 2;
const HAS_DAY: u8 = 4;
const ABRIDGED: u8 = 8;

impl Structure {
    /// The row that the store keeps.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.envelope.len() + self.body_structure.len() + 64);
        out.push(FORMAT);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(
            flag(self.has_nul, HAS_NUL)
                | flag(self.sent.is_some(), HAS_SENT)
                | flag(self.sent_day.is_some(), HAS_DAY)
                | flag(self.abridged, ABRIDGED),
        );
        put(u64::from(self.size), &mut out);
        if let Some(sent) = self.sent {
            put(zigzag(sent), &mut out);
        }
        if let Some(day) = self.sent_day {
            put(zigzag(i64::from(day)), &mut out);
        }
        put_bytes(&self.envelope, &mut out);
        put_bytes(&self.body_structure, &mut out);
        put(self.extensions.len() as u64, &mut out);
        let mut from = 0;
        for run in &self.extensions {
            put(u64::from(run.start - from), &mut out);
            put(u64::from(run.end - run.start), &mut out);
            from = run.end;
        }
        put_part(&self.root, 0, &mut out);
        out
    }

    /// `None` if the bytes are no row: nothing in it is trusted.
    pub fn decode(bytes: &[u8]) -> Option<Structure> {
        let mut reader = Reader(bytes);
        let head = reader.head()?;
        let count = usize::try_from(reader.number()?).ok()?;
        let mut extensions = Vec::with_capacity(count.min(4 * MAX_PARTS));
        let mut from = 0;
        for _ in 0..count {
            let run = reader.range(from, head.body_structure.len() as u32)?;
            from = run.end;
            extensions.push(run);
        }
        let root = reader.part(0..head.size, 1, &mut 0)?;
        Some(Structure {
            envelope: head.envelope.to_vec(),
            body_structure: head.body_structure.to_vec(),
            extensions,
            root,
            size: head.size,
            has_nul: head.has_nul,
            abridged: head.abridged,
            sent: head.sent,
            sent_day: head.sent_day,
        })
    }
}

/// A stored row read in place, for listings that want one field of 100,000 messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StructureRef<'a> {
    pub envelope: &'a [u8],
    pub body_structure: &'a [u8],
    pub size: u32,
    pub has_nul: bool,
    pub abridged: bool,
    pub sent: Option<i64>,
    pub sent_day: Option<i32>,
}

impl<'a> StructureRef<'a> {
    /// Reads the row's head alone: costs the same for any message.
    pub fn read(row: &'a [u8]) -> Option<StructureRef<'a>> {
        Reader(row).head()
    }
}

fn put(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Small numbers of either sign become small numbers.
fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

const KINDS: [Kind; 4] = [Kind::Text, Kind::Leaf, Kind::Multipart, Kind::Message];
const ENCODINGS: [Encoding; 4] = [
    Encoding::Identity,
    Encoding::QuotedPrintable,
    Encoding::Base64,
    Encoding::Unknown,
];

fn put_part(part: &Part, from: u32, out: &mut Vec<u8>) {
    let kind = KINDS.iter().position(|kind| *kind == part.kind);
    let encoding = ENCODINGS.iter().position(|it| *it == part.encoding);
    out.push((kind.unwrap_or(0) | encoding.unwrap_or(0) << 2) as u8);
    put(u64::from(part.header.start - from), out);
    put(u64::from(part.header.end - part.header.start), out);
    put(u64::from(part.body.end - part.body.start), out);
    put_bytes(part.charset.as_bytes(), out);
    put(part.children.len() as u64, out);
    let mut from = part.body.start;
    for child in &part.children {
        put_part(child, from, out);
        from = child.body.end;
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn head(&mut self) -> Option<StructureRef<'a>> {
        if self.byte()? != FORMAT {
            return None;
        }
        let flags = self.byte()?;
        let size = self.number32()?;
        let sent = match flags & HAS_SENT {
            0 => None,
            _ => Some(unzigzag(self.number()?)),
        };
        let sent_day = match flags & HAS_DAY {
            0 => None,
            _ => Some(i32::try_from(unzigzag(self.number()?)).ok()?),
        };
        Some(StructureRef {
            envelope: self.bytes()?,
            body_structure: self.bytes()?,
            size,
            has_nul: flags & HAS_NUL != 0,
            abridged: flags & ABRIDGED != 0,
            sent,
            sent_day,
        })
    }

    fn part(&mut self, within: ByteRange, depth: usize, parts: &mut usize) -> Option<Part> {
        *parts += 1;
        if depth > MAX_DEPTH || *parts > MAX_PARTS {
            return None;
        }
        let code = usize::from(self.byte()?);
        let header = self.range(within.start, within.end)?;
        let body = header.end..header.end.checked_add(self.number32()?)?;
        if body.end > within.end {
            return None;
        }
        let charset = String::from_utf8(self.bytes()?.to_vec()).ok()?;
        let mut children = Vec::new();
        let mut from = body.start;
        for _ in 0..self.number()? {
            let child = self.part(from..body.end, depth + 1, parts)?;
            from = child.body.end;
            children.push(child);
        }
        let kind = KINDS[code & 3];
        let fits = match kind {
            Kind::Text | Kind::Leaf => children.is_empty(),
            Kind::Message => children.len() == 1,
            Kind::Multipart => true,
        };
        if !fits {
            return None;
        }
        Some(Part {
            kind,
            encoding: *ENCODINGS.get(code >> 2)?,
            charset,
            header,
            body,
            children,
        })
    }

    /// A gap from `from` and a length, ending at `limit` at most.
    fn range(&mut self, from: u32, limit: u32) -> Option<ByteRange> {
        let start = from.checked_add(self.number32()?)?;
        let end = start.checked_add(self.number32()?)?;
        (end <= limit).then_some(start..end)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn number32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Structure {
        let mut scanner = Scanner::new();
        scanner.push(
            b"Date: 2 Jan 1969 00:00 -0100\r\nSubject: a\0b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/html; charset=KOI8-R\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n\
            --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n--b--\r\n",
        );
        scanner.finish()
    }

    #[test]
    fn rows_come_back() {
        let structure = sample();
        let row = structure.encode();
        assert_eq!(Structure::decode(&row), Some(structure.clone()));
        let read = StructureRef::read(&row);
        assert_eq!(
            read,
            Some(StructureRef {
                envelope: &structure.envelope,
                body_structure: &structure.body_structure,
                size: structure.size,
                has_nul: true,
                abridged: structure.abridged,
                sent: Some(-364 * 86_400 + 3600),
                sent_day: Some(-364),
            })
        );
    }

    #[test]
    fn a_row_costs_few_bytes_more_than_its_strings() {
        let structure = sample();
        let strings = structure.envelope.len() + structure.body_structure.len();
        assert!(structure.encode().len() < strings + 90);
    }

    #[test]
    fn broken_rows_are_none_or_sound() {
        let row = sample().encode();
        for end in 0..row.len() {
            assert_eq!(Structure::decode(&row[..end]), None);
        }
        let mut sound = 0;
        for at in 0..row.len() {
            for bit in 0..8 {
                let mut broken = row.clone();
                broken[at] ^= 1 << bit;
                let _ = StructureRef::read(&broken);
                if let Some(structure) = Structure::decode(&broken) {
                    assert!(structure.root.body.end <= structure.size);
                    structure.body();
                    sound += 1;
                }
            }
        }
        assert!(sound > 0);
    }

    #[test]
    fn numbers() {
        for n in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put(zigzag(n), &mut out);
            assert_eq!(Reader(&out).number().map(unzigzag), Some(n));
        }
        assert_eq!(Reader(&[0xff; 11]).number(), None);
    }

    /// A row that claims more children or deeper nesting than the scanner makes.
    #[test]
    fn rows_are_bounded() {
        let part = |count: u8| [2, 0, 0, 0, 0, count];
        let mut row = vec![FORMAT, 0, 0, 0, 0, 0];
        for _ in 0..MAX_DEPTH + 1 {
            row.extend_from_slice(&part(1));
        }
        row.extend_from_slice(&part(0));
        assert_eq!(Structure::decode(&row), None);
    }
}
