//! The questions: a table in the order in which they are asked.

use super::answers::{Answers, Facts};
use super::asked::*;
use super::check::Check;
use super::text::Text;
use super::value::{self, Read};

/// One question.
pub struct Question {
    /// As the answer file names it: a key, or a table and a key.
    pub name: &'static str,
    pub title: Text,
    /// Two lines that explain it.
    pub about: Text,
    /// What `?` says.
    pub help: Text,
    pub kind: Kind,
    /// Whether it is asked, by what was answered before it.
    pub applies: fn(&Answers, &Facts) -> bool,
    /// What Enter takes, if it takes anything.
    pub default: fn(&Answers, &Facts) -> Option<String>,
    /// What is looked at once it is answered.
    pub check: fn(&Answers) -> Option<Check>,
}

#[derive(Clone, Copy)]
pub enum Kind {
    /// One of these words, each with what it means.
    Choice(&'static [(&'static str, Text)], fn(&str, &Answers) -> Read),
    Line(fn(&str, &Answers) -> Read),
    /// A password for here: typed twice, kept so that it can be verified and no more.
    NewPassword,
    /// A password for elsewhere: typed once, kept as it is.
    Password,
}

impl Question {
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::NewPassword | Kind::Password)
    }
}

/// By name.
pub fn find(name: &str) -> Option<&'static Question> {
    QUESTIONS.iter().find(|it| it.name == name)
}

type Applies = fn(&Answers, &Facts) -> bool;

const ALWAYS: Applies = |_, _| true;
const APPLIANCE: Applies = |_, facts| facts.appliance;
const FIXED: Applies = |answers, facts| facts.appliance && answers.is("network.mode", "static");
const SSH_KEY_WANTED: Applies = |answers, facts| facts.appliance && answers.is("ssh.mode", "keys");
const FILES: Applies = |answers, _| answers.is("tls.source", "files");
const ACME: Applies = |answers, _| answers.is("tls.source", "acme");
const RELAY: Applies = |answers, _| answers.is("relay.mode", "smarthost");
const RELAY_LOGIN: Applies = |answers, facts| {
    RELAY(answers, facts)
        && answers
            .get("relay.user")
            .is_some_and(|it| it != value::NOTHING)
};

fn any(text: &str, _: &Answers) -> Read {
    Ok(text.into())
}

/// The name without its first part, if two remain.
fn parent(hostname: &str) -> Option<String> {
    let (_, rest) = hostname.split_once('.')?;
    rest.contains('.').then(|| rest.to_string())
}

/// The first address of the network is its router's nearly everywhere.
fn router(answers: &Answers) -> Option<String> {
    let (address, _) = answers.get("network.address")?.split_once('/')?;
    let (network, last) = address.rsplit_once('.')?;
    (last != "1").then(|| format!("{network}.1"))
}

/// The port decides where it is one of the two.
fn usual_tls(answers: &Answers) -> &'static str {
    match answers.get("relay.port") {
        Some("465") => "implicit",
        _ => "starttls",
    }
}

macro_rules! question {
    ($name:literal, $title:ident, $about:ident, $help:ident, $kind:expr, $applies:expr,
     $default:expr, $check:expr) => {
        Question {
            name: $name,
            title: $title,
            about: $about,
            help: $help,
            kind: $kind,
            applies: $applies,
            default: $default,
            check: $check,
        }
    };
}

