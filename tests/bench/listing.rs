//! What a mail program asks of a mailbox when it opens it, and searches.

use crate::Bench;
use crate::client::Result;
use crate::fill::{self, LARGE, MEDIUM, READER, SMALL, numbered};
use crate::imap::{Imap, Piece, number_after};
use crate::messages::{BODY_NEEDLE, Kind, SUBJECT_NEEDLE, with_body_needle, with_subject_needle};
use crate::start::{median, millis};
use memchr::memmem::Finder;
use std::time::Instant;

/// Times that a median is taken of, for what takes milliseconds.
const TIMES: usize = 5;
const SELECTS: usize = 51;

pub fn listing(bench: &mut Bench) -> Result<()> {
    fill::large(bench)?;
    fill::small(bench)?;
    fill::medium(bench)?;
    let count = bench.scale.large;
    let sizes = sizes(bench, count);
    let first = list(bench, count, sizes)?;
    bench.put("list-first", first);
    let cpu = bench.server().cpu();
    let mut again = Vec::new();
    for _ in 0..3 {
        again.push(list(bench, count, sizes)?);
    }
    let cpu = bench.server().cpu() - cpu;
    bench.put("list", median(&mut again));
    bench.put("list-cpu", millis(cpu) / 3.0);

    let mut times = Vec::new();
    for _ in 0..TIMES {
        times.push(flags(bench, count)?);
    }
    bench.put("flags", median(&mut times));
    selects(bench)?;
    changed(bench)
}

/// Sum of the sizes of the first `count` small messages.
fn sizes(bench: &Bench, count: usize) -> usize {
    let site = bench.site();
    (0..count)
        .map(|n| numbered(&site, Kind::Small, n).len())
        .sum()
}

/// On a new connection, as a mail program would after its start.
fn list(bench: &Bench, count: usize, bytes: usize) -> Result<f64> {
    let mut imap = Imap::login(&bench.site(), READER)?;
    imap.select(LARGE)?;
    let [envelope, structure, size] =
        ["ENVELOPE (\"", "BODYSTRUCTURE (", "RFC822.SIZE "].map(Finder::new);
    let (mut found, mut sum) = (0, 0);
    let began = Instant::now();
    imap.stream("FETCH 1:* (ENVELOPE BODYSTRUCTURE RFC822.SIZE)", |piece| {
        // Neither server needs a literal for these messages.
        let Piece::Line(line) = piece else { return };
        if envelope.find(line).is_some() && structure.find(line).is_some() {
            found += 1;
        }
        let digits = size.find(line).map_or(&line[..0], |at| &line[at + 12..]);
        let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
        sum += digits.fold(0, |sum, byte| sum * 10 + usize::from(byte - b'0'));
    })?;
    let time = millis(began.elapsed());
    match (found, sum) == (count, bytes) {
        true => Ok(time),
        false => Err(format!("{found} of {count} listed, sizes {sum} of {bytes}").into()),
    }
}

fn flags(bench: &Bench, count: usize) -> Result<f64> {
    let mut imap = Imap::login(&bench.site(), READER)?;
    imap.select(LARGE)?;
    let flags = Finder::new("FLAGS (");
    let mut found = 0;
    let began = Instant::now();
    imap.stream("FETCH 1:* FLAGS", |piece| {
        if let Piece::Line(line) = piece {
            found += usize::from(flags.find(line).is_some());
        }
    })?;
    let time = millis(began.elapsed());
    match found == count {
        true => Ok(time),
        false => Err(format!("flags of {found} of {count}").into()),
    }
}

/// Each mailbox in turn, on one connection.
fn selects(bench: &mut Bench) -> Result<()> {
    let mut imap = Imap::login(&bench.site(), READER)?;
    let Scales {
        names,
        rows,
        counts,
    } = Scales::of(bench);
    let mut times = [(); 3].map(|()| Vec::with_capacity(SELECTS));
    for _ in 0..SELECTS {
        for (at, name) in names.into_iter().enumerate() {
            let began = Instant::now();
            let exists = imap.select(name)?;
            times[at].push(millis(began.elapsed()));
            if exists != counts[at] {
                return Err(format!("{name} has {exists} of {} messages", counts[at]).into());
            }
        }
    }
    for (row, times) in rows.into_iter().zip(&mut times) {
        bench.put(row, median(times));
    }
    Ok(())
}

struct Scales {
    names: [&'static str; 3],
    rows: [&'static str; 3],
    counts: [usize; 3],
}

impl Scales {
    fn of(bench: &Bench) -> Scales {
        Scales {
            names: [SMALL, MEDIUM, LARGE],
            rows: ["select-small", "select-medium", "select-large"],
            counts: [bench.scale.small, bench.scale.medium, bench.scale.large],
        }
    }
}

/// RFC 7162: ten flags change all over the mailbox, then the changes are asked for.
fn changed(bench: &mut Bench) -> Result<()> {
    let mut imap = Imap::login(&bench.site(), READER)?;
    let step = bench.scale.large / 10;
    let mut times = Vec::new();
    for round in 0..TIMES {
        let lines = imap.command(&format!("SELECT {LARGE} (CONDSTORE)"))?;
        let since = lines
            .iter()
            .find_map(|line| number_after(line, "HIGHESTMODSEQ "));
        let since = since.ok_or("no HIGHESTMODSEQ")?;
        let seqs: Vec<String> = (0..10).map(|n| (n * step + 1).to_string()).collect();
        let sign = if round % 2 == 0 { '+' } else { '-' };
        imap.command(&format!(
            "STORE {} {sign}FLAGS.SILENT (\\Flagged)",
            seqs.join(",")
        ))?;
        let began = Instant::now();
        let lines = imap.command(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})"))?;
        times.push(millis(began.elapsed()));
        if lines
            .iter()
            .filter(|line| line.contains("MODSEQ ("))
            .count()
            != 10
        {
            return Err(format!("CHANGEDSINCE gives {} lines, not 10", lines.len()).into());
        }
    }
    bench.put("changed", median(&mut times));
    Ok(())
}

pub fn search(bench: &mut Bench) -> Result<()> {
    fill::large(bench)?;
    let count = bench.scale.large;
    let mut imap = Imap::login(&bench.site(), READER)?;
    imap.select(LARGE)?;
    let searches = [
        (
            "search-subject",
            "SUBJECT",
            SUBJECT_NEEDLE,
            with_subject_needle(count),
            TIMES,
        ),
        (
            "search-body",
            "BODY",
            BODY_NEEDLE,
            with_body_needle(count),
            1,
        ),
    ];
    for (row, key, needle, expected, rounds) in searches {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let began = Instant::now();
            let found = imap.search(&format!("{key} {needle}"))?;
            times.push(millis(began.elapsed()));
            if found != expected {
                return Err(format!("{key} finds {found}, not {expected}").into());
            }
        }
        bench.put(row, median(&mut times));
    }
    Ok(())
}
