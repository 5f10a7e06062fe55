//! The rows that are measured, the bars they are held to, and the table printed at the end.

use crate::Scale;
use std::collections::HashMap;

/// What the first release must show against the better of the other side in the same run.
#[derive(Clone, Copy)]
pub enum Bar {
    /// At least this many times as good.
    Times(f64),
    /// At most this much, in the row's unit, whatever the other side shows.
    Under(f64),
    /// As `Times`, against the other side's figure in another row.
    TimesRow(f64, &'static str),
    /// A bar of the design that isn't one of the release's: told, but it fails nothing.
    Aim(f64),
    None,
}

pub struct Row {
    pub id: &'static str,
    /// {large}, {medium}, {change} and so on stand for the scale's numbers.
    title: &'static str,
    unit: &'static str,
    more_is_better: bool,
    bar: Bar,
}

const fn more(id: &'static str, title: &'static str, unit: &'static str, bar: Bar) -> Row {
    Row {
        id,
        title,
        unit,
        more_is_better: true,
        bar,
    }
}

const fn less(id: &'static str, title: &'static str, unit: &'static str, bar: Bar) -> Row {
    Row {
        id,
        title,
        unit,
        more_is_better: false,
        bar,
    }
}

/// In the order of the table.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    less("start", "start to accept, {medium} messages", "ms", Bar::Aim(1.0)),
    less("kill", "start to accept after kill -9 under load, {medium} messages", "ms", Bar::Under(300.0)),
    less("memory", "idle memory", "MB", Bar::Under(12.0)),
    more("deliver-1", "delivery, 1 connection: acknowledged", "1/s", Bar::None),
    more("visible-1", "delivery, 1 connection: visible", "1/s", Bar::None),
    less("deliver-cpu-1", "delivery, 1 connection: server CPU a message", "ms", Bar::None),
    less("syncs-1", "delivery, 1 connection: syncs a message", "", Bar::None),
    less("written-1", "delivery, 1 connection: bytes written a payload byte", "", Bar::None),
    more("deliver-8", "delivery, 8 connections: acknowledged", "1/s", Bar::Times(3.0)),
    more("visible-8", "delivery, 8 connections: visible", "1/s", Bar::None),
    less("deliver-cpu-8", "delivery, 8 connections: server CPU a message", "ms", Bar::Times(4.0)),
    less("syncs-8", "delivery, 8 connections: syncs a message", "", Bar::Under(0.5)),
    less("written-8", "delivery, 8 connections: bytes written a payload byte", "", Bar::Aim(1.8)),
    more("deliver-32", "delivery, 32 connections: acknowledged", "1/s", Bar::None),
    more("visible-32", "delivery, 32 connections: visible", "1/s", Bar::None),
    less("deliver-cpu-32", "delivery, 32 connections: server CPU a message", "ms", Bar::None),
    less("syncs-32", "delivery, 32 connections: syncs a message", "", Bar::None),
    less("written-32", "delivery, 32 connections: bytes written a payload byte", "", Bar::None),
    more("append-1", "APPEND, 1 connection", "1/s", Bar::None),
    less("append-cpu-1", "APPEND, 1 connection: server CPU a message", "ms", Bar::None),
    more("append-8", "APPEND, 8 connections", "1/s", Bar::Aim(3.0)),
    less("append-cpu-8", "APPEND, 8 connections: server CPU a message", "ms", Bar::None),
    more("fetch", "FETCH of whole messages", "MB/s", Bar::None),
    less("fetch-cpu", "FETCH of whole messages: server CPU a GB", "s", Bar::Times(3.0)),
    more("retr", "POP3 RETR", "MB/s", Bar::None),
    less("retr-cpu", "POP3 RETR: server CPU a GB", "s", Bar::Aim(3.0)),
    less("list-first", "ENVELOPE, BODYSTRUCTURE, size of {large}: first time", "ms", Bar::TimesRow(5.0, "list")),
    less("list", "ENVELOPE, BODYSTRUCTURE, size of {large}: again", "ms", Bar::Times(5.0)),
    less("list-cpu", "ENVELOPE, BODYSTRUCTURE, size of {large}: server CPU", "ms", Bar::None),
    less("flags", "FLAGS of {large}", "ms", Bar::Aim(2.0)),
    less("select-small", "SELECT, {small} messages", "ms", Bar::Aim(1.0)),
    less("select-medium", "SELECT, {medium} messages", "ms", Bar::Aim(1.0)),
    less("select-large", "SELECT, {large} messages", "ms", Bar::Aim(1.0)),
    less("changed", "CHANGEDSINCE after 10 changes in {large}", "ms", Bar::Aim(2.0)),
    less("search-subject", "SEARCH SUBJECT in {large}", "ms", Bar::Aim(5.0)),
    less("search-body", "SEARCH BODY in {large}", "ms", Bar::Aim(2.0)),
    less("store", "STORE of a flag on {medium}", "ms", Bar::Aim(0.5)),
    less("copy", "COPY of {change}", "ms", Bar::Aim(0.5)),
    less("move", "MOVE of {change}", "ms", Bar::Aim(0.5)),
    less("expunge", "EXPUNGE of {expunge}", "ms", Bar::Aim(0.5)),
    more("login", "logins over TLS, 4 at a time", "1/s", Bar::Aim(3.0)),
    less("login-cpu", "logins over TLS: server CPU each", "ms", Bar::Aim(3.0)),
    less("idle-memory", "memory a connection in IDLE over TLS, {idle} of them", "kB", Bar::Under(40.0)),
    less("idle-median", "250 to EXISTS on one of them: median", "ms", Bar::Under(5.0)),
    less("idle-p99", "250 to EXISTS on one of them: 99th percentile", "ms", Bar::None),
];

