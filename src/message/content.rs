//! The Content-* fields of one header (RFC 2045, 2183, 2231, 2557, 3282).

use super::header::fields;
use super::lexer::{Broken, Cursor, NUL_REPLACEMENT};
use super::structure::Encoding;

/// Parameters in the order given, names in the case given; continuations (RFC 2231) joined.
pub type Parameters = Vec<(Vec<u8>, Vec<u8>)>;

/// Most parameters read of one field.
pub const MAX_PARAMETERS: usize = 100;
/// Most tags read of one Content-Language.
pub const MAX_LANGUAGES: usize = 100;
/// Longest boundary that is told apart, bytes; RFC 2046, 5.1.1 allows 70.
pub const MAX_BOUNDARY: usize = 80;

/// What one header says of its body. `None` and empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Type and subtype in the case given.
    pub media_type: Option<(Vec<u8>, Vec<u8>)>,
    pub parameters: Parameters,
    pub id: Option<Vec<u8>>,
    pub description: Option<Vec<u8>>,
    pub transfer_encoding: Option<Vec<u8>>,
    pub md5: Option<Vec<u8>>,
    pub disposition: Option<(Vec<u8>, Parameters)>,
    pub languages: Vec<Vec<u8>>,
    pub location: Option<Vec<u8>>,
}

impl Content {
    /// Reads a header. Of a field given twice the first counts. With `mime` false (a
    /// message's own header) the fields count only if MIME-Version or Content-Type is there.
    pub fn parse(header: &[u8], mime: bool) -> Content {
        let mut content = Content::default();
        let mut mime = mime;
        for field in fields(header) {
            match field.name.split_at_checked(8) {
                Some((start, rest)) if start.eq_ignore_ascii_case(b"content-") => {
                    mime |= rest.eq_ignore_ascii_case(b"type");
                    content.take(rest, field.value());
                }
                _ => mime |= field.is(b"mime-version"),
            }
        }
        if mime { content } else { Content::default() }
    }

    fn take(&mut self, name: &[u8], value: &[u8]) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"type") && self.media_type.is_none() {
            self.take_type(value);
        } else if is(b"transfer-encoding") && self.transfer_encoding.is_none() {
            self.transfer_encoding = lone_token(value);
        } else if is(b"id") {
            keep_first(&mut self.id, value);
        } else if is(b"description") {
            keep_first(&mut self.description, value);
        } else if is(b"md5") {
            keep_first(&mut self.md5, value);
        } else if is(b"location") {
            keep_first(&mut self.location, value);
        } else if is(b"language") && self.languages.is_empty() {
            self.languages = languages(value);
        } else if is(b"disposition") && self.lacks_disposition() {
            self.disposition = disposition(value).or(self.disposition.take());
        }
    }

    /// The first disposition with parameters counts (Dovecot's reading).
    fn lacks_disposition(&self) -> bool {
        !matches!(&self.disposition, Some((_, parameters)) if !parameters.is_empty())
    }

    /// A type without a subtype counts as none: text/plain (RFC 2045, 5.2).
    fn take_type(&mut self, value: &[u8]) {
        let mut cursor = Cursor::new(value);
        let (mut kind, mut subtype) = (Vec::new(), Vec::new());
        if cursor.cfws() != Ok(true)
            || cursor.token(&mut kind) != Ok(true)
            || kind.is_empty()
            || !cursor.is_at(b'/')
        {
            return;
        }
        cursor.bump();
        if cursor.cfws() != Ok(true) || cursor.token(&mut subtype).is_err() || subtype.is_empty() {
            return;
        }
        self.media_type = Some((kind, subtype));
        self.parameters = parameters(&mut cursor);
    }

    /// The type alone, for a message that says too much; a long one is left out too.
    pub fn bare(&self) -> Content {
        let short = |(kind, subtype): &&(Vec<u8>, Vec<u8>)| kind.len() + subtype.len() < 128;
        let transfer_encoding = self.transfer_encoding.clone();
        Content {
            media_type: self.media_type.as_ref().filter(short).cloned(),
            transfer_encoding: transfer_encoding.filter(|name| name.len() < 64),
            ..Content::default()
        }
    }

    pub fn is_type(&self, kind: &str) -> bool {
        self.media_type
            .as_ref()
            .is_some_and(|(given, _)| given.eq_ignore_ascii_case(kind.as_bytes()))
    }

    pub fn is_media_type(&self, kind: &str, subtype: &str) -> bool {
        self.media_type.as_ref().is_some_and(|(given, sub)| {
            given.eq_ignore_ascii_case(kind.as_bytes())
                && sub.eq_ignore_ascii_case(subtype.as_bytes())
        })
    }

    /// A parameter of Content-Type.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.parameters
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.as_slice())
    }

    /// The boundary of a multipart, cut at [`MAX_BOUNDARY`].
    pub fn boundary(&self) -> Option<&[u8]> {
        let boundary = self.parameter("boundary")?;
        Some(&boundary[..boundary.len().min(MAX_BOUNDARY)])
    }

    /// In lower case; empty if not given.
    pub fn charset(&self) -> String {
        let charset = self.parameter("charset").unwrap_or_default();
        String::from_utf8_lossy(charset).trim().to_ascii_lowercase()
    }

    pub fn encoding(&self) -> Encoding {
        let Some(name) = &self.transfer_encoding else {
            return Encoding::Identity;
        };
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"7bit") || is(b"8bit") || is(b"binary") {
            Encoding::Identity
        } else if is(b"quoted-printable") {
            Encoding::QuotedPrintable
        } else if is(b"base64") {
            Encoding::Base64
        } else {
            Encoding::Unknown
        }
    }
}

