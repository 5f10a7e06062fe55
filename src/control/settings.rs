//! Requests about settings: what the owner chose, a record each, and who chose it when.

use super::Reply;
use crate::address::Address;
use crate::net::connect::read_roots;
use crate::net::listen;
use crate::net::tls::{Source, Tls};
use crate::settings::document::Chosen;
use crate::settings::{Listen, Live, SETTINGS, Settings, find};
use crate::store::{Note, Store};
use async_io::Timer;
use futures_lite::future;
use jiff::Timestamp;
use std::time::Duration;

/// The kinds of the records; keys are the names, and the changes' numbers.
const SETTING: &str = "setting";
const CHANGE: &str = "setting-change";
/// The setting that names accounts.
const ADMINISTRATORS: &str = "server.administrators";
/// Changes that are remembered; the oldest go.
const MAX_CHANGES: usize = 1000;
/// Longest wait for the server to be as the settings say.
const MAX_FOLLOW: Duration = Duration::from_secs(5);

/// What the owner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choosing {
    /// Rows of name, value, what that comes from (`default`, `set` or `start`), and what is
    /// chosen, if anything.
    List,
    /// Names and values, all at one moment.
    Set(Chosen),
    /// Back to the default, all at one moment.
    Reset(Vec<String>),
    /// These and no others.
    Replace(Chosen),
    /// Rows of time, who, name, before, after; the oldest first.
    Changes,
}

impl Choosing {
    /// The request's words.
    pub fn words(&self) -> Vec<String> {
        match self {
            Choosing::List => vec!["setting-list".into()],
            Choosing::Set(chosen) => pairs("setting-set", chosen),
            Choosing::Reset(names) => {
                let mut words = vec!["setting-reset".into()];
                words.extend(names.iter().cloned());
                words
            }
            Choosing::Replace(chosen) => pairs("setting-replace", chosen),
            Choosing::Changes => vec!["setting-changes".into()],
        }
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Choosing, String>> {
        Some(Ok(match words {
            ["setting-list"] => Choosing::List,
            ["setting-set", rest @ ..] if rest.len() % 2 == 0 => Choosing::Set(chosen_of(rest)),
            ["setting-reset", names @ ..] => {
                Choosing::Reset(names.iter().map(|it| it.to_string()).collect())
            }
            ["setting-replace", rest @ ..] if rest.len() % 2 == 0 => {
                Choosing::Replace(chosen_of(rest))
            }
            ["setting-changes"] => Choosing::Changes,
            _ => return None,
        }))
    }

    /// For logs.
    pub fn describe(&self) -> String {
        match self {
            Choosing::List => "settings list".into(),
            Choosing::Set(_) | Choosing::Reset(_) => {
                let words = self.words();
                format!(
                    "settings {}",
                    words.join(" ").trim_start_matches("setting-")
                )
            }
            Choosing::Replace(_) => "settings import".into(),
            Choosing::Changes => "settings changes".into(),
        }
    }
}

fn pairs(verb: &str, chosen: &Chosen) -> Vec<String> {
    let pairs = chosen.iter();
    let words = pairs.flat_map(|(name, value)| [name.clone(), value.clone()]);
    std::iter::once(verb.to_string()).chain(words).collect()
}

fn chosen_of(words: &[&str]) -> Chosen {
    let pairs = words.chunks_exact(2);
    pairs.map(|it| (it[0].into(), it[1].into())).collect()
}

/// What the store has chosen, as far as this version knows it: another may have written more,
/// and the server starts all the same.
pub fn chosen(store: &Store) -> Result<Chosen, String> {
    let records = store.look(|snapshot| snapshot.records(SETTING));
    let records = records.map_err(|error| error.to_string())?;
    let mut chosen = Chosen::new();
    let mut scratch = Settings::default();
    for (name, value) in records {
        let value = String::from_utf8_lossy(&value).into_owned();
        match find(&name).and_then(|it| it.set(&mut scratch, &value)) {
            Ok(()) => drop(chosen.insert(name, value)),
            Err(error) => log::warn!("a setting is passed over: {error}"),
        }
    }
    Ok(chosen)
}

/// The settings of a running server, or those that one would start by.
pub(super) fn now(store: &Store, live: Option<&Live>) -> Result<Settings, String> {
    match live {
        Some(live) => Ok(Settings::clone(&live.now())),
        None => {
            let own = Settings::of_this_machine();
            let offline = Live::new(own, Chosen::new(), &chosen(store)?)?;
            Ok(Settings::clone(&offline.now()))
        }
    }
}

/// With a server, `live` is what it runs by; `who` asks. Errors are sentences for the owner.
pub async fn perform(store: &Store, live: Option<&Live>, who: &str, request: Choosing) -> Reply {
    let _turn = match live {
        Some(live) => Some(live.turn.lock().await),
        None => None,
    };
    let before = chosen(store)?;
    let mut after = before.clone();
    match request {
        Choosing::List => return Ok(list(&before, live)),
        Choosing::Changes => return changes(store),
        Choosing::Set(chosen) => {
            let mut settings = Settings::of_this_machine();
            for (name, value) in chosen {
                let setting = find(&name)?;
                setting.set(&mut settings, &value)?;
                // As we show it; one that is at its default stays chosen all the same.
                after.insert(name, setting.show(&settings));
            }
        }
        Choosing::Reset(names) => {
            for name in names {
                after.remove(find(&name)?.name);
            }
        }
        Choosing::Replace(chosen) => after = chosen,
    }
    check(&before, &after, live)?;
    let notes = notes(store, &before, &after, who)?;
    store.note(notes).await.map_err(|error| error.to_string())?;
    if let Some(live) = live {
        apply(live, &after).await?;
    }
    Ok(Vec::new())
}

/// Has them hold, and waits until the server is so: the next change finds the sockets as the
/// settings say, and who asked what he asked for.
pub(super) async fn apply(live: &Live, chosen: &Chosen) -> Result<(), String> {
    live.apply(chosen)?;
    // One that is stopping follows no more.
    future::or(live.followed(), async {
        Timer::after(MAX_FOLLOW).await;
    })
    .await;
    Ok(())
}

/// Whether a server could run by them; what it would have to open anew is tried.
pub(super) fn check(before: &Chosen, after: &Chosen, live: Option<&Live>) -> Result<(), String> {
    let settings = match live {
        Some(live) => live.with(after)?,
        None => {
            let offline = Live::new(Settings::of_this_machine(), Chosen::new(), after)?;
            Settings::clone(&offline.now())
        }
    };
    const FILES: [&str; 3] = ["tls.certificate", "tls.key", "tls.source"];
    if FILES.iter().any(|it| before.get(*it) != after.get(*it))
        && let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key)
    {
        let source = Source::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        Tls::new(source).map_err(|error| error.to_string())?;
    }
    const AUTHORITIES: &str = "tls.authorities";
    if before.get(AUTHORITIES) != after.get(AUTHORITIES)
        && let Some(path) = &settings.tls_authorities
    {
        let read = read_roots(Some(path));
        read.map_err(|error| format!("can't use {} for {AUTHORITIES}: {error}", path.display()))?;
    }
    match live {
        Some(live) => try_ports(&live.now().listen()?, &settings.listen()?),
        None => Ok(()),
    }
}

