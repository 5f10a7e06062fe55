//! Fetching by IMAP: what is new comes here, is noted as taken with its delivery, and only
//! then goes over there. A cut in between costs a second delete, never a second delivery.

mod after;
mod enter;
mod fetch;
mod list;
mod talk;

use super::failure::{Failure, Kind};
use super::job::Job;
use super::link::Link;
use super::memory::Uids;
use super::take::Trace;
use crate::imap::client::{Client, Command, Event};
use crate::mail::Uid;
use futures_lite::FutureExt;
use std::time::{Duration, Instant};
use talk::away;

/// Messages that one look lists; more come with the next.
const MAX_LISTED: usize = 100_000;
/// Messages that are taken before they are deleted or moved over there.
const BATCH: u64 = 50;
/// Messages that a provider may refuse to give in one look; then something else is wrong.
const MAX_REFUSED: u32 = 20;
/// Longest IDLE (RFC 2177 asks for under 29 minutes).
const MAX_IDLE: Duration = Duration::from_secs(28 * 60);

/// A message over there.
struct Listed {
    uid: Uid,
    /// As the provider says, bytes.
    size: u64,
}

/// A logged-in connection with a mailbox selected.
pub struct Imap<'a> {
    job: &'a Job,
    link: Link,
    client: Client,
    trace: Trace,
    memory: Uids,
    /// Something has been said of new messages since the last listing began.
    news: bool,
    /// Messages that were listed and then not given.
    refused: u32,
}

impl<'a> Imap<'a> {
    pub async fn open(job: &'a Job) -> Result<Imap<'a>, Failure> {
        let link = Link::open(&job.collector, &job.world).await?;
        let trace = job.trace(&link, "IMAP")?;
        let mut imap = Imap {
            job,
            link,
            client: Client::default(),
            trace,
            memory: Uids::load(&job.store, job.number)?,
            news: false,
            refused: 0,
        };
        imap.greet().await?;
        imap.select().await?;
        Ok(imap)
    }

    /// Whether the provider tells of new messages by itself.
    pub fn can_idle(&self) -> bool {
        self.client.has("IDLE")
    }

    /// Takes all that is new; gives how many could not be taken and stay.
    pub async fn collect(&mut self) -> Result<u64, Failure> {
        self.refused = 0;
        self.finish_pending().await?;
        loop {
            self.news = false;
            let listed = self.list().await?;
            let all = listed.len() < MAX_LISTED;
            let mut taken = 0;
            for group in fetch::groups(&listed, self.job.is_singly()) {
                taken += match self.take_group(group).await {
                    // What came need not wait over there for the rest.
                    Err(failure) if failure.kind == Kind::Full => {
                        self.finish_pending().await?;
                        return Err(failure);
                    }
                    taken => taken?,
                };
                if taken >= BATCH {
                    self.finish_pending().await?;
                    taken = 0;
                }
            }
            self.finish_pending().await?;
            if all && !self.news {
                return Ok(self.memory.left.len());
            }
        }
    }

    /// Waits for news, or until `wait` is over, or `woken` is.
    pub async fn idle(
        &mut self,
        wait: Duration,
        woken: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let end = Instant::now() + wait.min(MAX_IDLE);
        let mut woken = Box::pin(woken);
        self.give(&Command::Idle).await?;
        while !matches!(self.next().await?, Event::Continue(_)) {}
        while !self.news {
            match self.next_now()? {
                Some(Event::Done(_)) => return Ok(()),
                Some(Event::Bye(text)) => return Err(away(&text)),
                Some(_) => {}
                None => {
                    let left = end.saturating_duration_since(Instant::now());
                    let link = &mut self.link;
                    let heard = link.listen(self.client.input(), left);
                    let woken = async {
                        (&mut woken).await;
                        Ok(false)
                    };
                    if !heard.or(woken).await? {
                        break;
                    }
                }
            }
        }
        let mut out = Vec::new();
        self.client.answer(b"DONE", &mut out);
        self.link.allow(0);
        self.link.send(&out).await?;
        self.until_done().await.map(|_| ())
    }

    pub async fn logout(mut self) {
        // It is said for the provider's sake; nothing hangs on it.
        if self.ask(&Command::Logout).await.is_ok() {
            self.link.close().await;
        }
    }
}
