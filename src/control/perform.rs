//! Does what a [`Request`] asks, on the store.

use super::request::perform_group;
use super::{Reply, Request, World, lifecycle, status};
use crate::address::Address;
use crate::mail::option::AccountOptions;
use crate::mail::{Account, Quota, Standing, is_reserved};
use crate::secret::{Credential, Secret};
use crate::store::{Error, Store};
use crate::task;

/// On the store alone, by the program's own user. Errors are sentences for the owner.
pub async fn perform(store: &Store, request: Request) -> Reply {
    let world = World {
        store,
        who: &own_user(),
        dir: None,
        running: None,
    };
    perform_in(&world, request).await
}

/// Errors are sentences for the owner.
pub(super) async fn perform_in(world: &World<'_>, request: Request) -> Reply {
    let store = world.store;
    let request = match perform_group(world, request).await {
        Ok(reply) => return reply,
        Err(request) => request,
    };
    match request {
        Request::AddAccount { address, password } => add_account(store, address, password).await,
        Request::ListAccounts => list_accounts(store).await,
        Request::SetPassword { address, password } => {
            let account = account(store, &address).await?;
            let credential = credential(password).await?;
            let done = store.set_credential(account.id, credential).await;
            done.map(none).map_err(|error| sentence(&error, &address))
        }
        Request::DeleteAccount { address } => {
            lifecycle::delete(store, world.live(), &address).await
        }
        Request::ShowAccount { address } => show_account(store, &address).await,
        Request::SetOption {
            address,
            option,
            value,
        } => set_option(store, &address, option, value).await,
        Request::AddAlias {
            alias,
            account: owner,
        } => {
            let owner = account(store, &owner).await?;
            let done = store.add_alias(alias.clone(), owner.id).await;
            done.map(none).map_err(|error| sentence(&error, &alias))
        }
        Request::RemoveAlias { alias } => remove_alias(store, alias).await,
        Request::ListAliases => list_aliases(store).await,
        Request::Status => {
            let vitals = world.running.map(|it| &it.vitals);
            status::perform(store, world.dir, vitals, world.live()).await
        }
        _ => Err("the server does not know this request".into()),
    }
}

/// Who runs this, as a peer of the socket is named.
pub(super) fn own_user() -> String {
    super::user(rustix::process::geteuid().as_raw())
}

async fn add_account(store: &Store, address: Address, password: Secret<String>) -> Reply {
    if is_reserved(address.local()) {
        let local = address.local().to_lowercase();
        return Err(format!(
            "{address}: the name {local} is reserved; choose another"
        ));
    }
    let wanted = address.clone();
    let found = store.read(move |snapshot| snapshot.account_by_address(&wanted));
    if found.await.map_err(|error| error.to_string())?.is_some() {
        return Err(sentence(&Error::Exists, &address));
    }
    let credential = credential(password).await?;
    let made = store.create_account(address.clone(), credential).await;
    made.map(|_| Vec::new())
        .map_err(|error| sentence(&error, &address))
}

async fn list_accounts(store: &Store) -> Reply {
    let rows = store.read(|snapshot| {
        let mut rows = Vec::new();
        for account in snapshot.accounts()? {
            let mailboxes = snapshot.mailboxes(account.id)?;
            let messages: u64 = mailboxes.iter().map(|it| u64::from(it.messages)).sum();
            let bytes: u64 = mailboxes.iter().map(|it| it.size).sum();
            rows.push(vec![
                account.address.to_string(),
                messages.to_string(),
                bytes.to_string(),
                standing(snapshot.standing(account.id)?),
            ]);
        }
        Ok(rows)
    });
    let mut rows = rows.await.map_err(|error| error.to_string())?;
    rows.sort_unstable();
    Ok(rows)
}

/// Empty while it is in use.
fn standing(standing: Standing) -> String {
    match standing {
        Standing::Active => String::new(),
        Standing::Disabled { takes_mail: true } => "disabled".into(),
        Standing::Disabled { takes_mail: false } => "disabled, refuses mail".into(),
        Standing::Deleted { until } => {
            let until = jiff::Timestamp::from_second(until);
            until.map_or_else(
                |_| "deleted".into(),
                |it| format!("deleted, kept until {it}"),
            )
        }
    }
}

