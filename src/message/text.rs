//! Searching text: case folding, needles, and the text of parts and headers.

use super::charset::TextDecoder;
use super::decode::Decoder;
use super::encoded_word::decode_value_into;
use super::header::fields;
use super::structure::{Encoding, Kind, Part};
use memchr::memmem::Finder;
use unicode_normalization::char::decompose_compatible;

/// Folds case as i;unicode-casemap does (RFC 5051): each character to upper case, then
/// decomposed. `É`, `é` and `e` with a combining accent are one, and begin with `E`.
pub fn fold(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    // Runs of ASCII, which nearly all text is, go the fast way.
    while !rest.is_empty() {
        let ascii = rest.iter().take_while(|b| b.is_ascii()).count();
        let start = out.len();
        out.extend_from_slice(&rest[..ascii]);
        out[start..].make_ascii_uppercase();
        rest = &rest[ascii..];
        let wide = rest.iter().take_while(|b| !b.is_ascii()).count();
        let (run, after) = rest.split_at(wide);
        for char in std::str::from_utf8(run).unwrap_or_default().chars() {
            fold_char(char, out);
        }
        rest = after;
    }
}

fn fold_char(char: char, out: &mut Vec<u8>) {
    let mut upper = char.to_uppercase();
    let upper = match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => char,
    };
    decompose_compatible(upper, |char| {
        let mut buffer = [0; 4];
        out.extend_from_slice(char.encode_utf8(&mut buffer).as_bytes());
    });
}

/// What is searched for.
pub struct Needle {
    finder: Finder<'static>,
}

impl Needle {
    pub fn new(text: &str) -> Needle {
        let mut folded = Vec::with_capacity(text.len());
        fold(text, &mut folded);
        Needle {
            finder: Finder::new(&folded).into_owned(),
        }
    }

    fn len(&self) -> usize {
        self.finder.needle().len()
    }

    /// Whether the text has it; an empty needle is everywhere.
    pub fn is_in(&self, text: &str) -> bool {
        let mut folded = Vec::with_capacity(text.len());
        fold(text, &mut folded);
        self.is_in_folded(&folded)
    }

    /// As `is_in`, of text that is ASCII alone.
    pub fn is_in_ascii(&self, text: &[u8]) -> bool {
        let mut short = [0; 256];
        match short.get_mut(..text.len()) {
            Some(folded) => {
                folded.copy_from_slice(text);
                folded.make_ascii_uppercase();
                self.is_in_folded(folded)
            }
            None => self.is_in_folded(&text.to_ascii_uppercase()),
        }
    }

    /// As `is_in`, of text that went through [`fold`].
    pub fn is_in_folded(&self, folded: &[u8]) -> bool {
        self.finder.find(folded).is_some()
    }

    /// Begins a search through text that comes in slices.
    pub fn search(&self) -> Search<'_> {
        Search {
            needle: self,
            window: Vec::new(),
            found: self.len() == 0,
        }
    }
}

/// A needle on its way through a text; it may lie across slices.
pub struct Search<'n> {
    needle: &'n Needle,
    /// The end of what has gone by, one byte less than the needle.
    window: Vec<u8>,
    found: bool,
}

impl Search<'_> {
    /// Takes the next slice, folded ([`fold`] it once for all needles); whether it was found
    /// by now.
    pub fn push(&mut self, folded: &[u8]) -> bool {
        if self.found {
            return true;
        }
        let keep = self.needle.len().saturating_sub(1);
        let seam = folded.len().min(keep);
        self.window.extend_from_slice(&folded[..seam]);
        self.found = self.needle.is_in_folded(&self.window) || self.needle.is_in_folded(folded);
        if seam < folded.len() {
            self.window.clear();
            self.window
                .extend_from_slice(&folded[folded.len() - keep..]);
        } else {
            let surplus = self.window.len().saturating_sub(keep);
            self.window.drain(..surplus);
        }
        self.found
    }

    pub fn found(&self) -> bool {
        self.found
    }

    /// Begins anew, with another part's text: no match spans two parts.
    pub fn restart(&mut self) {
        self.window.clear();
    }
}

/// A part's body as folded text, in slices of any size.
pub struct PartText {
    transfer: Option<Decoder>,
    charset: TextDecoder,
    bytes: Vec<u8>,
    text: String,
    folded: Vec<u8>,
}

impl PartText {
    /// `None` for a part that SEARCH doesn't look into: not text, or in an unknown encoding.
    pub fn new(part: &Part) -> Option<PartText> {
        if part.kind != Kind::Text || part.encoding == Encoding::Unknown {
            return None;
        }
        Some(PartText {
            transfer: Some(Decoder::new(part.encoding)),
            charset: TextDecoder::new(&part.charset),
            bytes: Vec::new(),
            text: String::new(),
            folded: Vec::new(),
        })
    }

