//! Requests about the integrity check: it runs for long, so it is begun, then asked about again
//! and again; one that nobody asks about any more is stopped.

use super::Reply;
use crate::collect::record as collectors;
use crate::keys;
use crate::queue::route::{self, Route};
use crate::store::check::{
    Kind, Pages, Problem, Progress, RecordRule, Report, Verdict, Wanted, check_pages,
};
use crate::store::disk::{Disk, RealDisk};
use crate::store::{Error, Store};
use crate::task;
use jiff::Timestamp;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the owner asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checking {
    /// Begins one.
    Start {
        quick: bool,
        repair: bool,
    },
    /// A row of `running`, stage, done, total; or, once, of `done` and then as [`Checked`] has
    /// them; or none.
    State,
    Stop,
    /// A row of the last verdict, as [`Checked`] has it first; none if there never was a check.
    Last,
}

/// The kind and key of the record of the last one.
const RECORD: (&str, &str) = ("check", "last");
/// How long a check goes on that nobody asks about.
const LEASE: Duration = Duration::from_secs(30);
/// How often the client asks.
const ASK: Duration = Duration::from_millis(250);
/// How much the check's thread yields to all others: as far as it goes.
const NICE: i32 = 19;

/// What others keep in records, and how to tell that it can be read.
const RULES: &[RecordRule] = &[
    (route::KIND, |_, value| Route::decode(value).is_ok()),
    (keys::KIND, |key, value| {
        keys::Key::read(key, value).is_some()
    }),
    (collectors::COLLECTOR, |key, value| {
        key.parse::<u64>().is_ok() && collectors::is_readable(value)
    }),
];

impl Checking {
    /// The request's words.
    pub fn words(&self) -> Vec<String> {
        let flag = |set: bool, word: &str| if set { word } else { "-" }.to_string();
        match self {
            Checking::Start { quick, repair } => vec![
                "check-start".into(),
                flag(*quick, "quick"),
                flag(*repair, "repair"),
            ],
            Checking::State => vec!["check-state".into()],
            Checking::Stop => vec!["check-stop".into()],
            Checking::Last => vec!["check-last".into()],
        }
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Checking, String>> {
        Some(Ok(match words {
            ["check-start", quick, repair] => Checking::Start {
                quick: *quick == "quick",
                repair: *repair == "repair",
            },
            ["check-state"] => Checking::State,
            ["check-stop"] => Checking::Stop,
            ["check-last"] => Checking::Last,
            _ => return None,
        }))
    }
}

/// The end of a check, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub verdict: Verdict,
    /// When it ended, seconds since 1970.
    pub at: i64,
    pub quick: bool,
    pub messages: u64,
    pub bytes: u64,
    /// All of them; not all need be among `problems`.
    pub count: u64,
    pub repaired: u64,
    pub problems: Vec<Problem>,
}

impl Checked {
    fn of(report: Report, quick: bool) -> Checked {
        let repaired = report.problems.iter().filter(|it| it.repaired).count();
        Checked {
            verdict: report.verdict(),
            at: Timestamp::now().as_second(),
            quick,
            messages: report.messages,
            bytes: report.bytes,
            count: report.problems.len() as u64 + report.more,
            repaired: repaired as u64,
            problems: report.problems,
        }
    }

    /// Of a check that panicked.
    fn stumbled(quick: bool) -> Checked {
        let what = "the check stumbled over damage in meta.redb, or over a bug, and did not end";
        let problem = Problem {
            kind: Kind::Damaged,
            what: what.into(),
            repaired: false,
        };
        let problems = vec![problem];
        Checked::of(
            Report {
                problems,
                ..Report::default()
            },
            quick,
        )
    }

