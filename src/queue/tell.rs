//! The notices to a message's sender: made ready here, posted together with the change that
//! they tell of.

use super::retry::{Event, begins};
use crate::address::Address;
use crate::mail::outgoing::{
    MAX_KEPT_HERE, Notify, QueueItem, Recipient, Reply, Ret, Status, kept_here,
};
use crate::mail::{DateTime, FlagNames};
use crate::message::notice::{self, Action, MAX_RETURNED_HEADER, Report, Returned};
use crate::recipient::{self, Resolved, Targets};
use crate::secret::random;
use crate::store::{self, Delivery, NewItem, Posting, Staging, Store};
use memchr::memmem;
use std::ops::Range;

/// Largest message that goes back whole, bytes; of a larger one its header does.
pub const MAX_RETURNED: u32 = 1 << 20;
/// Read at once of a message that goes back, bytes.
const PIECE: u32 = 64 << 10;

/// In place of words that name a group's member; a comment, as Diagnostic-Code may have one.
const UNTOLD: &str = "(what was said names who is not to be named)";

/// A recipient's place, its new status, and what is to be told of it.
pub type Settled = (usize, Status, Option<Event>);

/// Who writes notices.
pub struct Teller {
    pub store: Store,
    pub hostname: String,
    /// Seconds for which a message is tried.
    pub expiry: i64,
}

impl Teller {
    /// The notices that `settled` asks for, one a kind; none for the null path, nor where the
    /// sender's address is one of ours that is gone.
    pub async fn notices(
        &self,
        item: &QueueItem,
        settled: &[Settled],
        now: i64,
    ) -> store::Result<Vec<Posting>> {
        let mut postings = Vec::new();
        for event in Event::ALL {
            let concerned = settled.iter().filter(|it| it.2 == Some(event));
            let mut told = Vec::new();
            for recipient in concerned.filter_map(|it| self.recipient(item, it, now)) {
                // Members of one group, of whom the same is said.
                if !told.contains(&recipient) {
                    told.push(recipient);
                }
            }
            if told.is_empty() {
                continue;
            }
            let Some(to) = self.find(item)? else {
                let (id, name) = (item.id.0, &item.name);
                log::warn!("queue {id}: {event:?}, and nobody to tell: {name} ends here");
                continue;
            };
            postings.push(self.notice(item, event, told, to, now).await?);
        }
        Ok(postings)
    }

    fn recipient(
        &self,
        item: &QueueItem,
        settled: &Settled,
        now: i64,
    ) -> Option<notice::Recipient> {
        let by = item.envelope.deliver_by;
        let late = by.is_some_and(|by| !by.returns && now >= by.until);
        let recipient = item.recipients.get(settled.0)?;
        let reply = match &settled.1 {
            Status::Waiting { last, .. } => last.clone(),
            Status::Delivered(reply) | Status::Failed(reply) => Some(reply.clone()),
        };
        Some(notice::Recipient {
            address: recipient.named().to_string(),
            original: recipient.original.clone(),
            reply: match &recipient.accepted {
                Some(accepted) => reply.map(|it| discreet(it, &recipient.address, accepted)),
                None => reply,
            },
            until: Some(begins(&item.envelope, item.submitted).saturating_add(self.expiry)),
            late: late && settled.2 == Some(Event::Delayed),
        })
    }

    /// Where a notice to the sender goes.
    fn find(&self, item: &QueueItem) -> store::Result<Option<Targets>> {
        let Some(sender) = &item.envelope.sender else {
            return Ok(None);
        };
        let found = self.store.look(|it| recipient::resolve(it, sender))?;
        Ok(match found {
            Resolved::Here(targets) => Some(targets),
            Resolved::Unknown | Resolved::Disabled => None,
            Resolved::Elsewhere => Some(Targets {
                remote: vec![sender.clone()],
                ..Targets::default()
            }),
        })
    }

    async fn notice(
        &self,
        item: &QueueItem,
        event: Event,
        recipients: Vec<notice::Recipient>,
        to: Targets,
        now: i64,
    ) -> store::Result<Posting> {
        // Of mail sent on, the sender's own address, not what was made of it for the next server.
        let sender = match to.remote.first() {
            Some(original) if to.returns => Some(original),
            _ => item.envelope.sender.as_ref(),
        };
        let sender = sender.map(Address::to_string);
        let name = name()?;
        let date = DateTime {
            unix: now,
            offset: 0,
        };
        // RFC 3461, 4.3: RET speaks of failures alone. RFC 8689, 5: what had to be safe all
        // the way does not go back whole.
        let whole = event == Event::Failed
            && item.envelope.ret == Some(Ret::Full)
            && !item.envelope.require_tls
            && item.size <= MAX_RETURNED;
        let report = Report {
            action: match event {
                Event::Failed => Action::Failed,
                Event::Delayed => Action::Delayed,
                Event::Relayed => Action::Relayed,
                Event::Delivered => Action::Delivered,
                Event::Expanded => Action::Expanded,
            },
            hostname: &self.hostname,
            sender: &sender.unwrap_or_default(),
            envelope: &item.envelope,
            arrival: item.submitted,
            id: &item.name,
            recipients,
            returned: match whole {
                true => Returned::Message,
                false => Returned::Headers(self.header(item).await?),
            },
        };
        let notice = report
            .write(date, &name)
            .map_err(|error| store::Error::Storage(error.to_string()))?;
        let mut staging = self.store.stage(None).await?;
        staging.write(&notice.head).await?;
        if whole {
            self.copy(item, &mut staging).await?;
        }
        staging.write(&notice.tail).await?;
        let message = staging.finish().await?;
        let deliveries = to.local.into_iter().map(|(account, mailbox)| Delivery {
            account,
            mailbox,
            flags: FlagNames::default(),
        });
        let queued = (!to.remote.is_empty()).then(|| answer(item, to.remote, name, now));
        Ok(Posting {
            message,
            date,
            deliveries: deliveries.collect(),
            queued,
        })
    }

