//! The row of a queued message.

use super::codec::{Reader, put, put_bytes, put_signed};
use super::error::{Error, Result};
use crate::address::Address;
use crate::mail::outgoing::*;
use crate::mail::{AccountId, EmailId};

/// The first number of a row; another form would have another.
const FORM: u64 = 2;
/// As above, without saying whether the message is ours.
const FORM_WITHOUT_OURS: u64 = 1;

/// Everything but the id, which is the key.
pub(super) fn encode(item: &QueueItem) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    put(&mut out, FORM);
    put(&mut out, item.email.0);
    put(&mut out, u64::from(item.size));
    put(
        &mut out,
        item.account.map_or(0, |account| u64::from(account.0) + 1),
    );
    put(&mut out, u64::from(item.ours));
    put_bytes(&mut out, item.name.as_bytes());
    put_signed(&mut out, item.submitted);
    put(&mut out, u64::from(item.held));
    put_envelope(&mut out, &item.envelope);
    put(&mut out, item.recipients.len() as u64);
    for recipient in &item.recipients {
        put_recipient(&mut out, recipient);
    }
    // Behind what rows had before, so that an older program still reads them.
    for (place, recipient) in item.recipients.iter().enumerate() {
        if let Some(accepted) = &recipient.accepted {
            put(&mut out, place as u64);
            put_bytes(&mut out, accepted.to_string().as_bytes());
        }
    }
    out
}

pub(super) fn decode(id: QueueId, bytes: &[u8]) -> Result<QueueItem> {
    let row = &mut Reader(bytes);
    let mut item = take_head(id, row)?;
    for _ in 0..row.take()? {
        item.recipients.push(take_recipient(row)?);
    }
    while !row.0.is_empty() {
        let place = row.take()?;
        let accepted = address(row.take_str()?)?;
        let recipient = usize::try_from(place).ok();
        match recipient.and_then(|place| item.recipients.get_mut(place)) {
            Some(recipient) => recipient.accepted = Some(accepted),
            None => return Err(Error::corrupt("a recipient's place")),
        }
    }
    Ok(item)
}

/// All but the recipients, who are the most of a row.
pub(super) fn decode_head(id: QueueId, bytes: &[u8]) -> Result<QueueItem> {
    take_head(id, &mut Reader(bytes))
}

fn take_head(id: QueueId, row: &mut Reader<'_>) -> Result<QueueItem> {
    let form = row.take()?;
    if !matches!(form, FORM | FORM_WITHOUT_OURS) {
        return Err(Error::corrupt("a queued message of another form"));
    }
    let email = EmailId(row.take()?);
    let size = row.take_u32()?;
    let account = match row.take()? {
        0 => None,
        account => Some(AccountId((account - 1) as u32)),
    };
    Ok(QueueItem {
        id,
        email,
        size,
        account,
        ours: match form {
            FORM => row.take()? != 0,
            // Nobody else is known to have written it here.
            _ => account.is_some(),
        },
        name: row.take_str()?.into(),
        submitted: row.take_signed()?,
        held: row.take()? != 0,
        envelope: take_envelope(row)?,
        recipients: Vec::new(),
    })
}

fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    put_text(out, envelope.sender.as_ref().map(Address::to_string));
    put(out, u64::from(envelope.smtputf8));
    put(
        out,
        match envelope.body {
            Body::SevenBit => 0,
            Body::EightBitMime => 1,
            Body::BinaryMime => 2,
        },
    );
    put_text(out, envelope.envelope_id.clone());
    put(
        out,
        match envelope.ret {
            None => 0,
            Some(Ret::Full) => 1,
            Some(Ret::Headers) => 2,
        },
    );
    put(out, u64::from(envelope.require_tls));
    put_signed(out, i64::from(envelope.priority));
    match envelope.deliver_by {
        None => put(out, 0),
        Some(by) => {
            put(out, 1);
            put_signed(out, by.until);
            put(out, u64::from(by.returns));
            put(out, u64::from(by.trace));
        }
    }
    match (envelope.hold_until, envelope.hold_for) {
        (None, _) => put(out, 0),
        (Some(until), None) => {
            put(out, 1);
            put_signed(out, until);
        }
        (Some(until), Some(seconds)) => {
            put(out, 2);
            put_signed(out, until);
            put_signed(out, seconds);
        }
    }
}