    /// The folded text that the next stored bytes give.
    pub fn push(&mut self, stored: &[u8]) -> &[u8] {
        self.bytes.clear();
        if let Some(transfer) = &mut self.transfer {
            transfer.push(stored, &mut self.bytes);
        }
        self.fold(false)
    }

    /// The folded text that was held back at the end of the part.
    pub fn finish(&mut self) -> &[u8] {
        self.bytes.clear();
        if let Some(transfer) = self.transfer.take() {
            // Broken base64 is searched as far as it goes.
            let _ = transfer.finish(&mut self.bytes);
            return self.fold(true);
        }
        &[]
    }

    fn fold(&mut self, last: bool) -> &[u8] {
        self.text.clear();
        self.folded.clear();
        self.charset.push(&self.bytes, last, &mut self.text);
        fold(&self.text, &mut self.folded);
        &self.folded
    }
}

/// Whether a field called `name` has the needle in its decoded, unfolded value; an empty
/// needle asks for the field alone (RFC 3501, 6.4.4).
pub fn header_contains(header: &[u8], name: &str, needle: &Needle) -> bool {
    let mut text = String::new();
    fields(header)
        .filter(|field| field.is(name.as_bytes()))
        .any(|field| {
            text.clear();
            decode_value_into(field.value(), &mut text);
            needle.is_in(&text)
        })
}

/// A whole header as SEARCH TEXT sees it: `Name: value`, decoded and unfolded, line by line.
pub fn header_text(header: &[u8]) -> String {
    let mut text = String::with_capacity(header.len());
    for field in fields(header) {
        text.push_str(&String::from_utf8_lossy(field.name));
        if !field.name.is_empty() {
            text.push_str(": ");
        }
        decode_value_into(field.value(), &mut text);
        text.push_str("\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, needle: &str) -> bool {
        Needle::new(needle).is_in(text)
    }

    #[test]
    fn case_and_accents_fold() {
        assert!(has("The Quick Brown", "quick b"));
        assert!(has("CAFÉ", "café"));
        assert!(has("cafe\u{301}", "CAFÉ"));
        assert!(has("café", "cafe"));
        assert!(!has("cafe", "café"));
        assert!(has("ПРИВЕТ", "привет"));
        assert!(has("ＡＢＣ", "abc"));
        assert!(has("anything", ""));
        assert!(!has("short", "much longer"));
    }

    #[test]
    fn needles_span_slices() {
        let text = "xx aab needle in hay Käse".repeat(3);
        let mut folded = Vec::new();
        fold(&text, &mut folded);
        for needle in ["aab n", "KÄSE", "needle in hay", "x", &text] {
            let needle = Needle::new(needle);
            for size in [1, 2, 3, 7, 1000] {
                let mut search = needle.search();
                let found = folded.chunks(size).any(|slice| search.push(slice));
                assert!(found && search.found(), "{size}");
            }
        }
        let absent = Needle::new("käse käse");
        let mut search = absent.search();
        assert!(!folded.chunks(2).any(|slice| search.push(slice)));
    }

    #[test]
    fn no_match_spans_parts() {
        let needle = Needle::new("ab");
        let mut search = needle.search();
        search.push(b"A");
        search.restart();
        assert!(!search.push(b"B"));
    }

    #[test]
    fn parts_are_decoded() {
        let part = |encoding, charset: &str| Part {
            kind: Kind::Text,
            encoding,
            charset: charset.into(),
            header: 0..0,
            body: 0..0,
            children: Vec::new(),
        };
        let all = |part: &Part, stored: &[u8]| {
            let mut text = Vec::new();
            let mut decoder = PartText::new(part).map(|mut decoder| {
                for byte in stored {
                    text.extend_from_slice(decoder.push(&[*byte]));
                }
                decoder
            });
            if let Some(decoder) = &mut decoder {
                text.extend_from_slice(decoder.finish());
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        let latin = part(Encoding::QuotedPrintable, "iso-8859-1");
        assert_eq!(all(&latin, b"k=E4=\r\nse"), "KA\u{308}SE");
        assert_eq!(all(&part(Encoding::Base64, "utf-8"), b"w6Q="), "A\u{308}");
        assert!(PartText::new(&part(Encoding::Unknown, "")).is_none());
    }

    #[test]
    fn headers() {
        let header =
            b"Subject: =?utf-8?q?K=C3=A4se?=\r\n und Brot\r\nFrom: Ann <a@b>\r\nX-Empty:\r\n\r\n";
        assert!(header_contains(header, "SUBJECT", &Needle::new("käse und")));
        assert!(header_contains(header, "from", &Needle::new("ann <A@")));
        assert!(!header_contains(header, "to", &Needle::new("")));
        assert!(header_contains(header, "x-empty", &Needle::new("")));
        assert_eq!(
            header_text(header),
            "Subject: Käse und Brot\r\nFrom: Ann <a@b>\r\nX-Empty: \r\n"
        );
    }
}
