//! LIST and STATUS: RFC 3501, 6.3.8 and 6.3.10; LIST-EXTENDED (RFC 5258), SPECIAL-USE
//! (RFC 6154), LIST-STATUS (RFC 5819).

use super::cursor::{Cursor, Result, is_list_char, mailbox_name, syntax, utf8};
use crate::imap::command::{Command, List, ParseError, StatusItem};
use std::borrow::Cow;

/// Most patterns of one LIST.
const MAX_PATTERNS: usize = 64;
/// Most options, or STATUS items, in one list.
const MAX_OPTIONS: usize = 32;

/// ```text
/// list = "LIST" [SP "(" [list-select-opts] ")"] SP mailbox SP mbox-or-pat
///        [SP "RETURN" SP "(" [return-options] ")"]
/// ```
pub(super) fn list(cursor: &mut Cursor) -> Result<List> {
    let mut list = List::default();
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        selection(cursor, &mut list)?;
        cursor.space()?;
    }
    list.reference = name_or_text(cursor.astring()?)?;
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        cursor.list(MAX_PATTERNS, |cursor| {
            let pattern = pattern(cursor)?;
            list.patterns.push(pattern);
            Ok(())
        })?;
    } else {
        list.patterns.push(pattern(cursor)?);
    }
    if !cursor.at_end() {
        cursor.space()?;
        if !cursor.skip_keyword("RETURN") {
            return syntax("LIST takes RETURN here");
        }
        cursor.space()?;
        returns(cursor, &mut list)?;
    }
    Ok(list)
}

pub(super) fn lsub(cursor: &mut Cursor) -> Result<Command> {
    cursor.space()?;
    let reference = name_or_text(cursor.astring()?)?;
    cursor.space()?;
    let pattern = pattern(cursor)?;
    Ok(Command::Lsub { reference, pattern })
}

pub(super) fn status(cursor: &mut Cursor) -> Result<Command> {
    cursor.space()?;
    let mailbox = cursor.mailbox()?;
    cursor.space()?;
    let items = status_items(cursor)?;
    Ok(Command::Status { mailbox, items })
}

fn selection(cursor: &mut Cursor, list: &mut List) -> Result<()> {
    cursor.list(MAX_OPTIONS, |cursor| {
        match cursor.keyword()?.as_str() {
            "SUBSCRIBED" => list.select_subscribed = true,
            "REMOTE" => list.select_remote = true,
            "RECURSIVEMATCH" => list.select_recursive_match = true,
            "SPECIAL-USE" => list.select_special_use = true,
            _ => return syntax("an unknown LIST selection option"),
        }
        Ok(())
    })?;
    // RFC 5258, 3: it needs an option to be recursive about.
    let base = list.select_subscribed || list.select_special_use;
    if list.select_recursive_match && !base {
        return syntax("RECURSIVEMATCH needs another selection option");
    }
    Ok(())
}

fn returns(cursor: &mut Cursor, list: &mut List) -> Result<()> {
    cursor.list(MAX_OPTIONS, |cursor| {
        match cursor.keyword()?.as_str() {
            "SUBSCRIBED" => list.return_subscribed = true,
            "CHILDREN" => list.return_children = true,
            "SPECIAL-USE" => list.return_special_use = true,
            "STATUS" => {
                cursor.space()?;
                list.return_status = status_items(cursor)?;
            }
            _ => return syntax("an unknown LIST return option"),
        }
        Ok(())
    })
}

/// `list-mailbox = 1*list-char / string`
fn pattern(cursor: &mut Cursor) -> Result<String> {
    let pattern = match cursor.peek() {
        Some(b'"' | b'{') => cursor.string()?,
        _ => match cursor.run(is_list_char) {
            b"" => return syntax("a pattern is missing"),
            run => Cow::Borrowed(run),
        },
    };
    name_or_text(pattern)
}

/// What is no modified UTF-7 stays as it is: it is no name, but names nothing either, and
/// a listing of nothing is the honest answer.
fn name_or_text(bytes: Cow<[u8]>) -> Result<String> {
    match mailbox_name(Cow::Borrowed(&*bytes)) {
        Err(ParseError::MailboxName) => utf8(bytes),
        name => name,
    }
}

fn status_items(cursor: &mut Cursor) -> Result<Vec<StatusItem>> {
    let mut items = Vec::new();
    cursor.list(MAX_OPTIONS, |cursor| {
        let item = match cursor.keyword()?.as_str() {
            "MESSAGES" => StatusItem::Messages,
            "RECENT" => StatusItem::Recent,
            "UIDNEXT" => StatusItem::UidNext,
            "UIDVALIDITY" => StatusItem::UidValidity,
            "UNSEEN" => StatusItem::Unseen,
            "DELETED" => StatusItem::Deleted,
            "SIZE" => StatusItem::Size,
            "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
            "DELETED-STORAGE" => StatusItem::DeletedStorage,
            "APPENDLIMIT" => StatusItem::AppendLimit,
            _ => return syntax("an unknown STATUS item"),
        };
        if !items.contains(&item) {
            items.push(item);
        }
        Ok(())
    })?;
    if items.is_empty() {
        return syntax("STATUS names no items");
    }
    Ok(items)
}
