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

#[test]
fn what_is_queued_goes_out_once_and_within_the_limits() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        bench.world.slow.store(true, SeqCst);
        for n in 0..40 {
            let to = [
                format!("a{n}@x.test"),
                format!("b{n}@x.test"),
                format!("c@y{n}.test"),
            ];
            let to: Vec<&str> = to.iter().map(String::as_str).collect();
            bench.queue("ann@here.test", &to, |_| ()).await;
        }
        bench.until("all gone", |it| it.items().is_empty()).await;
        let mut taken = bench.world.taken.lock().unwrap().clone();
        taken.sort();
        assert_eq!(taken.len(), 120);
        taken.dedup();
        assert_eq!(taken.len(), 120);
        // Recipients at one destination share an attempt.
        assert_eq!(bench.world.attempts.load(SeqCst), 80);
        let most = |n: usize| bench.world.most[n].load(SeqCst);
        assert!(most(0) <= 8 && most(1) <= 3, "{} {}", most(0), most(1));
        assert!(most(0) > 3, "nothing ran side by side: {}", most(0));
        assert_eq!(bench.inbox().len(), 0);
        bench.end().await;
    });
}

/// Recipients of `smart.test` go in one attempt for all domains, those of `mx.test` in one
/// each; both kinds share the limit of their server.
#[test]
fn domains_behind_one_server_share_its_limit() {
    for (zone, attempts) in [("smart", 12), ("mx", 12 * 4)] {
        smol::block_on(async {
            let bench = Bench::new(&SimDisk::new()).await;
            bench.world.slow.store(true, SeqCst);
            for n in 0..12 {
                let to = [0, 1, 2, 3].map(|k| format!("a@d{}.{zone}.test", 4 * n + k));
                let to: Vec<&str> = to.iter().map(String::as_str).collect();
                bench.queue("ann@here.test", &to, |_| ()).await;
            }
            bench.until("all gone", |it| it.items().is_empty()).await;
            assert_eq!(bench.world.taken.lock().unwrap().len(), 48);
            assert_eq!(bench.world.attempts.load(SeqCst), attempts, "{zone}");
            let most = bench.world.most[1].load(SeqCst);
            assert!(most <= LIMITS.per_destination, "{zone}: {most}");
            assert!(most > 1, "{zone}: nothing ran side by side");
            bench.end().await;
        });
    }
}

#[test]
fn a_power_cut_repeats_nothing_of_the_transactions_before() {
    let disk = SimDisk::new();
    let (id, before, disk) = smol::block_on(async {
        let bench = Bench::new(&disk).await;
        bench.world.one_each.store(true, SeqCst);
        let to = ["a@x.test", "b@x.test", "gate@x.test", "c@x.test"];
        let with_notice = |item: &mut NewItem| item.recipients[1].notify.success = true;
        let id = bench.queue("ann@here.test", &to, with_notice).await;
        let recorded = |it: &Bench| {
            let recipients = it.item(id).unwrap().recipients;
            let is_done = |it: &Recipient| matches!(it.status, Status::Delivered(_));
            recipients.iter().map(is_done).collect::<Vec<_>>() == [true, true, false, false]
        };
        let at_gate = |it: &Bench| it.world.at_gate.load(SeqCst);
        bench.until("it goes on", at_gate).await;
        assert!(recorded(&bench), "{:?}", bench.item(id));
        assert_eq!(bench.inbox().len(), 1, "the notice that was asked for");
        assert_eq!(bench.world.attempts.load(SeqCst), 1);
        let before = bench.world.taken.lock().unwrap().clone();
        assert_eq!(before.len(), 2);
        let cut = disk.after_power_cut(7);
        bench.running.stop(Duration::ZERO).await;
        bench.store.close().await;
        (id, before, cut)
    });
    smol::block_on(async {
        let bench = Bench::new(&disk).await;
        bench.world.open.store(true, SeqCst);
        let gone = |it: &Bench| it.items().is_empty();
        bench.until("the rest goes", gone).await;
        let taken = bench.world.taken.lock().unwrap().clone();
        let rest = ["gate@x.test", "c@x.test"].map(|to| (id.0, to.to_owned()));
        assert_eq!(taken, rest, "after {before:?}");
        bench.end().await;
    });
}

