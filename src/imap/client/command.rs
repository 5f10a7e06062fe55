//! The commands that a fetching client gives.

use crate::imap::utf7;
use crate::mail::{Uid, UidSet};
use crate::secret::Secret;

/// Ranges of UIDs in one command; [`chunks`] keeps to it.
const MAX_RANGES: usize = 200;

#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    Capability,
    StartTls,
    /// Both of them [`can_be_quoted`].
    Login {
        user: &'a str,
        password: &'a Secret<String>,
    },
    /// With the initial response in base64 where the server takes one (RFC 4959).
    Authenticate {
        mechanism: &'a str,
        initial: Option<&'a Secret<String>>,
    },
    /// Who this is (RFC 2971).
    Id,
    /// As [`Command::Id`], with more fields; all of them [`can_be_quoted`].
    IdWith(&'a [(&'a str, &'a str)]),
    Select(&'a str),
    /// UID and size of every message from this UID on.
    List(Uid),
    /// UID and size of these.
    ListOf(&'a UidSet),
    /// UID and flags of every message.
    ListFlags,
    /// Messages with their flags and dates; they stay unseen.
    Fetch(&'a UidSet),
    /// Marks them \Deleted.
    Delete(&'a UidSet),
    /// Takes away those of them that are marked (RFC 4315).
    UidExpunge(&'a UidSet),
    Expunge,
    /// RFC 6851.
    Move(&'a UidSet, &'a str),
    Copy(&'a UidSet, &'a str),
    Create(&'a str),
    /// RFC 2177; `DONE` by [`Client::answer`](super::Client::answer) ends it.
    Idle,
    Logout,
}

impl Command<'_> {
    pub(super) fn may_continue(&self) -> bool {
        matches!(self, Command::Authenticate { .. } | Command::Idle)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
        match self {
            Command::Capability => put("CAPABILITY"),
            Command::StartTls => put("STARTTLS"),
            Command::Login { user, password } => {
                put("LOGIN ");
                quote(user, out);
                out.push(b' ');
                quote(password.reveal(), out);
            }
            Command::Authenticate { mechanism, initial } => {
                put(&format!("AUTHENTICATE {mechanism}"));
                if let Some(initial) = initial {
                    put(" ");
                    put(initial.reveal());
                }
            }
            Command::Id => put(concat!(
                "ID (\"name\" \"pillarbox\" \"version\" \"",
                env!("CARGO_PKG_VERSION"),
                "\")"
            )),
            Command::IdWith(fields) => {
                put(concat!(
                    "ID (\"name\" \"pillarbox\" \"version\" \"",
                    env!("CARGO_PKG_VERSION"),
                    "\""
                ));
                for (name, value) in *fields {
                    for word in [name, value] {
                        out.push(b' ');
                        quote(word, out);
                    }
                }
                out.push(b')');
            }
            Command::Select(mailbox) => {
                put("SELECT ");
                name(mailbox, out);
            }
            Command::List(from) => put(&format!("UID FETCH {from}:* (UID RFC822.SIZE)")),
            Command::ListOf(uids) => put(&format!("UID FETCH {uids} (UID RFC822.SIZE)")),
            Command::ListFlags => put("UID FETCH 1:* (UID FLAGS)"),
            Command::Fetch(uids) => put(&format!(
                "UID FETCH {uids} (UID FLAGS INTERNALDATE BODY.PEEK[])"
            )),
            Command::Delete(uids) => put(&format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)")),
            Command::UidExpunge(uids) => put(&format!("UID EXPUNGE {uids}")),
            Command::Expunge => put("EXPUNGE"),
            Command::Move(uids, mailbox) => {
                put(&format!("UID MOVE {uids} "));
                name(mailbox, out);
            }
            Command::Copy(uids, mailbox) => {
                put(&format!("UID COPY {uids} "));
                name(mailbox, out);
            }
            Command::Create(mailbox) => {
                put("CREATE ");
                name(mailbox, out);
            }
            Command::Idle => put("IDLE"),
            Command::Logout => put("LOGOUT"),
        }
    }
}

/// Whether a quoted string can hold it (RFC 3501, 9).
pub fn can_be_quoted(text: &str) -> bool {
    text.bytes()
        .all(|it| it.is_ascii() && !it.is_ascii_control())
}

/// Cuts a set into ones that fit a command.
pub fn chunks(uids: &UidSet) -> Vec<UidSet> {
    uids.ranges()
        .chunks(MAX_RANGES)
        .map(|ranges| UidSet::from_ranges(ranges.to_vec()))
        .collect()
}

fn name(mailbox: &str, out: &mut Vec<u8>) {
    let mut encoded = Vec::new();
    utf7::encode(mailbox, &mut encoded);
    quote(&String::from_utf8_lossy(&encoded), out);
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