fn keep_first(place: &mut Option<Vec<u8>>, value: &[u8]) {
    if place.is_none() {
        *place = Some(value.to_vec());
    }
}

/// A token with nothing but CFWS around it.
fn lone_token(value: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(value);
    let mut token = Vec::new();
    cursor.cfws().ok()?;
    match cursor.token(&mut token) {
        Ok(false) if !token.is_empty() => Some(token),
        _ => None,
    }
}

fn disposition(value: &[u8]) -> Option<(Vec<u8>, Parameters)> {
    let mut cursor = Cursor::new(value);
    let mut kind = Vec::new();
    cursor.cfws().ok()?;
    cursor.token(&mut kind).ok()?;
    let parameters = parameters(&mut cursor);
    Some((kind, parameters))
}

fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    let mut cursor = Cursor::new(value);
    let mut tags = Vec::new();
    let _ = cursor.cfws();
    while tags.len() < MAX_LANGUAGES {
        let mut tag = Vec::new();
        if cursor.atom(&mut tag).is_err() {
            break;
        }
        tags.push(tag);
        if !cursor.is_at(b',') {
            break;
        }
        cursor.bump();
        let _ = cursor.cfws();
    }
    tags
}

/// `*(";" attribute "=" value)`: what is broken is skipped to the next `;`.
fn parameters(cursor: &mut Cursor) -> Parameters {
    let (mut plain, mut pieces) = (Parameters::new(), Vec::new());
    while !cursor.at_end() && plain.len() + pieces.len() < MAX_PARAMETERS {
        let start = cursor.place();
        let Ok((name, value)) = parameter(cursor) else {
            if cursor.place() == start || !cursor.is_at(b';') {
                cursor.bump();
            }
            continue;
        };
        match Piece::of(&name, &value) {
            Some(piece) => pieces.push(piece),
            None => plain.push((name, value)),
        }
    }
    join(pieces, &mut plain);
    plain
}

fn parameter(cursor: &mut Cursor) -> Result<(Vec<u8>, Vec<u8>), Broken> {
    let (mut name, mut value) = (Vec::new(), Vec::new());
    if !cursor.is_at(b';') {
        return Err(Broken);
    }
    cursor.bump();
    if !cursor.cfws()? || !cursor.token(&mut name)? || name.is_empty() || !cursor.is_at(b'=') {
        return Err(Broken);
    }
    cursor.bump();
    if cursor.cfws()? {
        match cursor.peek() {
            Some(b'"') => cursor.quoted_string(&mut value)?,
            // An encoded word, as broken mailers write it: name==?utf-8?b?...?=
            Some(b'=') => until_space(cursor, &mut value),
            _ => cursor.token(&mut value)?,
        };
    }
    Ok((name, value))
}

fn until_space(cursor: &mut Cursor, value: &mut Vec<u8>) -> bool {
    while let Some(byte) = cursor.peek() {
        match byte {
            b';' | b' ' | b'\t' | b'\r' | b'\n' => break,
            0 => value.extend_from_slice(NUL_REPLACEMENT),
            _ => value.push(byte),
        }
        cursor.bump();
    }
    true
}

/// `name*3*=…`, a piece of a longer value (RFC 2231, 3 and 4.1).
struct Piece {
    name: Vec<u8>,
    index: u32,
    extended: bool,
    value: Vec<u8>,
}

