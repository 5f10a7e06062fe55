//! A message with addresses beyond ASCII, for a client that has not said UTF8: its header
//! becomes what any mail program can read (RFC 6858). An address beyond ASCII becomes a group
//! without members that shows it as a name, so that it can be read and not replied to.

use crate::message::address_list::{self, ListEntry};
use crate::message::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Fields that hold addresses.
const ADDRESSES: [&[u8]; 12] = [
    b"From",
    b"Sender",
    b"Reply-To",
    b"To",
    b"Cc",
    b"Bcc",
    b"Resent-From",
    b"Resent-Sender",
    b"Resent-To",
    b"Resent-Cc",
    b"Resent-Bcc",
    b"Resent-Reply-To",
];
/// Fields of free text; any other field that is not ASCII is left out.
const TEXTS: [&[u8]; 3] = [b"Subject", b"Comments", b"Content-Description"];
/// Bytes of text in one encoded word: in base64 they stay under 75 characters (RFC 2047, 2).
const MAX_WORD: usize = 42;

/// The header to send instead, its empty line included, and where the body begins. `None`
/// where the message needs no surrogate, or its header does not end in `message`.
pub fn header(message: &[u8]) -> Option<(Vec<u8>, usize)> {
    let length = header::fields(message).map(|field| field.raw.len()).sum();
    let rest = message.get(length..)?;
    let end = [&b"\r\n"[..], b"\n"]
        .into_iter()
        .find(|it| rest.starts_with(it))?;
    let header = message.get(..length)?;
    let needed =
        header::fields(header).any(|field| is_in(field.name, &ADDRESSES) && has_address(&field));
    if header.is_ascii() || !needed {
        return None;
    }
    let mut out = Vec::with_capacity(header.len());
    for field in header::fields(header) {
        write_field(&field, &mut out);
    }
    out.extend_from_slice(b"\r\n");
    Some((out, length + end.len()))
}

fn is_in(name: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|it| name.eq_ignore_ascii_case(it))
}

/// Whether an address of the field can't be written in ASCII.
fn has_address(field: &header::Field<'_>) -> bool {
    !field.raw.is_ascii() && entries(field).iter().any(is_beyond_ascii)
}

fn entries(field: &header::Field<'_>) -> Vec<ListEntry> {
    let mut entries = Vec::new();
    address_list::parse(field.value(), &mut entries);
    entries
}

fn is_beyond_ascii(entry: &ListEntry) -> bool {
    let parts = [&entry.mailbox, &entry.domain];
    entry.domain.is_some() && parts.into_iter().flatten().any(|it| !it.is_ascii())
}

fn write_field(field: &header::Field<'_>, out: &mut Vec<u8>) {
    if field.raw.is_ascii() {
        out.extend_from_slice(field.raw);
    } else if is_in(field.name, &TEXTS) {
        out.extend_from_slice(field.name);
        out.extend_from_slice(b": ");
        let text = String::from_utf8_lossy(field.value());
        encode(&text.replace(['\r', '\n'], ""), out);
        out.extend_from_slice(b"\r\n");
    } else if is_in(field.name, &ADDRESSES) {
        out.extend_from_slice(field.name);
        out.extend_from_slice(b": ");
        write_addresses(&entries(field), out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Groups lose their names: a group can't hold another.
fn write_addresses(entries: &[ListEntry], out: &mut Vec<u8>) {
    let mut first = true;
    for entry in entries {
        let (Some(mailbox), Some(domain)) = (&entry.mailbox, &entry.domain) else {
            continue;
        };
        if !first {
            out.extend_from_slice(b",\r\n ");
        }
        first = false;
        let address = [mailbox.as_slice(), b"@", domain].concat();
        let name = entry.name.as_deref().map(String::from_utf8_lossy);
        if is_beyond_ascii(entry) {
            let address = String::from_utf8_lossy(&address);
            let name = name.map_or_else(|| address.to_string(), |it| format!("{it} <{address}>"));
            encode(&name, out);
            out.extend_from_slice(b" :;");
        } else {
            if let Some(name) = name {
                encode(&name, out);
                out.push(b' ');
            }
            out.extend_from_slice(b"<");
            out.extend_from_slice(&address);
            out.extend_from_slice(b">");
        }
    }
    if first {
        out.extend_from_slice(b"undisclosed-recipients:;");
    }
}

/// Encoded words in base64, a line each.
fn encode(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (word, more) = rest.split_at(word_end(rest));
        out.extend_from_slice(format!("=?utf-8?B?{}?=", BASE64.encode(word)).as_bytes());
        if more.is_empty() {
            return;
        }
        out.extend_from_slice(b"\r\n ");
        rest = more;
    }
}

/// Where the first word of the text ends: no character is cut.
fn word_end(text: &str) -> usize {
    let ends = (1..=MAX_WORD.min(text.len())).rev();
    let mut whole = ends.filter(|end| text.is_char_boundary(*end));
    whole.next().unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::encoded_word::decode_value;

    fn surrogate(message: &str) -> Option<(String, String)> {
        let (header, body) = header(message.as_bytes())?;
        assert!(header.is_ascii());
        assert!(header.split(|b| *b == b'\n').all(|line| line.len() < 998));
        let header = String::from_utf8(header).unwrap();
        Some((header, message[body..].to_string()))
    }

    #[test]
    fn only_addresses_beyond_ascii_need_it() {
        for message in [
            "From: a@b.de\r\nSubject: é\r\n\r\nx",
            "From: é <a@b.de>\r\n\r\nx",
            "From: почта@пример.рф\r\n",
            "\r\nпочта@пример.рф",
            "",
        ] {
            assert_eq!(surrogate(message), None, "{message}");
        }
    }

    #[test]
    fn addresses_become_names_and_text_becomes_words() {
        let message = "Received: by x\r\nX-Odd: é\r\nFrom: Почта <почта@пример.рф>\r\n\
            To: é <a@b.de>,\r\n дом@пример.рф, \"B, C\" <b@c.de>\r\n\
            Subject: Привет, это очень длинная тема письма, которая не помещается\r\n\r\nтело\r\n";
        let (header, body) = surrogate(message).unwrap();
        assert_eq!(body, "тело\r\n");
        assert!(header.starts_with("Received: by x\r\nFrom: =?utf-8?B?"));
        assert!(header.ends_with("\r\n\r\n"));
        let read = decode_value(header.as_bytes());
        for expected in [
            "From: Почта <почта@пример.рф> :;",
            "é <a@b.de>",
            "дом@пример.рф :;",
            "B, C <b@c.de>",
            "Привет, это очень длинная тема письма, которая не помещается",
        ] {
            assert!(read.contains(expected), "{read}");
        }
        assert!(!header.contains("X-Odd"));
    }

    #[test]
    fn bytes_that_are_no_utf_8_do_not_break_it() {
        let (header, _) = header(b"From: \xff@\xfe.de\nSubject: \xff\n\nx").unwrap();
        assert!(header.is_ascii() && header.ends_with(b"\r\n\r\n"));
    }
}
