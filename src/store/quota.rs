//! What accounts may hold. The counters of mailboxes are kept by each write, so what an account
//! holds is their sum: exact, and nothing more to keep.

use super::Store;
use super::error::{Error, Result};
use super::mailbox;
use super::option;
use super::segment::lock;
use super::snapshot::Snapshot;
use super::tx::Tx;
use super::types::Delivery;
use crate::mail::outgoing::Recipient;
use crate::mail::{AccountId, Quota};
use event_listener::EventListener;
use std::collections::BTreeMap;

/// Whom a delivery is held to quotas for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nobody: what the server itself has to say.
    Nobody,
    /// Those accounts have it without the ones that are full. [`Error::OverQuota`] if all are.
    Each(Vec<AccountId>),
    /// All have it or nobody: one reply answers for them, and who has room must not miss it
    /// for one who hasn't. [`Error::OverQuota`] if nobody has room. Where it is queued too, those
    /// without room wait there. The last `own` deliveries are copies for who sends it: they
    /// are made if anything is, and have no say. `waiting`: as whom an account waits; who has
    /// `accepted` there does so by its account's address.
    Together {
        own: usize,
        waiting: Vec<(AccountId, Recipient)>,
    },
}

/// [`Error::OverQuota`] unless the account has room for so much more.
pub(super) fn check(tx: &Tx<'_>, default: Quota, account: AccountId, more: Quota) -> Result<()> {
    let quota = default.or(&option::get(tx, account)?);
    if quota == Quota::default() {
        return Ok(());
    }
    let mut held = Quota::default();
    for id in mailbox::ids(tx, account)? {
        let row = tx.mailbox(id)?;
        held = held.and(Quota {
            bytes: row.size,
            messages: row.messages.into(),
        });
    }
    let used = held.and(more);
    if !quota.holds(used) {
        return Err(Error::OverQuota);
    }
    if quota.level(held) != quota.level(used) {
        tx.tell_of_quotas();
    }
    Ok(())
}

/// What of `deliveries`, without the sender's own, is made; with it the accounts that go
/// without. `queued`: those of [`Held::Together`] can wait.
pub(super) fn admit(
    tx: &Tx<'_>,
    default: Quota,
    held: &Held,
    deliveries: &[Delivery],
    size: u32,
    queued: bool,
) -> Result<(Vec<Delivery>, Vec<AccountId>)> {
    let mut counts: BTreeMap<AccountId, u64> = BTreeMap::new();
    for delivery in deliveries {
        *counts.entry(delivery.account).or_default() += 1;
    }
    let mut full = Vec::new();
    for (account, count) in counts.iter().filter(|_| *held != Held::Nobody) {
        let more = Quota {
            bytes: count.saturating_mul(size.into()),
            messages: *count,
        };
        match check(tx, default, *account, more) {
            Ok(()) => {}
            Err(Error::OverQuota) => full.push(*account),
            Err(error) => return Err(error),
        }
    }
    match held {
        Held::Nobody => full.clear(),
        Held::Together { .. } if !queued && full.len() < counts.len() => full.clear(),
        Held::Together { .. } => {}
        Held::Each(accounts) => full.retain(|it| accounts.contains(it)),
    }
    let mut made = deliveries.to_vec();
    made.retain(|it| !full.contains(&it.account));
    Ok((made, full))
}

impl Store {
    /// What accounts may hold that have no quota of their own.
    pub fn set_quota(&self, quota: Quota) {
        *lock(&self.shared().quota) = quota;
    }

    /// Ends when an account has come to another [`Quota::level`] by what it was given; what it
    /// was freed of, or another quota, tells nobody.
    pub fn quotas_told(&self) -> EventListener {
        self.shared().quotas.listen()
    }

    pub(super) fn quota(&self) -> Quota {
        *lock(&self.shared().quota)
    }

    /// What the account may hold; a limit of 0 is none.
    pub fn quota_of(&self, account: AccountId) -> Result<Quota> {
        let options = self.look(|snapshot| snapshot.account_options(account))?;
        Ok(self.quota().or(&options))
    }

    /// [`Error::OverQuota`] unless the account has room for so much more at this moment.
    pub fn check_quota(&self, account: AccountId, more: Quota) -> Result<()> {
        let quota = self.quota_of(account)?;
        if quota == Quota::default() {
            return Ok(());
        }
        let used = self.look(|snapshot| snapshot.usage(account))?;
        match quota.holds(used.and(more)) {
            true => Ok(()),
            false => Err(Error::OverQuota),
        }
    }
}

impl Snapshot {
    /// What the account holds.
    pub fn usage(&self, account: AccountId) -> Result<Quota> {
        let mailboxes = self.mailboxes(account)?;
        let held = mailboxes.iter().map(|it| Quota {
            bytes: it.size,
            messages: it.messages.into(),
        });
        Ok(held.fold(Quota::default(), Quota::and))
    }
}
