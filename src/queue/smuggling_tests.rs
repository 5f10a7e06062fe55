//! What goes over the wire of messages that look to some servers as if they ended early, as
//! the next server sees it byte for byte (RFC 5321, 4.1.1.4; "SMTP smuggling").

use super::*;
use crate::mail::DateTime;
use crate::mail::outgoing::{Body, Envelope, Notify, QueueId, Recipient, Status};
use crate::queue::route;
use crate::store::disk::Disk;
use crate::store::simdisk::SimDisk;
use crate::store::{NewItem, Options};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

const COMMANDS: &[u8] =
    b"MAIL FROM:<eve@evil.test>\r\nRCPT TO:<victim@x.test>\r\nDATA\r\nSubject: no\r\n\r\nno";

type Talk = (Vec<String>, Vec<u8>, BufReader<TcpStream>);

/// A peer with these extensions, for one message: gives the lines of commands, what came by
/// DATA, the dot included, or by BDAT, and the connection.
fn peer(extensions: &'static [&'static str]) -> (u16, JoinHandle<Talk>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        talk(stream, extensions)
    });
    (port, thread)
}

fn talk(mut stream: TcpStream, extensions: &[&str]) -> Talk {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let (mut commands, mut data) = (Vec::new(), Vec::new());
    stream.write_all(b"220 x.test\r\n").unwrap();
    loop {
        let mut line = String::new();
        assert!(input.read_line(&mut line).unwrap() > 0, "{commands:?}");
        let line = line.trim_end().to_owned();
        let verb = line.split(' ').next().unwrap().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => {
                let lines = extensions.iter().map(|it| format!("250-{it}\r\n"));
                format!(
                    "250-x.test\r\n{}250 8BITMIME\r\n",
                    lines.collect::<String>()
                )
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").unwrap();
                let mut end = Vec::new();
                while !data.ends_with(b"\r\n.\r\n") {
                    end.clear();
                    assert!(input.read_until(b'\n', &mut end).unwrap() > 0);
                    data.extend_from_slice(&end);
                }
                "250 taken\r\n".into()
            }
            "BDAT" => {
                let size: usize = line.split(' ').nth(1).unwrap().parse().unwrap();
                data.resize(size, 0);
                input.read_exact(&mut data).unwrap();
                "250 taken\r\n".into()
            }
            _ => "250 fine\r\n".into(),
        };
        commands.push(line);
        stream.write_all(answer.as_bytes()).unwrap();
        if !data.is_empty() {
            return (commands, data, input);
        }
    }
}

/// Hands a message over as the queue does; gives what the peer saw.
fn pass_on(
    message: &[u8],
    body: Body,
    extensions: &'static [&'static str],
) -> (Vec<String>, Vec<u8>) {
    let (port, thread) = peer(extensions);
    smol::block_on(async {
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let disk = Arc::new(SimDisk::new()) as Arc<dyn Disk>;
        let store = Store::open_on(disk, options).unwrap();
        let route = Route {
            host: "127.0.0.1".into(),
            port,
            tls: TlsMode::None,
            login: None,
        };
        let put = store.put_record(route::KIND, route::DEFAULT, route.encode());
        put.await.unwrap();
        let transport = Transport::new(
            store.clone(),
            Resolver::of(&[]),
            Live::fixed(Settings::default()),
            Own::default(),
        );
        let transport = Arc::new(transport);
        let mut staging = store.stage(None).await.unwrap();
        staging.write(message).await.unwrap();
        let item = NewItem {
            account: None,
            ours: true,
            name: "7f".into(),
            submitted: 0,
            envelope: Envelope {
                sender: Address::parse("ann@here.test").ok(),
                body,
                ..Envelope::default()
            },
            recipients: vec![Recipient {
                address: Address::parse("bob@x.test").unwrap(),
                notify: Notify::default(),
                original: None,
                accepted: None,
                status: Status::waiting(0),
            }],
        };
        let date = DateTime { unix: 0, offset: 0 };
        let staged = staging.finish().await.unwrap();
        let id: QueueId = store
            .deliver(staged, date, vec![], Some(item))
            .await
            .unwrap()
            .unwrap();
        let item = store.look(|it| it.queue_item(id)).unwrap().unwrap();
        let lane = Carrier::lane(&transport, None, item.recipients[0].address.domain());
        assert_eq!(*lane.hop, format!("127.0.0.1:{port}"));
        let consignment = Consignment {
            item,
            lane,
            recipients: vec![0],
        };
        let Sent::Done(outcomes, _) = transport
            .send(consignment, &super::tests::Recorded::default())
            .await
        else {
            panic!("another lane")
        };
        assert!(
            matches!(outcomes[..], [(0, Outcome::Delivered { .. })]),
            "{outcomes:?}"
        );
        let (commands, data, mut rest) = thread.join().unwrap();
        // All has been sent that will be: nothing follows the message.
        rest.get_ref().set_nonblocking(true).unwrap();
        let more = rest.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(more, Err(std::io::ErrorKind::WouldBlock), "{commands:?}");
        store.close().await;
        (commands, data)
    })
}

