//! A message from another server: spooled, examined, and stored with what was found in front.

use super::spool::Spool;
use crate::address::Address;
use crate::authentication::hashing::{Hashed, Hashing};
use crate::authentication::key::SigningKey;
use crate::authentication::results::{Results, is_forged};
use crate::authentication::seal::seal;
use crate::authentication::{Dns, Verdict, arc, ascii_domain, dkim, dmarc, spf};
use crate::context::Context;
use crate::message::header;
use crate::secret::random;
use crate::smtp::author;
use crate::smtp::session::Arrived;
use crate::store::{self, Staged, Staging, Store};
use async_io::Timer;
use async_lock::SemaphoreGuardArc;
use futures_lite::{FutureExt, future};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long all questions to DNS about one message may take; the client waits meanwhile
/// (RFC 5321, 4.5.3.2.6 gives it ten minutes).
const PATIENCE: Duration = Duration::from_secs(40);
/// Of that, what those about the sender and the signatures may take, which a stranger chooses:
/// the author's domain is asked in any case.
const STRANGERS_PATIENCE: Duration = Duration::from_secs(20);

/// On its way in.
pub struct Arrival {
    /// Its place among those of other servers.
    place: SemaphoreGuardArc,
    store: Store,
    size: u64,
    /// Holds its place among the uploads from the start.
    staging: Staging,
    spool: Spool,
    hashing: Hashing,
}

/// Over, and examined.
pub struct Examined {
    pub results: Results,
    /// As long as it holds an upload of the store: port 25 must not take them all.
    _place: SemaphoreGuardArc,
    arrival: Spool,
    staging: Staging,
    message: Hashed,
}

