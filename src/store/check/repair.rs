//! What puts right: each fix in a transaction, which looks again whether it is still needed.

use super::mailboxes::{Sum, name_keywords};
use super::records::{Owner, owner};
use super::rows::count_domain;
use super::{Check, Kind};
use crate::address::Address;
use crate::mail::outgoing::QueueId;
use crate::mail::{AccountId, EmailId, MailboxId, MailboxName, UidSet, UidValidity};
use crate::secret::{Credential, ScramKeys, random};
use crate::store::account::{AccountRow, key_of};
use crate::store::error::{Error, Result};
use crate::store::mailbox;
use crate::store::message::for_blocks;
use crate::store::outbox::{ITEM, place};
use crate::store::outbox_row::decode;
use crate::store::record;
use crate::store::schema::*;
use crate::store::tx::Tx;
use std::collections::BTreeMap;

/// How a problem is put right.
pub(super) enum Fix {
    /// The row of an address by its key: put if an account has it, else removed.
    Address(Vec<u8>),
    Domains,
    /// The last ids given out.
    Counters,
    Inbox(AccountId),
    /// An account whose row is lost, from its addresses; nobody can log in to it yet.
    Account(AccountId),
    Name(u32, String, u32),
    StrayName(u32, String),
    StraySubscription(u32, String),
    Doomed(u32),
    StrayRecord(String, String),
    /// As it was found, and as it should be.
    Mailbox(MailboxId, Box<(MailboxRow, MailboxRow)>),
    Rebuild {
        account: u32,
        name: String,
        id: u32,
    },
    Place(QueueId),
    StrayPlace(u64, QueueId),
    /// How many more.
    References(EmailId, i64),
    MessageSize {
        mailbox: MailboxId,
        uid: u32,
        email: EmailId,
        size: u32,
    },
    BlobSize(EmailId, u32),
    Structure(EmailId, Vec<u8>),
    StrayStructure(EmailId),
    /// As its row says, and as the messages' rows do: bytes.
    Live {
        segment: u32,
        kept: u64,
        counted: u64,
    },
}

impl Check<'_> {
    /// Does what the stage has found.
    pub(super) fn fix(&mut self) {
        for (at, fix) in std::mem::take(&mut self.fixes) {
            if self.progress.is_cancelled() {
                return;
            }
            let fixed = smol::block_on(self.store.write(move |tx| fix.apply(tx)));
            if let Some(problem) = self.report.problems.get_mut(at) {
                match fixed {
                    Ok(true) => problem.repaired = true,
                    Ok(false) => problem.kind = Kind::Unsettled,
                    Err(error) => problem.what += &format!(" (not repaired: {error})"),
                }
            }
        }
    }
}

