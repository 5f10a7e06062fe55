//! How we show that a name is ours: a file on port 80 (HTTP-01: RFC 8555, 8.3), a certificate
//! on port 443 (TLS-ALPN-01: RFC 8737), a record in the DNS (DNS-01: RFC 8555, 8.4). The ports
//! are open only as long as an order needs them.

use super::http::{self, Asked};
use super::jose::dns_value;
use crate::net::limit::{Gate, Limits};
use crate::net::listen;
use crate::net::passed::Listener;
use crate::net::stream::{Deadlines, Stream};
use crate::net::tls::provider;
use crate::task;
use crate::wire::Input;
use async_io::Timer;
use futures_lite::FutureExt;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use smol::Task;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Connections served at once; an authority makes a handful, from several places.
const MAX_CONNECTIONS: usize = 64;
/// The same from one source: one host must not take all places. Behind a router that hides
/// where connections come from, the authority is one source too.
const MAX_OF_SOURCE: usize = 8;
/// For one connection, from its beginning to its end.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait when there is no file or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// The protocol by which the authority asks (RFC 8737, 4).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// What one name is shown by.
#[derive(Clone, Debug)]
pub struct Answer {
    pub name: String,
    pub token: String,
    /// Token and thumbprint.
    pub authorization: String,
}

impl Answer {
    /// Name and value of the TXT record for DNS-01.
    pub fn record(&self) -> (String, String) {
        let name = format!("_acme-challenge.{}", self.name);
        (name, dns_value(&self.authorization))
    }
}

/// Answers as long as it lives.
pub struct Open {
    _tasks: Vec<Task<()>>,
}

/// Where it is listened.
pub struct Places<'a> {
    pub addresses: &'a [IpAddr],
    pub port_base: u16,
}

/// Answers HTTP-01 on port 80. The error is a sentence.
pub fn http(places: &Places<'_>, answers: Vec<Answer>) -> Result<Open, String> {
    let answers = Arc::new(answers);
    open(places, 80, move |stream| {
        let answers = answers.clone();
        Box::pin(async move { answer_http(stream, &answers).await })
    })
}

/// Answers TLS-ALPN-01 on port 443. The error is a sentence.
pub fn tls_alpn(places: &Places<'_>, answers: Vec<Answer>) -> Result<Open, String> {
    let config = alpn_config(&answers)?;
    open(places, 443, move |mut stream| {
        let config = config.clone();
        Box::pin(async move {
            // The handshake is the answer (RFC 8737, 3).
            if stream.start_server_tls(config).await.is_ok() {
                stream.close().await;
            }
        })
    })
}

type Driving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn open(
    places: &Places<'_>,
    port: u16,
    drive: impl Fn(Stream) -> Driving + Send + Sync + 'static,
) -> Result<Open, String> {
    let port = port.checked_add(places.port_base);
    let port = port.ok_or("server.port-base is too high for the challenge's port")?;
    let drive: Arc<dyn Fn(Stream) -> Driving + Send + Sync> = Arc::new(drive);
    let gate = Gate::new(Limits {
        total: MAX_CONNECTIONS,
        unauthenticated: MAX_CONNECTIONS,
        per_source: MAX_OF_SOURCE,
    });
    let mut tasks = Vec::new();
    for address in places.addresses {
        let address = SocketAddr::new(*address, port);
        let socket = listen::bind(address).map_err(|error| {
            format!(
                "can't listen on {address} to answer the challenge: {error}; free that port, or \
                 choose another acme.challenge"
            )
        })?;
        tasks.push(task::spawn(accept(socket, gate.clone(), drive.clone())));
    }
    Ok(Open { _tasks: tasks })
}

