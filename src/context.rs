//! What every connection's driver gets: the store, the login service, settings, TLS.

use crate::login::Login;
use crate::net::tls::Tls;
use crate::settings::Settings;
use crate::store::Store;
use std::sync::Arc;

/// Shared by all connections; `serve` makes it.
pub struct Context {
    pub store: Store,
    pub login: Login,
    pub settings: Arc<Settings>,
    pub tls: Tls,
}
