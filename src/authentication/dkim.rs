//! Verifying DKIM signatures (RFC 6376, 6).

use super::hashing::{Hashed, signed_header};
use super::key::PublicKey;
use super::signature::{Kind, Signature};
use super::tags::Tags;
use super::{Dns, Unavailable, Verdict};
use crate::message::header::Field;

/// Signatures of one message that are looked at; more only cost time (RFC 6376, 8.4).
pub const MAX_SIGNATURES: usize = 8;
/// Key records under one name that are looked at.
const MAX_KEYS: usize = 4;

/// What came of one DKIM-Signature field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub verdict: Verdict,
    /// Why, where it is not a plain pass.
    pub reason: &'static str,
    /// `d=`, in A-labels; empty where the field can't be read.
    pub domain: String,
    pub selector: String,
    /// `a=`, as written.
    pub algorithm: String,
    /// The first characters of `b=`: tells signatures apart (RFC 6008).
    pub start: String,
    /// The signer's key says that it only tries DKIM (`t=y`).
    pub testing: bool,
}

/// Looks at each signature, from the top; none gives an empty list. `now` in seconds since 1970.
pub async fn verify<R: Dns>(message: &Hashed, resolver: &R, now: i64) -> Vec<Verified> {
    let fields = message.fields();
    let own = fields.iter().filter(|it| it.is(b"DKIM-Signature"));
    let mut results = Vec::new();
    for field in own.take(MAX_SIGNATURES) {
        let mut result = described(field);
        match check(message, &fields, field, resolver, now).await {
            Ok(testing) => {
                result.verdict = Verdict::Pass;
                result.testing = testing;
            }
            Err((verdict, reason)) => {
                result.verdict = verdict;
                result.reason = reason;
            }
        }
        results.push(result);
    }
    results
}

type Failure = (Verdict, &'static str);

/// Whether the key is for tests.
async fn check<R: Dns>(
    message: &Hashed,
    fields: &[Field<'_>],
    own: &Field<'_>,
    resolver: &R,
    now: i64,
) -> Result<bool, Failure> {
    let signature = Signature::parse(Kind::Dkim, own.value()).map_err(|error| {
        let verdict = match error {
            super::signature::SignatureError::Algorithm => Verdict::Policy,
            _ => Verdict::PermError,
        };
        (verdict, error.text())
    })?;
    let now = u64::try_from(now).unwrap_or_default();
    if signature.expires.is_some_and(|expires| expires < now) {
        return Err((Verdict::PermError, "the signature has expired"));
    }
    check_body(message, &signature)?;
    let data = signed_header(fields, own, signature.header_form, &signature.fields)
        .ok_or((Verdict::PermError, "the signature is malformed"))?;
    let key = find_key(resolver, &signature).await?;
    let identity = signature.identity.rsplit('@').next().unwrap_or_default();
    if key.strict && !identity.eq_ignore_ascii_case(&signature.domain) {
        return Err((Verdict::PermError, "the identity is not the domain"));
    }
    match key.verifies(&data, &signature.signature) {
        true => Ok(key.testing),
        false => Err((Verdict::Fail, "the signature does not match")),
    }
}

/// Body hash, and whether all of the body is signed.
pub(super) fn check_body(message: &Hashed, signature: &Signature) -> Result<(), Failure> {
    let body = message.body(signature);
    let body = body.ok_or((Verdict::Policy, "too many ways to hash the body"))?;
    if body.sha256 != signature.body_hash {
        return Err((Verdict::Fail, "the body hash does not match"));
    }
    match signature.body_length {
        Some(length) if length > body.length => {
            Err((Verdict::PermError, "the body is shorter than signed"))
        }
        // Anyone can add what the reader then sees (RFC 6376, 8.2).
        Some(length) if length < body.length => {
            Err((Verdict::Policy, "a part of the body is not signed"))
        }
        _ => Ok(()),
    }
}

/// The first record that can be used.
pub(super) async fn find_key<R: Dns>(
    resolver: &R,
    signature: &Signature,
) -> Result<PublicKey, Failure> {
    let found = resolver.txt(&signature.key_name()).await;
    let records = found.map_err(|Unavailable| (Verdict::TempError, "DNS does not answer"))?;
    let mut failure = (Verdict::PermError, "there is no key");
    for record in records.iter().take(MAX_KEYS) {
        match PublicKey::parse(record) {
            Ok(key) if key.algorithm() == signature.algorithm => return Ok(key),
            Ok(_) => failure.1 = "the key is for another algorithm",
            Err(error) => failure.1 = error.text(),
        }
    }
    Err(failure)
}

/// What can be told of a signature, whatever it is worth.
fn described(field: &Field<'_>) -> Verified {
    let Some(tags) = Tags::parse(field.value()) else {
        return Verified::default();
    };
    let name = |tag| super::signature::name(tags.get(tag)).unwrap_or_default();
    let word = |tag: &str, length: usize| -> String {
        let text = tags.compact(tag).unwrap_or_default();
        let fits = |c: &char| c.is_ascii_alphanumeric() || "+/=-".contains(*c);
        text.chars().take(length).filter(fits).collect()
    };
    Verified {
        domain: name("d"),
        selector: name("s"),
        algorithm: word("a", 32),
        start: word("b", 8),
        ..Verified::default()
    }
}
