//! Carries mail to the next server: finds it, connects or takes a connection that is there
//! already, and hands the messages over.

use super::connection::{Connection, Maker, NO_TLS, Refused};
use super::destination::{self, Destination, Hop, Safety};
use super::letter::{self, Letter};
use super::parcel::Parcel;
use super::pool::{Lease, Pool};
use super::route::{Route, TlsMode};
use super::sts::{self, PolicyStore};
use super::{Carrier, Recorder, Sent};
use crate::address::{Address, Domain};
use crate::mail::outgoing::{Consignment, Lane, Outcome, QueueItem, Reply};
use crate::net::connect::{Authorities, Own, PATIENCE};
use crate::net::dns::Resolver;
use crate::sasl::client::Login;
use crate::settings::{Live, Settings};
use crate::smtp::client::TIMEOUTS;
use crate::smtp::client::transaction::{To, Transaction, refusal};
use crate::store::Store;
use crate::task;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Domains of which it is remembered which servers they have.
const MAX_KNOWN: usize = 4096;
/// How long that is remembered after it was last seen.
const KNOWN: Duration = Duration::from_secs(600);

/// Takes mail to other servers; shared by all who send.
pub struct Transport {
    store: Store,
    maker: Maker,
    policies: PolicyStore,
    pool: Pool,
    /// The hop of each domain's own servers, as last seen.
    known: Mutex<HashMap<Domain, (Instant, Arc<str>)>>,
}

/// Where a message goes, and as whom.
struct Way {
    destination: Destination,
    login: Option<Login>,
}

/// What became of a connection.
enum End {
    /// It may carry more.
    Done(Box<Connection>),
    /// The server takes no more over this one.
    Spent,
    /// It takes nothing by BDAT, though it says so.
    Unchunked,
    Broken,
}

impl Transport {
    /// `own`: where we listen ourselves.
    pub fn new(store: Store, resolver: Resolver, live: Arc<Live>, own: Own) -> Transport {
        let authorities = Arc::new(Authorities::new(live.now().tls_authorities.clone()));
        Transport {
            policies: PolicyStore::new(store.clone(), authorities.clone()),
            store,
            maker: Maker {
                live,
                resolver,
                authorities,
                own,
                patience: PATIENCE,
                timeouts: TIMEOUTS,
            },
            pool: Pool::default(),
            known: Mutex::default(),
        }
    }

    /// The settings that hold now, in all that is kept of them too.
    fn settings(&self) -> Arc<Settings> {
        let settings = self.maker.live.now();
        self.maker.authorities.set(&settings.tls_authorities);
        settings
    }

    async fn attempt(&self, consignment: Consignment, recorder: &dyn Recorder) -> Sent {
        let all = |outcome: Outcome| {
            let places = consignment.recipients.iter();
            let all = places.map(|&place| (place, outcome.clone())).collect();
            Sent::Done(all, None)
        };
        let item = &consignment.item;
        let sender = item.envelope.sender.as_ref();
        let lane = &consignment.lane;
        let way = match &lane.domain {
            Some(domain) => {
                // Once its servers are known, they may have their share of mail already.
                let learned = || *lane == unknown(domain) && self.lane(sender, domain) != *lane;
                if learned() {
                    return Sent::OtherLane;
                }
                let way = self.way(sender, domain).await;
                if learned() {
                    return Sent::OtherLane;
                }
                way
            }
            None => match self.route(sender) {
                Ok(Some(route)) => Ok(by(route)),
                // The owner has taken it away: each domain has its own servers now.
                Ok(None) => return Sent::OtherLane,
                Err(outcome) => Err(outcome),
            },
        };
        let way = match way.and_then(|way| self.checked(way, item)) {
            Ok(way) => way,
            Err(outcome) => return all(outcome),
        };
        let mut letter = match Letter::open(&self.store, item).await {
            Ok(letter) => letter,
            Err(error) => {
                log::error!("queued message {} can't be read: {error}", item.name);
                return all(Outcome::Deferred(letter::unreadable()));
            }
        };
        let parcel = Parcel::new(&consignment, recorder);
        let (told, lease) = self.deliver(&way, parcel, &mut letter).await;
        Sent::Done(told, lease)
    }

