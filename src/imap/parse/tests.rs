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

/// `FETCH 1 {item}`: the items alone.
fn items(items: &str) -> String {
    let read = read(&format!("FETCH 1 {items}"));
    let inside = read
        .strip_prefix("Fetch { uid: false, set: SequenceSet([(Some(1), Some(1))]), items: [")
        .and_then(|read| read.strip_suffix("], changed_since: None }"));
    inside.map_or(read.clone(), str::to_owned)
}

#[test]
fn fetching() {
    check(&[
        (
            "UID FETCH 443:*,7 FLAGS",
            "Fetch { uid: true, set: SequenceSet([(Some(443), None), (Some(7), Some(7))]), \
             items: [Flags], changed_since: None }",
        ),
        (
            "FETCH * (FLAGS) (CHANGEDSINCE 12345)",
            "Fetch { uid: false, set: SequenceSet([(None, None)]), \
             items: [Flags, ModSeq], changed_since: Some(12345) }",
        ),
        (
            "FETCH * MODSEQ (CHANGEDSINCE 0)",
            "Fetch { uid: false, set: SequenceSet([(None, None)]), \
             items: [ModSeq], changed_since: Some(0) }",
        ),
    ]);
    let section = |path: &str, text: &str, peek: bool, partial: &str, name: &str| {
        format!(
            "Section {{ section: Section {{ path: [{path}], text: {text} }}, \
             peek: {peek}, partial: {partial}, name: {name} }}"
        )
    };
    let cases = [
        (
            "ALL",
            "Flags, InternalDate, Rfc822Size, Envelope".to_owned(),
        ),
        ("fast", "Flags, InternalDate, Rfc822Size".into()),
        (
            "FULL",
            "Flags, InternalDate, Rfc822Size, Envelope, Body".into(),
        ),
        (
            "( UID FLAGS  INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE MODSEQ FLAGS )",
            "Uid, Flags, InternalDate, Rfc822Size, Envelope, Body, BodyStructure, ModSeq".into(),
        ),
        ("RFC822", section("", "All", false, "None", "Rfc822")),
        (
            "RFC822.HEADER",
            section("", "Header", true, "None", "Rfc822Header"),
        ),
        (
            "RFC822.TEXT",
            section("", "Text", false, "None", "Rfc822Text"),
        ),
        ("BODY[]", section("", "All", false, "None", "Body")),
        ("(BODY.PEEK[])", section("", "All", true, "None", "Body")),
        ("body[header]", section("", "Header", false, "None", "Body")),
        ("BODY[2.1]", section("2, 1", "All", false, "None", "Body")),
        ("BODY[3.text]", section("3", "Text", false, "None", "Body")),
        ("BODY[3.MIME]", section("3", "Mime", false, "None", "Body")),
        (
            "BODY.PEEK[HEADER.FIELDS (Date \"From\" {2}\r\nTo)]",
            section(
                "",
                "HeaderFields([\"Date\", \"From\", \"To\"])",
                true,
                "None",
                "Body",
            ),
        ),
        (
            "BODY[1.HEADER.FIELDS.NOT ( x-y )]<0.5>",
            section(
                "1",
                "HeaderFieldsNot([\"x-y\"])",
                false,
                "Some(Partial { start: 0, count: 5 })",
                "Body",
            ),
        ),
        (
            "BODY[]<7.9999999999>",
            section(
                "",
                "All",
                false,
                "Some(Partial { start: 7, count: 4294967295 })",
                "Body",
            ),
        ),
        (
            "BODY[]<7>",
            section(
                "",
                "All",
                false,
                "Some(Partial { start: 7, count: 4294967295 })",
                "Body",
            ),
        ),
        (
            "BINARY[1.2]",
            "Binary { path: [1, 2], peek: false, partial: None }".into(),
        ),
        (
            "BINARY.PEEK[]<1.2>",
            "Binary { path: [], peek: true, partial: Some(Partial { start: 1, count: 2 }) }".into(),
        ),
        ("BINARY.SIZE[1]", "BinarySize([1])".into()),
        (
            "(UID BODY[1] BODY[1])",
            format!("Uid, {}", section("1", "All", false, "None", "Body")),
        ),
    ];
    for (line, want) in cases {
        assert_eq!(items(line), want, "{line}");
    }
    refused(&[
        "FETCH",
        "FETCH 1",
        "FETCH FLAGS",
        "FETCH 0 FLAGS",
        "FETCH 1,,2 FLAGS",
        "FETCH $ FLAGS",
        "FETCH 1 ()",
        "FETCH 1 FLAGS UID",
        "FETCH 1 (FLAGS",
        "FETCH 1 FLAGS)",
        "FETCH 1 (FLAGS)x",
        "FETCH 1 (ALL)",
        "FETCH 1 FOO",
        "FETCH 1 BODY[",
        "FETCH 1 BODY[1.]",
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[.1]",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[FOO]",
        "FETCH 1 BODY[1 ]",
        "FETCH 1 BODY[4294967296]",
        "FETCH 1 BODY[HEADER.FIELDS]",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 1 BODY[HEADER.FIELDS(x)]",
        "FETCH 1 BODY []",
        "FETCH 1 BODY.PEEK",
        "FETCH 1 BODY[]<>",
        "FETCH 1 BODY[]<1.",
        "FETCH 1 BODY[]<-1.1>",
        "FETCH 1 BINARY[TEXT]",
        "FETCH 1 BINARY[1.]",
        "FETCH 1 BINARY.SIZE[1]<0.1>",
        "FETCH 1 FLAGS (FOO 1)",
        "FETCH 1 FLAGS (CHANGEDSINCE)",
        "FETCH 1 FLAGS (CHANGEDSINCE 99999999999999999999)",
    ]);
    refused(&[&format!("FETCH 1 BODY[{}1]", "1.".repeat(100))]);
    refused(&[&format!("FETCH 1 ({})", "UID ".repeat(257))]);
    refused(&[&format!(
        "FETCH 1 BODY[HEADER.FIELDS ({})]",
        "X ".repeat(257)
    )]);
}

