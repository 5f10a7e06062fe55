//! Messages that the server writes itself, built with mail-builder: notices of what became
//! of a message (RFC 3461, 6; RFC 3464; RFC 6533 where the message was SMTPUTF8).

use crate::mail::DateTime;
use crate::mail::outgoing::{Envelope, Reply, utf8_xtext};
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};
use memchr::memmem;
use std::fmt::Write;
use std::io;

/// Longest header that goes back, bytes.
pub const MAX_RETURNED_HEADER: usize = 64 << 10;

/// What became of the message for the recipients of one notice (RFC 3464, 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Failed,
    Delayed,
    Delivered,
    /// Handed to a server that tells nothing itself.
    Relayed,
    /// Sent on to the members of a group.
    Expanded,
}

/// A notice to be written.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    pub action: Action,
    /// The reporting server's name.
    pub hostname: &'a str,
    /// Who sent the message and is told.
    pub sender: &'a str,
    /// What MAIL asked for. A message with SMTPUTF8 is told of by a notice with it.
    pub envelope: &'a Envelope,
    /// When the message came, seconds since 1970.
    pub arrival: i64,
    /// The name under which it was taken.
    pub id: &'a str,
    pub recipients: Vec<Recipient>,
    pub returned: Returned,
}

/// What of the message goes back with the notice (RFC 3461, 6.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Returned {
    #[default]
    Nothing,
    Headers(Vec<u8>),
    /// All of it, between [`Notice::head`] and [`Notice::tail`].
    Message,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    pub address: String,
    /// ORCPT of RCPT, decoded: `rfc822;ann@example.org`.
    pub original: Option<String>,
    /// What was said of it last, if anything was.
    pub reply: Option<Reply>,
    /// Until when it is tried, seconds since 1970.
    pub until: Option<i64>,
    /// Whether it is told since DELIVERBY's time is over: then the status says that.
    pub late: bool,
}

/// A notice: its bytes, in two where a message stands between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
}

/// What submission has to tell of recipients here that asked for it with NOTIFY=SUCCESS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Who sent the message and is told.
    pub sender: String,
    pub envelope: Envelope,
    /// Those whose mailbox the message has reached.
    pub recipients: Vec<Recipient>,
    /// Groups to whose members it was sent on (RFC 3461, 5.2.7.3).
    pub expanded: Vec<Recipient>,
    /// Its header, which goes back (RFC 3461, 6.2).
    pub header: Vec<u8>,
    /// The name under which the message was delivered.
    pub id: String,
}

impl Delivered {
    pub fn is_empty(&self) -> bool {
        self.recipients.is_empty() && self.expanded.is_empty()
    }

    /// The notices that tell of it, of a message that came at `arrival`.
    pub fn reports<'a>(&'a self, hostname: &'a str, arrival: i64) -> Vec<Report<'a>> {
        let report = |action, recipients: &Vec<Recipient>| Report {
            action,
            hostname,
            sender: &self.sender,
            envelope: &self.envelope,
            arrival,
            id: &self.id,
            recipients: recipients.clone(),
            returned: match self.header.is_empty() {
                true => Returned::Nothing,
                false => Returned::Headers(self.header.clone()),
            },
        };
        let all = [
            report(Action::Delivered, &self.recipients),
            report(Action::Expanded, &self.expanded),
        ];
        let some = |it: &Report<'_>| !it.recipients.is_empty();
        all.into_iter().filter(some).collect()
    }
}

/// Stands for the returned message until that is put in its place.
const PLACE: &str = "here-goes-the-message";

