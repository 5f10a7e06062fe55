//! What only a driver can bring about: a store that fails, and a maildrop of 100,000.

use super::*;
use crate::address::Address;
use crate::mail::listing::Listing;
use crate::mail::option::Order;
use crate::pop3::maildrop::Maildrop;
use crate::pop3::transaction::MAX_OUTPUT;
use crate::sasl::Verdict;
use std::num::NonZeroU32;
use std::sync::Arc;

const LOGIN: &[u8] = b"USER ann\r\nPASS secret\r\n";

fn session() -> Session {
    Session::new(Config {
        tls: true,
        plain_login: false,
        login_delay: 60,
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
    let mut listing = Listing::default();
    for uid in 1..=messages {
        listing.push(Uid::new(uid).unwrap(), 10);
    }
    Maildrop::new(NonZeroU32::MIN, Arc::new(listing), Order::Ascending)
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
        (Unopened::TooSoon, "-ERR [LOGIN-DELAY] Log in once in 60 "),
        (Unopened::Trouble, "-ERR [SYS/TEMP] "),
        (Unopened::Damaged, "-ERR [SYS/PERM] "),
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

#[test]
fn a_surrogate_is_announced_by_its_own_size_and_ends_once() {
    let message = "From: почта@пример.рф\r\n\r\n";
    for (utf8, body) in [(false, ""), (false, "тело\r\n"), (true, "x")] {
        let mut session = session();
        let mut out = Vec::new();
        session.input().push(if utf8 { b"UTF8\r\n" } else { b"" });
        session.step(&mut out);
        session.input().push(LOGIN);
        session.step(&mut out);
        session.answer(Answer::Verdict(Verdict::Granted(account())), &mut out);
        session.step(&mut out);
        let whole = format!("{message}{body}");
        let mut listing = Listing::default();
        listing.push(Uid::MIN, whole.len() as u32);
        let maildrop = Maildrop::new(NonZeroU32::MIN, Arc::new(listing), Order::Ascending);
        session.answer(Answer::Opened(Ok(maildrop)), &mut out);
        session.input().push(b"RETR 1\r\n");
        session.step(&mut out);
        out.clear();
        session.answer(Answer::Piece(Some(whole.as_bytes())), &mut out);
        assert!(matches!(session.step(&mut out), Step::Ask(Ask::More)));
        session.answer(Answer::Piece(Some(b"")), &mut out);
        assert!(matches!(session.step(&mut out), Step::NeedInput));
        let (first, sent) = text(&out).split_once("\r\n").unwrap();
        let sent = sent.strip_suffix(".\r\n").unwrap();
        if body.ends_with('\n') || body.is_empty() {
            assert_eq!(first, format!("+OK {} octets", sent.len()));
        }
        assert_eq!(sent.starts_with(message), utf8);
        assert!(sent.trim_end().ends_with(body.trim_end()));
    }
}
