//! IMAP: framer and parser, and the small languages inside.

use super::{Random, fuzz};
use pillarbox::imap::command::{Command, FetchItem, SequenceSet};
use pillarbox::imap::framer::{Event, Framer, LineEvent};
use pillarbox::imap::pattern::Pattern;
use pillarbox::imap::response::{self, fetch::Fetch};
use pillarbox::imap::{date, parse, utf7};
use pillarbox::wire::Input;

const COMMANDS: [&[u8]; 42] = [
    b"a NOOP\r\nb CAPABILITY\r\nc LOGOUT\r\n",
    b"a LOGIN user \"pass\\\"word\"\r\n",
    b"a LOGIN {4}\r\nuser {4+}\r\npass\r\n",
    b"a AUTHENTICATE PLAIN AHVzZXIAeA==\r\n",
    b"a ID (\"name\" \"x\" \"os\" NIL)\r\n",
    b"a ENABLE CONDSTORE X\r\n",
    b"a SELECT \"&AOk-\" (CONDSTORE)\r\n",
    b"a CREATE x (USE (\\Sent \\Drafts))\r\n",
    b"a RENAME {1}\r\na {1+}\r\nb\r\n",
    b"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (INBOX \"a/%\" *) RETURN (CHILDREN STATUS (SIZE))\r\n",
    b"a LSUB \"#news.\" \"comp.mail.*\"\r\n",
    b"a STATUS INBOX (MESSAGES UIDNEXT UNSEEN)\r\n",
    b"a APPEND INBOX (\\Seen $x) \" 1-Feb-1994 00:00:00 +0000\" {5}\r\nhello\r\nb NOOP\r\n",
    b"a APPEND {5}\r\nINBOX ~{5+}\r\nhe\0lo\r\nb NOOP\r\n",
    b"a APPEND INBOX (\\Bad) {5+}\r\nhello\r\nb NOOP\r\n",
    b"a SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"\r\n",
    b"a SEARCH CHARSET UTF-8 TEXT {6}\r\n\xd0\xbf\xd1\x80\xd0\xb8\r\n",
    b"a UID SEARCH RETURN (MIN COUNT) OR (SEEN NOT DRAFT) HEADER X-Y \"\"\r\n",
    b"a SEARCH CHARSET KOI8-R SUBJECT \"\xcd\xc9\" LARGER 5 UID 1:*\r\n",
    b"a SEARCH MODSEQ \"/flags/\\\\draft\" all 620 OLDER 60\r\n",
    b"a SEARCH ((((ALL))))\r\n",
    b"a FETCH 2:4,* (FLAGS BODY.PEEK[HEADER.FIELDS (DATE FROM)]<0.100>)\r\n",
    b"a UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)\r\n",
    b"a FETCH 1 (BODY[1.2.MIME] BINARY[1]<5.6> BINARY.SIZE[2] RFC822.TEXT)\r\n",
    b"a FETCH 1 BODY[3.HEADER.FIELDS.NOT (\"a b\" {1}\r\nc)]\r\n",
    b"a FETCH * ALL (CHANGEDSINCE 12345)\r\n",
    b"a STORE 2:4 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Deleted $Junk)\r\n",
    b"a UID STORE 1 FLAGS \\Seen x\r\n",
    b"a COPY 2:4 MEETING\r\na UID MOVE 1 x\r\n",
    b"a UID EXPUNGE 3000:3002\r\na CLOSE\r\n",
    b"a IDLE\r\nDONE\r\n",
    b"a DELETE x{8+}\r\nz LOGOUT {3+}\r\nabc\r\nb NOOP\r\n",
    b"a DELETE {45+}\r\nlong enough to come in more than one slice, so\r\nb NOOP\r\n",
    b"a APPEND x {45}\r\nlong enough to come in more than one slice, so\r\nb NOOP\r\n",
    b"a DELETE {99999}\r\nb NOOP\r\n",
    b"a APPEND x CATENATE (URL \"/x/;UID=1\" URL b)\r\nb NOOP\r\n",
    b"a APPEND x CATENATE (TEXT {2}\r\nab URL {1}\r\nc TEXT ~{2+}\r\n\0d URL e)\r\nb NOOP\r\n",
    b"a APPEND {1}\r\nx (\\Seen) CATENATE (URL {1+}\r\nu URL v URL w TEXT {2+}\r\nab)\r\nb NOOP\r\n",
    b"a APPEND x CATENATE (TEXT {200+}\r\nab)\r\nb NOOP\r\n",
    b"a GENURLAUTH \"imap://x@y/z/;UID=1;URLAUTH=anonymous\" INTERNAL\r\na URLFETCH a b\r\n",
    b"a RESETKEY\r\na RESETKEY INBOX internal XSAMPLE\r\n",
    b"\r\n",
];

