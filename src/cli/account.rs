//! `pillarbox account`: who has mail here.

use super::app_password::AppPasswordCommand;
use super::certificate::CertificateCommand;
use super::{Error, change, data_dir, new_password, parse, print_table};
use crate::address::Address;
use crate::control::{self, Lifecycle, Request};
use argh::FromArgs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Manage accounts, on the running server or on its store.
#[derive(FromArgs)]
#[argh(subcommand, name = "account")]
pub struct AccountCommand {
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
    List(List),
    Password(Password),
    Delete(Delete),
    Show(Show),
    Set(Set),
    Certificate(CertificateCommand),
    AppPassword(AppPasswordCommand),
    Disable(Disable),
    Enable(Enable),
    Rename(Rename),
    Restore(Restore),
    Purge(Purge),
    Welcome(Welcome),
}

/// Make an account; the password is asked for twice.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// its address, USER@DOMAIN; also its login name
    #[argh(positional)]
    address: String,
    /// read the password from standard input, one line
    #[argh(switch)]
    password_stdin: bool,
    /// the language of what the server writes to it: en or ru
    #[argh(option)]
    language: Option<String>,
    /// write no message of welcome to its INBOX
    #[argh(switch)]
    no_welcome: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List the accounts with what they hold.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Set a new password.
