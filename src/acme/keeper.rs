//! Sees to it that the server has a certificate: reads the files anew, orders by ACME when it
//! is due, and tells people in time.

use super::Failure;
use super::alarm::{self, Level};
use super::client::{Client, Net};
use super::order::{self, Wanted};
use super::state::{self, Pending, Tries};
use crate::announce::{self, Announcement};
use crate::net::authority::{Authority, EARLIEST};
use crate::net::connect::Authorities;
use crate::net::dns::Resolver;
use crate::net::tls::{self, Served, Tls};
use crate::secret::{Secret, random};
use crate::settings::{Live, Settings};
use crate::store::Store;
use async_io::Timer;
use async_lock::Mutex as AsyncMutex;
use event_listener::Event;
use futures_lite::FutureExt;
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the files are read anew, and the local certificate is looked at.
const RELOAD: Duration = Duration::from_secs(24 * 3600);
/// The longest between two looks at what is due: the clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(3600);
/// So many orders must fail in a row before people are told.
const TELL_FAILURES: u32 = 3;

/// The one that `serve` starts; the control socket asks it.
pub struct Keeper {
    store: Store,
    live: Arc<Live>,
    tls: Tls,
    resolver: Resolver,
    data: PathBuf,
    progress: Mutex<Progress>,
    /// What was ordered last since the start, and whether the terms were agreed to.
    tried: Mutex<Option<(Wanted, bool)>>,
    /// The records that people were asked for last.
    asked: Mutex<Vec<(String, String)>>,
    /// Whoever changes [`Tries`] in the store.
    noting: AsyncMutex<()>,
    wake: Event,
    /// A look at what is due has ended.
    turned: Event,
}

/// Of the order that runs, and of those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub busy: bool,
    /// An order was asked for by hand, and none has ended since.
    pub by_hand: bool,
    /// Orders that ended, well or not, since the start; not those that were called off.
    pub ended: u64,
    /// Records of the DNS that the order waits for: name and value.
    pub records: Vec<(String, String)>,
}

/// All that there is to know.
pub struct Status {
    pub served: Served,
    pub tries: Tries,
    pub progress: Progress,
    /// When the server gets the next of itself; none for the owner's files.
    pub renewal: Option<Timestamp>,
}

impl Keeper {
    pub fn new(
        store: Store,
        live: Arc<Live>,
        tls: Tls,
        resolver: Resolver,
        data: &Path,
    ) -> Arc<Keeper> {
        Arc::new(Keeper {
            store,
            live,
            tls,
            resolver,
            data: data.to_path_buf(),
            progress: Mutex::default(),
            tried: Mutex::default(),
            asked: Mutex::default(),
            noting: AsyncMutex::new(()),
            wake: Event::new(),
            turned: Event::new(),
        })
    }

    /// Runs until it is dropped.
    pub async fn run(self: Arc<Keeper>) {
        self.watch().or(self.orders()).await;
    }

    /// Reads the files and looks at the dates, while an order waits too: for records in the
    /// DNS it may for days.
    async fn watch(&self) {
        let mut read = Instant::now();
        let mut turned = self.turned.listen();
        loop {
            // One that is about to be renewed is no cause for alarm.
            let late = async {
                Timer::after(LOOK).await;
            };
            turned.or(late).await;
            turned = self.turned.listen();
            if read.elapsed() >= RELOAD {
                read = Instant::now();
                reload(&self.tls);
            }
            self.look(Timestamp::now()).await;
        }
    }

    async fn orders(&self) {
        loop {
            let (woken, changed) = (self.wake.listen(), self.live.changed());
            let pause = self.turn(Timestamp::now()).await;
            self.turned.notify(usize::MAX);
            let woken = woken.or(changed);
            let late = async {
                Timer::after(pause).await;
            };
            woken.or(late).await;
        }
    }

    /// Orders what is due; gives how long to wait before the next look.
    pub async fn turn(&self, now: Timestamp) -> Duration {
        // A board whose clock is not set yet knows of no date.
        if now < EARLIEST {
            return Duration::from_secs(60);
        }
        let mut next = match self.order_if_due(now).await {
            Ok(next) => next,
            Err(error) => {
                log::error!("acme: {error}");
                None
            }
        };
        next = next.filter(|it| *it > now);
        let until = next.and_then(|it| Duration::try_from(it.duration_since(now)).ok());
        until.unwrap_or(LOOK).clamp(Duration::from_secs(1), LOOK)
    }

    /// Tells people what they have to know by now.
    async fn look(&self, now: Timestamp) {
        if now < EARLIEST {
            return;
        }
        if let Err(error) = self.alarm(now).await {
            log::error!("the alarm about the certificate: {error}");
        }
    }

