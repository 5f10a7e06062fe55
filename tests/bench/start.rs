//! Idle memory, start to accept, and the same after kill -9 in the middle of writing.

use crate::Bench;
use crate::client::{Result, Site};
use crate::fill::{self, numbered};
use crate::imap::Imap;
use crate::messages::Kind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Starts and kills that the median is taken of.
const TIMES: usize = 3;
/// How long it writes before it is killed.
const LOADED: Duration = Duration::from_millis(400);
/// How long the started server is left alone before its memory is looked at.
const SETTLE: Duration = Duration::from_millis(1500);
const VICTIM: &str = "victim";

pub fn measure(bench: &mut Bench) -> Result<()> {
    fill::medium(bench)?;
    let mut starts = Vec::new();
    for _ in 0..TIMES {
        bench.server().stop()?;
        starts.push(millis(bench.server().start()?));
    }
    bench.put("start", median(&mut starts));

    std::thread::sleep(SETTLE);
    let memory = bench.server().memory();
    bench.put("memory", memory as f64 / 1e6);

    let site = bench.site();
    Imap::open(&site, site.victim)?.empty(VICTIM)?;
    let mut starts = Vec::new();
    for _ in 0..TIMES {
        starts.push(killed(bench, &site)?);
    }
    bench.put("kill", median(&mut starts));
    Ok(())
}

/// Kills it while it takes messages; checks that what it acknowledged is there after the start.
fn killed(bench: &mut Bench, site: &Site) -> Result<f64> {
    Imap::open(site, site.victim)?.empty(VICTIM)?;
    let acknowledged = AtomicUsize::new(0);
    let restart = std::thread::scope(|scope| {
        scope.spawn(|| {
            let Ok(mut imap) = Imap::open(site, site.victim) else {
                return;
            };
            // Ends with the connection.
            for n in 0.. {
                if imap
                    .append(VICTIM, &numbered(site, Kind::Mixed, n))
                    .is_err()
                {
                    return;
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        });
        std::thread::sleep(LOADED);
        bench.server().kill()?;
        bench.server().start()
    })?;
    let acknowledged = acknowledged.into_inner();
    let found = Imap::open(site, site.victim)?.select(VICTIM)?;
    // The one in flight may have been committed without its answer getting out.
    if acknowledged == 0 || !(acknowledged..=acknowledged + 1).contains(&found) {
        return Err(format!("{found} messages after kill -9, {acknowledged} acknowledged").into());
    }
    // Lets mdbox rebuild what the crash left inconsistent here and not in the next measure; it
    // may close the connection over it.
    let message = numbered(site, Kind::Small, 0);
    let append = |_| Imap::open(site, site.victim)?.append(VICTIM, &message);
    (0..3)
        .map(append)
        .find(Result::is_ok)
        .ok_or("nothing can be appended after kill -9")??;
    Ok(millis(restart))
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
