//! How the server fares, on one page: rows of a name and its values, for people's languages to
//! be put around them.

use super::collecting::Collecting;
use super::{Reply, checking, collecting, settings};
use crate::net::limit::Gate;
use crate::net::tls::Tls;
use crate::recent;
use crate::settings::connections::{Side, connections};
use crate::settings::{Live, Service, Settings};
use crate::store::{Snapshot, Store};
use jiff::Timestamp;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Messages of the queue that are looked at for the oldest and the held.
const MAX_QUEUED: usize = 10_000;
/// Problems that are shown.
const MAX_SHOWN: usize = 10;

/// What a running server alone can tell.
pub struct Vitals {
    pub began: Timestamp,
    pub dir: PathBuf,
    pub tls: Tls,
    /// Connections of mail programs, and of other servers.
    pub users: Arc<Gate>,
    pub servers: Arc<Gate>,
}

/// Rows, by their first word:
/// - `version`, version
/// - `schema`, in which the store is written
/// - `running`, since; or `stopped`: times are seconds since 1970
/// - `host`, name
/// - `address`, one of the machine's
/// - `service`, name, `on` or `off`, ports
/// - `accounts`, count
/// - `connections`, of mail programs, of servers
/// - `queue`, messages that wait, since when the oldest, how many are held
/// - `mail`, messages, bytes
/// - `disk`, free bytes, bytes in all
/// - `certificate`, `local`, `files` or `acme`, until when
/// - `reach`, `internal` or `external`, how mail programs reach each service there
/// - `checked`, the last check's verdict and when it ended; or `never`
/// - `collector`, source, state
/// - `problem`, when, `error` or `warning`, times, text; the newest last
pub async fn perform(
    store: &Store,
    dir: Option<&Path>,
    vitals: Option<&Vitals>,
    live: Option<&Live>,
) -> Reply {
    let settings = settings::now(store, live)?;
    let mut page = Page::default();
    page.put(&[&"version", &env!("CARGO_PKG_VERSION")]);
    match vitals {
        Some(vitals) => page.put(&[&"running", &vitals.began.as_second()]),
        None => page.put(&[&"stopped"]),
    }
    page.put(&[&"host", &settings.hostname]);
    for address in addresses(&settings) {
        page.put(&[&"address", &address]);
    }
    services(&settings, &mut page);
    let counted = store.read(count).await;
    page.rows
        .extend(counted.map_err(|error| error.to_string())?);
    if let Some(vitals) = vitals {
        let (users, servers) = (vitals.users.open(), vitals.servers.open());
        page.put(&[&"connections", &users, &servers]);
        let served = vitals.tls.served();
        page.put(&[&"certificate", &served.from, &served.ends.as_second()]);
    }
    if let Some(dir) = dir.or(vitals.map(|it| it.dir.as_path())) {
        disk(dir, &mut page);
    }
    reach(&settings, &mut page);
    match checking::last_check(store).map_err(|error| error.to_string())? {
        Some(last) => page.put(&[&"checked", &last.verdict.word(), &last.at]),
        None => page.put(&[&"checked", &"never"]),
    }
    for row in collecting::perform(store, Collecting::List).await? {
        if let [_, _, source, .., state] = row.as_slice() {
            page.put(&[&"collector", source, state]);
        }
    }
    let problems = recent::all();
    for it in problems
        .iter()
        .skip(problems.len().saturating_sub(MAX_SHOWN))
    {
        let level = if it.error { "error" } else { "warning" };
        page.put(&[&"problem", &it.at, &level, &it.times, &it.text]);
    }
    Ok(page.rows)
}

#[derive(Default)]
struct Page {
    rows: Vec<Vec<String>>,
}

impl Page {
    fn put(&mut self, words: &[&dyn ToString]) {
        self.rows
            .push(words.iter().map(|it| it.to_string()).collect());
    }
}

