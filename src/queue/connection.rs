//! A connection to the next server: [`Session`] over a stream, from the greeting to QUIT.

use super::destination::{Hop, Safety};
use super::letter::{Letter, Unsent, called_off};
use crate::address::Domain;
use crate::mail::outgoing::{Outcome, Recipient, Reply};
use crate::net::connect::{self, Authorities, Own, Patience};
use crate::net::dns::Resolver;
use crate::net::stream::Stream;
use crate::net::trust::Trust;
use crate::sasl::client::Login;
use crate::secret;
use crate::settings::Live;
use crate::smtp::client::capabilities::Capabilities;
use crate::smtp::client::session::{Config, Session, Step, TlsUse, is_crowded};
use crate::smtp::client::transaction::{Form, MAX_RECIPIENTS, Transaction, refusal};
use crate::smtp::client::{Timeouts, Wait};
use crate::task;
use crate::wire::Input;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use rustls::ClientConfig;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The status of a server with which no TLS can be made (RFC 3463, 3.8), as the client has it too.
pub const NO_TLS: &str = "4.7.5";

/// What every connection is made with.
pub struct Maker {
    /// Whose name EHLO says.
    pub live: Arc<Live>,
    pub resolver: Resolver,
    pub authorities: Arc<Authorities>,
    /// Where we listen ourselves: never connected to.
    pub own: Own,
    pub patience: Patience,
    pub timeouts: Timeouts,
}

/// Logged in, and ready for a message.
pub struct Connection {
    stream: Stream,
    session: Session,
    server: String,
    out: Vec<u8>,
    timeouts: Timeouts,
    /// When what is under way must be done, however much the server still has to say.
    deadline: Instant,
    /// Messages that it has carried.
    pub carried: usize,
    /// Those of their recipients.
    domains: HashSet<Domain>,
    /// Recipients of one transaction that it may take, as far as is known.
    room: usize,
}

/// Why there is no connection: what the recipients are told.
pub enum Refused {
    /// Another server of the domain, or a later attempt, may do.
    Later(Reply),
    /// All the addresses are our own.
    Loop,
}

/// What became of one transaction.
pub struct Carried {
    /// Each recipient's, in their order.
    pub outcomes: Vec<Outcome>,
    /// Those among them that another server may have at once.
    pub onward: Vec<usize>,
    /// Those that were too many for this transaction: the next has room for some.
    pub crowded: Vec<usize>,
    /// Whether the connection may carry another.
    pub sound: bool,
    /// Whether it failed for BDAT alone ([`Connection::without_chunking`]).
    pub unchunked: bool,
}

enum Broken {
    /// Nobody answered, or only to refuse; or nobody greeted.
    Unreached(io::Error),
    /// TLS could not be made.
    Tls(io::Error),
    Io(io::Error),
    Closed(Reply),
}

impl Maker {
    /// Connects, with TLS and login as they must be.
    pub async fn open(&self, hop: &Hop, login: Option<&Login>) -> Result<Connection, Refused> {
        let addresses = self.addresses(hop).await?;
        let with_tls = self.try_open(hop, &addresses, login, true).await;
        let result = match with_tls {
            // What it offers it can't do: then without (RFC 7435, 3).
            Err(Broken::Tls(error)) if hop.safety == Safety::Opportunistic => {
                log::info!(
                    "{}: TLS failed, going on without: {}",
                    hop.name,
                    connect::plain(&error)
                );
                self.try_open(hop, &addresses, login, false).await
            }
            result => result,
        };
        result.map_err(|broken| Refused::Later(broken.reply(&hop.name)))
    }

