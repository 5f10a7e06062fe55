use super::message::{Code, Incoming};
use super::*;
use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata;
use smol::Task;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;

type Zone = fn(&str, Rtype, &mut Reply);

/// What a double answers.
struct Reply {
    rcode: Rcode,
    answers: Vec<(&'static str, u32, Record)>,
    soa: Option<u32>,
    authentic: bool,
    truncated: bool,
    silent: bool,
    wrong_id: bool,
}

enum Record {
    A([u8; 4]),
    Aaaa([u16; 8]),
    Cname(&'static str),
    Mx(u16, &'static str),
    Txt(&'static [&'static str]),
    Tlsa(&'static [u8]),
    Ptr(&'static str),
}

fn name(text: &str) -> Name<Vec<u8>> {
    Name::vec_from_str(text).unwrap()
}

fn reply_to(query: &[u8], zone: Zone, over_tcp: bool) -> Option<Vec<u8>> {
    let query = Message::from_octets(query).unwrap();
    let asked = query.sole_question().unwrap();
    let mut reply = Reply {
        rcode: Rcode::NOERROR,
        answers: Vec::new(),
        soa: None,
        authentic: false,
        truncated: false,
        silent: false,
        wrong_id: false,
    };
    assert!(query.header().rd() && query.header().ad());
    zone(&asked.qname().to_string(), asked.qtype(), &mut reply);
    if reply.silent {
        return None;
    }
    let mut answer = MessageBuilder::new_vec()
        .start_answer(&query, reply.rcode)
        .unwrap();
    if reply.wrong_id {
        answer.header_mut().set_id(query.header().id() ^ 1);
    }
    answer.header_mut().set_ad(reply.authentic);
    answer.header_mut().set_tc(reply.truncated && !over_tcp);
    for (owner, ttl, record) in reply.answers {
        let owner = name(owner);
        match record {
            Record::A([a, b, c, d]) => answer.push((owner, ttl, rdata::A::from_octets(a, b, c, d))),
            Record::Aaaa(words) => answer.push((owner, ttl, rdata::Aaaa::new(words.into()))),
            Record::Cname(to) => answer.push((owner, ttl, rdata::Cname::new(name(to)))),
            Record::Mx(n, to) => answer.push((owner, ttl, rdata::Mx::new(n, name(to)))),
            Record::Ptr(to) => answer.push((owner, ttl, rdata::Ptr::new(name(to)))),
            Record::Tlsa(bytes) => {
                let data = rdata::Tlsa::new(
                    bytes[0].into(),
                    bytes[1].into(),
                    bytes[2].into(),
                    &bytes[3..],
                );
                answer.push((owner, ttl, data))
            }
            Record::Txt(strings) => {
                let mut txt = rdata::rfc1035::TxtBuilder::<Vec<u8>>::new();
                for text in strings {
                    txt.append_slice(text.as_bytes()).unwrap();
                    txt.close_charstr();
                }
                answer.push((owner, ttl, txt.finish().unwrap()))
            }
        }
        .unwrap();
    }
    let mut authority = answer.authority();
    if let Some(minimum) = reply.soa {
        let seconds = domain::base::Ttl::from_secs;
        let zero = seconds(0);
        let soa = rdata::Soa::new(
            name("."),
            name("."),
            1.into(),
            zero,
            zero,
            zero,
            seconds(minimum),
        );
        authority.push((name("example"), 300, soa)).unwrap();
    }
    Some(authority.finish())
}

/// A server on UDP and TCP at one port of loopback; its threads end with the process.
fn serve(zone: Zone) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            // A stray comes first: it must not be taken for the answer.
            udp.send_to(b"stray", from).unwrap();
            if let Some(reply) = reply_to(&buffer[..length], zone, false) {
                udp.send_to(&reply, from).unwrap();
            }
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let talk = || -> io::Result<()> {
                let mut stream = stream?;
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut query = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut query)?;
                let reply = reply_to(&query, zone, true).unwrap_or_default();
                stream.write_all(&(reply.len() as u16).to_be_bytes())?;
                stream.write_all(&reply)
            };
            let _ = talk();
        }
    });
    address
}

fn config(servers: &[SocketAddr]) -> ResolverConfig {
    ResolverConfig {
        timeout: Duration::from_millis(400),
        attempts: 2,
        ..ResolverConfig::servers(servers)
    }
}

fn resolver(zone: Zone) -> Resolver {
    Resolver::new(config(&[serve(zone)]))
}

