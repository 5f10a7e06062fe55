//! What the owner of the server changes meanwhile.

use super::*;

/// The owner holds the message while a server hears this verb, for the first time: who has got
/// it by then, which server was asked, and the replies.
fn held_at(wanted: &'static str, hello: &'static str, to: &[&str]) -> (usize, usize, Vec<Outcome>) {
    let bench = Bench::new(|_| ());
    let store = bench.transport.store.clone();
    let hold = move |_, verb: &str, _: &str| {
        if verb == wanted {
            smol::block_on(async {
                let items = store.look(|it| it.queue_items(QueueId(0), 9)).unwrap();
                let held = items.iter().map(|it| (it.id, QueueChange::Hold(true)));
                store.update_queue(held.collect(), vec![]).await.unwrap();
            });
        }
        (verb == "EHLO").then_some(Does::Say(hello))
    };
    let (first, second) = (Peer::new(hold), Peer::good());
    let hops = vec![first.hop("mx0.test"), second.hop("mx1.test")];
    let outcomes = bench.send(to, hops);
    (first.taken().len(), second.connections(), outcomes)
}

#[test]
fn a_message_that_the_owner_holds_is_not_sent_on_its_way_to_the_last_byte() {
    let called_off = |it: &Outcome| matches!(it, Outcome::Deferred(it) if is_called_off(it));
    const CHUNKING: &str = "250-mx.test\r\n250 CHUNKING";
    for (verb, hello) in [
        ("CONNECT", "250 mx.test"),
        ("MAIL", "250 mx.test"),
        ("RCPT", "250 mx.test"),
        ("DATA", "250 mx.test"),
        ("MAIL", CHUNKING),
        ("RCPT", CHUNKING),
    ] {
        let (taken, others, outcomes) = held_at(verb, hello, &["bob@x.test", "carol@x.test"]);
        assert_eq!((taken, others), (0, 0), "{verb}");
        assert!(outcomes.iter().all(called_off), "{verb}: {outcomes:?}");
    }
    // Too late for one, not yet for the other.
    let one_each = "250-mx.test\r\n250 LIMITS RCPTMAX=1";
    for (verb, hello) in [
        (".", one_each),
        (
            "BDAT",
            "250-mx.test\r\n250-CHUNKING\r\n250 LIMITS RCPTMAX=1",
        ),
    ] {
        let (taken, others, outcomes) = held_at(verb, hello, &["bob@x.test", "carol@x.test"]);
        assert_eq!((taken, others), (1, 0), "{verb}");
        assert!(is_delivered(&outcomes[0]), "{verb}: {outcomes:?}");
        assert!(called_off(&outcomes[1]), "{verb}: {outcomes:?}");
    }
}

#[test]
fn settings_hold_for_the_next_message() {
    let peer = Peer::new(|_, verb, line| {
        let known = line.ends_with("EHLO new.test");
        (verb == "EHLO" && !known).then_some(Does::Hangup)
    });
    let (bench, consignment) = (Bench::new(|_| ()), |bench: &Bench| {
        let mut consignment = smol::block_on(bench.consignment(&["bob@[127.0.0.1]"]));
        consignment.lane = unknown(&Domain::parse("[127.0.0.1]").unwrap());
        consignment
    });
    let outcome = |bench: &Bench| match smol::block_on(
        bench.transport.attempt(consignment(bench), &bench.recorded),
    ) {
        Sent::Done(told, _) => told.into_iter().next().unwrap().1,
        Sent::OtherLane => panic!("another lane"),
    };
    let live = bench.transport.maker.live.clone();
    let set = |name: &str, value: &str| {
        live.apply(&[(name.to_owned(), value.to_owned())].into())
            .unwrap()
    };
    set("queue.direct", "off");
    assert!(
        deferred(&outcome(&bench))
            .1
            .contains("does not go directly")
    );
    set("server.hostname", "new.test");
    assert!(is_delivered(&bench.send_one(&[&peer])));
    let own = Peer::good();
    bench.transport.maker.own.set([own.address]);
    assert!(matches!(bench.send_one(&[&own]), Outcome::Failed(_)));
}
