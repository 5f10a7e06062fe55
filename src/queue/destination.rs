//! Which servers take a domain's mail, and how safe the way to each must be (RFC 5321, 5.1;
//! RFC 7505, null MX; RFC 7672, DANE; RFC 8461, MTA-STS).

use super::policy::{Mode, Policy};
use super::sts::PolicyStore;
use crate::address::Domain;
use crate::mail::outgoing::{Outcome, Reply};
use crate::net::dns::{Answer, DnsError, Mx, Resolver, Tlsa};
use crate::net::trust::is_usable;
use crate::smtp::client::transaction::refusal;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// SMTP's port (RFC 5321, 4.5.4.2).
pub const SMTP_PORT: u16 = 25;
/// Most servers of one domain that are tried in one attempt.
pub const MAX_HOPS: usize = 5;
/// Most servers by whose names domains are told apart.
const MAX_NAMED: usize = 20;

/// A server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Without brackets where the domain is an address literal.
    pub name: String,
    pub port: u16,
    /// `None`: to be asked for by name.
    pub address: Option<IpAddr>,
    pub safety: Safety,
}

/// What the connection has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Safety {
    /// No TLS, since it does not leave this machine.
    Plain,
    /// TLS if the server offers it, whoever it is.
    Opportunistic,
    /// TLS, whoever it is: TLSA records say that there is TLS, in a form that we can't read
    /// (RFC 7672, 2.2).
    Encrypted,
    /// TLS with a certificate that authorities vouch for. `implicit`: from the first byte.
    Verified { implicit: bool },
    /// TLS with a certificate that these records name, or one below it in these names.
    Dane {
        records: Vec<Tlsa>,
        names: Vec<String>,
    },
}

/// The servers in the order in which to try them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub hops: Vec<Hop>,
    /// The names of all that the domain has, whichever of them are tried this time.
    pub servers: String,
    /// Whether it is sure that these servers are the domain's: by DNSSEC, or by MTA-STS.
    pub certain: bool,
    /// What there was to be known, for `route test`.
    pub notes: Vec<String>,
}

/// Asks the DNS for the servers of `domain`. `hostname` is our own name.
pub async fn find(
    domain: &Domain,
    hostname: &str,
    resolver: &Resolver,
    policies: &PolicyStore,
) -> Result<Destination, Outcome> {
    if let Some(address) = literal(domain) {
        return Ok(Destination {
            hops: vec![Hop {
                name: address.to_string(),
                port: SMTP_PORT,
                address: Some(address),
                safety: Safety::Opportunistic,
            }],
            servers: address.to_string(),
            certain: true,
            notes: vec![format!("{domain} is an address")],
        });
    }
    let found = exchanges(domain, resolver).await?;
    let mut notes = vec![match found.is_implicit {
        true => format!("{domain} has no MX, so it is asked itself"),
        false => format!("{domain} has {} MX", found.answer.records.len()),
    }];
    let (authentic, records) = (found.answer.authentic, found.answer.records);
    let records = without_us(records, hostname)?;
    let servers = names(&records);
    let policy = policies.find(domain, resolver).await;
    let enforced = policy.as_ref().filter(|it| it.mode == Mode::Enforce);
    let mut hops = Vec::new();
    let mut why = None;
    for mx in in_order(records).into_iter().take(MAX_HOPS) {
        match safety(&mx.exchange, domain, authentic, enforced, resolver).await {
            Ok(safety) => {
                notes.push(format!(
                    "{} {}: {}",
                    mx.preference,
                    mx.exchange,
                    describe(&safety)
                ));
                hops.push(Hop {
                    name: mx.exchange,
                    port: SMTP_PORT,
                    address: None,
                    safety,
                });
            }
            Err(reply) => {
                notes.push(format!("{} {}: {}", mx.preference, mx.exchange, reply.text));
                why = Some(reply);
            }
        }
    }
    match (hops.is_empty(), why) {
        (true, Some(why)) => Err(Outcome::Deferred(why)),
        _ => Ok(Destination {
            hops,
            servers,
            certain: authentic || enforced.is_some(),
            notes,
        }),
    }
}

struct Exchanges {
    answer: Answer<Mx>,
    is_implicit: bool,
}

