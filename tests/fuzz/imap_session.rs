//! IMAP: whole sessions against a made-up world.

use super::fuzz_sessions;
use super::login::account;
use pillarbox::imap::session::{Action, Ask, Config, Outcome, Selected, Session, Step};
use pillarbox::imap::view::Opened;
use pillarbox::mail::{Change, Flags, MailboxId, ModSeq, Uid, UidSet};
use pillarbox::sasl::{self, Denial, Exchange, Verdict};

const SESSIONS: [&[u8]; 14] = [
    b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc FETCH 1:* (FLAGS UID)\r\nd UID SEARCH 1:3 NOT SEEN\r\ne LOGOUT\r\n",
    b"a AUTHENTICATE PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\nb EXAMINE x (CONDSTORE)\r\nc STORE 1 FLAGS x\r\nd CLOSE\r\n",
    b"a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\nb IDLE\r\nDONE\r\nc IDLE\r\nx\r\nd NOOP\r\n",
    b"a AUTHENTICATE LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\nb ENABLE CONDSTORE\r\nc CAPABILITY\r\nd NAMESPACE\r\n",
    b"a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZSxyPXg=\r\n*\r\nb AUTHENTICATE PLAIN =\r\nc LOGIN a b\r\n",
    b"a LOGIN {5}\r\nalice {6+}\r\nsecret\r\nb APPEND INBOX (\\Seen) {5}\r\nhello\r\nc APPEND refused {5+}\r\nhello\r\n",
    b"a LOGIN alice secret\r\nb APPEND broken {20+}\r\n01234567890123456789\r\nc NOOP\r\nd APPEND x {3+}\r\nabc x\r\ne NOOP\r\n",
    b"a APPEND INBOX {5+}\r\nhello\r\nb SELECT INBOX\r\nc STARTTLS\r\nd ID NIL\r\n",
    b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc SELECT none\r\nd FETCH 1 UID\r\ne SELECT a//b\r\nf CHECK\r\n",
    b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc STORE 1:2 +FLAGS (\\Seen $x)\r\nd COPY 1 x\r\ne UID MOVE * x\r\nf EXPUNGE\r\ng UID EXPUNGE 1:9\r\nh UNSELECT\r\n",
    b"a LOGIN alice secret\r\nb LIST \"\" *\r\nc LSUB \"\" %\r\nd STATUS x (MESSAGES HIGHESTMODSEQ)\r\ne CREATE y (USE (\\Sent))\r\nf RENAME y z\r\ng DELETE z\r\nh SUBSCRIBE q\r\n",
    b"a LOGIN alice secret\r\nb APPEND x CATENATE (URL \"/x/;UID=1\" TEXT {3+}\r\nabc URL {1+}\r\ny)\r\nc APPEND x CATENATE (URL bad TEXT {3+}\r\nabc)\r\nd NOOP\r\ne APPEND x CATENATE (TEXT {2000+}\r\n",
    b"a LOGIN alice secret\r\nb GENURLAUTH x INTERNAL y z\r\nc URLFETCH x\r\nd RESETKEY\r\ne RESETKEY a//b\r\nf RESETKEY x INTERNAL\r\n",
    b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc SEARCH 9\r\nd FETCH 9 UID\r\ne UID FETCH 9 UID\r\nf SEARCH OR 1 NOT (2 MODSEQ 1)\r\n",
];

#[test]
fn sessions() {
    fuzz_sessions("imap sessions", &SESSIONS, 2, talk);
}

/// Of `kind` 1 nobody is let in.
fn talk(bytes: &[u8], kind: u8, size: &mut dyn FnMut() -> usize) -> Vec<String> {
    let mut session = Session::new(Config {
        hostname: "mail.demo.test".into(),
        tls: true,
        plain_login: false,
        append_limit: 1000,
    });
    let mut told = Vec::new();
    let (mut out, mut rest) = (Vec::new(), bytes);
    let (mut let_in, mut turns) = (false, 0);
    // The message of an APPEND at work, and whether the store fails at its first bytes.
    let mut message: Option<(Vec<u8>, bool)> = None;
    session.greet("", &mut out);
    loop {
        turns += 1;
        assert!(
            turns < 8 * bytes.len() + 64,
            "the session makes no progress"
        );
        match session.step(&mut out) {
            Step::NeedInput | Step::Idle if rest.is_empty() => break,
            Step::NeedInput | Step::Idle => {
                let (slice, more) = rest.split_at(size().clamp(1, rest.len()));
                session.input().push(slice);
                rest = more;
            }
            Step::Data(n) => {
                let (kept, fails) = message.as_mut().expect("an APPEND accepted");
                if *fails {
                    message = None;
                    session.refuse_append(&Outcome::bad("The disk is full."), &mut out);
                } else {
                    kept.extend_from_slice(session.data(n));
                    session.taken(n);
                }
            }
            Step::StartTls => panic!("TLS is on already"),
            Step::Close => break,
            Step::Ask(ask) => match *ask {
                Ask::Exchange { mechanism } => {
                    session.begin(Exchange::new(mechanism, "server".into()));
                }
                Ask::Login(sasl::Ask::Password { .. }) if kind == 0 => {
                    let_in = true;
                    session.verdict(Verdict::Granted(account()), &mut out);
                }
                Ask::Login(_) => {
                    session.verdict(Verdict::Denied(Denial::Credentials), &mut out);
                }
                other => {
                    let harmless = matches!(other, Ask::Do(Action::Poll(_)));
                    assert!(harmless || let_in && session.is_logged_in(), "{other:?}");
                    told.push(format!("{other:?}"));
                    world(&mut session, other, &mut message, &mut out);
                }
            },
        }
        if !session.is_appending() {
            message = None;
        }
    }
    well_formed(&out);
    told.push(out.escape_ascii().to_string());
    told
}

