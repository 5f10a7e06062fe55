//! Commands on mailboxes: SELECT, LIST, STATUS, and what makes and unmakes them.

use super::refusal::refusal;
use super::{Driver, recent};
use crate::imap::command::{List, StatusItem};
use crate::imap::list::{Entry, list, lsub};
use crate::imap::response;
use crate::imap::response::Code;
use crate::imap::session::{Outcome, Selected};
use crate::imap::view::Opened;
use crate::mail::{Flags, MailboxId, MailboxInfo, MailboxName, Quota, SpecialUse, UidSet};
use crate::store::{Error, Result, Watch};
use std::io;

impl Driver {
    pub(super) async fn select(&mut self, name: MailboxName, read_only: bool) {
        self.watch = None;
        match self.open(name, read_only).await {
            Ok((watch, selected)) => {
                self.watch = Some(watch);
                self.session.selected(selected, &mut self.out);
            }
            Err(error) => {
                self.session.close_selected(&mut self.out);
                self.session.complete(&refusal(&error), &mut self.out);
            }
        }
    }

    /// Watches first, then looks: nothing falls between the two.
    async fn open(&mut self, name: MailboxName, read_only: bool) -> Result<(Watch, Selected)> {
        let store = self.store();
        let mailbox = self.find(name).await?;
        let watch = store.watch(mailbox);
        let first_recent = recent(&store, mailbox, read_only).await?;
        let read = store.look(|snapshot| {
            let info = snapshot.mailbox_by_id(mailbox)?.ok_or(Error::NoMailbox)?;
            Ok(Selected {
                uid_validity: info.uid_validity,
                uid_next: info.uid_next,
                first_unseen: snapshot.first_unseen(mailbox)?,
                opened: Opened {
                    mailbox,
                    read_only,
                    uids: snapshot.uids(mailbox)?,
                    keywords: info.keywords,
                    highest_modseq: info.highest_modseq,
                    first_recent,
                },
            })
        });
        Ok((watch, read?))
    }

    /// The mailbox of this name, as far as it is one.
    pub(super) async fn find(&self, name: MailboxName) -> Result<MailboxId> {
        Ok(self.info(name).await?.id)
    }

    async fn info(&self, name: MailboxName) -> Result<MailboxInfo> {
        let account = self.account();
        let store = &self.context.store;
        let found = store.look(|snapshot| snapshot.mailbox(account, &name));
        found?.ok_or(Error::NoMailbox)
    }

