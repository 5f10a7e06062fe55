//! The log: read again after a kill, whole or damaged; what looks like a part of it and isn't;
//! that it goes away.

use super::model::expect_sound;
use super::support::*;
use crate::mail::*;
use crate::store::disk::Disk;
use crate::store::redo::{HEADER, Header};
use crate::store::schema::{STATE, STATE_LOG_KEY};
use crate::store::simdisk::SimDisk;
use crate::store::*;
use std::sync::atomic::Ordering::Relaxed;

const ALICE: AccountId = AccountId(1);

/// A closed store with an account, then one with `count` messages more that was killed.
fn killed(count: u64) -> SimDisk {
    let disk = SimDisk::new();
    smol::block_on(async {
        let store = open(&disk).unwrap();
        account(&store, "alice@demo.test").await;
        store.close().await;
        let store = open(&disk).unwrap();
        for n in 0..count {
            deliver(&store, ALICE, &text(n, 3000)).await.unwrap();
        }
        let checkpoints = store.counters().checkpoints.load(Relaxed);
        assert_eq!(checkpoints, 0, "nothing but the log has it");
        let killed = disk.after_kill();
        store.close().await;
        killed
    })
}

fn log_key(disk: &SimDisk) -> u64 {
    let store = open(&disk.after_kill()).unwrap();
    store
        .look(|it| {
            let state = STATE.read(&it.txn)?;
            Ok(state.get(STATE_LOG_KEY)?.unwrap().value())
        })
        .unwrap()
}

/// Where each batch begins in the only segment, with its header.
fn batches(disk: &SimDisk) -> Vec<(u64, Header)> {
    let key = log_key(disk);
    let file = disk.open(SEGMENT, false).unwrap();
    let mut found = Vec::new();
    let mut at = 0;
    let mut bytes = [0; HEADER];
    while file.read_at(at, &mut bytes).is_ok()
        && let Some(header) = Header::decode(&bytes, key)
    {
        found.push((at, header));
        at = header.end(at).unwrap();
    }
    found
}

const SEGMENT: &str = "mail/00000001.seg";

async fn seeds(store: &Store) -> Vec<u64> {
    let mut seeds = Vec::new();
    for message in messages(store, inbox(store, ALICE).await.id).await {
        let bytes = bytes_of(store, message.email).await.unwrap();
        let found = (0..40).find(|&seed| text(seed, 3000) == bytes);
        seeds.push(found.unwrap());
    }
    seeds
}

#[test]
fn what_only_the_log_has_is_there_after_a_kill() {
    let mut disk = killed(5);
    smol::block_on(async {
        for _ in 0..2 {
            let store = open(&disk).unwrap();
            assert_eq!(seeds(&store).await, [0, 1, 2, 3, 4]);
            expect_sound(&store).await;
            disk = disk.after_kill();
            store.close().await;
        }
    });
}

#[test]
fn a_damaged_batch_costs_what_it_wrote_and_no_more() {
    let disk = killed(5);
    let batches = batches(&disk);
    let number = batches.len() - 5;
    // The redo of the third, and a byte in the message of the fourth.
    let (start, header) = batches[number + 2];
    disk.damage(SEGMENT, header.redo_start(start).unwrap() as usize + 9);
    disk.damage(SEGMENT, batches[number + 3].0 as usize + HEADER + 500);
    smol::block_on(async {
        let store = open(&disk).unwrap();
        let inbox = inbox(&store, ALICE).await;
        // The fourth and fifth wrote the mailbox's row again, and its block: all rows are there.
        let found = messages(&store, inbox.id).await;
        assert_eq!(found.len(), 5);
        for (n, message) in found.iter().enumerate() {
            let bytes = bytes_of(&store, message.email).await;
            match n {
                2 | 3 => assert!(matches!(bytes, Err(Error::Corrupt(_))), "{n}: {bytes:?}"),
                _ => assert_eq!(bytes.unwrap(), text(n as u64, 3000)),
            }
        }
        deliver(&store, ALICE, &text(9, 3000)).await.unwrap();
        store.close().await;
        // It may have been a compaction's.
        assert!(disk.names().contains(&"mail/keep".to_string()));
    });
}

#[test]
fn a_batch_that_is_not_whole_was_never_made() {
    for damage in [0, 12, HEADER + 700] {
        let disk = killed(3);
        let (start, _) = *batches(&disk).last().unwrap();
        disk.damage(SEGMENT, start as usize + damage);
        smol::block_on(async {
            let store = open(&disk).unwrap();
            assert_eq!(seeds(&store).await, [0, 1]);
            deliver(&store, ALICE, &text(7, 3000)).await.unwrap();
            let again = disk.after_kill();
            store.close().await;
            let store = open(&again).unwrap();
            assert_eq!(seeds(&store).await, [0, 1, 7]);
            expect_sound(&store).await;
            store.close().await;
        });
    }
}