/// The MX records; where there are none, the domain itself as the one (RFC 5321, 5.1).
async fn exchanges(domain: &Domain, resolver: &Resolver) -> Result<Exchanges, Outcome> {
    let answer = match resolver.mx(domain.as_str()).await {
        Ok(answer) => answer,
        Err(DnsError::NoName) => {
            let text = format!("there is no domain {domain}");
            return Err(Outcome::Failed(refusal("5.1.2", &text)));
        }
        Err(error @ DnsError::Temporary(_)) => {
            return Err(Outcome::Deferred(refusal("4.4.3", &error.to_string())));
        }
        Err(DnsError::NoData) => {
            let exchange = idna::domain_to_ascii(domain.as_str()).unwrap_or_default();
            return match resolver.addresses(domain.as_str()).await {
                Ok(found) => Ok(Exchanges {
                    answer: Answer {
                        records: vec![Mx {
                            preference: 0,
                            exchange,
                        }],
                        authentic: found.authentic,
                        name: found.name,
                    },
                    is_implicit: true,
                }),
                Err(error @ DnsError::Temporary(_)) => {
                    Err(Outcome::Deferred(refusal("4.4.3", &error.to_string())))
                }
                Err(_) => {
                    let text =
                        format!("the domain {domain} takes no mail: it has neither MX nor address");
                    Err(Outcome::Failed(refusal("5.1.2", &text)))
                }
            };
        }
    };
    if answer.records.iter().all(|it| it.exchange.is_empty()) {
        let text = format!("the domain {domain} takes no mail, and says so");
        return Err(Outcome::Failed(refusal("5.1.10", &text)));
    }
    Ok(Exchanges {
        answer,
        is_implicit: false,
    })
}

/// Without ourselves and whoever comes behind us: mail must not run in circles (RFC 5321, 5.1).
fn without_us(records: Vec<Mx>, hostname: &str) -> Result<Vec<Mx>, Outcome> {
    let ours = records
        .iter()
        .filter(|it| it.exchange.eq_ignore_ascii_case(hostname));
    let limit = ours.map(|it| it.preference).min();
    let left: Vec<Mx> = records
        .into_iter()
        .filter(|it| limit.is_none_or(|limit| it.preference < limit) && !it.exchange.is_empty())
        .collect();
    match left.is_empty() {
        true => Err(Outcome::Failed(loops())),
        false => Ok(left),
    }
}

/// Of a domain whose mail comes back here.
pub fn loops() -> Reply {
    refusal(
        "5.4.6",
        "mail for the domain is to come here, but the domain is none of ours",
    )
}

/// The same for the same servers, in whatever order and writing they come.
fn names(records: &[Mx]) -> String {
    let names = records.iter().map(|it| it.exchange.to_ascii_lowercase());
    let mut sorted: BTreeSet<String> = BTreeSet::new();
    sorted.extend(names);
    let names: Vec<String> = sorted.into_iter().take(MAX_NAMED).collect();
    names.join(",")
}

/// By preference, equal ones in an order of chance.
fn in_order(mut records: Vec<Mx>) -> Vec<Mx> {
    let mut seed = [0; 8];
    // Without chance the order is still one that the records allow.
    let _ = SystemRandom::new().fill(&mut seed);
    let mut chance = u64::from_le_bytes(seed) | 1;
    let mut keyed: Vec<(u16, u64, Mx)> = records
        .drain(..)
        .map(|mx| {
            // xorshift64: it only has to spread the load.
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            (mx.preference, chance, mx)
        })
        .collect();
    keyed.sort_unstable_by_key(|it| (it.0, it.1));
    keyed.into_iter().map(|it| it.2).collect()
}

/// How the way to one exchanger must be. DANE comes first, and an MTA-STS policy does not
/// mend what fails by it (RFC 8461, 2).
async fn safety(
    exchange: &str,
    domain: &Domain,
    authentic: bool,
    enforced: Option<&Policy>,
    resolver: &Resolver,
) -> Result<Safety, Reply> {
    if authentic && let Some(safety) = dane(exchange, domain, resolver).await? {
        return Ok(safety);
    }
    match enforced {
        Some(policy) if policy.allows(exchange) => Ok(Safety::Verified { implicit: false }),
        Some(_) => Err(refusal(
            "4.7.5",
            "the domain's MTA-STS policy does not name it",
        )),
        None => Ok(Safety::Opportunistic),
    }
}

