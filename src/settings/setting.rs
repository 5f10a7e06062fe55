//! One setting: its name, what it may be, and where it stands in [`Settings`].

use super::connections::{Endpoint, endpoints};
use super::value::{show_size, show_switch, show_time, size, switch, time};
use super::{LoginType, Settings};
use crate::address::Address;
use crate::mail::addressing::{MAX_NETWORKS, Network};
use crate::mail::option::{ORDERS, Order};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Something that the owner may set.
pub struct Setting {
    /// `service.what`, as TOML has it: a table and a key.
    pub name: &'static str,
    pub field: Field,
    /// In a line.
    pub meaning: &'static str,
    /// Which protocol's words it stands for; empty where it is ours alone.
    pub source: &'static str,
}

/// Where a setting stands, with the least and the most that it may be.
#[derive(Clone, Copy)]
pub enum Field {
    Switch(fn(&mut Settings) -> &mut bool),
    Number(fn(&mut Settings) -> &mut u32, u32, u32),
    Count(fn(&mut Settings) -> &mut usize, usize, usize),
    Port(fn(&mut Settings) -> &mut u16),
    /// Seconds.
    Time(fn(&mut Settings) -> &mut Duration, u64, u64),
    /// Bytes.
    Size(fn(&mut Settings) -> &mut u64, u64, u64),
    /// A domain name; empty where the machine's own is meant.
    Host(fn(&mut Settings) -> &mut String),
    /// Domain names with spaces between.
    Hosts(fn(&mut Settings) -> &mut Vec<String>),
    /// One of these words.
    Choice(
        fn(&mut Settings) -> &mut &'static str,
        &'static [&'static str],
    ),
    /// Any text; empty for none.
    Text(fn(&mut Settings) -> &mut String),
    /// IP addresses with spaces between, one at least.
    Addresses(fn(&mut Settings) -> &mut Vec<IpAddr>),
    /// An absolute path; empty for none.
    Path(fn(&mut Settings) -> &mut Option<PathBuf>),
    /// Up to three name servers, ADDRESS or ADDRESS:PORT, with spaces between.
    Servers(fn(&mut Settings) -> &mut Vec<SocketAddr>),
    /// Ranges of addresses with spaces between.
    Networks(fn(&mut Settings) -> &mut Vec<Network>),
    /// Mail addresses with spaces between.
    People(fn(&mut Settings) -> &mut Vec<Address>),
    /// A domain name, or empty.
    Name(fn(&mut Settings) -> &mut String),
    /// Words for people, or empty.
    Words(fn(&mut Settings) -> &mut String),
    Login(fn(&mut Settings) -> &mut LoginType),
    Order(fn(&mut Settings) -> &mut Order),
    Endpoints(fn(&mut Settings) -> &mut Vec<Endpoint>),
}

/// Longest value of text, bytes.
const MAX_TEXT: usize = 1024;
/// Longest banner: with code and name it stays within a reply of SMTP (RFC 5321, 4.5.3.1.5).
const MAX_WORDS: usize = 200;
/// Longest domain name, octets (RFC 1035, 2.3.4, without the last dot).
const MAX_HOST: usize = 253;
/// Domain names in one setting.
const MAX_HOSTS: usize = 16;
/// Addresses to listen on.
const MAX_ADDRESSES: usize = 8;
/// Mail addresses of one setting.
const MAX_PEOPLE: usize = 8;
/// Name servers, as resolv.conf has them.
const MAX_SERVERS: usize = 3;

