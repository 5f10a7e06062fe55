//! What ACME authorities say, and what is asked at the port of HTTP-01.

use super::fuzz;
use pillarbox::acme::http::{self, Asked, MAX_BODY, Reading};
use pillarbox::acme::json;
use pillarbox::acme::message::{Authorization, Directory, Order, Problem};

#[test]
fn acme_json() {
    let seeds: [&[u8]; 5] = [
        br#"{"newNonce":"https://a/n","newAccount":"https://a/a","newOrder":"https://a/o","meta":{"termsOfService":"https://a/t"}}"#,
        br#"{"status":"ready","authorizations":["https://a/1"],"finalize":"https://a/f","certificate":"https://a/c","error":null}"#,
        br#"{"status":"invalid","identifier":{"type":"dns","value":"a.test"},"challenges":[{"type":"http-01","url":"u","token":"t","error":{"type":"urn:ietf:params:acme:error:dns","detail":"\u00e9\ud83d\ude00"}}]}"#,
        br#"{"type":"urn:ietf:params:acme:error:x","detail":"d","subproblems":[{"detail":"\\\"\n"}]}"#,
        b"[1,-2.5e3,true,false,null,[[[[]]]],{}]",
    ];
    let mut read = 0;
    fuzz("acme json", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        read += usize::from(Directory::read(&text).is_some());
        read += usize::from(Authorization::read(&text).is_some());
        if let Some(order) = Order::read(&text) {
            assert!(order.authorizations.len() <= 64);
            read += 1;
        }
        if let Some(problem) = Problem::read(&text) {
            assert!(!problem.detail.chars().any(char::is_control));
        }
        assert!(json::read(&json::quote(&text)).is_some());
    });
    assert!(read >= 3);
}

#[test]
fn acme_http() {
    let seeds: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nReplay-Nonce: x\r\n\r\nabc",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nt: u\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\n\r\nno",
        b"GET /.well-known/acme-challenge/a-_9 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"HEAD https://[::1]:14000/.well-known/acme-challenge/x HTTP/1.0\r\n\r\n",
    ];
    let mut whole = 0;
    fuzz("acme http", &seeds, |bytes| {
        for ended in [false, true] {
            match http::response(bytes, ended, false) {
                Reading::Whole(it) => {
                    assert!(it.body.len() <= MAX_BODY);
                    whole += 1;
                }
                Reading::Partial => assert!(!ended),
                Reading::Bad => {}
            }
        }
        if let Asked::Token { token, .. } = http::request(bytes) {
            assert!(http::is_name(&token));
            whole += 1;
        }
        let text = String::from_utf8_lossy(bytes);
        if let Some((host, port, path)) = http::url(&text) {
            assert!(!host.is_empty() && port > 0 && path.starts_with('/'));
        }
    });
    assert!(whole >= 4);
}
