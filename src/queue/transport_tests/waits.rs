//! How long each server may take.

use super::*;

#[test]
fn the_waits_are_those_of_rfc_5321() {
    let minutes = |it: Duration| it.as_secs() / 60;
    let waits = [
        TIMEOUTS.greeting,
        TIMEOUTS.hello,
        TIMEOUTS.mail,
        TIMEOUTS.rcpt,
        TIMEOUTS.data_start,
        PATIENCE.deadlines.write,
        TIMEOUTS.data_end,
    ];
    assert_eq!(waits.map(minutes), [5, 5, 5, 5, 2, 3, 10]);
    // All that one server may take before a message moves, and the message of 50 MB.
    assert_eq!(minutes(TIMEOUTS.opening), 15);
    assert_eq!(minutes(TIMEOUTS.envelope), 30);
}

#[test]
fn whoever_stalls_is_left_for_the_next_server_when_his_time_is_up() {
    for (verb, limit) in BEFORE {
        for does in SILENT {
            let (bad, good) = (Peer::at(verb, does), Peer::good());
            let outcomes = Bench::new(limit).send_past(&["bob@x.test"], &bad, &good);
            assert!(is_delivered(&outcomes[0]), "{verb}: {outcomes:?}");
            assert_eq!((bad.taken().len(), good.taken().len()), (0, 1), "{verb}");
        }
        // Alone, it is tried again later.
        let outcome = Bench::new(limit).send_one(&[&Peer::at(verb, Does::Stall)]);
        let enhanced = if verb == "CONNECT" { "4.4.1" } else { "4.4.2" };
        let expected = (enhanced, "no answer in time");
        assert_eq!(deferred(&outcome), expected, "{verb}");
    }
}

#[test]
fn a_server_that_answers_each_time_just_in_time_has_an_end_all_the_same() {
    let names: Vec<String> = (0..100).map(|n| format!("u{n}@x.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (bad, good) = (Peer::at("RCPT", Does::Late), Peer::good());
    let bench = Bench::new(|it| it.envelope = MOMENT);
    let outcomes = bench.send_past(&names, &bad, &good);
    assert!(bad.taken().is_empty());
    assert_eq!(good.taken().len(), 1);
    // Those that it took as recipients as well: it has no byte of the message.
    assert!(outcomes.iter().all(is_delivered));
    // And before there is a transaction: a greeting of lines without end.
    let bad = Peer::at("CONNECT", Does::Drip("220-a\r\n"));
    let bench = Bench::new(|it| it.opening = MOMENT);
    let outcomes = bench.send_past(&["bob@x.test"], &bad, &Peer::good());
    assert!(is_delivered(&outcomes[0]), "{outcomes:?}");
}

#[test]
fn an_attempt_that_has_taken_long_begins_with_no_further_server() {
    let (bad, good) = (Peer::at("MAIL", Does::Stall), Peer::good());
    let bench = Bench::new(|it| {
        it.mail = MOMENT;
        it.attempt = DRIP;
    });
    let outcome = bench.send_one(&[&bad, &good]);
    assert_eq!(deferred(&outcome).1, "no answer in time");
    assert_eq!(good.connections(), 0);
}

#[test]
fn a_message_that_is_not_taken_fast_enough_is_given_up() {
    for (n, does) in [Does::ReadNothing, Does::ReadSlowly]
        .into_iter()
        .enumerate()
    {
        let (bad, good) = (Peer::at("DATA", does), Peer::good());
        let mut bench = Bench::new(|it| {
            it.body = MOMENT;
            it.goodbye = MOMENT;
        });
        // More than any socket's buffers, and by its rate no time to speak of.
        let line = [&[b'x'; 900][..], b"\r\n"].concat();
        bench.message.extend(line.repeat(16_000));
        if n == 0 {
            bench.transport.maker.timeouts.body = HOUR;
            bench.transport.maker.patience.deadlines.write = MOMENT;
        }
        let outcome = bench.send_one(&[&bad, &good]);
        assert_eq!(deferred(&outcome).0, "4.4.2", "{n}: {outcome:?}");
        assert!(bad.taken().is_empty());
        assert_eq!(good.connections(), 0);
    }
}

/// It has the whole message and may have taken it: that the time is up by then changes nothing.
#[test]
fn a_message_that_is_out_to_its_end_is_not_given_up() {
    for hello in ["250 mx.test", "250-mx.test\r\n250 CHUNKING"] {
        let peer = Peer::at("EHLO", Does::Say(hello));
        let bench = Bench::new(|it| it.body = Duration::ZERO);
        let outcome = bench.send_one(&[&peer]);
        assert!(is_delivered(&outcome), "{hello}: {outcome:?}");
        assert_eq!(peer.taken().len(), 1);
    }
}

#[test]
fn an_attempt_that_has_taken_long_begins_with_no_further_connection() {
    const ONE: &str = "250-mx.test\r\n250 LIMITS MAILMAX=1 RCPTMAX=1";
    let slow = Peer::at("EHLO", Does::Say(ONE));
    let bench = Bench::new(|it| it.attempt = Duration::ZERO);
    let outcomes = bench.send(&["a@x.test", "b@y.test"], vec![slow.hop("mx.test")]);
    assert!(is_delivered(&outcomes[0]), "{outcomes:?}");
    assert_eq!(deferred(&outcomes[1]).1, "no server took it in time");
    assert_eq!(slow.connections(), 1);
}
