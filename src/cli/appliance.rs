//! `pillarbox box`: a machine that is the server's own.

use super::{Error, data_dir};
use crate::appliance::ssh::Ssh;
use crate::appliance::{answers, code, reset, systemctl};
use crate::control::{self, Administrator, Request};
use argh::FromArgs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// How often the server is asked while it starts, and for how long.
const ASK_EVERY: Duration = Duration::from_millis(200);
const ASK_TIMES: u32 = 600;

/// A machine that is the server's own (a box): first boot, SSH, factory reset.
#[derive(FromArgs)]
#[argh(subcommand, name = "box")]
pub struct BoxCommand {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Start(Start),
    Ssh(SshCommand),
    Reset(Reset),
}

/// What is done at each start: take pillarbox.toml of the boot partition, offer a new box by
/// SSH, open SSH where it is allowed.
#[derive(FromArgs)]
#[argh(subcommand, name = "start")]
struct Start {
    /// where the boot partition is mounted (default /boot)
    #[argh(option, default = "PathBuf::from(\"/boot\")")]
    boot: PathBuf,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    /// directory that stands for / (default /)
    #[argh(option, default = "PathBuf::from(\"/\")")]
    root: PathBuf,
    /// after --: further options of pillarbox setup
    #[argh(positional)]
    setup: Vec<String>,
}

/// The console by SSH: on, off, key LINE, forget WORD, keys.
#[derive(FromArgs)]
#[argh(subcommand, name = "ssh")]
struct SshCommand {
    /// on, off; key: let the owner of a public key in, and nobody without; forget: keys with
    /// that word; keys: list them
    #[argh(positional)]
    action: String,
    /// the key's line, or the word
    #[argh(positional)]
    words: Vec<String>,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    /// directory that stands for / (default /)
    #[argh(option, default = "PathBuf::from(\"/\")")]
    root: PathBuf,
}

/// Remove all mail and settings at the next start, which comes at once.
#[derive(FromArgs)]
#[argh(subcommand, name = "reset")]
struct Reset {
    /// really do it
    #[argh(switch)]
    yes: bool,
    /// what the start does that was asked to
    #[argh(switch)]
    finish: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    /// directory that stands for / (default /)
    #[argh(option, default = "PathBuf::from(\"/\")")]
    root: PathBuf,
}

impl BoxCommand {
    pub fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Start(action) => action.run(),
            Action::Ssh(action) => action.run(),
            Action::Reset(action) => action.run(),
        }
    }
}

impl Start {
    fn run(self) -> Result<(), Error> {
        let dir = data_dir(self.dir.clone());
        let mut fresh = is_fresh(&dir)?;
        let mut taken = Ok(());
        if let Some(file) = answers::find(&self.boot) {
            taken = self.use_file(&file, &dir, fresh);
            fresh = is_fresh(&dir)?;
        }
        let ssh = Ssh::new(&self.root);
        match fresh {
            true => {
                code::make(&self.root)?;
                ssh.open()?;
            }
            false if ssh.is_on() => ssh.open()?,
            false => {}
        }
        // A boot partition that can't be written closes no other way in.
        taken
    }

    fn use_file(&self, file: &Path, dir: &Path, fresh: bool) -> Result<(), Error> {
        let told = self.take(file, dir, fresh)?;
        say!("{}", told.trim_end());
        Ok(answers::tell(&self.boot, &told)?)
    }

    /// What is told of it.
    fn take(&self, file: &Path, dir: &Path, fresh: bool) -> Result<String, Error> {
        if !fresh {
            answers::wipe(file)?;
            return Ok(
                "This box was set up before, so pillarbox.toml was not used.\n\
                       It was removed, for it may hold passwords. To set the box up anew,\n\
                       choose the factory reset on its console first.\n"
                    .into(),
            );
        }
        let ended = self.set_up(file, dir)?;
        let told = [&ended.stdout, &ended.stderr].map(|it| String::from_utf8_lossy(it));
        let told = told.concat();
        Ok(match ended.status.success() {
            true => {
                answers::wipe(file)?;
                format!(
                    "pillarbox is set up. pillarbox.toml was removed: it held passwords.\n\n{told}"
                )
            }
            // The accounts are there, and something else went wrong.
            false if !is_fresh(dir)? => {
                answers::wipe(file)?;
                format!(
                    "pillarbox is set up, but not all of it could be done:\n\n{told}\n\
                     pillarbox.toml was removed: it held passwords. Do the rest on the console.\n"
                )
            }
            false => format!(
                "pillarbox is NOT set up:\n\n{told}\nMend pillarbox.toml and start the box again.\n"
            ),
        })
    }

