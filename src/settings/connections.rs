//! What a mail program has to be told to reach this server: host, port and encryption of each
//! service, inside this network and from outside. Pure: derived from what is listened on,
//! unless the owner says otherwise.

use super::setting::host;
use super::{Service, Settings};
use std::fmt;

/// Endpoints of one service that may be told.
const MAX_ENDPOINTS: usize = 4;

/// From where a mail program connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In this network.
    Internal,
    /// From anywhere. Nothing is known of that until the owner has said it.
    External,
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Before the greeting (RFC 8314, 3).
    Tls,
    /// By a command (RFC 3207, RFC 2595).
    StartTls,
}

/// A way to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub side: Side,
    /// `imap`, `pop3` or `submission`.
    pub service: &'static str,
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
}

/// What the owner says of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Empty: inside the server's own name, outside nothing.
    pub hostname: String,
    /// Empty: what is listened on.
    pub imap: Vec<Endpoint>,
    pub pop3: Vec<Endpoint>,
    pub submission: Vec<Endpoint>,
}

/// `HOST:PORT:tls`, or `PORT:starttls` of the side's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: Option<String>,
    pub port: u16,
    pub encryption: Encryption,
}

/// All there are, the best of each service first (RFC 8314, 3.3: TLS before STARTTLS).
pub fn connections(settings: &Settings) -> Vec<Connection> {
    let sides = [
        (Side::Internal, &settings.internal),
        (Side::External, &settings.external),
    ];
    let mut all = Vec::new();
    for (side, told) in sides {
        let host = match (side, told.hostname.as_str()) {
            (Side::Internal, "") => settings.hostname.as_str(),
            (_, host) => host,
        };
        for (service, told) in [
            ("imap", &told.imap),
            ("pop3", &told.pop3),
            ("submission", &told.submission),
        ] {
            let endpoints = match told.as_slice() {
                [] => listened_on(settings, service),
                told => told.to_vec(),
            };
            let named = endpoints.into_iter().filter_map(|it| {
                let host = it.host.unwrap_or_else(|| host.to_string());
                (!host.is_empty()).then_some(Connection {
                    side,
                    service,
                    host,
                    port: it.port,
                    encryption: it.encryption,
                })
            });
            all.extend(named);
        }
    }
    all
}

/// Those that users are told: from outside where the owner has said what holds there, for it
/// works inside too or he would have said so; else inside. None if users are told nothing.
pub fn for_users(settings: &Settings) -> Vec<Connection> {
    let mut all = connections(settings);
    let outside = all.iter().any(|it| it.side == Side::External);
    all.retain(|it| settings.tell_connections && (it.side == Side::External) == outside);
    all
}

fn listened_on(settings: &Settings, service: &'static str) -> Vec<Endpoint> {
    let (plain, tls) = match service {
        "imap" => (Service::Imap, Service::Imaps),
        "pop3" => (Service::Pop3, Service::Pop3s),
        _ => (Service::Submission, Service::Submissions),
    };
    let listen = settings.listen().unwrap_or_default();
    let found = |service, encryption| {
        let port = listen.iter().find(|it| it.service == service)?;
        Some(Endpoint {
            host: None,
            port: port.address.port(),
            encryption,
        })
    };
    let both = [
        found(tls, Encryption::Tls),
        found(plain, Encryption::StartTls),
    ];
    both.into_iter().flatten().collect()
}

/// Reads endpoints with spaces between them. The error says what they may be.
pub fn endpoints(text: &str) -> Result<Vec<Endpoint>, String> {
    let all: Result<Vec<Endpoint>, String> = text.split_whitespace().map(endpoint).collect();
    let all = all?;
    match all.len() {
        ..=MAX_ENDPOINTS => Ok(all),
        _ => Err(format!("at most {MAX_ENDPOINTS} may be told")),
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wrong = || format!("{text} is neither PORT:tls, PORT:starttls nor HOST:PORT:tls");
    let mut parts = text.rsplitn(3, ':');
    let encryption = match parts.next() {
        Some("tls") => Encryption::Tls,
        Some("starttls") => Encryption::StartTls,
        _ => return Err(wrong()),
    };
    let port = parts.next().and_then(|it| it.parse().ok());
    let port = port.filter(|it| *it > 0).ok_or_else(wrong)?;
    Ok(Endpoint {
        host: parts.next().map(host).transpose()?,
        port,
        encryption,
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}:")?;
        }
        write!(f, "{}:{}", self.port, self.encryption)
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encryption::Tls => "tls",
            Encryption::StartTls => "starttls",
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Internal => "internal",
            Side::External => "external",
        })
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connection {
            side,
            service,
            host,
            port,
            encryption,
        } = self;
        write!(f, "{side} {service} {host} {port} {encryption}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::find;

    fn shown(all: &[Connection]) -> Vec<String> {
        all.iter().map(Connection::to_string).collect()
    }

    fn with(changes: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in [("server.hostname", "box.test")].iter().chain(changes) {
            find(name).unwrap().set(&mut settings, value).unwrap();
        }
        settings
    }

    #[test]
    fn inside_they_are_what_is_listened_on_and_outside_blank() {
        assert_eq!(
            shown(&connections(&with(&[]))),
            [
                "internal imap box.test 993 tls",
                "internal imap box.test 143 starttls",
                "internal pop3 box.test 995 tls",
                "internal pop3 box.test 110 starttls",
                "internal submission box.test 465 tls",
                "internal submission box.test 587 starttls",
            ]
        );
        let fewer = with(&[
            ("pop3.enabled", "off"),
            ("imap.port", "0"),
            ("submission.tls-port", "0"),
            ("server.port-base", "10000"),
        ]);
        assert_eq!(
            shown(&connections(&fewer)),
            [
                "internal imap box.test 10993 tls",
                "internal submission box.test 10587 starttls",
            ]
        );
        assert_eq!(for_users(&fewer), connections(&fewer));
    }

    #[test]
    fn the_owner_may_say_otherwise() {
        let settings = with(&[
            ("imap.port", "0"),
            ("pop3.enabled", "off"),
            ("submission.port", "0"),
            ("internal.submission", "mx.test:2465:tls"),
            ("external.hostname", "mail.example.test"),
            ("external.imap", "9993:tls 9143:starttls"),
        ]);
        assert_eq!(
            shown(&connections(&settings)),
            [
                "internal imap box.test 993 tls",
                "internal submission mx.test 2465 tls",
                "external imap mail.example.test 9993 tls",
                "external imap mail.example.test 9143 starttls",
                "external submission mail.example.test 465 tls",
            ]
        );
        let told = for_users(&settings);
        assert!(told.len() == 3 && told.iter().all(|it| it.side == Side::External));
        let silent = with(&[("connections.tell", "off")]);
        assert_eq!(for_users(&silent), []);
    }

    #[test]
    fn endpoints_are_read_as_they_are_written() {
        for text in ["993:tls", "mail.test:143:starttls"] {
            let read = endpoints(text).unwrap();
            assert_eq!(read.first().map(Endpoint::to_string).as_deref(), Some(text));
        }
        for text in [
            "993",
            "0:tls",
            "65536:tls",
            "993:ssl",
            "-x:993:tls",
            ":993:tls",
        ] {
            assert!(endpoints(text).is_err(), "{text}");
        }
        assert_eq!(endpoints(""), Ok(Vec::new()));
        assert!(endpoints(&"993:tls ".repeat(MAX_ENDPOINTS + 1)).is_err());
    }
}
