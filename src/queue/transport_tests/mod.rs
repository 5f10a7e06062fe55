//! A message on its way to servers that misbehave, each as its test wants, with waits that the
//! test sets: what is to expire takes a moment, all else an hour, so that nothing but the one
//! limit can end it.

use super::super::letter::is_called_off;
use super::super::{Recorder, Recording};
use super::*;
use crate::mail::DateTime;
use crate::mail::outgoing::{Envelope, Notify, QueueId, Recipient, Status};
use crate::net::connect::Patience;
use crate::net::dns::ResolverConfig;
use crate::net::stream::Deadlines;
use crate::smtp::client::Timeouts;
use crate::store::simdisk::SimDisk;
use crate::store::{NewItem, Options, QueueChange};
use async_io::Timer;
use peer::{Does, Peer};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

mod connections;
mod limits;
mod owner;
mod peer;
mod servers;
mod waits;

const HOUR: Duration = Duration::from_secs(3600);
/// What expires.
const MOMENT: Duration = Duration::from_millis(150);
/// Between two bytes of a peer that drips: ever again before any single wait is over.
const DRIP: Duration = Duration::from_millis(10);

fn patient() -> Timeouts {
    Timeouts {
        greeting: HOUR,
        hello: HOUR,
        mail: HOUR,
        rcpt: HOUR,
        data_start: HOUR,
        data_end: HOUR,
        goodbye: HOUR,
        opening: HOUR,
        envelope: HOUR,
        body: HOUR,
        slowest: u64::MAX,
        attempt: HOUR,
    }
}

struct Bench {
    transport: Transport,
    message: Vec<u8>,
    require_tls: bool,
    recorded: Recorded,
}

/// The places that were recorded on the way, each time.
#[derive(Clone, Default)]
pub struct Recorded(Arc<Mutex<Vec<Vec<usize>>>>);

impl Recorder for Recorded {
    fn record(&self, outcomes: Vec<(usize, Outcome)>) -> Recording<'_> {
        assert!(outcomes.iter().all(|it| is_delivered(&it.1)));
        let places = outcomes.iter().map(|it| it.0).collect();
        self.0.lock().unwrap().push(places);
        Box::pin(async {})
    }
}