/// Another lane, or the same again: only one attempt has him.
#[test]
fn whoever_is_on_his_way_is_not_sent_to_by_another_attempt() {
    smol::block_on(async {
        let (bench, attempter) = Bench::idle().await;
        let to = ["gate@d.turn.test", "ok@y.test"];
        let id = bench.queue("ann@here.test", &to, |_| ()).await;
        let first = job(id, "turn0", None);
        let mut first = Box::pin(attempter.run(&first));
        while bench.world.attempts.load(SeqCst) == 0 {
            assert!(future::poll_once(&mut first).await.is_none());
        }
        for turn in [0, 1] {
            bench.world.turn.store(turn, SeqCst);
            let item = bench.item(id).unwrap();
            let lanes = attempter.lanes(&item, &[], 0);
            let hops: Vec<&str> = lanes.iter().map(|it| &*it.hop).collect();
            assert_eq!(hops, ["y.test"]);
            let ended = attempter
                .run(&job(id, &format!("turn{turn}"), None))
                .or(async { panic!("it is sent again") })
                .await;
            assert!(matches!(ended, Ended::Done(Reach::Untried)), "{ended:?}");
        }
        let ended = attempter.run(&job(id, "y.test", Some("y.test"))).await;
        assert!(matches!(ended, Ended::Done(Reach::Reached)), "{ended:?}");
        bench.world.open.store(true, SeqCst);
        let ended = first.await;
        assert!(matches!(ended, Ended::Done(Reach::Reached)), "{ended:?}");
        assert_eq!(bench.item(id), None);
        assert_eq!(bench.world.taken.lock().unwrap().len(), 2);
        assert!(attempter.claims.of(id).is_empty());
        bench.end().await;
    });
}

/// What is remembered of a domain's servers may be gone when its turn has come.
#[test]
fn whoever_has_waited_for_a_domain_is_sent_to_whatever_its_hop_is_by_now() {
    smol::block_on(async {
        let (bench, attempter) = Bench::idle().await;
        let to = ["a@d.mx.test", "b@e.mx.test"];
        let id = bench.queue("ann@here.test", &to, |_| ()).await;
        let ended = attempter.run(&job(id, "mx", Some("d.mx.test"))).await;
        assert!(matches!(ended, Ended::Done(Reach::Reached)), "{ended:?}");
        let taken = bench.world.taken.lock().unwrap().clone();
        assert_eq!(taken, [(id.0, "a@d.mx.test".to_string())]);
        // Nor is it put into a second line meanwhile.
        let known = [job(id, "mx", Some("e.mx.test")).lane];
        let item = bench.item(id).unwrap();
        assert_eq!(attempter.lanes(&item, &known, 0), []);
        assert_eq!(attempter.lanes(&item, &[], 0).len(), 1);
        bench.end().await;
    });
}

#[test]
fn a_server_that_is_down_rests_for_all_its_domains_until_it_is_reached() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        bench.world.down.store(true, SeqCst);
        let first = bench.queue("ann@here.test", &["a@d0.smart.test"], |_| ());
        let first = first.await;
        bench.attempts(first, 1).await;
        let mut others = Vec::new();
        for n in 1..50 {
            let to = format!("a@d{n}.smart.test");
            others.push(bench.queue("ann@here.test", &[&to], |_| ()).await);
        }
        for id in &others {
            bench.attempts(*id, 1).await;
        }
        // None of them was tried but what began before the runner heard of the first, and each
        // says why it waits.
        let tried = bench.world.attempts.load(SeqCst);
        assert!(tried <= LIMITS.per_destination, "{tried}");
        let last = bench.item(others[48]).unwrap().recipients[0].status.clone();
        let Status::Waiting {
            last: Some(last), ..
        } = last
        else {
            panic!("{last:?}")
        };
        assert_eq!(last.enhanced, "4.4.1");
        bench.world.down.store(false, SeqCst);
        // The owner asks for one: it is tried at once, and all that comes after it too.
        let retry = QueueChange::Retry {
            at: 0,
            domain: None,
        };
        let change = vec![(others[7], retry)];
        assert_eq!(bench.store.update_queue(change, vec![]).await, Ok(1));
        bench
            .until("tried", |it| it.item(others[7]).is_none())
            .await;
        let new = bench
            .queue("ann@here.test", &["a@new.smart.test"], |_| ())
            .await;
        bench
            .until("not resting", |it| it.item(new).is_none())
            .await;
        assert_eq!(bench.world.attempts.load(SeqCst), tried + 2);
        bench.end().await;
    });
}

