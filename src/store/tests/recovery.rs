//! Starts after starts: the power fails while the store is made, while it recovers, and again
//! and again in the life of one disk.

use super::model::{Op, World, expect_sound, new_accounts};
use super::support::*;
use crate::address::Address;
use crate::mail::*;
use crate::store::disk::Disk;
use crate::store::simdisk::{Seeded, SimDisk};
use crate::store::*;
use std::sync::atomic::Ordering::Relaxed;

const ALICE: AccountId = AccountId(1);

/// Makes a store with an account; whether that was acknowledged.
async fn make(disk: &SimDisk) -> bool {
    let Ok(store) = open(disk) else { return false };
    let address = Address::parse("alice@demo.test").unwrap();
    let made = store.create_account(address, credential()).await;
    store.close().await;
    made.is_ok()
}

#[test]
fn the_power_fails_while_the_store_is_made() {
    let whole = SimDisk::new();
    assert!(smol::block_on(make(&whole)));
    assert!(whole.syncs() > 3, "{}", whole.syncs());
    for cut in 0..whole.syncs() {
        for seed in 0..30 {
            let disk = SimDisk::new();
            disk.cut_at(cut);
            let acknowledged = smol::block_on(make(&disk));
            let disk = disk.after_power_cut(seed);
            smol::block_on(async {
                let again = make(&disk).await;
                assert!(
                    !(again && acknowledged),
                    "cut {cut}, seed {seed}: it is lost"
                );
                let store = open(&disk).unwrap_or_else(|error| {
                    panic!("cut {cut}, seed {seed}: {error}, files {:?}", disk.names())
                });
                deliver(&store, ALICE, &text(1, 3000)).await.unwrap();
                expect_sound(&store).await;
                store.close().await;
            });
        }
    }
}

#[test]
fn a_database_that_lost_its_first_bytes_is_not_made_anew() {
    let disk = SimDisk::new();
    smol::block_on(async {
        assert!(make(&disk).await);
        let file = disk.open("meta.redb", false).unwrap();
        file.write_at(0, &[0; 64]).unwrap();
        let length = disk.length("meta.redb");
        assert!(open(&disk).is_err());
        assert_eq!(disk.length("meta.redb"), length);
    });
}

/// A disk of a process that was killed with `count` messages in nothing but the log, and one more
/// under way.
fn killed(count: u64) -> SimDisk {
    let disk = SimDisk::new();
    smol::block_on(async {
        let store = open(&disk).unwrap();
        new_accounts(&store).await;
        store.close().await;
        let store = open(&disk).unwrap();
        for n in 0..count {
            let size = if n == 1 { 600_000 } else { 3000 };
            deliver(&store, ALICE, &text(n, size)).await.unwrap();
        }
        // One more, of which only a part becomes durable.
        disk.cut_at(disk.syncs());
        deliver(&store, ALICE, &text(99, 70_000)).await.unwrap_err();
        let killed = disk.after_kill();
        store.close().await;
        killed
    })
}

async fn seeds(store: &Store) -> Vec<u64> {
    let id = inbox(store, ALICE).await.id;
    let mut seeds = Vec::new();
    for message in messages(store, id).await {
        let bytes = bytes_of(store, message.email).await.unwrap();
        let shown = String::from_utf8_lossy(&bytes[..80.min(bytes.len())]).into_owned();
        let seed = shown.split("message ").nth(1).unwrap();
        seeds.push(seed.split("\r\n").next().unwrap().parse().unwrap());
    }
    seeds
}

#[test]
fn the_power_fails_at_any_sync_of_a_recovery_and_of_the_one_after() {
    let start = killed(6);
    for seed in 0..5 {
        // The last batch is whole, torn, or missing.
        let begin = match seed {
            0 => start.after_kill(),
            _ => start.after_power_cut(seed),
        };
        for first in 0..7 {
            for second in 0..6 {
                let mut disk = begin.after_kill();
                for cut in [first, second] {
                    disk.cut_at(cut);
                    if let Ok(store) = open(&disk) {
                        // What readers see now must stay.
                        smol::block_on(store.close());
                    }
                    disk = disk.after_power_cut(seed * 100 + cut);
                }
                smol::block_on(async {
                    let store = open(&disk).unwrap();
                    expect_whole_log(&disk);
                    let found = seeds(&store).await;
                    let whole = found == [0, 1, 2, 3, 4, 5, 99];
                    assert!(
                        whole || found == [0, 1, 2, 3, 4, 5],
                        "seed {seed}, cuts {first} {second}: {found:?}"
                    );
                    expect_sound(&store).await;
                    store.close().await;
                });
            }
        }
    }
}

