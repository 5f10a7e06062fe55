//! `pillarbox catch-all`: where mail for unknown names of a domain goes.

use super::{Error, change, data_dir, parse, print_table};
use crate::address::Domain;
use crate::control::{self, Addressing, Request};
use argh::FromArgs;
use std::path::PathBuf;

/// Manage catch-alls: where mail for the unknown names of a domain goes.
#[derive(FromArgs)]
#[argh(subcommand, name = "catch-all")]
pub struct CatchAllCommand {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Set(Set),
    Remove(Remove),
    List(List),
}

/// Set where mail for unknown names of a domain goes.
#[derive(FromArgs)]
#[argh(subcommand, name = "set")]
struct Set {
    /// the domain
    #[argh(positional)]
    domain: String,
    /// where its mail goes
    #[argh(positional)]
    address: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Refuse mail for unknown names of a domain again.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the domain
    #[argh(positional)]
    domain: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List the catch-alls.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl CatchAllCommand {
    pub fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Set(action) => action.run(self.dir),
            Action::Remove(action) => action.run(self.dir),
            Action::List(action) => action.run(self.dir),
        }
    }
}

impl Set {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let domain = domain(&self.domain)?;
        let to = parse(&self.address)?;
        let done = format!("Mail for unknown names of {domain} goes to {to} now.");
        let request = Request::Addressing(Addressing::SetCatchAll { domain, to });
        change(self.dir.or(outer), request, &done)
    }
}

impl Remove {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let domain = domain(&self.domain)?;
        let done = format!("Mail for unknown names of {domain} is refused now.");
        let request = Request::Addressing(Addressing::RemoveCatchAll { domain });
        change(self.dir.or(outer), request, &done)
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Request::Addressing(Addressing::ListCatchAlls);
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        print_table(&["DOMAIN", "ADDRESS"], &rows);
        Ok(())
    }
}

fn domain(text: &str) -> Result<Domain, Error> {
    Domain::parse(text).map_err(|error| format!("{text}: {error}").into())
}
