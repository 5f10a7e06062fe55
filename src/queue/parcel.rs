//! A consignment on its way from server to server: who still waits for an answer of his own.

use super::connection::Carried;
use super::pool::Lease;
use crate::mail::outgoing::{Consignment, Outcome};
use crate::smtp::client::transaction::refusal;

/// What is left of a consignment on its way from server to server.
pub struct Parcel<'a> {
    pub consignment: &'a Consignment,
    /// The places of recipients without an answer of their own.
    pub left: Vec<usize>,
    told: Vec<(usize, Outcome)>,
    /// What the last server came to.
    pub why: Option<Outcome>,
    /// The connection that carried some of it, if it may carry more.
    pub lease: Option<Lease>,
}

impl<'a> Parcel<'a> {
    pub fn new(consignment: &'a Consignment) -> Parcel<'a> {
        Parcel {
            consignment,
            left: consignment.recipients.clone(),
            told: Vec::new(),
            why: None,
            lease: None,
        }
    }

    /// What a server said to the recipients at these places.
    pub fn take(&mut self, places: &[usize], carried: &Carried) {
        for (n, (&place, outcome)) in places.iter().zip(&carried.outcomes).enumerate() {
            let onward = carried.onward.contains(&n);
            if onward || (!carried.sound && matches!(outcome, Outcome::Deferred(_))) {
                self.why = Some(outcome.clone());
            }
            match onward {
                true => self.left.push(place),
                false => self.told.push((place, outcome.clone())),
            }
        }
    }

    /// An outcome for each, and the connection to be kept until they are recorded.
    pub fn told(mut self) -> (Vec<(usize, Outcome)>, Option<Lease>) {
        let none = || Outcome::Deferred(refusal("4.4.0", "no server took it"));
        let why = self.why.unwrap_or_else(none);
        let left = self.left.into_iter();
        self.told.extend(left.map(|place| (place, why.clone())));
        (self.told, self.lease)
    }
}
