//! The openspf.org test suite, and what it leaves out.

use super::super::tests::Zone;
use super::*;
use futures_lite::future::block_on;

const SUITE: &str = include_str!("rfc7208.txt");

/// `\xNN`, `\n`, `\r` and `\\` as bytes.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend(before.bytes());
        let (kind, after) = after.split_at(1);
        rest = after;
        match kind {
            "x" => {
                let (hex, after) = after.split_at(2);
                out.push(u8::from_str_radix(hex, 16).unwrap());
                rest = after;
            }
            "n" => out.push(b'\n'),
            "r" => out.push(b'\r'),
            other => out.extend(other.bytes()),
        }
    }
    out.extend(rest.bytes());
    out
}

fn text(field: &str) -> String {
    match field {
        "-" => String::new(),
        field => String::from_utf8(unescape(field)).unwrap(),
    }
}

fn add(zone: &mut Zone, name: &str, kind: &str, value: &str) {
    let name = name.to_ascii_lowercase();
    match kind {
        "TXT" if value == "-" => zone.txt.entry(name).or_default().push(Vec::new()),
        "TXT" => zone.txt.entry(name).or_default().push(unescape(value)),
        "A" | "AAAA" => {
            let list = zone.addresses.entry(name).or_default();
            list.push(value.parse().unwrap());
        }
        "MX" => {
            let (_, exchange) = value.split_once(' ').unwrap();
            zone.mx.entry(name).or_default().push(exchange.into());
        }
        "PTR" => {
            let list = zone.names.entry(address_of(&name)).or_default();
            list.push(value.into());
        }
        "CNAME" => {
            zone.aliases.insert(name, value.to_ascii_lowercase());
        }
        "DOWN" => zone.down.push(name),
        other => panic!("{other}"),
    }
}

/// Of a name below in-addr.arpa or ip6.arpa.
fn address_of(name: &str) -> IpAddr {
    let labels = |suffix: &str| -> Vec<String> {
        let digits = name.strip_suffix(suffix).unwrap();
        digits.rsplit('.').map(str::to_owned).collect()
    };
    match name.ends_with(".in-addr.arpa") {
        true => labels(".in-addr.arpa").join(".").parse().unwrap(),
        false => {
            let digits = labels(".ip6.arpa").concat();
            let bits = u128::from_str_radix(&digits, 16).unwrap();
            IpAddr::V6(bits.into())
        }
    }
}

#[test]
fn the_suite_of_openspf_passes() {
    let mut zone = Zone::default();
    let mut scenario = "";
    let (mut count, mut wrong) = (0, Vec::new());
    // The tests of a scenario follow its zone.
    for line in SUITE.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            ["scenario", name] => {
                scenario = name;
                zone = Zone::default();
            }
            ["zone", name, kind, value] => add(&mut zone, name, kind, value),
            ["test", _, host, helo, sender, expected, explanation @ ..] => {
                count += 1;
                let outcome = block_on(check(&zone, &query(host, helo, sender)));
                let verdicts: Vec<&str> = expected.split(',').collect();
                let told = outcome.explanation.clone().unwrap_or_default();
                let as_told = match explanation {
                    [expected] => told == text(expected),
                    _ => true,
                };
                if !verdicts.contains(&outcome.verdict.word()) || !as_told {
                    wrong.push(format!("{scenario}: {line}\n  {outcome:?}"));
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, 203);
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

fn query(host: &str, helo: &str, sender: &str) -> Query {
    let (helo, sender) = (text(helo), text(sender));
    let address: IpAddr = host.parse().unwrap();
    match sender.rsplit_once('@') {
        Some((local, domain)) => Query {
            local: local.into(),
            domain: domain.into(),
            ..Query::helo(address, &helo, "receiver.example", 0)
        },
        None if sender.is_empty() => Query::helo(address, &helo, "receiver.example", 0),
        None => Query::helo(address, &sender, "receiver.example", 0),
    }
}

#[test]
fn no_record_leads_on_for_ever() {
    let zone = Zone::with(&[
        ("a.example", "v=spf1 include:b.example -all"),
        ("b.example", "v=spf1 redirect=a.example"),
    ]);
    let outcome = block_on(check(
        &zone,
        &query("192.0.2.1", "h.example", "x@a.example"),
    ));
    assert_eq!(outcome.verdict, Verdict::PermError);
    assert_eq!(outcome.reason, "too many terms ask DNS");
}

#[test]
fn an_explanation_is_a_line_of_text() {
    let zone = Zone::with(&[
        ("a.example", "v=spf1 exp=e.example -all"),
        ("e.example", "%{l} may not\r\n250 Ok"),
        ("b.example", "v=spf1 exp=f.example -all"),
        ("f.example", "%{S} may not mail from %{c}"),
    ]);
    let told =
        |sender| block_on(check(&zone, &query("192.0.2.1", "h.example", sender))).explanation;
    assert_eq!(told("x@a.example"), None);
    assert_eq!(
        told("x/y@b.example").as_deref(),
        Some("x%2Fy%40b.example may not mail from 192.0.2.1")
    );
    assert_eq!(told("x\u{e9}@f.example"), None);
}
