//! `pillarbox setup`: the wizard's terminal, its files and its view of the world.

mod kept;
mod machine;
mod terminal;
mod world;

use super::dns::records;
use super::settings::in_force;
use super::{Error, data_dir};
use crate::appliance::code;
use crate::appliance::ssh::Ssh;
use crate::authentication::ascii_domain;
use crate::control::{self, Keys, Request, SettingUp};
use crate::net::authority::Authority;
use crate::secret::{Credential, Secret};
use crate::settings::connections::{Side, connections};
use crate::settings::{Settings, server};
use crate::setup::answers::{Answers, Facts};
use crate::setup::check::Finding;
use crate::setup::document::{self, MAX_LENGTH};
use crate::setup::finish::{self, Ending};
use crate::setup::machine::MARKER;
use crate::setup::sealed;
use crate::setup::text::wrap;
use crate::setup::wizard::{self, Step, Wizard};
use crate::setup::words::{APPLYING, SYSTEM_FAILED};
use argh::FromArgs;
use kept::Kept;
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use terminal::{Terminal, Typed};
use world::World;

/// Set the server up: questions one after the other, a review, then all is applied at once.
#[derive(FromArgs)]
#[argh(subcommand, name = "setup")]
pub struct Setup {
    /// data directory, made if missing (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    /// take the answers from this TOML file and ask nothing
    #[argh(option, arg_name = "file")]
    answers: Option<PathBuf>,
    /// ask for network and time zone too, and set them: the machine is the server's own (so it
    /// is where /etc/pillarbox-appliance is)
    #[argh(switch)]
    appliance: bool,
    /// directory that stands for / where network and time zone are written (default /)
    #[argh(option, default = "PathBuf::from(\"/\")")]
    root: PathBuf,
    /// name server to ask, ADDRESS or ADDRESS:PORT, up to three times (default: those of
    /// /etc/resolv.conf)
    #[argh(option, from_str_fn(server))]
    name_server: Vec<SocketAddr>,
    /// server by which it is seen whether port 25 is open outwards, HOST or ADDRESS:PORT
    /// (default: one that takes mail for gmail.com)
    #[argh(option)]
    probe: Option<String>,
}

impl Setup {
    pub fn run(self) -> Result<(), Error> {
        let dir = data_dir(self.dir.clone());
        make_directory(&dir)?;
        let facts = self.facts(&dir)?;
        let kept = Kept::new(&dir);
        let probe = self.probe.clone();
        let world = World::new(&dir, &self.root, &self.name_server, probe);
        let answers = match &self.answers {
            Some(file) => match from_file(file, &facts, &world)? {
                answers if facts.appliance => self.change_machine(answers)?,
                answers => answers,
            },
            None => match converse(&dir, &facts, &kept, &world)? {
                Some(answers) if facts.appliance => self.change_machine(answers)?,
                Some(answers) => answers,
                None => return Ok(()),
            },
        };
        kept.remove();
        if facts.appliance {
            // Who sets it up again has to log in.
            code::forget(&self.root);
            let ssh = Ssh::new(&self.root);
            ssh.close();
            if ssh.is_on() {
                // Where that fails, it is open from the next start.
                let _ = ssh.open();
            }
        }
        let ending = ending(&dir, &answers)?;
        say!("{}", finish::say(&ending, answers.language()).trim_end());
        Ok(())
    }

    fn facts(&self, dir: &Path) -> Result<Facts, Error> {
        let mut facts = Facts {
            appliance: self.appliance || self.root.join(MARKER).exists(),
            hostname: Settings::of_this_machine().hostname,
            ..Facts::default()
        };
        // Nothing is made by asking.
        if runs(dir) || dir.join("meta.redb").exists() {
            let rows = control::ask(dir, Request::SettingUp(SettingUp::Facts))?;
            control::learn(rows, &mut facts);
        }
        Ok(facts)
    }

