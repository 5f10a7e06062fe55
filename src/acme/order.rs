//! One order, from what is asked for to the certificate (RFC 8555, 7.4).

use super::Failure;
use super::answers::{self, Answer, Open, Places};
use super::client::{Client, retry_after, says_too_little};
use super::http::{Response, is_name};
use super::jose::base64;
use super::json::quote;
use super::message::{Authorization, Challenge, Order};
use super::state::Pending;
use crate::net::dns::Resolver;
use crate::secret::Secret;
use async_io::Timer;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long the authority may take to look, and to sign.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How long a record in the DNS is waited for: authorizations end after a week or so.
const DNS_PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Pauses between two looks: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest between two looks into the DNS.
const DNS_PAUSE: Duration = Duration::from_secs(60);

/// What is ordered, and how it is shown to be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub directory: String,
    /// In A-labels.
    pub names: Vec<String>,
    /// `http-01`, `tls-alpn-01` or `dns-01`.
    pub challenge: &'static str,
    pub contact: String,
    pub addresses: Vec<IpAddr>,
    pub port_base: u16,
}

/// Asks for it. What comes back is to be kept before [`finish`].
pub async fn begin(client: &mut Client, wanted: &Wanted) -> Result<Pending, Failure> {
    let names = wanted.names.iter();
    let names: Vec<String> = names
        .map(|it| format!(r#"{{"type":"dns","value":{}}}"#, quote(it)))
        .collect();
    let payload = format!(r#"{{"identifiers":[{}]}}"#, names.join(","));
    let url = client.directory().new_order.clone();
    let response = client.post(&url, &payload).await?;
    let url = response.field("location").map(str::to_owned);
    let key = KeyPair::generate().map_err(|error| format!("can't make a key: {error}"))?;
    Ok(Pending {
        url: url.ok_or_else(|| says_too_little("order"))?,
        directory: wanted.directory.clone(),
        names: wanted.names.clone(),
        key: Secret::new(key.serialize_pem()),
    })
}

/// Gives key and chain in PEM. `tell` is called with the records that DNS-01 waits for.
pub async fn finish(
    client: &mut Client,
    wanted: &Wanted,
    pending: &Pending,
    resolver: &Resolver,
    tell: &(dyn Fn(Vec<(String, String)>) + Send + Sync),
) -> Result<Secret<String>, Failure> {
    let mut order = read_order(&client.get(&pending.url).await?)?;
    if order.status == "pending" {
        authorize(client, wanted, &order, resolver, tell).await?;
        order = until_not(client, &pending.url, &["pending"]).await?;
    }
    if order.status == "ready" {
        let payload = format!(r#"{{"csr":"{}"}}"#, request(pending)?);
        client.post(&order.finalize, &payload).await?;
    }
    // One of before may have been left in the middle.
    if matches!(order.status.as_str(), "ready" | "processing") {
        order = until_not(client, &pending.url, &["ready", "processing"]).await?;
    }
    let Some(url) = order.certificate.filter(|_| order.status == "valid") else {
        let why = order.error.map_or(order.status, |it| it.detail);
        return Err(Failure::over(format!(
            "the ACME authority gives nothing: {why}"
        )));
    };
    let chain = client.get(&url).await?;
    let chain =
        String::from_utf8(chain.body).map_err(|_| is_over(says_too_little("certificate")))?;
    Ok(Secret::new(format!("{}{chain}", pending.key.reveal())))
}

/// A CSR (RFC 8555, 7.4): the names alone, without a subject.
fn request(pending: &Pending) -> Result<String, Failure> {
    let made = || {
        let key = KeyPair::from_pem(pending.key.reveal())?;
        let mut params = CertificateParams::new(pending.names.clone())?;
        params.distinguished_name = DistinguishedName::new();
        Ok(base64(params.serialize_request(&key)?.der()))
    };
    made().map_err(|error: rcgen::Error| Failure::over(format!("can't ask: {error}")))
}

/// Shows all names to be ours that are not known to be.
async fn authorize(
    client: &mut Client,
    wanted: &Wanted,
    order: &Order,
    resolver: &Resolver,
    tell: &(dyn Fn(Vec<(String, String)>) + Send + Sync),
) -> Result<(), Failure> {
    let mut todo: Vec<(String, Challenge)> = Vec::new();
    let mut answers = Vec::new();
    for url in &order.authorizations {
        let found = read_authorization(&client.get(url).await?)?;
        if found.status == "valid" {
            continue;
        }
        let mut challenges = found.challenges.iter();
        let challenge = challenges.find(|it| it.kind == wanted.challenge && is_name(&it.token));
        let challenge = challenge.ok_or_else(|| {
            let (name, kind) = (&found.name, wanted.challenge);
            Failure::new(format!("the ACME authority offers no {kind} for {name}"))
        })?;
        answers.push(Answer {
            name: found.name.clone(),
            authorization: client.key().authorization(&challenge.token),
            token: challenge.token.clone(),
        });
        todo.push((url.clone(), challenge.clone()));
    }
    // As long as the authority looks.
    let _open = present(wanted, answers, resolver, tell).await?;
    for (_, challenge) in &todo {
        client.post(&challenge.url, "{}").await?;
    }
    for (url, _) in &todo {
        until_authorized(client, url).await?;
    }
    Ok(())
}

async fn present(
    wanted: &Wanted,
    answers: Vec<Answer>,
    resolver: &Resolver,
    tell: &(dyn Fn(Vec<(String, String)>) + Send + Sync),
) -> Result<Option<Open>, Failure> {
    let places = Places {
        addresses: &wanted.addresses,
        port_base: wanted.port_base,
    };
    Ok(match wanted.challenge {
        _ if answers.is_empty() => None,
        "http-01" => Some(answers::http(&places, answers)?),
        "tls-alpn-01" => Some(answers::tls_alpn(&places, answers)?),
        _ => {
            let records: Vec<(String, String)> = answers.iter().map(Answer::record).collect();
            tell(records.clone());
            until_in_dns(&records, resolver).await?;
            None
        }
    })
}

/// Waits until the DNS shows all of the records.
async fn until_in_dns(records: &[(String, String)], resolver: &Resolver) -> Result<(), Failure> {
    let mut patience = Patience::new(DNS_PATIENCE, DNS_PAUSE);
    for (name, value) in records {
        loop {
            let found = resolver.txt(name).await;
            let found = found.map_or_else(|_| Vec::new(), |it| it.records);
            if found.iter().any(|it| it == value.as_bytes()) {
                break;
            }
            if !patience.pause(None).await {
                let why = format!("the DNS has no TXT record {name} with the value {value}");
                return Err(Failure::new(why));
            }
        }
    }
    Ok(())
}

async fn until_authorized(client: &mut Client, url: &str) -> Result<(), Failure> {
    let mut patience = Patience::new(PATIENCE, LONGEST_PAUSE);
    loop {
        let response = client.get(url).await?;
        let found = read_authorization(&response)?;
        let name = &found.name;
        match found.status.as_str() {
            "valid" => return Ok(()),
            "pending" => {}
            status => {
                let why = found.problem().map(|it| it.detail.as_str());
                let why = why.unwrap_or(status);
                return Err(Failure::over(format!(
                    "{name} was not shown to be ours: {why}"
                )));
            }
        }
        if !patience.pause(retry_after(&response)).await {
            let why = format!("the ACME authority takes too long to look at {name}");
            return Err(Failure::new(why));
        }
    }
}

async fn until_not(client: &mut Client, url: &str, statuses: &[&str]) -> Result<Order, Failure> {
    let mut patience = Patience::new(PATIENCE, LONGEST_PAUSE);
    loop {
        let response = client.get(url).await?;
        let order = read_order(&response)?;
        if !statuses.contains(&order.status.as_str()) {
            return Ok(order);
        }
        if !patience.pause(retry_after(&response)).await {
            return Err(Failure::new("the ACME authority takes too long"));
        }
    }
}

/// Pauses that grow, up to an end.
struct Patience {
    until: Instant,
    next: Duration,
    longest: Duration,
}

impl Patience {
    fn new(whole: Duration, longest: Duration) -> Patience {
        Patience {
            until: Instant::now() + whole,
            next: FIRST_PAUSE,
            longest,
        }
    }

    /// False when it is over. The authority may ask for another pause.
    async fn pause(&mut self, asked: Option<Duration>) -> bool {
        let pause = asked.map_or(self.next, |it| it.max(FIRST_PAUSE));
        self.next = (self.next * 3 / 2).min(self.longest);
        if Instant::now() + pause > self.until {
            return false;
        }
        Timer::after(pause).await;
        true
    }
}

fn read_order(response: &Response) -> Result<Order, Failure> {
    let order = Order::read(&String::from_utf8_lossy(&response.body));
    order.ok_or_else(|| is_over(says_too_little("order")))
}

fn read_authorization(response: &Response) -> Result<Authorization, Failure> {
    let found = Authorization::read(&String::from_utf8_lossy(&response.body));
    found.ok_or_else(|| is_over(says_too_little("authorization")))
}

/// What can't be read now can't be read later either.
fn is_over(failure: Failure) -> Failure {
    Failure {
        over: true,
        ..failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_names_the_names_alone() {
        let pending = Pending {
            url: String::new(),
            directory: String::new(),
            names: vec!["mail.a.test".into(), "mta-sts.a.test".into()],
            key: Secret::new(KeyPair::generate().unwrap().serialize_pem()),
        };
        let csr = request(&pending).unwrap();
        let der = crate::acme::jose::decode(&csr).unwrap();
        let has = |text: &str| memchr::memmem::find(&der, text.as_bytes()).is_some();
        assert!(has("mail.a.test") && has("mta-sts.a.test") && !has("rcgen"));
    }
}
