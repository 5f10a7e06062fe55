//! The online check: whether the rows agree with each other and the bytes with the rows.

use super::Snapshot;
use super::block::{self, SPAN};
use super::error::Result;
use super::schema::*;
use crate::mail::outgoing::QueueId;
use crate::mail::*;
use std::collections::{BTreeMap, BTreeSet};

/// Problems after which the check stops looking.
const MAX_PROBLEMS: usize = 1000;
/// Queued messages read at once.
const QUEUE_AT_ONCE: usize = 256;

/// What the rows of one mailbox add up to.
#[derive(Default)]
struct Sum {
    messages: u32,
    unseen: u32,
    deleted: u32,
    size: u64,
    last_uid: u32,
    modseq: u64,
    keywords: u64,
}

#[derive(Default)]
struct Check {
    problems: Vec<String>,
    sums: BTreeMap<u32, Sum>,
    /// How often and with what size messages name each email.
    references: BTreeMap<u64, (u32, u32)>,
    segments: BTreeMap<u32, SegmentRow>,
    live: BTreeMap<u32, u64>,
}

impl Check {
    fn problem(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn expect(&mut self, right: bool, problem: impl FnOnce() -> String) {
        if !right {
            self.problem(problem());
        }
    }
}

impl Snapshot {
    /// Checks what the module's description says holds; `bytes` reads every message too.
    /// Returns what is wrong, a line each. Takes memory and time by the number of messages.
    pub fn verify(&self, bytes: bool) -> Result<Vec<String>> {
        let mut check = Check::default();
        self.sum_messages(&mut check)?;
        self.sum_queue(&mut check)?;
        self.check_mailboxes(&mut check)?;
        self.check_blobs(&mut check, bytes)?;
        self.check_segments(&mut check);
        Ok(check.problems)
    }

    fn sum_messages(&self, check: &mut Check) -> Result<()> {
        let table = MESSAGES.read(&self.txn)?;
        for row in table.range(0..)? {
            let (key, bytes) = row?;
            let mailbox = (key.value() >> 32) as u32;
            let first = (key.value() as u32).wrapping_mul(SPAN);
            let sum = check.sums.entry(mailbox).or_default();
            let references = &mut check.references;
            let decoded = block::decode(first, bytes.value(), |message| {
                sum.messages += 1;
                sum.unseen += u32::from(!message.flags.contains(Flags::SEEN));
                sum.deleted += u32::from(message.flags.contains(Flags::DELETED));
                sum.size += u64::from(message.size);
                sum.last_uid = message.uid.get();
                sum.modseq = sum.modseq.max(message.modseq.get());
                sum.keywords |= message.flags.0 >> 8;
                references.entry(message.email.0).or_default().0 += 1;
                references.entry(message.email.0).or_default().1 = message.size;
                Ok(true)
            });
            if let Err(error) = decoded {
                check.problem(format!("mailbox {mailbox}, UIDs from {first}: {error}"));
            }
        }
        Ok(())
    }

    fn sum_queue(&self, check: &mut Check) -> Result<()> {
        let mut last = QueueId(0);
        let mut waiting = 0;
        loop {
            let items = self.queue_items(last, QUEUE_AT_ONCE)?;
            let Some(end) = items.last() else { break };
            last = end.id;
            waiting += items.iter().filter(|it| !it.held).count();
            for item in items {
                let named = check.references.entry(item.email.0).or_default();
                *named = (named.0 + 1, item.size);
            }
        }
        let order = self.queue_order(None, usize::MAX)?;
        check.expect(order.len() == waiting, || {
            format!(
                "{waiting} queued messages wait, {} are in order",
                order.len()
            )
        });
        for due in order {
            let found = self.queue_item(due.id)?;
            check.expect(
                found.is_some_and(|it| super::outbox::is_due(&it, due)),
                || format!("{due:?} is out of order"),
            );
        }
        Ok(())
    }

