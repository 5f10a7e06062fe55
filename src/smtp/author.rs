//! Who a message says that it is from. Strict where [`crate::message`] is lenient: what
//! can't be read with certainty could be shown as another author than the one checked.

use crate::address::Address;
use crate::mail::Account;
use crate::message::lexer::{Broken, Cursor};

/// Most mailboxes of one From field.
const MAX_AUTHORS: usize = 20;

/// Whether the account may send as this address: its own, an alias, or either with a
/// `+tag` behind the name.
pub fn owns(account: &Account, address: &Address) -> bool {
    let is_own =
        |address: &Address| account.address == *address || account.aliases.contains(address);
    is_own(address) || address.without_tag().is_some_and(|it| is_own(&it))
}

/// The addresses of a `mailbox-list` (RFC 5322, 3.4), one at least. `None` for anything
/// else: groups, routes, text that is no list.
pub fn mailboxes(value: &[u8]) -> Option<Vec<Address>> {
    let mut cursor = Cursor::new(value);
    let mut addresses = Vec::new();
    loop {
        if !cursor.cfws().ok()? || addresses.len() == MAX_AUTHORS {
            return None;
        }
        addresses.push(mailbox(&mut cursor)?);
        if cursor.at_end() {
            return Some(addresses);
        }
        if !cursor.is_at(b',') {
            return None;
        }
        cursor.bump();
    }
}

/// `[display-name] "<" addr-spec ">" / addr-spec`
fn mailbox(cursor: &mut Cursor<'_>) -> Option<Address> {
    let start = cursor.place();
    let mut name = Vec::new();
    let named = cursor.is_at(b'<') || cursor.phrase(&mut name) == Ok(true);
    if !(named && cursor.is_at(b'<')) {
        cursor.go_back(start);
        return addr_spec(cursor);
    }
    cursor.bump();
    if !cursor.cfws().ok()? {
        return None;
    }
    let address = addr_spec(cursor)?;
    if !cursor.is_at(b'>') {
        return None;
    }
    cursor.bump();
    cursor.cfws().ok()?;
    Some(address)
}

/// `local-part "@" domain`, and what CFWS follows.
fn addr_spec(cursor: &mut Cursor<'_>) -> Option<Address> {
    let mut text = Vec::new();
    let more = if cursor.is_at(b'"') {
        let mut local = Vec::new();
        let more = cursor.quoted_string(&mut local);
        text.push(b'"');
        for byte in local {
            if matches!(byte, b'"' | b'\\') {
                text.push(b'\\');
            }
            text.push(byte);
        }
        text.push(b'"');
        more
    } else {
        cursor.dot_atom(&mut text)
    };
    if more != Ok(true) || !cursor.is_at(b'@') {
        return None;
    }
    text.push(b'@');
    let read: Result<bool, Broken> = cursor.domain(&mut text);
    read.ok()?;
    Address::parse(std::str::from_utf8(&text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8]) -> Option<Vec<String>> {
        mailboxes(value).map(|list| list.iter().map(Address::to_string).collect())
    }

    #[test]
    fn lists_are_read() {
        for (value, expected) in [
            (&b"a@b.de"[..], &["a@b.de"][..]),
            (b" Ann <a@b.de>", &["a@b.de"]),
            (b"\"x@y.de\" <a@b.de> (z@y.de)", &["a@b.de"]),
            (b"<a@b.de>\r\n", &["a@b.de"]),
            (b"Ann Q. Public\r\n <a@b.de>, b@b.de", &["a@b.de", "b@b.de"]),
            (b"=?utf-8?q?J=C3=B6rg?= <a@b.de>", &["a@b.de"]),
            (b"J\xf6rg <a@b.de>", &["a@b.de"]),
            (b"\"a b\"@b.de", &["\"a b\"@b.de"]),
            (b"a @ b . de", &["a@b.de"]),
        ] {
            let expected: Vec<String> = expected.iter().map(|it| it.to_string()).collect();
            assert_eq!(read(value), Some(expected), "{value:?}");
        }
    }

    #[test]
    fn what_could_be_read_two_ways_is_not_read() {
        for value in [
            &b""[..],
            b"a",
            b"a@b.de <c@d.de>",
            b"a@b.de c@d.de",
            b"<a@b.de> <c@d.de>",
            b"<a@b.de>, ",
            b"<@x.de:a@b.de>",
            b"<a@b.de",
            b"team: a@b.de;",
            b"\"a@b.de",
            b"(a@b.de",
            b"a\xff@b.de",
            b"a@b.de\0",
        ] {
            assert_eq!(read(value), None, "{value:?}");
        }
    }

    #[test]
    fn an_account_owns_its_address_aliases_and_their_tags() {
        let parse = |text: &str| Address::parse(text).unwrap();
        let account = Account {
            id: crate::mail::AccountId(1),
            address: parse("ann@b.de"),
            aliases: vec![parse("info@b.de")],
        };
        for own in ["ANN@b.de", "info@B.de", "ann+x@b.de", "info+x@b.de"] {
            assert!(owns(&account, &parse(own)), "{own}");
        }
        for other in ["bob@b.de", "ann@c.de", "annx@b.de", "bob+ann@b.de"] {
            assert!(!owns(&account, &parse(other)), "{other}");
        }
    }
}
