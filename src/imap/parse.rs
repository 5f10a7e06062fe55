//! One framed command to a [`Request`] (RFC 3501, 9, and each extension's own grammar).
//! The public doors are [`command`] and [`append`]; a file each for the large commands.

mod catenate;
mod cursor;
mod fetch;
mod flags;
mod list;
mod search;
#[cfg(test)]
mod tests;

use super::command::*;
use super::date;
use crate::mail::SpecialUse;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub(super) use cursor::is_atom_char;
use cursor::{Cursor, Result, syntax, utf8};

pub use catenate::catenated;
pub use cursor::MAX_TAG;
pub use search::{MAX_DEPTH as MAX_SEARCH_DEPTH, MAX_KEYS as MAX_SEARCH_KEYS};

/// Most pairs of one ID: RFC 2971, 3.3, asks clients for 30 at most.
const MAX_ID_PAIRS: usize = 64;
/// Most URLs of one GENURLAUTH or URLFETCH.
const MAX_URLS: usize = 64;
/// Most names of one ENABLE, parameters of one SELECT, special uses of one CREATE.
const MAX_NAMES: usize = 32;

/// Reads a whole command: without its line end, each literal in place as `{n}`, CRLF and
/// its bytes, as [`framer`](super::framer) collects it.
pub fn command(bytes: &[u8]) -> std::result::Result<Request, Rejected> {
    let mut cursor = Cursor::new(bytes);
    let tag = tag(&mut cursor)?;
    match tagged(&mut cursor) {
        Ok(command) => Ok(Request { tag, command }),
        Err(error) => Err(Rejected {
            tag: Some(tag),
            error,
        }),
    }
}

/// The literal that a line announces at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Bytes; `u64::MAX` if it can't be said in that many digits.
    pub size: u64,
    /// `{n+}`.
    pub non_synchronizing: bool,
    /// `~{n}`.
    pub binary: bool,
}

/// The head of an APPEND, and for CATENATE the URLs that come first.
pub type Head = (Append, Vec<String>);

/// Reads what comes before a literal, `bytes`, as the head of an APPEND whose message, or
/// first TEXT, the literal is; without a literal, of an APPEND that is all URLs. `None` if it
/// is not: another command, or the literal is the mailbox name or a URL.
///
/// ```text
/// append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP (literal / catenate)
/// ```
pub fn append(
    bytes: &[u8],
    literal: Option<Announced>,
) -> Option<std::result::Result<Head, Rejected>> {
    let mut cursor = Cursor::new(bytes);
    let tag = cursor.tag()?;
    cursor.space().ok()?;
    if !cursor.skip_keyword("APPEND") || cursor.at_end() {
        return None;
    }
    let head = append_head(&mut cursor, &tag, literal).map_err(|error| Rejected {
        tag: Some(tag),
        error,
    });
    head.transpose()
}

fn tag(cursor: &mut Cursor) -> std::result::Result<String, Rejected> {
    cursor.tag().ok_or(Rejected {
        tag: None,
        error: ParseError::Syntax("a command begins with a tag"),
    })
}

fn tagged(cursor: &mut Cursor) -> Result<Command> {
    if cursor.at_end() {
        return syntax("a command is missing behind the tag");
    }
    cursor.space()?;
    let name = cursor.keyword()?;
    let command = match name.as_str() {
        "UID" => {
            cursor.space()?;
            let name = cursor.keyword()?;
            by_uid(cursor, &name)?
        }
        name => named(cursor, name)?,
    };
    cursor.end()?;
    Ok(command)
}

fn by_uid(cursor: &mut Cursor, name: &str) -> Result<Command> {
    match name {
        "EXPUNGE" => {
            cursor.space()?;
            Ok(Command::UidExpunge(cursor.sequence_set()?))
        }
        _ => numbered(cursor, name, true)?.map_or_else(|| syntax("an unknown UID command"), Ok),
    }
}

/// The commands that name messages, by sequence number or by UID.
fn numbered(cursor: &mut Cursor, name: &str, uid: bool) -> Result<Option<Command>> {
    Ok(Some(match name {
        "FETCH" => fetch::fetch(cursor, uid)?,
        "SEARCH" => search::search(cursor, uid)?,
        "STORE" => Command::Store(flags::store(cursor, uid)?),
        "COPY" | "MOVE" => {
            cursor.space()?;
            let set = cursor.sequence_set()?;
            let mailbox = mailbox(cursor)?;
            match name {
                "COPY" => Command::Copy { uid, set, mailbox },
                _ => Command::Move { uid, set, mailbox },
            }
        }
        _ => return Ok(None),
    }))
}

