//! A table of the write transaction that notes what is changed in it, for the log.

use super::codec::{Reader, put, put_bytes};
use super::error::Result;
use super::redo::Redo;
use redb::{AccessGuard, ReadableTable, StorageError, TableDefinition, WriteTransaction};
use std::borrow::Borrow;
use std::ops::{Deref, RangeBounds};

/// What keys and values are made of, as the log writes them.
pub(super) trait Field: redb::Value {
    fn put(value: &Self::SelfType<'_>, out: &mut Vec<u8>);
    fn take<'a>(row: &mut Reader<'a>) -> Result<Self::SelfType<'a>>;
}

impl Field for () {
    fn put((): &(), _out: &mut Vec<u8>) {}
    fn take<'a>(_row: &mut Reader<'a>) -> Result<()> {
        Ok(())
    }
}

impl Field for u32 {
    fn put(value: &u32, out: &mut Vec<u8>) {
        put(out, u64::from(*value));
    }
    fn take<'a>(row: &mut Reader<'a>) -> Result<u32> {
        row.take_u32()
    }
}

impl Field for u64 {
    fn put(value: &u64, out: &mut Vec<u8>) {
        put(out, *value);
    }
    fn take<'a>(row: &mut Reader<'a>) -> Result<u64> {
        row.take()
    }
}

impl Field for &'static str {
    fn put(value: &&str, out: &mut Vec<u8>) {
        put_bytes(out, value.as_bytes());
    }
    fn take<'a>(row: &mut Reader<'a>) -> Result<&'a str> {
        row.take_str()
    }
}

impl Field for &'static [u8] {
    fn put(value: &&[u8], out: &mut Vec<u8>) {
        put_bytes(out, value);
    }
    fn take<'a>(row: &mut Reader<'a>) -> Result<&'a [u8]> {
        row.take_bytes()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(value: &Self::SelfType<'_>, out: &mut Vec<u8>) {
        A::put(&value.0, out);
        B::put(&value.1, out);
    }
    fn take<'a>(row: &mut Reader<'a>) -> Result<Self::SelfType<'a>> {
        Ok((A::take(row)?, B::take(row)?))
    }
}

/// Read as redb's table; changed by the methods here alone, which note it.
pub(super) struct Table<'t, K: redb::Key + Field + 'static, V: Field + 'static> {
    rows: redb::Table<'t, K, V>,
    /// Names the table in the log.
    number: u8,
    redo: Redo,
}

impl<'t, K: redb::Key + Field, V: Field> Deref for Table<'t, K, V> {
    type Target = redb::Table<'t, K, V>;

    fn deref(&self) -> &redb::Table<'t, K, V> {
        &self.rows
    }
}

impl<'t, K: redb::Key + Field, V: Field> Table<'t, K, V> {
    /// Makes it if it is missing.
    pub fn open(
        txn: &'t WriteTransaction,
        definition: TableDefinition<'static, K, V>,
        number: u8,
        redo: &Redo,
    ) -> Result<Table<'t, K, V>> {
        Ok(Table {
            rows: txn.open_table(definition)?,
            number,
            redo: redo.clone(),
        })
    }

    pub fn insert<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> std::result::Result<Option<AccessGuard<'_, V>>, StorageError> {
        let mut bytes = Vec::new();
        V::put(value.borrow(), &mut bytes);
        self.redo
            .note(name::<K>(self.number, key.borrow()), Some(bytes));
        self.rows.insert(key, value)
    }

    pub fn remove<'k>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> std::result::Result<Option<AccessGuard<'_, V>>, StorageError> {
        self.redo.note(name::<K>(self.number, key.borrow()), None);
        self.rows.remove(key)
    }

    /// Removes the rows of `range` for which `keep` is false.
    pub fn retain_in<'k, Q>(
        &mut self,
        range: impl RangeBounds<Q> + Clone + 'k,
        mut keep: impl FnMut(K::SelfType<'_>, V::SelfType<'_>) -> bool,
    ) -> Result<()>
    where
        Q: Borrow<K::SelfType<'k>> + 'k,
    {
        let mut gone = Vec::new();
        for row in self.rows.range(range.clone())? {
            let (key, value) = row?;
            if !keep(key.value(), value.value()) {
                gone.push(name::<K>(self.number, &key.value()));
            }
        }
        for name in gone {
            self.apply(&mut Reader(&name[1..]), None)?;
            self.redo.note(name, None);
        }
        Ok(())
    }

    /// Does what a row of the log says.
    pub fn apply(&mut self, key: &mut Reader<'_>, value: Option<&mut Reader<'_>>) -> Result<()> {
        let key = K::take(key)?;
        match value {
            Some(value) => {
                let value = V::take(value)?;
                self.rows.insert(key, value)?;
            }
            None => {
                self.rows.remove(key)?;
            }
        }
        Ok(())
    }
}

/// A row's name in the log: its table and its key.
fn name<K: Field>(number: u8, key: &K::SelfType<'_>) -> Vec<u8> {
    let mut name = Vec::with_capacity(16);
    name.push(number);
    K::put(key, &mut name);
    name
}