    async fn try_open(
        &self,
        hop: &Hop,
        addresses: &[IpAddr],
        login: Option<&Login>,
        tls: bool,
    ) -> Result<Connection, Broken> {
        let begun = Instant::now();
        let mut stream = connect::connect_within(addresses, hop.port, self.patience)
            .await
            .map_err(Broken::Unreached)?;
        let implicit = hop.safety == Safety::Verified { implicit: true };
        if implicit {
            let config = self.tls(&hop.safety).await.map_err(Broken::Tls)?;
            let made = connect::start_tls(&mut stream, &hop.name, config).await;
            made.map_err(Broken::Tls)?;
        }
        let nonce = secret::random::<18>().map_err(|error| Broken::Io(io::Error::other(error)))?;
        let config = Config {
            name: self.live.now().hostname.clone(),
            server: hop.name.clone(),
            tls: match &hop.safety {
                Safety::Plain => TlsUse::Never,
                Safety::Opportunistic if tls => TlsUse::IfOffered,
                Safety::Opportunistic => TlsUse::Never,
                _ => TlsUse::Required,
            },
            login: login.cloned(),
            nonce: BASE64.encode(nonce),
        };
        let mut connection = Connection {
            stream,
            session: Session::new(config, implicit),
            server: hop.name.clone(),
            out: Vec::new(),
            timeouts: self.timeouts,
            deadline: begun + self.timeouts.opening,
            carried: 0,
            domains: HashSet::new(),
            room: MAX_RECIPIENTS,
        };
        loop {
            match connection
                .step()
                .await
                .map_err(|it| connection.before_greeting(it))?
            {
                Step::StartTls => {
                    let config = self.tls(&hop.safety).await.map_err(Broken::Tls)?;
                    let made = connect::start_tls(&mut connection.stream, &hop.name, config).await;
                    made.map_err(Broken::Tls)?;
                    connection.session.tls_started(&mut connection.out);
                }
                Step::Prove => connection.prove().await,
                Step::Ready => return Ok(connection),
                Step::Closed(reply) => return Err(Broken::Closed(reply)),
                _ => return Err(Broken::Io(io::Error::other("the session went astray"))),
            }
        }
    }

    async fn tls(&self, safety: &Safety) -> io::Result<Arc<ClientConfig>> {
        match safety {
            Safety::Verified { .. } => self.authorities.verified().await,
            Safety::Dane { records, names } => self.authorities.config(Trust::Dane {
                records: records.clone(),
                names: names.clone(),
            }),
            Safety::Plain | Safety::Opportunistic | Safety::Encrypted => {
                self.authorities.config(Trust::Any)
            }
        }
    }

    /// Where the server is, but for where we are ourselves.
    async fn addresses(&self, hop: &Hop) -> Result<Vec<IpAddr>, Refused> {
        let literal = hop.address.or_else(|| hop.name.parse().ok());
        let found = match (literal, hop.name.as_str()) {
            (Some(address), _) => vec![address],
            // No name server needs to know it (RFC 6761, 6.3).
            (None, "localhost") => vec![IpAddr::from([127, 0, 0, 1])],
            (None, name) => match self.resolver.addresses(name).await {
                Ok(answer) => answer.records,
                Err(error) => {
                    let mut reply = refusal("4.4.3", &error.to_string());
                    reply.server = Some(name.to_owned());
                    return Err(Refused::Later(reply));
                }
            },
        };
        let others: Vec<IpAddr> = found
            .into_iter()
            .filter(|it| !self.own.has(*it, hop.port))
            .collect();
        match others.is_empty() {
            true => Err(Refused::Loop),
            false if hop.safety == Safety::Plain && !others.iter().all(IpAddr::is_loopback) => {
                let text = "without TLS nothing is sent but on this machine";
                Err(Refused::Later(refusal("4.7.5", text)))
            }
            false => Ok(others),
        }
    }
}

impl Connection {
    pub fn capabilities(&self) -> &Capabilities {
        self.session.capabilities()
    }

    /// Whether the server has said or closed anything since: then it is of no more use.
    pub fn is_stale(&mut self) -> bool {
        self.stream.has_news(&mut Input::new())
    }

    pub fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    /// Who has not even greeted was not reached: it is busy or hangs, for whatever message.
    fn before_greeting(&self, broken: Broken) -> Broken {
        match broken {
            Broken::Io(error) if self.session.heard() == 0 => Broken::Unreached(error),
            broken => broken,
        }
    }

