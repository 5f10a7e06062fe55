//! Connections to home servers: how many there may be, what TLS they must have, and how
//! long a login there may take. What is said over them is the protocols' affair.

use super::Context;
use crate::mail::home::{HomeServer, Protocol, Tls};
use crate::net::connect::{self, Authorities, Own};
use crate::net::dns::Resolver;
use crate::net::stream::Stream;
use crate::net::trust::Trust;
use crate::sasl::Denial;
use crate::secret::Secret;
use crate::store::Home;
use crate::wire::Input;
use async_io::Timer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_lite::future;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Connections to home servers at once.
pub const MAX_ALL: usize = 1024;
/// Those of one mailbox.
pub const MAX_EACH: usize = 64;
/// From the first packet to the home server's word on the login.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// TLS configurations that are kept, with their sessions: one for each set of authorities.
const MAX_CONFIGS: usize = 64;
/// Longest text of a home server that is passed on, characters.
const MAX_TEXT: usize = 200;

/// Why there is no login at a home server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// What a login here can come to as well.
    Denied(Denial),
    Down,
    Certificate,
    /// It is this server, or too many have passed the connection on.
    Loop,
    Busy,
    /// SCRAM proves the password without showing it.
    NeedsPassword,
    /// It can't do what is needed: a sentence.
    Unable(&'static str),
    /// Its own words.
    Said(String),
}

impl Refused {
    /// Its own words, as far as any protocol may repeat them.
    pub fn said(text: &str) -> Refused {
        let fits = |c: &char| matches!(c, ' '..='~');
        let text: String = text.chars().filter(fits).take(MAX_TEXT).collect();
        match text.is_empty() {
            true => Refused::Down,
            false => Refused::Said(text),
        }
    }

    /// For the client, without the server's name.
    pub fn sentence(&self) -> &str {
        match self {
            Refused::Denied(_) => "The login is refused.",
            Refused::Down => "The server of this mailbox can't be reached: try again in a minute.",
            Refused::Certificate => {
                "The server of this mailbox can't prove who it is: tell your administrator."
            }
            Refused::Loop => {
                "The server of this mailbox leads back to this one: tell your administrator."
            }
            Refused::Busy => "This mailbox has too many connections: close some.",
            Refused::NeedsPassword => {
                "This mailbox is on another server, which needs the password itself: \
                 log in with PLAIN or LOGIN."
            }
            Refused::Unable(text) => text,
            Refused::Said(text) => text,
        }
    }
}

/// What is kept of home servers between connections.
#[derive(Default)]
pub struct Homes {
    /// Where this server listens.
    pub own: Own,
    configs: Mutex<HashMap<Vec<String>, Arc<ClientConfig>>>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    each: HashMap<String, usize>,
}

/// A connection's place among those that there may be, given back when dropped.
pub struct Place {
    counts: Arc<Mutex<Counts>>,
    key: String,
}

impl Homes {
    pub fn new(own: Own) -> Homes {
        Homes {
            own,
            ..Homes::default()
        }
    }

    fn enter(&self, key: &str) -> Result<Place, Refused> {
        let mut counts = lock(&self.counts);
        let each = counts.each.get(key).copied().unwrap_or(0);
        if each >= MAX_EACH || counts.all >= MAX_ALL {
            return Err(Refused::Busy);
        }
        counts.all += 1;
        counts.each.insert(key.to_owned(), each + 1);
        Ok(Place {
            counts: self.counts.clone(),
            key: key.to_owned(),
        })
    }

    /// Connects, with TLS already where it is implicit.
    pub async fn connect(
        &self,
        resolver: &Resolver,
        home: &HomeServer,
        protocol: Protocol,
    ) -> Result<Stream, Refused> {
        let port = home.port(protocol);
        let addresses = match (home.host.parse::<IpAddr>(), home.host.as_str()) {
            (Ok(address), _) => vec![address],
            // No name server needs to know it (RFC 6761, 6.3).
            (_, "localhost") => vec![IpAddr::from([127, 0, 0, 1])],
            (_, name) => {
                let found = resolver.addresses(name).await;
                let found = found.map_err(|error| down(home, &error))?;
                found.records
            }
        };
        if !addresses.is_empty() && addresses.iter().all(|it| self.own.has(*it, port)) {
            return Err(Refused::Loop);
        }
        let stream = connect::connect(&addresses, port).await;
        let mut stream = stream.map_err(|error| down(home, &connect::plain(&error)))?;
        if home.tls == Tls::Implicit {
            self.start_tls(&mut stream, home).await?;
        }
        Ok(stream)
    }

    /// TLS, with a certificate that holds for the host.
    pub async fn start_tls(&self, stream: &mut Stream, home: &HomeServer) -> Result<(), Refused> {
        let config = self.config(home).await;
        let config = config.map_err(|error| down(home, &error))?;
        let name = ServerName::try_from(home.host.clone()).map_err(|error| down(home, &error))?;
        let made = stream.start_client_tls(config, name).await;
        made.map_err(|error| match certificate_is_wrong(&error) {
            true => {
                log::warn!("home server {}: {error}", home.host);
                Refused::Certificate
            }
            false => down(home, &connect::plain(&error)),
        })
    }

