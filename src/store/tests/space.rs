//! What is deleted gives its space back, whatever happens meanwhile.

use super::model::expect_sound;
use super::support::*;
use crate::mail::*;
use crate::store::commit::checkpoint_room;
use crate::store::disk::Disk;
use crate::store::schema::{BLOBS, SegmentRow, segment_key};
use crate::store::simdisk::SimDisk;
use crate::store::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

fn segments(disk: &SimDisk) -> usize {
    let names = disk.names().into_iter();
    names.filter(|name| name.ends_with(".seg")).count()
}

/// Bytes in segments.
fn bytes(disk: &SimDisk) -> usize {
    let names = disk.names().into_iter();
    let segments = names.filter(|name| name.ends_with(".seg"));
    segments.filter_map(|name| disk.length(&name)).sum()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        smol::Timer::after(Duration::from_millis(10)).await;
    }
}

async fn filled(disk: &SimDisk, count: u64) -> (Store, AccountId, MailboxId) {
    let store = open(disk).unwrap();
    let alice = account(&store, "alice@demo.test").await;
    for n in 0..count {
        deliver(&store, alice, &text(n, 40_000)).await.unwrap();
    }
    let id = inbox(&store, alice).await.id;
    (store, alice, id)
}

#[test]
fn a_segment_half_dead_is_compacted_while_its_messages_are_read() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let (store, alice, id) = filled(&disk, 60).await;
        let before = bytes(&disk);
        let kept = messages(&store, id).await[41].email;
        // Taken before, read to the end after its segment is gone.
        let mut held = store.read(move |it| it.blob(kept)).await.unwrap();
        let old: Vec<String> = disk.names();
        store
            .expunge(id, Some(uids(&[(1, 40)])), true, Origin(None))
            .await
            .unwrap();
        until("the segment is compacted", || {
            bytes(&disk) < before / 2 && old.iter().any(|name| !disk.names().contains(name))
        })
        .await;
        let mut out = Vec::new();
        held.read(0..held.size(), &mut out).unwrap();
        assert_eq!(out, text(41, 40_000));
        assert_eq!(bytes_of(&store, kept).await.unwrap(), text(41, 40_000));
        expect_sound(&store).await;
        deliver(&store, alice, b"more").await.unwrap();
        store.close().await;
        let store = open(&disk).unwrap();
        expect_whole_log(&disk);
        assert_eq!(inbox(&store, alice).await.messages, 21);
        expect_sound(&store).await;
        store.close().await;
    });
}

#[test]
fn a_snapshot_keeps_a_dead_segment_until_it_ends() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        expect_whole_log(&disk);
        let alice = account(&store, "alice@demo.test").await;
        deliver(&store, alice, &text(1, 900_000)).await.unwrap();
        let id = inbox(&store, alice).await.id;
        let email = messages(&store, id).await[0].email;
        let (begun, has_begun) = async_channel::bounded(1);
        let (go, may_go) = async_channel::bounded::<()>(1);
        let reader = store.clone();
        let reader = smol::spawn(async move {
            reader
                .read(move |it| {
                    begun.send_blocking(()).unwrap();
                    may_go.recv_blocking().unwrap();
                    let mut out = Vec::new();
                    it.blob(email)?.read(0..u32::MAX, &mut out)?;
                    Ok(out)
                })
                .await
        });
        has_begun.recv().await.unwrap();
        store.expunge(id, None, true, Origin(None)).await.unwrap();
        smol::Timer::after(Duration::from_millis(1500)).await;
        // Its own, and the log's.
        assert_eq!(segments(&disk), 2);
        go.send(()).await.unwrap();
        assert_eq!(reader.await.unwrap(), text(1, 900_000));
        until("the file goes", || segments(&disk) == 1).await;
        store.close().await;
    });
}

