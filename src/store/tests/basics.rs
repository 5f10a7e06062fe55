//! Each call of the interface does what its line says.

use super::support::*;
use crate::address::{Address, Domain};
use crate::mail::*;
use crate::store::simdisk::SimDisk;
use crate::store::*;

#[test]
fn a_message_goes_in_and_comes_out() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let bob = account(&store, "bob@demo.test").await;
        for (size, seed) in [(0, 1), (10_000, 2), (65_536, 3), (700_000, 4)] {
            let bytes = text(seed, size);
            let staged = stage(&store, &bytes).await.unwrap();
            let to = |account| Delivery {
                account,
                mailbox: MailboxName::inbox(),
                flags: flags(Flags::FLAGGED, &["Work"]),
            };
            store
                .deliver(staged, DATE, vec![to(alice), to(bob)], None)
                .await
                .unwrap();
            for account in [alice, bob] {
                let inbox = inbox(&store, account).await;
                let message = messages(&store, inbox.id).await.pop().unwrap();
                assert_eq!(message.size as usize, bytes.len());
                assert_eq!(message.internal_date, DATE);
                assert_eq!(message.flags, Flags::FLAGGED.with(Flags::keyword(0)));
                assert_eq!(bytes_of(&store, message.email).await.unwrap(), bytes);
                assert_eq!(inbox.keywords, ["Work"]);
                assert_eq!(inbox.unseen, inbox.messages);
            }
        }
        store.close().await;
        assert_eq!(deliver(&store, alice, b"x").await, Err(Error::Closed));
        let store = open(&disk).unwrap();
        let inbox = inbox(&store, alice).await;
        assert_eq!(inbox.messages, 4);
        assert_eq!(inbox.uid_next.get(), 5);
        let found = messages(&store, inbox.id).await;
        assert_eq!(
            bytes_of(&store, found[3].email).await.unwrap(),
            text(4, 700_000)
        );
        store.close().await;
    });
}

#[test]
fn accounts_are_found_by_address_alias_and_login() {
    smol::block_on(async {
        let store = open(&SimDisk::new()).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        let other = account(&store, "bob@demo.test").await;
        let twin = account(&store, "bob@elsewhere.test").await;
        let address = |text: &str| Address::parse(text).unwrap();
        store
            .add_alias(address("info@demo.test"), alice)
            .await
            .unwrap();
        assert_eq!(
            store.add_alias(address("INFO@demo.test"), other).await,
            Err(Error::Exists)
        );
        assert_eq!(
            store
                .create_account(address("Alice@demo.test"), credential())
                .await,
            Err(Error::Exists)
        );
        let login = |login: &'static str| {
            let store = store.clone();
            async move {
                let found = store.read(move |it| it.account_by_login(login)).await;
                found.unwrap().map(|account| account.id)
            }
        };
        assert_eq!(login("ALICE").await, Some(alice));
        assert_eq!(login("info").await, Some(alice));
        assert_eq!(login("bob").await, None);
        assert_eq!(login("bob@elsewhere.test").await, Some(twin));
        assert_eq!(login("ali").await, None);
        let local = |domain: &'static str| {
            let store = store.clone();
            async move {
                let domain = Domain::parse(domain).unwrap();
                store
                    .read(move |it| it.is_local_domain(&domain))
                    .await
                    .unwrap()
            }
        };
        assert!(local("elsewhere.test").await);
        store.delete_account(twin).await.unwrap();
        assert!(!local("elsewhere.test").await);
        assert!(local("demo.test").await);
        assert_eq!(login("bob").await, Some(other));
        store.remove_alias(address("info@demo.test")).await.unwrap();
        assert_eq!(login("info").await, None);
        let kept = store
            .read(move |it| it.credential(alice))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(kept.verifier, credential().verifier);
        assert_eq!(kept.scram.server_key, credential().scram.server_key);
        store.close().await;
    });
}

/// A database with a version of the tables' own types.
fn store_of_types<K, V>(version: V::SelfType<'static>, key: K::SelfType<'static>) -> SimDisk
where
    K: redb::Key + 'static,
    V: redb::Value + 'static,
{
    let disk = SimDisk::new();
    let db = recover::open_database(&disk, options().cache, &Arc::default()).unwrap();
    let txn = db.begin_write().unwrap();
    let definition = redb::TableDefinition::<K, V>::new("state");
    let mut state = txn.open_table(definition).unwrap();
    state.insert(key, version).unwrap();
    drop(state);
    txn.commit().unwrap();
    drop(db);
    disk
}

#[test]
fn a_store_of_another_version_is_refused_with_a_sentence() {
    type Bytes = &'static [u8];
    let older = store_of_types::<&str, u64>(2, "version");
    let newer = store_of_types::<Bytes, Bytes>(&[0, 0, 0, 0, 0, 0, 0, 99], b"version");
    for (disk, word) in [(older, "older version"), (newer, "schema 99")] {
        let before = disk.names();
        match open(&disk) {
            Err(Error::Unusable(why)) => assert!(why.contains(word), "{why}"),
            other => panic!("{:?}", other.err()),
        }
        assert_eq!(disk.names(), before);
    }
}
