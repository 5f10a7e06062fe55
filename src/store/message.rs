//! Messages come in and change flags. Counters, mod-sequences and blocks are kept in step here.

use super::account;
use super::block::{self, Ascending, SPAN};
use super::error::{Error, Result};
use super::mailbox;
use super::schema::*;
use super::staging::StagedData;
use super::tx::Tx;
use super::{Delivery, FlagChange, Origin, Placed, Stored};
use crate::mail::*;
use std::sync::Arc;

/// Blocks held in memory while a range of messages is changed.
const BLOCKS_AT_ONCE: usize = 64;

/// A message for a mailbox, before it has a UID.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub email: EmailId,
    pub flags: Flags,
    pub internal_date: DateTime,
    pub size: u32,
}

/// Puts messages at the end of one mailbox, one write a block.
pub(super) struct Appender {
    id: MailboxId,
    pub row: MailboxRow,
    modseq: u64,
    /// The block being filled.
    block: Vec<Message>,
    arrived: Vec<Message>,
}

impl Appender {
    pub fn new(tx: &Tx<'_>, id: MailboxId) -> Result<Appender> {
        let row = tx.mailbox(id)?;
        let mut appender = Appender {
            id,
            modseq: row.modseq + 1,
            row,
            block: Vec::new(),
            arrived: Vec::new(),
        };
        let first = appender.row.uid_next / SPAN * SPAN;
        if let Some(bytes) = tx.tables().messages.get(appender.key())? {
            block::decode(first, bytes.value(), |message| {
                appender.block.push(message);
                Ok(true)
            })?;
        }
        Ok(appender)
    }

    fn key(&self) -> u64 {
        block_key(self.id, self.row.uid_next)
    }

    pub fn push(&mut self, tx: &mut Tx<'_>, arrival: Arrival) -> Result<Uid> {
        let uid = Uid::new(self.row.uid_next).ok_or(Error::Limit("UIDs"))?;
        let next = uid.get().checked_add(1).ok_or(Error::Limit("UIDs"))?;
        let message = Message {
            uid,
            email: arrival.email,
            flags: arrival.flags,
            internal_date: arrival.internal_date,
            save_date: tx.now,
            modseq: ModSeq::new(self.modseq).ok_or(Error::Limit("mod-sequences"))?,
            size: arrival.size,
        };
        self.block.push(message);
        self.arrived.push(message);
        count(&mut self.row, &message)?;
        if next % SPAN == 0 {
            self.flush(tx)?;
        }
        self.row.uid_next = next;
        Ok(uid)
    }

    fn flush(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let (key, bytes) = (self.key(), block::encode(&self.block));
        self.block.clear();
        tx.change().messages.insert(key, bytes.as_slice())?;
        Ok(())
    }

    /// Writes what is left and tells the hub.
    pub fn finish(mut self, tx: &mut Tx<'_>, origin: Origin) -> Result<()> {
        if self.arrived.is_empty() {
            return Ok(());
        }
        if !self.block.is_empty() {
            self.flush(tx)?;
        }
        self.row.modseq = self.modseq;
        tx.put_mailbox(self.id, &self.row)?;
        let change = Change::Arrived(self.arrived);
        tx.publish(self.id, self.modseq, change, origin);
        Ok(())
    }
}

/// Counts a message in.
fn count(row: &mut MailboxRow, message: &Message) -> Result<()> {
    row.messages = row
        .messages
        .checked_add(1)
        .ok_or(Error::Limit("messages"))?;
    row.size = row.size.saturating_add(u64::from(message.size));
    recount_flags(row, None, Some(message.flags));
    Ok(())
}

/// Counts a message out.
pub(super) fn discount(row: &mut MailboxRow, message: &Message) {
    row.messages = row.messages.saturating_sub(1);
    row.size = row.size.saturating_sub(u64::from(message.size));
    recount_flags(row, Some(message.flags), None);
}

