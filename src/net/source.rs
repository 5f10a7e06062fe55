//! What counts as one source of connections and logins. Pure.

use std::net::{IpAddr, Ipv6Addr};

/// Where a client comes from: one IPv4 address, or one IPv6 /64, which one customer has whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    pub fn new(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V6(six) => Source(Ipv6Addr::from_bits(six.to_bits() & (!0 << 64)).into()),
            four => Source(four),
        }
    }
}

/// Where a person comes from, day after day: a provider gives one customer addresses that are
/// near each other. Of IPv4 a /24, of IPv6 a /56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network([u8; 16]);

impl Network {
    pub fn new(address: IpAddr) -> Network {
        let (bits, rest) = match address.to_canonical() {
            IpAddr::V4(four) => (four.to_ipv6_mapped().to_bits(), 8),
            IpAddr::V6(six) => (six.to_bits(), 72),
        };
        Network((bits & (u128::MAX << rest)).to_be_bytes())
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Network {
        Network(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let of = |text: &str| text.parse().map(Source::new).ok();
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        let of = |text: &str| text.parse().map(Network::new).ok();
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.200"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8:0:ff::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:100::1"));
    }
}
