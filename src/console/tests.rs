use super::machine::{Console, Event, Moment, Place, Step, Then};
use super::menu::Program;
use super::text;
use crate::control::{Administrator, Request};
use crate::secret::Secret;
use crate::setup::text::{Language, WIDTH};
use std::time::Duration;

const NETWORK: Place = Place {
    local: false,
    appliance: false,
    closed: false,
    code: None,
};
/// A machine that is ours.
const BOX: Place = Place {
    local: true,
    appliance: true,
    closed: false,
    code: None,
};

/// A console, and what it said last.
struct Talk {
    console: Console,
    step: Step,
    /// Since the machine was switched on, seconds.
    up: u64,
}

impl Talk {
    fn begin(place: Place, language: Language) -> Talk {
        let (console, step) = Console::new(place, language);
        let mut talk = Talk::with(console, step);
        assert!(matches!(talk.step.then, Then::Ask(Request::Status)));
        talk.greeted("set");
        talk
    }

    /// At a machine just switched on.
    fn with(console: Console, step: Step) -> Talk {
        Talk {
            console,
            step,
            up: 60,
        }
    }

    fn logged_in(place: Place, language: Language) -> Talk {
        let mut talk = Talk::begin(place, language);
        talk.types("the right one");
        talk.checked("right");
        talk
    }

    /// The status of a server with an account, and whether there is a password.
    fn greeted(&mut self, password: &str) -> &mut Talk {
        self.greeted_with("1", password)
    }

    fn greeted_with(&mut self, accounts: &str, password: &str) -> &mut Talk {
        assert_eq!(self.asked(), "status");
        let accounts = vec!["accounts".into(), accounts.into()];
        self.replied(Ok(vec![vec!["stopped".into()], accounts]));
        assert_eq!(self.asked(), "administrator-show");
        self.replied(Ok(vec![vec![password.into()]]))
    }

    fn event(&mut self, event: Event) -> &mut Talk {
        let at = Moment {
            now: 1000,
            up: Duration::from_secs(self.up),
        };
        self.step = self.console.step(at, event);
        for line in self.step.say.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert!(!line.contains("{}"), "{line}");
        }
        self
    }

    fn types(&mut self, line: &str) -> &mut Talk {
        assert!(matches!(self.step.then, Then::Read { .. }), "{line}");
        self.event(Event::Line(Secret::new(line.into())))
    }

    fn replied(&mut self, reply: Result<Vec<Vec<String>>, String>) -> &mut Talk {
        self.event(Event::Replied(reply))
    }

    fn checked(&mut self, word: &str) -> &mut Talk {
        let is_check = |it: &Then| {
            matches!(
                it,
                Then::Ask(Request::Administrator(Administrator::Check { .. }))
            )
        };
        assert!(is_check(&self.step.then));
        self.replied(Ok(vec![vec![word.into()]]))
    }

    /// The words of what is asked of the server.
    fn asked(&self) -> String {
        match &self.step.then {
            Then::Ask(request) => {
                let line = request.write();
                let line = String::from_utf8(line.reveal().clone()).unwrap();
                line.trim_end().to_string()
            }
            then => panic!("{then:?}, not a request"),
        }
    }

    fn reads_secret(&self) -> bool {
        matches!(self.step.then, Then::Read { secret: true, .. })
    }

    fn ended(&self) -> bool {
        matches!(self.step.then, Then::End)
    }

    #[track_caller]
    fn says(&self, text: &str) {
        assert!(self.step.say.contains(text), "{text}\n{}", self.step.say);
    }
}

#[test]
fn nothing_is_there_before_the_password_and_five_wrong_ones_end_it() {
    let mut talk = Talk::begin(NETWORK, Language::English);
    assert!(talk.reads_secret());
    for n in 0..5 {
        assert!(!talk.step.say.contains("Log out"));
        assert!(talk.reads_secret());
        talk.types(&format!("guess number {n}"));
        assert!(talk.asked().starts_with("administrator-check guess"));
        talk.checked("wrong");
        talk.says("not the administrator's password");
    }
    assert!(talk.ended());
}

