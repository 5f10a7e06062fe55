//! The queue at work on a disk whose power can fail, with a carrier and a clock of the test's.

use super::*;
use crate::address::{Address, Domain};
use crate::mail::outgoing::*;
use crate::mail::{AccountId, DateTime, MailboxName, UidSet};
use crate::queue::claims::Claims;
use crate::queue::ready::Limits;
use crate::queue::retry::Policy;
use crate::queue::{Recorder, Rules, Sent};
use crate::secret::{Credential, ScramKeys};
use crate::store::disk::Disk;
use crate::store::simdisk::{Seeded, SimDisk};
use crate::store::{NewItem, Options, QueueChange};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize};
use std::time::Instant;

mod going;
mod here;
mod owner;
mod power;
mod telling;

const HOUR: i64 = 3600;
const POLICY: Policy = Policy {
    first_pause: 300,
    longest_pause: 4 * HOUR,
    expiry: 5 * 24 * HOUR,
    delay_notice: 4 * HOUR,
};
const LIMITS: Limits = Limits {
    all: 8,
    per_destination: 3,
};

/// What a made-up server says to a recipient, by its local part.
#[derive(Default)]
struct World {
    clock: AtomicI64,
    /// (message, address) of each success.
    taken: Mutex<Vec<(u64, String)>>,
    attempts: AtomicUsize,
    /// Domains whose servers have been asked for.
    asked: Mutex<HashSet<String>>,
    /// On their way now, and most ever: in all, and to x.test, or the shared servers.
    busy: [AtomicUsize; 2],
    most: [AtomicUsize; 2],
    /// Whether the servers can be reached.
    down: AtomicBool,
    slow: AtomicBool,
    /// By which server the domains in `.turn.test` go.
    turn: AtomicUsize,
    /// Each recipient in a transaction of his own.
    one_each: AtomicBool,
    /// Whoever is called `gate` is taken once it is open.
    open: AtomicBool,
    /// Somebody of that name is there.
    at_gate: AtomicBool,
    /// What the owner has set instead of LIMITS.
    limits: Mutex<Option<Limits>>,
}

struct Double(Arc<World>);

fn said(code: u16, enhanced: &str, text: &str) -> Reply {
    Reply {
        code,
        enhanced: enhanced.into(),
        text: text.into(),
        server: (code > 0).then(|| "mx.x.test".into()),
    }
}

impl Carrier for Double {
    /// Domains in `.smart.test` are behind one server for all of them; what those in
    /// `.mx.test` have in common, is known once one was tried.
    fn lane(&self, _: Option<&Address>, domain: &Domain) -> Lane {
        let name = domain.as_str();
        let is_known = self.0.asked.lock().unwrap().contains(name);
        match name.split_once('.') {
            Some((_, "smart.test")) => Lane {
                hop: "smart".into(),
                domain: None,
            },
            Some((_, "turn.test")) => Lane {
                hop: format!("turn{}", self.0.turn.load(SeqCst)).into(),
                domain: None,
            },
            Some((_, "mx.test")) if is_known => Lane {
                hop: "mx".into(),
                domain: Some(domain.clone()),
            },
            _ => Lane {
                hop: name.into(),
                domain: Some(domain.clone()),
            },
        }
    }

    async fn send(&self, consignment: Consignment, recorder: &dyn Recorder) -> Sent {
        let world = &self.0;
        let hop = consignment.lane.hop.clone();
        if hop.ends_with(".mx.test") {
            world.asked.lock().unwrap().insert(hop.to_string());
            return Sent::OtherLane;
        }
        world.attempts.fetch_add(1, SeqCst);
        let mine = usize::from(["x.test", "mx", "smart"].contains(&&*hop)) + 1;
        for (busy, most) in world.busy.iter().zip(&world.most).take(mine) {
            most.fetch_max(busy.fetch_add(1, SeqCst) + 1, SeqCst);
        }
        if world.slow.load(SeqCst) {
            Timer::after(Duration::from_millis(3)).await;
        }
        let mut outcomes = Vec::new();
        for place in consignment.recipients {
            let address = &consignment.item.recipients[place].address;
            while address.local() == "gate" && !world.open.load(SeqCst) {
                world.at_gate.store(true, SeqCst);
                Timer::after(Duration::from_millis(1)).await;
            }
            let outcome = match address.local() {
                _ if world.down.load(SeqCst) => Outcome::Deferred(said(0, "4.4.1", "no answer")),
                "busy" => Outcome::Deferred(said(450, "4.2.0", "busy")),
                "no" => Outcome::Failed(said(550, "5.1.1", "no such user")),
                "forgotten" => continue,
                "stopped" if !world.open.load(SeqCst) => {
                    Outcome::Deferred(crate::queue::letter::called_off())
                }
                "bug" => {
                    world.busy.iter().take(mine).for_each(|it| {
                        it.fetch_sub(1, SeqCst);
                    });
                    panic!("a bug in the carrier");
                }
                _ => {
                    let id = consignment.item.id.0;
                    world.taken.lock().unwrap().push((id, address.to_string()));
                    Outcome::Delivered {
                        reply: said(250, "2.0.0", "ok"),
                        notifies: false,
                        keeps_time: false,
                    }
                }
            };
            outcomes.push((place, outcome));
            if world.one_each.load(SeqCst)
                && let Some(done) = outcomes.last()
            {
                recorder.record(vec![done.clone()]).await;
            }
        }
        world.busy.iter().take(mine).for_each(|it| {
            it.fetch_sub(1, SeqCst);
        });
        Sent::Done(outcomes, None)
    }
}

struct Bench {
    store: Store,
    world: Arc<World>,
    running: Running,
}

