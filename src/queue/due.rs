//! Which recipients of a message are due, and on which lanes.

use super::Carrier;
use super::attempt::{Attempter, MAX_CONSIGNMENT};
use super::claims::Places;
use crate::address::{Address, Domain};
use crate::mail::outgoing::{Lane, QueueItem, Recipient, Status};
use crate::recipient;
use crate::store::Result;
use std::collections::{HashMap, HashSet};

impl<C: Carrier> Attempter<C> {
    /// The lanes on which something of the message is due and not on its way. A domain that
    /// has one among `known` is passed over, whichever it would have by now.
    pub fn lanes(&self, item: &QueueItem, known: &[Lane], now: i64) -> Vec<Lane> {
        let claimed = self.claims.of(item.id);
        let known: HashSet<&Domain> = known.iter().filter_map(|it| it.domain.as_ref()).collect();
        let mut lanes = Lanes::new(self, item);
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        for (place, recipient) in waiting(item, now) {
            if claimed.contains(&place) || known.contains(recipient.address.domain()) {
                continue;
            }
            if let Some(lane) = lanes.lane(&recipient.address)
                && seen.insert(lane.clone())
            {
                found.push(lane);
            }
        }
        found
    }

    /// The places of the recipients that are to be tried now on that lane. Those of a lane's
    /// domain may have another hop by now: that is for limits alone, and whoever has waited for
    /// this one does not begin at the end of another line.
    pub(super) fn places(
        &self,
        item: &QueueItem,
        lane: &Lane,
        claimed: &Places,
        now: i64,
    ) -> Vec<usize> {
        let mut lanes = Lanes::new(self, item);
        let of_lane = |it: &Recipient| match &lane.domain {
            Some(domain) => it.address.domain() == domain,
            None => true,
        };
        let due = waiting(item, now).filter(|(place, _)| !claimed.contains(place));
        due.filter(|(_, it)| of_lane(it))
            .filter(|(_, it)| {
                let found = lanes.lane(&it.address);
                found.is_some_and(|it| {
                    it == *lane || (lane.domain.is_some() && it.domain == lane.domain)
                })
            })
            .map(|(place, _)| place)
            .take(MAX_CONSIGNMENT)
            .collect()
    }
}

/// Each recipient whose time has come, and its place.
fn waiting(item: &QueueItem, now: i64) -> impl Iterator<Item = (usize, &Recipient)> {
    let all = item.recipients.iter().enumerate();
    all.filter(move |(_, it)| match it.status {
        Status::Waiting { next, .. } => next <= now && !item.held,
        _ => false,
    })
}

/// The lanes of a message's recipients; each domain is asked about once.
struct Lanes<'a, C> {
    attempter: &'a Attempter<C>,
    item: &'a QueueItem,
    local: HashMap<&'a Domain, bool>,
    elsewhere: HashMap<&'a Domain, Lane>,
}

impl<'a, C: Carrier> Lanes<'a, C> {
    fn new(attempter: &'a Attempter<C>, item: &'a QueueItem) -> Lanes<'a, C> {
        Lanes {
            attempter,
            item,
            local: HashMap::new(),
            elsewhere: HashMap::new(),
        }
    }

    fn lane(&mut self, address: &'a Address) -> Option<Lane> {
        match self.is_here(address) {
            Ok(true) => return Some(Lane::here()),
            Ok(false) => {}
            Err(error) => {
                log::warn!("queue {}: {address}: {error}", self.item.id.0);
                return None;
            }
        }
        let (carrier, sender) = (&self.attempter.carrier, self.item.envelope.sender.as_ref());
        let domain = address.domain();
        let lane = self.elsewhere.entry(domain);
        let lane = lane.or_insert_with(|| carrier.lane(sender, domain));
        Some(lane.clone())
    }

    fn is_here(&mut self, address: &'a Address) -> Result<bool> {
        let domain = address.domain();
        let local = match self.local.get(domain) {
            Some(local) => *local,
            None => {
                let store = &self.attempter.store;
                let local = store.look(|it| it.is_local_domain(domain))?;
                self.local.insert(domain, local);
                local
            }
        };
        // The server's own may be there without a domain of ours.
        let may_be = local || recipient::is_postmaster(address);
        Ok(may_be && self.attempter.leads_here(address)?)
    }
}
