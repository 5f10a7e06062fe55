//! What only a driver can bring about: a store that fails, at each place where it can.

use super::*;
use crate::address::Address;
use crate::mail::{AccountId, DateTime, MailboxName};
use crate::sasl::Verdict;
use crate::smtp::repair::Stamp;

const LOGIN: &str = "EHLO client\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n";
const ENVELOPE: &str = "MAIL FROM:<ann@b.de>\r\nRCPT TO:<bob@b.de>\r\n";

/// A made-up world: what it answers, and what it saw.
#[derive(Default)]
struct World {
    recipient: Option<NoRecipient>,
    held: Option<Trouble>,
    begin: Option<Trouble>,
    write: Option<Trouble>,
    commit: Option<Trouble>,
    denial: Option<sasl::Denial>,
    written: Vec<u8>,
    abandoned: usize,
    delivered: usize,
    closed: bool,
    /// What the client is to wait for at the end.
    guesses: u32,
}

impl World {
    /// All replies to `input`, the greeting and those to EHLO left out.
    fn play(&mut self, input: &str) -> Vec<String> {
        let mut session = Session::new(Config {
            role: Role::Submission,
            peer: None,
            hostname: "mail.b.de".into(),
            max_message_size: 1000,
            max_recipients: 10,
            imap: "mail.b.de".into(),
            max_messages: None,
            max_refusals: 20,
            tls: true,
            plain_login: false,
            device: None,
            seed: [0; 32],
            now: 0,
        });
        session.receive(input.as_bytes());
        let mut out = Vec::new();
        loop {
            let answer = match session.step(&mut out) {
                Step::NeedInput => break,
                Step::Close => {
                    self.closed = true;
                    break;
                }
                Step::StartTls => panic!("TLS is there"),
                Step::Abandon => {
                    self.abandoned += 1;
                    continue;
                }
                Step::Data(bytes) => {
                    self.written.extend_from_slice(bytes);
                    match self.write {
                        Some(trouble) => Answer::Written(trouble),
                        None => continue,
                    }
                }
                Step::Ask(ask) => self.answer(ask),
            };
            session.answer(answer, &mut out);
        }
        self.guesses = session.take_guesses();
        let told = String::from_utf8(out).unwrap();
        told.lines()
            .filter(|line| !line.starts_with("220") && !line.starts_with("250-"))
            .filter(|line| *line != "250 HELP")
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect()
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        let account = || Account {
            id: AccountId(1),
            address: Address::parse("ann@b.de").unwrap(),
            aliases: Vec::new(),
        };
        let stamp = || Stamp {
            date: DateTime { unix: 0, offset: 0 },
            id: "x".into(),
        };
        match ask {
            Ask::Authenticate(_) => Answer::Verdict(match self.denial {
                Some(denial) => Verdict::Denied(denial),
                None => Verdict::Granted(account()),
            }),
            Ask::Recipient(_) => {
                let found = Found {
                    local: vec![(AccountId(2), MailboxName::inbox())],
                    remote: Vec::new(),
                    returns: false,
                };
                Answer::Recipient(self.recipient.map_or(Ok(found), Err))
            }
            Ask::Open(_) => Answer::Opened(Err(Reply::new(554, "5.6.6", "none"))),
            Ask::Piece => panic!("nothing is open"),
            Ask::Hold { .. } => Answer::Held(self.held.map_or(Ok(()), Err)),
            Ask::Begin { .. } => Answer::Begun(self.begin.map_or_else(|| Ok(stamp()), Err)),
            Ask::Commit(_) => Answer::Committed(match self.commit {
                Some(trouble) => Err(trouble),
                None => {
                    self.delivered += 1;
                    Ok(Vec::new())
                }
            }),
        }
    }
}

const DATA: &str = "DATA\r\nFrom: ann@b.de\r\n\r\nhi\r\n.\r\nNOOP\r\n";

#[test]
fn trouble_of_the_store_is_told_where_it_happens() {
    let message = format!("{LOGIN}{ENVELOPE}{DATA}");
    for (trouble, reply) in [
        (Trouble::Full, "452 4.3.1"),
        (Trouble::Later, "451 4.3.0"),
        (Trouble::TooLarge, "552 5.3.4"),
    ] {
        let mut world = World {
            commit: Some(trouble),
            ..World::default()
        };
        let expected = [
            "235 2.7.0",
            "250 2.1.0",
            "250 2.1.5",
            "354 Send",
            reply,
            "250 2.0.0",
        ];
        assert_eq!(world.play(&message), expected);

        let mut world = World {
            write: Some(trouble),
            ..World::default()
        };
        assert_eq!(world.play(&message), expected);
        assert_eq!((world.delivered, world.abandoned), (0, 1));

        // Without 354 the lines of the message are commands, if unknown ones.
        let mut world = World {
            begin: Some(trouble),
            ..World::default()
        };
        let told = world.play(&message);
        assert_eq!(told.get(3).map(String::as_str), Some(reply));
        assert_eq!(
            (world.delivered, told.last().unwrap().as_str()),
            (0, "250 2.0.0")
        );

        let mut world = World {
            recipient: Some(NoRecipient::Trouble(trouble)),
            ..World::default()
        };
        let told = world.play(&message);
        assert_eq!(
            told.get(2..4),
            Some(&[reply.into(), "554 5.5.1".to_string()][..])
        );
    }
}

