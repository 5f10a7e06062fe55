//! Lists of `name=value;` as DKIM, its keys, DMARC and ARC write them.
//!
//! ```text
//! tag-list = tag-spec *( ";" tag-spec ) [ ";" ]      (RFC 6376, 3.2)
//! tag-spec = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
//! ```

/// Most tags of one list.
const MAX_TAGS: usize = 64;

/// A tag list; names are case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// `None` for what is no such list: a name that is no name, or there twice.
    pub fn parse(text: &'a [u8]) -> Option<Tags<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        let mut tags: Vec<(&str, &str)> = Vec::new();
        let text = text.trim_end();
        let text = text.strip_suffix(';').unwrap_or(text);
        for spec in text.split(';') {
            let (name, value) = spec.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            if !is_name(name) || tags.len() == MAX_TAGS || tags.iter().any(|it| it.0 == name) {
                return None;
            }
            tags.push((name, value));
        }
        Some(Tags(tags))
    }

    /// The value, folds within it as they are.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(it, _)| *it == name);
        found.map(|(_, value)| *value)
    }

    /// The value without any white space, as base64 and lists are read.
    pub fn compact(&self, name: &str) -> Option<String> {
        self.get(name).map(compact)
    }

    /// The first tag's name and value.
    pub fn first(&self) -> Option<(&'a str, &'a str)> {
        self.0.first().copied()
    }
}

/// `ALPHA *ALNUMPUNC`
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

pub fn compact(value: &str) -> String {
    value.split_ascii_whitespace().collect()
}

/// Where in a field's bytes the value of `b=` stands: it does not sign itself (RFC 6376, 3.5).
pub fn place_of_b(raw: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = raw.iter().position(|&b| b == b':')? + 1;
    for spec in raw.get(at..)?.split(|&b| b == b';') {
        if let Some(equals) = spec.iter().position(|&b| b == b'=')
            && spec.get(..equals)?.trim_ascii() == b"b"
        {
            return Some(at + equals + 1..at + spec.len());
        }
        at += spec.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_their_folds() {
        let tags = Tags::parse(b" v=1; a = rsa-sha256 ;\r\n\tb=ab\r\n c= ; n=x=y;\r\n").unwrap();
        assert_eq!(tags.first(), Some(("v", "1")));
        assert_eq!(tags.get("a"), Some("rsa-sha256"));
        assert_eq!(tags.compact("b").as_deref(), Some("abc="));
        assert_eq!(tags.get("n"), Some("x=y"));
        assert_eq!(tags.get("A"), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "v", "v=1;;a=b", "v=1; v=2", "=1", "1v=2", "v=1; x y=2"] {
            assert_eq!(Tags::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Tags::parse(b"v=\xff"), None);
    }

    #[test]
    fn the_place_of_b_is_found() {
        let raw = b"DKIM-Signature: bh=b=; x=1;\r\n\tb = a\r\n b ; t=1\r\n";
        let place = place_of_b(raw).unwrap();
        assert_eq!(&raw[place], b" a\r\n b ");
        assert_eq!(place_of_b(b"A: bh=x\r\n"), None);
        assert_eq!(place_of_b(b"none"), None);
    }
}
