//! Copies bytes between a client and a server in both directions at once, with a bounded
//! buffer for each: who does not read holds up its own direction alone.

use super::stream::Stream;
use crate::wire::Input;
use async_io::Timer;
use futures_lite::future;
use std::io;
use std::time::{Duration, Instant};

/// Bytes on their way in one direction; what one more receive gives may be on top.
pub const BUFFER: usize = 64 << 10;
/// How long the server may go on once the client has ended.
const HALF_CLOSED: Duration = Duration::from_secs(10);
/// How much of the server's last words is kept, bytes.
const TAIL: usize = 512;

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client ended, broke off, or did not read.
    Client,
    /// The server did.
    Server,
    /// Nobody said anything for too long.
    Idle,
}

#[derive(Debug)]
pub struct Ended {
    pub by: End,
    /// The last of what the server said.
    pub tail: Vec<u8>,
}

/// One direction.
struct Flow {
    input: Input,
    /// There is no more to come.
    ended: bool,
    /// Since when its receiver takes nothing.
    stalled: Option<Instant>,
}

impl Flow {
    fn new(input: Input) -> Flow {
        Flow {
            input,
            ended: false,
            stalled: None,
        }
    }

    fn wants_more(&self) -> bool {
        !self.ended && self.input.len() < BUFFER
    }

    /// Takes what has come; how many bytes, `None` at the end and after an error.
    fn pull(&mut self, from: &mut Stream) -> Option<usize> {
        if !self.wants_more() {
            return Some(0);
        }
        match from.take_now(&mut self.input) {
            Ok(Some(0)) | Err(_) => {
                self.ended = true;
                None
            }
            Ok(received) => Some(received.unwrap_or(0)),
        }
    }

    /// Gives what the receiver takes; whether it took any.
    fn push(&mut self, to: &mut Stream) -> io::Result<bool> {
        let moved = to.give_now(&mut self.input)?;
        let pending = to.has_unsent() || !self.input.is_empty();
        match (pending, moved) {
            (true, false) => {
                self.stalled.get_or_insert_with(Instant::now);
            }
            (true, true) => self.stalled = Some(Instant::now()),
            (false, _) => self.stalled = None,
        }
        Ok(moved)
    }

    fn is_over(&self, to: &Stream) -> bool {
        self.ended && self.input.is_empty() && !to.has_unsent()
    }
}

/// Copies until one side ends, or nothing moves for `idle`. `sent` and `said` are what has
/// come already, of the client and of the server. Closes neither.
pub async fn relay(
    client: &mut Stream,
    server: &mut Stream,
    sent: Input,
    said: Input,
    idle: Duration,
) -> Ended {
    let (mut up, mut down) = (Flow::new(sent), Flow::new(said));
    let mut tail = Vec::new();
    let mut last = Instant::now();
    let mut closing: Option<Instant> = None;
    let mut gone = false;
    let by = loop {
        let came = up.pull(client).unwrap_or(0);
        let said = down.pull(server).unwrap_or(0);
        keep_tail(&mut tail, &down.input, said);
        let Ok(taken) = down.push(client) else {
            break End::Client;
        };
        let given = !gone
            && up.push(server).unwrap_or_else(|_| {
                gone = true;
                false
            });
        if gone && !up.ended {
            // It takes no more, but may have said why before it went.
            up = Flow::new(Input::new());
            up.ended = true;
            closing = Some(Instant::now() + HALF_CLOSED);
        }
        if down.is_over(client) {
            break if up.ended && !gone {
                End::Client
            } else {
                End::Server
            };
        }
        if closing.is_none() && up.is_over(server) {
            // The server has all that the client sent; it may still answer.
            if server.finish().is_err() {
                break End::Client;
            }
            closing = Some(Instant::now() + HALF_CLOSED);
        }
        let now = Instant::now();
        if came + said > 0 || taken || given {
            last = now;
            future::yield_now().await;
            continue;
        }
        let client_late = down.stalled.map(|it| it + client.write_timeout());
        let server_late = up.stalled.map(|it| it + server.write_timeout());
        let deadlines = [
            (Some(last + idle), End::Idle),
            (closing, if gone { End::Server } else { End::Client }),
            (client_late, End::Client),
            (server_late, End::Server),
        ];
        let deadlines = deadlines
            .iter()
            .filter_map(|(at, end)| Some(((*at)?, *end)));
        let Some((deadline, end)) = deadlines.min_by_key(|(at, _)| *at) else {
            break End::Idle;
        };
        if deadline <= now {
            break end;
        }
        let waits = down.stalled.is_none() && up.stalled.is_none();
        wait(client, server, &up, &down, deadline, waits).await;
    };
    Ended { by, tail }
}

/// Until something can move, or the deadline. `waits`: the client has been told everything.
async fn wait(
    client: &Stream,
    server: &Stream,
    up: &Flow,
    down: &Flow,
    deadline: Instant,
    waits: bool,
) {
    let one = client.ready(up.wants_more(), down.stalled.is_some());
    let other = server.ready(down.wants_more(), up.stalled.is_some());
    let late = async {
        Timer::at(deadline).await;
    };
    if waits {
        client.is_waiting();
    }
    future::or(future::or(one, other), late).await;
    client.at_work();
}

fn keep_tail(tail: &mut Vec<u8>, input: &Input, said: usize) {
    let bytes = input.bytes();
    let from = bytes.len().saturating_sub(said.min(TAIL));
    tail.extend_from_slice(bytes.get(from..).unwrap_or_default());
    let over = tail.len().saturating_sub(TAIL);
    tail.drain(..over);
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
