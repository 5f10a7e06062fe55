//! The incremental MIME scanner, and the [`Structure`] that it leaves.

use std::ops::Range;

/// Bytes of the stored message.
pub type ByteRange = Range<u32>;

/// Deepest nesting of parts that is looked into; what lies deeper is a leaf.
pub const MAX_DEPTH: usize = 64;
/// Most parts of one message that are looked into.
pub const MAX_PARTS: usize = 1000;
/// Most bytes of one header that are read for values; the header itself may be longer.
pub const MAX_HEADER: usize = 256 * 1024;

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
    /// `text/*`: SEARCH looks into it.
    Text,
    /// Any other leaf.
    Leaf,
    Multipart,
    /// `message/rfc822` (or message/global): its one child is the embedded message.
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
    /// The Date field as a moment (seconds since 1970), for SEARCH SENT* and SORT.
    pub sent: Option<i64>,
}

impl Structure {
    /// BODY: `body_structure` without its extension data.
    pub fn body(&self) -> Vec<u8> {
        todo!()
    }
    /// The row that the store keeps.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
    pub fn decode(_bytes: &[u8]) -> Option<Structure> {
        todo!()
    }
}

/// A stored row read in place, for listings that want one field of 100,000 messages.
#[derive(Clone, Copy)]
pub struct StructureRef<'a> {
    pub envelope: &'a [u8],
    pub body_structure: &'a [u8],
    pub sent: Option<i64>,
}

impl<'a> StructureRef<'a> {
    /// Reads the row's head alone: costs the same for any message.
    pub fn read(_row: &'a [u8]) -> Option<StructureRef<'a>> {
        todo!()
    }
}

/// Takes a message in slices of any size and never holds more than one header.
pub struct Scanner {}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    pub fn new() -> Scanner {
        todo!()
    }
    pub fn push(&mut self, _bytes: &[u8]) {
        todo!()
    }
    pub fn finish(self) -> Structure {
        todo!()
    }
}
