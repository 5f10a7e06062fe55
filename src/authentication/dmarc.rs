//! DMARC: whether what DKIM and SPF have shown is about the author's domain, and what that
//! domain asks for where it is not (RFC 7489).
//!
//! The organizational domain is found by asking DNS up the tree, as RFC 7489's successor
//! does (draft-ietf-dmarc-dmarcbis, 4.10), not from a list of public suffixes: a list ages in
//! a server that nobody updates, and is larger than all of this.

use super::dkim::Verified;
use super::tags::Tags;
use super::{Dns, Unavailable, Verdict, ascii_domain, is_within, spf};
use std::collections::HashMap;

/// Labels of a name that the walk up begins with after the author's own (4.10).
const MAX_WALK: usize = 7;

/// What a domain asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    #[default]
    None,
    Quarantine,
    Reject,
}

impl Policy {
    pub fn word(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    fn parse(word: &str) -> Option<Policy> {
        let all = [Policy::None, Policy::Quarantine, Policy::Reject];
        all.into_iter()
            .find(|it| it.word().eq_ignore_ascii_case(word))
    }

    /// `t=y`, or not among the share of `pct=`: one step less (4.7; RFC 7489, 6.6.4).
    fn in_test(self) -> Policy {
        match self {
            Policy::Reject => Policy::Quarantine,
            _ => Policy::None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub reason: &'static str,
    /// The author's domain, in A-labels.
    pub domain: String,
    /// What to do with a message that fails.
    pub policy: Policy,
    /// The domain at the head of the author's, as far as DNS tells.
    pub organization: String,
    /// Whether something that passed is of the author's domain: with a policy that is what
    /// the verdict says, but for a domain without one too.
    pub shown: bool,
}

/// A record at `_dmarc.domain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    policy: Policy,
    /// `sp=`: for what is below the domain.
    below: Option<Policy>,
    /// `np=`: for what is below it and does not exist.
    missing: Option<Policy>,
    strict_dkim: bool,
    strict_spf: bool,
    testing: bool,
    /// `pct=`: of a hundred messages that fail, how many are held to the policy.
    percent: u8,
    psd: Psd,
}

/// `psd=`: whether the domain is one under which others register theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Psd {
    Yes,
    No,
    Unknown,
}

impl Record {
    /// `None` for what is no DMARC record, which is then as if it were not there.
    pub fn parse(text: &[u8]) -> Option<Record> {
        let tags = Tags::parse(text)?;
        if tags.first() != Some(("v", "DMARC1")) {
            return None;
        }
        let policy = |tag: &str| tags.get(tag).map(Policy::parse);
        let own = match policy("p") {
            Some(Some(policy)) => policy,
            // Reports are wanted at least (4.10.1).
            _ if tags.get("rua").is_some() => Policy::None,
            _ => return None,
        };
        let is = |tag: &str, word: &str| {
            tags.get(tag)
                .is_some_and(|it| it.eq_ignore_ascii_case(word))
        };
        Some(Record {
            policy: own,
            below: policy("sp").flatten(),
            missing: policy("np").flatten(),
            strict_dkim: is("adkim", "s"),
            strict_spf: is("aspf", "s"),
            testing: is("t", "y"),
            percent: tags
                .get("pct")
                .and_then(|it| it.parse().ok())
                .unwrap_or(100),
            psd: match (is("psd", "y"), is("psd", "n")) {
                (true, _) => Psd::Yes,
                (_, true) => Psd::No,
                _ => Psd::Unknown,
            },
        })
    }
}

/// What SPF and DKIM have come to.
pub struct Shown<'a> {
    /// Of MAIL, or of HELO where the path is null; with the domain that was checked.
    pub spf: (&'a spf::Outcome, &'a str),
    pub dkim: &'a [Verified],
    /// Not all that could be shown was found out in time.
    pub incomplete: bool,
    /// A number below 100, drawn for the message: whether it is among a share of them.
    pub draw: u8,
}

/// `author`: the domain of the From field; of an address literal there is nothing to find.
pub async fn check<D: Dns>(dns: &D, author: &str, shown: &Shown<'_>) -> Outcome {
    let Some(domain) = super::signature::name(Some(author)) else {
        return Outcome {
            verdict: Verdict::None,
            ..Outcome::default()
        };
    };
    let mut walk = Walk {
        dns,
        records: HashMap::new(),
    };
    match evaluate(&mut walk, &domain, shown).await {
        Ok(outcome) => outcome,
        Err(Unavailable) => Outcome {
            verdict: Verdict::TempError,
            reason: "DNS does not answer",
            organization: domain.clone(),
            domain,
            ..Outcome::default()
        },
    }
}

