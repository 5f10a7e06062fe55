//! App passwords: further passwords of an account, one for each device, made by the server and
//! so long that no slow hash is needed: nobody tries out 120 bits. All of an account are one
//! record.

use super::account;
use super::codec::{Reader, put, put_bytes, put_signed};
use super::error::{Error, Result};
use super::record;
use super::snapshot::Snapshot;
use super::tx::Tx;
use crate::mail::AccountId;
use crate::secret::ScramKeys;

const KIND: &str = "app-password";

/// App passwords of one account.
pub const MAX_APP_PASSWORDS: usize = 20;
/// Services that an app password can be for, a bit each.
pub const APP_SERVICES: [(u64, &str); 3] = [(1, "imap"), (2, "pop3"), (4, "submission")];

#[derive(Clone)]
pub struct AppPassword {
    /// The device's: letters, digits, `-`, `_` and `.`; large and small letters are the same.
    pub name: String,
    /// Seconds since 1970.
    pub made: i64,
    /// Bits of [`APP_SERVICES`]; 0 is all of them.
    pub services: u64,
    /// See [`crate::secret::AppSecret`].
    pub tag: [u8; 32],
    pub scram: ScramKeys,
}

impl AppPassword {
    pub fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    pub fn is_for(&self, service: &str) -> bool {
        let bit = APP_SERVICES.iter().find(|(_, name)| *name == service);
        self.services == 0 || bit.is_some_and(|(bit, _)| self.services & bit != 0)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_signed(out, self.made);
        put(out, self.services);
        out.extend_from_slice(&self.tag);
        put_bytes(out, &self.scram.salt);
        put(out, u64::from(self.scram.iterations));
        out.extend_from_slice(&self.scram.stored_key);
        out.extend_from_slice(&self.scram.server_key);
    }

    fn decode(row: &mut Reader<'_>) -> Result<AppPassword> {
        Ok(AppPassword {
            name: row.take_str()?.into(),
            made: row.take_signed()?,
            services: row.take()?,
            tag: row.take_fixed()?,
            scram: ScramKeys {
                salt: row.take_bytes()?.into(),
                iterations: row.take_u32()?,
                stored_key: row.take_fixed()?,
                server_key: row.take_fixed()?,
            },
        })
    }
}

/// [`Error::Exists`] if there is one of that name.
pub(super) fn add(tx: &mut Tx<'_>, id: AccountId, new: &AppPassword) -> Result<()> {
    account::must_exist(tx, id)?;
    let mut all = decode(&record::get(tx, KIND, &id.0.to_string())?.unwrap_or_default())?;
    if all.iter().any(|it| it.is_named(&new.name)) {
        return Err(Error::Exists);
    }
    if all.len() >= MAX_APP_PASSWORDS {
        return Err(Error::Limit("app passwords"));
    }
    all.push(new.clone());
    put_all(tx, id, &all)
}

/// The names of those that there were.
pub(super) fn remove(tx: &mut Tx<'_>, id: AccountId, name: &str) -> Result<Vec<String>> {
    let all = decode(&record::get(tx, KIND, &id.0.to_string())?.unwrap_or_default())?;
    let (gone, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.is_named(name));
    if !gone.is_empty() {
        put_all(tx, id, &left)?;
    }
    Ok(gone.into_iter().map(|it| it.name).collect())
}

fn put_all(tx: &mut Tx<'_>, id: AccountId, all: &[AppPassword]) -> Result<()> {
    if all.is_empty() {
        return forget(tx, id);
    }
    let mut row = Vec::new();
    all.iter().for_each(|it| it.encode(&mut row));
    record::put_one_of_each(tx, KIND, &id.0.to_string(), &row)
}

pub(super) fn forget(tx: &mut Tx<'_>, id: AccountId) -> Result<()> {
    record::remove(tx, KIND, &id.0.to_string()).map(|_| ())
}

fn decode(row: &[u8]) -> Result<Vec<AppPassword>> {
    let row = &mut Reader(row);
    let mut all = Vec::new();
    while !row.is_empty() {
        all.push(AppPassword::decode(row)?);
    }
    Ok(all)
}

impl Snapshot {
    /// In the order in which they were made.
    pub fn app_passwords(&self, id: AccountId) -> Result<Vec<AppPassword>> {
        decode(&self.record(KIND, &id.0.to_string())?.unwrap_or_default())
    }
}
