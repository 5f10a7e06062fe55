//! SEARCH keys as a program: numbers and names resolved once, cheap tests first (RFC 3501,
//! 6.4.4). Pure: what a test needs of the stored message it asks for ([`Evidence`]).

use crate::imap::command::SearchKey;
use crate::imap::date::day_of;
use crate::imap::numbering::Numbering;
use crate::mail::{Flags, Message, UidSet};
use crate::message::envelope_ref::{self, EnvelopeField};
use crate::message::text::{Needle, header_contains};

/// What keys are resolved against.
pub struct Scope<'a> {
    pub numbering: &'a Numbering,
    pub recent: &'a UidSet,
    pub keywords: &'a [String],
    /// Seconds since 1970.
    pub now: i64,
}

/// What a test may want of a message besides its row, dearer from one to the next.
pub trait Evidence {
    type Error;
    fn head(&mut self) -> Result<Head<'_>, Self::Error>;
    fn header(&mut self) -> Result<&[u8], Self::Error>;
    /// Whether the text of the body has it; with `headers`, or any header.
    fn contains(&mut self, needle: &Needle, headers: bool) -> Result<bool, Self::Error>;
}

/// What is kept of a message for listings.
pub struct Head<'a> {
    /// The Date field's day, since 1970.
    pub sent_day: Option<i32>,
    /// ENVELOPE in wire form, where it says all that the header does.
    pub envelope: Option<&'a [u8]>,
}

pub enum Program {
    All(Vec<Program>),
    Any(Box<Program>, Box<Program>),
    Not(Box<Program>),
    Test(Box<Test>),
}

pub enum Test {
    Constant(bool),
    Flags(Flags),
    Uids(UidSet),
    Day(Order, i64),
    Larger(u64),
    Smaller(u64),
    ModSeq(u64),
    /// Internal date at this second or before, or at it or later.
    Older(i64),
    Younger(i64),
    SentDay(Order, i64),
    /// The field's name too, for a message whose envelope doesn't say all.
    Envelope(EnvelopeField, String, Needle),
    Header(String, Needle),
    Body(Needle),
    Text(Needle),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Before,
    On,
    Since,
}

impl Order {
    fn holds(self, day: i64, than: i64) -> bool {
        match self {
            Order::Before => day < than,
            Order::On => day == than,
            Order::Since => day >= than,
        }
    }
}

/// What a test has to read: nothing but the row, the listing fields, the header, all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    Row,
    Head,
    Header,
    Body,
}

impl Program {
    pub fn new(key: SearchKey, scope: &Scope) -> Program {
        let test = match key {
            SearchKey::And(keys) => {
                let parts = keys.into_iter().map(|key| Program::new(key, scope));
                let mut parts: Vec<Program> = parts.collect();
                parts.sort_unstable_by_key(Program::cost);
                return Program::All(parts);
            }
            SearchKey::Or(a, b) => {
                let (a, b) = (Program::new(*a, scope), Program::new(*b, scope));
                let (a, b) = if b.cost() < a.cost() { (b, a) } else { (a, b) };
                return Program::Any(Box::new(a), Box::new(b));
            }
            SearchKey::Not(key) => return Program::Not(Box::new(Program::new(*key, scope))),
            SearchKey::All => Test::Constant(true),
            SearchKey::Flag(flags) => Test::Flags(flags),
            SearchKey::Keyword(name) => keyword(&name, scope.keywords),
            SearchKey::Recent => Test::Uids(scope.recent.clone()),
            SearchKey::Header { name, value } => header(name, &value),
            SearchKey::Body(text) => Test::Body(Needle::new(&text)),
            SearchKey::Text(text) => Test::Text(Needle::new(&text)),
            SearchKey::Before(day) => Test::Day(Order::Before, day),
            SearchKey::On(day) => Test::Day(Order::On, day),
            SearchKey::Since(day) => Test::Day(Order::Since, day),
            SearchKey::SentBefore(day) => Test::SentDay(Order::Before, day),
            SearchKey::SentOn(day) => Test::SentDay(Order::On, day),
            SearchKey::SentSince(day) => Test::SentDay(Order::Since, day),
            SearchKey::Larger(size) => Test::Larger(size),
            SearchKey::Smaller(size) => Test::Smaller(size),
            SearchKey::Uid(set) => Test::Uids(scope.numbering.resolve_uids(&set)),
            SearchKey::Sequence(set) => Test::Uids(scope.numbering.resolve_existing(&set)),
            SearchKey::ModSeq(modseq) => Test::ModSeq(modseq),
            SearchKey::Older(seconds) => Test::Older(ago(scope.now, seconds)),
            SearchKey::Younger(seconds) => Test::Younger(ago(scope.now, seconds)),
        };
        Program::Test(Box::new(test))
    }

    pub fn cost(&self) -> Cost {
        match self {
            Program::All(parts) => parts.iter().map(Program::cost).max().unwrap_or(Cost::Row),
            Program::Any(a, b) => a.cost().max(b.cost()),
            Program::Not(part) => part.cost(),
            Program::Test(test) => test.cost(),
        }
    }

