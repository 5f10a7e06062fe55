//! Who may log in: verification off the executor and at most a few at a time, a short
//! cache so that polling clients don't pay argon2 each time, back-off by source and name.

mod backoff;
mod cache;
pub mod sessions;

use crate::address::Address;
use crate::mail::certificate::Certificate;
use crate::mail::{Account, is_reserved};
use crate::net::source::Source;
use crate::sasl::{Ask, Denial, Verdict};
use crate::secret::{Credential, PasswordError, ScramKeys, Secret, random};
use crate::store::{self, Home, Store};
use crate::task;
use async_lock::Semaphore;
use backoff::Backoff;
use cache::Cache;
use sessions::Sessions;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Passwords verified at once: each takes [`crate::secret::ARGON2_MEMORY`].
const VERIFICATIONS: usize = 2;
/// Logins that may wait for a verification; past that they are told to come back.
const MAX_WAITING: usize = 64;
/// Logins that back-off may hold at once.
const MAX_HELD: usize = 256;

/// The login service, one a process.
pub struct Login {
    store: Store,
    pub sessions: Arc<Sessions>,
    verifications: Semaphore,
    waiting: AtomicUsize,
    held: AtomicUsize,
    cache: Mutex<Cache>,
    backoff: Mutex<Backoff>,
    /// Hashes names for the back-off tables; its keys are this process's own.
    names: RandomState,
}

impl Login {
    pub fn new(store: Store) -> Result<Login, PasswordError> {
        Ok(Login {
            store,
            sessions: Arc::default(),
            verifications: Semaphore::new(VERIFICATIONS),
            waiting: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            cache: Mutex::new(Cache::new(&random()?)),
            backoff: Mutex::default(),
            names: RandomState::new(),
        })
    }

    /// Answers what a SASL exchange asks, in equal time for an unknown name and a wrong password.
    pub async fn answer(&self, source: IpAddr, ask: Ask) -> Verdict {
        let peer = source;
        let source = Source::new(source);
        let answered = match ask {
            Ask::Password { login, password } => self.password(source, &login, password).await,
            Ask::Keys { login } => self.keys(source, &login).await,
            Ask::Proof { login, won } => self.proof(source, &login, won).await,
            Ask::Certificate {
                certificate,
                acting_as,
            } => self.certificate(&certificate, &acting_as),
        };
        match &answered {
            Ok(Verdict::Granted(account)) => log::info!("login: {} from {peer}", account.address),
            // Without the name: people type their password into the wrong field.
            Err(Denial::Credentials) => log::info!("login: refused from {peer}"),
            _ => {}
        }
        answered.unwrap_or_else(Verdict::Denied)
    }

    async fn password(
        &self,
        source: Source,
        login: &str,
        password: Secret<String>,
    ) -> Result<Verdict, Denial> {
        self.hold(source, login).await?;
        let found = self.find(login)?;
        if let Some(account) = self.cached(&found, &password) {
            return Ok(self.granted(source, login, account));
        }
        let _waiting = Counted::enter(&self.waiting, MAX_WAITING)?;
        let _permit = self.verifications.acquire().await;
        // A mail program opens several connections at once: the first has paid for the others.
        if let Some(account) = self.cached(&found, &password) {
            return Ok(self.granted(source, login, account));
        }
        let checked = found.as_ref().map(|(_, credential)| credential.clone());
        let (password, right) = task::unblock(move || {
            let right = match checked {
                Some(credential) => credential.verify(&password),
                None => {
                    Credential::verify_nothing(&password);
                    false
                }
            };
            (password, right)
        })
        .await;
        match found {
            Some((account, credential)) if right => {
                lock(&self.cache).remember(Instant::now(), account.id, &credential, &password);
                Ok(self.granted(source, login, account))
            }
            _ => Err(self.denied(source, login)),
        }
    }

    fn cached(
        &self,
        found: &Option<(Account, Credential)>,
        password: &Secret<String>,
    ) -> Option<Account> {
        let (account, credential) = found.as_ref()?;
        lock(&self.cache)
            .knows(Instant::now(), account.id, credential, password)
            .then(|| account.clone())
    }

    async fn keys(&self, source: Source, login: &str) -> Result<Verdict, Denial> {
        self.hold(source, login).await?;
        let found = self.find(login)?;
        let site = self
            .store
            .read(|snapshot| snapshot.site_key())
            .await
            .map_err(unavailable)?;
        let keys = found.map_or_else(
            || ScramKeys::nobody(&fold(login), site.reveal()),
            |(_, credential)| credential.scram,
        );
        Ok(Verdict::Keys(keys))
    }

    async fn proof(&self, source: Source, login: &str, won: bool) -> Result<Verdict, Denial> {
        match self.find(login)? {
            Some((account, _)) if won => Ok(self.granted(source, login, account)),
            _ => Err(self.denied(source, login)),
        }
    }

