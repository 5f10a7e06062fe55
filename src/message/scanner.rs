//! The incremental MIME scanner (RFC 2046). It holds one header, the start of one line and
//! the open parts, whatever the size of the message; bytes of bodies are only looked at.
//!
//! Where RFC 2046 leaves a choice it reads as Dovecot 2.3 does: a line that begins with
//! `--` and a boundary is that delimiter whatever follows; of several boundaries that fit,
//! the longest counts, the innermost first; a delimiter ends a header too.

use super::body_structure::{Shape, Writer};
use super::content::{Content, MAX_BOUNDARY};
use super::date::{self, Sent};
use super::envelope;
use super::structure::*;
use memchr::memmem::Finder;
use place::Place;
use tree::{Node, tree};

mod place;
mod tree;

/// Bytes of a line that decide whether it is a delimiter: `--`, boundary, `--`, CRLF.
const HOLD: usize = 2 + MAX_BOUNDARY + 2 + 2;

/// Takes a message in slices of any size and never holds more than one header.
pub struct Scanner {
    place: Place,
    /// What the bytes at hand are.
    state: State,
    /// Every part seen, in the order of the message; a child stands after its parent.
    parts: Vec<Node>,
    /// The open parts, by index, outermost first.
    open: Vec<usize>,
    boundaries: Vec<Boundary>,
    /// The first [`MAX_HEADER`] bytes of the header at hand.
    header: Vec<u8>,
    /// The start of the line at hand, while it may be a delimiter or an empty line.
    held: Vec<u8>,
    /// What is left of [`MAX_VALUES`].
    budget: usize,
    envelope: Vec<u8>,
    abridged: bool,
    sent: Option<Sent>,
    finder: Finder<'static>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a line that has to be looked at, of a header.
    HeaderLine,
    /// Somewhere in a header line.
    HeaderRest,
    /// Likewise of a body that a delimiter may end.
    BodyLine,
    BodyRest,
    /// In the rest of a delimiter's line; after it, a part begins or not.
    Delimiter {
        opens: bool,
    },
    /// No delimiter can come any more.
    ToEnd,
}