fn recount_flags(row: &mut MailboxRow, before: Option<Flags>, after: Option<Flags>) {
    let unseen = |flags: Option<Flags>| flags.is_some_and(|f| !f.contains(Flags::SEEN)) as u32;
    let deleted = |flags: Option<Flags>| flags.is_some_and(|f| f.contains(Flags::DELETED)) as u32;
    row.unseen = (row.unseen + unseen(after)).saturating_sub(unseen(before));
    row.deleted = (row.deleted + deleted(after)).saturating_sub(deleted(before));
}

/// Flags by name as bits of the mailbox's table, which takes up new keywords if `add`.
pub(super) fn resolve(row: &mut MailboxRow, names: &FlagNames, add: bool) -> Result<Flags> {
    let mut flags = names.system;
    for name in &names.keywords {
        let known = row
            .keywords
            .iter()
            .position(|it| it.eq_ignore_ascii_case(name));
        let number = match known {
            Some(number) => number,
            None if !add => continue,
            None if row.keywords.len() >= MAX_KEYWORDS => return Err(Error::Limit("keywords")),
            None if name.len() > MAX_KEYWORD => return Err(Error::Limit("a keyword's length")),
            None => {
                row.keywords.push(name.clone());
                row.keywords.len() - 1
            }
        };
        flags = flags.with(Flags::keyword(number));
    }
    Ok(flags)
}

/// One copy of the bytes, a row for each of `deliveries`, and `others` to come elsewhere;
/// `None` if nothing wants it.
pub(super) fn deliver(
    tx: &mut Tx<'_>,
    data: &Arc<StagedData>,
    date: DateTime,
    deliveries: &[Delivery],
    others: u32,
) -> Result<Option<EmailId>> {
    for delivery in deliveries {
        account::must_exist(tx, delivery.account)?;
    }
    let references = u32::try_from(deliveries.len()).map_err(|_| Error::Limit("recipients"))?;
    let references = references.saturating_add(others);
    if references == 0 {
        return Ok(None);
    }
    let email = tx.put_blob(data, references)?;
    place(tx, email, data.size, date, deliveries)?;
    Ok(Some(email))
}

/// Puts a message that is stored already into further mailboxes.
pub(super) fn deliver_stored(
    tx: &mut Tx<'_>,
    email: EmailId,
    size: u32,
    date: DateTime,
    deliveries: &[Delivery],
) -> Result<()> {
    for delivery in deliveries {
        account::must_exist(tx, delivery.account)?;
    }
    let references = u32::try_from(deliveries.len()).map_err(|_| Error::Limit("recipients"))?;
    tx.reference(email, references)?;
    place(tx, email, size, date, deliveries)
}

/// A row for each delivery.
fn place(
    tx: &mut Tx<'_>,
    email: EmailId,
    size: u32,
    date: DateTime,
    deliveries: &[Delivery],
) -> Result<()> {
    for delivery in deliveries {
        let id = mailbox::find_or_create(tx, delivery.account, &delivery.mailbox)?;
        let mut appender = Appender::new(tx, id)?;
        let arrival = Arrival {
            email,
            flags: resolve(&mut appender.row, &delivery.flags, true)?,
            internal_date: date,
            size,
        };
        appender.push(tx, arrival)?;
        appender.finish(tx, Origin(None))?;
    }
    Ok(())
}

pub(super) fn append(
    tx: &mut Tx<'_>,
    id: MailboxId,
    messages: &[(Arc<StagedData>, FlagNames, DateTime)],
    origin: Origin,
) -> Result<Placed> {
    let mut appender = Appender::new(tx, id)?;
    let mut placed = Placed {
        uid_validity: appender.row.uid_validity,
        uids: Vec::with_capacity(messages.len()),
    };
    for (data, flags, date) in messages {
        let arrival = Arrival {
            flags: resolve(&mut appender.row, flags, true)?,
            email: tx.put_blob(data, 1)?,
            internal_date: *date,
            size: data.size,
        };
        let uid = appender.push(tx, arrival)?;
        placed.uids.push((uid, uid));
    }
    appender.finish(tx, origin)?;
    Ok(placed)
}

