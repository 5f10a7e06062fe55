//! `pillarbox account certificate`: certificates by which an account logs in.

use super::{Error, change, data_dir, parse, print_table};
use crate::control::{self, Certificates, Request};
use crate::mail::certificate::Fingerprint;
use crate::net::client_certificate::from_file;
use argh::FromArgs;
use std::path::{Path, PathBuf};

/// Manage the certificates by which an account logs in (SASL EXTERNAL).
#[derive(FromArgs)]
#[argh(subcommand, name = "certificate")]
pub struct CertificateCommand {
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

/// Let who has this certificate and its key log in as the account, without a password.
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// the certificate, PEM; of a chain the first
    #[argh(positional)]
    file: PathBuf,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// List an account's certificates: SHA-256 fingerprints, and when each ends.
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

/// Let nobody log in by this certificate any more.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// the account's address
    #[argh(positional)]
    address: String,
    /// the certificate's fingerprint as list shows it, or its PEM file
    #[argh(positional)]
    which: String,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl CertificateCommand {
    pub fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        match self.action {
            Action::Add(action) => action.run(outer),
            Action::List(action) => action.run(outer),
            Action::Remove(action) => action.run(outer),
        }
    }
}

impl Add {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        let certificate = from_file(&self.file)?;
        if !certificate.is_valid(jiff::Timestamp::now().as_second()) {
            return Err("the certificate has expired, or is not valid yet".into());
        }
        let fingerprint = certificate.fingerprint;
        let done = format!("{address} can log in by the certificate {fingerprint} now.");
        let request = Request::Certificates(Certificates::Add {
            address,
            fingerprint,
            until: certificate.until,
        });
        change(self.dir.or(outer), request, &done)
    }
}

impl List {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        let request = Request::Certificates(Certificates::List { address });
        let rows = control::ask(&data_dir(self.dir.or(outer)), request)?;
        print_table(&["CERTIFICATE", "UNTIL"], &rows);
        Ok(())
    }
}

impl Remove {
    fn run(self, outer: Option<PathBuf>) -> Result<(), Error> {
        let address = parse(&self.address)?;
        let fingerprint = match Fingerprint::parse(&self.which) {
            Some(fingerprint) => fingerprint,
            None => from_file(Path::new(&self.which))?.fingerprint,
        };
        let done = format!("{address} can't log in by that certificate any more.");
        let request = Request::Certificates(Certificates::Remove {
            address,
            fingerprint,
        });
        change(self.dir.or(outer), request, &done)
    }
}
