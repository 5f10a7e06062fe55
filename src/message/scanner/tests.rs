use super::*;
use crate::message::envelope_ref;
use crate::message::text::{PartText, header_text};
use std::ops::Range;
use std::time::{Duration, Instant};

fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    scanner.push(message);
    scanner.finish()
}

fn scan_in(message: &[u8], mut sizes: impl FnMut() -> usize) -> Structure {
    let mut scanner = Scanner::new();
    let mut rest = message;
    while !rest.is_empty() {
        let (slice, after) = rest.split_at(sizes().clamp(1, rest.len()));
        scanner.push(slice);
        rest = after;
    }
    scanner.finish()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// BODY of a message whose text is written with plain line ends.
fn body_of(message: &str) -> String {
    text(&scan(message.replace('\n', "\r\n").as_bytes()).body())
}

/// The bodies of all leaves, in order.
fn leaves(message: &[u8]) -> Vec<String> {
    fn walk(part: &Part, message: &[u8], out: &mut Vec<String>) {
        if part.children.is_empty() && part.kind != Kind::Multipart {
            out.push(text(
                &message[part.body.start as usize..part.body.end as usize],
            ));
        }
        part.children
            .iter()
            .for_each(|child| walk(child, message, out));
    }
    let mut out = Vec::new();
    walk(&scan(message).root, message, &mut out);
    out
}

const PLAIN: &str = "\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\"";

#[test]
fn a_plain_message() {
    let message = b"Subject: hi\r\nDate: 1 Jan 1970 00:01:00 +0000\r\n\r\none\r\ntwo";
    let structure = scan(message);
    assert_eq!(structure.root.header, 0..48);
    assert_eq!(structure.root.body, 48..56);
    assert_eq!(structure.size, 56);
    assert_eq!((structure.sent, structure.sent_day), (Some(60), Some(0)));
    assert_eq!(
        text(&structure.body_structure),
        format!("({PLAIN} 8 1 NIL NIL NIL NIL)")
    );
    assert_eq!(text(&structure.body()), format!("({PLAIN} 8 1)"));
}

#[test]
fn headers_that_end_oddly() {
    assert_eq!(scan(b"").root.header, 0..0);
    assert_eq!(scan(b"Subject: x").root.header, 0..10);
    assert_eq!(scan(b"\r\nbody").root, scan(b"\r\nbody").root);
    assert_eq!(scan(b"\r\nbody").root.header, 0..2);
    assert_eq!(scan(b"A: b\n\nbody").root.body, 6..10);
    assert_eq!(scan(b"A: b\r\n\rc: d\r\n\r\n").root.body, 15..15);
    assert_eq!(scan(b"A: b\r\n \r\n\r\nx").root.body, 11..12);
    assert_eq!(scan(b"A: b\r\n\r").root.header, 0..7);
}

/// RFC 3501, 6.4.4: SEARCH has to look into the header itself.
#[test]
fn a_header_longer_than_is_read_is_abridged() {
    let message = |filler: usize| {
        let filler = "X: 345678\r\n".repeat(filler);
        scan(format!("{filler}Subject: s\r\n\r\nx").as_bytes())
    };
    assert!(!message(10).abridged);
    assert!(message(MAX_HEADER / 11 + 1).abridged);
}

#[test]
fn nul_is_seen_wherever_it_is() {
    assert!(!scan(b"A: b\r\n\r\nc").has_nul);
    assert!(scan(b"A: \0\r\n\r\nc").has_nul);
    assert!(scan(b"A: b\r\n\r\nc\0").has_nul);
}

/// RFC 2046, 5.1.1: preamble and epilogue are no parts; the line end before a delimiter is
/// the delimiter's.
#[test]
fn the_multipart_of_the_rfc() {
    let message = "From: Nathaniel Borenstein <nsb@bellcore.com>\nMIME-Version: 1.0\n\
        Content-type: multipart/mixed; boundary=\"simple boundary\"\n\n\
        This is the preamble.\n\n--simple boundary\n\n\
        This is implicitly typed plain US-ASCII text.\nIt does NOT end with a linebreak.\n\
        --simple boundary\nContent-type: text/plain; charset=us-ascii\n\n\
        This is explicitly typed plain US-ASCII text.\nIt DOES end with a linebreak.\n\n\
        --simple boundary--\n\nThis is the epilogue.\n";
    assert_eq!(
        body_of(message),
        format!("(({PLAIN} 80 1)({PLAIN} 78 2) \"mixed\")")
    );
}

#[test]
fn bare_line_feeds_are_line_ends() {
    let message =
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\r\n\n--b--\n";
    assert_eq!(leaves(message), ["one", "two\r\n"]);
}

/// RFC 3501, 7.4.2.
#[test]
fn a_message_in_a_message() {
    let message = "Content-Type: message/rfc822\n\nSubject: in\n\nbody\n";
    assert_eq!(
        body_of(message),
        format!(
            "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 21 \
             (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) ({PLAIN} 6 1) 3)"
        )
    );
}

/// RFC 2046, 5.1.5.
#[test]
fn a_digest_holds_messages() {
    let message = "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: 1\n\none\n--b\n\
        Content-Type: text/plain\n\ntwo\n--b--\n";
    assert_eq!(
        body_of(message),
        format!(
            "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 \
             (NIL \"1\" NIL NIL NIL NIL NIL NIL NIL NIL) ({PLAIN} 3 0) 2)({PLAIN} 3 0) \"digest\")"
        )
    );
}

/// MIME fields count in a message only with MIME-Version or Content-Type (RFC 2045, 4).
#[test]
fn fields_without_mime_do_not_count() {
    let body = format!("({PLAIN} 1 0)");
    assert_eq!(body_of("Content-Transfer-Encoding: base64\n\nx"), body);
    assert!(body_of("Content-Type: a/b\nContent-ID: <1>\n\nx").contains("<1>"));
}

#[test]
fn multiparts_that_end_oddly() {
    let start = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let of = |rest: &str| leaves(format!("{start}{rest}").as_bytes());
    assert_eq!(of("--b\r\n\r\nunterminated\r\n"), ["unterminated\r\n"]);
    assert_eq!(of("--b\r\n\r\none\r\n--b"), ["one"]);
    assert_eq!(of("--b\r\n\r\none\r\n--b\r\n"), ["one", ""]);
    assert_eq!(of("--b\r\n\r\none\r\n--b--"), ["one"]);
    assert_eq!(of("--b\r\n\r\n--b--\r\n--b\r\nno part"), [""]);
    assert_eq!(of("--b \t\r\n\r\none\r\n--b--trailing\r\n"), ["one"]);
    assert_eq!(of("text alone"), [] as [&str; 0]);
    assert_eq!(
        of("\r\n-\r\n--\r\n--a\r\n --b\r\nx--b\r\n"),
        [] as [&str; 0]
    );
}

/// Dovecot's reading: an empty text part shows where there is none.
#[test]
fn a_multipart_without_parts() {
    let body = format!("(({PLAIN} 0 0) \"mixed\")");
    assert_eq!(
        body_of("Content-Type: multipart/mixed; boundary=b\n\nnone\n"),
        body
    );
    assert_eq!(body_of("Content-Type: multipart/mixed\n\nnone\n"), body);
    assert_eq!(body_of("Content-Type: multipart/mixed; boundary=b\n"), body);
}

/// A delimiter of an outer multipart ends all inside it (RFC 2046, 5.1.2); it ends headers too.
#[test]
fn outer_delimiters_end_inner_parts() {
    let message = "Content-Type: multipart/mixed; boundary=out\n\n--out\n\
        Content-Type: multipart/mixed; boundary=in\n\n--in\nContent-Type: a/b\n--out\n\nlast\n--in--\n--out--\n";
    assert_eq!(
        body_of(message),
        format!("(((\"a\" \"b\" NIL NIL NIL \"7bit\" 0) \"mixed\")({PLAIN} 12 1) \"mixed\")")
    );
}

/// Dovecot's readings; RFC 2046 forbids boundaries that begin one another.
#[test]
fn boundaries_that_begin_one_another() {
    let nested = |outer: &str, inner: &str| {
        leaves(
            format!(
                "Content-Type: multipart/mixed; boundary=\"{outer}\"\r\n\r\n--{outer}\r\n\
                 Content-Type: multipart/mixed; boundary=\"{inner}\"\r\n\r\n--{inner}\r\n\r\none\r\n\
                 --{inner}--\r\n--{outer}\r\n\r\ntwo\r\n--{outer}--\r\n"
            )
            .as_bytes(),
        )
    };
    for (outer, inner) in [
        ("b", "bb"),
        ("bb", "b"),
        ("b", "b-"),
        ("b--", "b"),
        ("a", "b"),
        ("b", "b"),
    ] {
        assert_eq!(nested(outer, inner), ["one", "two"], "{outer} {inner}");
    }
}

#[test]
fn long_boundaries_are_told_by_their_first_bytes() {
    let long = "x".repeat(200);
    let message = format!(
        "Content-Type: multipart/mixed; boundary={long}\r\n\r\n--{long}\r\n\r\none\r\n--{long}--\r\nend"
    );
    // Past the limit the closing dashes are out of sight: another part begins (Dovecot's reading).
    assert_eq!(leaves(message.as_bytes()), ["one", ""]);
}

fn nested(depth: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for n in 0..depth {
        let text = format!("Content-Type: multipart/mixed; boundary=b{n}x\r\n\r\n--b{n}x\r\n");
        message.extend_from_slice(text.as_bytes());
    }
    message.extend_from_slice(b"\r\nin\r\n");
    for n in (0..depth).rev() {
        message.extend_from_slice(format!("--b{n}x--\r\n").as_bytes());
    }
    message
}

fn depth(part: &Part) -> usize {
    1 + part.children.iter().map(depth).max().unwrap_or(0)
}

fn count(part: &Part) -> usize {
    1 + part.children.iter().map(count).sum::<usize>()
}

#[test]
fn depth_is_bounded() {
    assert_eq!(depth(&scan(&nested(MAX_DEPTH - 1)).root), MAX_DEPTH);
    let deep = scan(&nested(10_000));
    assert_eq!(depth(&deep.root), MAX_DEPTH);
    assert!(text(&deep.body()).contains("\"application\" \"octet-stream\""));
    assert_eq!(Structure::decode(&deep.encode()).as_ref(), Some(&deep));
    let messages = scan(
        "Content-Type: message/rfc822\r\n\r\n"
            .repeat(10_000)
            .as_bytes(),
    );
    assert_eq!(depth(&messages.root), MAX_DEPTH);
    assert_eq!(
        Structure::decode(&messages.encode()).as_ref(),
        Some(&messages)
    );
}

#[test]
fn parts_are_bounded() {
    let mut message = b"Content-Type: multipart/digest; boundary=b\r\n".to_vec();
    message.extend_from_slice(&b"\r\n--b\r\n\r\nx: y\r\n\r\nz".repeat(10_000));
    let structure = scan(&message);
    assert_eq!(count(&structure.root), MAX_PARTS);
    assert_eq!(
        Structure::decode(&structure.encode()).as_ref(),
        Some(&structure)
    );
}

#[test]
fn kept_values_are_bounded() {
    let field = format!("Content-Description: {}\r\n", "d".repeat(100_000));
    let mut message = b"Content-Type: multipart/mixed; boundary=b\r\n".to_vec();
    for _ in 0..100 {
        message.extend_from_slice(format!("\r\n--b\r\n{field}\r\n").as_bytes());
    }
    let structure = scan(&message);
    assert_eq!(structure.root.children.len(), 100);
    assert!(structure.body_structure.len() < MAX_VALUES + 100 * 200);
}

/// Nothing is looked at more than a few times, however the message is built: each of these
/// would take minutes if any step were quadratic.
#[test]
fn time_grows_with_size_alone() {
    let mut many_lines = nested(MAX_DEPTH - 1);
    many_lines.truncate(many_lines.len() / 2);
    many_lines.extend_from_slice(&b"--b\n".repeat(500_000));
    let cases: [Vec<u8>; 7] = [
        nested(30_000),
        many_lines,
        [b"X: ".to_vec(), vec![b'y'; 8 << 20]].concat(),
        b"X: y\r\n".repeat(1 << 20),
        b" folded\r\n".repeat(1 << 20),
        [b"From: ".to_vec(), b"(a <\"".repeat(1 << 20)].concat(),
        [b"Content-Type: a/b".to_vec(), b"; x=\"".repeat(1 << 20)].concat(),
    ];
    for (n, case) in cases.iter().enumerate() {
        let start = Instant::now();
        scan(case);
        assert!(start.elapsed() < Duration::from_secs(20), "case {n}");
    }
}

/// xorshift64*: the same cases each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }
}

