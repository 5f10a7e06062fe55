//! Times to try again, to give up and to send at last, and what senders are told.

use super::*;

#[test]
fn what_is_put_off_is_tried_again_told_and_given_back_in_the_end() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let id = bench
            .queue(
                "ann@here.test",
                &["busy@x.test", "forgotten@x.test", "ok@x.test"],
                |it| {
                    it.envelope.envelope_id = Some("QQ".into());
                },
            )
            .await;
        bench.attempts(id, 1).await;
        let next = |it: &Bench| match it.item(id).unwrap().recipients[0].status {
            Status::Waiting { next, .. } => next,
            _ => panic!("over"),
        };
        let first = next(&bench);
        assert!((270..=330).contains(&first), "{first}");
        // Not a second too early.
        bench.at(first - 31);
        Timer::after(Duration::from_millis(30)).await;
        bench.attempts(id, 1).await;
        bench.at(331);
        bench.attempts(id, 2).await;
        assert_eq!(bench.inbox().len(), 0);
        bench.at(4 * HOUR + 400);
        bench.attempts(id, 3).await;
        bench
            .until("a notice of delay", |it| it.inbox().len() == 1)
            .await;
        let told = &bench.inbox()[0];
        for expected in [
            "Action: delayed",
            "Original-Envelope-Id: QQ",
            "busy@x.test",
            "Subject: hi",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        assert!(!told.contains("Return-Path: <x>"), "{told}");
        bench.at(9 * HOUR);
        bench.attempts(id, 4).await;
        assert_eq!(bench.inbox().len(), 1, "delay is told once");
        bench.at(5 * 24 * HOUR);
        bench
            .until("it goes back", |it| it.items().is_empty())
            .await;
        let told = bench.inbox().pop().unwrap();
        assert_eq!(bench.inbox().len(), 2);
        for expected in [
            "Action: failed",
            "Status: 5.4.7",
            "smtp;450 4.2.0 busy (it could not be delivered for too long)",
            "forgotten@x.test",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        assert!(!told.contains("ok@x.test"), "{told}");
        assert_eq!(
            *bench.world.taken.lock().unwrap(),
            [(id.0, "ok@x.test".to_string())]
        );
        bench.end().await;
    });
}

#[test]
fn failures_go_where_their_sender_is_and_nowhere_from_the_null_path() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        bench
            .queue("ann+tag@here.test", &["no@x.test"], |it| {
                it.envelope.ret = Some(Ret::Full);
            })
            .await;
        bench.until("told", |it| it.inbox().len() == 1).await;
        let told = bench.inbox()[0].clone();
        for expected in [
            "mx.x.test said: 550 5.1.1 no such user",
            "\r\n\r\nSubject: hi\r\n\r\nbody\r\n",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        // To another server, from the null path.
        bench.queue("eve@z.test", &["no@x.test"], |_| ()).await;
        bench
            .until("passed on", |it| {
                let taken = it.world.taken.lock().unwrap();
                taken.iter().any(|(_, to)| to == "eve@z.test")
            })
            .await;
        // Nobody is told: the null path, a name here that is gone, who does not want it.
        bench.queue("", &["no@x.test"], |_| ()).await;
        bench.queue("gone@here.test", &["no@x.test"], |_| ()).await;
        bench
            .queue("ann@here.test", &["no@x.test"], |it| {
                it.recipients[0].notify.failure = false;
            })
            .await;
        bench.until("all gone", |it| it.items().is_empty()).await;
        assert_eq!(bench.inbox().len(), 1);
        // Who asks for it is told that it was passed on.
        bench
            .queue("ann@here.test", &["ok@x.test"], |it| {
                it.recipients[0].notify.success = true;
            })
            .await;
        bench.until("told", |it| it.inbox().len() == 2).await;
        assert!(bench.inbox()[1].contains("Action: relayed"));
        bench.end().await;
    });
}

