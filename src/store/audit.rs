//! The audit log: who logged in, who was refused, what the owner changed. Events are taken in
//! memory and saved together, so that a login costs no write of its own; a power cut may take
//! those of the last minute. With them goes when each account's passwords were used last.

use super::Store;
use super::account;
use super::codec::{Reader, put, put_bytes, put_signed};
use super::error::{Error, Result};
use super::record;
use super::schema::RECORDS;
use super::segment::lock;
use super::snapshot::Snapshot;
use super::tx::Tx;
use crate::mail::AccountId;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The kinds of the records. A chunk's key is its number, a last use's the account's.
const LOG: &str = "audit";
const USES: &str = "last-use";
/// A chunk is filled up to this, bytes; what is saved rewrites the last chunk.
const CHUNK: usize = 4 << 10;
/// Chunks kept: 16 MiB; the oldest go.
const MAX_CHUNKS: u64 = 4096;
/// Events that wait to be saved; past that the oldest are dropped and counted.
const MAX_PENDING: usize = 4096;
/// How far back a repeated event looks for its like.
const LOOK_BACK: usize = 256;
/// Longest word of an event, bytes.
const MAX_WORD: usize = 300;
/// Passwords of one account whose last use is kept.
const MAX_USES: usize = 40;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Login,
    /// A login that was refused.
    Refused,
    /// Something that the owner did.
    Change,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Seconds since 1970.
    pub at: i64,
    pub kind: Kind,
    /// Its address; empty where there is none of that name: people type their password into
    /// the wrong field, so what they typed is never kept.
    pub account: String,
    /// `imap`, `pop3`, `submission`, `control` and so on.
    pub service: String,
    /// An IP address, or a user of this machine.
    pub from: String,
    /// By what: `password`, `certificate`, `app password NAME`; or what was changed.
    pub what: String,
    /// How often within the same minute.
    pub times: u32,
}

/// When a password was used last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// As in [`Event::what`].
    pub means: String,
    /// Seconds since 1970.
    pub at: i64,
    pub service: String,
    pub from: String,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this account, by its address.
    pub account: Option<String>,
    /// Not before this, seconds since 1970.
    pub since: Option<i64>,
    pub kind: Option<Kind>,
    /// The last so many.
    pub most: usize,
}

/// What waits to be saved.
#[derive(Default)]
pub(super) struct Pending {
    events: VecDeque<Event>,
    lost: u32,
    uses: BTreeMap<(u32, String), LastUse>,
}

impl Kind {
    const ALL: [(Kind, &'static str); 3] = [
        (Kind::Login, "login"),
        (Kind::Refused, "refused"),
        (Kind::Change, "change"),
    ];

    pub fn name(self) -> &'static str {
        let found = Kind::ALL.iter().find(|(it, _)| *it == self);
        found.map_or("", |(_, name)| name)
    }

    pub fn parse(name: &str) -> Option<Kind> {
        let found = Kind::ALL.iter().find(|(_, it)| *it == name);
        found.map(|(kind, _)| *kind)
    }
}

impl Event {
    /// Of this moment. Words lose what would break a line, and what is too long.
    pub fn now(kind: Kind, account: &str, service: &str, from: &str, what: &str) -> Event {
        Event {
            at: jiff::Timestamp::now().as_second(),
            kind,
            account: word(account),
            service: word(service),
            from: word(from),
            what: word(what),
            times: 1,
        }
    }

    fn is_like(&self, other: &Event) -> bool {
        self.kind == other.kind
            && (&self.account, &self.service) == (&other.account, &other.service)
            && (&self.from, &self.what) == (&other.from, &other.what)
            && self.at / 60 == other.at / 60
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_signed(out, self.at);
        let kind = Kind::ALL.iter().position(|(it, _)| *it == self.kind);
        put(out, kind.unwrap_or_default() as u64);
        for word in [&self.account, &self.service, &self.from, &self.what] {
            put_bytes(out, word.as_bytes());
        }
        put(out, u64::from(self.times));
    }

