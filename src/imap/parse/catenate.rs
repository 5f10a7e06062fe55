//! The parts of a CATENATE (RFC 4469, 5), a run of them at a time: each TEXT's literal ends
//! one, so that it need not be kept.
//!
//! ```text
//! catenate = "CATENATE" SP "(" cat-part *(SP cat-part) ")"
//! cat-part = "TEXT" SP (literal / literal8) / "URL" SP astring
//! ```

use super::cursor::{Cursor, Result, syntax};

/// The URLs before the first TEXT's literal or the end. `None` if the literal behind the
/// bytes is a URL itself: then collect it.
pub(super) fn first(cursor: &mut Cursor, literal: bool) -> Result<Option<Vec<String>>> {
    cursor.space()?;
    cursor.expect(b'(', "CATENATE takes a list")?;
    cursor.spaces();
    parts(cursor, literal)
}

/// As `first`, of what follows a TEXT.
pub fn catenated(bytes: &[u8], literal: bool) -> Result<Option<Vec<String>>> {
    let mut cursor = Cursor::new(bytes);
    if cursor.at_end() {
        return syntax("a CATENATE has no end");
    }
    if cursor.skip(b')') {
        return end(&mut cursor, literal, Vec::new());
    }
    cursor.space()?;
    parts(&mut cursor, literal)
}

fn parts(cursor: &mut Cursor, literal: bool) -> Result<Option<Vec<String>>> {
    let mut urls = Vec::new();
    loop {
        if cursor.skip_keyword("TEXT") {
            cursor.space()?;
            if !literal {
                return syntax("TEXT takes a literal");
            }
            cursor.end()?;
            return Ok(Some(urls));
        }
        if !cursor.skip_keyword("URL") {
            return syntax("CATENATE takes URL and TEXT");
        }
        cursor.space()?;
        if literal && cursor.at_end() {
            return Ok(None);
        }
        urls.push(cursor.text()?);
        if cursor.skip(b')') {
            return end(cursor, literal, urls);
        }
        cursor.space()?;
    }
}

fn end(cursor: &mut Cursor, literal: bool, urls: Vec<String>) -> Result<Option<Vec<String>>> {
    cursor.end()?;
    match literal {
        true => syntax("something follows the message"),
        false => Ok(Some(urls)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_parts() {
        let urls = |list: &[&str]| Ok(Some(list.iter().map(|it| (*it).to_owned()).collect()));
        assert_eq!(catenated(b")", false), urls(&[]));
        assert_eq!(catenated(b" TEXT ", true), urls(&[]));
        assert_eq!(
            catenated(b" URL \"/a/;UID=1\" url b TEXT ", true),
            urls(&["/a/;UID=1", "b"])
        );
        assert_eq!(catenated(b" URL {1}\r\nc)", false), urls(&["c"]));
        assert_eq!(catenated(b" URL a URL ", true), Ok(None));
        for (bytes, literal) in [
            (&b""[..], false),
            (b" ", true),
            (b") ", true),
            (b")x", false),
            (b" TEXT \"quoted\"", false),
            (b" TEXT x ", true),
            (b" URL a", false),
            (b" URL ", false),
            (b" BODY x)", false),
            (b"URL a)", false),
        ] {
            assert!(
                catenated(bytes, literal).is_err(),
                "{}",
                bytes.escape_ascii()
            );
        }
    }
}
