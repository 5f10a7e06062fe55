//! What a poll reads.

use super::*;
use crate::address::Address;
use crate::mail::DateTime;
use crate::secret::{Credential, Secret};
use crate::store::Options;
use crate::store::simdisk::SimDisk;
use smol::block_on;

const ALICE: AccountId = AccountId(1);

fn store() -> Store {
    let options = Options {
        reserve: 0,
        ballast: 0,
        ..Options::default()
    };
    let store = Store::open_on(Arc::new(SimDisk::default()), options).unwrap();
    let credential = Credential::create(&Secret::new("correct horse".into())).unwrap();
    let address = Address::parse("alice@b.de").unwrap();
    block_on(store.create_account(address, credential)).unwrap();
    store
}

async fn arrive(store: &Store, mailbox: MailboxId, size: usize) {
    let mut staging = store.stage(None).await.unwrap();
    staging.write(&vec![b'x'; size]).await.unwrap();
    let date = DateTime { unix: 0, offset: 0 };
    let message = (staging.finish().await.unwrap(), FlagNames::default(), date);
    let append = store.append(mailbox, vec![message], Origin::default());
    append.await.unwrap();
}

#[test]
fn a_poll_reads_what_is_new_and_nothing_twice() {
    block_on(async {
        let (store, maildrops) = (store(), Maildrops::default());
        let poll = || async { read_inbox(&store, &maildrops, ALICE).await.unwrap() };
        // As one reads it who knows nothing.
        let fresh = || async {
            let read = read_inbox(&store, &Maildrops::default(), ALICE).await;
            read.unwrap().1
        };
        let (inbox, empty) = poll().await;
        assert!(empty.is_empty());
        for size in [10, 20, 30] {
            arrive(&store, inbox.id, size).await;
        }
        let (_, first) = poll().await;
        assert_eq!((first.len(), first.bytes()), (3, 60));
        // The same one: no message was read for it.
        assert!(Arc::ptr_eq(&first, &poll().await.1));
        let one = |uid| UidSet::from_ranges(vec![(uid, uid)]);
        let seen = FlagNames {
            system: Flags::SEEN,
            keywords: Vec::new(),
        };
        let (id, origin) = (inbox.id, Origin::default());
        let flagged = store.set_flags(id, one(2), FlagChange::Add, seen, None, origin);
        flagged.await.unwrap();
        let (after, same) = poll().await;
        assert!(after.highest_modseq > inbox.highest_modseq && Arc::ptr_eq(&first, &same));
        arrive(&store, id, 40).await;
        let (_, longer) = poll().await;
        assert_eq!((longer.len(), longer.bytes()), (4, 100));
        assert_eq!(longer, fresh().await);
        // As many as before, but others; then one less.
        let gone = store.expunge(id, Some(one(2)), true, origin);
        gone.await.unwrap();
        arrive(&store, id, 50).await;
        let (_, other) = poll().await;
        assert_eq!((other.len(), other.bytes()), (4, 130));
        assert_eq!(other, fresh().await);
        let gone = store.expunge(id, Some(one(5)), true, origin);
        gone.await.unwrap();
        let (_, less) = poll().await;
        assert_eq!((less.len(), less.bytes()), (3, 80));
        assert_eq!(less, fresh().await);
        assert!(Arc::ptr_eq(&less, &poll().await.1));
    });
}
