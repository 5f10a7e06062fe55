//! The check: what is damaged is named, what can be derived is put right, and nothing that is
//! intact is lost or changed by that.

use super::support::*;
use crate::address::Address;
use crate::mail::outgoing::{Envelope, Notify, Recipient, Status};
use crate::mail::*;
use crate::store::check::{Kind, Pages, Progress, Report, Verdict, Wanted, check_pages};
use crate::store::outbox::ITEM;
use crate::store::schema::*;
use crate::store::simdisk::{Seeded, SimDisk};
use crate::store::table::{Field, raw};
use crate::store::*;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;

type Raw = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Row = (Vec<u8>, Vec<u8>);
/// Whether a change may cost the message of this mailbox and UID, and this email.
type Exempt = Box<dyn Fn(&(u32, u32), u64) -> bool>;

/// All tables.
const TABLES: [&str; 14] = [
    "state",
    "accounts",
    "addresses",
    "domains",
    "mailboxes",
    "names",
    "subscriptions",
    "messages",
    "vanished",
    "blobs",
    "structures",
    "doomed",
    "outbox",
    "records",
];

fn database(disk: &SimDisk) -> redb::Database {
    recover::open_database(disk, 4 << 20, &Default::default()).unwrap()
}

/// Changes rows behind the store's back.
fn change(disk: &SimDisk, table: &'static str, f: impl FnOnce(&mut redb::Table<&[u8], &[u8]>)) {
    let db = database(disk);
    let txn = db.begin_write().unwrap();
    f(&mut txn.open_table(Raw::new(table)).unwrap());
    txn.commit().unwrap();
}

fn rows(disk: &SimDisk, table: &'static str) -> Vec<Row> {
    let db = database(disk);
    let txn = db.begin_read().unwrap();
    let table = raw(&txn, table).unwrap();
    let rows = table.iter().unwrap().map(|row| {
        let (key, value) = row.unwrap();
        (key.value().to_vec(), value.value().to_vec())
    });
    rows.collect()
}

fn key<T: Field>(value: T::Of<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    T::put(value, &mut out);
    out
}

fn queued(to: &str) -> NewItem {
    NewItem {
        account: None,
        ours: true,
        name: "7f".into(),
        submitted: 40,
        envelope: Envelope::default(),
        recipients: vec![Recipient {
            address: Address::parse(to).unwrap(),
            notify: Notify::default(),
            original: None,
            accepted: None,
            status: Status::waiting(4_000_000_000),
        }],
    }
}

/// Two accounts, an alias, mail in several mailboxes, some of it twice, a large one, one in the
/// queue, expunged ones, keywords, records; closed.
pub(in crate::store) async fn fill(disk: &SimDisk) {
    let store = open(disk).unwrap();
    let alice = account(&store, "alice@demo.test").await;
    let bob = account(&store, "bob@other.test").await;
    let alias = Address::parse("ally@demo.test").unwrap();
    store.add_alias(alias, alice).await.unwrap();
    for n in 0..40 {
        deliver(&store, alice, &text(n, 300 + 40 * n as usize))
            .await
            .unwrap();
    }
    deliver(&store, bob, &text(50, 700_000)).await.unwrap();
    let staged = stage(&store, &text(51, 5000)).await.unwrap();
    let both = [alice, bob].map(|account| Delivery {
        account,
        mailbox: name("Lists/rust"),
        flags: flags(Flags::SEEN, &["work"]),
    });
    let item = Some(queued("x@far.test"));
    store
        .deliver(staged, DATE, both.into(), item)
        .await
        .unwrap();
    let inbox = inbox(&store, alice).await.id;
    let archive = mailbox(&store, alice, "Archive").await.unwrap().id;
    store.copy(inbox, uids(&[(1, 5)]), archive).await.unwrap();
    let expunged = store.expunge(inbox, Some(uids(&[(7, 9)])), true, Origin(None));
    expunged.await.unwrap();
    store
        .put_record("route", "far.test", b"somewhere".to_vec())
        .await
        .unwrap();
    let grant = crate::mail::addressing::Grant::parse("@demo.test").unwrap();
    store
        .change_grants(alice, move |all| all.push(grant.clone()))
        .await
        .unwrap();
    store.close().await;
}

