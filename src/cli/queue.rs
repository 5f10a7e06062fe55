//! `pillarbox queue`: mail on its way to other servers.

use super::{Error, data_dir, print_table};
use crate::address::Domain;
use crate::control::{self, Queue, Request, What, Which};
use crate::mail::outgoing::QueueId;
use argh::FromArgs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// See and steer mail that waits to go to other servers.
#[derive(FromArgs)]
#[argh(subcommand, name = "queue")]
pub struct QueueCommand {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    List(List),
    Show(Show),
    Hold(Hold),
    Release(Release),
    Retry(Retry),
    Drop(Drop),
}

/// List the recipients that wait: when each is tried next, how often it was, and what was
/// said last.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// only those of this domain
    #[argh(option)]
    domain: Option<String>,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// Show all of one message but its text.
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct Show {
    /// the message's number
    #[argh(positional)]
    id: u64,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

/// A command for one message, those of a domain, or all.
macro_rules! change {
    ($type:ident, $name:literal, $what:expr, $done:literal, $about:literal) => {
        #[doc = $about]
        #[derive(FromArgs)]
        #[argh(subcommand, name = $name)]
        struct $type {
            /// the message's number
            #[argh(positional)]
            id: Option<u64>,
            /// all messages
            #[argh(switch)]
            all: bool,
            /// those that wait for this domain
            #[argh(option)]
            domain: Option<String>,
            /// data directory (default /var/lib/pillarbox)
            #[argh(option)]
            dir: Option<PathBuf>,
        }

        impl $type {
            fn run(self) -> Result<(), Error> {
                let which = which(self.id, self.all, self.domain)?;
                let request = Request::Queue(Queue::Change($what, which));
                let rows = control::ask(&data_dir(self.dir), request)?;
                let count = rows.first().and_then(|row| row.first());
                let count = count.map_or("0", String::as_str);
                let plural = if count == "1" { "" } else { "s" };
                say!("{count} message{plural} {}.", $done);
                Ok(())
            }
        }
    };
}

change!(
    Hold,
    "hold",
    What::Hold,
    "held",
    "Hold messages back until they are released."
);
change!(
    Release,
    "release",
    What::Release,
    "released",
    "Let messages go that were held."
);
change!(
    Retry,
    "retry",
    What::Retry,
    "tried again now",
    "Try now, whatever the time of the next attempt."
);
change!(
    Drop,
    "drop",
    What::Drop,
    "dropped",
    "Give messages up; nobody is told."
);

impl QueueCommand {
    pub fn run(self) -> Result<(), Error> {
        match self.action {
            Action::List(action) => action.run(),
            Action::Show(action) => action.run(),
            Action::Hold(action) => action.run(),
            Action::Release(action) => action.run(),
            Action::Retry(action) => action.run(),
            Action::Drop(action) => action.run(),
        }
    }
}

fn which(id: Option<u64>, all: bool, domain: Option<String>) -> Result<Which, Error> {
    match (id, all, domain) {
        (Some(id), false, None) => Ok(Which::One(QueueId(id))),
        (None, true, None) => Ok(Which::All),
        (None, false, Some(domain)) => parse(&domain).map(Which::Domain),
        _ => Err("say which: the number of a message, --domain DOMAIN, or --all".into()),
    }
}

fn parse(domain: &str) -> Result<Domain, Error> {
    Domain::parse(domain).map_err(|error| format!("{domain}: {error}").into())
}

impl List {
    fn run(self) -> Result<(), Error> {
        let which = match self.domain {
            Some(domain) => Which::Domain(parse(&domain)?),
            None => Which::All,
        };
        let request = Request::Queue(Queue::List(which));
        let mut rows = control::ask(&data_dir(self.dir), request)?;
        let more = rows.pop().and_then(|row| row.into_iter().next());
        if rows.is_empty() {
            say!("Nothing waits.");
            return Ok(());
        }
        for row in &mut rows {
            if let Some(next) = row.get_mut(1) {
                *next = ahead(next, now());
            }
        }
        print_table(
            &["NUMBER", "NEXT", "TRIED", "FROM", "TO", "LAST REPLY"],
            &rows,
        );
        match more.as_deref() {
            None | Some("0") => {}
            Some(more) => say!("... and {more} recipients more; --domain shows those of one."),
        }
        Ok(())
    }
}

impl Show {
    fn run(self) -> Result<(), Error> {
        let request = Request::Queue(Queue::Show(QueueId(self.id)));
        for row in control::ask(&data_dir(self.dir), request)? {
            match row
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .as_slice()
            {
                ["since", since] => say!("{:<8}{}", "since", ago(since, now())),
                ["by", by] => say!("{:<8}{}", "by", ahead(by, now())),
                ["release", at] => {
                    say!("{:<8}{}, as its sender asked", "release", ahead(at, now()))
                }
                [name, value] => say!("{name:<8}{value}"),
                [to, "waiting", next, attempts, last] => {
                    say!("to      {to}");
                    say!(
                        "        next attempt {}; tried {attempts} times",
                        ahead(next, now())
                    );
                    say_last(last);
                }
                [to, state, _, _, last] => {
                    say!("to      {to}");
                    say!("        {state}");
                    say_last(last);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn say_last(last: &str) {
    if !last.is_empty() {
        say!("        {last}");
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// `now`, or `in 12 min`; what is no moment stays.
fn ahead(moment: &str, now: i64) -> String {
    match moment.parse::<i64>() {
        Ok(moment) if moment <= now => "now".into(),
        Ok(moment) => format!("in {}", span(moment - now)),
        Err(_) => moment.into(),
    }
}

fn ago(moment: &str, now: i64) -> String {
    match moment.parse::<i64>() {
        Ok(moment) => format!("{} ago", span((now - moment).max(0))),
        Err(_) => moment.into(),
    }
}

/// Seconds in words, rounded down.
fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    match seconds {
        ..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h {} min", seconds / HOUR, seconds % HOUR / MINUTE),
        _ => format!("{} d {} h", seconds / DAY, seconds % DAY / HOUR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_words() {
        for (moment, said) in [
            ("100", "now"),
            ("141", "in 41 s"),
            ("399", "in 4 min"),
            ("12200", "in 3 h 21 min"),
            ("260100", "in 3 d 0 h"),
            ("held", "held"),
        ] {
            assert_eq!(ahead(moment, 100), said);
        }
        assert_eq!(ago("40", 100), "1 min ago");
    }

    #[test]
    fn which_messages_must_be_said_clearly() {
        assert_eq!(which(Some(3), false, None).unwrap(), Which::One(QueueId(3)));
        assert_eq!(which(None, true, None).unwrap(), Which::All);
        assert!(which(None, false, Some("x.test".into())).is_ok());
        assert!(which(None, false, Some("-".into())).is_err());
        assert!(which(None, false, None).is_err());
        assert!(which(Some(3), true, None).is_err());
    }
}
