//! Submission: the command parser, and whole sessions of it.

use super::login::account;
use super::{fuzz, fuzz_sessions};
use pillarbox::mail::{AccountId, DateTime, MailboxName};
use pillarbox::sasl::{self, Denial, Verdict};
use pillarbox::smtp::command::{self, Command};
use pillarbox::smtp::repair::Stamp;
use pillarbox::smtp::reply::Reply;
use pillarbox::smtp::role::Role;
use pillarbox::smtp::session::{Answer, Ask, Config, Found, NoRecipient, Session, Step, Trouble};

const LOGIN: &[u8] = b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";

const SESSIONS: [&[u8]; 16] = [
    b"EHLO c.example\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<alice@demo.test> SIZE=100\r\n\
      RCPT TO:<bob@demo.test>\r\nDATA\r\nFrom: alice@demo.test\r\nSubject: x\r\n\r\n..a\r\nb\r\n.\r\nQUIT\r\n",
    b"EHLO c\r\nAUTH LOGIN\r\nYWxpY2U=\r\nc2VjcmV0\r\nMAIL FROM:<alice@demo.test> BODY=8BITMIME RET=HDRS\r\n\
      RCPT TO:<Postmaster> NOTIFY=NEVER\r\nBDAT 27\r\nFrom: alice@demo.test\r\n\r\nabBDAT 2 LAST\r\n\r\nNOOP\r\n",
    b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<alice@demo.test> SMTPUTF8\r\nRCPT TO:<\xc3\xa9@demo.test>\r\n\
      RSET\r\nMAIL FROM:<> ENVID=x+2By AUTH=<>\r\nRCPT TO:<@a,@b:bob@demo.test> ORCPT=rfc822;x\r\nDATA\r\n\r\n.\r\n",
    b"HELO c\r\nMAIL FROM:<alice@demo.test>\r\nVRFY x\r\nEXPN y\r\nHELP\r\nNOOP z\r\nQUIT\r\n",
    b"EHLO c\r\nAUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPXg=\r\n*\r\nAUTH PLAIN\r\n=\r\nAUTH PLAIN =\r\n",
    b"EHLO [IPv6:::1]\nMAIL FROM:<\"a b\"@demo.test>\nRCPT TO:<a@[192.0.2.1]>\n",
    b"BDAT 5\r\nhelloBDAT 3 LAST\r\nabcNOOP\r\n",
    b"DATA\r\nRCPT TO:<x@y>\r\nMAIL TO:<x>\r\nFOO\r\n\r\n",
    b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<alice@demo.test>\r\nRCPT TO:<remote@else.test>\r\n\
      RCPT TO:<bob@demo.test>\r\nDATA\r\nFrom: alice@demo.test\r\nBcc: x@y\r\n z\r\n\r\na\n.\nb\r.\rMAIL FROM:<>\r\n.\r\n",
    b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<alice@demo.test>\r\nRCPT TO:<bob@demo.test>\r\n\
      BDAT 99999999999 LAST\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"EHLO mx\r\nMAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<bob@demo.test> NOTIFY=SUCCESS\r\nRCPT TO:<remote@x>\r\n\
      DATA\r\n no field\r\nFrom: x\r\n\r\n..a\r\n.\r\nAUTH PLAIN x\r\nQUIT\r\n",
    b"LHLO mta\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@demo.test>\r\nRCPT TO:<bob+x@demo.test>\r\n\
      BDAT 5\r\na:b\r\nBDAT 4 LAST\r\n\r\nx\nRSET\r\n",
    b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<alice@demo.test>\r\nRCPT TO:<bob@demo.test>\r\n\
      BURL imap://h/x/;UID=1\r\nBDAT 4\r\nab\r\nBURL imap://h/x/;UID=2 LAST\r\nNOOP\r\n",
    b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<alice@demo.test>\r\nRCPT TO:<bob@demo.test>\r\n\
      BDAT 5\r\nx: y\nBURL imap://h/x/;UID=1\r\nBURL imap://host/longer/than/the/others/that/there/are/;UID=2\r\n\
      RSET\r\nMAIL FROM:<>\r\nRCPT TO:<bob@demo.test>\r\nBURL imap://host.test/x/y/z/;UID=1234 LAST\r\nBURL x\r\n",
    LOGIN,
];

#[test]
fn commands() {
    fuzz("smtp commands", &SESSIONS, |bytes| {
        for line in bytes.split(|&b| b == b'\n') {
            if let Ok(Command::Mail(mail)) = command::parse(line)
                && let Some(path) = mail.sender
            {
                assert!(!path.text.chars().any(char::is_control));
            }
        }
    });
}

#[test]
fn sessions() {
    fuzz_sessions("smtp sessions", &SESSIONS, 5, talk);
}

/// What came of a session.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// As [`class`] has them.
    replies: Vec<String>,
    delivered: Vec<String>,
}

