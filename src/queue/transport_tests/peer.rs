//! A server that does at each command what its test wants.

use super::{DRIP, HOUR, Hop, Safety};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// What a peer does at a verb; `CONNECT` is the greeting, `.` the end of the message.
#[derive(Clone, Copy)]
pub enum Does {
    Say(&'static str),
    /// Never answers.
    Stall,
    /// Says this, over and over, a byte at a time.
    Drip(&'static str),
    /// Says this, over and over, as fast as it is taken.
    Pour(&'static str),
    /// Answers as it should, but late.
    Late,
    Hangup,
    /// At DATA: goes on to read, but this slowly.
    ReadSlowly,
    /// At DATA: asks for the message and does not read it.
    ReadNothing,
}

/// A server on a port of its own.
pub struct Peer {
    pub address: SocketAddr,
    shared: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// Recipients of each message taken.
    taken: Mutex<Vec<String>>,
}

impl Peer {
    /// `script` gets the connection's number, the verb and the whole line.
    pub fn new(script: impl Fn(usize, &str, &str) -> Option<Does> + Send + Sync + 'static) -> Peer {
        let script = Arc::new(script);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Seen::default());
        let seen = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, script) = (seen.clone(), script.clone());
                std::thread::spawn(move || {
                    let n = seen.connections.fetch_add(1, SeqCst);
                    // A client that goes away ends it.
                    let _ = talk(stream, &seen, |verb, line| script(n, verb, line));
                });
            }
        });
        Peer { address, shared }
    }

    pub fn good() -> Peer {
        Peer::new(|_, _, _| None)
    }

    /// Does so at that verb.
    pub fn at(wanted: &'static str, does: Does) -> Peer {
        Peer::new(move |_, verb, _| (verb == wanted).then_some(does))
    }

    pub fn hop(&self, name: &str) -> Hop {
        Hop {
            name: name.into(),
            port: self.address.port(),
            address: Some(self.address.ip()),
            safety: Safety::Plain,
        }
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    pub fn taken(&self) -> Vec<String> {
        self.shared.taken.lock().unwrap().clone()
    }
}

fn talk(
    mut stream: TcpStream,
    seen: &Seen,
    does: impl Fn(&str, &str) -> Option<Does>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let (mut line, mut recipients) = ("CONNECT".to_string(), Vec::new());
    loop {
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        let usual = match verb.as_str() {
            "CONNECT" => "220 mx.test",
            "EHLO" => "250 mx.test",
            "DATA" => "354 go",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        // It hears of a chunk when it has it: what it does at BDAT comes behind the last byte.
        if verb == "BDAT" {
            let size = line.split(' ').nth(1).and_then(|it| it.parse().ok());
            let size = size.ok_or(std::io::ErrorKind::InvalidData)?;
            if std::io::copy(&mut (&mut lines).take(size), &mut std::io::sink())? < size {
                return Ok(());
            }
        }
        let said = match does(&verb, &line) {
            None => usual,
            Some(Does::Say(text)) => text,
            Some(Does::Late) => {
                std::thread::sleep(DRIP * 4);
                usual
            }
            Some(Does::Hangup) => return Ok(()),
            Some(Does::Stall) => return stall(&mut lines),
            Some(Does::Drip(text)) => {
                for byte in text.bytes().cycle() {
                    stream.write_all(&[byte])?;
                    std::thread::sleep(DRIP);
                }
                return Ok(());
            }
            Some(Does::Pour(text)) => loop {
                stream.write_all(text.as_bytes())?;
            },
            Some(Does::ReadNothing) => {
                stream.write_all(b"354 go\r\n")?;
                std::thread::sleep(HOUR);
                return Ok(());
            }
            Some(Does::ReadSlowly) => {
                stream.write_all(b"354 go\r\n")?;
                let mut some = [0; 64 << 10];
                while lines.read(&mut some)? > 0 {
                    std::thread::sleep(DRIP);
                }
                return Ok(());
            }
        };
        if [".", "BDAT"].contains(&verb.as_str()) && said.starts_with('2') {
            seen.taken.lock().unwrap().push(recipients.join(" "));
        }
        stream.write_all(format!("{said}\r\n").as_bytes())?;
        match verb.as_str() {
            "MAIL" => recipients.clear(),
            "RCPT" if said.starts_with('2') => recipients.push(line.clone()),
            "DATA" if said.starts_with('3') => {
                while line != "." {
                    line = next(&mut lines)?;
                }
                continue;
            }
            "QUIT" => return Ok(()),
            _ => {}
        }
        line = next(&mut lines)?;
    }
}

fn next(lines: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    match lines.read_line(&mut line)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_string()),
    }
}

/// Until the client has had enough.
fn stall(lines: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    std::io::copy(lines, &mut std::io::sink()).map(drop)
}
