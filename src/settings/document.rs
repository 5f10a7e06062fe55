//! Settings as a TOML file: every setting with what it means, those at their default as
//! comments.

use super::setting::{Field, Setting};
use super::{SETTINGS, Settings, find};
use std::collections::BTreeMap;
use std::fmt::Write;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_writer::{TomlStringBuilder, TomlWrite};

/// Longest file that is read, bytes.
pub const MAX_LENGTH: usize = 256 << 10;

/// The settings that differ from the defaults, by name, as [`Setting::set`] reads them.
pub type Chosen = BTreeMap<String, String>;

/// `chosen` over the defaults of `settings`. The error is a sentence that names the setting.
pub fn apply(settings: &mut Settings, chosen: &Chosen) -> Result<(), String> {
    for (name, value) in chosen {
        find(name)?.set(settings, value)?;
    }
    settings.check()
}

/// The file for people: what is chosen stands, what is not is a comment.
pub fn write(chosen: &Chosen, defaults: &Settings) -> String {
    let mut text = String::from(
        "# Settings of pillarbox. What begins with # is at its default.\n\
         # Read it in with: pillarbox settings import FILE\n",
    );
    let mut table = "";
    for setting in SETTINGS {
        let (section, key) = setting.name.split_once('.').unwrap_or(("", setting.name));
        if section != table {
            table = section;
            let _ = write!(text, "\n[{table}]\n");
        }
        let _ = writeln!(text, "# {} ({}).", setting.meaning, setting.range());
        match chosen.get(setting.name) {
            Some(value) => {
                let _ = writeln!(text, "{key} = {}", literal(setting, value));
            }
            None => {
                let value = literal(setting, &setting.show(defaults));
                let _ = writeln!(text, "#{key} = {value}");
            }
        }
    }
    text
}

/// What the file chooses. The error says the line and the reason, and nothing of the file
/// counts.
pub fn read(text: &str, defaults: &Settings) -> Result<Chosen, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("the file is longer than {MAX_LENGTH} bytes"));
    }
    let at = |start: usize, reason: &str| format!("line {}: {reason}", line(text, start));
    let root = DeTable::parse(text)
        .map_err(|error| at(error.span().map_or(0, |it| it.start), error.message()))?;
    let mut chosen = Chosen::new();
    let mut settings = defaults.clone();
    for (section, values) in root.get_ref() {
        let start = section.span().start;
        let DeValue::Table(values) = values.get_ref() else {
            return Err(at(
                start,
                &format!("{} stands in no [table]", section.get_ref()),
            ));
        };
        for (key, value) in values {
            let name = format!("{}.{}", section.get_ref(), key.get_ref());
            let start = key.span().start;
            let setting = find(&name).map_err(|reason| at(start, &reason))?;
            let value = plain(value).ok_or_else(|| {
                at(
                    start,
                    &format!("{name} is a text, a number or true or false"),
                )
            })?;
            let set = setting.set(&mut settings, &value);
            set.map_err(|reason| at(start, &reason))?;
            // As we show it, and not at all if it is the default.
            if setting.show(&settings) != setting.show(defaults) {
                chosen.insert(name, setting.show(&settings));
            }
        }
    }
    settings.check()?;
    Ok(chosen)
}

/// As the file has it: numbers and switches bare, the rest in quotes.
fn literal(setting: &Setting, value: &str) -> String {
    match setting.field {
        Field::Switch(_) => (value == "on").to_string(),
        Field::Number(..) | Field::Count(..) | Field::Port(_) => value.to_string(),
        _ => {
            let mut text = String::new();
            // Writing to a String does not fail.
            let _ = text.value(TomlStringBuilder::new(value).as_default());
            text
        }
    }
}

fn plain(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(on) => Some(on.to_string()),
        _ => None,
    }
}

/// Counted from 1.
fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    memchr::memchr_iter(b'\n', before).count() + 1
}
