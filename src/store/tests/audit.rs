//! The audit log: saved together, bounded, there after a power cut once it was saved. What
//! goes with accounts: app passwords, how they stand.

use super::support::*;
use crate::mail::{AccountId, Standing};
use crate::secret::ScramKeys;
use crate::store::simdisk::SimDisk;
use crate::store::*;
use smol::block_on;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Longer than since 1970.
const ALWAYS: Duration = Duration::from_secs(1 << 40);

fn event(at: i64, what: &str) -> Event {
    Event {
        at,
        ..Event::now(Kind::Login, "ann@b.test", "imap", "192.0.2.1", what)
    }
}

fn events(store: &Store) -> Vec<Event> {
    let wanted = Wanted {
        most: usize::MAX,
        ..Wanted::default()
    };
    store.look(|it| it.events(&wanted)).unwrap()
}

#[test]
fn logins_cost_no_write_and_are_there_after_a_power_cut_once_saved() {
    block_on(async {
        let disk = SimDisk::default();
        let store = open(&disk).unwrap();
        let ann = account(&store, "ann@b.test").await;
        let before = store.counters().commits.load(Relaxed);
        for at in 60..120 {
            store.note_login(ann, event(at, "password"));
            store.note_event(event(at, "certificate"));
        }
        assert_eq!(store.counters().commits.load(Relaxed), before);
        assert!(events(&store).is_empty());
        // Of an account that is gone nothing is kept but its events.
        store.note_login(AccountId(9), event(130, "password"));
        store.save_events(ALWAYS).await.unwrap();
        let disk = disk.after_power_cut(1);
        drop(store);
        let store = open(&disk).unwrap();
        let saved = events(&store).into_iter();
        let saved: Vec<(i64, String, u32)> = saved.map(|it| (it.at, it.what, it.times)).collect();
        let expected = [
            (60, "password", 60),
            (60, "certificate", 60),
            (130, "password", 1),
        ];
        let expected = expected.map(|(at, what, times)| (at, what.to_owned(), times));
        assert_eq!(saved, expected);
        let uses = store.look(|it| it.last_uses(ann)).unwrap();
        assert_eq!((uses.len(), uses[0].at), (1, 119));
        assert_eq!(store.look(|it| it.last_uses(AccountId(9))).unwrap(), []);
        store.delete_account(ann).await.unwrap();
        assert_eq!(store.look(|it| it.last_uses(ann)).unwrap(), []);
        store.close().await;
    });
}

#[test]
fn the_oldest_go_by_age_and_what_is_not_saved_waits() {
    block_on(async {
        let disk = SimDisk::default();
        let store = open(&disk).unwrap();
        let year = Duration::from_secs(365 * 24 * 3600);
        for n in 0..2000 {
            store.note_event(event(n * 60, "password"));
        }
        store.save_events(ALWAYS).await.unwrap();
        assert_eq!(events(&store).len(), 2000);
        store.note_event(Event::now(
            Kind::Change,
            "",
            "control",
            "root",
            "alias add a b",
        ));
        store.save_events(year).await.unwrap();
        // The last chunk stays with what is in it.
        let left = events(&store).len();
        assert!((1..200).contains(&left), "{left} are left");
        assert_eq!(events(&store).last().unwrap().what, "alias add a b");
        // While the disk is gone they wait, and come once.
        disk.cut_at(disk.syncs());
        store.note_event(event(60, "certificate"));
        assert!(store.save_events(ALWAYS).await.is_err());
        store.note_event(event(61, "certificate"));
        assert!(store.save_events(ALWAYS).await.is_err());
        store.close().await;
    });
}

#[test]
fn memory_is_bounded_and_says_what_it_lost() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        for n in 0..5000 {
            store.note_event(event(n * 60, &"x".repeat(1000)));
        }
        store.save_events(ALWAYS).await.unwrap();
        let saved = events(&store);
        assert_eq!(saved.len(), 4097);
        assert_eq!(saved[4096].what, "904 events were too many to keep");
        assert_eq!(saved[0].what.len(), 300);
        let wanted = Wanted {
            since: Some(4990 * 60),
            kind: Some(Kind::Login),
            account: Some("ANN@b.test".into()),
            most: 4,
        };
        let found = store.look(|it| it.events(&wanted)).unwrap();
        let times: Vec<i64> = found.iter().map(|it| it.at / 60).collect();
        assert_eq!(times, [4996, 4997, 4998, 4999]);
        let words = Event::now(Kind::Refused, "a\nb", "", "", &"é".repeat(200));
        assert_eq!((words.account.as_str(), words.what.len()), ("a b", 300));
        store.close().await;
    });
}

