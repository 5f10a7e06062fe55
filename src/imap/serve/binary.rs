//! BINARY (RFC 3516): body parts with their transfer encoding undone, streamed.

use super::body::{Body, Source, begin, chunk};
use super::fetch::Failure;
use crate::imap::command::{Partial, Section, SectionText};
use crate::imap::response::text::{literal_head, literal8_head};
use crate::message::decode::Decoder;
use crate::message::section::{Located, locate, part};
use crate::message::structure::{ByteRange, Encoding};
use crate::store::{Blob, Snapshot};

type Result<T> = std::result::Result<T, Failure>;

/// Decoded bytes kept from the counting pass; a longer part is decoded twice instead.
const MAX_KEPT: usize = 128 * 1024;
/// Stored bytes decoded at once.
const STEP: u32 = 64 * 1024;

/// A part that is decoded while it is sent.
pub struct Decoding {
    decoder: Option<Decoder>,
    stored: ByteRange,
    /// Decoded bytes to pass over, then to send.
    skip: u64,
    left: u64,
}

struct Counted {
    size: u64,
    has_nul: bool,
    /// All of it, if that is little.
    bytes: Option<Vec<u8>>,
}

impl Source {
    /// Writes what follows the name of a BINARY[…] item, or its head: then the body
    /// returned is to follow.
    pub fn binary(
        &mut self,
        path: &[u32],
        partial: Option<Partial>,
        snapshot: &Snapshot,
        out: &mut Vec<u8>,
    ) -> Result<Option<Body>> {
        let Some((range, encoding)) = self.encoded(path, snapshot)? else {
            out.extend_from_slice(b"\"\"");
            return Ok(None);
        };
        if encoding == Encoding::Identity {
            let has_nul = self.structure(snapshot)?.has_nul;
            let range = crate::message::section::cut(range, partial);
            return Ok(begin(range, has_nul, out));
        }
        let counted = self.count(&range, encoding, snapshot)?;
        let (skip, left) = match partial {
            None => (0, counted.size),
            Some(Partial { start, count }) => {
                let start = u64::from(start).min(counted.size);
                (start, u64::from(count).min(counted.size - start))
            }
        };
        if left == 0 {
            out.extend_from_slice(b"\"\"");
            return Ok(None);
        }
        match counted.has_nul {
            true => literal8_head(out, left),
            false => literal_head(out, left),
        }
        if let Some(bytes) = counted.bytes {
            let rest = bytes.get(skip as usize..).unwrap_or_default();
            out.extend_from_slice(rest.get(..left as usize).unwrap_or(rest));
            return Ok(None);
        }
        Ok(Some(Body::Decoded(Box::new(Decoding {
            decoder: Some(Decoder::new(encoding)),
            stored: range,
            skip,
            left,
        }))))
    }

    /// Bytes of a part once decoded; 0 for one that is not there.
    pub fn binary_size(&mut self, path: &[u32], snapshot: &Snapshot) -> Result<u64> {
        match self.encoded(path, snapshot)? {
            None => Ok(0),
            Some((range, Encoding::Identity)) => Ok(u64::from(range.end - range.start)),
            Some((range, encoding)) => Ok(self.count(&range, encoding, snapshot)?.size),
        }
    }

    /// Where a part is stored, and how it is encoded.
    fn encoded(
        &mut self,
        path: &[u32],
        snapshot: &Snapshot,
    ) -> Result<Option<(ByteRange, Encoding)>> {
        let root = &self.structure(snapshot)?.root;
        let section = Section {
            path: path.to_vec(),
            text: SectionText::All,
        };
        let Located::Bytes(range) = locate(root, &section) else {
            return Ok(None);
        };
        let encoding = match part(root, path) {
            Some(part) if !path.is_empty() && part.children.is_empty() => part.encoding,
            _ => Encoding::Identity,
        };
        match encoding {
            Encoding::Unknown => Err(Failure::UnknownCte),
            encoding => Ok(Some((range, encoding))),
        }
    }

    /// Decodes a part to see how long it is: the literal's size comes before its bytes.
    fn count(
        &mut self,
        range: &ByteRange,
        encoding: Encoding,
        snapshot: &Snapshot,
    ) -> Result<Counted> {
        let blob = self.blob(snapshot)?;
        let mut decoder = Decoder::new(encoding);
        let (mut stored, mut bytes) = (Vec::new(), Vec::new());
        let mut counted = Counted {
            size: 0,
            has_nul: false,
            bytes: None,
        };
        let mut dropped = false;
        let mut rest = range.clone();
        let mut counted_to = 0;
        while !rest.is_empty() {
            let step = chunk(&rest, STEP);
            rest.start = step.end;
            stored.clear();
            blob.read(step, &mut stored)?;
            decoder.push(&stored, &mut bytes);
            counted.note(&bytes, &mut counted_to);
            if bytes.len() > MAX_KEPT {
                dropped = true;
                bytes.clear();
                counted_to = 0;
            }
        }
        let end = decoder.finish(&mut bytes);
        end.map_err(|_| Failure::UnknownCte)?;
        counted.note(&bytes, &mut counted_to);
        counted.bytes = (!dropped).then_some(bytes);
        Ok(counted)
    }
}

impl Counted {
    fn note(&mut self, bytes: &[u8], from: &mut usize) {
        let new = bytes.get(*from..).unwrap_or_default();
        self.size += new.len() as u64;
        self.has_nul |= memchr::memchr(0, new).is_some();
        *from = bytes.len();
    }
}

impl Decoding {
    /// Appends what fits into a batch; false if there is more.
    pub fn drain(
        &mut self,
        blob: &mut Blob,
        out: &mut Vec<u8>,
        batch: usize,
    ) -> crate::store::Result<bool> {
        let (mut stored, mut decoded) = (Vec::new(), Vec::new());
        while self.left > 0 {
            if out.len() >= batch {
                return Ok(false);
            }
            stored.clear();
            decoded.clear();
            if self.stored.is_empty() {
                let Some(decoder) = self.decoder.take() else {
                    // The counting pass saw more: what was stored has changed under us.
                    return Err(super::body::damaged());
                };
                let _ = decoder.finish(&mut decoded);
            } else {
                let step = chunk(&self.stored, STEP);
                self.stored.start = step.end;
                blob.read(step, &mut stored)?;
                if let Some(decoder) = &mut self.decoder {
                    decoder.push(&stored, &mut decoded);
                }
            }
            self.give(&decoded, out);
        }
        Ok(true)
    }

    fn give(&mut self, decoded: &[u8], out: &mut Vec<u8>) {
        let skip = self.skip.min(decoded.len() as u64);
        self.skip -= skip;
        let rest = decoded.get(skip as usize..).unwrap_or_default();
        let give = self.left.min(rest.len() as u64);
        self.left -= give;
        out.extend_from_slice(rest.get(..give as usize).unwrap_or_default());
    }
}
