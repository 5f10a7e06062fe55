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
