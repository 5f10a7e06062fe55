//! Answers of name servers.

use super::fuzz;
use pillarbox::net::dns::message::{Incoming, Question, Reading, Rtype, read};
use pillarbox::net::dns::{MAX_RECORDS, ResolverConfig};

/// Header, question `a.example`, and an answer section of the given count.
fn message(rtype: Rtype, answers: u8, records: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x81, 0xa0, 0, 1, 0, answers, 0, 0, 0, 0];
    bytes.extend_from_slice(b"\x01a\x07example\x00");
    bytes.extend_from_slice(&rtype.to_int().to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes.extend_from_slice(records);
    bytes
}

#[test]
fn answers() {
    let seeds = [
        message(Rtype::A, 1, b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01"),
        message(
            Rtype::A,
            2,
            b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x0e\xc0\x27\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01",
        ),
        message(Rtype::AAAA, 1, b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"),
        message(Rtype::MX, 1, b"\xc0\x0c\0\x0f\0\x01\0\0\0\x3c\0\x06\0\x0a\x01m\xc0\x0c"),
        message(Rtype::TXT, 1, b"\xc0\x0c\0\x10\0\x01\0\0\0\x3c\0\x06\x02ab\x02cd"),
        message(Rtype::TLSA, 1, b"\xc0\x0c\0\x34\0\x01\0\0\0\x3c\0\x05\x03\x01\x01\xab\xcd"),
        message(Rtype::SRV, 1, b"\xc0\x0c\0\x21\0\x01\0\0\0\x3c\0\x08\0\x01\0\x02\x03\xe1\xc0\x0c"),
        message(Rtype::CNAME, 1, b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c"),
        message(Rtype::PTR, 1, b"\xc0\x0c\0\x0c\0\x01\0\0\0\x3c\0\x02\xc0\x0e"),
    ];
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    let types = [
        Rtype::A,
        Rtype::AAAA,
        Rtype::MX,
        Rtype::TXT,
        Rtype::TLSA,
        Rtype::SRV,
        Rtype::CNAME,
        Rtype::PTR,
    ];
    let questions = types.map(|it| Question::new("a.example", it).expect("a name"));
    let mut found = 0;
    fuzz("dns answers", &seeds, |bytes| {
        for question in &questions {
            if let Some(Incoming::Reading(Reading::Found { records, .. })) =
                read(bytes, question, 7)
            {
                assert!((1..=MAX_RECORDS).contains(&records.len()));
                found += 1;
            }
        }
    });
    // Each seed has one; else nothing behind the header was ever read.
    assert!(found >= seeds.len());
}

#[test]
fn resolv_conf() {
    let seeds: [&[u8]; 2] = [
        b"nameserver 192.0.2.1\nnameserver ::1\noptions timeout:3 attempts:2 rotate trust-ad\n",
        b"# x\nsearch a.example\noptions timeout:\n",
    ];
    fuzz("resolv.conf", &seeds, |bytes| {
        let config = ResolverConfig::parse(&String::from_utf8_lossy(bytes));
        assert!((1..=3).contains(&config.servers.len()));
        assert!((1..=5).contains(&config.attempts));
    });
}
