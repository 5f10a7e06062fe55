//! `pillarbox log`: who logged in, who was refused, what was changed.

use super::{Error, data_dir, print_table};
use crate::control::{self, Auditing, Request};
use crate::settings::value::time;
use crate::store::{Kind, Wanted};
use argh::FromArgs;
use jiff::Timestamp;
use std::path::PathBuf;

/// Lines shown unless told.
const LINES: usize = 200;

/// Show the audit log: logins, refused logins, and changes of the owner.
#[derive(FromArgs)]
#[argh(subcommand, name = "log")]
pub struct LogCommand {
    /// only what concerns this account
    #[argh(option)]
    account: Option<String>,
    /// only what came after this: 2h or 7d ago, 2026-11-23 or 2026-11-23T08:00:00Z
    #[argh(option)]
    since: Option<String>,
    /// only logins that were refused
    #[argh(switch)]
    failed: bool,
    /// only changes
    #[argh(switch)]
    changes: bool,
    /// the last so many lines (default 200)
    #[argh(option)]
    last: Option<usize>,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl LogCommand {
    pub fn run(self) -> Result<(), Error> {
        let kind = match (self.failed, self.changes) {
            (true, true) => return Err("--failed and --changes exclude each other".into()),
            (true, false) => Some(Kind::Refused),
            (false, true) => Some(Kind::Change),
            (false, false) => None,
        };
        let since = self.since.as_deref();
        let wanted = Wanted {
            account: self.account,
            since: since.map(|it| moment(it, Timestamp::now())).transpose()?,
            kind,
            most: self.last.unwrap_or(LINES),
        };
        let request = Request::Auditing(Auditing::Show(wanted));
        let mut rows = control::ask(&data_dir(self.dir), request)?;
        rows.iter_mut().for_each(for_people);
        print_table(
            &["TIME", "EVENT", "ACCOUNT", "SERVICE", "FROM", "WHAT"],
            &rows,
        );
        Ok(())
    }
}

/// Time in UTC, `-` for nothing, and how often where it was more than once.
fn for_people(row: &mut Vec<String>) {
    let times = row.pop().unwrap_or_default();
    if let (true, Some(what)) = (times != "1", row.last_mut()) {
        *what = format!("{what} ({times} times)");
    }
    if let Some(at) = row.first_mut() {
        let moment = at
            .parse()
            .ok()
            .and_then(|it| Timestamp::from_second(it).ok());
        *at = moment.map_or("unknown".into(), |it| it.to_string());
    }
    for cell in row.iter_mut().filter(|it| it.is_empty()) {
        *cell = "-".into();
    }
}

/// Seconds since 1970.
fn moment(text: &str, now: Timestamp) -> Result<i64, Error> {
    if let Ok(ago) = time(text) {
        return Ok(now.as_second().saturating_sub_unsigned(ago.as_secs()));
    }
    let day = || text.parse::<jiff::civil::Date>().ok();
    let midnight = || format!("{}T00:00:00Z", day()?).parse().ok();
    let read = text.parse::<Timestamp>().ok().or_else(midnight);
    read.map(|it| it.as_second()).ok_or_else(|| {
        format!("{text} is no time: 2h, 7d, 2026-11-23, 2026-11-23T08:00:00Z").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_three_forms() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for (text, expected) in [
            ("2h", 1_800_000_000 - 7200),
            ("7d", 1_800_000_000 - 7 * 86_400),
            ("1970-01-02", 86_400),
            ("1970-01-02T00:00:05Z", 86_405),
        ] {
            assert_eq!(moment(text, now).unwrap(), expected, "{text}");
        }
        for wrong in ["", "yesterday", "5", "2026-13-01"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rows_are_made_for_people() {
        let mut row: Vec<String> = ["0", "refused", "", "imap", "::1", "wrong", "3"]
            .map(str::to_owned)
            .into();
        for_people(&mut row);
        let shown = [
            "1970-01-01T00:00:00Z",
            "refused",
            "-",
            "imap",
            "::1",
            "wrong (3 times)",
        ];
        assert_eq!(row, shown);
    }
}
