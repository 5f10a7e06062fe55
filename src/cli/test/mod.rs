//! `pillarbox test`: what a person with a mail program meets, step by step.

mod line;
mod machine;
mod services;

use super::settings::in_force;
use super::{DEFAULT_DIR, Error};
use crate::address::Address;
use crate::control::{self, Lifecycle, Request};
use crate::net::authority::Authority;
use crate::net::connect::Authorities;
use crate::net::trust::Trust;
use crate::secret::{Secret, random};
use crate::settings::{Listen, Service, Settings};
use argh::FromArgs;
use jiff::Timestamp;
use machine::Found;
use services::Visitor;
use std::fmt::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Try the running server: log in to every service, send, find, read and delete a message, and
/// look at clock, disk, certificate and name.
#[derive(FromArgs)]
#[argh(subcommand, name = "test")]
pub struct Test {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option, default = "PathBuf::from(DEFAULT_DIR)")]
    dir: PathBuf,
}

impl Test {
    pub fn run(self) -> Result<(), Error> {
        if UnixStream::connect(control::socket_path(&self.dir)).is_err() {
            let dir = self.dir.display();
            return Err(format!(
                "no server runs on {dir}: start it (systemctl start pillarbox, or pillarbox \
                 serve) and try again"
            )
            .into());
        }
        let settings = in_force(&self.dir)?;
        let mut report = Report::default();
        report.machine("clock", machine::clock(Timestamp::now()));
        report.machine("disk", machine::disk(&self.dir));
        let certificate = machine::certificate(&self.dir, &settings, Timestamp::now());
        report.machine("certificate", certificate);
        report.machine("name", smol::block_on(machine::name(&settings)));
        let visitor = self.visitor(&settings)?;
        let address = Address::parse(&visitor.address)?;
        let password = visitor.password.clone();
        control::ask(
            &self.dir,
            Request::AddAccount {
                address: address.clone(),
                password,
            },
        )?;
        // Whatever comes of it, the account goes again.
        let visited = self
            .free(&address)
            .and_then(|()| smol::block_on(visit_all(&visitor, &settings, &mut report)));
        let deleted = Request::DeleteAccount {
            address: address.clone(),
        };
        let kept_until = control::ask(&self.dir, deleted)?;
        // There is nothing in it that anybody could want back.
        if kept_until.iter().flatten().any(|it| !it.is_empty()) {
            let gone = Lifecycle::Purge { address };
            control::ask(&self.dir, Request::Lifecycle(gone))?;
        }
        visited?;
        report.verdict()
    }

    /// What holds others back shall not fail the test.
    fn free(&self, address: &Address) -> Result<(), Error> {
        for option in [
            "pop3-login-delay",
            "max-messages-per-hour",
            "max-recipients-per-day",
        ] {
            control::ask(
                &self.dir,
                Request::SetOption {
                    address: address.clone(),
                    option: option.into(),
                    value: "0".into(),
                },
            )?;
        }
        Ok(())
    }

    /// Of an account for this test alone, which is not there yet.
    fn visitor(&self, settings: &Settings) -> Result<Visitor, Error> {
        let accounts = control::ask(&self.dir, Request::ListAccounts)?;
        let known = accounts.first().and_then(|row| row.first());
        let domain = known.and_then(|it| it.rsplit_once('@')).map(|it| it.1);
        let domain =
            domain.ok_or("there is no account yet: pillarbox account add YOU@YOUR.DOMAIN")?;
        let [token, password] = [hex()?, hex()?];
        let address = Address::parse(&format!("pillarbox-test-{token}@{domain}"))?;
        let password = Secret::new(password);
        let ca = Authority::new(&self.dir).ca_path();
        let authorities = Authorities::new(ca.exists().then_some(ca));
        let trust = Trust::Roots(smol::block_on(authorities.roots())?);
        Ok(Visitor {
            address: address.to_string(),
            password,
            hostname: settings.hostname.clone(),
            trust: Arc::new(trust.config()?),
            token,
        })
    }
}

fn hex() -> Result<String, Error> {
    let bytes: [u8; 12] = random().map_err(|error| error.to_string())?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Those that take mail come first, as often as others read it.
async fn visit_all(
    visitor: &Visitor,
    settings: &Settings,
    report: &mut Report,
) -> Result<(), Error> {
    let mut all: Vec<Listen> = Vec::new();
    for listen in settings.listen()? {
        // One address of each service is enough.
        if !all.iter().any(|it| it.service == listen.service) {
            all.push(listen);
        }
    }
    all.retain(|listen| {
        let shows = may_show_password(settings, listen.service);
        if !shows {
            let odd = "not tried: its login-type takes no password, and this test has no other";
            report.machine(listen.service.name(), Found::Odd(odd.into()));
        }
        shows
    });
    let (takes, others): (Vec<Listen>, Vec<Listen>) = all
        .into_iter()
        .partition(|it| matches!(it.service, Service::Submission | Service::Submissions));
    let reads = |it: &&Listen| !matches!(it.service, Service::Smtp | Service::Lmtp);
    let wanted = others.iter().filter(reads).count().max(takes.len());
    for (n, listen) in takes.iter().cycle().take(wanted).enumerate() {
        let began = Instant::now();
        let came_of = visitor.visit(*listen).await;
        if n < takes.len() || came_of.is_err() {
            report.service(*listen, began, came_of);
        }
    }
    if takes.is_empty() {
        let odd = "submission is off: nothing can be sent, so no message will be found";
        report.machine("submission", Found::Odd(odd.into()));
    }
    for listen in others {
        let began = Instant::now();
        let came_of = visitor.visit(listen).await;
        report.service(listen, began, came_of);
    }
    Ok(())
}

/// The test logs in by a password, under TLS.
fn may_show_password(settings: &Settings, service: Service) -> bool {
    let access = match service {
        Service::Imap | Service::Imaps => &settings.imap_access,
        Service::Pop3 | Service::Pop3s => &settings.pop3_access,
        Service::Submission | Service::Submissions => &settings.submission_access,
        Service::Smtp | Service::Lmtp => return true,
    };
    access.login.passwords(true)
}

/// A line a step, printed as it comes.
#[derive(Default)]
struct Report {
    steps: usize,
    broken: usize,
}

impl Report {
    fn machine(&mut self, name: &str, found: Found) {
        match found {
            Found::Well(text) => self.line("ok", name, "", &text),
            Found::Odd(text) => self.line("look", name, "", &text),
            Found::Broken(text) => self.line("FAIL", name, "", &text),
        }
    }

    fn service(&mut self, listen: Listen, began: Instant, came_of: Result<&str, String>) {
        let took = format!("{} ms", began.elapsed().as_millis());
        let name = listen.service.name();
        match came_of {
            Ok(text) => self.line("ok", name, &took, text),
            Err(text) => {
                let port = listen.address.port();
                self.line("FAIL", name, &took, &format!("port {port}: {text}"));
            }
        }
    }

    fn line(&mut self, mark: &str, name: &str, took: &str, text: &str) {
        self.steps += 1;
        self.broken += usize::from(mark == "FAIL");
        say!("{mark:<5} {name:<12} {took:>8}  {text}");
    }

    fn verdict(self) -> Result<(), Error> {
        match self.broken {
            0 => {
                say!("\nAll is well: people can read and send mail.");
                Ok(())
            }
            broken => Err(format!("{broken} of {} failed", self.steps).into()),
        }
    }
}
