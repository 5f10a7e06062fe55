//! Drives a submission session: flush, match the step, await the store or the stream, answer.

use super::repair::Stamp;
use super::reply::Reply;
use super::session::{Answer, Ask, Commit, Config, Found, NoRecipient, Session, Step, Trouble};
use crate::address::Address;
use crate::context::Context;
use crate::mail::{AccountId, DateTime, FlagNames, MailboxName};
use crate::message::notice::{self, Delivered};
use crate::net::stream::Stream;
use crate::secret::random;
use crate::settings::Settings;
use crate::store::{self, Delivery, NewItem, Staging};
use std::io;
use std::sync::Arc;

/// Replies to a pipelined group are collected to this much, bytes.
const MAX_OUTPUT: usize = 16 * 1024;

/// Serves one connection until it ends. `implicit_tls`: TLS from the first byte, where the
/// listener has not begun it already.
pub async fn serve(context: Arc<Context>, mut stream: Stream, implicit_tls: bool) {
    let peer = stream.peer();
    if let Err(error) = drive(&context, &mut stream, implicit_tls).await {
        log::debug!("smtp: {peer}: {error}");
    }
    stream.close().await;
}

async fn drive(context: &Context, stream: &mut Stream, implicit_tls: bool) -> io::Result<()> {
    if implicit_tls && !stream.is_tls() {
        stream.start_tls(&context.tls).await?;
    }
    let settings = &context.settings;
    let mut session = Session::new(Config {
        hostname: settings.hostname.clone(),
        max_message_size: settings.max_message_size,
        max_recipients: settings.max_recipients,
        tls: stream.is_tls(),
        plain_login: settings.plain_login_on_loopback && stream.peer().is_loopback(),
        seed: random().map_err(io::Error::other)?,
    });
    let mut out = Vec::new();
    let mut message: Option<Staging> = None;
    loop {
        match session.step(&mut out) {
            Step::NeedInput => {
                // A login is over in a step, not in an answer.
                if session.account().is_some() {
                    stream.authenticated();
                }
                stream.send_out(&mut out).await?;
                out = Vec::new();
                let wait = match session.account() {
                    Some(_) => settings.smtp_timeout,
                    None => settings.login_timeout,
                };
                match stream.receive(session.input(), wait).await {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        Reply::new(421, "4.4.2", "Nothing came for too long").write(&mut out);
                        return stream.send_out(&mut out).await;
                    }
                    Err(error) => return Err(error),
                }
            }
            Step::Data(bytes) => {
                if let Some(staging) = &mut message
                    && let Err(error) = staging.write(bytes).await
                {
                    message = None;
                    session.answer(Answer::Written(trouble(&error)), &mut out);
                }
            }
            Step::Ask(ask) => {
                let notice = match &ask {
                    Ask::Commit(commit) => commit.delivered.clone(),
                    _ => None,
                };
                let account = session.account().map(|it| it.id);
                let answer = answer(context, stream, account, ask, &mut message).await;
                if let (Answer::Committed(Ok(())), Some(account)) = (&answer, session.account()) {
                    let (id, sender) = (stream.id(), &account.address);
                    log::info!("submission #{id}: took a message of {sender}");
                    if let Some(notice) = notice
                        && let Err(error) = tell(context, account.id, &notice).await
                    {
                        log::warn!("submission #{id}: no notice of delivery to {sender}: {error}");
                    }
                }
                session.answer(answer, &mut out);
            }
            Step::Abandon => message = None,
            Step::StartTls => {
                message = None;
                stream.send_out(&mut out).await?;
                stream.start_tls(&context.tls).await?;
                session.tls_started();
            }
            Step::Close => return stream.send_out(&mut out).await,
        }
        if out.len() >= MAX_OUTPUT {
            stream.send_out(&mut out).await?;
        }
    }
}

async fn answer(
    context: &Context,
    stream: &Stream,
    account: Option<AccountId>,
    ask: Ask,
    message: &mut Option<Staging>,
) -> Answer {
    match ask {
        Ask::Authenticate(ask) => Answer::Verdict(context.login.answer(stream.peer(), ask).await),
        Ask::Recipient(address) => Answer::Recipient(find(context, account, &address)),
        Ask::Begin { size } => Answer::Begun(match context.store.stage(size).await {
            Ok(staging) => {
                *message = Some(staging);
                stamp()
            }
            Err(error) => Err(trouble(&error)),
        }),
        Ask::Commit(commit) => {
            let delivered = match message.take() {
                Some(staging) => deliver(context, staging, account, *commit).await,
                None => Err(Trouble::Later),
            };
            Answer::Committed(delivered)
        }
    }
}

