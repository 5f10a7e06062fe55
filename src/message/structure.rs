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
    /// The envelope shows less than the header has: a field given twice or cut to a limit.
    /// SEARCH then reads the header (RFC 3501, 6.4.4: a key holds for any field of that name).
    pub abridged: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(line: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = line.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            match (first, after) {
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let digit = |d: &u8| char::from(*d).to_digit(16).expect("a digit") as u8;
                    out.push(digit(high) << 4 | digit(low));
                    rest = after;
                }
                (b'\\', [escape, after @ ..]) => {
                    out.push(match escape {
                        b'r' => b'\r',
                        b'n' => b'\n',
                        other => *other,
                    });
                    rest = after;
                }
                _ => out.push(*first),
            }
        }
        out
    }

    #[test]
    fn odd_messages_read_as_dovecot_reads_them() {
        let cases = include_str!("../../tests/messages/structure/dovecot.txt");
        let lines: Vec<&str> = cases
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        assert!(lines.len() >= 150 && lines.len().is_multiple_of(3));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for case in lines.chunks_exact(3) {
            let mut scanner = Scanner::new();
            scanner.push(&unescaped(case[0]));
            let structure = scanner.finish();
            assert_eq!(
                text(&structure.envelope),
                text(&unescaped(case[1])),
                "{}",
                case[0]
            );
            assert_eq!(
                text(&structure.body_structure),
                text(&unescaped(case[2])),
                "{}",
                case[0]
            );
        }
    }

    #[test]
    fn body_is_what_extensions_leave() {
        let mut scanner = Scanner::new();
        scanner.push(
            b"Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\nContent-Language: en\r\n\r\n",
        );
        let structure = scanner.finish();
        assert_eq!(structure.extensions.len(), 2);
        assert_eq!(
            String::from_utf8_lossy(&structure.body()),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"x\")"
        );
    }
}
