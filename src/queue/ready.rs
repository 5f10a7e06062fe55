//! What is due and not yet on its way, by destination: numbers alone, so that ten thousand
//! messages take a few hundred kilobytes. Pure.

use crate::address::Domain;
use crate::mail::outgoing::{QueueId, Reply};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Messages that are due and known here; more wait in the store.
pub const MAX_READY: usize = 20_000;

/// How much is on its way at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub all: usize,
    pub per_destination: usize,
}

/// One message for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: QueueId,
    pub domain: Domain,
    /// Of this destination no server was to be reached a moment ago: what was said then.
    pub down: Option<Reply>,
}

#[derive(Default)]
pub struct Ready {
    destinations: HashMap<Domain, Destination>,
    /// Destinations that could begin a job, each once: they take turns.
    turn: VecDeque<Domain>,
    /// Jobs of each message known here.
    jobs: HashMap<QueueId, usize>,
    running: usize,
    /// Orders those of the same priority.
    next: u64,
}

#[derive(Default)]
struct Destination {
    /// By priority, the highest first, then as they came.
    waiting: BTreeMap<(i16, u64), QueueId>,
    running: usize,
    in_turn: bool,
    /// Until when nothing is tried, and why.
    down: Option<(i64, Reply)>,
}

impl Ready {
    pub fn has_room(&self) -> bool {
        self.jobs.len() < MAX_READY
    }

    /// Whether the message waits or is on its way.
    pub fn knows(&self, id: QueueId) -> bool {
        self.jobs.contains_key(&id)
    }

    pub fn running(&self) -> usize {
        self.running
    }

    /// A message is due for these destinations. One that is known already is left alone.
    pub fn add(&mut self, id: QueueId, priority: i8, domains: Vec<Domain>) {
        if domains.is_empty() || self.knows(id) {
            return;
        }
        self.jobs.insert(id, domains.len());
        for domain in domains {
            self.next += 1;
            let place = (-i16::from(priority), self.next);
            let destination = self.destinations.entry(domain.clone()).or_default();
            destination.waiting.insert(place, id);
            if !std::mem::replace(&mut destination.in_turn, true) {
                self.turn.push_back(domain);
            }
        }
    }

    /// The next job to begin, if the limits allow one.
    pub fn begin(&mut self, limits: &Limits, now: i64) -> Option<Job> {
        if self.running >= limits.all {
            return None;
        }
        while let Some(domain) = self.turn.pop_front() {
            let Some(destination) = self.destinations.get_mut(&domain) else {
                continue;
            };
            destination.in_turn = false;
            if destination.running >= limits.per_destination {
                continue;
            }
            let Some((_, id)) = destination.waiting.pop_first() else {
                continue;
            };
            destination.running += 1;
            self.running += 1;
            destination.down.take_if(|(until, _)| *until <= now);
            let down = destination.down.as_ref().map(|(_, reply)| reply.clone());
            if !destination.waiting.is_empty() {
                destination.in_turn = true;
                self.turn.push_back(domain.clone());
            }
            return Some(Job { id, domain, down });
        }
        None
    }

    /// A job is over; `down`: until when its destination is not to be tried, and why. True
    /// if it was the message's last.
    pub fn end(&mut self, job: &Job, down: Option<(i64, Reply)>) -> bool {
        self.running = self.running.saturating_sub(1);
        if let Some(destination) = self.destinations.get_mut(&job.domain) {
            destination.running = destination.running.saturating_sub(1);
            destination.down = down.or(destination.down.take());
            let idle = destination.waiting.is_empty();
            if idle && destination.running == 0 && destination.down.is_none() {
                self.destinations.remove(&job.domain);
            } else if !idle && !std::mem::replace(&mut destination.in_turn, true) {
                self.turn.push_back(job.domain.clone());
            }
        }
        match self.jobs.get_mut(&job.id) {
            Some(left) if *left > 1 => {
                *left -= 1;
                false
            }
            _ => self.jobs.remove(&job.id).is_some(),
        }
    }