    /// Server by server, in their order, until each recipient has an answer of his own.
    async fn deliver(
        &self,
        way: &Way,
        mut parcel: Parcel<'_>,
        letter: &mut Letter,
    ) -> (Vec<(usize, Outcome)>, Option<Lease>) {
        for (n, hop) in way.destination.hops.iter().enumerate() {
            if parcel.left.is_empty() || (n > 0 && self.is_over(&mut parcel)) {
                break;
            }
            if letter.is_called_off() {
                parcel.call_off();
                break;
            }
            // One place at a time, or two who wait for each other's would wait for ever.
            parcel.lease = None;
            let by = self.by(hop, way, &mut parcel, letter).await;
            parcel.go_on();
            if let Err(Refused::Loop) = by {
                parcel.found_loop();
                break;
            }
        }
        parcel.told()
    }

    /// Whether the attempt has taken so long that nothing more is begun.
    fn is_over(&self, parcel: &mut Parcel<'_>) -> bool {
        let over = parcel.begun.elapsed() > self.maker.timeouts.attempt;
        if over {
            parcel.cut_short(refusal("4.4.0", "no server took it in time"));
        }
        over
    }

    /// By one server: over a connection that is kept, and if that has died, over a new one; over
    /// as many as it limits each for. Nobody is asked for twice over connections that live.
    async fn by(
        &self,
        hop: &Hop,
        way: &Way,
        parcel: &mut Parcel<'_>,
        letter: &mut Letter,
    ) -> Result<(), Refused> {
        let server = format!("{}:{}", hop.name, hop.port);
        // What one domain's records let pass need not pass for another's.
        let key = format!("{server}/{:?}", hop.safety);
        let most = self.settings().max_sending_per_destination;
        let place = self.pool.place(&server, most).await;
        let who = way.login.as_ref().map_or("", |it| it.user.as_str());
        while let Some(mut kept) = self.pool.take(&key, who) {
            if kept.is_stale() {
                continue;
            }
            match self.carry(kept, parcel, letter).await {
                End::Done(connection) => {
                    parcel.lease = Some(self.pool.lease(key, who, connection, place));
                    return Ok(());
                }
                End::Spent => {}
                // A connection that dies of age says nothing of the server.
                End::Broken | End::Unchunked => parcel.go_on(),
            }
            if parcel.left.is_empty() || letter.is_called_off() {
                return Ok(());
            }
        }
        let mut chunking = true;
        loop {
            match self.maker.open(hop, way.login.as_ref()).await {
                Ok(mut made) => {
                    if !chunking {
                        made.without_chunking();
                    }
                    match self.carry(Box::new(made), parcel, letter).await {
                        End::Done(connection) => {
                            parcel.lease = Some(self.pool.lease(key, who, connection, place));
                        }
                        // Each has asked for one at least who was not asked for yet: it has an end.
                        End::Spent if !self.is_over(parcel) => continue,
                        End::Unchunked if chunking && !self.is_over(parcel) => {
                            chunking = false;
                            parcel.go_on();
                            continue;
                        }
                        End::Spent | End::Broken | End::Unchunked => {}
                    }
                }
                Err(Refused::Later(reply)) => {
                    let outcome = refused(&parcel.consignment.item, reply);
                    parcel.blame(outcome);
                }
                Err(refused) => return Err(refused),
            }
            return Ok(());
        }
    }

