//! The queue's one task: takes in what falls due, begins attempts within the limits, sleeps
//! until something changes.

use super::Carrier;
use super::attempt::{Attempter, Ended};
use super::ready::{Job, Reach, Ready};
use crate::mail::outgoing::{Lane, QueueId};
use crate::store::{Due, Result, Store};
use crate::task;
use event_listener::Event;
use futures_lite::{FutureExt, future};
use smol::{Task, Timer};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Places in the order that are looked at at once.
const BATCH: usize = 64;
/// Longest sleep: a clock may have been set meanwhile.
const LONGEST_SLEEP: i64 = 30;
/// How often the whole order is looked through, seconds: nothing is forgotten, whatever
/// becomes of a clock.
const WHOLE_LOOK: i64 = 60;
/// How long a message rests of which something could not be recorded, seconds.
const STUCK: i64 = 60;

/// The running queue.
pub struct Runner<C> {
    attempter: Arc<Attempter<C>>,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Signals {
    /// The clock has moved, the owner has set something, or the end is near.
    nudge: Event,
    stopping: AtomicBool,
}

/// A handle on it. Dropped, it ends the queue at once.
pub struct Running {
    task: Task<()>,
    signals: Arc<Signals>,
}

impl Running {
    /// Begins nothing more, and gives what is on its way this long to end: what is cut off
    /// between the other server's `250` and our record of it would go out again.
    pub async fn stop(self, wait: Duration) {
        self.signals.stopping.store(true, SeqCst);
        self.signals.nudge.notify(usize::MAX);
        let late = async {
            Timer::after(wait).await;
        };
        self.task.or(late).await;
    }

    /// Looks at the clock and the settings anew.
    pub fn nudge(&self) {
        self.signals.nudge.notify(usize::MAX);
    }
}

impl<C: Carrier> Runner<C> {
    pub fn start(attempter: Attempter<C>) -> Running {
        let signals = Arc::new(Signals::default());
        let runner = Runner {
            attempter: Arc::new(attempter),
            signals: signals.clone(),
        };
        let task = task::spawn(async move {
            while AssertUnwindSafe(runner.run()).catch_unwind().await.is_err() {
                log::error!("the queue stumbled over a bug; it begins anew");
                Timer::after(Duration::from_secs(STUCK as u64)).await;
            }
        });
        Running { task, signals }
    }

    async fn run(&self) {
        let (report, ends) = async_channel::unbounded();
        let mut work = Work {
            attempter: self.attempter.clone(),
            ready: Ready::default(),
            stuck: HashMap::new(),
            after: None,
            looked: None,
        };
        let mut tasks: HashMap<(QueueId, Lane), Task<()>> = HashMap::new();
        let mut limits = None;
        loop {
            let changed = self.attempter.store.queue_changed();
            let nudged = self.signals.nudge.listen();
            let now = (self.attempter.now)();
            while let Ok((job, ended)) = ends.try_recv() {
                tasks.remove(&key(&job));
                work.end(&job, ended, now);
            }
            let stopping = self.signals.stopping.load(SeqCst);
            if stopping && tasks.is_empty() {
                return;
            }
            let mut sleep = LONGEST_SLEEP;
            if !stopping {
                match work.take_in(now).await {
                    Ok(next) => sleep = next,
                    Err(error) => log::warn!("queue: {error}"),
                }
                let chosen = (self.attempter.rules)().limits;
                if limits.replace(chosen).is_some_and(|it| it != chosen) {
                    // Some may begin that could not before.
                    work.ready.offer_all();
                }
                while let Some(job) = work.ready.begin(&chosen, now) {
                    tasks.insert(key(&job), self.begin(job, report.clone()));
                }
            }
            let sleep = Duration::from_secs(sleep.clamp(1, LONGEST_SLEEP) as u64);
            let timer = async {
                Timer::after(sleep).await;
            };
            let woken = async {
                changed.or(nudged).or(timer).await;
                None
            };
            let ended = async { ends.recv().await.ok() };
            if let Some((job, ended)) = ended.or(woken).await {
                tasks.remove(&key(&job));
                work.end(&job, ended, now);
            }
        }
    }

