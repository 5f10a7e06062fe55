//! APPEND: the message goes to the store slice by slice, as it comes; what URLs of a CATENATE
//! (RFC 4469) name likewise, as it is read.

use super::Driver;
use super::refusal::{refusal, target_refusal};
use crate::imap::command::Append;
use crate::imap::response::Code;
use crate::imap::session::Outcome;
use crate::imap_url::access;
use crate::mail::{DateTime, FlagNames, MailboxId, MailboxName, UidSet};
use crate::message::convert::Target;
use crate::message::line_end::LineEnds;
use crate::store::{Error, Origin, Placed, Result, Staging};
use std::time::{SystemTime, UNIX_EPOCH};

/// A message on its way in.
pub(super) struct Upload {
    staging: Staging,
    mailbox: MailboxId,
    flags: FlagNames,
    date: Option<DateTime>,
    /// Bytes so far, and of what has been announced.
    size: u64,
    /// What comes is a literal8, which may hold NUL (RFC 3516, 4.4); whether any was.
    binary: bool,
    any_binary: bool,
    line_ends: LineEnds,
}

const EMPTY: &str = "An empty message can't be kept: send at least a header.";

impl Driver {
    pub(super) async fn begin_append(&mut self, append: Append, name: MailboxName) {
        match self.stage(append, name).await {
            Ok(upload) => {
                self.upload = Some(Box::new(upload));
                self.session.accept_append();
            }
            Err(outcome) => self.session.refuse_append(&outcome, &mut self.out),
        }
    }

    async fn stage(
        &self,
        append: Append,
        name: MailboxName,
    ) -> std::result::Result<Upload, Outcome> {
        if append.size > self.context.settings().max_message_size {
            return Err(refusal(&Error::TooLarge));
        }
        if append.size == 0 && !append.catenate {
            return Err(Outcome::no(Code::Cannot, EMPTY));
        }
        let staged = async {
            let mailbox = self.find(name).await?;
            let staging = self.context.store.stage(Some(append.size)).await?;
            Ok((mailbox, staging))
        };
        let (mailbox, staging) = staged.await.map_err(|error| target_refusal(&error))?;
        Ok(Upload {
            staging,
            mailbox,
            flags: append.flags,
            date: append.date,
            size: append.size,
            binary: append.binary,
            any_binary: append.binary,
            line_ends: LineEnds::default(),
        })
    }

    /// Lets a TEXT of a CATENATE come, if the message does not grow too large by it.
    pub(super) fn append_text(&mut self, size: u64, binary: bool) {
        let limit = self.context.settings().max_message_size;
        match self.upload.as_mut().and_then(|it| it.grow(size, limit)) {
            Some(upload) => {
                upload.binary = binary;
                upload.any_binary |= binary;
                self.session.accept_append();
            }
            None => self.stop_append(&refusal(&Error::TooLarge)),
        }
    }

    /// Puts what a URL names into the message, byte for byte.
    pub(super) async fn append_url(&mut self, url: &str) {
        if let Err(outcome) = self.write_url(url).await {
            self.stop_append(&outcome);
        }
    }

    async fn write_url(&mut self, url: &str) -> std::result::Result<(), Outcome> {
        let refused = |error| refusal(&error);
        let asker = self.asker().map_err(refused)?;
        let store = self.store();
        let opened = access::open(&store, &asker, url).await;
        let mut content = opened.map_err(|why| super::url::bad_url(url, why))?;
        let limit = self.context.settings().max_message_size;
        let upload = self.upload.as_mut();
        let upload = upload.and_then(|it| it.grow(content.size(), limit));
        let upload = upload.ok_or_else(|| refusal(&Error::TooLarge))?;
        loop {
            let piece = content.next(&store).await.map_err(refused)?;
            if piece.is_empty() {
                return Ok(());
            }
            upload.line_ends.pass(&piece);
            upload.staging.write(&piece).await.map_err(refused)?;
        }
    }

    fn stop_append(&mut self, outcome: &Outcome) {
        self.upload = None;
        self.session.refuse_append(outcome, &mut self.out);
    }

    /// The next `n` bytes of the message.
    pub(super) async fn store_data(&mut self, n: usize) {
        let written = match &mut self.upload {
            Some(upload) => upload.write(self.session.data(n)).await,
            None => Err(Error::Closed),
        };
        match written {
            Ok(()) => self.session.taken(n),
            Err(error) => self.stop_append(&refusal(&error)),
        }
    }

    pub(super) async fn end_append(&mut self) -> Outcome {
        let Some(upload) = self.upload.take() else {
            return refusal(&Error::Closed);
        };
        if upload.size == 0 {
            return Outcome::no(Code::Cannot, EMPTY);
        }
        match self.commit(*upload).await {
            Ok(Some(placed)) => {
                let uids: UidSet = placed.uids.iter().map(|&(_, uid)| uid).collect();
                let outcome = Outcome::ok("Appended.");
                outcome.with(Code::AppendUid {
                    uid_validity: placed.uid_validity,
                    uids: &uids,
                })
            }
            Ok(None) => Outcome::no(
                Code::UnknownCte,
                "The NUL is in no part that could become base64: send it encoded.",
            ),
            Err(error) => target_refusal(&error),
        }
    }

    /// `None` for what BODY[] could never give back. The session hears of its own message
    /// from the hub, as of any other.
    async fn commit(&self, upload: Upload) -> Result<Option<Placed>> {
        // The part that a NUL is in becomes base64 (RFC 3516, 4.4 leaves that to the server).
        let staged = match upload.any_binary {
            true => upload.staging.finish_as(Target::NoNul).await?,
            false => Some(upload.staging.finish().await?),
        };
        let Some(staged) = staged else {
            return Ok(None);
        };
        let date = upload.date.unwrap_or_else(now);
        let message = vec![(staged, upload.flags, date)];
        let store = &self.context.store;
        let placed = store.append(upload.mailbox, message, Origin(None)).await?;
        Ok(Some(placed))
    }
}

impl Upload {
    /// Counts `size` bytes to come; `None` if that is over the limit.
    fn grow(&mut self, size: u64, limit: u64) -> Option<&mut Upload> {
        self.size = self.size.saturating_add(size);
        (self.size <= limit).then_some(self)
    }

    /// Line ends become CRLF, as every message has them (RFC 5322, 2.3), so that the size
    /// told is the size that POP3 sends; a literal8 is kept as it is.
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.binary {
            return self.staging.write(bytes).await;
        }
        let bytes = self.line_ends.mend(bytes);
        self.staging.write(&bytes).await
    }
}

/// This moment, in UTC.
fn now() -> DateTime {
    DateTime {
        unix: seconds_now(),
        offset: 0,
    }
}

/// Seconds since 1970.
pub(super) fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX))
}
