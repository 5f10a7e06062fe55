//! Remembered values: what counts and lists must not lose at a restart, by name. Their owners
//! keep them in memory and save them now and then; a power cut may take the last minute.

use super::Store;
use super::account;
use super::addressing;
use super::error::Result;
use super::record::{self, MAX_RECORD};
use super::snapshot::Snapshot;
use super::tx::Tx;
use crate::mail::AccountId;

pub(super) const KIND: &str = "remembered";
/// Before the number of an account, or the name of a device, in the name of what goes with it.
pub(super) const OF_ACCOUNT: &str = "account ";
const OF_DEVICE: &str = "device ";

/// Longest remembered value, bytes. What may be longer goes under several names.
pub const MAX_REMEMBERED: usize = MAX_RECORD;

impl Store {
    /// Puts values under their names, in place of what was there; `None` forgets it. All or
    /// none, durable when it returns. Meant for once a minute, not for each message: every
    /// call is a transaction. [`Error::Limit`] for a value longer than [`MAX_REMEMBERED`] and
    /// for more names than [`MAX_RECORDS`]; [`Error::Full`] where the disk is. What is under a
    /// name by [`name_of_account`] or [`name_of_device`] goes with that, and is not put for one
    /// that is gone.
    ///
    /// [`Error::Limit`]: super::Error::Limit
    /// [`Error::Full`]: super::Error::Full
    /// [`MAX_RECORDS`]: super::MAX_RECORDS
    pub async fn remember(&self, values: Vec<(String, Option<Vec<u8>>)>) -> Result<()> {
        let grows = values.iter().any(|(_, value)| value.is_some());
        let make = move |tx: &mut Tx<'_>| {
            let mut changes = values.iter();
            changes.try_for_each(|(name, value)| match value {
                Some(value) if !is_orphan(tx, name)? => record::put(tx, KIND, name, value),
                Some(_) => Ok(()),
                None => record::remove(tx, KIND, name).map(|_| ()),
            })
        };
        match grows {
            true => self.grow(make).await,
            false => self.write(make).await,
        }
    }
}

impl Snapshot {
    /// What [`Store::remember`] last put under that name.
    pub fn remembered(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.record(KIND, name)
    }
}

/// The name of the value that goes with an account.
pub fn name_of_account(id: AccountId) -> String {
    format!("{OF_ACCOUNT}{}", id.0)
}

/// The name of the value that goes with a device.
pub fn name_of_device(name: &str) -> String {
    format!("{OF_DEVICE}{name}")
}

pub(super) fn forget(tx: &mut Tx<'_>, name: &str) -> Result<()> {
    record::remove(tx, KIND, name).map(|_| ())
}

/// Whether it is of an account or device that was deleted meanwhile.
fn is_orphan(tx: &Tx<'_>, name: &str) -> Result<bool> {
    if let Some(device) = name.strip_prefix(OF_DEVICE) {
        return addressing::has_device(tx, device).map(|has| !has);
    }
    let id = name.strip_prefix(OF_ACCOUNT).and_then(|id| id.parse().ok());
    match id.map(|id| account::must_exist(tx, AccountId(id))) {
        None | Some(Ok(())) => Ok(false),
        Some(Err(super::Error::NoAccount)) => Ok(true),
        Some(Err(error)) => Err(error),
    }
}
