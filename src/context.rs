//! What every connection's driver gets: the store, the login service, settings, TLS.
//!
//! A driver is `pub async fn serve(context: Arc<Context>, stream: Stream, tls: bool)` in
//! `{imap,pop3,smtp}/serve.rs`; `tls` says that TLS comes before the greeting. It calls
//! [`Stream::authenticated`] after a login, closes the stream, and returns when the
//! connection is over. When the server shuts down its future is dropped.
//!
//! [`Stream::authenticated`]: crate::net::stream::Stream::authenticated

pub mod homes;
pub mod maildrops;
pub mod rates;
pub mod sources;

use crate::login::sessions::Session;
use crate::login::{Client, Login};
use crate::mail::capability::Off;
use crate::mail::home::Forwarded;
use crate::mail::option::Protocol;
use crate::mail::{Account, AccountId, Standing};
use crate::net::dns::Resolver;
use crate::net::stream::Stream;
use crate::net::tls::Tls;
use crate::sasl::{Channel, Denial, Verdict};
use crate::settings::{Access, Live, Settings};
use crate::store::{self, Event, Kind, Store};
use homes::Homes;
use maildrops::Maildrops;
use rates::Rates;
use sources::Sources;
use std::path::PathBuf;
use std::sync::Arc;

/// Shared by all connections; `serve` makes it.
pub struct Context {
    pub store: Store,
    pub login: Login,
    /// What the owner chose; a session asks anew at each step.
    pub live: Arc<Live>,
    pub tls: Tls,
    pub resolver: Resolver,
    /// Which maildrops POP3 sessions have open; `Maildrops::default()` at start.
    pub maildrops: Maildrops,
    /// Who sends mail in; `Sources::restore` at start.
    pub sources: Sources,
    /// How much accounts send; `Rates::default()` at start.
    pub rates: Rates,
    /// Where mailboxes are that are not here.
    pub homes: Homes,
    /// The data directory: what is too large for memory waits there.
    pub dir: PathBuf,
}

impl Context {
    /// Saves what is counted in memory and must outlive a restart: once a minute, and at the
    /// end, before the store is closed.
    pub async fn save(&self) {
        self.rates.save(&self.store).await;
        self.sources.save(&self.store).await;
        self.login.save().await;
        let keep = self.settings().keep_log;
        if let Err(error) = self.store.save_events(keep).await {
            log::warn!("the audit log can't be saved: {error}");
        }
    }

    /// The settings that hold now.
    pub fn settings(&self) -> Arc<Settings> {
        self.live.now()
    }

    /// What is known of who passes a connection on, before that says anything.
    pub fn forwarded(&self, stream: &Stream) -> Forwarded {
        let settings = self.settings();
        let mut proxies = settings.trusted_proxies.iter();
        Forwarded {
            trusted: proxies.any(|it| it.contains(stream.peer())),
            ..Forwarded::default()
        }
    }

    /// Who is at the other end of a connection, for the login service.
    pub fn client(stream: &Stream, service: &'static str) -> Client {
        Client {
            service,
            peer: stream.peer(),
            presence: stream.presence(),
        }
    }

    /// TLS for those who log in.
    pub fn users_tls(&self) -> Tls {
        self.tls.asking(self.settings().client_certificates)
    }

    /// What this connection brings to a login: what it can be bound to, where the owner wants
    /// that, the certificate that the client has shown, if it is an account's, and whether it
    /// may show a password.
    pub fn channel(&self, stream: &Stream, protocol: Protocol) -> Channel {
        let settings = self.settings();
        let login = access(&settings, protocol).login;
        let tls = stream.is_tls();
        Channel {
            binding: stream.binding().filter(|_| settings.bind_logins),
            certificate: self.login.known(stream.client_certificate()),
            hides_passwords: !login.passwords(tls)
                && (tls || !is_trusted_loopback(&settings, stream)),
        }
    }

    /// Whether a client may log in without TLS.
    pub fn plain_login(&self, stream: &Stream, protocol: Protocol) -> bool {
        let settings = self.settings();
        access(&settings, protocol).login.without_tls() || is_trusted_loopback(&settings, stream)
    }

    /// Lets the account of a login that is granted in, unless that service is closed to it or
    /// has too many of its connections; other verdicts stay as they are.
    pub fn let_in(&self, protocol: Protocol, stream: &mut Stream, verdict: Verdict) -> Verdict {
        let Verdict::Granted(account) = verdict else {
            return verdict;
        };
        // Of a login before on this connection, which came to nothing.
        stream.hold(None);
        let (name, address, peer) = (protocol.name(), &account.address, stream.peer());
        match self.may_use(account.id, protocol) {
            Ok(true) => {}
            Ok(false) => {
                log::info!("{name}: {address} from {peer} is refused: {name} is off for it");
                self.note_refusal(protocol, &account, stream, "the service is off for it");
                return Verdict::Denied(Denial::Closed);
            }
            Err(error) => {
                log::error!("{name}: an account can't be read: {error}");
                return Verdict::Denied(Denial::Unavailable);
            }
        }
        let session = Session {
            account: account.id,
            protocol,
            connection: stream.id(),
        };
        let limit = access(&self.settings(), protocol).max_connections_per_account;
        match self.login.sessions.enter(session, limit) {
            Some(seat) => {
                stream.hold(Some(Box::new(seat)));
                Verdict::Granted(account)
            }
            None => {
                log::info!("{name}: {address} from {peer} is refused: it has {limit} connections");
                self.note_refusal(protocol, &account, stream, "too many connections");
                Verdict::Denied(Denial::Connections)
            }
        }
    }

    /// What of the protocols the account goes without; all is there if that can't be read.
    pub fn off(&self, account: AccountId) -> Off {
        let options = self.store.look(|it| it.account_options(account));
        options.map_or(Off::NONE, |it| it.without.complete())
    }

    fn note_refusal(&self, protocol: Protocol, account: &Account, stream: &Stream, why: &str) {
        let (address, peer) = (account.address.to_string(), stream.peer().to_string());
        let event = Event::now(Kind::Refused, &address, protocol.name(), &peer, why);
        self.store.note_event(event);
    }

    /// Connections whose login holds no more: the account is gone, or the service closed to it.
    pub fn overstaying(&self) -> Vec<u64> {
        let mut sessions = self.login.sessions.all();
        sessions.retain(|it| match self.may_use(it.account, it.protocol) {
            Ok(may) => !may,
            Err(error) => {
                log::warn!("who is logged in can't be looked at: {error}");
                false
            }
        });
        sessions.iter().map(|it| it.connection).collect()
    }

    fn may_use(&self, account: AccountId, protocol: Protocol) -> store::Result<bool> {
        self.store.look(|snapshot| {
            let exists = snapshot.account(account)?.is_some();
            let active = snapshot.standing(account)? == Standing::Active;
            Ok(exists && active && snapshot.account_options(account)?.may_use(protocol))
        })
    }
}

/// What the owner has set for that service.
pub fn access(settings: &Settings, protocol: Protocol) -> &Access {
    match protocol {
        Protocol::Imap => &settings.imap_access,
        Protocol::Pop3 => &settings.pop3_access,
        Protocol::Submission => &settings.submission_access,
    }
}

fn is_trusted_loopback(settings: &Settings, stream: &Stream) -> bool {
    settings.plain_login_on_loopback && stream.peer().is_loopback()
}
