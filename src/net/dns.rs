//! A stub resolver (RFC 1034, 5.3.1): asks the system's name servers, or those that it is
//! given, and keeps answers for as long as they may be kept.
//!
//! Names go over the wire with A-labels, and come back in lower case without the last dot.
//! [`message`] reads and writes, pure; [`exchange`] asks one server; [`config`] says which.

mod cache;
mod config;
mod exchange;
pub mod message;

pub use config::ResolverConfig;
pub use message::{MAX_RECORDS, Mx, Srv, Tlsa};

use cache::Cache;
use futures_lite::future;
use message::{Data, Question, Reading, Rtype};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most aliases (CNAME) from the name that was asked for to the one that has the records.
pub const MAX_ALIASES: usize = 8;
/// Most queries for one answer, where servers leave it to us to follow aliases.
const MAX_FOLLOWED: usize = 4;
/// How long the system's choice of servers is taken to stand.
const CONFIG_AGE: Duration = Duration::from_secs(30);

/// Records, and how far to trust them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// At least one, [`MAX_RECORDS`] at most.
    pub records: Vec<T>,
    /// Validated by DNSSEC: the server said so (AD), and it is one to be believed in that,
    /// on this machine or set as trusted (RFC 6840, 5.8; RFC 7672, 2.1).
    pub authentic: bool,
    /// Whose records they are, aliases followed.
    pub name: String,
}

/// Why there are no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// There is no such name (NXDOMAIN).
    NoName,
    /// The name has no records of that type.
    NoData,
    /// No server gave an answer that can be used; a later try may. Says why.
    Temporary(String),
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnsError::NoName => f.write_str("there is no such name in the DNS"),
            DnsError::NoData => f.write_str("the name has no such record in the DNS"),
            DnsError::Temporary(why) => write!(f, "the DNS gives no answer: {why}"),
        }
    }
}

impl std::error::Error for DnsError {}

/// Clones share the cache.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    config: Mutex<Config>,
    cache: Mutex<Cache>,
    /// Which server begins, where they take turns.
    turn: AtomicUsize,
}

struct Config {
    current: Arc<ResolverConfig>,
    /// When the system was last asked; `None` for a configuration that was given.
    looked: Option<Instant>,
}

impl Config {
    fn of(servers: &[SocketAddr]) -> Config {
        match servers {
            [] => Config {
                current: Arc::new(ResolverConfig::system()),
                looked: Some(Instant::now()),
            },
            servers => Config::given(ResolverConfig::servers(servers)),
        }
    }

    fn given(config: ResolverConfig) -> Config {
        Config {
            current: Arc::new(config),
            looked: None,
        }
    }
}

impl Resolver {
    pub fn new(config: ResolverConfig) -> Resolver {
        Resolver::with(Config::given(config))
    }

    /// Asks these servers; where there are none, as `/etc/resolv.conf` says, and says anew when
    /// the network changes.
    pub fn of(servers: &[SocketAddr]) -> Resolver {
        Resolver::with(Config::of(servers))
    }

