//! Drives a session: flush, match the step, await the store or the stream, answer.

mod arrival;
mod burl;
mod forward;
mod hold;
mod home;
mod incoming;
mod limit;
mod lmtp;
mod notices;
mod spool;

use super::author::{Author, Trusted};
use super::patience::Patience;
use super::repair::Stamp;
use super::reply::Reply;
use super::role::Role;
use super::session::{Answer, Ask, Commit, Config, Found, NoRecipient, Session, Step, Trouble};
use crate::address::{Address, Domain};
use crate::context::Context;
use crate::imap_url::content::Content;
use crate::mail::addressing::Device;
use crate::mail::option::Protocol;
use crate::mail::outgoing::ROUTES;
use crate::mail::{AccountId, DateTime, FlagNames, Flags, MailboxName, Quota, SpecialUse};
use crate::message::convert::Target;
use crate::net::stream::Stream;
use crate::net::tls::Tls;
use crate::recipient::{self, Resolved};
use crate::sasl::Verdict;
use crate::secret::random;
use crate::settings::Settings;
use crate::store::{self, Delivery, Held, NewItem, Posting, Snapshot, Staging};
use arrival::Arrival;
use async_io::Timer;
use limit::Allowance;
use notices::notices;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Replies to a pipelined group are collected to this much, bytes.
const MAX_OUTPUT: usize = 16 * 1024;
/// Longest pause before the answers to a pipelined group of guesses.
const MAX_TARPIT: Duration = Duration::from_secs(60);

/// Serves one connection until it ends. `implicit_tls`: TLS from the first byte, where the
/// listener has not begun it already.
pub async fn serve(context: Arc<Context>, mut stream: Stream, implicit_tls: bool) {
    run(&context, &mut stream, Role::Submission, implicit_tls).await;
}

/// As [`serve`], for what other servers bring.
pub async fn serve_incoming(context: Arc<Context>, mut stream: Stream, implicit_tls: bool) {
    run(&context, &mut stream, Role::Incoming, implicit_tls).await;
}

/// As [`serve`], for LMTP.
pub async fn serve_lmtp(context: Arc<Context>, mut stream: Stream, implicit_tls: bool) {
    run(&context, &mut stream, Role::Lmtp, implicit_tls).await;
}

async fn run(context: &Context, stream: &mut Stream, role: Role, implicit_tls: bool) {
    let peer = stream.peer();
    if let Err(error) = drive(context, stream, role, implicit_tls).await {
        log::debug!("{}: {peer}: {error}", role.name());
    }
    stream.close().await;
}

/// A message on its way into the store.
enum Upload {
    Staging(Box<Staging>),
    Arrival(Box<Arrival>),
}

impl Upload {
    async fn write(&mut self, bytes: &[u8]) -> store::Result<()> {
        match self {
            Upload::Staging(staging) => staging.write(bytes).await,
            Upload::Arrival(arrival) => arrival.write(bytes).await,
        }
    }
}

