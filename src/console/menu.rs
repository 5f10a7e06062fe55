//! What the console can do, as data: menus of tasks, what each asks, and the request to the
//! server that it comes to. The requests are those of the command line. Pure.

use super::text::*;
use crate::address::{Address, Domain};
use crate::control::{Administrator, Choosing, Queue, Request, Routing, What, Which};
use crate::mail::capability::Off;
use crate::mail::outgoing::QueueId;
use crate::secret::Secret;
use crate::setup::text::Text;

/// One page of choices; 0 goes back.
pub struct Menu {
    pub title: Text,
    pub entries: &'static [Entry],
}

pub struct Entry {
    pub text: Text,
    pub item: Item,
}

pub enum Item {
    Menu(&'static Menu),
    Task(&'static Task),
    Status,
    Problems,
    Language,
    /// What concerns the machine, and is there on the appliance alone.
    Machine(&'static Menu),
    /// What nobody may do by network.
    Local(&'static Task),
}

/// Questions, then something to do.
pub struct Task {
    pub fields: &'static [Field],
    pub act: fn(&Answers) -> Result<Act, String>,
}

pub struct Field {
    pub ask: Text,
    pub kind: Kind,
}

pub enum Kind {
    /// A word that must be there.
    Word,
    /// One that may be empty.
    Optional,
    /// A new password: twice, unseen.
    NewPassword,
    /// Somebody else's password, unseen; not asked for where the answer before is empty.
    Password,
    /// One of these, by number; the answer is the word.
    Choice(&'static [(Text, &'static str)]),
    /// The word yes, or nothing is done.
    Sure,
}

/// What was answered, in order.
pub struct Answers(pub Vec<Secret<String>>);

impl Answers {
    fn word(&self, n: usize) -> &str {
        self.0.get(n).map_or("", |it| it.reveal().as_str())
    }

    fn secret(&self, n: usize) -> Secret<String> {
        Secret::new(self.word(n).to_string())
    }

    fn address(&self, n: usize) -> Result<Address, String> {
        let text = self.word(n);
        Address::parse(text).map_err(|error| format!("{text}: {error}"))
    }
}

pub enum Act {
    Ask(Request, Show),
    Run(Program),
}

/// What is shown when it is done.
pub enum Show {
    /// A sentence, with these put in.
    Said(Text, Vec<String>),
    /// The answer's rows.
    Rows(&'static [Text]),
    Accounts,
    Queue,
    /// The number in the answer.
    Count,
}

/// What is run beside the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A command of ours; what it prints is shown.
    Own(Vec<String>),
    /// One that concerns the machine, not the data directory.
    Machine(&'static [&'static str]),
    /// The wizard: it has the terminal.
    Setup,
    Start,
    Restart,
    Reboot,
    PowerOff,
}

const fn field(ask: Text, kind: Kind) -> Field {
    Field { ask, kind }
}

const fn task(text: Text, task: &'static Task) -> Entry {
    Entry {
        text,
        item: Item::Task(task),
    }
}

const fn menu(menu: &'static Menu) -> Entry {
    Entry {
        text: menu.title,
        item: Item::Menu(menu),
    }
}

pub static MAIN_MENU: Menu = Menu {
    title: MAIN,
    entries: &[
        Entry {
            text: STATUS,
            item: Item::Status,
        },
        menu(&ACCOUNTS_PAGE),
        menu(&ALIASES_PAGE),
        task(SERVICE_MENU, &SWITCH),
        menu(&QUEUE_PAGE),
        menu(&RELAY_PAGE),
        task(DNS_MENU, &DNS),
        task(TEST_MENU, &TEST),
        Entry {
            text: ERRORS_MENU,
            item: Item::Problems,
        },
        task(PASSWORD_MENU, &ADMINISTRATOR),
        task(SETUP_MENU, &SETUP),
        Entry {
            text: MACHINE_MENU,
            item: Item::Machine(&MACHINE_PAGE),
        },
        Entry {
            text: LANGUAGE,
            item: Item::Language,
        },
    ],
};

static ACCOUNTS_PAGE: Menu = Menu {
    title: ACCOUNT_MENU,
    entries: &[
        task(ADD_ACCOUNT, &ADD),
        task(RESET_PASSWORD, &RESET),
        task(LIST_ACCOUNTS, &LIST),
        task(CAPABILITY, &CAPABILITY_SWITCH),
    ],
};

static ADD: Task = Task {
    fields: &[
        field(ACCOUNT_ADDRESS, Kind::Word),
        field(NEW_PASSWORD, Kind::NewPassword),
    ],
    act: |answers| {
        let address = answers.address(0)?;
        let said = Show::Said(ACCOUNT_ADDED, vec![address.to_string()]);
        let password = answers.secret(1);
        Ok(Act::Ask(Request::AddAccount { address, password }, said))
    },
};

static RESET: Task = Task {
    fields: &[
        field(ACCOUNT_ADDRESS, Kind::Word),
        field(NEW_PASSWORD, Kind::NewPassword),
    ],
    act: |answers| {
        let address = answers.address(0)?;
        let said = Show::Said(PASSWORD_RESET, vec![address.to_string()]);
        let password = answers.secret(1);
        Ok(Act::Ask(Request::SetPassword { address, password }, said))
    },
};

static LIST: Task = Task {
    fields: &[],
    act: |_| Ok(Act::Ask(Request::ListAccounts, Show::Accounts)),
};

/// For a program that stumbles over one.
static CAPABILITY_SWITCH: Task = Task {
    fields: &[
        field(ACCOUNT_ADDRESS, Kind::Word),
        field(WHICH_CAPABILITY, Kind::Word),
        field(
            ON_OR_OFF,
            Kind::Choice(&[(SWITCH_ON, "on"), (GO_WITHOUT, "off")]),
        ),
    ],
    act: |answers| {
        let (address, name, value) = (answers.address(0)?, answers.word(1), answers.word(2));
        // Nothing but a capability, and the refusal has all their names.
        let mut off = Off::NONE;
        off.set(name, true)?;
        let request = Request::SetOption {
            address,
            option: name.to_string(),
            value: value.to_string(),
        };
        Ok(Act::Ask(request, Show::Said(DONE, Vec::new())))
    },
};

static ALIASES_PAGE: Menu = Menu {
    title: ALIAS_MENU,
    entries: &[
        task(LIST_ALIASES, &ALIASES),
        task(ADD_ALIAS, &NEW_ALIAS),
        task(REMOVE_ALIAS, &OLD_ALIAS),
    ],
};

static ALIASES: Task = Task {
    fields: &[],
    act: |_| {
        let show = Show::Rows(&[COLUMN_ALIAS, COLUMN_ACCOUNT]);
        Ok(Act::Ask(Request::ListAliases, show))
    },
};

static NEW_ALIAS: Task = Task {
    fields: &[
        field(ALIAS_ADDRESS, Kind::Word),
        field(ALIAS_ACCOUNT, Kind::Word),
    ],
    act: |answers| {
        let (alias, account) = (answers.address(0)?, answers.address(1)?);
        let said = Show::Said(ALIAS_ADDED, vec![alias.to_string(), account.to_string()]);
        Ok(Act::Ask(Request::AddAlias { alias, account }, said))
    },
};

static OLD_ALIAS: Task = Task {
    fields: &[field(ALIAS_ADDRESS, Kind::Word)],
    act: |answers| {
        let alias = answers.address(0)?;
        let said = Show::Said(ALIAS_REMOVED, vec![alias.to_string()]);
        Ok(Act::Ask(Request::RemoveAlias { alias }, said))
    },
};

static SWITCH: Task = Task {
    fields: &[
        field(
            WHICH_SERVICE,
            Kind::Choice(&[
                (IMAP, "imap"),
                (POP3, "pop3"),
                (SUBMISSION, "submission"),
                (SMTP, "smtp"),
            ]),
        ),
        field(
            ON_OR_OFF,
            Kind::Choice(&[(SWITCH_ON, "on"), (SWITCH_OFF, "off")]),
        ),
    ],
    act: |answers| {
        let name = format!("{}.enabled", answers.word(0));
        let chosen = [(name, answers.word(1).to_string())].into();
        let request = Request::Choosing(Choosing::Set(chosen));
        Ok(Act::Ask(request, Show::Said(DONE, Vec::new())))
    },
};

static QUEUE_PAGE: Menu = Menu {
    title: QUEUE_MENU,
    entries: &[
        task(LIST_QUEUE, &QUEUED_MAIL),
        task(RETRY, &RETRY_MAIL),
        task(HOLD, &HOLD_MAIL),
        task(RELEASE, &RELEASE_MAIL),
    ],
};

static QUEUED_MAIL: Task = Task {
    fields: &[],
    act: |_| {
        let request = Request::Queue(Queue::List(Which::All));
        Ok(Act::Ask(request, Show::Queue))
    },
};

const WHICH: &[Field] = &[field(WHICH_MESSAGE, Kind::Optional)];

static RETRY_MAIL: Task = Task {
    fields: WHICH,
    act: |answers| change(What::Retry, answers),
};
static HOLD_MAIL: Task = Task {
    fields: WHICH,
    act: |answers| change(What::Hold, answers),
};
static RELEASE_MAIL: Task = Task {
    fields: WHICH,
    act: |answers| change(What::Release, answers),
};

fn change(what: What, answers: &Answers) -> Result<Act, String> {
    let which = match answers.word(0) {
        "" => Which::All,
        word => match word.parse() {
            Ok(number) => Which::One(QueueId(number)),
            Err(_) => return Err(format!("{word} is no number of a queued message")),
        },
    };
    let request = Request::Queue(Queue::Change(what, which));
    Ok(Act::Ask(request, Show::Count))
}

static RELAY_PAGE: Menu = Menu {
    title: RELAY_MENU,
    entries: &[
        task(LIST_RELAY, &RELAYS),
        task(SET_RELAY, &RELAY),
        task(REMOVE_RELAY, &NO_RELAY),
        task(TEST_RELAY, &TRY_RELAY),
    ],
};

static RELAYS: Task = Task {
    fields: &[],
    act: |_| {
        let show = Show::Rows(&[COLUMN_SENDERS, COLUMN_SERVER, COLUMN_TLS, COLUMN_USER]);
        Ok(Act::Ask(Request::Routing(Routing::List), show))
    },
};

/// The route of all senders without one of their own.
const DEFAULT: &str = "default";

static RELAY: Task = Task {
    fields: &[
        field(RELAY_HOST, Kind::Word),
        field(RELAY_PORT, Kind::Optional),
        field(RELAY_USER, Kind::Optional),
        field(RELAY_PASSWORD, Kind::Password),
    ],
    act: |answers| {
        let host = answers.word(0);
        let port = match answers.word(1) {
            "" => None,
            word => Some(word.parse().map_err(|_| format!("{word} is no port"))?),
        };
        let login = match answers.word(2) {
            "" => None,
            user => Some((user.to_string(), answers.secret(3))),
        };
        let request = Routing::set(DEFAULT, host, port, None, login)?;
        let said = Show::Said(RELAY_SET, vec![host.to_string()]);
        Ok(Act::Ask(Request::Routing(request), said))
    },
};

static NO_RELAY: Task = Task {
    fields: &[field(SURE, Kind::Sure)],
    act: |_| {
        let request = Request::Routing(Routing::remove(DEFAULT)?);
        Ok(Act::Ask(request, Show::Said(RELAY_REMOVED, Vec::new())))
    },
};

static TRY_RELAY: Task = Task {
    fields: &[field(RELAY_ADDRESS, Kind::Word)],
    act: |answers| {
        let address = answers.address(0)?;
        let request = Routing::Test {
            address,
            sender: None,
        };
        let show = Show::Rows(&[COLUMN_SERVER, COLUMN_FINDING]);
        Ok(Act::Ask(Request::Routing(request), show))
    },
};

static DNS: Task = Task {
    fields: &[field(DOMAIN, Kind::Word)],
    act: |answers| {
        let word = answers.word(0);
        let domain = Domain::parse(word).map_err(|error| format!("{word}: {error}"))?;
        let words = vec!["dns".into(), domain.to_string()];
        Ok(Act::Run(Program::Own(words)))
    },
};

static TEST: Task = Task {
    fields: &[],
    act: |_| Ok(Act::Run(Program::Own(vec!["test".into()]))),
};

static ADMINISTRATOR: Task = Task {
    fields: &[field(NEW_PASSWORD, Kind::NewPassword)],
    act: |answers| {
        let password = answers.secret(0);
        let request = Request::Administrator(Administrator::Set { password });
        Ok(Act::Ask(request, Show::Said(RECOVERED, Vec::new())))
    },
};

static SETUP: Task = Task {
    fields: &[field(SURE, Kind::Sure)],
    act: |_| Ok(Act::Run(Program::Setup)),
};

static MACHINE_PAGE: Menu = Menu {
    title: MACHINE_MENU,
    entries: &[
        task(RESTART, &RESTART_SERVICE),
        task(REBOOT, &REBOOT_MACHINE),
        task(POWER_OFF, &POWER_OFF_MACHINE),
        task(SSH, &SSH_SWITCH),
        Entry {
            text: RESET_BOX,
            item: Item::Local(&RESET_MACHINE),
        },
        task(UPDATE_STATUS, &VERSIONS),
        task(UPDATE, &NEW_VERSION),
        task(UPDATE_BACK, &OLD_VERSION),
    ],
};

static VERSIONS: Task = Task {
    fields: &[],
    act: |_| Ok(Act::Run(Program::Own(words(&["update", "--status"])))),
};

static NEW_VERSION: Task = Task {
    fields: &[field(UPDATE_URL, Kind::Word)],
    act: |answers| match answers.word(0) {
        url if url.starts_with("https://") => Ok(Act::Run(Program::Own(words(&["update", url])))),
        word => Err(format!("{word}: the URL of an update begins with https://")),
    },
};

static OLD_VERSION: Task = Task {
    fields: &[field(SURE, Kind::Sure)],
    act: |_| Ok(Act::Run(Program::Own(words(&["update", "--back"])))),
};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|it| it.to_string()).collect()
}

