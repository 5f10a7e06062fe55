use super::*;

/// All that the framer says of `bytes` given in slices of the sizes that `size` tells,
/// with what a driver does: one line an event.
fn run(
    framer: &mut Framer,
    bytes: &[u8],
    accept: bool,
    mut size: impl FnMut() -> usize,
) -> Vec<String> {
    let mut input = Input::new();
    let mut said = Vec::new();
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        match framer.next(&mut input) {
            Event::NeedInput if rest.is_empty() => {
                if !input.is_empty() {
                    said.push(format!("left {}", input.len()));
                }
                return said;
            }
            Event::NeedInput => {
                let (slice, more) = rest.split_at(size().clamp(1, rest.len()));
                input.push(slice);
                rest = more;
            }
            Event::Continue => said.push("+".into()),
            Event::Request(request) => said.push(format!("{} {:?}", request.tag, request.command)),
            Event::Append(append) => {
                said.push(format!(
                    "append {} {} {}",
                    append.tag, append.mailbox, append.size
                ));
                match accept {
                    true => framer.accept(),
                    false => framer.refuse(),
                }
            }
            Event::Url(url) => {
                said.push(format!("url {url}"));
                if url == "bad" {
                    framer.refuse();
                }
            }
            Event::Text { size, binary } => {
                said.push(format!("text {size} {binary}"));
                match accept && size < 1000 {
                    true => framer.accept(),
                    false => framer.refuse(),
                }
            }
            Event::Message(n) => {
                message.extend_from_slice(&input.bytes()[..n]);
                framer.taken(&mut input, n);
            }
            Event::AppendEnd => {
                said.push(format!("message {:?}", String::from_utf8_lossy(&message)));
                message.clear();
            }
            Event::Rejected(rejected) => {
                message.clear();
                said.push(refusal("reject", &rejected));
            }
            Event::Fatal(rejected) => {
                said.push(refusal("fatal", &rejected));
                return said;
            }
        }
    }
}

fn refusal(word: &str, rejected: &Rejected) -> String {
    let tag = rejected.tag.as_deref().unwrap_or("*");
    match rejected.error {
        ParseError::Syntax(text) => format!("{word} {tag} {text}"),
        error => format!("{word} {tag} {error:?}"),
    }
}

/// The same whether the bytes come at once, one by one, or in between.
#[track_caller]
fn events(bytes: &[u8]) -> Vec<String> {
    let framed = |size: usize| {
        let mut framer = Framer::new();
        framer.logged_in(USER.command);
        run(&mut framer, bytes, true, || size)
    };
    let at_once = framed(usize::MAX);
    let large = bytes.len() > 10_000;
    for size in if large {
        vec![1000, 1023]
    } else {
        vec![1, 2, 3, 7, 64]
    } {
        assert_eq!(framed(size), at_once, "in slices of {size}");
    }
    at_once
}

#[track_caller]
fn check(bytes: &[u8], want: &[&str]) {
    assert_eq!(events(bytes), want, "{}", String::from_utf8_lossy(bytes));
}

#[test]
fn who_does_not_know_literal_plus_refuses_it_and_stays_in_step() {
    let mut framer = Framer::new();
    framer.take_non_synchronizing(false);
    framer.logged_in(MAX_COMMAND);
    let input = b"a NOOP\r\nb SEARCH SUBJECT {3+}\r\nabc\r\nc APPEND INBOX {2+}\r\nhi\r\n\
        d SEARCH SUBJECT {3}\r\nabc\r\ne NOOP\r\n";
    for size in [1, 7, 1000] {
        let said = run(&mut framer, input, true, || size);
        let tags: Vec<&str> = said
            .iter()
            .map(|it| it.split(' ').next().unwrap())
            .collect();
        assert_eq!(said.len(), 6, "{said:?}");
        assert!(said[1].contains("wait to be asked") && said[2].contains("wait to be asked"));
        assert_eq!((tags[0], tags[3], tags[5]), ("a", "+", "e"), "{said:?}");
    }
}

