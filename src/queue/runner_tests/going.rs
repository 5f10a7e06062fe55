//! What goes out when, how much of it at once, and that it goes once.

use super::*;

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
