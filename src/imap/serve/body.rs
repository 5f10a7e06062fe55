//! The bytes of FETCH: sections, header fields and decoded parts of one message, each part
//! of it read from the store when it is first needed.

use super::binary::Decoding;
use super::fetch::Failure;
use crate::imap::command::{Partial, Section, SectionText};
use crate::imap::response::text::{literal_head, literal8_head};
use crate::mail::EmailId;
use crate::message::header::header_fields;
use crate::message::section::{self, Located, cut};
use crate::message::structure::{ByteRange, Structure, StructureRef};
use crate::store::{Blob, Error, Result, Snapshot};

/// Bytes that the store decompresses as one; reads that end on its multiples decompress
/// nothing twice.
pub const FRAME: u32 = 64 * 1024;
/// Bytes of a header that HEADER.FIELDS picks from; fields behind them are not found.
const MAX_PICKED: u32 = 1024 * 1024;

/// One message's stored form.
pub struct Source {
    email: EmailId,
    size: u32,
    row: Option<Vec<u8>>,
    structure: Option<Structure>,
    blob: Option<Blob>,
}

impl Source {
    pub fn new(email: EmailId, size: u32) -> Source {
        Source {
            email,
            size,
            row: None,
            structure: None,
            blob: None,
        }
    }

    fn row(&mut self, snapshot: &Snapshot) -> Result<&[u8]> {
        if self.row.is_none() {
            self.row = Some(snapshot.structure(self.email)?);
        }
        Ok(self.row.as_deref().unwrap_or_default())
    }

    /// The stored listing fields.
    pub fn head(&mut self, snapshot: &Snapshot) -> Result<StructureRef<'_>> {
        StructureRef::read(self.row(snapshot)?).ok_or_else(damaged)
    }

    pub fn structure(&mut self, snapshot: &Snapshot) -> Result<&Structure> {
        let structure = match self.structure.take() {
            Some(structure) => structure,
            None => Structure::decode(self.row(snapshot)?).ok_or_else(damaged)?,
        };
        Ok(self.structure.insert(structure))
    }

    pub fn blob(&mut self, snapshot: &Snapshot) -> Result<&mut Blob> {
        let blob = match self.blob.take() {
            Some(blob) => blob,
            None => snapshot.blob(self.email)?,
        };
        Ok(self.blob.insert(blob))
    }

    /// Writes what follows the name of a BODY[…] item, or its head: then the body returned
    /// is to follow.
    pub fn section(
        &mut self,
        section: &Section,
        partial: Option<Partial>,
        snapshot: &Snapshot,
        out: &mut Vec<u8>,
    ) -> std::result::Result<Option<Body>, Failure> {
        let range = match self.locate(section, snapshot)? {
            Located::Bytes(range) => cut(range, partial),
            // NIL would do too; Dovecot's clients are used to this.
            Located::Missing => {
                out.extend_from_slice(b"\"\"");
                return Ok(None);
            }
            Located::Fields(range) => {
                let header = self.bytes(range, snapshot)?;
                pick(&header, section, partial, out);
                return Ok(None);
            }
        };
        let has_nul = false;
        Ok(begin(range, has_nul, out))
    }

    fn locate(&mut self, section: &Section, snapshot: &Snapshot) -> Result<Located> {
        if section.path.is_empty() && section.text == SectionText::All {
            return Ok(Located::Bytes(0..self.size));
        }
        let structure = self.structure(snapshot)?;
        Ok(section::locate(&structure.root, section))
    }

    fn bytes(&mut self, range: ByteRange, snapshot: &Snapshot) -> Result<Vec<u8>> {
        let end = range.end.min(range.start.saturating_add(MAX_PICKED));
        let mut bytes = Vec::new();
        self.blob(snapshot)?.read(range.start..end, &mut bytes)?;
        without_nul(&mut bytes);
        Ok(bytes)
    }
}

pub fn damaged() -> Error {
    Error::Corrupt("the structure of a message can't be read".into())
}

/// Picks header fields, and cuts them where a part alone is asked for.
fn pick(header: &[u8], section: &Section, partial: Option<Partial>, out: &mut Vec<u8>) {
    let fields = match &section.text {
        SectionText::HeaderFields(names) => header_fields(header, names, false),
        SectionText::HeaderFieldsNot(names) => header_fields(header, names, true),
        _ => Vec::new(),
    };
    let all = 0..u32::try_from(fields.len()).unwrap_or(u32::MAX);
    let range = cut(all, partial);
    let picked = fields.get(range.start as usize..range.end as usize);
    let picked = picked.unwrap_or_default();
    literal_head(out, picked.len() as u64);
    out.extend_from_slice(picked);
}

/// Announces the bytes of `range`: in a literal, or with `has_nul` in a literal8.
pub fn begin(range: ByteRange, has_nul: bool, out: &mut Vec<u8>) -> Option<Body> {
    if range.is_empty() {
        out.extend_from_slice(b"\"\"");
        return None;
    }
    let size = u64::from(range.end - range.start);
    match has_nul {
        true => literal8_head(out, size),
        false => literal_head(out, size),
    }
    Some(Body::Stored {
        range,
        keep_nul: has_nul,
    })
}

/// A literal whose size is said and whose bytes are still to come.
pub enum Body {
    Stored { range: ByteRange, keep_nul: bool },
    Decoded(Box<Decoding>),
}

impl Body {
    /// Appends what fits into a batch; false if there is more.
    pub fn drain(&mut self, blob: &mut Blob, out: &mut Vec<u8>, batch: usize) -> Result<bool> {
        let (range, keep_nul) = match self {
            Body::Stored { range, keep_nul } => (range, *keep_nul),
            Body::Decoded(decoding) => return decoding.drain(blob, out, batch),
        };
        while range.start < range.end {
            if out.len() >= batch {
                return Ok(false);
            }
            let room = u32::try_from(batch - out.len()).unwrap_or(FRAME);
            let chunk = chunk(range, room);
            range.start = chunk.end;
            let from = out.len();
            blob.read(chunk, out)?;
            if !keep_nul {
                without_nul(out.get_mut(from..).unwrap_or_default());
            }
        }
        Ok(true)
    }
}

/// The next bytes of `range`: about `room`, up to the end of a frame.
pub fn chunk(range: &ByteRange, room: u32) -> ByteRange {
    let end = range.start.saturating_add(room.max(1));
    let end = end.checked_next_multiple_of(FRAME).unwrap_or(u32::MAX);
    range.start..end.min(range.end)
}

/// A literal has no NUL (RFC 3501, 9, CHAR8); what stands for it keeps the length.
pub(super) fn without_nul(bytes: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = bytes.get(from..).and_then(|rest| memchr::memchr(0, rest)) {
        if let Some(byte) = bytes.get_mut(from + at) {
            *byte = 0x80;
        }
        from += at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_with_frames() {
        assert_eq!(chunk(&(0..10), 100), 0..10);
        assert_eq!(chunk(&(0..1_000_000), 100), 0..FRAME);
        assert_eq!(chunk(&(100..1_000_000), FRAME), 100..2 * FRAME);
        assert_eq!(chunk(&(FRAME..1_000_000), FRAME), FRAME..2 * FRAME);
        assert_eq!(chunk(&(u32::MAX - 5..u32::MAX), 9), u32::MAX - 5..u32::MAX);
    }

    #[test]
    fn nul_becomes_another_byte() {
        let mut bytes = *b"a\0b\0\0";
        without_nul(&mut bytes);
        assert_eq!(&bytes, b"a\x80b\x80\x80");
    }
}
