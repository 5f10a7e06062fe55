//! Binary parts become base64 while a message is staged, whatever its size.

use super::support::*;
use crate::mail::FlagNames;
use crate::message::convert::Target;
use crate::message::decode::Decoder;
use crate::message::structure::Encoding;
use crate::store::simdisk::SimDisk;
use crate::store::{Delivery, Staged, Store};
use smol::block_on;

const HEADER: &[u8] = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n";

async fn staged(store: &Store, message: &[u8]) -> Option<Staged> {
    let mut staging = store.stage(None).await.unwrap();
    for slice in message.chunks(50_000) {
        staging.write(slice).await.unwrap();
    }
    staging.finish_as(Target::Lines).await.unwrap()
}

/// The bytes that a mailbox has of it.
async fn stored(store: &Store, staged: Staged) -> Vec<u8> {
    let owner = store.look(|it| it.accounts()).unwrap().remove(0).id;
    let delivery = Delivery {
        account: owner,
        mailbox: name("INBOX"),
        flags: FlagNames::default(),
    };
    let delivered = store.deliver(staged, DATE, vec![delivery], None);
    delivered.await.unwrap();
    let inbox = store.look(|it| it.mailbox(owner, &name("INBOX"))).unwrap();
    let newest = messages(store, inbox.unwrap().id).await.pop().unwrap();
    bytes_of(store, newest.email).await.unwrap()
}

#[test]
fn a_part_comes_back_whatever_its_size() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        account(&store, "alice@demo.test").await;
        // The last is in a file of its own, for nothing of it can be compressed.
        for size in [0, 1, 70_000, 900_000] {
            let noise = |n: u32| n.wrapping_mul(2_654_435_761).rotate_left(9) as u8;
            let body: Vec<u8> = b"\0\n"
                .iter()
                .copied()
                .chain((0..size).map(noise))
                .collect();
            let message = [HEADER, &body].concat();
            let got = stored(&store, staged(&store, &message).await.unwrap()).await;
            let start = got.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
            assert!(got.is_ascii() && got.ends_with(b"\r\n"));
            let (mut back, mut decoder) = (Vec::new(), Decoder::new(Encoding::Base64));
            decoder.push(&got[start..], &mut back);
            decoder.finish(&mut back).unwrap();
            assert!(back == body, "{size}");
        }
    });
}

#[test]
fn what_needs_no_change_is_the_same_and_what_can_not_is_none() {
    block_on(async {
        let store = open(&SimDisk::default()).unwrap();
        account(&store, "alice@demo.test").await;
        let plain = b"Subject: x\r\n\r\n\xc3\xbc\r\n";
        assert_eq!(
            stored(&store, staged(&store, plain).await.unwrap()).await,
            plain
        );
        assert!(staged(&store, b"Subject: x\r\n\r\n\0").await.is_none());
    });
}