#[test]
fn storing_and_moving() {
    check(&[
        (
            "STORE 2:4 +FLAGS (\\Deleted)",
            "Store(StoreFlags { uid: false, set: SequenceSet([(Some(2), Some(4))]), change: Add, \
             flags: FlagNames { system: Flags(8), keywords: [] }, silent: false, \
             unchanged_since: None })",
        ),
        (
            "UID STORE 7 (UNCHANGEDSINCE 320) -flags.silent \\seen $X $x y",
            "Store(StoreFlags { uid: true, set: SequenceSet([(Some(7), Some(7))]), change: Remove, \
             flags: FlagNames { system: Flags(1), keywords: [\"$X\", \"y\"] }, silent: true, \
             unchanged_since: Some(320) })",
        ),
        (
            "STORE 1 FLAGS ()",
            "Store(StoreFlags { uid: false, set: SequenceSet([(Some(1), Some(1))]), change: Set, \
             flags: FlagNames { system: Flags(0), keywords: [] }, silent: false, \
             unchanged_since: None })",
        ),
        (
            "COPY 2:4 MEETING",
            "Copy { uid: false, set: SequenceSet([(Some(2), Some(4))]), mailbox: \"MEETING\" }",
        ),
        (
            "UID MOVE 1 \"a b\"",
            "Move { uid: true, set: SequenceSet([(Some(1), Some(1))]), mailbox: \"a b\" }",
        ),
        (
            "UID EXPUNGE 3000:3002",
            "UidExpunge(SequenceSet([(Some(3000), Some(3002))]))",
        ),
    ]);
    refused(&[
        "STORE 1",
        "STORE 1 FLAGS",
        "STORE 1 FLAGS (\\Recent)",
        "STORE 1 FLAGS (\\Foo)",
        "STORE 1 FLAGS (a]b)",
        "STORE 1 FLAGS (a*)",
        "STORE 1 FLAGS (\"a\")",
        "STORE 1 +FLAG (a)",
        "STORE 1 + FLAGS a",
        "STORE 1 (FOO 1) FLAGS a",
        "COPY 1",
        "COPY a b",
        "UID EXPUNGE",
        "EXPUNGE 1",
    ]);
    let long = "k".repeat(crate::mail::MAX_KEYWORD + 1);
    refused(&[&format!("STORE 1 FLAGS ({long})")]);
    let many: String = (0..62).map(|n| format!("k{n} ")).collect();
    refused(&[
        &format!("STORE 1 FLAGS ({many})"),
        &format!("STORE 1 FLAGS {many}x"),
    ]);
}

