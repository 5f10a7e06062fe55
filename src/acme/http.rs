//! As much of HTTP/1.1 (RFC 9112) as ACME needs: a response read, and the one request that
//! HTTP-01 answers (RFC 8555, 8.3). Pure.

/// Longest head, bytes; and most fields in it.
pub const MAX_HEAD: usize = 16 << 10;
const MAX_FIELDS: usize = 64;
/// Interim responses before the one that counts (RFC 9110, 15.2).
const MAX_INTERIM: usize = 4;
/// Longest body of a response, bytes: a chain of certificates is a few KiB.
pub const MAX_BODY: usize = 256 << 10;
/// Longest response, with what surrounds its chunks, bytes.
const MAX_RESPONSE: usize = MAX_HEAD + 2 * MAX_BODY;
/// Longest line before a chunk, bytes; and most chunks.
const MAX_CHUNK_LINE: usize = 1024;
const MAX_CHUNKS: usize = 4096;
/// Longest request that HTTP-01 reads, bytes.
pub const MAX_REQUEST: usize = 8 << 10;
/// Where HTTP-01's answers are (RFC 8555, 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// Longest token that is looked for; that of a known authority has 43 characters.
const MAX_TOKEN: usize = 128;

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first field of that name, given in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|it| it.0 == name);
        found.map(|it| it.1.as_str())
    }
}

/// What came so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    Partial,
    Whole(Response),
    /// It is no HTTP, or beyond the limits.
    Bad,
}

/// A response from all the bytes that came on a connection so far; `ended` says that no more
/// will. `head` says that it answers HEAD, which has no body (RFC 9110, 9.3.2).
pub fn response(mut bytes: &[u8], ended: bool, head: bool) -> Reading {
    if bytes.len() > MAX_RESPONSE {
        return Reading::Bad;
    }
    for _ in 0..=MAX_INTERIM {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return match ended || bytes.len() > MAX_HEAD {
                true => Reading::Bad,
                false => Reading::Partial,
            };
        };
        let (start, body) = bytes.split_at(end + 4);
        let Some(mut response) = read_head(start) else {
            return Reading::Bad;
        };
        if (100..200).contains(&response.status) {
            bytes = body;
            continue;
        }
        if head || matches!(response.status, 204 | 304) {
            return Reading::Whole(response);
        }
        return match read_body(&response, body, ended) {
            Some(Some(body)) => {
                response.body = body;
                Reading::Whole(response)
            }
            Some(None) if !ended => Reading::Partial,
            _ => Reading::Bad,
        };
    }
    Reading::Bad
}

/// The head of a response whose body is read elsewhere, and where that begins; `Some(None)` if
/// there is more to come, `None` if it is bad.
pub fn head(bytes: &[u8]) -> Option<Option<(Response, usize)>> {
    match find(bytes, b"\r\n\r\n") {
        Some(end) => Some(Some((read_head(bytes.get(..end + 4)?)?, end + 4))),
        None => (bytes.len() <= MAX_HEAD).then_some(None),
    }
}

