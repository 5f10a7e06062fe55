//! Which extensions a command makes use of: an account can go without some.

use super::command::{Command, Mail, unknown_parameter};
use super::reply::Reply;
use crate::mail::capability::{Capability, Off};
use crate::mail::outgoing::Body;

/// What a server says that never had what is off; `None` if none of it is made use of.
pub(super) fn refusal(command: &Command, off: Off) -> Option<Reply> {
    match command {
        Command::Bdat { .. } if off.has(Capability::Chunking) => Some(unknown()),
        Command::Burl { .. } if off.has(Capability::Burl) => Some(unknown()),
        Command::Mail(mail) => {
            let mut used = of_mail(mail).into_iter().filter(|(used, ..)| *used);
            let (_, _, keyword) = used.find(|(_, capability, _)| off.has(*capability))?;
            Some(unknown_parameter(keyword))
        }
        Command::Rcpt(_, wishes) => {
            let dsn = wishes.notify.given || wishes.original.is_some();
            (dsn && off.has(Capability::Dsn)).then(|| unknown_parameter("NOTIFY or ORCPT"))
        }
        _ => None,
    }
}

fn unknown() -> Reply {
    Reply::new(500, "5.5.1", "Command not recognized")
}

/// What MAIL may ask for: whether it does, of which extension, by which parameter.
fn of_mail(mail: &Mail) -> [(bool, Capability, &'static str); 10] {
    let envelope = &mail.envelope;
    let eight_bit = envelope.body == Body::EightBitMime && !mail.binary;
    let dsn = envelope.ret.is_some() || envelope.envelope_id.is_some();
    [
        (mail.size.is_some(), Capability::Size, "SIZE"),
        (eight_bit, Capability::EightBitMime, "BODY"),
        (mail.binary, Capability::BinaryMime, "BODY"),
        // RFC 3030, 3: such a message comes by BDAT.
        (mail.binary, Capability::Chunking, "BODY"),
        (envelope.smtputf8, Capability::SmtpUtf8, "SMTPUTF8"),
        (dsn, Capability::Dsn, "RET or ENVID"),
        (
            envelope.priority != 0,
            Capability::MtPriority,
            "MT-PRIORITY",
        ),
        (mail.deliver_by.is_some(), Capability::DeliverBy, "BY"),
        (
            mail.hold.is_some(),
            Capability::FutureRelease,
            "HOLDFOR or HOLDUNTIL",
        ),
        (envelope.require_tls, Capability::RequireTls, "REQUIRETLS"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::command::parse;
    use super::*;

    fn refused(line: &str, capability: Capability) -> bool {
        let command = parse(line.as_bytes()).unwrap();
        assert!(refusal(&command, Off::NONE).is_none(), "{line}");
        refusal(&command, Off::NONE.and(capability)).is_some()
    }

    #[test]
    fn each_parameter_goes_with_its_extension_alone() {
        for (line, capability) in [
            ("MAIL FROM:<a@b.test> SIZE=5", Capability::Size),
            (
                "MAIL FROM:<a@b.test> BODY=8BITMIME",
                Capability::EightBitMime,
            ),
            (
                "MAIL FROM:<a@b.test> BODY=BINARYMIME",
                Capability::BinaryMime,
            ),
            ("MAIL FROM:<a@b.test> BODY=BINARYMIME", Capability::Chunking),
            ("MAIL FROM:<a@b.test> SMTPUTF8", Capability::SmtpUtf8),
            ("MAIL FROM:<a@b.test> RET=HDRS", Capability::Dsn),
            ("MAIL FROM:<a@b.test> ENVID=x", Capability::Dsn),
            ("RCPT TO:<a@b.test> NOTIFY=NEVER", Capability::Dsn),
            ("MAIL FROM:<a@b.test> MT-PRIORITY=3", Capability::MtPriority),
            ("MAIL FROM:<a@b.test> BY=60;R", Capability::DeliverBy),
            ("MAIL FROM:<a@b.test> HOLDFOR=60", Capability::FutureRelease),
            ("MAIL FROM:<a@b.test> REQUIRETLS", Capability::RequireTls),
            ("BDAT 5 LAST", Capability::Chunking),
            ("BURL imap://x/y LAST", Capability::Burl),
        ] {
            assert!(refused(line, capability), "{line}");
            assert!(!refused(line, Capability::SmtpPipelining), "{line}");
        }
        assert!(!refused(
            "MAIL FROM:<a@b.test> BODY=7BIT",
            Capability::EightBitMime
        ));
        assert!(!refused("RCPT TO:<a@b.test>", Capability::Dsn));
    }
}
