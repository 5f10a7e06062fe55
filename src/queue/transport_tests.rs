//! A message on its way to servers that misbehave, each as its test wants, with waits that the
//! test sets: what is to expire takes a moment, all else an hour, so that nothing but the one
//! limit can end it.

use super::super::letter::is_called_off;
use super::super::{Recorder, Recording};
use super::*;
use crate::mail::DateTime;
use crate::mail::outgoing::{Envelope, Notify, QueueId, Recipient, Status};
use crate::net::connect::Patience;
use crate::net::dns::ResolverConfig;
use crate::net::stream::Deadlines;
use crate::smtp::client::Timeouts;
use crate::store::simdisk::SimDisk;
use crate::store::{NewItem, Options, QueueChange};
use async_io::Timer;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// What expires.
const MOMENT: Duration = Duration::from_millis(150);
/// Between two bytes of a peer that drips: ever again before any single wait is over.
const DRIP: Duration = Duration::from_millis(10);

/// What a peer does at a verb; `CONNECT` is the greeting, `.` the end of the message.
#[derive(Clone, Copy)]
enum Does {
    Say(&'static str),
    /// Never answers.
    Stall,
    /// Says this, over and over, a byte at a time.
    Drip(&'static str),
    /// Says this, over and over, as fast as it is taken.
    Pour(&'static str),
    /// Answers as it should, but late.
    Late,
    Hangup,
    /// At DATA: goes on to read, but this slowly.
    ReadSlowly,
    /// At DATA: asks for the message and does not read it.
    ReadNothing,
}

/// A server on a port of its own.
struct Peer {
    address: SocketAddr,
    shared: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// Recipients of each message taken.
    taken: Mutex<Vec<String>>,
}

impl Peer {
    /// `script` gets the connection's number, the verb and the whole line.
    fn new(script: impl Fn(usize, &str, &str) -> Option<Does> + Send + Sync + 'static) -> Peer {
        let script = Arc::new(script);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Seen::default());
        let seen = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, script) = (seen.clone(), script.clone());
                std::thread::spawn(move || {
                    let n = seen.connections.fetch_add(1, SeqCst);
                    // A client that goes away ends it.
                    let _ = talk(stream, &seen, |verb, line| script(n, verb, line));
                });
            }
        });
        Peer { address, shared }
    }

    fn good() -> Peer {
        Peer::new(|_, _, _| None)
    }

    /// Does so at that verb.
    fn at(wanted: &'static str, does: Does) -> Peer {
        Peer::new(move |_, verb, _| (verb == wanted).then_some(does))
    }

    fn hop(&self, name: &str) -> Hop {
        Hop {
            name: name.into(),
            port: self.address.port(),
            address: Some(self.address.ip()),
            safety: Safety::Plain,
        }
    }

    fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    fn taken(&self) -> Vec<String> {
        self.shared.taken.lock().unwrap().clone()
    }
}

fn talk(
    mut stream: TcpStream,
    seen: &Seen,
    does: impl Fn(&str, &str) -> Option<Does>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let (mut line, mut recipients) = ("CONNECT".to_string(), Vec::new());
    loop {
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        let usual = match verb.as_str() {
            "CONNECT" => "220 mx.test",
            "EHLO" => "250 mx.test",
            "DATA" => "354 go",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        // It hears of a chunk when it has it: what it does at BDAT comes behind the last byte.
        if verb == "BDAT" {
            let size = line.split(' ').nth(1).and_then(|it| it.parse().ok());
            let size = size.ok_or(std::io::ErrorKind::InvalidData)?;
            if std::io::copy(&mut (&mut lines).take(size), &mut std::io::sink())? < size {
                return Ok(());
            }
        }
        let said = match does(&verb, &line) {
            None => usual,
            Some(Does::Say(text)) => text,
            Some(Does::Late) => {
                std::thread::sleep(DRIP * 4);
                usual
            }
            Some(Does::Hangup) => return Ok(()),
            Some(Does::Stall) => return stall(&mut lines),
            Some(Does::Drip(text)) => {
                for byte in text.bytes().cycle() {
                    stream.write_all(&[byte])?;
                    std::thread::sleep(DRIP);
                }
                return Ok(());
            }
            Some(Does::Pour(text)) => loop {
                stream.write_all(text.as_bytes())?;
            },
            Some(Does::ReadNothing) => {
                stream.write_all(b"354 go\r\n")?;
                std::thread::sleep(HOUR);
                return Ok(());
            }
            Some(Does::ReadSlowly) => {
                stream.write_all(b"354 go\r\n")?;
                let mut some = [0; 64 << 10];
                while lines.read(&mut some)? > 0 {
                    std::thread::sleep(DRIP);
                }
                return Ok(());
            }
        };
        if [".", "BDAT"].contains(&verb.as_str()) && said.starts_with('2') {
            seen.taken.lock().unwrap().push(recipients.join(" "));
        }
        stream.write_all(format!("{said}\r\n").as_bytes())?;
        match verb.as_str() {
            "MAIL" => recipients.clear(),
            "RCPT" if said.starts_with('2') => recipients.push(line.clone()),
            "DATA" if said.starts_with('3') => {
                while line != "." {
                    line = next(&mut lines)?;
                }
                continue;
            }
            "QUIT" => return Ok(()),
            _ => {}
        }
        line = next(&mut lines)?;
    }
}

fn next(lines: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    match lines.read_line(&mut line)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_string()),
    }
}

