use super::*;

fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    scanner.push(message);
    scanner.finish()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn structure_of(message: &str) -> String {
    text(&scan(message.as_bytes()).body_structure)
}

#[test]
fn a_plain_message() {
    let message = b"Subject: hi\r\nDate: 1 Jan 1970 00:01:00 +0000\r\n\r\none\r\ntwo";
    let structure = scan(message);
    assert_eq!(structure.root.header, 0..48);
    assert_eq!(structure.root.body, 48..56);
    assert_eq!(structure.size, 56);
    assert_eq!((structure.sent, structure.sent_day), (Some(60), Some(0)));
    let body = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 8 1";
    assert_eq!(
        text(&structure.body_structure),
        format!("{body} NIL NIL NIL NIL)")
    );
    assert_eq!(text(&structure.body()), format!("{body})"));
}

#[test]
fn a_multipart() {
    let message = "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\npreamble\r\n--b\r\n\r\none\r\n--b\r\n\
        Content-Type: a/b\r\n\r\ntwo\r\n\r\n--b--\r\nepilogue\r\n";
    let structure = scan(message.as_bytes());
    assert_eq!(
        text(&structure.body()),
        "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0)\
         (\"a\" \"b\" NIL NIL NIL \"7bit\" 5) \"mixed\")"
    );
    let bodies: Vec<&str> = (structure.root.children.iter())
        .map(|part| &message[part.body.start as usize..part.body.end as usize])
        .collect();
    assert_eq!(bodies, ["one", "two\r\n"]);
}

#[test]
fn a_message_in_a_message() {
    let message = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n";
    assert_eq!(
        structure_of(message),
        "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 21 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) \
         (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)"
    );
}