    /// Whether the server takes no more messages over it (RFC 9422, 4.1).
    pub fn is_spent(&self) -> bool {
        let most = self.capabilities().max_mails;
        most.is_some_and(|most| self.carried >= most)
    }

    /// Takes out of `left` the places of those who may have the next transaction, as the server
    /// limits it (RFC 9422, 4).
    pub fn next_places(&mut self, recipients: &[Recipient], left: &mut Vec<usize>) -> Vec<usize> {
        if self.is_spent() {
            return Vec::new();
        }
        let server = self.session.capabilities();
        let most = server.max_recipients.unwrap_or(MAX_RECIPIENTS);
        let (most, most_domains) = (most.min(self.room), server.max_domains);
        let domains = &mut self.domains;
        let mut taken = 0;
        let fits = |place: &mut usize| {
            let domain = recipients.get(*place).map(|it| it.address.domain());
            let known = domain.is_none_or(|it| domains.contains(it));
            let room = known || most_domains.is_none_or(|most| domains.len() < most);
            if taken >= most || !room {
                return false;
            }
            taken += 1;
            // Only where they are counted.
            if let (false, Some(domain), Some(_)) = (known, domain, most_domains) {
                domains.insert(domain.clone());
            }
            true
        };
        left.extract_if(.., fits).collect()
    }

    /// Where it holds up nobody: a pool's thread.
    async fn prove(&mut self) {
        if let Some(proof) = self.session.proof() {
            let proven = task::unblock(move || proof.work()).await;
            self.session.proven(proven, &mut self.out);
        }
    }

    /// What comes next has that time as a whole.
    fn allow(&mut self, time: Duration) {
        self.deadline = Instant::now() + time;
    }

    /// Carries one message.
    pub async fn carry(&mut self, transaction: Transaction, letter: &mut Letter) -> Carried {
        self.carried += 1;
        self.allow(self.timeouts.envelope);
        self.session.send(transaction);
        let (outcomes, sound) = self.converse(letter).await;
        let sound = sound && self.is_ready().await;
        Carried {
            crowded: match sound {
                true => self.crowded(&outcomes),
                false => Vec::new(),
            },
            outcomes,
            onward: self.session.onward().to_vec(),
            sound,
            unchunked: self.session.is_unchunked(),
        }
    }

    /// Whom a transaction had no room for that others got in by: so many fit the next one too.
    fn crowded(&mut self, outcomes: &[Outcome]) -> Vec<usize> {
        let got = |it: &&Outcome| matches!(it, Outcome::Delivered { .. });
        let got = outcomes.iter().filter(got).count();
        let late = |it: &Outcome| matches!(it, Outcome::Deferred(reply) if is_crowded(reply));
        let late = (0..).zip(outcomes).filter(|it| got > 0 && late(it.1));
        let late: Vec<usize> = late.map(|it| it.0).collect();
        if !late.is_empty() {
            self.room = got;
        }
        late
    }

    /// For a server whose BDAT does not work.
    pub fn without_chunking(&mut self) {
        self.session.without_chunking();
    }

    /// Whether another transaction may begin, once RSET is answered.
    async fn is_ready(&mut self) -> bool {
        self.allow(self.timeouts.of(Wait::Goodbye));
        matches!(self.step().await, Ok(Step::Ready))
    }

    async fn converse(&mut self, letter: &mut Letter) -> (Vec<Outcome>, bool) {
        let mut sound = true;
        loop {
            match self.step().await {
                Ok(Step::Done(outcomes)) => return (outcomes, sound),
                Ok(Step::Body(form)) => {
                    if let Err(error) = self.body(letter, form).await {
                        sound = false;
                        match error {
                            // What was sent is half a message: no reply to it could be trusted.
                            Unsent::Ours(reply) => return (self.session.lost(reply), false),
                            Unsent::Stream => self.session.body_cut(),
                        }
                    }
                    self.allow(self.timeouts.data_end);
                }
                Ok(_) => {
                    let reply = refusal("4.5.0", "the session went astray");
                    return (self.session.lost(reply), false);
                }
                Err(broken) => {
                    let reply = broken.reply(&self.server);
                    return (self.session.lost(reply), false);
                }
            }
        }
    }

