//! How often each message is named: by rows of mailboxes and of the queue. Counted for some
//! numbers at a time, so that memory is the same for any store; what is touched while it is
//! counted is counted again.

use super::{Check, Checked, Kind, MAX_PROBLEMS, readable, repair::Fix};
use crate::mail::outgoing::QueueId;
use crate::mail::{EmailId, MailboxId};
use crate::message::structure::{Structure, StructureRef};
use crate::store::block::{self, SPAN};
use crate::store::error::Result;
use crate::store::frame::{FRAME, HEADER};
use crate::store::outbox::ITEM;
use crate::store::outbox_row::decode;
use crate::store::schema::*;
use crate::store::snapshot::Snapshot;
use crate::store::table::Field;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers of messages counted at a time: 1.5 MiB.
const WINDOW: u64 = 1 << 17;
/// How often they are counted again because they were touched.
const TRIES: usize = 4;
/// Rows up to which the segments are added up in one snapshot: 20 ms or so.
pub(super) const AT_ONCE: u64 = 100_000;

/// Bytes of a segment that are alive.
#[derive(Clone, Copy, Default)]
pub(super) struct Live {
    /// As its row says, if there is one.
    kept: Option<u64>,
    counted: u64,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    there: bool,
    /// As its row says.
    kept: u32,
    counted: u32,
    size: u32,
}

/// A row that names a message.
struct Naming {
    email: u64,
    /// None for the queue.
    place: Option<(u32, u32)>,
    size: u32,
}

/// Messages with numbers from `low` to before `end`; those with bytes begin at `first`.
struct Window {
    low: u64,
    first: u64,
    end: u64,
    entries: Vec<Entry>,
    missing: Vec<Naming>,
    sizes: Vec<Naming>,
}

impl Window {
    fn note(&mut self, naming: Naming) {
        if naming.email < self.low || naming.email >= self.end {
            return;
        }
        let at = naming.email.checked_sub(self.first);
        let entry = at.and_then(|at| self.entries.get_mut(at as usize));
        let list = match entry {
            Some(entry) if entry.there => {
                entry.counted = entry.counted.saturating_add(1);
                match entry.size == naming.size {
                    true => return,
                    false => &mut self.sizes,
                }
            }
            _ => &mut self.missing,
        };
        if list.len() < MAX_PROBLEMS {
            list.push(naming);
        }
    }
}

/// Ends the noting of what is touched.
struct Noting<'a>(&'a crate::store::Store);

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        self.0.shared().touched.stop();
    }
}

