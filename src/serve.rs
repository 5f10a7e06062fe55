//! The tour: what the server is made of, in the order in which it comes up and goes down.

mod watchdog;

use crate::acme;
use crate::announce::quota;
use crate::collect;
use crate::context::homes::Homes;
use crate::context::maildrops::Maildrops;
use crate::context::sources::Sources;
use crate::context::{Context, access};
use crate::control;
use crate::imap::serve as imap;
use crate::login::{self, Login};
use crate::mail::option::Protocol;
use crate::net::connect::Own;
use crate::net::dns::Resolver;
use crate::net::limit::{Gate, Limits};
use crate::net::listen::{self, Handler, Listeners};
use crate::net::passed::{self, Listener};
use crate::net::stream::{Deadlines, Stream};
use crate::net::tap::{Dialect, Tap};
use crate::net::tls::{Source, Tls};
use crate::pop3::serve as pop3;
use crate::queue::runner::Running;
use crate::queue::{self, transport::Transport};
use crate::settings::document::Chosen;
use crate::settings::{Listen, Live, Service, Settings};
use crate::smtp::serve as smtp;
use crate::store::{Event, Kind, Options, Store};
use crate::task;
use async_io::{Async, Timer};
use async_signal::{Signal, Signals};
use futures_lite::{StreamExt, future};
use jiff::Timestamp;
use smol::Task;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why the server can't start, in a sentence for the owner.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// From what fills accounts to the look at their quotas.
const SETTLED: Duration = Duration::from_secs(1);
/// How often what is counted is saved: so much of it a power cut may take.
const SAVE_COUNTS: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The server: opened, then accepting, then running, then stopped.
pub struct Server {
    pub context: Arc<Context>,
    dir: PathBuf,
    /// Bound, not accepted on yet: clients wait in the kernel's queue.
    sockets: Vec<(Listen, Listener)>,
    /// What is accepted on, or will be.
    open: Vec<Listen>,
    /// LMTP's own.
    lmtp: Option<Async<UnixListener>>,
    listeners: Arc<Listeners>,
    gates: Gates,
    /// What is on its way to other servers.
    queue: Running,
    /// Control socket, certificate check, collectors.
    others: Vec<Task<()>>,
    signals: Signals,
}