impl Arrival {
    pub fn new(context: &Context, place: SemaphoreGuardArc, staging: Staging) -> Arrival {
        Arrival {
            place,
            store: context.store.clone(),
            size: 0,
            staging,
            spool: Spool::new(context.dir.clone()),
            hashing: Hashing::new(),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> store::Result<()> {
        self.hashing.push(bytes);
        self.size += bytes.len() as u64;
        self.store.check_room(self.size)?;
        Ok(self.spool.write(bytes).await?)
    }

    /// `sender`: the reverse-path.
    pub async fn examine(
        self,
        context: &Context,
        peer: IpAddr,
        sender: Option<&Address>,
        client: &str,
    ) -> Examined {
        let message = self.hashing.finish();
        let query = query(context, peer, sender, client);
        let author = author::domain(message.header());
        let asked = ask(&context.resolver, &message, &query, author.as_deref());
        let mut results = asked
            .or(async {
                Timer::after(PATIENCE).await;
                unanswered(author.as_deref())
            })
            .await;
        if let Some((_, property, value)) = &mut results.spf {
            (*property, *value) = match sender {
                Some(sender) => ("smtp.mailfrom", sender.to_string()),
                None => ("smtp.helo", client.to_owned()),
            };
        }
        Examined {
            results,
            _place: self.place,
            arrival: self.spool,
            staging: self.staging,
            message,
        }
    }
}

fn query(context: &Context, peer: IpAddr, sender: Option<&Address>, client: &str) -> spf::Query {
    let now = jiff::Timestamp::now().as_second();
    let query = spf::Query::helo(peer, client, &context.settings().hostname, now);
    match sender {
        Some(sender) => spf::Query {
            local: sender.local().to_owned(),
            domain: sender.domain().to_string(),
            ..query
        },
        None => query,
    }
}

/// `author`: the domain of the From field, if it is clear.
async fn ask<D: Dns>(
    dns: &D,
    message: &Hashed,
    query: &spf::Query,
    author: Option<&str>,
) -> Results {
    let signatures = future::zip(
        in_time(dkim::verify(message, dns, query.now)),
        in_time(arc::verify(message, dns)),
    );
    let (spf, (dkim, arc)) = future::zip(in_time(spf::check(dns, query)), signatures).await;
    let incomplete = spf.is_none() || dkim.is_none();
    let (spf, dkim) = (spf.unwrap_or_else(no_spf), dkim.unwrap_or_default());
    let dmarc = match author {
        Some(domain) => {
            let shown = dmarc::Shown {
                spf: (&spf, &query.domain),
                dkim: &dkim,
                incomplete,
                draw: draw(),
            };
            dmarc::check(dns, domain, &shown).await
        }
        None => unclear(),
    };
    Results {
        spf: Some((spf, "", String::new())),
        dkim,
        dmarc: Some(dmarc),
        arc,
    }
}

/// Below 100; where there is no randomness, every message counts.
fn draw() -> u8 {
    random::<1>().map_or(0, |[byte]| byte % 100)
}

pub(super) async fn in_time<T>(asked: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(STRANGERS_PATIENCE).await;
        None
    };
    async { Some(asked.await) }.or(late).await
}

pub(super) fn no_spf() -> spf::Outcome {
    spf::Outcome {
        verdict: Verdict::TempError,
        reason: "DNS does not answer",
        explanation: None,
    }
}

pub(super) fn unclear() -> dmarc::Outcome {
    dmarc::Outcome {
        verdict: Verdict::PermError,
        reason: "the author is unclear",
        ..dmarc::Outcome::default()
    }
}

pub(super) fn unanswered(author: Option<&str>) -> Results {
    let domain = |author| ascii_domain(author).unwrap_or_default();
    Results {
        spf: Some((no_spf(), "", String::new())),
        dmarc: Some(
            author
                .map(domain)
                .map_or_else(unclear, |domain| dmarc::Outcome {
                    verdict: Verdict::TempError,
                    organization: domain.clone(),
                    domain,
                    ..dmarc::Outcome::default()
                }),
        ),
        ..Results::default()
    }
}

impl Examined {
    /// Writes the message into the store: what was found in front, with a seal where there is
    /// one to make, and without fields that claim to be our findings.
    pub async fn store(
        mut self,
        hostname: &str,
        arrived: &Arrived,
        sealer: Option<Arc<SigningKey>>,
    ) -> store::Result<Staged> {
        let mut front = arrived.return_path.clone().into_bytes();
        if let Some(key) = sealer {
            let now = jiff::Timestamp::now().as_second();
            let set = seal(&self.message, &self.results, hostname, &key, now);
            front.extend(set.unwrap_or_default());
        }
        front.extend(self.results.field(hostname));
        front.extend_from_slice(arrived.received.as_bytes());
        let header = self.message.header();
        for field in header::fields(header) {
            if !is_forged(&field, hostname) {
                front.extend_from_slice(field.raw);
            }
        }
        self.staging.write(&front).await?;
        self.arrival.rewind(header.len() as u64).await?;
        loop {
            let chunk = self.arrival.read().await?;
            if chunk.is_empty() {
                return self.staging.finish().await;
            }
            self.staging.write(&chunk).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;
    use crate::store::simdisk::{Seeded, SimDisk};
    use async_lock::Semaphore;
    use smol::block_on;

    /// Larger than what a message has of the memory, and nothing makes it smaller.
    const SIZE: usize = 2 << 20;

    #[test]
    fn an_arrival_keeps_its_place_until_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let disk = SimDisk::new();
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
        let places = Arc::new(Semaphore::new(1));
        let is_free = || places.try_acquire().is_some();
        let mut random = Seeded::new(1);
        let body = (0..SIZE).map(|_| random.below(256) as u8);
        let message: Vec<u8> = b"From: a@b.test\r\n\r\n"
            .iter()
            .copied()
            .chain(body)
            .collect();
        let examined = block_on(async {
            let (mut spool, mut hashing) = (Spool::new(dir.path().into()), Hashing::new());
            hashing.push(&message);
            spool.write(&message).await.unwrap();
            Examined {
                results: Results::default(),
                _place: places.try_acquire_arc().unwrap(),
                arrival: spool,
                staging: store.stage(None).await.unwrap(),
                message: hashing.finish(),
            }
        });
        let arrived = Arrived::default();
        let mut storing = Box::pin(examined.store("us.test", &arrived, None));
        let mut turn = || block_on(future::poll_once(&mut storing));
        // Without the disk it can't come to its end.
        let stopped = disk.stop();
        assert!(turn().is_none() && !is_free());
        drop(stopped);
        let staged = loop {
            match turn() {
                Some(staged) => break staged,
                None => assert!(!is_free(), "too early"),
            }
            std::thread::yield_now();
        };
        drop(storing);
        staged.unwrap();
        assert!(is_free());
    }
}