fn example(asked: &str, rtype: Rtype, reply: &mut Reply) {
    use Record::*;
    reply.authentic = asked.starts_with("secure");
    reply.answers = match (asked, rtype) {
        ("secure.example", Rtype::MX) => vec![
            ("SECURE.example", 60, Mx(20, "Mx2.Example")),
            ("secure.example", 60, Mx(10, "mx1.example")),
            ("other.example", 60, Mx(1, "stray.example")),
        ],
        ("null.example", Rtype::MX) => vec![("null.example", 60, Mx(0, "."))],
        ("both.example" | "four.example", Rtype::A) => {
            vec![(
                if asked == "both.example" {
                    "both.example"
                } else {
                    "four.example"
                },
                60,
                A([192, 0, 2, 1]),
            )]
        }
        ("both.example", Rtype::AAAA) => {
            vec![("both.example", 60, Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]))]
        }
        ("alias.example", Rtype::A) => vec![
            ("middle.example", 60, Cname("both.example")),
            ("alias.example", 60, Cname("middle.example")),
            ("both.example", 60, A([192, 0, 2, 1])),
        ],
        ("bare-alias.example", _) => vec![("bare-alias.example", 60, Cname("both.example"))],
        ("loop.example", _) => vec![
            ("loop.example", 60, Cname("pool.example")),
            ("pool.example", 60, Cname("loop.example")),
        ],
        ("xn--bcher-kva.example", Rtype::TXT) => {
            vec![("xn--bcher-kva.example", 60, Txt(&["v=spf1 ", "-all"]))]
        }
        ("long.example", Rtype::TXT) => {
            reply.truncated = true;
            vec![("long.example", 60, Txt(&["long"]))]
        }
        ("_25._tcp.secure.example", Rtype::TLSA) => {
            reply.authentic = true;
            vec![("_25._tcp.secure.example", 60, Tlsa(&[3, 1, 1, 0xab, 0xcd]))]
        }
        ("1.2.0.192.in-addr.arpa", Rtype::PTR) => {
            vec![("1.2.0.192.in-addr.arpa", 60, Ptr("Mail.Example"))]
        }
        ("servfail.example", _) => {
            reply.rcode = Rcode::SERVFAIL;
            vec![]
        }
        ("silent.example", _) => {
            reply.silent = true;
            vec![]
        }
        ("forged.example", _) => {
            reply.wrong_id = true;
            vec![("forged.example", 60, A([192, 0, 2, 66]))]
        }
        ("four.example", _) => vec![],
        _ => {
            reply.rcode = Rcode::NXDOMAIN;
            reply.soa = Some(60);
            vec![]
        }
    };
}

#[test]
fn every_type_is_read() {
    smol::block_on(async {
        let resolver = resolver(example);
        let mx = resolver.mx("Secure.Example").await.unwrap();
        let exchanges: Vec<_> = mx.records.iter().map(|mx| mx.exchange.as_str()).collect();
        assert_eq!(exchanges, ["mx2.example", "mx1.example"]);
        assert!(mx.authentic);
        assert_eq!(mx.name, "secure.example");
        let null = resolver.mx("null.example").await.unwrap();
        assert_eq!(
            (null.records[0].exchange.as_str(), null.authentic),
            ("", false)
        );
        let both = resolver.addresses("both.example").await.unwrap();
        assert_eq!(
            both.records,
            [
                "192.0.2.1".parse::<IpAddr>().unwrap(),
                "2001:db8::1".parse().unwrap()
            ]
        );
        assert_eq!(
            resolver
                .addresses("four.example")
                .await
                .unwrap()
                .records
                .len(),
            1
        );
        let txt = resolver.txt("bücher.example").await.unwrap();
        assert_eq!(txt.records, [b"v=spf1 -all"]);
        let tlsa = resolver.tlsa("_25._tcp.secure.example").await.unwrap();
        let data = vec![0xab, 0xcd];
        assert_eq!(
            tlsa.records,
            [Tlsa {
                usage: 3,
                selector: 1,
                matching: 1,
                data
            }]
        );
        let ptr = resolver.ptr("192.0.2.1".parse().unwrap()).await.unwrap();
        assert_eq!(ptr.records, ["mail.example"]);
    });
}

#[test]
fn aliases_are_followed_and_do_not_go_on_for_ever() {
    smol::block_on(async {
        let resolver = resolver(example);
        for alias in ["alias.example", "bare-alias.example"] {
            let answer = resolver.ipv4(alias).await.unwrap();
            assert_eq!(
                (answer.records.len(), answer.name.as_str()),
                (1, "both.example")
            );
        }
        let cname = resolver.cname("bare-alias.example").await.unwrap();
        assert_eq!(cname.records, ["both.example"]);
        let error = resolver.ipv4("loop.example").await.unwrap_err();
        assert!(error.to_string().contains("too many aliases"), "{error}");
    });
}

