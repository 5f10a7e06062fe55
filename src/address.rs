//! Mail addresses in the sense of RFC 5321 and RFC 6531. Pure.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest local part, bytes (RFC 5321, 4.5.3.1.1).
pub const MAX_LOCAL_PART: usize = 64;
/// Longest domain, bytes (RFC 5321, 4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;
/// Longest address, bytes: a path of 256 less its angle brackets (RFC 5321, 4.5.3.1.3).
pub const MAX_ADDRESS: usize = 254;

/// A domain name, lower case, internationalized labels in Unicode (U-labels), or an
/// address literal such as `[192.0.2.1]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

/// `local-part@domain`; the local part is held without its quotes. Two addresses are
/// equal if they reach the same mailbox here: local parts compare without case.
#[derive(Clone, Debug)]
pub struct Address {
    local: String,
    domain: Domain,
}

/// Why a string is not an address: a sentence for the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressError(pub &'static str);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for AddressError {}

impl Domain {
    /// Accepts A-labels, U-labels and address literals (RFC 5321, 4.1.3); U-labels are
    /// checked and mapped as UTS 46 says.
    pub fn parse(text: &str) -> Result<Domain, AddressError> {
        if text.len() > MAX_DOMAIN {
            return Err(AddressError("a domain has at most 255 bytes"));
        }
        if let Some(literal) = text.strip_prefix('[') {
            return address_literal(literal).map(Domain);
        }
        let ascii = idna::domain_to_ascii_strict(text)
            .map_err(|_| AddressError("this is not a domain name"))?;
        let labels_hold = ascii.split('.').all(|label| {
            let bytes = label.as_bytes();
            !bytes.is_empty()
                && bytes
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
                && bytes.first() != Some(&b'-')
                && bytes.last() != Some(&b'-')
        });
        if !labels_hold || ascii.len() > MAX_DOMAIN {
            return Err(AddressError("this is not a domain name"));
        }
        let (unicode, checked) = idna::domain_to_unicode(&ascii);
        match checked {
            Ok(()) => Ok(Domain(unicode)),
            Err(_) => Err(AddressError("this is not a domain name")),
        }
    }

    /// With U-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text behind `[`, its closing bracket included.
fn address_literal(text: &str) -> Result<String, AddressError> {
    const WRONG: AddressError =
        AddressError("an address literal is [192.0.2.1] or [IPv6:2001:db8::1]");
    let inner = text.strip_suffix(']').ok_or(WRONG)?;
    if let Some((tag, six)) = inner.split_once(':')
        && tag.eq_ignore_ascii_case("IPv6")
    {
        let six: Ipv6Addr = six.parse().map_err(|_| WRONG)?;
        return Ok(format!("[IPv6:{six}]"));
    }
    let four: Ipv4Addr = inner.parse().map_err(|_| WRONG)?;
    Ok(format!("[{four}]"))
}

impl Address {
    /// Reads `Mailbox` of RFC 5321, 4.1.2, with the characters of RFC 6531, 3.3; no angle
    /// brackets, no source route.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        if text.len() > MAX_ADDRESS {
            return Err(AddressError("an address has at most 254 bytes"));
        }
        let (local, domain) = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (local, domain) = text
                    .split_once('@')
                    .ok_or(AddressError("an address is name@domain"))?;
                if !is_dot_atom(local) {
                    return Err(AddressError(
                        "the part before @ has a character that needs quotes",
                    ));
                }
                (local.to_owned(), domain)
            }
        };
        Address::new(&local, Domain::parse(domain)?)
    }

    /// Of a local part without its quotes.
    pub fn new(local: &str, domain: Domain) -> Result<Address, AddressError> {
        if local.is_empty() || local.len() > MAX_LOCAL_PART {
            return Err(AddressError("the part before @ has 1 to 64 bytes"));
        }
        if local.chars().any(char::is_control) {
            return Err(AddressError("the part before @ has a control character"));
        }
        let address = Address {
            local: local.to_owned(),
            domain,
        };
        match address.to_string().len() > MAX_ADDRESS {
            true => Err(AddressError("an address has at most 254 bytes")),
            false => Ok(address),
        }
    }

    /// The local part, unquoted, as it was written.
    pub fn local(&self) -> &str {
        &self.local
    }

    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The one spelling under which the address is looked up: local part in lower case.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }

    /// The address without its `+tag` (RFC 5233), if it has one.
    pub fn without_tag(&self) -> Option<Address> {
        match self.local.split_once('+') {
            Some((user, _)) if !user.is_empty() => Some(Address {
                local: user.to_owned(),
                domain: self.domain.clone(),
            }),
            _ => None,
        }
    }

    /// What stands behind the first `+` (RFC 5233), if there is a name before it.
    pub fn tag(&self) -> Option<&str> {
        let (user, tag) = self.local.split_once('+')?;
        (!user.is_empty()).then_some(tag)
    }

    /// Whether it can't be written without SMTPUTF8 (RFC 6531).
    pub fn needs_utf8(&self) -> bool {
        !self.local.is_ascii() || !self.domain.0.is_ascii()
    }
}

