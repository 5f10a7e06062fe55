//! MTA-STS at work: policies fetched and kept (RFC 8461, 3.3, 5.1).

use super::policy::{self, MAX_POLICY, Policy};
use crate::address::Domain;
use crate::net::connect::{self, Authorities};
use crate::net::dns::Resolver;
use crate::store::Store;
use crate::task;
use crate::wire::Input;
use async_io::Timer;
use futures_lite::FutureExt;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The kind of the store's records that are policies, by domain.
const KIND: &str = "mta-sts";
const HTTPS_PORT: u16 = 443;
/// For the whole of a fetch (RFC 8461, 3.3 suggests a minute).
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest head of the server's reply, bytes.
const MAX_HEAD: usize = 8 << 10;
/// How long after a fetch that failed the next waits (RFC 8461, 3.3).
const PAUSE: Duration = Duration::from_secs(300);
/// Domains that are remembered to have failed.
const MAX_PAUSES: usize = 1000;
/// A policy this old is fetched again though it still holds, seconds: it must not be enough to
/// block the one fetch when it ends (RFC 8461, 10.2). Half of what it holds, if that is less.
const REFRESH: u64 = 24 * 3600;

/// Policies are in the store, so that no restart forgets one that is to be enforced.
#[derive(Clone)]
pub struct PolicyStore {
    store: Store,
    authorities: Arc<Authorities>,
    pauses: Arc<Mutex<HashMap<String, Instant>>>,
}

/// A policy that was fetched and holds.
struct Kept {
    /// Seconds since 1970.
    fetched: i64,
    policy: Policy,
}

impl PolicyStore {
    pub fn new(store: Store, authorities: Arc<Authorities>) -> PolicyStore {
        PolicyStore {
            store,
            authorities,
            pauses: Arc::default(),
        }
    }

    /// The policy that holds for a domain now. What can't be had anew goes on as it was, for
    /// as long as it said (RFC 8461, 5.1).
    pub async fn find(&self, domain: &Domain, resolver: &Resolver) -> Option<Policy> {
        let ascii = idna::domain_to_ascii(domain.as_str()).ok()?;
        let kept = self.kept(&ascii);
        let records = resolver.txt(&format!("_mta-sts.{ascii}")).await;
        let id = records.ok().and_then(|it| policy::record_id(&it.records));
        let Some(id) = id else {
            return kept.map(|it| it.policy);
        };
        let is_known = kept.as_ref().is_some_and(|it| it.policy.id == id);
        if kept.as_ref().is_some_and(|it| is_known && it.is_fresh()) || self.pauses(&ascii) {
            return kept.map(|it| it.policy);
        }
        if is_known {
            // Mail need not wait for it.
            self.pause(&ascii);
            let (own, resolver) = (self.clone(), resolver.clone());
            task::spawn(async move { drop(own.renew(&ascii, &id, &resolver).await) }).detach();
            return kept.map(|it| it.policy);
        }
        let renewed = self.renew(&ascii, &id, resolver).await;
        renewed.or(kept.map(|it| it.policy))
    }

    /// Fetches and keeps it.
    async fn renew(&self, domain: &str, id: &str, resolver: &Resolver) -> Option<Policy> {
        match self.fetch(domain, id, resolver).await {
            Ok(policy) => {
                self.keep(domain, &policy).await;
                Some(policy)
            }
            Err(error) => {
                log::warn!("the MTA-STS policy of {domain}: {}", connect::plain(&error));
                self.pause(domain);
                None
            }
        }
    }

    fn kept(&self, domain: &str) -> Option<Kept> {
        let row = self.store.look(|snapshot| snapshot.record(KIND, domain));
        let row = row.inspect_err(|error| log::error!("MTA-STS policies: {error}"));
        Kept::read(&row.ok()??)
    }

    async fn keep(&self, domain: &str, policy: &Policy) {
        self.forget_old().await;
        // A policy of none is kept as well: it is how a domain takes an earlier one back
        // (RFC 8461, 8.3).
        let row = policy.encode(now());
        if let Err(error) = self.store.put_record(KIND, domain, row).await {
            log::warn!("the MTA-STS policy of {domain} is not kept: {error}");
        }
    }

    /// Makes room: of those that hold no longer.
    async fn forget_old(&self) {
        let rows = self.store.look(|snapshot| snapshot.records(KIND));
        let old = rows.into_iter().flatten();
        for (domain, _) in old.filter(|(_, row)| Kept::read(row).is_none()) {
            if let Err(error) = self.store.remove_record(KIND, &domain).await {
                log::warn!("the old MTA-STS policy of {domain} stays: {error}");
            }
        }
    }