async fn accept(
    socket: Listener,
    gate: Arc<Gate>,
    drive: Arc<dyn Fn(Stream) -> Driving + Send + Sync>,
) {
    let deadlines = Deadlines {
        handshake: TIMEOUT,
        write: TIMEOUT,
    };
    loop {
        match socket.accept().await {
            Ok((connection, peer)) => {
                let peer = peer.ip().to_canonical();
                // Who is too many is closed at once, so that others need not wait for it.
                let Ok(place) = gate.admit(peer) else {
                    continue;
                };
                log::debug!("acme: asked by {peer}");
                let driving = drive(Stream::tcp(connection, peer, deadlines));
                let late = async {
                    Timer::after(TIMEOUT).await;
                };
                task::spawn(async move {
                    driving.or(late).await;
                    drop(place);
                })
                .detach();
            }
            Err(error) => {
                log::warn!("acme: can't accept: {error}");
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer_http(mut stream: Stream, answers: &[Answer]) {
    let mut input = Input::new();
    let (asked, head) = loop {
        match http::request(input.bytes()) {
            Asked::Partial => match stream.receive(&mut input, TIMEOUT).await {
                Ok(1..) => {}
                _ => return,
            },
            Asked::Token { token, head } => break (Some(token), head),
            Asked::Other => break (Some(String::new()), false),
            Asked::Bad => break (None, false),
        }
    };
    let found = answers.iter().find(|it| Some(&it.token) == asked.as_ref());
    let (status, body) = match (&asked, found) {
        (None, _) => ("400 Bad Request", ""),
        (_, Some(answer)) => ("200 OK", answer.authorization.as_str()),
        _ => ("404 Not Found", ""),
    };
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{}",
        body.len(),
        if head { "" } else { body }
    );
    if stream.send(response.as_bytes()).await.is_ok() {
        stream.close().await;
    }
}

/// A certificate for each name, shown to who asks by that protocol alone.
#[derive(Debug)]
struct Certificates(Vec<(String, Arc<CertifiedKey>)>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if !hello.alpn()?.any(|it| it == ACME_TLS) {
            return None;
        }
        let name = hello.server_name()?;
        let mut all = self.0.iter();
        let found = all.find(|it| it.0.eq_ignore_ascii_case(name));
        found.map(|it| it.1.clone())
    }
}

fn alpn_config(answers: &[Answer]) -> Result<Arc<ServerConfig>, String> {
    let certificates: Result<Vec<_>, String> = answers.iter().map(alpn_certificate).collect();
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = builder
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates(certificates?)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    Ok(Arc::new(config))
}

/// RFC 8737, 3: self-signed, with the digest of the key authorization.
fn alpn_certificate(answer: &Answer) -> Result<(String, Arc<CertifiedKey>), String> {
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![answer.name.clone()])?;
        let hash = digest(&SHA256, answer.authorization.as_bytes());
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(hash.as_ref())];
        let certificate = params.self_signed(&key)?;
        Ok((certificate.der().clone(), key.serialize_der()))
    };
    let (certificate, key) = made().map_err(|error: rcgen::Error| {
        format!("can't make the challenge's certificate: {error}")
    })?;
    let key = PrivateKeyDer::try_from(key).map_err(str::to_owned)?;
    let key = provider().key_provider.load_private_key(key);
    let key = key.map_err(|error| error.to_string())?;
    // Unchecked: rustls knows no critical extension but its own.
    let certified = CertifiedKey::new(vec![certificate], key);
    Ok((answer.name.clone(), Arc::new(certified)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_below_the_name() {
        let answer = Answer {
            name: "mail.a.test".into(),
            token: "t".into(),
            authorization: "t.x".into(),
        };
        let (name, value) = answer.record();
        assert_eq!(name, "_acme-challenge.mail.a.test");
        assert_eq!(value.len(), 43);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let places = Places {
            addresses: &["127.0.0.1".parse().unwrap()],
            port_base: port - 80,
        };
        let error = http(&places, Vec::new()).err().unwrap();
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
        let high = Places {
            port_base: 65_500,
            ..places
        };
        assert!(http(&high, Vec::new()).is_err());
    }

    #[test]
    fn who_is_too_many_is_closed_at_once_and_places_come_back() {
        use async_io::Async;
        use futures_lite::{AsyncReadExt, AsyncWriteExt};
        use std::net::TcpStream;
        use std::task::Poll;
        let answer = Answer {
            name: "mail.a.test".into(),
            token: "t".into(),
            authorization: "t.x".into(),
        };
        let (_open, port) = loop {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let places = Places {
                addresses: &["127.0.0.1".parse().unwrap()],
                port_base: port - 80,
            };
            // Somebody else may have taken it meanwhile.
            if let Ok(open) = http(&places, vec![answer.clone()]) {
                break (open, port);
            }
        };
        let ask = async || {
            let mut one = Async::<TcpStream>::connect(([127, 0, 0, 1], port)).await?;
            let request = "GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: a.test\r\n\r\n";
            one.write_all(request.as_bytes()).await?;
            let mut said = String::new();
            one.read_to_string(&mut said).await?;
            Ok::<String, std::io::Error>(said)
        };
        smol::block_on(async {
            assert!(ask().await.unwrap().ends_with("\r\n\r\nt.x"));
            // Who says nothing keeps a place, until its time is over; so one more than there are
            // places is closed long before that. A machine that stands still gets more tries.
            let mut turned_away = false;
            for _ in 0..5 {
                let began = std::time::Instant::now();
                let mut silent = Vec::new();
                for _ in 0..=MAX_OF_SOURCE {
                    let one = Async::<TcpStream>::connect(([127, 0, 0, 1], port)).await;
                    silent.push(one.unwrap());
                }
                let closed = silent.iter_mut().map(|it| Box::pin(it.readable()));
                let mut closed: Vec<_> = closed.collect();
                let first = futures_lite::future::poll_fn(|context| {
                    let done = closed
                        .iter_mut()
                        .any(|it| it.as_mut().poll(context).is_ready());
                    if done { Poll::Ready(()) } else { Poll::Pending }
                });
                first.await;
                if began.elapsed() < TIMEOUT / 2 {
                    turned_away = true;
                    break;
                }
            }
            assert!(turned_away, "{MAX_OF_SOURCE} places are not the limit");
            // Who was silent is gone, and leaves the place to others.
            while !ask().await.is_ok_and(|it| it.ends_with("t.x")) {
                Timer::after(Duration::from_millis(10)).await;
            }
        });
    }
}
