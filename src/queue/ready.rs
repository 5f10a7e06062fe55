//! What is due and not yet on its way, by next server: numbers alone, so that ten thousand
//! messages take a few megabytes. Pure.

use crate::address::Domain;
use crate::mail::outgoing::{Lane, QueueId, Reply};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Messages that are due and known here; more wait in the store.
pub const MAX_READY: usize = 20_000;

/// How much is on its way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub all: usize,
    pub per_destination: usize,
}

/// One message for one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: QueueId,
    pub lane: Lane,
    /// The next server was not to be reached a moment ago: what was said then.
    pub down: Option<Reply>,
    /// How often the rests of its server had ended when it began.
    era: u64,
}

/// What a job has shown of the next server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Reached,
    Untried,
    /// It is not to be tried until then, and why.
    Unreached(i64, Reply),
}

#[derive(Default)]
pub struct Ready {
    destinations: HashMap<Arc<str>, Destination>,
    /// Destinations that could begin a job, each once: they take turns.
    turn: VecDeque<Arc<str>>,
    /// The lanes of each message known here.
    lanes: HashMap<QueueId, Vec<Lane>>,
    /// Those among them with more recipients than one.
    several: HashSet<QueueId>,
    running: usize,
    /// Orders those of the same priority.
    next: u64,
}

/// What shares a next server.
#[derive(Default)]
struct Destination {
    /// By priority, the highest first, then as they came.
    waiting: BTreeMap<(i16, u64), (QueueId, Option<Domain>)>,
    running: usize,
    in_turn: bool,
    /// Until when nothing is tried, and why.
    down: Option<(i64, Reply)>,
    /// Counts the ends of such rests: an attempt begun before says nothing any more.
    era: u64,
}

impl Destination {
    fn wake(&mut self) {
        self.down = None;
        self.era += 1;
    }
}

impl Ready {
    pub fn has_room(&self) -> bool {
        self.lanes.len() < MAX_READY
    }

    /// Whether the message's only recipient waits or is on its way.
    pub fn knows_all(&self, id: QueueId) -> bool {
        self.lanes.contains_key(&id) && !self.several.contains(&id)
    }

    /// The lanes on which some of the message waits or is on its way.
    pub fn lanes(&self, id: QueueId) -> &[Lane] {
        self.lanes.get(&id).map_or(&[], Vec::as_slice)
    }

    pub fn running(&self) -> usize {
        self.running
    }

    /// A message, of `several` recipients or of one, is due on these lanes. Those of it that
    /// are known already are left alone.
    pub fn add(&mut self, id: QueueId, priority: i8, several: bool, lanes: Vec<Lane>) {
        if several && !lanes.is_empty() {
            self.several.insert(id);
        }
        for mut lane in lanes {
            // One copy of the name for all that share it.
            if let Some((hop, _)) = self.destinations.get_key_value(&lane.hop) {
                lane.hop = hop.clone();
            }
            let known = self.lanes.entry(id).or_default();
            if known.contains(&lane) {
                continue;
            }
            // Most have one: ten thousand should not have room for four each.
            known.reserve_exact(1);
            known.push(lane.clone());
            self.next += 1;
            let place = (-i16::from(priority), self.next);
            let destination = self.destinations.entry(lane.hop.clone()).or_default();
            destination.waiting.insert(place, (id, lane.domain));
            if !std::mem::replace(&mut destination.in_turn, true) {
                self.turn.push_back(lane.hop);
            }
        }
    }

    /// The next job to begin, if the limits allow one.
    pub fn begin(&mut self, limits: &Limits, now: i64) -> Option<Job> {
        if self.running >= limits.all {
            return None;
        }
        while let Some(hop) = self.turn.pop_front() {
            let Some(destination) = self.destinations.get_mut(&hop) else {
                continue;
            };
            destination.in_turn = false;
            if destination.running >= limits.per_destination {
                continue;
            }
            let Some((_, (id, domain))) = destination.waiting.pop_first() else {
                continue;
            };
            destination.running += 1;
            self.running += 1;
            destination.down.take_if(|(until, _)| *until <= now);
            let down = destination.down.as_ref().map(|(_, reply)| reply.clone());
            let era = destination.era;
            if !destination.waiting.is_empty() {
                destination.in_turn = true;
                self.turn.push_back(hop.clone());
            }
            let lane = Lane { hop, domain };
            return Some(Job {
                id,
                lane,
                down,
                era,
            });
        }
        None
    }

