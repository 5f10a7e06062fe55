//! Header fields and their values (RFC 5322, 2.2).

/// One field of a header, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Before the colon, without white space at its end; empty for a line that is no field.
    pub name: &'a [u8],
    /// The lines of the field, their ends included.
    pub raw: &'a [u8],
    /// Where in `raw` the value begins.
    value: usize,
}

impl<'a> Field<'a> {
    /// Whether it is called `name`, in any case.
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Behind the colon and the white space on its line; folds kept, the last line end not.
    pub fn value(&self) -> &'a [u8] {
        let value = without_line_end(self.raw.get(self.value..).unwrap_or_default());
        let line = memchr::memchr2(b'\r', b'\n', value).unwrap_or(value.len());
        let blank = value[..line]
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        // Of a first line with nothing on it one space goes (Dovecot's reading).
        &value[if blank == line { blank.min(1) } else { blank }..]
    }
}

/// The fields of a header, up to its empty line. Lines that are no field come too, without
/// a name: they are part of the header as stored.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() || self.rest.starts_with(b"\n") || self.rest.starts_with(b"\r\n") {
            return None;
        }
        let (raw, rest) = self.rest.split_at(field_length(self.rest));
        self.rest = rest;
        let line = &raw[..memchr::memchr(b'\n', raw).unwrap_or(raw.len())];
        let Some(colon) = memchr::memchr(b':', line) else {
            return Some(Field {
                name: b"",
                raw,
                value: 0,
            });
        };
        Some(Field {
            name: line[..colon].trim_ascii_end(),
            raw,
            value: colon + 1,
        })
    }
}

/// Bytes up to the line end that no folded line follows.
fn field_length(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes)
        .map(|end| end + 1)
        .find(|&end| !matches!(bytes.get(end), Some(b' ' | b'\t')))
        .unwrap_or(bytes.len())
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// The value of the first field called `name`.
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    fields(header)
        .find(|field| field.is(name.as_bytes()))
        .map(|field| field.value())
}

/// BODY[HEADER.FIELDS (names)], or with `not` BODY[HEADER.FIELDS.NOT (names)]: the lines as
/// stored, then an empty line (RFC 3501, 6.4.5). A header that ends without its empty line
/// has none in the NOT form either (Dovecot's reading).
pub fn header_fields<N: AsRef<str>>(header: &[u8], names: &[N], not: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut all = fields(header);
    for field in all.by_ref() {
        let named = names.iter().any(|name| field.is(name.as_ref().as_bytes()));
        if named != not {
            out.extend_from_slice(field.raw);
        }
    }
    if !not || !all.rest.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"Subject: one\r\nFrom:\r\n a@b\r\nno field\r\nX-Tab :\t v \nsubject: two\r\n\r\nbody: no\r\n";

    #[test]
    fn fields_come_with_folds_and_names() {
        let all: Vec<_> = fields(HEADER).map(|f| (f.name, f.value())).collect();
        let expected: [(&[u8], &[u8]); 5] = [
            (b"Subject", b"one"),
            (b"From", b"\r\n a@b"),
            (b"", b"no field"),
            (b"X-Tab", b"v "),
            (b"subject", b"two"),
        ];
        assert_eq!(all, expected);
        assert_eq!(find(HEADER, "x-tab"), Some(&b"v "[..]));
        assert_eq!(find(HEADER, "body"), None);
    }

    #[test]
    fn sections_keep_lines_as_stored() {
        assert_eq!(
            header_fields(HEADER, &["SUBJECT"], false),
            b"Subject: one\r\nsubject: two\r\n\r\n"
        );
        assert_eq!(
            header_fields(HEADER, &["subject", "from"], true),
            b"no field\r\nX-Tab :\t v \n\r\n"
        );
        assert_eq!(header_fields(HEADER, &["nope"], false), b"\r\n");
        assert_eq!(header_fields(b"A: b", &["a"], false), b"A: b\r\n");
        assert_eq!(header_fields(b"A: b\r\n", &["a"], true), b"");
    }
}
