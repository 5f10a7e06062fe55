//! The mail store: `meta.redb` for every row, `mail/` for the bytes of messages.
//! The only module that names redb.
//!
//! Reads see one snapshot and never block a write. Writes go to one writer thread, which
//! commits all that wait as one durable transaction, publishes the changes, then answers.

use crate::address::Address;
use crate::mail::*;
use crate::message::structure::Structure;
use crate::secret::Credential;
use std::fmt;
use std::path::Path;

pub type Result<T> = std::result::Result<T, Error>;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    NoAccount,
    NoMailbox,
    /// An account, alias or mailbox of that name exists.
    Exists,
    /// INBOX can't be deleted; a mailbox can't be renamed below itself.
    Forbidden(&'static str),
    /// Over a limit of the store: keywords, mailboxes, UIDs.
    Limit(&'static str),
    /// Too large for the limit on message size.
    TooLarge,
    /// The free-space reserve is reached or the disk is full: try later.
    Full,
    /// Too many uploads at once, or the writer's queue stays full: try later.
    Busy,
    /// What is stored doesn't match its checksum or form.
    Corrupt(String),
    /// The disk or the database failed; the supervisor reopens it: try later.
    Storage(String),
    /// The store is closed or closing.
    Closed,
    /// The store was written by a newer version, or is in use by another process.
    Unusable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Error {}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// redb's page cache, bytes.
    pub cache: usize,
    /// Free space below which nothing new is taken, bytes.
    pub reserve: u64,
    /// Size of the file that is dropped to make room for deletes on a full disk, bytes.
    pub ballast: u64,
    /// Largest message, bytes.
    pub max_message: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache: 4 << 20,
            reserve: 8 << 20,
            ballast: 2 << 20,
            max_message: 100 << 20,
        }
    }
}

/// The open store; clones share it.
#[derive(Clone)]
pub struct Store {}

/// Where one copy of a delivery goes.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub account: AccountId,
    /// Made (and subscribed) if missing; INBOX always exists.
    pub mailbox: MailboxName,
    pub flags: FlagNames,
}

/// Where an APPEND, COPY or MOVE put messages (RFC 4315).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub uid_validity: UidValidity,
    /// (source UID, new UID), ascending by source; source is the new UID for an APPEND.
    pub uids: Vec<(Uid, Uid)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagChange {
    Set,
    Add,
    Remove,
}

/// What STORE did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// New flags of the messages that changed or, if unchanged, already were so.
    pub messages: Vec<(Uid, Flags, ModSeq)>,
    /// Not changed, for UNCHANGEDSINCE (RFC 7162, 3.1.3).
    pub modified: UidSet,
    /// The mailbox's keyword table afterwards, as in [`MailboxInfo::keywords`].
    pub keywords: Vec<String>,
}

/// Names the session that writes, so that the hub doesn't tell it its own change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin(pub Option<u64>);

impl Store {
    /// Opens or makes the store in `dir`, recovers it, sweeps what a crash left.
    /// Takes a lock that keeps a second process out.
    pub fn open(_dir: &Path, _options: Options) -> Result<Store> {
        todo!()
    }
    /// Ends the writer after what is queued; later calls give [`Error::Closed`].
    pub async fn close(&self) {
        todo!()
    }

    // Reading.

