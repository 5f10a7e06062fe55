//! Addresses and SASL.

use super::fuzz;
use pillarbox::address::{Address, Domain};
use pillarbox::mail::{Account, AccountId};
use pillarbox::sasl::{Ask, Denial, Exchange, Mechanism, Turn, Verdict};
use pillarbox::secret::ScramKeys;

#[test]
fn addresses() {
    let seeds: [&[u8]; 8] = [
        b"alice@demo.test",
        b"\"a b\\\"c\"@demo.test",
        b"a+tag@[192.0.2.1]",
        b"a@[IPv6:2001:db8::1]",
        "grün@bücher.example".as_bytes(),
        b"a@xn--bcher-kva.example",
        b"a.b.c@d.e.f",
        b"x@localhost",
    ];
    fuzz("addresses", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(address) = Address::parse(&text) {
            let written = address.to_string();
            assert!(!written.chars().any(char::is_control), "{written:?}");
            assert_eq!(Address::parse(&written), Ok(address.clone()), "{written:?}");
            address.without_tag();
            address.key();
        }
        if let Ok(domain) = Domain::parse(&text) {
            assert_eq!(Domain::parse(domain.as_str()), Ok(domain));
        }
    });
}

/// Answers are lines; the first names the mechanism by its first byte. Nobody is granted
/// whom the login service did not grant.
#[test]
fn sasl() {
    let seeds: [&[u8]; 5] = [
        b"0\n\0alice\0secret",
        b"1\nalice\nsecret",
        b"2\nn,,n=alice,r=client\nc=biws,r=clientserver,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        b"2\nn,a=bob,n=al=2Cice,r=x\nc=biws,r=xserver,p=",
        b"0\nbob\0alice\0secret",
    ];
    fuzz("sasl", &seeds, |bytes| {
        for service in 0..4 {
            exchange(bytes, service);
        }
    });
}

fn exchange(bytes: &[u8], service: u8) {
    let mut lines = bytes.split(|&b| b == b'\n');
    let which = lines.next().and_then(|line| line.first()).copied();
    let mechanism = Mechanism::ALL[usize::from(which.unwrap_or(0)) % Mechanism::ALL.len()];
    let mut exchange = Exchange::new(mechanism, "server".into());
    let mut granted = false;
    let mut turn = exchange.start(lines.next());
    for _ in 0..64 {
        turn = match turn {
            Turn::Challenge(_) => match lines.next() {
                Some(line) => exchange.respond(line),
                None => return,
            },
            Turn::Ask(ask) => exchange.verdict(answer(ask, service, &mut granted)),
            Turn::Granted { .. } => {
                assert!(granted, "nobody said so");
                return;
            }
            Turn::Denied(_) => return,
        };
    }
    panic!("an exchange without end");
}

fn answer(ask: Ask, service: u8, granted: &mut bool) -> Verdict {
    match (ask, service) {
        (_, 0) => Verdict::Denied(Denial::Credentials),
        (Ask::Keys { .. }, 1 | 2) => Verdict::Keys(ScramKeys {
            salt: b"salt".to_vec(),
            iterations: 4096,
            stored_key: [7; 32],
            server_key: [9; 32],
        }),
        (Ask::Keys { .. }, _) => Verdict::Granted(account()),
        (Ask::Proof { won, .. }, _) => {
            assert!(won.is_none(), "a proof nobody could make");
            Verdict::Granted(account())
        }
        // Nothing brought a certificate.
        (Ask::Certificate { .. }, _) => panic!("a certificate out of nowhere"),
        (Ask::Password { .. }, 1) => Verdict::Denied(Denial::Wait),
        (Ask::Password { .. }, _) => {
            *granted = true;
            Verdict::Granted(account())
        }
    }
}

pub fn account() -> Account {
    Account {
        id: AccountId(1),
        address: Address::parse("alice@demo.test").expect("an address"),
        aliases: Vec::new(),
    }
}