fn take_envelope(row: &mut Reader<'_>) -> Result<Envelope> {
    let mut envelope = Envelope {
        sender: take_text(row)?.map(|text| address(&text)).transpose()?,
        smtputf8: row.take()? != 0,
        body: match row.take()? {
            0 => Body::SevenBit,
            1 => Body::EightBitMime,
            _ => Body::BinaryMime,
        },
        envelope_id: take_text(row)?,
        ret: match row.take()? {
            0 => None,
            1 => Some(Ret::Full),
            _ => Some(Ret::Headers),
        },
        require_tls: row.take()? != 0,
        priority: row.take_signed()?.clamp(-9, 9) as i8,
        deliver_by: match row.take()? {
            0 => None,
            _ => Some(DeliverBy {
                until: row.take_signed()?,
                returns: row.take()? != 0,
                trace: row.take()? != 0,
            }),
        },
        ..Envelope::default()
    };
    let hold = row.take()?;
    if hold > 0 {
        envelope.hold_until = Some(row.take_signed()?);
    }
    if hold > 1 {
        envelope.hold_for = Some(row.take_signed()?);
    }
    Ok(envelope)
}

fn put_recipient(out: &mut Vec<u8>, recipient: &Recipient) {
    put_bytes(out, recipient.address.to_string().as_bytes());
    let notify = recipient.notify;
    let bits = [notify.success, notify.failure, notify.delay, notify.given];
    put(
        out,
        bits.iter()
            .rev()
            .fold(0, |bits, &bit| bits << 1 | u64::from(bit)),
    );
    put_text(out, recipient.original.clone());
    match &recipient.status {
        Status::Waiting {
            attempts,
            next,
            last,
            told,
        } => {
            put(out, 0);
            put(out, u64::from(*attempts));
            put_signed(out, *next);
            put(out, u64::from(*told));
            put(out, u64::from(last.is_some()));
            if let Some(reply) = last {
                put_reply(out, reply);
            }
        }
        Status::Delivered(reply) => {
            put(out, 1);
            put_reply(out, reply);
        }
        Status::Failed(reply) => {
            put(out, 2);
            put_reply(out, reply);
        }
    }
}

fn take_recipient(row: &mut Reader<'_>) -> Result<Recipient> {
    let address = address(row.take_str()?)?;
    let bits = row.take()?;
    Ok(Recipient {
        address,
        notify: Notify {
            success: bits & 1 != 0,
            failure: bits & 2 != 0,
            delay: bits & 4 != 0,
            given: bits & 8 != 0,
        },
        original: take_text(row)?,
        accepted: None,
        status: match row.take()? {
            0 => Status::Waiting {
                attempts: row.take_u32()?,
                next: row.take_signed()?,
                told: row.take()? != 0,
                last: match row.take()? {
                    0 => None,
                    _ => Some(take_reply(row)?),
                },
            },
            1 => Status::Delivered(take_reply(row)?),
            2 => Status::Failed(take_reply(row)?),
            _ => return Err(Error::corrupt("a recipient's status")),
        },
    })
}

fn put_reply(out: &mut Vec<u8>, reply: &Reply) {
    put(out, u64::from(reply.code));
    put_bytes(out, reply.enhanced.as_bytes());
    put_bytes(out, cut(&reply.text, MAX_REPLY).as_bytes());
    put_text(out, reply.server.clone());
}

fn take_reply(row: &mut Reader<'_>) -> Result<Reply> {
    Ok(Reply {
        code: u16::try_from(row.take()?).unwrap_or_default(),
        enhanced: row.take_str()?.into(),
        text: row.take_str()?.into(),
        server: take_text(row)?,
    })
}