/// `atext` of RFC 5322, 3.2.3, and any UTF-8 beyond ASCII (RFC 6531, 3.3).
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control())
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// The local part out of its quotes, and the domain behind (`text` begins after the first quote).
fn unquote(text: &str) -> Result<(String, &str), AddressError> {
    let mut local = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let domain = text.get(at + 1..).and_then(|rest| rest.strip_prefix('@'));
                return domain
                    .map(|domain| (local, domain))
                    .ok_or(AddressError("an address is name@domain"));
            }
            '\\' => match chars.next() {
                Some((_, escaped)) if !escaped.is_control() => local.push(escaped),
                _ => break,
            },
            c if c.is_control() => break,
            c => local.push(c),
        }
    }
    Err(AddressError("the quotes before @ do not end"))
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.domain == other.domain && self.local.to_lowercase() == other.local.to_lowercase()
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.local.to_lowercase().hash(state);
        self.domain.hash(state);
    }
}

/// As it is written on the wire, quoted where it must be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_atom(&self.local) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<String, AddressError> {
        Address::parse(text).map(|address| address.to_string())
    }

    #[test]
    fn addresses_are_written_as_they_must_be() {
        for (text, expected) in [
            ("alice@Demo.Test", "alice@demo.test"),
            ("\"alice\"@demo.test", "alice@demo.test"),
            ("\"al ice\"@demo.test", "\"al ice\"@demo.test"),
            ("\"a\\\"b@c\"@demo.test", "\"a\\\"b@c\"@demo.test"),
            ("user+tag@xn--bcher-kva.example", "user+tag@bücher.example"),
            ("почта@пример.рф", "почта@пример.рф"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("a@[ipv6:2001:DB8::1]", "a@[IPv6:2001:db8::1]"),
        ] {
            assert_eq!(written(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@demo.test", "a".repeat(65));
        for text in [
            "",
            "alice",
            "@demo.test",
            "a@",
            "a b@demo.test",
            ".a@demo.test",
            "a..b@demo.test",
            "\"a@demo.test",
            "\"a\"demo.test",
            "a@-demo.test",
            "a@demo..test",
            "a@[1.2.3]",
            "a@de mo",
            "a\r\n@demo.test",
            "<a@b>",
            "a@b@c",
            "\"\"@demo.test",
            &long,
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn case_does_not_part_two_addresses() {
        assert_eq!(
            Address::parse("Alice@demo.test"),
            Address::parse("aLICE@DEMO.test")
        );
        assert_ne!(
            Address::parse("alice@demo.test"),
            Address::parse("alice@demo.example")
        );
        assert_eq!(
            Address::parse("A+b@c.de").map(|a| a.key()),
            Ok("a+b@c.de".into())
        );
    }

    #[test]
    fn the_tag_comes_off() {
        let tagged =
            Address::parse("alice+lists@demo.test").map(|a| a.without_tag().map(|a| a.to_string()));
        assert_eq!(tagged, Ok(Some("alice@demo.test".into())));
        assert_eq!(
            Address::parse("alice@demo.test").map(|a| a.without_tag()),
            Ok(None)
        );
    }
}
