//! A server's responses (RFC 3501, 7), as far as a fetching client needs them.

use crate::imap::date;
use crate::mail::{DateTime, FlagNames, Flags, MAX_KEYWORD, MAX_KEYWORDS, Uid};

/// Deepest list in a FETCH response: nothing that was asked for nests.
const MAX_DEPTH: usize = 16;
/// Longest human text that is kept, characters.
const MAX_TEXT: usize = 300;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    Continue(Vec<u8>),
    Tagged(Vec<u8>, Status),
    Status(Status),
    Capability(Vec<String>),
    Exists(u32),
    Fetch(Box<Fetch>),
    /// Whatever else.
    Other,
}

/// `resp-cond-state`, `resp-cond-auth` or `resp-cond-bye`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub ok: bool,
    pub preauth: bool,
    pub bye: bool,
    /// The first word of the response code in upper case, and what follows it.
    pub code: String,
    pub arguments: String,
    pub text: String,
}

/// What FETCH said of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetch {
    pub uid: Option<Uid>,
    /// Without \Recent, and without keywords that no mailbox here could hold.
    pub flags: Option<FlagNames>,
    pub date: Option<DateTime>,
    pub size: Option<u64>,
    pub body: Body,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    None,
    /// It came as [`Step::Data`](super::Step::Data).
    Streamed,
    /// It came as a quoted string.
    Inline(Vec<u8>),
}

/// A literal that begins where a line ends.
pub(super) struct Literal {
    pub length: u64,
    /// Whether it is a message: `BODY[]` of a FETCH response.
    pub body: bool,
}

/// The literal that the last line of `response` announces. A text for people may look as
/// if it did.
pub(super) fn literal(response: &[u8]) -> Option<Literal> {
    let (before, length) = announced(response)?;
    let mut cursor = Cursor(response.strip_prefix(b"* ")?);
    let first = cursor.word();
    if ["OK", "NO", "BAD", "BYE", "PREAUTH"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word.as_bytes()))
    {
        return None;
    }
    let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    let fetch = is_number && cursor.space() && cursor.word().eq_ignore_ascii_case(b"FETCH");
    let body = fetch && ends_with_name(before, b"BODY[] ");
    Some(Literal { length, body })
}

/// `… {123}`: what is before it, and the number.
fn announced(line: &[u8]) -> Option<(&[u8], u64)> {
    let inside = line.strip_suffix(b"}")?;
    let open = inside.iter().rposition(|&byte| byte == b'{')?;
    let (before, digits) = inside.split_at_checked(open)?;
    Some((before, number(digits.get(1..)?)?))
}

/// Whether `text` ends with an attribute's name, which stands alone.
fn ends_with_name(text: &[u8], name: &[u8]) -> bool {
    let Some(at) = text.len().checked_sub(name.len()) else {
        return false;
    };
    let (before, end) = text.split_at(at);
    end.eq_ignore_ascii_case(name) && matches!(before.last(), Some(b'(' | b' '))
}

