//! Afterwards, over there: what was taken is deleted or moved.

use super::Imap;
use super::talk::{UNASKED, away};
use crate::collect::collector::After;
use crate::collect::failure::Failure;
use crate::imap::client::{Command, Event, command};
use crate::mail::{Flags, UidSet};

impl Imap<'_> {
    /// Deletes or moves what was taken, and forgets that it had to.
    pub(super) async fn finish_pending(&mut self) -> Result<(), Failure> {
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
}