fn named(cursor: &mut Cursor, name: &str) -> Result<Command> {
    Ok(match name {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "ID" => id(cursor)?,
        "STARTTLS" => Command::StartTls,
        "AUTHENTICATE" => authenticate(cursor)?,
        "LOGIN" => login(cursor)?,
        "ENABLE" => enable(cursor)?,
        "SELECT" => select(cursor, false)?,
        "EXAMINE" => select(cursor, true)?,
        "CREATE" => create(cursor)?,
        "DELETE" => Command::Delete(mailbox(cursor)?),
        "RENAME" => Command::Rename {
            from: mailbox(cursor)?,
            to: mailbox(cursor)?,
        },
        "SUBSCRIBE" => Command::Subscribe(mailbox(cursor)?),
        "UNSUBSCRIBE" => Command::Unsubscribe(mailbox(cursor)?),
        "LIST" => Command::List(list::list(cursor)?),
        // What clients said before RFC 6154; Dovecot too answers it as LIST.
        "XLIST" => Command::List(List {
            return_special_use: true,
            ..list::list(cursor)?
        }),
        "LSUB" => list::lsub(cursor)?,
        "STATUS" => list::status(cursor)?,
        "NAMESPACE" => Command::Namespace,
        "GETQUOTA" => {
            cursor.space()?;
            Command::GetQuota(cursor.text()?)
        }
        "GETQUOTAROOT" => Command::GetQuotaRoot(mailbox(cursor)?),
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge,
        "APPEND" => return syntax("APPEND takes a mailbox and a literal"),
        "GENURLAUTH" => Command::GenUrlAuth(urls(cursor, |cursor, url| {
            cursor.space()?;
            Ok((url, cursor.keyword()?))
        })?),
        "URLFETCH" => Command::UrlFetch(urls(cursor, |_, url| Ok(url))?),
        "RESETKEY" => reset_key(cursor)?,
        _ => match numbered(cursor, name, false)? {
            Some(command) => command,
            None => return syntax("an unknown command"),
        },
    })
}

/// `SP mailbox`
fn mailbox(cursor: &mut Cursor) -> Result<MailboxArg> {
    cursor.space()?;
    cursor.mailbox()
}

