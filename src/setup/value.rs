//! Answers that are typed: what each may be, and its one spelling.

use super::answers::Answers;
use super::text::Text;
use super::words::*;
use crate::address::{Address, Domain};
use crate::mail::is_reserved;
use std::net::IpAddr;

/// An answer in its one spelling, or why it is none.
pub type Read = Result<String, Text>;

/// Longest answer, bytes; so long a path may be.
pub const MAX_ANSWER: usize = 1024;
/// What stands for no answer where one may be missing.
pub const NOTHING: &str = "-";
/// The services that people know of, in the order in which they are named.
pub const SERVICES: [&str; 4] = ["imap", "pop3", "submission", "smtp"];
/// Longest host name, octets (RFC 1035, 2.3.4, without the last dot).
const MAX_HOST: usize = 253;

pub fn host(text: &str, _: &Answers) -> Read {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // An address has digits alone behind its last dot.
    let top = text.rsplit('.').next().unwrap_or_default();
    let named = !top.bytes().all(|b| b.is_ascii_digit());
    match text.len() <= MAX_HOST && text.contains('.') && named && text.split('.').all(label) {
        true => Ok(text),
        false => Err(BAD_HOST),
    }
}

pub fn domain(text: &str, _: &Answers) -> Read {
    let text = text.trim_start_matches('@').trim_end_matches('.');
    match Domain::parse(text) {
        Ok(domain) if domain.as_str().contains('.') && !text.starts_with('[') => {
            Ok(domain.to_string())
        }
        _ => Err(BAD_DOMAIN),
    }
}

pub fn services(text: &str, _: &Answers) -> Read {
    let text = text.to_ascii_lowercase();
    let named: Vec<&str> = text.split([' ', ',']).filter(|it| !it.is_empty()).collect();
    if named == ["all"] {
        return Ok(SERVICES.join(" "));
    }
    if named.is_empty() || named.iter().any(|it| !SERVICES.contains(it)) {
        return Err(BAD_SERVICES);
    }
    let chosen: Vec<&str> = SERVICES
        .into_iter()
        .filter(|it| named.contains(it))
        .collect();
    Ok(chosen.join(" "))
}

pub fn path(text: &str, _: &Answers) -> Read {
    match text.starts_with('/') && !text.chars().any(char::is_control) {
        true => Ok(text.into()),
        false => Err(BAD_PATH),
    }
}

/// A name in the mail domain, or a whole address there.
pub fn account(text: &str, answers: &Answers) -> Read {
    let domain = answers.get("domain").unwrap_or_default();
    let whole = match text.contains('@') {
        true => text.to_string(),
        false => format!("{text}@{domain}"),
    };
    let address = Address::parse(&whole).map_err(|_| BAD_ADDRESS)?;
    if address.domain().as_str() != domain {
        return Err(OTHER_DOMAIN);
    }
    if is_reserved(address.local()) {
        return Err(RESERVED);
    }
    // A tag names a folder of an account, not one of its own.
    match address.tag() {
        Some(_) => Err(BAD_ADDRESS),
        None => Ok(address.to_string()),
    }
}

/// As an authority of ACME takes it, or nothing.
pub fn contact(text: &str, _: &Answers) -> Read {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_+@".contains(&b);
    match Address::parse(text) {
        _ if text == NOTHING => Ok(NOTHING.into()),
        Ok(address) if text.bytes().all(plain) && address.domain().as_str().contains('.') => {
            Ok(text.into())
        }
        _ => Err(BAD_ADDRESS),
    }
}

/// `ADDRESS/PREFIX`.
pub fn network(text: &str, _: &Answers) -> Read {
    let (address, prefix) = text.split_once('/').ok_or(BAD_NETWORK)?;
    let address: IpAddr = address.trim().parse().map_err(|_| BAD_NETWORK)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match prefix.trim().parse::<u8>() {
        Ok(prefix) if (1..=most).contains(&prefix) => Ok(format!("{address}/{prefix}")),
        _ => Err(BAD_NETWORK),
    }
}

pub fn ip(text: &str, _: &Answers) -> Read {
    let address: IpAddr = text.parse().map_err(|_| BAD_IP)?;
    Ok(address.to_string())
}

