use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

struct Chain {
    leaf: CertificateDer<'static>,
    authority: CertificateDer<'static>,
}

/// A certificate for `mx.example`, below an authority of its own.
fn chain() -> Chain {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["mx.example".to_string()]).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    Chain {
        leaf: leaf.der().clone(),
        authority: issuer.der().clone(),
    }
}

fn record(usage: u8, selector: u8, matching: u8, certificate: &CertificateDer<'_>) -> Tlsa {
    let parsed = ParsedCertificate::try_from(certificate).unwrap();
    let data = match selector {
        0 => certificate.to_vec(),
        _ => parsed.subject_public_key_info().to_vec(),
    };
    let data = match matching {
        0 => data,
        1 => digest::digest(&digest::SHA256, &data).as_ref().to_vec(),
        _ => digest::digest(&digest::SHA512, &data).as_ref().to_vec(),
    };
    Tlsa {
        usage,
        selector,
        matching,
        data,
    }
}

fn holds(trust: Trust, chain: &Chain, name: &str) -> bool {
    let verifier = Verifier {
        trust,
        provider: provider(),
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let rest = [chain.authority.clone()];
    let now = UnixTime::now();
    verifier
        .verify_server_cert(&chain.leaf, &rest, &name, &[], now)
        .is_ok()
}

fn dane(records: Vec<Tlsa>, names: &[&str]) -> Trust {
    Trust::Dane {
        records,
        names: names.iter().map(|it| it.to_string()).collect(),
    }
}

#[test]
fn tlsa_records_name_the_certificate() {
    let (ours, theirs) = (chain(), chain());
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            let own = record(3, selector, matching, &ours.leaf);
            let other = record(3, selector, matching, &theirs.leaf);
            // Whatever its name.
            assert!(holds(
                dane(vec![other.clone(), own], &[]),
                &ours,
                "else.example"
            ));
            assert!(!holds(
                dane(vec![other], &["mx.example"]),
                &ours,
                "mx.example"
            ));
        }
    }
}

#[test]
fn tlsa_records_name_the_authority_and_then_names_count() {
    let (ours, theirs) = (chain(), chain());
    let own = record(2, 0, 1, &ours.authority);
    assert!(holds(
        dane(vec![own.clone()], &["no.example", "mx.example"]),
        &ours,
        "mx.example"
    ));
    assert!(!holds(
        dane(vec![own], &["no.example"]),
        &ours,
        "mx.example"
    ));
    let other = record(2, 0, 1, &theirs.authority);
    assert!(!holds(
        dane(vec![other], &["mx.example"]),
        &ours,
        "mx.example"
    ));
    // An authority's record is none for the leaf, nor the other way round.
    let crossed = vec![
        record(3, 0, 1, &ours.authority),
        record(2, 0, 1, &ours.leaf),
    ];
    assert!(!holds(dane(crossed, &["mx.example"]), &ours, "mx.example"));
    // PKIX usages are not for SMTP.
    let pkix = vec![
        record(1, 0, 1, &ours.leaf),
        record(0, 0, 1, &ours.authority),
    ];
    assert!(!holds(dane(pkix, &["mx.example"]), &ours, "mx.example"));
}

#[test]
fn authorities_vouch_for_a_name() {
    let (ours, theirs) = (chain(), chain());
    let roots = |chain: &Chain| {
        let mut roots = RootCertStore::empty();
        roots.add(chain.authority.clone()).unwrap();
        Trust::Roots(Arc::new(roots))
    };
    assert!(holds(roots(&ours), &ours, "mx.example"));
    assert!(!holds(roots(&ours), &ours, "else.example"));
    assert!(!holds(roots(&theirs), &ours, "mx.example"));
    assert!(holds(Trust::Any, &ours, "else.example"));
}

#[test]
fn records_that_nothing_can_be_held_to_are_told() {
    let with = |usage, selector, matching, length| Tlsa {
        usage,
        selector,
        matching,
        data: vec![0; length],
    };
    for good in [with(3, 1, 1, 32), with(2, 0, 2, 64), with(3, 0, 0, 5)] {
        assert!(is_usable(&good), "{good:?}");
    }
    for bad in [
        with(1, 1, 1, 32),
        with(4, 1, 1, 32),
        with(3, 2, 1, 32),
        with(3, 1, 1, 31),
        with(3, 1, 3, 32),
        with(3, 1, 0, 0),
    ] {
        assert!(!is_usable(&bad), "{bad:?}");
    }
}
