//! The parameters of MAIL and RCPT, each by its own grammar.

use super::{Hold, SYNTAX};
use crate::mail::outgoing::{Body, DeliverBy, Notify, Ret};
use crate::smtp::reply::Reply;

/// Longest ENVID, bytes (RFC 3461, 4.4).
pub(super) const MAX_ENVID: usize = 100;
/// Longest ORCPT, bytes (RFC 3461, 4.2).
const MAX_ORCPT: usize = 500;

pub(super) fn body(value: &str) -> Result<Body, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(Body::SevenBit),
        "8BITMIME" | "BINARYMIME" => Ok(Body::EightBitMime),
        _ => Err(not_that_body()),
    }
}

/// Of a BODY that is not offered.
pub fn not_that_body() -> Reply {
    Reply::new(504, "5.5.4", "BODY is 7BIT or 8BITMIME")
}

/// `-9` to `9`, zero without a sign (RFC 6710, 7).
pub(super) fn priority(value: &str) -> Result<i8, Reply> {
    match value.parse::<i8>() {
        Ok(priority @ -9..=9) if priority.to_string() == value => Ok(priority),
        _ => Err(SYNTAX),
    }
}

/// `by-time ";" by-mode [by-trace]` (RFC 2852, 4). A message that is to come back must have
/// some time.
pub(super) fn deliver_by(value: &str) -> Result<DeliverBy, Reply> {
    let (time, mode) = value.split_once(';').ok_or(SYNTAX)?;
    let digits = time.strip_prefix(['-', '+']).unwrap_or(time);
    let fits = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let until: i64 = time.parse().ok().filter(|_| fits).ok_or(SYNTAX)?;
    let (returns, trace) = match mode.to_ascii_uppercase().as_str() {
        "N" => (false, false),
        "NT" => (false, true),
        "R" => (true, false),
        "RT" => (true, true),
        _ => return Err(SYNTAX),
    };
    if returns && until <= 0 {
        return Err(SYNTAX);
    }
    Ok(DeliverBy {
        until,
        returns,
        trace,
    })
}

/// `future-release-integer`: 1 to 999999999 without zeros in front, seconds.
pub(super) fn hold_for(value: &str) -> Result<Hold, Reply> {
    match number(value) {
        Some(seconds @ 1..=999_999_999) if !value.starts_with('0') => Ok(Hold::For(seconds as i64)),
        _ => Err(SYNTAX),
    }
}

/// The date-time of RFC 3339, 5.6 (RFC 4865, erratum 2040).
pub(super) fn hold_until(value: &str) -> Result<Hold, Reply> {
    const DAY: usize = "2026-01-02T".len();
    let shape = value.is_ascii()
        && value
            .as_bytes()
            .get(DAY - 1)
            .is_some_and(|it| it.eq_ignore_ascii_case(&b'T'))
        && value
            .get(DAY..)
            .is_some_and(|it| it.contains(['Z', 'z', '+', '-']) && !it.contains('['));
    let moment: Result<jiff::Timestamp, _> = value.parse();
    match moment {
        // A part of a second more is a second: never released before its time.
        Ok(moment) if shape => {
            let more = i64::from(moment.subsec_nanosecond() > 0);
            Ok(Hold::Until(moment.as_second() + more))
        }
        _ => Err(SYNTAX),
    }
}

pub(super) fn ret(value: &str) -> Result<Ret, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Ret::Full),
        "HDRS" => Ok(Ret::Headers),
        _ => Err(SYNTAX),
    }
}

pub fn unknown_parameter(keyword: &str) -> Reply {
    Reply::with(
        555,
        "5.5.4",
        format!("The parameter {keyword} is not known"),
    )
}

/// `NEVER`, or a list of the others (RFC 3461, 4.1).
pub(super) fn notify(value: &str) -> Result<Notify, Reply> {
    let mut notify = Notify {
        success: false,
        failure: false,
        delay: false,
        given: true,
    };
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for event in value.split(',') {
        match event.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return Err(SYNTAX),
        }
    }
    Ok(notify)
}

