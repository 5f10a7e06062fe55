//! The log's form. A batch in a segment is what one transaction wrote:
//!
//! ```text
//! batch  = header | message bytes | redo
//! header = key of the log (8) | sequence number (8) | length of the message bytes (8)
//!        | length of the redo (4) | CRC-32 of the message bytes (4) | of the redo (4)
//!        | of the header so far (4), all LE
//! redo   = for each row: its table's number and its key, with their length in front | 0 if it is removed,
//!          else 1 + the length of its value, and the value
//! ```
//!
//! The key is random and never leaves the data directory: nothing that a stranger sends can
//! look like a batch.

use super::codec::{Reader, put, put_bytes};
use super::error::{Error, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Length of a header, bytes.
pub(super) const HEADER: usize = 40;
/// Redo that a batch may have, bytes; a larger transaction is written to the database at once.
pub(super) const MAX_REDO: usize = 1 << 20;
/// What a row takes in memory beside its bytes, about.
const ROW: usize = 16;

/// The rows that a transaction changed, each as it is at the end; clones share it.
#[derive(Clone, Default)]
pub(super) struct Redo(Rc<RefCell<Rows>>);

#[derive(Default)]
struct Rows {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    overflow: bool,
}

impl Redo {
    /// Notes what a row is now; none if it is gone.
    pub fn note(&self, name: Vec<u8>, value: Option<Vec<u8>>) {
        let mut redo = self.0.borrow_mut();
        if redo.overflow {
            return;
        }
        let (key, size) = (name.len() + ROW, value.as_ref().map_or(0, Vec::len));
        redo.bytes += size;
        match redo.rows.insert(name, value) {
            Some(before) => redo.bytes -= before.map_or(0, |it| it.len()),
            None => redo.bytes += key,
        }
        if redo.bytes > MAX_REDO {
            *redo = Rows {
                overflow: true,
                ..Rows::default()
            };
        }
    }

    /// Rows noted so far; none if they are too many.
    pub fn rows(&self) -> usize {
        self.0.borrow().rows.len()
    }

    /// The bytes for the log; none if they would be more than [`MAX_REDO`].
    pub fn take(&self) -> Option<Vec<u8>> {
        let redo = self.0.take();
        if redo.overflow {
            return None;
        }
        let mut out = Vec::with_capacity(redo.bytes);
        for (name, value) in redo.rows {
            put_bytes(&mut out, &name);
            match value {
                None => put(&mut out, 0),
                Some(value) => {
                    put(&mut out, value.len() as u64 + 1);
                    out.extend_from_slice(&value);
                }
            }
        }
        Some(out)
    }
}

/// Calls `f` with the table, key and value of each row.
pub(super) fn read_rows(
    redo: &[u8],
    mut f: impl FnMut(u8, &[u8], Option<&[u8]>) -> Result<()>,
) -> Result<()> {
    let row = &mut Reader(redo);
    while !row.is_empty() {
        let (table, key) = row
            .take_bytes()?
            .split_first()
            .ok_or_else(|| Error::corrupt("a row of the log without a name"))?;
        match row.take()? {
            0 => f(*table, key, None)?,
            length => f(*table, key, Some(row.take_slice(length - 1)?))?,
        }
    }
    Ok(())
}

/// The rows of a redo, written again in order; none if it can't be read. For the fuzzer.
pub fn rewritten(redo: &[u8]) -> Option<Vec<u8>> {
    let rows = Redo::default();
    read_rows(redo, |table, key, value| {
        rows.note([&[table], key].concat(), value.map(<[u8]>::to_vec));
        Ok(())
    })
    .ok()?;
    rows.take()
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub sequence: u64,
    /// Message bytes.
    pub payload: u64,
    /// Bytes of the redo behind them.
    pub redo: u32,
    pub payload_crc: u32,
    pub redo_crc: u32,
}

impl Header {
    pub fn encode(&self, key: u64) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&key.to_le_bytes());
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        out[16..24].copy_from_slice(&self.payload.to_le_bytes());
        out[24..28].copy_from_slice(&self.redo.to_le_bytes());
        out[28..32].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[32..36].copy_from_slice(&self.redo_crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..36]);
        out[36..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// None if these bytes are no header of this log.
    pub fn decode(bytes: &[u8; HEADER], key: u64) -> Option<Header> {
        let mut row = Reader(bytes);
        let found = u64::from_le_bytes(row.take_fixed().ok()?);
        let header = Header {
            sequence: u64::from_le_bytes(row.take_fixed().ok()?),
            payload: u64::from_le_bytes(row.take_fixed().ok()?),
            redo: u32::from_le_bytes(row.take_fixed().ok()?),
            payload_crc: u32::from_le_bytes(row.take_fixed().ok()?),
            redo_crc: u32::from_le_bytes(row.take_fixed().ok()?),
        };
        let crc = u32::from_le_bytes(row.take_fixed().ok()?);
        let whole = found == key && crc == crc32fast::hash(&bytes[..36]);
        (whole && header.redo as usize <= MAX_REDO).then_some(header)
    }

    /// Where the batch ends that begins at `start`; none if that can't be.
    pub fn end(&self, start: u64) -> Option<u64> {
        self.redo_start(start)?.checked_add(u64::from(self.redo))
    }

    pub fn redo_start(&self, start: u64) -> Option<u64> {
        start.checked_add(HEADER as u64)?.checked_add(self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_row_the_last_value_stays() {
        let redo = Redo::default();
        redo.note(b"\x07b".to_vec(), Some(b"one".to_vec()));
        redo.note(b"\x07a".to_vec(), None);
        redo.note(b"\x07b".to_vec(), Some(Vec::new()));
        redo.note(b"\x07a".to_vec(), Some(b"two".to_vec()));
        redo.note(b"\x01c".to_vec(), None);
        let bytes = redo.take().unwrap();
        let mut rows = Vec::new();
        read_rows(&bytes, |table, key, value| {
            rows.push((table, key.to_vec(), value.map(<[u8]>::to_vec)));
            Ok(())
        })
        .unwrap();
        assert_eq!(
            rows,
            [
                (1, b"c".to_vec(), None),
                (7, b"a".to_vec(), Some(b"two".to_vec())),
                (7, b"b".to_vec(), Some(Vec::new())),
            ]
        );
        assert_eq!(rewritten(&bytes), Some(bytes.clone()));
        for end in 1..bytes.len() {
            assert_ne!(rewritten(&bytes[..end]), Some(bytes.clone()));
        }
    }

    #[test]
    fn a_redo_has_a_limit_that_rewriting_a_row_does_not_reach() {
        let redo = Redo::default();
        for n in 0..100u8 {
            redo.note(vec![1, 1], Some(vec![n; MAX_REDO / 8]));
        }
        assert!(redo.take().is_some_and(|it| it.len() <= MAX_REDO));
        for n in 0..9 {
            redo.note(vec![1, n], Some(vec![n; MAX_REDO / 8]));
        }
        redo.note(vec![1, 1], None);
        assert_eq!(redo.take(), None);
    }

    #[test]
    fn a_header_is_of_one_log_and_whole() {
        let header = Header {
            sequence: 7 << 32,
            payload: 5000,
            redo: 300,
            payload_crc: 1,
            redo_crc: 2,
        };
        let bytes = header.encode(99);
        assert_eq!(Header::decode(&bytes, 99), Some(header));
        assert_eq!(Header::decode(&bytes, 98), None);
        for at in 0..HEADER {
            let mut damaged = bytes;
            damaged[at] ^= 0x10;
            assert_eq!(Header::decode(&damaged, 99), None, "{at}");
        }
        assert_eq!(header.end(100), Some(100 + HEADER as u64 + 5300));
        assert_eq!(header.end(u64::MAX - 5000), None);
    }
}