async fn show_account(store: &Store, address: &Address) -> Reply {
    let account = account(store, address).await?;
    let quota = store
        .quota_of(account.id)
        .map_err(|error| error.to_string())?;
    let read = store.read(move |snapshot| {
        let mailboxes = snapshot.mailboxes(account.id)?;
        let messages: u64 = mailboxes.iter().map(|it| u64::from(it.messages)).sum();
        let bytes: u64 = mailboxes.iter().map(|it| it.size).sum();
        let mut rows = vec![
            ("address", account.address.to_string()),
            ("messages", messages.to_string()),
            ("bytes", bytes.to_string()),
        ];
        if quota != Quota::default() {
            let used = Quota { bytes, messages };
            rows.push(("full", format!("{} %", quota.percent(used))));
        }
        let stands = standing(snapshot.standing(account.id)?);
        if !stands.is_empty() {
            rows.push(("state", stands));
        }
        rows.extend(account.aliases.iter().map(|it| ("alias", it.to_string())));
        for last in snapshot.last_uses(account.id)? {
            let at = jiff::Timestamp::from_second(last.at);
            let at = at.map_or_else(|_| "unknown".into(), |it| it.to_string());
            let (means, service, from) = (last.means, last.service, last.from);
            let text = format!("{at} by {means}, {service} from {from}");
            rows.push(("last-login", text));
        }
        let options = snapshot.account_options(account.id)?;
        let options = options.rows().into_iter();
        rows.extend(options.map(|(name, value)| (name, value.to_string())));
        let rows = rows.into_iter();
        Ok(rows.map(|(name, value)| vec![name.into(), value]).collect())
    });
    read.await.map_err(|error| error.to_string())
}

async fn set_option(store: &Store, address: &Address, option: String, value: String) -> Reply {
    let account = account(store, address).await?;
    AccountOptions::default().set(&option, &value)?;
    let changed = store.change_options(account.id, move |options| {
        // Checked above.
        let _ = options.set(&option, &value);
    });
    changed
        .await
        .map(none)
        .map_err(|error| sentence(&error, address))
}

async fn remove_alias(store: &Store, alias: Address) -> Reply {
    let wanted = alias.clone();
    let found = store.read(move |snapshot| snapshot.account_by_address(&wanted));
    match found.await.map_err(|error| error.to_string())? {
        Some(owner) if owner.address == alias => {
            Err(format!("{alias} is an account, not an alias"))
        }
        Some(_) => {
            let done = store.remove_alias(alias.clone()).await;
            done.map(none).map_err(|error| sentence(&error, &alias))
        }
        None => Err(format!("there is no alias {alias}")),
    }
}

async fn list_aliases(store: &Store) -> Reply {
    let rows = store.read(|snapshot| {
        let mut rows = Vec::new();
        for account in snapshot.accounts()? {
            for alias in &account.aliases {
                rows.push(vec![alias.to_string(), account.address.to_string()]);
            }
        }
        Ok(rows)
    });
    let mut rows = rows.await.map_err(|error| error.to_string())?;
    rows.sort_unstable();
    Ok(rows)
}

/// The account whose own address this is: an alias is not enough to delete by.
pub(super) async fn account(store: &Store, address: &Address) -> Result<Account, String> {
    let wanted = address.clone();
    let found = store.read(move |snapshot| snapshot.account_by_address(&wanted));
    match found.await.map_err(|error| error.to_string())? {
        Some(account) if account.address == *address => Ok(account),
        Some(account) => Err(format!("{address} is an alias of {}", account.address)),
        None => Err(format!("there is no account {address}")),
    }
}

/// Hashing takes long: not on the executor.
async fn credential(password: Secret<String>) -> Result<Credential, String> {
    let made = task::unblock(move || Credential::create(&password)).await;
    made.map_err(|error| error.to_string())
}

fn sentence(error: &Error, address: &Address) -> String {
    match error {
        Error::Exists => format!("{address} exists already, as an account or an alias"),
        Error::NoAccount => format!("there is no account {address}"),
        error => error.to_string(),
    }
}

fn none(_: ()) -> Vec<Vec<String>> {
    Vec::new()
}
