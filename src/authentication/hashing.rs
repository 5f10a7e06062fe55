//! A message on its way past: its header is kept, its body hashed for each signature in it.

use super::canonical::{self, BodyDigest, BodyHash, Form};
use super::signature::{Kind, Signature};
use crate::message::header::{self, Field};
use memchr::memmem;
use std::collections::HashMap;

/// Longest header that is kept, bytes; of a longer one nothing is checked.
pub const MAX_HEADER: usize = 256 * 1024;
/// Ways to hash one body at once: forms and `l=` of all its signatures, and that of a seal.
const MAX_BODY_HASHES: usize = 8;

/// Takes the message as it comes.
#[derive(Default)]
pub struct Hashing {
    header: Vec<u8>,
    /// The body has begun, or the header is too long.
    header_over: bool,
    bodies: Vec<BodyHash>,
}

/// A message that is over.
pub struct Hashed {
    header: Vec<u8>,
    bodies: Vec<(Form, Option<u64>, BodyDigest)>,
}

impl Hashing {
    pub fn new() -> Hashing {
        Hashing::default()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.header_over {
            self.bodies.iter_mut().for_each(|body| body.push(bytes));
            return;
        }
        let seen = self.header.len().saturating_sub(3);
        self.header.extend_from_slice(bytes);
        if let Some(end) = header_end(&self.header, seen) {
            let body = self.header.split_off(end);
            self.begin_body();
            self.push(body.get(2..).unwrap_or_default());
        } else if self.header.len() > MAX_HEADER {
            self.header.clear();
            self.header_over = true;
        }
    }

    fn begin_body(&mut self) {
        self.header_over = true;
        // Most signatures need this one, and a seal of ours will.
        self.bodies.push(BodyHash::new(Form::Relaxed, None));
        for (kind, field) in signature_fields(&self.header) {
            let Ok(signature) = Signature::parse(kind, field.value()) else {
                continue;
            };
            let (form, limit) = (signature.body_form, signature.body_length);
            let known = |it: &BodyHash| (it.form(), it.limit()) == (form, limit);
            if self.bodies.len() < MAX_BODY_HASHES && !self.bodies.iter().any(known) {
                self.bodies.push(BodyHash::new(form, limit));
            }
        }
    }

    pub fn finish(mut self) -> Hashed {
        // A header without an end: the body is empty.
        if !self.header_over {
            self.begin_body();
        }
        let digest = |it: BodyHash| (it.form(), it.limit(), it.finish());
        Hashed {
            header: self.header,
            bodies: self.bodies.into_iter().map(digest).collect(),
        }
    }
}

/// Where the empty line stands, looked for from `seen` on.
pub fn header_end(header: &[u8], seen: usize) -> Option<usize> {
    if header.starts_with(b"\r\n") {
        return Some(0);
    }
    let found = memmem::find(header.get(seen..)?, b"\r\n\r\n");
    found.map(|at| seen + at + 2)
}

impl Hashed {
    /// Without the empty line behind it.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    pub fn fields(&self) -> Vec<Field<'_>> {
        header::fields(&self.header).collect()
    }

    /// The body as this signature hashes it; `None` for one beyond the limit.
    pub(super) fn body(&self, signature: &Signature) -> Option<BodyDigest> {
        self.digest(signature.body_form, signature.body_length)
    }

    /// The whole body, relaxed; `None` if the header is too long.
    pub(super) fn relaxed_body(&self) -> Option<BodyDigest> {
        self.digest(Form::Relaxed, None)
    }

    fn digest(&self, form: Form, length: Option<u64>) -> Option<BodyDigest> {
        let wanted = (form, length);
        let found = self.bodies.iter().find(|it| (it.0, it.1) == wanted);
        found.map(|it| it.2)
    }
}

/// DKIM-Signature from the top, and the ARC-Message-Signature of the highest number (RFC
/// 8617, 5.2).
fn signature_fields(header: &[u8]) -> Vec<(Kind, Field<'_>)> {
    let mut newest: Option<(u32, Field<'_>)> = None;
    let mut found = Vec::new();
    for field in header::fields(header) {
        if field.is(b"DKIM-Signature") && found.len() < super::dkim::MAX_SIGNATURES {
            found.push((Kind::Dkim, field));
        } else if field.is(b"ARC-Message-Signature")
            && let Some(number) = super::arc::instance(field.value())
            && newest.is_none_or(|(highest, _)| number > highest)
        {
            newest = Some((number, field));
        }
    }
    found.extend(newest.map(|(_, field)| (Kind::Arc, field)));
    found
}

/// What a signature signs: the fields it names, then its own without the value of `b=` and
/// the line end.
pub(super) fn signed_header(
    fields: &[Field<'_>],
    own: &Field<'_>,
    form: Form,
    names: &[String],
) -> Option<Vec<u8>> {
    let mut out = selected(fields, form, names);
    own_field(own, form, &mut out)?;
    Some(out)
}

/// The fields of these names (in lower case), from the bottom up where one comes more than
/// once (RFC 6376, 5.4.2).
pub(super) fn selected(fields: &[Field<'_>], form: Form, names: &[String]) -> Vec<u8> {
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for name in names {
        places.entry(name.as_bytes()).or_default();
    }
    for (at, field) in fields.iter().enumerate() {
        if let Some(list) = places.get_mut(field.name.to_ascii_lowercase().as_slice()) {
            list.push(at);
        }
    }
    let mut out = Vec::new();
    for name in names {
        // A name beyond those there are signs that there is no further one (5.4).
        let place = places.get_mut(name.as_bytes()).and_then(Vec::pop);
        if let Some(field) = place.and_then(|at| fields.get(at)) {
            canonical::field(form, field.raw, &mut out);
        }
    }
    out
}

/// A signature's own field as it signs itself.
pub(super) fn own_field(own: &Field<'_>, form: Form, out: &mut Vec<u8>) -> Option<()> {
    let mut raw = own.raw.to_vec();
    raw.drain(super::tags::place_of_b(&raw)?);
    canonical::field(form, &raw, out);
    if out.ends_with(b"\r\n") {
        out.truncate(out.len() - 2);
    }
    Some(())
}
