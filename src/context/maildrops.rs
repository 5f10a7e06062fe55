//! What all POP3 sessions share: one session a maildrop (RFC 1939, 4), how long ago each was
//! opened, and listings read lately.

use crate::mail::listing::Listing;
use crate::mail::{AccountId, MailboxId, Uid};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Messages whose listings are kept between sessions: 4 MiB.
const MAX_KEPT: usize = 512 << 10;
/// Logins remembered for LOGIN-DELAY; beyond, those that are over are forgotten.
const MAX_LOGINS: usize = 10_000;

/// The maildrops; a clone shares them.
#[derive(Clone, Default)]
pub struct Maildrops(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    open: HashSet<AccountId>,
    /// When, and with what delay.
    logins: HashMap<AccountId, (Instant, Duration)>,
    /// The last used is at the end.
    listings: Vec<Kept>,
}

struct Kept {
    mailbox: MailboxId,
    uid_next: Uid,
    listing: Arc<Listing>,
}

/// Why a maildrop can't be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    InUse,
    /// Less than the login delay ago.
    TooSoon,
}

impl Maildrops {
    /// Holds it unless another session does, or it was held less than `delay` ago.
    pub fn lock(&self, account: AccountId, now: Instant, delay: Duration) -> Result<Lock, Refused> {
        let mut state = self.state();
        let since = |at: Instant| now.saturating_duration_since(at);
        let before = state.logins.get(&account);
        if before.is_some_and(|(at, _)| since(*at) < delay) {
            return Err(Refused::TooSoon);
        }
        if !state.open.insert(account) {
            return Err(Refused::InUse);
        }
        if delay > Duration::ZERO {
            if state.logins.len() >= MAX_LOGINS {
                state.logins.retain(|_, (at, delay)| since(*at) < *delay);
            }
            state.logins.insert(account, (now, delay));
        }
        Ok(Lock {
            maildrops: self.clone(),
            account,
        })
    }

    /// The listing last read of the mailbox, and the UID that was to be the next then.
    pub fn listing(&self, mailbox: MailboxId) -> Option<(Uid, Arc<Listing>)> {
        let listings = &mut self.state().listings;
        let at = listings.iter().position(|it| it.mailbox == mailbox)?;
        let kept = listings.remove(at);
        let found = (kept.uid_next, kept.listing.clone());
        listings.push(kept);
        Some(found)
    }

    pub fn keep(&self, mailbox: MailboxId, uid_next: Uid, listing: &Arc<Listing>) {
        let listings = &mut self.state().listings;
        listings.retain(|it| it.mailbox != mailbox);
        listings.push(Kept {
            mailbox,
            uid_next,
            listing: listing.clone(),
        });
        let mut room = MAX_KEPT;
        let fitting = listings.iter().rev().take_while(|it| {
            // An empty one takes room too.
            let left = room.checked_sub(it.listing.len() + 8);
            room = left.unwrap_or(0);
            left.is_some()
        });
        let fitting = fitting.count();
        listings.drain(..listings.len() - fitting);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A maildrop held; dropped, however the session ends, it is free again.
pub struct Lock {
    maildrops: Maildrops,
    account: AccountId,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.maildrops.state().open.remove(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn a_maildrop_is_held_once_and_freed_even_by_a_panic() {
        let (maildrops, now) = (Maildrops::default(), Instant::now());
        let lock = |account| maildrops.lock(AccountId(account), now, NONE);
        let held = lock(1);
        assert!(held.is_ok());
        assert_eq!(lock(1).err(), Some(Refused::InUse));
        assert!(lock(2).is_ok());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = held;
            panic!("a session's bug");
        }));
        assert!(panicked.is_err());
        assert!(lock(1).is_ok());
    }

    #[test]
    fn logins_keep_their_distance() {
        let (maildrops, now) = (Maildrops::default(), Instant::now());
        let delay = Duration::from_secs(60);
        let lock = |account, after| {
            let at = now + Duration::from_secs(after);
            maildrops.lock(AccountId(account), at, delay).err()
        };
        assert_eq!(lock(1, 0), None);
        assert_eq!(lock(1, 59), Some(Refused::TooSoon));
        assert_eq!(lock(2, 59), None);
        // A refusal does not begin the delay anew.
        assert_eq!(lock(1, 60), None);
    }

    #[test]
    fn listings_are_kept_while_there_is_room() {
        let maildrops = Maildrops::default();
        let listing = |messages: u32| {
            let mut listing = Listing::default();
            (1..=messages).for_each(|uid| listing.push(Uid::new(uid).unwrap(), 1));
            Arc::new(listing)
        };
        let keep = |mailbox, listing| maildrops.keep(MailboxId(mailbox), Uid::MIN, &listing);
        keep(1, listing(10));
        keep(2, listing(20));
        assert!(maildrops.listing(MailboxId(1)).is_some());
        // Mailbox 2 has now waited longest.
        keep(3, listing(MAX_KEPT as u32 - 30));
        let kept = |mailbox| maildrops.listing(MailboxId(mailbox)).map(|it| it.1.len());
        assert_eq!((kept(1), kept(2)), (Some(10), None));
        keep(4, listing(MAX_KEPT as u32));
        assert_eq!((kept(1), kept(3), kept(4)), (None, None, None));
    }
}