    /// A job is over.
    pub fn end(&mut self, job: &Job, reach: Reach) {
        self.running = self.running.saturating_sub(1);
        if let Some(destination) = self.destinations.get_mut(&job.lane.hop) {
            destination.running = destination.running.saturating_sub(1);
            match reach {
                Reach::Reached => destination.wake(),
                Reach::Unreached(until, reply) if job.era == destination.era => {
                    destination.down = Some((until, reply));
                }
                Reach::Unreached(..) | Reach::Untried => {}
            }
            let idle = destination.waiting.is_empty();
            if idle && destination.running == 0 && destination.down.is_none() {
                self.destinations.remove(&job.lane.hop);
            } else if !idle && !std::mem::replace(&mut destination.in_turn, true) {
                self.turn.push_back(job.lane.hop.clone());
            }
        }
        if let Some(lanes) = self.lanes.get_mut(&job.id) {
            lanes.retain(|it| *it != job.lane);
            if lanes.is_empty() {
                self.lanes.remove(&job.id);
                self.several.remove(&job.id);
            }
        }
    }

    /// Ends all rests.
    pub fn wake(&mut self) {
        self.destinations.values_mut().for_each(Destination::wake);
    }

    /// Gives each destination with something to begin a turn, for limits that are others now.
    pub fn offer_all(&mut self) {
        for (hop, it) in &mut self.destinations {
            if !it.waiting.is_empty() && !std::mem::replace(&mut it.in_turn, true) {
                self.turn.push_back(hop.clone());
            }
        }
    }

    /// Forgets which servers could not be reached, where that is long ago.
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

    /// `x.test`, or `smart/x.test`: a domain behind a server.
    fn lane(name: &str) -> Lane {
        let (hop, domain) = name.split_once('/').unwrap_or((name, name));
        Lane {
            hop: hop.into(),
            domain: Domain::parse(domain).ok(),
        }
    }

    fn begun(ready: &mut Ready) -> Vec<(u64, String)> {
        let jobs = std::iter::from_fn(|| ready.begin(&LIMITS, 0));
        jobs.map(|job| (job.id.0, job.lane.domain.unwrap().to_string()))
            .collect()
    }

    fn job(id: u64, name: &str) -> Job {
        Job {
            id: QueueId(id),
            lane: lane(name),
            down: None,
            era: 0,
        }
    }

    fn pairs(list: &[(u64, &str)]) -> Vec<(u64, String)> {
        list.iter()
            .map(|(id, name)| (*id, name.to_string()))
            .collect()
    }

    #[test]
    fn destinations_take_turns_within_the_limits() {
        let mut ready = Ready::default();
        for id in 1..=5 {
            ready.add(QueueId(id), 0, false, vec![lane("x.test")]);
        }
        ready.add(QueueId(6), 0, true, vec![lane("y.test"), lane("z.test")]);
        ready.add(QueueId(7), 0, false, vec![lane("y.test")]);
        let first = [(1, "x.test"), (6, "y.test"), (6, "z.test"), (2, "x.test")];
        assert_eq!(begun(&mut ready), pairs(&first));
        ready.end(&job(6, "z.test"), Reach::Reached);
        assert_eq!(begun(&mut ready), pairs(&[(7, "y.test")]));
        assert_eq!(ready.lanes(QueueId(6)), [lane("y.test")]);
        assert!(!ready.knows_all(QueueId(6)) && ready.knows_all(QueueId(7)));
        ready.end(&job(6, "y.test"), Reach::Reached);
        assert_eq!(ready.lanes(QueueId(6)), []);
        assert!(!ready.several.contains(&QueueId(6)));
        // The destination is at its limit until one of its own ends.
        assert_eq!(begun(&mut ready), []);
        ready.end(&job(1, "x.test"), Reach::Reached);
        assert_eq!(begun(&mut ready), pairs(&[(3, "x.test")]));
        for (id, name) in [(2, "x.test"), (3, "x.test"), (7, "y.test")] {
            ready.end(&job(id, name), Reach::Reached);
        }
        assert_eq!(begun(&mut ready), pairs(&[(4, "x.test"), (5, "x.test")]));
        ready.end(&job(4, "x.test"), Reach::Reached);
        ready.end(&job(5, "x.test"), Reach::Untried);
        assert_eq!((ready.running(), ready.destinations.len()), (0, 0));
        assert!(ready.turn.len() <= 1 && ready.has_room());
    }