    fn begin(&self, job: Job, report: async_channel::Sender<(Job, Ended)>) -> Task<()> {
        let attempter = self.attempter.clone();
        task::spawn(async move {
            let ended = attempter.run(&job).await;
            // Unbounded, and never more than there are tasks.
            report.try_send((job, ended)).ok();
        })
    }
}

fn key(job: &Job) -> (QueueId, Lane) {
    (job.id, job.lane.clone())
}

/// What the runner knows.
struct Work<C> {
    attempter: Arc<Attempter<C>>,
    ready: Ready,
    /// Messages that rest, and until when.
    stuck: HashMap<QueueId, i64>,
    /// How far the order has been taken in.
    after: Option<Due>,
    /// When it was last looked through from the start.
    looked: Option<i64>,
}

impl<C: Carrier> Work<C> {
    /// Takes in what is due, as far as there is room. Gives the seconds until more is.
    async fn take_in(&mut self, now: i64) -> Result<i64> {
        let store = self.attempter.store.clone();
        let lately = |it: i64| it <= now && now < it.saturating_add(WHOLE_LOOK);
        if !self.looked.is_some_and(lately) {
            self.looked = Some(now);
            self.after = None;
            self.ready.forget(now);
            self.stuck.retain(|_, until| *until > now);
        }
        let news = store.queue_news();
        if news.retried {
            // The owner knows better than the last attempt.
            self.ready.wake();
            self.stuck.clear();
        }
        if let (Some(first), Some(after)) = (news.first, self.after)
            && first <= after
        {
            self.after = before(first);
        }
        while self.ready.has_room() {
            let after = self.after;
            let order = store.look(|it| it.queue_order(after, BATCH))?;
            let full = order.len() == BATCH;
            for due in order {
                if due.at > now {
                    return Ok(due.at.saturating_sub(now));
                }
                self.after = Some(due);
                self.take(&store, due.id, now)?;
            }
            if !full {
                break;
            }
            // There may be thousands, and others want this thread too.
            future::yield_now().await;
        }
        Ok(LONGEST_SLEEP)
    }

    fn take(&mut self, store: &Store, id: QueueId, now: i64) -> Result<()> {
        if self.stuck.get(&id).is_some_and(|until| *until > now) {
            return Ok(());
        }
        // Of one known already further recipients may have become due, if it has any.
        if self.ready.knows_all(id) {
            return Ok(());
        }
        // One that can't be read must not stop the others.
        match store.look(|it| it.queue_item(id)) {
            Ok(Some(item)) => {
                let lanes = self.attempter.lanes(&item, self.ready.lanes(id), now);
                let several = item.recipients.len() > 1;
                self.ready.add(id, item.envelope.priority, several, lanes);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error @ crate::store::Error::Corrupt(_)) => {
                log::error!("queue {}: {error}", id.0);
                self.stuck.insert(id, now + STUCK);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn end(&mut self, job: &Job, ended: Ended, now: i64) {
        let reach = match ended {
            Ended::Done(reach) => reach,
            Ended::Stuck => {
                self.stuck.insert(job.id, now.saturating_add(STUCK));
                Reach::Untried
            }
        };
        self.ready.end(job, reach);
        // More of it may have become due, or there were too many recipients for once.
        let store = self.attempter.store.clone();
        if let Err(error) = self.take(&store, job.id, now) {
            log::warn!("queue {}: {error}", job.id.0);
        }
    }
}

/// The place in front of one.
fn before(due: Due) -> Option<Due> {
    let id = due.id.0.checked_sub(1).map(QueueId)?;
    Some(Due { id, ..due })
}

#[cfg(test)]
#[path = "runner_tests/mod.rs"]
mod tests;