#[test]
fn power_cuts_during_compaction_and_purge_leave_a_sound_store() {
    // How many syncs the whole takes.
    let work = |disk: SimDisk| {
        smol::block_on(async move {
            let Ok(store) = open(&disk) else { return };
            let id = inbox(&store, AccountId(1)).await.id;
            let set = Some(uids(&[(1, 30), (35, 36)]));
            store.expunge(id, set, true, Origin(None)).await.ok();
            store.delete_mailbox(AccountId(1), name("Trash")).await.ok();
            smol::Timer::after(Duration::from_millis(150)).await;
            store.close().await;
        });
    };
    let start = SimDisk::new();
    smol::block_on(async {
        let (store, alice, id) = filled(&start, 40).await;
        let trash = mailbox(&store, alice, "Trash").await.unwrap().id;
        for _ in 0..30 {
            store.copy(id, uids(&[(1, 40)]), trash).await.unwrap();
        }
        store.close().await;
    });
    let whole = start.after_kill();
    work(whole.clone());
    assert!(whole.syncs() > 6, "{}", whole.syncs());
    for cut in 0..whole.syncs() {
        let disk = start.after_kill();
        disk.cut_at(cut);
        work(disk.clone());
        let disk = disk.after_power_cut(cut);
        smol::block_on(async {
            let store = open(&disk).unwrap();
            expect_whole_log(&disk);
            expect_sound(&store).await;
            let left = inbox(&store, AccountId(1)).await;
            assert!([40, 8].contains(&left.messages), "{}", left.messages);
            for message in messages(&store, left.id).await {
                let number = u64::from(message.uid.get()) - 1;
                let found = bytes_of(&store, message.email).await.unwrap();
                assert_eq!(found, text(number, 40_000));
            }
            // What was left over is taken up again.
            store
                .expunge(left.id, None, true, Origin(None))
                .await
                .unwrap();
            store.delete_mailbox(AccountId(1), name("Trash")).await.ok();
            until("most bytes go", || bytes(&disk) < 256 << 10).await;
            expect_sound(&store).await;
            store.close().await;
        });
    }
}

#[test]
fn a_deleted_account_and_dropped_uploads_leave_no_bytes() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let (store, alice, _) = filled(&disk, 20).await;
        deliver(&store, alice, &text(3, 900_000)).await.unwrap();
        let staged = stage(&store, &text(4, 900_000)).await.unwrap();
        let mut half = store.stage(None).await.unwrap();
        half.write(&text(5, 900_000)).await.unwrap();
        assert_eq!(segments(&disk), 4);
        drop((staged, half));
        until("the uploads go", || segments(&disk) == 2).await;
        store.delete_account(alice).await.unwrap();
        // But for the log's.
        until("the mail goes", || segments(&disk) == 1).await;
        assert_eq!(deliver(&store, alice, b"x").await, Err(Error::NoAccount));
        expect_sound(&store).await;
        store.close().await;
    });
}

#[test]
fn the_reserve_refuses_mail_and_the_ballast_lets_deletes_through() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let options = Options {
            reserve: 1 << 20,
            ballast: 256 << 10,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(disk.clone()) as Arc<dyn Disk>, options).unwrap();
        assert_eq!(disk.length("ballast"), Some(256 << 10));
        let alice = account(&store, "alice@demo.test").await;
        let id = inbox(&store, alice).await.id;
        let mut mail = Vec::new();
        for n in 0..600 {
            let staged = stage(&store, &text(n, 1000)).await.unwrap();
            mail.push((staged, FlagNames::default(), DATE));
        }
        store.append(id, mail, Origin(None)).await.unwrap();
        disk.set_capacity(Some(disk.used() + (1 << 20) - 1));
        assert_eq!(deliver(&store, alice, b"x").await, Err(Error::Full));
        assert_eq!(store.stage(Some(1)).await.err(), Some(Error::Full));
        // Somebody else has filled the disk to its last byte.
        disk.set_capacity(Some(disk.used()));
        for low in (1..600).step_by(3) {
            let set = Some(uids(&[(low, low + 1)]));
            let (gone, _) = store.expunge(id, set, true, Origin(None)).await.unwrap();
            assert_eq!(gone.len(), 2);
        }
        assert_eq!(disk.length("ballast"), None);
        disk.set_capacity(None);
        deliver(&store, alice, &text(9, 5000)).await.unwrap();
        until("the ballast is back", || {
            disk.length("ballast") == Some(256 << 10)
        })
        .await;
        expect_sound(&store).await;
        store.close().await;
    });
}