impl Report<'_> {
    /// `date` is the notice's own, `name` makes its Message-ID and is unlike any text.
    pub fn write(&self, date: DateTime, name: &str) -> io::Result<Notice> {
        let place = format!("{PLACE}-{name}");
        let (status, headers, message) = match self.envelope.smtputf8 {
            false => ("delivery-status", "text/rfc822-headers", "message/rfc822"),
            true => (
                "global-delivery-status",
                "message/global-headers",
                "message/global",
            ),
        };
        // RFC 3464, 2.1: the status has seven bits, which `fields` sees to.
        let raw = |kind: String, body: Vec<u8>| {
            let narrow = body.is_ascii() && body != place.as_bytes();
            let encoding = if narrow { "7bit" } else { "8bit" };
            MimePart::new(kind, body).transfer_encoding(encoding)
        };
        let mut parts = vec![
            MimePart::new("text/plain", self.text()),
            raw(format!("message/{status}"), self.fields().into_bytes()),
        ];
        match &self.returned {
            Returned::Nothing => {}
            Returned::Headers(bytes) => parts.push(raw(headers.into(), bytes.clone())),
            Returned::Message => parts.push(raw(message.into(), place.clone().into_bytes())),
        }
        let kind = ContentType::new("multipart/report").attribute("report-type", "delivery-status");
        let mut head = MessageBuilder::new()
            .header("Return-Path", Raw::new("<>"))
            .from((
                "Mail delivery",
                format!("postmaster@{}", self.hostname).as_str(),
            ))
            .to(self.sender)
            .subject(self.subject())
            .date(Date::new(date.unix))
            .message_id(format!("{name}@{}", self.hostname))
            .header("Auto-Submitted", Raw::new("auto-replied"))
            .body(MimePart::new(kind, BodyPart::Multipart(parts)))
            .write_to_vec()?;
        let mut tail = Vec::new();
        if self.returned == Returned::Message
            && let Some(at) = memmem::find(&head, place.as_bytes())
        {
            tail = head.split_off(at).split_off(place.len());
        }
        Ok(Notice { head, tail })
    }

    fn subject(&self) -> &'static str {
        match self.action {
            Action::Failed => "Your message could not be delivered",
            Action::Delayed => "Your message is delayed",
            Action::Delivered => "Your message was delivered",
            Action::Relayed => "Your message was passed on",
            Action::Expanded => "Your message was sent on to a group",
        }
    }

    /// For people.
    fn text(&self) -> String {
        let mut text = String::from(match self.action {
            Action::Failed => "Your message could not be delivered to:\r\n\r\n",
            Action::Delayed => "Your message has not been delivered yet to:\r\n\r\n",
            Action::Delivered => "Your message was delivered to:\r\n\r\n",
            Action::Relayed => "Your message was passed on to another server for:\r\n\r\n",
            Action::Expanded => "Your message was sent on to the members of:\r\n\r\n",
        });
        for recipient in &self.recipients {
            text += &format!("    {}\r\n", recipient.address);
            if let Some(reply) = &recipient.reply {
                text += &format!("        {}\r\n", spoken(reply));
            }
        }
        let until = self.recipients.iter().filter_map(|it| it.until).min();
        text += &match (self.action, until) {
            (Action::Failed, _) => "\r\nIt is not tried again.\r\n".into(),
            (Action::Delayed, Some(until)) => format!(
                "\r\nIt is tried again until {}. You need not send it again.\r\n",
                Date::new(until).to_rfc822()
            ),
            (Action::Relayed, _) => {
                "\r\nThat server does not say whether it reaches its mailbox.\r\n".into()
            }
            _ => String::new(),
        };
        text + &format!("\r\nThe server knows it as {}.\r\n", self.id)
    }

    /// For programs: RFC 3464, 2, in the order of its grammar.
    fn fields(&self) -> String {
        let mut fields = String::new();
        if let Some(id) = &self.envelope.envelope_id {
            line(&mut fields, "Original-Envelope-Id", id);
        }
        line(
            &mut fields,
            "Reporting-MTA",
            &format!("dns;{}", self.hostname),
        );
        let date = |unix| Date::new(unix).to_rfc822();
        line(&mut fields, "Arrival-Date", &date(self.arrival));
        if let Some(by) = self.envelope.deliver_by {
            line(&mut fields, "Deliver-By-Date", &date(by.until));
        }
        if let Some(asked) = self.hold() {
            line(&mut fields, "Future-Release-Request", &asked);
        }
        for recipient in &self.recipients {
            fields += "\r\n";
            self.group(recipient, &mut fields);
        }
        // What a server said may be beyond ASCII.
        match self.envelope.smtputf8 {
            true => fields,
            false => fields.replace(|c: char| !c.is_ascii(), "?"),
        }
    }

    /// What was asked for in MAIL (RFC 4865, 5.1.2); a moment is in UTC.
    fn hold(&self) -> Option<String> {
        let until = self.envelope.hold_until?;
        match self.envelope.hold_for {
            Some(seconds) => Some(format!("for;{seconds}")),
            None => moment(until).map(|until| format!("until;{until}")),
        }
    }

    fn group(&self, recipient: &Recipient, fields: &mut String) {
        if let Some(original) = &recipient.original {
            line(fields, "Original-Recipient", &self.typed(original));
        }
        let kind = match recipient.address.is_ascii() {
            true => "rfc822",
            false => "utf-8",
        };
        let last = self.typed(&format!("{kind};{}", recipient.address));
        line(fields, "Final-Recipient", &last);
        let (action, class) = match self.action {
            Action::Failed => ("failed", "5.0.0"),
            Action::Delayed => ("delayed", "4.0.0"),
            Action::Delivered => ("delivered", "2.0.0"),
            Action::Relayed => ("relayed", "2.0.0"),
            Action::Expanded => ("expanded", "2.0.0"),
        };
        line(fields, "Action", action);
        let reply = recipient.reply.as_ref();
        // A reply's class may be another than the action's: what is put off at last fails.
        let said = reply.map(|it| it.enhanced.as_str()).unwrap_or_default();
        let detail = said.split_once('.').map(|(_, detail)| detail);
        let first = class.split('.').next().unwrap_or_default();
        let status = match detail {
            // RFC 2852, 4.1.3.
            _ if recipient.late => format!("{first}.4.7"),
            Some(detail) => format!("{first}.{detail}"),
            None => class.into(),
        };
        line(fields, "Status", &status);
        let Some(reply) = reply else { return };
        if let Some(server) = &reply.server {
            line(fields, "Remote-MTA", &format!("dns;{server}"));
        }
        if reply.code > 0 {
            line(
                fields,
                "Diagnostic-Code",
                &format!("smtp;{}", said_of(reply)),
            );
        }
        if let (Action::Delayed, Some(until)) = (self.action, recipient.until) {
            let until = Date::new(until).to_rfc822();
            line(fields, "Will-Retry-Until", &until);
        }
    }

    /// `type;address`; beyond ASCII, where the notice is not UTF-8 itself, as
    /// utf-8-addr-xtext (RFC 6533, 3).
    fn typed(&self, text: &str) -> String {
        match self.envelope.smtputf8 || text.is_ascii() {
            true => text.into(),
            false => utf8_xtext(text),
        }
    }
}

