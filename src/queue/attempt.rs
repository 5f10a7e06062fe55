//! One message on one lane: sent, and what came of it recorded.

use super::claims::{Claim, Claims};
use super::letter::is_called_off;
use super::pool::Lease;
use super::ready::{Job, Reach};
use super::retry::{Attempt, Policy};
use super::tell::{Settled, Teller};
use super::{Carrier, Recorder, Recording, Rules, Sent};
use crate::mail::outgoing::{Consignment, Lane, Outcome, QueueItem, Recipient, Reply, Status};
use crate::message::notice::spoken;
use crate::store::{Error, QueueChange, Result, Store};
use futures_lite::FutureExt;
use smol::Timer;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Recipients of one consignment; the message goes again to the rest.
pub const MAX_CONSIGNMENT: usize = 100;
/// How long a server that was not to be reached is not tried, seconds; no longer than the
/// first pause.
const DOWN: i64 = 60;
/// Between two attempts at recording a success.
const RECORD_PAUSE: Duration = Duration::from_secs(1);

/// What all attempts share.
pub struct Attempter<C> {
    pub store: Store,
    pub carrier: C,
    /// As they are now: the owner may change them at any time.
    pub rules: Box<dyn Fn() -> Rules + Send + Sync>,
    /// Who is on his way.
    pub claims: Claims,
    /// The clock, seconds since 1970.
    pub now: Box<dyn Fn() -> i64 + Send + Sync>,
}

/// How a job ended.
#[derive(Debug)]
pub enum Ended {
    /// Recorded; for so long, seconds since 1970, a server that was not reached rests.
    Done(Reach),
    /// Something could not be recorded: the message is left alone for a while.
    Stuck,
}

/// What an attempt has shown.
struct Shown {
    /// By the recipients' places.
    outcomes: Vec<(usize, Outcome)>,
    reach: Reach,
    /// To be dropped when the outcomes are recorded.
    lease: Option<Lease>,
}

/// Records successes while the attempt goes on.
struct Early<'a, C> {
    attempter: &'a Attempter<C>,
    item: &'a QueueItem,
    /// The places that are recorded.
    places: Mutex<Vec<usize>>,
}

impl<C: Carrier> Recorder for Early<'_, C> {
    fn record(&self, outcomes: Vec<(usize, Outcome)>) -> Recording<'_> {
        Box::pin(async move {
            let now = (self.attempter.now)();
            let settled = self.attempter.settle(self.item, outcomes, now);
            let places: Vec<usize> = settled.iter().map(|it| it.0).collect();
            let recorded = self.attempter.record_success(self.item, settled, now);
            // If not, the end of the attempt tries again.
            if recorded.await.is_ok() {
                let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(places);
            }
        })
    }
}

impl<C: Carrier> Attempter<C> {
    pub async fn run(&self, job: &Job) -> Ended {
        match AssertUnwindSafe(self.attempt(job)).catch_unwind().await {
            Ok(Ok(reach)) => Ended::Done(reach),
            Ok(Err(Error::Closed)) => Ended::Stuck,
            Ok(Err(error)) => {
                log::error!("queue {}: nothing could be recorded: {error}", job.id.0);
                Ended::Stuck
            }
            Err(_) => {
                log::error!("queue {}: stumbled over a bug; it rests", job.id.0);
                Ended::Stuck
            }
        }
    }

