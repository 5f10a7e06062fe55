//! A stored ENVELOPE read in place: SEARCH FROM, SUBJECT and their like on 100,000 messages
//! need no header.

use super::encoded_word::decode_value_into;
use std::borrow::Cow;

/// The fields of an envelope, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeField {
    Date,
    Subject,
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
    InReplyTo,
    MessageId,
}

impl EnvelopeField {
    /// The field that a header field of that name shows in.
    pub fn of(name: &str) -> Option<EnvelopeField> {
        use EnvelopeField::*;
        [
            ("date", Date),
            ("subject", Subject),
            ("from", From),
            ("sender", Sender),
            ("reply-to", ReplyTo),
            ("to", To),
            ("cc", Cc),
            ("bcc", Bcc),
            ("in-reply-to", InReplyTo),
            ("message-id", MessageId),
        ]
        .into_iter()
        .find(|(other, _)| name.eq_ignore_ascii_case(other))
        .map(|(_, field)| field)
    }
}

/// One field in wire form; those behind it are not looked at. `None` if it is no envelope.
pub fn field(envelope: &[u8], field: EnvelopeField) -> Option<&[u8]> {
    let mut rest = envelope.strip_prefix(b"(")?;
    for _ in 0..field as usize {
        rest = rest.get(item_length(rest)?..)?.strip_prefix(b" ")?;
    }
    rest.get(..item_length(rest)?)
}

/// Appends a field as text for SEARCH, encoded words decoded: a string, or addresses as
/// `name <mailbox@host>, …`. False if it is NIL.
pub fn text(raw: &[u8], out: &mut String) -> bool {
    match raw.first() {
        Some(b'(') => addresses(raw, out),
        _ => match string(raw) {
            Some(value) => decode_value_into(&value, out),
            None => return false,
        },
    }
    true
}

/// The value of a string that is its own text: printable ASCII, nothing escaped or encoded.
pub fn plain(raw: &[u8]) -> Option<&[u8]> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
    let encoded = || inner.windows(2).any(|pair| pair == b"=?");
    (inner.iter().all(plain) && !encoded()).then_some(inner)
}

/// The value of a string in wire form; `None` for NIL.
pub fn string(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    match raw.first()? {
        b'"' => {
            let inner = raw.get(1..raw.len().checked_sub(1)?)?;
            if memchr::memchr(b'\\', inner).is_none() {
                return Some(Cow::Borrowed(inner));
            }
            Some(Cow::Owned(unescaped(inner)))
        }
        b'{' => {
            let start = memchr::memchr(b'\n', raw)? + 1;
            raw.get(start..).map(Cow::Borrowed)
        }
        _ => None,
    }
}

fn unescaped(inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => out.extend(bytes.next()),
            _ => out.push(byte),
        }
    }
    out
}

