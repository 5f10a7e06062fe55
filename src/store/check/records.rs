//! Records: that each can be read, and that none is of an account that is gone.

use super::{Check, Checked, readable, repair::Fix};
use crate::mail::{AccountId, MailboxId};
use crate::store::error::Result;
use crate::store::schema::*;
use crate::store::snapshot::Snapshot;
use crate::store::table::Field;
use crate::store::{addressing, certificate, home, option, remember, url_key};

impl Check<'_> {
    pub(super) fn records(&mut self) -> Checked<()> {
        self.walk(
            RECORDS.name(),
            vec![],
            None,
            &mut |it, snapshot, key, value| {
                let (kind, key) = readable(<(&'static str, &'static str)>::read(key))?;
                it.record(snapshot, kind, key, value)
            },
        )
    }

    fn record(&mut self, snapshot: &Snapshot, kind: &str, key: &str, value: &[u8]) -> Result<()> {
        let rule = self.wanted.records.iter().find(|it| it.0 == kind);
        let sound = match rule {
            Some((_, sound)) => sound(key, value),
            None => readable_here(kind, key, value),
        };
        if !sound {
            self.damage(format!(
                "the record {kind} {key} can't be read: set it again"
            ));
            return Ok(());
        }
        let orphan = match owner(kind, key, value) {
            Some(Owner::Account(id)) => super::rows::is_gone(snapshot, id)?,
            Some(Owner::Mailbox(id)) => snapshot.mailbox_row(id)?.is_none(),
            None => false,
        };
        if orphan {
            let what = format!("a record {kind} of an account or mailbox that isn't there");
            let fix = Fix::StrayRecord(kind.to_owned(), key.to_owned());
            self.derived_if(self.names_certain, what, fix);
        }
        Ok(())
    }
}

pub(super) enum Owner {
    Account(AccountId),
    Mailbox(MailboxId),
}

/// With what the record goes.
pub(super) fn owner(kind: &str, key: &str, value: &[u8]) -> Option<Owner> {
    let account = |id: &str| id.parse().ok().map(|id| Owner::Account(AccountId(id)));
    match kind {
        addressing::GRANT | option::KIND => account(key),
        remember::KIND => account(key.strip_prefix(remember::OF_ACCOUNT)?),
        certificate::KIND => certificate::owner(value).map(Owner::Account),
        url_key::KIND => key.parse().ok().map(|id| Owner::Mailbox(MailboxId(id))),
        _ => None,
    }
}

/// Of the store's own kinds. What others keep is theirs to know.
fn readable_here(kind: &str, key: &str, value: &[u8]) -> bool {
    match kind {
        addressing::GROUP | addressing::CATCH_ALL | addressing::GRANT | addressing::DEVICE => {
            addressing::is_readable(kind, key, value)
        }
        option::KIND => std::str::from_utf8(value).is_ok(),
        certificate::KIND => certificate::owner(value).is_some(),
        home::HOME_SERVER => home::read(key.to_owned(), value).is_ok(),
        url_key::KIND => value.len() == 32,
        _ => true,
    }
}
