//! `pillarbox help`: the manual, which is in the binary.

use super::Error;
use super::page::page;
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
    "appliance": "a box: first boot, SSH, factory reset, moving, reading it on a PC";
    "check": "whether all that is stored is as it should be, and repairs";
    "update": "a new version on an appliance, and the way back";
    "security": "what protects the mail, and what is up to you";
    "settings": "every setting, and how to change one";
    "boards": "images for small computers, and how to flash one";
    "board-rpi3": "Raspberry Pi 3: what to buy, serial line, lights";
    "board-rpi4": "Raspberry Pi 4: what to buy, serial line, lights";
    "board-orangepi": "Orange Pi Zero: what to buy, serial line, lights";
    "board-virt": "an image tried in QEMU";
    "limits": "every limit, and what is not there yet";
};

/// What follows `pillarbox help`, if that is what the command line says: argh keeps the word
/// help to itself.
pub fn asked_for(words: &[String]) -> Option<&[String]> {
    match words {
        [_, help, rest @ ..] if help == "help" => Some(rest),
        _ => None,
    }
}

/// Prints a topic, or what there is; with `--man` as a man page.
pub fn show(words: &[String]) -> Result<(), Error> {
    let man = words.iter().any(|it| it == "--man");
    let name = words.iter().find(|it| *it != "--man").map(String::as_str);
    let found = match (man, name) {
        (true, name) => page(name),
        (false, None) => Some(overview()),
        (false, Some(name)) => topic_text(name),
    };
    let Some(text) = found else {
        let names: Vec<&str> = TOPICS.iter().map(|topic| topic.0).collect();
        let (name, names) = (name.unwrap_or_default(), names.join(", "));
        return Err(format!("the manual has no topic {name}; it has {names}").into());
    };
    say!("{}", text.trim_end());
    Ok(())
}

/// A topic's text.
pub fn topic_text(name: &str) -> Option<String> {
    let (_, _, text) = TOPICS.iter().find(|topic| topic.0 == name)?;
    Some(match name {
        "settings" => format!("{text}\n{}", all_settings()),
        _ => text.to_string(),
    })
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
         The manual: pillarbox help TOPIC (pillarbox help --man TOPIC: a man page)\n\n",
    );
    for (name, about, _) in TOPICS {
        text.push_str(&format!("  {name:<10} {about}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::usage::{Usage, walk};

    fn manual() -> String {
        TOPICS.iter().map(|topic| topic.2).collect()
    }

    /// Lines that are to be typed: those of the manual and of the README that begin so.
    fn typed() -> Vec<String> {
        let text = manual() + include_str!("../../README.md");
        let mut found = Vec::new();
        for line in text.lines().filter(|line| line.starts_with("    ")) {
            // What it prints begins so too, but names no command.
            let line = line.trim().trim_start_matches("sudo ");
            if let Some(rest) = line.strip_prefix("pillarbox ")
                && !rest.starts_with("is ")
            {
                // Behind two spaces is what it does.
                found.push(rest.split("  ").next().unwrap().to_string());
            }
        }
        found
    }

    #[test]
    fn every_command_and_option_is_in_the_manual() {
        let manual = manual();
        let mut missing = Vec::new();
        walk(&mut |words, usage| {
            let name = format!("pillarbox {}", words.join(" "));
            if !words.is_empty() && !manual.contains(&name) {
                missing.push(name.clone());
            }
            for (option, _) in &usage.options {
                if !manual.contains(option.as_str()) {
                    missing.push(format!("{name} {option}"));
                }
            }
        });
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn what_the_manual_has_people_type_exists() {
        let typed = typed();
        assert!(typed.len() > 50, "{}", typed.len());
        let mut wrong = Vec::new();
        for line in typed {
            // Of alternatives, the first.
            let words: Vec<&str> = line
                .split_whitespace()
                .map(|it| it.split('|').next().unwrap())
                .collect();
            if words.first() == Some(&"help") {
                continue;
            }
            let mut command = Vec::new();
            let mut usage = Usage::of(&[]).unwrap();
            for word in &words {
                if usage.commands.iter().any(|it| it.0 == *word) {
                    command.push(*word);
                    usage = Usage::of(&command).unwrap();
                }
            }
            let first = words.first();
            let begins = first.is_some_and(|it| it.starts_with('-') || command.first() == Some(it));
            // Words that are no command, where one must be.
            let whole = usage.commands.is_empty() || words.len() == command.len();
            let mut right = begins && (whole || command.is_empty());
            for option in words
                .iter()
                .filter(|it| it.starts_with("--") && it.len() > 2)
            {
                let end = |c: char| !c.is_ascii_alphanumeric() && c != '-';
                let option = option.split(end).next().unwrap();
                // Before the verb, it is the noun's.
                let levels = (0..=command.len()).filter_map(|n| Usage::of(&command[..n]));
                right &= levels.flat_map(|it| it.options).any(|it| it.0 == option);
            }
            if !right {
                wrong.push(line);
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
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
