//! A queued message's bytes, chunk by chunk, as a server can take them.

use crate::authentication::sign::Signing;
use crate::keys;
use crate::mail::EmailId;
use crate::mail::outgoing::{MAX_KEPT_HERE, QueueId, QueueItem, Reply, kept_here};
use crate::message::convert::{self, Piece, Target};
use crate::message::quoted_printable::QuotedPrintable;
use crate::message::structure::{ByteRange, Structure};
use crate::message::survey::Survey;
use crate::smtp::client::transaction::{Form, refusal};
use crate::store::{Blob, Result, Store};
use crate::task;
use std::collections::VecDeque;

/// Bytes of one chunk.
const CHUNK: u32 = 64 << 10;

/// The message, open for reading.
pub struct Letter {
    store: Store,
    id: QueueId,
    email: EmailId,
    /// Whether it was called off, at the queue's change of that number.
    called_off: Option<(u64, bool)>,
    /// `None` only while it is with the reader pool.
    blob: Option<Blob>,
    pub size: u32,
    /// Whether it was written here: nothing else is signed.
    ours: bool,
    /// Bytes at the front that stay here: Return-Path.
    kept: u32,
    /// The signatures of its stored form, once made.
    sealed: Option<Vec<u8>>,
    pub survey: Survey,
    /// Made when a server first needs it.
    pieces: Option<Vec<Piece>>,
    todo: VecDeque<Piece>,
    encoder: Option<QuotedPrintable>,
    chunk: Vec<u8>,
}

/// Signatures, or why the message can't be read.
type Unsigned = std::result::Result<Vec<u8>, Unsent>;

/// Why a message does not go on.
pub enum Unsent {
    /// It can't be read.
    Ours(Reply),
    /// The connection doesn't take it.
    Stream,
}

impl Letter {
    /// Opens an item's message and reads through it once.
    pub async fn open(store: &Store, item: &QueueItem) -> Result<Letter> {
        let email = item.email;
        let survey = move |snapshot: &crate::store::Snapshot| {
            let mut blob = snapshot.blob(email)?;
            let mut head = Vec::new();
            blob.read(0..MAX_KEPT_HERE as u32, &mut head)?;
            let kept = kept_here(&head) as u32;
            let survey = survey(&mut blob, kept..u32::MAX)?;
            Ok((blob, kept, survey))
        };
        let (blob, kept, survey) = store.read(survey).await?;
        Ok(Letter {
            store: store.clone(),
            id: item.id,
            email,
            called_off: None,
            size: blob.size(),
            ours: item.ours,
            kept,
            sealed: None,
            blob: Some(blob),
            survey,
            pieces: None,
            todo: VecDeque::new(),
            encoder: None,
            chunk: Vec::new(),
        })
    }

    /// Whether the owner has held or dropped it since: nobody is to get it any more whom it has
    /// not reached yet. Looks only where the queue has changed since it last looked.
    pub fn is_called_off(&mut self) -> bool {
        // Asked for first: what changes meanwhile is seen next time.
        let changes = self.store.queue_changes();
        if let Some((at, called_off)) = self.called_off
            && at == changes
        {
            return called_off;
        }
        let item = self.store.look(|it| it.queue_item(self.id));
        let called_off = item.map(|it| it.is_none_or(|it| it.held));
        self.called_off = called_off.ok().map(|it| (changes, it));
        // Where that can't be read, nobody has said so.
        self.called_off.is_some_and(|it| it.1)
    }

    /// Whether it can be made 7-bit without loss; finds out how, once.
    pub async fn is_convertible(&mut self) -> bool {
        if self.pieces.is_none() {
            let email = self.email;
            let plan = self.store.read(move |snapshot| {
                let structure = Structure::decode(&snapshot.structure(email)?);
                let mut source = Source(snapshot.blob(email)?);
                Ok(structure
                    .and_then(|it| convert::plan(&it.root, it.size, Target::SevenBit, &mut source)))
            });
            self.pieces = plan.await.unwrap_or_default();
        }
        self.pieces.is_some()
    }

    /// The DKIM-Signature fields to stand in front of that form of it: reads it through once.
    /// Empty where it only goes on from here, and where the author's domain has no keys; then
    /// nothing is read.
    pub async fn signatures(&mut self, form: Form, now: i64) -> Unsigned {
        if !self.ours {
            return Ok(Vec::new());
        }
        let keys = keys::signers(&self.store).unwrap_or_else(|error| {
            // Better unsigned than late: the next server may take it by SPF.
            log::error!("the DKIM keys can't be read: {error}");
            Vec::new()
        });
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut signing = Signing::new(keys, now);
        self.rewind(form);
        while let Some(chunk) = self.next().await? {
            signing.push(chunk);
        }
        Ok(signing.finish())
    }