/// Until the client has had enough.
fn stall(lines: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    std::io::copy(lines, &mut std::io::sink()).map(drop)
}

fn patient() -> Timeouts {
    Timeouts {
        greeting: HOUR,
        hello: HOUR,
        mail: HOUR,
        rcpt: HOUR,
        data_start: HOUR,
        data_end: HOUR,
        goodbye: HOUR,
        opening: HOUR,
        envelope: HOUR,
        body: HOUR,
        slowest: u64::MAX,
        attempt: HOUR,
    }
}

struct Bench {
    transport: Transport,
    message: Vec<u8>,
    require_tls: bool,
    recorded: Recorded,
}

/// The places that were recorded on the way, each time.
#[derive(Clone, Default)]
pub struct Recorded(Arc<Mutex<Vec<Vec<usize>>>>);

impl Recorder for Recorded {
    fn record(&self, outcomes: Vec<(usize, Outcome)>) -> Recording<'_> {
        assert!(outcomes.iter().all(|it| is_delivered(&it.1)));
        let places = outcomes.iter().map(|it| it.0).collect();
        self.0.lock().unwrap().push(places);
        Box::pin(async {})
    }
}

impl Bench {
    fn new(change: impl FnOnce(&mut Timeouts)) -> Bench {
        let mut timeouts = patient();
        change(&mut timeouts);
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(SimDisk::new()), options).unwrap();
        let resolver = Resolver::new(ResolverConfig::servers([]));
        let mut transport = Transport::new(
            store,
            resolver,
            Live::fixed(Settings::default()),
            Own::default(),
        );
        transport.maker.timeouts = timeouts;
        transport.maker.patience = Patience {
            connect: HOUR,
            deadlines: Deadlines {
                handshake: HOUR,
                write: HOUR,
            },
        };
        Bench {
            transport,
            message: b"From: ann@us.test\r\n\r\nhi\r\n".to_vec(),
            require_tls: false,
            recorded: Recorded::default(),
        }
    }

    /// One attempt for these recipients by way of these servers: an outcome for each.
    fn send(&self, to: &[&str], hops: Vec<Hop>) -> Vec<Outcome> {
        let attempt = async {
            let consignment = self.consignment(to).await;
            let mut letter = Letter::open(&self.transport.store, &consignment.item)
                .await
                .unwrap();
            let way = way(hops);
            let (mut told, _) = self
                .transport
                .deliver(&way, self.parcel(&consignment), &mut letter)
                .await;
            told.sort_by_key(|it| it.0);
            let places: Vec<usize> = told.iter().map(|it| it.0).collect();
            assert_eq!(places, consignment.recipients, "an outcome for each");
            told.into_iter().map(|it| it.1).collect()
        };
        smol::block_on(futures_lite::future::or(attempt, hung()))
    }

    fn parcel<'a>(&'a self, consignment: &'a Consignment) -> Parcel<'a> {
        Parcel::new(consignment, &self.recorded)
    }

    async fn consignment(&self, to: &[&str]) -> Consignment {
        let store = &self.transport.store;
        let mut staging = store.stage(None).await.unwrap();
        staging.write(&self.message).await.unwrap();
        let message = staging.finish().await.unwrap();
        let recipient = |to: &&str| Recipient {
            address: Address::parse(to).unwrap(),
            notify: Notify::default(),
            original: None,
            accepted: None,
            status: Status::waiting(0),
        };
        let item = NewItem {
            account: None,
            ours: true,
            name: "7f".into(),
            submitted: 0,
            envelope: Envelope {
                sender: Address::parse("ann@us.test").ok(),
                require_tls: self.require_tls,
                ..Envelope::default()
            },
            recipients: to.iter().map(recipient).collect(),
        };
        let date = DateTime { unix: 0, offset: 0 };
        let queued = store.deliver(message, date, vec![], Some(item)).await;
        let id = queued.unwrap().unwrap();
        let item = store.look(|it| it.queue_item(id)).unwrap().unwrap();
        Consignment {
            lane: Lane {
                hop: "x.test".into(),
                domain: None,
            },
            recipients: (0..item.recipients.len()).collect(),
            item,
        }
    }

    /// One attempt by way of a server that takes too long, then of another: which has all the
    /// time that this machine wants.
    fn send_past(mut self, to: &[&str], slow: &Peer, other: &Peer) -> Vec<Outcome> {
        let attempt = async {
            let consignment = self.consignment(to).await;
            let mut letter = Letter::open(&self.transport.store, &consignment.item)
                .await
                .unwrap();
            let hops = vec![slow.hop("mx0.test"), other.hop("mx1.test")];
            let way = way(hops.clone());
            let recorded = self.recorded.clone();
            let mut parcel = Parcel::new(&consignment, &recorded);
            let began = Instant::now();
            let by = self
                .transport
                .by(&hops[0], &way, &mut parcel, &mut letter)
                .await;
            assert!(by.is_ok() && began.elapsed() >= MOMENT, "too early");
            parcel.go_on();
            assert_eq!(parcel.left.len(), to.len());
            self.transport.maker.timeouts = patient();
            let by = self
                .transport
                .by(&hops[1], &way, &mut parcel, &mut letter)
                .await;
            assert!(by.is_ok());
            parcel.told().0.into_iter().map(|it| it.1).collect()
        };
        smol::block_on(futures_lite::future::or(attempt, hung()))
    }

    fn send_one(&self, peers: &[&Peer]) -> Outcome {
        let hops = peers.iter().enumerate();
        let hops = hops.map(|(n, it)| it.hop(&format!("mx{n}.test"))).collect();
        self.send(&["bob@x.test"], hops).remove(0)
    }
}

