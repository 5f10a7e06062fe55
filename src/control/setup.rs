//! Requests of the wizard: what its questions depend on, and the answers, which are applied at
//! one moment.

use super::administrator::known;
use super::routing::Routing;
use super::{Reply, administrator_record, settings};
use crate::announce::welcome;
use crate::keys;
use crate::mail::option::Language;
use crate::queue::route::{DEFAULT, KIND as ROUTE, Route};
use crate::secret::Secret;
use crate::settings::document::Chosen;
use crate::settings::{Live, Settings, find};
use crate::setup::answers::{Answers, Facts};
use crate::setup::document;
use crate::setup::plan::{Password, Plan, Relay};
use crate::setup::question;
use crate::store::{Error, Note, Store};

/// The record of what was answered.
const KIND: &str = "setup";
const ANSWERS: &str = "answers";

/// What the wizard asks for.
#[derive(Debug)]
pub enum SettingUp {
    /// Rows of `account` and address, `administrator` and `set`, `answers` and the answers
    /// without secrets.
    Facts,
    /// All of them in one transaction.
    Apply(Answers),
}

impl SettingUp {
    /// The request's words.
    pub fn words(&self) -> Secret<Vec<String>> {
        Secret::new(match self {
            SettingUp::Facts => vec!["setup-facts".into()],
            SettingUp::Apply(answers) => {
                let pairs = answers
                    .all()
                    .flat_map(|(name, value)| [name.into(), value.into()]);
                std::iter::once("setup-apply".to_string())
                    .chain(pairs)
                    .collect()
            }
        })
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<SettingUp, String>> {
        Some(match words {
            ["setup-facts"] => Ok(SettingUp::Facts),
            ["setup-apply", pairs @ ..] if pairs.len() % 2 == 0 => {
                let mut answers = Answers::default();
                for pair in pairs.chunks_exact(2) {
                    let Some(question) = question::find(pair[0]) else {
                        return Some(Err(format!("{} is no question", pair[0])));
                    };
                    answers.put(question.name, pair[1].to_string());
                }
                Ok(SettingUp::Apply(answers))
            }
            _ => return None,
        })
    }

    /// For logs.
    pub fn describe(&self) -> String {
        match self {
            SettingUp::Facts => "setup facts".into(),
            SettingUp::Apply(answers) => {
                format!(
                    "setup apply {}",
                    answers.get("hostname").unwrap_or_default()
                )
            }
        }
    }
}

/// Errors are sentences for the owner. With a server, `live` is what it runs by; `who` asks.
pub async fn perform(store: &Store, live: Option<&Live>, who: &str, request: SettingUp) -> Reply {
    match request {
        SettingUp::Facts => rows(store),
        SettingUp::Apply(answers) => apply(store, live, who, &answers).await,
    }
}

fn rows(store: &Store) -> Reply {
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let found = store.look(|snapshot| Ok((snapshot.accounts()?, snapshot.record(KIND, ANSWERS)?)));
    let (accounts, answers) = found.map_err(|error| error.to_string())?;
    let accounts = accounts
        .iter()
        .map(|it| row("account", it.address.to_string()));
    let mut rows: Vec<Vec<String>> = accounts.collect();
    if known(store)?.is_some() {
        rows.push(row("administrator", "set".into()));
    }
    let text = answers.map(|it| String::from_utf8_lossy(&it).into_owned());
    rows.extend(text.map(|it| row("answers", it)));
    Ok(rows)
}

/// What [`SettingUp::Facts`] says, in `facts`.
pub fn learn(rows: Vec<Vec<String>>, facts: &mut Facts) {
    for row in rows {
        match row.as_slice() {
            [name, value] if name == "account" => facts.accounts.push(value.clone()),
            [name, _] if name == "administrator" => facts.administrator = true,
            [name, value] if name == "answers" => facts.earlier = Some(document::resume(value)),
            // A server of another version may say more.
            _ => {}
        }
    }
}

async fn apply(store: &Store, live: Option<&Live>, who: &str, answers: &Answers) -> Reply {
    let _turn = match live {
        Some(live) => Some(live.turn.lock().await),
        None => None,
    };
    let mut facts = Facts::default();
    learn(rows(store)?, &mut facts);
    let plan = Plan::of(answers, &facts)?;
    let before = settings::chosen(store)?;
    let after = chosen(&before, &plan)?;
    settings::check(&before, &after, live)?;
    let mut notes = settings::notes(store, &before, &after, who)?;
    notes.extend(plan.administrator.map(administrator_record));
    notes.push(Note {
        kind: ROUTE,
        key: DEFAULT.into(),
        value: route(store, plan.relay)?.map(|it| it.encode()),
    });
    let day = jiff::Timestamp::now().strftime("%Y%m%d").to_string();
    notes.extend(keys::first_pair(store, &plan.domain, &day).await?);
    notes.push(Note {
        kind: KIND,
        key: ANSWERS.into(),
        value: Some(plan.answers.into_bytes()),
    });
    let account = plan.account.clone();
    let language = Language::of(answers.get("language").unwrap_or_default());
    let done = store
        .note_with_account(plan.account, plan.credential, language, notes)
        .await;
    let made = done.map_err(|error| match error {
        Error::Exists => format!("{account} exists already, as an alias or a group"),
        error => error.to_string(),
    })?;
    if let Some(live) = live {
        settings::apply(live, &after).await?;
    }
    if let Some(id) = made {
        let settings = settings::now(store, live)?;
        // All is applied; the owner can ask for it once more (`account welcome`).
        if let Err(error) = welcome::send(store, &settings, id).await {
            log::warn!("{account} can't be welcomed: {error}");
        }
    }
    Ok(Vec::new())
}

/// As the settings show them; what is at its default is not chosen.
fn chosen(before: &Chosen, plan: &Plan) -> Result<Chosen, String> {
    let mut after = before.clone();
    let defaults = Settings::of_this_machine();
    let mut settings = defaults.clone();
    for (name, value) in &plan.settings {
        after.remove(*name);
        let Some(value) = value else {
            continue;
        };
        let setting = find(name)?;
        setting.set(&mut settings, value)?;
        // The machine's own name may be another one day.
        if *name == "server.hostname" || setting.show(&settings) != setting.show(&defaults) {
            after.insert(name.to_string(), setting.show(&settings));
        }
    }
    Ok(after)
}

fn route(store: &Store, relay: Relay) -> Result<Option<Route>, String> {
    let Relay::By {
        host,
        port,
        tls,
        login,
    } = relay
    else {
        return Ok(None);
    };
    let login = match login {
        None => None,
        Some((user, Password::New(password))) => Some((user, password)),
        Some((user, Password::Same)) => {
            let known = store.look(|snapshot| Route::find(snapshot, None));
            let known = known
                .map_err(|error| error.to_string())?
                .and_then(|it| it.login);
            let password = known.filter(|it| it.user == user).map(|it| it.password);
            let password = password.ok_or("there is no password of the relay to keep")?;
            Some((user, password))
        }
    };
    match Routing::set("default", &host, Some(port), Some(&tls), login)? {
        Routing::Set { route, .. } => Ok(Some(route)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::MailboxName;
    use crate::store::Options;

    fn answers(pairs: &[(&'static str, &str)]) -> Answers {
        let mut answers = Answers::example("smarthost");
        for (name, value) in pairs {
            answers.put(name, value.to_string());
        }
        answers
    }

    fn all(store: &Store) -> Vec<Vec<(String, Vec<u8>)>> {
        let kinds = [
            "setting",
            "setting-change",
            ROUTE,
            "administrator",
            "dkim",
            KIND,
        ];
        let found = store.look(|it| kinds.into_iter().map(|kind| it.records(kind)).collect());
        found.unwrap()
    }

    #[test]
    fn requests_are_read_as_they_were_written_and_keep_their_secrets() {
        for request in [SettingUp::Facts, SettingUp::Apply(answers(&[]))] {
            let words = request.words();
            let words: Vec<&str> = words.reveal().iter().map(String::as_str).collect();
            let again = SettingUp::read(&words).unwrap().unwrap();
            assert_eq!(again.words().reveal(), request.words().reveal());
            let shown = format!("{again:?} {}", again.describe());
            assert!(
                !shown.contains("sesame") && !shown.contains("argon2"),
                "{shown}"
            );
        }
        assert!(SettingUp::read(&["setup-apply", "language"]).is_none());
        assert!(
            SettingUp::read(&["setup-apply", "colour", "red"])
                .unwrap()
                .is_err()
        );
    }

    #[test]
    fn answers_are_applied_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        smol::block_on(async {
            let apply = |pairs| perform(&store, None, "root", SettingUp::Apply(answers(pairs)));
            let before = all(&store);
            let files = [
                ("tls.source", "files"),
                ("tls.certificate", "/nowhere/cert.pem"),
                ("tls.key", "/nowhere/key.pem"),
            ];
            for bad in [
                &files[..],
                &[("relay.port", "0")],
                &[("account.password", "plain text")],
            ] {
                assert!(apply(bad).await.is_err());
                assert_eq!(all(&store), before);
                assert!(store.look(|it| it.accounts()).unwrap().is_empty());
            }
            apply(&[("language", "ru")]).await.unwrap();
            let found = store.look(|it| it.accounts()).unwrap();
            let welcomed = || {
                let inbox = store.look(|it| it.mailbox(found[0].id, &MailboxName::inbox()));
                let options = store.look(|it| it.account_options(found[0].id));
                (inbox.unwrap().unwrap().messages, options.unwrap().language)
            };
            assert_eq!(welcomed(), (1, Some(Language::Russian)));
            assert_eq!(found[0].address.to_string(), "anna@example.org");
            assert_eq!(found[0].address.domain().to_string(), "example.org");
            let [settings, _, routes, administrator, dkim, _] = all(&store).try_into().unwrap();
            assert_eq!((routes.len(), administrator.len(), dkim.len()), (1, 1, 2));
            let chosen: Vec<&str> = settings.iter().map(|it| it.0.as_str()).collect();
            for name in ["pop3.enabled", "server.hostname", "smtp.enabled"] {
                assert!(chosen.contains(&name), "{chosen:?}");
            }
            assert!(!chosen.contains(&"imap.enabled"));
            // Once more, passwords as they are: nothing changes, the keys stay.
            let before = all(&store);
            let kept = [
                ("administrator.password", ""),
                ("account.password", ""),
                ("relay.password", ""),
                ("language", "ru"),
            ];
            apply(&kept).await.unwrap();
            assert_eq!(all(&store), before);
            let mut facts = Facts::default();
            let rows = perform(&store, None, "root", SettingUp::Facts)
                .await
                .unwrap();
            learn(rows, &mut facts);
            assert!(facts.administrator && facts.earlier.unwrap().is("relay.user", "u"));
            assert_eq!(facts.accounts, ["anna@example.org"]);
            // Without a relay there is no route.
            apply(&[("relay.mode", "none")]).await.unwrap();
            assert!(all(&store)[2].is_empty());
            // One welcome is enough, and the account's language is its own matter by now.
            assert_eq!(welcomed(), (1, Some(Language::Russian)));
        });
    }
}
