//! Collectors: mail that is fetched from providers' mailboxes, by IMAP or POP3.
//!
//! [`run`] keeps one task a [`collector`], as the store's [`record`]s say, live. A task
//! opens a [`link`], logs in ([`login`]), and fetches ([`imap`], [`pop3`]); a message comes
//! in by [`take`], and what came is remembered ([`memory`]) in the transaction that
//! delivers it.

pub mod collector;
mod failure;
mod findings;
mod imap;
mod job;
mod link;
mod login;
mod memory;
mod pop3;
pub mod record;
mod take;

pub use job::KEEP_SUCCESS;

use crate::context::Context;
use crate::net::connect::Authorities;
use crate::secret::{Secret, random};
use crate::store::{Error, Result};
use crate::task;
use async_channel::{Receiver, Sender};
use async_io::Timer;
use async_lock::Semaphore;
use collector::{Collector, Protocol};
use failure::Failure;
use futures_lite::FutureExt;
use imap::Imap;
use job::Job;
use link::World;
use record::Number;
use smol::Task;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Collectors that fetch at once; others wait for their turn. Those that wait for news
/// don't count.
const MAX_AT_ONCE: usize = 4;
/// How soon a connection is made anew that broke while nothing was being fetched.
const SOON: Duration = Duration::from_secs(5);
/// How soon the store is asked again after it could not say what collectors there are.
const STORE_WAIT: Duration = Duration::from_secs(60);

/// A collector at work.
struct Running {
    /// Its record, and how often the owner had asked for a look when it was read.
    row: Secret<Vec<u8>>,
    asked: u64,
    wake: Sender<()>,
    task: Task<()>,
}

/// Runs all collectors until dropped; records that change are heeded at once.
pub async fn run(context: Arc<Context>) {
    let world = World {
        resolver: context.resolver.clone(),
        authorities: Arc::new(Authorities::new(None)),
    };
    let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let mut running = BTreeMap::new();
    loop {
        let changed = context.store.records_changed();
        match adjust(&context, &world, &places, &mut running).await {
            Ok(()) => changed.await,
            Err(Error::Closed) => return,
            Err(error) => {
                log::warn!("collectors: {error}");
                Timer::after(STORE_WAIT).await;
            }
        }
    }
}

/// Stops and starts until those run that should.
async fn adjust(
    context: &Arc<Context>,
    world: &World,
    places: &Arc<Semaphore>,
    running: &mut BTreeMap<Number, Running>,
) -> Result<()> {
    let mut wanted: BTreeMap<Number, Collector> = BTreeMap::new();
    wanted.extend(context.store.look(record::all)?);
    let stale: Vec<Number> = running
        .iter()
        .filter(|(number, it)| wanted.get(number).is_none_or(|new| is_stopped(it, new)))
        .map(|(number, _)| *number)
        .collect();
    for number in stale {
        if let Some(old) = running.remove(&number) {
            old.task.cancel().await;
        }
    }
    record::sweep(&context.store).await?;
    wanted.retain(|_, collector| !collector.paused);
    for (number, collector) in wanted {
        match running.get_mut(&number) {
            Some(it) if it.asked != collector.asked => {
                it.asked = collector.asked;
                // Full: it has been told already.
                let _ = it.wake.try_send(());
            }
            Some(_) => {}
            None => match start(context, world, places, number, collector) {
                Ok(started) => {
                    running.insert(number, started);
                }
                Err(Error::NoAccount) => {
                    log::info!("collector {number}: its account is gone, and so is it");
                    record::remove(&context.store, number).await?;
                }
                Err(error) => return Err(error),
            },
        }
    }
    Ok(())
}

/// Whether what runs is not what is wanted now.
fn is_stopped(running: &Running, wanted: &Collector) -> bool {
    wanted.paused || row_of(wanted).reveal() != running.row.reveal()
}

/// What makes it another collector: all but how often a look was asked for.
fn row_of(collector: &Collector) -> Secret<Vec<u8>> {
    let mut plain = collector.clone();
    plain.asked = 0;
    plain.encode()
}

fn start(
    context: &Context,
    world: &World,
    places: &Arc<Semaphore>,
    number: Number,
    collector: Collector,
) -> Result<Running> {
    let (row, asked) = (row_of(&collector), collector.asked);
    let job = Job::new(context, world, number, collector)?;
    let (wake, woken) = async_channel::bounded(1);
    let places = places.clone();
    let task = task::spawn(async move { keep(&job, &woken, &places).await });
    Ok(Running {
        row,
        asked,
        wake,
        task,
    })
}

/// Fetches again and again.
async fn keep(job: &Job, woken: &Receiver<()>, places: &Semaphore) {
    let mut failures = 0;
    loop {
        let wait = match work(job, woken, places, &mut failures).await {
            Ok(wait) => failure::spread(wait, chance()),
            Err(failure) => {
                failures += 1;
                job.failed(&failure).await;
                let every = Duration::from_secs(u64::from(job.collector.every));
                failure::wait(failure.kind, failures, every, chance())
            }
        };
        let over = async {
            Timer::after(wait).await;
        };
        over.or(wakening(woken)).await;
    }
}

async fn wakening(woken: &Receiver<()>) {
    // An error means that the collector is about to be stopped.
    let _ = woken.recv().await;
}

/// Fetches until there is a reason to begin anew; gives when.
async fn work(
    job: &Job,
    woken: &Receiver<()>,
    places: &Semaphore,
    failures: &mut u32,
) -> std::result::Result<Duration, Failure> {
    let every = Duration::from_secs(u64::from(job.collector.every));
    let place = places.acquire().await;
    if job.collector.protocol == Protocol::Pop3 {
        loop {
            let looked = pop3::collect(job).await?;
            if !looked.more {
                job.succeeded(looked.left).await;
                *failures = 0;
                return Ok(every);
            }
        }
    }
    let mut imap = Imap::open(job).await?;
    let left = imap.collect().await?;
    drop(place);
    job.succeeded(left).await;
    *failures = 0;
    while imap.can_idle() {
        if let Err(failure) = imap.idle(every, wakening(woken)).await {
            // Providers end what is idle for long: no more than a reason to come again.
            log::debug!("collector {}: {failure}", job.number);
            return Ok(SOON);
        }
        let _place = places.acquire().await;
        let left = imap.collect().await?;
        job.succeeded(left).await;
    }
    imap.logout().await;
    Ok(every)
}

/// A number that nobody can foresee; any will do where there is no chance to be had.
fn chance() -> u16 {
    random::<2>().map_or(0, u16::from_be_bytes)
}