fn read_head(head: &[u8]) -> Option<Response> {
    if head.len() > MAX_HEAD {
        return None;
    }
    let mut lines = std::str::from_utf8(head).ok()?.trim_end().split("\r\n");
    let rest = lines.next()?.strip_prefix("HTTP/1.")?;
    let (version, rest) = rest.split_once(' ')?;
    let status = rest.get(..3)?;
    if !matches!(version, "0" | "1") || !status.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if !is_token(name) || fields.len() == MAX_FIELDS || value.chars().any(|c| c == '\0') {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    Some(Response {
        status: status.parse().ok()?,
        fields,
        body: Vec::new(),
    })
}

/// `None` if it is bad, `Some(None)` if there is more to come (RFC 9112, 6.3).
fn read_body(response: &Response, body: &[u8], ended: bool) -> Option<Option<Vec<u8>>> {
    if let Some(coding) = response.field("transfer-encoding") {
        return match coding.eq_ignore_ascii_case("chunked") {
            true => chunks(body),
            false => None,
        };
    }
    match response.field("content-length") {
        Some(length) => {
            let length: usize = length.parse().ok().filter(|it| *it <= MAX_BODY)?;
            Some(body.get(..length).map(<[u8]>::to_vec))
        }
        None if body.len() > MAX_BODY => None,
        None => Some(ended.then(|| body.to_vec())),
    }
}

/// RFC 9112, 7.1; trailers are passed over.
fn chunks(mut rest: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut out = Vec::new();
    for _ in 0..MAX_CHUNKS {
        let Some(end) = find(rest, b"\r\n") else {
            return (rest.len() <= MAX_CHUNK_LINE).then_some(None);
        };
        if end > MAX_CHUNK_LINE {
            return None;
        }
        let line = std::str::from_utf8(rest.get(..end)?).ok()?;
        let size = line.split(';').next()?.trim();
        if size.is_empty() || size.len() > 6 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = rest.get(end + 2..)?;
        if size == 0 {
            let ends = rest.starts_with(b"\r\n") || find(rest, b"\r\n\r\n").is_some();
            return match ends || rest.len() <= MAX_HEAD {
                true => Some(ends.then_some(out)),
                false => None,
            };
        }
        if out.len() + size > MAX_BODY {
            return None;
        }
        let Some((chunk, after)) = rest.split_at_checked(size) else {
            return Some(None);
        };
        out.extend_from_slice(chunk);
        match after.get(..2) {
            Some(b"\r\n") => rest = after.get(2..)?,
            Some(_) => return None,
            None => return Some(None),
        }
    }
    None
}

/// What HTTP-01 was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Partial,
    /// For the answer to this token, by GET or HEAD.
    Token {
        token: String,
        head: bool,
    },
    /// For something else.
    Other,
    Bad,
}

/// A request, as strict as RFC 9112 lets us: what is odd has nothing to do here.
pub fn request(bytes: &[u8]) -> Asked {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return match bytes.len() < MAX_REQUEST {
            true => Asked::Partial,
            false => Asked::Bad,
        };
    };
    read_request(bytes.get(..end).unwrap_or_default()).unwrap_or(Asked::Bad)
}

fn read_request(head: &[u8]) -> Option<Asked> {
    if head.len() > MAX_REQUEST || !head.iter().all(|b| matches!(b, 9 | 10 | 13 | 32..=126)) {
        return None;
    }
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return None;
    }
    let mut hosts = 0;
    for line in lines {
        let (name, _) = line.split_once(':')?;
        if !is_token(name) || line.contains(['\r', '\n']) {
            return None;
        }
        hosts += usize::from(name.eq_ignore_ascii_case("host"));
        // Nothing that we answer has a body.
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
    }
    // RFC 9112, 3.2.
    if hosts > 1 || (hosts == 0 && version == "HTTP/1.1") {
        return None;
    }
    let head = method == "HEAD";
    Some(match target.strip_prefix(CHALLENGES) {
        Some(token) if (head || method == "GET") && is_name(token) => Asked::Token {
            token: token.into(),
            head,
        },
        _ => Asked::Other,
    })
}

/// Base64url (RFC 8555, 8.1).
pub fn is_name(token: &str) -> bool {
    (1..=MAX_TOKEN).contains(&token.len())
        && token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// A field name (RFC 9110, 5.6.2).
fn is_token(name: &str) -> bool {
    let is_char = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(is_char)
}

/// An https URL, taken apart (RFC 3986): host without brackets, port, path with query.
pub fn url(text: &str) -> Option<(String, u16, &str)> {
    let rest = text.strip_prefix("https://")?;
    if text.len() > 2048 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at_checked(at)?,
        None => (rest, "/"),
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(literal) => {
            let (host, port) = literal.split_once(']')?;
            (
                host,
                port.strip_prefix(':')
                    .or(port.is_empty().then_some("443"))?,
            )
        }
        None => authority.split_once(':').unwrap_or((authority, "443")),
    };
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-.:_".contains(&b);
    let port = port.parse().ok().filter(|it| *it != 0)?;
    let usable = !host.is_empty() && host.bytes().all(fits) && !path.contains('#');
    usable.then(|| (host.to_ascii_lowercase(), port, path))
}