    fn set_up(&self, file: &Path, dir: &Path) -> Result<Output, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["setup", "--appliance", "--answers"])
            .arg(file);
        command.arg("--dir").arg(dir).arg("--root").arg(&self.root);
        command.args(&self.setup);
        Ok(command.stdin(Stdio::null()).output()?)
    }
}

/// Whether nobody has set the server up; waits until it answers.
fn is_fresh(dir: &Path) -> Result<bool, Error> {
    let mut tried = 0;
    loop {
        // With no server, the command line would make a store of its own.
        let answers = control::socket_path(dir).exists();
        let asked = match answers {
            true => control::ask(dir, Request::Administrator(Administrator::Show)),
            false => Err(format!("no server serves {}", dir.display())),
        };
        match asked {
            Ok(rows) if !rows.iter().flatten().any(|it| it == "none") => return Ok(false),
            Ok(_) => {
                let status = control::ask(dir, Request::Status)?;
                return Ok(status.iter().any(|row| *row == ["accounts", "0"]));
            }
            Err(error) if tried >= ASK_TIMES => return Err(error.into()),
            Err(_) => std::thread::sleep(ASK_EVERY),
        }
        tried += 1;
    }
}

impl SshCommand {
    fn run(self) -> Result<(), Error> {
        let ssh = Ssh::new(&self.root);
        let words = self.words.join(" ");
        match (self.action.as_str(), words.as_str()) {
            ("on", "") => {
                ssh.allow()?;
                say!("The console can be reached by SSH: ssh console@ADDRESS");
            }
            ("off", "") => {
                ssh.forbid()?;
                say!("The console can't be reached by SSH any more.");
            }
            ("keys", "") => ssh.keys().iter().for_each(|it| say!("{it}")),
            ("key", key) if !key.is_empty() => {
                ssh.add_key(key)?;
                say!("By SSH nobody is let in without a key any more.");
            }
            ("forget", word) if !word.is_empty() => match ssh.remove_keys(word)? {
                0 => return Err(format!("no key has the word {word}").into()),
                _ if ssh.keys().is_empty() => {
                    say!("There is no key any more: the administrator's password is enough.");
                }
                _ => say!("Removed."),
            },
            ("serve", "") => return Err(ssh.serve(&console(self.dir)?).into()),
            _ => return Err("on, off, keys, key LINE or forget WORD".into()),
        }
        Ok(())
    }
}

/// What SSH gives, as a shell takes it: it tells nothing of the server before somebody has
/// logged in.
fn console(dir: Option<PathBuf>) -> Result<String, Error> {
    let exe = std::env::current_exe()?;
    let dir = data_dir(dir);
    let command = format!(
        "exec {} console --closed --dir {}",
        exe.display(),
        dir.display()
    );
    let plain = |c: char| c.is_ascii_alphanumeric() || " /._-".contains(c);
    match command.chars().all(plain) && command.split(' ').count() == 6 {
        true => Ok(command),
        false => {
            Err(format!("{command}: a path has letters that a shell takes for its own").into())
        }
    }
}

impl Reset {
    fn run(self) -> Result<(), Error> {
        if self.finish {
            if reset::is_asked(&self.root) {
                reset::finish(&self.root, &data_dir(self.dir))?;
                say!("All mail and settings were removed; the box begins anew.");
            }
            return Ok(());
        }
        if !self.yes {
            return Err("this removes all mail, accounts and settings: add --yes to do it".into());
        }
        reset::ask(&self.root)?;
        say!("At the next start everything is removed.");
        match systemctl(&self.root, &["reboot"]) {
            true => Ok(()),
            false => Err("the machine does not restart by itself: switch it off and on".into()),
        }
    }
}
