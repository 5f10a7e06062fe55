//! The bytes that a URL names, read from the store piece by piece.

use super::Refusal;
use super::url::ImapUrl;
use crate::mail::{AccountId, MailboxName};
use crate::message::header::header_fields;
use crate::message::section::{Located, SectionText, cut, locate};
use crate::message::structure::{ByteRange, Structure};
use crate::store::{Blob, Error, Result, Snapshot, Store};

/// Bytes read at once: a frame of the store, which it decompresses as one.
const PIECE: u32 = 64 * 1024;
/// Bytes of a header that HEADER.FIELDS picks from, as FETCH does.
const MAX_PICKED: u32 = 1024 * 1024;

/// What a URL names. Stays readable though the message be expunged meanwhile.
pub struct Content(Option<Source>);

enum Source {
    Stored(Blob, ByteRange),
    Picked(Vec<u8>),
}

impl Content {
    /// Bytes still to come.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Some(Source::Stored(_, rest)) => rest.len() as u64,
            Some(Source::Picked(bytes)) => bytes.len() as u64,
            None => 0,
        }
    }

    /// The next bytes, [`PIECE`] of them at most where they are stored so; empty at the end.
    pub async fn next(&mut self, store: &Store) -> Result<Vec<u8>> {
        match self.0.take() {
            None => Ok(Vec::new()),
            Some(Source::Picked(bytes)) => Ok(bytes),
            Some(Source::Stored(mut blob, mut rest)) => {
                let read = store.read(move |_| {
                    let end = (rest.start / PIECE + 1).saturating_mul(PIECE).min(rest.end);
                    let mut bytes = Vec::with_capacity(PIECE as usize);
                    blob.read(rest.start..end, &mut bytes)?;
                    rest.start = end;
                    let rest = (!rest.is_empty()).then_some(Source::Stored(blob, rest));
                    Ok((bytes, rest))
                });
                let (bytes, rest) = read.await?;
                self.0 = rest;
                Ok(bytes)
            }
        }
    }
}

/// The mailbox that it names, where `selected` is (RFC 5092, 7).
pub fn mailbox(
    url: &ImapUrl,
    selected: Option<&MailboxName>,
) -> std::result::Result<MailboxName, Refusal> {
    let beside = selected.filter(|_| !url.rooted);
    let name = match (url.mailbox.is_empty(), selected) {
        (true, Some(selected)) => return Ok(selected.clone()),
        (true, None) => return Err(Refusal::Missing),
        (false, _) => match beside.and_then(MailboxName::parent) {
            Some(parent) => format!("{parent}/{}", url.mailbox),
            None => url.mailbox.clone(),
        },
    };
    MailboxName::parse(&name).map_err(|_| Refusal::Missing)
}

/// Finds it in a mailbox of the account.
pub fn find(
    snapshot: &Snapshot,
    account: AccountId,
    mailbox: &MailboxName,
    url: &ImapUrl,
) -> std::result::Result<Content, Refusal> {
    let info = snapshot.mailbox(account, mailbox)?;
    let info = info.filter(|it| url.uid_validity.is_none_or(|n| it.uid_validity.get() == n));
    let info = info.ok_or(Refusal::Missing)?;
    let message = snapshot
        .message(info.id, url.uid)?
        .ok_or(Refusal::Missing)?;
    let mut blob = snapshot.blob(message.email)?;
    let section = &url.section;
    if section.path.is_empty() && section.text == SectionText::All {
        let range = cut(0..blob.size(), url.partial);
        return Ok(Content(Some(Source::Stored(blob, range))));
    }
    let structure = Structure::decode(&snapshot.structure(message.email)?);
    let damaged = || Error::Corrupt("the structure of a message can't be read".into());
    let structure = structure.ok_or_else(damaged)?;
    let source = match locate(&structure.root, section) {
        Located::Missing => return Err(Refusal::Missing),
        Located::Bytes(range) => Source::Stored(blob, cut(range, url.partial)),
        Located::Fields(range) => {
            let end = range.end.min(range.start.saturating_add(MAX_PICKED));
            let mut header = Vec::new();
            blob.read(range.start..end, &mut header)?;
            let fields = match &section.text {
                SectionText::HeaderFields(names) => header_fields(&header, names, false),
                SectionText::HeaderFieldsNot(names) => header_fields(&header, names, true),
                _ => Vec::new(),
            };
            let all = 0..u32::try_from(fields.len()).unwrap_or(u32::MAX);
            let range = cut(all, url.partial);
            let picked = fields.get(range.start as usize..range.end as usize);
            Source::Picked(picked.unwrap_or_default().to_vec())
        }
    };
    Ok(Content(Some(source)))
}
