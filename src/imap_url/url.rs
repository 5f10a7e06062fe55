//! The form of IMAP URLs (RFC 5092) that name a message or a part of one, with the
//! authorisation of URLAUTH (RFC 4467). Pure.
//!
//! ```text
//! url  = ["imap:"] "//" [user [";AUTH=" type] "@"] host [":" port] "/" part
//!      / ["/"] part
//! part = [mailbox [";UIDVALIDITY=" n]] "/;UID=" n ["/;SECTION=" section]
//!        ["/;PARTIAL=" start ["." count]]
//!        [[";EXPIRE=" date-time] ";URLAUTH=" access [":" mechanism ":" token]]
//! ```

use crate::mail::Uid;
use crate::message::date::days_since_1970;
use crate::message::section::{Partial, Section, SectionText};

/// Longest URL, bytes.
pub const MAX_URL: usize = 2048;
/// Deepest part number; names of one HEADER.FIELDS.
const MAX_PATH: usize = 64;
const MAX_NAMES: usize = 64;
/// Hexadecimal digits of a token: RFC 4467, 9, asks for 32 at least.
const TOKEN: std::ops::RangeInclusive<usize> = 32..=256;
const URLAUTH: &str = ";URLAUTH=";
const EXPIRE: &str = ";EXPIRE=";
const UIDVALIDITY: &str = ";UIDVALIDITY=";
const UID: &str = ";UID=";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImapUrl {
    /// `None` in a relative URL.
    pub server: Option<Server>,
    /// Begins with `/`: the mailbox is not beside the selected one.
    pub rooted: bool,
    /// Decoded; empty is the selected one.
    pub mailbox: String,
    pub uid_validity: Option<u32>,
    pub uid: Uid,
    pub section: Section,
    pub partial: Option<Partial>,
    pub authorization: Option<Authorization>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub user: Option<String>,
    /// In lower case, without the port.
    pub host: String,
}

/// What follows `;URLAUTH=`, and `;EXPIRE=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The last second of its life, since 1970.
    pub expire: Option<i64>,
    pub access: Access,
    /// `None` in a rump: the token is still to be made.
    pub token: Option<Token>,
    /// Length of the rump, bytes: what the token is made of (RFC 4467, 6).
    pub rump: usize,
}

/// Who may use it (RFC 4467, 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A submission server for this user.
    Submit(String),
    User(String),
    AuthUser,
    Anonymous,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// In upper case.
    pub mechanism: String,
    pub bytes: Vec<u8>,
}

type Result<T> = std::result::Result<T, &'static str>;

impl ImapUrl {
    /// The error is a sentence.
    pub fn parse(text: &str) -> Result<ImapUrl> {
        if text.len() > MAX_URL {
            return Err("The URL is too long");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("A URL is of ASCII characters without spaces");
        }
        let (rest, authorization) = match find_last(text, URLAUTH) {
            Some(at) => {
                let (head, authorization) = authorization(text, at)?;
                (head, Some(authorization))
            }
            None => (text, None),
        };
        let (server, path) = match skip(rest, "imap://").or_else(|| rest.strip_prefix("//")) {
            Some(rest) => {
                let (authority, path) = rest.split_once('/').ok_or(NO_MESSAGE)?;
                (Some(server(authority)?), path)
            }
            None => (None, rest.strip_prefix('/').unwrap_or(rest)),
        };
        let rooted = server.is_some() || rest.starts_with('/');
        let scheme = path.split('/').next().is_some_and(|it| it.contains(':'));
        if !rooted && scheme {
            return Err("The URL is not one of IMAP");
        }
        let part = part(path)?;
        if server.is_some() && part.mailbox.is_empty() {
            return Err("The URL names no mailbox");
        }
        Ok(ImapUrl {
            server,
            rooted,
            authorization,
            ..part
        })
    }
}

const NO_MESSAGE: &str = "The URL names no message: it needs /;UID=";

