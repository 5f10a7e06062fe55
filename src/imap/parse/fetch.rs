//! FETCH (RFC 3501, 6.4.5), with CHANGEDSINCE (RFC 7162, 3.1.4) and BINARY (RFC 3516).

use super::cursor::{Cursor, Result, syntax};
use crate::imap::command::{Command, FetchItem, Partial, Section, SectionName, SectionText};

/// Most items of one FETCH.
const MAX_ITEMS: usize = 256;
/// Most header names of one section.
const MAX_HEADER_NAMES: usize = 256;
/// Most part numbers of one section: parts are looked into to
/// [`MAX_DEPTH`](crate::message::structure::MAX_DEPTH).
const MAX_PATH: usize = 100;

/// ```text
/// fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" /
///         fetch-att / "(" fetch-att *(SP fetch-att) ")") [SP "(" "CHANGEDSINCE" SP n ")"]
/// ```
/// CHANGEDSINCE adds MODSEQ to the items (RFC 7162, 3.1.4.1). UID FETCH does not add UID.
pub(super) fn fetch(cursor: &mut Cursor, uid: bool) -> Result<Command> {
    cursor.space()?;
    let set = cursor.sequence_set()?;
    cursor.space()?;
    let mut items = Vec::new();
    if cursor.peek() == Some(b'(') {
        cursor.list(MAX_ITEMS, |cursor| {
            let item = item(cursor)?;
            push(&mut items, item);
            Ok(())
        })?;
    } else if !macros(cursor, &mut items) {
        items.push(item(cursor)?);
    }
    if items.is_empty() {
        return syntax("FETCH names no items");
    }
    let changed_since = changed_since(cursor)?;
    if changed_since.is_some() {
        push(&mut items, FetchItem::ModSeq);
    }
    Ok(Command::Fetch {
        uid,
        set,
        items,
        changed_since,
    })
}

fn changed_since(cursor: &mut Cursor) -> Result<Option<u64>> {
    if cursor.at_end() {
        return Ok(None);
    }
    cursor.space()?;
    let mut since = None;
    cursor.list(1, |cursor| {
        if !cursor.skip_keyword("CHANGEDSINCE") {
            return syntax("an unknown FETCH modifier");
        }
        cursor.space()?;
        since = Some(cursor.number()?);
        Ok(())
    })?;
    Ok(since)
}

/// An item asked for twice is answered once.
fn push(items: &mut Vec<FetchItem>, item: FetchItem) {
    if !items.contains(&item) {
        items.push(item);
    }
}

fn macros(cursor: &mut Cursor, items: &mut Vec<FetchItem>) -> bool {
    let full = cursor.skip_keyword("FULL");
    let all = full || cursor.skip_keyword("ALL");
    let fast = all || cursor.skip_keyword("FAST");
    if fast {
        items.extend([
            FetchItem::Flags,
            FetchItem::InternalDate,
            FetchItem::Rfc822Size,
        ]);
    }
    if all {
        items.push(FetchItem::Envelope);
    }
    if full {
        items.push(FetchItem::Body);
    }
    fast
}

fn item(cursor: &mut Cursor) -> Result<FetchItem> {
    let name = cursor.run(|b| b.is_ascii_alphanumeric() || b == b'.');
    let name = name.to_ascii_uppercase();
    Ok(match name.as_slice() {
        b"UID" => FetchItem::Uid,
        b"FLAGS" => FetchItem::Flags,
        b"INTERNALDATE" => FetchItem::InternalDate,
        b"RFC822.SIZE" => FetchItem::Rfc822Size,
        b"ENVELOPE" => FetchItem::Envelope,
        b"BODYSTRUCTURE" => FetchItem::BodyStructure,
        b"MODSEQ" => FetchItem::ModSeq,
        b"RFC822" => rfc822(SectionText::All, false, SectionName::Rfc822),
        b"RFC822.HEADER" => rfc822(SectionText::Header, true, SectionName::Rfc822Header),
        b"RFC822.TEXT" => rfc822(SectionText::Text, false, SectionName::Rfc822Text),
        b"BODY" if cursor.peek() != Some(b'[') => FetchItem::Body,
        b"BODY" => body(cursor, false)?,
        b"BODY.PEEK" => body(cursor, true)?,
        b"BINARY" => binary(cursor, false)?,
        b"BINARY.PEEK" => binary(cursor, true)?,
        b"BINARY.SIZE" => FetchItem::BinarySize(bracketed_path(cursor)?),
        _ => return syntax("an unknown FETCH item"),
    })
}

