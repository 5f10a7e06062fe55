//! Quoted-printable, the way out (RFC 2045, 6.7).

/// Longest line, its end not counted.
pub const MAX_LINE: usize = 76;

/// The encoder of RFC 2045, 6.7, for bytes that come in slices.
#[derive(Debug, Default)]
pub struct QuotedPrintable {
    column: usize,
    /// A space or tab that may be the line's last, or a CR that may be half a line end.
    held: Option<u8>,
    /// A space or tab before that CR.
    blank: Option<u8>,
}

impl QuotedPrintable {
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            match (self.held.take(), byte) {
                (Some(b'\r'), b'\n') => {
                    if let Some(blank) = self.blank.take() {
                        self.hex(blank, out);
                    }
                    out.extend_from_slice(b"\r\n");
                    self.column = 0;
                    continue;
                }
                (Some(b'\r'), _) => {
                    if let Some(blank) = self.blank.take() {
                        self.put(&[blank], out);
                    }
                    self.hex(b'\r', out);
                }
                (Some(blank), b'\r') => self.blank = Some(blank),
                (Some(blank), _) => self.put(&[blank], out),
                (None, _) => {}
            }
            match byte {
                b' ' | b'\t' | b'\r' => self.held = Some(byte),
                b'!'..=b'~' if byte != b'=' => self.put(&[byte], out),
                _ => self.hex(byte, out),
            }
        }
    }

    pub fn finish(mut self, out: &mut Vec<u8>) {
        let rest = [self.blank.take(), self.held.take()];
        rest.into_iter().flatten().for_each(|it| self.hex(it, out));
    }

    fn hex(&mut self, byte: u8, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let digit = |n: u8| DIGITS.get(usize::from(n & 15)).copied().unwrap_or(b'0');
        self.put(&[b'=', digit(byte >> 4), digit(byte)], out);
    }

    /// Breaks the line softly where there is no more room but for the `=`.
    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.column + bytes.len() > MAX_LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        out.extend_from_slice(bytes);
        self.column += bytes.len();
    }
}
