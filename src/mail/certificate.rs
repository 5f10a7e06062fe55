//! A client's certificate, by which an account may log in.

use std::fmt;

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// 64 hexadecimal digits in any case; colons between them, as openssl writes it, are
    /// passed over.
    pub fn parse(text: &str) -> Option<Fingerprint> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Fingerprint(bytes))
    }
}

/// In lower case, without colons.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a login by a certificate needs to know of it. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub fingerprint: Fingerprint,
    pub from: i64,
    pub until: i64,
}

impl Certificate {
    pub fn is_valid(&self, now: i64) -> bool {
        (self.from..=self.until).contains(&now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_writes_it() {
        let bytes: Vec<u8> = (0..32).map(|n| n * 8).collect();
        let one = Fingerprint(bytes.clone().try_into().unwrap());
        let colons: Vec<String> = bytes.iter().map(|it| format!("{it:02X}")).collect();
        assert_eq!(Fingerprint::parse(&colons.join(":")), Some(one));
        assert_eq!(Fingerprint::parse(&one.to_string()), Some(one));
        let text = one.to_string();
        for wrong in ["", &text[1..], &text.replace('0', "g"), &format!("{text}0")] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_certificate_has_its_time() {
        let it = Certificate {
            fingerprint: Fingerprint([0; 32]),
            from: 10,
            until: 20,
        };
        let valid: Vec<i64> = (0..30).filter(|now| it.is_valid(*now)).collect();
        assert_eq!(valid, (10..=20).collect::<Vec<_>>());
    }
}