impl Piece {
    fn of(name: &[u8], value: &[u8]) -> Option<Piece> {
        let star = memchr::memchr(b'*', name)?;
        let rest = &name[star + 1..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        // `name*=` is extended and whole; `name*0*=` is extended, `name*0=` is not.
        let extended = match &rest[digits..] {
            b"*" => true,
            b"" => rest.is_empty(),
            _ => return None,
        };
        let index = std::str::from_utf8(&rest[..digits]).ok()?;
        Some(Piece {
            name: name[..star].to_vec(),
            index: if digits == 0 { 0 } else { index.parse().ok()? },
            extended,
            value: value.to_vec(),
        })
    }
}

/// Joins the pieces of each name in order, as `name` or, if any is extended, as `name*`;
/// pieces with a gap stay as they are (Dovecot's reading).
fn join(mut pieces: Vec<Piece>, out: &mut Parameters) {
    pieces.sort_by(|a, b| (&a.name, a.index).cmp(&(&b.name, b.index)));
    for run in pieces.chunk_by(|a, b| a.name.eq_ignore_ascii_case(&b.name)) {
        let whole = (0..).zip(run).all(|(n, piece)| piece.index == n);
        if whole {
            out.push(joined(run));
            continue;
        }
        for piece in run {
            let star = if piece.extended { "*" } else { "" };
            let mut name = piece.name.clone();
            name.extend_from_slice(format!("*{}{star}", piece.index).as_bytes());
            out.push((name, piece.value.clone()));
        }
    }
}

fn joined(run: &[Piece]) -> (Vec<u8>, Vec<u8>) {
    let (mut name, mut value) = (run[0].name.clone(), Vec::new());
    let extended = run.iter().any(|piece| piece.extended);
    if extended {
        name.push(b'*');
        if !run[0].extended {
            value.extend_from_slice(b"''");
        }
    }
    for piece in run {
        for &byte in &piece.value {
            match byte {
                b'%' if extended && !piece.extended => value.extend_from_slice(b"%25"),
                _ => value.push(byte),
            }
        }
    }
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(header: &str) -> Content {
        Content::parse(header.as_bytes(), true)
    }

    fn pairs(parameters: &Parameters) -> Vec<String> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        parameters
            .iter()
            .map(|(name, value)| format!("{}={}", text(name), text(value)))
            .collect()
    }

    #[test]
    fn type_and_parameters() {
        let it = content("Content-Type: Text/HTML (a comment); Charset=\"utf-8\";\r\n x=y\r\n");
        assert!(it.is_media_type("text", "html"));
        assert_eq!(pairs(&it.parameters), ["Charset=utf-8", "x=y"]);
        assert_eq!(it.charset(), "utf-8");
    }

    #[test]
    fn broken_types_are_none_and_broken_parameters_are_skipped() {
        assert_eq!(content("Content-Type: text\r\n").media_type, None);
        assert_eq!(content("Content-Type: /plain\r\n").media_type, None);
        assert_eq!(content("Content-Type:\r\n").media_type, None);
        let it = content("Content-Type: text/x; oops; =x; a=b; c=\"open\r\n");
        assert_eq!(pairs(&it.parameters), ["a=b"]);
        let it = content("Content-Type: a/b; name==?utf-8?b?4oKs?=; x=y\r\n");
        assert_eq!(pairs(&it.parameters), ["name==?utf-8?b?4oKs?=", "x=y"]);
    }

    #[test]
    fn continuations_join() {
        let it = content("Content-Type: a/b; n*1=two; n*0=one; m*=utf-8''%41\r\n");
        assert_eq!(pairs(&it.parameters), ["m*=utf-8''%41", "n=onetwo"]);
        let it = content("Content-Type: a/b; n*0*=utf-8''%41; n*1=\"5%\"\r\n");
        assert_eq!(pairs(&it.parameters), ["n*=utf-8''%415%25"]);
        let it = content("Content-Type: a/b; n*0=one; n*2=three\r\n");
        assert_eq!(pairs(&it.parameters), ["n*0=one", "n*2=three"]);
    }

    #[test]
    fn other_fields() {
        let it = content(
            "Content-Transfer-Encoding: BASE64 (x)\r\nContent-Disposition: inline; filename=a.txt\r\n\
             Content-Language: en, de\r\nContent-ID: <1@x>\r\nContent-ID: <2@x>\r\n",
        );
        assert_eq!(it.encoding(), Encoding::Base64);
        assert_eq!(it.id.as_deref(), Some(&b"<1@x>"[..]));
        assert_eq!(it.languages, [b"en", b"de"]);
        let (kind, parameters) = it.disposition.unwrap_or_default();
        assert_eq!(
            (kind.as_slice(), pairs(&parameters)),
            (&b"inline"[..], vec!["filename=a.txt".to_string()])
        );
        assert_eq!(
            content("Content-Transfer-Encoding: x-uue\r\n").encoding(),
            Encoding::Unknown
        );
        assert_eq!(
            content("Content-Transfer-Encoding: base64; x\r\n").transfer_encoding,
            None
        );
    }

    #[test]
    fn a_message_needs_a_mime_field() {
        let header = b"Content-Transfer-Encoding: base64\r\n";
        assert_eq!(Content::parse(header, false), Content::default());
        let header = b"Content-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n";
        assert_eq!(Content::parse(header, false).encoding(), Encoding::Base64);
    }
}
