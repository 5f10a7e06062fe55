//! The audit log: who logged in, who was refused, what the owner changed. Events are taken in
//! memory and saved together, so that a login costs no write of its own; a power cut may take
//! those of the last minute. With them goes when each account's passwords were used last.
//!
//! Strangers make refusals, as many as they like: these have a place of their own, so that they
//! push out no login and no change, and past some in a minute they are told by network.

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
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Where events are kept: chunks in records of a kind, their keys their numbers.
struct Ring {
    kind: &'static str,
    /// The oldest go past this.
    max_chunks: u64,
    /// Events that wait to be saved; past that the oldest are dropped and counted.
    max_pending: usize,
}

/// Logins and changes: 16 MiB.
const LOG: Ring = Ring {
    kind: "audit",
    max_chunks: 4096,
    max_pending: 4096,
};
/// Refusals: 4 MiB.
const REFUSED: Ring = Ring {
    kind: "audit-refused",
    max_chunks: 1024,
    max_pending: 1024,
};
/// The kind of the records of last uses; their key is the account's.
const USES: &str = "last-use";
/// A chunk is filled up to this, bytes; what is saved rewrites the last chunk.
const CHUNK: usize = 4 << 10;
/// Refusals of one minute that are told by address; what comes then is told by network.
const TOLD_BY_ADDRESS: u32 = 30;
/// And by network; what comes then is told together.
const TOLD_BY_NETWORK: u32 = 120;
/// Bits of an address that are its network's: an IPv4 host's neighbours, an IPv6 site.
const NETWORK: (u32, u32) = (24, 56);
/// From where refusals came that are told together.
const MANY: &str = "many networks";
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
    log: Queue,
    refused: Queue,
    flood: Flood,
    uses: BTreeMap<(u32, String), LastUse>,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    lost: u32,
}

/// How many different refusals a minute has had.
#[derive(Default)]
struct Flood {
    minute: i64,
    told: u32,
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

/// `192.0.2.0/24` or `2001:db8::/56` for an address; what is none stays as it is.
fn network_of(from: &str) -> String {
    let (v4, v6) = NETWORK;
    match from.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            let kept = u32::from(ip) & u32::MAX << (32 - v4);
            format!("{}/{v4}", Ipv4Addr::from(kept))
        }
        Ok(IpAddr::V6(ip)) => {
            let kept = u128::from(ip) & u128::MAX << (128 - v6);
            format!("{}/{v6}", Ipv6Addr::from(kept))
        }
        Err(_) => from.to_owned(),
    }
}

impl Queue {
    /// Whether its like was there within the minute: it is counted there.
    fn has_counted(&mut self, event: &Event) -> bool {
        let mut last = self.events.iter_mut().rev().take(LOOK_BACK);
        match last.find(|it| it.is_like(event)) {
            Some(same) => {
                same.times = same.times.saturating_add(event.times);
                true
            }
            None => false,
        }
    }

    fn push(&mut self, event: Event, ring: &Ring) {
        if self.has_counted(&event) {
            return;
        }
        if self.events.len() >= ring.max_pending {
            self.events.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
        self.events.push_back(event);
    }

    fn take(&mut self, kind: Kind) -> VecDeque<Event> {
        let taken = std::mem::take(self);
        let mut events = taken.events;
        if taken.lost > 0 {
            let what = format!("{} events were too many to keep", taken.lost);
            events.push_back(Event::now(kind, "", "log", "server", &what));
        }
        events
    }

    /// What could not be saved comes before what is new.
    fn put_back(&mut self, saved: &VecDeque<Event>, ring: &Ring) {
        let newer = std::mem::take(&mut self.events);
        for event in saved.iter().cloned().chain(newer) {
            self.push(event, ring);
        }
    }
}

impl Flood {
    /// How the refusal is told: less exactly, the more of them the minute has had.
    fn fold(&mut self, queue: &mut Queue, mut event: Event) -> Option<Event> {
        let minute = event.at / 60;
        if self.minute != minute {
            *self = Flood { minute, told: 0 };
        }
        for limit in [TOLD_BY_ADDRESS, TOLD_BY_NETWORK] {
            if queue.has_counted(&event) {
                return None;
            }
            if self.told < limit {
                break;
            }
            match limit {
                TOLD_BY_ADDRESS => event.from = network_of(&event.from),
                _ => {
                    event.account.clear();
                    event.from = MANY.into();
                    event.what = "many reasons".into();
                }
            }
        }
        self.told = self.told.saturating_add(1);
        Some(event)
    }
}

impl Pending {
    fn push(&mut self, event: Event) {
        if event.kind != Kind::Refused {
            return self.log.push(event, &LOG);
        }
        if let Some(event) = self.flood.fold(&mut self.refused, event) {
            self.refused.push(event, &REFUSED);
        }
    }

