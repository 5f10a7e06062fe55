//! What an ACME server says (RFC 8555, 7.1): directory, order, authorization, problem. Pure.

use super::json::{self, Value};

/// Most authorizations of an order, and challenges of an authorization, that are read.
const MAX_PARTS: usize = 64;
/// Longest explanation of an error that is passed on, characters.
const MAX_DETAIL: usize = 500;
/// The same of URLs; longer ones are not followed anyway.
const MAX_URL: usize = 4096;

/// RFC 8555, 7.1.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub new_nonce: String,
    pub new_account: String,
    pub new_order: String,
    /// Where the terms of service are.
    pub terms: Option<String>,
}

/// RFC 8555, 7.1.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// `pending`, `ready`, `processing`, `valid` or `invalid`.
    pub status: String,
    pub authorizations: Vec<String>,
    pub finalize: String,
    /// Where the certificate is, once it is there.
    pub certificate: Option<String>,
    pub error: Option<Problem>,
}

/// RFC 8555, 7.1.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The name that is to be shown as ours.
    pub name: String,
    /// `pending`, `valid`, or one of those that mean no.
    pub status: String,
    pub challenges: Vec<Challenge>,
}

/// RFC 8555, 8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `http-01`, `dns-01`, `tls-alpn-01`, or one that we do not know.
    pub kind: String,
    pub url: String,
    pub token: String,
    pub error: Option<Problem>,
}

/// An error (RFC 7807; RFC 8555, 6.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What follows `urn:ietf:params:acme:error:`; `other` for what is none of ACME's.
    pub kind: String,
    /// For people; no control characters.
    pub detail: String,
}

impl Directory {
    pub fn read(text: &str) -> Option<Directory> {
        let value = json::read(text)?;
        let url = |name: &str| value.text(name).map(plain_url);
        let terms = value.get("meta").and_then(|it| it.text("termsOfService"));
        Some(Directory {
            new_nonce: url("newNonce")?,
            new_account: url("newAccount")?,
            new_order: url("newOrder")?,
            terms: terms.map(plain),
        })
    }
}

impl Order {
    pub fn read(text: &str) -> Option<Order> {
        let value = json::read(text)?;
        let parts = value.list("authorizations").iter().take(MAX_PARTS);
        let urls = parts.filter_map(|it| match it {
            Value::Text(url) => Some(plain_url(url)),
            _ => None,
        });
        Some(Order {
            status: plain(value.text("status")?),
            authorizations: urls.collect(),
            finalize: plain_url(value.text("finalize")?),
            certificate: value.text("certificate").map(plain_url),
            error: value.get("error").map(Problem::of),
        })
    }
}

impl Authorization {
    pub fn read(text: &str) -> Option<Authorization> {
        let value = json::read(text)?;
        let challenges = value.list("challenges").iter().take(MAX_PARTS);
        Some(Authorization {
            name: plain(value.get("identifier")?.text("value")?).to_lowercase(),
            status: plain(value.text("status")?),
            challenges: challenges.filter_map(Challenge::of).collect(),
        })
    }

    /// What the authority found wrong.
    pub fn problem(&self) -> Option<&Problem> {
        self.challenges.iter().find_map(|it| it.error.as_ref())
    }
}

impl Challenge {
    fn of(value: &Value) -> Option<Challenge> {
        Some(Challenge {
            kind: plain(value.text("type")?),
            url: plain_url(value.text("url")?),
            token: value.text("token").unwrap_or_default().into(),
            error: value.get("error").map(Problem::of),
        })
    }
}

impl Problem {
    /// From the body of a response that is an error.
    pub fn read(text: &str) -> Option<Problem> {
        match json::read(text)? {
            value @ Value::Object(_) => Some(Problem::of(&value)),
            _ => None,
        }
    }

    fn of(value: &Value) -> Problem {
        let kind = value.text("type").unwrap_or_default();
        let kind = kind.strip_prefix("urn:ietf:params:acme:error:");
        let detail = value.text("detail").unwrap_or("it does not say why");
        let mut detail = plain(detail);
        // What is wrong with one name of several (RFC 8555, 6.7.1).
        for part in value.list("subproblems").iter().take(MAX_PARTS) {
            if detail.len() < MAX_DETAIL {
                detail += &format!("; {}", plain(part.text("detail").unwrap_or_default()));
            }
        }
        Problem {
            kind: plain(kind.unwrap_or("other")),
            detail,
        }
    }
}

