//! SPF: whether a host may send mail of a domain (RFC 7208).

mod expand;
mod record;
#[cfg(test)]
mod tests;

use super::{Dns, Unavailable, Verdict};
use expand::{Expansion, Text};
use record::{Directive, Mechanism, Qualifier, Record};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;

/// Terms of one check that ask DNS (RFC 7208, 4.6.4).
const MAX_LOOKUPS: u32 = 10;
/// Of those, the ones that may find nothing.
const MAX_VOID: u32 = 2;
/// Names of an MX, and of a PTR, that are looked at.
const MAX_NAMES: usize = 10;
/// Longest explanation that is passed on, bytes.
const MAX_EXPLANATION: usize = 400;

/// What is checked.
#[derive(Clone, Debug)]
pub struct Query {
    /// The client's address.
    pub address: IpAddr,
    /// As EHLO or HELO said it.
    pub helo: String,
    /// Local part and domain of MAIL; of the null path `postmaster` and the client's name.
    pub local: String,
    pub domain: String,
    /// Our own name.
    pub receiver: String,
    /// Seconds since 1970.
    pub now: i64,
}

impl Query {
    /// For the null path, or to check HELO itself (RFC 7208, 2.3 and 2.4).
    pub fn helo(address: IpAddr, helo: &str, receiver: &str, now: i64) -> Query {
        Query {
            address,
            helo: helo.into(),
            local: "postmaster".into(),
            domain: helo.into(),
            receiver: receiver.into(),
            now,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    /// Why there is an error; empty otherwise.
    pub reason: &'static str,
    /// What the domain has to say to those that fail, printable ASCII.
    pub explanation: Option<String>,
}

/// Why a check ends at once.
type Stop = (Verdict, &'static str);

const UNAVAILABLE: Stop = (Verdict::TempError, "DNS does not answer");

impl From<Unavailable> for Outcome {
    fn from(_: Unavailable) -> Outcome {
        failure(UNAVAILABLE)
    }
}

fn failure((verdict, reason): Stop) -> Outcome {
    Outcome {
        verdict,
        reason,
        explanation: None,
    }
}

/// check_host() of RFC 7208, 4. The caller limits its time.
pub async fn check<D: Dns>(dns: &D, query: &Query) -> Outcome {
    let mut query = query.clone();
    if query.local.is_empty() {
        query.local = "postmaster".into();
    }
    let address = match query.address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4),
        four => four,
    };
    let domain = query.domain.clone();
    let mut check = Check {
        dns,
        query,
        address,
        lookups: 0,
        void: 0,
        explain: None,
        validated: None,
    };
    let verdict = match check.host(domain).await {
        Ok(verdict) => verdict,
        Err(stop) => return failure(stop),
    };
    let explanation = match verdict {
        Verdict::Fail => check.explanation().await,
        _ => None,
    };
    Outcome {
        verdict,
        reason: "",
        explanation,
    }
}

struct Check<'a, D> {
    dns: &'a D,
    query: Query,
    /// As it is compared: IPv4 where it is IPv4 in IPv6.
    address: IpAddr,
    lookups: u32,
    void: u32,
    /// Where the record that decided is, and its `exp=`.
    explain: Option<(String, Text)>,
    /// What `%{p}` stands for, once it has been looked up.
    validated: Option<Vec<String>>,
}

type Checking<'a> = Pin<Box<dyn Future<Output = Result<Verdict, Stop>> + Send + 'a>>;

