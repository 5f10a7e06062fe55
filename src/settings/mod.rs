//! The settings: typed, each with its unit, range and default.

mod access;
pub mod connections;
pub mod document;
mod live;
mod setting;
mod table;
pub mod value;

pub use access::{Access, LoginType};
pub use live::Live;
pub use setting::{Setting, address, server};
pub use table::{SETTINGS, find};

use crate::address::Address;
use crate::mail::addressing::Network;
use crate::mail::option::Order;
use connections::Told;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What is served on a port. The names are IANA's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    Imap,
    Imaps,
    Pop3,
    Pop3s,
    Submission,
    Submissions,
    /// Mail from other servers.
    Smtp,
    /// Mail from a server on this machine; on loopback alone.
    Lmtp,
}

impl Service {
    pub const ALL: [Service; 8] = [
        Service::Imap,
        Service::Imaps,
        Service::Pop3,
        Service::Pop3s,
        Service::Submission,
        Service::Submissions,
        Service::Smtp,
        Service::Lmtp,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Service::Imap => "imap",
            Service::Imaps => "imaps",
            Service::Pop3 => "pop3",
            Service::Pop3s => "pop3s",
            Service::Submission => "submission",
            Service::Submissions => "submissions",
            Service::Smtp => "smtp",
            Service::Lmtp => "lmtp",
        }
    }

    /// Its well-known port.
    pub fn port(self) -> u16 {
        match self {
            Service::Imap => 143,
            Service::Imaps => 993,
            Service::Pop3 => 110,
            Service::Pop3s => 995,
            Service::Submission => 587,
            Service::Submissions => 465,
            Service::Smtp => 25,
            // Registered for private mail systems; LMTP has none of its own.
            Service::Lmtp => 24,
        }
    }

    /// Whether TLS begins before the greeting (RFC 8314, 3).
    pub fn implicit_tls(self) -> bool {
        matches!(self, Service::Imaps | Service::Pop3s | Service::Submissions)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A service on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub service: Service,
    pub address: SocketAddr,
}

/// Where a service is served, if it is. A port of 0 is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub enabled: bool,
    /// Where TLS is begun by a command, or not at all.
    pub port: u16,
    /// Where TLS comes first; 0 for services that have no such port.
    pub tls_port: u16,
}

impl Ports {
    fn well_known(plain: Service, tls: Option<Service>) -> Ports {
        Ports {
            enabled: true,
            port: plain.port(),
            tls_port: tls.map_or(0, Service::port),
        }
    }
}

/// Defaults of the queue's times.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(4 * 3600);
pub const DELAY_NOTICE: Duration = Duration::from_secs(4 * 3600);
pub const EXPIRY: Duration = Duration::from_secs(5 * 24 * 3600);

/// Addresses elsewhere that an account may write to for the first time in a day.
pub const NEW_RECIPIENTS: u32 = 200;

