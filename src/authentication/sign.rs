//! Signing (RFC 6376, 5): relaxed forms, one field for each key.

use super::canonical::{BodyHash, Form, field};
use super::hashing::{MAX_HEADER, header_end};
use super::key::SigningKey;
use super::{ascii_domain, is_within};
use crate::message::{address_list, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// Fields that are signed where they are there (RFC 6376, 5.4.1). What servers on the way
/// add or change is not among them.
const SIGNED: [&str; 22] = [
    "From",
    "Sender",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "To",
    "Cc",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Description",
    "In-Reply-To",
    "References",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "Autocrypt",
];
/// Fields of which one more is named than there are: none can be added (RFC 6376, 8.15).
const OVERSIGNED: [&str; 1] = ["From"];
/// Most fields named in `h=`.
const MAX_NAMED: usize = 128;
/// Longest line of base64 in the field, characters.
const LINE: usize = 72;

/// A message on its way out. Keeps the header, hashes the body. Of the keys those sign that
/// are of the author's domain, or of the nearest above it: others would show nothing (DMARC).
pub struct Signing {
    keys: Vec<Arc<SigningKey>>,
    now: i64,
    header: Vec<u8>,
    header_over: bool,
    body: BodyHash,
}

impl Signing {
    /// `now`: seconds since 1970. Without keys nothing comes of it, at no cost.
    pub fn new(keys: Vec<Arc<SigningKey>>, now: i64) -> Signing {
        Signing {
            keys,
            now,
            header: Vec::new(),
            header_over: false,
            body: BodyHash::new(Form::Relaxed, None),
        }
    }

    /// The message as it is sent, in slices, before dot-stuffing.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.keys.is_empty() {
            return;
        }
        if self.header_over {
            return self.body.push(bytes);
        }
        let seen = self.header.len().saturating_sub(3);
        self.header.extend_from_slice(bytes);
        if let Some(end) = header_end(&self.header, seen) {
            let body = self.header.split_off(end);
            self.header_over = true;
            self.body.push(body.get(2..).unwrap_or_default());
        } else if self.header.len() > MAX_HEADER {
            // Nobody would check it.
            self.keys.clear();
            self.header = Vec::new();
        }
    }

    /// The DKIM-Signature fields, to be put in front; empty without keys for the author.
    pub fn finish(self) -> Vec<u8> {
        let names = named(&self.header, &[]);
        // A first line that begins with white space would become the signature's last.
        let is_fold = self.header.starts_with(b" ") || self.header.starts_with(b"\t");
        if is_fold || !names.iter().any(|name| name == "From") {
            return Vec::new();
        }
        let keys = keys_of(&author_domain(&self.header), &self.keys);
        if keys.is_empty() {
            return Vec::new();
        }
        let fields: Vec<_> = header::fields(&self.header).collect();
        let hash = STANDARD.encode(self.body.finish().sha256);
        let lower: Vec<String> = names.iter().map(|it| it.to_ascii_lowercase()).collect();
        let mut out = Vec::new();
        for key in keys {
            let front = "DKIM-Signature: v=1;";
            let unsigned = unsigned_field(front, key, &names, &hash, self.now);
            let data = super::hashing::selected(&fields, Form::Relaxed, &lower);
            out.extend(signed(key, data, &unsigned).unwrap_or_default());
        }
        out
    }
}

/// `unsigned`, a field up to the value of `b=`, with the signature of `data` and itself.
/// `None` only where the system has no randomness.
pub(super) fn signed(key: &SigningKey, mut data: Vec<u8>, unsigned: &str) -> Option<Vec<u8>> {
    let mut own = Vec::new();
    field(Form::Relaxed, unsigned.as_bytes(), &mut own);
    data.extend_from_slice(own.strip_suffix(b"\r\n").unwrap_or(&own));
    let signature = key.sign(&data)?;
    let mut out = unsigned.as_bytes().to_vec();
    fold(&STANDARD.encode(signature), &mut out);
    Some(out)
}

/// Of the From field's first address, as DNS has it; empty if that can't be read.
fn author_domain(header: &[u8]) -> String {
    let mut authors = Vec::new();
    address_list::parse(
        header::find(header, "From").unwrap_or_default(),
        &mut authors,
    );
    let domain = authors.into_iter().find_map(|it| it.domain);
    let domain = domain.and_then(|it| String::from_utf8(it).ok());
    domain.and_then(|it| ascii_domain(&it)).unwrap_or_default()
}

fn keys_of<'a>(domain: &str, keys: &'a [Arc<SigningKey>]) -> Vec<&'a SigningKey> {
    let above = keys.iter().filter(|it| is_within(domain, it.domain()));
    let nearest = above.clone().map(|it| it.domain().len()).max();
    above
        .filter(|it| Some(it.domain().len()) == nearest)
        .map(Arc::as_ref)
        .collect()
}

/// The names for `h=`, as often as each is there, and once more those oversigned; `more` than
/// are signed anyway.
pub(super) fn named(header: &[u8], more: &[&'static str]) -> Vec<String> {
    let mut names = Vec::new();
    for &name in SIGNED.iter().chain(more) {
        let count = header::fields(header).filter(|it| it.is(name.as_bytes()));
        let again = usize::from(OVERSIGNED.contains(&name));
        let count = match count.count() {
            0 => 0,
            count => count + again,
        };
        names.extend(std::iter::repeat_n(name.to_owned(), count));
    }
    names.truncate(MAX_NAMED);
    names
}

/// The field, which begins with `front`, up to the value of `b=`.
pub(super) fn unsigned_field(
    front: &str,
    key: &SigningKey,
    names: &[String],
    hash: &str,
    now: i64,
) -> String {
    let (algorithm, domain) = (key.algorithm().name(), key.domain());
    let selector = key.selector();
    let mut text = format!(
        "{front} a={algorithm}; c=relaxed/relaxed;\r\n\td={domain};\r\n\t\
         s={selector}; t={now};\r\n\th="
    );
    let mut line = 0;
    for (n, name) in names.iter().enumerate() {
        if n > 0 {
            text.push(':');
            line += name.len() + 1;
        }
        if line > LINE {
            text += "\r\n\t ";
            line = 0;
        }
        text += name;
    }
    text + &format!(";\r\n\tbh={hash};\r\n\tb=")
}

/// Base64 in lines.
fn fold(text: &str, out: &mut Vec<u8>) {
    for (n, line) in text.as_bytes().chunks(LINE).enumerate() {
        if n > 0 {
            out.extend_from_slice(b"\r\n\t ");
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\r\n");
}
