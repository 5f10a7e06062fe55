//! Opening: the database as the last checkpoint left it, the log, and the files brought into line.

use super::disk::{Backend, Disk, File};
use super::error::{Error, Result};
use super::log::{Mark, Replay};
use super::redo::Redo;
use super::schema::*;
use super::segment::{self, DIRECTORY, Segments};
use super::tx::{Position, Tables};
use crate::secret::random;
use redb::{Database, TableHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(super) const META: &str = "meta.redb";
/// If the segments' directory has a file of this name at a start, nothing that is there then is
/// removed or cut.
pub(super) const KEEP: &str = "keep";

/// Opens `meta.redb`, which repairs itself after a crash. `full` is set when a write of it
/// fails for want of space; `cache` is redb's, bytes.
pub(super) fn open_database(
    disk: &dyn Disk,
    cache: usize,
    full: &Arc<AtomicBool>,
) -> Result<Database> {
    let file = disk.open(META, true)?;
    // Made before, so that its name is durable too.
    let names = disk.list(DIRECTORY)?;
    if !is_made(&*file)? {
        if names.iter().any(|name| segment::number(name).is_some()) {
            // It was made before the first of them: a new one would have them swept away.
            return Err(Error::Unusable(format!(
                "{META} is missing or empty, and {DIRECTORY}/ is of no use without it"
            )));
        }
        // New, or the power failed when it was: the database takes an empty file alone.
        file.set_len(0)?;
        disk.sync_directory("")?;
    }
    let backend = Backend {
        file,
        full: full.clone(),
    };
    let db = redb::Builder::new()
        .set_cache_size(cache)
        .create_with_backend(backend)?;
    Ok(db)
}

/// Bytes of the database's file.
pub(super) fn database_length(disk: &dyn Disk) -> u64 {
    let file = disk.open(META, false);
    file.and_then(|file| file.length()).unwrap_or(0)
}

/// Whether a database was ever made in this file: its first bytes are written last.
fn is_made(file: &dyn File) -> Result<bool> {
    let mut start = [0; 9];
    if file.length()? < start.len() as u64 {
        return Ok(false);
    }
    file.read_at(0, &mut start)?;
    Ok(start != [0; 9])
}

/// Makes the tables of a new store; refuses one of a schema that is not known. Gives its schema.
pub(super) fn check_schema(db: &Database, schemas: &Schemas) -> Result<u64> {
    let read = redb::ReadableDatabase::begin_read(db)?;
    let version = match STATE.find(&read)? {
        Some(state) => state.get(STATE_VERSION)?.map(|row| row.value()),
        None => None,
    };
    match version {
        Some(schema) => {
            schemas.refuse(schema)?;
            // Tables that came later are made where they are missing, by their names: there may be
            // others, of a newer program. One that does not know them passes over them.
            let there: BTreeSet<String> = read.list_tables()?.map(|it| it.name().into()).collect();
            drop(read);
            if !Tables::NAMES.iter().all(|name| there.contains(*name)) {
                let txn = db.begin_write()?;
                drop(Tables::open(&txn, &Redo::default())?);
                txn.commit()?;
            }
            Ok(schema)
        }
        None => {
            drop(read);
            let txn = db.begin_write()?;
            let mut state = Tables::open(&txn, &Redo::default())?.state;
            state.insert(STATE_VERSION, schemas.oldest)?;
            for name in STATE_SITE.into_iter().chain([STATE_LOG_KEY]) {
                let word = random().map_err(|error| Error::Unusable(error.to_string()))?;
                state.insert(name, u64::from_be_bytes(word))?;
            }
            let first = Mark {
                segment: 1,
                offset: 0,
                sequence: 0,
            };
            for (name, value) in first.checkpoint().rows() {
                state.insert(name, value)?;
            }
            drop(state);
            txn.commit()?;
            Ok(schemas.oldest)
        }
    }
}

/// Takes a store from the schema `from` to the newest, all or nothing. Past the log, of which
/// nothing may be left that the database has not made durable.
pub(super) fn raise_schema(db: &Database, schemas: &Schemas, from: u64) -> Result<()> {
    let mut txn = db.begin_write()?;
    let done = usize::try_from(from.saturating_sub(schemas.oldest)).unwrap_or(usize::MAX);
    for step in schemas.steps.iter().skip(done) {
        step(&txn)?;
    }
    let mut state = Tables::open(&txn, &Redo::default())?.state;
    state.insert(STATE_VERSION, schemas.newest())?;
    drop(state);
    txn.set_quick_repair(true);
    Ok(txn.commit()?)
}

/// The log's key, and where it goes on after what the database has.
pub(super) fn read_mark(db: &Database) -> Result<(u64, Mark)> {
    let read = redb::ReadableDatabase::begin_read(db)?;
    let state = STATE.read(&read)?;
    let key = state.get(STATE_LOG_KEY)?;
    let key = key.ok_or_else(|| Error::corrupt("the key of the log is missing"))?;
    Ok((key.value(), Mark::read(&state)?))
}

/// How far the log went.
pub(super) struct Replayed {
    pub end: Mark,
    /// Nothing followed the mark, not even the remains of a batch.
    pub clean: bool,
    /// More of the log lies behind a part of it that can't be read.
    pub hole: bool,
    /// A part of it is lost, what follows isn't.
    pub skipped: bool,
    /// Rows that it had, and the bytes of their redo.
    pub rows: u64,
    pub redo: usize,
}

/// Brings the database up to date with the log below the number `limit`, not durably.
pub(super) fn replay(
    db: &Database,
    segments: &Segments,
    names: &[String],
    limit: u64,
) -> Result<Replayed> {
    let (key, mark) = read_mark(db)?;
    let mut replay = Replay::new(segments, key, mark, names)?;
    // With a limit, it is known where the log ends.
    let all = limit == u64::MAX;
    if !replay.has(mark)? {
        return Ok(Replayed {
            end: mark,
            clean: true,
            hole: all && replay.goes_on(mark)?,
            skipped: false,
            rows: 0,
            redo: 0,
        });
    }
    let mut txn = db.begin_write()?;
    txn.set_durability(redb::Durability::None)
        .map_err(|error| Error::Storage(error.to_string()))?;
    let mut tables = Tables::open(&txn, &Redo::default())?;
    let end = replay.run(&mut tables, mark, limit)?;
    drop(tables);
    let hole = all && replay.goes_on(end)?;
    if replay.is_empty() {
        txn.abort()?;
    } else {
        replay.sync(mark)?;
        txn.commit()?;
    }
    Ok(Replayed {
        end,
        clean: false,
        hole,
        skipped: replay.skipped,
        rows: replay.rows,
        redo: replay.redo,
    })
}

/// Says what a hole in the log means, and has this and later starts keep what lies behind it.
pub(super) fn report_hole(disk: &dyn Disk, end: Mark) {
    log::error!(
        "the log can't be read after byte {} of segment {}, though more follows: mail and changes \
         accepted after that, up to the last stop, are lost; the files in {DIRECTORY}/ are kept \
         as they are until {DIRECTORY}/{KEEP} is removed",
        end.offset,
        end.segment
    );
    keep_files(disk);
}

/// Has later starts do the same.
pub(super) fn keep_files(disk: &dyn Disk) {
    let kept = disk
        .open(&format!("{DIRECTORY}/{KEEP}"), true)
        .and_then(|_| disk.sync_directory(DIRECTORY));
    if let Err(error) = kept {
        log::error!("{DIRECTORY}/{KEEP} can't be made: {error}");
    }
}

/// What the rows say of the segments, and where the writer goes on.
pub(super) struct Recovered {
    pub rows: BTreeMap<u32, SegmentRow>,
    pub email: u64,
}

pub(super) fn read_rows(db: &Database) -> Result<Recovered> {
    let read = redb::ReadableDatabase::begin_read(db)?;
    let blobs = BLOBS.read(&read)?;
    let mut rows = BTreeMap::new();
    for row in blobs.range(segment_key(0)..)? {
        let (key, row) = row?;
        rows.insert(key.value() as u32, SegmentRow::decode(row.value())?);
    }
    let state = STATE.read(&read)?;
    let reserved = state.get(STATE_EMAIL)?.map_or(1, |row| row.value());
    // Never one that is taken, though the log should have lost the reservation.
    let last = blobs.range(..segment_key(0))?.next_back();
    let taken = last.transpose()?.map_or(0, |(key, _)| key.value());
    Ok(Recovered {
        rows,
        email: reserved.max(taken + 1),
    })
}

/// The first number that neither a file of `names` has nor the log's active segment.
pub(super) fn next_segment(names: &[String], mark: Mark) -> u32 {
    let files = names.iter().filter_map(|name| segment::number(name));
    files.max().unwrap_or(0).max(mark.segment) + 1
}

impl Recovered {
    /// The writer goes on where the log ends, if that segment's file is sound.
    pub fn position(&self, segments: &Segments, mut log: Mark) -> Result<Position> {
        // Numbers of files that are missing are not given out again.
        segments.skip_to(self.rows.keys().next_back().map_or(0, |last| last + 1));
        // Never over what its row says is there: then the place of the log is damaged.
        let row = self.rows.get(&log.segment);
        let taken = row.is_some_and(|row| row.length > log.offset);
        let short = log.offset > 0 && segments.length_if_there(log.segment)? < Some(log.offset);
        if taken || short {
            log.segment = segments.reserve();
            log.offset = 0;
        }
        Ok(Position {
            email: self.email,
            email_reserved: self.email,
            log,
        })
    }

    /// As `position`, but in a segment of its own: what lies behind the log's end stays.
    pub fn position_beyond(&self, segments: &Segments, log: Mark) -> Result<Position> {
        let mut position = self.position(segments, log)?;
        position.log.segment = segments.reserve();
        position.log.offset = 0;
        Ok(position)
    }

    /// Of segments without a row, those that messages are in all the same: damage, which must
    /// not become a loss.
    pub fn alive(&self, db: &Database, mut dead: Vec<u32>) -> Result<Vec<u32>> {
        if dead.is_empty() {
            return Ok(dead);
        }
        let read = redb::ReadableDatabase::begin_read(db)?;
        let mut named = BTreeSet::new();
        for row in BLOBS.read(&read)?.range(..segment_key(0))? {
            // Where a row can't be read, nobody knows what it names.
            match BlobRow::decode(row?.1.value()) {
                Ok(row) => named.extend([row.segment]),
                Err(_) => return Ok(dead),
            };
        }
        dead.retain(|it| named.contains(it));
        Ok(dead)
    }

    /// The files of `names` that no row names.
    pub fn dead(&self, names: &[String], active: u32) -> Vec<u32> {
        let files = names.iter().filter_map(|name| segment::number(name));
        let dead = files.filter(|it| !self.rows.contains_key(it) && *it != active);
        dead.collect()
    }

    /// Removes files that no row names, cuts off what a crash left behind the recorded ends,
    /// and reports what is missing. A full or failing disk doesn't keep the store from opening.
    /// Only when the rows are durable: what the log needs has no row, or a shorter one. When
    /// `late`, after writes, snapshots may name the files, and the active one has grown.
    pub fn sweep(
        &self,
        db: &Database,
        names: &[String],
        segments: &Segments,
        active: u32,
        late: bool,
    ) {
        if names.iter().any(|name| name == KEEP) {
            log::warn!(
                "part of the log was lost earlier: no old files are removed until {DIRECTORY}/{KEEP} is"
            );
            return;
        }
        let mut dead = self.dead(names, active);
        let alive = self
            .alive(db, dead.clone())
            .unwrap_or_else(|_| dead.clone());
        if !alive.is_empty() {
            log::error!("segments {alive:?} have no row and stay: run pillarbox check");
            dead.retain(|it| !alive.contains(it));
        }
        match late {
            true => segments.bury(dead),
            false => dead.into_iter().for_each(|number| segments.remove(number)),
        }
        for (number, row) in &self.rows {
            if late && *number == active {
                continue;
            }
            let length = match segments.length_if_there(*number) {
                Ok(length) => length,
                Err(error) => {
                    log::error!("segment {number} can't be looked at: {error}");
                    continue;
                }
            };
            match length {
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
