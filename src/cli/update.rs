//! `pillarbox update`: a new version on the appliance's idle slot.

use super::{Error, data_dir};
use crate::control::{self, Request, Updating};
use crate::net::connect::Authorities;
use crate::net::dns::Resolver;
use crate::update::board::{BOARD_FILE, Board, read_small};
use crate::update::fetch::Net;
use crate::update::minisign::{MAX_FILE, Verifier};
use crate::update::package::{Head, MAX_HEAD, Version};
use crate::update::slots::Slots;
use crate::update::state::{Slot, State, TRIES};
use argh::FromArgs;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Largest update file, bytes.
const MAX_UPDATE: u64 = 512 << 20;
/// Bytes that stay free where it is downloaded to.
const SPARE: u64 = 8 << 20;
/// Bytes of it that are checked at once.
const PIECE: usize = 64 << 10;
/// The most that unpacking keeps in memory: 2 to this power, bytes (zstd -19 needs no more).
const MAX_WINDOW: u32 = 23;
/// How long --confirm waits for the server, and how often it looks.
const CONFIRM_WAIT: Duration = Duration::from_secs(300);
const CONFIRM_PAUSE: Duration = Duration::from_millis(250);

/// Put a new version on an appliance, or go back to the one before.
#[derive(FromArgs)]
#[argh(subcommand, name = "update")]
pub struct Update {
    /// update file, or its https URL
    #[argh(positional, arg_name = "file-or-url")]
    from: Option<String>,
    /// its signature (default: the same name with .minisig)
    #[argh(option, arg_name = "file-or-url")]
    signature: Option<String>,
    /// take an older version than the one that runs too
    #[argh(switch)]
    downgrade: bool,
    /// restart the machine when all is done
    #[argh(switch)]
    reboot: bool,
    /// show what is in the slots, what runs and what starts next
    #[argh(switch)]
    status: bool,
    /// keep the version that runs, once its server answers
    #[argh(switch)]
    confirm: bool,
    /// start the version in the other slot from now on
    #[argh(switch)]
    back: bool,
    /// certificate authorities to trust beside the system's for a URL, PEM
    #[argh(option)]
    tls_authorities: Option<PathBuf>,
    /// what says which machine this is (default /usr/share/pillarbox/board)
    #[argh(option, default = "PathBuf::from(BOARD_FILE)")]
    board_file: PathBuf,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl Update {
    pub fn run(self) -> Result<(), Error> {
        let switches = [self.status, self.confirm, self.back];
        let count = switches.iter().filter(|it| **it).count() + usize::from(self.from.is_some());
        if count != 1 {
            return Err("give a file or URL, or one of --status, --confirm, --back".into());
        }
        let Some(board) = Board::read(&self.board_file)? else {
            let what = "this machine is no pillarbox appliance";
            if self.confirm {
                say!("{what}: there is nothing to confirm.");
                return Ok(());
            }
            return Err(format!("{what}: update pillarbox the way it was installed").into());
        };
        match &self.from {
            Some(from) => self.install(&board, from)?,
            None if self.status => return show(&board),
            None if self.confirm => return self.keep(&board),
            None => self.go_back(&board)?,
        }
        match self.reboot {
            true => reboot(),
            false => Ok(()),
        }
    }

    fn install(&self, board: &Board, from: &str) -> Result<(), Error> {
        let keys = board.keys()?;
        let card = board.card(true)?;
        let slots = Slots::find(&card)?;
        let running = board.running.slot;
        slots.may_install(running)?;
        let (mut file, signature) = self.open(board, from)?;
        let verifier = Verifier::new(&keys, &signature)?;
        // The head is taken from the bytes that were signed, whatever becomes of the file.
        let (head, begin) = check_signature(&mut file, verifier)?;
        self.check_head(board, &head)?;
        say!(
            "The signature is good: version {} for {}.",
            head.version,
            head.board
        );
        let idle = running.other();
        say!(
            "Writing slot {idle} and reading it back; slot {running}, which runs, stays as it is ..."
        );
        file.seek(SeekFrom::Start(begin as u64))?;
        let mut image = zstd::stream::read::Decoder::new(file)?;
        image.window_log_max(MAX_WINDOW)?;
        slots.install(running, &head, &mut image)?;
        self.note("install", &head.version);
        say!(
            "Done. The next start tries version {} in slot {idle}, up to {TRIES} times. It is kept \
             once its server answers; else version {} starts again.",
            head.version,
            board.version
        );
        Ok(())
    }

    /// The update file, and the text of its signature.
    fn open(&self, board: &Board, from: &str) -> Result<(File, String), Error> {
        let signature = match &self.signature {
            Some(signature) => signature.clone(),
            None => format!("{from}.minisig"),
        };
        let net = Net {
            resolver: Resolver::of(&[]),
            authorities: Authorities::new(self.tls_authorities.clone()),
        };
        let text = match is_url(&signature) {
            true => {
                let mut text = Vec::new();
                let got = net.fetch(&signature, MAX_FILE as u64, &|_| Ok(()), &mut text);
                smol::block_on(got)?;
                String::from_utf8(text).map_err(|_| "the signature is no text")?
            }
            false => read_small(Path::new(&signature))?,
        };
        if !is_url(from) {
            let file = File::open(from).map_err(|error| format!("{from}: {error}"))?;
            let found = file.metadata()?;
            if !found.is_file() {
                return Err(format!("{from} is no file").into());
            }
            if found.len() > MAX_UPDATE {
                return Err(format!("{from} has more than {MAX_UPDATE} bytes").into());
            }
            return Ok((file, text));
        }
        // Not into the slot at once: what is not signed is neither unpacked, nor does it take
        // the place of a version that one could go back to. The file has no name, so nothing
        // is left of it whatever happens.
        let work = &board.work;
        let file = tempfile::tempfile_in(work).map_err(|it| format!("{}: {it}", work.display()))?;
        say!("Downloading {from} ...");
        let fits = |length| room_for(work, length);
        smol::block_on(net.fetch(from, MAX_UPDATE, &fits, &mut &file))?;
        Ok((file, text))
    }

    /// Whether it is for this machine, and can read what the store has.
    fn check_head(&self, board: &Board, head: &Head) -> Result<(), Error> {
        if head.board != board.name {
            let (theirs, ours) = (&head.board, &board.name);
            return Err(format!("the update is for {theirs}, this machine is {ours}").into());
        }
        if head.version.is_older_than(&board.version) && !self.downgrade {
            let (theirs, ours) = (&head.version, &board.version);
            let advice = "--downgrade takes it all the same";
            return Err(
                format!("version {theirs} is older than {ours}, which runs; {advice}").into(),
            );
        }
        self.check_schema(board, &head.version, head.schema)
    }

    fn check_schema(&self, board: &Board, version: &Version, reads: u64) -> Result<(), Error> {
        let rows = self
            .ask(Request::Status)
            .and_then(Result::ok)
            .unwrap_or_default();
        let row = rows.iter().find_map(|row| match row.as_slice() {
            [name, schema] if name == "schema" => schema.parse().ok(),
            _ => None,
        });
        // With no server to ask: what this version has, or will have, made of the store.
        let stored: u64 = row.unwrap_or(board.schema);
        match stored > reads {
            true => Err(format!(
                "the store has schema {stored}, version {version} reads up to schema {reads}: it \
                 could not open the mail"
            )
            .into()),
            false => Ok(()),
        }
    }

    fn keep(&self, board: &Board) -> Result<(), Error> {
        let running = board.running.slot;
        if board_state(board)?.of(running).good {
            say!(
                "Slot {running}, version {}, is good already.",
                board.version
            );
            return Ok(());
        }
        // The server answers when its store is open and its ports are bound.
        let end = Instant::now() + CONFIRM_WAIT;
        while self.ask(Request::Status).is_none_or(|it| it.is_err()) {
            if Instant::now() > end {
                let version = &board.version;
                return Err(format!(
                    "the server does not answer: version {version} stays on trial"
                )
                .into());
            }
            std::thread::sleep(CONFIRM_PAUSE);
        }
        let card = board.card(true)?;
        Slots::find(&card)?.confirm(running)?;
        self.note("confirm", &board.version);
        say!("Version {} in slot {running} is kept.", board.version);
        Ok(())
    }

    fn go_back(&self, board: &Board) -> Result<(), Error> {
        let card = board.card(true)?;
        let slots = Slots::find(&card)?;
        let running = board.running.slot;
        let label = slots.label(running.other())?;
        if let Some(head) = &label {
            self.check_schema(board, &head.version, head.schema)?;
        }
        let to = slots.go_back(running)?;
        let unknown = || Version::parse("unknown");
        if let Some(version) = label.map(|it| it.version).or_else(unknown) {
            self.note("back", &version);
            say!("The next start is that of slot {to}, version {version}.");
        }
        Ok(())
    }

    fn ask(&self, request: Request) -> Option<control::Reply> {
        control::ask_running(&data_dir(self.dir.clone()), request)
    }

    /// Has the audit log know it; where no server runs, nobody keeps one.
    fn note(&self, what: &str, version: &Version) {
        let request = Updating {
            what: what.to_string(),
            version: version.to_string(),
        };
        match self.ask(Request::Updating(request)) {
            Some(Err(error)) => log::warn!("the audit log does not know of it: {error}"),
            Some(Ok(_)) => {}
            None => log::warn!("the audit log does not know of it: no server runs"),
        }
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("https://")
}

/// Whether so many bytes have room in a directory.
fn room_for(directory: &Path, length: u64) -> io::Result<()> {
    let space = rustix::fs::statvfs(directory)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    match free >= length.saturating_add(SPARE) {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{} has no room for {length} bytes",
            directory.display()
        ))),
    }
}

