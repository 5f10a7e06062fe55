//! What follows the login: the maildrop's commands, and messages on their way out.

use super::command::Command;
use super::maildrop::{Entry, Maildrop};
use super::session::{Ask, Asked, Listing, Next, Phase, Sending, Session, Step, Unopened};
use super::stuff::Stuffer;
use super::surrogate;
use super::text::Text;
use crate::mail::Account;

/// A listing is flushed in pieces of this, bytes.
pub(super) const MAX_OUTPUT: usize = 16 * 1024;

impl Session {
    pub(super) fn opened(
        &mut self,
        account: Account,
        opened: Result<Maildrop, Unopened>,
        out: &mut Vec<u8>,
    ) {
        match opened {
            Ok(maildrop) => {
                self.account = Some(account);
                let (n, bytes) = maildrop.totals();
                self.maildrop = Some(maildrop);
                self.totals(n, bytes, out);
            }
            Err(Unopened::InUse) => {
                self.err_with(Some("IN-USE"), Text::InUse, &[], out);
            }
            Err(Unopened::TooSoon) => {
                let delay = self.config.login_delay.to_string();
                self.err_with(Some("LOGIN-DELAY"), Text::TooSoon, &[&delay], out);
            }
            Err(Unopened::Trouble) => {
                self.err_with(Some("SYS/TEMP"), Text::MaildropLater, &[], out);
            }
            Err(Unopened::Damaged) => {
                self.err_with(Some("SYS/PERM"), Text::MaildropDamaged, &[], out);
            }
        }
    }

    pub(super) fn transaction(&mut self, command: Command, out: &mut Vec<u8>) -> Next {
        let Some(maildrop) = &mut self.maildrop else {
            return self.err(Text::LoginFirst, out);
        };
        let one = |number: u32| maildrop.get(number).ok_or(Text::NoMessage);
        match command {
            Command::Noop => self.ok_line("", out),
            Command::Rset => {
                maildrop.reset();
                self.ok(Text::Reset, out)
            }
            Command::Stat => {
                let (n, bytes) = maildrop.totals();
                self.ok_line(&format!("{n} {bytes}"), out)
            }
            Command::List(None) => {
                let (n, bytes) = maildrop.totals();
                self.phase = Phase::Listing(Listing::Sizes, 1);
                self.totals(n, bytes, out)
            }
            Command::Uidl(None) => {
                self.phase = Phase::Listing(Listing::UniqueIds, 1);
                self.ok(Text::UniqueIds, out)
            }
            Command::List(Some(number)) => match one(number) {
                Ok(entry) => self.ok_line(&format!("{number} {}", entry.size), out),
                Err(text) => self.err(text, out),
            },
            Command::Uidl(Some(number)) => match one(number) {
                Ok(entry) => {
                    let unique_id = maildrop.unique_id(entry);
                    self.ok_line(&format!("{number} {unique_id}"), out)
                }
                Err(text) => self.err(text, out),
            },
            Command::Dele(number) => match one(number) {
                Ok(entry) => {
                    maildrop.delete(entry);
                    self.ok(Text::Deleted, out)
                }
                Err(text) => self.err(text, out),
            },
            Command::Retr(number) => match one(number) {
                Ok(entry) => self.retrieve(entry, None),
                Err(text) => self.err(text, out),
            },
            Command::Top { number, lines } => match one(number) {
                Ok(entry) => self.retrieve(entry, Some(lines)),
                Err(text) => self.err(text, out),
            },
            _ => self.err(Text::NotAfterLogin, out),
        }
    }

    fn totals(&mut self, messages: u32, bytes: u64, out: &mut Vec<u8>) -> Next {
        let with = [messages.to_string(), bytes.to_string()];
        self.ok_with(Text::Totals, &with.each_ref().map(String::as_str), out)
    }

    pub(super) fn list_from(&mut self, listing: Listing, from: u32, out: &mut Vec<u8>) -> Next {
        let Some(maildrop) = &self.maildrop else {
            return Next::Again;
        };
        for entry in maildrop.from(from) {
            if out.len() >= MAX_OUTPUT {
                self.phase = Phase::Listing(listing, entry.number);
                return Next::Step(Step::Flush);
            }
            let line = match listing {
                Listing::Sizes => format!("{} {}\r\n", entry.number, entry.size),
                Listing::UniqueIds => {
                    format!("{} {}\r\n", entry.number, maildrop.unique_id(entry))
                }
            };
            out.extend_from_slice(line.as_bytes());
        }
        out.extend_from_slice(b".\r\n");
        Next::Again
    }

    fn retrieve(&mut self, entry: Entry, lines: Option<u32>) -> Next {
        let sending = Sending {
            entry,
            lines,
            stuffer: None,
        };
        self.ask(Asked::Piece(sending), Ask::Retrieve(entry.uid))
    }

    pub(super) fn piece(&mut self, mut sending: Sending, piece: Option<&[u8]>, out: &mut Vec<u8>) {
        let mut piece = piece;
        let mut head = Vec::new();
        let mut stuffer = match (sending.stuffer.take(), piece) {
            (Some(stuffer), _) => stuffer,
            (None, Some(first)) => {
                let mut size = u64::from(sending.entry.size);
                if let Some((surrogate, body)) = self.surrogate(first) {
                    size = size + surrogate.len() as u64 - body as u64;
                    head = surrogate;
                    piece = first.get(body..);
                }
                self.announce(sending.lines, size, out);
                Stuffer::new(sending.lines)
            }
            (None, None) => {
                self.err_with(Some("SYS/TEMP"), Text::Unreadable, &[], out);
                return;
            }
        };
        let more = head.is_empty() || stuffer.push(&head, out);
        match piece {
            // There is no way to say so within a message, but not to end it.
            None => self.phase = Phase::Closed,
            // An empty piece is the end, but not where the header alone came first.
            Some(piece)
                if more && (!piece.is_empty() || !head.is_empty()) && stuffer.push(piece, out) =>
            {
                sending.stuffer = Some(stuffer);
                self.phase = Phase::Sending(sending);
            }
            Some(_) => {
                stuffer.finish(out);
                if let (Some(maildrop), None) = (&mut self.maildrop, sending.lines) {
                    maildrop.retrieved(sending.entry);
                }
            }
        }
    }

    fn surrogate(&self, first: &[u8]) -> Option<(Vec<u8>, usize)> {
        match self.utf8 {
            true => None,
            false => surrogate::header(first),
        }
    }

    fn announce(&mut self, lines: Option<u32>, size: u64, out: &mut Vec<u8>) {
        match lines {
            None => self.ok_with(Text::Octets, &[&size.to_string()], out),
            Some(_) => self.ok(Text::Top, out),
        };
    }
}
