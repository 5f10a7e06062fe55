//! Certificates by which accounts log in (SASL EXTERNAL), kept as records: by fingerprint, so
//! that each is one account's alone.

use super::Store;
use super::account;
use super::error::{Error, Result};
use super::record;
use super::snapshot::Snapshot;
use super::tx::Tx;
use crate::mail::certificate::Fingerprint;
use crate::mail::{Account, AccountId};

pub(super) const KIND: &str = "certificate";

/// Certificates of one account.
pub const MAX_CERTIFICATES: usize = 16;

/// One that an account may log in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCertificate {
    pub fingerprint: Fingerprint,
    pub account: AccountId,
    /// When it ends, seconds since 1970; for the owner's eyes.
    pub until: i64,
}

impl Store {
    /// [`Error::Exists`] if it is known already, [`Error::Limit`] over [`MAX_CERTIFICATES`].
    pub async fn add_certificate(&self, known: KnownCertificate) -> Result<()> {
        self.grow(move |tx| add(tx, &known)).await
    }

    /// Whether the account had it. Sessions that logged in by a certificate of its end.
    pub async fn remove_certificate(
        &self,
        id: AccountId,
        fingerprint: Fingerprint,
    ) -> Result<bool> {
        let key = fingerprint.to_string();
        let removed = self.write(move |tx| match record::get(tx, KIND, &key)? {
            Some(value) if owner(&value) == Some(id) => record::remove(tx, KIND, &key),
            _ => Ok(false),
        });
        let removed = removed.await?;
        if removed {
            self.end_sessions(id, Some("certificate".into()));
        }
        Ok(removed)
    }
}

fn add(tx: &mut Tx<'_>, known: &KnownCertificate) -> Result<()> {
    account::must_exist(tx, known.account)?;
    let key = known.fingerprint.to_string();
    if record::get(tx, KIND, &key)?.is_some() {
        return Err(Error::Exists);
    }
    if keys_of(tx, known.account)?.len() >= MAX_CERTIFICATES {
        return Err(Error::Limit("certificates of an account"));
    }
    let value = format!("{} {}", known.account.0, known.until);
    record::put(tx, KIND, &key, value.as_bytes())
}

pub(super) fn forget(tx: &mut Tx<'_>, id: AccountId) -> Result<()> {
    for key in keys_of(tx, id)? {
        record::remove(tx, KIND, &key)?;
    }
    Ok(())
}

fn keys_of(tx: &Tx<'_>, id: AccountId) -> Result<Vec<String>> {
    let rows = record::all(tx, KIND)?.into_iter();
    let own = rows.filter(|(_, value)| owner(value) == Some(id));
    Ok(own.map(|(key, _)| key).collect())
}

pub(super) fn owner(value: &[u8]) -> Option<AccountId> {
    Some(read(value)?.0)
}

/// `account until`
fn read(value: &[u8]) -> Option<(AccountId, i64)> {
    let (id, until) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some((AccountId(id.parse().ok()?), until.parse().ok()?))
}

impl Snapshot {
    /// Who logs in by that certificate.
    pub fn account_by_certificate(&self, fingerprint: &Fingerprint) -> Result<Option<Account>> {
        let value = self.record(KIND, &fingerprint.to_string())?;
        match value.as_deref().and_then(owner) {
            Some(id) => self.account(id),
            None => Ok(None),
        }
    }

    /// Those of one account, by fingerprint.
    pub fn certificates(&self, id: AccountId) -> Result<Vec<KnownCertificate>> {
        let records = self.records(KIND)?.into_iter();
        let known = records.filter_map(|(key, value)| {
            let (account, until) = read(&value)?;
            let fingerprint = Fingerprint::parse(&key)?;
            (account == id).then_some(KnownCertificate {
                fingerprint,
                account,
                until,
            })
        });
        Ok(known.collect())
    }
}
