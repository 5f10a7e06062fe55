//! The DKIM keys of our domains, as records of the store.
//!
//! A new pair of keys (Ed25519 and RSA) waits until its records are in DNS, signs after
//! `rotate`, and when another takes over its records stay for the mail that is on its way.

use crate::address::Domain;
use crate::authentication::ascii_domain;
use crate::authentication::generate::private_key;
use crate::authentication::key::{Algorithm, SigningKey};
use crate::secret::Secret;
use crate::store::{self, Note, Snapshot, Store};
use crate::task;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::sync::Arc;

/// The kind of their records; a key is `domain selector`.
/// The kind of their records.
pub const KIND: &str = "dkim";
/// Keys of one domain, retired ones included.
const MAX_KEYS: usize = 16;

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be published; signs nothing yet.
    Waiting,
    Signing,
    /// Signs no more; still published.
    Retired,
}

impl State {
    const ALL: [State; 3] = [State::Waiting, State::Signing, State::Retired];

    pub fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Signing => "signing",
            State::Retired => "retired",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A key in the store.
#[derive(Debug)]
pub struct Key {
    /// In A-labels.
    pub domain: String,
    pub selector: String,
    pub algorithm: Algorithm,
    pub state: State,
    private: Secret<Vec<u8>>,
}

impl Key {
    /// `state algorithm base64`
    fn value(&self) -> Vec<u8> {
        let private = STANDARD.encode(self.private.reveal());
        format!("{} {} {private}", self.state, self.algorithm.name()).into_bytes()
    }

    /// The record's name.
    fn name(&self) -> String {
        format!("{} {}", self.domain, self.selector)
    }

    /// `None` if it is no key's record.
    pub fn read(name: &str, value: &[u8]) -> Option<Key> {
        let (domain, selector) = name.split_once(' ')?;
        let mut words = std::str::from_utf8(value).ok()?.splitn(3, ' ');
        let state = words.next()?;
        Some(Key {
            domain: domain.into(),
            selector: selector.into(),
            state: State::ALL.into_iter().find(|it| it.word() == state)?,
            algorithm: Algorithm::parse(words.next()?)?,
            private: Secret::new(STANDARD.decode(words.next()?).ok()?),
        })
    }

