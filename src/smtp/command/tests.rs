use super::*;
use crate::mail::outgoing::{Body, Ret};

fn code(line: &str) -> u16 {
    parse(line.as_bytes()).err().map_or(250, |reply| reply.code)
}

fn mail_of(line: &str) -> Mail {
    match parse(line.as_bytes()) {
        Ok(Command::Mail(mail)) => mail,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn verbs_are_found_in_any_case_and_take_what_they_take() {
    assert_eq!(parse(b"quit"), Ok(Command::Quit));
    assert_eq!(parse(b"rSeT  "), Ok(Command::Rset));
    assert_eq!(parse(b"NOOP whatever"), Ok(Command::Noop));
    assert_eq!(
        parse(b"EHLO [192.0.2.1]"),
        Ok(Command::Ehlo("[192.0.2.1]".into()))
    );
    assert_eq!(
        parse("EHLO bücher".as_bytes()),
        Ok(Command::Ehlo("b-cher".into()))
    );
    for line in [
        "EHLO",
        "EHLO a b",
        "HELO a;b",
        "RSET now",
        "DATA x",
        "VRFY",
        "STARTTLS 1",
    ] {
        assert_eq!(code(line), 501, "{line}");
    }
    for line in ["", "HALLO x", "MAILFROM:<a@b.de>"] {
        assert_eq!(code(line), 500, "{line}");
    }
    assert_eq!(parse(b"NOOP \0").err().map(|r| r.code), Some(500));
    assert_eq!(parse(b"NOOP \xff").err().map(|r| r.code), Some(500));
}

#[test]
fn mail_takes_its_parameters() {
    let mail =
        mail_of("MAIL FROM:<a@b.de> SIZE=100 BODY=8bitmime RET=hdrs ENVID=QQ+2B1 AUTH=<> SMTPUTF8");
    let expected = Envelope {
        sender: Address::parse("a@b.de").ok(),
        smtputf8: true,
        body: Body::EightBitMime,
        envelope_id: Some("QQ+1".into()),
        ret: Some(Ret::Headers),
        ..Envelope::default()
    };
    assert_eq!((mail.size, mail.envelope), (Some(100), expected));
    assert_eq!(mail.sender.map(|path| path.text), Some("a@b.de".into()));
    assert_eq!(mail_of("mail from:<>").sender, None);
    assert_eq!(mail_of("MAIL FROM: <a@b.de>").size, None);
    let routed = mail_of("MAIL FROM:<@x.de,@y.de:a@b.de>").sender;
    assert_eq!(routed.map(|path| path.text), Some("a@b.de".into()));
    let quoted = mail_of("MAIL FROM:<\"a>\\\"b\"@b.de> SIZE=1").sender;
    assert_eq!(
        quoted.map(|path| path.address.local().into()),
        Some("a>\"b".to_string())
    );
}

#[test]
fn mail_says_when_how_and_how_urgently() {
    let mail = mail_of("MAIL FROM:<a@b.de> REQUIRETLS MT-PRIORITY=-3 BY=+120;rt");
    let by = DeliverBy {
        until: 120,
        returns: true,
        trace: true,
    };
    assert_eq!(mail.deliver_by, Some(by));
    assert_eq!(
        (mail.envelope.priority, mail.envelope.require_tls),
        (-3, true)
    );
    let late = mail_of("MAIL FROM:<a@b.de> BY=-120;N").deliver_by;
    assert_eq!(late.map(|by| (by.until, by.returns)), Some((-120, false)));
    for wrong in [
        "REQUIRETLS=1",
        "MT-PRIORITY",
        "MT-PRIORITY=10",
        "MT-PRIORITY=+1",
        "MT-PRIORITY=-",
        "MT-PRIORITY=-0",
        "BY=0;R",
        "BY=-1;R",
        "BY=1234567890;R",
        "BY=10",
        "BY=10;X",
        "BY=;N",
        "BY=--1;N",
    ] {
        assert_eq!(code(&format!("MAIL FROM:<a@b.de> {wrong}")), 501, "{wrong}");
    }
}

#[test]
fn mail_says_how_long_it_is_held_back() {
    for (parameter, expected) in [
        ("HOLDFOR=1", Hold::For(1)),
        ("holdfor=999999999", Hold::For(999_999_999)),
        ("HOLDUNTIL=1970-01-02T00:00:00Z", Hold::Until(86_400)),
        ("HOLDUNTIL=1970-01-02t01:00:00.5+01:00", Hold::Until(86_401)),
    ] {
        let mail = mail_of(&format!("MAIL FROM:<a@b.de> {parameter}"));
        assert_eq!(mail.hold, Some(expected));
    }
    for wrong in [
        "HOLDFOR",
        "HOLDFOR=0",
        "HOLDFOR=060",
        "HOLDFOR=-1",
        "HOLDFOR=1000000000",
        "HOLDFOR=1h",
        "HOLDUNTIL=86400",
        "HOLDUNTIL=1970-01-02",
        "HOLDUNTIL=1970-01-02T00:00:00",
        "HOLDUNTIL=1970-13-02T00:00:00Z",
        "HOLDUNTIL=1970-01-02T00:00:00Z[UTC]",
        "HOLDFOR=1 HOLDUNTIL=1970-01-02T00:00:00Z",
        "HOLDFOR=1 HOLDFOR=2",
    ] {
        assert_eq!(code(&format!("MAIL FROM:<a@b.de> {wrong}")), 501, "{wrong}");
    }
}

#[test]
fn rcpt_says_what_to_tell() {
    let notify = |line: &str| match parse(line.as_bytes()) {
        Ok(Command::Rcpt(_, wishes)) => {
            let it = wishes.notify;
            (it.success, it.failure, it.delay, it.given)
        }
        other => panic!("{line}: {other:?}"),
    };
    for (parameter, expected) in [
        ("", (false, true, true, false)),
        (" NOTIFY=never", (false, false, false, true)),
        (" NOTIFY=SUCCESS,delay", (true, false, true, true)),
        (" NOTIFY=FAILURE", (false, true, false, true)),
    ] {
        assert_eq!(notify(&format!("RCPT TO:<a@b.de>{parameter}")), expected);
    }
}

#[test]
fn what_mail_and_rcpt_refuse() {
    for (line, expected) in [
        ("MAIL FROM:a@b.de", 501),
        ("MAIL TO:<a@b.de>", 501),
        ("MAIL", 501),
        ("MAIL FROM:<a@b.de", 501),
        ("MAIL FROM:<a b@c.de>", 501),
        ("MAIL FROM:<a@b.de>SIZE=1", 501),
        ("MAIL FROM:<a@b.de> SIZE=-1", 501),
        ("MAIL FROM:<a@b.de> SIZE=", 501),
        ("MAIL FROM:<a@b.de> SIZE", 501),
        ("MAIL FROM:<a@b.de> SIZE=1 size=2", 501),
        ("MAIL FROM:<a@b.de> BODY=9BIT", 504),
        ("MAIL FROM:<a@b.de> SMTPUTF8=1", 501),
        ("MAIL FROM:<a@b.de> RET=ALL", 501),
        ("MAIL FROM:<a@b.de> ENVID=a=b", 501),
        ("MAIL FROM:<a@b.de> ENVID=a+zz", 501),
        ("MAIL FROM:<a@b.de> ENVID=a+0D+0AAction:", 501),
        ("MAIL FROM:<a@b.de> ENVID=+C3+A9", 501),
        ("MAIL FROM:<a@b.de> X-TRA=1", 555),
        ("MAIL FROM:<ä@b.de>", 553),
        ("RCPT TO:<>", 501),
        ("RCPT TO:<a@b.de> NOTIFY=NEVER,DELAY", 501),
        ("RCPT TO:<a@b.de> NOTIFY=", 501),
        ("RCPT TO:<a@b.de> ORCPT=rfc822", 501),
        ("RCPT TO:<a@b.de> ORCPT=rfc822;a=b", 501),
        ("RCPT TO:<a@b.de> ORCPT=rfc822;a+0Ab", 501),
        ("RCPT TO:<a@b.de> ORCPT=utf-8;a=b", 501),
        ("RCPT TO:<a@b.de> ORCPT=utf-8;a\\b", 501),
        ("RCPT TO:<a@b.de> ORCPT=utf-8;a\\x{+41}", 501),
        ("RCPT TO:<a@b.de> ORCPT=utf-8;a\\x{D800}", 501),
        ("RCPT TO:<a@b.de> ORCPT=utf-8;a\\x{A}b", 501),
        ("RCPT TO:<a@b.de> ORCPT=a(b);c", 501),
        ("RCPT TO:<a@b.de> SIZE=1", 555),
        ("BDAT", 501),
        ("BDAT x", 501),
        ("BDAT 1 FIRST", 501),
        ("AUTH", 501),
        ("AUTH PLAIN a b", 501),
    ] {
        assert_eq!(code(line), expected, "{line}");
    }
    for line in [
        "RCPT TO:<a@b.de> NOTIFY=success,FAILURE ORCPT=rfc822;a+2Bb@c.de",
        "RCPT TO:<a@b.de> ORCPT=x_y/z;+20",
        "RCPT TO:<a@b.de> ORCPT=rfc822;",
        "RCPT TO:<a@b.de> ORCPT=utf-8;\\x{E9}@b.de",
        "RCPT TO:<postmaster>",
        "RCPT TO:<Postmaster@b.de>",
        "BDAT 0 LAST",
        "BDAT 18446744073709551615",
        "AUTH PLAIN =",
    ] {
        assert_eq!(code(line), 250, "{line}");
    }
}

#[test]
fn an_address_beyond_ascii_is_the_same_in_either_form() {
    for (written, expected) in [
        ("utf-8;\\x{E9}\\x{2B}a@b.de", "utf-8;\u{e9}+a@b.de"),
        ("UTF-8;\u{e9}+a@b.de", "UTF-8;\u{e9}+a@b.de"),
        ("utf-8;a\\x{5C}b@b.de", "utf-8;a\\b@b.de"),
    ] {
        let decoded = parameter::original_recipient(written).unwrap();
        assert_eq!(decoded, expected);
    }
}
