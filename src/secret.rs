//! Secrets, and what is kept to verify them. Pure but for the random source.

mod app;

pub use app::AppSecret;

use argon2::password_hash::{Output, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use memmap2::MmapMut;
use ring::{digest, hmac, pbkdf2, rand, rand::SecureRandom};
use std::fmt;
use std::num::NonZeroU32;
use zeroize::Zeroize;

/// argon2id memory, KiB. 7 MiB with five passes is as strong as 19 MiB with two (OWASP's
/// equivalents), and two verifications at once still fit beside a 50 MB message in 32 MB.
pub const ARGON2_MEMORY: u32 = 7 * 1024;
/// argon2id passes over that memory.
pub const ARGON2_PASSES: u32 = 5;
/// PBKDF2 rounds of the SCRAM keys; RFC 7677 asks for 4,096 at least. The client pays them.
pub const SCRAM_ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).expect("not zero");
/// Shortest password that an account may have, characters.
pub const MIN_PASSWORD: usize = 8;
/// Longest password, bytes.
pub const MAX_PASSWORD: usize = 1024;

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

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Secret<T> {
        Secret(value)
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

/// Why a password can't be taken, in a sentence for the person who chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    TooShort,
    TooLong,
    /// NUL or another control character, which some mail programs can't send.
    Control,
    /// The system's random source failed.
    NoRandom,
    /// The system has no [`ARGON2_MEMORY`] to give.
    NoMemory,
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordError::TooShort => {
                write!(f, "a password needs at least {MIN_PASSWORD} characters")
            }
            PasswordError::TooLong => write!(f, "a password has at most {MAX_PASSWORD} bytes"),
            PasswordError::Control => write!(f, "a password can't have control characters"),
            PasswordError::NoRandom => write!(f, "the system gives no random numbers; try again"),
            PasswordError::NoMemory => write!(f, "the system gives no memory; try again"),
        }
    }
}

impl std::error::Error for PasswordError {}

/// A password as the store keeps it: an argon2id verifier and SCRAM-SHA-256 keys, made
/// together from the password, and useless to log in with elsewhere.
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

impl Credential {
    /// Takes tens of milliseconds on a PC, hundreds on a small board, and
    /// [`ARGON2_MEMORY`]: never call it on the executor.
    pub fn create(password: &Secret<String>) -> Result<Credential, PasswordError> {
        let prepared = acceptable(password)?;
        Ok(Credential {
            verifier: phc(&prepared)?,
            scram: ScramKeys::derive(&prepared, random::<16>()?.to_vec(), SCRAM_ITERATIONS),
        })
    }

    /// Costs as much as [`Credential::create`], whatever the outcome.
    pub fn verify(&self, password: &Secret<String>) -> bool {
        verifies(&self.verifier, password)
    }

    /// Verifies against nothing at the full cost, so that an unknown name takes as long as a
    /// wrong password.
    pub fn verify_nothing(password: &Secret<String>) {
        const NOBODY: &str = "bm9ib2R5J3Mgc2FsdCBpcw";
        let prepared = prepare(password.reveal());
        let salt = Salt::from_b64(NOBODY).ok();
        std::hint::black_box(salt.and_then(|salt| argon2id(&prepared, salt, &params())));
    }
}

/// An argon2id verifier alone, as a PHC string: for a password by which nobody logs in with
/// SASL. As costly as [`Credential::create`].
pub fn verifier(password: &Secret<String>) -> Result<String, PasswordError> {
    phc(&acceptable(password)?)
}

/// Whether the password is the one that [`verifier`] was made of; as costly.
pub fn verifies(verifier: &str, password: &Secret<String>) -> bool {
    let prepared = prepare(password.reveal());
    let right = || {
        let known = PasswordHash::new(verifier).ok()?;
        let params = Params::try_from(&known).ok()?;
        let found = argon2id(&prepared, known.salt?, &params)?;
        // Compares in constant time.
        Some(known.hash? == found)
    };
    right().unwrap_or(false)
}

/// The password, prepared, if people may choose it.
fn acceptable(password: &Secret<String>) -> Result<Secret<String>, PasswordError> {
    let text = password.reveal();
    if text.chars().count() < MIN_PASSWORD {
        return Err(PasswordError::TooShort);
    }
    if text.len() > MAX_PASSWORD {
        return Err(PasswordError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(PasswordError::Control);
    }
    Ok(prepare(text))
}

fn phc(prepared: &Secret<String>) -> Result<String, PasswordError> {
    let salt = SaltString::encode_b64(&random::<16>()?).map_err(|_| PasswordError::NoRandom)?;
    let params = params();
    let hash = argon2id(prepared, salt.as_salt(), &params);
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: (&params).try_into().map_err(|_| PasswordError::NoMemory)?,
        salt: Some(salt.as_salt()),
        hash: Some(hash.ok_or(PasswordError::NoMemory)?),
    };
    Ok(hash.to_string())
}

impl ScramKeys {
    fn derive(password: &Secret<String>, salt: Vec<u8>, iterations: NonZeroU32) -> ScramKeys {
        let mut salted = [0; 32];
        let password = password.reveal().as_bytes();
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            &salt,
            password,
            &mut salted,
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        let keys = ScramKeys {
            salt,
            iterations: iterations.get(),
            stored_key: bytes_32(digest::digest(&digest::SHA256, client_key.as_ref()).as_ref()),
            server_key: bytes_32(hmac::sign(&key, b"Server Key").as_ref()),
        };
        salted.zeroize();
        keys
    }