/// The text before it, and the authorisation that begins at `at`.
fn authorization(text: &str, at: usize) -> Result<(&str, Authorization)> {
    const WRONG: &str = "The URL's access identifier or token is malformed";
    let (head, tail) = cut_off(text, at, URLAUTH);
    let mut words = tail.splitn(3, ':');
    let name = words.next().unwrap_or_default();
    let token = match (words.next(), words.next()) {
        (None, _) => None,
        (Some(mechanism), Some(digits)) if TOKEN.contains(&digits.len()) => Some(Token {
            mechanism: mechanism.to_ascii_uppercase(),
            bytes: hex(digits).ok_or(WRONG)?,
        }),
        _ => return Err(WRONG),
    };
    let access = if let Some(user) = skip(name, "submit+") {
        Access::Submit(decoded(user)?)
    } else if let Some(user) = skip(name, "user+") {
        Access::User(decoded(user)?)
    } else if name.eq_ignore_ascii_case("authuser") {
        Access::AuthUser
    } else if name.eq_ignore_ascii_case("anonymous") {
        Access::Anonymous
    } else {
        return Err("The URL has no valid access identifier");
    };
    let (head, expire) = match find_last(head, EXPIRE) {
        Some(at) => {
            let (head, date) = cut_off(head, at, EXPIRE);
            let date = date_time(date).ok_or("The date of EXPIRE is malformed")?;
            (head, Some(date))
        }
        None => (head, None),
    };
    let authorization = Authorization {
        expire,
        access,
        token,
        rump: at + URLAUTH.len() + name.len(),
    };
    Ok((head, authorization))
}

fn server(authority: &str) -> Result<Server> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => {
            let name = find_last(user, ";AUTH=").map_or(user, |at| user.split_at(at).0);
            let name = (!name.is_empty()).then(|| decoded(name)).transpose()?;
            (name, host)
        }
        None => (None, authority),
    };
    // The colons of an IPv6 address are none of a port.
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let port = host.rsplit_once(':').filter(|(_, port)| digits(port));
    let host = port.map_or(host, |(host, _)| host).to_ascii_lowercase();
    match host.is_empty() {
        true => Err("The URL has no host"),
        false => Ok(Server { user, host }),
    }
}

/// The path, less its first slash.
fn part(path: &str) -> Result<ImapUrl> {
    let at = match skip(path, UID) {
        Some(_) => 0,
        None => find_last(path, "/;UID=").ok_or(NO_MESSAGE)? + 1,
    };
    let (mailbox, rest) = cut_off(path, at, UID);
    let mailbox = mailbox.strip_suffix('/').unwrap_or(mailbox);
    let (mailbox, uid_validity) = match find_last(mailbox, UIDVALIDITY) {
        Some(at) => {
            let (mailbox, n) = cut_off(mailbox, at, UIDVALIDITY);
            (mailbox, Some(number(n).ok_or("UIDVALIDITY is a number")?))
        }
        None => (mailbox, None),
    };
    let mut items = rest.split("/;");
    let uid = items.next().and_then(number).and_then(Uid::new);
    let mut part = ImapUrl {
        server: None,
        rooted: false,
        mailbox: decoded(mailbox)?,
        uid_validity,
        uid: uid.ok_or("UID is a number from 1")?,
        section: Section {
            path: Vec::new(),
            text: SectionText::All,
        },
        partial: None,
        authorization: None,
    };
    let mut item = items.next();
    if let Some(text) = item.and_then(|it| skip(it, "SECTION=")) {
        part.section = section(&decoded(text)?).ok_or("The section is malformed")?;
        item = items.next();
    }
    if let Some(text) = item.and_then(|it| skip(it, "PARTIAL=")) {
        part.partial = Some(partial(text).ok_or("PARTIAL is start or start.count")?);
        item = items.next();
    }
    match item {
        Some(_) => Err("The URL is malformed behind its UID"),
        None => Ok(part),
    }
}

