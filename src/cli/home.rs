//! `pillarbox home`: accounts whose mailbox is on another server.

use super::{Error, change, data_dir, print_table};
use crate::control::{self, Homes, Request};
use crate::mail::home::{HomeServer, MAX_AUTHORITIES, Tls, Whose};
use argh::FromArgs;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};

/// Longest request for a home server, bytes: what the control socket takes, less some.
const MAX_ENTRY: usize = 7 << 10;

/// Manage home servers: where mailboxes are that are not here.
#[derive(FromArgs)]
#[argh(subcommand, name = "home")]
pub struct HomeCommand {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Set(Set),
    Remove(Remove),
    List(List),
}

/// Say where the mailbox of an address, or of all others of a domain, is.
#[derive(FromArgs)]
#[argh(subcommand, name = "set")]
struct Set {
    /// the address, or @ and the domain
    #[argh(positional)]
    whose: String,
    /// name or IP address of the home server, as in its certificate
    #[argh(option)]
    host: String,
    /// how TLS begins: implicit or starttls (default implicit)
    #[argh(option, default = "Tls::Implicit", from_str_fn(tls))]
    tls: Tls,
    /// its port for IMAP (default 993, with starttls 143)
    #[argh(option)]
    imap_port: Option<u16>,
    /// its port for POP3 (default 995, with starttls 110)
    #[argh(option)]
    pop3_port: Option<u16>,
    /// its port for submission (default 465, with starttls 587)
    #[argh(option)]
    submission_port: Option<u16>,
    /// certificate authorities that it may be signed by, PEM (default: the system's)
    #[argh(option)]
    ca: Option<PathBuf>,
    /// tell it the client's address, with ID and XCLIENT
    #[argh(switch)]
    trusted: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Log in here again.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the address, or @ and the domain
    #[argh(positional)]
    whose: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List the home servers.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl HomeCommand {
    pub fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Set(action) => action.run(self.dir),
            Action::Remove(action) => action.run(self.dir),
            Action::List(action) => action.run(self.dir),
        }
    }
}

impl Set {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let whose = whose(&self.whose)?;
        let usual = HomeServer::new(&self.host, self.tls)
            .map_err(|error| format!("{}: {error}", self.host))?;
        let server = HomeServer {
            imap: self.imap_port.unwrap_or(usual.imap),
            pop3: self.pop3_port.unwrap_or(usual.pop3),
            submission: self.submission_port.unwrap_or(usual.submission),
            trusted: self.trusted,
            authorities: match &self.ca {
                Some(path) => authorities(path)?,
                None => Vec::new(),
            },
            ..usual
        };
        if server.to_string().len() > MAX_ENTRY {
            return Err("the certificates of --ca are too long: give those that sign alone".into());
        }
        let done = format!(
            "{whose} is connected to {} from its next login on.",
            server.host
        );
        let request = Request::Homes(Homes::Set { whose, server });
        change(self.dir.or(outer), request, &done)
    }
}

impl Remove {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let whose = whose(&self.whose)?;
        let done = format!("{whose} has no home server any more.");
        change(
            self.dir.or(outer),
            Request::Homes(Homes::Remove { whose }),
            &done,
        )
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let request = Request::Homes(Homes::List);
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        let heading = ["WHOSE", "HOST", "TLS", "PORTS", "IS TOLD", "AUTHORITIES"];
        print_table(&heading, &rows);
        Ok(())
    }
}

fn tls(text: &str) -> Result<Tls, String> {
    Tls::parse(text).map_err(str::to_owned)
}

fn whose(text: &str) -> Result<Whose, Error> {
    Whose::parse(text).map_err(|error| format!("{text}: {error}").into())
}

/// The certificates of a PEM file, each one that can sign for others.
fn authorities(path: &Path) -> Result<Vec<String>, Error> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
    let mut found = Vec::new();
    for certificate in certificates.take(MAX_AUTHORITIES + 1) {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        found.push(BASE64.encode(&certificate));
        let added = RootCertStore::empty().add(certificate);
        added.map_err(|error| wrong(&error))?;
    }
    match found.len() {
        0 => Err(wrong(&"it holds no certificate in PEM").into()),
        1..=MAX_AUTHORITIES => Ok(found),
        _ => Err(wrong(&"it holds more than 8 certificates").into()),
    }
}