/// Host and port as a URL and the Host field have them (RFC 9110, 7.2).
pub fn authority(host: &str, port: u16) -> String {
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_string(),
    };
    match port {
        443 => host,
        port => format!("{host}:{port}"),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8], ended: bool) -> Option<(u16, Vec<u8>)> {
        match response(bytes, ended, false) {
            Reading::Whole(it) => Some((it.status, it.body)),
            _ => None,
        }
    }

    #[test]
    fn a_body_ends_by_its_length_its_chunks_or_the_connection() {
        let length = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nReplay-Nonce:  x \r\n\r\nabc";
        assert_eq!(whole(length, false), Some((200, b"abc".to_vec())));
        let Reading::Whole(it) = response(length, false, false) else {
            panic!("not whole")
        };
        assert_eq!(it.field("replay-nonce"), Some("x"));
        let chunked = b"HTTP/1.1 201 \r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(whole(chunked, false), Some((201, b"abc".to_vec())));
        let open = b"HTTP/1.0 404 Not Found\r\n\r\nabc";
        assert_eq!(response(open, false, false), Reading::Partial);
        assert_eq!(whole(open, true), Some((404, b"abc".to_vec())));
        // Whatever is cut is never whole, and never bad before its end.
        for whole in [&length[..], chunked] {
            for cut in 0..whole.len() {
                assert_eq!(
                    response(&whole[..cut], false, false),
                    Reading::Partial,
                    "{cut}"
                );
                assert_eq!(response(&whole[..cut], true, false), Reading::Bad, "{cut}");
            }
        }
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(whole(interim, false), Some((204, Vec::new())));
        let many = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000);
        assert_eq!(response(&many, false, false), Reading::Bad);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert!(matches!(response(head, false, true), Reading::Whole(_)));
    }

    #[test]
    fn a_head_ends_where_the_body_begins() {
        let bytes = b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\nbody";
        let (found, at) = head(bytes).unwrap().unwrap();
        assert_eq!((found.status, found.field("location")), (302, Some("/x")));
        assert_eq!(&bytes[at..], b"body");
        assert_eq!(head(&bytes[..at - 1]), Some(None));
        assert_eq!(head(&[b'x'; MAX_HEAD + 1]), None);
        assert_eq!(head(b"SSH-2.0\r\n\r\n"), None);
    }

    #[test]
    fn what_is_no_response_is_bad() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno field\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert_eq!(
                response(text.as_bytes(), false, false),
                Reading::Bad,
                "{text}"
            );
        }
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        assert_eq!(response(long.as_bytes(), false, false), Reading::Bad);
        // What surrounds the body is bounded as well: each chunk's extension, and all of them.
        let chunked = |extension: usize, count: usize| {
            let chunk = format!("1;{}\r\na\r\n", "y".repeat(extension));
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            head.to_string() + &chunk.repeat(count)
        };
        let part = |text: String| response(text.as_bytes(), false, false);
        assert_eq!(part(chunked(1000, 500)), Reading::Partial);
        for (extension, count) in [(1100, 1), (1000, 600), (0, 4097)] {
            assert_eq!(part(chunked(extension, count)), Reading::Bad);
        }
    }

    #[test]
    fn only_a_plain_question_for_a_token_is_answered() {
        let ask = |text: &str| request(text.as_bytes());
        let token = |head| Asked::Token {
            token: "a-_9".into(),
            head,
        };
        let path = "/.well-known/acme-challenge/a-_9";
        let get = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n");
        assert_eq!(ask(&get), token(false));
        assert_eq!(ask(&format!("HEAD {path} HTTP/1.0\r\n\r\n")), token(true));
        for cut in 0..get.len() {
            assert_eq!(ask(&get[..cut]), Asked::Partial);
        }
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /.well-known/acme-challenge/a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /.well-known/acme-challenge/../x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /.well-known/acme-challenge/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/.well-known/acme-challenge/a HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(ask(text), Asked::Other, "{text}");
        }
        for text in [
            "\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/2\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
        ] {
            assert_eq!(ask(text), Asked::Bad, "{text}");
        }
        let long = format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "a".repeat(MAX_REQUEST)
        );
        assert_eq!(ask(&long), Asked::Bad);
    }

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(authority("::1", 443), "[::1]");
        assert_eq!(authority("a.test", 8443), "a.test:8443");
        let read = |text: &'static str| url(text);
        assert_eq!(read("https://CA.test"), Some(("ca.test".into(), 443, "/")));
        assert_eq!(
            read("https://[::1]:14000/d?x"),
            Some(("::1".into(), 14000, "/d?x"))
        );
        for text in [
            "http://a/",
            "https://",
            "https://a:0/",
            "https://a:b/",
            "https://u@a/",
            "https://a/\r\n",
            "https://[::1/",
            "https://[::1]x/",
            "https://a/#x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
