//! How much of one account's mail is held back at once (RFC 4865, 6): the store is not to be
//! filled with what is to go some day.

use super::trouble;
use crate::mail::AccountId;
use crate::smtp::session::Trouble;
use crate::store::{self, Snapshot, Store};
use async_lock::{Mutex, MutexGuard};

/// Messages of one account, or of all devices together.
pub const MAX_HELD: usize = 1000;
/// Bytes of them.
pub const MAX_HELD_BYTES: u64 = 256 << 20;

/// One at a time counts, and keeps others from it until what it has counted for is in the
/// queue: many sessions at once hold no more than one does.
static COUNTING: Mutex<()> = Mutex::new(());

/// Room for one more message, as long as nobody else takes it: while this is kept.
pub type Room = MutexGuard<'static, ()>;

/// `size` in bytes, as announced or as it is; `now` in seconds since 1970.
pub async fn may_hold(
    store: &Store,
    account: Option<AccountId>,
    size: u64,
    now: i64,
) -> Result<Room, Trouble> {
    let room = COUNTING.lock().await;
    let counted = store.read(move |it| held(it, account, now)).await;
    let (messages, bytes) = counted.map_err(|error| trouble(&error))?;
    match messages < MAX_HELD && bytes.saturating_add(size) <= MAX_HELD_BYTES {
        true => Ok(room),
        false => Err(Trouble::TooMuchHeld),
    }
}

/// Messages that wait for their time, and their bytes.
fn held(snapshot: &Snapshot, account: Option<AccountId>, now: i64) -> store::Result<(usize, u64)> {
    let (mut messages, mut bytes) = (0, 0);
    snapshot.queue_heads(|it| {
        let until = it.envelope.hold_until;
        if it.ours && it.account == account && until.is_some_and(|until| until > now) {
            messages += 1;
            bytes += u64::from(it.size);
        }
    })?;
    Ok((messages, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::mail::DateTime;
    use crate::mail::outgoing::{Envelope, Notify, QueueId, Recipient, Status};
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
                accepted: None,
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
        let may = |size| smol::block_on(may_hold(&store, ann, size, 100)).map(drop);
        assert_eq!(may(most), Ok(()));
        assert_eq!(may(most + 1), Err(Trouble::TooMuchHeld));
        // Who has room has it until it is let go of.
        smol::block_on(async {
            let room = may_hold(&store, ann, most, 100).await.unwrap();
            let next = may_hold(&store, ann, most, 100);
            let mut next = std::pin::pin!(next);
            assert!(smol::future::poll_once(&mut next).await.is_none());
            queue(&store, ann, Some(500)).await;
            drop(room);
            assert_eq!(next.await.map(drop), Err(Trouble::TooMuchHeld));
        });
    }
}
