//! Carries mail to the next server: finds it, connects or takes a connection that is there
//! already, and hands the messages over.

use super::Carrier;
use super::connection::{Connection, Maker, Refused};
use super::destination::{self, Destination, Hop, Safety};
use super::letter::{self, Letter};
use super::pool::Pool;
use super::route::{Route, TlsMode};
use super::sts::{self, PolicyStore};
use crate::address::{Address, Domain};
use crate::mail::outgoing::{Consignment, Outcome, QueueItem, Reply};
use crate::net::connect::Authorities;
use crate::net::dns::Resolver;
use crate::sasl::client::Login;
use crate::settings::Settings;
use crate::smtp::client::transaction::{MAX_RECIPIENTS, To, Transaction, refusal};
use crate::store::Store;
use std::sync::Arc;

/// Takes mail to other servers; shared by all who send.
pub struct Transport {
    store: Store,
    maker: Maker,
    policies: PolicyStore,
    pool: Pool,
    /// Whether mail may go to the domains' own servers.
    direct: bool,
    /// Nothing ever leaves.
    demo: bool,
}

/// Where a message goes, and as whom.
struct Way {
    destination: Destination,
    login: Option<Login>,
}

impl Transport {
    pub fn new(store: Store, resolver: Resolver, settings: &Settings) -> Transport {
        let authorities = Arc::new(Authorities::new(settings.tls_authorities.clone()));
        Transport {
            policies: PolicyStore::new(store.clone(), authorities.clone()),
            store,
            maker: Maker {
                hostname: settings.hostname.clone(),
                resolver,
                authorities,
                own: settings.listen.iter().map(|it| it.address).collect(),
            },
            pool: Pool::default(),
            direct: settings.direct,
            demo: settings.demo,
        }
    }

    async fn attempt(&self, consignment: Consignment) -> Vec<(usize, Outcome)> {
        let all = |outcome: Outcome| -> Vec<(usize, Outcome)> {
            let places = consignment.recipients.iter();
            places.map(|&place| (place, outcome.clone())).collect()
        };
        let item = &consignment.item;
        let way = self
            .way(item.envelope.sender.as_ref(), &consignment.domain)
            .await;
        let way = match way.and_then(|way| self.checked(way, item)) {
            Ok(way) => way,
            Err(outcome) => return all(outcome),
        };
        let mut letter = match Letter::open(&self.store, item.email).await {
            Ok(letter) => letter,
            Err(error) => {
                log::error!("queued message {} can't be read: {error}", item.name);
                return all(Outcome::Deferred(letter::unreadable()));
            }
        };
        let mut why = None;
        for hop in &way.destination.hops {
            let key = format!(
                "{}:{}/{}",
                hop.name,
                hop.port,
                destination::describe(&hop.safety)
            );
            let _place = self.pool.place(&key).await;
            let who = way.login.as_ref().map_or("", |it| it.user.as_str());
            match self.connection(&key, hop, way.login.as_ref()).await {
                Ok(connection) => {
                    let carried = self.carry(&key, who, connection, &consignment, &mut letter);
                    return carried.await;
                }
                Err(Refused::Later(reply)) => why = Some(Outcome::Deferred(reply)),
                Err(Refused::Loop) => why = why.or(Some(Outcome::Failed(destination::loops()))),
            }
        }
        all(why.unwrap_or_else(|| Outcome::Deferred(refusal("4.4.0", "there is no server to try"))))
    }

    /// The route that the owner has set for the sender, or the domain's own servers.
    async fn way(&self, sender: Option<&Address>, domain: &Domain) -> Result<Way, Outcome> {
        let nowhere = |text: &str| Outcome::Deferred(refusal("4.4.4", text));
        if self.demo {
            return Err(nowhere("a demo sends nothing to other servers"));
        }
        let route = self.store.look(|snapshot| Route::find(snapshot, sender));
        match route {
            Ok(Some(route)) => Ok(Way {
                destination: smarthost(&route),
                login: route.login,
            }),
            Ok(None) if self.direct => {
                let (hostname, resolver) = (&self.maker.hostname, &self.maker.resolver);
                let found = destination::find(domain, hostname, resolver, &self.policies).await;
                found.map(|destination| Way {
                    destination,
                    login: None,
                })
            }
            Ok(None) => Err(nowhere("no route is set, and mail does not go directly")),
            Err(error) => {
                log::error!("the routes can't be read: {error}");
                Err(nowhere("the routes can't be read"))
            }
        }
    }

    /// REQUIRETLS asks for a server that is surely the right one (RFC 8689, 4.2.1).
    fn checked(&self, mut way: Way, item: &QueueItem) -> Result<Way, Outcome> {
        if !item.envelope.require_tls {
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

    async fn connection(
        &self,
        key: &str,
        hop: &Hop,
        login: Option<&Login>,
    ) -> Result<Connection, Refused> {
        let who = login.map_or("", |it| it.user.as_str());
        while let Some(mut kept) = self.pool.take(key, who) {
            if !kept.is_stale() {
                return Ok(kept);
            }
        }
        self.maker.open(hop, login).await
    }

    /// All recipients, in as many transactions as the server wants.
    async fn carry(
        &self,
        key: &str,
        who: &str,
        mut connection: Connection,
        consignment: &Consignment,
        letter: &mut Letter,
    ) -> Vec<(usize, Outcome)> {
        let item = &consignment.item;
        let most = connection.capabilities().max_recipients;
        let most = most.unwrap_or(MAX_RECIPIENTS).clamp(1, MAX_RECIPIENTS);
        let mut outcomes = Vec::new();
        let mut sound = true;
        let mut last = refusal("4.4.2", "the connection was lost");
        for places in consignment.recipients.chunks(most) {
            if !sound {
                let left = places.iter();
                outcomes.extend(left.map(|&it| (it, Outcome::Deferred(last.clone()))));
                continue;
            }
            let transaction = self.transaction(item, places, &connection, letter).await;
            let (told, still_sound) = connection.carry(transaction, letter).await;
            sound = still_sound;
            if let Some(Outcome::Deferred(reply)) = told.last() {
                last = reply.clone();
            }
            outcomes.extend(places.iter().copied().zip(told));
        }
        if sound {
            self.pool.give_back(key, who, connection);
        }
        outcomes
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
                    original: it.original.clone(),
                })
                .collect(),
            size,
            survey: letter.survey,
            convertible: narrow && letter.is_convertible().await,
            now: sts::now(),
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

impl Carrier for Arc<Transport> {
    async fn send(&self, consignment: Consignment) -> Vec<(usize, Outcome)> {
        self.attempt(consignment).await
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
        certain: true,
    }
}

fn told(reply: &Reply) -> String {
    match reply.code {
        0 => reply.text.clone(),
        code => format!("{code} {} {}", reply.enhanced, reply.text),
    }
}