/// What a server said, or what kept us from asking one, in a line.
pub fn spoken(reply: &Reply) -> String {
    match (&reply.server, reply.code) {
        (_, 0) => reply.text.clone(),
        (Some(server), _) => format!("{server} said: {}", said_of(reply)),
        (None, _) => said_of(reply),
    }
}

/// Seconds since 1970 as RFC 3339 writes them, in UTC.
fn moment(unix: i64) -> Option<String> {
    let moment = jiff::Timestamp::from_second(unix).ok()?;
    Some(moment.to_string())
}

fn said_of(reply: &Reply) -> String {
    // Of another class than the code it is our own, not what the server said.
    let class = reply.code.to_string();
    let own = reply.enhanced.split('.').next() != class.get(..1);
    let words = [
        class,
        match own {
            true => String::new(),
            false => reply.enhanced.clone(),
        },
        reply.text.clone(),
    ];
    let words: Vec<String> = words.into_iter().filter(|it| !it.is_empty()).collect();
    words.join(" ")
}

fn line(fields: &mut String, name: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = write!(fields, "{name}: {value}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::outgoing::DeliverBy;
    use crate::message::scanner::Scanner;

    const DATE: DateTime = DateTime { unix: 0, offset: 0 };

    fn recipient(address: &str, original: Option<&str>) -> Recipient {
        Recipient {
            address: address.into(),
            original: original.map(Into::into),
            ..Recipient::default()
        }
    }

    fn shape(bytes: &[u8]) -> String {
        let mut scanner = Scanner::new();
        scanner.push(bytes);
        let structure = scanner.finish();
        String::from_utf8_lossy(&structure.body_structure).to_lowercase()
    }

    fn expect(bytes: &[u8], expected: &[&str]) {
        let text = String::from_utf8_lossy(bytes);
        for expected in expected {
            assert!(text.contains(expected), "{expected:?} is not in {text}");
        }
    }

    #[test]
    fn a_notice_is_a_report_with_a_group_for_each_recipient() -> io::Result<()> {
        let what = Delivered {
            sender: "ann@b.de".into(),
            envelope: Envelope {
                envelope_id: Some("QQ+314".into()),
                ..Envelope::default()
            },
            header: b"Subject: caf\xc3\xa9\r\n".to_vec(),
            recipients: vec![
                recipient("bob@b.de", Some("rfc822;robert@b.de")),
                recipient("почта@b.de", None),
            ],
            expanded: vec![recipient("team@b.de", None)],
            id: "7f".into(),
        };
        let [report, expanded] = &what.reports("mail.b.de", 0)[..] else {
            panic!("not two notices")
        };
        let bytes = report.write(DATE, "n1")?.head;
        expect(
            &bytes,
            &[
                "Return-Path: <>\r\n",
                "To: <ann@b.de>\r\n",
                "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n",
                "Message-ID: <n1@mail.b.de>\r\n",
                "Auto-Submitted: auto-replied\r\n",
                "\r\n\r\nOriginal-Envelope-Id: QQ+314\r\nReporting-MTA: dns;mail.b.de\r\n\
                 Arrival-Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n\r\n",
                "\r\n\r\nSubject: caf\u{e9}\r\n",
                "\r\n\r\nOriginal-Recipient: rfc822;robert@b.de\r\nFinal-Recipient: rfc822;bob@b.de\r\n\
                 Action: delivered\r\nStatus: 2.0.0\r\n\r\nFinal-Recipient: \
                 utf-8;\\x{43F}\\x{43E}\\x{447}\\x{442}\\x{430}@b.de\r\n",
            ],
        );
        let told = expanded.write(DATE, "n0")?.head;
        expect(
            &told,
            &[
                "Subject: Your message was sent on to a group\r\n",
                "Final-Recipient: rfc822;team@b.de\r\nAction: expanded\r\nStatus: 2.0.0\r\n",
            ],
        );
        let shown = shape(&bytes);
        assert!(
            shown.contains("\"report\" (\"report-type\" \"delivery-status\""),
            "{shown}"
        );
        // RFC 3464, 2.1: seven bits.
        let status = "\"message\" \"delivery-status\" nil nil nil \"7bit\"";
        assert!(shown.contains(status), "{shown}");
        assert!(shown.contains("\"text\" \"rfc822-headers\""), "{shown}");
        Ok(())
    }

    fn held(utf8: bool) -> Envelope {
        Envelope {
            hold_until: Some(86_400),
            smtputf8: utf8,
            ..Envelope::default()
        }
    }

    fn failure(envelope: &Envelope, returned: Returned) -> Report<'_> {
        Report {
            action: Action::Failed,
            hostname: "mail.b.de",
            sender: "ann@b.de",
            envelope,
            arrival: 0,
            id: "7f",
            recipients: vec![Recipient {
                address: "bob@x.example".into(),
                reply: Some(Reply {
                    code: 450,
                    enhanced: "4.2.2".into(),
                    text: "mailbox full".into(),
                    server: Some("mx.x.example".into()),
                }),
                ..Recipient::default()
            }],
            returned,
        }
    }

    #[test]
    fn a_failure_says_who_said_what_and_gives_the_message_back() -> io::Result<()> {
        let message = b"Subject: hi\r\n\r\nbody\r\n";
        let envelope = held(false);
        let notice = failure(&envelope, Returned::Message).write(DATE, "n2")?;
        let bytes = [&notice.head[..], message, &notice.tail].concat();
        expect(
            &bytes,
            &[
                "Your message could not be delivered to:\r\n",
                "mx.x.example said: 450 4.2.2 mailbox full\r\n",
                "Action: failed\r\nStatus: 5.2.2\r\nRemote-MTA: dns;mx.x.example\r\n\
                 Diagnostic-Code: smtp;450 4.2.2 mailbox full\r\n",
                "\r\n\r\nSubject: hi\r\n\r\nbody\r\n\r\n--",
            ],
        );
        assert!(!String::from_utf8_lossy(&bytes).contains(PLACE));
        let shown = shape(&bytes);
        assert!(shown.contains("\"message\" \"rfc822\""), "{shown}");
        let headers = Returned::Headers(b"Subject: hi\r\n".to_vec());
        let notice = failure(&envelope, headers);
        let notice = notice.write(DATE, "n3")?;
        let shown = shape(&notice.head);
        assert!(shown.contains("\"text\" \"rfc822-headers\""), "{shown}");
        assert_eq!(notice.tail, b"");
        Ok(())
    }

    #[test]
    fn a_message_with_smtputf8_gets_a_global_notice() -> io::Result<()> {
        let envelope = held(true);
        let mut report = failure(&envelope, Returned::Message);
        report.recipients[0].address = "бob@x.example".into();
        let notice = report.write(DATE, "n2")?;
        let bytes = [&notice.head[..], b"Subject: hi\r\n\r\n", &notice.tail].concat();
        expect(&bytes, &["Final-Recipient: utf-8;бob@x.example\r\n"]);
        let shown = shape(&bytes);
        for kind in ["global-delivery-status", "global"] {
            assert!(
                shown.contains(&format!("\"message\" \"{kind}\"")),
                "{shown}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_delay_says_until_when_it_is_tried() -> io::Result<()> {
        let envelope = held(false);
        let mut report = failure(&envelope, Returned::Nothing);
        report.action = Action::Delayed;
        report.recipients[0].until = Some(86_400);
        let notice = report.write(DATE, "n4")?;
        expect(
            &notice.head,
            &[
                "Subject: Your message is delayed\r\n",
                "\r\nFuture-Release-Request: until;1970-01-02T00:00:00Z\r\n",
                "Action: delayed\r\nStatus: 4.2.2\r\n",
                "Will-Retry-Until: Fri, 2 Jan 1970 00:00:00 +0000\r\n",
                "until Fri, 2 Jan 1970 00:00:00 +0000. You need not",
            ],
        );
        Ok(())
    }

    /// RFC 4865, 5.1.2, and RFC 2852, 4.1 and 5.
    #[test]
    fn what_was_asked_for_in_time_is_repeated() -> io::Result<()> {
        let envelope = Envelope {
            hold_until: Some(86_400),
            hold_for: Some(3600),
            deliver_by: Some(DeliverBy {
                until: 90_000,
                returns: false,
                trace: false,
            }),
            ..Envelope::default()
        };
        let mut report = failure(&envelope, Returned::Nothing);
        report.action = Action::Delayed;
        report.recipients[0].late = true;
        expect(
            &report.write(DATE, "n5")?.head,
            &[
                "\r\nArrival-Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n\
                 Deliver-By-Date: Fri, 2 Jan 1970 01:00:00 +0000\r\n\
                 Future-Release-Request: for;3600\r\n",
                "Action: delayed\r\nStatus: 4.4.7\r\nRemote-MTA: dns;mx.x.example\r\n\
                 Diagnostic-Code: smtp;450 4.2.2 mailbox full\r\n",
            ],
        );
        Ok(())
    }

    #[test]
    fn what_a_server_said_last_is_told_as_it_said_it() -> io::Result<()> {
        let envelope = Envelope::default();
        let mut report = failure(&envelope, Returned::Nothing);
        let reply = report.recipients[0].reply.as_mut();
        if let Some(reply) = reply {
            reply.enhanced = "5.4.7".into();
            reply.text = "4.2.2 voll, nächste Woche (too late)".into();
        }
        expect(
            &report.write(DATE, "n6")?.head,
            &[
                "Action: failed\r\nStatus: 5.4.7\r\nRemote-MTA: dns;mx.x.example\r\n\
                 Diagnostic-Code: smtp;450 4.2.2 voll, n?chste Woche (too late)\r\n",
            ],
        );
        Ok(())
    }
}
