//! Messages that the server writes itself, built with mail-builder.

use crate::mail::DateTime;
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};
use std::fmt::Write;
use std::io;

/// What a notice of delivery says (RFC 3461, 6; RFC 3464).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Who sent the message and is told.
    pub sender: String,
    /// ENVID of MAIL, decoded.
    pub envelope_id: Option<String>,
    /// Those of the recipients that asked for it with NOTIFY=SUCCESS.
    pub recipients: Vec<Recipient>,
    /// The name under which the message was delivered.
    pub id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub address: String,
    /// ORCPT of RCPT, decoded: `rfc822;ann@example.org`.
    pub original: Option<String>,
}

/// The notice that a message reached its mailboxes: text for people, then the fields of
/// RFC 3464. `name` makes its Message-ID; `hostname` is the reporting server's.
pub fn delivered(
    what: &Delivered,
    hostname: &str,
    date: DateTime,
    name: &str,
) -> io::Result<Vec<u8>> {
    let mut text = String::from("Your message was delivered to:\r\n\r\n");
    let mut fields = format!("Reporting-MTA: dns;{hostname}\r\n");
    if let Some(id) = &what.envelope_id {
        line(&mut fields, "Original-Envelope-Id", id);
    }
    line(
        &mut fields,
        "Arrival-Date",
        &Date::new(date.unix).to_rfc822(),
    );
    for recipient in &what.recipients {
        text += &format!("    {}\r\n", recipient.address);
        fields += "\r\n";
        if let Some(original) = &recipient.original {
            line(&mut fields, "Original-Recipient", original);
        }
        let kind = if recipient.address.is_ascii() {
            "rfc822"
        } else {
            "utf-8"
        };
        line(
            &mut fields,
            "Final-Recipient",
            &format!("{kind};{}", recipient.address),
        );
        line(&mut fields, "Action", "delivered");
        line(&mut fields, "Status", "2.0.0");
    }
    text += &format!("\r\nThe server knows it as {}.\r\n", what.id);
    let report = MimePart::new(
        ContentType::new("multipart/report").attribute("report-type", "delivery-status"),
        BodyPart::Multipart(vec![
            MimePart::new("text/plain", text),
            MimePart::new("message/delivery-status", fields.into_bytes()).transfer_encoding("8bit"),
        ]),
    );
    MessageBuilder::new()
        .header("Return-Path", Raw::new("<>"))
        .from(("Mail delivery", format!("postmaster@{hostname}").as_str()))
        .to(what.sender.as_str())
        .subject("Your message was delivered")
        .date(Date::new(date.unix))
        .message_id(format!("{name}@{hostname}"))
        .header("Auto-Submitted", Raw::new("auto-replied"))
        .body(report)
        .write_to_vec()
}

fn line(fields: &mut String, name: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = write!(fields, "{name}: {value}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::scanner::Scanner;

    #[test]
    fn a_notice_is_a_report_with_a_group_for_each_recipient() -> io::Result<()> {
        let recipient = |address: &str, original: Option<&str>| Recipient {
            address: address.into(),
            original: original.map(Into::into),
        };
        let what = Delivered {
            sender: "ann@b.de".into(),
            envelope_id: Some("QQ+314".into()),
            recipients: vec![
                recipient("bob@b.de", Some("rfc822;robert@b.de")),
                recipient("почта@b.de", None),
            ],
            id: "7f".into(),
        };
        let bytes = delivered(&what, "mail.b.de", DateTime { unix: 0, offset: 0 }, "n1")?;
        let text = String::from_utf8_lossy(&bytes);
        for expected in [
            "Return-Path: <>\r\n",
            "To: <ann@b.de>\r\n",
            "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n",
            "Message-ID: <n1@mail.b.de>\r\n",
            "Auto-Submitted: auto-replied\r\n",
            "Reporting-MTA: dns;mail.b.de\r\nOriginal-Envelope-Id: QQ+314\r\n",
            "\r\n\r\nOriginal-Recipient: rfc822;robert@b.de\r\nFinal-Recipient: rfc822;bob@b.de\r\n\
             Action: delivered\r\nStatus: 2.0.0\r\n\r\nFinal-Recipient: utf-8;почта@b.de\r\n",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in {text}");
        }
        let mut scanner = Scanner::new();
        scanner.push(&bytes);
        let structure = scanner.finish();
        let shown = String::from_utf8_lossy(&structure.body_structure).to_lowercase();
        assert!(
            shown.contains("\"report\" (\"report-type\" \"delivery-status\""),
            "{shown}"
        );
        assert!(shown.contains("\"message\" \"delivery-status\""), "{shown}");
        Ok(())
    }
}