    /// As `signatures`, for its stored form, made once.
    pub async fn seal(&mut self, now: i64) -> std::result::Result<&[u8], Unsent> {
        if self.sealed.is_none() {
            self.sealed = Some(self.signatures(Form::Data, now).await?);
        }
        Ok(self.sealed.as_deref().unwrap_or_default())
    }

    /// Bytes that go out as they are stored, signatures included: BDAT has to know.
    pub async fn length(&mut self, now: i64) -> u64 {
        let stored = u64::from(self.size.saturating_sub(self.kept));
        let sealed = match self.seal(now).await.map(<[u8]>::len) {
            Ok(length) => length,
            // Announced without it, it goes without it: a byte more would be read as a command.
            Err(_) => {
                self.sealed = Some(Vec::new());
                0
            }
        };
        stored + sealed as u64
    }

    /// From the beginning, in that form.
    pub fn rewind(&mut self, form: Form) {
        self.encoder = None;
        self.todo = match (form, &self.pieces) {
            (Form::Converted, Some(pieces)) => pieces.iter().cloned().collect(),
            _ => [Piece::Copy(0..self.size)].into(),
        };
        match self.todo.front_mut() {
            Some(Piece::Copy(range)) => range.start = range.start.max(self.kept.min(range.end)),
            Some(Piece::Header(bytes)) => drop(bytes.drain(..kept_here(bytes))),
            _ => {}
        }
    }

    /// Whether there is nothing left of it.
    pub fn is_at_end(&self) -> bool {
        self.todo.is_empty()
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> std::result::Result<Option<&[u8]>, Unsent> {
        loop {
            self.chunk.clear();
            let Some(piece) = self.todo.pop_front() else {
                return Ok(None);
            };
            match piece {
                Piece::Header(bytes) => self.chunk = bytes,
                Piece::Copy(range) => {
                    if let Some(rest) = self.read(range).await? {
                        self.todo.push_front(Piece::Copy(rest));
                    }
                }
                Piece::Encode(range) => {
                    let rest = self.read(range).await?;
                    let plain = std::mem::take(&mut self.chunk);
                    let mut encoder = self.encoder.take().unwrap_or_default();
                    encoder.push(&plain, &mut self.chunk);
                    match rest {
                        Some(rest) => {
                            self.encoder = Some(encoder);
                            self.todo.push_front(Piece::Encode(rest));
                        }
                        None => encoder.finish(&mut self.chunk),
                    }
                }
            }
            if !self.chunk.is_empty() {
                return Ok(Some(&self.chunk));
            }
        }
    }

    /// Reads the first [`CHUNK`] bytes of the range; gives what is left of it.
    async fn read(&mut self, range: ByteRange) -> std::result::Result<Option<ByteRange>, Unsent> {
        let end = range.end.min(range.start.saturating_add(CHUNK));
        let part = range.start..end;
        let mut chunk = std::mem::take(&mut self.chunk);
        let Some(mut blob) = self.blob.take() else {
            return Err(Unsent::Ours(unreadable()));
        };
        let (blob, chunk, read) = task::unblock(move || {
            let read = blob.read(part, &mut chunk);
            (blob, chunk, read)
        })
        .await;
        self.blob = Some(blob);
        self.chunk = chunk;
        match read {
            Ok(()) => Ok((end < range.end).then_some(end..range.end)),
            Err(error) => {
                log::error!("a queued message can't be read: {error}");
                Err(Unsent::Ours(unreadable()))
            }
        }
    }
}

/// What is said of a message that our own disk does not give back.
/// What is said of a recipient whom an attempt was called off for.
const CALLED_OFF: &str = "the owner of the server has stopped it";

pub fn called_off() -> Reply {
    refusal("4.3.0", CALLED_OFF)
}

pub fn is_called_off(reply: &Reply) -> bool {
    reply.code == 0 && reply.text == CALLED_OFF
}

pub fn unreadable() -> Reply {
    refusal("4.3.0", "the message can't be read from the store")
}

fn survey(blob: &mut Blob, range: ByteRange) -> Result<Survey> {
    let (mut survey, mut chunk) = (Survey::default(), Vec::new());
    let end = range.end.min(blob.size());
    let mut at = range.start;
    while at < end {
        let next = end.min(at.saturating_add(CHUNK));
        chunk.clear();
        blob.read(at..next, &mut chunk)?;
        survey.push(&chunk);
        at = next;
    }
    Ok(survey.finish())
}

struct Source(Blob);

impl convert::Source for Source {
    fn header(&mut self, range: ByteRange) -> Option<Vec<u8>> {
        let most = crate::message::structure::MAX_HEADER as u32;
        if range.end.saturating_sub(range.start) > most {
            return None;
        }
        let mut bytes = Vec::new();
        self.0.read(range, &mut bytes).ok()?;
        Some(bytes)
    }

    fn survey(&mut self, range: ByteRange) -> Option<Survey> {
        survey(&mut self.0, range).ok()
    }
}
