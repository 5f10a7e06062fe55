//! TLS by rustls with ring, 1.2 and 1.3: the server's certificate, from its own authority,
//! the owner's PEM files or by ACME, and the configuration made of it.

use crate::net::authority::{Authority, read_limited};
use crate::net::client_certificate::Any;
use crate::net::x509::{names, validity};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ProducesTickets};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

/// Sessions of TLS 1.2 clients without tickets that are remembered.
const SESSION_CACHE: usize = 256;

/// Why there is no certificate to serve with, in a sentence for the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(super) fn new(text: impl Into<String>) -> Error {
        Error(text.into())
    }

    pub(super) fn file(what: &str, path: &Path, error: &io::Error) -> Error {
        Error(format!("can't {what} {}: {error}", path.display()))
    }

    pub(super) fn making(error: rcgen::Error) -> Error {
        Error(format!("can't make a certificate: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Where certificate and key come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The server's own authority in a data directory, for these names, its own first.
    Local { data: PathBuf, names: Vec<String> },
    /// The owner's PEM files: the certificate with its chain, leaf first; and its key.
    Files { certificate: PathBuf, key: PathBuf },
    /// What an ACME authority gave for these names, in that directory; until it has, as
    /// `Local`.
    Acme { data: PathBuf, names: Vec<String> },
}

/// A certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// `local`, `files` or `acme`: whose it is.
    pub from: &'static str,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    pub begins: Timestamp,
    pub ends: Timestamp,
}

/// The server's current certificate and configuration; a clone is cheap, and new
/// connections see what [`Tls::reload`] set.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
    /// Whether the client is asked for a certificate.
    asks: bool,
}

/// Keys of session tickets; they outlive a new certificate.
struct Tickets {
    quiet: Arc<dyn ProducesTickets>,
    asking: Arc<dyn ProducesTickets>,
}

struct Shared {
    current: RwLock<Current>,
    /// Held from the reading of a source until it is served: two changes must not cross.
    changing: Mutex<()>,
    /// Kept over a reload, so that clients resume.
    tickets: Tickets,
}

/// What is served, by a configuration that asks no client for a certificate, and one that does.
struct Current {
    source: Source,
    served: Served,
    quiet: Arc<ServerConfig>,
    asking: Arc<ServerConfig>,
}

/// A certificate with its key, and where they were found.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    served: Served,
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
}

impl Tls {
    /// The certificate of the server's own authority below `data`, made now if need be.
    pub fn local(data: &Path, hostname: &str) -> Result<Tls, Error> {
        Tls::new(Source::Local {
            data: data.to_path_buf(),
            names: vec![hostname.to_string()],
        })
    }

    pub fn new(source: Source) -> Result<Tls, Error> {
        Tls::with(|tickets| load(source, tickets))
    }

    /// At a start, where mail must go on: files whose dates are not good are served all the
    /// same, as a board may not know the time yet; and in place of those that can't be used,
    /// `local`. What is served next comes from `source` again.
    pub fn start(source: Source, local: &Source) -> Result<Tls, Error> {
        Tls::with(|tickets| {
            let error = match load(source.clone(), tickets) {
                Ok(current) => return Ok(current),
                Err(error) => error,
            };
            if let Ok(current) = undated(&source).and_then(|it| it.serve(&source, tickets)) {
                log::error!("{error}; it is served all the same");
                return Ok(current);
            }
            log::error!("{error}; the server's own certificate is served in its place");
            find(local)?.serve(&source, tickets)
        })
    }

    fn with(load: impl FnOnce(&Tickets) -> Result<Current, Error>) -> Result<Tls, Error> {
        // A ticket holds the certificate that its client showed: what one configuration gave,
        // the other must not take.
        let ticketer = || {
            ring::Ticketer::new().map_err(|error| Error(format!("can't make ticket keys: {error}")))
        };
        let tickets = Tickets {
            quiet: ticketer()?,
            asking: ticketer()?,
        };
        let shared = Arc::new(Shared {
            current: RwLock::new(load(&tickets)?),
            changing: Mutex::new(()),
            tickets,
        });
        Ok(Tls {
            shared,
            asks: false,
        })
    }

    /// The same, that asks its clients for a certificate or not; they need have none. Mail
    /// programs may ask their owner which one to show: it is off unless said so.
    pub fn asking(&self, asks: bool) -> Tls {
        Tls {
            shared: self.shared.clone(),
            asks,
        }
    }

    /// What a new connection is served with.
    pub fn config(&self) -> Arc<ServerConfig> {
        let current = self.current();
        match self.asks {
            true => current.asking.clone(),
            false => current.quiet.clone(),
        }
    }

    /// The certificate that new connections see.
    pub fn served(&self) -> Served {
        self.current().served.clone()
    }

    /// Reads the files again, and renews the local certificate if it is due. After an
    /// error the old one stays.
    pub fn reload(&self) -> Result<(), Error> {
        let _alone = self.change();
        let source = self.current().source.clone();
        self.put(source)
    }

    /// From now on new connections are served from there. After an error the old one stays.
    pub fn set(&self, source: Source) -> Result<(), Error> {
        let _alone = self.change();
        self.put(source)
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        let changing = self.shared.changing.lock();
        changing.unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, source: Source) -> Result<(), Error> {
        let current = load(source, &self.shared.tickets)?;
        let mut place = self.shared.current.write();
        **place.as_mut().unwrap_or_else(|it| it.get_mut()) = current;
        Ok(())
    }

