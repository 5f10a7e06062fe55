//! `pillarbox serve`.

use super::{DEFAULT_DIR, Error};
use crate::serve;
use crate::settings::{
    DELAY_NOTICE, EXPIRY, FIRST_PAUSE, LONGEST_PAUSE, Listen, NEW_RECIPIENTS, Settings,
};
use argh::FromArgs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Serve the mail of a data directory until told to stop (SIGTERM or Ctrl-C).
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
pub struct Serve {
    /// data directory, made if missing (default /var/lib/pillarbox)
    #[argh(option, default = "PathBuf::from(DEFAULT_DIR)")]
    dir: PathBuf,
    /// name that the server greets with and that its certificate holds for (default: this
    /// machine's name)
    #[argh(option)]
    hostname: Option<String>,
    /// address to listen on (default [::], every address of IPv6 and IPv4)
    #[argh(
        option,
        default = "IpAddr::V6(Ipv6Addr::UNSPECIFIED)",
        from_str_fn(address)
    )]
    address: IpAddr,
    /// number added to every port: with 20000, IMAP is on 20143 (default 0)
    #[argh(option, default = "0")]
    port_base: u16,
    /// never send mail to other servers directly, only by a relay
    #[argh(switch)]
    no_direct: bool,
    /// pause before mail to another server is tried again; then each is twice as long
    /// (default 5min)
    #[argh(option, arg_name = "time", default = "FIRST_PAUSE", from_str_fn(time))]
    retry_after: Duration,
    /// longest such pause (default 4h)
    #[argh(
        option,
        arg_name = "time",
        default = "LONGEST_PAUSE",
        from_str_fn(time)
    )]
    retry_every: Duration,
    /// when the sender is told that mail takes longer (default 4h)
    #[argh(option, arg_name = "time", default = "DELAY_NOTICE", from_str_fn(time))]
    tell_delay_after: Duration,
    /// when mail that could not be delivered goes back (default 5d)
    #[argh(option, arg_name = "time", default = "EXPIRY", from_str_fn(time))]
    give_up_after: Duration,
    /// your own TLS certificate with its chain, PEM
    #[argh(option)]
    tls_certificate: Option<PathBuf>,
    /// key of --tls-certificate, PEM
    #[argh(option)]
    tls_key: Option<PathBuf>,
    /// offer logins bound to the TLS connection (SCRAM-SHA-256-PLUS); Debian's mutt can't
    /// send mail then
    #[argh(switch)]
    bind_logins: bool,
    /// seconds from one POP3 login of an account to the next (default 0: no limit)
    #[argh(option, default = "0")]
    pop3_login_delay: u32,
    /// messages that one account may submit in an hour (default 0: no limit)
    #[argh(option, default = "0")]
    max_messages_per_hour: u32,
    /// recipients to which one account may submit in a day (default 0: no limit)
    #[argh(option, default = "0")]
    max_recipients_per_day: u32,
    /// of these, addresses on other servers that it never wrote to before (default 200; 0: no
    /// limit)
    #[argh(option, default = "NEW_RECIPIENTS")]
    max_new_recipients_per_day: u32,
    /// certificate authorities to trust when sending mail, beside the system's, PEM
    #[argh(option)]
    tls_authorities: Option<PathBuf>,
    /// put off senders on port 25 that have not been here before (greylisting)
    #[argh(switch)]
    greylist: bool,
    /// put mail into Junk that its author's domain asks to refuse (DMARC)
    #[argh(switch)]
    dmarc_junk: bool,
    /// seconds that each refusal on port 25 is delayed, 0 to 30 (default 5)
    #[argh(option, default = "5", from_str_fn(tarpit))]
    tarpit: u64,
    /// name server to ask, ADDRESS or ADDRESS:PORT, up to three times (default: those of
    /// /etc/resolv.conf)
    #[argh(option, from_str_fn(name_server))]
    name_server: Vec<SocketAddr>,
}

impl Serve {
    pub fn run(self) -> Result<(), Error> {
        let settings = Settings {
            hostname: self.hostname.unwrap_or_else(machine_name),
            listen: listen(self.address, self.port_base)?,
            direct: !self.no_direct,
            retry_after: self.retry_after,
            retry_every: self.retry_every,
            tell_delay_after: self.tell_delay_after,
            give_up_after: self.give_up_after,
            tls_certificate: self.tls_certificate,
            tls_key: self.tls_key,
            bind_logins: self.bind_logins,
            max_messages_per_hour: self.max_messages_per_hour,
            max_recipients_per_day: self.max_recipients_per_day,
            max_new_recipients_per_day: self.max_new_recipients_per_day,
            pop3_login_delay: Duration::from_secs(u64::from(self.pop3_login_delay)),
            tls_authorities: self.tls_authorities,
            greylist: self.greylist,
            refuse_by_dmarc: !self.dmarc_junk,
            tarpit: Duration::from_secs(self.tarpit),
            name_servers: self.name_server,
            ..Settings::default()
        };
        serve::serve(&self.dir, settings)
    }
}

/// Every service at `address`, its port raised by `base`.
pub fn listen(address: IpAddr, base: u16) -> Result<Vec<Listen>, Error> {
    Listen::all(address, base)
        .ok_or_else(|| format!("--port-base {base} is too high: ports end at 65535").into())
}

/// Accepts `[::]` too, as it is written with a port.
fn address(text: &str) -> Result<IpAddr, String> {
    text.trim_matches(['[', ']'])
        .parse()
        .map_err(|_| format!("{text} is not an IP address"))
}

fn tarpit(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok().filter(|it| *it <= 30);
    seconds.ok_or_else(|| format!("{text} is not a number from 0 to 30"))
}

pub(super) fn name_server(text: &str) -> Result<SocketAddr, String> {
    const DNS: u16 = 53;
    match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => Ok(SocketAddr::new(address(text)?, DNS)),
    }
}

/// A number with s, min, h or d.
fn time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let seconds = match unit {
        "s" => Some(1),
        "min" => Some(60),
        "h" => Some(3600),
        "d" => Some(24 * 3600),
        _ => None,
    };
    let number: Option<u32> = number.parse().ok().filter(|it| *it > 0);
    match (number, seconds) {
        (Some(number), Some(seconds)) => Ok(Duration::from_secs(u64::from(number) * seconds)),
        _ => Err(format!("{text} is no time: 90s, 5min, 4h or 5d")),
    }
}

pub(super) fn machine_name() -> String {
    let system = rustix::system::uname();
    match system.nodename().to_str() {
        Ok(name) if !name.is_empty() && name != "(none)" => name.to_lowercase(),
        _ => "localhost".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("5min", 300), ("4h", 14_400), ("5d", 432_000)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "5", "min", "0s", "-1s", "1m", "4294967296s", "1 h"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
