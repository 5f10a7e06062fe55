use super::*;
use crate::secret::Credential;
use crate::setup::document;
use crate::setup::plan::Plan;
use crate::setup::text::wrap;

/// A world in which every look finds the same, unless one is told otherwise.
struct World {
    wrong: Vec<Check>,
    /// What was shown.
    shown: String,
    kept: String,
    looked: Vec<Check>,
}

impl World {
    fn new() -> World {
        World {
            wrong: Vec::new(),
            shown: String::new(),
            kept: String::new(),
            looked: Vec::new(),
        }
    }

    /// Types the lines; gives the step for which there is no line any more.
    fn drive(&mut self, wizard: &mut Wizard, lines: &[&str]) -> Step {
        let mut lines = lines.iter();
        loop {
            match wizard.step() {
                Step::Save(text) => {
                    self.kept = text.reveal().clone();
                    wizard.saved(Ok(()));
                }
                Step::Check(check) => {
                    self.looked.push(check);
                    let detail = "what was seen".to_string();
                    wizard.found(match self.wrong.contains(&check) {
                        true => Finding::Wrong(detail),
                        false => Finding::Well(detail),
                    });
                }
                Step::Seal(password) => wizard.sealed(Ok(seal(password.reveal()))),
                Step::Line { secret } => {
                    self.shown.push_str(&wizard.take_output());
                    let Some(line) = lines.next() else {
                        return Step::Line { secret };
                    };
                    self.shown.push('\n');
                    wizard.line(Some(line));
                }
                step => {
                    self.shown.push_str(&wizard.take_output());
                    assert_eq!(lines.next(), None, "{}", self.shown);
                    return step;
                }
            }
        }
    }
}

/// The cost of real ones is not what is tested here; each is as long as a real one.
fn seal(password: &str) -> String {
    use crate::secret::ScramKeys;
    let mark = sealed::MARK;
    sealed::write(&Credential {
        verifier: format!("{mark}v=19$m=7168,t=5,p=1$bm9ib2R5${password}"),
        scram: ScramKeys {
            salt: vec![7; 16],
            iterations: 10_000,
            stored_key: [1; 32],
            server_key: [2; 32],
        },
    })
}

const TYPED: [&str; 12] = [
    "1",
    "mail.example.org",
    "",
    "",
    "",
    "hard to guess",
    "hard to guess",
    "anna",
    "correct horse",
    "correct horse",
    "3",
    "yes",
];

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx anna@laptop";

const APPLIANCE: &[&str] = &[
    "2",
    "static",
    "192.168.1.20/24",
    "",
    "",
    "Europe/Moscow",
    "mail.example.org",
    "",
    "imap submission",
    "files",
    "/etc/cert.pem",
    "/etc/key.pem",
    "hard to guess",
    "hard to guess",
    "keys",
    KEY,
    "anna",
    "correct horse",
    "correct horse",
    "smarthost",
    "smtp.example.net",
    "465",
    "",
    "",
    "sesame",
    "да",
];

fn appliance() -> Facts {
    Facts {
        appliance: true,
        ..Facts::default()
    }
}

fn values(answers: &Answers) -> Vec<(&'static str, String)> {
    answers
        .all()
        .map(|(name, value)| (name, value.to_string()))
        .collect()
}

#[test]
fn a_newcomer_needs_twelve_lines() {
    let mut world = World::new();
    let mut wizard = Wizard::new(Facts::default(), Answers::default());
    assert!(matches!(world.drive(&mut wizard, &TYPED), Step::Apply));
    let answers = wizard.answers();
    assert!(answers.is("domain", "example.org"));
    assert!(answers.is("services", "imap pop3 submission smtp"));
    assert!(answers.is("account.address", "anna@example.org"));
    assert!(answers.is("relay.mode", "none"));
    assert!(Plan::of(answers, &Facts::default()).is_ok());
    assert_eq!(world.looked, [Check::Clock, Check::Name, Check::Ports]);
    wizard.applied(Ok(()));
    assert!(matches!(wizard.step(), Step::Done));
    for secret in ["hard to guess", "correct horse"] {
        assert!(!world.shown.contains(secret));
    }
}

