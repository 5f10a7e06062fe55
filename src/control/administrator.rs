//! Requests about the administrator: an identity of its own, no mailbox. Its password opens the
//! console, and nothing that speaks a mail protocol takes it.

use super::{Reply, settings};
use crate::announce::{self, Announcement};
use crate::secret::{PasswordError, Secret, verifier, verifies};
use crate::settings::Live;
use crate::store::{Note, Store};
use crate::task;
use async_lock::{Mutex, Semaphore};
use std::time::{Duration, Instant};

/// The record: what verifies the password, as an argon2id PHC string.
const KIND: &str = "administrator";
const PASSWORD: &str = "password";

/// Wrong passwords that cost nothing: a person mistypes.
const FREE: u32 = 2;
/// Longest wait before a password is looked at. The right one always works after that.
const MAX_WAIT: Duration = Duration::from_secs(15);
/// The count of wrong ones is halved each time this passes.
const HALF_LIFE: Duration = Duration::from_secs(300);
/// Passwords that are checked or wait for it, one after the other; more are turned away, so
/// that a guesser does not take up the control socket.
const MAX_CHECKS: usize = 3;
/// What a wrong password costs with no server to count them.
const WAIT_ALONE: Duration = Duration::from_secs(2);

/// What the owner asks for.
#[derive(Debug)]
pub enum Administrator {
    /// Sets the password; who may use the control socket may do that.
    Set { password: Secret<String> },
    /// Sets it because it is forgotten: that is told to the administrators by mail. A row of
    /// how many were told.
    Recover { password: Secret<String> },
    /// A row: `right`, `wrong` or `none`, after the wait that earlier wrong ones have earned.
    Check { password: Secret<String> },
    /// A row: `set` or `none`.
    Show,
}

impl Administrator {
    /// The request's words.
    pub fn words(&self) -> Secret<Vec<String>> {
        let with = |verb: &str, password: &Secret<String>| {
            Secret::new(vec![verb.into(), password.reveal().clone()])
        };
        match self {
            Administrator::Set { password } => with("administrator-set", password),
            Administrator::Recover { password } => with("administrator-recover", password),
            Administrator::Check { password } => with("administrator-check", password),
            Administrator::Show => Secret::new(vec!["administrator-show".into()]),
        }
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Administrator, String>> {
        let password = |text: &str| Secret::new(text.to_string());
        Some(Ok(match words {
            ["administrator-set", text] => Administrator::Set {
                password: password(text),
            },
            ["administrator-recover", text] => Administrator::Recover {
                password: password(text),
            },
            ["administrator-check", text] => Administrator::Check {
                password: password(text),
            },
            ["administrator-show"] => Administrator::Show,
            _ => return None,
        }))
    }

    /// For logs.
    pub fn describe(&self) -> String {
        match self {
            Administrator::Set { .. } => "administrator password".into(),
            Administrator::Recover { .. } => "administrator recover".into(),
            Administrator::Check { .. } => "administrator check".into(),
            Administrator::Show => "administrator show".into(),
        }
    }
}

/// What sets the password, for who writes more in the same transaction. Takes as long as
/// [`crate::secret::Credential::create`]: not on the executor.
pub fn administrator_note(password: &Secret<String>) -> Result<Note, PasswordError> {
    Ok(administrator_record(verifier(password)?))
}

/// The same, of what verifies it: an argon2id PHC string.
pub fn administrator_record(verifier: String) -> Note {
    Note {
        kind: KIND,
        key: PASSWORD.into(),
        value: Some(verifier.into_bytes()),
    }
}

/// The wrong passwords of a running server, and who waits because of them.
pub struct Guesses {
    places: Semaphore,
    wrong: Mutex<Wrong>,
}

impl Default for Guesses {
    fn default() -> Guesses {
        Guesses {
            places: Semaphore::new(MAX_CHECKS),
            wrong: Mutex::default(),
        }
    }
}

/// A decaying count.
#[derive(Default)]
struct Wrong {
    count: u32,
    last: Option<Instant>,
}

impl Wrong {
    fn now(&self, now: Instant) -> u32 {
        let since = |last| now.saturating_duration_since(last).as_secs() / HALF_LIFE.as_secs();
        let halvings = self.last.map_or(0, since);
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        self.count.checked_shr(halvings).unwrap_or(0)
    }

    /// Nothing up to [`FREE`], then a second, doubled with each further one.
    fn wait(&self, now: Instant) -> Duration {
        match self.now(now).checked_sub(FREE) {
            None => Duration::ZERO,
            Some(over) => Duration::from_secs(1 << over.min(10)).min(MAX_WAIT),
        }
    }

