//! APPEND: the message goes to the store slice by slice, as it comes.

use super::Driver;
use super::refusal::{refusal, target_refusal};
use crate::imap::command::Append;
use crate::imap::response::Code;
use crate::imap::session::Outcome;
use crate::mail::{DateTime, FlagNames, MailboxId, MailboxName, UidSet};
use crate::message::line_end::LineEnds;
use crate::store::{Error, Origin, Placed, Result, Staging};
use std::time::{SystemTime, UNIX_EPOCH};

/// A message on its way in.
pub(super) struct Upload {
    staging: Staging,
    mailbox: MailboxId,
    flags: FlagNames,
    date: Option<DateTime>,
    /// A literal8, which may hold NUL (RFC 3516, 4.4).
    binary: bool,
    line_ends: LineEnds,
}

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
        if append.size > self.context.settings.max_message_size {
            return Err(refusal(&Error::TooLarge));
        }
        if append.size == 0 {
            let text = "An empty message can't be kept: send at least a header.";
            return Err(Outcome::no(Code::Cannot, text));
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
            binary: append.binary,
            line_ends: LineEnds::default(),
        })
    }

    /// The next `n` bytes of the message.
    pub(super) async fn store_data(&mut self, n: usize) {
        let written = match &mut self.upload {
            Some(upload) => upload.write(self.session.data(n)).await,
            None => Err(Error::Closed),
        };
        match written {
            Ok(()) => self.session.taken(n),
            Err(error) => {
                self.upload = None;
                self.session.refuse_append(&refusal(&error), &mut self.out);
            }
        }
    }

    pub(super) async fn end_append(&mut self) -> Outcome {
        let Some(upload) = self.upload.take() else {
            return refusal(&Error::Closed);
        };
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
                "A message with NUL in it can't be kept: send it in an encoding.",
            ),
            Err(error) => target_refusal(&error),
        }
    }

    /// `None` for what BODY[] could never give back. The session hears of its own message
    /// from the hub, as of any other.
    async fn commit(&self, upload: Upload) -> Result<Option<Placed>> {
        let staged = upload.staging.finish().await?;
        if upload.binary && staged.structure.has_nul {
            return Ok(None);
        }
        let date = upload.date.unwrap_or_else(now);
        let message = vec![(staged, upload.flags, date)];
        let store = &self.context.store;
        let placed = store.append(upload.mailbox, message, Origin(None)).await?;
        Ok(Some(placed))
    }
}

impl Upload {
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
