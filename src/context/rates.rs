//! How much each account and device sends: messages an hour, recipients a day, and how many of
//! those it never wrote to before. Kept in memory and saved now and then, so that a restart
//! starts no new day.

mod known;

use crate::address::Address;
use crate::mail::AccountId;
use crate::secret::Secret;
use crate::store::codec::Reader;
use crate::store::{self, Store, name_of_account, name_of_device};
use known::Known;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Seconds.
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// What a saved value begins with: another form would have another number.
const FORM: u8 = 1;

/// Whose sending is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    Account(AccountId),
    /// By its name.
    Device(String),
}

impl Who {
    /// The name of what is remembered of it.
    fn name(&self) -> String {
        match self {
            Who::Account(id) => name_of_account(*id),
            Who::Device(name) => name_of_device(name),
        }
    }
}

/// For logs.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Account(id) => write!(f, "account {}", id.0),
            Who::Device(name) => write!(f, "the device {name}"),
        }
    }
}

/// What was sent by those who sent of late; `Rates::default()` at start. Times are seconds
/// since 1970, by a clock that may be set back.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<Who, Sent>>);

#[derive(Default)]
struct Sent {
    messages: Window,
    recipients: Window,
    new: Window,
    known: Known,
    /// Since it was saved.
    changed: bool,
    /// Since the last save: what nobody uses goes from memory.
    used: bool,
}

/// A count that begins anew when its time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    began: i64,
    count: u32,
}

impl Rates {
    /// Counts a message, unless `limit` an hour is reached; 0 is no limit.
    pub fn message(&self, store: &Store, who: &Who, now: i64, limit: u32) -> bool {
        limit == 0 || self.change(store, who, |sent| sent.messages.take(now, HOUR, limit))
    }

    /// Counts a recipient, unless `limit` a day is reached; 0 is no limit.
    pub fn recipient(&self, store: &Store, who: &Who, now: i64, limit: u32) -> bool {
        limit == 0 || self.change(store, who, |sent| sent.recipients.take(now, DAY, limit))
    }

    /// Counts a recipient that was never written to before, or so long ago that it is
    /// forgotten, unless `limit` of those a day is reached; 0 is no limit.
    pub fn new_recipient(
        &self,
        store: &Store,
        who: &Who,
        address: &Address,
        now: i64,
        limit: u32,
    ) -> bool {
        let address = address.key();
        limit == 0
            || self.change(store, who, |sent| {
                sent.known.meets(&address) || {
                    let takes = sent.new.take(now, DAY, limit);
                    if takes {
                        sent.known.add(&address);
                    }
                    takes
                }
            })
    }

    /// Saves what has changed, and forgets in memory what was not used since the last call.
    pub async fn save(&self, store: &Store) {
        let mut values = Vec::new();
        self.lock().retain(|who, sent| {
            let keep = sent.used || sent.changed;
            if std::mem::take(&mut sent.changed) {
                values.push((who.name(), Some(sent.encode())));
            }
            sent.used = false;
            keep
        });
        if values.is_empty() {
            return;
        }
        if let Err(error) = store.remember(values).await {
            log::warn!("how much was sent can't be saved: {error}");
            self.lock().values_mut().for_each(|it| it.changed = true);
        }
    }

    fn change(&self, store: &Store, who: &Who, f: impl FnOnce(&mut Sent) -> bool) -> bool {
        let mut all = self.lock();
        let sent = all
            .entry(who.clone())
            .or_insert_with(|| Sent::load(store, who));
        sent.used = true;
        let before = (sent.messages, sent.recipients, sent.new);
        let taken = f(sent);
        let changed = sent.known.take_changed();
        sent.changed |= changed || before != (sent.messages, sent.recipients, sent.new);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Who, Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn take(&mut self, now: i64, length: i64, limit: u32) -> bool {
        if now.saturating_sub(self.began) >= length {
            *self = Window {
                began: now,
                count: 0,
            };
        }
        // The clock was set back: the count holds, from now on.
        self.began = self.began.min(now);
        let room = self.count < limit;
        self.count += u32::from(room);
        room
    }
}

impl Sent {
    /// What can't be read counts as nothing sent: mail goes on.
    fn load(store: &Store, who: &Who) -> Sent {
        let name = who.name();
        let read = store.look(|snapshot| Ok((snapshot.remembered(&name)?, snapshot.site_key()?)));
        let (saved, key) = read.unwrap_or_else(|error| {
            log::warn!("how much was sent can't be read: {error}");
            (None, Secret::new([0; 32]))
        });
        let mut sent = match saved.map(|bytes| Sent::decode(&bytes)) {
            None => Sent::default(),
            Some(Ok(sent)) => sent,
            Some(Err(error)) => {
                log::warn!("how much was sent can't be read: {error}");
                Sent::default()
            }
        };
        sent.known.keyed(key.reveal(), &name);
        sent
    }

    /// `form (1)`, then of each count its begin (8) and number (4), then 8 bytes an address,
    /// oldest first; all LE.
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORM];
        for window in [self.messages, self.recipients, self.new] {
            out.extend_from_slice(&window.began.to_le_bytes());
            out.extend_from_slice(&window.count.to_le_bytes());
        }
        self.known.write(&mut out);
        out
    }

    fn decode(bytes: &[u8]) -> store::Result<Sent> {
        let mut row = Reader(bytes);
        let [FORM] = row.take_fixed()? else {
            return Ok(Sent::default());
        };
        let mut window = || {
            Ok::<_, store::Error>(Window {
                began: i64::from_le_bytes(row.take_fixed()?),
                count: u32::from_le_bytes(row.take_fixed()?),
            })
        };
        Ok(Sent {
            messages: window()?,
            recipients: window()?,
            new: window()?,
            known: Known::read(row.0),
            ..Sent::default()
        })
    }
}

#[cfg(test)]
mod tests;
