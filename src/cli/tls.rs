//! `pillarbox tls`: the server's certificate.

use super::{Error, data_dir};
use crate::control::{self, Certificate, Request};
use argh::FromArgs;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often an order that runs is asked after.
const LOOK: Duration = Duration::from_millis(500);

/// Show, renew and hand out certificates.
#[derive(FromArgs)]
#[argh(subcommand, name = "tls")]
pub struct TlsCommand {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Status(Status),
    Renew(Renew),
    Authority(Authority),
}

/// Show what is served: whose certificate, for which names, how long, and what went wrong.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
struct Status {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Order a certificate by ACME now, and wait for it; with acme.challenge dns-01, show the
/// records to enter first.
#[derive(FromArgs)]
#[argh(subcommand, name = "renew")]
struct Renew {
    /// do not wait
    #[argh(switch)]
    no_wait: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Print the certificate of the server's own authority, to be installed where mail is read.
#[derive(FromArgs)]
#[argh(subcommand, name = "authority")]
struct Authority {
    /// as DER, which Windows and telephones take (default PEM)
    #[argh(switch)]
    der: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl TlsCommand {
    pub fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Status(action) => {
                show(&status(&data_dir(action.dir))?);
                Ok(())
            }
            Action::Renew(action) => action.run(),
            Action::Authority(action) => action.run(),
        }
    }
}

type Rows = Vec<Vec<String>>;

fn ask(dir: &Path, request: Certificate) -> Result<Rows, String> {
    control::ask(dir, Request::Certificate(request))
}

/// How it stands. Names, errors and records may hold what an authority has said: no terminal
/// shall obey that.
fn status(dir: &Path) -> Result<Rows, String> {
    let mut rows = ask(dir, Certificate::Status)?;
    rows.iter_mut().flatten().for_each(|it| *it = clean(it));
    Ok(rows)
}

fn clean(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let obeyed = |c: char| c.is_control() || turns(c);
    let shown = text.chars().map(|c| if obeyed(c) { '?' } else { c });
    shown.collect()
}

/// The values of that name.
fn values<'a>(rows: &'a [Vec<String>], name: &str) -> Vec<&'a [String]> {
    let rows = rows.iter().filter_map(|row| row.split_first());
    let found = rows.filter(|(first, _)| *first == name);
    found.map(|(_, rest)| rest).collect()
}

/// The one value of that name, or nothing.
fn value<'a>(rows: &'a [Vec<String>], name: &str) -> &'a str {
    let first = values(rows, name).first().and_then(|it| it.first());
    first.map_or("", String::as_str)
}

fn show(rows: &[Vec<String>]) {
    let whose = match value(rows, "from") {
        "local" => "the server's own authority (pillarbox tls authority)",
        "files" => "your files (tls.certificate, tls.key)",
        _ => "an ACME authority (acme.directory)",
    };
    say!("from      {whose}");
    for name in values(rows, "name").into_iter().flatten() {
        say!("name      {name}");
    }
    let (ends, left) = (value(rows, "ends"), value(rows, "left"));
    say!("begins    {}", value(rows, "begins"));
    say!("ends      {ends}, {left} days left");
    match value(rows, "renewal") {
        "" => say!("renewal   by you"),
        renewal => say!("renewal   {renewal}"),
    }
    if value(rows, "busy") == "true" {
        say!("order     is under way");
    }
    if value(rows, "failures") != "0" {
        say!("failures  {}", value(rows, "failures"));
    }
    if !value(rows, "error").is_empty() {
        say!("error     {}", value(rows, "error"));
    }
    show_records(rows);
}

fn show_records(rows: &[Vec<String>]) {
    for record in values(rows, "record") {
        if let [name, value] = record {
            say!("{name}. IN TXT \"{value}\"");
        }
    }
}

impl Renew {
    fn run(self) -> Result<(), Error> {
        let dir = data_dir(self.dir);
        let reply = ask(&dir, Certificate::Renew)?;
        let ended: u64 = reply
            .first()
            .and_then(|row| row.first()?.parse().ok())
            .ok_or("the server's answer can't be read")?;
        if self.no_wait {
            say!("An order was begun; pillarbox tls status shows how it goes.");
            return Ok(());
        }
        let mut shown = false;
        loop {
            thread::sleep(LOOK);
            let rows = status(&dir)?;
            if value(&rows, "ended").parse().unwrap_or(0) >= ended {
                return match value(&rows, "error") {
                    "" => {
                        say!("There is a new certificate:\n");
                        show(&rows);
                        Ok(())
                    }
                    error => Err(error.into()),
                };
            }
            if !shown && !values(&rows, "record").is_empty() {
                shown = true;
                say!("Enter these records in the DNS; the order goes on when they are there:\n");
                show_records(&rows);
            }
        }
    }
}

impl Authority {
    fn run(self) -> Result<(), Error> {
        let rows = ask(&data_dir(self.dir), Certificate::Authority)?;
        let pem = rows.first().and_then(|row| row.first());
        let pem = pem.ok_or("the server's answer can't be read")?;
        if !self.der {
            say!("{}", pem.trim_end());
            return Ok(());
        }
        if io::stdout().is_terminal() {
            return Err("DER is no text: add > ca.crt".into());
        }
        io::stdout().write_all(&der(pem).ok_or("ca.pem is no PEM file")?)?;
        Ok(())
    }
}

/// What is between the lines that begin and end it.
fn der(pem: &str) -> Option<Vec<u8>> {
    let lines = pem.lines().filter(|it| !it.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_terminal_obeys_an_authority() {
        let said = "no\u{1b}]0;title\u{7}\u{9b}2J\r\n\u{202e}way\u{2066} \u{2014} часы";
        assert_eq!(clean(said), "no?]0;title??2J???way? \u{2014} часы");
    }

    #[test]
    fn der_is_what_stands_between_the_lines() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAEC\nAw==\n-----END CERTIFICATE-----\n";
        assert_eq!(der(pem), Some(vec![0, 1, 2, 3]));
        assert_eq!(der("no base64!"), None);
    }
}
