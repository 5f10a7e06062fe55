//! `pillarbox check`: whether what is stored is as it should be.

use super::{Error, Exit, data_dir};
use crate::control::{self, Checked, Checking, Request, Verdict};
use argh::FromArgs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Check all that is stored, while the server runs or without it: every row, every reference,
/// every message. Exit code: 0 all is well or was repaired, 1 it could not be checked, 2 a
/// repair is possible, 3 something is damaged, 4 the check did not come to its end.
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// check the rows alone, do not read the messages
    #[argh(switch)]
    quick: bool,
    /// put right what follows from other rows; messages are never removed by it
    #[argh(switch)]
    repair: bool,
    /// end the check that runs
    #[argh(switch)]
    stop: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl Check {
    pub fn run(self) -> Result<(), Error> {
        let dir = data_dir(self.dir);
        if self.stop {
            control::ask(&dir, Request::Checking(Checking::Stop))?;
            say!("The check ends.");
            return Ok(());
        }
        let online = control::is_running(&dir);
        let mut line = Line::new();
        let checked = control::check(&dir, self.quick, self.repair, &mut |stage, done, total| {
            line.show(stage, done, total)
        });
        line.clear();
        let checked = checked?;
        tell(&checked);
        if online && matches!(checked.verdict, Verdict::Sound | Verdict::Repaired) {
            say!("{PAGES}");
        }
        match checked.verdict {
            Verdict::Sound | Verdict::Repaired => Ok(()),
            Verdict::Repairable => Err(Exit(2).into()),
            Verdict::Damaged => Err(Exit(3).into()),
            Verdict::Unfinished => Err(Exit(4).into()),
        }
    }
}

/// What a check beside a running server can't see.
const PAGES: &str = "The database's pages were not compared with their checksums, as the server runs:\n\
    stop it and check again to have that too (systemctl stop pillarbox; pillarbox check).";

fn tell(checked: &Checked) {
    for problem in &checked.problems {
        let mark = match problem.repaired {
            true => "repaired",
            false => problem.kind.word(),
        };
        say!("{mark:<10} {}", problem.what);
    }
    let told = checked.problems.len() as u64;
    if checked.count > told {
        say!("... and {} more", checked.count - told);
    }
    let read = match checked.quick {
        true => "their bytes were not read".into(),
        false => format!("{} MB read", checked.bytes.div_ceil(1_000_000)),
    };
    say!("{} messages, {read}.", checked.messages);
    say!("{}", advice(checked));
}

/// The verdict, and what to do next.
fn advice(checked: &Checked) -> &'static str {
    match checked.verdict {
        Verdict::Sound => "All is well.",
        Verdict::Repaired => "All that was wrong has been put right.",
        Verdict::Repairable => {
            "No message is damaged, but some rows are wrong: pillarbox check --repair puts them right."
        }
        Verdict::Damaged => {
            "Some of it is damaged and can't be derived: restore it from a backup, or delete the\n\
             messages that are named. What is not named is intact. Look at the disk's health\n\
             first: pillarbox help check."
        }
        Verdict::Unfinished => {
            "The check did not come to its end: run it again when the server is quieter, or stop\n\
             the server first."
        }
    }
}

/// How far it is, on a terminal.
struct Line {
    terminal: bool,
    shown: String,
}

impl Line {
    fn new() -> Line {
        Line {
            terminal: io::stderr().is_terminal(),
            shown: String::new(),
        }
    }

    fn show(&mut self, stage: &str, done: u64, total: u64) {
        let percent = match total {
            0 => String::new(),
            total => format!(" {} %", done.saturating_mul(100) / total),
        };
        let text = format!("checking {stage}{percent}");
        if self.terminal && text != self.shown {
            let gap = self.shown.len().saturating_sub(text.len());
            eprint!("\r{text}{:gap$}", "");
            let _ = io::stderr().flush();
            self.shown = text;
        }
    }

    fn clear(&mut self) {
        if !self.shown.is_empty() {
            eprint!("\r{:width$}\r", "", width = self.shown.len());
        }
    }
}
