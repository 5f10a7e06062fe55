//! What was answered, by the questions' names.

use super::text::Language;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::fmt;

/// Answers as they were checked, each in its one spelling. Some are secret, so none is shown.
#[derive(Clone, Default)]
pub struct Answers(BTreeMap<&'static str, Secret<String>>);

impl Answers {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|it| it.reveal().as_str())
    }

    /// Whether it is answered so.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    pub fn put(&mut self, name: &'static str, value: String) {
        self.0.insert(name, Secret::new(value));
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// By name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (*name, value.reveal().as_str()))
    }

    /// What it is all said in.
    pub fn language(&self) -> Language {
        let chosen = self.get("language").and_then(Language::parse);
        chosen.unwrap_or_default()
    }
}

#[cfg(test)]
impl Answers {
    /// A full set, with that `relay.mode`.
    pub fn example(mode: &str) -> Answers {
        let password = Secret::new("correct horse".to_string());
        let credential = crate::secret::Credential::create(&password).unwrap();
        let sealed = super::sealed::write(&credential);
        let mut answers = Answers::default();
        for (name, value) in [
            ("language", "en"),
            ("hostname", "mail.example.org"),
            ("domain", "example.org"),
            ("services", "imap submission"),
            ("tls.source", "local"),
            ("administrator.password", &sealed),
            ("account.address", "anna@example.org"),
            ("account.password", &sealed),
            ("relay.mode", mode),
            ("relay.host", "smtp.example.net"),
            ("relay.port", "465"),
            ("relay.tls", "implicit"),
            ("relay.user", "u"),
            ("relay.password", "sesame"),
        ] {
            answers.put(name, value.into());
        }
        answers
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What the questions depend on besides the answers.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether the machine is the server's own: then its network, name and clock are asked for.
    pub appliance: bool,
    /// The name that the machine has.
    pub hostname: String,
    /// Addresses of the accounts that there are.
    pub accounts: Vec<String>,
    /// Whether the administrator has a password.
    pub administrator: bool,
    /// What was answered when the server was set up, without secrets; `None` if it never was.
    pub earlier: Option<Answers>,
}
