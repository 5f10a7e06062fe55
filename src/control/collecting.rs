//! Requests about collectors. They change records alone: the server heeds them when it runs.

use super::Reply;
use super::perform::account;
use crate::address::Address;
use crate::collect::collector::{After, Collector, Protocol, Security};
use crate::collect::record::{self, Number, Status};
use crate::mail::{AccountId, MailboxName};
use crate::secret::Secret;
use crate::store::{Error, Snapshot, Store};

/// What the owner asks for.
#[derive(Debug)]
pub enum Collecting {
    /// Its account's number is not known before the server looks.
    Add {
        account: Address,
        collector: Box<Collector>,
    },
    /// Rows of number, account, source, after, taken, last success, state.
    List,
    /// Rows of name, value.
    Show(Number),
    Remove(Number),
    /// To look at once.
    Run(Number),
    Pause(Number),
    Resume(Number),
}

impl Collecting {
    /// For logs.
    pub fn describe(&self) -> String {
        match self {
            Collecting::Add { account, collector } => {
                format!("collector add {account} {}", collector.source())
            }
            Collecting::List => "collector list".into(),
            Collecting::Show(number) => format!("collector show {number}"),
            Collecting::Remove(number) => format!("collector remove {number}"),
            Collecting::Run(number) => format!("collector run {number}"),
            Collecting::Pause(number) => format!("collector pause {number}"),
            Collecting::Resume(number) => format!("collector resume {number}"),
        }
    }

