//! Where mail for an address goes: the one place that knows aliases, groups, `+tags` and
//! catch-alls, for every way in.
//!
//! An address is, in this order: an account's own or an alias; a group; with a `+tag`, either
//! of these without it; one that this server made of a sender's whose mail it sent on; what the
//! domain's catch-all takes; unknown, if the domain is ours; and else another server's.

use crate::address::Address;
use crate::mail::srs::{self, Rewriter, Way};
use crate::mail::{AccountId, MailboxName, Standing};
use crate::store::{Error, Result, Snapshot};
use std::collections::{BTreeSet, HashSet};

/// Groups within groups. A deeper member is passed over, as a loop is.
pub const MAX_DEPTH: usize = 10;
/// Copies and remote addresses that one address may come to.
pub const MAX_TARGETS: usize = 1000;

/// What an address comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    Here(Targets),
    /// The domain is ours, the name is not.
    Unknown,
    /// An account's that is disabled and takes no mail.
    Disabled,
    /// The domain is another server's.
    Elsewhere,
}

/// Each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    pub local: BTreeSet<(AccountId, MailboxName)>,
    /// A group's members on other servers.
    pub remote: Vec<Address>,
    /// It is a sender's address that was rewritten here: for bounces alone, which have no
    /// sender themselves.
    pub returns: bool,
}

pub fn resolve(snapshot: &Snapshot, address: &Address) -> Result<Resolved> {
    resolve_at(snapshot, address, jiff::Timestamp::now().as_second())
}

/// As [`resolve`], and a postmaster whom nobody set is reached all the same (RFC 5321, 4.5.1): the
/// first of `administrators` who has a mailbox here. `hostname`, this server's name, need not be a
/// domain with accounts: its postmaster is that of the first domain with one.
pub fn reach(
    snapshot: &Snapshot,
    address: &Address,
    hostname: &str,
    administrators: &[Address],
) -> Result<Resolved> {
    let resolved = resolve(snapshot, address)?;
    if !is_postmaster(address) {
        return Ok(resolved);
    }
    let of_server = address.domain().as_str().eq_ignore_ascii_case(hostname);
    let resolved = match resolved {
        Resolved::Elsewhere if of_server => postmaster(snapshot)?,
        resolved => resolved,
    };
    if resolved == Resolved::Unknown {
        for administrator in administrators {
            if let found @ Resolved::Here(_) = resolve(snapshot, administrator)? {
                return Ok(found);
            }
        }
    }
    Ok(resolved)
}

/// Of any domain, in any case.
pub fn is_postmaster(address: &Address) -> bool {
    address.local().eq_ignore_ascii_case("postmaster")
}

/// The postmaster of the first of our domains that has one.
fn postmaster(snapshot: &Snapshot) -> Result<Resolved> {
    for domain in snapshot.local_domains()? {
        if let Ok(address) = Address::parse(&format!("postmaster@{domain}"))
            && let found @ Resolved::Here(_) = resolve(snapshot, &address)?
        {
            return Ok(found);
        }
    }
    Ok(Resolved::Unknown)
}

/// What rewrites senders' addresses, once there is a key for it.
pub fn rewriter(snapshot: &Snapshot) -> Result<Option<Rewriter>> {
    let key = snapshot.record(srs::KEYS, srs::KEY)?;
    Ok(key.map(|key| Rewriter::new(&key)))
}

/// `now`: seconds since 1970.
fn resolve_at(snapshot: &Snapshot, address: &Address, now: i64) -> Result<Resolved> {
    let mut expansion = Expansion {
        snapshot,
        targets: Targets::default(),
        seen: HashSet::new(),
        now,
    };
    match expansion.visit(address, 0)? {
        Place::Elsewhere => Ok(Resolved::Elsewhere),
        Place::Unknown => Ok(Resolved::Unknown),
        Place::Disabled => Ok(Resolved::Disabled),
        Place::Here if expansion.targets.is_empty() => Ok(Resolved::Unknown),
        Place::Here => Ok(Resolved::Here(expansion.targets)),
    }
}

impl Targets {
    fn is_empty(&self) -> bool {
        self.local.is_empty() && self.remote.is_empty()
    }
}

struct Expansion<'a> {
    snapshot: &'a Snapshot,
    targets: Targets,
    /// Groups and catch-alls entered.
    seen: HashSet<String>,
    now: i64,
}

enum Place {
    Here,
    Unknown,
    Disabled,
    Elsewhere,
}