#[test]
fn on_a_small_disk_segments_are_small_and_go_one_by_one() {
    smol::block_on(async {
        let disk = SimDisk::new();
        disk.set_capacity(Some(24 << 20));
        let (store, alice, id) = filled(&disk, 150).await;
        let before = segments(&disk);
        assert!(before > 2, "{before}");
        let set = Some(uids(&[(1, 75)]));
        store.expunge(id, set, true, Origin(None)).await.unwrap();
        until("some segments go", || segments(&disk) < before).await;
        for (n, message) in messages(&store, id).await.into_iter().enumerate() {
            let found = bytes_of(&store, message.email).await.unwrap();
            assert_eq!(found, text(75 + n as u64, 40_000));
        }
        store.close().await;
        let store = open(&disk).unwrap();
        expect_whole_log(&disk);
        deliver(&store, alice, &text(1, 2000)).await.unwrap();
        expect_sound(&store).await;
        store.close().await;
    });
}

#[test]
fn compaction_does_not_fill_the_disk() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let options = Options {
            reserve: 1 << 20,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(disk.clone()) as Arc<dyn Disk>, options).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        for n in 0..100 {
            deliver(&store, alice, &text(n, 40_000)).await.unwrap();
        }
        // One segment, a third of it alive, and less free than that third takes.
        disk.set_capacity(Some(disk.used() + (500 << 10)));
        let id = inbox(&store, alice).await.id;
        let set = Some(uids(&[(1, 66)]));
        store.expunge(id, set, true, Origin(None)).await.unwrap();
        smol::Timer::after(Duration::from_millis(300)).await;
        assert!(disk.free().unwrap() > 300 << 10, "{}", disk.free().unwrap());
        let set = Some(uids(&[(67, 67)]));
        store.expunge(id, set, true, Origin(None)).await.unwrap();
        disk.set_capacity(None);
        expect_sound(&store).await;
        store.close().await;
    });
}

/// Puts a row in place, as damage or an older start might have left it.
async fn craft(store: &Store, segment: u32, row: SegmentRow) {
    let craft = store.write(move |tx| {
        let row = row.encode();
        tx.change().blobs.insert(segment_key(segment), &row)
    });
    craft.await.unwrap();
}

fn has_row(store: &Store, segment: u32) -> bool {
    store
        .look(|it| Ok(BLOBS.read(&it.txn)?.get(segment_key(segment))?.is_some()))
        .unwrap()
}

#[test]
fn segments_are_looked_at_when_their_rows_change_and_once_at_the_start() {
    let empty = SegmentRow {
        length: 1 << 20,
        live: 0,
        payload: 1 << 20,
        single: false,
    };
    // Says that something is alive in it, and nothing is.
    let false_count = SegmentRow { live: 1, ..empty };
    smol::block_on(async {
        let disk = SimDisk::new();
        let (store, alice, id) = filled(&disk, 20).await;
        let old = segments(&disk);
        craft(&store, 70, empty).await;
        craft(&store, 71, false_count).await;
        // Work for the compactor, which reads the rows of none but the segment that it chose.
        let set = Some(uids(&[(1, 19)]));
        store.expunge(id, set, true, Origin(None)).await.unwrap();
        let before = bytes(&disk);
        until("the segment is compacted", || {
            bytes(&disk) < before / 2 && segments(&disk) == old
        })
        .await;
        assert!(has_row(&store, 70));
        store.close().await;

        let store = open(&disk).unwrap();
        until("the empty segment's row goes", || !has_row(&store, 70)).await;
        // No use in trying the other for ever.
        until("quiet", || {
            let commits = || store.counters().commits.load(Relaxed);
            let before = commits();
            std::thread::sleep(Duration::from_millis(300));
            commits() == before
        })
        .await;
        assert!(has_row(&store, 71));
        deliver(&store, alice, b"more").await.unwrap();
        store.close().await;
    });
}

