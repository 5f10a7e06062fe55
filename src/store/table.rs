//! Typed tables over the one type that redb sees, bytes by bytes: redb's code is made anew for
//! every pair of types, and for all of ours that was a seventh of the program. What is generic
//! here only turns values into bytes and back.
//!
//! Declare a table as a [`Definition`] in `schema`, name it with a number in `tx`'s list, and,
//! if snapshots read it often, in theirs.

use super::error::{Error, Result};
use super::redo::Redo;
use redb::{
    AccessGuard, OwnedRange, ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};
use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};

pub(super) type Bytes = &'static [u8];

/// What keys and values are made of. Values sort as their bytes do.
pub(super) trait Field {
    type Of<'a>: Copy + Default;

    fn put(value: Self::Of<'_>, out: &mut Vec<u8>);
    /// None if these bytes are no such value.
    fn read(bytes: &[u8]) -> Option<Self::Of<'_>>;
}

/// What a key of two parts can begin with: its bytes say where it ends.
pub(super) trait Lead: Field {
    fn put_lead(value: Self::Of<'_>, out: &mut Vec<u8>) {
        Self::put(value, out);
    }
    fn split(bytes: &[u8]) -> Option<(Self::Of<'_>, &[u8])>;
}

impl Field for () {
    type Of<'a> = ();

    fn put((): (), _out: &mut Vec<u8>) {}
    fn read(bytes: &[u8]) -> Option<()> {
        bytes.is_empty().then_some(())
    }
}

impl Field for u32 {
    type Of<'a> = u32;

    fn put(value: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Option<u32> {
        bytes.try_into().ok().map(u32::from_be_bytes)
    }
}

impl Lead for u32 {
    fn split(bytes: &[u8]) -> Option<(u32, &[u8])> {
        let (value, rest) = bytes.split_first_chunk()?;
        Some((u32::from_be_bytes(*value), rest))
    }
}

impl Field for u64 {
    type Of<'a> = u64;

    fn put(value: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Option<u64> {
        bytes.try_into().ok().map(u64::from_be_bytes)
    }
}

impl Lead for u64 {
    fn split(bytes: &[u8]) -> Option<(u64, &[u8])> {
        let (value, rest) = bytes.split_first_chunk()?;
        Some((u64::from_be_bytes(*value), rest))
    }
}

impl Field for &'static str {
    type Of<'a> = &'a str;

    fn put(value: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(value.as_bytes());
    }
    fn read(bytes: &[u8]) -> Option<&str> {
        std::str::from_utf8(bytes).ok()
    }
}

/// Ends with a NUL, and has none within.
impl Lead for &'static str {
    fn put_lead(value: &str, out: &mut Vec<u8>) {
        debug_assert!(!value.contains('\0'));
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    }
    fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
        let end = memchr::memchr(0, bytes)?;
        Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
    }
}

impl Field for Bytes {
    type Of<'a> = &'a [u8];

    fn put(value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(value);
    }
    fn read(bytes: &[u8]) -> Option<&[u8]> {
        Some(bytes)
    }
}

impl<A: Lead, B: Field> Field for (A, B) {
    type Of<'a> = (A::Of<'a>, B::Of<'a>);

    fn put(value: Self::Of<'_>, out: &mut Vec<u8>) {
        A::put_lead(value.0, out);
        B::put(value.1, out);
    }
    fn read(bytes: &[u8]) -> Option<Self::Of<'_>> {
        let (first, rest) = A::split(bytes)?;
        Some((first, B::read(rest)?))
    }
}

fn encode<T: Field>(value: T::Of<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    T::put(value, &mut out);
    out
}

/// A key or a value in the database.
pub(super) struct Guard<'a, T> {
    bytes: AccessGuard<'a, Bytes>,
    of: PhantomData<T>,
}

impl<'a, T: Field> Guard<'a, T> {
    fn new(bytes: AccessGuard<'a, Bytes>) -> Result<Guard<'a, T>> {
        match T::read(bytes.value()) {
            Some(_) => Ok(Guard {
                bytes,
                of: PhantomData,
            }),
            None => Err(damaged()),
        }
    }

    pub fn value(&self) -> T::Of<'_> {
        // It could be read when this was made.
        T::read(self.bytes.value()).unwrap_or_default()
    }
}

fn damaged() -> Error {
    Error::corrupt("a key or a number in the database")
}

type Pair<'a, K, V> = (Guard<'a, K>, Guard<'a, V>);

fn pair<'a, K: Field, V: Field>(
    (key, value): (AccessGuard<'a, Bytes>, AccessGuard<'a, Bytes>),
) -> Result<Pair<'a, K, V>> {
    Ok((Guard::new(key)?, Guard::new(value)?))
}