/// A whole response without its last CRLF; `None` if it is none. `body` is where the bytes
/// of a message stood.
pub(super) fn parse(bytes: &[u8], body: Option<usize>) -> Option<Response> {
    if let Some(text) = bytes.strip_prefix(b"+") {
        let text = text.strip_prefix(b" ").unwrap_or(text);
        return Some(Response::Continue(text.to_vec()));
    }
    let Some(rest) = bytes.strip_prefix(b"* ") else {
        let mut cursor = Cursor(bytes);
        let tag = cursor.word().to_vec();
        let known = !tag.is_empty() && cursor.space();
        let status = if known { status(&mut cursor)? } else { None };
        return status
            .filter(|it| !it.bye && !it.preauth)
            .map(|status| Response::Tagged(tag, status));
    };
    let mut cursor = Cursor(rest);
    if let Some(status) = status(&mut cursor)? {
        return Some(Response::Status(status));
    }
    let mut cursor = Cursor(rest);
    let first = cursor.word();
    if first.eq_ignore_ascii_case(b"CAPABILITY") {
        return Some(Response::Capability(words(&String::from_utf8_lossy(
            cursor.0,
        ))));
    }
    let Some(count) = number(first) else {
        // Any other response is a word and something (RFC 3501, 7).
        return first
            .first()?
            .is_ascii_alphabetic()
            .then_some(Response::Other);
    };
    cursor.space().then_some(())?;
    let kind = cursor.word();
    if kind.eq_ignore_ascii_case(b"EXISTS") {
        return Some(Response::Exists(u32::try_from(count).ok()?));
    }
    if kind.eq_ignore_ascii_case(b"FETCH") {
        cursor.space().then_some(())?;
        let base = bytes.len() - cursor.0.len();
        let body = body.map(|at| at.saturating_sub(base));
        let fetch = fetch(cursor.0, body)?;
        return Some(Response::Fetch(Box::new(fetch)));
    }
    Some(Response::Other)
}

/// `Some(None)`: not a status.
fn status(cursor: &mut Cursor<'_>) -> Option<Option<Status>> {
    let word = cursor.word().to_ascii_uppercase();
    let mut status = Status::default();
    match word.as_slice() {
        b"OK" => status.ok = true,
        b"PREAUTH" => (status.ok, status.preauth) = (true, true),
        b"BYE" => status.bye = true,
        b"NO" | b"BAD" => {}
        _ => return Some(None),
    }
    cursor.space();
    let closed = cursor.0.iter().position(|&byte| byte == b']');
    if cursor.0.first() == Some(&b'[')
        && let Some(end) = closed
    {
        let (code, text) = cursor.0.split_at_checked(end + 1)?;
        let mut code = Cursor(code.get(1..end)?);
        status.code = String::from_utf8_lossy(code.word()).to_ascii_uppercase();
        status.arguments = String::from_utf8_lossy(code.0).into_owned();
        cursor.0 = text;
        cursor.space();
    }
    status.text = printable(cursor.0);
    Some(Some(status))
}

/// Words between spaces, in upper case.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace()
        .map(str::to_ascii_uppercase)
        .collect()
}

/// `"(" msg-att ")"`; `None` if it is none.
fn fetch(bytes: &[u8], body: Option<usize>) -> Option<Fetch> {
    let mut cursor = Cursor(bytes);
    let mut fetch = Fetch::default();
    cursor.take(b'(')?;
    loop {
        let name = cursor.attribute()?.to_ascii_uppercase();
        cursor.space().then_some(())?;
        match name.as_slice() {
            b"UID" => fetch.uid = Some(Uid::new(u32::try_from(number(cursor.word())?).ok()?)?),
            b"RFC822.SIZE" => fetch.size = Some(number(cursor.word())?),
            b"FLAGS" => fetch.flags = Some(cursor.flags()?),
            b"INTERNALDATE" => {
                // A date that is none is as good as none at all.
                let text = cursor.string()?;
                fetch.date = date::parse_date_time(&String::from_utf8_lossy(&text));
            }
            b"BODY[]" => {
                let streamed = body.is_some_and(|at| {
                    let ahead = announced_ahead(cursor.0);
                    ahead.is_some_and(|end| bytes.len() - cursor.0.len() + end == at)
                });
                fetch.body = match streamed {
                    true => {
                        cursor.skip_announcement()?;
                        Body::Streamed
                    }
                    false => cursor.nstring()?.map_or(Body::None, Body::Inline),
                };
            }
            _ => cursor.skip_value(0)?,
        }
        if cursor.take(b')').is_some() {
            return cursor.0.is_empty().then_some(fetch);
        }
        cursor.space().then_some(())?;
    }
}

