//! Flags on the wire: lists, and the FETCH that tells a change.

use crate::imap::response::fetch::Fetch;
use crate::imap::response::{self, Code, Status};
use crate::mail::{Flags, MAX_KEYWORDS, ModSeq, Uid};

/// Whether a message carries a keyword that the table does not name yet.
pub fn has_unknown_keyword(flags: Flags, keywords: &[String]) -> bool {
    flags.0 >> (8 + keywords.len().min(MAX_KEYWORDS - 1)) != 0 && keywords.len() < MAX_KEYWORDS
}

/// `* n FETCH (UID u FLAGS (…))`, with MODSEQ where CONDSTORE is on (RFC 7162, 3.2).
pub fn write_fetch_flags(
    out: &mut Vec<u8>,
    seq: u32,
    uid: Uid,
    (flags, recent): (Flags, bool),
    keywords: &[String],
    modseq: Option<ModSeq>,
) {
    let mut fetch = Fetch::begin(out, seq);
    fetch.uid(uid);
    fetch.flags(flags, recent, keywords);
    if let Some(modseq) = modseq {
        fetch.modseq(modseq);
    }
    fetch.end();
}

/// FLAGS and PERMANENTFLAGS (RFC 3501, 7.1 and 7.2.6): `\*` while there is room for new keywords.
pub fn write_flag_lists(out: &mut Vec<u8>, keywords: &[String], read_only: bool) {
    response::mailbox::flags(out, keywords);
    let (code, text) = match read_only {
        true => (Code::NoPermanentFlags, "Nothing can be changed here."),
        false => {
            let more = keywords.len() < MAX_KEYWORDS;
            (Code::PermanentFlags { keywords, more }, "Flags are kept.")
        }
    };
    response::untagged(out, Status::Ok, Some(code), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_keyword_beyond_the_table_is_noticed() {
        let keywords = ["a".to_string()];
        assert!(!has_unknown_keyword(Flags::keyword(0), &keywords));
        assert!(has_unknown_keyword(Flags::keyword(1), &keywords));
        assert!(!has_unknown_keyword(Flags::SEEN, &[]));
        assert!(has_unknown_keyword(Flags::keyword(0), &[]));
        let full: Vec<String> = (0..MAX_KEYWORDS).map(|n| n.to_string()).collect();
        assert!(!has_unknown_keyword(
            Flags::keyword(MAX_KEYWORDS - 1),
            &full
        ));
    }

    #[test]
    fn a_full_table_offers_no_new_keywords() {
        let full: Vec<String> = (0..MAX_KEYWORDS).map(|n| format!("k{n}")).collect();
        assert!(!text(|out| write_flag_lists(out, &full, false)).contains("\\*"));
        assert!(text(|out| write_flag_lists(out, &[], false)).contains("\\Draft \\*)]"));
        assert!(text(|out| write_flag_lists(out, &[], true)).contains("[PERMANENTFLAGS ()]"));
    }
}