impl Server {
    /// Everything but accepting. `dir` is made if missing, its parent is not. `given` goes
    /// over what the store has chosen, and that over `defaults`. With `hold_schema` the store
    /// stays one that the version before can open.
    pub async fn open(
        dir: &Path,
        defaults: Settings,
        given: Chosen,
        hold_schema: bool,
    ) -> Result<Server, Error> {
        // From here on Ctrl-C waits its turn, and what was begun is cleaned up.
        let signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup])?;
        make_directory(dir)?;
        let room = listen::raise_file_limit();
        let store = open_store(dir, hold_schema).await?;
        let live = Live::new(defaults, given, &control::chosen(&store)?)?;
        let settings = live.now();
        let live = Arc::new(live);
        let open = settings.listen()?;
        let sockets = bind_all(&open)?;
        let tls = Tls::start(
            certificate_source(dir, &settings),
            &local_source(dir, &settings),
        )?;
        let listeners = Listeners::new(deadlines(&settings));
        let gates = Gates::new(&settings, room);
        let own = Own::new(open.iter().map(|it| it.address));
        let context = Arc::new(Context {
            login: Login::new(store.clone())?,
            sources: Sources::restore(&store),
            store: store.clone(),
            homes: Homes::new(own),
            live: live.clone(),
            tls: tls.clone(),
            resolver: Resolver::of(&settings.name_servers),
            maildrops: Maildrops::default(),
            rates: Default::default(),
            dir: std::path::absolute(dir)?,
        });
        let known = context.clone();
        let own = gates.own.iter().map(|(_, gate)| gate);
        for gate in own.chain([&gates.users]) {
            let (known, proxies) = (known.clone(), live.clone());
            gate.spare(move |peer| known.login.knows(peer));
            gate.exempt(move |peer| {
                let settings = proxies.now();
                settings.trusted_proxies.iter().any(|it| it.contains(peer))
            });
        }
        let transport = transport(&context);
        let queue = queue::start(store.clone(), transport.clone(), live.clone());
        let keeper = acme::Keeper::new(
            store.clone(),
            live.clone(),
            tls,
            context.resolver.clone(),
            dir,
        );
        let mut others = vec![task::spawn(keeper.clone().run())];
        match control::bind(dir) {
            Ok(socket) => {
                let sessions = context.login.sessions.clone();
                let vitals = control::Vitals {
                    began: Timestamp::now(),
                    dir: context.dir.clone(),
                    tls: context.tls.clone(),
                    users: gates.users.clone(),
                    servers: gates.servers.clone(),
                };
                let serving =
                    control::serve(socket, store, transport, live, sessions, vitals, keeper);
                others.push(task::spawn(serving));
            }
            // Mail goes on without it.
            Err(error) => log::warn!("no control socket: {error}"),
        }
        others.push(task::spawn(collect::run(context.clone())));
        others.push(task::spawn(keep_counts(context.clone())));
        others.push(task::spawn(warn_of_quotas(context.clone())));
        let ending = end_sessions(context.clone(), listeners.clone());
        others.push(task::spawn(ending));
        let ending = end_logins(context.clone(), listeners.clone());
        others.push(task::spawn(ending));
        Ok(Server {
            context,
            dir: dir.to_path_buf(),
            sockets,
            open,
            lmtp: bind_lmtp(dir)
                .inspect_err(|error| log::warn!("no LMTP socket: {error}"))
                .ok(),
            listeners,
            gates,
            queue,
            others,
            signals,
        })
    }

    /// Accepts connections of these services from now on.
    pub fn accept(&mut self, services: &[Service]) {
        let chosen = self
            .sockets
            .extract_if(.., |(listen, _)| services.contains(&listen.service));
        for (listen, socket) in chosen {
            let handler = handler(listen.service, &self.context, &self.gates);
            self.listeners.serve(socket, listen.address, handler);
        }
        if services.contains(&Service::Lmtp)
            && let Some(socket) = self.lmtp.take()
        {
            self.listeners
                .serve_unix(socket, handler(Service::Lmtp, &self.context, &self.gates));
        }
    }

    /// Runs until SIGTERM or SIGINT; SIGHUP reads the certificate anew.
    pub async fn run(&mut self) -> Result<(), Error> {
        loop {
            let changed = self.context.live.changed();
            // Whatever changed before that.
            let applied = self.context.live.applied();
            self.follow_settings().await;
            self.context.live.set_followed(applied);
            let signal = self.signals.next();
            let woken = future::or(async { Some(signal.await) }, async {
                changed.await;
                None
            });
            match woken.await {
                None => {}
                Some(Some(Ok(Signal::Hup))) => acme::reload(&self.context.tls),
                Some(Some(Err(error))) => return Err(error.into()),
                Some(Some(Ok(signal))) => {
                    log::info!("{signal:?}: shutting down");
                    return Ok(());
                }
                Some(None) => return Ok(()),
            }
        }
    }

    /// What is kept of settings, as they are now; sessions go on.
    async fn follow_settings(&mut self) {
        let settings = self.context.settings();
        self.context
            .resolver
            .ask_from_now_on(&settings.name_servers);
        self.queue.nudge();
        self.listeners.set_deadlines(deadlines(&settings));
        self.gates.set(&settings);
        self.follow_certificate(&settings);
        let Ok(wanted) = settings.listen() else {
            return;
        };
        let gone: Vec<Listen> = self
            .open
            .extract_if(.., |it| !wanted.contains(it))
            .collect();
        for listen in &gone {
            self.listeners.close(listen.address).await;
            log::info!("{} on {} is closed", listen.service, listen.address);
        }
        for listen in &wanted {
            if !self.open.contains(listen) {
                self.listen(*listen);
            }
        }
        for listen in stranded(gone, &wanted, &self.open) {
            self.listen(listen);
        }
        let own = self.open.iter().map(|it| it.address);
        self.context.homes.own.set(own);
    }

    /// New connections see another certificate, where the settings say so.
    fn follow_certificate(&self, settings: &Settings) {
        let (tls, source) = (&self.context.tls, certificate_source(&self.dir, settings));
        if tls.is_from(&source) {
            return;
        }
        match tls.set(source) {
            Ok(()) => log::info!("the certificate is {} now", tls.served().from),
            Err(error) => log::error!("the certificate stays as it was: {error}"),
        }
    }

    fn listen(&mut self, listen: Listen) {
        match bind_all(&[listen]) {
            Ok(sockets) => {
                self.sockets.extend(sockets);
                self.open.push(listen);
                self.accept(&[listen.service]);
                log::info!("{} on {}", listen.service, listen.address);
            }
            Err(error) => log::error!("{error}"),
        }
    }

    /// Ends the sessions, then the store: what has been acknowledged is on disk.
    pub async fn stop(self) {
        let grace = self.context.settings().drain_timeout;
        // Who connects to a socket of systemd's waits for the next start.
        passed::refuse_others(false);
        self.listeners.drain(grace).await;
        self.queue.stop(grace).await;
        for task in self.others {
            task.cancel().await;
        }
        self.context.save().await;
        self.context.store.close().await;
        // Only so that the CLI need not try it; a dead socket does no harm.
        let _ = fs::remove_file(control::socket_path(&self.dir));
        let _ = fs::remove_file(self.dir.join(LMTP_SOCKET));
    }
}

