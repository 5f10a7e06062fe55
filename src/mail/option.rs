//! What the owner may set for one account.

use super::capability::Off;
use std::fmt::Write;

/// How an account is served where the owner may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountOptions {
    /// By [`Protocol`]: closed to this account.
    off: [bool; 3],
    /// What of the protocols it goes without.
    pub without: Off,
    pub pop3_delete: Deletion,
    /// In place of the server's own.
    pub pop3_order: Option<Order>,
    /// In what the server writes to it; in place of the server's own.
    pub language: Option<Language>,
    /// Bytes that it may hold, in place of the server's own; 0 for no limit.
    pub quota: Option<u64>,
    /// Messages that it may hold, in place of the server's own; 0 for no limit.
    pub max_messages: Option<u32>,
    /// Seconds, in place of the server's own; 0 is none.
    pub pop3_login_delay: Option<u32>,
    /// Whether submitted mail is filed in Sent.
    pub sent_copy: bool,
    /// In place of the server's own limit; 0 is none.
    pub messages_per_hour: Option<u32>,
    pub recipients_per_day: Option<u32>,
    pub new_recipients_per_day: Option<u32>,
}

/// What an account may log in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Imap,
    Pop3,
    Submission,
}

impl Protocol {
    pub const ALL: [Protocol; 3] = [Protocol::Imap, Protocol::Pop3, Protocol::Submission];

    /// As the option is called that switches it, and the settings' table.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
            Protocol::Submission => "submission",
        }
    }
}

/// What people are written to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Russian,
}

impl Language {
    /// Of ISO 639-1; English for another.
    pub fn of(code: &str) -> Language {
        let found = LANGUAGES.iter().find(|(_, it)| *it == code);
        found.map_or(Language::English, |(it, _)| *it)
    }

    /// Of two texts, its own.
    pub fn choose<T>(self, english: T, russian: T) -> T {
        match self {
            Language::English => english,
            Language::Russian => russian,
        }
    }
}

const LANGUAGES: [(Language, &str); 2] = [(Language::English, "en"), (Language::Russian, "ru")];

/// What POP3's DELE comes to at QUIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletion {
    /// The message goes for good (RFC 1939, 6).
    #[default]
    Expunge,
    /// The message stays in INBOX, where every other program still finds it.
    Keep,
    /// The message moves to the mailbox with \Trash.
    Trash,
}

/// In which order POP3 numbers the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest is number 1.
    #[default]
    Ascending,
    /// The newest is number 1.
    Descending,
}

const DELETIONS: [(Deletion, &str); 3] = [
    (Deletion::Expunge, "expunge"),
    (Deletion::Keep, "keep"),
    (Deletion::Trash, "trash"),
];
/// The names of the orders.
pub const ORDERS: [(Order, &str); 2] = [
    (Order::Ascending, "ascending"),
    (Order::Descending, "descending"),
];

/// Longest delay, seconds: a day.
const MAX_DELAY: u32 = 24 * 3600;
/// A limit that is not the account's own.
const SERVERS: &str = "default";
const SWITCH: [(bool, &str); 2] = [(false, "off"), (true, "on")];

