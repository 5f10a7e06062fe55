//! The binary from outside: how it starts, what it says when it can't, how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What the server of a test adds to its ports: below the ephemeral ones, free a moment
/// ago, and another one for each call.
fn port_base() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let free = |base: &u16| {
        let ports = [110, 143, 465, 587, 993, 995];
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, base + port));
        ports.into_iter().all(|port| bind(port).is_ok())
    };
    let first = std::process::id() + 97 * CALLS.fetch_add(1, Ordering::Relaxed);
    let bases = (0..1000).map(|n| 10_000 + ((first + n) % 20 * 1000) as u16);
    bases.into_iter().find(free).expect("a free range of ports")
}

fn pillarbox(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
    command.args(words).stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    pillarbox(words).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that a failed test does not leave behind.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(dir: &Path, base: u16, notify: &Path) -> Server {
    let mut command = pillarbox(&["serve", "--address", "127.0.0.1", "--hostname", "localhost"]);
    command
        .args(["--port-base", &base.to_string()])
        .arg("--dir")
        .arg(dir);
    command.env("NOTIFY_SOCKET", notify).stderr(Stdio::piped());
    Server(command.spawn().expect("the binary runs"))
}

fn terminate(server: &Server) {
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    for words in [&["--help"][..], &["help"], &["serve", "--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = pillarbox(words);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn();
        let output = child.and_then(Child::wait_with_output).expect("it runs");
        assert!(output.status.success(), "{words:?}");
        assert_eq!(text(&output.stderr), "", "{words:?}");
    }
}

#[test]
fn a_server_says_when_it_is_ready_and_ends_cleanly() {
    let dir = tempfile::tempdir().expect("a directory");
    let notify = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&notify).expect("a socket");
    systemd
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let base = port_base();
    let mut server = serve(&dir.path().join("data"), base, &notify);
    let mut told = [0; 100];
    let n = systemd.recv(&mut told).expect("READY within 20 seconds");
    assert!(told[..n].starts_with(b"READY=1"));

    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, base + 587)).expect("it serves");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    socket.read_line(&mut line).expect("a greeting");
    assert!(line.starts_with("220 "), "{line}");

    let began = Instant::now();
    terminate(&server);
    line.clear();
    socket.read_line(&mut line).expect("a goodbye");
    assert!(line.starts_with("421 "), "{line}");
    assert_eq!(socket.read(&mut [0; 1]).expect("the end"), 0);
    let status = server.0.wait().expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(!dir.path().join("data/control.sock").exists());
}

#[test]
fn accounts_are_made_on_the_running_server_and_on_its_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let notify = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&notify).expect("a socket");
    systemd
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let server = serve(&data, port_base(), &notify);
    systemd
        .recv(&mut [0; 100])
        .expect("READY within 20 seconds");
    let account = |words: &[&str], stdin: &str| {
        let mut command = pillarbox(&["account"]);
        command.args(words).arg("--dir").arg(&data);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // A command that reads no password may be gone already.
        let _ = child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        (
            output.status.success(),
            text(&output.stdout) + &text(&output.stderr),
        )
    };
    let secret = "secret horse\n";
    let (ok, said) = account(&["add", "a@example.org", "--password-stdin"], secret);
    assert!(ok && said == "a@example.org can log in now.\n", "{said}");
    terminate(&server);
    drop(server);
    let (ok, said) = account(&["add", "a@example.org", "--password-stdin"], secret);
    assert!(
        !ok && said.contains("a@example.org exists already"),
        "{said}"
    );
    let silent = ["add", "b@example.org", "--no-welcome", "--password-stdin"];
    let (ok, said) = account(&silent, secret);
    assert!(ok, "{said}");
    let (ok, said) = account(&["delete", "a@example.org", "--yes", "--now"], "");
    assert!(ok, "{said}");
    let (ok, said) = account(&["list"], "");
    assert!(
        ok && said == "ACCOUNT        MESSAGES  SIZE  STATE\nb@example.org  0         0 B\n",
        "{said}"
    );
    let (ok, said) = account(&["set", "b@example.org", "pop3-delete", "trash"], "");
    assert!(
        ok && said == "b@example.org: pop3-delete is trash now.\n",
        "{said}"
    );
    let (ok, said) = account(&["show", "b@example.org"], "");
    let shows = |it: &str| {
        said.lines()
            .any(|line| line.split_whitespace().eq(it.split(' ')))
    };
    assert!(ok && shows("pop3-delete trash"), "{said}");
    assert!(shows("max-new-recipients-per-day default"), "{said}");
    for wrong in [["pop3-delete", "burn"], ["colour", "blue"]] {
        let (ok, said) = account(&["set", "b@example.org", wrong[0], wrong[1]], "");
        assert!(!ok && said.contains(wrong[0]), "{said}");
    }
    let (ok, said) = account(&["add", "c@example.org", "--password-stdin"], "\n");
    assert!(!ok && said.contains("there is no password"), "{said}");
    let (ok, said) = account(&["add", "no-domain", "--password-stdin"], secret);
    assert!(!ok && said.contains("no-domain: "), "{said}");
}