/// In the network of `network.address`; or link-local, as IPv6 has its routers.
pub fn gateway(text: &str, answers: &Answers) -> Read {
    let gateway: IpAddr = text.parse().map_err(|_| BAD_IP)?;
    let (own, prefix) = answers
        .get("network.address")
        .and_then(|it| it.split_once('/'))
        .unwrap_or_default();
    let (Ok(own), Ok(prefix)) = (own.parse::<IpAddr>(), prefix.parse::<u32>()) else {
        return Err(BAD_GATEWAY);
    };
    let near = match (own, gateway) {
        (IpAddr::V4(own), IpAddr::V4(it)) => {
            let differ = u32::from(own) ^ u32::from(it);
            differ != 0 && differ.checked_shr(32 - prefix.min(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(own), IpAddr::V6(it)) => {
            let differ = u128::from(own) ^ u128::from(it);
            let outside = differ.checked_shr(128 - prefix.min(128)).unwrap_or(0);
            differ != 0 && (outside == 0 || it.segments()[0] & 0xffc0 == 0xfe80)
        }
        _ => false,
    };
    match near {
        true => Ok(gateway.to_string()),
        false => Err(BAD_GATEWAY),
    }
}

pub fn name_servers(text: &str, answers: &Answers) -> Read {
    let named: Vec<&str> = text.split([' ', ',']).filter(|it| !it.is_empty()).collect();
    if !(1..=3).contains(&named.len()) {
        return Err(BAD_SERVERS);
    }
    let read: Result<Vec<String>, Text> = named.iter().map(|it| ip(it, answers)).collect();
    read.map(|it| it.join(" ")).map_err(|_| BAD_SERVERS)
}

/// As the tz database writes it: never a path that leads elsewhere.
pub fn zone(text: &str, _: &Answers) -> Read {
    let part = |part: &str| {
        !part.is_empty()
            && part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-+".contains(&b))
    };
    match text.len() <= 64 && text.split('/').all(part) {
        true => Ok(text.into()),
        false => Err(BAD_ZONE),
    }
}

/// Kinds of SSH keys that open the console (RFC 4253, RFC 5656, RFC 8709).
const KEY_KINDS: [&str; 6] = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];
/// Shortest key in base64: Ed25519's has 68.
const MIN_KEY: usize = 64;

/// A public key as OpenSSH's files have it: kind, key, and perhaps a name. No options before
/// it, so nobody is given more than the console.
pub fn ssh_key(text: &str, _: &Answers) -> Read {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, key, ..] = words.as_slice() else {
        return Err(BAD_KEY);
    };
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    let whole = key.len() >= MIN_KEY && key.starts_with("AAAA") && key.bytes().all(base64);
    let plain = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    match KEY_KINDS.contains(kind) && whole && plain {
        true => Ok(words.join(" ")),
        false => Err(BAD_KEY),
    }
}

/// A provider's server: a name or an address.
pub fn relay_host(text: &str, answers: &Answers) -> Read {
    let text = text.trim_matches(['[', ']']);
    if text == "localhost" || text.parse::<IpAddr>().is_ok() {
        return Ok(text.into());
    }
    host(text, answers)
}

pub fn port(text: &str, _: &Answers) -> Read {
    match text.parse::<u16>() {
        Ok(1..) => Ok(text.trim_start_matches(['0', '+']).into()),
        _ => Err(BAD_PORT),
    }
}

/// Whether TLS may be done without on the way to the relay.
pub fn relay_tls(text: &str, answers: &Answers) -> Read {
    let host = answers.get("relay.host").unwrap_or_default();
    let near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    match text == "none" && !near {
        true => Err(NEAR_ONLY),
        false => Ok(text.into()),
    }
}

