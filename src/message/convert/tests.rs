use super::*;
use crate::message::decode::Decoder;
use crate::message::quoted_printable::{MAX_LINE, QuotedPrintable};
use crate::message::structure::Scanner;

struct Text<'a>(&'a [u8]);

impl Source for Text<'_> {
    fn header(&mut self, range: ByteRange) -> Option<Vec<u8>> {
        let bytes = self.0.get(range.start as usize..range.end as usize)?;
        Some(bytes.to_vec())
    }

    fn survey(&mut self, range: ByteRange) -> Option<Survey> {
        let mut survey = Survey::default();
        survey.push(self.0.get(range.start as usize..range.end as usize)?);
        Some(survey.finish())
    }
}

fn converted(text: &[u8]) -> Option<String> {
    let bytes = made(text, Target::SevenBit)?;
    Some(String::from_utf8(bytes).unwrap())
}

fn made(text: &[u8], target: Target) -> Option<Vec<u8>> {
    let mut scanner = Scanner::new();
    scanner.push(text);
    let root = scanner.finish().root;
    let pieces = plan(&root, text.len() as u32, target, &mut Text(text))?;
    let bytes = |range: ByteRange| &text[range.start as usize..range.end as usize];
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Copy(range) => out.extend_from_slice(bytes(range)),
            Piece::Header(header) => out.extend_from_slice(&header),
            Piece::Encode(range) if target == Target::SevenBit => {
                let mut encoder = QuotedPrintable::default();
                bytes(range)
                    .chunks(3)
                    .for_each(|it| encoder.push(it, &mut out));
                encoder.finish(&mut out);
            }
            Piece::Encode(range) => {
                let mut encoder = Base64Lines::default();
                bytes(range)
                    .chunks(5)
                    .for_each(|it| encoder.push(it, &mut out));
                encoder.finish(&mut out);
            }
        }
    }
    Some(out)
}

#[test]
fn a_single_part_is_encoded() {
    let text = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                Content-Transfer-Encoding: 8bit\r\nSubject: x\r\n\r\ngrüße = \r\n.\r\n";
    assert_eq!(
        converted(text.as_bytes()).unwrap(),
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nSubject: x\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BC=C3=9Fe =3D=20\r\n.\r\n"
    );
}

#[test]
fn of_a_multipart_only_what_must_be() {
    let text = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\
                Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\nplain\r\n--b\r\n\
                Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
                ü\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nMIME-Version: 1.0\r\n\
                Content-Type: text/plain; charset=utf-8\r\n\r\nö\r\n--b--\r\n";
    let out = converted(text.as_bytes()).unwrap();
    assert!(out.is_ascii());
    let mut wanted = text.replace("ü", "=C3=BC").replace("ö", "=C3=B6");
    wanted = wanted.replacen(
        "Content-Transfer-Encoding: 8bit\r\n\r\n--b",
        "Content-Transfer-Encoding: 7bit\r\n\r\n--b",
        1,
    );
    wanted = wanted.replace(
        "Encoding: 8bit\r\n\r\n=",
        "Encoding: quoted-printable\r\n\r\n=",
    );
    wanted = wanted.replace(
        "message/rfc822\r\n\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n",
        "message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
    );
    assert_eq!(out, wanted);
}

