//! One question to one server: UDP, and TCP where the answer doesn't fit (RFC 7766).

use super::message::{self, Incoming, Question, Reading};
use async_io::{Async, Timer};
use futures_lite::future;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use ring::rand::{SecureRandom, SystemRandom};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Datagrams that are no answer to our question, before we stop listening: somebody guesses.
const MAX_STRANGE: usize = 32;

/// Asks; errors are short sentences.
pub async fn ask(
    server: SocketAddr,
    question: &Question,
    timeout: Duration,
) -> Result<Reading, String> {
    match asked(server, question, timeout, true).await {
        // Servers from before EDNS(0) say that (RFC 6891, 7).
        Ok(Incoming::Refused(code)) if code.is_format_error() => {
            usable(asked(server, question, timeout, false).await)
        }
        incoming => usable(incoming),
    }
}

fn usable(incoming: io::Result<Incoming>) -> Result<Reading, String> {
    match incoming {
        Ok(Incoming::Reading(reading)) => Ok(reading),
        Ok(Incoming::Refused(code)) => Err(format!("it answers {code}")),
        Ok(Incoming::Truncated) => Err("its answer is cut short".into()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err("no answer in time".into()),
        Err(error) => Err(error.to_string()),
    }
}

async fn asked(
    server: SocketAddr,
    question: &Question,
    timeout: Duration,
    edns: bool,
) -> io::Result<Incoming> {
    match within(timeout, by_udp(server, question, edns)).await? {
        Incoming::Truncated => within(timeout, by_tcp(server, question, edns)).await,
        incoming => Ok(incoming),
    }
}

/// From a port of its own each time, which the system picks at random; with the id that makes
/// some 30 bits for a forger to guess (RFC 5452, 9.2).
async fn by_udp(server: SocketAddr, question: &Question, edns: bool) -> io::Result<Incoming> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = Async::<UdpSocket>::bind(any)?;
    // Connected, it hears that server alone.
    socket.get_ref().connect(server)?;
    let id = random_id()?;
    socket.send(&question.write(id, edns)?).await?;
    let mut buffer = [0; message::MAX_DATAGRAM];
    for _ in 0..MAX_STRANGE {
        let length = socket.recv(&mut buffer).await?;
        let datagram = buffer.get(..length).unwrap_or_default();
        if let Some(incoming) = message::read(datagram, question, id) {
            return Ok(incoming);
        }
    }
    Err(io::Error::other("it answers what was not asked"))
}

async fn by_tcp(server: SocketAddr, question: &Question, edns: bool) -> io::Result<Incoming> {
    let mut stream = Async::<TcpStream>::connect(server).await?;
    let id = random_id()?;
    let query = question.write(id, edns)?;
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&query);
    stream.write_all(&framed).await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).await?;
    message::read(&answer, question, id)
        .ok_or_else(|| io::Error::other("it answers what was not asked"))
}

fn random_id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(u16::from_be_bytes(bytes))
}

async fn within<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(timeout).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    future::or(work, late).await
}
