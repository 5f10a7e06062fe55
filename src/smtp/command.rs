//! A client's commands as types (RFC 5321, 4.1 and each extension's own grammar). What is
//! wrong with a line is the [`Reply`] to it.

mod parameter;

pub use parameter::{not_that_body, unknown_parameter};

use super::reply::Reply;
use crate::address::Address;
use crate::mail::outgoing::{DeliverBy, Envelope, Notify};
use parameter::{
    MAX_ENVID, Parameters, body, decoded, deliver_by, hold_for, hold_until, is_xtext, notify,
    number, original_recipient, priority, ret,
};

/// Longest name of a client in EHLO, bytes.
const MAX_CLIENT_NAME: usize = 255;

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Helo(String),
    Ehlo(String),
    /// LMTP's EHLO (RFC 2033, 4.1).
    Lhlo(String),
    StartTls,
    /// The initial response is still in base64.
    Auth {
        mechanism: String,
        initial: Option<String>,
    },
    /// `NAME=value`, and more of them.
    Xclient(String),
    Mail(Mail),
    Rcpt(Recipient, Wishes),
    Data,
    Bdat {
        size: u64,
        last: bool,
    },
    /// RFC 4468.
    Burl {
        url: String,
        last: bool,
    },
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
}

/// `MAIL FROM:<reverse-path> [parameters]`. AUTH is checked and not kept: whom another
/// server believed says nothing here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// `None` is the null path `<>`.
    pub sender: Option<Path>,
    pub size: Option<u64>,
    /// BY: seconds from now, and what then; `until` of it is still to come.
    pub deliver_by: Option<DeliverBy>,
    /// BODY=BINARYMIME: the message comes by BDAT alone (RFC 3030, 3). What is stored, and goes
    /// on, is not binary any more.
    pub binary: bool,
    pub hold: Option<Hold>,
    /// All that the next server is told.
    pub envelope: Envelope,
}

/// HOLDFOR or HOLDUNTIL: how long the message is held back (RFC 4865, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Seconds after it came, 1 to 999,999,999.
    For(i64),
    /// Seconds since 1970.
    Until(i64),
}

/// What RCPT asks to be told of (RFC 3461, 4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    pub notify: Notify,
    /// ORCPT, decoded.
    pub original: Option<String>,
}

/// `RCPT TO:<forward-path>`.
#[derive(Debug, PartialEq, Eq)]
pub enum Recipient {
    /// `<Postmaster>`, without a domain (RFC 5321, 4.1.1.3).
    Postmaster,
    Path(Path),
}

/// An address, and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub address: Address,
    pub text: String,
}

const SYNTAX: Reply = Reply::new(501, "5.5.4", "Syntax error in parameters or arguments");

/// Reads one line without its end.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    const TEXT: Reply = Reply::new(500, "5.5.2", "A command is a line of text");
    let line = std::str::from_utf8(line).map_err(|_| TEXT)?.trim_end();
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(TEXT);
    }
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim();
    let alone = |command| match argument {
        "" => Ok(command),
        _ => Err(SYNTAX),
    };
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => client_name(argument).map(Command::Helo),
        "EHLO" => client_name(argument).map(Command::Ehlo),
        "LHLO" => client_name(argument).map(Command::Lhlo),
        "STARTTLS" => alone(Command::StartTls),
        "AUTH" => auth(argument),
        "XCLIENT" => Ok(Command::Xclient(argument.to_owned())),
        "MAIL" => mail(argument).map(Command::Mail),
        "RCPT" => recipient(argument).map(|(to, wishes)| Command::Rcpt(to, wishes)),
        "DATA" => alone(Command::Data),
        "BDAT" => bdat(argument),
        "BURL" => burl(argument),
        "RSET" => alone(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" if argument.is_empty() => Err(SYNTAX),
        "VRFY" => Ok(Command::Vrfy),
        "EXPN" => Ok(Command::Expn),
        "HELP" => Ok(Command::Help),
        "QUIT" => alone(Command::Quit),
        _ => Err(Reply::new(500, "5.5.1", "Command not recognized")),
    }
}

/// A domain or an address literal; lenient, since many clients send what they are called
/// at home, but only what may stand in a Received field.
fn client_name(name: &str) -> Result<String, Reply> {
    let fits = |c: char| c.is_alphanumeric() || "._-:[]".contains(c);
    if name.is_empty() || name.len() > MAX_CLIENT_NAME || !name.chars().all(fits) {
        return Err(Reply::new(
            501,
            "5.5.4",
            "Give your host name: EHLO client.example.org",
        ));
    }
    // A letter beyond ASCII can't stand in the Received of a message without SMTPUTF8.
    let ascii = |c: char| if c.is_ascii() { c } else { '-' };
    Ok(name.chars().map(ascii).collect())
}

/// `AUTH mechanism [initial-response]` (RFC 4954, 4); `=` is an empty response.
fn auth(argument: &str) -> Result<Command, Reply> {
    let mut words = argument.split_ascii_whitespace();
    let mechanism = words.next().ok_or(SYNTAX)?.to_owned();
    let initial = words.next().map(|word| match word {
        "=" => String::new(),
        word => word.into(),
    });
    match words.next() {
        Some(_) => Err(SYNTAX),
        None => Ok(Command::Auth { mechanism, initial }),
    }
}

/// `BDAT chunk-size [LAST]` (RFC 3030, 2).
fn bdat(argument: &str) -> Result<Command, Reply> {
    let (size, last) = end_marker(argument)?;
    let size = number(size).ok_or(SYNTAX)?;
    Ok(Command::Bdat { size, last })
}