    /// Keys that no password fits, always the same for one name, so that SCRAM does not
    /// tell which names exist (RFC 5802, 9).
    pub fn nobody(name: &str, site: &[u8; 32]) -> ScramKeys {
        let key = hmac::Key::new(hmac::HMAC_SHA256, site);
        let part = |label: &str| {
            bytes_32(hmac::sign(&key, format!("{label}\0{name}").as_bytes()).as_ref())
        };
        ScramKeys {
            salt: part("salt").iter().take(16).copied().collect(),
            iterations: SCRAM_ITERATIONS.get(),
            stored_key: part("stored"),
            server_key: part("server"),
        }
    }
}

/// Fresh bytes from the system's random source.
pub fn random<const N: usize>() -> Result<[u8; N], PasswordError> {
    let mut bytes = [0; N];
    rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| PasswordError::NoRandom)?;
    Ok(bytes)
}

/// SASLprep (RFC 4013); what it forbids is used as it is, the same way each time.
fn prepare(password: &str) -> Secret<String> {
    Secret::new(
        stringprep::saslprep(password)
            .map_or_else(|_| password.to_owned(), |text| text.into_owned()),
    )
}

fn params() -> Params {
    Params::new(ARGON2_MEMORY, ARGON2_PASSES, 1, Some(32)).unwrap_or_default()
}

/// The memory is the system's for as long as it takes: out of the heap, it would stay with
/// the process.
fn argon2id(password: &Secret<String>, salt: Salt<'_>, params: &Params) -> Option<Output> {
    let mut bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes).ok()?;
    let mut memory = MmapMut::map_anon(params.block_count() * Block::SIZE).ok()?;
    // SAFETY: a Block is an array of integers, for which all bytes are right, aligned as
    // `align_to_mut` sees to.
    let (_, blocks, _) = unsafe { memory.align_to_mut::<Block>() };
    Output::init_with(params.output_len().unwrap_or(32), |output| {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let password = password.reveal().as_bytes();
        Ok(argon2.hash_password_into_with_memory(password, salt, output, blocks)?)
    })
    .ok()
}

/// SHA-256 output is 32 bytes long; a shorter slice would be padded with zeros.
fn bytes_32(slice: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes
        .iter_mut()
        .zip(slice)
        .for_each(|(to, from)| *to = *from);
    bytes
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

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.into())
    }

    #[test]
    fn a_password_verifies_and_another_does_not() -> Result<(), PasswordError> {
        let credential = Credential::create(&secret("correct horse"))?;
        assert!(credential.verify(&secret("correct horse")));
        assert!(!credential.verify(&secret("correct horsf")));
        assert!(!credential.verify(&secret("")));
        assert!(
            credential
                .verifier
                .starts_with("$argon2id$v=19$m=7168,t=5,p=1$")
        );
        Ok(())
    }

    /// The crate's own way, with its own memory, comes to the same.
    #[test]
    fn a_verifier_is_any_argon2s() -> Result<(), PasswordError> {
        use argon2::password_hash::{PasswordHasher, PasswordVerifier};
        let theirs = Argon2::new(Algorithm::Argon2id, Version::V0x13, params());
        let ours = Credential::create(&secret("correct horse"))?;
        let known = PasswordHash::new(&ours.verifier).unwrap();
        assert!(theirs.verify_password(b"correct horse", &known).is_ok());
        let salt = SaltString::encode_b64(b"sixteen bytes of").unwrap();
        let verifier = theirs.hash_password(b"correct horse", &salt).unwrap();
        let other = Credential {
            verifier: verifier.to_string(),
            ..ours
        };
        assert!(other.verify(&secret("correct horse")));
        assert!(!other.verify(&secret("correct hors")));
        Ok(())
    }

    #[test]
    fn bad_passwords_are_refused() {
        let refusal = |text: &str| Credential::create(&secret(text)).err();
        assert_eq!(refusal("seven77"), Some(PasswordError::TooShort));
        assert_eq!(refusal(&"x".repeat(1025)), Some(PasswordError::TooLong));
        assert_eq!(refusal("with\0nul!"), Some(PasswordError::Control));
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn scram_keys_are_those_of_rfc_7677() {
        let salt = [
            0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36,
            0xfa, 0x81,
        ];
        let keys = ScramKeys::derive(
            &secret("pencil"),
            salt.to_vec(),
            NonZeroU32::MIN.saturating_add(4095),
        );
        let auth = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &keys.server_key),
            auth.as_bytes(),
        );
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(signature);
        assert_eq!(text, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn nothing_secret_is_printed() -> Result<(), PasswordError> {
        let credential = Credential::create(&secret("correct horse"))?;
        let text = format!(
            "{credential:?} {:?} {:?}",
            credential.scram,
            secret("correct horse")
        );
        assert_eq!(text, "[credential] [scram keys] [redacted]");
        Ok(())
    }

    #[test]
    fn nobody_has_steady_keys() {
        let (a, b) = (
            ScramKeys::nobody("eve", &[7; 32]),
            ScramKeys::nobody("eve", &[7; 32]),
        );
        assert_eq!((a.salt.clone(), a.stored_key), (b.salt, b.stored_key));
        assert_ne!(a.salt, ScramKeys::nobody("mallory", &[7; 32]).salt);
    }
}