fn key(key: &str) -> String {
    let read = read(&format!("SEARCH {key}"));
    let inside = read
        .strip_prefix("Search { uid: false, options: None, charset: None, key: ")
        .and_then(|read| read.strip_suffix(" }"));
    inside.map_or(read.clone(), str::to_owned)
}

#[test]
fn search_keys() {
    let header = |name, value| format!("Header {{ name: {name:?}, value: {value:?} }}");
    let cases = [
        ("ALL", "All".to_owned()),
        ("answered", "Flag(Flags(2))".into()),
        ("DELETED", "Flag(Flags(8))".into()),
        ("DRAFT", "Flag(Flags(16))".into()),
        ("FLAGGED", "Flag(Flags(4))".into()),
        ("SEEN", "Flag(Flags(1))".into()),
        ("UNANSWERED", "Not(Flag(Flags(2)))".into()),
        ("UNDELETED", "Not(Flag(Flags(8)))".into()),
        ("UNDRAFT", "Not(Flag(Flags(16)))".into()),
        ("UNFLAGGED", "Not(Flag(Flags(4)))".into()),
        ("UNSEEN", "Not(Flag(Flags(1)))".into()),
        ("NEW", "And([Recent, Not(Flag(Flags(1)))])".into()),
        ("OLD", "Not(Recent)".into()),
        ("RECENT", "Recent".into()),
        ("KEYWORD $Junk", "Keyword(\"$Junk\")".into()),
        ("UNKEYWORD x", "Not(Keyword(\"x\"))".into()),
        ("FROM smith", header("FROM", "smith")),
        ("TO \"a b\"", header("TO", "a b")),
        ("CC x", header("CC", "x")),
        ("BCC x", header("BCC", "x")),
        ("SUBJECT {3}\r\na\"b", header("SUBJECT", "a\"b")),
        ("SUBJECT \"é\"", header("SUBJECT", "é")),
        ("HEADER Message-ID \"\"", header("Message-ID", "")),
        ("BODY x%y", "Body(\"x%y\")".into()),
        ("TEXT x", "Text(\"x\")".into()),
        ("BEFORE 1-Feb-1994", "Before(8797)".into()),
        ("ON \"1-Feb-1994\"", "On(8797)".into()),
        ("SINCE 01-feb-1994", "Since(8797)".into()),
        ("SENTBEFORE 1-Jan-1970", "SentBefore(0)".into()),
        ("SENTON 1-Jan-1970", "SentOn(0)".into()),
        ("SENTSINCE 1-Jan-1970", "SentSince(0)".into()),
        ("LARGER 0", "Larger(0)".into()),
        ("SMALLER 4294967296", "Smaller(4294967296)".into()),
        ("UID 1:*", "Uid(SequenceSet([(Some(1), None)]))".into()),
        (
            "2,4",
            "Sequence(SequenceSet([(Some(2), Some(2)), (Some(4), Some(4))]))".into(),
        ),
        ("*", "Sequence(SequenceSet([(None, None)]))".into()),
        ("MODSEQ 620162338", "ModSeq(620162338)".into()),
        ("MODSEQ \"/flags/\\\\draft\" all 620", "ModSeq(620)".into()),
        ("OLDER 86400", "Older(86400)".into()),
        ("YOUNGER 1", "Younger(1)".into()),
        ("NOT NOT ALL", "Not(Not(All))".into()),
        (
            "OR SEEN (DRAFT NOT ALL)",
            "Or(Flag(Flags(1)), And([Flag(Flags(16)), Not(All)]))".into(),
        ),
        ("((ALL)) ", "All".into()),
        ("ALL  SEEN", "And([All, Flag(Flags(1))])".into()),
    ];
    for (line, want) in cases {
        assert_eq!(key(line), want, "{line}");
    }
    refused(&[
        "SEARCH",
        "SEARCH ",
        "SEARCH ()",
        "SEARCH (ALL",
        "SEARCH ALL)",
        "SEARCH FOO",
        "SEARCH ALL,SEEN",
        "SEARCH OR ALL",
        "SEARCH NOT",
        "SEARCH FROM",
        "SEARCH HEADER x",
        "SEARCH SUBJECT é",
        "SEARCH SINCE 1-Feb-94",
        "SEARCH LARGER -1",
        "SEARCH LARGER",
        "SEARCH KEYWORD \\Seen",
        "SEARCH UID 0",
        "SEARCH OLDER 0",
        "SEARCH MODSEQ x",
        "SEARCH MODSEQ \"/foo\" all 1",
        "SEARCH MODSEQ \"/flags/x\" foo 1",
        "SEARCH 1:2:3",
    ]);
    assert!(read_bytes(b"SEARCH SUBJECT \"\xff\"").starts_with("BAD"));
}