#[test]
fn every_question_is_asked_in_both_languages_within_the_width() {
    for (language, yes) in [("1", "yes"), ("2", "да")] {
        let mut lines = APPLIANCE.to_vec();
        lines[0] = language;
        *lines.last_mut().unwrap() = yes;
        // Help at each of them too.
        let lines: Vec<&str> = lines.iter().flat_map(|it| ["?", it]).collect();
        let mut world = World::new();
        world.wrong = vec![Check::Clock];
        let mut wizard = Wizard::new(appliance(), Answers::default());
        // The wrong clock takes one more line.
        let lines = [&lines[..2], &["?", ""], &lines[2..]].concat();
        assert!(
            matches!(world.drive(&mut wizard, &lines), Step::Apply),
            "{}",
            world.shown
        );
        for line in world.shown.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        let cyrillic = world
            .shown
            .chars()
            .filter(|c| ('а'..='я').contains(c))
            .count();
        match language {
            "1" => assert!(cyrillic < 20, "{}", world.shown),
            _ => assert!(cyrillic > 3000, "{cyrillic}"),
        }
        assert!(wizard.answers().is("network.gateway", "192.168.1.1"));
        assert!(wizard.answers().is("relay.tls", "implicit"));
        assert!(wizard.answers().is("relay.user", "anna@example.org"));
    }
}

#[test]
fn findings_fit_too() {
    use crate::setup::check::Check::*;
    for check in [Clock, Zone, Name, Ports, Certificate, Outwards, Relay] {
        for language in Language::ALL {
            for finding in [Finding::Well, Finding::Wrong, Finding::Unknown] {
                let detail = "mail.example.org: the server's answer took too long".to_string();
                let text = wrap(&check.say(language, &finding(detail)));
                assert!(text.lines().all(|it| it.chars().count() <= WIDTH), "{text}");
            }
        }
    }
}

#[test]
fn wrong_answers_are_asked_again_and_change_nothing() {
    let mut world = World::new();
    let mut wizard = Wizard::new(Facts::default(), Answers::default());
    let lines = [
        "3",
        "english",
        "1",
        "",
        "mail",
        "192.0.2.1",
        "mail.example.org",
        "nonsense",
        "example.org",
        "telnet",
        "imap",
        "0",
        "4",
        "local",
        "short",
        "hard to guess",
        "hard to gues",
        "hard to guess",
        "hard to guess",
        "guest",
        "anna@other.test",
        "anna",
        "correct horse",
        "correct horse",
        "maybe",
        "none",
        "no",
        "99",
        "",
    ];
    assert!(matches!(
        world.drive(&mut wizard, &lines),
        Step::Line { secret: false }
    ));
    for refusal in [
        NO_CHOICE,
        NEEDED,
        BAD_HOST,
        BAD_DOMAIN,
        BAD_SERVICES,
        TOO_SHORT,
        DIFFER,
        RESERVED,
        OTHER_DOMAIN,
        NO_SUCH_NUMBER,
    ] {
        assert!(world.shown.contains(refusal.english), "{}", refusal.english);
    }
    assert!(matches!(world.drive(&mut wizard, &["yes"]), Step::Apply));
    assert!(wizard.answers().is("hostname", "mail.example.org"));
    let mut long = Wizard::new(Facts::default(), Answers::default());
    long.line(Some(&"x".repeat(MAX_ANSWER + 1)));
    long.line(None);
    assert_eq!(long.take_output().matches(UNREADABLE.english).count(), 2);
}

