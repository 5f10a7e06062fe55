//! What can be read from a certificate in DER (RFC 5280): its dates and its names. Pure.

use jiff::Timestamp;
use std::net::IpAddr;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// subjectAltName, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x06, 3, 0x55, 0x1d, 17];
/// Names of one certificate that are read; the others do not count.
const MAX_NAMES: usize = 100;

/// notBefore and notAfter of a certificate in DER (RFC 5280, 4.1.2.5). Pure.
pub fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, dates, _) = element(after_issuer(der)?)?;
    let (tag, from, dates) = element(dates)?;
    let from = time(tag, from)?;
    let (tag, to, _) = element(dates)?;
    Some((from, time(tag, to)?))
}

/// The alternative names of a certificate in DER (RFC 5280, 4.2.1.6): DNS names in lower case,
/// and IP addresses. None, where there are none or it is no certificate.
pub fn names(der: &[u8]) -> Vec<String> {
    alternative_names(der).unwrap_or_default()
}

fn alternative_names(der: &[u8]) -> Option<Vec<String>> {
    let mut rest = after_issuer(der)?;
    while rest.first() != Some(&EXTENSIONS) {
        rest = element(rest)?.2;
    }
    let (_, wrapped, _) = element(rest)?;
    let (_, mut extensions, _) = element(wrapped)?;
    while !extensions.is_empty() {
        let (_, extension, after) = element(extensions)?;
        extensions = after;
        let Some(value) = extension.strip_prefix(ALTERNATIVE_NAMES) else {
            continue;
        };
        let (mut tag, mut value, mut after) = element(value)?;
        // BOOLEAN: whether it is critical.
        if tag == 0x01 {
            (tag, value, after) = element(after)?;
        }
        if tag != 0x04 || !after.is_empty() {
            return None;
        }
        return general_names(element(value)?.1);
    }
    None
}

fn general_names(mut rest: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !rest.is_empty() && names.len() < MAX_NAMES {
        let (tag, value, after) = element(rest)?;
        rest = after;
        match tag {
            DNS_NAME if value.iter().all(u8::is_ascii_graphic) => {
                names.push(String::from_utf8_lossy(value).to_lowercase());
            }
            IP_ADDRESS => names.extend(address(value)),
            _ => {}
        }
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(address.to_string())
}

/// What follows the issuer in the body of a certificate.
fn after_issuer(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for wanted in [INTEGER, SEQUENCE, SEQUENCE] {
        let (tag, _, after) = element(rest)?;
        if tag != wanted {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

/// Tag, content and what follows of one DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(count)?;
        let length = bytes
            .iter()
            .fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
        (length, rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// UTCTime (its two-digit year below 50 means 20xx) or GeneralizedTime, in seconds and UTC.
fn time(tag: u8, content: &[u8]) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    let text = std::str::from_utf8(content).ok()?;
    let text = match tag {
        UTC_TIME if text < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        _ => text.to_string(),
    };
    let civil = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    match civil.to_zoned(jiff::tz::TimeZone::UTC) {
        Ok(zoned) => Some(zoned.timestamp()),
        // 99991231235959Z says that it has no end (RFC 5280, 4.1.2.5).
        Err(_) if civil.year() == 9999 => Some(Timestamp::MAX),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn certificate(names: &[&str], from: i32, to: i32) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|it| it.to_string()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn validity_reads_both_forms_of_time_and_no_garbage() {
        let der = certificate(&["mail.example.org"], 2020, 2090);
        let (from, to) = validity(&der).unwrap();
        assert_eq!(from.to_string(), "2020-01-01T00:00:00Z");
        // From 2050 on a certificate uses GeneralizedTime.
        assert_eq!(to.to_string(), "2090-01-01T00:00:00Z");
        for cut in 0..60 {
            assert_eq!(validity(&der[..cut]), None);
        }
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn names_are_those_of_the_extension() {
        let given = ["mail.example.org", "MX.example.org", "127.0.0.1", "::1"];
        let der = certificate(&given, 2020, 2090);
        assert_eq!(
            names(&der),
            ["mail.example.org", "mx.example.org", "127.0.0.1", "::1"]
        );
        assert!(names(&certificate(&[], 2020, 2090)).is_empty());
        for cut in 0..der.len() - 1 {
            assert!(names(&der[..cut]).is_empty());
        }
    }
}
