//! The queue of outgoing mail: its order, its references, and what a power cut leaves of it.

use super::model::{expect_sound, new_accounts};
use super::support::*;
use crate::address::{Address, Domain};
use crate::mail::outgoing::*;
use crate::mail::*;
use crate::store::simdisk::SimDisk;
use crate::store::*;

fn waiting(next: i64) -> Status {
    Status::Waiting {
        attempts: 0,
        next,
        last: None,
        told: false,
    }
}

pub fn ok() -> Status {
    Status::Delivered(Reply {
        code: 250,
        ..Reply::default()
    })
}

/// A new item with a recipient for each (address, next attempt).
pub fn new_item(recipients: &[(&str, i64)]) -> NewItem {
    NewItem {
        account: Some(AccountId(1)),
        ours: true,
        name: "n".into(),
        submitted: 100,
        envelope: Envelope::default(),
        recipients: recipients
            .iter()
            .map(|(address, next)| Recipient {
                address: Address::parse(address).unwrap(),
                notify: Notify::default(),
                original: None,
                accepted: None,
                status: waiting(*next),
            })
            .collect(),
    }
}

async fn queue(store: &Store, number: u64, size: usize, item: NewItem) -> Result<QueueId> {
    let staged = stage(store, &text(number, size)).await?;
    let id = store.deliver(staged, DATE, vec![], Some(item)).await?;
    Ok(id.unwrap())
}

async fn posting(store: &Store, number: u64) -> Result<Posting> {
    Ok(Posting {
        message: stage(store, &text(number, 500)).await?,
        date: DATE,
        deliveries: vec![Delivery {
            account: AccountId(1),
            mailbox: MailboxName::inbox(),
            flags: FlagNames::default(),
        }],
        queued: None,
    })
}

fn items(store: &Store) -> Vec<QueueItem> {
    store.look(|it| it.queue_items(QueueId(0), 1000)).unwrap()
}

fn order(store: &Store) -> Vec<(i64, QueueId)> {
    let order = store.look(|it| it.queue_order(None, 100)).unwrap();
    order.into_iter().map(|due| (due.at, due.id)).collect()
}

async fn change(store: &Store, id: QueueId, change: QueueChange) -> usize {
    store
        .update_queue(vec![(id, change)], vec![])
        .await
        .unwrap()
}

#[test]
fn items_fall_due_in_order_and_go_with_their_last_recipient() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        expect_whole_log(&disk);
        new_accounts(&store).await;
        let a = new_item(&[("a@x.example", 50), ("b@y.example", 20)]);
        let a = queue(&store, 1, 900_000, a).await.unwrap();
        let b = new_item(&[("c@x.example", 30)]);
        let b = queue(&store, 2, 2000, b).await.unwrap();
        assert!(b > a);
        assert_eq!(order(&store), [(20, a), (30, b)]);
        let after = Due { at: 20, id: a };
        let rest = store.look(|it| it.queue_order(Some(after), 9)).unwrap();
        assert_eq!(rest, [Due { at: 30, id: b }]);

        // What is final stays so, whoever says otherwise.
        let first = QueueChange::Statuses(vec![(1, ok()), (7, ok())]);
        assert_eq!(change(&store, a, first).await, 1);
        let again = QueueChange::Statuses(vec![(1, waiting(1))]);
        assert_eq!(change(&store, a, again).await, 0);
        assert_eq!(order(&store), [(30, b), (50, a)]);

        assert_eq!(change(&store, b, QueueChange::Hold(true)).await, 1);
        assert_eq!(change(&store, b, QueueChange::Hold(true)).await, 0);
        assert_eq!(order(&store), [(50, a)]);
        let domain = Domain::parse("x.example").ok();
        let retry = QueueChange::Retry { at: 5, domain };
        assert_eq!(change(&store, a, retry.clone()).await, 1);
        assert_eq!(change(&store, b, retry).await, 1);
        assert_eq!(order(&store), [(5, a)]);
        assert_eq!(change(&store, b, QueueChange::Hold(false)).await, 1);
        assert_eq!(order(&store), [(5, a), (5, b)]);
        expect_sound(&store).await;

        store.close().await;
        let store = open(&disk).unwrap();
        expect_whole_log(&disk);
        assert_eq!(order(&store), [(5, a), (5, b)]);
        assert_eq!(
            bytes_of(&store, items(&store)[0].email).await.unwrap(),
            text(1, 900_000)
        );
        let last = QueueChange::Statuses(vec![(0, ok())]);
        assert_eq!(change(&store, a, last.clone()).await, 1);
        assert_eq!(change(&store, a, last).await, 0);
        let domain = Domain::parse("other.example").ok();
        assert_eq!(change(&store, b, QueueChange::Drop { domain }).await, 0);
        assert_eq!(
            change(&store, b, QueueChange::Drop { domain: None }).await,
            1
        );
        assert_eq!(items(&store), []);
        assert_eq!(store.look(|it| it.queue_len()), Ok(0));
        expect_sound(&store).await;
        let c = new_item(&[("c@x.example", 30)]);
        let c = queue(&store, 3, 100, c).await.unwrap();
        assert!(c > b, "a number came twice");
        store.close().await;
    });
}

