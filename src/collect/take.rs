//! A message on its way from a provider into a mailbox here: a Received line in front, line
//! ends mended, nothing else changed; delivered with the note that it was.

use super::failure::Failure;
use crate::address::Address;
use crate::mail::{AccountId, DateTime, FlagNames, Flags, MailboxName};
use crate::message::line_end::LineEnds;
use crate::store::{self, Delivery, Note, Staged, Staging, Store};
use jiff::tz::{Offset, TimeZone};
use std::net::IpAddr;

/// What goes into Received (RFC 5321, 4.4).
#[derive(Clone, Debug)]
pub struct Trace {
    /// The provider's server, by name and address.
    pub host: String,
    pub peer: IpAddr,
    /// This server.
    pub hostname: String,
    /// `IMAP` or `POP3`.
    pub with: &'static str,
    pub tls: bool,
    /// The account's own address.
    pub account: Address,
    pub now: DateTime,
}

impl Trace {
    fn line(&self) -> String {
        let Trace {
            host,
            peer,
            hostname,
            with,
            account,
            ..
        } = self;
        let literal = match peer {
            IpAddr::V4(ip) => format!("[{ip}]"),
            IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
        };
        // A host that is an address can't stand as a domain.
        let from = match host.parse::<IpAddr>() {
            Ok(_) => literal,
            Err(_) => format!("{host} ({literal})"),
        };
        let tls = if self.tls { " over TLS" } else { "" };
        format!(
            "Received: from {from}\r\n\tby {hostname} with {with} (collected{tls})\r\n\t\
             for <{account}>;\r\n\t{}\r\n",
            rfc5322(self.now)
        )
    }
}

/// `Fri, 21 Nov 1997 09:55:06 -0600` (RFC 5322, 3.3).
fn rfc5322(date: DateTime) -> String {
    let offset = Offset::from_seconds(i32::from(date.offset) * 60).unwrap_or(Offset::UTC);
    let moment = jiff::Timestamp::from_second(date.unix).unwrap_or_default();
    moment
        .to_zoned(TimeZone::fixed(offset))
        .strftime("%a, %d %b %Y %H:%M:%S %z")
        .to_string()
}

/// A message that is being fetched.
pub struct Incoming {
    staging: Staging,
    line_ends: LineEnds,
}

impl Incoming {
    /// `size` is what the provider says it has, bytes.
    pub async fn begin(store: &Store, trace: &Trace, size: Option<u64>) -> store::Result<Incoming> {
        let mut staging = store.stage(size).await?;
        staging.write(trace.line().as_bytes()).await?;
        Ok(Incoming {
            staging,
            line_ends: LineEnds::default(),
        })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> store::Result<()> {
        let bytes = self.line_ends.mend(bytes);
        self.staging.write(&bytes).await
    }

    pub async fn finish(self) -> store::Result<Staged> {
        self.staging.finish().await
    }
}

/// Where messages go.
#[derive(Clone, Debug)]
pub struct Target {
    pub account: AccountId,
    pub mailbox: MailboxName,
}

/// Delivers, and makes `notes` in the same transaction. A message that is marked \Deleted
/// over there is still somebody's mail; it comes unmarked.
pub async fn deliver(
    store: &Store,
    target: &Target,
    message: &Staged,
    flags: FlagNames,
    date: DateTime,
    notes: Vec<Note>,
) -> Result<(), Failure> {
    let system = flags.system.without(Flags::DELETED);
    let delivery = |keywords: Vec<String>| {
        vec![Delivery {
            account: target.account,
            mailbox: target.mailbox.clone(),
            flags: FlagNames { system, keywords },
        }]
    };
    let with_all = delivery(flags.keywords.clone());
    let done = store.deliver_noted(message, date, with_all, notes.clone());
    match done.await {
        // Keywords are a nicety that must not keep mail out.
        Err(store::Error::Limit(_)) if !flags.keywords.is_empty() => {
            let plain = delivery(Vec::new());
            Ok(store.deliver_noted(message, date, plain, notes).await?)
        }
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_says_where_it_was_collected() {
        let mut trace = Trace {
            host: "imap.example.net".into(),
            peer: "192.0.2.1".parse().unwrap(),
            hostname: "mail.example.org".into(),
            with: "IMAP",
            tls: true,
            account: Address::parse("anna@example.org").unwrap(),
            now: DateTime {
                unix: 1_770_022_800,
                offset: 0,
            },
        };
        assert_eq!(
            trace.line(),
            "Received: from imap.example.net ([192.0.2.1])\r\n\
             \tby mail.example.org with IMAP (collected over TLS)\r\n\
             \tfor <anna@example.org>;\r\n\tMon, 02 Feb 2026 09:00:00 +0000\r\n"
        );
        trace.host = "::1".into();
        trace.peer = "::1".parse().unwrap();
        trace.tls = false;
        let line = trace.line();
        assert!(line.starts_with("Received: from [IPv6:::1]\r\n"), "{line}");
        assert!(line.contains("(collected)"), "{line}");
    }
}