/// By own address or alias; with a `+tag` that is no alias, by what stands before it.
/// Who has logged in may send to other servers too.
fn find(
    context: &Context,
    sender: Option<AccountId>,
    address: &Address,
) -> Result<Found, NoRecipient> {
    let found = context.store.look(|snapshot| {
        let mut account = snapshot.account_by_address(address)?;
        if account.is_none()
            && let Some(address) = address.without_tag()
        {
            account = snapshot.account_by_address(&address)?;
        }
        Ok(match account {
            Some(account) => Ok(Found::Local(account.id)),
            None if snapshot.is_local_domain(address.domain())? => Err(NoRecipient::Unknown),
            None => match no_route(&context.settings, sender) {
                Some(why) => Err(NoRecipient::NoRoute(why)),
                None => Ok(Found::Remote),
            },
        })
    });
    found.unwrap_or_else(|error| Err(NoRecipient::Trouble(trouble(&error))))
}

/// Why nothing can be sent to other servers, if so.
fn no_route(settings: &Settings, sender: Option<AccountId>) -> Option<&'static str> {
    match settings {
        _ if sender.is_none() => Some("This server takes mail for its own addresses only"),
        Settings { demo: true, .. } => Some("This is a demo: it sends nothing to other servers"),
        Settings { direct: false, .. } => {
            Some("This server has no way to other servers: no relay is set, and direct is off")
        }
        _ => None,
    }
}

fn stamp() -> Result<Stamp, Trouble> {
    let random: [u8; 12] = random().map_err(|_| Trouble::Later)?;
    Ok(Stamp {
        date: now(),
        id: random.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn now() -> DateTime {
    DateTime {
        unix: jiff::Timestamp::now().as_second(),
        offset: 0,
    }
}

/// One transaction for all of them, here and elsewhere.
async fn deliver(
    context: &Context,
    staging: Staging,
    account: Option<AccountId>,
    commit: Commit,
) -> Result<(), Trouble> {
    let queued = (!commit.remote.is_empty()).then_some(NewItem {
        account,
        name: commit.name,
        submitted: commit.submitted,
        envelope: commit.envelope,
        recipients: commit.remote,
    });
    let deliveries = commit
        .local
        .into_iter()
        .map(|account| Delivery {
            account,
            mailbox: MailboxName::inbox(),
            flags: FlagNames::default(),
        })
        .collect();
    let delivered = async {
        let staged = staging.finish().await?;
        let delivered = context.store.deliver(staged, now(), deliveries, queued);
        delivered.await.map(|_| ())
    };
    delivered.await.map_err(|error| trouble(&error))
}

/// Puts the notice of a delivery into the sender's own INBOX: who submits has one here.
async fn tell(context: &Context, sender: AccountId, what: &Delivered) -> Result<(), String> {
    let name = stamp().map_err(|_| "no random numbers")?.id;
    let date = now();
    let notice = notice::delivered(what, &context.settings.hostname, date, &name);
    let notice = notice.map_err(|error| error.to_string())?;
    let deliveries = vec![Delivery {
        account: sender,
        mailbox: MailboxName::inbox(),
        flags: FlagNames::default(),
    }];
    let delivered = async {
        let mut staging = context.store.stage(Some(notice.len() as u64)).await?;
        staging.write(&notice).await?;
        let staged = staging.finish().await?;
        let delivered = context.store.deliver(staged, date, deliveries, None);
        delivered.await.map(|_| ())
    };
    delivered.await.map_err(|error| error.to_string())
}

fn trouble(error: &store::Error) -> Trouble {
    match error {
        store::Error::Full => Trouble::Full,
        store::Error::Limit(what) => {
            log::warn!("smtp: a message is over the limit on {what}");
            Trouble::Full
        }
        store::Error::TooLarge => Trouble::TooLarge,
        error => {
            log::warn!("smtp: the store does not take a message: {error}");
            Trouble::Later
        }
    }
}
