//! Mailboxes: made, renamed, deleted, subscribed; and the slow end of a deleted one.

use super::Origin;
use super::account;
use super::block;
use super::error::{Error, Result};
use super::schema::*;
use super::transfer;
use super::tx::Tx;
use super::url_key;
use crate::mail::*;
use std::collections::BTreeMap;

/// Mailboxes of one account.
pub const MAX_MAILBOXES: usize = 10_000;
/// Subscribed names of one account.
pub const MAX_SUBSCRIPTIONS: usize = 10_000;

/// More numbers than the log between two checkpoints can give to messages of one mailbox, or of
/// all: each takes some bytes of redo.
pub(super) const LOST_NUMBERS: u32 = 1 << 20;

pub(super) fn find(
    tx: &Tx<'_>,
    account: AccountId,
    name: &MailboxName,
) -> Result<Option<MailboxId>> {
    let row = tx.tables().names.get((account.0, name.as_str()))?;
    Ok(row.map(|row| MailboxId(row.value())))
}

/// The keys of an account in the tables by name.
pub(super) fn names_of(account: AccountId) -> std::ops::Range<(u32, &'static str)> {
    (account.0, "")..(account.0.saturating_add(1), "")
}

/// All of an account, by name.
fn names(tx: &Tx<'_>, account: AccountId) -> Result<Vec<(MailboxName, MailboxId)>> {
    let mut found = Vec::new();
    for row in tx.tables().names.range(names_of(account))? {
        let (key, id) = row?;
        let name = MailboxName::parse(key.value().1);
        found.push((
            name.map_err(|_| Error::corrupt("a mailbox name"))?,
            MailboxId(id.value()),
        ));
    }
    Ok(found)
}

/// All of an account.
pub(super) fn ids(tx: &Tx<'_>, account: AccountId) -> Result<Vec<MailboxId>> {
    let rows = tx.tables().names.range(names_of(account))?;
    rows.map(|row| Ok(MailboxId(row?.1.value()))).collect()
}

/// Adds a mailbox whose name is free.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &MailboxName,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId> {
    let id = MailboxId(tx.next_id(STATE_MAILBOX)?);
    // Ascending and not before now: a store made anew must not repeat what clients remember.
    let now = u32::try_from(tx.now).unwrap_or(u32::MAX);
    let last = u32::try_from(tx.state(STATE_UID_VALIDITY)?).unwrap_or(u32::MAX);
    let uid_validity = UidValidity::new(now.max(last.saturating_add(1)))
        .ok_or(Error::Limit("mailboxes ever made"))?;
    tx.set_state(STATE_UID_VALIDITY, u64::from(uid_validity.get()))?;
    let floor = tx.state(STATE_MODSEQ)?;
    let row = MailboxRow {
        account,
        name: name.clone(),
        uid_validity,
        uid_next: 1,
        modseq: floor + 1,
        messages: 0,
        unseen: 0,
        deleted: 0,
        size: 0,
        special_use,
        recent: 1,
        vanished_floor: 0,
        vanished_rows: 0,
        keywords: Vec::new(),
    };
    tx.put_mailbox(id, &row)?;
    tx.change().names.insert((account.0, name.as_str()), id.0)?;
    Ok(id)
}

/// Makes missing superior mailboxes too (RFC 9051, 6.3.4).
pub(super) fn create(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &MailboxName,
    special_use: Option<SpecialUse>,
) -> Result<MailboxInfo> {
    account::must_exist(tx, account)?;
    if find(tx, account, name)?.is_some() {
        return Err(Error::Exists);
    }
    let missing = missing_superiors(tx, account, name)?;
    if names(tx, account)?.len() + missing.len() >= MAX_MAILBOXES {
        return Err(Error::Limit("mailboxes"));
    }
    for superior in missing.iter().rev() {
        insert(tx, account, superior, None)?;
    }
    let id = insert(tx, account, name, special_use)?;
    let subscribed = is_subscribed(tx, account, name)?;
    tx.mailbox(id)?.info(id, subscribed)
}

/// The nearest first.
fn missing_superiors(
    tx: &Tx<'_>,
    account: AccountId,
    name: &MailboxName,
) -> Result<Vec<MailboxName>> {
    let mut missing = Vec::new();
    let mut superior = name.parent();
    while let Some(name) = superior {
        if find(tx, account, &name)?.is_none() {
            missing.push(name.clone());
        }
        superior = name.parent();
    }
    Ok(missing)
}

/// For a delivery: the mailbox of that name, made and subscribed if missing.
pub(super) fn find_or_create(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &MailboxName,
) -> Result<MailboxId> {
    if let Some(id) = find(tx, account, name)? {
        return Ok(id);
    }
    let made = create(tx, account, name, None)?;
    set_subscribed(tx, account, name, true)?;
    Ok(made.id)
}

pub(super) fn delete(tx: &mut Tx<'_>, account: AccountId, name: &MailboxName) -> Result<()> {
    if name.is_inbox() {
        return Err(Error::Forbidden("INBOX can't be deleted"));
    }
    let id = find(tx, account, name)?.ok_or(Error::NoMailbox)?;
    doom(tx, id)
}

pub(super) fn doom_all(tx: &mut Tx<'_>, account: AccountId) -> Result<()> {
    for (_, id) in names(tx, account)? {
        doom(tx, id)?;
    }
    tx.change().subscriptions.remove_in(names_of(account))?;
    Ok(())
}