/// The start of `text`, `most` bytes at most.
fn cut(text: &str, most: usize) -> &str {
    let mut ends = (0..=most.min(text.len())).rev();
    let end = ends.find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn put_text(out: &mut Vec<u8>, text: Option<String>) {
    put(out, u64::from(text.is_some()));
    if let Some(text) = text {
        put_bytes(out, text.as_bytes());
    }
}

fn take_text(row: &mut Reader<'_>) -> Result<Option<String>> {
    Ok(match row.take()? {
        0 => None,
        _ => Some(row.take_str()?.into()),
    })
}

fn address(text: &str) -> Result<Address> {
    Address::parse(text).map_err(|_| Error::corrupt("a queued message's address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        Reply {
            code: 450,
            enhanced: "4.2.0".into(),
            text: text.into(),
            server: Some("mx.example.net".into()),
        }
    }

    #[test]
    fn rows_come_back() {
        let recipient = |address: &str, status| Recipient {
            address: Address::parse(address).unwrap(),
            notify: Notify {
                success: true,
                failure: false,
                delay: true,
                given: true,
            },
            original: Some("rfc822;ann@example.org".into()),
            accepted: None,
            status,
        };
        let waiting = Status::Waiting {
            attempts: 3,
            next: 1_800_000_000,
            last: Some(reply("busy")),
            told: true,
        };
        let item = QueueItem {
            id: QueueId(9),
            email: EmailId(1 << 40),
            size: 70_000,
            account: Some(AccountId(0)),
            ours: true,
            name: "7f".into(),
            submitted: -5,
            held: true,
            envelope: Envelope {
                sender: Address::parse("\"a b\"@bücher.example").ok(),
                smtputf8: true,
                body: Body::BinaryMime,
                envelope_id: Some("QQ".into()),
                ret: Some(Ret::Headers),
                require_tls: true,
                priority: -9,
                deliver_by: Some(DeliverBy {
                    until: 5,
                    returns: true,
                    trace: false,
                }),
                hold_until: Some(7),
                hold_for: Some(12),
            },
            recipients: vec![
                recipient("почта@пример.рф", waiting),
                recipient("b@c.de", Status::Delivered(reply("ok"))),
                recipient("c@[IPv6:2001:db8::1]", Status::Failed(reply("no"))),
            ],
        };
        let row = encode(&item);
        assert_eq!(decode(QueueId(9), &row), Ok(item.clone()));
        for end in 0..row.len() {
            assert!(decode(QueueId(9), &row[..end]).is_err());
        }
        let plain = QueueItem {
            account: None,
            ours: false,
            envelope: Envelope::default(),
            held: false,
            ..item
        };
        assert_eq!(decode(QueueId(9), &encode(&plain)), Ok(plain.clone()));
        // Who stands for whom is behind what an older program reads, and nothing is where nobody
        // does.
        let before = encode(&plain);
        let mut group = plain;
        group.recipients[1].accepted = Some(Address::parse("команда@пример.рф").unwrap());
        let row = encode(&group);
        assert!(row.starts_with(&before));
        assert_eq!(decode(QueueId(9), &row), Ok(group));
        for end in before.len() + 1..row.len() {
            assert!(decode(QueueId(9), &row[..end]).is_err());
        }
        let nobody = [&before[..], &[3, 1, b'x']].concat();
        assert!(decode(QueueId(9), &nobody).is_err());
    }

    /// Rows of the form before: whether a message is ours follows from who submitted it.
    #[test]
    fn rows_of_the_first_form_are_read() {
        for account in [None, Some(AccountId(3))] {
            let item = QueueItem {
                id: QueueId(9),
                email: EmailId(4),
                size: 5,
                account,
                ours: account.is_some(),
                name: "7f".into(),
                submitted: 6,
                held: false,
                envelope: Envelope::default(),
                recipients: Vec::new(),
            };
            // Form, email, size, account, ours: a byte each.
            let mut row = encode(&item);
            assert_eq!(row[4], u8::from(item.ours));
            row.remove(4);
            row[0] = 1;
            assert_eq!(decode(QueueId(9), &row), Ok(item));
            row[0] = 3;
            assert!(decode(QueueId(9), &row).is_err());
        }
    }

    #[test]
    fn a_long_reply_is_cut() {
        assert_eq!(cut("aüb", 2), "a");
        let mut out = Vec::new();
        put_reply(&mut out, &reply(&"ü".repeat(MAX_REPLY)));
        let text = take_reply(&mut Reader(&out)).unwrap().text;
        assert_eq!(text.len(), MAX_REPLY);
    }
}