#[test]
fn search_options_and_charsets() {
    check(&[
        (
            "UID SEARCH RETURN () ALL",
            "Search { uid: true, options: Some(SearchReturn { min: false, max: false, \
             all: false, count: false }), charset: None, key: All }",
        ),
        (
            "SEARCH RETURN (MIN max ALL COUNT) CHARSET UTF-8 TEXT {2}\r\né",
            "Search { uid: false, options: Some(SearchReturn { min: true, max: true, \
             all: true, count: true }), charset: Some(\"UTF-8\"), key: Text(\"é\") }",
        ),
        ("SEARCH CHARSET X-NONE ALL", "Charset"),
        (
            "SEARCH CHARSET UTF-7 TEXT +AOk-",
            "Search { uid: false, options: None, charset: Some(\"UTF-7\"), key: Text(\"é\") }",
        ),
        (
            "SEARCH CHARSET US-ASCII TEXT \"é\"",
            "Search { uid: false, options: None, charset: Some(\"US-ASCII\"), key: Text(\"é\") }",
        ),
    ]);
    let bytes = b"SEARCH CHARSET koi8-r TEXT {2}\r\n\xcd\xc9";
    assert!(
        read_bytes(bytes).contains("Text(\"ми\")"),
        "{}",
        read_bytes(bytes)
    );
    assert!(read_bytes(b"SEARCH CHARSET UTF-8 TEXT {1}\r\n\xc3").starts_with("BAD"));
    refused(&[
        "SEARCH RETURN ALL",
        "SEARCH RETURN (SAVE) ALL",
        "SEARCH RETURN (MIN)",
        "SEARCH CHARSET",
        "SEARCH CHARSET UTF-8",
        "SEARCH CHARSET UTF-8 RETURN () ALL",
    ]);
}

#[test]
fn searches_are_bounded() {
    let nested = |depth: usize| format!("SEARCH {}ALL{}", "(".repeat(depth), ")".repeat(depth));
    assert!(read(&nested(MAX_SEARCH_DEPTH)).starts_with("Search"));
    let chained = |word: &str, depth: usize| format!("SEARCH {}ALL", word.repeat(depth));
    assert!(read(&chained("NOT ", MAX_SEARCH_DEPTH)).starts_with("Search"));
    refused(&[
        &nested(MAX_SEARCH_DEPTH + 1),
        &nested(10_000),
        &format!("SEARCH {}", "(".repeat(60_000)),
        &chained("NOT ", 10_000),
        &chained("OR ALL ", 10_000),
        &chained("ALL ", MAX_SEARCH_KEYS),
    ]);
    assert!(read(&chained("ALL ", MAX_SEARCH_KEYS - 1)).starts_with("Search"));
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
    let head = |text: &str| match append(text.as_bytes(), literal) {
        None => "none".to_owned(),
        Some(Ok(it)) => format!(
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