    /// Whether it is served from there.
    pub fn is_from(&self, source: &Source) -> bool {
        self.current().source == *source
    }

    fn current(&self) -> RwLockReadGuard<'_, Current> {
        let current = self.shared.current.read();
        current.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one set of algorithms.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(ring::default_provider()))
        .clone()
}

/// What would be served from there.
pub fn look(source: &Source) -> Result<Served, Error> {
    Ok(find(source)?.served)
}

fn load(source: Source, tickets: &Tickets) -> Result<Current, Error> {
    find(&source)?.serve(&source, tickets)
}

/// The owner's files, whatever their dates.
fn undated(source: &Source) -> Result<Pair, Error> {
    match source {
        Source::Files { certificate, key } => Pair::read("files", certificate, key),
        _ => Err(Error::new("these are not the owner's files")),
    }
}

fn find(source: &Source) -> Result<Pair, Error> {
    let now = Timestamp::now();
    match source {
        Source::Local { data, names } => local(&Authority::new(data), names, now),
        Source::Files { certificate, .. } => {
            let pair = undated(source)?;
            check_dates(certificate, &pair.served, now)?;
            Ok(pair)
        }
        Source::Acme { data, names } => {
            let authority = Authority::new(data);
            let path = authority.acme_path();
            if !path.exists() {
                return local(&authority, names, now);
            }
            // One that has expired is served all the same: clients then say what is wrong.
            Pair::read("acme", &path, &path).or_else(|error| {
                log::error!("the certificate by ACME is passed over: {error}");
                local(&authority, names, now)
            })
        }
    }
}

fn local(authority: &Authority, names: &[String], now: Timestamp) -> Result<Pair, Error> {
    let path = authority.key_path();
    if let Err(error) = authority.ensure(names, now) {
        // One that is due is served until it can be made, on a full disk for instance.
        if Pair::read("local", &path, &path).is_err() {
            return Err(error);
        }
        log::error!("the certificate stays as it was: {error}");
    }
    Pair::read("local", &path, &path)
}

/// What a certificate with its chain and its key, all in one PEM text, would serve.
pub fn examine(pem: &str) -> Result<Served, Error> {
    let path = Path::new("what came");
    let pair = Pair::of("acme", (path, pem.as_bytes()), (path, pem.as_bytes()))?;
    pair.config(Arc::new(NoClientAuth))?;
    Ok(pair.served)
}

impl Pair {
    fn read(from: &'static str, certificate: &Path, key: &Path) -> Result<Pair, Error> {
        let (chain, private) = (read_limited(certificate)?, read_limited(key)?);
        Pair::of(from, (certificate, &chain), (key, &private))
    }

    fn of(
        from: &'static str,
        (certificate, chain): (&Path, &[u8]),
        (key, private): (&Path, &[u8]),
    ) -> Result<Pair, Error> {
        let chain = read_chain(certificate, chain)?;
        let leaf = chain.first().map_or(&[][..], |it| it.as_ref());
        let (begins, ends) = validity(leaf).ok_or_else(|| {
            let path = certificate.display();
            Error(format!("the certificate in {path} can't be read"))
        })?;
        let served = Served {
            from,
            names: names(leaf),
            begins,
            ends,
        };
        let private = PrivateKeyDer::from_pem_slice(private)
            .map_err(|_| Error(format!("{} holds no private key in PEM", key.display())))?;
        Ok(Pair {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
            served,
            chain,
            private,
        })
    }

    fn serve(self, source: &Source, tickets: &Tickets) -> Result<Current, Error> {
        let make = |verifier: Arc<dyn ClientCertVerifier>, tickets: &Arc<dyn ProducesTickets>| {
            let mut config = self.config(verifier)?;
            config.ticketer = tickets.clone();
            config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSION_CACHE);
            config.max_early_data_size = 0;
            Ok(Arc::new(config))
        };
        Ok(Current {
            quiet: make(Arc::new(NoClientAuth), &tickets.quiet)?,
            asking: make(Arc::new(Any), &tickets.asking)?,
            served: self.served,
            source: source.clone(),
        })
    }

    /// Only if they belong together.
    fn config(&self, verifier: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, Error> {
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.private.clone_key())
            .map_err(|error| Error(unusable(&self.certificate, &self.key, &error)))
    }
}

fn read_chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(Error(format!(
            "{} holds no certificate in PEM",
            path.display()
        ))),
        Err(error) => Err(Error(format!("{} is no PEM file: {error}", path.display()))),
    }
}

fn check_dates(path: &Path, served: &Served, now: Timestamp) -> Result<(), Error> {
    let (path, from, to) = (path.display(), served.begins, served.ends);
    if now > to {
        return Err(Error(format!("the certificate in {path} expired at {to}")));
    }
    if now < from {
        return Err(Error(format!(
            "the certificate in {path} is not valid before {from}"
        )));
    }
    Ok(())
}

fn unusable(certificate: &Path, key: &Path, error: &rustls::Error) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("the key in {key} is not the key of the certificate in {certificate}")
        }
        error => format!("can't use {certificate} with {key}: {error}"),
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
