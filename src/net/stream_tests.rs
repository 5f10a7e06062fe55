use super::*;
use crate::net::authority::Authority;
use futures_lite::future::block_on;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

const SECOND: Duration = Duration::from_secs(1);

fn blocking(client: Async<UnixStream>) -> UnixStream {
    let client = client.into_inner().unwrap();
    client.set_nonblocking(false).unwrap();
    client
}

fn authority() -> (tempfile::TempDir, Tls, Arc<ClientConfig>) {
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::local(dir.path(), "mail.example.org").unwrap();
    let config = client_config(dir.path(), rustls::DEFAULT_VERSIONS);
    (dir, tls, config)
}

fn client_config(
    dir: &std::path::Path,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(Authority::new(dir).ca_path()).unwrap();
    roots.add(ca).unwrap();
    let config = ClientConfig::builder_with_provider(crate::net::tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn tls_client(
    socket: UnixStream,
    config: Arc<ClientConfig>,
    name: &'static str,
) -> StreamOwned<ClientConnection, UnixStream> {
    let name = ServerName::try_from(name).unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), socket)
}

#[test]
fn plain_bytes_cross_both_ways() {
    block_on(async {
        let (mut stream, client) = Stream::pair().unwrap();
        let client = thread::spawn(move || {
            let mut client = blocking(client);
            client.write_all(b"hello").unwrap();
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all
        });
        let mut input = Input::new();
        assert_eq!(stream.receive(&mut input, SECOND).await.unwrap(), 5);
        assert_eq!(input.bytes(), b"hello");
        let big: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        stream.send(&big).await.unwrap();
        stream.close().await;
        assert_eq!(client.join().unwrap(), big);
        assert_eq!(stream.peer(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    });
}

#[test]
fn waits_end_at_their_deadlines() {
    block_on(async {
        let (mut stream, _client) = Stream::pair().unwrap();
        let mut input = Input::new();
        let wait = Duration::from_millis(30);
        let start = Instant::now();
        let error = stream.receive(&mut input, wait).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= wait);
        // A client that does not read.
        stream.deadlines.write = wait;
        let error = stream.send(&vec![0; 8 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < SECOND * 5);
    });
}

#[test]
fn a_silent_client_does_not_hold_a_handshake() {
    block_on(async {
        let (_dir, tls, _) = authority();
        let (mut stream, _client) = Stream::pair().unwrap();
        stream.deadlines.handshake = Duration::from_millis(30);
        let error = stream.start_tls(&tls).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn tls_crosses_both_ways() {
    let (_dir, tls, config) = authority();
    for name in [
        "mail.example.org",
        "localhost",
        "127.0.0.1",
        "::1",
        "localhost",
    ] {
        let (mut stream, client) = Stream::pair().unwrap();
        let config = config.clone();
        let client = thread::spawn(move || {
            let mut client = tls_client(blocking(client), config, name);
            // With the end of the handshake comes data already.
            client.write_all(b"early").unwrap();
            let mut greeting = [0; 5];
            client.read_exact(&mut greeting).unwrap();
            assert_eq!(&greeting, b"hello");
            client.write_all(&vec![b'x'; 200_000]).unwrap();
            let mut big = vec![0; 1_000_000];
            client.read_exact(&mut big).unwrap();
            assert!(big.iter().enumerate().all(|(n, &byte)| byte == n as u8));
            client.conn.send_close_notify();
            client.flush().unwrap();
            // close_notify from the server: a clean end, not a cut.
            assert_eq!(client.read(&mut big).unwrap(), 0);
            client.conn.handshake_kind()
        });
        block_on(async {
            stream.start_tls(&tls).await.unwrap();
            assert!(stream.is_tls());
            stream.send(b"hello").await.unwrap();
            let mut input = Input::new();
            while input.bytes().len() < 200_005 {
                let n = stream.receive(&mut input, SECOND).await.unwrap();
                assert!((1..=MAX_RECEIVE).contains(&n));
            }
            assert_eq!(&input.bytes()[..6], b"earlyx");
            let big: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
            stream.send(&big).await.unwrap();
            assert_eq!(stream.receive(&mut input, SECOND).await.unwrap(), 0);
            assert_eq!(stream.receive(&mut input, SECOND).await.unwrap(), 0);
            // Nothing is held while the connection is quiet.
            assert_eq!(stream.unsent.capacity(), 0);
            stream.close().await;
        });
        client.join().unwrap();
    }
}

#[test]
fn a_second_connection_resumes_the_session() {
    let (_dir, tls, config) = authority();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (mut stream, client) = Stream::pair().unwrap();
        let config = config.clone();
        let client = thread::spawn(move || {
            let mut client = tls_client(blocking(client), config, "localhost");
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            assert_eq!(all, b"* OK\r\n");
            client.conn.handshake_kind()
        });
        block_on(async {
            stream.start_tls(&tls).await.unwrap();
            stream.send(b"* OK\r\n").await.unwrap();
            stream.close().await;
        });
        kinds.push(client.join().unwrap());
    }
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(kinds, [Some(Full), Some(Resumed)]);
}

#[test]
fn tls_1_2_finishes_before_the_client_speaks() {
    let (dir, tls, _) = authority();
    let old = client_config(dir.path(), &[&rustls::version::TLS12]);
    let (mut stream, client) = Stream::pair().unwrap();
    let client = thread::spawn(move || {
        let mut client = tls_client(blocking(client), old, "localhost");
        client.write_all(b"EHLO x\r\n").unwrap();
        let mut reply = [0; 3];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"250");
    });
    block_on(async {
        stream.start_tls(&tls).await.unwrap();
        let mut input = Input::new();
        stream.receive(&mut input, SECOND).await.unwrap();
        assert_eq!(input.bytes(), b"EHLO x\r\n");
        stream.send(b"250").await.unwrap();
        stream.close().await;
    });
    client.join().unwrap();
}

#[test]
fn garbage_instead_of_a_handshake_is_answered_with_an_alert() {
    block_on(async {
        let (_dir, tls, _) = authority();
        let (mut stream, client) = Stream::pair().unwrap();
        let mut client = blocking(client);
        client.write_all(b"EHLO there is no TLS here\r\n").unwrap();
        let error = stream.start_tls(&tls).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(stream);
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        // ContentType alert (RFC 8446, 5.1).
        assert_eq!(all.first(), Some(&21));
    });
}

/// A ClientHello (RFC 8446, 4.1.2) of 240 bytes, of which ten have come.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x00\x0a\x01\x00\x00\xf0\x03\x03\x01\x02\x03\x04";

#[test]
fn half_a_handshake_message_is_an_error_and_no_panic() {
    // Then something that is none; or one longer than any.
    for rest in [
        &b"EHLO x.test\r\n"[..],
        b"\x16\x03\x01\x00\x00",
        b"\x15\x03\x01\x00\x01\xff",
    ] {
        for start in [HALF_A_HELLO, b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff"] {
            block_on(async {
                let (_dir, tls, _) = authority();
                let (mut stream, client) = Stream::pair().unwrap();
                let mut client = blocking(client);
                client.write_all(start).unwrap();
                client.write_all(rest).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                assert!(stream.start_tls(&tls).await.is_err());
                stream.close().await;
            });
        }
    }
}

/// xorshift64: the same cases each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    /// Leaves most flights as they are, so that some handshakes come to their end.
    fn damage(&mut self, flight: &mut Vec<u8>) {
        let at = self.below(flight.len());
        match self.below(24) {
            0 => flight.truncate(at),
            1 => flight
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|b| *b ^= 1 << (at % 8)),
            2 => drop(flight.splice(at..at, *b"\x16\x03\x03\x00\x04\x01\x00\x01\x00")),
            3 => flight.extend_from_slice(b"\x17\x03\x03\x00\x01x"),
            4 => flight.extend_from_slice(b"\x14\x03\x03\x00\x01\x01"),
            _ => {}
        }
    }
}

/// Gives the server a flight in slices; false once it has failed.
fn deliver(server: &mut Records, flight: &[u8], random: &mut Random, out: &mut Vec<u8>) -> bool {
    let (mut wire, mut input) = (vec![0; MAX_WIRE], Input::new());
    let mut rest = flight;
    while !rest.is_empty() {
        let Ok(kept) = server.restore(&mut wire) else {
            return false;
        };
        let n = (1 + random.below(400)).min(rest.len()).min(MAX_WIRE - kept);
        let (slice, more) = rest.split_at(n);
        wire[kept..kept + n].copy_from_slice(slice);
        rest = more;
        let received = server.receive(&mut wire[..kept + n], &mut input, out);
        if received.is_err() {
            return false;
        }
    }
    true
}

#[test]
fn whatever_comes_is_no_panic() {
    let (dir, tls, _) = authority();
    let (mut done, mut failed) = (0, 0);
    for case in 1..1000u64 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ case);
        let version = [&rustls::version::TLS12, &rustls::version::TLS13][random.below(2)];
        let config = client_config(dir.path(), &[version]);
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(config, name).unwrap();
        let mut server = Records::server(tls.config()).unwrap();
        let mut room = vec![0; MAX_SEALED];
        let mut alive = true;
        for _ in 0..5 {
            let (mut flight, mut out) = (Vec::new(), Vec::new());
            if !client.is_handshaking() {
                let _ = client.writer().write(b"NOOP\r\n");
                client.refresh_traffic_keys().ok();
            }
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            random.damage(&mut flight);
            alive &= deliver(&mut server, &flight, &mut random, &mut out);
            if let Ok(n) = server.encrypt(b"+OK\r\n", &mut room) {
                out.extend_from_slice(&room[..n]);
            }
            let _ = client.read_tls(&mut out.as_slice());
            let _ = client.process_new_packets();
        }
        done += usize::from(alive && !server.is_handshaking());
        failed += usize::from(!alive);
        server.close_notify(&mut Vec::new());
        let sealed = server.encrypt(b"x", &mut room);
        assert!(alive || sealed.is_err());
    }
    assert!(done > 100 && failed > 100, "{done} {failed}");
}

