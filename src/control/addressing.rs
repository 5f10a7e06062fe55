//! Requests about groups, catch-alls, grants and devices.

use super::Reply;
use super::perform::account;
use crate::address::{Address, Domain};
use crate::mail::addressing::{Device, Grant, Network};
use crate::store::{Error, MAX_MEMBERS, Snapshot, Store};

/// What the owner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// Adds to a group, which is made if there is none.
    AddMember {
        group: Address,
        member: Address,
    },
    RemoveMember {
        group: Address,
        member: Address,
    },
    RemoveGroup {
        group: Address,
    },
    /// Rows of group, member.
    ListGroups,
    SetCatchAll {
        domain: Domain,
        to: Address,
    },
    RemoveCatchAll {
        domain: Domain,
    },
    /// Rows of domain, address.
    ListCatchAlls,
    AddGrant {
        account: Address,
        grant: Grant,
    },
    RemoveGrant {
        account: Address,
        grant: Grant,
    },
    /// Rows of account, what it may send as.
    ListGrants,
    AddDevice(Device),
    RemoveDevice {
        name: String,
    },
    /// Rows of name, networks, TLS, where to.
    ListDevices,
}

/// How a device's TLS, relay and limits are told.
const TLS: [&str; 2] = ["no-tls", "tls"];
const RELAY: [&str; 2] = ["here", "everywhere"];
const LIMITS: [&str; 2] = ["unlimited", "limited"];

impl Addressing {
    /// The request's words.
    pub fn words(&self) -> Vec<String> {
        let words = |words: &[&dyn ToString]| words.iter().map(|it| it.to_string()).collect();
        match self {
            Addressing::AddMember { group, member } => words(&[&"group-add", group, member]),
            Addressing::RemoveMember { group, member } => words(&[&"group-remove", group, member]),
            Addressing::RemoveGroup { group } => words(&[&"group-remove", group]),
            Addressing::ListGroups => words(&[&"group-list"]),
            Addressing::SetCatchAll { domain, to } => words(&[&"catch-all-set", domain, to]),
            Addressing::RemoveCatchAll { domain } => words(&[&"catch-all-remove", domain]),
            Addressing::ListCatchAlls => words(&[&"catch-all-list"]),
            Addressing::AddGrant { account, grant } => words(&[&"grant-add", account, grant]),
            Addressing::RemoveGrant { account, grant } => words(&[&"grant-remove", account, grant]),
            Addressing::ListGrants => words(&[&"grant-list"]),
            Addressing::AddDevice(device) => {
                let flag = |names: [&str; 2], on: bool| names[usize::from(on)].to_string();
                let mut words = vec!["device-add".into(), device.name.clone()];
                words.push(flag(TLS, device.tls));
                words.push(flag(RELAY, device.relay));
                words.push(flag(LIMITS, device.limits));
                words.extend(device.networks.iter().map(Network::to_string));
                words
            }
            Addressing::RemoveDevice { name } => words(&[&"device-remove", name]),
            Addressing::ListDevices => words(&[&"device-list"]),
        }
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Addressing, String>> {
        Some(match words {
            ["group-add", group, member] => read_pair(group, member, |group, member| {
                Addressing::AddMember { group, member }
            }),
            ["group-remove", group, member] => read_pair(group, member, |group, member| {
                Addressing::RemoveMember { group, member }
            }),
            ["group-remove", group] => {
                address(group).map(|group| Addressing::RemoveGroup { group })
            }
            ["group-list"] => Ok(Addressing::ListGroups),
            ["catch-all-set", name, to] => domain(name).and_then(|domain| {
                let to = address(to)?;
                Ok(Addressing::SetCatchAll { domain, to })
            }),
            ["catch-all-remove", name] => {
                domain(name).map(|domain| Addressing::RemoveCatchAll { domain })
            }
            ["catch-all-list"] => Ok(Addressing::ListCatchAlls),
            ["grant-add", account, grant] => read_grant(account, grant, |account, grant| {
                Addressing::AddGrant { account, grant }
            }),
            ["grant-remove", account, grant] => read_grant(account, grant, |account, grant| {
                Addressing::RemoveGrant { account, grant }
            }),
            ["grant-list"] => Ok(Addressing::ListGrants),
            ["device-add", name, tls, relay, limits, networks @ ..] => {
                device(name, [tls, relay, limits], networks).map(Addressing::AddDevice)
            }
            ["device-remove", name] => Ok(Addressing::RemoveDevice {
                name: name.to_string(),
            }),
            ["device-list"] => Ok(Addressing::ListDevices),
            _ => return None,
        })
    }
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| format!("{text}: {error}"))
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text).map_err(|error| format!("{text}: {error}"))
}

