//! Messages: the scanner, the row it leaves, and decoding.

use super::{Random, fuzz};
use pillarbox::message::address_list;
use pillarbox::message::charset::{TextDecoder, to_text};
use pillarbox::message::content::Content;
use pillarbox::message::decode::Decoder;
use pillarbox::message::encoded_word::decode_value;
use pillarbox::message::envelope_ref::{self, EnvelopeField};
use pillarbox::message::header::{fields, header_fields};
use pillarbox::message::row::StructureRef;
use pillarbox::message::scanner::Scanner;
use pillarbox::message::structure::{Encoding, Part, Structure};
use pillarbox::message::text::{Needle, header_contains, header_text};
use pillarbox::message::{date, envelope};
use std::ops::Range;
use std::path::Path;

/// Seeds longer than that would be most of the time.
const MAX_SEED: u64 = 8 * 1024;

fn messages() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("tests/messages")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "eml"))
        .filter(|path| path.metadata().is_ok_and(|it| it.len() <= MAX_SEED))
        .collect();
    paths.sort();
    let messages: Vec<_> = paths
        .iter()
        .filter_map(|path| std::fs::read(path).ok())
        .collect();
    assert!(messages.len() > 20, "the corpus is gone");
    messages
}

#[test]
fn scanner() {
    let messages = messages();
    let seeds: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let mut random = Random::new(1);
    fuzz("message scanner", &seeds, |bytes| {
        let structure = scan(bytes, || usize::MAX);
        assert_eq!(scan(bytes, || 1 + random.below(100)), structure);
        assert_eq!(structure.size as usize, bytes.len());
        within(&structure.root, 0..structure.size);
        let row = structure.encode();
        assert_eq!(Structure::decode(&row).as_ref(), Some(&structure));
        let head = StructureRef::read(&row).expect("a row just written");
        assert_eq!(head.envelope, structure.envelope);
        field_text(head.envelope, EnvelopeField::MessageId).expect("an envelope has ten fields");
        field_text(head.envelope, EnvelopeField::From);
        balanced(&structure.body_structure);
        balanced(&structure.body());
    });
}

/// A field's text; where it is plain, that is what it says.
fn field_text(envelope: &[u8], name: EnvelopeField) -> Option<String> {
    let raw = envelope_ref::field(envelope, name)?;
    let mut text = String::new();
    envelope_ref::text(raw, &mut text);
    if let Some(plain) = envelope_ref::plain(raw) {
        assert_eq!(plain, text.as_bytes());
    }
    Some(text)
}

fn scan(bytes: &[u8], mut size: impl FnMut() -> usize) -> Structure {
    let mut scanner = Scanner::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (slice, more) = rest.split_at(size().min(rest.len()));
        scanner.push(slice);
        rest = more;
    }
    scanner.finish()
}

fn within(part: &Part, range: Range<u32>) {
    assert!(range.start <= part.header.start && part.header.start <= part.header.end);
    assert!(part.header.end <= part.body.start && part.body.start <= part.body.end);
    assert!(part.body.end <= range.end);
    for child in &part.children {
        within(child, part.body.clone());
    }
}

/// Parentheses outside of strings and literals: what a client counts.
fn balanced(wire: &[u8]) {
    let mut depth = 0_i32;
    let mut at = 0;
    while let Some(&b) = wire.get(at) {
        at += 1;
        match b {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'"' => {
                while wire.get(at).is_some_and(|&b| b != b'"') {
                    at += 1 + usize::from(wire[at] == b'\\');
                }
                at += 1;
            }
            b'{' => {
                let digits = wire[at..].iter().take_while(|b| b.is_ascii_digit()).count();
                let size = std::str::from_utf8(&wire[at..at + digits]).unwrap_or_default();
                assert!(wire[at + digits..].starts_with(b"}\r\n"));
                at += digits + 3 + size.parse::<usize>().expect("a literal's size");
            }
            _ => {}
        }
        assert!(depth > 0 || at == wire.len(), "{}", wire.escape_ascii());
    }
    assert!(depth == 0 && at == wire.len(), "{}", wire.escape_ascii());
}