impl Bench {
    async fn new(disk: &SimDisk) -> Bench {
        let store = open(disk).unwrap();
        // It may be there from an earlier life.
        let _ = store
            .create_account(address("ann@here.test"), credential())
            .await;
        let world = Arc::new(World::default());
        Bench::with(store, world)
    }

    fn with(store: Store, world: Arc<World>) -> Bench {
        let attempter = attempter(&store, &world);
        Bench {
            store,
            world,
            running: Runner::start(attempter),
        }
    }

    /// Without the runner: the test begins the attempts.
    async fn idle() -> (Bench, Attempter<Double>) {
        let bench = Bench::new(&SimDisk::new()).await;
        bench.running.signals.stopping.store(true, SeqCst);
        bench.running.nudge();
        bench
            .until("stopped", |it| it.running.task.is_finished())
            .await;
        let attempter = attempter(&bench.store, &bench.world);
        (bench, attempter)
    }

    async fn queue(&self, sender: &str, to: &[&str], change: impl FnOnce(&mut NewItem)) -> QueueId {
        let now = self.world.clock.load(SeqCst);
        let mut item = NewItem {
            account: Some(AccountId(1)),
            ours: true,
            name: "7f".into(),
            submitted: now,
            envelope: Envelope {
                sender: Address::parse(sender).ok(),
                ..Envelope::default()
            },
            recipients: to.iter().map(|to| recipient(to, now)).collect(),
        };
        change(&mut item);
        let message = stage(
            &self.store,
            b"Return-Path: <x>\r\nSubject: hi\r\n\r\nbody\r\n",
        )
        .await;
        let date = DateTime {
            unix: now,
            offset: 0,
        };
        let queued = self.store.deliver(message, date, vec![], Some(item));
        queued.await.unwrap().unwrap()
    }

    fn items(&self) -> Vec<QueueItem> {
        self.store
            .look(|it| it.queue_items(QueueId(0), 1000))
            .unwrap()
    }

    fn item(&self, id: QueueId) -> Option<QueueItem> {
        self.store.look(|it| it.queue_item(id)).unwrap()
    }

    /// Moves the clock.
    fn at(&self, now: i64) {
        self.world.clock.store(now, SeqCst);
        self.running.nudge();
    }

    async fn until(&self, what: &str, done: impl Fn(&Bench) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}",
                self.items().first()
            );
            Timer::after(Duration::from_millis(2)).await;
        }
    }

    async fn attempts(&self, id: QueueId, wanted: u32) {
        self.until("attempts", |it| {
            let item = it.item(id).unwrap();
            item.recipients.iter().all(|it| match it.status {
                Status::Waiting { attempts, .. } => attempts == wanted,
                _ => true,
            })
        })
        .await;
    }

    async fn account(&self, name: &str) -> AccountId {
        let made = self.store.create_account(address(name), credential());
        made.await.unwrap()
    }

    /// The messages in ann's INBOX.
    fn inbox(&self) -> Vec<String> {
        self.texts(AccountId(1))
    }

    /// The messages in an account's INBOX.
    fn texts(&self, account: AccountId) -> Vec<String> {
        let found = self.store.look(|it| {
            let inbox = it.mailbox(account, &MailboxName::inbox())?.unwrap();
            let mut emails = Vec::new();
            let all = UidSet::from_ranges(vec![(1, u32::MAX)]);
            it.messages(inbox.id, &all, |message| {
                emails.push(message.email);
                Ok(true)
            })?;
            let mut texts = Vec::new();
            for email in emails {
                let mut bytes = Vec::new();
                it.blob(email)?.read(0..u32::MAX, &mut bytes)?;
                texts.push(String::from_utf8(bytes).unwrap());
            }
            Ok(texts)
        });
        found.unwrap()
    }

    async fn end(self) {
        self.running.stop(Duration::from_secs(5)).await;
        self.store.close().await;
    }
}

fn attempter(store: &Store, world: &Arc<World>) -> Attempter<Double> {
    let (clock, chosen) = (world.clone(), world.clone());
    Attempter {
        store: store.clone(),
        carrier: Double(world.clone()),
        rules: Box::new(move || Rules {
            policy: POLICY,
            limits: chosen.limits.lock().unwrap().unwrap_or(LIMITS),
            hostname: "mail.here.test".into(),
            administrators: vec![address("gone@here.test"), address("ann@here.test")],
        }),
        claims: Claims::default(),
        now: Box::new(move || clock.clock.load(SeqCst)),
    }
}

fn job(id: QueueId, hop: &str, domain: Option<&str>) -> Job {
    let mut ready = Ready::default();
    let lane = Lane {
        hop: hop.into(),
        domain: domain.map(|it| Domain::parse(it).unwrap()),
    };
    ready.add(id, 0, false, vec![lane]);
    ready.begin(&LIMITS, 0).unwrap()
}

fn credential() -> Credential {
    Credential {
        verifier: "x".into(),
        scram: ScramKeys {
            salt: vec![1],
            iterations: 1,
            stored_key: [2; 32],
            server_key: [3; 32],
        },
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn recipient(to: &str, now: i64) -> Recipient {
    Recipient {
        address: address(to),
        notify: Notify::default(),
        original: Some(format!("rfc822;{to}")),
        accepted: None,
        status: Status::waiting(now),
    }
}

fn open(disk: &SimDisk) -> Result<Store> {
    let options = Options {
        reserve: 0,
        ballast: 0,
        ..Options::default()
    };
    Store::open_on(Arc::new(disk.clone()) as Arc<dyn Disk>, options)
}

async fn stage(store: &Store, bytes: &[u8]) -> crate::store::Staged {
    let mut staging = store.stage(None).await.unwrap();
    staging.write(bytes).await.unwrap();
    staging.finish().await.unwrap()
}
