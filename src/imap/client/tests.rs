use super::*;
use crate::mail::{Flags, Uid, UidSet};
use crate::secret::Secret;

/// What a client tells of these bytes, in slices of `size`; messages joined.
fn told(client: &mut Client, bytes: &[u8], size: usize) -> Result<Vec<String>, Error> {
    let mut told: Vec<String> = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for slice in bytes.chunks(size) {
        client.input().push(slice);
        loop {
            match client.step()? {
                Step::NeedInput => break,
                Step::Data(bytes) => data.extend_from_slice(bytes),
                Step::Event(event) => {
                    if let Event::Fetch(_) = event {
                        told.push(format!("{:?}", String::from_utf8_lossy(&data)));
                        data.clear();
                    }
                    told.push(format!("{event:?}"));
                }
            }
        }
    }
    Ok(told)
}

/// A client that has been greeted and has given a command.
fn asked(command: Command<'_>) -> Client {
    let mut client = Client::default();
    let greeting = told(&mut client, b"* OK [CAPABILITY IMAP4rev1 idle] hi\r\n", 7).unwrap();
    assert_eq!(greeting, ["Greeting { preauth: false }"]);
    client.command(&command, &mut Vec::new());
    client
}

fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

fn one(uid: u32) -> UidSet {
    UidSet::from_ranges(vec![(uid, uid)])
}

#[test]
fn a_message_comes_in_pieces_with_what_stands_around_it() {
    let bytes = b"* 3 FETCH (FLAGS (\\Seen \\Recent $Work \\Odd) BODY[] {11}\r\nab)\r\n{3}\r\nx \
        INTERNALDATE \" 2-Feb-2026 10:00:00 +0100\" UID 17)\r\np1 OK done\r\n";
    let whole = told(&mut asked(Command::Fetch(&one(17))), bytes, bytes.len()).unwrap();
    for size in 1..bytes.len() {
        let sliced = told(&mut asked(Command::Fetch(&one(17))), bytes, size).unwrap();
        assert_eq!(sliced, whole, "slices of {size}");
    }
    assert_eq!(whole[..2], ["Body(11)", "\"ab)\\r\\n{3}\\r\\nx\""]);
    let mut client = asked(Command::Fetch(&one(17)));
    client.input().push(bytes);
    let fetch = loop {
        if let Step::Event(Event::Fetch(fetch)) = client.step().unwrap() {
            break fetch;
        }
    };
    assert_eq!((fetch.uid, fetch.body), (Some(uid(17)), Body::Streamed));
    let flags = fetch.flags.unwrap();
    assert_eq!(flags.system, Flags::SEEN);
    assert_eq!(flags.keywords, ["$Work"]);
    let date = fetch.date.unwrap();
    assert_eq!((date.unix, date.offset), (1_770_022_800, 60));
}

#[test]
fn short_messages_may_come_as_strings_and_unknown_items_are_passed_over() {
    let bytes = b"* 1 FETCH (UID 5 MODSEQ (77) X-GM-LABELS (\"a)\\\"\" (b {2}\r\n()) NIL) \
        BODY[HEADER.FIELDS (DATE)] \"x\" BODY[] \"h\\\\i\" RFC822.SIZE 4)\r\n* 2 FETCH (BODY[] NIL UID 6)\r\n";
    for size in [1, 3, bytes.len()] {
        let mut client = asked(Command::Fetch(&one(5)));
        let mut fetched = Vec::new();
        for slice in bytes.chunks(size) {
            client.input().push(slice);
            while let Step::Event(event) = client.step().unwrap() {
                if let Event::Fetch(it) = event {
                    fetched.push((it.uid, it.size, it.body));
                }
            }
        }
        let first = (Some(uid(5)), Some(4), Body::Inline(b"h\\i".to_vec()));
        assert_eq!(fetched, [first, (Some(uid(6)), None, Body::None)]);
    }
}

#[test]
fn what_select_and_capability_say_is_kept() {
    let mut client = asked(Command::Select("Büro/\"x\""));
    assert!(client.has("IDLE") && !client.has("MOVE"));
    let bytes =
        b"* 172 EXISTS\r\n* FLAGS (\\Answered)\r\n* OK [UIDVALIDITY 3857529045] UIDs valid\r\n\
        * OK [UIDNEXT 4392] Predicted\r\n* OK [UNSEEN 12\r\n* NO [UIDNOTSTICKY] {5}\r\n\
        p1 OK [READ-WRITE] SELECT completed {9}\r\n";
    let events = told(&mut client, bytes, 5).unwrap();
    assert_eq!(events[0], "Exists(172)");
    assert!(
        events[1].contains("ok: true, code: \"READ-WRITE\""),
        "{events:?}"
    );
    let selected = client.selected();
    assert_eq!(
        selected.uid_validity.map(|it| it.get()),
        Some(3_857_529_045)
    );
    assert_eq!(selected.uid_next.map(|it| it.get()), Some(4392));
    assert!(selected.uid_not_sticky);
    client.command(&Command::Capability, &mut Vec::new());
    told(&mut client, b"* CAPABILITY IMAP4rev1 MOVE\r\np2 OK\r\n", 9).unwrap();
    assert!(client.has("MOVE") && !client.has("IDLE"));
}