/// `id = "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil)` (RFC 2971);
/// without an argument it is NIL.
fn id(cursor: &mut Cursor) -> Result<Command> {
    let mut pairs = Vec::new();
    cursor.spaces();
    if !cursor.at_end() && !cursor.skip_keyword("NIL") {
        cursor.list(MAX_ID_PAIRS, |cursor| {
            let name = utf8(cursor.string()?)?;
            cursor.space()?;
            let value = cursor.nstring()?.map(utf8).transpose()?;
            pairs.push((name, value));
            Ok(())
        })?;
    }
    Ok(Command::Id(pairs))
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]` (RFC 4959).
fn authenticate(cursor: &mut Cursor) -> Result<Command> {
    cursor.space()?;
    let mechanism = cursor.keyword()?;
    let mut initial = None;
    if !cursor.at_end() {
        cursor.space()?;
        let text = cursor.run(|b| b != b' ');
        let bytes = match text {
            b"=" => Vec::new(),
            text => STANDARD
                .decode(text)
                .map_err(|_| ParseError::Syntax("the initial response is not base64"))?,
        };
        initial = Some(Secret::new(bytes));
    }
    Ok(Command::Authenticate { mechanism, initial })
}

fn login(cursor: &mut Cursor) -> Result<Command> {
    cursor.space()?;
    let user = cursor.text()?;
    cursor.space()?;
    let password = Secret::new(cursor.text()?);
    Ok(Command::Login { user, password })
}

/// `enable = "ENABLE" 1*(SP capability)` (RFC 5161).
fn enable(cursor: &mut Cursor) -> Result<Command> {
    let mut names = Vec::new();
    while names.is_empty() || !cursor.at_end() {
        cursor.space()?;
        if names.len() == MAX_NAMES {
            return syntax("a list is too long");
        }
        names.push(cursor.keyword()?);
    }
    Ok(Command::Enable(names))
}

/// `select = "SELECT" SP mailbox [SP "(" "CONDSTORE" ")"]` (RFC 7162, 3.1.8).
fn select(cursor: &mut Cursor, read_only: bool) -> Result<Command> {
    let mailbox = mailbox(cursor)?;
    let mut condstore = false;
    if !cursor.at_end() {
        cursor.space()?;
        cursor.list(MAX_NAMES, |cursor| {
            condstore = cursor.skip_keyword("CONDSTORE");
            match condstore {
                true => Ok(()),
                false => syntax("an unknown SELECT parameter"),
            }
        })?;
    }
    Ok(Command::Select {
        mailbox,
        read_only,
        condstore,
    })
}

/// `create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]`
/// (RFC 6154, 3).
fn create(cursor: &mut Cursor) -> Result<Command> {
    let mailbox = mailbox(cursor)?;
    let mut special_use = Vec::new();
    if !cursor.at_end() {
        cursor.space()?;
        cursor.list(1, |cursor| {
            if !cursor.skip_keyword("USE") {
                return syntax("an unknown CREATE parameter");
            }
            cursor.space()?;
            cursor.list(MAX_NAMES, |cursor| {
                special_use.push(use_attribute(cursor)?);
                Ok(())
            })
        })?;
    }
    Ok(Command::Create {
        mailbox,
        special_use,
    })
}

fn use_attribute(cursor: &mut Cursor) -> Result<SpecialUse> {
    cursor.expect(b'\\', "a special use is missing")?;
    let name = cursor.atom()?;
    SpecialUse::ALL
        .iter()
        .find(|(_, known)| {
            known
                .strip_prefix('\\')
                .is_some_and(|k| k.eq_ignore_ascii_case(&name))
        })
        .map(|(special_use, _)| *special_use)
        .ok_or(ParseError::SpecialUse)
}

/// `1*(SP url …)` (RFC 4467, 9).
fn urls<'a, T>(
    cursor: &mut Cursor<'a>,
    mut read: impl FnMut(&mut Cursor<'a>, String) -> Result<T>,
) -> Result<Vec<T>> {
    let mut urls = Vec::new();
    while urls.is_empty() || !cursor.at_end() {
        cursor.space()?;
        if urls.len() == MAX_URLS {
            return syntax("too many URLs");
        }
        let url = cursor.text()?;
        urls.push(read(cursor, url)?);
    }
    Ok(urls)
}

/// `resetkey = "RESETKEY" [SP mailbox *(SP mechanism)]` (RFC 4467, 9).
fn reset_key(cursor: &mut Cursor) -> Result<Command> {
    let mut mechanisms = Vec::new();
    if cursor.at_end() {
        let mailbox = None;
        return Ok(Command::ResetKey {
            mailbox,
            mechanisms,
        });
    }
    let mailbox = Some(mailbox(cursor)?);
    while !cursor.at_end() {
        cursor.space()?;
        if mechanisms.len() == MAX_NAMES {
            return syntax("a list is too long");
        }
        mechanisms.push(cursor.keyword()?);
    }
    Ok(Command::ResetKey {
        mailbox,
        mechanisms,
    })
}

fn append_head(cursor: &mut Cursor, tag: &str, literal: Option<Announced>) -> Result<Option<Head>> {
    let mailbox = mailbox(cursor)?;
    if literal.is_none() && cursor.at_end() {
        return Ok(None);
    }
    cursor.space()?;
    let mut flags = Default::default();
    if cursor.peek() == Some(b'(') {
        flags = flags::list(cursor)?;
        cursor.space()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        let text = utf8(cursor.string()?)?;
        date = Some(date::parse_date_time(&text).ok_or(ParseError::Syntax("a date is malformed"))?);
        cursor.space()?;
    }
    let mut append = Append {
        tag: tag.to_owned(),
        mailbox,
        flags,
        date,
        size: 0,
        binary: false,
        non_synchronizing: false,
        catenate: cursor.skip_keyword("CATENATE"),
    };
    if append.catenate {
        let urls = catenate::first(cursor, literal.is_some())?;
        return Ok(urls.map(|urls| (append, urls)));
    }
    let Some(literal) = literal else {
        return syntax("APPEND takes a mailbox and a literal");
    };
    cursor.end()?;
    append.size = literal.size;
    append.binary = literal.binary;
    append.non_synchronizing = literal.non_synchronizing;
    Ok(Some((append, Vec::new())))
}

/// The tag at the start of a command that can't be read on.
pub(super) fn tag_of(bytes: &[u8]) -> Option<String> {
    Cursor::new(bytes).tag()
}
