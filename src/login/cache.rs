//! Passwords verified lately, as keyed hashes in memory alone, so that a client that polls
//! each minute costs an HMAC and not argon2 each time.

use crate::mail::AccountId;
use crate::secret::{Credential, Secret};
use ring::hmac;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a verified password is remembered after its last use.
const REMEMBER: Duration = Duration::from_secs(15 * 60);
/// Accounts remembered; past that the stalest goes.
const MAX_ENTRIES: usize = 1024;
/// Bytes of an HMAC-SHA256.
const TAG: usize = 32;

pub struct Cache {
    key: hmac::Key,
    entries: HashMap<AccountId, Entry>,
}

struct Entry {
    /// Over account, stored verifier and password: changing the password ends the entry.
    tag: [u8; TAG],
    used: Instant,
}

impl Cache {
    /// `key` is fresh randomness of this process.
    pub fn new(key: &[u8; 32]) -> Cache {
        Cache {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            entries: HashMap::new(),
        }
    }

    pub fn knows(
        &mut self,
        now: Instant,
        account: AccountId,
        credential: &Credential,
        password: &Secret<String>,
    ) -> bool {
        let message = message(account, credential, password);
        let Some(entry) = self.entries.get_mut(&account) else {
            return false;
        };
        let fresh = now.saturating_duration_since(entry.used) < REMEMBER;
        let known = fresh && hmac::verify(&self.key, message.reveal(), &entry.tag).is_ok();
        if known {
            entry.used = now;
        }
        known
    }

    pub fn remember(
        &mut self,
        now: Instant,
        account: AccountId,
        credential: &Credential,
        password: &Secret<String>,
    ) {
        if self.entries.len() >= MAX_ENTRIES
            && !self.entries.contains_key(&account)
            && let Some(stalest) = self
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(id, _)| *id)
        {
            self.entries.remove(&stalest);
        }
        let signed = hmac::sign(&self.key, message(account, credential, password).reveal());
        let mut tag = [0; TAG];
        tag.iter_mut()
            .zip(signed.as_ref())
            .for_each(|(to, from)| *to = *from);
        self.entries.insert(account, Entry { tag, used: now });
    }
}

fn message(
    account: AccountId,
    credential: &Credential,
    password: &Secret<String>,
) -> Secret<Vec<u8>> {
    let password = password.reveal().as_bytes();
    let mut message = Vec::with_capacity(4 + credential.verifier.len() + 1 + password.len());
    message.extend_from_slice(&account.0.to_be_bytes());
    message.extend_from_slice(credential.verifier.as_bytes());
    message.push(0);
    message.extend_from_slice(password);
    Secret::new(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.into())
    }

    fn credential(verifier: &str) -> Credential {
        let scram = crate::secret::ScramKeys::nobody("", &[0; 32]);
        Credential {
            verifier: verifier.into(),
            scram,
        }
    }

    #[test]
    fn only_the_same_password_of_the_same_account_is_known() {
        let (mut cache, now, old) = (Cache::new(&[1; 32]), Instant::now(), credential("old"));
        let alice = AccountId(1);
        cache.remember(now, alice, &old, &secret("right one"));
        assert!(cache.knows(now, alice, &old, &secret("right one")));
        assert!(!cache.knows(now, alice, &old, &secret("wrong one")));
        assert!(!cache.knows(now, AccountId(2), &old, &secret("right one")));
        assert!(
            !cache.knows(now, alice, &credential("new"), &secret("right one")),
            "a changed password ends it"
        );
    }

    #[test]
    fn it_forgets() {
        let (mut cache, now, old) = (Cache::new(&[1; 32]), Instant::now(), credential("old"));
        cache.remember(now, AccountId(1), &old, &secret("right one"));
        assert!(!cache.knows(now + REMEMBER, AccountId(1), &old, &secret("right one")));
        for n in 0..2 * MAX_ENTRIES as u32 {
            cache.remember(now, AccountId(n), &old, &secret("right one"));
        }
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
    }
}
