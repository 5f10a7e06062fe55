use super::*;

/// What a client tells of these bytes, in slices of `size`; the last string is the data.
fn told(client: &mut Client, bytes: &[u8], size: usize) -> Result<Vec<String>, Error> {
    let mut told: Vec<String> = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for slice in bytes.chunks(size) {
        client.input().push(slice);
        loop {
            match client.step()? {
                Step::NeedInput => break,
                Step::Data(bytes) => data.extend_from_slice(bytes),
                Step::Event(Event::Done(outcome)) => {
                    told.push(format!("{} {} {}", outcome.ok, outcome.code, outcome.text));
                }
                Step::Event(event) => told.push(format!("{event:?}")),
            }
        }
    }
    told.push(String::from_utf8_lossy(&data).into_owned());
    Ok(told)
}

fn asked(command: Command<'_>) -> Client {
    let mut client = Client::default();
    assert_eq!(
        told(&mut client, b"+OK hi\r\n", 3).unwrap(),
        ["true  hi", ""]
    );
    client.command(&command, &mut Vec::new());
    client
}

#[test]
fn a_message_comes_out_as_it_was() {
    let bytes = b"+OK 99 octets\r\n..\r\na\r\n..b\r\n\n.\r\n...\r\nbare\n.\ncr\r.\r\n.\r\n";
    let message = ".\r\na\r\n.b\r\n\n.\r\n..\r\nbare\n.\ncr\r.\r\n";
    for size in 1..=bytes.len() {
        let events = told(&mut asked(Command::Retr(1)), bytes, size).unwrap();
        assert_eq!(events, ["true  99 octets", message], "slices of {size}");
    }
    let empty = told(&mut asked(Command::Retr(1)), b"+OK\r\n.\r\n", 1).unwrap();
    assert_eq!(empty, ["true  ", ""]);
}

#[test]
fn whatever_is_stuffed_is_unstuffed() {
    use crate::pop3::stuff::Stuffer;
    for message in [
        &b".\r\n.\r\n"[..],
        b"a\r\n.\r\n\r\n..\r\n",
        b"\r\n",
        b"x\r\r\n.x\r\n",
    ] {
        let mut wire = b"+OK\r\n".to_vec();
        let mut stuffer = Stuffer::new(None);
        stuffer.push(message, &mut wire);
        stuffer.finish(&mut wire);
        for size in 1..=wire.len() {
            let events = told(&mut asked(Command::Retr(1)), &wire, size).unwrap();
            assert_eq!(events[1].as_bytes(), message, "slices of {size}");
        }
    }
}

#[test]
fn lists_and_capabilities() {
    let mut client = asked(Command::Capa);
    let bytes = b"+OK\r\nTOP\r\nuidl\r\nSASL PLAIN scram-sha-256\r\n..odd\r\n.\r\n";
    assert_eq!(told(&mut client, bytes, 4).unwrap(), ["true  ", ""]);
    assert!(client.has("UIDL") && client.has(".ODD") && !client.has("STLS"));
    assert!(client.has_mechanism("SCRAM-SHA-256") && !client.has_mechanism("LOGIN"));
    client.command(&Command::Uidl, &mut Vec::new());
    let events = told(
        &mut client,
        b"+OK\r\n1 whqtswO00WBw418f9t5JxYwZ\r\n2 x y\r\n.\r\n",
        5,
    );
    let rows = [
        "Row(1, \"whqtswO00WBw418f9t5JxYwZ\")",
        "Row(2, \"x\")",
        "true  ",
        "",
    ];
    assert_eq!(events.unwrap(), rows);
    client.command(&Command::Capa, &mut Vec::new());
    told(&mut client, b"-ERR what?\r\n", 5).unwrap();
    assert!(!client.has("UIDL"));
}

#[test]
fn commands_given_together_are_answered_in_their_order() {
    let bytes = b"+OK\r\none\r\n.\r\n-ERR gone\r\n+OK deleted\r\n+OK\r\n1 x\r\n.\r\n";
    for size in 1..=bytes.len() {
        let mut client = asked(Command::Retr(1));
        for command in [Command::Retr(2), Command::Dele(1), Command::Uidl] {
            client.command(&command, &mut Vec::new());
        }
        let events = told(&mut client, bytes, size).unwrap();
        let expected = [
            "true  ",
            "false  gone",
            "true  deleted",
            "Row(1, \"x\")",
            "true  ",
            "one\r\n",
        ];
        assert_eq!(events, expected, "slices of {size}");
        assert_eq!(told(&mut client, b"+OK\r\n", 1), Err(Error::Unasked));
    }
}

#[test]
fn refusals_and_challenges() {
    let mut client = asked(Command::Auth {
        mechanism: "PLAIN",
        initial: None,
    });
    assert_eq!(
        told(&mut client, b"+ \r\n", 1).unwrap(),
        ["Continue([])", ""]
    );
    let events = told(&mut client, b"-ERR [AUTH] no\x07\r\n", 2).unwrap();
    assert_eq!(events, ["false AUTH [AUTH] no?", ""]);
    // Whoever sends on unasked is not listened to.
    assert_eq!(told(&mut client, b"+OK\r\n", 2), Err(Error::Unasked));
}

#[test]
fn hostile_servers_are_told_apart_from_slow_ones() {
    let long = vec![b'+'; MAX_LINE + 2];
    let cases: [(&[u8], Error); 5] = [
        (&long, Error::TooLong),
        (b"* OK imap\r\n", Error::Malformed("* OK imap".into())),
        (b"+OKAY\r\n", Error::Malformed("+OKAY".into())),
        (b"+OK\r\none two\r\n", Error::Malformed("one two".into())),
        (
            b"+OK\r\n5000000000 x\r\n",
            Error::Malformed("5000000000 x".into()),
        ),
    ];
    for (bytes, error) in cases {
        for size in [1, bytes.len()] {
            let mut client = asked(Command::List);
            assert_eq!(told(&mut client, bytes, size), Err(error.clone()));
        }
    }
    let mut client = asked(Command::List);
    told(&mut client, b"+OK\r\n", 5).unwrap();
    let rows = b"1 2\r\n".repeat(1000);
    let end = (0..=MAX_LINES / 1000).find_map(|_| told(&mut client, &rows, rows.len()).err());
    assert_eq!(end, Some(Error::TooMany));
}

#[test]
fn nothing_from_before_tls_counts() {
    let mut client = asked(Command::Stls);
    client.input().push(b"+OK begin\r\n+OK evil\r\n");
    assert!(matches!(client.step(), Ok(Step::Event(Event::Done(_)))));
    assert_eq!(client.begin_tls(), Err(Error::Injected));
}

#[test]
fn passwords_are_not_shown() {
    let password = Secret::new("hush".to_string());
    let command = Command::Pass(&password);
    assert!(!format!("{command:?}").contains("hush"));
    let mut out = Vec::new();
    Client::default().command(&command, &mut out);
    assert_eq!(out, b"PASS hush\r\n");
}
