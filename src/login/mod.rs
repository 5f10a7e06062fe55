//! Who may log in: verification off the executor and at most a few at a time, a short
//! cache so that polling clients don't pay argon2 each time, back-off by source and name.

mod backoff;
mod cache;
mod known;
pub mod sessions;

use crate::address::Address;
use crate::mail::certificate::{Certificate, Fingerprint};
use crate::mail::{Account, AccountId, Standing, is_reserved};
use crate::net::limit::Presence;
use crate::net::source::{Network, Source};
use crate::sasl::{Ask, Denial, Verdict};
use crate::secret::{AppSecret, Credential, PasswordError, ScramKeys, Secret, random};
use crate::store::{self, AppPassword, Ended, Event, Home, Kind, Store};
use crate::task;
use async_lock::{Semaphore, SemaphoreGuard};
use backoff::{Backoff, Lane};
use cache::Cache;
use known::{Known, PARTS};
use ring::hmac;
use sessions::Sessions;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Passwords verified at once: each takes [`crate::secret::ARGON2_MEMORY`].
const VERIFICATIONS: usize = 2;
/// Of these, of people who come from where they are not known …
const STRANGERS: usize = 1;
/// … and of these, from where a login has failed of late.
const SUSPECTS: usize = 1;
/// Logins of one [`Lane`] that may wait for a verification; past that they are told to come
/// back.
const MAX_WAITING: usize = 256;
/// Logins of one [`Lane`] that back-off may hold at once.
const MAX_HELD: usize = 256;
/// Seconds.
const DAY: i64 = 24 * 3600;
/// Before the number of a part of the places that are known, in the store.
const PLACES: &str = "login places ";

/// The login service, one a process.
pub struct Login {
    store: Store,
    pub sessions: Arc<Sessions>,
    verifications: Semaphore,
    strangers: Semaphore,
    suspects: Semaphore,
    /// By lane.
    waiting: [AtomicUsize; 3],
    held: [AtomicUsize; 3],
    cache: Mutex<Cache>,
    backoff: Mutex<Backoff>,
    known: Mutex<Known>,
    /// Hashes names for these tables: no name stands in them.
    names: hmac::Key,
}

impl Login {
    pub fn new(store: Store) -> Result<Login, PasswordError> {
        let restored = store.look(|snapshot| {
            let mut known = Known::default();
            for part in 0..PARTS {
                let saved = snapshot.remembered(&format!("{PLACES}{part}"))?;
                saved.into_iter().for_each(|it| known.read(&it));
            }
            Ok((snapshot.site_key()?, known))
        });
        let (key, known) = restored.or_else(|error| {
            log::warn!("where people logged in before can't be read: {error}");
            Ok((Secret::new(random()?), Known::default()))
        })?;
        Ok(Login {
            store,
            sessions: Arc::default(),
            verifications: Semaphore::new(VERIFICATIONS),
            strangers: Semaphore::new(STRANGERS),
            suspects: Semaphore::new(SUSPECTS),
            waiting: Default::default(),
            held: Default::default(),
            cache: Mutex::new(Cache::new(&random()?)),
            backoff: Mutex::default(),
            known: Mutex::new(known),
            names: hmac::Key::new(hmac::HMAC_SHA256, key.reveal()),
        })
    }

    /// Saves where people logged in: once a minute, and at the end.
    pub async fn save(&self) {
        let parts = lock(&self.known).unsaved(today());
        if parts.is_empty() {
            return;
        }
        let named = parts.into_iter();
        let values = named.map(|(part, value)| (format!("{PLACES}{part}"), Some(value)));
        if let Err(error) = self.store.remember(values.collect()).await {
            log::warn!("where people logged in can't be saved: {error}");
            lock(&self.known).not_saved();
        }
    }

    /// Whether anybody has logged in from near there of late.
    pub fn knows(&self, peer: IpAddr) -> bool {
        lock(&self.known).knows_network(Network::new(peer), today())
    }

