//! The queue of outgoing mail. One table holds both the items, by number, and the order in
//! which they fall due; every item counts as one reference of its message's bytes.

use super::account;
use super::error::{Error, Result};
use super::message;
use super::outbox_row::{decode, decode_head, encode};
use super::quota::{self, Held};
use super::schema::OUTBOX;
use super::segment::lock;
use super::staging::StagedData;
use super::tx::Tx;
use super::types::{Delivery, HandOver, NewItem, Posting, QueueChange};
use super::{Snapshot, Store};
use crate::address::Domain;
use crate::mail::outgoing::{Notify, QueueId, QueueItem, Recipient, Reply, Status};
use crate::mail::{AccountId, DateTime, EmailId, Quota};
use event_listener::{Event, EventListener};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// Messages that the queue holds.
pub const MAX_QUEUE: u64 = 100_000;
/// Recipients of one queued message.
pub const MAX_QUEUE_RECIPIENTS: usize = 1000;

/// The first half of an item's key; what follows are moments, from 1.
pub(super) const ITEM: u64 = 0;
/// The moment at which a held item falls due.
const NEVER: u64 = u64::MAX;

/// A message's place in the order: when it is due, seconds since 1970, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    pub at: i64,
    pub id: QueueId,
}

/// For the one who sends: what has changed.
#[derive(Default)]
pub(super) struct OutboxNews {
    event: Event,
    news: Mutex<News>,
    /// Commits that changed a message of the queue.
    changes: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct News {
    first: Option<(u64, u64)>,
    retried: bool,
}

/// What has changed in the order since it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueNews {
    /// The first place that was given.
    pub first: Option<Due>,
    /// Whether the owner asked for an attempt.
    pub retried: bool,
}

impl OutboxNews {
    /// A commit gave a message this place in the order, or took it away from there.
    pub fn tell(&self, place: (u64, u64)) {
        self.changes.fetch_add(1, SeqCst);
        let mut news = lock(&self.news);
        news.first = Some(news.first.map_or(place, |first| first.min(place)));
        drop(news);
        self.event.notify(usize::MAX);
    }

    /// The owner asks for attempts.
    pub fn tell_retried(&self) {
        lock(&self.news).retried = true;
        self.event.notify(usize::MAX);
    }
}

/// One more letter in a transaction: notices, mostly.
pub(super) struct Letter {
    pub data: Arc<StagedData>,
    pub date: DateTime,
    pub deliveries: Vec<Delivery>,
    pub queued: Option<NewItem>,
}

impl From<Posting> for Letter {
    fn from(posting: Posting) -> Letter {
        Letter {
            data: posting.message.data,
            date: posting.date,
            deliveries: posting.deliveries,
            queued: posting.queued,
        }
    }
}

/// Puts a message into mailboxes and the queue: one copy of its bytes, all or nothing.
pub(super) fn deliver(tx: &mut Tx<'_>, letter: &Letter) -> Result<Option<QueueId>> {
    let Some(new) = &letter.queued else {
        message::deliver(tx, &letter.data, letter.date, &letter.deliveries, 0)?;
        return Ok(None);
    };
    has_room(tx, new)?;
    let data = &letter.data;
    let email = message::deliver(tx, data, letter.date, &letter.deliveries, 1)?;
    let email = email.ok_or_else(|| Error::corrupt("a message without its bytes"))?;
    add(tx, new, email, data.size).map(Some)
}

fn has_room(tx: &Tx<'_>, new: &NewItem) -> Result<()> {
    if new.recipients.is_empty() || new.recipients.len() > MAX_QUEUE_RECIPIENTS {
        return Err(Error::Limit("recipients of a queued message"));
    }
    // Each item has a row and a place in the order.
    match tx.tables().outbox.len()? / 2 >= MAX_QUEUE {
        true => Err(Error::Limit("queued messages")),
        false => Ok(()),
    }
}

/// An item for bytes that count it as a reference already.
fn add(tx: &mut Tx<'_>, new: &NewItem, email: EmailId, size: u32) -> Result<QueueId> {
    let id = QueueId(tx.next_number()?);
    put(tx, &new.item(id, email, size), None)?;
    Ok(id)
}

