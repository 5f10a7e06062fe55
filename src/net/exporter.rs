//! What binds a login to its TLS connection: `tls-exporter` (RFC 9266).
//!
//! rustls has no exporter for connections without its own buffers. It does hand out the secret
//! that TLS 1.3's is made from, so the last step (RFC 8446, 7.5) is made here.

use ring::hmac;
use ring::{digest, hmac::Algorithm};
use rustls::KeyLog;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroize;

/// The channel binding's bytes.
pub type Binding = [u8; 32];

const LABEL: &str = "EXPORTER-Channel-Binding";

/// Keeps one connection's exporter secret until it is asked for.
#[derive(Default)]
pub struct Exporter(Mutex<Vec<u8>>);

impl Exporter {
    /// The binding, once; `None` under TLS 1.2, whose exporter is bound to the connection
    /// only with an extension that says so (RFC 9266, 4.2).
    pub fn take(&self) -> Option<Binding> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut secret = std::mem::take(&mut *kept);
        let binding = binding(&secret);
        secret.zeroize();
        binding
    }
}

impl KeyLog for Exporter {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if self.will_log(label) {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.zeroize();
            kept.extend_from_slice(secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == "EXPORTER_SECRET"
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[exporter]")
    }
}

/// `TLS-Exporter(LABEL, "", 32)`: the hash is that of the cipher suite, told by the secret's
/// length.
fn binding(secret: &[u8]) -> Option<Binding> {
    let (hash, mac) = match secret.len() {
        32 => (&digest::SHA256, hmac::HMAC_SHA256),
        48 => (&digest::SHA384, hmac::HMAC_SHA384),
        _ => return None,
    };
    let nothing = digest::digest(hash, b"");
    let mut derived = expand(mac, secret, LABEL, nothing.as_ref(), secret.len());
    let bytes = expand(mac, &derived, "exporter", nothing.as_ref(), 32);
    derived.zeroize();
    bytes.try_into().ok()
}

/// `HKDF-Expand-Label` (RFC 8446, 7.1), of one block at most.
fn expand(mac: Algorithm, secret: &[u8], label: &str, context: &[u8], length: usize) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let mut info = (length as u16).to_be_bytes().to_vec();
    for part in [label.as_bytes(), context] {
        info.push(part.len() as u8);
        info.extend_from_slice(part);
    }
    info.push(1);
    let block = hmac::sign(&hmac::Key::new(mac, secret), &info);
    block.as_ref().get(..length).unwrap_or_default().to_vec()
}