    /// The request's words; the password is one of them.
    pub fn words(&self) -> Secret<Vec<String>> {
        let one = |word: &str, number: &Number| vec![word.into(), number.to_string()];
        Secret::new(match self {
            Collecting::Add { account, collector } => vec![
                "collector-add".into(),
                account.to_string(),
                collector.protocol.to_string(),
                collector.host.clone(),
                collector.port.to_string(),
                collector.security.to_string(),
                collector.ca.clone().unwrap_or_default(),
                collector.user.clone(),
                collector.password.reveal().clone(),
                collector.folder.clone(),
                collector.into.to_string(),
                collector.after.to_string(),
                collector.every.to_string(),
            ],
            Collecting::List => vec!["collector-list".into()],
            Collecting::Show(number) => one("collector-show", number),
            Collecting::Remove(number) => one("collector-remove", number),
            Collecting::Run(number) => one("collector-run", number),
            Collecting::Pause(number) => one("collector-pause", number),
            Collecting::Resume(number) => one("collector-resume", number),
        })
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Collecting, String>> {
        let with = |text: &str, make: fn(Number) -> Collecting| number(text).map(make);
        Some(match words {
            ["collector-add", words @ ..] => read_add(words),
            ["collector-list"] => Ok(Collecting::List),
            ["collector-show", number] => with(number, Collecting::Show),
            ["collector-remove", number] => with(number, Collecting::Remove),
            ["collector-run", number] => with(number, Collecting::Run),
            ["collector-pause", number] => with(number, Collecting::Pause),
            ["collector-resume", number] => with(number, Collecting::Resume),
            _ => return None,
        })
    }
}

fn number(text: &str) -> Result<Number, String> {
    text.parse()
        .map_err(|_| format!("{text} is no collector's number"))
}

fn read_add(words: &[&str]) -> Result<Collecting, String> {
    let [
        account,
        protocol,
        host,
        port,
        security,
        ca,
        user,
        password,
        folder,
        into,
        after,
        every,
    ] = words
    else {
        return Err("the request is malformed".into());
    };
    let collector = Collector {
        account: AccountId(0),
        protocol: Protocol::parse(protocol)?,
        host: host.to_string(),
        port: port.parse().map_err(|_| format!("{port} is no port"))?,
        security: Security::parse(security)?,
        ca: Some(ca.to_string()).filter(|path| !path.is_empty()),
        user: user.to_string(),
        password: Secret::new(password.to_string()),
        folder: folder.to_string(),
        into: MailboxName::parse(into).map_err(|error| format!("{into}: {error}"))?,
        after: After::parse(after)?,
        every: every
            .parse()
            .map_err(|_| format!("{every} is no number of seconds"))?,
        paused: false,
        asked: 0,
    };
    collector.check()?;
    let account = Address::parse(account).map_err(|error| format!("{account}: {error}"))?;
    let collector = Box::new(collector);
    Ok(Collecting::Add { account, collector })
}

/// Errors are sentences for the owner.
pub async fn perform(store: &Store, request: Collecting) -> Reply {
    match request {
        Collecting::Add {
            account: owner,
            mut collector,
        } => {
            collector.account = account(store, &owner).await?.id;
            let number = record::add(store, &collector).await.map_err(sentence)?;
            Ok(vec![vec![number.to_string()]])
        }
        Collecting::List => store.look(list).map_err(sentence),
        Collecting::Show(number) => {
            let collector = find(store, number)?;
            let rows = store.look(|snapshot| show(snapshot, number, &collector));
            rows.map_err(sentence)
        }
        Collecting::Remove(number) => match record::remove(store, number).await {
            Ok(true) => Ok(Vec::new()),
            Ok(false) => Err(none(number)),
            Err(error) => Err(sentence(error)),
        },
        Collecting::Run(number) => {
            change(store, number, |it| it.asked = it.asked.wrapping_add(1)).await
        }
        Collecting::Pause(number) => change(store, number, |it| it.paused = true).await,
        Collecting::Resume(number) => change(store, number, |it| it.paused = false).await,
    }
}

fn find(store: &Store, number: Number) -> Result<Collector, String> {
    let all = store.look(record::all).map_err(sentence)?;
    let found = all.into_iter().find(|(it, _)| *it == number);
    found.map(|(_, it)| it).ok_or_else(|| none(number))
}

async fn change(store: &Store, number: Number, change: impl Fn(&mut Collector)) -> Reply {
    let mut collector = find(store, number)?;
    change(&mut collector);
    let done = record::replace(store, number, &collector).await;
    done.map(|()| Vec::new()).map_err(sentence)
}

fn none(number: Number) -> String {
    format!("there is no collector {number}; collector list has them")
}

fn sentence(error: Error) -> String {
    error.to_string()
}

fn list(snapshot: &Snapshot) -> Result<Vec<Vec<String>>, Error> {
    let mut rows = Vec::new();
    for (number, collector) in record::all(snapshot)? {
        let status = record::status(snapshot, number)?;
        rows.push(vec![
            number.to_string(),
            owner(snapshot, &collector)?,
            collector.source(),
            collector.after.to_string(),
            status.taken.to_string(),
            moment(status.success),
            state(&collector, &status),
        ]);
    }
    Ok(rows)
}

/// The address of the account that gets the mail.
fn owner(snapshot: &Snapshot, collector: &Collector) -> Result<String, Error> {
    let account = snapshot.account(collector.account)?;
    Ok(account.map_or("(deleted)".into(), |it| it.address.to_string()))
}

fn state(collector: &Collector, status: &Status) -> String {
    match (collector.paused, status.error.is_empty()) {
        (true, _) => "paused".into(),
        (false, false) => status.error.clone(),
        (false, true) if status.success == 0 => "not yet".into(),
        (false, true) => "well".into(),
    }
}

/// As a person reads it, in UTC.
fn moment(unix: i64) -> String {
    match jiff::Timestamp::from_second(unix) {
        Ok(moment) if unix != 0 => moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        _ => "never".into(),
    }
}

fn show(
    snapshot: &Snapshot,
    number: Number,
    collector: &Collector,
) -> Result<Vec<Vec<String>>, Error> {
    let status = record::status(snapshot, number)?;
    let mut rows = vec![
        ("account", owner(snapshot, collector)?),
        ("protocol", collector.protocol.to_string()),
        (
            "host",
            format!("{} port {}", collector.host, collector.port),
        ),
        ("tls", collector.security.to_string()),
        ("user", collector.user.clone()),
        ("folder", collector.folder.clone()),
        ("into", collector.into.to_string()),
        ("after", collector.after.to_string()),
        ("every", format!("{} seconds", collector.every)),
        ("taken", status.taken.to_string()),
        ("left there", status.left.to_string()),
        ("last success", moment(status.success)),
        ("state", state(collector, &status)),
    ];
    if let Some(ca) = &collector.ca {
        rows.insert(4, ("ca", ca.clone()));
    }
    if status.failing_since != 0 {
        rows.push(("failing since", moment(status.failing_since)));
    }
    let words = rows.into_iter();
    Ok(words
        .map(|(name, value)| vec![name.to_string(), value])
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_and_shows_no_password() {
        let words = [
            "collector-add",
            "a@example.org",
            "imap",
            "imap.example.net",
            "993",
            "implicit",
            "",
            "anna",
            "hush hush",
            "INBOX",
            "INBOX",
            "move:Done",
            "300",
        ];
        let request = Collecting::read(&words).unwrap().unwrap();
        assert_eq!(request.words().reveal(), &words);
        for text in [format!("{request:?}"), request.describe()] {
            assert!(!text.contains("hush"), "{text}");
        }
        for request in ["show", "remove", "run", "pause", "resume"] {
            let words = [&format!("collector-{request}"), "7"];
            let again = Collecting::read(&words).unwrap().unwrap();
            assert_eq!(again.words().reveal(), &words);
            assert_eq!(again.describe(), format!("collector {request} 7"));
            assert!(Collecting::read(&[words[0], "x"]).unwrap().is_err());
        }
        assert!(Collecting::read(&["collector-list"]).unwrap().is_ok());
        assert!(
            Collecting::read(&["collector-add", "a@b.c"])
                .unwrap()
                .is_err()
        );
        assert!(Collecting::read(&["group-list"]).is_none());
    }
}
