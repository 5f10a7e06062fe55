//! What the wizard has looked at: clock, names, ports, files, other servers. Each look ends
//! soon, and one that can't be made says so.

use super::super::settings::in_force;
use super::runs;
use crate::control::{self, Request, Routing};
use crate::net::connect::connect;
use crate::net::dns::{DnsError, Resolver};
use crate::net::listen;
use crate::net::tls::{Source, Tls};
use crate::settings::{Listen, Settings};
use crate::setup::answers::Answers;
use crate::setup::check::{CHECK_TIMEOUT, Check, Finding};
use crate::setup::machine::ZONES;
use crate::setup::plan::{Password, Relay, relay};
use crate::setup::value::SERVICES;
use Finding::{Unknown, Well, Wrong};
use async_io::Timer;
use futures_lite::FutureExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Years that a clock can show: none before this was written.
const YEARS: std::ops::RangeInclusive<i16> = 2026..=2100;
/// systemd-timesyncd makes it when it has set the clock.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// Servers of it take mail from anywhere.
const KNOWN_DOMAIN: &str = "gmail.com";
const SMTP: u16 = 25;

pub struct World {
    pub dir: PathBuf,
    root: PathBuf,
    resolver: Resolver,
    probe: Option<String>,
}

impl World {
    pub fn new(
        dir: &Path,
        root: &Path,
        name_servers: &[SocketAddr],
        probe: Option<String>,
    ) -> World {
        World {
            dir: dir.to_path_buf(),
            root: root.to_path_buf(),
            resolver: Resolver::of(name_servers),
            probe,
        }
    }

    pub fn look(&self, check: Check, answers: &Answers) -> Finding {
        let get = |name: &str| answers.get(name).unwrap_or_default();
        match check {
            Check::Clock => clock(Timestamp::now(), Path::new(SYNCHRONIZED).exists()),
            Check::Zone => self.zone(get("time-zone")),
            Check::Name => within(self.name(get("hostname"))),
            Check::Ports => self.ports(get("services")),
            Check::Certificate => certificate(get("tls.certificate"), get("tls.key")),
            Check::Outwards => within(self.outwards()),
            Check::Relay => self.relay(answers),
        }
    }

    fn zone(&self, zone: &str) -> Finding {
        let zones = self.root.join(ZONES);
        match (zones.join(zone).is_file(), zones.is_dir()) {
            (true, _) => Well(zone.into()),
            (false, true) => Wrong(zone.into()),
            (false, false) => Unknown(format!("there is no {}", zones.display())),
        }
    }

    async fn name(&self, hostname: &str) -> Finding {
        match self.resolver.addresses(hostname).await {
            Ok(found) => Well(words(found.records.iter().take(4))),
            Err(DnsError::Temporary(why)) => Unknown(why),
            Err(error) => Wrong(error.to_string()),
        }
    }

    /// Those of a server that runs here are its own.
    fn ports(&self, services: &str) -> Finding {
        let runs = runs(&self.dir);
        let known = runs || self.dir.join("meta.redb").exists();
        let mut settings = match known.then(|| in_force(&self.dir)) {
            Some(Ok(settings)) => settings,
            Some(Err(error)) => return Unknown(error.to_string()),
            None => Settings::of_this_machine(),
        };
        let open = match runs {
            true => settings.listen().unwrap_or_default(),
            false => Vec::new(),
        };
        let on = |service: &str| services.split(' ').any(|it| it == service);
        let [imap, pop3, submission, smtp] = SERVICES.map(on);
        settings.imap.enabled = imap;
        settings.pop3.enabled = pop3;
        settings.submission.enabled = submission;
        settings.smtp.enabled = smtp;
        let wanted = settings.listen().unwrap_or_default();
        try_ports(&wanted, &open)
    }

    /// Port 25 of a server that is known to be there.
    async fn outwards(&self) -> Finding {
        let (addresses, port) = match self.known_server().await {
            Ok(found) => found,
            Err(error) => return Unknown(error.to_string()),
        };
        match connect(&addresses, port).await {
            Ok(mut stream) => {
                stream.close().await;
                Well(words(addresses.iter().take(1)))
            }
            Err(error) => match error.kind() {
                ErrorKind::TimedOut | ErrorKind::ConnectionRefused => Wrong(error.to_string()),
                _ => Unknown(error.to_string()),
            },
        }
    }

    async fn known_server(&self) -> Result<(Vec<IpAddr>, u16), DnsError> {
        let name = match &self.probe {
            Some(probe) => {
                if let Ok(address) = probe.parse::<SocketAddr>() {
                    return Ok((vec![address.ip()], address.port()));
                }
                probe.clone()
            }
            None => {
                let servers = self.resolver.mx(KNOWN_DOMAIN).await?;
                let first = servers.records.into_iter().min_by_key(|it| it.preference);
                first.ok_or(DnsError::NoData)?.exchange
            }
        };
        let found = self.resolver.addresses(&name).await?;
        Ok((found.records, SMTP))
    }

