//! Whole messages going out: FETCH BODY[] and POP3 RETR, every byte checked.

use crate::Bench;
use crate::client::{Result, Site};
use crate::fill::{self, MIXED_READER, numbered};
use crate::imap::{Imap, Piece};
use crate::messages::Kind;
use crate::pop3::Pop3;
use std::time::Instant;

/// Times the mailbox is read; the first warms the page cache and isn't counted.
const ROUNDS: usize = 3;

/// A message's size and CRC-32.
type Seen = (usize, u32);

pub fn measure(bench: &mut Bench) -> Result<()> {
    fill::mixed(bench)?;
    let site = bench.site();
    let mut expected: Vec<Seen> = (0..bench.scale.mixed)
        .map(|n| numbered(&site, Kind::Mixed, n))
        .map(|message| (message.len(), crc32fast::hash(&message)))
        .collect();
    // Several connections filled it, in no order.
    expected.sort_unstable();
    rounds(bench, &expected, fetch, ["fetch", "fetch-cpu"])?;
    rounds(bench, &expected, retrieve, ["retr", "retr-cpu"])
}

fn rounds(
    bench: &mut Bench,
    expected: &[Seen],
    read: fn(&Site, usize) -> Result<Vec<Seen>>,
    rows: [&'static str; 2],
) -> Result<()> {
    let site = bench.site();
    let bytes: usize = expected.iter().map(|(size, _)| size).sum();
    let (mut seconds, mut cpu) = (0.0, 0.0);
    for round in 0..=ROUNDS {
        let (before, began) = (bench.server().cpu(), Instant::now());
        let mut found = read(&site, expected.len())?;
        if round > 0 {
            seconds += began.elapsed().as_secs_f64();
            cpu += (bench.server().cpu() - before).as_secs_f64();
        }
        found.sort_unstable();
        if found != expected {
            return Err(format!("{}: not what was filled in", rows[0]).into());
        }
    }
    let bytes = (bytes * ROUNDS) as f64;
    bench.put(rows[0], bytes / 1e6 / seconds);
    bench.put(rows[1], cpu * 1e9 / bytes);
    Ok(())
}

fn fetch(site: &Site, _count: usize) -> Result<Vec<Seen>> {
    let mut imap = Imap::login(site, MIXED_READER)?;
    imap.select("INBOX")?;
    let mut found = Vec::new();
    let mut current: Option<(usize, crc32fast::Hasher)> = None;
    imap.stream("UID FETCH 1:* BODY.PEEK[]", |piece| match piece {
        Piece::Line(_) => current = None,
        Piece::Bytes(bytes) => {
            let (size, sum) = current.get_or_insert_default();
            *size += bytes.len();
            sum.update(bytes);
        }
        Piece::Rest(_) => found.extend(current.take().map(|(size, sum)| (size, sum.finalize()))),
    })?;
    Ok(found)
}

fn retrieve(site: &Site, count: usize) -> Result<Vec<Seen>> {
    let mut pop3 = Pop3::login(site, MIXED_READER)?;
    let found = (1..=count).map(|number| pop3.retrieve(number)).collect();
    pop3.command("QUIT")?;
    found
}
