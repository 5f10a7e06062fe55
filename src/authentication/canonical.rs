//! Canonical forms (RFC 6376, 3.4): what is hashed of header and body, so that harmless
//! changes on the way break no signature.

use ring::digest::{Context, SHA256};

/// Canonical bytes that are gathered before they are hashed.
const GATHER: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Simple,
    Relaxed,
}

impl Form {
    pub fn parse(word: &str) -> Option<Form> {
        match word {
            "simple" => Some(Form::Simple),
            "relaxed" => Some(Form::Relaxed),
            _ => None,
        }
    }
}

/// Appends one field, its line end included; `raw` is the field as it stands.
pub fn field(form: Form, raw: &[u8], out: &mut Vec<u8>) {
    match form {
        Form::Simple => out.extend_from_slice(raw),
        Form::Relaxed => relaxed_field(raw, out),
    }
}

fn relaxed_field(raw: &[u8], out: &mut Vec<u8>) {
    let colon = memchr::memchr(b':', raw).unwrap_or(raw.len());
    let (name, value) = raw.split_at(colon);
    out.extend(name.trim_ascii_end().to_ascii_lowercase());
    out.push(b':');
    let mut blank = false;
    let start = out.len();
    for &byte in value.get(1..).unwrap_or_default() {
        match byte {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => blank = true,
            byte => {
                if blank && out.len() > start {
                    out.push(b' ');
                }
                blank = false;
                out.push(byte);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Hashes a body that comes in slices.
pub struct BodyHash {
    form: Form,
    /// `l=`: so many canonical bytes are hashed, no more.
    limit: Option<u64>,
    context: Context,
    gathered: Vec<u8>,
    /// Canonical bytes so far.
    length: u64,
    /// Line ends that count only if something follows them.
    ends: u64,
    /// A CR whose LF may come.
    cr: bool,
    /// White space that becomes one space if text follows on its line.
    blank: bool,
    /// Something but line ends has come.
    text: bool,
}

/// What came of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyDigest {
    pub sha256: [u8; 32],
    /// Canonical bytes in all, whatever was hashed of them.
    pub length: u64,
}

impl BodyHash {
    pub fn new(form: Form, limit: Option<u64>) -> BodyHash {
        BodyHash {
            form,
            limit,
            context: Context::new(&SHA256),
            gathered: Vec::with_capacity(GATHER),
            length: 0,
            ends: 0,
            cr: false,
            blank: false,
            text: false,
        }
    }

    pub fn form(&self) -> Form {
        self.form
    }

    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            if self.cr {
                self.cr = false;
                if first == b'\n' {
                    self.end_line();
                    bytes = &bytes[1..];
                    continue;
                }
                self.put_text(b"\r");
            }
            let length = self.run(bytes);
            let (run, rest) = bytes.split_at(length);
            bytes = rest;
            match first {
                b'\r' => self.cr = true,
                b' ' | b'\t' if self.form == Form::Relaxed => self.blank = true,
                _ => self.put_text(run),
            }
        }
    }

    /// How many bytes at the front are of one kind.
    fn run(&self, bytes: &[u8]) -> usize {
        match (self.form, bytes.first()) {
            (_, Some(b'\r')) | (Form::Relaxed, Some(b' ' | b'\t')) => 1,
            (Form::Simple, _) => memchr::memchr(b'\r', bytes).unwrap_or(bytes.len()),
            (Form::Relaxed, _) => memchr::memchr3(b'\r', b' ', b'\t', bytes).unwrap_or(bytes.len()),
        }
    }

    fn end_line(&mut self) {
        self.blank = false;
        self.ends += 1;
    }

    fn put_text(&mut self, text: &[u8]) {
        for _ in 0..std::mem::take(&mut self.ends) {
            self.put(b"\r\n");
        }
        if std::mem::take(&mut self.blank) {
            self.put(b" ");
        }
        self.text = true;
        self.put(text);
    }

    fn put(&mut self, bytes: &[u8]) {
        let room = self
            .limit
            .map_or(u64::MAX, |limit| limit.saturating_sub(self.length));
        self.length += bytes.len() as u64;
        let taken = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        let bytes = bytes.get(..taken).unwrap_or_default();
        if self.gathered.len() + bytes.len() > GATHER {
            self.context.update(&self.gathered);
            self.gathered.clear();
        }
        match bytes.len() > GATHER {
            true => self.context.update(bytes),
            false => self.gathered.extend_from_slice(bytes),
        }
    }

    pub fn finish(mut self) -> BodyDigest {
        if std::mem::take(&mut self.cr) {
            self.put_text(b"\r");
        }
        // Empty lines at the end are dropped, a line end that misses is added; of an empty
        // body `simple` makes one line end, `relaxed` nothing (3.4.3, 3.4.4).
        if self.text || self.form == Form::Simple {
            self.put(b"\r\n");
        }
        self.context.update(&self.gathered);
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.context.finish().as_ref());
        BodyDigest {
            sha256,
            length: self.length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::digest::digest;

    fn hashed(form: Form, limit: Option<u64>, body: &[u8], step: usize) -> BodyDigest {
        let mut hash = BodyHash::new(form, limit);
        body.chunks(step).for_each(|chunk| hash.push(chunk));
        hash.finish()
    }

    #[track_caller]
    fn becomes(form: Form, body: &[u8], canonical: &[u8]) {
        for step in 1..=body.len().max(1) {
            let got = hashed(form, None, body, step);
            assert_eq!(got.length, canonical.len() as u64, "{body:?} by {step}");
            assert_eq!(got.sha256, digest(&SHA256, canonical).as_ref());
        }
    }

    /// RFC 6376, 3.4.5 and 3.4.6, and the edges of 3.4.3 and 3.4.4.
    #[test]
    fn bodies_become_canonical_however_they_are_cut() {
        let example = b" C \r\nD \t E\r\n\r\n\r\n";
        becomes(Form::Relaxed, example, b" C\r\nD E\r\n");
        becomes(Form::Simple, example, b" C \r\nD \t E\r\n");
        becomes(Form::Simple, b"", b"\r\n");
        becomes(Form::Relaxed, b"", b"");
        becomes(Form::Simple, b"\r\n\r\n", b"\r\n");
        becomes(Form::Relaxed, b" \t\r\n\r\n", b"");
        becomes(Form::Relaxed, b"a  ", b"a\r\n");
        becomes(Form::Simple, b"a  ", b"a  \r\n");
        becomes(Form::Relaxed, b"\r\n\r\n a\r\n", b"\r\n\r\n a\r\n");
        becomes(Form::Simple, b"a\rb\nc\r", b"a\rb\nc\r\r\n");
        becomes(Form::Relaxed, b"a \r b\r\n", b"a \r b\r\n");
        becomes(Form::Relaxed, b"a\r\n \r\nb", b"a\r\n\r\nb\r\n");
    }

    #[test]
    fn no_more_than_l_is_hashed() {
        for step in 1..6 {
            let got = hashed(Form::Simple, Some(3), b"abcde\r\n", step);
            assert_eq!(got.length, 7);
            assert_eq!(got.sha256, digest(&SHA256, b"abc").as_ref());
        }
        let none = hashed(Form::Simple, Some(0), b"abc\r\n", 2);
        assert_eq!(none.sha256, digest(&SHA256, b"").as_ref());
    }

    #[test]
    fn large_bodies_pass_the_gathering() {
        let body: Vec<u8> = (0..100_000u32)
            .map(|n| b'a' + (n % 23) as u8)
            .chain(*b"\r\n")
            .collect();
        becomes_once(&body, 7001);
        becomes_once(&body, 100_002);
        becomes_once(&body, 100);
    }

    fn becomes_once(body: &[u8], step: usize) {
        let got = hashed(Form::Relaxed, None, body, step);
        assert_eq!(got.sha256, digest(&SHA256, body).as_ref(), "{step}");
    }

    /// RFC 6376, 3.4.5.
    #[test]
    fn fields_become_canonical() {
        let mut out = Vec::new();
        field(Form::Relaxed, b"A: X\r\n", &mut out);
        field(Form::Relaxed, b"B : Y\t\r\n\tZ  \r\n", &mut out);
        field(Form::Relaxed, b"Empty:\r\n", &mut out);
        assert_eq!(out, b"a:X\r\nb:Y Z\r\nempty:\r\n");
        out.clear();
        field(Form::Simple, b"B : Y\t\r\n\tZ  \r\n", &mut out);
        assert_eq!(out, b"B : Y\t\r\n\tZ  \r\n");
    }
}