/// `section-spec` (RFC 3501, 9).
fn section(mut rest: &str) -> Option<Section> {
    let mut path = Vec::new();
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let (digits, more) = match rest.split_once('.') {
            Some((digits, more)) => (digits, Some(more)),
            None => (rest, None),
        };
        path.push(number(digits).filter(|&n| n > 0)?);
        if path.len() > MAX_PATH {
            return None;
        }
        match more {
            Some(more) => rest = more,
            None => {
                let text = SectionText::All;
                return Some(Section { path, text });
            }
        }
    }
    let (word, names) = rest.split_once(' ').unwrap_or((rest, ""));
    let names = || {
        let inside = names.strip_prefix('(')?.strip_suffix(')')?;
        let names: Vec<String> = inside
            .split_ascii_whitespace()
            .map(|it| it.trim_matches('"').to_owned())
            .collect();
        (1..=MAX_NAMES).contains(&names.len()).then_some(names)
    };
    let text = match word.to_ascii_uppercase().as_str() {
        "HEADER.FIELDS" => SectionText::HeaderFields(names()?),
        "HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(names()?),
        _ if word.len() < rest.len() => return None,
        "HEADER" => SectionText::Header,
        "TEXT" => SectionText::Text,
        "MIME" if !path.is_empty() => SectionText::Mime,
        _ => return None,
    };
    Some(Section { path, text })
}

fn partial(text: &str) -> Option<Partial> {
    let (start, count) = match text.split_once('.') {
        Some((start, count)) => (start, number(count).filter(|&n| n > 0)?),
        None => (text, u32::MAX),
    };
    let start = number(start)?;
    Some(Partial { start, count })
}

/// `date-time` of RFC 3339, as seconds since 1970.
fn date_time(text: &str) -> Option<i64> {
    let field = |range: std::ops::Range<usize>| number(text.get(range)?);
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let bytes = text.as_bytes();
    let marked = marks.iter().all(|&(at, mark)| bytes.get(at) == Some(&mark));
    let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
    let (hour, minute, second) = (field(11..13)?, field(14..16)?, field(17..19)?);
    let fits = year >= 1970 && (1..=12).contains(&month) && hour < 24 && minute < 60;
    if !marked || !fits || second > 60 || !matches!(bytes.get(10), Some(b'T' | b't')) {
        return None;
    }
    let zone = text.get(19..)?;
    let digit = |c: char| c.is_ascii_digit();
    let zone = match zone.strip_prefix('.') {
        Some(fraction) if fraction.starts_with(digit) => fraction.trim_start_matches(digit),
        Some(_) => return None,
        None => zone,
    };
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(zone.get(1..3)?)?, number(zone.get(4..6)?)?);
            let offset = i64::from(hours * 60 + minutes);
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let days = i64::from(days_since_1970(year, month, day).ok()?);
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some(days * 86_400 + seconds - offset * 60)
}

/// Digits alone, up to 32 bits.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The percent-encoding undone (RFC 3986, 2.1); it has to be UTF-8.
fn decoded(text: &str) -> Result<String> {
    const WRONG: &str = "The URL's percent-encoding is not UTF-8";
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    bytes.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or(WRONG)?;
        bytes.extend(hex(digits).ok_or(WRONG)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| WRONG)
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |b: &u8| char::from(*b).to_digit(16).map(|it| it as u8);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

/// What follows `word`, in any case, at the beginning.
fn skip<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}

/// Where `word`, in any case, is last.
fn find_last(text: &str, word: &str) -> Option<usize> {
    let mut windows = text.as_bytes().windows(word.len());
    windows.rposition(|it| it.eq_ignore_ascii_case(word.as_bytes()))
}

