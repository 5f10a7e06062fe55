//! Fetching by IMAP: what is new comes here, is noted as taken with its delivery, and only
//! then goes over there. A cut in between costs a second delete, never a second delivery.

use super::collector::{After, Security};
use super::failure::Failure;
use super::job::{Job, now};
use super::link::Link;
use super::login::Exchange;
use super::memory::{MAX_RANGES, Uids, Unique};
use super::take::{self, Incoming, Trace};
use crate::imap::client::{Body, Client, Command, Event, Fetch, Outcome, Step, command};
use crate::mail::{Flags, Uid, UidSet};
use crate::secret::Secret;
use crate::store;
use futures_lite::FutureExt;
use std::time::{Duration, Instant};
use zeroize::Zeroize;

/// Messages that one look lists; more come with the next.
const MAX_LISTED: usize = 100_000;
/// Messages that are taken before they are deleted or moved over there.
const BATCH: u64 = 50;
/// Messages that a provider may refuse to give in one look; then something else is wrong.
const MAX_REFUSED: u32 = 20;
/// Longest IDLE (RFC 2177 asks for under 29 minutes).
const MAX_IDLE: Duration = Duration::from_secs(28 * 60);

/// A message over there.
struct Listed {
    uid: Uid,
    /// As the provider says, bytes.
    size: u64,
}

/// A logged-in connection with a mailbox selected.
pub struct Imap<'a> {
    job: &'a Job,
    link: Link,
    client: Client,
    trace: Trace,
    memory: Uids,
    /// Something has been said of new messages since the last listing began.
    news: bool,
    /// Messages that were listed and then not given.
    refused: u32,
}

