//! Mailbox by mailbox: its blocks of messages, its counters, what vanished from it.

use super::{Check, Checked, Kind, ROWS, SLICE, repair::Fix, rows::first_block};
use crate::mail::{Flags, MailboxId};
use crate::store::block::{self, SPAN};
use crate::store::error::{Error, Result};
use crate::store::schema::*;
use crate::store::snapshot::Snapshot;
use std::time::Instant;

/// How often a mailbox is counted anew because it was changed; then in one snapshot.
const TRIES: usize = 3;

/// What the rows of one mailbox add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub size: u64,
    pub last_uid: u32,
    pub modseq: u64,
    pub keywords: u64,
    pub vanished: u32,
    /// The first UIDs of blocks that can't be read.
    pub unreadable: Vec<u32>,
}

/// Blocks of one mailbox that are named.
const MAX_UNREADABLE: usize = 100;

impl Sum {
    pub fn add(&mut self, key: u64, bytes: &[u8]) {
        let first = (key as u32).wrapping_mul(SPAN);
        let (mut highest, mut any) = (0, false);
        // Counted apart: a block that can't be read is not half counted.
        let mut sum = Sum::default();
        let decoded = block::decode(first, bytes, |message| {
            sum.messages += 1;
            sum.unseen += u32::from(!message.flags.contains(Flags::SEEN));
            sum.deleted += u32::from(message.flags.contains(Flags::DELETED));
            sum.size += u64::from(message.size);
            sum.last_uid = message.uid.get();
            sum.keywords |= message.flags.0 >> 8;
            highest = highest.max(message.modseq.get());
            any = true;
            Ok(true)
        });
        if decoded.is_err() || !any {
            if self.unreadable.len() < MAX_UNREADABLE {
                self.unreadable.push(first);
            }
            return;
        }
        self.messages += sum.messages;
        self.unseen += sum.unseen;
        self.deleted += sum.deleted;
        self.size = self.size.saturating_add(sum.size);
        self.last_uid = self.last_uid.max(sum.last_uid);
        self.keywords |= sum.keywords;
        self.modseq = self.modseq.max(highest);
    }

    /// The row as the messages say that it should be.
    pub fn applied(&self, row: &MailboxRow) -> MailboxRow {
        let mut right = row.clone();
        right.messages = self.messages;
        right.unseen = self.unseen;
        right.deleted = self.deleted;
        right.size = self.size;
        // Clients take a UID or a mod-sequence as never used before: only ever up.
        right.uid_next = right.uid_next.max(self.last_uid.saturating_add(1));
        right.modseq = right.modseq.max(self.modseq);
        right.vanished_rows = self.vanished;
        name_keywords(&mut right.keywords, self.keywords);
        right
    }
}

/// A name for each keyword that messages carry.
pub(super) fn name_keywords(names: &mut Vec<String>, carried: u64) {
    let count = (u64::BITS - carried.leading_zeros()) as usize;
    while names.len() < count.min(crate::mail::MAX_KEYWORDS) {
        let mut number = names.len() + 1;
        let taken = |number: usize| names.iter().any(|it| *it == format!("lost-{number}"));
        while taken(number) {
            number += 1;
        }
        names.push(format!("lost-{number}"));
    }
}

enum Step {
    More,
    Done(Box<MailboxRow>),
    /// It has another row than before.
    Changed,
    Gone,
    Unreadable(Error),
}

/// Where the count of a mailbox is.
struct Count {
    id: u32,
    sum: Sum,
    next: u64,
    /// The row that all of it was counted under.
    row: Option<Vec<u8>>,
    /// Not in slices.
    at_once: bool,
}

