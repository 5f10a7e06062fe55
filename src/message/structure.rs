//! What delivery keeps of a message: the [`Structure`] that the [`Scanner`] leaves.

use std::ops::Range;

pub use super::row::StructureRef;
pub use super::scanner::Scanner;

/// Bytes of the stored message.
pub type ByteRange = Range<u32>;

/// Deepest nesting of parts that is looked into; what lies deeper is a leaf.
pub const MAX_DEPTH: usize = 64;
/// Most parts of one message that are looked into.
pub const MAX_PARTS: usize = 1000;
/// Most bytes of one header that are read for values; the header itself may be longer.
pub const MAX_HEADER: usize = 256 * 1024;
/// Most bytes of header values kept for BODYSTRUCTURE; later parts show without theirs.
pub const MAX_VALUES: usize = 1024 * 1024;
/// Longest charset name kept, bytes.
pub const MAX_CHARSET: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit, 8bit, binary.
    Identity,
    QuotedPrintable,
    Base64,
    /// Anything else: can't be decoded (BINARY answers NO [UNKNOWN-CTE]).
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text/*`, and `message/*` that is not looked into: SEARCH reads it.
    Text,
    /// Any other leaf.
    Leaf,
    Multipart,
    /// `message/rfc822`: its one child is the embedded message.
    Message,
}

/// One body part, or the whole message as the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub kind: Kind,
    pub encoding: Encoding,
    /// Lower case; empty if not given.
    pub charset: String,
    /// The part's own header: the message header for the root, the MIME header else;
    /// the empty line that ends it is inside.
    pub header: ByteRange,
    pub body: ByteRange,
    pub children: Vec<Part>,
}

/// What delivery keeps of a message so that no later FETCH has to parse it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// ENVELOPE in wire form: `("date" "subject" ((...)) ...)` (RFC 9051, 7.5.2).
    pub envelope: Vec<u8>,
    /// BODYSTRUCTURE in wire form.
    pub body_structure: Vec<u8>,
    /// The runs of `body_structure` that BODY leaves out (extension data), ascending.
    pub extensions: Vec<Range<u32>>,
    pub root: Part,
    /// Bytes of the whole message.
    pub size: u32,
    /// A NUL byte was seen: such a message can't be a plain literal (RFC 3516, 4.2).
    pub has_nul: bool,
    /// The Date field as a moment (seconds since 1970), for SORT.
    pub sent: Option<i64>,
    /// The Date field's day as written, days since 1970-01-01, for SEARCH SENT*: they
    /// disregard time and zone.
    pub sent_day: Option<i32>,
}

impl Structure {
    /// BODY: `body_structure` without its extension data.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.body_structure.len());
        let mut from = 0;
        for run in &self.extensions {
            let kept = self.body_structure.get(from..run.start as usize);
            body.extend_from_slice(kept.unwrap_or_default());
            from = run.end as usize;
        }
        body.extend_from_slice(self.body_structure.get(from..).unwrap_or_default());
        body
    }
}
