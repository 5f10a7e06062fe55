//! What the owner of the server stops, asks for and limits.

use super::*;

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