async fn drive(
    context: &Context,
    stream: &mut Stream,
    role: Role,
    implicit_tls: bool,
) -> io::Result<()> {
    if implicit_tls && !stream.is_tls() {
        stream.start_tls(&tls_of(context, role)).await?;
    }
    let settings = context.settings();
    // Only who submits may be known by an address.
    let device = match role {
        Role::Submission => device_at(context, stream.peer()),
        Role::Incoming | Role::Lmtp => None,
    };
    let may_relay = device.as_ref().is_some_and(|(device, _)| device.relay);
    let device_allowance = device
        .as_ref()
        .map(|(it, _)| Allowance::of_device(context, it));
    let mut allowance = device_allowance.flatten();
    let mut session = Session::new(Config {
        role,
        // Who submits need not be told to those who read.
        peer: (role == Role::Incoming).then(|| stream.peer()),
        hostname: settings.hostname.clone(),
        max_message_size: settings.max_message_size,
        max_recipients: settings.max_recipients,
        imap: burl::imap_server(&settings),
        max_messages: (role == Role::Incoming).then_some(settings.max_messages_per_connection),
        max_refusals: settings.max_refusals,
        tls: stream.is_tls(),
        plain_login: context.plain_login(stream, Protocol::Submission),
        device: device.map(|(_, trusted)| trusted),
        seed: random().map_err(io::Error::other)?,
        now: now().unix,
    })
    .with_banner(match role {
        Role::Submission => &settings.submission_access.banner,
        Role::Incoming => &settings.smtp_banner,
        Role::Lmtp => "",
    })
    .with_max_protocol_errors(match role {
        Role::Submission => settings.submission_max_protocol_errors,
        Role::Incoming => settings.max_protocol_errors,
        // It is one of ours.
        Role::Lmtp => settings.max_refusals,
    });
    session.bind(context.channel(stream, Protocol::Submission));
    *session.forwarded() = context.forwarded(stream);
    let mut out = Vec::new();
    let mut message: Option<Upload> = None;
    let mut content: Option<Content> = None;
    let mut patience = Patience::new(Instant::now());
    loop {
        match session.step(&mut out) {
            Step::NeedInput => {
                // Who guesses waits for each answer.
                let guesses = session.take_guesses();
                let tarpit = match role {
                    Role::Incoming => settings.tarpit,
                    Role::Submission if session.author().is_none() => settings.submission_tarpit,
                    Role::Submission | Role::Lmtp => Duration::ZERO,
                };
                let pause = (tarpit * guesses).min(MAX_TARPIT);
                if pause > Duration::ZERO {
                    Timer::after(pause).await;
                }
                let spoken = !out.is_empty();
                // A login is over in a step, not in an answer.
                if session.author().is_some() {
                    stream.authenticated();
                }
                note_refusal(stream, &mut session);
                stream.send_out(&mut out).await?;
                out = Vec::new();
                let turn = match session.author().is_some() || !role.needs_login() {
                    true => settings.smtp_timeout,
                    false => settings.login_timeout,
                };
                if spoken {
                    patience.spoken(Instant::now());
                }
                // Silence ends it too, in the middle of a message.
                let left = patience.left(session.stage(), turn, Instant::now());
                let wait = left.min(turn);
                match stream.receive(session.input(), wait).await {
                    Ok(0) => return Ok(()),
                    Ok(bytes) => patience.received(bytes),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        Reply::new(421, "4.4.2", "Nothing came for too long").write(&mut out);
                        return stream.send_out(&mut out).await;
                    }
                    Err(error) => return Err(error),
                }
            }
            Step::Data(bytes) => {
                if let Some(upload) = &mut message
                    && let Err(error) = upload.write(bytes).await
                {
                    message = None;
                    session.answer(Answer::Written(trouble(&error)), &mut out);
                }
            }
            Step::Ask(ask) => {
                if let (Ask::Authenticate(_), Some(client)) = (&ask, session.forwarded().client) {
                    stream.passed_on_for(client);
                }
                if let Ask::Authenticate(login) = &ask
                    && let Ok(Some(home)) = context.login.home(login)
                {
                    let through =
                        home::go_home(context, stream, &mut session, login, home, &mut out);
                    match Box::pin(through).await? {
                        true => return Ok(()),
                        false => continue,
                    }
                }
                let account = session.account().map(|it| it.id);
                let sender = Sender {
                    account,
                    relays: account.is_some() || may_relay,
                    role,
                    allowance: allowance.as_ref(),
                    path: session.sender().unwrap_or_default(),
                    size: session.announced_size(),
                };
                let answer = match ask {
                    Ask::Open(url) => {
                        let opened = burl::open(context, account, &url).await;
                        Answer::Opened(opened.map(|it| content.insert(it).size()))
                    }
                    Ask::Piece => Answer::Piece(match &mut content {
                        Some(content) => {
                            let read = content.next(&context.store).await;
                            read.map_err(|error| trouble(&error))
                        }
                        None => Err(Trouble::Later),
                    }),
                    ask => answer(context, stream, &sender, ask, &mut message).await,
                };
                let answer = match answer {
                    Answer::Verdict(verdict) => {
                        let verdict = context.let_in(Protocol::Submission, stream, verdict);
                        Answer::Verdict(verdict)
                    }
                    answer => answer,
                };
                if let (Answer::Committed(Ok(_)), Some(author)) = (&answer, session.author()) {
                    taken(stream, author);
                }
                if let Answer::Verdict(Verdict::Granted(account)) = &answer {
                    session.go_without(context.off(account.id));
                    allowance = Some(Allowance::of_account(context, account));
                    let grants = context.store.look(|snapshot| snapshot.grants(account.id));
                    session.set_grants(grants.unwrap_or_else(|error| {
                        log::warn!("smtp: grants can't be read: {error}");
                        Vec::new()
                    }));
                }
                session.answer(answer, &mut out);
            }
            Step::Abandon => message = None,
            Step::StartTls => {
                message = None;
                stream.send_out(&mut out).await?;
                stream.start_tls(&tls_of(context, role)).await?;
                session.tls_started();
                session.bind(context.channel(stream, Protocol::Submission));
            }
            Step::Close => {
                note_refusal(stream, &mut session);
                return stream.send_out(&mut out).await;
            }
        }
        if out.len() >= MAX_OUTPUT {
            stream.send_out(&mut out).await?;
        }
    }
}

