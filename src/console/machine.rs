//! The console as a machine of its own: an event in, what to say and to do next out. It reads
//! no terminal and asks no server; whoever drives it does. Pure.

mod login;
mod task;

use super::menu::{Act, Answers, Entry, Item, Kind, MAIN_MENU, Menu, Program, Show, Task};
use super::page::{page, printable, problems, size, span, table};
use super::text::*;
use crate::control::{Administrator, Reply, Request};
use crate::secret::Secret;
use crate::setup::phrases::{say, say_lines};
use crate::setup::text::{Language, Text, wrap};
use std::collections::VecDeque;
use std::time::Duration;

/// How long nobody may type, logged in or on a network terminal.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// Wrong passwords in one session.
const MAX_WRONG: u32 = 5;
/// Lines of a long answer that are shown at once: a terminal has 24.
const PAGE: usize = 21;
/// After power-on, so long a forgotten password can be replaced at the machine itself.
const RECOVERY: Duration = Duration::from_secs(10 * 60);

/// What has happened.
pub enum Event {
    /// The server has answered.
    Replied(Reply),
    /// A program ended: what it printed, or why it did not run.
    Ran(Result<String, String>),
    /// A line was typed.
    Line(Secret<String>),
    /// Ctrl-C.
    Interrupt,
    /// Nobody typed for as long as was given.
    Idle,
}

/// When it has happened.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Seconds since 1970.
    pub now: i64,
    /// Since the machine was switched on, suspension included.
    pub up: Duration,
}

/// What comes next: this is said, and then that is done.
pub struct Step {
    pub say: String,
    pub then: Then,
}

#[derive(Debug)]
pub enum Then {
    /// A line is read, unseen if it is a secret, for as long as `within`.
    Read {
        secret: bool,
        within: Option<Duration>,
    },
    Ask(Request),
    Run(Program),
    End,
}

/// What the console stands on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// A screen or a serial line of the machine: no network terminal.
    pub local: bool,
    /// Whether the machine is ours to restart and to switch off.
    pub appliance: bool,
    /// Nothing is told of the server before somebody has logged in.
    pub closed: bool,
    /// What lets somebody set a new machine up by network; its own screen shows it.
    pub code: Option<[u8; 8]>,
}

enum State {
    /// The status was asked for, before anybody has logged in.
    Opening(Opening),
    /// Whether the administrator has a password was asked for.
    Greeting {
        opening: Opening,
        accounts: bool,
    },
    /// None has, and there are no accounts: nobody has set the server up.
    Fresh,
    /// By network, the code of a new machine was asked for.
    Code,
    /// No server answers.
    Down,
    Starting,
    LogIn,
    Checking,
    /// Somebody at the machine has forgotten the password.
    Confirming,
    Recovering(Option<Secret<String>>),
    Recovered,
    Menu,
    Asking(Pending),
    /// The server, or a program, is at it.
    Working(Show),
    Status,
    Problems,
    Paging(VecDeque<String>),
}

/// What the status is asked for.
#[derive(Clone, Copy)]
enum Opening {
    Page,
    /// The wizard, if still nobody has set the server up: the page may be days old.
    Wizard,
}

/// A task of which not all is answered.
struct Pending {
    task: &'static Task,
    answers: Answers,
    /// A new password, typed once.
    once: Option<Secret<String>>,
}

pub struct Console {
    place: Place,
    language: Language,
    state: State,
    /// The menus that were gone through; the last is shown.
    menus: Vec<&'static Menu>,
    wrong: u32,
    logged_in: bool,
    /// Nothing but the recovery.
    only_recovers: bool,
    /// Of the last event.
    at: Moment,
}

impl Console {
    /// With what to do first.
    pub fn new(place: Place, language: Language) -> (Console, Step) {
        let mut console = Console {
            place,
            language,
            state: State::Opening(Opening::Page),
            menus: vec![&MAIN_MENU],
            wrong: 0,
            logged_in: false,
            only_recovers: false,
            // Until an event has told it.
            at: Moment {
                now: 0,
                up: Duration::MAX,
            },
        };
        let first = console.open();
        (console, first)
    }

    /// Straight to a new administrator's password.
    pub fn recovering(language: Language) -> (Console, Step) {
        let (mut console, _) = Console::new(Place::default(), language);
        console.only_recovers = true;
        let first = console.recover();
        (console, first)
    }

