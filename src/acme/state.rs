//! What outlives a restart, as records of the store: the account's key, the order that is
//! under way, and how the last tries went; and when the next may be. Pure but for the two
//! functions that read and write.

use super::Failure;
use super::alarm::Level;
use super::jose::{Key, base64, decode};
use crate::secret::Secret;
use crate::store::{Note, Store};
use jiff::{SignedDuration, Timestamp};
use std::fmt::Write;

/// The kind of the records, and their keys.
const KIND: &str = "acme";
const ACCOUNT: &str = "account";
const ORDER: &str = "order";
const TRIES: &str = "tries";
const DIRECTORY: &str = "directory";

/// Orders in any hour, renewals and those by hand included. Let's Encrypt allows five failed
/// validations of a name an hour, and blocks who goes on.
pub const MAX_TRIES: usize = 5;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// The pause after a failure; each further one doubles it.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// The same, where the authority was not there at all: at a start the network may come late.
const UNREACHED_PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// No pause is that long: the clock was ahead when it began.
const ABSURD_PAUSE: SignedDuration = SignedDuration::from_hours(8 * 24);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// Longest explanation that is kept, characters.
const MAX_ERROR: usize = 2000;

/// How the last tries went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// In a row.
    pub failures: u32,
    /// The last failure; empty after a success.
    pub error: String,
    /// No order of itself before that.
    pub next: Timestamp,
    /// When orders began, the last [`MAX_TRIES`].
    pub begun: Vec<Timestamp>,
    /// Of the certificate that ends then, people were told this much.
    pub told: Option<(Timestamp, Level)>,
    /// Whether people were told that orders fail.
    pub told_of_failures: bool,
}

impl Tries {
    /// The first moment at which the hour has room for an order.
    pub fn room(&self, now: Timestamp) -> Timestamp {
        // A clock that was ahead must not stop us.
        let last = self.begun.iter().rev().take(MAX_TRIES);
        let recent: Vec<Timestamp> = last.filter(|it| **it <= now).copied().collect();
        match recent.last().filter(|_| recent.len() >= MAX_TRIES) {
            Some(oldest) => oldest.saturating_add(HOUR).unwrap_or(now),
            None => now,
        }
    }

    /// When the pause after a failure is over.
    pub fn rested(&self, now: Timestamp) -> Timestamp {
        match self.next.duration_since(now) > ABSURD_PAUSE {
            true => now,
            false => self.next,
        }
    }

    /// An order begins.
    pub fn begin(&mut self, now: Timestamp) {
        self.begun.retain(|it| *it <= now);
        self.begun.push(now);
        let surplus = self.begun.len().saturating_sub(MAX_TRIES);
        self.begun.drain(..surplus);
    }

    /// It failed. `luck` spreads the next tries of many servers over a quarter of the pause.
    pub fn fail(&mut self, now: Timestamp, failure: &Failure, luck: u8) {
        let first = match failure.reached {
            true => FIRST_PAUSE,
            false => UNREACHED_PAUSE,
        };
        let asked = failure.wait.and_then(|it| it.try_into().ok());
        let asked = asked.unwrap_or(SignedDuration::ZERO);
        let doubled = first.checked_mul(1 << self.failures.min(12));
        let pause = doubled.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        let spread = pause.checked_mul(i32::from(luck)).unwrap_or_default() / (4 * 255);
        let pause = pause.saturating_add(spread).max(asked);
        self.next = now.saturating_add(pause).unwrap_or(now);
        self.failures = self.failures.saturating_add(1);
        self.error = failure.why.chars().take(MAX_ERROR).collect();
    }

    /// It went well.
    pub fn succeed(&mut self) {
        *self = Tries {
            begun: std::mem::take(&mut self.begun),
            ..Tries::default()
        };
    }

    fn write(&self) -> String {
        let mut text = format!("failures {}\nnext {}\n", self.failures, self.next);
        for begun in &self.begun {
            let _ = writeln!(text, "begun {begun}");
        }
        if let Some((ends, level)) = &self.told {
            let _ = writeln!(text, "told {ends} {}", level.number());
        }
        if self.told_of_failures {
            text += "told-of-failures\n";
        }
        text + "error " + &self.error.replace('\n', " ")
    }