#[test]
fn groups_catch_alls_grants_and_devices_are_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let say = |words: &str, stdin: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = pillarbox(&words);
        command.arg("--dir").arg(&data).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // A command that reads no password may be gone already.
        let _ = child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        text(&output.stdout) + &text(&output.stderr)
    };
    say("account add a@b.de --password-stdin", "secret horse\n");
    for (words, expected) in [
        (
            "group add team@b.de a@b.de x@y.de",
            "Mail for team@b.de goes to a@b.de now.\nMail for team@b.de goes to x@y.de now.\n",
        ),
        (
            "group list",
            "GROUP      MEMBER\nteam@b.de  a@b.de\nteam@b.de  x@y.de\n",
        ),
        (
            "group add a@b.de x@y.de",
            "a@b.de is an account or an alias",
        ),
        (
            "group add team@c.de a@b.de",
            "c.de is no domain of this server",
        ),
        ("group add team@b.de", "name one member"),
        ("alias add team@b.de a@b.de", "team@b.de exists already"),
        (
            "group remove team@b.de x@y.de",
            "Mail for team@b.de does not go to x@y.de any more.\n",
        ),
        (
            "group remove team@b.de x@y.de",
            "x@y.de is no member of team@b.de",
        ),
        (
            "group remove team@b.de",
            "team@b.de is no group any more.\n",
        ),
        ("group remove team@b.de", "there is no group team@b.de"),
        (
            "catch-all set b.de a@b.de",
            "Mail for unknown names of b.de goes to a@b.de now.\n",
        ),
        ("catch-all list", "DOMAIN  ADDRESS\nb.de    a@b.de\n"),
        (
            "catch-all set c.de a@b.de",
            "c.de is no domain of this server",
        ),
        (
            "catch-all remove b.de",
            "Mail for unknown names of b.de is refused now.\n",
        ),
        ("catch-all remove b.de", "b.de has no catch-all"),
        ("grant add a@b.de @c.de", "a@b.de may send as @c.de now.\n"),
        ("grant list", "ACCOUNT  MAY SEND AS\na@b.de   @c.de\n"),
        ("grant add x@b.de @c.de", "there is no account x@b.de"),
        (
            "grant remove a@b.de @c.de",
            "a@b.de may not send as @c.de any more.\n",
        ),
        ("grant remove a@b.de @c.de", "a@b.de has no grant of @c.de"),
        (
            "device add scanner 192.0.2.16/28 2001:db8::7 --no-tls --relay",
            "scanner may send without a login now.\n",
        ),
        (
            "device add scanner 192.0.2.1",
            "there is a device scanner already",
        ),
        ("device add wide 0.0.0.0/0", "the range is too wide"),
        (
            "device list",
            "DEVICE   WHERE                          TLS         SENDS TO    LIMITS\n\
             scanner  192.0.2.16/28 2001:db8::7/128  not needed  everywhere  as accounts\n",
        ),
        (
            "device remove scanner",
            "scanner may not send without a login any more.\n",
        ),
        ("device remove scanner", "there is no device scanner"),
    ] {
        let said = say(words, "");
        let right = match expected.ends_with('\n') {
            true => said == expected,
            false => said.contains(expected),
        };
        assert!(right, "{words}: {said}");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let base = port_base();
    let port = base + 993;
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    let base = base.to_string();
    let dir = dir.path().to_string_lossy();
    for words in [
        &["demo", "--port-base", &base, "--dir", &dir][..],
        &[
            "serve",
            "--address",
            "127.0.0.1",
            "--port-base",
            &base,
            "--dir",
            &dir,
        ][..],
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(
            said.contains(&format!("127.0.0.1:{port} for imaps")),
            "{said}"
        );
        assert!(said.contains("--port-base"), "{said}");
    }
    let output = run(&["demo", "--port-base", "65000"]);
    assert!(text(&output.stderr).contains("too high"));
}

#[test]
fn the_manual_is_printed() {
    let overview = run(&["help"]);
    assert!(overview.status.success());
    let listed = text(&overview.stdout);
    let topics = listed
        .lines()
        .skip_while(|line| !line.starts_with("The manual"));
    let names: Vec<&str> = topics
        .skip(2)
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let topic = run(&["help", name]);
        assert!(
            topic.status.success() && topic.stdout.starts_with(b"# "),
            "{name}"
        );
    }
    assert_eq!(run(&["help", "nothing"]).status.code(), Some(1));
    let version = text(&run(&["--version"]).stdout);
    assert_eq!(
        version,
        concat!("pillarbox ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
