use super::*;
use crate::address::Address;
use crate::mail::outgoing::{Body, Envelope, Notify};
use crate::secret::Secret;
use crate::smtp::client::text::Survey;
use crate::smtp::client::transaction::{To, Transaction};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use envelope::MAX_AHEAD;

const GREETING: &str = "220 mx.example ESMTP\r\n";
const PLAIN: &str = "250 mx.example\r\n";
const MODERN: &str = "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n";

fn config() -> Config {
    Config {
        name: "us.example".into(),
        server: "mx.example".into(),
        tls: TlsUse::Never,
        login: None,
        nonce: "abc".into(),
    }
}

fn transaction(recipients: &[&str]) -> Transaction {
    let to = |text: &&str| To {
        address: Address::parse(text).unwrap(),
        notify: Notify::default(),
        original: None,
    };
    Transaction {
        envelope: Envelope {
            sender: Some(Address::parse("ann@us.example").unwrap()),
            ..Envelope::default()
        },
        recipients: recipients.iter().map(to).collect(),
        size: 5,
        survey: Survey::default(),
        convertible: false,
        now: 1000,
    }
}

/// A session, and a server that says what the test tells it to.
struct Talk {
    session: Session,
    out: Vec<u8>,
}

impl Talk {
    fn new(config: Config) -> Talk {
        Talk {
            session: Session::new(config, false),
            out: Vec::new(),
        }
    }

    /// Past greeting and EHLO.
    fn ready(ehlo: &str) -> Talk {
        let mut talk = Talk::new(config());
        assert_eq!(talk.hear(GREETING), Step::Wait(Wait::Hello));
        assert_eq!(talk.sent(), "EHLO us.example\r\n");
        assert_eq!(talk.hear(ehlo), Step::Ready);
        talk
    }

    fn hear(&mut self, bytes: &str) -> Step {
        self.session.receive(bytes.as_bytes());
        self.session.step(&mut self.out)
    }

    fn send(&mut self, transaction: Transaction) -> Step {
        self.session.send(transaction);
        self.session.step(&mut self.out)
    }

    fn body(&mut self, text: &str) -> Step {
        self.session.body(text.as_bytes(), &mut self.out);
        self.session.body_end(&mut self.out);
        self.session.step(&mut self.out)
    }

    fn sent(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).unwrap()
    }
}