#[test]
fn nothing_and_no_answer_are_told_apart() {
    smol::block_on(async {
        let resolver = resolver(example);
        assert_eq!(resolver.txt("no.example").await, Err(DnsError::NoName));
        assert_eq!(resolver.mx("four.example").await, Err(DnsError::NoData));
        assert_eq!(resolver.mx("").await.map(drop), Err(DnsError::NoName));
        let long = "x".repeat(64) + ".example";
        assert_eq!(resolver.mx(&long).await, Err(DnsError::NoName));
        for (name, why) in [
            ("servfail.example", "127.0.0.1: it answers SERVFAIL"),
            ("silent.example", "127.0.0.1: no answer in time"),
            ("forged.example", "127.0.0.1: no answer in time"),
        ] {
            let error = resolver.ipv4(name).await.unwrap_err();
            assert_eq!(error, DnsError::Temporary(why.into()), "{name}");
        }
    });
}

#[test]
fn a_long_answer_comes_by_tcp() {
    smol::block_on(async {
        let answer = resolver(example).txt("long.example").await.unwrap();
        assert_eq!(answer.records, [b"long"]);
    });
}

#[test]
fn the_next_server_is_asked_and_the_cache_then_answers() {
    smol::block_on(async {
        let dead = serve(|_, _, reply| reply.silent = true);
        let resolver = Resolver::new(config(&[dead, serve(example)]));
        let began = Instant::now();
        let first = resolver.ipv4("both.example").await;
        assert!(began.elapsed() >= Duration::from_millis(400));
        // The servers would be slower: the least of some tries is the cache's own time.
        let mut least = Duration::MAX;
        for _ in 0..10 {
            let began = Instant::now();
            assert_eq!(resolver.ipv4("BOTH.example.").await, first);
            least = least.min(began.elapsed());
        }
        assert!(least < Duration::from_millis(200));
    });
}

#[test]
fn only_a_trusted_server_is_believed_about_dnssec() {
    smol::block_on(async {
        let near = serve(example);
        let mut config = config(&[near, "192.0.2.1:53".parse().unwrap()]);
        let far = Resolver::new(config.clone());
        assert!(!far.mx("secure.example").await.unwrap().authentic);
        config.trust_ad = true;
        assert!(
            Resolver::new(config)
                .mx("secure.example")
                .await
                .unwrap()
                .authentic
        );
    });
}

#[test]
fn many_can_ask_at_once() {
    smol::block_on(async {
        let resolver = resolver(example);
        let ask = |n: usize| -> Task<bool> {
            let resolver = resolver.clone();
            smol::spawn(async move {
                let name = ["both.example", "four.example", "alias.example"][n % 3];
                resolver.ipv4(name).await.is_ok()
            })
        };
        for task in (0..100).map(ask).collect::<Vec<_>>() {
            assert!(task.await);
        }
    });
}

#[test]
fn a_flood_of_records_is_refused() {
    let question = message::Question::new("a.example", Rtype::A).unwrap();
    let query = question.write(7, true).unwrap();
    let query = Message::from_octets(query.as_slice()).unwrap();
    let mut answer = MessageBuilder::new_vec()
        .start_answer(&query, Rcode::NOERROR)
        .unwrap();
    for n in 0..=MAX_RECORDS {
        let data = rdata::A::from_octets(192, 0, 2, n as u8);
        answer.push((name("a.example"), 60, data)).unwrap();
    }
    let bytes = answer.finish();
    let read = |id| message::read(&bytes, &question, id);
    assert_eq!(read(7), Some(Incoming::Refused(Code::TooMany)));
    assert_eq!(read(8), None);
    let other = message::Question::new("b.example", Rtype::A).unwrap();
    assert_eq!(message::read(&bytes, &other, 7), None);
}

#[test]
fn others_are_asked_from_now_on_and_what_was_known_is_forgotten() {
    smol::block_on(async {
        let (one, other) = (
            serve(example),
            serve(|_, _, reply| reply.rcode = Rcode::NXDOMAIN),
        );
        let resolver = Resolver::of(&[one]);
        let first = resolver.ipv4("both.example").await;
        assert!(first.is_ok());
        resolver.clone().ask_from_now_on(&[other]);
        let now = resolver.ipv4("both.example").await;
        assert_eq!(now, Err(DnsError::NoName));
        resolver.ask_from_now_on(&[one]);
        assert_eq!(resolver.ipv4("both.example").await, first);
        resolver.ask_from_now_on(&[]);
        assert_eq!(*resolver.config(), ResolverConfig::system());
    });
}
