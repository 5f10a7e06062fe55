//! Mailbox data: LIST, LSUB, STATUS, FLAGS, NAMESPACE.

use super::end;
use super::text::{flag_names, mailbox_name, number};
use crate::imap::command::StatusItem;
use crate::mail::{Quota, SEPARATOR};

/// `* LIST (\HasNoChildren) "/" INBOX`; `word` is LIST or LSUB. With `child_info`
/// (RFC 5258, 4) `("CHILDINFO" ("SUBSCRIBED"))` follows.
pub fn list(
    out: &mut Vec<u8>,
    word: &str,
    attributes: &[&str],
    name: &str,
    utf8: bool,
    child_info: bool,
) {
    list_head(out, word, attributes);
    mailbox_name(out, name, utf8);
    if child_info {
        out.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    }
    end(out);
}

/// `* LIST (\Noselect) "/" ""`: the answer to an empty pattern (RFC 3501, 6.3.8).
pub fn list_root(out: &mut Vec<u8>, word: &str) {
    list_head(out, word, &["\\Noselect"]);
    out.extend_from_slice(b"\"\"");
    end(out);
}

fn list_head(out: &mut Vec<u8>, word: &str, attributes: &[&str]) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(b" (");
    for (n, attribute) in attributes.iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(attribute.as_bytes());
    }
    out.extend_from_slice(b") \"");
    out.push(SEPARATOR as u8);
    out.extend_from_slice(b"\" ");
}

/// `* STATUS name (MESSAGES 1 UIDNEXT 2)`.
pub fn status(out: &mut Vec<u8>, name: &str, utf8: bool, items: &[(StatusItem, u64)]) {
    out.extend_from_slice(b"* STATUS ");
    mailbox_name(out, name, utf8);
    out.extend_from_slice(b" (");
    for (n, &(item, value)) in items.iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(item.name().as_bytes());
        out.push(b' ');
        number(out, value);
    }
    out.push(b')');
    end(out);
}

/// `* FLAGS (\Answered … $Forwarded)`.
pub fn flags(out: &mut Vec<u8>, keywords: &[String]) {
    out.extend_from_slice(b"* FLAGS ");
    flag_names(out, keywords, false);
    end(out);
}

/// One personal namespace without a prefix (RFC 2342).
pub fn namespace(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* NAMESPACE ((\"\" \"");
    out.push(SEPARATOR as u8);
    out.extend_from_slice(b"\")) NIL NIL");
    end(out);
}

/// `* QUOTAROOT INBOX ""`, with the one root that an account has, if it has a quota
/// (RFC 9208, 4.2.2).
pub fn quota_root(out: &mut Vec<u8>, name: &str, has_quota: bool) {
    out.extend_from_slice(b"* QUOTAROOT ");
    mailbox_name(out, name, false);
    if has_quota {
        out.extend_from_slice(b" \"\"");
    }
    end(out);
}

/// `* QUOTA "" (STORAGE 10 512)`: of each limit what is used and what there may be (RFC 9208,
/// 4.2.1); STORAGE in units of 1024 octets.
pub fn quota(out: &mut Vec<u8>, used: Quota, limit: Quota) {
    out.extend_from_slice(b"* QUOTA \"\" (");
    let storage = (used.bytes.div_ceil(1024), limit.bytes / 1024);
    let all = [
        ("STORAGE", storage.0, storage.1, limit.bytes),
        ("MESSAGE", used.messages, limit.messages, limit.messages),
    ];
    let limited = all.iter().filter(|it| it.3 > 0);
    for (n, (name, used, most, _)) in limited.enumerate() {
        out.extend_from_slice(if n > 0 { b" " } else { b"" });
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        number(out, *used);
        out.push(b' ');
        number(out, *most);
    }
    out.push(b')');
    end(out);
}

impl StatusItem {
    pub fn name(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::Deleted => "DELETED",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
            StatusItem::Size => "SIZE",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::AppendLimit => "APPENDLIMIT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn quotas_name_what_is_limited() {
        let used = Quota {
            bytes: 1025,
            messages: 7,
        };
        let both = Quota {
            bytes: 10 << 20,
            messages: 100,
        };
        assert_eq!(
            said(|out| quota(out, used, both)),
            "* QUOTA \"\" (STORAGE 2 10240 MESSAGE 7 100)\r\n"
        );
        let one = Quota { bytes: 0, ..both };
        let text = said(|out| quota(out, used, one));
        assert_eq!(text, "* QUOTA \"\" (MESSAGE 7 100)\r\n");
        let text = said(|out| quota_root(out, "a b", true));
        assert_eq!(text, "* QUOTAROOT \"a b\" \"\"\r\n");
        let text = said(|out| quota_root(out, "INBOX", false));
        assert_eq!(text, "* QUOTAROOT INBOX\r\n");
    }

    #[test]
    fn mailbox_data() {
        assert_eq!(
            said(|out| list(out, "LIST", &["\\Marked", "\\Sent"], "a b/é", false, false)),
            "* LIST (\\Marked \\Sent) \"/\" \"a b/&AOk-\"\r\n"
        );
        assert_eq!(
            said(|out| list(out, "LIST", &[], "a", false, true)),
            "* LIST () \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"
        );
        assert_eq!(
            said(|out| list_root(out, "LSUB")),
            "* LSUB (\\Noselect) \"/\" \"\"\r\n"
        );
        let items = [(StatusItem::Messages, 231), (StatusItem::UidNext, 44292)];
        assert_eq!(
            said(|out| status(out, "blurdybloop", false, &items)),
            "* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n"
        );
        assert_eq!(said(namespace), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
        assert_eq!(
            said(|out| flags(out, &["x".into()])),
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft x)\r\n"
        );
    }
}
