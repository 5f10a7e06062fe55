//! The examples of the RFCs, and messages signed here and changed on the way.

use super::hashing::Hashing;
use super::key::{Algorithm, SigningKey};
use super::sign::Signing;
use super::*;
use futures_lite::future::block_on;
use std::collections::HashMap;
use std::sync::Arc;

/// DNS from a table; what is not in it does not exist, and of a name that is `down` only what
/// is in it is known.
#[derive(Default)]
pub struct Zone {
    pub txt: HashMap<String, Vec<Vec<u8>>>,
    pub addresses: HashMap<String, Vec<IpAddr>>,
    pub mx: HashMap<String, Vec<String>>,
    pub names: HashMap<IpAddr, Vec<String>>,
    pub aliases: HashMap<String, String>,
    pub down: Vec<String>,
}

impl Zone {
    pub fn with(records: &[(&str, &str)]) -> Zone {
        let mut zone = Zone::default();
        for (name, text) in records {
            let list = zone.txt.entry((*name).into()).or_default();
            list.push(text.as_bytes().to_vec());
        }
        zone
    }

    fn find<T: Clone>(
        &self,
        table: &HashMap<String, Vec<T>>,
        name: &str,
    ) -> Result<Vec<T>, Unavailable> {
        assert!(name.is_ascii() && !name.ends_with('.'), "{name}");
        let mut name = name.to_ascii_lowercase();
        for _ in 0..4 {
            name = self.aliases.get(&name).cloned().unwrap_or(name);
        }
        match table.get(&name) {
            Some(found) => Ok(found.clone()),
            None if self.down.contains(&name) => Err(Unavailable),
            None => Ok(Vec::new()),
        }
    }
}

impl Dns for Zone {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, Unavailable> {
        self.find(&self.txt, name)
    }

    async fn addresses(&self, name: &str, six: bool) -> Result<Vec<IpAddr>, Unavailable> {
        let mut found = self.find(&self.addresses, name)?;
        found.retain(|it| it.is_ipv6() == six);
        Ok(found)
    }

    async fn mx(&self, name: &str) -> Result<Vec<String>, Unavailable> {
        self.find(&self.mx, name)
    }

    async fn names(&self, address: IpAddr) -> Result<Vec<String>, Unavailable> {
        Ok(self.names.get(&address).cloned().unwrap_or_default())
    }
}

/// Now, for these messages.
const NOW: i64 = 1_600_000_000;

fn verified(message: &[u8], zone: &Zone, step: usize) -> Vec<dkim::Verified> {
    let mut hashing = Hashing::new();
    message.chunks(step).for_each(|chunk| hashing.push(chunk));
    block_on(dkim::verify(&hashing.finish(), zone, NOW))
}

#[track_caller]
fn verdicts(message: &[u8], zone: &Zone) -> Vec<Verdict> {
    let all = verified(message, zone, message.len());
    for step in [1, 2, 3, 7, 100] {
        assert_eq!(verified(message, zone, step), all, "by {step}");
    }
    all.iter().map(|it| it.verdict).collect()
}

/// RFC 8463, A: one message with both kinds of signature.
const RFC8463: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r
 d=football.example.com; i=@football.example.com;\r
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r
 subject : date : message-id : from : subject : date;\r
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r
 d=football.example.com; i=@football.example.com;\r
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r
 date : message-id : from : subject : date;\r
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r
From: Joe SixPack <joe@football.example.com>\r
To: Suzie Q <suzie@shopping.example.net>\r
Subject: Is dinner ready?\r
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r
Message-ID: <20030712040037.46341.5F8J@football.example.com>\r
\r
Hi.\r
\r
We lost the game.  Are you hungry yet?\r
\r
Joe.\r
";

fn rfc8463_zone() -> Zone {
    Zone::with(&[
        (
            "brisbane._domainkey.football.example.com",
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        ),
        (
            "test._domainkey.football.example.com",
            "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR\
             iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC\
             DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3\
             Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
        ),
    ])
}