#[test]
fn what_would_lose_by_it_is_left_alone() {
    let signed = "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nü\r\n--b--\r\n";
    let preamble = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nü\r\n--b\r\n\r\nx\r\n--b--\r\n";
    for text in [
        signed,
        preamble,
        "Subject: no MIME\r\n\r\nü\r\n",
        "MIME-Version: 1.0\r\nSubject: ü\r\n\r\nü\r\n",
        "MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nü\r\n",
        "MIME-Version: 1.0\r\nContent-Transfer-Encoding: x-odd\r\n\r\nü\r\n",
    ] {
        assert_eq!(converted(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn binary_comes_back_byte_for_byte() {
    let mut bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    bytes.extend_from_slice(b"\r\n \r\n\t\r\r\n\n \rx  \r\n trailing \r");
    for size in [1, 2, 7, bytes.len()] {
        let (mut out, mut encoder) = (Vec::new(), QuotedPrintable::default());
        bytes.chunks(size).for_each(|it| encoder.push(it, &mut out));
        encoder.finish(&mut out);
        assert!(out.is_ascii());
        assert!(
            out.split(|&b| b == b'\n')
                .all(|line| line.len() <= MAX_LINE + 1)
        );
        let (mut back, mut decoder) = (Vec::new(), Decoder::new(Encoding::QuotedPrintable));
        decoder.push(&out, &mut back);
        decoder.finish(&mut back).ok();
        assert_eq!(
            back.escape_ascii().to_string(),
            bytes.escape_ascii().to_string()
        );
    }
}

const MIXED: &[u8] = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\
    Content-Transfer-Encoding: binary\r\nSubject: \xc3\xbc\r\n\r\n--b\r\n\r\nplain \xc3\xbc\r\n--b\r\n\
    Content-Type: image/x\r\nContent-Transfer-Encoding: BINARY\r\n\r\n\0\r\n--\n\xff\r\r\n--b\r\n\
    Content-Transfer-Encoding: binary\r\n\r\nlines\r\n--b--\r\n";

#[test]
fn binary_parts_become_base64_and_no_label_says_binary() {
    for target in [Target::Lines, Target::NoNul] {
        let out = made(MIXED, target).unwrap();
        let wanted = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\
            Subject: \xc3\xbc\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\nplain \xc3\xbc\r\n\
            --b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n\
            AA0KLS0K/w0=\r\n\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nlines\r\n--b--\r\n";
        assert_eq!(
            out.escape_ascii().to_string(),
            wanted.escape_ascii().to_string()
        );
    }
}

#[test]
fn bare_line_ends_may_stay_where_only_nul_may_not() {
    let text = b"MIME-Version: 1.0\r\n\r\na\nb";
    assert_eq!(made(text, Target::NoNul).as_deref(), Some(&text[..]));
    let wanted = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nYQpi\r\n";
    assert_eq!(made(text, Target::Lines).as_deref(), Some(&wanted[..]));
}

#[test]
fn a_message_in_a_message_is_made_lines_too() {
    let text = b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\
        Content-Transfer-Encoding: binary\r\n\r\nMIME-Version: 1.0\r\n\
        Content-Transfer-Encoding: binary\r\n\r\n\0";
    let wanted = b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\
        Content-Transfer-Encoding: 8bit\r\n\r\nMIME-Version: 1.0\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nAA==\r\n";
    assert_eq!(made(text, Target::Lines).as_deref(), Some(&wanted[..]));
}

#[test]
fn binary_that_no_label_could_tell_of_is_left_alone() {
    let signed = |nul: &str| {
        format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\
             Content-Transfer-Encoding: binary\r\n\r\n{nul}\r\n--b--\r\n"
        )
    };
    for text in [
        signed("\0").as_str(),
        "Subject: no MIME\r\n\r\n\0",
        "MIME-Version: 1.0\r\nSubject: \0\r\n\r\nx",
        "MIME-Version: 1.0\r\nSubject: a\nb: c\r\n\r\n\0",
        "MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n\0",
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\0\r\n--b\r\n\r\n",
        "MIME-Version: 1.0\r\nContent-Type: message/partial\r\n\r\n\0",
        "MIME-Version: 1.0\r\nContent-Type: message/delivery-status\r\n\r\n\0",
    ] {
        assert_eq!(made(text.as_bytes(), Target::Lines), None, "{text:?}");
    }
    // What was signed stays as it is to the byte, label and all.
    let text = signed("plain");
    let out = made(text.as_bytes(), Target::Lines).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), text);
}

#[test]
fn base64_comes_back_byte_for_byte() {
    let bytes: Vec<u8> = (0..=255).cycle().take(57 * 3 + 20).collect();
    for length in [0, 1, 56, 57, 58, bytes.len()] {
        for size in [1, 3, 57, 58, 200] {
            let (mut out, mut encoder) = (Vec::new(), Base64Lines::default());
            let bytes = &bytes[..length];
            bytes.chunks(size).for_each(|it| encoder.push(it, &mut out));
            encoder.finish(&mut out);
            assert!(out.split(|&b| b == b'\n').all(|line| line.len() <= 77));
            assert!(out.is_empty() || out.ends_with(b"\r\n"));
            let (mut back, mut decoder) = (Vec::new(), Decoder::new(Encoding::Base64));
            decoder.push(&out, &mut back);
            decoder.finish(&mut back).unwrap();
            assert_eq!(back, bytes);
        }
    }
}
