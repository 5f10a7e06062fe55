//! Messages coming in: by submission, and by APPEND.

use crate::Bench;
use crate::client::{Result, Site};
use crate::imap::{Imap, Piece};
use crate::messages::{Kind, message, number};
use crate::smtp::Smtp;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SENDER: &str = "alice";
/// Messages go to them in turn.
const RECIPIENTS: [&str; 2] = ["bob", "alice"];
/// How long delivered messages may take to become visible.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const SETTLE: Duration = Duration::from_secs(1);

/// Rows: connections, acknowledged, visible, CPU, written, syncs.
type Rows = (usize, [&'static str; 5]);
const ROWS: [Rows; 3] = [
    (
        1,
        [
            "deliver-1",
            "visible-1",
            "deliver-cpu-1",
            "written-1",
            "syncs-1",
        ],
    ),
    (
        8,
        [
            "deliver-8",
            "visible-8",
            "deliver-cpu-8",
            "written-8",
            "syncs-8",
        ],
    ),
    (
        32,
        [
            "deliver-32",
            "visible-32",
            "deliver-cpu-32",
            "written-32",
            "syncs-32",
        ],
    ),
];

pub fn delivery(bench: &mut Bench) -> Result<()> {
    let site = bench.site();
    for (connections, rows) in ROWS {
        let count = per_connections(bench.scale.deliveries, connections);
        let load = Load::new(&site, count);
        let (cpu, written) = (bench.server().cpu(), bench.server().written());
        let times = submit(&site, &load, connections)?;
        let cpu = bench.server().cpu() - cpu;
        // What lies in the page cache is in the account as soon as it is dirty.
        let written = bench.server().written() - written;
        check(&site, &load)?;
        let count = count as f64;
        bench.put(rows[0], count / times.acknowledged.as_secs_f64());
        bench.put(rows[1], count / times.visible.as_secs_f64());
        bench.put(rows[2], cpu.as_secs_f64() * 1e3 / count);
        bench.put(rows[3], written as f64 / load.payload() as f64);
    }
    syncs(bench, &site)
}

/// The same once more under strace, shorter.
fn syncs(bench: &mut Bench, site: &Site) -> Result<()> {
    let log = bench.dir.join("syncs");
    // Postfix takes a moment to strike delivered messages off; stopped before, it sends them twice.
    std::thread::sleep(SETTLE);
    bench.server().stop()?;
    bench.server().start_traced(&log)?;
    let calls = || -> Result<usize> {
        let text = std::fs::read_to_string(&log)?;
        Ok(text
            .lines()
            .filter(|line| !line.contains(" resumed>"))
            .count())
    };
    for (connections, rows) in ROWS {
        let load = Load::new(
            site,
            per_connections(bench.scale.deliveries, connections) / 2,
        );
        let before = calls()?;
        submit(site, &load, connections)?;
        let during = calls()? - before;
        check(site, &load)?;
        bench.put(rows[4], during as f64 / load.messages.len() as f64);
    }
    std::thread::sleep(SETTLE);
    bench.server().stop()?;
    let _ = std::fs::remove_file(&log);
    bench.server().start()?;
    Ok(())
}

fn per_connections(deliveries: usize, connections: usize) -> usize {
    if connections == 1 {
        deliveries / 4
    } else {
        deliveries
    }
}

struct Load {
    messages: Vec<Arc<[u8]>>,
}

impl Load {
    fn new(site: &Site, count: usize) -> Load {
        let sender = site.address(SENDER);
        let make = |n| message(Kind::Mixed, n, &sender);
        Load {
            messages: (0..count).map(make).collect(),
        }
    }

    fn payload(&self) -> usize {
        self.messages.iter().map(|message| message.len()).sum()
    }

    /// How many of them go to recipient `at`.
    fn share(&self, at: usize) -> usize {
        (self.messages.len() + RECIPIENTS.len() - 1 - at) / RECIPIENTS.len()
    }
}

struct Times {
    acknowledged: Duration,
    visible: Duration,
}

/// Submits all of it over connections that are logged in already; waits until all can be seen.
fn submit(site: &Site, load: &Load, connections: usize) -> Result<Times> {
    let mut watchers = Vec::new();
    for name in RECIPIENTS {
        let mut imap = Imap::open(site, name)?;
        imap.empty("INBOX")?;
        imap.command("UNSELECT")
            .or_else(|_| imap.command("CLOSE"))?;
        watchers.push(imap);
    }
    let mut senders = Vec::new();
    for _ in 0..connections {
        senders.push(Smtp::login(site, SENDER)?);
    }
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let work = |mut smtp: Smtp| -> Result<()> {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(message) = load.messages.get(n) else {
                    return Ok(());
                };
                smtp.submit(&site.address(RECIPIENTS[n % RECIPIENTS.len()]), message)?;
            }
        };
        let threads: Vec<_> = senders
            .into_iter()
            .map(|smtp| scope.spawn(move || work(smtp)))
            .collect();
        threads.into_iter().try_for_each(join)
    })?;
    let acknowledged = began.elapsed();
    for (at, imap) in watchers.iter_mut().enumerate() {
        while imap.count("INBOX")? < load.share(at) {
            if began.elapsed() > acknowledged + PATIENCE {
                return Err("acknowledged messages didn't become visible".into());
            }
            std::thread::sleep(POLL);
        }
    }
    Ok(Times {
        acknowledged,
        visible: began.elapsed(),
    })
}

