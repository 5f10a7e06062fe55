//! The nouns of who may send as whom, beside an account's own addresses.

use crate::address::{Address, AddressError, Domain};
use std::fmt;
use std::net::IpAddr;

/// Addresses that an account may send as without owning them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    Address(Address),
    /// Any address of the domain.
    Domain(Domain),
}

impl Grant {
    /// `name@domain`, or `@domain` for all of it.
    pub fn parse(text: &str) -> Result<Grant, AddressError> {
        match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).map(Grant::Domain),
            None => Address::parse(text).map(Grant::Address),
        }
    }

    pub fn covers(&self, address: &Address) -> bool {
        match self {
            Grant::Address(granted) => granted == address,
            Grant::Domain(domain) => domain == address.domain(),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::Address(address) => address.fmt(f),
            Grant::Domain(domain) => write!(f, "@{domain}"),
        }
    }
}

/// Scanners, printers and the like: known by where they are, since they can't log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    pub networks: Vec<Network>,
    /// Whether it must begin TLS first.
    pub tls: bool,
    /// Whether it may send to other servers.
    pub relay: bool,
    /// Whether it may send no more than an account.
    pub limits: bool,
}

/// Longest name of a device, bytes.
pub const MAX_DEVICE_NAME: usize = 64;
/// Networks of one device.
pub const MAX_NETWORKS: usize = 16;

impl Device {
    /// Refuses a name or a number of networks over its limit.
    pub fn new(name: &str, networks: Vec<Network>) -> Result<Device, &'static str> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > MAX_DEVICE_NAME || !name.chars().all(fits) {
            return Err("a device's name has 1 to 64 letters, digits, - _ or .");
        }
        if networks.is_empty() || networks.len() > MAX_NETWORKS {
            return Err("a device has 1 to 16 ranges of addresses");
        }
        Ok(Device {
            name: name.into(),
            networks,
            tls: true,
            relay: false,
            limits: true,
        })
    }

    pub fn is_at(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|it| it.contains(address))
    }
}

/// A range of addresses: `192.0.2.0/28`, `2001:db8::/64`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// The widest range that may be trusted without a login: 65,536 addresses of IPv4, a site of
/// IPv6.
const MIN_PREFIX: (u8, u8) = (16, 48);

impl Network {
    pub fn parse(text: &str) -> Result<Network, &'static str> {
        const WRONG: &str = "a range of addresses is 192.0.2.0/28 or 2001:db8::/64";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| WRONG)?;
        let address = address.to_canonical();
        let (least, most) = match address {
            IpAddr::V4(_) => (MIN_PREFIX.0, 32),
            IpAddr::V6(_) => (MIN_PREFIX.1, 128),
        };
        let digits = |it: &&str| it.bytes().all(|b| b.is_ascii_digit());
        let prefix = match prefix {
            Some(prefix) => {
                let prefix = Some(prefix).filter(digits);
                prefix.and_then(|it| it.parse().ok()).ok_or(WRONG)?
            }
            None => most,
        };
        if prefix > most {
            return Err(WRONG);
        }
        if prefix < least {
            return Err("the range is too wide: /16 at least, for IPv6 /48");
        }
        let first = masked(address, prefix);
        Ok(Network { first, prefix })
    }

    /// An IPv4 address in IPv6's clothes is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.first.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.first
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The address with the bits behind the prefix cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32)));
            IpAddr::from((four.to_bits() & mask.unwrap_or(0)).to_be_bytes())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128)));
            IpAddr::from((six.to_bits() & mask.unwrap_or(0)).to_be_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_cover_an_address_or_a_domain() {
        let address = |text: &str| Address::parse(text).unwrap();
        let info = Grant::parse("Info@b.de").unwrap();
        assert!(info.covers(&address("info@B.de")) && !info.covers(&address("ann@b.de")));
        let all = Grant::parse("@b.de").unwrap();
        assert!(all.covers(&address("x@b.de")) && !all.covers(&address("x@c.b.de")));
        for text in ["Info@b.de", "@b.de"] {
            assert_eq!(Grant::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "@", "b.de", "*@b.de x"] {
            assert!(Grant::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_hold_what_their_prefix_says() {
        let network = |text: &str| Network::parse(text).unwrap();
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let office = network("192.168.5.77/24");
        assert_eq!(office.to_string(), "192.168.5.0/24");
        for inside in ["192.168.5.0", "192.168.5.255", "::ffff:192.168.5.9"] {
            assert!(office.contains(ip(inside)), "{inside}");
        }
        for outside in ["192.168.4.255", "192.168.6.0", "::c0a8:509"] {
            assert!(!office.contains(ip(outside)), "{outside}");
        }
        assert!(network("10.0.0.7").contains(ip("10.0.0.7")));
        assert!(!network("10.0.0.7").contains(ip("10.0.0.6")));
        let site = network("2001:db8::/48");
        assert!(site.contains(ip("2001:db8:0:ffff::1")) && !site.contains(ip("2001:db8:1::")));
        for wrong in [
            "",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/33",
            "10.0.0.0/+24",
            "x/24",
            "10.0.0.0/",
            "2001:db8::/129",
            "::ffff:10.0.0.1/64",
        ] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices_have_plain_names_and_some_network() {
        let here = || vec![Network::parse("127.0.0.1").unwrap()];
        assert!(Device::new("scanner-2", here()).is_ok_and(|it| it.tls && !it.relay));
        for wrong in ["", "a b", "ä", &"x".repeat(65)] {
            assert!(Device::new(wrong, here()).is_err(), "{wrong}");
        }
        assert!(Device::new("x", Vec::new()).is_err());
    }
}
