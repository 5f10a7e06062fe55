//! Opening: the database as the last commit left it, and the files brought into line.

use super::Options;
use super::disk::{Backend, Disk};
use super::error::{Error, Result};
use super::schema::*;
use super::segment::{self, Segments};
use super::tx::{Position, Tables};
use crate::secret::random;
use redb::{Database, ReadableTable};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const META: &str = "meta.redb";

/// Opens `meta.redb`, which repairs itself after a crash. `full` is set when a write of it
/// fails for want of space.
pub(super) fn open_database(
    disk: &dyn Disk,
    options: &Options,
    full: &Arc<AtomicBool>,
) -> Result<Database> {
    let file = disk.open(META, true)?;
    if file.length()? == 0 {
        disk.sync_directory("")?;
    }
    let backend = Backend {
        file,
        full: full.clone(),
    };
    let db = redb::Builder::new()
        .set_cache_size(options.cache)
        .create_with_backend(backend)?;
    Ok(db)
}

/// Makes the tables of a new store; refuses one of another version.
pub(super) fn check_version(db: &Database) -> Result<()> {
    let read = redb::ReadableDatabase::begin_read(db)?;
    let version = match read.open_table(STATE) {
        Ok(state) => ReadableTable::get(&state, STATE_VERSION)?.map(|row| row.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(other) => return Err(other.into()),
    };
    match version {
        Some(VERSION) => {
            // Tables that came later are made where they are missing.
            if let Err(redb::TableError::TableDoesNotExist(_)) = read.open_table(OUTBOX) {
                drop(read);
                let txn = db.begin_write()?;
                drop(Tables::open(&txn)?);
                txn.commit()?;
            }
            Ok(())
        }
        Some(other) => Err(Error::Unusable(format!(
            "the store has version {other}, this program reads version {VERSION}"
        ))),
        None => {
            drop(read);
            let txn = db.begin_write()?;
            let mut state = Tables::open(&txn)?.state;
            state.insert(STATE_VERSION, VERSION)?;
            for name in STATE_SITE {
                let word = random().map_err(|error| Error::Unusable(error.to_string()))?;
                state.insert(name, u64::from_be_bytes(word))?;
            }
            drop(state);
            Ok(txn.commit()?)
        }
    }
}

/// What the rows say of the segments, and where the writer goes on.
pub(super) struct Recovered {
    pub rows: BTreeMap<u32, SegmentRow>,
    pub email: u64,
}

pub(super) fn read_rows(db: &Database) -> Result<Recovered> {
    let read = redb::ReadableDatabase::begin_read(db)?;
    let blobs = read.open_table(BLOBS)?;
    let mut rows = BTreeMap::new();
    for row in ReadableTable::range(&blobs, segment_key(0)..)? {
        let (key, row) = row?;
        rows.insert(key.value() as u32, SegmentRow::decode(row.value())?);
    }
    let state = read.open_table(STATE)?;
    let email = ReadableTable::get(&state, STATE_EMAIL)?.map_or(1, |row| row.value());
    Ok(Recovered { rows, email })
}

impl Recovered {
    /// The first number that no segment of `names` or of the rows has.
    pub fn next_segment(&self, names: &[String]) -> u32 {
        let files = names.iter().filter_map(|name| segment::number(name));
        let rows = self.rows.keys().copied();
        files.chain(rows).max().map_or(1, |last| last + 1)
    }

    /// The active segment is the newest shared one that has room and whose file is sound.
    pub fn position(&self, segments: &Segments) -> Position {
        let shared = self.rows.iter().rev().find(|(_, row)| !row.single);
        let usable = shared.filter(|(number, row)| {
            row.length < segments.roll && length_of(segments, **number) >= Some(row.length)
        });
        let (segment, length) = match usable {
            Some((number, row)) => (*number, row.length),
            None => (segments.reserve(), 0),
        };
        Position {
            email: self.email,
            email_reserved: self.email,
            segment,
            length,
        }
    }

    /// Removes files that no row names, cuts off what a crash left behind the recorded ends,
    /// and reports what is missing. A full or failing disk doesn't keep the store from opening.
    pub fn sweep(&self, names: &[String], segments: &Segments) {
        for number in names.iter().filter_map(|name| segment::number(name)) {
            if !self.rows.contains_key(&number) {
                segments.remove(number);
            }
        }
        for (number, row) in &self.rows {
            match length_of(segments, *number) {
                Some(length) if length > row.length => {
                    let cut = segments
                        .open(*number)
                        .and_then(|file| Ok(file.set_len(row.length)?));
                    if let Err(error) = cut {
                        log::warn!("segment {number} can't be cut to its length: {error}");
                    }
                }
                Some(length) if length == row.length => {}
                length => log::error!(
                    "segment {number} should have {} bytes, found {length:?}: messages are damaged",
                    row.length
                ),
            }
        }
    }
}

fn length_of(segments: &Segments, number: u32) -> Option<u64> {
    segments.open(number).ok()?.length().ok()
}