fn plain(text: &str) -> String {
    cut(text, MAX_DETAIL)
}

/// A URL that may be shown; one that had control characters can't be followed.
pub fn plain_url(text: &str) -> String {
    cut(text, MAX_URL)
}

fn cut(text: &str, most: usize) -> String {
    let text = text.chars().take(most);
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The examples of RFC 8555, 7.1.1, 7.1.3, 7.1.4, 6.7.1.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let directory = Directory::read(
            r#"{"newNonce": "https://example.com/acme/new-nonce",
            "newAccount": "https://example.com/acme/new-account",
            "newOrder": "https://example.com/acme/new-order",
            "meta": {"termsOfService": "https://example.com/acme/terms/2017-5-30",
            "caaIdentities": ["example.com"], "externalAccountRequired": false}}"#,
        )
        .unwrap();
        assert_eq!(directory.new_order, "https://example.com/acme/new-order");
        assert!(directory.terms.unwrap().ends_with("2017-5-30"));
        let order = Order::read(
            r#"{"status": "valid", "expires": "2016-01-20T14:09:07.99Z",
            "identifiers": [{"type": "dns", "value": "www.example.org"}],
            "authorizations": ["https://example.com/acme/authz/PAniVnsZcis", 7],
            "finalize": "https://example.com/acme/order/TOlocE8rfgo/finalize",
            "certificate": "https://example.com/acme/cert/mAt3xBGaobw"}"#,
        )
        .unwrap();
        assert_eq!(order.authorizations.len(), 1);
        assert!(order.certificate.is_some() && order.error.is_none());
        let authorization = Authorization::read(
            r#"{"status": "invalid", "identifier": {"type": "dns", "value": "WWW.example.org"},
            "challenges": [{"url": "https://example.com/acme/chall/prV_B7yEyA4", "type": "http-01",
            "token": "DGyRejmCefe7v4NfDGDKfA", "error":
            {"type": "urn:ietf:params:acme:error:unauthorized", "detail": "no\nfile"}},
            {"type": "odd"}]}"#,
        )
        .unwrap();
        assert_eq!(authorization.name, "www.example.org");
        assert_eq!(authorization.challenges.len(), 1);
        let problem = authorization.problem().unwrap();
        assert_eq!(
            (problem.kind.as_str(), problem.detail.as_str()),
            ("unauthorized", "no file")
        );
        let problem = Problem::read(
            r#"{"type": "urn:ietf:params:acme:error:malformed", "detail": "Some names",
            "subproblems": [{"detail": "_example.org is invalid"}]}"#,
        );
        assert_eq!(
            problem.unwrap().detail,
            "Some names; _example.org is invalid"
        );
    }

    #[test]
    fn nothing_of_it_can_steer_a_terminal() {
        let order = Order::read(
            r#"{"status": "in\u001bvalid", "finalize": "https://a\u001b[2J/",
            "authorizations": ["https://a\u009b2J/"], "certificate": "https://a\u0007/"}"#,
        );
        let found = Authorization::read(
            r#"{"status": "\u001b[31m", "identifier": {"value": "A\u001b]0;x\u0007.test"},
            "challenges": [{"url": "https://a\u001b/", "type": "http\u001b-01"}]}"#,
        );
        let directory = Directory::read(
            r#"{"newNonce": "https://a\u001b/", "newAccount": "x\r", "newOrder": "y\n"}"#,
        );
        let (order, found, directory) = (order.unwrap(), found.unwrap(), directory.unwrap());
        assert_eq!(found.name, "a ]0;x .test");
        assert_eq!(order.finalize, "https://a [2J/");
        let all = [
            &order.status,
            &order.authorizations[0],
            order.certificate.as_ref().unwrap(),
            &found.status,
            &found.challenges[0].url,
            &found.challenges[0].kind,
            &directory.new_nonce,
            &directory.new_account,
            &directory.new_order,
        ];
        for text in all {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn what_lacks_its_parts_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"newNonce": "x", "newOrder": "y"}"#,
            r#"{"status": 1}"#,
        ] {
            assert!(Directory::read(text).is_none() && Order::read(text).is_none());
            assert!(Authorization::read(text).is_none());
        }
        assert_eq!(Problem::read("<html>"), None);
    }
}