    /// Answers what a SASL exchange asks, in equal time for an unknown name and a wrong password.
    /// What becomes of it goes into the audit log.
    pub async fn answer(&self, client: &Client, ask: Ask) -> Verdict {
        let name = match &ask {
            Ask::Password { login, .. } | Ask::Keys { login } | Ask::Proof { login, .. } => {
                login.clone()
            }
            Ask::Certificate { acting_as, .. } => acting_as.clone(),
        };
        let answered = match ask {
            Ask::Password { login, password } => self.password(client, &login, password).await,
            Ask::Keys { login } => match self.keys(client, &login).await {
                Ok(keys) => return Verdict::Keys(keys),
                Err(denial) => Err(denial),
            },
            Ask::Proof { login, won } => self.proof(client, &login, won).await,
            Ask::Certificate {
                certificate,
                acting_as,
            } => self.certificate(&certificate, &acting_as),
        };
        match answered.and_then(|granted| self.admit(client, granted)) {
            Ok(account) => Verdict::Granted(account),
            Err(denial) => {
                self.note_refusal(client, &name, denial);
                Verdict::Denied(denial)
            }
        }
    }

    /// Lets in who has proved who it is, unless the account is disabled, or what it logged in by
    /// was taken away meanwhile.
    fn admit(&self, client: &Client, granted: Granted) -> Result<Account, Denial> {
        let Granted {
            account,
            means,
            proved,
        } = granted;
        // Before the last look: who takes the login away after that finds the session.
        if let Some(presence) = &client.presence {
            presence
                .owner
                .store(owner(account.id, &means), Ordering::Release);
        }
        let stands = self.store.look(|snapshot| {
            let there = match means.strip_prefix(APP_PASSWORD) {
                Some(name) => {
                    let mut all = snapshot.app_passwords(account.id)?.into_iter();
                    all.any(|it| it.name == name && it.scram.stored_key == proved)
                }
                None if means == CERTIFICATE => {
                    let owner = snapshot.account_by_certificate(&Fingerprint(proved))?;
                    owner.is_some_and(|it| it.id == account.id)
                }
                None => {
                    let now = snapshot.credential(account.id)?;
                    now.is_some_and(|it| it.scram.stored_key == proved)
                }
            };
            Ok((there, snapshot.standing(account.id)?))
        });
        let refused = match stands.map_err(unavailable) {
            Ok((true, Standing::Active)) => {
                let (address, peer) = (account.address.to_string(), client.peer.to_string());
                log::info!("login: {address} from {peer}");
                let event = Event::now(Kind::Login, &address, client.service, &peer, &means);
                self.store.note_login(account.id, event);
                return Ok(account);
            }
            Ok((true, Standing::Disabled { .. })) => Denial::Disabled,
            Ok(_) => Denial::Credentials,
            Err(denial) => denial,
        };
        if let Some(presence) = &client.presence {
            presence.owner.store(0, Ordering::Release);
        }
        Err(refused)
    }

    fn note_refusal(&self, client: &Client, login: &str, denial: Denial) {
        let why = match denial {
            Denial::Credentials => "wrong name or password",
            Denial::Expired => "an expired certificate",
            Denial::Disabled => "the account is disabled",
            _ => return,
        };
        let peer = client.peer;
        // Without the name: people type their password into the wrong field.
        log::info!("login: refused from {peer}");
        let (base, _) = split(login);
        let found = self.store.look(|snapshot| snapshot.account_by_login(base));
        let account = found.ok().flatten();
        let account = account.map_or(String::new(), |it| it.address.to_string());
        let event = Event::now(
            Kind::Refused,
            &account,
            client.service,
            &peer.to_string(),
            why,
        );
        self.store.note_event(event);
    }

