//! Sequence sets: parsing and resolving (RFC 3501, 9: `sequence-set`).

use crate::imap::command::SequenceSet;
use crate::mail::UidSet;

/// Most elements of one set: more than a line of 64 KiB of UIDs above 999 can carry.
pub const MAX_ELEMENTS: usize = 16 * 1024;

impl SequenceSet {
    /// ```text
    /// sequence-set = (seq-number / seq-range) *("," sequence-set)
    /// seq-number   = nz-number / "*"
    /// ```
    pub fn parse(text: &[u8]) -> Option<SequenceSet> {
        let mut elements = Vec::new();
        for element in text.split(|&b| b == b',') {
            if elements.len() == MAX_ELEMENTS {
                return None;
            }
            let mut ends = element.splitn(2, |&b| b == b':');
            let first = number(ends.next()?)?;
            let last = match ends.next() {
                Some(last) => number(last)?,
                None => first,
            };
            elements.push((first, last));
        }
        Some(SequenceSet(elements))
    }

    /// The numbers meant, where `*` is `max`; ranges may be given backwards. With `max` 0
    /// (an empty mailbox) `*` is no number, and an element that has it names nothing.
    ///
    /// Nothing is cut at `max`: a sequence number above it is the caller's to refuse
    /// (see [`UidSet::ranges`]), a UID above it names no message.
    pub fn resolve(&self, max: u32) -> UidSet {
        let number = |end: Option<u32>| end.unwrap_or(max);
        let ranges = self.0.iter().filter_map(|&(first, last)| {
            let (first, last) = (number(first), number(last));
            let (low, high) = (first.min(last), first.max(last));
            (low > 0).then_some((low, high))
        });
        UidSet::from_ranges(ranges.collect())
    }
}

/// A number from 1 to 4,294,967,295, or `*` as `None`. Leading zeros are taken.
fn number(text: &[u8]) -> Option<Option<u32>> {
    if text == b"*" {
        return Some(None);
    }
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let n: u32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (digits && n > 0).then_some(Some(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, max: u32) -> Option<String> {
        SequenceSet::parse(text.as_bytes()).map(|set| set.resolve(max).to_string())
    }

    #[test]
    fn resolves() {
        // RFC 3501, 9: "*:4,5:7 with 15 messages"; "3:*" is "*:3".
        let cases = [
            ("1", 10, "1"),
            ("2,4:7,9,12:*", 15, "2,4:7,9,12:15"),
            ("*:4,5:7", 10, "4:10"),
            ("5:2", 10, "2:5"),
            ("*", 10, "10"),
            ("*:*", 10, "10"),
            ("559:*", 10, "10:559"),
            ("*", 0, ""),
            ("1:*", 0, ""),
            ("1,*", 0, "1"),
            ("3,1,2,2", 10, "1:3"),
            ("4294967295", 1, "4294967295"),
            ("001", 1, "1"),
        ];
        for (text, max, want) in cases {
            assert_eq!(resolved(text, max).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "0",
            "1:0",
            "1,",
            ",1",
            "1:",
            ":1",
            "1:2:3",
            "-1",
            "+1",
            "a",
            "1 2",
            "**",
            "1;2",
            "4294967296",
            "$",
        ] {
            assert_eq!(resolved(text, 9), None, "{text:?}");
        }
        let long = "1,".repeat(MAX_ELEMENTS) + "1";
        assert_eq!(resolved(&long, 9), None);
        assert_eq!(resolved(&long[2..], 9).as_deref(), Some("1"));
    }
}
