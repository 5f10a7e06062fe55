//! Undoing transfer encodings (RFC 2045, 6.7 and 6.8), in slices of any size.

use super::structure::Encoding;

/// Longest run of blanks held until a quoted-printable line shows whether it ends there.
const MAX_BLANKS: usize = 4096;

/// Base64 that is none: BINARY can't be answered (RFC 3516, 4.3); SEARCH takes what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Decodes one body part. What is not encoded passes through, and so does what
/// [`Encoding::Unknown`] names.
pub struct Decoder(Inner);

enum Inner {
    Identity,
    Base64(Base64),
    QuotedPrintable(QuotedPrintable),
}

impl Decoder {
    pub fn new(encoding: Encoding) -> Decoder {
        Decoder(match encoding {
            Encoding::Identity | Encoding::Unknown => Inner::Identity,
            Encoding::Base64 => Inner::Base64(Base64::default()),
            Encoding::QuotedPrintable => Inner::QuotedPrintable(QuotedPrintable::default()),
        })
    }

    /// Appends what `bytes` decode to, never more bytes than have come in.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Inner::Identity => out.extend_from_slice(bytes),
            Inner::Base64(base64) => base64.push(bytes, out),
            Inner::QuotedPrintable(quoted) => quoted.push(bytes, out),
        }
    }

    /// Appends what was held back at the end of the part.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self.0 {
            Inner::Identity => Ok(()),
            Inner::Base64(base64) => base64.finish(out),
            Inner::QuotedPrintable(quoted) => {
                quoted.finish(out);
                Ok(())
            }
        }
    }
}

const BLANK: u8 = 0x40;
const PADDING: u8 = 0x41;
const STRANGE: u8 = 0x42;

/// The six bits of each base64 character, or one of the marks above.
const BASE64: [u8; 256] = {
    let mut table = [STRANGE; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut n = 0;
    while n < alphabet.len() {
        table[alphabet[n] as usize] = n as u8;
        n += 1;
    }
    table[b' ' as usize] = BLANK;
    table[b'\t' as usize] = BLANK;
    table[b'\r' as usize] = BLANK;
    table[b'\n' as usize] = BLANK;
    table[b'=' as usize] = PADDING;
    table
};

fn bits(byte: u8) -> u8 {
    BASE64[usize::from(byte)]
}

/// Line ends and blanks are skipped. Strange characters, missing bits and data behind the
/// padding make it malformed, and are skipped too; missing padding does not.
#[derive(Default)]
struct Base64 {
    /// Up to three characters' bits.
    held: u32,
    count: u8,
    padded: bool,
    malformed: bool,
}

impl Base64 {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((&first, after)) = rest.split_first() {
            if self.count == 0 && !self.padded {
                rest = whole_quads(rest, out);
                if let Some((&byte, after)) = rest.split_first() {
                    self.take(byte, out);
                    rest = after;
                }
            } else {
                self.take(first, out);
                rest = after;
            }
        }
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match bits(byte) {
            BLANK => {}
            PADDING => self.pad(out),
            STRANGE => self.malformed = true,
            six => {
                if self.padded {
                    self.padded = false;
                    self.malformed = true;
                }
                self.held = self.held << 6 | u32::from(six);
                self.count += 1;
                if self.count == 4 {
                    out.extend_from_slice(&self.held.to_be_bytes()[1..]);
                    (self.held, self.count) = (0, 0);
                }
            }
        }
    }

    fn pad(&mut self, out: &mut Vec<u8>) {
        self.malformed |= self.count == 1 || (self.count == 0 && !self.padded);
        self.flush(out);
        self.padded = true;
    }

    /// Two characters are one byte, three are two.
    fn flush(&mut self, out: &mut Vec<u8>) {
        let bytes = (self.held << (6 * (4 - u32::from(self.count)))).to_be_bytes();
        let length = usize::from(self.count.saturating_sub(1));
        out.extend_from_slice(&bytes[1..1 + length]);
        (self.held, self.count) = (0, 0);
    }

    fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.malformed |= self.count == 1;
        self.flush(out);
        if self.malformed {
            Err(Malformed)
        } else {
            Ok(())
        }
    }
}

/// The fast way through plain runs of four characters; gives back what comes after.
fn whole_quads<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let mut rest = bytes;
    out.reserve(bytes.len() / 4 * 3);
    while let [a, b, c, d, after @ ..] = rest {
        let [a, b, c, d] = [bits(*a), bits(*b), bits(*c), bits(*d)];
        if (a | b | c | d) >= BLANK {
            break;
        }
        out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
        rest = after;
    }
    rest
}

