//! Certificates that clients show. The handshake proves that the client has the key, and no
//! more: who signed the certificate says nothing here. Whose it is, an account's list of
//! fingerprints tells, at the login (SASL EXTERNAL); whether it has expired too, so that the
//! refusal has words.

use super::authority::read_limited;
use super::tls::{self, provider};
use super::x509::validity;
use crate::mail::certificate::{Certificate, Fingerprint};
use ring::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::path::Path;

/// What there is to know of a certificate in DER; `None` if it is none.
pub fn read(der: &[u8]) -> Option<Certificate> {
    let (from, until) = validity(der)?;
    let hash = digest::digest(&digest::SHA256, der);
    Some(Certificate {
        fingerprint: Fingerprint(hash.as_ref().try_into().ok()?),
        from: from.as_second(),
        until: until.as_second(),
    })
}

/// The first certificate of a PEM file.
pub fn from_file(path: &Path) -> Result<Certificate, tls::Error> {
    let pem = read_limited(path)?;
    let path = path.display();
    let der = CertificateDer::from_pem_slice(&pem)
        .map_err(|_| tls::Error::new(format!("{path} holds no certificate in PEM")))?;
    // A handshake with it would fail.
    let usable = ParsedCertificate::try_from(&der).is_ok();
    let read = read(&der).filter(|_| usable);
    read.ok_or_else(|| tls::Error::new(format!("{path} is no X.509 certificate of version 3")))
}

/// Takes any certificate that can be read, and none.
#[derive(Debug)]
pub struct Any;

impl ClientCertVerifier for Any {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No names: a client picks by them, and any certificate will do.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match read(end_entity) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_file_holds() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["ann".to_string()]).unwrap();
        let path = dir.path().join("ann.pem");
        std::fs::write(&path, made.cert.pem()).unwrap();
        let der = made.cert.der();
        let certificate = read(der).unwrap();
        assert_eq!(from_file(&path), Ok(certificate));
        assert!(certificate.is_valid(1_800_000_000));
        let hash = digest::digest(&digest::SHA256, der);
        assert_eq!(&certificate.fingerprint.0, hash.as_ref());
        for end in [0, 1, 40] {
            assert_eq!(read(&der[..end]), None);
        }
        std::fs::write(&path, "no PEM").unwrap();
        assert!(from_file(&path).is_err());
    }
}