/// Its production directory; staging has `acme-staging-v02` in the place of `acme-v02`.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// What the server holds connections and messages to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name this server greets with and puts into Received; a domain name.
    pub hostname: String,
    /// Accounts here that are told by mail what the owner should know.
    pub administrators: Vec<Address>,
    /// Bytes and messages that an account may hold; 0 for no limit.
    pub account_quota: u64,
    pub account_max_messages: u32,
    /// How long a deleted account can be had back.
    pub keep_deleted: Duration,
    /// What people are written to in: `en` or `ru`.
    pub language: &'static str,
    /// How long the audit log keeps an event.
    pub keep_log: Duration,
    /// Where all is served; `::` takes IPv4 too.
    pub addresses: Vec<IpAddr>,
    /// Added to every port.
    pub port_base: u16,
    pub imap: Ports,
    pub pop3: Ports,
    pub submission: Ports,
    pub smtp: Ports,
    /// On loopback alone: it believes whoever comes.
    pub lmtp: Ports,
    /// `auto`, `local`, `files` or `acme`.
    pub tls_source: &'static str,
    /// Names that a certificate made here or got by ACME holds for, beside `hostname`.
    pub tls_names: Vec<String>,
    /// An https URL (RFC 8555, 7.1.1).
    pub acme_directory: String,
    /// Whether the owner agrees to that authority's terms.
    pub acme_agreed: bool,
    /// A mail address, or empty.
    pub acme_contact: String,
    /// `http-01`, `tls-alpn-01` or `dns-01`.
    pub acme_challenge: &'static str,
    /// The owner's certificate with its chain, PEM.
    pub tls_certificate: Option<PathBuf>,
    /// The key of `tls_certificate`, PEM.
    pub tls_key: Option<PathBuf>,
    /// How many may come to each of these services, and how they log in.
    pub imap_access: Access,
    pub pop3_access: Access,
    pub submission_access: Access,
    /// What SMTP says behind its name when it greets; empty for its own words.
    pub smtp_banner: String,
    /// Whether what is said on SMTP's and LMTP's ports goes to the log.
    pub smtp_log: bool,
    /// Longest IMAP command after login with its literals, messages left out; bytes.
    pub imap_max_command: u64,
    /// Longest POP3 command line without its end, bytes (RFC 2449, 4: 255 at least).
    pub pop3_max_command: u64,
    /// In which order POP3 numbers the messages of accounts that have no order of their own.
    pub pop3_order: Order,
    /// What mail programs in this network are told to connect to …
    pub internal: Told,
    /// … and those outside.
    pub external: Told,
    /// Whether users are told of it: in the welcome message and to mail programs that ask.
    pub tell_connections: bool,
    /// Connections of users at once, of all services; fewer where the system allows fewer files.
    pub max_connections: usize,
    /// Connections at once that have not logged in.
    pub max_unauthenticated: usize,
    /// Connections at once that have not logged in, from one address (IPv6: one /64).
    pub max_unauthenticated_per_source: usize,
    /// Largest message, bytes. 1 KiB to 1 GiB; SIZE (RFC 1870) and APPENDLIMIT (RFC 7889).
    pub max_message_size: u64,
    /// Recipients a message; 1 to 1,000 (RFC 5321, 4.5.3.1.8 asks for 100 at least).
    pub max_recipients: usize,
    /// Whether mail to other servers may go to them directly, where no relay is set for it.
    pub direct: bool,
    /// Connections at once of other mail servers (SMTP and LMTP), counted apart from those of
    /// users: neither keeps the other out.
    pub max_incoming: usize,
    /// Of these, from one address (IPv6: one /64).
    pub max_incoming_per_source: usize,
    /// Messages a minute that one address (IPv6: one /64) may bring to that port.
    pub max_messages_per_source: u32,
    /// Messages that one connection to that port may bring.
    pub max_messages_per_connection: u32,
    /// Recipients that are not here, for which one address (IPv6: one /64) may ask at that port
    /// in an hour; 0 for no limit.
    pub max_unknown_per_source: u32,
    /// Refusals on one connection of SMTP without a message taken between them.
    pub max_refusals: u32,
    /// Commands on one connection of SMTP that are none or come out of order.
    pub max_protocol_errors: u32,
    /// How long that port waits before it says no, so that guessing is slow. 0 to 30 s.
    pub tarpit: Duration,
    /// As these of SMTP, for submission: its tarpit ends with the login.
    pub submission_max_protocol_errors: u32,
    pub submission_tarpit: Duration,
    /// Messages a minute that one address (IPv6: one /64) may submit; 0 for no limit.
    pub submission_max_messages_per_source: u32,
    /// Whether that port puts off senders that it does not know.
    pub greylist: bool,
    /// Whether it refuses mail that its author's domain asks to refuse (DMARC); else that
    /// goes to Junk.
    pub refuse_by_dmarc: bool,
    /// Authorities that other servers' certificates are held to beside the system's, PEM.
    pub tls_authorities: Option<PathBuf>,
    /// Name servers to ask; none: those of the system.
    pub name_servers: Vec<SocketAddr>,
    /// Pause before a recipient elsewhere is tried again; then each is twice the one before.
    pub retry_after: Duration,
    /// The longest such pause.
    pub retry_every: Duration,
    /// When the sender is told that a message takes longer.
    pub tell_delay_after: Duration,
    /// When a message that could not be delivered goes back.
    pub give_up_after: Duration,
    /// Messages on their way to other servers at once; each takes a file and a few hundred KiB.
    pub max_sending: usize,
    /// Of these, to one destination.
    pub max_sending_per_destination: usize,
    /// Whether this is a demo: nothing is ever sent to other servers.
    pub demo: bool,
    /// Whether logins bound to the TLS connection are offered (SCRAM-SHA-256-PLUS). Mutt with
    /// GNU SASL, as Debian has it, chooses them where it sees them and then can't make them.
    pub bind_logins: bool,
    /// Whether the clients of users are asked for a certificate, for EXTERNAL. Off, because
    /// mail programs that have any ask their owner which one to show.
    pub client_certificates: bool,
    /// Servers that may say for whom they pass a connection on (XCLIENT, ID): it counts as that
    /// client's in limits and logs.
    pub trusted_proxies: Vec<Network>,
    /// Whether passwords may cross without TLS when the peer is loopback.
    pub plain_login_on_loopback: bool,
    /// Before login: how long a client may stay silent. 10 s to 10 min.
    pub login_timeout: Duration,
    /// IMAP after login; RFC 9051, 5.4 asks for 30 min at least.
    pub imap_timeout: Duration,
    /// POP3 after login; RFC 1939, 3 asks for 10 min at least.
    pub pop3_timeout: Duration,
    /// Shortest time from one POP3 login of an account to the next (LOGIN-DELAY of RFC 2449,
    /// 6.5); whole seconds, 0 for none.
    pub pop3_login_delay: Duration,
    /// Messages that one account may submit in an hour; 0 for no limit.
    pub max_messages_per_hour: u32,
    /// Recipients to which one account may submit in a day; 0 for no limit.
    pub max_recipients_per_day: u32,
    /// Of these, those elsewhere that it never wrote to before; 0 for no limit.
    pub max_new_recipients_per_day: u32,
    /// SMTP between commands; RFC 5321, 4.5.3.2.7 asks for 5 min at least.
    pub smtp_timeout: Duration,
    /// How long one chunk of output may wait for a client that does not read.
    pub write_timeout: Duration,
    /// At shutdown: how long commands that run may take to end.
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hostname: "localhost".into(),
            administrators: Vec::new(),
            account_quota: 0,
            account_max_messages: 0,
            keep_deleted: Duration::from_secs(30 * 24 * 3600),
            language: "en",
            keep_log: Duration::from_secs(90 * 24 * 3600),
            addresses: vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            port_base: 0,
            imap: Ports::well_known(Service::Imap, Some(Service::Imaps)),
            pop3: Ports::well_known(Service::Pop3, Some(Service::Pop3s)),
            submission: Ports::well_known(Service::Submission, Some(Service::Submissions)),
            smtp: Ports::well_known(Service::Smtp, None),
            lmtp: Ports::well_known(Service::Lmtp, None),
            tls_source: "auto",
            tls_names: Vec::new(),
            acme_directory: LETS_ENCRYPT.into(),
            acme_agreed: false,
            acme_contact: String::new(),
            acme_challenge: "http-01",
            tls_certificate: None,
            tls_key: None,
            imap_access: Access::default(),
            pop3_access: Access::default(),
            submission_access: Access {
                // A program that sends much opens many at once.
                max_connections_per_account: 64,
                ..Access::default()
            },
            smtp_banner: String::new(),
            smtp_log: false,
            imap_max_command: 256 << 10,
            pop3_max_command: 255,
            pop3_order: Order::Ascending,
            internal: Told::default(),
            external: Told::default(),
            tell_connections: true,
            max_connections: 4096,
            max_unauthenticated: 1024,
            max_unauthenticated_per_source: 256,
            max_message_size: 100 << 20,
            max_recipients: 200,
            direct: true,
            max_incoming: 256,
            max_incoming_per_source: 50,
            max_messages_per_source: 600,
            max_messages_per_connection: 1000,
            max_unknown_per_source: 100,
            max_refusals: 20,
            max_protocol_errors: 5,
            tarpit: Duration::from_secs(5),
            submission_max_protocol_errors: 5,
            submission_tarpit: Duration::from_secs(5),
            submission_max_messages_per_source: 0,
            greylist: false,
            refuse_by_dmarc: true,
            tls_authorities: None,
            retry_after: FIRST_PAUSE,
            retry_every: LONGEST_PAUSE,
            tell_delay_after: DELAY_NOTICE,
            give_up_after: EXPIRY,
            max_sending: 20,
            max_sending_per_destination: 4,
            name_servers: Vec::new(),
            demo: false,
            bind_logins: false,
            client_certificates: false,
            trusted_proxies: Vec::new(),
            plain_login_on_loopback: true,
            login_timeout: Duration::from_secs(60),
            imap_timeout: Duration::from_secs(30 * 60),
            pop3_timeout: Duration::from_secs(10 * 60),
            pop3_login_delay: Duration::ZERO,
            max_messages_per_hour: 0,
            max_recipients_per_day: 0,
            max_new_recipients_per_day: NEW_RECIPIENTS,
            smtp_timeout: Duration::from_secs(5 * 60),
            write_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// The defaults, with the machine's own name.
    pub fn of_this_machine() -> Settings {
        let system = rustix::system::uname();
        let hostname = match system.nodename().to_str() {
            Ok(name) if !name.is_empty() && name != "(none)" => name.to_lowercase(),
            _ => "localhost".to_string(),
        };
        Settings {
            hostname,
            ..Settings::default()
        }
    }

    /// What is served where. The error is a sentence.
    pub fn listen(&self) -> Result<Vec<Listen>, String> {
        let mut listen = Vec::new();
        for service in Service::ALL {
            let ports = match service {
                Service::Imap | Service::Imaps => self.imap,
                Service::Pop3 | Service::Pop3s => self.pop3,
                Service::Submission | Service::Submissions => self.submission,
                Service::Smtp => self.smtp,
                Service::Lmtp => self.lmtp,
            };
            let port = match service.implicit_tls() {
                true => ports.tls_port,
                false => ports.port,
            };
            if !ports.enabled || port == 0 {
                continue;
            }
            let Some(port) = port.checked_add(self.port_base) else {
                let base = self.port_base;
                return Err(format!(
                    "--port-base {base} is too high: ports end at 65535"
                ));
            };
            for address in &self.addresses {
                let address = match service {
                    Service::Lmtp if !address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
                    _ => *address,
                };
                let address = SocketAddr::new(address, port);
                let one = Listen { service, address };
                // Addresses that are not loopback have one LMTP.
                if !listen.contains(&one) {
                    listen.push(one);
                }
            }
        }
        Ok(listen)
    }

    /// What no setting shows alone. The error is a sentence.
    pub fn check(&self) -> Result<(), String> {
        let listen = self.listen()?;
        for (n, one) in listen.iter().enumerate() {
            if let Some(other) = listen[..n].iter().find(|it| it.address == one.address) {
                let (one, other, port) = (one.service, other.service, one.address.port());
                return Err(format!("{other} and {one} can't both have port {port}"));
            }
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return Err(
                "a TLS certificate and its key must be given together, in one command".into(),
            );
        }
        if self.tls_source == "files" && self.tls_certificate.is_none() {
            return Err("tls.source is files: set tls.certificate and tls.key with it".into());
        }
        if !self.acme_directory.starts_with("https://") {
            return Err("acme.directory is no https:// URL".into());
        }
        if !self.acme_contact.is_empty() && !is_mail_address(&self.acme_contact) {
            return Err(format!(
                "acme.contact: {} is no mail address",
                self.acme_contact
            ));
        }
        if self.retry_after > self.retry_every {
            return Err("queue.retry-after is longer than queue.retry-every".into());
        }
        Ok(())
    }
}

/// As far as it matters in a URL (RFC 6068).
fn is_mail_address(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_+@".contains(&b);
    text.bytes().all(plain)
        && matches!(text.split_once('@'), Some((local, domain))
        if !local.is_empty() && domain.contains('.') && !domain.contains('@'))
}

#[cfg(test)]
mod tests;
