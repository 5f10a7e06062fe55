//! The control socket: `control.sock` in the data directory, the owner's alone. The CLI
//! writes one [`Request`] a line; a running server answers with rows and `ok`, or `error`.
//! With no server running the CLI does the same on the store itself.

mod addressing;
mod administrator;
mod auditing;
mod certificates;
mod checking;
mod collecting;
mod homes;
mod keys;
mod lifecycle;
mod perform;
mod queue;
mod request;
mod routing;
mod settings;
mod setup;
mod status;
mod tls;
mod updating;

pub use crate::store::check::Verdict;
pub use addressing::Addressing;
pub use administrator::{Administrator, administrator_note, administrator_record};
pub use auditing::Auditing;
pub use certificates::Certificates;
pub use checking::{Checked, Checking, Checks, check, last_check};
pub use collecting::Collecting;
pub use homes::Homes;
pub use keys::Keys;
pub use lifecycle::{Lifecycle, purge_expired};
pub use perform::perform;
pub use queue::{Queue, What, Which};
pub use request::{Reply, Request};
pub use routing::Routing;
pub use settings::{Choosing, chosen};
pub use setup::{SettingUp, learn};
pub use status::Vitals;
pub use tls::Certificate;
pub use updating::Updating;

use crate::acme::Keeper;
use crate::login::sessions::Sessions;
use crate::net::stream::{Deadlines, Stream};
use crate::queue::transport::Transport;
use crate::settings::document::Chosen;
use crate::settings::{Live, Settings};
use crate::store::{Options, Store};
use crate::task;
use crate::wire::{Input, Line};
use administrator::Guesses;
use async_io::Async;
use perform::perform_in;
use request::{read_reply, write_reply};
use std::fs::{self, Permissions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longest request, bytes: all settings, each byte escaped.
const MAX_LINE: usize = 64 << 10;
/// Connections served at once; more wait.
const MAX_CONNECTIONS: usize = 8;
/// How long a client of the socket may stay silent, or not read.
const SERVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the CLI waits for an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the socket of a data directory is.
pub fn socket_path(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// Opens the socket. Call it with the store open: its lock says that a socket found there
/// is a dead server's.
pub fn bind(dir: &Path) -> io::Result<Async<UnixListener>> {
    let path = socket_path(dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Async::new(listener)
}

/// Serves the socket until dropped.
pub async fn serve(
    listener: Async<UnixListener>,
    store: Store,
    transport: Arc<Transport>,
    live: Arc<Live>,
    sessions: Arc<Sessions>,
    vitals: Vitals,
    keeper: Arc<Keeper>,
) {
    let places = Arc::new(async_lock::Semaphore::new(MAX_CONNECTIONS));
    let running = Arc::new(Running {
        transport,
        live,
        keeper,
        guesses: Guesses::default(),
        sessions,
        vitals,
        checks: Checks::default(),
    });
    loop {
        let place = places.acquire_arc().await;
        match listener.accept().await {
            Ok((socket, _)) => {
                let (store, running, who) = (store.clone(), running.clone(), peer(&socket));
                task::spawn(async move {
                    converse(socket, &store, &running, &who).await;
                    drop(place);
                })
                .detach();
            }
            Err(error) => {
                log::warn!("control socket: {error}");
                async_io::Timer::after(Duration::from_secs(1)).await;
            }
        }
    }
}

/// What a running server has, beside its store.
struct Running {
    transport: Arc<Transport>,
    live: Arc<Live>,
    keeper: Arc<Keeper>,
    guesses: Guesses,
    /// Who is logged in.
    sessions: Arc<Sessions>,
    vitals: Vitals,
    checks: Checks,
}

/// What a request may concern.
struct World<'a> {
    store: &'a Store,
    /// Who asks.
    who: &'a str,
    /// The data directory, where no server runs that knows it.
    dir: Option<&'a Path>,
    running: Option<&'a Running>,
}

impl World<'_> {
    fn live(&self) -> Option<&Live> {
        self.running.map(|it| &*it.live)
    }

    fn keep_log(&self) -> Duration {
        match self.running {
            Some(running) => running.live.now().keep_log,
            // What can't be read takes nothing away.
            None => stored(self.store).map_or(Duration::MAX, |it| it.now().keep_log),
        }
    }

    async fn save_events(&self) {
        if let Err(error) = self.store.save_events(self.keep_log()).await {
            log::warn!("the audit log can't be saved: {error}");
        }
    }
}

/// What holds of a store that no server runs on.
fn stored(store: &Store) -> Result<Live, String> {
    Live::new(Settings::default(), Chosen::new(), &chosen(store)?)
}

/// The user at the other end.
fn peer(socket: &Async<UnixStream>) -> String {
    match rustix::net::sockopt::socket_peercred(socket.get_ref()) {
        Ok(credentials) => user(credentials.uid.as_raw()),
        Err(_) => "unknown".into(),
    }
}

/// How a user is named in records.
fn user(id: u32) -> String {
    match id {
        0 => "root".into(),
        id => format!("user {id}"),
    }
}

async fn converse(socket: Async<UnixStream>, store: &Store, running: &Running, who: &str) {
    let world = World {
        store,
        who,
        dir: None,
        running: Some(running),
    };
    let deadlines = Deadlines {
        handshake: SERVER_TIMEOUT,
        write: SERVER_TIMEOUT,
    };
    let mut stream = Stream::unix(socket, deadlines);
    let mut input = Input::new();
    loop {
        let reply = match input.line(MAX_LINE, true) {
            Line::Complete { length, end } => {
                let line = input.bytes().get(..length).unwrap_or_default();
                let request = Request::read(line);
                input.consume(end);
                answer(&world, running, request).await
            }
            Line::Partial => match stream.receive(&mut input, SERVER_TIMEOUT).await {
                Ok(1..) => continue,
                _ => return,
            },
            Line::TooLong => {
                let reply = Err("the request is too long".to_string());
                let _ = stream.send(&write_reply(&reply)).await;
                return stream.close().await;
            }
        };
        if stream.send(&write_reply(&reply)).await.is_err() {
            return;
        }
    }
}

async fn answer(world: &World<'_>, running: &Running, request: Result<Request, String>) -> Reply {
    let request = request?;
    let (name, changes) = (request.describe(), request.changes());
    // Asked four times a second.
    let quiet = matches!(request, Request::Checking(Checking::State));
    let checks_password = matches!(request, Request::Administrator(Administrator::Check { .. }));
    if !changes && !quiet {
        // What is shown includes the last minute.
        world.save_events().await;
    }
    let reply = perform_in(world, request).await;
    if checks_password && let Ok(rows) = &reply {
        auditing::note_check(world.store, world.who, rows);
    }
    if changes && reply.is_ok() {
        auditing::note_change(world.store, world.who, &name, world.keep_log()).await;
    }
    match &reply {
        Ok(_) if quiet => {}
        Ok(_) => {
            log::info!("control: {name}");
            // It may be an account that is logged in.
            running.sessions.review();
        }
        Err(error) => log::info!("control: {name}: {error}"),
    }
    reply
}

/// Has the running server do it, or does it on the store if none runs.
pub fn ask(dir: &Path, request: Request) -> Reply {
    match UnixStream::connect(socket_path(dir)) {
        Ok(socket) => ask_server(&socket, &request)
            .map_err(|error| format!("the server's answer: {error}"))?,
        Err(error) if no_server(&error) => on_the_store(dir, request),
        Err(error) => Err(format!(
            "can't reach the server at {}: {error}",
            socket_path(dir).display()
        )),
    }
}

/// As `ask`, but `None` where no server runs.
pub fn ask_running(dir: &Path, request: Request) -> Option<Reply> {
    let socket = UnixStream::connect(socket_path(dir)).ok()?;
    let reply = ask_server(&socket, &request);
    Some(reply.unwrap_or_else(|error| Err(format!("the server's answer: {error}"))))
}

/// Whether a server runs on `dir`.
pub fn is_running(dir: &Path) -> bool {
    match UnixStream::connect(socket_path(dir)) {
        Ok(_) => true,
        // Who may not talk to it is told so by what comes next.
        Err(error) => !no_server(&error),
    }
}

/// No socket, or one that a dead server left.
fn no_server(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn ask_server(mut socket: &UnixStream, request: &Request) -> io::Result<Reply> {
    socket.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    socket.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    socket.write_all(request.write().reveal())?;
    read_reply(&mut BufReader::new(socket))
}

fn on_the_store(dir: &Path, request: Request) -> Reply {
    // The first account may come before the first start; opening makes the rest.
    let begins = matches!(
        request,
        Request::AddAccount { .. }
            | Request::Administrator(Administrator::Set { .. })
            | Request::SettingUp(SettingUp::Apply(_))
    );
    if dir.exists() || !begins {
        check_owner(dir)?;
    }
    let store = Store::open(dir, Options::default()).map_err(|error| error.to_string())?;
    smol::block_on(async {
        let (name, changes) = (request.describe(), request.changes());
        let who = perform::own_user();
        let world = World {
            store: &store,
            who: &who,
            dir: Some(dir),
            running: None,
        };
        let reply = perform_in(&world, request).await;
        if changes && reply.is_ok() {
            auditing::note_change(&store, &who, &name, world.keep_log()).await;
        }
        store.close().await;
        reply
    })
}

/// Files that root makes in the server's directory, the server could not write.
fn check_owner(dir: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let me = rustix::process::geteuid().as_raw();
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => Err(format!("{} is no directory", dir.display())),
        Ok(found) if found.uid() != me => Err(format!(
            "{} belongs to user {}: run this as that user, or start the server first",
            dir.display(),
            found.uid()
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "there is no mail store in {}: {error}",
            dir.display()
        )),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
