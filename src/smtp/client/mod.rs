//! The sending side of SMTP (RFC 5321), pure: [`session`] takes a server's bytes and gives
//! ours. [`reply`] reads what it says, [`capabilities`] what it can, [`transaction`] says who
//! gets what and whether that server can take it, [`text`] sees to the message's bytes and
//! [`convert`] makes seven bits of eight.

pub mod capabilities;
pub mod convert;
pub mod reply;
pub mod session;
pub mod text;
pub mod transaction;

use std::time::Duration;

/// How long a server may take for each thing (RFC 5321, 4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Greeting,
    /// EHLO, STARTTLS, AUTH and their like.
    Hello,
    Mail,
    Rcpt,
    /// The reply to DATA.
    DataStart,
    /// Between two chunks of the message.
    DataBlock,
    /// After the final dot: it now delivers.
    DataEnd,
    /// RSET and QUIT: nothing hangs on them.
    Goodbye,
}

impl Wait {
    pub const fn limit(self) -> Duration {
        const MINUTE: u64 = 60;
        Duration::from_secs(match self {
            Wait::Greeting | Wait::Hello | Wait::Mail | Wait::Rcpt => 5 * MINUTE,
            Wait::DataStart => 2 * MINUTE,
            Wait::DataBlock => 3 * MINUTE,
            Wait::DataEnd => 10 * MINUTE,
            Wait::Goodbye => 10,
        })
    }
}
