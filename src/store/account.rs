//! Accounts, their addresses and what verifies their passwords.

use super::Snapshot;
use super::addressing;
use super::app_password;
use super::audit;
use super::certificate;
use super::codec::{Reader, put, put_bytes};
use super::error::{Error, Result};
use super::mailbox;
use super::option;
use super::record;
use super::remember;
use super::schema::*;
use super::standing;
use super::tx::Tx;
use crate::address::{Address, Domain};
use crate::mail::*;
use crate::secret::{Credential, ScramKeys, Secret};

/// Further addresses that one account can have.
pub const MAX_ALIASES: usize = 1000;

#[derive(Clone)]
pub(super) struct AccountRow {
    pub address: Address,
    pub aliases: Vec<Address>,
    pub credential: Credential,
}

impl AccountRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, self.address.to_string().as_bytes());
        put_bytes(&mut out, self.credential.verifier.as_bytes());
        let scram = &self.credential.scram;
        put_bytes(&mut out, &scram.salt);
        put(&mut out, u64::from(scram.iterations));
        out.extend_from_slice(&scram.stored_key);
        out.extend_from_slice(&scram.server_key);
        put(&mut out, self.aliases.len() as u64);
        for alias in &self.aliases {
            put_bytes(&mut out, alias.to_string().as_bytes());
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<AccountRow> {
        let row = &mut Reader(bytes);
        let mut account = AccountRow {
            address: take_address(row)?,
            credential: Credential {
                verifier: row.take_str()?.into(),
                scram: ScramKeys {
                    salt: row.take_bytes()?.into(),
                    iterations: row.take_u32()?,
                    stored_key: row.take_fixed()?,
                    server_key: row.take_fixed()?,
                },
            },
            aliases: Vec::new(),
        };
        for _ in 0..row.take()? {
            account.aliases.push(take_address(row)?);
        }
        Ok(account)
    }

    pub fn account(self, id: AccountId) -> Account {
        Account {
            id,
            address: self.address,
            aliases: self.aliases,
        }
    }
}

fn take_address(row: &mut Reader<'_>) -> Result<Address> {
    Address::parse(row.take_str()?).map_err(|_| Error::corrupt("an address"))
}

/// Local part in lower case, NUL, domain: all addresses with one local part are neighbours.
pub(super) fn address_key(local: &str, domain: Option<&Domain>) -> Vec<u8> {
    let mut key = local.to_lowercase().into_bytes();
    key.push(0);
    if let Some(domain) = domain {
        key.extend_from_slice(domain.as_str().as_bytes());
    }
    key
}

pub(super) fn key_of(address: &Address) -> Vec<u8> {
    address_key(address.local(), Some(address.domain()))
}

/// The mailboxes of a new account beside INBOX.
const FIRST_MAILBOXES: [(&str, SpecialUse); 5] = [
    ("Archive", SpecialUse::Archive),
    ("Drafts", SpecialUse::Drafts),
    ("Junk", SpecialUse::Junk),
    ("Sent", SpecialUse::Sent),
    ("Trash", SpecialUse::Trash),
];

pub(super) fn create(
    tx: &mut Tx<'_>,
    address: &Address,
    credential: &Credential,
) -> Result<AccountId> {
    free_address(tx, address)?;
    let id = AccountId(tx.next_id(STATE_ACCOUNT)?);
    put_address(tx, address, id)?;
    let row = AccountRow {
        address: address.clone(),
        aliases: Vec::new(),
        credential: credential.clone(),
    };
    put_account(tx, id, &row)?;
    mailbox::insert(tx, id, &MailboxName::inbox(), None)?;
    mailbox::set_subscribed(tx, id, &MailboxName::inbox(), true)?;
    for (name, special_use) in FIRST_MAILBOXES {
        let name = MailboxName::parse(name).map_err(|_| Error::corrupt("a mailbox name"))?;
        mailbox::insert(tx, id, &name, Some(special_use))?;
        mailbox::set_subscribed(tx, id, &name, true)?;
    }
    Ok(id)
}

/// The account of that address: made with the credential if it is not there, or given that
/// one, if any. Which it is if it was made. [`Error::Exists`] where the address is an alias,
/// [`Error::NoAccount`] where there is neither account nor credential.
pub(super) fn ensure(
    tx: &mut Tx<'_>,
    address: &Address,
    credential: Option<&Credential>,
) -> Result<Option<AccountId>> {
    match (find_address(tx, address)?, credential) {
        (None, Some(credential)) => create(tx, address, credential).map(Some),
        (None, None) => Err(Error::NoAccount),
        (Some(id), _) if account(tx, id)?.address != *address => Err(Error::Exists),
        (Some(id), Some(credential)) => set_credential(tx, id, credential).map(|()| None),
        (Some(_), None) => Ok(None),
    }
}

