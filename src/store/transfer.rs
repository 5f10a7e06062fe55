//! Messages go: copied, moved, expunged.

use super::block::Ascending;
use super::error::{Error, Result};
use super::message::{Appender, Arrival, discount, for_blocks, resolve};
use super::schema::*;
use super::tx::Tx;
use super::{Origin, Placed};
use super::{mailbox, option, quota};
use crate::mail::*;
use std::collections::BTreeMap;

/// Expunges that a mailbox remembers one by one; beyond, the older half is forgotten and
/// QRESYNC names every UID not there.
pub const MAX_VANISHED: u32 = 4096;

pub(super) fn copy(
    tx: &mut Tx<'_>,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    default: Quota,
) -> Result<Placed> {
    let messages = chosen(tx, from, uids)?;
    let more = Quota {
        bytes: messages.iter().map(|it| u64::from(it.size)).sum(),
        messages: messages.len() as u64,
    };
    let account = tx.mailbox(to)?.account;
    match quota::check(tx, default, account, more) {
        Err(Error::OverQuota) if is_thrown_away(tx, from, to)? => {
            within_grace(tx, default, account)?
        }
        other => other?,
    }
    let mut references: BTreeMap<EmailId, u32> = BTreeMap::new();
    for message in &messages {
        *references.entry(message.email).or_default() += 1;
    }
    let placed = place(tx, from, &messages, to)?;
    for (email, more) in references {
        tx.reference(email, more)?;
    }
    Ok(placed)
}

/// Clients without MOVE copy to Trash before they expunge: who is full must be able to.
fn is_thrown_away(tx: &Tx<'_>, from: MailboxId, to: MailboxId) -> Result<bool> {
    let (source, trash) = (tx.mailbox(from)?, tx.mailbox(to)?);
    Ok(from != to
        && source.account == trash.account
        && trash.special_use == Some(SpecialUse::Trash))
}

/// What an account may hold and still copy to Trash: a tenth more.
fn within_grace(tx: &Tx<'_>, default: Quota, account: AccountId) -> Result<()> {
    let quota = default.or(&option::get(tx, account)?);
    let more = |limit: u64| limit.saturating_add(limit.div_ceil(10));
    let grace = Quota {
        bytes: more(quota.bytes),
        messages: more(quota.messages),
    };
    let mut used = Quota::default();
    for id in mailbox::ids(tx, account)? {
        let row = tx.mailbox(id)?;
        used = used.and(Quota {
            bytes: row.size,
            messages: row.messages.into(),
        });
    }
    match grace.holds(used) {
        true => Ok(()),
        false => Err(Error::OverQuota),
    }
}

fn chosen(tx: &mut Tx<'_>, id: MailboxId, uids: &UidSet) -> Result<Vec<Message>> {
    let mut chosen = Vec::new();
    let mut wanted = Ascending::new(uids);
    for_blocks(tx, id, uids, |messages| {
        chosen.extend(messages.iter().filter(|it| wanted.contains(it.uid)));
        Ok(false)
    })?;
    Ok(chosen)
}

/// Rows for `messages` of `from` in `to`; the bytes are not counted.
fn place(tx: &mut Tx<'_>, from: MailboxId, messages: &[Message], to: MailboxId) -> Result<Placed> {
    let keywords = tx.mailbox(from)?.keywords;
    let mut appender = Appender::new(tx, to)?;
    let mut placed = Placed {
        uid_validity: appender.row.uid_validity,
        uids: Vec::with_capacity(messages.len()),
    };
    // Keyword numbers differ between mailboxes; most messages share a few sets of them.
    let mut known: BTreeMap<u64, Flags> = BTreeMap::new();
    for message in messages {
        let flags = match known.get(&message.flags.0) {
            Some(flags) => *flags,
            None => {
                let names = names_of(message.flags, &keywords);
                let flags = resolve(&mut appender.row, &names, true)?;
                known.insert(message.flags.0, flags);
                flags
            }
        };
        let arrival = Arrival {
            email: message.email,
            flags,
            internal_date: message.internal_date,
            size: message.size,
        };
        let uid = appender.push(tx, arrival)?;
        placed.uids.push((message.uid, uid));
    }
    appender.finish(tx, Origin(None))?;
    Ok(placed)
}