/// Delivers a message and with it, in one transaction, the notices that tell of that.
pub(super) fn deliver_all(tx: &mut Tx<'_>, letters: &[Letter]) -> Result<Option<QueueId>> {
    let mut first = None;
    for (n, letter) in letters.iter().enumerate() {
        let id = deliver(tx, letter)?;
        if n == 0 {
            first = id;
        }
    }
    Ok(first)
}

/// As [`deliver_all`], held to quotas. Gives who goes without.
pub(super) fn deliver_within(
    tx: &mut Tx<'_>,
    letter: &Letter,
    notices: &[Letter],
    default: Quota,
    held: &Held,
) -> Result<Vec<AccountId>> {
    let own = match held {
        Held::Together { own, .. } => *own,
        _ => 0,
    };
    let others = letter.deliveries.len().saturating_sub(own);
    let (others, own) = letter.deliveries.split_at(others);
    let (size, is_queued) = (letter.data.size, letter.queued.is_some());
    let (mut made, mut full) = quota::admit(tx, default, held, others, size, is_queued)?;
    if !full.is_empty() && made.is_empty() && !is_queued {
        return Err(Error::OverQuota);
    }
    let mut queued = letter.queued.clone();
    if let (Held::Together { waiting, .. }, Some(queued)) = (held, &mut queued) {
        wait(tx, queued, std::mem::take(&mut full), waiting)?;
    }
    made.extend_from_slice(own);
    let letter = Letter {
        data: letter.data.clone(),
        date: letter.date,
        deliveries: made,
        queued,
    };
    deliver(tx, &letter)?;
    deliver_all(tx, notices)?;
    Ok(full)
}

/// One reply has to answer for those elsewhere too: the accounts without room get theirs from
/// the queue, or who sent it hears that they never had room.
fn wait(
    tx: &Tx<'_>,
    queued: &mut NewItem,
    full: Vec<AccountId>,
    waiting: &[(AccountId, Recipient)],
) -> Result<()> {
    let Some(first) = queued.recipients.first() else {
        return Ok(());
    };
    let status = first.status.clone();
    for id in full {
        let address = account::account(tx, id)?.address;
        let status = status.clone();
        queued
            .recipients
            .push(match waiting.iter().find(|it| it.0 == id) {
                Some((_, member)) if member.accepted.is_some() => Recipient {
                    address,
                    status,
                    ..member.clone()
                },
                Some((_, named)) => Recipient {
                    status,
                    ..named.clone()
                },
                None => Recipient {
                    address,
                    notify: Notify::default(),
                    original: None,
                    accepted: None,
                    status,
                },
            });
    }
    Ok(())
}

/// New statuses of a message's recipients, and the copies that those stand for; with them
/// `letters`. Nothing, and false, unless all of them wait, and the message is not held.
/// [`Error::OverQuota`] if an account has no room; where the copies are those of one group, if
/// nobody has, here or elsewhere.
pub(super) fn hand_over(
    tx: &mut Tx<'_>,
    default: Quota,
    id: QueueId,
    statuses: &[(usize, Status)],
    over: &HandOver,
    date: DateTime,
    letters: &[Letter],
) -> Result<bool> {
    let Some(mut item) = item(tx, id)? else {
        return Ok(false);
    };
    let before = place(&item);
    let waits = |at: &usize| item.recipients.get(*at).is_some_and(is_waiting);
    if item.held || !statuses.iter().all(|(at, _)| waits(at)) {
        return Ok(false);
    }
    if !QueueChange::Statuses(statuses.to_vec()).apply(&mut item) {
        return Ok(false);
    }
    let held = Held::Together {
        own: 0,
        waiting: Vec::new(),
    };
    let is_group = statuses.len() == 1;
    let to = &over.deliveries;
    let (made, full) = quota::admit(tx, default, &held, to, item.size, !is_group)?;
    if !full.is_empty() && (!is_group || (made.is_empty() && over.queued.is_empty())) {
        return Err(Error::OverQuota);
    }
    // The copies first: the item's own reference may be the last.
    message::deliver_stored(tx, item.email, item.size, date, &over.deliveries)?;
    for new in &over.queued {
        has_room(tx, new)?;
        tx.reference(item.email, 1)?;
        add(tx, new, item.email, item.size)?;
    }
    keep(tx, &item, before)?;
    for letter in letters {
        deliver(tx, letter)?;
    }
    Ok(true)
}

