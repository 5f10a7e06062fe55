//! Answers that still stand. Pure: the caller says what time it is.

use super::message::{Data, Key};
use super::{Answer, DnsError};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Outcomes kept.
const MAX_ENTRIES: usize = 1024;
/// Largest that is kept, bytes of its records.
const MAX_SIZE: usize = 4 << 10;
/// Longest that records are kept, whatever their TTL.
const MAX_SECONDS: u32 = 3600;
/// Longest that it is remembered that there are none (RFC 2308, 5).
const MAX_NEGATIVE_SECONDS: u32 = 300;

type Outcome = Result<Answer<Data>, DnsError>;

#[derive(Default)]
pub struct Cache(HashMap<Key, (Instant, Outcome)>);

impl Cache {
    pub fn get(&mut self, key: &Key, now: Instant) -> Option<Outcome> {
        match self.0.get(key) {
            Some((until, outcome)) if *until > now => Some(outcome.clone()),
            _ => None,
        }
    }

    pub fn put(&mut self, key: Key, outcome: &Outcome, seconds: u32, now: Instant) {
        let seconds = seconds.min(match outcome {
            Ok(_) => MAX_SECONDS,
            Err(_) => MAX_NEGATIVE_SECONDS,
        });
        let size = |answer: &Answer<Data>| answer.records.iter().map(Data::size).sum::<usize>();
        let Some(until) = now.checked_add(Duration::from_secs(seconds.into())) else {
            return;
        };
        if seconds == 0 || outcome.as_ref().is_ok_and(|it| size(it) > MAX_SIZE) {
            return;
        }
        if self.0.len() >= MAX_ENTRIES {
            self.make_room(now);
        }
        self.0.insert(key, (until, outcome.clone()));
    }

    /// Drops what no longer stands; if all does, the one that ends first.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, (until, _)| *until > now);
        if self.0.len() >= MAX_ENTRIES {
            let first = self.0.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(key) = first.map(|(key, _)| key.clone()) {
                self.0.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Question, Rtype};
    use super::*;

    fn key(name: &str) -> Key {
        Question::new(name, Rtype::TXT).unwrap().key()
    }

    fn answer(length: usize) -> Outcome {
        Ok(Answer {
            records: vec![Data::Text(vec![b'x'; length])],
            authentic: true,
            name: "a.example".into(),
        })
    }

    #[test]
    fn answers_end_when_they_say_and_negative_ones_sooner() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(key("a.example"), &answer(1), 10, now);
        cache.put(key("b.example"), &Err(DnsError::NoName), u32::MAX, now);
        cache.put(key("c.example"), &answer(1), 0, now);
        cache.put(key("d.example"), &answer(MAX_SIZE + 1), 10, now);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(cache.get(&key("A.example"), later(9)), Some(answer(1)));
        assert_eq!(cache.get(&key("a.example"), later(10)), None);
        assert!(cache.get(&key("b.example"), later(299)).is_some());
        assert!(cache.get(&key("b.example"), later(300)).is_none());
        assert!(cache.get(&key("c.example"), now).is_none());
        assert!(cache.get(&key("d.example"), now).is_none());
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for n in 0..2 * MAX_ENTRIES {
            cache.put(
                key(&format!("n{n}.example")),
                &answer(1),
                10 + n as u32,
                now,
            );
        }
        assert_eq!(cache.0.len(), MAX_ENTRIES);
        let last = key(&format!("n{}.example", 2 * MAX_ENTRIES - 1));
        assert!(cache.get(&last, now).is_some());
    }
}
