//! The sending side of SMTP (RFC 5321), pure: [`session`] takes a server's bytes and gives
//! ours. [`reply`] reads what it says, [`capabilities`] what it can, [`transaction`] says who
//! gets what and whether that server can take it, [`text`] sees to the message's bytes and
//! [`convert`] makes seven bits of eight.

pub mod capabilities;
pub mod reply;
pub mod session;
pub mod text;
pub mod transaction;

use std::time::Duration;

/// What a server is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Greeting,
    /// EHLO, STARTTLS, AUTH and their like.
    Hello,
    Mail,
    Rcpt,
    /// The reply to DATA.
    DataStart,
    /// After the final dot: it now delivers.
    DataEnd,
    /// RSET and QUIT: nothing hangs on them.
    Goodbye,
}

/// How long a server may take for each thing, [`TIMEOUTS`] but in tests.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub greeting: Duration,
    pub hello: Duration,
    pub mail: Duration,
    pub rcpt: Duration,
    pub data_start: Duration,
    pub data_end: Duration,
    pub goodbye: Duration,
    /// From the first packet until a message may be sent, whatever came meanwhile: a server
    /// that drips holds a place that other mail waits for.
    pub opening: Duration,
    /// From MAIL to the reply to DATA, for all recipients.
    pub envelope: Duration,
    /// Beside what the message takes at `slowest`.
    pub body: Duration,
    /// Slowest that a server may take a message, bytes a second.
    pub slowest: u64,
    /// After which no further server is begun with: the message waits for its next attempt.
    pub attempt: Duration,
}

const MINUTE: u64 = 60;

/// Those for single replies are RFC 5321's (4.5.3.2); its time for a block of the message is
/// with whoever writes to the socket.
pub const TIMEOUTS: Timeouts = Timeouts {
    greeting: Duration::from_secs(5 * MINUTE),
    hello: Duration::from_secs(5 * MINUTE),
    mail: Duration::from_secs(5 * MINUTE),
    rcpt: Duration::from_secs(5 * MINUTE),
    data_start: Duration::from_secs(2 * MINUTE),
    data_end: Duration::from_secs(10 * MINUTE),
    goodbye: Duration::from_secs(10),
    opening: Duration::from_secs(15 * MINUTE),
    envelope: Duration::from_secs(30 * MINUTE),
    body: Duration::from_secs(10 * MINUTE),
    // What Postfix's smtp_min_data_rate is.
    slowest: 500,
    attempt: Duration::from_secs(30 * MINUTE),
};

impl Timeouts {
    pub fn of(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Greeting => self.greeting,
            Wait::Hello => self.hello,
            Wait::Mail => self.mail,
            Wait::Rcpt => self.rcpt,
            Wait::DataStart => self.data_start,
            Wait::DataEnd => self.data_end,
            Wait::Goodbye => self.goodbye,
        }
    }
}