    /// The UIDs that the program names itself, so that no other need be looked at.
    pub fn narrow(&self, uids: UidSet) -> UidSet {
        match self {
            Program::All(parts) => parts.iter().fold(uids, |uids, part| part.narrow(uids)),
            Program::Test(test) => match &**test {
                Test::Uids(named) => Numbering::new(&uids).intersect(named),
                _ => uids,
            },
            Program::Any(..) | Program::Not(_) => uids,
        }
    }

    pub fn matches<E: Evidence>(&self, message: &Message, of: &mut E) -> Result<bool, E::Error> {
        match self {
            Program::All(parts) => {
                for part in parts {
                    if !part.matches(message, of)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Program::Any(a, b) => Ok(a.matches(message, of)? || b.matches(message, of)?),
            Program::Not(part) => Ok(!part.matches(message, of)?),
            Program::Test(test) => test.holds(message, of),
        }
    }
}

impl Test {
    fn cost(&self) -> Cost {
        match self {
            Test::SentDay(..) | Test::Envelope(..) => Cost::Head,
            Test::Header(..) => Cost::Header,
            Test::Body(_) | Test::Text(_) => Cost::Body,
            _ => Cost::Row,
        }
    }

    fn holds<E: Evidence>(&self, message: &Message, of: &mut E) -> Result<bool, E::Error> {
        Ok(match self {
            Test::Constant(constant) => *constant,
            Test::Flags(flags) => message.flags.contains(*flags),
            Test::Uids(uids) => uids.contains(message.uid),
            Test::Day(order, day) => order.holds(day_of(message.internal_date), *day),
            Test::Larger(size) => u64::from(message.size) > *size,
            Test::Smaller(size) => u64::from(message.size) < *size,
            Test::ModSeq(modseq) => message.modseq.get() >= *modseq,
            Test::Older(moment) => message.internal_date.unix <= *moment,
            Test::Younger(moment) => message.internal_date.unix >= *moment,
            Test::SentDay(order, day) => {
                let sent = of.head()?.sent_day;
                sent.is_some_and(|sent| order.holds(i64::from(sent), *day))
            }
            Test::Envelope(field, name, needle) => match of.head()?.envelope {
                Some(envelope) => envelope_has(envelope, *field, needle),
                None => header_contains(of.header()?, name, needle),
            },
            Test::Header(name, needle) => header_contains(of.header()?, name, needle),
            Test::Body(needle) => of.contains(needle, false)?,
            Test::Text(needle) => of.contains(needle, true)?,
        })
    }
}

fn keyword(name: &str, keywords: &[String]) -> Test {
    let number = keywords.iter().position(|it| it.eq_ignore_ascii_case(name));
    match number {
        Some(n) if n < crate::mail::MAX_KEYWORDS => Test::Flags(Flags::keyword(n)),
        _ => Test::Constant(false),
    }
}

/// From the stored envelope where that says just what the header does: Sender and Reply-To
/// stand there for From too.
fn header(name: String, value: &str) -> Test {
    let needle = Needle::new(value);
    match EnvelopeField::of(&name) {
        None | Some(EnvelopeField::Sender | EnvelopeField::ReplyTo) => Test::Header(name, needle),
        Some(field) => Test::Envelope(field, name, needle),
    }
}

fn envelope_has(envelope: &[u8], field: EnvelopeField, needle: &Needle) -> bool {
    let Some(raw) = envelope_ref::field(envelope, field) else {
        return false;
    };
    if let Some(value) = envelope_ref::plain(raw) {
        return needle.is_in_ascii(value);
    }
    let mut text = String::new();
    envelope_ref::text(raw, &mut text) && needle.is_in(&text)
}

fn ago(now: i64, seconds: u64) -> i64 {
    now.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::command::SequenceSet;
    use crate::mail::{DateTime, EmailId, ModSeq, Uid};

    const NOW: i64 = 1_000_000_000;
    static NONE: std::sync::OnceLock<UidSet> = std::sync::OnceLock::new();

    fn scope(numbering: &Numbering) -> Scope<'_> {
        Scope {
            numbering,
            recent: NONE.get_or_init(UidSet::new),
            keywords: &[],
            now: NOW,
        }
    }

    fn message(uid: u32) -> Message {
        Message {
            uid: Uid::new(uid).unwrap(),
            email: EmailId(1),
            flags: Flags::SEEN,
            internal_date: DateTime {
                unix: NOW - 100,
                offset: 0,
            },
            save_date: 0,
            modseq: ModSeq::new(7).unwrap(),
            size: 500,
        }
    }

    /// Counts what was looked at.
    #[derive(Default)]
    struct Fake {
        bodies: usize,
        abridged: bool,
    }

    impl Evidence for Fake {
        type Error = ();
        fn head(&mut self) -> Result<Head<'_>, ()> {
            let envelope =
                b"(NIL \"Hello World\" NIL NIL NIL ((NIL NIL \"ann\" \"a.test\")) NIL NIL NIL NIL)";
            Ok(Head {
                sent_day: Some(100),
                envelope: (!self.abridged).then_some(envelope.as_slice()),
            })
        }
        fn header(&mut self) -> Result<&[u8], ()> {
            Ok(b"X-Thing: Yes\r\nSubject: First\r\nSubject: Hello World\r\n\r\n")
        }
        fn contains(&mut self, needle: &Needle, _headers: bool) -> Result<bool, ()> {
            self.bodies += 1;
            Ok(needle.is_in("some text"))
        }
    }