/// Closes, kills and power cuts in turn, on one disk that gets older: what earlier lives left
/// in its files must mean nothing to later ones.
#[test]
fn a_disk_lives_through_many_cuts() {
    for seed in 300..306 {
        let mut random = Seeded::new(seed);
        let mut disk = SimDisk::new();
        let mut world = World::new();
        smol::block_on(async {
            let store = open(&disk).unwrap();
            new_accounts(&store).await;
            store.close().await;
        });
        let mut cuts = 0;
        for life in 0..40 {
            let ops = random.below(7);
            let end = random.below(4);
            if end > 1 {
                disk.cut_at(random.below(8));
            }
            let mut in_flight = None;
            smol::block_on(async {
                let Ok(store) = open(&disk) else {
                    return;
                };
                for _ in 0..ops {
                    let op = Op::random(&mut random);
                    match op.run(&store).await {
                        Ok(()) => assert!(world.apply(&op)),
                        Err(_) if disk.is_off() => {
                            in_flight = Some(op);
                            break;
                        }
                        Err(_) => assert!(!world.clone().apply(&op)),
                    }
                }
                if end == 0 {
                    store.close().await;
                }
                if end == 1 {
                    disk = disk.after_kill();
                }
            });
            if disk.is_off() || end > 1 {
                cuts += 1;
                disk = disk.after_power_cut(seed * 1000 + life);
            }
            let copy = disk.after_kill();
            smol::block_on(async {
                // A look at a copy, so that the lives of the disk itself differ.
                let store = open(&copy).unwrap();
                expect_whole_log(&copy);
                let found = World::of(&store).await;
                if found != world {
                    let mut after = world.clone();
                    let op = in_flight
                        .as_ref()
                        .unwrap_or_else(|| panic!("seed {seed}, life {life}"));
                    after.apply(op);
                    assert!(found == after, "seed {seed}, life {life}: {op:?}");
                    world = after;
                }
                expect_sound(&store).await;
                store.close().await;
            });
        }
        assert!(cuts > 5, "{cuts}");
    }
}

/// The kernel says that a checkpoint could not be made durable, and shows it as if it were.
#[test]
fn a_checkpoint_that_is_only_read_as_made_is_made_again() {
    for skipped in 0..4 {
        for failures in 1..4 {
            let disk = SimDisk::new();
            smol::block_on(async {
                let store = open(&disk).unwrap();
                new_accounts(&store).await;
                deliver(&store, ALICE, &text(0, 3000)).await.unwrap();
                let checkpoints = store.counters().checkpoints.load(Relaxed);
                let first = disk.syncs() + skipped;
                disk.forget_syncs(first..first + failures);
                // Larger than the log takes: a checkpoint of its own.
                let mut acknowledged = 0;
                for round in 0..6u64 {
                    let value = vec![round as u8; 60_000];
                    let notes = (0..18).map(|n| Note {
                        kind: "note",
                        key: n.to_string(),
                        value: Some(value.clone()),
                    });
                    if store.note(notes.collect()).await.is_ok() {
                        acknowledged = round + 1;
                    }
                    deliver(&store, ALICE, &text(round + 1, 3000)).await.ok();
                }
                assert!(acknowledged > 0);
                assert!(store.counters().checkpoints.load(Relaxed) > checkpoints);
                let expected = seeds(&store).await;
                assert!(expected.len() > 3, "{expected:?}");
                let cut = disk.after_power_cut(skipped * 10 + failures);
                store.close().await;
                let store = open(&cut).unwrap();
                expect_whole_log(&cut);
                assert_eq!(seeds(&store).await, expected, "{skipped} {failures}");
                let note = store.look(|it| it.record("note", "3")).unwrap().unwrap();
                assert_eq!(u64::from(note[0]) + 1, acknowledged);
                expect_sound(&store).await;
                store.close().await;
            });
        }
    }
}