#[test]
fn commands() {
    check(
        b"a NOOP\r\nb CHECK\nc CAPABILITY\r\n",
        &["a Noop", "b Check", "c Capability"],
    );
    check(b"a NOOP", &["left 6"]);
    check(
        b"a DELETE {3}\r\nx y\r\nb NOOP\r\n",
        &["+", "a Delete(\"x y\")", "b Noop"],
    );
    check(b"a DELETE {3+}\r\nx y\r\n", &["a Delete(\"x y\")"]);
    check(b"a DELETE {3+}\nx y\n", &["a Delete(\"x y\")"]);
    check(
        b"a RENAME {1}\r\nx {0+}\r\n\r\n",
        &["+", "a Rename { from: \"x\", to: \"\" }"],
    );
    check(
        b"a DELETE {8}\r\n b NOOP\n\r\n",
        &["+", "reject a MailboxName"],
    );
    check(
        b"a STATUS {1+}\r\nx (UIDNEXT)\r\n",
        &["a Status { mailbox: \"x\", items: [UidNext] }"],
    );
}

#[test]
fn refusals_stay_in_step() {
    check(
        b"\r\na NOOP\r\n",
        &["reject * a command begins with a tag", "a Noop"],
    );
    check(
        b"a FOO\r\nb NOOP\r\n",
        &["reject a an unknown command", "b Noop"],
    );
    check(
        b"a NOOP\0\r\nb NOOP\r\n",
        &["reject a a command holds a NUL", "b Noop"],
    );
    check(
        b"a DELETE {3+}\r\nx\0y\r\nb NOOP\r\n",
        &["reject a a literal holds a NUL", "b Noop"],
    );
    // Not asked for, the client does not send it.
    check(
        b"a DELETE x{3}\r\nb NOOP\r\n",
        &["reject a a literal is out of place", "b Noop"],
    );
    check(
        b"a DELETE \"x {3}\r\nb NOOP\r\n",
        &["reject a a literal is out of place", "b Noop"],
    );
    check(
        b"a DELETE \"\\\" {3}\r\nb NOOP\r\n",
        &["reject a a literal is out of place", "b Noop"],
    );
    // Sent without asking, it is no command.
    check(
        b"a DELETE x{8+}\r\nz LOGOUT {3+}\r\nabc\r\nb NOOP\r\n",
        &["reject a a literal is out of place", "b Noop"],
    );
    check(
        b"a DELETE x{10+}\r\nz LOGOUT\r\n\r\nb NOOP\r\n",
        &["reject a a literal is out of place", "b Noop"],
    );
    check(
        b"a DELETE ~{3+}\r\nabc {2}\r\nb NOOP\r\n",
        &["reject a a binary literal is out of place", "b Noop"],
    );
    check(
        b"a DELETE {}\r\nb NOOP\r\n",
        &["reject a a literal is malformed", "b Noop"],
    );
    check(
        b"a DELETE {x}\r\nb NOOP\r\n",
        &["reject a a literal is malformed", "b Noop"],
    );
}

#[test]
fn literals_are_bounded() {
    check(
        b"a DELETE {65537}\r\nb NOOP\r\n",
        &["reject a TooBig", "b Noop"],
    );
    check(
        b"a DELETE {99999999999999999999999}\r\nb NOOP\r\n",
        &["reject a TooBig", "b Noop"],
    );
    check(
        b"a DELETE {99999999999999999999999+}\r\n",
        &["fatal a TooBig"],
    );
    let mut bytes = b"a DELETE {70000+}\r\n".to_vec();
    bytes.extend_from_slice(&[b'\n'; 70_000]);
    bytes.extend_from_slice(b" more\r\nb NOOP\r\n");
    check(&bytes, &["reject a TooBig", "b Noop"]);
    // All literals of a command together.
    let mut bytes = b"a ID (".to_vec();
    for _ in 0..5 {
        bytes.extend_from_slice(b" {60000+}\r\n");
        bytes.extend_from_slice(&[b'x'; 60_000]);
    }
    bytes.extend_from_slice(b")\r\nb NOOP\r\n");
    check(&bytes, &["reject a TooBig", "b Noop"]);
    // Their number.
    let mut bytes = b"a ENABLE".to_vec();
    bytes.extend_from_slice(&b" {0+}\r\n".repeat(MAX_LITERALS + 2));
    bytes.extend_from_slice(b"\r\nb NOOP\r\n");
    check(&bytes, &["reject a too many literals", "b Noop"]);
}

