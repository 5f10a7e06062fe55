//! What is looked at once a question is answered: the world does it, and tells a finding.

use super::phrases;
use super::text::{Language, Text};
use super::words::*;
use std::time::Duration;

/// How long each may take; then it can't be told.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(8);

/// What the answers so far are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether the year can be, and a time server keeps the clock right.
    Clock,
    /// Whether `time-zone` is known here.
    Zone,
    /// Whether DNS has an address for `hostname`.
    Name,
    /// Whether the ports of `services` are free, or this server's.
    Ports,
    /// Whether `tls.certificate` and `tls.key` can be read and belong together.
    Certificate,
    /// Whether port 25 of a server elsewhere can be reached.
    Outwards,
    /// Whether the server of `relay` takes the login.
    Relay,
}

/// What came of it, with what there is to say of it, in no language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Well(String),
    Wrong(String),
    /// It can't be told, and why.
    Unknown(String),
}

impl Check {
    /// Whether an answer that is found wrong can't be kept.
    pub fn must_hold(self) -> bool {
        matches!(self, Check::Zone | Check::Certificate)
    }

    /// Whether others are asked, who may be slow.
    pub fn takes_long(self) -> bool {
        matches!(self, Check::Name | Check::Outwards | Check::Relay)
    }

    /// The question that is asked again where it does not hold.
    pub fn question(self) -> &'static str {
        match self {
            Check::Clock => "language",
            Check::Zone => "time-zone",
            Check::Name => "hostname",
            Check::Ports => "services",
            Check::Certificate => "tls.certificate",
            Check::Outwards => "relay.mode",
            Check::Relay => "relay.host",
        }
    }

    /// The finding in words.
    pub fn say(self, language: Language, finding: &Finding) -> String {
        let texts: [Text; 3] = match self {
            Check::Clock => [CLOCK_WELL, CLOCK_WRONG, CLOCK_UNKNOWN],
            Check::Zone => [ZONE_WELL, ZONE_WRONG, ZONE_UNKNOWN],
            Check::Name => [NAME_WELL, NAME_WRONG, NAME_UNKNOWN],
            Check::Ports => [PORTS_WELL, PORTS_WRONG, PORTS_UNKNOWN],
            Check::Certificate => [CERTIFICATE_WELL, CERTIFICATE_WRONG, CERTIFICATE_UNKNOWN],
            Check::Outwards => [OUTWARDS_WELL, OUTWARDS_WRONG, OUTWARDS_UNKNOWN],
            Check::Relay => [RELAY_WELL, RELAY_WRONG, RELAY_UNKNOWN],
        };
        let [well, wrong, unknown] = texts;
        let (text, detail) = match finding {
            Finding::Well(detail) => (well, detail),
            Finding::Wrong(detail) => (wrong, detail),
            Finding::Unknown(detail) => (unknown, detail),
        };
        text.with(language, &[&phrases::say(detail, language)])
    }
}