#[test]
fn framer_and_parser() {
    let mut random = Random::new(1);
    fuzz("imap framer", &COMMANDS, |bytes| {
        let at_once = frame(bytes, || usize::MAX);
        let in_slices = frame(bytes, || 1 + random.below(24));
        assert_eq!(at_once, in_slices);
    });
}

/// What a driver would see and do. Every other APPEND is refused.
fn frame(bytes: &[u8], mut size: impl FnMut() -> usize) -> Vec<String> {
    let mut framer = Framer::new();
    let mut input = Input::new();
    let mut said = Vec::new();
    let mut message = Vec::new();
    let mut appends = 0;
    let mut urls = 0;
    let mut rest = bytes;
    let mut idle = false;
    let mut turns = 0;
    loop {
        turns += 1;
        assert!(turns < 8 * bytes.len() + 64, "the framer makes no progress");
        if std::mem::take(&mut idle)
            && let LineEvent::Line(line) = framer.line(&mut input)
        {
            said.push(format!("line {:?}", line.reveal()));
        }
        match framer.next(&mut input) {
            Event::NeedInput if rest.is_empty() => return said,
            Event::NeedInput => {
                let (slice, more) = rest.split_at(size().clamp(1, rest.len()));
                input.push(slice);
                rest = more;
            }
            Event::Continue => said.push("+".into()),
            Event::Request(request) => {
                // Only where the line is whole, or slices would differ.
                if let Command::Idle = request.command {
                    input.push(std::mem::take(&mut rest));
                    idle = true;
                    framer.logged_in(pillarbox::imap::framer::MAX_COMMAND);
                }
                said.push(format!("{request:?}"));
                again(&request.command);
            }
            Event::Append(append) => {
                said.push(format!("{append:?}"));
                appends += 1;
                match appends % 2 {
                    1 => framer.accept(),
                    _ => framer.refuse(),
                }
            }
            Event::Url(url) => {
                said.push(format!("url {url}"));
                urls += 1;
                if urls % 3 == 0 {
                    framer.refuse();
                }
            }
            Event::Text { size, binary } => {
                said.push(format!("text {size} {binary}"));
                match size < 100 {
                    true => framer.accept(),
                    false => framer.refuse(),
                }
            }
            Event::Message(n) => {
                assert!(n > 0 && n <= input.len());
                message.extend_from_slice(&input.bytes()[..n]);
                framer.taken(&mut input, n);
            }
            Event::AppendEnd => said.push(format!("message {:?}", std::mem::take(&mut message))),
            Event::Rejected(rejected) => {
                message.clear();
                let mut out = Vec::new();
                response::rejected(&mut out, &rejected);
                one_line(&out);
                said.push(format!("{rejected:?}"));
            }
            Event::Fatal(rejected) => {
                said.push(format!("{rejected:?}"));
                return said;
            }
        }
    }
}

fn one_line(out: &[u8]) {
    assert!(out.ends_with(b"\r\n"));
    assert!(!out[..out.len() - 2].iter().any(|b| b.is_ascii_control()));
}

