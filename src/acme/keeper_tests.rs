use super::*;
use crate::address::Address;
use crate::mail::MailboxName;
use crate::net::dns::ResolverConfig;
use crate::net::tls::Source;
use crate::secret::Credential;
use crate::settings::document::Chosen;
use crate::store::Options;
use crate::store::simdisk::SimDisk;
use rcgen::{CertificateParams, KeyPair};
use std::fs;

#[path = "keeper_crossing_tests.rs"]
mod crossing;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

struct World {
    _dir: tempfile::TempDir,
    store: Store,
    keeper: Arc<Keeper>,
}

/// A server with one certificate of the owner's, until the end of 2098.
fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    world_with(dir, store, (2098, 12, 31))
}

/// The same on that store, with a certificate until that day.
fn world_with(dir: tempfile::TempDir, store: Store, (year, month, day): (i32, u8, u8)) -> World {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["mail.example.org".to_string()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, month, day);
    let certificate = params.self_signed(&key).unwrap();
    let path = dir.path().join("both.pem");
    fs::write(&path, key.serialize_pem() + &certificate.pem()).unwrap();
    let settings = Settings {
        administrators: vec![Address::parse("ann@example.org").unwrap()],
        ..Settings::default()
    };
    let live = Live::new(settings, Chosen::new(), &Chosen::new()).unwrap();
    let tls = Tls::new(Source::Files {
        certificate: path.clone(),
        key: path,
    });
    let resolver = Resolver::new(ResolverConfig::servers([]));
    let keeper = Keeper::new(
        store.clone(),
        Arc::new(live),
        tls.unwrap(),
        resolver,
        dir.path(),
    );
    World {
        _dir: dir,
        store,
        keeper,
    }
}

impl World {
    async fn account(&self) {
        let credential = Credential::create(&Secret::new("correct horse 7".into())).unwrap();
        let address = Address::parse("ann@example.org").unwrap();
        self.store
            .create_account(address, credential)
            .await
            .unwrap();
    }

    fn messages(&self) -> u32 {
        let found = self.store.look(|snapshot| {
            let accounts = snapshot.accounts()?;
            let inbox = snapshot.mailboxes(accounts[0].id)?;
            let inbox = inbox.iter().find(|it| it.name == MailboxName::inbox());
            Ok(inbox.map_or(0, |it| it.messages))
        });
        found.unwrap()
    }
}

#[test]
fn people_are_told_14_and_3_days_before_the_end_and_after_it_once_each() {
    let world = world();
    smol::block_on(async {
        world.account().await;
        let mut told = Vec::new();
        for day in [
            "2098-12-01",
            "2098-12-16",
            "2098-12-17",
            "2098-12-18",
            "2098-12-27",
        ] {
            world.keeper.look(at(&format!("{day}T06:00:00Z"))).await;
            told.push(world.messages());
        }
        for day in ["2098-12-28", "2098-12-29", "2098-12-31", "2099-02-01"] {
            world.keeper.look(at(&format!("{day}T06:00:00Z"))).await;
            told.push(world.messages());
        }
        assert_eq!(told, [0, 0, 1, 1, 1, 2, 2, 3, 3]);
    });
}

#[test]
fn a_clock_that_is_not_set_orders_nothing_and_tells_nothing() {
    let world = world();
    smol::block_on(async {
        world.account().await;
        let pause = world.keeper.turn(at("1970-01-01T00:01:00Z")).await;
        world.keeper.look(at("1970-01-01T00:01:00Z")).await;
        assert!(pause <= Duration::from_secs(60));
        assert_eq!(world.messages(), 0);
    });
}

#[test]
fn failures_are_told_once_and_a_success_ends_the_count() {
    let world = world();
    smol::block_on(async {
        world.account().await;
        let mut told = Vec::new();
        for _ in 0..5 {
            let failed = Err(Failure::new("no such name"));
            let tries = world.keeper.settle(failed).await.unwrap();
            assert_eq!(state::tries(&world.store), Ok(tries));
            told.push(world.messages());
        }
        assert_eq!(told, [0, 0, 1, 1, 1]);
        let tries = world.keeper.settle(Ok(())).await.unwrap();
        assert_eq!((tries.failures, tries.told_of_failures), (0, false));
    });
}

#[test]
fn an_order_is_due_for_new_names_and_at_a_third_but_not_before_the_pause() {
    let now = at("2026-11-23T12:00:00Z");
    let served = Served {
        from: "acme",
        names: vec!["a.test".into()],
        begins: at("2026-11-01T00:00:00Z"),
        ends: at("2027-01-30T00:00:00Z"),
    };
    let from = |from: Option<&str>, names: &[&str], tries: &Tries| {
        super::due(&served, from, &for_names(names), tries, now)
    };
    let due = |names: &[&str], tries: &Tries| from(Some("https://127.0.0.1:1/"), names, tries);
    let mut tries = Tries::default();
    assert_eq!(due(&["a.test"], &tries), at("2026-12-31T00:00:00Z"));
    assert_eq!(due(&["a.test", "b.test"], &tries), now);
    // That of another directory, of staging for instance, is not what is wanted.
    assert_eq!(
        from(Some("https://staging.test/"), &["a.test"], &tries),
        now
    );
    assert_eq!(from(None, &["a.test"], &tries), due(&["a.test"], &tries));
    tries.fail(now, &Failure::new("no"), 0);
    assert_eq!(due(&["b.test"], &tries), at("2026-11-23T12:15:00Z"));
}