#[test]
fn strangers_get_less() {
    let told = |bytes: &[u8]| run(&mut Framer::new(), bytes, true, || 1000);
    assert_eq!(
        told(b"a LOGIN {4097}\r\nb NOOP\r\n"),
        ["reject a TooBig", "b Noop"]
    );
    let line = [b"a LOGIN ".as_slice(), &[b'x'; 35_000], b"\r\n"].concat();
    assert_eq!(told(&line), ["fatal a the command line is too long"]);
    assert_eq!(told(b"a LOGIN {70000+}\r\n"), ["fatal a TooBig"]);
}

#[test]
fn endless_lines_end_the_connection() {
    check(&[b'x'; 70_000], &["fatal * the command line is too long"]);
    let line = [b"tag NOOP".as_slice(), &[b' '; 70_000]].concat();
    check(&line, &["fatal tag the command line is too long"]);
    let line = [b"tag DELETE {1+}\r\nx".as_slice(), &[b' '; 70_000]].concat();
    check(&line, &["fatal tag the command line is too long"]);
    let line = [b"tag APPEND x {1+}\r\nx".as_slice(), &[b' '; 70_000]].concat();
    check(
        &line,
        &["append tag x 1", "fatal tag the command line is too long"],
    );
    // While dropping, the command was answered already.
    let line = [b"tag DELETE x{1+}\r\nx".as_slice(), &[b' '; 70_000]].concat();
    check(
        &line,
        &["reject tag a literal is out of place", "fatal * TooBig"],
    );
}

#[test]
fn appends() {
    check(
        b"a APPEND x {5}\r\nab\r\nc\r\nb NOOP\r\n",
        &["append a x 5", "+", "message \"ab\\r\\nc\"", "b Noop"],
    );
    check(
        b"a APPEND x (\\Seen) {5+}\r\nab\0\nc\r\nb NOOP\r\n",
        &["append a x 5", "message \"ab\\0\\nc\"", "b Noop"],
    );
    check(
        b"a APPEND {1}\r\nx ~{0}\r\n\n",
        &["+", "append a x 0", "+", "message \"\""],
    );
    check(
        b"a APPEND x {1+}\r\nab\r\nb NOOP\r\n",
        &[
            "append a x 1",
            "reject a something follows the message",
            "b Noop",
        ],
    );
    check(
        b"a APPEND x {1+}\r\na {3+}\r\nxyz\r\nb NOOP\r\n",
        &[
            "append a x 1",
            "reject a something follows the message",
            "b Noop",
        ],
    );
    check(
        b"a APPEND x (\\Foo) {1}\r\nb NOOP\r\n",
        &["reject a an unknown system flag", "b Noop"],
    );
    check(
        b"a APPEND x (\\Foo) {3+}\r\nxyz\r\nb NOOP\r\n",
        &["reject a an unknown system flag", "b Noop"],
    );
    check(
        b"a APPEND x\r\nb NOOP\r\n",
        &["reject a APPEND takes a mailbox and a literal", "b Noop"],
    );
}

#[test]
fn refused_appends_stay_in_step() {
    let told = |bytes: &[u8]| {
        let mut framer = Framer::new();
        framer.logged_in(USER.command);
        run(&mut framer, bytes, false, || 1)
    };
    assert_eq!(
        told(b"a APPEND x {500000000000}\r\nb NOOP\r\n"),
        ["append a x 500000000000", "b Noop"]
    );
    assert_eq!(
        told(b"a APPEND x {10+}\r\nz LOGOUT\r\n\r\nb NOOP\r\n"),
        ["append a x 10", "b Noop"]
    );
}

/// The store fails while a message comes: what is left of it is dropped.
#[test]
fn refusal_in_the_middle_of_a_message() {
    for ask in [true, false] {
        let mut framer = Framer::new();
        framer.logged_in(USER.command);
        let mut input = Input::new();
        input.push(if ask {
            b"a APPEND x {6}\r\n"
        } else {
            b"a APPEND x {6+}\r\n"
        });
        assert!(matches!(framer.next(&mut input), Event::Append(_)));
        framer.accept();
        if ask {
            assert!(matches!(framer.next(&mut input), Event::Continue));
        }
        input.push(b"abc");
        assert!(matches!(framer.next(&mut input), Event::Message(3)));
        framer.taken(&mut input, 3);
        framer.refuse();
        assert!(matches!(framer.next(&mut input), Event::NeedInput));
        input.push(b"d\r\n\r\nb NOOP\r\n");
        assert!(matches!(framer.next(&mut input), Event::Request(_)));
        assert!(input.is_empty());
    }
}