/// What a person's program was told is what its owner will ask about (RFC 6409, 5.2): one line a
/// turn, and [`crate::smtp::tally`] bounds how many there are.
fn note_refusal(stream: &Stream, session: &mut Session) {
    let refusal = session.take_refusal();
    let (Some(reply), Some(author)) = (refusal, session.author()) else {
        return;
    };
    let id = stream.id();
    let name = match author {
        Author::Account { account, .. } => account.address.to_string(),
        Author::Device { name, .. } => format!("the device {name}"),
    };
    log::info!(
        "submission #{id}: told {name}: {} {}",
        reply.code,
        reply.text
    );
}

/// Other servers don't log in: they are not asked for a certificate.
fn tls_of(context: &Context, role: Role) -> Tls {
    match role {
        Role::Submission => context.users_tls(),
        Role::Incoming | Role::Lmtp => context.tls.clone(),
    }
}

/// On whose behalf the session asks.
struct Sender<'a> {
    account: Option<AccountId>,
    /// Whether it may send to other servers.
    relays: bool,
    role: Role,
    /// Without limits if there is none.
    allowance: Option<&'a Allowance>,
    /// The reverse-path as written.
    path: String,
    /// What the client said of the message's size, bytes.
    size: Option<u64>,
}

async fn answer(
    context: &Context,
    stream: &Stream,
    sender: &Sender<'_>,
    ask: Ask,
    message: &mut Option<Upload>,
) -> Answer {
    match ask {
        Ask::Authenticate(ask) => {
            let client = Context::client(stream, "submission");
            Answer::Verdict(context.login.answer(&client, ask).await)
        }
        Ask::Recipient(_) if guesses(context, stream, sender) => Answer::Recipient(Err(
            NoRecipient::Trouble(Trouble::Wait("Too many unknown recipients; try later")),
        )),
        Ask::Recipient(address) => {
            let found = find(context, sender, &address);
            let found = found.and_then(|found| fits(context, sender, found));
            if found == Err(NoRecipient::Unknown) && sender.role == Role::Incoming {
                context.sources.has_guessed(stream.peer(), now().unix);
            }
            Answer::Recipient(
                match is_stranger(context, stream, sender, &found, &address) {
                    true => Err(NoRecipient::Trouble(Trouble::Wait(STRANGER))),
                    false => found.and_then(|found| match sender.allowance {
                        Some(it) => it.recipient(context, now().unix, &address, found),
                        None => Ok(found),
                    }),
                },
            )
        }
        Ask::Hold { size } => {
            let (store, size) = (&context.store, size.unwrap_or(0));
            let may = hold::may_hold(store, sender.account, size, now().unix).await;
            Answer::Held(may.map(drop))
        }
        Ask::Begin { size } => {
            let allowed = match sender.allowance {
                Some(it) => it.message(context, now().unix),
                None => Ok(()),
            };
            let begun = match allowed {
                Ok(()) => begin(context, stream, sender.role, size).await,
                Err(trouble) => Err(trouble),
            };
            Answer::Begun(match begun {
                Ok(upload) => {
                    *message = Some(upload);
                    stamp()
                }
                Err(trouble) => Err(trouble),
            })
        }
        Ask::Commit(commit) => {
            let delivered = match message.take() {
                Some(Upload::Arrival(arrival)) => {
                    incoming::take(context, stream, *arrival, *commit).await
                }
                Some(Upload::Staging(staging)) => deliver(context, *staging, sender, *commit).await,
                None => Err(Trouble::Later),
            };
            Answer::Committed(delivered)
        }
        // The caller's, who keeps what is open.
        Ask::Open(_) | Ask::Piece => Answer::Piece(Err(Trouble::Later)),
    }
}