impl Expansion<'_> {
    fn visit(&mut self, address: &Address, depth: usize) -> Result<Place> {
        let snapshot = self.snapshot;
        // Who has the mailbox elsewhere would never see what is kept here.
        if snapshot.home_of_address(address)?.is_some() {
            return Ok(Place::Elsewhere);
        }
        if let Some(account) = snapshot.account_by_address(address)? {
            return self.take(account.id, MailboxName::inbox());
        }
        if let Some(members) = snapshot.group(address)? {
            return self.enter(address.key(), &members, depth);
        }
        if let (Some(base), Some(tag)) = (address.without_tag(), address.tag()) {
            if snapshot.home_of_address(&base)?.is_some() {
                return Ok(Place::Elsewhere);
            }
            if let Some(account) = snapshot.account_by_address(&base)? {
                let mailbox = mailbox_of(snapshot, account.id, tag)?;
                return self.take(account.id, mailbox);
            }
            if let Some(members) = snapshot.group(&base)? {
                return self.enter(base.key(), &members, depth);
            }
        }
        if depth == 0 && srs::is_rewritten(address) && snapshot.is_local_domain(address.domain())? {
            return self.turn_back(address);
        }
        if let Some(to) = snapshot.catch_all(address.domain())? {
            return self.enter(format!("@{}", address.domain()), &[to], depth);
        }
        match snapshot.is_local_domain(address.domain())? {
            true => Ok(Place::Unknown),
            false => Ok(Place::Elsewhere),
        }
    }

    /// A bounce, on its way to who sent the message first.
    fn turn_back(&mut self, address: &Address) -> Result<Place> {
        let rewriter = rewriter(self.snapshot)?;
        let restored = rewriter.and_then(|it| it.restore(address, self.now));
        let sender = match restored {
            Some(Ok(Way::To(sender))) => sender,
            Some(Ok(Way::Token(token))) => {
                let known = self.snapshot.record(srs::SENDERS, &token)?;
                match known.as_deref().and_then(srs::remembered) {
                    Some((_, sender)) => sender,
                    None => return Ok(Place::Unknown),
                }
            }
            Some(Err(why)) => {
                log::info!("{address} is no address of a sender: {why:?}");
                return Ok(Place::Unknown);
            }
            None => return Ok(Place::Unknown),
        };
        self.targets.returns = true;
        match self.visit(&sender, 1)? {
            Place::Elsewhere => {
                self.take_remote(&sender)?;
                Ok(Place::Here)
            }
            place => Ok(place),
        }
    }

    /// Follows a group's members, once.
    fn enter(&mut self, key: String, members: &[Address], depth: usize) -> Result<Place> {
        if depth >= MAX_DEPTH || !self.seen.insert(key) {
            return Ok(Place::Here);
        }
        for member in members {
            match self.visit(member, depth + 1)? {
                Place::Here => {}
                Place::Unknown => log::warn!("a group or catch-all names {member}: unknown here"),
                Place::Disabled => log::info!("a group or catch-all names {member}: disabled"),
                Place::Elsewhere => self.take_remote(member)?,
            }
        }
        Ok(Place::Here)
    }

    /// One that is deleted is as unknown as one that was never there.
    fn take(&mut self, account: AccountId, mailbox: MailboxName) -> Result<Place> {
        match self.snapshot.standing(account)? {
            it if it.takes_mail() => {}
            Standing::Disabled { .. } => return Ok(Place::Disabled),
            _ => return Ok(Place::Unknown),
        }
        self.targets.local.insert((account, mailbox));
        self.check_room()?;
        Ok(Place::Here)
    }

    /// Whether case matters in a local part, its own server alone knows.
    fn take_remote(&mut self, address: &Address) -> Result<()> {
        let written = address.to_string();
        let known = |it: &Address| it.to_string() == written;
        if !self.targets.remote.iter().any(known) {
            self.targets.remote.push(address.clone());
        }
        self.check_room()
    }

    fn check_room(&self) -> Result<()> {
        match self.targets.local.len() + self.targets.remote.len() > MAX_TARGETS {
            true => Err(Error::Limit("recipients of one address")),
            false => Ok(()),
        }
    }
}

