//! SEARCH (RFC 3501, 6.4.4), with RETURN (RFC 4731), MODSEQ (RFC 7162, 3.1.5), OLDER and
//! YOUNGER (RFC 5032).

use super::cursor::{Cursor, Result, syntax};
use super::flags;
use crate::imap::command::{Command, ParseError, SearchKey, SearchReturn};
use crate::imap::date;
use crate::mail::Flags;
use crate::message::charset::{TextDecoder, to_text};

/// Deepest nesting of parentheses, OR and NOT.
pub const MAX_DEPTH: usize = 100;
/// Most keys of one SEARCH.
pub const MAX_KEYS: usize = 2048;
/// Most RETURN options.
const MAX_OPTIONS: usize = 16;

/// ```text
/// search = "SEARCH" [SP "RETURN" SP "(" [options] ")"] [SP "CHARSET" SP astring]
///          1*(SP search-key)
/// ```
pub(super) fn search(cursor: &mut Cursor, uid: bool) -> Result<Command> {
    cursor.space()?;
    let options = options(cursor)?;
    let charset = charset(cursor)?;
    let mut keys = Keys {
        left: MAX_KEYS,
        charset: charset.clone().unwrap_or_else(|| "utf-8".into()),
    };
    let mut all = vec![keys.key(cursor, 0)?];
    while !cursor.at_end() {
        cursor.space()?;
        all.push(keys.key(cursor, 0)?);
    }
    Ok(Command::Search {
        uid,
        options,
        charset,
        key: and(all),
    })
}

fn options(cursor: &mut Cursor) -> Result<Option<SearchReturn>> {
    if !cursor.skip_keyword("RETURN") {
        return Ok(None);
    }
    cursor.space()?;
    let mut options = SearchReturn::default();
    cursor.list(MAX_OPTIONS, |cursor| {
        match cursor.keyword()?.as_str() {
            "MIN" => options.min = true,
            "MAX" => options.max = true,
            "ALL" => options.all = true,
            "COUNT" => options.count = true,
            _ => return syntax("an unknown SEARCH return option"),
        }
        Ok(())
    })?;
    cursor.space()?;
    Ok(Some(options))
}

fn charset(cursor: &mut Cursor) -> Result<Option<String>> {
    if !cursor.skip_keyword("CHARSET") {
        return Ok(None);
    }
    cursor.space()?;
    let name = cursor.text()?;
    if !TextDecoder::knows(&name) {
        return Err(ParseError::Charset);
    }
    cursor.space()?;
    Ok(Some(name))
}

