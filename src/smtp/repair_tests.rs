use super::*;
use crate::address::Address;
use crate::mail::{Account, AccountId};

const RECEIVED: &str = "Return-Path: <ann@b.de>\r\n\
    Received: from home by mail.b.de with ESMTPSA id x1;\r\n\tTue, 14 Nov 2023 23:13:20 +0100\r\n";
const MISSING: &str = "Message-ID: <x1@mail.b.de>\r\nDate: Tue, 14 Nov 2023 23:13:20 +0100\r\n";

fn repair() -> Repair {
    let account = Account {
        id: AccountId(1),
        address: Address::parse("ann@b.de").unwrap(),
        aliases: vec![Address::parse("info@b.de").unwrap()],
    };
    let trace = Trace {
        hostname: "mail.b.de".into(),
        client: "home".into(),
        sender: "ann@b.de".into(),
        tls: true,
        login: true,
        smtputf8: false,
        priority: 0,
    };
    let stamp = Stamp {
        date: DateTime {
            unix: 1_700_000_000,
            offset: 60,
        },
        id: "x1".into(),
    };
    let author = Author::Account {
        account,
        grants: Vec::new(),
    };
    Repair::new(author, trace, stamp)
}

/// The whole message, fed in steps; the outcome must not depend on them.
fn repaired(message: &str) -> Result<String, Reply> {
    let whole = fed(repair(), message, message.len().max(1));
    for step in 1..8 {
        assert_eq!(fed(repair(), message, step), whole, "in steps of {step}");
    }
    whole
}

fn fed(mut repair: Repair, message: &str, step: usize) -> Result<String, Reply> {
    let mut out = Vec::new();
    for chunk in message.as_bytes().chunks(step) {
        match repair.push(chunk)? {
            Output::Nothing => {}
            Output::Header(header) => out.extend(header),
            Output::Body(body) => out.extend_from_slice(body),
        }
    }
    out.extend(repair.finish()?);
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_whole_header_gets_trace_fields_alone() {
    let message = "From: ann@b.de\r\nDate: x\r\nmessage-id: <y@z>\r\n\r\n\r\nBcc: body\r\n";
    assert_eq!(repaired(message), Ok(format!("{RECEIVED}{message}")));
}

#[test]
fn what_misses_is_added() {
    let message = "From: ann@b.de\r\n\r\nhello\r\n";
    assert_eq!(
        repaired(message),
        Ok(format!("{RECEIVED}{MISSING}{message}"))
    );
}

#[test]
fn a_message_id_that_is_none_is_replaced() {
    for good in [
        "<a@b>",
        " <a.b=$x@[1.2.3.4]>  (made up)",
        "\r\n <ü@b.de>",
        "<a@b@c>",
    ] {
        let message = format!("From: ann@b.de\r\nDate: x\r\nMessage-ID:{good}\r\n\r\nhi\r\n");
        assert_eq!(repaired(&message), Ok(format!("{RECEIVED}{message}")));
    }
    for bad in [
        "",
        " ",
        " a@b",
        " <a>",
        " <@b>",
        " <a@>",
        " <a b@c>",
        " <a@b",
        " <a@b> <c@d>",
    ] {
        let message = format!("From: ann@b.de\r\nMessage-ID:{bad}\r\nDate: x\r\n\r\nhi\r\n");
        let rest = "From: ann@b.de\r\nDate: x\r\n\r\nhi\r\n";
        let made = "Message-ID: <x1@mail.b.de>\r\n";
        assert_eq!(
            repaired(&message),
            Ok(format!("{RECEIVED}{made}{rest}")),
            "{bad}"
        );
    }
}

#[test]
fn bcc_and_return_path_go_with_their_folds_in_any_spelling() {
    let message = "Return-Path: <evil@x>\r\nFrom: ann@b.de\r\nbCC: a@b.de,\r\n\tc@d.de\r\n \r\n\
        Subject: kept\r\n folded\r\nResent-Bcc : x@y.de\r\nBcc:\r\n\r\nbody\r\n";
    let rest = "From: ann@b.de\r\nSubject: kept\r\n folded\r\n\r\nbody\r\n";
    assert_eq!(repaired(message), Ok(format!("{RECEIVED}{MISSING}{rest}")));
}

#[test]
fn the_first_line_that_is_no_field_begins_the_body() {
    let message = "From: ann@b.de\r\nno field\r\nFrom: evil@x.de\r\nBcc: in the body\r\n";
    let rest = "From: ann@b.de\r\n\r\nno field\r\nFrom: evil@x.de\r\nBcc: in the body\r\n";
    assert_eq!(repaired(message), Ok(format!("{RECEIVED}{MISSING}{rest}")));
}

#[test]
fn a_header_without_an_end_gets_one() {
    let rest = "From: ann@b.de\r\n\r\n";
    for message in ["From: ann@b.de\r\n", "From: ann@b.de"] {
        assert_eq!(repaired(message), Ok(format!("{RECEIVED}{MISSING}{rest}")));
    }
}

#[test]
fn authors_must_be_the_accounts_own() {
    for fine in [
        "From: Ann <ANN@B.de>",
        "From: info@b.de, ann+news@b.de",
        "From: ann@b.de\r\nSender: info@b.de",
    ] {
        assert!(repaired(&format!("{fine}\r\n\r\n")).is_ok(), "{fine}");
    }
    for (header, text) in [
        ("", "no From field"),
        ("Subject: x", "no From field"),
        (" From: ann@b.de", "no From field"),
        ("no field\r\nFrom: ann@b.de", "no From field"),
        ("From: ann@b.de\r\nFrom: ann@b.de", "more than one From"),
        (
            "From: bob@b.de",
            "names bob@b.de; this login sends as ann@b.de, info@b.de only",
        ),
        ("From: ann@b.de, bob@b.de", "names bob@b.de"),
        ("From: bob@b.de <ann@b.de>", "not a list of addresses"),
        ("From:", "not a list of addresses"),
        (
            "From: ann@b.de\r\nSender: bob@b.de",
            "The Sender field names bob@b.de",
        ),
        (
            "From: ann@b.de\r\nSender: x\r\nsender: y",
            "more than one Sender",
        ),
    ] {
        let reply = repaired(&format!("{header}\r\n\r\nbody\r\n")).unwrap_err();
        assert_eq!((reply.code, reply.enhanced), (550, "5.7.1"), "{header}");
        assert!(reply.text.contains(text), "{header}: {}", reply.text);
    }
}

#[test]
fn a_header_without_measure_is_refused() {
    let mut repair = repair();
    let line = format!("X-Long: {}\r\n", "x".repeat(1000));
    let refused = (0..300).find_map(|_| repair.push(line.as_bytes()).err());
    assert_eq!(refused.map(|reply| reply.code), Some(552));
}

#[test]
fn received_says_how_and_not_from_where() {
    let mut repair = repair();
    repair.trace = Trace {
        client: "[192.0.2.1]".into(),
        sender: String::new(),
        tls: false,
        smtputf8: true,
        priority: -3,
        ..repair.trace
    };
    let message = fed(repair, "From: ann@b.de\r\n\r\n", 100).unwrap();
    // RFC 6710, 7.
    let head = "Return-Path: <>\r\nReceived: by mail.b.de with UTF8SMTPA id x1 PRIORITY -3;\r\n";
    assert!(message.starts_with(head), "{message}");
}
