//! Changes to many messages at once: STORE, COPY, MOVE, EXPUNGE.

use crate::Bench;
use crate::client::Result;
use crate::fill::{self, MEDIUM, READER};
use crate::imap::Imap;
use crate::start::{median, millis};
use std::time::Instant;

const TIMES: usize = 3;

/// Leaves the medium mailbox smaller: runs behind what needs it whole.
pub fn measure(bench: &mut Bench) -> Result<()> {
    fill::medium(bench)?;
    let mut imap = Imap::open(&bench.site(), READER)?;
    let mut left = imap.select(MEDIUM)?;
    let store = store(&mut imap, left)?;
    bench.put("store", store);

    let (mut copies, mut moves) = (Vec::new(), Vec::new());
    let change = bench.scale.change;
    for (verb, times) in [("COPY", &mut copies), ("MOVE", &mut moves)] {
        for round in 0..TIMES {
            let target = format!("{verb}-{round}");
            imap.empty(&target)?;
            imap.select(MEDIUM)?;
            times.push(timed(&mut imap, &format!("{verb} 1:{change} {target}"))?);
            expect(&mut imap, &target, change)?;
            left -= if verb == "MOVE" { change } else { 0 };
            expect(&mut imap, MEDIUM, left)?;
        }
    }
    bench.put("copy", median(&mut copies));
    bench.put("move", median(&mut moves));

    imap.select(MEDIUM)?;
    let expunge = bench.scale.expunge;
    imap.command(&format!("STORE 1:{expunge} +FLAGS.SILENT (\\Deleted)"))?;
    let time = timed(&mut imap, "EXPUNGE")?;
    bench.put("expunge", time);
    expect(&mut imap, MEDIUM, left - expunge)
}

/// Sets and takes away a flag on all; each is read back by a search.
fn store(imap: &mut Imap, count: usize) -> Result<f64> {
    let mut times = Vec::new();
    for sign in ["+", "-", "+", "-", "+", "-"] {
        let began = Instant::now();
        let lines = imap.command(&format!("STORE 1:* {sign}FLAGS (\\Answered)"))?;
        times.push(millis(began.elapsed()));
        let told = lines
            .iter()
            .filter(|line| line.contains(" FETCH ("))
            .count();
        let set = if sign == "+" { count } else { 0 };
        let found = imap.search("ANSWERED")?;
        if (told, found) != (count, set) {
            return Err(format!("STORE told {told} of {count}, set {found} of {set}").into());
        }
    }
    Ok(median(&mut times))
}

fn timed(imap: &mut Imap, command: &str) -> Result<f64> {
    let began = Instant::now();
    imap.stream(command, |_| ())?;
    Ok(millis(began.elapsed()))
}

fn expect(imap: &mut Imap, mailbox: &str, count: usize) -> Result<()> {
    match imap.count(mailbox)? {
        found if found == count => Ok(()),
        found => Err(format!("{mailbox} has {found} messages, not {count}").into()),
    }
}
