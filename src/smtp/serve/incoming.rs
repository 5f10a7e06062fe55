//! Takes what other servers bring: judged, stored, and told where that was asked for.

use super::arrival::Arrival;
use super::notices::notices;
use super::{forward, now, trouble};
use crate::authentication::results::Results;
use crate::authentication::{Verdict, ascii_domain};
use crate::context::Context;
use crate::mail::outgoing::Recipient;
use crate::mail::{AccountId, FlagNames, MailboxName, SpecialUse};
use crate::net::stream::Stream;
use crate::smtp::policy::{Judgement, judge, judge_onward};
use crate::smtp::session::{Commit, Trouble};
use crate::store::{self, Delivery, Held, NewItem, Posting, Snapshot};
use std::collections::BTreeSet;

/// Where Junk goes if an account has no mailbox for that use.
const JUNK: &str = "Junk";

/// Whether it was taken; a notice that can't be sent changes nothing about that.
pub async fn take(
    context: &Context,
    stream: &Stream,
    arrival: Arrival,
    mut commit: Commit,
) -> Result<Vec<AccountId>, Trouble> {
    let Some(arrived) = commit.arrived.take() else {
        return Err(Trouble::Later);
    };
    let sender = commit.envelope.sender.as_ref();
    let examined = arrival
        .examine(context, stream.peer(), sender, &arrived.client)
        .await;
    let results = examined.results.clone();
    let judgement = judgement(context, &commit, &results)?;
    log(stream, &commit, &results, judgement);
    if let Judgement::Refuse(why) = judgement {
        return Err(Trouble::Refused(why));
    }
    if judgement == Judgement::Later {
        return Err(Trouble::Wait(
            "DNS does not answer about the domain of the From field; try later",
        ));
    }
    let waiting = commit.waiting.iter_mut().map(|it| &mut it.1);
    spare_strangers(commit.remote.iter_mut().chain(waiting), &results, judgement);
    // To an address that is forged it would be told to a stranger.
    let told = commit.delivered.take().filter(|_| passes(&results));
    forward::rewrite(context, &mut commit, now().unix).await?;
    let sealer = forward::sealer(&context.store, &commit);
    let stored = async {
        let settings = context.settings();
        let staged = examined.store(&settings.hostname, &arrived, sealer).await?;
        let deliveries = deliveries(context, commit.local.clone(), judgement)?;
        let waiting = std::mem::take(&mut commit.waiting);
        let queued = queued(commit);
        let notices = notices(context, told.as_ref()).await?;
        let posting = Posting {
            message: staged,
            date: now(),
            deliveries,
            queued,
        };
        let held = Held::Together { own: 0, waiting };
        context.store.deliver_within(posting, notices, held).await
    };
    stored.await.map_err(|error| trouble(&error))
}

/// One for all recipients: who sends must hear of it where a part of them gets nothing.
fn judgement(context: &Context, commit: &Commit, results: &Results) -> Result<Judgement, Trouble> {
    let judgement = judge(results, context.settings().refuse_by_dmarc);
    if commit.remote.is_empty() || !matches!(judgement, Judgement::Accept | Judgement::Junk) {
        return Ok(judgement);
    }
    Ok(match judge_onward(results, &our_domains(context)?) {
        Judgement::Accept => judgement,
        onward => onward,
    })
}

/// As DNS has them.
pub fn our_domains(context: &Context) -> Result<Vec<String>, Trouble> {
    let ours = context.store.look(Snapshot::local_domains);
    let ours = ours.map_err(|error| trouble(&error))?;
    let ours = ours.iter().filter_map(|it| ascii_domain(it.as_str()));
    Ok(ours.collect())
}

fn passes(results: &Results) -> bool {
    let spf = results.spf.as_ref();
    spf.is_some_and(|(outcome, ..)| outcome.verdict == Verdict::Pass)
}

/// A notice of what becomes of it elsewhere would go to whoever the sender claims to be: it
/// is sent where SPF says that he is, and a failure told where nothing says that he isn't.
fn spare_strangers<'a>(
    queued: impl Iterator<Item = &'a mut Recipient>,
    results: &Results,
    judgement: Judgement,
) {
    let spf = results.spf.as_ref().map(|it| it.0.verdict);
    let is_doubtful =
        judgement == Judgement::Junk || matches!(spf, Some(Verdict::Fail | Verdict::SoftFail));
    for recipient in queued {
        let notify = &mut recipient.notify;
        notify.success &= passes(results);
        notify.delay &= passes(results);
        notify.failure &= !is_doubtful;
        notify.given = true;
    }
}

fn log(stream: &Stream, commit: &Commit, results: &Results, judgement: Judgement) {
    let (id, peer, name) = (stream.id(), stream.peer(), &commit.name);
    let verdict = |it: Option<Verdict>| it.unwrap_or_default();
    let spf = verdict(results.spf.as_ref().map(|it| it.0.verdict));
    let dmarc = verdict(results.dmarc.as_ref().map(|it| it.verdict));
    let became = match judgement {
        Judgement::Accept => "taken",
        Judgement::Junk => "taken for Junk",
        Judgement::Refuse(_) => "refused",
        Judgement::Later => "put off",
    };
    log::info!("smtp #{id}: {name} from {peer} {became}: spf={spf} dmarc={dmarc}");
}

/// Where each copy goes: for Junk, what is for an account goes to its mailbox of that use.
fn deliveries(
    context: &Context,
    targets: Vec<(AccountId, MailboxName)>,
    judgement: Judgement,
) -> store::Result<Vec<Delivery>> {
    let delivery = |(account, mailbox)| Delivery {
        account,
        mailbox,
        flags: FlagNames::default(),
    };
    if judgement == Judgement::Accept {
        return Ok(targets.into_iter().map(delivery).collect());
    }
    let mut accounts: BTreeSet<AccountId> = BTreeSet::new();
    accounts.extend(targets.into_iter().map(|it| it.0));
    context.store.look(|snapshot| {
        let mut deliveries = Vec::new();
        for account in accounts {
            let mailboxes = snapshot.mailboxes(account)?;
            let junk = mailboxes
                .into_iter()
                .find(|it| it.special_use == Some(SpecialUse::Junk));
            let name = junk.map(|it| it.name);
            let name = name.or_else(|| MailboxName::parse(JUNK).ok());
            deliveries.push(delivery((account, name.unwrap_or_else(MailboxName::inbox))));
        }
        Ok(deliveries)
    })
}

/// Members of a group may be elsewhere.
fn queued(commit: Commit) -> Option<NewItem> {
    (!commit.remote.is_empty()).then_some(NewItem {
        account: None,
        ours: false,
        name: commit.name,
        submitted: commit.submitted,
        envelope: commit.envelope,
        recipients: commit.remote,
    })
}
