//! A server's replies (RFC 5321, 4.2): lines of one code, joined by hyphens.

use crate::mail::outgoing::{MAX_REPLY, Reply};
use crate::wire::{Input, Line};

/// Longest line that is read, bytes: four times what RFC 5321, 4.5.3.1.5 allows.
pub const MAX_LINE: usize = 2048;
/// Most lines of one reply.
pub const MAX_LINES: usize = 128;

/// A whole reply. `lines` are without code and hyphen; any byte that is no printable text is `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub code: u16,
    pub lines: Vec<String>,
}

/// What came is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// Reads replies, line by line.
#[derive(Debug, Default)]
pub struct Reader {
    so_far: Said,
}

impl Reader {
    /// The next whole reply; `None` until its last line is there.
    pub fn next(&mut self, input: &mut Input) -> Result<Option<Said>, Garbage> {
        loop {
            let (length, end) = match input.line(MAX_LINE, true) {
                Line::Complete { length, end } => (length, end),
                Line::Partial => return Ok(None),
                Line::TooLong => return Err(Garbage),
            };
            let line = input.bytes().get(..length).ok_or(Garbage)?;
            let (code, more, text) = read_line(line).ok_or(Garbage)?;
            input.consume(end);
            let joined = !self.so_far.lines.is_empty();
            if (joined && code != self.so_far.code) || self.so_far.lines.len() >= MAX_LINES {
                return Err(Garbage);
            }
            self.so_far.code = code;
            self.so_far.lines.push(text);
            if !more {
                return Ok(Some(std::mem::take(&mut self.so_far)));
            }
        }
    }
}

/// `Reply-code [ SP / "-" textstring ]`: the code, whether more follows, the text.
fn read_line(line: &[u8]) -> Option<(u16, bool, String)> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (more, text) = match rest {
        [] => (false, rest),
        [b' ', text @ ..] => (false, text),
        [b'-', text @ ..] => (true, text),
        _ => return None,
    };
    let printable = |c: char| match c.is_control() {
        true => '?',
        false => c,
    };
    let text = String::from_utf8_lossy(text)
        .chars()
        .map(printable)
        .collect();
    (200..600).contains(&code).then_some((code, more, text))
}

impl Said {
    pub fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// As the queue keeps it: the lines as one, the status code (RFC 2034) by itself.
    pub fn reply(&self, server: &str) -> Reply {
        let mut enhanced = None;
        let mut text = String::new();
        for line in &self.lines {
            let (status, rest) = split_status(line, self.code);
            enhanced = enhanced.or(status);
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(rest);
        }
        truncate(&mut text, MAX_REPLY);
        Reply {
            code: self.code,
            enhanced: enhanced.map_or_else(|| made_up(self.code), str::to_owned),
            text,
            server: Some(server.to_owned()),
        }
    }
}

/// `class "." subject "." detail` in front of a line, of the class of its code.
fn split_status(line: &str, code: u16) -> (Option<&str>, &str) {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut parts = first.split('.');
    let class = parts.next().unwrap_or_default();
    let number = |part: Option<&str>| {
        part.is_some_and(|it| (1..=3).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_digit()))
    };
    let holds = class == (code / 100).to_string()
        && number(parts.next())
        && number(parts.next())
        && parts.next().is_none();
    match holds {
        true => (Some(first), rest),
        false => (None, line),
    }
}

fn made_up(code: u16) -> String {
    format!("{}.0.0", code / 100)
}

/// Cuts to `most` bytes, between characters.
pub fn truncate(text: &mut String, most: usize) {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Said>, Garbage> {
        let mut input = Input::new();
        input.push(bytes);
        Reader::default().next(&mut input)
    }

    #[test]
    fn replies_are_read_whatever_the_slices() {
        let text = b"250-first\r\n250-second\n250 third\r\n354\r\n";
        for size in 1..text.len() {
            let (mut input, mut reader, mut said) = (Input::new(), Reader::default(), Vec::new());
            for slice in text.chunks(size) {
                input.push(slice);
                while let Some(reply) = reader.next(&mut input).unwrap() {
                    said.push(reply);
                }
            }
            assert_eq!(said.len(), 2);
            assert_eq!(said[0].lines, ["first", "second", "third"]);
            assert_eq!((said[1].code, said[1].lines.len()), (354, 1));
        }
    }

    #[test]
    fn garbage_is_told_from_replies() {
        let long = [&b"250 "[..], &[b'x'; MAX_LINE], b"\r\n"].concat();
        let many = b"250-x\r\n".repeat(MAX_LINES + 1);
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"25 x\r\n",
            b"2500 x\r\n",
            b"150 x\r\n",
            b"600 x\r\n",
            b"\r\n",
            b"250-x\r\n251 y\r\n",
            &long,
            &many,
        ] {
            assert_eq!(read(bytes), Err(Garbage));
        }
        assert_eq!(read(b"250-x\r\n250"), Ok(None));
    }

    #[test]
    fn the_status_stands_by_itself() {
        let reply = |text: &[u8]| read(text).unwrap().unwrap().reply("mx.example");
        let it = reply(b"550-5.1.1 No such\r\n550 5.1.1 user \x07here\r\n");
        assert_eq!((it.code, it.enhanced.as_str()), (550, "5.1.1"));
        assert_eq!(it.text, "No such user ?here");
        assert_eq!(it.server.as_deref(), Some("mx.example"));
        for text in ["450 5.1.1 x", "450 4.1 x", "450 4.1111.1 x", "450 x", "450"] {
            let it = reply(format!("{text}\r\n").as_bytes());
            assert_eq!(it.enhanced, "4.0.0", "{text}");
        }
        let long = reply(&[&b"250 "[..], "ü".repeat(600).as_bytes(), b"\r\n"].concat());
        assert_eq!(long.text.len(), MAX_REPLY);
    }
}
