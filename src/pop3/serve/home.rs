//! Logins whose maildrop is on another server: logs in there as the client did, tells the
//! client how that went, and connects the two.

use crate::context::Context;
use crate::context::homes::{Refused, astray, hear, plain};
use crate::mail::home::{HomeServer, Protocol, Tls};
use crate::net::relay::relay;
use crate::net::stream::Stream;
use crate::pop3::client::{Client, Command, Event, Outcome, Step, can_be_sent};
use crate::pop3::session::{Answer, Session};
use crate::sasl::{Ask, Denial, Verdict};
use crate::secret::Secret;
use crate::store::Home;
use std::io;
use std::net::IpAddr;

/// Longest command line, bytes without its end (RFC 2449, 4).
const MAX_LINE: usize = 253;
/// Refusals that are about name or password; some servers give no code.
const WRONG: [&str; 2] = ["", "AUTH"];
/// Other codes of a refusal that are passed on.
const CODES: [&str; 4] = ["IN-USE", "LOGIN-DELAY", "SYS/TEMP", "SYS/PERM"];

/// In place of a verdict of ours. Whether the session is over; else the login is refused.
pub(super) async fn go_home(
    context: &Context,
    stream: &mut Stream,
    session: &mut Session,
    ask: &Ask,
    home: Home,
    out: &mut Vec<u8>,
) -> io::Result<bool> {
    let Ask::Password { login, password } = ask else {
        session.put_off("SYS/PERM", Refused::NeedsPassword.sentence(), out);
        return Ok(false);
    };
    let (peer, hops) = (stream.peer(), session.forwarded().hops_left);
    let mut code = String::from("SYS/TEMP");
    let attempt = log_in(
        context,
        &home.server,
        (peer, hops),
        (login, password),
        &mut code,
    );
    let admitted = context.admit(peer, login, &home, attempt).await;
    let (mut upstream, _place) = match admitted {
        Ok(admitted) => admitted,
        Err(Refused::Denied(denial)) => {
            session.answer(Answer::Verdict(Verdict::Denied(denial)), out);
            return Ok(false);
        }
        Err(refused) => {
            session.put_off(&code, refused.sentence(), out);
            return Ok(false);
        }
    };
    out.extend_from_slice(b"+OK Logged in.\r\n");
    stream.send_out(out).await?;
    *out = Vec::new();
    stream.authenticated();
    let sent = std::mem::take(session.input());
    let said = std::mem::take(upstream.client.input());
    let idle = context.settings().pop3_timeout;
    // Whoever ends it: POP3 has no word for that.
    relay(stream, &mut upstream.stream, sent, said, idle).await;
    upstream.stream.close().await;
    Ok(true)
}

/// The connection to the home server.
struct Upstream {
    stream: Stream,
    client: Client,
    out: Vec<u8>,
}

/// `code` is set to the code of a refusal.
async fn log_in(
    context: &Context,
    home: &HomeServer,
    (peer, hops): (IpAddr, u8),
    (login, password): (&str, &Secret<String>),
    code: &mut String,
) -> Result<Upstream, Refused> {
    let hops = hops.checked_sub(1).ok_or(Refused::Loop)?;
    let (homes, resolver) = (&context.homes, &context.resolver);
    let mut upstream = Upstream {
        stream: homes.connect(resolver, home, Protocol::Pop3).await?,
        client: Client::default(),
        out: Vec::new(),
    };
    let greeting = upstream.done(None).await?;
    if !greeting.ok {
        return Err(refused(greeting, code));
    }
    if home.tls == Tls::StartTls {
        if !upstream.command(&Command::Stls).await?.ok {
            return Err(Refused::Unable(
                "The server of this mailbox can't begin TLS.",
            ));
        }
        upstream.client.begin_tls().map_err(astray)?;
        homes.start_tls(&mut upstream.stream, home).await?;
    }
    upstream.command(&Command::Capa).await?;
    // Dovecot says by its greeting that it would believe us.
    let dovecot = greeting.code == "XCLIENT";
    let takes = |name: &str| dovecot || upstream.client.takes_by_xclient(name);
    let address = Some(peer).filter(|_| home.trusted && takes("ADDR"));
    let told = address.is_some() || takes("TTL");
    if told {
        // What it answers makes no difference.
        upstream
            .command(&Command::Xclient { address, hops })
            .await?;
    }
    let outcome = upstream.log_in(login, password).await?;
    match outcome.ok {
        true => Ok(upstream),
        false if WRONG.contains(&outcome.code.as_str()) => {
            Err(Refused::Denied(Denial::Credentials))
        }
        false => Err(refused(outcome, code)),
    }
}

/// What it says, without the code, which is passed on by itself.
fn refused(outcome: Outcome, code: &mut String) -> Refused {
    if CODES.contains(&outcome.code.as_str()) {
        code.clone_from(&outcome.code);
    }
    let text = match outcome.text.split_once(']') {
        Some((_, text)) if outcome.text.starts_with('[') => text,
        _ => outcome.text.as_str(),
    };
    Refused::said(text.trim())
}

impl Upstream {
    async fn log_in(&mut self, user: &str, password: &Secret<String>) -> Result<Outcome, Refused> {
        if self.client.has_mechanism("PLAIN") {
            let plain = plain(user, password);
            let mechanism = "PLAIN";
            let fits = "AUTH PLAIN ".len() + plain.reveal().len() <= MAX_LINE;
            let initial = fits.then_some(&plain);
            self.client
                .command(&Command::Auth { mechanism, initial }, &mut self.out);
            return self.done(Some(&plain)).await;
        }
        if !can_be_sent(user) || !can_be_sent(password.reveal()) {
            return Err(Refused::Denied(Denial::Credentials));
        }
        match self.command(&Command::User(user)).await? {
            Outcome { ok: true, .. } => self.command(&Command::Pass(password)).await,
            refused => Ok(refused),
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
                Event::Continue(_) => {
                    let line = answer.take().map_or("*", |it| it.reveal().as_str());
                    self.client.answer(line.as_bytes(), &mut self.out);
                }
                Event::Row(..) => {}
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_code_if_that_is_known() {
        let refuse = |code: &str, text: &str| {
            let mut kept = String::from("SYS/TEMP");
            let outcome = Outcome {
                ok: false,
                code: code.into(),
                text: text.into(),
            };
            let refused = refused(outcome, &mut kept);
            (kept, refused.sentence().to_owned())
        };
        let told = |code: &str, text: &str| (code.to_owned(), text.to_owned());
        assert_eq!(refuse("IN-USE", "[IN-USE] Busy"), told("IN-USE", "Busy"));
        assert_eq!(refuse("X", "[X] Odd"), told("SYS/TEMP", "Odd"));
        assert_eq!(refuse("", "a [b] c"), told("SYS/TEMP", "a [b] c"));
    }
}
