//! Verifying chains of ARC sets (RFC 8617): what servers on the way saw before they changed
//! the message or sent it on.

use super::canonical::{self, Form};
use super::dkim::{check_body, find_key};
use super::hashing::{Hashed, own_field, signed_header};
use super::signature::{Kind, Signature, decode, name};
use super::tags::Tags;
use super::{Dns, Verdict};
use crate::message::header::Field;

/// Most sets of a chain (RFC 8617, 4.2.1).
pub(super) const MAX_SETS: u32 = 50;

/// What came of a message's chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    pub verdict: Verdict,
    /// Why it fails.
    pub reason: &'static str,
    /// The domain that sealed last, in A-labels; empty where that can't be read.
    pub sealer: String,
    /// How many sets there are.
    pub sets: u32,
}

/// The three fields of one hop.
#[derive(Clone, Copy)]
pub(super) struct Set<'a> {
    pub results: Field<'a>,
    pub message: Field<'a>,
    pub seal: Field<'a>,
}

/// The instance number, 1 to 50, that a field of ARC begins with or has among its tags.
pub fn instance(value: &[u8]) -> Option<u32> {
    let text = value.split(|&b| b == b';').find_map(|spec| {
        let equals = spec.iter().position(|&b| b == b'=')?;
        let (name, value) = spec.split_at(equals);
        (name.trim_ascii() == b"i").then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })?;
    let number: u32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (1..=MAX_SETS).contains(&number).then_some(number)
}

/// RFC 8617, 5.2.
pub async fn verify<R: Dns>(message: &Hashed, resolver: &R) -> Chain {
    let fields = message.fields();
    let sets = match sets(&fields) {
        Ok(sets) => sets,
        Err(reason) => {
            return Chain {
                verdict: Verdict::Fail,
                reason,
                ..Chain::default()
            };
        }
    };
    let Some(newest) = sets.last() else {
        return Chain::default();
    };
    let seal = Tags::parse(newest.seal.value());
    let sealer = seal.and_then(|tags| name(tags.get("d")));
    let checked = check(message, &fields, &sets, newest, resolver).await;
    let (verdict, reason) = match checked {
        Ok(()) => (Verdict::Pass, ""),
        // A chain fails for good or not at all; but without DNS nothing is known of it.
        Err((Verdict::TempError, reason)) => (Verdict::TempError, reason),
        Err((_, reason)) => (Verdict::Fail, reason),
    };
    Chain {
        verdict,
        reason,
        sealer: sealer.unwrap_or_default(),
        sets: sets.len() as u32,
    }
}

/// The sets from the first on; each must be whole and there once.
pub(super) fn sets<'a>(fields: &[Field<'a>]) -> Result<Vec<Set<'a>>, &'static str> {
    let named = |name: &str| -> Result<Vec<Field<'a>>, &'static str> {
        let mut numbered = Vec::new();
        for field in fields.iter().filter(|it| it.is(name.as_bytes())) {
            let number = instance(field.value()).ok_or("an instance number is wrong")?;
            numbered.push((number, *field));
        }
        numbered.sort_unstable_by_key(|it| it.0);
        let in_order = numbered.iter().zip(1..).all(|(it, n)| it.0 == n);
        match in_order {
            true => Ok(numbered.into_iter().map(|it| it.1).collect()),
            false => Err("the sets are not in order"),
        }
    };
    let results = named("ARC-Authentication-Results")?;
    let messages = named("ARC-Message-Signature")?;
    let seals = named("ARC-Seal")?;
    if results.len() != messages.len() || messages.len() != seals.len() {
        return Err("a set is not whole");
    }
    let all = results.into_iter().zip(messages).zip(seals);
    Ok(all
        .map(|((results, message), seal)| Set {
            results,
            message,
            seal,
        })
        .collect())
}

async fn check<R: Dns>(
    message: &Hashed,
    fields: &[Field<'_>],
    sets: &[Set<'_>],
    newest: &Set<'_>,
    resolver: &R,
) -> Result<(), (Verdict, &'static str)> {
    const FAIL: Verdict = Verdict::Fail;
    for (n, set) in sets.iter().enumerate() {
        let tags = Tags::parse(set.seal.value()).ok_or((FAIL, "a seal is malformed"))?;
        match (n, tags.get("cv")) {
            (0, Some("none")) | (1.., Some("pass")) => {}
            (_, Some("fail")) => return Err((FAIL, "the chain had failed before")),
            _ => return Err((FAIL, "a seal's chain value is wrong")),
        }
    }
    let signature = Signature::parse(Kind::Arc, newest.message.value())
        .map_err(|error| (FAIL, error.text()))?;
    check_body(message, &signature)?;
    let names = &signature.fields;
    if names.iter().any(|it| it.starts_with("arc-seal")) {
        return Err((FAIL, "a seal is signed"));
    }
    let data = signed_header(fields, &newest.message, signature.header_form, names)
        .ok_or((FAIL, "the signature is malformed"))?;
    let key = find_key(resolver, &signature).await?;
    if !key.verifies(&data, &signature.signature) {
        return Err((FAIL, "the message signature does not match"));
    }
    for count in (1..=sets.len()).rev() {
        check_seal(sets.get(..count).unwrap_or_default(), resolver).await?;
    }
    Ok(())
}

/// The seal of the last of `sets`: over all of them, relaxed (RFC 8617, 5.1.1).
async fn check_seal<R: Dns>(sets: &[Set<'_>], resolver: &R) -> Result<(), (Verdict, &'static str)> {
    const MALFORMED: (Verdict, &str) = (Verdict::Fail, "a seal is malformed");
    let (last, before) = sets.split_last().ok_or(MALFORMED)?;
    let signature = seal(&last.seal).ok_or(MALFORMED)?;
    let mut data = whole(before);
    for field in [last.results, last.message] {
        canonical::field(Form::Relaxed, field.raw, &mut data);
    }
    own_field(&last.seal, Form::Relaxed, &mut data).ok_or(MALFORMED)?;
    let key = find_key(resolver, &signature).await?;
    match key.verifies(&data, &signature.signature) {
        true => Ok(()),
        false => Err((Verdict::Fail, "a seal does not match")),
    }
}

/// Sets as a later seal signs them.
pub(super) fn whole(sets: &[Set<'_>]) -> Vec<u8> {
    let mut data = Vec::new();
    for set in sets {
        for field in [set.results, set.message, set.seal] {
            canonical::field(Form::Relaxed, field.raw, &mut data);
        }
    }
    data
}

/// A seal as a signature that names no fields and hashes no body.
fn seal(field: &Field<'_>) -> Option<Signature> {
    let tags = Tags::parse(field.value())?;
    if tags.get("h").is_some() || tags.get("bh").is_some() {
        return None;
    }
    Some(Signature {
        algorithm: super::key::Algorithm::parse(tags.get("a")?)?,
        header_form: Form::Relaxed,
        body_form: Form::Relaxed,
        body_length: None,
        body_hash: [0; 32],
        signature: decode(&tags, "b")?,
        domain: name(tags.get("d"))?,
        selector: name(tags.get("s"))?,
        identity: String::new(),
        fields: Vec::new(),
        expires: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_numbers_are_read() {
        assert_eq!(instance(b" i = 3; a=b"), Some(3));
        assert_eq!(instance(b"a=b; i=50; mx.example; spf=pass"), Some(50));
        for wrong in ["i=0", "i=51", "i=x", "x", "", "ii=3", "i=-1"] {
            assert_eq!(instance(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
