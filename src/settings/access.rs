//! What a service that people log in to holds them to.

/// Of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Connections at once, logged in or not.
    pub max_connections: usize,
    /// Of these, from one address (IPv6: one /64).
    pub max_connections_per_address: usize,
    /// Logged in at once to one account.
    pub max_connections_per_account: usize,
    pub login: LoginType,
    /// What it says when it greets; empty for its own words.
    pub banner: String,
    /// Whether what is said goes to the log.
    pub log: bool,
}

impl Default for Access {
    fn default() -> Access {
        Access {
            max_connections: 4096,
            max_connections_per_address: 256,
            max_connections_per_account: 16,
            login: LoginType::Tls,
            banner: String::new(),
            log: false,
        }
    }
}

/// Which logins are taken without TLS, and which under it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoginType {
    /// Any, in clear too.
    Clear,
    /// Any under TLS; in clear those alone that show no password (SCRAM).
    Scram,
    /// Any under TLS, none in clear.
    #[default]
    Tls,
    /// Under TLS, those alone that show no password (SCRAM, EXTERNAL).
    TlsScram,
}

impl LoginType {
    pub const NAMES: [(LoginType, &str); 4] = [
        (LoginType::Clear, "clear"),
        (LoginType::Scram, "scram"),
        (LoginType::Tls, "tls"),
        (LoginType::TlsScram, "tls-scram"),
    ];

    /// Whether anybody may log in without TLS.
    pub fn without_tls(self) -> bool {
        matches!(self, LoginType::Clear | LoginType::Scram)
    }

    /// Whether a password may be shown.
    pub fn passwords(self, tls: bool) -> bool {
        match self {
            LoginType::Clear => true,
            LoginType::Scram | LoginType::Tls => tls,
            LoginType::TlsScram => false,
        }
    }
}