#[test]
fn a_recipient_that_is_disabled_is_told_from_one_that_is_not_there() {
    for (why, reply) in [
        (NoRecipient::Unknown, "550 5.1.1"),
        (NoRecipient::Disabled, "550 5.2.1"),
    ] {
        let mut world = World {
            recipient: Some(why),
            ..World::default()
        };
        let told = world.play(&format!("{LOGIN}{ENVELOPE}"));
        assert_eq!(told.last().map(String::as_str), Some(reply));
    }
}

#[test]
fn a_chunk_that_could_not_begin_fails_those_behind_it() {
    let chunks = "BDAT 10\r\nFrom: ann@BDAT 8 LAST\r\nb.de\r\n\r\nNOOP\r\n";
    let mut world = World {
        begin: Some(Trouble::Full),
        ..World::default()
    };
    let told = world.play(&format!("{LOGIN}{ENVELOPE}{chunks}"));
    assert_eq!(
        told.get(3..),
        Some(&["452 4.3.1", "503 5.5.1", "250 2.0.0"].map(String::from)[..])
    );
    assert_eq!(world.delivered, 0);

    let mut world = World::default();
    let told = world.play(&format!("{LOGIN}{ENVELOPE}{chunks}"));
    assert_eq!(told.get(3..), Some(&["250 2.0.0"; 3].map(String::from)[..]));
    assert!(world.written.ends_with(b"\r\nFrom: ann@b.de\r\n\r\n"));
}

#[test]
fn what_was_begun_is_abandoned_by_rset_and_by_a_greeting() {
    for end in ["RSET\r\n", "EHLO again\r\n"] {
        let mut world = World::default();
        world.play(&format!("{LOGIN}{ENVELOPE}BDAT 4\r\nFrom{end}"));
        assert_eq!((world.abandoned, world.delivered), (1, 0), "{end}");
    }
}

#[test]
fn denials_are_told_apart_only_where_the_client_can_do_something() {
    for (denial, reply) in [
        (sasl::Denial::Credentials, "535 5.7.8"),
        (sasl::Denial::Wait, "454 4.7.0"),
        (sasl::Denial::Unavailable, "454 4.3.0"),
    ] {
        let mut world = World {
            denial: Some(denial),
            ..World::default()
        };
        assert_eq!(world.play(LOGIN), [reply]);
    }
}

#[test]
fn a_driver_that_steps_on_without_an_answer_is_closed() {
    let mut world = World::default();
    world.play("QUIT\r\nNOOP\r\n");
    assert!(world.closed);
    let mut session = Session::new(Config {
        role: Role::Submission,
        peer: None,
        hostname: "mail.b.de".into(),
        max_message_size: 1000,
        max_recipients: 10,
        imap: "mail.b.de".into(),
        max_messages: None,
        max_refusals: 20,
        tls: true,
        plain_login: false,
        device: None,
        seed: [0; 32],
        now: 0,
    });
    let mut out = Vec::new();
    session.receive(LOGIN.as_bytes());
    assert!(matches!(session.step(&mut out), Step::Ask(_)));
    assert!(matches!(session.step(&mut out), Step::Close));
}

/// RFC 4865, 6.
#[test]
fn no_more_is_held_back_than_may_be() {
    let mail = "MAIL FROM:<ann@b.de> HOLDFOR=60\r\n";
    let mut world = World {
        held: Some(Trouble::TooMuchHeld),
        ..World::default()
    };
    let told = world.play(&format!("{LOGIN}{mail}RCPT TO:<bob@b.de>\r\n{ENVELOPE}"));
    let expected = [
        "235 2.7.0",
        "552 5.7.16",
        "503 5.5.1",
        "250 2.1.0",
        "250 2.1.5",
    ];
    assert_eq!(told, expected);
    let told = World::default().play(&format!("{LOGIN}{mail}RCPT TO:<bob@b.de>\r\n"));
    assert_eq!(told, ["235 2.7.0", "250 2.1.0", "250 2.1.5"]);
}

#[test]
fn failed_logins_count_apart_from_the_refusals_that_are_waited_for() {
    const WRONG: &str = "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n";
    let refusals = |count: usize| "MAIL FROM:<ann@b.de>\r\n".repeat(count);
    for failures in 0..3 {
        let mut world = World {
            denial: Some(sasl::Denial::Credentials),
            ..World::default()
        };
        let input = format!("EHLO client\r\n{}", WRONG.repeat(failures));
        let told = world.play(&input);
        assert_eq!(told, vec!["535 5.7.8"; failures]);
        assert_eq!(world.guesses, 0);
        world.play(&format!("{input}{}", refusals(2)));
        assert_eq!(world.guesses, 2, "after {failures} failed logins");
    }
    // A message that is taken is a new beginning for what came before it alone.
    let bad = "RCPT TO:<bob@b.de>\r\n";
    let mut world = World::default();
    world.play(&format!("{LOGIN}{bad}{ENVELOPE}{DATA}{bad}{bad}"));
    assert_eq!((world.delivered, world.guesses), (1, 2));
}
