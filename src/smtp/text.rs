//! The text of a message on its way in: where DATA ends, and whether its lines are lines.

use memchr::{memchr3_iter, memmem};

/// What the front of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This many bytes of text.
    Text(usize),
    /// The first dot of a line that goes on: one byte to drop.
    Dot,
    /// `.` CRLF at the start of a line: three bytes, and the data is over.
    End,
    /// Nothing can be said yet: two bytes at most are held.
    More,
}

/// Finds the end of DATA and the dots to drop (RFC 5321, 4.5.2). Only CRLF `.` CRLF ends
/// the data: a bare CR or LF never takes part, whatever sender or relay thinks of it
/// (SMTP smuggling, CVE-2023-51764).
#[derive(Debug)]
pub struct Unstuffer {
    line_start: bool,
}

impl Default for Unstuffer {
    fn default() -> Unstuffer {
        Unstuffer { line_start: true }
    }
}

impl Unstuffer {
    /// Says what `bytes`, the input not yet consumed, begin with; the caller consumes it.
    pub fn next(&mut self, bytes: &[u8]) -> Piece {
        if self.line_start {
            match bytes {
                [b'.', b'\r', b'\n', ..] => return Piece::End,
                [] | [b'.'] | [b'.', b'\r'] => return Piece::More,
                [b'.', ..] => {
                    self.line_start = false;
                    return Piece::Dot;
                }
                _ => self.line_start = false,
            }
        }
        if let Some(end) = memmem::find(bytes, b"\r\n.") {
            self.line_start = true;
            return Piece::Text(end + 2);
        }
        if bytes.ends_with(b"\r\n") {
            self.line_start = true;
            return Piece::Text(bytes.len());
        }
        // A CR may be the first half of a line end.
        match bytes.strip_suffix(b"\r").unwrap_or(bytes) {
            [] => Piece::More,
            text => Piece::Text(text.len()),
        }
    }
}

/// Watches for what no line of text may hold: CR or LF alone, and NUL (RFC 5321, 2.3.8).
#[derive(Debug, Default)]
pub struct Lines {
    /// The text so far ends with CR.
    cr: bool,
    pub bare: bool,
    pub nul: bool,
}

impl Lines {
    pub fn push(&mut self, text: &[u8]) {
        // Where the LF of a CRLF is to be.
        let mut due = self.cr.then_some(0);
        for at in memchr3_iter(b'\r', b'\n', 0, text) {
            match text.get(at) {
                Some(b'\n') if due == Some(at) => due = None,
                Some(b'\r') if due.is_none() => due = Some(at + 1),
                Some(0) => self.nul = true,
                _ => self.bare = true,
            }
        }
        self.cr = due == Some(text.len());
        self.bare |= due.is_some_and(|due| due < text.len());
    }

    pub fn finish(&mut self) {
        self.bare |= self.cr;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in steps of `step` bytes; what came out, and what was left behind the end.
    fn unstuff(wire: &[u8], step: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut unstuffer = Unstuffer::default();
        let (mut text, mut held) = (Vec::new(), Vec::new());
        let mut chunks = wire.chunks(step);
        loop {
            match unstuffer.next(&held) {
                Piece::Text(n) => text.extend(held.drain(..n)),
                Piece::Dot => drop(held.remove(0)),
                Piece::End => {
                    held.drain(..3);
                    held.extend(chunks.flatten());
                    return Some((text, held));
                }
                Piece::More => {
                    assert!(held.len() <= 2);
                    held.extend_from_slice(chunks.next()?);
                }
            }
        }
    }

    #[test]
    fn the_end_is_crlf_dot_crlf_however_it_is_cut() {
        for (wire, text, rest) in [
            (&b"a\r\n.\r\nQUIT"[..], &b"a\r\n"[..], &b"QUIT"[..]),
            (b".\r\n", b"", b""),
            (b"..\r\n...a\r\n.\r\n.", b".\r\n..a\r\n", b"."),
            (b".a\r\n.\r\n", b"a\r\n", b""),
            (b"a\r\r\n.\r\n", b"a\r\r\n", b""),
            (b"a.\r\n\r\n.\r\n", b"a.\r\n\r\n", b""),
        ] {
            for step in 1..=wire.len() {
                assert_eq!(
                    unstuff(wire, step),
                    Some((text.into(), rest.into())),
                    "{step}"
                );
            }
        }
    }

    #[test]
    fn smuggled_ends_end_nothing() {
        for wire in [
            &b"a\n.\nb"[..],
            b"a\r.\rb",
            b"a\n.\r\nb",
            b"a\r\n.\nb",
            b"a\r\n.\rb",
            b"a\r.\r\nb",
            b"a\r\n\0.\r\nb",
            b"a\n\r\n.\nb",
        ] {
            for step in 1..=wire.len() {
                assert_eq!(unstuff(wire, step), None, "{wire:?}");
            }
        }
    }

    #[test]
    fn bare_line_ends_are_seen_however_they_are_cut() {
        for (text, bare, nul) in [
            (&b"a\r\nb\r\n"[..], false, false),
            (b"a\nb", true, false),
            (b"a\rb", true, false),
            (b"a\r\r\n", true, false),
            (b"\n", true, false),
            (b"a\r", true, false),
            (b"a\r\n\0", false, true),
            (b"\r\0\n", true, true),
        ] {
            for step in 1..=text.len() {
                let mut lines = Lines::default();
                text.chunks(step).for_each(|chunk| lines.push(chunk));
                lines.finish();
                assert_eq!((lines.bare, lines.nul), (bare, nul), "{text:?} by {step}");
            }
        }
    }
}
