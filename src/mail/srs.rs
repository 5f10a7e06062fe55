//! The Sender Rewriting Scheme (Shevek, 2004; no RFC): mail that goes on to another domain
//! goes on from an address of ours, which SPF allows us, and a bounce to that address finds
//! back. Nothing is remembered: the address holds all, and a keyed hash over it.
//!
//! ```text
//! ann@far.test           SRS0=hash=day=far.test=ann@office.test
//! SRS0=…@other.test      SRS1=hash=other.test==…@office.test
//! ```
//!
//! One that gets too long is remembered under a token instead: `SRS0=hash=day==token@office.test`.

use crate::address::{Address, Domain};
use ring::hmac;

/// The kind of the store's records that hold the key, and its name.
pub const KEYS: &str = "srs";
pub const KEY: &str = "key";
/// The kind of those that hold a sender under its token.
pub const SENDERS: &str = "srs sender";
/// Days for which a rewritten address takes bounces: longer than anyone tries to deliver.
pub const MAX_AGE: i64 = 21;

const DAY: i64 = 24 * 3600;
/// Days after which the count begins anew: two characters' worth.
const DAYS: i64 = 1 << 10;
/// Characters of the hash, five bits each: 30 bits, and a guess costs a refusal.
const HASH: usize = 6;
/// Characters of a token: 40 bits.
const TOKEN: usize = 8;
/// Of one case: servers on the way may fold it.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What may stand behind `SRS0`; `=` is ours.
const SEPARATORS: [char; 3] = ['=', '+', '-'];

/// Rewrites and restores, by one key.
pub struct Rewriter(hmac::Key);

/// Why a rewritten address is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was not made here, or changed since.
    Forged,
    Old,
}

/// To whom a bounce goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    To(Address),
    /// To the sender that is remembered under that token.
    Token(String),
}

/// Whether it has the form of an address that was rewritten here.
pub fn is_rewritten(address: &Address) -> bool {
    ["SRS0=", "SRS1="]
        .iter()
        .any(|tag| without(address.local(), tag).is_some())
}

