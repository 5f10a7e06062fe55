//! Flags, mod-sequences, what vanished, and who is told of it.

use super::support::*;
use crate::mail::*;
use crate::store::simdisk::SimDisk;
use crate::store::*;

async fn with_messages(count: u32) -> (Store, AccountId, MailboxInfo) {
    let store = open(&SimDisk::new()).unwrap();
    let alice = account(&store, "alice@demo.test").await;
    for n in 0..count {
        deliver(&store, alice, &text(u64::from(n), 300))
            .await
            .unwrap();
    }
    let inbox = inbox(&store, alice).await;
    (store, alice, inbox)
}

const ALL: [(u32, u32); 1] = [(1, u32::MAX)];

async fn add(store: &Store, id: MailboxId, set: &[(u32, u32)], names: FlagNames) -> Result<Stored> {
    let origin = Origin(None);
    store
        .set_flags(id, uids(set), FlagChange::Add, names, None, origin)
        .await
}

#[test]
fn an_operation_is_one_mod_sequence_and_changed_since_finds_it() {
    smol::block_on(async {
        let (store, _, inbox) = with_messages(100).await;
        let since = inbox.highest_modseq.get();
        let seen = flags(Flags::SEEN, &[]);
        let stored = add(&store, inbox.id, &[(40, 45), (200, 300)], seen.clone())
            .await
            .unwrap();
        let touched: Vec<u32> = stored.messages.iter().map(|it| it.0.get()).collect();
        assert_eq!(touched, [40, 41, 42, 43, 44, 45]);
        assert!(stored.messages.iter().all(|it| it.2.get() == since + 1));
        // Nothing new: told, not changed.
        let again = add(&store, inbox.id, &[(40, 45)], seen.clone())
            .await
            .unwrap();
        assert_eq!(again, stored);
        let changed = store.read(move |it| {
            let mut changed = Vec::new();
            it.changed_since(inbox.id, since, |message| {
                changed.push(message.uid.get());
                Ok(true)
            })?;
            Ok((
                changed,
                it.first_unseen(inbox.id)?,
                it.mailbox_by_id(inbox.id)?,
            ))
        });
        let (changed, unseen, info) = changed.await.unwrap();
        assert_eq!(changed, touched);
        assert_eq!(unseen.map(|it| it.get()), Some(1));
        assert_eq!(info.map(|it| it.unseen), Some(94));
        // UNCHANGEDSINCE: those changed since then are named, the others done.
        let conditional = store.set_flags(
            inbox.id,
            uids(&[(44, 47)]),
            FlagChange::Add,
            flags(Flags::FLAGGED, &[]),
            Some(since),
            Origin(None),
        );
        let conditional = conditional.await.unwrap();
        assert_eq!(conditional.modified, uids(&[(44, 45)]));
        assert_eq!(conditional.messages.len(), 2);
        store.close().await;
    });
}

#[test]
fn vanished_is_remembered_and_when_forgotten_overstated() {
    smol::block_on(async {
        let (store, _, inbox) = with_messages(10).await;
        let start = inbox.highest_modseq.get();
        let id = inbox.id;
        for (low, high) in [(2, 3), (7, 7)] {
            let set = Some(uids(&[(low, high)]));
            let (gone, modseq) = store.expunge(id, set, true, Origin(None)).await.unwrap();
            assert_eq!(gone, uids(&[(low, high)]));
            assert!(modseq.get() > start);
        }
        let vanished = |since| store.read(move |it| it.vanished_since(id, since));
        assert_eq!(vanished(start).await, Ok(uids(&[(2, 3), (7, 7)])));
        assert_eq!(vanished(start + 1).await, Ok(uids(&[(7, 7)])));
        assert_eq!(vanished(start + 2).await, Ok(uids(&[])));
        // Without a change there is no new mod-sequence.
        let (gone, modseq) = store.expunge(id, None, false, Origin(None)).await.unwrap();
        assert!(gone.is_empty());
        assert_eq!(modseq.get(), start + 2);
        store.close().await;
    });
}

#[test]
fn keywords_are_found_in_any_case_travel_and_have_a_limit() {
    smol::block_on(async {
        let (store, alice, inbox) = with_messages(3).await;
        let names = |keywords: &[&str]| flags(Flags::NONE, keywords);
        add(&store, inbox.id, &[(1, 1)], names(&["First", "Second"]))
            .await
            .unwrap();
        let stored = add(&store, inbox.id, &ALL, names(&["SECOND"]))
            .await
            .unwrap();
        assert_eq!(stored.keywords, ["First", "Second"]);
        assert_eq!(stored.messages[2].1, Flags::keyword(1));
        let archive = mailbox(&store, alice, "Archive").await.unwrap();
        let placed = store
            .copy(inbox.id, uids(&[(2, 3)]), archive.id)
            .await
            .unwrap();
        assert_eq!(placed.uid_validity, archive.uid_validity);
        let archive = mailbox(&store, alice, "Archive").await.unwrap();
        assert_eq!(archive.keywords, ["Second"]);
        assert_eq!(
            messages(&store, archive.id).await[0].flags,
            Flags::keyword(0)
        );
        // A keyword that no message takes leaves no trace.
        let none = add(&store, inbox.id, &[(50, 60)], names(&["unused"]))
            .await
            .unwrap();
        assert_eq!(none.keywords, ["First", "Second"]);
        for n in 2..MAX_KEYWORDS {
            let keyword = format!("k{n}");
            add(&store, inbox.id, &[(1, 1)], names(&[&keyword]))
                .await
                .unwrap();
        }
        let over = add(&store, inbox.id, &[(1, 1)], names(&["over"])).await;
        assert_eq!(over, Err(Error::Limit("keywords")));
        let long = "x".repeat(MAX_KEYWORD + 1);
        assert!(
            add(&store, inbox.id, &[(1, 1)], names(&[&long]))
                .await
                .is_err()
        );
        store.close().await;
    });
}

