//! What is changed between the look of a check and its repair, and what can't be read.

use super::repair::Fix;
use super::{Check, Kind, Progress, Stop, Wanted};
use crate::mail::*;
use crate::store::addressing;
use crate::store::check::Verdict;
use crate::store::outbox::ITEM;
use crate::store::schema::*;
use crate::store::simdisk::SimDisk;
use crate::store::tests::check::fill;
use crate::store::tests::support::*;
use crate::store::{Store, block};
use smol::block_on;

const REPAIR: Wanted = Wanted {
    bytes: true,
    repair: true,
    gently: false,
    records: &[],
};
const ALICE: AccountId = AccountId(1);

fn filled() -> Store {
    let disk = SimDisk::new();
    block_on(fill(&disk));
    open(&disk).unwrap()
}

fn segments(store: &Store) -> Vec<(u32, SegmentRow)> {
    let rows = store.look(|snapshot| {
        let mut found = Vec::new();
        for row in BLOBS.read(&snapshot.txn)?.range(segment_key(0)..)? {
            let (key, row) = row?;
            found.push((key.value() as u32, SegmentRow::decode(row.value())?));
        }
        Ok(found)
    });
    rows.unwrap()
}

fn live(store: &Store, number: u32) -> Option<u64> {
    let mut rows = segments(store).into_iter();
    rows.find(|it| it.0 == number).map(|it| it.1.live)
}

fn assert_sound(store: &Store) {
    let report = store.check(REPAIR, &Progress::default());
    assert_eq!(
        (report.verdict(), &report.problems),
        (Verdict::Sound, &vec![])
    );
}

#[test]
fn a_segment_is_put_right_once_while_another_is_unsettled() {
    let store = filled();
    let right = segments(&store);
    for (number, row) in right.clone() {
        let mut row = row;
        row.live *= 2;
        let row = row.encode();
        let doubled = store.write(move |tx| {
            let blobs = &mut tx.change().blobs;
            blobs.insert(segment_key(number), row.as_slice())?;
            Ok(())
        });
        block_on(doubled).unwrap();
    }
    let wrong = right.iter().filter(|it| it.1.live > 0).count();
    assert!(wrong > 1);
    let progress = Progress::default();
    let mut check = Check::new(&store, REPAIR, &progress, 0);
    store.shared().touched.start();
    block_on(deliver(&store, ALICE, &text(90, 400))).unwrap();
    assert!(check.settle().is_ok());
    let mut numbers = right.iter().map(|it| it.0);
    assert!(numbers.any(|it| store.shared().touched.has_segment(it)));
    assert!(check.live_bytes(u64::MAX).is_ok());
    store.shared().touched.stop();
    assert_eq!(check.fixes.len(), wrong);
    check.fix();
    assert!(check.report.problems.iter().all(|it| it.repaired));
    assert_sound(&store);
    block_on(store.close());
}

#[test]
fn a_segment_that_a_message_names_is_not_taken_away() {
    let store = filled();
    let progress = Progress::default();
    for (segment, row) in segments(&store).into_iter().filter(|it| it.1.live > 0) {
        let mut check = Check::new(&store, REPAIR, &progress, 0);
        for (kept, counted) in [(row.live, 0), (row.live + 1, row.live)] {
            let fix = Fix::Live {
                segment,
                kept,
                counted,
            };
            check.derived("none".into(), fix);
        }
        check.fix();
        let refused = |kind: Kind| kind == Kind::Unsettled;
        assert!(check.report.problems.iter().all(|it| refused(it.kind)));
        assert_eq!(live(&store, segment), Some(row.live));
    }
    assert_sound(&store);
    block_on(store.close());
}

#[test]
fn what_was_deleted_or_renamed_since_the_look_is_left_alone() {
    let store = filled();
    let of = |path: &'static str| block_on(mailbox(&store, ALICE, path)).unwrap().id.0;
    let (archive, lists) = (of("Archive"), of("Lists/rust"));
    let place = store.look(|snapshot| {
        let outbox = OUTBOX.read(&snapshot.txn)?;
        let mut found = None;
        for row in outbox.range((0, 0)..)? {
            let key = row?.0.value();
            found = Some(key).filter(|key| key.0 != ITEM).or(found);
        }
        Ok(found)
    });
    let (moment, id) = place.unwrap().unwrap();
    let progress = Progress::default();
    let mut check = Check::new(&store, REPAIR, &progress, 0);
    for fix in [
        Fix::Name(ALICE.0, "Archive".into(), archive),
        Fix::Doomed(archive),
        Fix::Name(ALICE.0, "Lists/rust".into(), lists),
        Fix::StrayName(ALICE.0, "Lists/new".into()),
        Fix::StrayName(ALICE.0, "Archive".into()),
        Fix::StraySubscription(ALICE.0, "INBOX".into()),
        Fix::StrayRecord(addressing::GRANT.into(), ALICE.0.to_string()),
        Fix::StrayPlace(moment, crate::mail::outgoing::QueueId(id)),
        Fix::Inbox(AccountId(99)),
    ] {
        check.derived("none".into(), fix);
    }
    block_on(async {
        store.subscribe(ALICE, name("INBOX"), true).await.unwrap();
        let deleted = store.delete_mailbox(ALICE, name("Archive"));
        deleted.await.unwrap();
        let renamed = store.rename_mailbox(ALICE, name("Lists/rust"), name("Lists/new"));
        renamed.await.unwrap();
    });
    check.fix();
    for (n, problem) in check.report.problems.iter().enumerate() {
        assert_eq!(problem.kind, Kind::Unsettled, "{n} {problem:?}");
    }
    assert!(block_on(mailbox(&store, ALICE, "Archive")).is_none());
    assert!(block_on(mailbox(&store, ALICE, "Lists/new")).is_some());
    assert_sound(&store);
    block_on(store.close());
}

#[test]
fn counts_are_not_lowered_where_a_mailbox_cannot_be_read() {
    let store = filled();
    let archive = block_on(mailbox(&store, ALICE, "Archive")).unwrap().id;
    let garbage: &[u8] = &[0xff; 3];
    assert!(block::decode(0, garbage, |_| Ok(true)).is_err());
    assert!(MailboxRow::decode(garbage).is_err());
    let spoilt = store.write(move |tx| {
        tx.change()
            .messages
            .insert(block_key(archive, 0), garbage)?;
        tx.change().mailboxes.insert(archive.0, garbage)?;
        Ok(())
    });
    block_on(spoilt).unwrap();
    let progress = Progress::default();
    let mut check = Check::new(&store, REPAIR, &progress, 0);
    assert!(check.mailboxes().is_ok());
    assert!(!check.messages_certain);
    let mut check = Check::new(&store, REPAIR, &progress, 0);
    assert!(check.references().is_ok());
    assert!(!check.messages_certain);
    let problems = &check.report.problems;
    let of_copies = |it: &&super::Problem| it.what.contains("copies instead of");
    assert_eq!(problems.iter().filter(of_copies).count(), 5);
    assert!(check.fixes.is_empty());
    block_on(store.close());
}

#[test]
fn a_panic_of_the_database_is_damage() {
    let store = filled();
    let progress = Progress::default();
    let mut check = Check::new(&store, REPAIR, &progress, 0);
    let looked = check.look_and::<()>(|_, _| panic!("a page is damaged"));
    assert!(matches!(looked, Err(Stop::Failed(_))));
    assert_sound(&store);
    block_on(store.close());
}
