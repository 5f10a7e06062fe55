//! Filling mailboxes with known messages, as fast as each server lets us.

use crate::Bench;
use crate::client::{Result, Site};
use crate::imap::Imap;
use crate::messages::{Kind, message};
use std::sync::Arc;

/// Connections that fill a mailbox together; its order is then nobody's.
const CONNECTIONS: usize = 32;

/// The account whose mailboxes hold many messages.
pub const READER: &str = "alice";
pub const LARGE: &str = "large";
pub const MEDIUM: &str = "medium";
pub const SMALL: &str = "small";
/// The account whose INBOX holds the mixed messages: POP3 sees no other mailbox.
pub const MIXED_READER: &str = "carol";

/// The large mailbox of the reader, once.
pub fn large(bench: &mut Bench) -> Result<()> {
    let count = bench.scale.large;
    mailbox(bench, LARGE, READER, Kind::Small, count)
}

/// The medium mailbox of the reader, once.
pub fn medium(bench: &mut Bench) -> Result<()> {
    let count = bench.scale.medium;
    mailbox(bench, MEDIUM, READER, Kind::Small, count)
}

/// The small mailbox of the reader, once.
pub fn small(bench: &mut Bench) -> Result<()> {
    let count = bench.scale.small;
    mailbox(bench, SMALL, READER, Kind::Small, count)
}

/// The INBOX with messages of many sizes, once.
pub fn mixed(bench: &mut Bench) -> Result<()> {
    let count = bench.scale.mixed;
    mailbox(bench, "INBOX", MIXED_READER, Kind::Mixed, count)
}

fn mailbox(
    bench: &mut Bench,
    name: &'static str,
    account: &str,
    kind: Kind,
    count: usize,
) -> Result<()> {
    if bench.is_filled(name) {
        return Ok(());
    }
    let site = bench.site();
    let mut imap = Imap::open_filler(&site, account)?;
    imap.empty(name)?;
    // A server without MULTIAPPEND (RFC 3502) commits each by itself, but many at once.
    let together = imap.capabilities.contains(" MULTIAPPEND ");
    let connections = if together { 1 } else { CONNECTIONS };
    std::thread::scope(|scope| {
        let site = &site;
        let work = move |first: usize| -> Result<()> {
            let share = (first..count).step_by(connections);
            Imap::open_filler(site, account)?.fill(name, share.map(|n| numbered(site, kind, n)))
        };
        let threads: Vec<_> = (0..connections)
            .map(|first| scope.spawn(move || work(first)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a filling thread panicked")?)
    })?;
    // A new session: one that has the mailbox selected needn't be told of the others' yet.
    match Imap::open(&site, account)?.count(name)? {
        found if found == count => {
            bench.set_filled(name);
            Ok(())
        }
        found => Err(format!("{found} of {count} messages are in {name}").into()),
    }
}

/// Message `n` of a mailbox that was filled here.
pub fn numbered(site: &Site, kind: Kind, n: usize) -> Arc<[u8]> {
    message(kind, n, &site.address("alice"))
}
