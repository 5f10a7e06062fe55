use super::*;
use crate::mail::AccountId;
use crate::mail::certificate::Fingerprint;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// The exchange of RFC 7677, section 3.
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn salted(password: &str, salt: &[u8]) -> hmac::Key {
    let iterations = NonZeroU32::new(4096).unwrap();
    let mut salted = [0; 32];
    let password = password.as_bytes();
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt,
        password,
        &mut salted,
    );
    hmac::Key::new(hmac::HMAC_SHA256, &salted)
}

fn keys(password: &str) -> ScramKeys {
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let key = salted(password, &salt);
    let client = hmac::sign(&key, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client.as_ref());
    ScramKeys {
        salt,
        iterations: 4096,
        stored_key: stored.as_ref().try_into().unwrap(),
        server_key: hmac::sign(&key, b"Server Key").as_ref().try_into().unwrap(),
    }
}

fn account() -> Account {
    Account {
        id: AccountId(1),
        address: crate::address::Address::parse("user@example.org").unwrap(),
        aliases: Vec::new(),
    }
}

fn scram() -> Exchange {
    Exchange::new(Mechanism::ScramSha256, SERVER_NONCE.into())
}

/// Plays the RFC's exchange against `keys`, up to the question who has won.
fn scram_proof(keys: ScramKeys) -> (Exchange, bool) {
    let mut exchange = scram();
    assert!(matches!(exchange.start(None), Turn::Challenge(c) if c.is_empty()));
    let turn = exchange.respond(CLIENT_FIRST.as_bytes());
    assert!(matches!(turn, Turn::Ask(Ask::Keys { login }) if login == "user"));
    let turn = exchange.verdict(Verdict::Keys(keys));
    assert!(matches!(turn, Turn::Challenge(c) if c == SERVER_FIRST.as_bytes()));
    match exchange.respond(CLIENT_FINAL.as_bytes()) {
        Turn::Ask(Ask::Proof { login, won }) if login == "user" => (exchange, won.is_some()),
        turn => panic!("{turn:?}"),
    }
}

#[test]
fn scram_matches_the_rfc() {
    let (mut exchange, won) = scram_proof(keys("pencil"));
    assert!(won);
    match exchange.verdict(Verdict::Granted(account())) {
        Turn::Granted { last, .. } => assert_eq!(last.unwrap(), SERVER_FINAL.as_bytes()),
        turn => panic!("{turn:?}"),
    }
}

#[test]
fn scram_with_a_wrong_password_is_lost_whatever_the_verdict() {
    let (mut exchange, won) = scram_proof(keys("pen"));
    assert!(!won);
    let turn = exchange.verdict(Verdict::Granted(account()));
    assert!(matches!(turn, Turn::Denied(Denial::Credentials)));
}

fn bound(binding: Option<Binding>) -> Channel {
    Channel {
        binding,
        ..Channel::default()
    }
}

#[test]
fn external_needs_a_certificate_and_asks_whose_it_is() {
    let certificate = Certificate {
        fingerprint: Fingerprint([7; 32]),
        from: 0,
        until: 1,
    };
    let channel = Channel {
        certificate: Some(certificate),
        ..Channel::default()
    };
    assert!(Mechanism::names(channel).ends_with(" EXTERNAL"));
    assert_eq!(Mechanism::find("EXTERNAL", Channel::default()), None);
    let external = || Exchange::new(Mechanism::External, String::new());
    let mut without = external();
    let turn = without.start(Some(b""));
    assert!(matches!(turn, Turn::Denied(Denial::Malformed)));
    let mut exchange = external().bind(channel);
    assert!(matches!(exchange.start(None), Turn::Challenge(c) if c.is_empty()));
    for (answer, wanted) in [(&b""[..], ""), (b"Ann@b.test", "Ann@b.test")] {
        let mut exchange = external().bind(channel);
        match exchange.start(Some(answer)) {
            Turn::Ask(Ask::Certificate {
                certificate: shown,
                acting_as,
            }) => assert_eq!((shown, acting_as.as_str()), (certificate, wanted)),
            turn => panic!("{turn:?}"),
        }
        let turn = exchange.verdict(Verdict::Granted(account()));
        assert!(matches!(turn, Turn::Granted { last: None, .. }));
    }
    for answer in [&b"a\0b"[..], b"\xff"] {
        let turn = external().bind(channel).start(Some(answer));
        assert!(matches!(turn, Turn::Denied(Denial::Malformed)));
    }
}

/// What -PLUS comes to for a client that knows the password and these of the connection.
fn plus(server: Option<Binding>, flag: &str, client: Binding) -> Turn {
    let mechanism = Mechanism::ScramSha256Plus;
    let mut exchange = Exchange::new(mechanism, SERVER_NONCE.into()).bind(bound(server));
    let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO";
    let turn = exchange.start(Some(format!("{flag},,{bare}").as_bytes()));
    if !matches!(turn, Turn::Ask(Ask::Keys { .. })) {
        return turn;
    }
    exchange.verdict(Verdict::Keys(keys("pencil")));
    let bound = [format!("{flag},,").as_bytes(), &client].concat();
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let without_proof = format!("c={},r={nonce}", BASE64.encode(bound));
    let signed = format!("{bare},{SERVER_FIRST},{without_proof}");
    let salted = salted("pencil", &keys("pencil").salt);
    let client_key = hmac::sign(&salted, b"Client Key");
    let stored = hmac::Key::new(hmac::HMAC_SHA256, &keys("pencil").stored_key);
    let signature = hmac::sign(&stored, signed.as_bytes());
    let both = client_key.as_ref().iter().zip(signature.as_ref());
    let proof: Vec<u8> = both.map(|(key, mask)| key ^ mask).collect();
    let last = format!("{without_proof},p={}", BASE64.encode(proof));
    exchange.respond(last.as_bytes())
}