/// What ORCPT names, decoded: `addr-type ";" xtext`, or utf-8-address in place of the xtext
/// (RFC 3461, 4.2; RFC 6533, 3).
pub(super) fn original_recipient(value: &str) -> Result<String, Reply> {
    let (kind, address) = value.split_once(';').ok_or(SYNTAX)?;
    // RFC 822, 3.3.
    let atom = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\".[]".contains(&b);
    if value.len() > MAX_ORCPT || kind.is_empty() || !kind.bytes().all(atom) {
        return Err(SYNTAX);
    }
    match kind.eq_ignore_ascii_case("utf-8") {
        true => Ok(format!("{kind};{}", unescaped(address)?)),
        false if address.is_empty() => Ok(value.into()),
        false => Ok(format!("{kind};{}", decoded(address)?)),
    }
}

/// A utf-8-address without its `\x{…}` (RFC 6533, 3).
fn unescaped(address: &str) -> Result<String, Reply> {
    let mut out = String::with_capacity(address.len());
    let mut rest = address;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        let c = match c {
            '\\' => {
                let inner = rest.strip_prefix("x{").and_then(|it| it.split_once('}'));
                let (hex, after) = inner.ok_or(SYNTAX)?;
                rest = after;
                let is_hex = hex.bytes().all(|b| b.is_ascii_hexdigit());
                let number = u32::from_str_radix(hex, 16).ok().filter(|_| is_hex);
                number.and_then(char::from_u32).ok_or(SYNTAX)?
            }
            '=' => return Err(SYNTAX),
            c => c,
        };
        // A line's end could forge fields of a notice.
        if c.is_control() {
            return Err(SYNTAX);
        }
        out.push(c);
    }
    Ok(out)
}

/// What an xtext stands for: printable ASCII, as ENVID and ORCPT must be (RFC 3461, 4.2 and
/// 4.4). A line's end in it could forge fields of a notice.
pub(super) fn decoded(xtext: &str) -> Result<String, Reply> {
    if !is_xtext(xtext) {
        return Err(SYNTAX);
    }
    let mut bytes = Vec::with_capacity(xtext.len());
    let mut rest = xtext.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) if *first == b'+' => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let printable = bytes.iter().all(|b| matches!(b, b' '..=b'~' | b'\t'));
    let text = String::from_utf8(bytes).ok().filter(|_| printable);
    text.ok_or(SYNTAX)
}

/// `*(xchar / "+" 2HEXDIG)`, upper case (RFC 3461, 4).
pub(super) fn is_xtext(value: &str) -> bool {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'+' => bytes.next().is_some_and(hex) && bytes.next().is_some_and(hex),
            b'=' => false,
            byte => byte.is_ascii_graphic(),
        };
        if !fits {
            return false;
        }
    }
    !value.is_empty()
}

pub(super) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// `keyword ["=" value]`, each keyword once, in upper case.
pub(super) struct Parameters<'a>(Vec<(String, Option<&'a str>)>);

impl<'a> Parameters<'a> {
    pub(super) fn new(text: &'a str) -> Result<Parameters<'a>, Reply> {
        let mut parameters: Vec<(String, Option<&str>)> = Vec::new();
        for word in text.split_ascii_whitespace() {
            let (keyword, value) = match word.split_once('=') {
                Some((keyword, value)) => (keyword, Some(value)),
                None => (word, None),
            };
            let keyword = keyword.to_ascii_uppercase();
            if value == Some("") || parameters.iter().any(|(it, _)| *it == keyword) {
                return Err(SYNTAX);
            }
            parameters.push((keyword, value));
        }
        Ok(Parameters(parameters))
    }
}

impl<'a> IntoIterator for Parameters<'a> {
    type Item = (String, Option<&'a str>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
