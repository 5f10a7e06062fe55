//! Accounts, addresses, domains, names and subscriptions; and the counters of ids.

use super::{Check, Checked, Kind, readable, repair::Fix};
use crate::mail::{AccountId, MailboxName};
use crate::store::account::{AccountRow, key_of};
use crate::store::error::{Error, Result};
use crate::store::schema::*;
use crate::store::snapshot::Snapshot;
use crate::store::table::Field;

type Named = (u32, &'static str);

impl Check<'_> {
    pub(super) fn rows(&mut self) -> Checked<()> {
        let mut total = 0;
        for name in [ACCOUNTS.name(), ADDRESSES.name(), NAMES.name()] {
            total += self.count(name)?;
        }
        self.progress.begin(0, total);
        self.state()?;
        self.walk(
            ACCOUNTS.name(),
            vec![],
            None,
            &mut |it, snapshot, key, value| it.account(snapshot, readable(u32::read(key))?, value),
        )?;
        self.walk(
            ADDRESSES.name(),
            vec![],
            None,
            &mut |it, snapshot, key, value| it.address(snapshot, key, readable(u32::read(value))?),
        )?;
        self.domains()?;
        self.walk(
            NAMES.name(),
            vec![],
            None,
            &mut |it, snapshot, key, value| {
                let (account, name) = readable(<Named>::read(key))?;
                it.name(snapshot, account, name, readable(u32::read(value))?)
            },
        )?;
        self.walk(
            SUBSCRIPTIONS.name(),
            vec![],
            None,
            &mut |it, snapshot, key, _| {
                let (account, name) = readable(<Named>::read(key))?;
                MailboxName::parse(name).map_err(|_| Error::corrupt("a subscribed name"))?;
                if is_gone(snapshot, AccountId(account))? {
                    let what = format!(
                        "a subscription to {name} of an account {account} that isn't there"
                    );
                    let (certain, name) = (it.names_certain, name.to_owned());
                    it.derived_if(certain, what, Fix::StraySubscription(account, name));
                }
                Ok(())
            },
        )
    }

    /// Every counter is above what it counted.
    fn state(&mut self) -> Checked<()> {
        let found = self.look(|snapshot| {
            let state = STATE.read(&snapshot.txn)?;
            let get = |name| Ok::<_, Error>(state.get(name)?.map(|row| row.value()));
            let mut missing = Vec::new();
            for name in STATE_SITE.into_iter().chain([
                STATE_LOG_KEY,
                STATE_LOG_SEGMENT,
                STATE_LOG_OFFSET,
                STATE_LOG_SEQUENCE,
            ]) {
                if get(name)?.is_none() {
                    missing.push(name);
                }
            }
            let last = |name| -> Result<u64> {
                let rows = crate::store::table::raw(&snapshot.txn, name)?;
                let last = redb::ReadableTable::last(&rows)?;
                Ok(last
                    .and_then(|row| u32::read(row.0.value()))
                    .map_or(0, u64::from))
            };
            let low = get(STATE_ACCOUNT)?.unwrap_or(0) < last(ACCOUNTS.name())?
                || get(STATE_MAILBOX)?.unwrap_or(0) < last(MAILBOXES.name())?;
            Ok((missing, low))
        })?;
        for name in found.0 {
            self.damage(format!("the row {name} of the table state is missing"));
        }
        if found.1 {
            let what = "an account or a mailbox has a number that was not given out yet";
            self.derived(what.into(), Fix::Counters);
        }
        Ok(())
    }

    fn account(&mut self, snapshot: &Snapshot, id: u32, value: &[u8]) -> Result<()> {
        self.progress.add(1);
        let row = AccountRow::decode(value)?;
        let addresses = ADDRESSES.read(&snapshot.txn)?;
        for address in std::iter::once(&row.address).chain(&row.aliases) {
            let found = addresses
                .get(key_of(address).as_slice())?
                .map(|it| it.value());
            match found {
                Some(found) if found == id => {}
                None => {
                    let what = format!("mail for {address} does not reach its account");
                    self.derived(what, Fix::Address(key_of(address)));
                }
                Some(_) => self.damage(format!(
                    "{address} belongs to two accounts: mail for it goes to the other one"
                )),
            }
        }
        let inbox = MailboxName::inbox();
        if snapshot
            .mailbox(AccountId(id), &inbox)
            .ok()
            .flatten()
            .is_none()
        {
            let names = NAMES.read(&snapshot.txn)?;
            if names.get((id, inbox.as_str()))?.is_none() {
                let what = format!("{} has no INBOX", row.address);
                self.derived(what, Fix::Inbox(AccountId(id)));
            }
        }
        Ok(())
    }

    fn address(&mut self, snapshot: &Snapshot, key: &[u8], id: u32) -> Result<()> {
        self.progress.add(1);
        let text = readable(std::str::from_utf8(key).ok())?;
        let (local, domain) = readable(text.split_once('\0'))?;
        let address = format!("{local}@{domain}");
        let owner = snapshot.account(AccountId(id))?;
        if owner.is_none() && !is_gone(snapshot, AccountId(id))? {
            // Told with its mailboxes.
            return Ok(());
        }
        let owns = owner.is_some_and(|it| {
            let mut own = std::iter::once(&it.address).chain(&it.aliases);
            own.any(|own| key_of(own) == key)
        });
        if !owns {
            let what = format!("{address} leads to an account that doesn't have it");
            self.derived_if(self.names_certain, what, Fix::Address(key.to_vec()));
        }
        Ok(())
    }

    /// The count of each domain is that of its addresses.
    fn domains(&mut self) -> Checked<()> {
        let wrong = self.look(|snapshot| {
            let counted = repair_counts(snapshot)?;
            let mut kept = std::collections::BTreeMap::new();
            for row in DOMAINS.read(&snapshot.txn)?.range(""..)? {
                let (domain, count) = row?;
                kept.insert(domain.value().to_owned(), count.value());
            }
            Ok(counted != kept)
        })?;
        if wrong {
            let what = "the domains of this server are not those of its accounts and aliases";
            self.derived_if(self.names_certain, what.into(), Fix::Domains);
        }
        Ok(())
    }

    fn name(&mut self, snapshot: &Snapshot, account: u32, name: &str, id: u32) -> Result<()> {
        self.progress.add(1);
        MailboxName::parse(name).map_err(|_| Error::corrupt("a mailbox name"))?;
        let mailboxes = MAILBOXES.read(&snapshot.txn)?;
        let row = mailboxes.get(id)?;
        let row = row.map(|row| MailboxRow::decode(row.value())).transpose();
        // One that can't be read is told with the mailboxes.
        let Ok(row) = row else { return Ok(()) };
        let right = row
            .as_ref()
            .is_some_and(|row| row.account.0 == account && row.name.as_str() == name);
        if right {
            return Ok(());
        }
        let has_messages = first_block(snapshot, id)?.is_some();
        if row.is_none() && has_messages {
            let what = format!("the mailbox {name} of account {account} has lost its row");
            let fix = Fix::Rebuild {
                account,
                name: name.to_owned(),
                id,
            };
            self.derived_if(DOOMED.read(&snapshot.txn)?.get(id)?.is_none(), what, fix);
        } else {
            let what = format!("the name {name} of account {account} leads to no mailbox of it");
            let fix = Fix::StrayName(account, name.to_owned());
            self.derived_if(self.names_certain, what, fix);
        }
        Ok(())
    }

    /// A mailbox's own row, and the one of its name.
    pub(super) fn mailbox_row(
        &mut self,
        snapshot: &Snapshot,
        id: u32,
        row: &MailboxRow,
    ) -> Result<()> {
        let name = row.name.as_str();
        let names = NAMES.read(&snapshot.txn)?;
        let found = names.get((row.account.0, name))?.map(|it| it.value());
        if DOOMED.read(&snapshot.txn)?.get(id)?.is_some() {
            let what = format!("the mailbox {name} is marked as deleted, and is there");
            self.derived(what, Fix::Doomed(id));
        }
        let account = snapshot.account(row.account);
        if matches!(account, Ok(None)) {
            let what = format!(
                "account {} of the mailbox {name} has lost its row; after a repair it needs a new \
                 password",
                row.account.0
            );
            let has_address = addresses_of(snapshot, row.account)?;
            self.derived_if(has_address, what, Fix::Account(row.account));
        }
        match found {
            Some(found) if found == id => {}
            None => {
                let what = format!(
                    "the mailbox {name} of {} can't be found by its name",
                    owner(account)
                );
                self.derived(what, Fix::Name(row.account.0, name.to_owned(), id));
            }
            Some(_) => self.problem_of_two(name, &owner(account)),
        }
        Ok(())
    }

    fn problem_of_two(&mut self, name: &str, owner: &str) {
        self.problem(
            Kind::Damaged,
            format!("{owner} has two mailboxes {name}: one of them can't be reached"),
        );
    }
}

