//! Quotas hold in the transaction that adds; another address leaves all else as it was.

use super::outbox::new_item;
use super::support::*;
use crate::address::Address;
use crate::mail::outgoing::{Notify, QueueId, Recipient, Reply, Status};
use crate::mail::*;
use crate::store::simdisk::SimDisk;
use crate::store::*;
use smol::block_on;

async fn posting(store: &Store, accounts: &[AccountId]) -> Posting {
    let delivery = |account: &AccountId| Delivery {
        account: *account,
        mailbox: MailboxName::inbox(),
        flags: FlagNames::default(),
    };
    Posting {
        message: stage(store, &text(1, 1000)).await.unwrap(),
        date: DATE,
        deliveries: accounts.iter().map(delivery).collect(),
        queued: None,
    }
}

#[test]
fn a_full_account_takes_no_more_by_any_way_and_others_do() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        let ann = account(&store, "ann@b.test").await;
        let bob = account(&store, "bob@b.test").await;
        store.set_quota(Quota {
            bytes: 0,
            messages: 2,
        });
        let within = async |accounts: &[AccountId], held: Held| {
            let posting = posting(&store, accounts).await;
            store.deliver_within(posting, Vec::new(), held).await
        };
        let together = Held::Together {
            own: 0,
            waiting: Vec::new(),
        };
        for _ in 0..2 {
            assert_eq!(within(&[ann], together.clone()).await, Ok(vec![]));
        }
        assert_eq!(
            within(&[ann], together.clone()).await,
            Err(Error::OverQuota)
        );
        let each = Held::Each(vec![ann, bob]);
        assert_eq!(within(&[ann], each.clone()).await, Err(Error::OverQuota));
        assert_eq!(within(&[ann, bob], each).await, Ok(vec![ann]));
        let counts = async || {
            let (ann, bob) = (inbox(&store, ann).await, inbox(&store, bob).await);
            (ann.messages, bob.messages)
        };
        assert_eq!(counts().await, (2, 1));
        // One reply for both: nobody is left out.
        assert_eq!(within(&[ann, bob], together.clone()).await, Ok(vec![]));
        assert_eq!(within(&[ann], Held::Nobody).await, Ok(vec![]));
        assert_eq!(counts().await, (4, 2));
        let box_of = inbox(&store, bob).await.id;
        let all = || UidSet::from_ranges(vec![(1, u32::MAX)]);
        let archive = mailbox(&store, bob, "Archive").await.unwrap().id;
        assert_eq!(
            store.copy(box_of, all(), archive).await,
            Err(Error::OverQuota)
        );
        let staged = stage(&store, &text(2, 100)).await.unwrap();
        let appended = vec![(staged, FlagNames::default(), DATE)];
        let appended = store.append(archive, appended, Origin(None)).await;
        assert_eq!(appended, Err(Error::OverQuota));
        // What only moves takes no more room.
        let moved = store.move_messages(box_of, all(), archive, Origin(None));
        assert_eq!(moved.await.map(|it| it.0.uids.len()), Ok(2));
        // Its own quota goes before the server's, by bytes too.
        store
            .change_options(bob, |it| it.max_messages = Some(0))
            .await
            .unwrap();
        assert_eq!(
            store
                .copy(archive, all(), box_of)
                .await
                .map(|it| it.uids.len()),
            Ok(2)
        );
        let used = store.look(|it| it.usage(bob)).unwrap();
        assert_eq!(used.messages, 4);
        store
            .change_options(bob, move |it| it.quota = Some(used.bytes))
            .await
            .unwrap();
        let more = |bytes| store.check_quota(bob, Quota { bytes, messages: 1 });
        assert_eq!((more(0), more(1)), (Ok(()), Err(Error::OverQuota)));
        store
            .expunge(archive, None, true, Origin(None))
            .await
            .unwrap();
        assert_eq!(more(used.bytes / 2), Ok(()));
        store.close().await;
    });
}

