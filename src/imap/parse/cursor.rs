//! The terminals of the grammar (RFC 3501, 9), read from one framed command.
//!
//! Tolerant as Dovecot is, since clients were tried against it: several spaces where the
//! grammar has one, spaces inside of parentheses, `%`, `*` and `\` in an unquoted argument,
//! 8-bit characters in a quoted one.

use crate::imap::command::{ParseError, SequenceSet};
use crate::imap::utf7;
use std::borrow::Cow;

pub(super) type Result<T> = std::result::Result<T, ParseError>;

/// Longest tag: it is echoed with every answer.
pub const MAX_TAG: usize = 128;

pub(super) fn syntax<T>(text: &'static str) -> Result<T> {
    Err(ParseError::Syntax(text))
}

/// A place in a command. Literals lie in it as `{n}`, CRLF and n bytes.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes `b` if it is next.
    pub fn skip(&mut self, b: u8) -> bool {
        let found = self.peek() == Some(b);
        if found {
            self.advance(1);
        }
        found
    }

    pub fn expect(&mut self, b: u8, or: &'static str) -> Result<()> {
        if self.skip(b) { Ok(()) } else { syntax(or) }
    }

    /// One space at least.
    pub fn space(&mut self) -> Result<()> {
        self.expect(b' ', "an argument is missing")?;
        self.spaces();
        Ok(())
    }

    /// Any number of spaces.
    pub fn spaces(&mut self) {
        while self.skip(b' ') {}
    }

    /// The end of the command; spaces before it are forgiven.
    pub fn end(&mut self) -> Result<()> {
        self.spaces();
        if self.rest.is_empty() {
            Ok(())
        } else {
            syntax("something follows the last argument")
        }
    }

    /// Whether only spaces are left.
    pub fn at_end(&self) -> bool {
        self.rest.iter().all(|&b| b == b' ')
    }

    fn advance(&mut self, n: usize) {
        self.rest = self.rest.get(n..).unwrap_or_default();
    }

    /// The longest run of bytes that are `allowed`; may be empty.
    pub fn run(&mut self, allowed: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&b| !allowed(b));
        let (run, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        run
    }

    /// `tag = 1*<any ASTRING-CHAR except "+">`
    pub fn tag(&mut self) -> Option<String> {
        let run = self.run(|b| is_atom_char(b) && b != b'+' || b == b']');
        let right = !run.is_empty() && run.len() <= MAX_TAG;
        right.then(|| ascii(run))
    }

    /// A command, an item, an option: an atom in upper case.
    pub fn keyword(&mut self) -> Result<String> {
        let mut word = self.atom()?;
        word.make_ascii_uppercase();
        Ok(word)
    }

    pub fn atom(&mut self) -> Result<String> {
        let run = self.run(is_atom_char);
        if run.is_empty() {
            return syntax("an atom is missing");
        }
        Ok(ascii(run))
    }

    /// Takes `word`, in any case, if it is next and ends there.
    pub fn skip_keyword(&mut self, word: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead
            .run(is_atom_char)
            .eq_ignore_ascii_case(word.as_bytes());
        if found {
            *self = ahead;
        }
        found
    }

    /// `astring = 1*ASTRING-CHAR / string`
    pub fn astring(&mut self) -> Result<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => {
                let run = self.run(is_argument_char);
                if run.is_empty() {
                    return syntax("a string is missing");
                }
                Ok(Cow::Borrowed(run))
            }
        }
    }

    /// `string = quoted / literal`
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => syntax("a quoted string or a literal is missing"),
        }
    }

    /// `nstring = string / nil`
    pub fn nstring(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        if self.skip_keyword("NIL") {
            return Ok(None);
        }
        self.string().map(Some)
    }

    /// An astring that has to be UTF-8.
    pub fn text(&mut self) -> Result<String> {
        utf8(self.astring()?)
    }

    fn quoted(&mut self) -> Result<Cow<'a, [u8]>> {
        self.advance(1);
        let run = self.run(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0));
        if self.skip(b'"') {
            return Ok(Cow::Borrowed(run));
        }
        let mut text = run.to_vec();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.advance(1);
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.advance(1);
                    match self.peek() {
                        Some(b) if !matches!(b, b'\r' | b'\n' | 0) => text.push(b),
                        _ => return syntax("a quoted string has no end"),
                    }
                    self.advance(1);
                }
                Some(b) if !matches!(b, b'\r' | b'\n' | 0) => {
                    text.extend_from_slice(
                        self.run(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0)),
                    );
                }
                _ => return syntax("a quoted string has no end"),
            }
        }
    }

    fn literal(&mut self) -> Result<&'a [u8]> {
        self.advance(1);
        let digits = self.run(|b| b.is_ascii_digit());
        let size: Option<usize> = std::str::from_utf8(digits)
            .ok()
            .and_then(|n| n.parse().ok());
        self.skip(b'+');
        let head = self.skip(b'}') && self.skip(b'\r') && self.skip(b'\n');
        match size.and_then(|size| self.rest.split_at_checked(size)) {
            Some((literal, rest)) if head => {
                self.rest = rest;
                if literal.contains(&0) {
                    return syntax("a literal holds a NUL");
                }
                Ok(literal)
            }
            _ => syntax("a literal is malformed"),
        }
    }

    /// `number = 1*DIGIT`, up to 63 bits (RFC 9051, 9: number64).
    pub fn number(&mut self) -> Result<u64> {
        let digits = self.run(|b| b.is_ascii_digit());
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse::<u64>().ok())
            .filter(|&n| n <= i64::MAX as u64)
            .ok_or(ParseError::Syntax("a number is missing or out of range"))
    }

    pub fn sequence_set(&mut self) -> Result<SequenceSet> {
        let run = self.run(|b| b.is_ascii_digit() || matches!(b, b',' | b':' | b'*'));
        SequenceSet::parse(run).ok_or(ParseError::Syntax("a sequence set is malformed"))
    }

    pub fn mailbox(&mut self) -> Result<String> {
        mailbox_name(self.astring()?)
    }

    /// `"(" item *(SP item) ")"`, none to `most` of them; each has to take something.
    pub fn list(
        &mut self,
        most: usize,
        mut item: impl FnMut(&mut Cursor<'a>) -> Result<()>,
    ) -> Result<()> {
        self.expect(b'(', "a parenthesis is missing")?;
        self.spaces();
        let mut count = 0;
        while !self.skip(b')') {
            if count == most {
                return syntax("a list is too long");
            }
            count += 1;
            item(self)?;
            if self.peek() != Some(b')') {
                self.space()?;
            }
        }
        Ok(())
    }
}

pub(super) fn mailbox_name(bytes: Cow<[u8]>) -> Result<String> {
    let name = std::str::from_utf8(&bytes).ok().and_then(utf7::decode);
    name.ok_or(ParseError::MailboxName)
}

pub(super) fn utf8(bytes: Cow<[u8]>) -> Result<String> {
    String::from_utf8(bytes.into_owned())
        .map_err(|_| ParseError::Syntax("a string is not valid UTF-8"))
}

/// Bytes known to be US-ASCII.
fn ascii(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// `ATOM-CHAR`: not an atom-special, not 8-bit.
pub(in crate::imap) fn is_atom_char(b: u8) -> bool {
    is_argument_char(b) && !matches!(b, b'%' | b'*' | b'\\' | b']')
}

/// What an unquoted argument may hold: `ASTRING-CHAR`, and the wildcards and `\`.
fn is_argument_char(b: u8) -> bool {
    (0x21..0x7f).contains(&b) && !matches!(b, b'(' | b')' | b'{' | b'"')
}

/// `list-char = ATOM-CHAR / list-wildcards / resp-specials`
pub(super) fn is_list_char(b: u8) -> bool {
    is_argument_char(b)
}