fn owner(account: Result<Option<crate::mail::Account>>) -> String {
    let account = account.ok().flatten();
    account.map_or("an account".into(), |it| it.address.to_string())
}

/// Whether there is no such account, and no mailbox of it: else its row is lost.
pub(super) fn is_gone(snapshot: &Snapshot, id: AccountId) -> Result<bool> {
    if snapshot.account(id)?.is_some() {
        return Ok(false);
    }
    let names = NAMES.read(&snapshot.txn)?;
    let mut own = names.range(crate::store::mailbox::names_of(id))?;
    Ok(own.next().is_none())
}

/// Whether any address leads to the account.
fn addresses_of(snapshot: &Snapshot, id: AccountId) -> Result<bool> {
    for row in ADDRESSES.read(&snapshot.txn)?.range(&[][..]..)? {
        if row?.1.value() == id.0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The key of the first block of messages of a mailbox.
pub(super) fn first_block(snapshot: &Snapshot, id: u32) -> Result<Option<u64>> {
    let first = u64::from(id) << 32;
    let messages = MESSAGES.read(&snapshot.txn)?;
    let found = messages.range(first..=first | u64::from(u32::MAX))?.next();
    Ok(found.transpose()?.map(|row| row.0.value()))
}

/// How many addresses each domain has.
fn repair_counts(snapshot: &Snapshot) -> Result<std::collections::BTreeMap<String, u32>> {
    let mut counted = std::collections::BTreeMap::new();
    for row in ADDRESSES.read(&snapshot.txn)?.range(&[][..]..)? {
        count_domain(row?.0.value(), &mut counted);
    }
    Ok(counted)
}

pub(super) fn count_domain(key: &[u8], counted: &mut std::collections::BTreeMap<String, u32>) {
    let text = String::from_utf8_lossy(key);
    if let Some((_, domain)) = text.split_once('\0') {
        *counted.entry(domain.to_owned()).or_default() += 1;
    }
}