/// Calls `f` with each block that may hold some of `uids`: its key and messages, ascending.
/// The block is written where `f` says that it changed, and removed where it is empty.
pub(super) fn for_blocks(
    tx: &mut Tx<'_>,
    id: MailboxId,
    uids: &UidSet,
    mut f: impl FnMut(&mut Vec<Message>) -> Result<bool>,
) -> Result<()> {
    let mut messages = Vec::with_capacity(SPAN as usize);
    for (low, high) in block::spans(uids) {
        let end = block_key(id, 0) | u64::from(high);
        let mut next = Some(block_key(id, 0) | u64::from(low));
        while let Some(start) = next {
            let blocks = some_blocks(tx, start, end)?;
            next = match blocks.last() {
                Some((key, _)) if blocks.len() == BLOCKS_AT_ONCE && *key < end => Some(key + 1),
                _ => None,
            };
            for (key, bytes) in blocks {
                messages.clear();
                block::decode((key as u32).wrapping_mul(SPAN), &bytes, |message| {
                    messages.push(message);
                    Ok(true)
                })?;
                if !f(&mut messages)? {
                    continue;
                }
                if messages.is_empty() {
                    tx.change().messages.remove(key)?;
                } else {
                    let bytes = block::encode(&messages);
                    tx.change().messages.insert(key, bytes.as_slice())?;
                }
            }
        }
    }
    Ok(())
}

fn some_blocks(tx: &Tx<'_>, start: u64, end: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut blocks = Vec::new();
    for row in tx
        .tables()
        .messages
        .range(start..=end)?
        .take(BLOCKS_AT_ONCE)
    {
        let (key, bytes) = row?;
        blocks.push((key.value(), bytes.value().to_vec()));
    }
    Ok(blocks)
}

/// STORE, conditional or not.
pub(super) fn set_flags(
    tx: &mut Tx<'_>,
    id: MailboxId,
    uids: &UidSet,
    change: FlagChange,
    names: &FlagNames,
    unchanged_since: Option<u64>,
    origin: Origin,
) -> Result<Stored> {
    let mut row = tx.mailbox(id)?;
    let known = row.keywords.len();
    let flags = resolve(&mut row, names, change != FlagChange::Remove)?;
    let modseq = ModSeq::new(row.modseq + 1).ok_or(Error::Limit("mod-sequences"))?;
    let mut stored = Stored::default();
    let mut changed = Vec::new();
    let mut wanted = Ascending::new(uids);
    for_blocks(tx, id, uids, |messages| {
        let before = changed.len();
        for message in messages.iter_mut() {
            if !wanted.contains(message.uid) {
                continue;
            }
            if unchanged_since.is_some_and(|since| message.modseq.get() > since) {
                stored.modified.insert(message.uid);
                continue;
            }
            let after = match change {
                FlagChange::Set => flags,
                FlagChange::Add => message.flags.with(flags),
                FlagChange::Remove => message.flags.without(flags),
            };
            if after != message.flags {
                recount_flags(&mut row, Some(message.flags), Some(after));
                message.flags = after;
                message.modseq = modseq;
                changed.push((message.uid, after, modseq));
            }
            stored.messages.push((message.uid, after, message.modseq));
        }
        Ok(changed.len() > before)
    })?;
    let grew = row.keywords.len() > known;
    stored.keywords.clone_from(&row.keywords);
    if changed.is_empty() {
        // No message took the new keywords: the table stays as it was.
        stored.keywords.truncate(known);
        return Ok(stored);
    }
    row.modseq = modseq.get();
    tx.put_mailbox(id, &row)?;
    let change = Change::Flags {
        messages: changed,
        keywords: if grew { row.keywords } else { Vec::new() },
    };
    tx.publish(id, modseq.get(), change, origin);
    Ok(stored)
}