    /// Has a certificate ordered now. Gives what [`Progress::ended`] is when it has ended. The
    /// error is a sentence.
    pub fn order_now(&self) -> Result<u64, String> {
        let settings = self.live.now();
        wanted(&settings)?;
        let mut progress = self.progress();
        if !progress.busy {
            let now = Timestamp::now();
            let room = state::tries(&self.store)?.room(now);
            if room > now {
                return Err(format!(
                    "there were {} orders within an hour, and authorities block who asks too \
                     often: try again after {room}",
                    state::MAX_TRIES
                ));
            }
            self.wake.notify(usize::MAX);
        }
        // Of the order that runs too, which may be called off.
        progress.by_hand = true;
        Ok(progress.ended + 1)
    }

    pub fn status(&self) -> Result<Status, String> {
        let (served, tries) = (self.tls.served(), state::tries(&self.store)?);
        let renewal = match served.from {
            "files" => None,
            "local" if self.live.now().tls_source != "acme" => served
                .ends
                .checked_sub(SignedDuration::from_hours(30 * 24))
                .ok(),
            "local" => Some(tries.next),
            _ => Some(state::renewal(served.begins, served.ends).max(tries.next)),
        };
        Ok(Status {
            served,
            tries,
            progress: self.progress().clone(),
            renewal,
        })
    }

    /// The certificate of the server's own authority, PEM. The error is a sentence.
    pub fn authority(&self) -> Result<String, String> {
        let pem = crate::net::authority::read_limited(&Authority::new(&self.data).ca_path());
        let pem = pem.map_err(|error| error.to_string())?;
        String::from_utf8(pem).map_err(|_| "ca.pem is no PEM file".into())
    }

    /// Gives when the next order is due, if any will be.
    async fn order_if_due(&self, now: Timestamp) -> Result<Option<Timestamp>, String> {
        let settings = self.live.now();
        let by_hand = self.progress().by_hand;
        if settings.tls_source != "acme" && !by_hand {
            return Ok(None);
        }
        let mut tries = state::tries(&self.store)?;
        let wanted = match wanted(&settings) {
            Ok(wanted) => wanted,
            Err(why) => {
                if tries.error != why {
                    self.note(&|it| it.error.clone_from(&why)).await?;
                }
                if by_hand {
                    self.end();
                }
                return Ok(None);
            }
        };
        let these = (wanted.clone(), settings.acme_agreed);
        if self.is_other(&these) {
            // Kept at once: the hour may have no room for an order yet.
            tries = self.note(&|it| it.next = now).await?;
        }
        *self.tried() = Some(these);
        let from = state::directory(&self.store)?;
        let next = match by_hand {
            true => tries.room(now),
            false => due(&self.tls.served(), from.as_deref(), &wanted, &tries, now),
        };
        if next > now {
            return Ok(Some(next));
        }
        self.note(&|it| it.begin(now)).await?;
        self.progress().busy = true;
        let done = async { Some(self.order(&wanted).await) };
        let other = async {
            self.until_other(&wanted).await;
            None
        };
        let told = match done.or(other).await {
            Some(done) => {
                let told = self.settle(done).await;
                self.end();
                told
            }
            // Nobody failed, and who asked by hand waits for the next.
            None => {
                self.call_off();
                state::tries(&self.store)
            }
        };
        let tries = told?;
        let now = Timestamp::now().max(now);
        let from = state::directory(&self.store)?;
        let served = self.tls.served();
        Ok(Some(due(&served, from.as_deref(), &wanted, &tries, now)))
    }

    /// Whether the settings differ from those of the last order since the start: then the pause
    /// after a failure is over.
    fn is_other(&self, these: &(Wanted, bool)) -> bool {
        self.tried().as_ref().is_some_and(|it| it != these)
    }

    fn end(&self) {
        let mut progress = self.progress();
        *progress = Progress {
            ended: progress.ended + 1,
            ..Progress::default()
        };
    }

    fn call_off(&self) {
        let mut progress = self.progress();
        *progress = Progress {
            by_hand: progress.by_hand,
            ended: progress.ended,
            ..Progress::default()
        };
    }

    /// Ends when the settings ask for something else.
    async fn until_other(&self, wanted: &Wanted) {
        loop {
            let changed = self.live.changed();
            if self::wanted(&self.live.now()).as_ref() != Ok(wanted) {
                return;
            }
            changed.await;
        }
    }

