//! How much of one account's mail is held back at once (RFC 4865, 6): the store is not to be
//! filled with what is to go some day.

use super::trouble;
use crate::mail::AccountId;
use crate::mail::outgoing::{QueueId, QueueItem};
use crate::smtp::session::Trouble;
use crate::store::{self, Snapshot, Store};

/// Messages of one account, or of all devices together.
pub const MAX_HELD: usize = 1000;
/// Bytes of them.
pub const MAX_HELD_BYTES: u64 = 256 << 20;
/// Looked at together.
const BATCH: usize = 256;

/// `size` as announced; `now` in seconds since 1970.
pub fn may_hold(
    store: &Store,
    account: Option<AccountId>,
    size: Option<u64>,
    now: i64,
) -> Result<(), Trouble> {
    let (messages, bytes) = store
        .look(|it| held(it, account, now))
        .map_err(|error| trouble(&error))?;
    let bytes = bytes.saturating_add(size.unwrap_or(0));
    match messages < MAX_HELD && bytes <= MAX_HELD_BYTES {
        true => Ok(()),
        false => Err(Trouble::TooMuchHeld),
    }
}

/// Messages that wait for their time, and their bytes.
fn held(snapshot: &Snapshot, account: Option<AccountId>, now: i64) -> store::Result<(usize, u64)> {
    let waits = |it: &&QueueItem| {
        let until = it.envelope.hold_until;
        it.ours && it.account == account && until.is_some_and(|until| until > now)
    };
    let (mut messages, mut bytes, mut after) = (0, 0, QueueId(0));
    loop {
        let items = snapshot.queue_items(after, BATCH)?;
        let Some(last) = items.last() else {
            return Ok((messages, bytes));
        };
        after = last.id;
        for item in items.iter().filter(waits) {
            messages += 1;
            bytes += u64::from(item.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::mail::DateTime;
    use crate::mail::outgoing::{Envelope, Notify, Recipient, Status};
    use crate::store::simdisk::SimDisk;
    use crate::store::{NewItem, Options};
    use std::sync::Arc;

    async fn queue(store: &Store, account: Option<AccountId>, until: Option<i64>) {
        let mut staging = store.stage(None).await.unwrap();
        staging.write(b"Subject: hi\r\n\r\nbody\r\n").await.unwrap();
        let item = NewItem {
            account,
            ours: true,
            name: "7f".into(),
            submitted: 0,
            envelope: Envelope {
                hold_until: until,
                ..Envelope::default()
            },
            recipients: vec![Recipient {
                address: Address::parse("bob@x.test").unwrap(),
                notify: Notify::default(),
                original: None,
                status: Status::waiting(until.unwrap_or(0)),
            }],
        };
        let (message, date) = (
            staging.finish().await.unwrap(),
            DateTime { unix: 0, offset: 0 },
        );
        let queued = store.deliver(message, date, vec![], Some(item)).await;
        queued.unwrap();
    }

    #[test]
    fn only_what_still_waits_and_is_the_accounts_own_counts() {
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(SimDisk::new()), options).unwrap();
        let (ann, bob) = (Some(AccountId(1)), Some(AccountId(2)));
        smol::block_on(async {
            for until in [None, Some(99), Some(100), Some(101), Some(500)] {
                queue(&store, ann, until).await;
            }
            queue(&store, bob, Some(500)).await;
            queue(&store, None, Some(500)).await;
        });
        let size = store.look(|it| it.queue_items(QueueId(0), 1)).unwrap()[0].size;
        let count = |account, now| store.look(|it| held(it, account, now)).unwrap();
        assert_eq!(count(ann, 100), (2, 2 * u64::from(size)));
        assert_eq!(count(bob, 100).0, 1);
        assert_eq!(count(None, 100).0, 1);
        assert_eq!(count(ann, 500).0, 0);
        let most = MAX_HELD_BYTES - 2 * u64::from(size);
        let may = |size| may_hold(&store, ann, Some(size), 100);
        assert_eq!(may(most), Ok(()));
        assert_eq!(may(most + 1), Err(Trouble::TooMuchHeld));
    }
}