    /// Kept, so that a later connection resumes an earlier one's session.
    async fn config(&self, home: &HomeServer) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = lock(&self.configs).get(&home.authorities) {
            return Ok(config.clone());
        }
        let roots = match home.authorities.is_empty() {
            true => Authorities::new(None).roots().await?,
            false => Arc::new(roots(&home.authorities)?),
        };
        let config = Trust::Roots(roots).config().map_err(io::Error::other)?;
        let config = Arc::new(config);
        let mut configs = lock(&self.configs);
        if configs.len() >= MAX_CONFIGS {
            configs.clear();
        }
        configs.insert(home.authorities.clone(), config.clone());
        Ok(config)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.all = counts.all.saturating_sub(1);
        let left = counts
            .each
            .get(&self.key)
            .map_or(0, |it| it.saturating_sub(1));
        match left {
            0 => counts.each.remove(&self.key),
            left => counts.each.insert(self.key.clone(), left),
        };
    }
}

impl Context {
    /// Lets `attempt` log in at the home server, within the limits and the time that there are;
    /// wrong passwords count as they do here.
    pub async fn admit<T>(
        &self,
        peer: IpAddr,
        login: &str,
        home: &Home,
        attempt: impl Future<Output = Result<T, Refused>>,
    ) -> Result<(T, Place), Refused> {
        let held = self.login.hold_elsewhere(peer, login).await;
        held.map_err(Refused::Denied)?;
        let place = self.homes.enter(&home.key)?;
        let late = async {
            Timer::after(LOGIN_TIMEOUT).await;
            Err(down(&home.server, &"the login took too long"))
        };
        let result = future::or(attempt, late).await;
        let host = &home.server.host;
        match &result {
            Ok(_) => {
                self.login.counted_elsewhere(peer, login, true);
                log::info!("login: {} from {peer}, at {host}", home.key);
            }
            Err(Refused::Denied(Denial::Credentials)) => {
                self.login.counted_elsewhere(peer, login, false);
                log::info!("login: refused from {peer}, by {host}");
            }
            Err(other) => log::warn!("login: from {peer}, at {host}: {}", other.sentence()),
        }
        Ok((result?, place))
    }
}

/// Waits for what a home server says to a login.
pub async fn hear(stream: &mut Stream, input: &mut Input) -> Result<(), Refused> {
    match stream.receive(input, LOGIN_TIMEOUT).await {
        Ok(0) | Err(_) => Err(Refused::Down),
        Ok(_) => Ok(()),
    }
}

/// What it says is not of its protocol.
pub fn astray(error: impl Display) -> Refused {
    log::warn!("a home server goes astray: {error}");
    Refused::Down
}

/// The initial response of PLAIN (RFC 4616), in base64.
pub fn plain(user: &str, password: &Secret<String>) -> Secret<String> {
    let plain = Secret::new(format!("\0{user}\0{}", password.reveal()));
    Secret::new(BASE64.encode(plain.reveal()))
}

fn roots(authorities: &[String]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let der = BASE64.decode(authority).map_err(io::Error::other)?;
        let added = roots.add(CertificateDer::from(der));
        added.map_err(io::Error::other)?;
    }
    Ok(roots)
}

fn certificate_is_wrong(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|it| it.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

fn down(home: &HomeServer, why: &dyn Display) -> Refused {
    log::warn!("home server {}: {why}", home.host);
    Refused::Down
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::ResolverConfig;

    #[test]
    fn places_are_counted_and_given_back() {
        let homes = Homes::default();
        let places: Vec<_> = (0..MAX_EACH).map(|_| homes.enter("a").unwrap()).collect();
        assert_eq!(homes.enter("a").err(), Some(Refused::Busy));
        assert!(homes.enter("b").is_ok());
        drop(places);
        assert!(homes.enter("a").is_ok());
        assert!(lock(&homes.counts).each.is_empty());
    }

    #[test]
    fn what_is_passed_on_is_one_plain_line() {
        let text = Refused::said("a\r\n* BYE \u{e4}b");
        assert_eq!(text.sentence(), "a* BYE b");
        assert_eq!(Refused::said("\r\n"), Refused::Down);
    }

    #[test]
    fn this_server_is_not_its_own_home() {
        let homes = Homes::new(Own::default());
        let resolver = Resolver::new(ResolverConfig::servers([]));
        let mut home = HomeServer::new("localhost", Tls::Implicit).unwrap();
        // Where nobody listens, but for us by then.
        home.imap = 1;
        for (own, expected) in [(&[][..], Refused::Down), (&["[::]:1"], Refused::Loop)] {
            homes.own.set(own.iter().map(|it| it.parse().unwrap()));
            let connected = homes.connect(&resolver, &home, Protocol::Imap);
            assert_eq!(smol::block_on(connected).err(), Some(expected));
        }
    }
}
