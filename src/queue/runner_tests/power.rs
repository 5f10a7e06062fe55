//! Power that fails between a success and its record.

use super::*;

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
