//! Which name servers to ask, and how: `resolv.conf(5)`, or what was set.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const SYSTEM_FILE: &str = "/etc/resolv.conf";
/// Longest of it that is read, bytes.
const MAX_FILE: u64 = 64 << 10;
/// Most servers that are asked; resolv.conf(5) has three.
pub const MAX_SERVERS: usize = 3;
/// How long one server has for one answer, unless set.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// How often each server is asked, unless set.
pub const ATTEMPTS: usize = 3;
const PORT: u16 = 53;

/// Where a [`Resolver`](super::Resolver) asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    pub servers: Vec<SocketAddr>,
    /// For one answer of one server.
    pub timeout: Duration,
    /// Rounds over all servers.
    pub attempts: usize,
    /// Whether servers take turns at being asked first.
    pub rotate: bool,
    /// Whether a server elsewhere is believed when it says that DNSSEC holds.
    pub trust_ad: bool,
}

impl ResolverConfig {
    /// These servers and no others; believed about DNSSEC where they are on this machine.
    pub fn servers(servers: impl Into<Vec<SocketAddr>>) -> ResolverConfig {
        let mut servers = servers.into();
        servers.truncate(MAX_SERVERS);
        ResolverConfig {
            servers,
            timeout: TIMEOUT,
            attempts: ATTEMPTS,
            rotate: false,
            trust_ad: false,
        }
    }

    /// What `/etc/resolv.conf` says; without it, a server on this machine.
    pub fn system() -> ResolverConfig {
        let mut text = String::new();
        let read =
            File::open(SYSTEM_FILE).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        if let Err(error) = read {
            log::warn!("can't read {SYSTEM_FILE}: {error}");
        }
        ResolverConfig::parse(&text)
    }

    /// Reads the text of a `resolv.conf`. What it doesn't know it passes over, as libc does.
    pub fn parse(text: &str) -> ResolverConfig {
        let mut config = ResolverConfig::servers([]);
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    if config.servers.len() < MAX_SERVERS {
                        config
                            .servers
                            .extend(server.map(|it| SocketAddr::new(it, PORT)));
                    }
                }
                Some("options") => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        if config.servers.is_empty() {
            let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
            config.servers.push(local);
        }
        config
    }

    fn option(&mut self, word: &str) {
        let number = |text: &str, most: u64| text.parse::<u64>().ok().map(|it| it.clamp(1, most));
        match word.split_once(':') {
            // The ranges are libc's.
            Some(("timeout", text)) => {
                self.timeout = number(text, 30).map_or(self.timeout, Duration::from_secs);
            }
            Some(("attempts", text)) => {
                self.attempts = number(text, 5).map_or(self.attempts, |it| it as usize);
            }
            None if word == "rotate" => self.rotate = true,
            None if word == "trust-ad" => self.trust_ad = true,
            _ => {}
        }
    }

    /// Whether the AD bit of its answers means anything: between us and a server elsewhere
    /// anybody may set it (RFC 7672, 2.1).
    pub fn is_trusted(&self) -> bool {
        self.trust_ad || self.servers.iter().all(|it| it.ip().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read() {
        let config = ResolverConfig::parse(
            "# comment\nsearch example.org\nnameserver 192.0.2.1\n nameserver 2001:db8::1 x\n\
             options timeout:2 attempts:9 rotate ndots:1 timeout:x\nnameserver nonsense\n",
        );
        let servers: Vec<_> = config.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(config.timeout, Duration::from_secs(2));
        assert_eq!((config.attempts, config.rotate), (5, true));
        assert!(!config.is_trusted());
        assert!(ResolverConfig::parse("nameserver 192.0.2.1\noptions trust-ad").is_trusted());
    }

    #[test]
    fn without_servers_it_is_this_machine() {
        let config = ResolverConfig::parse("");
        assert_eq!(config.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert!(config.is_trusted());
        let many = "nameserver 192.0.2.1\n".repeat(10);
        assert_eq!(ResolverConfig::parse(&many).servers.len(), MAX_SERVERS);
    }
}
