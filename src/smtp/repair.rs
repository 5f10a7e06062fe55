//! What a submission server does to a message's header (RFC 6409, 8): trace fields first,
//! Date and Message-ID where they miss, Bcc and Return-Path out. Nothing else of the
//! message changes by a byte. Pure: time and identity come in a [`Stamp`].

use super::author::{self, Author};
use super::reply::Reply;
use crate::authentication::results::is_forged;
use crate::mail::DateTime;
use crate::message::header::{self, Field};
use jiff::tz::{Offset, TimeZone};
use memchr::memmem;

/// Longest header that is taken, bytes.
pub const MAX_HEADER: usize = 256 * 1024;

/// What the world adds to a message.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub date: DateTime,
    /// Names this message in Received, in its Message-ID if it has none, in the reply and
    /// in the log: letters and digits.
    pub id: String,
}

/// Where the message came in; all of it goes into Received (RFC 5321, 4.4). The client's
/// address does not: who gets a message need not learn where it was written.
#[derive(Clone, Debug)]
pub struct Trace {
    pub hostname: String,
    /// As the client called itself.
    pub client: String,
    /// The reverse-path as written, empty for `<>`.
    pub sender: String,
    pub tls: bool,
    /// Whether the client logged in.
    pub login: bool,
    pub smtputf8: bool,
    /// MT-PRIORITY.
    pub priority: i8,
}

/// A header on its way to be repaired.
pub struct Repair {
    /// What has come of it; `None` once it is over.
    header: Option<Vec<u8>>,
    author: Author,
    trace: Trace,
    stamp: Stamp,
}

/// What [`Repair::push`] leaves to be stored.
pub enum Output<'a> {
    Nothing,
    /// The header, and behind it what has come of the body.
    Header(Vec<u8>),
    /// Body, as it came.
    Body(&'a [u8]),
}

impl Repair {
    pub fn new(author: Author, trace: Trace, stamp: Stamp) -> Repair {
        Repair {
            header: Some(Vec::new()),
            author,
            trace,
            stamp,
        }
    }

    /// Refuses a header that is too long, or whose From or Sender isn't the author's.
    pub fn push<'a>(&mut self, text: &'a [u8]) -> Result<Output<'a>, Reply> {
        let Some(header) = &mut self.header else {
            return Ok(Output::Body(text));
        };
        let seen = header.len().saturating_sub(3);
        header.extend_from_slice(text);
        let end = match header.starts_with(b"\r\n") {
            true => Some(0),
            false => memmem::find(header.get(seen..).unwrap_or_default(), b"\r\n\r\n")
                .map(|at| seen + at + 2),
        };
        match end {
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
        let header = header_of(&text);
        check_authors(header, &self.author)?;
        let mut out = self.added(header);
        for field in header::fields(header) {
            let goes = ["Bcc", "Resent-Bcc", "Return-Path"]
                .iter()
                .any(|name| field.is(name.as_bytes()))
                || (field.is(b"Message-ID") && !is_message_id(field.value()))
                || is_forged(&field, &self.trace.hostname);
            if !goes {
                out.extend_from_slice(field.raw);
            }
        }
        // A header cut off within its last line.
        if !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        let body = text.get(header.len()..).unwrap_or_default();
        if !body.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(body);
        Ok(out)
    }

    fn added(&self, header: &[u8]) -> Vec<u8> {
        let Trace {
            hostname,
            client,
            sender,
            ..
        } = &self.trace;
        let (id, date) = (&self.stamp.id, rfc5322(self.stamp.date));
        // An address literal would tell what is not to be told.
        let from = match client.starts_with('[') {
            true => String::new(),
            false => format!("from {client} "),
        };
        let with = self.trace.with();
        // RFC 6710, 4.1 and 7.
        let priority = match self.trace.priority {
            0 => String::new(),
            priority => format!(" PRIORITY {priority}"),
        };
        let mut added = format!(
            "Return-Path: <{sender}>\r\n\
             Received: {from}by {hostname} with {with} id {id}{priority};\r\n\t{date}\r\n"
        );
        if !has_message_id(header) {
            added += &format!("Message-ID: <{id}@{hostname}>\r\n");
        }
        if header::find(header, "Date").is_none() {
            added += &format!("Date: {date}\r\n");
        }
        added.into_bytes()
    }
}

