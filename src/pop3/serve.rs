//! Drives a POP3 session: flush, match the step, await the store or the stream, answer.

mod home;

use super::maildrop::{Maildrop, Update};
use super::session::{Answer, Ask, Config, Session, Step, Unopened};
use crate::context::Context;
use crate::context::maildrops::{Lock, Maildrops, Refused};
use crate::mail::listing::Listing;
use crate::mail::option::{Deletion, Protocol};
use crate::mail::{
    AccountId, FlagNames, Flags, MailboxId, MailboxInfo, MailboxName, SpecialUse, Uid, UidSet,
};
use crate::net::stream::Stream;
use crate::sasl::Verdict;
use crate::secret::random;
use crate::store::{self, Blob, FlagChange, Origin, Store};
use crate::task;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Replies to a pipelined group are collected to this much, bytes.
const MAX_OUTPUT: usize = 16 * 1024;
/// A message is read in pieces of this, bytes: four frames of the store. Each costs a turn of
/// the reader pool; less costs more of them.
const PIECE: u32 = 256 * 1024;

/// Serves one connection until it ends. `implicit_tls`: TLS from the first byte, where the
/// listener has not begun it already.
pub async fn serve(context: Arc<Context>, mut stream: Stream, implicit_tls: bool) {
    let peer = stream.peer();
    if let Err(error) = drive(&context, &mut stream, implicit_tls).await {
        log::debug!("pop3: {peer}: {error}");
    }
    stream.close().await;
}

/// What the session has open.
#[derive(Default)]
struct Open {
    maildrop: Option<Held>,
    /// The message that is being sent.
    reading: Option<Box<Reading>>,
}

struct Held {
    account: AccountId,
    mailbox: MailboxId,
    deletion: Deletion,
    _lock: Lock,
}

struct Reading {
    blob: Blob,
    at: u32,
    piece: Vec<u8>,
}

async fn drive(context: &Context, stream: &mut Stream, implicit_tls: bool) -> io::Result<()> {
    if implicit_tls && !stream.is_tls() {
        stream.start_tls(&context.users_tls()).await?;
    }
    let settings = context.settings();
    let mut session = Session::new(Config {
        tls: stream.is_tls(),
        plain_login: context.plain_login(stream, Protocol::Pop3),
        login_delay: settings.pop3_login_delay.as_secs(),
        seed: random().map_err(io::Error::other)?,
    })
    .with_greeting(
        &settings.pop3_access.banner,
        settings.pop3_max_command as usize,
    );
    session.bind(context.channel(stream, Protocol::Pop3));
    *session.forwarded() = context.forwarded(stream);
    let mut open = Open::default();
    let mut out = Vec::new();
    loop {
        match session.step(&mut out) {
            Step::NeedInput => {
                stream.send_out(&mut out).await?;
                out = Vec::new();
                let wait = match session.account() {
                    Some(_) => settings.pop3_timeout,
                    None => settings.login_timeout,
                };
                // At a timeout nothing is said and nothing deleted (RFC 1939, 3).
                if stream.receive(session.input(), wait).await? == 0 {
                    return Ok(());
                }
            }
            Step::Flush => stream.send_out(&mut out).await?,
            Step::Ask(ask) => {
                if let (Ask::Authenticate(_), Some(client)) = (&ask, session.forwarded().client) {
                    stream.passed_on_for(client);
                }
                if let Ask::Authenticate(login) = &ask
                    && let Ok(Some(home)) = context.login.home(login)
                {
                    let through =
                        home::go_home(context, stream, &mut session, login, home, &mut out);
                    match Box::pin(through).await? {
                        true => return Ok(()),
                        false => continue,
                    }
                }
                let known = session.account().is_some();
                answer(context, stream, &mut open, ask, &mut session, &mut out).await;
                if !known && session.account().is_some() {
                    stream.authenticated();
                }
            }
            Step::StartTls => {
                stream.send_out(&mut out).await?;
                stream.start_tls(&context.users_tls()).await?;
                session.tls_started();
                session.bind(context.channel(stream, Protocol::Pop3));
            }
            Step::Close => return stream.send_out(&mut out).await,
        }
        if out.len() >= MAX_OUTPUT {
            stream.send_out(&mut out).await?;
        }
    }
}