    /// The way as far as it is known without asking: a smarthost is one for all domains.
    fn lane(&self, sender: Option<&Address>, domain: &Domain) -> Lane {
        if let Ok(Some(route)) = self.route(sender) {
            return Lane {
                hop: format!("{}:{}", route.host, route.port).into(),
                domain: None,
            };
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(domain) {
            Some((seen, hop)) if seen.elapsed() < KNOWN => Lane {
                hop: hop.clone(),
                domain: Some(domain.clone()),
            },
            _ => unknown(domain),
        }
    }

    /// The route that the owner has set for the sender, or the domain's own servers.
    async fn way(&self, sender: Option<&Address>, domain: &Domain) -> Result<Way, Outcome> {
        if let Some(route) = self.route(sender)? {
            return Ok(by(route));
        }
        let settings = self.settings();
        if !settings.direct {
            return Err(nowhere("no route is set, and mail does not go directly"));
        }
        let (hostname, resolver) = (&settings.hostname, &self.maker.resolver);
        let found = destination::find(domain, hostname, resolver, &self.policies).await;
        let destination = found?;
        self.learn(domain, &destination);
        Ok(Way {
            destination,
            login: None,
        })
    }

    /// The route that the owner has set for the sender, if any.
    fn route(&self, sender: Option<&Address>) -> Result<Option<Route>, Outcome> {
        if self.settings().demo {
            return Err(nowhere("a demo sends nothing to other servers"));
        }
        let route = self.store.look(|snapshot| Route::find(snapshot, sender));
        route.map_err(|error| {
            log::error!("the routes can't be read: {error}");
            nowhere("the routes can't be read")
        })
    }

    /// Remembers which servers a domain has.
    fn learn(&self, domain: &Domain, destination: &Destination) {
        let hop: Arc<str> = format!("mx {}", destination.servers).into();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN && !known.contains_key(domain) {
            known.retain(|_, (seen, _)| seen.elapsed() < KNOWN);
            let oldest = known.iter().min_by_key(|(_, (seen, _))| *seen);
            if let Some(oldest) = oldest.map(|(domain, _)| domain.clone())
                && known.len() >= MAX_KNOWN
            {
                known.remove(&oldest);
            }
        }
        known.insert(domain.clone(), (Instant::now(), hop));
    }

    /// REQUIRETLS asks for a server that is surely the right one (RFC 8689, 4.2.1).
    fn checked(&self, mut way: Way, item: &QueueItem) -> Result<Way, Outcome> {
        if !needs_tls(item) {
            return Ok(way);
        }
        if !way.destination.certain {
            let text = "the message requires TLS, and nothing proves which server the domain's is";
            return Err(Outcome::Failed(refusal("5.7.30", text)));
        }
        for hop in &mut way.destination.hops {
            if matches!(
                hop.safety,
                Safety::Opportunistic | Safety::Encrypted | Safety::Plain
            ) {
                hop.safety = Safety::Verified { implicit: false };
            }
        }
        Ok(way)
    }

    /// All recipients, in as many transactions as the server wants.
    async fn carry(
        &self,
        mut connection: Box<Connection>,
        parcel: &mut Parcel<'_>,
        letter: &mut Letter,
    ) -> End {
        let item = &parcel.consignment.item;
        let mut left = std::mem::take(&mut parcel.left);
        while !left.is_empty() {
            if letter.is_called_off() {
                parcel.call_off();
                parcel.left.append(&mut left);
                break;
            }
            let places = connection.next_places(&item.recipients, &mut left);
            if places.is_empty() {
                parcel.left.append(&mut left);
                task::spawn(connection.quit()).detach();
                return End::Spent;
            }
            let transaction = self.transaction(item, &places, &connection, letter).await;
            let carried = connection.carry(transaction, letter).await;
            parcel.take(&places, &carried);
            parcel.record(!left.is_empty()).await;
            left.append(&mut parcel.left);
            if !carried.sound {
                // Nobody has asked for them yet.
                parcel.left.append(&mut left);
                return match carried.unchunked {
                    true => End::Unchunked,
                    false => End::Broken,
                };
            }
        }
        End::Done(connection)
    }

    async fn transaction(
        &self,
        item: &QueueItem,
        places: &[usize],
        connection: &Connection,
        letter: &mut Letter,
    ) -> Transaction {
        let size = letter.length(sts::now()).await;
        let server = connection.capabilities();
        let narrow = (letter.survey.eight_bit && !server.eight_bit)
            || ((letter.survey.lone || letter.survey.nul) && !server.binary);
        let recipients = places
            .iter()
            .filter_map(|&place| item.recipients.get(place));
        Transaction {
            envelope: item.envelope.clone(),
            recipients: recipients
                .map(|it| To {
                    address: it.address.clone(),
                    notify: it.notify,
                    original: it.orcpt(),
                })
                .collect(),
            size,
            survey: letter.survey,
            convertible: narrow && letter.is_convertible().await,
            now: sts::now(),
        }
    }

    /// Whether the server of a route, stored or not, takes us: connected, TLS made, logged in.
    pub async fn try_route(&self, route: Route) -> Tried {
        let way = by(route);
        let Some(hop) = way.destination.hops.first() else {
            return Tried::Unknown("it has no server".into());
        };
        match self.maker.open(hop, way.login.as_ref()).await {
            Ok(connection) => {
                connection.quit().await;
                let login = way.login.as_ref().map_or("", |_| ", login");
                Tried::Well(format!("{}:{}{login}", hop.name, hop.port))
            }
            // It could not be asked, or else it or its certificate said no.
            Err(Refused::Later(reply)) if reply.code == 0 && reply.enhanced.starts_with("4.4.") => {
                Tried::Unknown(told(&reply))
            }
            Err(Refused::Later(reply)) => Tried::Wrong(told(&reply)),
            Err(Refused::Loop) => Tried::Wrong(told(&destination::loops())),
        }
    }

    /// What would be done for an address, and how far that gets: rows of server and finding.
    pub async fn test(&self, address: &Address, sender: Option<&Address>) -> Vec<Vec<String>> {
        let row = |server: &str, text: String| vec![server.to_owned(), text];
        let way = match self.way(sender, address.domain()).await {
            Ok(way) => way,
            Err(Outcome::Failed(reply) | Outcome::Deferred(reply)) => {
                return vec![row("-", told(&reply))];
            }
            Err(Outcome::Delivered { .. }) => return Vec::new(),
        };
        let notes = way.destination.notes.iter();
        let mut rows: Vec<Vec<String>> = notes.map(|it| row("-", it.clone())).collect();
        for hop in &way.destination.hops {
            let text = match self.maker.open(hop, way.login.as_ref()).await {
                Ok(connection) => {
                    let tls = if connection.is_tls() {
                        "with TLS"
                    } else {
                        "without TLS"
                    };
                    let login = way.login.as_ref().map_or("", |_| ", logged in");
                    connection.quit().await;
                    format!("connected {tls}{login}")
                }
                Err(Refused::Later(reply)) => told(&reply),
                Err(Refused::Loop) => told(&destination::loops()),
            };
            rows.push(row(&format!("{}:{}", hop.name, hop.port), text));
        }
        rows
    }
}

/// What came of trying a route, with what its server said.
pub enum Tried {
    Well(String),
    Wrong(String),
    /// It could not be asked.
    Unknown(String),
}

impl Carrier for Arc<Transport> {
    fn lane(&self, sender: Option<&Address>, domain: &Domain) -> Lane {
        Transport::lane(self, sender, domain)
    }

