//! The command line: one file a noun, each a thin shell over the library.

/// `println!`, but a reader that has gone away (`| head`) is no bug.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::say(format_args!($($text)*))
    };
}

pub mod account;
pub mod administrator;
pub mod alias;
pub mod app_password;
pub mod appliance;
pub mod catch_all;
pub mod certificate;
pub mod check;
pub mod collector;
pub mod completions;
pub mod console;
pub mod demo;
pub mod device;
pub mod dkim;
pub mod dns;
pub mod domain;
pub mod grant;
pub mod group;
pub mod help;
pub mod home;
pub mod log;
pub mod logger;
pub mod page;
pub mod process;
pub mod queue;
pub mod rescue;
pub mod route;
pub mod serve;
pub mod settings;
pub mod setup;
pub mod status;
pub mod test;
pub mod tls;
pub mod update;
pub mod usage;

use crate::address::Address;
use crate::control::{self, Request};
use crate::secret::Secret;
use ::log::LevelFilter;
use argh::FromArgs;
use std::fmt;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What went wrong, in a sentence.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// All was said; this is the exit code.
#[derive(Debug)]
pub struct Exit(pub u8);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for Exit {}

/// Where the mail lives unless `--dir` says otherwise.
pub const DEFAULT_DIR: &str = "/var/lib/pillarbox";

/// A whole mail server in one binary: IMAP, POP3 and submission.
#[derive(FromArgs)]
#[argh(note = "pillarbox help [TOPIC] shows the manual.")]
pub struct Arguments {
    /// print the version
    #[argh(switch)]
    pub version: bool,
    /// how much to log: error, warn, info, debug or trace (also in PILLARBOX_LOG)
    #[argh(option, arg_name = "level")]
    pub log: Option<String>,
    #[argh(subcommand)]
    pub command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Account(account::AccountCommand),
    Administrator(administrator::AdministratorCommand),
    Alias(alias::AliasCommand),
    Domain(domain::DomainCommand),
    Dkim(dkim::DkimCommand),
    Dns(dns::Dns),
    Group(group::GroupCommand),
    CatchAll(catch_all::CatchAllCommand),
    Grant(grant::GrantCommand),
    Device(device::DeviceCommand),
    Queue(queue::QueueCommand),
    Route(route::RouteCommand),
    Collector(collector::CollectorCommand),
    Home(home::HomeCommand),
    Log(log::LogCommand),
    Settings(settings::SettingsCommand),
    Setup(setup::Setup),
    Status(status::Status),
    Console(console::ConsoleCommand),
    Test(test::Test),
    Tls(tls::TlsCommand),
    Update(update::Update),
    Check(check::Check),
    Completions(completions::Completions),
    Box(appliance::BoxCommand),
    Rescue(rescue::Rescue),
}

fn say(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

impl Arguments {
    /// As `argh::from_env`, which dies of a reader that has gone away. Help and mistakes are
    /// told here and leave an exit code.
    pub fn read(words: &[String]) -> Result<Arguments, ExitCode> {
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        Arguments::from_args(&["pillarbox"], &words).map_err(|early| match early.status {
            Ok(()) => {
                say!("{}", early.output);
                ExitCode::SUCCESS
            }
            Err(()) => {
                eprintln!("{}", early.output);
                eprintln!("Run pillarbox --help for more information.");
                ExitCode::FAILURE
            }
        })
    }

    /// What to log unless told: a server's journal has logins and deliveries, a person at a
    /// terminal wants what went wrong.
    pub fn log_level(&self) -> LevelFilter {
        match self.command {
            Some(Command::Serve(_)) => LevelFilter::Info,
            _ => LevelFilter::Warn,
        }
    }
}

/// Runs what was asked for.
pub fn run(arguments: Arguments) -> Result<(), Error> {
    if arguments.version {
        say!("pillarbox {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    match arguments.command {
        Some(Command::Demo(demo)) => demo.run(),
        Some(Command::Serve(serve)) => serve.run(),
        Some(Command::Account(account)) => account.run(),
        Some(Command::Administrator(administrator)) => administrator.run(),
        Some(Command::Alias(alias)) => alias.run(),
        Some(Command::Domain(domain)) => domain.run(),
        Some(Command::Dkim(dkim)) => dkim.run(),
        Some(Command::Dns(dns)) => dns.run(),
        Some(Command::Group(group)) => group.run(),
        Some(Command::CatchAll(catch_all)) => catch_all.run(),
        Some(Command::Grant(grant)) => grant.run(),
        Some(Command::Device(device)) => device.run(),
        Some(Command::Queue(queue)) => queue.run(),
        Some(Command::Route(route)) => route.run(),
        Some(Command::Collector(collector)) => collector.run(),
        Some(Command::Home(home)) => home.run(),
        Some(Command::Log(log)) => log.run(),
        Some(Command::Settings(settings)) => settings.run(),
        Some(Command::Setup(setup)) => setup.run(),
        Some(Command::Status(status)) => status.run(),
        Some(Command::Console(console)) => console.run(),
        Some(Command::Test(test)) => test.run(),
        Some(Command::Tls(tls)) => tls.run(),
        Some(Command::Update(update)) => update.run(),
        Some(Command::Check(check)) => check.run(),
        Some(Command::Completions(completions)) => completions.run(),
        Some(Command::Box(appliance)) => appliance.run(),
        Some(Command::Rescue(rescue)) => rescue.run(),
        None => help::show(&[]),
    }
}

/// The directory that was given, or the usual one.
fn data_dir(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| DEFAULT_DIR.into())
}

/// Has the server, or the store if none runs, do what `request` says; then says so.
fn change(dir: Option<PathBuf>, request: Request, done: &str) -> Result<(), Error> {
    control::ask(&data_dir(dir), request)?;
    say!("{done}");
    Ok(())
}

fn parse(address: &str) -> Result<Address, Error> {
    Address::parse(address).map_err(|error| format!("{address}: {error}").into())
}

/// Longest password line that is read from standard input, bytes.
const MAX_PASSWORD_LINE: u64 = 4 << 10;

/// A new password: twice from the terminal, or one line of standard input.
fn new_password(from_stdin: bool) -> Result<Secret<String>, Error> {
    if from_stdin || !io::stdin().is_terminal() {
        let mut line = String::new();
        io::stdin()
            .lock()
            .take(MAX_PASSWORD_LINE)
            .read_line(&mut line)?;
        let line = Secret::new(line);
        let password = line.reveal().trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err("there is no password on standard input".into());
        }
        return Ok(Secret::new(password.to_string()));
    }
    let first = Secret::new(rpassword::prompt_password("New password: ")?);
    let second = Secret::new(rpassword::prompt_password("Once more: ")?);
    if first.reveal() != second.reveal() {
        return Err("the two passwords differ; nothing was changed".into());
    }
    Ok(first)
}

/// Prints rows as columns under a heading, if there is one.
fn print_table(heading: &[&str], rows: &[Vec<String>]) {
    let heading: Vec<String> = heading.iter().map(|it| it.to_string()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&heading]);
        cells
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let heading = (!heading.is_empty()).then_some(&heading);
    for row in heading.into_iter().chain(rows) {
        let cells = row.iter().enumerate();
        let line: String = cells
            .map(|(n, cell)| format!("{cell:<width$}  ", width = width(n)))
            .collect();
        say!("{}", line.trim_end());
    }
}
