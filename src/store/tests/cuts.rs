//! One long run of everything that the store does, and the power fails at every sync of it.

use super::model::{Op, World, expect_sound, new_accounts};
use super::outbox::{new_item, ok};
use super::support::*;
use crate::mail::outgoing::QueueId;
use crate::mail::*;
use crate::store::schema::{BLOBS, BlobRow};
use crate::store::simdisk::SimDisk;
use crate::store::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Rounds of the run; each has all operations.
const ROUNDS: u64 = 3;
/// Syncs that the run has to have at least.
const CUTS: u64 = 100;
/// Notes that make one transaction of 720 KB, and one too large for the log.
const SOME: u64 = 12;
const MANY: u64 = 18;
const NOTE: usize = 60_000;

#[derive(Clone, Debug)]
enum Step {
    Do(&'static str, Op),
    /// A message for two remote recipients.
    Queue(u64),
    /// One of them has it.
    Sent(u64, usize),
    /// So many records of that round: two such steps ask for a checkpoint.
    Note(u64, u64),
    /// Until the only message of Archive has moved out of a segment of dead ones.
    Compact,
    /// The store is closed and opened again.
    Reopen,
}

impl Step {
    fn kind(&self) -> &'static str {
        match self {
            Step::Do(kind, _) => kind,
            Step::Queue(_) => "queue",
            Step::Sent(..) => "sent",
            Step::Note(_, MANY) => "large transaction",
            Step::Note(..) => "checkpoint",
            Step::Compact => "compaction",
            Step::Reopen => "reopen",
        }
    }
}

fn steps() -> Vec<Step> {
    (0..ROUNDS).flat_map(round).collect()
}

/// What is done to one mailbox, and that each step of a round changes something, doesn't
/// depend on the rounds before but for the UIDs.
fn round(n: u64) -> Vec<Step> {
    let texts = |count: u64, size| {
        (0..count)
            .map(|it| (n * 100 + it, size))
            .collect::<Vec<_>>()
    };
    let (inbox, work, archive) = (
        || "INBOX".to_string(),
        || "work".to_string(),
        || "Archive".to_string(),
    );
    // INBOX gets ten messages a round, Archive twelve.
    let uid = n as u32 * 10 + 1;
    let large = n as u32 * 12 + 1;
    let both = vec![(1, inbox()), (2, inbox())];
    let deliver = |k, size| Step::Do("deliver", Op::Deliver(n * 100 + 50 + k, size, both.clone()));
    vec![
        Step::Do(
            "append",
            Op::Append(1, inbox(), texts(4, 2000), vec!["later"]),
        ),
        deliver(0, 3000),
        // In a file of its own.
        deliver(1, 700_000),
        Step::Queue(n),
        deliver(2, 100),
        deliver(3, 70_000),
        Step::Do("create", Op::Create(1, work())),
        Step::Do("copy", Op::Copy(1, inbox(), vec![(uid, uid + 5)], work())),
        Step::Do(
            "store",
            Op::Flags(
                1,
                inbox(),
                vec![(uid, uid + 3)],
                FlagChange::Add,
                Flags::FLAGGED.0,
                vec!["work"],
            ),
        ),
        Step::Do("move", Op::Move(1, inbox(), vec![(uid, uid + 1)], work())),
        Step::Sent(n, 0),
        Step::Note(n, SOME),
        Step::Do(
            "store",
            Op::Flags(
                1,
                work(),
                vec![(1, 4)],
                FlagChange::Set,
                Flags::DELETED.0,
                vec![],
            ),
        ),
        Step::Do("expunge", Op::Expunge(1, work(), None, false)),
        Step::Do(
            "append",
            Op::Append(1, archive(), texts(12, 60_000), vec![]),
        ),
        Step::Do(
            "expunge",
            Op::Expunge(1, archive(), Some(vec![(1, large + 10)]), true),
        ),
        Step::Compact,
        deliver(4, 1000),
        deliver(5, 1000),
        Step::Note(n + 50, SOME),
        Step::Sent(n, 1),
        Step::Do("rename", Op::Rename(1, work(), "box".into())),
        Step::Do("delete", Op::Delete(1, "box".into())),
        Step::Note(n + 70, if n == 1 { 1 } else { MANY }),
        Step::Do(
            "store",
            Op::Flags(
                2,
                inbox(),
                vec![(1, 90)],
                FlagChange::Add,
                Flags::SEEN.0,
                vec![],
            ),
        ),
        Step::Do(
            "expunge",
            Op::Expunge(1, inbox(), Some(vec![(1, uid + 8)]), true),
        ),
        Step::Reopen,
    ]
}