#[test]
fn the_message_of_rfc_8463_verifies() {
    let results = verdicts(RFC8463.as_bytes(), &rfc8463_zone());
    assert_eq!(results, [Verdict::Pass, Verdict::Pass]);
    // Harmless changes: relaxed forms overlook them.
    let relaxed = RFC8463
        .replace("Subject: Is dinner", "SUBJECT :  Is\r\n\tdinner")
        .replace("game.  Are", "game. \tAre")
        + "\r\n\r\n";
    assert_eq!(
        verdicts(relaxed.as_bytes(), &rfc8463_zone()),
        [Verdict::Pass, Verdict::Pass]
    );
}

#[test]
fn whatever_is_changed_fails() {
    let changed = |from: &str, to: &str| {
        let message = RFC8463.replace(from, to);
        assert_ne!(message, RFC8463);
        let results = verdicts(message.as_bytes(), &rfc8463_zone());
        results.into_iter().all(|it| it != Verdict::Pass)
    };
    assert!(changed("lost", "won"));
    assert!(changed("Suzie Q", "Suzie R"));
    assert!(changed("\r\n\r\nHi", "\r\nSubject: another\r\n\r\nHi"));
    assert!(changed("From: Joe", "From: x@y.example\r\nFrom: Joe"));
    assert!(changed("t=1528637909", "t=1528637908"));
    assert!(changed("d=football.example.com", "d=example.com"));
    let none = verified(RFC8463.as_bytes(), &Zone::default(), 9);
    assert!(none.iter().all(|it| it.reason == "there is no key"));
    let mut down = rfc8463_zone();
    down.txt.remove("test._domainkey.football.example.com");
    down.down = vec!["test._domainkey.football.example.com".into()];
    let results = verdicts(RFC8463.as_bytes(), &down);
    assert_eq!(results, [Verdict::Pass, Verdict::TempError]);
}

/// The private key of RFC 8463, A.2, in PKCS #8.
fn rfc8463_key() -> SigningKey {
    use base64::Engine;
    let seed = base64::engine::general_purpose::STANDARD
        .decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
        .unwrap();
    let mut pkcs8 = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    pkcs8.extend(seed);
    SigningKey::new(
        "football.example.com",
        "brisbane",
        Algorithm::Ed25519,
        &pkcs8,
    )
    .unwrap()
}

fn signed(message: &[u8], keys: Vec<Arc<SigningKey>>, step: usize) -> Vec<u8> {
    let mut signing = Signing::new(keys, NOW);
    message.chunks(step).for_each(|chunk| signing.push(chunk));
    let mut out = signing.finish();
    out.extend_from_slice(message);
    out
}

#[test]
fn what_is_signed_verifies_however_it_is_cut() {
    let rsa = generate::private_key(Algorithm::Rsa).unwrap();
    let rsa = SigningKey::new("football.example.com", "r", Algorithm::Rsa, rsa.reveal()).unwrap();
    let mut zone = rfc8463_zone();
    zone.txt.insert(
        "r._domainkey.football.example.com".into(),
        vec![rsa.record().into_bytes()],
    );
    let keys = vec![Arc::new(rfc8463_key()), Arc::new(rsa)];
    for message in [
        "From: a@football.example.com\r\nSubject: x\r\nTo: b@c.de\r\nto: d@e.de\r\n\r\nbody \t \r\n\r\n",
        "From: a@football.example.com\r\n\r\n",
        "From: a@football.example.com\r\n",
        "From : \r\n a@football.example.com\r\nReceived: x\r\n\r\nline without end",
    ] {
        let whole = signed(message.as_bytes(), keys.clone(), message.len());
        for step in [1, 2, 5] {
            assert_eq!(signed(message.as_bytes(), keys.clone(), step), whole);
        }
        assert_eq!(verdicts(&whole, &zone), [Verdict::Pass; 2], "{message}");
        let text = String::from_utf8(whole).unwrap();
        assert!(text.lines().all(|line| line.len() <= 90), "{text}");
        let forged = text.clone() + "\r\nx";
        assert_eq!(verdicts(forged.as_bytes(), &zone), [Verdict::Fail; 2]);
        // From is named once more than it is there.
        let second = text.replacen("\r\nFrom", "\r\nFrom: eve@x.example\r\nFrom", 1);
        assert_eq!(verdicts(second.as_bytes(), &zone), [Verdict::Fail; 2]);
    }
}

