//! `pillarbox dns`: what a domain needs in DNS, and whether it is there.

mod check;
pub(super) mod records;

use super::dkim::domain;
use super::{Error, data_dir, print_table};
use crate::control::{self, Choosing, Keys, Request};
use crate::net::dns::Resolver;
use crate::settings::{Settings, server};
use argh::FromArgs;
use records::{Record, all};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Show the DNS records that a domain needs, in the form of a zone file.
#[derive(FromArgs)]
#[argh(subcommand, name = "dns")]
pub struct Dns {
    /// the domain, or the word check and the domain
    #[argh(positional, arg_name = "domain")]
    words: Vec<String>,
    /// ask DNS which of them are there and right, as the word check does
    #[argh(switch)]
    check: bool,
    /// name that other servers reach this one by (default: the setting server.hostname)
    #[argh(option)]
    hostname: Option<String>,
    /// name server to ask, ADDRESS or ADDRESS:PORT, up to three times (default: those of
    /// /etc/resolv.conf)
    #[argh(option, from_str_fn(server))]
    name_server: Vec<SocketAddr>,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl Dns {
    pub fn run(self) -> Result<(), Error> {
        let (check, domain) = match self.words.as_slice() {
            [word, name] if word == "check" => (true, domain(name)?),
            [name] => (self.check, domain(name)?),
            _ => return Err("dns takes a domain: pillarbox dns [check] YOUR.DOMAIN".into()),
        };
        let name = crate::authentication::ascii_domain(domain.as_str())
            .filter(|it| !it.starts_with('['))
            .ok_or_else(|| format!("{domain} is no name in DNS"))?;
        let dir = data_dir(self.dir);
        let keys = control::ask(&dir, Request::Keys(Keys::List))?;
        let hostname = match self.hostname {
            Some(hostname) => hostname,
            None => own_name(&dir)?,
        };
        let records = all(&name, &hostname, &keys);
        if check {
            let resolver = Resolver::of(&self.name_server);
            return smol::block_on(show_check(&resolver, &records));
        }
        for record in &records {
            if let Some(note) = record.note {
                say!("; {note}");
            }
            say!("{record}");
        }
        // Nothing here serves it, so the record alone would promise what is not there.
        say!(
            "; The policy that _mta-sts.{name} promises: serve it, by a web server of your own, as"
        );
        say!("; https://mta-sts.{name}/.well-known/mta-sts.txt, before you publish that record:");
        for line in records::mta_sts_policy(&hostname).lines() {
            say!(";   {line}");
        }
        if !keys.iter().any(|row| row.first() == Some(&name)) {
            say!("; There is no DKIM key yet: pillarbox dkim make {domain}");
        }
        Ok(())
    }
}

/// As the server greets.
fn own_name(dir: &Path) -> Result<String, Error> {
    let settings = control::ask(dir, Request::Choosing(Choosing::List))?;
    let found = settings.into_iter().find_map(|row| match row.as_slice() {
        [name, value, ..] if name == "server.hostname" => Some(value.clone()),
        _ => None,
    });
    Ok(found.unwrap_or_else(|| Settings::of_this_machine().hostname))
}

/// Fails if a record that mail depends on is not right.
async fn show_check(resolver: &Resolver, records: &[Record]) -> Result<(), Error> {
    let mut rows = Vec::new();
    let mut wrong = 0;
    for record in records {
        let finding = check::check(resolver, record).await;
        let verdict = match (&finding, record.optional) {
            (Ok(()), _) => "right".to_owned(),
            (Err(why), true) => format!("optional: {why}"),
            (Err(why), false) => {
                wrong += 1;
                why.clone()
            }
        };
        rows.push(vec![record.kind().to_owned(), record.name.clone(), verdict]);
    }
    print_table(&["TYPE", "NAME", "FINDING"], &rows);
    match wrong {
        0 => Ok(()),
        1 => Err("one record that mail depends on is not right".into()),
        n => Err(format!("{n} records that mail depends on are not right").into()),
    }
}
