//! `pillarbox dkim`: the keys that sign outgoing mail.

use super::{Error, change, data_dir, print_table};
use crate::address::Domain;
use crate::control::{self, Keys, Request};
use argh::FromArgs;
use std::path::PathBuf;

/// Manage the keys that sign outgoing mail (DKIM).
#[derive(FromArgs)]
#[argh(subcommand, name = "dkim")]
pub struct DkimCommand {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Make(Make),
    Rotate(Rotate),
    Remove(Remove),
    List(List),
}

/// Make a pair of keys for a domain; the first pair signs at once, later ones wait for rotate.
#[derive(FromArgs)]
#[argh(subcommand, name = "make")]
struct Make {
    /// the domain
    #[argh(positional)]
    domain: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Sign with the keys that wait; those that signed are retired, their records stay.
#[derive(FromArgs)]
#[argh(subcommand, name = "rotate")]
struct Rotate {
    /// the domain
    #[argh(positional)]
    domain: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Take a key away for good.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the domain
    #[argh(positional)]
    domain: String,
    /// the key's selector
    #[argh(positional)]
    selector: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List the keys and whether they sign.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl DkimCommand {
    pub fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Make(action) => action.run(self.dir),
            Action::Rotate(action) => action.run(self.dir),
            Action::Remove(action) => action.run(self.dir),
            Action::List(action) => action.run(self.dir),
        }
    }
}

impl Make {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let domain = domain(&self.domain)?;
        let request = Keys::Make {
            domain: domain.clone(),
        };
        let rows = control::ask(&data_dir(self.dir.or(outer)), Request::Keys(request))?;
        for row in &rows {
            if let [_, selector, algorithm, state, _] = row.as_slice() {
                say!("Key {selector} ({algorithm}) is {state}.");
            }
        }
        say!("Publish their records: pillarbox dns {domain}");
        Ok(())
    }
}

impl Rotate {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let domain = domain(&self.domain)?;
        let request = Keys::Rotate { domain };
        let rows = control::ask(&data_dir(self.dir.or(outer)), Request::Keys(request))?;
        if let Some([signing, retired]) = rows.first().map(Vec::as_slice) {
            say!("{signing} keys sign now, {retired} are retired.");
            say!("Leave the records of the retired ones for a week, then remove the keys.");
        }
        Ok(())
    }
}

impl Remove {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let domain = domain(&self.domain)?;
        let done = format!("The key {} of {domain} is gone.", self.selector);
        let selector = self.selector;
        let request = Request::Keys(Keys::Remove { domain, selector });
        change(self.dir.or(outer), request, &done)
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let mut rows = control::ask(&data_dir(self.dir.or(outer)), Request::Keys(Keys::List))?;
        rows.iter_mut().for_each(|row| row.truncate(4));
        print_table(&["DOMAIN", "SELECTOR", "ALGORITHM", "STATE"], &rows);
        Ok(())
    }
}

pub(super) fn domain(text: &str) -> Result<Domain, Error> {
    Domain::parse(text).map_err(|error| format!("{text}: {error}").into())
}
