//! Recipients on this server that had to wait.

use super::*;
use crate::mail::Standing;

async fn group(bench: &Bench, name: &str, members: &[&str]) {
    let members: Vec<Address> = members.iter().map(|it| address(it)).collect();
    let made = bench
        .store
        .change_group(address(name), move |it| *it = members.clone());
    made.await.unwrap();
}

#[test]
fn recipients_here_get_what_was_held_back_where_their_addresses_lead_by_then() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let bob = bench.account("bob@here.test").await;
        let gone = bench.account("gone@here.test").await;
        let to = [
            "bob@here.test",
            "gone@here.test",
            "team@here.test",
            "a@x.test",
        ];
        group(&bench, "team@here.test", &["bob@here.test"]).await;
        let id = bench
            .queue("ann@here.test", &to, |it| {
                it.envelope.hold_until = Some(500);
                for recipient in &mut it.recipients {
                    recipient.notify.success = true;
                    recipient.status = Status::waiting(500);
                }
            })
            .await;
        bench.at(499);
        Timer::after(Duration::from_millis(30)).await;
        assert!(bench.item(id).is_some() && bench.texts(bob).is_empty());
        // Meanwhile an account goes, and a group grows.
        bench.store.delete_account(gone).await.unwrap();
        let members = ["bob@here.test", "b@x.test", "ann@here.test"];
        group(&bench, "team@here.test", &members).await;
        bench.at(500);
        bench.until("its time", |it| it.items().is_empty()).await;
        // One copy each, however often they are named.
        let kept = "Return-Path: <x>\r\nSubject: hi\r\n\r\nbody\r\n";
        assert_eq!(bench.texts(bob), [kept]);
        let mut taken = bench.world.taken.lock().unwrap().clone();
        taken.sort_by(|a, b| a.1.cmp(&b.1));
        let taken: Vec<&str> = taken.iter().map(|it| it.1.as_str()).collect();
        assert_eq!(taken, ["a@x.test", "b@x.test"]);
        let mut inbox = bench.inbox();
        assert_eq!(inbox.len(), 5, "{inbox:#?}");
        let mut take = |wanted: &str| {
            let at = inbox.iter().position(|it| it.contains(wanted));
            inbox.remove(at.unwrap_or_else(|| panic!("{wanted}")))
        };
        assert!(take("Action: delivered").contains("bob@here.test"));
        let told = take("Action: expanded");
        assert!(told.contains("Final-Recipient: rfc822;team@here.test\r\n"));
        assert!(told.contains("Future-Release-Request: until;1970-01-01T00:08:20Z"));
        assert!(!told.contains("b@x.test"), "{told}");
        let told = take("Action: failed");
        assert!(told.contains("gone@here.test") && told.contains("Status: 5.1.1"));
        let told = take("Action: relayed");
        assert!(told.contains("a@x.test") && !told.contains("b@x.test"));
        assert_eq!(inbox, [kept]);
        bench.end().await;
    });
}

#[test]
fn a_group_that_has_grown_too_large_meanwhile_goes_back_in_the_end() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let mut parts = Vec::new();
        for part in 0..3 {
            let members: Vec<String> = (0..400).map(|n| format!("m{n}@p{part}.test")).collect();
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            parts.push(format!("part{part}@here.test"));
            group(&bench, &parts[part], &members).await;
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        group(&bench, "team@here.test", &parts).await;
        let later = |it: &mut NewItem| it.recipients[0].status = Status::waiting(50);
        let id = bench
            .queue("ann@here.test", &["team@here.test"], later)
            .await;
        bench.at(50);
        bench.attempts(id, 1).await;
        let item = bench.item(id).unwrap();
        let Status::Waiting { last, .. } = &item.recipients[0].status else {
            panic!("{item:?}")
        };
        assert_eq!(last.as_ref().map(|it| it.enhanced.as_str()), Some("4.2.4"));
        bench.at(50 + POLICY.expiry);
        bench
            .until("it goes back", |it| it.item(id).is_none())
            .await;
        assert!(bench.inbox()[0].contains("Status: 5.4.7"));
        assert_eq!(bench.world.attempts.load(SeqCst), 0);
        bench.end().await;
    });
}

