//! FETCH items: what they need and what they imply. Pure; the driver reads the store
//! (`serve::fetch`).

use crate::imap::command::FetchItem;

/// Puts in what a FETCH implies: UID for UID FETCH (RFC 3501, 6.4.8), MODSEQ where
/// CHANGEDSINCE is given (RFC 7162, 3.1.4.1). An item asked for twice is told once.
pub fn complete(items: Vec<FetchItem>, uid: bool, modseq: bool) -> Vec<FetchItem> {
    let mut all: Vec<FetchItem> = Vec::with_capacity(items.len() + 2);
    if uid {
        all.push(FetchItem::Uid);
    }
    for item in items {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    if modseq && !all.contains(&FetchItem::ModSeq) {
        all.push(FetchItem::ModSeq);
    }
    all
}

/// Whether reading these items sets \Seen (RFC 3501, 6.4.5).
pub fn sets_seen(items: &[FetchItem]) -> bool {
    items.iter().any(|item| match item {
        FetchItem::Section { peek, .. } | FetchItem::Binary { peek, .. } => !peek,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use FetchItem::*;

    #[test]
    fn what_is_implied_is_added_once() {
        assert_eq!(complete(vec![Flags], true, false), [Uid, Flags]);
        assert_eq!(complete(vec![Flags, Uid], true, true), [Uid, Flags, ModSeq]);
        assert_eq!(
            complete(vec![ModSeq, Flags, Flags], false, true),
            [ModSeq, Flags]
        );
    }

    #[test]
    fn reading_a_body_sets_seen_and_peeking_does_not() {
        let binary = |peek| Binary {
            path: vec![1],
            peek,
            partial: None,
        };
        assert!(sets_seen(&[Flags, binary(false)]));
        assert!(!sets_seen(&[
            Flags,
            Envelope,
            binary(true),
            BinarySize(vec![1])
        ]));
    }
}
