//! The machine alone: bytes in, bytes and steps out.

use super::*;
use crate::address::Address;
use crate::mail::{Account, MailboxId, ModSeq, UidSet};
use crate::sasl::{Denial, Exchange, Mechanism, Verdict};

fn session(tls: bool) -> Session {
    Session::new(Config {
        hostname: "mail.test".into(),
        tls,
        plain_login: false,
        append_limit: 1000,
    })
}

fn give(session: &mut Session, bytes: &str) -> (Step, String) {
    session.input().push(bytes.as_bytes());
    let mut out = Vec::new();
    let step = session.step(&mut out);
    (step, String::from_utf8(out).unwrap())
}

fn ask(step: Step) -> Ask {
    match step {
        Step::Ask(ask) => *ask,
        step => panic!("{step:?}"),
    }
}

fn logged_in() -> Session {
    let mut session = session(true);
    let (step, _) = give(&mut session, "a LOGIN ann secret\r\n");
    assert!(matches!(ask(step), Ask::Login(_)));
    let account = Account {
        id: AccountId(7),
        address: Address::parse("ann@a.test").unwrap(),
        aliases: vec![],
    };
    let mut out = Vec::new();
    session.verdict(Verdict::Granted(account), &mut out);
    assert!(out.starts_with(b"a OK [CAPABILITY IMAP4rev1 "));
    session
}

fn selected(messages: u32) -> Session {
    let mut session = logged_in();
    let (step, _) = give(&mut session, "b SELECT inbox\r\n");
    let Ask::Select { name, read_only } = ask(step) else {
        panic!("no SELECT");
    };
    assert!(name.is_inbox() && !read_only);
    let one = Uid::MIN;
    let mut out = Vec::new();
    session.selected(
        Selected {
            opened: Opened {
                mailbox: MailboxId(3),
                read_only,
                uids: UidSet::from_ranges(vec![(1, messages)]),
                keywords: vec![],
                highest_modseq: ModSeq::MIN,
                first_recent: one,
            },
            uid_validity: one,
            uid_next: one,
            first_unseen: None,
        },
        &mut out,
    );
    assert!(out.ends_with(b"b OK [READ-WRITE] Selected.\r\n"));
    session
}

#[test]
fn commands_may_come_in_pieces() {
    let mut session = session(true);
    for piece in ["a", " NO", "OP\r"] {
        assert!(matches!(give(&mut session, piece).0, Step::NeedInput));
    }
    let (step, _) = give(&mut session, "\n");
    assert!(matches!(ask(step), Ask::Do(Action::Poll(_))));
}

#[test]
fn no_password_is_taken_in_clear() {
    let mut session = session(false);
    let (step, said) = give(&mut session, "a LOGIN ann secret\r\n");
    assert!(matches!(step, Step::NeedInput));
    assert!(said.starts_with("a NO [PRIVACYREQUIRED] "));
    assert!(!session.is_logged_in());
}

#[test]
fn a_login_name_is_prepared_as_in_every_mechanism() {
    let mut session = session(true);
    let (step, _) = give(&mut session, "a LOGIN {8+}\r\nann\u{a0}b\u{ad} secret\r\n");
    let Ask::Login(crate::sasl::Ask::Password { login, .. }) = ask(step) else {
        panic!("no LOGIN");
    };
    assert_eq!(login, "ann b");
}

#[test]
fn what_came_before_tls_is_void() {
    let mut session = session(false);
    let (step, said) = give(&mut session, "a STARTTLS\r\nb NOOP\r\nc LOG");
    assert!(matches!(step, Step::StartTls));
    assert_eq!(said, "a OK Begin TLS.\r\n");
    session.tls_started();
    let (step, said) = give(&mut session, "OUT\r\nd CAPABILITY\r\n");
    assert!(matches!(step, Step::NeedInput));
    assert!(!said.contains("BYE") && said.contains("d OK"));
}

#[test]
fn five_refused_logins_end_it() {
    let mut session = session(true);
    for n in 1..=5 {
        assert!(matches!(
            give(&mut session, "a LOGIN ann no\r\n").0,
            Step::Ask(_)
        ));
        let mut out = Vec::new();
        session.verdict(Verdict::Denied(Denial::Credentials), &mut out);
        assert!(out.starts_with(b"a NO [AUTHENTICATIONFAILED] "));
        assert_eq!(session.is_closed(), n == 5);
    }
}