/// What is chosen once an account's address is another, and the notes of that.
pub(super) fn renamed(
    store: &Store,
    who: &str,
    old: &Address,
    new: &Address,
) -> Result<(Chosen, Vec<Note>), String> {
    let before = chosen(store)?;
    let mut after = before.clone();
    if let Some(value) = after.get_mut(ADMINISTRATORS) {
        let (setting, mut settings) = (find(ADMINISTRATORS)?, Settings::default());
        setting.set(&mut settings, value)?;
        let named = settings.administrators.iter_mut();
        let named: Vec<_> = named.filter(|it| *it == old).collect();
        if !named.is_empty() {
            named.into_iter().for_each(|it| *it = new.clone());
            *value = setting.show(&settings);
        }
    }
    let notes = notes(store, &before, &after, who)?;
    Ok((after, notes))
}

/// Whether the server was started to tell that address what its owner should know.
pub(super) fn is_given_administrator(live: &Live, address: &Address) -> bool {
    live.is_given(ADMINISTRATORS) && live.now().administrators.contains(address)
}

fn try_ports(open: &[Listen], wanted: &[Listen]) -> Result<(), String> {
    for one in wanted {
        // In the way of the trial, but gone by then, or the same.
        let ours = |it: &&Listen| {
            let (a, b) = (it.address, one.address);
            let any = a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() == b.port() && (any || a == b)
        };
        if open.iter().any(|it| ours(&it)) {
            continue;
        }
        let (service, address) = (one.service, one.address);
        listen::bind(address)
            .map_err(|error| format!("can't listen on {address} for {service}: {error}"))?;
    }
    Ok(())
}

/// What changes, each with a note of who did it.
pub(super) fn notes(
    store: &Store,
    before: &Chosen,
    after: &Chosen,
    who: &str,
) -> Result<Vec<Note>, String> {
    let keys = store.look(|snapshot| snapshot.record_keys(CHANGE));
    let mut keys = keys.map_err(|error| error.to_string())?;
    let mut next = keys
        .last()
        .and_then(|key| key.parse().ok())
        .map_or(0, |it: u64| it + 1);
    let now = Timestamp::now().as_second();
    let mut notes = Vec::new();
    let put = |kind, key: &str, value: Option<&str>| Note {
        kind,
        key: key.into(),
        value: value.map(|it| it.as_bytes().to_vec()),
    };
    for name in SETTINGS.iter().map(|it| it.name) {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        notes.push(put(SETTING, name, new.map(String::as_str)));
        let [old, new] = [old, new].map(|it| it.map_or("", String::as_str));
        let key = format!("{next:010}");
        let row = format!("{now}\n{who}\n{name}\n{old}\n{new}");
        notes.push(put(CHANGE, &key, Some(&row)));
        keys.push(key);
        next += 1;
    }
    let surplus = keys.len().saturating_sub(MAX_CHANGES);
    notes.extend(keys.iter().take(surplus).map(|key| put(CHANGE, key, None)));
    Ok(notes)
}