pub(super) fn set_credential(
    tx: &mut Tx<'_>,
    id: AccountId,
    credential: &Credential,
) -> Result<()> {
    let mut row = account(tx, id)?;
    row.credential = credential.clone();
    put_account(tx, id, &row)
}

pub(super) fn delete(tx: &mut Tx<'_>, id: AccountId) -> Result<()> {
    let row = account(tx, id)?;
    for address in std::iter::once(&row.address).chain(&row.aliases) {
        take_away_address(tx, address)?;
    }
    tx.change().accounts.remove(id.0)?;
    option::forget(tx, id)?;
    addressing::forget_grants(tx, id)?;
    certificate::forget(tx, id)?;
    remember::forget(tx, &remember::name_of_account(id))?;
    app_password::forget(tx, id)?;
    audit::forget(tx, id)?;
    standing::forget(tx, id)?;
    record::remove(tx, "quota-warned", &id.0.to_string())?;
    forget_collectors(tx, id)?;
    mailbox::doom_all(tx, id)
}

/// They hold passwords of other servers. What they remember goes when nobody uses it any more.
fn forget_collectors(tx: &mut Tx<'_>, id: AccountId) -> Result<()> {
    const KIND: &str = "collector";
    for (key, row) in record::all(tx, KIND)? {
        let row = Secret::new(row);
        if Reader(row.reveal()).take_u32().ok() == Some(id.0) {
            record::remove(tx, KIND, &key)?;
        }
    }
    Ok(())
}

/// Gives the account another address of its own. The old one stays as an alias, or groups and
/// catch-alls that name it name the new one.
pub(super) fn rename(tx: &mut Tx<'_>, id: AccountId, to: &Address, keep_alias: bool) -> Result<()> {
    let mut row = account(tx, id)?;
    let old = std::mem::replace(&mut row.address, to.clone());
    if old != *to {
        match row.aliases.iter().position(|it| it == to) {
            Some(at) => drop(row.aliases.remove(at)),
            None => {
                free_address(tx, to)?;
                put_address(tx, to, id)?;
            }
        }
        if keep_alias {
            if row.aliases.len() >= MAX_ALIASES {
                return Err(Error::Limit("aliases"));
            }
            row.aliases.push(old);
        } else {
            take_away_address(tx, &old)?;
            addressing::redirect(tx, &old, to)?;
        }
    }
    put_account(tx, id, &row)
}

pub(super) fn add_alias(tx: &mut Tx<'_>, alias: &Address, id: AccountId) -> Result<()> {
    let mut row = account(tx, id)?;
    free_address(tx, alias)?;
    if row.aliases.len() >= MAX_ALIASES {
        return Err(Error::Limit("aliases"));
    }
    put_address(tx, alias, id)?;
    row.aliases.push(alias.clone());
    put_account(tx, id, &row)
}

pub(super) fn remove_alias(tx: &mut Tx<'_>, alias: &Address) -> Result<()> {
    let id = find_address(tx, alias)?.ok_or(Error::NoAccount)?;
    let mut row = account(tx, id)?;
    if row.address == *alias {
        return Err(Error::Forbidden("an account's own address is no alias"));
    }
    row.aliases.retain(|it| it != alias);
    take_away_address(tx, alias)?;
    put_account(tx, id, &row)
}

/// [`Error::NoAccount`] unless there is one of this id.
pub(super) fn must_exist(tx: &Tx<'_>, id: AccountId) -> Result<()> {
    match tx.tables().accounts.get(id.0)? {
        Some(_) => Ok(()),
        None => Err(Error::NoAccount),
    }
}

pub(super) fn account(tx: &Tx<'_>, id: AccountId) -> Result<AccountRow> {
    match tx.tables().accounts.get(id.0)? {
        Some(row) => AccountRow::decode(row.value()),
        None => Err(Error::NoAccount),
    }
}

fn put_account(tx: &mut Tx<'_>, id: AccountId, row: &AccountRow) -> Result<()> {
    let row = row.encode();
    tx.change().accounts.insert(id.0, row.as_slice())?;
    Ok(())
}

