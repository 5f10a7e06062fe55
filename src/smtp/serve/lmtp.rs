//! What LMTP brings and goes on to other servers, as a group has it: from a sender of ours, so
//! that SPF would speak for a From field of ours too, whoever wrote it.

use super::arrival::{in_time, no_spf, unanswered, unclear};
use super::incoming::our_domains;
use crate::authentication::dmarc::{self, Shown};
use crate::context::Context;
use crate::smtp::policy::{Judgement, judge_unproven};
use crate::smtp::session::{Commit, Trouble};

/// Whether it may go on.
pub async fn may_go_on(context: &Context, commit: &Commit) -> Result<(), Trouble> {
    // Back to who wrote what went on from here, its bounce may come from our own server in front:
    // the address shows that it is one.
    let is_bounce = commit.returns && commit.envelope.sender.is_none();
    if commit.remote.is_empty() || is_bounce {
        return Ok(());
    }
    let author = match &commit.author {
        Some(domain) => about(context, domain).await,
        None => unclear(),
    };
    match judge_unproven(&author, &our_domains(context)?) {
        Judgement::Refuse(why) => Err(Trouble::Refused(why)),
        Judgement::Later => Err(Trouble::Wait(
            "DNS does not answer about the domain of the From field; try later",
        )),
        Judgement::Accept | Judgement::Junk => Ok(()),
    }
}

/// What DNS says of the domain, of which nothing is shown.
async fn about(context: &Context, domain: &str) -> dmarc::Outcome {
    let spf = no_spf();
    let shown = Shown {
        spf: (&spf, ""),
        dkim: &[],
        incomplete: false,
        draw: 0,
    };
    let found = in_time(dmarc::check(&context.resolver, domain, &shown)).await;
    found.unwrap_or_else(|| unanswered(Some(domain)).dmarc.unwrap_or_else(unclear))
}