#[test]
fn a_storm_of_refusals_pushes_out_no_change_and_is_told_by_network() {
    let refused = |at: i64, from: String| Event {
        at,
        ..Event::now(Kind::Refused, "ann@b.test", "imap", &from, &"x".repeat(300))
    };
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        store.note_event(event(60, "password"));
        let change = Event::now(Kind::Change, "", "control", "root", "alias add a b");
        store.note_event(Event { at: 61, ..change });
        store.save_events(ALWAYS).await.unwrap();
        for minute in 2..150 {
            for n in 0..300 {
                let (high, low) = (n / 2, n % 2);
                store.note_event(refused(minute * 60, format!("198.18.{high}.{low}")));
            }
            // What is saved in between changes nothing.
            store.note_event(refused(minute * 60 + 30, "2001:db8:1:2ff::7".into()));
            store.save_events(ALWAYS).await.unwrap();
        }
        let all = events(&store);
        let kept: Vec<&str> = all.iter().take(2).map(|it| it.what.as_str()).collect();
        assert_eq!(kept, ["password", "alias add a b"]);
        assert!(all.is_sorted_by_key(|it| it.at));
        assert!(all[2].at > 20 * 60, "the oldest refusals are gone");
        let last: Vec<&Event> = all.iter().filter(|it| it.at / 60 == 149).collect();
        assert_eq!(last.len(), 121);
        assert_eq!(last.iter().map(|it| it.times).sum::<u32>(), 301);
        let from: Vec<&str> = last.iter().map(|it| it.from.as_str()).collect();
        assert_eq!((from[0], from[29]), ("198.18.0.0", "198.18.14.1"));
        assert_eq!((from[30], from[119]), ("198.18.15.0/24", "198.18.104.0/24"));
        assert_eq!(
            (last[120].from.as_str(), last[120].account.as_str()),
            ("many networks", "")
        );
        // A calm minute tells all, an IPv6 site by its network again once it is none.
        for n in 0..32 {
            store.note_event(refused(9000, format!("2001:db8:1:2{n:02x}::7")));
        }
        store.save_events(ALWAYS).await.unwrap();
        let wanted = Wanted {
            kind: Some(Kind::Refused),
            most: 31,
            ..Wanted::default()
        };
        let found = store.look(|it| it.events(&wanted)).unwrap();
        let ends = [&found[0], &found[30]].map(|it| (it.from.as_str(), it.times));
        assert_eq!(ends, [("2001:db8:1:200::7", 1), ("2001:db8:1:200::/56", 2)]);
        // With age they go, though none is new.
        store.note_event(event(9001, "password"));
        store.save_events(Duration::ZERO).await.unwrap();
        assert!(events(&store).len() < 50);
        store.close().await;
    });
}

#[test]
fn app_passwords_are_few_and_their_sessions_end_with_them() {
    let app = |name: &str, services| AppPassword {
        name: name.into(),
        made: 7,
        services,
        tag: [1; 32],
        scram: ScramKeys::nobody(name, &[2; 32]),
    };
    block_on(async {
        let disk = SimDisk::default();
        let store = open(&disk).unwrap();
        let ann = account(&store, "ann@b.test").await;
        for n in 0..MAX_APP_PASSWORDS {
            let name = format!("device-{n}");
            store.add_app_password(ann, app(&name, 1)).await.unwrap();
        }
        let again = store.add_app_password(ann, app("DEVICE-3", 0)).await;
        assert_eq!(again, Err(Error::Exists));
        let more = store.add_app_password(ann, app("more", 0)).await;
        assert_eq!(more, Err(Error::Limit("app passwords")));
        let nobody = store.add_app_password(AccountId(9), app("x", 0)).await;
        assert_eq!(nobody, Err(Error::NoAccount));
        assert_eq!(
            store.remove_app_password(ann, "none".into()).await,
            Ok(false)
        );
        assert_eq!(
            store.remove_app_password(ann, "Device-0".into()).await,
            Ok(true)
        );
        let means = |ended: &Ended| ended.means.clone().unwrap_or_default();
        let ended: Vec<String> = store.ended_sessions().await.iter().map(means).collect();
        assert_eq!(ended, ["app password device-0"]);
        let disk = disk.after_power_cut(2);
        drop(store);
        let store = open(&disk).unwrap();
        let all = store.look(|it| it.app_passwords(ann)).unwrap();
        assert_eq!(all.len(), MAX_APP_PASSWORDS - 1);
        assert_eq!(
            (all[0].name.as_str(), all[0].made, all[0].tag),
            ("device-1", 7, [1; 32])
        );
        assert!(all[0].is_for("imap") && !all[0].is_for("pop3"));
        assert!(app("x", 0).is_for("pop3") && app("x", 4).is_for("submission"));
        store.close().await;
    });
}