/// Of what was closed, that of services which could be opened nowhere where they are wanted:
/// better where they were than nowhere. Who is wanted no more stays closed.
fn stranded(gone: Vec<Listen>, wanted: &[Listen], open: &[Listen]) -> Vec<Listen> {
    let has = |all: &[Listen], one: &Listen| all.iter().any(|it| it.service == one.service);
    let mut gone = gone;
    gone.retain(|it| has(wanted, it) && !has(open, it));
    gone
}

/// For mail servers on this machine, in the data directory.
const LMTP_SOCKET: &str = "lmtp.sock";

/// The store is open, so a socket that is there is a dead server's.
fn bind_lmtp(dir: &Path) -> io::Result<Async<UnixListener>> {
    let path = dir.join(LMTP_SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Async::new(listener)
}

/// Serves `dir` until told to stop.
pub fn serve(
    dir: &Path,
    defaults: Settings,
    given: Chosen,
    hold_schema: bool,
) -> Result<(), Error> {
    let began = Instant::now();
    if passed::adopt()? > 0 {
        log::debug!("listens on the sockets that systemd has opened");
    }
    smol::block_on(async {
        let mut server = Server::open(dir, defaults, given, hold_schema).await?;
        server.accept(&Service::ALL);
        passed::refuse_others(true);
        for listen in &server.open {
            log::info!("{} on {}", listen.service, listen.address);
        }
        log::info!("ready {} ms after the start", began.elapsed().as_millis());
        // Fails only where there is no systemd to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let (store, listeners) = (server.context.store.clone(), server.listeners.clone());
        server.others.extend(watchdog::start(store, listeners));
        let ran = server.run().await;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        server.stop().await;
        ran
    })
}

/// The last part alone: a parent that is missing is more likely a typing error.
fn make_directory(dir: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(format!("can't make {}: {error}", dir.display()).into())
        }
        _ => Ok(()),
    }
}

/// Before anything else: a port that is taken is the most likely reason not to start.
fn bind_all(all: &[Listen]) -> Result<Vec<(Listen, Listener)>, Error> {
    let bind = |it: &Listen| match listen::bind(it.address) {
        Ok(socket) => Ok((*it, socket)),
        Err(error) => {
            let advice = match error.kind() {
                ErrorKind::AddrInUse => "; another --port-base moves all ports",
                ErrorKind::PermissionDenied => {
                    "; ports under 1024 need root, CAP_NET_BIND_SERVICE or a socket of systemd's \
                     (pillarbox help appliance), or use --port-base 20000"
                }
                _ => "",
            };
            let (service, address) = (it.service, it.address);
            Err(format!(
                "can't listen on {address} for {service}: {error}{advice}"
            ))
        }
    };
    let sockets: Result<Vec<_>, String> = all.iter().map(bind).collect();
    Ok(sockets?)
}

/// Largest message in the store, bytes: what message.max-size may be at most, and what the
/// server itself adds to it (trace and missing header fields, CR at bare line ends).
const MAX_STORED: u64 = (1 << 30) + (1 << 20);

async fn open_store(dir: &Path, hold_schema: bool) -> Result<Store, Error> {
    let options = Options {
        max_message: MAX_STORED,
        raise_schema: !hold_schema,
        ..Options::default()
    };
    let path = dir.to_path_buf();
    let store = task::unblock(move || Store::open(&path, options)).await;
    store.map_err(|error| format!("the store in {}: {error}", dir.display()).into())
}

fn transport(context: &Context) -> Arc<Transport> {
    let (store, resolver) = (context.store.clone(), context.resolver.clone());
    let (live, own) = (context.live.clone(), context.homes.own.clone());
    Arc::new(Transport::new(store, resolver, live, own))
}

