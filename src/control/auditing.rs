//! Requests about the audit log.

use super::Reply;
use crate::store::{Event, Kind, Store, Wanted};
use std::time::Duration;

/// Most lines of one answer.
pub const MAX_LINES: usize = 50_000;

/// What the owner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auditing {
    /// Rows of time (seconds since 1970), kind, account, service, from, what, times; the oldest
    /// first.
    Show(Wanted),
}

impl Auditing {
    /// The request's words.
    pub fn words(&self) -> Vec<String> {
        let Auditing::Show(wanted) = self;
        vec![
            "log-show".into(),
            wanted.account.clone().unwrap_or_default(),
            wanted.since.map_or(String::new(), |it| it.to_string()),
            wanted.kind.map_or(String::new(), |it| it.name().into()),
            wanted.most.to_string(),
        ]
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Auditing, String>> {
        let ["log-show", account, since, kind, most] = words else {
            return None;
        };
        let given = |text: &&str| !text.is_empty();
        let since = Some(*since).filter(given).map(str::parse).transpose();
        let kind = Some(*kind).filter(given);
        let read = || {
            Ok(Auditing::Show(Wanted {
                account: Some(*account).filter(given).map(str::to_owned),
                since: since.map_err(|_| "this is no time")?,
                kind: kind
                    .map(|kind| Kind::parse(kind).ok_or("there is no such kind of event"))
                    .transpose()?,
                most: most.parse().map_err(|_| "this is no number")?,
            }))
        };
        Some(read())
    }
}

/// Takes a change of the owner into the log, at once.
pub async fn note_change(store: &Store, who: &str, what: &str, keep: Duration) {
    store.note_event(Event::now(Kind::Change, "", "control", who, what));
    if let Err(error) = store.save_events(keep).await {
        log::warn!("the audit log can't be saved: {error}");
    }
}

/// Takes a look at the administrator's password, and what came of it, into the log.
pub fn note_check(store: &Store, who: &str, answer: &[Vec<String>]) {
    let kind = match answer
        .first()
        .and_then(|row| row.first())
        .map(String::as_str)
    {
        Some("right") => Kind::Login,
        Some("wrong") => Kind::Refused,
        _ => return,
    };
    store.note_event(Event::now(
        kind,
        "administrator",
        "console",
        who,
        "password",
    ));
}

/// Errors are sentences for the owner.
pub async fn perform(store: &Store, request: Auditing) -> Reply {
    let Auditing::Show(mut wanted) = request;
    wanted.most = wanted.most.min(MAX_LINES);
    let read = store.read(move |snapshot| snapshot.events(&wanted));
    let events = read.await.map_err(|error| error.to_string())?;
    Ok(events.into_iter().map(row).collect())
}

fn row(event: Event) -> Vec<String> {
    vec![
        event.at.to_string(),
        event.kind.name().into(),
        event.account,
        event.service,
        event.from,
        event.what,
        event.times.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_as_it_was_written() {
        for wanted in [
            Wanted {
                most: 7,
                ..Wanted::default()
            },
            Wanted {
                account: Some("ann@b.test".into()),
                since: Some(-5),
                kind: Some(Kind::Refused),
                most: 0,
            },
        ] {
            let request = Auditing::Show(wanted);
            let words = request.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(Auditing::read(&words), Some(Ok(request)));
        }
        for wrong in [
            ["log-show", "", "x", "", "1"],
            ["log-show", "", "", "burn", "1"],
            ["log-show", "", "", "", ""],
        ] {
            assert!(Auditing::read(&wrong).is_some_and(|it| it.is_err()));
        }
        assert_eq!(Auditing::read(&["log-show"]), None);
    }
}
