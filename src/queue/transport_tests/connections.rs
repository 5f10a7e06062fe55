//! Connections that are kept, and how many there are.

use super::*;

#[test]
fn a_kept_connection_that_dies_is_made_anew() {
    // It goes away at the second MAIL, and only then.
    let mails = AtomicUsize::new(0);
    let peer = Peer::new(move |connection, verb, _| {
        let second = verb == "MAIL" && connection == 0 && mails.fetch_add(1, SeqCst) == 1;
        second.then_some(Does::Hangup)
    });
    let bench = Bench::new(|_| ());
    for _ in 0..2 {
        assert!(is_delivered(&bench.send_one(&[&peer])));
    }
    assert_eq!((peer.connections(), peer.taken().len()), (2, 2));
    // A server that puts a sender off stays so, on whichever connection.
    let busy = Peer::at("MAIL", Does::Say("450 4.3.2 slowly"));
    assert_eq!(deferred(&bench.send_one(&[&busy])).1, "slowly");
    assert_eq!(deferred(&bench.send_one(&[&busy])).1, "slowly");
    assert_eq!(busy.connections(), 1);
}

#[test]
fn a_connection_carries_nothing_more_until_the_outcome_is_recorded() {
    // As many as the owner has it, from the next message on.
    let peer = Peer::good();
    let bench = Bench::new(|_| ());
    let set = |most: usize| {
        let name = "queue.max-sending-per-destination".to_owned();
        let chosen = [(name, most.to_string())].into();
        bench.transport.maker.live.apply(&chosen).unwrap();
    };
    smol::block_on(futures_lite::future::or(
        async {
            let send = async || {
                let consignment = bench.consignment(&["bob@x.test"]).await;
                let letter = Letter::open(&bench.transport.store, &consignment.item).await;
                let mut letter = letter.unwrap();
                let way = way(vec![peer.hop("mx.test")]);
                let parcel = bench.parcel(&consignment);
                let sent = bench.transport.deliver(&way, parcel, &mut letter);
                let (told, lease) = sent.await;
                assert!(told.iter().all(|it| is_delivered(&it.1)));
                lease.unwrap()
            };
            let mut leases = Vec::new();
            for most in [4, 9] {
                set(most);
                while leases.len() < most {
                    leases.push(send().await);
                    assert_eq!(peer.connections(), leases.len());
                }
                no_place(&mut Box::pin(send())).await;
                assert_eq!(peer.taken().len(), most);
            }
            // One of nine is no place for whoever may have two; one of two is.
            set(2);
            for left in (2..9).rev() {
                leases.truncate(left);
                no_place(&mut Box::pin(send())).await;
            }
            let mut next = Box::pin(send());
            no_place(&mut next).await;
            leases.pop();
            leases.push(next.await);
            no_place(&mut Box::pin(send())).await;
            assert_eq!(peer.connections(), 9);
        },
        hung(),
    ));
}

/// It waits for a place.
async fn no_place(sending: &mut (impl Future + Unpin)) {
    for _ in 0..20 {
        assert!(
            futures_lite::future::poll_once(&mut *sending)
                .await
                .is_none()
        );
        Timer::after(DRIP).await;
    }
}

#[test]
fn one_task_ends_the_connections_that_wait_and_then_itself() {
    let peers: Vec<Peer> = (0..5).map(|_| Peer::good()).collect();
    let bench = Bench::new(|_| ());
    let pool = bench.transport.pool.clone();
    // The bench's and ours.
    assert_eq!(pool.held(), 2);
    for round in 1..=2 {
        for peer in &peers {
            assert!(is_delivered(&bench.send_one(&[peer])));
        }
        assert_eq!(pool.held(), 3, "one task for all of them");
        assert!(peers.iter().all(|it| it.connections() == round));
        while pool.held() > 2 {
            std::thread::sleep(DRIP);
        }
    }
}
