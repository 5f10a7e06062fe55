//! One connection of the test, as a mail program has it: lines there and back, each in time.

use crate::net::connect::{connect, start_tls};
use crate::net::stream::Stream;
use crate::wire::{Input, Line};
use rustls::ClientConfig;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long each answer may take: longer than any tarpit.
const TIMEOUT: Duration = Duration::from_secs(40);
/// Longest line, bytes.
const MAX_LINE: usize = 64 << 10;
/// Most lines of one answer.
const MAX_LINES: usize = 10_000;

/// What went wrong, in a sentence.
pub type Wrong = String;

pub struct Connection {
    stream: Stream,
    input: Input,
}

impl Connection {
    /// With TLS at once where there is a name to hold the certificate to.
    pub async fn open(
        address: IpAddr,
        port: u16,
        tls: Option<(&str, Arc<ClientConfig>)>,
    ) -> Result<Connection, Wrong> {
        let stream = connect(&[address], port).await;
        let mut connection = Connection {
            stream: stream.map_err(|error| format!("no connection: {error}"))?,
            input: Input::new(),
        };
        if let Some((name, trust)) = tls {
            connection.start_tls(name, trust).await?;
        }
        Ok(connection)
    }

    pub async fn start_tls(&mut self, name: &str, trust: Arc<ClientConfig>) -> Result<(), Wrong> {
        let started = start_tls(&mut self.stream, name, trust).await;
        started.map_err(|error| format!("no TLS: {error}"))
    }

    pub async fn say(&mut self, text: &str) -> Result<(), Wrong> {
        let sent = self.stream.send(format!("{text}\r\n").as_bytes()).await;
        sent.map_err(|error| format!("the connection broke: {error}"))
    }

    pub async fn line(&mut self) -> Result<String, Wrong> {
        loop {
            match self.input.line(MAX_LINE, true) {
                Line::Complete { length, end } => {
                    let line = self.input.bytes().get(..length).unwrap_or_default();
                    let line = String::from_utf8_lossy(line).into_owned();
                    self.input.consume(end);
                    return Ok(line);
                }
                Line::TooLong => return Err("it sends a line without end".into()),
                Line::Partial => {}
            }
            match self.stream.receive(&mut self.input, TIMEOUT).await {
                Ok(0) => return Err("it closed the connection".into()),
                Ok(_) => {}
                Err(error) => return Err(format!("no answer: {error}")),
            }
        }
    }

    /// The lines up to one for which `last` holds, with that one.
    pub async fn lines(&mut self, last: impl Fn(&str) -> bool) -> Result<Vec<String>, Wrong> {
        let mut lines = Vec::new();
        while lines.len() < MAX_LINES {
            let line = self.line().await?;
            let over = last(&line);
            lines.push(line);
            if over {
                return Ok(lines);
            }
        }
        Err("it sends lines without end".into())
    }
}
