//! How an account stands: in use, disabled, or deleted and still to be restored.

use super::account;
use super::codec::{Reader, put, put_signed};
use super::error::{Error, Result};
use super::record;
use super::snapshot::Snapshot;
use super::tx::Tx;
use crate::mail::{AccountId, Standing};

const KIND: &str = "account-standing";

/// Gives what it was before.
pub(super) fn set(tx: &mut Tx<'_>, id: AccountId, standing: Standing) -> Result<Standing> {
    account::must_exist(tx, id)?;
    let key = id.0.to_string();
    let before = decode(record::get(tx, KIND, &key)?)?;
    let mut row = Vec::new();
    match standing {
        Standing::Active => {
            record::remove(tx, KIND, &key)?;
            return Ok(before);
        }
        Standing::Disabled { takes_mail } => {
            put(&mut row, DISABLED);
            put(&mut row, u64::from(takes_mail));
        }
        Standing::Deleted { until } => {
            put(&mut row, DELETED);
            put_signed(&mut row, until);
        }
    }
    record::put_one_of_each(tx, KIND, &key, &row)?;
    Ok(before)
}

const DISABLED: u64 = 1;
const DELETED: u64 = 2;

pub(super) fn forget(tx: &mut Tx<'_>, id: AccountId) -> Result<()> {
    record::remove(tx, KIND, &id.0.to_string()).map(|_| ())
}

fn decode(row: Option<Vec<u8>>) -> Result<Standing> {
    let Some(row) = row else {
        return Ok(Standing::Active);
    };
    let row = &mut Reader(&row);
    match row.take()? {
        DISABLED => Ok(Standing::Disabled {
            takes_mail: row.take()? != 0,
        }),
        DELETED => Ok(Standing::Deleted {
            until: row.take_signed()?,
        }),
        _ => Err(Error::corrupt("how an account stands")),
    }
}

impl Snapshot {
    pub fn standing(&self, id: AccountId) -> Result<Standing> {
        decode(self.record(KIND, &id.0.to_string())?)
    }

    /// Those that are disabled or deleted.
    pub fn standings(&self) -> Result<Vec<(AccountId, Standing)>> {
        let mut all = Vec::new();
        for (key, row) in self.records(KIND)? {
            let id = key
                .parse()
                .map_err(|_| Error::corrupt("an account's number"))?;
            all.push((AccountId(id), decode(Some(row))?));
        }
        Ok(all)
    }
}