/// `None` without secure TLSA records (RFC 7672, 2.2).
async fn dane(
    exchange: &str,
    domain: &Domain,
    resolver: &Resolver,
) -> Result<Option<Safety>, Reply> {
    let unknown = |error: DnsError| refusal("4.7.5", &format!("its TLSA records: {error}"));
    // Servers that can't answer for TLSA are common where addresses are not signed.
    let addresses = match resolver.addresses(exchange).await {
        Ok(found) => found,
        Err(error @ DnsError::Temporary(_)) => return Err(unknown(error)),
        Err(_) => return Ok(None),
    };
    if !addresses.authentic {
        return Ok(None);
    }
    for base in [addresses.name.as_str(), exchange] {
        match resolver.tlsa(&format!("_{SMTP_PORT}._tcp.{base}")).await {
            Ok(found) if found.authentic => {
                let ascii = idna::domain_to_ascii(domain.as_str()).unwrap_or_default();
                let names = vec![base.to_owned(), exchange.to_owned(), ascii];
                return Ok(Some(match found.records.iter().any(is_usable) {
                    true => Safety::Dane {
                        records: found.records,
                        names,
                    },
                    false => Safety::Encrypted,
                }));
            }
            Ok(_) | Err(DnsError::NoName | DnsError::NoData) => {}
            Err(error) => return Err(unknown(error)),
        }
    }
    Ok(None)
}

pub fn describe(safety: &Safety) -> &'static str {
    match safety {
        Safety::Plain => "no TLS",
        Safety::Opportunistic => "TLS if it is offered",
        Safety::Encrypted => "TLS with any certificate",
        Safety::Verified { .. } => "TLS with a certificate that is checked",
        Safety::Dane { .. } => "TLS with a certificate that TLSA records name",
    }
}

/// The address of `[192.0.2.1]` or `[IPv6:…]`.
fn literal(domain: &Domain) -> Option<IpAddr> {
    let inner = domain.as_str().strip_prefix('[')?.strip_suffix(']')?;
    inner.strip_prefix("IPv6:").unwrap_or(inner).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mx(preference: u16, exchange: &str) -> Mx {
        Mx {
            preference,
            exchange: exchange.into(),
        }
    }

    #[test]
    fn preference_orders_and_chance_spreads() {
        let records = || vec![mx(20, "c"), mx(10, "a"), mx(10, "b")];
        let mut firsts = std::collections::HashSet::new();
        for _ in 0..200 {
            let order = in_order(records());
            assert_eq!(order[2], mx(20, "c"));
            firsts.insert(order[0].exchange.clone());
        }
        assert_eq!(firsts.len(), 2);
    }

    #[test]
    fn the_same_servers_have_the_same_names_in_whatever_order() {
        let all = || (0..9).map(|n| mx(10, &format!("{n}.mx"))).collect();
        let expected = "0.mx,1.mx,2.mx,3.mx,4.mx,5.mx,6.mx,7.mx,8.mx";
        for _ in 0..20 {
            assert_eq!(names(&in_order(all())), expected);
        }
        assert_eq!(names(&[mx(2, "B"), mx(1, "a"), mx(9, "b")]), "a,b");
        let many: Vec<Mx> = (0..1000).map(|n| mx(10, &format!("{n}.mx"))).collect();
        assert_eq!(names(&many).split(',').count(), MAX_NAMED);
    }

    #[test]
    fn we_are_not_asked_nor_who_is_behind_us() {
        let records = vec![mx(10, "a"), mx(20, "US.example"), mx(20, "b"), mx(30, "c")];
        assert_eq!(without_us(records, "us.example").unwrap(), [mx(10, "a")]);
        assert!(without_us(vec![mx(5, "us.example"), mx(9, "c")], "us.example").is_err());
    }

    #[test]
    fn literals_are_addresses() {
        let of = |text| literal(&Domain::parse(text).unwrap()).map(|it| it.to_string());
        assert_eq!(of("[192.0.2.1]").unwrap(), "192.0.2.1");
        assert_eq!(of("[IPv6:2001:db8::1]").unwrap(), "2001:db8::1");
        assert_eq!(of("example.org"), None);
    }
}