impl AccountOptions {
    /// Sets one by name. The error is a sentence for the owner.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some(protocol) = Protocol::ALL.into_iter().find(|it| it.name() == name) {
            let off = self.off.get_mut(protocol as usize);
            let value = !find(&SWITCH, name, value)?;
            off.into_iter().for_each(|it| *it = value);
            return Ok(());
        }
        if name.contains('.') {
            let off = !find(&SWITCH, name, value)?;
            return self.without.set(name, off);
        }
        match name {
            "pop3-delete" => self.pop3_delete = find(&DELETIONS, name, value)?,
            "pop3-order" if value == SERVERS => self.pop3_order = None,
            "pop3-order" => self.pop3_order = Some(find(&ORDERS, name, value)?),
            "language" if value == SERVERS => self.language = None,
            "language" => self.language = Some(find(&LANGUAGES, name, value)?),
            "quota" => self.quota = size(name, value)?,
            "max-messages" => self.max_messages = limit(name, value)?,
            "pop3-login-delay" => self.pop3_login_delay = delay(name, value)?,
            "sent-copy" => self.sent_copy = find(&SWITCH, name, value)?,
            "max-messages-per-hour" => self.messages_per_hour = limit(name, value)?,
            "max-recipients-per-day" => self.recipients_per_day = limit(name, value)?,
            "max-new-recipients-per-day" => self.new_recipients_per_day = limit(name, value)?,
            _ => {
                let names: Vec<&str> = self.rows().iter().map(|(name, _)| *name).collect();
                let names = names.join(", ");
                return Err(format!(
                    "there is no option {name}; there are {names}, and capabilities such as imap.IDLE"
                ));
            }
        }
        Ok(())
    }

    /// Whether it may log in to that.
    pub fn may_use(&self, protocol: Protocol) -> bool {
        self.off.get(protocol as usize) != Some(&true)
    }

    /// Each option with its value; of capabilities those that are off.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let shown = |limit: Option<u32>| limit.map_or(SERVERS.into(), |it| it.to_string());
        let switches = Protocol::ALL.map(|it| (it.name(), name(&SWITCH, self.may_use(it))));
        let order = self.pop3_order.map(|it| name(&ORDERS, it));
        let language = self.language.map(|it| name(&LANGUAGES, it));
        let mut rows = switches.to_vec();
        rows.extend([
            ("language", language.unwrap_or_else(|| SERVERS.into())),
            ("quota", self.quota.map_or(SERVERS.into(), shown_size)),
            ("max-messages", shown(self.max_messages)),
            ("pop3-delete", name(&DELETIONS, self.pop3_delete)),
            ("pop3-order", order.unwrap_or_else(|| SERVERS.into())),
            ("pop3-login-delay", shown(self.pop3_login_delay)),
            ("sent-copy", name(&SWITCH, self.sent_copy)),
            ("max-messages-per-hour", shown(self.messages_per_hour)),
            ("max-recipients-per-day", shown(self.recipients_per_day)),
            (
                "max-new-recipients-per-day",
                shown(self.new_recipients_per_day),
            ),
        ]);
        rows.extend(self.without.names().map(|it| (it, name(&SWITCH, false))));
        rows
    }

    /// `name value`, a line each.
    pub fn encode(&self) -> String {
        self.rows()
            .iter()
            .fold(String::new(), |mut text, (name, value)| {
                let _ = writeln!(text, "{name} {value}");
                text
            })
    }

    /// Reads what [`AccountOptions::encode`] wrote; passes over what it does not know.
    pub fn decode(text: &str) -> AccountOptions {
        let mut options = AccountOptions::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            let _ = options.set(name, value);
        }
        options
    }
}

fn find<T: Copy>(values: &[(T, &str)], option: &str, value: &str) -> Result<T, String> {
    let found = values.iter().find(|(_, name)| *name == value);
    found.map(|(it, _)| *it).ok_or_else(|| {
        let names: Vec<&str> = values.iter().map(|(_, name)| *name).collect();
        format!("{option} is {}", names.join(" or "))
    })
}

fn limit(option: &str, value: &str) -> Result<Option<u32>, String> {
    match value.parse() {
        Ok(limit) => Ok(Some(limit)),
        Err(_) if value == SERVERS => Ok(None),
        Err(_) => Err(format!(
            "{option} is a number, 0 for no limit, or {SERVERS}: as the server has it"
        )),
    }
}

const UNITS: [(u64, &str); 4] = [
    (1 << 30, "GiB"),
    (1 << 20, "MiB"),
    (1 << 10, "KiB"),
    (1, "B"),
];

