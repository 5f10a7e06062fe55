//! POP3: whole sessions against a made-up maildrop.

use super::fuzz_sessions;
use super::login::account;
use pillarbox::mail::listing::Listing;
use pillarbox::mail::option::Order;
use pillarbox::mail::{Uid, UidValidity};
use pillarbox::pop3::maildrop::Maildrop;
use pillarbox::pop3::session::{Answer, Ask, Config, Session, Step, Unopened};
use pillarbox::sasl::{self, Denial, Verdict};
use std::sync::Arc;

const SESSIONS: [&[u8]; 12] = [
    b"LANG\r\nLANG ru\r\nUTF8\r\nUSER alice\r\nPASS x\r\nLANG *\r\nRETR 1\r\nUTF8\r\nQUIT\r\n",
    b"LANG ru-RU\r\nNOPE\r\nLANG xx\r\nUSER alice\r\nPASS x\r\nRETR 9\r\nLIST\r\nQUIT\r\n",
    b"CAPA\r\nUSER alice\r\nPASS secret word\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nDELE 1\r\nLIST 1\r\nQUIT\r\n",
    b"USER alice\r\nPASS x\r\nTOP 2 1\r\nTOP 3 0\r\nRETR 3\r\nRSET\r\nNOOP\r\nQUIT\r\n",
    b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nUIDL 2\r\nLIST 99\r\nDELE 0\r\nDELE 4294967296\r\nQUIT\r\n",
    b"AUTH\r\nAUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\nDELE 1\r\nDELE 2\r\nDELE 3\r\nSTAT\r\nQUIT\r\n",
    b"AUTH PLAIN\r\n=\r\nAUTH PLAIN =\r\nAUTH PLAIN\r\n*\r\nAUTH PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\nSTAT\r\n",
    b"AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPXg=\r\nx\r\n",
    b"RETR 1\r\nPASS x\r\nUSER\r\nPASS\r\nAPOP a b\r\n\r\nSTLS\r\n",
    b"USER alice\nPASS x\nRETR 2\nTOP 2\nTOP 1 x\nQUIT\n",
    b"USER alice\r\nPASS x\r\nTOP 1 4294967295\r\nRETR 1\r\nRETR 2\r\nQUIT\r\n",
    b"\xff\r\nUSER \xc3\xa9\r\nPASS \0\r\n",
];

/// A client sees the end of a message by a dot alone, so these are full of them.
const MESSAGES: [&[u8]; 3] = [
    b"Subject: a\r\n\r\nbody\r\n.\r\n..\r\n.x\r\nend\r\n",
    b"Subject: b\n\n.\n.\r\nno end",
    b".\r\n\r\n\r\n.",
];

#[test]
fn sessions() {
    fuzz_sessions("pop3 sessions", &SESSIONS, 3, talk);
}

/// Of `kind` 0 all goes well, 1 nobody is let in, 2 the maildrop is in use.
fn talk(bytes: &[u8], kind: u8, size: &mut dyn FnMut() -> usize) -> Vec<String> {
    let mut session = Session::new(Config {
        tls: true,
        plain_login: false,
        login_delay: 10,
        seed: [7; 32],
    });
    let mut told = Vec::new();
    let (mut out, mut sent) = (Vec::new(), Vec::new());
    let (mut rest, mut sending) = (bytes, &[][..]);
    let (mut let_in, mut turns) = (false, 0);
    // Where the answer with a message begins, and which.
    let mut retrieved: Option<(usize, &[u8])> = None;
    loop {
        turns += 1;
        assert!(
            turns < 16 * bytes.len() + 64,
            "the session makes no progress"
        );
        let step = session.step(&mut out);
        sent.append(&mut out);
        if let Some((from, message)) = retrieved
            && !matches!(step, Step::Ask(Ask::More))
        {
            is_message(&sent[from..], message);
            retrieved = None;
        }
        match step {
            Step::NeedInput if rest.is_empty() => break,
            Step::NeedInput => {
                let (slice, more) = rest.split_at(size().clamp(1, rest.len()));
                session.input().push(slice);
                rest = more;
            }
            Step::Flush => {}
            Step::Ask(ask) => {
                let answer = match ask {
                    Ask::Authenticate(sasl::Ask::Password { .. }) if kind != 1 => {
                        let_in = true;
                        Answer::Verdict(Verdict::Granted(account()))
                    }
                    Ask::Authenticate(_) => Answer::Verdict(Verdict::Denied(Denial::Credentials)),
                    Ask::Open(_) if kind == 2 => Answer::Opened(Err(Unopened::InUse)),
                    Ask::Open(_) => Answer::Opened(Ok(maildrop())),
                    Ask::Retrieve(uid) => {
                        sending = MESSAGES[uid.get() as usize - 1];
                        retrieved = Some((sent.len(), sending));
                        Answer::Piece(Some(piece(&mut sending)))
                    }
                    Ask::More => Answer::Piece(Some(piece(&mut sending))),
                    Ask::Update(update) => {
                        told.push(format!("{update:?}"));
                        Answer::Updated(Ok(()))
                    }
                };
                assert!(let_in || matches!(answer, Answer::Verdict(_)));
                session.answer(answer, &mut out);
            }
            Step::StartTls => panic!("TLS is on already"),
            Step::Close => break,
        }
    }
    sent.append(&mut out);
    whole_lines(&sent);
    told.push(sent.escape_ascii().to_string());
    told
}

/// Seven bytes, so that line ends and dots fall between.
fn piece<'a>(message: &mut &'a [u8]) -> &'a [u8] {
    let (piece, rest) = message.split_at(message.len().min(7));
    *message = rest;
    piece
}

/// Lines end with CRLF, and hold what can be printed.
fn whole_lines(out: &[u8]) {
    for (at, &b) in out.iter().enumerate() {
        let right = match b {
            b'\n' => at > 0 && out[at - 1] == b'\r',
            b => b == b'\r' || !b.is_ascii_control(),
        };
        assert!(right, "{}", out.escape_ascii());
    }
}

/// What stands between the first line and the dot, undone as a client does it, is the
/// message: all of it for RETR, its beginning for TOP.
fn is_message(out: &[u8], message: &[u8]) {
    let text = std::str::from_utf8(out).expect("the messages are US-ASCII");
    let (first, rest) = text.split_once("\r\n").expect("a first line");
    let mut read = String::new();
    for line in rest.split_inclusive("\r\n") {
        match line.strip_prefix('.') {
            Some("\r\n") => break,
            Some(stuffed) => read.push_str(stuffed),
            None => read.push_str(line),
        }
    }
    let text = String::from_utf8_lossy(message);
    let want: String = text.lines().map(|line| format!("{line}\r\n")).collect();
    match first.contains("octets") {
        true => assert_eq!(read, want),
        false => assert!(want.starts_with(&read), "{read:?}"),
    }
    assert!(rest.contains(".\r\n"));
}

fn maildrop() -> Maildrop {
    let mut listing = Listing::default();
    for (n, message) in (1..).zip(MESSAGES) {
        listing.push(Uid::new(n).expect("not zero"), message.len() as u32);
    }
    Maildrop::new(UidValidity::MIN, Arc::new(listing), Order::Descending)
}
