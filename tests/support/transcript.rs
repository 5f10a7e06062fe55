//! Transcripts: one readable text file a behaviour, played against a protocol's driver.
//!
//! The first line is a comment that names the RFC and section. Then, a line each:
//!
//! - `C: text` is sent with CRLF; `C~ text` is sent as it is, with `\r \n \0 \\ \xNN` read.
//! - `S: text` is the next line that the server must send; `S... text` passes over lines
//!   until one matches. Placeholders: see [`super::pattern`].
//! - `[a] C: text` is about the connection `a`. A connection opens when it is first named,
//!   with its greeting unread.
//! - `!tls` opens with TLS; `!starttls` begins it; `!login NAME` logs in (opening the
//!   connection and reading the greeting if need be); `!close` ends our side; `!closed`:
//!   the server has closed; `!silent`: it says nothing; `!sleep MS`; `!repeat N C~ text`;
//!   `!drip MS TEXT`: a byte at a time, so many milliseconds apart, until the server answers.
//! - `!settings KEY VALUE` (before the first connection), `!setup append USER MAILBOX FILE
//!   [FLAG...]` with a file of tests/messages, `!setup message USER MAILBOX` followed by
//!   `M: ` lines, `!setup mailbox USER NAME`, `!setup alias ALIAS USER`, `!setup option USER
//!   NAME VALUE`.
//! - `!count USER MAILBOX N`; `!flags USER MAILBOX N FLAG...`; `!stored USER MAILBOX N`
//!   followed by `M: ` lines, the whole message or, where `M...` ends them, its beginning.
//! - `!control WORD...` is a request as the CLI makes it; `!queued ADDRESS...`: who the
//!   newest message in the queue is for; `!queued` alone: there is none; `!promised [tls]
//!   priority=N [by=SECONDS [returns] [trace]] [hold=SECONDS]`: what MAIL said of it.
//! - `!anywhere`: the file also holds on a server with mail in it, such as `pillarbox demo`:
//!   with PILLARBOX_PORT_BASE set, these files run over TCP against that server (whose
//!   accounts need [`PASSWORD`]), and the others are passed over.

use super::client::{Client, Socket};
use super::pattern::{Kept, fill_in, matches};
use super::server::{Driver, PASSWORD, Server};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pillarbox::address::Address;
use pillarbox::control::{Request, perform};
use pillarbox::mail::outgoing::QueueId;
use pillarbox::mail::{FlagNames, Flags, MailboxName};
use pillarbox::settings::Settings;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Imap,
    Pop3,
    Smtp,
    Incoming,
    Lmtp,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
            Protocol::Smtp => "smtp",
            Protocol::Incoming => "incoming",
            Protocol::Lmtp => "lmtp",
        }
    }

    /// Ports with STARTTLS and with TLS from the start, above the base.
    fn ports(self) -> (u16, u16) {
        match self {
            Protocol::Imap => (143, 993),
            Protocol::Pop3 => (110, 995),
            Protocol::Smtp => (587, 465),
            // No TLS from the start here.
            Protocol::Incoming => (25, 25),
            Protocol::Lmtp => (24, 24),
        }
    }
}

/// How long the server must keep quiet for `!silent`.
const SILENCE: Duration = Duration::from_millis(60);

/// Plays every transcript of the protocol (or those whose path holds TRANSCRIPT's value)
/// and panics with all differences.
pub fn run_all(protocol: Protocol, driver: Driver) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(protocol.name());
    let only = std::env::var("TRANSCRIPT").unwrap_or_default();
    let base: Option<u16> = std::env::var("PILLARBOX_PORT_BASE")
        .ok()
        .map(|base| base.parse().expect("PILLARBOX_PORT_BASE is a port"));
    let mut files: Vec<PathBuf> = fs::read_dir(&dir)
        .expect("the transcripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .filter(|path| path.to_string_lossy().contains(&only))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no transcript in {}", dir.display());
    let mut failures = Vec::new();
    for path in &files {
        let text = fs::read_to_string(path).expect("a transcript");
        if base.is_some() && !text.lines().any(|line| line == "!anywhere") {
            continue;
        }
        if let Err(difference) = Run::new(protocol, driver, base).play(&text) {
            failures.push(format!("{}:{difference}", path.display()));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} transcripts differ\n\n{}",
        failures.len(),
        files.len(),
        failures.join("\n\n")
    );
}

