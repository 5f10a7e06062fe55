//! A password that was typed, as it waits for the end of the wizard: what verifies it, and no
//! more than the store will have. So a card that is taken out half-way gives no password away.

use crate::secret::{Credential, ScramKeys};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How it begins, and no password that is typed is taken for one: those are always sealed.
pub const MARK: &str = "$argon2id$";

/// `VERIFIER:ITERATIONS:SALT:STORED:SERVER`, the last three in base64.
pub fn write(credential: &Credential) -> String {
    let scram = &credential.scram;
    let [salt, stored, server] =
        [scram.salt.as_slice(), &scram.stored_key, &scram.server_key].map(|it| STANDARD.encode(it));
    let (verifier, iterations) = (&credential.verifier, scram.iterations);
    format!("{verifier}:{iterations}:{salt}:{stored}:{server}")
}

pub fn read(text: &str) -> Option<Credential> {
    let mut parts = text.strip_prefix(MARK).map(|_| text.split(':'))?;
    let verifier = parts.next()?.to_string();
    let iterations = parts.next()?.parse().ok().filter(|it| *it > 0)?;
    let mut bytes = || STANDARD.decode(parts.next()?).ok();
    let scram = ScramKeys {
        salt: bytes()?,
        iterations,
        stored_key: bytes()?.try_into().ok()?,
        server_key: bytes()?.try_into().ok()?,
    };
    Some(Credential { verifier, scram })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_sealed_password_verifies_and_nothing_else_is_one() {
        let password = Secret::new("correct horse".to_string());
        let sealed = write(&Credential::create(&password).unwrap());
        let credential = read(&sealed).unwrap();
        assert!(credential.verify(&password));
        assert_eq!(write(&credential), sealed);
        for text in [
            "",
            "correct horse",
            "$argon2id$",
            "$argon2id$v=19:0:AA==:AA==:AA==",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        let cut = sealed.rsplit_once(':').unwrap().0;
        assert!(read(cut).is_none());
    }
}