fn rfc822(text: SectionText, peek: bool, name: SectionName) -> FetchItem {
    let path = Vec::new();
    FetchItem::Section {
        section: Section { path, text },
        peek,
        partial: None,
        name,
    }
}

fn body(cursor: &mut Cursor, peek: bool) -> Result<FetchItem> {
    Ok(FetchItem::Section {
        section: section(cursor)?,
        peek,
        partial: partial(cursor)?,
        name: SectionName::Body,
    })
}

fn binary(cursor: &mut Cursor, peek: bool) -> Result<FetchItem> {
    Ok(FetchItem::Binary {
        path: bracketed_path(cursor)?,
        peek,
        partial: partial(cursor)?,
    })
}

fn bracketed_path(cursor: &mut Cursor) -> Result<Vec<u32>> {
    cursor.expect(b'[', "a section is missing")?;
    let (path, more) = path(cursor)?;
    if more {
        return syntax("a part number is missing");
    }
    cursor.expect(b']', "a section has no end")?;
    Ok(path)
}

/// ```text
/// section      = "[" [section-spec] "]"
/// section-spec = section-msgtext / (section-part ["." section-text])
/// section-text = section-msgtext / "MIME"
/// ```
fn section(cursor: &mut Cursor) -> Result<Section> {
    cursor.expect(b'[', "a section is missing")?;
    let (path, more) = path(cursor)?;
    let text = if more || path.is_empty() && cursor.peek() != Some(b']') {
        section_text(cursor, !path.is_empty())?
    } else {
        SectionText::All
    };
    cursor.expect(b']', "a section has no end")?;
    Ok(Section { path, text })
}

/// Part numbers, and whether a dot follows them.
fn path(cursor: &mut Cursor) -> Result<(Vec<u32>, bool)> {
    let mut path = Vec::new();
    while cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
        let part = u32::try_from(cursor.number()?).unwrap_or(0);
        if part == 0 || path.len() == MAX_PATH {
            return syntax("a part number is out of range");
        }
        path.push(part);
        if !cursor.skip(b'.') {
            return Ok((path, false));
        }
    }
    let more = !path.is_empty();
    Ok((path, more))
}

fn section_text(cursor: &mut Cursor, of_part: bool) -> Result<SectionText> {
    let name = cursor.run(|b| b.is_ascii_alphabetic() || b == b'.');
    match name.to_ascii_uppercase().as_slice() {
        b"HEADER" => Ok(SectionText::Header),
        b"HEADER.FIELDS" => Ok(SectionText::HeaderFields(header_names(cursor)?)),
        b"HEADER.FIELDS.NOT" => Ok(SectionText::HeaderFieldsNot(header_names(cursor)?)),
        b"TEXT" => Ok(SectionText::Text),
        b"MIME" if of_part => Ok(SectionText::Mime),
        _ => syntax("an unknown section"),
    }
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"`
fn header_names(cursor: &mut Cursor) -> Result<Vec<String>> {
    cursor.space()?;
    let mut names = Vec::new();
    cursor.list(MAX_HEADER_NAMES, |cursor| {
        names.push(cursor.text()?);
        Ok(())
    })?;
    if names.is_empty() {
        return syntax("a list of header fields is empty");
    }
    Ok(names)
}

/// `"<" number "." nz-number ">"`. As with Dovecot the count may be 0, or left out for all
/// that is there.
fn partial(cursor: &mut Cursor) -> Result<Option<Partial>> {
    if !cursor.skip(b'<') {
        return Ok(None);
    }
    let start = saturated(cursor)?;
    let count = match cursor.skip(b'.') {
        true => saturated(cursor)?,
        false => u32::MAX,
    };
    cursor.expect(b'>', "a partial fetch has no end")?;
    Ok(Some(Partial { start, count }))
}

/// Clients ask for "the rest" with numbers beyond 32 bits.
fn saturated(cursor: &mut Cursor) -> Result<u32> {
    Ok(u32::try_from(cursor.number()?).unwrap_or(u32::MAX))
}
