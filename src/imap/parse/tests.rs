mod numbered;
mod search;

use super::*;

/// The command as its `Debug`, or what is wrong with it.
fn read(line: &str) -> String {
    read_bytes(line.as_bytes())
}

fn read_bytes(line: &[u8]) -> String {
    match command(&[b"a1 ", line].concat()) {
        Ok(request) => {
            assert_eq!(request.tag, "a1");
            format!("{:?}", request.command)
        }
        Err(rejected) => {
            assert_eq!(rejected.tag.as_deref(), Some("a1"));
            match rejected.error {
                ParseError::Syntax(text) => format!("BAD {text}"),
                error => format!("{error:?}"),
            }
        }
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (line, want) in cases {
        assert_eq!(&read(line), want, "{line}");
    }
}

/// Lines that have to be BAD.
#[track_caller]
fn refused(lines: &[&str]) {
    for line in lines {
        let read = read(line);
        assert!(read.starts_with("BAD "), "{line}: {read}");
    }
}

#[test]
fn bare_commands() {
    check(&[
        ("CAPABILITY", "Capability"),
        ("noop", "Noop"),
        ("NOOP  ", "Noop"),
        ("Logout", "Logout"),
        ("STARTTLS", "StartTls"),
        ("NAMESPACE", "Namespace"),
        ("GETQUOTA \"\"", "GetQuota(\"\")"),
        ("getquotaroot inbox", "GetQuotaRoot(\"inbox\")"),
        ("IDLE", "Idle"),
        ("CHECK", "Check"),
        ("CLOSE", "Close"),
        ("UNSELECT", "Unselect"),
        ("EXPUNGE", "Expunge"),
        ("  NOOP", "Noop"),
    ]);
    refused(&[
        "",
        " ",
        "NOOP x",
        "NOOPS",
        "FOO",
        "UID",
        "UID NOOP",
        "UID UID FETCH 1 UID",
        "\"NOOP\"",
        "CHECK()",
        "APPEND inbox x",
        "APPEND",
    ]);
}

#[test]
fn tags() {
    let tag = |line: &[u8]| match command(line) {
        Ok(request) => Some(request.tag),
        Err(rejected) => rejected.tag,
    };
    for right in ["a1", "A.0-9]x", "[", "a/b=c", &"x".repeat(MAX_TAG)] {
        assert_eq!(
            tag(format!("{right} NOOP").as_bytes()).as_deref(),
            Some(right)
        );
    }
    let long = "x".repeat(MAX_TAG + 1);
    for wrong in [
        "", " ", "+", "a+b", "*", "a%", "a(", "a\"", "a{", "a\\", "\0", "é", &long,
    ] {
        let read = tag(format!("{wrong} NOOP").as_bytes());
        // What a longer tag begins with may be read, and then the command is not.
        assert!(
            command(format!("{wrong} NOOP").as_bytes()).is_err(),
            "{wrong}"
        );
        assert_ne!(read.as_deref(), Some(wrong));
    }
}

#[test]
fn logging_in() {
    check(&[
        (
            "LOGIN SMITH SESAME",
            "Login { user: \"SMITH\", password: [redacted] }",
        ),
        (
            "LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man",
            "Login { user: \"FRED FOOBAR\", password: [redacted] }",
        ),
        (
            "login \"a\\\"b\\\\c\" x%*y",
            "Login { user: \"a\\\"b\\\\c\", password: [redacted] }",
        ),
        (
            "AUTHENTICATE plain",
            "Authenticate { mechanism: \"PLAIN\", initial: None }",
        ),
        (
            "AUTHENTICATE PLAIN AHVzZXIAeA==",
            "Authenticate { mechanism: \"PLAIN\", initial: Some([redacted]) }",
        ),
    ]);
    refused(&[
        "LOGIN",
        "LOGIN a",
        "LOGIN a ",
        "LOGIN a b c",
        "LOGIN \"a b",
        "LOGIN a {3}\r\nab",
        "LOGIN a {3}\r\nabcd",
        "LOGIN a {3}abc",
        "LOGIN a b(",
        "LOGIN é x",
        "AUTHENTICATE",
        "AUTHENTICATE PLAIN $$$",
        "AUTHENTICATE PLAIN AHVzZXIAeA",
        "AUTHENTICATE PLAIN AA== AA==",
    ]);
    assert!(read_bytes(b"LOGIN {1}\r\n\0 x").starts_with("BAD"));
    assert!(read_bytes(b"LOGIN \"\xff\" x").starts_with("BAD"));
    let secret = |line: &str| match command(line.as_bytes()).map(|request| request.command) {
        Ok(Command::Login { password, .. }) => password.reveal().clone().into_bytes(),
        Ok(Command::Authenticate { initial, .. }) => {
            initial.map_or(b"none".to_vec(), |initial| initial.reveal().clone())
        }
        other => format!("{other:?}").into_bytes(),
    };
    assert_eq!(secret("a LOGIN u \"p w\""), b"p w");
    assert_eq!(secret("a LOGIN u \"pé\""), "pé".as_bytes());
    assert_eq!(secret("a LOGIN u {4}\r\np\"w\r"), b"p\"w\r");
    assert_eq!(secret("a LOGIN u \"\""), b"");
    assert_eq!(secret("a AUTHENTICATE PLAIN ="), b"");
    assert_eq!(secret("a AUTHENTICATE PLAIN AHVzZXIAeA==  "), b"\0user\0x");
}

#[test]
fn id_and_enable() {
    check(&[
        ("ID NIL", "Id([])"),
        ("ID", "Id([])"),
        ("ID ()", "Id([])"),
        (
            "ID (\"name\" \"x\" \"os\" NIL)",
            "Id([(\"name\", Some(\"x\")), (\"os\", None)])",
        ),
        ("ENABLE condstore X", "Enable([\"CONDSTORE\", \"X\"])"),
    ]);
    refused(&["ID x", "ID (\"a\")", "ID (a b)", "ENABLE", "ENABLE (x)"]);
    refused(&[&format!("ID ({})", "\"a\" NIL ".repeat(MAX_ID_PAIRS + 1))]);
    refused(&[&format!("ENABLE{}", " X".repeat(MAX_NAMES + 1))]);
}

#[test]
fn mailboxes() {
    check(&[
        (
            "SELECT INBOX",
            "Select { mailbox: \"INBOX\", read_only: false, condstore: false }",
        ),
        (
            "EXAMINE \"a b\" (CONDSTORE)",
            "Select { mailbox: \"a b\", read_only: true, condstore: true }",
        ),
        (
            "select \"Entw&APw-rfe\" ( condstore )",
            "Select { mailbox: \"Entwürfe\", read_only: false, condstore: true }",
        ),
        (
            "SELECT x ()",
            "Select { mailbox: \"x\", read_only: false, condstore: false }",
        ),
        (
            "CREATE owatagusiam/",
            "Create { mailbox: \"owatagusiam/\", special_use: [] }",
        ),
        (
            "CREATE MySent (USE (\\Sent \\drafts))",
            "Create { mailbox: \"MySent\", special_use: [Sent, Drafts] }",
        ),
        ("CREATE x (USE (\\All))", "SpecialUse"),
        ("DELETE blurdybloop", "Delete(\"blurdybloop\")"),
        ("DELETE {5}\r\nR&-D\"", "Delete(\"R&D\\\"\")"),
        (
            "RENAME blurdybloop sarasoop",
            "Rename { from: \"blurdybloop\", to: \"sarasoop\" }",
        ),
        (
            "SUBSCRIBE #news.comp.mail.mime",
            "Subscribe(\"#news.comp.mail.mime\")",
        ),
        ("UNSUBSCRIBE \"\"", "Unsubscribe(\"\")"),
        ("DELETE R&D", "MailboxName"),
        ("DELETE \"Entwürfe\"", "MailboxName"),
    ]);
    refused(&[
        "SELECT",
        "SELECT a b",
        "SELECT a (QRESYNC (1 2))",
        "SELECT é",
        "CREATE",
        "CREATE a (b)",
        "CREATE a (USE \\Sent)",
        "CREATE a (USE (Sent))",
        "CREATE a (USE (\\Sent)",
        "RENAME a",
        "RENAME a b c",
    ]);
}

#[test]
fn listing() {
    let list = |line: &str| match command(format!("a {line}").as_bytes()) {
        Ok(Request {
            command: Command::List(list),
            ..
        }) => {
            let options = [
                (list.select_subscribed, "subscribed"),
                (list.select_remote, "remote"),
                (list.select_recursive_match, "recursive"),
                (list.select_special_use, "special-use"),
                (list.return_subscribed, "+subscribed"),
                (list.return_children, "+children"),
                (list.return_special_use, "+special-use"),
            ];
            let set: Vec<&str> = options.iter().filter(|o| o.0).map(|o| o.1).collect();
            format!(
                "{} {:?} {} {:?}",
                list.reference,
                list.patterns,
                set.join(" "),
                list.return_status
            )
        }
        other => format!("{other:?}"),
    };
    let cases = [
        ("LIST \"\" \"\"", " [\"\"]  []"),
        ("LIST ~/Mail/ %", "~/Mail/ [\"%\"]  []"),
        ("LIST \"\" *", " [\"*\"]  []"),
        ("LIST \"\" Entw&APw-r*", " [\"Entwür*\"]  []"),
        ("LIST \"\" \"R&D*\"", " [\"R&D*\"]  []"),
        (
            "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (INBOX \"a/%\" {1}\r\n*)",
            " [\"INBOX\", \"a/%\", \"*\"] subscribed recursive []",
        ),
        ("LIST () \"\" x", " [\"x\"]  []"),
        ("LIST (REMOTE) \"\" x", " [\"x\"] remote []"),
        (
            "LIST (special-use) \"\" * RETURN (SPECIAL-USE CHILDREN subscribed)",
            " [\"*\"] special-use +subscribed +children +special-use []",
        ),
        (
            "LIST \"\" % RETURN (STATUS (MESSAGES UNSEEN) CHILDREN)",
            " [\"%\"] +children [Messages, Unseen]",
        ),
        ("LIST \"\" % RETURN ()", " [\"%\"]  []"),
        ("XLIST \"\" %", " [\"%\"] +special-use []"),
    ];
    for (line, want) in cases {
        assert_eq!(list(line), want, "{line}");
    }
    refused(&[
        "LIST",
        "LIST \"\"",
        "LIST \"\" a b",
        "LIST \"\" é",
        "LIST (RECURSIVEMATCH) \"\" *",
        "LIST (RECURSIVEMATCH REMOTE) \"\" *",
        "LIST (FOO) \"\" *",
        "LIST \"\" * RETURN",
        "LIST \"\" * RETURN (FOO)",
        "LIST \"\" * RETURN (STATUS)",
        "LIST \"\" * RETURN (CHILDREN",
        "LIST \"\" (",
    ]);
    refused(&[&format!("LIST \"\" ({})", "a ".repeat(65))]);
    check(&[
        (
            "LSUB \"#news.\" \"comp.mail.*\"",
            "Lsub { reference: \"#news.\", pattern: \"comp.mail.*\" }",
        ),
        (
            "STATUS blurdybloop (UIDNEXT MESSAGES)",
            "Status { mailbox: \"blurdybloop\", items: [UidNext, Messages] }",
        ),
        (
            "STATUS x (messages recent uidnext uidvalidity unseen deleted size highestmodseq appendlimit size)",
            "Status { mailbox: \"x\", items: [Messages, Recent, UidNext, UidValidity, Unseen, \
             Deleted, Size, HighestModSeq, AppendLimit] }",
        ),
    ]);
    refused(&[
        "LSUB \"\"",
        "STATUS x",
        "STATUS x ()",
        "STATUS x MESSAGES",
        "STATUS x (FOO)",
    ]);
}

/// Every command line of the examples in RFC 3501, 6, literals put in place.
#[test]
fn examples_of_rfc_3501() {
    let lines = [
        "abcd CAPABILITY",
        "efgh STARTTLS",
        "a002 NOOP",
        "A023 LOGOUT",
        "a002 AUTHENTICATE GSSAPI",
        "a001 LOGIN SMITH SESAME",
        "A142 SELECT INBOX",
        "A932 EXAMINE blurdybloop",
        "A003 CREATE owatagusiam/",
        "A004 CREATE owatagusiam/blurdybloop",
        "A682 LIST \"\" *",
        "A683 DELETE blurdybloop",
        "A684 DELETE foo",
        "A685 DELETE foo/bar",
        "Z432 LIST \"\" *",
        "Z433 RENAME INBOX old-mail",
        "A002 SUBSCRIBE #news.comp.mail.mime",
        "A002 UNSUBSCRIBE #news.comp.mail.mime",
        "A101 LIST \"\" \"\"",
        "A102 LIST #news.comp.mail.misc \"\"",
        "A103 LIST /usr/staff/jones \"\"",
        "A202 LIST ~/Mail/ %",
        "A002 LSUB \"#news.\" \"comp.mail.*\"",
        "A003 LSUB \"#news.\" \"comp.%\"",
        "A042 STATUS blurdybloop (UIDNEXT MESSAGES)",
        "FXXZ CHECK",
        "A341 CLOSE",
        "A202 EXPUNGE",
        "A282 SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
        "A283 SEARCH TEXT \"string not in mailbox\"",
        "A284 SEARCH CHARSET UTF-8 TEXT {6}\r\nпри",
        "A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
        "A003 STORE 2:4 +FLAGS (\\Deleted)",
        "A003 COPY 2:4 MEETING",
        "A999 UID FETCH 4827313:4828442 FLAGS",
    ];
    for line in lines {
        let tag = line.split(' ').next();
        match command(line.as_bytes()) {
            Ok(request) => assert_eq!(Some(request.tag.as_str()), tag),
            Err(rejected) => panic!("{line}: {rejected:?}"),
        }
    }
}

#[test]
fn append_heads() {
    let literal = Announced {
        size: 310,
        non_synchronizing: false,
        binary: false,
    };
    let head = |text: &str| match append(text.as_bytes(), Some(literal)) {
        None => "none".to_owned(),
        Some(Ok((it, _))) => format!(
            "{} {} {:?} {:?} {}",
            it.tag,
            it.mailbox,
            it.flags,
            it.date.map(|d| d.unix),
            it.size
        ),
        Some(Err(rejected)) => format!("{rejected:?}"),
    };
    let plain = "FlagNames { system: Flags(0), keywords: [] }";
    let seen = "FlagNames { system: Flags(1), keywords: [\"x\"] }";
    // RFC 3501, 6.3.11.
    assert_eq!(
        head("A003 APPEND saved-messages (\\Seen x) "),
        format!("A003 saved-messages {seen} None 310")
    );
    assert_eq!(
        head("a append {5}\r\nINBOX "),
        format!("a INBOX {plain} None 310")
    );
    assert_eq!(
        head("a APPEND \"&AOk-\" () \" 1-Feb-1994 00:00:00 +0000\" "),
        format!("a é {plain} Some(760060800) 310")
    );
    for other in [
        "a APPEND ",
        "a LOGIN ",
        "a APPENDIX INBOX ",
        "+ APPEND x ",
        "",
    ] {
        assert_eq!(head(other), "none", "{other}");
    }
    for wrong in [
        "a APPEND INBOX",
        "a APPEND INBOX (\\Seen",
        "a APPEND INBOX (\\Recent) ",
        "a APPEND INBOX \"1-Feb-1994\" ",
        "a APPEND INBOX x ",
        "a APPEND INBOX (",
    ] {
        assert!(head(wrong).contains("Syntax"), "{wrong}: {}", head(wrong));
    }
    assert!(head("a APPEND R&D ").contains("MailboxName"));
}