fn way(hops: Vec<Hop>) -> Way {
    Way {
        destination: Destination {
            hops,
            servers: String::new(),
            certain: true,
            notes: Vec::new(),
        },
        login: None,
    }
}

async fn hung<T>() -> T {
    async_io::Timer::after(Duration::from_secs(120)).await;
    panic!("nothing has ended the attempt");
}

fn deferred(outcome: &Outcome) -> (&str, &str) {
    match outcome {
        Outcome::Deferred(reply) => (&reply.enhanced, &reply.text),
        other => panic!("{other:?}"),
    }
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Delivered { .. })
}

/// How a wait is set.
type Set = fn(&mut Timeouts);

/// The verbs before the message, and what each is waited for.
const BEFORE: [(&str, Set); 5] = [
    ("CONNECT", |it| it.greeting = MOMENT),
    ("EHLO", |it| it.hello = MOMENT),
    ("MAIL", |it| it.mail = MOMENT),
    ("RCPT", |it| it.rcpt = MOMENT),
    ("DATA", |it| it.data_start = MOMENT),
];
const SILENT: [Does; 2] = [Does::Stall, Does::Drip("250 and so on ")];
const NONSENSE: [Does; 3] = [
    Does::Say("\u{0}? no SMTP"),
    Does::Pour("250 and so on "),
    Does::Pour("250-more\r\n"),
];

#[test]
fn the_waits_are_those_of_rfc_5321() {
    let minutes = |it: Duration| it.as_secs() / 60;
    let waits = [
        TIMEOUTS.greeting,
        TIMEOUTS.hello,
        TIMEOUTS.mail,
        TIMEOUTS.rcpt,
        TIMEOUTS.data_start,
        PATIENCE.deadlines.write,
        TIMEOUTS.data_end,
    ];
    assert_eq!(waits.map(minutes), [5, 5, 5, 5, 2, 3, 10]);
    // All that one server may take before a message moves, and the message of 50 MB.
    assert_eq!(minutes(TIMEOUTS.opening), 15);
    assert_eq!(minutes(TIMEOUTS.envelope), 30);
}

#[test]
fn whoever_stalls_is_left_for_the_next_server_when_his_time_is_up() {
    for (verb, limit) in BEFORE {
        for does in SILENT {
            let (bad, good) = (Peer::at(verb, does), Peer::good());
            let outcomes = Bench::new(limit).send_past(&["bob@x.test"], &bad, &good);
            assert!(is_delivered(&outcomes[0]), "{verb}: {outcomes:?}");
            assert_eq!((bad.taken().len(), good.taken().len()), (0, 1), "{verb}");
        }
        // Alone, it is tried again later.
        let outcome = Bench::new(limit).send_one(&[&Peer::at(verb, Does::Stall)]);
        let enhanced = if verb == "CONNECT" { "4.4.1" } else { "4.4.2" };
        let expected = (enhanced, "no answer in time");
        assert_eq!(deferred(&outcome), expected, "{verb}");
    }
}

