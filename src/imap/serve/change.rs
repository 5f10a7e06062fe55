//! Commands that change messages: STORE, COPY, MOVE, EXPUNGE, CLOSE.

use super::refusal::{refusal, target_refusal};
use super::{Driver, FLUSH};
use crate::imap::command::FlagOp;
use crate::imap::flags::{write_fetch_flags, write_flag_lists};
use crate::imap::response::fetch::Fetch;
use crate::imap::response::{self, Code, Status};
use crate::imap::session::{Outcome, Store};
use crate::mail::capability::Capability;
use crate::mail::{MailboxId, MailboxName, Uid, UidSet};
use crate::store::{Error, FlagChange, Origin, Placed, Result, Stored, Watch};
use std::io;
use std::sync::Arc;

impl Driver {
    fn selected(&self) -> Result<(MailboxId, Origin)> {
        let view = self.session.view().ok_or(Error::NoMailbox)?;
        let origin = self.watch.as_ref().map(Watch::origin).unwrap_or_default();
        Ok((view.mailbox, origin))
    }

    pub(super) async fn store_flags(&mut self, command: Store) -> io::Result<Outcome> {
        let asked = command.uids.len();
        match self.change_flags(&command).await {
            Ok(stored) => {
                let met = stored.messages.len() as u64 + stored.modified.len();
                self.own_flags(&stored, !command.silent).await;
                self.tell_stored(&command, &stored).await?;
                Ok(self.stored(&command, &stored.modified, met < asked))
            }
            Err(error) => Ok(refusal(&error)),
        }
    }

    async fn change_flags(&self, command: &Store) -> Result<Stored> {
        let (mailbox, origin) = self.selected()?;
        let change = match command.change {
            FlagOp::Set => FlagChange::Set,
            FlagOp::Add => FlagChange::Add,
            FlagOp::Remove => FlagChange::Remove,
        };
        let (uids, flags) = (command.uids.clone(), command.flags.clone());
        let since = command.unchanged_since;
        let store = &self.context.store;
        store
            .set_flags(mailbox, uids, change, flags, since, origin)
            .await
    }

    /// Keeps what others did before from being told as if it came after.
    pub(super) async fn own_flags(&mut self, stored: &Stored, told: bool) {
        if let Err(error) = self.take_news().await {
            log::warn!("IMAP {}: no news: {error}", self.stream.id());
        }
        if let Some(view) = self.session.view_mut() {
            view.own_flags(&stored.messages, told);
        }
    }

    /// The FETCH of each message, as far as `.SILENT` and CONDSTORE want it.
    async fn tell_stored(&mut self, command: &Store, stored: &Stored) -> io::Result<()> {
        let condstore = self.session.condstore();
        let Some(view) = self.session.view_mut() else {
            return Ok(());
        };
        if stored.keywords.len() > view.keywords().len() {
            write_flag_lists(&mut self.out, &stored.keywords, view.read_only);
            view.told_keywords(Arc::new(stored.keywords.clone()));
        }
        if command.silent && !condstore {
            return Ok(());
        }
        let (numbering, keywords, recent) = (view.numbering(), view.keywords(), view.recent());
        for &(uid, flags, modseq) in &stored.messages {
            let Some(seq) = numbering.seq(uid) else {
                continue;
            };
            if command.silent {
                let mut fetch = Fetch::begin(&mut self.out, seq);
                fetch.uid(uid);
                fetch.modseq(modseq);
                fetch.end();
            } else {
                let flags = (flags, recent.contains(uid));
                let modseq = condstore.then_some(modseq);
                write_fetch_flags(&mut self.out, seq, uid, flags, &keywords, modseq);
            }
            if self.out.len() >= FLUSH {
                self.flush().await?;
            }
        }
        Ok(())
    }

