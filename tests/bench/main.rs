//! The load generator of `tests/bench/run`: drives pillarbox and, beside it, Dovecot with Postfix,
//! checks that the work was done, and prints one table.

mod change;
mod client;
mod deliver;
mod fill;
mod idle;
mod imap;
mod listing;
mod messages;
mod pop3;
mod process;
mod smtp;
mod start;
mod table;
mod transfer;

use argh::FromArgs;
use client::{Result, Site, trust};
use imap::Imap;
use process::Server;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::Table;

/// How much of everything.
pub struct Scale {
    pub large: usize,
    pub medium: usize,
    pub small: usize,
    /// Messages of the mailbox that FETCH and RETR read.
    pub mixed: usize,
    /// Deliveries and APPENDs at several connections; at one it is a quarter.
    pub deliveries: usize,
    /// Messages of one COPY or MOVE.
    pub change: usize,
    pub expunge: usize,
    pub logins: usize,
    pub idle: usize,
    /// Timed deliveries to a connection in IDLE.
    pub notices: usize,
}

const WHOLE: Scale = Scale {
    large: 100_000,
    medium: 10_000,
    small: 1_000,
    mixed: 3_000,
    deliveries: 2_000,
    change: 1_000,
    expunge: 5_000,
    logins: 800,
    idle: 1_000,
    notices: 100,
};

const QUICK: Scale = Scale {
    large: 10_000,
    medium: 2_000,
    small: 500,
    mixed: 500,
    deliveries: 400,
    change: 200,
    expunge: 1_000,
    logins: 100,
    idle: 200,
    notices: 20,
};

impl Scale {
    pub fn fill(&self, text: &str) -> String {
        let numbers = [
            ("{large}", self.large),
            ("{medium}", self.medium),
            ("{small}", self.small),
            ("{change}", self.change),
            ("{expunge}", self.expunge),
            ("{idle}", self.idle),
        ];
        let put =
            |text: String, (name, number): (&str, usize)| text.replace(name, &number.to_string());
        numbers.into_iter().fold(text.to_string(), put)
    }
}

/// What a measure gets: one site at a time, its server, and where to put what it found.
pub struct Bench {
    pub scale: Scale,
    pub dir: PathBuf,
    pub table: Table,
    servers: Vec<Server>,
    sites: Vec<(Site, usize)>,
    /// The site being measured.
    at: usize,
    /// What was already filled, by site.
    filled: HashSet<(usize, &'static str)>,
}

impl Bench {
    pub fn site(&self) -> Site {
        self.sites[self.at].0.clone()
    }

    pub fn server(&mut self) -> &mut Server {
        let server = self.sites[self.at].1;
        &mut self.servers[server]
    }

    pub fn put(&mut self, row: &'static str, value: f64) {
        let site = self.sites[self.at].0.name;
        self.table.put(row, site, value);
    }

    /// Whether the mailbox was filled at this site already.
    pub fn is_filled(&self, mailbox: &'static str) -> bool {
        self.filled.contains(&(self.at, mailbox))
    }