/// What can be seen: mailboxes, the queue (number of the message -> which recipients have it),
/// records (key -> round).
#[derive(Clone, Debug, PartialEq)]
struct Whole {
    mail: World,
    queue: BTreeMap<u64, Vec<bool>>,
    notes: BTreeMap<String, u64>,
}

impl Whole {
    fn new() -> Whole {
        Whole {
            mail: World::new(),
            queue: BTreeMap::new(),
            notes: BTreeMap::new(),
        }
    }

    /// Does what `step` should; whether it changes anything.
    fn apply(&mut self, step: &Step) -> bool {
        let before = self.clone();
        match step {
            Step::Do(_, op) => assert!(self.mail.apply(op), "{op:?}"),
            Step::Queue(n) => {
                self.queue.insert(*n, vec![false; 2]);
            }
            Step::Sent(n, place) => {
                let sent = self.queue.get_mut(n).unwrap();
                sent[*place] = true;
                if !sent.contains(&false) {
                    self.queue.remove(n);
                }
            }
            Step::Note(round, count) => {
                for n in 0..*count {
                    self.notes.insert(n.to_string(), *round);
                }
            }
            Step::Compact | Step::Reopen => {}
        }
        *self != before
    }

    async fn of(store: &Store) -> Whole {
        let (mut queue, mut notes) = (BTreeMap::new(), BTreeMap::new());
        let items = store.look(|it| it.queue_items(QueueId(0), 1000)).unwrap();
        for item in items {
            let bytes = bytes_of(store, item.email).await.unwrap();
            let n: u64 = item.name.parse().unwrap();
            assert_eq!(bytes, text(n, 5000));
            let sent = item.recipients.iter().map(|it| it.status == ok());
            queue.insert(n, sent.collect());
        }
        for (key, value) in store.look(|it| it.records("note")).unwrap() {
            let round = u64::from_be_bytes(value[..8].try_into().unwrap());
            assert_eq!(value.len(), NOTE);
            notes.insert(key, round);
        }
        let mail = World::of(store).await;
        Whole { mail, queue, notes }
    }
}

/// The segment of the only message in Archive.
fn home(store: &Store) -> Result<Option<u32>> {
    store.look(|it| {
        let Some(archive) = it.mailbox(AccountId(1), &name("Archive"))? else {
            return Ok(None);
        };
        let Some(uid) = it.uids(archive.id)?.iter().next() else {
            return Ok(None);
        };
        let Some(message) = it.message(archive.id, uid)? else {
            return Ok(None);
        };
        let blobs = BLOBS.read(&it.txn)?;
        let row = blobs.get(message.email.0)?;
        row.map(|row| BlobRow::decode(row.value()).map(|it| it.segment))
            .transpose()
    })
}