/// Decoding a row that a broken disk gave back: refused or not, never a panic.
#[test]
fn rows() {
    let messages = messages();
    let rows: Vec<Vec<u8>> = messages
        .iter()
        .map(|message| scan(message, || usize::MAX).encode())
        .collect();
    let seeds: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    fuzz("message rows", &seeds, |bytes| {
        if let Some(structure) = Structure::decode(bytes) {
            structure.body();
        }
        if let Some(head) = StructureRef::read(bytes) {
            field_text(head.envelope, EnvelopeField::To);
            field_text(head.envelope, EnvelopeField::Subject);
        }
    });
}

#[test]
fn headers() {
    let seeds: [&[u8]; 9] = [
        b"Subject: =?utf-8?q?caf=C3=A9?= =?utf-8?b?w6k=?=\r\n folded\r\nTo: a@b\r\n\r\n",
        b"From: \"A, B\" <a.b@c.example> (x(y)), g: c@d, <@r:e@f>;\r\n\r\n",
        b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=\"a b\"; x*0*=utf-8''%41; x*1=b\r\n\r\n",
        b"MIME-Version: 1.0\r\nContent-Disposition: attachment; filename=\"=?x?b?zz?=\"\r\n",
        b"Content-Transfer-Encoding: (c) base64\nContent-Language: de, en\n\n",
        b"=?iso-2022-jp?B?GyRCRnxLXA==?=",
        b"=?utf-7?q?+AOk-?= =?UTF-7?Q?x?=",
        b": \r\n:\r\nno colon\r\n\r\n",
    ];
    fuzz("message headers", &seeds, |bytes| {
        let read = fields(bytes).count();
        assert!(read <= bytes.len());
        let (with, without) = (
            header_fields(bytes, &["subject"], false),
            header_fields(bytes, &["subject"], true),
        );
        assert!(with.len() + without.len() <= bytes.len() + 8);
        decode_value(bytes);
        header_text(bytes);
        header_contains(bytes, "subject", &Needle::new("caf\u{e9}"));
        let content = Content::parse(bytes, true);
        content.charset();
        content.boundary();
        date::parse(bytes);
        let mut list = Vec::new();
        address_list::parse(bytes, &mut list);
        assert!(list.len() <= address_list::MAX_ADDRESSES + 2);
        let envelope = envelope::envelope(bytes);
        assert!(field_text(&envelope, EnvelopeField::MessageId).is_some());
        balanced(&envelope);
    });
}

#[test]
fn decoding() {
    let seeds: [&[u8]; 6] = [
        b"aGVsbG8gd29ybGQ=\r\naGVsbG8=",
        b"caf=C3=A9 =\r\nsoft  \t\r\n=3D=zz=4",
        b"+AOk- &AOk- \x1b$BF|K\\\x1b(B",
        b"\xff\xfeh\0i\0",
        "é 日本 😀".as_bytes(),
        b"\xcd\xc9\x80\xff",
    ];
    let mut random = Random::new(1);
    fuzz("message decoding", &seeds, |bytes| {
        let encodings = [
            Encoding::Identity,
            Encoding::Base64,
            Encoding::QuotedPrintable,
        ];
        for encoding in encodings {
            let at_once = decoded(bytes, encoding, || usize::MAX);
            assert_eq!(decoded(bytes, encoding, || 1 + random.below(9)), at_once);
            assert!(at_once.0.len() <= bytes.len());
        }
        for charset in [
            "utf-8",
            "us-ascii",
            "utf-7",
            "iso-2022-jp",
            "utf-16",
            "gb18030",
            "koi8-r",
            "?",
        ] {
            let mut text = String::new();
            let mut decoder = TextDecoder::new(charset);
            for slice in bytes.chunks(1 + random.below(9)) {
                decoder.push(slice, false, &mut text);
            }
            decoder.push(&[], true, &mut text);
            assert_eq!(text, to_text(bytes, charset), "{charset}");
        }
    });
}

fn decoded(bytes: &[u8], encoding: Encoding, mut size: impl FnMut() -> usize) -> (Vec<u8>, bool) {
    let mut decoder = Decoder::new(encoding);
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (slice, more) = rest.split_at(size().min(rest.len()));
        decoder.push(slice, &mut out);
        rest = more;
    }
    let whole = decoder.finish(&mut out).is_ok();
    (out, whole)
}
