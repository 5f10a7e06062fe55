//! Whose certificate is good enough, for connections that we make: one that the system's
//! authorities vouch for, one that TLSA records name (DANE: RFC 6698, 7671, 7672), or any.

use super::dns::Tlsa;
use super::tls::provider;
use ring::digest;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::sync::Arc;

/// What a server's certificate must be.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Signed, through its chain, by one of these, and in the server's name.
    Roots(Arc<RootCertStore>),
    /// One of these TLSA records holds for it; usages DANE-TA(2) and DANE-EE(3) alone
    /// (RFC 7672, 3.1). The names are those that a certificate below a DANE-TA may have.
    Dane {
        records: Vec<Tlsa>,
        names: Vec<String>,
    },
    /// Encryption alone: against listeners, not against men in the middle (RFC 7435).
    Any,
}

/// Sessions that one configuration remembers; rustls keeps eight of a server at most.
const SESSIONS: usize = 256;
/// For DANE, whose configuration is for one server.
const DANE_SESSIONS: usize = 8;

impl PartialEq for Trust {
    /// Whether what passes by one passes by the other too.
    fn eq(&self, other: &Trust) -> bool {
        match (self, other) {
            (Trust::Any, Trust::Any) => true,
            (Trust::Roots(ours), Trust::Roots(theirs)) => Arc::ptr_eq(ours, theirs),
            (
                Trust::Dane { records, names },
                Trust::Dane {
                    records: theirs,
                    names: others,
                },
            ) => {
                // Their order is the DNS's whim.
                names == others
                    && records.len() == theirs.len()
                    && records.iter().all(|it| theirs.contains(it))
                    && theirs.iter().all(|it| records.contains(it))
            }
            _ => false,
        }
    }
}

const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;

/// Whether it is a record that we can hold a certificate to (RFC 7672, 2.2, 3.1).
pub fn is_usable(record: &Tlsa) -> bool {
    let length = match record.matching {
        0 => !record.data.is_empty(),
        1 => record.data.len() == 32,
        2 => record.data.len() == 64,
        _ => false,
    };
    matches!(record.usage, DANE_TA | DANE_EE) && record.selector <= 1 && length
}

impl Trust {
    /// What a connection with it is made by.
    pub fn config(self) -> Result<ClientConfig, Error> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let sessions = match self {
            Trust::Dane { .. } => DANE_SESSIONS,
            _ => SESSIONS,
        };
        let verifier = Verifier {
            trust: self,
            provider: provider(),
        };
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(sessions);
        Ok(config)
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Any => {}
            Trust::Roots(roots) => {
                self.signed(leaf, chain, roots, now)?;
                verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
            }
            Trust::Dane { records, names } => self.dane(records, names, leaf, chain, now)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl Verifier {
    fn signed(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        roots: &RootCertStore,
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let leaf = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, roots, chain, now, algorithms)
    }

    fn dane(
        &self,
        records: &[Tlsa],
        names: &[String],
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let of = |usage| {
            records
                .iter()
                .filter(move |it| it.usage == usage && is_usable(it))
        };
        // Neither name nor dates count: the record says all that there is to say (RFC 7672, 3.1.1).
        if of(DANE_EE).any(|record| matches(record, leaf)) {
            return Ok(());
        }
        let mut why = CertificateError::ApplicationVerificationFailure.into();
        for anchor in chain {
            if !of(DANE_TA).any(|record| matches(record, anchor)) {
                continue;
            }
            let mut roots = RootCertStore::empty();
            let held = roots
                .add(anchor.clone().into_owned())
                .and_then(|()| self.signed(leaf, chain, &roots, now))
                .and_then(|()| named(leaf, names));
            match held {
                Ok(()) => return Ok(()),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

fn named(leaf: &CertificateDer<'_>, names: &[String]) -> Result<(), Error> {
    let leaf = ParsedCertificate::try_from(leaf)?;
    let mut result = Err(CertificateError::NotValidForName.into());
    for name in names {
        if let Ok(name) = ServerName::try_from(name.as_str()) {
            result = verify_server_name(&leaf, &name);
        }
        if result.is_ok() {
            break;
        }
    }
    result
}

/// RFC 6698, 2.1.2 and 2.1.3.
fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let selected = match record.selector {
        0 => certificate.to_vec(),
        _ => match ParsedCertificate::try_from(certificate) {
            Ok(parsed) => parsed.subject_public_key_info().to_vec(),
            Err(_) => return false,
        },
    };
    match record.matching {
        0 => selected == record.data,
        1 => digest::digest(&digest::SHA256, &selected).as_ref() == record.data,
        2 => digest::digest(&digest::SHA512, &selected).as_ref() == record.data,
        _ => false,
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
