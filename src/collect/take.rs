//! A message on its way from a provider into a mailbox here: a Received line in front, line
//! ends mended, what claims to be our own findings taken out, nothing else changed; small ones
//! are delivered together, with the notes that they were.

use super::failure::Failure;
use super::findings::Findings;
use crate::address::Address;
use crate::mail::{AccountId, DateTime, FlagNames, Flags, MailboxName, Quota};
use crate::message::line_end::LineEnds;
use crate::store::{self, Delivery, Note, Noted, Staged, Staging, Store};
use jiff::tz::{Offset, TimeZone};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Messages that one commit delivers, and the bytes that they may have together: what is
/// lost by a cut comes again, and it waits in memory.
pub const MAX_BATCH: usize = 100;
pub const MAX_BATCH_BYTES: u64 = 512 << 10;

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
    findings: Findings,
    size: u64,
}

impl Incoming {
    /// `size` is what the provider says it has, bytes.
    pub async fn begin(store: &Store, trace: &Trace, size: Option<u64>) -> store::Result<Incoming> {
        let mut staging = store.stage(size).await?;
        staging.write(trace.line().as_bytes()).await?;
        Ok(Incoming {
            staging,
            line_ends: LineEnds::default(),
            findings: Findings::new(&trace.hostname),
            size: 0,
        })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> store::Result<()> {
        self.size += bytes.len() as u64;
        let bytes = self.line_ends.mend(bytes);
        self.staging.write(&self.findings.pass(&bytes)).await
    }

    pub async fn finish(mut self, flags: FlagNames, date: DateTime) -> store::Result<Message> {
        self.staging.write(&self.findings.finish()).await?;
        Ok(Message {
            staged: self.staging.finish().await?,
            size: self.size,
            flags,
            date,
        })
    }
}

/// A message that is here, to be delivered.
pub struct Message {
    staged: Staged,
    size: u64,
    flags: FlagNames,
    date: DateTime,
}

/// Where messages go.
#[derive(Clone, Debug)]
pub struct Target {
    pub account: AccountId,
    pub mailbox: MailboxName,
}

impl Target {
    /// Of a message, bytes: `most`, or what the account may hold at all.
    pub fn largest(&self, store: &Store, most: u64) -> u64 {
        let quota = store.quota_of(self.account).unwrap_or_default();
        match quota.bytes {
            0 => most,
            bytes => most.min(bytes),
        }
    }

    /// [`Failure`] where the account has no room for so much now.
    pub fn must_hold(&self, store: &Store, more: Quota) -> Result<(), Failure> {
        match store.check_quota(self.account, more) {
            Err(store::Error::OverQuota) => Err(Failure::full(
                "the mailbox here is full: its mail waits over there",
            )),
            _ => Ok(()),
        }
    }
}

/// What the next commit delivers and notes.
#[derive(Default)]
pub struct Batch {
    messages: Vec<Message>,
    bytes: u64,
    /// By kind and key: the last one holds.
    notes: BTreeMap<(&'static str, String), Note>,
}

impl Batch {
    pub fn push(&mut self, message: Message) {
        self.bytes += message.size;
        self.messages.push(message);
    }

    pub fn note(&mut self, note: Note) {
        self.notes.insert((note.kind, note.key.clone()), note);
    }

    /// Whether it must go without `next`, for which the account has no room besides.
    pub fn ends_before(&self, next: &Message, store: &Store, target: &Target) -> bool {
        let more = self.held().and(Quota {
            bytes: next.size,
            messages: 1,
        });
        !self.messages.is_empty() && target.must_hold(store, more).is_err()
    }

    /// What it adds to the account.
    pub fn held(&self) -> Quota {
        Quota {
            bytes: self.bytes,
            messages: self.messages.len() as u64,
        }
    }

    /// Whether it has to be delivered before there can be more.
    pub fn is_full(&self) -> bool {
        self.messages.len() >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES
    }

    /// All of it in one transaction, or nothing.
    pub async fn deliver(self, store: &Store, target: &Target) -> Result<(), Failure> {
        let more = self.held();
        let takes_mail = store.look(|it| it.standing(target.account))?.takes_mail();
        if more.messages > 0 && !takes_mail {
            return Err(Failure::passing(
                "the account takes no mail: it is disabled or deleted",
            ));
        }
        if more.messages > 0 {
            target.must_hold(store, more)?;
        }
        let notes: Vec<Note> = self.notes.into_values().collect();
        let all = |keywords| self.messages.iter().map(move |it| it.to(target, keywords));
        let done = store.deliver_noted(all(true).collect(), notes.clone());
        let has_keywords = |it: &Message| !it.flags.keywords.is_empty();
        match done.await {
            // Keywords are a nicety that must not keep mail out.
            Err(store::Error::Limit(_)) if self.messages.iter().any(has_keywords) => {
                Ok(store.deliver_noted(all(false).collect(), notes).await?)
            }
            done => Ok(done?),
        }
    }
}

impl Message {
    /// One that is marked \Deleted over there is still somebody's mail; it comes unmarked.
    fn to(&self, target: &Target, keywords: bool) -> Noted<'_> {
        let keywords = self.flags.keywords.iter().filter(|_| keywords);
        let flags = FlagNames {
            system: self.flags.system.without(Flags::DELETED),
            keywords: keywords.cloned().collect(),
        };
        Noted {
            message: &self.staged,
            date: self.date,
            deliveries: vec![Delivery {
                account: target.account,
                mailbox: target.mailbox.clone(),
                flags,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Credential, Secret};
    use crate::store::Options;
    use crate::store::simdisk::SimDisk;
    use std::sync::Arc;

    fn trace() -> Trace {
        Trace {
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
        }
    }

    #[test]
    fn what_fits_comes_and_what_never_can_is_not_asked_for() {
        smol::block_on(async {
            let options = Options {
                reserve: 0,
                ballast: 0,
                ..Options::default()
            };
            let store = Store::open_on(Arc::new(SimDisk::new()), options).unwrap();
            let credential = Credential::create(&Secret::new("correct horse".into())).unwrap();
            let account = store.create_account(trace().account, credential);
            let target = Target {
                account: account.await.unwrap(),
                mailbox: MailboxName::inbox(),
            };
            assert_eq!(target.largest(&store, 5000), 5000);
            store.set_quota(Quota {
                bytes: 1000,
                messages: 2,
            });
            assert_eq!(target.largest(&store, 5000), 1000);
            assert_eq!(target.largest(&store, 500), 500);
            let message = async || {
                let mut message = Incoming::begin(&store, &trace(), None).await.unwrap();
                message.write(b"Subject: hi\r\n\r\nbody\r\n").await.unwrap();
                let date = trace().now;
                message.finish(FlagNames::default(), date).await.unwrap()
            };
            let mut batch = Batch::default();
            for _ in 0..2 {
                let next = message().await;
                assert!(!batch.ends_before(&next, &store, &target));
                batch.push(next);
            }
            let third = message().await;
            assert!(batch.ends_before(&third, &store, &target));
            batch.deliver(&store, &target).await.unwrap();
            let mut batch = Batch::default();
            // Alone it has to say that there is no room.
            assert!(!batch.ends_before(&third, &store, &target));
            batch.push(third);
            let full = batch.deliver(&store, &target).await.unwrap_err();
            assert!(full.text.contains("full"), "{full}");
            let used = store.look(|it| it.usage(target.account)).unwrap();
            assert_eq!(used.messages, 2);
        });
    }

    #[test]
    fn received_says_where_it_was_collected() {
        let mut trace = trace();
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