    async fn password(
        &self,
        client: &Client,
        login: &str,
        password: Secret<String>,
    ) -> Result<Granted, Denial> {
        let lane = self.hold(client.peer, login).await?;
        let found = self.find(login)?;
        if let Some(granted) = self.by_app_password(client, &found, &password)? {
            return Ok(self.granted(client.peer, login, granted));
        }
        // A device's name with another password is no login.
        let found = found.filter(|it| it.device.is_none());
        if let Some(account) = self.cached(&found, &password) {
            return Ok(self.granted(client.peer, login, account));
        }
        let _waiting = Counted::enter(of_lane(&self.waiting, lane), MAX_WAITING)?;
        let _turn = self.turn(lane).await;
        // A mail program opens several connections at once: the first has paid for the others.
        if let Some(account) = self.cached(&found, &password) {
            return Ok(self.granted(client.peer, login, account));
        }
        let checked = found.as_ref().map(|it| it.credential.clone());
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
            Some(found) if right => {
                let (id, credential) = (found.account.id, &found.credential);
                lock(&self.cache).remember(Instant::now(), id, credential, &password);
                Ok(self.granted(client.peer, login, found.by_password()))
            }
            _ => Err(self.denied(client.peer, login)),
        }
    }

    /// A place to verify a password in: one that guessers can't take is kept for those who are
    /// known, and who has not failed goes before those who have.
    async fn turn(&self, lane: Lane) -> [Option<SemaphoreGuard<'_>>; 3] {
        let suspect = match lane {
            Lane::Suspect => Some(self.suspects.acquire().await),
            Lane::Known | Lane::Fresh => None,
        };
        let stranger = match lane {
            Lane::Suspect | Lane::Fresh => Some(self.strangers.acquire().await),
            Lane::Known => None,
        };
        [suspect, stranger, Some(self.verifications.acquire().await)]
    }

    fn cached(&self, found: &Option<Found>, password: &Secret<String>) -> Option<Granted> {
        let found = found.as_ref()?;
        lock(&self.cache)
            .knows(
                Instant::now(),
                found.account.id,
                &found.credential,
                password,
            )
            .then(|| found.by_password())
    }

    /// What looks like an app password is tried as one first: that costs next to nothing.
    fn by_app_password(
        &self,
        client: &Client,
        found: &Option<Found>,
        password: &Secret<String>,
    ) -> Result<Option<Granted>, Denial> {
        let Some(found) = found.as_ref().filter(|it| !it.apps.is_empty()) else {
            return Ok(None);
        };
        let site = self.store.look(|snapshot| snapshot.site_key());
        let site = site.map_err(unavailable)?;
        let Some(tag) = AppSecret::tag(site.reveal(), password) else {
            return Ok(None);
        };
        let mut right = found.apps.iter().filter(|it| {
            AppSecret::is_same(&it.tag, &tag)
                && it.is_for(client.service)
                && found.device.as_ref().is_none_or(|name| it.is_named(name))
        });
        Ok(right.next().map(|it| found.by_app(it)))
    }

    /// SCRAM has one secret a name: the account's password, or with the device's name behind
    /// the login name its app password (RFC 5802, 5.1).
    async fn keys(&self, client: &Client, login: &str) -> Result<ScramKeys, Denial> {
        self.hold(client.peer, login).await?;
        let found = self.find(login)?;
        let site = self
            .store
            .read(|snapshot| snapshot.site_key())
            .await
            .map_err(unavailable)?;
        let keys = found.and_then(|found| match &found.device {
            None => Some(found.credential.scram),
            Some(name) => {
                let app = found.app(name, client.service);
                app.map(|it| it.scram.clone())
            }
        });
        Ok(keys.unwrap_or_else(|| ScramKeys::nobody(&fold(login), site.reveal())))
    }

    /// `won` has the stored key that the proof was checked by.
    async fn proof(
        &self,
        client: &Client,
        login: &str,
        won: Option<[u8; 32]>,
    ) -> Result<Granted, Denial> {
        let found = self.find(login)?.zip(won);
        let granted = found.and_then(|(found, proved)| {
            let granted = match &found.device {
                Some(name) => found.by_app(found.app(name, client.service)?),
                None => found.by_password(),
            };
            // What was proved, which may be no more.
            Some(Granted { proved, ..granted })
        });
        match granted {
            Some(granted) => Ok(self.granted(client.peer, login, granted)),
            None => Err(self.denied(client.peer, login)),
        }
    }

    /// The handshake has proved that the client has the certificate's key.
    fn certificate(&self, shown: &Certificate, acting_as: &str) -> Result<Granted, Denial> {
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
            true => Ok(Granted {
                account,
                means: CERTIFICATE.into(),
                proved: shown.fingerprint.0,
            }),
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
        self.hold(source, login).await.map(|_| ())
    }

    /// Counts what a home server has said of a login.
    pub fn counted_elsewhere(&self, source: IpAddr, login: &str, right: bool) {
        match right {
            true => self.succeeded(source, login),
            false => drop(self.denied(source, login)),
        }
    }

    /// Nobody whose mailbox is on another server, and no reserved name, can log in by what is known here.
    fn find(&self, login: &str) -> Result<Option<Found>, Denial> {
        let (base, device) = split(login);
        let found = self.store.look(|snapshot| {
            if is_nobody(base) || snapshot.home_of_login(base)?.is_some() {
                return Ok(None);
            }
            let Some(account) = snapshot.account_by_login(base)? else {
                return Ok(None);
            };
            let Some(credential) = snapshot.credential(account.id)? else {
                return Ok(None);
            };
            Ok::<_, store::Error>(Some(Found {
                apps: snapshot.app_passwords(account.id)?,
                account,
                credential,
                device: device.map(str::to_owned),
            }))
        });
        found.map_err(unavailable)
    }

    /// Waits as long as back-off says; gives how the attempt looks.
    async fn hold(&self, peer: IpAddr, login: &str) -> Result<Lane, Denial> {
        let (now, source, name) = (Instant::now(), Source::new(peer), self.name(login));
        let known = lock(&self.known).knows(Network::new(peer), name, today());
        let (lane, wait) = {
            let backoff = lock(&self.backoff);
            let lane = backoff.lane(now, source, name, known);
            (lane, backoff.wait(now, source, name, known))
        };
        if wait > Duration::ZERO {
            let _held = Counted::enter(of_lane(&self.held, lane), MAX_HELD)?;
            async_io::Timer::after(wait).await;
        }
        Ok(lane)
    }

    fn granted(&self, peer: IpAddr, login: &str, granted: Granted) -> Granted {
        self.succeeded(peer, login);
        granted
    }

    fn succeeded(&self, peer: IpAddr, login: &str) {
        let name = self.name(login);
        lock(&self.backoff).succeeded(Source::new(peer), name);
        lock(&self.known).met(Network::new(peer), name, today());
    }

    fn denied(&self, peer: IpAddr, login: &str) -> Denial {
        lock(&self.backoff).failed(Instant::now(), Source::new(peer), self.name(login));
        Denial::Credentials
    }

    fn name(&self, login: &str) -> u64 {
        // Devices' names make no further names to guess for.
        let tag = hmac::sign(&self.names, fold(split(login).0).as_bytes());
        let bytes = tag.as_ref().iter().take(8);
        bytes.fold(0, |all, byte| all << 8 | u64::from(*byte))
    }
}