#[test]
fn the_owner_has_what_was_never_tried_tried_at_once() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let held_back = |it: &mut NewItem| it.recipients[0].status = Status::waiting(HOUR);
        let id = bench.queue("ann@here.test", &["a@x.test"], held_back).await;
        // A rest begins meanwhile.
        bench.world.down.store(true, SeqCst);
        let other = bench.queue("ann@here.test", &["b@x.test"], |_| ()).await;
        bench.attempts(other, 1).await;
        bench.world.down.store(false, SeqCst);
        let retry = QueueChange::Retry {
            at: 0,
            domain: None,
        };
        let change = vec![(id, retry)];
        assert_eq!(bench.store.update_queue(change, vec![]).await, Ok(1));
        bench.until("tried", |it| it.item(id).is_none()).await;
        assert!(bench.item(other).is_some());
        bench.end().await;
    });
}

#[test]
fn what_is_put_off_is_tried_again_told_and_given_back_in_the_end() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let id = bench
            .queue(
                "ann@here.test",
                &["busy@x.test", "forgotten@x.test", "ok@x.test"],
                |it| {
                    it.envelope.envelope_id = Some("QQ".into());
                },
            )
            .await;
        bench.attempts(id, 1).await;
        let next = |it: &Bench| match it.item(id).unwrap().recipients[0].status {
            Status::Waiting { next, .. } => next,
            _ => panic!("over"),
        };
        let first = next(&bench);
        assert!((270..=330).contains(&first), "{first}");
        // Not a second too early.
        bench.at(first - 31);
        Timer::after(Duration::from_millis(30)).await;
        bench.attempts(id, 1).await;
        bench.at(331);
        bench.attempts(id, 2).await;
        assert_eq!(bench.inbox().len(), 0);
        bench.at(4 * HOUR + 400);
        bench.attempts(id, 3).await;
        bench
            .until("a notice of delay", |it| it.inbox().len() == 1)
            .await;
        let told = &bench.inbox()[0];
        for expected in [
            "Action: delayed",
            "Original-Envelope-Id: QQ",
            "busy@x.test",
            "Subject: hi",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        assert!(!told.contains("Return-Path: <x>"), "{told}");
        bench.at(9 * HOUR);
        bench.attempts(id, 4).await;
        assert_eq!(bench.inbox().len(), 1, "delay is told once");
        bench.at(5 * 24 * HOUR);
        bench
            .until("it goes back", |it| it.items().is_empty())
            .await;
        let told = bench.inbox().pop().unwrap();
        assert_eq!(bench.inbox().len(), 2);
        for expected in [
            "Action: failed",
            "Status: 5.4.7",
            "smtp;450 4.2.0 busy (it could not be delivered for too long)",
            "forgotten@x.test",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        assert!(!told.contains("ok@x.test"), "{told}");
        assert_eq!(
            *bench.world.taken.lock().unwrap(),
            [(id.0, "ok@x.test".to_string())]
        );
        bench.end().await;
    });
}

