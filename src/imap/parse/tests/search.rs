//! SEARCH.

use super::super::{MAX_SEARCH_DEPTH, MAX_SEARCH_KEYS};
use super::{check, read, read_bytes, refused};

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
