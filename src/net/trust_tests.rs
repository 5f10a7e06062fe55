use super::*;
use crate::net::connect::{Authorities, MAX_CONFIGS};
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

/// What a server answers the handshake with in memory: whether a session was resumed.
fn resumes(client: &Arc<ClientConfig>, server: &Arc<rustls::ServerConfig>, name: &str) -> bool {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(client.clone(), name).unwrap();
    let mut server = rustls::ServerConnection::new(server.clone()).unwrap();
    let mut wire = Vec::new();
    // A few rounds: the tickets come behind the handshake.
    for _ in 0..4 {
        client.write_tls(&mut wire).unwrap();
        while server.read_tls(&mut wire.as_slice()).unwrap() > 0 {
            server.process_new_packets().unwrap();
            wire.clear();
        }
        server.write_tls(&mut wire).unwrap();
        while client.read_tls(&mut wire.as_slice()).unwrap() > 0 {
            client.process_new_packets().unwrap();
            wire.clear();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    client.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
}

#[test]
fn a_session_is_resumed_under_the_same_trust_and_name_alone() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["mx.example", "mx2.example"].map(str::to_string);
    let params = CertificateParams::new(names.to_vec()).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap().der().clone();
    let server = rustls::ServerConfig::builder_with_provider(provider());
    let server = server.with_safe_default_protocol_versions().unwrap();
    let mut server = server
        .with_no_client_auth()
        .with_single_cert(vec![leaf.clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    let server = Arc::new(server);

    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let authorities = Authorities::new(None);
    let config = |trust: Trust| authorities.config(trust).unwrap();
    let (first, second) = (record(3, 1, 1, &leaf), record(3, 0, 1, &leaf));
    let kinds = [
        Trust::Any,
        Trust::Roots(roots.clone()),
        dane(vec![first.clone(), second.clone()], &["mx.example"]),
        dane(vec![first.clone()], &["mx.example"]),
        dane(vec![first.clone()], &["mx.example", "far.example"]),
    ];
    for trust in kinds {
        for name in ["mx.example", "mx2.example"] {
            let kind = config(trust.clone());
            assert!(!resumes(&kind, &server, name), "{trust:?} {name}: too soon");
            let again = config(trust.clone());
            assert!(resumes(&again, &server, name), "{trust:?} {name}");
        }
    }
    // The same records in another order are the same trust; other authorities are not.
    let turned = config(dane(vec![second, first], &["mx.example"]));
    assert!(resumes(&turned, &server, "mx2.example"));
    let others = config(Trust::Roots(Arc::new(RootCertStore::clone(&roots))));
    assert!(!resumes(&others, &server, "mx.example"));
    // More kinds than are kept: the oldest goes, with its sessions.
    for n in 0..MAX_CONFIGS {
        config(dane(vec![record(3, 0, 0, &leaf)], &[&format!("mx{n}")]));
    }
    assert!(!resumes(&config(Trust::Any), &server, "mx.example"));
}
