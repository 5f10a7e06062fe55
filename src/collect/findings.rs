//! Authentication-Results in our name, taken out of mail on its way in: only we may say what we
//! found (RFC 8601, 5), and whoever writes to the provider could have put it there. The
//! provider's own stay. Pure.

use crate::authentication::results::is_forged;
use crate::message::header;
use memchr::memchr_iter;
use std::borrow::Cow;
use std::mem;

/// Longest field that is read, bytes. A longer one that may be such a field is taken out.
const MAX_FIELD: usize = 64 << 10;
const NAME: &[u8] = b"Authentication-Results";

/// A message that comes in slices, its lines ended by CRLF.
pub struct Findings {
    /// The name that our findings bear.
    hostname: String,
    place: Place,
    /// The field so far.
    held: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Field,
    /// In a field that is too long to hold: whether it goes on its way.
    Long(bool),
    Body,
}

impl Findings {
    pub fn new(hostname: &str) -> Findings {
        Findings {
            hostname: hostname.into(),
            place: Place::Field,
            held: Vec::new(),
        }
    }

    /// What goes on of the message so far, without what did before.
    pub fn pass<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.place == Place::Body {
            return Cow::Borrowed(bytes);
        }
        let mut from = self.held.len();
        let mut held = mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut out = Vec::new();
        // An offset: taking each field off the front would copy all that follows it.
        let mut rest = held.as_slice();
        while self.place != Place::Field || !is_empty_line(rest) {
            let Some(end) = field_end(rest, from) else {
                let gone = held.len() - rest.len();
                held.drain(..gone);
                self.held = held;
                self.too_long(&mut out);
                return Cow::Owned(out);
            };
            let (field, behind) = rest.split_at(end);
            self.field(field, &mut out);
            (rest, from) = (behind, 0);
        }
        self.place = Place::Body;
        out.extend_from_slice(rest);
        Cow::Owned(out)
    }

    /// At the end of the message: what is still held.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let field = mem::take(&mut self.held);
        self.field(&field, &mut out);
        out
    }

    /// A field to its end.
    fn field(&mut self, field: &[u8], out: &mut Vec<u8>) {
        let passes = match mem::replace(&mut self.place, Place::Field) {
            Place::Long(passes) => passes,
            Place::Field | Place::Body => {
                !header::fields(field).any(|it| is_forged(&it, &self.hostname))
            }
        };
        if passes {
            out.extend_from_slice(field);
        }
    }

    /// What is held has no end yet: more than is read of a field is not kept.
    fn too_long(&mut self, out: &mut Vec<u8>) {
        if self.place == Place::Field && self.held.len() <= MAX_FIELD {
            return;
        }
        let passes = match self.place {
            Place::Long(passes) => passes,
            Place::Field | Place::Body => !may_be_ours(&self.held),
        };
        self.place = Place::Long(passes);
        // What tells whether the field ends here.
        let kept = match self.held.ends_with(b"\n") {
            true => 1,
            false => 0,
        };
        let gone = self.held.drain(..self.held.len() - kept);
        if passes {
            out.extend(gone);
        }
    }
}

/// Behind the line end that no folded line follows; `None` while that can't be told.
/// Everything before `from` has been looked at, but for what follows its last byte.
fn field_end(held: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(1);
    let mut ends = memchr_iter(b'\n', held.get(from..)?).map(|at| from + at + 1);
    ends.find(|&end| !matches!(held.get(end), None | Some(b' ' | b'\t')))
}

fn is_empty_line(held: &[u8]) -> bool {
    held.starts_with(b"\r\n") || held.starts_with(b"\n")
}

/// Whether the name is this one, as far as it has come.
fn may_be_ours(held: &[u8]) -> bool {
    let name = held.split(|byte| matches!(byte, b':' | b'\n')).next();
    let name = name.unwrap_or_default().trim_ascii_end();
    name.eq_ignore_ascii_case(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it comes out, whatever the slices.
    fn passed(text: &[u8]) -> Vec<u8> {
        let by = |size: usize| {
            let mut findings = Findings::new("mx.test");
            let mut out = Vec::new();
            for slice in text.chunks(size) {
                out.extend_from_slice(&findings.pass(slice));
            }
            out.extend(findings.finish());
            out
        };
        let whole = by(text.len().max(1));
        for size in (1..text.len().min(100)).chain([1000, 10_000]) {
            assert_eq!(by(size), whole, "slices of {size}");
        }
        whole
    }

    #[test]
    fn what_is_in_our_name_goes() {
        let text = b"Received: x\r\n\ty\r\nAuthentication-Results: mx.test; spf=pass\r\n\
            authentication-results :\r\n (a) MX.Test 1;\r\n\tdkim=pass\r\n\
            Authentication-Results: provider.example; spf=fail\r\n\
            ARC-Authentication-Results: i=1; mx.test; spf=pass\r\nFrom: a\r\n\
            Authentication-Results: mx.test;\r\n\tnone\r\n\r\n\
            Authentication-Results: mx.test; of the body\r\n";
        let expected = b"Received: x\r\n\ty\r\n\
            Authentication-Results: provider.example; spf=fail\r\n\
            ARC-Authentication-Results: i=1; mx.test; spf=pass\r\nFrom: a\r\n\r\n\
            Authentication-Results: mx.test; of the body\r\n";
        assert_eq!(
            passed(text).escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    #[test]
    fn nothing_else_is_touched() {
        for text in [
            &b""[..],
            b"\r\n",
            b"\r\nAuthentication-Results: mx.test\r\n",
            b"a",
            b"From: a",
            b"From: a\r\n",
            b"no field\r\n folded\r\nX\r\n\r\nbody\r\n\r\n",
            b" folded\r\nA: b\r\n\r\n",
            b"\r\rA: b\r\n\r\r\n\r\nC: d",
            b"Authentication-Results-X: mx.test\r\n\r\n",
        ] {
            assert_eq!(passed(text), text, "{}", text.escape_ascii());
        }
        assert_eq!(passed(b"Authentication-Results: mx.test"), b"");
        assert_eq!(
            passed(b"A: b\r\nAuthentication-Results: mx.test\r\n"),
            b"A: b\r\n"
        );
    }

    /// What follows a field is not moved for each of them: that would take minutes.
    #[test]
    fn many_fields_in_one_slice_cost_no_more_than_in_many() {
        let text = b"a\r\n".repeat(1 << 20);
        let mut findings = Findings::new("mx.test");
        let mut out = findings.pass(&text).into_owned();
        out.extend(findings.finish());
        assert!(out == text);
    }

    #[test]
    fn a_field_without_end_is_not_held() {
        let spaces = " ".repeat(MAX_FIELD * 2) + ": mx.test";
        let folds = format!(":{}", " x;\r\n\t".repeat(MAX_FIELD));
        for (name, filling, stays) in [
            ("Authentication-Results", &spaces, false),
            ("authentication-results ", &folds, false),
            ("X-Long", &spaces, true),
            ("Authentication-Result", &folds, true),
        ] {
            let field = format!("{name}{filling}\r\n");
            let around = |field: &str| format!("A: b\r\n{field}C: d\r\n\r\nbody\r\n\r\n");
            let mut findings = Findings::new("mx.test");
            let mut out = Vec::new();
            for slice in around(&field).as_bytes().chunks(999) {
                out.extend_from_slice(&findings.pass(slice));
                assert!(findings.held.len() <= MAX_FIELD + 999);
            }
            out.extend(findings.finish());
            let expected = around(if stays { &field } else { "" });
            assert!(out == expected.as_bytes(), "{name}");
        }
    }
}