fn certificate_names(settings: &Settings) -> Vec<String> {
    let mut names = vec![settings.hostname.clone()];
    let more = settings.tls_names.iter();
    names.extend(more.filter(|it| **it != settings.hostname).cloned());
    names
}

fn local_source(dir: &Path, settings: &Settings) -> Source {
    Source::Local {
        data: dir.to_path_buf(),
        names: certificate_names(settings),
    }
}

/// Where the certificate comes from by these settings.
pub fn certificate_source(dir: &Path, settings: &Settings) -> Source {
    match (
        settings.tls_source,
        &settings.tls_certificate,
        &settings.tls_key,
    ) {
        ("auto" | "files", Some(certificate), Some(key)) => Source::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        },
        ("acme", ..) => Source::Acme {
            data: dir.to_path_buf(),
            names: certificate_names(settings),
        },
        _ => local_source(dir, settings),
    }
}

async fn keep_counts(context: Arc<Context>) {
    let mut day = Instant::now();
    loop {
        Timer::after(SAVE_COUNTS).await;
        let day_passed = day.elapsed() >= DAY;
        if day_passed {
            day = Instant::now();
        }
        keep_accounts(&context, day_passed).await;
        context.save().await;
    }
}

/// As soon as mail fills an account; what changes its quota is seen within a minute.
async fn warn_of_quotas(context: Arc<Context>) {
    loop {
        let told = context.store.quotas_told();
        quota::warn(&context.store, &context.settings()).await;
        let minute = async {
            Timer::after(SAVE_COUNTS).await;
        };
        future::or(told, minute).await;
        // Mail that comes in numbers is one look.
        Timer::after(SETTLED).await;
    }
}

/// What falls due at accounts: those deleted long enough ago.
async fn keep_accounts(context: &Context, day_passed: bool) {
    let now = jiff::Timestamp::now().as_second();
    for address in control::purge_expired(&context.store, now, day_passed).await {
        log::info!("{address} was deleted long enough ago: it is gone for good");
        let what = format!("account-purge {address}");
        let event = Event::now(Kind::Change, "", "server", "the clock", &what);
        context.store.note_event(event);
    }
}

/// Who may log in no more goes, as soon as his command is done.
async fn end_sessions(context: Arc<Context>, listeners: Arc<Listeners>) {
    loop {
        let reviewed = context.login.sessions.reviewed();
        let ended = context.overstaying();
        if !ended.is_empty() {
            log::info!("{} sessions end: their accounts changed", ended.len());
            let grace = context.settings().drain_timeout;
            listeners.end(&ended, grace).await;
        }
        reviewed.await;
    }
}

/// So does who logged in by what was taken away.
async fn end_logins(context: Arc<Context>, listeners: Arc<Listeners>) {
    loop {
        for ended in context.store.ended_sessions().await {
            let ids = listeners.owned(|owner| login::is_ended(owner, &ended));
            if !ids.is_empty() {
                let (count, account) = (ids.len(), ended.account.0);
                log::info!("{count} sessions of account {account} end: their login did");
                let grace = context.settings().drain_timeout;
                listeners.end(&ids, grace).await;
            }
        }
    }
}

/// What counts the connections: a crowd of servers keeps no user out, nor the other way round.
struct Gates {
    /// How many connections the system allows.
    room: usize,
    users: Arc<Gate>,
    servers: Arc<Gate>,
    /// Each service that people log in to, alone.
    own: [(Protocol, Arc<Gate>); 3],
}

impl Gates {
    fn new(settings: &Settings, room: usize) -> Gates {
        let gates = Gates {
            room,
            users: Gate::new(Limits::default()),
            servers: Gate::new(Limits::default()),
            own: Protocol::ALL.map(|it| (it, Gate::new(Limits::default()))),
        };
        gates.set(settings);
        gates
    }

    /// For connections that come from now on.
    fn set(&self, settings: &Settings) {
        let incoming = settings.max_incoming.min(self.room / 4);
        self.users.set_limits(Limits {
            total: settings.max_connections.min(self.room - incoming),
            unauthenticated: settings.max_unauthenticated,
            per_source: settings.max_unauthenticated_per_source,
        });
        self.servers.set_limits(Limits {
            total: incoming,
            unauthenticated: incoming,
            per_source: settings.max_incoming_per_source,
        });
        for (protocol, gate) in &self.own {
            let access = access(settings, *protocol);
            gate.set_limits(Limits {
                total: access.max_connections,
                // Strangers leave room for those who come from where people log in.
                unauthenticated: access.max_connections.div_ceil(2),
                per_source: access.max_connections_per_address,
            });
        }
    }