    fn stored(&self, command: &Store, modified: &UidSet, some_gone: bool) -> Outcome {
        if !modified.is_empty() {
            let numbers = match (command.uid, self.session.view()) {
                (false, Some(view)) => view.numbering().numbers(modified),
                _ => modified.clone(),
            };
            return Outcome::ok("Some were changed by others, and left as they are.")
                .with(Code::Modified(&numbers));
        }
        match some_gone && !command.uid {
            true => Outcome::ok("Stored; some messages are gone.").with(Code::ExpungeIssued),
            false => Outcome::ok("Stored."),
        }
    }

    pub(super) async fn copy(&mut self, uids: UidSet, to: MailboxName) -> Outcome {
        match self.copy_to(uids, to).await {
            Ok(placed) => copied(Outcome::ok("Copied."), &placed),
            Err(error) => target_refusal(&error),
        }
    }

    async fn copy_to(&self, uids: UidSet, to: MailboxName) -> Result<Placed> {
        let (from, _) = self.selected()?;
        let to = self.find(to).await?;
        self.context.store.copy(from, uids, to).await
    }

    /// COPYUID comes untagged, ahead of the EXPUNGEs (RFC 6851, 4.3).
    pub(super) async fn move_messages(&mut self, uids: UidSet, to: MailboxName) -> Outcome {
        let (placed, modseq) = match self.move_to(uids, to).await {
            Ok(moved) => moved,
            Err(error) => return target_refusal(&error),
        };
        if placed.uids.is_empty() {
            return Outcome::ok("Nothing was there to move.");
        }
        let code = Code::CopyUid {
            uid_validity: placed.uid_validity,
            uids: &placed.uids,
        };
        if !self.session.lacks(Capability::UidPlus) {
            response::untagged(&mut self.out, Status::Ok, Some(code), "Moved.");
        }
        let gone = placed.uids.iter().map(|&(from, _)| from).collect();
        self.forget(&gone).await;
        self.expunged("Moved.", modseq)
    }

    async fn move_to(
        &self,
        uids: UidSet,
        to: MailboxName,
    ) -> Result<(Placed, crate::mail::ModSeq)> {
        let (from, origin) = self.selected()?;
        let to = self.find(to).await?;
        let store = &self.context.store;
        store.move_messages(from, uids, to, origin).await
    }

    pub(super) async fn expunge(&mut self, uids: Option<UidSet>) -> Outcome {
        match self.remove(uids).await {
            Ok((gone, modseq)) => {
                self.forget(&gone).await;
                self.expunged("Expunged.", modseq)
            }
            Err(error) => refusal(&error),
        }
    }

    async fn remove(&self, uids: Option<UidSet>) -> Result<(UidSet, crate::mail::ModSeq)> {
        let (mailbox, origin) = self.selected()?;
        self.context
            .store
            .expunge(mailbox, uids, false, origin)
            .await
    }

    /// Takes what this session expunged out of its view, after what came in before.
    async fn forget(&mut self, gone: &UidSet) {
        if let Err(error) = self.take_news().await {
            log::warn!("IMAP {}: no news: {error}", self.stream.id());
        }
        if let Some(view) = self.session.view_mut() {
            view.expunge(gone);
        }
    }

    /// A client that keeps mod-sequences is told the one of its own expunge (RFC 7162, 3.2.7).
    fn expunged(&self, text: &'static str, modseq: crate::mail::ModSeq) -> Outcome {
        match self.session.condstore() {
            true => Outcome::ok(text).with(Code::HighestModSeq(modseq)),
            false => Outcome::ok(text),
        }
    }

    pub(super) async fn close(&mut self, expunge: bool) -> Outcome {
        if expunge && let Err(error) = self.remove(None).await {
            return refusal(&error);
        }
        self.watch = None;
        self.session.unselect();
        Outcome::ok("Closed.")
    }
}

fn copied(outcome: Outcome, placed: &Placed) -> Outcome {
    let uids: &[(Uid, Uid)] = &placed.uids;
    if uids.is_empty() {
        return outcome;
    }
    outcome.with(Code::CopyUid {
        uid_validity: placed.uid_validity,
        uids,
    })
}
