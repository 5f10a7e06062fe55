//! Address lists as ENVELOPE shows them (RFC 5322, 3.4; RFC 3501, 7.4.2), lenient the way
//! Dovecot 2.3 is: what can't be read still shows, with MISSING_… or SYNTAX_ERROR in place.

use super::lexer::{Broken, Cursor, Step};

/// One entry of the list. A group is an entry with a mailbox (its name) alone, its
/// members, and an entry with nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListEntry {
    pub name: Option<Vec<u8>>,
    pub route: Option<Vec<u8>>,
    pub mailbox: Option<Vec<u8>>,
    pub domain: Option<Vec<u8>>,
}

/// Most entries read of one field.
pub const MAX_ADDRESSES: usize = 10_000;

/// Reads a field value, appending to `list` (several fields of one name are one list).
pub fn parse(value: &[u8], list: &mut Vec<ListEntry>) {
    let mut reader = Reader {
        cursor: Cursor::new(value),
        list,
    };
    if reader.cursor.cfws() == Ok(true) {
        reader.address_list();
    }
}

struct Reader<'a, 'l> {
    cursor: Cursor<'a>,
    list: &'l mut Vec<ListEntry>,
}

impl Reader<'_, '_> {
    /// `address *("," address)`
    fn address_list(&mut self) {
        while self.list.len() < MAX_ADDRESSES {
            let read = match self.group() {
                Err(Broken) => self.mailbox(),
                more => more,
            };
            if read == Ok(false) || !self.cursor.is_at(b',') {
                return;
            }
            self.cursor.bump();
            match self.cursor.cfws() {
                Ok(true) => {}
                Ok(false) => return,
                Err(Broken) => return self.push_filled(ListEntry::default()),
            }
        }
    }

    /// `display-name ":" [mailbox-list / CFWS] ";" [CFWS]`; `Err` before the colon is "no
    /// group", with the place as it was.
    fn group(&mut self) -> Step {
        let start = self.cursor.place();
        let mut name = Vec::new();
        if self.cursor.phrase(&mut name) != Ok(true) || !self.cursor.is_at(b':') {
            self.cursor.go_back(start);
            return Err(Broken);
        }
        self.cursor.bump();
        let mut more = self.cursor.cfws();
        self.list.push(ListEntry {
            mailbox: Some(name),
            ..ListEntry::default()
        });
        if more == Ok(true) && !self.cursor.is_at(b';') {
            more = self.group_members();
        }
        let after = match more {
            Ok(_) if self.cursor.is_at(b';') => {
                self.cursor.bump();
                self.cursor.cfws()
            }
            Ok(_) | Err(Broken) => Ok(true),
        };
        self.list.push(ListEntry::default());
        Ok(after != Ok(false))
    }

    fn group_members(&mut self) -> Step {
        while self.list.len() < MAX_ADDRESSES {
            // A broken member doesn't end the group.
            let _ = self.mailbox();
            if !self.cursor.is_at(b',') {
                break;
            }
            self.cursor.bump();
            if self.cursor.cfws() != Ok(true) {
                return Err(Broken);
            }
        }
        Ok(true)
    }

    /// `name-addr / addr-spec`
    fn mailbox(&mut self) -> Step {
        let start = self.cursor.place();
        if let Some(entry) = self.name_addr() {
            self.push_filled(entry);
            return Ok(!self.cursor.at_end());
        }
        self.cursor.go_back(start);
        let mut entry = ListEntry::default();
        let read = self.addr_spec(&mut entry);
        self.push_filled(entry);
        read
    }

    /// `[display-name] angle-addr`; `None` where there is no `<`.
    fn name_addr(&mut self) -> Option<ListEntry> {
        let mut name = Vec::new();
        if self.cursor.phrase(&mut name) != Ok(true) || !self.cursor.is_at(b'<') {
            return None;
        }
        let mut entry = ListEntry {
            name: Some(name).filter(|name| !name.is_empty()),
            ..ListEntry::default()
        };
        if self.angle_addr(&mut entry).is_err() {
            entry.domain = Some(b"SYNTAX_ERROR".to_vec());
        }
        Some(entry)
    }