#[test]
fn it_goes_back_and_what_depended_is_asked_anew() {
    let mut world = World::new();
    let mut wizard = Wizard::new(Facts::default(), Answers::default());
    world.drive(
        &mut wizard,
        &["<", "1", "<", "", "back", "", "mail.example.org"],
    );
    assert!(world.shown.contains(FIRST.english));
    // At the domain: back to the name, which has its answer in brackets now.
    world.shown.clear();
    world.drive(&mut wizard, &["<"]);
    assert!(
        world.shown.ends_with("Host name [mail.example.org]: "),
        "{}",
        world.shown
    );
    world.drive(&mut wizard, &["", "example.org", "", ""]);
    // A password half-typed is given up.
    let step = world.drive(&mut wizard, &["hard to guess", "<"]);
    assert!(matches!(step, Step::Line { secret: true }));
    world.drive(&mut wizard, &["hard to guess", "hard to guess", "anna"]);
    world.drive(&mut wizard, &["correct horse", "correct horse", "none"]);
    // From the review: another domain leaves the account without one that holds.
    world.shown.clear();
    world.drive(&mut wizard, &["3", "other.test"]);
    assert!(world.shown.ends_with("First account: "), "{}", world.shown);
    world.shown.clear();
    world.drive(&mut wizard, &["bea"]);
    assert!(world.shown.contains("bea@other.test") && world.shown.contains(REVIEW.english));
    // Back from a question that was asked for leads to the review again.
    world.shown.clear();
    world.drive(&mut wizard, &["2", "<"]);
    assert!(world.shown.contains(REVIEW.english));
    // And another way asks only what it needs.
    world.shown.clear();
    world.drive(&mut wizard, &["9", "smarthost"]);
    assert!(
        world.shown.ends_with("Provider's server: "),
        "{}",
        world.shown
    );
    world.drive(&mut wizard, &["127.0.0.1", "", "", "-"]);
    assert!(matches!(world.drive(&mut wizard, &["yes"]), Step::Apply));
    assert!(wizard.answers().is("relay.user", "-"));
    assert_eq!(world.looked.last(), Some(&Check::Relay));
}

#[test]
fn a_wrong_finding_is_kept_or_changed_and_some_can_not_be_kept() {
    let mut world = World::new();
    world.wrong = vec![Check::Name, Check::Certificate];
    let mut wizard = Wizard::new(Facts::default(), Answers::default());
    world.drive(&mut wizard, &["1", "mail.exmaple.org"]);
    assert!(world.shown.ends_with(DOUBT.english), "{}", world.shown);
    world.drive(
        &mut wizard,
        &["perhaps", "<", "mail.example.org", "", "", ""],
    );
    assert!(wizard.answers().is("hostname", "mail.example.org"));
    world.shown.clear();
    world.drive(&mut wizard, &["2", "/a.pem", "/b.pem"]);
    assert!(
        world.shown.ends_with("Certificate file [/a.pem]: "),
        "{}",
        world.shown
    );
    world.wrong.clear();
    world.shown.clear();
    world.drive(&mut wizard, &["/c.pem", ""]);
    assert!(world.shown.contains("Administrator"), "{}", world.shown);
}

#[test]
fn it_resumes_wherever_it_was_cut() {
    for cut in 1..APPLIANCE.len() {
        let mut world = World::new();
        let mut wizard = Wizard::new(appliance(), Answers::default());
        world.drive(&mut wizard, &APPLIANCE[..cut]);
        let mut again = Wizard::new(appliance(), document::resume(&world.kept));
        // A password that was typed once is typed again.
        let from = match APPLIANCE[cut] == APPLIANCE[cut - 1] && APPLIANCE[cut].contains(' ') {
            true => cut - 1,
            false => cut,
        };
        let mut after = World::new();
        let step = after.drive(&mut again, &APPLIANCE[from..]);
        assert!(matches!(step, Step::Apply), "{cut} {}", after.shown);
        assert!(after.shown.contains("Сохранено прежних ответов"), "{cut}");
        assert!(!world.kept.contains("hard to guess = "));
        let plan = Plan::of(again.answers(), &appliance()).unwrap();
        assert_eq!(plan.account.to_string(), "anna@example.org");
    }
}

