//! Replies (RFC 5321, 4.2) with enhanced status codes (RFC 2034, 3463). A refusal is a
//! reply: whether it is permanent is read from it.

use std::borrow::Cow;

/// Longest text of one reply line: 512 bytes less code, status and CRLF (RFC 5321, 4.5.3.1.5).
const MAX_TEXT: usize = 490;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// `5.7.1`; empty where there is none: greeting, EHLO, 334, 354 (RFC 2034, 3).
    pub enhanced: &'static str,
    pub text: Cow<'static, str>,
}

impl Reply {
    pub const fn new(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
        Reply {
            code,
            enhanced,
            text: Cow::Borrowed(text),
        }
    }

    pub fn with(code: u16, enhanced: &'static str, text: String) -> Reply {
        Reply {
            code,
            enhanced,
            text: Cow::Owned(text),
        }
    }

    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{} {}", self.code, self.enhanced).as_bytes());
        if !self.enhanced.is_empty() && !self.text.is_empty() {
            out.push(b' ');
        }
        // What a client sent may be in the text: it must neither end the line nor, since
        // a client may not know SMTPUTF8, leave ASCII.
        let printable = |c: char| {
            if matches!(c, ' '..='~') {
                c as u8
            } else {
                b'?'
            }
        };
        out.extend(self.text.chars().take(MAX_TEXT).map(printable));
        out.extend_from_slice(b"\r\n");
    }
}

/// A reply of several lines, all `250-` but the last.
pub fn write_lines(code: u16, lines: &[String], out: &mut Vec<u8>) {
    for (n, line) in lines.iter().enumerate() {
        let mark = if n + 1 == lines.len() { ' ' } else { '-' };
        out.extend_from_slice(format!("{code}{mark}{line}\r\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reply_stays_one_ascii_line_of_512_bytes() {
        assert_eq!(written(Reply::new(250, "2.0.0", "Ok")), "250 2.0.0 Ok\r\n");
        assert_eq!(written(Reply::new(334, "", "")), "334 \r\n");
        let evil = Reply::with(550, "5.1.1", "a\r\n250 Ok ü\0".into());
        assert_eq!(written(evil), "550 5.1.1 a??250 Ok ??\r\n");
        let long = written(Reply::with(550, "5.1.1", "x".repeat(600)));
        assert!(long.len() <= 512);
    }

    #[test]
    fn lines_are_joined_by_hyphens() {
        let mut out = Vec::new();
        write_lines(250, &["a".into(), "B".into()], &mut out);
        assert_eq!(out, b"250-a\r\n250 B\r\n");
    }
}