/// The corpus, and what is built here.
fn samples() -> Vec<Vec<u8>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages");
    let mut samples = vec![
        nested(3),
        nested(70),
        b"Content-Type: multipart/digest; boundary=\"\"\n\n--\n--\na\n----".to_vec(),
    ];
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            samples.push(std::fs::read(path).unwrap_or_default());
        }
    }
    samples
}

#[test]
fn slices_make_no_difference() {
    let mut random = Random(7);
    for sample in samples() {
        let whole = scan(&sample);
        assert_eq!(scan_in(&sample, || 1), whole);
        for _ in 0..5 {
            assert_eq!(scan_in(&sample, || 1 + random.below(90)), whole);
        }
    }
}

/// Ranges lie inside the message and inside one another, in order.
fn check(part: &Part, within: Range<u32>) {
    assert!(within.start <= part.header.start && part.header.start <= part.header.end);
    assert_eq!(part.header.end, part.body.start);
    assert!(part.body.start <= part.body.end && part.body.end <= within.end);
    let mut from = part.body.start;
    for child in &part.children {
        check(child, from..part.body.end);
        from = child.body.end;
    }
}

/// Decodes all that SEARCH would look into: whatever it is, it must not grow without bound.
fn read_text(part: &Part, message: &[u8]) {
    let of = |range: &ByteRange| &message[range.start as usize..range.end as usize];
    let header = header_text(of(&part.header));
    assert!(header.len() <= 3 * of(&part.header).len() + 4 * part.header.len());
    if let Some(mut text) = PartText::new(part) {
        let folded = text.push(of(&part.body)).len() + text.finish().len();
        assert!(folded <= 32 * (part.body.len() + 1));
    }
    part.children
        .iter()
        .for_each(|child| read_text(child, message));
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const PIECES: [&[u8]; 16] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"--",
        b"\r\n--",
        b"\"",
        b"(",
        b";",
        b"\0",
        b"\xff",
        b":",
        b"=?",
        b"\r\n\r\n",
        b"{3}\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
    ];
    for _ in 0..1 + random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..(at + random.below(40)).min(bytes.len()), [])),
            2 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
        }
    }
}

#[test]
fn any_message_leaves_a_sound_structure() {
    let mut random = Random(99);
    for sample in samples().into_iter().filter(|sample| sample.len() < 20_000) {
        for _ in 0..40 {
            let mut message = sample.clone();
            mutate(&mut message, &mut random);
            let structure = scan(&message);
            assert_eq!(structure.size as usize, message.len());
            assert_eq!(structure.has_nul, message.contains(&0));
            check(&structure.root, 0..structure.size);
            assert_eq!(structure.root.body.end, structure.size);
            assert!(!structure.body_structure.contains(&0) && !structure.envelope.contains(&0));
            let last = envelope_ref::EnvelopeField::MessageId;
            assert!(envelope_ref::field(&structure.envelope, last).is_some());
            read_text(&structure.root, &message);
            assert_eq!(scan_in(&message, || 1 + random.below(60)), structure);
            assert_eq!(Structure::decode(&structure.encode()), Some(structure));
        }
    }
}