#[test]
fn recipients_here_wait_while_there_is_no_room() {
    smol::block_on(async {
        const RESERVE: u64 = 4 << 20;
        let disk = SimDisk::new();
        let options = Options {
            reserve: RESERVE,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(disk.clone()) as Arc<dyn Disk>, options).unwrap();
        let bench = Bench::with(store, Arc::new(World::default()));
        bench.account("ann@here.test").await;
        let bob = bench.account("bob@here.test").await;
        let later = |it: &mut NewItem| it.recipients[0].status = Status::waiting(50);
        let id = bench
            .queue("ann@here.test", &["bob@here.test"], later)
            .await;
        disk.set_capacity(Some(disk.used() + RESERVE / 2));
        bench.at(50);
        bench.attempts(id, 1).await;
        let item = bench.item(id).unwrap();
        let Status::Waiting { last, .. } = &item.recipients[0].status else {
            panic!("{item:?}")
        };
        assert_eq!(last.as_ref().map(|it| it.enhanced.as_str()), Some("4.3.1"));
        assert_eq!(bench.texts(bob).len(), 0);
        disk.set_capacity(None);
        bench.at(50 + 331);
        bench.until("room again", |it| it.item(id).is_none()).await;
        assert_eq!((bench.texts(bob).len(), bench.inbox().len()), (1, 0));
        bench.end().await;
    });
}

#[test]
fn members_of_a_group_that_was_held_back_stay_its_members() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        group(&bench, "team@here.test", &["no@x.test", "busy@y.test"]).await;
        let team = ["team@here.test"];
        let queued = bench.queue("ann@here.test", &team, |it| {
            it.recipients[0].original = None
        });
        queued.await;
        bench.until("told", |it| it.inbox().len() == 1).await;
        let told = &bench.inbox()[0];
        let named = "\r\n\r\nFinal-Recipient: rfc822;team@here.test\r\nAction: failed\r\n";
        assert!(told.contains(named), "{told}");
        assert!(!told.contains("Original-Recipient"), "{told}");
        assert!(!told.contains("x.test\r\n    "), "{told}");
        let waits = &bench.items()[0].recipients;
        let busy = waits
            .iter()
            .find(|it| it.address.local() == "busy")
            .unwrap();
        // The next server is told whom its sender named (RFC 3461, 5.2.1).
        assert_eq!(busy.orcpt().as_deref(), Some("rfc822;team@here.test"));
        assert_eq!(
            (&busy.original, busy.named()),
            (&None, &address("team@here.test"))
        );
        bench.end().await;
    });
}

#[test]
fn what_was_held_back_for_an_account_out_of_use_goes_back() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let bob = bench.account("bob@here.test").await;
        let carl = bench.account("carl@here.test").await;
        let dora = bench.account("dora@here.test").await;
        group(
            &bench,
            "team@here.test",
            &["bob@here.test", "dora@here.test"],
        )
        .await;
        let to = ["bob@here.test", "carl@here.test", "team@here.test"];
        let id = bench
            .queue("ann@here.test", &to, |it| {
                it.envelope.hold_until = Some(500);
                for recipient in &mut it.recipients {
                    recipient.status = Status::waiting(500);
                }
            })
            .await;
        for (account, takes_mail) in [(bob, false), (carl, true)] {
            let to = Standing::Disabled { takes_mail };
            let set = bench.store.set_standing(account, Standing::Active, to);
            set.await.unwrap();
        }
        assert!(bench.item(id).is_some());
        bench.at(500);
        bench.until("its time", |it| it.items().is_empty()).await;
        let copies = [bob, carl, dora].map(|it| bench.texts(it).len());
        assert_eq!(copies, [0, 1, 1]);
        let inbox = bench.inbox();
        assert_eq!(inbox.len(), 1, "{inbox:#?}");
        let told = &inbox[0];
        for line in [
            "Final-Recipient: rfc822;bob@here.test\r\n",
            "Action: failed\r\n",
            "Status: 5.2.1\r\n",
        ] {
            assert!(told.contains(line), "{line} is not in {told}");
        }
        assert_eq!(told.matches("Final-Recipient: ").count(), 1);
        bench.end().await;
    });
}

/// RFC 5321, 4.5.1: nobody has set one, in any spelling, for a domain or the server itself.
#[test]
fn a_postmaster_who_was_written_to_for_later_is_reached_as_now() {
    smol::block_on(async {
        let bench = Bench::new(&SimDisk::new()).await;
        let bob = bench.account("bob@here.test").await;
        let to = ["PostMaster@here.test", "postmaster@mail.here.test"];
        for (n, name) in to.into_iter().enumerate() {
            bench
                .queue("bob@here.test", &[name, "hostmaster@here.test"], |it| {
                    it.envelope.hold_until = Some(50);
                    for recipient in &mut it.recipients {
                        recipient.status = Status::waiting(50);
                    }
                })
                .await;
            bench.at(50);
            bench.until("its time", |it| it.items().is_empty()).await;
            assert_eq!(bench.inbox().len(), n + 1, "{name}");
            // Of the other address, which nobody has.
            let told = bench.texts(bob);
            assert_eq!(told.len(), n + 1, "{name}");
            assert!(told[n].contains("rfc822;hostmaster@here.test"));
            assert!(!told[n].to_lowercase().contains("rfc822;postmaster"));
        }
        assert_eq!(bench.world.attempts.load(SeqCst), 0);
        bench.end().await;
    });
}
