use super::*;
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
    let mut scanner = Scanner::new();
    scanner.push(text);
    let structure = scanner.finish();
    let pieces = plan(&structure.root, text.len() as u32, &mut Text(text))?;
    let bytes = |range: ByteRange| &text[range.start as usize..range.end as usize];
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Copy(range) => out.extend_from_slice(bytes(range)),
            Piece::Header(header) => out.extend_from_slice(&header),
            Piece::Encode(range) => {
                let mut encoder = QuotedPrintable::default();
                bytes(range)
                    .chunks(3)
                    .for_each(|it| encoder.push(it, &mut out));
                encoder.finish(&mut out);
            }
        }
    }
    Some(String::from_utf8(out).unwrap())
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
    use crate::message::decode::Decoder;
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
