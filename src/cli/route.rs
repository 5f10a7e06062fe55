//! `pillarbox route`: where mail for other servers goes.

use super::{Error, change, data_dir, new_password, parse, print_table};
use crate::control::{self, Request, Routing};
use crate::secret::Secret;
use argh::FromArgs;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// Say where mail for other servers goes: by a provider's server, or else directly.
#[derive(FromArgs)]
#[argh(subcommand, name = "route")]
pub struct RouteCommand {
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
    Set(Set),
    Remove(Remove),
    Test(Test),
}

/// List the routes.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Send mail of a domain's senders, or of all without a route of their own, by one server.
#[derive(FromArgs)]
#[argh(subcommand, name = "set")]
struct Set {
    /// domain of the senders, or the word default
    #[argh(positional)]
    domain: String,
    /// server that takes the mail: its name, which its certificate must hold for
    #[argh(option)]
    host: String,
    /// its port (default 587, with --tls implicit 465)
    #[argh(option)]
    port: Option<u16>,
    /// TLS: starttls, implicit, or none for a server on this machine (default starttls; on
    /// port 465 implicit)
    #[argh(option)]
    tls: Option<String>,
    /// user to log in as; the password is asked for
    #[argh(option)]
    user: Option<String>,
    /// read the password from standard input, one line
    #[argh(switch)]
    password_stdin: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Remove a route.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// domain of the senders, or the word default
    #[argh(positional)]
    domain: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Tell where mail for an address would go, and try it, up to TLS and login; nothing is sent.
#[derive(FromArgs)]
#[argh(subcommand, name = "test")]
struct Test {
    /// the recipient's address
    #[argh(positional)]
    address: String,
    /// sender whose route to take (default: the default route)
    #[argh(option)]
    from: Option<String>,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl RouteCommand {
    pub fn run(self) -> Result<(), Error> {
        match self.action {
            Action::List(action) => action.run(self.dir),
            Action::Set(action) => action.run(self.dir),
            Action::Remove(action) => action.run(self.dir),
            Action::Test(action) => action.run(self.dir),
        }
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Request::Routing(Routing::List);
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        print_table(&["SENDERS", "SERVER", "TLS", "USER"], &rows);
        Ok(())
    }
}

impl Set {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let login = match self.user {
            Some(user) => {
                let password = password(&user, &self.host, self.password_stdin)?;
                Some((user, password))
            }
            None if self.password_stdin => return Err("--password-stdin needs --user".into()),
            None => None,
        };
        let tls = self.tls.as_deref();
        let request = Routing::set(&self.domain, &self.host, self.port, tls, login)?;
        let done = format!(
            "Mail goes by {} now; pillarbox route test tries it.",
            self.host
        );
        change(self.dir.or(outer), Request::Routing(request), &done)
    }
}

impl Remove {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Request::Routing(Routing::remove(&self.domain)?);
        let done = format!("The route for {} is removed.", self.domain);
        change(self.dir.or(outer), request, &done)
    }
}

impl Test {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Routing::Test {
            address: parse(&self.address)?,
            sender: self.from.as_deref().map(parse).transpose()?,
        };
        let dir = data_dir(self.dir.or(outer));
        let rows = control::ask(&dir, Request::Routing(request))?;
        for row in &rows {
            match row.as_slice() {
                [server, text] if server != "-" => say!("{server}: {text}"),
                row => say!("{}", row.last().map_or("", String::as_str)),
            }
        }
        Ok(())
    }
}

/// The provider gave it: once is enough.
fn password(user: &str, host: &str, from_stdin: bool) -> Result<Secret<String>, Error> {
    if from_stdin || !io::stdin().is_terminal() {
        return new_password(true);
    }
    let prompt = format!("Password of {user} at {host}: ");
    Ok(Secret::new(rpassword::prompt_password(prompt)?))
}