    async fn attempt(&self, job: &Job) -> Result<Reach> {
        let now = (self.now)();
        // Held until all is recorded.
        let Some((item, claim)) = self.claim(job, now)? else {
            return Ok(Reach::Untried);
        };
        let places = claim.places.clone();
        if places.is_empty() {
            return Ok(Reach::Untried);
        }
        if job.lane == Lane::here() {
            self.deliver_here(&item, places, now).await?;
            return Ok(Reach::Reached);
        }
        let early = Early {
            attempter: self,
            item: &item,
            places: Mutex::default(),
        };
        let mut shown = self.outcomes(&item, job, places, now, &early).await;
        let recorded = early.places.into_inner();
        let recorded = recorded.unwrap_or_else(PoisonError::into_inner);
        shown
            .outcomes
            .retain(|(place, _)| !recorded.contains(place));
        let now = (self.now)();
        let settled = self.settle(&item, shown.outcomes, now).into_iter();
        let (done, others): (Vec<_>, Vec<_>) =
            settled.partition(|(_, status, _)| matches!(status, Status::Delivered(_)));
        // First of all, lest it be done twice.
        self.record_success(&item, done, now).await?;
        self.record(&item, others, now).await?;
        drop(shown.lease);
        Ok(shown.reach)
    }

    /// What the outcomes make of the recipients.
    pub(super) fn settle(
        &self,
        item: &QueueItem,
        outcomes: Vec<(usize, Outcome)>,
        now: i64,
    ) -> Vec<Settled> {
        let policy = (self.rules)().policy;
        let settled = outcomes.into_iter().filter_map(|(place, outcome)| {
            let recipient = item.recipients.get(place)?;
            let attempt = attempt_of(item, place, now);
            let (status, event) = policy.settle(&attempt, recipient, outcome);
            report(item, recipient, &status);
            Some((place, status, event))
        });
        settled.collect()
    }

    /// The message, and those of its recipients whom this attempt has.
    fn claim(&self, job: &Job, now: i64) -> Result<Option<(QueueItem, Claim<'_>)>> {
        self.claims.claim(job.id, |claimed| {
            let item = self.store.look(|it| it.queue_item(job.id))?;
            Ok(item.map(|item| {
                let places = self.places(&item, &job.lane, claimed, now);
                (item, places)
            }))
        })
    }

    async fn outcomes(
        &self,
        item: &QueueItem,
        job: &Job,
        mut places: Vec<usize>,
        now: i64,
        early: &dyn Recorder,
    ) -> Shown {
        let mut outcomes = Vec::new();
        let untried = |outcomes| Shown {
            outcomes,
            reach: Reach::Untried,
            lease: None,
        };
        places.retain(|&place| {
            let Some(recipient) = item.recipients.get(place) else {
                return false;
            };
            let overdue = Policy::overdue(&attempt_of(item, place, now), recipient);
            let given_up = overdue.is_some();
            outcomes.extend(overdue.map(|reply| (place, Outcome::Failed(reply))));
            !given_up
        });
        if places.is_empty() {
            return untried(outcomes);
        }
        if let Some(reply) = &job.down {
            let again = |place| (place, Outcome::Deferred(reply.clone()));
            outcomes.extend(places.into_iter().map(again));
            return untried(outcomes);
        }
        let sent = self.send(item, job, places.clone(), early).await;
        let Sent::Done(mut sent, lease) = sent else {
            return untried(outcomes);
        };
        // An attempt that the owner has stopped is none: they stay as they were.
        sent.retain(|(place, outcome)| match outcome {
            Outcome::Deferred(reply) if is_called_off(reply) => {
                places.retain(|it| it != place);
                false
            }
            _ => true,
        });
        if places.is_empty() {
            return untried(outcomes);
        }
        let unreached = sent.iter().map(|(_, outcome)| match outcome {
            Outcome::Deferred(reply) if is_unreached(reply) => Some(reply),
            _ => None,
        });
        let unreached = unreached.collect::<Option<Vec<_>>>();
        let down = unreached.and_then(|replies| replies.first().copied().cloned());
        let rest = DOWN.min((self.rules)().policy.first_pause);
        let reach = match down {
            Some(reply) => Reach::Unreached((self.now)().saturating_add(rest), reply),
            None => Reach::Reached,
        };
        // Every place gets an outcome, whatever the carrier did.
        outcomes.extend(places.into_iter().map(|place| {
            let found = sent.iter().find(|it| it.0 == place);
            let outcome = found.map(|it| it.1.clone());
            (place, outcome.unwrap_or_else(no_outcome))
        }));
        Shown {
            outcomes,
            reach,
            lease,
        }
    }

