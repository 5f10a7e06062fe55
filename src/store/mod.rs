//! The mail store: `meta.redb` for every row, `mail/` for the bytes of messages.
//! The only module that names redb.
//!
//! Reads see one snapshot and never block a write. Writes go to one writer thread, which makes
//! all that wait one transaction: it is written to the active segment with one sync, messages
//! and changed rows together ([`log`]); the database takes it up in memory; then the changes are
//! published and the callers answered. Now and then a checkpoint makes the database durable:
//! after 1 MiB of changed rows, 2,048 transactions or ten seconds of quiet, and at the end. A
//! start reads from the log what came after the last one.
//!
//! What holds at every moment, power cut or not:
//!
//! - A transaction is made when its batch in the log is durable. Batches are written one after
//!   another, each only when the one before is durable, so the first that isn't whole ends the log.
//! - A batch that failed never comes back: it is taken away, or a checkpoint makes its number void,
//!   before anything else is written.
//! - A row names bytes only after those are durable: they are in its batch, or in a file of
//!   their own that was synced before.
//! - A segment file is never changed below the length that its row records, nor below the end of
//!   the log in it. It is removed or cut only after a checkpoint of the rows that allow it.
//! - One transaction is one moment for readers, watchers and a reopened store.
//! - A blob's count of references is the number of rows, of mailboxes and of the queue of
//!   outgoing mail, that name it.

mod account;
mod addressing;
mod app_password;
mod audit;
mod blob;
mod block;
mod certificate;
mod change;
pub mod check;
pub mod codec;
mod commit;
mod compact;
pub mod disk;
mod ending;
mod error;
mod frame;
mod gather;
mod home;
mod log;
mod mailbox;
mod message;
mod noted;
mod option;
mod outbox;
mod outbox_row;
mod queue;
mod quota;
mod record;
mod recover;
mod redo;
mod remember;
mod schema;
mod segment;
mod shared;
pub mod simdisk;
mod snapshot;
mod space;
mod staging;
mod standing;
mod table;
#[cfg(test)]
mod tests;
mod transfer;
mod tx;
mod types;
mod unbinary;
mod url_key;
mod writer;

use crate::address::{Address, Domain};
use crate::mail::addressing::{Device, Grant};
use crate::mail::option::AccountOptions;
use crate::mail::outgoing::{QueueId, Status};
use crate::mail::*;
use crate::secret::Credential;
use crate::task;
use commit::{Committer, FULL_CACHE};
use disk::{CountedDisk, Counters, Disk, RealDisk};
use futures_lite::FutureExt;
use outbox::Letter;
use recover::KEEP;
use segment::{Segments, lock};
use shared::{Handle, Shared};
use space::Space;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tx::Tx;
use writer::Writer;

pub use account::MAX_ALIASES;
pub use addressing::MAX_MEMBERS;
pub use app_password::{APP_SERVICES, AppPassword, MAX_APP_PASSWORDS};
pub use audit::{Event, Kind, LastUse, Wanted};
pub use blob::Blob;
pub use certificate::{KnownCertificate, MAX_CERTIFICATES};
pub use change::{MAX_WAITING, News, Watch};
pub use ending::Ended;
pub use error::{Error, Result};
pub use home::{HOME_SERVER, Home};
pub use mailbox::{MAX_MAILBOXES, MAX_SUBSCRIPTIONS};
pub use noted::{Note, Noted};
pub use outbox::{Due, MAX_QUEUE, MAX_QUEUE_RECIPIENTS, QueueNews};
pub use quota::Held;
pub use record::{MAX_RECORD, MAX_RECORDS};
pub use redo::rewritten;
pub use remember::{MAX_REMEMBERED, name_of_account, name_of_device};
pub use schema::Schemas;
pub use snapshot::Snapshot;
pub use staging::{MAX_UPLOADS, Staged, Staging};
pub use transfer::MAX_VANISHED;
pub use types::{
    Delivery, FlagChange, HandOver, NewItem, Options, Origin, Placed, Posting, QueueChange, Stored,
};
pub use url_key::UrlKey;

/// The open store; clones share it.
#[derive(Clone)]
pub struct Store(Arc<Front>);

/// The callers' side: when the last clone goes, the writer thread ends.
struct Front(Arc<Shared>);

impl Drop for Front {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

impl Store {
    /// Opens or makes the store in `dir`, recovers it, sweeps what a crash left.
    /// Takes a lock that keeps a second process out.
    pub fn open(dir: &Path, options: Options) -> Result<Store> {
        Store::open_on(Arc::new(RealDisk::new(dir)?), options)
    }

