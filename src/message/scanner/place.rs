//! Where the scanner is in the message.

/// A count of all that came, and where the line at hand began.
#[derive(Default)]
pub struct Place {
    /// Bytes.
    pub at: u32,
    /// Line feeds.
    pub lines: u32,
    pub has_nul: bool,
    /// The last two bytes.
    tail: [u8; 2],
    line: u32,
    line_lines: u32,
    /// Length of the line end before the line at hand.
    line_end: u32,
    /// Where the header or stretch of body at hand began: a delimiter takes the line end
    /// before it only from there.
    pub run: u32,
}

impl Place {
    /// Counts bytes that are passed. Past 4 GiB, which no limit on messages allows, it stays.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.at = u32::try_from(bytes.len())
            .ok()
            .and_then(|n| self.at.checked_add(n))
            .unwrap_or(u32::MAX);
        let lines = memchr::memchr_iter(b'\n', bytes).count();
        self.lines = self.lines.saturating_add(lines as u32);
        self.has_nul = self.has_nul || memchr::memchr(0, bytes).is_some();
        match bytes {
            [.., a, b] => self.tail = [*a, *b],
            [b] => self.tail = [self.tail[1], *b],
            [] => {}
        }
    }

    /// A line begins here.
    pub fn begin_line(&mut self) {
        self.line = self.at;
        self.line_lines = self.lines;
        self.line_end = match self.tail {
            [b'\r', b'\n'] => 2,
            [_, b'\n'] => 1,
            _ => 0,
        };
    }

    /// Where what a delimiter on this line ends has its end, and the line feeds up to there.
    pub fn before_line(&self) -> (u32, u32) {
        let cut = self.line_end.min(self.line.saturating_sub(self.run));
        let lines = self.line_lines - u32::from(cut > 0);
        (self.line - cut, lines)
    }
}
