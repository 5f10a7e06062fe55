//! Secrets and what is kept to verify them. Pure but for the random source.

use std::fmt;
use zeroize::Zeroize;

/// A value that must not reach a log, an error text or a debug print. Wiped when dropped.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The one way to the value; keep what it returns as short as can be.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Secret<T> {
        Secret(self.0.clone())
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A password as the store keeps it: an argon2id verifier and SCRAM-SHA-256 keys, made
/// together from the password and useless to log in with elsewhere. `encode`d into one row.
#[derive(Clone)]
pub struct Credential {
    /// PHC string of argon2id.
    pub verifier: String,
    pub scram: ScramKeys,
}

/// What RFC 5802 has a server keep (SCRAM-SHA-256 of RFC 7677).
#[derive(Clone)]
pub struct ScramKeys {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[credential]")
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[scram keys]")
    }
}