    /// The first row: all but the problems.
    fn head(&self) -> Vec<String> {
        vec![
            self.verdict.word().into(),
            self.at.to_string(),
            if self.quick { "quick" } else { "full" }.into(),
            self.messages.to_string(),
            self.bytes.to_string(),
            self.count.to_string(),
            self.repaired.to_string(),
        ]
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let problem = |it: &Problem| {
            let state = if it.repaired {
                "repaired"
            } else {
                it.kind.word()
            };
            vec![state.to_string(), it.what.clone()]
        };
        std::iter::once(self.head())
            .chain(self.problems.iter().map(problem))
            .collect()
    }

    /// Reads rows again; `None` if they are none.
    pub fn read(rows: &[Vec<String>]) -> Option<Checked> {
        let (head, problems) = rows.split_first()?;
        let [verdict, at, quick, messages, bytes, count, repaired] = head.as_slice() else {
            return None;
        };
        let problem = |row: &Vec<String>| match row.as_slice() {
            [state, what] => Some(Problem {
                kind: Kind::ALL
                    .iter()
                    .find(|it| it.0 == state)
                    .map_or(Kind::Derived, |it| it.1),
                what: what.clone(),
                repaired: state == "repaired",
            }),
            _ => None,
        };
        Some(Checked {
            verdict: Verdict::parse(verdict)?,
            at: at.parse().ok()?,
            quick: quick == "quick",
            messages: messages.parse().ok()?,
            bytes: bytes.parse().ok()?,
            count: count.parse().ok()?,
            repaired: repaired.parse().ok()?,
            problems: problems.iter().map(problem).collect::<Option<_>>()?,
        })
    }
}

/// The server's checks: one at a time.
#[derive(Clone, Default)]
pub struct Checks(Arc<Mutex<Option<Running>>>);

struct Running {
    progress: Arc<Progress>,
    asked: Instant,
    /// Told once.
    ended: Option<Checked>,
}

impl Checks {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends one that runs, within a moment.
    pub fn stop(&self) {
        if let Some(running) = &*self.lock() {
            running.progress.cancel();
        }
    }

    fn start(&self, store: &Store, quick: bool, repair: bool) -> Reply {
        let store = store.clone();
        let wanted = Wanted {
            bytes: !quick,
            repair,
            gently: true,
            records: RULES,
        };
        self.begin(quick, move |progress| run(&store, wanted, progress))
    }

    /// Has `check` run on a thread of its own, unless one runs.
    fn begin(
        &self,
        quick: bool,
        check: impl FnOnce(&Progress) -> Checked + Send + 'static,
    ) -> Reply {
        let mut slot = self.lock();
        if slot.as_ref().is_some_and(|it| it.ended.is_none()) {
            return Err("a check is running already; pillarbox check --stop ends it".into());
        }
        let progress = Arc::new(Progress::default());
        *slot = Some(Running {
            progress: progress.clone(),
            asked: Instant::now(),
            ended: None,
        });
        let checks = self.clone();
        let work = move || {
            be_nice();
            // A damaged page may make the database panic: the next check must run even so.
            let ended = catch_unwind(AssertUnwindSafe(|| check(&progress)));
            let ended = ended.unwrap_or_else(|_| Checked::stumbled(quick));
            for problem in ended.problems.iter().filter(|it| !it.repaired) {
                log::error!("check: {}", problem.what);
            }
            if let Some(running) = &mut *checks.lock() {
                running.ended = Some(ended);
            }
        };
        let thread = std::thread::Builder::new().name("check".into());
        match thread.spawn(work) {
            Ok(_) => Ok(Vec::new()),
            Err(error) => {
                *slot = None;
                Err(format!("no thread for the check: {error}"))
            }
        }
    }

    fn state(&self) -> Vec<Vec<String>> {
        let mut slot = self.lock();
        let Some(running) = &mut *slot else {
            return Vec::new();
        };
        running.asked = Instant::now();
        if let Some(ended) = running.ended.take() {
            *slot = None;
            let done = std::iter::once(vec!["done".into()]);
            return done.chain(ended.rows()).collect();
        }
        let (stage, done, total) = running.progress.now();
        vec![vec![
            "running".into(),
            stage.into(),
            done.to_string(),
            total.to_string(),
        ]]
    }

