//! Keys: those that others publish (RFC 6376, 3.6.1; RFC 8463, 4) and our own.

use super::tags::Tags;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ED25519, Ed25519KeyPair, KeyPair, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use std::fmt;

/// Longest RSA key that is verified with, bits (RFC 8301, 3.2): longer ones only cost time.
const MAX_RSA_BITS: usize = 4096;
/// AlgorithmIdentifier { rsaEncryption, NULL } (RFC 3279, 2.3.1).
pub(super) const RSA_ENCRYPTION: &[u8] =
    b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// SHA-1 is not among them (RFC 8301, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Ed25519,
    Rsa,
}

impl Algorithm {
    pub const ALL: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::Rsa];

    /// As `a=` has it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ed25519-sha256",
            Algorithm::Rsa => "rsa-sha256",
        }
    }

    /// As `k=` has it.
    pub fn key_type(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::Rsa => "rsa",
        }
    }

    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// A key as it is published at `selector._domainkey.domain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// Ed25519: 32 bytes. RSA: RSAPublicKey (RFC 8017, A.1.1).
    bytes: Vec<u8>,
    /// `t=s`: the identity's domain is the signer's, none below it.
    pub strict: bool,
    /// `t=y`: the signer only tries.
    pub testing: bool,
}

/// Why a published key can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    Syntax,
    /// An empty `p=`.
    Revoked,
    /// Not for mail, not for SHA-256, or of a kind that is not known here.
    Unsuitable,
}

impl KeyError {
    pub fn text(self) -> &'static str {
        match self {
            KeyError::Syntax => "the key record is malformed",
            KeyError::Revoked => "the key is revoked",
            KeyError::Unsuitable => "the key is not for this use",
        }
    }
}

impl PublicKey {
    pub fn parse(record: &[u8]) -> Result<PublicKey, KeyError> {
        let tags = Tags::parse(record).ok_or(KeyError::Syntax)?;
        match (tags.get("v"), tags.first()) {
            (None, _) | (Some("DKIM1"), Some(("v", _))) => {}
            _ => return Err(KeyError::Syntax),
        }
        let lists = |name: &str, any: &[&str]| {
            tags.compact(name)
                .is_none_or(|list| list.split(':').any(|it| any.contains(&it)))
        };
        if !lists("h", &["sha256"]) || !lists("s", &["email", "*"]) {
            return Err(KeyError::Unsuitable);
        }
        let algorithm = match tags.get("k").unwrap_or("rsa") {
            "rsa" => Algorithm::Rsa,
            "ed25519" => Algorithm::Ed25519,
            _ => return Err(KeyError::Unsuitable),
        };
        let text = tags.compact("p").ok_or(KeyError::Syntax)?;
        if text.is_empty() {
            return Err(KeyError::Revoked);
        }
        let bytes = STANDARD.decode(text).map_err(|_| KeyError::Syntax)?;
        let bytes = match algorithm {
            Algorithm::Ed25519 if bytes.len() != 32 => return Err(KeyError::Syntax),
            Algorithm::Ed25519 => bytes,
            Algorithm::Rsa => rsa_public_key(bytes)?,
        };
        let flags = tags.compact("t").unwrap_or_default();
        Ok(PublicKey {
            algorithm,
            bytes,
            strict: flags.split(':').any(|it| it == "s"),
            testing: flags.split(':').any(|it| it == "y"),
        })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it has signed `data`, the canonical header.
    pub fn verifies(&self, data: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            // RFC 8463, 3: the hash is what is signed.
            Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.bytes)
                .verify(digest(&SHA256, data).as_ref(), signature)
                .is_ok(),
            // From 1024 bits on (RFC 8301, 3.2).
            Algorithm::Rsa => {
                UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, &self.bytes)
                    .verify(data, signature)
                    .is_ok()
            }
        }
    }
}

/// The RSAPublicKey in a SubjectPublicKeyInfo, or one that stands alone (RFC 6376, errata 3017).
fn rsa_public_key(der: Vec<u8>) -> Result<Vec<u8>, KeyError> {
    if der.len() > MAX_RSA_BITS / 8 + 64 {
        return Err(KeyError::Unsuitable);
    }
    let (content, rest) = der_value(&der, 0x30).ok_or(KeyError::Syntax)?;
    if !rest.is_empty() {
        return Err(KeyError::Syntax);
    }
    match content.strip_prefix(RSA_ENCRYPTION) {
        Some(bits) => {
            let (bits, _) = der_value(bits, 0x03).ok_or(KeyError::Syntax)?;
            let key = bits.strip_prefix(b"\0").ok_or(KeyError::Syntax)?;
            Ok(key.to_vec())
        }
        None => Ok(der),
    }
}

/// The content of the DER value at the front, and what follows it.
fn der_value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => {
            let (length, rest) = rest.split_at_checked(2)?;
            (
                length.iter().fold(0, |all, &b| all << 8 | usize::from(b)),
                rest,
            )
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}

/// A key of ours, with the domain and the selector that it signs for.
pub struct SigningKey {
    /// In A-labels.
    domain: String,
    selector: String,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// Never the key itself.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", self.domain, self.selector)
    }
}

impl SigningKey {
    /// `private` as [`super::generate::private_key`] makes it: Ed25519 in PKCS #8, RSA in
    /// PKCS #1 or #8. `None` if it is neither, or the domain is no name in DNS.
    pub fn new(
        domain: &str,
        selector: &str,
        algorithm: Algorithm,
        private: &[u8],
    ) -> Option<SigningKey> {
        let pair = match algorithm {
            Algorithm::Ed25519 => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(private).ok()?)
            }
            Algorithm::Rsa => {
                let pair = RsaKeyPair::from_der(private);
                Pair::Rsa(Box::new(
                    pair.or_else(|_| RsaKeyPair::from_pkcs8(private)).ok()?,
                ))
            }
        };
        Some(SigningKey {
            domain: super::ascii_domain(domain)?,
            selector: super::ascii_domain(selector)?,
            pair,
        })
    }

    /// In A-labels.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub fn selector(&self) -> &str {
        &self.selector
    }

    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ed25519(_) => Algorithm::Ed25519,
            Pair::Rsa(_) => Algorithm::Rsa,
        }
    }

    /// The TXT record to publish at `selector._domainkey.domain`.
    pub fn record(&self) -> String {
        let public = match &self.pair {
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => super::generate::subject_public_key_info(pair.public().as_ref()),
        };
        let (kind, public) = (self.algorithm().key_type(), STANDARD.encode(public));
        format!("v=DKIM1; k={kind}; p={public}")
    }

    /// `None` only where the system has no randomness.
    pub fn sign(&self, data: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Ed25519(pair) => {
                let hash = digest(&SHA256, data);
                Some(pair.sign(hash.as_ref()).as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    data,
                    &mut signature,
                )
                .ok()?;
                Some(signature)
            }
        }
    }
}