/// The site that is held to the bars.
pub const OURS: &str = "pillarbox";

/// What was found, by row and site.
#[derive(Default)]
pub struct Table {
    values: HashMap<(&'static str, &'static str), f64>,
    failures: Vec<String>,
}

impl Table {
    pub fn put(&mut self, row: &'static str, site: &'static str, value: f64) {
        debug_assert!(ROWS.iter().any(|known| known.id == row), "{row}");
        self.values.insert((row, site), value);
    }

    pub fn fail(&mut self, failure: String) {
        println!("  FAIL {failure}");
        self.failures.push(failure);
    }

    /// Prints it all; gives whether every measure was done and every bar held.
    pub fn print(&self, scale: &Scale) -> bool {
        println!();
        println!(
            "{:<64} {:>10} {:>10} {:>8}",
            "measure", "ours", "theirs", "ratio"
        );
        let mut good = self.failures.is_empty();
        for row in ROWS {
            let theirs = self.best(row);
            let ours = self.values.get(&(row.id, OURS)).copied();
            if ours.is_none() && theirs.is_none() {
                continue;
            }
            let verdict = self.verdict(row);
            good &= !verdict.starts_with("FAIL");
            let ratio = ours.zip(theirs.map(|(value, _)| value));
            let ratio = ratio.map(|(ours, theirs)| format!("{:.1}x", times(row, ours, theirs)));
            println!(
                "{:<64} {:>10} {:>10} {:>8}  {verdict}{}",
                scale.fill(&format!("{} {}", row.title, bracket(row.unit))),
                ours.map_or("-".into(), show),
                theirs.map_or("-".into(), |(value, _)| show(value)),
                ratio.unwrap_or("-".into()),
                theirs.map_or(String::new(), |(_, site)| format!("  [{site}]")),
            );
        }
        for failure in &self.failures {
            println!("FAIL {failure}");
        }
        good
    }

    /// The better of the other side's figures, and whose it is.
    fn best(&self, row: &Row) -> Option<(f64, &'static str)> {
        let theirs = self
            .values
            .iter()
            .filter(|((id, site), _)| *id == row.id && *site != OURS);
        let found = theirs.map(|((_, site), value)| (*value, *site));
        found.reduce(|a, b| {
            if (b.0 > a.0) == row.more_is_better {
                b
            } else {
                a
            }
        })
    }

    fn verdict(&self, row: &Row) -> String {
        let Some(&ours) = self.values.get(&(row.id, OURS)) else {
            return String::new();
        };
        let against = |other: &Row, least: f64| {
            let (theirs, _) = self.best(other)?;
            Some(times(row, ours, theirs) >= least)
        };
        let (held, bar) = match row.bar {
            Bar::None => return String::new(),
            Bar::Under(most) => (Some(ours < most), format!("under {most}")),
            Bar::Times(least) => (against(row, least), format!("{least}x")),
            Bar::TimesRow(least, other) => {
                let other = ROWS.iter().find(|row| row.id == other);
                let held = other.and_then(|other| against(other, least));
                (held, format!("{least}x the other side's again"))
            }
            Bar::Aim(least) => {
                return match against(row, least) {
                    Some(true) => format!("reached ({least}x)"),
                    Some(false) => format!("aim ({least}x)"),
                    None => String::new(),
                };
            }
        };
        match held {
            Some(true) => format!("PASS ({bar})"),
            Some(false) => format!("FAIL ({bar})"),
            None => String::new(),
        }
    }
}

/// How many times as good ours is.
fn times(row: &Row, ours: f64, theirs: f64) -> f64 {
    match row.more_is_better {
        true => ours / theirs,
        false => theirs / ours,
    }
}

fn bracket(unit: &str) -> String {
    match unit {
        "" => String::new(),
        unit => format!("({unit})"),
    }
}

/// Three significant digits or all of the whole ones.
fn show(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}