#[test]
fn notices_are_part_of_the_change_or_nothing() {
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        expect_whole_log(&disk);
        new_accounts(&store).await;
        let item = new_item(&[("a@x.example", 1)]);
        let id = queue(&store, 1, 500, item).await.unwrap();
        let failed = QueueChange::Statuses(vec![(0, Status::Failed(Reply::default()))]);
        // A notice to an account that has gone: the change isn't made either.
        let mut lost = posting(&store, 5).await.unwrap();
        lost.deliveries[0].account = AccountId(9);
        let done = store.update_queue(vec![(id, failed.clone())], vec![lost]);
        assert_eq!(done.await, Err(Error::NoAccount));
        assert_eq!(items(&store).len(), 1);

        let mut told = posting(&store, 6).await.unwrap();
        told.queued = Some(new_item(&[("sender@y.example", 7)]));
        let done = store.update_queue(vec![(id, failed.clone())], vec![told]);
        assert_eq!(done.await, Ok(1));
        let left = items(&store);
        assert_eq!(left.len(), 1);
        assert_eq!(
            left[0].recipients[0].address.to_string(),
            "sender@y.example"
        );
        assert_eq!(inbox(&store, AccountId(1)).await.messages, 1);
        // The item is gone: nobody is told again.
        let again = posting(&store, 7).await.unwrap();
        let done = store.update_queue(vec![(id, failed)], vec![again]);
        assert_eq!(done.await, Ok(0));
        assert_eq!(inbox(&store, AccountId(1)).await.messages, 1);
        expect_sound(&store).await;
        store.close().await;
    });
}

#[test]
fn limits_are_told() {
    smol::block_on(async {
        let store = open(&SimDisk::new()).unwrap();
        for count in [0, MAX_QUEUE_RECIPIENTS + 1] {
            let item = new_item(&vec![("a@x.example", 1); count]);
            let refused = queue(&store, 1, 500, item).await;
            assert!(matches!(refused, Err(Error::Limit(_))), "{count}");
        }
        let item = new_item(&[("a@x.example", 1); MAX_QUEUE_RECIPIENTS]);
        assert!(queue(&store, 1, 500, item).await.is_ok());
        store.close().await;
    });
}

/// Delivers with notices, and hands queued messages over to mailboxes and further items.
async fn hand(disk: &SimDisk, done: &mut usize) -> Result<()> {
    let store = open(disk)?;
    let to = |account| Delivery {
        account: AccountId(account),
        mailbox: MailboxName::inbox(),
        flags: FlagNames::default(),
    };
    for number in 0..4 {
        let message = Posting {
            deliveries: vec![to(2)],
            queued: Some(new_item(&[("bob@here.example", 1), ("c@here.example", 1)])),
            ..posting(&store, number).await?
        };
        let notice = posting(&store, 100 + number).await?;
        let id = store.deliver_with(message, vec![notice]).await?.unwrap();
        *done += 1;
        for place in 0..2 {
            let notice = posting(&store, 200 + number).await?;
            let over = HandOver {
                deliveries: vec![to(2)],
                queued: vec![new_item(&[("d@x.example", 1)])],
            };
            let statuses = vec![(place, ok())];
            let handed = store.hand_over(id, statuses.clone(), over, DATE, vec![notice]);
            assert!(handed.await?);
            *done += 1;
            // What is final stays, and nothing is handed over twice.
            let again = HandOver {
                deliveries: vec![to(2)],
                ..HandOver::default()
            };
            assert!(!store.hand_over(id, statuses, again, DATE, vec![]).await?);
        }
    }
    store.close().await;
    Ok(())
}

#[test]
fn what_the_owner_drops_or_holds_is_not_handed_over() {
    smol::block_on(async {
        let store = open(&SimDisk::new()).unwrap();
        new_accounts(&store).await;
        let to = [("bob@here.example", 1), ("c@drop.example", 1)];
        let id = queue(&store, 1, 500, new_item(&to)).await.unwrap();
        let hand = async |places: &[usize]| {
            let over = HandOver {
                deliveries: posting(&store, 2).await.unwrap().deliveries,
                queued: vec![new_item(&[("d@x.example", 1)])],
            };
            let statuses = places.iter().map(|place| (*place, ok())).collect();
            store.hand_over(id, statuses, over, DATE, vec![]).await
        };
        let change = async |change| store.update_queue(vec![(id, change)], vec![]).await;
        let domain = Some(Domain::parse("drop.example").unwrap());
        assert_eq!(change(QueueChange::Drop { domain }).await, Ok(1));
        assert_eq!(hand(&[0, 1]).await, Ok(false));
        assert_eq!(change(QueueChange::Hold(true)).await, Ok(1));
        assert_eq!(hand(&[0]).await, Ok(false));
        let queued = || store.look(|it| it.queue_len()).unwrap();
        assert_eq!(
            (inbox(&store, AccountId(1)).await.messages, queued()),
            (0, 1)
        );
        assert_eq!(change(QueueChange::Hold(false)).await, Ok(1));
        assert_eq!(hand(&[0]).await, Ok(true));
        assert_eq!(
            (inbox(&store, AccountId(1)).await.messages, queued()),
            (1, 1)
        );
        expect_sound(&store).await;
        store.close().await;
    });
}

