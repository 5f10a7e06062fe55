//! What the server says, written straight into an output buffer (RFC 3501, 7). Pure.
//!
//! Here are status responses and their codes; the strings of the grammar are in
//! [`text`], mailbox data in [`mailbox`], search results in [`search`], the pieces of a
//! FETCH in [`fetch`].

pub mod fetch;
pub mod mailbox;
pub mod search;
pub mod text;

use super::command::{ParseError, Rejected};
use crate::mail::{ModSeq, Uid, UidSet, UidValidity};
pub use text::number;

/// What of a URL is told back, bytes: clients have limits on lines.
const MAX_SHOWN_URL: usize = 1000;

/// `OK`, `NO`, `BAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    No,
    Bad,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::No => "NO",
            Status::Bad => "BAD",
        }
    }
}

/// What stands in brackets before the text of a status response.
#[derive(Clone, Copy, Debug)]
pub enum Code<'a> {
    // RFC 3501, 7.1.
    Alert,
    BadCharset,
    /// The names, as [`capabilities`] would list them.
    Capability(&'a [&'a str]),
    /// The mailbox's keywords; `\*` is said while more can be made.
    PermanentFlags {
        keywords: &'a [String],
        more: bool,
    },
    /// `PERMANENTFLAGS ()`: EXAMINE.
    NoPermanentFlags,
    ReadOnly,
    ReadWrite,
    TryCreate,
    UidNext(Uid),
    UidValidity(UidValidity),
    /// Sequence number of the first unseen message.
    Unseen(u32),
    // RFC 4315.
    AppendUid {
        uid_validity: UidValidity,
        uids: &'a UidSet,
    },
    CopyUid {
        uid_validity: UidValidity,
        /// As in [`Placed`](crate::store::Placed): ascending by source.
        uids: &'a [(Uid, Uid)],
    },
    UidNotSticky,
    // RFC 7162.
    HighestModSeq(ModSeq),
    NoModSeq,
    /// UIDs or, for STORE without UID, sequence numbers that were not changed.
    Modified(&'a UidSet),
    Closed,
    // RFC 5530.
    AlreadyExists,
    AuthenticationFailed,
    AuthorizationFailed,
    Cannot,
    ClientBug,
    ContactAdmin,
    Corruption,
    Expired,
    ExpungeIssued,
    HasChildren,
    InUse,
    Limit,
    NonExistent,
    NoPerm,
    OverQuota,
    PrivacyRequired,
    ServerBug,
    Unavailable,
    // RFC 4469, 6154, 3516.
    TooBig,
    UseAttribute,
    UnknownCte,
    /// The URL, as far as it can stand there (RFC 4469, 4.1).
    BadUrl(&'a str),
    /// The mechanisms of URLAUTH (RFC 4467, 8).
    UrlMech,
    /// One that [`coded`] wrote earlier.
    Written(&'a str),
}

/// The charsets named in BADCHARSET; SEARCH knows more.
const CHARSETS: &str = "BADCHARSET (US-ASCII UTF-8 ISO-8859-1 ISO-8859-15 WINDOWS-1252 \
                        KOI8-R ISO-2022-JP SHIFT_JIS EUC-JP EUC-KR GB18030 BIG5)";

/// `a1 OK [CODE] text`.
pub fn tagged(out: &mut Vec<u8>, tag: &str, status: Status, code: Option<Code>, text: &str) {
    out.extend_from_slice(tag.as_bytes());
    after_tag(out, status.word(), code, text);
}

/// `* OK [CODE] text`.
pub fn untagged(out: &mut Vec<u8>, status: Status, code: Option<Code>, text: &str) {
    out.push(b'*');
    after_tag(out, status.word(), code, text);
}

/// `* BYE text`: the connection closes.
pub fn bye(out: &mut Vec<u8>, code: Option<Code>, text: &str) {
    out.push(b'*');
    after_tag(out, "BYE", code, text);
}

/// `+ text`: the literal, or the SASL response, may come. For SASL `text` is base64.
pub fn continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    line_text(out, text);
}

/// The answer to a command that could not be read.
pub fn rejected(out: &mut Vec<u8>, rejected: &Rejected) {
    let (status, code, text) = match rejected.error {
        ParseError::Syntax(text) => (Status::Bad, None, text),
        ParseError::TooBig => (Status::Bad, Some(Code::TooBig), "the command is too large"),
        ParseError::Charset => (Status::No, Some(Code::BadCharset), "an unknown charset"),
        ParseError::MailboxName => (
            Status::No,
            Some(Code::Cannot),
            "the mailbox name is not valid modified UTF-7",
        ),
        ParseError::SpecialUse => (
            Status::No,
            Some(Code::UseAttribute),
            "an unknown special use",
        ),
    };
    match &rejected.tag {
        Some(tag) => tagged(out, tag, status, code, text),
        None => untagged(out, status, code, text),
    }
}

/// `* CAPABILITY IMAP4rev1 …`; `names` begin with `IMAP4rev1`.
pub fn capabilities(out: &mut Vec<u8>, names: &[&str]) {
    out.extend_from_slice(b"* CAPABILITY");
    words(out, names);
    end(out);
}

/// `* 23 EXISTS`, and RECENT and EXPUNGE.
pub fn numbered(out: &mut Vec<u8>, n: u32, word: &str) {
    out.extend_from_slice(b"* ");
    number(out, u64::from(n));
    out.push(b' ');
    out.extend_from_slice(word.as_bytes());
    end(out);
}

/// `* ENABLED …` (RFC 5161).
pub fn enabled(out: &mut Vec<u8>, names: &[&str]) {
    out.extend_from_slice(b"* ENABLED");
    words(out, names);
    end(out);
}

/// `* ID ("name" "pillarbox")` (RFC 2971); `* ID NIL` for none.
pub fn id(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    out.extend_from_slice(b"* ID ");
    if pairs.is_empty() {
        out.extend_from_slice(b"NIL");
    } else {
        let mut before = b'(';
        for (name, value) in pairs {
            out.push(before);
            before = b' ';
            text::string(out, name.as_bytes());
            out.push(b' ');
            text::string(out, value.as_bytes());
        }
        out.push(b')');
    }
    end(out);
}

/// CRLF.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

fn words(out: &mut Vec<u8>, names: &[&str]) {
    for name in names {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
}

fn after_tag(out: &mut Vec<u8>, word: &str, code: Option<Code>, text: &str) {
    out.push(b' ');
    out.extend_from_slice(word.as_bytes());
    out.push(b' ');
    if let Some(code) = code {
        out.push(b'[');
        write_code(out, code);
        out.extend_from_slice(b"] ");
    }
    line_text(out, text);
}

/// Text can hold what a client named: nothing in it may end the line early.
fn line_text(out: &mut Vec<u8>, text: &str) {
    let safe = |b: u8| if b < b' ' || b == 0x7f { b'?' } else { b };
    out.extend(text.bytes().map(safe));
    end(out);
}

fn write_code(out: &mut Vec<u8>, code: Code) {
    match code {
        Code::Capability(names) => {
            out.extend_from_slice(b"CAPABILITY");
            words(out, names);
        }
        Code::PermanentFlags { keywords, more } => {
            out.extend_from_slice(b"PERMANENTFLAGS ");
            text::flag_names(out, keywords, more);
        }
        Code::UidNext(n) => numeric(out, "UIDNEXT ", u64::from(n.get())),
        Code::UidValidity(n) => numeric(out, "UIDVALIDITY ", u64::from(n.get())),
        Code::Unseen(n) => numeric(out, "UNSEEN ", u64::from(n)),
        Code::HighestModSeq(n) => numeric(out, "HIGHESTMODSEQ ", n.get()),
        Code::AppendUid { uid_validity, uids } => {
            numeric(out, "APPENDUID ", u64::from(uid_validity.get()));
            out.push(b' ');
            text::uid_set(out, uids);
        }
        Code::CopyUid { uid_validity, uids } => {
            numeric(out, "COPYUID ", u64::from(uid_validity.get()));
            out.push(b' ');
            text::uid_runs(out, uids.iter().map(|&(from, _)| from));
            out.push(b' ');
            text::uid_runs(out, uids.iter().map(|&(_, to)| to));
        }
        Code::Modified(set) => {
            out.extend_from_slice(b"MODIFIED ");
            text::uid_set(out, set);
        }
        Code::BadUrl(url) => {
            out.extend_from_slice(b"BADURL ");
            let plain = |b: u8| b.is_ascii_graphic() && b != b']';
            let shown = url.bytes().take(MAX_SHOWN_URL);
            out.extend(shown.map(|b| if plain(b) { b } else { b'?' }));
        }
        Code::Written(code) => out.extend_from_slice(code.as_bytes()),
        code => out.extend_from_slice(code.word().as_bytes()),
    }
}

/// A code as it stands between the brackets, to be kept until its response is due.
pub fn coded(code: Code) -> String {
    let mut out = Vec::new();
    write_code(&mut out, code);
    String::from_utf8(out).unwrap_or_default()
}

fn numeric(out: &mut Vec<u8>, word: &str, n: u64) {
    out.extend_from_slice(word.as_bytes());
    number(out, n);
}

impl Code<'_> {
    /// The atom; of a code that carries more, its first word.
    pub fn word(&self) -> &'static str {
        match self {
            Code::Alert => "ALERT",
            Code::BadCharset => CHARSETS,
            Code::Capability(_) => "CAPABILITY",
            Code::PermanentFlags { .. } => "PERMANENTFLAGS",
            Code::NoPermanentFlags => "PERMANENTFLAGS ()",
            Code::ReadOnly => "READ-ONLY",
            Code::ReadWrite => "READ-WRITE",
            Code::TryCreate => "TRYCREATE",
            Code::UidNext(_) => "UIDNEXT",
            Code::UidValidity(_) => "UIDVALIDITY",
            Code::Unseen(_) => "UNSEEN",
            Code::AppendUid { .. } => "APPENDUID",
            Code::CopyUid { .. } => "COPYUID",
            Code::UidNotSticky => "UIDNOTSTICKY",
            Code::HighestModSeq(_) => "HIGHESTMODSEQ",
            Code::NoModSeq => "NOMODSEQ",
            Code::Modified(_) => "MODIFIED",
            Code::Closed => "CLOSED",
            Code::AlreadyExists => "ALREADYEXISTS",
            Code::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Code::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Code::Cannot => "CANNOT",
            Code::ClientBug => "CLIENTBUG",
            Code::ContactAdmin => "CONTACTADMIN",
            Code::Corruption => "CORRUPTION",
            Code::Expired => "EXPIRED",
            Code::ExpungeIssued => "EXPUNGEISSUED",
            Code::HasChildren => "HASCHILDREN",
            Code::InUse => "INUSE",
            Code::Limit => "LIMIT",
            Code::NonExistent => "NONEXISTENT",
            Code::NoPerm => "NOPERM",
            Code::OverQuota => "OVERQUOTA",
            Code::PrivacyRequired => "PRIVACYREQUIRED",
            Code::ServerBug => "SERVERBUG",
            Code::Unavailable => "UNAVAILABLE",
            Code::TooBig => "TOOBIG",
            Code::UseAttribute => "USEATTR",
            Code::UnknownCte => "UNKNOWN-CTE",
            Code::BadUrl(_) => "BADURL",
            Code::UrlMech => "URLMECH INTERNAL",
            Code::Written(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn said(say: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        say(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn coded(code: Code) -> String {
        said(|out| tagged(out, "a1", Status::Ok, Some(code), "done"))
    }

    #[test]
    fn status_responses() {
        assert_eq!(
            said(|out| tagged(out, "a1", Status::No, None, "no\r\n* BYE")),
            "a1 NO no??* BYE\r\n"
        );
        assert_eq!(
            said(|out| untagged(out, Status::Ok, Some(Code::Alert), "hear")),
            "* OK [ALERT] hear\r\n"
        );
        assert_eq!(said(|out| bye(out, None, "so long")), "* BYE so long\r\n");
        assert_eq!(said(|out| continuation(out, "")), "+ \r\n");
        assert_eq!(said(|out| numbered(out, 23, "EXISTS")), "* 23 EXISTS\r\n");
        assert_eq!(
            said(|out| capabilities(out, &["IMAP4rev1", "IDLE"])),
            "* CAPABILITY IMAP4rev1 IDLE\r\n"
        );
        assert_eq!(said(|out| enabled(out, &[])), "* ENABLED\r\n");
        assert_eq!(said(|out| id(out, &[])), "* ID NIL\r\n");
        assert_eq!(
            said(|out| id(out, &[("name", "pillarbox"), ("version", "\"1\"")])),
            "* ID (\"name\" \"pillarbox\" \"version\" \"\\\"1\\\"\")\r\n"
        );
    }

    #[test]
    fn codes() {
        let uid = |n| Uid::new(n).unwrap_or(Uid::MIN);
        let set = UidSet::from_ranges(vec![(4, 4), (6, 9)]);
        let keywords = ["$Forwarded".to_owned()];
        let cases = [
            (Code::ReadWrite, "READ-WRITE"),
            (Code::NoPermanentFlags, "PERMANENTFLAGS ()"),
            (
                Code::PermanentFlags {
                    keywords: &keywords,
                    more: true,
                },
                "PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*)",
            ),
            (Code::UidNext(uid(4392)), "UIDNEXT 4392"),
            (Code::Modified(&set), "MODIFIED 4,6:9"),
            (
                Code::AppendUid {
                    uid_validity: uid(7),
                    uids: &set,
                },
                "APPENDUID 7 4,6:9",
            ),
            (
                Code::CopyUid {
                    uid_validity: uid(7),
                    uids: &[(uid(1), uid(8)), (uid(2), uid(9)), (uid(5), uid(7))],
                },
                "COPYUID 7 1:2,5 8:9,7",
            ),
            (Code::Capability(&["IMAP4rev1"]), "CAPABILITY IMAP4rev1"),
        ];
        for (code, want) in cases {
            assert_eq!(coded(code), format!("a1 OK [{want}] done\r\n"));
        }
    }

    #[test]
    fn rejections() {
        let said = |tag: Option<&str>, error| {
            let tag = tag.map(str::to_owned);
            said(|out| rejected(out, &Rejected { tag, error }))
        };
        assert_eq!(said(None, ParseError::Syntax("what")), "* BAD what\r\n");
        assert!(said(Some("a"), ParseError::TooBig).starts_with("a BAD [TOOBIG] "));
        assert!(said(Some("a"), ParseError::Charset).starts_with("a NO [BADCHARSET (US-ASCII "));
        assert!(said(Some("a"), ParseError::MailboxName).starts_with("a NO [CANNOT] "));
        assert!(said(Some("a"), ParseError::SpecialUse).starts_with("a NO [USEATTR] "));
    }
}