async fn do_step(disk: &SimDisk, store: &mut Store, dead: &mut u32, step: &Step) -> Result<()> {
    match step {
        Step::Do(_, op) => {
            op.run(store).await?;
            if let Step::Do("append", Op::Append(_, path, ..)) = step
                && path == "Archive"
            {
                *dead = home(store)?.unwrap();
            }
        }
        Step::Queue(n) => {
            let staged = stage(store, &text(*n, 5000)).await?;
            let mut item = new_item(&[("a@x.example", 1), ("b@x.example", 2)]);
            item.name = n.to_string();
            store.deliver(staged, DATE, vec![], Some(item)).await?;
        }
        Step::Sent(n, place) => {
            let items = store.look(|it| it.queue_items(QueueId(0), 1000))?;
            let id = items.iter().find(|it| it.name == n.to_string()).unwrap().id;
            let change = QueueChange::Statuses(vec![(*place, ok())]);
            store.update_queue(vec![(id, change)], vec![]).await?;
        }
        Step::Note(round, count) => {
            let mut value = round.to_be_bytes().to_vec();
            value.resize(NOTE, 7);
            let notes = (0..*count).map(|n| Note {
                kind: "note",
                key: n.to_string(),
                value: Some(value.clone()),
            });
            store.note(notes.collect()).await?;
        }
        Step::Compact => {
            let deadline = Instant::now() + Duration::from_secs(60);
            while home(store)? == Some(*dead) {
                if disk.is_off() {
                    return Err(Error::Closed);
                }
                assert!(Instant::now() < deadline, "nothing is compacted");
                smol::Timer::after(Duration::from_millis(2)).await;
            }
        }
        Step::Reopen => {
            store.close().await;
            *store = open(disk)?;
        }
    }
    Ok(())
}

/// Does the steps until the power fails: what was acknowledged, and what was under way then.
async fn run(disk: &SimDisk, steps: &[Step]) -> (Whole, Option<Step>) {
    let mut whole = Whole::new();
    let mut store = match open(disk) {
        Ok(store) => store,
        Err(_) => return (whole, Some(Step::Reopen)),
    };
    let mut dead = 0;
    for step in steps {
        match do_step(disk, &mut store, &mut dead, step).await {
            Ok(()) => {
                let changes = whole.apply(step);
                let quiet = matches!(step, Step::Compact | Step::Reopen);
                assert!(changes || quiet, "{step:?} does nothing");
            }
            Err(error) => {
                assert!(disk.is_off(), "{step:?}: {error}");
                store.close().await;
                return (whole, Some(step.clone()));
            }
        }
    }
    store.close().await;
    (whole, None)
}

#[test]
fn a_power_cut_at_each_sync_of_everything_loses_nothing_acknowledged() {
    let start = SimDisk::new();
    smol::block_on(async {
        let store = open(&start).unwrap();
        new_accounts(&store).await;
        store.close().await;
    });
    let (start, steps) = (start.after_power_cut(1), steps());
    let whole = start.after_kill();
    let (done, cut) = smol::block_on(run(&whole, &steps));
    assert!(cut.is_none());
    drop(done);
    let mut cuts: BTreeMap<&str, u64> = BTreeMap::new();
    for cut in 0..whole.syncs() {
        let disk = start.after_kill();
        disk.cut_at(cut);
        let (acknowledged, under_way) = smol::block_on(run(&disk, &steps));
        if !disk.is_off() {
            // Work in the background took fewer syncs this time: the run was over before.
            continue;
        }
        let kind = under_way.as_ref().map_or("close", Step::kind);
        *cuts.entry(kind).or_default() += 1;
        let disk = disk.after_power_cut(cut);
        smol::block_on(async {
            let store = open(&disk).unwrap();
            expect_whole_log(&disk);
            let found = Whole::of(&store).await;
            let mut after = acknowledged.clone();
            under_way.iter().for_each(|step| {
                after.apply(step);
            });
            assert!(
                found == acknowledged || found == after,
                "cut {cut} in {under_way:?}\nfound {found:?}\nacknowledged {acknowledged:?}"
            );
            expect_sound(&store).await;
            // It goes on from there.
            deliver(&store, AccountId(1), &text(7, 500)).await.unwrap();
            store.close().await;
        });
    }
    let all: u64 = cuts.values().sum();
    println!("{all} cuts: {cuts:?}");
    assert!(all >= CUTS, "{all} cuts: {cuts:?}");
    for kind in [
        "append",
        "checkpoint",
        "compaction",
        "copy",
        "create",
        "delete",
        "deliver",
        "expunge",
        "large transaction",
        "move",
        "queue",
        "rename",
        "reopen",
        "sent",
        "store",
    ] {
        assert!(cuts.contains_key(kind), "no cut in {kind}: {cuts:?}");
    }
}