    fn relay(&self, answers: &Answers) -> Finding {
        let route = match relay(answers) {
            Ok(Relay::By {
                host,
                port,
                tls,
                login,
            }) => {
                let login = match login {
                    Some((user, Password::New(password))) => Some((user, password)),
                    _ => None,
                };
                Routing::set("default", &host, Some(port), Some(&tls), login)
            }
            Ok(Relay::None) => return Unknown(String::new()),
            Err(error) => Err(error),
        };
        let request = match route {
            Ok(Routing::Set { route, .. }) => Request::Routing(Routing::Try { route }),
            Ok(_) => return Unknown(String::new()),
            Err(error) => return Wrong(error),
        };
        let rows = match control::ask(&self.dir, request) {
            Ok(rows) => rows,
            Err(error) => return Unknown(error),
        };
        match rows.first().map(Vec::as_slice) {
            Some([word, text]) if word == "well" => Well(text.clone()),
            Some([word, text]) if word == "wrong" => Wrong(text.clone()),
            Some([_, text]) => Unknown(text.clone()),
            _ => Unknown("no answer".into()),
        }
    }
}

fn clock(now: Timestamp, synchronized: bool) -> Finding {
    let shown = now.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let possible = YEARS.contains(&now.to_zoned(TimeZone::UTC).year());
    match (possible, synchronized) {
        (false, _) => Wrong(shown),
        (true, true) => Well(shown),
        (true, false) => Unknown(shown),
    }
}

fn certificate(certificate: &str, key: &str) -> Finding {
    let source = Source::Files {
        certificate: certificate.into(),
        key: key.into(),
    };
    match Tls::new(source) {
        Ok(_) => Well(String::new()),
        Err(error) => Wrong(error.to_string()),
    }
}

/// Those that our own server has `open` are as good as free.
fn try_ports(wanted: &[Listen], open: &[Listen]) -> Finding {
    let (mut free, mut taken) = (Vec::new(), Vec::new());
    for listen in wanted {
        let port = listen.address.port();
        if open.contains(listen) {
            free.push(port);
            continue;
        }
        match listen::bind(listen.address) {
            Ok(_) => free.push(port),
            Err(error) if error.kind() == ErrorKind::AddrInUse => taken.push(port),
            Err(error) => return Unknown(format!("{port}: {error}")),
        }
    }
    match taken.is_empty() {
        true => Well(words(free.iter())),
        false => Wrong(words(taken.iter())),
    }
}

fn words<T: ToString>(all: impl Iterator<Item = T>) -> String {
    let words: Vec<String> = all.map(|it| it.to_string()).collect();
    words.join(", ")
}

fn within(look: impl Future<Output = Finding>) -> Finding {
    let late = async {
        Timer::after(CHECK_TIMEOUT).await;
        Unknown("no answer in time".into())
    };
    smol::block_on(look.or(late))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn world() -> (tempfile::TempDir, World) {
        let dir = tempfile::tempdir().unwrap();
        // Nobody answers there.
        let nobody = "127.0.0.1:1".parse().unwrap();
        let world = World::new(
            dir.path(),
            dir.path(),
            &[nobody],
            Some("127.0.0.1:1".into()),
        );
        (dir, world)
    }

    #[test]
    fn the_clock_is_wrong_right_or_unsure() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(matches!(clock(at("1970-01-01T00:00:01Z"), true), Wrong(_)));
        assert!(matches!(
            clock(at("2026-11-23T10:00:00Z"), false),
            Unknown(_)
        ));
        assert_eq!(
            clock(at("2026-11-23T10:00:00Z"), true),
            Well("2026-11-23 10:00 UTC".into())
        );
    }

    #[test]
    fn what_is_not_there_is_told() {
        let (dir, world) = world();
        let mut answers = Answers::default();
        answers.put("time-zone", "Europe/Moscow".into());
        assert!(matches!(world.look(Check::Zone, &answers), Unknown(_)));
        let zones = dir.path().join(ZONES).join("Europe");
        std::fs::create_dir_all(&zones).unwrap();
        assert!(matches!(world.look(Check::Zone, &answers), Wrong(_)));
        std::fs::write(zones.join("Moscow"), "TZif").unwrap();
        assert!(matches!(world.look(Check::Zone, &answers), Well(_)));
        answers.put("hostname", "mail.example.org".into());
        assert!(matches!(world.look(Check::Name, &answers), Unknown(_)));
        assert!(matches!(world.look(Check::Outwards, &answers), Wrong(_)));
        assert!(matches!(world.look(Check::Certificate, &answers), Wrong(_)));
        for (name, value) in [
            ("relay.mode", "smarthost"),
            ("relay.host", "127.0.0.1"),
            ("relay.port", "1"),
            ("relay.tls", "none"),
            ("relay.user", "-"),
        ] {
            answers.put(name, value.into());
        }
        assert!(matches!(world.look(Check::Relay, &answers), Unknown(_)));
    }

    #[test]
    fn ports_that_others_have_are_named() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = Listen {
            service: crate::settings::Service::Imap,
            address: held.local_addr().unwrap(),
        };
        let port = listen.address.port().to_string();
        assert_eq!(try_ports(&[listen], &[]), Wrong(port.clone()));
        assert_eq!(try_ports(&[listen], &[listen]), Well(port));
    }
}