    #[test]
    fn domains_behind_one_server_share_its_limit_and_its_rest() {
        let mut ready = Ready::default();
        for id in 1..=50 {
            ready.add(
                QueueId(id),
                0,
                false,
                vec![lane(&format!("smart/d{id}.test"))],
            );
        }
        let first = [(1, "d1.test"), (2, "d2.test")];
        assert_eq!(begun(&mut ready), pairs(&first));
        let down = Reach::Unreached(60, Reply::default());
        ready.end(&job(1, "smart/d1.test"), down);
        let next = ready.begin(&LIMITS, 59).unwrap();
        assert_eq!((next.id.0, next.down.is_some()), (3, true));
        // The one that was begun before gets through: the rest is over for all.
        ready.end(&job(2, "smart/d2.test"), Reach::Reached);
        assert_eq!(ready.begin(&LIMITS, 59).unwrap().down, None);
    }

    #[test]
    fn what_was_begun_before_a_rest_ended_begins_no_new_one() {
        let mut ready = Ready::default();
        for id in 1..=4 {
            ready.add(QueueId(id), 0, false, vec![lane("x.test")]);
        }
        let [old, other] = [0, 0].map(|now| ready.begin(&LIMITS, now).unwrap());
        ready.end(&other, Reach::Unreached(60, Reply::default()));
        ready.wake();
        ready.end(&old, Reach::Unreached(60, Reply::default()));
        let new = ready.begin(&LIMITS, 1).unwrap();
        assert_eq!(new.down, None);
        ready.end(&new, Reach::Unreached(60, Reply::default()));
        assert!(ready.begin(&LIMITS, 1).unwrap().down.is_some());
    }

    #[test]
    fn a_known_lane_is_not_added_twice_and_priority_goes_first() {
        let mut ready = Ready::default();
        ready.add(QueueId(1), -3, true, vec![lane("x.test")]);
        ready.add(QueueId(2), 4, false, vec![lane("x.test")]);
        ready.add(QueueId(1), 9, true, vec![lane("x.test"), lane("y.test")]);
        let order: Vec<_> = begun(&mut ready);
        assert_eq!(order, pairs(&[(2, "x.test"), (1, "y.test"), (1, "x.test")]));
    }

    #[test]
    fn a_destination_that_is_down_says_so_until_it_is_forgotten() {
        let mut ready = Ready::default();
        for id in 1..=3 {
            ready.add(QueueId(id), 0, false, vec![lane("x.test")]);
        }
        let reply = Reply {
            text: "no".into(),
            ..Reply::default()
        };
        let first = ready.begin(&LIMITS, 0).unwrap();
        assert_eq!(first.down, None);
        ready.end(&first, Reach::Unreached(60, reply.clone()));
        let second = ready.begin(&LIMITS, 59).unwrap();
        assert_eq!(second.down, Some(reply));
        ready.end(&second, Reach::Untried);
        let third = ready.begin(&LIMITS, 60).unwrap();
        assert_eq!(third.down, None);
        ready.end(&third, Reach::Unreached(60, Reply::default()));
        ready.forget(59);
        assert_eq!(ready.destinations.len(), 1);
        ready.forget(60);
        assert_eq!(ready.destinations.len(), 0);
    }
}