impl Fix {
    /// False if what it was meant for has changed.
    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool> {
        match self {
            Fix::Address(key) => fix_address(tx, key),
            Fix::Domains => fix_domains(tx),
            Fix::Counters => fix_counters(tx),
            Fix::Inbox(account) => {
                let inbox = MailboxName::inbox();
                let there = tx.tables().accounts.get(account.0)?.is_some();
                if !there || mailbox::find(tx, *account, &inbox)?.is_some() {
                    return Ok(false);
                }
                mailbox::insert(tx, *account, &inbox, None).map(|_| true)
            }
            Fix::Account(id) => rebuild_account(tx, *id),
            Fix::Name(account, name, id) => {
                let named = tx.tables().names.get((*account, name))?.is_some();
                if named || !is_its_name(tx, *account, name, *id)? {
                    return Ok(false);
                }
                tx.change().names.insert((*account, name), *id)?;
                Ok(true)
            }
            Fix::StrayName(account, name) => stray_name(tx, *account, name),
            Fix::StraySubscription(account, name) => {
                if !is_gone(tx, AccountId(*account))? {
                    return Ok(false);
                }
                tx.change().subscriptions.remove((*account, name))?;
                Ok(true)
            }
            Fix::Doomed(id) => {
                if tx.tables().mailboxes.get(*id)?.is_none() {
                    return Ok(false);
                }
                tx.change().doomed.remove(*id)?;
                Ok(true)
            }
            Fix::StrayRecord(kind, key) => stray_record(tx, kind, key),
            Fix::Mailbox(id, rows) => {
                if tx.tables().mailboxes.get(id.0)?.is_none() || tx.mailbox(*id)? != rows.0 {
                    return Ok(false);
                }
                tx.put_mailbox(*id, &rows.1)?;
                Ok(true)
            }
            Fix::Rebuild { account, name, id } => rebuild(tx, *account, name, *id),
            Fix::Place(id) => fix_place(tx, *id),
            Fix::StrayPlace(moment, id) => stray_place(tx, *moment, *id),
            Fix::References(email, more) => change_blob(tx, *email, |row| {
                let references = i64::from(row.references) + more;
                // The last of them takes the bytes away: never here.
                row.references = u32::try_from(references.max(1)).unwrap_or(u32::MAX);
            }),
            Fix::BlobSize(email, size) => change_blob(tx, *email, |row| row.size = *size),
            Fix::MessageSize {
                mailbox,
                uid,
                email,
                size,
            } => fix_size(tx, *mailbox, *uid, *email, *size),
            Fix::Structure(email, row) => {
                if tx.blob(*email)?.is_none() {
                    return Ok(false);
                }
                tx.change().structures.insert(email.0, row.as_slice())?;
                Ok(true)
            }
            Fix::StrayStructure(email) => {
                if tx.blob(*email)?.is_some() {
                    return Ok(false);
                }
                tx.change().structures.remove(email.0)?;
                Ok(true)
            }
            Fix::Live {
                segment,
                kept,
                counted,
            } => fix_live(tx, *segment, *kept, *counted),
        }
    }
}

/// Whether the mailbox is there, is the account's and has this name.
fn is_its_name(tx: &Tx<'_>, account: u32, name: &str, id: u32) -> Result<bool> {
    let Some(row) = tx.tables().mailboxes.get(id)? else {
        return Ok(false);
    };
    let row = MailboxRow::decode(row.value())?;
    Ok(row.account.0 == account && row.name.as_str() == name)
}

fn stray_name(tx: &mut Tx<'_>, account: u32, name: &str) -> Result<bool> {
    let Some(id) = tx.tables().names.get((account, name))?.map(|it| it.value()) else {
        return Ok(false);
    };
    if is_its_name(tx, account, name, id)? {
        return Ok(false);
    }
    let blocks = u64::from(id) << 32..=u64::from(id) << 32 | u64::from(u32::MAX);
    let lost = tx.tables().mailboxes.get(id)?.is_none()
        && tx.tables().messages.range(blocks)?.next().is_some();
    if lost {
        return Ok(false);
    }
    tx.change().names.remove((account, name))?;
    Ok(true)
}

/// Whether there is no such account, and no mailbox of it.
fn is_gone(tx: &Tx<'_>, id: AccountId) -> Result<bool> {
    let tables = tx.tables();
    Ok(tables.accounts.get(id.0)?.is_none()
        && tables.names.range(mailbox::names_of(id))?.next().is_none())
}

fn stray_record(tx: &mut Tx<'_>, kind: &str, key: &str) -> Result<bool> {
    let Some(value) = record::get(tx, kind, key)? else {
        return Ok(false);
    };
    let stray = match owner(kind, key, &value) {
        Some(Owner::Account(id)) => is_gone(tx, id)?,
        Some(Owner::Mailbox(id)) => tx.tables().mailboxes.get(id.0)?.is_none(),
        None => false,
    };
    if stray {
        tx.change().records.remove((kind, key))?;
    }
    Ok(stray)
}

