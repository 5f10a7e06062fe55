//! What becomes of mail from other servers, by what was found out of it. Pure.

use crate::authentication::dmarc::{self, Policy};
use crate::authentication::results::Results;
use crate::authentication::{Verdict, is_within};

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

/// Of a message that goes on to other servers too: whether it may. SPF speaks for us there, and
/// an author of ours would be believed whatever was found here; nobody there knows that it was
/// taken for Junk. `ours`: our domains, as DNS has them.
pub fn judge_onward(results: &Results, ours: &[String]) -> Judgement {
    let Some(dmarc) = &results.dmarc else {
        return Judgement::Accept;
    };
    let is_ours = is_ours(dmarc, ours);
    match (dmarc.verdict, dmarc.policy) {
        (Verdict::Pass, _) => Judgement::Accept,
        (Verdict::PermError, _) => Judgement::Refuse(
            "A member of that group is elsewhere, and the From field is not one of one domain",
        ),
        (Verdict::TempError, _) if is_ours || may_be_ours(dmarc, ours) => Judgement::Later,
        (Verdict::Fail, Policy::Reject | Policy::Quarantine) => Judgement::Refuse(
            "A member of that group is elsewhere, and the domain of the From field asks for \
             suspicion of mail that is not shown to be its own (DMARC)",
        ),
        _ if is_ours && !dmarc.shown => Judgement::Refuse(
            "A member of that group is elsewhere, and the From field has a domain of this server \
             for which neither SPF nor DKIM speaks",
        ),
        _ => Judgement::Accept,
    }
}

/// As [`judge_onward`], of what LMTP brings. The server in front has judged it; but whether an
/// author of ours wrote it, only a login here shows. `author`: what DNS says of the From
/// field's domain.
pub fn judge_unproven(author: &dmarc::Outcome, ours: &[String]) -> Judgement {
    match author.verdict {
        Verdict::PermError => Judgement::Refuse(
            "A member of that group is elsewhere, and the From field is not one of one domain",
        ),
        _ if is_ours(author, ours) => Judgement::Refuse(
            "A member of that group is elsewhere, and the From field has a domain of this server: \
             submit it with a login, which shows who wrote it",
        ),
        Verdict::TempError if may_be_ours(author, ours) => Judgement::Later,
        _ => Judgement::Accept,
    }
}

/// Whether the author's domain is of one organization with one of ours.
fn is_ours(author: &dmarc::Outcome, ours: &[String]) -> bool {
    let is_ours =
        |it: &String| is_within(it, &author.organization) || is_within(&author.domain, it);
    ours.iter().any(is_ours)
}

/// While DNS does not say which domain is at the head of the author's, a sister of ours can't
/// be told from a stranger: who shares the last two labels may be one.
fn may_be_ours(author: &dmarc::Outcome, ours: &[String]) -> bool {
    let head = |domain: &str| {
        let mut labels = domain.rsplit('.');
        (
            labels.next().map(str::to_owned),
            labels.next().map(str::to_owned),
        )
    };
    ours.iter().any(|it| head(it) == head(&author.domain))
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
    use crate::authentication::spf;

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

    fn author(verdict: Verdict, domain: &str, organization: &str) -> dmarc::Outcome {
        dmarc::Outcome {
            verdict,
            domain: domain.into(),
            organization: organization.into(),
            ..dmarc::Outcome::default()
        }
    }

    /// While DNS is down, the head of a domain is not known.
    #[test]
    fn a_sister_of_ours_waits_for_dns() {
        let ours = ["mail.corp.test".to_owned()];
        for (domain, expected) in [
            ("mail.corp.test", Judgement::Later),
            ("news.corp.test", Judgement::Later),
            ("corp.test", Judgement::Later),
            ("far.test", Judgement::Accept),
        ] {
            let results = Results {
                dmarc: Some(author(Verdict::TempError, domain, domain)),
                ..Results::default()
            };
            assert_eq!(judge_onward(&results, &ours), expected, "{domain}");
        }
    }

    #[test]
    fn who_is_of_ours_is_not_believed_without_a_login() {
        use Judgement::{Accept, Later};
        let ours = ["mail.corp.test".to_owned()];
        let judged = |verdict, domain: &str, organization: &str| {
            judge_unproven(&author(verdict, domain, organization), &ours)
        };
        for verdict in [Verdict::None, Verdict::Fail, Verdict::TempError] {
            for domain in ["mail.corp.test", "a.mail.corp.test"] {
                let told = judged(verdict, domain, domain);
                assert!(matches!(told, Judgement::Refuse(_)), "{domain}: {told:?}");
            }
        }
        let sister = judged(Verdict::None, "news.corp.test", "corp.test");
        assert!(matches!(sister, Judgement::Refuse(_)), "{sister:?}");
        let unclear = judged(Verdict::PermError, "", "");
        assert!(matches!(unclear, Judgement::Refuse(_)), "{unclear:?}");
        assert_eq!(
            judged(Verdict::TempError, "news.corp.test", "news.corp.test"),
            Later
        );
        assert_eq!(judged(Verdict::TempError, "far.test", "far.test"), Accept);
        assert_eq!(judged(Verdict::Fail, "far.test", "far.test"), Accept);
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
    fn nothing_doubtful_goes_on() {
        use Judgement::{Accept, Later};
        let ours = ["office.test".to_owned(), "a.firm.test".to_owned()];
        let judge = |domain: &str, organization: &str, verdict, policy, shown| {
            let mut results = results(verdict, policy, Verdict::Pass);
            let dmarc = results.dmarc.as_mut().unwrap();
            (dmarc.domain, dmarc.organization) = (domain.into(), organization.into());
            dmarc.shown = shown;
            // Who seals is anybody.
            results.arc = Some(Chain {
                verdict: Verdict::Pass,
                ..Chain::default()
            });
            judge_onward(&results, &ours)
        };
        let is_refused = |it| matches!(it, Judgement::Refuse(_));
        for (domain, organization) in [
            ("office.test", "office.test"),
            ("x.office.test", "office.test"),
            ("x.office.test", "x.office.test"),
            ("firm.test", "firm.test"),
            ("b.firm.test", "firm.test"),
        ] {
            let judge =
                |verdict, policy, shown| judge(domain, organization, verdict, policy, shown);
            for policy in [Policy::None, Policy::Quarantine, Policy::Reject] {
                assert!(is_refused(judge(Verdict::Fail, policy, false)), "{domain}");
                assert_eq!(judge(Verdict::TempError, policy, false), Later);
                assert_eq!(judge(Verdict::Pass, policy, true), Accept);
            }
            assert!(is_refused(judge(Verdict::None, Policy::None, false)));
            assert_eq!(judge(Verdict::None, Policy::None, true), Accept);
        }
        for foreign in ["far.test", "badoffice.test", "b.firm.test"] {
            let judge = |verdict, policy| judge(foreign, foreign, verdict, policy, false);
            assert_eq!(judge(Verdict::None, Policy::None), Accept);
            assert_eq!(judge(Verdict::Fail, Policy::None), Accept);
            // A sister of ours, for all that is known.
            let sister = foreign == "b.firm.test";
            let expected = if sister { Later } else { Accept };
            assert_eq!(judge(Verdict::TempError, Policy::None), expected);
            assert!(is_refused(judge(Verdict::Fail, Policy::Quarantine)));
            assert!(is_refused(judge(Verdict::Fail, Policy::Reject)));
            assert!(is_refused(judge(Verdict::PermError, Policy::None)));
        }
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