#[test]
fn the_senders_own_copy_makes_no_room_and_those_without_wait_in_the_queue() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        let ann = account(&store, "ann@b.test").await;
        let bob = account(&store, "bob@b.test").await;
        // As a member of a group, who did not want to hear of failures.
        let team = || Address::parse("team@b.test").unwrap();
        let member = Recipient {
            address: team(),
            notify: Notify {
                failure: false,
                ..Notify::default()
            },
            original: Some("rfc822;x@b.test".into()),
            accepted: Some(team()),
            status: Status::waiting(0),
        };
        let own = Held::Together {
            own: 1,
            waiting: vec![(bob, member.clone())],
        };
        let within = async |accounts: &[AccountId], remote: bool| {
            let mut posting = posting(&store, accounts).await;
            posting.queued = remote.then(|| new_item(&[("a@x.example", 50)]));
            store.deliver_within(posting, Vec::new(), own.clone()).await
        };
        assert_eq!(within(&[bob, ann], false).await, Ok(vec![]));
        store
            .change_options(bob, |it| it.max_messages = Some(1))
            .await
            .unwrap();
        let counts = async || {
            let (ann, bob) = (inbox(&store, ann).await, inbox(&store, bob).await);
            (ann.messages, bob.messages)
        };
        assert_eq!(within(&[bob, ann], false).await, Err(Error::OverQuota));
        assert_eq!(counts().await, (1, 1));
        assert_eq!(within(&[bob, ann], true).await, Ok(vec![]));
        assert_eq!(counts().await, (2, 1));
        let item = store.look(|it| it.queue_items(QueueId(0), 9)).unwrap();
        let item = item.first().unwrap();
        let to: Vec<String> = item
            .recipients
            .iter()
            .map(|it| it.address.to_string())
            .collect();
        assert_eq!(to, ["a@x.example", "bob@b.test"]);
        // What is told of him names the group (RFC 3464, 2.3.2).
        let waits = Recipient {
            address: Address::parse("bob@b.test").unwrap(),
            status: Status::waiting(50),
            ..member
        };
        assert_eq!(item.recipients.get(1), Some(&waits));
        // From the queue it comes once there is room.
        let delivered = |at: usize| (at, Status::Delivered(Reply::default()));
        let hand_over = async |places: Vec<usize>, accounts: &[AccountId]| {
            let deliveries = posting(&store, accounts).await.deliveries;
            let over = HandOver {
                deliveries,
                queued: vec![],
            };
            let statuses = places.into_iter().map(delivered).collect();
            store.hand_over(item.id, statuses, over, DATE, vec![]).await
        };
        assert_eq!(hand_over(vec![1], &[bob]).await, Err(Error::OverQuota));
        assert_eq!(
            hand_over(vec![0, 1], &[ann, bob]).await,
            Err(Error::OverQuota)
        );
        assert_eq!(counts().await, (2, 1));
        store
            .change_options(bob, |it| it.max_messages = Some(2))
            .await
            .unwrap();
        assert_eq!(hand_over(vec![1], &[bob]).await, Ok(true));
        assert_eq!(counts().await, (2, 2));
        // A group's mail is not kept from all for one.
        assert_eq!(hand_over(vec![0], &[ann, bob]).await, Ok(true));
        assert_eq!(counts().await, (3, 3));
        store.close().await;
    });
}