/// Every message is there once, whole, and nothing else.
fn check(site: &Site, load: &Load) -> Result<()> {
    for (at, name) in RECIPIENTS.into_iter().enumerate() {
        let mut imap = Imap::open(site, name)?;
        imap.select("INBOX")?;
        let (mut numbers, mut sizes, mut field) = (Vec::new(), 0, Vec::new());
        let items = "(RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])";
        imap.stream(&format!("FETCH 1:* {items}"), |piece| match piece {
            Piece::Line(line) => {
                field.clear();
                let line = String::from_utf8_lossy(line);
                sizes += crate::imap::number_after(&line, "RFC822.SIZE ").unwrap_or(0);
            }
            Piece::Bytes(bytes) => field.extend_from_slice(bytes),
            Piece::Rest(_) => numbers.extend(number(&String::from_utf8_lossy(&field))),
        })?;
        numbers.sort_unstable();
        let expected: Vec<usize> = (at..load.messages.len())
            .step_by(RECIPIENTS.len())
            .collect();
        if numbers != expected {
            let (found, sent) = (numbers.len(), expected.len());
            return Err(format!("{name} has {found} messages, not the {sent} sent").into());
        }
        let least: usize = expected.iter().map(|n| load.messages[*n].len()).sum();
        if sizes < least {
            return Err(format!("{name}'s messages have {sizes} of {least} bytes").into());
        }
        sample(&mut imap, load)?;
    }
    Ok(())
}

/// Compares the body of a few, byte for byte.
fn sample(imap: &mut Imap, load: &Load) -> Result<()> {
    for seq in 1..=5 {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let items = "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)] BODY.PEEK[TEXT])";
        imap.stream(&format!("FETCH {seq} {items}"), |piece| match piece {
            Piece::Line(_) | Piece::Rest(_) => parts.push(Vec::new()),
            Piece::Bytes(bytes) => parts
                .last_mut()
                .into_iter()
                .for_each(|part| part.extend(bytes)),
        })?;
        let id = parts
            .first()
            .and_then(|id| number(&String::from_utf8_lossy(id)));
        let sent = id
            .and_then(|n| load.messages.get(n))
            .ok_or("a message without its ID")?;
        let body = memchr::memmem::find(sent, b"\r\n\r\n").map_or(&sent[..], |at| &sent[at + 4..]);
        if parts.get(1).map(Vec::as_slice) != Some(body) {
            return Err(format!("message {seq} isn't what was sent").into());
        }
    }
    Ok(())
}

pub fn append(bench: &mut Bench) -> Result<()> {
    const MAILBOX: &str = "appended";
    let site = bench.site();
    for (connections, rows) in [
        (1, ["append-1", "append-cpu-1"]),
        (8, ["append-8", "append-cpu-8"]),
    ] {
        let load = Load::new(&site, per_connections(bench.scale.deliveries, connections));
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Imap::open(&site, "bob")?);
        }
        Imap::open(&site, "bob")?.empty(MAILBOX)?;
        let cpu = bench.server().cpu();
        let next = AtomicUsize::new(0);
        let began = Instant::now();
        std::thread::scope(|scope| {
            let work = |mut imap: Imap| -> Result<()> {
                while let Some(message) = load.messages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    imap.append(MAILBOX, message)?;
                }
                Ok(())
            };
            let threads: Vec<_> = clients
                .into_iter()
                .map(|imap| scope.spawn(move || work(imap)))
                .collect();
            threads.into_iter().try_for_each(join)
        })?;
        let elapsed = began.elapsed();
        let cpu = bench.server().cpu() - cpu;
        let count = load.messages.len();
        let mut imap = Imap::open(&site, "bob")?;
        let (found, bytes) = (imap.select(MAILBOX)?, sizes(&mut imap)?);
        if (found, bytes) != (count, load.payload()) {
            return Err(format!("{found} of {count} messages, {bytes} bytes appended").into());
        }
        bench.put(rows[0], count as f64 / elapsed.as_secs_f64());
        bench.put(rows[1], cpu.as_secs_f64() * 1e3 / count as f64);
    }
    Ok(())
}

/// Sum of RFC822.SIZE in the selected mailbox.
fn sizes(imap: &mut Imap) -> Result<usize> {
    let lines = imap.command("FETCH 1:* RFC822.SIZE")?;
    let size = |line: &String| crate::imap::number_after(line, "RFC822.SIZE ");
    Ok(lines.iter().filter_map(size).sum())
}

fn join(thread: std::thread::ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    thread.join().map_err(|_| "a client thread panicked")?
}
