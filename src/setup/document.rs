//! Answers as a TOML file: what the wizard keeps until its end, what an owner writes to be
//! asked nothing, and what the store remembers of a setup.

use super::answers::{Answers, Facts};
use super::question::{Kind, QUESTIONS, Question, find};
use super::sealed;
use super::text::Language;
use super::wizard::{may_keep, read as read_answer};
use std::collections::BTreeMap;
use std::fmt::Write;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_writer::{TomlStringBuilder, TomlWrite};

/// Longest file that is read, bytes.
pub const MAX_LENGTH: usize = 64 << 10;

/// `secrets`: with the passwords, those for here sealed.
pub fn write(answers: &Answers, secrets: bool) -> String {
    let mut text = String::from("# Answers to pillarbox setup.\n");
    let mut table = "";
    // Keys without a table come before all tables.
    let (tables, keys): (Vec<&Question>, Vec<&Question>) =
        QUESTIONS.iter().partition(|it| it.name.contains('.'));
    for question in keys.into_iter().chain(tables) {
        let Some(value) = answers.get(question.name) else {
            continue;
        };
        if question.is_secret() && !secrets {
            continue;
        }
        let (section, key) = question.name.split_once('.').unwrap_or(("", question.name));
        if section != table {
            table = section;
            let _ = write!(text, "\n[{table}]\n");
        }
        let _ = write!(text, "{key} = ");
        // Writing to a String does not fail.
        let _ = text.value(TomlStringBuilder::new(value).as_default());
        text.push('\n');
    }
    text
}

/// What the wizard kept, or the store remembers; what is no answer any more is passed over.
pub fn resume(text: &str) -> Answers {
    let mut answers = Answers::default();
    let Ok(given) = parse(text) else {
        return answers;
    };
    for question in QUESTIONS {
        if let Some((_, value)) = given.get(question.name) {
            answers.put(question.name, value.clone());
        }
    }
    answers
}

/// A whole answer file. The error says the line and the reason, and nothing of it counts.
/// Passwords come as they were written: [`unsealed`] says which are to be sealed.
pub fn read(text: &str, facts: &Facts) -> Result<Answers, String> {
    let mut given = parse(text)?;
    let mut answers = Answers::default();
    for question in QUESTIONS {
        let found = given.remove(question.name);
        if !(question.applies)(&answers, facts) {
            let machines = |name: &str| {
                name == "time-zone" || name.starts_with("network.") || name.starts_with("ssh.")
            };
            match found {
                // One file for the appliance and for other machines.
                Some(_) if machines(question.name) && !facts.appliance => {}
                Some((line, _)) => {
                    let name = question.name;
                    return Err(format!(
                        "line {line}: {name} is not asked, by what stands before it"
                    ));
                }
                None => {}
            }
            continue;
        }
        let value = match found {
            Some((line, value)) => checked(question, &value, &answers)
                .map_err(|reason| format!("line {line}: {}: {reason}", question.name))?,
            None if may_keep(question, &answers, facts) => String::new(),
            None => (question.default)(&answers, facts).ok_or_else(|| {
                let title = question.title.of(Language::English);
                format!("{} is missing ({title})", question.name)
            })?,
        };
        answers.put(question.name, value);
    }
    Ok(answers)
}

/// The passwords for here that stand in clear.
pub fn unsealed(answers: &Answers) -> Vec<&'static str> {
    let ours = QUESTIONS
        .iter()
        .filter(|it| matches!(it.kind, Kind::NewPassword));
    ours.map(|it| it.name)
        .filter(|name| {
            let value = answers.get(name).unwrap_or_default();
            !value.is_empty() && sealed::read(value).is_none()
        })
        .collect()
}

fn checked(question: &Question, value: &str, answers: &Answers) -> Result<String, String> {
    if matches!(question.kind, Kind::NewPassword) && sealed::read(value).is_some() {
        return Ok(value.into());
    }
    read_answer(question, value, answers).map_err(|refusal| match question.kind {
        Kind::Choice(words, _) if words.iter().all(|(word, _)| *word != value) => {
            let words: Vec<&str> = words.iter().map(|it| it.0).collect();
            format!("it is one of {}", words.join(", "))
        }
        _ => refusal.of(Language::English).to_string(),
    })
}

type Given = BTreeMap<&'static str, (usize, String)>;

/// Names with line and value.
fn parse(text: &str) -> Result<Given, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("the file is longer than {MAX_LENGTH} bytes"));
    }
    let line = |at: usize| {
        let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
        memchr::memchr_iter(b'\n', before).count() + 1
    };
    let root = DeTable::parse(text).map_err(|error| {
        let line = line(error.span().map_or(0, |it| it.start));
        format!("line {line}: {}", error.message())
    })?;
    let mut given = Given::new();
    let mut put = |name: &str, at: usize, value: &Spanned<DeValue<'_>>| {
        let line = line(at);
        let known = find(name).ok_or_else(|| format!("line {line}: {name} is no question"))?;
        let value = plain(value)
            .ok_or_else(|| format!("line {line}: {name} is a text, a number or a list of texts"))?;
        given.insert(known.name, (line, value));
        Ok::<(), String>(())
    };
    for (key, value) in root.get_ref() {
        let at = key.span().start;
        match value.get_ref() {
            DeValue::Table(values) => {
                for (inner, value) in values {
                    let name = format!("{}.{}", key.get_ref(), inner.get_ref());
                    put(&name, inner.span().start, value)?;
                }
            }
            _ => put(key.get_ref(), at, value)?,
        }
    }
    Ok(given)
}