#[test]
fn failures_go_where_their_sender_is_and_nowhere_from_the_null_path() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        bench
            .queue("ann+tag@here.test", &["no@x.test"], |it| {
                it.envelope.ret = Some(Ret::Full);
            })
            .await;
        bench.until("told", |it| it.inbox().len() == 1).await;
        let told = bench.inbox()[0].clone();
        for expected in [
            "mx.x.test said: 550 5.1.1 no such user",
            "\r\n\r\nSubject: hi\r\n\r\nbody\r\n",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        // To another server, from the null path.
        bench.queue("eve@z.test", &["no@x.test"], |_| ()).await;
        bench
            .until("passed on", |it| {
                let taken = it.world.taken.lock().unwrap();
                taken.iter().any(|(_, to)| to == "eve@z.test")
            })
            .await;
        // Nobody is told: the null path, a name here that is gone, who does not want it.
        bench.queue("", &["no@x.test"], |_| ()).await;
        bench.queue("gone@here.test", &["no@x.test"], |_| ()).await;
        bench
            .queue("ann@here.test", &["no@x.test"], |it| {
                it.recipients[0].notify.failure = false;
            })
            .await;
        bench.until("all gone", |it| it.items().is_empty()).await;
        assert_eq!(bench.inbox().len(), 1);
        // Who asks for it is told that it was passed on.
        bench
            .queue("ann@here.test", &["ok@x.test"], |it| {
                it.recipients[0].notify.success = true;
            })
            .await;
        bench.until("told", |it| it.inbox().len() == 2).await;
        assert!(bench.inbox()[1].contains("Action: relayed"));
        bench.end().await;
    });
}

#[test]
fn a_bug_in_one_attempt_stops_nothing() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let bug = bench.queue("ann@here.test", &["bug@x.test"], |_| ()).await;
        let good = bench.queue("ann@here.test", &["a@x.test"], |_| ()).await;
        bench
            .until("the other goes", |it| it.item(good).is_none())
            .await;
        bench.attempts(bug, 1).await;
        bench.at(400);
        bench.attempts(bug, 2).await;
        bench.end().await;
    });
}

#[test]
fn the_owner_holds_releases_retries_and_drops() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        bench.world.down.store(true, SeqCst);
        let id = bench
            .queue("ann@here.test", &["a@x.test", "b@y.test"], |_| ())
            .await;
        bench.attempts(id, 1).await;
        let change = async |change| {
            let done = bench.store.update_queue(vec![(id, change)], vec![]).await;
            assert_eq!(done, Ok(1));
        };
        change(QueueChange::Hold(true)).await;
        bench.world.down.store(false, SeqCst);
        bench.at(HOUR);
        Timer::after(Duration::from_millis(30)).await;
        assert_eq!(bench.world.taken.lock().unwrap().len(), 0);
        change(QueueChange::Hold(false)).await;
        bench.until("released", |it| it.items().is_empty()).await;
        assert_eq!(bench.world.taken.lock().unwrap().len(), 2);

        // What the owner wants is tried though its destination rests.
        bench.world.down.store(true, SeqCst);
        let one = bench.queue("ann@here.test", &["a@x.test"], |_| ()).await;
        bench.attempts(one, 1).await;
        let two = bench.queue("ann@here.test", &["b@x.test"], |_| ()).await;
        bench.attempts(two, 1).await;
        bench.world.down.store(false, SeqCst);
        let domain = Some(Domain::parse("x.test").unwrap());
        let retry = QueueChange::Retry { at: HOUR, domain };
        let changes = vec![(one, retry.clone()), (two, retry)];
        assert_eq!(bench.store.update_queue(changes, vec![]).await, Ok(2));
        bench.until("retried", |it| it.items().is_empty()).await;

        let id = bench.queue("ann@here.test", &["busy@x.test"], |_| ()).await;
        bench.attempts(id, 1).await;
        let drop = QueueChange::Drop { domain: None };
        assert_eq!(
            bench.store.update_queue(vec![(id, drop)], vec![]).await,
            Ok(1)
        );
        assert_eq!(bench.items(), []);
        assert_eq!(bench.inbox().len(), 0);
        bench.end().await;
    });
}

#[test]
fn an_attempt_that_the_owner_stops_is_none() {
    smol::block_on(async {
        let (bench, attempter) = Bench::idle().await;
        let to = ["stopped@x.test", "a@x.test"];
        let id = bench.queue("ann@here.test", &to, |_| ()).await;
        let before = bench.item(id).unwrap().recipients[0].clone();
        let ended = attempter.run(&job(id, "x.test", Some("x.test"))).await;
        assert!(matches!(ended, Ended::Done(Reach::Reached)), "{ended:?}");
        let after = bench.item(id).unwrap().recipients;
        assert_eq!(after[0], before);
        assert!(matches!(after[1].status, Status::Delivered(_)));
        // Of a server that nobody has asked nothing is known.
        let ended = attempter.run(&job(id, "x.test", Some("x.test"))).await;
        assert!(matches!(ended, Ended::Done(Reach::Untried)), "{ended:?}");
        bench.end().await;
    });
}