    fn decode(row: &mut Reader<'_>) -> Result<Event> {
        let at = row.take_signed()?;
        let kind = usize::try_from(row.take()?).ok();
        let kind = kind.and_then(|kind| Kind::ALL.get(kind));
        Ok(Event {
            at,
            kind: kind.ok_or_else(|| Error::corrupt("an event"))?.0,
            account: row.take_str()?.into(),
            service: row.take_str()?.into(),
            from: row.take_str()?.into(),
            what: row.take_str()?.into(),
            times: row.take_u32()?,
        })
    }
}

fn word(text: &str) -> String {
    let mut end = text.len().min(MAX_WORD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    text.replace(char::is_control, " ")
}

impl Pending {
    fn push(&mut self, event: Event) {
        let mut last = self.events.iter_mut().rev().take(LOOK_BACK);
        if let Some(same) = last.find(|it| it.is_like(&event)) {
            same.times = same.times.saturating_add(event.times);
            return;
        }
        if self.events.len() >= MAX_PENDING {
            self.events.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
        self.events.push_back(event);
    }

    fn take(&mut self) -> Pending {
        let mut taken = std::mem::take(self);
        if taken.lost > 0 {
            let what = format!("{} events were too many to keep", taken.lost);
            let lost = Event::now(Kind::Change, "", "log", "server", &what);
            taken.events.push_back(lost);
        }
        taken
    }

    /// What could not be saved comes before what is new.
    fn put_back(&mut self, saved: &Pending) {
        let newer = std::mem::take(&mut self.events);
        for event in saved.events.iter().cloned().chain(newer) {
            self.push(event);
        }
        for (key, last) in &saved.uses {
            self.uses.entry(key.clone()).or_insert_with(|| last.clone());
        }
    }
}

impl Store {
    /// Takes an event for the log; it is saved with the next [`Store::save_events`].
    pub fn note_event(&self, event: Event) {
        lock(&self.shared().audit).push(event);
    }

    /// As [`Store::note_event`], of a login that the account's password made; `what` is the
    /// means.
    pub fn note_login(&self, account: AccountId, event: Event) {
        let last = LastUse {
            means: event.what.clone(),
            at: event.at,
            service: event.service.clone(),
            from: event.from.clone(),
        };
        let mut pending = lock(&self.shared().audit);
        pending.uses.insert((account.0, event.what.clone()), last);
        pending.push(event);
    }

    /// Saves what was taken, durable when it returns; what is older than `keep`, or too much,
    /// goes. What can't be saved waits on.
    pub async fn save_events(&self, keep: Duration) -> Result<()> {
        let taken = lock(&self.shared().audit).take();
        if taken.events.is_empty() && taken.uses.is_empty() {
            return Ok(());
        }
        let taken = std::sync::Arc::new(taken);
        let saved = taken.clone();
        let done = self
            .write(move |tx| {
                append(tx, &saved.events, keep)?;
                put_uses(tx, &saved.uses)
            })
            .await;
        if done.is_err() {
            lock(&self.shared().audit).put_back(&taken);
        }
        done
    }
}

fn key(number: u64) -> String {
    format!("{number:012}")
}

/// The numbers of the first chunk and the last.
fn ends(tx: &Tx<'_>) -> Result<Option<(u64, u64)>> {
    let all = || tx.tables().records.range((LOG, "")..(LOG, ":"));
    let number = |name: &str| name.parse().ok();
    let first: Option<u64> = match all()?.next() {
        Some(row) => number(row?.0.value().1),
        None => None,
    };
    let last = match all()?.next_back() {
        Some(row) => number(row?.0.value().1),
        None => None,
    };
    Ok(first.zip(last))
}

fn append(tx: &mut Tx<'_>, events: &VecDeque<Event>, keep: Duration) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let (mut first, mut last) = ends(tx)?.unwrap_or((0, 0));
    let mut chunk = record::get(tx, LOG, &key(last))?.unwrap_or_default();
    for event in events {
        if chunk.len() >= CHUNK {
            record::put_one_of_each(tx, LOG, &key(last), &chunk)?;
            last += 1;
            chunk.clear();
        }
        event.encode(&mut chunk);
    }
    record::put_one_of_each(tx, LOG, &key(last), &chunk)?;
    let oldest = tx.now.saturating_sub_unsigned(keep.as_secs());
    while first < last && (last - first >= MAX_CHUNKS || is_over(tx, first, oldest)?) {
        record::remove(tx, LOG, &key(first))?;
        first += 1;
    }
    Ok(())
}

/// Whether all in the chunk is older than that; one that can't be read goes too.
fn is_over(tx: &Tx<'_>, number: u64, oldest: i64) -> Result<bool> {
    let chunk = record::get(tx, LOG, &key(number))?.unwrap_or_default();
    let events = decode(&chunk).unwrap_or_default();
    Ok(events.iter().all(|it| it.at < oldest))
}

fn decode(chunk: &[u8]) -> Result<Vec<Event>> {
    let row = &mut Reader(chunk);
    let mut events = Vec::new();
    while !row.is_empty() {
        events.push(Event::decode(row)?);
    }
    Ok(events)
}

fn put_uses(tx: &mut Tx<'_>, uses: &BTreeMap<(u32, String), LastUse>) -> Result<()> {
    for ((account, _), last) in uses {
        match account::must_exist(tx, AccountId(*account)) {
            Err(Error::NoAccount) => continue,
            other => other?,
        }
        let key = account.to_string();
        let known = record::get(tx, USES, &key)?.unwrap_or_default();
        let mut known = decode_uses(&known).unwrap_or_default();
        known.retain(|it| it.means != last.means);
        known.insert(0, last.clone());
        known.truncate(MAX_USES);
        let mut row = Vec::new();
        for it in &known {
            put_signed(&mut row, it.at);
            for word in [&it.means, &it.service, &it.from] {
                put_bytes(&mut row, word.as_bytes());
            }
        }
        record::put_one_of_each(tx, USES, &key, &row)?;
    }
    Ok(())
}

fn decode_uses(row: &[u8]) -> Result<Vec<LastUse>> {
    let row = &mut Reader(row);
    let mut uses = Vec::new();
    while !row.is_empty() {
        let at = row.take_signed()?;
        uses.push(LastUse {
            at,
            means: row.take_str()?.into(),
            service: row.take_str()?.into(),
            from: row.take_str()?.into(),
        });
    }
    Ok(uses)
}

/// What is known of the account's logins goes with it; what the log says of it stays.
pub(super) fn forget(tx: &mut Tx<'_>, account: AccountId) -> Result<()> {
    record::remove(tx, USES, &account.0.to_string()).map(|_| ())
}

impl Snapshot {
    /// The events that are wanted and saved, the oldest first.
    pub fn events(&self, wanted: &Wanted) -> Result<Vec<Event>> {
        let records = self.tables.records.open(&self.txn, RECORDS)?;
        let mut found = Vec::new();
        for row in records.range((LOG, "")..(LOG, ":"))?.rev() {
            let chunk = row?.1;
            let events = decode(chunk.value()).unwrap_or_else(|error| {
                log::error!("a part of the audit log can't be read: {error}");
                Vec::new()
            });
            let over = wanted
                .since
                .is_some_and(|since| !events.is_empty() && events.iter().all(|it| it.at < since));
            found.extend(events.into_iter().rev().filter(|it| wanted.has(it)));
            if over || found.len() >= wanted.most {
                break;
            }
        }
        found.truncate(wanted.most);
        found.reverse();
        Ok(found)
    }

    /// When and from where each of the account's passwords was used last, the latest first.
    pub fn last_uses(&self, account: AccountId) -> Result<Vec<LastUse>> {
        let row = self.record(USES, &account.0.to_string())?;
        let mut uses = decode_uses(&row.unwrap_or_default())?;
        uses.sort_unstable_by_key(|it| std::cmp::Reverse(it.at));
        Ok(uses)
    }
}

impl Wanted {
    fn has(&self, event: &Event) -> bool {
        let concerns = |account: &String| {
            event.account.eq_ignore_ascii_case(account)
                || event.kind == Kind::Change
                    && event
                        .what
                        .split(' ')
                        .any(|it| it.eq_ignore_ascii_case(account))
        };
        self.account.as_ref().is_none_or(concerns)
            && self.since.is_none_or(|since| event.at >= since)
            && self.kind.is_none_or(|kind| event.kind == kind)
    }
}
