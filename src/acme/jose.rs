//! The account's key and what it signs: JSON Web Signatures by ES256 (RFC 7515, 7518; RFC
//! 8555, 6.2).

use super::json::quote;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

/// An account's key.
pub struct Key {
    pair: EcdsaKeyPair,
    pkcs8: Secret<Vec<u8>>,
}

/// How the authority knows who signs (RFC 8555, 6.2).
pub enum Signer<'a> {
    /// By the key itself: before there is an account.
    Key,
    /// By the account's URL.
    Account(&'a str),
}

impl Key {
    /// The error is a sentence.
    pub fn generate() -> Result<Key, String> {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let made = made.map_err(|_| "a key can't be made: no random numbers")?;
        Key::read(made.as_ref()).ok_or_else(|| "a key that was made can't be read".into())
    }

    /// From [`Key::pkcs8`].
    pub fn read(pkcs8: &[u8]) -> Option<Key> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random);
        Some(Key {
            pair: pair.ok()?,
            pkcs8: Secret::new(pkcs8.to_vec()),
        })
    }

    pub fn pkcs8(&self) -> &Secret<Vec<u8>> {
        &self.pkcs8
    }

    /// The public key (RFC 7518, 6.2), its members in the order of RFC 7638, 3.
    fn jwk(&self) -> String {
        // 4, then both coordinates of 32 octets (SEC 1, 2.3.3).
        let point = self.pair.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| base64(point.get(range).unwrap_or_default());
        let (x, y) = (part(1..33), part(33..65));
        format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
    }

    /// What answers a challenge (RFC 8555, 8.1).
    pub fn authorization(&self, token: &str) -> String {
        let thumbprint = digest(&SHA256, self.jwk().as_bytes());
        format!("{token}.{}", base64(thumbprint.as_ref()))
    }

    /// A request's body; an empty payload makes it POST-as-GET (RFC 8555, 6.3). The error is a
    /// sentence.
    pub fn sign(
        &self,
        signer: Signer<'_>,
        url: &str,
        nonce: &str,
        payload: &str,
    ) -> Result<String, String> {
        let who = match signer {
            Signer::Key => format!(r#""jwk":{}"#, self.jwk()),
            Signer::Account(account) => format!(r#""kid":{}"#, quote(account)),
        };
        let (nonce, url) = (quote(nonce), quote(url));
        let protected = format!(r#"{{"alg":"ES256",{who},"nonce":{nonce},"url":{url}}}"#);
        let (protected, payload) = (base64(protected.as_bytes()), base64(payload.as_bytes()));
        let input = format!("{protected}.{payload}");
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes());
        let signature = signature.map_err(|_| "nothing can be signed: no random numbers")?;
        let signature = base64(signature.as_ref());
        Ok(format!(
            r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}"#
        ))
    }
}

/// What stands in the TXT record of DNS-01 (RFC 8555, 8.4).
pub fn dns_value(authorization: &str) -> String {
    base64(digest(&SHA256, authorization.as_bytes()).as_ref())
}

/// Base64url without padding, as all of ACME has it (RFC 8555, 6.1).
pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Of what [`base64`] wrote.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::json::{self, Value};
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn decode(text: &str) -> Vec<u8> {
        super::decode(text).unwrap()
    }

    #[test]
    fn what_is_signed_can_be_checked_by_the_key_that_it_shows() {
        let key = Key::generate().unwrap();
        let key = Key::read(key.pkcs8().reveal()).unwrap();
        let body = key
            .sign(Signer::Key, "https://ca.test/x", "n\"1", "{}")
            .unwrap();
        let body = json::read(&body).unwrap();
        let part = |name: &str| body.text(name).unwrap().to_string();
        let protected = String::from_utf8(decode(&part("protected"))).unwrap();
        let protected = json::read(&protected).unwrap();
        assert_eq!(protected.text("nonce"), Some("n\"1"));
        assert_eq!(protected.text("alg"), Some("ES256"));
        assert_eq!(protected.text("url"), Some("https://ca.test/x"));
        let jwk = protected.get("jwk").unwrap();
        let mut point = vec![4];
        point.extend(decode(jwk.text("x").unwrap()));
        point.extend(decode(jwk.text("y").unwrap()));
        let input = format!("{}.{}", part("protected"), part("payload"));
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(input.as_bytes(), &decode(&part("signature")))
            .unwrap();
        assert_eq!(decode(&part("payload")), b"{}");
        let known = key
            .sign(Signer::Account("https://ca.test/a"), "u", "n", "")
            .unwrap();
        let known = json::read(&known).unwrap();
        assert_eq!(known.get("payload"), Some(&Value::Text(String::new())));
    }

    #[test]
    fn challenges_are_answered_by_token_and_thumbprint() {
        let key = Key::generate().unwrap();
        let answer = key.authorization("token");
        let (token, thumbprint) = answer.split_once('.').unwrap();
        assert_eq!((token, decode(thumbprint).len()), ("token", 32));
        assert_eq!(decode(&dns_value(&answer)).len(), 32);
        assert!(Key::read(b"no key").is_none());
    }
}
