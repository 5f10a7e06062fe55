//! Records come back, by kind, over a reopening.

use super::support::*;
use crate::mail::{AccountId, FlagNames};
use crate::store::simdisk::SimDisk;
use crate::store::{Delivery, Error, MAX_RECORD, MAX_REMEMBERED, Note, Noted, name_of_account};
use smol::block_on;

#[test]
fn records_come_back_by_kind() {
    block_on(async {
        let disk = SimDisk::default();
        let store = open(&disk).unwrap();
        for (kind, key) in [
            ("route", "b"),
            ("route", "a"),
            ("routes", "x"),
            ("rout", "y"),
        ] {
            store.put_record(kind, key, key.into()).await.unwrap();
        }
        store
            .put_record("route", "a", b"again".to_vec())
            .await
            .unwrap();
        let long = vec![0; MAX_RECORD + 1];
        assert!(store.put_record("route", "long", long).await.is_err());
        assert_eq!(store.remove_record("route", "none").await, Ok(false));
        store.close().await;
        drop(store);
        let store = open(&disk).unwrap();
        let routes = store.look(|it| it.records("route")).unwrap();
        let expected = vec![("a".into(), b"again".to_vec()), ("b".into(), b"b".to_vec())];
        assert_eq!(routes, expected);
        assert_eq!(store.remove_record("route", "b").await, Ok(true));
        assert_eq!(store.look(|it| it.record("route", "b")), Ok(None));
        let other = store.look(|it| it.record("rout", "y"));
        assert_eq!(other, Ok(Some(b"y".to_vec())));
    });
}

#[test]
fn a_delivery_and_its_notes_are_one() {
    block_on(async {
        let disk = SimDisk::default();
        let store = open(&disk).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let staged = || async {
            let mut staging = store.stage(None).await.unwrap();
            staging.write(&text(1, 100)).await.unwrap();
            staging.finish().await.unwrap()
        };
        let delivery = |account| {
            vec![Delivery {
                account,
                mailbox: name("INBOX"),
                flags: FlagNames::default(),
            }]
        };
        let note = |value: Option<&[u8]>| Note {
            kind: "collected",
            key: "1".into(),
            value: value.map(<[u8]>::to_vec),
        };
        let count = || {
            let inbox = store.look(|it| it.mailbox(alice, &name("INBOX"))).unwrap();
            inbox.unwrap().messages
        };
        let noted = || store.look(|it| it.record("collected", "1")).unwrap();
        let (message, other) = (staged().await, staged().await);
        let to = |message, account| Noted {
            message,
            date: DATE,
            deliveries: delivery(account),
        };
        let both = vec![to(&message, alice), to(&other, alice)];
        let first = store.deliver_noted(both, vec![note(Some(b"x"))]);
        assert_eq!(first.await, Ok(()));
        assert_eq!((count(), noted()), (2, Some(b"x".to_vec())));
        // Neither without the other, whichever can't be.
        let long = vec![0; MAX_RECORD + 1];
        let failed = store.deliver_noted(vec![to(&message, alice)], vec![note(Some(&long))]);
        assert!(failed.await.is_err());
        let one_to_nobody = vec![to(&message, alice), to(&other, AccountId(99))];
        let failed = store.deliver_noted(one_to_nobody, vec![note(Some(b"y"))]);
        assert!(failed.await.is_err());
        assert_eq!((count(), noted()), (2, Some(b"x".to_vec())));
        assert_eq!(store.note(vec![note(None)]).await, Ok(()));
        assert_eq!(noted(), None);
    });
}

#[test]
fn who_watches_records_is_told() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        let told = store.records_changed();
        store.put_record("route", "a", vec![1]).await.unwrap();
        told.await;
        let told = store.records_changed();
        store.remove_record("route", "a").await.unwrap();
        told.await;
    });
}

#[test]
fn what_is_remembered_outlives_a_restart_and_not_its_account() {
    block_on(async {
        let disk = SimDisk::default();
        let store = open(&disk).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let (gone, own) = (name_of_account(AccountId(99)), name_of_account(alice));
        let named = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
        let values = vec![named("a", b"1"), named("b", b"2"), named(&own, b"3")];
        store.remember(values).await.unwrap();
        let orphan = vec![named(&gone, b"4"), ("b".into(), None), named("a", b"5")];
        store.remember(orphan).await.unwrap();
        let long = vec![0; MAX_REMEMBERED + 1];
        let refused = store.remember(vec![named("c", b"6"), named("a", &long)]);
        assert!(matches!(refused.await, Err(Error::Limit(_))));
        store.close().await;
        drop(store);
        let store = open(&disk).unwrap();
        let remembered = |name: &str| store.look(|it| it.remembered(name)).unwrap();
        assert_eq!(remembered("a"), Some(b"5".to_vec()));
        assert_eq!(remembered(&own), Some(b"3".to_vec()));
        for name in ["b", "c", gone.as_str()] {
            assert_eq!(remembered(name), None, "{name}");
        }
        store.delete_account(alice).await.unwrap();
        assert_eq!(remembered(&own), None);
    });
}