#[test]
fn a_power_cut_leaves_no_delivery_without_its_notice_and_no_notice_without_it() {
    let start = SimDisk::new();
    smol::block_on(async {
        let store = open(&start).unwrap();
        new_accounts(&store).await;
        store.close().await;
    });
    let whole = start.after_kill();
    smol::block_on(hand(&whole, &mut 0)).unwrap();
    for cut in 0..=whole.syncs() {
        let disk = start.after_kill();
        disk.cut_at(cut);
        let mut done = 0;
        let _ = smol::block_on(hand(&disk, &mut done));
        let disk = disk.after_power_cut(cut);
        smol::block_on(async {
            let store = open(&disk).unwrap();
            expect_sound(&store).await;
            let here = inbox(&store, AccountId(2)).await.messages as usize;
            let notices = inbox(&store, AccountId(1)).await.messages as usize;
            assert_eq!(here, notices, "cut {cut}");
            assert!(
                here == done || here == done + 1,
                "cut {cut}: {here} of {done}"
            );
            // Of three steps one queues a message, two pass it on and the last removes it.
            let (rounds, step) = (here / 3, here % 3);
            assert_eq!(items(&store).len(), 2 * rounds + step, "cut {cut}");
            for item in items(&store) {
                bytes_of(&store, item.email).await.unwrap();
            }
            store.close().await;
        });
    }
}

/// What a run has been told of one message: queued, then each recipient delivered in turn,
/// the last with a notice.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Progress {
    queued: bool,
    delivered: usize,
}

/// Queues messages with a local recipient and two remote ones, and delivers to these one by one.
async fn work(disk: &SimDisk, progress: &mut Vec<Progress>) -> Result<()> {
    let store = open(disk)?;
    for number in 0..6 {
        progress.push(Progress::default());
        let size = if number == 3 { 600_000 } else { 2000 };
        let staged = stage(&store, &text(number, size)).await?;
        let local = Delivery {
            account: AccountId(2),
            mailbox: MailboxName::inbox(),
            flags: FlagNames::default(),
        };
        let item = new_item(&[("a@x.example", 1), ("b@x.example", 1)]);
        let id = store.deliver(staged, DATE, vec![local], Some(item)).await?;
        let now = progress.last_mut().unwrap();
        now.queued = true;
        for place in 0..2 {
            let notices = match place {
                1 => vec![posting(&store, 100 + number).await?],
                _ => vec![],
            };
            let change = QueueChange::Statuses(vec![(place, ok())]);
            store
                .update_queue(vec![(id.unwrap(), change)], notices)
                .await?;
            now.delivered += 1;
        }
    }
    store.close().await;
    Ok(())
}

#[test]
fn a_power_cut_at_any_sync_loses_no_item_and_repeats_no_recipient() {
    let start = SimDisk::new();
    smol::block_on(async {
        let store = open(&start).unwrap();
        new_accounts(&store).await;
        store.close().await;
    });
    let whole = start.after_kill();
    smol::block_on(work(&whole, &mut Vec::new())).unwrap();
    assert!(whole.syncs() > 20, "{}", whole.syncs());
    for cut in 0..whole.syncs() {
        let disk = start.after_kill();
        disk.cut_at(cut);
        let mut told = Vec::new();
        let _ = smol::block_on(work(&disk, &mut told));
        let disk = disk.after_power_cut(cut);
        smol::block_on(async {
            let store = open(&disk).unwrap();
            expect_whole_log(&disk);
            expect_sound(&store).await;
            let here = inbox(&store, AccountId(2)).await.messages as usize;
            let notices = inbox(&store, AccountId(1)).await.messages as usize;
            let left = items(&store);
            assert_eq!(
                here,
                left.len() + notices,
                "cut {cut}: an item or a notice is missing"
            );
            let queued = told.iter().filter(|it| it.queued).count();
            let done = told.iter().filter(|it| it.delivered == 2).count();
            assert!(
                here == queued || here == queued + 1,
                "cut {cut}: {here} of {queued}"
            );
            assert!(
                notices == done || notices == done + 1,
                "cut {cut}: {notices} of {done}"
            );
            for item in left {
                let recorded = item.recipients.iter().filter(|it| it.status == ok());
                let last = told.iter().rfind(|it| it.queued && it.delivered < 2);
                let told = last.map_or(0, |it| it.delivered);
                assert!(
                    recorded.count() >= told,
                    "cut {cut}: a success is forgotten"
                );
                bytes_of(&store, item.email).await.unwrap();
            }
            store.close().await;
        });
    }
}
