//! Mailbox access keys (RFC 4467, 2.2), a record each: what the tokens in URLs are made
//! with. They go with their mailboxes.

use super::error::{Error, Result};
use super::record;
use super::snapshot::Snapshot;
use super::tx::Tx;
use super::{Origin, Store};
use crate::mail::{AccountId, Change, MailboxId};
use crate::secret::Secret;

/// The kind of their records; the key is the mailbox's id.
pub(super) const KIND: &str = "url-key";

pub type UrlKey = Secret<[u8; 32]>;

impl Store {
    /// The mailbox's key; `fresh` becomes it where there is none, and anyway with `reset`.
    pub async fn url_key(&self, id: MailboxId, fresh: UrlKey, reset: bool) -> Result<UrlKey> {
        self.grow(move |tx| {
            let row = tx.mailbox(id)?;
            if reset {
                tx.publish(id, row.modseq.max(1), Change::KeyReset, Origin(None));
            }
            match get(record::get(tx, KIND, &id.0.to_string())?)? {
                Some(key) if !reset => Ok(key),
                _ => {
                    record::put_one_of_each(tx, KIND, &id.0.to_string(), fresh.reveal())?;
                    Ok(fresh.clone())
                }
            }
        })
        .await
    }

    /// Takes away those of all the account's mailboxes.
    pub async fn forget_url_keys(&self, account: AccountId) -> Result<()> {
        let mailboxes = self.look(|snapshot| snapshot.mailboxes(account))?;
        self.write(move |tx| {
            for it in &mailboxes {
                forget(tx, it.id)?;
                let modseq = it.highest_modseq.get();
                tx.publish(it.id, modseq, Change::KeyReset, Origin(None));
            }
            Ok(())
        })
        .await
    }
}

impl Snapshot {
    pub fn url_key(&self, id: MailboxId) -> Result<Option<UrlKey>> {
        get(self.record(KIND, &id.0.to_string())?)
    }
}

pub(super) fn forget(tx: &mut Tx<'_>, id: MailboxId) -> Result<()> {
    record::remove(tx, KIND, &id.0.to_string()).map(|_| ())
}

fn get(record: Option<Vec<u8>>) -> Result<Option<UrlKey>> {
    let key = record.map(|it| <[u8; 32]>::try_from(it.as_slice()));
    let key = key
        .transpose()
        .map_err(|_| Error::corrupt("a mailbox access key"))?;
    Ok(key.map(Secret::new))
}