#[test]
fn whoever_breaks_off_or_talks_nonsense_is_left_for_the_next_server() {
    for (verb, _) in BEFORE {
        for does in [Does::Hangup].into_iter().chain(NONSENSE) {
            let (bad, good) = (Peer::at(verb, does), Peer::good());
            let outcome = Bench::new(|_| ()).send_one(&[&bad, &good]);
            assert!(is_delivered(&outcome), "{verb}: {outcome:?}");
            assert_eq!((bad.taken().len(), good.taken().len()), (0, 1), "{verb}");
        }
        let outcome = Bench::new(|_| ()).send_one(&[&Peer::at(verb, NONSENSE[0])]);
        let nonsense = ("4.5.0", "what the server says is no SMTP");
        assert_eq!(deferred(&outcome), nonsense, "{verb}");
    }
}

/// It may have taken the message: another server would deliver it twice.
#[test]
fn without_an_answer_to_the_whole_message_nobody_else_gets_it_now() {
    let limit: Set = |it| it.data_end = MOMENT;
    let silent = SILENT.map(|does| (limit, does, "4.4.2"));
    let nonsense = NONSENSE.map(|does| ((|_| ()) as Set, does, "4.5.0"));
    let hangup: (Set, Does, &str) = (|_| (), Does::Hangup, "4.4.2");
    for (limit, does, enhanced) in silent.into_iter().chain(nonsense).chain([hangup]) {
        let (bad, good) = (Peer::at(".", does), Peer::good());
        let outcome = Bench::new(limit).send_one(&[&bad, &good]);
        assert_eq!(deferred(&outcome).0, enhanced, "{outcome:?}");
        assert_eq!(good.connections(), 0);
    }
}

