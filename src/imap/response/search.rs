//! Search results: SEARCH (RFC 3501, 7.2.5) and ESEARCH (RFC 4731, 3.1).

use super::end;
use super::text::{number, string, uid_set};
use crate::mail::{ModSeq, UidSet};

/// `* SEARCH 2 84 882`. `modseq` is said where the search had MODSEQ (RFC 7162, 3.1.5) and
/// found something.
pub fn search(out: &mut Vec<u8>, found: impl Iterator<Item = u32>, modseq: Option<ModSeq>) {
    out.extend_from_slice(b"* SEARCH");
    for n in found {
        out.push(b' ');
        number(out, u64::from(n));
    }
    if let Some(modseq) = modseq {
        out.extend_from_slice(b" (MODSEQ ");
        number(out, modseq.get());
        out.push(b')');
    }
    end(out);
}

/// What ESEARCH is to say; what is `None` is left out, and so is an empty `all`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extended<'a> {
    pub uid: bool,
    pub min: Option<u32>,
    pub max: Option<u32>,
    pub count: Option<u64>,
    /// UIDs or, without `uid`, sequence numbers.
    pub all: Option<&'a UidSet>,
    pub modseq: Option<ModSeq>,
}

/// `* ESEARCH (TAG "a1") UID COUNT 2 ALL 4,7`.
pub fn extended(out: &mut Vec<u8>, tag: &str, result: Extended) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    string(out, tag.as_bytes());
    out.push(b')');
    if result.uid {
        out.extend_from_slice(b" UID");
    }
    let numbers = [
        (" MIN ", result.min.map(u64::from)),
        (" MAX ", result.max.map(u64::from)),
        (" COUNT ", result.count),
    ];
    for (word, n) in numbers {
        named(out, word, n);
    }
    if let Some(all) = result.all.filter(|all| !all.is_empty()) {
        out.extend_from_slice(b" ALL ");
        uid_set(out, all);
    }
    named(out, " MODSEQ ", result.modseq.map(ModSeq::get));
    end(out);
}

fn named(out: &mut Vec<u8>, word: &str, n: Option<u64>) {
    if let Some(n) = n {
        out.extend_from_slice(word.as_bytes());
        number(out, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results() {
        let mut out = Vec::new();
        search(&mut out, [2, 84].into_iter(), ModSeq::new(917));
        search(&mut out, std::iter::empty(), None);
        extended(&mut out, "a\"", Extended::default());
        let all = UidSet::from_ranges(vec![(4, 4), (7, 9)]);
        extended(
            &mut out,
            "a1",
            Extended {
                uid: true,
                min: Some(4),
                max: Some(9),
                count: Some(4),
                all: Some(&all),
                modseq: ModSeq::new(12),
            },
        );
        assert_eq!(
            String::from_utf8_lossy(&out),
            "* SEARCH 2 84 (MODSEQ 917)\r\n* SEARCH\r\n\
             * ESEARCH (TAG \"a\\\"\")\r\n\
             * ESEARCH (TAG \"a1\") UID MIN 4 MAX 9 COUNT 4 ALL 4,7:9 MODSEQ 12\r\n"
        );
    }
}
