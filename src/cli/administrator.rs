//! `pillarbox administrator`: who runs this server.

use super::{Error, change, new_password};
use crate::control::{Administrator, Request};
use argh::FromArgs;
use std::path::PathBuf;

/// The administrator: an identity for the console, with no mailbox.
#[derive(FromArgs)]
#[argh(subcommand, name = "administrator")]
pub struct AdministratorCommand {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Password(Password),
}

/// Set the administrator's password, which the console asks for; it is asked for twice.
#[derive(FromArgs)]
#[argh(subcommand, name = "password")]
struct Password {
    /// read the password from standard input, one line
    #[argh(switch)]
    password_stdin: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl AdministratorCommand {
    pub fn run(self) -> Result<(), Error> {
        let Action::Password(action) = self.action;
        let password = new_password(action.password_stdin)?;
        let request = Request::Administrator(Administrator::Set { password });
        let done = "The administrator has a new password.";
        change(action.dir.or(self.dir), request, done)
    }
}
