//! Requests about an account as a whole: its app passwords, whether it is in use, its address,
//! its end.

use super::perform::account;
use super::{Reply, settings};
use crate::address::Address;
use crate::announce::welcome;
use crate::mail::{Account, Standing, is_reserved};
use crate::secret::AppSecret;
use crate::settings::Live;
use crate::store::{APP_SERVICES, AppPassword, Error, Store};
use crate::task;
use jiff::Timestamp;

/// Longest name of a device, bytes.
const MAX_NAME: usize = 64;

/// What the owner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// `services`: bits of [`APP_SERVICES`], 0 for all. A row: the password, shown this once.
    AddAppPassword {
        address: Address,
        name: String,
        services: u64,
    },
    /// Rows of name, made, last use, services.
    ListAppPasswords {
        address: Address,
    },
    RemoveAppPassword {
        address: Address,
        name: String,
    },
    /// Nobody logs in any more; mail still comes in if `takes_mail`.
    Disable {
        address: Address,
        takes_mail: bool,
    },
    Enable {
        address: Address,
    },
    Rename {
        address: Address,
        to: Address,
        keep_alias: bool,
    },
    /// Has a deleted account back.
    Restore {
        address: Address,
    },
    /// Takes a deleted account away for good.
    Purge {
        address: Address,
    },
    /// Writes the welcome to its INBOX.
    Welcome {
        address: Address,
    },
}

const FLAGS: [&str; 2] = ["no", "yes"];