#[test]
fn limits_hold_at_once() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let limit = |most| {
            let limits = Limits {
                all: 8,
                per_destination: most,
            };
            *bench.world.limits.lock().unwrap() = Some(limits);
            bench.running.nudge();
        };
        let busy = |bench: &Bench| bench.world.busy[1].load(SeqCst);
        limit(1);
        for _ in 0..5 {
            bench.queue("ann@here.test", &["gate@x.test"], |_| ()).await;
        }
        bench.until("one", |it| busy(it) == 1).await;
        // While those that were begun before are still on their way.
        limit(4);
        bench.until("four", |it| busy(it) == 4).await;
        assert_eq!(bench.world.most[1].load(SeqCst), 4);
        bench.world.open.store(true, SeqCst);
        bench.until("all gone", |it| it.items().is_empty()).await;
        bench.end().await;
    });
}

#[test]
fn taking_in_thousands_lets_others_have_the_thread() {
    smol::block_on(async {
        let (bench, attempter) = Bench::idle().await;
        for _ in 0..3 * BATCH {
            bench.queue("ann@here.test", &["a@x.test"], |_| ()).await;
        }
        let mut work = Work {
            attempter: Arc::new(attempter),
            ready: Ready::default(),
            stuck: HashMap::new(),
            after: None,
            looked: None,
        };
        let mut rounds = 0;
        {
            let mut taking = Box::pin(work.take_in(0));
            while future::poll_once(&mut taking).await.is_none() {
                rounds += 1;
            }
        }
        assert_eq!(rounds, 3);
        let limits = Limits {
            all: usize::MAX,
            per_destination: usize::MAX,
        };
        let begun = std::iter::from_fn(|| work.ready.begin(&limits, 0)).count();
        assert_eq!(begun, 3 * BATCH);
        bench.end().await;
    });
}

#[test]
fn what_is_held_back_until_a_time_goes_then_and_no_earlier() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        bench
            .queue("ann@here.test", &["a@x.test"], |it| {
                it.envelope.hold_until = Some(500);
                it.recipients[0].status = Status::waiting(500);
            })
            .await;
        bench
            .queue("ann@here.test", &["busy@x.test"], |it| {
                it.envelope.deliver_by = Some(DeliverBy {
                    until: 200,
                    returns: true,
                    trace: false,
                });
            })
            .await;
        bench.at(199);
        Timer::after(Duration::from_millis(30)).await;
        assert_eq!((bench.items().len(), bench.inbox().len()), (2, 0));
        bench.at(200);
        bench.until("too late", |it| it.inbox().len() == 1).await;
        assert!(bench.inbox()[0].contains("the time that its sender gave it is over"));
        bench.at(499);
        Timer::after(Duration::from_millis(30)).await;
        assert_eq!(bench.items().len(), 1);
        bench.at(500);
        bench.until("its time", |it| it.items().is_empty()).await;
        bench.end().await;
    });
}

async fn group(bench: &Bench, name: &str, members: &[&str]) {
    let members: Vec<Address> = members.iter().map(|it| address(it)).collect();
    let made = bench
        .store
        .change_group(address(name), move |it| *it = members.clone());
    made.await.unwrap();
}