impl Setting {
    /// As [`Setting::set`] reads it.
    pub fn show(&self, settings: &Settings) -> String {
        let mut settings = settings.clone();
        let it = &mut settings;
        match self.field {
            Field::Switch(at) => show_switch(*at(it)).into(),
            Field::Number(at, ..) => at(it).to_string(),
            Field::Count(at, ..) => at(it).to_string(),
            Field::Port(at) => at(it).to_string(),
            Field::Time(at, ..) => show_time(*at(it)),
            Field::Size(at, ..) => show_size(*at(it)),
            Field::Host(at) => at(it).clone(),
            Field::Hosts(at) => words(at(it)),
            Field::Choice(at, _) => at(it).to_string(),
            Field::Text(at) => at(it).clone(),
            Field::Addresses(at) => words(at(it)),
            Field::Path(at) => at(it)
                .as_ref()
                .map_or(String::new(), |path| path.display().to_string()),
            Field::Servers(at) => words(at(it)),
            Field::Networks(at) => words(at(it)),
            Field::People(at) => words(at(it)),
            Field::Name(at) | Field::Words(at) => at(it).clone(),
            Field::Login(at) => name_of(&LoginType::NAMES, *at(it)),
            Field::Order(at) => name_of(&ORDERS, *at(it)),
            Field::Endpoints(at) => words(at(it)),
        }
    }