#[test]
fn a_full_account_can_throw_away_by_copying_to_trash() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        let ann = account(&store, "ann@b.test").await;
        let bob = account(&store, "bob@b.test").await;
        for id in [ann, ann, ann, bob] {
            deliver(&store, id, &text(1, 500)).await.unwrap();
        }
        store.set_quota(Quota {
            bytes: 0,
            messages: 3,
        });
        let from = inbox(&store, ann).await.id;
        let trash = mailbox(&store, ann, "Trash").await.unwrap().id;
        let archive = mailbox(&store, ann, "Archive").await.unwrap().id;
        let full = Err(Error::OverQuota);
        let copy = async |from, uid, to| {
            let placed = store.copy(from, uids(&[(uid, uid)]), to).await;
            placed.map(|it| it.uids.len())
        };
        assert_eq!(copy(from, 1, archive).await, full);
        let others = inbox(&store, bob).await.id;
        assert_eq!(copy(others, 1, trash).await, full);
        // One past the quota, another while that is within a tenth, and no more.
        assert_eq!(copy(from, 1, trash).await, Ok(1));
        assert_eq!(copy(trash, 1, trash).await, full);
        assert_eq!(copy(from, 2, trash).await, Ok(1));
        assert_eq!(copy(from, 3, trash).await, full);
        let gone = store.expunge(from, Some(uids(&[(1, 2)])), true, Origin(None));
        gone.await.unwrap();
        assert_eq!(copy(from, 3, trash).await, Ok(1));
        store.close().await;
    });
}

#[test]
fn another_address_leaves_all_else_as_it_was() {
    block_on(async {
        let disk = SimDisk::default();
        let store = open(&disk).unwrap();
        let address = |text: &str| Address::parse(text).unwrap();
        let ann = account(&store, "ann@b.test").await;
        account(&store, "bob@b.test").await;
        deliver(&store, ann, &text(1, 500)).await.unwrap();
        let before = inbox(&store, ann).await;
        store.add_alias(address("info@b.test"), ann).await.unwrap();
        let group = |it: &mut Vec<Address>| {
            it.extend(["ann@b.test", "x@c.test"].map(|it| Address::parse(it).unwrap()))
        };
        store
            .change_group(address("team@b.test"), group)
            .await
            .unwrap();
        let domain = address("x@b.test").domain().clone();
        store
            .set_catch_all(domain.clone(), Some(address("ann@b.test")))
            .await
            .unwrap();
        for taken in ["bob@b.test", "team@b.test"] {
            let renamed = store
                .rename_account(ann, address(taken), false, vec![])
                .await;
            assert_eq!(renamed, Err(Error::Exists));
        }
        store
            .rename_account(ann, address("eve@d.test"), false, vec![])
            .await
            .unwrap();
        let disk = disk.after_power_cut(5);
        drop(store);
        let store = open(&disk).unwrap();
        let found = |text: &str| {
            let found = store.look(|it| it.account_by_address(&address(text)));
            found.unwrap().map(|it| (it.id, it.address.to_string()))
        };
        let eve = Some((ann, "eve@d.test".to_owned()));
        assert_eq!(found("eve@d.test"), eve);
        assert_eq!(found("info@b.test"), eve);
        assert_eq!(found("ann@b.test"), None);
        assert_eq!(inbox(&store, ann).await, before);
        let members = store
            .look(|it| it.group(&address("team@b.test")))
            .unwrap()
            .unwrap();
        assert_eq!(members, ["x@c.test", "eve@d.test"].map(address));
        let to = store.look(|it| it.catch_all(&domain)).unwrap();
        assert_eq!(to, Some(address("eve@d.test")));
        // An alias of its own becomes its address, and the old one the alias.
        store
            .rename_account(ann, address("info@b.test"), true, vec![])
            .await
            .unwrap();
        assert_eq!(found("eve@d.test"), Some((ann, "info@b.test".to_owned())));
        let aliases = store.look(|it| it.account(ann)).unwrap().unwrap().aliases;
        assert_eq!(aliases, [address("eve@d.test")]);
        assert!(
            store
                .look(|it| it.is_local_domain(address("x@d.test").domain()))
                .unwrap()
        );
        store.remove_alias(address("eve@d.test")).await.unwrap();
        assert!(
            !store
                .look(|it| it.is_local_domain(address("x@d.test").domain()))
                .unwrap()
        );
        store.close().await;
    });
}
