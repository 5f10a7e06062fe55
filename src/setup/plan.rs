//! What the answers come to: settings, records and an account, for one transaction.

use super::answers::{Answers, Facts};
use super::document;
use super::sealed;
use super::value::{NOTHING, SERVICES};
use super::wizard::unanswered;
use crate::address::{Address, Domain};
use crate::secret::{Credential, Secret};
use crate::settings::find;

/// All that is applied at one moment.
pub struct Plan {
    /// Settings by name; `None` gives one its default back.
    pub settings: Vec<(&'static str, Option<String>)>,
    /// What verifies the administrator's password, an argon2id PHC string; `None` leaves it.
    pub administrator: Option<String>,
    pub account: Address,
    /// `None` leaves the password that the account has.
    pub credential: Option<Credential>,
    pub relay: Relay,
    /// The domain that gets keys to sign with, if it has none.
    pub domain: Domain,
    /// What the store remembers of the answers.
    pub answers: String,
}

/// The way of mail to other servers.
pub enum Relay {
    /// Directly or not at all: no route.
    None,
    By {
        host: String,
        port: u16,
        tls: String,
        login: Option<(String, Password)>,
    },
}

pub enum Password {
    New(Secret<String>),
    /// The one that the route has.
    Same,
}

impl Plan {
    /// Errors are sentences.
    pub fn of(answers: &Answers, facts: &Facts) -> Result<Plan, String> {
        if let Some(question) = unanswered(answers, facts) {
            return Err(format!("{} has no answer that holds", question.name));
        }
        let get = |name: &str| answers.get(name).unwrap_or_default();
        let credential = |name: &str| match get(name) {
            "" => Ok(None),
            text => sealed::read(text)
                .map(Some)
                .ok_or(format!("{name} is not sealed")),
        };
        let (account, domain) = (get("account.address"), get("domain"));
        Ok(Plan {
            settings: settings(answers),
            administrator: credential("administrator.password")?.map(|it| it.verifier),
            account: Address::parse(account).map_err(|error| format!("{account}: {error}"))?,
            credential: credential("account.password")?,
            relay: relay(answers)?,
            domain: Domain::parse(domain).map_err(|error| format!("{domain}: {error}"))?,
            answers: document::write(answers, false),
        })
    }
}

/// The relay of the answers so far.
pub fn relay(answers: &Answers) -> Result<Relay, String> {
    if !answers.is("relay.mode", "smarthost") {
        return Ok(Relay::None);
    }
    let get = |name: &str| answers.get(name).unwrap_or_default();
    let password = match get("relay.password") {
        "" => Password::Same,
        text => Password::New(Secret::new(text.to_string())),
    };
    Ok(Relay::By {
        host: get("relay.host").into(),
        port: get("relay.port")
            .parse()
            .map_err(|_| "relay.port is no port")?,
        tls: get("relay.tls").into(),
        login: match get("relay.user") {
            NOTHING | "" => None,
            user => Some((user.into(), password)),
        },
    })
}

/// What is as the defaults have it goes back to them.
fn settings(answers: &Answers) -> Vec<(&'static str, Option<String>)> {
    let get = |name: &str| answers.get(name).map(str::to_string);
    let on = |service: &str| {
        let named = answers
            .get("services")
            .unwrap_or_default()
            .split(' ')
            .any(|it| it == service);
        (!named).then(|| "off".to_string())
    };
    let source = answers.get("tls.source").unwrap_or_default();
    let file = |name: &str| get(name).filter(|_| source == "files");
    let acme = source == "acme";
    let [imap, pop3, submission, smtp] = SERVICES;
    let all = [
        ("server.hostname", get("hostname")),
        ("server.administrators", get("account.address")),
        ("imap.enabled", on(imap)),
        ("pop3.enabled", on(pop3)),
        ("submission.enabled", on(submission)),
        ("smtp.enabled", on(smtp)),
        ("tls.source", Some(source.to_string())),
        ("tls.certificate", file("tls.certificate")),
        ("tls.key", file("tls.key")),
        ("acme.agreed", acme.then(|| "on".to_string())),
        (
            "acme.contact",
            get("tls.contact").filter(|it| acme && it != NOTHING),
        ),
        (
            "queue.direct",
            answers.is("relay.mode", "none").then(|| "off".to_string()),
        ),
    ];
    // A server without one of them does not have what it is for.
    all.into_iter()
        .filter(|(name, _)| find(name).is_ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_what_was_answered() {
        let plan = Plan::of(&Answers::example("none"), &Facts::default()).unwrap();
        let get = |name: &str| {
            plan.settings
                .iter()
                .find(|it| it.0 == name)
                .map(|it| it.1.as_deref())
        };
        assert_eq!(get("server.hostname"), Some(Some("mail.example.org")));
        assert_eq!(get("imap.enabled"), Some(None));
        assert_eq!(get("pop3.enabled"), Some(Some("off")));
        assert_eq!(get("queue.direct"), Some(Some("off")));
        assert_eq!(get("tls.certificate"), Some(None));
        assert!(matches!(plan.relay, Relay::None));
        let password = Secret::new("correct horse".to_string());
        assert!(plan.credential.unwrap().verify(&password));
        assert!(plan.administrator.unwrap().starts_with(sealed::MARK));
        assert!(!plan.answers.contains("argon2"));
    }

    #[test]
    fn answers_that_lack_something_are_no_plan() {
        let mut lacking = Answers::example("smarthost");
        lacking.remove("relay.host");
        let lacking = Plan::of(&lacking, &Facts::default());
        assert_eq!(
            lacking.err().unwrap(),
            "relay.host has no answer that holds"
        );
        let mut plain = Answers::example("none");
        plain.put("account.password", "correct horse".into());
        assert!(Plan::of(&plain, &Facts::default()).is_err());
        // Nothing to keep: there is no such account.
        plain.put("account.password", String::new());
        assert!(Plan::of(&plain, &Facts::default()).is_err());
        let facts = Facts {
            accounts: vec!["anna@example.org".into()],
            ..Facts::default()
        };
        assert!(Plan::of(&plain, &facts).unwrap().credential.is_none());
    }
}
