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

use crate::login::Login;
use crate::mail::home::Forwarded;
use crate::net::dns::Resolver;
use crate::net::stream::Stream;
use crate::net::tls::Tls;
use crate::sasl::Channel;
use crate::settings::{Live, Settings};
use crate::store::Store;
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

    /// TLS for those who log in.
    pub fn users_tls(&self) -> Tls {
        self.tls.asking(self.settings().client_certificates)
    }

    /// What this connection brings to a login: what it can be bound to, where the owner wants
    /// that, and the certificate that the client has shown, if it is an account's.
    pub fn channel(&self, stream: &Stream) -> Channel {
        Channel {
            binding: stream.binding().filter(|_| self.settings().bind_logins),
            certificate: self.login.known(stream.client_certificate()),
        }
    }
}
