//! Home servers: where the mailbox of an account is, if not here.

use crate::address::{Address, Domain};
use std::fmt;
use std::net::IpAddr;

/// How many servers may pass one connection on before that counts as a loop.
pub const MAX_HOPS: u8 = 5;
/// Certificate authorities of one home server.
pub const MAX_AUTHORITIES: usize = 8;

/// Whose mailbox it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    Address(Address),
    /// Every login of the domain that no account here has.
    Domain(Domain),
}

/// What a server before this one says of a connection that it passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Whether it is believed who the client is. That there are servers before this one,
    /// anybody may say.
    pub trusted: bool,
    /// Where the client is.
    pub client: Option<IpAddr>,
    /// How many servers more may pass it on.
    pub hops_left: u8,
}

impl Default for Forwarded {
    fn default() -> Forwarded {
        Forwarded {
            trusted: false,
            client: None,
            hops_left: MAX_HOPS,
        }
    }
}

impl Forwarded {
    /// A name and a value of XCLIENT (as Postfix and Dovecot have it) or of ID. Others than
    /// these are passed over: nobody is logged in by them.
    pub fn heed(&mut self, name: &str, value: &str) {
        let is = |names: [&str; 2]| names.iter().any(|it| name.eq_ignore_ascii_case(it));
        if is(["TTL", "x-proxy-ttl"]) {
            let left = value.parse().unwrap_or(self.hops_left);
            self.hops_left = self.hops_left.min(left);
        } else if is(["ADDR", "x-originating-ip"]) && self.trusted {
            let plain = match value.get(..5) {
                Some(start) if start.eq_ignore_ascii_case("IPV6:") => &value[5..],
                _ => value,
            };
            self.client = plain.parse().ok().or(self.client);
        }
    }

    /// XCLIENT's arguments: `NAME=value` and more of them.
    pub fn xclient(&mut self, arguments: &str) -> Result<(), &'static str> {
        let words: Vec<_> = arguments
            .split_ascii_whitespace()
            .map(|it| it.split_once('='))
            .collect();
        if words.is_empty() || words.contains(&None) {
            return Err("XCLIENT takes NAME=value");
        }
        let words = words.into_iter().flatten();
        words.for_each(|(name, value)| self.heed(name, value));
        Ok(())
    }

    /// The names that XCLIENT takes.
    pub fn names(&self) -> &'static str {
        match self.trusted {
            true => "ADDR TTL",
            false => "TTL",
        }
    }

    /// TLS has begun: who was in between may have said anything before.
    pub fn forget_client(&mut self) {
        self.client = None;
    }
}

/// How TLS begins. There is no home server without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Implicit,
    StartTls,
}

/// The protocols that are connected through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Imap,
    Pop3,
    Submission,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeServer {
    /// A domain name or an IP address; its certificate is held to it.
    pub host: String,
    pub tls: Tls,
    pub imap: u16,
    pub pop3: u16,
    pub submission: u16,
    /// Whether it is told the client's address.
    pub trusted: bool,
    /// DER in base64; none: those of the system. With any, these alone.
    pub authorities: Vec<String>,
}

impl Whose {
    /// `name@domain` or `@domain`.
    pub fn parse(text: &str) -> Result<Whose, &'static str> {
        let parsed = match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).map(Whose::Domain),
            None => Address::parse(text).map(Whose::Address),
        };
        parsed.map_err(|error| error.0)
    }

    /// The same for every spelling of the same.
    pub fn key(&self) -> String {
        match self {
            Whose::Address(address) => address.key(),
            Whose::Domain(domain) => format!("@{domain}"),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whose::Address(address) => address.fmt(f),
            Whose::Domain(domain) => write!(f, "@{domain}"),
        }
    }
}

impl Tls {
    pub fn parse(text: &str) -> Result<Tls, &'static str> {
        match text {
            "implicit" => Ok(Tls::Implicit),
            "starttls" => Ok(Tls::StartTls),
            _ => Err("TLS is implicit or starttls"),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Tls::Implicit => "implicit",
            Tls::StartTls => "starttls",
        }
    }
}