impl<D: Dns> Check<'_, D> {
    /// Boxed: `include` and `redirect` lead here again, as often as `MAX_LOOKUPS` allows.
    fn host(&mut self, domain: String) -> Checking<'_> {
        Box::pin(async move {
            let Some(domain) = checked_domain(&domain) else {
                return Ok(Verdict::None);
            };
            let Some(record) = self.record(&domain).await? else {
                return Ok(Verdict::None);
            };
            for Directive {
                qualifier,
                mechanism,
            } in &record.directives
            {
                if self.matches(mechanism, &domain).await? {
                    let verdict = qualifier_verdict(*qualifier);
                    self.explain = record.explanation.map(|text| (domain, text));
                    return Ok(verdict);
                }
            }
            match &record.redirect {
                Some(target) => self.redirect(target, &domain).await,
                None => Ok(Verdict::Neutral),
            }
        })
    }

    async fn redirect(&mut self, target: &Text, domain: &str) -> Result<Verdict, Stop> {
        self.count()?;
        let target = self.expand(target, domain).await?;
        match self.host(target).await? {
            Verdict::None => Err((Verdict::PermError, "redirect leads to no record")),
            verdict => Ok(verdict),
        }
    }

    /// The one record of the domain, if it has one.
    async fn record(&self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = self.dns.txt(domain).await.map_err(|_| UNAVAILABLE)?;
        let mut records = texts.iter().filter(|it| Record::is_spf(it));
        let Some(text) = records.next() else {
            return Ok(None);
        };
        if records.next().is_some() {
            return Err((Verdict::PermError, "there is more than one record"));
        }
        let record = Record::parse(text);
        record
            .map(Some)
            .ok_or((Verdict::PermError, "the record is malformed"))
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(network, prefix) => Ok(contains(*network, *prefix, self.address)),
            Mechanism::Include(target) => {
                self.count()?;
                let target = self.expand(target, domain).await?;
                match self.host(target).await? {
                    Verdict::Pass => Ok(true),
                    Verdict::None => Err((Verdict::PermError, "include leads to no record")),
                    _ => Ok(false),
                }
            }
            Mechanism::A(target, prefixes) => {
                self.count()?;
                let Some(target) = self.target(target.as_ref(), domain).await? else {
                    return Ok(false);
                };
                let found = self.addresses(&target).await?;
                self.count_void(found.is_empty())?;
                Ok(self.any(&found, *prefixes))
            }
            Mechanism::Mx(target, prefixes) => {
                self.count()?;
                let Some(target) = self.target(target.as_ref(), domain).await? else {
                    return Ok(false);
                };
                self.mx(&target, *prefixes).await
            }
            Mechanism::Ptr(target) => {
                self.count()?;
                let Some(target) = self.target(target.as_ref(), domain).await? else {
                    return Ok(false);
                };
                let target = target.to_ascii_lowercase();
                let names = self.validated().await?;
                Ok(names.iter().any(|name| super::is_within(name, &target)))
            }
            Mechanism::Exists(target) => {
                self.count()?;
                let Some(target) = self.target(Some(target), domain).await? else {
                    return Ok(false);
                };
                let found = self.dns.addresses(&target, false).await;
                let found = found.map_err(|_| UNAVAILABLE)?;
                self.count_void(found.is_empty())?;
                Ok(!found.is_empty())
            }
        }
    }

    async fn mx(&mut self, target: &str, prefixes: (u8, u8)) -> Result<bool, Stop> {
        let exchanges = self.dns.mx(target).await.map_err(|_| UNAVAILABLE)?;
        self.count_void(exchanges.is_empty())?;
        if exchanges.len() > MAX_NAMES {
            return Err((Verdict::PermError, "an MX has too many names"));
        }
        for name in exchanges {
            let Some(name) = resolvable(&name) else {
                continue;
            };
            let found = self.addresses(&name).await?;
            if self.any(&found, prefixes) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Of the kind that the client's address is of.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Stop> {
        let found = self.dns.addresses(name, self.address.is_ipv6()).await;
        found.map_err(|_| UNAVAILABLE)
    }

    fn any(&self, networks: &[IpAddr], (four, six): (u8, u8)) -> bool {
        let prefix = if self.address.is_ipv6() { six } else { four };
        let mut networks = networks.iter();
        networks.any(|it| contains(*it, prefix, self.address))
    }

    /// Names of the client that lead back to it (RFC 7208, 5.5). What DNS does not answer is
    /// passed over.
    async fn validated(&mut self) -> Result<Vec<String>, Stop> {
        if let Some(names) = &self.validated {
            return Ok(names.clone());
        }
        let names = self.dns.names(self.address).await.unwrap_or_default();
        self.count_void(names.is_empty())?;
        let mut validated = Vec::new();
        for name in names.iter().take(MAX_NAMES) {
            let Some(name) = resolvable(name) else {
                continue;
            };
            let found = self.addresses(&name).await.unwrap_or_default();
            if found.contains(&self.address) {
                validated.push(name.to_ascii_lowercase());
            }
        }
        self.validated = Some(validated.clone());
        Ok(validated)
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        match self.lookups > MAX_LOOKUPS {
            true => Err((Verdict::PermError, "too many terms ask DNS")),
            false => Ok(()),
        }
    }

    fn count_void(&mut self, void: bool) -> Result<(), Stop> {
        self.void += u32::from(void);
        match self.void > MAX_VOID {
            true => Err((Verdict::PermError, "too many terms find nothing in DNS")),
            false => Ok(()),
        }
    }

    /// What a mechanism asks for: its own domain-spec, or the current domain. `None` where
    /// that is no name, which then matches nothing (RFC 7208, 4.8).
    async fn target(&mut self, spec: Option<&Text>, domain: &str) -> Result<Option<String>, Stop> {
        let target = match spec {
            Some(spec) => self.expand(spec, domain).await?,
            None => domain.to_owned(),
        };
        Ok(resolvable(&target))
    }

    /// A domain-spec as a name of 253 characters at most: labels go from its left.
    async fn expand(&mut self, spec: &Text, domain: &str) -> Result<String, Stop> {
        let mut name = self.text(spec, domain).await?;
        while name.len() > 253
            && let Some((_, rest)) = name.split_once('.')
        {
            name = rest.to_owned();
        }
        Ok(name)
    }

    async fn text(&mut self, spec: &Text, domain: &str) -> Result<String, Stop> {
        let validated = match spec.asks_for_names() {
            true => self.validated().await?,
            false => Vec::new(),
        };
        let expansion = Expansion {
            query: &self.query,
            address: self.address,
            domain,
            validated: &validated,
        };
        Ok(expansion.expand(spec))
    }

    /// RFC 7208, 6.2. Whatever goes wrong, there is none then.
    async fn explanation(&mut self) -> Option<String> {
        let (domain, spec) = self.explain.take()?;
        let name = resolvable(&self.expand(&spec, &domain).await.ok()?)?;
        let texts = self.dns.txt(&name).await.ok()?;
        let [text] = texts.as_slice() else {
            return None;
        };
        let text = Text::parse_explanation(text)?;
        let text = self.text(&text, &domain).await.ok()?;
        let printable = text.bytes().all(|b| matches!(b, b' '..=b'~'));
        (printable && !text.is_empty()).then(|| text.chars().take(MAX_EXPLANATION).collect())
    }
}