#[test]
fn without_keys_or_author_nothing_is_signed() {
    let message = b"Subject: x\r\n\r\nb\r\n";
    assert_eq!(signed(message, vec![], 4), message);
    assert_eq!(signed(message, vec![Arc::new(rfc8463_key())], 4), message);
    let other = b"From: a@example.com\r\n\r\nb\r\n";
    assert_eq!(signed(other, vec![Arc::new(rfc8463_key())], 4), other);
}

#[test]
fn the_nearest_domain_signs() {
    let private = generate::private_key(Algorithm::Ed25519).unwrap();
    let key = |domain: &str| {
        let key = SigningKey::new(domain, "s", Algorithm::Ed25519, private.reveal());
        Arc::new(key.unwrap())
    };
    let keys = vec![
        key("example"),
        key("b.example"),
        key("xb.example"),
        key("other.test"),
    ];
    for (from, domain) in [
        ("A <a@sub.B.example>", "d=b.example;"),
        ("a@b.example, c@other.test", "d=b.example;"),
        ("a@c.example", "d=example;"),
    ] {
        let message = format!("From: {from}\r\n\r\n");
        let text = String::from_utf8(signed(message.as_bytes(), keys.clone(), 9)).unwrap();
        assert!(text.contains(domain), "{text}");
        assert_eq!(text.matches("DKIM-Signature").count(), 1);
    }
}