#[test]
fn watchers_hear_of_others_in_order_and_never_of_themselves() {
    smol::block_on(async {
        let (store, alice, inbox) = with_messages(5).await;
        let mut mine = store.watch(inbox.id);
        let mut other = store.watch(inbox.id);
        assert!(mine.is_empty());
        let names = flags(Flags::SEEN, &["new"]);
        let set = uids(&[(1, 2)]);
        store
            .set_flags(inbox.id, set, FlagChange::Add, names, None, mine.origin())
            .await
            .unwrap();
        deliver(&store, alice, b"Subject: six\r\n\r\n")
            .await
            .unwrap();
        store
            .expunge(inbox.id, Some(uids(&[(3, 3)])), true, other.origin())
            .await
            .unwrap();
        other.changed().await;
        let News::Changes(changes) = other.take() else {
            panic!("overflow");
        };
        assert!(changes.is_sorted_by_key(|it| it.0));
        let [
            (_, Change::Flags { messages, keywords }),
            (_, Change::Arrived(arrived)),
        ] = &changes[..]
        else {
            panic!("{changes:?}");
        };
        assert_eq!(messages.len(), 2);
        assert_eq!(keywords, &["new"]);
        assert_eq!(arrived[0].uid.get(), 6);
        let News::Changes(changes) = mine.take() else {
            panic!("overflow");
        };
        assert!(
            matches!(&changes[1].1, Change::Expunged { uids: gone, .. } if *gone == uids(&[(3, 3)]))
        );
        assert!(mine.is_empty() && other.is_empty());
        store.close().await;
    });
}

#[test]
fn a_watcher_that_sleeps_overflows_and_a_deleted_mailbox_says_so() {
    smol::block_on(async {
        let (store, alice, inbox) = with_messages(60).await;
        let mut watch = store.watch(inbox.id);
        for round in 0..40 {
            let change = match round % 2 {
                0 => FlagChange::Add,
                _ => FlagChange::Remove,
            };
            let names = flags(Flags::FLAGGED, &[]);
            let origin = Origin(None);
            store
                .set_flags(inbox.id, uids(&ALL), change, names, None, origin)
                .await
                .unwrap();
        }
        assert!(!watch.is_empty());
        assert!(matches!(watch.take(), News::Overflow));
        assert!(watch.is_empty());
        let work = store
            .create_mailbox(alice, name("work"), None)
            .await
            .unwrap();
        let mut watch = store.watch(work.id);
        store.delete_mailbox(alice, name("work")).await.unwrap();
        watch.changed().await;
        assert!(matches!(watch.take(), News::Changes(it) if it[0].1 == Change::Deleted));
        let staged = stage(&store, b"x").await.unwrap();
        let late = vec![(staged, FlagNames::default(), DATE)];
        assert_eq!(
            store.append(work.id, late, Origin(None)).await,
            Err(Error::NoMailbox)
        );
        store.close().await;
    });
}

#[test]
fn recent_is_claimed_once_and_kept_by_a_clean_end() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        deliver(&store, alice, b"one").await.unwrap();
        let id = inbox(&store, alice).await.id;
        assert_eq!(store.first_recent(id).await.unwrap().get(), 1);
        assert_eq!(store.claim_recent(id).await.unwrap().get(), 1);
        assert_eq!(store.claim_recent(id).await.unwrap().get(), 2);
        deliver(&store, alice, b"two").await.unwrap();
        store.close().await;
        let store = open(&disk).unwrap();
        assert_eq!(store.first_recent(id).await.unwrap().get(), 2);
        assert_eq!(store.claim_recent(id).await.unwrap().get(), 2);
        assert_eq!(store.first_recent(id).await.unwrap().get(), 3);
        store.close().await;
    });
}

#[test]
fn a_name_used_again_has_another_validity_and_no_lower_mod_sequence() {
    smol::block_on(async {
        let (store, alice, inbox) = with_messages(3).await;
        let work = store
            .create_mailbox(alice, name("work"), None)
            .await
            .unwrap();
        store.copy(inbox.id, uids(&ALL), work.id).await.unwrap();
        let before = mailbox(&store, alice, "work").await.unwrap();
        store.delete_mailbox(alice, name("work")).await.unwrap();
        let after = store
            .create_mailbox(alice, name("work"), None)
            .await
            .unwrap();
        assert!(after.uid_validity > before.uid_validity);
        assert!(after.highest_modseq > before.highest_modseq);
        assert_ne!(after.id, before.id);
        assert_eq!(after.messages, 0);
        store.close().await;
    });
}
