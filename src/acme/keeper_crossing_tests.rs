//! What happens while an order is under way, to an authority that takes connections and says
//! nothing.

use super::*;
use std::future::Future;
use std::io::ErrorKind;
use std::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(40);

/// It says nothing until it is dropped; then connections break.
struct Silent {
    listener: TcpListener,
    taken: Vec<std::net::TcpStream>,
}

impl Silent {
    fn new() -> Silent {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Silent {
            listener,
            taken: Vec::new(),
        }
    }

    fn url(&self) -> String {
        format!("https://{}/", self.listener.local_addr().unwrap())
    }

    /// How many orders have come to it.
    fn asked(&mut self) -> usize {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.taken.push(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.taken.len(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        Timer::after(Duration::from_millis(2)).await;
    }
}

impl World {
    fn set(&self, chosen: &[(&str, &str)]) {
        let chosen = chosen
            .iter()
            .map(|(name, it)| (name.to_string(), it.to_string()));
        self.keeper.live.apply(&chosen.collect()).unwrap();
    }

    fn acme(&self, directory: &str, hostname: &str, challenge: &str) {
        self.set(&[
            ("tls.source", "acme"),
            ("acme.directory", directory),
            ("acme.challenge", challenge),
            ("acme.agree-to-terms", "on"),
            ("server.hostname", hostname),
        ]);
    }

    fn tries(&self) -> Tries {
        state::tries(&self.store).unwrap()
    }

    /// Beside the keeper at work.
    fn beside(&self, test: impl Future<Output = ()>) {
        let keeper = self.keeper.clone();
        smol::block_on(test.or(async {
            keeper.run().await;
            panic!("the keeper ended");
        }));
    }
}

#[test]
fn alarms_go_on_beside_an_order_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let soon = Timestamp::now() + SignedDuration::from_hours(10 * 24);
    let day = soon.to_zoned(jiff::tz::TimeZone::UTC).date();
    let end = (i32::from(day.year()), day.month() as u8, day.day() as u8);
    let world = world_with(dir, store, end);
    let mut authority = Silent::new();
    smol::block_on(world.account());
    world.acme(&authority.url(), "mail.example.org", "http-01");
    world.beside(async {
        let keeper = &world.keeper;
        until("it is asked", || authority.asked() == 1).await;
        // As after an hour.
        keeper.turned.notify(usize::MAX);
        until("14 days", || world.messages() == 1).await;
        let ends = keeper.tls.served().ends;
        until("noted", || world.tries().told == Some((ends, Level::First))).await;
        keeper.look(ends - SignedDuration::from_hours(60)).await;
        assert_eq!(world.messages(), 2);
        // The order has not ended of it, nor has its count changed.
        assert!(keeper.progress().busy);
        assert_eq!((world.tries().begun.len(), authority.asked()), (1, 1));
        drop(authority);
        until("it fails", || world.tries().failures == 1).await;
        assert_eq!(world.tries().told, Some((ends, Level::Last)));
        assert_eq!(world.messages(), 2);
    });
}

#[test]
fn of_two_quick_changes_the_later_one_is_ordered_once() {
    let world = world();
    let (mut first, mut middle, mut last) = (Silent::new(), Silent::new(), Silent::new());
    world.acme(&first.url(), "a.example.org", "http-01");
    world.beside(async {
        until("the first", || first.asked() == 1).await;
        world.acme(&middle.url(), "b.example.org", "http-01");
        world.acme(&last.url(), "c.example.org", "http-01");
        until("the last", || last.asked() == 1).await;
        let tried = world.keeper.tried().clone().unwrap().0;
        assert_eq!(tried.names, ["c.example.org"]);
        assert_eq!(world.tries().begun.len(), 2);
        assert_eq!(
            (world.tries().failures, world.tries().error.as_str()),
            (0, "")
        );
        // Neither there and back, nor what is no matter of the order, begins another.
        world.acme(&first.url(), "a.example.org", "http-01");
        world.acme(&last.url(), "c.example.org", "http-01");
        world.keeper.wake.notify(usize::MAX);
        for _ in 0..10 {
            smol::future::yield_now().await;
        }
        assert!(world.keeper.progress().busy);
        drop(first);
        assert_eq!((last.asked(), middle.asked()), (1, 0));
        drop(last);
        until("it fails", || world.tries().failures == 1).await;
        assert_eq!(world.tries().begun.len(), 2);
    });
}

/// Serves a certificate by ACME that is not due for years.
fn served(directory: &str) -> World {
    let world = world();
    let name = "mail.example.org".to_string();
    let source = Source::Acme {
        data: world.keeper.data.clone(),
        names: vec![name.clone()],
    };
    world.keeper.tls.set(source).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name])
        .unwrap()
        .self_signed(&key);
    let pem = Secret::new(key.serialize_pem() + &certificate.unwrap().pem());
    let wanted = Wanted {
        directory: directory.into(),
        ..for_names(&["mail.example.org"])
    };
    smol::block_on(world.keeper.take(&pem, &wanted)).unwrap();
    world.acme(directory, "mail.example.org", "http-01");
    world
}

