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

fn client(service: &'static str) -> Client {
    Client {
        service,
        peer: Ipv4Addr::LOCALHOST.into(),
        presence: Some(Arc::default()),
    }
}

/// What a login by that certificate comes to: who it is, or why not.
fn outcome(login: &Login, certificate: Certificate, acting_as: &str) -> Result<String, Denial> {
    let ask = Ask::Certificate {
        certificate,
        acting_as: acting_as.into(),
    };
    match block_on(login.answer(&client("imap"), ask)) {
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
        let verdict = block_on(login.answer(&client("imap"), ask));
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

#[test]
fn an_app_password_is_for_its_device_and_services_until_it_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        reserve: 0,
        ballast: 0,
        ..Options::default()
    };
    let store = Store::open(dir.path(), options).unwrap();
    let login = Login::new(store.clone()).unwrap();
    let secret = |text: &str| Secret::new(text.to_string());
    let credential = Credential::create(&secret("long enough")).unwrap();
    let ann = block_on(store.create_account(address("ann@b.test"), credential)).unwrap();
    let site = store.look(|it| it.site_key()).unwrap();
    let make = |name: &str, services| {
        let (text, tag, scram) = AppSecret::create(site.reveal()).unwrap();
        let app = AppPassword {
            name: name.into(),
            made: 1,
            services,
            tag,
            scram,
        };
        block_on(store.add_app_password(ann, app)).unwrap();
        text.reveal().clone()
    };
    let (phone, laptop) = (make("phone", 1), make("laptop", 0));
    let by = |service, login_name: &str, password: &str| {
        let client = client(service);
        let ask = Ask::Password {
            login: login_name.into(),
            password: secret(password),
        };
        let verdict = block_on(login.answer(&client, ask));
        let owner = client.presence.unwrap().owner.load(Ordering::Acquire);
        match verdict {
            Verdict::Granted(_) => Ok(owner),
            Verdict::Denied(denial) => Err((denial, owner)),
            Verdict::Keys(_) => panic!("nobody asked for keys"),
        }
    };
    let refused = Err((Denial::Credentials, 0));
    let owner_of = |means: &str| Ok(owner(ann, means));
    assert_eq!(
        by("imap", "ann@b.test", &phone),
        owner_of("app password phone")
    );
    assert_eq!(
        by("imap", "ann", &phone.replace('-', "")),
        owner_of("app password phone")
    );
    assert_eq!(
        by("imap", "ann@b.test/phone", &phone),
        owner_of("app password phone")
    );
    assert_eq!(
        by("imap", "ann@b.test", "long enough"),
        owner_of("password")
    );
    assert_eq!(
        by("pop3", "ann@b.test", &laptop),
        owner_of("app password laptop")
    );
    for (service, name, password) in [
        ("pop3", "ann@b.test", phone.as_str()),
        ("imap", "ann@b.test/phone", laptop.as_str()),
        ("imap", "ann@b.test/phone", "long enough"),
        ("imap", "ann@b.test/none", phone.as_str()),
        ("imap", "bob@b.test", phone.as_str()),
    ] {
        assert_eq!(by(service, name, password), refused, "{service} {name}");
    }
    // SCRAM goes by the name alone.
    let keys = |service, name: &str| {
        let ask = Ask::Keys { login: name.into() };
        match block_on(login.answer(&client(service), ask)) {
            Verdict::Keys(keys) => keys.stored_key,
            _ => panic!("no keys for {name}"),
        }
    };
    let apps = store.look(|it| it.app_passwords(ann)).unwrap();
    let main = store.look(|it| it.credential(ann)).unwrap().unwrap();
    assert_eq!(keys("imap", "ann"), main.scram.stored_key);
    assert_eq!(keys("imap", "Ann@b.test/phone"), apps[0].scram.stored_key);
    // Nor does a device's name differ by its letters' size: nobody's keys don't either.
    assert_eq!(keys("imap", "Ann@b.test/PHONE"), apps[0].scram.stored_key);
    assert_ne!(keys("pop3", "ann@b.test/phone"), apps[0].scram.stored_key);
    assert_ne!(keys("imap", "ann@b.test/none"), main.scram.stored_key);
    block_on(store.remove_app_password(ann, "phone".into())).unwrap();
    assert_eq!(by("imap", "ann@b.test", &phone), refused);
    // A proof of a password that is no more lets nobody in, nor does one of another device.
    let proof = |name: &str, won: [u8; 32]| {
        let ask = Ask::Proof {
            login: name.into(),
            won: Some(won),
        };
        matches!(
            block_on(login.answer(&client("imap"), ask)),
            Verdict::Granted(_)
        )
    };
    assert!(proof("ann", main.scram.stored_key));
    assert!(!proof("ann", apps[0].scram.stored_key));
    let new = Secret::new("another long one".to_string());
    let new = Credential::create(&new).unwrap();
    block_on(store.set_credential(ann, new)).unwrap();
    assert!(!proof("ann", main.scram.stored_key));
    block_on(store.set_credential(ann, main.clone())).unwrap();
    let ended = block_on(store.ended_sessions());
    assert!(is_ended(owner(ann, "app password phone"), &ended[0]));
    assert!(!is_ended(owner(ann, "app password laptop"), &ended[0]));
    assert!(!is_ended(0, &ended[0]));
    // Nobody learns that an account is disabled but who has its password.
    let off = Standing::Disabled { takes_mail: true };
    block_on(store.set_standing(ann, Standing::Active, off)).unwrap();
    assert_eq!(by("imap", "ann", "long enough"), Err((Denial::Disabled, 0)));
    assert_eq!(by("imap", "ann", &laptop), Err((Denial::Disabled, 0)));
    assert_eq!(by("imap", "ann", "wrong one"), refused);
    let until = Standing::Deleted { until: 1 << 40 };
    block_on(store.set_standing(ann, off, until)).unwrap();
    assert_eq!(by("imap", "ann", "long enough"), refused);
    assert!(
        block_on(store.ended_sessions())
            .iter()
            .all(|it| is_ended(owner(ann, "x"), it))
    );
    // All of that is in the log, and no name that is nobody's.
    block_on(store.save_events(Duration::from_secs(3600))).unwrap();
    let wanted = store::Wanted {
        most: 100,
        ..store::Wanted::default()
    };
    let events = store.look(|it| it.events(&wanted)).unwrap();
    assert!(
        events
            .iter()
            .all(|it| it.account.is_empty() || it.account == "ann@b.test")
    );
    let count = |what: &str| -> u32 {
        let same = events.iter().filter(|it| it.what == what);
        same.map(|it| it.times).sum()
    };
    assert_eq!(count("app password phone"), 3);
    assert_eq!(count("the account is disabled"), 2);
    assert_eq!(count("wrong name or password"), 10);
    block_on(store.close());
}