impl Check<'_> {
    pub(super) fn references(&mut self) -> Checked<()> {
        let total = self.count(BLOBS.name())?;
        self.progress.begin(2, total);
        self.store.shared().touched.start();
        let _noting = Noting(self.store);
        let limit = self.settle()?;
        self.blobs()?;
        let mut low = 0;
        loop {
            let first = self.look(|snapshot| {
                let blobs = BLOBS.read(&snapshot.txn)?;
                let found = blobs.range(low..segment_key(0))?.next();
                Ok(found.transpose()?.map(|row| row.0.value()))
            })?;
            let first = first.filter(|first| *first < limit);
            let end = first.map(|first| first.saturating_add(WINDOW).min(limit));
            // The last has all that is named beyond.
            let end = end.filter(|end| *end < limit).unwrap_or(u64::MAX);
            self.count_again(low, first.unwrap_or(limit), end, limit)?;
            if end == u64::MAX {
                break;
            }
            low = end;
        }
        self.live_bytes(total)
    }

    fn count_again(&mut self, low: u64, first: u64, end: u64, limit: u64) -> Checked<()> {
        let mut unsettled = 0;
        for _ in 0..TRIES {
            self.store.shared().touched.forget_emails();
            self.settle()?;
            let mut window = Window {
                low,
                first,
                end,
                entries: vec![Entry::default(); end.min(limit).saturating_sub(first) as usize],
                missing: Vec::new(),
                sizes: Vec::new(),
            };
            self.fill(&mut window)?;
            // What came meanwhile is not judged.
            let now = self.settle()?;
            let new = limit..now;
            window.missing.retain(|it| !new.contains(&it.email));
            unsettled = self.unsettled(&window);
            if unsettled == 0 {
                return self.judge(window);
            }
        }
        let what = format!("{unsettled} messages were copied or deleted all the time");
        self.problem(Kind::Unsettled, what);
        Ok(())
    }

    fn fill(&mut self, window: &mut Window) -> Checked<()> {
        let key = |number: u64| number.to_be_bytes().to_vec();
        let last = key(window.end.min(segment_key(0)));
        let first = key(window.first);
        self.walk(BLOBS.name(), first, Some(last), &mut |it, _, key, value| {
            it.progress.add(1);
            let number = readable(u64::read(key))?;
            // One that can't be read was told.
            let Ok(row) = BlobRow::decode(value) else {
                return Ok(());
            };
            let at = number.saturating_sub(window.first) as usize;
            if let Some(entry) = window.entries.get_mut(at) {
                (entry.there, entry.kept, entry.size) = (true, row.references, row.size);
            }
            Ok(())
        })?;
        self.walk(MESSAGES.name(), vec![], None, &mut |it, _, key, value| {
            let key = readable(u64::read(key))?;
            let mailbox = (key >> 32) as u32;
            // A block that can't be read was told with its mailbox, if that can be read.
            let decoded = block::decode((key as u32).wrapping_mul(SPAN), value, |message| {
                window.note(Naming {
                    email: message.email.0,
                    place: Some((mailbox, message.uid.get())),
                    size: message.size,
                });
                Ok(true)
            });
            it.messages_certain &= decoded.is_ok();
            Ok(())
        })?;
        self.walk(OUTBOX.name(), vec![], None, &mut |_, _, key, value| {
            let (moment, id) = readable(<(u64, u64)>::read(key))?;
            if moment == ITEM
                && let Ok(item) = decode(QueueId(id), value)
            {
                window.note(Naming {
                    email: item.email.0,
                    place: None,
                    size: item.size,
                });
            }
            Ok(())
        })
    }

    fn unsettled(&self, window: &Window) -> usize {
        let touched = &self.store.shared().touched;
        let entries = window.entries.iter().zip(window.first..);
        let wrong = entries.filter(|(it, _)| it.kept != it.counted);
        let missing = window.missing.iter().map(|it| it.email);
        let numbers = wrong.map(|(_, number)| number).chain(missing);
        numbers.filter(|number| touched.has_email(*number)).count()
    }

    fn judge(&mut self, window: Window) -> Checked<()> {
        for naming in &window.missing {
            self.messages_certain = false;
            let place = self.place(naming)?;
            self.damage(format!(
                "{place}: its bytes are not there; mail programs get an error for this message alone"
            ));
        }
        for naming in &window.sizes {
            self.size(naming)?;
        }
        for (entry, number) in window.entries.iter().zip(window.first..) {
            if entry.kept == entry.counted && (entry.counted > 0 || !entry.there) {
                continue;
            }
            let (kept, counted) = (entry.kept, entry.counted);
            if counted == 0 {
                let subject = self.look(|it| Ok(subject(it, number)))?;
                self.damage(format!(
                    "message {number}{subject}, {} bytes, is in no mailbox: its bytes are kept",
                    entry.size
                ));
                continue;
            }
            let what =
                format!("message {number} has a count of {kept} copies instead of {counted}");
            let fix = Fix::References(EmailId(number), i64::from(counted) - i64::from(kept));
            // Too few, and it would be deleted too early; too many do no harm.
            self.derived_if(counted > kept || self.messages_certain, what, fix);
        }
        Ok(())
    }

    /// A message's row says another size than its bytes' row: the third that knows decides.
    fn size(&mut self, naming: &Naming) -> Checked<()> {
        let place = self.place(naming)?;
        let email = EmailId(naming.email);
        let sizes = self.look(|snapshot| {
            let blobs = BLOBS.read(&snapshot.txn)?;
            let blob = blobs.get(email.0)?.map(|row| BlobRow::decode(row.value()));
            let structure =
                snapshot.with_structure(email, |row| Ok(StructureRef::read(row).map(|it| it.size)));
            Ok((
                blob.transpose()?.map(|it| it.size),
                structure.ok().flatten(),
            ))
        })?;
        let what = format!(
            "{place}: its size is {} bytes in one row and another elsewhere",
            naming.size
        );
        match (sizes, naming.place) {
            ((Some(blob), Some(third)), Some((mailbox, uid))) if blob == third => {
                let fix = Fix::MessageSize {
                    mailbox: MailboxId(mailbox),
                    uid,
                    email,
                    size: blob,
                };
                self.derived(what, fix);
            }
            ((Some(_), Some(third)), _) if third == naming.size => {
                self.derived(what, Fix::BlobSize(email, third));
            }
            _ => self.damage(what),
        }
        Ok(())
    }

    fn place(&mut self, naming: &Naming) -> Checked<String> {
        let (place, email) = (naming.place, naming.email);
        self.look(|snapshot| Ok(place_name(snapshot, place, email)))
    }

    /// Each row of bytes by itself, and each structure.
    fn blobs(&mut self) -> Checked<()> {
        let end = segment_key(0).to_be_bytes().to_vec();
        self.walk(
            BLOBS.name(),
            vec![],
            Some(end),
            &mut |it, snapshot, key, value| it.blob(snapshot, readable(u64::read(key))?, value),
        )?;
        self.walk(
            STRUCTURES.name(),
            vec![],
            None,
            &mut |it, snapshot, key, value| {
                let number = readable(u64::read(key))?;
                if BLOBS.read(&snapshot.txn)?.get(number)?.is_none() {
                    let what = format!("a structure of a message {number} that isn't there");
                    it.derived_if(
                        it.messages_certain,
                        what,
                        Fix::StrayStructure(EmailId(number)),
                    );
                } else if !it.wanted.bytes && Structure::decode(value).is_none() {
                    it.unread(number);
                }
                Ok(())
            },
        )
    }

    /// Only reading the message tells its structure.
    fn unread(&mut self, number: u64) {
        let what =
            format!("the structure of message {number} can't be read: a full check derives it");
        self.problem(Kind::Derived, what);
    }

    fn blob(&mut self, snapshot: &Snapshot, number: u64, value: &[u8]) -> Result<()> {
        let row = BlobRow::decode(value)?;
        let structure = STRUCTURES.read(&snapshot.txn)?.get(number)?.is_some();
        if !structure && !self.wanted.bytes {
            self.unread(number);
        }
        let frames = (row.size as usize).div_ceil(FRAME);
        let fits = |frame: &u32| (*frame as usize) > HEADER && *frame as usize <= HEADER + FRAME;
        let blobs = BLOBS.read(&snapshot.txn)?;
        let segment = blobs.get(segment_key(row.segment))?;
        let segment = segment
            .map(|row| SegmentRow::decode(row.value()))
            .transpose();
        let end = row.offset.saturating_add(row.stored());
        let inside = match &segment {
            Ok(Some(segment)) => end <= segment.length,
            _ => false,
        };
        let sound = row.frames.len() == frames && row.frames.iter().all(fits) && inside;
        if !sound {
            self.messages_certain &= matches!(segment, Ok(Some(_)));
            let what = "the row of its bytes is wrong".to_string();
            if self.damaged.len() < MAX_PROBLEMS {
                self.damaged.insert(number, what);
            }
        }
        Ok(())
    }

    /// What of each segment is alive, as its row says and as the messages' rows do.
    pub(super) fn live_bytes(&mut self, rows: u64) -> Checked<()> {
        let mut at_once = rows <= self.rows_at_once;
        let mut judged = BTreeSet::new();
        for turn in 0..TRIES {
            self.live = BTreeMap::new();
            match at_once {
                true => self.live_at_once()?,
                false => self.live_in_slices()?,
            }
            self.settle()?;
            let left = self.judge_segments(at_once, turn + 1 == TRIES, &mut judged)?;
            if left == 0 {
                break;
            }
            // One is written to all the time.
            at_once = turn + 2 >= TRIES;
        }
        Ok(())
    }

    fn live_at_once(&mut self) -> Checked<()> {
        self.live = self.look(|snapshot| {
            let mut live = BTreeMap::<u32, Live>::new();
            for row in BLOBS.read(&snapshot.txn)?.range(..segment_key(0))? {
                if let Ok(row) = BlobRow::decode(row?.1.value()) {
                    live.entry(row.segment).or_default().counted += row.stored();
                }
            }
            // Of the same moment.
            for row in BLOBS.read(&snapshot.txn)?.range(segment_key(0)..)? {
                let (key, row) = row?;
                let kept = SegmentRow::decode(row.value())?.live;
                live.entry(key.value() as u32).or_default().kept = Some(kept);
            }
            Ok(live)
        })?;
        Ok(())
    }

    fn live_in_slices(&mut self) -> Checked<()> {
        let end = segment_key(0).to_be_bytes().to_vec();
        self.walk(BLOBS.name(), vec![], Some(end), &mut |it, _, _, value| {
            if let Ok(row) = BlobRow::decode(value) {
                it.live.entry(row.segment).or_default().counted += row.stored();
            }
            Ok(())
        })?;
        let rows = segment_key(0).to_be_bytes().to_vec();
        self.walk(BLOBS.name(), rows, None, &mut |it, _, key, value| {
            let number = readable(u64::read(key))? as u32;
            let kept = SegmentRow::decode(value)?.live;
            it.live.entry(number).or_default().kept = Some(kept);
            Ok(())
        })
    }
}