    async fn order(&self, wanted: &Wanted) -> Result<(), Failure> {
        let settings = self.live.now();
        let net = Net {
            resolver: self.resolver.clone(),
            authorities: Authorities::new(settings.tls_authorities.clone()),
        };
        let key = state::account(&self.store, &wanted.directory).await?;
        let mut client = Client::open(net, &wanted.directory, key).await?;
        if !settings.acme_agreed {
            let terms = client
                .directory()
                .terms
                .as_deref()
                .unwrap_or("its web site");
            return Err(Failure::new(format!(
                "the ACME authority's terms of service are at {terms}; when you agree to them: \
                 pillarbox settings set acme.agree-to-terms on"
            )));
        }
        client.register(&wanted.contact).await?;
        let pending = state::pending(&self.store)?;
        let fits = |it: &Pending| it.directory == wanted.directory && it.names == wanted.names;
        if let Some(pending) = pending.filter(fits) {
            match self.finish(&mut client, wanted, &pending).await {
                Ok(()) => return Ok(()),
                // It may be had yet: another would cost its records, or what was signed.
                Err(error) if !error.over => return Err(error),
                Err(error) => log::warn!("acme: the order of before: {}", error.why),
            }
        }
        let pending = order::begin(&mut client, wanted).await?;
        state::keep_pending(&self.store, Some(&pending)).await?;
        self.finish(&mut client, wanted, &pending).await
    }

    async fn finish(
        &self,
        client: &mut Client,
        wanted: &Wanted,
        pending: &Pending,
    ) -> Result<(), Failure> {
        let tell = |records: Vec<(String, String)>| {
            for (name, value) in &records {
                log::info!("acme: waits for the TXT record {name} with the value {value}");
            }
            self.progress().records = records;
        };
        let asked = async {
            let done = order::finish(client, wanted, pending, &self.resolver, &tell).await;
            let done = match done {
                Ok(pem) => self.take(&pem, wanted).await,
                Err(failure) => Err(failure),
            };
            self.end_order(&done).await;
            done
        };
        asked.or(self.ask_for_records()).await
    }

    /// An order that came to its end is forgotten; one that the authority could not be asked
    /// about, or whose certificate could not be kept, goes on with the next try.
    async fn end_order(&self, done: &Result<(), Failure>) {
        if done.as_ref().err().is_some_and(|it| !it.over) {
            return;
        }
        if let Err(error) = state::keep_pending(&self.store, None).await {
            log::error!("acme: can't forget an order that is over: {error}");
        }
    }

    /// Writes to people once records are waited for, that they have to enter; never ends.
    async fn ask_for_records(&self) -> Result<(), Failure> {
        let records = loop {
            let records = self.progress().records.clone();
            if !records.is_empty() && self.is_news(&records) {
                break records;
            }
            Timer::after(Duration::from_secs(1)).await;
        };
        let lines: Vec<String> = records
            .iter()
            .map(|(name, value)| format!("{name}. IN TXT \"{value}\"\n"))
            .collect();
        let text = format!(
            "To order its certificate the server waits for these records in the DNS:\n\n{}\n\
             It goes on by itself when they are there. Take older ones of the same name away.\n",
            lines.concat()
        );
        let told = self.tell("the certificate waits for a record in the DNS", text);
        if let Err(error) = told.await {
            log::error!("acme: {error}");
        }
        std::future::pending().await
    }