/// Writes an item, or removes it if nobody waits any more.
fn keep(tx: &mut Tx<'_>, item: &QueueItem, before: u64) -> Result<()> {
    match item.recipients.iter().any(is_waiting) {
        true => put(tx, item, Some(before)),
        false => remove(tx, item, before),
    }
}

/// Makes all `changes`, and if one of them had an effect, delivers `letters` too. Gives how
/// many had one.
pub(super) fn update(
    tx: &mut Tx<'_>,
    changes: &[(QueueId, QueueChange)],
    letters: &[Letter],
) -> Result<usize> {
    let mut effects = 0;
    for (id, change) in changes {
        let Some(mut item) = item(tx, *id)? else {
            continue;
        };
        let before = place(&item);
        if !change.apply(&mut item) {
            continue;
        }
        effects += 1;
        keep(tx, &item, before)?;
    }
    if effects > 0 {
        for letter in letters {
            deliver(tx, letter)?;
        }
    }
    Ok(effects)
}

fn item(tx: &Tx<'_>, id: QueueId) -> Result<Option<QueueItem>> {
    match tx.tables().outbox.get((ITEM, id.0))? {
        Some(row) => Ok(Some(decode(id, row.value())?)),
        None => Ok(None),
    }
}

/// Writes an item and moves it from its place in the order to the one that it has now.
fn put(tx: &mut Tx<'_>, item: &QueueItem, before: Option<u64>) -> Result<()> {
    let (row, now) = (encode(item), place(item));
    let outbox = &mut tx.change().outbox;
    outbox.insert((ITEM, item.id.0), row.as_slice())?;
    if before != Some(now) {
        if let Some(before) = before {
            outbox.remove((before, item.id.0))?;
        }
        outbox.insert((now, item.id.0), &[] as &[u8])?;
    }
    tx.queue_changed((now, item.id.0));
    Ok(())
}

fn remove(tx: &mut Tx<'_>, item: &QueueItem, place: u64) -> Result<()> {
    let outbox = &mut tx.change().outbox;
    outbox.remove((ITEM, item.id.0))?;
    outbox.remove((place, item.id.0))?;
    // Nobody waits for that place, but who is sending it has to know.
    tx.queue_changed((NEVER, item.id.0));
    tx.release(item.email, 1)
}

fn is_waiting(recipient: &Recipient) -> bool {
    matches!(recipient.status, Status::Waiting { .. })
}

/// Where an item stands in the order: at the first attempt that is due.
pub(super) fn place(item: &QueueItem) -> u64 {
    let moments = item.recipients.iter().filter_map(|it| match it.status {
        Status::Waiting { next, .. } => Some(next),
        _ => None,
    });
    match moments.min() {
        Some(next) if !item.held => key(next),
        _ => NEVER,
    }
}

fn due(moment: u64, id: QueueId) -> Due {
    let at = i64::try_from(moment.saturating_sub(1)).unwrap_or(i64::MAX);
    Due { at, id }
}

fn key(moment: i64) -> u64 {
    u64::try_from(moment).map_or(1, |moment| moment.saturating_add(1))
}

impl NewItem {
    fn item(&self, id: QueueId, email: EmailId, size: u32) -> QueueItem {
        QueueItem {
            id,
            email,
            size,
            account: self.account,
            ours: self.ours,
            name: self.name.clone(),
            submitted: self.submitted,
            held: false,
            envelope: self.envelope.clone(),
            recipients: self.recipients.clone(),
        }
    }
}

