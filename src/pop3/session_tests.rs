//! What only a driver can bring about: a store that fails, and a maildrop of 100,000.

use super::*;
use crate::address::Address;
use crate::mail::{DateTime, EmailId, Flags, Message};
use crate::sasl::Verdict;
use std::num::{NonZeroU32, NonZeroU64};

const LOGIN: &[u8] = b"USER ann\r\nPASS secret\r\n";

fn session() -> Session {
    Session::new(Config {
        tls: true,
        plain_login: false,
        seed: [0; 32],
    })
}

fn account() -> Account {
    Account {
        id: AccountId(1),
        address: Address::parse("ann@b.de").unwrap(),
        aliases: Vec::new(),
    }
}

fn maildrop(messages: u32) -> Maildrop {
    let mut maildrop = Maildrop::new(NonZeroU32::MIN, messages);
    for uid in 1..=messages {
        maildrop.push(&Message {
            uid: Uid::new(uid).unwrap(),
            email: EmailId(1),
            flags: Flags::NONE,
            internal_date: DateTime { unix: 0, offset: 0 },
            save_date: 0,
            modseq: NonZeroU64::MIN,
            size: 10,
        });
    }
    maildrop
}

/// Logged in, with what was said so far taken away.
fn logged_in(messages: u32) -> Session {
    let mut session = session();
    let mut out = Vec::new();
    session.input().push(LOGIN);
    assert!(matches!(
        session.step(&mut out),
        Step::Ask(Ask::Authenticate(_))
    ));
    session.answer(Answer::Verdict(Verdict::Granted(account())), &mut out);
    assert!(matches!(
        session.step(&mut out),
        Step::Ask(Ask::Open(AccountId(1)))
    ));
    session.answer(Answer::Opened(Ok(maildrop(messages))), &mut out);
    assert!(matches!(session.step(&mut out), Step::NeedInput));
    session
}

fn text(out: &[u8]) -> &str {
    std::str::from_utf8(out).unwrap()
}

#[test]
fn a_message_that_breaks_off_is_not_ended() {
    let mut session = logged_in(1);
    let mut out = Vec::new();
    session.input().push(b"RETR 1\r\nNOOP\r\n");
    assert!(matches!(
        session.step(&mut out),
        Step::Ask(Ask::Retrieve(_))
    ));
    session.answer(Answer::Piece(Some(b"a: b\r\n")), &mut out);
    assert!(matches!(session.step(&mut out), Step::Ask(Ask::More)));
    session.answer(Answer::Piece(None), &mut out);
    assert!(matches!(session.step(&mut out), Step::Close));
    assert_eq!(text(&out), "+OK 10 octets\r\na: b\r\n");
}

#[test]
fn a_message_that_is_gone_is_an_error_and_no_more() {
    let mut session = logged_in(1);
    let mut out = Vec::new();
    session.input().push(b"TOP 1 0\r\nNOOP\r\n");
    assert!(matches!(
        session.step(&mut out),
        Step::Ask(Ask::Retrieve(_))
    ));
    session.answer(Answer::Piece(None), &mut out);
    assert!(matches!(session.step(&mut out), Step::NeedInput));
    assert!(text(&out).starts_with("-ERR [SYS/TEMP] "));
    assert!(text(&out).ends_with("\r\n+OK \r\n"));
}

#[test]
fn quit_says_if_nothing_was_deleted() {
    for (updated, reply) in [(Ok(()), "+OK Goodbye\r\n"), (Err(()), "-ERR [SYS/TEMP] ")] {
        let mut session = logged_in(2);
        let mut out = Vec::new();
        session.input().push(b"DELE 2\r\nQUIT\r\n");
        match session.step(&mut out) {
            Step::Ask(Ask::Update(update)) => assert_eq!(update.delete.to_string(), "2"),
            step => panic!("{step:?}"),
        }
        out.clear();
        session.answer(Answer::Updated(updated), &mut out);
        assert!(matches!(session.step(&mut out), Step::Close));
        assert!(text(&out).starts_with(reply));
    }
}

#[test]
fn a_maildrop_that_can_not_be_opened_leaves_the_session_before_login() {
    for (unopened, reply) in [
        (Unopened::InUse, "-ERR [IN-USE] "),
        (Unopened::Trouble, "-ERR [SYS/TEMP] "),
    ] {
        let mut session = session();
        let mut out = Vec::new();
        session.input().push(LOGIN);
        session.step(&mut out);
        session.answer(Answer::Verdict(Verdict::Granted(account())), &mut out);
        session.step(&mut out);
        out.clear();
        session.answer(Answer::Opened(Err(unopened)), &mut out);
        session.input().push(b"STAT\r\n");
        assert!(matches!(session.step(&mut out), Step::NeedInput));
        assert!(text(&out).starts_with(reply), "{}", text(&out));
        assert!(text(&out).ends_with("-ERR Log in first\r\n"));
        assert!(session.account().is_none());
    }
}

#[test]
fn denials_are_told_apart_only_where_the_client_can_do_something() {
    for (denial, reply) in [
        (
            Denial::Credentials,
            "-ERR [AUTH] Wrong name or password\r\n",
        ),
        (
            Denial::Wait,
            "-ERR [SYS/TEMP] Too many failed logins, try later\r\n",
        ),
        (
            Denial::Unavailable,
            "-ERR [SYS/TEMP] Logins can't be checked now, try later\r\n",
        ),
    ] {
        let mut session = session();
        let mut out = Vec::new();
        session.input().push(LOGIN);
        session.step(&mut out);
        out.clear();
        session.answer(Answer::Verdict(Verdict::Denied(denial)), &mut out);
        session.step(&mut out);
        assert_eq!(text(&out), reply);
    }
}

#[test]
fn a_long_listing_is_flushed_in_pieces() {
    let mut session = logged_in(100_000);
    let (mut out, mut told) = (Vec::new(), Vec::new());
    session.input().push(b"LIST\r\n");
    loop {
        let step = session.step(&mut out);
        assert!(out.len() < 2 * MAX_OUTPUT);
        told.append(&mut out);
        match step {
            Step::Flush => {}
            Step::NeedInput => break,
            step => panic!("{step:?}"),
        }
    }
    let lines: Vec<&str> = text(&told).lines().collect();
    assert_eq!(lines.len(), 100_002);
    assert_eq!(lines.first(), Some(&"+OK 100000 messages (1000000 octets)"));
    assert_eq!(
        lines.get(99_999..),
        Some(&["99999 10", "100000 10", "."][..])
    );
}