struct Run {
    protocol: Protocol,
    driver: Driver,
    base: Option<u16>,
    settings: Settings,
    server: Option<Server>,
    clients: BTreeMap<String, Client>,
    kept: Kept,
}

type Outcome = Result<(), String>;

impl Run {
    fn new(protocol: Protocol, driver: Driver, base: Option<u16>) -> Run {
        Run {
            protocol,
            driver,
            base,
            settings: Settings {
                tarpit: Duration::ZERO,
                submission_tarpit: Duration::ZERO,
                // Most make more mistakes than a mail program would.
                submission_max_protocol_errors: 20,
                ..Settings::default()
            },
            server: None,
            clients: BTreeMap::new(),
            kept: Kept::new(),
        }
    }

    fn play(&mut self, text: &str) -> Outcome {
        let lines: Vec<&str> = text.lines().collect();
        if !lines.first().is_some_and(|line| line.starts_with('#')) {
            return Err("1: the first line must name the RFC and section".into());
        }
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let number = at + 1;
            at += 1;
            let mut block = Vec::new();
            while let Some(line) = lines.get(at).filter(|line| line.starts_with('M')) {
                block.push(*line);
                at += 1;
            }
            self.line(line, &block)
                .map_err(|difference| format!("{number}: {line}\n{difference}"))?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str, block: &[&str]) -> Outcome {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (name, line) = match line.strip_prefix('[').and_then(|it| it.split_once("] ")) {
            Some((name, line)) => (name, line),
            None => ("", line),
        };
        if let Some(text) = line.strip_prefix("C: ") {
            self.send(
                name,
                format!("{}\r\n", fill_in(text, &self.kept)).as_bytes(),
            )
        } else if line == "C:" {
            self.send(name, b"\r\n")
        } else if let Some(text) = line.strip_prefix("C~ ") {
            let bytes = unescape(&fill_in(text, &self.kept))?;
            self.send(name, &bytes)
        } else if let Some(text) = line.strip_prefix("S... ") {
            self.expect_later(name, text)
        } else if let Some(text) = line.strip_prefix("S:") {
            self.expect(name, text.strip_prefix(' ').unwrap_or(text))
        } else if let Some(directive) = line.strip_prefix('!') {
            self.directive(name, directive, block)
        } else {
            Err("this is no line of a transcript".into())
        }
    }

    fn server(&mut self) -> &Server {
        let settings = &self.settings;
        self.server
            .get_or_insert_with(|| Server::new(settings.clone()))
    }

    fn client(&mut self, name: &str) -> Result<&mut Client, String> {
        if !self.clients.contains_key(name) {
            self.open(name, false)?;
        }
        self.clients
            .get_mut(name)
            .ok_or_else(|| "not connected".into())
    }

    fn open(&mut self, name: &str, tls: bool) -> Outcome {
        let client = match self.base {
            Some(base) => {
                let (plain, implicit) = self.protocol.ports();
                let port = base + if tls { implicit } else { plain };
                let socket = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
                let mut client = Client::new(Socket::Tcp(socket));
                if tls {
                    client.start_tls().map_err(text)?;
                }
                client
            }
            None => {
                let driver = self.driver;
                self.server().connect(driver, tls)
            }
        };
        self.clients.insert(name.into(), client);
        Ok(())
    }

    fn send(&mut self, name: &str, bytes: &[u8]) -> Outcome {
        self.client(name)?.send(bytes).map_err(text)
    }

    fn read(&mut self, name: &str) -> Result<String, String> {
        match self.client(name)?.line() {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err("  got:  the end of the connection".into()),
            Err(error) => Err(format!("  got:  {error}")),
        }
    }

