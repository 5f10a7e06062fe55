//! When the next of several servers is asked.

use super::*;

#[test]
fn whoever_breaks_off_or_talks_nonsense_is_left_for_the_next_server() {
    for (verb, _) in BEFORE {
        for does in [Does::Hangup].into_iter().chain(NONSENSE) {
            let (bad, good) = (Peer::at(verb, does), Peer::good());
            let outcome = Bench::new(|_| ()).send_one(&[&bad, &good]);
            assert!(is_delivered(&outcome), "{verb}: {outcome:?}");
            assert_eq!((bad.taken().len(), good.taken().len()), (0, 1), "{verb}");
        }
        let outcome = Bench::new(|_| ()).send_one(&[&Peer::at(verb, NONSENSE[0])]);
        let nonsense = ("4.5.0", "what the server says is no SMTP");
        assert_eq!(deferred(&outcome), nonsense, "{verb}");
    }
}

/// It may have taken the message: another server would deliver it twice.
#[test]
fn without_an_answer_to_the_whole_message_nobody_else_gets_it_now() {
    let limit: Set = |it| it.data_end = MOMENT;
    let silent = SILENT.map(|does| (limit, does, "4.4.2"));
    let nonsense = NONSENSE.map(|does| ((|_| ()) as Set, does, "4.5.0"));
    let hangup: (Set, Does, &str) = (|_| (), Does::Hangup, "4.4.2");
    for (limit, does, enhanced) in silent.into_iter().chain(nonsense).chain([hangup]) {
        let (bad, good) = (Peer::at(".", does), Peer::good());
        let outcome = Bench::new(limit).send_one(&[&bad, &good]);
        assert_eq!(deferred(&outcome).0, enhanced, "{outcome:?}");
        assert_eq!(good.connections(), 0);
    }
}

#[test]
fn a_server_says_of_each_recipient_what_becomes_of_him() {
    let script = |_, _: &str, line: &str| match line {
        "RCPT TO:<no@x.test>" => Some(Does::Say("550 5.1.1 no such user")),
        "RCPT TO:<later@x.test>" => Some(Does::Say("450 4.2.1 busy")),
        "RCPT TO:<full@x.test>" => Some(Does::Say("552 5.5.3 too many")),
        _ => None,
    };
    let (first, second) = (Peer::new(script), Peer::good());
    let to = ["no@x.test", "yes@x.test", "later@x.test", "full@x.test"];
    let hops = vec![first.hop("mx0.test"), second.hop("mx1.test")];
    let outcomes = Bench::new(|_| ()).send(&to, hops);
    assert!(matches!(&outcomes[0], Outcome::Failed(it) if it.code == 550));
    assert!(is_delivered(&outcomes[1]));
    assert_eq!(deferred(&outcomes[2]), ("4.2.1", "busy"));
    // RFC 5321, 4.5.3.1.10.
    assert_eq!(deferred(&outcomes[3]).1, "too many");
    assert_eq!(first.taken(), ["RCPT TO:<yes@x.test>"]);
    assert_eq!(second.connections(), 0);
}

#[test]
fn what_a_server_says_of_itself_sends_the_message_on_what_it_says_of_the_message_does_not() {
    let cases = [
        ("CONNECT", "554 go away", None),
        ("EHLO", "421 4.3.2 closing", None),
        ("MAIL", "451 4.3.0 no disk", None),
        ("RCPT", "421 4.3.2 closing", None),
        ("MAIL", "550 5.7.1 not from you", Some("5.7.1")),
        ("DATA", "451 4.7.1 greylisted", Some("4.7.1")),
        (".", "554 5.6.0 spam", Some("5.6.0")),
    ];
    for (verb, text, told) in cases {
        let (bad, good) = (Peer::at(verb, Does::Say(text)), Peer::good());
        match Bench::new(|_| ()).send_one(&[&bad, &good]) {
            Outcome::Delivered { .. } => assert_eq!(told, None, "{text}"),
            Outcome::Deferred(reply) | Outcome::Failed(reply) => {
                assert_eq!(told, Some(reply.enhanced.as_str()), "{text}");
            }
        }
        assert_eq!(good.taken().len(), usize::from(told.is_none()), "{text}");
    }
}

#[test]
fn our_own_server_among_them_cuts_the_list() {
    let (down, us, behind) = (Peer::good(), Peer::good(), Peer::good());
    let bench = Bench::new(|_| ());
    bench.transport.maker.own.set([us.address]);
    let outcome = bench.send_one(&[&us, &behind]);
    assert!(
        matches!(&outcome, Outcome::Failed(it) if it.enhanced == "5.4.6"),
        "{outcome:?}"
    );
    // A better one that is down now will be up again.
    let gone = Peer::at("CONNECT", Does::Hangup);
    let outcome = bench.send_one(&[&gone, &us, &behind]);
    assert_eq!(deferred(&outcome).0, "4.4.1");
    assert_eq!((us.connections(), behind.connections()), (0, 0));
    assert!(is_delivered(&bench.send_one(&[&down, &us])));
}