impl HomeServer {
    /// With the well-known ports of its kind of TLS (RFC 8314).
    pub fn new(host: &str, tls: Tls) -> Result<HomeServer, &'static str> {
        let host = host.trim_matches(['[', ']']);
        if host.parse::<IpAddr>().is_err() && Domain::parse(host).is_err() {
            return Err("the host is no domain name and no IP address");
        }
        let (imap, pop3, submission) = match tls {
            Tls::Implicit => (993, 995, 465),
            Tls::StartTls => (143, 110, 587),
        };
        Ok(HomeServer {
            host: host.to_ascii_lowercase(),
            tls,
            imap,
            pop3,
            submission,
            trusted: false,
            authorities: Vec::new(),
        })
    }

    pub fn port(&self, protocol: Protocol) -> u16 {
        match protocol {
            Protocol::Imap => self.imap,
            Protocol::Pop3 => self.pop3,
            Protocol::Submission => self.submission,
        }
    }

    /// Reads what [`HomeServer::to_string`] writes.
    pub fn parse(text: &str) -> Result<HomeServer, &'static str> {
        const MALFORMED: &str = "the entry of a home server is malformed";
        let find = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find_map(|(key, value)| (key == name).then_some(value))
        };
        let port = |name| {
            let port = find(name).and_then(|it| it.parse::<u16>().ok());
            port.filter(|it| *it > 0).ok_or(MALFORMED)
        };
        let authorities = text.lines().filter_map(|it| it.strip_prefix("authority "));
        let authorities: Vec<String> = authorities.map(str::to_owned).collect();
        if authorities.len() > MAX_AUTHORITIES {
            return Err("a home server has 8 certificate authorities at most");
        }
        let tls = Tls::parse(find("tls").ok_or(MALFORMED)?)?;
        Ok(HomeServer {
            imap: port("imap")?,
            pop3: port("pop3")?,
            submission: port("submission")?,
            trusted: find("trusted") == Some("yes"),
            authorities,
            ..HomeServer::new(find("host").ok_or(MALFORMED)?, tls)?
        })
    }
}

impl fmt::Display for HomeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host {}", self.host)?;
        writeln!(f, "tls {}", self.tls.name())?;
        writeln!(f, "imap {}", self.imap)?;
        writeln!(f, "pop3 {}", self.pop3)?;
        writeln!(f, "submission {}", self.submission)?;
        writeln!(f, "trusted {}", if self.trusted { "yes" } else { "no" })?;
        let mut authorities = self.authorities.iter();
        authorities.try_for_each(|it| writeln!(f, "authority {it}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let mut home = HomeServer::new("Mail.Example.org", Tls::StartTls).unwrap();
        assert_eq!((home.imap, home.pop3, home.submission), (143, 110, 587));
        assert_eq!(home.host, "mail.example.org");
        home.imap = 20143;
        home.trusted = true;
        home.authorities = vec!["AAA=".into(), "BBB=".into()];
        assert_eq!(HomeServer::parse(&home.to_string()), Ok(home));
        let home = HomeServer::new("[2001:db8::1]", Tls::Implicit).unwrap();
        assert_eq!(home.port(Protocol::Pop3), 995);
        assert_eq!(HomeServer::parse(&home.to_string()), Ok(home));
    }

    #[test]
    fn only_who_is_trusted_names_the_client() {
        let mut stranger = Forwarded::default();
        assert_eq!(stranger.xclient("ADDR=192.0.2.1 TTL=3 LOGIN=root"), Ok(()));
        assert_eq!((stranger.client, stranger.hops_left), (None, 3));
        // It never rises again.
        stranger.heed("X-Proxy-TTL", "200");
        stranger.heed("TTL", "x");
        assert_eq!(stranger.hops_left, 3);
        let mut known = Forwarded {
            trusted: true,
            ..Forwarded::default()
        };
        for (text, address) in [
            ("addr=192.0.2.1", "192.0.2.1"),
            (
                "NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 PORT=7",
                "2001:db8::1",
            ),
            ("ADDR=2001:db8::2", "2001:db8::2"),
            ("ADDR=[UNAVAILABLE]", "2001:db8::2"),
            ("ADDR=\u{e9}\u{e9}\u{e9}", "2001:db8::2"),
        ] {
            assert_eq!(known.xclient(text), Ok(()));
            assert_eq!(known.client, address.parse().ok(), "{text}");
        }
        for wrong in ["", " ", "ADDR", "ADDR=192.0.2.3 x"] {
            assert!(known.xclient(wrong).is_err(), "{wrong}");
        }
        assert_eq!(known.client, "2001:db8::2".parse().ok());
        known.forget_client();
        assert_eq!(known.client, None);
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        assert!(HomeServer::new("a b", Tls::Implicit).is_err());
        assert!(HomeServer::new("", Tls::Implicit).is_err());
        let good = HomeServer::new("a.example", Tls::Implicit)
            .unwrap()
            .to_string();
        for (from, to) in [
            ("imap 993", "imap 0"),
            ("tls implicit", "tls none"),
            ("host", "hos"),
        ] {
            assert!(HomeServer::parse(&good.replace(from, to)).is_err(), "{to}");
        }
        let many = "authority A\n".repeat(MAX_AUTHORITIES + 1);
        assert!(HomeServer::parse(&(good + &many)).is_err());
    }

    #[test]
    fn one_key_for_every_spelling() {
        let key = |text| Whose::parse(text).map(|it| it.key());
        assert_eq!(key("Ann@Example.org"), key("ann@example.ORG"));
        assert_eq!(key("@Example.org"), Ok("@example.org".into()));
        assert!(key("@").is_err() && key("ann").is_err());
    }
}
