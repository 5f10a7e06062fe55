//! An update file from an https URL, into a file.

use crate::acme::http;
use crate::net::connect::{self, Authorities};
use crate::net::dns::Resolver;
use crate::net::stream::Stream;
use crate::wire::Input;
use async_io::Timer;
use futures_lite::FutureExt;
use std::io::{self, Write};
use std::time::Duration;

/// For one look at what came next.
const PATIENCE: Duration = Duration::from_secs(60);
/// For one file.
const TIMEOUT: Duration = Duration::from_secs(3600);
const MAX_REDIRECTS: usize = 5;
/// Pieces in which a head may come.
const MAX_READS: usize = 1024;

/// How servers are reached.
pub struct Net {
    pub resolver: Resolver,
    pub authorities: Authorities,
}

impl Net {
    /// Writes what is at `url` to `out`: at most `limit` bytes, and first asks `fits` about their
    /// number. Errors are sentences that name the URL.
    pub async fn fetch(
        &self,
        url: &str,
        limit: u64,
        fits: &dyn Fn(u64) -> io::Result<()>,
        out: &mut dyn Write,
    ) -> Result<(), String> {
        let late = async {
            Timer::after(TIMEOUT).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let done = self.follow(url, limit, fits, out).or(late).await;
        done.map_err(|error| format!("{url}: {}", connect::plain(&error)))
    }

    async fn follow(
        &self,
        url: &str,
        limit: u64,
        fits: &dyn Fn(u64) -> io::Result<()>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut url = url.to_string();
        for _ in 0..=MAX_REDIRECTS {
            let (mut stream, mut input) = (self.ask(&url).await?, Input::new());
            let head = read_head(&mut stream, &mut input).await?;
            match (head.status, head.field("location")) {
                (200, _) => {
                    let length = head.field("content-length").and_then(|it| it.parse().ok());
                    let length = length.ok_or_else(|| io::Error::other("it gives no length"))?;
                    if length > limit {
                        return Err(io::Error::other(format!(
                            "it has {length} bytes, {limit} at most are taken"
                        )));
                    }
                    fits(length)?;
                    return read_body(&mut stream, &mut input, length, out).await;
                }
                (301 | 302 | 303 | 307 | 308, Some(to)) => url = target(&url, to)?,
                (status, _) => {
                    return Err(io::Error::other(format!("it answers with status {status}")));
                }
            }
        }
        Err(io::Error::other("it leads from one place to the next"))
    }

    async fn ask(&self, url: &str) -> io::Result<Stream> {
        let (host, port, path) =
            http::url(url).ok_or_else(|| io::Error::other("that is no https URL"))?;
        let mut stream = connect::https(&self.resolver, &self.authorities, &host, port).await?;
        // Of that version a response comes in one piece (RFC 9112, 6.1).
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {}\r\nUser-Agent: pillarbox/{}\r\nAccept: */*\r\n\r\n",
            http::authority(&host, port),
            env!("CARGO_PKG_VERSION")
        );
        stream.send(request.as_bytes()).await?;
        Ok(stream)
    }
}

async fn read_head(stream: &mut Stream, input: &mut Input) -> io::Result<http::Response> {
    for _ in 0..MAX_READS {
        let ended = stream.receive(input, PATIENCE).await? == 0;
        match http::head(input.bytes()) {
            Some(Some((head, length))) => {
                input.consume(length);
                return Ok(head);
            }
            Some(None) if !ended => {}
            _ => break,
        }
    }
    Err(io::Error::other("it does not speak HTTP as it should"))
}

async fn read_body(
    stream: &mut Stream,
    input: &mut Input,
    length: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut left = length;
    loop {
        let bytes = input.bytes();
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        out.write_all(bytes.get(..count).unwrap_or_default())?;
        input.clear();
        left -= count as u64;
        if left == 0 {
            return Ok(());
        }
        if stream.receive(input, PATIENCE).await? == 0 {
            return Err(io::Error::other("it ends before its end"));
        }
    }
}

/// Where a redirection leads (RFC 9110, 10.2.2): to another https URL, or on the same server.
fn target(url: &str, to: &str) -> io::Result<String> {
    let (host, port, _) = http::url(url).ok_or(io::ErrorKind::InvalidInput)?;
    let target = match to.starts_with('/') && !to.starts_with("//") {
        true => format!("https://{}{to}", http::authority(&host, port)),
        false => to.to_string(),
    };
    match http::url(&target) {
        Some(_) => Ok(target),
        None => Err(io::Error::other("it leads to a place that is no https URL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_stay_with_https() {
        let follow = |to: &str| target("https://a.test:8443/x/y", to).ok();
        assert_eq!(follow("/z?q").as_deref(), Some("https://a.test:8443/z?q"));
        assert_eq!(
            follow("https://b.test/z").as_deref(),
            Some("https://b.test/z")
        );
        for to in [
            "http://b.test/z",
            "//b.test/z",
            "z",
            "",
            "file:///etc/passwd",
        ] {
            assert_eq!(follow(to), None, "{to}");
        }
    }
}
