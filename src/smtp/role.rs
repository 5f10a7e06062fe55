//! What a port is for: the one machine of [`super::session`] serves all three.

/// Refusals without a message delivered between them, before the connection is closed.
const MAX_ERRORS: u32 = 20;
/// Likewise of commands that are no commands or come out of order, from strangers: programs
/// that guess make them, mail servers don't.
const MAX_PROTOCOL_ERRORS: u32 = 5;

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

    pub fn max_errors(self) -> u32 {
        MAX_ERRORS
    }

    pub fn max_protocol_errors(self) -> u32 {
        match self {
            Role::Incoming => MAX_PROTOCOL_ERRORS,
            Role::Submission | Role::Lmtp => MAX_ERRORS,
        }
    }
}