/// What is before `word` at `at`, and behind it.
fn cut_off<'a>(text: &'a str, at: usize, word: &str) -> (&'a str, &'a str) {
    let (head, tail) = text.split_at_checked(at).unwrap_or((text, ""));
    (head, tail.get(word.len()..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> ImapUrl {
        ImapUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_examples_of_rfc_4469() {
        let url = parsed("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME");
        assert_eq!((url.server, url.rooted), (None, true));
        assert_eq!((url.mailbox.as_str(), url.uid.get()), ("Drafts", 20));
        assert_eq!(url.uid_validity, Some(385_759_045));
        assert_eq!(url.section.path, [1]);
        assert_eq!(url.section.text, SectionText::Mime);
    }

    #[test]
    fn the_example_of_rfc_4467() {
        let text = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred\
            :internal:91354a473744909de610943775f92038";
        let url = parsed(text);
        let server = url.server.unwrap();
        assert_eq!(server.user.as_deref(), Some("joe"));
        assert_eq!(server.host, "example.com");
        let authorization = url.authorization.unwrap();
        assert_eq!(authorization.access, Access::Submit("fred".into()));
        assert!(text[..authorization.rump].ends_with(";urlauth=submit+fred"));
        let token = authorization.token.unwrap();
        assert_eq!(
            (token.mechanism.as_str(), token.bytes.len()),
            ("INTERNAL", 16)
        );
        assert_eq!(token.bytes[..2], [0x91, 0x35]);
    }

    #[test]
    fn names_are_percent_encoded_utf_8() {
        let url = parsed("imap://a%40b.example;AUTH=*@HOST:10143/Entw%C3%BCrfe/x%2fy/;UID=3");
        let server = url.server.unwrap();
        assert_eq!(server.user.as_deref(), Some("a@b.example"));
        assert_eq!(server.host, "host");
        assert_eq!(url.mailbox, "Entwürfe/x/y");
        let url = parsed("imap://[::1]:143/x/;UID=1");
        assert_eq!(url.server.unwrap().host, "[::1]");
    }

    #[test]
    fn sections_and_partials() {
        let url = parsed("/;UID=5/;SECTION=2.HEADER.FIELDS%20(DATE%20%22From%22)/;PARTIAL=7.9");
        assert_eq!(url.mailbox, "");
        let names = vec!["DATE".to_owned(), "From".to_owned()];
        assert_eq!(url.section.text, SectionText::HeaderFields(names));
        let partial = url.partial.unwrap();
        assert_eq!((partial.start, partial.count), (7, 9));
        let url = parsed("x/;UID=5/;PARTIAL=1024");
        assert_eq!((url.rooted, url.partial.unwrap().count), (false, u32::MAX));
    }

    #[test]
    fn dates_of_expire() {
        let moment = |text: &str| {
            let url = ImapUrl::parse(&format!("/x/;UID=1;EXPIRE={text};URLAUTH=anonymous"));
            url.ok()?.authorization?.expire
        };
        assert_eq!(moment("1970-01-02T00:00:00Z"), Some(86_400));
        assert_eq!(moment("2026-11-23T13:00:00.5+01:00"), Some(1_795_435_200));
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T13:00:00",
            "2026-13-23T13:00:00Z",
            "2026-11-23T24:00:00Z",
            "1969-11-23T13:00:00Z",
            "2026-11-23T13:00:00.Z",
            "+026-11-23T13:00:00Z",
            "2026-11-23T13:00:00+1:00",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in [
            "",
            "/",
            "/INBOX",
            "imap://host",
            "imap://host/",
            "imap://host/;UID=1",
            "imap:///x/;UID=1",
            "imap:/x/;UID=1",
            "http://host/x/;UID=1",
            "imaps://host/x/;UID=1",
            "/INBOX/;UID=0",
            "/INBOX/;UID=+1",
            "/INBOX/;UID=1/",
            "/INBOX/;UID=1/;SECTION=",
            "/INBOX/;UID=1/;SECTION=1.",
            "/INBOX/;UID=1/;SECTION=0",
            "/INBOX/;UID=1/;SECTION=MIME",
            "/INBOX/;UID=1/;SECTION=TEXT%20x",
            "/INBOX/;UID=1/;SECTION=HEADER.FIELDS",
            "/INBOX/;UID=1/;PARTIAL=1.0",
            "/INBOX/;UID=1/;PARTIAL=1/;SECTION=1",
            "/INBOX/;UID=1x",
            "/INBOX;UIDVALIDITY=x/;UID=1",
            "/IN BOX/;UID=1",
            "/x%c3/;UID=1",
            "/x%4/;UID=1",
            "/x%+4/;UID=1",
            "/x/;UID=1;URLAUTH=",
            "/x/;UID=1;URLAUTH=nobody",
            "/x/;UID=1;URLAUTH=anonymous:INTERNAL",
            "/x/;UID=1;URLAUTH=anonymous:INTERNAL:1234",
            "/x/;UID=1;URLAUTH=anonymous:INTERNAL:0123456789abcdef0123456789abcdefg",
        ] {
            assert!(ImapUrl::parse(text).is_err(), "{text}");
        }
        let long = format!("/{}/;UID=1", "x".repeat(MAX_URL));
        assert!(ImapUrl::parse(&long).is_err());
    }
}
