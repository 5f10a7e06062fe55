//! An account's options, kept as one record each.

use super::account;
use super::error::{Error, Result};
use super::record;
use super::snapshot::Snapshot;
use super::tx::Tx;
use crate::mail::AccountId;
use crate::mail::option::AccountOptions;

pub(super) const KIND: &str = "account-option";

/// Changes what there is with `f`, in one transaction.
pub(super) fn change(
    tx: &mut Tx<'_>,
    id: AccountId,
    f: &mut impl FnMut(&mut AccountOptions),
) -> Result<()> {
    account::must_exist(tx, id)?;
    let key = id.0.to_string();
    let mut options = decode(record::get(tx, KIND, &key)?)?;
    f(&mut options);
    record::put(tx, KIND, &key, options.encode().as_bytes())
}

/// The defaults where nothing was set.
pub(super) fn get(tx: &Tx<'_>, id: AccountId) -> Result<AccountOptions> {
    decode(record::get(tx, KIND, &id.0.to_string())?)
}

pub(super) fn forget(tx: &mut Tx<'_>, id: AccountId) -> Result<()> {
    record::remove(tx, KIND, &id.0.to_string()).map(|_| ())
}

fn decode(record: Option<Vec<u8>>) -> Result<AccountOptions> {
    match record {
        Some(record) => match std::str::from_utf8(&record) {
            Ok(text) => Ok(AccountOptions::decode(text)),
            Err(_) => Err(Error::corrupt("an account's options")),
        },
        None => Ok(AccountOptions::default()),
    }
}

impl Snapshot {
    /// The defaults where nothing was set.
    pub fn account_options(&self, id: AccountId) -> Result<AccountOptions> {
        decode(self.record(KIND, &id.0.to_string())?)
    }
}