async fn evaluate<D: Dns>(
    walk: &mut Walk<'_, D>,
    author: &str,
    shown: &Shown<'_>,
) -> Result<Outcome, Unavailable> {
    let organization = walk.organization(author).await?;
    let (record, its_domain) = match walk.record(author).await? {
        Some(record) => (record, author.to_owned()),
        None => match walk.policy_above(author, &organization).await? {
            Some(found) => found,
            None => {
                return Ok(Outcome {
                    shown: aligned(walk, author, &organization, (false, false), shown).await?,
                    domain: author.into(),
                    organization,
                    ..Outcome::default()
                });
            }
        },
    };
    let mut policy = record.policy;
    if its_domain != author {
        policy = record.below.unwrap_or(policy);
        if let Some(missing) = record.missing
            && !exists(walk.dns, author).await?
        {
            policy = missing;
        }
    }
    if record.testing || shown.draw >= record.percent {
        policy = policy.in_test();
    }
    let strict = (record.strict_dkim, record.strict_spf);
    let passed = aligned(walk, author, &organization, strict, shown).await?;
    // A check that could not be made may be why nothing passes; one of another organization
    // would not have counted.
    let counts = |domain: &str| is_within(domain, &organization);
    let unsure = shown.incomplete
        || (shown.spf.0.verdict == Verdict::TempError
            && ascii_domain(shown.spf.1).is_some_and(|domain| counts(&domain)))
        || shown
            .dkim
            .iter()
            .any(|it| it.verdict == Verdict::TempError && counts(&it.domain));
    let (verdict, reason) = match (passed, unsure) {
        (true, _) => (Verdict::Pass, ""),
        (false, true) => (Verdict::TempError, "DNS does not answer"),
        (false, false) => (Verdict::Fail, ""),
    };
    Ok(Outcome {
        verdict,
        reason,
        domain: author.into(),
        policy,
        organization,
        shown: passed,
    })
}

/// Whether something that passed is of the author's domain, or relaxed, of its organization.
/// Which it is to be, for DKIM and SPF: whether strict.
async fn aligned<D: Dns>(
    walk: &mut Walk<'_, D>,
    author: &str,
    organization: &str,
    (strict_dkim, strict_spf): (bool, bool),
    shown: &Shown<'_>,
) -> Result<bool, Unavailable> {
    let signers = shown.dkim.iter();
    let signers = signers.filter(|it| it.verdict == Verdict::Pass);
    let mut passed: Vec<(String, bool)> =
        signers.map(|it| (it.domain.clone(), strict_dkim)).collect();
    if shown.spf.0.verdict == Verdict::Pass
        && let Some(domain) = ascii_domain(shown.spf.1)
    {
        passed.push((domain, strict_spf));
    }
    for (domain, strict) in passed {
        if domain == author {
            return Ok(true);
        }
        // Only a name of the same organization can have it: the others cost no question.
        if !strict
            && is_within(&domain, organization)
            && walk.organization(&domain).await? == organization
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a domain has an address or takes mail (draft-ietf-dmarc-dmarcbis, 3.2.13).
async fn exists<D: Dns>(dns: &D, domain: &str) -> Result<bool, Unavailable> {
    Ok(!dns.mx(domain).await?.is_empty()
        || !dns.addresses(domain, false).await?.is_empty()
        || !dns.addresses(domain, true).await?.is_empty())
}

/// Goes up the tree, asking for each record once.
struct Walk<'a, D> {
    dns: &'a D,
    records: HashMap<String, Option<Record>>,
}

impl<D: Dns> Walk<'_, D> {
    async fn record(&mut self, domain: &str) -> Result<Option<Record>, Unavailable> {
        if let Some(known) = self.records.get(domain) {
            return Ok(known.clone());
        }
        let texts = self.dns.txt(&format!("_dmarc.{domain}")).await?;
        let mut found = texts.iter().filter_map(|it| Record::parse(it));
        let record = match (found.next(), found.next()) {
            (Some(record), None) => Some(record),
            // Two are none (RFC 7489, 6.6.3).
            _ => None,
        };
        self.records.insert(domain.into(), record.clone());
        Ok(record)
    }

    /// draft-ietf-dmarc-dmarcbis, 4.10.2.
    async fn organization(&mut self, start: &str) -> Result<String, Unavailable> {
        let mut highest = None;
        let mut below = start;
        for domain in walk(start) {
            if let Some(record) = self.record(domain).await? {
                match record.psd {
                    Psd::No => return Ok(domain.into()),
                    Psd::Yes if domain != start => return Ok(below.into()),
                    _ => highest = Some(domain),
                }
            }
            below = domain;
        }
        Ok(highest.unwrap_or(start).into())
    }

    /// The organization's record, else that of the public suffix above it.
    async fn policy_above(
        &mut self,
        author: &str,
        organization: &str,
    ) -> Result<Option<(Record, String)>, Unavailable> {
        if let Some(record) = self.record(organization).await? {
            return Ok(Some((record, organization.into())));
        }
        for domain in walk(author) {
            if let Some(record) = self.record(domain).await?
                && record.psd == Psd::Yes
            {
                return Ok(Some((record, domain.into())));
            }
        }
        Ok(None)
    }
}