fn stray_place(tx: &mut Tx<'_>, moment: u64, id: QueueId) -> Result<bool> {
    let outbox = &tx.tables().outbox;
    if moment == ITEM || outbox.get((moment, id.0))?.is_none() {
        return Ok(false);
    }
    if let Some(item) = outbox.get((ITEM, id.0))?
        && place(&decode(id, item.value())?) == moment
    {
        return Ok(false);
    }
    tx.change().outbox.remove((moment, id.0))?;
    Ok(true)
}

/// A segment in which nothing is alive is removed: none that a message's row names.
fn fix_live(tx: &mut Tx<'_>, segment: u32, kept: u64, counted: u64) -> Result<bool> {
    let row = match tx.tables().blobs.get(segment_key(segment))? {
        Some(row) => SegmentRow::decode(row.value())?,
        None => return Ok(false),
    };
    if row.live != kept {
        return Ok(false);
    }
    if counted == 0 {
        for row in tx.tables().blobs.range(..segment_key(0))? {
            if BlobRow::decode(row?.1.value())?.segment == segment {
                return Ok(false);
            }
        }
    }
    tx.correct_live(segment, counted as i64 - kept as i64);
    Ok(true)
}

fn fix_address(tx: &mut Tx<'_>, key: &[u8]) -> Result<bool> {
    let mut owners = Vec::new();
    for row in tx.tables().accounts.range(0..)? {
        let (id, row) = row?;
        let row = AccountRow::decode(row.value())?;
        let mut own = std::iter::once(&row.address).chain(&row.aliases);
        if own.any(|own| key_of(own) == key) {
            owners.push(id.value());
        }
    }
    match owners.as_slice() {
        [owner] => tx.change().addresses.insert(key, *owner)?,
        [] => tx.change().addresses.remove(key)?,
        _ => return Ok(false),
    }
    fix_domains(tx)
}

