//! SPF records (RFC 7208, 12).
//!
//! ```text
//! record     = "v=spf1" *( 1*SP ( directive / modifier ) ) *SP
//! directive  = [ "+" / "-" / "?" / "~" ] mechanism
//! mechanism  = all / include / a / mx / ptr / ip4 / ip6 / exists
//! modifier   = redirect / explanation / unknown-modifier
//! ```

use super::expand::Text;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest record, bytes: what DNS can carry is longer, what senders need is not.
const MAX_RECORD: usize = 8192;

#[derive(Clone, Debug, Default)]
pub struct Record {
    pub directives: Vec<Directive>,
    /// Not there where `all` is (RFC 7208, 6.1).
    pub redirect: Option<Text>,
    pub explanation: Option<Text>,
}

#[derive(Clone, Debug)]
pub struct Directive {
    pub qualifier: Qualifier,
    pub mechanism: Mechanism,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

#[derive(Clone, Debug)]
pub enum Mechanism {
    All,
    Include(Text),
    /// Prefix lengths for IPv4 and IPv6.
    A(Option<Text>, (u8, u8)),
    Mx(Option<Text>, (u8, u8)),
    Ptr(Option<Text>),
    Ip(IpAddr, u8),
    Exists(Text),
}

impl Record {
    /// Whether it begins as one does: others are none of SPF's business.
    pub fn is_spf(text: &[u8]) -> bool {
        let Some((start, rest)) = text.split_at_checked(6) else {
            return false;
        };
        start.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' '))
    }

    /// `None` for a record with any mistake, wherever it is (RFC 7208, 4.6).
    pub fn parse(text: &[u8]) -> Option<Record> {
        let text = std::str::from_utf8(text).ok()?;
        if !text.is_ascii() || text.len() > MAX_RECORD {
            return None;
        }
        let mut record = Record::default();
        for term in text.get(6..)?.split(' ').filter(|it| !it.is_empty()) {
            match modifier(term) {
                Some((name, value)) => record.modifier(name, value)?,
                None => record.directives.push(directive(term)?),
            }
        }
        let is_all = |it: &Directive| matches!(it.mechanism, Mechanism::All);
        if record.directives.iter().any(is_all) {
            record.redirect = None;
        }
        Some(record)
    }

    fn modifier(&mut self, name: &str, value: &str) -> Option<()> {
        let place = if name.eq_ignore_ascii_case("redirect") {
            &mut self.redirect
        } else if name.eq_ignore_ascii_case("exp") {
            &mut self.explanation
        } else {
            // Unknown, but well-formed all the same.
            Text::parse_macro(value)?;
            return Some(());
        };
        match place {
            Some(_) => None,
            None => {
                *place = Some(Text::parse_domain(value)?);
                Some(())
            }
        }
    }
}

/// `name "=" macro-string`; a mechanism has no `=` before `:` or `/`.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(fits);
    is_name.then_some((name, value))
}

fn directive(term: &str) -> Option<Directive> {
    let (qualifier, rest) = match term.split_at_checked(1)? {
        ("+", rest) => (Qualifier::Pass, rest),
        ("-", rest) => (Qualifier::Fail, rest),
        ("~", rest) => (Qualifier::SoftFail, rest),
        ("?", rest) => (Qualifier::Neutral, rest),
        _ => (Qualifier::Pass, term),
    };
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (name, argument) = rest.split_at(end);
    let mechanism = match (name.to_ascii_lowercase().as_str(), argument) {
        ("all", "") => Mechanism::All,
        ("include", _) => Mechanism::Include(Text::parse_domain(argument.strip_prefix(':')?)?),
        ("exists", _) => Mechanism::Exists(Text::parse_domain(argument.strip_prefix(':')?)?),
        ("a", _) => {
            let (domain, prefixes) = domain_and_prefixes(argument)?;
            Mechanism::A(domain, prefixes)
        }
        ("mx", _) => {
            let (domain, prefixes) = domain_and_prefixes(argument)?;
            Mechanism::Mx(domain, prefixes)
        }
        ("ptr", "") => Mechanism::Ptr(None),
        ("ptr", _) => Mechanism::Ptr(Some(Text::parse_domain(argument.strip_prefix(':')?)?)),
        ("ip4", _) => {
            let (address, prefix) = network(argument.strip_prefix(':')?, 32)?;
            Mechanism::Ip(IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), prefix)
        }
        ("ip6", _) => {
            let (address, prefix) = network(argument.strip_prefix(':')?, 128)?;
            Mechanism::Ip(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), prefix)
        }
        _ => return None,
    };
    Some(Directive {
        qualifier,
        mechanism,
    })
}

/// `[ ":" domain-spec ] [ "/" ip4-length ] [ "//" ip6-length ]`
fn domain_and_prefixes(argument: &str) -> Option<(Option<Text>, (u8, u8))> {
    let (mut rest, mut prefixes) = (argument, (32, 128));
    if let Some((before, length)) = rest.rsplit_once("//")
        && is_number(length)
    {
        prefixes.1 = prefix(length, 128)?;
        rest = before;
    }
    if let Some((before, length)) = rest.rsplit_once('/')
        && is_number(length)
    {
        prefixes.0 = prefix(length, 32)?;
        rest = before;
    }
    let domain = match rest {
        "" => None,
        rest => Some(Text::parse_domain(rest.strip_prefix(':')?)?),
    };
    Some((domain, prefixes))
}

fn network(text: &str, longest: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((address, length)) => Some((address, prefix(length, longest)?)),
        None => Some((text, longest)),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Without leading zeros.
fn prefix(text: &str, longest: u8) -> Option<u8> {
    let plain = is_number(text) && (text == "0" || !text.starts_with('0'));
    let length: u8 = plain.then(|| text.parse().ok())??;
    (length <= longest).then_some(length)
}