/// A driver with a made-up world: of `kind` 0 all goes well, 1 nobody is let in, 2 the
/// store fails now and then; 3 and 4 are other servers' sessions, by SMTP and LMTP.
fn talk(bytes: &[u8], kind: u8, size: &mut dyn FnMut() -> usize) -> Told {
    let role = match kind {
        3 => Role::Incoming,
        4 => Role::Lmtp,
        _ => Role::Submission,
    };
    let mut session = Session::new(Config {
        role,
        peer: None,
        hostname: "mail.demo.test".into(),
        max_message_size: 2000,
        max_recipients: 3,
        imap: "mail.b.de".into(),
        max_messages: None,
        max_refusals: 20,
        tls: true,
        plain_login: false,
        device: None,
        seed: [7; 32],
        now: 0,
    });
    let mut told = Told::default();
    let (mut out, mut message, mut rest) = (Vec::new(), None, bytes);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut let_in = role != Role::Submission;
    let mut turns = 0;
    loop {
        turns += 1;
        assert!(
            turns < 16 * bytes.len() + 64,
            "the session makes no progress"
        );
        match session.step(&mut out) {
            Step::NeedInput if rest.is_empty() => break,
            Step::NeedInput => {
                let (slice, more) = rest.split_at(size().clamp(1, rest.len()));
                session.receive(slice);
                rest = more;
            }
            Step::Ask(ask) => {
                let answer = match ask {
                    Ask::Authenticate(ask) => verdict(ask, kind, &mut let_in),
                    Ask::Recipient(address) => Answer::Recipient(match address.local() {
                        "remote" if kind >= 2 => Err(NoRecipient::NoRoute("no")),
                        "remote" => Ok(Found {
                            local: Vec::new(),
                            remote: vec![address],
                            returns: false,
                        }),
                        "bob" => Ok(Found {
                            local: vec![(AccountId(2), MailboxName::inbox())],
                            remote: Vec::new(),
                            returns: false,
                        }),
                        _ => Err(NoRecipient::Unknown),
                    }),
                    Ask::Hold { .. } => Answer::Held(match kind {
                        0 => Err(Trouble::TooMuchHeld),
                        _ => Ok(()),
                    }),
                    Ask::Begin { .. } => {
                        assert!(let_in, "a message of nobody");
                        assert!(message.is_none(), "two messages at once");
                        message = Some(Vec::new());
                        Answer::Begun(Ok(stamp()))
                    }
                    Ask::Open(url) => {
                        assert!(message.is_some(), "a URL of no message");
                        pieces = vec![
                            b"hi\r\n".to_vec(),
                            b"From: alice@demo.test\r\n\r\n".to_vec(),
                        ];
                        Answer::Opened(match url.len() {
                            0..30 => Ok(29),
                            30..40 => Ok(3000),
                            _ => Err(Reply::new(554, "5.6.6", "There is none")),
                        })
                    }
                    Ask::Piece => Answer::Piece(match kind {
                        2 => Err(Trouble::Later),
                        _ => Ok(pieces.pop().unwrap_or_default()),
                    }),
                    Ask::Commit(commit) => {
                        assert!(let_in && commit.local.len() + commit.remote.len() > 0);
                        let message: Vec<u8> = message.take().expect("a message begun");
                        whole_lines(&message);
                        let traced = message.starts_with(b"Return-Path: <");
                        // On port 25 the findings come in between, when all is over.
                        assert_eq!(traced, role != Role::Incoming);
                        assert_eq!(commit.arrived.is_some(), role == Role::Incoming);
                        assert!(role == Role::Submission || commit.remote.is_empty());
                        told.delivered
                            .push(String::from_utf8_lossy(&message).into_owned());
                        Answer::Committed(match kind {
                            2 => Err(Trouble::Full),
                            _ => Ok(Vec::new()),
                        })
                    }
                };
                session.answer(answer, &mut out);
            }
            Step::Data(data) => message
                .as_mut()
                .expect("a message begun")
                .extend_from_slice(data),
            Step::Abandon => message = None,
            Step::StartTls => panic!("TLS is on already"),
            Step::Close => break,
        }
    }
    let replies = String::from_utf8(out).expect("replies are text");
    well_formed(&replies);
    told.replies = replies.lines().map(class).collect();
    told
}

fn verdict(ask: sasl::Ask, kind: u8, let_in: &mut bool) -> Answer {
    Answer::Verdict(match ask {
        sasl::Ask::Password { .. } if kind != 1 => {
            *let_in = true;
            Verdict::Granted(account())
        }
        _ => Verdict::Denied(Denial::Credentials),
    })
}

fn stamp() -> Stamp {
    Stamp {
        date: DateTime {
            unix: 1_000_000_000,
            offset: 0,
        },
        id: "id1".into(),
    }
}

/// Of several faults of one message the slices may say which is seen first.
fn class(reply: &str) -> String {
    match reply.starts_with('5') {
        true => "5".into(),
        false => reply.into(),
    }
}

fn well_formed(replies: &str) {
    for line in replies.split_inclusive("\r\n") {
        let line = line.strip_suffix("\r\n").expect("a whole line");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let (code, text) = line.split_at_checked(3).expect("a code");
        assert!(code.bytes().all(|b| b.is_ascii_digit()), "{line:?}");
        assert!(text.starts_with([' ', '-']), "{line:?}");
    }
}

/// What is stored has CRLF for line ends and nothing else, so that no end of data can hide.
fn whole_lines(message: &[u8]) {
    for (at, &b) in message.iter().enumerate() {
        let pair = match b {
            b'\r' => message.get(at + 1) == Some(&b'\n'),
            b'\n' => at > 0 && message[at - 1] == b'\r',
            b => b != 0,
        };
        assert!(pair, "{}", message.escape_ascii());
    }
}
