//! What the store's tests share.

use crate::address::Address;
use crate::mail::*;
use crate::secret::{Credential, ScramKeys};
use crate::store::check::{Progress, Report, Wanted};
use crate::store::disk::Disk;
use crate::store::segment::lock;
use crate::store::simdisk::{Seeded, SimDisk};
use crate::store::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

pub fn options() -> Options {
    Options {
        reserve: 0,
        ballast: 0,
        ..Options::default()
    }
}

pub fn open(disk: &SimDisk) -> Result<Store> {
    Store::open_on(Arc::new(disk.clone()) as Arc<dyn Disk>, options())
}

pub fn credential() -> Credential {
    Credential {
        verifier: "$argon2id$...".into(),
        scram: ScramKeys {
            salt: vec![1; 16],
            iterations: 4096,
            stored_key: [2; 32],
            server_key: [3; 32],
        },
    }
}

pub async fn account(store: &Store, address: &str) -> AccountId {
    let address = Address::parse(address).unwrap();
    store.create_account(address, credential()).await.unwrap()
}

pub fn name(name: &str) -> MailboxName {
    MailboxName::parse(name).unwrap()
}

pub fn flags(system: Flags, keywords: &[&str]) -> FlagNames {
    FlagNames {
        system,
        keywords: keywords.iter().map(|it| it.to_string()).collect(),
    }
}

pub const DATE: DateTime = DateTime {
    unix: 1_700_000_000,
    offset: 60,
};

/// Bytes of messages that are kept rather than made again.
const MAX_TEXTS: usize = 64 << 20;
static TEXTS: Mutex<BTreeMap<(u64, usize), Vec<u8>>> = Mutex::new(BTreeMap::new());
static TEXTS_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A message of about `size` bytes, half of it noise; the same for the same numbers.
pub fn text(seed: u64, size: usize) -> Vec<u8> {
    if let Some(text) = lock(&TEXTS).get(&(seed, size)) {
        return text.clone();
    }
    let mut random = Seeded::new(seed);
    let mut text = format!("From: a@demo.test\r\nSubject: message {seed}\r\n\r\n").into_bytes();
    while text.len() < size {
        let mut word = || random.below(u64::MAX);
        let (a, b, c) = (word(), word(), word());
        text.extend_from_slice(format!("line {a:012x}{b:012x}{c:012x}\r\n").as_bytes());
    }
    if TEXTS_BYTES.fetch_add(text.len(), Relaxed) < MAX_TEXTS {
        lock(&TEXTS).insert((seed, size), text.clone());
    }
    text
}

pub async fn stage(store: &Store, bytes: &[u8]) -> Result<Staged> {
    let mut staging = store.stage(Some(bytes.len() as u64)).await?;
    for piece in bytes.chunks(50_000) {
        staging.write(piece).await?;
    }
    staging.finish().await
}

pub async fn inbox(store: &Store, account: AccountId) -> MailboxInfo {
    mailbox(store, account, "INBOX").await.unwrap()
}

pub async fn mailbox(store: &Store, account: AccountId, path: &str) -> Option<MailboxInfo> {
    let path = name(path);
    store
        .read(move |it| it.mailbox(account, &path))
        .await
        .unwrap()
}

pub async fn deliver(store: &Store, account: AccountId, bytes: &[u8]) -> Result<()> {
    let staged = stage(store, bytes).await?;
    let delivery = Delivery {
        account,
        mailbox: MailboxName::inbox(),
        flags: FlagNames::default(),
    };
    store
        .deliver(staged, DATE, vec![delivery], None)
        .await
        .map(|_| ())
}

pub async fn messages(store: &Store, mailbox: MailboxId) -> Vec<Message> {
    store
        .read(move |it| {
            let mut found = Vec::new();
            let all = UidSet::from_ranges(vec![(1, u32::MAX)]);
            it.messages(mailbox, &all, |message| {
                found.push(message);
                Ok(true)
            })?;
            Ok(found)
        })
        .await
        .unwrap()
}

pub async fn bytes_of(store: &Store, email: EmailId) -> Result<Vec<u8>> {
    store
        .read(move |it| {
            let mut blob = it.blob(email)?;
            let mut bytes = Vec::new();
            blob.read(0..blob.size(), &mut bytes)?;
            Ok(bytes)
        })
        .await
}

/// A full check that changes nothing.
pub fn look_at(store: &Store) -> Report {
    let wanted = Wanted {
        bytes: true,
        ..Wanted::default()
    };
    store.check(wanted, &Progress::default())
}

pub fn uids(ranges: &[(u32, u32)]) -> UidSet {
    UidSet::from_ranges(ranges.to_vec())
}

/// That no start missed a part of the log.
pub fn expect_whole_log(disk: &SimDisk) {
    assert!(!disk.names().contains(&"mail/keep".to_string()));
}