    fn with(config: Config) -> Resolver {
        Resolver(Arc::new(Shared {
            config: Mutex::new(config),
            cache: Mutex::default(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// As [`Resolver::of`], from now on. What others have answered is forgotten.
    pub fn ask_from_now_on(&self, servers: &[SocketAddr]) {
        let mut config = lock(&self.0.config);
        let same = match servers {
            [] => config.looked.is_some(),
            servers => *config.current == ResolverConfig::servers(servers),
        };
        if !same {
            *config = Config::of(servers);
            *lock(&self.0.cache) = Cache::default();
        }
    }

    /// In no order; a null MX (RFC 7505) has an empty exchange.
    pub async fn mx(&self, name: &str) -> Result<Answer<Mx>, DnsError> {
        self.typed(name, Rtype::MX, |data| match data {
            Data::Mx(mx) => Some(mx),
            _ => None,
        })
        .await
    }

    /// A and AAAA. One kind alone is enough, whatever became of the other.
    pub async fn addresses(&self, name: &str) -> Result<Answer<IpAddr>, DnsError> {
        let (four, six) = future::zip(self.ipv4(name), self.ipv6(name)).await;
        let four = four.map(|answer| answer.map(IpAddr::V4));
        let six = six.map(|answer| answer.map(IpAddr::V6));
        match (four, six) {
            (Ok(mut four), Ok(six)) => {
                four.authentic &= six.authentic;
                four.records.extend(six.records);
                Ok(four)
            }
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            (Err(error @ DnsError::Temporary(_)), Err(_)) | (Err(_), Err(error)) => Err(error),
        }
    }

    pub async fn ipv4(&self, name: &str) -> Result<Answer<Ipv4Addr>, DnsError> {
        self.typed(name, Rtype::A, |data| match data {
            Data::Address(IpAddr::V4(address)) => Some(address),
            _ => None,
        })
        .await
    }

    pub async fn ipv6(&self, name: &str) -> Result<Answer<Ipv6Addr>, DnsError> {
        self.typed(name, Rtype::AAAA, |data| match data {
            Data::Address(IpAddr::V6(address)) => Some(address),
            _ => None,
        })
        .await
    }

    /// Each record's strings joined, as SPF, DKIM and MTA-STS want them.
    pub async fn txt(&self, name: &str) -> Result<Answer<Vec<u8>>, DnsError> {
        self.typed(name, Rtype::TXT, |data| match data {
            Data::Text(text) => Some(text),
            _ => None,
        })
        .await
    }

    /// `name` with its port and protocol: `_25._tcp.mx.example.org` (RFC 6698, 3).
    pub async fn tlsa(&self, name: &str) -> Result<Answer<Tlsa>, DnsError> {
        self.typed(name, Rtype::TLSA, |data| match data {
            Data::Tlsa(tlsa) => Some(tlsa),
            _ => None,
        })
        .await
    }

    /// `name` with service and protocol: `_imaps._tcp.example.org` (RFC 2782).
    pub async fn srv(&self, name: &str) -> Result<Answer<Srv>, DnsError> {
        self.typed(name, Rtype::SRV, |data| match data {
            Data::Srv(srv) => Some(srv),
            _ => None,
        })
        .await
    }

    /// The names of an address.
    pub async fn ptr(&self, address: IpAddr) -> Result<Answer<String>, DnsError> {
        let name = message::reverse(address).ok_or(DnsError::NoName)?;
        self.typed(&name, Rtype::PTR, Data::into_name).await
    }

    /// What the name itself is an alias of.
    pub async fn cname(&self, name: &str) -> Result<Answer<String>, DnsError> {
        self.typed(name, Rtype::CNAME, Data::into_name).await
    }

    async fn typed<T>(
        &self,
        name: &str,
        rtype: Rtype,
        pick: impl Fn(Data) -> Option<T>,
    ) -> Result<Answer<T>, DnsError> {
        // What can't be written in a query can't be in the DNS either.
        let question = Question::new(name, rtype).ok_or(DnsError::NoName)?;
        let answer = self.cached(question).await?;
        let records: Vec<T> = answer.records.into_iter().filter_map(pick).collect();
        match records.is_empty() {
            true => Err(DnsError::NoData),
            false => Ok(Answer {
                records,
                authentic: answer.authentic,
                name: answer.name,
            }),
        }
    }

    async fn cached(&self, question: Question) -> Result<Answer<Data>, DnsError> {
        let key = question.key();
        let found = lock(&self.0.cache).get(&key, Instant::now());
        if let Some(found) = found {
            return found;
        }
        let (result, seconds) = self.follow(question).await;
        if !matches!(result, Err(DnsError::Temporary(_))) {
            lock(&self.0.cache).put(key, &result, seconds, Instant::now());
        }
        result
    }

    /// Asks, and asks on where the server names an alias alone. Gives the seconds for which
    /// the outcome stands too.
    async fn follow(&self, mut question: Question) -> (Result<Answer<Data>, DnsError>, u32) {
        let config = self.config();
        let (mut authentic, mut seconds) = (true, u32::MAX);
        for _ in 0..MAX_FOLLOWED {
            let reading = match self.ask(&config, &question).await {
                Ok(reading) => reading,
                Err(error) => return (Err(DnsError::Temporary(error)), 0),
            };
            seconds = seconds.min(reading.seconds());
            match reading {
                Reading::NoName { .. } => return (Err(DnsError::NoName), seconds),
                Reading::NoData { .. } => return (Err(DnsError::NoData), seconds),
                Reading::Found {
                    records,
                    name,
                    authentic: ad,
                    ..
                } => {
                    let answer = Answer {
                        records,
                        authentic: authentic && ad && config.is_trusted(),
                        name,
                    };
                    return (Ok(answer), seconds);
                }
                Reading::Alias {
                    to, authentic: ad, ..
                } => {
                    authentic &= ad;
                    question = to;
                }
            }
        }
        let error = "there are too many aliases".to_string();
        (Err(DnsError::Temporary(error)), 0)
    }

    /// Every server in turn, round after round, until one answers; or why the last didn't.
    async fn ask(&self, config: &ResolverConfig, question: &Question) -> Result<Reading, String> {
        let first = match config.rotate {
            true => self.0.turn.fetch_add(1, Ordering::Relaxed),
            false => 0,
        };
        let mut why = "no name server is set".to_string();
        for _ in 0..config.attempts {
            for n in 0..config.servers.len() {
                let place = first.wrapping_add(n) % config.servers.len();
                let Some(&server) = config.servers.get(place) else {
                    continue;
                };
                match exchange::ask(server, question, config.timeout).await {
                    Ok(reading) => return Ok(reading),
                    Err(error) => why = format!("{}: {error}", server.ip()),
                }
            }
        }
        Err(why)
    }

    fn config(&self) -> Arc<ResolverConfig> {
        let mut config = lock(&self.0.config);
        if config.looked.is_some_and(|it| it.elapsed() > CONFIG_AGE) {
            *config = Config::of(&[]);
        }
        config.current.clone()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resolver").field(&self.config()).finish()
    }
}

impl<T> Answer<T> {
    fn map<U>(self, f: impl Fn(T) -> U) -> Answer<U> {
        Answer {
            records: self.records.into_iter().map(f).collect(),
            authentic: self.authentic,
            name: self.name,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
