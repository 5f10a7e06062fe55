//! What a server says that it can, in its reply to EHLO (RFC 5321, 4.1.1.1).

use crate::sasl::Mechanism;

/// Of XCLIENT; more are passed over.
const MAX_ATTRIBUTES: usize = 16;

/// Unknown keywords are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Largest message, bytes (RFC 1870); `None` where it doesn't say or has no limit.
    pub size: Option<u64>,
    pub pipelining: bool,
    pub starttls: bool,
    /// Of AUTH, those that we know.
    pub auth: Vec<Mechanism>,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 3030.
    pub chunking: bool,
    pub binary: bool,
    /// RFC 6531.
    pub utf8: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 6710.
    pub priority: bool,
    /// RFC 2852; the least number of seconds, 0 where it doesn't say.
    pub deliver_by: Option<i64>,
    /// Attributes of Postfix's XCLIENT that it takes from us, in upper case.
    pub xclient: Vec<String>,
    /// RCPTMAX of LIMITS (RFC 9422): of a transaction.
    pub max_recipients: Option<usize>,
    /// MAILMAX: transactions of a session.
    pub max_mails: Option<usize>,
    /// RCPTDOMAINMAX: recipients' domains of a session.
    pub max_domains: Option<usize>,
}

impl Capabilities {
    /// `lines` as they stood, the greeting first.
    pub fn parse(lines: &[String]) -> Capabilities {
        let mut found = Capabilities::default();
        for line in lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "SIZE" => {
                    let size = words.next().and_then(|it| it.parse().ok());
                    found.size = size.filter(|&it| it > 0);
                }
                "PIPELINING" => found.pipelining = true,
                "STARTTLS" => found.starttls = true,
                "8BITMIME" => found.eight_bit = true,
                "CHUNKING" => found.chunking = true,
                "BINARYMIME" => found.binary = true,
                "SMTPUTF8" => found.utf8 = true,
                "DSN" => found.dsn = true,
                "REQUIRETLS" => found.require_tls = true,
                "MT-PRIORITY" => found.priority = true,
                "DELIVERBY" => {
                    let least = words.next().and_then(|it| it.parse().ok());
                    found.deliver_by = Some(least.unwrap_or(0));
                }
                "LIMITS" => found.limits(words),
                "XCLIENT" => {
                    let words = words.take(MAX_ATTRIBUTES).map(str::to_ascii_uppercase);
                    found.xclient = words.collect();
                }
                "AUTH" => found.mechanisms(words),
                // Servers from before RFC 2554 wrote it so, and some still do both.
                other => {
                    if let Some(first) = other.strip_prefix("AUTH=") {
                        found.mechanisms(std::iter::once(first).chain(words));
                    }
                }
            }
        }
        // It means nothing by itself (RFC 3030, 3).
        found.binary &= found.chunking;
        found
    }

    /// What is wrong or unknown among them is as if it were not there (RFC 9422, 3.7).
    fn limits<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words {
            let Some((name, number)) = word.split_once('=') else {
                continue;
            };
            let place = match name.to_ascii_uppercase().as_str() {
                "RCPTMAX" => &mut self.max_recipients,
                "MAILMAX" => &mut self.max_mails,
                "RCPTDOMAINMAX" => &mut self.max_domains,
                _ => continue,
            };
            // Six digits at most, and no zero in front.
            let digits = number.bytes().all(|b| b.is_ascii_digit()) && number.len() <= 6;
            if digits && !number.starts_with('0') {
                *place = number.parse().ok().or(*place);
            }
        }
    }

    fn mechanisms<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for mechanism in words.filter_map(Mechanism::parse) {
            if !self.auth.contains(&mechanism) {
                self.auth.push(mechanism);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Capabilities {
        Capabilities::parse(&lines.iter().map(|it| it.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn keywords_are_read_in_any_case() {
        let found = parse(&[
            "mx.example greets you",
            "size 1000",
            "Pipelining",
            "STARTTLS",
            "8bitmime",
            "CHUNKING",
            "BINARYMIME",
            "SMTPUTF8",
            "DSN",
            "REQUIRETLS",
            "MT-PRIORITY MIXER",
            "DELIVERBY 60",
            "LIMITS MAILMAX=5 RCPTMAX=20 rcptdomainmax=1 X Y=2 MAILMAX=",
            "AUTH PLAIN XOAUTH2 scram-sha-256",
            "AUTH=LOGIN PLAIN",
            "X",
        ]);
        assert_eq!((found.size, found.max_recipients), (Some(1000), Some(20)));
        assert_eq!((found.max_mails, found.max_domains), (Some(5), Some(1)));
        let all = [
            found.pipelining,
            found.starttls,
            found.eight_bit,
            found.chunking,
            found.binary,
            found.utf8,
            found.dsn,
            found.require_tls,
            found.priority,
        ];
        assert_eq!(all, [true; 9]);
        assert_eq!(found.deliver_by, Some(60));
        assert_eq!(
            found.auth,
            [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::Login]
        );
    }

    #[test]
    fn nothing_is_believed_that_is_not_said() {
        assert_eq!(parse(&["SIZE 1000"]), Capabilities::default());
        let odd = [
            "x",
            "SIZE",
            "SIZE 0",
            "SIZE -1",
            "",
            "BINARYMIME",
            "LIMITS RCPTMAX=0 RCPTMAX=x MAILMAX=1000000 RCPTDOMAINMAX=01",
            "AUTH",
        ];
        assert_eq!(parse(&odd), Capabilities::default());
    }
}
