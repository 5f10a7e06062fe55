//! A program with a newer schema on trial leaves a store that the one before can open; when it
//! raises the schema, it does so entirely or not at all, and the one before says why it can't.

use super::support::*;
use crate::mail::*;
use crate::store::check::Verdict;
use crate::store::disk::Disk;
use crate::store::recover;
use crate::store::schema::{SCHEMAS, Schemas};
use crate::store::simdisk::SimDisk;
use crate::store::*;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

/// What the next schema has that this one hasn't.
const NEWS: TableDefinition<&str, u64> = TableDefinition::new("news");

/// A table that every program has, as redb has it.
const DOOMED_ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("doomed");

/// Counts how often it was done.
fn step(txn: &WriteTransaction) -> Result<()> {
    let mut table = txn.open_table(NEWS)?;
    let before = table.get("steps")?.map_or(0, |row| row.value());
    table.insert("steps", before + 1)?;
    Ok(())
}

const NEXT: Schemas = Schemas {
    oldest: SCHEMAS.oldest,
    steps: &[step],
};
const OLD: u64 = SCHEMAS.oldest;
const ALICE: AccountId = AccountId(1);

/// A start of the program that knows these.
fn start(disk: &SimDisk, schemas: Schemas, raise_schema: bool) -> Result<Store> {
    let options = Options {
        raise_schema,
        schemas,
        ..options()
    };
    Store::open_on(Arc::new(disk.clone()) as Arc<dyn Disk>, options)
}

fn schema_of(store: &Store) -> u64 {
    store.look(|it| it.schema()).unwrap()
}

/// How often the step was done.
fn steps_of(store: &Store) -> u64 {
    let steps = store.look(|it| {
        Ok(match it.txn.open_table(NEWS) {
            Ok(table) => table.get("steps")?.map_or(0, |row| row.value()),
            Err(_) => 0,
        })
    });
    steps.unwrap()
}

async fn count(store: &Store) -> u32 {
    inbox(store, ALICE).await.messages
}

/// One of the old program, with a message.
async fn old_store() -> SimDisk {
    let disk = SimDisk::new();
    let store = start(&disk, SCHEMAS, true).unwrap();
    account(&store, "alice@demo.test").await;
    deliver(&store, ALICE, &text(1, 3000)).await.unwrap();
    store.close().await;
    disk
}

#[test]
fn on_trial_the_store_stays_one_that_the_older_program_opens() {
    smol::block_on(async {
        let disk = old_store().await;
        for killed in [false, true] {
            let store = start(&disk, NEXT, false).unwrap();
            assert_eq!((schema_of(&store), steps_of(&store)), (OLD, 0));
            let before = count(&store).await;
            deliver(&store, ALICE, &text(2, 30_000)).await.unwrap();
            let disk = match killed {
                // What it wrote is in nothing but the log.
                true => disk.after_kill(),
                false => {
                    store.close().await;
                    disk.clone()
                }
            };
            let older = start(&disk, SCHEMAS, true).unwrap();
            assert_eq!(count(&older).await, before + 1);
            deliver(&older, ALICE, &text(3, 3000)).await.unwrap();
            older.close().await;
            store.close().await;
        }
        // One that is made on trial too.
        let disk = SimDisk::new();
        let store = start(&disk, NEXT, false).unwrap();
        account(&store, "alice@demo.test").await;
        store.close().await;
        let older = start(&disk, SCHEMAS, true).unwrap();
        assert_eq!(count(&older).await, 0);
        older.close().await;
    });
}

#[test]
fn the_first_start_after_it_raises_and_the_older_program_names_both() {
    smol::block_on(async {
        let disk = old_store().await;
        let store = start(&disk, NEXT, false).unwrap();
        deliver(&store, ALICE, &text(2, 3000)).await.unwrap();
        // The log still has that message.
        let disk = disk.after_kill();
        store.close().await;
        for _ in 0..2 {
            let store = start(&disk, NEXT, true).unwrap();
            assert_eq!((schema_of(&store), steps_of(&store)), (OLD + 1, 1));
            assert_eq!(count(&store).await, 2);
            store.close().await;
        }
        // On trial, or beside a stopped server, it is as it is.
        let store = start(&disk, NEXT, false).unwrap();
        assert_eq!(schema_of(&store), OLD + 1);
        store.close().await;
        let why = start(&disk, SCHEMAS, true).err().unwrap().to_string();
        assert!(why.contains(&format!("has schema {}", OLD + 1)), "{why}");
        assert!(why.contains(&format!("reads schema {OLD}:")), "{why}");
        // Nothing was changed by that.
        let store = start(&disk, NEXT, true).unwrap();
        assert_eq!(count(&store).await, 2);
        store.close().await;
    });
}

/// As many tables as a program expects, and yet not all of them: one is of a newer program that
/// was on trial, and one came later than what made the store.
#[test]
fn tables_of_a_newer_program_are_passed_over_and_missing_ones_made() {
    smol::block_on(async {
        let disk = old_store().await;
        {
            let db = recover::open_database(&disk, options().cache, &Arc::default()).unwrap();
            let txn = db.begin_write().unwrap();
            step(&txn).unwrap();
            assert!(txn.delete_table(DOOMED_ROWS).unwrap());
            txn.commit().unwrap();
        }
        for raise_schema in [false, true] {
            let store = start(&disk, SCHEMAS, raise_schema).unwrap();
            assert_eq!((schema_of(&store), steps_of(&store)), (OLD, 1));
            let doomed = store.look(|it| Ok(it.txn.open_table(DOOMED_ROWS).map(drop)?));
            doomed.unwrap();
            let before = count(&store).await;
            deliver(&store, ALICE, &text(2, 3000)).await.unwrap();
            assert_eq!(count(&store).await, before + 1);
            let report = look_at(&store);
            assert_eq!(report.verdict(), Verdict::Sound, "{:?}", report.problems);
            store.close().await;
        }
    });
}

#[test]
fn a_power_cut_while_it_is_raised_leaves_one_or_the_other() {
    smol::block_on(async {
        let disk = old_store().await;
        let whole = disk.after_kill();
        start(&whole, NEXT, true).unwrap().close().await;
        let (mut old, mut new) = (0, 0);
        for cut in 0..whole.syncs() {
            for seed in 0..8 {
                let disk = disk.after_kill();
                disk.cut_at(cut);
                if let Ok(store) = start(&disk, NEXT, true) {
                    store.close().await;
                }
                let disk = disk.after_power_cut(seed);
                let store = start(&disk, NEXT, false).unwrap();
                let found = (schema_of(&store), steps_of(&store));
                assert_eq!(count(&store).await, 1);
                store.close().await;
                match found {
                    (OLD, 0) => {
                        old += 1;
                        let older = start(&disk, SCHEMAS, true).unwrap();
                        assert_eq!(count(&older).await, 1);
                        older.close().await;
                    }
                    found => {
                        new += 1;
                        assert_eq!(found, (OLD + 1, 1), "cut {cut}, seed {seed}");
                    }
                }
                let store = start(&disk, NEXT, true).unwrap();
                assert_eq!((schema_of(&store), steps_of(&store)), (OLD + 1, 1));
                deliver(&store, ALICE, &text(2, 3000)).await.unwrap();
                store.close().await;
            }
        }
        assert!(old > 0 && new > 0, "{old} old, {new} new");
    });
}
