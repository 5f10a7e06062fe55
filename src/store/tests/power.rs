//! The power fails at every sync of a run, a process is killed, a disk fills up: what was
//! acknowledged is there exactly once, and of the rest each operation entirely or not at all.

use super::model::{Op, World, expect_sound, new_accounts};
use super::support::*;
use crate::mail::*;
use crate::store::simdisk::{Seeded, SimDisk};
use crate::store::*;

/// A run whose operations come one after another; what it acknowledged, and what was in flight.
async fn run(disk: &SimDisk, seed: u64, ops: usize) -> Option<(World, Option<Op>)> {
    let store = match open(disk) {
        Ok(store) => store,
        Err(_) => return None,
    };
    let mut random = Seeded::new(seed);
    let mut world = World::new();
    let mut in_flight = None;
    for _ in 0..ops {
        let op = Op::random(&mut random);
        let before = world.clone();
        match op.run(&store).await {
            Ok(()) => assert!(world.apply(&op)),
            Err(_) if disk.is_off() => {
                world = before;
                in_flight = Some(op);
                break;
            }
            Err(_) => assert!(!world.clone().apply(&op)),
        }
    }
    store.close().await;
    Some((world, in_flight))
}

/// A disk with two accounts and some mail, its power on.
fn prepared(seed: u64) -> SimDisk {
    let disk = SimDisk::new();
    smol::block_on(async {
        let store = open(&disk).unwrap();
        expect_whole_log(&disk);
        new_accounts(&store).await;
        store.close().await;
    });
    // Whatever is durable and nothing else.
    disk.after_power_cut(seed)
}

#[test]
fn a_power_cut_at_any_sync_loses_nothing_acknowledged() {
    const OPS: usize = 30;
    let mut cuts = 0;
    for seed in 100..106 {
        let start = prepared(seed);
        let whole = start.after_kill();
        smol::block_on(run(&whole, seed, OPS));
        for cut in 0..whole.syncs() {
            let disk = start.after_kill();
            disk.cut_at(cut);
            let (world, in_flight) =
                smol::block_on(run(&disk, seed, OPS)).unwrap_or_else(|| (World::new(), None));
            let disk = disk.after_power_cut(seed * 1000 + cut);
            // It may fail again while the store is being opened.
            disk.cut_at(cut % 7);
            if let Ok(store) = open(&disk) {
                smol::block_on(store.close());
            }
            let disk = disk.after_power_cut(seed * 2000 + cut);
            smol::block_on(async {
                let store = open(&disk).unwrap();
                expect_whole_log(&disk);
                let found = World::of(&store).await;
                let mut after = world.clone();
                if let Some(op) = &in_flight {
                    after.apply(op);
                }
                assert!(
                    found == world || found == after,
                    "seed {seed}, cut {cut}, in flight {in_flight:?}\nfound {found:?}\nacknowledged {world:?}"
                );
                expect_sound(&store).await;
                // It goes on from there.
                deliver(&store, AccountId(1), &text(7, 500)).await.unwrap();
                store.close().await;
            });
            cuts += 1;
        }
    }
    assert!(cuts > 100, "{cuts} cuts");
}

#[test]
fn a_power_cut_under_load_from_many_loses_nothing_acknowledged() {
    for seed in 0..25 {
        let start = prepared(seed);
        let disk = start.after_kill();
        disk.cut_at(3 + seed);
        // Each client delivers its own messages to both accounts and notes what was taken.
        let acknowledged = smol::block_on(async {
            let store = open(&disk).unwrap();
            expect_whole_log(&disk);
            let clients = (0..6).map(|client| {
                let store = store.clone();
                smol::spawn(async move {
                    let mut taken = Vec::new();
                    for n in 0..20 {
                        let number = client * 100 + n;
                        if deliver_to_both(&store, number).await.is_err() {
                            break;
                        }
                        taken.push(number);
                    }
                    taken
                })
            });
            let clients: Vec<_> = clients.collect();
            let mut all = Vec::new();
            for client in clients {
                all.extend(client.await);
            }
            store.close().await;
            all
        });
        let disk = disk.after_power_cut(seed);
        smol::block_on(async {
            let store = open(&disk).unwrap();
            expect_whole_log(&disk);
            expect_sound(&store).await;
            let alice = numbers(&store, AccountId(1)).await;
            let bob = numbers(&store, AccountId(2)).await;
            assert_eq!(alice, bob, "half a delivery");
            let mut once = alice.clone();
            once.dedup();
            assert_eq!(once, alice, "a delivery twice");
            for number in acknowledged {
                assert!(alice.contains(&number), "seed {seed}: {number} is lost");
            }
            store.close().await;
        });
    }
}

async fn deliver_to_both(store: &Store, number: u64) -> Result<()> {
    let size = if number.is_multiple_of(7) {
        600_000
    } else {
        2000
    };
    let staged = stage(store, &text(number, size)).await?;
    let to = |account| Delivery {
        account: AccountId(account),
        mailbox: MailboxName::inbox(),
        flags: FlagNames::default(),
    };
    store
        .deliver(staged, DATE, vec![to(1), to(2)], None)
        .await
        .map(|_| ())
}

