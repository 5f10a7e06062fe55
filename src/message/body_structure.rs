//! BODYSTRUCTURE in wire form (RFC 3501, 7.4.2), in pieces that are put together once the
//! sizes are known.

use super::content::{Content, Parameters};
use super::quote::{nstring, string, unfolded};
use std::ops::Range;

/// A multipart without parts still has to show one (Dovecot's reading).
const NO_PARTS: &[u8] = b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0";
const NO_EXTENSIONS: &[u8] = b" NIL NIL NIL NIL";

/// How a part shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Leaf,
    /// Looked like a message or multipart but is not looked into: over a limit.
    Truncated,
    Multipart,
    Message,
}

/// What a part's own header settles, written while the header is at hand.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    /// `"type" "subtype" (parameters) id description "encoding"`, or a multipart's `"subtype"`.
    pub basic: Vec<u8>,
    /// The extension data, each item after a space.
    pub extension: Vec<u8>,
}

impl Pieces {
    pub fn len(&self) -> usize {
        self.basic.len() + self.extension.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Writes the pieces of a part.
pub fn pieces(content: &Content, shape: Shape) -> Pieces {
    let mut pieces = Pieces::default();
    if shape == Shape::Multipart {
        let subtype = content.media_type.as_ref().map(|(_, subtype)| subtype);
        string(subtype.map_or(b"mixed", Vec::as_slice), &mut pieces.basic);
        pieces.extension.push(b' ');
        write_parameters(&content.parameters, None, &mut pieces.extension);
    } else {
        write_basic(content, shape, &mut pieces.basic);
        pieces.extension.push(b' ');
        write_unfolded(&content.md5, &mut pieces.extension);
    }
    write_common(content, &mut pieces.extension);
    pieces
}

fn write_basic(content: &Content, shape: Shape, out: &mut Vec<u8>) {
    let default_charset = (shape == Shape::Text).then_some("us-ascii");
    let (kind, subtype): (&[u8], &[u8]) = match (shape, &content.media_type) {
        (Shape::Message, _) => (b"message", b"rfc822"),
        (Shape::Text, None) => (b"text", b"plain"),
        (Shape::Text | Shape::Leaf, Some((kind, subtype))) => (kind, subtype),
        _ => (b"application", b"octet-stream"),
    };
    string(kind, out);
    out.push(b' ');
    string(subtype, out);
    out.push(b' ');
    write_parameters(&content.parameters, default_charset, out);
    out.push(b' ');
    write_unfolded(&content.id, out);
    out.push(b' ');
    write_unfolded(&content.description, out);
    out.push(b' ');
    string(content.transfer_encoding.as_deref().unwrap_or(b"7bit"), out);
}

fn write_unfolded(value: &Option<Vec<u8>>, out: &mut Vec<u8>) {
    nstring(value.as_deref().map(unfolded).as_deref(), out);
}

fn write_parameters(parameters: &Parameters, charset: Option<&str>, out: &mut Vec<u8>) {
    let charset = charset.filter(|_| {
        !parameters
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(b"charset"))
    });
    if parameters.is_empty() && charset.is_none() {
        return nstring(None, out);
    }
    out.push(b'(');
    for (n, (name, value)) in parameters.iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        string(name, out);
        out.push(b' ');
        string(value, out);
    }
    if let Some(charset) = charset {
        if !parameters.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(b"\"charset\" ");
        string(charset.as_bytes(), out);
    }
    out.push(b')');
}

/// Disposition, language and location.
fn write_common(content: &Content, out: &mut Vec<u8>) {
    out.push(b' ');
    match &content.disposition {
        None => nstring(None, out),
        Some((kind, parameters)) => {
            out.push(b'(');
            string(kind, out);
            out.push(b' ');
            write_parameters(parameters, None, out);
            out.push(b')');
        }
    }
    out.push(b' ');
    if content.languages.is_empty() {
        nstring(None, out);
    } else {
        for (n, language) in content.languages.iter().enumerate() {
            out.push(if n == 0 { b'(' } else { b' ' });
            string(language, out);
        }
        out.push(b')');
    }
    out.push(b' ');
    write_unfolded(&content.location, out);
}

/// Puts the whole together, front to back, noting where the extension data lies.
#[derive(Default)]
pub struct Writer {
    pub out: Vec<u8>,
    pub extensions: Vec<Range<u32>>,
}

impl Writer {
    pub fn open(&mut self) {
        self.out.push(b'(');
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// ` n`
    pub fn number(&mut self, n: u32) {
        self.out.extend_from_slice(format!(" {n}").as_bytes());
    }

    /// The extension data and the closing parenthesis.
    pub fn close(&mut self, extension: &[u8]) {
        let start = self.out.len() as u32;
        self.out.extend_from_slice(extension);
        self.extensions.push(start..self.out.len() as u32);
        self.out.push(b')');
    }

    pub fn no_parts(&mut self) {
        self.bytes(NO_PARTS);
        self.close(NO_EXTENSIONS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(header: &str, shape: Shape) -> (String, String) {
        let pieces = pieces(&Content::parse(header.as_bytes(), true), shape);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&pieces.basic), text(&pieces.extension))
    }

    #[test]
    fn a_leaf_with_everything() {
        let header = "Content-Type: image/PNG; name=\"a b.png\"\r\nContent-ID: <1@x>\r\n\
            Content-Description: a\r\n  picture\r\nContent-Transfer-Encoding: BASE64\r\n\
            Content-MD5: abc==\r\nContent-Disposition: attachment; filename=a.png\r\n\
            Content-Language: en, de\r\nContent-Location: http://x/\r\n";
        let (basic, extension) = written(header, Shape::Leaf);
        assert_eq!(
            basic,
            "\"image\" \"PNG\" (\"name\" \"a b.png\") \"<1@x>\" \"a  picture\" \"BASE64\""
        );
        assert_eq!(
            extension,
            " \"abc==\" (\"attachment\" (\"filename\" \"a.png\")) (\"en\" \"de\") \"http://x/\""
        );
    }

    #[test]
    fn text_gets_a_charset() {
        let (basic, _) = written("Content-Type: text/plain; format=flowed\r\n", Shape::Text);
        assert_eq!(
            basic,
            "\"text\" \"plain\" (\"format\" \"flowed\" \"charset\" \"us-ascii\") NIL NIL \"7bit\""
        );
        let (basic, _) = written("Content-Type: text/x; charset=utf-8\r\n", Shape::Text);
        assert_eq!(
            basic,
            "\"text\" \"x\" (\"charset\" \"utf-8\") NIL NIL \"7bit\""
        );
    }

    #[test]
    fn what_is_over_a_limit_is_octets() {
        let (basic, _) = written("Content-Type: message/rfc822\r\n", Shape::Truncated);
        assert_eq!(
            basic,
            "\"application\" \"octet-stream\" NIL NIL NIL \"7bit\""
        );
    }
}
