//! Charsets to UTF-8, in slices of any size.

use encoding_rs::{CoderResult, Encoding, REPLACEMENT, UTF_8, UTF_16LE};

/// Turns one body's bytes to text. Never fails: what can't be read is U+FFFD.
pub struct TextDecoder(Inner);

enum Inner {
    Table(encoding_rs::Decoder),
    Utf7(Utf7),
}

impl TextDecoder {
    /// `charset` as mail names it. What is unknown is read as UTF-8, and so is us-ascii:
    /// 8-bit text that says so mostly is UTF-8.
    pub fn new(charset: &str) -> TextDecoder {
        let charset = charset.trim();
        if is_utf7(charset) {
            return TextDecoder(Inner::Utf7(Utf7::default()));
        }
        let encoding = lookup(charset).unwrap_or(UTF_8);
        TextDecoder(Inner::Table(if charset.eq_ignore_ascii_case("utf-16") {
            UTF_16LE.new_decoder()
        } else {
            encoding.new_decoder_with_bom_removal()
        }))
    }

    /// Whether `charset` is one that is really known: SEARCH answers BADCHARSET else.
    pub fn knows(charset: &str) -> bool {
        let charset = charset.trim();
        is_utf7(charset) || is_ascii_name(charset) || lookup(charset).is_some()
    }

    /// Appends what `bytes` are; `last` ends the text.
    pub fn push(&mut self, bytes: &[u8], last: bool, out: &mut String) {
        match &mut self.0 {
            Inner::Table(decoder) => convert(decoder, bytes, last, out),
            Inner::Utf7(decoder) => decoder.push(bytes, last, out),
        }
    }
}

/// The whole of `bytes` as text.
pub fn to_text(bytes: &[u8], charset: &str) -> String {
    let mut out = String::new();
    TextDecoder::new(charset).push(bytes, true, &mut out);
    out
}

fn is_utf7(charset: &str) -> bool {
    charset.eq_ignore_ascii_case("utf-7") || charset.eq_ignore_ascii_case("unicode-1-1-utf-7")
}

fn is_ascii_name(charset: &str) -> bool {
    ["us-ascii", "ascii", "ansi_x3.4-1968"]
        .iter()
        .any(|name| charset.eq_ignore_ascii_case(name))
}

fn lookup(charset: &str) -> Option<&'static Encoding> {
    if is_ascii_name(charset) {
        return None;
    }
    Encoding::for_label(charset.as_bytes()).filter(|&encoding| encoding != REPLACEMENT)
}

fn convert(decoder: &mut encoding_rs::Decoder, bytes: &[u8], last: bool, out: &mut String) {
    let mut rest = bytes;
    loop {
        // Most text needs a byte a byte; where that is too little the loop asks again.
        out.reserve(rest.len().max(16));
        let (result, read, _) = decoder.decode_to_string(rest, out, last);
        rest = &rest[read..];
        if result == CoderResult::InputEmpty {
            return;
        }
        let most = decoder.max_utf8_buffer_length(rest.len());
        out.reserve(most.unwrap_or(rest.len()).max(16));
    }
}

/// RFC 2152.
#[derive(Default)]
struct Utf7 {
    /// Between `+` and the end of its run.
    shifted: bool,
    /// Right behind the `+`.
    fresh: bool,
    bits: u32,
    count: u32,
    /// A high surrogate that waits for the low one.
    high: Option<u16>,
}

impl Utf7 {
    fn push(&mut self, bytes: &[u8], last: bool, out: &mut String) {
        for &byte in bytes {
            match self.shifted {
                true => self.shifted(byte, out),
                false => self.direct(byte, out),
            }
        }
        if last {
            self.end_run(out);
        }
    }

    fn direct(&mut self, byte: u8, out: &mut String) {
        match byte {
            b'+' => {
                self.shifted = true;
                self.fresh = true;
            }
            0x80.. => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(char::from(byte)),
        }
    }

    fn shifted(&mut self, byte: u8, out: &mut String) {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'-' => {
                if self.fresh {
                    out.push('+');
                }
                return self.end_run(out);
            }
            _ => {
                self.end_run(out);
                return self.direct(byte, out);
            }
        };
        self.fresh = false;
        self.bits = self.bits << 6 | u32::from(six);
        self.count += 6;
        if self.count >= 16 {
            self.count -= 16;
            self.unit((self.bits >> self.count) as u16, out);
            self.bits &= (1 << self.count) - 1;
        }
    }

    fn unit(&mut self, unit: u16, out: &mut String) {
        let (high, is_high) = (self.high.take(), (0xD800..0xDC00).contains(&unit));
        let units = match high {
            None if is_high => {
                self.high = Some(unit);
                return;
            }
            None => vec![unit],
            Some(high) => vec![high, unit],
        };
        let chars = char::decode_utf16(units);
        out.extend(chars.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    }

    fn end_run(&mut self, out: &mut String) {
        if self.high.is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        *self = Utf7::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(charset: &str, bytes: &[u8]) -> String {
        let whole = to_text(bytes, charset);
        let (mut decoder, mut split) = (TextDecoder::new(charset), String::new());
        for byte in bytes {
            decoder.push(&[*byte], false, &mut split);
        }
        decoder.push(&[], true, &mut split);
        assert_eq!(whole, split);
        whole
    }

    #[test]
    fn charsets_of_mail() {
        assert_eq!(text("ISO-8859-1", b"caf\xe9"), "café");
        assert_eq!(text("utf-8", "naïve €".as_bytes()), "naïve €");
        assert_eq!(text("us-ascii", "é".as_bytes()), "é");
        assert_eq!(text("", b"a\xffb"), "a\u{fffd}b");
        assert_eq!(text("x-no-such", b"abc"), "abc");
        assert_eq!(text("iso-2022-jp", b"\x1b$B$\"\x1b(B"), "あ");
        assert_eq!(text("koi8-r", b"\xf0\xf2\xe9"), "ПРИ");
        assert_eq!(text("gb2312", b"\xd6\xd0"), "中");
        assert_eq!(text("utf-16", b"\xfe\xff\0a\0b"), "ab");
    }

    /// RFC 2152, examples; the last two are broken.
    #[test]
    fn utf_7() {
        assert_eq!(text("UTF-7", b"A+ImIDkQ."), "A≢Α.");
        assert_eq!(text("utf-7", b"Hi Mom -+Jjo--!"), "Hi Mom -☺-!");
        assert_eq!(text("utf-7", b"+ZeVnLIqe-"), "日本語");
        assert_eq!(text("utf-7", b"1 +- 1"), "1 + 1");
        assert_eq!(text("utf-7", b"+2D3cAA-"), "🐀");
        assert_eq!(text("utf-7", b"+2D0-x"), "\u{fffd}x");
        assert_eq!(text("utf-7", b"\xe9"), "\u{fffd}");
    }

    #[test]
    fn what_is_known() {
        assert!(TextDecoder::knows("US-ASCII"));
        assert!(TextDecoder::knows("utf-7"));
        assert!(TextDecoder::knows("iso-8859-15"));
        assert!(!TextDecoder::knows("x-no-such"));
        assert!(!TextDecoder::knows("iso-2022-kr"));
    }
}
