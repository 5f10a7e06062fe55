//! `pillarbox group`: addresses that deliver to several.

use super::{Error, change, data_dir, parse, print_table};
use crate::control::{self, Addressing, Request};
use argh::FromArgs;
use std::path::PathBuf;

/// Manage groups: addresses whose mail goes to several accounts or other addresses.
#[derive(FromArgs)]
#[argh(subcommand, name = "group")]
pub struct GroupCommand {
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

/// Add members to a group; the first make it.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// the group's address
    #[argh(positional)]
    group: String,
    /// accounts, aliases, groups, or addresses anywhere
    #[argh(positional)]
    members: Vec<String>,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Remove members from a group, or the whole group.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the group's address
    #[argh(positional)]
    group: String,
    /// the members; none for the whole group
    #[argh(positional)]
    members: Vec<String>,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List the groups and their members.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl GroupCommand {
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
        let group = parse(&self.group)?;
        let members: Result<Vec<_>, Error> = self.members.iter().map(|it| parse(it)).collect();
        let (members, dir) = (members?, self.dir.or(outer));
        if members.is_empty() {
            return Err("name one member at least".into());
        }
        for member in members {
            let done = format!("Mail for {group} goes to {member} now.");
            let group = group.clone();
            let request = Request::Addressing(Addressing::AddMember { group, member });
            change(dir.clone(), request, &done)?;
        }
        Ok(())
    }
}

impl Remove {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let group = parse(&self.group)?;
        let members: Result<Vec<_>, Error> = self.members.iter().map(|it| parse(it)).collect();
        let (members, dir) = (members?, self.dir.or(outer));
        if members.is_empty() {
            let done = format!("{group} is no group any more.");
            let request = Request::Addressing(Addressing::RemoveGroup { group });
            return change(dir, request, &done);
        }
        for member in members {
            let done = format!("Mail for {group} does not go to {member} any more.");
            let group = group.clone();
            let request = Request::Addressing(Addressing::RemoveMember { group, member });
            change(dir.clone(), request, &done)?;
        }
        Ok(())
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Request::Addressing(Addressing::ListGroups);
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        print_table(&["GROUP", "MEMBER"], &rows);
        Ok(())
    }
}
