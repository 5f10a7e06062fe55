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
use crate::settings::{Live, Settings};
use crate::store::Store;
use attempt::Attempter;
use claims::Claims;
use pool::Lease;
use ready::Limits;
use retry::Policy;
use runner::{Runner, Running};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Takes mail to the next server.
pub trait Carrier: Send + Sync + 'static {
    /// The way of that sender's mail to a domain, as far as it is known without asking anyone.
    fn lane(&self, sender: Option<&Address>, domain: &Domain) -> Lane;

    /// Tells `recorder` who has got the message before it goes out once more to others of them.
    fn send(
        &self,
        consignment: Consignment,
        recorder: &dyn Recorder,
    ) -> impl Future<Output = Sent> + Send;
}

/// Keeps what came of some recipients while others of the message are still to be sent to: a
/// power cut must not send it to them again.
pub trait Recorder: Send + Sync {
    /// Ends when it is on disk: their places, all delivered.
    fn record(&self, outcomes: Vec<(usize, Outcome)>) -> Recording<'_>;
}

/// See [`Recorder::record`].
pub type Recording<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What an attempt came to.
pub enum Sent {
    /// By the recipients' places, recorded or not. A place without an outcome is tried again. The connection is
    /// kept until they are recorded.
    Done(Vec<(usize, Outcome)>, Option<Lease>),
    /// Nothing was tried: they have another lane, which [`Carrier::lane`] knows now.
    OtherLane,
}

/// What the owner has chosen for the queue.
#[derive(Clone, Debug)]
pub struct Rules {
    pub policy: Policy,
    pub limits: Limits,
    /// Who the server says that it is, in notices.
    pub hostname: String,
    /// Who looks after the server.
    pub administrators: Vec<Address>,
}

impl Rules {
    pub fn of(settings: &Settings) -> Rules {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Rules {
            policy: Policy {
                first_pause: seconds(settings.retry_after),
                longest_pause: seconds(settings.retry_every),
                expiry: seconds(settings.give_up_after),
                delay_notice: seconds(settings.tell_delay_after),
            },
            limits: Limits {
                all: settings.max_sending,
                per_destination: settings.max_sending_per_destination,
            },
            hostname: settings.hostname.clone(),
            administrators: settings.administrators.clone(),
        }
    }
}

/// Sends what waits in the store by `carrier`, until stopped; each attempt by the settings of its
/// time.
pub fn start(store: Store, carrier: impl Carrier, live: Arc<Live>) -> Running {
    let attempter = Attempter {
        store,
        carrier,
        rules: Box::new(move || Rules::of(&live.now())),
        claims: Claims::default(),
        now: Box::new(unix_now),
    };
    Runner::start(attempter)
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