impl Rewriter {
    pub fn new(secret: &[u8]) -> Rewriter {
        Rewriter(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// `now`: seconds since 1970. `None` where it gets longer than an address may be.
    pub fn rewrite(&self, sender: &Address, forwarder: &Domain, now: i64) -> Option<Address> {
        let host = idna::domain_to_ascii(sender.domain().as_str());
        let host = host.unwrap_or_else(|_| sender.domain().to_string());
        let local = match sent_on(sender.local()) {
            // Who forwarded it knows the way back; a second one only has to find him.
            Some(Forwarded { first, rest }) => {
                let first = first.unwrap_or(&host);
                format!("SRS1={}={first}={rest}", self.hash(&[first, rest]))
            }
            None => {
                let (day, local) = (day(now), sender.local());
                let hash = self.hash(&[&day, &host, local]);
                format!("SRS0={hash}={day}={host}={local}")
            }
        };
        Address::new(&local, forwarder.clone()).ok()
    }

    /// As `rewrite` for one that gets too long, with the token under which the caller has to
    /// remember the sender.
    pub fn shorten(
        &self,
        sender: &Address,
        forwarder: &Domain,
        now: i64,
    ) -> Option<(Address, String)> {
        let tag = hmac::sign(&self.0, format!("token={sender}").as_bytes());
        let bytes = tag.as_ref().iter().take(5);
        let token = characters(bytes.fold(0, |all, it| all << 8 | u64::from(*it)), TOKEN);
        let day = day(now);
        let hash = self.hash(&[&day, "", &token]);
        let short = Address::new(&format!("SRS0={hash}={day}=={token}"), forwarder.clone());
        Some((short.ok()?, token))
    }

    /// Where a bounce to `address` goes. `None` where it is no such address.
    pub fn restore(&self, address: &Address, now: i64) -> Option<Result<Way, Refusal>> {
        let local = address.local();
        let restored = match (without(local, "SRS0="), without(local, "SRS1=")) {
            (Some(rest), _) => self.restore_first(rest, now),
            (_, Some(rest)) => self.restore_further(rest).map(Way::To),
            _ => return None,
        };
        Some(restored)
    }

    fn restore_first(&self, text: &str, now: i64) -> Result<Way, Refusal> {
        let mut parts = text.splitn(4, '=');
        let mut part = || parts.next().ok_or(Refusal::Forged);
        let (hash, its_day, host, local) = (part()?, part()?, part()?, part()?);
        self.check(hash, &[its_day, host, local])?;
        let made = number(its_day).ok_or(Refusal::Forged)?;
        match (now.div_euclid(DAY) - made).rem_euclid(DAYS) > MAX_AGE {
            true => Err(Refusal::Old),
            false if host.is_empty() => Ok(Way::Token(local.to_ascii_uppercase())),
            false => to(local, host).map(Way::To),
        }
    }

    /// How old it is, the first server knows.
    fn restore_further(&self, text: &str) -> Result<Address, Refusal> {
        let mut parts = text.splitn(3, '=');
        let mut part = || parts.next().ok_or(Refusal::Forged);
        let (hash, host, rest) = (part()?, part()?, part()?);
        self.check(hash, &[host, rest])?;
        to(&format!("SRS0{rest}"), host)
    }

    fn check(&self, hash: &str, parts: &[&str]) -> Result<(), Refusal> {
        let right = self.hash(parts);
        let pairs = right.bytes().zip(hash.bytes());
        let different = pairs.fold(0, |all, (a, b)| all | (a ^ b.to_ascii_uppercase()));
        match hash.len() == right.len() && different == 0 {
            true => Ok(()),
            false => Err(Refusal::Forged),
        }
    }

    /// Over the parts in lower case.
    fn hash(&self, parts: &[&str]) -> String {
        let tag = hmac::sign(&self.0, parts.join("=").to_lowercase().as_bytes());
        let bytes = tag.as_ref().iter().take(5);
        let bits = bytes.fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        characters(bits, HASH)
    }
}

/// What is remembered of a sender under its token: the day, and the address.
pub fn remember(sender: &Address, now: i64) -> Vec<u8> {
    format!("{} {sender}", now.div_euclid(DAY)).into_bytes()
}

/// The day, since 1970, and the sender.
pub fn remembered(row: &[u8]) -> Option<(i64, Address)> {
    let (day, sender) = std::str::from_utf8(row).ok()?.split_once(' ')?;
    Some((day.parse().ok()?, Address::parse(sender).ok()?))
}

/// Whether no bounce is taken any more to one that was remembered on that day.
pub fn is_over(day: i64, now: i64) -> bool {
    now.div_euclid(DAY) - day > MAX_AGE
}

/// A sender that another server has rewritten.
struct Forwarded<'a> {
    /// The first that did; `None`: the sender's own.
    first: Option<&'a str>,
    /// What stands behind `SRS0` in its address.
    rest: &'a str,
}

fn sent_on(local: &str) -> Option<Forwarded<'_>> {
    if let Some(rest) = without(local, "SRS0") {
        let forwarded = rest.starts_with(SEPARATORS);
        return forwarded.then_some(Forwarded { first: None, rest });
    }
    let rest = without(local, "SRS1")?.strip_prefix(SEPARATORS)?;
    let mut parts = rest.splitn(3, '=');
    let (_, first, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = !first.is_empty() && rest.starts_with(SEPARATORS);
    whole.then_some(Forwarded {
        first: Some(first),
        rest,
    })
}

/// In any case.
fn without<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (front, rest) = text.split_at_checked(prefix.len())?;
    front.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn to(local: &str, host: &str) -> Result<Address, Refusal> {
    let domain = Domain::parse(host).map_err(|_| Refusal::Forged)?;
    Address::new(local, domain).map_err(|_| Refusal::Forged)
}

fn day(now: i64) -> String {
    let day = now.div_euclid(DAY).rem_euclid(DAYS);
    characters(day.unsigned_abs(), 2)
}

/// The lowest bits, five a character.
fn characters(bits: u64, count: usize) -> String {
    let place = |n: usize| usize::try_from(bits >> (5 * n) & 31).unwrap_or_default();
    let found = (0..count).rev().filter_map(|n| ALPHABET.get(place(n)));
    found.map(|byte| char::from(*byte)).collect()
}

fn number(text: &str) -> Option<i64> {
    let digit = |byte: u8| {
        let byte = byte.to_ascii_uppercase();
        ALPHABET.iter().position(|it| *it == byte)
    };
    let digits: Option<Vec<usize>> = text.bytes().map(digit).collect();
    let digits = digits.filter(|it| it.len() == 2)?;
    Some(digits.iter().fold(0, |all, it| all << 5 | *it as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn office() -> Domain {
        Domain::parse("office.test").unwrap()
    }

    fn there_and_back(sender: &str) -> (String, String) {
        let rewriter = Rewriter::new(b"key");
        let sent = rewriter.rewrite(&address(sender), &office(), NOW).unwrap();
        // As it crosses the wire, and a server that folds case.
        let bounced = address(&sent.to_string());
        let back = rewriter.restore(&bounced, NOW).unwrap().unwrap();
        let folded = address(&sent.to_string().to_lowercase());
        assert_eq!(rewriter.restore(&folded, NOW), Some(Ok(back.clone())));
        match back {
            Way::To(back) => (sent.to_string(), back.to_string()),
            Way::Token(_) => panic!("{sent} holds all"),
        }
    }

    #[test]
    fn a_bounce_finds_back() {
        for sender in [
            "ann@far.test",
            "Ann+Tag=x@far.test",
            "\"a b\"@far.test",
            "a@[192.0.2.1]",
            "ä@m\u{fc}nchen.test",
        ] {
            let (sent, back) = there_and_back(sender);
            assert!(sent.contains("SRS0="), "{sent}");
            assert!(sent.ends_with("@office.test"), "{sent}");
            assert_eq!(back, sender);
        }
        let (sent, _) = there_and_back("ann@m\u{fc}nchen.test");
        assert!(sent.is_ascii(), "{sent}");
    }

    #[test]
    fn a_second_forwarder_names_the_first() {
        for (sender, first) in [
            ("SRS0=aaaa=bb=far.test=ann@b.test", "b.test"),
            ("srs0+aaaa=bb=far.test=ann@b.test", "b.test"),
            ("SRS1=cccc=b.test==aaaa=bb=far.test=ann@c.test", "b.test"),
        ] {
            let (sent, back) = there_and_back(sender);
            assert!(sent.contains(&format!("={first}=")), "{sent}");
            assert!(sent.starts_with("SRS1="), "{sent}");
            assert!(!sent.contains("c.test"), "{sent}");
            assert!(back.to_lowercase().ends_with("aaaa=bb=far.test=ann@b.test"));
            assert!(back.starts_with("SRS0"), "{back}");
        }
        // Only called so.
        let (sent, back) = there_and_back("SRS1=x@b.test");
        assert!(sent.starts_with("SRS0="), "{sent}");
        assert_eq!(back, "SRS1=x@b.test");
    }

    #[test]
    fn forged_and_old_ones_are_refused() {
        let rewriter = Rewriter::new(b"key");
        let sent = rewriter.rewrite(&address("ann@far.test"), &office(), NOW);
        let sent = sent.unwrap().to_string();
        let is = |text: &str, now: i64| rewriter.restore(&address(text), now);
        let ann = Some(Ok(Way::To(address("ann@far.test"))));
        assert_eq!(is(&sent, NOW + MAX_AGE * DAY), ann);
        assert_eq!(
            is(&sent, NOW + (MAX_AGE + 1) * DAY),
            Some(Err(Refusal::Old))
        );
        assert_eq!(is(&sent, NOW - 2 * DAY), Some(Err(Refusal::Old)));
        let other = Rewriter::new(b"other").rewrite(&address("ann@far.test"), &office(), NOW);
        for forged in [
            sent.replace("=ann", "=bob"),
            sent.replace("far.test", "fan.test"),
            sent.replace("SRS0=", "SRS0=A"),
            other.unwrap().to_string(),
            "SRS0=AAAAAA=AA=far.test=ann@office.test".into(),
            "SRS0==AA=far.test=ann@office.test".into(),
            "SRS0=AAAAAA=AA=far.test@office.test".into(),
            "SRS0=x@office.test".into(),
            "SRS1=AAAAAA=far.test==AAAA=AA=x=y@office.test".into(),
            "SRS1=x@office.test".into(),
        ] {
            assert_eq!(is(&forged, NOW), Some(Err(Refusal::Forged)), "{forged}");
            assert!(is_rewritten(&address(&forged)));
        }
        for none in ["ann@office.test", "SRS0@office.test", "srs@office.test"] {
            assert_eq!(is(none, NOW), None, "{none}");
        }
    }

    #[test]
    fn what_gets_too_long_goes_by_a_token() {
        let long = address(&format!("{}@far.test", "x".repeat(60)));
        let rewriter = Rewriter::new(b"key");
        assert_eq!(rewriter.rewrite(&long, &office(), NOW), None);
        let (short, token) = rewriter.shorten(&long, &office(), NOW).unwrap();
        assert!(is_rewritten(&short));
        let back = |text: &str, now| rewriter.restore(&address(text), now);
        let short = short.to_string();
        let way = Some(Ok(Way::Token(token.clone())));
        assert_eq!(back(&short, NOW), way);
        assert_eq!(back(&short.to_lowercase(), NOW), way);
        let late = NOW + (MAX_AGE + 1) * DAY;
        assert_eq!(back(&short, late), Some(Err(Refusal::Old)));
        let other = short.replace(&token, "AAAAAAAA");
        assert_eq!(back(&other, NOW), Some(Err(Refusal::Forged)));
        // The same sender has the same token, another another.
        let again = rewriter.shorten(&long, &office(), NOW + DAY).unwrap();
        assert_eq!(again.1, token);
        let other = address(&format!("{}@far.test", "y".repeat(60)));
        assert_ne!(rewriter.shorten(&other, &office(), NOW).unwrap().1, token);
    }
}