fn and(mut keys: Vec<SearchKey>) -> SearchKey {
    match keys.len() {
        1 => keys.pop().unwrap_or(SearchKey::All),
        _ => SearchKey::And(keys),
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

struct Keys {
    left: usize,
    charset: String,
}

impl Keys {
    fn key(&mut self, cursor: &mut Cursor, depth: usize) -> Result<SearchKey> {
        if depth > MAX_DEPTH {
            return syntax("the search is nested too deep");
        }
        if self.left == 0 {
            return syntax("the search has too many keys");
        }
        self.left -= 1;
        match cursor.peek() {
            Some(b'(') => self.group(cursor, depth),
            Some(b) if b.is_ascii_digit() || b == b'*' => {
                Ok(SearchKey::Sequence(cursor.sequence_set()?))
            }
            _ => {
                let name = cursor.keyword()?;
                self.named(cursor, &name, depth)
            }
        }
    }

    /// `"(" search-key *(SP search-key) ")"`
    fn group(&mut self, cursor: &mut Cursor, depth: usize) -> Result<SearchKey> {
        let mut keys = Vec::new();
        cursor.list(MAX_KEYS, |cursor| {
            keys.push(self.key(cursor, depth + 1)?);
            Ok(())
        })?;
        if keys.is_empty() {
            return syntax("a group of search keys is empty");
        }
        Ok(and(keys))
    }

    fn named(&mut self, cursor: &mut Cursor, name: &str, depth: usize) -> Result<SearchKey> {
        if let Some(key) = plain(name) {
            return Ok(key);
        }
        cursor.space()?;
        Ok(match name {
            "NOT" => not(self.key(cursor, depth + 1)?),
            "OR" => {
                let first = self.key(cursor, depth + 1)?;
                cursor.space()?;
                SearchKey::Or(Box::new(first), Box::new(self.key(cursor, depth + 1)?))
            }
            "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => SearchKey::Header {
                name: name.to_owned(),
                value: self.string(cursor)?,
            },
            "HEADER" => {
                let name = cursor.text()?;
                cursor.space()?;
                let value = self.string(cursor)?;
                SearchKey::Header { name, value }
            }
            "BODY" => SearchKey::Body(self.string(cursor)?),
            "TEXT" => SearchKey::Text(self.string(cursor)?),
            "KEYWORD" => SearchKey::Keyword(flags::keyword(cursor)?),
            "UNKEYWORD" => not(SearchKey::Keyword(flags::keyword(cursor)?)),
            "BEFORE" => SearchKey::Before(day(cursor)?),
            "ON" => SearchKey::On(day(cursor)?),
            "SINCE" => SearchKey::Since(day(cursor)?),
            "SENTBEFORE" => SearchKey::SentBefore(day(cursor)?),
            "SENTON" => SearchKey::SentOn(day(cursor)?),
            "SENTSINCE" => SearchKey::SentSince(day(cursor)?),
            "LARGER" => SearchKey::Larger(cursor.number()?),
            "SMALLER" => SearchKey::Smaller(cursor.number()?),
            "UID" => SearchKey::Uid(cursor.sequence_set()?),
            "MODSEQ" => SearchKey::ModSeq(modseq(cursor)?),
            "OLDER" => SearchKey::Older(interval(cursor)?),
            "YOUNGER" => SearchKey::Younger(interval(cursor)?),
            _ => return syntax("an unknown search key"),
        })
    }

    fn string(&mut self, cursor: &mut Cursor) -> Result<String> {
        let bytes = cursor.astring()?;
        // What is no text in its charset would only be found where the same is broken.
        match to_text(&bytes, &self.charset) {
            text if text.contains(char::REPLACEMENT_CHARACTER) => {
                syntax("a string is not in the search's charset")
            }
            text => Ok(text),
        }
    }
}

/// The keys without an argument.
fn plain(name: &str) -> Option<SearchKey> {
    let flag = SearchKey::Flag;
    Some(match name {
        "ALL" => SearchKey::All,
        "ANSWERED" => flag(Flags::ANSWERED),
        "DELETED" => flag(Flags::DELETED),
        "DRAFT" => flag(Flags::DRAFT),
        "FLAGGED" => flag(Flags::FLAGGED),
        "SEEN" => flag(Flags::SEEN),
        "UNANSWERED" => not(flag(Flags::ANSWERED)),
        "UNDELETED" => not(flag(Flags::DELETED)),
        "UNDRAFT" => not(flag(Flags::DRAFT)),
        "UNFLAGGED" => not(flag(Flags::FLAGGED)),
        "UNSEEN" => not(flag(Flags::SEEN)),
        "NEW" => SearchKey::And(vec![SearchKey::Recent, not(flag(Flags::SEEN))]),
        "OLD" => not(SearchKey::Recent),
        "RECENT" => SearchKey::Recent,
        _ => return None,
    })
}

/// `date = date-text / DQUOTE date-text DQUOTE`
fn day(cursor: &mut Cursor) -> Result<i64> {
    let text = cursor.text()?;
    date::parse_day(&text).ok_or(ParseError::Syntax("a date is malformed"))
}

/// `search-modseq = "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer`:
/// all flags of a message share one mod-sequence here, so which of them is meant is all one.
fn modseq(cursor: &mut Cursor) -> Result<u64> {
    if cursor.peek() == Some(b'"') {
        let entry = cursor.string()?;
        if !entry.starts_with(b"/flags/") {
            return syntax("an unknown MODSEQ entry");
        }
        cursor.space()?;
        if !matches!(cursor.keyword()?.as_str(), "PRIV" | "SHARED" | "ALL") {
            return syntax("an unknown MODSEQ entry type");
        }
        cursor.space()?;
    }
    cursor.number()
}

/// Seconds, at least one.
fn interval(cursor: &mut Cursor) -> Result<u64> {
    match cursor.number()? {
        0 => syntax("an interval of no seconds"),
        n => Ok(n),
    }
}
