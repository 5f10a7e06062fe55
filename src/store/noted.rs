//! Deliveries that somebody remembers: messages and the records that tell of them come in
//! one transaction, so that neither is ever there without the other.

use super::account;
use super::error::Result;
use super::option;
use super::outbox::{self, Letter};
use super::record;
use super::staging::Staged;
use super::tx::Tx;
use super::{Delivery, Store};
use crate::address::Address;
use crate::mail::option::Language;
use crate::mail::{AccountId, DateTime};
use crate::secret::Credential;
use event_listener::EventListener;

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: &'static str,
    pub key: String,
    /// `None` takes it away.
    pub value: Option<Vec<u8>>,
}

/// A message, and where it goes.
pub struct Noted<'a> {
    pub message: &'a Staged,
    pub date: DateTime,
    pub deliveries: Vec<Delivery>,
}

impl Store {
    /// Delivers as [`Store::deliver`] does, in this order, and makes the notes, all or nothing.
    /// The messages stay with the caller, who may try again otherwise.
    pub async fn deliver_noted(&self, messages: Vec<Noted<'_>>, notes: Vec<Note>) -> Result<()> {
        let letters = messages.into_iter().map(|it| Letter {
            data: it.message.data.clone(),
            date: it.date,
            deliveries: it.deliveries,
            queued: None,
        });
        let letters: Vec<Letter> = letters.collect();
        let bytes = letters.iter().map(|it| it.data.packed.len()).sum();
        self.submit(true, bytes, move |tx| {
            for letter in &letters {
                outbox::deliver(tx, letter)?;
            }
            make(tx, &notes)
        })
        .await
    }

    /// Makes the notes, all or nothing. They may go into the reserve: what is noted, others
    /// may act on.
    pub async fn note(&self, notes: Vec<Note>) -> Result<()> {
        self.write(move |tx| make(tx, &notes)).await
    }

    /// Makes the account of `address`, in that language, or gives it another credential
    /// (`None`: it is there and keeps its own), and makes the notes, all or nothing. Gives the
    /// account if it was made.
    pub async fn note_with_account(
        &self,
        address: Address,
        credential: Option<Credential>,
        language: Language,
        notes: Vec<Note>,
    ) -> Result<Option<AccountId>> {
        let done = self.grow(move |tx| {
            let made = account::ensure(tx, &address, credential.as_ref())?;
            if let Some(id) = made {
                option::change(tx, id, &mut |it| it.language = Some(language))?;
            }
            make(tx, &notes)?;
            Ok(made)
        });
        done.await.inspect(|_| self.tell_of_records())
    }

    /// Told of the next record that [`Store::put_record`] or [`Store::remove_record`] changes.
    pub fn records_changed(&self) -> EventListener {
        self.shared().records.listen()
    }

    pub(super) fn tell_of_records(&self) {
        self.shared().records.notify(usize::MAX);
    }
}

pub(super) fn make(tx: &mut Tx<'_>, notes: &[Note]) -> Result<()> {
    for note in notes {
        match &note.value {
            Some(value) => record::put(tx, note.kind, &note.key, value)?,
            None => record::remove(tx, note.kind, &note.key).map(|_| ())?,
        }
    }
    Ok(())
}
