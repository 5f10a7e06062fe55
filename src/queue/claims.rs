//! Which recipients are on their way: nobody is sent to twice, whatever becomes of his lane
//! meanwhile.

use crate::mail::outgoing::QueueId;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Places of a message's recipients.
pub type Places = BTreeSet<usize>;

/// The recipients that some attempt has, by message; as many as attempts may have at once.
#[derive(Default)]
pub struct Claims {
    taken: Mutex<HashMap<QueueId, Places>>,
}

/// Some recipients of a message for one attempt alone, until this is dropped.
pub struct Claim<'a> {
    claims: &'a Claims,
    id: QueueId,
    pub places: Vec<usize>,
}

impl Claims {
    /// Those whom some attempt has now.
    pub fn of(&self, id: QueueId) -> Places {
        self.lock().get(&id).cloned().unwrap_or_default()
    }

    /// Claims the places that `choose` gives; it is told which are taken. Nobody is let go while
    /// it reads: who is free by then has his outcome recorded.
    pub fn claim<T, E>(
        &self,
        id: QueueId,
        choose: impl FnOnce(&Places) -> Result<Option<(T, Vec<usize>)>, E>,
    ) -> Result<Option<(T, Claim<'_>)>, E> {
        let mut all = self.lock();
        let none = Places::new();
        let Some((read, mut places)) = choose(all.get(&id).unwrap_or(&none))? else {
            return Ok(None);
        };
        if !places.is_empty() {
            let taken = all.entry(id).or_default();
            places.retain(|place| taken.insert(*place));
        }
        let claims = self;
        Ok(Some((read, Claim { claims, id, places })))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QueueId, Places>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut all = self.claims.lock();
        if let Some(taken) = all.get_mut(&self.id) {
            self.places.iter().for_each(|place| {
                taken.remove(place);
            });
            if taken.is_empty() {
                all.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_claimed_once_until_it_is_let_go() {
        let claims = Claims::default();
        let id = QueueId(7);
        let claim = |wanted: &[usize]| {
            let claimed = claims.claim(id, |_| Ok::<_, ()>(Some(((), wanted.to_vec()))));
            claimed.unwrap().unwrap().1
        };
        let first = claim(&[0, 2]);
        let second = claim(&[1, 2]);
        assert_eq!((&first.places, &second.places), (&vec![0, 2], &vec![1]));
        assert_eq!(claims.of(id), [0, 1, 2].into());
        assert_eq!(claims.of(QueueId(8)), [].into());
        drop(first);
        assert_eq!(claims.of(id), [1].into());
        drop(claim(&[]));
        // A bug in an attempt lets go as well.
        let bug = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _second = second;
            panic!("a bug");
        }));
        assert!(bug.is_err() && claims.lock().is_empty());
    }
}