    async fn fetch(&self, domain: &str, id: &str, resolver: &Resolver) -> io::Result<Policy> {
        let late = async {
            Timer::after(FETCH_TIMEOUT).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let text = self
            .get(&format!("mta-sts.{domain}"), resolver)
            .or(late)
            .await?;
        Policy::parse(&text, id).ok_or_else(|| io::Error::other("it is no policy"))
    }

    /// `GET /.well-known/mta-sts.txt`, and nothing else of HTTP.
    async fn get(&self, host: &str, resolver: &Resolver) -> io::Result<String> {
        let addresses = resolver.addresses(host).await.map_err(io::Error::other)?;
        let mut stream = connect::connect(&addresses.records, HTTPS_PORT).await?;
        let config = self.authorities.verified().await?;
        connect::start_tls(&mut stream, host, config).await?;
        let request = format!(
            "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\n\
             User-Agent: pillarbox\r\nConnection: close\r\n\r\n"
        );
        stream.send(request.as_bytes()).await?;
        let mut input = Input::new();
        loop {
            let ended = stream.receive(&mut input, FETCH_TIMEOUT).await? == 0;
            if let Some(body) = policy::http_body(input.bytes(), ended) {
                return Ok(body);
            }
            if ended || input.len() > MAX_HEAD + MAX_POLICY {
                return Err(io::Error::other("the web server gives no policy"));
            }
        }
    }

    fn pauses(&self, domain: &str) -> bool {
        let pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        pauses
            .get(domain)
            .is_some_and(|since| since.elapsed() < PAUSE)
    }

    fn pause(&self, domain: &str) {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.retain(|_, since| since.elapsed() < PAUSE);
        if pauses.len() < MAX_PAUSES {
            pauses.insert(domain.to_owned(), Instant::now());
        }
    }
}

impl Kept {
    fn read(row: &[u8]) -> Option<Kept> {
        let (fetched, policy) = Policy::decode(row).ok()?;
        let until = fetched.saturating_add_unsigned(policy.max_age);
        (until > now()).then_some(Kept { fetched, policy })
    }

    fn is_fresh(&self) -> bool {
        let until = REFRESH.min(self.policy.max_age / 2);
        self.fetched.saturating_add_unsigned(until) > now()
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |it| it.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::ResolverConfig;
    use crate::queue::policy::Mode;
    use crate::store::Options;
    use crate::store::simdisk::SimDisk;

    fn policy(mode: Mode, max_age: u64) -> Policy {
        Policy {
            id: "1".into(),
            mode,
            max_age,
            mx: vec!["mx.x.test".into()],
        }
    }

    #[test]
    fn a_policy_outlives_a_restart_and_a_dns_that_is_silent() {
        smol::block_on(async {
            let disk = SimDisk::new();
            let open = || {
                let options = Options {
                    reserve: 0,
                    ballast: 0,
                    ..Options::default()
                };
                let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
                PolicyStore::new(store, Arc::new(Authorities::new(None)))
            };
            let policies = open();
            policies.keep("x.test", &policy(Mode::Enforce, 3600)).await;
            policies
                .keep("back.test", &policy(Mode::Enforce, 3600))
                .await;
            policies.keep("back.test", &policy(Mode::None, 3600)).await;
            // What holds no longer goes when the next one comes.
            policies.keep("old.test", &policy(Mode::Enforce, 0)).await;
            policies.keep("next.test", &policy(Mode::Testing, 60)).await;
            policies.store.close().await;
            drop(policies);

            let policies = open();
            let resolver = Resolver::new(ResolverConfig::servers([]));
            let found = |domain: &'static str| {
                let domain = Domain::parse(domain).unwrap();
                let found = smol::block_on(policies.find(&domain, &resolver));
                found.map(|it| it.mode)
            };
            assert_eq!(found("x.test"), Some(Mode::Enforce));
            assert_eq!(found("back.test"), Some(Mode::None));
            assert_eq!(found("old.test"), None);
            let rows = policies.store.look(|it| it.records(KIND)).unwrap();
            let names: Vec<&str> = rows.iter().map(|it| it.0.as_str()).collect();
            assert_eq!(names, ["back.test", "next.test", "x.test"]);
        });
    }

    #[test]
    fn a_policy_is_fetched_anew_long_before_it_ends() {
        let kept = |age: i64, max_age| Kept {
            fetched: now() - age,
            policy: policy(Mode::Enforce, max_age),
        };
        let year = 31_557_600;
        assert!(kept(3600, year).is_fresh() && !kept(25 * 3600, year).is_fresh());
        assert!(kept(400, 1000).is_fresh() && !kept(600, 1000).is_fresh());
    }
}
