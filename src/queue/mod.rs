//! The outgoing queue at work: what is due goes out, what can't go yet waits longer, and
//! who sent it is told what he asked to be told.
//!
//! The items are in the store ([`crate::store::Store::update_queue`]); here are only their
//! numbers. [`runner`] picks what is [`due`]; [`ready`] holds it, by next server; [`attempt`]
//! [claims] its recipients and hands one message for one such [`Lane`] to the [`Carrier`], or delivers it [`here`] where the
//! sender only had it held back, and records what came of it;
//! [`retry`] says when to try again; [`tell`] writes the notices.
//!
//! The way out is [`transport`]: a [`route`] of the owner's, or the domain's own servers
//! ([`destination`], [`policy`], [`sts`]); a [`connection`], or one from the [`pool`], takes the
//! [`letter`], for as many of the [`parcel`]'s recipients as that server will.

pub mod attempt;
pub mod claims;
pub mod connection;
pub mod destination;
mod due;
mod here;
pub mod letter;
pub mod parcel;
pub mod policy;
pub mod pool;
pub mod ready;
pub mod retry;
pub mod route;
pub mod runner;
pub mod sts;
pub mod tell;
pub mod transport;

use crate::address::{Address, Domain};
use crate::mail::outgoing::{Consignment, Lane, Outcome};
use crate::settings::Settings;
use crate::store::Store;
use attempt::Attempter;
use claims::Claims;
use ready::Limits;
use retry::Policy;
use runner::{Runner, Running};
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tell::Teller;

/// Takes mail to the next server.
pub trait Carrier: Send + Sync + 'static {
    /// The way of that sender's mail to a domain, as far as it is known without asking anyone.
    fn lane(&self, sender: Option<&Address>, domain: &Domain) -> Lane;

    fn send(&self, consignment: Consignment) -> impl Future<Output = Sent> + Send;
}

/// What an attempt came to.
#[derive(Debug)]
pub enum Sent {
    /// By the recipients' places. A place without an outcome is tried again.
    Done(Vec<(usize, Outcome)>),
    /// Nothing was tried: they have another lane, which [`Carrier::lane`] knows now.
    OtherLane,
}

/// Sends what waits in the store by `carrier`, until stopped.
pub fn start(store: Store, carrier: impl Carrier, settings: &Settings) -> Running {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let policy = Policy {
        first_pause: seconds(settings.retry_after),
        longest_pause: seconds(settings.retry_every),
        expiry: seconds(settings.give_up_after),
        delay_notice: seconds(settings.tell_delay_after),
    };
    let limits = Limits {
        all: settings.max_sending,
        per_destination: settings.max_sending_per_destination,
    };
    let teller = Teller {
        store: store.clone(),
        hostname: settings.hostname.clone(),
        expiry: policy.expiry,
    };
    let attempter = Attempter {
        store,
        carrier,
        policy,
        teller,
        claims: Claims::default(),
        now: Box::new(unix_now),
    };
    Runner::start(attempter, limits)
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
