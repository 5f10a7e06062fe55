//! The notices of success that a message's sender asked for: in one transaction with the
//! delivery that they tell of, so that neither is without the other.

use super::{no_route, now, stamp};
use crate::address::Address;
use crate::context::Context;
use crate::mail::FlagNames;
use crate::mail::outgoing::{Notify, Recipient, Status};
use crate::message::notice::Delivered;
use crate::recipient::{self, Resolved, Targets};
use crate::store::{self, Delivery, NewItem, Posting};

/// To the sender's mailbox, or from the null path by the queue; none where there is no way to
/// him.
pub async fn notices(context: &Context, what: Option<&Delivered>) -> store::Result<Vec<Posting>> {
    let mut postings = Vec::new();
    let Some(what) = what else {
        return Ok(postings);
    };
    let Some(to) = find(context, what)? else {
        log::warn!(
            "smtp: no notice of delivery to {}: no way there",
            what.sender
        );
        return Ok(postings);
    };
    let (settings, date) = (context.settings(), now());
    for report in what.reports(&settings.hostname, date.unix) {
        let storage = |what: String| store::Error::Storage(what);
        let name = stamp().map_err(|_| storage("no random numbers".into()))?.id;
        let notice = report.write(date, &name);
        let notice = notice.map_err(|error| storage(error.to_string()))?.head;
        let mut staging = context.store.stage(Some(notice.len() as u64)).await?;
        staging.write(&notice).await?;
        let deliveries = to.local.iter().cloned().map(|(account, mailbox)| Delivery {
            account,
            mailbox,
            flags: FlagNames::default(),
        });
        postings.push(Posting {
            message: staging.finish().await?,
            date,
            deliveries: deliveries.collect(),
            queued: queued(what, &to, name, date.unix),
        });
    }
    Ok(postings)
}

fn find(context: &Context, what: &Delivered) -> store::Result<Option<Targets>> {
    let Ok(sender) = Address::parse(&what.sender) else {
        return Ok(None);
    };
    let resolved = context.store.look(|it| recipient::resolve(it, &sender))?;
    let mut targets = match resolved {
        Resolved::Here(targets) => targets,
        Resolved::Unknown | Resolved::Disabled => return Ok(None),
        Resolved::Elsewhere => Targets {
            remote: vec![sender],
            ..Targets::default()
        },
    };
    if no_route(context).is_some() {
        targets.remote.clear();
    }
    Ok((targets != Targets::default()).then_some(targets))
}

fn queued(what: &Delivered, to: &Targets, name: String, now: i64) -> Option<NewItem> {
    let recipients = to.remote.iter().cloned().map(|address| Recipient {
        address,
        notify: Notify::default(),
        original: None,
        accepted: None,
        status: Status::waiting(now),
    });
    let recipients: Vec<Recipient> = recipients.collect();
    (!recipients.is_empty()).then(|| NewItem {
        account: None,
        ours: true,
        name,
        submitted: now,
        envelope: what.envelope.of_notice(),
        recipients,
    })
}
