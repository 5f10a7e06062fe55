//! MTA-STS at work: policies fetched and kept (RFC 8461, 3.3, 5.1).

use super::policy::{self, MAX_POLICY, Mode, Policy};
use crate::address::Domain;
use crate::net::connect::{self, Authorities};
use crate::net::dns::Resolver;
use crate::store::Store;
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

pub struct PolicyStore {
    store: Store,
    authorities: Arc<Authorities>,
    pauses: Mutex<HashMap<String, Instant>>,
}

impl PolicyStore {
    pub fn new(store: Store, authorities: Arc<Authorities>) -> PolicyStore {
        PolicyStore {
            store,
            authorities,
            pauses: Mutex::default(),
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
            return kept;
        };
        if kept.as_ref().is_some_and(|it| it.id == id) || self.pauses(&ascii) {
            return kept;
        }
        match self.fetch(&ascii, &id, resolver).await {
            Ok(policy) => {
                self.keep(&ascii, &policy).await;
                Some(policy)
            }
            Err(error) => {
                log::warn!("the MTA-STS policy of {ascii}: {}", connect::plain(&error));
                self.pause(&ascii);
                kept
            }
        }
    }

    fn kept(&self, domain: &str) -> Option<Policy> {
        let row = self.store.look(|snapshot| snapshot.record(KIND, domain));
        let (fetched, policy) = Policy::decode(&row.ok()??).ok()?;
        let until = fetched.saturating_add_unsigned(policy.max_age);
        (until > now()).then_some(policy)
    }

    async fn keep(&self, domain: &str, policy: &Policy) {
        let row = policy.encode(now());
        let kept = match policy.mode {
            // It is how a domain takes its policy back (RFC 8461, 8.3).
            Mode::None => self.store.remove_record(KIND, domain).await.map(drop),
            _ => self.store.put_record(KIND, domain, row).await,
        };
        if let Err(error) = kept {
            log::warn!("the MTA-STS policy of {domain} is not kept: {error}");
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

/// Seconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |it| it.as_secs() as i64)
}
