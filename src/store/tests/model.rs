//! Random work on the store and on a model of it that is easy to see through; the two must
//! never differ, not after reopening and not after a power cut at any sync.

use super::support::*;
use crate::mail::*;
use crate::store::simdisk::{Seeded, SimDisk};
use crate::store::*;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that a client can see, by account and mailbox name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World(BTreeMap<(u32, String), Mailbox>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Mailbox {
    uid_next: u32,
    messages: BTreeMap<u32, Seen>,
}

#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// Which text it is, and how long.
    seed: u64,
    size: usize,
    system: u64,
    keywords: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub enum Op {
    Deliver(u64, usize, Vec<(u32, String)>),
    Append(u32, String, Vec<(u64, usize)>, Vec<&'static str>),
    Flags(
        u32,
        String,
        Vec<(u32, u32)>,
        FlagChange,
        u64,
        Vec<&'static str>,
    ),
    Expunge(u32, String, Option<Vec<(u32, u32)>>, bool),
    Copy(u32, String, Vec<(u32, u32)>, String),
    Move(u32, String, Vec<(u32, u32)>, String),
    Create(u32, String),
    Rename(u32, String, String),
    Delete(u32, String),
}

const NAMES: [&str; 6] = [
    "INBOX",
    "Archive",
    "work",
    "work/done",
    "work/done/old",
    "box",
];
const KEYWORDS: [&str; 4] = ["$Forwarded", "later", "LATER", "work"];

impl Op {
    pub fn random(random: &mut Seeded) -> Op {
        let account = 1 + random.below(2) as u32;
        let mut name = || NAMES[random.below(6) as usize].to_string();
        let (from, to) = (name(), name());
        let low = 1 + random.below(40) as u32;
        let set = vec![
            (low, low + random.below(30) as u32),
            (90, 90 + random.below(9) as u32),
        ];
        let size = match random.below(12) {
            0 => 0,
            1 => 700_000,
            2 => 70_000,
            _ => 300 + random.below(3000) as usize,
        };
        let seed = random.below(1 << 40);
        let count = random.below(3) as usize;
        let keywords = (0..count)
            .map(|_| KEYWORDS[random.below(4) as usize])
            .collect();
        match random.below(20) {
            0..5 => {
                let mut to: Vec<_> = vec![(account, from)];
                if random.below(2) == 0 {
                    to.push((3 - account, "INBOX".into()));
                }
                Op::Deliver(seed, size, to)
            }
            5..8 => {
                let messages = (0..1 + random.below(5))
                    .map(|n| (seed + n, size.min(5000)))
                    .collect();
                Op::Append(account, from, messages, keywords)
            }
            8..11 => {
                let change = match random.below(3) {
                    0 => FlagChange::Set,
                    1 => FlagChange::Add,
                    _ => FlagChange::Remove,
                };
                Op::Flags(account, from, set, change, random.below(32), keywords)
            }
            11..13 => {
                let any = random.below(3) == 0;
                let all = random.below(2) == 0 && !any;
                Op::Expunge(account, from, (!all).then_some(set), any)
            }
            13..15 => Op::Copy(account, from, set, to),
            15..17 => Op::Move(account, from, set, to),
            17 => Op::Create(account, to),
            18 => Op::Rename(account, from, to),
            _ => Op::Delete(account, from),
        }
    }

    pub async fn run(&self, store: &Store) -> Result<()> {
        match self.clone() {
            Op::Deliver(seed, size, to) => {
                let staged = stage(store, &text(seed, size)).await?;
                let deliveries = to.into_iter().map(|(account, path)| Delivery {
                    account: AccountId(account),
                    mailbox: name(&path),
                    flags: FlagNames::default(),
                });
                store
                    .deliver(staged, DATE, deliveries.collect(), None)
                    .await
                    .map(|_| ())
            }
            Op::Append(account, path, texts, keywords) => {
                let mut messages = Vec::new();
                for (seed, size) in texts {
                    let staged = stage(store, &text(seed, size)).await?;
                    messages.push((staged, flags(Flags::SEEN, &keywords), DATE));
                }
                let id = find(store, account, &path).await?;
                store.append(id, messages, Origin(None)).await?;
                Ok(())
            }
            Op::Flags(account, path, set, change, system, keywords) => {
                let id = find(store, account, &path).await?;
                let names = flags(Flags(system), &keywords);
                let origin = Origin(None);
                store
                    .set_flags(id, uids(&set), change, names, None, origin)
                    .await?;
                Ok(())
            }
            Op::Expunge(account, path, set, any) => {
                let id = find(store, account, &path).await?;
                let set = set.map(|set| uids(&set));
                store.expunge(id, set, any, Origin(None)).await?;
                Ok(())
            }
            Op::Copy(account, from, set, to) => {
                let from = find(store, account, &from).await?;
                let to = find(store, account, &to).await?;
                store.copy(from, uids(&set), to).await?;
                Ok(())
            }
            Op::Move(account, from, set, to) => {
                let from = find(store, account, &from).await?;
                let to = find(store, account, &to).await?;
                let origin = Origin(None);
                store.move_messages(from, uids(&set), to, origin).await?;
                Ok(())
            }
            Op::Create(account, path) => {
                let made = store.create_mailbox(AccountId(account), name(&path), None);
                made.await.map(|_| ())
            }
            Op::Rename(account, from, to) => {
                let renamed = store.rename_mailbox(AccountId(account), name(&from), name(&to));
                renamed.await
            }
            Op::Delete(account, path) => {
                store.delete_mailbox(AccountId(account), name(&path)).await
            }
        }
    }
}

async fn find(store: &Store, account: u32, path: &str) -> Result<MailboxId> {
    let path = name(path);
    let found = store
        .read(move |it| it.mailbox(AccountId(account), &path))
        .await?;
    found.map(|it| it.id).ok_or(Error::NoMailbox)
}

fn within(set: &[(u32, u32)], uid: u32) -> bool {
    set.iter().any(|&(low, high)| (low..=high).contains(&uid))
}

impl Mailbox {
    fn fresh() -> Mailbox {
        Mailbox {
            uid_next: 1,
            messages: BTreeMap::new(),
        }
    }

    fn push(&mut self, message: Seen) {
        self.messages.insert(self.uid_next, message);
        self.uid_next += 1;
    }
}

impl World {
    /// Two accounts as they are made.
    pub fn new() -> World {
        let mut world = World::default();
        for account in [1, 2] {
            for path in ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"] {
                world.0.insert((account, path.into()), Mailbox::fresh());
            }
        }
        world
    }

    fn make(&mut self, account: u32, path: &str) {
        if self.at(account, path).is_some() {
            return;
        }
        let mut at = Some(name(path));
        while let Some(path) = at {
            self.0
                .entry((account, path.to_string()))
                .or_insert_with(Mailbox::fresh);
            at = path.parent();
        }
    }

    fn at(&mut self, account: u32, path: &str) -> Option<&mut Mailbox> {
        self.0.get_mut(&(account, path.to_string()))
    }

    /// Does what `op` should; false if it should be refused.
    pub fn apply(&mut self, op: &Op) -> bool {
        self.try_apply(op).is_some()
    }

    fn try_apply(&mut self, op: &Op) -> Option<()> {
        match op.clone() {
            Op::Deliver(seed, size, to) => {
                for (account, path) in to {
                    self.make(account, &path);
                    self.at(account, &path)?.push(Seen {
                        seed,
                        size: text(seed, size).len(),
                        system: 0,
                        keywords: BTreeSet::new(),
                    });
                }
            }
            Op::Append(account, path, texts, keywords) => {
                let mailbox = self.at(account, &path)?;
                for (seed, size) in texts {
                    mailbox.push(Seen {
                        seed,
                        size: text(seed, size).len(),
                        system: Flags::SEEN.0,
                        keywords: lower(&keywords),
                    });
                }
            }
            Op::Flags(account, path, set, change, system, keywords) => {
                let keywords = lower(&keywords);
                for (uid, message) in &mut self.at(account, &path)?.messages {
                    if !within(&set, *uid) {
                        continue;
                    }
                    let old = &message.keywords;
                    (message.system, message.keywords) = match change {
                        FlagChange::Set => (system, keywords.clone()),
                        FlagChange::Add => (message.system | system, old | &keywords),
                        FlagChange::Remove => (message.system & !system, old - &keywords),
                    };
                }
            }
            Op::Expunge(account, path, set, any) => {
                self.at(account, &path)?.messages.retain(|uid, message| {
                    let chosen = set.as_ref().is_none_or(|set| within(set, *uid));
                    !chosen || !(any || message.system & Flags::DELETED.0 != 0)
                });
            }
            Op::Copy(account, from, set, to) => {
                self.at(account, &to)?;
                let source = self.at(account, &from)?;
                let chosen = source.messages.iter().filter(|it| within(&set, *it.0));
                let chosen: Vec<Seen> = chosen.map(|it| it.1.clone()).collect();
                let target = self.at(account, &to)?;
                chosen.into_iter().for_each(|message| target.push(message));
            }
            Op::Move(account, from, set, to) => {
                self.at(account, &to)?;
                let source = self.at(account, &from)?;
                let chosen: Vec<u32> = source.messages.keys().copied().collect();
                let chosen = chosen.into_iter().filter(|it| within(&set, *it));
                let moved: Vec<Seen> = chosen
                    .filter_map(|it| source.messages.remove(&it))
                    .collect();
                let target = self.at(account, &to)?;
                moved.into_iter().for_each(|message| target.push(message));
            }
            Op::Create(account, path) => {
                if self.at(account, &path).is_some() {
                    return None;
                }
                self.make(account, &path);
            }
            Op::Rename(account, from, to) => {
                self.at(account, &from)?;
                let below = to.starts_with(&format!("{from}/")) && from != "INBOX";
                if self.at(account, &to).is_some() || below {
                    return None;
                }
                self.rename(account, &from, &to)?;
            }
            Op::Delete(account, path) => {
                if path == "INBOX" {
                    return None;
                }
                self.0.remove(&(account, path))?;
            }
        }
        Some(())
    }

    fn rename(&mut self, account: u32, from: &str, to: &str) -> Option<()> {
        if from == "INBOX" {
            self.make(account, to);
            let moved = std::mem::take(&mut self.at(account, from)?.messages);
            let target = self.at(account, to)?;
            moved.into_values().for_each(|message| target.push(message));
            return Some(());
        }
        let moves: Vec<(String, String)> = self
            .0
            .keys()
            .filter(|(owner, _)| *owner == account)
            .filter_map(|(_, path)| {
                let rest = path.strip_prefix(from)?;
                let inside = rest.is_empty() || rest.starts_with('/');
                inside.then(|| (path.clone(), format!("{to}{rest}")))
            })
            .collect();
        if moves.iter().any(|(_, to)| self.at(account, to).is_some()) {
            return None;
        }
        if let Some(parent) = name(to).parent() {
            self.make(account, parent.as_str());
        }
        for (from, to) in moves {
            let mailbox = self.0.remove(&(account, from))?;
            self.0.insert((account, to), mailbox);
        }
        Some(())
    }

    /// What the store shows; every message's bytes are compared on the way.
    pub async fn of(store: &Store) -> World {
        let world = store.read(|snapshot| {
            let mut world = World::default();
            for account in snapshot.accounts()? {
                for info in snapshot.mailboxes(account.id)? {
                    let path = info.name.to_string();
                    let mailbox = see(snapshot, &info)?;
                    world.0.insert((account.id.0, path), mailbox);
                }
            }
            Ok(world)
        });
        world.await.unwrap()
    }
}

fn lower(keywords: &[&str]) -> BTreeSet<String> {
    keywords.iter().map(|it| it.to_lowercase()).collect()
}

fn see(snapshot: &Snapshot, info: &MailboxInfo) -> Result<Mailbox> {
    let mut mailbox = Mailbox {
        uid_next: info.uid_next.get(),
        messages: BTreeMap::new(),
    };
    snapshot.messages(info.id, &uids(&[(1, u32::MAX)]), |message| {
        let mut blob = snapshot.blob(message.email)?;
        let mut bytes = Vec::new();
        blob.read(0..message.size, &mut bytes)?;
        let shown = String::from_utf8_lossy(&bytes);
        let seed = shown.split("message ").nth(1).unwrap().split("\r\n").next();
        let seed = seed.unwrap().parse().unwrap();
        assert_eq!(bytes, text(seed, bytes.len()), "the bytes of {seed}");
        let keywords = message.flags.keywords();
        let seen = Seen {
            seed,
            size: bytes.len(),
            system: message.flags.0 & 0xff,
            keywords: keywords.map(|n| info.keywords[n].to_lowercase()).collect(),
        };
        mailbox.messages.insert(message.uid.get(), seen);
        Ok(true)
    })?;
    let unseen = mailbox.messages.iter().find(|it| it.1.system & 1 == 0);
    let unseen = unseen.map(|it| *it.0);
    assert_eq!(snapshot.first_unseen(info.id)?.map(|it| it.get()), unseen);
    let listed: Vec<u32> = snapshot.uids(info.id)?.iter().map(|it| it.get()).collect();
    assert!(listed.iter().eq(mailbox.messages.keys()), "the UIDs");
    Ok(mailbox)
}

pub async fn expect_sound(store: &Store) {
    let report = look_at(store);
    assert_eq!((report.problems, report.complete), (Vec::new(), true));
}

pub async fn new_accounts(store: &Store) {
    account(store, "alice@demo.test").await;
    account(store, "bob@demo.test").await;
}

#[test]
fn the_store_is_as_its_model_also_when_reopened() {
    for seed in 0..6 {
        smol::block_on(async {
            let mut random = Seeded::new(seed);
            let mut disk = SimDisk::new();
            let mut store = open(&disk).unwrap();
            new_accounts(&store).await;
            let mut world = World::new();
            for round in 0..120 {
                let op = Op::random(&mut random);
                let expected = world.clone().apply(&op);
                let done = op.run(&store).await;
                assert_eq!(done.is_ok(), expected, "{seed}.{round} {op:?}: {done:?}");
                if expected {
                    world.apply(&op);
                }
                match random.below(40) {
                    0 => {
                        store.close().await;
                        store = open(&disk).unwrap();
                    }
                    1 => {
                        let killed = disk.after_kill();
                        store.close().await;
                        disk = killed;
                        store = open(&disk).unwrap();
                    }
                    _ => {}
                }
                if round % 10 == 0 {
                    assert_eq!(World::of(&store).await, world, "{seed}.{round} {op:?}");
                }
            }
            assert_eq!(World::of(&store).await, world, "{seed}");
            expect_sound(&store).await;
            store.close().await;
        });
    }
}
