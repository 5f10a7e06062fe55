//! The way to the writer thread: a bounded queue of jobs, handed over in batches.

use super::error::{Error, Result};
use super::segment::lock;
use super::tx::Tx;
use event_listener::Event;
use futures_lite::FutureExt;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Writes that can wait for the writer thread.
const MAX_QUEUE: usize = 256;
/// Longest that a caller waits for a place in the queue.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// Writes in one transaction.
const MAX_BATCH: usize = 64;
/// Message bytes in one transaction.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// One write, able to run again: a transaction that it shared with a failed one starts over.
pub(super) trait Job: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<()>;
    /// Whether it makes the store larger: such a one is refused on a full disk.
    fn grows(&self) -> bool;
    /// Message bytes that it appends.
    fn bytes(&self) -> usize;
    /// Tells the caller: what `run` gave last, or `failure`.
    fn answer(self: Box<Self>, failure: Option<Error>);
}

/// A closure as a job.
pub(super) struct Call<T, F> {
    f: F,
    grows: bool,
    bytes: usize,
    result: Option<T>,
    reply: async_channel::Sender<Result<T>>,
}

impl<T, F: FnMut(&mut Tx<'_>) -> Result<T>> Call<T, F> {
    pub fn new(
        f: F,
        grows: bool,
        bytes: usize,
        reply: async_channel::Sender<Result<T>>,
    ) -> Call<T, F> {
        Call {
            f,
            grows,
            bytes,
            result: None,
            reply,
        }
    }
}

impl<T: Send, F: FnMut(&mut Tx<'_>) -> Result<T> + Send> Job for Call<T, F> {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        self.result = Some((self.f)(tx)?);
        Ok(())
    }

    fn grows(&self) -> bool {
        self.grows
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn answer(self: Box<Self>, failure: Option<Error>) {
        let result = match (failure, self.result) {
            (Some(failure), _) => Err(failure),
            (None, Some(result)) => Ok(result),
            (None, None) => Err(Error::Closed),
        };
        // A caller that has gone away doesn't want the answer.
        self.reply.try_send(result).ok();
    }
}

#[derive(Default)]
pub(super) struct Queue {
    jobs: Mutex<VecDeque<Box<dyn Job>>>,
    /// For the writer thread: a job came, or the end.
    arrival: Condvar,
    /// For callers: there is room.
    room: Event,
    closed: AtomicBool,
    /// The writer thread has ended.
    ended: AtomicBool,
    end: Event,
}

impl Queue {
    /// [`Error::Busy`] if the queue stays full, [`Error::Closed`] after [`Queue::close`].
    pub async fn push(&self, job: Box<dyn Job>) -> Result<()> {
        let mut job = Some(job);
        if self.try_push(&mut job)? {
            return Ok(());
        }
        let wait = async {
            loop {
                let listener = self.room.listen();
                if self.try_push(&mut job)? {
                    return Ok(());
                }
                listener.await;
            }
        };
        let late = async {
            smol::Timer::after(MAX_WAIT).await;
            Err(Error::Busy)
        };
        wait.or(late).await
    }

    fn try_push(&self, job: &mut Option<Box<dyn Job>>) -> Result<bool> {
        let mut jobs = lock(&self.jobs);
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if jobs.len() >= MAX_QUEUE {
            return Ok(false);
        }
        jobs.extend(job.take());
        drop(jobs);
        self.arrival.notify_one();
        Ok(true)
    }

    /// Waits until `count` jobs are there, the queue is closed, or the deadline.
    pub fn wait(&self, count: usize, deadline: Option<Instant>) {
        let count = count.min(MAX_BATCH);
        let mut jobs = lock(&self.jobs);
        while jobs.len() < count && !self.is_closed() {
            jobs = match deadline {
                None => self
                    .arrival
                    .wait(jobs)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    self.arrival
                        .wait_timeout(jobs, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    pub fn len(&self) -> usize {
        lock(&self.jobs).len()
    }

    /// Takes what fits one transaction.
    pub fn take_batch(&self) -> Vec<Box<dyn Job>> {
        let mut jobs = lock(&self.jobs);
        let mut bytes = 0;
        let mut count = 0;
        for job in jobs.iter().take(MAX_BATCH) {
            bytes += job.bytes();
            if count > 0 && bytes > MAX_BATCH_BYTES {
                break;
            }
            count += 1;
        }
        let batch = jobs.drain(..count).collect();
        drop(jobs);
        self.room.notify(usize::MAX);
        batch
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Takes no more jobs; the writer thread ends after those that wait.
    pub fn close(&self) {
        let jobs = lock(&self.jobs);
        self.closed.store(true, SeqCst);
        drop(jobs);
        self.arrival.notify_all();
        self.room.notify(usize::MAX);
    }

    /// Said by the writer thread last of all.
    pub fn set_ended(&self) {
        self.ended.store(true, SeqCst);
        self.end.notify(usize::MAX);
    }

    pub async fn ended(&self) {
        while !self.ended.load(SeqCst) {
            let listener = self.end.listen();
            if self.ended.load(SeqCst) {
                return;
            }
            listener.await;
        }
    }
}
