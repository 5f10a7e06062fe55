//! `pillarbox account`: who has mail here.

use super::certificate::CertificateCommand;
use super::{Error, change, data_dir, new_password, parse, print_table};
use crate::address::Address;
use crate::control::{self, Request};
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

/// Delete an account and all its mail.
#[derive(FromArgs)]
#[argh(subcommand, name = "delete")]
struct Delete {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// don't ask; without a terminal it never does
    #[argh(switch)]
    yes: bool,
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
        }
    }
}

impl Add {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        let password = new_password(self.password_stdin)?;
        let done = format!("{address} can log in now.");
        let request = Request::AddAccount { address, password };
        change(self.dir.or(outer), request, &done)
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let mut rows = control::ask(&data_dir(self.dir.or(outer)), Request::ListAccounts)?;
        for bytes in rows.iter_mut().filter_map(|row| row.last_mut()) {
            *bytes = size(bytes.parse().unwrap_or(0));
        }
        print_table(&["ACCOUNT", "MESSAGES", "SIZE"], &rows);
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
        let done = format!("{address} and its mail are deleted.");
        change(
            self.dir.or(outer),
            Request::DeleteAccount { address },
            &done,
        )
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
