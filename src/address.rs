//! Mail addresses in the sense of RFC 5321 and RFC 6531. Pure.

use std::fmt;

/// Longest local part, bytes (RFC 5321, 4.5.3.1.1).
pub const MAX_LOCAL_PART: usize = 64;
/// Longest domain, bytes (RFC 5321, 4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;
/// Longest address, bytes: a path of 256 less its angle brackets (RFC 5321, 4.5.3.1.3).
pub const MAX_ADDRESS: usize = 254;

/// A domain name, lower case, internationalized labels in Unicode (U-labels), or an
/// address literal such as `[192.0.2.1]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

/// `local-part@domain`; the local part without its quotes. Two addresses are equal if
/// they reach the same mailbox here: local parts compare without case.
#[derive(Clone, Debug)]
pub struct Address {
    local: String,
    domain: Domain,
}

/// Why a string is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressError(pub &'static str);

impl Domain {
    /// Accepts A-labels, U-labels and address literals; IDNA is applied (UTS 46).
    pub fn parse(_text: &str) -> Result<Domain, AddressError> {
        todo!()
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Address {
    /// `local@domain` as RFC 5321 Mailbox, SMTPUTF8 allowed; no angle brackets.
    pub fn parse(_text: &str) -> Result<Address, AddressError> {
        todo!()
    }
    /// The local part, unquoted.
    pub fn local(&self) -> &str {
        &self.local
    }
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
    /// Whether it can't be written without SMTPUTF8 (RFC 6531).
    pub fn needs_utf8(&self) -> bool {
        !self.local.is_ascii() || !self.domain.0.is_ascii()
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.local.to_lowercase() == other.local.to_lowercase() && self.domain == other.domain
    }
}

impl Eq for Address {}

/// As it is written on the wire, quoted where it must be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain.0)
    }
}