    pub fn set_filled(&mut self, mailbox: &'static str) {
        self.filled.insert((self.at, mailbox));
    }
}

/// Longest that the first start may take, with its accounts and messages.
const FIRST_START: Duration = Duration::from_secs(60);

type Measure = fn(&mut Bench) -> Result<()>;

/// In the order of running; each checks its own work and fails if it wasn't done.
const MEASURES: [(&str, Measure); 9] = [
    ("start", start::measure),
    ("delivery", deliver::delivery),
    ("append", deliver::append),
    ("fetch", transfer::measure),
    ("listing", listing::listing),
    ("search", listing::search),
    ("change", change::measure),
    ("login", idle::login),
    ("idle", idle::idle),
];

#[derive(FromArgs)]
/// Measures pillarbox, beside Dovecot and Postfix if they are prepared.
struct Arguments {
    /// our release binary
    #[argh(option)]
    pillarbox: Option<PathBuf>,
    /// a directory of our own, on a disk
    #[argh(option)]
    dir: Option<PathBuf>,
    /// our ports: this plus 143 and so on
    #[argh(option, default = "31000")]
    ports: u16,
    /// directory of a prepared Dovecot and Postfix
    #[argh(option)]
    theirs: Option<PathBuf>,
    /// their ports
    #[argh(option, default = "32000")]
    their_ports: u16,
    /// smaller counts
    #[argh(switch)]
    quick: bool,
    /// names of measures, with commas
    #[argh(option)]
    only: Option<String>,
}

fn main() -> ExitCode {
    // cargo adds this to the arguments of every benchmark.
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let arguments = match Arguments::from_args(&["load"], &given) {
        Ok(arguments) => arguments,
        Err(exit) => {
            eprintln!("{}", exit.output);
            return ExitCode::from(if exit.status.is_ok() { 0 } else { 2 });
        }
    };
    let Some(dir) = arguments.dir.clone() else {
        println!("start this by tests/bench/run");
        return ExitCode::SUCCESS;
    };
    match run(arguments, dir) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments, dir: PathBuf) -> Result<bool> {
    let mut bench = Bench {
        scale: if arguments.quick { QUICK } else { WHOLE },
        dir,
        table: Table::default(),
        servers: Vec::new(),
        sites: Vec::new(),
        at: 0,
        filled: HashSet::new(),
    };
    if let Some(binary) = &arguments.pillarbox {
        add_ours(&mut bench, binary, arguments.ports)?;
    }
    if let Some(dir) = &arguments.theirs {
        add_theirs(&mut bench, dir, arguments.their_ports)?;
    }
    let began = Instant::now();
    for (name, measure) in MEASURES {
        let wanted = arguments.only.as_ref();
        if wanted.is_some_and(|only| !only.split(',').any(|one| one == name)) {
            continue;
        }
        for at in 0..bench.sites.len() {
            bench.at = at;
            let site = bench.sites[at].0.name;
            println!("[{:4} s] {name}: {site}", began.elapsed().as_secs());
            if let Err(error) = measure(&mut bench) {
                bench.table.fail(format!("{name}: {site}: {error}"));
            }
        }
    }
    println!(
        "CPU counted by {}, {} s in all",
        bench.servers[0].method(),
        began.elapsed().as_secs()
    );
    Ok(bench.table.print(&bench.scale))
}

fn add_ours(bench: &mut Bench, binary: &Path, base: u16) -> Result<()> {
    let dir = bench.dir.join("ours");
    let password = "bench-password";
    let command = [
        binary.display().to_string(),
        "demo".into(),
        "--dir".into(),
        dir.display().to_string(),
        "--port-base".into(),
        base.to_string(),
        "--password".into(),
        password.into(),
    ];
    let greetings = vec![(base + 143, "* OK"), (base + 587, "220")];
    let mut server = Server::new("pillarbox", &bench.dir, vec![command.to_vec()], greetings);
    server.start()?;
    // The demo listens before it has made its accounts, and its messages come last of all.
    let tls = patiently(|| trust(&dir.join("ca.pem")))?;
    let site = Site {
        name: table::OURS,
        port_base: base,
        domain: "demo.test",
        password: password.into(),
        tls,
        filler: "",
        victim: "alice",
    };
    patiently(|| {
        for name in ["alice", "bob", "carol"] {
            if Imap::open(&site, name)?.count("INBOX")? == 0 {
                return Err("the demo's messages didn't come".into());
            }
        }
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(1));
    bench.sites.push((site, bench.servers.len()));
    bench.servers.push(server);
    Ok(())
}

/// Tries until it succeeds.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(_) if began.elapsed() < FIRST_START => {
                std::thread::sleep(Duration::from_millis(200));
            }
            result => return result,
        }
    }
}

/// One Dovecot and Postfix, with accounts in both of Dovecot's good formats.
fn add_theirs(bench: &mut Bench, dir: &Path, base: u16) -> Result<()> {
    let words = |line: String| line.split(' ').map(str::to_string).collect::<Vec<_>>();
    let at = dir.display();
    let commands = vec![
        words(format!("dovecot -F -c {at}/dovecot.conf")),
        words(format!("/usr/lib/postfix/sbin/master -s -c {at}/postfix")),
    ];
    let greetings = vec![(base + 143, "* OK"), (base + 587, "220")];
    let mut server = Server::new("theirs", &bench.dir, commands, greetings);
    server.start()?;
    for (name, domain) in [("mdbox", "demo.test"), ("Maildir", "mdir.test")] {
        let site = Site {
            name,
            port_base: base,
            domain,
            password: "bench".into(),
            tls: trust(&dir.join("ca.pem"))?,
            filler: "fill-",
            victim: "dave",
        };
        bench.sites.push((site, bench.servers.len()));
    }
    bench.servers.push(server);
    Ok(())
}
