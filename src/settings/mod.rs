//! The settings: typed, each with its unit, range and default.

use std::time::Duration;

/// What the server holds connections and messages to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name this server greets with and puts into Received; a domain name.
    pub hostname: String,
    /// Largest message, bytes. 1 KiB to 1 GiB; SIZE (RFC 1870) and APPENDLIMIT (RFC 7889).
    pub max_message_size: u64,
    /// Recipients a message; 1 to 1,000 (RFC 5321, 4.5.3.1.8 asks for 100 at least).
    pub max_recipients: usize,
    /// Whether passwords may cross without TLS when the peer is loopback.
    pub plain_login_on_loopback: bool,
    /// Before login: how long a client may stay silent. 10 s to 10 min.
    pub login_timeout: Duration,
    /// IMAP after login; RFC 9051, 5.4 asks for 30 min at least.
    pub imap_timeout: Duration,
    /// POP3 after login; RFC 1939, 3 asks for 10 min at least.
    pub pop3_timeout: Duration,
    /// SMTP between commands; RFC 5321, 4.5.3.2.7 asks for 5 min at least.
    pub smtp_timeout: Duration,
    /// How long one chunk of output may wait for a client that does not read.
    pub write_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hostname: "localhost".into(),
            max_message_size: 100 << 20,
            max_recipients: 200,
            plain_login_on_loopback: true,
            login_timeout: Duration::from_secs(60),
            imap_timeout: Duration::from_secs(30 * 60),
            pop3_timeout: Duration::from_secs(10 * 60),
            smtp_timeout: Duration::from_secs(5 * 60),
            write_timeout: Duration::from_secs(60),
        }
    }
}
