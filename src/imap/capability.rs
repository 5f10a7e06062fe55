//! CAPABILITY: what is offered, and when. A name stands here only if all of it works.

use crate::mail::capability::Off;
use crate::sasl::{Channel, Mechanism};
use std::fmt::Write;

/// What decides on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub logged_in: bool,
    pub tls: bool,
    /// Whether a password may cross this connection as it is now.
    pub login: bool,
    /// What the connection brings to a login.
    pub channel: Channel,
    /// Largest message, bytes.
    pub append_limit: u64,
    /// What the account goes without.
    pub off: Off,
}

/// At any time.
const ALWAYS: &str = "IMAP4rev1 LITERAL+ SASL-IR ENABLE ID IDLE";
/// Once it is known whose mailboxes are spoken of.
const LOGGED_IN: &str = "NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN SPECIAL-USE \
    CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS CONDSTORE ESEARCH STATUS=SIZE BINARY WITHIN \
    CATENATE URLAUTH QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE";

/// The list, `IMAP4rev1` first (RFC 3501, 7.2.1).
pub fn list(offer: Offer) -> String {
    let mut list = String::from(ALWAYS);
    if offer.logged_in {
        let _ = write!(list, " {LOGGED_IN} APPENDLIMIT={}", offer.append_limit);
        let words = list.split(' ').filter(|it| !offer.off.hides("imap", it));
        return words.collect::<Vec<_>>().join(" ");
    }
    if !offer.tls {
        list.push_str(" STARTTLS");
    }
    if offer.login {
        for mechanism in Mechanism::offered(offer.channel) {
            let _ = write!(list, " AUTH={}", mechanism.name());
        }
    }
    if !offer.login || offer.channel.hides_passwords {
        list.push_str(" LOGINDISABLED");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::capability::Capability;

    const STRANGER: Offer = Offer {
        logged_in: false,
        tls: false,
        login: false,
        channel: Channel {
            binding: None,
            certificate: None,
            hides_passwords: false,
        },
        append_limit: 1000,
        off: Off::NONE,
    };

    #[test]
    fn without_tls_no_login_is_offered() {
        let list = list(STRANGER);
        assert!(list.starts_with("IMAP4rev1 "));
        assert!(list.ends_with(" STARTTLS LOGINDISABLED"));
        assert!(!list.contains("AUTH="));
    }

    #[test]
    fn under_tls_logins_are_offered_and_starttls_is_not() {
        let list = list(Offer {
            tls: true,
            login: true,
            ..STRANGER
        });
        assert!(list.ends_with(" AUTH=SCRAM-SHA-256"));
        assert!(!list.contains("STARTTLS"));
        assert!(!list.contains("LOGINDISABLED"));
    }

    #[test]
    fn where_no_password_may_be_shown_scram_is_offered_alone() {
        let list = list(Offer {
            tls: true,
            login: true,
            channel: Channel {
                hides_passwords: true,
                ..STRANGER.channel
            },
            ..STRANGER
        });
        assert!(
            list.ends_with(" ID IDLE AUTH=SCRAM-SHA-256 LOGINDISABLED"),
            "{list}"
        );
    }

    #[test]
    fn after_login_the_limit_is_named() {
        let list = list(Offer {
            logged_in: true,
            ..STRANGER
        });
        assert!(list.ends_with(" APPENDLIMIT=1000"));
        assert!(!list.contains("AUTH="));
    }

    #[test]
    fn what_an_account_goes_without_is_not_offered() {
        let of = |off| {
            list(Offer {
                logged_in: true,
                off,
                ..STRANGER
            })
        };
        let all = of(Off::NONE);
        let off = Off::NONE.and(Capability::Quota).and(Capability::Idle);
        let gone = " QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE";
        assert_eq!(of(off), all.replace(gone, "").replace(" IDLE", ""));
    }
}
