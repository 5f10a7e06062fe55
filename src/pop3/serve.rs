//! Drives a POP3 session: flush, match the step, await the store or the stream, answer.

use super::maildrop::{Maildrop, Update};
use super::session::{Answer, Ask, Config, Session, Step, Unopened};
use crate::context::Context;
use crate::context::maildrops::Lock;
use crate::mail::{AccountId, FlagNames, Flags, MailboxId, MailboxName, Uid, UidSet};
use crate::net::stream::Stream;
use crate::secret::random;
use crate::store::{self, Blob, FlagChange, Origin};
use std::io;
use std::sync::Arc;

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
    maildrop: Option<(Lock, MailboxId)>,
    /// The message that is being sent.
    reading: Option<Box<Reading>>,
}

struct Reading {
    blob: Blob,
    at: u32,
    piece: Vec<u8>,
}

async fn drive(context: &Context, stream: &mut Stream, implicit_tls: bool) -> io::Result<()> {
    if implicit_tls && !stream.is_tls() {
        stream.start_tls(&context.tls).await?;
    }
    let settings = &context.settings;
    let mut session = Session::new(Config {
        tls: stream.is_tls(),
        plain_login: settings.plain_login_on_loopback && stream.peer().is_loopback(),
        seed: random().map_err(io::Error::other)?,
    });
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
                let known = session.account().is_some();
                answer(context, stream, &mut open, ask, &mut session, &mut out).await;
                if !known && session.account().is_some() {
                    stream.authenticated();
                }
            }
            Step::StartTls => {
                stream.send_out(&mut out).await?;
                stream.start_tls(&context.tls).await?;
                session.tls_started();
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
    stream: &Stream,
    open: &mut Open,
    ask: Ask,
    session: &mut Session,
    out: &mut Vec<u8>,
) {
    match ask {
        Ask::Authenticate(ask) => {
            let verdict = context.login.answer(stream.peer(), ask).await;
            session.answer(Answer::Verdict(verdict), out);
        }
        Ask::Open(account) => {
            let opened = open_maildrop(context, account).await;
            let opened = opened.map(|(lock, mailbox, maildrop)| {
                open.maildrop = Some((lock, mailbox));
                maildrop
            });
            session.answer(Answer::Opened(opened), out);
        }
        Ask::Retrieve(uid) => {
            open.reading = match &open.maildrop {
                Some((_, mailbox)) => find(context, *mailbox, uid),
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
                Some((_lock, mailbox)) => self::update(context, mailbox, update).await,
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
) -> Result<(Lock, MailboxId, Maildrop), Unopened> {
    let lock = context.maildrops.lock(account).ok_or(Unopened::InUse)?;
    let read = context.store.read(move |snapshot| {
        let inbox = snapshot
            .mailbox(account, &MailboxName::inbox())?
            .ok_or(store::Error::NoMailbox)?;
        let mut maildrop = Maildrop::new(inbox.uid_validity, inbox.messages);
        let all = UidSet::from_ranges(vec![(1, u32::MAX)]);
        snapshot.messages(inbox.id, &all, |message| {
            maildrop.push(&message);
            Ok(true)
        })?;
        Ok((inbox.id, maildrop))
    });
    match read.await {
        Ok((mailbox, maildrop)) => Ok((lock, mailbox, maildrop)),
        Err(error) => {
            log::warn!("pop3: a maildrop can't be read: {error}");
            Err(Unopened::Trouble)
        }
    }
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
    let read = smol::unblock(move || reading.read().map(|()| Some(reading)));
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
async fn update(context: &Context, mailbox: MailboxId, update: Update) -> Result<(), ()> {
    let store = &context.store;
    let origin = Origin::default();
    if !update.delete.is_empty() {
        let deleted = store.expunge(mailbox, Some(update.delete), true, origin);
        deleted.await.map_err(|error| {
            log::warn!("pop3: messages can't be deleted: {error}");
        })?;
    }
    if !update.seen.is_empty() {
        let seen = FlagNames {
            system: Flags::SEEN,
            keywords: Vec::new(),
        };
        let flagged = store.set_flags(mailbox, update.seen, FlagChange::Add, seen, None, origin);
        // A flag less is no reason to tell the client that its deletes failed.
        if let Err(error) = flagged.await {
            log::warn!("pop3: retrieved messages can't be flagged: {error}");
        }
    }
    Ok(())
}
