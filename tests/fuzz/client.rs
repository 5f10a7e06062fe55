//! What servers say to the sending side of SMTP.

use super::{Random, fuzz};
use pillarbox::address::Address;
use pillarbox::mail::outgoing::{Envelope, Notify, Outcome};
use pillarbox::queue::policy::{Policy, http_body, record_id};
use pillarbox::queue::route::Route;
use pillarbox::sasl::client::Login;
use pillarbox::secret::Secret;
use pillarbox::smtp::client::session::{Config, Session, Step, TlsUse};
use pillarbox::smtp::client::text::{Stuffer, Survey};
use pillarbox::smtp::client::transaction::{To, Transaction};

const SERVERS: [&[u8]; 7] = [
    b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 DSN\r\n\
      250 a\r\n250 b\r\n550 5.1.1 c\r\n354 d\r\n250 2.0.0 e\r\n250 f\r\n",
    b"220 mx\r\n250-mx\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n250 a\r\n250 b\r\n450 c\r\n250 e\r\n",
    b"220 mx\r\n502 what\r\n250 mx\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n421 e\r\n",
    b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n235 in\r\n250 a\r\n550 b\r\n551 c\r\n503 d\r\n250 e\r\n",
    b"220 mx\r\n250-mx\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 in\r\n",
    b"220 mx\r\n250-mx\r\n250 AUTH SCRAM-SHA-256\r\n334 cj1hYmN4LHM9VzIyWmFKMFNOWTdzb0VzVUVqYjZnUT09LGk9NDA5Ng==\r\n334 dj14\r\n235 in\r\n",
    b"554 go away\r\n",
];

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

fn transaction() -> Transaction {
    let to = |text| To {
        address: address(text),
        notify: Notify::default(),
        original: None,
    };
    Transaction {
        envelope: Envelope {
            sender: Some(address("ann@us.example")),
            ..Envelope::default()
        },
        recipients: vec![to("bob@x.example"), to("eve@x.example")],
        size: 4,
        survey: Survey::default(),
        convertible: false,
        now: 0,
    }
}

#[test]
fn sessions() {
    let mut random = Random::new(1);
    let mut delivered = 0;
    fuzz("smtp client sessions", &SERVERS, |bytes| {
        for login in [false, true] {
            let at_once = talk(bytes, login, || usize::MAX);
            let in_slices = talk(bytes, login, || 1 + random.below(24));
            assert_eq!(at_once, in_slices, "login {login}");
            delivered += usize::from(at_once.contains("Delivered"));
        }
    });
    assert!(delivered >= 2, "no server ever took a message");
}

/// Everything sent and told.
fn talk(bytes: &[u8], login: bool, mut slice: impl FnMut() -> usize) -> String {
    let login = login.then(|| Login {
        user: "ann".into(),
        password: Secret::new("secret".into()),
    });
    let config = Config {
        name: "us.example".into(),
        server: "mx.example".into(),
        tls: TlsUse::IfOffered,
        login,
        nonce: "abc".into(),
    };
    let mut session = Session::new(config, false);
    let (mut out, mut told, mut rest, mut sent) = (Vec::new(), String::new(), bytes, 0);
    loop {
        match session.step(&mut out) {
            Step::Wait(_) if rest.is_empty() => break,
            Step::Wait(_) => {
                // Whole lines, so that what TLS forgets is the same however it is sliced.
                let wanted = slice().min(rest.len());
                let line = rest
                    .iter()
                    .position(|&b| b == b'\n')
                    .map_or(rest.len(), |at| at + 1);
                let (now, later) = rest.split_at(wanted.min(line));
                session.receive(now);
                rest = later;
            }
            Step::StartTls => session.tls_started(&mut out),
            Step::Prove => {
                let proven = session.proof().unwrap().work();
                session.proven(proven, &mut out);
            }
            Step::Ready if sent < 3 => {
                sent += 1;
                session.send(transaction());
            }
            Step::Ready => break,
            Step::Body(_) => {
                session.body(b".a\r\n", &mut out);
                session.body_end(&mut out);
            }
            Step::Done(outcomes) => {
                assert_eq!(outcomes.len(), 2);
                let taken = |it: &Outcome| !matches!(it, Outcome::Delivered { reply, .. } if reply.code / 100 != 2);
                assert!(outcomes.iter().all(taken));
                told.push_str(&format!("{outcomes:?}\n"));
            }
            Step::Closed(why) => {
                told.push_str(&format!("{why:?}\n"));
                break;
            }
        }
    }
    told.push_str(&String::from_utf8_lossy(&out));
    told
}

#[test]
fn stuffing() {
    let seeds: [&[u8]; 3] = [
        b"a\r\n.\r\nb",
        b"\n.\n\r.\r\r\n..",
        b"Subject: x\r\n\r\n\xc3\xbc\0\r\n",
    ];
    let mut random = Random::new(2);
    fuzz("smtp client text", &seeds, |bytes| {
        let mut out = b"\r\n".to_vec();
        let (mut stuffer, mut survey, mut whole) =
            (Stuffer::default(), Survey::default(), Survey::default());
        let mut rest = bytes;
        while !rest.is_empty() {
            let (slice, later) = rest.split_at(rest.len().min(1 + random.below(9)));
            stuffer.push(slice, &mut out);
            survey.push(slice);
            rest = later;
        }
        stuffer.finish(&mut out);
        whole.push(bytes);
        let (survey, whole) = (survey.finish(), whole.finish());
        assert_eq!(
            (survey.eight_bit_header, survey.lone, survey.nul),
            (whole.eight_bit_header, whole.lone, whole.nul)
        );
        let end = out.windows(5).position(|it| it == b"\r\n.\r\n");
        assert_eq!(end, Some(out.len() - 5));
    });
}

#[test]
fn policies() {
    let seeds: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\nversion: STSv1\r\nmode: enforce\r\nmx: *.a.test\r\nmax_age: 9\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nversi\r\n2;x\r\non\r\n0\r\n\r\n",
        b"version: STSv1\nmode: none\nmax_age: 99999999999\nmx: a\nmx: b\n",
    ];
    fuzz("mta-sts policies", &seeds, |bytes| {
        let body = http_body(bytes, true);
        let text = body.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
        if let Some(policy) = Policy::parse(&text, "id") {
            let (fetched, again) = Policy::decode(&policy.encode(5)).expect("our own");
            assert_eq!((fetched, &again), (5, &policy));
            assert!(!policy.allows(""));
        }
        let _ = Policy::decode(bytes);
        let _ = record_id(&[bytes.to_vec()]);
        let _ = Route::decode(bytes);
    });
}