    /// The header as the next server would have got it.
    async fn header(&self, item: &QueueItem) -> store::Result<Vec<u8>> {
        let most = (MAX_RETURNED_HEADER as u32).min(item.size);
        let mut bytes = self.read(item, 0..most).await?;
        if let Some(end) = memmem::find(&bytes, b"\r\n\r\n") {
            bytes.truncate(end + 2);
        }
        bytes.drain(..kept_here(&bytes));
        Ok(bytes)
    }

    async fn copy(&self, item: &QueueItem, staging: &mut Staging) -> store::Result<()> {
        let head = self.read(item, 0..MAX_KEPT_HERE as u32).await?;
        let mut at = kept_here(&head) as u32;
        while at < item.size {
            let end = at.saturating_add(PIECE).min(item.size);
            staging.write(&self.read(item, at..end).await?).await?;
            at = end;
        }
        Ok(())
    }

    async fn read(&self, item: &QueueItem, range: Range<u32>) -> store::Result<Vec<u8>> {
        let email = item.email;
        let read = self.store.read(move |snapshot| {
            let mut bytes = Vec::new();
            snapshot.blob(email)?.read(range, &mut bytes)?;
            Ok(bytes)
        });
        read.await
    }
}

/// What was said of `member`, without a word of who that is: a notice leaves out what it must not
/// tell (RFC 3464, 4.2).
fn discreet(reply: Reply, member: &Address, accepted: &Address) -> Reply {
    let base = member.without_tag();
    let domain = member.domain();
    let told = [
        Some(member.local()),
        base.as_ref().map(Address::local),
        (domain != accepted.domain()).then_some(domain.as_str()),
    ];
    let tells = |text: &str| told.iter().flatten().any(|it| has_word(text, it));
    let pieces = around(&reply.text, &member.to_string());
    let text = match pieces.iter().any(|it| tells(it)) {
        true => UNTOLD.into(),
        false => pieces.join(&accepted.to_string()),
    };
    Reply {
        server: reply.server.filter(|it| !tells(it)),
        text,
        ..reply
    }
}

/// What stands around each place of `name`, in any case of ASCII.
fn around<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (folded, name) = (text.to_ascii_lowercase(), name.to_ascii_lowercase());
    let mut pieces = Vec::new();
    let mut from = 0;
    for (at, _) in folded.match_indices(&name) {
        pieces.extend(text.get(from..at));
        from = at + name.len();
    }
    pieces.extend(text.get(from..));
    pieces
}

/// Whether it stands there by itself, in any case.
fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    text.match_indices(&word).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let after = rest.get(word.len()..).unwrap_or_default();
        !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
    })
}

/// A random name; unlike anything in a message.
fn name() -> store::Result<String> {
    let random: [u8; 12] = random().map_err(|error| store::Error::Storage(error.to_string()))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A notice on its way to another server.
fn answer(item: &QueueItem, to: Vec<Address>, name: String, now: i64) -> NewItem {
    NewItem {
        account: None,
        ours: true,
        name,
        submitted: now,
        envelope: item.envelope.of_notice(),
        recipients: to
            .into_iter()
            .map(|address| Recipient {
                address,
                notify: Notify::default(),
                original: None,
                accepted: None,
                status: Status::waiting(now),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_member_does_not_name_him() {
        let address = |text: &str| Address::parse(text).unwrap();
        let (member, team) = (address("Ann.B+x@y.test"), address("team@b.test"));
        let told = |text: &str, server: &str| {
            let reply = Reply {
                code: 550,
                enhanced: "5.1.1".into(),
                text: text.into(),
                server: Some(server.into()),
            };
            let reply = discreet(reply, &member, &team);
            (reply.text, reply.server.unwrap_or_default())
        };
        for (text, expected) in [
            (
                "<ann.b+x@Y.test>: no such user",
                "<team@b.test>: no such user",
            ),
            ("ann.b+x@y.test, ann.b+x@y.test", "team@b.test, team@b.test"),
            (
                "no room, see https://big.test/é",
                "no room, see https://big.test/é",
            ),
            (
                "joann.bee is another, and sunny.test",
                "joann.bee is another, and sunny.test",
            ),
            ("", ""),
            ("ann.b+x unknown", UNTOLD),
            ("user ANN.B unknown", UNTOLD),
            ("<bounce+ann.b=y.test@z.test>", UNTOLD),
            ("<ann.b+x@y.test>: y.test has no such user", UNTOLD),
        ] {
            assert_eq!(told(text, "mx.big.test").0, expected, "{text}");
        }
        assert_eq!(told("", "mx.big.test").1, "mx.big.test");
        assert_eq!(told("", "mx.y.test").1, "");
        // A domain that both have tells nothing.
        let reply = Reply {
            text: "bob@b.test is full; b.test".into(),
            server: Some("mx.b.test".into()),
            ..Reply::default()
        };
        let reply = discreet(reply, &address("bob@b.test"), &team);
        assert_eq!(reply.text, "team@b.test is full; b.test");
        assert_eq!(reply.server.as_deref(), Some("mx.b.test"));
    }
}
