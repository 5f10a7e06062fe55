//! Records: small rows whose meaning their owners know (routes, keys, groups …), by kind
//! and key.

use super::error::{Error, Result};
use super::schema::RECORDS;
use super::snapshot::Snapshot;
use super::tx::Tx;

/// Longest record and longest key, bytes.
pub const MAX_RECORD: usize = 64 << 10;
/// Records of one kind.
pub const MAX_RECORDS: usize = 10_000;

pub(super) fn put(tx: &mut Tx<'_>, kind: &'static str, key: &str, value: &[u8]) -> Result<()> {
    if !has(tx, kind, key)? && count(tx, kind)? >= MAX_RECORDS {
        return Err(Error::Limit("records"));
    }
    put_one_of_each(tx, kind, key, value)
}

/// For a kind that has one record at most for each of what is limited itself.
pub(super) fn put_one_of_each(
    tx: &mut Tx<'_>,
    kind: &'static str,
    key: &str,
    value: &[u8],
) -> Result<()> {
    if value.len() > MAX_RECORD || key.len() > MAX_RECORD {
        return Err(Error::Limit("a record's length"));
    }
    tx.change().records.insert((kind, key), value)?;
    Ok(())
}

pub(super) fn remove(tx: &mut Tx<'_>, kind: &'static str, key: &str) -> Result<bool> {
    if !has(tx, kind, key)? {
        return Ok(false);
    }
    tx.change().records.remove((kind, key))?;
    Ok(true)
}

pub(super) fn get(tx: &Tx<'_>, kind: &str, key: &str) -> Result<Option<Vec<u8>>> {
    let found = tx.tables().records.get((kind, key))?;
    Ok(found.map(|row| row.value().to_vec()))
}

/// All of a kind, by key.
pub(super) fn all(tx: &Tx<'_>, kind: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for row in tx.tables().records.range((kind, "")..)? {
        let (key, value) = row?;
        let (its_kind, name) = key.value();
        if its_kind != kind {
            break;
        }
        found.push((name.to_owned(), value.value().to_vec()));
    }
    Ok(found)
}

fn has(tx: &Tx<'_>, kind: &str, key: &str) -> Result<bool> {
    Ok(tx.tables().records.get((kind, key))?.is_some())
}

fn count(tx: &Tx<'_>, kind: &str) -> Result<usize> {
    let mut count = 0;
    for row in tx.tables().records.range((kind, "")..)? {
        if row?.0.value().0 != kind {
            break;
        }
        count += 1;
    }
    Ok(count)
}

impl Snapshot {
    pub fn record(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let records = self.tables.records.open(&self.txn, RECORDS)?;
        let found = records.get((kind, key))?;
        Ok(found.map(|row| row.value().to_vec()))
    }

    /// The keys of a kind, in order.
    pub fn record_keys(&self, kind: &str) -> Result<Vec<String>> {
        let records = self.tables.records.open(&self.txn, RECORDS)?;
        let mut found = Vec::new();
        for row in records.range((kind, "")..)? {
            let key = row?.0;
            let (its_kind, name) = key.value();
            if its_kind != kind {
                break;
            }
            found.push(name.to_owned());
        }
        Ok(found)
    }

    /// All of a kind, by key.
    pub fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let records = self.tables.records.open(&self.txn, RECORDS)?;
        let mut found = Vec::new();
        for row in records.range((kind, "")..)? {
            let (key, value) = row?;
            let (its_kind, name) = key.value();
            if its_kind != kind {
                break;
            }
            found.push((name.to_owned(), value.value().to_vec()));
        }
        Ok(found)
    }
}