    fn check_mailboxes(&self, check: &mut Check) -> Result<()> {
        let mailboxes = MAILBOXES.read(&self.txn)?;
        let names = NAMES.read(&self.txn)?;
        let doomed = DOOMED.read(&self.txn)?;
        let mut known = BTreeSet::new();
        for row in doomed.range(0..)? {
            known.insert(row?.0.value());
        }
        for row in mailboxes.range(0..)? {
            let (id, row) = row?;
            let (id, row) = (id.value(), MailboxRow::decode(row.value())?);
            known.insert(id);
            let sum = check.sums.remove(&id).unwrap_or_default();
            let counted = (sum.messages, sum.unseen, sum.deleted, sum.size);
            let kept = (row.messages, row.unseen, row.deleted, row.size);
            check.expect(counted == kept, || {
                format!("mailbox {id}: counters {kept:?}, counted {counted:?}")
            });
            let room = sum.last_uid < row.uid_next && sum.modseq <= row.modseq;
            check.expect(room, || {
                format!("mailbox {id}: UIDNEXT or HIGHESTMODSEQ too low")
            });
            let table = (1u64 << row.keywords.len()) - 1;
            check.expect(sum.keywords & !table == 0, || {
                format!("mailbox {id}: a keyword without a name")
            });
            let name = names.get((row.account.0, row.name.as_str()))?;
            check.expect(name.is_some_and(|it| it.value() == id), || {
                format!("mailbox {id}: its name leads elsewhere")
            });
            if self.account(row.account)?.is_none() {
                check.problem(format!("mailbox {id}: no account {}", row.account.0));
            }
        }
        check.expect(names.len()? == mailboxes.len()?, || {
            "a name without a mailbox".into()
        });
        let strays: Vec<u32> = check.sums.keys().copied().collect();
        for id in strays {
            check.expect(known.contains(&id), || {
                format!("messages of a mailbox {id} that isn't there")
            });
        }
        Ok(())
    }

    fn check_blobs(&self, check: &mut Check, bytes: bool) -> Result<()> {
        let blobs = BLOBS.read(&self.txn)?;
        let structures = STRUCTURES.read(&self.txn)?;
        let mut count = 0;
        for row in blobs.range(0..)? {
            let (key, row) = row?;
            let key = key.value();
            if key >= segment_key(0) {
                let row = SegmentRow::decode(row.value())?;
                check.segments.insert(key as u32, row);
                continue;
            }
            count += 1;
            let row = BlobRow::decode(row.value())?;
            let named = check.references.remove(&key);
            check.expect(named == Some((row.references, row.size)), || {
                format!(
                    "email {key}: {} references, named {named:?}",
                    row.references
                )
            });
            *check.live.entry(row.segment).or_default() += row.stored();
            let structure = structures.get(key)?;
            check.expect(structure.is_some(), || format!("email {key}: no structure"));
            if bytes && let Err(error) = self.read_whole(EmailId(key)) {
                check.problem(format!("email {key}: {error}"));
            }
        }
        check.expect(structures.len()? == count, || {
            "a structure without a message".into()
        });
        for (email, named) in std::mem::take(&mut check.references) {
            check.problem(format!("email {email}: named {named:?} and not there"));
        }
        Ok(())
    }

    fn read_whole(&self, email: EmailId) -> Result<()> {
        let mut blob = self.blob(email)?;
        let mut out = Vec::new();
        let mut at = 0;
        while at < blob.size() {
            out.clear();
            let next = at.saturating_add(super::frame::FRAME as u32);
            blob.read(at..next, &mut out)?;
            at = next;
        }
        Ok(())
    }

    fn check_segments(&self, check: &mut Check) {
        for (number, row) in std::mem::take(&mut check.segments) {
            let live = check.live.remove(&number).unwrap_or(0);
            check.expect(live == row.live && live <= row.length, || {
                format!("segment {number}: {row:?}, counted {live} live")
            });
            let file = self.shared.segments.open(number);
            let length = file.and_then(|file| Ok(file.length()?));
            check.expect(length.is_ok_and(|it| it >= row.length), || {
                format!("segment {number}: its file is missing or short")
            });
        }
        for number in std::mem::take(&mut check.live).into_keys() {
            check.problem(format!("segment {number} has no row"));
        }
    }
}
