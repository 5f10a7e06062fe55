//! SCRAM's messages and proofs (RFC 5802).

use super::{BASE64, may_act_as, prepare};
use crate::secret::ScramKeys;
use base64::Engine;
use ring::{digest, hmac};
use subtle::ConstantTimeEq;

/// `gs2-header client-first-message-bare` (RFC 5802, 7):
/// `("n" / "y" / "p=" cb-name) "," ["a=" saslname] "," "n=" saslname "," "r=" c-nonce
/// ["," extensions]`.
pub struct ClientFirst {
    /// What stands before the first comma.
    pub flag: String,
    pub gs2_header: String,
    pub bare: String,
    pub login: String,
    pub nonce: String,
}

impl ClientFirst {
    /// Refuses `m=`: no extension is known.
    pub fn parse(message: &str) -> Option<ClientFirst> {
        let (flag, rest) = message.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        let mut attributes = bare.split(',');
        let login = sasl_name(attributes.next()?.strip_prefix("n=")?)?;
        let login = prepare(&login).into_owned();
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|b| b.is_ascii_graphic()) || login.is_empty() {
            return None;
        }
        let authzid = match authzid.strip_prefix("a=") {
            Some(name) => sasl_name(name)?,
            None if authzid.is_empty() => String::new(),
            None => return None,
        };
        if !may_act_as(&login, &authzid) {
            return None;
        }
        Some(ClientFirst {
            flag: flag.into(),
            gs2_header: message.get(..message.len() - bare.len())?.into(),
            bare: bare.into(),
            login,
            nonce: nonce.into(),
        })
    }
}

/// `saslname`: a comma is written `=2C`, an equals sign `=3D`, and `=` means nothing else.
fn sasl_name(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next()?);
    for part in parts {
        let (c, rest) = match part.get(..2)? {
            "2C" => (',', part.get(2..)?),
            "3D" => ('=', part.get(2..)?),
            _ => return None,
        };
        name.push(c);
        name.push_str(rest);
    }
    Some(name)
}

/// `client-final-message = "c=" base64 "," "r=" nonce ["," extensions] "," "p=" base64`.
pub struct ClientFinal<'a> {
    pub channel_binding: Vec<u8>,
    pub nonce: &'a str,
    pub without_proof: &'a str,
    pub proof: [u8; 32],
}

impl ClientFinal<'_> {
    pub fn parse(message: &str) -> Option<ClientFinal<'_>> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let channel_binding = attributes.next()?.strip_prefix("c=")?;
        Some(ClientFinal {
            channel_binding: BASE64.decode(channel_binding).ok()?,
            nonce: attributes.next()?.strip_prefix("r=")?,
            without_proof,
            proof: BASE64.decode(proof).ok()?.try_into().ok()?,
        })
    }
}

/// `H(ClientProof XOR HMAC(StoredKey, AuthMessage)) = StoredKey`, compared in constant time.
pub fn proves(keys: &ScramKeys, signed: &str, proof: &[u8; 32]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &keys.stored_key);
    let mut client_key = *proof;
    for (byte, mask) in client_key
        .iter_mut()
        .zip(hmac::sign(&key, signed.as_bytes()).as_ref())
    {
        *byte ^= mask;
    }
    let hash = digest::digest(&digest::SHA256, &client_key);
    hash.as_ref().ct_eq(&keys.stored_key).into()
}

/// `"v=" base64(HMAC(ServerKey, AuthMessage))`: proves the server to the client.
pub fn server_signature(keys: &ScramKeys, signed: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &keys.server_key);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("v={}", BASE64.encode(signature)).into_bytes()
}
