//! Reading: one moment of the store, from one redb read transaction.

use super::blob::Blob;
use super::block::{self, Ascending, SPAN};
use super::error::{Error, Result};
use super::mailbox::names_of;
use super::schema::*;
use super::segment::Epoch;
use super::shared::{Handle, Shared};
use super::table::{Bytes, Definition, Field, ReadTable, read_number};
use crate::mail::*;
use crate::secret::Secret;
use redb::{OwnedAccessGuard, OwnedRange, ReadTransaction};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

type Rows<K> = Lazy<K, Bytes>;

/// One moment of the store. Short-lived: see [`Store::read`](super::Store::read).
pub struct Snapshot {
    pub(super) tables: Tables,
    ahead: RefCell<Option<Ahead>>,
    pub(super) txn: ReadTransaction,
    pub(super) shared: Arc<Shared>,
    // Dead segments wait for it, and the supervisor for the other.
    _epoch: Epoch,
    _handle: Arc<Handle>,
}

/// Tables opened at their first use: most snapshots need two or three.
#[derive(Default)]
pub(super) struct Tables {
    pub accounts: Rows<u32>,
    pub addresses: Lazy<Bytes, u32>,
    pub domains: Lazy<&'static str, u32>,
    mailboxes: Rows<u32>,
    names: Lazy<(u32, &'static str), u32>,
    subscriptions: Lazy<(u32, &'static str), ()>,
    messages: Rows<u64>,
    vanished: Rows<(u32, u64)>,
    blobs: Rows<u64>,
    structures: Rows<u64>,
    pub outbox: Rows<(u64, u64)>,
    pub records: Rows<(&'static str, &'static str)>,
}

pub(super) struct Lazy<K, V>(OnceCell<ReadTable<K, V>>);

impl<K, V> Default for Lazy<K, V> {
    fn default() -> Self {
        Lazy(OnceCell::new())
    }
}

impl<K: Field, V: Field> Lazy<K, V> {
    pub fn open(
        &self,
        txn: &ReadTransaction,
        definition: Definition<K, V>,
    ) -> Result<&ReadTable<K, V>> {
        if let Some(table) = self.0.get() {
            return Ok(table);
        }
        let table = definition.read(txn)?;
        Ok(self.0.get_or_init(|| table))
    }
}

/// A listing asks for structures by ascending email id: the next row is mostly the next one
/// of the leaf at hand, which costs a tenth of a search from the root.
struct Ahead {
    rows: OwnedRange<Bytes, Bytes>,
    next: Option<(u64, OwnedAccessGuard<Bytes>)>,
}

/// Rows that are passed over rather than searched anew.
const STEP_OVER: usize = 8;

impl Ahead {
    fn advance(&mut self) -> Result<()> {
        self.next = match self.rows.next() {
            Some(row) => {
                let (key, value) = row?;
                Some((read_number(key.value())?, value))
            }
            None => None,
        };
        Ok(())
    }
}

impl Snapshot {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Snapshot> {
        let handle = shared.handle()?;
        let epoch = shared.segments.epoch();
        let txn = redb::ReadableDatabase::begin_read(&handle.db)?;
        Ok(Snapshot {
            tables: Tables::default(),
            ahead: RefCell::new(None),
            txn,
            shared,
            _epoch: epoch,
            _handle: handle,
        })
    }

    /// The schema in which everything here is written.
    pub fn schema(&self) -> Result<u64> {
        let state = STATE.read(&self.txn)?;
        let row = state.get(STATE_VERSION)?;
        let row = row.ok_or_else(|| Error::corrupt("the schema is missing"))?;
        Ok(row.value())
    }

    /// Randomness drawn when the store was made, the same ever since: what is derived from it
    /// stays steady over restarts and can't be guessed from outside.
    pub fn site_key(&self) -> Result<Secret<[u8; 32]>> {
        let state = STATE.read(&self.txn)?;
        let mut key = [0; 32];
        for (name, part) in STATE_SITE.into_iter().zip(key.chunks_exact_mut(8)) {
            let word = state.get(name)?;
            let word = word.ok_or_else(|| Error::corrupt("the site key is missing"))?;
            part.copy_from_slice(&word.value().to_be_bytes());
        }
        Ok(Secret::new(key))
    }

    /// Sorted by name, INBOX first.
    pub fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxInfo>> {
        // Not collected: for that the set would sort first, by code of its own.
        let mut subscribed = BTreeSet::new();
        subscribed.extend(self.subscriptions(account)?);
        let names = self.tables.names.open(&self.txn, NAMES)?;
        let mut mailboxes = Vec::new();
        for row in names.range(names_of(account))? {
            let id = MailboxId(row?.1.value());
            if let Some(row) = self.mailbox_row(id)? {
                let subscribed = subscribed.contains(&row.name);
                mailboxes.push(row.info(id, subscribed)?);
            }
        }
        mailboxes.sort_unstable_by(|a, b| {
            (!a.name.is_inbox(), &a.name).cmp(&(!b.name.is_inbox(), &b.name))
        });
        Ok(mailboxes)
    }

    /// Subscribed names, whether or not the mailbox exists.
    pub fn subscriptions(&self, account: AccountId) -> Result<Vec<MailboxName>> {
        let table = self.tables.subscriptions.open(&self.txn, SUBSCRIPTIONS)?;
        let mut names = Vec::new();
        for row in table.range(names_of(account))? {
            let name = MailboxName::parse(row?.0.value().1);
            names.push(name.map_err(|_| Error::corrupt("a subscribed name"))?);
        }
        Ok(names)
    }

    pub fn mailbox(&self, account: AccountId, name: &MailboxName) -> Result<Option<MailboxInfo>> {
        let names = self.tables.names.open(&self.txn, NAMES)?;
        match names.get((account.0, name.as_str()))? {
            Some(id) => self.mailbox_by_id(MailboxId(id.value())),
            None => Ok(None),
        }
    }

    pub fn mailbox_by_id(&self, id: MailboxId) -> Result<Option<MailboxInfo>> {
        let Some(row) = self.mailbox_row(id)? else {
            return Ok(None);
        };
        let table = self.tables.subscriptions.open(&self.txn, SUBSCRIPTIONS)?;
        let key = (row.account.0, row.name.as_str());
        let subscribed = table.get(key)?.is_some();
        Ok(Some(row.info(id, subscribed)?))
    }

    pub(super) fn mailbox_row(&self, id: MailboxId) -> Result<Option<MailboxRow>> {
        let table = self.tables.mailboxes.open(&self.txn, MAILBOXES)?;
        match table.get(id.0)? {
            Some(row) => Ok(Some(MailboxRow::decode(row.value())?)),
            None => Ok(None),
        }
    }

    /// Calls `f` with each block of `low..=high` (`uid >> 5`): its first UID and its bytes.
    fn blocks(
        &self,
        mailbox: MailboxId,
        (low, high): (u32, u32),
        mut f: impl FnMut(u32, &[u8]) -> Result<bool>,
    ) -> Result<bool> {
        let table = self.tables.messages.open(&self.txn, MESSAGES)?;
        let base = block_key(mailbox, 0);
        let range = base | u64::from(low)..=base | u64::from(high);
        for row in table.range(range)? {
            let (key, bytes) = row?;
            if !f((key.value() as u32).wrapping_mul(SPAN), bytes.value())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All UIDs of a mailbox. Every SELECT asks for them: under 0.2 ms at 100,000 (from a
    /// cache that the mailbox's highest mod-sequence validates, where reading rows costs more).
    pub fn uids(&self, mailbox: MailboxId) -> Result<UidSet> {
        let Some(row) = self.mailbox_row(mailbox)? else {
            return Ok(UidSet::new());
        };
        if let Some(uids) = self.shared.uids.get(mailbox, row.modseq) {
            return Ok(UidSet::clone(&uids));
        }
        let mut uids = UidSet::new();
        self.blocks(mailbox, (0, u32::MAX), |first, bytes| {
            let (_, mut bitmap) = block::head(bytes)?;
            while bitmap != 0 {
                if let Some(uid) = Uid::new(first | bitmap.trailing_zeros()) {
                    uids.insert(uid);
                }
                bitmap &= bitmap - 1;
            }
            Ok(true)
        })?;
        self.shared.uids.put(mailbox, row.modseq, &uids);
        Ok(uids)
    }

    /// The lowest UID without \Seen, for the UNSEEN code of every SELECT: as cheap as `uids`.
    pub fn first_unseen(&self, mailbox: MailboxId) -> Result<Option<Uid>> {
        let mut found = None;
        if self.mailbox_row(mailbox)?.is_some_and(|row| row.unseen > 0) {
            let all = UidSet::from_ranges(vec![(1, u32::MAX)]);
            self.messages(mailbox, &all, |message| {
                found = (!message.flags.contains(Flags::SEEN)).then_some(message.uid);
                Ok(found.is_none())
            })?;
        }
        Ok(found)
    }

    pub fn message(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<Message>> {
        let mut found = None;
        let set = UidSet::from_ranges(vec![(uid.get(), uid.get())]);
        self.messages(mailbox, &set, |message| {
            found = Some(message);
            Ok(false)
        })?;
        Ok(found)
    }

    /// Those messages of `uids` that exist, ascending; `f` returns false to stop.
    pub fn messages(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        mut f: impl FnMut(Message) -> Result<bool>,
    ) -> Result<()> {
        let mut wanted = Ascending::new(uids);
        for span in block::spans(uids) {
            let more = self.blocks(mailbox, span, |first, bytes| {
                block::decode(first, bytes, |message| {
                    Ok(!wanted.contains(message.uid) || f(message)?)
                })
            })?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// As `messages`, of all UIDs, with a mod-sequence above `since`; skips whole blocks.
    pub fn changed_since(
        &self,
        mailbox: MailboxId,
        since: u64,
        mut f: impl FnMut(Message) -> Result<bool>,
    ) -> Result<()> {
        self.blocks(mailbox, (0, u32::MAX), |first, bytes| {
            if block::head(bytes)?.0 <= since {
                return Ok(true);
            }
            block::decode(first, bytes, |message| {
                Ok(message.modseq.get() <= since || f(message)?)
            })
        })?;
        Ok(())
    }

    /// UIDs expunged after `since` (RFC 7162, 3.2.10); may name more where the record was pruned.
    pub fn vanished_since(&self, mailbox: MailboxId, since: u64) -> Result<UidSet> {
        let Some(row) = self.mailbox_row(mailbox)? else {
            return Ok(UidSet::new());
        };
        if since < row.vanished_floor {
            return Ok(complement(&self.uids(mailbox)?, row.uid_next));
        }
        let table = self.tables.vanished.open(&self.txn, VANISHED)?;
        let first = (mailbox.0, since.saturating_add(1));
        let mut ranges = Vec::new();
        for entry in table.range(first..=(mailbox.0, u64::MAX))? {
            decode_ranges(entry?.1.value(), &mut ranges)?;
        }
        Ok(UidSet::from_ranges(ranges))
    }

    /// The stored [`Structure`](crate::message::structure::Structure) row; read it with
    /// `StructureRef::read` or `Structure::decode`.
    pub fn structure(&self, email: EmailId) -> Result<Vec<u8>> {
        self.with_structure(email, |row| Ok(row.to_vec()))
    }

    /// As `structure`, read in place: for listings. Cheapest for ascending email ids.
    pub fn with_structure<T>(
        &self,
        email: EmailId,
        f: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let mut ahead = self.ahead.borrow_mut();
        let ahead = self.seek(&mut ahead, email.0)?;
        match &ahead.next {
            Some((key, row)) if *key == email.0 => f(row.value()),
            _ => Err(Error::corrupt("a message without its structure")),
        }
    }

    /// Steps or jumps to the first row at or after `key`.
    fn seek<'a>(&self, ahead: &'a mut Option<Ahead>, key: u64) -> Result<&'a Ahead> {
        if let Some(it) = ahead.as_mut() {
            for _ in 0..STEP_OVER {
                match &it.next {
                    Some((next, _)) if *next < key => it.advance()?,
                    _ => break,
                }
            }
        }
        let there = matches!(ahead, Some(Ahead { next: Some((next, _)), .. }) if *next == key);
        if !there {
            let table = self.tables.structures.open(&self.txn, STRUCTURES)?;
            let mut it = Ahead {
                rows: table.walk(key)?,
                next: None,
            };
            it.advance()?;
            *ahead = Some(it);
        }
        ahead
            .as_ref()
            .ok_or_else(|| Error::corrupt("a message without its structure"))
    }

    /// The message's bytes. Outlives the snapshot.
    pub fn blob(&self, email: EmailId) -> Result<Blob> {
        let table = self.tables.blobs.open(&self.txn, BLOBS)?;
        let row = table
            .get(email.0)?
            .ok_or_else(|| Error::corrupt("a message without its bytes"))?;
        let row = BlobRow::decode(row.value())?;
        let damaged = &self.shared.damaged;
        damaged.refuse(email)?;
        let file = self.shared.segments.open(row.segment)?;
        Ok(Blob::new(file, row, email, damaged.clone()))
    }
}

/// The UIDs below `next` that are not in `set`.
fn complement(set: &UidSet, next: u32) -> UidSet {
    let mut ranges = Vec::new();
    let mut low = 1;
    for &(first, last) in set.ranges() {
        if low < first {
            ranges.push((low, first - 1));
        }
        low = last.saturating_add(1);
    }
    if low < next {
        ranges.push((low, next - 1));
    }
    UidSet::from_ranges(ranges)
}
