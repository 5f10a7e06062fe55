use super::*;
use crate::address::Address;
use crate::mail::certificate::Fingerprint;
use crate::store::{KnownCertificate, Options};
use smol::block_on;
use std::net::Ipv4Addr;

const HOUR: i64 = 3600;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn shown(n: u8, until: i64) -> Certificate {
    Certificate {
        fingerprint: Fingerprint([n; 32]),
        from: unix_now() - 2 * HOUR,
        until,
    }
}

/// What a login by that certificate comes to: who it is, or why not.
fn outcome(login: &Login, certificate: Certificate, acting_as: &str) -> Result<String, Denial> {
    let ask = Ask::Certificate {
        certificate,
        acting_as: acting_as.into(),
    };
    match block_on(login.answer(Ipv4Addr::LOCALHOST.into(), ask)) {
        Verdict::Granted(account) => Ok(account.address.to_string()),
        Verdict::Denied(denial) => Err(denial),
        Verdict::Keys(_) => panic!("nobody asked for keys"),
    }
}

#[test]
fn a_certificate_is_its_accounts_alone_while_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        reserve: 0,
        ballast: 0,
        ..Options::default()
    };
    let store = Store::open(dir.path(), options).unwrap();
    let login = Login::new(store.clone()).unwrap();
    let later = unix_now() + HOUR;
    let (good, expired) = (shown(1, later), shown(2, unix_now() - HOUR));
    let ann = block_on(async {
        let secret = Secret::new("long enough".to_string());
        let credential = Credential::create(&secret).unwrap();
        let make = |name| store.create_account(address(name), credential.clone());
        let ann = make("ann@b.test").await.unwrap();
        make("bob@b.test").await.unwrap();
        store.add_alias(address("info@b.test"), ann).await.unwrap();
        for it in [good, expired] {
            let known = KnownCertificate {
                fingerprint: it.fingerprint,
                account: ann,
                until: it.until,
            };
            assert_eq!(store.add_certificate(known).await, Ok(()));
            assert_eq!(
                store.add_certificate(known).await,
                Err(store::Error::Exists)
            );
        }
        ann
    });
    for name in ["", "ann", "ANN@B.test", "info@b.test"] {
        let own = Ok("ann@b.test".to_string());
        assert_eq!(outcome(&login, good, name), own, "{name}");
    }
    for name in ["bob", "bob@b.test", "nobody", " "] {
        let denied = Err(Denial::Credentials);
        assert_eq!(outcome(&login, good, name), denied, "{name}");
    }
    assert_eq!(outcome(&login, expired, ""), Err(Denial::Expired));
    let stranger = shown(3, later);
    assert_eq!(outcome(&login, stranger, ""), Err(Denial::Credentials));
    assert_eq!(login.known(Some(good)), Some(good));
    assert_eq!(
        (login.known(Some(stranger)), login.known(None)),
        (None, None)
    );
    block_on(async {
        let other = store.remove_certificate(crate::mail::AccountId(ann.0 + 1), good.fingerprint);
        assert_eq!(other.await, Ok(false));
        store.delete_account(ann).await.unwrap();
    });
    assert_eq!(outcome(&login, good, ""), Err(Denial::Credentials));
    block_on(store.close());
}

/// The administrator is no mailbox: its name logs in by nothing, not even where it is an alias
/// of somebody who could.
#[test]
fn nobody_logs_in_by_a_reserved_name() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        reserve: 0,
        ballast: 0,
        ..Options::default()
    };
    let store = Store::open(dir.path(), options).unwrap();
    let login = Login::new(store.clone()).unwrap();
    let password = || Secret::new("long enough".to_string());
    let good = shown(1, unix_now() + HOUR);
    block_on(async {
        let credential = Credential::create(&password()).unwrap();
        let ann = store.create_account(address("ann@b.test"), credential);
        let ann = ann.await.unwrap();
        for alias in ["administrator@b.test", "guest@b.test", "info@b.test"] {
            store.add_alias(address(alias), ann).await.unwrap();
        }
        let known = KnownCertificate {
            fingerprint: good.fingerprint,
            account: ann,
            until: good.until,
        };
        store.add_certificate(known).await.unwrap();
    });
    let granted = |name: &str| {
        let ask = Ask::Password {
            login: name.into(),
            password: password(),
        };
        let verdict = block_on(login.answer(Ipv4Addr::LOCALHOST.into(), ask));
        matches!(verdict, Verdict::Granted(_))
    };
    for name in ["ann", "info", "INFO@b.test"] {
        assert!(granted(name), "{name}");
    }
    let nobody = [
        "administrator",
        "Administrator@B.test",
        "\"administrator\"@b.test",
        "guest@b.test",
        "anonymous",
    ];
    for name in nobody {
        assert!(!granted(name), "{name}");
        assert_eq!(outcome(&login, good, name), Err(Denial::Credentials));
    }
}
