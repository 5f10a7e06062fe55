//! One message for one server: MAIL and RCPT as that server can take them, or why it can't.

use super::capabilities::Capabilities;
use super::text::Survey;
use crate::address::Address;
use crate::mail::outgoing::{Body, Envelope, Notify, Reply, Ret, utf8_xtext};

/// Most recipients of one transaction; RFC 5321, 4.5.3.1.8 has every server take these.
pub const MAX_RECIPIENTS: usize = 100;

/// REQUIRETLS is not there (RFC 8689, 4.2.1).
pub const NO_REQUIRETLS: &str = "5.7.30";

#[derive(Clone, Debug)]
pub struct Transaction {
    pub envelope: Envelope,
    pub recipients: Vec<To>,
    /// Bytes of the message as it is stored.
    pub size: u64,
    pub survey: Survey,
    /// Whether eight bits can be made seven, should the server need that.
    pub convertible: bool,
    /// Seconds since 1970, for what is left of DELIVERBY.
    pub now: i64,
}

/// One RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    pub address: Address,
    pub notify: Notify,
    pub original: Option<String>,
}

/// How the message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By DATA, dots doubled.
    Data,
    /// By one BDAT, as it is stored (RFC 3030).
    Bdat,
    /// By DATA, made seven bits first.
    Converted,
}

impl Transaction {
    /// How this server gets the message, or the reply that all recipients fail with.
    pub fn form(&self, server: &Capabilities) -> Result<Form, Reply> {
        let binary =
            self.envelope.body == Body::BinaryMime && (self.survey.lone || self.survey.nul);
        if server.size.is_some_and(|most| self.size > most) {
            return Err(refusal(
                "5.3.4",
                "the message is larger than the next server takes",
            ));
        }
        if self.needs_utf8() && !server.utf8 {
            return Err(refusal(
                "5.6.7",
                "the message has addresses or a header in UTF-8, which the next server can't take",
            ));
        }
        if self.needs_safety() && !server.require_tls {
            return Err(refusal(
                NO_REQUIRETLS,
                "the message requires TLS all the way, which the next server does not promise",
            ));
        }
        if let Some(by) = self.envelope.deliver_by
            && by.returns
        {
            let left = by.until - self.now;
            match server.deliver_by {
                Some(least) if left > 0 && left >= least => {}
                Some(_) => return Err(refusal("5.4.7", "its delivery can no longer be in time")),
                None => {
                    return Err(refusal(
                        "5.3.3",
                        "the next server can't promise when it delivers",
                    ));
                }
            }
        }
        if binary && !server.binary {
            return self.converted(
                "5.6.3",
                "the message is binary, which the next server can't take",
            );
        }
        if self.survey.eight_bit && !server.eight_bit {
            return self.converted(
                "5.6.3",
                "the message has 8-bit characters, which the next server can't take, and it is \
                 not of a kind that can be encoded anew",
            );
        }
        // What is to be mended goes by DATA, whose lines are mended on the way.
        match server.chunking && (binary || !self.survey.lone) {
            true => Ok(Form::Bdat),
            false => Ok(Form::Data),
        }
    }

    /// REQUIRETLS; but a notice is not lost for it (RFC 8689, 5).
    fn needs_safety(&self) -> bool {
        self.envelope.require_tls && self.envelope.sender.is_some()
    }

    /// Whether its sender wants to be told of a delay by a time that the server won't keep.
    fn loses_time(&self, server: &Capabilities) -> bool {
        let by = self.envelope.deliver_by;
        server.deliver_by.is_none() && by.is_some_and(|by| !by.returns && self.now < by.until)
    }

    fn converted(&self, enhanced: &str, text: &str) -> Result<Form, Reply> {
        match self.convertible && !self.survey.eight_bit_header {
            true => Ok(Form::Converted),
            false => Err(refusal(enhanced, text)),
        }
    }

    /// Whether nothing but SMTPUTF8 can carry it (RFC 6531, 3.1), recipients aside.
    fn needs_utf8(&self) -> bool {
        let sender = self.envelope.sender.as_ref();
        sender.is_some_and(|it| !it.local().is_ascii())
            || (self.envelope.smtputf8 && self.survey.eight_bit_header)
    }

    /// Whether SMTPUTF8 is said; then addresses go as they are.
    fn says_utf8(&self, server: &Capabilities) -> bool {
        let mut addresses = self.recipients.iter().map(|to| &to.address);
        server.utf8
            && (self.envelope.smtputf8
                || self.needs_utf8()
                || addresses.any(|it| !it.local().is_ascii()))
    }

