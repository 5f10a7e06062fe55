//! Literals as a line announces them (RFC 3501, 4.3; RFC 7888; RFC 3516).

use crate::imap::parse::Announced;

/// The literal announced at the end of `line`, and what comes before it:
/// `["~"] "{" 1*DIGIT ["+"] "}"`.
pub(super) fn announced(line: &[u8]) -> Option<(usize, Announced)> {
    let inside = line.strip_suffix(b"}")?;
    let (inside, non_synchronizing) = match inside.strip_suffix(b"+") {
        Some(inside) => (inside, true),
        None => (inside, false),
    };
    let digits = inside
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let (head, number) = inside.split_at(inside.len() - digits);
    let head = head.strip_suffix(b"{")?;
    if number.is_empty() {
        return None;
    }
    let number = std::str::from_utf8(number).ok()?;
    let (head, binary) = match head.strip_suffix(b"~") {
        Some(head) => (head, true),
        None => (head, false),
    };
    let literal = Announced {
        size: number.parse().unwrap_or(u64::MAX),
        non_synchronizing,
        binary,
    };
    Some((head.len(), literal))
}

/// A literal is an argument, or in a list; never inside of a quoted string.
pub(super) fn may_begin(head: &[u8]) -> bool {
    let mut quoted = false;
    let mut bytes = head.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                bytes.next();
            }
            _ => {}
        }
    }
    !quoted && matches!(head.last(), Some(b' ' | b'('))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements() {
        let read = |line: &str| {
            announced(line.as_bytes()).map(|(before, literal)| {
                let Announced {
                    size,
                    non_synchronizing,
                    binary,
                } = literal;
                (line[..before].to_owned(), size, non_synchronizing, binary)
            })
        };
        let some = |head: &str, size, plus, binary| Some((head.to_owned(), size, plus, binary));
        assert_eq!(read("a x {5}"), some("a x ", 5, false, false));
        assert_eq!(read("a x {05+}"), some("a x ", 5, true, false));
        assert_eq!(read("a x ~{0}"), some("a x ", 0, false, true));
        assert_eq!(read("{7}"), some("", 7, false, false));
        assert_eq!(read("x{7}"), some("x", 7, false, false));
        assert_eq!(
            read("{99999999999999999999}"),
            some("", u64::MAX, false, false)
        );
        for line in [
            "", "}", "{}", "{+}", "{5} ", "{5", "5}", "{-5}", "{5++}", "{5-}", "{5}x",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn places() {
        for head in ["a ", "a (", r#"a \" " "#, r#"a "\\" "#, r#"a "x" "#] {
            assert!(may_begin(head.as_bytes()), "{head}");
        }
        for head in ["", "a", r#"a ""#, r#"a " "#, r#"a "\" "#, r#"a "x""#] {
            assert!(!may_begin(head.as_bytes()), "{head}");
        }
    }
}