    /// `"<" [route ":"] addr-spec ">"`
    fn angle_addr(&mut self, entry: &mut ListEntry) -> Result<(), Broken> {
        self.cursor.bump();
        self.must_go_on()?;
        if self.cursor.is_at(b'@') {
            if self.route(entry) == Ok(true) && self.cursor.is_at(b':') {
                self.cursor.bump();
            } else {
                entry.route = Some(b"INVALID_ROUTE".to_vec());
            }
            self.must_go_on()?;
        }
        if !self.cursor.is_at(b'>') {
            if self.local_part(entry, &mut Vec::new()) != Ok(true) {
                return Err(Broken);
            }
            if self.cursor.is_at(b'@') && self.domain(entry) != Ok(true) {
                return Err(Broken);
            }
        }
        if !self.cursor.is_at(b'>') {
            return Err(Broken);
        }
        self.cursor.bump();
        self.cursor.cfws().map(|_| ())
    }

    fn must_go_on(&mut self) -> Result<(), Broken> {
        match self.cursor.cfws() {
            Ok(true) => Ok(()),
            _ => Err(Broken),
        }
    }

    /// `"@" domain *("," "@" domain)` (obs-route, RFC 5322, 4.4)
    fn route(&mut self, entry: &mut ListEntry) -> Step {
        let mut route = Vec::new();
        while self.cursor.is_at(b'@') {
            if !route.is_empty() {
                route.push(b',');
            }
            route.push(b'@');
            if !self.cursor.domain(&mut route)? {
                return Ok(false);
            }
            while self.cursor.cfws() == Ok(true) && self.cursor.is_at(b',') {
                self.cursor.bump();
            }
        }
        if self.cursor.at_end() {
            return Ok(false);
        }
        entry.route = Some(route);
        Ok(true)
    }

    /// `words` gets what was read even where it ends broken.
    fn local_part(&mut self, entry: &mut ListEntry, words: &mut Vec<u8>) -> Step {
        let read = if self.cursor.is_at(b'"') {
            self.cursor.quoted_string(words)
        } else {
            self.loose_dot_atom(words)
        };
        if read.is_ok() {
            entry.mailbox = Some(words.clone());
        }
        read
    }

    /// A dot-atom that may have dots at its ends and in a row.
    fn loose_dot_atom(&mut self, out: &mut Vec<u8>) -> Step {
        let mut read = Err(Broken);
        loop {
            while self.cursor.is_at(b'.') {
                out.push(b'.');
                self.cursor.bump();
                if self.cursor.at_end() {
                    return Ok(false);
                }
                read = Ok(true);
            }
            if self.cursor.is_at(b'@') {
                return read;
            }
            read = self.cursor.atom(out);
            if read != Ok(true) || !self.cursor.is_at(b'.') {
                return read;
            }
        }
    }

    fn domain(&mut self, entry: &mut ListEntry) -> Step {
        let mut domain = Vec::new();
        let read = self.cursor.domain(&mut domain)?;
        entry.domain = Some(domain);
        Ok(read)
    }

    /// `local-part "@" domain`, a trailing comment being the name; words without `@` are a
    /// name, one word alone is a mailbox.
    fn addr_spec(&mut self, entry: &mut ListEntry) -> Step {
        self.cursor.comment.clear();
        let quoted = self.cursor.is_at(b'"');
        let mut words = Vec::new();
        let mut read = self.local_part(entry, &mut words);
        let mut has_domain = false;
        if read != Ok(false) && self.cursor.is_at(b'@') {
            has_domain = true;
            match self.domain(entry) {
                Ok(true) => {}
                end => read = end,
            }
        }
        if !self.cursor.comment.is_empty() {
            entry.name = Some(std::mem::take(&mut self.cursor.comment));
        } else if !has_domain {
            self.without_domain(entry, words, quoted);
            read = Err(Broken);
        }
        read
    }