pub fn user(text: &str, _: &Answers) -> Read {
    match text.chars().any(char::is_control) {
        true => Err(BAD_USER),
        false => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> Answers {
        let mut answers = Answers::default();
        answers.put(name, value.into());
        answers
    }

    #[test]
    fn a_key_is_one_line_and_nothing_before_it() {
        let none = Answers::default();
        let key = format!("AAAAC3NzaC1lZDI1NTE5{}==", "x".repeat(50));
        let typed = format!("ssh-ed25519   {key} anna@laptop");
        let read = format!("ssh-ed25519 {key} anna@laptop");
        assert_eq!(ssh_key(&typed, &none), Ok(read));
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &format!("ssh-dss {key}"),
            &format!("command=\"sh\" ssh-ed25519 {key}"),
            &format!("ssh-ed25519 {key} anna\u{301}"),
            &format!("ssh-ed25519 {key}\nssh-ed25519 {key}"),
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            assert_eq!(ssh_key(bad, &none), Err(BAD_KEY), "{bad}");
        }
    }

    #[test]
    fn every_value_has_one_spelling() {
        let none = Answers::default();
        let at_home = with("domain", "example.org");
        type Reader = fn(&str, &Answers) -> Read;
        let cases: [(Reader, &Answers, &str, &str); 14] = [
            (host, &none, "Mail.Example.ORG.", "mail.example.org"),
            (domain, &none, "@Example.org", "example.org"),
            (
                domain,
                &none,
                "xn--bcher-kva.example",
                "b\u{fc}cher.example",
            ),
            (services, &none, "SMTP, imap", "imap smtp"),
            (services, &none, "all", "imap pop3 submission smtp"),
            (account, &at_home, "anna", "anna@example.org"),
            (account, &at_home, "anna@EXAMPLE.org", "anna@example.org"),
            (network, &none, "192.168.1.20 / 24", "192.168.1.20/24"),
            (network, &none, "2001:DB8::20/64", "2001:db8::20/64"),
            (
                name_servers,
                &none,
                "192.0.2.1,  192.0.2.2",
                "192.0.2.1 192.0.2.2",
            ),
            (
                zone,
                &none,
                "America/Port-au-Prince",
                "America/Port-au-Prince",
            ),
            (port, &none, "0587", "587"),
            (relay_host, &none, "[::1]", "::1"),
            (contact, &none, "-", "-"),
        ];
        for (read, answers, typed, kept) in cases {
            assert_eq!(read(typed, answers), Ok(kept.to_string()), "{typed}");
            // What is kept is read as itself.
            assert_eq!(read(kept, answers), Ok(kept.to_string()), "{kept}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        let none = Answers::default();
        let at_home = with("domain", "example.org");
        type Reader = fn(&str, &Answers) -> Read;
        let cases: [(Reader, &Answers, &str, Text); 24] = [
            (host, &none, "mail", BAD_HOST),
            (host, &none, "192.0.2.1", BAD_HOST),
            (host, &none, "-a.example", BAD_HOST),
            (host, &none, "a..example", BAD_HOST),
            (host, &none, "a b.example", BAD_HOST),
            (domain, &none, "example", BAD_DOMAIN),
            (domain, &none, "[192.0.2.1]", BAD_DOMAIN),
            (services, &none, "imap ftp", BAD_SERVICES),
            (services, &none, ",", BAD_SERVICES),
            (path, &none, "cert.pem", BAD_PATH),
            (account, &at_home, "anna@other.example", OTHER_DOMAIN),
            (account, &at_home, "Guest", RESERVED),
            (account, &at_home, "anna+lists", BAD_ADDRESS),
            (account, &at_home, "a b", BAD_ADDRESS),
            (contact, &none, "anna", BAD_ADDRESS),
            (network, &none, "192.168.1.20", BAD_NETWORK),
            (network, &none, "192.168.1.20/33", BAD_NETWORK),
            (ip, &none, "192.168.1", BAD_IP),
            (
                name_servers,
                &none,
                "1.1.1.1 2.2.2.2 3.3.3.3 4.4.4.4",
                BAD_SERVERS,
            ),
            (zone, &none, "../../etc/passwd", BAD_ZONE),
            (zone, &none, "/Europe", BAD_ZONE),
            (port, &none, "0", BAD_PORT),
            (port, &none, "65536", BAD_PORT),
            (relay_tls, &none, "none", NEAR_ONLY),
        ];
        for (read, answers, typed, refusal) in cases {
            assert_eq!(read(typed, answers), Err(refusal), "{typed}");
        }
        for (own, router, fits) in [
            ("192.168.1.20/24", "192.168.1.1", true),
            ("192.168.1.20/24", "192.168.2.1", false),
            ("192.168.1.20/24", "192.168.1.20", false),
            ("192.168.1.20/24", "::1", false),
            ("10.1.2.3/1", "10.0.0.1", true),
            ("2001:db8::20/64", "2001:db8::1", true),
            ("2001:db8::20/64", "2001:db8:1::1", false),
            ("2001:db8::20/64", "fe80::1", true),
        ] {
            let answers = with("network.address", own);
            assert_eq!(gateway(router, &answers).is_ok(), fits, "{own} {router}");
        }
        let near = with("relay.host", "127.0.0.1");
        assert_eq!(relay_tls("none", &near), Ok("none".into()));
    }
}
