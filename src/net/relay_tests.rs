use super::*;
use async_io::Async;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use std::os::unix::net::UnixStream;

const IDLE: Duration = Duration::from_secs(5);

/// The far ends of a client and a server with a relay between them, and how that ended.
struct Between {
    client: Async<UnixStream>,
    server: Async<UnixStream>,
    ended: smol::Task<Ended>,
}

fn between(sent: &[u8], said: &[u8], idle: Duration) -> Between {
    let (mut near_client, client) = Stream::pair().unwrap();
    let (mut near_server, server) = Stream::pair().unwrap();
    let (mut first, mut other) = (Input::new(), Input::new());
    first.push(sent);
    other.push(said);
    let ended = smol::spawn(async move {
        let ended = relay(&mut near_client, &mut near_server, first, other, idle).await;
        near_client.close().await;
        ended
    });
    Between {
        client,
        server,
        ended,
    }
}

async fn read(from: &mut Async<UnixStream>, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    from.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn what_had_come_goes_first_and_the_server_may_end_it() {
    smol::block_on(async {
        let mut it = between(b"a NOOP\r\n", b"* 1 EXISTS\r\n", IDLE);
        it.server.write_all(b"a OK\r\n").await.unwrap();
        assert_eq!(read(&mut it.client, 18).await, b"* 1 EXISTS\r\na OK\r\n");
        it.client.write_all(b"b LOGOUT\r\n").await.unwrap();
        assert_eq!(read(&mut it.server, 18).await, b"a NOOP\r\nb LOGOUT\r\n");
        it.server.write_all(b"* BYE\r\nb OK\r\n").await.unwrap();
        drop(it.server);
        assert_eq!(read(&mut it.client, 13).await, b"* BYE\r\nb OK\r\n");
        let ended = it.ended.await;
        assert_eq!(ended.by, End::Server);
        assert!(ended.tail.ends_with(b"* BYE\r\nb OK\r\n"));
    });
}

#[test]
fn neither_waits_for_the_other_to_read() {
    const SIZE: usize = 8 << 20;
    smol::block_on(async {
        let it = between(b"", b"", IDLE);
        // Both write everything before they read anything: with one direction at a time
        // nobody would ever get on.
        let pour = |mut end: Async<UnixStream>, fill: u8| async move {
            let mut reader = Async::new(end.get_ref().try_clone().unwrap()).unwrap();
            let read = smol::spawn(async move {
                async_io::Timer::after(Duration::from_millis(50)).await;
                let mut bytes = vec![0; SIZE];
                reader.read_exact(&mut bytes).await.unwrap();
                bytes
            });
            end.write_all(&vec![fill; SIZE]).await.unwrap();
            read.await
        };
        let (one, other) = future::zip(pour(it.client, 1), pour(it.server, 2)).await;
        assert!(one.iter().all(|byte| *byte == 2));
        assert!(other.iter().all(|byte| *byte == 1));
    });
}

#[test]
fn a_client_that_has_ended_still_gets_its_answer() {
    smol::block_on(async {
        let mut it = between(b"", b"", IDLE);
        it.client.write_all(b"QUIT\r\n").await.unwrap();
        it.client
            .get_ref()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
        let mut heard = Vec::new();
        it.server.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"QUIT\r\n");
        it.server.write_all(b"+OK\r\n").await.unwrap();
        drop(it.server);
        let mut told = Vec::new();
        it.client.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, b"+OK\r\n");
        assert_eq!(it.ended.await.by, End::Client);
    });
}

#[test]
fn silence_has_an_end() {
    smol::block_on(async {
        let it = between(b"", b"", Duration::from_millis(30));
        assert_eq!(it.ended.await.by, End::Idle);
    });
}

#[test]
fn who_does_not_read_stops_who_writes() {
    smol::block_on(async {
        let mut it = between(b"", b"", IDLE);
        let bytes = vec![7; 1 << 20];
        let mut written = 0;
        let mut pour = async || loop {
            written += it.server.write(&bytes).await.unwrap();
        };
        let late = async {
            async_io::Timer::after(Duration::from_millis(300)).await;
        };
        future::or(pour(), late).await;
        // Two socket buffers and ours.
        assert!(written < 2 << 20, "{written} bytes are somewhere between");
    });
}