fn with_end(end: &[u8]) -> Vec<u8> {
    let header = b"From: ann@here.test\r\nSubject: hi\r\n\r\nbefore";
    [header, end, COMMANDS, end].concat()
}

fn ends() -> Vec<Vec<u8>> {
    let newlines: [&[u8]; 4] = [b"\r\n", b"\n", b"\r", b"\r\n\0"];
    let pairs = newlines
        .iter()
        .flat_map(|a| newlines[..3].iter().map(|b| [*a, b".", *b].concat()));
    pairs.collect()
}

fn has_lone(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|n| match bytes[n] {
        b'\n' => n == 0 || bytes[n - 1] != b'\r',
        b'\r' => bytes.get(n + 1) != Some(&b'\n'),
        _ => false,
    })
}

fn expect_one_transaction(commands: &[String], what: &str) {
    let verbs = |verb: &str| commands.iter().filter(|it| it.starts_with(verb)).count();
    assert_eq!(
        (verbs("MAIL"), verbs("RCPT")),
        (1, 1),
        "{what}: {commands:?}"
    );
    assert!(!commands.iter().any(|it| it.contains("eve@evil.test")));
}

#[test]
fn by_data_no_text_is_an_end_to_any_server() {
    for end in ends() {
        let what = format!("{:?}", String::from_utf8_lossy(&end));
        for extensions in [&["PIPELINING"][..], &["CHUNKING"][..]] {
            // A binary message, lone line ends and all, to servers that are told nothing of it.
            let (commands, wire) = pass_on(&with_end(&end), Body::EightBitMime, extensions);
            expect_one_transaction(&commands, &what);
            assert!(!has_lone(&wire), "{what}: {wire:?}");
            if commands.iter().any(|it| it == "DATA") {
                let dots = wire.windows(5).filter(|it| it == b"\r\n.\r\n").count();
                assert_eq!(dots, 1, "{what}: {wire:?}");
                assert!(wire.ends_with(b"\r\n.\r\n"));
            }
        }
    }
}

#[test]
fn by_bdat_the_length_alone_is_the_end_and_every_byte_arrives() {
    for end in ends() {
        let message = with_end(&end);
        let extensions = &["CHUNKING", "BINARYMIME"];
        let (commands, wire) = pass_on(&message, Body::BinaryMime, extensions);
        let what = format!("{:?}", String::from_utf8_lossy(&end));
        expect_one_transaction(&commands, &what);
        assert!(
            commands.contains(&format!("BDAT {} LAST", message.len())),
            "{commands:?}"
        );
        assert_eq!(wire, message, "{what}");
        let mail = commands.iter().find(|it| it.starts_with("MAIL")).unwrap();
        // Where no line end is alone there is nothing binary about it.
        assert_eq!(
            mail.contains("BODY=BINARYMIME"),
            has_lone(&message) || end.contains(&0),
            "{mail}"
        );
    }
}

#[test]
fn sound_messages_arrive_byte_for_byte_either_way() {
    let body = b".\r\n..\r\n.x\r\n\r\n\xc3\xa4\r\n.\r\n";
    let message = [b"Return-Path: <>\r\nSubject: x\r\n\r\n".as_slice(), body].concat();
    let sent = message.strip_prefix(b"Return-Path: <>\r\n").unwrap();
    let (_, wire) = pass_on(&message, Body::EightBitMime, &["CHUNKING"]);
    assert_eq!(wire, sent);
    let (_, wire) = pass_on(&message, Body::EightBitMime, &[]);
    let lines = wire
        .strip_suffix(b".\r\n")
        .unwrap()
        .split_inclusive(|it| *it == b'\n');
    let unstuffed: Vec<&[u8]> = lines
        .map(|it| it.strip_prefix(b".").unwrap_or(it))
        .collect();
    assert_eq!(unstuffed.concat(), sent);
}
