//! TLS by rustls with ring, 1.2 and 1.3: the server's certificate, from its own authority
//! or the owner's PEM files, and the configuration made of it.

use crate::net::authority::{Authority, read_limited};
use crate::net::client_certificate::Any;
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
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

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
#[derive(Clone, Debug)]
enum Source {
    Local {
        authority: Authority,
        hostname: String,
    },
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
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
    source: Source,
    config: RwLock<Configs>,
    /// Kept over a reload, so that clients resume.
    tickets: Tickets,
}

/// One that asks no client for a certificate, and one that does.
#[derive(Clone)]
struct Configs {
    quiet: Arc<ServerConfig>,
    asking: Arc<ServerConfig>,
}

impl Tls {
    /// The certificate of the server's own authority below `data`, made now if need be.
    pub fn local(data: &Path, hostname: &str) -> Result<Tls, Error> {
        Tls::new(Source::Local {
            authority: Authority::new(data),
            hostname: hostname.to_string(),
        })
    }

    /// The owner's PEM files: the certificate with its chain, leaf first; and its key.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Tls, Error> {
        Tls::new(Source::Files {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
        })
    }

    fn new(source: Source) -> Result<Tls, Error> {
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
            config: RwLock::new(load(&source, &tickets)?),
            source,
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
        let config = self.shared.config.read();
        let config = config.unwrap_or_else(PoisonError::into_inner);
        match self.asks {
            true => config.asking.clone(),
            false => config.quiet.clone(),
        }
    }

    /// Reads the files again, and renews the local certificate if it is due. After an
    /// error the old one stays.
    pub fn reload(&self) -> Result<(), Error> {
        let config = load(&self.shared.source, &self.shared.tickets)?;
        *self
            .shared
            .config
            .write()
            .unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}

/// The one set of algorithms.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(ring::default_provider()))
        .clone()
}

fn load(source: &Source, tickets: &Tickets) -> Result<Configs, Error> {
    let now = Timestamp::now();
    let (certificate, key) = match source {
        Source::Local {
            authority,
            hostname,
        } => {
            if let Err(error) = authority.ensure(hostname, now) {
                // One that is due is served until it can be made, on a full disk for instance.
                if read_chain(&authority.key_path()).is_err() {
                    return Err(error);
                }
                log::error!("the certificate stays as it was: {error}");
            }
            (authority.key_path(), authority.key_path())
        }
        Source::Files { certificate, key } => (certificate.clone(), key.clone()),
    };
    let chain = read_chain(&certificate)?;
    if let (Source::Files { .. }, Some(leaf)) = (source, chain.first()) {
        check_dates(&certificate, leaf, now)?;
    }
    let private = PrivateKeyDer::from_pem_slice(&read_limited(&key)?)
        .map_err(|_| Error(format!("{} holds no private key in PEM", key.display())))?;
    let make = |verifier: Arc<dyn ClientCertVerifier>, tickets: &Arc<dyn ProducesTickets>| {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private.clone_key())
            .map_err(|error| Error(unusable(&certificate, &key, &error)))?;
        config.ticketer = tickets.clone();
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSION_CACHE);
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    };
    Ok(Configs {
        quiet: make(Arc::new(NoClientAuth), &tickets.quiet)?,
        asking: make(Arc::new(Any), &tickets.asking)?,
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read_limited(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(Error(format!(
            "{} holds no certificate in PEM",
            path.display()
        ))),
        Err(error) => Err(Error(format!("{} is no PEM file: {error}", path.display()))),
    }
}

fn check_dates(path: &Path, leaf: &[u8], now: Timestamp) -> Result<(), Error> {
    let path = path.display();
    let (from, to) =
        validity(leaf).ok_or_else(|| Error(format!("the certificate in {path} can't be read")))?;
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

/// notBefore and notAfter of a certificate in DER (RFC 5280, 4.1.2.5). Pure.
pub fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    const INTEGER: u8 = 0x02;
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for wanted in [INTEGER, SEQUENCE, SEQUENCE] {
        let (tag, _, after) = element(rest)?;
        if tag != wanted {
            return None;
        }
        rest = after;
    }
    let (_, dates, _) = element(rest)?;
    let (tag, from, dates) = element(dates)?;
    let from = time(tag, from)?;
    let (tag, to, _) = element(dates)?;
    Some((from, time(tag, to)?))
}

/// Tag, content and what follows of one DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(count)?;
        let length = bytes
            .iter()
            .fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
        (length, rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// UTCTime (its two-digit year below 50 means 20xx) or GeneralizedTime, in seconds and UTC.
fn time(tag: u8, content: &[u8]) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    let text = std::str::from_utf8(content).ok()?;
    let text = match tag {
        UTC_TIME if text < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        _ => text.to_string(),
    };
    let civil = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    match civil.to_zoned(jiff::tz::TimeZone::UTC) {
        Ok(zoned) => Some(zoned.timestamp()),
        // 99991231235959Z says that it has no end (RFC 5280, 4.1.2.5).
        Err(_) if civil.year() == 9999 => Some(Timestamp::MAX),
        Err(_) => None,
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