fn list(chosen: &Chosen, live: Option<&Live>) -> Vec<Vec<String>> {
    let mut offline = Settings::of_this_machine();
    let now = match live {
        Some(live) => live.now(),
        None => {
            // What can't be read any more is as if it were not there.
            for (name, value) in chosen {
                let _ = find(name).and_then(|it| it.set(&mut offline, value));
            }
            offline.into()
        }
    };
    let row = |setting: &crate::settings::Setting| {
        let from = match (live, chosen.contains_key(setting.name)) {
            (Some(live), _) if live.is_given(setting.name) => "start",
            (_, true) => "set",
            (_, false) => "default",
        };
        let chosen = chosen.get(setting.name).cloned().unwrap_or_default();
        vec![setting.name.into(), setting.show(&now), from.into(), chosen]
    };
    SETTINGS.iter().map(row).collect()
}

fn changes(store: &Store) -> Reply {
    let records = store.look(|snapshot| snapshot.records(CHANGE));
    let records = records.map_err(|error| error.to_string())?.into_iter();
    let row = |(_, value): (String, Vec<u8>)| {
        let text = String::from_utf8(value).map_err(|_| "a note is damaged".to_string())?;
        Ok(text.split('\n').map(str::to_string).collect())
    };
    records.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    fn set(name: &str, value: &str) -> Choosing {
        Choosing::Set([(name.into(), value.into())].into())
    }

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let replace = Chosen::from([("smtp.tarpit".into(), "1s".into())]);
        let reset = Choosing::Reset(vec!["tls.key".into(), "tls.certificate".into()]);
        for request in [
            Choosing::List,
            set("smtp.tarpit", "1s"),
            reset,
            Choosing::Replace(replace),
            Choosing::Replace(Chosen::new()),
            Choosing::Changes,
        ] {
            let words = request.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(Choosing::read(&words), Some(Ok(request)));
        }
        assert_eq!(Choosing::read(&["setting-replace", "smtp.tarpit"]), None);
    }

    #[test]
    fn what_another_version_wrote_stops_nothing_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        smol::block_on(async {
            for (name, value) in [("imap.colour", "blue"), ("smtp.tarpit", "1h")] {
                let put = store.put_record(SETTING, name, value.as_bytes().to_vec());
                put.await.unwrap();
            }
            assert_eq!(chosen(&store), Ok(Chosen::new()));
            let live = Live::new(Settings::default(), Chosen::new(), &Chosen::new()).unwrap();
            let set = set("pop3.login-delay", "3s");
            perform(&store, Some(&live), "root", set).await.unwrap();
            let kept = store.look(|it| it.record(SETTING, "imap.colour"));
            assert_eq!(kept.unwrap(), Some(b"blue".to_vec()));
        });
        let names: Vec<String> = chosen(&store).unwrap().into_keys().collect();
        assert_eq!(names, ["pop3.login-delay"]);
    }

    #[test]
    fn with_no_server_the_log_is_kept_as_long_as_the_store_says() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let days = |n: u64| std::time::Duration::from_secs(n * 24 * 3600);
        let keeps = || {
            let world = super::super::World {
                store: &store,
                who: "root",
                dir: None,
                running: None,
            };
            world.keep_log()
        };
        assert_eq!(keeps(), days(90));
        let put = store.put_record(SETTING, "server.keep-log", b"400d".to_vec());
        smol::block_on(put).unwrap();
        assert_eq!(keeps(), days(400));
    }

    #[test]
    fn changes_are_noted_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let rows = smol::block_on(async {
            let old = |n: usize| Note {
                kind: CHANGE,
                key: format!("{n:010}"),
                value: Some(b"1\nroot\nsmtp.tarpit\n\n1s".to_vec()),
            };
            store
                .note((0..MAX_CHANGES).map(old).collect())
                .await
                .unwrap();
            for value in ["2s", "2s", "3s"] {
                let set = set("smtp.tarpit", value);
                perform(&store, None, "user 7", set).await.unwrap();
            }
            perform(&store, None, "root", Choosing::Changes)
                .await
                .unwrap()
        });
        assert_eq!(rows.len(), MAX_CHANGES);
        let last = rows.last().unwrap();
        assert_eq!(last[1..], ["user 7", "smtp.tarpit", "2s", "3s"]);
    }
}
