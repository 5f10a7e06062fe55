//! Writing IMAP strings: `"quoted"` where it can be, a literal else (RFC 3501, 4.3).

use super::lexer::NUL_REPLACEMENT;
use std::borrow::Cow;

/// `NIL`, or the bytes as they are: a quoted string unless they hold 8-bit bytes, CR or LF.
pub fn nstring(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        None => out.extend_from_slice(b"NIL"),
        Some(value) => string(value, out),
    }
}

pub fn string(value: &[u8], out: &mut Vec<u8>) {
    let value = without_nul(value);
    if value.iter().any(|&b| b >= 0x80 || b == b'\r' || b == b'\n') {
        out.extend_from_slice(format!("{{{}}}\r\n", value.len()).as_bytes());
        out.extend_from_slice(&value);
        return;
    }
    out.push(b'"');
    for &byte in value.iter() {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn without_nul(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0, value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut whole = Vec::with_capacity(value.len() + 8);
    for &byte in value {
        match byte {
            0 => whole.extend_from_slice(NUL_REPLACEMENT),
            _ => whole.push(byte),
        }
    }
    Cow::Owned(whole)
}

/// For names and subjects: every run of white space and folds is one space, none at the ends.
pub fn squeezed(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for word in value
        .split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
        .filter(|word| !word.is_empty())
    {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    out
}

/// Takes CR and LF out; a line that was not folded by white space gets a space before it.
pub fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    for (i, &byte) in value.iter().enumerate() {
        match (byte, value.get(i + 1)) {
            (b'\r' | b'\n', None | Some(b' ' | b'\t' | b'\r' | b'\n')) => {}
            (b'\r' | b'\n', _) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        nstring(Some(value), &mut out);
        out
    }

    #[test]
    fn strings_are_quoted_or_literal() {
        assert_eq!(written(b""), b"\"\"");
        assert_eq!(written(b"a \"b\" \\"), b"\"a \\\"b\\\" \\\\\"");
        assert_eq!(written("é".as_bytes()), "{2}\r\né".as_bytes());
        assert_eq!(written(b"a\0b"), "{5}\r\na\u{fffd}b".as_bytes());
        assert_eq!(written(b"a\r\nb"), b"{4}\r\na\r\nb");
    }

    #[test]
    fn folds_go() {
        assert_eq!(unfolded(b"a\r\n b\n\tc\r\nd\r\n").as_ref(), b"a b\tc d");
        assert_eq!(squeezed(b"  a\r\n \t b  "), b"a b");
        assert_eq!(squeezed(b" \t "), b"");
    }
}