#[test]
fn lines_between_commands() {
    let mut framer = Framer::new();
    let mut input = Input::new();
    input.push(b"a IDLE\r\nDO");
    assert!(matches!(framer.next(&mut input), Event::Request(_)));
    assert!(matches!(framer.line(&mut input), LineEvent::NeedInput));
    input.push(b"NE {3}\r\nb NOOP\r\n");
    assert!(
        matches!(framer.line(&mut input), LineEvent::Line(line) if line.reveal() == b"DONE {3}")
    );
    assert!(matches!(framer.next(&mut input), Event::Request(_)));
    input.push(&[b'x'; 35_000]);
    assert!(matches!(framer.line(&mut input), LineEvent::TooLong));
}

#[test]
fn memory_is_given_back() {
    let mut framer = Framer::new();
    framer.logged_in(USER.command);
    let literal = [
        b"a DELETE {60000+}\r\n".as_slice(),
        &[b'x'; 60_000],
        b"\r\n",
    ]
    .concat();
    let told = run(&mut framer, &literal, true, || 16 * 1024);
    assert_eq!(told.len(), 1);
    assert_eq!(framer.collected.capacity(), 0);
}

#[test]
fn a_catenate_comes_part_by_part() {
    check(
        b"a APPEND x CATENATE (URL one TEXT {2}\r\nab URL {3}\r\ntwo URL three TEXT ~{1+}\r\nc)\r\nb NOOP\r\n",
        &[
            "append a x 0",
            "url one",
            "text 2 false",
            "+",
            "+",
            "url two",
            "url three",
            "text 1 true",
            "message \"abc\"",
            "b Noop",
        ],
    );
    check(
        b"a APPEND {1+}\r\nx (\\Seen) catenate (url \"o ne\")\r\nb NOOP\r\n",
        &["append a x 0", "url o ne", "message \"\"", "b Noop"],
    );
}

#[test]
fn a_catenate_that_is_refused_stays_in_step() {
    // What is sent without asking is dropped with all that follows; the rest is not sent.
    check(
        b"a APPEND x CATENATE (URL bad TEXT {2+}\r\nab URL {3+}\r\ntwo TEXT {1}\r\nb NOOP\r\n",
        &["append a x 0", "url bad", "b Noop"],
    );
    check(
        b"a APPEND x CATENATE (URL bad TEXT {2}\r\nb NOOP\r\n",
        &["append a x 0", "url bad", "b Noop"],
    );
    check(
        b"a APPEND x CATENATE (TEXT {1+}\r\na URL bad URL c)\r\nb NOOP\r\n",
        &["append a x 0", "text 1 false", "url bad", "b Noop"],
    );
    check(
        b"a APPEND x CATENATE (TEXT {2000}\r\nb NOOP\r\n",
        &["append a x 0", "text 2000 false", "b Noop"],
    );
    check(
        b"a APPEND x CATENATE (TEXT {1+}\r\na TEXT \"b\")\r\nb NOOP\r\n",
        &[
            "append a x 0",
            "text 1 false",
            "reject a TEXT takes a literal",
            "b Noop",
        ],
    );
    check(
        b"a APPEND x CATENATE (URL a\r\nb NOOP\r\n",
        &["reject a an argument is missing", "b Noop"],
    );
    check(
        b"a APPEND x CATENATE (URL a) {2+}\r\nab\r\nb NOOP\r\n",
        &["reject a something follows the message", "b Noop"],
    );
    let many = "URL u ".repeat(257);
    let line = format!("a APPEND x CATENATE ({})\r\nb NOOP\r\n", many.trim_end());
    check(
        line.as_bytes(),
        &["reject a a CATENATE has too many parts", "b Noop"],
    );
}