fn world(
    session: &mut Session,
    ask: Ask,
    message: &mut Option<(Vec<u8>, bool)>,
    out: &mut Vec<u8>,
) {
    match ask {
        Ask::Select { name, .. } if name.as_str() == "none" => {
            session.close_selected(out);
            session.complete(&Outcome::bad("There is none."), out);
        }
        Ask::Select { read_only, .. } => session.selected(selected(read_only), out),
        Ask::Append { append, name } => match name.as_str() {
            "refused" => session.refuse_append(&Outcome::bad("No."), out),
            _ if append.size > 1000 => session.refuse_append(&Outcome::bad("Large."), out),
            name => {
                *message = Some((Vec::new(), name == "broken"));
                session.accept_append();
            }
        },
        Ask::AppendUrl(url) if url == "bad" => {
            *message = None;
            session.refuse_append(&Outcome::bad("No such part."), out);
        }
        Ask::AppendUrl(url) => {
            let (message, _) = message.as_mut().expect("an APPEND accepted");
            message.extend_from_slice(url.as_bytes());
        }
        Ask::AppendText { size, .. } if size > 1000 => {
            *message = None;
            session.refuse_append(&Outcome::bad("Large."), out);
        }
        Ask::AppendText { .. } => session.accept_append(),
        Ask::AppendEnd => {
            let (message, _) = message.take().expect("an APPEND accepted");
            session.complete(&Outcome::ok(format!("{} bytes.", message.len())), out);
        }
        Ask::Do(action) => act(session, action, out),
        Ask::Exchange { .. } | Ask::Login(_) => panic!("answered before"),
    }
}

/// Another session is at work on the same mailbox meanwhile.
fn act(session: &mut Session, action: Action, out: &mut Vec<u8>) {
    if let Some(view) = session.view_mut() {
        let modseq = ModSeq::new(view.modseq().get() + 1).expect("not zero");
        let changes = match &action {
            Action::Store(_) => vec![Change::Flags {
                messages: vec![(Uid::MIN, Flags::SEEN, modseq)],
                keywords: vec!["$x".into(), "$y".into()],
            }],
            Action::Expunge(uids) => vec![Change::Expunged {
                uids: uids
                    .clone()
                    .unwrap_or_else(|| UidSet::from_ranges(vec![(2, 2)])),
                modseq,
            }],
            Action::Delete(_) => vec![Change::Deleted],
            _ => vec![],
        };
        view.apply(changes.into_iter().map(|it| (modseq, it)).collect(), None);
    }
    if let Action::Close { .. } = action {
        session.unselect();
    }
    session.report(out);
    session.complete(&Outcome::ok("Done."), out);
}

fn selected(read_only: bool) -> Selected {
    Selected {
        opened: Opened {
            mailbox: MailboxId(1),
            read_only,
            uids: UidSet::from_ranges(vec![(1, 3), (7, 7)]),
            keywords: vec!["$x".into()],
            highest_modseq: ModSeq::MIN,
            first_recent: Uid::new(7).expect("not zero"),
        },
        uid_validity: Uid::MIN,
        uid_next: Uid::new(8).expect("not zero"),
        first_unseen: Uid::new(2),
    }
}

/// Lines of printable US-ASCII, each begun as a response begins.
fn well_formed(out: &[u8]) {
    let text = std::str::from_utf8(out).expect("responses are US-ASCII here");
    for line in text.split_inclusive("\r\n") {
        let line = line.strip_suffix("\r\n").expect("a whole line");
        assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{line:?}");
        let (tag, rest) = line.split_once(' ').expect("a tag");
        let word = rest.split(' ').next().unwrap_or_default();
        let tagged = ["OK", "NO", "BAD"].contains(&word);
        assert!(matches!(tag, "*" | "+") || tagged, "{line:?}");
    }
}