#[test]
fn plus_holds_on_the_same_connection_alone() {
    let here = [7; 32];
    let turn = plus(Some(here), BINDING, here);
    assert!(
        matches!(turn, Turn::Ask(Ask::Proof { won: Some(_), .. })),
        "{turn:?}"
    );
    for (server, flag, client) in [
        (Some(here), BINDING, [8; 32]),
        (None, BINDING, here),
        (Some(here), "n", here),
        (Some(here), "y", here),
        (Some(here), "p=tls-unique", here),
        (Some(here), "p=tls-server-end-point", here),
    ] {
        let turn = plus(server, flag, client);
        assert!(matches!(turn, Turn::Denied(Denial::Malformed)), "{flag}");
    }
}

#[test]
fn a_client_that_was_kept_from_binding_finds_out() {
    for (binding, flag, taken) in [
        (None, "y", true),
        (Some([7; 32]), "y", false),
        (Some([7; 32]), "n", true),
        (Some([7; 32]), BINDING, false),
    ] {
        let mut exchange = scram().bind(bound(binding));
        let turn = exchange.start(Some(format!("{flag},,n=user,r=abc").as_bytes()));
        assert_eq!(matches!(turn, Turn::Ask(_)), taken, "{flag}");
    }
    assert_eq!(
        Mechanism::names(Channel::default()),
        "PLAIN LOGIN SCRAM-SHA-256"
    );
    assert!(Mechanism::names(bound(Some([7; 32]))).ends_with(" SCRAM-SHA-256-PLUS"));
    assert_eq!(
        Mechanism::find("scram-sha-256-plus", Channel::default()),
        None
    );
}

#[test]
fn scram_refuses_what_it_does_not_offer() {
    for first in [
        "p=tls-exporter,,n=user,r=abc",
        "n,a=other,n=user,r=abc",
        "n,,m=x,n=user,r=abc",
        "n,,n=us=er,r=abc",
        "n,,n=user=2,r=abc",
        "n,,n=,r=abc",
        "n,,n=user,r=",
        "n,,n=user",
        "n,",
        "",
    ] {
        let turn = scram().start(Some(first.as_bytes()));
        assert!(matches!(turn, Turn::Denied(Denial::Malformed)), "{first}");
    }
    for last in ["c=eSws", "c=biws,r=other,p=AA==", "c=biws,r=x", "p=", ""] {
        let mut exchange = scram();
        exchange.start(Some(CLIENT_FIRST.as_bytes()));
        exchange.verdict(Verdict::Keys(keys("pencil")));
        let turn = exchange.respond(last.as_bytes());
        assert!(matches!(turn, Turn::Denied(Denial::Malformed)), "{last}");
    }
}

#[test]
fn scram_names_are_unescaped() {
    let turn = scram().start(Some(b"y,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=abc"));
    assert!(matches!(turn, Turn::Ask(Ask::Keys { login }) if login == "a,b=c"));
}

fn plain(message: &[u8]) -> Turn {
    Exchange::new(Mechanism::Plain, String::new()).start(Some(message))
}

#[test]
fn plain_asks_for_the_password() {
    for message in [&b"\0ann\0pw"[..], b"ann\0ann\0pw", b"ANN\0ann\0pw"] {
        match plain(message) {
            Turn::Ask(Ask::Password { login, password }) => {
                assert_eq!((login.as_str(), password.reveal().as_str()), ("ann", "pw"));
            }
            turn => panic!("{turn:?}"),
        }
    }
}

#[test]
fn plain_refuses_to_act_for_another_and_garbage() {
    let turn = plain(b"bob\0ann\0pw");
    assert!(matches!(turn, Turn::Denied(Denial::Credentials)));
    let long = [b"\0a\0".as_slice(), &[b'x'; MAX_RESPONSE]].concat();
    for message in [
        &b""[..],
        b"ann",
        b"\0\0pw",
        b"\0ann\0",
        b"\0a\0b\0c",
        b"\0a\0\xff",
        &long,
    ] {
        assert!(matches!(plain(message), Turn::Denied(Denial::Malformed)));
    }
}

#[test]
fn login_prompts_with_and_without_an_initial_response() {
    for initial in [None, Some(&b""[..]), Some(b"ann")] {
        let mut exchange = Exchange::new(Mechanism::Login, String::new());
        let mut turn = exchange.start(initial);
        if initial != Some(b"ann") {
            assert!(matches!(turn, Turn::Challenge(c) if c == b"Username:"));
            turn = exchange.respond(b"ann");
        }
        assert!(matches!(turn, Turn::Challenge(c) if c == b"Password:"));
        let turn = exchange.respond(b"pw");
        assert!(matches!(turn, Turn::Ask(Ask::Password { login, .. }) if login == "ann"));
        let turn = exchange.verdict(Verdict::Denied(Denial::Wait));
        assert!(matches!(turn, Turn::Denied(Denial::Wait)));
        let turn = exchange.respond(b"again");
        assert!(matches!(turn, Turn::Denied(Denial::Malformed)));
    }
}