    /// `None` if what is stored is no key.
    pub fn signer(&self) -> Option<SigningKey> {
        let private = self.private.reveal();
        SigningKey::new(&self.domain, &self.selector, self.algorithm, private)
    }
}

/// All keys, or those of one domain, by domain and selector.
pub fn list(snapshot: &Snapshot, domain: Option<&str>) -> store::Result<Vec<Key>> {
    let records = snapshot.records(KIND)?;
    let keys = records.iter().filter_map(|(name, value)| {
        let key = Key::read(name, value);
        if key.is_none() {
            log::error!("the DKIM key {name} can't be read");
        }
        key
    });
    Ok(keys
        .filter(|it| domain.is_none_or(|domain| it.domain == domain))
        .collect())
}

/// What signs, for [`crate::authentication::sign::Signing`]: it picks by the author's domain.
pub fn signers(store: &Store) -> store::Result<Vec<Arc<SigningKey>>> {
    let keys = store.look(|snapshot| list(snapshot, None))?;
    let signing = keys.iter().filter(|it| it.state == State::Signing);
    Ok(signing.filter_map(Key::signer).map(Arc::new).collect())
}

/// Makes a pair of keys: they sign at once if the domain has none that do, so that there is
/// one step less at the start. `day` names them: `20261123`. Takes a second or so.
pub async fn make(store: &Store, domain: &Domain, day: &str) -> Result<Vec<Key>, String> {
    let name = ascii_domain(domain.as_str());
    let name = name.ok_or_else(|| format!("{domain} is no name in DNS"))?;
    let wanted = name.clone();
    let found = store.look(|snapshot| {
        let local = snapshot.is_local_domain(domain)?;
        Ok((local, list(snapshot, Some(&wanted))?))
    });
    let (local, known) = found.map_err(|error| error.to_string())?;
    if !local {
        return Err(format!("no account has an address in {domain}"));
    }
    if known.len() + Algorithm::ALL.len() > MAX_KEYS {
        return Err(format!(
            "{domain} has {} keys; remove retired ones first",
            known.len()
        ));
    }
    let state = match known.iter().any(|it| it.state == State::Signing) {
        true => State::Waiting,
        false => State::Signing,
    };
    let made = pair(&known, &name, state, day).await?;
    for key in &made {
        let put = store.put_record(KIND, &key.name(), key.value()).await;
        put.map_err(|error| error.to_string())?;
    }
    Ok(made)
}

/// What gives a domain its first pair of keys, which signs at once; nothing if it has keys.
pub async fn first_pair(store: &Store, domain: &Domain, day: &str) -> Result<Vec<Note>, String> {
    let name = ascii_domain(domain.as_str());
    let name = name.ok_or_else(|| format!("{domain} is no name in DNS"))?;
    if !of(store, domain)?.is_empty() {
        return Ok(Vec::new());
    }
    let made = pair(&[], &name, State::Signing, day).await?;
    let note = |key: &Key| Note {
        kind: KIND,
        key: key.name(),
        value: Some(key.value()),
    };
    Ok(made.iter().map(note).collect())
}

async fn pair(known: &[Key], name: &str, state: State, day: &str) -> Result<Vec<Key>, String> {
    let mut made = Vec::new();
    for algorithm in Algorithm::ALL {
        let private = task::unblock(move || private_key(algorithm)).await;
        let key = Key {
            domain: name.into(),
            selector: selector(known, algorithm, day),
            algorithm,
            state,
            private: private.ok_or("the system has no random numbers")?,
        };
        made.push(key);
    }
    Ok(made)
}

/// `e20261123`, or with a letter behind it if that is taken.
fn selector(known: &[Key], algorithm: Algorithm, day: &str) -> String {
    let initial = match algorithm {
        Algorithm::Ed25519 => 'e',
        Algorithm::Rsa => 'r',
    };
    let mut name = format!("{initial}{day}");
    while known.iter().any(|it| it.selector == name) {
        name.push('b');
    }
    name
}

/// The keys that wait sign from now on, those that signed are retired. Gives how many of each.
pub async fn rotate(store: &Store, domain: &Domain) -> Result<(usize, usize), String> {
    let mut keys = of(store, domain)?;
    let count = |state: State, keys: &[Key]| keys.iter().filter(|it| it.state == state).count();
    let waiting = count(State::Waiting, &keys);
    if waiting == 0 {
        return Err(format!(
            "no key of {domain} waits; make a pair first: pillarbox dkim make {domain}"
        ));
    }
    let signing = count(State::Signing, &keys);
    // First those that take over: cut between two, there are too many signatures, not none.
    keys.sort_unstable_by_key(|it| it.state == State::Signing);
    for key in &mut keys {
        key.state = match key.state {
            State::Waiting => State::Signing,
            State::Signing | State::Retired => State::Retired,
        };
        let put = store.put_record(KIND, &key.name(), key.value()).await;
        put.map_err(|error| error.to_string())?;
    }
    Ok((waiting, signing))
}

/// Takes a key away for good.
pub async fn remove(store: &Store, domain: &Domain, selector: &str) -> Result<(), String> {
    let keys = of(store, domain)?;
    let key = keys.iter().find(|it| it.selector == selector);
    let key = key.ok_or_else(|| format!("{domain} has no key {selector}"))?;
    let removed = store.remove_record(KIND, &key.name()).await;
    removed.map(|_| ()).map_err(|error| error.to_string())
}

fn of(store: &Store, domain: &Domain) -> Result<Vec<Key>, String> {
    let name = ascii_domain(domain.as_str()).unwrap_or_default();
    let found = store.look(|snapshot| list(snapshot, Some(&name)));
    found.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(selector: &str) -> Key {
        Key {
            domain: "b.test".into(),
            selector: selector.into(),
            algorithm: Algorithm::Rsa,
            state: State::Waiting,
            private: Secret::new(b"private".to_vec()),
        }
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let written = key("r1");
        let read = Key::read(&written.name(), &written.value()).unwrap();
        assert_eq!(
            (read.domain.as_str(), read.selector.as_str()),
            ("b.test", "r1")
        );
        assert_eq!(
            (read.algorithm, read.state),
            (Algorithm::Rsa, State::Waiting)
        );
        assert_eq!(read.private.reveal(), b"private");
        assert!(!format!("{read:?}").contains("private\""));
        for (name, value) in [
            ("b.test", "signing rsa-sha256 AAAA"),
            ("b.test s", "signing rsa-sha1 AAAA"),
            ("b.test s", "other rsa-sha256 AAAA"),
            ("b.test s", "signing rsa-sha256 ="),
            ("b.test s", ""),
        ] {
            assert!(
                Key::read(name, value.as_bytes()).is_none(),
                "{name} {value}"
            );
        }
    }

    #[test]
    fn selectors_of_one_day_differ() {
        let known = [key("r20260102"), key("r20260102b")];
        assert_eq!(selector(&known, Algorithm::Rsa, "20260102"), "r20260102bb");
        assert_eq!(
            selector(&known, Algorithm::Ed25519, "20260102"),
            "e20260102"
        );
    }
}