/// All of them, in order. A question depends on those before it alone.
pub static QUESTIONS: &[Question] = &[
    question!(
        "language",
        LANGUAGE,
        LANGUAGE_ABOUT,
        LANGUAGE_HELP,
        Kind::Choice(&[("en", ENGLISH), ("ru", RUSSIAN)], any),
        ALWAYS,
        |_, _| Some("en".into()),
        |_| Some(Check::Clock)
    ),
    question!(
        "network.mode",
        NETWORK,
        NETWORK_ABOUT,
        NETWORK_HELP,
        Kind::Choice(&[("dhcp", DHCP), ("static", STATIC)], any),
        APPLIANCE,
        |_, _| Some("dhcp".into()),
        |_| None
    ),
    question!(
        "network.address",
        ADDRESS,
        ADDRESS_ABOUT,
        ADDRESS_HELP,
        Kind::Line(value::network),
        FIXED,
        |_, _| None,
        |_| None
    ),
    question!(
        "network.gateway",
        GATEWAY,
        GATEWAY_ABOUT,
        GATEWAY_HELP,
        Kind::Line(value::gateway),
        FIXED,
        |answers, _| router(answers),
        |_| None
    ),
    question!(
        "network.name-servers",
        SERVERS,
        SERVERS_ABOUT,
        SERVERS_HELP,
        Kind::Line(value::name_servers),
        FIXED,
        |answers, _| answers.get("network.gateway").map(str::to_string),
        |_| None
    ),
    question!(
        "time-zone",
        ZONE,
        ZONE_ABOUT,
        ZONE_HELP,
        Kind::Line(value::zone),
        APPLIANCE,
        |_, _| Some("UTC".into()),
        |_| Some(Check::Zone)
    ),
    question!(
        "hostname",
        HOST,
        HOST_ABOUT,
        HOST_HELP,
        Kind::Line(value::host),
        ALWAYS,
        |answers, facts| value::host(&facts.hostname, answers).ok(),
        |_| Some(Check::Name)
    ),
    question!(
        "domain",
        DOMAIN,
        DOMAIN_ABOUT,
        DOMAIN_HELP,
        Kind::Line(value::domain),
        ALWAYS,
        |answers, _| {
            let hostname = answers.get("hostname")?;
            Some(parent(hostname).unwrap_or_else(|| hostname.to_string()))
        },
        |_| None
    ),
    question!(
        "services",
        SERVICES,
        SERVICES_ABOUT,
        SERVICES_HELP,
        Kind::Line(value::services),
        ALWAYS,
        |_, _| Some(value::SERVICES.join(" ")),
        |_| Some(Check::Ports)
    ),
    question!(
        "tls.source",
        TLS,
        TLS_ABOUT,
        TLS_HELP,
        Kind::Choice(
            &[("local", LOCAL), ("files", OWN_FILES), ("acme", BY_ACME)],
            any
        ),
        ALWAYS,
        |_, _| Some("local".into()),
        |_| None
    ),
    question!(
        "tls.certificate",
        PEM,
        PEM_ABOUT,
        PEM_HELP,
        Kind::Line(value::path),
        FILES,
        |_, _| None,
        |_| None
    ),
    question!(
        "tls.key",
        KEY,
        KEY_ABOUT,
        KEY_HELP,
        Kind::Line(value::path),
        FILES,
        |_, _| None,
        |_| Some(Check::Certificate)
    ),
    question!(
        "tls.contact",
        CONTACT,
        CONTACT_ABOUT,
        CONTACT_HELP,
        Kind::Line(value::contact),
        ACME,
        |_, _| Some(value::NOTHING.into()),
        |_| None
    ),
    question!(
        "administrator.password",
        ADMINISTRATOR,
        ADMINISTRATOR_ABOUT,
        ADMINISTRATOR_HELP,
        Kind::NewPassword,
        ALWAYS,
        |_, _| None,
        |_| None
    ),
    question!(
        "ssh.mode",
        SSH,
        SSH_ABOUT,
        SSH_HELP,
        Kind::Choice(
            &[
                ("off", SSH_OFF),
                ("keys", SSH_KEYS),
                ("password", SSH_PASSWORD)
            ],
            any
        ),
        APPLIANCE,
        |_, _| Some("off".into()),
        |_| None
    ),
    question!(
        "ssh.key",
        SSH_KEY,
        SSH_KEY_ABOUT,
        SSH_KEY_HELP,
        Kind::Line(value::ssh_key),
        SSH_KEY_WANTED,
        |_, _| None,
        |_| None
    ),
    question!(
        "account.address",
        ACCOUNT,
        ACCOUNT_ABOUT,
        ACCOUNT_HELP,
        Kind::Line(value::account),
        ALWAYS,
        |_, _| None,
        |_| None
    ),
    question!(
        "account.password",
        PASSWORD,
        PASSWORD_ABOUT,
        PASSWORD_HELP,
        Kind::NewPassword,
        ALWAYS,
        |_, _| None,
        |_| None
    ),
    question!(
        "relay.mode",
        SENDING,
        SENDING_ABOUT,
        SENDING_HELP,
        Kind::Choice(
            &[
                ("direct", DIRECT),
                ("smarthost", SMARTHOST),
                ("none", NOWHERE)
            ],
            any
        ),
        ALWAYS,
        |_, _| Some("direct".into()),
        |answers| answers
            .is("relay.mode", "direct")
            .then_some(Check::Outwards)
    ),
    question!(
        "relay.host",
        RELAY_HOST,
        RELAY_HOST_ABOUT,
        RELAY_HOST_HELP,
        Kind::Line(value::relay_host),
        RELAY,
        |_, _| None,
        |_| None
    ),
    question!(
        "relay.port",
        RELAY_PORT,
        RELAY_PORT_ABOUT,
        RELAY_PORT_HELP,
        Kind::Line(value::port),
        RELAY,
        |_, _| Some("587".into()),
        |_| None
    ),
    question!(
        "relay.tls",
        RELAY_TLS,
        RELAY_TLS_ABOUT,
        RELAY_TLS_HELP,
        Kind::Choice(
            &[
                ("starttls", STARTTLS),
                ("implicit", IMPLICIT),
                ("none", NO_TLS)
            ],
            value::relay_tls
        ),
        RELAY,
        |answers, _| Some(usual_tls(answers).into()),
        |_| None
    ),
    question!(
        "relay.user",
        RELAY_USER,
        RELAY_USER_ABOUT,
        RELAY_USER_HELP,
        Kind::Line(value::user),
        RELAY,
        |answers, _| answers.get("account.address").map(str::to_string),
        |answers| answers
            .is("relay.user", value::NOTHING)
            .then_some(Check::Relay)
    ),
    question!(
        "relay.password",
        RELAY_PASSWORD,
        RELAY_PASSWORD_ABOUT,
        RELAY_PASSWORD_HELP,
        Kind::Password,
        RELAY_LOGIN,
        |_, _| None,
        |_| Some(Check::Relay)
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::text::Language;

    #[test]
    fn each_question_is_explained_in_two_lines() {
        for question in QUESTIONS {
            for language in Language::ALL {
                assert_eq!(
                    question.about.of(language).lines().count(),
                    2,
                    "{}",
                    question.name
                );
                assert!(question.title.of(language).chars().count() <= 30);
            }
        }
    }

    #[test]
    fn names_are_different_and_defaults_are_answers() {
        let mut answers = Answers::default();
        answers.put("hostname", "mail.example.org".into());
        answers.put("network.address", "192.168.1.20/24".into());
        answers.put("network.gateway", "192.168.1.1".into());
        answers.put("account.address", "anna@example.org".into());
        let facts = Facts {
            hostname: "box.example.org".into(),
            ..Facts::default()
        };
        for (n, question) in QUESTIONS.iter().enumerate() {
            assert!(QUESTIONS[..n].iter().all(|it| it.name != question.name));
            let Some(default) = (question.default)(&answers, &facts) else {
                continue;
            };
            match question.kind {
                Kind::Choice(words, read) => {
                    assert!(words.iter().any(|(word, _)| *word == default));
                    assert!(read(&default, &answers).is_ok());
                }
                Kind::Line(read) => assert_eq!(read(&default, &answers), Ok(default)),
                Kind::NewPassword | Kind::Password => panic!("{}", question.name),
            }
        }
        assert_eq!(parent("mail.example.org").as_deref(), Some("example.org"));
        assert_eq!(parent("example.org"), None);
    }
}
