//! What becomes of mail from other servers, by what was found out of it. Pure.

use crate::authentication::Verdict;
use crate::authentication::dmarc::Policy;
use crate::authentication::results::Results;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    Accept,
    /// To the Junk mailbox.
    Junk,
    Refuse(&'static str),
    /// The author's domain has a policy, and DNS does not say whether it is met.
    Later,
}

/// `refuses`: whether a domain's wish to refuse is followed; else such mail goes to Junk.
pub fn judge(results: &Results, refuses: bool) -> Judgement {
    let dmarc = results.dmarc.as_ref();
    let verdict = dmarc.map_or(Verdict::None, |it| it.verdict);
    let policy = dmarc.map_or(Policy::None, |it| it.policy);
    // A list that changed the message and sealed what it saw: its word alone is not proof,
    // but the message has a way through that others lack.
    let is_sealed = results
        .arc
        .as_ref()
        .is_some_and(|it| it.verdict == Verdict::Pass);
    match (verdict, policy) {
        (Verdict::Fail, Policy::Reject) if refuses && !is_sealed => Judgement::Refuse(
            "The domain of the From field asks to refuse mail that is not shown to be its own (DMARC)",
        ),
        (Verdict::Fail, Policy::Reject | Policy::Quarantine) => Judgement::Junk,
        (Verdict::TempError, Policy::Reject | Policy::Quarantine) => Judgement::Later,
        (Verdict::PermError, _) => Judgement::Junk,
        // Nothing speaks for the author, and the sender's own domain against it.
        (Verdict::None, _) if spf_fails(results) && !any_signature(results) => Judgement::Junk,
        _ => Judgement::Accept,
    }
}

fn spf_fails(results: &Results) -> bool {
    let spf = results.spf.as_ref();
    spf.is_some_and(|(outcome, ..)| outcome.verdict == Verdict::Fail)
}

fn any_signature(results: &Results) -> bool {
    results.dkim.iter().any(|it| it.verdict == Verdict::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::arc::Chain;
    use crate::authentication::dkim::Verified;
    use crate::authentication::{dmarc, spf};

    fn results(verdict: Verdict, policy: Policy, spf: Verdict) -> Results {
        Results {
            spf: Some((
                spf::Outcome {
                    verdict: spf,
                    ..spf::Outcome::default()
                },
                "smtp.mailfrom",
                "a@b.test".into(),
            )),
            dmarc: Some(dmarc::Outcome {
                verdict,
                policy,
                ..dmarc::Outcome::default()
            }),
            ..Results::default()
        }
    }

    #[test]
    fn the_domain_of_the_author_decides() {
        use Judgement::{Accept, Junk, Later};
        for (verdict, policy, spf, expected) in [
            (Verdict::Pass, Policy::Reject, Verdict::Fail, Accept),
            (Verdict::Fail, Policy::Quarantine, Verdict::Pass, Junk),
            (Verdict::Fail, Policy::None, Verdict::Fail, Accept),
            (Verdict::TempError, Policy::Reject, Verdict::Fail, Later),
            (Verdict::TempError, Policy::None, Verdict::Fail, Accept),
            (Verdict::PermError, Policy::None, Verdict::None, Junk),
            (Verdict::None, Policy::None, Verdict::Fail, Junk),
            (Verdict::None, Policy::None, Verdict::SoftFail, Accept),
        ] {
            let got = judge(&results(verdict, policy, spf), true);
            assert_eq!(got, expected, "{verdict} {policy:?} {spf}");
        }
    }

    #[test]
    fn refusing_is_a_choice_and_not_for_sealed_mail() {
        let mut results = results(Verdict::Fail, Policy::Reject, Verdict::Fail);
        assert!(matches!(judge(&results, true), Judgement::Refuse(_)));
        assert_eq!(judge(&results, false), Judgement::Junk);
        results.arc = Some(Chain {
            verdict: Verdict::Pass,
            ..Chain::default()
        });
        assert_eq!(judge(&results, true), Judgement::Junk);
    }

    #[test]
    fn a_signature_outweighs_spf() {
        let mut results = results(Verdict::None, Policy::None, Verdict::Fail);
        results.dkim.push(Verified {
            verdict: Verdict::Pass,
            ..Verified::default()
        });
        assert_eq!(judge(&results, true), Judgement::Accept);
    }
}