/// Where `{n}CRLF` at the front ends.
fn announced_ahead(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|&byte| byte == b'}')?;
    let is_one = bytes.first() == Some(&b'{') && bytes.get(end + 1..end + 3) == Some(b"\r\n");
    is_one.then_some(end + 3)
}

fn number(digits: &[u8]) -> Option<u64> {
    let right = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    right.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// Text for a person, without what could play tricks in a terminal or a log.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(MAX_TEXT)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    /// One space or more: some servers send two.
    fn space(&mut self) -> bool {
        let before = self.0.len();
        while self.take(b' ').is_some() {}
        self.0.len() < before
    }

    /// Up to a space, a parenthesis or a quote.
    fn word(&mut self) -> &'a [u8] {
        self.until(|byte| matches!(byte, b' ' | b'(' | b')' | b'"' | b'\r' | b'\n'))
    }

    fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| ends(byte));
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        word
    }

    /// An attribute's name with its section, which may have spaces: `BODY[HEADER.FIELDS (A)]`.
    fn attribute(&mut self) -> Option<&'a [u8]> {
        let all = self.0;
        self.until(|byte| matches!(byte, b' ' | b'[' | b'(' | b')'));
        if self.0.first() == Some(&b'[') {
            self.until(|byte| byte == b']');
            self.take(b']')?;
            self.until(|byte| matches!(byte, b' ' | b'(' | b')'));
        }
        let name = all.get(..all.len() - self.0.len())?;
        (!name.is_empty()).then_some(name)
    }

    fn flags(&mut self) -> Option<FlagNames> {
        self.take(b'(')?;
        let mut flags = FlagNames::default();
        loop {
            self.space();
            if self.take(b')').is_some() {
                return Some(flags);
            }
            let name = std::str::from_utf8(self.word()).ok()?;
            if name.is_empty() {
                return None;
            }
            let system = Flags::SYSTEM
                .iter()
                .find(|(_, it)| it.eq_ignore_ascii_case(name));
            if let Some((flag, _)) = system {
                flags.system = flags.system.with(*flag);
            } else if is_keyword(name) && flags.keywords.len() < MAX_KEYWORDS {
                flags.keywords.push(name.to_owned());
            }
        }
    }

    /// A quoted string or a literal.
    fn string(&mut self) -> Option<Vec<u8>> {
        self.nstring()?
    }

    /// As `string`; `Some(None)` for NIL.
    fn nstring(&mut self) -> Option<Option<Vec<u8>>> {
        match self.0.first()? {
            b'"' => self.quoted().map(Some),
            b'{' => {
                let length = self.skip_announcement()?;
                let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
                self.0 = rest;
                Some(Some(bytes.to_vec()))
            }
            _ => self.word().eq_ignore_ascii_case(b"NIL").then_some(None),
        }
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        self.take(b'"')?;
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(text),
                b'\r' | b'\n' => return None,
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    text.push(escaped);
                }
                byte => text.push(byte),
            }
        }
    }

    /// `{n}CRLF`: the number.
    fn skip_announcement(&mut self) -> Option<u64> {
        let end = announced_ahead(self.0)?;
        let (announcement, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        number(announcement.get(1..end.checked_sub(3)?)?)
    }

    /// Passes over a value of any kind.
    fn skip_value(&mut self, depth: usize) -> Option<()> {
        match self.0.first()? {
            b'(' if depth < MAX_DEPTH => {
                self.take(b'(')?;
                loop {
                    self.space();
                    if self.take(b')').is_some() {
                        return Some(());
                    }
                    self.skip_value(depth + 1)?;
                }
            }
            b'"' | b'{' => self.string().map(|_| ()),
            _ => (!self.word().is_empty()).then_some(()),
        }
    }
}

/// A keyword that a mailbox here takes: `atom` without a backslash.
fn is_keyword(name: &str) -> bool {
    name.len() <= MAX_KEYWORD
        && name
            .bytes()
            .all(|it| it.is_ascii_graphic() && !b"(){%*\"\\]".contains(&it))
}