struct Boundary {
    text: Vec<u8>,
    /// How many parts are open when its multipart is the innermost.
    depth: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    pub fn new() -> Scanner {
        let mut scanner = Scanner {
            place: Place::default(),
            state: State::HeaderLine,
            parts: Vec::new(),
            open: Vec::new(),
            boundaries: Vec::new(),
            header: Vec::new(),
            held: Vec::new(),
            budget: MAX_VALUES,
            envelope: Vec::new(),
            abridged: false,
            sent: None,
            finder: Finder::new(b"\n--"),
        };
        scanner.open_part(false);
        scanner
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.state {
                State::HeaderLine | State::BodyLine => self.line_start(rest),
                State::HeaderRest => self.header_rest(rest),
                State::BodyRest => self.body_rest(rest),
                State::Delimiter { opens } => self.delimiter_rest(rest, opens),
                State::ToEnd => self.pass_all(rest),
            };
            rest = &rest[taken..];
        }
    }

    pub fn finish(mut self) -> Structure {
        self.end_of_message();
        let size = self.place.at;
        let mut writer = Writer::default();
        let root = tree(self.parts, &mut writer);
        Structure {
            envelope: self.envelope,
            body_structure: writer.out,
            extensions: writer.extensions,
            root,
            size,
            has_nul: self.place.has_nul,
            abridged: self.abridged,
            sent: self.sent.map(|sent| sent.unix),
            sent_day: self.sent.map(|sent| sent.day),
        }
    }

    fn in_header(&self) -> bool {
        matches!(self.state, State::HeaderLine | State::HeaderRest)
    }

    fn pass_all(&mut self, bytes: &[u8]) -> usize {
        self.place.pass(bytes);
        bytes.len()
    }

    fn begin_line(&mut self) {
        self.place.begin_line();
        self.state = match self.in_header() {
            true => State::HeaderLine,
            false => State::BodyLine,
        };
    }

    /// The line at hand is none to be looked at; what was held of it is part of a header.
    fn leave_line(&mut self) {
        if self.in_header() {
            self.keep_held();
            self.state = State::HeaderRest;
        } else {
            self.state = State::BodyRest;
        }
        self.held.clear();
    }

    fn keep_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.keep(&held);
        self.held = held;
    }

    /// Keeps bytes of the header at hand, up to the limit.
    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_HEADER.saturating_sub(self.header.len());
        self.header
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn header_rest(&mut self, bytes: &[u8]) -> usize {
        let end = memchr::memchr(b'\n', bytes).map(|end| end + 1);
        let line = &bytes[..end.unwrap_or(bytes.len())];
        self.keep(line);
        self.place.pass(line);
        if end.is_some() {
            self.begin_line();
        }
        line.len()
    }

    /// Goes to the next line that begins with `--`, or that may when more has come.
    fn body_rest(&mut self, bytes: &[u8]) -> usize {
        let passed = match self.finder.find(bytes) {
            Some(end) => end + 1,
            None if bytes.ends_with(b"\n-") => bytes.len() - 1,
            None => bytes.len(),
        };
        let passed = &bytes[..passed];
        self.place.pass(passed);
        if passed.ends_with(b"\n") {
            self.begin_line();
        }
        passed.len()
    }

    /// At a line's start, part of which may be held: an empty line ends a header, a
    /// delimiter ends whatever it ends, other lines are left.
    fn line_start(&mut self, bytes: &[u8]) -> usize {
        let may_go_on = match (self.held.as_slice(), bytes.first()) {
            (b"" | b"\r", Some(b'\n')) if self.in_header() => {
                self.keep_held();
                self.held.clear();
                self.keep(b"\n");
                self.place.pass(b"\n");
                self.end_header();
                return 1;
            }
            (b"", Some(b'\r')) => self.in_header(),
            (b"" | b"-", Some(b'-')) => self.has_boundary(),
            ([b'-', b'-', ..], _) => true,
            _ => false,
        };
        if !may_go_on {
            self.leave_line();
            return 0;
        }
        let room = match self.held.len() {
            0 | 1 => 1,
            length => HOLD.saturating_sub(length),
        };
        let window = &bytes[..bytes.len().min(room)];
        let end = memchr::memchr(b'\n', window).map_or(window.len(), |end| end + 1);
        self.held.extend_from_slice(&window[..end]);
        self.place.pass(&window[..end]);
        if self.held.len() >= HOLD || self.held.ends_with(b"\n") {
            self.decide();
        }
        end
    }

    /// Past [`MAX_PARTS`] delimiters are text.
    fn has_boundary(&self) -> bool {
        !self.boundaries.is_empty() && self.parts.len() < MAX_PARTS
    }

    /// Enough of the line is held to say what it is.
    fn decide(&mut self) {
        let whole = self.held.ends_with(b"\n");
        if let Some((index, closes)) = self.find_boundary() {
            self.end_parts(index, closes);
            self.held.clear();
            self.state = State::Delimiter { opens: !closes };
            if whole {
                self.end_delimiter(!closes);
            }
            return;
        }
        self.leave_line();
        if whole {
            self.begin_line();
        }
    }

    /// The boundary that the held line names, and whether it closes its multipart.
    fn find_boundary(&self) -> Option<(usize, bool)> {
        if !self.has_boundary() {
            return None;
        }
        let line = self.held.strip_prefix(b"--")?;
        let whole = line
            .strip_suffix(b"\n")
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let line = whole.unwrap_or(line);
        // `foo--` is the end of foo or the begin of `foo--`: an exact match decides at once.
        let dashes = whole.is_some() && line.len() > 2 && line.ends_with(b"--");
        let mut best: Option<(usize, usize)> = None;
        for (index, boundary) in self.boundaries.iter().enumerate().rev() {
            let length = boundary.text.len();
            if !line.starts_with(&boundary.text) || best.is_some_and(|(_, best)| best >= length) {
                continue;
            }
            best = Some((index, length));
            if length == line.len() || (dashes && length + 2 == line.len()) {
                break;
            }
        }
        let (index, length) = best?;
        Some((index, line[length..].starts_with(b"--")))
    }

    fn delimiter_rest(&mut self, bytes: &[u8], opens: bool) -> usize {
        let end = memchr::memchr(b'\n', bytes).map(|end| end + 1);
        let passed = &bytes[..end.unwrap_or(bytes.len())];
        self.place.pass(passed);
        if end.is_some() {
            self.end_delimiter(opens);
        }
        passed.len()
    }

    /// Behind a delimiter's line: the next part begins, or preamble or epilogue goes on.
    fn end_delimiter(&mut self, opens: bool) {
        if opens {
            self.open_part(true);
        } else {
            self.begin_body();
        }
    }

    /// A stretch of body begins here.
    fn begin_body(&mut self) {
        self.place.run = self.place.at;
        if self.has_boundary() {
            self.state = State::BodyLine;
            self.place.begin_line();
        } else {
            self.state = State::ToEnd;
        }
    }

    /// Opens a part whose header begins here.
    fn open_part(&mut self, mime: bool) {
        let at = self.place.at;
        self.open.push(self.parts.len());
        self.parts.push(Node::new(self.open.len(), mime, at));
        self.state = State::HeaderLine;
        self.place.run = at;
        self.place.begin_line();
    }

    /// Behind a header's empty line.
    fn end_header(&mut self) {
        let (at, lines) = (self.place.at, self.place.lines);
        let boundary = self.read_header(at, lines);
        match (self.innermost_shape(), boundary) {
            (Shape::Message, _) => self.open_part(false),
            (Shape::Multipart, Some(text)) => {
                let depth = self.open.len();
                self.boundaries.push(Boundary { text, depth });
                self.begin_body();
            }
            _ => self.begin_body(),
        }
    }

    fn innermost_shape(&self) -> Shape {
        let node = self.open.last().and_then(|&index| self.parts.get(index));
        node.map_or(Shape::Leaf, |node| node.shape)
    }

    /// Reads what was kept of the header at hand, which ends at `end`; gives the boundary of
    /// a multipart that is looked into.
    fn read_header(&mut self, end: u32, lines: u32) -> Option<Vec<u8>> {
        let header = std::mem::take(&mut self.header);
        let index = *self.open.last()?;
        let parent = self
            .open
            .len()
            .checked_sub(2)
            .and_then(|at| self.open.get(at));
        let (in_digest, in_message) = match parent.and_then(|&parent| self.parts.get(parent)) {
            Some(parent) => (parent.digest, parent.shape == Shape::Message),
            None => (false, false),
        };
        let node = self.parts.get_mut(index)?;
        let content = Content::parse(&header, node.mime);
        let boundary = content.boundary().map(<[u8]>::to_vec);
        let full = node.depth >= MAX_DEPTH;
        let shape = match Node::shape_of(&content, in_digest) {
            Shape::Multipart if full && boundary.is_some() => Shape::Truncated,
            Shape::Message if full || index + 1 >= MAX_PARTS => Shape::Truncated,
            shape => shape,
        };
        node.header.end = end;
        node.body = end..end;
        node.lines = lines;
        if index == 0 {
            self.envelope = envelope::envelope(&header);
            // Of a header cut at its limit the envelope may lack what stands behind.
            self.abridged = header.len() == MAX_HEADER || envelope::abridges(&header);
            self.sent = envelope::date(&header).and_then(date::parse);
        } else if in_message {
            node.envelope = envelope::envelope(&header);
        }
        node.describe(&content, shape, &mut self.budget);
        boundary.filter(|_| shape == Shape::Multipart)
    }

    /// A delimiter (or the end of the message) stops a header before its empty line.
    fn cut_header(&mut self, end: u32, lines: u32) {
        let _ = self.read_header(end, lines);
        if self.innermost_shape() == Shape::Message {
            self.open_part(false);
            if let Some(child) = self.parts.last_mut() {
                child.header.start = end;
            }
            let _ = self.read_header(end, lines);
        }
    }

    /// A delimiter of boundary `index` ends the parts inside its multipart.
    fn end_parts(&mut self, index: usize, closes: bool) {
        let (end, lines) = self.place.before_line();
        if self.in_header() {
            self.cut_header(end, lines);
        }
        let depth = self
            .boundaries
            .get(index)
            .map_or(0, |boundary| boundary.depth);
        self.close_parts(depth, end, lines);
        self.boundaries
            .truncate(if closes { index } else { index + 1 });
    }

    /// Ends all open parts but the `depth` outermost.
    fn close_parts(&mut self, depth: usize, end: u32, lines: u32) {
        for index in self.open.drain(depth.min(self.open.len())..) {
            if let Some(node) = self.parts.get_mut(index) {
                node.body.end = end;
                node.lines = lines.saturating_sub(node.lines);
            }
        }
    }

    fn end_of_message(&mut self) {
        if matches!(self.state, State::HeaderLine | State::BodyLine) && !self.held.is_empty() {
            // The last line has no end.
            self.decide();
        }
        let (end, lines) = (self.place.at, self.place.lines);
        if self.in_header() {
            self.cut_header(end, lines);
        }
        self.close_parts(0, end, lines);
    }
}

#[cfg(test)]
mod tests;