/// The mailbox that a tag names, in any case, or INBOX. A mailbox with a special use is not
/// for others to file into.
fn mailbox_of(snapshot: &Snapshot, account: AccountId, tag: &str) -> Result<MailboxName> {
    let Ok(wanted) = MailboxName::parse(tag) else {
        return Ok(MailboxName::inbox());
    };
    let folded = wanted.as_str().to_lowercase();
    let mut found = MailboxName::inbox();
    for mailbox in snapshot.mailboxes(account)? {
        if mailbox.special_use.is_none() && mailbox.name.as_str().to_lowercase() == folded {
            let exact = mailbox.name == wanted;
            found = mailbox.name;
            if exact {
                break;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Credential, Secret};
    use crate::store::simdisk::SimDisk;
    use crate::store::{Options, Store};
    use smol::block_on;
    use std::sync::Arc;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    /// ann (with the alias info) and bob of b.de.
    fn store() -> Store {
        let disk = Arc::new(SimDisk::default());
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(disk, options).unwrap();
        let credential = Credential::create(&Secret::new("correct horse".into())).unwrap();
        block_on(async {
            for name in ["ann@b.de", "bob@b.de"] {
                let made = store.create_account(address(name), credential.clone());
                made.await.unwrap();
            }
            store
                .add_alias(address("info@b.de"), AccountId(1))
                .await
                .unwrap();
        });
        store
    }

    fn group(store: &Store, name: &str, members: &[&str]) {
        let members: Vec<Address> = members.iter().map(|it| address(it)).collect();
        let made = store.change_group(address(name), move |it| *it = members.clone());
        block_on(made).unwrap();
    }

    /// `1 INBOX, 2 INBOX, x@y.de`, or what else it came to.
    fn resolved(store: &Store, text: &str) -> String {
        match store
            .look(|snapshot| resolve(snapshot, &address(text)))
            .unwrap()
        {
            Resolved::Here(targets) => {
                let local = targets
                    .local
                    .iter()
                    .map(|(id, name)| format!("{} {name}", id.0));
                let remote = targets.remote.iter().map(Address::to_string);
                local.chain(remote).collect::<Vec<_>>().join(", ")
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_are_looked_up_in_order() {
        let store = store();
        let is =
            |text: &str, expected: &str| assert_eq!(resolved(&store, text), expected, "{text}");
        is("INFO@b.de", "1 INBOX");
        is("eve@b.de", "Unknown");
        is("eve@c.de", "Elsewhere");
        is("ann+shop@b.de", "1 INBOX");
        let name = |text: &str| MailboxName::parse(text).unwrap();
        for mailbox in ["Shop", "lists/rust"] {
            block_on(store.create_mailbox(AccountId(1), name(mailbox), None)).unwrap();
        }
        is("ann+shop@b.de", "1 Shop");
        is("info+LISTS/rust@b.de", "1 lists/rust");
        for inbox in [
            "ann+Trash@b.de",
            "ann+@b.de",
            "ann+a//b@b.de",
            "ann+shop+x@b.de",
        ] {
            is(inbox, "1 INBOX");
        }
        group(
            &store,
            "team@b.de",
            &[
                "bob@b.de",
                "ann+shop@b.de",
                "x@y.de",
                "X@y.de",
                "bob+1@b.de",
            ],
        );
        is("Team@b.de", "1 Shop, 2 INBOX, x@y.de, X@y.de");
        is("team+tag@b.de", "1 Shop, 2 INBOX, x@y.de, X@y.de");
        block_on(store.set_catch_all(
            address("x@b.de").domain().clone(),
            Some(address("bob@b.de")),
        ))
        .unwrap();
        is("eve@b.de", "2 INBOX");
        is("eve+x@b.de", "2 INBOX");
    }

    #[test]
    fn an_account_out_of_use_takes_what_its_owner_lets_it() {
        let store = store();
        group(&store, "team@b.de", &["ann@b.de", "bob@b.de"]);
        for (standing, itself, team) in [
            (
                Standing::Disabled { takes_mail: true },
                "1 INBOX",
                "1 INBOX, 2 INBOX",
            ),
            (
                Standing::Disabled { takes_mail: false },
                "Disabled",
                "2 INBOX",
            ),
            (Standing::Deleted { until: i64::MAX }, "Unknown", "2 INBOX"),
        ] {
            let before = store.look(|it| it.standing(AccountId(1))).unwrap();
            block_on(store.set_standing(AccountId(1), before, standing)).unwrap();
            for name in ["ann@b.de", "info@b.de", "ann+shop@b.de"] {
                assert_eq!(resolved(&store, name), itself, "{name}: {standing:?}");
            }
            assert_eq!(resolved(&store, "team@b.de"), team, "{standing:?}");
        }
    }

    #[test]
    fn loops_and_depth_end() {
        let store = store();
        group(&store, "a@b.de", &["b@b.de", "ann@b.de"]);
        group(&store, "b@b.de", &["a@b.de", "bob@b.de", "nobody@b.de"]);
        assert_eq!(resolved(&store, "b@b.de"), "1 INBOX, 2 INBOX");
        group(&store, "self@b.de", &["self@b.de"]);
        assert_eq!(resolved(&store, "self@b.de"), "Unknown");
        for n in 0..=MAX_DEPTH {
            group(
                &store,
                &format!("g{n}@b.de"),
                &[&format!("g{}@b.de", n + 1)],
            );
        }
        group(&store, &format!("g{}@b.de", MAX_DEPTH + 1), &["ann@b.de"]);
        assert_eq!(resolved(&store, "g0@b.de"), "Unknown");
        assert_eq!(resolved(&store, "g2@b.de"), "1 INBOX");
        let domain = address("x@b.de").domain().clone();
        block_on(store.set_catch_all(domain, Some(address("nobody@b.de")))).unwrap();
        assert_eq!(resolved(&store, "eve@b.de"), "Unknown");
    }

    #[test]
    fn bounces_find_back_and_forged_ones_do_not() {
        const NOW: i64 = 1_800_000_000;
        let store = store();
        block_on(store.set_catch_all(
            address("x@b.de").domain().clone(),
            Some(address("bob@b.de")),
        ))
        .unwrap();
        let rewriter = Rewriter::new(b"key");
        let ours = address("x@b.de").domain().clone();
        let sent = rewriter.rewrite(&address("eve@far.test"), &ours, NOW);
        let sent = sent.unwrap().to_string();
        let at = |text: &str, now: i64| {
            let resolve = |it: &Snapshot| resolve_at(it, &address(text), now);
            store.look(resolve).unwrap()
        };
        // Without a key nothing was ever rewritten.
        assert_eq!(at(&sent, NOW), Resolved::Unknown);
        block_on(store.put_record(srs::KEYS, srs::KEY, b"key".to_vec())).unwrap();
        let Resolved::Here(targets) = at(&sent, NOW) else {
            panic!("{sent} is unknown");
        };
        assert!(targets.returns && targets.local.is_empty());
        assert_eq!(targets.remote, [address("eve@far.test")]);
        assert_eq!(at(&sent, NOW + 30 * 24 * 3600), Resolved::Unknown);
        // Nor does the catch-all take it.
        let forged = sent.replace("far.test", "fan.test");
        assert_eq!(at(&forged, NOW), Resolved::Unknown);
        let elsewhere = sent.replace("@b.de", "@c.de");
        assert_eq!(at(&elsewhere, NOW), Resolved::Elsewhere);
        // One that was too long is found where it is remembered, and nowhere else.
        let long = address(&format!("{}@far.test", "x".repeat(60)));
        let (short, token) = rewriter.shorten(&long, &ours, NOW).unwrap();
        let short = short.to_string();
        assert_eq!(at(&short, NOW), Resolved::Unknown);
        let row = srs::remember(&long, NOW);
        block_on(store.put_record(srs::SENDERS, &token, row)).unwrap();
        let Resolved::Here(targets) = at(&short, NOW) else {
            panic!("{short} is unknown");
        };
        assert!(targets.returns && targets.remote == [long]);
        // A group's member is none.
        group(&store, "team@b.de", &[&sent]);
        assert_eq!(at("team@b.de", NOW), at("bob@b.de", NOW));
    }

    #[test]
    fn an_address_has_one_owner() {
        let store = store();
        let group_of =
            |name: &str| store.change_group(address(name), |it| it.push(address("ann@b.de")));
        for taken in ["Ann@b.de", "info@b.de"] {
            assert_eq!(block_on(group_of(taken)), Err(Error::Exists), "{taken}");
        }
        block_on(group_of("team@b.de")).unwrap();
        let alias = store.add_alias(address("TEAM@b.de"), AccountId(1));
        assert_eq!(block_on(alias), Err(Error::Exists));
        block_on(store.change_group(address("team@b.de"), Vec::clear)).unwrap();
        block_on(store.add_alias(address("team@b.de"), AccountId(1))).unwrap();
    }
}
