//! Requests about the certificates by which accounts log in.

use super::Reply;
use super::perform::account;
use crate::address::Address;
use crate::mail::certificate::Fingerprint;
use crate::store::{Error, KnownCertificate, Store};

/// What the owner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    Add {
        address: Address,
        fingerprint: Fingerprint,
        /// When it ends, seconds since 1970.
        until: i64,
    },
    /// Rows of fingerprint, end.
    List { address: Address },
    Remove {
        address: Address,
        fingerprint: Fingerprint,
    },
}

impl Certificates {
    /// The request's words.
    pub fn words(&self) -> Vec<String> {
        let words = |words: &[&dyn ToString]| words.iter().map(|it| it.to_string()).collect();
        match self {
            Certificates::Add {
                address,
                fingerprint,
                until,
            } => words(&[&"certificate-add", address, fingerprint, until]),
            Certificates::List { address } => words(&[&"certificate-list", address]),
            Certificates::Remove {
                address,
                fingerprint,
            } => words(&[&"certificate-remove", address, fingerprint]),
        }
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Certificates, String>> {
        let address = |text: &str| Address::parse(text).map_err(|error| format!("{text}: {error}"));
        let print = |text: &str| Fingerprint::parse(text).ok_or("this is no fingerprint");
        let pair = |who, which| Ok::<_, String>((address(who)?, print(which)?));
        Some(match words {
            ["certificate-add", who, which, until] => pair(who, which).and_then(|it| {
                Ok(Certificates::Add {
                    address: it.0,
                    fingerprint: it.1,
                    until: until.parse().map_err(|_| "this is no time")?,
                })
            }),
            ["certificate-list", who] => address(who).map(|address| Certificates::List { address }),
            ["certificate-remove", who, which] => pair(who, which).map(|it| Certificates::Remove {
                address: it.0,
                fingerprint: it.1,
            }),
            _ => return None,
        })
    }
}

/// Errors are sentences for the owner.
pub async fn perform(store: &Store, request: Certificates) -> Reply {
    match request {
        Certificates::Add {
            address,
            fingerprint,
            until,
        } => {
            let account = account(store, &address).await?.id;
            let known = KnownCertificate {
                fingerprint,
                account,
                until,
            };
            match store.add_certificate(known).await {
                Ok(()) => Ok(Vec::new()),
                Err(Error::Exists) => Err("an account has this certificate already".into()),
                Err(error) => Err(error.to_string()),
            }
        }
        Certificates::List { address } => {
            let id = account(store, &address).await?.id;
            let known = store.look(|snapshot| snapshot.certificates(id));
            let known = known.map_err(|error| error.to_string())?;
            Ok(known.iter().map(row).collect())
        }
        Certificates::Remove {
            address,
            fingerprint,
        } => {
            let id = account(store, &address).await?.id;
            match store.remove_certificate(id, fingerprint).await {
                Ok(true) => Ok(Vec::new()),
                Ok(false) => Err(format!("{address} has no such certificate")),
                Err(error) => Err(error.to_string()),
            }
        }
    }
}

fn row(known: &KnownCertificate) -> Vec<String> {
    let until = jiff::Timestamp::from_second(known.until);
    let until = until.map_or_else(|_| "unknown".into(), |it| it.to_string());
    vec![known.fingerprint.to_string(), until]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let address = Address::parse("ann@b.test").unwrap();
        let fingerprint = Fingerprint([7; 32]);
        for request in [
            Certificates::Add {
                address: address.clone(),
                fingerprint,
                until: -1,
            },
            Certificates::List {
                address: address.clone(),
            },
            Certificates::Remove {
                address,
                fingerprint,
            },
        ] {
            let words = request.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(Certificates::read(&words), Some(Ok(request)));
        }
        assert_eq!(Certificates::read(&["certificate-list"]), None);
        for wrong in [
            &["certificate-list", "ann"][..],
            &["certificate-remove", "ann@b.test", "00"],
            &["certificate-add", "ann@b.test", &"0".repeat(64), "x"],
        ] {
            assert!(matches!(Certificates::read(wrong), Some(Err(_))));
        }
    }
}