#[test]
fn a_checkpoint_takes_no_more_room_than_it_says() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let mut store = open(&disk).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let id = inbox(&store, alice).await.id;
        let sent = mailbox(&store, alice, "Sent").await.unwrap().id;
        for round in 0..8 {
            let mut mail = Vec::new();
            for n in 0..700 {
                let staged = stage(&store, &text(round * 1000 + n, 300)).await.unwrap();
                mail.push((staged, FlagNames::default(), DATE));
            }
            store.append(id, mail, Origin(None)).await.unwrap();
        }
        // One row here and there, many at once, far from each other or not.
        for (step, count, copied) in [(1, 1, 0), (1, 40, 3), (37, 150, 40), (500, 60, 300)] {
            store.close().await;
            disk.set_capacity(None);
            store = open(&disk).unwrap();
            let mut rows = 0;
            for n in 0..count {
                let uid = 1 + (n * step) % 5000;
                let names = flags(Flags(2 + u64::from(n % 2)), &[]);
                let (set, change) = (uids(&[(uid, uid)]), FlagChange::Set);
                let wrote = store.set_flags(id, set, change, names, None, Origin(None));
                wrote.await.unwrap();
                // The block, the mailbox and the segment.
                rows += 3;
                if copied > 0 {
                    let set = uids(&[(uid, uid + copied - 1)]);
                    store.copy(id, set, sent).await.unwrap();
                    rows += u64::from(copied + copied / 32 + 2);
                }
            }
            let length = disk.length("meta.redb").unwrap() as u64;
            let room = checkpoint_room(rows, 0, options().cache as u64, length);
            disk.set_capacity(Some(disk.used() + room));
            let before = store.counters().checkpoints.load(Relaxed);
            store.close().await;
            let after = store.counters().checkpoints.load(Relaxed);
            assert_eq!(after, before + 1, "{rows} rows in {room} bytes");
        }
        disk.set_capacity(None);
        let store = open(&disk).unwrap();
        expect_whole_log(&disk);
        expect_sound(&store).await;
        store.close().await;
    });
}

/// What a kill leaves of a store whose log has `f`'s work, on a disk with so many blocks free.
async fn killed_full<F: Future<Output = ()>>(f: impl FnOnce(Store) -> F, blocks: u64) -> SimDisk {
    let disk = SimDisk::new();
    let (store, alice, _) = filled(&disk, 4).await;
    deliver(&store, alice, &text(9, 900_000)).await.unwrap();
    store.close().await;
    let store = open(&disk).unwrap();
    f(store.clone()).await;
    let killed = disk.after_kill();
    store.close().await;
    killed.set_capacity(Some(killed.used() + blocks * 512));
    killed
}

#[test]
fn a_start_on_a_full_disk_serves_readers_all_the_while() {
    let alice = AccountId(1);
    for blocks in [0, 8, 40, 200] {
        smol::block_on(async {
            let expunge = |store: Store| async move {
                let id = inbox(&store, alice).await.id;
                let set = Some(uids(&[(5, 5)]));
                store.expunge(id, set, true, Origin(None)).await.unwrap();
            };
            let disk = killed_full(expunge, blocks).await;
            let store = open(&disk).unwrap();
            let (done, reader) = (Arc::new(AtomicBool::new(false)), store.clone());
            let stop = done.clone();
            let readers = std::thread::spawn(move || {
                while !stop.load(Relaxed) {
                    let found = reader.look(|it| it.mailboxes(alice)).map(|it| it.len());
                    assert_eq!(found, Ok(6));
                }
            });
            // Behind the attempt at a checkpoint, and one more for want of a block.
            store.subscribe(alice, name("x"), true).await.ok();
            done.store(true, Relaxed);
            readers.join().unwrap();
            let id = inbox(&store, alice).await.id;
            assert_eq!(messages(&store, id).await.len(), 4);
            disk.set_capacity(None);
            until("the deleted message gives its room back", || {
                bytes(&disk) < 800_000
            })
            .await;
            expect_sound(&store).await;
            store.close().await;
        });
    }
}

#[test]
fn a_log_longer_than_the_cache_is_read_on_a_full_disk() {
    smol::block_on(async {
        let mail = |store: Store| async move {
            let id = inbox(&store, AccountId(1)).await.id;
            let mut mail = Vec::new();
            for n in 0..600 {
                let staged = stage(&store, &text(n, 300)).await.unwrap();
                mail.push((staged, FlagNames::default(), DATE));
            }
            store.append(id, mail, Origin(None)).await.unwrap();
        };
        let disk = killed_full(mail, 0).await;
        let options = Options {
            cache: 16 << 10,
            ..options()
        };
        let real: Arc<dyn Disk> = Arc::new(disk.clone());
        let small = Store::open_locked(&real, &options, options.cache, &Arc::default());
        assert_eq!(small.err(), Some(Error::Full));
        let store = Store::open_on(real, options).unwrap();
        let id = inbox(&store, AccountId(1)).await.id;
        assert_eq!(messages(&store, id).await.len(), 605);
        disk.set_capacity(None);
        deliver(&store, AccountId(1), b"more").await.unwrap();
        expect_sound(&store).await;
        store.close().await;
    });
}
