//! Connections that we make: to the first of a server's addresses that answers, with TLS as
//! far as it is asked for.

use super::dns::Resolver;
use super::stream::{Deadlines, Stream};
use super::trust::Trust;
use crate::task;
use async_io::{Async, Timer};
use futures_lite::FutureExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most addresses of one server that are tried.
pub const MAX_ADDRESSES: usize = 8;
/// How long an address is waited for before the next is tried beside it (RFC 8305, 5).
const STAGGER: Duration = Duration::from_millis(250);
/// TLS configurations that are kept at once.
pub const MAX_CONFIGS: usize = 32;
/// How long one is kept: a certificate that was good is looked at again after that.
const CONFIG_AGE: Duration = Duration::from_secs(3600);

/// How long a server is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one address to answer.
    pub connect: Duration,
    /// For the TLS handshake, and for each 64 KiB of output to be taken.
    pub deadlines: Deadlines,
}

pub const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(30),
    deadlines: Deadlines {
        handshake: Duration::from_secs(60),
        // RFC 5321, 4.5.3.2.5.
        write: Duration::from_secs(180),
    },
};

/// The authorities that servers' certificates are held to, and one TLS configuration for each
/// kind of trust: with it a later connection resumes an earlier one's session. A session is
/// resumed without a look at the certificate, so none passes from one kind to another, and
/// rustls keeps them by the server's name.
pub struct Authorities {
    source: Mutex<Arc<Source>>,
    configs: Mutex<Vec<Kept>>,
}

struct Source {
    /// The owner's own, PEM, beside the system's.
    own: Option<PathBuf>,
    loaded: async_lock::OnceCell<Arc<RootCertStore>>,
}

impl Source {
    fn new(own: Option<PathBuf>) -> Arc<Source> {
        let loaded = async_lock::OnceCell::new();
        Arc::new(Source { own, loaded })
    }
}

struct Kept {
    trust: Trust,
    since: Instant,
    config: Arc<ClientConfig>,
}

impl Authorities {
    pub fn new(own: Option<PathBuf>) -> Authorities {
        Authorities {
            source: Mutex::new(Source::new(own)),
            configs: Mutex::default(),
        }
    }

    /// From now on these of the owner's count. What was trusted by others before is forgotten.
    pub fn set(&self, own: &Option<PathBuf>) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if source.own != *own {
            *source = Source::new(own.clone());
            let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
            configs.clear();
        }
    }

    /// For a certificate that they vouch for, in the server's name.
    pub async fn verified(&self) -> io::Result<Arc<ClientConfig>> {
        self.config(Trust::Roots(self.roots().await?))
    }

    /// The one configuration for that kind of trust.
    pub fn config(&self, trust: Trust) -> io::Result<Arc<ClientConfig>> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        configs.retain(|it| it.since.elapsed() < CONFIG_AGE);
        if let Some(kept) = configs.iter().find(|it| it.trust == trust) {
            return Ok(kept.config.clone());
        }
        if configs.len() >= MAX_CONFIGS {
            configs.remove(0);
        }
        let config = trust.clone().config().map_err(io::Error::other)?;
        let config = Arc::new(config);
        configs.push(Kept {
            trust,
            since: Instant::now(),
            config: config.clone(),
        });
        Ok(config)
    }

    /// Read when first needed: many a server never needs them.
    pub async fn roots(&self) -> io::Result<Arc<RootCertStore>> {
        let source = {
            let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            source.clone()
        };
        let read = || async {
            let own = source.own.clone();
            task::unblock(move || read_roots(own.as_deref())).await
        };
        source.loaded.get_or_try_init(read).await.cloned()
    }
}

/// The system's and those in that file, PEM.
pub fn read_roots(own: Option<&Path>) -> io::Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        log::warn!("certificate authorities: {error}");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = own {
        for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
            let certificate = certificate.map_err(io::Error::other)?;
            roots.add(certificate).map_err(io::Error::other)?;
        }
    }
    Ok(Arc::new(roots))
}

/// Connects to the first of `addresses` that answers. They are tried in an order in which
/// IPv6 and IPv4 take turns, each a moment after the one before.
pub async fn connect(addresses: &[IpAddr], port: u16) -> io::Result<Stream> {
    connect_within(addresses, port, PATIENCE).await
}

