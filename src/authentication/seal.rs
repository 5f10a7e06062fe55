//! Sealing (RFC 8617, 5.1): what was found out of a message goes on with it, signed, so that
//! the next server can believe it though SPF speaks of us and not of the sender any more.

use super::Verdict;
use super::arc::{self, Chain, MAX_SETS, Set};
use super::canonical::{self, Form};
use super::hashing::{Hashed, selected};
use super::key::{Algorithm, SigningKey};
use super::results::Results;
use super::sign::{named, signed, unsigned_field};
use super::tags::Tags;
use super::{ascii_domain, is_within};
use crate::message::header::Field;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// Signed beside what every signature of ours signs (RFC 8617, 4.1.2).
const ALSO_SIGNED: [&str; 1] = ["DKIM-Signature"];

/// Who seals: of the RSA keys, which all verifiers know, that of the domain or of the nearest
/// above it.
pub fn sealer(keys: &[Arc<SigningKey>], domain: &str) -> Option<Arc<SigningKey>> {
    let domain = ascii_domain(domain)?;
    let ours = keys
        .iter()
        .filter(|it| it.algorithm() == Algorithm::Rsa && is_within(&domain, it.domain()));
    ours.max_by_key(|it| it.domain().len()).cloned()
}

/// The three fields of one more set, to be put in front. `None` where there is nothing to be
/// sealed: the chain was given up before, is as long as it may be, or could not be looked at.
pub fn seal(
    message: &Hashed,
    results: &Results,
    hostname: &str,
    key: &SigningKey,
    now: i64,
) -> Option<Vec<u8>> {
    let fields = message.fields();
    let chain = results.arc.as_ref()?;
    let (instance, sealed, value) = next(chain, &fields)?;
    let names = named(message.header(), &ALSO_SIGNED);
    // Else the first line would become one of ours.
    let is_fold = message.header().starts_with(b" ") || message.header().starts_with(b"\t");
    if is_fold || !names.iter().any(|name| name == "From") {
        return None;
    }
    let found = format!(
        "ARC-Authentication-Results: i={instance}; {}\r\n",
        results.text(hostname)
    );
    let hash = STANDARD.encode(message.relaxed_body()?.sha256);
    let front = format!("ARC-Message-Signature: i={instance};");
    let unsigned = unsigned_field(&front, key, &names, &hash, now);
    let lower: Vec<String> = names.iter().map(|it| it.to_ascii_lowercase()).collect();
    let signature = signed(key, selected(&fields, Form::Relaxed, &lower), &unsigned)?;
    let mut data = arc::whole(&sealed);
    for field in [found.as_bytes(), &signature] {
        canonical::field(Form::Relaxed, field, &mut data);
    }
    let (algorithm, domain, selector) = (key.algorithm().name(), key.domain(), key.selector());
    let unsigned = format!(
        "ARC-Seal: i={instance}; a={algorithm}; t={now}; cv={value};\r\n\td={domain};\r\n\t\
         s={selector};\r\n\tb="
    );
    let mut out = signed(key, data, &unsigned)?;
    out.extend(signature);
    out.extend(found.into_bytes());
    Some(out)
}

/// The next set's number, the sets that its seal covers, and what it says of them. A chain
/// that fails is covered no more: its fields may be anything (5.1.2).
fn next<'a>(chain: &Chain, fields: &[Field<'a>]) -> Option<(u32, Vec<Set<'a>>, &'static str)> {
    let next = match chain.verdict {
        Verdict::None => (1, Vec::new(), "none"),
        Verdict::Pass => (chain.sets + 1, arc::sets(fields).ok()?, "pass"),
        Verdict::Fail if given_up(fields) => return None,
        Verdict::Fail => (highest(fields) + 1, Vec::new(), "fail"),
        // It may be whole.
        _ => return None,
    };
    (next.0 <= MAX_SETS).then_some(next)
}

