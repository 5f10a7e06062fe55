//! What a server does to the header of mail that others wrote: trace fields in front, and
//! nothing else (RFC 5321, 6.4); and whether the message goes in circles.

use super::repair::{MAX_HEADER, Output, Stamp, Trace, header_of, rfc5322};
use super::reply::Reply;
use crate::authentication::hashing::header_end;
use crate::message::header;
use std::net::IpAddr;

/// Received fields of a message that is no loop yet (RFC 5321, 6.3: 100 at least is for
/// those that cross many networks; we are the last hop).
const MAX_HOPS: usize = 50;

/// A header on its way through.
pub struct Passage {
    /// What has come of it; `None` once it is over.
    header: Option<Vec<u8>>,
    /// Trace fields, where they stand in front at once.
    front: Vec<u8>,
}

impl Passage {
    pub fn new(front: Vec<u8>) -> Passage {
        Passage {
            header: Some(Vec::new()),
            front,
        }
    }

    /// Refuses a header that is too long, or that has been here or elsewhere too often.
    pub fn push<'a>(&mut self, text: &'a [u8]) -> Result<Output<'a>, Reply> {
        let Some(header) = &mut self.header else {
            return Ok(Output::Body(text));
        };
        let seen = header.len().saturating_sub(3);
        header.extend_from_slice(text);
        match header_end(header, seen) {
            Some(_) => self.finish().map(Output::Header),
            None if header.len() > MAX_HEADER => Err(Reply::new(
                552,
                "5.3.4",
                "The header of the message is longer than 256 KiB",
            )),
            None => Ok(Output::Nothing),
        }
    }

    /// At the end of the data: what is still held. Empty once the header is over.
    pub fn finish(&mut self) -> Result<Vec<u8>, Reply> {
        let Some(text) = self.header.take() else {
            return Ok(Vec::new());
        };
        let fields = header_of(&text);
        let hops = header::fields(fields).filter(|it| it.is(b"Received"));
        if hops.count() > MAX_HOPS {
            let text = "The message has been through too many servers: a loop";
            return Err(Reply::new(554, "5.4.6", text));
        }
        let mut out = std::mem::take(&mut self.front);
        // Without a header of its own it must not go on with ours.
        if fields.is_empty() && !text.is_empty() && !text.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&text);
        if fields.len() == text.len() {
            let end: &[u8] = match text.is_empty() || text.ends_with(b"\r\n") {
                true => b"\r\n",
                false => b"\r\n\r\n",
            };
            out.extend_from_slice(end);
        }
        Ok(out)
    }
}

/// Return-Path and Received, as the last server of all writes them (RFC 5321, 4.4). The
/// former comes first and apart: what else is found out stands between them.
pub fn trace_fields(
    trace: &Trace,
    peer: Option<IpAddr>,
    protocol: &str,
    stamp: &Stamp,
) -> [String; 2] {
    let Trace {
        hostname,
        client,
        sender,
        ..
    } = trace;
    let address = match peer {
        Some(IpAddr::V4(four)) => format!(" ([{four}])"),
        Some(IpAddr::V6(six)) => format!(" ([IPv6:{six}])"),
        None => String::new(),
    };
    let (id, date) = (&stamp.id, rfc5322(stamp.date));
    [
        format!("Return-Path: <{sender}>\r\n"),
        format!(
            "Received: from {client}{address}\r\n\tby {hostname} with {protocol} id {id};\r\n\t{date}\r\n"
        ),
    ]
}

/// The protocol's registered name (RFC 3848, RFC 6531, RFC 2033).
pub fn protocol(lmtp: bool, extended: bool, tls: bool, smtputf8: bool) -> &'static str {
    match (lmtp, extended, tls, smtputf8) {
        (true, _, false, false) => "LMTP",
        (true, _, true, false) => "LMTPS",
        (true, _, false, true) => "UTF8LMTP",
        (true, _, true, true) => "UTF8LMTPS",
        (_, false, _, _) => "SMTP",
        (_, _, false, false) => "ESMTP",
        (_, _, true, false) => "ESMTPS",
        (_, _, false, true) => "UTF8SMTP",
        (_, _, true, true) => "UTF8SMTPS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(text: &[u8], step: usize) -> Result<Vec<u8>, Reply> {
        let mut passage = Passage::new(b"X: y\r\n".to_vec());
        let mut out = Vec::new();
        for chunk in text.chunks(step) {
            match passage.push(chunk)? {
                Output::Nothing => {}
                Output::Header(header) => out.extend(header),
                Output::Body(body) => out.extend_from_slice(body),
            }
        }
        out.extend(passage.finish()?);
        Ok(out)
    }

    #[test]
    fn nothing_but_the_trace_is_added() {
        for (text, expected) in [
            (
                &b"From: a\r\n\r\nb\r\n"[..],
                &b"X: y\r\nFrom: a\r\n\r\nb\r\n"[..],
            ),
            (b"\r\nb\r\n", b"X: y\r\n\r\nb\r\n"),
            (b"From: a\r\n", b"X: y\r\nFrom: a\r\n\r\n"),
            (b"From: a", b"X: y\r\nFrom: a\r\n\r\n"),
            (
                b" folded\r\nFrom: a\r\n\r\nb",
                b"X: y\r\n\r\n folded\r\nFrom: a\r\n\r\nb",
            ),
            (b"no field\r\n", b"X: y\r\n\r\nno field\r\n"),
            (
                b"From: a\r\nno field\r\nb\r\n",
                b"X: y\r\nFrom: a\r\nno field\r\nb\r\n",
            ),
            (b"", b"X: y\r\n\r\n"),
        ] {
            for step in 1..=text.len().max(1) {
                let got = passed(text, step).unwrap();
                assert_eq!(got, expected, "{} by {step}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn a_loop_is_seen() {
        let message = |hops| "Received: x\r\n".repeat(hops) + "From: a\r\n\r\n";
        assert!(passed(message(50).as_bytes(), 100).is_ok());
        let refused = passed(message(51).as_bytes(), 100).unwrap_err();
        assert_eq!((refused.code, refused.enhanced), (554, "5.4.6"));
    }
}