fn rebuild_account(tx: &mut Tx<'_>, id: AccountId) -> Result<bool> {
    if tx.tables().accounts.get(id.0)?.is_some() {
        return Ok(true);
    }
    let mut addresses = Vec::new();
    for row in tx.tables().addresses.range(&[][..]..)? {
        let (key, owner) = row?;
        let text = String::from_utf8_lossy(key.value()).replacen('\0', "@", 1);
        if owner.value() == id.0
            && let Ok(address) = Address::parse(&text)
        {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Ok(false);
    }
    let row = AccountRow {
        address: addresses.remove(0),
        aliases: addresses,
        credential: Credential {
            // No password has this verifier, nor these keys.
            verifier: String::new(),
            scram: ScramKeys {
                salt: drawn::<16>()?.into(),
                iterations: 4096,
                stored_key: drawn()?,
                server_key: drawn()?,
            },
        },
    };
    tx.change().accounts.insert(id.0, row.encode().as_slice())?;
    Ok(true)
}

fn drawn<const N: usize>() -> Result<[u8; N]> {
    random().map_err(|error| Error::Storage(error.to_string()))
}

fn fix_domains(tx: &mut Tx<'_>) -> Result<bool> {
    let mut counted = BTreeMap::new();
    for row in tx.tables().addresses.range(&[][..]..)? {
        count_domain(row?.0.value(), &mut counted);
    }
    let domains = &mut tx.change().domains;
    domains.remove_in(""..)?;
    for (domain, count) in counted {
        domains.insert(&domain, count)?;
    }
    Ok(true)
}

fn fix_counters(tx: &mut Tx<'_>) -> Result<bool> {
    let account = tx.tables().accounts.range(0..)?.next_back();
    let account = account.transpose()?.map_or(0, |row| row.0.value());
    let mailbox = tx.tables().mailboxes.range(0..)?.next_back();
    let mailbox = mailbox.transpose()?.map_or(0, |row| row.0.value());
    for (name, last) in [(STATE_ACCOUNT, account), (STATE_MAILBOX, mailbox)] {
        if tx.state(name)? < u64::from(last) {
            tx.set_state(name, u64::from(last))?;
        }
    }
    Ok(true)
}

fn fix_place(tx: &mut Tx<'_>, id: QueueId) -> Result<bool> {
    let Some(item) = tx.tables().outbox.get((ITEM, id.0))? else {
        return Ok(false);
    };
    let moment = place(&decode(id, item.value())?);
    drop(item);
    tx.change().outbox.insert((moment, id.0), &[] as &[u8])?;
    tx.queue_changed((moment, id.0));
    Ok(true)
}

fn change_blob(tx: &mut Tx<'_>, email: EmailId, f: impl FnOnce(&mut BlobRow)) -> Result<bool> {
    let Some(mut row) = tx.blob(email)? else {
        return Ok(false);
    };
    f(&mut row);
    let row = row.encode();
    tx.change().blobs.insert(email.0, row.as_slice())?;
    Ok(true)
}

fn fix_size(tx: &mut Tx<'_>, id: MailboxId, uid: u32, email: EmailId, size: u32) -> Result<bool> {
    let mut row = tx.mailbox(id)?;
    let mut found = false;
    let uids = UidSet::from_ranges(vec![(uid, uid)]);
    for_blocks(tx, id, &uids, |messages| {
        for message in messages.iter_mut() {
            if message.uid.get() == uid && message.email == email {
                row.size = row.size.saturating_sub(u64::from(message.size));
                row.size = row.size.saturating_add(u64::from(size));
                message.size = size;
                found = true;
            }
        }
        Ok(found)
    })?;
    if found {
        tx.put_mailbox(id, &row)?;
    }
    Ok(found)
}

/// A mailbox whose row is lost, from its name and its messages. Clients read it anew: its
/// UIDVALIDITY is a new one.
fn rebuild(tx: &mut Tx<'_>, account: u32, name: &str, id: u32) -> Result<bool> {
    let there = tx.tables().mailboxes.get(id)?.is_some();
    let named = tx.tables().names.get((account, name))?.map(|it| it.value());
    if there || named != Some(id) {
        return Ok(false);
    }
    let name = MailboxName::parse(name).map_err(|_| Error::corrupt("a mailbox name"))?;
    let mut sum = Sum::default();
    let first = block_key(MailboxId(id), 0);
    for row in tx
        .tables()
        .messages
        .range(first..=first | u64::from(u32::MAX))?
    {
        let (key, block) = row?;
        sum.add(key.value(), block.value());
    }
    let all = (id, 0)..=(id, u64::MAX);
    sum.vanished = u32::try_from(tx.tables().vanished.range(all)?.count()).unwrap_or(u32::MAX);
    let last = u32::try_from(tx.state(STATE_UID_VALIDITY)?).unwrap_or(u32::MAX);
    let now = u32::try_from(tx.now).unwrap_or(u32::MAX);
    let uid_validity = UidValidity::new(now.max(last.saturating_add(1)));
    let uid_validity = uid_validity.ok_or(Error::Limit("mailboxes ever made"))?;
    tx.set_state(STATE_UID_VALIDITY, u64::from(uid_validity.get()))?;
    let modseq = sum.modseq.max(tx.state(STATE_MODSEQ)?) + u64::from(mailbox::LOST_NUMBERS);
    let mut keywords = Vec::new();
    name_keywords(&mut keywords, sum.keywords);
    let row = MailboxRow {
        account: AccountId(account),
        special_use: None,
        uid_validity,
        uid_next: 1,
        modseq,
        messages: 0,
        unseen: 0,
        deleted: 0,
        size: 0,
        recent: 1,
        vanished_floor: modseq,
        vanished_rows: 0,
        keywords,
        name,
    };
    let mut row = sum.applied(&row);
    row.uid_next = row.uid_next.saturating_add(mailbox::LOST_NUMBERS);
    tx.put_mailbox(MailboxId(id), &row)?;
    Ok(true)
}