    fn holds(key: SearchKey) -> bool {
        let numbering = Numbering::new(&UidSet::from_ranges(vec![(1, 9)]));
        let program = Program::new(key, &scope(&numbering));
        program.matches(&message(5), &mut Fake::default()).unwrap()
    }

    fn field(name: &str, value: &str) -> SearchKey {
        SearchKey::Header {
            name: name.into(),
            value: value.into(),
        }
    }

    #[test]
    fn keys_on_the_row() {
        assert!(holds(SearchKey::All));
        assert!(holds(SearchKey::Flag(Flags::SEEN)));
        assert!(!holds(SearchKey::Flag(Flags::FLAGGED)));
        assert!(!holds(SearchKey::Keyword("nope".into())));
        assert!(holds(SearchKey::Larger(499)) && !holds(SearchKey::Larger(500)));
        assert!(holds(SearchKey::Smaller(501)) && !holds(SearchKey::Smaller(500)));
        assert!(holds(SearchKey::ModSeq(7)) && !holds(SearchKey::ModSeq(8)));
        assert!(holds(SearchKey::Older(100)) && !holds(SearchKey::Older(101)));
        assert!(holds(SearchKey::Younger(100)) && !holds(SearchKey::Younger(99)));
        let day = (NOW - 100).div_euclid(86400);
        assert!(holds(SearchKey::On(day)) && holds(SearchKey::Since(day)));
        assert!(!holds(SearchKey::Before(day)) && holds(SearchKey::Before(day + 1)));
        let five = SequenceSet(vec![(Some(5), Some(5))]);
        assert!(holds(SearchKey::Uid(five.clone())) && holds(SearchKey::Sequence(five)));
    }

    #[test]
    fn keys_on_stored_fields() {
        assert!(holds(field("subject", "hello w")));
        assert!(holds(field("To", "ANN@a")));
        assert!(!holds(field("From", "")));
        assert!(holds(field("x-thing", "yes")));
        assert!(!holds(field("sender", "ann")));
        assert!(holds(SearchKey::SentOn(100)) && !holds(SearchKey::SentBefore(100)));
        assert!(holds(SearchKey::Body("SOME".into())));
        assert!(!holds(SearchKey::Not(Box::new(SearchKey::Text(
            "text".into()
        )))));
    }

    #[test]
    fn any_field_of_a_name_counts() {
        let numbering = Numbering::new(&UidSet::from_ranges(vec![(1, 9)]));
        let program = Program::new(field("Subject", "first"), &scope(&numbering));
        for abridged in [false, true] {
            let mut fake = Fake {
                bodies: 0,
                abridged,
            };
            assert_eq!(program.matches(&message(5), &mut fake), Ok(abridged));
        }
    }

    #[test]
    fn what_is_dear_is_not_read_where_the_row_decides() {
        let numbering = Numbering::new(&UidSet::from_ranges(vec![(1, 9)]));
        let body = || SearchKey::Body("some".into());
        let key = SearchKey::And(vec![body(), SearchKey::Flag(Flags::FLAGGED)]);
        let mut fake = Fake::default();
        let program = Program::new(key, &scope(&numbering));
        assert!(!program.matches(&message(5), &mut fake).unwrap());
        let seen = Box::new(SearchKey::Flag(Flags::SEEN));
        let program = Program::new(SearchKey::Or(Box::new(body()), seen), &scope(&numbering));
        assert!(program.matches(&message(5), &mut fake).unwrap());
        assert_eq!(fake.bodies, 0);
        assert_eq!(program.cost(), Cost::Body);
    }

    #[test]
    fn named_uids_narrow_the_search() {
        let uids = UidSet::from_ranges(vec![(1, 9)]);
        let numbering = Numbering::new(&uids);
        let named = SearchKey::Uid(SequenceSet(vec![(Some(4), Some(30))]));
        let key = SearchKey::And(vec![SearchKey::All, named.clone()]);
        let program = Program::new(key, &scope(&numbering));
        let expected = UidSet::from_ranges(vec![(4, 9)]);
        assert_eq!(program.narrow(uids.clone()), expected);
        let program = Program::new(SearchKey::Not(Box::new(named)), &scope(&numbering));
        assert_eq!(program.narrow(uids.clone()), uids);
    }
}