/// The numbers of the messages in an INBOX, sorted.
async fn numbers(store: &Store, account: AccountId) -> Vec<u64> {
    let inbox = inbox(store, account).await;
    let mut numbers = Vec::new();
    for message in messages(store, inbox.id).await {
        let bytes = bytes_of(store, message.email).await.unwrap();
        let shown = String::from_utf8_lossy(&bytes);
        let number = shown.split("message ").nth(1).unwrap();
        let number: u64 = number.split("\r\n").next().unwrap().parse().unwrap();
        assert_eq!(bytes, text(number, bytes.len()));
        numbers.push(number);
    }
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_full_disk_refuses_keeps_and_goes_on() {
    let mut refused = 0;
    for seed in 0..30 {
        let disk = prepared(seed);
        smol::block_on(async {
            let store = open(&disk).unwrap();
            expect_whole_log(&disk);
            let mut random = Seeded::new(seed);
            let mut world = World::new();
            for round in 0..60 {
                // From time to time anything from one block to plenty is left.
                if random.below(6) == 0 {
                    disk.set_capacity(Some(disk.used() + 512 * random.below(60)));
                } else if random.below(3) == 0 {
                    disk.set_capacity(None);
                }
                let op = Op::random(&mut random);
                let expected = world.clone().apply(&op);
                match op.run(&store).await {
                    Ok(()) => assert!(world.apply(&op), "{seed}.{round} {op:?}"),
                    Err(Error::Full) => refused += 1,
                    Err(error) => assert!(!expected, "{seed}.{round} {op:?}: {error:?}"),
                }
            }
            disk.set_capacity(None);
            deliver(&store, AccountId(1), &text(seed, 500))
                .await
                .unwrap();
            world.apply(&Op::Deliver(seed, 500, vec![(1, "INBOX".into())]));
            assert_eq!(World::of(&store).await, world, "{seed}");
            expect_sound(&store).await;
            store.close().await;
            let store = open(&disk).unwrap();
            expect_whole_log(&disk);
            assert_eq!(World::of(&store).await, world, "{seed} reopened");
            expect_sound(&store).await;
            store.close().await;
        });
    }
    assert!(refused > 30, "refused {refused} times");
}

#[test]
fn a_disk_that_fails_now_and_then_loses_nothing_acknowledged() {
    const OPS: usize = 25;
    let (mut failed, mut runs) = (0, 0);
    for seed in 200..206 {
        let start = prepared(seed);
        let whole = start.after_kill();
        smol::block_on(run(&whole, seed, OPS));
        for sync in 2..whole.syncs() {
            let disk = start.after_kill();
            // Once, or so often that what failed can't be taken back.
            let syncs = sync..sync + [1, 2, 3, 5, 9][(sync % 5) as usize];
            let forgets = sync % 3 == 0;
            match forgets {
                true => disk.forget_syncs(syncs),
                false => disk.fail_syncs(syncs),
            }
            let (mut worlds, errors) = smol::block_on(run_on(&disk, seed, OPS));
            failed += errors;
            let disk = match sync % 2 {
                0 if !forgets => disk.after_kill(),
                _ => disk.after_power_cut(seed + sync),
            };
            smol::block_on(async {
                let store = open(&disk).unwrap();
                expect_whole_log(&disk);
                let found = World::of(&store).await;
                let last = worlds.pop();
                assert!(
                    last.as_ref() == Some(&found) || worlds.contains(&found),
                    "seed {seed}, sync {sync}\nfound {found:?}\nacknowledged {last:?}"
                );
                expect_sound(&store).await;
                store.close().await;
            });
            runs += 1;
        }
    }
    assert!(failed > 60, "{failed} errors in {runs} runs");
}

/// A run that goes on after errors, and ends without a close. The worlds that may be found
/// afterwards, the likeliest last, and how many operations failed.
async fn run_on(disk: &SimDisk, seed: u64, ops: usize) -> (Vec<World>, usize) {
    let store = open(disk).unwrap();
    let mut random = Seeded::new(seed);
    let (mut worlds, mut errors) = (vec![World::new()], 0);
    for _ in 0..ops {
        let op = Op::random(&mut random);
        let result = op.run(&store).await;
        let with = |world: &World| {
            let mut world = world.clone();
            world.apply(&op).then_some(world)
        };
        match result {
            // What failed before is settled by now.
            Ok(()) => worlds = vec![worlds.last().and_then(with).unwrap()],
            Err(Error::Storage(_) | Error::Full) => {
                errors += 1;
                let made = worlds.last().and_then(with);
                worlds.splice(0..0, made);
            }
            Err(_) => {}
        }
    }
    let disk = disk.clone();
    // The store is left as it is: a copy of the disk tells what a kill would leave.
    drop(store);
    disk.fail_syncs(0..0);
    (worlds, errors)
}
