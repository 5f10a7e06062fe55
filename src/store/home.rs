//! Home servers, kept as records: by an account's address, or by `@domain`.

use super::error::{Error, Result};
use super::snapshot::Snapshot;
use crate::address::Address;
use crate::mail::home::HomeServer;

/// The kind of their records; the key is [`Whose::key`](crate::mail::home::Whose::key).
pub const HOME_SERVER: &str = "home-server";

/// Where somebody's mailbox is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The same for all logins of one mailbox.
    pub key: String,
    pub server: HomeServer,
}

impl Snapshot {
    /// The home server of who logs in by that name: the one of its own entry; the domain's,
    /// if no account here has that name; or none.
    pub fn home_of_login(&self, login: &str) -> Result<Option<Home>> {
        if let Ok(address) = Address::parse(login) {
            return self.home_of_address(&address);
        }
        match self.account_by_login(login)? {
            Some(account) => self.home_at(account.address.key()),
            None => Ok(None),
        }
    }

    /// As [`Snapshot::home_of_login`], by address or alias.
    pub fn home_of_address(&self, address: &Address) -> Result<Option<Home>> {
        if let Some(home) = self.home_at(address.key())? {
            return Ok(Some(home));
        }
        if let Some(account) = self.account_by_address(address)? {
            return self.home_at(account.address.key());
        }
        let home = self.home_at(format!("@{}", address.domain()))?;
        let key = address.key();
        Ok(home.map(|home| Home { key, ..home }))
    }

    /// All of them, by key.
    pub fn home_servers(&self) -> Result<Vec<Home>> {
        let records = self.records(HOME_SERVER)?.into_iter();
        records.map(|(key, record)| read(key, &record)).collect()
    }

    fn home_at(&self, key: String) -> Result<Option<Home>> {
        match self.record(HOME_SERVER, &key)? {
            Some(record) => read(key, &record).map(Some),
            None => Ok(None),
        }
    }
}

pub(super) fn read(key: String, record: &[u8]) -> Result<Home> {
    let text = std::str::from_utf8(record).ok();
    let server = text.and_then(|text| HomeServer::parse(text).ok());
    match server {
        Some(server) => Ok(Home { key, server }),
        None => Err(Error::corrupt("a home server")),
    }
}
