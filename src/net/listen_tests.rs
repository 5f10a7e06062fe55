use super::*;
use crate::net::limit::Limits;
use crate::wire::Input;
use std::io::{BufRead, BufReader, Read};

const GREETING: &[u8] = b"* OK ready\r\n";

/// Greets, then echoes; the line `bug` panics, `login` logs in, `work` takes a while.
fn echo(gate: Arc<Gate>) -> Handler {
    Handler {
        name: "echo",
        gate,
        own: None,
        refusal: "* BYE too many\r\n",
        goodbye: "* BYE going down\r\n",
        farewell: "* BYE no more\r\n",
        drive: Arc::new(|mut stream| {
            Box::pin(async move {
                if stream.send(GREETING).await.is_err() {
                    return;
                }
                let mut input = Input::new();
                while let Ok(1..) = stream.receive(&mut input, Duration::from_secs(10)).await {
                    match input.bytes() {
                        b"bug\n" => panic!("asked for by the test"),
                        b"login\n" => stream.authenticated(),
                        b"work\n" | b"toil\n" => {
                            let long = if input.bytes() == b"work\n" {
                                300
                            } else {
                                20_000
                            };
                            if stream.send(b"begun\n").await.is_err() {
                                return;
                            }
                            Timer::after(Duration::from_millis(long)).await;
                        }
                        _ => {}
                    }
                    if stream.send(input.bytes()).await.is_err() {
                        return;
                    }
                    input.clear();
                }
                stream.close().await;
            })
        }),
    }
}

struct Server {
    all: Arc<Listeners>,
    gate: Arc<Gate>,
    address: SocketAddr,
}

fn server(limits: Limits) -> Server {
    let second = Duration::from_secs(1);
    let deadlines = Deadlines {
        handshake: second,
        write: second,
    };
    let all = Listeners::new(deadlines);
    let gate = Gate::new(limits);
    let listener = bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).unwrap();
    let address = listener.address().unwrap();
    all.serve(listener, address, echo(gate.clone()));
    Server { all, gate, address }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: &Server) -> Client {
        let socket = TcpStream::connect(server.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        Client(BufReader::new(socket))
    }

    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        // A reset is an end, too.
        let _ = self.0.read_line(&mut line);
        line
    }
}

#[test]
fn a_bug_ends_its_own_connection_alone() {
    let server = server(Limits::default());
    let (mut first, mut second) = (Client::connect(&server), Client::connect(&server));
    assert_eq!(first.line(), "* OK ready\r\n");
    assert_eq!(second.line(), "* OK ready\r\n");
    first.say("bug\n");
    assert_eq!(first.line(), "");
    second.say("still here\n");
    assert_eq!(second.line(), "still here\n");
    assert_eq!(Client::connect(&server).line(), "* OK ready\r\n");
    while server.gate.open() > 1 {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn over_a_limit_a_client_is_told_and_a_login_makes_room() {
    let server = server(Limits {
        total: 100,
        unauthenticated: 50,
        per_source: 2,
    });
    let mut first = Client::connect(&server);
    let mut second = Client::connect(&server);
    assert_eq!(
        first.line() + &second.line(),
        "* OK ready\r\n* OK ready\r\n"
    );
    let mut third = Client::connect(&server);
    assert_eq!(third.line(), "* BYE too many\r\n");
    assert_eq!(third.line(), "");
    first.say("login\n");
    assert_eq!(first.line(), "login\n");
    assert_eq!(Client::connect(&server).line(), "* OK ready\r\n");
}

#[test]
fn shutdown_lets_a_command_end_and_says_goodbye_to_the_rest() {
    let server = server(Limits::default());
    let (mut idle, mut busy) = (Client::connect(&server), Client::connect(&server));
    assert_eq!(idle.line() + &busy.line(), "* OK ready\r\n* OK ready\r\n");
    busy.say("work\n");
    assert_eq!(busy.line(), "begun\n");
    smol::block_on(server.all.drain(Duration::from_secs(60)));
    assert_eq!(server.gate.open(), 0);
    assert_eq!(idle.line(), "* BYE going down\r\n");
    assert_eq!(busy.line(), "work\n");
    assert_eq!(busy.line(), "* BYE going down\r\n");
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn shutdown_does_not_wait_past_its_grace() {
    let server = server(Limits::default());
    let mut busy = Client::connect(&server);
    busy.line();
    busy.say("toil\n");
    assert_eq!(busy.line(), "begun\n");
    let start = Instant::now();
    smol::block_on(server.all.drain(Duration::from_millis(30)));
    assert!(start.elapsed() < Duration::from_secs(10));
    let mut rest = Vec::new();
    let _ = busy.0.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn an_address_in_use_is_an_error() {
    let first = bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).unwrap();
    let address = first.address().unwrap();
    let error = bind(address).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn the_unspecified_address_takes_ipv4() {
    let listener = bind("[::]:0".parse().unwrap()).unwrap();
    let port = listener.address().unwrap().port();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
}