    /// Runs `f` on a snapshot in the reader pool. Keep it under a second: a snapshot pins pages.
    pub async fn read<T, F>(&self, _f: F) -> Result<T>
    where
        F: FnOnce(&Snapshot) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        todo!()
    }

    // Accounts.

    /// Also makes INBOX and the special-use mailboxes Archive, Drafts, Junk, Sent, Trash, subscribed.
    pub async fn create_account(
        &self,
        _address: Address,
        _credential: Credential,
    ) -> Result<AccountId> {
        todo!()
    }
    pub async fn set_credential(&self, _account: AccountId, _credential: Credential) -> Result<()> {
        todo!()
    }
    /// With all its mail; its space comes back in the background.
    pub async fn delete_account(&self, _account: AccountId) -> Result<()> {
        todo!()
    }
    pub async fn add_alias(&self, _alias: Address, _account: AccountId) -> Result<()> {
        todo!()
    }
    pub async fn remove_alias(&self, _alias: Address) -> Result<()> {
        todo!()
    }

    // Mailboxes.

    /// Makes missing superior mailboxes too (RFC 9051, 6.3.4).
    pub async fn create_mailbox(
        &self,
        _account: AccountId,
        _name: MailboxName,
        _special_use: Option<SpecialUse>,
    ) -> Result<MailboxInfo> {
        todo!()
    }
    /// Its messages too. Inferior mailboxes stay; the name may then be listed as \NonExistent.
    pub async fn delete_mailbox(&self, _account: AccountId, _name: MailboxName) -> Result<()> {
        todo!()
    }
    /// With everything below it; renaming INBOX moves its messages and leaves it empty (RFC 9051, 6.3.6).
    pub async fn rename_mailbox(
        &self,
        _account: AccountId,
        _from: MailboxName,
        _to: MailboxName,
    ) -> Result<()> {
        todo!()
    }
    /// A name can be subscribed without a mailbox of that name.
    pub async fn subscribe(
        &self,
        _account: AccountId,
        _name: MailboxName,
        _subscribed: bool,
    ) -> Result<()> {
        todo!()
    }

    // Messages. All writes are durable when they return.

    /// Begins an upload. [`Error::Full`] or [`Error::Busy`] before a byte is taken.
    /// `size` is what the client announced, if it did.
    pub async fn stage(&self, _size: Option<u64>) -> Result<Staging> {
        todo!()
    }
    /// One transaction for all of `deliveries`; the bytes are stored once.
    pub async fn deliver(
        &self,
        _message: Staged,
        _date: DateTime,
        _deliveries: Vec<Delivery>,
    ) -> Result<()> {
        todo!()
    }
    /// [`Error::NoMailbox`] if it went away meanwhile. Several messages are one transaction (RFC 3502).
    pub async fn append(
        &self,
        _mailbox: MailboxId,
        _messages: Vec<(Staged, FlagNames, DateTime)>,
        _origin: Origin,
    ) -> Result<Placed> {
        todo!()
    }
    /// UIDs that are gone are passed over.
    pub async fn set_flags(
        &self,
        _mailbox: MailboxId,
        _uids: UidSet,
        _change: FlagChange,
        _flags: FlagNames,
        _unchanged_since: Option<u64>,
        _origin: Origin,
    ) -> Result<Stored> {
        todo!()
    }
    pub async fn copy(&self, _from: MailboxId, _uids: UidSet, _to: MailboxId) -> Result<Placed> {
        todo!()
    }
    /// The new copies and the expunge are one transaction (RFC 6851); `origin` is not told
    /// of the expunge in the source, [`Placed`] says it.
    pub async fn move_messages(
        &self,
        _from: MailboxId,
        _uids: UidSet,
        _to: MailboxId,
        _origin: Origin,
    ) -> Result<(Placed, ModSeq)> {
        todo!()
    }
    /// Removes those of `uids` (all if `None`) that carry \Deleted, or, with `any`, whatever their flags.
    pub async fn expunge(
        &self,
        _mailbox: MailboxId,
        _uids: Option<UidSet>,
        _any: bool,
        _origin: Origin,
    ) -> Result<(UidSet, ModSeq)> {
        todo!()
    }
    /// The first UID that no session has been told of as \Recent; from now on it is `uid_next`
    /// (RFC 3501, 2.3.2). Kept lazily: a crash may show \Recent again, never lose mail.
    pub async fn claim_recent(&self, _mailbox: MailboxId) -> Result<Uid> {
        todo!()
    }
    /// What `claim_recent` would give, claiming nothing (EXAMINE, STATUS RECENT).
    pub async fn first_recent(&self, _mailbox: MailboxId) -> Result<Uid> {
        todo!()
    }

    // Changes.

    /// Subscribes to a mailbox: do so before reading the snapshot that the view starts from,
    /// then drop changes whose mod-sequence that snapshot already has.
    pub fn watch(&self, _mailbox: MailboxId) -> Watch {
        todo!()
    }
}

/// A session's place in a mailbox's hub. Dropping it unsubscribes.
pub struct Watch {}

/// What came since the last take.
#[derive(Debug)]
pub enum News {
    Changes(Vec<(ModSeq, Change)>),
    /// More than the bounded list holds: read the mailbox again.
    Overflow,
}