/// Who asks to log in.
pub struct Client {
    /// `imap`, `pop3` or `submission`.
    pub service: &'static str,
    pub peer: IpAddr,
    /// Of its connection, if that can be ended.
    pub presence: Option<Arc<Presence>>,
}

/// An account, by its login name.
struct Found {
    account: Account,
    credential: Credential,
    apps: Vec<AppPassword>,
    /// The device that the login name names.
    device: Option<String>,
}

/// A login that is proved.
struct Granted {
    account: Account,
    /// By what, as the audit log names it.
    means: String,
    /// The stored key of the password (RFC 5802, 3), new with each, or the certificate's
    /// fingerprint.
    proved: [u8; 32],
}

/// The means of a login by one.
const CERTIFICATE: &str = "certificate";
/// Before the device's name in the means of a login.
const APP_PASSWORD: &str = "app password ";

impl Found {
    fn by_password(&self) -> Granted {
        Granted {
            account: self.account.clone(),
            means: "password".into(),
            proved: self.credential.scram.stored_key,
        }
    }

    fn by_app(&self, app: &AppPassword) -> Granted {
        Granted {
            account: self.account.clone(),
            means: format!("{APP_PASSWORD}{}", app.name),
            proved: app.scram.stored_key,
        }
    }

    fn app(&self, name: &str, service: &str) -> Option<&AppPassword> {
        let mut apps = self.apps.iter();
        apps.find(|it| it.is_named(name) && it.is_for(service))
    }
}

/// `USER@DOMAIN/DEVICE` names an app password: no domain has a slash.
fn split(login: &str) -> (&str, Option<&str>) {
    match login.rsplit_once('/') {
        Some((base, device)) if base.contains('@') => (base, Some(device.trim_end())),
        _ => (login, None),
    }
}

/// Who a connection belongs to: the account in the upper half, what it logged in by below.
fn owner(account: AccountId, means: &str) -> u64 {
    u64::from(account.0) << 32 | u64::from(crc32fast::hash(means.as_bytes()))
}

/// Whether a connection of that owner is to end. Two means of one account may be taken for each
/// other once in billions: its session then logs in again.
pub fn is_ended(owner_of: u64, ended: &Ended) -> bool {
    match &ended.means {
        Some(means) => owner_of == owner(ended.account, means),
        None => owner_of >> 32 == u64::from(ended.account.0),
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

/// Days since 1970.
fn today() -> u32 {
    u32::try_from(unix_now().div_euclid(DAY)).unwrap_or(0)
}

fn of_lane(counts: &[AtomicUsize; 3], lane: Lane) -> &AtomicUsize {
    let [known, fresh, suspect] = counts;
    match lane {
        Lane::Known => known,
        Lane::Fresh => fresh,
        Lane::Suspect => suspect,
    }
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
