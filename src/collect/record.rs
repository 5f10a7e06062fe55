//! A collector, and how it does, as the store's records have them. The number that names a
//! collector is its key.

use super::collector::{After, Collector, Protocol, Security};
use crate::mail::{AccountId, MailboxName};
use crate::secret::Secret;
use crate::store::codec::{Reader, put, put_bytes, put_signed};
use crate::store::{Error, Note, Result, Snapshot, Store};

/// Kinds of record.
pub const COLLECTOR: &str = "collector";
const STATUS: &str = "collector-status";
/// Pages of memory, see [`super::memory`]; the key is the number, a dash, and the page.
pub(super) const MEMORY: &str = "collected";

/// Collectors of a server.
pub const MAX_COLLECTORS: usize = 100;
/// Longest error that is kept, characters.
const MAX_ERROR: usize = 400;

/// Names a collector; not used again while anything is remembered under it.
pub type Number = u32;

/// How a collector does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Messages taken so far.
    pub taken: u64,
    /// When all was fetched for the last time, or 0; seconds since 1970. Kept to
    /// [`super::KEEP_SUCCESS`].
    pub success: i64,
    /// When it failed first since then, or 0.
    pub failing_since: i64,
    /// Why, in a sentence; empty if it does not fail.
    pub error: String,
    /// Messages that are too large, or were not given, and stay at the provider.
    pub left: u64,
}

impl Status {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.taken);
        put_signed(&mut out, self.success);
        put_signed(&mut out, self.failing_since);
        let error: String = self.error.chars().take(MAX_ERROR).collect();
        put_bytes(&mut out, error.as_bytes());
        put(&mut out, self.left);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Status> {
        let row = &mut Reader(bytes);
        Ok(Status {
            taken: row.take()?,
            success: row.take_signed()?,
            failing_since: row.take_signed()?,
            error: row.take_str()?.to_owned(),
            left: row.take()?,
        })
    }

    pub(super) fn note(&self, number: Number) -> Note {
        Note {
            kind: STATUS,
            key: number.to_string(),
            value: Some(self.encode()),
        }
    }
}

impl Collector {
    pub fn encode(&self) -> Secret<Vec<u8>> {
        let mut out = Vec::new();
        put(&mut out, u64::from(self.account.0));
        put(&mut out, u64::from(self.port));
        put(&mut out, u64::from(self.every));
        put(&mut out, u64::from(self.paused));
        put(&mut out, self.asked);
        let (protocol, security, after) = (
            self.protocol.to_string(),
            self.security.to_string(),
            self.after.to_string(),
        );
        for text in [
            &protocol,
            &security,
            &after,
            &self.host,
            &self.user,
            self.password.reveal(),
            &self.folder,
            self.into.as_str(),
            self.ca.as_deref().unwrap_or_default(),
        ] {
            put_bytes(&mut out, text.as_bytes());
        }
        Secret::new(out)
    }

    fn decode(bytes: &[u8]) -> Result<Collector> {
        let row = &mut Reader(bytes);
        let wrong = || Error::Corrupt("a collector".into());
        let account = AccountId(row.take_u32()?);
        let port = u16::try_from(row.take()?).map_err(|_| wrong())?;
        let every = row.take_u32()?;
        let paused = row.take()? != 0;
        let asked = row.take()?;
        Ok(Collector {
            account,
            port,
            every,
            paused,
            asked,
            protocol: Protocol::parse(row.take_str()?).map_err(|_| wrong())?,
            security: Security::parse(row.take_str()?).map_err(|_| wrong())?,
            after: After::parse(row.take_str()?).map_err(|_| wrong())?,
            host: row.take_str()?.to_owned(),
            user: row.take_str()?.to_owned(),
            password: Secret::new(row.take_str()?.to_owned()),
            folder: row.take_str()?.to_owned(),
            into: MailboxName::parse(row.take_str()?).map_err(|_| wrong())?,
            ca: Some(row.take_str()?.to_owned()).filter(|path| !path.is_empty()),
        })
    }
}