/// A table's name and types.
pub(super) struct Definition<K, V> {
    name: &'static str,
    of: PhantomData<fn(K, V)>,
}

impl<K: Field, V: Field> Definition<K, V> {
    pub const fn new(name: &'static str) -> Definition<K, V> {
        Definition {
            name,
            of: PhantomData,
        }
    }

    fn bytes(&self) -> TableDefinition<'static, Bytes, Bytes> {
        TableDefinition::new(self.name)
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The table as a snapshot sees it.
    pub fn read(&self, txn: &ReadTransaction) -> Result<ReadTable<K, V>> {
        Ok(Rows::new(txn.open_table(self.bytes())?))
    }

    /// None if there is no such table, or one of other types.
    pub fn find(&self, txn: &ReadTransaction) -> Result<Option<ReadTable<K, V>>> {
        match txn.open_table(self.bytes()) {
            Ok(rows) => Ok(Some(Rows::new(rows))),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

/// Reading a table, in a snapshot or in the write transaction.
pub(super) struct Rows<R, K, V> {
    rows: R,
    of: PhantomData<(K, V)>,
}

/// A table of a snapshot.
pub(super) type ReadTable<K, V> = Rows<ReadOnlyTable<Bytes, Bytes>, K, V>;

impl<R: ReadableTable<Bytes, Bytes>, K: Field, V: Field> Rows<R, K, V> {
    fn new(rows: R) -> Rows<R, K, V> {
        Rows {
            rows,
            of: PhantomData,
        }
    }

    pub fn get(&self, key: K::Of<'_>) -> Result<Option<Guard<'_, V>>> {
        let found = self.rows.get(encode::<K>(key).as_slice())?;
        found.map(Guard::new).transpose()
    }

    pub fn range<'k>(&self, range: impl RangeBounds<K::Of<'k>>) -> Result<Range<'_, K, V>> {
        let ends = ends::<K>(&range);
        Ok(Range {
            rows: self.rows.range(slices(&ends))?,
            of: PhantomData,
        })
    }

    pub fn first(&self) -> Result<Option<Pair<'_, K, V>>> {
        self.rows.first()?.map(pair).transpose()
    }

    /// Rows of the table.
    pub fn len(&self) -> Result<u64> {
        Ok(self.rows.len()?)
    }
}

/// Any table by its name, as redb has it: for a check, which reads them all with one code.
pub(super) fn raw(
    txn: &ReadTransaction,
    name: &'static str,
) -> Result<ReadOnlyTable<Bytes, Bytes>> {
    let definition: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new(name);
    Ok(txn.open_table(definition)?)
}

impl<V: Field> ReadTable<u64, V> {
    /// The rows from `first` on, to be kept between calls.
    pub fn walk(&self, first: u64) -> Result<OwnedRange<Bytes, Bytes>> {
        let ends = ends::<u64>(&(first..));
        Ok(self.rows.range_owned(slices(&ends))?)
    }
}

/// As [`Walk`](ReadTable::walk)s give them.
pub(super) fn read_number(key: &[u8]) -> Result<u64> {
    u64::read(key).ok_or_else(damaged)
}

type Ends = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn ends<'k, K: Field>(range: &impl RangeBounds<K::Of<'k>>) -> Ends {
    let end = |bound: Bound<&K::Of<'k>>| bound.map(|key| encode::<K>(*key));
    (end(range.start_bound()), end(range.end_bound()))
}

fn slices(ends: &Ends) -> impl RangeBounds<&[u8]> {
    fn slice(end: &Bound<Vec<u8>>) -> Bound<&[u8]> {
        end.as_ref().map(Vec::as_slice)
    }
    (slice(&ends.0), slice(&ends.1))
}

/// Some rows, by key.
pub(super) struct Range<'a, K, V> {
    rows: redb::Range<'a, Bytes, Bytes>,
    of: PhantomData<(K, V)>,
}

impl<'a, K: Field, V: Field> Iterator for Range<'a, K, V> {
    type Item = Result<Pair<'a, K, V>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.rows.next()?.map_err(Error::from).and_then(pair))
    }
}

impl<K: Field, V: Field> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(self.rows.next_back()?.map_err(Error::from).and_then(pair))
    }
}

type WriteRows<'t> = redb::Table<'t, Bytes, Bytes>;

/// A table of the write transaction: what is changed in it is noted for the log.
pub(super) struct Table<'t, K, V> {
    rows: Rows<WriteRows<'t>, K, V>,
    /// Names the table in the log.
    number: u8,
    redo: Redo,
}

impl<'t, K, V> Deref for Table<'t, K, V> {
    type Target = Rows<WriteRows<'t>, K, V>;

    fn deref(&self) -> &Rows<WriteRows<'t>, K, V> {
        &self.rows
    }
}