impl Check<'_> {
    /// How many could not be told; they are named if it is the last time. The others are
    /// `judged`, and not judged again.
    fn judge_segments(
        &mut self,
        at_once: bool,
        last: bool,
        judged: &mut BTreeSet<u32>,
    ) -> Checked<usize> {
        let mut unsettled = 0;
        for (number, Live { kept, counted }) in std::mem::take(&mut self.live) {
            if judged.contains(&number) {
                continue;
            }
            let differs = kept.unwrap_or(0) != counted;
            let found = self.look(|snapshot| {
                let blobs = BLOBS.read(&snapshot.txn)?;
                let row = blobs.get(segment_key(number))?;
                let row = row.map(|row| SegmentRow::decode(row.value())).transpose()?;
                let there = snapshot.shared.segments.length_if_there(number)?;
                Ok(row.map(|row| (row, there)))
            })?;
            let touched = self.store.shared().touched.has_segment(number);
            if found.is_some() && differs && touched && !at_once {
                unsettled += 1;
                if last {
                    let what = format!("segment {number} is written to all the time");
                    self.problem(Kind::Unsettled, what);
                }
                continue;
            }
            judged.insert(number);
            let Some((row, length)) = found else {
                if differs && !touched {
                    self.damage(format!(
                        "segment {number} has no row: messages in it are at risk"
                    ));
                }
                continue;
            };
            if length.is_none_or(|length| length < row.length) {
                self.messages_certain = false;
                self.damage(format!(
                    "mail/{number:08}.seg should have {} bytes and has {}",
                    row.length,
                    length.unwrap_or(0)
                ));
            }
            // Without a row then, it has come meanwhile.
            let Some(kept) = kept.filter(|_| differs) else {
                continue;
            };
            let what = format!(
                "segment {number} counts {kept} bytes of messages, {} {}",
                counted.abs_diff(kept),
                if counted > kept {
                    "too few"
                } else {
                    "too many"
                }
            );
            let certain = counted > kept || (self.messages_certain && self.damaged.is_empty());
            let fix = Fix::Live {
                segment: number,
                kept,
                counted,
            };
            self.derived_if(certain, what, fix);
        }
        Ok(unsettled)
    }
}