    fn expect(&mut self, name: &str, pattern: &str) -> Outcome {
        let got = self.read(name)?;
        if matches(pattern, &got, &mut self.kept) {
            return Ok(());
        }
        let mut difference = format!("  got:  {got}");
        while let Ok(false) = self.client(name)?.is_silent(SILENCE) {
            match self.client(name)?.line() {
                Ok(Some(line)) => difference += &format!("\n  then: {line}"),
                _ => break,
            }
        }
        Err(difference)
    }

    fn expect_later(&mut self, name: &str, pattern: &str) -> Outcome {
        let mut passed = String::new();
        loop {
            let got = self
                .read(name)
                .map_err(|error| format!("{passed}{error}"))?;
            if matches(pattern, &got, &mut self.kept) {
                return Ok(());
            }
            passed += &format!("  passed: {got}\n");
        }
    }

    fn directive(&mut self, name: &str, directive: &str, block: &[&str]) -> Outcome {
        let words: Vec<&str> = directive.split_whitespace().collect();
        match words.as_slice() {
            ["anywhere"] => Ok(()),
            ["tls"] => self.open(name, true),
            ["starttls"] => self.client(name)?.start_tls().map_err(text),
            ["login", user] => self.login(name, user),
            ["close"] => {
                self.client(name)?.shut_down();
                Ok(())
            }
            ["closed"] => match self.client(name)?.line() {
                Ok(None) => Ok(()),
                Ok(Some(line)) => Err(format!("  got:  {line}")),
                Err(error) => Err(format!("  got:  {error}")),
            },
            ["silent"] => match self.client(name)?.is_silent(SILENCE).map_err(text)? {
                true => Ok(()),
                false => Err(format!("  got:  {}", self.read(name)?)),
            },
            ["sleep", ms] => {
                std::thread::sleep(Duration::from_millis(number(ms)?));
                Ok(())
            }
            ["drip", ms, ..] => {
                let (_, what) = directive.split_once(ms).ok_or("nothing to drip")?;
                for byte in what.trim_start().as_bytes() {
                    // It may have closed meanwhile: what it said then is still to be read.
                    let sent = self.client(name)?.send(&[*byte]);
                    std::thread::sleep(Duration::from_millis(number(ms)?));
                    if sent.is_err() || !self.client(name)?.is_silent(SILENCE).map_err(text)? {
                        return Ok(());
                    }
                }
                Err("  got:  nothing".into())
            }
            ["repeat", n, "C~", ..] => {
                let (_, what) = directive.split_once("C~ ").ok_or("nothing to send")?;
                let bytes = unescape(what)?.repeat(number(n)? as usize);
                self.send(name, &bytes)
            }
            ["settings", key, value] => self.set(key, value),
            ["setup", rest @ ..] => self.set_up(rest, block),
            ["count", user, mailbox, n] => {
                let got = self.server().messages(user, mailbox).len();
                expect_same(got as u64, number(n)?)
            }
            ["flags", user, mailbox, n, flags @ ..] => {
                let (_, got) = self.message(user, mailbox, n)?;
                expect_same(got.0, flag_names(flags)?.system.0)
            }
            ["control", ..] => {
                let line = directive.split_once(' ').map_or("", |(_, line)| line);
                let request = Request::read(line.as_bytes())?;
                smol::block_on(perform(&self.server().context.store, request)).map(|_| ())
            }
            ["queued", expected @ ..] => {
                let read =
                    |snapshot: &pillarbox::store::Snapshot| snapshot.queue_items(QueueId(0), 1000);
                let items = self.server().context.store.look(read).map_err(text)?;
                let newest = items.iter().max_by_key(|item| item.id);
                let recipients = newest.map_or(&[][..], |item| &item.recipients);
                let got: Vec<String> = recipients.iter().map(|it| it.address.to_string()).collect();
                match got == *expected {
                    true => Ok(()),
                    false => Err(format!("  got:  {}", got.join(" "))),
                }
            }
            ["promised", expected @ ..] => {
                let read =
                    |snapshot: &pillarbox::store::Snapshot| snapshot.queue_items(QueueId(0), 1000);
                let items = self.server().context.store.look(read).map_err(text)?;
                let newest = items.iter().max_by_key(|item| item.id);
                let newest = newest.ok_or("  got:  an empty queue")?;
                let envelope = &newest.envelope;
                let mut got = Vec::new();
                got.extend(envelope.require_tls.then(|| "tls".to_string()));
                got.push(format!("priority={}", envelope.priority));
                if let Some(by) = envelope.deliver_by {
                    got.push(format!("by={}", by.until - newest.submitted));
                    got.extend(by.returns.then(|| "returns".to_string()));
                    got.extend(by.trace.then(|| "trace".to_string()));
                }
                if let Some(until) = envelope.hold_until {
                    got.push(format!("hold={}", until - newest.submitted));
                }
                match got == *expected {
                    true => Ok(()),
                    false => Err(format!("  got:  {}", got.join(" "))),
                }
            }
            ["stored", user, mailbox, n] => self.stored(user, mailbox, n, block),
            _ => Err("there is no such directive".into()),
        }
    }

