//! What a message's bytes are made of.

use memchr::memchr2;

/// What has to be known of a message before it is offered to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// A byte over 127, anywhere.
    pub eight_bit: bool,
    /// A byte over 127 in the message's own header: that is SMTPUTF8's (RFC 6531, 3.2).
    pub eight_bit_header: bool,
    /// A CR or LF without the other: can't go by DATA as it is (RFC 5321, 2.3.8).
    pub lone: bool,
    pub nul: bool,
    in_body: bool,
    /// The last byte was CR.
    cr: bool,
    /// The last bytes were CRLF, or there were none.
    line_began: bool,
    begun: bool,
}

impl Survey {
    pub fn push(&mut self, bytes: &[u8]) {
        let high = !bytes.is_ascii();
        self.eight_bit |= high;
        self.nul |= memchr::memchr(0, bytes).is_some();
        if !self.begun && !bytes.is_empty() {
            self.begun = true;
            self.line_began = true;
        }
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if self.cr {
                self.cr = false;
                if first == b'\n' {
                    rest = rest.get(1..).unwrap_or_default();
                    self.in_body |= self.line_began;
                    self.line_began = true;
                } else {
                    self.lone = true;
                    self.line_began = false;
                }
                continue;
            }
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let line = rest.get(..end).unwrap_or_default();
            self.eight_bit_header |= high && !self.in_body && !line.is_ascii();
            self.line_began &= line.is_empty();
            match rest.get(end) {
                Some(b'\r') => self.cr = true,
                Some(_) => {
                    self.lone = true;
                    self.line_began = false;
                }
                None => {}
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    pub fn finish(mut self) -> Survey {
        self.lone |= self.cr;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_finds_what_there_is() {
        let survey = |text: &[u8], size| {
            let mut survey = Survey::default();
            text.chunks(size).for_each(|slice| survey.push(slice));
            let it = survey.finish();
            (it.eight_bit, it.eight_bit_header, it.lone, it.nul)
        };
        type Found = (bool, bool, bool, bool);
        let cases: [(&[u8], Found); 9] = [
            (b"A: b\r\n\r\nbody\r\n", (false, false, false, false)),
            (b"A: b\r\n\r\nb\xc3\xbc\r\n", (true, false, false, false)),
            (b"A: \xc3\xbc\r\n\r\nbody", (true, true, false, false)),
            (b"\r\n\xc3\xbc", (true, false, false, false)),
            (b"A: b\r\n\r\na\nb", (false, false, true, false)),
            (b"A: b\r\n\r\na\rb", (false, false, true, false)),
            (b"A: b\r\n\r\na\r", (false, false, true, false)),
            (b"A: b\r\n\r\na\0", (false, false, false, true)),
            (b"A: b\n\n\xc3", (true, true, true, false)),
        ];
        for (text, wanted) in cases {
            for size in 1..=text.len() {
                assert_eq!(survey(text, size), wanted, "{}", text.escape_ascii());
            }
        }
    }
}