impl Watch {
    /// Names this watcher as the origin of its own writes.
    pub fn origin(&self) -> Origin {
        todo!()
    }
    /// What has come; empties the list. Does not wait.
    pub fn take(&mut self) -> News {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// Returns when there is something to take. Cancel-safe.
    pub async fn changed(&self) {
        todo!()
    }
}

/// A message on its way in: compressed, checksummed and scanned as it comes; memory is
/// bounded whatever its size. Dropped without `finish`, it leaves nothing.
pub struct Staging {}

impl Staging {
    /// [`Error::TooLarge`] past the limit, [`Error::Full`] when the disk is.
    pub async fn write(&mut self, _bytes: &[u8]) -> Result<()> {
        todo!()
    }
    pub async fn finish(self) -> Result<Staged> {
        todo!()
    }
}

/// A whole message, not yet in any mailbox.
pub struct Staged {
    pub structure: Structure,
}

/// One moment of the store. Short-lived: see [`Store::read`].
pub struct Snapshot {}

impl Snapshot {
    pub fn accounts(&self) -> Result<Vec<Account>> {
        todo!()
    }
    pub fn account(&self, _id: AccountId) -> Result<Option<Account>> {
        todo!()
    }
    pub fn credential(&self, _id: AccountId) -> Result<Option<Credential>> {
        todo!()
    }
    /// By own address or alias, in any case.
    pub fn account_by_address(&self, _address: &Address) -> Result<Option<Account>> {
        todo!()
    }
    /// By full address or, where only one account has it, by local part alone.
    pub fn account_by_login(&self, _login: &str) -> Result<Option<Account>> {
        todo!()
    }
    /// Whether any account or alias has this domain.
    pub fn is_local_domain(&self, _domain: &crate::address::Domain) -> Result<bool> {
        todo!()
    }
    /// Sorted by name, INBOX first.
    pub fn mailboxes(&self, _account: AccountId) -> Result<Vec<MailboxInfo>> {
        todo!()
    }
    /// Subscribed names, whether or not the mailbox exists.
    pub fn subscriptions(&self, _account: AccountId) -> Result<Vec<MailboxName>> {
        todo!()
    }
    pub fn mailbox(&self, _account: AccountId, _name: &MailboxName) -> Result<Option<MailboxInfo>> {
        todo!()
    }
    pub fn mailbox_by_id(&self, _id: MailboxId) -> Result<Option<MailboxInfo>> {
        todo!()
    }
    /// All UIDs of a mailbox. Every SELECT asks for them: under 0.2 ms at 100,000 (from a
    /// cache that the mailbox's highest mod-sequence validates, where reading rows costs more).
    pub fn uids(&self, _mailbox: MailboxId) -> Result<UidSet> {
        todo!()
    }
    /// The lowest UID without \Seen, for the UNSEEN code of every SELECT: as cheap as `uids`.
    pub fn first_unseen(&self, _mailbox: MailboxId) -> Result<Option<Uid>> {
        todo!()
    }
    pub fn message(&self, _mailbox: MailboxId, _uid: Uid) -> Result<Option<Message>> {
        todo!()
    }
    /// Those messages of `uids` that exist, ascending; `f` returns false to stop.
    pub fn messages(
        &self,
        _mailbox: MailboxId,
        _uids: &UidSet,
        _f: impl FnMut(Message) -> Result<bool>,
    ) -> Result<()> {
        todo!()
    }
    /// As `messages`, of all UIDs, with a mod-sequence above `since`; skips whole blocks.
    pub fn changed_since(
        &self,
        _mailbox: MailboxId,
        _since: u64,
        _f: impl FnMut(Message) -> Result<bool>,
    ) -> Result<()> {
        todo!()
    }
    /// UIDs expunged after `since` (RFC 7162, 3.2.10); may name more where the record was pruned.
    pub fn vanished_since(&self, _mailbox: MailboxId, _since: u64) -> Result<UidSet> {
        todo!()
    }
    /// The stored [`Structure`] row; read it with `StructureRef::read` or `Structure::decode`.
    pub fn structure(&self, _email: EmailId) -> Result<Vec<u8>> {
        todo!()
    }
    /// The message's bytes. Outlives the snapshot.
    pub fn blob(&self, _email: EmailId) -> Result<Blob> {
        todo!()
    }
}

/// A stored message's bytes; stays readable though the message be expunged meanwhile.
pub struct Blob {}

impl Blob {
    pub fn size(&self) -> u32 {
        todo!()
    }
    /// Appends the bytes `range` to `out`; blocks on the disk: call it in the reader pool.
    /// Reads and decompresses only the frames that hold the range, each checked.
    pub fn read(&mut self, _range: std::ops::Range<u32>, _out: &mut Vec<u8>) -> Result<()> {
        todo!()
    }
}