/// Whether that address has asked for too many recipients that are not here: it gets to know
/// no more of them (directory harvest).
fn guesses(context: &Context, stream: &Stream, sender: &Sender) -> bool {
    let limit = context.settings().max_unknown_per_source;
    let over = || context.sources.guesses(stream.peer(), limit, now().unix);
    limit > 0 && sender.role == Role::Incoming && over()
}

const STRANGER: &str = "Greylisted: this server takes it when you try again in a few minutes";

/// Greylisting, where it is on and the recipient one that gets mail.
fn is_stranger(
    context: &Context,
    stream: &Stream,
    sender: &Sender<'_>,
    found: &Result<Found, NoRecipient>,
    recipient: &Address,
) -> bool {
    context.settings().greylist && sender.role == Role::Incoming && found.is_ok() && {
        let (peer, now) = (stream.peer(), now().unix);
        let recipient = recipient.key();
        context
            .sources
            .is_stranger(peer, &sender.path, &recipient, now)
    }
}

async fn begin(
    context: &Context,
    stream: &Stream,
    role: Role,
    size: Option<u64>,
) -> Result<Upload, Trouble> {
    if !may_send(context, stream.peer(), role) {
        let text = "Too many messages from your address in a minute, try later";
        return Err(Trouble::Wait(text));
    }
    let stage = async || {
        let staging = context.store.stage(size).await;
        staging.map_err(|error| trouble(&error))
    };
    match role {
        Role::Incoming => {
            let place = context.sources.arrivals.try_acquire_arc();
            let place = place.ok_or(Trouble::Later)?;
            // It waits on the disk until it is judged, and is then written to the store.
            let twice = size.unwrap_or(0).saturating_mul(2);
            let room = context.store.check_room(twice);
            room.map_err(|error| trouble(&error))?;
            let arrival = Arrival::new(context, place, stage().await?);
            Ok(Upload::Arrival(Box::new(arrival)))
        }
        Role::Submission | Role::Lmtp => Ok(Upload::Staging(Box::new(stage().await?))),
    }
}

/// Counts a message of that address; whether it may send one more in this minute.
fn may_send(context: &Context, peer: IpAddr, role: Role) -> bool {
    let (settings, now) = (context.settings(), now().unix);
    match (role, settings.submission_max_messages_per_source) {
        (Role::Lmtp, _) | (Role::Submission, 0) => true,
        (Role::Submission, limit) => context.sources.may_submit(peer, limit, now),
        (Role::Incoming, _) => {
            let limit = settings.max_messages_per_source;
            context.sources.may_send(peer, limit, now)
        }
    }
}

/// Says that a message was taken.
fn taken(stream: &Stream, author: &Author) {
    let id = stream.id();
    match author {
        Author::Account { account, .. } => {
            log::info!("submission #{id}: took a message of {}", account.address);
        }
        Author::Device { name, .. } => {
            log::info!("submission #{id}: took a message of the device {name}");
        }
    }
}

