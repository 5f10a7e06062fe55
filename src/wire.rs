//! The input buffer of every protocol: bytes come in as they arrive, lines and counted
//! runs go out. Pure.

use memchr::memchr;

/// Capacity kept when the buffer runs empty; more than that is given back at once, since
/// most connections of a mail server are idle.
const KEEP: usize = 512;

/// How a search for a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// `bytes()[..length]` is the line without its end; `consume(end)` takes both.
    Complete { length: usize, end: usize },
    /// No end yet, and still within the limit.
    Partial,
    /// More than `limit` bytes without an end.
    TooLong,
}

/// Bytes received and not yet used. Gives its memory back when it runs empty.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    start: usize,
    /// Where the search for a line end goes on: no byte is looked at twice.
    searched: usize,
}

impl Input {
    pub fn new() -> Input {
        Input::default()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(bytes);
    }

    /// What is not yet consumed.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops everything received: what a client pipelined behind STARTTLS must not be
    /// read as if it came under TLS (RFC 3207, 4.2; CVE-2011-0411).
    pub fn clear(&mut self) {
        *self = Input::default();
    }

    /// Looks for the next line end, CRLF, or a lone LF too where `bare_lf` allows it.
    /// `limit` counts the line's bytes without its end.
    pub fn line(&mut self, limit: usize, bare_lf: bool) -> Line {
        let mut from = self.searched.max(self.start);
        while let Some(found) = self.bytes.get(from..).and_then(|rest| memchr(b'\n', rest)) {
            let lf = from + found;
            let crlf = lf > self.start && self.bytes.get(lf - 1) == Some(&b'\r');
            if crlf || bare_lf {
                let length = lf - self.start - usize::from(crlf);
                self.searched = lf;
                return match length <= limit {
                    true => Line::Complete {
                        length,
                        end: lf + 1 - self.start,
                    },
                    false => Line::TooLong,
                };
            }
            from = lf + 1;
        }
        self.searched = self.bytes.len();
        match self.len() > limit + 1 {
            true => Line::TooLong,
            false => Line::Partial,
        }
    }

    /// Takes `n` bytes off the front.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.bytes.len());
        self.searched = self.start;
        if self.is_empty() {
            self.compact();
        }
    }

    /// Drops what there is of a line that is too long: how much, and whether its end was there.
    pub fn skip_line(&mut self) -> (usize, bool) {
        let end = memchr(b'\n', self.bytes());
        let dropped = end.map_or(self.len(), |at| at + 1);
        self.consume(dropped);
        (dropped, end.is_some())
    }

    /// Moves what is left to the front once that costs little, so that a long pipeline
    /// does not grow the buffer; an empty buffer gives its memory back.
    fn compact(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP);
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
        } else {
            return;
        }
        self.searched = self.searched.saturating_sub(self.start);
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(input: &mut Input, bare_lf: bool) -> Option<Vec<u8>> {
        match input.line(80, bare_lf) {
            Line::Complete { length, end } => {
                let line = input.bytes()[..length].to_vec();
                input.consume(end);
                Some(line)
            }
            _ => None,
        }
    }

    #[test]
    fn lines_come_out_whatever_the_slices() {
        let text = b"NOOP\r\n\r\nRETR 1\r\nhalf";
        for size in 1..=text.len() {
            let mut input = Input::new();
            let mut lines = Vec::new();
            for slice in text.chunks(size) {
                input.push(slice);
                while let Some(line) = line(&mut input, false) {
                    lines.push(line);
                }
            }
            assert_eq!(lines, [&b"NOOP"[..], b"", b"RETR 1"], "slices of {size}");
            assert_eq!(input.bytes(), b"half");
        }
    }

    #[test]
    fn a_bare_lf_ends_a_line_only_where_allowed() {
        let mut input = Input::new();
        input.push(b"a\nb\r\n");
        assert_eq!(line(&mut input, false), Some(b"a\nb".to_vec()));
        input.push(b"a\nb\r\n");
        assert_eq!(line(&mut input, true), Some(b"a".to_vec()));
        assert_eq!(line(&mut input, true), Some(b"b".to_vec()));
    }

    #[test]
    fn the_limit_holds_with_and_without_an_end() {
        let mut input = Input::new();
        input.push(&[b'x'; 80]);
        assert_eq!(input.line(80, false), Line::Partial);
        input.push(b"\r\n");
        assert_eq!(
            input.line(80, false),
            Line::Complete {
                length: 80,
                end: 82
            }
        );
        input.clear();
        input.push(&[b'x'; 82]);
        assert_eq!(input.line(80, false), Line::TooLong);
        input.clear();
        input.push(&[b'x'; 81]);
        input.push(b"\r\n");
        assert_eq!(input.line(80, false), Line::TooLong);
    }

    #[test]
    fn memory_is_given_back_and_does_not_grow_with_a_pipeline() {
        let mut input = Input::new();
        for _ in 0..10_000 {
            input.push(b"NOOP\r\nNO");
            assert!(line(&mut input, false).is_some());
            input.push(b"OP\r\n");
            assert!(line(&mut input, false).is_some());
        }
        input.push(&vec![b'x'; 1 << 20]);
        input.consume(1 << 20);
        assert!(input.bytes.capacity() <= KEEP);
    }
}