#[test]
fn commands_are_written_as_the_rfc_has_them() {
    let (set, password) = (
        UidSet::from_ranges(vec![(1, 3), (7, 7)]),
        Secret::new("p\"w\\d".to_string()),
    );
    let commands = [
        Command::Select("Büro \"x\""),
        Command::List(uid(9)),
        Command::Delete(&set),
        Command::Move(&set, "Done"),
        Command::Login {
            user: "a b",
            password: &password,
        },
    ];
    let mut client = Client::default();
    let mut out = Vec::new();
    for command in &commands {
        client.command(command, &mut out);
        assert!(!format!("{command:?}").contains("p\"w"));
    }
    let expected = "p1 SELECT \"B&APw-ro \\\"x\\\"\"\r\np2 UID FETCH 9:* (UID RFC822.SIZE)\r\n\
        p3 UID STORE 1:3,7 +FLAGS.SILENT (\\Deleted)\r\np4 UID MOVE 1:3,7 \"Done\"\r\n\
        p5 LOGIN \"a b\" \"p\\\"w\\\\d\"\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert!(!command::can_be_quoted("é") && !command::can_be_quoted("a\r\nb"));
}

#[test]
fn a_set_is_cut_into_commands() {
    let set: UidSet = (1..1000).filter_map(|n| Uid::new(n * 2)).collect();
    let chunks = command::chunks(&set);
    assert_eq!(chunks.len(), 5);
    assert_eq!(chunks.iter().map(UidSet::len).sum::<u64>(), set.len());
}

#[test]
fn hostile_servers_are_told_apart_from_slow_ones() {
    let long = [b"* OK ".as_slice(), &[b'x'; MAX_RESPONSE], b"\r\n"].concat();
    let cases: [(&[u8], Error); 9] = [
        (&long, Error::TooLong),
        (b"* 1 FETCH (X {99999}\r\n", Error::Literal),
        (b"* 1 FETCH (X {18446744073709551615}\r\n", Error::Literal),
        (b"* 1 FETCH (BODY[] {1}\r\nx BODY[] {1}\r\n", Error::Literal),
        (
            b"p9 OK wrong tag\r\n",
            Error::Unasked("p9 OK wrong tag".into()),
        ),
        (b"+ go on\r\n", Error::Unasked("+ go on".into())),
        (b"220 smtp\r\n", Error::Malformed("220 smtp".into())),
        (b"\x1b[2J\r\n", Error::Malformed("?[2J".into())),
        (
            b"* 1 FETCH (UID 0)\r\n",
            Error::Malformed("* 1 FETCH (UID 0)".into()),
        ),
    ];
    for (bytes, error) in cases {
        for size in [1, 1000, bytes.len()] {
            let mut client = asked(Command::Fetch(&one(1)));
            assert_eq!(told(&mut client, bytes, size), Err(error.clone()));
        }
    }
    // A literal that says less than it has leaves text that is no response.
    let lie = b"* 1 FETCH (UID 1 BODY[] {2}\r\nabcdef\r\n)\r\n";
    let told_of = told(&mut asked(Command::Fetch(&one(1))), lie, 4);
    assert!(matches!(told_of, Err(Error::Malformed(_))), "{told_of:?}");
}

#[test]
fn an_answer_without_end_ends() {
    let mut client = asked(Command::List(uid(1)));
    let line = b"* 1 RECENT\r\n".repeat(1000);
    let end = (0..=MAX_UNTAGGED / 1000).find_map(|_| told(&mut client, &line, line.len()).err());
    assert_eq!(end, Some(Error::TooMany));
}

#[test]
fn greetings() {
    let greet = |bytes: &[u8]| told(&mut Client::default(), bytes, 3);
    assert_eq!(
        greet(b"* PREAUTH hi\r\n").unwrap(),
        ["Greeting { preauth: true }"]
    );
    assert_eq!(greet(b"* BYE full\r\n").unwrap(), ["Bye(\"full\")"]);
    for bytes in [
        "* NO\r\n",
        "+OK POP3\r\n",
        "p0 OK hi\r\n",
        "* 1 EXISTS\r\n",
        "* X {3}\r\n",
    ] {
        assert!(greet(bytes.as_bytes()).is_err(), "{bytes}");
    }
}

#[test]
fn nothing_from_before_tls_counts() {
    let mut client = asked(Command::StartTls);
    told(&mut client, b"p1 OK go\r\n", 4).unwrap();
    assert_eq!(client.begin_tls(), Ok(()));
    assert!(!client.knows_capabilities());
    let mut client = asked(Command::StartTls);
    client
        .input()
        .push(b"p1 OK go\r\np2 OK [CAPABILITY AUTH=PLAIN] evil\r\n");
    assert!(matches!(client.step(), Ok(Step::Event(Event::Done(_)))));
    assert_eq!(client.begin_tls(), Err(Error::Injected));
}

#[test]
fn idle_goes_on_until_it_is_done() {
    let mut client = asked(Command::Idle);
    let events = told(
        &mut client,
        b"+ idling\r\n* OK still here\r\n* 4 EXISTS\r\n",
        6,
    )
    .unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1], "Exists(4)");
    let mut out = Vec::new();
    client.answer(b"DONE", &mut out);
    assert_eq!(out, b"DONE\r\n");
    let events = told(&mut client, b"p1 OK\r\n* BYE later\r\n", 6).unwrap();
    assert_eq!(events[1], "Bye(\"later\")");
}
