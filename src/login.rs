//! Who may log in: verification off the executor and at most a few at a time, a short
//! cache so that polling clients don't pay argon2 each time, back-off by source and account.

use crate::sasl::{Ask, Verdict};
use crate::store::Store;
use std::net::IpAddr;

pub struct Login {}

impl Login {
    pub fn new(_store: Store) -> Login {
        todo!()
    }
    /// Answers what a SASL exchange asks. Takes equal time for an unknown name and a wrong password.
    pub async fn answer(&self, _source: IpAddr, _ask: Ask) -> Verdict {
        todo!()
    }
}