    async fn send(&self, consignment: Consignment, recorder: &dyn Recorder) -> Sent {
        self.attempt(consignment, recorder).await
    }
}

/// The lane of a domain whose servers have not been asked for.
fn unknown(domain: &Domain) -> Lane {
    Lane {
        hop: domain.as_str().into(),
        domain: Some(domain.clone()),
    }
}

/// REQUIRETLS. Notices go without it where they must (RFC 8689, 4.2.1 and 5).
fn needs_tls(item: &QueueItem) -> bool {
    item.envelope.require_tls && item.envelope.sender.is_some()
}

/// By a server that there is no connection to. One with which no TLS can be made is none for what
/// requires it, now or later (RFC 8689, 4.2.1).
fn refused(item: &QueueItem, reply: Reply) -> Outcome {
    match needs_tls(item) && reply.enhanced == NO_TLS {
        true => Outcome::Failed(Reply {
            enhanced: "5.7.10".into(),
            ..reply
        }),
        false => Outcome::Deferred(reply),
    }
}

fn nowhere(text: &str) -> Outcome {
    Outcome::Deferred(refusal("4.4.4", text))
}

/// The one server of a route, and the login there.
fn by(route: Route) -> Way {
    Way {
        destination: smarthost(&route),
        login: route.login,
    }
}

/// The one server of a route.
fn smarthost(route: &Route) -> Destination {
    let safety = match route.tls {
        TlsMode::StartTls => Safety::Verified { implicit: false },
        TlsMode::Implicit => Safety::Verified { implicit: true },
        TlsMode::None => Safety::Plain,
    };
    Destination {
        notes: vec![format!(
            "by the route to {}: {}",
            route.host,
            destination::describe(&safety)
        )],
        hops: vec![Hop {
            name: route.host.clone(),
            port: route.port,
            address: None,
            safety,
        }],
        servers: route.host.clone(),
        certain: true,
    }
}

fn told(reply: &Reply) -> String {
    match reply.code {
        0 => reply.text.clone(),
        code => format!("{code} {} {}", reply.enhanced, reply.text),
    }
}

#[cfg(test)]
#[path = "smuggling_tests.rs"]
mod smuggling;
#[cfg(test)]
#[path = "transport_tests/mod.rs"]
mod tests;