static SSH_SWITCH: Task = Task {
    fields: &[field(
        ON_OR_OFF,
        Kind::Choice(&[(SWITCH_ON, "on"), (SWITCH_OFF, "off")]),
    )],
    act: |answers| {
        let words: &[&str] = match answers.word(0) {
            "on" => &["box", "ssh", "on"],
            _ => &["box", "ssh", "off"],
        };
        Ok(Act::Run(Program::Machine(words)))
    },
};

/// Asked for twice, and not by the same word.
static RESET_MACHINE: Task = Task {
    fields: &[field(RESET_SURE, Kind::Sure), field(RESET_WORD, Kind::Word)],
    act: |answers| match answers.word(1) {
        "RESET" => Ok(Act::Run(Program::Machine(&["box", "reset", "--yes"]))),
        word => Err(format!("{word}: RESET was asked for; nothing was removed")),
    },
};

static RESTART_SERVICE: Task = Task {
    fields: &[field(SURE, Kind::Sure)],
    act: |_| Ok(Act::Run(Program::Restart)),
};
static REBOOT_MACHINE: Task = Task {
    fields: &[field(SURE, Kind::Sure)],
    act: |_| Ok(Act::Run(Program::Reboot)),
};
static POWER_OFF_MACHINE: Task = Task {
    fields: &[field(SURE, Kind::Sure)],
    act: |_| Ok(Act::Run(Program::PowerOff)),
};