#[test]
fn who_is_restored_is_not_taken_away() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        let ann = account(&store, "ann@b.test").await;
        let bob = account(&store, "bob@b.test").await;
        let collector = |id: AccountId| vec![id.0 as u8, 1, 2];
        for (key, id) in [("1", ann), ("2", bob)] {
            let put = store.put_record("collector", key, collector(id));
            put.await.unwrap();
        }
        // So old that neither the clock nor the days keep it.
        let (active, over) = (Standing::Active, Standing::Deleted { until: 1 });
        let changed = |result: Result<()>| matches!(result, Err(Error::Forbidden(_)));
        assert!(changed(store.purge_account(ann).await));
        for id in [ann, bob] {
            store.set_standing(id, active, over).await.unwrap();
        }
        let now = 1 << 40;
        let due = store.look(|it| it.falling_due(now, false)).unwrap();
        assert_eq!(due, [ann, bob]);
        // The owner is faster.
        store.set_standing(ann, over, active).await.unwrap();
        assert_eq!(store.expire_account(ann, now, false).await, Ok(false));
        assert_eq!(store.expire_account(bob, now, false).await, Ok(true));
        assert_eq!(store.expire_account(bob, now, false).await, Ok(false));
        assert!(changed(store.set_standing(ann, over, active).await));
        assert!(changed(store.purge_account(ann).await));
        assert_eq!(store.purge_account(bob).await, Err(Error::NoAccount));
        let there = |id| store.look(|it| it.account(id)).unwrap().is_some();
        assert_eq!((there(ann), there(bob)), (true, false));
        // What holds a password goes at the same moment.
        let left = store.look(|it| it.record_keys("collector")).unwrap();
        assert_eq!(left, ["1"]);
        store.close().await;
    });
}

#[test]
fn sessions_end_with_what_they_logged_in_by() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        let ann = account(&store, "ann@b.test").await;
        let fingerprint = crate::mail::certificate::Fingerprint([1; 32]);
        let known = KnownCertificate {
            fingerprint,
            account: ann,
            until: 1 << 40,
        };
        store.add_certificate(known).await.unwrap();
        store.set_credential(ann, credential()).await.unwrap();
        let removed = store.remove_certificate(ann, fingerprint);
        assert_eq!(removed.await, Ok(true));
        let to = |text: &str| crate::address::Address::parse(text).unwrap();
        let renamed = store.rename_account(ann, to("eve@b.test"), true, Vec::new());
        renamed.await.unwrap();
        let means = |ended: &Ended| ended.means.clone().unwrap_or_default();
        let ended: Vec<String> = store.ended_sessions().await.iter().map(means).collect();
        assert_eq!(ended, ["password", "certificate"]);
        let renamed = store.rename_account(ann, to("amy@b.test"), false, Vec::new());
        renamed.await.unwrap();
        assert_eq!(store.ended_sessions().await[0].means, None);
        store.close().await;
    });
}

#[test]
fn an_account_stands_as_it_was_last_set() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        let ann = account(&store, "ann@b.test").await;
        let all = [
            Standing::Disabled { takes_mail: true },
            Standing::Disabled { takes_mail: false },
            Standing::Deleted { until: 1 << 40 },
            Standing::Active,
        ];
        let mut before = Standing::Active;
        for standing in all {
            assert_eq!(store.set_standing(ann, before, standing).await, Ok(()));
            assert_eq!(store.look(|it| it.standing(ann)), Ok(standing));
            before = standing;
        }
        let ended = store.ended_sessions().await;
        assert_eq!(
            ended,
            [Ended {
                account: ann,
                means: None
            }]
        );
        assert_eq!(
            store.look(|it| it.record_keys("account-standing")),
            Ok(Vec::new())
        );
        let nobody = store.set_standing(AccountId(9), before, before).await;
        assert_eq!(nobody, Err(Error::NoAccount));
        store.close().await;
    });
}
