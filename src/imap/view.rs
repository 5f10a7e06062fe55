//! A session's picture of its selected mailbox: what it has been told, and what has
//! happened since and waits to be told.

use crate::imap::flags::{write_fetch_flags, write_flag_lists};
use crate::imap::numbering::Numbering;
use crate::imap::response::{self, Code, Status};
use crate::mail::{Change, Flags, MailboxId, ModSeq, Uid, UidSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a SELECT found, for the view to begin with.
#[derive(Clone, Debug)]
pub struct Opened {
    pub mailbox: MailboxId,
    pub read_only: bool,
    pub uids: UidSet,
    pub keywords: Vec<String>,
    pub highest_modseq: ModSeq,
    /// Messages from this UID on are \Recent in this session.
    pub first_recent: Uid,
}

/// The mailbox as it is now, to catch up after an overflow.
#[derive(Clone, Debug)]
pub struct Reread {
    pub uids: UidSet,
    pub keywords: Vec<String>,
    pub highest_modseq: ModSeq,
    /// Messages changed since [`View::modseq`].
    pub changed: Vec<(Uid, Flags, ModSeq)>,
}

#[derive(Debug)]
pub struct View {
    pub mailbox: MailboxId,
    pub read_only: bool,
    numbering: Arc<Numbering>,
    keywords: Arc<Vec<String>>,
    recent: Arc<UidSet>,
    /// Changes up to here are in `numbering` or below.
    modseq: ModSeq,
    /// Gone from the store, still numbered here (RFC 3501, 7.4.1).
    expunged: UidSet,
    /// Come in, not yet numbered.
    arrived: Vec<Uid>,
    /// Flags to tell.
    flags: BTreeMap<Uid, (Flags, ModSeq)>,
    keywords_grew: bool,
    /// URLs of before hold no more.
    key_reset: bool,
    /// The mailbox itself is gone.
    deleted: bool,
}

/// What an update may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether EXPUNGE may be said: not in answer to FETCH, STORE or SEARCH by sequence
    /// number (RFC 3501, 7.4.1).
    pub expunge: bool,
    /// Whether FETCH tells MODSEQ (RFC 7162, 3.1).
    pub condstore: bool,
}

impl View {
    pub fn new(opened: Opened) -> View {
        let recent = opened
            .uids
            .ranges()
            .iter()
            .filter(|(_, high)| *high >= opened.first_recent.get())
            .map(|&(low, high)| (low.max(opened.first_recent.get()), high))
            .collect();
        View {
            mailbox: opened.mailbox,
            read_only: opened.read_only,
            numbering: Arc::new(Numbering::new(&opened.uids)),
            keywords: Arc::new(opened.keywords),
            recent: Arc::new(UidSet::from_ranges(recent)),
            modseq: opened.highest_modseq,
            expunged: UidSet::new(),
            arrived: Vec::new(),
            flags: BTreeMap::new(),
            keywords_grew: false,
            key_reset: false,
            deleted: false,
        }
    }

    /// Shared, so that a FETCH at work keeps the numbers it began with.
    pub fn numbering(&self) -> Arc<Numbering> {
        self.numbering.clone()
    }

    pub fn keywords(&self) -> Arc<Vec<String>> {
        self.keywords.clone()
    }

    pub fn recent(&self) -> Arc<UidSet> {
        self.recent.clone()
    }

