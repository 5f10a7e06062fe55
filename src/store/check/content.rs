//! The bytes: every frame read, and what the structures should be derived again.

use super::references::place_name;
use super::{Check, Checked, MAX_PROBLEMS, ROWS, SLICE, repair::Fix};
use crate::mail::EmailId;
use crate::mail::outgoing::QueueId;
use crate::message::structure::{Scanner, Structure};
use crate::store::blob::Blob;
use crate::store::block::{self, SPAN};
use crate::store::error::Result;
use crate::store::frame::FRAME;
use crate::store::outbox::ITEM;
use crate::store::outbox_row::decode;
use crate::store::schema::*;
use crate::store::table::Field;
use std::time::Instant;

/// Messages taken from one snapshot.
const AT_ONCE: usize = 16;
/// How often a message is read again that was moved meanwhile.
const TRIES: usize = 3;

/// A message to be read.
struct Stored {
    email: u64,
    row: Vec<u8>,
    blob: Result<Blob>,
}

impl Check<'_> {
    pub(super) fn content(&mut self) -> Checked<()> {
        if self.wanted.bytes {
            let total = self.look(|snapshot| {
                let mut total = 0;
                for row in BLOBS.read(&snapshot.txn)?.range(segment_key(0)..)? {
                    total += SegmentRow::decode(row?.1.value()).map_or(0, |row| row.live);
                }
                Ok(total)
            })?;
            self.progress.begin(3, total);
            self.store.shared().damaged.forget();
            self.read_all()?;
        }
        self.locate()
    }

    fn read_all(&mut self) -> Checked<()> {
        let mut next = 0u64;
        loop {
            let some = self.look(|snapshot| {
                let mut some = Vec::new();
                let blobs = BLOBS.read(&snapshot.txn)?;
                for row in blobs.range(next..segment_key(0))?.take(AT_ONCE) {
                    let (key, row) = row?;
                    some.push(Stored {
                        email: key.value(),
                        row: row.value().to_vec(),
                        blob: snapshot.blob(EmailId(key.value())),
                    });
                }
                Ok(some)
            })?;
            match some.last() {
                Some(last) => next = last.email + 1,
                None => return Ok(()),
            }
            for stored in some {
                self.message(stored)?;
            }
        }
    }

    fn message(&mut self, mut stored: Stored) -> Checked<()> {
        for _ in 0..TRIES {
            let read = match stored.blob {
                Ok(blob) => self.derive(blob)?,
                Err(error) => Err(error),
            };
            let email = stored.email;
            let error = match read {
                Ok(structure) => {
                    self.damaged.remove(&email);
                    return self.compare(EmailId(email), &structure);
                }
                Err(error) => error,
            };
            // Moved or gone meanwhile, it is no damage.
            let again = self.look(|snapshot| {
                let blobs = BLOBS.read(&snapshot.txn)?;
                let row = blobs.get(email)?;
                let row = row.map(|row| row.value().to_vec());
                Ok(row.map(|row| (row, snapshot.blob(EmailId(email)))))
            })?;
            match again {
                None => return Ok(()),
                Some((row, _)) if row == stored.row => {
                    if self.damaged.len() < MAX_PROBLEMS {
                        self.damaged.insert(email, error.to_string());
                    }
                    return Ok(());
                }
                Some((row, blob)) => stored = Stored { email, row, blob },
            }
        }
        Ok(())
    }

    /// Reads a message to its end.
    fn derive(&mut self, mut blob: Blob) -> Checked<Result<Structure>> {
        let mut scanner = Scanner::new();
        let mut bytes = Vec::new();
        let mut at = 0u32;
        while at < blob.size() {
            let started = Instant::now();
            bytes.clear();
            let next = at.saturating_add(FRAME as u32);
            if let Err(error) = blob.read(at..next, &mut bytes) {
                return Ok(Err(error));
            }
            scanner.push(&bytes);
            at = next;
            self.report.bytes += bytes.len() as u64;
            self.worked(started.elapsed());
            if self.progress.is_cancelled() {
                return Err(super::Stop::Cancelled);
            }
        }
        self.progress.add(blob.stored());
        Ok(Ok(scanner.finish()))
    }

    fn compare(&mut self, email: EmailId, structure: &Structure) -> Checked<()> {
        let right = structure.encode();
        let same = self.look(|snapshot| {
            let structures = STRUCTURES.read(&snapshot.txn)?;
            let found = structures.get(email.0)?;
            let there = BLOBS.read(&snapshot.txn)?.get(email.0)?.is_some();
            Ok(!there || found.is_some_and(|row| row.value() == right))
        })?;
        if !same {
            let what = format!(
                "the structure of message {} is not that of its bytes",
                email.0
            );
            self.derived(what, Fix::Structure(email, right));
        }
        Ok(())
    }

    /// Tells of damaged messages where they are.
    fn locate(&mut self) -> Checked<()> {
        if self.damaged.is_empty() {
            return Ok(());
        }
        let mut places: Vec<(u64, Option<(u32, u32)>)> = Vec::new();
        let mut after = 0;
        loop {
            let found = &mut places;
            let next = self.look_and(|it, snapshot| {
                let started = Instant::now();
                let damaged = &it.damaged;
                let messages = MESSAGES.read(&snapshot.txn)?;
                for (n, row) in messages.range(after..)?.enumerate() {
                    let (key, value) = row?;
                    let (mailbox, key) = ((key.value() >> 32) as u32, key.value());
                    let _ = block::decode((key as u32).wrapping_mul(SPAN), value.value(), |it| {
                        if damaged.contains_key(&it.email.0) && found.len() < MAX_PROBLEMS {
                            found.push((it.email.0, Some((mailbox, it.uid.get()))));
                        }
                        Ok(true)
                    });
                    if n % ROWS == ROWS - 1 && started.elapsed() >= SLICE {
                        return Ok(Some(key + 1));
                    }
                }
                Ok(None)
            })?;
            match next {
                Some(next) => after = next,
                None => break,
            }
        }
        let damaged: Vec<u64> = self.damaged.keys().copied().collect();
        let mut queued = Vec::new();
        self.walk(OUTBOX.name(), vec![], None, &mut |_, _, key, value| {
            if let Some((ITEM, id)) = <(u64, u64)>::read(key)
                && let Ok(item) = decode(QueueId(id), value)
                && damaged.binary_search(&item.email.0).is_ok()
            {
                queued.push((item.email.0, None));
            }
            Ok(())
        })?;
        places.extend(queued);
        for (email, why) in std::mem::take(&mut self.damaged) {
            let mut of: Vec<_> = places
                .iter()
                .filter(|it| it.0 == email)
                .map(|it| it.1)
                .collect();
            if of.is_empty() {
                self.damage(format!("message {email}, in no mailbox: {why}"));
            }
            for place in of.drain(..) {
                let name = self.look(|snapshot| Ok(place_name(snapshot, place, email)))?;
                let then = match place {
                    Some(_) => "mail programs get an error for this message alone",
                    None => "it can't be sent; `pillarbox queue drop` gives it up",
                };
                self.damage(format!("{name}: {why}; {then}"));
            }
        }
        Ok(())
    }
}