    fn read(text: &str) -> Tries {
        let mut tries = Tries::default();
        for line in text.lines() {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            match name {
                "failures" => tries.failures = value.parse().unwrap_or(0),
                "next" => tries.next = value.parse().unwrap_or_default(),
                "begun" if tries.begun.len() < MAX_TRIES => {
                    tries.begun.extend(value.parse::<Timestamp>().ok())
                }
                "told" => tries.told = told(value),
                "told-of-failures" => tries.told_of_failures = true,
                "error" => tries.error = value.into(),
                _ => {}
            }
        }
        tries
    }
}

fn told(value: &str) -> Option<(Timestamp, Level)> {
    let (ends, level) = value.split_once(' ')?;
    let level = Level::of(level.parse().ok()?)?;
    Some((ends.parse().ok()?, level))
}

/// When a certificate is renewed: with a third of its life left.
pub fn renewal(begins: Timestamp, ends: Timestamp) -> Timestamp {
    let life = ends.duration_since(begins);
    ends.saturating_sub(life / 3).unwrap_or(ends)
}

/// An order that is under way.
#[derive(Clone, Debug)]
pub struct Pending {
    pub url: String,
    pub directory: String,
    pub names: Vec<String>,
    /// The certificate's key, PEM.
    pub key: Secret<String>,
}

impl Pending {
    fn write(&self) -> Vec<u8> {
        let (names, key) = (self.names.join(" "), self.key.reveal());
        format!("{}\n{}\n{names}\n{key}", self.url, self.directory).into_bytes()
    }

    fn read(text: &str) -> Option<Pending> {
        let mut lines = text.splitn(4, '\n').map(str::to_owned);
        Some(Pending {
            url: lines.next()?,
            directory: lines.next()?,
            names: lines.next()?.split(' ').map(str::to_owned).collect(),
            key: Secret::new(lines.next()?),
        })
    }
}

fn record(store: &Store, key: &str) -> Result<Option<String>, String> {
    let row = store.look(|snapshot| snapshot.record(KIND, key));
    let row = row.map_err(|error| error.to_string())?;
    Ok(row.and_then(|row| String::from_utf8(row).ok()))
}

/// May go into the store's reserve: a certificate must not end because mail fills the disk.
async fn put(store: &Store, key: &str, value: Vec<u8>) -> Result<(), String> {
    let note = Note {
        kind: KIND,
        key: key.into(),
        value: Some(value),
    };
    let put = store.note(vec![note]).await;
    put.map_err(|error| error.to_string())
}

pub fn tries(store: &Store) -> Result<Tries, String> {
    Ok(record(store, TRIES)?.map_or_else(Tries::default, |it| Tries::read(&it)))
}

pub async fn keep_tries(store: &Store, tries: &Tries) -> Result<(), String> {
    put(store, TRIES, tries.write().into_bytes()).await
}

pub fn pending(store: &Store) -> Result<Option<Pending>, String> {
    Ok(record(store, ORDER)?.and_then(|it| Pending::read(&it)))
}

/// `None`: there is none any more.
pub async fn keep_pending(store: &Store, pending: Option<&Pending>) -> Result<(), String> {
    match pending {
        Some(pending) => put(store, ORDER, pending.write()).await,
        None => {
            let gone = store.remove_record(KIND, ORDER).await;
            gone.map(drop).map_err(|error| error.to_string())
        }
    }
}

/// The directory of the authority that gave the certificate; none is known of one from before
/// this was kept.
pub fn directory(store: &Store) -> Result<Option<String>, String> {
    record(store, DIRECTORY)
}

pub async fn keep_directory(store: &Store, directory: &str) -> Result<(), String> {
    put(store, DIRECTORY, directory.as_bytes().to_vec()).await
}