/// `BURL absolute-URI [LAST]` (RFC 4468, 3.5).
fn burl(argument: &str) -> Result<Command, Reply> {
    let (url, last) = end_marker(argument)?;
    match url.contains("://") {
        true => Ok(Command::Burl {
            url: url.into(),
            last,
        }),
        false => Err(SYNTAX),
    }
}

fn end_marker(argument: &str) -> Result<(&str, bool), Reply> {
    match argument.split_once(' ') {
        Some((it, last)) if last.trim().eq_ignore_ascii_case("LAST") => Ok((it, true)),
        Some(_) => Err(SYNTAX),
        None => Ok((argument, false)),
    }
}

fn mail(argument: &str) -> Result<Mail, Reply> {
    let (path, parameters) = split_path(argument, "FROM:")?;
    let mut mail = Mail {
        sender: match path {
            "" => None,
            path => Some(parse_path(path, "5.1.7")?),
        },
        ..Mail::default()
    };
    for (keyword, value) in Parameters::new(parameters)? {
        match (keyword.as_str(), value) {
            ("SIZE", Some(value)) => mail.size = Some(number(value).ok_or(SYNTAX)?),
            ("BODY", Some(value)) => {
                mail.envelope.body = body(value)?;
                mail.binary = value.eq_ignore_ascii_case("BINARYMIME");
            }
            ("SMTPUTF8", None) => mail.envelope.smtputf8 = true,
            ("AUTH", Some(value)) if is_xtext(value) => {}
            ("RET", Some(value)) => mail.envelope.ret = Some(ret(value)?),
            ("ENVID", Some(value)) if value.len() <= MAX_ENVID => {
                mail.envelope.envelope_id = Some(decoded(value)?);
            }
            ("REQUIRETLS", None) => mail.envelope.require_tls = true,
            ("MT-PRIORITY", Some(value)) => mail.envelope.priority = priority(value)?,
            ("BY", Some(value)) => mail.deliver_by = Some(deliver_by(value)?),
            ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH" | "RET" | "ENVID", _) => return Err(SYNTAX),
            ("HOLDFOR" | "HOLDUNTIL", _) if mail.hold.is_some() => return Err(SYNTAX),
            ("HOLDFOR", Some(value)) => mail.hold = Some(hold_for(value)?),
            ("HOLDUNTIL", Some(value)) => mail.hold = Some(hold_until(value)?),
            ("REQUIRETLS" | "MT-PRIORITY" | "BY", _) => return Err(SYNTAX),
            ("HOLDFOR" | "HOLDUNTIL", _) => return Err(SYNTAX),
            _ => return Err(unknown_parameter(&keyword)),
        }
    }
    let ascii = mail.sender.as_ref().is_none_or(|it| it.text.is_ascii());
    if !mail.envelope.smtputf8 && !ascii {
        return Err(needs_smtputf8());
    }
    mail.envelope.sender = mail.sender.as_ref().map(|it| it.address.clone());
    Ok(mail)
}

/// RFC 6531, 3.5.
pub fn needs_smtputf8() -> Reply {
    Reply::new(
        553,
        "5.6.7",
        "An address beyond ASCII needs the SMTPUTF8 parameter of MAIL",
    )
}

fn recipient(argument: &str) -> Result<(Recipient, Wishes), Reply> {
    let (path, parameters) = split_path(argument, "TO:")?;
    let recipient = match path {
        path if path.eq_ignore_ascii_case("postmaster") => Recipient::Postmaster,
        path => Recipient::Path(parse_path(path, "5.1.3")?),
    };
    let mut wishes = Wishes::default();
    for (keyword, value) in Parameters::new(parameters)? {
        match (keyword.as_str(), value) {
            ("NOTIFY", Some(value)) => wishes.notify = notify(value)?,
            ("ORCPT", Some(value)) => wishes.original = Some(original_recipient(value)?),
            ("NOTIFY" | "ORCPT", _) => return Err(SYNTAX),
            _ => return Err(unknown_parameter(&keyword)),
        }
    }
    Ok((recipient, wishes))
}

/// What is between the angle brackets, and what follows them.
fn split_path<'a>(argument: &'a str, keyword: &str) -> Result<(&'a str, &'a str), Reply> {
    let wrong = || {
        let text = format!("Syntax: {keyword}<name@domain>");
        Reply::with(501, "5.5.4", text)
    };
    let head = argument.get(..keyword.len()).ok_or_else(wrong)?;
    let rest = argument.get(keyword.len()..).ok_or_else(wrong)?;
    // A space before the bracket is wrong and common.
    let path = rest.trim_start().strip_prefix('<');
    let path = path
        .filter(|_| head.eq_ignore_ascii_case(keyword))
        .ok_or_else(wrong)?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                let (path, rest) = path.split_at(at);
                let parameters = rest.get(1..).unwrap_or_default();
                return match parameters.is_empty() || parameters.starts_with(' ') {
                    true => Ok((path, parameters)),
                    false => Err(wrong()),
                };
            }
            _ => {}
        }
    }
    Err(wrong())
}

/// A mailbox; the source route of old, `@a,@b:`, is passed over (RFC 5321, appendix C).
fn parse_path(path: &str, enhanced: &'static str) -> Result<Path, Reply> {
    let mailbox = match path.starts_with('@') {
        true => path.split_once(':').map_or(path, |(_, mailbox)| mailbox),
        false => path,
    };
    match Address::parse(mailbox) {
        Ok(address) => Ok(Path {
            address,
            text: mailbox.into(),
        }),
        Err(error) => Err(Reply::new(501, enhanced, error.0)),
    }
}

#[cfg(test)]
mod tests;