/// Broken escapes stay as they are; blanks before a line end go (RFC 2045, 6.7, rule 3).
#[derive(Default)]
struct QuotedPrintable {
    escape: Escape,
    /// Blanks that stay unless the line ends.
    blanks: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
enum Escape {
    #[default]
    None,
    /// After `=`.
    Begun,
    /// After `=` and one hexadecimal digit.
    Half(u8),
    /// After `=` and blanks: a soft line break, once the line ends.
    Soft,
    /// After `=` and CR.
    SoftCr,
}

impl QuotedPrintable {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Escape::None = self.escape {
                rest = self.plain(rest, out);
            }
            if let Some((&byte, after)) = rest.split_first() {
                self.take(byte, out);
                rest = after;
            }
        }
    }

    /// Passes a run with nothing special in it.
    fn plain<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let special = |b: &u8| matches!(b, b'=' | b' ' | b'\t' | b'\r' | b'\n');
        let length = bytes.iter().position(special).unwrap_or(bytes.len());
        let (run, rest) = bytes.split_at(length);
        if !run.is_empty() {
            out.append(&mut self.blanks);
            out.extend_from_slice(run);
        }
        rest
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.escape, byte) {
            (Escape::None, b'=') => {
                out.append(&mut self.blanks);
                self.escape = Escape::Begun;
            }
            (Escape::None, b' ' | b'\t') => {
                if self.blanks.len() >= MAX_BLANKS {
                    out.append(&mut self.blanks);
                }
                self.blanks.push(byte);
            }
            (Escape::None, b'\r' | b'\n') => {
                self.blanks.clear();
                out.push(byte);
            }
            (Escape::None, _) => {
                out.append(&mut self.blanks);
                out.push(byte);
            }
            (Escape::Begun | Escape::Soft | Escape::SoftCr, b'\n') => self.escape = Escape::None,
            (Escape::Begun | Escape::Soft, b'\r') => self.escape = Escape::SoftCr,
            (Escape::Begun | Escape::Soft, b' ' | b'\t') => self.escape = Escape::Soft,
            (Escape::Begun, _) if byte.is_ascii_hexdigit() => self.escape = Escape::Half(byte),
            (Escape::Half(first), _) if byte.is_ascii_hexdigit() => {
                out.push(hex(first) << 4 | hex(byte));
                self.escape = Escape::None;
            }
            _ => {
                self.give_up(out);
                self.take(byte, out);
            }
        }
    }

    /// What looked like an escape is text. Blanks behind a `=` are not given back: they are
    /// few bytes of broken text, or many that nobody should hold.
    fn give_up(&mut self, out: &mut Vec<u8>) {
        match self.escape {
            Escape::None => {}
            Escape::Begun | Escape::Soft | Escape::SoftCr => out.push(b'='),
            Escape::Half(first) => out.extend_from_slice(&[b'=', first]),
        }
        self.escape = Escape::None;
    }

    /// A `=` that ends the part is a soft line break.
    fn finish(mut self, out: &mut Vec<u8>) {
        if let Escape::Half(_) = self.escape {
            self.give_up(out);
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a') + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes whole and byte by byte: both must give the same.
    fn decoded(encoding: Encoding, text: &[u8]) -> (Vec<u8>, Result<(), Malformed>) {
        let (mut whole, mut split) = (Vec::new(), Vec::new());
        let mut decoder = Decoder::new(encoding);
        decoder.push(text, &mut whole);
        let end = decoder.finish(&mut whole);
        let mut decoder = Decoder::new(encoding);
        for byte in text {
            decoder.push(&[*byte], &mut split);
        }
        assert_eq!(decoder.finish(&mut split), end);
        assert_eq!(whole, split);
        (whole, end)
    }

    fn base64(text: &str) -> (String, bool) {
        let (bytes, end) = decoded(Encoding::Base64, text.as_bytes());
        (String::from_utf8_lossy(&bytes).into_owned(), end.is_ok())
    }

    fn quoted(text: &str) -> String {
        let (bytes, _) = decoded(Encoding::QuotedPrintable, text.as_bytes());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// RFC 4648, 10.
    #[test]
    fn base64_of_the_rfc() {
        for (text, plain) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(base64(text), (plain.into(), true));
        }
    }

    #[test]
    fn base64_as_mail_has_it() {
        assert_eq!(base64("Zm9v\r\nYm\r\n Fy\r\n"), ("foobar".into(), true));
        assert_eq!(base64("Zg"), ("f".into(), true));
        assert_eq!(base64("Zm9v-Ym!Fy"), ("foobar".into(), false));
        assert_eq!(base64("Zg==Zg=="), ("ff".into(), false));
        assert_eq!(base64("Zm9vY"), ("foo".into(), false));
        assert_eq!(base64("="), ("".into(), false));
    }

    #[test]
    fn quoted_printable() {
        assert_eq!(quoted("a=3Db=C3=a9\r\n"), "a=bé\r\n");
        assert_eq!(
            quoted("one=\r\ntwo= \t\r\nthree=\nfour="),
            "onetwothreefour"
        );
        assert_eq!(quoted("a  b \t\r\nc  "), "a  b\r\nc");
        assert_eq!(quoted("a=zz=4 =x"), "a=zz=4 =x");
        assert_eq!(quoted("=4"), "=4");
    }

    #[test]
    fn blanks_are_bounded() {
        let text = format!("{}x", " ".repeat(3 * MAX_BLANKS));
        assert_eq!(quoted(&text), text);
    }
}
