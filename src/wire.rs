//! The input buffer of every protocol: bytes come in as they arrive, lines and counted
//! runs go out. Pure.

/// What a line is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A whole line: `input.line_bytes()` is it without its end; `consume` this many bytes.
    Complete { length: usize, end: usize },
    /// No end yet.
    Partial,
    /// Longer than the limit.
    TooLong,
}

/// Bytes received and not yet used. Gives its memory back when it runs empty.
#[derive(Default)]
pub struct Input {
    bytes: Vec<u8>,
    start: usize,
    /// How far the search for a line end has come: no byte is looked at twice.
    searched: usize,
}

impl Input {
    pub fn new() -> Input {
        Input::default()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.bytes.len() {
            self.clear();
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Drops everything received: what a client pipelined behind STARTTLS must not be
    /// read as if it came under TLS (RFC 3207, 4.2; CVE-2011-0411).
    pub fn clear(&mut self) {
        *self = Input::default();
    }

    /// Finds the next line end: CRLF, or a bare LF where `bare_lf` allows it.
    pub fn line(&mut self, limit: usize, bare_lf: bool) -> Line {
        let _ = (limit, bare_lf);
        todo!()
    }

    /// Takes `n` bytes off the front.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.bytes.len());
        self.searched = 0;
    }
}