/// A number with B, KiB, MiB or GiB; 0 needs none.
fn size(option: &str, value: &str) -> Result<Option<u64>, String> {
    let read = |(factor, unit): &(u64, &str)| {
        let number: u64 = value.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*factor)
    };
    match value {
        SERVERS => Ok(None),
        "0" => Ok(Some(0)),
        _ => match UNITS.iter().find_map(read) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(format!(
                "{option} is a size such as 500MiB or 2GiB, 0 for no limit, or {SERVERS}: as the server has it"
            )),
        },
    }
}

fn shown_size(bytes: u64) -> String {
    let fits = |(factor, _): &&(u64, &str)| bytes > 0 && bytes.is_multiple_of(*factor);
    match UNITS.iter().find(fits) {
        Some((factor, unit)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

fn delay(option: &str, value: &str) -> Result<Option<u32>, String> {
    match limit(option, value) {
        Ok(delay) if delay.unwrap_or(0) <= MAX_DELAY => Ok(delay),
        _ => Err(format!(
            "{option} is 0 to {MAX_DELAY} seconds, or {SERVERS}: as the server has it"
        )),
    }
}

fn name<T: PartialEq>(values: &[(T, &str)], value: T) -> String {
    let found = values.iter().find(|(it, _)| *it == value);
    found.map_or("", |(_, name)| name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_they_were_written() {
        let mut options = AccountOptions::default();
        assert_eq!(AccountOptions::decode(&options.encode()), options);
        for (name, value) in [
            ("pop3-delete", "trash"),
            ("pop3-order", "descending"),
            ("pop3", "off"),
            ("pop3-login-delay", "86400"),
            ("sent-copy", "on"),
            ("max-messages-per-hour", "0"),
            ("imap.idle", "off"),
            ("imap.MOVE", "off"),
            ("imap.move", "on"),
            ("submission.Chunking", "off"),
            ("language", "ru"),
            ("quota", "1536MiB"),
            ("max-messages", "1000"),
            ("max-new-recipients-per-day", "7"),
        ] {
            options.set(name, value).unwrap();
        }
        assert_eq!(options.pop3_delete, Deletion::Trash);
        let without: Vec<&str> = options.without.names().collect();
        assert_eq!(without, ["imap.IDLE", "submission.CHUNKING"]);
        assert_eq!(options.messages_per_hour, Some(0));
        assert_eq!(options.recipients_per_day, None);
        assert_eq!(options.language, Some(Language::Russian));
        assert_eq!(options.quota, Some(1536 << 20));
        assert_eq!(options.max_messages, Some(1000));
        options.quota = Some(2074);
        assert_eq!(AccountOptions::decode(&options.encode()), options);
        assert_eq!(options.pop3_order, Some(Order::Descending));
        let open = Protocol::ALL.map(|it| options.may_use(it));
        assert_eq!(open, [true, false, true]);
        assert_eq!(AccountOptions::decode(&options.encode()), options);
        let newer = format!("{}colour blue\nx\n", options.encode());
        assert_eq!(AccountOptions::decode(&newer), options);
    }

    #[test]
    fn refusals_name_what_there_is() {
        let mut options = AccountOptions::default();
        let refusal = options.set("pop3-delete", "burn");
        assert_eq!(
            refusal,
            Err("pop3-delete is expunge or keep or trash".into())
        );
        assert!(options.set("colour", "blue").is_err());
        assert!(options.set("imap.IDLE", "maybe").is_err());
        assert!(options.set("imap.LOGIN", "off").is_err());
        for wrong in ["2", "GiB", "2TiB", "-1KiB", "17179869184GiB"] {
            assert!(options.set("quota", wrong).is_err(), "{wrong}");
        }
        assert!(options.set("max-messages-per-hour", "-1").is_err());
        assert!(options.set("pop3-login-delay", "86401").is_err());
        assert_eq!(options, AccountOptions::default());
    }
}
