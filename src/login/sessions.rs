//! Who is logged in, where: counted against the limit of an account, and found again when
//! what the login rested on has changed.

use crate::mail::AccountId;
use crate::mail::option::Protocol;
use event_listener::{Event, EventListener};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection that has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub account: AccountId,
    pub protocol: Protocol,
    /// The connection's number in this process.
    pub connection: u64,
}

/// All of them.
#[derive(Default)]
pub struct Sessions {
    places: Mutex<HashMap<(AccountId, Protocol), Vec<u64>>>,
    doubt: Event,
}

impl Sessions {
    /// A place for one more session, unless the account has `limit` of that protocol.
    pub fn enter(self: &Arc<Self>, session: Session, limit: usize) -> Option<Seat> {
        let mut places = self.places();
        let key = (session.account, session.protocol);
        let here = places.entry(key).or_default();
        if here.len() >= limit {
            return None;
        }
        here.push(session.connection);
        drop(places);
        Some(Seat {
            sessions: self.clone(),
            session,
        })
    }

    /// Who is logged in now.
    pub fn all(&self) -> Vec<Session> {
        let places = self.places();
        let all = places
            .iter()
            .flat_map(|((account, protocol), connections)| {
                connections.iter().map(|connection| Session {
                    account: *account,
                    protocol: *protocol,
                    connection: *connection,
                })
            });
        all.collect()
    }

    /// Something about accounts has changed: those that may not go on are to be found.
    pub fn review(&self) {
        self.doubt.notify(usize::MAX);
    }

    /// Ends at the next [`Sessions::review`].
    pub fn reviewed(&self) -> EventListener {
        self.doubt.listen()
    }

    /// Nothing panics while it holds them, so they are whole even if poisoned.
    fn places(&self) -> MutexGuard<'_, HashMap<(AccountId, Protocol), Vec<u64>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place; dropping it gives it back.
pub struct Seat {
    sessions: Arc<Sessions>,
    session: Session,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let key = (self.session.account, self.session.protocol);
        let mut places = self.sessions.places();
        let Some(here) = places.get_mut(&key) else {
            return;
        };
        if let Some(at) = here.iter().position(|it| *it == self.session.connection) {
            here.swap_remove(at);
        }
        if here.is_empty() {
            places.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_places_of_each_protocol() {
        let sessions = Arc::new(Sessions::default());
        let enter = |account, protocol, connection| {
            let session = Session {
                account: AccountId(account),
                protocol,
                connection,
            };
            sessions.enter(session, 2)
        };
        let first = enter(1, Protocol::Imap, 10);
        let second = enter(1, Protocol::Imap, 11);
        assert!(first.is_some() && second.is_some());
        assert!(enter(1, Protocol::Imap, 12).is_none());
        let others = (enter(1, Protocol::Pop3, 13), enter(2, Protocol::Imap, 14));
        assert!(others.0.is_some() && others.1.is_some());
        assert_eq!(sessions.all().len(), 4);
        drop(first);
        assert!(enter(1, Protocol::Imap, 15).is_some());
        drop((second, others));
        assert_eq!(sessions.all(), []);
        assert!(sessions.places().is_empty());
    }
}
