//! `pillarbox grant`: whom else an account may send as.

use super::{Error, change, data_dir, parse, print_table};
use crate::control::{self, Addressing, Request};
use crate::mail::addressing::Grant;
use argh::FromArgs;
use std::path::PathBuf;

/// Manage grants: addresses that an account may send as without receiving their mail.
#[derive(FromArgs)]
#[argh(subcommand, name = "grant")]
pub struct GrantCommand {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Add(Add),
    Remove(Remove),
    List(List),
}

/// Let an account send as another address.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// the account
    #[argh(positional)]
    account: String,
    /// the address, or @DOMAIN for all of a domain
    #[argh(positional)]
    address: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Take a grant away.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the account
    #[argh(positional)]
    account: String,
    /// as it was added
    #[argh(positional)]
    address: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List the grants.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl GrantCommand {
    pub fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Add(action) => action.run(self.dir),
            Action::Remove(action) => action.run(self.dir),
            Action::List(action) => action.run(self.dir),
        }
    }
}

impl Add {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let account = parse(&self.account)?;
        let grant = grant(&self.address)?;
        let done = format!("{account} may send as {grant} now.");
        let request = Request::Addressing(Addressing::AddGrant { account, grant });
        change(self.dir.or(outer), request, &done)
    }
}

impl Remove {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let account = parse(&self.account)?;
        let grant = grant(&self.address)?;
        let done = format!("{account} may not send as {grant} any more.");
        let request = Request::Addressing(Addressing::RemoveGrant { account, grant });
        change(self.dir.or(outer), request, &done)
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Request::Addressing(Addressing::ListGrants);
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        print_table(&["ACCOUNT", "MAY SEND AS"], &rows);
        Ok(())
    }
}

fn grant(text: &str) -> Result<Grant, Error> {
    Grant::parse(text).map_err(|error| format!("{text}: {error}").into())
}
