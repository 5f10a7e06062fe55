//! BURL (RFC 4468): a part of the message that the client need not send, since the server
//! has it already. It goes the way of a chunk, piece by piece; the driver finds it.

use super::incoming::Chunk;
use super::repair::Output;
use super::reply::Reply;
use super::role::Role;
use super::session::{Ask, Asked, Next, Phase, Session, Trouble, sequence};

/// URLs of one message.
const MAX_URLS: usize = 100;

/// How far a URL has come.
pub enum Url {
    /// To be opened.
    Named { url: String, last: bool },
    /// Its next piece is due.
    Open { size: u64, last: bool },
    /// A piece is there.
    Piece {
        bytes: Vec<u8>,
        size: u64,
        last: bool,
    },
}

impl Session {
    /// What follows `BURL` in the answer to EHLO.
    pub(super) fn burl(&self) -> Option<String> {
        let offered = self.config.role == Role::Submission;
        match (&self.author, self.account()) {
            (_, Some(_)) if offered => Some(format!("BURL imap imap://{}", self.config.imap)),
            // A device has no mailboxes.
            (None, None) if offered && self.may_log_in() => Some("BURL".into()),
            _ => None,
        }
    }

    pub(super) fn begin_url(&mut self, url: String, last: bool, out: &mut Vec<u8>) -> Next {
        if self.config.role != Role::Submission {
            return self.say(Reply::new(502, "5.5.1", "BURL is for submission"), out);
        }
        let begun = match &mut self.transaction {
            Some(transaction) if transaction.failed => {
                Err(sequence("The message has been refused; send RSET"))
            }
            Some(transaction) if transaction.urls == MAX_URLS => {
                let text = format!("A message is made of at most {MAX_URLS} URLs");
                Err(Reply::with(554, "5.5.0", text))
            }
            Some(transaction) if transaction.incoming.is_some() => {
                transaction.urls += 1;
                Ok(None)
            }
            _ => self.may_send().map(Some),
        };
        match begun {
            Ok(_) if self.account().is_none() => {
                let reply = Reply::new(554, "5.7.8", "BURL is for who has logged in");
                self.end_url(0, last, Some(reply))
            }
            Ok(None) => {
                self.phase = Phase::Url(Url::Named { url, last });
                Next::Again
            }
            Ok(Some(size)) => {
                self.phase = Phase::Asked(Asked::Url { url, last });
                Next::Ask(Ask::Begin { size })
            }
            Err(reply) => self.end_url(0, last, Some(reply)),
        }
    }

    /// From here on it is a chunk whose bytes are all there.
    fn end_url(&mut self, size: u64, last: bool, refusal: Option<Reply>) -> Next {
        self.phase = Phase::Chunk(Chunk {
            size,
            left: 0,
            last,
            refusal,
        });
        Next::Again
    }

    /// The store has begun a message for it, or has not.
    pub(super) fn url_begun(&mut self, url: String, last: bool, begun: Result<(), Reply>) {
        match begun {
            Ok(()) => self.phase = Phase::Url(Url::Named { url, last }),
            Err(reply) => {
                self.end_url(0, last, Some(reply));
            }
        }
    }

    /// What it names has that many bytes, or can't be had.
    pub(super) fn url_opened(&mut self, last: bool, opened: Result<u64, Reply>) {
        let room = self.incoming().map_or(0, |it| it.room());
        let refusal = match opened {
            Ok(size) if size <= room => {
                self.phase = Phase::Url(Url::Open { size, last });
                return;
            }
            Ok(_) => Reply::new(554, "5.3.4", "With this part the message is too large"),
            Err(reply) => reply,
        };
        self.end_url(0, last, Some(refusal));
    }

    /// The next bytes; none at the end.
    pub(super) fn url_piece(&mut self, size: u64, last: bool, piece: Result<Vec<u8>, Trouble>) {
        match piece {
            Ok(bytes) if bytes.is_empty() => {
                self.end_url(size, last, None);
            }
            Ok(bytes) => self.phase = Phase::Url(Url::Piece { bytes, size, last }),
            Err(trouble) => {
                let reply = trouble.reply(self.config.max_message_size);
                self.end_url(size, last, Some(reply));
            }
        }
    }

    pub(super) fn url(&mut self, url: Url) -> Next {
        match url {
            Url::Named { url, last } => {
                self.phase = Phase::Asked(Asked::Open { last });
                Next::Ask(Ask::Open(url))
            }
            Url::Open { size, last } => {
                self.phase = Phase::Asked(Asked::Piece { size, last });
                Next::Ask(Ask::Piece)
            }
            Url::Piece { bytes, size, last } => {
                let taken = self.incoming().map(|it| it.take(&bytes));
                self.phase = Phase::Url(Url::Open { size, last });
                self.header = match taken {
                    Some(Ok(Output::Header(header))) => {
                        self.begins_with(&header);
                        header
                    }
                    Some(Ok(Output::Body(_))) => bytes,
                    Some(Ok(Output::Nothing)) | None => return Next::Again,
                    // What was wrong is said at the end, which is now.
                    Some(Err(_)) => {
                        self.end_url(size, last, None);
                        return Next::Abandon;
                    }
                };
                Next::LendHeader
            }
        }
    }
}
