//! DKIM, SPF, DMARC and ARC: what strangers write into messages and into DNS.

use super::{Random, fuzz};
use futures_lite::future::block_on;
use pillarbox::authentication::hashing::{Hashed, Hashing};
use pillarbox::authentication::key::{Algorithm, PublicKey, SigningKey};
use pillarbox::authentication::results::{self, Results};
use pillarbox::authentication::sign::Signing;
use pillarbox::authentication::spf::{self, Query};
use pillarbox::authentication::{Dns, Unavailable, Verdict, arc, dkim, dmarc, generate};
use pillarbox::message::header;
use std::net::IpAddr;
use std::sync::Arc;

/// Every name has the same record, so that any name that comes of a record leads on.
struct Everywhere(Vec<u8>);

impl Dns for Everywhere {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, Unavailable> {
        askable(name);
        Ok(vec![self.0.clone()])
    }

    async fn addresses(&self, name: &str, six: bool) -> Result<Vec<IpAddr>, Unavailable> {
        askable(name);
        Ok(match six {
            true => vec!["2001:db8::1".parse().unwrap()],
            false => Vec::new(),
        })
    }

    async fn mx(&self, name: &str) -> Result<Vec<String>, Unavailable> {
        askable(name);
        Ok(vec!["mx.example".into(), String::new(), "a..b".into()])
    }

    async fn names(&self, _: IpAddr) -> Result<Vec<String>, Unavailable> {
        Ok(vec!["name.example".into()])
    }
}

fn askable(name: &str) {
    let is_label = |label: &str| (1..=63).contains(&label.len());
    assert!(name.len() <= 270 && name.is_ascii(), "{name:?}");
    assert!(name.split('.').all(is_label), "{name:?}");
}

const RECORDS: [&[u8]; 9] = [
    b"v=spf1 include:%{d}.x.example a:%{l1r+}.%{ir}.y.example mx/24//64 -all",
    b"v=spf1 exists:%{i}._%{h}.%{p2}.z.example redirect=%{s}.example exp=%{o}.example",
    b"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?ptr ~all",
    b"v=spf1 a:a.b%{d} x=y",
    b"v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=r; psd=y; t=y; rua=mailto:a@b",
    b"v=DKIM1; k=ed25519; h=sha256; s=email; t=s:y; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    b"k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
      IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
      tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
    b"Explanation of %{S} for %{c} at %{t} by %{r}: 100%%%_%-",
    b"v=spf1",
];

#[test]
fn records() {
    fuzz("dns records", &RECORDS, |bytes| {
        let _ = PublicKey::parse(bytes);
        let _ = dmarc::Record::parse(bytes);
        let everywhere = Everywhere(bytes.to_vec());
        let six = "2001:db8::2".parse().unwrap();
        let query = Query {
            local: "a+b/c".into(),
            domain: "d.example".into(),
            ..Query::helo(six, "h.example", "r.example", 7)
        };
        let outcome = block_on(spf::check(&everywhere, &query));
        if !spf::is_record(bytes) {
            let unread = [Verdict::None, Verdict::PermError];
            assert!(unread.contains(&outcome.verdict), "{outcome:?}");
        }
        if let Some(text) = outcome.explanation {
            assert!(text.bytes().all(|b| matches!(b, b' '..=b'~')), "{text:?}");
        }
        let shown = dmarc::Shown {
            spf: (&spf::Outcome::default(), "d.example"),
            dkim: &[],
            incomplete: false,
            draw: 0,
        };
        let name = String::from_utf8_lossy(bytes);
        block_on(dmarc::check(&everywhere, &name, &shown));
        block_on(dmarc::check(
            &everywhere,
            "a.b.c.d.e.f.g.h.i.example",
            &shown,
        ));
    });
}

const MESSAGES: [&[u8]; 5] = [
    b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/simple; d=a.example; s=b; t=1; x=9; l=3;\r\n\
      \th=From:To:from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n b=AAAA\r\n\
      From: x@a.example\r\nTo: y\r\n\r\nbody \t \r\n\r\n",
    b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.example; s=b; b=AA==\r\n\
      ARC-Message-Signature: i=1; a=rsa-sha256; d=a.example; s=b; h=from; c=simple;\r\n\
      \tbh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AA==\r\n\
      ARC-Authentication-Results: i=1; mx.example; spf=pass\r\nFrom: x\r\n\r\n",
    b"Authentication-Results: (c) \"mx.test\" 1; none\r\nFrom: a\r\n\r\n.\r\n",
    b"from : \r\n x@a.example\r\n\r\n",
    b"\r\n\r\n",
];

/// What is found does not depend on how the message is cut, and what is signed verifies.
#[test]
fn messages() {
    let mut random = Random::new(3);
    let private = generate::private_key(Algorithm::Ed25519).unwrap();
    let key = SigningKey::new("a.example", "b", Algorithm::Ed25519, private.reveal());
    let key = Arc::new(key.unwrap());
    let everywhere = Everywhere(key.record().into_bytes());
    fuzz("authentication of messages", &MESSAGES, |bytes| {
        let whole = hashed(bytes, || usize::MAX);
        let cut = hashed(bytes, || 1 + random.below(30));
        let check = |it: &Hashed| {
            let signed = block_on(dkim::verify(it, &everywhere, 5));
            (signed, block_on(arc::verify(it, &everywhere)))
        };
        let found = check(&whole);
        assert_eq!(found, check(&cut));
        for field in header::fields(whole.header()) {
            results::is_forged(&field, "mx.test");
        }
        let results = Results {
            dkim: found.0,
            arc: Some(found.1),
            ..Results::default()
        };
        let field = results.field("mx.test");
        assert_eq!(
            header::fields(&field).count(),
            1,
            "{}",
            field.escape_ascii()
        );
        let mut signing = Signing::new(vec![key.clone()], 1);
        signing.push(bytes);
        let mut signed = signing.finish();
        if !signed.is_empty() {
            signed.extend_from_slice(bytes);
            let again = block_on(dkim::verify(&hashed(&signed, || 99), &everywhere, 5));
            let first = again.first().map(|it| it.verdict);
            assert_eq!(first, Some(Verdict::Pass));
        }
    });
}

fn hashed(bytes: &[u8], mut size: impl FnMut() -> usize) -> Hashed {
    let mut hashing = Hashing::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (slice, more) = rest.split_at(size().clamp(1, rest.len()));
        hashing.push(slice);
        rest = more;
    }
    hashing.finish()
}