async fn answer(
    context: &Context,
    stream: &mut Stream,
    open: &mut Open,
    ask: Ask,
    session: &mut Session,
    out: &mut Vec<u8>,
) {
    match ask {
        Ask::Authenticate(ask) => {
            let client = Context::client(stream, "pop3");
            let verdict = context.login.answer(&client, ask).await;
            let verdict = context.let_in(Protocol::Pop3, stream, verdict);
            if let Verdict::Granted(account) = &verdict {
                session.go_without(context.off(account.id));
            }
            session.answer(Answer::Verdict(verdict), out);
        }
        Ask::Open(account) => {
            let opened = open_maildrop(context, account, session).await;
            let opened = opened.map(|(held, maildrop)| {
                open.maildrop = Some(held);
                maildrop
            });
            session.answer(Answer::Opened(opened), out);
        }
        Ask::Retrieve(uid) => {
            open.reading = match &open.maildrop {
                Some(held) => find(context, held.mailbox, uid),
                None => None,
            };
            send_piece(open, session, out);
        }
        Ask::More => {
            open.reading = match open.reading.take() {
                Some(reading) => read_on(reading).await,
                None => None,
            };
            send_piece(open, session, out);
        }
        Ask::Update(update) => {
            // Released before the client hears Goodbye: it may be back at once.
            let updated = match open.maildrop.take() {
                Some(held) => self::update(context, &held, update).await,
                None => Err(()),
            };
            session.answer(Answer::Updated(updated), out);
        }
    }
}

/// Hands over what was read; drops the message once there is no more of it.
fn send_piece(open: &mut Open, session: &mut Session, out: &mut Vec<u8>) {
    let piece = open
        .reading
        .as_ref()
        .map(|reading| reading.piece.as_slice());
    let over = piece.is_none_or(<[u8]>::is_empty);
    session.answer(Answer::Piece(piece), out);
    if over {
        open.reading = None;
    }
}

async fn open_maildrop(
    context: &Context,
    account: AccountId,
    session: &mut Session,
) -> Result<(Held, Maildrop), Unopened> {
    let options = |snapshot: &store::Snapshot| snapshot.account_options(account);
    let options = context.store.look(options).map_err(unreadable_maildrop)?;
    let delay = match options.pop3_login_delay {
        Some(seconds) => Duration::from_secs(seconds.into()),
        None => context.settings().pop3_login_delay,
    };
    session.set_login_delay(delay.as_secs());
    let lock = context.maildrops.lock(account, Instant::now(), delay);
    let lock = lock.map_err(|refused| match refused {
        Refused::InUse => Unopened::InUse,
        Refused::TooSoon => Unopened::TooSoon,
    })?;
    let read = read_inbox(&context.store, &context.maildrops, account).await;
    let (inbox, listing) = read.map_err(unreadable_maildrop)?;
    let held = Held {
        account,
        mailbox: inbox.id,
        deletion: options.pop3_delete,
        _lock: lock,
    };
    let order = options.pop3_order.unwrap_or(context.settings().pop3_order);
    let maildrop = Maildrop::new(inbox.uid_validity, listing, order);
    Ok((held, maildrop))
}

fn unreadable_maildrop(error: store::Error) -> Unopened {
    log::warn!("pop3: a maildrop can't be read: {error}");
    match error {
        store::Error::Corrupt(_) => Unopened::Damaged,
        _ => Unopened::Trouble,
    }
}

/// A poll that finds nothing new reads one row, whatever flags have changed; one that does
/// reads what is new. Only where messages have gone all are looked through.
async fn read_inbox(
    store: &Store,
    maildrops: &Maildrops,
    account: AccountId,
) -> store::Result<(MailboxInfo, Arc<Listing>)> {
    let inbox = move |snapshot: &store::Snapshot| {
        snapshot
            .mailbox(account, &MailboxName::inbox())?
            .ok_or(store::Error::NoMailbox)
    };
    let now = store.look(inbox)?;
    let kept = maildrops.listing(now.id);
    let whole = |listing: &Listing, inbox: &MailboxInfo| listing.len() == inbox.messages as usize;
    let old = match kept {
        // A UID is never used again: no new one, and none less, is the same.
        Some((next, old)) if next == now.uid_next && whole(&old, &now) => return Ok((now, old)),
        Some((_, old)) => old,
        None => Arc::default(),
    };
    let read = store.read(move |snapshot| {
        let inbox = inbox(snapshot)?;
        let mut new = Vec::new();
        snapshot.messages(inbox.id, &old.beyond(), |message| {
            new.push((message.uid, message.size));
            Ok(true)
        })?;
        let mut listing = match old.len() + new.len() == inbox.messages as usize {
            true => Listing::clone(&old),
            false => old.still_in(&snapshot.uids(inbox.id)?),
        };
        new.into_iter()
            .for_each(|(uid, size)| listing.push(uid, size));
        Ok((inbox, Arc::new(listing)))
    });
    let (inbox, listing) = read.await?;
    maildrops.keep(inbox.id, inbox.uid_next, &listing);
    Ok((inbox, listing))
}

