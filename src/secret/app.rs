//! App passwords: made by the server, shown once.

use super::{PasswordError, SCRAM_ITERATIONS, ScramKeys, Secret, bytes_32, random};
use ring::hmac;
use subtle::ConstantTimeEq;

/// Letters of an app password: none that are taken for another; a power of two.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
/// Letters of one: 120 bits.
const APP_LETTERS: usize = 24;
/// Letters between two hyphens.
const APP_GROUP: usize = 4;

/// What is kept of an app password: so long a random secret needs no slow hash.
pub struct AppSecret;

impl AppSecret {
    /// A new one, `abcd-efgh-…`, with what is kept of it: a tag under the site key, and SCRAM
    /// keys. Takes milliseconds: not on the executor.
    pub fn create(site: &[u8; 32]) -> Result<(Secret<String>, [u8; 32], ScramKeys), PasswordError> {
        let bytes = Secret::new(random::<APP_LETTERS>()?.to_vec());
        let mut text = String::with_capacity(APP_LETTERS + APP_LETTERS / APP_GROUP);
        for (n, byte) in bytes.reveal().iter().enumerate() {
            if n > 0 && n % APP_GROUP == 0 {
                text.push('-');
            }
            let letter = LETTERS.get(usize::from(byte % 32)).copied();
            text.push(char::from(letter.unwrap_or(b'a')));
        }
        let text = Secret::new(text);
        let scram = ScramKeys::derive(&text, random::<16>()?.to_vec(), SCRAM_ITERATIONS);
        let tag = AppSecret::tag(site, &text).ok_or(PasswordError::NoRandom)?;
        Ok((text, tag, scram))
    }

    /// The tag of what was typed, in any case, with hyphens and spaces or without; `None` if it
    /// can't be an app password.
    pub fn tag(site: &[u8; 32], typed: &Secret<String>) -> Option<[u8; 32]> {
        let mut letters = Secret::new(Vec::with_capacity(APP_LETTERS));
        for byte in typed.reveal().bytes().filter(|it| !b"- ".contains(it)) {
            let letter = byte.to_ascii_lowercase();
            if !LETTERS.contains(&letter) || letters.reveal().len() >= APP_LETTERS {
                return None;
            }
            letters.0.push(letter);
        }
        if letters.reveal().len() < APP_LETTERS {
            return None;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, site);
        let mut context = hmac::Context::with_key(&key);
        context.update(b"app password\0");
        context.update(letters.reveal());
        Some(bytes_32(context.sign().as_ref()))
    }

    /// Compares in constant time.
    pub fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
        one.ct_eq(other).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_however_it_is_typed_and_no_other_is() -> Result<(), PasswordError> {
        let site = [7; 32];
        let (secret, tag, scram) = AppSecret::create(&site)?;
        let text = secret.reveal().clone();
        assert_eq!(text.len(), 29);
        assert_eq!(text.matches('-').count(), 5);
        let tag_of = |text: String| AppSecret::tag(&site, &Secret::new(text));
        for typed in [
            text.clone(),
            text.to_uppercase(),
            text.replace('-', ""),
            text.replace('-', " "),
        ] {
            assert!(tag_of(typed).is_some_and(|it| AppSecret::is_same(&it, &tag)));
        }
        let (other, ..) = AppSecret::create(&site)?;
        assert!(!tag_of(other.reveal().clone()).is_some_and(|it| AppSecret::is_same(&it, &tag)));
        let elsewhere = AppSecret::tag(&[8; 32], &secret);
        assert!(!elsewhere.is_some_and(|it| AppSecret::is_same(&it, &tag)));
        for no in [
            String::new(),
            "correct horse".into(),
            format!("{text}a"),
            text[..28].into(),
            text.replace('-', "0"),
        ] {
            assert_eq!(tag_of(no), None);
        }
        assert_eq!(scram.iterations, SCRAM_ITERATIONS.get());
        Ok(())
    }
}
