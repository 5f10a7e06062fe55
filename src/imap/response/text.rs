//! The strings, numbers and flags of the grammar (RFC 3501, 9). Nothing here allocates
//! but for the output buffer's own growth.

use crate::imap::parse::is_atom_char;
use crate::imap::utf7;
use crate::mail::{Flags, Uid, UidSet};

/// Longer strings go out as literals: some clients read a line into a fixed buffer.
const MAX_QUOTED: usize = 1000;

pub fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + (n % 10) as u8;
        n /= 10;
        start -= 1;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Quoted if it can be, else a literal. IMAP4rev1 has no 8-bit characters in quoted
/// strings, and no NUL anywhere.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let quotable = |&b: &u8| (b' '..0x7f).contains(&b);
    if bytes.len() > MAX_QUOTED || !bytes.iter().all(quotable) {
        literal_head(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'"');
    for &b in bytes {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
}

pub fn nstring(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => string(out, bytes),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// An atom if it can be, else a string.
pub fn astring(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain = |&b: &u8| is_atom_char(b) || b == b']';
    if bytes.is_empty() || bytes.eq_ignore_ascii_case(b"NIL") || !bytes.iter().all(plain) {
        string(out, bytes);
    } else {
        out.extend_from_slice(bytes);
    }
}

/// `{n}` and CRLF; n bytes without NUL have to follow.
pub fn literal_head(out: &mut Vec<u8>, size: u64) {
    out.push(b'{');
    number(out, size);
    out.extend_from_slice(b"}\r\n");
}

/// `~{n}` and CRLF (RFC 3516): the bytes may have NULs.
pub fn literal8_head(out: &mut Vec<u8>, size: u64) {
    out.push(b'~');
    literal_head(out, size);
}

/// A mailbox name in modified UTF-7; with `utf8` (RFC 6855) in quoted UTF-8.
pub fn mailbox_name(out: &mut Vec<u8>, name: &str, utf8: bool) {
    if name.bytes().all(|b| b.is_ascii_graphic() && b != b'&') {
        astring(out, name.as_bytes());
    } else if utf8 {
        quoted_utf8(out, name);
    } else {
        let mut encoded = Vec::with_capacity(name.len() * 2);
        utf7::encode(name, &mut encoded);
        astring(out, &encoded);
    }
}

/// Names have no control characters (`MailboxName`), so that nothing else needs care.
fn quoted_utf8(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    for b in name.bytes() {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
}

/// `(\Seen $Forwarded)`. `keywords` is the mailbox's table; a number past its end is
/// left out.
pub fn flags(out: &mut Vec<u8>, flags: Flags, recent: bool, keywords: &[String]) {
    out.push(b'(');
    let start = out.len();
    for (flag, name) in Flags::SYSTEM {
        if flags.contains(flag) {
            word(out, start, name);
        }
    }
    if recent {
        word(out, start, "\\Recent");
    }
    if flags.0 >> 8 != 0 {
        for name in flags.keywords().filter_map(|n| keywords.get(n)) {
            word(out, start, name);
        }
    }
    out.push(b')');
}

/// All flags that there are, as FLAGS and PERMANENTFLAGS list them; `more` adds `\*`.
pub fn flag_names(out: &mut Vec<u8>, keywords: &[String], more: bool) {
    out.push(b'(');
    let start = out.len();
    for (_, name) in Flags::SYSTEM {
        word(out, start, name);
    }
    for name in keywords {
        word(out, start, name);
    }
    if more {
        word(out, start, "\\*");
    }
    out.push(b')');
}

/// A member of the list that starts at `start`.
fn word(out: &mut Vec<u8>, start: usize, word: &str) {
    if out.len() > start {
        out.push(b' ');
    }
    out.extend_from_slice(word.as_bytes());
}

/// `1:3,7`. An empty set can't be said: nothing is written.
pub fn uid_set(out: &mut Vec<u8>, set: &UidSet) {
    for (n, &(low, high)) in set.ranges().iter().enumerate() {
        range(out, n > 0, low, high);
    }
}

/// UIDs in the order given, ascending runs as ranges (RFC 4315, 3: the order pairs
/// source and destination, and a range means ascending order).
pub fn uid_runs(out: &mut Vec<u8>, uids: impl Iterator<Item = Uid>) {
    let mut run: Option<(u32, u32)> = None;
    let mut more = false;
    for uid in uids.map(Uid::get) {
        match &mut run {
            Some((_, high)) if high.checked_add(1) == Some(uid) => *high = uid,
            _ => {
                if let Some((low, high)) = run.replace((uid, uid)) {
                    range(out, more, low, high);
                    more = true;
                }
            }
        }
    }
    if let Some((low, high)) = run {
        range(out, more, low, high);
    }
}

fn range(out: &mut Vec<u8>, comma: bool, low: u32, high: u32) {
    if comma {
        out.push(b',');
    }
    number(out, u64::from(low));
    if low != high {
        out.push(b':');
        number(out, u64::from(high));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn numbers() {
        for n in [0, 1, 9, 10, 99, 100, 4_294_967_295, u64::MAX] {
            assert_eq!(said(|out| number(out, n)), n.to_string());
        }
    }

    #[test]
    fn strings() {
        let cases: [(&[u8], &str, &str); 8] = [
            (b"INBOX", "INBOX", "\"INBOX\""),
            (b"", "\"\"", "\"\""),
            (b"nil", "\"nil\"", "\"nil\""),
            (b"a b", "\"a b\"", "\"a b\""),
            (b"a]", "a]", "\"a]\""),
            (b"a\"\\", "\"a\\\"\\\\\"", "\"a\\\"\\\\\""),
            (b"a\r\n", "{3}\r\na\r\n", "{3}\r\na\r\n"),
            ("é".as_bytes(), "{2}\r\né", "{2}\r\né"),
        ];
        for (bytes, as_astring, as_string) in cases {
            assert_eq!(said(|out| astring(out, bytes)), as_astring);
            assert_eq!(said(|out| string(out, bytes)), as_string);
        }
        assert_eq!(said(|out| nstring(out, None)), "NIL");
        assert!(said(|out| string(out, &[b'a'; 1001])).starts_with("{1001}\r\naaa"));
        assert_eq!(said(|out| literal8_head(out, 5)), "~{5}\r\n");
    }

    #[test]
    fn mailbox_names() {
        let name = |name, utf8| said(|out| mailbox_name(out, name, utf8));
        assert_eq!(name("INBOX", false), "INBOX");
        assert_eq!(name("R&D", false), "R&-D");
        assert_eq!(name("R&D", true), "\"R&D\"");
        assert_eq!(name("Entwürfe 1", false), "\"Entw&APw-rfe 1\"");
        assert_eq!(name("Entwürfe \"1\"", true), "\"Entwürfe \\\"1\\\"\"");
    }

    #[test]
    fn flag_lists() {
        let keywords = ["$A".to_owned(), "$B".to_owned()];
        let list = |set, recent| said(|out| flags(out, set, recent, &keywords));
        assert_eq!(list(Flags::NONE, false), "()");
        assert_eq!(list(Flags::NONE, true), "(\\Recent)");
        assert_eq!(
            list(Flags::SEEN.with(Flags::keyword(1)), true),
            "(\\Seen \\Recent $B)"
        );
        assert_eq!(
            list(Flags::keyword(0).with(Flags::keyword(9)), false),
            "($A)"
        );
    }

    #[test]
    fn runs_keep_their_order() {
        let runs =
            |uids: &[u32]| said(|out| uid_runs(out, uids.iter().copied().filter_map(Uid::new)));
        assert_eq!(runs(&[]), "");
        assert_eq!(runs(&[5]), "5");
        assert_eq!(runs(&[5, 6, 7, 3, 2, 9]), "5:7,3,2,9");
        assert_eq!(runs(&[u32::MAX, 1]), "4294967295,1");
    }
}
