//! What the services stand on: clock, disk, certificate, name.

use crate::net::authority::Authority;
use crate::net::dns::{DnsError, Resolver};
use crate::net::x509::validity;
use crate::settings::Settings;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;

/// What was found: well; to be looked at, and what mends it; or broken, and what mends it.
pub enum Found {
    Well(String),
    Odd(String),
    Broken(String),
}

use Found::{Broken, Odd, Well};

/// No box has been before that: 2026-01-01.
const EARLIEST: i64 = 1_767_225_600;
const DAY: i64 = 24 * 3600;
/// Days that a certificate should have left, and must have.
const SOON: i64 = 14;
const URGENT: i64 = 3;
/// Free space that there should be, and must be: bytes.
const ROOMY: u64 = 256 << 20;
const FULL: u64 = 32 << 20;

pub fn clock(now: Timestamp) -> Found {
    let shown = now.strftime("%Y-%m-%d %H:%M UTC");
    match now.as_second() < EARLIEST {
        true => Broken(format!(
            "it is not {shown}: set the clock (timedatectl set-ntp true)"
        )),
        false => Well(format!("it is {shown}")),
    }
}

pub fn disk(dir: &Path) -> Found {
    let space = match rustix::fs::statvfs(dir) {
        Ok(space) => space,
        Err(error) => return Broken(format!("{}: {error}", dir.display())),
    };
    room(space.f_bavail.saturating_mul(space.f_frsize))
}

fn room(free: u64) -> Found {
    const MENDS: &str = "pillarbox account list shows whose mail takes it; or use a larger disk";
    let shown = format!("{} MiB free", free >> 20);
    match free {
        ..FULL => Broken(format!("{shown}, no mail is taken: {MENDS}")),
        FULL..ROOMY => Odd(format!("{shown}, that is little: {MENDS}")),
        _ => Well(shown),
    }
}

pub fn certificate(dir: &Path, settings: &Settings, now: Timestamp) -> Found {
    let authority = Authority::new(dir);
    let own = settings.tls_certificate.clone();
    let by_acme = Some(authority.acme_path()).filter(|it| it.exists());
    let (path, mends) = match (settings.tls_source, own, by_acme) {
        ("auto" | "files", Some(own), _) => (own, "renew it, then: systemctl reload pillarbox"),
        ("acme", _, Some(path)) => (path, "pillarbox tls status says why"),
        _ => (
            authority.certificate_path(),
            "restart the server, it makes a new one",
        ),
    };
    let shown = path.display();
    let leaf = match CertificateDer::from_pem_file(&path) {
        Ok(leaf) => leaf,
        Err(error) => return Broken(format!("{shown} can't be read: {error}")),
    };
    let Some((from, to)) = validity(&leaf) else {
        return Broken(format!("{shown} is no certificate"));
    };
    let left = (to.as_second() - now.as_second()).div_euclid(DAY);
    match left {
        _ if from > now => Broken(format!("{shown} does not hold yet: is the clock right?")),
        ..0 => Broken(format!("{shown} is over: {mends}")),
        0..URGENT => Broken(format!("{shown} ends in {left} days: {mends}")),
        URGENT..SOON => Odd(format!("{shown} ends in {left} days: {mends}")),
        _ => Well(format!("it holds for {left} days more")),
    }
}

/// Whether programs elsewhere find this server by the name that it gives itself.
pub async fn name(settings: &Settings) -> Found {
    let name = &settings.hostname;
    if !name.contains('.') {
        return Odd(format!(
            "{name} is no full name: pillarbox settings set server.hostname mail.YOUR.DOMAIN"
        ));
    }
    let resolver = Resolver::of(&settings.name_servers);
    match resolver.addresses(name).await {
        Ok(found) => {
            let all: Vec<String> = found.records.iter().map(|it| it.to_string()).collect();
            Well(format!("{name} is {}", all.join(", ")))
        }
        Err(DnsError::Temporary(why)) => Odd(format!(
            "the DNS gives no answer for {name}: {why}; another server to ask: pillarbox settings \
             set dns.servers ADDRESS"
        )),
        Err(_) => Odd(format!(
            "{name} has no address in the DNS: make an A or AAAA record, then: pillarbox dns \
             check YOUR.DOMAIN"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_told() {
        assert!(matches!(clock(Timestamp::UNIX_EPOCH), Broken(_)));
        assert!(matches!(
            clock(Timestamp::from_second(EARLIEST).unwrap()),
            Well(_)
        ));
    }

    #[test]
    fn a_disk_is_told_before_it_is_full() {
        assert!(matches!(room(ROOMY), Well(_)));
        for (free, said) in [(ROOMY - 1, "255 MiB free"), (FULL - 1, "31 MiB free")] {
            match room(free) {
                Odd(text) if free >= FULL => assert!(text.starts_with(said), "{text}"),
                Broken(text) if free < FULL => assert!(text.starts_with(said), "{text}"),
                _ => panic!("{free} is not enough"),
            }
        }
        assert!(matches!(disk(Path::new("/nowhere")), Broken(_)));
    }

    #[test]
    fn a_name_that_nobody_finds_is_told_with_what_mends_it() {
        let said = |hostname: &str| {
            let settings = Settings {
                hostname: hostname.into(),
                // Nobody listens there.
                name_servers: vec!["127.0.0.1:1".parse().unwrap()],
                ..Settings::default()
            };
            match smol::block_on(name(&settings)) {
                Odd(text) => text,
                _ => panic!("nobody could say that"),
            }
        };
        assert!(said("box").contains("pillarbox settings set server.hostname"));
        assert!(said("mail.example.test").contains("pillarbox settings set dns.servers"));
    }

    #[test]
    fn a_certificate_is_told_before_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let now = Timestamp::now();
        assert!(matches!(certificate(dir.path(), &settings, now), Broken(_)));
        Authority::new(dir.path())
            .ensure(&["localhost".to_string()], now)
            .unwrap();
        let Well(text) = certificate(dir.path(), &settings, now) else {
            panic!("it is new");
        };
        let days: i64 = text.split(' ').nth(3).unwrap().parse().unwrap();
        let after = |days: i64| now + jiff::SignedDuration::from_secs(days * DAY);
        let at = |days| certificate(dir.path(), &settings, after(days));
        assert!(matches!(at(days - SOON), Well(_)));
        assert!(matches!(at(days - SOON + 1), Odd(_)));
        assert!(matches!(at(days - URGENT + 1), Broken(_)));
        assert!(matches!(at(days + 1), Broken(_)));
        assert!(matches!(at(-30), Broken(_)));
    }
}