    /// Whether people were not asked for these yet.
    fn is_news(&self, records: &[(String, String)]) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *asked != records;
        *asked = records.to_vec();
        is_news
    }

    /// Serves what came, if it is what was asked for.
    async fn take(&self, pem: &Secret<String>, wanted: &Wanted) -> Result<(), Failure> {
        let sentence = |error: tls::Error| Failure::new(error.to_string());
        let served = tls::examine(pem.reveal());
        let served = served.map_err(|error| Failure::over(error.to_string()))?;
        let mut names = wanted.names.iter();
        if let Some(name) = names.find(|it| !served.names.contains(it)) {
            let why = format!("the ACME authority's certificate does not hold for {name}");
            return Err(Failure::over(why));
        }
        let authority = Authority::new(&self.data);
        authority.keep_acme(pem.reveal()).map_err(sentence)?;
        // After the file: a power cut between them costs an order, not the new directory.
        state::keep_directory(&self.store, &wanted.directory).await?;
        self.tls.reload().map_err(sentence)
    }

    /// Notes how it went.
    async fn settle(&self, done: Result<(), Failure>) -> Result<Tries, String> {
        let tries = match done {
            Ok(()) => {
                let served = self.tls.served();
                log::info!("acme: a certificate until {}", served.ends);
                self.note(&Tries::succeed).await?
            }
            Err(failure) => {
                log::error!("acme: no certificate: {}", failure.why);
                let luck = random::<1>().map_or(0, |[luck]| luck);
                // First of all: the pauses must hold, whether people can be told or not.
                self.note(&|it| it.fail(Timestamp::now(), &failure, luck))
                    .await?
            }
        };
        if tries.failures >= TELL_FAILURES && !tries.told_of_failures {
            let text = format!(
                "{} orders of a certificate failed, the last because:\n\n    {}\n\n\
                 The server tries again at {}. What it serves now ends at {}.\n\
                 To see more, and to try at once:\n\n    pillarbox tls status\n    \
                 pillarbox tls renew\n",
                tries.failures,
                tries.error,
                tries.next,
                self.tls.served().ends
            );
            match self.tell("no certificate could be had", text).await {
                Ok(()) => return self.note(&|it| it.told_of_failures = true).await,
                Err(error) => log::error!("acme: can't tell that no certificate came: {error}"),
            }
        }
        Ok(tries)
    }

    /// Changes what is kept of the tries; gives what it is then.
    async fn note(&self, change: &(dyn Fn(&mut Tries) + Send + Sync)) -> Result<Tries, String> {
        let _alone = self.noting.lock().await;
        let mut tries = state::tries(&self.store)?;
        change(&mut tries);
        state::keep_tries(&self.store, &tries).await?;
        Ok(tries)
    }

    /// Tells people that the certificate ends, each time once.
    async fn alarm(&self, now: Timestamp) -> Result<(), String> {
        let (served, tries) = (self.tls.served(), state::tries(&self.store)?);
        let Some(level) = alarm::due((served.begins, served.ends), now, tries.told) else {
            return Ok(());
        };
        let mends = match served.from {
            "files" => {
                "Renew it, put it in the place of the old one, then:\n\n    systemctl reload pillarbox\n"
            }
            "acme" => {
                "The server renews it of itself, and could not. To see why, and to try at once:\n\n    pillarbox tls status\n    pillarbox tls renew\n"
            }
            _ => "The server renews it of itself, and could not: its log says why.\n",
        };
        let (ends, names) = (served.ends, served.names.join(", "));
        let hours = ends.duration_since(now).as_hours();
        let when = match level {
            Level::Over => "is over".to_string(),
            _ if hours < 48 => format!("ends in {hours} hours"),
            _ => format!("ends in {} days", hours / 24),
        };
        let text = format!(
            "The certificate for {names} ends at {ends}. After that mail programs refuse to \
             connect.\n\n{mends}"
        );
        self.tell(&format!("the certificate {when}"), text).await?;
        let noted = self.note(&|it| it.told = Some((ends, level))).await;
        noted.map(drop)
    }

    async fn tell(&self, what: &str, text: String) -> Result<(), String> {
        let settings = self.live.now();
        let what = Announcement {
            subject: format!("{}: {what}", settings.hostname),
            text,
        };
        let people = &settings.administrators;
        let told = announce::to_owner(&self.store, &settings.hostname, people, what).await;
        told.map(drop).map_err(|error| error.to_string())
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tried(&self) -> MutexGuard<'_, Option<(Wanted, bool)>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the certificate's files anew.
pub fn reload(tls: &Tls) {
    match tls.reload() {
        Ok(()) => log::info!("the certificate was read anew"),
        Err(error) => log::error!("the certificate stays as it was: {error}"),
    }
}

/// When an order of itself may begin. `from` is the directory that gave what is served.
fn due(
    served: &Served,
    from: Option<&str>,
    wanted: &Wanted,
    tries: &Tries,
    now: Timestamp,
) -> Timestamp {
    let mut names = wanted.names.iter();
    // Whose it is may be unknown, of one that an earlier version ordered.
    let same = from.is_none_or(|it| it == wanted.directory);
    let covers = served.from == "acme" && same && names.all(|it| served.names.contains(it));
    let due = match covers {
        true => state::renewal(served.begins, served.ends),
        false => now,
    };
    due.max(tries.rested(now)).max(tries.room(now))
}

/// What the settings ask for. The error is a sentence.
fn wanted(settings: &Settings) -> Result<Wanted, String> {
    if settings.tls_source != "acme" {
        return Err(
            "the certificate is not got by ACME: pillarbox settings set tls.source acme".into(),
        );
    }
    let mut names = Vec::new();
    for name in std::iter::once(&settings.hostname).chain(&settings.tls_names) {
        let ascii = idna::domain_to_ascii(name);
        let ascii = ascii.ok().filter(|it| it.contains('.'));
        let ascii = ascii.ok_or_else(|| {
            format!(
                "an ACME authority gives certificates to names in the public DNS, and {name} is \
                 none: see server.hostname and tls.names"
            )
        })?;
        if !names.contains(&ascii) {
            names.push(ascii);
        }
    }
    Ok(Wanted {
        directory: settings.acme_directory.clone(),
        names,
        challenge: settings.acme_challenge,
        contact: settings.acme_contact.clone(),
        addresses: settings.addresses.clone(),
        port_base: settings.port_base,
    })
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
