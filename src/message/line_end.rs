//! Line ends as messages have them: CRLF (RFC 5322, 2.3).

use memchr::memchr_iter;
use std::borrow::Cow;

/// Makes CRLF of every bare LF in a message that comes in slices.
#[derive(Debug, Default)]
pub struct LineEnds {
    /// The last byte so far was a CR.
    after_cr: bool,
}

impl LineEnds {
    /// These bytes come next, and stay as they are.
    pub fn pass(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.after_cr = *last == b'\r';
        }
    }

    /// The slice as it is where nothing has to be mended.
    pub fn mend<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut mended = Vec::new();
        let mut kept = 0;
        for lf in memchr_iter(b'\n', bytes) {
            let after_cr = match lf.checked_sub(1) {
                Some(before) => bytes.get(before) == Some(&b'\r'),
                None => self.after_cr,
            };
            if !after_cr {
                mended.extend_from_slice(bytes.get(kept..lf).unwrap_or_default());
                mended.push(b'\r');
                kept = lf;
            }
        }
        self.pass(bytes);
        if mended.is_empty() {
            return Cow::Borrowed(bytes);
        }
        mended.extend_from_slice(bytes.get(kept..).unwrap_or_default());
        Cow::Owned(mended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_lf_is_mended_whatever_the_slices() {
        let text = b"\na\r\nb\n\n\r\r\nc\rd\n";
        for size in 1..=text.len() {
            let mut line_ends = LineEnds::default();
            let slices = text.chunks(size);
            let mended: Vec<u8> = slices
                .flat_map(|it| line_ends.mend(it).into_owned())
                .collect();
            assert_eq!(
                mended, b"\r\na\r\nb\r\n\r\n\r\r\nc\rd\r\n",
                "slices of {size}"
            );
        }
    }

    #[test]
    fn what_is_whole_is_not_copied() {
        let mut line_ends = LineEnds::default();
        assert!(matches!(
            line_ends.mend(b"a\r\nb\r"),
            Cow::Borrowed(b"a\r\nb\r")
        ));
        assert!(matches!(line_ends.mend(b"\nc"), Cow::Borrowed(b"\nc")));
        assert!(matches!(line_ends.mend(b""), Cow::Borrowed(b"")));
    }
}