    fn login(&mut self, name: &str, user: &str) -> Outcome {
        if !self.clients.contains_key(name) {
            self.expect(name, "<any>")?;
        }
        let plain = BASE64.encode(format!("\0{user}@demo.test\0{PASSWORD}"));
        match self.protocol {
            Protocol::Imap => {
                let line = format!("login LOGIN {user}@demo.test {PASSWORD}\r\n");
                self.send(name, line.as_bytes())?;
                self.expect_later(name, "login OK<any>")
            }
            Protocol::Pop3 => {
                self.send(name, format!("AUTH PLAIN {plain}\r\n").as_bytes())?;
                self.expect(name, "+OK<any>")
            }
            Protocol::Smtp => {
                self.send(name, b"EHLO client.test\r\n")?;
                self.expect_later(name, "250 <any>")?;
                self.send(name, format!("AUTH PLAIN {plain}\r\n").as_bytes())?;
                self.expect(name, "235 <any>")
            }
            Protocol::Incoming | Protocol::Lmtp => Err("nobody logs in here".into()),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Outcome {
        if self.server.is_some() {
            return Err("settings come before the first connection".into());
        }
        let settings = &mut self.settings;
        let wait = || number(value).map(Duration::from_millis);
        match key {
            "hostname" => settings.hostname = value.into(),
            "administrator" => {
                settings.administrators = vec![Address::parse(value).map_err(text)?];
            }
            "max_message_size" => settings.max_message_size = number(value)?,
            "max_refusals" => settings.max_refusals = number(value)? as u32,
            "max_messages_per_connection" => {
                settings.max_messages_per_connection = number(value)? as u32;
            }
            "max_unknown_per_source" => settings.max_unknown_per_source = number(value)? as u32,
            "max_recipients" => settings.max_recipients = number(value)? as usize,
            "submission_max_protocol_errors" => {
                settings.submission_max_protocol_errors = number(value)? as u32;
            }
            "direct" => settings.direct = value == "true",
            "tarpit" => settings.tarpit = wait()?,
            "greylist" => settings.greylist = value == "true",
            "max_messages_per_source" => {
                settings.max_messages_per_source = number(value)? as u32;
            }
            "demo" => settings.demo = value == "true",
            "bind_logins" => settings.bind_logins = value == "true",
            "client_certificates" => settings.client_certificates = value == "true",
            "plain_login_on_loopback" => settings.plain_login_on_loopback = value == "true",
            "login_timeout" => settings.login_timeout = wait()?,
            "max_messages_per_hour" => settings.max_messages_per_hour = number(value)? as u32,
            "max_recipients_per_day" => settings.max_recipients_per_day = number(value)? as u32,
            "max_new_recipients_per_day" => {
                settings.max_new_recipients_per_day = number(value)? as u32;
            }
            "pop3_login_delay" => settings.pop3_login_delay = wait()?,
            "imap_timeout" => settings.imap_timeout = wait()?,
            "pop3_timeout" => settings.pop3_timeout = wait()?,
            "smtp_timeout" => settings.smtp_timeout = wait()?,
            _ => return Err("there is no such setting".into()),
        }
        Ok(())
    }

    fn set_up(&mut self, words: &[&str], block: &[&str]) -> Outcome {
        match words {
            ["append", user, mailbox, file, flags @ ..] => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("tests/messages")
                    .join(file);
                let message = fs::read(path).map_err(text)?;
                let flags = flag_names(flags)?;
                self.server().deliver(user, mailbox, flags, &message);
                Ok(())
            }
            ["message", user, mailbox, flags @ ..] => {
                let message: String = block
                    .iter()
                    .map(|line| format!("{}\r\n", line.get(3..).unwrap_or_default()))
                    .collect();
                let flags = flag_names(flags)?;
                self.server()
                    .deliver(user, mailbox, flags, message.as_bytes());
                Ok(())
            }
            ["mailbox", user, mailbox] => {
                let mailbox = MailboxName::parse(mailbox).map_err(text)?;
                let server = self.server();
                let account = server.account(user).id;
                let store = &server.context.store;
                smol::block_on(store.create_mailbox(account, mailbox, None)).map_err(text)?;
                Ok(())
            }
            ["option", user, name, value] => {
                let server = self.server();
                let account = server.account(user).id;
                let (name, value) = (name.to_string(), value.to_string());
                let set = server
                    .context
                    .store
                    .change_options(account, move |options| {
                        options.set(&name, &value).expect("an option");
                    });
                smol::block_on(set).map_err(text)
            }
            ["alias", alias, user] => {
                let alias = pillarbox::address::Address::parse(alias).map_err(text)?;
                let server = self.server();
                let account = server.account(user).id;
                smol::block_on(server.context.store.add_alias(alias, account)).map_err(text)
            }
            _ => Err("there is no such set-up".into()),
        }
    }

    fn message(&mut self, user: &str, mailbox: &str, n: &str) -> Result<(Vec<u8>, Flags), String> {
        let mut messages = self.server().messages(user, mailbox);
        let n = number(n)? as usize;
        if n == 0 || n > messages.len() {
            return Err(format!("  got:  {} messages", messages.len()));
        }
        Ok(messages.swap_remove(n - 1))
    }

    fn stored(&mut self, user: &str, mailbox: &str, n: &str, block: &[&str]) -> Outcome {
        let (message, _) = self.message(user, mailbox, n)?;
        let message = String::from_utf8_lossy(&message).into_owned();
        let Some(whole) = message.strip_suffix("\r\n") else {
            return Err("  got:  a message without a line end at its end".into());
        };
        let mut lines = whole.split("\r\n");
        for expected in block {
            if *expected == "M..." {
                return Ok(());
            }
            let pattern = expected.get(3..).unwrap_or_default();
            let fits = lines
                .next()
                .is_some_and(|line| matches(pattern, line, &mut self.kept));
            if !fits {
                return Err(format!("  at:   {expected}\n  in:   {message:?}"));
            }
        }
        match lines.next() {
            None => Ok(()),
            Some(line) => Err(format!("  got:  a further line {line:?}")),
        }
    }
}

fn expect_same(got: u64, expected: u64) -> Outcome {
    match got == expected {
        true => Ok(()),
        false => Err(format!("  got:  {got}")),
    }
}

fn flag_names(names: &[&str]) -> Result<FlagNames, String> {
    let mut flags = FlagNames::default();
    for name in names {
        match Flags::SYSTEM.iter().find(|(_, system)| system == name) {
            Some((flag, _)) => flags.system = flags.system.with(*flag),
            None if name.starts_with('\\') => return Err(format!("{name} is no flag")),
            None => flags.keywords.push((*name).into()),
        }
    }
    Ok(flags)
}

fn unescape(line: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.unwrap_or(b'?') as char);
                u8::from_str_radix(&String::from_iter(digits), 16).map_err(text)?
            }
            _ => return Err("escapes are \\r \\n \\0 \\\\ \\xNN".into()),
        });
    }
    Ok(bytes)
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

fn text(error: impl std::fmt::Display) -> String {
    format!("  {error}")
}
