//! The message's bytes on their way out: what they are made of, and DATA's dots.

pub use crate::message::survey::Survey;
use memchr::memchr2;

/// DATA's form of a message: dots doubled, every line with CRLF, a lone CR or LF made one. So
/// no text can end early that a careless server would read on as commands (RFC 5321, 4.5.2).
#[derive(Debug)]
pub struct Stuffer {
    line_start: bool,
    /// A CR came, its LF has not.
    cr: bool,
}

impl Default for Stuffer {
    fn default() -> Stuffer {
        Stuffer {
            line_start: true,
            cr: false,
        }
    }
}

impl Stuffer {
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if self.cr {
                self.cr = false;
                self.end_line(out);
                if first == b'\n' {
                    rest = rest.get(1..).unwrap_or_default();
                }
                continue;
            }
            if self.line_start && first == b'.' {
                out.push(b'.');
            }
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            out.extend_from_slice(rest.get(..end).unwrap_or_default());
            self.line_start &= end == 0;
            match rest.get(end) {
                Some(b'\r') => self.cr = true,
                Some(_) => self.end_line(out),
                None => {}
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    /// The last line's end if it lacks one, and the dot.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.cr || !self.line_start {
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.line_start = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuffed(text: &[u8], size: usize) -> Vec<u8> {
        let (mut stuffer, mut out) = (Stuffer::default(), Vec::new());
        text.chunks(size)
            .for_each(|slice| stuffer.push(slice, &mut out));
        stuffer.finish(&mut out);
        out
    }

    #[test]
    fn dots_are_doubled_and_lines_ended() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"", b".\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b".\r\n..\r\n.a\r\n", b"..\r\n...\r\n..a\r\n.\r\n"),
            (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r.\rb\r", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\r\n.\n\r.", b"a\r\n\r\n..\r\n\r\n..\r\n.\r\n"),
            (b"\r\n.", b"\r\n..\r\n.\r\n"),
            (b"a.\r\n", b"a.\r\n.\r\n"),
        ];
        for (text, wanted) in cases {
            for size in 1..=text.len().max(1) {
                let got = stuffed(text, size);
                assert_eq!(
                    got.escape_ascii().to_string(),
                    wanted.escape_ascii().to_string()
                );
            }
        }
    }

    /// Every text of five bytes from those that smuggle: the first CRLF.CRLF is ours, and no CR
    /// or LF stands alone.
    #[test]
    fn nothing_can_be_smuggled_out() {
        const LETTERS: &[u8] = b"\r\n.a";
        for n in 0..LETTERS.len().pow(6) {
            let text: Vec<u8> = (0..6)
                .map(|at| LETTERS[n / LETTERS.len().pow(at) % 4])
                .collect();
            for size in [1, 2, 6] {
                let sent = [b"\r\n".as_slice(), &stuffed(&text, size)].concat();
                let end = sent.windows(5).position(|it| it == b"\r\n.\r\n");
                assert_eq!(end, Some(sent.len() - 5), "{}", text.escape_ascii());
                let bare = String::from_utf8(sent).unwrap().replace("\r\n", "");
                assert!(!bare.contains(['\r', '\n']), "{}", text.escape_ascii());
            }
        }
    }
}