    fn own(&self, service: Service) -> Option<Arc<Gate>> {
        let protocol = match service {
            Service::Imap | Service::Imaps => Protocol::Imap,
            Service::Pop3 | Service::Pop3s => Protocol::Pop3,
            Service::Submission | Service::Submissions => Protocol::Submission,
            Service::Smtp | Service::Lmtp => return None,
        };
        let found = self.own.iter().find(|(it, _)| *it == protocol);
        found.map(|(_, gate)| gate.clone())
    }
}

/// What writes down what is said, where the owner wants that.
fn protocol_log(service: Service, settings: &Settings) -> Option<Tap> {
    let (on, dialect) = match service {
        Service::Imap | Service::Imaps => (settings.imap_access.log, Dialect::Imap),
        Service::Pop3 | Service::Pop3s => (settings.pop3_access.log, Dialect::Pop3),
        Service::Submission | Service::Submissions => {
            (settings.submission_access.log, Dialect::Smtp)
        }
        Service::Smtp | Service::Lmtp => (settings.smtp_log, Dialect::Smtp),
    };
    on.then(|| Tap::new(dialect))
}

fn deadlines(settings: &Settings) -> Deadlines {
    Deadlines {
        handshake: settings.login_timeout,
        write: settings.write_timeout,
    }
}

/// Which driver serves it, and what it says when it can't serve or goes down.
fn handler(service: Service, context: &Arc<Context>, gates: &Gates) -> Handler {
    let context = context.clone();
    let gate = match service {
        Service::Smtp | Service::Lmtp => &gates.servers,
        _ => &gates.users,
    };
    let tls = service.implicit_tls();
    let drive = move |stream: Stream| -> listen::Driving {
        let context = context.clone();
        let stream = match protocol_log(service, &context.settings()) {
            Some(tap) => stream.with_tap(service.name(), tap),
            None => stream,
        };
        match service {
            Service::Submission | Service::Submissions => {
                Box::pin(smtp::serve(context, stream, tls))
            }
            Service::Smtp => Box::pin(smtp::serve_incoming(context, stream, tls)),
            Service::Lmtp => Box::pin(smtp::serve_lmtp(context, stream, tls)),
            Service::Imap | Service::Imaps => Box::pin(imap::serve(context, stream, tls)),
            Service::Pop3 | Service::Pop3s => Box::pin(pop3::serve(context, stream, tls)),
        }
    };
    let (refusal, goodbye, farewell) = match service {
        Service::Imap | Service::Imaps => (
            "* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
            "* BYE Server is shutting down\r\n",
            "* BYE This login holds no more\r\n",
        ),
        // POP3 has no reply that answers no command.
        Service::Pop3 | Service::Pop3s => (
            "-ERR [SYS/TEMP] Too many connections, try again later\r\n",
            "",
            "",
        ),
        Service::Submission | Service::Submissions | Service::Smtp | Service::Lmtp => (
            "421 4.3.2 Too many connections, try again later\r\n",
            "421 4.3.2 Server is shutting down\r\n",
            "421 4.7.0 This login holds no more\r\n",
        ),
    };
    Handler {
        name: service.name(),
        gate: gate.clone(),
        own: gates.own(service),
        refusal: if tls { "" } else { refusal },
        goodbye,
        farewell,
        drive: Arc::new(drive),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_move_opens_where_it_was_and_what_is_off_stays_off() {
        let at = |service, port| Listen {
            service,
            address: ([127, 0, 0, 1], port).into(),
        };
        let (imap, pop3, smtp) = (Service::Imap, Service::Pop3, Service::Smtp);
        // POP3 was switched off, SMTP moved, and IMAP could move nowhere.
        let gone = vec![at(imap, 1), at(imap, 2), at(pop3, 3), at(smtp, 4)];
        let wanted = [at(imap, 11), at(smtp, 14)];
        let again = stranded(gone.clone(), &wanted, &[at(smtp, 14)]);
        assert_eq!(again, [at(imap, 1), at(imap, 2)]);
        // To one of two addresses it could.
        let wanted = [at(imap, 11), at(imap, 12), at(smtp, 14)];
        let open = [at(imap, 12), at(smtp, 14)];
        assert!(stranded(gone, &wanted, &open).is_empty());
    }
}
