//! Who sends, and who a message says that it is from. Strict where [`crate::message`] is lenient: what
//! can't be read with certainty could be shown as another author than the one checked.

use crate::address::{Address, Domain};
use crate::mail::Account;
use crate::mail::addressing::Grant;
use crate::message::header;
use crate::message::lexer::{Broken, Cursor};

/// Most mailboxes of one From field.
const MAX_AUTHORS: usize = 20;

/// Who may submit here.
#[derive(Clone, Debug)]
pub enum Author {
    /// It has logged in.
    Account {
        account: Account,
        grants: Vec<Grant>,
    },
    /// It is where a device is that needs no login.
    Device {
        name: String,
        /// Those of this server.
        domains: Vec<Domain>,
    },
}

impl Author {
    /// Whether it may send as this address. An account: its own, an alias, one that is granted,
    /// or any of them with a `+tag` behind the name. A device: any of the server's domains.
    pub fn owns(&self, address: &Address) -> bool {
        let owns = |address: &Address| match self {
            Author::Account { account, grants } => {
                account.address == *address
                    || account.aliases.contains(address)
                    || grants.iter().any(|it| it.covers(address))
            }
            Author::Device { domains, .. } => domains.contains(address.domain()),
        };
        owns(address) || address.without_tag().is_some_and(|it| owns(&it))
    }

    /// The domain that it belongs to, if it belongs to any.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Author::Account { account, .. } => Some(account.address.domain()),
            Author::Device { domains, .. } => domains.first(),
        }
    }

    /// For a refusal's text: the first of what it may send as.
    pub fn addresses(&self) -> String {
        const MOST: usize = 5;
        let mut all: Vec<String> = match self {
            Author::Account { account, grants } => {
                let aliases = account.aliases.iter().map(Address::to_string);
                let grants = grants.iter().map(Grant::to_string);
                let own = std::iter::once(account.address.to_string());
                own.chain(aliases).chain(grants).take(MOST + 1).collect()
            }
            Author::Device { domains, .. } => {
                let domains = domains.iter().map(|it| format!("@{it}"));
                domains.take(MOST + 1).collect()
            }
        };
        if let Some(last) = all.get_mut(MOST) {
            *last = "...".into();
        }
        all.join(", ")
    }
}

/// A device known by its address.
#[derive(Clone, Debug)]
pub struct Trusted {
    pub author: Author,
    /// Whether TLS must be on first.
    pub tls: bool,
}

impl Trusted {
    pub(super) fn author(&self, tls: bool) -> Option<Author> {
        (tls || !self.tls).then(|| self.author.clone())
    }
}

/// The domain of one From field, whose authors all have the same.
pub fn domain(header: &[u8]) -> Option<String> {
    let mut fields = header::fields(header).filter(|it| it.is(b"From"));
    let authors = mailboxes(fields.next()?.value())?;
    let domain = authors.first()?.domain();
    let one = fields.next().is_none() && authors.iter().all(|it| it.domain() == domain);
    one.then(|| domain.to_string())
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
    fn an_account_owns_its_addresses_grants_and_their_tags() {
        let parse = |text: &str| Address::parse(text).unwrap();
        let account = Account {
            id: crate::mail::AccountId(1),
            address: parse("ann@b.de"),
            aliases: vec![parse("info@b.de")],
        };
        let grants = ["boss@b.de", "@list.de"].map(|it| Grant::parse(it).unwrap());
        let author = Author::Account {
            account,
            grants: grants.to_vec(),
        };
        for own in [
            "ANN@b.de",
            "info@B.de",
            "ann+x@b.de",
            "info+x@b.de",
            "boss+x@b.de",
            "any@list.de",
        ] {
            assert!(author.owns(&parse(own)), "{own}");
        }
        for other in [
            "bob@b.de",
            "ann@c.de",
            "annx@b.de",
            "bob+ann@b.de",
            "x@a.list.de",
        ] {
            assert!(!author.owns(&parse(other)), "{other}");
        }
        assert_eq!(
            author.addresses(),
            "ann@b.de, info@b.de, boss@b.de, @list.de"
        );
    }

    #[test]
    fn a_device_owns_the_domains_of_the_server() {
        let domains = ["a.de", "b.de", "c.de", "d.de", "e.de", "f.de"];
        let author = Author::Device {
            name: "scanner".into(),
            domains: domains.map(|it| Domain::parse(it).unwrap()).to_vec(),
        };
        assert!(author.owns(&Address::parse("anything@b.de").unwrap()));
        assert!(!author.owns(&Address::parse("anything@sub.b.de").unwrap()));
        assert_eq!(author.addresses(), "@a.de, @b.de, @c.de, @d.de, @e.de, ...");
    }

    #[test]
    fn the_author_is_one_domain_or_unclear() {
        let of = |header: &str| domain(header.as_bytes());
        assert_eq!(
            of("From: A <a@b.test>, c@B.test\r\n").as_deref(),
            Some("b.test")
        );
        for unclear in [
            "Subject: x\r\n",
            "From: a@b.test\r\nFrom: a@b.test\r\n",
            "From: a@b.test, c@d.test\r\n",
            "From: a@b.test <c@d.test>\r\n",
            "From:\r\n",
        ] {
            assert_eq!(of(unclear), None, "{unclear}");
        }
    }
}
