//! A message with 8-bit or binary parts made one that has none (RFC 6152, 3; RFC 3030, 3):
//! leaf parts get an encoding that gives back their very bytes. Only where nothing is lost by
//! it; a signed part, or what is no proper MIME, is left alone, and the message then can't go.

use super::content::Content;
use super::header;
use super::structure::{ByteRange, Encoding, Kind, Part};
use super::survey::Survey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const FIELD: &str = "Content-Transfer-Encoding";
/// Bytes on a line of base64: 76 letters (RFC 2045, 6.8).
const LINE: usize = 57;

/// What the message is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// ASCII in lines: what is not becomes quoted-printable.
    SevenBit,
    /// Bytes without NUL, in lines: what is not becomes base64.
    Lines,
    /// Bytes without NUL: what is not becomes base64.
    NoNul,
}

impl Target {
    fn takes(self, survey: &Survey) -> bool {
        match self {
            Target::SevenBit => !(survey.eight_bit || survey.nul || survey.lone),
            Target::Lines => !(survey.nul || survey.lone),
            Target::NoNul => !survey.nul,
        }
    }

    /// The label of a leaf that had to be encoded.
    fn encoding(self) -> &'static str {
        match self {
            Target::SevenBit => "quoted-printable",
            Target::Lines | Target::NoNul => "base64",
        }
    }

    /// The label of what has no encoding of its own.
    fn plain(self) -> &'static str {
        match self {
            Target::SevenBit => "7bit",
            Target::Lines | Target::NoNul => "8bit",
        }
    }
}

/// A run of the converted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the stored message as they are.
    Copy(ByteRange),
    /// A header with another encoding in it.
    Header(Vec<u8>),
    /// Bytes of the stored message, to go through the target's encoder:
    /// [`QuotedPrintable`](super::quoted_printable::QuotedPrintable) or [`Base64Lines`].
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
pub fn plan(root: &Part, size: u32, target: Target, source: &mut dyn Source) -> Option<Vec<Piece>> {
    let top = source.header(root.header.clone())?;
    let mut plan = Plan {
        target,
        pieces: Vec::new(),
        at: 0,
    };
    // Without it the label of an encoding would count for nothing.
    if header::find(&top, "MIME-Version").is_some() {
        plan.part(root, source)?;
    } else if target == Target::SevenBit {
        return None;
    }
    plan.copy_to(size);
    for piece in &plan.pieces {
        if let Piece::Copy(range) = piece
            && !target.takes(&source.survey(range.clone())?)
        {
            return None;
        }
    }
    Some(plan.pieces)
}

struct Plan {
    target: Target,
    pieces: Vec<Piece>,
    /// How much of the stored message has its piece.
    at: u32,
}

impl Plan {
    fn part(&mut self, part: &Part, source: &mut dyn Source) -> Option<()> {
        let bytes = source.header(part.header.clone())?;
        let content = Content::parse(&bytes, true);
        let leaf = matches!(part.kind, Kind::Text | Kind::Leaf);
        match (self.target, leaf) {
            (Target::SevenBit, _) => self.seven_bit(part, &bytes, &content, leaf, source),
            (_, true) => self.leaf(part, &bytes, &content, source),
            (_, false) => self.composite(part, &bytes, &content, source),
        }
    }

    fn seven_bit(
        &mut self,
        part: &Part,
        bytes: &[u8],
        content: &Content,
        leaf: bool,
        source: &mut dyn Source,
    ) -> Option<()> {
        let wide = says(bytes, b"8bit") || says(bytes, b"binary");
        if self.target.takes(&source.survey(part.body.clone())?) && (leaf || !wide) {
            // Nothing in it has to change, whatever it says of itself.
            return Some(());
        }
        if part.encoding != Encoding::Identity || is_sealed(content) || !bytes.is_ascii() {
            return None;
        }
        match leaf {
            true => self.encode(part, bytes),
            false => self.relabel(part, bytes),
        }?;
        self.children(part, source)
    }

    /// The label binary goes in any case: a server that is told 8BITMIME need not take it.
    fn leaf(
        &mut self,
        part: &Part,
        bytes: &[u8],
        content: &Content,
        source: &mut dyn Source,
    ) -> Option<()> {
        if self.target.takes(&source.survey(part.body.clone())?) {
            return match says(bytes, b"binary") {
                true => self.relabel(part, bytes),
                false => Some(()),
            };
        }
        // Of these no part may be base64 (RFC 2045, 6.4; RFC 2046, 5.2).
        let bound = content.is_type("message") || content.is_type("multipart");
        match part.encoding {
            Encoding::Identity if !bound => self.encode(part, bytes),
            _ => None,
        }
    }

    fn composite(
        &mut self,
        part: &Part,
        bytes: &[u8],
        content: &Content,
        source: &mut dyn Source,
    ) -> Option<()> {
        if is_sealed(content) {
            // As a whole or not at all: what was signed includes the labels.
            return self
                .target
                .takes(&source.survey(part.body.clone())?)
                .then_some(());
        }
        if says(bytes, b"binary") {
            self.relabel(part, bytes)?;
        }
        self.children(part, source)
    }

    fn children(&mut self, part: &Part, source: &mut dyn Source) -> Option<()> {
        part.children
            .iter()
            .try_for_each(|it| self.part(it, source))
    }

    fn relabel(&mut self, part: &Part, bytes: &[u8]) -> Option<()> {
        self.header(part, bytes, self.target.plain())
    }

    fn encode(&mut self, part: &Part, bytes: &[u8]) -> Option<()> {
        self.header(part, bytes, self.target.encoding())?;
        self.copy_to(part.body.start);
        self.pieces.push(Piece::Encode(part.body.clone()));
        self.at = part.body.end;
        Some(())
    }

    fn header(&mut self, part: &Part, bytes: &[u8], encoding: &str) -> Option<()> {
        self.copy_to(part.header.start);
        self.pieces.push(Piece::Header(encoded(bytes, encoding)?));
        self.at = part.header.end;
        Some(())
    }

    fn copy_to(&mut self, end: u32) {
        if end > self.at {
            self.pieces.push(Piece::Copy(self.at..end));
            self.at = end;
        }
    }
}

/// Whether another encoding within would be another message.
fn is_sealed(content: &Content) -> bool {
    content.is_media_type("multipart", "signed") || content.is_media_type("message", "partial")
}

/// Whether the header says that encoding.
fn says(bytes: &[u8], encoding: &[u8]) -> bool {
    let value = header::find(bytes, FIELD).unwrap_or_default();
    value.trim_ascii().eq_ignore_ascii_case(encoding)
}

/// The header with that encoding in place of its own. `None` if it is not in lines or has no
/// end to put the field before.
fn encoded(bytes: &[u8], encoding: &str) -> Option<Vec<u8>> {
    let mut survey = Survey::default();
    survey.push(bytes);
    if !Target::Lines.takes(&survey.finish()) {
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

/// The encoder of RFC 2045, 6.8, for bytes that come in slices. Every line has its end.
#[derive(Debug, Default)]
pub struct Base64Lines(Vec<u8>);

impl Base64Lines {
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let wanted = LINE.saturating_sub(self.0.len());
        let (first, rest) = bytes.split_at(wanted.min(bytes.len()));
        self.0.extend_from_slice(first);
        if self.0.len() < LINE {
            return;
        }
        line(&std::mem::take(&mut self.0), out);
        let lines = rest.chunks_exact(LINE);
        self.0.extend_from_slice(lines.remainder());
        lines.for_each(|it| line(it, out));
    }

    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            line(&self.0, out);
        }
    }
}

fn line(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
