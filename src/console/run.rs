//! Drives the console: what it says goes to the terminal, what it asks to the server.

use super::machine::{Console, Event, Moment, Place, Step, Then};
use super::menu::Program;
use super::terminal::{Terminal, Typed};
use crate::appliance::code;
use crate::control;
use crate::setup::text::Language;
use crate::task;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a program of ours may print, bytes; the rest is not shown.
const MAX_OUTPUT: u64 = 256 << 10;
/// systemd's; no search along a path that somebody may have set.
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Runs the console on standard input's terminal until the person leaves. An error is a
/// sentence. `closed`: nothing is told of the server before somebody has logged in.
pub fn run(dir: &Path, language: Language, recover: bool, closed: bool) -> Result<(), String> {
    let mut terminal = Terminal::open().map_err(|error| error.to_string())?;
    let (console, first) = match recover {
        true => Console::recovering(language),
        false => Console::new(place(&terminal, closed), language),
    };
    // What goes wrong from here on is that the terminal is gone.
    let _ = smol::block_on(converse(&mut terminal, dir, console, first));
    Ok(())
}

fn place(terminal: &Terminal, closed: bool) -> Place {
    let root = rustix::process::geteuid().is_root();
    Place {
        local: terminal.is_local(),
        appliance: root && is_appliance(),
        closed,
        code: code::read(Path::new("/")),
    }
}

fn moment() -> Moment {
    let up = clock_gettime(ClockId::Boottime).tv_sec;
    Moment {
        now: Timestamp::now().as_second(),
        up: u64::try_from(up).map_or(Duration::MAX, Duration::from_secs),
    }
}

/// Whether this machine is the server's own, as `pillarbox setup` takes it; and systemd runs.
fn is_appliance() -> bool {
    let there = |path: &str| Path::new(path).exists();
    there("/etc/pillarbox-appliance") && there("/run/systemd/system")
}

async fn converse(
    terminal: &mut Terminal,
    dir: &Path,
    mut console: Console,
    first: Step,
) -> io::Result<()> {
    let mut step = first;
    loop {
        // Before the question is there: who types at once is not seen either.
        if let Then::Read { secret, .. } = step.then {
            terminal.hide(secret)?;
        }
        terminal.say(&step.say).await?;
        let event = match step.then {
            Then::End => return Ok(()),
            Then::Read { within, .. } => match terminal.read(within).await {
                Typed::Line(line) => Event::Line(line),
                Typed::Interrupt => Event::Interrupt,
                Typed::Idle => Event::Idle,
                Typed::Gone => return terminal.say("\n").await,
            },
            Then::Ask(request) => {
                let dir = dir.to_path_buf();
                let asked = task::unblock(move || control::ask(&dir, request));
                match terminal.wait(asked).await {
                    Some(reply) => Event::Replied(reply),
                    None => return Ok(()),
                }
            }
            Then::Run(program) => match perform(terminal, dir, program).await {
                Some(result) => Event::Ran(result),
                None => return Ok(()),
            },
        };
        step = console.step(moment(), event);
    }
}

/// `None` if the terminal is gone meanwhile.
async fn perform(
    terminal: &mut Terminal,
    dir: &Path,
    program: Program,
) -> Option<Result<String, String>> {
    let mut command = match program {
        Program::Own(words) => own(dir, &words),
        Program::Machine(words) => itself(words),
        Program::Setup => {
            terminal.give();
            let dir = dir.to_path_buf();
            let ran = terminal.wait(task::unblock(move || {
                let ended = own(&dir, &["setup".to_string()]).status();
                // It has said itself what went wrong.
                ended.map(|_| String::new()).map_err(|it| it.to_string())
            }));
            let ran = ran.await;
            terminal.take_back();
            return ran;
        }
        Program::Start => systemctl(&["start", "pillarbox.service"]),
        Program::Restart => systemctl(&["restart", "pillarbox.service"]),
        Program::Reboot => systemctl(&["reboot"]),
        Program::PowerOff => systemctl(&["poweroff"]),
    };
    terminal
        .wait(task::unblock(move || output(&mut command)))
        .await
}

/// This program itself, with no shell between.
fn own(dir: &Path, words: &[String]) -> Command {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = itself(&words);
    command.arg("--dir").arg(dir);
    command
}

fn itself(words: &[&str]) -> Command {
    let exe = PathBuf::from("/proc/self/exe");
    let mut command = Command::new(std::env::current_exe().unwrap_or(exe));
    command.args(words);
    command
}

fn systemctl(words: &[&str]) -> Command {
    let mut command = Command::new(SYSTEMCTL);
    command.args(words);
    command
}

/// What it prints, all together; an error if it fails, with what it says.
fn output(command: &mut Command) -> Result<String, String> {
    let (mut reader, writer) = io::pipe().map_err(|error| error.to_string())?;
    let errors = writer.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(writer).stderr(errors);
    let child = command.spawn();
    // Our ends of the pipe, or it would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child: Child = child.map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    let read = reader.by_ref().take(MAX_OUTPUT).read_to_end(&mut text);
    drop(reader);
    let ended = child.wait().map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text).into_owned();
    match ended.success() || text.lines().count() > 1 {
        true => Ok(text),
        false => Err(text),
    }
}