#[derive(FromArgs)]
#[argh(subcommand, name = "password")]
struct Password {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// read the password from standard input, one line
    #[argh(switch)]
    password_stdin: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Delete an account and all its mail; it can be had back for a while.
#[derive(FromArgs)]
#[argh(subcommand, name = "delete")]
struct Delete {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// don't ask; without a terminal it never does
    #[argh(switch)]
    yes: bool,
    /// for good, at once
    #[argh(switch)]
    now: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Show an account: its aliases, what it holds, its options.
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct Show {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Set an option of an account; pillarbox help accounts lists them.
#[derive(FromArgs)]
#[argh(subcommand, name = "set")]
struct Set {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// the option's name
    #[argh(positional)]
    option: String,
    /// its new value
    #[argh(positional)]
    value: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Let nobody log in to an account; its sessions end.
#[derive(FromArgs)]
#[argh(subcommand, name = "disable")]
struct Disable {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// refuse its mail too
    #[argh(switch)]
    refuse_mail: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Use a disabled account again.
#[derive(FromArgs)]
#[argh(subcommand, name = "enable")]
struct Enable {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Give an account another address; mailboxes and passwords stay as they are.
#[derive(FromArgs)]
#[argh(subcommand, name = "rename")]
struct Rename {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// its new address
    #[argh(positional)]
    to: String,
    /// keep the old address as an alias
    #[argh(switch)]
    alias: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Have a deleted account back, with all its mail.
#[derive(FromArgs)]
#[argh(subcommand, name = "restore")]
struct Restore {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Take a deleted account away for good, and free its address.
#[derive(FromArgs)]
#[argh(subcommand, name = "purge")]
struct Purge {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Write the welcome with the connection settings to an account once more.
#[derive(FromArgs)]
#[argh(subcommand, name = "welcome")]
struct Welcome {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl AccountCommand {
    pub fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Add(action) => action.run(self.dir),
            Action::List(action) => action.run(self.dir),
            Action::Password(action) => action.run(self.dir),
            Action::Delete(action) => action.run(self.dir),
            Action::Show(action) => action.run(self.dir),
            Action::Set(action) => action.run(self.dir),
            Action::Certificate(command) => command.run(self.dir),
            Action::AppPassword(command) => command.run(self.dir),
            Action::Disable(action) => action.run(self.dir),
            Action::Enable(Enable { address, dir }) => {
                let address = parse(&address)?;
                let done = format!("{address} can log in again.");
                ask(dir.or(self.dir), Lifecycle::Enable { address }, &done)
            }
            Action::Rename(action) => action.run(self.dir),
            Action::Restore(Restore { address, dir }) => {
                let address = parse(&address)?;
                let done = format!("{address} is back, with all its mail.");
                ask(dir.or(self.dir), Lifecycle::Restore { address }, &done)
            }
            Action::Purge(Purge { address, dir }) => {
                let address = parse(&address)?;
                let done = format!("{address} is gone for good.");
                ask(dir.or(self.dir), Lifecycle::Purge { address }, &done)
            }
            Action::Welcome(Welcome { address, dir }) => {
                let address = parse(&address)?;
                let done = format!("{address} has the welcome in its INBOX.");
                ask(dir.or(self.dir), Lifecycle::Welcome { address }, &done)
            }
        }
    }
}

fn ask(dir: Option<PathBuf>, request: Lifecycle, done: &str) -> Result<(), Error> {
    change(dir, Request::Lifecycle(request), done)
}

impl Disable {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        let takes_mail = !self.refuse_mail;
        let mail = match takes_mail {
            true => "its mail still comes in",
            false => "its mail is refused",
        };
        let done = format!("Nobody logs in to {address} now; {mail}.");
        let request = Lifecycle::Disable {
            address,
            takes_mail,
        };
        ask(self.dir.or(outer), request, &done)
    }
}

impl Rename {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let (address, to) = (parse(&self.address)?, parse(&self.to)?);
        let done = format!("{address} is {to} now, and logs in so.");
        let request = Lifecycle::Rename {
            address,
            to,
            keep_alias: self.alias,
        };
        ask(self.dir.or(outer), request, &done)
    }
}

impl Add {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        let password = new_password(self.password_stdin)?;
        let done = format!("{address} can log in now.");
        let dir = self.dir.or(outer);
        let request = Request::AddAccount {
            address: address.clone(),
            password,
        };
        control::ask(&data_dir(dir.clone()), request)?;
        if let Some(value) = self.language {
            let (option, address) = ("language".to_owned(), address.clone());
            let request = Request::SetOption {
                address,
                option,
                value,
            };
            control::ask(&data_dir(dir.clone()), request)?;
        }
        if !self.no_welcome {
            let request = Request::Lifecycle(Lifecycle::Welcome { address });
            control::ask(&data_dir(dir), request)?;
        }
        say!("{done}");
        Ok(())
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let mut rows = control::ask(&data_dir(self.dir.or(outer)), Request::ListAccounts)?;
        for bytes in rows.iter_mut().filter_map(|row| row.get_mut(2)) {
            *bytes = size(bytes.parse().unwrap_or(0));
        }
        print_table(&["ACCOUNT", "MESSAGES", "SIZE", "STATE"], &rows);
        Ok(())
    }
}

impl Password {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        let password = new_password(self.password_stdin)?;
        let done = format!("{address} has a new password.");
        let request = Request::SetPassword { address, password };
        change(self.dir.or(outer), request, &done)
    }
}

impl Delete {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        if !self.yes && !confirmed(&address)? {
            return Err("nothing was deleted".into());
        }
        let dir = data_dir(self.dir.or(outer));
        let request = Request::DeleteAccount {
            address: address.clone(),
        };
        let rows = control::ask(&dir, request)?;
        let until = rows.into_iter().flatten().next().unwrap_or_default();
        if until.is_empty() {
            say!("{address} and its mail are deleted.");
            return Ok(());
        }
        if self.now {
            let request = Lifecycle::Purge {
                address: address.clone(),
            };
            control::ask(&dir, Request::Lifecycle(request))?;
            say!("{address} and its mail are deleted.");
            return Ok(());
        }
        say!("{address} is deleted. Until {until} `account restore` brings it back.");
        Ok(())
    }
}

impl Show {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        let request = Request::ShowAccount { address };
        let mut rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        for row in &mut rows {
            if let [name, value] = row.as_mut_slice()
                && name == "bytes"
            {
                *name = "size".into();
                *value = size(value.parse().unwrap_or(0));
            }
        }
        print_table(&[], &rows);
        Ok(())
    }
}

impl Set {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        let (option, value) = (self.option, self.value);
        let done = format!("{address}: {option} is {value} now.");
        let request = Request::SetOption {
            address,
            option,
            value,
        };
        change(self.dir.or(outer), request, &done)
    }
}

/// Asks a person; a script has made up its mind.
fn confirmed(address: &Address) -> Result<bool, Error> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    print!("Delete {address} and all its mail? Type the address to confirm: ");
    io::stdout().flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(Address::parse(line.trim()).is_ok_and(|typed| typed == *address))
}

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}