#[test]
fn with_no_password_set_there_is_no_way_in() {
    let mut talk = Talk::begin(NETWORK, Language::English);
    talk.types("whatever it is").checked("none");
    talk.says("pillarbox setup");
    assert!(talk.ended());
}

#[test]
fn who_stands_at_a_machine_that_is_not_set_up_sets_it_up() {
    let (console, step) = Console::new(NETWORK, Language::English);
    let mut talk = Talk::with(console, step);
    talk.greeted_with("0", "none").says("pillarbox setup");
    assert!(talk.ended());
    let (console, step) = Console::new(BOX, Language::English);
    let mut talk = Talk::with(console, step);
    talk.greeted_with("0", "none").says("Press Enter to begin");
    talk.types("ru").says("Нажмите Enter");
    talk.types("").greeted_with("0", "none");
    assert!(matches!(talk.step.then, Then::Run(Program::Setup)));
    talk.event(Event::Ran(Ok(String::new())));
    talk.greeted("set");
    assert!(talk.reads_secret());
}

#[test]
fn who_has_accounts_or_a_password_gets_no_wizard() {
    let (console, step) = Console::new(NETWORK, Language::English);
    let mut talk = Talk::with(console, step);
    talk.greeted_with("1", "none").says("pillarbox setup");
    assert!(talk.ended());
    // Not even where the page was there before them.
    for (accounts, password) in [("1", "none"), ("1", "set"), ("0", "set")] {
        let (console, step) = Console::new(BOX, Language::English);
        let mut talk = Talk::with(console, step);
        talk.greeted_with("0", "none").types("");
        talk.greeted_with(accounts, password);
        talk.greeted_with(accounts, password);
        assert!(talk.reads_secret(), "{accounts} {password}");
        assert_eq!(talk.step.say.contains("setup"), password == "none");
    }
}

#[test]
fn an_account_is_added_with_an_unseen_password_typed_twice() {
    for language in Language::ALL {
        let mut talk = Talk::logged_in(NETWORK, language);
        talk.types("2").types("1").types("ann@b.test");
        assert!(talk.reads_secret());
        talk.types("long enough");
        assert!(talk.reads_secret());
        talk.types("long enough");
        assert_eq!(talk.asked(), "account-add ann@b.test long%20enough");
        talk.replied(Ok(Vec::new()));
        talk.says("ann@b.test");
        // Another that differs, and one that the server refuses.
        talk.types("1").types("bob@b.test").types("long enough");
        talk.types("long enouhg");
        talk.says(text::DIFFER.of(language));
        talk.types("1").types("bob@b.test").types("short");
        talk.types("short").replied(Err("too short".into()));
        talk.says("too short");
        talk.types("1").types("no address").types("long enough");
        talk.types("long enough").says("no address");
        talk.types("0").types("0");
        assert!(talk.ended());
    }
}

#[test]
fn services_the_queue_and_the_relay_come_to_the_command_lines_requests() {
    let mut talk = Talk::logged_in(NETWORK, Language::English);
    talk.types("4").types("2").types("2");
    assert_eq!(talk.asked(), "setting-set pop3.enabled off");
    talk.replied(Ok(Vec::new())).says("Done.");
    talk.types("5").types("2").types("");
    assert_eq!(talk.asked(), "queue-retry all");
    talk.replied(Ok(vec![vec!["3".into()]]))
        .says("Messages: 3.");
    talk.types("3").types("7");
    assert_eq!(talk.asked(), "queue-hold 7");
    talk.replied(Ok(vec![vec!["1".into()]]));
    talk.types("2").types("seven").says("no number");
    talk.types("1");
    assert_eq!(talk.asked(), "queue-list all");
    let row = ["7", "held", "2", "a@b.test", "c@d.test", "450 \x1b[2J"].map(String::from);
    talk.replied(Ok(vec![row.to_vec(), vec!["0".into()]]));
    talk.says("held");
    talk.says("450 ?[2J");
    talk.types("0").types("6").types("2");
    talk.types("smtp.test").types("465").types("ann");
    assert!(talk.reads_secret());
    talk.types("her secret");
    assert_eq!(
        talk.asked(),
        "route-set default smtp.test 465 implicit ann her%20secret"
    );
    talk.replied(Ok(Vec::new())).types("2");
    // With no user there is no password to ask for.
    talk.types("smtp.test").types("").types("");
    assert_eq!(talk.asked(), "route-set default smtp.test 587 starttls");
}