fn find(context: &Context, mailbox: MailboxId, uid: Uid) -> Option<Box<Reading>> {
    let found = context.store.look(|snapshot| {
        let message = snapshot.message(mailbox, uid)?;
        let Some(message) = message else {
            return Ok(None);
        };
        let blob = snapshot.blob(message.email)?;
        let mut reading = Box::new(Reading {
            blob,
            at: 0,
            piece: Vec::new(),
        });
        reading.read()?;
        Ok(Some(reading))
    });
    found.unwrap_or_else(unreadable)
}

async fn read_on(mut reading: Box<Reading>) -> Option<Box<Reading>> {
    // Most messages are one piece: no need of the pool to find that out.
    if reading.at >= reading.blob.size() {
        reading.piece.clear();
        return Some(reading);
    }
    let read = task::unblock(move || reading.read().map(|()| Some(reading)));
    read.await.unwrap_or_else(unreadable)
}

fn unreadable(error: store::Error) -> Option<Box<Reading>> {
    log::warn!("pop3: a message can't be read: {error}");
    None
}

impl Reading {
    fn read(&mut self) -> store::Result<()> {
        self.piece.clear();
        let end = self.at.saturating_add(PIECE).min(self.blob.size());
        self.blob.read(self.at..end, &mut self.piece)?;
        self.at = end;
        Ok(())
    }
}

/// What is marked goes in one transaction, or nothing does.
async fn update(context: &Context, held: &Held, update: Update) -> Result<(), ()> {
    let store = &context.store;
    let (mailbox, origin) = (held.mailbox, Origin::default());
    let mut retrieved = update.retrieved;
    if held.deletion == Deletion::Expunge && !update.delete.is_empty() {
        let kept = retrieved.iter().filter(|uid| !update.delete.contains(*uid));
        retrieved = kept.collect();
        let deleted = store.expunge(mailbox, Some(update.delete.clone()), true, origin);
        deleted.await.map_err(|error| not_deleted(&error))?;
    }
    if !retrieved.is_empty() {
        let seen = FlagNames {
            system: Flags::SEEN,
            keywords: Vec::new(),
        };
        let flagged = store.set_flags(mailbox, retrieved, FlagChange::Add, seen, None, origin);
        // A flag less is no reason to tell the client that its deletes failed.
        if let Err(error) = flagged.await {
            log::warn!("pop3: retrieved messages can't be flagged: {error}");
        }
    }
    if held.deletion == Deletion::Trash && !update.delete.is_empty() {
        let moved = throw_away(context, held, update.delete).await;
        moved.map_err(|error| not_deleted(&error))?;
    }
    Ok(())
}

fn not_deleted(error: &store::Error) {
    log::warn!("pop3: messages can't be deleted: {error}");
}

/// Moves them to the mailbox with \Trash, which is made if there is none.
async fn throw_away(context: &Context, held: &Held, uids: UidSet) -> store::Result<()> {
    let store = &context.store;
    let mailboxes = store.look(|snapshot| snapshot.mailboxes(held.account))?;
    let has_use = |it: &&MailboxInfo| it.special_use == Some(SpecialUse::Trash);
    let is_named = |it: &&MailboxInfo| it.name.as_str() == "Trash";
    let found = mailboxes.iter().find(has_use);
    let trash = match found.or_else(|| mailboxes.iter().find(is_named)) {
        Some(trash) => trash.id,
        None => {
            let name = MailboxName::parse("Trash").map_err(|_| store::Error::NoMailbox)?;
            let made = store.create_mailbox(held.account, name, Some(SpecialUse::Trash));
            made.await?.id
        }
    };
    let moved = store.move_messages(held.mailbox, uids, trash, Origin::default());
    moved.await.map(|_| ())
}

#[cfg(test)]
#[path = "serve/tests.rs"]
mod tests;