#[test]
fn a_signature_over_a_part_of_the_body_is_not_enough() {
    let message = RFC8463.replace("q=dns/txt;", "q=dns/txt; l=0;");
    let results = verified(message.as_bytes(), &rfc8463_zone(), 50);
    assert!(results.iter().all(|it| it.verdict == Verdict::Fail));
    let zero = message.replace(
        "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    );
    let results = verified(zero.as_bytes(), &rfc8463_zone(), 50);
    assert!(
        results.iter().all(|it| it.verdict == Verdict::Policy),
        "{results:?}"
    );
}

#[test]
fn a_message_has_so_many_signatures_and_no_more() {
    let many = RFC8463.split_at(RFC8463.find("DKIM-Signature: v=1; a=rsa").unwrap());
    let message = many.0.repeat(40) + many.1;
    assert_eq!(
        verdicts(message.as_bytes(), &rfc8463_zone()).len(),
        dkim::MAX_SIGNATURES
    );
}

/// RFC 6376, A.2 (its key is of 1024 bits), with simple forms.
#[test]
fn the_message_of_rfc_6376_verifies() {
    let message = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r
      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r
      h=Received : From : To : Subject : Date : Message-ID;\r
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r
      4bmp/YzhwvcubU4=;\r
Received: from client1.football.example.com  [192.0.2.1]\r
      by submitserver.example.com with SUBMISSION;\r
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r
From: Joe SixPack <joe@football.example.com>\r
To: Suzie Q <suzie@shopping.example.net>\r
Subject: Is dinner ready?\r
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r
Message-ID: <20030712040037.46341.5F8J@football.example.com>\r
\r
Hi.\r
\r
We lost the game. Are you hungry yet?\r
\r
Joe.\r
";
    let zone = Zone::with(&[(
        "brisbane._domainkey.example.com",
        "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ\
         KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
         IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v\
         /RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
         tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
    )]);
    assert_eq!(verdicts(message.as_bytes(), &zone), [Verdict::Pass]);
    let folded = message.replace("Subject: Is", "Subject:  Is");
    assert_eq!(verdicts(folded.as_bytes(), &zone), [Verdict::Fail]);
}

/// Adds one ARC set to a message, as a server on the way would.
fn sealed(message: &str, key: &SigningKey, number: u32, cv: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let mut hash = canonical::BodyHash::new(canonical::Form::Relaxed, None);
    let (_, body) = message.split_once("\r\n\r\n").unwrap();
    hash.push(body.as_bytes());
    let bh = STANDARD.encode(hash.finish().sha256);
    let tags = format!(
        "a={}; d={}; s={}",
        key.algorithm().name(),
        key.domain(),
        key.selector()
    );
    let sign = |field: String, before: &str, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|it| it.to_string()).collect();
        let all = format!("{field}\r\n{before}");
        let fields: Vec<_> = crate::message::header::fields(all.as_bytes()).collect();
        let mut data = match names.is_empty() {
            // A seal: its own set and those before, oldest first.
            true => {
                let mut data = Vec::new();
                for n in 1..=number {
                    for name in [
                        "ARC-Authentication-Results",
                        "ARC-Message-Signature",
                        "ARC-Seal",
                    ] {
                        let is_it = |it: &&crate::message::header::Field<'_>| {
                            it.is(name.as_bytes()) && arc::instance(it.value()) == Some(n)
                        };
                        for it in fields.iter().skip(1).filter(is_it) {
                            canonical::field(canonical::Form::Relaxed, it.raw, &mut data);
                        }
                    }
                }
                data
            }
            false => hashing::selected(&fields, canonical::Form::Relaxed, &names),
        };
        hashing::own_field(&fields[0], canonical::Form::Relaxed, &mut data).unwrap();
        let signature = STANDARD.encode(key.sign(&data).unwrap());
        format!("{field}{signature}\r\n{before}")
    };
    let message =
        format!("ARC-Authentication-Results: i={number}; mx.test; dkim=pass\r\n{message}");
    let ams = format!(
        "ARC-Message-Signature: i={number}; {tags}; c=relaxed/relaxed; h=from:subject; bh={bh}; b="
    );
    let message = sign(ams, &message, &["from", "subject"]);
    let seal = format!("ARC-Seal: i={number}; {tags}; cv={cv}; b=");
    sign(seal, &message, &[])
}

#[test]
fn chains_of_arc_hold_or_fail() {
    let key = rfc8463_key();
    let zone = rfc8463_zone();
    let plain = "From: a@b.test\r\nSubject: x\r\n\r\nbody\r\n";
    let chain = |message: &str| {
        let mut hashing = Hashing::new();
        message.as_bytes().chunks(9).for_each(|it| hashing.push(it));
        let chain = block_on(arc::verify(&hashing.finish(), &zone));
        (chain.verdict, chain.reason)
    };
    assert_eq!(chain(plain), (Verdict::None, ""));
    let one = sealed(plain, &key, 1, "none");
    assert_eq!(chain(&one), (Verdict::Pass, ""));
    let changed = one.replace("Subject: x", "Subject: [list] x");
    let failed = (Verdict::Fail, "the message signature does not match");
    assert_eq!(chain(&changed), failed);
    // The next hop signs what it made of the message.
    let two = sealed(&changed, &key, 2, "pass");
    assert_eq!(chain(&two), (Verdict::Pass, ""));
    let forged = two.replace("i=1; mx.test", "i=1; my.test");
    assert_eq!(chain(&forged), (Verdict::Fail, "a seal does not match"));
    for (from, to, reason) in [
        ("i=2", "i=3", "the sets are not in order"),
        ("cv=pass", "cv=fail", "the chain had failed before"),
        ("cv=none", "cv=pass", "a seal's chain value is wrong"),
        ("ARC-Seal: i=2", "X: i=2", "a set is not whole"),
        (
            "ARC-Seal: i=2",
            "ARC-Seal: i=77",
            "an instance number is wrong",
        ),
    ] {
        assert_eq!(chain(&two.replace(from, to)), (Verdict::Fail, reason));
    }
}
