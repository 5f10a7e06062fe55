//! What the owner gives: requests of the control socket, certificates.

use super::fuzz;
use pillarbox::control::Request;
use pillarbox::net::x509::{names, validity};

/// A request that is read is written as the one line that reads the same.
#[test]
fn control_requests() {
    let seeds: [&[u8]; 7] = [
        b"account-add alice@demo.test two%20words",
        b"account-list",
        b"account-password \"a%20b\"@demo.test x%25y",
        b"account-delete alice@demo.test",
        b"alias-add b@demo.test alice@demo.test",
        b"alias-remove b@demo.test",
        b"alias-list",
    ];
    fuzz("control requests", &seeds, |bytes| {
        let Ok(request) = Request::read(bytes) else {
            return;
        };
        let written = request.write();
        let line = written.reveal().strip_suffix(b"\n").expect("a line");
        assert!(!line.contains(&b'\n'));
        let again = Request::read(line).expect("what was written is read");
        assert_eq!(again.write().reveal(), written.reveal());
    });
}

#[test]
fn certificates() {
    let certificate = |from, to| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let names = vec!["mail.example.org".to_string()];
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 12, 31);
        params
            .self_signed(&key)
            .expect("a certificate")
            .der()
            .to_vec()
    };
    let (utc, general) = (certificate(1975, 2030), certificate(2051, 4000));
    assert!(validity(&utc).is_some() && validity(&general).is_some());
    fuzz("certificates", &[&utc, &general], |bytes| {
        validity(bytes);
        assert!(names(bytes).len() <= 100);
    });
}
