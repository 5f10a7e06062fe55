//! What is kept of expunged messages, past its limit (RFC 7162, 3.2.5.1).

use super::support::*;
use crate::mail::*;
use crate::store::simdisk::SimDisk;
use crate::store::*;

/// Expunges that are on their way at once.
const AHEAD: usize = 256;

/// Expunges each of `uids` by itself; the mod-sequences of that, ascending.
async fn expunge_each(store: &Store, id: MailboxId, uids: &[u32]) -> Vec<(ModSeq, Uid)> {
    let mut gone = Vec::new();
    for some in uids.chunks(AHEAD) {
        let begun = some.iter().map(|&uid| {
            let store = store.clone();
            smol::spawn(async move {
                let set = UidSet::from_ranges(vec![(uid, uid)]);
                let (gone, modseq) = store
                    .expunge(id, Some(set), true, Origin(None))
                    .await
                    .unwrap();
                (modseq, gone.iter().next().unwrap())
            })
        });
        let begun: Vec<_> = begun.collect();
        for task in begun {
            gone.push(task.await);
        }
    }
    gone.sort();
    gone
}

async fn vanished(store: &Store, id: MailboxId, since: ModSeq) -> UidSet {
    let read = store.read(move |it| it.vanished_since(id, since.get()));
    read.await.unwrap()
}

#[test]
fn the_older_half_is_forgotten_and_nothing_is_missed_or_made_up() {
    smol::block_on(async {
        let store = open(&SimDisk::new()).unwrap();
        let alice = account(&store, "alice@demo.test").await;
        deliver(&store, alice, &text(1, 300)).await.unwrap();
        let id = inbox(&store, alice).await.id;
        for n in 0..13 {
            let all = UidSet::from_ranges(vec![(1, 1 << n)]);
            store.copy(id, all, id).await.unwrap();
        }
        expunge_each(&store, id, &[1, 2, 3]).await;
        let start = inbox(&store, alice).await.highest_modseq;
        let every_other: Vec<u32> = (6..8192).step_by(2).collect();
        let gone = expunge_each(&store, id, &every_other).await;
        assert_eq!(gone.len() + 3, MAX_VANISHED as usize);
        let all: UidSet = gone.iter().map(|it| it.1).collect();
        assert!(vanished(&store, id, start).await == all);

        let last: Vec<u32> = (7..107).step_by(2).collect();
        let mut gone = gone;
        gone.extend(expunge_each(&store, id, &last).await);
        let info = inbox(&store, alice).await;
        assert_eq!(info.messages as usize, 8192 - 3 - gone.len());
        // Before what is still known: all that is not there, so that nothing is missed.
        let told = vanished(&store, id, start).await;
        let there: UidSet = messages(&store, id).await.iter().map(|it| it.uid).collect();
        assert!(told.contains(Uid::MIN), "nothing was forgotten");
        assert_eq!(told.len(), 3 + gone.len() as u64);
        assert!(there.iter().all(|uid| !told.contains(uid)));
        // Of the younger half, exactly what went.
        for from in [gone.len() * 2 / 3, gone.len() - 51, gone.len() - 1] {
            let (since, _) = gone[from];
            let after: UidSet = gone[from + 1..].iter().map(|it| it.1).collect();
            assert!(vanished(&store, id, since).await == after, "{from}");
        }
        // Half of what can be kept is.
        let (mut known, mut unknown) = (gone.len(), 0);
        while known - unknown > 1 {
            let half = (known + unknown) / 2;
            match vanished(&store, id, gone[half].0).await.contains(Uid::MIN) {
                true => unknown = half,
                false => known = half,
            }
        }
        assert!((2000..2100).contains(&known), "{known}");
    });
}
