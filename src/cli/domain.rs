//! `pillarbox domain`: the domains that this server takes mail for.

use super::{Error, data_dir, print_table};
use crate::control::{self, Keys, Request};
use argh::FromArgs;
use std::path::PathBuf;

/// Show the domains that this server takes mail for: those of its accounts and aliases.
#[derive(FromArgs)]
#[argh(subcommand, name = "domain")]
pub struct DomainCommand {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    List(List),
}

/// List the domains.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl DomainCommand {
    pub fn run(self) -> Result<(), Error> {
        let Action::List(List { dir }) = self.action;
        let rows = control::ask(&data_dir(dir.or(self.dir)), Request::Keys(Keys::Domains))?;
        print_table(&["DOMAIN", "ACCOUNTS", "DKIM"], &rows);
        Ok(())
    }
}