fn read_pair(
    one: &str,
    other: &str,
    make: impl Fn(Address, Address) -> Addressing,
) -> Result<Addressing, String> {
    Ok(make(address(one)?, address(other)?))
}

fn read_grant(
    account: &str,
    grant: &str,
    make: impl Fn(Address, Grant) -> Addressing,
) -> Result<Addressing, String> {
    let grant = Grant::parse(grant).map_err(|error| format!("{grant}: {error}"))?;
    Ok(make(address(account)?, grant))
}

fn device(
    name: &str,
    [tls, relay, limits]: [&str; 3],
    networks: &[&str],
) -> Result<Device, String> {
    let networks: Result<Vec<Network>, &str> =
        networks.iter().map(|it| Network::parse(it)).collect();
    let device = Device::new(name, networks?)?;
    let flag = |names: [&str; 2], word: &str| {
        let found = names.iter().position(|it| *it == word);
        found.map(|at| at == 1).ok_or("the request is malformed")
    };
    Ok(Device {
        tls: flag(TLS, tls)?,
        relay: flag(RELAY, relay)?,
        limits: flag(LIMITS, limits)?,
        ..device
    })
}

/// Errors are sentences for the owner.
pub async fn perform(store: &Store, request: Addressing) -> Reply {
    match request {
        Addressing::AddMember { group, member } => {
            must_be_local(store, group.domain()).await?;
            if members(store, &group)
                .await?
                .is_some_and(|it| it.len() >= MAX_MEMBERS)
            {
                return Err(format!("{group} has {MAX_MEMBERS} members already"));
            }
            let name = group.clone();
            let changed = store.change_group(group, move |members| {
                if !members.contains(&member) {
                    members.push(member.clone());
                }
            });
            done(changed.await, &format!("{name} is an account or an alias"))
        }
        Addressing::RemoveMember { group, member } => {
            let found = members(store, &group).await?;
            let found = found.ok_or_else(|| format!("there is no group {group}"))?;
            if !found.contains(&member) {
                return Err(format!("{member} is no member of {group}"));
            }
            let changed = store.change_group(group, move |members| {
                members.retain(|it| *it != member);
            });
            done(changed.await, "")
        }
        Addressing::RemoveGroup { group } => match members(store, &group).await? {
            Some(_) => done(store.change_group(group, Vec::clear).await, ""),
            None => Err(format!("there is no group {group}")),
        },
        Addressing::ListGroups => {
            let rows = |snapshot: &Snapshot| {
                let mut rows = Vec::new();
                for (group, members) in snapshot.groups()? {
                    let members = members.iter().map(|it| vec![group.clone(), it.to_string()]);
                    rows.extend(members);
                }
                Ok(rows)
            };
            list(store, rows).await
        }
        Addressing::SetCatchAll { domain, to } => {
            must_be_local(store, &domain).await?;
            done(store.set_catch_all(domain, Some(to)).await.map(drop), "")
        }
        Addressing::RemoveCatchAll { domain } => {
            let none = format!("{domain} has no catch-all");
            found(store.set_catch_all(domain, None).await, none)
        }
        Addressing::ListCatchAlls => {
            let rows = |snapshot: &Snapshot| {
                let rows = snapshot.catch_alls()?.into_iter();
                Ok(rows.map(|(domain, to)| vec![domain, to]).collect())
            };
            list(store, rows).await
        }
        Addressing::AddGrant { account: to, grant } => {
            let account = account(store, &to).await?;
            let changed = store.change_grants(account.id, move |grants| {
                if !grants.contains(&grant) {
                    grants.push(grant.clone());
                }
            });
            done(changed.await, "")
        }
        Addressing::RemoveGrant { account: to, grant } => {
            let account = account(store, &to).await?;
            let grants = store.look(|snapshot| snapshot.grants(account.id));
            if !grants.map_err(|error| error.to_string())?.contains(&grant) {
                return Err(format!("{to} has no grant of {grant}"));
            }
            let changed = store.change_grants(account.id, move |grants| {
                grants.retain(|it| *it != grant);
            });
            done(changed.await, "")
        }
        Addressing::ListGrants => {
            let rows = |snapshot: &Snapshot| {
                let mut rows = Vec::new();
                for account in snapshot.accounts()? {
                    for grant in snapshot.grants(account.id)? {
                        rows.push(vec![account.address.to_string(), grant.to_string()]);
                    }
                }
                Ok(rows)
            };
            list(store, rows).await
        }
        Addressing::AddDevice(device) => {
            let taken = format!("there is a device {} already", device.name);
            done(store.add_device(device).await, &taken)
        }
        Addressing::RemoveDevice { name } => {
            let none = format!("there is no device {name}");
            found(store.remove_device(name).await, none)
        }
        Addressing::ListDevices => {
            let rows = |snapshot: &Snapshot| Ok(snapshot.devices()?.iter().map(row_of).collect());
            list(store, rows).await
        }
    }
}

