//! `pillarbox collector`: mail that is fetched from a provider's mailbox.

use super::{Error, change, data_dir, new_password, parse, print_table};
use crate::collect::collector::{After, Collector, EVERY, Protocol, Security};
use crate::control::{self, Collecting, Request};
use crate::mail::{AccountId, MailboxName};
use argh::FromArgs;
use std::path::{Path, PathBuf};

/// Manage collectors, which fetch mail from a provider's mailbox by IMAP or POP3.
#[derive(FromArgs)]
#[argh(subcommand, name = "collector")]
pub struct CollectorCommand {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Add(Box<Add>),
    List(List),
    Show(Show),
    Remove(Remove),
    Run(Run),
    Pause(Pause),
    Resume(Resume),
}

/// Fetch a provider's mailbox from now on; its password is asked for.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// the account that gets the mail
    #[argh(positional)]
    account: String,
    /// imap or pop3
    #[argh(positional)]
    protocol: String,
    /// the provider's server
    #[argh(positional)]
    host: String,
    /// the login name there
    #[argh(option)]
    user: String,
    /// read the password from standard input, one line
    #[argh(switch)]
    password_stdin: bool,
    /// port (default 993 or 995, without implicit TLS 143 or 110)
    #[argh(option)]
    port: Option<u16>,
    /// implicit (the default), starttls, or none: to this machine alone
    #[argh(option, default = "\"implicit\".into()")]
    tls: String,
    /// trust the certificates in this PEM file too
    #[argh(option)]
    ca: Option<PathBuf>,
    /// the folder to fetch from (default INBOX)
    #[argh(option, default = "\"INBOX\".into()")]
    folder: String,
    /// the mailbox that it goes to (default INBOX)
    #[argh(option, default = "\"INBOX\".into()")]
    into: String,
    /// what becomes of it there: keep (the default), delete, or move:FOLDER
    #[argh(option, default = "\"keep\".into()")]
    after: String,
    /// seconds between looks (default 300); IMAP servers also tell of new mail
    #[argh(option, default = "EVERY")]
    every: u32,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List the collectors and how they do.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Show all of one collector but its password.
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct Show {
    /// its number
    #[argh(positional)]
    number: u32,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Stop a collector for good; what it fetched stays.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// its number
    #[argh(positional)]
    number: u32,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Have a collector look at once.
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
struct Run {
    /// its number
    #[argh(positional)]
    number: u32,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Stop a collector until it is resumed.
#[derive(FromArgs)]
#[argh(subcommand, name = "pause")]
struct Pause {
    /// its number
    #[argh(positional)]
    number: u32,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Let a paused collector go on.
#[derive(FromArgs)]
#[argh(subcommand, name = "resume")]
struct Resume {
    /// its number
    #[argh(positional)]
    number: u32,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl CollectorCommand {
    pub fn run(self) -> Result<(), Error> {
        let outer = self.dir;
        let tell = |dir: Option<PathBuf>, request, done: String| {
            change(dir.or(outer.clone()), Request::Collecting(request), &done)
        };
        match self.action {
            Action::Add(action) => action.run(outer),
            Action::List(action) => action.run(outer),
            Action::Show(action) => action.run(outer),
            Action::Remove(Remove { number, dir }) => {
                let done = format!("Collector {number} is no more; what it fetched stays.");
                tell(dir, Collecting::Remove(number), done)
            }
            Action::Run(Run { number, dir }) => {
                let done = format!("Collector {number} looks now, or as soon as the server runs.");
                tell(dir, Collecting::Run(number), done)
            }
            Action::Pause(Pause { number, dir }) => {
                let done = format!("Collector {number} rests until it is resumed.");
                tell(dir, Collecting::Pause(number), done)
            }
            Action::Resume(Resume { number, dir }) => {
                let done = format!("Collector {number} goes on.");
                tell(dir, Collecting::Resume(number), done)
            }
        }
    }
}

impl Add {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let account = parse(&self.account)?;
        let (protocol, security) = (
            Protocol::parse(&self.protocol)?,
            Security::parse(&self.tls)?,
        );
        let into = MailboxName::parse(&self.into);
        let into = into.map_err(|error| format!("{}: {error}", self.into))?;
        let ca = self.ca.as_deref().map(readable).transpose()?;
        let after = After::parse(&self.after)?;
        let collector = Collector {
            // The server knows it.
            account: AccountId(0),
            protocol,
            port: self.port.unwrap_or(protocol.port(security)),
            host: self.host,
            security,
            ca,
            user: self.user,
            password: new_password(self.password_stdin)?,
            folder: self.folder,
            into,
            after,
            every: self.every,
            paused: false,
            asked: 0,
        };
        collector.check()?;
        let source = collector.source();
        let collector = Box::new(collector);
        let request = Request::Collecting(Collecting::Add {
            account: account.clone(),
            collector,
        });
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        let number = rows.first().and_then(|row| row.first());
        let number = number.map_or("?", String::as_str);
        say!("Collector {number} fetches {source} for {account}.");
        Ok(())
    }
}

/// The whole path of a file that holds certificates: the server reads it by that.
fn readable(path: &Path) -> Result<String, Error> {
    let why = |error| format!("{}: {error}", path.display());
    let whole = std::fs::canonicalize(path).map_err(why)?;
    std::fs::read(&whole).map_err(why)?;
    let text = whole.to_str();
    Ok(text.ok_or("the path of the CA file is not UTF-8")?.into())
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Request::Collecting(Collecting::List);
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        let heading = [
            "NO",
            "ACCOUNT",
            "FROM",
            "AFTER",
            "TAKEN",
            "LAST WELL",
            "STATE",
        ];
        print_table(&heading, &rows);
        Ok(())
    }
}

impl Show {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Request::Collecting(Collecting::Show(self.number));
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        print_table(&["COLLECTOR", &self.number.to_string()], &rows);
        Ok(())
    }
}