    pub fn step(&mut self, at: Moment, event: Event) -> Step {
        self.at = at;
        let state = std::mem::replace(&mut self.state, State::Menu);
        match event {
            Event::Idle => {
                let minutes = (IDLE.as_secs() / 60).to_string();
                let text = IDLE_TEXT.with(self.language, &[&minutes]);
                self.end(&format!("\n{text}\n"))
            }
            Event::Interrupt if self.logged_in => self.menu("\n"),
            Event::Interrupt => self.log_in("\n"),
            Event::Line(line) => self.line(state, line),
            Event::Replied(reply) => self.replied(state, reply),
            Event::Ran(result) => self.ran(state, result),
        }
    }

    fn text(&self, text: Text) -> &'static str {
        text.of(self.language)
    }

    fn open(&mut self) -> Step {
        self.opening(Opening::Page)
    }

    fn opening(&mut self, opening: Opening) -> Step {
        self.state = State::Opening(opening);
        ask(String::new(), Request::Status)
    }

    fn line(&mut self, state: State, line: Secret<String>) -> Step {
        let word = line.reveal().trim();
        match state {
            State::Down => match word {
                "0" => self.end(""),
                _ if self.place.appliance => {
                    self.state = State::Starting;
                    self.run("", Program::Start)
                }
                _ => self.open(),
            },
            State::Fresh => match word {
                "0" => self.end(""),
                word => match Language::parse(&word.to_lowercase()) {
                    Some(language) => {
                        self.language = language;
                        self.fresh()
                    }
                    None => self.opening(Opening::Wizard),
                },
            },
            State::Code => self.code(word),
            State::LogIn => self.password(line),
            State::Confirming => match is_yes(word) {
                true if !self.may_recover() => self.too_late(),
                true => {
                    self.state = State::Recovering(None);
                    self.read(NEW_PASSWORD.of(self.language).into(), true)
                }
                false => {
                    let text = format!("{}\n", self.text(NOT_DONE));
                    self.log_in(&text)
                }
            },
            State::Recovering(once) => self.recovering_with(once, line),
            State::Asking(pending) => self.answer(pending, line),
            State::Paging(rest) => match word {
                "0" => self.menu(""),
                _ => self.pages(rest),
            },
            _ => self.choose(word),
        }
    }

    fn replied(&mut self, state: State, reply: Reply) -> Step {
        match (state, reply) {
            (State::Opening(opening), Ok(rows)) => {
                let text = match opening {
                    Opening::Page if self.place.closed && !self.logged_in => String::new(),
                    Opening::Page => format!("\n{}\n", page(&rows, self.at.now, self.language)),
                    Opening::Wizard => String::new(),
                };
                // A server that does not say so may have some.
                let accounts = !rows.iter().any(|row| *row == ["accounts", "0"]);
                self.state = State::Greeting { opening, accounts };
                ask(text, Request::Administrator(Administrator::Show))
            }
            (State::Greeting { opening, accounts }, Ok(rows)) => {
                let none = rows.iter().flatten().any(|it| it == "none");
                self.greeted(opening, none, accounts)
            }
            (State::Opening(_) | State::Greeting { .. } | State::Starting, Err(error)) => {
                self.down(&error)
            }
            (State::Checking, reply) => self.checked(reply),
            (State::Recovered, reply) => {
                let text = match reply {
                    Ok(_) => RECOVERED.of(self.language).to_string(),
                    Err(error) => self.failed(&error),
                };
                self.log_in(&format!("{}\n", text.trim_end()))
            }
            (State::Status, Ok(rows)) => {
                let text = page(&rows, self.at.now, self.language);
                self.show(&text)
            }
            (State::Problems, Ok(rows)) => {
                let text = problems(&rows, self.at.now, self.language);
                self.show(&text)
            }
            (State::Working(show), Ok(rows)) => {
                let text = self.shown(show, rows);
                self.show(&text)
            }
            (_, Err(error)) => {
                let text = self.failed(&error);
                self.show(&text)
            }
            (_, Ok(_)) => self.menu(""),
        }
    }

    fn ran(&mut self, state: State, result: Result<String, String>) -> Step {
        match (state, result) {
            (State::Starting, Ok(_)) => self.open(),
            (State::Starting, Err(error)) => self.down(&error),
            (_, Ok(text)) => {
                let text = printable(&say_lines(&text, self.language));
                self.show(&text)
            }
            (_, Err(error)) => {
                let text = self.failed(&error);
                self.show(&text)
            }
        }
    }

    // The menus.

    fn menu(&mut self, before: &str) -> Step {
        if !self.logged_in {
            return self.log_in(before);
        }
        self.state = State::Menu;
        let mut text = before.to_string();
        let current = self.current();
        text.push_str(&format!("\n{}\n", self.text(current.title)));
        for (n, entry) in self.entries().iter().enumerate() {
            text.push_str(&format!("{:>3}  {}\n", n + 1, self.text(entry.text)));
        }
        let last = if self.menus.len() > 1 { BACK } else { LOG_OUT };
        let (last, choice) = (self.text(last), self.text(CHOICE));
        text.push_str(&format!("  0  {last}\n{choice}"));
        self.read(text, false)
    }

    fn current(&self) -> &'static Menu {
        self.menus.last().copied().unwrap_or(&MAIN_MENU)
    }

    fn entries(&self) -> Vec<&'static Entry> {
        let ours = |it: &&Entry| match it.item {
            Item::Machine(_) => self.place.appliance,
            Item::Local(_) => self.place.local,
            _ => true,
        };
        self.current().entries.iter().filter(ours).collect()
    }

    fn choose(&mut self, word: &str) -> Step {
        if word.is_empty() {
            return self.menu("");
        }
        if word == "0" {
            return match self.menus.len() {
                2.. => {
                    self.menus.pop();
                    self.menu("")
                }
                _ => {
                    let bye = format!("{}\n", self.text(BYE));
                    self.end(&bye)
                }
            };
        }
        let chosen = word.parse::<usize>().ok().and_then(|it| it.checked_sub(1));
        let entries = self.entries();
        let Some(entry) = chosen.and_then(|it| entries.get(it)) else {
            let text = format!("{}\n", self.text(NO_CHOICE));
            return self.menu(&text);
        };
        match &entry.item {
            Item::Menu(menu) | Item::Machine(menu) => {
                self.menus.push(menu);
                self.menu("")
            }
            Item::Task(task) | Item::Local(task) => self.ask_next(Pending {
                task,
                answers: Answers(Vec::new()),
                once: None,
            }),
            Item::Status => {
                self.state = State::Status;
                ask(String::new(), Request::Status)
            }
            Item::Problems => {
                self.state = State::Problems;
                ask(String::new(), Request::Status)
            }
            Item::Language => {
                self.language = match self.language {
                    Language::English => Language::Russian,
                    Language::Russian => Language::English,
                };
                self.menu("")
            }
        }
    }

    // What is shown, by the page.

    fn show(&mut self, text: &str) -> Step {
        self.pages(text.lines().map(str::to_string).collect())
    }

    fn pages(&mut self, mut rest: VecDeque<String>) -> Step {
        let mut text = String::new();
        for line in rest.drain(..PAGE.min(rest.len())) {
            text.push_str(&line);
            text.push('\n');
        }
        if rest.is_empty() {
            return self.menu(&text);
        }
        self.state = State::Paging(rest);
        text.push_str(self.text(MORE));
        self.read(text, false)
    }

    // Steps.

    fn read(&self, say: String, secret: bool) -> Step {
        // At the machine's own screen, the page may stand there for days.
        let waits =
            self.place.local && matches!(self.state, State::LogIn | State::Down | State::Fresh);
        let within = (!waits).then_some(IDLE);
        Step {
            say,
            then: Then::Read { secret, within },
        }
    }

    fn run(&self, say: &str, program: Program) -> Step {
        Step {
            say: say.into(),
            then: Then::Run(program),
        }
    }

    fn end(&mut self, say: &str) -> Step {
        self.logged_in = false;
        Step {
            say: say.into(),
            then: Then::End,
        }
    }
}

fn ask(say: String, request: Request) -> Step {
    Step {
        say,
        then: Then::Ask(request),
    }
}

/// In either language: who has changed it may not know where the other's letters are.
fn is_yes(word: &str) -> bool {
    let word = word.to_lowercase();
    [YES.english, YES.russian].contains(&word.as_str())
}
