//! JSON as an ACME server writes it (RFC 8259): read into a tree, and strings written. Pure.

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 16;
/// Most values of one text.
const MAX_VALUES: usize = 4096;

/// A value. Numbers stay as they are written: ACME has but a few, and small ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Value>),
    /// Names may come twice; the first counts.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.iter().find(|it| it.0 == name).map(|it| &it.1),
            _ => None,
        }
    }

    /// A member that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A member that is a list; without it, none.
    pub fn list(&self, name: &str) -> &[Value] {
        match self.get(name) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }
}

/// `None` if it is no JSON, or beyond [`MAX_DEPTH`] or [`MAX_VALUES`].
pub fn read(text: &str) -> Option<Value> {
    let mut reader = Reader {
        rest: text,
        left: MAX_VALUES,
    };
    let value = reader.value(0)?;
    reader.space();
    reader.rest.is_empty().then_some(value)
}

/// A string with its quotes.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

struct Reader<'a> {
    rest: &'a str,
    /// Values that may still come.
    left: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    /// Whether that came next; it is taken.
    fn takes(&mut self, word: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        Some(match self.rest.chars().next()? {
            '{' => self.object(depth)?,
            '[' => self.list(depth)?,
            '"' => Value::Text(self.string()?),
            '-' | '0'..='9' => self.number()?,
            _ if self.takes("true") => Value::Bool(true),
            _ if self.takes("false") => Value::Bool(false),
            _ if self.takes("null") => Value::Null,
            _ => return None,
        })
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut members = Vec::new();
        let mut more = self.takes("{") && !self.takes("}");
        while more {
            self.space();
            let name = self.string()?;
            if !self.takes(":") {
                return None;
            }
            members.push((name, self.value(depth + 1)?));
            more = self.takes(",");
            if !more && !self.takes("}") {
                return None;
            }
        }
        Some(Value::Object(members))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        let mut more = self.takes("[") && !self.takes("]");
        while more {
            items.push(self.value(depth + 1)?);
            more = self.takes(",");
            if !more && !self.takes("]") {
                return None;
            }
        }
        Some(Value::List(items))
    }

    fn number(&mut self) -> Option<Value> {
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        number.parse::<f64>().ok()?;
        Some(Value::Number(number.into()))
    }

    fn string(&mut self) -> Option<String> {
        let mut rest = self.rest.strip_prefix('"')?;
        let mut out = String::new();
        loop {
            let end = rest.find(['"', '\\'])?;
            let (plain, after) = rest.split_at_checked(end)?;
            if plain.chars().any(|c| c < ' ') {
                return None;
            }
            out.push_str(plain);
            if let Some(after) = after.strip_prefix('"') {
                self.rest = after;
                return Some(out);
            }
            let (c, after) = escape(after)?;
            out.push(c);
            rest = after;
        }
    }
}

/// What follows a backslash, and the rest.
fn escape(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    chars.next();
    let c = match chars.next()? {
        c @ ('"' | '\\' | '/') => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return hex(chars.as_str()),
        _ => return None,
    };
    Some((c, chars.as_str()))
}

/// Four digits, or two times four: a surrogate pair.
fn hex(text: &str) -> Option<(char, &str)> {
    let unit = |text: &str| {
        let digits = text
            .get(..4)
            .filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    };
    let (first, rest) = (unit(text)?, text.get(4..)?);
    if let Some(c) = char::from_u32(first.into()) {
        return Some((c, rest));
    }
    let rest = rest.strip_prefix("\\u")?;
    let pair = [first, unit(rest)?];
    let c = char::decode_utf16(pair).next()?.ok()?;
    Some((c, rest.get(4..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_acme_server_writes_is_read() {
        let text = r#" {"status" : "pending", "n":-1.5e3, "ok":true, "no" : null, "e":[ ], "o":{},
            "list":[{"type":"dns","value":"a.test"},false], "status":"later"} "#;
        let value = read(text).unwrap();
        assert_eq!(value.text("status"), Some("pending"));
        assert_eq!(value.get("n"), Some(&Value::Number("-1.5e3".into())));
        assert_eq!(value.list("list")[0].text("value"), Some("a.test"));
        assert_eq!(value.list("status"), []);
        assert_eq!(value.text("ok"), None);
        let escaped = read(r#""a\"\\\/\n\u00e9\ud83d\ude00""#);
        assert_eq!(escaped, Some(Value::Text("a\"\\/\né😀".into())));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "\"",
            "\"\\x\"",
            "\"\\ud83d\"",
            "\"\n\"",
            "tru",
            "1 2",
            "--1",
            "\"\\u00g0\"",
            "{a:1}",
            "\u{feff}1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(read(&"[".repeat(100_000)).is_none());
        let deep = "[".repeat(MAX_DEPTH + 2) + &"]".repeat(MAX_DEPTH + 2);
        assert!(read(&deep).is_none());
        assert!(read(&format!("[{}1]", "1,".repeat(MAX_VALUES))).is_none());
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        for text in ["", "a", "\"\\\n\u{7f}é😀", "\u{0}"] {
            assert_eq!(read(&quote(text)), Some(Value::Text(text.into())));
        }
    }
}
