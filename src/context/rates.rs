//! How much each account sends: messages an hour, recipients a day.

use crate::mail::AccountId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What was sent since the server started; kept in memory alone.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<AccountId, Sent>>);

#[derive(Default)]
struct Sent {
    messages: Window,
    recipients: Window,
}

/// A count that begins anew when its time is over.
#[derive(Default)]
struct Window {
    began: Option<Instant>,
    count: u32,
}

impl Rates {
    /// Counts a message, unless `limit` an hour is reached; 0 is no limit.
    pub fn message(&self, account: AccountId, now: Instant, limit: u32) -> bool {
        self.take(account, limit, |sent| sent.messages.take(now, HOUR, limit))
    }

    /// Counts a recipient, unless `limit` a day is reached; 0 is no limit.
    pub fn recipient(&self, account: AccountId, now: Instant, limit: u32) -> bool {
        self.take(account, limit, |sent| sent.recipients.take(now, DAY, limit))
    }

    fn take(&self, account: AccountId, limit: u32, f: impl FnOnce(&mut Sent) -> bool) -> bool {
        if limit == 0 {
            return true;
        }
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(accounts.entry(account).or_default())
    }
}

impl Window {
    fn take(&mut self, now: Instant, length: Duration, limit: u32) -> bool {
        let over = |began| now.saturating_duration_since(began) >= length;
        if self.began.is_none_or(over) {
            *self = Window {
                began: Some(now),
                count: 0,
            };
        }
        let room = self.count < limit;
        self.count += u32::from(room);
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_has_its_own_count_and_it_begins_anew() {
        let (rates, now) = (Rates::default(), Instant::now());
        let message = |account, at| rates.message(AccountId(account), at, 2);
        assert!(message(1, now) && message(1, now) && !message(1, now));
        assert!(message(2, now) && rates.recipient(AccountId(1), now, 1));
        assert!(!rates.recipient(AccountId(1), now + HOUR, 1));
        assert!(message(1, now + HOUR) && rates.recipient(AccountId(1), now + DAY, 1));
        assert!((0..100).all(|_| rates.message(AccountId(3), now, 0)));
    }
}