#[test]
fn what_looks_like_a_batch_is_none() {
    let disk = killed(2);
    let (start, last) = *batches(&disk).last().unwrap();
    let end = last.end(start).unwrap();
    let (key, payload) = (log_key(&disk), [0; 100]);
    let forged = |key: u64, sequence: u64| {
        // Takes the account away.
        let redo = [5, 2, 0, 0, 0, 1, 0];
        let header = Header {
            sequence,
            payload: payload.len() as u64,
            redo: redo.len() as u32,
            payload_crc: crc32fast::hash(&payload),
            redo_crc: crc32fast::hash(&redo),
        };
        [&header.encode(key)[..], &payload, &redo].concat()
    };
    let next = last.sequence + 1;
    // By somebody who doesn't know the key; of another time; inside a message.
    for batch in [
        forged(key ^ 1, next),
        forged(key, next + 1),
        forged(key, last.sequence),
        forged(key, next + (1 << 32)),
        [vec![0; 50], forged(key, next)].concat(),
    ] {
        let disk = disk.after_kill();
        let file = disk.open(SEGMENT, false).unwrap();
        file.write_at(end, &batch).unwrap();
        smol::block_on(async {
            let store = open(&disk).unwrap();
            assert_eq!(seeds(&store).await, [0, 1]);
            expect_sound(&store).await;
            store.close().await;
        });
    }
    // The real thing would have been taken.
    let file = disk.open(SEGMENT, false).unwrap();
    file.write_at(end, &forged(key, next)).unwrap();
    smol::block_on(async {
        let store = open(&disk).unwrap();
        assert_eq!(deliver(&store, ALICE, b"x").await, Err(Error::NoAccount));
        store.close().await;
    });
}

#[test]
fn a_batch_that_failed_never_comes_back() {
    // How many syncs fail: that of the batch; its removal; the checkpoint too, for a while.
    for failures in 1..8 {
        let disk = killed(1);
        smol::block_on(async {
            let store = open(&disk).unwrap();
            deliver(&store, ALICE, &text(1, 3000)).await.unwrap();
            disk.fail_syncs(disk.syncs()..disk.syncs() + failures);
            assert!(deliver(&store, ALICE, &text(2, 3000)).await.is_err());
            let mut tries = 0;
            // Shorter, so that it doesn't cover what failed.
            while deliver(&store, ALICE, b"short").await.is_err() {
                tries += 1;
                assert!(tries < 20);
            }
            let killed = disk.after_kill();
            assert_eq!(
                messages(&store, inbox(&store, ALICE).await.id).await.len(),
                3
            );
            store.close().await;
            let store = open(&killed).unwrap();
            let found = messages(&store, inbox(&store, ALICE).await.id).await;
            assert_eq!(found.len(), 3, "after {failures} failures");
            assert_eq!(bytes_of(&store, found[2].email).await.unwrap(), b"short");
            expect_sound(&store).await;
            store.close().await;
        });
    }
}

#[test]
fn the_log_goes_away_and_leaves_no_segment_without_mail() {
    smol::block_on(async {
        let disk = SimDisk::new();
        // So that segments are small.
        disk.set_capacity(Some(24 << 20));
        let store = open(&disk).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let id = inbox(&store, alice).await.id;
        for n in 0..100 {
            deliver(&store, alice, &text(n, 300)).await.unwrap();
        }
        let mut most = 0;
        for n in 0..3000u64 {
            let names = flags(Flags(n % 2), &[]);
            let set = uids(&[(1, 100)]);
            let origin = Origin(None);
            store
                .set_flags(id, set, FlagChange::Set, names, None, origin)
                .await
                .unwrap();
            most = most.max(disk.used());
        }
        assert!(most < 8 << 20, "{most} bytes");
        let counters = store.counters();
        let checkpoints = counters.checkpoints.load(Relaxed);
        assert!((3..60).contains(&checkpoints), "{checkpoints} checkpoints");
        expect_sound(&store).await;
        store.close().await;
        let names = disk.names().into_iter();
        let segments = names.filter(|name| name.ends_with(".seg")).count();
        assert!(segments <= 2, "{segments} segments");
    });
}