/// Bytes of the item that `bytes` begin with.
fn item_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut depth = 0usize;
    loop {
        match bytes.get(at)? {
            b'(' => {
                depth += 1;
                at += 1;
            }
            b')' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b' ' if depth > 0 => at += 1,
            _ => at += string_length(bytes.get(at..)?)?,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// NIL, a quoted string or a literal.
fn string_length(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'N' => bytes.starts_with(b"NIL").then_some(3),
        b'"' => {
            let mut at = 1;
            loop {
                at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
                match bytes[at] {
                    b'"' => return Some(at + 1),
                    _ => at += 2,
                }
            }
        }
        b'{' => {
            let close = memchr::memchr(b'}', bytes)?;
            let length: usize = std::str::from_utf8(&bytes[1..close]).ok()?.parse().ok()?;
            let end = close.checked_add(3)?.checked_add(length)?;
            (bytes.get(close + 1..close + 3) == Some(b"\r\n") && end <= bytes.len()).then_some(end)
        }
        _ => None,
    }
}

/// `((name route mailbox host)…)` as `name <mailbox@host>, …`.
fn addresses(raw: &[u8], out: &mut String) {
    let mut rest = raw.get(1..).unwrap_or_default();
    let mut first = true;
    while let Some(mut entry) = rest.strip_prefix(b"(") {
        let mut parts = [None, None, None, None];
        for part in &mut parts {
            let Some(length) = string_length(entry) else {
                return;
            };
            *part = string(&entry[..length]);
            entry = &entry[length..];
            entry = entry.strip_prefix(b" ").unwrap_or(entry);
        }
        rest = entry.strip_prefix(b")").unwrap_or_default();
        if !first {
            out.push_str(", ");
        }
        first = false;
        address(&parts, out);
    }
}

fn address([name, _, mailbox, host]: &[Option<Cow<[u8]>>; 4], out: &mut String) {
    if let Some(name) = name {
        decode_value_into(name, out);
        out.push(' ');
    }
    match (mailbox, host) {
        (Some(mailbox), Some(host)) => {
            out.push('<');
            out.push_str(&String::from_utf8_lossy(mailbox));
            out.push('@');
            out.push_str(&String::from_utf8_lossy(host));
            out.push('>');
        }
        (Some(group), None) => {
            decode_value_into(group, out);
            out.push(':');
        }
        _ => out.push(';'),
    }
}

#[cfg(test)]
mod tests {
    use super::super::envelope::envelope;
    use super::*;

    fn text(header: &str, name: EnvelopeField) -> Option<String> {
        let envelope = envelope(header.as_bytes());
        let mut out = String::new();
        super::text(field(&envelope, name)?, &mut out).then_some(out)
    }

    #[test]
    fn fields_as_text() {
        let header = "Subject: a \"b\" =?utf-8?q?K=C3=A4se?= (\r\nFrom: =?utf-8?q?J=C3=B6rg?= <j@x>\r\n\
            To: A: b@c, \"D \\\"é\\\"\" <d@e>;, f@g\r\nMessage-ID: <1@x>\r\n\r\n";
        let is = |field, expected: &str| assert_eq!(text(header, field).as_deref(), Some(expected));
        is(EnvelopeField::Subject, "a \"b\" Käse (");
        is(EnvelopeField::From, "Jörg <j@x>");
        is(EnvelopeField::Sender, "Jörg <j@x>");
        is(EnvelopeField::To, "A:, <b@c>, D \"é\" <d@e>, ;, <f@g>");
        is(EnvelopeField::MessageId, "<1@x>");
        assert_eq!(text(header, EnvelopeField::Date), None);
        assert_eq!(text(header, EnvelopeField::Cc), None);
    }

    #[test]
    fn what_is_plain_is_its_own_text() {
        let header = "Date: now\r\nSubject: plain text\r\nFrom: =?utf-8?q?J=C3=B6rg?= <j@x>\r\n\
            In-Reply-To: a\\b\r\nMessage-ID: =?a?=\r\n\r\n";
        let envelope = envelope(header.as_bytes());
        use EnvelopeField::*;
        for name in [Date, Subject, From, To, Cc, InReplyTo, MessageId] {
            let raw = field(&envelope, name).unwrap();
            let mut decoded = String::new();
            let whole = super::text(raw, &mut decoded);
            match plain(raw) {
                Some(value) => assert!(whole && value == decoded.as_bytes()),
                None => assert!(!matches!(name, Date | Subject)),
            }
        }
    }

    #[test]
    fn what_is_no_envelope() {
        let last = |envelope: &str| field(envelope.as_bytes(), EnvelopeField::MessageId).is_some();
        let nil = "NIL ".repeat(9);
        assert!(last(&format!("({nil}NIL)")));
        assert!(!last(&format!("{nil}NIL")));
        for broken in ["", "(", "(NIL)", "(NIL NIL NIL", "({99}\r\nx NIL)"] {
            assert!(!last(broken));
        }
    }

    #[test]
    fn any_bytes_are_survived() {
        let whole = envelope("Subject: \"\\é\r\nTo: \"a\\\\b\" <c@d>, e: f@g;\r\n".as_bytes());
        for end in 0..whole.len() - 1 {
            assert_eq!(field(&whole[..end], EnvelopeField::MessageId), None);
            let mut other = whole.clone();
            other[end] = b'"';
            if let Some(raw) = field(&other, EnvelopeField::To) {
                super::text(raw, &mut String::new());
            }
        }
    }

    #[test]
    fn names_of_fields() {
        assert_eq!(
            EnvelopeField::of("Message-ID"),
            Some(EnvelopeField::MessageId)
        );
        assert_eq!(EnvelopeField::of("x-other"), None);
    }
}