impl<'t, K: Field, V: Field> Table<'t, K, V> {
    /// Makes it if it is missing.
    pub fn open(
        txn: &'t WriteTransaction,
        definition: &Definition<K, V>,
        number: u8,
        redo: &Redo,
    ) -> Result<Table<'t, K, V>> {
        Ok(Table {
            rows: Rows::new(txn.open_table(definition.bytes())?),
            number,
            redo: redo.clone(),
        })
    }

    pub fn insert(&mut self, key: K::Of<'_>, value: V::Of<'_>) -> Result<()> {
        let (name, value) = (self.name(key), encode::<V>(value));
        insert(&mut self.rows.rows, &self.redo, name, value)
    }

    pub fn remove(&mut self, key: K::Of<'_>) -> Result<()> {
        let name = self.name(key);
        remove(&mut self.rows.rows, &self.redo, name)
    }

    /// Removes the rows of `range`; says how many there were.
    pub fn remove_in<'k>(&mut self, range: impl RangeBounds<K::Of<'k>>) -> Result<usize> {
        let ends = ends::<K>(&range);
        remove_in(&mut self.rows.rows, &self.redo, self.number, &ends)
    }

    /// Does what a row of the log says.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        apply(&mut self.rows.rows, key, value)
    }

    /// A row's name in the log: its table and its key.
    fn name(&self, key: K::Of<'_>) -> Vec<u8> {
        let mut name = Vec::with_capacity(24);
        name.push(self.number);
        K::put(key, &mut name);
        name
    }
}

// One copy of these serves all tables.

fn insert(rows: &mut WriteRows<'_>, redo: &Redo, name: Vec<u8>, value: Vec<u8>) -> Result<()> {
    apply(rows, key(&name), Some(&value))?;
    redo.note(name, Some(value));
    Ok(())
}

fn remove(rows: &mut WriteRows<'_>, redo: &Redo, name: Vec<u8>) -> Result<()> {
    apply(rows, key(&name), None)?;
    redo.note(name, None);
    Ok(())
}

fn remove_in(rows: &mut WriteRows<'_>, redo: &Redo, number: u8, ends: &Ends) -> Result<usize> {
    let mut names = Vec::new();
    for row in rows.range(slices(ends))? {
        names.push([&[number], row?.0.value()].concat());
    }
    let count = names.len();
    for name in names {
        remove(rows, redo, name)?;
    }
    Ok(count)
}

fn key(name: &[u8]) -> &[u8] {
    name.get(1..).unwrap_or_default()
}

fn apply(rows: &mut WriteRows<'_>, key: &[u8], value: Option<&[u8]>) -> Result<()> {
    match value {
        Some(value) => rows.insert(key, value)?,
        None => rows.remove(key)?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of `values`, which ascend, ascend too, and give the values back.
    fn ascend<T: Field>(values: &[T::Of<'_>])
    where
        for<'a> T::Of<'a>: std::fmt::Debug,
    {
        let encoded: Vec<Vec<u8>> = values.iter().map(|it| encode::<T>(*it)).collect();
        assert!(
            encoded.is_sorted_by(|a, b| a < b),
            "{values:?}: {encoded:?}"
        );
        for (bytes, value) in encoded.iter().zip(values) {
            let read = T::read(bytes).map(|it| format!("{it:?}"));
            assert_eq!(read, Some(format!("{value:?}")));
        }
    }

    #[test]
    fn keys_sort_as_their_bytes_do() {
        ascend::<u32>(&[0, 1, 255, 256, 65_536, u32::MAX]);
        ascend::<u64>(&[0, 255, 256, 1 << 32, 1 << 63, u64::MAX]);
        ascend::<&str>(&["", "INBOX", "a", "a/b", "aa", "ä"]);
        ascend::<(u32, &str)>(&[(1, ""), (1, "z"), (2, ""), (256, "a"), (u32::MAX, "")]);
        ascend::<(u64, u64)>(&[(0, 300), (1, 0), (1, 256), (300, 1), (u64::MAX, 0)]);
        ascend::<(&str, &str)>(&[
            ("dkim", ""),
            ("dkim", "a\0b"),
            ("dkim", "b"),
            ("dkim-key", ""),
            ("dkin", "a"),
        ]);
    }

    #[test]
    fn damaged_bytes_are_no_value() {
        assert_eq!(u32::read(&[1, 2, 3]), None);
        assert_eq!(u64::read(&[0; 9]), None);
        assert_eq!(<()>::read(&[0]), None);
        assert_eq!(<&str>::read(&[0xff]), None);
        assert_eq!(<(u32, &str)>::read(&[0, 0, 1]), None);
        assert_eq!(<(u32, u64)>::read(&[0; 11]), None);
        assert_eq!(<(&str, &str)>::read(b"no end"), None);
    }
}