/// Where a message is, as its owner finds it.
pub(super) fn place_name(snapshot: &Snapshot, place: Option<(u32, u32)>, email: u64) -> String {
    let subject = subject(snapshot, email);
    let Some((mailbox, uid)) = place else {
        return format!("the queue, message {email}{subject}");
    };
    let row = snapshot.mailbox_row(MailboxId(mailbox)).ok().flatten();
    match row {
        Some(row) => {
            let name = super::mailboxes::mailbox_name(snapshot, &row);
            format!("{name} UID {uid}{subject}")
        }
        None => format!("mailbox {mailbox} UID {uid}{subject}"),
    }
}

/// ` "…"`, if it can be told.
fn subject(snapshot: &Snapshot, email: u64) -> String {
    use crate::message::envelope_ref::{EnvelopeField, field, text};
    /// Characters of a subject that are shown.
    const SHOWN: usize = 60;
    let read = snapshot.with_structure(EmailId(email), |row| {
        let mut subject = String::new();
        let head = StructureRef::read(row);
        let raw = head.and_then(|it| field(it.envelope, EnvelopeField::Subject));
        let there = raw.is_some_and(|raw| text(raw, &mut subject));
        Ok(subject).map(|it| if there { it } else { String::new() })
    });
    match read {
        Ok(subject) if !subject.is_empty() => {
            let plain = subject.chars().filter(|it| !it.is_control());
            format!(" \"{}\"", plain.take(SHOWN).collect::<String>())
        }
        _ => String::new(),
    }
}