fn plain(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
        DeValue::Array(values) => {
            let words: Option<Vec<String>> = values.iter().map(plain).collect();
            words.map(|it| it.join(" "))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "language = \"ru\"\nhostname = \"mail.example.org\"\n\
        services = [\"smtp\", \"imap\"]\n\n[administrator]\npassword = \"hard to guess\"\n\
        [account]\naddress = \"anna\"\npassword = \"correct horse\"\n\
        [relay]\nmode = \"smarthost\"\nhost = \"smtp.example.net\"\nport = 465\n\
        user = \"u\"\npassword = \"\\\"sesame\\\"\"\n";

    #[test]
    fn a_file_is_read_and_what_it_leaves_out_is_at_its_default() {
        let answers = read(WHOLE, &Facts::default()).unwrap();
        let all: Vec<(&str, &str)> = answers.all().collect();
        let expected = [
            ("account.address", "anna@example.org"),
            ("account.password", "correct horse"),
            ("administrator.password", "hard to guess"),
            ("domain", "example.org"),
            ("hostname", "mail.example.org"),
            ("language", "ru"),
            ("relay.host", "smtp.example.net"),
            ("relay.mode", "smarthost"),
            ("relay.password", "\"sesame\""),
            ("relay.port", "465"),
            ("relay.tls", "implicit"),
            ("relay.user", "u"),
            ("services", "imap smtp"),
            ("tls.source", "local"),
        ];
        assert_eq!(all, expected);
        assert_eq!(
            unsealed(&answers),
            ["administrator.password", "account.password"]
        );
        // What is written is read as the same.
        let again = read(&write(&answers, true), &Facts::default()).unwrap();
        assert_eq!(again.all().collect::<Vec<_>>(), expected);
        let resumed = resume(&write(&answers, true));
        assert_eq!(resumed.all().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_secret_is_in_what_the_store_remembers() {
        let text = write(&read(WHOLE, &Facts::default()).unwrap(), false);
        for secret in ["sesame", "hard", "horse"] {
            assert!(!text.contains(secret), "{text}");
        }
        let debug = format!("{:?}", read(WHOLE, &Facts::default()).unwrap());
        assert!(
            !debug.contains("sesame") && !debug.contains("smtp.example.net"),
            "{debug}"
        );
    }

    #[test]
    fn a_bad_file_is_refused_with_line_and_reason() {
        let cases = [
            (
                "language = \"ru\"",
                "language = \"xx\"",
                "line 1: language: it is one of en, ru",
            ),
            (
                "hostname = ",
                "hostnam = ",
                "line 2: hostnam is no question",
            ),
            (
                "\"mail.example.org\"",
                "\"mail\"",
                "line 2: hostname: A host name",
            ),
            ("\"mail.example.org\"", "\"mail", "line 2: "),
            ("\"mail.example.org\"", "1.5", "line 2: hostname is a text"),
            (
                "\"correct horse\"",
                "\"short\"",
                "line 9: account.password: A password needs",
            ),
            (
                "\"anna\"",
                "\"anna@other.org\"",
                "line 8: account.address: The first",
            ),
            (
                "\"smarthost\"",
                "\"direct\"",
                "line 12: relay.host is not asked",
            ),
            ("address = \"anna\"\n", "", "account.address is missing"),
            ("port = 465", "port = 70000", "line 13: relay.port: A port"),
        ];
        for (good, bad, told) in cases {
            let text = WHOLE.replace(good, bad);
            assert_ne!(text, WHOLE, "{good}");
            let error = read(&text, &Facts::default()).unwrap_err();
            assert!(error.starts_with(told), "{told}: {error}");
            assert!(!error.contains("sesame"));
        }
        let long = "#".repeat(MAX_LENGTH + 1);
        assert!(read(&long, &Facts::default()).is_err());
    }

    #[test]
    fn the_machines_own_are_passed_over_elsewhere() {
        let text = format!("time-zone = \"Asia/Tokyo\"\n{WHOLE}[network]\nmode = \"dhcp\"\n");
        let elsewhere = read(&text, &Facts::default()).unwrap();
        assert_eq!(elsewhere.get("time-zone"), None);
        let facts = Facts {
            appliance: true,
            ..Facts::default()
        };
        let here = read(&text, &facts).unwrap();
        assert_eq!(
            (here.get("time-zone"), here.get("network.mode")),
            (Some("Asia/Tokyo"), Some("dhcp"))
        );
    }

    #[test]
    fn what_is_damaged_is_nothing() {
        assert!(resume("\u{0}\u{1}").is_empty());
        assert!(resume("language = ").is_empty());
        assert_eq!(resume("language = \"ru\"\nhostname = \"x\"\n").len(), 2);
    }
}