fn names_of(flags: Flags, keywords: &[String]) -> FlagNames {
    FlagNames {
        system: Flags(flags.0 & 0xff),
        keywords: flags
            .keywords()
            .filter_map(|number| keywords.get(number).cloned())
            .collect(),
    }
}

/// Returns the mod-sequence of the expunge in `from` (its present one if nothing moved).
pub(super) fn move_messages(
    tx: &mut Tx<'_>,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    origin: Origin,
) -> Result<(Placed, ModSeq)> {
    let messages = chosen(tx, from, uids)?;
    let placed = place(tx, from, &messages, to)?;
    // Only what was placed: within one mailbox `uids` may cover the new UIDs too.
    let moved: UidSet = messages.iter().map(|it| it.uid).collect();
    messages.iter().for_each(|it| tx.touch(it.email));
    let (_, modseq) = remove(tx, from, &moved, true, origin, |_| ())?;
    Ok((placed, modseq))
}

pub(super) fn expunge(
    tx: &mut Tx<'_>,
    id: MailboxId,
    uids: &UidSet,
    any: bool,
    origin: Origin,
) -> Result<(UidSet, ModSeq)> {
    let mut released: BTreeMap<EmailId, u32> = BTreeMap::new();
    let gone = remove(tx, id, uids, any, origin, |message| {
        *released.entry(message.email).or_default() += 1;
    })?;
    for (email, fewer) in released {
        tx.release(email, fewer)?;
    }
    Ok(gone)
}

/// Takes rows away, records that they vanished, tells the hub. `f` sees each message.
fn remove(
    tx: &mut Tx<'_>,
    id: MailboxId,
    uids: &UidSet,
    any: bool,
    origin: Origin,
    mut f: impl FnMut(&Message),
) -> Result<(UidSet, ModSeq)> {
    let mut row = tx.mailbox(id)?;
    let mut gone = UidSet::new();
    if any || row.deleted > 0 {
        let mut wanted = Ascending::new(uids);
        for_blocks(tx, id, uids, |messages| {
            let before = messages.len();
            messages.retain(|message| {
                let stays = !wanted.contains(message.uid)
                    || !(any || message.flags.contains(Flags::DELETED));
                if !stays {
                    discount(&mut row, message);
                    gone.insert(message.uid);
                    f(message);
                }
                stays
            });
            Ok(messages.len() < before)
        })?;
    }
    if !gone.is_empty() {
        row.modseq += 1;
        record_vanished(tx, id, &mut row, &gone)?;
        tx.put_mailbox(id, &row)?;
    }
    let modseq = ModSeq::new(row.modseq).ok_or_else(|| Error::corrupt("a HIGHESTMODSEQ"))?;
    if !gone.is_empty() {
        let change = Change::Expunged {
            uids: gone.clone(),
            modseq,
        };
        tx.publish(id, modseq.get(), change, origin);
    }
    Ok((gone, modseq))
}

fn record_vanished(
    tx: &mut Tx<'_>,
    id: MailboxId,
    row: &mut MailboxRow,
    gone: &UidSet,
) -> Result<()> {
    if row.vanished_rows >= MAX_VANISHED {
        forget_half(tx, id, row)?;
    }
    let ranges = encode_ranges(gone);
    tx.change()
        .vanished
        .insert((id.0, row.modseq), ranges.as_slice())?;
    row.vanished_rows += 1;
    Ok(())
}

fn forget_half(tx: &mut Tx<'_>, id: MailboxId, row: &mut MailboxRow) -> Result<()> {
    let all = (id.0, 0)..=(id.0, u64::MAX);
    let half = (row.vanished_rows / 2) as usize;
    let last = match tx.tables().vanished.range(all)?.nth(half) {
        Some(entry) => entry?.0.value().1,
        None => return Ok(()),
    };
    let range = (id.0, 0)..=(id.0, last);
    let forgotten = tx.change().vanished.remove_in(range)?;
    row.vanished_rows = row.vanished_rows.saturating_sub(forgotten as u32);
    row.vanished_floor = row.vanished_floor.max(last);
    Ok(())
}