#[test]
fn leaving_keeps_and_says_so() {
    let mut world = World::new();
    let mut wizard = Wizard::new(Facts::default(), Answers::default());
    assert!(matches!(
        world.drive(&mut wizard, &["2", "mail.example.org", "!"]),
        Step::Left
    ));
    assert!(world.shown.contains(LEFT.russian));
    assert_eq!(document::resume(&world.kept).len(), 2);
    // Where nothing can be kept, that is said once.
    let mut wizard = Wizard::new(Facts::default(), Answers::default());
    for line in ["1", "mail.example.org"] {
        wizard.line(Some(line));
        while !matches!(wizard.step(), Step::Line { .. }) {
            wizard.saved(Err("read-only".into()));
            wizard.found(Finding::Well(String::new()));
        }
    }
    assert_eq!(wizard.take_output().matches("read-only").count(), 1);
}

#[test]
fn typed_answers_and_a_file_come_to_the_same() {
    let mut world = World::new();
    let mut wizard = Wizard::new(appliance(), Answers::default());
    world.drive(&mut wizard, APPLIANCE);
    let file = "language = \"ru\"\ntime-zone = \"Europe/Moscow\"\n\
        hostname = \"mail.example.org\"\nservices = [\"imap\", \"submission\"]\n\
        [network]\nmode = \"static\"\naddress = \"192.168.1.20/24\"\n\
        [tls]\nsource = \"files\"\ncertificate = \"/etc/cert.pem\"\nkey = \"/etc/key.pem\"\n\
        [administrator]\npassword = \"hard to guess\"\n\
        [account]\naddress = \"anna\"\npassword = \"correct horse\"\n\
        [relay]\nmode = \"smarthost\"\nhost = \"smtp.example.net\"\nport = 465\n\
        password = \"sesame\"\n";
    let file = format!("{file}[ssh]\nmode = \"keys\"\nkey = \"{KEY}\"\n");
    let mut answers = document::read(&file, &appliance()).unwrap();
    for name in document::unsealed(&answers) {
        let sealed = seal(answers.get(name).unwrap());
        answers.put(name, sealed);
    }
    assert_eq!(values(&answers), values(wizard.answers()));
    // The clock is looked at in both, and what each answer asks for.
    assert_eq!(checks(&answers, &appliance()), world.looked);
}

#[test]
fn a_server_that_was_set_up_keeps_its_passwords_unless_told() {
    let mut world = World::new();
    let mut wizard = Wizard::new(appliance(), Answers::default());
    world.drive(&mut wizard, APPLIANCE);
    let remembered = document::write(wizard.answers(), false);
    let facts = Facts {
        accounts: vec!["anna@example.org".into()],
        administrator: true,
        earlier: Some(document::resume(&remembered)),
        ..appliance()
    };
    let mut again = Wizard::new(facts.clone(), Answers::default());
    let mut world = World::new();
    // Enter all along: everything is as it was.
    let mut lines = vec![""; 23];
    lines.push("да");
    assert!(
        matches!(world.drive(&mut again, &lines), Step::Apply),
        "{}",
        world.shown
    );
    assert!(
        world.shown.contains(SET_UP_BEFORE.russian),
        "{}",
        world.shown
    );
    let plan = Plan::of(again.answers(), &facts).unwrap();
    assert!(plan.administrator.is_none() && plan.credential.is_none());
    assert_eq!(document::write(again.answers(), false), remembered);
    // A login that isn't typed anew can't be tried.
    assert!(!world.looked.contains(&Check::Relay));
    // Another account is a new one: it needs a password.
    let mut other = Wizard::new(facts, Answers::default());
    let mut lines = vec![""; 15];
    lines.extend(["bea", ""]);
    let mut world = World::new();
    world.drive(&mut other, &lines);
    assert!(world.shown.contains(NEEDED.russian), "{}", world.shown);
}

#[test]
fn what_could_not_be_applied_leads_back_to_the_review() {
    let mut world = World::new();
    let mut wizard = Wizard::new(Facts::default(), Answers::default());
    world.drive(&mut wizard, &TYPED);
    wizard.applied(Err("the disk is full".into()));
    world.shown.clear();
    assert!(matches!(
        world.drive(&mut wizard, &[]),
        Step::Line { secret: false }
    ));
    assert!(world.shown.contains("the disk is full") && world.shown.contains(REVIEW.english));
    assert!(matches!(world.drive(&mut wizard, &["yes"]), Step::Apply));
}