fn row_of(device: &Device) -> Vec<String> {
    let networks: Vec<String> = device.networks.iter().map(Network::to_string).collect();
    let tls = if device.tls { "needed" } else { "not needed" };
    let to = if device.relay { "everywhere" } else { "here" };
    let limits = if device.limits { "as accounts" } else { "none" };
    vec![
        device.name.clone(),
        networks.join(" "),
        tls.into(),
        to.into(),
        limits.into(),
    ]
}

async fn list<F>(store: &Store, rows: F) -> Reply
where
    F: FnOnce(&Snapshot) -> crate::store::Result<Vec<Vec<String>>> + Send + 'static,
{
    store.read(rows).await.map_err(|error| error.to_string())
}

async fn members(store: &Store, group: &Address) -> Result<Option<Vec<Address>>, String> {
    let found = store.look(|snapshot| snapshot.group(group));
    found.map_err(|error| error.to_string())
}

/// Mail for another domain does not come here.
async fn must_be_local(store: &Store, domain: &Domain) -> Result<(), String> {
    match store.look(|snapshot| snapshot.is_local_domain(domain)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "{domain} is no domain of this server: an account or alias makes it one"
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn done(result: Result<(), Error>, taken: &str) -> Reply {
    match result {
        Ok(()) => Ok(Vec::new()),
        Err(Error::Exists) => Err(taken.into()),
        Err(error) => Err(error.to_string()),
    }
}

fn found(result: Result<bool, Error>, none: String) -> Reply {
    match result {
        Ok(true) => Ok(Vec::new()),
        Ok(false) => Err(none),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let one = |text: &str| Address::parse(text).unwrap();
        let here = Network::parse("192.0.2.0/28").unwrap();
        let device = Device::new("scanner", vec![here, here]).unwrap();
        let domain = || Domain::parse("b.de").unwrap();
        let grant = || Grant::parse("@c.de").unwrap();
        let (group, member) = (one("team@b.de"), one("\"a b\"@b.de"));
        let account = one("ann@b.de");
        for request in [
            Addressing::AddMember {
                group: group.clone(),
                member: member.clone(),
            },
            Addressing::RemoveMember {
                group: group.clone(),
                member: member.clone(),
            },
            Addressing::RemoveGroup { group },
            Addressing::ListGroups,
            Addressing::SetCatchAll {
                domain: domain(),
                to: member,
            },
            Addressing::RemoveCatchAll { domain: domain() },
            Addressing::ListCatchAlls,
            Addressing::AddGrant {
                account: account.clone(),
                grant: grant(),
            },
            Addressing::RemoveGrant {
                account,
                grant: grant(),
            },
            Addressing::ListGrants,
            Addressing::AddDevice(Device {
                relay: true,
                ..device.clone()
            }),
            Addressing::AddDevice(Device {
                tls: false,
                limits: false,
                ..device
            }),
            Addressing::RemoveDevice {
                name: "scanner".into(),
            },
            Addressing::ListDevices,
        ] {
            let words = request.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(Addressing::read(&words), Some(Ok(request)));
        }
        assert_eq!(Addressing::read(&["alias-list"]), None);
        for wrong in [
            &["group-add", "team", "ann@b.de"][..],
            &["catch-all-set", "@b.de", "ann@b.de"],
            &["grant-add", "ann@b.de", "@"],
            &["device-add", "x", "tls", "here", "limited"],
            &["device-add", "x", "tls", "here", "limited", "0.0.0.0/0"],
            &["device-add", "x", "maybe", "here", "limited", "10.0.0.1"],
            &["device-add", "x", "tls", "here", "maybe", "10.0.0.1"],
        ] {
            assert!(matches!(Addressing::read(wrong), Some(Err(_))), "{wrong:?}");
        }
    }
}