    /// The handshake has proved that the client has the certificate's key.
    fn certificate(&self, shown: &Certificate, acting_as: &str) -> Result<Verdict, Denial> {
        let found = self.store.look(|snapshot| {
            let Some(account) = snapshot.account_by_certificate(&shown.fingerprint)? else {
                return Ok(None);
            };
            // Nobody acts for another, by whichever of the account's names it is called.
            let meant = match acting_as {
                "" => true,
                name if is_nobody(name) => false,
                name => {
                    let named = snapshot.account_by_login(name)?;
                    named.is_some_and(|it| it.id == account.id)
                }
            };
            let own = account.address.to_string();
            let here = snapshot.home_of_login(&own)?.is_none();
            Ok((meant && here).then_some(account))
        });
        let account = found.map_err(unavailable)?.ok_or(Denial::Credentials)?;
        match shown.is_valid(unix_now()) {
            true => Ok(Verdict::Granted(account)),
            false => Err(Denial::Expired),
        }
    }

    /// What the client has shown, if an account has that.
    pub fn known(&self, shown: Option<Certificate>) -> Option<Certificate> {
        let shown = shown?;
        let found = self
            .store
            .look(|snapshot| snapshot.account_by_certificate(&shown.fingerprint));
        match found {
            Ok(account) => account.map(|_| shown),
            Err(error) => {
                unavailable(error);
                None
            }
        }
    }

    /// Where the mailbox is of who logs in, if on another server: the login is checked there.
    pub fn home(&self, ask: &Ask) -> Result<Option<Home>, Denial> {
        let (Ask::Password { login, .. } | Ask::Keys { login } | Ask::Proof { login, .. }) = ask
        else {
            return Ok(None);
        };
        if is_nobody(login) {
            return Ok(None);
        }
        let found = self.store.look(|snapshot| snapshot.home_of_login(login));
        found.map_err(unavailable)
    }

    /// Waits as long as back-off says, before a home server is asked.
    pub async fn hold_elsewhere(&self, source: IpAddr, login: &str) -> Result<(), Denial> {
        self.hold(Source::new(source), login).await
    }

    /// Counts what a home server has said of a login.
    pub fn counted_elsewhere(&self, source: IpAddr, login: &str, right: bool) {
        let (now, source, name) = (Instant::now(), Source::new(source), self.name(login));
        let mut backoff = lock(&self.backoff);
        match right {
            true => backoff.succeeded(now, source, name),
            false => backoff.failed(now, source, name),
        }
    }

    /// Nobody whose mailbox is on another server, and no reserved name, can log in by what is known here.
    fn find(&self, login: &str) -> Result<Option<(Account, Credential)>, Denial> {
        let found = self.store.look(|snapshot| {
            if is_nobody(login) || snapshot.home_of_login(login)?.is_some() {
                return Ok(None);
            }
            let Some(account) = snapshot.account_by_login(login)? else {
                return Ok(None);
            };
            let credential = snapshot.credential(account.id)?;
            Ok::<_, store::Error>(credential.map(|credential| (account, credential)))
        });
        found.map_err(unavailable)
    }

    /// Waits as long as back-off says.
    async fn hold(&self, source: Source, login: &str) -> Result<(), Denial> {
        let wait = lock(&self.backoff).wait(Instant::now(), source, self.name(login));
        if wait > Duration::ZERO {
            let _held = Counted::enter(&self.held, MAX_HELD)?;
            async_io::Timer::after(wait).await;
        }
        Ok(())
    }

    fn granted(&self, source: Source, login: &str, account: Account) -> Verdict {
        lock(&self.backoff).succeeded(Instant::now(), source, self.name(login));
        Verdict::Granted(account)
    }

    fn denied(&self, source: Source, login: &str) -> Denial {
        lock(&self.backoff).failed(Instant::now(), source, self.name(login));
        Denial::Credentials
    }

    fn name(&self, login: &str) -> u64 {
        self.names.hash_one(fold(login))
    }
}

fn unavailable(error: store::Error) -> Denial {
    log::error!("login: the store can't be read: {error}");
    Denial::Unavailable
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |it| it.as_secs() as i64)
}

fn fold(login: &str) -> String {
    login.trim().to_lowercase()
}

/// Whether the name is the administrator's or another that is no person's: nobody logs in by
/// it, not even where it is an alias.
fn is_nobody(login: &str) -> bool {
    match Address::parse(login) {
        Ok(address) => is_reserved(address.local()),
        Err(_) => is_reserved(login),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place among a limited number, given back when dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn enter(count: &'a AtomicUsize, limit: usize) -> Result<Counted<'a>, Denial> {
        let place = Counted(count);
        match count.fetch_add(1, Ordering::Relaxed) < limit {
            true => Ok(place),
            false => Err(Denial::Wait),
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