fn check(disk: &SimDisk, repair: bool) -> Report {
    let store = open(disk).unwrap();
    let wanted = Wanted {
        bytes: true,
        repair,
        ..Wanted::default()
    };
    let report = store.check(wanted, &Progress::default());
    smol::block_on(store.close());
    report
}

/// Mailbox and UID -> email, flags, bytes; of those whose bytes can be read.
fn contents(disk: &SimDisk) -> BTreeMap<(u32, u32), (u64, u64, Vec<u8>)> {
    let store = open(disk).unwrap();
    let found = store.look(|snapshot| {
        let mut found = BTreeMap::new();
        let blocks = (1..20).flat_map(|id| (0..4).map(move |block| (id, block * 32)));
        for (id, first) in blocks {
            let block = uids(&[(first.max(1), first + 31)]);
            // One that can't be read has no messages; the test knows which.
            let _ = snapshot.messages(MailboxId(id), &block, |message| {
                let mut bytes = Vec::new();
                let read = snapshot
                    .blob(message.email)
                    .and_then(|mut blob| blob.read(0..u32::MAX, &mut bytes));
                if read.is_ok() {
                    let key = (id, message.uid.get());
                    found.insert(key, (message.email.0, message.flags.0, bytes));
                }
                Ok(true)
            });
        }
        Ok(found)
    });
    smol::block_on(store.close());
    found.unwrap()
}

#[test]
fn a_sound_store_is_sound_and_stays_as_it_is() {
    let disk = SimDisk::new();
    smol::block_on(fill(&disk));
    let before: Vec<_> = TABLES.iter().map(|table| rows(&disk, table)).collect();
    let report = check(&disk, true);
    assert_eq!(report.problems, []);
    assert_eq!(report.verdict(), Verdict::Sound);
    assert_eq!((report.messages, report.more), (40 - 3 + 1 + 2 + 5, 0));
    assert!(report.bytes > 700_000, "{}", report.bytes);
    let after: Vec<_> = TABLES.iter().map(|table| rows(&disk, table)).collect();
    // The place of the log moves on with every start.
    assert_eq!(before[1..8], after[1..8]);
    assert_eq!(before[10..], after[10..]);
    assert_eq!(check_pages(&disk), Ok(Pages::Whole));
}

/// Changes the first row of `table` whose value `f` takes, by its value.
fn edit(disk: &SimDisk, table: &'static str, mut f: impl FnMut(&[u8], &[u8]) -> Option<Vec<u8>>) {
    let mut found = rows(disk, table).into_iter();
    let (key, value) = found
        .find_map(|(key, value)| f(&key, &value).map(|value| (key, value)))
        .unwrap();
    change(disk, table, |rows| {
        rows.insert(key.as_slice(), value.as_slice()).unwrap();
    });
}

fn edit_mailbox(disk: &SimDisk, f: impl Fn(&mut MailboxRow)) {
    edit(disk, "mailboxes", |_, value| {
        let mut row = MailboxRow::decode(value).ok()?;
        (row.messages > 0).then(|| {
            f(&mut row);
            row.encode()
        })
    });
}

fn edit_blob(disk: &SimDisk, f: impl Fn(&mut BlobRow)) {
    edit(disk, "blobs", |key, value| {
        let mut row = BlobRow::decode(value).ok()?;
        (key[0] == 0 && row.references > 1).then(|| {
            f(&mut row);
            row.encode()
        })
    });
}

fn edit_segment(disk: &SimDisk, f: impl Fn(&mut SegmentRow)) {
    edit(disk, "blobs", |key, value| {
        let mut row = SegmentRow::decode(value).ok()?;
        (key[0] != 0 && !row.single).then(|| {
            f(&mut row);
            row.encode()
        })
    });
}