impl QueueChange {
    /// Whether it had an effect. What is final stays as it is.
    fn apply(&self, item: &mut QueueItem) -> bool {
        let mut changed = false;
        let mut set = |recipient: &mut Recipient, status: Status| {
            if is_waiting(recipient) && recipient.status != status {
                recipient.status = status;
                changed = true;
            }
        };
        match self {
            QueueChange::Statuses(statuses) => {
                for (place, status) in statuses {
                    if let Some(recipient) = item.recipients.get_mut(*place) {
                        set(recipient, status.clone());
                    }
                }
            }
            QueueChange::Hold(held) => {
                changed = item.held != *held;
                item.held = *held;
            }
            QueueChange::Retry { at, domain } => {
                for recipient in chosen(item, domain.as_ref()) {
                    let mut status = recipient.status.clone();
                    if let Status::Waiting { attempts, next, .. } = &mut status {
                        (*attempts, *next) = (0, *at);
                    }
                    set(recipient, status);
                }
            }
            QueueChange::Drop { domain } => {
                for recipient in chosen(item, domain.as_ref()) {
                    let text = "dropped by the owner of the server".into();
                    let reply = Reply {
                        text,
                        ..Reply::default()
                    };
                    set(recipient, Status::Failed(reply));
                }
            }
        }
        changed
    }
}

fn chosen<'a>(
    item: &'a mut QueueItem,
    domain: Option<&'a Domain>,
) -> impl Iterator<Item = &'a mut Recipient> {
    let fits = move |it: &&mut Recipient| domain.is_none_or(|domain| it.address.domain() == domain);
    item.recipients.iter_mut().filter(fits)
}

impl Store {
    /// Told of the next commit that gives a message of the queue a place in its order.
    pub fn queue_changed(&self) -> EventListener {
        self.shared().outbox.event.listen()
    }

    /// Another number as soon as any message of the queue has changed or is gone.
    pub fn queue_changes(&self) -> u64 {
        self.shared().outbox.changes.load(SeqCst)
    }

    /// What has changed since the last call; for one caller.
    pub fn queue_news(&self) -> QueueNews {
        let news = std::mem::take(&mut *lock(&self.shared().outbox.news));
        QueueNews {
            first: news.first.map(|(moment, id)| due(moment, QueueId(id))),
            retried: news.retried,
        }
    }
}

impl Snapshot {
    pub fn queue_item(&self, id: QueueId) -> Result<Option<QueueItem>> {
        let outbox = self.tables.outbox.open(&self.txn, OUTBOX)?;
        match outbox.get((ITEM, id.0))? {
            Some(row) => Ok(Some(decode(id, row.value())?)),
            None => Ok(None),
        }
    }

    /// The first `most` items with numbers above `after`, by number.
    pub fn queue_items(&self, after: QueueId, most: usize) -> Result<Vec<QueueItem>> {
        let outbox = self.tables.outbox.open(&self.txn, OUTBOX)?;
        let range = (ITEM, after.0.saturating_add(1))..(ITEM + 1, 0);
        let mut items = Vec::new();
        for row in outbox.range(range)?.take(most) {
            let (key, row) = row?;
            items.push(decode(QueueId(key.value().1), row.value())?);
        }
        Ok(items)
    }

    /// Shows all items, without their recipients. Those that can't be read are passed over.
    pub fn queue_heads(&self, mut show: impl FnMut(&QueueItem)) -> Result<()> {
        let outbox = self.tables.outbox.open(&self.txn, OUTBOX)?;
        for row in outbox.range((ITEM, 0)..(ITEM + 1, 0))? {
            let (key, row) = row?;
            if let Ok(item) = decode_head(QueueId(key.value().1), row.value()) {
                show(&item);
            }
        }
        Ok(())
    }

    /// How many messages wait.
    pub fn queue_len(&self) -> Result<u64> {
        Ok(self.tables.outbox.open(&self.txn, OUTBOX)?.len()? / 2)
    }

    /// The next `most` places in the order after `after`, those due later too; held
    /// messages have none. No item is read.
    pub fn queue_order(&self, after: Option<Due>, most: usize) -> Result<Vec<Due>> {
        let outbox = self.tables.outbox.open(&self.txn, OUTBOX)?;
        let first = after.map_or((ITEM + 1, 0), |it| (key(it.at), it.id.0.saturating_add(1)));
        let mut order = Vec::new();
        for row in outbox.range(first..(NEVER, 0))?.take(most) {
            let (moment, id) = row?.0.value();
            order.push(due(moment, QueueId(id)));
        }
        Ok(order)
    }
}
