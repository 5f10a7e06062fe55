//! Encoded words in headers (RFC 2047, RFC 2231, 5).

use super::charset::TextDecoder;
use super::decode::Decoder;
use super::structure::Encoding;
use memchr::memmem;

/// A header value as text: folds undone, encoded words decoded, what is not encoded read
/// as UTF-8. Broken words stay as they are. White space between two words goes, and a
/// character split over two words of one charset is whole again.
pub fn decode_value(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    decode_value_into(value, &mut out);
    out
}

/// As [`decode_value`], appended to `out`.
pub fn decode_value_into(value: &[u8], out: &mut String) {
    let mut rest = value;
    let mut run: Option<Run> = None;
    while let Some((before, word, after)) = next_word(rest) {
        match run.take() {
            Some(mut open)
                if is_blank(before) && open.charset.eq_ignore_ascii_case(word.charset) =>
            {
                open.push(&word, out);
                run = Some(open);
            }
            Some(open) => {
                open.end(out);
                if !is_blank(before) {
                    push_raw(before, out);
                }
            }
            None => push_raw(before, out),
        }
        if run.is_none() {
            let mut open = Run::new(word.charset);
            open.push(&word, out);
            run = Some(open);
        }
        rest = after;
    }
    if let Some(open) = run {
        open.end(out);
    }
    push_raw(rest, out);
}

/// Words of one charset in a row.
struct Run<'a> {
    charset: &'a [u8],
    decoder: TextDecoder,
    bytes: Vec<u8>,
}

impl<'a> Run<'a> {
    fn new(charset: &'a [u8]) -> Run<'a> {
        Run {
            charset,
            decoder: TextDecoder::new(&String::from_utf8_lossy(charset)),
            bytes: Vec::new(),
        }
    }

    fn push(&mut self, word: &Word, out: &mut String) {
        self.bytes.clear();
        word.decode(&mut self.bytes);
        self.decoder.push(&self.bytes, false, out);
    }

    fn end(mut self, out: &mut String) {
        self.decoder.push(&[], true, out);
    }
}

/// `=?charset[*language]?encoding?text?=`
struct Word<'a> {
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
}

impl Word<'_> {
    fn decode(&self, out: &mut Vec<u8>) {
        if self.base64 {
            let mut decoder = Decoder::new(Encoding::Base64);
            decoder.push(self.text, out);
            let _ = decoder.finish(out);
            return;
        }
        let mut rest = self.text;
        while let [first, after @ ..] = rest {
            rest = after;
            match (first, after) {
                (b'_', _) => out.push(b' '),
                (b'=', [a, b, after @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
                    out.push(value(*a) << 4 | value(*b));
                    rest = after;
                }
                _ => out.push(*first),
            }
        }
    }
}

/// The first encoded word, with what stands before and after it.
fn next_word(bytes: &[u8]) -> Option<(&[u8], Word<'_>, &[u8])> {
    memmem::find_iter(bytes, b"=?").find_map(|start| {
        let (word, after) = read_word(bytes.get(start + 2..)?)?;
        Some((&bytes[..start], word, after))
    })
}

/// What follows `=?`. Words longer than the 75 bytes of RFC 2047, 2 are read too, and so
/// are spaces in the text, as careless senders write them; line ends are not.
fn read_word(bytes: &[u8]) -> Option<(Word<'_>, &[u8])> {
    let charset_end = bytes
        .iter()
        .take(64)
        .position(|b| *b == b'?' || b.is_ascii_whitespace())?;
    let (charset, rest) = bytes.split_at(charset_end);
    let charset = charset.split(|b| *b == b'*').next().unwrap_or(charset);
    let (base64, rest) = match rest {
        [b'?', b'B' | b'b', b'?', rest @ ..] => (true, rest),
        [b'?', b'Q' | b'q', b'?', rest @ ..] => (false, rest),
        _ => return None,
    };
    let text_end = rest
        .iter()
        .position(|b| matches!(b, b'?' | b'\r' | b'\n'))?;
    let (text, rest) = rest.split_at(text_end);
    let after = rest.strip_prefix(b"?=")?;
    (!charset.is_empty()).then_some((
        Word {
            charset,
            base64,
            text,
        },
        after,
    ))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

/// Text that is not encoded: line ends go, a tab that folds is a space.
fn push_raw(bytes: &[u8], out: &mut String) {
    let mut folded = false;
    for chunk in bytes.split_inclusive(|b| *b == b'\n') {
        let line = chunk.strip_suffix(b"\n").unwrap_or(chunk);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.split_first() {
            Some((b'\t', rest)) if folded => {
                out.push(' ');
                out.push_str(&String::from_utf8_lossy(rest));
            }
            _ => out.push_str(&String::from_utf8_lossy(line)),
        }
        folded = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> String {
        decode_value(value.as_bytes())
    }

    /// RFC 2047, 8.
    #[test]
    fn examples_of_the_rfc() {
        assert_eq!(text("=?ISO-8859-1?Q?a?="), "a");
        assert_eq!(text("=?ISO-8859-1?Q?a?= b"), "a b");
        assert_eq!(text("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?="), "ab");
        assert_eq!(text("=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?="), "ab");
        assert_eq!(text("=?ISO-8859-1?Q?a_b?="), "a b");
        assert_eq!(text("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?="), "a b");
        assert_eq!(
            text("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>"),
            "Keld Jørn Simonsen <keld@dkuug.dk>"
        );
        assert_eq!(
            text(
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?="
            ),
            "If you can read this you understand the example."
        );
    }

    #[test]
    fn split_characters_and_languages() {
        assert_eq!(text("=?utf-8?q?=C3?= =?UTF-8?B?qQ==?="), "é");
        assert_eq!(text("=?US-ASCII*EN?Q?Keith_Moore?="), "Keith Moore");
    }

    #[test]
    fn broken_ones_stay() {
        for raw in [
            "=?utf-8?x?a?=",
            "=?utf-8?q?open",
            "=??q?a?=",
            "=?utf-8 ?q?a?=",
            "a =? b ?= c",
            "=?",
            "=?utf-8?q?a?b?=",
        ] {
            assert_eq!(text(raw), raw);
        }
        assert_eq!(text("=?a =?utf-8?q?b?="), "=?a b");
    }

    #[test]
    fn plain_text_unfolds() {
        assert_eq!(text("one\r\n two\r\n\tthree\n four"), "one two three four");
        assert_eq!(text("grüß"), "grüß");
        assert_eq!(decode_value(b"a\xe9"), "a\u{fffd}");
    }
}
