//! A consignment on its way from server to server: who still waits for an answer of his own.

use super::Recorder;
use super::connection::Carried;
use super::destination;
use super::letter::called_off;
use super::pool::Lease;
use crate::mail::outgoing::{Consignment, Outcome, Reply};
use crate::smtp::client::transaction::refusal;
use std::time::Instant;

/// What is left of a consignment on its way from server to server.
pub struct Parcel<'a> {
    pub consignment: &'a Consignment,
    /// The places of recipients without an answer of their own whom this server may be asked for.
    pub left: Vec<usize>,
    /// Those whom it was asked for, and whom another may have.
    onward: Vec<usize>,
    told: Vec<(usize, Outcome)>,
    /// How many of these the recorder has seen.
    seen: usize,
    recorder: &'a dyn Recorder,
    /// What the servers came to: the last, and a failure only where all say so.
    why: Option<Outcome>,
    /// When the first server's turn began.
    pub begun: Instant,
    /// The connection that carried some of it, if it may carry more.
    pub lease: Option<Lease>,
}

impl<'a> Parcel<'a> {
    pub fn new(consignment: &'a Consignment, recorder: &'a dyn Recorder) -> Parcel<'a> {
        Parcel {
            consignment,
            left: consignment.recipients.clone(),
            onward: Vec::new(),
            told: Vec::new(),
            seen: 0,
            recorder,
            why: None,
            begun: Instant::now(),
            lease: None,
        }
    }

    /// What a server said to the recipients at these places.
    pub fn take(&mut self, places: &[usize], carried: &Carried) {
        for (n, (&place, outcome)) in places.iter().zip(&carried.outcomes).enumerate() {
            if carried.crowded.contains(&n) {
                self.left.push(place);
                continue;
            }
            let onward = carried.onward.contains(&n);
            if onward || (!carried.sound && matches!(outcome, Outcome::Deferred(_))) {
                self.blame(outcome.clone());
            }
            match onward {
                true => self.onward.push(place),
                false => self.told.push((place, outcome.clone())),
            }
        }
    }

    /// Has it recorded who has got it, if it is to go out to others.
    pub async fn record(&mut self, others: bool) {
        if !others && self.left.is_empty() && self.onward.is_empty() {
            return;
        }
        let new = self.told.iter().skip(self.seen);
        let got = new.filter(|(_, outcome)| matches!(outcome, Outcome::Delivered { .. }));
        let got: Vec<_> = got.cloned().collect();
        self.seen = self.told.len();
        if !got.is_empty() {
            self.recorder.record(got).await;
        }
    }

    /// Why a server has not taken it for those who are left.
    pub fn blame(&mut self, outcome: Outcome) {
        match (&self.why, &outcome) {
            // One that is only busy or away now may take it later, whatever the others say.
            (Some(Outcome::Deferred(_)), Outcome::Failed(_)) => {}
            // What a server said tells more than that another is not there.
            (Some(Outcome::Deferred(_)), Outcome::Deferred(reply)) if reply.enhanced == "4.4.1" => {
            }
            _ => self.why = Some(outcome),
        }
    }

    /// It ends here, before all servers were asked.
    pub fn cut_short(&mut self, reply: Reply) {
        if !matches!(self.why, Some(Outcome::Deferred(_))) {
            self.why = Some(Outcome::Deferred(reply));
        }
    }

    /// The owner has stopped it.
    pub fn call_off(&mut self) {
        self.why = Some(Outcome::Deferred(called_off()));
    }

    /// It is us: who comes behind would only bring it back (RFC 5321, 5.1).
    pub fn found_loop(&mut self) {
        let looping = || Outcome::Failed(destination::loops());
        self.why.get_or_insert_with(looping);
    }

    /// Whom the last connection was asked for in vain may be asked for again: over a further one,
    /// or at the next server.
    pub fn go_on(&mut self) {
        self.left.append(&mut self.onward);
        self.left.sort_unstable();
    }

    /// An outcome for each, and the connection to be kept until they are recorded.
    pub fn told(mut self) -> (Vec<(usize, Outcome)>, Option<Lease>) {
        self.go_on();
        let none = || Outcome::Deferred(refusal("4.4.0", "no server took it"));
        let why = self.why.unwrap_or_else(none);
        let left = self.left.into_iter();
        self.told.extend(left.map(|place| (place, why.clone())));
        (self.told, self.lease)
    }
}
