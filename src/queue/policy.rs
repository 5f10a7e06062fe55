//! MTA-STS policies (RFC 8461): what a domain says of its mail exchangers over HTTPS. Pure.

use crate::store::codec::{Reader, put, put_bytes};
use crate::store::{Error, Result};

/// Longest policy that is read, bytes (RFC 8461, 3.2 suggests 64 kB; real ones have hundreds).
pub const MAX_POLICY: usize = 16 << 10;
/// Most patterns of one policy.
const MAX_PATTERNS: usize = 50;
/// Longest that a policy is kept, seconds: a year and some days (RFC 8461, 3.2).
const MAX_AGE: u64 = 31_557_600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    Testing,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// That of the TXT record under which it was fetched.
    pub id: String,
    pub mode: Mode,
    /// Seconds.
    pub max_age: u64,
    /// Names in lower case; `*.` in front of some.
    pub mx: Vec<String>,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        }
    }

    fn parse(name: &str) -> Option<Mode> {
        let all = [Mode::Enforce, Mode::Testing, Mode::None];
        all.into_iter().find(|it| it.name() == name)
    }
}

impl Policy {
    /// Reads `key: value` lines (RFC 8461, 3.2); of a key given twice the first counts.
    pub fn parse(text: &str, id: &str) -> Option<Policy> {
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match key.trim() {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if !value.is_empty() && mx.len() < MAX_PATTERNS => {
                    mx.push(value.to_ascii_lowercase())
                }
                _ => {}
            }
        }
        let mode = Mode::parse(mode?)?;
        if version? != "STSv1" || (mx.is_empty() && mode != Mode::None) {
            return None;
        }
        Some(Policy {
            id: id.into(),
            mode,
            max_age: max_age?.parse::<u64>().ok()?.min(MAX_AGE),
            mx,
        })
    }

    /// Whether an exchanger of that name may have the mail (RFC 8461, 4.1).
    pub fn allows(&self, exchange: &str) -> bool {
        self.mx
            .iter()
            .any(|pattern| match pattern.strip_prefix("*.") {
                Some(parent) => exchange
                    .split_once('.')
                    .is_some_and(|(first, rest)| !first.is_empty() && rest == parent),
                None => exchange == pattern,
            })
    }

    /// With the moment when it was fetched, seconds since 1970.
    pub fn encode(&self, fetched: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, fetched.max(0) as u64);
        put_bytes(&mut out, self.id.as_bytes());
        put_bytes(&mut out, self.mode.name().as_bytes());
        put(&mut out, self.max_age);
        put(&mut out, self.mx.len() as u64);
        for pattern in &self.mx {
            put_bytes(&mut out, pattern.as_bytes());
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<(i64, Policy)> {
        let row = &mut Reader(bytes);
        let fetched = row.take()? as i64;
        let mut policy = Policy {
            id: row.take_str()?.into(),
            mode: Mode::parse(row.take_str()?)
                .ok_or_else(|| Error::Corrupt("an MTA-STS policy".into()))?,
            max_age: row.take()?,
            mx: Vec::new(),
        };
        for _ in 0..row.take()?.min(MAX_PATTERNS as u64) {
            policy.mx.push(row.take_str()?.into());
        }
        Ok((fetched, policy))
    }
}

/// The `id` of the record `v=STSv1; id=…;` among a name's TXT records; there must be one
/// alone (RFC 8461, 3.1).
pub fn record_id(records: &[Vec<u8>]) -> Option<String> {
    let mut ours = records.iter().filter(|it| it.starts_with(b"v=STSv1"));
    let (Some(one), None) = (ours.next(), ours.next()) else {
        return None;
    };
    let text = std::str::from_utf8(one).ok()?;
    let mut fields = text.split(';').filter_map(|it| it.trim().split_once('='));
    let id = fields.find(|(key, _)| key.trim() == "id")?.1.trim();
    let holds = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    holds.then(|| id.to_owned())
}

