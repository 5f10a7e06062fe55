//! `pillarbox device`: scanners, printers and the like, which send without a login.

use super::{Error, change, data_dir, print_table};
use crate::control::{self, Addressing, Request};
use crate::mail::addressing::{Device, Network};
use argh::FromArgs;
use std::path::PathBuf;

/// Manage devices: scanners, printers and the like that send without a login.
#[derive(FromArgs)]
#[argh(subcommand, name = "device")]
pub struct DeviceCommand {
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

/// Let a device send: any From of this server's domains, from its addresses alone.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// what to call it
    #[argh(positional)]
    name: String,
    /// where it is: addresses or ranges such as 192.168.1.16/28
    #[argh(positional)]
    networks: Vec<String>,
    /// take its mail without TLS too
    #[argh(switch)]
    no_tls: bool,
    /// let it send to other servers, not to this one alone
    #[argh(switch)]
    relay: bool,
    /// let it send as much as it likes; else it has an account's limits
    #[argh(switch)]
    no_limits: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Let a device send no more.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the device's name
    #[argh(positional)]
    name: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List the devices.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl DeviceCommand {
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
        let networks: Result<Vec<_>, _> = self.networks.iter().map(|it| network(it)).collect();
        let device = Device {
            tls: !self.no_tls,
            relay: self.relay,
            limits: !self.no_limits,
            ..Device::new(&self.name, networks?)?
        };
        let done = format!("{} may send without a login now.", device.name);
        let request = Request::Addressing(Addressing::AddDevice(device));
        change(self.dir.or(outer), request, &done)
    }
}

impl Remove {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let name = self.name;
        let done = format!("{name} may not send without a login any more.");
        let request = Request::Addressing(Addressing::RemoveDevice { name });
        change(self.dir.or(outer), request, &done)
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Request::Addressing(Addressing::ListDevices);
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        print_table(&["DEVICE", "WHERE", "TLS", "SENDS TO", "LIMITS"], &rows);
        Ok(())
    }
}

fn network(text: &str) -> Result<Network, Error> {
    Network::parse(text).map_err(|error| format!("{text}: {error}").into())
}