/// The device that may submit from that address without a login.
fn device_at(context: &Context, peer: IpAddr) -> Option<(Device, Trusted)> {
    let found = context.store.look(|snapshot| {
        let devices = snapshot.devices()?;
        let Some(device) = devices.into_iter().find(|it| it.is_at(peer)) else {
            return Ok(None);
        };
        let author = Author::Device {
            name: device.name.clone(),
            domains: snapshot.local_domains()?,
        };
        let trusted = Trusted {
            author,
            tls: device.tls,
        };
        Ok(Some((device, trusted)))
    });
    found.unwrap_or_else(|error| {
        log::warn!("smtp: devices can't be read: {error}");
        None
    })
}

/// Who has logged in, or a device that may, sends to other servers too; a group's members
/// may be there whoever sends.
fn find(context: &Context, sender: &Sender<'_>, address: &Address) -> Result<Found, NoRecipient> {
    let resolved = context.store.look(|snapshot| {
        let settings = context.settings();
        let (hostname, people) = (&settings.hostname, &settings.administrators);
        recipient::reach(snapshot, address, hostname, people)
    });
    let found = match resolved {
        // Else anyone could write by us to whoever once wrote to a group here.
        Ok(Resolved::Here(targets)) if targets.returns && !sender.path.is_empty() => {
            return Err(NoRecipient::NoRoute(
                "This address takes notices from the null sender only",
            ));
        }
        Ok(Resolved::Here(targets)) => Found {
            local: targets.local.into_iter().collect(),
            remote: targets.remote,
            returns: targets.returns,
        },
        Ok(Resolved::Elsewhere) if !sender.relays => {
            return Err(NoRecipient::NoRoute(
                "This server takes mail for its own addresses only",
            ));
        }
        Ok(Resolved::Elsewhere) if !is_qualified(address.domain()) => {
            return Err(NoRecipient::Unqualified);
        }
        Ok(Resolved::Elsewhere) => Found {
            local: Vec::new(),
            remote: vec![address.clone()],
            returns: false,
        },
        Ok(Resolved::Unknown) => return Err(NoRecipient::Unknown),
        Ok(Resolved::Disabled) => return Err(NoRecipient::Disabled),
        Err(error) => return Err(NoRecipient::Trouble(trouble(&error))),
    };
    match no_route(context) {
        Some(why) if !found.remote.is_empty() => Err(NoRecipient::NoRoute(why)),
        _ => Ok(found),
    }
}

/// Whether it is more than the alias of a host, or an address literal (RFC 6409, 2.1).
fn is_qualified(domain: &Domain) -> bool {
    domain.as_str().contains(['.', '['])
}

/// Refuses who has no room for it. A group is one recipient for many: it is not refused for one
/// of them.
fn fits(context: &Context, sender: &Sender<'_>, found: Found) -> Result<Found, NoRecipient> {
    let [(account, _)] = found.local.as_slice() else {
        return Ok(found);
    };
    if !found.remote.is_empty() {
        return Ok(found);
    }
    let more = Quota {
        bytes: sender.size.unwrap_or(1),
        messages: 1,
    };
    match context.store.check_quota(*account, more) {
        Ok(()) => Ok(found),
        Err(store::Error::OverQuota) => {
            let quota = context.store.quota_of(*account);
            let never = quota.is_ok_and(|it| !it.holds(more));
            Err(NoRecipient::OverQuota { never })
        }
        Err(error) => Err(NoRecipient::Trouble(trouble(&error))),
    }
}

