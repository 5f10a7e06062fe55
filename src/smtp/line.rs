//! Command lines: how long one may be, and what is none.

use super::command;
use super::reply::Reply;
use super::session::{Next, Phase, Session};
use crate::sasl::dialogue;
use crate::wire::Line;

/// Longest command line, bytes without its end: 512 (RFC 5321, 4.5.3.1.4), and what each
/// extension adds for its parameters.
const MAX_LINE: usize = 4096;
/// A longer line is read away, that far.
const MAX_SKIPPED: usize = 1 << 20;
/// Verbs of other protocols: a browser that was led here (cross-protocol scripting).
const FOREIGN: [&[u8]; 4] = [b"GET ", b"POST ", b"PUT ", b"CONNECT "];

impl Session {
    pub(super) fn command_line(&mut self, out: &mut Vec<u8>) -> Next {
        // Lenient with a bare LF: a command can't be smuggled by a line's end.
        let limit = MAX_LINE + dialogue::MAX_LINE;
        let (length, end) = match self.input.line(limit, true) {
            Line::Partial => return Next::NeedInput,
            Line::TooLong => return self.line_too_long(out),
            Line::Complete { length, end } => (length, end),
        };
        let line = self.input.bytes().get(..length).unwrap_or_default();
        let verb_is = |verb: &[u8]| {
            let start = line.get(..verb.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(verb))
        };
        let (is_auth, is_bdat) = (verb_is(b"AUTH "), verb_is(b"BDAT"));
        let is_foreign = self.client.is_none() && FOREIGN.iter().any(|verb| verb_is(verb));
        if length > MAX_LINE && !is_auth {
            return self.line_too_long(out);
        }
        let parsed = command::parse(line);
        self.input.consume(end);
        if is_foreign {
            return self.close(Reply::new(421, "4.7.0", "This is a mail server"), out);
        }
        match parsed {
            Ok(command) => self.command(command, out),
            // Where the chunk would end is not known: nothing behind it can be trusted.
            Err(reply) if is_bdat => self.close(reply, out),
            Err(reply) => self.say(reply, out),
        }
    }

    /// The line is read away later; a complete one too, since only its end tells it apart.
    pub(super) fn line_too_long(&mut self, out: &mut Vec<u8>) -> Next {
        self.phase = Phase::SkipLine(0);
        self.say(Reply::new(500, "5.5.2", "The line is too long"), out)
    }

    pub(super) fn skip_line(&mut self, skipped: usize, out: &mut Vec<u8>) -> Next {
        let (dropped, ended) = self.input.skip_line();
        if ended {
            return Next::Again;
        }
        if skipped + dropped > MAX_SKIPPED {
            return self.close(Reply::new(421, "4.7.0", "The line does not end"), out);
        }
        self.phase = Phase::SkipLine(skipped + dropped);
        Next::NeedInput
    }
}