#[test]
fn the_machine_is_switched_off_where_it_is_ours_and_after_a_yes() {
    let mut talk = Talk::logged_in(NETWORK, Language::English);
    talk.types("").says("Log out");
    assert!(!talk.step.say.contains("switch off"), "{}", talk.step.say);
    let mut talk = Talk::logged_in(BOX, Language::Russian);
    talk.types("12").types("3").types("нет");
    talk.says("Ничего не изменено");
    talk.types("3").types("Да");
    assert!(matches!(talk.step.then, Then::Run(Program::PowerOff)));
}

#[test]
fn versions_are_shown_and_fetched_where_the_machine_is_ours() {
    let mut talk = Talk::logged_in(BOX, Language::English);
    talk.types("12").types("7").types("--back").says("https://");
    talk.types("7").types("https://a.test/b.update");
    let run = |talk: &Talk| match &talk.step.then {
        Then::Run(Program::Own(words)) => words.join(" "),
        then => panic!("{then:?}"),
    };
    assert_eq!(run(&talk), "update https://a.test/b.update");
    let mut talk = Talk::logged_in(BOX, Language::English);
    talk.types("12").types("6");
    assert_eq!(run(&talk), "update --status");
    let mut talk = Talk::logged_in(BOX, Language::English);
    talk.types("12").types("8").types("no").says("Nothing");
    talk.types("8").types("yes");
    assert_eq!(run(&talk), "update --back");
}

#[test]
fn nothing_but_a_capability_is_taken_away() {
    let mut talk = Talk::logged_in(NETWORK, Language::English);
    talk.types("2").types("4").types("a@b.test").types("quota");
    talk.types("2").says("imap.IDLE");
    talk.types("4").types("a@b.test").types("imap.idle");
    talk.types("2");
    assert_eq!(talk.asked(), "account-set a@b.test imap.idle off");
}

#[test]
fn a_domain_is_no_option() {
    let mut talk = Talk::logged_in(NETWORK, Language::English);
    talk.types("7").types("--dir=/tmp").says("It did not work");
    talk.types("7").types("b.test");
    match &talk.step.then {
        Then::Run(Program::Own(words)) => assert_eq!(words, &["dns", "b.test"]),
        then => panic!("{then:?}"),
    }
}

#[test]
fn a_forgotten_password_is_replaced_at_the_machine_alone() {
    let mut talk = Talk::begin(NETWORK, Language::English);
    talk.types("?").says("within 10 minutes");
    assert!(talk.reads_secret());
    let mut talk = Talk::begin(BOX, Language::English);
    talk.types("?").says("told by mail");
    talk.types("no").says("Nothing was changed");
    talk.types("?").types("yes");
    assert!(talk.reads_secret());
    talk.types("a new password").types("another password");
    talk.says("The two differ");
    talk.types("?").types("yes").types("a new password");
    talk.types("a new password");
    assert_eq!(talk.asked(), "administrator-recover a%20new%20password");
    talk.replied(Ok(vec![vec!["1".into()]]));
    talk.says("has a new password");
    // That is no way in.
    assert!(talk.reads_secret());
    assert!(!talk.step.say.contains("Log out"));
}

/// The page stays on a screen for months: what counts is when each step is taken.
#[test]
fn the_time_to_replace_it_ends_at_every_step() {
    for late in 0..4 {
        let mut talk = Talk::begin(BOX, Language::English);
        for (n, line) in ["?", "yes", "a new password", "a new password"]
            .iter()
            .enumerate()
        {
            talk.up = if n < late { 599 } else { 600 };
            talk.types(line);
            if n == late {
                talk.says("within 10 minutes");
                assert!(matches!(talk.step.then, Then::Read { secret: true, .. }));
                break;
            }
        }
        talk.types("yes");
        assert!(talk.asked().starts_with("administrator-check"), "{late}");
    }
}