pub async fn connect_within(
    addresses: &[IpAddr],
    port: u16,
    patience: Patience,
) -> io::Result<Stream> {
    let addresses = in_turns(addresses);
    let (sender, receiver) = async_channel::bounded(MAX_ADDRESSES);
    let mut tasks = Vec::new();
    for (n, address) in (0u32..).zip(addresses) {
        let sender = sender.clone();
        tasks.push(task::spawn(async move {
            Timer::after(STAGGER * n).await;
            // Nobody waits any more for one that comes too late.
            let _ = sender
                .send((
                    address,
                    open(SocketAddr::new(address, port), patience.connect).await,
                ))
                .await;
        }));
    }
    drop(sender);
    let mut why = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    while let Ok((address, result)) = receiver.recv().await {
        match result {
            Ok(socket) => return Ok(Stream::outgoing(socket, address, patience.deadlines)),
            Err(error) => {
                why = io::Error::new(error.kind(), format!("[{address}] {}", plain(&error)))
            }
        }
    }
    Err(why)
}

async fn open(address: SocketAddr, limit: Duration) -> io::Result<Async<TcpStream>> {
    let late = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    Async::<TcpStream>::connect(address).or(late).await
}

/// IPv6 first, then the kinds in turns (RFC 8305, 4), [`MAX_ADDRESSES`] at most.
fn in_turns(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut six = addresses.iter().filter(|it| it.is_ipv6());
    let mut four = addresses.iter().filter(|it| it.is_ipv4());
    let mut order = Vec::new();
    while order.len() < MAX_ADDRESSES {
        let before = order.len();
        order.extend(six.next());
        order.extend(four.next());
        if order.len() == before {
            break;
        }
    }
    order.truncate(MAX_ADDRESSES);
    order
}

/// A web server's TLS by its name or address, its certificate held to the authorities (RFC 9110,
/// 4.3.4).
pub async fn https(
    resolver: &Resolver,
    authorities: &Authorities,
    host: &str,
    port: u16,
) -> io::Result<Stream> {
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => {
            let found = resolver.addresses(host).await;
            found.map_err(io::Error::other)?.records
        }
    };
    let mut stream = connect(&addresses, port).await?;
    let config = authorities.verified().await?;
    start_tls(&mut stream, host, config).await?;
    Ok(stream)
}

/// TLS over a connection, as client. `name` is what the server is asked for (SNI), and what
/// its certificate must hold for where the configuration's trust looks at names.
pub async fn start_tls(
    stream: &mut Stream,
    name: &str,
    config: Arc<ClientConfig>,
) -> io::Result<()> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    stream.start_client_tls(config, name).await
}

/// Where this server listens now; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Own(Arc<Mutex<Vec<SocketAddr>>>);

impl Own {
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Own {
        let own = Own::default();
        own.set(addresses);
        own
    }

    pub fn set(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let addresses = addresses.into_iter().collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Whether a connection there would come to this server.
    pub fn has(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        let own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        own.iter().filter(|it| it.port() == port).any(|own| {
            let ip = own.ip().to_canonical();
            ip == address || (ip.is_unspecified() && is_here(address))
        })
    }
}

/// Whether the address is one of this machine's: only such can be bound.
fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

/// An error without the number that the system gives it.
pub fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer in time".into(),
        io::ErrorKind::ConnectionRefused => "the connection was refused".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the connection was broken off".into()
        }
        io::ErrorKind::UnexpectedEof => "the connection was closed".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_turns() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let given = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"].map(ip);
        let wanted = ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"].map(ip);
        assert_eq!(in_turns(&given), wanted);
        assert_eq!(in_turns(&[ip("::1"); 20]).len(), MAX_ADDRESSES);
        assert!(in_turns(&[]).is_empty());
    }

    #[test]
    fn an_address_that_refuses_does_not_hide_one_that_answers() {
        smol::block_on(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let addresses = ["127.0.0.9", "127.0.0.1"].map(|it| it.parse().unwrap());
            let stream = connect(&addresses, port).await.unwrap();
            assert_eq!(stream.peer(), addresses[1]);
            drop(listener);
            let error = connect(&addresses, port).await.err().unwrap();
            assert!(error.to_string().contains("was refused"), "{error}");
            assert!(connect(&[], port).await.is_err());
        });
    }

    #[test]
    fn other_authorities_count_from_now_on() {
        let authorities = Authorities::new(None);
        let config = || authorities.config(Trust::Any).unwrap();
        let first = config();
        authorities.set(&None);
        assert!(Arc::ptr_eq(&first, &config()), "nothing has changed");
        authorities.set(&Some("/nowhere/ca.pem".into()));
        assert!(
            !Arc::ptr_eq(&first, &config()),
            "its sessions are those of others"
        );
        assert!(smol::block_on(authorities.roots()).is_err());
        authorities.set(&None);
        assert!(smol::block_on(authorities.roots()).is_ok());
    }
}