impl Check<'_> {
    pub(super) fn mailboxes(&mut self) -> Checked<()> {
        let total = self.count(MESSAGES.name())?;
        self.progress.begin(1, total);
        let mut next = 0u32;
        loop {
            let id = self.look(|snapshot| {
                let mailboxes = MAILBOXES.read(&snapshot.txn)?;
                let found = mailboxes.range(next..)?.next();
                Ok(found.transpose()?.map(|row| row.0.value()))
            })?;
            let Some(id) = id else { break };
            self.mailbox(id)?;
            match id.checked_add(1) {
                Some(after) => next = after,
                None => break,
            }
        }
        self.strays()
    }

    fn mailbox(&mut self, id: u32) -> Checked<()> {
        for turn in 0..=TRIES {
            let mut count = Count {
                id,
                sum: Sum::default(),
                next: u64::from(id) << 32,
                row: None,
                at_once: turn == TRIES,
            };
            loop {
                let step = self.look(|snapshot| count.step(snapshot))?;
                match step {
                    Step::More => {}
                    Step::Changed => break,
                    Step::Gone => return Ok(()),
                    Step::Unreadable(error) => {
                        self.names_certain = false;
                        self.messages_certain = false;
                        self.damage(format!(
                            "the row of mailbox {id} can't be read ({error}): its {} messages can't \
                             be reached",
                            count.sum.messages
                        ));
                        return Ok(());
                    }
                    Step::Done(row) => {
                        self.report.messages += u64::from(count.sum.messages);
                        return self.judge_mailbox(id, *row, count.sum);
                    }
                }
            }
        }
        self.problem(
            Kind::Unsettled,
            format!("mailbox {id} changes all the time"),
        );
        Ok(())
    }

    fn judge_mailbox(&mut self, id: u32, row: MailboxRow, sum: Sum) -> Checked<()> {
        self.progress.add(u64::from(sum.messages / SPAN));
        let mut problems = Vec::new();
        let name = self.look(|snapshot| Ok(mailbox_name(snapshot, &row)))?;
        for first in &sum.unreadable {
            let last = first.saturating_add(SPAN - 1);
            problems.push(format!(
                "{name}: the rows of UIDs {first} to {last} can't be read: mail programs get an \
                 error for the mailbox where they ask for these"
            ));
        }
        if !problems.is_empty() {
            self.messages_certain = false;
            problems.into_iter().for_each(|it| self.damage(it));
        } else {
            let right = sum.applied(&row);
            if right != row {
                let what = format!("{name}: {}", difference(&row, &right));
                let fix = Fix::Mailbox(MailboxId(id), Box::new((row.clone(), right)));
                self.derived(what, fix);
            }
        }
        // All in the one snapshot: it may be deleted or renamed between two.
        self.look_and(|it, snapshot| match snapshot.mailbox_row(MailboxId(id))? {
            Some(row) => it.mailbox_row(snapshot, id, &row),
            None => Ok(()),
        })
    }

    /// Blocks of mailboxes that aren't there.
    fn strays(&mut self) -> Checked<()> {
        let mut next = 0u64;
        loop {
            let found = self.look(|snapshot| {
                let messages = MESSAGES.read(&snapshot.txn)?;
                let Some(row) = messages.range(next..)?.next() else {
                    return Ok(None);
                };
                let id = (row?.0.value() >> 32) as u32;
                let known = MAILBOXES.read(&snapshot.txn)?.get(id)?.is_some()
                    || DOOMED.read(&snapshot.txn)?.get(id)?.is_some();
                let named = !known && is_named(snapshot, id)?;
                Ok(Some((id, known || named)))
            })?;
            let Some((id, known)) = found else {
                return Ok(());
            };
            if !known {
                self.messages_certain = false;
                self.damage(format!(
                    "messages of a mailbox {id} that isn't there: nobody can reach them"
                ));
            }
            match id.checked_add(1) {
                Some(after) => next = u64::from(after) << 32,
                None => return Ok(()),
            }
        }
    }
}

impl Count {
    fn step(&mut self, snapshot: &Snapshot) -> Result<Step> {
        let started = Instant::now();
        let mailboxes = MAILBOXES.read(&snapshot.txn)?;
        let Some(bytes) = mailboxes.get(self.id)? else {
            return Ok(Step::Gone);
        };
        let bytes = bytes.value();
        match &self.row {
            Some(row) if row != bytes => return Ok(Step::Changed),
            Some(_) => {}
            None => self.row = Some(bytes.to_vec()),
        }
        let end = u64::from(self.id) << 32 | u64::from(u32::MAX);
        let messages = MESSAGES.read(&snapshot.txn)?;
        for (n, row) in messages.range(self.next..=end)?.enumerate() {
            let (key, block) = row?;
            self.sum.add(key.value(), block.value());
            if !self.at_once && n % ROWS == ROWS - 1 && started.elapsed() >= SLICE {
                self.next = key.value() + 1;
                return Ok(Step::More);
            }
        }
        self.sum.vanished = 0;
        let row = match MailboxRow::decode(bytes) {
            Ok(row) => row,
            Err(error) => return Ok(Step::Unreadable(error)),
        };
        let all = (self.id, 0)..=(self.id, u64::MAX);
        for entry in VANISHED.read(&snapshot.txn)?.range(all)? {
            let (key, ranges) = entry?;
            decode_ranges(ranges.value(), &mut Vec::new())?;
            self.sum.vanished += 1;
            self.sum.modseq = self.sum.modseq.max(key.value().1);
        }
        Ok(Step::Done(Box::new(row)))
    }
}

/// Whether a name leads to it: then it is told there.
fn is_named(snapshot: &Snapshot, id: u32) -> Result<bool> {
    for row in NAMES.read(&snapshot.txn)?.range((0, "")..)? {
        if row?.1.value() == id {
            return Ok(first_block(snapshot, id)?.is_some());
        }
    }
    Ok(false)
}

/// As people know it.
pub(super) fn mailbox_name(snapshot: &Snapshot, row: &MailboxRow) -> String {
    let account = snapshot.account(row.account).ok().flatten();
    match account {
        Some(account) => format!("{} {}", account.address, row.name),
        None => format!("account {} {}", row.account.0, row.name),
    }
}

fn difference(row: &MailboxRow, right: &MailboxRow) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &str, is: u64, should: u64| {
        if is != should {
            parts.push(format!("{name} {is} instead of {should}"));
        }
    };
    part("messages", row.messages.into(), right.messages.into());
    part("unseen", row.unseen.into(), right.unseen.into());
    part("deleted", row.deleted.into(), right.deleted.into());
    part("bytes", row.size, right.size);
    part("UIDNEXT", row.uid_next.into(), right.uid_next.into());
    part("HIGHESTMODSEQ", row.modseq, right.modseq);
    part(
        "expunges",
        row.vanished_rows.into(),
        right.vanished_rows.into(),
    );
    part(
        "keywords",
        row.keywords.len() as u64,
        right.keywords.len() as u64,
    );
    parts.join(", ")
}