#[test]
fn shutdown_amid_a_handshake_message_is_no_panic() {
    use crate::net::limit::{Gate, Limits};
    let gate = Gate::new(Limits::default());
    let pass = gate.admit(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let (_dir, tls, _) = authority();
    let (stream, client) = Stream::pair().unwrap();
    let mut client = blocking(client);
    let mut stream = stream.admitted(7, pass, "* BYE going down\r\n");
    client.write_all(HALF_A_HELLO).unwrap();
    block_on(async {
        let cut = Timer::after(Duration::from_millis(50));
        let begun = async { stream.start_tls(&tls).await.is_ok() };
        let cut = async { cut.await.elapsed() > SECOND };
        assert!(!future::or(begun, cut).await);
    });
    drop(stream);
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"");
}

#[test]
fn a_client_at_work_is_not_ended_with_those_that_wait() {
    use crate::net::limit::{Gate, Limits};
    let gate = Gate::new(Limits::default());
    let pass = gate.admit(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let presence = pass.presence().clone();
    let waits = || presence.waiting.load(std::sync::atomic::Ordering::Acquire);
    let (stream, _client) = Stream::pair().unwrap();
    let mut stream = stream.admitted(7, pass, "");
    let mut input = Input::new();
    let look = future::poll_once(stream.receive(&mut input, SECOND));
    assert!(block_on(look).is_none() && waits());
    stream.at_work();
    assert!(!waits());
}

#[test]
fn a_waiting_client_hears_the_goodbye() {
    use crate::net::limit::{Gate, Limits};
    let gate = Gate::new(Limits::default());
    let pass = gate.admit(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let (stream, client) = Stream::pair().unwrap();
    let mut stream = stream.admitted(7, pass, "* BYE going down\r\n");
    let cut = block_on(async {
        let mut input = Input::new();
        let receive = async { stream.receive(&mut input, SECOND * 10).await.is_ok() };
        let cut = async {
            Timer::after(Duration::from_millis(30)).await;
            false
        };
        future::or(receive, cut).await
    });
    assert!(!cut);
    assert_eq!(gate.open(), 1);
    drop(stream);
    assert_eq!(gate.open(), 0);
    let mut all = String::new();
    blocking(client).read_to_string(&mut all).unwrap();
    assert_eq!(all, "* BYE going down\r\n");
}

#[test]
fn both_ends_have_the_same_binding_under_tls_1_3() {
    for (version, bound) in [
        (&rustls::version::TLS13, true),
        (&rustls::version::TLS12, false),
    ] {
        block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let tls = Tls::local(dir.path(), "mail.example.org").unwrap();
            let config = client_config(dir.path(), &[version]);
            let (mut stream, client) = Stream::pair().unwrap();
            let client = thread::spawn(move || {
                let mut client = tls_client(blocking(client), config, "mail.example.org");
                client.write_all(b"hello").unwrap();
                let label = b"EXPORTER-Channel-Binding";
                let exported = client
                    .conn
                    .export_keying_material([0; 32], label, Some(b""));
                (exported.unwrap(), client)
            });
            stream.start_tls(&tls).await.unwrap();
            // Under TLS 1.2 the server's last words ride with the wait.
            let received = stream.receive(&mut Input::new(), SECOND).await;
            assert_eq!(received.unwrap(), 5);
            let (exported, _client) = client.join().unwrap();
            assert_eq!(stream.binding(), bound.then_some(exported));
        });
    }
}