    /// As `open`, on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Store> {
        let counters = Arc::new(Counters::default());
        let disk: Arc<dyn Disk> = Arc::new(CountedDisk {
            below: disk,
            counters: counters.clone(),
        });
        if !disk.lock()? {
            let why = "the store is in use by another process";
            return Err(Error::Unusable(why.into()));
        }
        let open = |cache| Store::open_locked(&disk, &options, cache, &counters);
        let mut opened = open(options.cache);
        // Reading the log may need a little room, or else memory.
        if matches!(opened, Err(Error::Full)) && Space::new(disk.clone(), &options).drop_ballast() {
            opened = open(options.cache);
        }
        if matches!(opened, Err(Error::Full)) {
            opened = open(options.cache.max(FULL_CACHE));
        }
        if opened.is_err() {
            disk.unlock();
        }
        opened
    }

    fn open_locked(
        disk: &Arc<dyn Disk>,
        options: &Options,
        cache: usize,
        counters: &Arc<Counters>,
    ) -> Result<Store> {
        let full: Arc<AtomicBool> = Arc::default();
        let no_room = |error| match full.load(Relaxed) {
            true => Error::Full,
            false => error,
        };
        let db = recover::open_database(&**disk, cache, &full).map_err(no_room)?;
        let schema = recover::check_schema(&db, &options.schemas).map_err(no_room)?;
        let names = disk.list(segment::DIRECTORY)?;
        let (key, mark) = recover::read_mark(&db)?;
        let segments = Segments::new(disk.clone(), recover::next_segment(&names, mark));
        let replayed = recover::replay(&db, &segments, &names, u64::MAX).map_err(no_room)?;
        if replayed.hole || replayed.skipped || names.iter().any(|name| name == KEEP) {
            segments.keep_files();
        }
        let mut rows = recover::read_rows(&db)?;
        if replayed.hole || replayed.skipped {
            rows.email += u64::from(mailbox::LOST_NUMBERS);
        }
        let position = match replayed.hole {
            true => rows.position_beyond(&segments, replayed.end)?,
            false => rows.position(&segments, replayed.end)?,
        };
        let handle = Arc::new(Handle { db });
        let shared = Arc::new(Shared::new(
            disk.clone(),
            options.clone(),
            segments,
            counters.clone(),
            handle.clone(),
        ));
        let mut committer = Committer::new(shared.clone(), handle, full, cache, key, position);
        committer.note_replayed(&replayed);
        if replayed.hole {
            recover::report_hole(&**disk, replayed.end);
            // Before any write: numbers behind the hole would be given out again.
            committer.settle()?;
        } else if replayed.skipped {
            // What is lost may have named segments anew that now have no row.
            recover::keep_files(&**disk);
            // Where it fails, the first change skips the numbers of what is lost.
            committer.settle().ok();
        }
        if options.raise_schema && schema < options.schemas.newest() {
            match committer.raise_schema(schema) {
                Ok(()) => ::log::info!("the store has schema {} now", options.schemas.newest()),
                // It is as good in the form that it has.
                Err(error) => ::log::warn!("the store keeps schema {schema} for now: {error}"),
            }
        }
        let unswept = match replayed.clean {
            _ if replayed.hole || replayed.skipped => None,
            true => {
                committer.sweep(&names, false)?;
                None
            }
            false => Some(names),
        };
        shared.space.restore_ballast();
        let writer = Writer::new(shared.clone(), committer, unswept);
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())?;
        Ok(Store(Arc::new(Front(shared))))
    }

    /// Ends the writer after what is queued; later calls give [`Error::Closed`].
    pub async fn close(&self) {
        self.shared().queue.close();
        self.shared().queue.ended().await;
    }

    /// Gives when the writer has had its turn, and its turn alone: nothing is written. An error
    /// is what a write would have got.
    pub async fn reach_writer(&self) -> Result<()> {
        self.write(|_| Ok(())).await
    }

    /// What the store has done since it was opened.
    pub fn counters(&self) -> &Counters {
        &self.shared().counters
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    // Reading.

    /// Runs `f` on a snapshot, at once and on the caller's thread: for a few rows, or for a
    /// batch that watches the clock. They are in a cache nearly always, and the way to the pool
    /// and back would cost several times what they do.
    pub fn look<T>(&self, f: impl FnOnce(&Snapshot) -> Result<T>) -> Result<T> {
        f(&Snapshot::new(self.shared().clone())?)
    }

    /// Runs `f` on a snapshot in the reader pool: for what may take long, or wait for the disk.
    /// Keep it under a second: a snapshot pins pages.
    pub async fn read<T, F>(&self, f: F) -> Result<T>
    where
        F: FnOnce(&Snapshot) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let shared = self.shared().clone();
        task::unblock(move || f(&Snapshot::new(shared)?)).await
    }

    // Accounts.

    /// Also makes INBOX and the special-use mailboxes Archive, Drafts, Junk, Sent, Trash, subscribed.
    pub async fn create_account(
        &self,
        address: Address,
        credential: Credential,
    ) -> Result<AccountId> {
        self.grow(move |tx| account::create(tx, &address, &credential))
            .await
    }
    pub async fn set_credential(&self, account: AccountId, credential: Credential) -> Result<()> {
        self.write(move |tx| account::set_credential(tx, account, &credential))
            .await?;
        self.end_sessions(account, Some("password".into()));
        Ok(())
    }
    /// With all its mail; its space comes back in the background.
    pub async fn delete_account(&self, account: AccountId) -> Result<()> {
        self.write(move |tx| account::delete(tx, account)).await?;
        self.gone(account);
        Ok(())
    }
    /// As [`Store::delete_account`], [`Error::Forbidden`] unless it is [`Standing::Deleted`].
    pub async fn purge_account(&self, account: AccountId) -> Result<()> {
        self.write(move |tx| standing::purge(tx, account)).await?;
        self.gone(account);
        Ok(())
    }
    /// Takes a deleted account away if its time is over, by the clock (`now`, seconds since
    /// 1970) and by the days that were counted; counts this one, or one that has passed by
    /// another clock. Whether it is gone. For those of [`Snapshot::falling_due`].
    pub async fn expire_account(
        &self,
        account: AccountId,
        now: i64,
        day_passed: bool,
    ) -> Result<bool> {
        let expired = self.write(move |tx| standing::expire(tx, account, now, day_passed));
        let expired = expired.await?;
        if expired {
            self.gone(account);
        }
        Ok(expired)
    }
    fn gone(&self, account: AccountId) {
        self.end_sessions(account, None);
        // Its collectors went with it.
        self.tell_of_records();
    }
    /// Another own address, everything else as it was. [`Error::Exists`] if it is taken. The old
    /// one becomes an alias, or where groups and catch-alls name it they name the new one, and
    /// the account's sessions end: they would send as the old one. Makes
    /// the notes with it, all or nothing.
    pub async fn rename_account(
        &self,
        account: AccountId,
        to: Address,
        keep_alias: bool,
        notes: Vec<Note>,
    ) -> Result<()> {
        self.grow(move |tx| {
            account::rename(tx, account, &to, keep_alias)?;
            noted::make(tx, &notes)
        })
        .await?;
        if !keep_alias {
            self.end_sessions(account, None);
        }
        Ok(())
    }
    pub async fn add_alias(&self, alias: Address, account: AccountId) -> Result<()> {
        self.grow(move |tx| account::add_alias(tx, &alias, account))
            .await
    }
    pub async fn remove_alias(&self, alias: Address) -> Result<()> {
        self.write(move |tx| account::remove_alias(tx, &alias))
            .await
    }

    /// `f` changes the account's options, all at one moment; it may be called more than once.
    pub async fn change_options<F>(&self, account: AccountId, mut f: F) -> Result<()>
    where
        F: FnMut(&mut AccountOptions) + Send + 'static,
    {
        self.grow(move |tx| option::change(tx, account, &mut f))
            .await
    }

    /// [`Error::Exists`] if the account has one of that name, [`Error::Limit`] over
    /// [`MAX_APP_PASSWORDS`].
    pub async fn add_app_password(&self, account: AccountId, new: AppPassword) -> Result<()> {
        self.grow(move |tx| app_password::add(tx, account, &new))
            .await
    }
    /// Whether there was one. Its sessions end.
    pub async fn remove_app_password(&self, account: AccountId, name: String) -> Result<bool> {
        let removed = self.write(move |tx| app_password::remove(tx, account, &name));
        let removed = removed.await?;
        for name in &removed {
            self.end_sessions(account, Some(format!("app password {name}")));
        }
        Ok(!removed.is_empty())
    }
    /// [`Error::Forbidden`] if it does not stand as `from` says: somebody else was faster.
    /// Where nobody logs in any more, its sessions end.
    pub async fn set_standing(
        &self,
        account: AccountId,
        from: Standing,
        to: Standing,
    ) -> Result<()> {
        let set = self.write(move |tx| standing::set(tx, account, from, to));
        set.await?;
        if to != Standing::Active {
            self.end_sessions(account, None);
        }
        Ok(())
    }

    // Addresses beyond an account's own; see `recipient`.

    /// `f` changes the group's members, from none if there is no such group; it may be called
    /// more than once. A group without members is gone. [`Error::Exists`] where an account or
    /// alias has the address.
    pub async fn change_group<F>(&self, group: Address, mut f: F) -> Result<()>
    where
        F: FnMut(&mut Vec<Address>) + Send + 'static,
    {
        self.grow(move |tx| addressing::change_group(tx, &group, &mut f))
            .await
    }
    /// `f` changes whom else the account may send as; it may be called more than once.
    pub async fn change_grants<F>(&self, account: AccountId, mut f: F) -> Result<()>
    where
        F: FnMut(&mut Vec<Grant>) + Send + 'static,
    {
        self.grow(move |tx| addressing::change_grants(tx, account, &mut f))
            .await
    }
    /// Whether there was one, for `None`.
    pub async fn set_catch_all(&self, domain: Domain, to: Option<Address>) -> Result<bool> {
        self.grow(move |tx| addressing::set_catch_all(tx, &domain, to.as_ref()))
            .await
    }
    /// [`Error::Exists`] if there is one of that name.
    pub async fn add_device(&self, device: Device) -> Result<()> {
        self.grow(move |tx| addressing::add_device(tx, &device))
            .await
    }
    /// Whether there was one.
    pub async fn remove_device(&self, name: String) -> Result<bool> {
        self.write(move |tx| addressing::remove_device(tx, &name))
            .await
    }

    // Records: what has few rows and an owner elsewhere.

    /// Puts a record in place of the one under that key. [`Error::Limit`] for one longer than
    /// [`MAX_RECORD`] or over [`MAX_RECORDS`] of a kind.
    pub async fn put_record(&self, kind: &'static str, key: &str, value: Vec<u8>) -> Result<()> {
        let key = key.to_owned();
        let put = self.grow(move |tx| record::put(tx, kind, &key, &value));
        put.await.inspect(|()| self.tell_of_records())
    }
    /// Whether there was one.
    pub async fn remove_record(&self, kind: &'static str, key: &str) -> Result<bool> {
        let key = key.to_owned();
        let removed = self.write(move |tx| record::remove(tx, kind, &key));
        removed.await.inspect(|_| self.tell_of_records())
    }

    // Mailboxes.

    /// Makes missing superior mailboxes too (RFC 9051, 6.3.4).
    pub async fn create_mailbox(
        &self,
        account: AccountId,
        name: MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxInfo> {
        self.grow(move |tx| mailbox::create(tx, account, &name, special_use))
            .await
    }
    /// Its messages too. Inferior mailboxes stay; the name may then be listed as \NonExistent.
    pub async fn delete_mailbox(&self, account: AccountId, name: MailboxName) -> Result<()> {
        self.write(move |tx| mailbox::delete(tx, account, &name))
            .await
    }
    /// With everything below it; renaming INBOX moves its messages and leaves it empty (RFC 9051, 6.3.6).
    pub async fn rename_mailbox(
        &self,
        account: AccountId,
        from: MailboxName,
        to: MailboxName,
    ) -> Result<()> {
        self.write(move |tx| mailbox::rename(tx, account, &from, &to))
            .await
    }
    /// A name can be subscribed without a mailbox of that name.
    pub async fn subscribe(
        &self,
        account: AccountId,
        name: MailboxName,
        subscribed: bool,
    ) -> Result<()> {
        self.write(move |tx| mailbox::set_subscribed(tx, account, &name, subscribed))
            .await
    }

    // Messages. All writes are durable when they return.

    /// [`Error::Full`] where the disk has no room for so many bytes more.
    pub fn check_room(&self, bytes: u64) -> Result<()> {
        self.shared().space.check(bytes)
    }
    /// Begins an upload. [`Error::Full`] or [`Error::Busy`] before a byte is taken.
    /// `size` is what the client announced, if it did.
    pub async fn stage(&self, size: Option<u64>) -> Result<Staging> {
        let shared = self.shared();
        if shared.queue.is_closed() {
            return Err(Error::Closed);
        }
        let size = size.unwrap_or(0);
        if size > shared.max_message() {
            return Err(Error::TooLarge);
        }
        shared.space.check(size)?;
        Staging::new(shared)
    }
    /// One transaction for all of `deliveries` and the queue; the bytes are stored once.
    /// Gives the number that the message has in the queue.
    pub async fn deliver(
        &self,
        message: Staged,
        date: DateTime,
        deliveries: Vec<Delivery>,
        queued: Option<NewItem>,
    ) -> Result<Option<QueueId>> {
        let letter = Letter {
            data: message.data,
            date,
            deliveries,
            queued,
        };
        let bytes = letter.data.packed.len();
        self.submit(true, bytes, move |tx| outbox::deliver(tx, &letter))
            .await
    }
    /// As [`Store::deliver`], and in the same transaction posts what tells of it.
    pub async fn deliver_with(
        &self,
        posting: Posting,
        notices: Vec<Posting>,
    ) -> Result<Option<QueueId>> {
        let all = std::iter::once(posting).chain(notices);
        let letters: Vec<Letter> = all.map(Letter::from).collect();
        let bytes = letters.iter().map(|it| it.data.packed.len()).sum();
        self.submit(true, bytes, move |tx| outbox::deliver_all(tx, &letters))
            .await
    }
    /// As [`Store::deliver_with`], held to the quotas of the message's own recipients. Gives
    /// those who go without.
    pub async fn deliver_within(
        &self,
        posting: Posting,
        notices: Vec<Posting>,
        held: Held,
    ) -> Result<Vec<AccountId>> {
        let default = self.quota();
        let letter = Letter::from(posting);
        let notices: Vec<Letter> = notices.into_iter().map(Letter::from).collect();
        let bytes = std::iter::once(&letter).chain(&notices);
        let bytes = bytes.map(|it| it.data.packed.len()).sum();
        self.submit(true, bytes, move |tx| {
            outbox::deliver_within(tx, &letter, &notices, default, &held)
        })
        .await
    }
    /// Gives recipients of a queued message these statuses, and in the same transaction puts
    /// copies of it where `over` says and posts `postings`. False, and nothing is done, unless
    /// all these recipients wait and the message is not held.
    pub async fn hand_over(
        &self,
        id: QueueId,
        statuses: Vec<(usize, Status)>,
        over: HandOver,
        date: DateTime,
        postings: Vec<Posting>,
    ) -> Result<bool> {
        let default = self.quota();
        let letters: Vec<Letter> = postings.into_iter().map(Letter::from).collect();
        let bytes = letters.iter().map(|it| it.data.packed.len()).sum();
        self.submit(true, bytes, move |tx| {
            outbox::hand_over(tx, default, id, &statuses, &over, date, &letters)
        })
        .await
    }
    /// Changes queued messages, and with that, in one transaction, posts what their senders
    /// are to be told; only if a change had an effect. Gives how many had one.
    pub async fn update_queue(
        &self,
        changes: Vec<(QueueId, QueueChange)>,
        postings: Vec<Posting>,
    ) -> Result<usize> {
        let letters: Vec<Letter> = postings.into_iter().map(Letter::from).collect();
        let bytes = letters.iter().map(|it| it.data.packed.len()).sum();
        let is_retry = |it: &(QueueId, QueueChange)| matches!(it.1, QueueChange::Retry { .. });
        let retries = changes.iter().any(is_retry);
        let tell = || retries.then(|| self.shared().outbox.tell_retried());
        // Before it, so that the new places are seen with it; after it, since nothing need have
        // changed.
        tell();
        let done = self
            .submit(!letters.is_empty(), bytes, move |tx| {
                outbox::update(tx, &changes, &letters)
            })
            .await;
        tell();
        done
    }
    /// [`Error::NoMailbox`] if it went away meanwhile. Several messages are one transaction (RFC 3502).
    pub async fn append(
        &self,
        mailbox: MailboxId,
        messages: Vec<(Staged, FlagNames, DateTime)>,
        origin: Origin,
    ) -> Result<Placed> {
        let messages: Vec<_> = messages
            .into_iter()
            .map(|(staged, flags, date)| (staged.data, flags, date))
            .collect();
        let bytes = messages.iter().map(|(data, ..)| data.packed.len()).sum();
        let default = self.quota();
        self.submit(true, bytes, move |tx| {
            let sizes = messages.iter().map(|(data, ..)| u64::from(data.size));
            let more = Quota {
                bytes: sizes.sum(),
                messages: messages.len() as u64,
            };
            quota::check(tx, default, tx.mailbox(mailbox)?.account, more)?;
            message::append(tx, mailbox, &messages, origin)
        })
        .await
    }
    /// UIDs that are gone are passed over.
    pub async fn set_flags(
        &self,
        mailbox: MailboxId,
        uids: UidSet,
        change: FlagChange,
        flags: FlagNames,
        unchanged_since: Option<u64>,
        origin: Origin,
    ) -> Result<Stored> {
        self.write(move |tx| {
            message::set_flags(tx, mailbox, &uids, change, &flags, unchanged_since, origin)
        })
        .await
    }
    pub async fn copy(&self, from: MailboxId, uids: UidSet, to: MailboxId) -> Result<Placed> {
        let default = self.quota();
        self.grow(move |tx| transfer::copy(tx, from, &uids, to, default))
            .await
    }
    /// The new copies and the expunge are one transaction (RFC 6851); `origin` is not told
    /// of the expunge in the source, [`Placed`] says it.
    pub async fn move_messages(
        &self,
        from: MailboxId,
        uids: UidSet,
        to: MailboxId,
        origin: Origin,
    ) -> Result<(Placed, ModSeq)> {
        self.write(move |tx| transfer::move_messages(tx, from, &uids, to, origin))
            .await
    }
    /// Removes those of `uids` (all if `None`) that carry \Deleted, or, with `any`, whatever their flags.
    pub async fn expunge(
        &self,
        mailbox: MailboxId,
        uids: Option<UidSet>,
        any: bool,
        origin: Origin,
    ) -> Result<(UidSet, ModSeq)> {
        let uids = uids.unwrap_or_else(|| UidSet::from_ranges(vec![(1, u32::MAX)]));
        self.write(move |tx| transfer::expunge(tx, mailbox, &uids, any, origin))
            .await
    }
    /// The first UID that no session has been told of as \Recent; from now on it is `uid_next`
    /// (RFC 3501, 2.3.2). Kept lazily: a crash may show \Recent again, never lose mail.
    pub async fn claim_recent(&self, mailbox: MailboxId) -> Result<Uid> {
        let row = self.look(|snapshot| snapshot.mailbox_row(mailbox))?;
        let row = row.ok_or(Error::NoMailbox)?;
        let mut claims = lock(&self.shared().recent);
        let first = first_recent(claims.get(&mailbox), &row)?;
        if let Some(next) = Uid::new(row.uid_next)
            && next > first
        {
            claims.insert(mailbox, next);
        }
        Ok(first)
    }
    /// What `claim_recent` would give, claiming nothing (EXAMINE, STATUS RECENT).
    pub async fn first_recent(&self, mailbox: MailboxId) -> Result<Uid> {
        let row = self.look(|snapshot| snapshot.mailbox_row(mailbox))?;
        let row = row.ok_or(Error::NoMailbox)?;
        first_recent(lock(&self.shared().recent).get(&mailbox), &row)
    }

    // Changes.

    /// Subscribes to a mailbox: do so before reading the snapshot that the view starts from,
    /// then drop changes whose mod-sequence that snapshot already has.
    pub fn watch(&self, mailbox: MailboxId) -> Watch {
        Watch::new(self.shared(), mailbox)
    }

    // The way to the writer thread.

    /// A write that may go into the reserve: it takes away, or adds next to nothing.
    async fn write<T, F>(&self, f: F) -> Result<T>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.submit(false, 0, f).await
    }

    async fn grow<T, F>(&self, f: F) -> Result<T>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.submit(true, 0, f).await
    }

    async fn submit<T, F>(&self, grows: bool, bytes: usize, f: F) -> Result<T>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        if grows {
            self.shared().space.check(bytes as u64)?;
        }
        let (reply, answer) = async_channel::bounded(1);
        let call = queue::Call::new(f, grows, bytes, reply);
        self.shared().queue.push(Box::new(call)).await?;
        let lost = async {
            // The writer thread ended without an answer: only after a bug in itself.
            self.shared().queue.ended().await;
            Err(Error::Closed)
        };
        let answered = async { answer.recv().await.unwrap_or(Err(Error::Closed)) };
        answered.or(lost).await
    }
}

fn first_recent(claim: Option<&Uid>, row: &schema::MailboxRow) -> Result<Uid> {
    Uid::new(row.recent)
        .max(claim.copied())
        .ok_or_else(|| Error::corrupt("a mailbox's \\Recent"))
}
