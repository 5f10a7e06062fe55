//! Groups, catch-alls, grants and devices, kept as records: text, a line each.

use super::account;
use super::error::{Error, Result};
use super::record;
use super::remember;
use super::snapshot::Snapshot;
use super::tx::Tx;
use crate::address::{Address, Domain};
use crate::mail::AccountId;
use crate::mail::addressing::{Device, Grant, Network};

pub(super) const GROUP: &str = "group";
pub(super) const CATCH_ALL: &str = "catch-all";
pub(super) const GRANT: &str = "grant";
pub(super) const DEVICE: &str = "device";

/// Members of a group; grants of an account.
pub const MAX_MEMBERS: usize = 500;

/// [`Error::Exists`] if an account or alias has the address. A group without members is none.
pub(super) fn change_group(
    tx: &mut Tx<'_>,
    address: &Address,
    f: &mut impl FnMut(&mut Vec<Address>),
) -> Result<()> {
    let key = address.key();
    let before = record::get(tx, GROUP, &key)?;
    if before.is_none() {
        account::free_address(tx, address)?;
    }
    let mut members = lines(before, |line| Address::parse(line).ok())?;
    f(&mut members);
    put_lines(tx, GROUP, &key, &members)
}

/// Whether there is a group of that address.
pub(super) fn is_group(tx: &Tx<'_>, address: &Address) -> Result<bool> {
    Ok(record::get(tx, GROUP, &address.key())?.is_some())
}

pub(super) fn change_grants(
    tx: &mut Tx<'_>,
    id: AccountId,
    f: &mut impl FnMut(&mut Vec<Grant>),
) -> Result<()> {
    account::must_exist(tx, id)?;
    let key = id.0.to_string();
    let mut grants = lines(record::get(tx, GRANT, &key)?, |line| {
        Grant::parse(line).ok()
    })?;
    f(&mut grants);
    put_lines(tx, GRANT, &key, &grants)
}

pub(super) fn forget_grants(tx: &mut Tx<'_>, id: AccountId) -> Result<()> {
    record::remove(tx, GRANT, &id.0.to_string()).map(|_| ())
}

pub(super) fn set_catch_all(
    tx: &mut Tx<'_>,
    domain: &Domain,
    to: Option<&Address>,
) -> Result<bool> {
    match to {
        Some(to) => {
            record::put(tx, CATCH_ALL, domain.as_str(), to.to_string().as_bytes()).map(|()| true)
        }
        None => record::remove(tx, CATCH_ALL, domain.as_str()),
    }
}

/// Groups and catch-alls that name an address name another from now on.
pub(super) fn redirect(tx: &mut Tx<'_>, old: &Address, new: &Address) -> Result<()> {
    for (key, members) in record::all(tx, GROUP)? {
        let mut members = lines(Some(members), |line| Address::parse(line).ok())?;
        if members.contains(old) {
            let known = members.contains(new);
            members.retain(|it| it != old);
            if !known {
                members.push(new.clone());
            }
            put_lines(tx, GROUP, &key, &members)?;
        }
    }
    for (domain, to) in record::all(tx, CATCH_ALL)? {
        let to = std::str::from_utf8(&to).ok().map(Address::parse);
        if to.is_some_and(|it| it.is_ok_and(|it| it == *old)) {
            let new = new.to_string();
            record::put(tx, CATCH_ALL, &domain, new.as_bytes())?;
        }
    }
    Ok(())
}

pub(super) fn add_device(tx: &mut Tx<'_>, device: &Device) -> Result<()> {
    if has_device(tx, &device.name)? {
        return Err(Error::Exists);
    }
    let networks = device.networks.iter().map(|it| format!("network {it}"));
    let lines: Vec<String> = networks
        .chain([
            format!("tls {}", device.tls),
            format!("relay {}", device.relay),
            format!("limits {}", device.limits),
        ])
        .collect();
    put_lines(tx, DEVICE, &device.name, &lines)
}

pub(super) fn remove_device(tx: &mut Tx<'_>, name: &str) -> Result<bool> {
    remember::forget(tx, &remember::name_of_device(name))?;
    record::remove(tx, DEVICE, name)
}