/// Takes the mailbox away at once, and its messages in slices later ([`purge`]).
fn doom(tx: &mut Tx<'_>, id: MailboxId) -> Result<()> {
    let row = tx.mailbox(id)?;
    let tables = tx.change();
    tables.names.remove((row.account.0, row.name.as_str()))?;
    tables.mailboxes.remove(id.0)?;
    tables.doomed.insert(id.0, ())?;
    let modseq = row.modseq + 1;
    if tx.state(STATE_MODSEQ)? < modseq {
        tx.set_state(STATE_MODSEQ, modseq)?;
    }
    tx.publish(id, modseq, Change::Deleted, Origin(None));
    url_key::forget(tx, id)
}

/// Takes away up to `blocks` blocks of messages of deleted mailboxes; true if more is left.
pub(super) fn purge(tx: &mut Tx<'_>, blocks: usize) -> Result<bool> {
    let first = tx.tables().doomed.first()?.map(|(id, _)| id.value());
    let Some(id) = first else {
        return Ok(false);
    };
    if tx.tables().mailboxes.get(id)?.is_some() {
        // Damage: what can be reached by its name is not taken away.
        log::error!("mailbox {id} is marked as deleted, and is there: it stays");
        tx.change().doomed.remove(id)?;
        return Ok(tx.tables().doomed.first()?.is_some());
    }
    let range = block_key(MailboxId(id), 0)..=block_key(MailboxId(id), u32::MAX);
    let mut keys = Vec::new();
    let mut emails: BTreeMap<EmailId, u32> = BTreeMap::new();
    for row in tx.tables().messages.range(range)?.take(blocks) {
        let (key, bytes) = row?;
        keys.push(key.value());
        let first = (key.value() as u32).wrapping_mul(block::SPAN);
        let decoded = block::decode(first, bytes.value(), |message| {
            *emails.entry(message.email).or_default() += 1;
            Ok(true)
        });
        // A block that can't be read must not keep the mailbox from going away.
        if let Err(error) = decoded {
            log::error!("a deleted mailbox had a block that can't be read: {error}");
        }
    }
    for key in &keys {
        tx.change().messages.remove(*key)?;
    }
    for (email, count) in emails {
        tx.release(email, count)?;
    }
    if keys.len() == blocks {
        return Ok(true);
    }
    let tables = tx.change();
    tables.vanished.remove_in((id, 0)..=(id, u64::MAX))?;
    tables.doomed.remove(id)?;
    Ok(tables.doomed.first()?.is_some())
}

/// After a part of the log was lost: none of the UIDs and mod-sequences that may have been given
/// there is given again, or clients would take new mail for what they have seen (RFC 9051,
/// 2.3.1.1). What vanished with it is told by naming all that isn't there.
pub(super) fn skip_lost(tx: &mut Tx<'_>) -> Result<()> {
    let mut ids = Vec::new();
    for row in tx.tables().mailboxes.range(0..)? {
        ids.push(MailboxId(row?.0.value()));
    }
    for id in ids {
        let mut row = tx.mailbox(id)?;
        row.uid_next = row.uid_next.saturating_add(LOST_NUMBERS);
        row.modseq = row.modseq.saturating_add(u64::from(LOST_NUMBERS));
        row.vanished_floor = row.modseq;
        tx.put_mailbox(id, &row)?;
    }
    Ok(())
}

/// With everything below it; missing superiors of `to` are made.
pub(super) fn rename(
    tx: &mut Tx<'_>,
    account: AccountId,
    from: &MailboxName,
    to: &MailboxName,
) -> Result<()> {
    let id = find(tx, account, from)?.ok_or(Error::NoMailbox)?;
    if find(tx, account, to)?.is_some() {
        return Err(Error::Exists);
    }
    if from.is_inbox() {
        // Its messages alone: INBOX and what is below it stay (RFC 9051, 6.3.6).
        let target = create(tx, account, to, None)?.id;
        let all = UidSet::from_ranges(vec![(1, u32::MAX)]);
        transfer::move_messages(tx, id, &all, target, Origin(None))?;
        return Ok(());
    }
    if to.is_below(from) {
        return Err(Error::Forbidden("a mailbox can't be renamed below itself"));
    }
    let mut moves = vec![(from.clone(), to.clone(), id)];
    for (name, id) in names(tx, account)? {
        if name.is_below(from) {
            let rest = &name.as_str()[from.as_str().len()..];
            let renamed = MailboxName::parse(&format!("{to}{rest}"))
                .map_err(|_| Error::Limit("the length or depth of a mailbox name"))?;
            if find(tx, account, &renamed)?.is_some() {
                return Err(Error::Exists);
            }
            moves.push((name, renamed, id));
        }
    }
    for superior in missing_superiors(tx, account, to)?.iter().rev() {
        insert(tx, account, superior, None)?;
    }
    for (old, new, id) in moves {
        let mut row = tx.mailbox(id)?;
        row.name = new.clone();
        tx.put_mailbox(id, &row)?;
        let names = &mut tx.change().names;
        names.remove((account.0, old.as_str()))?;
        names.insert((account.0, new.as_str()), id.0)?;
    }
    Ok(())
}

pub(super) fn is_subscribed(tx: &Tx<'_>, account: AccountId, name: &MailboxName) -> Result<bool> {
    let row = tx.tables().subscriptions.get((account.0, name.as_str()))?;
    Ok(row.is_some())
}

pub(super) fn set_subscribed(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &MailboxName,
    subscribed: bool,
) -> Result<()> {
    account::must_exist(tx, account)?;
    if is_subscribed(tx, account, name)? == subscribed {
        return Ok(());
    }
    let key = (account.0, name.as_str());
    if !subscribed {
        tx.change().subscriptions.remove(key)?;
        return Ok(());
    }
    let count = tx.tables().subscriptions.range(names_of(account))?.count();
    if count >= MAX_SUBSCRIPTIONS {
        return Err(Error::Limit("subscriptions"));
    }
    tx.change().subscriptions.insert(key, ())?;
    Ok(())
}
