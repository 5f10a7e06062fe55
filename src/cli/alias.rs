//! `pillarbox alias`: further addresses of an account.

use super::{Error, change, data_dir, parse, print_table};
use crate::control::{self, Request};
use argh::FromArgs;
use std::path::PathBuf;

/// Manage aliases: further addresses that an account receives at and may send from.
#[derive(FromArgs)]
#[argh(subcommand, name = "alias")]
pub struct AliasCommand {
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

/// Give an account one more address.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// the new address
    #[argh(positional)]
    alias: String,
    /// the account that it belongs to
    #[argh(positional)]
    account: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Take an alias away.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the alias
    #[argh(positional)]
    alias: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List the aliases.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl AliasCommand {
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
        let (alias, account) = (parse(&self.alias)?, parse(&self.account)?);
        let done = format!("Mail for {alias} goes to {account} now.");
        change(
            self.dir.or(outer),
            Request::AddAlias { alias, account },
            &done,
        )
    }
}

impl Remove {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let alias = parse(&self.alias)?;
        let done = format!("{alias} is no alias any more.");
        change(self.dir.or(outer), Request::RemoveAlias { alias }, &done)
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let rows = control::ask(&data_dir(self.dir.or(outer)), Request::ListAliases)?;
        print_table(&["ALIAS", "ACCOUNT"], &rows);
        Ok(())
    }
}
