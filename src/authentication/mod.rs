//! Who a message is from, shown and checked: DKIM (RFC 6376, 8301, 8463) signing and
//! verifying, SPF (RFC 7208), DMARC (RFC 7489, organizational domains by the tree walk of its
//! successor), ARC (RFC 8617) verifying and sealing, Authentication-Results (RFC 8601).
//!
//! A message comes in slices and only its header is kept: [`sign::Signing`] and
//! [`hashing::Hashing`] hash the body as it passes. What only DNS knows is asked of a
//! [`Dns`] when the message is over. No sockets, no clock: the time is an argument.

pub mod arc;
pub mod canonical;
pub mod dkim;
pub mod dmarc;
pub mod generate;
pub mod hashing;
pub mod key;
mod network;
pub mod results;
pub mod seal;
pub mod sign;
pub mod signature;
pub mod spf;
pub mod tags;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;

/// DNS could not be asked, or did not answer: later it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// What is asked of DNS. Names are in ASCII, without a dot at their end; a name that does not
/// exist, or has no such record, is an empty list.
pub trait Dns: Sync {
    /// Each record's strings, joined (RFC 7208, 3.3).
    fn txt(&self, name: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, Unavailable>> + Send;
    /// A records, or with `six` AAAA records.
    fn addresses(
        &self,
        name: &str,
        six: bool,
    ) -> impl Future<Output = Result<Vec<IpAddr>, Unavailable>> + Send;
    /// Names of MX records, by preference.
    fn mx(&self, name: &str) -> impl Future<Output = Result<Vec<String>, Unavailable>> + Send;
    /// Names that an address has by PTR.
    fn names(
        &self,
        address: IpAddr,
    ) -> impl Future<Output = Result<Vec<String>, Unavailable>> + Send;
}

/// What a check came to; the words are those of RFC 8601, 2.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// There is nothing to check.
    #[default]
    None,
    Pass,
    Fail,
    SoftFail,
    Neutral,
    /// It holds, but not in a way that is accepted here.
    Policy,
    TempError,
    PermError,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::None => "none",
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::SoftFail => "softfail",
            Verdict::Neutral => "neutral",
            Verdict::Policy => "policy",
            Verdict::TempError => "temperror",
            Verdict::PermError => "permerror",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whether `name` is `domain` or below it; both in lower case.
pub fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A domain as DNS has it: A-labels, lower case, no dot at the end. `None` where it has no
/// such form.
pub fn ascii_domain(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_empty() || domain.len() > 253 {
        return None;
    }
    match domain.is_ascii() {
        // Not through IDNA: `_dmarc` and other names with an underscore are none of its business.
        true => Some(domain.to_ascii_lowercase()),
        false => idna::domain_to_ascii(domain).ok(),
    }
}
