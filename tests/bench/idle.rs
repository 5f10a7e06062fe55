//! Many clients: logging in again and again, and waiting in IDLE.

use crate::Bench;
use crate::client::{Result, Site};
use crate::imap::Imap;
use crate::messages::{Kind, message};
use crate::smtp::Smtp;
use crate::start::{median, millis};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const AT_ONCE: usize = 4;
/// How long idle connections are left alone before their memory is looked at.
const SETTLE: Duration = Duration::from_secs(2);
/// Notices timed before the number of the others is chosen.
const FIRST: usize = 10;
/// Longest wait for EXISTS.
const PATIENCE: Duration = Duration::from_secs(40);
/// The crowd waits on one mailbox, the watched connection on the other's.
const CROWD: &str = "alice";
const WATCHED: &str = "bob";

/// Handshake, LOGIN, LOGOUT, over and over, always the same account.
pub fn login(bench: &mut Bench) -> Result<()> {
    let site = bench.site();
    Imap::login(&site, CROWD)?;
    let each = bench.scale.logins / AT_ONCE;
    let (cpu, began) = (bench.server().cpu(), Instant::now());
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            for _ in 0..each {
                Imap::login(&site, CROWD)?.stream("LOGOUT", |_| ())?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a client thread panicked")?)
    })?;
    let count = (each * AT_ONCE) as f64;
    bench.put("login", count / began.elapsed().as_secs_f64());
    let cpu = bench.server().cpu() - cpu;
    bench.put("login-cpu", millis(cpu) / count);
    Ok(())
}

pub fn idle(bench: &mut Bench) -> Result<()> {
    let site = bench.site();
    // What the measures before have left free in its heap would hide what the crowd takes.
    bench.server().stop()?;
    bench.server().start()?;
    // The processes and caches of a first login are no cost of the thousandth.
    let mut watched = Imap::open(&site, WATCHED)?;
    watched.empty("INBOX")?;
    watched.idle()?;
    Imap::open(&site, CROWD)?.empty("INBOX")?;
    std::thread::sleep(SETTLE);
    let before = bench.server().memory();
    let mut crowd = Vec::with_capacity(bench.scale.idle);
    while crowd.len() < bench.scale.idle {
        let mut imap = Imap::login(&site, CROWD)?;
        imap.select("INBOX")?;
        imap.idle()?;
        crowd.push(imap);
    }
    std::thread::sleep(SETTLE);
    let grown = bench.server().memory().saturating_sub(before);
    bench.put("idle-memory", grown as f64 / 1e3 / crowd.len() as f64);

    let mut times = Vec::new();
    notices(&site, &mut watched, &mut times, FIRST)?;
    // Where each takes half a second, fewer must do.
    let slow = median(&mut times) > 50.0;
    let more = bench.scale.notices / if slow { 5 } else { 1 };
    notices(&site, &mut watched, &mut times, more)?;
    times.sort_by(f64::total_cmp);
    bench.put("idle-median", median(&mut times));
    bench.put(
        "idle-p99",
        times[(times.len() * 99 / 100).min(times.len() - 1)],
    );
    // They are still alive, every one.
    crowd.iter_mut().try_for_each(Imap::done)
}

/// Milliseconds from the 250 of a submission to EXISTS on a connection that waits; 0 if that was
/// first. `times` has one for each message that is there already.
fn notices(site: &Site, watched: &mut Imap, times: &mut Vec<f64>, count: usize) -> Result<()> {
    let mut smtp = Smtp::login(site, CROWD)?;
    let (sender, receiver) = mpsc::channel();
    let numbers = times.len()..times.len() + count;
    std::thread::scope(|scope| {
        let watcher = scope.spawn({
            let numbers = numbers.clone();
            move || -> Result<()> {
                for number in numbers {
                    let exists = format!("* {} EXISTS", number + 1);
                    while watched.line()? != exists {}
                    sender.send(Instant::now())?;
                }
                Ok(())
            }
        });
        for number in numbers {
            let message = message(Kind::Small, number, &site.address(CROWD));
            smtp.submit(&site.address(WATCHED), &message)?;
            let acknowledged = Instant::now();
            let seen = receiver
                .recv_timeout(PATIENCE)
                .map_err(|_| "no EXISTS came")?;
            times.push(millis(seen.saturating_duration_since(acknowledged)));
        }
        watcher.join().map_err(|_| "the watching thread panicked")?
    })
}