    /// Stops a check that nobody asks about; to be called now and then.
    fn look_after(&self) {
        if let Some(running) = &*self.lock()
            && running.asked.elapsed() > LEASE
        {
            running.progress.cancel();
        }
    }
}

/// Others that want the processor get it.
fn be_nice() {
    // Linux takes it for this thread alone. Where it fails: the check rests anyway.
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Checks, and keeps the verdict.
fn run(store: &Store, wanted: Wanted, progress: &Progress) -> Checked {
    let checked = Checked::of(store.check(wanted, progress), !wanted.bytes);
    let line = checked.head().join(" ");
    let kept = smol::block_on(store.put_record(RECORD.0, RECORD.1, line.into_bytes()));
    if let Err(error) = kept {
        log::warn!("the check's verdict is not kept: {error}");
    }
    checked
}

/// The last verdict, without its problems.
pub fn last_check(store: &Store) -> Result<Option<Checked>, Error> {
    let record = store.look(|snapshot| snapshot.record(RECORD.0, RECORD.1))?;
    let Some(record) = record else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&record);
    let row = text.split(' ').map(str::to_owned).collect();
    Ok(Checked::read(&[row]))
}

/// `checks` are a running server's.
pub async fn perform(store: &Store, checks: Option<&Checks>, request: Checking) -> Reply {
    match (request, checks) {
        (Checking::Last, _) => {
            let last = last_check(store).map_err(|error| error.to_string())?;
            Ok(last.map(|it| it.head()).into_iter().collect())
        }
        (Checking::Start { quick, repair }, Some(checks)) => {
            checks.start(store, quick, repair)?;
            let checks = checks.clone();
            task::spawn(async move {
                while checks.lock().as_ref().is_some_and(|it| it.ended.is_none()) {
                    checks.look_after();
                    async_io::Timer::after(LEASE / 4).await;
                }
            })
            .detach();
            Ok(Vec::new())
        }
        (Checking::State, Some(checks)) => Ok(checks.state()),
        (Checking::Stop, Some(checks)) => {
            checks.stop();
            Ok(Vec::new())
        }
        (_, None) => Err("no server runs".into()),
    }
}

/// Stage, done, total.
pub type Told<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// Checks the store of `dir`, by the running server or, where none runs, here. `tell` is told
/// how far it is.
pub fn check(dir: &Path, quick: bool, repair: bool, tell: Told) -> Result<Checked, String> {
    match super::is_running(dir) {
        true => by_the_server(dir, quick, repair, tell),
        false => on_the_files(dir, quick, repair, tell),
    }
}

fn by_the_server(dir: &Path, quick: bool, repair: bool, tell: Told) -> Result<Checked, String> {
    use super::{Request, ask};
    ask(dir, Request::Checking(Checking::Start { quick, repair }))?;
    loop {
        std::thread::sleep(ASK);
        let rows = ask(dir, Request::Checking(Checking::State))?;
        let Some((first, rest)) = rows.split_first() else {
            return Err("the server has no check; was it restarted?".into());
        };
        match first
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["running", stage, done, total] => {
                tell(stage, done.parse().unwrap_or(0), total.parse().unwrap_or(0));
            }
            _ => {
                return Checked::read(rest)
                    .ok_or_else(|| "the server's answer is malformed".into());
            }
        }
    }
}