impl Lifecycle {
    /// The request's words: none of them is secret.
    pub fn words(&self) -> Vec<String> {
        let words = |words: &[&dyn ToString]| words.iter().map(|it| it.to_string()).collect();
        let flag = |yes: bool| FLAGS[usize::from(yes)];
        match self {
            Lifecycle::AddAppPassword {
                address,
                name,
                services,
            } => words(&[&"app-password-add", address, name, services]),
            Lifecycle::ListAppPasswords { address } => words(&[&"app-password-list", address]),
            Lifecycle::RemoveAppPassword { address, name } => {
                words(&[&"app-password-remove", address, name])
            }
            Lifecycle::Disable {
                address,
                takes_mail,
            } => words(&[&"account-disable", address, &flag(*takes_mail)]),
            Lifecycle::Enable { address } => words(&[&"account-enable", address]),
            Lifecycle::Rename {
                address,
                to,
                keep_alias,
            } => words(&[&"account-rename", address, to, &flag(*keep_alias)]),
            Lifecycle::Restore { address } => words(&[&"account-restore", address]),
            Lifecycle::Purge { address } => words(&[&"account-purge", address]),
            Lifecycle::Welcome { address } => words(&[&"account-welcome", address]),
        }
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Lifecycle, String>> {
        let address = |text: &str| Address::parse(text).map_err(|error| format!("{text}: {error}"));
        let yes = |text: &str| match FLAGS.iter().position(|it| *it == text) {
            Some(at) => Ok(at == 1),
            None => Err("this is neither yes nor no".to_owned()),
        };
        Some(match words {
            ["app-password-add", who, name, services] => address(who).and_then(|address| {
                Ok(Lifecycle::AddAppPassword {
                    address,
                    name: name.to_string(),
                    services: services.parse().map_err(|_| "these are no services")?,
                })
            }),
            ["app-password-list", who] => {
                address(who).map(|address| Lifecycle::ListAppPasswords { address })
            }
            ["app-password-remove", who, name] => {
                address(who).map(|address| Lifecycle::RemoveAppPassword {
                    address,
                    name: name.to_string(),
                })
            }
            ["account-disable", who, takes_mail] => address(who).and_then(|address| {
                Ok(Lifecycle::Disable {
                    address,
                    takes_mail: yes(takes_mail)?,
                })
            }),
            ["account-enable", who] => address(who).map(|address| Lifecycle::Enable { address }),
            ["account-rename", who, to, keep_alias] => address(who).and_then(|from| {
                Ok(Lifecycle::Rename {
                    address: from,
                    to: address(to)?,
                    keep_alias: yes(keep_alias)?,
                })
            }),
            ["account-restore", who] => address(who).map(|address| Lifecycle::Restore { address }),
            ["account-purge", who] => address(who).map(|address| Lifecycle::Purge { address }),
            ["account-welcome", who] => address(who).map(|address| Lifecycle::Welcome { address }),
            _ => return None,
        })
    }
}

/// With a server, `live` is what it runs by; `who` asks. Errors are sentences for the owner.
pub async fn perform(store: &Store, live: Option<&Live>, who: &str, request: Lifecycle) -> Reply {
    match request {
        Lifecycle::AddAppPassword {
            address,
            name,
            services,
        } => add_app_password(store, &address, name, services).await,
        Lifecycle::ListAppPasswords { address } => list_app_passwords(store, &address).await,
        Lifecycle::RemoveAppPassword { address, name } => {
            let account = account(store, &address).await?;
            match store.remove_app_password(account.id, name.clone()).await {
                Ok(true) => Ok(Vec::new()),
                Ok(false) => Err(format!("{address} has no app password {name}")),
                Err(error) => Err(error.to_string()),
            }
        }
        Lifecycle::Disable {
            address,
            takes_mail,
        } => {
            let (account, from) = undeleted(store, &address).await?;
            stand(store, &account, from, Standing::Disabled { takes_mail }).await
        }
        Lifecycle::Enable { address } => {
            let (account, from) = undeleted(store, &address).await?;
            stand(store, &account, from, Standing::Active).await
        }
        Lifecycle::Rename {
            address,
            to,
            keep_alias,
        } => rename(store, live, who, &address, to, keep_alias).await,
        Lifecycle::Restore { address } => {
            let (account, from) = deleted(store, &address).await?;
            stand(store, &account, from, Standing::Active).await
        }
        Lifecycle::Purge { address } => {
            let (account, _) = deleted(store, &address).await?;
            let purged = store.purge_account(account.id).await;
            purged.map(|()| Vec::new()).map_err(sentence)
        }
        Lifecycle::Welcome { address } => {
            let (account, _) = undeleted(store, &address).await?;
            let settings = settings::now(store, live)?;
            let welcomed = welcome::send(store, &settings, account.id).await;
            welcomed.map(|()| Vec::new()).map_err(sentence)
        }
    }
}

async fn add_app_password(store: &Store, address: &Address, name: String, services: u64) -> Reply {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fits) {
        return Err("a device's name has 1 to 64 letters, digits, - _ or .".into());
    }
    let (account, _) = undeleted(store, address).await?;
    let site = store
        .look(|snapshot| snapshot.site_key())
        .map_err(sentence)?;
    let made = task::unblock(move || AppSecret::create(site.reveal())).await;
    let (secret, tag, scram) = made.map_err(|error| error.to_string())?;
    let new = AppPassword {
        name: name.clone(),
        made: Timestamp::now().as_second(),
        services,
        tag,
        scram,
    };
    match store.add_app_password(account.id, new).await {
        Ok(()) => Ok(vec![vec![secret.reveal().clone()]]),
        Err(Error::Exists) => Err(format!("{address} has an app password {name} already")),
        Err(error) => Err(error.to_string()),
    }
}

async fn list_app_passwords(store: &Store, address: &Address) -> Reply {
    let account = account(store, address).await?;
    let read = store.look(|snapshot| {
        let all = snapshot.app_passwords(account.id)?;
        Ok((all, snapshot.last_uses(account.id)?))
    });
    let (all, uses) = read.map_err(sentence)?;
    let row = |app: &AppPassword| {
        let means = format!("app password {}", app.name);
        let last = uses.iter().find(|it| it.means == means);
        let last = last.map(|it| format!("{}, {} from {}", moment(it.at), it.service, it.from));
        let services = APP_SERVICES.iter().filter(|(_, name)| app.is_for(name));
        let services: Vec<&str> = services.map(|(_, name)| *name).collect();
        vec![
            app.name.clone(),
            moment(app.made),
            last.unwrap_or_else(|| "never".into()),
            services.join(" "),
        ]
    };
    Ok(all.iter().map(row).collect())
}