    /// Forgets which destinations could not be reached, where that is long ago.
    pub fn forget(&mut self, now: i64) {
        self.destinations.retain(|_, it| {
            it.down.take_if(|(until, _)| *until <= now);
            it.running > 0 || !it.waiting.is_empty() || it.down.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        all: 4,
        per_destination: 2,
    };

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn begun(ready: &mut Ready) -> Vec<(u64, String)> {
        let jobs = std::iter::from_fn(|| ready.begin(&LIMITS, 0));
        jobs.map(|job| (job.id.0, job.domain.to_string())).collect()
    }

    fn job(id: u64, name: &str) -> Job {
        Job {
            id: QueueId(id),
            domain: domain(name),
            down: None,
        }
    }

    #[test]
    fn destinations_take_turns_within_the_limits() {
        let mut ready = Ready::default();
        for id in 1..=5 {
            ready.add(QueueId(id), 0, vec![domain("x.test")]);
        }
        ready.add(QueueId(6), 0, vec![domain("y.test"), domain("z.test")]);
        ready.add(QueueId(7), 0, vec![domain("y.test")]);
        let pairs = |list: &[(u64, &str)]| -> Vec<(u64, String)> {
            list.iter()
                .map(|(id, name)| (*id, name.to_string()))
                .collect()
        };
        let first = [(1, "x.test"), (6, "y.test"), (6, "z.test"), (2, "x.test")];
        assert_eq!(begun(&mut ready), pairs(&first));
        assert!(!ready.end(&job(6, "z.test"), None));
        assert_eq!(begun(&mut ready), pairs(&[(7, "y.test")]));
        assert!(ready.end(&job(6, "y.test"), None));
        assert!(!ready.knows(QueueId(6)));
        // The destination is at its limit until one of its own ends.
        assert_eq!(begun(&mut ready), []);
        assert!(ready.end(&job(1, "x.test"), None));
        assert_eq!(begun(&mut ready), pairs(&[(3, "x.test")]));
        for (id, name) in [(2, "x.test"), (3, "x.test"), (7, "y.test")] {
            assert!(ready.end(&job(id, name), None));
        }
        assert_eq!(begun(&mut ready), pairs(&[(4, "x.test"), (5, "x.test")]));
        ready.end(&job(4, "x.test"), None);
        ready.end(&job(5, "x.test"), None);
        assert_eq!((ready.running(), ready.destinations.len()), (0, 0));
        assert!(ready.turn.len() <= 1);
    }

    #[test]
    fn a_known_message_is_not_added_twice_and_priority_goes_first() {
        let mut ready = Ready::default();
        ready.add(QueueId(1), -3, vec![domain("x.test")]);
        ready.add(QueueId(2), 4, vec![domain("x.test")]);
        ready.add(QueueId(1), 9, vec![domain("x.test"), domain("y.test")]);
        let order: Vec<u64> = begun(&mut ready).iter().map(|it| it.0).collect();
        assert_eq!(order, [2, 1]);
    }

    #[test]
    fn a_destination_that_is_down_says_so_until_it_is_forgotten() {
        let mut ready = Ready::default();
        for id in 1..=3 {
            ready.add(QueueId(id), 0, vec![domain("x.test")]);
        }
        let reply = Reply {
            text: "no".into(),
            ..Reply::default()
        };
        let first = ready.begin(&LIMITS, 0).unwrap();
        assert_eq!(first.down, None);
        ready.end(&first, Some((60, reply.clone())));
        let second = ready.begin(&LIMITS, 59).unwrap();
        assert_eq!(second.down, Some(reply));
        ready.end(&second, None);
        assert_eq!(ready.begin(&LIMITS, 60).unwrap().down, None);
        ready.end(&job(3, "x.test"), Some((60, Reply::default())));
        ready.forget(59);
        assert_eq!(ready.destinations.len(), 1);
        ready.forget(60);
        assert_eq!(ready.destinations.len(), 0);
    }
}