#[test]
fn a_server_that_answers_each_time_just_in_time_has_an_end_all_the_same() {
    let names: Vec<String> = (0..100).map(|n| format!("u{n}@x.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (bad, good) = (Peer::at("RCPT", Does::Late), Peer::good());
    let bench = Bench::new(|it| it.envelope = MOMENT);
    let outcomes = bench.send_past(&names, &bad, &good);
    assert!(bad.taken().is_empty());
    assert_eq!(good.taken().len(), 1);
    // Those that it took as recipients as well: it has no byte of the message.
    assert!(outcomes.iter().all(is_delivered));
    // And before there is a transaction: a greeting of lines without end.
    let bad = Peer::at("CONNECT", Does::Drip("220-a\r\n"));
    let bench = Bench::new(|it| it.opening = MOMENT);
    let outcomes = bench.send_past(&["bob@x.test"], &bad, &Peer::good());
    assert!(is_delivered(&outcomes[0]), "{outcomes:?}");
}

#[test]
fn an_attempt_that_has_taken_long_begins_with_no_further_server() {
    let (bad, good) = (Peer::at("MAIL", Does::Stall), Peer::good());
    let bench = Bench::new(|it| {
        it.mail = MOMENT;
        it.attempt = DRIP;
    });
    let outcome = bench.send_one(&[&bad, &good]);
    assert_eq!(deferred(&outcome).1, "no answer in time");
    assert_eq!(good.connections(), 0);
}

#[test]
fn a_message_that_is_not_taken_fast_enough_is_given_up() {
    for (n, does) in [Does::ReadNothing, Does::ReadSlowly]
        .into_iter()
        .enumerate()
    {
        let (bad, good) = (Peer::at("DATA", does), Peer::good());
        let mut bench = Bench::new(|it| {
            it.body = MOMENT;
            it.goodbye = MOMENT;
        });
        // More than any socket's buffers, and by its rate no time to speak of.
        let line = [&[b'x'; 900][..], b"\r\n"].concat();
        bench.message.extend(line.repeat(16_000));
        if n == 0 {
            bench.transport.maker.timeouts.body = HOUR;
            bench.transport.maker.patience.deadlines.write = MOMENT;
        }
        let outcome = bench.send_one(&[&bad, &good]);
        assert_eq!(deferred(&outcome).0, "4.4.2", "{n}: {outcome:?}");
        assert!(bad.taken().is_empty());
        assert_eq!(good.connections(), 0);
    }
}

/// It has the whole message and may have taken it: that the time is up by then changes nothing.
#[test]
fn a_message_that_is_out_to_its_end_is_not_given_up() {
    for hello in ["250 mx.test", "250-mx.test\r\n250 CHUNKING"] {
        let peer = Peer::at("EHLO", Does::Say(hello));
        let bench = Bench::new(|it| it.body = Duration::ZERO);
        let outcome = bench.send_one(&[&peer]);
        assert!(is_delivered(&outcome), "{hello}: {outcome:?}");
        assert_eq!(peer.taken().len(), 1);
    }
}

#[test]
fn a_server_says_of_each_recipient_what_becomes_of_him() {
    let script = |_, _: &str, line: &str| match line {
        "RCPT TO:<no@x.test>" => Some(Does::Say("550 5.1.1 no such user")),
        "RCPT TO:<later@x.test>" => Some(Does::Say("450 4.2.1 busy")),
        "RCPT TO:<full@x.test>" => Some(Does::Say("552 5.5.3 too many")),
        _ => None,
    };
    let (first, second) = (Peer::new(script), Peer::good());
    let to = ["no@x.test", "yes@x.test", "later@x.test", "full@x.test"];
    let hops = vec![first.hop("mx0.test"), second.hop("mx1.test")];
    let outcomes = Bench::new(|_| ()).send(&to, hops);
    assert!(matches!(&outcomes[0], Outcome::Failed(it) if it.code == 550));
    assert!(is_delivered(&outcomes[1]));
    assert_eq!(deferred(&outcomes[2]), ("4.2.1", "busy"));
    // RFC 5321, 4.5.3.1.10.
    assert_eq!(deferred(&outcomes[3]).1, "too many");
    assert_eq!(first.taken(), ["RCPT TO:<yes@x.test>"]);
    assert_eq!(second.connections(), 0);
}

#[test]
fn what_a_server_says_of_itself_sends_the_message_on_what_it_says_of_the_message_does_not() {
    let cases = [
        ("CONNECT", "554 go away", None),
        ("EHLO", "421 4.3.2 closing", None),
        ("MAIL", "451 4.3.0 no disk", None),
        ("RCPT", "421 4.3.2 closing", None),
        ("MAIL", "550 5.7.1 not from you", Some("5.7.1")),
        ("DATA", "451 4.7.1 greylisted", Some("4.7.1")),
        (".", "554 5.6.0 spam", Some("5.6.0")),
    ];
    for (verb, text, told) in cases {
        let (bad, good) = (Peer::at(verb, Does::Say(text)), Peer::good());
        match Bench::new(|_| ()).send_one(&[&bad, &good]) {
            Outcome::Delivered { .. } => assert_eq!(told, None, "{text}"),
            Outcome::Deferred(reply) | Outcome::Failed(reply) => {
                assert_eq!(told, Some(reply.enhanced.as_str()), "{text}");
            }
        }
        assert_eq!(good.taken().len(), usize::from(told.is_none()), "{text}");
    }
}

#[test]
fn our_own_server_among_them_cuts_the_list() {
    let (down, us, behind) = (Peer::good(), Peer::good(), Peer::good());
    let bench = Bench::new(|_| ());
    bench.transport.maker.own.set([us.address]);
    let outcome = bench.send_one(&[&us, &behind]);
    assert!(
        matches!(&outcome, Outcome::Failed(it) if it.enhanced == "5.4.6"),
        "{outcome:?}"
    );
    // A better one that is down now will be up again.
    let gone = Peer::at("CONNECT", Does::Hangup);
    let outcome = bench.send_one(&[&gone, &us, &behind]);
    assert_eq!(deferred(&outcome).0, "4.4.1");
    assert_eq!((us.connections(), behind.connections()), (0, 0));
    assert!(is_delivered(&bench.send_one(&[&down, &us])));
}

#[test]
fn a_kept_connection_that_dies_is_made_anew() {
    // It goes away at the second MAIL, and only then.
    let mails = AtomicUsize::new(0);
    let peer = Peer::new(move |connection, verb, _| {
        let second = verb == "MAIL" && connection == 0 && mails.fetch_add(1, SeqCst) == 1;
        second.then_some(Does::Hangup)
    });
    let bench = Bench::new(|_| ());
    for _ in 0..2 {
        assert!(is_delivered(&bench.send_one(&[&peer])));
    }
    assert_eq!((peer.connections(), peer.taken().len()), (2, 2));
    // A server that puts a sender off stays so, on whichever connection.
    let busy = Peer::at("MAIL", Does::Say("450 4.3.2 slowly"));
    assert_eq!(deferred(&bench.send_one(&[&busy])).1, "slowly");
    assert_eq!(deferred(&bench.send_one(&[&busy])).1, "slowly");
    assert_eq!(busy.connections(), 1);
}

#[test]
fn a_connection_carries_nothing_more_until_the_outcome_is_recorded() {
    // As many as the owner has it, from the next message on.
    let peer = Peer::good();
    let bench = Bench::new(|_| ());
    let set = |most: usize| {
        let name = "queue.max-sending-per-destination".to_owned();
        let chosen = [(name, most.to_string())].into();
        bench.transport.maker.live.apply(&chosen).unwrap();
    };
    smol::block_on(futures_lite::future::or(
        async {
            let send = async || {
                let consignment = bench.consignment(&["bob@x.test"]).await;
                let letter = Letter::open(&bench.transport.store, &consignment.item).await;
                let mut letter = letter.unwrap();
                let way = way(vec![peer.hop("mx.test")]);
                let parcel = bench.parcel(&consignment);
                let sent = bench.transport.deliver(&way, parcel, &mut letter);
                let (told, lease) = sent.await;
                assert!(told.iter().all(|it| is_delivered(&it.1)));
                lease.unwrap()
            };
            let mut leases = Vec::new();
            for most in [4, 9] {
                set(most);
                while leases.len() < most {
                    leases.push(send().await);
                    assert_eq!(peer.connections(), leases.len());
                }
                no_place(&mut Box::pin(send())).await;
                assert_eq!(peer.taken().len(), most);
            }
            // One of nine is no place for whoever may have two; one of two is.
            set(2);
            for left in (2..9).rev() {
                leases.truncate(left);
                no_place(&mut Box::pin(send())).await;
            }
            let mut next = Box::pin(send());
            no_place(&mut next).await;
            leases.pop();
            leases.push(next.await);
            no_place(&mut Box::pin(send())).await;
            assert_eq!(peer.connections(), 9);
        },
        hung(),
    ));
}

/// It waits for a place.
async fn no_place(sending: &mut (impl Future + Unpin)) {
    for _ in 0..20 {
        assert!(
            futures_lite::future::poll_once(&mut *sending)
                .await
                .is_none()
        );
        Timer::after(DRIP).await;
    }
}

#[test]
fn one_task_ends_the_connections_that_wait_and_then_itself() {
    let peers: Vec<Peer> = (0..5).map(|_| Peer::good()).collect();
    let bench = Bench::new(|_| ());
    let pool = bench.transport.pool.clone();
    // The bench's and ours.
    assert_eq!(pool.held(), 2);
    for round in 1..=2 {
        for peer in &peers {
            assert!(is_delivered(&bench.send_one(&[peer])));
        }
        assert_eq!(pool.held(), 3, "one task for all of them");
        assert!(peers.iter().all(|it| it.connections() == round));
        while pool.held() > 2 {
            std::thread::sleep(DRIP);
        }
    }
}

/// The owner holds the message while a server hears this verb, for the first time: who has got
/// it by then, which server was asked, and the replies.
fn held_at(wanted: &'static str, hello: &'static str, to: &[&str]) -> (usize, usize, Vec<Outcome>) {
    let bench = Bench::new(|_| ());
    let store = bench.transport.store.clone();
    let hold = move |_, verb: &str, _: &str| {
        if verb == wanted {
            smol::block_on(async {
                let items = store.look(|it| it.queue_items(QueueId(0), 9)).unwrap();
                let held = items.iter().map(|it| (it.id, QueueChange::Hold(true)));
                store.update_queue(held.collect(), vec![]).await.unwrap();
            });
        }
        (verb == "EHLO").then_some(Does::Say(hello))
    };
    let (first, second) = (Peer::new(hold), Peer::good());
    let hops = vec![first.hop("mx0.test"), second.hop("mx1.test")];
    let outcomes = bench.send(to, hops);
    (first.taken().len(), second.connections(), outcomes)
}

#[test]
fn a_message_that_the_owner_holds_is_not_sent_on_its_way_to_the_last_byte() {
    let called_off = |it: &Outcome| matches!(it, Outcome::Deferred(it) if is_called_off(it));
    const CHUNKING: &str = "250-mx.test\r\n250 CHUNKING";
    for (verb, hello) in [
        ("CONNECT", "250 mx.test"),
        ("MAIL", "250 mx.test"),
        ("RCPT", "250 mx.test"),
        ("DATA", "250 mx.test"),
        ("MAIL", CHUNKING),
        ("RCPT", CHUNKING),
    ] {
        let (taken, others, outcomes) = held_at(verb, hello, &["bob@x.test", "carol@x.test"]);
        assert_eq!((taken, others), (0, 0), "{verb}");
        assert!(outcomes.iter().all(called_off), "{verb}: {outcomes:?}");
    }
    // Too late for one, not yet for the other.
    let one_each = "250-mx.test\r\n250 LIMITS RCPTMAX=1";
    for (verb, hello) in [
        (".", one_each),
        (
            "BDAT",
            "250-mx.test\r\n250-CHUNKING\r\n250 LIMITS RCPTMAX=1",
        ),
    ] {
        let (taken, others, outcomes) = held_at(verb, hello, &["bob@x.test", "carol@x.test"]);
        assert_eq!((taken, others), (1, 0), "{verb}");
        assert!(is_delivered(&outcomes[0]), "{verb}: {outcomes:?}");
        assert!(called_off(&outcomes[1]), "{verb}: {outcomes:?}");
    }
}

#[test]
fn settings_hold_for_the_next_message() {
    let peer = Peer::new(|_, verb, line| {
        let known = line.ends_with("EHLO new.test");
        (verb == "EHLO" && !known).then_some(Does::Hangup)
    });
    let (bench, consignment) = (Bench::new(|_| ()), |bench: &Bench| {
        let mut consignment = smol::block_on(bench.consignment(&["bob@[127.0.0.1]"]));
        consignment.lane = unknown(&Domain::parse("[127.0.0.1]").unwrap());
        consignment
    });
    let outcome = |bench: &Bench| match smol::block_on(
        bench.transport.attempt(consignment(bench), &bench.recorded),
    ) {
        Sent::Done(told, _) => told.into_iter().next().unwrap().1,
        Sent::OtherLane => panic!("another lane"),
    };
    let live = bench.transport.maker.live.clone();
    let set = |name: &str, value: &str| {
        live.apply(&[(name.to_owned(), value.to_owned())].into())
            .unwrap()
    };
    set("queue.direct", "off");
    assert!(
        deferred(&outcome(&bench))
            .1
            .contains("does not go directly")
    );
    set("server.hostname", "new.test");
    assert!(is_delivered(&bench.send_one(&[&peer])));
    let own = Peer::good();
    bench.transport.maker.own.set([own.address]);
    assert!(matches!(bench.send_one(&[&own]), Outcome::Failed(_)));
}

/// RFC 9422, 4.
#[test]
fn what_a_server_limits_is_kept_to_and_nobody_is_left_out() {
    let all = ["a@x.test", "b@y.test", "c@x.test", "d@y.test"];
    for (limits, connections, messages) in [
        ("250 LIMITS RCPTMAX=1", 1, 4),
        ("250 LIMITS RCPTMAX=2 MAILMAX=1", 2, 2),
        ("250 LIMITS RCPTDOMAINMAX=1", 2, 2),
        ("250 LIMITS RCPTDOMAINMAX=1 RCPTMAX=1 MAILMAX=1", 4, 4),
        ("250 LIMITS RCPTDOMAINMAX=2 MAILMAX=9", 1, 1),
    ] {
        let hello: &'static str = format!("250-mx.test\r\n{limits}").leak();
        let peer = Peer::at("EHLO", Does::Say(hello));
        let outcomes = Bench::new(|_| ()).send(&all, vec![peer.hop("mx.test")]);
        assert!(outcomes.iter().all(is_delivered), "{limits}: {outcomes:?}");
        let seen = (peer.connections(), peer.taken().len());
        assert_eq!(seen, (connections, messages), "{limits}");
        let taken = peer.taken().join(" ");
        assert!(all.iter().all(|it| taken.contains(it)), "{limits}: {taken}");
    }
}

/// RFC 8689, 4.2.1.
#[test]
fn what_requires_tls_goes_on_until_a_server_promises_it() {
    let bench = || Bench {
        require_tls: true,
        ..Bench::new(|_| ())
    };
    let (none, one) = (
        Peer::good(),
        Peer::at("EHLO", Does::Say("250-mx.test\r\n250 REQUIRETLS")),
    );
    let outcome = bench().send_one(&[&none, &one]);
    assert!(is_delivered(&outcome), "{outcome:?}");
    assert_eq!((none.taken().len(), one.taken().len()), (0, 1));
    match bench().send_one(&[&none, &Peer::good()]) {
        Outcome::Failed(reply) => assert_eq!(reply.enhanced, "5.7.30"),
        other => panic!("{other:?}"),
    }
    // One that is only away may promise it when it is back, before the others or behind them.
    let away = || Peer::at("CONNECT", Does::Hangup);
    for peers in [[Peer::good(), away()], [away(), Peer::good()]] {
        let outcome = bench().send_one(&[&peers[0], &peers[1]]);
        assert_eq!(deferred(&outcome).0, "4.4.1");
    }
    // And so may one that there was no time to ask.
    let one = Peer::good();
    let mut bench = bench();
    bench.transport.maker.timeouts.attempt = Duration::ZERO;
    let outcome = bench.send_one(&[&none, &one]);
    assert_eq!(deferred(&outcome).1, "no server took it in time");
    assert_eq!(one.connections(), 0);
}

/// Limits that leave some for a further connection, when one is asked for four of two domains;
/// and how many connections that takes.
const NARROW: [(&str, usize); 4] = [
    ("250 LIMITS RCPTDOMAINMAX=1", 2),
    ("250 LIMITS RCPTMAX=2 MAILMAX=1", 2),
    ("250 LIMITS RCPTMAX=1", 1),
    ("250 LIMITS RCPTDOMAINMAX=1 RCPTMAX=1 MAILMAX=1", 4),
];

#[test]
fn a_server_that_limits_and_refuses_is_asked_once_for_each_and_then_left() {
    let all = ["a@x.test", "b@y.test", "c@x.test", "d@y.test"];
    for (limits, connections) in NARROW {
        for refused in ["451 4.3.0 no disk", "450 4.3.2 slowly"] {
            let hello: &'static str = format!("250-mx.test\r\n{limits}").leak();
            let refuse = move |_, verb: &str, _: &str| match verb {
                "EHLO" => Some(Does::Say(hello)),
                "MAIL" => Some(Does::Say(refused)),
                _ => None,
            };
            let (busy, good) = (Peer::new(refuse), Peer::good());
            let bench = Bench::new(|_| ());
            let outcomes = bench.send(&all, vec![busy.hop("mx.test")]);
            assert_eq!(deferred(&outcomes[3]).1, &refused[10..], "{limits}");
            assert_eq!(busy.connections(), connections, "{limits}");
            // A next server has them all.
            let hops = vec![busy.hop("mx.test"), good.hop("mx1.test")];
            let outcomes = bench.send(&all, hops);
            assert!(outcomes.iter().all(is_delivered), "{limits}: {outcomes:?}");
            assert_eq!(good.taken().len(), 1, "{limits}");
        }
    }
}

#[test]
fn who_has_got_it_is_recorded_before_it_goes_out_again() {
    let all = ["a@x.test", "b@y.test", "c@x.test", "d@y.test"];
    for (limits, recorded) in [
        ("250 LIMITS RCPTMAX=1", &[vec![0], vec![1], vec![2]][..]),
        ("250 LIMITS RCPTMAX=2 MAILMAX=1", &[vec![0, 1]]),
        ("250 LIMITS RCPTDOMAINMAX=1", &[vec![0, 2]]),
        ("250 LIMITS", &[]),
    ] {
        let bench = Bench::new(|_| ());
        let hello: &'static str = format!("250-mx.test\r\n{limits}").leak();
        let wanted = recorded.to_vec();
        let (seen, mails) = (bench.recorded.clone(), AtomicUsize::new(0));
        // At each MAIL all is recorded that went before.
        let peer = Peer::new(move |_, verb, _| {
            if verb == "MAIL" {
                let n = mails.fetch_add(1, SeqCst);
                assert_eq!(*seen.0.lock().unwrap(), wanted[..n]);
            }
            (verb == "EHLO").then_some(Does::Say(hello))
        });
        let outcomes = bench.send(&all, vec![peer.hop("mx.test")]);
        assert!(outcomes.iter().all(is_delivered), "{limits}: {outcomes:?}");
        assert_eq!(*bench.recorded.0.lock().unwrap(), recorded, "{limits}");
    }
    // Those whom the first server took, when another has to take the rest.
    let first = Peer::new(|_, verb, line| match verb {
        "EHLO" => Some(Does::Say("250-mx.test\r\n250 LIMITS RCPTMAX=1")),
        "RCPT" if line.contains("b@y.test") => Some(Does::Hangup),
        _ => None,
    });
    let (bench, second) = (Bench::new(|_| ()), Peer::good());
    let hops = vec![first.hop("mx0.test"), second.hop("mx1.test")];
    let outcomes = bench.send(&all, hops);
    assert!(outcomes.iter().all(is_delivered), "{outcomes:?}");
    assert_eq!(*bench.recorded.0.lock().unwrap(), [[0]]);
    assert_eq!((first.taken().len(), second.taken().len()), (1, 1));
}

#[test]
fn a_server_that_limits_and_does_not_promise_tls_is_asked_once_for_each() {
    let all = ["a@x.test", "b@y.test", "c@x.test", "d@y.test"];
    for (limits, connections) in NARROW {
        let hello: &'static str = format!("250-mx.test\r\n{limits}").leak();
        let peer = Peer::at("EHLO", Does::Say(hello));
        let bench = Bench {
            require_tls: true,
            ..Bench::new(|_| ())
        };
        let outcomes = bench.send(&all, vec![peer.hop("mx.test")]);
        let failed = |it: &Outcome| matches!(it, Outcome::Failed(it) if it.enhanced == "5.7.30");
        assert!(outcomes.iter().all(failed), "{limits}: {outcomes:?}");
        assert!(peer.connections() <= connections, "{limits}");
    }
}

#[test]
fn an_attempt_that_has_taken_long_begins_with_no_further_connection() {
    const ONE: &str = "250-mx.test\r\n250 LIMITS MAILMAX=1 RCPTMAX=1";
    let slow = Peer::at("EHLO", Does::Say(ONE));
    let bench = Bench::new(|it| it.attempt = Duration::ZERO);
    let outcomes = bench.send(&["a@x.test", "b@y.test"], vec![slow.hop("mx.test")]);
    assert!(is_delivered(&outcomes[0]), "{outcomes:?}");
    assert_eq!(deferred(&outcomes[1]).1, "no server took it in time");
    assert_eq!(slow.connections(), 1);
}
