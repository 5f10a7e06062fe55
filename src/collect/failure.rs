//! Why a collector could not do its work, in a sentence for the owner, and how long it
//! waits before it tries again.

use crate::store;
use std::fmt;
use std::io;
use std::time::Duration;

/// After the first failure of the network or the server; each further one doubles it.
pub const FIRST_WAIT: Duration = Duration::from_secs(15);
/// After a refused login: providers lock out who tries too often.
pub const FIRST_WAIT_AFTER_REFUSAL: Duration = Duration::from_secs(5 * 60);
/// At the most.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The network, the provider's server, this store: it may pass.
    Passing,
    /// There is no room here, which its owner can make at any moment: no fault of the provider's.
    Full,
    /// The provider says no to what the owner has set: somebody has to look at it.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: Kind,
    pub text: String,
}

impl Failure {
    pub fn passing(text: impl Into<String>) -> Failure {
        Failure {
            kind: Kind::Passing,
            text: text.into(),
        }
    }

    pub fn full(text: impl Into<String>) -> Failure {
        Failure {
            kind: Kind::Full,
            text: text.into(),
        }
    }

    pub fn refused(text: impl Into<String>) -> Failure {
        Failure {
            kind: Kind::Refused,
            text: text.into(),
        }
    }

    /// The provider said no: `what` it was asked, in the words `the provider won't …`.
    pub fn said_no(what: &str, text: &str) -> Failure {
        Failure::refused(format!("the provider won't {what}: {text}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::passing(match error.kind() {
            io::ErrorKind::TimedOut => "the provider's server does not answer".to_string(),
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => {
                "the provider's server closed the connection".to_string()
            }
            _ => format!("the connection to the provider failed: {error}"),
        })
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        Failure::passing(format!("this server's store: {error}"))
    }
}

/// How long to wait after `count` failures in a row, 1 or more, of a collector that looks that
/// often. `chance` is any number, and spreads the waits by an eighth: all fail at once when the
/// network does.
pub fn wait(kind: Kind, count: u32, every: Duration, chance: u16) -> Duration {
    let first = match kind {
        Kind::Full => return spread(every, chance),
        Kind::Passing => FIRST_WAIT,
        Kind::Refused => FIRST_WAIT_AFTER_REFUSAL,
    };
    let doubled = first.saturating_mul(1 << count.saturating_sub(1).min(16));
    spread(doubled.min(LONGEST_WAIT), chance)
}

/// Up to an eighth more.
pub fn spread(wait: Duration, chance: u16) -> Duration {
    wait + wait / 8 * u32::from(chance) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour() {
        let every = Duration::from_secs(300);
        let wait = |kind, count, chance| wait(kind, count, every, chance);
        assert_eq!(wait(Kind::Passing, 1, 0), FIRST_WAIT);
        assert_eq!(wait(Kind::Passing, 3, 0), FIRST_WAIT * 4);
        assert_eq!(wait(Kind::Passing, 1000, 0), LONGEST_WAIT);
        assert_eq!(wait(Kind::Refused, 1, 0), FIRST_WAIT_AFTER_REFUSAL);
        assert_eq!(wait(Kind::Refused, 20, u16::MAX), LONGEST_WAIT * 9 / 8);
        // However long it was full.
        assert_eq!(wait(Kind::Full, 1000, 0), every);
    }
}