/// The key of the account there, made if there is none: another authority gets another.
pub async fn account(store: &Store, directory: &str) -> Result<Key, String> {
    let kept = record(store, &format!("{ACCOUNT} {directory}"))?;
    let kept = kept.and_then(|it| decode(&it));
    if let Some(key) = kept.and_then(|it| Key::read(&it)) {
        return Ok(key);
    }
    let key = Key::generate()?;
    let value = base64(key.pkcs8().reveal()).into_bytes();
    put(store, &format!("{ACCOUNT} {directory}"), value).await?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;
    use std::time::Duration;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn pauses_double_up_to_a_day_and_the_authority_may_ask_for_more() {
        let now = at("2026-11-23T12:00:00Z");
        let mut tries = Tries::default();
        let mut pause = |luck, asked: u64| {
            let wait = (asked > 0).then(|| Duration::from_secs(asked * 60));
            let failure = Failure {
                wait,
                ..Failure::new("no")
            };
            tries.fail(now, &failure, luck);
            assert_eq!(tries.rested(now), tries.next);
            // A clock that was set back by a year does not stop us.
            let before = now - SignedDuration::from_hours(365 * 24);
            assert_eq!(tries.rested(before), before);
            tries.next.duration_since(now).as_mins()
        };
        let pauses: Vec<i64> = (0..9).map(|_| pause(0, 0)).collect();
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
        assert_eq!(pause(255, 0), 1440 + 360);
        assert_eq!(pause(0, 3000), 3000);
        for _ in 0..100 {
            assert_eq!(pause(0, 0), 1440);
        }
        tries.succeed();
        let failure = Failure {
            reached: false,
            ..Failure::new("no")
        };
        tries.fail(now, &failure, 0);
        assert_eq!(tries.next, at("2026-11-23T12:01:00Z"));
        tries.succeed();
        assert_eq!((tries.failures, tries.error.as_str()), (0, ""));
    }

    #[test]
    fn an_hour_has_room_for_five_orders() {
        let now = at("2026-11-23T12:00:00Z");
        let mut tries = Tries::default();
        for minute in 0..5 {
            let then = now - SignedDuration::from_mins(50 - minute);
            assert_eq!(tries.room(then), then);
            tries.begin(then);
        }
        assert_eq!(tries.room(now), at("2026-11-23T12:10:00Z"));
        let later = at("2026-11-23T12:11:00Z");
        assert!(tries.room(later) <= later);
        // A clock that was set back has seen nothing yet.
        let before = at("2026-11-22T12:00:00Z");
        assert_eq!(tries.room(before), before);
        tries.begin(before);
        assert_eq!(tries.begun, [before]);
    }

    #[test]
    fn a_third_of_its_life_is_left_at_the_renewal() {
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-04-01T00:00:00Z"));
        assert_eq!(renewal(from, to), at("2026-03-02T00:00:00Z"));
        assert_eq!(renewal(to, from), at("2026-01-31T00:00:00Z"));
    }

    #[test]
    fn all_of_it_is_in_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        smol::block_on(async {
            assert_eq!(tries(&store), Ok(Tries::default()));
            let mut some = Tries::default();
            some.begin(at("2026-11-23T12:00:00Z"));
            some.fail(at("2026-11-23T12:00:09Z"), &Failure::new("a\nb"), 9);
            some.told = Some((at("2026-12-01T00:00:00Z"), Level::Last));
            some.told_of_failures = true;
            keep_tries(&store, &some).await.unwrap();
            some.error = "a b".into();
            assert_eq!(tries(&store), Ok(some));
            let order = Pending {
                url: "https://ca.test/1".into(),
                directory: "https://ca.test".into(),
                names: vec!["a.test".into(), "b.test".into()],
                key: Secret::new("-----\nx\n".into()),
            };
            keep_pending(&store, Some(&order)).await.unwrap();
            assert_eq!(
                pending(&store).unwrap().map(|it| it.write()),
                Some(order.write())
            );
            keep_pending(&store, None).await.unwrap();
            assert!(pending(&store).unwrap().is_none());
            let thumb = |key: Key| key.authorization("t");
            let first = thumb(account(&store, "https://a/").await.unwrap());
            assert_eq!(thumb(account(&store, "https://a/").await.unwrap()), first);
            assert_ne!(thumb(account(&store, "https://b/").await.unwrap()), first);
        });
    }
}