#[test]
fn a_transaction_too_large_for_the_log_is_made_at_once() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let id = inbox(&store, alice).await.id;
        for n in 0..3 {
            deliver(&store, alice, &text(n, 3000)).await.unwrap();
        }
        let before = store.counters().checkpoints.load(Relaxed);
        let value = vec![7; 300_000];
        let wrote = store.write(move |tx| {
            for key in 0..5 {
                tx.change().structures.insert(1 << 40 | key, &value[..])?;
            }
            Ok(())
        });
        wrote.await.unwrap();
        assert_eq!(store.counters().checkpoints.load(Relaxed), before + 1);
        deliver(&store, alice, &text(3, 3000)).await.unwrap();
        let disk = disk.after_kill();
        store.close().await;
        let store = open(&disk).unwrap();
        assert_eq!(messages(&store, id).await.len(), 4);
        assert_eq!(seeds(&store).await, [0, 1, 2, 3]);
        store.close().await;
    });
}

/// Waits until the writer thread has tried to make durable what it found.
async fn settled(store: &Store) {
    let inbox = MailboxName::inbox();
    store.subscribe(ALICE, inbox, true).await.ok();
}

#[test]
fn a_full_disk_keeps_nothing_of_the_log_back() {
    for room in [0, 1, 8, 20, 40, 100] {
        let disk = killed(6);
        disk.set_capacity(Some(disk.used() + room * 512));
        smol::block_on(async {
            let store = open(&disk).unwrap();
            settled(&store).await;
            assert_eq!(seeds(&store).await, [0, 1, 2, 3, 4, 5], "{room}");
            let mut taken = 6;
            while deliver(&store, ALICE, &text(taken, 3000)).await.is_ok() {
                taken += 1;
            }
            assert_eq!(seeds(&store).await.len() as u64, taken, "{room}");
            let again = disk.after_kill();
            let store = {
                store.close().await;
                open(&again).unwrap()
            };
            settled(&store).await;
            assert_eq!(seeds(&store).await.len() as u64, taken, "{room}, again");
            again.set_capacity(None);
            deliver(&store, ALICE, &text(1, 3000)).await.unwrap();
            expect_sound(&store).await;
            store.close().await;
        });
    }
}

#[test]
fn a_read_that_fails_at_the_start_costs_nothing() {
    let killed = killed(4);
    let reads = {
        let disk = killed.after_kill();
        let _store = open(&disk).unwrap();
        disk.reads()
    };
    let mut refused = 0;
    for number in 0..reads {
        let disk = killed.after_kill();
        disk.fail_reads(number..number + 1);
        smol::block_on(async {
            match open(&disk) {
                Ok(store) => {
                    settled(&store).await;
                    store.close().await;
                }
                Err(error) => {
                    assert!(matches!(error, Error::Storage(_)), "{number}: {error:?}");
                    refused += 1;
                }
            }
            let store = open(&disk).unwrap();
            assert_eq!(seeds(&store).await, [0, 1, 2, 3], "read {number} failed");
            expect_sound(&store).await;
            store.close().await;
        });
    }
    // The headers, the redo and the bytes of the batches at least.
    assert!(refused >= 12, "{refused} of {reads} starts were refused");
}

/// The bytes of every segment.
fn contents(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let names = disk.names().into_iter();
    let read = |name: String| {
        let mut bytes = vec![0; disk.length(&name).unwrap()];
        let file = disk.open(&name, false).unwrap();
        file.read_at(0, &mut bytes).unwrap();
        (name, bytes)
    };
    names.filter(|it| it.ends_with(".seg")).map(read).collect()
}

fn expect_kept(disk: &SimDisk, before: &[(String, Vec<u8>)]) {
    let now = contents(disk);
    for (name, bytes) in before {
        let kept = now.iter().find(|it| it.0 == *name);
        assert!(kept.is_some_and(|it| it.1 == *bytes), "{name}");
    }
}

#[test]
fn what_lies_behind_a_hole_in_the_log_is_kept() {
    // The header of the first batch after the mark, and of one in the middle.
    for lost in [0, 2] {
        let mut disk = killed(5);
        let batches = batches(&disk);
        let number = batches.len() - 5;
        disk.damage(SEGMENT, batches[number + lost].0 as usize + 12);
        let before = contents(&disk);
        smol::block_on(async {
            let mut there: Vec<u64> = (0..lost as u64).collect();
            for new in 10..13 {
                let store = open(&disk).unwrap();
                assert_eq!(seeds(&store).await, there);
                let id = inbox(&store, ALICE).await.id;
                deliver(&store, ALICE, &text(new, 3000)).await.unwrap();
                // No client can take it for one of those that were lost, and which those are
                // can be asked.
                let uid = messages(&store, id).await.last().unwrap().uid.get();
                assert!(uid > 5, "{uid}");
                let vanished = store.look(|it| it.vanished_since(id, 6)).unwrap();
                assert!((1..=5).all(|uid| {
                    let uid = Uid::new(uid).unwrap();
                    vanished.contains(uid) == (uid.get() as usize > lost)
                }));
                there.push(new);
                expect_sound(&store).await;
                if new == 12 {
                    // Not even where nothing is alive in a file that is known.
                    let id = inbox(&store, ALICE).await.id;
                    store.expunge(id, None, true, Origin(None)).await.unwrap();
                }
                let killed = disk.after_kill();
                store.close().await;
                expect_kept(&disk, &before);
                disk = if new == 10 { killed } else { disk };
            }
        });
    }
}

