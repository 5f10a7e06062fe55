//! What the owner gives: requests of the control socket, certificates.

use super::fuzz;
use pillarbox::control::Request;
use pillarbox::net::x509::{names, validity};
use pillarbox::secret::{Credential, Secret};
use pillarbox::setup::answers::{Answers, Facts};
use pillarbox::setup::check::Finding;
use pillarbox::setup::wizard::{Step, Wizard};
use pillarbox::setup::{document, sealed};

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

fn appliance() -> Facts {
    Facts {
        appliance: true,
        ..Facts::default()
    }
}

/// An answer file that is read is written as one that reads the same.
#[test]
fn answer_files() {
    let seeds: [&[u8]; 2] = [
        b"language = \"ru\"\nhostname = \"mail.b.test\"\n[administrator]\npassword = \"long enough\"\n\
          [account]\naddress = \"anna\"\npassword = \"long enough\"\n",
        b"hostname = \"mail.b.test\"\nservices = [\"imap\"]\n[network]\nmode = \"static\"\n\
          address = \"10.0.0.2/8\"\n[administrator]\npassword = \"long enough\"\n[account]\n\
          address = \"a@b.test\"\npassword = \"long enough\"\n[relay]\nmode = \"smarthost\"\n\
          host = \"smtp.c.test\"\nport = 465\nuser = \"-\"\n",
    ];
    let all = |answers: &Answers| -> Vec<(String, String)> {
        answers
            .all()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    };
    fuzz("answer files", &seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let Ok(answers) = document::read(text, &appliance()) else {
            return;
        };
        let written = document::write(&answers, true);
        let again = document::read(&written, &appliance()).expect("what was written is read");
        assert_eq!(all(&again), all(&answers));
    });
}

/// Whatever is typed, the wizard goes on asking or ends, and keeps what it can read again.
#[test]
fn wizard_lines() {
    let seeds: [&[u8]; 2] = [
        b"2\n\n\nmail.b.test\n<\n?\n\n\nimap\n1\nlong enough\nlong enough\nanna\nlong enough\n\
          long enough\n3\nyes\n",
        b"1\n2\n10.0.0.2/8\n\n\nUTC\nmail.b.test\n\n\n2\n/c\n/k\nlong enough\nlong enough\nanna\n\
          long enough\nlong enough\n2\nsmtp.c.test\n465\n\n\nsecret\n4\n!\n",
    ];
    let password = Secret::new("long enough".to_string());
    let sealed = sealed::write(&Credential::create(&password).expect("a credential"));
    fuzz("wizard lines", &seeds, |bytes| {
        let mut wizard = Wizard::new(appliance(), Answers::default());
        for line in bytes.split(|byte| *byte == b'\n') {
            wizard.line(std::str::from_utf8(line).ok());
            loop {
                match wizard.step() {
                    Step::Save(text) => {
                        let kept = document::resume(text.reveal());
                        assert_eq!(kept.len(), wizard.answers().len());
                        wizard.saved(Ok(()));
                    }
                    Step::Check(_) => wizard.found(Finding::Unknown(String::new())),
                    Step::Seal(_) => wizard.sealed(Ok(sealed.clone())),
                    Step::Apply => wizard.applied(Err("not here".into())),
                    Step::Line { .. } => break,
                    Step::Done | Step::Left => return,
                }
            }
            assert!(!wizard.take_output().is_empty());
        }
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