    pub fn recent_count(&self) -> u32 {
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX)
    }

    pub fn modseq(&self) -> ModSeq {
        self.modseq
    }

    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Takes in what the hub told. `first_recent` is as in [`Opened`], for what arrived.
    pub fn apply(&mut self, changes: Vec<(ModSeq, Change)>, first_recent: Option<Uid>) {
        for (modseq, change) in changes {
            // These two change no message.
            match change {
                Change::Deleted => self.deleted = true,
                Change::KeyReset => self.key_reset = true,
                change if modseq > self.modseq => {
                    self.take(change, first_recent);
                    self.modseq = modseq;
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, change: Change, first_recent: Option<Uid>) {
        match change {
            Change::Arrived(messages) => {
                for message in messages {
                    self.arrive(message.uid, first_recent);
                }
            }
            Change::Expunged { uids, .. } => self.expunge(&uids),
            Change::Flags { messages, keywords } => {
                self.learn_keywords(keywords);
                self.note_flags(messages);
            }
            Change::KeyReset | Change::Deleted => {}
        }
    }

    fn arrive(&mut self, uid: Uid, first_recent: Option<Uid>) {
        let last = self.arrived.last().copied().or(self.numbering.last_uid());
        if last.is_some_and(|last| uid <= last) {
            return;
        }
        self.arrived.push(uid);
        if first_recent.is_some_and(|first| uid >= first) {
            Arc::make_mut(&mut self.recent).insert(uid);
        }
    }

    /// Of messages that the client has not been told of it will ask for the flags itself.
    fn note_flags(&mut self, messages: Vec<(Uid, Flags, ModSeq)>) {
        for (uid, flags, modseq) in messages {
            if self.numbering.seq(uid).is_some() {
                self.flags.insert(uid, (flags, modseq));
            }
        }
    }

    /// This session changed flags itself, which the hub does not tell it: what waits to be
    /// told of these messages is older. It is replaced, or dropped where the client is told
    /// anyway.
    pub fn own_flags(&mut self, messages: &[(Uid, Flags, ModSeq)], told: bool) {
        for &(uid, flags, modseq) in messages {
            match self.flags.get_mut(&uid) {
                Some(waiting) if waiting.1 < modseq && !told => *waiting = (flags, modseq),
                Some(waiting) if waiting.1 <= modseq => drop(self.flags.remove(&uid)),
                _ => {}
            }
        }
    }

    /// Notes messages as gone, by this session's own doing or another's.
    pub fn expunge(&mut self, uids: &UidSet) {
        self.arrived.retain(|uid| !uids.contains(*uid));
        self.flags.retain(|uid, _| !uids.contains(*uid));
        let numbered = self.numbering.intersect(uids);
        let mut ranges = std::mem::take(&mut self.expunged).ranges().to_vec();
        ranges.extend_from_slice(numbered.ranges());
        self.expunged = UidSet::from_ranges(ranges);
    }

    /// The mailbox's keyword table as just read; empty says nothing.
    pub fn learn_keywords(&mut self, keywords: Vec<String>) {
        if keywords.len() > self.keywords.len() {
            self.keywords = Arc::new(keywords);
            self.keywords_grew = true;
        }
    }

    /// Keywords that the client was told of meanwhile.
    pub fn told_keywords(&mut self, keywords: Arc<Vec<String>>) {
        if keywords.len() > self.keywords.len() {
            self.keywords = keywords;
        }
    }

    /// Catches up with the mailbox as a whole.
    pub fn reread(&mut self, now: Reread, first_recent: Option<Uid>) {
        let last = self.numbering.last_uid().map_or(0, Uid::get);
        let mut gone = self.numbering.as_ref().clone();
        gone.remove(&now.uids);
        self.expunge(&gone.uids());
        self.learn_keywords(now.keywords);
        let new = now.uids.ranges().iter().filter(|(_, high)| *high > last);
        for uid in new.flat_map(|&(low, high)| low.max(last + 1)..=high) {
            if let Some(uid) = Uid::new(uid) {
                self.arrive(uid, first_recent);
            }
        }
        self.note_flags(now.changed);
        // It may have been among what was not told: once too often harms nobody.
        self.key_reset = true;
        self.modseq = self.modseq.max(now.highest_modseq);
    }

    /// Tells the client what waits, as far as `report` allows.
    pub fn report(&mut self, report: Report, out: &mut Vec<u8>) {
        if report.expunge && !self.expunged.is_empty() {
            let gone = std::mem::take(&mut self.expunged);
            let numbers = Arc::make_mut(&mut self.numbering).remove(&gone);
            for &(low, high) in numbers.ranges().iter().rev() {
                for seq in (low..=high).rev() {
                    response::numbered(out, seq, "EXPUNGE");
                }
            }
            self.forget_recent(&gone);
        }
        if !self.arrived.is_empty() {
            let numbering = Arc::make_mut(&mut self.numbering);
            for uid in std::mem::take(&mut self.arrived) {
                numbering.push(uid);
            }
            response::numbered(out, numbering.len(), "EXISTS");
            response::numbered(out, self.recent_count(), "RECENT");
        }
        if std::mem::take(&mut self.keywords_grew) {
            write_flag_lists(out, &self.keywords, self.read_only);
        }
        if std::mem::take(&mut self.key_reset) {
            let text = "URLs that were authorized before may hold no more.";
            response::untagged(out, Status::Ok, Some(Code::UrlMech), text);
        }
        for (uid, (flags, modseq)) in std::mem::take(&mut self.flags) {
            let Some(seq) = self.numbering.seq(uid) else {
                continue;
            };
            let recent = self.recent.contains(uid);
            let modseq = report.condstore.then_some(modseq);
            write_fetch_flags(out, seq, uid, (flags, recent), &self.keywords, modseq);
        }
    }

    fn forget_recent(&mut self, gone: &UidSet) {
        if self.recent.is_empty() {
            return;
        }
        let mut left = Numbering::new(&self.recent);
        left.remove(gone);
        self.recent = Arc::new(left.uids());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{DateTime, EmailId, Message};

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    fn modseq(n: u64) -> ModSeq {
        ModSeq::new(n).unwrap()
    }

    fn view(uids: &[(u32, u32)]) -> View {
        View::new(Opened {
            mailbox: MailboxId(1),
            read_only: false,
            uids: UidSet::from_ranges(uids.to_vec()),
            keywords: vec!["$Work".into()],
            highest_modseq: modseq(10),
            first_recent: uid(8),
        })
    }

    fn arrived(n: u32) -> Change {
        Change::Arrived(vec![Message {
            uid: uid(n),
            email: EmailId(1),
            flags: Flags::NONE,
            internal_date: DateTime { unix: 0, offset: 0 },
            save_date: 0,
            modseq: modseq(11),
            size: 1,
        }])
    }

    fn expunged(ranges: &[(u32, u32)]) -> Change {
        Change::Expunged {
            uids: UidSet::from_ranges(ranges.to_vec()),
            modseq: modseq(12),
        }
    }

    fn report(view: &mut View, expunge: bool) -> String {
        let mut out = Vec::new();
        let what = Report {
            expunge,
            condstore: false,
        };
        view.report(what, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn expunge_is_said_from_the_highest_down_and_only_when_allowed() {
        let mut view = view(&[(1, 9)]);
        view.apply(vec![(modseq(11), expunged(&[(2, 3), (9, 9)]))], None);
        assert_eq!(report(&mut view, false), "");
        assert_eq!(view.numbering().len(), 9);
        let said = report(&mut view, true);
        assert_eq!(said, "* 9 EXPUNGE\r\n* 3 EXPUNGE\r\n* 2 EXPUNGE\r\n");
        assert_eq!(view.numbering().len(), 6);
        assert_eq!(report(&mut view, true), "");
    }

    #[test]
    fn a_reset_key_is_told_once_whatever_else_has_happened() {
        let told = "* OK [URLMECH INTERNAL] URLs that were authorized before may hold no more.\r\n";
        let mut view = view(&[(1, 9)]);
        // It does not change the mailbox: its mod-sequence may be one that the view has.
        view.apply(vec![(modseq(10), Change::KeyReset); 2], None);
        assert_eq!(report(&mut view, false), told);
        assert_eq!(report(&mut view, false), "");
        view.reread(
            Reread {
                uids: UidSet::from_ranges(vec![(1, 9)]),
                keywords: Vec::new(),
                highest_modseq: modseq(10),
                changed: Vec::new(),
            },
            None,
        );
        assert_eq!(report(&mut view, false), told);
    }

    #[test]
    fn arrivals_are_counted_on_top_of_withheld_expunges() {
        let mut view = view(&[(1, 3)]);
        view.apply(vec![(modseq(11), expunged(&[(1, 1)]))], None);
        view.apply(vec![(modseq(12), arrived(10))], Some(uid(9)));
        assert_eq!(report(&mut view, false), "* 4 EXISTS\r\n* 1 RECENT\r\n");
        assert_eq!(report(&mut view, true), "* 1 EXPUNGE\r\n");
    }

    #[test]
    fn what_came_and_went_meanwhile_is_not_told() {
        let mut view = view(&[(1, 3)]);
        let both = vec![
            (modseq(11), arrived(10)),
            (modseq(12), expunged(&[(10, 10)])),
        ];
        view.apply(both, None);
        assert_eq!(report(&mut view, true), "");
    }

    #[test]
    fn changes_that_the_snapshot_had_are_dropped() {
        let mut view = view(&[(1, 3)]);
        view.apply(vec![(modseq(10), expunged(&[(1, 1)]))], None);
        assert_eq!(report(&mut view, true), "");
    }

    #[test]
    fn flags_are_told_once_with_the_keyword_table_before_them() {
        let mut view = view(&[(1, 3)]);
        let change = Change::Flags {
            messages: vec![(uid(2), Flags::SEEN.with(Flags::keyword(1)), modseq(11))],
            keywords: vec!["$Work".into(), "Home".into()],
        };
        view.apply(vec![(modseq(11), change)], None);
        assert_eq!(
            report(&mut view, false),
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work Home)\r\n\
             * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work Home \\*)] Flags are kept.\r\n\
             * 2 FETCH (UID 2 FLAGS (\\Seen Home))\r\n"
        );
        assert_eq!(report(&mut view, false), "");
    }

    #[test]
    fn own_flags_are_newer_than_what_waited() {
        let seen = |at| Change::Flags {
            messages: vec![
                (uid(1), Flags::SEEN, modseq(at)),
                (uid(2), Flags::SEEN, modseq(at)),
            ],
            keywords: vec![],
        };
        let both = Flags::SEEN.with(Flags::DRAFT);
        let mut view = view(&[(1, 3)]);
        view.apply(vec![(modseq(11), seen(11))], None);
        view.own_flags(&[(uid(2), both, modseq(12))], true);
        view.own_flags(&[(uid(1), both, modseq(12))], false);
        let said = report(&mut view, true);
        assert_eq!(said, "* 1 FETCH (UID 1 FLAGS (\\Seen \\Draft))\r\n");
        view.apply(vec![(modseq(13), seen(13))], None);
        view.own_flags(&[(uid(1), both, modseq(12))], true);
        assert!(report(&mut view, true).starts_with("* 1 FETCH (UID 1 FLAGS (\\Seen))"));
    }

    #[test]
    fn rereading_finds_the_difference() {
        let mut view = view(&[(1, 5)]);
        let now = Reread {
            uids: UidSet::from_ranges(vec![(1, 2), (4, 5), (8, 9)]),
            keywords: vec![],
            highest_modseq: modseq(30),
            changed: vec![(uid(4), Flags::SEEN, modseq(29))],
        };
        view.reread(now, None);
        assert_eq!(
            report(&mut view, true),
            "* 3 EXPUNGE\r\n* 6 EXISTS\r\n* 0 RECENT\r\n\
             * OK [URLMECH INTERNAL] URLs that were authorized before may hold no more.\r\n\
             * 3 FETCH (UID 4 FLAGS (\\Seen))\r\n"
        );
        assert_eq!(view.modseq(), modseq(30));
    }
}