fn qualifier_verdict(qualifier: Qualifier) -> Verdict {
    match qualifier {
        Qualifier::Pass => Verdict::Pass,
        Qualifier::Fail => Verdict::Fail,
        Qualifier::SoftFail => Verdict::SoftFail,
        Qualifier::Neutral => Verdict::Neutral,
    }
}

/// The domain to be checked: a name of two labels at least (RFC 7208, 4.3).
fn checked_domain(domain: &str) -> Option<String> {
    let domain = super::ascii_domain(domain)?;
    (domain.contains('.') && resolvable(&domain).is_some()).then_some(domain)
}

/// A name that can be asked for, without a dot at its end.
fn resolvable(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| (1..=63).contains(&label.len());
    let fits = name.len() <= 253 && name.is_ascii() && name.split('.').all(is_label);
    fits.then(|| name.to_owned())
}

/// Whether the first `prefix` bits agree.
fn contains(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let bits = |it: Ipv4Addr| u64::from(u32::from(it)) >> (32 - prefix.min(32));
            bits(network) == bits(address)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let bits = |it: Ipv6Addr| match prefix {
                0 => 0,
                prefix => u128::from(it) >> (128 - prefix.min(128)),
            };
            bits(network) == bits(address)
        }
        _ => false,
    }
}

/// Reads a record as a check would: whether it is well-formed. For drivers that feed it
/// anything.
pub fn is_record(text: &[u8]) -> bool {
    Record::is_spf(text) && Record::parse(text).is_some()
}