    fn note(&mut self, now: Instant, right: bool) {
        self.count = match right {
            true => 0,
            false => self.now(now).saturating_add(1),
        };
        self.last = Some(now);
    }
}

/// Errors are sentences for the owner. With a server, `guesses` are what it has counted, and
/// `live` what it runs by.
pub async fn perform(
    store: &Store,
    guesses: Option<&Guesses>,
    live: Option<&Live>,
    request: Administrator,
) -> Reply {
    match request {
        Administrator::Show => Ok(word(match known(store)? {
            Some(_) => "set",
            None => "none",
        })),
        Administrator::Set { password } => {
            set(store, password).await?;
            Ok(Vec::new())
        }
        Administrator::Recover { password } => {
            set(store, password).await?;
            log::warn!("a forgotten administrator's password was replaced at the console");
            Ok(word(&tell(store, live).await?.to_string()))
        }
        Administrator::Check { password } => {
            let Some(verifier) = known(store)? else {
                return Ok(word("none"));
            };
            let right = match guesses {
                Some(guesses) => counted(guesses, verifier, password).await?,
                None => {
                    let right = verify(verifier, password).await;
                    if !right {
                        async_io::Timer::after(WAIT_ALONE).await;
                    }
                    right
                }
            };
            Ok(word(if right { "right" } else { "wrong" }))
        }
    }
}

async fn set(store: &Store, password: Secret<String>) -> Result<(), String> {
    let note = task::unblock(move || administrator_note(&password)).await;
    let note = note.map_err(|error| error.to_string())?;
    let done = store.note(vec![note]).await;
    done.map_err(|error| error.to_string())
}

/// Whoever else runs this server hears that somebody stood at it.
async fn tell(store: &Store, live: Option<&Live>) -> Result<usize, String> {
    let settings = settings::now(store, live)?;
    let host = &settings.hostname;
    let what = Announcement {
        subject: format!("{host}: the administrator's password was replaced"),
        text: format!(
            "The administrator's password of {host} was replaced by a new one at its console,\n\
             as a forgotten one. Whoever did that stood at the machine, or was root on it.\n\n\
             If it was none of you: look who was there, and set another password:\n\n\
             \u{20}   pillarbox administrator password\n\n\
             Пароль администратора {host} заменён новым с консоли машины, как забытый.\n\
             Если это были не вы: выясните, кто это был, и задайте другой пароль.\n"
        ),
    };
    let told = announce::to_owner(store, host, &settings.administrators, what).await;
    told.map_err(|error| format!("the password is set, but nobody could be told: {error}"))
}

/// One at a time: who asks twice at once has no two tries for one wait.
async fn counted(
    guesses: &Guesses,
    verifier: String,
    password: Secret<String>,
) -> Result<bool, String> {
    let Some(_place) = guesses.places.try_acquire() else {
        return Err("other passwords are being checked; try again in a minute".into());
    };
    let mut wrong = guesses.wrong.lock().await;
    let wait = wrong.wait(Instant::now());
    if !wait.is_zero() {
        async_io::Timer::after(wait).await;
    }
    let right = verify(verifier, password).await;
    wrong.note(Instant::now(), right);
    if !right {
        log::warn!("a wrong administrator's password");
    }
    Ok(right)
}

async fn verify(verifier: String, password: Secret<String>) -> bool {
    task::unblock(move || verifies(&verifier, &password)).await
}

pub(super) fn known(store: &Store) -> Result<Option<String>, String> {
    let record = store.look(|snapshot| snapshot.record(KIND, PASSWORD));
    match record.map_err(|error| error.to_string())? {
        Some(bytes) => match String::from_utf8(bytes) {
            Ok(verifier) => Ok(Some(verifier)),
            Err(_) => Err("the administrator's password is damaged; set it anew".into()),
        },
        None => Ok(None),
    }
}

fn word(word: &str) -> Vec<Vec<String>> {
    vec![vec![word.into()]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.into())
    }

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let password = || secret("two words");
        for request in [
            Administrator::Set {
                password: password(),
            },
            Administrator::Recover {
                password: password(),
            },
            Administrator::Check {
                password: password(),
            },
            Administrator::Show,
        ] {
            let words = request.words();
            let words: Vec<&str> = words.reveal().iter().map(String::as_str).collect();
            let read = Administrator::read(&words).unwrap().unwrap();
            assert_eq!(read.words().reveal(), request.words().reveal());
            assert!(!request.describe().contains("two"));
        }
        assert!(Administrator::read(&["administrator-set"]).is_none());
    }

    #[test]
    fn the_right_password_is_right_and_a_new_one_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let guesses = Guesses::default();
        let ask = |request| smol::block_on(perform(&store, Some(&guesses), None, request)).unwrap();
        let check = |text: &str| {
            let password = secret(text);
            ask(Administrator::Check { password })[0][0].clone()
        };
        assert_eq!(ask(Administrator::Show), [["none"]]);
        assert_eq!(check("whatever"), "none");
        for password in ["first of all", "second of all"] {
            let password = secret(password);
            assert!(ask(Administrator::Set { password }).is_empty());
        }
        assert_eq!(ask(Administrator::Show), [["set"]]);
        assert_eq!(check("first of all"), "wrong");
        assert_eq!(check("second of all"), "right");
        let short = Administrator::Set {
            password: secret("short"),
        };
        let refused = smol::block_on(perform(&store, None, None, short));
        assert!(refused.unwrap_err().contains("at least 8"));
    }

    #[test]
    fn waits_grow_to_their_limit_decay_and_end_with_the_right_one() {
        let (mut wrong, now) = (Wrong::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push(wrong.wait(now).as_secs());
            wrong.note(now, false);
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 15, 15]);
        assert_eq!(wrong.wait(now + HALF_LIFE).as_secs(), 4);
        wrong.note(now, true);
        assert_eq!(wrong.wait(now), Duration::ZERO);
    }

    #[test]
    fn a_crowd_of_guessers_is_turned_away() {
        let guesses = Guesses::default();
        let places: Vec<_> = (0..MAX_CHECKS)
            .map(|_| guesses.places.try_acquire().unwrap())
            .collect();
        let turned = smol::block_on(counted(&guesses, String::new(), secret("x")));
        assert!(turned.unwrap_err().contains("try again"));
        drop(places);
    }
}
