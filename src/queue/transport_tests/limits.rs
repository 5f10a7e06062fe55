//! Servers that take so many at a time (RFC 9422).

use super::*;

/// RFC 9422, 4.
#[test]
fn what_a_server_limits_is_kept_to_and_nobody_is_left_out() {
    let all = ["a@x.test", "b@y.test", "c@x.test", "d@y.test"];
    for (limits, connections, messages) in [
        ("250 LIMITS RCPTMAX=1", 1, 4),
        ("250 LIMITS RCPTMAX=2 MAILMAX=1", 2, 2),
        ("250 LIMITS RCPTDOMAINMAX=1", 2, 2),
        ("250 LIMITS RCPTDOMAINMAX=1 RCPTMAX=1 MAILMAX=1", 4, 4),
        ("250 LIMITS RCPTDOMAINMAX=2 MAILMAX=9", 1, 1),
    ] {
        let hello: &'static str = format!("250-mx.test\r\n{limits}").leak();
        let peer = Peer::at("EHLO", Does::Say(hello));
        let outcomes = Bench::new(|_| ()).send(&all, vec![peer.hop("mx.test")]);
        assert!(outcomes.iter().all(is_delivered), "{limits}: {outcomes:?}");
        let seen = (peer.connections(), peer.taken().len());
        assert_eq!(seen, (connections, messages), "{limits}");
        let taken = peer.taken().join(" ");
        assert!(all.iter().all(|it| taken.contains(it)), "{limits}: {taken}");
    }
}

#[test]
fn a_server_that_limits_and_refuses_is_asked_once_for_each_and_then_left() {
    let all = ["a@x.test", "b@y.test", "c@x.test", "d@y.test"];
    for (limits, connections) in NARROW {
        for refused in ["451 4.3.0 no disk", "450 4.3.2 slowly"] {
            let hello: &'static str = format!("250-mx.test\r\n{limits}").leak();
            let refuse = move |_, verb: &str, _: &str| match verb {
                "EHLO" => Some(Does::Say(hello)),
                "MAIL" => Some(Does::Say(refused)),
                _ => None,
            };
            let (busy, good) = (Peer::new(refuse), Peer::good());
            let bench = Bench::new(|_| ());
            let outcomes = bench.send(&all, vec![busy.hop("mx.test")]);
            assert_eq!(deferred(&outcomes[3]).1, &refused[10..], "{limits}");
            assert_eq!(busy.connections(), connections, "{limits}");
            // A next server has them all.
            let hops = vec![busy.hop("mx.test"), good.hop("mx1.test")];
            let outcomes = bench.send(&all, hops);
            assert!(outcomes.iter().all(is_delivered), "{limits}: {outcomes:?}");
            assert_eq!(good.taken().len(), 1, "{limits}");
        }
    }
}

#[test]
fn who_has_got_it_is_recorded_before_it_goes_out_again() {
    let all = ["a@x.test", "b@y.test", "c@x.test", "d@y.test"];
    for (limits, recorded) in [
        ("250 LIMITS RCPTMAX=1", &[vec![0], vec![1], vec![2]][..]),
        ("250 LIMITS RCPTMAX=2 MAILMAX=1", &[vec![0, 1]]),
        ("250 LIMITS RCPTDOMAINMAX=1", &[vec![0, 2]]),
        ("250 LIMITS", &[]),
    ] {
        let bench = Bench::new(|_| ());
        let hello: &'static str = format!("250-mx.test\r\n{limits}").leak();
        let wanted = recorded.to_vec();
        let (seen, mails) = (bench.recorded.clone(), AtomicUsize::new(0));
        // At each MAIL all is recorded that went before.
        let peer = Peer::new(move |_, verb, _| {
            if verb == "MAIL" {
                let n = mails.fetch_add(1, SeqCst);
                assert_eq!(*seen.0.lock().unwrap(), wanted[..n]);
            }
            (verb == "EHLO").then_some(Does::Say(hello))
        });
        let outcomes = bench.send(&all, vec![peer.hop("mx.test")]);
        assert!(outcomes.iter().all(is_delivered), "{limits}: {outcomes:?}");
        assert_eq!(*bench.recorded.0.lock().unwrap(), recorded, "{limits}");
    }
    // Those whom the first server took, when another has to take the rest.
    let first = Peer::new(|_, verb, line| match verb {
        "EHLO" => Some(Does::Say("250-mx.test\r\n250 LIMITS RCPTMAX=1")),
        "RCPT" if line.contains("b@y.test") => Some(Does::Hangup),
        _ => None,
    });
    let (bench, second) = (Bench::new(|_| ()), Peer::good());
    let hops = vec![first.hop("mx0.test"), second.hop("mx1.test")];
    let outcomes = bench.send(&all, hops);
    assert!(outcomes.iter().all(is_delivered), "{outcomes:?}");
    assert_eq!(*bench.recorded.0.lock().unwrap(), [[0]]);
    assert_eq!((first.taken().len(), second.taken().len()), (1, 1));
}