pub(super) fn has_device(tx: &Tx<'_>, name: &str) -> Result<bool> {
    Ok(record::get(tx, DEVICE, name)?.is_some())
}

fn put_lines(
    tx: &mut Tx<'_>,
    kind: &'static str,
    key: &str,
    lines: &[impl ToString],
) -> Result<()> {
    if lines.is_empty() {
        return record::remove(tx, kind, key).map(|_| ());
    }
    if lines.len() > MAX_MEMBERS {
        return Err(Error::Limit("members of a group, or grants of an account"));
    }
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    record::put(tx, kind, key, lines.join("\n").as_bytes())
}

/// A line that can't be read is damage: to pass over a member would lose mail.
fn lines<T>(record: Option<Vec<u8>>, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let record = record.unwrap_or_default();
    let text = std::str::from_utf8(&record).map_err(|_| damaged())?;
    text.lines()
        .map(|line| parse(line).ok_or_else(damaged))
        .collect()
}

/// Whether a record of these kinds can be read.
pub(super) fn is_readable(kind: &str, key: &str, record: &[u8]) -> bool {
    let record = record.to_vec();
    match kind {
        DEVICE => device(key, record).is_ok(),
        GRANT => lines(Some(record), |line| Grant::parse(line).ok()).is_ok(),
        _ => lines(Some(record), |line| Address::parse(line).ok()).is_ok(),
    }
}

fn damaged() -> Error {
    Error::corrupt("a record of addresses")
}

fn device(name: &str, record: Vec<u8>) -> Result<Device> {
    let mut networks = Vec::new();
    let (mut tls, mut relay, mut limits) = (true, false, true);
    for line in lines(Some(record), |line| Some(line.to_owned()))? {
        match line.split_once(' ') {
            Some(("network", text)) => networks.push(Network::parse(text).map_err(|_| damaged())?),
            Some(("tls", text)) => tls = text != "false",
            Some(("relay", text)) => relay = text == "true",
            Some(("limits", text)) => limits = text != "false",
            _ => return Err(damaged()),
        }
    }
    let device = Device::new(name, networks).map_err(|_| damaged())?;
    Ok(Device {
        tls,
        relay,
        limits,
        ..device
    })
}

impl Snapshot {
    /// The group's members, if there is a group of that address.
    pub fn group(&self, address: &Address) -> Result<Option<Vec<Address>>> {
        match self.record(GROUP, &address.key())? {
            Some(record) => lines(Some(record), |line| Address::parse(line).ok()).map(Some),
            None => Ok(None),
        }
    }

    pub fn groups(&self) -> Result<Vec<(String, Vec<Address>)>> {
        let read = |(key, record)| Ok((key, lines(Some(record), |it| Address::parse(it).ok())?));
        self.records(GROUP)?.into_iter().map(read).collect()
    }

    /// Where mail for unknown names of the domain goes.
    pub fn catch_all(&self, domain: &Domain) -> Result<Option<Address>> {
        let record = self.record(CATCH_ALL, domain.as_str())?;
        Ok(lines(record, |line| Address::parse(line).ok())?.pop())
    }

    /// Rows of domain and address.
    pub fn catch_alls(&self) -> Result<Vec<(String, String)>> {
        let text = |(key, record)| (key, String::from_utf8_lossy(record).into_owned());
        let records = self.records(CATCH_ALL)?;
        let rows = records
            .iter()
            .map(|(key, record)| (key.clone(), record.as_slice()));
        Ok(rows.map(text).collect())
    }

    /// Whom else the account may send as.
    pub fn grants(&self, id: AccountId) -> Result<Vec<Grant>> {
        let record = self.record(GRANT, &id.0.to_string())?;
        lines(record, |line| Grant::parse(line).ok())
    }

    pub fn devices(&self) -> Result<Vec<Device>> {
        let read = |(name, record): (String, Vec<u8>)| device(&name, record);
        self.records(DEVICE)?.into_iter().map(read).collect()
    }
}