fn moment(unix: i64) -> String {
    let moment = Timestamp::from_second(unix);
    moment.map_or_else(|_| "unknown".into(), |it| it.to_string())
}

async fn stand(store: &Store, account: &Account, from: Standing, to: Standing) -> Reply {
    let stood = store.set_standing(account.id, from, to).await;
    stood.map(|()| Vec::new()).map_err(sentence)
}

/// The owner's settings follow, in the same transaction.
async fn rename(
    store: &Store,
    live: Option<&Live>,
    who: &str,
    address: &Address,
    to: Address,
    keep_alias: bool,
) -> Reply {
    if is_reserved(to.local()) {
        return Err(format!("{to}: this name is reserved; choose another"));
    }
    let (account, _) = undeleted(store, address).await?;
    let _turn = match live {
        Some(live) => Some(live.turn.lock().await),
        None => None,
    };
    let old = &account.address;
    if !keep_alias && live.is_some_and(|it| settings::is_given_administrator(it, old)) {
        return Err(format!(
            "server.administrators was given at the start and names {old}: keep that as an alias, \
             or start the server with another"
        ));
    }
    let (after, notes) = settings::renamed(store, who, old, &to)?;
    let changes = !notes.is_empty();
    let renamed = store.rename_account(account.id, to.clone(), keep_alias, notes);
    match renamed.await {
        Ok(()) => match live {
            Some(live) if changes => live.apply(&after).map(|()| Vec::new()),
            _ => Ok(Vec::new()),
        },
        Err(Error::Exists) => Err(format!("{to} exists already, as an account or an alias")),
        Err(error) => Err(error.to_string()),
    }
}

/// Deletes an account so that it can be had back for a while. A row: until when, or empty if it
/// is gone for good, as the owner has set it.
pub(super) async fn delete(store: &Store, live: Option<&Live>, address: &Address) -> Reply {
    let (account, from) = undeleted(store, address).await?;
    let keep = settings::now(store, live)?.keep_deleted;
    if keep.is_zero() {
        store.delete_account(account.id).await.map_err(sentence)?;
        return Ok(vec![vec![String::new()]]);
    }
    let now = Timestamp::now().as_second();
    let until = now.saturating_add_unsigned(keep.as_secs());
    stand(store, &account, from, Standing::Deleted { until }).await?;
    Ok(vec![vec![moment(until)]])
}

/// Takes away for good what was deleted long enough ago, by the clock and by the days that
/// were counted since: `day_passed` is one by a clock that nobody sets. Gives the addresses.
pub async fn purge_expired(store: &Store, now: i64, day_passed: bool) -> Vec<Address> {
    let mut gone = Vec::new();
    let due = store.look(|snapshot| snapshot.falling_due(now, day_passed));
    for id in due.unwrap_or_default() {
        let Ok(Some(account)) = store.look(|snapshot| snapshot.account(id)) else {
            continue;
        };
        match store.expire_account(id, now, day_passed).await {
            Ok(true) => gone.push(account.address),
            Ok(false) => {}
            Err(error) => log::warn!("{} can't be taken away: {error}", account.address),
        }
    }
    gone
}

async fn deleted(store: &Store, address: &Address) -> Result<(Account, Standing), String> {
    let account = account(store, address).await?;
    match store.look(|snapshot| snapshot.standing(account.id)) {
        Ok(standing @ Standing::Deleted { .. }) => Ok((account, standing)),
        Ok(_) => Err(format!("{address} is not deleted")),
        Err(error) => Err(sentence(error)),
    }
}

