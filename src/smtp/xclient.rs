//! XCLIENT, as Postfix and Dovecot have it: a server before this one says for whom it passes
//! the connection on.

use super::reply::Reply;
use super::role::Role;
use super::session::{Next, Session, sequence};
use crate::mail::home::Forwarded;

impl Session {
    /// What a server before us has said.
    pub fn forwarded(&mut self) -> &mut Forwarded {
        &mut self.forwarded
    }

    /// What EHLO offers; nobody else's connections are passed on than those of who submits.
    pub(super) fn xclient_names(&self) -> Option<&'static str> {
        let stranger = self.account().is_none();
        (self.config.role == Role::Submission && stranger).then(|| self.forwarded.names())
    }

    /// The session begins anew, as that client's.
    pub(super) fn xclient(&mut self, arguments: &str, out: &mut Vec<u8>) -> Next {
        if self.xclient_names().is_none() || self.transaction.is_some() {
            return self.say(sequence("XCLIENT comes before the login"), out);
        }
        if let Err(text) = self.forwarded.xclient(arguments) {
            return self.say(Reply::new(501, "5.5.4", text), out);
        }
        self.client = None;
        if self.forwarded.client.is_some() {
            // A device is known by its own address.
            self.config.device = None;
            self.author = None;
        }
        self.greet(out)
    }
}