    fn change_machine(&self, answers: Answers) -> Result<Answers, Error> {
        match machine::change(&self.root, &answers) {
            Ok(()) => Ok(answers),
            Err(why) => {
                let text = SYSTEM_FAILED.with(answers.language(), &[&why]);
                Err(wrap(&text).into())
            }
        }
    }
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

/// Whether a server has the directory now.
fn runs(dir: &Path) -> bool {
    UnixStream::connect(control::socket_path(dir)).is_ok()
}

/// The wizard at the terminal; `None` if it was left.
fn converse(
    dir: &Path,
    facts: &Facts,
    kept: &Kept,
    world: &World,
) -> Result<Option<Answers>, Error> {
    let mut wizard = Wizard::new(facts.clone(), kept.read());
    let terminal = Terminal::open();
    loop {
        let step = wizard.step();
        if !matches!(step, Step::Save(_) | Step::Line { .. }) {
            terminal.show(&wizard.take_output())?;
        }
        match step {
            Step::Save(text) => wizard.saved(kept.write(&text)),
            Step::Line { secret } => match terminal.ask(&wizard.take_output(), secret)? {
                Typed::Line(line) => wizard.line(Some(line.reveal())),
                Typed::Unreadable => wizard.line(None),
                Typed::End => wizard.leave(),
            },
            Step::Check(check) => wizard.found(world.look(check, wizard.answers())),
            Step::Seal(password) => wizard.sealed(seal(&password)),
            Step::Apply => wizard.applied(apply(dir, wizard.answers())),
            Step::Done => return Ok(Some(wizard.answers().clone())),
            Step::Left => return Ok(None),
        }
    }
}

/// The answers of a file, applied. What is wrong with the world is told; what can't be used
/// stops it before anything is changed.
fn from_file(file: &Path, facts: &Facts, world: &World) -> Result<Answers, Error> {
    let refused = |why: String| format!("{}: {why}; nothing was changed", file.display());
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| refused(error.to_string()))?;
    let mut limited = opened.take(MAX_LENGTH as u64 + 1);
    limited
        .read_to_string(&mut text)
        .map_err(|error| refused(error.to_string()))?;
    let text = Secret::new(text);
    let mut answers = document::read(text.reveal(), facts).map_err(refused)?;
    for name in document::unsealed(&answers) {
        let password = Secret::new(answers.get(name).unwrap_or_default().to_string());
        let sealed = seal(&password).map_err(|why| refused(format!("{name}: {why}")))?;
        answers.put(name, sealed);
    }
    let language = answers.language();
    for check in wizard::checks(&answers, facts) {
        let finding = world.look(check, &answers);
        let told = wrap(&check.say(language, &finding));
        if check.must_hold() && matches!(finding, Finding::Wrong(_)) {
            return Err(refused(told).into());
        }
        say!("{told}");
    }
    say!("{}", APPLYING.of(language));
    apply(&world.dir, &answers).map_err(refused)?;
    Ok(answers)
}

fn seal(password: &Secret<String>) -> Result<String, String> {
    let credential = Credential::create(password).map_err(|error| error.to_string())?;
    Ok(sealed::write(&credential))
}

fn apply(dir: &Path, answers: &Answers) -> Result<(), String> {
    let request = Request::SettingUp(SettingUp::Apply(answers.clone()));
    control::ask(dir, request).map(|_| ())
}

fn ending(dir: &Path, answers: &Answers) -> Result<Ending, Error> {
    let get = |name: &str| answers.get(name).unwrap_or_default().to_string();
    let settings = in_force(dir)?;
    let keys = control::ask(dir, Request::Keys(Keys::List))?;
    let domain = ascii_domain(&get("domain")).unwrap_or_default();
    let records = records::all(&domain, &settings.hostname, &keys);
    let needed = records.iter().filter(|it| !it.optional);
    let programs = connections(&settings)
        .into_iter()
        .filter(|it| it.side == Side::Internal);
    let own = answers.is("tls.source", "local");
    Ok(Ending {
        records: needed.map(ToString::to_string).collect(),
        programs: programs.collect(),
        authority: own.then(|| Authority::new(dir).ca_path().display().to_string()),
        runs: runs(dir),
        account: get("account.address"),
        domain,
    })
}
