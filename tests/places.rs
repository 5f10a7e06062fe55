//! A connection that has logged in, however it did, gives its place among those that have
//! not to another.

use crate::support::client::Client;
use crate::support::server::{Driver, PASSWORD, Server};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pillarbox::net::limit::{Gate, Limits, Refusal};
use pillarbox::net::stream::Stream;
use pillarbox::settings::Settings;
use pillarbox::{imap, pop3, smtp};

/// Says `lines` after the greeting, until the server says `done`.
fn place_is_free_after(server: &Server, driver: Driver, lines: &str, done: &str) {
    let gate = Gate::new(Limits {
        per_source: 1,
        ..Limits::default()
    });
    let (stream, client) = Stream::pair().expect("a socket pair");
    let peer = stream.peer();
    let pass = gate.admit(peer).expect("a place");
    let stream = stream.admitted(1, pass, "");
    smol::spawn(driver(server.context.clone(), stream, false)).detach();
    let mut client = Client::new(client.into_inner().expect("a socket"));
    client.line().expect("a greeting");
    assert_eq!(gate.admit(peer).err(), Some(Refusal::PerSource));
    client.send(lines.as_bytes()).expect("it is sent");
    loop {
        let line = client.line().expect("a line").expect("no end");
        if line.starts_with(done) {
            break;
        }
    }
    assert!(gate.admit(peer).is_ok(), "{lines}");
}

#[test]
fn every_way_to_log_in_frees_a_place() {
    let server = Server::new(Settings::default());
    let plain = BASE64.encode(format!("\0alice\0{PASSWORD}"));
    let (name, password) = (BASE64.encode("alice"), BASE64.encode(PASSWORD));
    let imap: Driver = |context, stream, tls| Box::pin(imap::serve::serve(context, stream, tls));
    let pop3: Driver = |context, stream, tls| Box::pin(pop3::serve::serve(context, stream, tls));
    let smtp: Driver = |context, stream, tls| Box::pin(smtp::serve::serve(context, stream, tls));
    for (driver, lines, done) in [
        (imap, format!("a LOGIN alice {PASSWORD}\r\n"), "a OK"),
        (imap, format!("a AUTHENTICATE PLAIN {plain}\r\n"), "a OK"),
        (
            imap,
            format!("a AUTHENTICATE LOGIN\r\n{name}\r\n{password}\r\nb IDLE\r\n"),
            "+ Idling",
        ),
        (
            pop3,
            format!("USER alice\r\nPASS {PASSWORD}\r\nQUIT\r\n"),
            "+OK Goodbye",
        ),
        (pop3, format!("AUTH PLAIN {plain}\r\n"), "+OK 0"),
        (smtp, format!("EHLO c\r\nAUTH PLAIN {plain}\r\n"), "235"),
        (
            smtp,
            format!("EHLO c\r\nAUTH LOGIN\r\n{name}\r\n{password}\r\n"),
            "235",
        ),
    ] {
        place_is_free_after(&server, driver, &lines, done);
    }
}
