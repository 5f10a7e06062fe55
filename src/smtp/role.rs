//! What a port is for: the one machine of [`super::session`] serves all three.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Those who have logged in send to anyone (RFC 6409).
    Submission,
    /// Other servers bring mail for our own addresses (RFC 5321).
    Incoming,
    /// A server on this machine brings mail that it has judged already (RFC 2033).
    Lmtp,
}

impl Role {
    pub fn needs_login(self) -> bool {
        self == Role::Submission
    }

    /// Behind the host name in the greeting.
    pub fn greeting(self) -> &'static str {
        match self {
            Role::Submission => "ESMTP submission",
            Role::Incoming => "ESMTP",
            Role::Lmtp => "LMTP",
        }
    }

    /// For logs.
    pub fn name(self) -> &'static str {
        match self {
            Role::Submission => "submission",
            Role::Incoming => "smtp",
            Role::Lmtp => "lmtp",
        }
    }

    /// Whether a success can be told to the sender (RFC 3461): the server that brings mail by
    /// LMTP does that itself.
    pub fn offers_dsn(self) -> bool {
        self != Role::Lmtp
    }
}
