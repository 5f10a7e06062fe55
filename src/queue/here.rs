//! Recipients on this server whose message had to wait (RFC 4865): delivered where their
//! addresses lead by now, as a submission is.

use super::Carrier;
use super::attempt::{Attempter, attempt_of, report};
use super::retry::{Event, Policy};
use super::tell::Settled;
use crate::address::Address;
use crate::mail::outgoing::{Outcome, QueueItem, Recipient, Reply, Status};
use crate::mail::{AccountId, DateTime, FlagNames, MailboxName};
use crate::recipient::{self, Resolved, Targets};
use crate::smtp::client::transaction::refusal;
use crate::store::{Delivery, Error, HandOver, NewItem, Result};
use std::collections::BTreeSet;

/// Some recipients, what they are told, and where their copies go.
#[derive(Default)]
struct Handing {
    settled: Vec<Settled>,
    local: BTreeSet<(AccountId, MailboxName)>,
    queued: Vec<NewItem>,
}

impl<C: Carrier> Attempter<C> {
    /// Whether an address of this server's domains has a mailbox here, or none.
    pub(super) fn leads_here(&self, address: &Address) -> Result<bool> {
        match self.resolve(address) {
            Ok(found) => Ok(found != Resolved::Elsewhere),
            // Tried here, so that it goes back in the end.
            Err(Error::Limit(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// As RCPT does.
    fn resolve(&self, address: &Address) -> Result<Resolved> {
        let rules = (self.rules)();
        let people = &rules.administrators;
        self.store
            .look(|it| recipient::reach(it, address, &rules.hostname, people))
    }

    /// All of them in one transaction, or if that fails each in its own.
    pub(super) async fn deliver_here(
        &self,
        item: &QueueItem,
        places: Vec<usize>,
        now: i64,
    ) -> Result<()> {
        let (mut handing, mut failed) = (Handing::default(), Vec::new());
        for place in places {
            if let Err(outcome) = self.find(item, place, now, &mut handing)? {
                failed.push((place, outcome));
            }
        }
        let places: Vec<usize> = handing.settled.iter().map(|it| it.0).collect();
        match self.hand_over(item, handing, now).await {
            Ok(()) => {}
            Err(Error::Closed) => return Err(Error::Closed),
            Err(error) if places.len() == 1 => {
                let deferred = Outcome::Deferred(trouble(&error));
                failed.extend(places.into_iter().map(|place| (place, deferred.clone())));
            }
            Err(_) => failed.extend(self.one_by_one(item, places, now).await?),
        }
        let settled = self.settle(item, failed, now);
        self.record(item, settled, now).await
    }

    /// Those that can't be delivered to, and why.
    async fn one_by_one(
        &self,
        item: &QueueItem,
        places: Vec<usize>,
        now: i64,
    ) -> Result<Vec<(usize, Outcome)>> {
        let mut failed = Vec::new();
        for place in places {
            let mut handing = Handing::default();
            let outcome = match self.find(item, place, now, &mut handing)? {
                Err(outcome) => outcome,
                Ok(()) => match self.hand_over(item, handing, now).await {
                    Ok(()) => continue,
                    Err(Error::Closed) => return Err(Error::Closed),
                    Err(error) => Outcome::Deferred(trouble(&error)),
                },
            };
            failed.push((place, outcome));
        }
        Ok(failed)
    }

    /// Where a recipient's copies go, or why it gets none. One whose mailbox has moved to
    /// another server meanwhile is left out: it has another lane now.
    fn find(
        &self,
        item: &QueueItem,
        place: usize,
        now: i64,
        handing: &mut Handing,
    ) -> Result<std::result::Result<(), Outcome>> {
        let Some(recipient) = item.recipients.get(place) else {
            return Ok(Ok(()));
        };
        if let Some(reply) = Policy::overdue(&attempt_of(item, place, now), recipient) {
            return Ok(Err(Outcome::Failed(reply)));
        }
        let address = &recipient.address;
        match self.resolve(address) {
            Ok(Resolved::Here(targets)) => handing.add(item, place, recipient, targets, now),
            Ok(Resolved::Unknown) => {
                let text = "there is no such address here any more";
                return Ok(Err(Outcome::Failed(refusal("5.1.1", text))));
            }
            Ok(Resolved::Disabled) => {
                let text = "the mailbox is disabled and takes no mail";
                return Ok(Err(Outcome::Failed(refusal("5.2.1", text))));
            }
            Ok(Resolved::Elsewhere) => {}
            // RFC 3463, 3.3: mailing list expansion problem.
            Err(Error::Limit(what)) => {
                let text = format!("the address stands for too many: {what}");
                return Ok(Err(Outcome::Deferred(refusal("4.2.4", &text))));
            }
            Err(error) => return Err(error),
        }
        Ok(Ok(()))
    }

    async fn hand_over(&self, item: &QueueItem, handing: Handing, now: i64) -> Result<()> {
        let settled = handing.settled;
        if settled.is_empty() {
            return Ok(());
        }
        let notices = self.teller().notices(item, &settled, now).await?;
        let deliveries = handing
            .local
            .into_iter()
            .map(|(account, mailbox)| Delivery {
                account,
                mailbox,
                flags: FlagNames::default(),
            });
        let over = HandOver {
            deliveries: deliveries.collect(),
            queued: handing.queued,
        };
        let of = |it: &Settled| (it.0, it.1.clone());
        let statuses = settled.iter().map(of).collect();
        let date = DateTime {
            unix: now,
            offset: 0,
        };
        let done = self.store.hand_over(item.id, statuses, over, date, notices);
        // If the owner was faster, what is left is due again.
        if done.await? {
            for (place, status, _) in &settled {
                if let Some(recipient) = item.recipients.get(*place) {
                    report(item, recipient, status);
                }
            }
        }
        Ok(())
    }
}

impl Handing {
    fn add(
        &mut self,
        item: &QueueItem,
        place: usize,
        recipient: &Recipient,
        targets: Targets,
        now: i64,
    ) {
        let copies = targets.local.len() + targets.remote.len();
        let is_group = copies > 1;
        let event = match is_group {
            true => Some(Event::Expanded),
            // A single address elsewhere: who takes it there tells of it.
            false => (!targets.local.is_empty()).then_some(Event::Delivered),
        };
        let text = match is_group {
            true => format!("sent on to {copies} addresses"),
            false => "delivered here".into(),
        };
        let reply = Reply {
            code: 0,
            enhanced: "2.1.5".into(),
            text,
            server: None,
        };
        let event = event.filter(|_| recipient.notify.success);
        self.settled.push((place, Status::Delivered(reply), event));
        self.local.extend(targets.local);
        if !targets.remote.is_empty() {
            let members = targets.remote.into_iter();
            let members = members.map(|address| member(recipient, address, is_group, now));
            self.queued.push(NewItem {
                account: item.account,
                ours: item.ours,
                name: item.name.clone(),
                submitted: item.submitted,
                envelope: item.envelope.clone(),
                recipients: members.collect(),
            });
        }
    }
}

/// Of a group, or of an address that stands for one elsewhere.
fn member(recipient: &Recipient, address: Address, is_group: bool, now: i64) -> Recipient {
    Recipient {
        address,
        notify: match is_group {
            true => recipient.notify.of_members(),
            false => recipient.notify,
        },
        original: recipient.original.clone(),
        accepted: Some(recipient.named().clone()),
        status: Status::waiting(now),
    }
}

/// RFC 3463, 3.3 and 3.4.
fn trouble(error: &Error) -> Reply {
    match error {
        Error::Full => refusal("4.3.1", "there is no room for mail here now"),
        Error::Limit(_) | Error::OverQuota => refusal("4.2.2", "the mailbox is full"),
        error => {
            log::warn!("queue: a delivery here: {error}");
            refusal("4.3.0", "the mailbox could not be written to")
        }
    }
}