impl Bench {
    fn new(change: impl FnOnce(&mut Timeouts)) -> Bench {
        let mut timeouts = patient();
        change(&mut timeouts);
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(SimDisk::new()), options).unwrap();
        let resolver = Resolver::new(ResolverConfig::servers([]));
        let mut transport = Transport::new(
            store,
            resolver,
            Live::fixed(Settings::default()),
            Own::default(),
        );
        transport.maker.timeouts = timeouts;
        transport.maker.patience = Patience {
            connect: HOUR,
            deadlines: Deadlines {
                handshake: HOUR,
                write: HOUR,
            },
        };
        Bench {
            transport,
            message: b"From: ann@us.test\r\n\r\nhi\r\n".to_vec(),
            require_tls: false,
            recorded: Recorded::default(),
        }
    }

    /// One attempt for these recipients by way of these servers: an outcome for each.
    fn send(&self, to: &[&str], hops: Vec<Hop>) -> Vec<Outcome> {
        let attempt = async {
            let consignment = self.consignment(to).await;
            let mut letter = Letter::open(&self.transport.store, &consignment.item)
                .await
                .unwrap();
            let way = way(hops);
            let (mut told, _) = self
                .transport
                .deliver(&way, self.parcel(&consignment), &mut letter)
                .await;
            told.sort_by_key(|it| it.0);
            let places: Vec<usize> = told.iter().map(|it| it.0).collect();
            assert_eq!(places, consignment.recipients, "an outcome for each");
            told.into_iter().map(|it| it.1).collect()
        };
        smol::block_on(futures_lite::future::or(attempt, hung()))
    }

    fn parcel<'a>(&'a self, consignment: &'a Consignment) -> Parcel<'a> {
        Parcel::new(consignment, &self.recorded)
    }

    async fn consignment(&self, to: &[&str]) -> Consignment {
        let store = &self.transport.store;
        let mut staging = store.stage(None).await.unwrap();
        staging.write(&self.message).await.unwrap();
        let message = staging.finish().await.unwrap();
        let recipient = |to: &&str| Recipient {
            address: Address::parse(to).unwrap(),
            notify: Notify::default(),
            original: None,
            accepted: None,
            status: Status::waiting(0),
        };
        let item = NewItem {
            account: None,
            ours: true,
            name: "7f".into(),
            submitted: 0,
            envelope: Envelope {
                sender: Address::parse("ann@us.test").ok(),
                require_tls: self.require_tls,
                ..Envelope::default()
            },
            recipients: to.iter().map(recipient).collect(),
        };
        let date = DateTime { unix: 0, offset: 0 };
        let queued = store.deliver(message, date, vec![], Some(item)).await;
        let id = queued.unwrap().unwrap();
        let item = store.look(|it| it.queue_item(id)).unwrap().unwrap();
        Consignment {
            lane: Lane {
                hop: "x.test".into(),
                domain: None,
            },
            recipients: (0..item.recipients.len()).collect(),
            item,
        }
    }

    /// One attempt by way of a server that takes too long, then of another: which has all the
    /// time that this machine wants.
    fn send_past(mut self, to: &[&str], slow: &Peer, other: &Peer) -> Vec<Outcome> {
        let attempt = async {
            let consignment = self.consignment(to).await;
            let mut letter = Letter::open(&self.transport.store, &consignment.item)
                .await
                .unwrap();
            let hops = vec![slow.hop("mx0.test"), other.hop("mx1.test")];
            let way = way(hops.clone());
            let recorded = self.recorded.clone();
            let mut parcel = Parcel::new(&consignment, &recorded);
            let began = Instant::now();
            let by = self
                .transport
                .by(&hops[0], &way, &mut parcel, &mut letter)
                .await;
            assert!(by.is_ok() && began.elapsed() >= MOMENT, "too early");
            parcel.go_on();
            assert_eq!(parcel.left.len(), to.len());
            self.transport.maker.timeouts = patient();
            let by = self
                .transport
                .by(&hops[1], &way, &mut parcel, &mut letter)
                .await;
            assert!(by.is_ok());
            parcel.told().0.into_iter().map(|it| it.1).collect()
        };
        smol::block_on(futures_lite::future::or(attempt, hung()))
    }

    fn send_one(&self, peers: &[&Peer]) -> Outcome {
        let hops = peers.iter().enumerate();
        let hops = hops.map(|(n, it)| it.hop(&format!("mx{n}.test"))).collect();
        self.send(&["bob@x.test"], hops).remove(0)
    }
}

fn way(hops: Vec<Hop>) -> Way {
    Way {
        destination: Destination {
            hops,
            servers: String::new(),
            certain: true,
            notes: Vec::new(),
        },
        login: None,
    }
}

async fn hung<T>() -> T {
    async_io::Timer::after(Duration::from_secs(120)).await;
    panic!("nothing has ended the attempt");
}

fn deferred(outcome: &Outcome) -> (&str, &str) {
    match outcome {
        Outcome::Deferred(reply) => (&reply.enhanced, &reply.text),
        other => panic!("{other:?}"),
    }
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Delivered { .. })
}

/// How a wait is set.
type Set = fn(&mut Timeouts);

/// The verbs before the message, and what each is waited for.
const BEFORE: [(&str, Set); 5] = [
    ("CONNECT", |it| it.greeting = MOMENT),
    ("EHLO", |it| it.hello = MOMENT),
    ("MAIL", |it| it.mail = MOMENT),
    ("RCPT", |it| it.rcpt = MOMENT),
    ("DATA", |it| it.data_start = MOMENT),
];
const SILENT: [Does; 2] = [Does::Stall, Does::Drip("250 and so on ")];
const NONSENSE: [Does; 3] = [
    Does::Say("\u{0}? no SMTP"),
    Does::Pour("250 and so on "),
    Does::Pour("250-more\r\n"),
];

/// Limits that leave some for a further connection, when one is asked for four of two domains;
/// and how many connections that takes.
const NARROW: [(&str, usize); 4] = [
    ("250 LIMITS RCPTDOMAINMAX=1", 2),
    ("250 LIMITS RCPTMAX=2 MAILMAX=1", 2),
    ("250 LIMITS RCPTMAX=1", 1),
    ("250 LIMITS RCPTDOMAINMAX=1 RCPTMAX=1 MAILMAX=1", 4),
];
