use super::known::MAX_KNOWN;
use super::*;
use crate::secret::{Credential, Secret};
use crate::store::Options;
use smol::block_on;
use std::sync::atomic::Ordering::Relaxed;

const NOW: i64 = 1_800_000_000;

fn opened(dir: &std::path::Path) -> Store {
    let options = Options {
        reserve: 0,
        ballast: 0,
        ..Options::default()
    };
    Store::open(dir, options).unwrap()
}

fn account(n: u32) -> Who {
    Who::Account(AccountId(n))
}

fn address(n: usize) -> Address {
    Address::parse(&format!("n{n}@b.test")).unwrap()
}

#[test]
fn each_account_has_its_own_count_and_it_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (store, rates) = (opened(dir.path()), Rates::default());
    let message = |who: &Who, at| rates.message(&store, who, at, 2);
    let recipient = |who: &Who, at| rates.recipient(&store, who, at, 1);
    let (one, two) = (account(1), account(2));
    assert!(message(&one, NOW) && message(&one, NOW) && !message(&one, NOW));
    assert!(message(&two, NOW) && recipient(&one, NOW));
    assert!(message(&Who::Device("1".into()), NOW));
    assert!(!recipient(&one, NOW + HOUR));
    assert!(message(&one, NOW + HOUR) && recipient(&one, NOW + DAY));
    assert!((0..100).all(|_| rates.message(&store, &one, NOW, 0)));
}

#[test]
fn a_clock_set_back_gives_nothing_and_takes_one_window() {
    let mut window = Window::default();
    assert!(window.take(NOW, HOUR, 2));
    assert!(window.take(NOW - DAY, HOUR, 2) && !window.take(NOW - DAY, HOUR, 2));
    assert!(window.take(NOW - DAY + HOUR, HOUR, 2));
}

#[test]
fn only_new_addresses_count_as_new() {
    let dir = tempfile::tempdir().unwrap();
    let (store, rates) = (opened(dir.path()), Rates::default());
    let who = account(1);
    let new = |n, now| rates.new_recipient(&store, &who, &address(n), now, 3);
    assert!(new(1, NOW) && new(2, NOW) && new(1, NOW) && new(3, NOW));
    assert!(!new(4, NOW) && new(3, NOW) && !new(4, NOW + DAY - 1));
    assert!(new(4, NOW + DAY) && new(1, NOW + DAY));
    let upper = Address::parse("N1@B.test").unwrap();
    assert!(rates.new_recipient(&store, &who, &upper, NOW + DAY, 1));
    assert!((0..100).all(|n| rates.new_recipient(&store, &who, &address(n), NOW, 0)));
}

#[test]
fn a_restart_starts_no_new_day() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let store = opened(dir.path());
        let owner = Address::parse("ann@b.test").unwrap();
        let secret = Secret::new("long enough".to_string());
        let credential = Credential::create(&secret).unwrap();
        let id = store.create_account(owner, credential).await.unwrap();
        let (who, nobody) = (Who::Account(id), account(99));
        let rates = Rates::default();
        for who in [&who, &nobody] {
            assert!(rates.message(&store, who, NOW, 1));
            (0..MAX_KNOWN + 10).for_each(|n| {
                rates.new_recipient(&store, who, &address(n), NOW, u32::MAX);
            });
        }
        let commits = || store.counters().commits.load(Relaxed);
        rates.save(&store).await;
        let saved = commits();
        // Nothing has changed: nothing is written, and the next time it goes from memory.
        rates.save(&store).await;
        assert_eq!((commits(), rates.lock().len()), (saved, 0));
        assert!(!rates.message(&store, &who, NOW, 1));
        store.close().await;
        drop(store);
        let (store, rates) = (opened(dir.path()), Rates::default());
        assert!(!rates.message(&store, &who, NOW + 1, 1));
        let limit = MAX_KNOWN as u32 + 10;
        let new = |n| rates.new_recipient(&store, &who, &address(n), NOW + 1, limit);
        // The last of them is known, and of the first nothing but the count.
        assert!(new(MAX_KNOWN + 9) && !new(0));
        // Whose account is gone leaves nothing.
        assert!(rates.message(&store, &nobody, NOW + 1, 1));
        store.close().await;
    });
}

#[test]
fn what_is_no_saved_value_counts_for_nothing() {
    for bytes in [&b""[..], b"\x01", b"\x02abc", &[1; 36]] {
        let sent = Sent::decode(bytes).unwrap_or_default();
        assert_eq!(sent.messages, Window::default());
    }
    let mut sent = Sent::default();
    assert!(sent.recipients.take(NOW, DAY, 5));
    let back = Sent::decode(&sent.encode()).unwrap();
    assert_eq!(back.recipients, sent.recipients);
    assert_eq!((back.messages, back.new), (sent.messages, sent.new));
}