impl<'a> Imap<'a> {
    pub async fn open(job: &'a Job) -> Result<Imap<'a>, Failure> {
        let link = Link::open(&job.collector, &job.world).await?;
        let trace = job.trace(&link, "IMAP")?;
        let mut imap = Imap {
            job,
            link,
            client: Client::default(),
            trace,
            memory: Uids::load(&job.store, job.number)?,
            news: false,
            refused: 0,
        };
        imap.greet().await?;
        imap.select().await?;
        Ok(imap)
    }

    /// Whether the provider tells of new messages by itself.
    pub fn can_idle(&self) -> bool {
        self.client.has("IDLE")
    }

    /// Takes all that is new; gives how many could not be taken and stay.
    pub async fn collect(&mut self) -> Result<u64, Failure> {
        self.refused = 0;
        self.finish_pending().await?;
        loop {
            self.news = false;
            let listed = self.list().await?;
            let all = listed.len() < MAX_LISTED;
            let mut batch = 0;
            for message in listed {
                batch += u64::from(self.take(message).await?);
                if batch == BATCH {
                    self.finish_pending().await?;
                    batch = 0;
                }
            }
            self.finish_pending().await?;
            if all && !self.news {
                return Ok(self.memory.left.len());
            }
        }
    }

    /// Waits for news, or until `wait` is over, or `woken` is.
    pub async fn idle(
        &mut self,
        wait: Duration,
        woken: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let end = Instant::now() + wait.min(MAX_IDLE);
        let mut woken = Box::pin(woken);
        self.give(&Command::Idle).await?;
        while !matches!(self.next().await?, Event::Continue(_)) {}
        while !self.news {
            match self.next_now()? {
                Some(Event::Done(_)) => return Ok(()),
                Some(Event::Bye(text)) => return Err(away(&text)),
                Some(_) => {}
                None => {
                    let left = end.saturating_duration_since(Instant::now());
                    let link = &mut self.link;
                    let heard = link.listen(self.client.input(), left);
                    let woken = async {
                        (&mut woken).await;
                        Ok(false)
                    };
                    if !heard.or(woken).await? {
                        break;
                    }
                }
            }
        }
        let mut out = Vec::new();
        self.client.answer(b"DONE", &mut out);
        self.link.allow(0);
        self.link.send(&out).await?;
        self.until_done().await.map(|_| ())
    }

    pub async fn logout(mut self) {
        // It is said for the provider's sake; nothing hangs on it.
        if self.ask(&Command::Logout).await.is_ok() {
            self.link.close().await;
        }
    }

    // Coming in.

    async fn greet(&mut self) -> Result<(), Failure> {
        let preauth = match self.next().await? {
            Event::Greeting { preauth } => preauth,
            Event::Bye(text) => return Err(away(&text)),
            _ => return Err(Failure::passing("the provider's server does not greet")),
        };
        let security = self.job.collector.security;
        if security == Security::StartTls {
            if preauth {
                // Somebody may have said so to keep us from TLS.
                return Err(Failure::refused(
                    "the provider's server skips the login, and TLS with it",
                ));
            }
            self.must("begin TLS", &Command::StartTls).await?;
            self.client.begin_tls().map_err(broken)?;
            self.link.start_tls().await?;
        }
        self.learn().await?;
        if !preauth {
            self.log_in().await?;
            self.learn().await?;
        }
        if self.client.has("ID") {
            // Some providers let nobody in who does not say it; the answer is theirs.
            self.ask(&Command::Id).await?;
        }
        Ok(())
    }

    async fn learn(&mut self) -> Result<(), Failure> {
        if !self.client.knows_capabilities() {
            self.must("say what it can do", &Command::Capability)
                .await?;
        }
        Ok(())
    }

    async fn log_in(&mut self) -> Result<(), Failure> {
        let collector = &self.job.collector;
        let offers = |name: &str| self.client.has(&format!("AUTH={name}"));
        if let Some(exchange) = Exchange::begin(collector, offers)? {
            return self.authenticate(exchange).await;
        }
        let (user, password) = (&collector.user, &collector.password);
        let quotable = command::can_be_quoted(user) && command::can_be_quoted(password.reveal());
        if self.client.has("LOGINDISABLED") || !quotable {
            return Err(Failure::refused(
                "the provider offers no login that we can use with this name and password",
            ));
        }
        let outcome = self.ask(&Command::Login { user, password }).await?;
        admitted(&outcome)
    }

    async fn authenticate(&mut self, mut exchange: Exchange) -> Result<(), Failure> {
        let mut initial = exchange.initial();
        let sent = match self.client.has("SASL-IR") {
            true => initial.take(),
            false => None,
        };
        let mechanism = exchange.mechanism.name();
        self.give(&Command::Authenticate {
            mechanism,
            initial: sent.as_ref(),
        })
        .await?;
        loop {
            match self.next().await? {
                Event::Continue(challenge) => {
                    let answer = match initial.take() {
                        Some(initial) => initial,
                        None => {
                            let (on, answer) = exchange.respond(challenge).await?;
                            exchange = on;
                            answer
                        }
                    };
                    self.say(&answer).await?;
                }
                Event::Done(outcome) => {
                    admitted(&outcome)?;
                    return exchange.check();
                }
                Event::Bye(text) => return Err(away(&text)),
                _ => {}
            }
        }
    }

    async fn select(&mut self) -> Result<(), Failure> {
        let folder = &self.job.collector.folder;
        let outcome = self.ask(&Command::Select(folder)).await?;
        if !outcome.ok {
            let what = format!("open the folder {folder}");
            return Err(Failure::said_no(&what, &outcome.text));
        }
        let selected = self.client.selected();
        let validity = match selected.uid_validity {
            Some(validity) if !selected.uid_not_sticky => validity.get(),
            _ => {
                return Err(Failure::refused(
                    "the provider gives its messages no lasting numbers, so what was taken could not be told from what is new",
                ));
            }
        };
        if self.memory.validity != validity {
            if self.memory.validity != 0 {
                let (number, source) = (self.job.number, self.job.collector.source());
                log::warn!(
                    "collector {number}: {source} has numbered its messages anew; all that is there comes again"
                );
            }
            self.memory = Uids {
                validity,
                ..Uids::default()
            };
        }
        Ok(())
    }

    // Taking.

    /// What is not taken yet, in order.
    async fn list(&mut self) -> Result<Vec<Listed>, Failure> {
        let mut listed = Vec::new();
        for left in command::chunks(&self.memory.left) {
            self.list_by(&Command::ListOf(&left), &mut listed).await?;
        }
        // Those that are gone need no memory.
        let there: UidSet = listed.iter().map(|it: &Listed| it.uid).collect();
        let still = self.memory.left.iter().filter(|uid| there.contains(*uid));
        self.memory.left = still.collect();
        let left = &self.memory.left;
        listed.retain(|it| {
            left.contains(it.uid)
                && it.size <= self.job.max_size
                && !self.job.is_too_large(self.unique(it.uid))
        });
        let Some(from) = self.memory.highest.checked_add(1).and_then(Uid::new) else {
            return Ok(listed);
        };
        let mut new = Vec::new();
        self.list_by(&Command::List(from), &mut new).await?;
        // `n:*` has the last message even where that is below n (RFC 3501, 9).
        new.retain(|it| it.uid >= from);
        listed.append(&mut new);
        listed.sort_unstable_by_key(|it| it.uid);
        listed.dedup_by_key(|it| it.uid);
        listed.truncate(MAX_LISTED);
        Ok(listed)
    }

    async fn list_by(
        &mut self,
        command: &Command<'_>,
        listed: &mut Vec<Listed>,
    ) -> Result<(), Failure> {
        self.give(command).await?;
        loop {
            match self.next().await? {
                Event::Fetch(fetch) => {
                    // One that does not say its size is found out when it comes.
                    if let Some(uid) = fetch.uid {
                        let size = fetch.size.unwrap_or(0);
                        listed.push(Listed { uid, size });
                    }
                }
                Event::Done(outcome) if outcome.ok => return Ok(()),
                Event::Done(outcome) => {
                    return Err(Failure::said_no("list its messages", &outcome.text));
                }
                Event::Bye(text) => return Err(away(&text)),
                Event::Body(_) => return Err(Failure::passing(UNASKED)),
                _ => {}
            }
        }
    }

    fn unique(&self, uid: Uid) -> Unique {
        Unique::new(&format!("{} {uid}", self.memory.validity))
    }

    /// Whether it was taken: it may be too large, or gone, or not be given.
    async fn take(&mut self, message: Listed) -> Result<bool, Failure> {
        let uid = message.uid;
        if message.size > self.job.max_size {
            self.leave(uid).await?;
            return Ok(false);
        }
        let Some((incoming, fetch)) = self.fetch(uid).await? else {
            self.leave(uid).await?;
            return Ok(false);
        };
        let mut next = self.memory.clone();
        next.pass(uid);
        if self.job.collector.after != After::Keep {
            next.pending.insert(uid);
            if next.pending.ranges().len() > MAX_RANGES {
                return Err(Failure::refused(
                    "the provider does not let go of the messages taken",
                ));
            }
        }
        let staged = incoming.finish().await?;
        let status = self.job.one_more();
        let notes = vec![next.note(self.job.number), status.note(self.job.number)];
        let flags = fetch.flags.unwrap_or_default();
        let date = fetch.date.unwrap_or(self.trace.now);
        let (store, target) = (&self.job.store, &self.job.target);
        take::deliver(store, target, &staged, flags, date, notes).await?;
        self.memory = next;
        self.job.set_status(status);
        Ok(true)
    }

    /// Remembers a message that can't be taken now, and passes over it.
    async fn leave(&mut self, uid: Uid) -> Result<(), Failure> {
        let mut next = self.memory.clone();
        next.pass(uid);
        next.left.insert(uid);
        if next.left.ranges().len() > MAX_RANGES {
            return Err(Failure::refused(
                "too many messages are too large, or are not given",
            ));
        }
        if next == self.memory {
            return Ok(());
        }
        let note = next.note(self.job.number);
        self.job.store.note(vec![note]).await?;
        self.memory = next;
        Ok(())
    }

    /// The message with what was said of it; `None` if it is gone, or not given.
    async fn fetch(&mut self, uid: Uid) -> Result<Option<(Incoming, Fetch)>, Failure> {
        self.trace.now = now();
        self.give(&Command::Fetch(uid)).await?;
        let mut incoming: Option<Incoming> = None;
        let mut found: Option<Fetch> = None;
        loop {
            let event = match self.client.step().map_err(broken)? {
                Step::NeedInput => {
                    self.link.receive(self.client.input()).await?;
                    continue;
                }
                Step::Data(bytes) => {
                    let written = match &mut incoming {
                        Some(incoming) => incoming.write(bytes).await,
                        None => return Err(Failure::passing(UNASKED)),
                    };
                    match written {
                        Ok(()) => continue,
                        Err(store::Error::TooLarge) => return self.too_large(uid).await,
                        Err(error) => return Err(error.into()),
                    }
                }
                Step::Event(event) => event,
            };
            match event {
                Event::Body(_) if incoming.is_some() => return Err(Failure::passing(UNASKED)),
                Event::Body(size) if size > self.job.max_size => {
                    return self.too_large(uid).await;
                }
                Event::Body(size) => {
                    self.link.allow(size);
                    incoming =
                        Some(Incoming::begin(&self.job.store, &self.trace, Some(size)).await?);
                }
                Event::Fetch(fetch) if fetch.body != Body::None => {
                    // A message of which nobody says which it is, is nobody's.
                    if fetch.uid != Some(uid) || found.is_some() {
                        return Err(Failure::passing(UNASKED));
                    }
                    if let Body::Inline(text) = &fetch.body {
                        let begun = Incoming::begin(&self.job.store, &self.trace, None);
                        let mut whole = begun.await?;
                        whole.write(text).await?;
                        incoming = Some(whole);
                    }
                    found = Some(*fetch);
                }
                Event::Done(outcome) if !outcome.ok => {
                    self.refused += 1;
                    if self.refused > MAX_REFUSED {
                        return Err(Failure::said_no("give its messages", &outcome.text));
                    }
                    return Ok(None);
                }
                Event::Done(_) => {
                    return match (incoming, found) {
                        (None, None) => Ok(None),
                        (Some(incoming), Some(fetch)) => Ok(Some((incoming, fetch))),
                        _ => Err(Failure::passing(UNASKED)),
                    };
                }
                Event::Bye(text) => return Err(away(&text)),
                Event::Exists(_) => self.news = true,
                _ => {}
            }
        }
    }

    /// It was listed as smaller. What has been announced would have to be read to its end:
    /// the connection is begun anew instead, and goes on behind it.
    async fn too_large<T>(&mut self, uid: Uid) -> Result<T, Failure> {
        self.leave(uid).await?;
        self.job.note_too_large(self.unique(uid));
        Err(Failure::passing(format!(
            "message {uid} is larger than the provider said; it stays there"
        )))
    }

    // Afterwards, over there.

    /// Deletes or moves what was taken, and forgets that it had to.
    async fn finish_pending(&mut self) -> Result<(), Failure> {
        let pending = self.memory.pending.clone();
        if pending.is_empty() {
            return Ok(());
        }
        match &self.job.collector.after {
            After::Keep => {}
            After::Delete => self.delete(&pending).await?,
            After::Move(folder) => self.move_to(&pending, folder).await?,
        }
        let mut next = self.memory.clone();
        next.pending = UidSet::new();
        let note = next.note(self.job.number);
        self.job.store.note(vec![note]).await?;
        self.memory = next;
        Ok(())
    }

    async fn delete(&mut self, uids: &UidSet) -> Result<(), Failure> {
        let chunks = command::chunks(uids);
        for chunk in &chunks {
            self.must("delete messages", &Command::Delete(chunk))
                .await?;
        }
        if self.client.has("UIDPLUS") {
            for chunk in &chunks {
                let expunge = Command::UidExpunge(chunk);
                self.must("delete messages", &expunge).await?;
            }
        } else if self.all_marked_are_taken().await? {
            self.must("delete messages", &Command::Expunge).await?;
        }
        Ok(())
    }

    /// Whether all that is marked \Deleted has been taken: EXPUNGE takes it all away.
    async fn all_marked_are_taken(&mut self) -> Result<bool, Failure> {
        let mut taken = true;
        self.give(&Command::ListFlags).await?;
        loop {
            match self.next().await? {
                Event::Fetch(fetch) => {
                    let marked = fetch
                        .flags
                        .is_some_and(|flags| flags.system.contains(Flags::DELETED));
                    taken &= !marked || fetch.uid.is_some_and(|uid| self.memory.has(uid));
                }
                Event::Done(outcome) => return Ok(outcome.ok && taken),
                Event::Bye(text) => return Err(away(&text)),
                Event::Body(_) => return Err(Failure::passing(UNASKED)),
                _ => {}
            }
        }
    }

    async fn move_to(&mut self, uids: &UidSet, folder: &str) -> Result<(), Failure> {
        let by_move = self.client.has("MOVE");
        for chunk in command::chunks(uids) {
            let command = match by_move {
                true => Command::Move(&chunk, folder),
                false => Command::Copy(&chunk, folder),
            };
            let mut outcome = self.ask(&command).await?;
            if !outcome.ok && outcome.code == "TRYCREATE" {
                let what = format!("make the folder {folder}");
                self.must(&what, &Command::Create(folder)).await?;
                outcome = self.ask(&command).await?;
            }
            if !outcome.ok {
                let what = format!("move messages to {folder}");
                return Err(Failure::said_no(&what, &outcome.text));
            }
        }
        match by_move {
            true => Ok(()),
            false => self.delete(uids).await,
        }
    }

    // Talking.

    async fn give(&mut self, command: &Command<'_>) -> Result<(), Failure> {
        let mut out = Vec::new();
        self.client.command(command, &mut out);
        self.link.allow(0);
        let sent = self.link.send(&out).await;
        out.zeroize();
        sent
    }

    async fn say(&mut self, line: &Secret<String>) -> Result<(), Failure> {
        let mut out = Vec::new();
        self.client.answer(line.reveal().as_bytes(), &mut out);
        let sent = self.link.send(&out).await;
        out.zeroize();
        sent
    }

    async fn ask(&mut self, command: &Command<'_>) -> Result<Outcome, Failure> {
        self.give(command).await?;
        self.until_done().await
    }

    async fn must(&mut self, what: &str, command: &Command<'_>) -> Result<(), Failure> {
        let outcome = self.ask(command).await?;
        match outcome.ok {
            true => Ok(()),
            false => Err(Failure::said_no(what, &outcome.text)),
        }
    }

    async fn until_done(&mut self) -> Result<Outcome, Failure> {
        let mut bye: Option<String> = None;
        loop {
            let event = match (self.next().await, &bye) {
                // It has said why it closes.
                (Err(_), Some(text)) => return Err(away(text)),
                (event, _) => event?,
            };
            match event {
                Event::Done(outcome) => return Ok(outcome),
                Event::Bye(text) => bye = Some(text),
                Event::Body(_) => return Err(Failure::passing(UNASKED)),
                _ => {}
            }
        }
    }

    async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.next_now()? {
                return Ok(event);
            }
            self.link.receive(self.client.input()).await?;
        }
    }

    /// The next event that needs no more bytes. No message is expected.
    fn next_now(&mut self) -> Result<Option<Event>, Failure> {
        match self.client.step().map_err(broken)? {
            Step::NeedInput => Ok(None),
            Step::Data(_) => Err(Failure::passing(UNASKED)),
            Step::Event(event) => {
                self.news |= matches!(event, Event::Exists(_));
                Ok(Some(event))
            }
        }
    }
}

const UNASKED: &str = "the provider's server answers with a message that nobody asked for";

fn broken(error: crate::imap::client::Error) -> Failure {
    Failure::passing(format!(
        "the provider's server is not to be understood: {error}"
    ))
}

fn away(text: &str) -> Failure {
    Failure::passing(format!(
        "the provider's server closes the connection: {text}"
    ))
}

fn admitted(outcome: &Outcome) -> Result<(), Failure> {
    match (outcome.ok, outcome.code.as_str()) {
        (true, _) => Ok(()),
        // RFC 5530.
        (false, "UNAVAILABLE" | "INUSE" | "SERVERBUG") => Err(Failure::passing(format!(
            "the provider's login: {}",
            outcome.text
        ))),
        (false, _) => Err(Failure::said_no("let us in", &outcome.text)),
    }
}