fn find_address(tx: &Tx<'_>, address: &Address) -> Result<Option<AccountId>> {
    let row = tx.tables().addresses.get(key_of(address).as_slice())?;
    Ok(row.map(|row| AccountId(row.value())))
}

/// [`Error::Exists`] if an account, an alias or a group has it.
pub(super) fn free_address(tx: &Tx<'_>, address: &Address) -> Result<()> {
    match find_address(tx, address)?.is_some() || addressing::is_group(tx, address)? {
        true => Err(Error::Exists),
        false => Ok(()),
    }
}

fn put_address(tx: &mut Tx<'_>, address: &Address, id: AccountId) -> Result<()> {
    let domain = address.domain().as_str();
    let count = tx
        .tables()
        .domains
        .get(domain)?
        .map_or(0, |row| row.value());
    let tables = tx.change();
    tables.addresses.insert(key_of(address).as_slice(), id.0)?;
    tables.domains.insert(domain, count + 1)?;
    Ok(())
}

fn take_away_address(tx: &mut Tx<'_>, address: &Address) -> Result<()> {
    let domain = address.domain().as_str();
    let count = tx
        .tables()
        .domains
        .get(domain)?
        .map_or(0, |row| row.value());
    let tables = tx.change();
    tables.addresses.remove(key_of(address).as_slice())?;
    if count > 1 {
        tables.domains.insert(domain, count - 1)?;
    } else {
        tables.domains.remove(domain)?;
    }
    Ok(())
}

impl Snapshot {
    pub fn accounts(&self) -> Result<Vec<Account>> {
        let table = self.tables.accounts.open(&self.txn, ACCOUNTS)?;
        let mut accounts = Vec::new();
        for row in table.range(0..)? {
            let (id, row) = row?;
            accounts.push(AccountRow::decode(row.value())?.account(AccountId(id.value())));
        }
        Ok(accounts)
    }

    fn account_row(&self, id: AccountId) -> Result<Option<AccountRow>> {
        let table = self.tables.accounts.open(&self.txn, ACCOUNTS)?;
        match table.get(id.0)? {
            Some(row) => Ok(Some(AccountRow::decode(row.value())?)),
            None => Ok(None),
        }
    }

    pub fn account(&self, id: AccountId) -> Result<Option<Account>> {
        Ok(self.account_row(id)?.map(|row| row.account(id)))
    }

    pub fn credential(&self, id: AccountId) -> Result<Option<Credential>> {
        Ok(self.account_row(id)?.map(|row| row.credential))
    }

    /// By own address or alias, in any case.
    pub fn account_by_address(&self, address: &Address) -> Result<Option<Account>> {
        let table = self.tables.addresses.open(&self.txn, ADDRESSES)?;
        let key = address_key(address.local(), Some(address.domain()));
        match table.get(key.as_slice())? {
            Some(id) => self.account(AccountId(id.value())),
            None => Ok(None),
        }
    }

    /// By full address or, where only one account has it, by local part alone.
    pub fn account_by_login(&self, login: &str) -> Result<Option<Account>> {
        if login.contains('@') {
            return match Address::parse(login) {
                Ok(address) => self.account_by_address(&address),
                Err(_) => Ok(None),
            };
        }
        if login.contains('\0') {
            return Ok(None);
        }
        let table = self.tables.addresses.open(&self.txn, ADDRESSES)?;
        let first = address_key(login, None);
        let mut end = first.clone();
        // The NUL after the local part; no domain has a byte that sorts outside.
        if let Some(last) = end.last_mut() {
            *last = 1;
        }
        let mut found = None;
        for row in table.range(first.as_slice()..end.as_slice())? {
            let id = row?.1.value();
            if found.is_some_and(|it| it != id) {
                return Ok(None);
            }
            found = Some(id);
        }
        match found {
            Some(id) => self.account(AccountId(id)),
            None => Ok(None),
        }
    }

    /// The domains of all accounts and aliases.
    pub fn local_domains(&self) -> Result<Vec<Domain>> {
        let table = self.tables.domains.open(&self.txn, DOMAINS)?;
        let mut domains = Vec::new();
        for row in table.range(""..)? {
            let domain = Domain::parse(row?.0.value());
            domains.push(domain.map_err(|_| Error::corrupt("a domain"))?);
        }
        Ok(domains)
    }

    /// Whether any account or alias has this domain.
    pub fn is_local_domain(&self, domain: &Domain) -> Result<bool> {
        let table = self.tables.domains.open(&self.txn, DOMAINS)?;
        Ok(table.get(domain.as_str())?.is_some())
    }
}