fn has_message_id(header: &[u8]) -> bool {
    let mut fields = header::fields(header).filter(|it| it.is(b"Message-ID"));
    fields.any(|it| is_message_id(it.value()))
}

/// `"<" id-left "@" id-right ">"`, and a comment behind it (RFC 5322, 3.6.4). Lenient with what
/// programs have long put into the two: one that can be told and answered is not replaced.
fn is_message_id(value: &[u8]) -> bool {
    let Some(inner) = value.trim_ascii().strip_prefix(b"<") else {
        return false;
    };
    let Some(end) = memchr::memchr(b'>', inner) else {
        return false;
    };
    let (id, rest) = (inner.get(..end), inner.get(end + 1..).unwrap_or_default());
    let id = id.unwrap_or_default();
    let Some(at) = memchr::memrchr(b'@', id) else {
        return false;
    };
    let fits = |b: &u8| b.is_ascii_graphic() && *b != b'<' || !b.is_ascii();
    let rest = rest.trim_ascii();
    at > 0
        && at + 1 < id.len()
        && id.iter().all(fits)
        && (rest.is_empty() || rest.starts_with(b"("))
}

impl Trace {
    /// The protocol's registered name (RFC 3848, RFC 6531).
    fn with(&self) -> &'static str {
        match (self.smtputf8, self.tls, self.login) {
            (false, false, false) => "ESMTP",
            (false, true, false) => "ESMTPS",
            (false, false, true) => "ESMTPA",
            (false, true, true) => "ESMTPSA",
            (true, false, false) => "UTF8SMTP",
            (true, true, false) => "UTF8SMTPS",
            (true, false, true) => "UTF8SMTPA",
            (true, true, true) => "UTF8SMTPSA",
        }
    }
}

/// The lines at the front that are header fields. The first that isn't one begins the
/// body, as the empty line does: what is no field must not hide one behind it.
pub(super) fn header_of(text: &[u8]) -> &[u8] {
    let length = header::fields(text)
        .take_while(is_field)
        .map(|field| field.raw.len())
        .sum();
    text.get(..length).unwrap_or_default()
}

/// `1*ftext ":"` (RFC 5322, 3.6.8); white space before the colon is of old (4.5).
fn is_field(field: &Field<'_>) -> bool {
    !field.name.is_empty() && field.name.iter().all(u8::is_ascii_graphic)
}

/// One From field with nobody's addresses but the author's; a Sender field likewise, if
/// there is one.
fn check_authors(header: &[u8], author: &Author) -> Result<(), Reply> {
    let refuse = |text: String| Err(Reply::with(550, "5.7.1", text));
    for (name, needed) in [("From", true), ("Sender", false)] {
        let mut fields = header::fields(header).filter(|field| field.is(name.as_bytes()));
        let Some(field) = fields.next() else {
            match needed {
                true => return refuse(format!("The message has no {name} field")),
                false => continue,
            }
        };
        if fields.next().is_some() {
            return refuse(format!("The message has more than one {name} field"));
        }
        let Some(addresses) = author::mailboxes(field.value()) else {
            return refuse(format!("The {name} field is not a list of addresses"));
        };
        if let Some(other) = addresses.iter().find(|it| !author.owns(it)) {
            return refuse(format!(
                "The {name} field names {other}; this login sends as {} only",
                author.addresses()
            ));
        }
    }
    Ok(())
}

/// `Fri, 21 Nov 1997 09:55:06 -0600` (RFC 5322, 3.3).
pub(super) fn rfc5322(date: DateTime) -> String {
    let offset = Offset::from_seconds(i32::from(date.offset) * 60).unwrap_or(Offset::UTC);
    let moment = jiff::Timestamp::from_second(date.unix).unwrap_or_default();
    moment
        .to_zoned(TimeZone::fixed(offset))
        .strftime("%a, %d %b %Y %H:%M:%S %z")
        .to_string()
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