#[test]
fn an_order_by_hand_outlives_a_change_and_is_not_doubled() {
    let mut authority = Silent::new();
    let world = served(&authority.url());
    world.beside(async {
        let keeper = &world.keeper;
        assert_eq!(keeper.order_now(), Ok(1));
        assert_eq!(keeper.order_now(), Ok(1));
        until("it is asked", || authority.asked() == 1).await;
        assert_eq!(keeper.order_now(), Ok(1));
        // The same names: by itself it would not be due.
        world.acme(&authority.url(), "mail.example.org", "dns-01");
        until("it is asked again", || authority.asked() == 2).await;
        assert_eq!((keeper.progress().ended, world.tries().begun.len()), (0, 2));
        drop(authority);
        until("it ended", || keeper.progress().ended == 1).await;
        assert_eq!((world.tries().failures, world.tries().begun.len()), (1, 2));
        // That was all that was asked for.
        let pause = keeper.turn(Timestamp::now()).await;
        assert_eq!((pause, world.tries().begun.len()), (LOOK, 2));
        assert!(!keeper.progress().by_hand);
    });
}

#[test]
fn who_waits_for_an_order_is_told_that_there_will_be_none() {
    let mut authority = Silent::new();
    let world = served(&authority.url());
    world.beside(async {
        let keeper = &world.keeper;
        assert_eq!(keeper.order_now(), Ok(1));
        until("it is asked", || authority.asked() == 1).await;
        world.set(&[("tls.source", "local")]);
        until("it ended", || keeper.progress().ended == 1).await;
        let status = keeper.status().unwrap();
        assert!(
            status.tries.error.contains("tls.source"),
            "{}",
            status.tries.error
        );
        assert!(!status.progress.busy);
        assert_eq!((status.tries.failures, authority.asked()), (0, 1));
    });
}

#[test]
fn a_change_ends_the_pause_though_the_hour_has_no_room_yet() {
    let world = world();
    let now = at("2026-11-23T12:00:00Z");
    world.acme("https://127.0.0.1:1/", "a.example.org", "http-01");
    smol::block_on(async {
        let pause = |it: &mut Tries| {
            for minutes in (10..60).step_by(10) {
                it.begin(now - SignedDuration::from_mins(60 - minutes));
            }
            it.next = now + SignedDuration::from_hours(4);
        };
        world.keeper.note(&pause).await.unwrap();
        assert_eq!(world.keeper.turn(now).await, LOOK);
        world.acme("https://127.0.0.1:1/", "b.example.org", "http-01");
        for _ in 0..2 {
            let pause = world.keeper.turn(now).await;
            assert_eq!(pause, Duration::from_secs(10 * 60));
        }
        assert_eq!((world.tries().begun.len(), world.tries().failures), (5, 0));
    });
}