/// The name itself, then what is above it, of seven labels at most.
fn walk(start: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(start), |name| {
        let mut next = above(name)?;
        while next.split('.').count() > MAX_WALK {
            next = above(next)?;
        }
        Some(next)
    })
}

fn above(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Zone;
    use super::*;
    use futures_lite::future::block_on;

    /// SPF passes for `spf`, DKIM for each of `dkim`; empty for nothing that passes.
    fn outcome(zone: &Zone, author: &str, spf: &str, dkim: &[&str]) -> (Verdict, Policy) {
        let verdict = if spf.is_empty() {
            Verdict::Fail
        } else {
            Verdict::Pass
        };
        let spf_outcome = spf::Outcome {
            verdict,
            ..spf::Outcome::default()
        };
        let signer = |domain: &&str| Verified {
            verdict: Verdict::Pass,
            domain: (*domain).into(),
            ..Verified::default()
        };
        let dkim: Vec<Verified> = dkim.iter().map(signer).collect();
        let shown = Shown {
            spf: (&spf_outcome, spf),
            dkim: &dkim,
            incomplete: false,
            draw: 49,
        };
        let outcome = block_on(check(zone, author, &shown));
        (outcome.verdict, outcome.policy)
    }

    #[test]
    fn only_what_could_be_the_authors_leaves_a_doubt() {
        let zone = Zone::with(&[("_dmarc.example.com", "v=DMARC1; p=reject")]);
        let spf_outcome = spf::Outcome {
            verdict: Verdict::Fail,
            ..spf::Outcome::default()
        };
        let verdict = |domain: &str, incomplete| {
            let unread = Verified {
                verdict: Verdict::TempError,
                domain: domain.into(),
                ..Verified::default()
            };
            let shown = Shown {
                spf: (&spf_outcome, "elsewhere.test"),
                dkim: &[unread],
                incomplete,
                draw: 0,
            };
            block_on(check(&zone, "example.com", &shown)).verdict
        };
        assert_eq!(verdict("elsewhere.test", false), Verdict::Fail);
        assert_eq!(verdict("mail.example.com", false), Verdict::TempError);
        assert_eq!(verdict("elsewhere.test", true), Verdict::TempError);
    }

    #[test]
    fn an_author_without_policy_is_shown_too() {
        let zone = Zone::with(&[("_dmarc.example.com", "v=DMARC1; p=none")]);
        let found = |author: &str, spf: &str| {
            let passes = spf::Outcome {
                verdict: Verdict::Pass,
                ..spf::Outcome::default()
            };
            let shown = Shown {
                spf: (&passes, spf),
                dkim: &[],
                incomplete: false,
                draw: 0,
            };
            let found = block_on(check(&zone, author, &shown));
            (found.verdict, found.organization, found.shown)
        };
        let other = "other.net".to_owned();
        assert_eq!(
            found("other.net", "Other.net"),
            (Verdict::None, other.clone(), true)
        );
        assert_eq!(
            found("other.net", "evil.test"),
            (Verdict::None, other, false)
        );
        let example = "example.com".to_owned();
        assert_eq!(
            found("a.example.com", "b.example.com"),
            (Verdict::Pass, example.clone(), true)
        );
        assert_eq!(
            found("a.example.com", "evil.test"),
            (Verdict::Fail, example, false)
        );
    }

    #[test]
    fn what_is_shown_must_be_of_the_author() {
        let zone = Zone::with(&[
            (
                "_dmarc.example.com",
                "v=DMARC1; p=reject; sp=quarantine; np=none",
            ),
            ("_dmarc.strict.org", "v=DMARC1; p=reject; adkim=s; aspf=s"),
        ]);
        let pass = |author, spf, dkim: &[&str]| outcome(&zone, author, spf, dkim).0;
        assert_eq!(pass("example.com", "example.com", &[]), Verdict::Pass);
        assert_eq!(
            pass("Example.COM", "bounce.example.com", &[]),
            Verdict::Pass
        );
        assert_eq!(pass("a.example.com", "", &["b.example.com"]), Verdict::Pass);
        assert_eq!(
            pass("example.com", "", &["x.test", "example.com"]),
            Verdict::Pass
        );
        assert_eq!(
            pass("example.com", "badexample.com", &["com"]),
            Verdict::Fail
        );
        assert_eq!(
            pass("strict.org", "m.strict.org", &["m.strict.org"]),
            Verdict::Fail
        );
        assert_eq!(pass("strict.org", "", &["strict.org"]), Verdict::Pass);
        assert_eq!(pass("other.net", "other.net", &[]), Verdict::None);
        assert_eq!(pass("[192.0.2.1]", "", &[]), Verdict::None);
    }

    #[test]
    fn the_policy_is_that_of_the_nearest_record() {
        let mut zone = Zone::with(&[
            (
                "_dmarc.example.com",
                "v=DMARC1; p=reject; sp=quarantine; np=none",
            ),
            ("_dmarc.test.net", "v=DMARC1; p=reject; t=y"),
            ("_dmarc.half.net", "v=DMARC1; p=reject; pct=50"),
            ("_dmarc.less.net", "v=DMARC1; p=reject; pct=49"),
            ("_dmarc.zero.net", "v=DMARC1; p=quarantine; pct=0"),
            ("_dmarc.odd.net", "v=DMARC1; p=reject; pct=many"),
            ("_dmarc.rua.net", "v=DMARC1; p=maybe; rua=mailto:x@rua.net"),
            ("_dmarc.two.net", "v=DMARC1; p=reject"),
            ("_dmarc.two.net", "v=DMARC1; p=none"),
            ("_dmarc.bad.net", "v=DMARC1; p=maybe"),
        ]);
        zone.mx.insert("there.example.com".into(), vec!["x".into()]);
        let policy = |author| outcome(&zone, author, "", &[]);
        assert_eq!(policy("example.com"), (Verdict::Fail, Policy::Reject));
        assert_eq!(
            policy("there.example.com"),
            (Verdict::Fail, Policy::Quarantine)
        );
        assert_eq!(policy("gone.example.com"), (Verdict::Fail, Policy::None));
        assert_eq!(policy("test.net"), (Verdict::Fail, Policy::Quarantine));
        assert_eq!(policy("half.net"), (Verdict::Fail, Policy::Reject));
        assert_eq!(policy("less.net"), (Verdict::Fail, Policy::Quarantine));
        assert_eq!(policy("zero.net"), (Verdict::Fail, Policy::None));
        assert_eq!(policy("odd.net"), (Verdict::Fail, Policy::Reject));
        assert_eq!(policy("rua.net"), (Verdict::Fail, Policy::None));
        assert_eq!(policy("two.net"), (Verdict::None, Policy::None));
        assert_eq!(policy("bad.net"), (Verdict::None, Policy::None));
    }

    #[test]
    fn the_walk_finds_the_organization() {
        let zone = Zone::with(&[
            ("_dmarc.co.uk", "v=DMARC1; p=reject; psd=y"),
            ("_dmarc.sub.firm.co.uk", "v=DMARC1; p=none; psd=n"),
            ("_dmarc.a.b.c.d.e.f.g.h.i.example", "v=DMARC1; p=none"),
            ("_dmarc.example", "v=DMARC1; p=reject"),
        ]);
        let find = |name: &str| {
            let mut walk = Walk {
                dns: &zone,
                records: HashMap::new(),
            };
            block_on(walk.organization(name)).unwrap()
        };
        assert_eq!(find("firm.co.uk"), "firm.co.uk");
        assert_eq!(find("x.y.firm.co.uk"), "firm.co.uk");
        assert_eq!(find("x.sub.firm.co.uk"), "sub.firm.co.uk");
        assert_eq!(find("co.uk"), "co.uk");
        assert_eq!(find("a.b.c.d.e.f.g.h.i.example"), "example");
        assert_eq!(find("nothing.test"), "nothing.test");
        // Two firms under one public suffix are not one organization.
        assert_eq!(
            outcome(&zone, "one.co.uk", "two.co.uk", &[]).0,
            Verdict::Fail
        );
        let names: Vec<&str> = walk("1.2.3.4.5.6.7.8.9").collect();
        assert_eq!(names.len(), 8);
        assert_eq!(names.get(1), Some(&"3.4.5.6.7.8.9"));
    }

    #[test]
    fn without_dns_nothing_fails() {
        let mut zone = Zone::default();
        zone.down.push("_dmarc.example.com".into());
        let got = outcome(&zone, "example.com", "", &[]);
        assert_eq!(got, (Verdict::TempError, Policy::None));
    }
}