    fn take(&mut self) -> Taken {
        Taken {
            log: self.log.take(Kind::Change),
            refused: self.refused.take(Kind::Refused),
            uses: std::mem::take(&mut self.uses),
        }
    }

    fn put_back(&mut self, taken: &Taken) {
        self.log.put_back(&taken.log, &LOG);
        self.refused.put_back(&taken.refused, &REFUSED);
        for (key, last) in &taken.uses {
            self.uses.entry(key.clone()).or_insert_with(|| last.clone());
        }
    }
}

/// What is being saved.
struct Taken {
    log: VecDeque<Event>,
    refused: VecDeque<Event>,
    uses: BTreeMap<(u32, String), LastUse>,
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.log.is_empty() && self.refused.is_empty() && self.uses.is_empty()
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
        if taken.is_empty() {
            return Ok(());
        }
        let taken = std::sync::Arc::new(taken);
        let saved = taken.clone();
        let done = self
            .write(move |tx| {
                append(tx, &LOG, &saved.log, keep)?;
                append(tx, &REFUSED, &saved.refused, keep)?;
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
fn ends(tx: &Tx<'_>, kind: &str) -> Result<Option<(u64, u64)>> {
    let all = || tx.tables().records.range((kind, "")..(kind, ":"));
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

/// What is too old goes with or without new events.
fn append(tx: &mut Tx<'_>, ring: &Ring, events: &VecDeque<Event>, keep: Duration) -> Result<()> {
    let kind = ring.kind;
    let (mut first, mut last) = ends(tx, kind)?.unwrap_or((0, 0));
    if !events.is_empty() {
        last = append_all(tx, kind, last, events)?;
    }
    let oldest = tx.now.saturating_sub_unsigned(keep.as_secs());
    while first < last && (last - first >= ring.max_chunks || is_over(tx, kind, first, oldest)?) {
        record::remove(tx, kind, &key(first))?;
        first += 1;
    }
    Ok(())
}

/// Gives the number of the chunk that is the last now.
fn append_all(
    tx: &mut Tx<'_>,
    kind: &'static str,
    mut last: u64,
    events: &VecDeque<Event>,
) -> Result<u64> {
    let mut chunk = record::get(tx, kind, &key(last))?.unwrap_or_default();
    for event in events {
        if chunk.len() >= CHUNK {
            record::put_one_of_each(tx, kind, &key(last), &chunk)?;
            last += 1;
            chunk.clear();
        }
        event.encode(&mut chunk);
    }
    record::put_one_of_each(tx, kind, &key(last), &chunk)?;
    Ok(last)
}

/// Whether all in the chunk is older than that; one that can't be read goes too.
fn is_over(tx: &Tx<'_>, kind: &str, number: u64, oldest: i64) -> Result<bool> {
    let chunk = record::get(tx, kind, &key(number))?.unwrap_or_default();
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
        // What an older version saved has the refusals among the rest.
        let mut found = self.ring(&LOG, wanted)?;
        if wanted.kind.is_none_or(|kind| kind == Kind::Refused) {
            found.extend(self.ring(&REFUSED, wanted)?);
        }
        found.sort_by_key(|it| it.at);
        let over = found.len().saturating_sub(wanted.most);
        Ok(found.split_off(over))
    }

    /// The last of the ring that are wanted, the oldest first.
    fn ring(&self, ring: &Ring, wanted: &Wanted) -> Result<Vec<Event>> {
        let records = self.tables.records.open(&self.txn, RECORDS)?;
        let mut found = Vec::new();
        for row in records.range((ring.kind, "")..(ring.kind, ":"))?.rev() {
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
