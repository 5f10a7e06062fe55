//! `pillarbox help`: the manual, which is in the binary.

use super::Error;
use crate::settings::{SETTINGS, Settings};

/// Name, what it is about, and text.
type Topic = (&'static str, &'static str, &'static str);

macro_rules! topics {
    ($($name:literal: $about:literal;)+) => {
        &[$(($name, $about, include_str!(concat!("../manual/", $name, ".md")))),+]
    };
}

/// The manual.
pub const TOPICS: &[Topic] = topics! {
    "start": "from nothing to a mail server that runs";
    "setup": "the wizard that sets a server up, and its answer file";
    "demo": "try it on your own machine first";
    "console": "status, the menu on a terminal, the administrator's password";
    "accounts": "accounts, passwords and aliases";
    "addresses": "groups, catch-alls, grants, devices, plus-addressing";
    "home": "accounts whose mailbox is on another server";
    "pop3": "what POP3 does, deletion and order of an account";
    "collectors": "mail fetched from a provider's mailbox, by IMAP or POP3";
    "incoming": "mail from other servers: what is checked, limits, LMTP";
    "dns": "records that a domain needs, and the keys that sign";
    "clients": "settings for mail programs and telephones";
    "tls": "certificates: the server's own, by ACME, and yours";
    "queue": "mail on its way to other servers";
    "sending": "routes to other servers, directly or by a provider";
    "storage": "where the mail is, backups, a full disk";
    "check": "whether all that is stored is as it should be, and repairs";
    "security": "what protects the mail, and what is up to you";
    "settings": "every setting, and how to change one";
    "limits": "every limit, and what is not there yet";
};

/// The topic of `pillarbox help [TOPIC]`, if that is what the command line says: argh
/// keeps the word help to itself.
pub fn asked_for(words: &[String]) -> Option<Option<&str>> {
    match words {
        [_, help, topic @ ..] if help == "help" => Some(topic.first().map(String::as_str)),
        _ => None,
    }
}

/// Prints a topic, or what there is.
pub fn show(topic: Option<&str>) -> Result<(), Error> {
    let Some(name) = topic else {
        say!("{}", overview().trim_end());
        return Ok(());
    };
    let Some((_, _, text)) = TOPICS.iter().find(|topic| topic.0 == name) else {
        let names: Vec<&str> = TOPICS.iter().map(|topic| topic.0).collect();
        let names = names.join(", ");
        return Err(format!("the manual has no topic {name}; it has {names}").into());
    };
    say!("{}", text.trim_end());
    if name == "settings" {
        say!("\n{}", all_settings().trim_end());
    }
    Ok(())
}

/// A block for each: name, default and range, then the meaning.
fn all_settings() -> String {
    let mut text = String::new();
    let defaults = Settings::default();
    for setting in SETTINGS {
        let (name, range) = (setting.name, setting.range());
        let default = match (name, setting.show(&defaults)) {
            ("server.hostname", _) => "the machine's name".into(),
            (_, value) if value.is_empty() => "none".into(),
            (_, value) => value,
        };
        let source = match setting.source {
            "" => String::new(),
            source => format!(" [{source}]"),
        };
        text += &format!("    {name}\n        {}.{source}\n", setting.meaning);
        text += &format!("        {range}; default {default}\n");
    }
    text
}

fn overview() -> String {
    let mut text = String::from(
        "pillarbox is a whole mail server in one binary: IMAP, POP3 and submission.\n\n\
         Try it:     pillarbox demo\n\
         Set it up:  pillarbox setup\n\
         Run it:     pillarbox serve\n\
         Use it:     pillarbox account add YOU@YOUR.DOMAIN\n\
         Options:    pillarbox --help, pillarbox serve --help\n\n\
         The manual: pillarbox help TOPIC\n\n",
    );
    for (name, about, _) in TOPICS {
        text.push_str(&format!("  {name:<10} {about}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;
    use argh::SubCommands;

    #[test]
    fn every_command_is_in_the_manual() {
        let manual: String = TOPICS.iter().map(|topic| topic.2).collect();
        for command in Command::COMMANDS {
            let name = format!("pillarbox {}", command.name);
            assert!(manual.contains(&name), "{name} is not in the manual");
        }
        for name in ["add", "list", "password", "delete"] {
            assert!(
                manual.contains(&format!("pillarbox account {name}")),
                "{name}"
            );
        }
        for name in ["add", "remove", "list"] {
            assert!(
                manual.contains(&format!("pillarbox alias {name}")),
                "{name}"
            );
        }
    }

    #[test]
    fn every_setting_that_the_manual_names_exists() {
        let manual: String = TOPICS.iter().map(|topic| topic.2).collect();
        let tables: Vec<&str> = SETTINGS
            .iter()
            .map(|it| it.name.split('.').next().unwrap())
            .collect();
        for command in [
            "settings set ",
            "settings reset ",
            "settings get ",
            "--set ",
        ] {
            for named in manual.split(command).skip(1) {
                let name: String = named
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || ".-".contains(*c))
                    .collect();
                if tables
                    .iter()
                    .any(|table| name.starts_with(&format!("{table}.")))
                {
                    assert!(SETTINGS.iter().any(|it| it.name == name), "{name}");
                }
            }
        }
        for line in all_settings().lines() {
            assert!(line.chars().count() <= 110, "{line}");
        }
    }

    #[test]
    fn every_topic_that_is_named_exists() {
        let everything: String = TOPICS.iter().map(|topic| topic.2).collect();
        for named in everything.split("pillarbox help ").skip(1) {
            let word = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let name: String = named.chars().take_while(word).collect();
            assert!(
                name.is_empty() || TOPICS.iter().any(|it| it.0 == name),
                "{name}"
            );
        }
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/manual");
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), TOPICS.len());
        for (name, _, text) in TOPICS {
            assert!(text.starts_with("# ") && text.ends_with('\n'), "{name}");
            assert!(
                text.lines().all(|line| line.chars().count() <= 80),
                "{name}"
            );
        }
    }
}
