//! FETCH, STORE, COPY, MOVE.

use super::{check, read, refused};

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