/// The highest number of any field of ARC.
fn highest(fields: &[Field<'_>]) -> u32 {
    let numbers = fields.iter().filter_map(number);
    numbers.max().unwrap_or_default()
}

fn number(field: &Field<'_>) -> Option<u32> {
    const NAMES: [&[u8]; 3] = [
        b"ARC-Seal",
        b"ARC-Message-Signature",
        b"ARC-Authentication-Results",
    ];
    let is_one = NAMES.iter().any(|name| field.is(name));
    is_one.then(|| arc::instance(field.value()))?
}

/// Whether a server before said already that the chain fails.
fn given_up(fields: &[Field<'_>]) -> bool {
    let mut seals = fields.iter().filter(|it| it.is(b"ARC-Seal"));
    seals.any(|it| Tags::parse(it.value()).is_some_and(|tags| tags.get("cv") == Some("fail")))
}

#[cfg(test)]
mod tests {
    use super::super::generate::private_key;
    use super::super::hashing::Hashing;
    use super::super::tests::Zone;
    use super::*;
    use futures_lite::future::block_on;

    const MESSAGE: &str = "DKIM-Signature: v=1; d=far.test\r\nFrom: a@far.test\r\n\
                           To: b@office.test\r\nSubject: x\r\n\r\nbody  \r\n\r\n";

    fn key(domain: &str) -> SigningKey {
        let algorithm = Algorithm::Ed25519;
        let private = private_key(algorithm).unwrap();
        SigningKey::new(domain, "s", algorithm, private.reveal()).unwrap()
    }

    fn zone(keys: &[&SigningKey]) -> Zone {
        let record = |it: &&SigningKey| (format!("s._domainkey.{}", it.domain()), it.record());
        let records: Vec<(String, String)> = keys.iter().map(record).collect();
        let records = records.iter().map(|it| (it.0.as_str(), it.1.as_str()));
        Zone::with(&records.collect::<Vec<_>>())
    }

    fn hashed(message: &str) -> Hashed {
        let mut hashing = Hashing::new();
        message.as_bytes().chunks(7).for_each(|it| hashing.push(it));
        hashing.finish()
    }

    /// The message as its next server gets it, and what it finds of the chain.
    fn sealed(message: &str, zone: &Zone, key: &SigningKey) -> Option<(String, Chain)> {
        let hashed = hashed(message);
        let results = Results {
            arc: Some(block_on(arc::verify(&hashed, zone))),
            ..Results::default()
        };
        let set = seal(&hashed, &results, "mx.office.test", key, 1_600_000_000)?;
        let field = String::from_utf8(results.field("mx.office.test")).unwrap();
        let message = String::from_utf8(set).unwrap() + &field + message;
        let chain = block_on(arc::verify(&self::hashed(&message), zone));
        Some((message, chain))
    }

    #[test]
    fn a_seal_holds_and_so_does_one_over_it() {
        let (one, two) = (key("office.test"), key("other.test"));
        let zone = zone(&[&one, &two]);
        let (first, chain) = sealed(MESSAGE, &zone, &one).unwrap();
        assert_eq!((chain.verdict, chain.sets), (Verdict::Pass, 1), "{first}");
        assert_eq!(chain.sealer, "office.test");
        let (second, chain) = sealed(&first, &zone, &two).unwrap();
        assert_eq!((chain.verdict, chain.sets), (Verdict::Pass, 2), "{second}");
        assert!(second.contains("ARC-Seal: i=2;") && second.contains("cv=pass"));
        for (from, to) in [
            ("Subject: x", "Subject: y"),
            ("body", "bodies"),
            ("dkim=none", "dkim=pass"),
            ("d=far.test", "d=fan.test"),
        ] {
            let changed = self::hashed(&second.replace(from, to));
            let chain = block_on(arc::verify(&changed, &zone));
            assert_eq!(chain.verdict, Verdict::Fail, "{from}");
        }
    }

    #[test]
    fn a_broken_chain_is_given_up_once() {
        let key = key("office.test");
        let zone = zone(&[&key]);
        let (first, _) = sealed(MESSAGE, &zone, &key).unwrap();
        let changed = first.replace("Subject: x", "Subject: y");
        let (second, chain) = sealed(&changed, &zone, &key).unwrap();
        assert!(second.starts_with("ARC-Seal: i=2;") && second.contains("cv=fail"));
        assert_eq!(chain.reason, "the chain had failed before");
        assert!(sealed(&second, &zone, &key).is_none());
        let odd = format!("ARC-Seal: i=7; cv=none\r\n{MESSAGE}");
        let (odd, _) = sealed(&odd, &zone, &key).unwrap();
        assert!(odd.starts_with("ARC-Seal: i=8;"), "{odd}");
        let full = format!("ARC-Seal: i=50; cv=none\r\n{MESSAGE}");
        assert!(sealed(&full, &zone, &key).is_none());
    }

    #[test]
    fn what_can_not_be_looked_at_is_not_sealed() {
        let key = key("office.test");
        let mut down = zone(&[&key]);
        let (first, _) = sealed(MESSAGE, &down, &key).unwrap();
        down.txt.clear();
        down.down.push("s._domainkey.office.test".into());
        assert!(sealed(&first, &down, &key).is_none());
        assert!(sealed("Subject: no author\r\n\r\n", &down, &key).is_none());
        // Ed25519 is not known to all: it is not chosen.
        assert!(sealer(&[Arc::new(key)], "office.test").is_none());
    }
}