#[test]
fn a_server_that_limits_and_does_not_promise_tls_is_asked_once_for_each() {
    let all = ["a@x.test", "b@y.test", "c@x.test", "d@y.test"];
    for (limits, connections) in NARROW {
        let hello: &'static str = format!("250-mx.test\r\n{limits}").leak();
        let peer = Peer::at("EHLO", Does::Say(hello));
        let bench = Bench {
            require_tls: true,
            ..Bench::new(|_| ())
        };
        let outcomes = bench.send(&all, vec![peer.hop("mx.test")]);
        let failed = |it: &Outcome| matches!(it, Outcome::Failed(it) if it.enhanced == "5.7.30");
        assert!(outcomes.iter().all(failed), "{limits}: {outcomes:?}");
        assert!(peer.connections() <= connections, "{limits}");
    }
}

/// RFC 5321, 4.5.3.1.10: what was one too many goes at once in a further transaction, as many as
/// there is room for.
#[test]
fn recipients_that_were_too_many_go_in_the_next_transaction() {
    let names: Vec<String> = (0..25).map(|n| format!("u{n}@x.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (text, pipelining) in [
        ("452 4.5.3 too many", true),
        ("552 5.5.3 too many", false),
        ("452 too many", true),
    ] {
        let rcpts = AtomicUsize::new(0);
        let peer = Peer::new(move |_, verb, _| match verb {
            "EHLO" if pipelining => Some(Does::Say("250-mx.test\r\n250 PIPELINING")),
            "MAIL" => {
                rcpts.store(0, SeqCst);
                None
            }
            "RCPT" => (rcpts.fetch_add(1, SeqCst) >= 10).then_some(Does::Say(text)),
            _ => None,
        });
        let bench = Bench::new(|_| ());
        let outcomes = bench.send(&names, vec![peer.hop("mx.test")]);
        assert!(outcomes.iter().all(is_delivered), "{text}: {outcomes:?}");
        let taken = peer.taken();
        let sizes: Vec<usize> = taken.iter().map(|it| it.matches("RCPT").count()).collect();
        assert_eq!((sizes, peer.connections()), (vec![10, 10, 5], 1), "{text}");
        let all = taken.join(" ");
        assert!(
            names
                .iter()
                .all(|it| all.matches(&format!("<{it}>")).count() == 1)
        );
        // A power cut repeats nobody of the transactions before.
        let recorded = bench.recorded.0.lock().unwrap().clone();
        let places = recorded.iter().map(Vec::len);
        assert_eq!(places.collect::<Vec<_>>(), [10, 10], "{text}");
    }
    // Nobody got in: then nobody is asked for again now.
    for text in ["452 4.5.3 too many", "452 4.2.2 mailbox full"] {
        let peer = Peer::at("RCPT", Does::Say(text));
        let outcomes = Bench::new(|_| ()).send(&names, vec![peer.hop("mx.test")]);
        assert!(outcomes.iter().all(|it| deferred(it).1 == &text[10..]));
        assert_eq!(peer.taken().len(), 0);
    }
    // A full mailbox is none too many, and 552 says no.
    for (text, fails) in [("452 4.2.2 full", false), ("552 5.2.2 full", true)] {
        let peer = Peer::new(move |_, _, line| line.contains("<u3@").then_some(Does::Say(text)));
        let outcomes = Bench::new(|_| ()).send(&names, vec![peer.hop("mx.test")]);
        assert_eq!(matches!(outcomes[3], Outcome::Failed(_)), fails, "{text}");
        assert_eq!(peer.taken().len(), 1);
    }
}