/// Whether it is a collector's record.
pub fn is_readable(record: &[u8]) -> bool {
    Collector::decode(record).is_ok()
}

/// Every collector, by number.
pub fn all(snapshot: &Snapshot) -> Result<Vec<(Number, Collector)>> {
    let mut found = Vec::new();
    for (key, value) in snapshot.records(COLLECTOR)? {
        let value = Secret::new(value);
        let number = key
            .parse()
            .map_err(|_| Error::Corrupt("a collector's number".into()))?;
        found.push((number, Collector::decode(value.reveal())?));
    }
    found.sort_unstable_by_key(|(number, _)| *number);
    Ok(found)
}

/// How that one does.
pub fn status(snapshot: &Snapshot, number: Number) -> Result<Status> {
    match snapshot.record(STATUS, &number.to_string())? {
        Some(row) => Status::decode(&row),
        None => Ok(Status::default()),
    }
}

/// Adds a collector and gives its number.
pub async fn add(store: &Store, collector: &Collector) -> Result<Number> {
    let (count, last) = store.look(|snapshot| {
        let mut last = 0;
        // What another one remembered may still be there.
        for kind in [COLLECTOR, STATUS, MEMORY] {
            let keys = snapshot.record_keys(kind)?;
            last = keys
                .iter()
                .filter_map(|key| owner(key))
                .fold(last, Number::max);
        }
        Ok((snapshot.record_keys(COLLECTOR)?.len(), last))
    })?;
    if count >= MAX_COLLECTORS {
        return Err(Error::Limit("collectors"));
    }
    let number = last.saturating_add(1);
    replace(store, number, collector).await?;
    Ok(number)
}

/// Puts a collector in the place of the one with that number.
pub async fn replace(store: &Store, number: Number, collector: &Collector) -> Result<()> {
    let row = collector.encode().reveal().clone();
    let key = number.to_string();
    store.put_record(COLLECTOR, &key, row).await
}

/// Forgets a collector; what it remembers goes once it has stopped, see [`sweep`].
pub async fn remove(store: &Store, number: Number) -> Result<bool> {
    store.remove_record(COLLECTOR, &number.to_string()).await
}

/// Takes away status and memory of collectors that are no more; none of them may run.
pub(super) async fn sweep(store: &Store) -> Result<()> {
    let notes = store.look(|snapshot| {
        let there: Vec<_> = all(snapshot)?.iter().map(|it| Some(it.0)).collect();
        let mut notes = Vec::new();
        for kind in [STATUS, MEMORY] {
            for key in snapshot.record_keys(kind)? {
                if !there.contains(&owner(&key)) {
                    let value = None;
                    notes.push(Note { kind, key, value });
                }
            }
        }
        Ok(notes)
    })?;
    match notes.is_empty() {
        true => Ok(()),
        false => store.note(notes).await,
    }
}

/// The number in a key.
fn owner(key: &str) -> Option<Number> {
    key.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_comes_back() {
        let collector = Collector {
            account: AccountId(7),
            protocol: Protocol::Pop3,
            host: "pop.example.net".into(),
            port: 1995,
            security: Security::StartTls,
            ca: Some("/etc/ca.pem".into()),
            user: "anna".into(),
            password: Secret::new("hush, hush".into()),
            folder: "INBOX".into(),
            into: MailboxName::parse("Büro/Post").unwrap(),
            after: After::Move("a:b".into()),
            every: 77,
            paused: true,
            asked: 3,
        };
        let row = collector.encode();
        let again = Collector::decode(row.reveal()).unwrap();
        assert_eq!(again.encode().reveal(), row.reveal());
        assert_eq!(again.after, collector.after);
        for end in 0..row.reveal().len() {
            assert!(Collector::decode(&row.reveal()[..end]).is_err());
        }
        let status = Status {
            taken: 5,
            success: -1,
            failing_since: 9,
            error: "no".into(),
            left: 2,
        };
        assert_eq!(Status::decode(&status.encode()), Ok(status));
    }
}
