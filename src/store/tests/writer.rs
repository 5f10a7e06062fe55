//! The writer thread: jobs that fail alone, commits that are shared, limits, the lock.

use super::model::expect_sound;
use super::support::*;
use crate::store::simdisk::SimDisk;
use crate::store::*;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn a_job_that_fails_or_panics_takes_nobody_with_it() {
    smol::block_on(async {
        let store = open(&SimDisk::new()).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let id = inbox(&store, alice).await.id;
        let spoil = |how: u32| {
            let store = store.clone();
            smol::spawn(async move {
                store
                    .write(move |tx| {
                        // It has changed something when it fails.
                        let mut row = tx.mailbox(id)?;
                        row.unseen += 1000;
                        tx.put_mailbox(id, &row)?;
                        match how {
                            0 => panic!("a bug"),
                            _ => Err::<(), Error>(Error::Limit("test")),
                        }
                    })
                    .await
            })
        };
        for round in 0..30 {
            let good: Vec<_> = (0..5)
                .map(|n| {
                    let store = store.clone();
                    smol::spawn(
                        async move { deliver(&store, alice, &text(round * 10 + n, 400)).await },
                    )
                })
                .collect();
            let (bug, limit) = (spoil(0), spoil(1));
            for it in good {
                assert_eq!(it.await, Ok(()));
            }
            assert!(matches!(bug.await, Err(Error::Corrupt(_))));
            assert_eq!(limit.await, Err(Error::Limit("test")));
        }
        let inbox = inbox(&store, alice).await;
        assert_eq!((inbox.messages, inbox.unseen), (150, 150));
        expect_sound(&store).await;
        store.close().await;
    });
}

#[test]
fn those_who_write_together_share_their_commits() {
    smol::block_on(async {
        let store = open(&SimDisk::new()).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let before = store.counters().syncs.load(Relaxed);
        let clients = (0..8).map(|client| {
            let store = store.clone();
            smol::spawn(async move {
                for n in 0..40 {
                    let bytes = text(client * 100 + n, 5000);
                    deliver(&store, alice, &bytes).await.unwrap();
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await;
        }
        let syncs = store.counters().syncs.load(Relaxed) - before;
        // Two a message without sharing. A loaded machine may keep them apart somewhat.
        assert!(syncs < 320, "{syncs} syncs for 320 messages");
        assert_eq!(inbox(&store, alice).await.messages, 320);
        store.close().await;
    });
}

#[test]
fn uploads_are_bounded_in_number_and_size() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        let mut uploads = Vec::new();
        for _ in 0..MAX_UPLOADS {
            uploads.push(store.stage(None).await.unwrap());
        }
        assert_eq!(store.stage(None).await.err(), Some(Error::Busy));
        uploads.pop();
        assert!(store.stage(None).await.is_ok());
        let limit = options().max_message;
        assert_eq!(
            store.stage(Some(limit + 1)).await.err(),
            Some(Error::TooLarge)
        );
        store.close().await;
    });
}

#[test]
fn a_second_process_is_kept_out_until_the_first_closes() {
    let directory = tempfile::tempdir().unwrap();
    smol::block_on(async {
        let first = Store::open(directory.path(), options()).unwrap();
        let second = Store::open(directory.path(), options());
        assert!(matches!(second.err(), Some(Error::Unusable(_))));
        let alice = account(&first, "alice@demo.test").await;
        deliver(&first, alice, &text(1, 700_000)).await.unwrap();
        first.close().await;
        // The first handle still exists; the lock has gone with the close.
        let second = Store::open(directory.path(), options()).unwrap();
        let found = messages(&second, inbox(&second, alice).await.id).await;
        let bytes = bytes_of(&second, found[0].email).await.unwrap();
        assert_eq!(bytes, text(1, 700_000));
        second.close().await;
    });
}

#[test]
fn a_flipped_byte_is_reported_and_costs_one_message() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let before = disk.length("mail/00000001.seg").unwrap();
        for n in 0..3 {
            deliver(&store, alice, &text(n, 3000)).await.unwrap();
        }
        disk.damage("mail/00000001.seg", before + 500);
        let id = inbox(&store, alice).await.id;
        let found = messages(&store, id).await;
        let damaged = bytes_of(&store, found[0].email).await;
        assert!(matches!(damaged, Err(Error::Corrupt(_))), "{damaged:?}");
        assert_eq!(
            bytes_of(&store, found[1].email).await.unwrap(),
            text(1, 3000)
        );
        let problems = look_at(&store).problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        store.close().await;
    });
}