/// Where the server can be reached: what it listens on, or the machine's addresses where that
/// is all of them.
fn addresses(settings: &Settings) -> Vec<IpAddr> {
    let all = settings.addresses.iter().any(IpAddr::is_unspecified);
    match all {
        false => settings.addresses.clone(),
        true => [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")]
            .iter()
            .filter_map(|(from, to)| {
                // Nothing is sent: the kernel says from where it would be.
                let socket = UdpSocket::bind(from).ok()?;
                socket.connect(to).ok()?;
                Some(socket.local_addr().ok()?.ip())
            })
            .filter(|it| !it.is_unspecified())
            .collect(),
    }
}

fn services(settings: &Settings, page: &mut Page) {
    let listen = settings.listen().unwrap_or_default();
    let pairs = [
        (Service::Imap, Some(Service::Imaps)),
        (Service::Pop3, Some(Service::Pop3s)),
        (Service::Submission, Some(Service::Submissions)),
        (Service::Smtp, None),
        (Service::Lmtp, None),
    ];
    for (service, implicit) in pairs {
        let mut ports: Vec<String> = Vec::new();
        for one in &listen {
            let port = one.address.port().to_string();
            if (one.service == service || Some(one.service) == implicit) && !ports.contains(&port) {
                ports.push(port);
            }
        }
        let state = if ports.is_empty() { "off" } else { "on" };
        page.put(&[&"service", &service.name(), &state, &ports.join(" ")]);
    }
}

/// The best way to each service, of each side that has any.
fn reach(settings: &Settings, page: &mut Page) {
    let all = connections(settings);
    for (side, name) in [(Side::Internal, "internal"), (Side::External, "external")] {
        let mut ways: Vec<String> = Vec::new();
        let mut told = "";
        for it in all.iter().filter(|it| it.side == side) {
            if it.service != told {
                told = it.service;
                let (host, port, encryption) = (&it.host, it.port, it.encryption);
                ways.push(format!("{told} {host}:{port} {encryption}"));
            }
        }
        if !ways.is_empty() {
            page.put(&[&"reach", &name, &ways.join(", ")]);
        }
    }
}

fn count(snapshot: &Snapshot) -> crate::store::Result<Vec<Vec<String>>> {
    let mut page = Page::default();
    page.put(&[&"schema", &snapshot.schema()?]);
    let accounts = snapshot.accounts()?;
    let (mut messages, mut bytes) = (0u64, 0u64);
    for account in &accounts {
        for mailbox in snapshot.mailboxes(account.id)? {
            messages += u64::from(mailbox.messages);
            bytes += mailbox.size;
        }
    }
    page.put(&[&"accounts", &accounts.len()]);
    page.put(&[&"mail", &messages, &bytes]);
    let queued = snapshot.queue_items(crate::mail::outgoing::QueueId(0), MAX_QUEUED)?;
    let oldest = queued.iter().map(|it| it.submitted).min();
    let held = queued.iter().filter(|it| it.held).count();
    let oldest = oldest.map(|it| it.to_string()).unwrap_or_default();
    page.put(&[&"queue", &snapshot.queue_len()?, &oldest, &held]);
    Ok(page.rows)
}

fn disk(dir: &Path, page: &mut Page) {
    if let Ok(space) = rustix::fs::statvfs(dir) {
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let all = space.f_blocks.saturating_mul(space.f_frsize);
        page.put(&[&"disk", &free, &all]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    #[test]
    fn a_stopped_server_has_a_page_too() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let rows = smol::block_on(perform(&store, Some(dir.path()), None, None)).unwrap();
        let row = |name: &str| rows.iter().find(|row| row[0] == name);
        assert!(row("stopped").is_some());
        assert_eq!(row("service").unwrap()[1..], ["imap", "on", "143 993"]);
        assert_eq!(row("queue").unwrap()[1..], ["0", "", "0"]);
        assert_eq!(row("schema").unwrap()[1..], ["3"]);
        assert_eq!(row("mail").unwrap()[1..], ["0", "0"]);
        assert_eq!(row("checked").unwrap()[1..], ["never"]);
        let ways = &row("reach").unwrap()[1..];
        assert_eq!(ways[0], "internal");
        assert!(ways[1].contains(":993 tls, pop3 "), "{}", ways[1]);
        assert!(!ways[1].contains("starttls"), "{}", ways[1]);
        assert!(row("running").is_none() && row("connections").is_none());
    }

    #[test]
    fn what_is_listened_on_is_shown_and_all_addresses_are_the_machines() {
        let mut settings = Settings {
            addresses: vec!["192.0.2.7".parse().unwrap()],
            ..Settings::default()
        };
        assert_eq!(addresses(&settings), settings.addresses);
        settings.addresses = vec!["::".parse().unwrap()];
        assert!(addresses(&settings).iter().all(|it| !it.is_unspecified()));
    }
}