    /// Sets it in `settings`. The error is a sentence that says what it may be.
    pub fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        self.read(settings, text)
            .map_err(|error| format!("{}: {error}", self.name))
    }

    fn read(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            return Err("that is no value".into());
        }
        match self.field {
            Field::Switch(at) => *at(settings) = switch(text)?,
            Field::Number(at, least, most) => {
                *at(settings) = number(text, least.into(), most.into())?;
            }
            Field::Count(at, least, most) => {
                *at(settings) = number(text, least as u64, most as u64)?;
            }
            Field::Port(at) => *at(settings) = number(text, 0, u16::MAX.into())?,
            Field::Time(at, least, most) => {
                let value = time(text)?;
                within(value.as_secs(), least, most, |it| {
                    show_time(Duration::from_secs(it))
                })?;
                *at(settings) = value;
            }
            Field::Size(at, least, most) => {
                let value = size(text)?;
                within(value, least, most, show_size)?;
                *at(settings) = value;
            }
            Field::Host(at) => *at(settings) = host(text)?,
            Field::Hosts(at) => *at(settings) = list(text, 0, MAX_HOSTS, host)?,
            Field::Choice(at, words) => {
                let found = words.iter().find(|it| **it == text);
                *at(settings) =
                    found.ok_or_else(|| format!("{text} is none of {}", words.join(", ")))?;
            }
            Field::Text(at) => *at(settings) = text.to_string(),
            Field::Addresses(at) => *at(settings) = list(text, 1, MAX_ADDRESSES, address)?,
            Field::Path(at) => {
                let path = (!text.is_empty()).then(|| PathBuf::from(text));
                if path.as_ref().is_some_and(|path| !path.is_absolute()) {
                    return Err(format!("{text} is no path from /"));
                }
                *at(settings) = path;
            }
            Field::Servers(at) => *at(settings) = list(text, 0, MAX_SERVERS, server)?,
            Field::Networks(at) => {
                let network = |text: &str| Network::parse(text).map_err(str::to_owned);
                *at(settings) = list(text, 0, MAX_NETWORKS, network)?;
            }
            Field::People(at) => {
                let person = |text: &str| {
                    Address::parse(text).map_err(|error| format!("{text} is no address: {error}"))
                };
                *at(settings) = list(text, 0, MAX_PEOPLE, person)?;
            }
            Field::Name(at) if text.is_empty() => at(settings).clear(),
            Field::Name(at) => *at(settings) = host(text)?,
            Field::Words(at) => *at(settings) = banner(text)?,
            Field::Login(at) => *at(settings) = named(&LoginType::NAMES, text)?,
            Field::Order(at) => *at(settings) = named(&ORDERS, text)?,
            Field::Endpoints(at) => *at(settings) = endpoints(text)?,
        }
        Ok(())
    }

    /// What it may be, for people.
    pub fn range(&self) -> String {
        match self.field {
            Field::Switch(_) => "on or off".into(),
            Field::Number(_, least, most) => format!("{least} to {most}"),
            Field::Count(_, least, most) => format!("{least} to {most}"),
            Field::Port(_) => "a port, 0 to 65535; 0 closes it".into(),
            Field::Time(_, least, most) => {
                let [least, most] = [least, most].map(|it| show_time(Duration::from_secs(it)));
                format!("{least} to {most}")
            }
            Field::Size(_, least, most) => {
                format!("{} to {}", show_size(least), show_size(most))
            }
            Field::Host(_) => "a domain name".into(),
            Field::Hosts(_) => format!("up to {MAX_HOSTS} domain names, or empty"),
            Field::Choice(_, words) => words.join(", "),
            Field::Text(_) => "a text, or empty".into(),
            Field::Addresses(_) => format!("1 to {MAX_ADDRESSES} IP addresses"),
            Field::Path(_) => "a path, or empty".into(),
            Field::Servers(_) => {
                format!("up to {MAX_SERVERS} of ADDRESS or ADDRESS:PORT, or empty")
            }
            Field::Networks(_) => {
                format!("up to {MAX_NETWORKS} of ADDRESS or ADDRESS/PREFIX, or empty")
            }
            Field::People(_) => format!("up to {MAX_PEOPLE} mail addresses, or empty"),
            Field::Name(_) => "a domain name, or empty".into(),
            Field::Words(_) => format!("up to {MAX_WORDS} characters of ASCII, or empty"),
            Field::Login(_) => names(&LoginType::NAMES),
            Field::Order(_) => names(&ORDERS),
            Field::Endpoints(_) => "PORT:tls, PORT:starttls or HOST:PORT:tls, or empty".into(),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn number<N: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<N, String> {
    let value = text
        .parse()
        .map_err(|_| format!("{text} is no number from {least} to {most}"))?;
    within(value, least, most, |it| it.to_string())?;
    N::try_from(value).map_err(|_| format!("{text} is too much"))
}

fn within(value: u64, least: u64, most: u64, show: impl Fn(u64) -> String) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let [value, least, most] = [value, least, most].map(show);
    Err(format!("{value} is not within {least} to {most}"))
}

/// What a greeting may say: a line of ASCII, and nothing in angle brackets, for that would
/// be APOP's timestamp to a POP3 client (RFC 1939, 7), nor in square ones, IMAP's codes.
fn banner(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_graphic() && !b"<>[]".contains(&b) || b == b' ';
    match text.len() <= MAX_WORDS && text.bytes().all(fits) && text.trim() == text {
        true => Ok(text.into()),
        false => Err(format!(
            "a banner has up to {MAX_WORDS} characters of ASCII, none of them <>[]"
        )),
    }
}

fn named<T: Copy>(values: &[(T, &str)], text: &str) -> Result<T, String> {
    let found = values.iter().find(|(_, name)| *name == text);
    found
        .map(|(it, _)| *it)
        .ok_or_else(|| format!("{text} is not {}", names(values)))
}

fn name_of<T: PartialEq>(values: &[(T, &str)], value: T) -> String {
    let found = values.iter().find(|(it, _)| *it == value);
    found.map_or("", |(_, name)| name).into()
}

fn names<T>(values: &[(T, &str)]) -> String {
    let all: Vec<&str> = values.iter().map(|(_, name)| *name).collect();
    all.join(" or ")
}

/// Labels of letters, digits and hyphens (RFC 1123, 2.1), in lower case.
pub(super) fn host(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match text.len() <= MAX_HOST && text.split('.').all(label) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("{text} is no domain name")),
    }
}

/// Accepts `[::]` too, as it is written with a port.
pub fn address(text: &str) -> Result<IpAddr, String> {
    text.trim_matches(['[', ']'])
        .parse()
        .map_err(|_| format!("{text} is not an IP address"))
}

/// With the port of DNS where none is given.
pub fn server(text: &str) -> Result<SocketAddr, String> {
    const DNS: u16 = 53;
    match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => Ok(SocketAddr::new(address(text)?, DNS)),
    }
}

fn words<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(" ")
}

fn list<T>(
    text: &str,
    least: usize,
    most: usize,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let items: Result<Vec<T>, String> = text.split_whitespace().map(read).collect();
    let items = items?;
    within(items.len() as u64, least as u64, most as u64, |it| {
        it.to_string()
    })?;
    Ok(items)
}