#[test]
fn only_names_of_the_public_dns_are_ordered() {
    let mut settings = Settings {
        tls_source: "acme",
        hostname: "MAIL.bücher.example".into(),
        tls_names: vec!["mta-sts.a.test".into(), "mta-sts.a.test".into()],
        ..Settings::default()
    };
    let names = wanted(&settings).unwrap().names;
    assert_eq!(names, ["mail.xn--bcher-kva.example", "mta-sts.a.test"]);
    settings.hostname = "localhost".into();
    assert!(wanted(&settings).unwrap_err().contains("localhost"));
    settings.tls_source = "auto";
    assert!(wanted(&settings).unwrap_err().contains("tls.source"));
}

#[test]
fn what_was_not_asked_for_is_not_served() {
    let world = world();
    let made = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_string()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (key.serialize_pem(), certificate.pem())
    };
    let wanted = for_names(&["a.test"]);
    let (key, certificate) = made("a.test");
    let take = |text: String| smol::block_on(world.keeper.take(&Secret::new(text), &wanted));
    let other = take([made("b.test").0, made("b.test").1].concat());
    assert!(other.unwrap_err().why.contains("is not the key of"));
    let (theirs, other) = made("b.test");
    let error = take(theirs + &other).unwrap_err();
    assert!(
        error.why.ends_with("does not hold for a.test"),
        "{}",
        error.why
    );
    assert!(take(key.clone()).is_err() && take(String::new()).is_err());
    assert!(error.over);
    assert_eq!(state::directory(&world.store), Ok(None));
    take(key + &certificate).unwrap();
    let directory = state::directory(&world.store).unwrap();
    assert_eq!(directory.as_deref(), Some(wanted.directory.as_str()));
}

/// Of an authority that is never there: nobody listens on port 1.
fn for_names(names: &[&str]) -> Wanted {
    Wanted {
        directory: "https://127.0.0.1:1/".into(),
        names: names.iter().map(|it| it.to_string()).collect(),
        challenge: "dns-01",
        contact: String::new(),
        addresses: Vec::new(),
        port_base: 0,
    }
}

#[test]
fn an_order_outlives_an_authority_that_is_away_but_not_its_own_end() {
    let world = world();
    let wanted = for_names(&["a.test"]);
    let pending = Pending {
        url: "https://127.0.0.1:1/order/1".into(),
        directory: wanted.directory.clone(),
        names: wanted.names.clone(),
        key: Secret::new(KeyPair::generate().unwrap().serialize_pem()),
    };
    let net = Net {
        resolver: world.keeper.resolver.clone(),
        authorities: Authorities::new(None),
    };
    let mut client = Client::known(net, "https://127.0.0.1:1");
    let is_kept = || state::pending(&world.store).unwrap().is_some();
    smol::block_on(async {
        let keeper = &world.keeper;
        state::keep_pending(&world.store, Some(&pending))
            .await
            .unwrap();
        let done = keeper.finish(&mut client, &wanted, &pending).await;
        assert!(!done.unwrap_err().reached && is_kept());
        keeper.end_order(&Err(Failure::new("a full disk"))).await;
        assert!(is_kept());
        keeper.end_order(&Err(Failure::over("invalid"))).await;
        assert!(!is_kept());
        state::keep_pending(&world.store, Some(&pending))
            .await
            .unwrap();
        keeper.end_order(&Ok(())).await;
        assert!(!is_kept());
    });
}

#[test]
fn the_pause_is_kept_where_nobody_can_be_told() {
    let world = world();
    smol::block_on(async {
        // The administrator has no account.
        for failures in 1..=TELL_FAILURES + 1 {
            let failed = Err(Failure::new("no such name"));
            let tries = world.keeper.settle(failed).await.unwrap();
            assert_eq!(tries.failures, failures);
            assert_eq!(state::tries(&world.store), Ok(tries));
        }
    });
}

#[test]
fn tries_are_counted_and_kept_where_the_mail_about_them_fails() {
    const RESERVE: u64 = 4 << 20;
    let disk = SimDisk::new();
    let options = Options {
        reserve: RESERVE,
        ballast: 0,
        ..Options::default()
    };
    let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
    let world = world_with(tempfile::tempdir().unwrap(), store, (2098, 12, 31));
    smol::block_on(async {
        world.account().await;
        let keeper = &world.keeper;
        let kept = || state::tries(&world.store).unwrap();
        disk.set_capacity(Some(disk.used() + RESERVE / 2));
        assert!(keeper.tell("it", "is so".into()).await.is_err());
        for failures in 1..=TELL_FAILURES {
            keeper
                .note(&|it| it.begin(at("2026-11-23T12:00:00Z")))
                .await
                .unwrap();
            let before = Timestamp::now();
            let failed = Err(Failure::new("no such name"));
            let tries = keeper.settle(failed).await.unwrap();
            assert_eq!(kept(), tries);
            assert_eq!(tries.begun.len(), failures as usize);
            assert_eq!((tries.failures, tries.told_of_failures), (failures, false));
            assert!(tries.next > before);
        }
        keeper.look(at("2098-12-17T06:00:00Z")).await;
        assert_eq!((world.messages(), kept().told), (0, None));
        // Told once there is room.
        disk.set_capacity(None);
        keeper.look(at("2098-12-17T07:00:00Z")).await;
        assert!(world.messages() == 1 && kept().told.is_some());
        let failed = Err(Failure::new("no such name"));
        assert!(keeper.settle(failed).await.unwrap().told_of_failures);
        assert_eq!(world.messages(), 2);
    });
}