#[test]
fn the_recovery_alone_ends_with_itself() {
    for answer in ["no", "yes"] {
        let (console, step) = Console::recovering(Language::English);
        let mut talk = Talk::with(console, step);
        // On any day.
        talk.up = 1 << 30;
        talk.types(answer);
        if answer == "yes" {
            talk.types("a new password").types("a new password");
            assert!(talk.asked().starts_with("administrator-recover"));
            talk.replied(Ok(Vec::new()));
        }
        assert!(talk.ended());
    }
    let (console, step) = Console::recovering(Language::English);
    let mut talk = Talk::with(console, step);
    assert!(talk.event(Event::Interrupt).ended());
}

#[test]
fn ctrl_c_breaks_off_and_idleness_logs_out() {
    let mut talk = Talk::logged_in(NETWORK, Language::English);
    talk.types("2").types("1").event(Event::Interrupt);
    talk.says("Log out\nChoice: ".trim_start_matches("Log out\n"));
    talk.types("1").types("ann@b.test");
    let limit = |talk: &Talk| match talk.step.then {
        Then::Read { within, .. } => within,
        _ => None,
    };
    assert_eq!(limit(&talk), Some(Duration::from_secs(600)));
    talk.event(Event::Idle).says("logged out");
    assert!(talk.ended());
    let mut talk = Talk::begin(BOX, Language::English);
    assert_eq!(limit(&talk), None, "the page may stay on a screen");
    assert!(talk.event(Event::Interrupt).reads_secret());
    assert!(limit(&Talk::begin(NETWORK, Language::English)).is_some());
}

#[test]
fn a_server_that_does_not_answer_is_started_where_that_is_ours() {
    let (console, step) = Console::new(BOX, Language::English);
    let mut talk = Talk::with(console, step);
    talk.replied(Err("no server".into()));
    talk.says("no server");
    talk.types("");
    assert!(matches!(talk.step.then, Then::Run(Program::Start)));
    talk.event(Event::Ran(Ok(String::new())));
    assert_eq!(talk.asked(), "status");
    let (console, step) = Console::new(NETWORK, Language::English);
    let mut talk = Talk::with(console, step);
    talk.replied(Err("no server".into())).types("");
    assert_eq!(talk.asked(), "status");
    talk.replied(Err("no server".into())).types("0");
    assert!(talk.ended());
}

#[test]
fn long_answers_come_by_the_page() {
    let mut talk = Talk::logged_in(NETWORK, Language::English);
    let row = |n: usize| vec![format!("user{n}@b.test"), "1".into(), "1500000".into()];
    talk.types("2").types("3");
    talk.replied(Ok((0..50).map(row).collect()));
    let mut pages = 1;
    while talk.step.say.ends_with("-- ") {
        assert!(talk.step.say.lines().count() < 24);
        pages += 1;
        talk.types("");
    }
    assert_eq!(pages, 3);
    talk.says("user49@b.test");
    talk.types("3").replied(Ok((0..50).map(row).collect()));
    talk.types("0").says("Add an account");
}

/// Every page of menus, in both languages: it fits a terminal, and 0 leads back.
#[test]
fn every_menu_fits_and_leads_back() {
    for language in Language::ALL {
        let mut talk = Talk::logged_in(BOX, language);
        let top = talk.step.say.clone();
        for n in ["2", "3", "5", "6", "12"] {
            talk.types(n).says(text::BACK.of(language));
            assert!(talk.step.say.lines().count() < 24);
            talk.types("99").says(text::NO_CHOICE.of(language));
            talk.types("0");
            assert_eq!(talk.step.say, top);
        }
        let other = match language {
            Language::English => Language::Russian,
            Language::Russian => Language::English,
        };
        talk.types("13").says(text::LOG_OUT.of(other));
    }
}

#[test]
fn the_language_is_chosen_in_place_of_the_password() {
    let mut talk = Talk::begin(NETWORK, Language::English);
    talk.types("RU");
    assert_eq!(talk.asked(), "status");
    talk.replied(Ok(vec![vec!["stopped".into()]]));
    talk.says("ОСТАНОВЛЕН");
    talk.replied(Ok(vec![vec!["set".into()]]));
    talk.says("Введите пароль");
}