/// Passes the whole file; its head, and where what follows begins.
fn check_signature(file: &mut File, mut verifier: Verifier) -> Result<(Head, usize), Error> {
    file.rewind()?;
    let (mut start, mut piece) = (Vec::new(), vec![0; PIECE]);
    loop {
        let count = file.read(&mut piece)?;
        let bytes = piece.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        verifier.update(bytes);
        let wanted = (MAX_HEAD - start.len()).min(count);
        start.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
    }
    verifier.finish()?;
    Head::read(&start).ok_or_else(|| "that is no update file of pillarbox".into())
}

fn board_state(board: &Board) -> Result<State, Error> {
    let card = board.card(false)?;
    Ok(Slots::find(&card)?.state()?)
}

fn show(board: &Board) -> Result<(), Error> {
    let card = board.card(false)?;
    let slots = Slots::find(&card)?;
    let state = slots.state()?;
    say!("Board       {}", board.name);
    for slot in Slot::ALL {
        let runs = slot == board.running.slot;
        let label = slots.label(slot)?;
        let what = match (&label, runs) {
            (_, true) => format!("version {} (schema {})", board.version, board.schema),
            (Some(head), _) => format!("version {} (schema {})", head.version, head.schema),
            (None, _) => "version not known".into(),
        };
        let standing = state.of(slot);
        let how = match (standing.good, standing.tries) {
            (true, _) => "good".to_string(),
            (false, 1) => "on trial, 1 try left".to_string(),
            (false, 0) if runs => "on trial, no tries left".to_string(),
            (false, 0) => "not to be started".to_string(),
            (false, tries) => format!("on trial, {tries} tries left"),
        };
        let now = if runs { ", runs" } else { "" };
        say!("Slot {slot}      {what}, {how}{now}");
    }
    say!("Next start  slot {}", state.next_boot());
    Ok(())
}

fn reboot() -> Result<(), Error> {
    say!("Restarting the machine ...");
    match Command::new("systemctl").arg("reboot").status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("systemctl reboot: {status}").into()),
        Err(error) => Err(format!("systemctl reboot: {error}").into()),
    }
}