    fn without_domain(&mut self, entry: &mut ListEntry, mut words: Vec<u8>, quoted: bool) {
        words.push(b' ');
        let length = words.len();
        let _ = self.cursor.phrase(&mut words);
        if words.len() > length {
            entry.mailbox = None;
            entry.name = Some(words);
        } else if quoted {
            // A quoted string alone is rather a name than a mailbox.
            entry.name = entry.mailbox.take();
        }
    }

    fn push_filled(&mut self, mut entry: ListEntry) {
        if entry.mailbox.is_none() {
            entry.mailbox = Some(b"MISSING_MAILBOX".to_vec());
        }
        if entry.domain.as_ref().is_none_or(|domain| domain.is_empty()) {
            entry.domain = Some(b"MISSING_DOMAIN".to_vec());
        }
        self.list.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries as `name|route|mailbox|domain`, `-` for none.
    fn read(value: &str) -> Vec<String> {
        let mut list = Vec::new();
        parse(value.as_bytes(), &mut list);
        list.iter()
            .map(|entry| {
                [&entry.name, &entry.route, &entry.mailbox, &entry.domain]
                    .map(|part| match part {
                        Some(part) => String::from_utf8_lossy(part).into_owned(),
                        None => "-".into(),
                    })
                    .join("|")
            })
            .collect()
    }

    #[test]
    fn plain_forms() {
        assert_eq!(read("a@b.c"), ["-|-|a|b.c"]);
        assert_eq!(read("<a@b.c>, d@e"), ["-|-|a|b.c", "-|-|d|e"]);
        assert_eq!(read("Ann B. See <a@b>"), ["Ann B. See|-|a|b"]);
        assert_eq!(read("\"B, \\\"Ann\\\"\" <a@b>"), ["B, \"Ann\"|-|a|b"]);
        assert_eq!(read("a@b (Ann (of b))"), ["Ann (of b)|-|a|b"]);
        assert_eq!(read("\"a b\"@c"), ["-|-|a b|c"]);
        assert_eq!(read("a@[192.0.2.1]"), ["-|-|a|[192.0.2.1]"]);
        assert_eq!(read("Folded\r\n Name\r\n <a@b>"), ["Folded Name|-|a|b"]);
        assert_eq!(read("=?utf-8?q?=41?= <a@b>"), ["=?utf-8?q?=41?=|-|a|b"]);
    }

    #[test]
    fn obsolete_routes() {
        assert_eq!(read("<@x.y,@z:a@b>"), ["-|@x.y,@z|a|b"]);
        assert_eq!(read("N <@x a@b>"), ["N|INVALID_ROUTE|a|b"]);
    }

    #[test]
    fn groups_have_a_start_and_an_end() {
        let group = ["-|-|A Group|-", "-|-|a|b", "N|-|c|d", "-|-|-|-"];
        assert_eq!(read("A Group: a@b, N <c@d>;"), group);
        assert_eq!(
            read("undisclosed-recipients:;"),
            ["-|-|undisclosed-recipients|-", "-|-|-|-"]
        );
        assert_eq!(read("g: a@b")[2], "-|-|-|-");
        assert_eq!(read("g:;, a@b")[2], "-|-|a|b");
    }

    /// Dovecot's readings; RFC 5322 has none.
    #[test]
    fn broken_ones_still_show() {
        assert_eq!(read("word"), ["-|-|word|MISSING_DOMAIN"]);
        assert_eq!(
            read("two words"),
            ["two words|-|MISSING_MAILBOX|MISSING_DOMAIN"]
        );
        assert_eq!(
            read("\"quoted\""),
            ["quoted|-|MISSING_MAILBOX|MISSING_DOMAIN"]
        );
        assert_eq!(read("<>"), ["-|-|MISSING_MAILBOX|MISSING_DOMAIN"]);
        assert_eq!(read("N <a@b"), ["N|-|a|SYNTAX_ERROR"]);
        assert_eq!(read("a..b.@c"), ["-|-|a..b.|c"]);
        assert!(read("").is_empty());
        assert!(read(" (only a comment) ").is_empty());
    }

    #[test]
    fn the_list_is_bounded() {
        let many = "a@b,".repeat(MAX_ADDRESSES + 10);
        assert_eq!(read(&many).len(), MAX_ADDRESSES);
    }
}
