//! Where mail goes next: the owner's routes, by the sender's domain, kept in the store.

use crate::address::{Address, Domain};
use crate::mail::outgoing::ROUTES;
use crate::sasl::client::Login;
use crate::secret::Secret;
use crate::store::codec::{Reader, put, put_bytes};
use crate::store::{Error, Result, Snapshot};
use std::fmt;

/// The kind of the store's records that are routes; the key is a domain, or [`DEFAULT`].
pub const KIND: &str = ROUTES;
/// The key of the route for all domains without one of their own. No domain has that form.
pub const DEFAULT: &str = "*";
/// Longest name of a user that a route has, and longest password, bytes.
pub const MAX_LOGIN: usize = 1024;

/// A smarthost: one server that takes all mail (RFC 5321, 2.3.10).
#[derive(Clone, Debug)]
pub struct Route {
    pub host: String,
    pub port: u16,
    pub tls: TlsMode,
    pub login: Option<Login>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// STARTTLS, or nothing is sent.
    StartTls,
    /// From the first byte (RFC 8314, 3.3).
    Implicit,
    /// Without; to this machine alone.
    None,
}

impl TlsMode {
    pub const ALL: [TlsMode; 3] = [TlsMode::StartTls, TlsMode::Implicit, TlsMode::None];

    pub fn name(self) -> &'static str {
        match self {
            TlsMode::StartTls => "starttls",
            TlsMode::Implicit => "implicit",
            TlsMode::None => "none",
        }
    }

    pub fn parse(name: &str) -> Option<TlsMode> {
        TlsMode::ALL.into_iter().find(|it| it.name() == name)
    }

    /// The port where nothing is said: submission's (RFC 6409; RFC 8314, 7.3).
    pub fn port(self) -> u16 {
        match self {
            TlsMode::StartTls => 587,
            TlsMode::Implicit => 465,
            TlsMode::None => 25,
        }
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Route {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, self.host.as_bytes());
        put(&mut out, u64::from(self.port));
        put_bytes(&mut out, self.tls.name().as_bytes());
        put(&mut out, u64::from(self.login.is_some()));
        if let Some(login) = &self.login {
            put_bytes(&mut out, login.user.as_bytes());
            put_bytes(&mut out, login.password.reveal().as_bytes());
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Route> {
        let row = &mut Reader(bytes);
        let wrong = || Error::Corrupt("a route".into());
        Ok(Route {
            host: row.take_str()?.to_owned(),
            port: u16::try_from(row.take()?).map_err(|_| wrong())?,
            tls: TlsMode::parse(row.take_str()?).ok_or_else(wrong)?,
            login: match row.take()? {
                0 => None,
                _ => Some(Login {
                    user: row.take_str()?.to_owned(),
                    password: Secret::new(row.take_str()?.to_owned()),
                }),
            },
        })
    }

    /// The route for mail of that sender, if the owner has set one for it.
    pub fn find(snapshot: &Snapshot, sender: Option<&Address>) -> Result<Option<Route>> {
        let own = match sender {
            Some(sender) => snapshot.record(KIND, sender.domain().as_str())?,
            None => None,
        };
        let row = match own {
            Some(row) => Some(row),
            None => snapshot.record(KIND, DEFAULT)?,
        };
        row.as_deref().map(Route::decode).transpose()
    }

    /// All of them, by domain.
    pub fn all(snapshot: &Snapshot) -> Result<Vec<(String, Route)>> {
        let rows = snapshot.records(KIND)?.into_iter();
        rows.map(|(key, row)| Ok((key, Route::decode(&row)?)))
            .collect()
    }
}

/// The key of a route as the owner names it: a domain, or `default`.
pub fn key(name: &str) -> std::result::Result<String, String> {
    match name {
        "default" => Ok(DEFAULT.into()),
        _ => Domain::parse(name)
            .map(|domain| domain.to_string())
            .map_err(|error| format!("{name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_come_back_and_keep_their_secret() {
        let login = Login {
            user: "ann".into(),
            password: Secret::new("very secret".into()),
        };
        for (tls, login) in [(TlsMode::StartTls, Some(login)), (TlsMode::None, None)] {
            let route = Route {
                host: "smtp.example".into(),
                port: 2525,
                tls,
                login,
            };
            let again = Route::decode(&route.encode()).unwrap();
            assert_eq!(again.encode(), route.encode());
            assert!(!format!("{again:?}").contains("very secret"));
        }
        assert!(Route::decode(b"\x03abc").is_err());
    }

    #[test]
    fn keys_are_domains_or_the_default() {
        assert_eq!(key("Example.ORG").unwrap(), "example.org");
        assert_eq!(key("default").unwrap(), DEFAULT);
        assert!(key("*").is_err() && key("").is_err());
    }
}