/// The name under which a section is answered reads as that section again.
fn again(command: &Command) {
    let Command::Fetch { items, .. } = command else {
        return;
    };
    for item in items {
        let FetchItem::Section { section, name, .. } = item else {
            continue;
        };
        let mut line = b"a FETCH 1 ".to_vec();
        Fetch::resume(&mut line, false).section(section, None, *name);
        match parse::command(&line).map(|request| request.command) {
            Ok(Command::Fetch { items, .. }) => match items.as_slice() {
                [FetchItem::Section { section: read, .. }] => assert_eq!(read, section),
                other => panic!("{other:?}"),
            },
            other => panic!("{}: {other:?}", line.escape_ascii()),
        }
    }
}

#[test]
fn mailbox_names() {
    let seeds: [&[u8]; 6] = [
        b"INBOX",
        b"R&-D",
        b"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
        b"&2D3eAA-",
        b"&AOk-&-&AOk-",
        "Entwürfe/台北 & 😀".as_bytes(),
    ];
    fuzz("imap utf7", &seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let encoded = |name: &str| {
            let mut out = Vec::new();
            utf7::encode(name, &mut out);
            String::from_utf8(out).expect("modified UTF-7 is US-ASCII")
        };
        assert_eq!(utf7::decode(&encoded(text)).as_deref(), Some(text));
        if let Some(name) = utf7::decode(text) {
            assert_eq!(encoded(&name), text);
        }
    });
}

#[test]
fn patterns() {
    let seeds: [&[u8]; 7] = [
        b"*\nINBOX/a/b",
        b"%/%\na/b",
        b"*a%b*\nxx/a/ayb/c",
        b"inbox\nINBOX",
        b"*a*a*a*a*a*a%a%a%a%a\naaaaaaaaaaaaaaaaaaaaaaaab",
        "Entwürf%\nEntwürfe".as_bytes(),
        b"\na",
    ];
    fuzz("imap pattern", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (pattern, name) = text.split_once('\n').unwrap_or((&text, ""));
        let matches = Pattern::new("", pattern).matches(name);
        assert_eq!(Pattern::new(pattern, "").matches(name), matches);
        if pattern.chars().count() <= 12 && name.chars().count() <= 12 && !name.contains("INBOX") {
            let p: Vec<char> = pattern.chars().collect();
            let n: Vec<char> = name.chars().collect();
            assert_eq!(matches, by_definition(&p, &n));
        }
    });
}

fn by_definition(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*' | '%', rest)), _) if by_definition(rest, name) => true,
        (Some(('*', _)), Some((_, more))) => by_definition(pattern, more),
        (Some(('%', _)), Some((c, more))) => *c != '/' && by_definition(pattern, more),
        (Some((p, rest)), Some((c, more))) => p == c && by_definition(rest, more),
        _ => false,
    }
}

#[test]
fn sets_and_dates() {
    let seeds: [&[u8]; 6] = [
        b"1,3:*,7:5",
        b"*:4294967295",
        b"2,4:7,9,12:*",
        b"17-Jul-1996 02:44:25 -0700",
        b" 1-Feb-1994 00:00:60 +2359",
        b"29-Feb-2000",
    ];
    fuzz("imap sets and dates", &seeds, |bytes| {
        if let Some(set) = SequenceSet::parse(bytes) {
            for max in [0, 1, 15, u32::MAX] {
                let numbers = set.resolve(max);
                assert!(
                    numbers
                        .ranges()
                        .iter()
                        .all(|&(low, high)| 0 < low && low <= high)
                );
                let text = numbers.to_string();
                let again = SequenceSet::parse(text.as_bytes()).map(|set| set.resolve(0));
                assert!(
                    numbers.is_empty() || again.as_ref() == Some(&numbers),
                    "{text}"
                );
            }
        }
        let text = String::from_utf8_lossy(bytes);
        if let Some(moment) = date::parse_date_time(&text) {
            let mut out = Vec::new();
            date::write_date_time(&mut out, moment);
            let written = String::from_utf8_lossy(&out);
            assert_eq!(
                date::parse_date_time(written.trim_matches('"')),
                Some(moment)
            );
            assert_eq!(written.len(), 28);
        }
        date::parse_day(&text);
    });
}
