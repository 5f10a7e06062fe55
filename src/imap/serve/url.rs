//! URLAUTH (RFC 4467), and what CATENATE says of a URL that can't be used.

use super::append::seconds_now;
use super::refusal::refusal;
use super::{Driver, FLUSH};
use crate::imap::response::text::{astring, literal_head};
use crate::imap::response::{self, Code};
use crate::imap::session::Outcome;
use crate::imap_url::Refusal;
use crate::imap_url::access::{self, Asker, INTERNAL};
use crate::mail::MailboxName;
use crate::store::{Error, Result};
use std::io;

impl Driver {
    pub(super) fn asker(&self) -> Result<Asker> {
        let selected = match self.session.view().map(|view| view.mailbox) {
            Some(id) => self.context.store.look(|it| it.mailbox_by_id(id))?,
            None => None,
        };
        Ok(Asker {
            account: self.account(),
            submits: false,
            hostname: self.context.settings().hostname.clone(),
            selected: selected.map(|it| it.name),
            now: seconds_now(),
        })
    }

    pub(super) async fn generate_urls(&mut self, urls: Vec<(String, String)>) -> Outcome {
        let store = self.store();
        let asker = match self.asker() {
            Ok(asker) => asker,
            Err(error) => return refusal(&error),
        };
        let mut said = b"* GENURLAUTH".to_vec();
        for (rump, mechanism) in urls {
            if mechanism != INTERNAL {
                return wrong_mechanism();
            }
            match access::authorize(&store, &asker, &rump).await {
                Ok(url) => {
                    said.push(b' ');
                    response::text::string(&mut said, url.as_bytes());
                }
                Err(Refusal::Store(error)) => return refusal(&error),
                // RFC 4467, 7: BAD for each of these.
                Err(why) => return Outcome::bad(format!("{}.", sentence(&why))),
            }
        }
        self.out.append(&mut said);
        response::end(&mut self.out);
        Outcome::ok("Authorized.")
    }

    /// The error ends the connection: a literal that was begun can't be ended.
    pub(super) async fn fetch_urls(&mut self, urls: Vec<String>) -> io::Result<Outcome> {
        let store = self.store();
        let asker = match self.asker() {
            Ok(asker) => asker,
            Err(error) => return Ok(refusal(&error)),
        };
        let mut trouble = None;
        self.out.extend_from_slice(b"* URLFETCH");
        for url in urls {
            self.out.push(b' ');
            astring(&mut self.out, url.as_bytes());
            self.out.push(b' ');
            // What needs no token is no URL for others (RFC 4467, 7: NIL).
            let opened = match url.to_ascii_uppercase().contains(";URLAUTH=") {
                true => access::open(&store, &asker, &url).await,
                false => Err(Refusal::Forbidden),
            };
            let mut content = match opened {
                Ok(content) if content.size() > 0 => content,
                Ok(_) => {
                    self.out.extend_from_slice(b"\"\"");
                    continue;
                }
                Err(why) => {
                    self.out.extend_from_slice(b"NIL");
                    if let Refusal::Store(error) = why {
                        trouble = Some(error);
                    }
                    continue;
                }
            };
            literal_head(&mut self.out, content.size());
            loop {
                let mut piece = content.next(&store).await.map_err(io::Error::other)?;
                if piece.is_empty() {
                    break;
                }
                super::body::without_nul(&mut piece);
                self.out.append(&mut piece);
                if self.out.len() >= FLUSH {
                    self.flush().await?;
                }
            }
        }
        response::end(&mut self.out);
        Ok(match trouble {
            Some(error) => refusal(&error),
            None => Outcome::ok("Fetched."),
        })
    }

    pub(super) async fn reset_key(
        &mut self,
        mailbox: Option<MailboxName>,
        mechanisms: &[String],
    ) -> Outcome {
        if mechanisms.iter().any(|it| it != INTERNAL) {
            return wrong_mechanism();
        }
        let reset = access::reset(&self.context.store, self.account(), mailbox.as_ref());
        match reset.await {
            Ok(()) if mailbox.is_none() => Outcome::ok("All keys are removed."),
            Ok(()) => Outcome::ok("The key is a new one.").with(Code::UrlMech),
            Err(Refusal::Store(error)) => refusal(&error),
            Err(_) => refusal(&Error::NoMailbox),
        }
    }
}

fn wrong_mechanism() -> Outcome {
    Outcome::no(Code::UrlMech, "There is one mechanism: INTERNAL.")
}

/// Why a CATENATE can't use that URL.
pub(super) fn bad_url(url: &str, why: Refusal) -> Outcome {
    match why {
        Refusal::Store(error) => refusal(&error),
        why => Outcome::no(Code::BadUrl(url), format!("{}.", sentence(&why))),
    }
}

fn sentence(why: &Refusal) -> &'static str {
    match why {
        Refusal::Syntax(text) => text,
        Refusal::Foreign => "The URL is not about your mailboxes on this server",
        Refusal::Forbidden => "The URL's authorization does not hold",
        Refusal::Missing | Refusal::Store(_) => "There is no such mailbox, message or part",
    }
}