/// The body of an HTTP/1.1 reply that gives a policy: 200 alone counts, redirects do not
/// (RFC 8461, 3.3), and it is text/plain. `None` if it is anything else, or not whole.
/// `ended`: the server has closed, which ends a body without a length.
pub fn http_body(reply: &[u8], ended: bool) -> Option<String> {
    let text = std::str::from_utf8(reply).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut status = lines.next()?.split(' ');
    if !status.next()?.starts_with("HTTP/1.") || status.next()? != "200" {
        return None;
    }
    let fields: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let field = |wanted: &str| fields.iter().find(|it| it.0 == wanted).map(|it| it.1);
    let kind = field("content-type")
        .unwrap_or("text/plain")
        .to_ascii_lowercase();
    if kind.split(';').next()?.trim() != "text/plain" {
        return None;
    }
    if field("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked")) {
        return unchunked(body);
    }
    match field("content-length") {
        Some(length) => body.get(..length.parse().ok()?).map(str::to_owned),
        None => ended.then(|| body.to_owned()),
    }
}

/// RFC 9112, 7.1.
fn unchunked(mut body: &str) -> Option<String> {
    let mut out = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = size.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(out);
        }
        out.push_str(rest.get(..size)?);
        body = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.Example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n";

    #[test]
    fn policies_are_read_and_come_back() {
        let policy = Policy::parse(TEXT, "a1").unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 604_800));
        for (name, allowed) in [
            ("mail.example.com", true),
            ("a.example.net", true),
            ("a.b.example.net", false),
            ("example.net", false),
            (".example.net", false),
            ("mail.example.org", false),
        ] {
            assert_eq!(policy.allows(name), allowed, "{name}");
        }
        assert_eq!(Policy::decode(&policy.encode(77)).unwrap(), (77, policy));
        for text in [
            "",
            "mode: enforce\nmx: a\nmax_age: 1",
            "version: STSv2\nmode: enforce\nmx: a\nmax_age: 1",
            "version: STSv1\nmode: sometimes\nmx: a\nmax_age: 1",
            "version: STSv1\nmode: enforce\nmax_age: 1",
            "version: STSv1\nmode: enforce\nmx: \nmax_age: 1",
            "version: STSv1\nmode: enforce\nmx: a",
            "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1",
        ] {
            assert_eq!(Policy::parse(text, "x"), None, "{text}");
        }
        assert!(Policy::parse("version: STSv1\nmode: none\nmax_age: 1", "x").is_some());
    }

    #[test]
    fn the_record_is_one_alone() {
        let id = |texts: &[&str]| {
            let records: Vec<_> = texts.iter().map(|it| it.as_bytes().to_vec()).collect();
            record_id(&records)
        };
        assert_eq!(
            id(&["v=spf1 -all", "v=STSv1; id=20160831085700Z;"]).unwrap(),
            "20160831085700Z"
        );
        assert_eq!(id(&["v=STSv1; id=a", "v=STSv1; id=b"]), None);
        assert_eq!(id(&["v=STSv1;"]), None);
        assert_eq!(id(&["v=STSv1; id=a-b"]), None);
        assert_eq!(id(&[]), None);
    }

    #[test]
    fn http_replies_give_their_body_or_nothing() {
        let body =
            |head: &str, body: &str| http_body(format!("{head}\r\n\r\n{body}").as_bytes(), true);
        assert_eq!(
            body("HTTP/1.1 200 OK\r\nContent-Length: 3", "abcdef").unwrap(),
            "abc"
        );
        assert_eq!(
            body(
                "HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=utf-8",
                "abc"
            )
            .unwrap(),
            "abc"
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked";
        assert_eq!(
            body(chunked, "2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n").unwrap(),
            "abc"
        );
        for (head, text) in [
            ("HTTP/1.1 301 Moved\r\nLocation: /", "abc"),
            ("HTTP/1.1 404 No", "abc"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4", "abc"),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/html", "abc"),
            (chunked, "9\r\nab\r\n"),
            (chunked, "zz\r\nab\r\n"),
            ("SMTP", ""),
        ] {
            assert_eq!(body(head, text), None, "{head}");
        }
        assert_eq!(http_body(b"HTTP/1.1 200 OK\r\n", true), None);
        assert_eq!(http_body(b"HTTP/1.1 200 OK\r\n\r\nabc", false), None);
    }
}