#[test]
fn a_mechanism_asks_and_is_answered() {
    let mut session = session(true);
    let (step, _) = give(&mut session, "a AUTHENTICATE plain\r\n");
    let Ask::Exchange { mechanism } = ask(step) else {
        panic!("no exchange");
    };
    assert_eq!(mechanism, Mechanism::Plain);
    session.begin(Exchange::new(mechanism, "nonce".into()));
    let (step, said) = give(&mut session, "");
    assert!(matches!(step, Step::NeedInput));
    assert_eq!(said, "+ \r\n");
    let (step, _) = give(&mut session, "AGFubgBzZWNyZXQ=\r\n");
    assert!(matches!(
        ask(step),
        Ask::Login(crate::sasl::Ask::Password { .. })
    ));
}

#[test]
fn numbers_become_uids_before_anybody_is_asked() {
    let mut session = selected(5);
    let (step, _) = give(&mut session, "c FETCH 2:3,* FLAGS\r\n");
    let Ask::Do(Action::Fetch(fetch)) = ask(step) else {
        panic!("no FETCH");
    };
    assert_eq!(fetch.uids, UidSet::from_ranges(vec![(2, 3), (5, 5)]));
    session.complete(&Outcome::ok("Fetched."), &mut Vec::new());
    let (step, said) = give(&mut session, "d FETCH 6 FLAGS\r\n");
    assert!(matches!(step, Step::NeedInput));
    assert_eq!(said, "d BAD There is no message number 6.\r\n");
}

#[test]
fn expunges_wait_for_a_command_that_may_tell_them() {
    let mut session = selected(5);
    let gone = UidSet::from_ranges(vec![(4, 4)]);
    for (command, told) in [("FETCH 1 UID", false), ("NOOP", true)] {
        let (step, _) = give(&mut session, &format!("c {command}\r\n"));
        assert!(matches!(step, Step::Ask(_)));
        session.view_mut().unwrap().expunge(&gone);
        let mut out = Vec::new();
        session.report(&mut out);
        assert_eq!(out == b"* 4 EXPUNGE\r\n", told, "{command}");
        session.complete(&Outcome::ok("Done."), &mut out);
    }
}

#[test]
fn idle_ends_with_done_alone() {
    let mut session = selected(1);
    let (step, said) = give(&mut session, "c IDLE\r\n");
    assert!(matches!(step, Step::Idle) && said.starts_with("+ "));
    assert!(matches!(give(&mut session, "DO").0, Step::Idle));
    let (step, _) = give(&mut session, "ne\r\n");
    assert!(matches!(ask(step), Ask::Do(Action::Poll(_))));
    let mut out = Vec::new();
    session.complete(&Outcome::ok("Idle ended."), &mut out);
    assert_eq!(out, b"c OK Idle ended.\r\n");
}

#[test]
fn a_message_is_handed_through() {
    let mut session = logged_in();
    let (step, _) = give(&mut session, "c APPEND x {6}\r\n");
    let Ask::Append { append, name } = ask(step) else {
        panic!("no APPEND");
    };
    assert_eq!((append.size, name.as_str()), (6, "x"));
    session.accept_append();
    let (step, said) = give(&mut session, "");
    assert!(matches!(step, Step::NeedInput) && said.starts_with("+ "));
    let (step, _) = give(&mut session, "abcdef\r\n");
    let Step::Data(6) = step else {
        panic!("{step:?}");
    };
    assert_eq!(session.data(6), b"abcdef");
    session.taken(6);
    assert!(matches!(ask(give(&mut session, "").0), Ask::AppendEnd));
}

#[test]
fn a_refused_message_is_dropped_and_the_session_stays_in_step() {
    let mut session = logged_in();
    let (step, _) = give(&mut session, "c APPEND x {6+}\r\nabc");
    assert!(matches!(ask(step), Ask::Append { .. }));
    let mut out = Vec::new();
    session.refuse_append(&Outcome::no(Code::TryCreate, "None."), &mut out);
    assert_eq!(out, b"c NO [TRYCREATE] None.\r\n");
    let (step, said) = give(&mut session, "def\r\nd CAPABILITY\r\n");
    assert!(matches!(step, Step::NeedInput) && said.contains("d OK "));
}

#[test]
fn strangers_get_few_tries_at_the_grammar() {
    let mut session = session(true);
    let (step, said) = give(&mut session, &"x BOGUS\r\n".repeat(25));
    assert!(matches!(step, Step::Close));
    assert_eq!(said.matches("x BAD ").count(), 20);
    assert!(said.ends_with("* BYE Too many commands that are none.\r\n"));
}
