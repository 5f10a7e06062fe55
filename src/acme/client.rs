//! The connection to an ACME authority: a request each, signed, with the authority's nonces
//! (RFC 8555, 6).

use super::Failure;
use super::http::{self, Reading, Response};
use super::jose::{Key, Signer};
use super::json::quote;
use super::message::{Directory, Problem, plain_url};
use crate::net::connect::{self, Authorities};
use crate::net::dns::Resolver;
use crate::wire::Input;
use async_io::Timer;
use futures_lite::FutureExt;
use std::io;
use std::time::Duration;

/// For one request and its response.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Into so many pieces a response may be cut: each is a look at all that came before it.
const MAX_READS: usize = 4096;
/// How often a request is sent again because its nonce was not taken (RFC 8555, 6.5).
const MAX_NONCES: usize = 10;
/// The longest that an authority can make us wait.
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// An authority, and who we are there.
pub struct Client {
    net: Net,
    directory: Directory,
    key: Key,
    /// The account's URL.
    account: Option<String>,
    nonce: Option<String>,
}

/// How authorities are reached.
pub struct Net {
    pub resolver: Resolver,
    pub authorities: Authorities,
}

impl Client {
    /// Reads the directory; nothing is agreed to.
    pub async fn open(net: Net, directory: &str, key: Key) -> Result<Client, Failure> {
        let response = net.exchange("GET", directory, None).await?;
        let text = String::from_utf8_lossy(&response.body);
        let read = Directory::read(&text).filter(|_| response.status == 200);
        let directory = read.ok_or_else(|| {
            Failure::new(format!(
                "{directory} is no directory of an ACME authority (HTTP status {})",
                response.status
            ))
        })?;
        Ok(Client {
            net,
            directory,
            key,
            account: None,
            nonce: None,
        })
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Makes the account, or finds the one that the key has (RFC 8555, 7.3, 7.3.1). The owner
    /// has agreed to the terms.
    pub async fn register(&mut self, contact: &str) -> Result<(), Failure> {
        let contact = match contact {
            "" => String::new(),
            mail => format!(r#","contact":[{}]"#, quote(&format!("mailto:{mail}"))),
        };
        let payload = format!(r#"{{"termsOfServiceAgreed":true{contact}}}"#);
        let url = self.directory.new_account.clone();
        let response = self.post(&url, &payload).await?;
        let account = response.field("location").map(str::to_owned);
        self.account = Some(account.ok_or_else(|| says_too_little("account"))?);
        Ok(())
    }

    /// POST-as-GET (RFC 8555, 6.3).
    pub async fn get(&mut self, url: &str) -> Result<Response, Failure> {
        self.post(url, "").await
    }

    /// A signed request. What is no success is a failure.
    pub async fn post(&mut self, url: &str, payload: &str) -> Result<Response, Failure> {
        let mut left = MAX_NONCES;
        loop {
            let nonce = self.nonce().await?;
            let signer = match &self.account {
                Some(account) => Signer::Account(account),
                None => Signer::Key,
            };
            let body = self.key.sign(signer, url, &nonce, payload)?;
            let response = self.net.exchange("POST", url, Some(&body)).await?;
            self.nonce = response.field("replay-nonce").map(str::to_owned);
            if (200..300).contains(&response.status) {
                return Ok(response);
            }
            let problem = Problem::read(&String::from_utf8_lossy(&response.body));
            left -= 1;
            if left > 0 && problem.as_ref().is_some_and(|it| it.kind == "badNonce") {
                continue;
            }
            return Err(refused(&response, problem));
        }
    }

    async fn nonce(&mut self) -> Result<String, Failure> {
        if let Some(nonce) = self.nonce.take() {
            return Ok(nonce);
        }
        let url = &self.directory.new_nonce;
        let response = self.net.exchange("HEAD", url, None).await?;
        let nonce = response.field("replay-nonce").map(str::to_owned);
        nonce.ok_or_else(|| says_too_little("nonce"))
    }
}

/// How long the response asks us to wait: seconds (RFC 9110, 10.2.3); a date is passed over.
pub fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.field("retry-after")?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// It lacks what it must have.
pub fn says_too_little(what: &str) -> Failure {
    Failure::new(format!(
        "the ACME authority's answer about the {what} can't be used"
    ))
}

fn refused(response: &Response, problem: Option<Problem>) -> Failure {
    let why = match &problem {
        Some(it) => format!("the ACME authority refuses: {} ({})", it.detail, it.kind),
        None => format!("the ACME authority fails: HTTP status {}", response.status),
    };
    let kind = problem.map_or(String::new(), |it| it.kind);
    // Too many requests, a lost nonce: the order itself is as it was.
    let passes =
        matches!(response.status, 408 | 429) || kind == "badNonce" || kind == "rateLimited";
    Failure {
        wait: retry_after(response),
        over: (400..500).contains(&response.status) && !passes,
        ..Failure::new(why)
    }
}

impl Net {
    /// One request on a connection of its own; they are few, and TLS sessions are resumed.
    async fn exchange(
        &self,
        method: &str,
        url: &str,
        body: Option<&str>,
    ) -> Result<Response, Failure> {
        let late = async {
            Timer::after(TIMEOUT).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let done = self.try_exchange(method, url, body).or(late).await;
        done.map_err(|error| {
            let (url, why) = (plain_url(url), connect::plain(&error));
            Failure {
                reached: false,
                ..Failure::new(format!("can't reach {url}: {why}"))
            }
        })
    }

    async fn try_exchange(
        &self,
        method: &str,
        url: &str,
        body: Option<&str>,
    ) -> io::Result<Response> {
        let (host, port, path) =
            http::url(url).ok_or_else(|| io::Error::other("that is no https URL"))?;
        let mut stream = connect::https(&self.resolver, &self.authorities, &host, port).await?;
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: pillarbox/{}\r\n\
             Accept: */*\r\nConnection: close\r\n",
            http::authority(&host, port),
            env!("CARGO_PKG_VERSION")
        );
        if let Some(body) = body {
            let length = body.len();
            request += &format!(
                "Content-Type: application/jose+json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        } else {
            request += "\r\n";
        }
        stream.send(request.as_bytes()).await?;
        let mut input = Input::new();
        for _ in 0..MAX_READS {
            let ended = stream.receive(&mut input, TIMEOUT).await? == 0;
            match http::response(input.bytes(), ended, method == "HEAD") {
                Reading::Whole(response) => return Ok(response),
                Reading::Partial if !ended => {}
                _ => break,
            }
        }
        Err(io::Error::other("it does not speak HTTP as it should"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Client {
        /// One whose directory is known, and which is registered.
        pub fn known(net: Net, at: &str) -> Client {
            let url = |what: &str| format!("{at}/{what}");
            Client {
                net,
                directory: Directory {
                    new_nonce: url("nonce"),
                    new_account: url("account"),
                    new_order: url("order"),
                    terms: None,
                },
                key: Key::generate().unwrap(),
                account: Some(url("account/1")),
                nonce: None,
            }
        }
    }

    #[test]
    fn an_order_is_over_when_it_is_refused_but_not_for_the_rate_or_a_fault() {
        let over = |status: u16, kind: &str| {
            let response = Response {
                status,
                fields: Vec::new(),
                body: Vec::new(),
            };
            let problem = Problem {
                kind: kind.into(),
                detail: String::new(),
            };
            refused(&response, Some(problem)).over
        };
        assert!(over(404, "other") && over(403, "unauthorized") && over(400, "malformed"));
        assert!(!over(500, "serverInternal") && !over(503, "other"));
        assert!(!over(429, "other") && !over(400, "badNonce") && !over(403, "rateLimited"));
    }
}
