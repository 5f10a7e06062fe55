//! ENVELOPE in wire form (RFC 3501, 7.4.2).

use super::address_list::{self, ListEntry};
use super::header::fields;
use super::quote::{nstring, squeezed, string, unfolded};

/// Longest string kept of Date, Subject, In-Reply-To and Message-ID, bytes.
pub const MAX_STRING: usize = 8 * 1024;
/// Most bytes of an envelope: addresses past it are left out.
pub const MAX_ENVELOPE: usize = 128 * 1024;

/// The fields that ENVELOPE shows. Of a string given twice the last counts; addresses given
/// in several fields are one list, so that no From can hide behind another (as Dovecot).
#[derive(Default)]
struct Values<'a> {
    date: Option<&'a [u8]>,
    subject: Option<&'a [u8]>,
    in_reply_to: Option<&'a [u8]>,
    message_id: Option<&'a [u8]>,
    from: Vec<ListEntry>,
    sender: Vec<ListEntry>,
    reply_to: Vec<ListEntry>,
    to: Vec<ListEntry>,
    cc: Vec<ListEntry>,
    bcc: Vec<ListEntry>,
}

/// Writes the envelope of a header, parentheses included.
pub fn envelope(header: &[u8]) -> Vec<u8> {
    let mut values = Values::default();
    for field in fields(header) {
        values.take(field.name, field.value());
    }
    values.write()
}

/// Whether the envelope shows less of these fields than the header has: one is given twice,
/// or is long enough to be cut.
pub fn abridges(header: &[u8]) -> bool {
    const SHOWN: [&[u8]; 10] = [
        b"date",
        b"subject",
        b"from",
        b"sender",
        b"reply-to",
        b"to",
        b"cc",
        b"bcc",
        b"in-reply-to",
        b"message-id",
    ];
    let mut seen = [false; SHOWN.len()];
    for field in fields(header) {
        let shown = SHOWN.iter().position(|name| field.is(name));
        if let Some(seen) = shown.and_then(|n| seen.get_mut(n)) {
            if *seen || field.value().len() > MAX_STRING {
                return true;
            }
            *seen = true;
        }
    }
    false
}

/// The last Date field of a header.
pub fn date(header: &[u8]) -> Option<&[u8]> {
    fields(header)
        .filter(|field| field.is(b"date"))
        .last()
        .map(|field| field.value())
}

impl<'a> Values<'a> {
    fn take(&mut self, name: &[u8], value: &'a [u8]) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"date") {
            self.date = Some(value);
        } else if is(b"subject") {
            self.subject = Some(value);
        } else if is(b"in-reply-to") {
            self.in_reply_to = Some(value);
        } else if is(b"message-id") {
            self.message_id = Some(value);
        } else if is(b"from") {
            address_list::parse(value, &mut self.from);
        } else if is(b"sender") {
            address_list::parse(value, &mut self.sender);
        } else if is(b"reply-to") {
            address_list::parse(value, &mut self.reply_to);
        } else if is(b"to") {
            address_list::parse(value, &mut self.to);
        } else if is(b"cc") {
            address_list::parse(value, &mut self.cc);
        } else if is(b"bcc") {
            address_list::parse(value, &mut self.bcc);
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut out = b"(".to_vec();
        write_string(self.date, &mut out);
        out.push(b' ');
        let subject = self.subject.map(squeezed);
        nstring(subject.as_deref().map(cut), &mut out);
        let sender = non_empty(&self.sender, &self.from);
        let reply_to = non_empty(&self.reply_to, &self.from);
        for list in [&self.from, sender, reply_to, &self.to, &self.cc, &self.bcc] {
            out.push(b' ');
            write_list(list, &mut out);
        }
        out.push(b' ');
        write_string(self.in_reply_to, &mut out);
        out.push(b' ');
        write_string(self.message_id, &mut out);
        out.push(b')');
        out
    }
}

fn non_empty<'a>(list: &'a Vec<ListEntry>, other: &'a Vec<ListEntry>) -> &'a Vec<ListEntry> {
    if list.is_empty() { other } else { list }
}

fn cut(value: &[u8]) -> &[u8] {
    &value[..value.len().min(MAX_STRING)]
}

fn write_string(value: Option<&[u8]>, out: &mut Vec<u8>) {
    nstring(value.map(unfolded).as_deref().map(cut), out);
}

/// As many as fit, leaving room for the strings that follow.
fn write_list(list: &[ListEntry], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'(');
    for entry in list {
        let before = out.len();
        write_entry(entry, out);
        if out.len() > MAX_ENVELOPE - 2 * (MAX_STRING + 64) {
            out.truncate(before);
            break;
        }
    }
    if out.len() == start + 1 {
        out.truncate(start);
        out.extend_from_slice(b"NIL");
    } else {
        out.push(b')');
    }
}

fn write_entry(entry: &ListEntry, out: &mut Vec<u8>) {
    out.push(b'(');
    match &entry.name {
        Some(name) => string(&squeezed(name), out),
        None => nstring(None, out),
    }
    for part in [&entry.route, &entry.mailbox, &entry.domain] {
        out.push(b' ');
        nstring(part.as_deref(), out);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(header: &str) -> String {
        String::from_utf8_lossy(&envelope(header.as_bytes())).into_owned()
    }

    /// RFC 3501, 8.
    #[test]
    fn the_example_of_the_rfc() {
        let header = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n\
            From: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev1 WG mtg summary and minutes\r\n\
            To: imap@cac.washington.edu\r\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n";
        assert_eq!(
            text(header),
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \
             \"IMAP4rev1 WG mtg summary and minutes\" \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((NIL NIL \"imap\" \"cac.washington.edu\")) \
             ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")\
             (\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
             \"<B27397-0100000@cac.washington.edu>\")"
        );
    }

    #[test]
    fn nothing_is_nil() {
        assert_eq!(text("\r\n"), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        assert_eq!(
            text("To:\r\nSubject:\r\n"),
            "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn repeated_and_folded_fields() {
        assert_eq!(
            text("To: a@b\r\nTo: c@d\r\nSubject: x\r\nSubject: y\r\n  z\r\n"),
            "(NIL \"y z\" NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn what_an_envelope_leaves_out_is_known() {
        assert!(!abridges(b"To: a@b\r\nCc: c@d\r\nX: y\r\nX: z\r\n\r\n"));
        assert!(abridges(b"Subject: x\r\nTo: a@b\r\nsubject: y\r\n\r\n"));
        let long = format!("To: {}\r\n\r\n", "a@b,".repeat(MAX_STRING));
        assert!(abridges(long.as_bytes()));
    }

    #[test]
    fn the_envelope_is_bounded() {
        let long = "x".repeat(MAX_STRING * 2);
        let list = "somebody@example.com, ".repeat(20_000);
        let header = format!(
            "Date: {long}\r\nSubject: {long}\r\nFrom: {list}\r\nTo: {list}\r\nCc: {list}\r\n\
             In-Reply-To: {long}\r\nMessage-ID: {long}\r\n"
        );
        let envelope = envelope(header.as_bytes());
        assert!(envelope.len() <= MAX_ENVELOPE, "{}", envelope.len());
        assert!(envelope.ends_with(b"x\")"));
    }
}