fn remove(disk: &SimDisk, table: &'static str, choose: impl Fn(&[u8]) -> bool) {
    let mut found = rows(disk, table).into_iter();
    let (key, _) = found.find(|(key, _)| choose(key)).unwrap();
    change(disk, table, |rows| {
        rows.remove(key.as_slice()).unwrap();
    });
}

fn put(disk: &SimDisk, table: &'static str, key: &[u8], value: &[u8]) {
    change(disk, table, |rows| {
        rows.insert(key, value).unwrap();
    });
}

type Damage = (&'static str, fn(&SimDisk));

/// What follows from other rows.
const DERIVED: &[Damage] = &[
    ("messages 99 instead of", |disk| {
        edit_mailbox(disk, |row| row.messages = 99)
    }),
    ("unseen 0 instead of", |disk| {
        edit_mailbox(disk, |row| row.unseen = 0)
    }),
    ("bytes 1 instead of", |disk| {
        edit_mailbox(disk, |row| row.size = 1)
    }),
    ("UIDNEXT 2 instead of", |disk| {
        edit_mailbox(disk, |row| row.uid_next = 2)
    }),
    ("HIGHESTMODSEQ 1 instead of", |disk| {
        edit_mailbox(disk, |row| row.modseq = 1)
    }),
    ("expunges 8 instead of", |disk| {
        edit_mailbox(disk, |row| row.vanished_rows = 8)
    }),
    ("copies instead of", |disk| {
        edit_blob(disk, |row| row.references = 1)
    }),
    ("copies instead of", |disk| {
        edit_blob(disk, |row| row.references = 70)
    }),
    ("in one row and another", |disk| {
        edit_blob(disk, |row| row.size += 1)
    }),
    ("too few", |disk| edit_segment(disk, |row| row.live -= 500)),
    ("too many", |disk| edit_segment(disk, |row| row.live += 500)),
    ("the domains of this server", |disk| {
        put(disk, "domains", b"demo.test", &[0, 0, 0, 9])
    }),
    ("the domains of this server", |disk| {
        remove(disk, "domains", |_| true)
    }),
    ("does not reach its account", |disk| {
        remove(disk, "addresses", |_| true)
    }),
    ("that doesn't have it", |disk| {
        put(disk, "addresses", b"eve\0demo.test", &[0, 0, 0, 1])
    }),
    ("can't be found by its name", |disk| {
        remove(disk, "names", |key| key.ends_with(b"Lists/rust"))
    }),
    ("leads to no mailbox of it", |disk| {
        put(
            disk,
            "names",
            &key::<(u32, &str)>((1, "Ghost")),
            &[0, 0, 0, 77],
        )
    }),
    ("a subscription to Old", |disk| {
        put(disk, "subscriptions", &key::<(u32, &str)>((9, "Old")), &[])
    }),
    ("has lost its row", |disk| {
        remove(disk, "mailboxes", |key| *key == [0, 0, 0, 1])
    }),
    ("has lost its row", |disk| {
        remove(disk, "accounts", |_| true)
    }),
    ("a number that was not given out", |disk| {
        put(disk, "state", b"mailbox", &[0; 8])
    }),
    ("is never tried", |disk| {
        remove(disk, "outbox", |key| key[..8] != ITEM.to_be_bytes())
    }),
    ("a wrong place in the order", |disk| {
        put(disk, "outbox", &key::<(u64, u64)>((17, 4)), &[])
    }),
    ("is not that of its bytes", |disk| {
        remove(disk, "structures", |_| true)
    }),
    ("is not that of its bytes", |disk| {
        edit(disk, "structures", |_, value| Some([value, b"x"].concat()))
    }),
    ("a structure of a message", |disk| {
        put(disk, "structures", &[0, 0, 0, 0, 0, 9, 9, 9], b"x")
    }),
    ("a record grant", |disk| {
        put(
            disk,
            "records",
            &key::<(&str, &str)>(("grant", "77")),
            b"@demo.test",
        )
    }),
];

#[test]
fn what_follows_from_other_rows_is_put_right() {
    let sound = SimDisk::new();
    smol::block_on(fill(&sound));
    let before = contents(&sound);
    for (n, (said, damage)) in DERIVED.iter().enumerate() {
        let disk = sound.after_kill();
        damage(&disk);
        let found = check(&disk, false);
        let kinds = found.problems.iter().map(|it| (it.kind, it.repaired));
        assert!(
            found.problems.iter().any(|it| it.what.contains(said)),
            "{n} {said}: {:?}",
            found.problems
        );
        let derived = kinds.filter(|it| *it == (Kind::Derived, false)).count();
        assert!(derived > 0, "{n} {said}: {:?}", found.problems);
        let repaired = check(&disk, true);
        let problems = &repaired.problems;
        assert_eq!(
            repaired.verdict(),
            Verdict::Repaired,
            "{n} {said}: {problems:?}"
        );
        let again = check(&disk, true);
        assert_eq!(again.problems, [], "{n} {said} was {:?}", repaired.problems);
        assert_eq!(contents(&disk), before, "{n} {said}");
    }
}

#[test]
fn a_deleted_mark_on_a_mailbox_that_is_there_deletes_nothing() {
    let disk = SimDisk::new();
    smol::block_on(fill(&disk));
    let before = contents(&disk);
    put(&disk, "doomed", &[0, 0, 0, 1], &[]);
    // The start looks after deleted mailboxes by itself.
    check(&disk, true);
    assert_eq!(check(&disk, false).problems, []);
    assert_eq!(contents(&disk), before);
}

#[test]
fn a_segment_without_its_row_is_kept() {
    let disk = SimDisk::new();
    smol::block_on(fill(&disk));
    let before = contents(&disk);
    let key = segment_key(2).to_be_bytes();
    assert!(rows(&disk, "blobs").iter().any(|row| row.0 == key));
    remove(&disk, "blobs", |it| *it == key);
    let report = check(&disk, true);
    assert_eq!(report.verdict(), Verdict::Damaged);
    assert_eq!(contents(&disk), before);
}

#[test]
fn damaged_bytes_are_named_by_account_mailbox_and_subject() {
    let disk = SimDisk::new();
    smol::block_on(fill(&disk));
    let before = contents(&disk);
    let (_, row) = rows(&disk, "blobs").into_iter().nth(2).unwrap();
    let row = BlobRow::decode(&row).unwrap();
    disk.damage("mail/00000001.seg", row.offset as usize + 20);
    let report = check(&disk, true);
    let what: Vec<&str> = report.problems.iter().map(|it| it.what.as_str()).collect();
    // It was copied to Archive.
    assert_eq!(what.len(), 2, "{what:?}");
    for (what, place) in what.iter().zip(["INBOX UID 3", "Archive UID 3"]) {
        let start = format!("alice@demo.test {place} \"message 2\": ");
        assert!(what.starts_with(&start), "{what}");
    }
    assert_eq!(report.verdict(), Verdict::Damaged);
    let after = contents(&disk);
    assert_eq!(after.len() + 2, before.len());
    assert!(after.iter().all(|(key, value)| before[key] == *value));
}

#[test]
fn a_page_that_is_not_as_it_was_written_is_found() {
    let disk = SimDisk::new();
    smol::block_on(fill(&disk));
    let length = disk.length("meta.redb").unwrap();
    let mut random = Seeded::new(7);
    let mut found = 0;
    for _ in 0..40 {
        let damaged = disk.after_kill();
        damaged.damage("meta.redb", random.below(length as u64) as usize);
        let before = damaged.after_kill();
        found += usize::from(check_pages(&damaged) != Ok(Pages::Whole));
        // Nothing was written.
        assert_eq!(damaged.length("meta.redb"), before.length("meta.redb"));
    }
    // Free pages are nobody's.
    assert!(found > 0);
}

#[test]
fn a_cancelled_check_ends_and_says_so() {
    let disk = SimDisk::new();
    smol::block_on(fill(&disk));
    let store = open(&disk).unwrap();
    let progress = Progress::default();
    progress.cancel();
    let report = store.check(Wanted::default(), &progress);
    assert!(!report.complete);
    assert_eq!(report.verdict(), Verdict::Unfinished);
    smol::block_on(store.close());
}

/// Mail comes and goes all the while: none of that is taken for damage.
#[test]
fn a_store_at_work_is_sound() {
    let disk = SimDisk::new();
    smol::block_on(fill(&disk));
    let store = open(&disk).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (own, over) = (store.clone(), &stop);
        scope.spawn(move || {
            smol::block_on(async {
                let account = AccountId(1);
                let inbox = inbox(&own, account).await.id;
                let archive = mailbox(&own, account, "Archive").await.unwrap().id;
                let mut n = 100;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    deliver(&own, account, &text(n % 40, 400)).await.unwrap();
                    let last = u32::MAX - 1;
                    own.copy(inbox, uids(&[(1, last)]), archive).await.unwrap();
                    own.move_messages(archive, uids(&[(1, 30)]), inbox, Origin(None))
                        .await
                        .unwrap();
                    own.expunge(inbox, Some(uids(&[(20, last)])), true, Origin(None))
                        .await
                        .unwrap();
                    own.expunge(archive, None, true, Origin(None)).await.ok();
                    n += 1;
                }
            })
        });
        for repair in [false, true, true] {
            let wanted = Wanted {
                bytes: true,
                repair,
                ..Wanted::default()
            };
            let report = store.check(wanted, &Progress::default());
            let wrong = report
                .problems
                .iter()
                .filter(|it| it.kind != Kind::Unsettled);
            assert_eq!(wrong.count(), 0, "{:?}", report.problems);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    smol::block_on(store.close());
    assert_eq!(check(&disk, false).problems, []);
}

/// What one random change of a row may cost: nothing but what that row tells of.
#[test]
fn no_repair_loses_or_changes_what_is_intact() {
    let sound = SimDisk::new();
    smol::block_on(fill(&sound));
    let before = contents(&sound);
    let all: Vec<Vec<Row>> = TABLES.iter().map(|table| rows(&sound, table)).collect();
    for seed in 0..150 {
        let mut random = Seeded::new(seed);
        let disk = sound.after_kill();
        let mut exempt: Vec<Exempt> = Vec::new();
        let mut told = String::new();
        for _ in 0..1 + random.below(2) {
            let table = random.below(TABLES.len() as u64) as usize;
            let Some((key, value)) = all[table].get(random.below(all[table].len() as u64) as usize)
            else {
                continue;
            };
            let (key, mut value) = (key.clone(), value.clone());
            let how = random.below(4);
            match how {
                0 => value.truncate(random.below(value.len() as u64) as usize),
                _ if value.is_empty() => {}
                _ => {
                    let at = random.below(value.len() as u64) as usize;
                    value[at] ^= 1 << random.below(8);
                }
            }
            told += &format!("{} {how} {key:?} ", TABLES[table]);
            change(&disk, TABLES[table], |rows| match how {
                3 => drop(rows.remove(key.as_slice()).unwrap()),
                _ => drop(rows.insert(key.as_slice(), value.as_slice()).unwrap()),
            });
            match (TABLES[table], key.len()) {
                ("messages", 8) => {
                    let block = u64::from_be_bytes(key.try_into().unwrap());
                    exempt.push(Box::new(move |&(mailbox, uid), _| {
                        block_key(MailboxId(mailbox), uid) == block
                    }));
                }
                ("blobs", 8) => {
                    let number = u64::from_be_bytes(key.try_into().unwrap());
                    exempt.push(Box::new(move |_, email| email == number));
                }
                _ => {}
            }
        }
        // It may say that it can't be opened: then nothing is done to it.
        let Ok(store) = open(&disk) else { continue };
        smol::block_on(store.close());
        check(&disk, true);
        check(&disk, true);
        let after = contents(&disk);
        for (key, value) in &before {
            let spared = exempt.iter().any(|it| it(key, value.0));
            if !spared {
                assert_eq!(after.get(key), Some(value), "{seed}: {key:?}, {told}");
            }
        }
    }
}