    pub(super) async fn create(
        &mut self,
        name: MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Outcome {
        let store = &self.context.store;
        let created = store.create_mailbox(self.account(), name, special_use);
        done(created.await.map(drop), "Created.")
    }

    pub(super) async fn delete(&mut self, name: MailboxName) -> Outcome {
        match self.delete_named(name).await {
            Ok(mailbox) => {
                if self
                    .session
                    .view()
                    .is_some_and(|view| view.mailbox == mailbox)
                {
                    self.watch = None;
                    self.session.close_selected(&mut self.out);
                }
                Outcome::ok("Deleted.")
            }
            Err(error) => refusal(&error),
        }
    }

    async fn delete_named(&self, name: MailboxName) -> Result<MailboxId> {
        let mailbox = self.find(name.clone()).await?;
        let store = &self.context.store;
        store.delete_mailbox(self.account(), name).await?;
        Ok(mailbox)
    }

    pub(super) async fn rename(&mut self, from: MailboxName, to: MailboxName) -> Outcome {
        let store = &self.context.store;
        let renamed = store.rename_mailbox(self.account(), from, to).await;
        done(renamed, "Renamed.")
    }

    pub(super) async fn subscribe(&mut self, name: MailboxName, subscribed: bool) -> Outcome {
        let store = &self.context.store;
        let text = match subscribed {
            true => "Subscribed.",
            false => "Unsubscribed.",
        };
        done(
            store.subscribe(self.account(), name, subscribed).await,
            text,
        )
    }

    pub(super) async fn list(&mut self, command: List) -> io::Result<Outcome> {
        // An empty pattern asks for the separator alone (RFC 3501, 6.3.8).
        if command.patterns.iter().all(String::is_empty) {
            response::mailbox::list_root(&mut self.out, "LIST");
            return Ok(Outcome::ok("Listed."));
        }
        let account = self.account();
        let read = self.context.store.read(move |snapshot| {
            let mailboxes = snapshot.mailboxes(account)?;
            let entries = list(&mailboxes, &snapshot.subscriptions(account)?, &command);
            Ok((mailboxes, entries, command.return_status))
        });
        let (mailboxes, entries, items) = match read.await {
            Ok(read) => read,
            Err(error) => return Ok(refusal(&error)),
        };
        for entry in entries {
            self.write_entry("LIST", &entry);
            let info = entry.mailbox.and_then(|n| mailboxes.get(n));
            if let Some(info) = info.filter(|_| !items.is_empty())
                && let Err(error) = self.write_status(info, &items).await
            {
                return Ok(refusal(&error));
            }
            if self.out.len() >= super::FLUSH {
                self.flush().await?;
            }
        }
        Ok(Outcome::ok("Listed."))
    }

    pub(super) async fn lsub(&mut self, reference: String, pattern: String) -> Outcome {
        if pattern.is_empty() {
            response::mailbox::list_root(&mut self.out, "LSUB");
            return Outcome::ok("Listed.");
        }
        let account = self.account();
        let read = self.context.store.read(move |snapshot| {
            let mailboxes = snapshot.mailboxes(account)?;
            let subscriptions = snapshot.subscriptions(account)?;
            Ok(lsub(&mailboxes, &subscriptions, &reference, &pattern))
        });
        match read.await {
            Ok(entries) => {
                for entry in entries {
                    self.write_entry("LSUB", &entry);
                }
                Outcome::ok("Listed.")
            }
            Err(error) => refusal(&error),
        }
    }

    fn write_entry(&mut self, word: &str, entry: &Entry) {
        response::mailbox::list(
            &mut self.out,
            word,
            &entry.attributes,
            entry.name.as_str(),
            false,
            entry.child_info,
        );
    }

    pub(super) async fn status(&mut self, name: MailboxName, items: Vec<StatusItem>) -> Outcome {
        let written = match self.info(name).await {
            Ok(info) => self.write_status(&info, &items).await,
            Err(error) => Err(error),
        };
        done(written, "That is all.")
    }

    async fn write_status(&mut self, info: &MailboxInfo, items: &[StatusItem]) -> Result<()> {
        let recent = match items.contains(&StatusItem::Recent) {
            true => self.count_recent(info).await?,
            false => 0,
        };
        let reclaimable = match items.contains(&StatusItem::DeletedStorage) {
            true => self.deleted_storage(info).await?,
            false => 0,
        };
        let value = |item| match item {
            StatusItem::Messages => u64::from(info.messages),
            StatusItem::Recent => recent,
            StatusItem::UidNext => u64::from(info.uid_next.get()),
            StatusItem::UidValidity => u64::from(info.uid_validity.get()),
            StatusItem::Unseen => u64::from(info.unseen),
            StatusItem::Deleted => u64::from(info.deleted),
            StatusItem::DeletedStorage => reclaimable,
            StatusItem::Size => info.size,
            StatusItem::HighestModSeq => info.highest_modseq.get(),
            StatusItem::AppendLimit => self.context.settings().max_message_size,
        };
        let values: Vec<_> = items.iter().map(|&item| (item, value(item))).collect();
        response::mailbox::status(&mut self.out, info.name.as_str(), false, &values);
        Ok(())
    }

    /// Bytes of what EXPUNGE would take away.
    async fn deleted_storage(&self, info: &MailboxInfo) -> Result<u64> {
        if info.deleted == 0 {
            return Ok(0);
        }
        let mailbox = info.id;
        let read = self.context.store.read(move |snapshot| {
            let mut bytes = 0u64;
            let all = UidSet::from_ranges(vec![(1, u32::MAX)]);
            snapshot.messages(mailbox, &all, |message| {
                if message.flags.contains(Flags::DELETED) {
                    bytes = bytes.saturating_add(message.size.into());
                }
                Ok(true)
            })?;
            Ok(bytes)
        });
        read.await
    }

    /// An account is one quota root, named ``, if it has a limit (RFC 9208, 3).
    pub(super) async fn quota(&mut self, mailbox: Option<MailboxName>) -> Outcome {
        let account = self.account();
        let store = &self.context.store;
        let read = async {
            // It has to be there.
            let info = match &mailbox {
                Some(name) => Some(self.info(name.clone()).await?),
                None => None,
            };
            let used = store.read(move |snapshot| snapshot.usage(account)).await?;
            Ok((info, used, store.quota_of(account)?))
        };
        let (info, used, limit) = match read.await {
            Ok(read) => read,
            Err(error) => return refusal(&error),
        };
        let limited = limit != Quota::default();
        if let Some(info) = &info {
            response::mailbox::quota_root(&mut self.out, info.name.as_str(), limited);
        } else if !limited {
            return Outcome::no(Code::NonExistent, "This account has no quota.");
        }
        if limited {
            response::mailbox::quota(&mut self.out, used, limit);
        }
        Outcome::ok("That is all.")
    }

    /// In the mailbox that this session has selected, what it was told is \Recent.
    async fn count_recent(&self, info: &MailboxInfo) -> Result<u64> {
        if let Some(view) = self.session.view().filter(|view| view.mailbox == info.id) {
            return Ok(u64::from(view.recent_count()));
        }
        let mailbox = info.id;
        let first = self.context.store.first_recent(mailbox).await?;
        if first >= info.uid_next {
            return Ok(0);
        }
        let new = UidSet::from_ranges(vec![(first.get(), u32::MAX)]);
        let read = self.context.store.read(move |snapshot| {
            let mut count = 0;
            snapshot.messages(mailbox, &new, |_| {
                count += 1;
                Ok(true)
            })?;
            Ok(count)
        });
        read.await
    }
}

fn done(result: Result<()>, text: &'static str) -> Outcome {
    match result {
        Ok(()) => Outcome::ok(text),
        Err(error) => refusal(&error),
    }
}
