//! Submission by accounts that are on another server: logs in there as the client did,
//! tells the client how that went, and connects the two.

use crate::context::Context;
use crate::context::homes::{Refused, hear};
use crate::mail::home::{HomeServer, Protocol, Tls};
use crate::mail::outgoing;
use crate::net::relay::{End, relay};
use crate::net::stream::Stream;
use crate::sasl::client::Login;
use crate::sasl::{Ask, Denial, Verdict};
use crate::secret::random;
use crate::smtp::client::capabilities::Capabilities;
use crate::smtp::client::session::{self as client, Config, Step, TlsUse};
use crate::smtp::reply::Reply;
use crate::smtp::session::{Answer, Session};
use crate::store::Home;
use crate::wire::Input;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Nothing from either side: what a server may take for its reply to a message's end
/// (RFC 5321, 4.5.3.2.6).
const IDLE: Duration = Duration::from_secs(10 * 60);

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
        let text = Refused::NeedsPassword.sentence().to_owned();
        session.put_off(Reply::with(504, "5.5.4", text), out);
        return Ok(false);
    };
    let (peer, hops) = (stream.peer(), session.forwarded().hops_left);
    let user = Login {
        user: login.clone(),
        password: password.clone(),
    };
    let attempt = log_in(context, &home.server, (peer, hops), user);
    let admitted = context.admit(peer, login, &home, attempt).await;
    let (mut upstream, _place) = match admitted {
        Ok(admitted) => admitted,
        Err(Refused::Denied(denial)) => {
            session.answer(Answer::Verdict(Verdict::Denied(denial)), out);
            return Ok(false);
        }
        Err(refused) => {
            let text = refused.sentence().to_owned();
            session.put_off(Reply::with(451, "4.4.1", text), out);
            return Ok(false);
        }
    };
    Reply::new(235, "2.7.0", "Logged in").write(out);
    stream.send_out(out).await?;
    stream.authenticated();
    let sent = std::mem::take(session.input());
    let ended = relay(stream, &mut upstream, sent, Input::new(), IDLE).await;
    upstream.close().await;
    let text = match ended.by {
        End::Idle => "Nothing came for too long",
        End::Server if !says_goodbye(&ended.tail) => {
            "The server of this mailbox has closed the connection"
        }
        End::Server | End::Client => return Ok(true),
    };
    Reply::new(421, "4.4.2", text).write(out);
    stream.send_out(out).await?;
    Ok(true)
}

/// Whether its last line closed the connection already.
fn says_goodbye(tail: &[u8]) -> bool {
    let last = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    let code = last.and_then(|it| it.get(..3)).unwrap_or_default();
    matches!(code, b"221" | b"421")
}

async fn log_in(
    context: &Context,
    home: &HomeServer,
    (peer, hops): (IpAddr, u8),
    login: Login,
) -> Result<Stream, Refused> {
    let hops = hops.checked_sub(1).ok_or(Refused::Loop)?;
    let (homes, resolver) = (&context.homes, &context.resolver);
    let mut stream = homes.connect(resolver, home, Protocol::Submission).await?;
    let implicit = home.tls == Tls::Implicit;
    let nonce = random::<18>().map_err(|_| Refused::Denied(Denial::Unavailable))?;
    let config = Config {
        name: context.settings().hostname.clone(),
        server: home.host.clone(),
        tls: match implicit {
            true => TlsUse::Never,
            false => TlsUse::Required,
        },
        login: Some(login),
        nonce: BASE64.encode(nonce),
    };
    let session = client::Session::new(config, implicit);
    let mut session = session.passing_on(home.trusted.then_some(peer), hops);
    let mut out = Vec::new();
    loop {
        let step = session.step(&mut out);
        let sent = stream.send_out(&mut out).await;
        sent.map_err(|_| Refused::Down)?;
        match step {
            Step::Wait(_) => {
                let mut input = Input::new();
                hear(&mut stream, &mut input).await?;
                session.receive(input.bytes());
            }
            Step::StartTls => {
                homes.start_tls(&mut stream, home).await?;
                session.tls_started(&mut out);
            }
            Step::Ready => break,
            Step::Closed(reply) => return Err(refused(home, &reply)),
            // SCRAM is not chosen where a client is passed on.
            Step::Prove | Step::Body(_) | Step::Done(_) => return Err(Refused::Down),
        }
    }
    match does_what_we_offer(session.capabilities()) {
        true => Ok(stream),
        false => Err(Refused::Unable(
            "The server of this mailbox can't do what this one offers: \
             8BITMIME, CHUNKING and PIPELINING.",
        )),
    }
}

/// The client knows what we can, and will not ask again. Where a server does not know BDAT, it
/// would take the message for commands; what else it lacks, it refuses.
fn does_what_we_offer(capabilities: &Capabilities) -> bool {
    capabilities.pipelining && capabilities.eight_bit && capabilities.chunking
}

fn refused(home: &HomeServer, reply: &outgoing::Reply) -> Refused {
    match reply.code {
        534 | 535 => Refused::Denied(Denial::Credentials),
        code => {
            log::warn!("home server {}: {code} {}", home.host, reply.text);
            Refused::said(&reply.text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goodbye_is_the_last_line() {
        assert!(says_goodbye(b"250 ok\r\n221 2.0.0 Bye\r\n"));
        assert!(says_goodbye(b"421 4.3.2 down\r\n"));
        assert!(!says_goodbye(b"221 a\r\n250 ok\r\n"));
        assert!(!says_goodbye(b"") && !says_goodbye(b"22"));
    }

    #[test]
    fn a_server_without_bdat_would_read_messages_as_commands() {
        let parse = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|it| it.to_string()).collect();
            Capabilities::parse(&lines)
        };
        let all = ["x", "PIPELINING", "8BITMIME", "CHUNKING"];
        assert!(does_what_we_offer(&parse(&all)));
        assert!(!does_what_we_offer(&parse(&all[..3])));
    }
}
