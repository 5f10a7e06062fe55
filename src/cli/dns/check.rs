//! Whether a record is in DNS, as it should be or as good.

use super::records::{Data, Purpose, Record};
use crate::authentication::key::PublicKey;
use crate::authentication::{Verdict, dmarc, spf};
use crate::net::dns::{DnsError, Resolver};
use std::net::IpAddr;

/// Longest text of DNS that is shown, characters.
const MAX_SHOWN: usize = 80;

/// What is wrong, in words.
pub async fn check(resolver: &Resolver, record: &Record) -> Result<(), String> {
    match &record.data {
        Data::Mx(host) => mx(resolver, &record.name, host).await,
        Data::Srv(port, host) => {
            let found = resolver.srv(&record.name).await.map_err(missing)?;
            let fits = |it: &crate::net::dns::Srv| same(&it.target, host) && it.port == *port;
            match found.records.iter().any(fits) {
                true => Ok(()),
                false => Err(format!("it leads elsewhere, not to {host}:{port}")),
            }
        }
        Data::Cname(host) => {
            let found = resolver.addresses(&record.name).await.map_err(missing)?;
            let own = resolver.addresses(host).await.map_err(missing)?;
            let reaches = found.records.iter().any(|it| own.records.contains(it));
            reaches
                .then_some(())
                .ok_or_else(|| format!("it leads elsewhere, not to {host}"))
        }
        Data::Txt(purpose, expected) => {
            let found = resolver.txt(&record.name).await.map_err(missing)?.records;
            match purpose {
                Purpose::Spf => has_spf(resolver, &record.name, &found).await,
                Purpose::Dkim => has_key(&found, expected),
                Purpose::Dmarc => has_one(&found, |it| dmarc::Record::parse(it).is_some()),
                Purpose::MtaSts => has_one(&found, |it| it.starts_with(b"v=STSv1;")),
                Purpose::TlsRpt => has_one(&found, |it| it.starts_with(b"v=TLSRPTv1;")),
            }
        }
    }
}

async fn mx(resolver: &Resolver, name: &str, host: &str) -> Result<(), String> {
    let found = resolver.mx(name).await.map_err(missing)?.records;
    if !found.iter().any(|it| same(&it.exchange, host)) {
        let names: Vec<&str> = found.iter().map(|it| it.exchange.as_str()).collect();
        return Err(shown("it names others", &names.join(", ")));
    }
    let addresses = resolver.addresses(host).await;
    addresses
        .map(|_| ())
        .map_err(|error| format!("{host} has no address: {error}"))
}

/// One record, under which the domain's own MX may send.
async fn has_spf(resolver: &Resolver, name: &str, found: &[Vec<u8>]) -> Result<(), String> {
    let records: Vec<&Vec<u8>> = found
        .iter()
        .filter(|it| it.to_ascii_lowercase().starts_with(b"v=spf1"))
        .collect();
    match records.as_slice() {
        [] => return Err("there is no SPF record".into()),
        [one] if !spf::is_record(one) => {
            return Err(shown("it is malformed", &String::from_utf8_lossy(one)));
        }
        [_] => {}
        _ => return Err("there is more than one SPF record".into()),
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for mx in resolver
        .mx(name)
        .await
        .map(|it| it.records)
        .unwrap_or_default()
    {
        let found = resolver.addresses(&mx.exchange).await;
        addresses.extend(found.map(|it| it.records).unwrap_or_default());
    }
    for address in addresses {
        let query = spf::Query::helo(address, name, "localhost", 0);
        let outcome = spf::check(resolver, &query).await;
        // With a relay the MX need not send; only mistakes are wrong then.
        if matches!(outcome.verdict, Verdict::PermError | Verdict::TempError) {
            return Err(format!("{}: {}", outcome.verdict, outcome.reason));
        }
    }
    Ok(())
}

fn has_key(found: &[Vec<u8>], expected: &str) -> Result<(), String> {
    let ours = PublicKey::parse(expected.as_bytes());
    let fits = |it: &Vec<u8>| ours.is_ok() && PublicKey::parse(it) == ours;
    match found.iter().any(fits) {
        true => Ok(()),
        false => Err("it is another key".into()),
    }
}

fn has_one(found: &[Vec<u8>], fits: impl Fn(&[u8]) -> bool) -> Result<(), String> {
    match found.iter().filter(|it| fits(it)).count() {
        1 => Ok(()),
        0 => {
            let first = found.first().map(|it| String::from_utf8_lossy(it));
            Err(shown("it is malformed", &first.unwrap_or_default()))
        }
        _ => Err("there is more than one, so none counts".into()),
    }
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('.')
        .eq_ignore_ascii_case(other.trim_end_matches('.'))
}

fn missing(error: DnsError) -> String {
    match error {
        DnsError::NoName | DnsError::NoData => "missing".into(),
        error => error.to_string(),
    }
}

/// What a stranger wrote, as one line of text.
fn shown(what: &str, text: &str) -> String {
    let printable = |c: char| if c.is_control() { '?' } else { c };
    let text: String = text.chars().take(MAX_SHOWN).map(printable).collect();
    format!("{what}: {text}")
}
