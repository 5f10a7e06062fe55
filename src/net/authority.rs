//! The server's own certificate authority: made at first start, it signs the server's
//! certificate until the owner brings another.

use crate::net::tls::{Error, provider};
use jiff::civil::Date;
use jiff::{Span, Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the authority's certificate holds.
const AUTHORITY_YEARS: i16 = 10;
/// How long the server's certificate holds; some clients refuse more than 398 days.
const CERTIFICATE_DAYS: i32 = 397;
/// The server's certificate is made anew when it holds for less than this.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
/// A client's clock may be behind by this.
const BACKDATE_DAYS: i32 = 2;
/// A board without a clock starts in 1970; no certificate begins before this.
pub const EARLIEST: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// Largest PEM file that is read, bytes.
pub const MAX_PEM: u64 = 1 << 20;

/// The files of the authority in a data directory.
#[derive(Clone, Debug)]
pub struct Authority {
    dir: PathBuf,
}

impl Authority {
    pub fn new(data: &Path) -> Authority {
        Authority {
            dir: data.join("tls"),
        }
    }

    /// The authority's certificate, for clients to trust.
    pub fn ca_path(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    pub fn certificate_path(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    pub fn key_path(&self) -> PathBuf {
        self.dir.join("key.pem")
    }

    fn ca_key_path(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// The certificate that an ACME authority gave, after its key.
    pub fn acme_path(&self) -> PathBuf {
        self.dir.join("acme.pem")
    }

    /// Puts that in place: one file, so that both change in one rename.
    pub fn keep_acme(&self, pem: &str) -> Result<(), Error> {
        self.make_directory()?;
        write_atomically(&self.acme_path(), pem.as_bytes(), 0o600)
    }

    fn make_directory(&self) -> Result<(), Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|error| Error::file("make", &self.dir, &error))
    }

    /// Makes what is missing, expires within 30 days or does not name all of `hosts`, the
    /// first the server's own. True if there is a new certificate.
    pub fn ensure(&self, hosts: &[String], now: Timestamp) -> Result<bool, Error> {
        let now = now.max(EARLIEST);
        self.make_directory()?;
        if !self.ca_path().exists() || !self.ca_key_path().exists() {
            self.make_authority(now)?;
        }
        let names = names(hosts);
        if self.holds(&names, now) {
            return Ok(false);
        }
        self.make_certificate(&names, now)?;
        Ok(true)
    }

    fn make_authority(&self, now: Timestamp) -> Result<(), Error> {
        let key = KeyPair::generate().map_err(Error::making)?;
        let mut params = authority_params(&key);
        set_validity(&mut params, now, AUTHORITY_YEARS.years());
        let certificate = params.self_signed(&key).map_err(Error::making)?;
        // The key first: a certificate without its key would be kept and be of no use.
        write_atomically(&self.ca_key_path(), key.serialize_pem().as_bytes(), 0o600)?;
        write_atomically(&self.ca_path(), certificate.pem().as_bytes(), 0o644)
    }

    fn make_certificate(&self, names: &[String], now: Timestamp) -> Result<(), Error> {
        let ca_key = read_limited(&self.ca_key_path())?;
        let ca_key = KeyPair::from_pem(&String::from_utf8_lossy(&ca_key))
            .map_err(|_| Error::new(format!("{} holds no key", self.ca_key_path().display())))?;
        let ca_params = authority_params(&ca_key);
        let issuer = Issuer::from_params(&ca_params, &ca_key);
        let key = KeyPair::generate().map_err(Error::making)?;
        let mut params = CertificateParams::new(names).map_err(Error::making)?;
        let name = names.first().map_or("localhost", String::as_str);
        // A common name is at most 64 characters long (RFC 5280, A.1); clients read the
        // alternative names instead.
        let name = if name.len() <= 64 { name } else { "pillarbox" };
        params.distinguished_name = Default::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_validity(&mut params, now, CERTIFICATE_DAYS.days());
        let certificate = params.signed_by(&key, &issuer).map_err(Error::making)?;
        // The key file holds the certificate too: both change in one rename.
        let both = key.serialize_pem() + &certificate.pem();
        write_atomically(&self.key_path(), both.as_bytes(), 0o600)?;
        write_atomically(
            &self.certificate_path(),
            certificate.pem().as_bytes(),
            0o644,
        )
    }

    /// Whether a client that trusts the authority would accept the certificate under every
    /// name, now and in 30 days.
    fn holds(&self, names: &[String], now: Timestamp) -> bool {
        let read = |path: &Path| {
            let pem = read_limited(path).ok()?;
            CertificateDer::from_pem_slice(&pem).ok()
        };
        let (Some(ca), Some(leaf)) = (read(&self.ca_path()), read(&self.key_path())) else {
            return false;
        };
        let mut roots = RootCertStore::empty();
        if roots.add(ca).is_err() {
            return false;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let Ok(verifier) = verifier.build() else {
            return false;
        };
        let now = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0));
        let accepted = |name: &String, at: Duration| {
            let Ok(name) = ServerName::try_from(name.as_str()) else {
                return false;
            };
            let at = UnixTime::since_unix_epoch(at);
            verifier
                .verify_server_cert(&leaf, &[], &name, &[], at)
                .is_ok()
        };
        names
            .iter()
            .all(|name| accepted(name, now) && accepted(name, now + RENEW_BEFORE))
    }
}

/// The same for the same key, so that a certificate can be signed from the key alone.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let digest = ring::digest::digest(&ring::digest::SHA256, key.public_key_raw());
    let mark: String = digest
        .as_ref()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // Two authorities must not share a name: clients would mix them up.
    let name = format!("pillarbox local CA {mark}");
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What the certificate must cover: the hosts, and this machine by its usual names.
fn names(hosts: &[String]) -> Vec<String> {
    let hosts = hosts.iter();
    let hosts = hosts.map(|it| idna::domain_to_ascii(it).unwrap_or_default());
    let usual = ["localhost", "127.0.0.1", "::1"].map(str::to_string);
    let mut names = Vec::new();
    for name in hosts.chain(usual) {
        if ServerName::try_from(name.as_str()).is_ok() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, span: Span) {
    let today = now.to_zoned(TimeZone::UTC).date();
    let from = today.saturating_sub(BACKDATE_DAYS.days());
    let to = today.saturating_add(span);
    let part = |n: i8| u8::try_from(n).unwrap_or(1);
    let ymd = |date: Date| (date.year().into(), part(date.month()), part(date.day()));
    let (year, month, day) = ymd(from);
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = ymd(to);
    params.not_after = rcgen::date_time_ymd(year, month, day);
}

/// Reads a file of at most [`MAX_PEM`] bytes.
pub fn read_limited(path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let open = File::open(path).map_err(|error| Error::file("read", path, &error))?;
    let mut bytes = Vec::new();
    open.take(MAX_PEM + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::file("read", path, &error))?;
    if bytes.len() as u64 > MAX_PEM {
        return Err(Error::new(format!("{} is over 1 MiB", path.display())));
    }
    Ok(bytes)
}

/// Puts a file in place whole or not at all, on disk when it returns.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    write_owned(path, bytes, mode, None)
}

/// The same for another user, by user and group number, as far as this one may give it away.
pub fn write_owned(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> Result<(), Error> {
    let written = || {
        let temporary = path.with_extension("new");
        // A leftover of a crash may carry another mode.
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        // By descriptor: whose directory it is may have put a link in its place by now.
        if let Some((user, group)) = owner {
            let _ = fchown(&file, Some(user), Some(group));
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().map_err(|error| Error::file("write", path, &error))
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