async fn undeleted(store: &Store, address: &Address) -> Result<(Account, Standing), String> {
    let account = account(store, address).await?;
    match store.look(|snapshot| snapshot.standing(account.id)) {
        Ok(Standing::Deleted { until }) => Err(format!(
            "{address} is deleted, and can be had back until {}: account restore",
            moment(until)
        )),
        Ok(standing) => Ok((account, standing)),
        Err(error) => Err(sentence(error)),
    }
}

fn sentence(error: Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Credential, Secret};
    use crate::settings::Settings;
    use crate::settings::document::Chosen;
    use crate::store::Options;

    #[test]
    fn who_was_named_at_the_start_keeps_the_address_at_least_as_an_alias() {
        let address = |text: &str| Address::parse(text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let credential = Credential::create(&Secret::new("correct horse".into())).unwrap();
        let given = [("server.administrators".into(), "ann@b.test".into())].into();
        let live = Live::new(Settings::default(), given, &Chosen::new()).unwrap();
        let rename = |from: &str, to: &str, keep_alias: bool| {
            let request = Lifecycle::Rename {
                address: address(from),
                to: address(to),
                keep_alias,
            };
            smol::block_on(perform(&store, Some(&live), "root", request))
        };
        smol::block_on(store.create_account(address("ann@b.test"), credential)).unwrap();
        let refused = rename("ann@b.test", "eve@b.test", false).unwrap_err();
        assert!(refused.starts_with("server.administrators was given at the start"));
        assert_eq!(rename("ann@b.test", "eve@b.test", true), Ok(vec![]));
        assert_eq!(rename("eve@b.test", "amy@b.test", false), Ok(vec![]));
        assert_eq!(live.now().administrators, [address("ann@b.test")]);
    }

    #[test]
    fn a_running_server_follows_at_once() {
        let address = |text: &str| Address::parse(text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let credential = Credential::create(&Secret::new("correct horse".into())).unwrap();
        let live = Live::fixed(Settings::default());
        smol::block_on(async {
            let made = store.create_account(address("ann@b.test"), credential);
            made.await.unwrap();
            let chosen = [("server.administrators".into(), "ann@b.test".into())].into();
            let set = settings::Choosing::Set(chosen);
            settings::perform(&store, Some(&live), "root", set)
                .await
                .unwrap();
            let request = Lifecycle::Rename {
                address: address("ann@b.test"),
                to: address("eve@b.test"),
                keep_alias: false,
            };
            perform(&store, Some(&live), "root", request).await.unwrap();
        });
        assert_eq!(live.now().administrators, [address("eve@b.test")]);
    }

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let address = || Address::parse("ann@b.test").unwrap();
        for request in [
            Lifecycle::AddAppPassword {
                address: address(),
                name: "phone".into(),
                services: 5,
            },
            Lifecycle::ListAppPasswords { address: address() },
            Lifecycle::RemoveAppPassword {
                address: address(),
                name: "phone".into(),
            },
            Lifecycle::Disable {
                address: address(),
                takes_mail: true,
            },
            Lifecycle::Disable {
                address: address(),
                takes_mail: false,
            },
            Lifecycle::Enable { address: address() },
            Lifecycle::Rename {
                address: address(),
                to: Address::parse("eve@b.test").unwrap(),
                keep_alias: true,
            },
            Lifecycle::Restore { address: address() },
            Lifecycle::Purge { address: address() },
            Lifecycle::Welcome { address: address() },
        ] {
            let words = request.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(Lifecycle::read(&words), Some(Ok(request)));
        }
        assert_eq!(Lifecycle::read(&["account-list"]), None);
        for wrong in [
            &["account-disable", "ann@b.test", "perhaps"][..],
            &["account-enable", "ann"],
            &["app-password-add", "ann@b.test", "phone", "all"],
        ] {
            assert!(Lifecycle::read(wrong).is_some_and(|it| it.is_err()));
        }
    }
}