#[test]
fn recipients_here_get_what_was_held_back_where_their_addresses_lead_by_then() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let bob = bench.account("bob@here.test").await;
        let gone = bench.account("gone@here.test").await;
        let to = [
            "bob@here.test",
            "gone@here.test",
            "team@here.test",
            "a@x.test",
        ];
        group(&bench, "team@here.test", &["bob@here.test"]).await;
        let id = bench
            .queue("ann@here.test", &to, |it| {
                it.envelope.hold_until = Some(500);
                for recipient in &mut it.recipients {
                    recipient.notify.success = true;
                    recipient.status = Status::waiting(500);
                }
            })
            .await;
        bench.at(499);
        Timer::after(Duration::from_millis(30)).await;
        assert!(bench.item(id).is_some() && bench.texts(bob).is_empty());
        // Meanwhile an account goes, and a group grows.
        bench.store.delete_account(gone).await.unwrap();
        let members = ["bob@here.test", "b@x.test", "ann@here.test"];
        group(&bench, "team@here.test", &members).await;
        bench.at(500);
        bench.until("its time", |it| it.items().is_empty()).await;
        // One copy each, however often they are named.
        let kept = "Return-Path: <x>\r\nSubject: hi\r\n\r\nbody\r\n";
        assert_eq!(bench.texts(bob), [kept]);
        let mut taken = bench.world.taken.lock().unwrap().clone();
        taken.sort_by(|a, b| a.1.cmp(&b.1));
        let taken: Vec<&str> = taken.iter().map(|it| it.1.as_str()).collect();
        assert_eq!(taken, ["a@x.test", "b@x.test"]);
        let mut inbox = bench.inbox();
        assert_eq!(inbox.len(), 5, "{inbox:#?}");
        let mut take = |wanted: &str| {
            let at = inbox.iter().position(|it| it.contains(wanted));
            inbox.remove(at.unwrap_or_else(|| panic!("{wanted}")))
        };
        assert!(take("Action: delivered").contains("bob@here.test"));
        let told = take("Action: expanded");
        assert!(told.contains("Final-Recipient: rfc822;team@here.test\r\n"));
        assert!(told.contains("Future-Release-Request: until;1970-01-01T00:08:20Z"));
        assert!(!told.contains("b@x.test"), "{told}");
        let told = take("Action: failed");
        assert!(told.contains("gone@here.test") && told.contains("Status: 5.1.1"));
        let told = take("Action: relayed");
        assert!(told.contains("a@x.test") && !told.contains("b@x.test"));
        assert_eq!(inbox, [kept]);
        bench.end().await;
    });
}

#[test]
fn a_group_that_has_grown_too_large_meanwhile_goes_back_in_the_end() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let mut parts = Vec::new();
        for part in 0..3 {
            let members: Vec<String> = (0..400).map(|n| format!("m{n}@p{part}.test")).collect();
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            parts.push(format!("part{part}@here.test"));
            group(&bench, &parts[part], &members).await;
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        group(&bench, "team@here.test", &parts).await;
        let later = |it: &mut NewItem| it.recipients[0].status = Status::waiting(50);
        let id = bench
            .queue("ann@here.test", &["team@here.test"], later)
            .await;
        bench.at(50);
        bench.attempts(id, 1).await;
        let item = bench.item(id).unwrap();
        let Status::Waiting { last, .. } = &item.recipients[0].status else {
            panic!("{item:?}")
        };
        assert_eq!(last.as_ref().map(|it| it.enhanced.as_str()), Some("4.2.4"));
        bench.at(50 + POLICY.expiry);
        bench
            .until("it goes back", |it| it.item(id).is_none())
            .await;
        assert!(bench.inbox()[0].contains("Status: 5.4.7"));
        assert_eq!(bench.world.attempts.load(SeqCst), 0);
        bench.end().await;
    });
}

#[test]
fn what_was_held_back_is_tried_for_its_full_time_and_its_notice_says_so() {
    smol::block_on(async {
        const HELD: i64 = 100_000;
        let bench = Bench::new(&SimDisk::new()).await;
        let id = bench
            .queue("ann@here.test", &["busy@x.test"], |it| {
                it.envelope.hold_until = Some(HELD);
                it.recipients[0].status = Status::waiting(HELD);
            })
            .await;
        bench.at(HELD);
        bench.attempts(id, 1).await;
        bench.at(HELD + 4 * HOUR + 400);
        bench
            .until("a notice of delay", |it| it.inbox().len() == 1)
            .await;
        let told = &bench.inbox()[0];
        // Five days after the 100,000 seconds.
        let until = "Will-Retry-Until: Wed, 7 Jan 1970 03:46:40";
        assert!(told.contains(until), "{told}");
        bench.end().await;
    });
}