/// Of each outcome its letter and its code: `D250 F550`.
fn told(step: Step) -> String {
    let Step::Done(outcomes) = step else {
        panic!("{step:?}");
    };
    let word = |outcome: Outcome| match outcome {
        Outcome::Delivered {
            reply, notifies, ..
        } => {
            format!("{}{}", if notifies { "N" } else { "D" }, reply.code)
        }
        Outcome::Deferred(reply) => format!("T{}", reply.code),
        Outcome::Failed(reply) => format!("F{}", reply.code),
    };
    outcomes.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_message_goes_command_by_command() {
    let mut talk = Talk::ready(PLAIN);
    assert_eq!(
        talk.send(transaction(&["bob@x.example", "eve@x.example"])),
        Step::Wait(Wait::Mail)
    );
    assert_eq!(talk.sent(), "MAIL FROM:<ann@us.example>\r\n");
    assert_eq!(talk.hear("250 ok\r\n"), Step::Wait(Wait::Rcpt));
    assert_eq!(talk.sent(), "RCPT TO:<bob@x.example>\r\n");
    assert_eq!(talk.hear("250 ok\r\n"), Step::Wait(Wait::Rcpt));
    assert_eq!(talk.hear("550 5.1.1 no\r\n"), Step::Wait(Wait::DataStart));
    assert_eq!(talk.sent(), "RCPT TO:<eve@x.example>\r\nDATA\r\n");
    assert_eq!(talk.hear("354 go\r\n"), Step::Body(Form::Data));
    assert_eq!(talk.body(".a\r\nb"), Step::Wait(Wait::DataEnd));
    assert_eq!(talk.sent(), "..a\r\nb\r\n.\r\n");
    assert_eq!(told(talk.hear("250 2.0.0 queued\r\n")), "D250 F550");
    assert_eq!(talk.session.step(&mut Vec::new()), Step::Ready);
    // The next message on the same connection.
    assert_eq!(
        talk.send(transaction(&["bob@x.example"])),
        Step::Wait(Wait::Mail)
    );
}

#[test]
fn commands_go_ahead_where_they_may() {
    let mut talk = Talk::ready(MODERN);
    assert_eq!(
        talk.send(transaction(&["bob@x.example", "eve@x.example"])),
        Step::Wait(Wait::Mail)
    );
    assert_eq!(
        talk.sent(),
        "MAIL FROM:<ann@us.example> SIZE=5\r\nRCPT TO:<bob@x.example>\r\nRCPT TO:<eve@x.example>\r\nDATA\r\n"
    );
    assert_eq!(
        talk.hear("250 a\r\n450 b\r\n250 c\r\n354 d\r\n"),
        Step::Body(Form::Data)
    );
    assert_eq!(talk.body("hi\r\n"), Step::Wait(Wait::DataEnd));
    assert_eq!(told(talk.hear("250 e\r\n")), "T450 N250");
}

#[test]
fn a_hundred_recipients_do_not_go_all_ahead() {
    let names: Vec<String> = (0..100).map(|n| format!("u{n}@x.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut talk = Talk::ready(MODERN);
    let mut step = talk.send(transaction(&names));
    let (mut commands, mut said) = (talk.sent().lines().count(), 0);
    while step != Step::Body(Form::Data) {
        assert!(commands - said <= MAX_AHEAD);
        said += 1;
        step = talk.hear(if said == 102 {
            "354 go\r\n"
        } else {
            "250 ok\r\n"
        });
        commands += talk.sent().lines().count();
    }
    assert_eq!((commands, said), (102, 102));
    talk.body("");
    assert_eq!(told(talk.hear("250 ok\r\n")), ["N250"; 100].join(" "));
}

#[test]
fn nobody_gets_it_where_all_are_refused() {
    // By the way that commands went ahead: DATA is refused, or takes an empty message.
    for (replies, more, wanted) in [
        (
            "250 a\r\n550 b\r\n451 c\r\n503 d\r\n",
            "RSET\r\n",
            "F550 T451",
        ),
        (
            "250 a\r\n550 b\r\n451 c\r\n354 d\r\n554 e\r\n",
            ".\r\n",
            "F550 T451",
        ),
        (
            "250 a\r\n550 b\r\n451 c\r\n354 d\r\n250 e\r\n",
            ".\r\n",
            "F550 T451",
        ),
        (
            "550 a\r\n503 b\r\n503 c\r\n503 d\r\n",
            "RSET\r\n",
            "F550 F550",
        ),
        (
            "451 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n",
            ".\r\n",
            "T451 T451",
        ),
    ] {
        let mut talk = Talk::ready(MODERN);
        talk.send(transaction(&["bob@x.example", "eve@x.example"]));
        talk.sent();
        assert_eq!(told(talk.hear(replies)), wanted, "{replies}");
        assert_eq!(talk.sent(), more, "{replies}");
    }
    let mut talk = Talk::ready(PLAIN);
    talk.send(transaction(&["bob@x.example"]));
    talk.hear("250 a\r\n");
    assert_eq!(told(talk.hear("552 too many\r\n")), "T552");
    assert!(talk.sent().ends_with("RSET\r\n"));
    assert_eq!(talk.hear("250 ok\r\n"), Step::Ready);
    talk.send(transaction(&["bob@x.example"]));
    assert_eq!(told(talk.hear("552 too large\r\n")), "F552");
}

#[test]
fn data_refused_and_the_end_refused() {
    for (replies, wanted) in [
        ("554 no", "F554"),
        ("451 later", "T451"),
        ("250 what", "T250"),
    ] {
        let mut talk = Talk::ready(PLAIN);
        talk.send(transaction(&["bob@x.example"]));
        talk.hear("250 a\r\n");
        talk.hear("250 b\r\n");
        assert_eq!(told(talk.hear(&format!("{replies}\r\n"))), wanted);
    }
    for (replies, wanted) in [
        ("554 no", "F554"),
        ("452 full", "T452"),
        ("421 bye", "T421"),
    ] {
        let mut talk = Talk::ready(MODERN);
        talk.send(transaction(&["bob@x.example", "eve@x.example"]));
        talk.hear("250 a\r\n550 b\r\n250 c\r\n354 d\r\n");
        talk.body("hi");
        assert_eq!(
            told(talk.hear(&format!("{replies}\r\n"))),
            format!("F550 {wanted}")
        );
    }
}

#[test]
fn bdat_goes_as_it_is() {
    let mut talk = Talk::ready("250-mx.example\r\n250-CHUNKING\r\n250 PIPELINING\r\n");
    talk.send(transaction(&["bob@x.example"]));
    assert_eq!(talk.hear("250 a\r\n"), Step::Wait(Wait::Rcpt));
    assert_eq!(talk.hear("250 b\r\n"), Step::Body(Form::Bdat));
    assert!(talk.sent().ends_with("\r\nBDAT 5 LAST\r\n"));
    assert_eq!(talk.body(".\r\n.a"), Step::Wait(Wait::DataEnd));
    assert_eq!(talk.sent(), ".\r\n.a");
    assert_eq!(told(talk.hear("250 ok\r\n")), "D250");
}

#[test]
fn tls_is_made_and_what_came_before_it_forgotten() {
    let config = Config {
        tls: TlsUse::Required,
        ..config()
    };
    let mut talk = Talk::new(config.clone());
    talk.hear(GREETING);
    assert_eq!(
        talk.hear("250-mx\r\n250 STARTTLS\r\n"),
        Step::Wait(Wait::Hello)
    );
    assert!(talk.sent().ends_with("STARTTLS\r\n"));
    assert_eq!(talk.hear("220 go\r\n250 injected\r\n"), Step::StartTls);
    talk.session.tls_started(&mut talk.out);
    assert_eq!(talk.session.step(&mut talk.out), Step::Wait(Wait::Hello));
    assert_eq!(talk.sent(), "EHLO us.example\r\n");
    assert_eq!(talk.hear("250-mx\r\n250 STARTTLS\r\n"), Step::Ready);
    // Without it nothing goes.
    for ehlo in [
        PLAIN,
        "502 what\r\n250 mx\r\n",
        "250-mx\r\n250 STARTTLS\r\n454 not now\r\n",
    ] {
        let mut talk = Talk::new(config.clone());
        talk.hear(GREETING);
        assert!(matches!(talk.hear(ehlo), Step::Closed(_)), "{ehlo}");
    }
    let mut talk = Talk::new(Config {
        tls: TlsUse::IfOffered,
        ..config
    });
    talk.hear(GREETING);
    assert_eq!(
        talk.hear("250-mx\r\n250 STARTTLS\r\n454 not now\r\n"),
        Step::Ready
    );
}

#[test]
fn old_servers_are_greeted_the_old_way() {
    let mut talk = Talk::new(config());
    talk.hear(GREETING);
    assert_eq!(talk.hear("502 what\r\n"), Step::Wait(Wait::Hello));
    assert!(talk.sent().ends_with("HELO us.example\r\n"));
    assert_eq!(talk.hear("250 mx\r\n"), Step::Ready);
}

#[test]
fn logins_hold_or_end_it() {
    let login = || Login {
        user: "ann".into(),
        password: Secret::new("secret".into()),
    };
    let start = |ehlo: &str| {
        let mut talk = Talk::new(Config {
            login: Some(login()),
            ..config()
        });
        talk.hear(GREETING);
        talk.sent();
        let step = talk.hear(ehlo);
        (talk, step)
    };
    let (mut talk, _) = start("250-mx\r\n250 AUTH LOGIN PLAIN\r\n");
    assert_eq!(talk.sent(), "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n");
    assert_eq!(talk.hear("235 in\r\n"), Step::Ready);
    let (mut talk, _) = start("250-mx\r\n250 AUTH LOGIN\r\n");
    talk.hear("334 VXNlcm5hbWU6\r\n");
    talk.hear("334 Password:\r\n");
    assert_eq!(talk.sent(), "AUTH LOGIN\r\nYW5u\r\nc2VjcmV0\r\n");
    assert_eq!(talk.hear("235 in\r\n"), Step::Ready);
    let (mut talk, _) = start("250-mx\r\n250 AUTH PLAIN\r\n");
    let Step::Closed(reply) = talk.hear("535 5.7.8 no\r\n") else {
        panic!("still open");
    };
    assert_eq!((reply.code, reply.enhanced.as_str()), (535, "5.7.8"));
    let (_, step) = start("250-mx\r\n250 AUTH XOAUTH2\r\n");
    assert!(matches!(step, Step::Closed(_)));
    // SCRAM's rounds are for the driver to have done elsewhere.
    let (mut talk, _) = start("250-mx\r\n250 AUTH SCRAM-SHA-256\r\n");
    talk.sent();
    let challenge = BASE64.encode("r=abcxyz,s=QSXCR+Q6sek8bf92,i=4096");
    assert_eq!(talk.hear(&format!("334 {challenge}\r\n")), Step::Prove);
    assert_eq!(talk.sent(), "");
    let proof = talk.session.proof().unwrap();
    let proven = std::thread::spawn(|| proof.work()).join().unwrap();
    talk.session.proven(proven, &mut talk.out);
    assert_eq!(talk.hear(""), Step::Wait(Wait::Hello));
    assert!(
        talk.sent()
            .starts_with(&BASE64.encode("c=biws,r=abcxyz,p=")[..20])
    );
    // A server that skips its proof.
    let (mut talk, _) = start("250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n");
    assert!(talk.sent().starts_with("AUTH SCRAM-SHA-256 "));
    assert!(matches!(talk.hear("235 in\r\n"), Step::Closed(_)));
}

#[test]
fn whatever_ends_early_leaves_the_rest_for_later() {
    let mut talk = Talk::ready(MODERN);
    talk.send(transaction(&[
        "bob@x.example",
        "eve@x.example",
        "zoe@x.example",
    ]));
    talk.hear("250 a\r\n550 b\r\n250 c\r\n");
    let outcomes = talk.session.lost(refusal("4.4.2", "the connection broke"));
    assert_eq!(told(Step::Done(outcomes)), "F550 T0 T0");
    assert!(matches!(talk.hear(""), Step::Closed(_)));
    let mut talk = Talk::ready(MODERN);
    talk.send(transaction(&["bob@x.example"]));
    assert_eq!(told(talk.hear("SSH-2.0-x\r\n")), "T0");
    let mut talk = Talk::new(config());
    assert!(matches!(talk.hear("554 go away\r\n"), Step::Closed(it) if it.code == 554));
    let mut talk = Talk::ready(MODERN);
    talk.send(transaction(&["bob@x.example"]));
    assert_eq!(
        told(talk.hear("250 a\r\n421 4.3.2 shutting down\r\n")),
        "T421"
    );
    // Cut while the message went out: its refusal counts, a yes can't be meant.
    for (reply, wanted) in [("552 too large\r\n", "F552"), ("250 ok\r\n", "T250")] {
        let mut talk = Talk::ready(MODERN);
        talk.send(transaction(&["bob@x.example"]));
        talk.hear("250 a\r\n250 b\r\n354 c\r\n");
        talk.session.body(b"half", &mut talk.out);
        talk.session.body_cut();
        assert_eq!(told(talk.hear(reply)), wanted);
    }
}

#[test]
fn what_a_server_cannot_take_is_never_offered() {
    let mut talk = Talk::ready("250-mx.example\r\n250 SIZE 4\r\n");
    let before = talk.sent();
    assert_eq!(told(talk.send(transaction(&["bob@x.example"]))), "F0");
    assert_eq!(talk.sent(), before);
    assert_eq!(talk.session.step(&mut Vec::new()), Step::Ready);
    let mut utf8 = transaction(&["bob@x.example", "zoë@x.example"]);
    utf8.envelope.body = Body::EightBitMime;
    let mut talk = Talk::ready("250-mx.example\r\n250 SIZE\r\n");
    talk.send(utf8);
    talk.hear("250 a\r\n");
    talk.hear("250 b\r\n");
    talk.hear("354 c\r\n");
    talk.body("");
    assert_eq!(told(talk.hear("250 d\r\n")), "D250 F0");
}
