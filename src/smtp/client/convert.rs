//! A message with 8-bit or binary parts made 7-bit (RFC 6152, 3): leaf parts become
//! quoted-printable, which gives back their very bytes. Only where nothing is lost by it; a
//! signed part, or what is no proper MIME, is left alone, and the message then can't go.

use super::text::Survey;
use crate::message::content::Content;
use crate::message::header;
use crate::message::structure::{ByteRange, Encoding, Kind, Part};

/// Longest line of quoted-printable, its end not counted (RFC 2045, 6.7).
const MAX_LINE: usize = 76;
const FIELD: &str = "Content-Transfer-Encoding";

/// A run of the converted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the stored message as they are.
    Copy(ByteRange),
    /// A header with another encoding in it.
    Header(Vec<u8>),
    /// Bytes of the stored message, to go through a [`QuotedPrintable`].
    Encode(ByteRange),
}

/// What planning needs of the stored message.
pub trait Source {
    /// A header's bytes; `None` if they can't be read.
    fn header(&mut self, range: ByteRange) -> Option<Vec<u8>>;
    /// What that run is made of.
    fn survey(&mut self, range: ByteRange) -> Option<Survey>;
}

/// The pieces of the converted message, in order; `None` if it can't be done without loss.
pub fn plan(root: &Part, size: u32, source: &mut impl Source) -> Option<Vec<Piece>> {
    let top = source.header(root.header.clone())?;
    header::find(&top, "MIME-Version")?;
    let mut plan = Plan {
        pieces: Vec::new(),
        at: 0,
    };
    plan.part(root, source)?;
    plan.copy_to(size);
    for piece in &plan.pieces {
        if let Piece::Copy(range) = piece
            && !is_plain(&source.survey(range.clone())?)
        {
            return None;
        }
    }
    Some(plan.pieces)
}

fn is_plain(survey: &Survey) -> bool {
    !(survey.eight_bit || survey.nul || survey.lone)
}

struct Plan {
    pieces: Vec<Piece>,
    /// How much of the stored message has its piece.
    at: u32,
}

impl Plan {
    fn part(&mut self, part: &Part, source: &mut impl Source) -> Option<()> {
        let bytes = source.header(part.header.clone())?;
        let content = Content::parse(&bytes, true);
        let leaf = matches!(part.kind, Kind::Text | Kind::Leaf);
        if is_plain(&source.survey(part.body.clone())?) && (leaf || !is_wide(&bytes)) {
            // Nothing in it has to change, whatever it says of itself.
            return Some(());
        }
        if part.encoding != Encoding::Identity
            || content.is_media_type("multipart", "signed")
            || content.is_media_type("message", "partial")
        {
            return None;
        }
        self.copy_to(part.header.start);
        let encoding = if leaf { "quoted-printable" } else { "7bit" };
        self.pieces.push(Piece::Header(encoded(&bytes, encoding)?));
        self.at = part.header.end;
        if leaf {
            self.copy_to(part.body.start);
            self.pieces.push(Piece::Encode(part.body.clone()));
            self.at = part.body.end;
        }
        part.children
            .iter()
            .try_for_each(|it| self.part(it, source))
    }

    fn copy_to(&mut self, end: u32) {
        if end > self.at {
            self.pieces.push(Piece::Copy(self.at..end));
            self.at = end;
        }
    }
}

/// Whether the header says 8bit or binary.
fn is_wide(bytes: &[u8]) -> bool {
    let value = header::find(bytes, FIELD).unwrap_or_default().trim_ascii();
    value.eq_ignore_ascii_case(b"8bit") || value.eq_ignore_ascii_case(b"binary")
}

/// The header with that encoding in place of its own. `None` if it has 8-bit bytes itself, or
/// no end to put the field before.
fn encoded(bytes: &[u8], encoding: &str) -> Option<Vec<u8>> {
    if !bytes.is_ascii() {
        return None;
    }
    let mut out = header::header_fields(bytes, &[FIELD], true);
    if !out.ends_with(b"\r\n") || !bytes.ends_with(b"\r\n") {
        return None;
    }
    // The empty line, if it was kept.
    if out == b"\r\n" || out.ends_with(b"\r\n\r\n") {
        out.truncate(out.len() - 2);
    }
    out.extend_from_slice(format!("{FIELD}: {encoding}\r\n\r\n").as_bytes());
    Some(out)
}

/// The encoder of RFC 2045, 6.7, for bytes that come in slices.
#[derive(Debug, Default)]
pub struct QuotedPrintable {
    column: usize,
    /// A space or tab that may be the line's last, or a CR that may be half a line end.
    held: Option<u8>,
    /// A space or tab before that CR.
    blank: Option<u8>,
}

impl QuotedPrintable {
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            match (self.held.take(), byte) {
                (Some(b'\r'), b'\n') => {
                    if let Some(blank) = self.blank.take() {
                        self.hex(blank, out);
                    }
                    out.extend_from_slice(b"\r\n");
                    self.column = 0;
                    continue;
                }
                (Some(b'\r'), _) => {
                    if let Some(blank) = self.blank.take() {
                        self.put(&[blank], out);
                    }
                    self.hex(b'\r', out);
                }
                (Some(blank), b'\r') => self.blank = Some(blank),
                (Some(blank), _) => self.put(&[blank], out),
                (None, _) => {}
            }
            match byte {
                b' ' | b'\t' | b'\r' => self.held = Some(byte),
                b'!'..=b'~' if byte != b'=' => self.put(&[byte], out),
                _ => self.hex(byte, out),
            }
        }
    }

    pub fn finish(mut self, out: &mut Vec<u8>) {
        let rest = [self.blank.take(), self.held.take()];
        rest.into_iter().flatten().for_each(|it| self.hex(it, out));
    }

    fn hex(&mut self, byte: u8, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let digit = |n: u8| DIGITS.get(usize::from(n & 15)).copied().unwrap_or(b'0');
        self.put(&[b'=', digit(byte >> 4), digit(byte)], out);
    }

    /// Breaks the line softly where there is no more room but for the `=`.
    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.column + bytes.len() > MAX_LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        out.extend_from_slice(bytes);
        self.column += bytes.len();
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