#[test]
fn recipients_here_wait_while_there_is_no_room() {
    smol::block_on(async {
        const RESERVE: u64 = 4 << 20;
        let disk = SimDisk::new();
        let options = Options {
            reserve: RESERVE,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(disk.clone()) as Arc<dyn Disk>, options).unwrap();
        let bench = Bench::with(store, Arc::new(World::default()));
        bench.account("ann@here.test").await;
        let bob = bench.account("bob@here.test").await;
        let later = |it: &mut NewItem| it.recipients[0].status = Status::waiting(50);
        let id = bench
            .queue("ann@here.test", &["bob@here.test"], later)
            .await;
        disk.set_capacity(Some(disk.used() + RESERVE / 2));
        bench.at(50);
        bench.attempts(id, 1).await;
        let item = bench.item(id).unwrap();
        let Status::Waiting { last, .. } = &item.recipients[0].status else {
            panic!("{item:?}")
        };
        assert_eq!(last.as_ref().map(|it| it.enhanced.as_str()), Some("4.3.1"));
        assert_eq!(bench.texts(bob).len(), 0);
        disk.set_capacity(None);
        bench.at(50 + 331);
        bench.until("room again", |it| it.item(id).is_none()).await;
        assert_eq!((bench.texts(bob).len(), bench.inbox().len()), (1, 0));
        bench.end().await;
    });
}

#[test]
fn a_power_cut_loses_nothing_and_repeats_only_what_was_not_recorded() {
    let mut repeats = 0;
    for seed in 0..40 {
        let disk = SimDisk::new();
        let queued = smol::block_on(async {
            let store = open(&disk).unwrap();
            let mut random = Seeded::new(seed);
            let mut queued = Vec::new();
            for n in 0..12 {
                let to = [
                    format!("a{n}@x.test"),
                    format!("b{n}@y{}.test", random.below(3)),
                ];
                let now = 0;
                let item = NewItem {
                    account: None,
                    ours: true,
                    name: "n".into(),
                    submitted: now,
                    envelope: Envelope::default(),
                    recipients: to.iter().map(|to| recipient(to, now)).collect(),
                };
                let message = stage(&store, b"Subject: hi\r\n\r\n").await;
                let date = DateTime { unix: 0, offset: 0 };
                let id = store.deliver(message, date, vec![], Some(item)).await;
                let id = id.unwrap().unwrap();
                queued.extend(to.map(|to| (id.0, to)));
            }
            store.close().await;
            queued
        });
        let start = disk.after_power_cut(seed);
        let world = Arc::new(World::default());
        world.slow.store(true, SeqCst);
        start.cut_at(1 + seed % 13);
        let cut = smol::block_on(async {
            let Ok(store) = open(&start) else { return 0 };
            let bench = Bench::with(store, world.clone());
            let deadline = Instant::now() + Duration::from_secs(20);
            while !start.is_off() && !bench.items().is_empty() {
                assert!(Instant::now() < deadline, "seed {seed}");
                Timer::after(Duration::from_millis(1)).await;
            }
            let running = bench.world.busy[0].load(SeqCst);
            bench.running.stop(Duration::ZERO).await;
            bench.store.close().await;
            running
        });
        let disk = start.after_power_cut(seed * 7);
        let before = world.taken.lock().unwrap().clone();
        smol::block_on(async {
            let bench = Bench::with(open(&disk).unwrap(), world.clone());
            bench
                .until("the rest goes", |it| it.items().is_empty())
                .await;
            bench.end().await;
        });
        let taken = world.taken.lock().unwrap().clone();
        for it in &queued {
            assert!(taken.contains(it), "seed {seed}: {it:?} is lost");
        }
        let twice = taken.len() - queued.len();
        repeats += twice;
        // At most what was on its way, or done and not recorded.
        assert!(
            twice <= LIMITS.all,
            "seed {seed}: {twice} twice, {cut} were running"
        );
        assert!(before.len() >= twice, "seed {seed}");
    }
    assert!(repeats < 40 * LIMITS.all / 2, "{repeats}");
}