#[test]
fn a_segment_missing_in_the_middle_costs_nothing_behind_it() {
    smol::block_on(async {
        let disk = SimDisk::new();
        // So that segments are small.
        disk.set_capacity(Some(24 << 20));
        let store = open(&disk).unwrap();
        account(&store, "alice@demo.test").await;
        for n in 0..50 {
            deliver(&store, ALICE, &text(n, 100_000)).await.unwrap();
        }
        let checkpoints = store.counters().checkpoints.load(Relaxed);
        let disk = {
            let killed = disk.after_kill();
            store.close().await;
            killed
        };
        assert_eq!(checkpoints, 0, "nothing but the log has it");
        let mut before = contents(&disk);
        assert!(before.len() >= 3, "{} segments", before.len());
        let (missing, _) = before.remove(1);
        disk.remove(&missing).unwrap();
        for round in 0..2 {
            let store = open(&disk).unwrap();
            let found = messages(&store, inbox(&store, ALICE).await.id).await.len();
            assert!((5..45).contains(&found), "{found}, {round}");
            deliver(&store, ALICE, &text(1, 3000)).await.unwrap();
            store.close().await;
            expect_kept(&disk, &before);
        }
    });
}

/// Whatever fails at the start after a part of the log was lost: no number is given out a
/// second time.
#[test]
fn numbers_of_what_is_lost_are_not_given_again_though_the_first_checkpoint_fails() {
    smol::block_on(async {
        let disk = SimDisk::new();
        // So that segments are small.
        disk.set_capacity(Some(24 << 20));
        let store = open(&disk).unwrap();
        account(&store, "alice@demo.test").await;
        let id = inbox(&store, ALICE).await.id;
        for n in 0..50 {
            deliver(&store, ALICE, &text(n, 100_000)).await.unwrap();
        }
        let disk = {
            let killed = disk.after_kill();
            store.close().await;
            killed
        };
        let missing = contents(&disk).remove(1).0;
        disk.remove(&missing).unwrap();
        let next = async |store: &Store| {
            deliver(store, ALICE, &text(1, 3000)).await?;
            Ok::<_, Error>(messages(store, id).await.last().unwrap().uid.get())
        };
        let syncs = {
            let disk = disk.after_kill();
            let store = open(&disk).unwrap();
            let syncs = disk.syncs();
            store.close().await;
            syncs
        };
        let mut late = 0;
        for sync in 0..syncs {
            let disk = disk.after_kill();
            // All from there on: whatever is tried again fails too.
            disk.fail_syncs(sync..u64::MAX);
            let opened = open(&disk);
            disk.fail_syncs(0..0);
            let store = opened.or_else(|_| open(&disk)).unwrap();
            let settled = store.counters().checkpoints.load(Relaxed) > 0;
            let uid = loop {
                match next(&store).await {
                    Ok(uid) => break uid,
                    Err(error) => assert!(matches!(error, Error::Storage(_)), "{error:?}"),
                }
            };
            assert!(uid > mailbox::LOST_NUMBERS, "sync {sync}: {uid}");
            let again = next(&store).await.unwrap();
            assert_eq!(again, uid + 1, "sync {sync}: skipped once");
            late += u32::from(!settled);
            expect_sound(&store).await;
            store.close().await;
        }
        assert!(late > 0, "no first checkpoint failed");
    });
}

#[test]
fn what_a_start_could_not_sweep_goes_after_the_next_checkpoint() {
    const STRAY: &str = "mail/00000009.seg";
    for sync in 0..12 {
        let disk = killed(3);
        let stray = disk.open(STRAY, true).unwrap();
        stray.write_at(0, &[1; 100]).unwrap();
        disk.fail_syncs(sync..sync + 1);
        smol::block_on(async {
            let store = open(&disk).or_else(|_| open(&disk)).unwrap();
            settled(&store).await;
            while deliver(&store, ALICE, &text(3, 3000)).await.is_err() {}
            assert_eq!(seeds(&store).await, [0, 1, 2, 3]);
            store.close().await;
            assert_eq!(disk.length(STRAY), None, "sync {sync} failed");
            let store = open(&disk).unwrap();
            assert_eq!(seeds(&store).await, [0, 1, 2, 3]);
            expect_sound(&store).await;
            store.close().await;
        });
    }
}