fn on_the_files(dir: &Path, quick: bool, repair: bool, tell: Told) -> Result<Checked, String> {
    super::check_owner(dir)?;
    // Before anything opens it: that would write to it.
    tell("pages", 0, 0);
    match look_at_pages(dir).map_err(|error| error.to_string())? {
        Pages::Whole => {}
        Pages::None => return Err(format!("there is no mail store in {}", dir.display())),
        Pages::Damaged => {
            let what = "meta.redb has pages that are not as they were written";
            let problem = Problem {
                kind: Kind::Damaged,
                what: what.into(),
                repaired: false,
            };
            return Ok(Checked::of(
                Report {
                    problems: vec![problem],
                    complete: true,
                    ..Report::default()
                },
                quick,
            ));
        }
    }
    let store = Store::open(dir, crate::store::Options::default());
    let store = store.map_err(|error| error.to_string())?;
    let progress = Arc::new(Progress::default());
    let wanted = Wanted {
        bytes: !quick,
        repair,
        gently: false,
        records: RULES,
    };
    let (own, own_progress) = (store.clone(), progress.clone());
    let work = std::thread::spawn(move || run(&own, wanted, &own_progress));
    while !work.is_finished() {
        std::thread::sleep(ASK / 5);
        let (stage, done, total) = progress.now();
        tell(stage, done, total);
    }
    let checked = work.join();
    smol::block_on(store.close());
    checked.map_err(|_| "the check stumbled over a bug".into())
}

/// With the lock of the store, so that no server starts meanwhile.
fn look_at_pages(dir: &Path) -> Result<Pages, Error> {
    let disk = RealDisk::new(dir)?;
    if !disk.lock()? {
        let why = "the store is in use by another process";
        return Err(Error::Unusable(why.into()));
    }
    let looked = check_pages(&disk);
    disk.unlock();
    looked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    #[test]
    fn words_and_rows_come_back() {
        let start = Checking::Start {
            quick: true,
            repair: false,
        };
        for request in [start, Checking::State, Checking::Stop, Checking::Last] {
            let words = request.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(Checking::read(&words), Some(Ok(request)));
        }
        let checked = Checked {
            verdict: Verdict::Damaged,
            at: 1_800_000_000,
            quick: false,
            messages: 3,
            bytes: 400,
            count: 2,
            repaired: 1,
            problems: vec![
                Problem {
                    kind: Kind::Derived,
                    what: "a count".into(),
                    repaired: true,
                },
                Problem {
                    kind: Kind::Damaged,
                    what: "a message".into(),
                    repaired: false,
                },
            ],
        };
        assert_eq!(Checked::read(&checked.rows()), Some(checked));
        assert_eq!(Checked::read(&[]), None);
    }

    #[test]
    fn after_a_panic_another_check_can_run() {
        let checks = Checks::default();
        for _ in 0..2 {
            let begun = checks.begin(false, |_| panic!("a page is damaged"));
            assert_eq!(begun, Ok(vec![]));
            let rows = loop {
                let rows = checks.state();
                match rows.first().and_then(|row| row.first()).map(String::as_str) {
                    Some("done") => break rows,
                    Some("running") => std::thread::sleep(Duration::from_millis(5)),
                    _ => panic!("{rows:?}"),
                }
            };
            let told = Checked::read(&rows[1..]).unwrap();
            assert_eq!((told.verdict, told.problems.len()), (Verdict::Damaged, 1));
        }
    }

    #[test]
    fn the_last_verdict_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        assert_eq!(last_check(&store), Ok(None));
        let checks = Checks::default();
        let ask = |request| smol::block_on(perform(&store, Some(&checks), request));
        assert_eq!(ask(Checking::State), Ok(vec![]));
        let start = Checking::Start {
            quick: false,
            repair: false,
        };
        ask(start).unwrap();
        let rows = loop {
            let rows = ask(Checking::State).unwrap();
            match rows.first().and_then(|row| row.first()).map(String::as_str) {
                Some("done") => break rows,
                Some("running") => std::thread::sleep(Duration::from_millis(5)),
                _ => panic!("{rows:?}"),
            }
        };
        let told = Checked::read(&rows[1..]).unwrap();
        assert_eq!(told.verdict, Verdict::Sound);
        assert_eq!(last_check(&store), Ok(Some(told)));
        assert_eq!(ask(Checking::State), Ok(vec![]));
        assert!(smol::block_on(perform(&store, None, start)).is_err());
        smol::block_on(store.close());
    }
}
