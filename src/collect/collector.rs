//! What the owner says of mail that is fetched from a provider's mailbox.

use crate::mail::{AccountId, MailboxName};
use crate::secret::Secret;
use std::fmt;
use std::net::IpAddr;

/// Longest host, login name, password, folder or path, bytes.
pub const MAX_WORD: usize = 255;
/// How often a provider may be asked, seconds; and how often it is unless told.
pub const MIN_EVERY: u32 = 10;
pub const MAX_EVERY: u32 = 24 * 3600;
pub const EVERY: u32 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Imap,
    Pop3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Implicit,
    StartTls,
    /// No TLS: to this machine alone.
    None,
}

/// What becomes of a message at the provider once it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    Keep,
    Delete,
    /// To this folder there, by IMAP.
    Move(String),
}

/// One mailbox of a provider, and the account that gets its mail.
#[derive(Clone, Debug)]
pub struct Collector {
    pub account: AccountId,
    pub protocol: Protocol,
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// Path of a PEM file with the authority to trust instead of the system's.
    pub ca: Option<String>,
    pub user: String,
    pub password: Secret<String>,
    /// The mailbox there; POP3 has INBOX alone.
    pub folder: String,
    /// The mailbox here; made if missing.
    pub into: MailboxName,
    pub after: After,
    /// Seconds between looks; IDLE is told sooner.
    pub every: u32,
    pub paused: bool,
    /// How often the owner has asked for a look at once.
    pub asked: u64,
}

impl Collector {
    /// Why it can't be, in a sentence for the owner.
    pub fn check(&self) -> Result<(), String> {
        let words = [
            ("the host", self.host.as_str()),
            ("the user", &self.user),
            ("the password", self.password.reveal()),
            ("the folder", &self.folder),
            ("the path of the CA file", self.ca.as_deref().unwrap_or("-")),
            ("the folder to move to", self.after.folder().unwrap_or("-")),
        ];
        for (what, word) in words {
            if word.is_empty() || word.len() > MAX_WORD {
                return Err(format!("{what} must have 1 to {MAX_WORD} bytes"));
            }
            if word.chars().any(char::is_control) {
                return Err(format!("{what} can't have control characters"));
            }
        }
        if self.port == 0 {
            return Err("a port is a number from 1 to 65535".into());
        }
        if !(MIN_EVERY..=MAX_EVERY).contains(&self.every) {
            return Err(format!("every takes {MIN_EVERY} to {MAX_EVERY} seconds"));
        }
        if self.security == Security::None && !is_loopback(&self.host) {
            return Err(format!(
                "{} is another machine: without TLS its password and mail would be open to all on the way",
                self.host
            ));
        }
        if self.protocol == Protocol::Pop3 {
            if let After::Move(_) = self.after {
                return Err("POP3 has no folders to move to; keep or delete, or use imap".into());
            }
            if self.folder != "INBOX" {
                return Err("POP3 has no folders but INBOX; use imap".into());
            }
        }
        if self.after.folder() == Some(self.folder.as_str()) {
            return Err("the folder to move to is the one that mail is fetched from".into());
        }
        Ok(())
    }

    /// `user@host by imap`, for people.
    pub fn source(&self) -> String {
        format!("{} on {} by {}", self.user, self.host, self.protocol)
    }
}

/// `localhost` or an address of this machine alone.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Protocol {
    pub fn parse(text: &str) -> Result<Protocol, String> {
        match text {
            "imap" => Ok(Protocol::Imap),
            "pop3" => Ok(Protocol::Pop3),
            _ => Err(format!("{text} is no protocol to fetch by: imap or pop3")),
        }
    }

    /// The well-known port.
    pub fn port(self, security: Security) -> u16 {
        match (self, security) {
            (Protocol::Imap, Security::Implicit) => 993,
            (Protocol::Imap, _) => 143,
            (Protocol::Pop3, Security::Implicit) => 995,
            (Protocol::Pop3, _) => 110,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
        })
    }
}

impl Security {
    pub fn parse(text: &str) -> Result<Security, String> {
        match text {
            "implicit" => Ok(Security::Implicit),
            "starttls" => Ok(Security::StartTls),
            "none" => Ok(Security::None),
            _ => Err(format!("tls is implicit, starttls or none, not {text}")),
        }
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Security::Implicit => "implicit",
            Security::StartTls => "starttls",
            Security::None => "none",
        })
    }
}

impl After {
    pub fn parse(text: &str) -> Result<After, String> {
        match text.split_once(':') {
            None if text == "keep" => Ok(After::Keep),
            None if text == "delete" => Ok(After::Delete),
            Some(("move", folder)) => Ok(After::Move(folder.to_owned())),
            _ => Err(format!("after is keep, delete or move:FOLDER, not {text}")),
        }
    }

    fn folder(&self) -> Option<&str> {
        match self {
            After::Move(folder) => Some(folder),
            _ => None,
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            After::Keep => f.write_str("keep"),
            After::Delete => f.write_str("delete"),
            After::Move(folder) => write!(f, "move:{folder}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector() -> Collector {
        Collector {
            account: AccountId(1),
            protocol: Protocol::Imap,
            host: "imap.example.net".into(),
            port: 993,
            security: Security::Implicit,
            ca: None,
            user: "anna".into(),
            password: Secret::new("hush hush".into()),
            folder: "INBOX".into(),
            into: MailboxName::inbox(),
            after: After::Delete,
            every: EVERY,
            paused: false,
            asked: 0,
        }
    }

    #[test]
    fn what_can_not_be_is_refused() {
        assert_eq!(collector().check(), Ok(()));
        let refused = |change: &dyn Fn(&mut Collector)| {
            let mut changed = collector();
            change(&mut changed);
            changed.check().is_err()
        };
        assert!(refused(&|it| it.user.clear()));
        assert!(refused(&|it| it.password = Secret::new("a\r\nb".into())));
        assert!(refused(&|it| it.port = 0));
        assert!(refused(&|it| it.every = MIN_EVERY - 1));
        assert!(refused(&|it| it.security = Security::None));
        assert!(refused(&|it| it.after = After::Move("INBOX".into())));
        assert!(refused(&|it| it.after = After::Move(String::new())));
        assert!(refused(&|it| {
            it.protocol = Protocol::Pop3;
            it.after = After::Move("Done".into());
        }));
        let mut local = collector();
        local.security = Security::None;
        for host in ["localhost", "127.0.0.7", "::1"] {
            local.host = host.into();
            assert_eq!(local.check(), Ok(()), "{host}");
        }
        assert!(!format!("{local:?}").contains("hush"));
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for text in ["keep", "delete", "move:Done/2026"] {
            assert_eq!(After::parse(text).map(|it| it.to_string()), Ok(text.into()));
        }
        for text in ["implicit", "starttls", "none"] {
            let read = Security::parse(text).map(|it| it.to_string());
            assert_eq!(read, Ok(text.into()));
        }
        for text in ["imap", "pop3"] {
            let read = Protocol::parse(text).map(|it| it.to_string());
            assert_eq!(read, Ok(text.into()));
        }
        assert!(After::parse("move").is_err() && After::parse("").is_err());
    }
}
