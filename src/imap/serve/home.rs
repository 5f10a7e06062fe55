//! Logins whose mailbox is on another server: logs in there as the client did, tells the
//! client how that went, and connects the two.

use super::Driver;
use crate::context::Context;
use crate::context::homes::{Refused, astray, hear, plain};
use crate::imap::client::command::can_be_quoted;
use crate::imap::client::{Client, Command, Event, Outcome, Step};
use crate::imap::response::Code;
use crate::imap::session;
use crate::mail::home::{HomeServer, Protocol, Tls};
use crate::net::relay::{End, relay};
use crate::net::stream::Stream;
use crate::sasl::{Ask, Denial, Verdict};
use crate::secret::Secret;
use crate::store::Home;
use std::io;
use std::net::IpAddr;

/// Refusals that are about name or password; some servers give no code.
const WRONG: [&str; 3] = ["", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED"];

impl Driver {
    /// In place of a verdict of ours. Returns when the login is refused or the session over.
    pub(super) async fn go_home(&mut self, ask: Ask, home: Home) -> io::Result<()> {
        let Ask::Password { login, password } = ask else {
            let text = Refused::NeedsPassword.sentence().to_owned();
            self.session.put_off(text, &mut self.out);
            return Ok(());
        };
        let (peer, hops) = (self.stream.peer(), self.session.forwarded().hops_left);
        let context = self.context.clone();
        let attempt = log_in(&context, &home.server, peer, hops, &login, &password);
        let admitted = context.admit(peer, &login, &home, attempt).await;
        drop(password);
        match admitted {
            Ok((upstream, _place)) => self.connect_through(upstream).await,
            Err(Refused::Denied(denial)) => {
                self.session.verdict(Verdict::Denied(denial), &mut self.out);
                Ok(())
            }
            Err(refused) => {
                let text = refused.sentence().to_owned();
                self.session.put_off(text, &mut self.out);
                Ok(())
            }
        }
    }

    async fn connect_through(&mut self, mut upstream: Upstream) -> io::Result<()> {
        let code = format!("CAPABILITY {}", upstream.capabilities());
        let outcome = session::Outcome::ok("Logged in.").with(Code::Written(&code));
        self.session.complete(&outcome, &mut self.out);
        self.flush().await?;
        self.out = Vec::new();
        self.stream.authenticated();
        let sent = std::mem::take(self.session.input());
        let said = std::mem::take(upstream.client.input());
        let idle = self.context.settings().imap_timeout;
        let mut server = upstream.stream;
        let ended = relay(&mut self.stream, &mut server, sent, said, idle).await;
        server.close().await;
        let text = match ended.by {
            End::Idle => "Nothing was heard for too long: connect again.",
            End::Server if !says_bye(&ended.tail) => {
                "The server of this mailbox has closed the connection: connect again."
            }
            End::Server | End::Client => {
                self.session.end();
                return Ok(());
            }
        };
        self.session.bye(text, &mut self.out);
        Ok(())
    }
}

fn says_bye(tail: &[u8]) -> bool {
    let lines = tail.split(|byte| *byte == b'\n');
    lines.into_iter().any(|line| {
        let start = line.get(..5).unwrap_or_default();
        start.eq_ignore_ascii_case(b"* BYE")
    })
}

/// The connection to the home server.
struct Upstream {
    stream: Stream,
    client: Client,
    out: Vec<u8>,
}

async fn log_in(
    context: &Context,
    home: &HomeServer,
    peer: IpAddr,
    hops: u8,
    login: &str,
    password: &Secret<String>,
) -> Result<Upstream, Refused> {
    let hops = hops.checked_sub(1).ok_or(Refused::Loop)?;
    let (homes, resolver) = (&context.homes, &context.resolver);
    let mut upstream = Upstream {
        stream: homes.connect(resolver, home, Protocol::Imap).await?,
        client: Client::default(),
        out: Vec::new(),
    };
    upstream.greeting().await?;
    if home.tls == Tls::StartTls {
        upstream.command(&Command::StartTls).await?.must("TLS")?;
        upstream.client.begin_tls().map_err(astray)?;
        homes.start_tls(&mut upstream.stream, home).await?;
    }
    if !upstream.client.knows_capabilities() {
        upstream.command(&Command::Capability).await?;
    }
    if upstream.client.has("ID") {
        upstream
            .introduce(hops, home.trusted.then_some(peer))
            .await?;
    }
    upstream.log_in(login, password).await?;
    if !upstream.client.knows_capabilities() {
        upstream.command(&Command::Capability).await?;
    }
    Ok(upstream)
}

impl Outcome {
    fn must(self, what: &str) -> Result<(), Refused> {
        match self.ok {
            true => Ok(()),
            false => {
                log::warn!("a home server refuses {what}: {}", self.text);
                Err(Refused::Unable(
                    "The server of this mailbox can't begin TLS.",
                ))
            }
        }
    }
}

impl Upstream {
    async fn greeting(&mut self) -> Result<(), Refused> {
        match self.event().await? {
            Event::Greeting { preauth: false } => Ok(()),
            Event::Bye(text) => Err(Refused::said(&text)),
            _ => Err(astray("it takes us for somebody")),
        }
    }

    /// Who it is that we come from, and how often that may be done again. What it answers
    /// makes no difference.
    async fn introduce(&mut self, hops: u8, peer: Option<IpAddr>) -> Result<(), Refused> {
        let hops = hops.to_string();
        let peer = peer.map(|it| it.to_canonical().to_string());
        let mut fields = vec![("x-proxy-ttl", hops.as_str())];
        fields.extend(peer.as_deref().map(|peer| ("x-originating-ip", peer)));
        self.command(&Command::IdWith(&fields)).await.map(drop)
    }

    async fn log_in(&mut self, user: &str, password: &Secret<String>) -> Result<(), Refused> {
        let quotable = can_be_quoted(user) && can_be_quoted(password.reveal());
        let outcome = if self.client.has("AUTH=PLAIN") {
            let plain = plain(user, password);
            let initial = self.client.has("SASL-IR").then_some(&plain);
            let mechanism = "PLAIN";
            let command = Command::Authenticate { mechanism, initial };
            self.client.command(&command, &mut self.out);
            self.done(Some(&plain)).await?
        } else if quotable && !self.client.has("LOGINDISABLED") {
            self.command(&Command::Login { user, password }).await?
        } else {
            return Err(Refused::Unable(
                "The server of this mailbox takes no login by name and password.",
            ));
        };
        match outcome {
            Outcome { ok: true, .. } => Ok(()),
            Outcome { code, .. } if WRONG.contains(&code.as_str()) => {
                Err(Refused::Denied(Denial::Credentials))
            }
            Outcome { text, .. } => Err(Refused::said(&text)),
        }
    }

    async fn command(&mut self, command: &Command<'_>) -> Result<Outcome, Refused> {
        self.client.command(command, &mut self.out);
        self.done(None).await
    }

    /// How the command ends; `answer` is for whoever asks meanwhile.
    async fn done(&mut self, answer: Option<&Secret<String>>) -> Result<Outcome, Refused> {
        let mut answer = answer;
        loop {
            match self.event().await? {
                Event::Done(outcome) => return Ok(outcome),
                Event::Bye(text) => return Err(Refused::said(&text)),
                Event::Continue(_) => {
                    let line = answer.take().map_or("*", |it| it.reveal().as_str());
                    self.client.answer(line.as_bytes(), &mut self.out);
                }
                _ => {}
            }
        }
    }

    async fn event(&mut self) -> Result<Event, Refused> {
        let gone = |_| Refused::Down;
        self.stream.send_out(&mut self.out).await.map_err(gone)?;
        loop {
            match self.client.step().map_err(astray)? {
                Step::Event(event) => return Ok(event),
                Step::Data(_) => continue,
                Step::NeedInput => {}
            }
            hear(&mut self.stream, self.client.input()).await?;
        }
    }

    /// What it can after the login, as far as it may stand in a response code.
    fn capabilities(&self) -> String {
        let fits = |it: &&String| {
            it.bytes()
                .all(|b| b.is_ascii_graphic() && !b"[]\"\\(){}%*".contains(&b))
        };
        let names = self.client.capabilities().iter().filter(fits);
        let names: Vec<&str> = names.map(String::as_str).collect();
        names.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bye_is_seen_where_a_line_begins() {
        assert!(says_bye(b"* 3 EXISTS\r\n* BYE idle\r\nx OK\r\n"));
        assert!(says_bye(b"* bye\r\n"));
        assert!(!says_bye(b"* 3 EXISTS\r\n text * BYE\r\n"));
        assert!(!says_bye(b""));
    }
}