    /// `MAIL FROM:<…> …`, line end included.
    pub fn mail(&self, server: &Capabilities, form: Form) -> Vec<u8> {
        let utf8 = self.says_utf8(server);
        let sender = self.envelope.sender.as_ref();
        let sender = sender.map_or_else(String::new, |it| written(it, utf8));
        let mut line = format!("MAIL FROM:<{sender}>");
        // What encoding anew makes of it is not known yet (RFC 1870, 6 allows an estimate).
        if server.size.is_some() && form != Form::Converted {
            line.push_str(&format!(" SIZE={}", self.size));
        }
        match self.body(server, form) {
            Body::SevenBit => {}
            Body::EightBitMime => line.push_str(" BODY=8BITMIME"),
            Body::BinaryMime => line.push_str(" BODY=BINARYMIME"),
        }
        if utf8 {
            line.push_str(" SMTPUTF8");
        }
        if self.envelope.require_tls && server.require_tls {
            line.push_str(" REQUIRETLS");
        }
        // RFC 6710, 4.2: whatever it is.
        if server.priority {
            line.push_str(&format!(" MT-PRIORITY={}", self.envelope.priority));
        }
        if let (Some(by), Some(_)) = (self.envelope.deliver_by, server.deliver_by) {
            let mode = if by.returns { 'R' } else { 'N' };
            let trace = if by.trace { "T" } else { "" };
            line.push_str(&format!(" BY={};{mode}{trace}", by.until - self.now));
        }
        if server.dsn {
            match self.envelope.ret {
                Some(Ret::Full) => line.push_str(" RET=FULL"),
                Some(Ret::Headers) => line.push_str(" RET=HDRS"),
                None => {}
            }
            if let Some(id) = &self.envelope.envelope_id {
                line.push_str(&format!(" ENVID={}", xtext(id)));
            }
        }
        line.push_str("\r\n");
        line.into_bytes()
    }

    fn body(&self, server: &Capabilities, form: Form) -> Body {
        let binary = form == Form::Bdat && (self.survey.lone || self.survey.nul);
        match form {
            Form::Converted => Body::SevenBit,
            _ if binary && server.binary && self.envelope.body == Body::BinaryMime => {
                Body::BinaryMime
            }
            _ if self.survey.eight_bit && server.eight_bit => Body::EightBitMime,
            _ => Body::SevenBit,
        }
    }

    /// `RCPT TO:<…> …`, or the reply that this recipient fails with.
    pub fn rcpt(&self, to: &To, server: &Capabilities) -> Result<Vec<u8>, Reply> {
        let utf8 = self.says_utf8(server);
        if !utf8 && !to.address.local().is_ascii() {
            return Err(refusal(
                "5.6.7",
                "the address is in UTF-8, which the next server can't take",
            ));
        }
        let mut line = format!("RCPT TO:<{}>", written(&to.address, utf8));
        if server.dsn {
            let wishes = match self.loses_time(server) {
                true => to.notify.with_delay(),
                false => to.notify,
            };
            if wishes.given {
                line.push_str(&format!(" NOTIFY={}", notify(wishes)));
            }
            let original = to.original.as_deref().and_then(|it| it.split_once(';'));
            if let Some((kind, address)) = original {
                line.push_str(&format!(" ORCPT={kind};"));
                line.push_str(&match kind.eq_ignore_ascii_case("utf-8") {
                    true => utf8_xtext(address),
                    false => xtext(address),
                });
            }
        }
        line.push_str("\r\n");
        Ok(line.into_bytes())
    }
}

/// Our own refusal: no server was asked.
pub fn refusal(enhanced: &str, text: &str) -> Reply {
    Reply {
        code: 0,
        enhanced: enhanced.to_owned(),
        text: text.to_owned(),
        server: None,
    }
}

fn notify(notify: Notify) -> String {
    let words = [
        (notify.success, "SUCCESS"),
        (notify.failure, "FAILURE"),
        (notify.delay, "DELAY"),
    ];
    let wanted: Vec<&str> = words.into_iter().filter(|it| it.0).map(|it| it.1).collect();
    match wanted.is_empty() {
        true => "NEVER".into(),
        false => wanted.join(","),
    }
}

/// As it goes over the wire; without SMTPUTF8 its domain in A-labels (RFC 6531, 3.2).
fn written(address: &Address, utf8: bool) -> String {
    let text = address.to_string();
    let domain = address.domain().as_str();
    if utf8 || domain.is_ascii() {
        return text;
    }
    let local = text.strip_suffix(domain).unwrap_or_default();
    match idna::domain_to_ascii(domain) {
        Ok(ascii) => format!("{local}{ascii}"),
        Err(_) => text,
    }
}

/// RFC 3461, 4.
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'+' | b'=') => out.push(char::from(byte)),
            _ => out.push_str(&format!("+{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