/// Why nothing can be sent to other servers, if so.
fn no_route(context: &Context) -> Option<&'static str> {
    match &*context.settings() {
        Settings { demo: true, .. } => Some("This is a demo: it sends nothing to other servers"),
        Settings { direct: true, .. } => None,
        _ => {
            let routes = context.store.look(|it| it.records(ROUTES));
            // What can't be looked at now may be there when the mail goes.
            let none = routes.is_ok_and(|it| it.is_empty());
            none.then_some(
                "This server has no way to other servers: no relay is set, and direct is off",
            )
        }
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
    sender: &Sender<'_>,
    mut commit: Commit,
) -> Result<Vec<AccountId>, Trouble> {
    let account = sender.account;
    let mut held = match sender.role {
        Role::Lmtp => Held::Each(std::mem::take(&mut commit.alone)),
        Role::Submission | Role::Incoming => Held::Together {
            own: 0,
            waiting: std::mem::take(&mut commit.waiting),
        },
    };
    if sender.role == Role::Lmtp {
        lmtp::may_go_on(context, &commit).await?;
    }
    forward::rewrite(context, &mut commit, now().unix).await?;
    let queued = (!commit.remote.is_empty()).then_some(NewItem {
        account,
        // LMTP brings what others wrote.
        ours: sender.role == Role::Submission,
        name: commit.name,
        submitted: commit.submitted,
        envelope: commit.envelope,
        recipients: commit.remote,
    });
    let mut deliveries: Vec<Delivery> = commit
        .local
        .into_iter()
        .map(|(account, mailbox)| Delivery {
            account,
            mailbox,
            flags: FlagNames::default(),
        })
        .collect();
    if let Some(account) = account {
        let copy = context.store.look(|snapshot| sent_copy(snapshot, account));
        let copy = copy.map_err(|error| trouble(&error))?;
        if let Held::Together { own, .. } = &mut held {
            *own = copy.iter().len();
        }
        deliveries.extend(copy);
    }
    let delivered = async {
        let message = match commit.binary {
            true => staging.finish_as(Target::Lines).await?,
            false => Some(staging.finish().await?),
        };
        let Some(message) = message else {
            return Ok(Err(Trouble::Unconvertible));
        };
        let notices = notices(context, commit.delivered.as_ref()).await?;
        // What MAIL said of its size may have been anything.
        let is_held = queued
            .as_ref()
            .is_some_and(|it| it.envelope.hold_until.is_some());
        let (store, size, now_unix) = (&context.store, message.size().into(), now().unix);
        let room = match is_held {
            true => hold::may_hold(store, account, size, now_unix)
                .await
                .map(Some),
            false => Ok(None),
        };
        let _room = match room {
            Ok(room) => room,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let posting = Posting {
            message,
            date: now(),
            deliveries,
            queued,
        };
        let delivered = context.store.deliver_within(posting, notices, held);
        delivered.await.map(Ok)
    };
    delivered.await.unwrap_or_else(|error| Err(trouble(&error)))
}

/// The copy for the sender's own Sent, if the account has that option.
fn sent_copy(snapshot: &Snapshot, account: AccountId) -> store::Result<Option<Delivery>> {
    if !snapshot.account_options(account)?.sent_copy {
        return Ok(None);
    }
    let mailboxes = snapshot.mailboxes(account)?;
    let sent = mailboxes
        .into_iter()
        .find(|it| it.special_use == Some(SpecialUse::Sent));
    let mailbox = match sent {
        Some(sent) => sent.name,
        None => MailboxName::parse("Sent").map_err(|_| store::Error::NoMailbox)?,
    };
    Ok(Some(Delivery {
        account,
        mailbox,
        flags: FlagNames {
            system: Flags::SEEN,
            keywords: Vec::new(),
        },
    }))
}

fn trouble(error: &store::Error) -> Trouble {
    match error {
        store::Error::Full => Trouble::Full,
        store::Error::Limit(what) => {
            log::warn!("smtp: a message is over the limit on {what}");
            Trouble::Full
        }
        store::Error::OverQuota => Trouble::OverQuota,
        store::Error::TooLarge => Trouble::TooLarge,
        error => {
            log::warn!("smtp: the store does not take a message: {error}");
            Trouble::Later
        }
    }
}
