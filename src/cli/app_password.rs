//! `pillarbox account app-password`: passwords for one device each.

use super::{Error, change, data_dir, parse, print_table};
use crate::control::{self, Lifecycle, Request};
use crate::store::APP_SERVICES;
use argh::FromArgs;
use std::path::PathBuf;

/// Manage an account's app passwords: one for each device, revoked one by one.
#[derive(FromArgs)]
#[argh(subcommand, name = "app-password")]
pub struct AppPasswordCommand {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Make a password for a device and show it, this once.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// the device's name: phone
    #[argh(positional)]
    name: String,
    /// only for this service: imap, pop3 or submission; may be given more than once
    #[argh(option, arg_name = "service")]
    only: Vec<String>,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List an account's app passwords: when made, when used last, for what.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Revoke a device's password; its sessions end.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// the device's name
    #[argh(positional)]
    name: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl AppPasswordCommand {
    pub fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        match self.action {
            Action::Add(action) => action.run(outer),
            Action::List(List { address, dir }) => {
                let address = parse(&address)?;
                let request = Request::Lifecycle(Lifecycle::ListAppPasswords { address });
                let rows = control::ask(&data_dir(dir.or(outer)), request)?;
                print_table(&["DEVICE", "MADE", "LAST USE", "FOR"], &rows);
                Ok(())
            }
            Action::Remove(Remove { address, name, dir }) => {
                let address = parse(&address)?;
                let done = format!("{name} can log in to {address} no more.");
                let request = Lifecycle::RemoveAppPassword { address, name };
                change(dir.or(outer), Request::Lifecycle(request), &done)
            }
        }
    }
}

impl Add {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let mut services = 0;
        for service in &self.only {
            let found = APP_SERVICES.iter().find(|(_, name)| name == service);
            let (bit, _) = found.ok_or("a service is imap, pop3 or submission")?;
            services |= bit;
        }
        let request = Request::Lifecycle(Lifecycle::AddAppPassword {
            address: parse(&self.address)?,
            name: self.name,
            services,
        });
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        for secret in rows.into_iter().flatten() {
            say!("{secret}");
        }
        eprintln!("This password is shown this once. Log in with it as with the account's own.");
        Ok(())
    }
}
