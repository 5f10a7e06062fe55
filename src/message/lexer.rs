//! Reading structured field values: atoms, quoted strings, comments (RFC 5322, 3.2) and
//! MIME tokens (RFC 2045, 5.1). Lenient where mail is: 8-bit bytes are atom text.

/// What follows is not what the grammar asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Whether anything follows what was read and the CFWS behind it.
pub type Step = Result<bool, Broken>;

/// What a NUL in a value becomes: IMAP strings can't hold one (RFC 3501, 9).
pub const NUL_REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// A place in a field value.
#[derive(Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The text of the comment read last, unfolded.
    pub comment: Vec<u8>,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor {
            bytes,
            at: 0,
            comment: Vec::new(),
        }
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn is_at(&self, byte: u8) -> bool {
        self.peek() == Some(byte)
    }

    pub fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub fn bump(&mut self) {
        self.at += 1;
    }

    pub fn place(&self) -> usize {
        self.at
    }

    pub fn go_back(&mut self, place: usize) {
        self.at = place;
    }

    /// Skips white space, line folds and comments.
    pub fn cfws(&mut self) -> Step {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'(' => self.skip_comment()?,
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    fn skip_comment(&mut self) -> Result<(), Broken> {
        self.at += 1;
        self.comment.clear();
        let mut text = std::mem::take(&mut self.comment);
        let mut depth = 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b')' if depth == 1 => {
                    self.comment = text;
                    return Ok(());
                }
                b')' => depth -= 1,
                b'(' => depth += 1,
                _ => {}
            }
            self.take_quoted(byte, &mut text)?;
        }
        Err(Broken)
    }

    /// One byte inside a comment or quoted string: folds and backslashes go.
    fn take_quoted(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Broken> {
        match byte {
            0 => out.extend_from_slice(NUL_REPLACEMENT),
            b'\n' => {
                if out.last() == Some(&b'\r') {
                    out.pop();
                }
            }
            b'\\' => match self.peek() {
                None => return Err(Broken),
                // obs-qp: the backslash stays, the CR, LF or NUL is read as itself.
                Some(b'\r' | b'\n' | 0) => out.push(b'\\'),
                Some(next) => {
                    out.push(next);
                    self.at += 1;
                }
            },
            _ => out.push(byte),
        }
        Ok(())
    }

    fn take_while(&mut self, out: &mut Vec<u8>, belongs: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&b| !belongs(b)).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..length]);
        self.at += length;
        length
    }

    /// `1*atext [CFWS]`
    pub fn atom(&mut self, out: &mut Vec<u8>) -> Step {
        match self.take_while(out, is_atext) {
            0 => Err(Broken),
            _ => self.cfws(),
        }
    }

    /// `*(atext / ".") [CFWS]`: keeps dots wherever they stand.
    pub fn atom_or_dots(&mut self, out: &mut Vec<u8>) -> Step {
        self.take_while(out, |b| is_atext(b) || b == b'.');
        self.cfws()
    }

    /// `atom *("." atom)`, CFWS allowed around the dots (RFC 822).
    pub fn dot_atom(&mut self, out: &mut Vec<u8>) -> Step {
        loop {
            if !self.atom(out)? {
                return Ok(false);
            }
            if !self.is_at(b'.') {
                return Ok(true);
            }
            self.at += 1;
            out.push(b'.');
            if !self.cfws()? {
                return Err(Broken);
            }
        }
    }

    /// A MIME token, perhaps empty.
    pub fn token(&mut self, out: &mut Vec<u8>) -> Step {
        self.take_while(out, |b| {
            (is_atext(b) && !matches!(b, b'/' | b'?' | b'=')) || b == b'.'
        });
        self.cfws()
    }

    /// At a `"`: the string without quotes, backslashes and folds; nothing where it doesn't end.
    pub fn quoted_string(&mut self, out: &mut Vec<u8>) -> Step {
        let start = out.len();
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'"' {
                return self.cfws();
            }
            if self.take_quoted(byte, out).is_err() {
                break;
            }
        }
        out.truncate(start);
        Err(Broken)
    }

    /// `1*word`, obs-phrase included; words are joined by one space.
    pub fn phrase(&mut self, out: &mut Vec<u8>) -> Step {
        if self.at_end() {
            return Ok(false);
        }
        if self.is_at(b'.') {
            return Err(Broken);
        }
        loop {
            let more = if self.is_at(b'"') {
                self.quoted_string(out)?
            } else {
                self.atom_or_dots(out)?
            };
            if !more {
                return Ok(false);
            }
            if !self
                .peek()
                .is_some_and(|b| is_atext(b) || b == b'"' || b == b'.')
            {
                return self.cfws();
            }
            out.push(b' ');
        }
    }

    /// At an `@`: a dot-atom or a domain literal, brackets kept.
    pub fn domain(&mut self, out: &mut Vec<u8>) -> Step {
        self.at += 1;
        if !self.cfws()? {
            return Err(Broken);
        }
        if self.is_at(b'[') {
            self.domain_literal(out)
        } else {
            self.dot_atom(out)
        }
    }

    fn domain_literal(&mut self, out: &mut Vec<u8>) -> Step {
        self.at += 1;
        out.push(b'[');
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b']' => {
                    out.push(byte);
                    return self.cfws();
                }
                b'[' => return Err(Broken),
                // The backslash of a quoted pair stays.
                b'\\' => {
                    out.push(byte);
                    let next = self.peek().ok_or(Broken)?;
                    if !matches!(next, b'\r' | b'\n' | 0) {
                        out.push(next);
                        self.at += 1;
                    }
                }
                _ => self.take_quoted(byte, out)?,
            }
        }
        Err(Broken)
    }
}

/// RFC 5322 atext, and every 8-bit byte (RFC 6532 and what came before it).
pub fn is_atext(byte: u8) -> bool {
    byte >= 0x80 || byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(text: &str) -> (Step, String) {
        let mut out = Vec::new();
        let step = Cursor::new(text.as_bytes()).phrase(&mut out);
        (step, String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn phrases_join_words_and_unquote() {
        assert_eq!(phrase("A  B\r\n C <"), (Ok(true), "A B C".into()));
        assert_eq!(
            phrase("\"a \\\"b\\\"\" J. D"),
            (Ok(false), "a \"b\" J. D".into())
        );
        assert_eq!(
            phrase("\"folded\r\n text\""),
            (Ok(false), "folded text".into())
        );
        assert_eq!(phrase("\"open").0, Err(Broken));
        assert_eq!(phrase(".x").0, Err(Broken));
    }

    #[test]
    fn comments_nest_and_the_last_is_kept() {
        let mut cursor = Cursor::new(b"(one (two \\) three)) (last)x");
        assert_eq!(cursor.cfws(), Ok(true));
        assert_eq!(cursor.comment, b"last");
        assert_eq!(cursor.peek(), Some(b'x'));
        assert_eq!(Cursor::new(b"(open (twice)").cfws(), Err(Broken));
    }

    #[test]
    fn dot_atoms_and_domains() {
        let mut out = Vec::new();
        assert_eq!(Cursor::new(b"a . b.c@").dot_atom(&mut out), Ok(true));
        assert_eq!(out, b"a.b.c");
        out.clear();
        assert_eq!(Cursor::new(b"@ [192.0.2.1] >").domain(&mut out), Ok(true));
        assert_eq!(out, b"[192.0.2.1]");
        assert_eq!(Cursor::new(b"a..b").dot_atom(&mut out), Err(Broken));
    }
}