#[test]
fn what_is_held_back_until_a_time_goes_then_and_no_earlier() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        bench
            .queue("ann@here.test", &["a@x.test"], |it| {
                it.envelope.hold_until = Some(500);
                it.recipients[0].status = Status::waiting(500);
            })
            .await;
        bench
            .queue("ann@here.test", &["busy@x.test"], |it| {
                it.envelope.deliver_by = Some(DeliverBy {
                    until: 200,
                    returns: true,
                    trace: false,
                });
            })
            .await;
        bench.at(199);
        Timer::after(Duration::from_millis(30)).await;
        assert_eq!((bench.items().len(), bench.inbox().len()), (2, 0));
        bench.at(200);
        bench.until("too late", |it| it.inbox().len() == 1).await;
        assert!(bench.inbox()[0].contains("the time that its sender gave it is over"));
        bench.at(499);
        Timer::after(Duration::from_millis(30)).await;
        assert_eq!(bench.items().len(), 1);
        bench.at(500);
        bench.until("its time", |it| it.items().is_empty()).await;
        bench.end().await;
    });
}

#[test]
fn what_was_held_back_is_tried_for_its_full_time_and_its_notice_says_so() {
    smol::block_on(async {
        const HELD: i64 = 100_000;
        let bench = Bench::new(&SimDisk::new()).await;
        let id = bench
            .queue("ann@here.test", &["busy@x.test"], |it| {
                it.envelope.hold_until = Some(HELD);
                it.recipients[0].status = Status::waiting(HELD);
            })
            .await;
        bench.at(HELD);
        bench.attempts(id, 1).await;
        bench.at(HELD + 4 * HOUR + 400);
        bench
            .until("a notice of delay", |it| it.inbox().len() == 1)
            .await;
        let told = &bench.inbox()[0];
        // Five days after the 100,000 seconds.
        let until = "Will-Retry-Until: Wed, 7 Jan 1970 03:46:40";
        assert!(told.contains(until), "{told}");
        bench.end().await;
    });
}

/// RFC 3464, 2.3.2: whatever the address leads to. RFC 3461, 6.3: an original recipient only where
/// the sender gave one.
#[test]
fn a_notice_names_the_address_that_was_accepted() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let members = ["no@x.test", "no@y.test", "busy@y.test", "no@z.test"];
        let id = bench.queue("ann@here.test", &members, |it| {
            it.envelope.ret = Some(Ret::Headers);
            for member in &mut it.recipients[..3] {
                member.original = None;
                member.accepted = Some(address("team@here.test"));
            }
            it.recipients[3].original = Some("rfc822;Friends@there.test".into());
            it.recipients[3].accepted = Some(address("friends@here.test"));
        });
        let id = id.await;
        bench.until("told", |it| it.inbox().len() == 3).await;
        for told in bench.inbox() {
            assert!(!told.contains("no@"), "{told}");
            let given = "Original-Recipient: rfc822;Friends@there.test\r\n\
                         Final-Recipient: rfc822;friends@here.test\r\n";
            let own = "\r\n\r\nFinal-Recipient: rfc822;team@here.test\r\n";
            match told.contains("friends@here.test") {
                true => assert!(told.contains(given), "{told}"),
                false => assert!(told.contains(own), "{told}"),
            }
        }
        bench.attempts(id, 1).await;
        bench.at(5 * 24 * HOUR);
        bench
            .until("it goes back", |it| it.items().is_empty())
            .await;
        let told = bench.inbox().pop().unwrap();
        assert!(
            told.contains("Final-Recipient: rfc822;team@here.test"),
            "{told}"
        );
        bench.end().await;
    });
}

#[test]
fn members_of_whom_the_same_is_said_are_one_recipient_to_the_sender() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let members = ["no@x.test", "no@x.test", "no@x.test"];
        let queued = bench.queue("ann@here.test", &members, |it| {
            for member in &mut it.recipients[..2] {
                member.original = None;
                member.accepted = Some(address("team@here.test"));
            }
        });
        queued.await;
        bench.until("told", |it| it.inbox().len() == 1).await;
        let told = &bench.inbox()[0];
        assert_eq!(told.matches("Action: failed").count(), 2, "{told}");
        assert_eq!(told.matches("    team@here.test\r\n").count(), 1, "{told}");
        bench.end().await;
    });
}
