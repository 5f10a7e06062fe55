//! A message as RETR sends it, back to what it was (RFC 1939, 3): the dot that a line
//! beginning with one was given goes, a dot alone ends it. A line begins after CRLF only,
//! so a message with bare LFs in it comes out whole.

use memchr::memmem;

#[derive(Debug)]
pub struct Unstuffer {
    /// Of what came so far: its last byte was CR; a line begins here.
    cr: bool,
    line_start: bool,
    /// The dot that stood in front of this line is gone; another is text.
    dot_gone: bool,
}

impl Default for Unstuffer {
    fn default() -> Unstuffer {
        Unstuffer {
            cr: false,
            line_start: true,
            dot_gone: false,
        }
    }
}

/// What the front of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    NeedInput,
    /// So many bytes of the message.
    Data(usize),
    /// One byte that is none of it.
    Dot,
    /// Three bytes that end it.
    End,
}

impl Unstuffer {
    /// The next call must be given the input without what this one told of.
    pub fn next(&mut self, input: &[u8]) -> Piece {
        if self.line_start && !self.dot_gone {
            match input {
                [] | [b'.'] | [b'.', b'\r'] => return Piece::NeedInput,
                [b'.', b'\r', b'\n', ..] => return Piece::End,
                [b'.', ..] => {
                    self.dot_gone = true;
                    return Piece::Dot;
                }
                _ => {}
            }
        }
        self.dot_gone = false;
        let length = match input {
            [] => return Piece::NeedInput,
            // The other half of a CRLF: what follows may be a dot.
            [b'\n', ..] if self.cr => 1,
            _ => memmem::find(input, b"\r\n.").map_or(input.len(), |at| at + 2),
        };
        let piece = input.get(..length).unwrap_or_default();
        self.line_start = match piece {
            [b'\n'] => self.cr,
            _ => piece.ends_with(b"\r\n"),
        };
        self.cr = piece.ends_with(b"\r");
        Piece::Data(length)
    }
}
