//! A message as RETR and TOP send it (RFC 1939, 3): lines end with CRLF, and those that
//! begin with a dot get another. Runs between line ends are copied whole.

use memchr::memchr_iter;

/// Takes a message in slices of any size.
pub struct Stuffer {
    /// Of the slice before: its last byte was CR; a line begins here.
    cr: bool,
    line_start: bool,
    /// TOP: lines of the body still to come; `None` for all.
    lines: Option<u32>,
    in_header: bool,
    /// Whether the line so far is empty, but for its CR.
    empty: bool,
}

impl Stuffer {
    /// `lines` of the body after the header; `None` for the whole message.
    pub fn new(lines: Option<u32>) -> Stuffer {
        Stuffer {
            cr: false,
            line_start: true,
            lines,
            in_header: true,
            empty: true,
        }
    }

    /// Appends the slice to `out`; false when TOP has all its lines.
    ///
    /// A bare LF becomes CRLF, or a lenient client could see the end of the message where
    /// a stored `LF . LF` stands.
    pub fn push(&mut self, slice: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(&last) = slice.last() else {
            return true;
        };
        if self.line_start && slice.first() == Some(&b'.') {
            out.push(b'.');
        }
        // Where what is not yet copied begins, and where the line does.
        let (mut run, mut line) = (0, 0);
        for lf in memchr_iter(b'\n', slice) {
            let crlf = match lf.checked_sub(1).and_then(|at| slice.get(at)) {
                Some(before) => *before == b'\r',
                None => self.cr,
            };
            if !crlf {
                out.extend_from_slice(slice.get(run..lf).unwrap_or_default());
                out.push(b'\r');
                run = lf;
            }
            if self.lines.is_some() {
                let text = slice.get(line..lf).unwrap_or_default();
                let own_cr = text == b"\r" && !(line == 0 && self.cr);
                let empty = self.empty && (text.is_empty() || own_cr);
                line = lf + 1;
                self.empty = true;
                if !self.goes_on(empty) {
                    out.extend_from_slice(slice.get(run..=lf).unwrap_or_default());
                    (self.cr, self.line_start) = (false, true);
                    return false;
                }
            }
            if slice.get(lf + 1) == Some(&b'.') {
                out.extend_from_slice(slice.get(run..=lf).unwrap_or_default());
                out.push(b'.');
                run = lf + 1;
            }
        }
        out.extend_from_slice(slice.get(run..).unwrap_or_default());
        self.empty &= match slice.get(line..) {
            Some([b'\r']) => !self.cr,
            Some([]) => true,
            _ => false,
        };
        (self.cr, self.line_start) = (last == b'\r', last == b'\n');
        true
    }

    /// The end: the last line's own, if it has none, and the dot.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.line_start {
            out.extend_from_slice(if self.cr { b"\n" } else { b"\r\n" });
        }
        out.extend_from_slice(b".\r\n");
    }

    /// Counts a line that is over; false when it was the last one wanted.
    fn goes_on(&mut self, empty: bool) -> bool {
        let Some(lines) = &mut self.lines else {
            return true;
        };
        if !self.in_header {
            *lines = lines.saturating_sub(1);
        } else if empty {
            self.in_header = false;
        }
        self.in_header || *lines > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuffed(message: &[u8], lines: Option<u32>) -> String {
        let whole = by(message, lines, message.len().max(1));
        for step in 1..message.len() {
            assert_eq!(by(message, lines, step), whole, "in steps of {step}");
        }
        whole
    }

    fn by(message: &[u8], lines: Option<u32>, step: usize) -> String {
        let mut stuffer = Stuffer::new(lines);
        let mut out = Vec::new();
        for slice in message.chunks(step) {
            if !stuffer.push(slice, &mut out) {
                break;
            }
        }
        stuffer.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dots_are_doubled_and_lines_end_with_crlf() {
        for (message, expected) in [
            (
                &b"a: b\r\n\r\n.\r\n..\r\nc.\r\n"[..],
                "a: b\r\n\r\n..\r\n...\r\nc.\r\n.\r\n",
            ),
            (b"", ".\r\n"),
            (b".", "..\r\n.\r\n"),
            (b"a", "a\r\n.\r\n"),
            (b"a\r", "a\r\n.\r\n"),
            (b"a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\r\n.b", "a\r\r\n..b\r\n.\r\n"),
            (b"\n\n", "\r\n\r\n.\r\n"),
            (b"a\rb\r\n", "a\rb\r\n.\r\n"),
            (b".\n.\n.a", "..\r\n..\r\n..a\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(message, None), expected);
        }
    }

    #[test]
    fn top_ends_after_its_lines() {
        let message = b"a: b\r\n c\r\n\r\n.one\r\n\r\ntwo\r\nthree";
        for (lines, expected) in [
            (0, "a: b\r\n c\r\n\r\n.\r\n"),
            (1, "a: b\r\n c\r\n\r\n..one\r\n.\r\n"),
            (2, "a: b\r\n c\r\n\r\n..one\r\n\r\n.\r\n"),
            (9, "a: b\r\n c\r\n\r\n..one\r\n\r\ntwo\r\nthree\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(message, Some(lines)), expected, "{lines}");
        }
        assert_eq!(stuffed(b"\r\nbody\r\n", Some(0)), "\r\n.\r\n");
        assert_eq!(stuffed(b"a: b\n\nbody\n", Some(0)), "a: b\r\n\r\n.\r\n");
        assert_eq!(stuffed(b"a: b\r\n", Some(0)), "a: b\r\n.\r\n");
        assert_eq!(stuffed(b"a\r\n\r\r\nb", Some(0)), "a\r\n\r\r\nb\r\n.\r\n");
    }
}