    async fn send(
        &self,
        item: &QueueItem,
        job: &Job,
        places: Vec<usize>,
        early: &dyn Recorder,
    ) -> Sent {
        let consignment = Consignment {
            item: item.clone(),
            lane: job.lane.clone(),
            recipients: places,
        };
        let sent = AssertUnwindSafe(self.carrier.send(consignment, early));
        sent.catch_unwind().await.unwrap_or_else(|_| {
            log::error!("queue {}: sending stumbled over a bug", item.id.0);
            Sent::Done(Vec::new(), None)
        })
    }

    /// Tries until it is recorded: without that the message would go out twice.
    async fn record_success(&self, item: &QueueItem, done: Vec<Settled>, now: i64) -> Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        if done.iter().any(|it| it.2.is_some()) {
            match self.record(item, done.clone(), now).await {
                Ok(()) => return Ok(()),
                Err(Error::Closed) => return Err(Error::Closed),
                Err(error) => log::warn!("queue {}: no notice of success: {error}", item.id.0),
            }
        }
        let change = || vec![(item.id, statuses(done.clone()))];
        loop {
            match self.store.update_queue(change(), Vec::new()).await {
                Ok(_) => return Ok(()),
                Err(Error::Closed) => return Err(Error::Closed),
                Err(error) => log::error!("queue {}: a success: {error}", item.id.0),
            }
            Timer::after(RECORD_PAUSE).await;
        }
    }

    pub(super) fn teller(&self) -> Teller {
        let rules = (self.rules)();
        Teller {
            store: self.store.clone(),
            hostname: rules.hostname,
            expiry: rules.policy.expiry,
        }
    }

    /// In one transaction with the notices of it.
    pub(super) async fn record(
        &self,
        item: &QueueItem,
        settled: Vec<Settled>,
        now: i64,
    ) -> Result<()> {
        if settled.is_empty() {
            return Ok(());
        }
        let notices = self.teller().notices(item, &settled, now).await?;
        let change = vec![(item.id, statuses(settled))];
        self.store.update_queue(change, notices).await.map(|_| ())
    }
}

pub(super) fn attempt_of(item: &QueueItem, place: usize, now: i64) -> Attempt<'_> {
    Attempt {
        envelope: &item.envelope,
        submitted: item.submitted,
        now,
        // Spread well enough, and the same in a test.
        seed: (item.id.0 ^ now.unsigned_abs())
            .wrapping_add(place as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 16,
    }
}

/// Nobody answered, or could be found. A connection that is lost (4.4.2) says less: it may be
/// for the message's own sake.
fn is_unreached(reply: &Reply) -> bool {
    reply.code == 0 && reply.enhanced.starts_with("4.4.") && reply.enhanced != "4.4.2"
}

fn no_outcome() -> Outcome {
    Outcome::Deferred(Reply {
        code: 0,
        enhanced: "4.3.0".into(),
        text: "the attempt broke off in this server".into(),
        server: None,
    })
}

fn statuses(settled: Vec<Settled>) -> QueueChange {
    let settled = settled.into_iter();
    QueueChange::Statuses(settled.map(|(place, status, _)| (place, status)).collect())
}

pub(super) fn report(item: &QueueItem, recipient: &Recipient, status: &Status) {
    let (id, address) = (item.id.0, &recipient.address);
    match status {
        Status::Delivered(reply) => log::info!("queue {id}: {address}: sent: {}", spoken(reply)),
        Status::Failed(reply) => log::info!("queue {id}: {address}: failed: {}", spoken(reply)),
        Status::Waiting { attempts, last, .. } => {
            let last = last.as_ref().map(spoken).unwrap_or_default();
            log::info!("queue {id}: {address}: put off, attempt {attempts}: {last}");
        }
    }
}
