//! Whom an account has written to: keyed hashes, so that the list tells nobody anything.

use crate::store::MAX_REMEMBERED;
use ring::hmac;

/// Addresses remembered of one account; the oldest goes first.
pub const MAX_KNOWN: usize = 4000;

/// A value of them is saved as one.
const _: () = assert!(MAX_KNOWN * size_of::<u64>() + 64 < MAX_REMEMBERED);

#[derive(Default)]
pub struct Known {
    key: Option<hmac::Key>,
    /// Of the accounts that have the key in common, each has its own hashes.
    owner: Vec<u8>,
    /// Oldest first.
    hashes: Vec<u64>,
    changed: bool,
}

impl Known {
    /// To be called before the first question.
    pub fn keyed(&mut self, key: &[u8], owner: &str) {
        self.key = Some(hmac::Key::new(hmac::HMAC_SHA256, key));
        self.owner = [owner.as_bytes(), b"\0"].concat();
    }

    /// Whether it is known; from now on it counts as of today.
    pub fn meets(&mut self, address: &str) -> bool {
        let hash = self.hash(address);
        let Some(at) = self.hashes.iter().rposition(|it| *it == hash) else {
            return false;
        };
        // Not each time: what changes is written.
        if at < self.hashes.len() / 2 {
            self.hashes.remove(at);
            self.push(hash);
        }
        true
    }

    pub fn add(&mut self, address: &str) {
        let hash = self.hash(address);
        if self.hashes.len() >= MAX_KNOWN {
            self.hashes.remove(0);
        }
        self.push(hash);
    }

    /// Whether the list is another since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// 8 bytes each.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.hashes.iter().flat_map(|it| it.to_le_bytes()));
    }

    pub fn read(bytes: &[u8]) -> Known {
        let (hashes, _) = bytes.as_chunks();
        let hashes = hashes.iter().take(MAX_KNOWN);
        Known {
            hashes: hashes.map(|it| u64::from_le_bytes(*it)).collect(),
            ..Known::default()
        }
    }

    fn push(&mut self, hash: u64) {
        self.hashes.push(hash);
        self.changed = true;
    }

    fn hash(&self, address: &str) -> u64 {
        let Some(key) = &self.key else {
            return 0;
        };
        let mut context = hmac::Context::with_key(key);
        context.update(&self.owner);
        context.update(address.as_bytes());
        let tag = context.sign();
        let first = tag.as_ref().first_chunk();
        first.map_or(0, |first| u64::from_le_bytes(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let mut known = Known::default();
        known.keyed(b"key", "account 1");
        known
    }

    #[test]
    fn what_was_added_is_met_until_it_is_the_oldest() {
        let mut known = known();
        (0..MAX_KNOWN).for_each(|n| known.add(&n.to_string()));
        assert!(known.take_changed() && !known.take_changed());
        // In the newer half nothing moves, in the older it comes to the end.
        assert!(known.meets("3999") && !known.take_changed());
        assert!(known.meets("0") && known.take_changed());
        known.add("one more");
        assert!(known.meets("0") && known.meets("2") && known.meets("one more"));
        assert!(!known.meets("1"));
        assert_eq!(known.hashes.len(), MAX_KNOWN);
    }

    #[test]
    fn it_is_read_as_it_was_written_and_no_owner_has_anothers_hashes() {
        let mut one = known();
        one.add("x@b.test");
        let mut bytes = Vec::new();
        one.write(&mut bytes);
        let mut back = Known::read(&bytes);
        back.keyed(b"key", "account 1");
        assert!(back.meets("x@b.test"));
        back.keyed(b"key", "account 2");
        assert!(!back.meets("x@b.test"));
        back.keyed(b"yek", "account 1");
        assert!(!back.meets("x@b.test"));
        assert!(!bytes.windows(6).any(|it| it == b"b.test"));
    }
}