    async fn body(&mut self, letter: &mut Letter, form: Form) -> Result<(), Unsent> {
        let now = super::sts::now();
        match form {
            Form::Converted => {
                let signatures = letter.signatures(form, now).await?;
                self.session.body(&signatures, &mut self.out);
            }
            _ => self.session.body(letter.seal(now).await?, &mut self.out),
        }
        let whole = Duration::from_secs(u64::from(letter.size) / self.timeouts.slowest);
        self.allow(self.timeouts.body + whole);
        letter.rewind(form);
        let mut begun = false;
        loop {
            // Not behind the last chunk of BDAT: then the server has it all.
            let whole = form == Form::Bdat && letter.is_at_end();
            if !whole && letter.is_called_off() {
                return Err(Unsent::Ours(called_off()));
            }
            let Some(chunk) = letter.next().await? else {
                break;
            };
            // Between two chunks: behind the last the server has it all, and may say so.
            if std::mem::replace(&mut begun, true) && Instant::now() > self.deadline {
                return Err(Unsent::Stream);
            }
            self.session.body(chunk, &mut self.out);
            let sent = self.stream.send_out(&mut self.out).await;
            sent.map_err(|_| Unsent::Stream)?;
        }
        self.session.body_end(&mut self.out);
        Ok(())
    }

    /// Steps until it is the caller's turn. Each reply has its time as a whole, and so has all
    /// that was allowed at once: a server that drips holds a place that other mail waits for.
    async fn step(&mut self) -> Result<Step, Broken> {
        let (mut since, mut heard) = (Instant::now(), self.session.heard());
        loop {
            let step = self.session.step(&mut self.out);
            let spoke = !self.out.is_empty();
            self.stream
                .send_out(&mut self.out)
                .await
                .map_err(Broken::Io)?;
            if spoke || self.session.heard() != heard {
                (since, heard) = (Instant::now(), self.session.heard());
            }
            let Step::Wait(wait) = step else {
                return Ok(step);
            };
            let left = self.timeouts.of(wait).saturating_sub(since.elapsed());
            let left = left.min(self.deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(Broken::Io(io::ErrorKind::TimedOut.into()));
            }
            let mut input = Input::new();
            match self.stream.receive(&mut input, left).await {
                Ok(0) => return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => self.session.receive(input.bytes()),
                Err(error) => return Err(Broken::Io(error)),
            }
        }
    }

    /// QUIT, and waits a moment for the answer, as is polite (RFC 5321, 4.1.1.10).
    pub async fn quit(mut self) {
        self.allow(self.timeouts.of(Wait::Goodbye));
        self.session.quit(&mut self.out);
        // It is over either way.
        let _ = self.step().await;
        self.stream.close().await;
    }
}

impl Broken {
    fn reply(self, server: &str) -> Reply {
        let mut reply = match self {
            Broken::Closed(reply) => return reply,
            // RFC 3463, 3.5: no answer from host.
            Broken::Unreached(error) => refusal("4.4.1", &connect::plain(&error)),
            // It may only be slow: that says nothing of its TLS.
            Broken::Tls(error) if error.kind() == io::ErrorKind::TimedOut => {
                refusal("4.4.2", &connect::plain(&error))
            }
            Broken::Tls(error) => refusal(
                NO_TLS,
                &format!("TLS can't be made: {}", connect::plain(&error)),
            ),
            Broken::Io(error) => refusal("4.4.2", &connect::plain(&error)),
        };
        reply.server = Some(server.to_owned());
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_only_slow_may_have_tls_another_time() {
        for (kind, status) in [
            (io::ErrorKind::TimedOut, "4.4.2"),
            (io::ErrorKind::InvalidData, NO_TLS),
            (io::ErrorKind::UnexpectedEof, NO_TLS),
        ] {
            let reply = Broken::Tls(kind.into()).reply("mx.x.test");
            assert_eq!((reply.code, reply.enhanced.as_str()), (0, status));
        }
    }
}
