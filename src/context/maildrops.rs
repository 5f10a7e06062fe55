//! One POP3 session a maildrop (RFC 1939, 4).

use crate::mail::AccountId;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The maildrops that a session has open; a clone shares them.
#[derive(Clone, Default)]
pub struct Maildrops(Arc<Mutex<HashSet<AccountId>>>);

impl Maildrops {
    /// `None` while another session holds it.
    pub fn lock(&self, account: AccountId) -> Option<Lock> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(account).then(|| Lock {
            maildrops: self.clone(),
            account,
        })
    }
}

/// A maildrop held; dropped, however the session ends, it is free again.
pub struct Lock {
    maildrops: Maildrops,
    account: AccountId,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let open = &self.maildrops.0;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maildrop_is_held_once_and_freed_even_by_a_panic() {
        let maildrops = Maildrops::default();
        let held = maildrops.lock(AccountId(1));
        assert!(held.is_some());
        assert!(maildrops.lock(AccountId(1)).is_none());
        assert!(maildrops.lock(AccountId(2)).is_some());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = held;
            panic!("a session's bug");
        }));
        assert!(panicked.is_err());
        assert!(maildrops.lock(AccountId(1)).is_some());
    }
}
