//! Flags by name, in APPEND and STORE.

use super::cursor::{Cursor, Result, is_atom_char, syntax};
use crate::imap::command::{FlagOp, StoreFlags};
use crate::mail::{FlagNames, Flags, MAX_KEYWORD, MAX_KEYWORDS};

/// Most flags that one command names: each keyword of a full table, and the system flags.
const MAX_FLAGS: usize = MAX_KEYWORDS + Flags::SYSTEM.len();

/// `"(" [flag *(SP flag)] ")"`
pub(super) fn list(cursor: &mut Cursor) -> Result<FlagNames> {
    let mut flags = FlagNames::default();
    cursor.list(MAX_FLAGS, |cursor| one(cursor, &mut flags))?;
    Ok(flags)
}

/// ```text
/// store         = "STORE" SP sequence-set store-modifiers SP store-att-flags
/// store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
/// ```
/// with `(UNCHANGEDSINCE n)` of RFC 7162, 3.1.3.
pub(super) fn store(cursor: &mut Cursor, uid: bool) -> Result<StoreFlags> {
    cursor.space()?;
    let set = cursor.sequence_set()?;
    cursor.space()?;
    let mut unchanged_since = None;
    if cursor.peek() == Some(b'(') {
        cursor.list(1, |cursor| {
            if !cursor.skip_keyword("UNCHANGEDSINCE") {
                return syntax("an unknown STORE modifier");
            }
            cursor.space()?;
            unchanged_since = Some(cursor.number()?);
            Ok(())
        })?;
        cursor.space()?;
    }
    let (change, silent) = match cursor.keyword()?.as_str() {
        "FLAGS" => (FlagOp::Set, false),
        "FLAGS.SILENT" => (FlagOp::Set, true),
        "+FLAGS" => (FlagOp::Add, false),
        "+FLAGS.SILENT" => (FlagOp::Add, true),
        "-FLAGS" => (FlagOp::Remove, false),
        "-FLAGS.SILENT" => (FlagOp::Remove, true),
        _ => return syntax("STORE takes FLAGS, +FLAGS or -FLAGS"),
    };
    cursor.space()?;
    Ok(StoreFlags {
        uid,
        set,
        change,
        flags: list_or_bare(cursor)?,
        silent,
        unchanged_since,
    })
}

fn list_or_bare(cursor: &mut Cursor) -> Result<FlagNames> {
    if cursor.peek() == Some(b'(') {
        return list(cursor);
    }
    let mut flags = FlagNames::default();
    for _ in 0..MAX_FLAGS {
        one(cursor, &mut flags)?;
        if cursor.at_end() {
            return Ok(flags);
        }
        cursor.space()?;
    }
    syntax("a list is too long")
}

/// `\Recent` is the server's to set (RFC 3501, 2.3.2), so it is refused like any other
/// unknown system flag.
fn one(cursor: &mut Cursor, flags: &mut FlagNames) -> Result<()> {
    if cursor.skip(b'\\') {
        let name = cursor.atom()?;
        let known = Flags::SYSTEM
            .iter()
            .find(|(_, known)| known[1..].eq_ignore_ascii_case(&name));
        let Some((flag, _)) = known else {
            return syntax("an unknown system flag");
        };
        flags.system = flags.system.with(*flag);
        return Ok(());
    }
    let keyword = keyword(cursor)?;
    let twice = |known: &String| known.eq_ignore_ascii_case(&keyword);
    if !flags.keywords.iter().any(twice) {
        flags.keywords.push(keyword);
    }
    Ok(())
}

/// `flag-keyword = atom`
pub(super) fn keyword(cursor: &mut Cursor) -> Result<String> {
    let run = cursor.run(is_atom_char);
    match std::str::from_utf8(run) {
        Ok("") | Err(_) => syntax("a flag is missing"),
        Ok(name) if name.len() > MAX_KEYWORD => syntax("a keyword is too long"),
        Ok(name) => Ok(name.to_owned()),
    }
}