/// RFC 8689, 4.2.1.
#[test]
fn what_requires_tls_goes_on_until_a_server_promises_it() {
    let bench = || Bench {
        require_tls: true,
        ..Bench::new(|_| ())
    };
    let (none, one) = (
        Peer::good(),
        Peer::at("EHLO", Does::Say("250-mx.test\r\n250 REQUIRETLS")),
    );
    let outcome = bench().send_one(&[&none, &one]);
    assert!(is_delivered(&outcome), "{outcome:?}");
    assert_eq!((none.taken().len(), one.taken().len()), (0, 1));
    match bench().send_one(&[&none, &Peer::good()]) {
        Outcome::Failed(reply) => assert_eq!(reply.enhanced, "5.7.30"),
        other => panic!("{other:?}"),
    }
    // One that is only away may promise it when it is back, before the others or behind them.
    let away = || Peer::at("CONNECT", Does::Hangup);
    for peers in [[Peer::good(), away()], [away(), Peer::good()]] {
        let outcome = bench().send_one(&[&peers[0], &peers[1]]);
        assert_eq!(deferred(&outcome).0, "4.4.1");
    }
    // And so may one that there was no time to ask.
    let one = Peer::good();
    let mut bench = bench();
    bench.transport.maker.timeouts.attempt = Duration::ZERO;
    let outcome = bench.send_one(&[&none, &one]);
    assert_eq!(deferred(&outcome).1, "no server took it in time");
    assert_eq!(one.connections(), 0);
}

#[test]
fn whoever_breaks_off_among_commands_sent_ahead_is_left_for_the_next_server() {
    let to = ["a@x.test", "b@x.test", "c@x.test"];
    for at in ["MAIL", "RCPT TO:<b@x.test>", "RCPT TO:<c@x.test>", "DATA"] {
        for does in [Does::Hangup, Does::Say("421 4.3.2 closing")] {
            let bad = Peer::new(move |_, verb, line| match verb {
                "EHLO" => Some(Does::Say("250-mx.test\r\n250 PIPELINING")),
                _ => line.starts_with(at).then_some(does),
            });
            let good = Peer::good();
            let hops = vec![bad.hop("mx0.test"), good.hop("mx1.test")];
            let outcomes = Bench::new(|_| ()).send(&to, hops);
            assert!(outcomes.iter().all(is_delivered), "{at}: {outcomes:?}");
            assert_eq!(bad.taken().len(), 0, "{at}");
            // All of them, and once.
            let taken = good.taken().join(" ");
            assert!(
                to.iter().all(|it| taken.matches(it).count() == 1),
                "{at}: {taken}"
            );
        }
    }
}

/// RFC 3030: it announces CHUNKING, and what is behind it does not know BDAT.
#[test]
fn a_server_that_does_not_know_the_bdat_it_announces_gets_it_by_data() {
    const CHUNKING: Does = Does::Say("250-mx.test\r\n250-CHUNKING\r\n250 BINARYMIME");
    for said in ["500 5.5.1 what", "502 5.5.1 not here"] {
        let peer = Peer::new(move |_, verb, _| match verb {
            "EHLO" => Some(CHUNKING),
            "BDAT" => Some(Does::Say(said)),
            _ => None,
        });
        let bench = Bench::new(|_| ());
        for n in 1..3 {
            // By a connection that is kept, no more.
            let outcome = bench.send_one(&[&peer]);
            assert!(is_delivered(&outcome), "{said}: {outcome:?}");
            assert_eq!((peer.taken().len(), peer.connections()), (n, 2), "{said}");
        }
    }
    // What it says of the message holds.
    for (said, fails) in [("554 5.6.0 spam", true), ("451 4.3.0 no disk", false)] {
        let peer = Peer::new(move |_, verb, _| match verb {
            "EHLO" => Some(CHUNKING),
            "BDAT" => Some(Does::Say(said)),
            _ => None,
        });
        let outcome = Bench::new(|_| ()).send_one(&[&peer]);
        assert_eq!(matches!(outcome, Outcome::Failed(_)), fails, "{outcome:?}");
        assert_eq!(peer.connections(), 1);
    }
}

/// RFC 8689, 4.2.1: 5.7.10 where no TLS can be made. Without REQUIRETLS it is tried again, for the
/// owner of a route or a policy may mend it.
#[test]
fn what_requires_tls_goes_back_where_none_can_be_made() {
    let (bare, one) = (
        Peer::good(),
        Peer::at("EHLO", Does::Say("250-mx.test\r\n250 REQUIRETLS")),
    );
    let sure = |peer: &Peer| Hop {
        safety: Safety::Verified { implicit: false },
        ..peer.hop("mx0.test")
    };
    let to = ["bob@x.test"];
    for require_tls in [true, false] {
        let bench = || Bench {
            require_tls,
            ..Bench::new(|_| ())
        };
        match &bench().send(&to, vec![sure(&bare)])[0] {
            Outcome::Failed(reply) if require_tls => assert_eq!(reply.enhanced, "5.7.10"),
            outcome => assert_eq!((deferred(outcome).0, require_tls), ("4.7.5", false)),
        }
        let outcomes = bench().send(&to, vec![sure(&bare), one.hop("mx1.test")]);
        assert!(is_delivered(&outcomes[0]), "{outcomes:?}");
        // One that is away may have it when it is back.
        let away = Peer::at("CONNECT", Does::Hangup);
        let outcomes = bench().send(&to, vec![sure(&bare), away.hop("mx1.test")]);
        assert!(matches!(outcomes[0], Outcome::Deferred(_)), "{outcomes:?}");
    }
    assert_eq!((bare.taken().len(), one.taken().len()), (0, 2));
}
