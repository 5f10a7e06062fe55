//! The connection to a provider: resolved, connected, with TLS that is always verified.

use super::collector::{Collector, Security, is_loopback};
use super::failure::Failure;
use crate::net::connect::{self, Authorities};
use crate::net::dns::Resolver;
use crate::net::stream::Stream;
use crate::wire::Input;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroize;

/// How long the provider's server may stay silent while it owes an answer.
pub const SILENCE: Duration = Duration::from_secs(120);
/// How long one command may take in all, but for the messages in its answer.
pub const COMMAND: Duration = Duration::from_secs(15 * 60);
/// Slowest that a message may come, bytes a second.
pub const SLOWEST: u64 = 500;

/// What collectors share to reach the world.
#[derive(Clone)]
pub struct World {
    pub resolver: Resolver,
    /// The system's.
    pub authorities: Arc<Authorities>,
}

pub struct Link {
    stream: Stream,
    host: String,
    ca: Option<PathBuf>,
    world: World,
    /// When what is being waited for must be there.
    deadline: Instant,
}

impl Link {
    /// Connects; with implicit TLS that is there when this returns.
    pub async fn open(collector: &Collector, world: &World) -> Result<Link, Failure> {
        let host = collector.host.clone();
        let addresses = resolve(&host, &world.resolver).await?;
        let local = addresses.iter().all(IpAddr::is_loopback);
        if collector.security == Security::None && !(local && is_loopback(&host)) {
            return Err(Failure::refused(format!(
                "{host} is not this machine: nothing is sent there without TLS"
            )));
        }
        let stream = connect::connect(&addresses, collector.port).await;
        let stream = stream.map_err(|error| {
            let (port, why) = (collector.port, connect::plain(&error));
            Failure::passing(format!("can't reach {host} on port {port}: {why}"))
        })?;
        let mut link = Link {
            stream,
            host,
            ca: collector.ca.as_ref().map(PathBuf::from),
            world: world.clone(),
            deadline: Instant::now() + COMMAND,
        };
        if collector.security == Security::Implicit {
            link.start_tls().await?;
        }
        Ok(link)
    }

    /// Nobody but the server with a certificate for its name gets the password.
    pub async fn start_tls(&mut self) -> Result<(), Failure> {
        let config = match &self.ca {
            Some(path) => Authorities::new(Some(path.clone())).verified().await,
            None => self.world.authorities.verified().await,
        };
        let config = config.map_err(|error| {
            Failure::refused(format!("the certificates to trust can't be read: {error}"))
        })?;
        let begun = connect::start_tls(&mut self.stream, &self.host, config).await;
        begun.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset => Failure::from(error),
            _ => Failure::refused(format!("no TLS with {}: {}", self.host, spoken(&error))),
        })
    }

    pub fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    pub fn peer(&self) -> IpAddr {
        self.stream.peer()
    }

    /// A command begins, or `more` bytes of a message have been announced.
    pub fn allow(&mut self, more: u64) {
        self.deadline = Instant::now() + COMMAND + Duration::from_secs(more / SLOWEST);
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.send(bytes).await?)
    }

    /// As `send`, of what may hold a password.
    pub async fn send_secret(&mut self, mut bytes: Vec<u8>) -> Result<(), Failure> {
        let sent = self.send(&bytes).await;
        bytes.zeroize();
        sent
    }

    /// Waits for bytes. They must come before the command's time is up, too.
    pub async fn receive(&mut self, input: &mut Input) -> Result<(), Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.receive_within(input, left.min(SILENCE)).await
    }

    pub async fn receive_within(
        &mut self,
        input: &mut Input,
        wait: Duration,
    ) -> Result<(), Failure> {
        match self.stream.receive(input, wait).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    /// As `receive_within`; `false` if nothing came in time.
    pub async fn listen(&mut self, input: &mut Input, wait: Duration) -> Result<bool, Failure> {
        match self.stream.receive(input, wait).await {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub async fn close(mut self) {
        self.stream.close().await;
    }
}

/// What is wrong with a certificate, as its reader's owner needs to know it.
fn spoken(error: &io::Error) -> String {
    const KNOWN: [(&str, &str); 5] = [
        (
            "UnknownIssuer",
            "its certificate is signed by no authority that is trusted here; --ca can name one more",
        ),
        (
            "not valid for name",
            "its certificate is for another name than this",
        ),
        (
            "NotValidForName",
            "its certificate is for another name than this",
        ),
        ("xpired", "its certificate has expired"),
        (
            "CaUsedAsEndEntity",
            "its certificate is an authority's, which no server may use as its own",
        ),
    ];
    let text = error.to_string();
    let known = KNOWN.iter().find(|(word, _)| text.contains(word));
    known.map_or_else(|| connect::plain(error), |(_, told)| told.to_string())
}

async fn resolve(host: &str, resolver: &Resolver) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    // It never leaves the machine (RFC 6761, 6.3).
    if is_loopback(host) {
        return Ok(vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]);
    }
    let found = resolver.addresses(host).await;
    let found = found.map_err(|error| Failure::passing(format!("can't find {host}: {error}")))?;
    match found.records.is_empty() {
        true => Err(Failure::passing(format!("{host} has no address"))),
        false => Ok(found.records),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_words() {
        let told = |error: CertificateError| {
            spoken(&io::Error::other(rustls::Error::InvalidCertificate(error)))
        };
        assert!(told(CertificateError::UnknownIssuer).contains("--ca"));
        assert!(told(CertificateError::NotValidForName).contains("another name"));
        assert!(told(CertificateError::Expired).contains("expired"));
        let late = CertificateError::ExpiredContext {
            time: rustls::pki_types::UnixTime::now(),
            not_after: rustls::pki_types::UnixTime::now(),
        };
        assert!(told(late).contains("expired"));
    }
}
