//! A client's commands as types (RFC 5321, 4.1 and each extension's own grammar). What is
//! wrong with a line is the [`Reply`] to it.

use super::reply::Reply;
use crate::address::Address;
use crate::mail::outgoing::{Body, DeliverBy, Envelope, Notify, Ret};

/// Longest name of a client in EHLO, bytes.
const MAX_CLIENT_NAME: usize = 255;
/// Longest ENVID, bytes (RFC 3461, 4.4).
const MAX_ENVID: usize = 100;
/// Longest ORCPT, bytes (RFC 3461, 4.2).
const MAX_ORCPT: usize = 500;

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
            ("ENVID", Some(value)) if is_xtext(value) && value.len() <= MAX_ENVID => {
                mail.envelope.envelope_id = Some(decoded(value));
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

fn body(value: &str) -> Result<Body, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(Body::SevenBit),
        "8BITMIME" | "BINARYMIME" => Ok(Body::EightBitMime),
        _ => Err(not_that_body()),
    }
}

/// Of a BODY that is not offered.
pub fn not_that_body() -> Reply {
    Reply::new(504, "5.5.4", "BODY is 7BIT or 8BITMIME")
}

/// `-9` to `9` (RFC 6710, 4.1).
fn priority(value: &str) -> Result<i8, Reply> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    match value.parse() {
        Ok(priority @ -9..=9) if digits.len() == 1 => Ok(priority),
        _ => Err(SYNTAX),
    }
}

/// `by-time ";" by-mode [by-trace]` (RFC 2852, 4). A message that is to come back must have
/// some time.
fn deliver_by(value: &str) -> Result<DeliverBy, Reply> {
    let (time, mode) = value.split_once(';').ok_or(SYNTAX)?;
    let digits = time.strip_prefix(['-', '+']).unwrap_or(time);
    let fits = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let until: i64 = time.parse().ok().filter(|_| fits).ok_or(SYNTAX)?;
    let (returns, trace) = match mode.to_ascii_uppercase().as_str() {
        "N" => (false, false),
        "NT" => (false, true),
        "R" => (true, false),
        "RT" => (true, true),
        _ => return Err(SYNTAX),
    };
    if returns && until <= 0 {
        return Err(SYNTAX);
    }
    Ok(DeliverBy {
        until,
        returns,
        trace,
    })
}

/// `future-release-integer`: 1 to 999999999, seconds.
fn hold_for(value: &str) -> Result<Hold, Reply> {
    match number(value) {
        Some(seconds @ 1..=999_999_999) if value.len() <= 9 => Ok(Hold::For(seconds as i64)),
        _ => Err(SYNTAX),
    }
}

/// The date-time of RFC 3339, 5.6 (RFC 4865, erratum 2040).
fn hold_until(value: &str) -> Result<Hold, Reply> {
    const DAY: usize = "2026-01-02T".len();
    let shape = value.is_ascii()
        && value
            .as_bytes()
            .get(DAY - 1)
            .is_some_and(|it| it.eq_ignore_ascii_case(&b'T'))
        && value
            .get(DAY..)
            .is_some_and(|it| it.contains(['Z', 'z', '+', '-']) && !it.contains('['));
    let moment: Result<jiff::Timestamp, _> = value.parse();
    match moment {
        Ok(moment) if shape => Ok(Hold::Until(moment.as_second())),
        _ => Err(SYNTAX),
    }
}

fn ret(value: &str) -> Result<Ret, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Ret::Full),
        "HDRS" => Ok(Ret::Headers),
        _ => Err(SYNTAX),
    }
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
            ("ORCPT", Some(value)) if is_original_recipient(value) => {
                wishes.original = Some(decoded(value));
            }
            ("NOTIFY" | "ORCPT", _) => return Err(SYNTAX),
            _ => return Err(unknown_parameter(&keyword)),
        }
    }
    Ok((recipient, wishes))
}

pub fn unknown_parameter(keyword: &str) -> Reply {
    Reply::with(
        555,
        "5.5.4",
        format!("The parameter {keyword} is not known"),
    )
}

/// `NEVER`, or a list of the others (RFC 3461, 4.1).
fn notify(value: &str) -> Result<Notify, Reply> {
    let mut notify = Notify {
        success: false,
        failure: false,
        delay: false,
        given: true,
    };
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for event in value.split(',') {
        match event.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return Err(SYNTAX),
        }
    }
    Ok(notify)
}

/// `addr-type ";" xtext`, or utf-8-address in place of the xtext (RFC 6533, 3).
fn is_original_recipient(value: &str) -> bool {
    let Some((kind, address)) = value.split_once(';') else {
        return false;
    };
    let atom = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    value.len() <= MAX_ORCPT
        && !kind.is_empty()
        && kind.bytes().all(atom)
        && !address.is_empty()
        && (kind.eq_ignore_ascii_case("utf-8") || is_xtext(address))
}

/// What an xtext stands for; as it is where that is more than a line of text, which could
/// forge fields of a notice.
fn decoded(xtext: &str) -> String {
    let mut bytes = Vec::with_capacity(xtext.len());
    let mut rest = xtext.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) if *first == b'+' => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text,
        _ => xtext.into(),
    }
}

/// `*(xchar / "+" 2HEXDIG)`, upper case (RFC 3461, 4).
fn is_xtext(value: &str) -> bool {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'+' => bytes.next().is_some_and(hex) && bytes.next().is_some_and(hex),
            b'=' => false,
            byte => byte.is_ascii_graphic(),
        };
        if !fits {
            return false;
        }
    }
    !value.is_empty()
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
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

/// `keyword ["=" value]`, each keyword once, in upper case.
struct Parameters<'a>(Vec<(String, Option<&'a str>)>);

impl<'a> Parameters<'a> {
    fn new(text: &'a str) -> Result<Parameters<'a>, Reply> {
        let mut parameters: Vec<(String, Option<&str>)> = Vec::new();
        for word in text.split_ascii_whitespace() {
            let (keyword, value) = match word.split_once('=') {
                Some((keyword, value)) => (keyword, Some(value)),
                None => (word, None),
            };
            let keyword = keyword.to_ascii_uppercase();
            if value == Some("") || parameters.iter().any(|(it, _)| *it == keyword) {
                return Err(SYNTAX);
            }
            parameters.push((keyword, value));
        }
        Ok(Parameters(parameters))
    }
}

impl<'a> IntoIterator for Parameters<'a> {
    type Item = (String, Option<&'a str>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> u16 {
        parse(line.as_bytes()).err().map_or(250, |reply| reply.code)
    }

    fn mail_of(line: &str) -> Mail {
        match parse(line.as_bytes()) {
            Ok(Command::Mail(mail)) => mail,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn verbs_are_found_in_any_case_and_take_what_they_take() {
        assert_eq!(parse(b"quit"), Ok(Command::Quit));
        assert_eq!(parse(b"rSeT  "), Ok(Command::Rset));
        assert_eq!(parse(b"NOOP whatever"), Ok(Command::Noop));
        assert_eq!(
            parse(b"EHLO [192.0.2.1]"),
            Ok(Command::Ehlo("[192.0.2.1]".into()))
        );
        assert_eq!(
            parse("EHLO bücher".as_bytes()),
            Ok(Command::Ehlo("b-cher".into()))
        );
        for line in [
            "EHLO",
            "EHLO a b",
            "HELO a;b",
            "RSET now",
            "DATA x",
            "VRFY",
            "STARTTLS 1",
        ] {
            assert_eq!(code(line), 501, "{line}");
        }
        for line in ["", "HALLO x", "MAILFROM:<a@b.de>"] {
            assert_eq!(code(line), 500, "{line}");
        }
        assert_eq!(parse(b"NOOP \0").err().map(|r| r.code), Some(500));
        assert_eq!(parse(b"NOOP \xff").err().map(|r| r.code), Some(500));
    }

    #[test]
    fn mail_takes_its_parameters() {
        let mail = mail_of(
            "MAIL FROM:<a@b.de> SIZE=100 BODY=8bitmime RET=hdrs ENVID=QQ+2B1 AUTH=<> SMTPUTF8",
        );
        let expected = Envelope {
            sender: Address::parse("a@b.de").ok(),
            smtputf8: true,
            body: Body::EightBitMime,
            envelope_id: Some("QQ+1".into()),
            ret: Some(Ret::Headers),
            ..Envelope::default()
        };
        assert_eq!((mail.size, mail.envelope), (Some(100), expected));
        assert_eq!(mail.sender.map(|path| path.text), Some("a@b.de".into()));
        assert_eq!(mail_of("mail from:<>").sender, None);
        assert_eq!(mail_of("MAIL FROM: <a@b.de>").size, None);
        let routed = mail_of("MAIL FROM:<@x.de,@y.de:a@b.de>").sender;
        assert_eq!(routed.map(|path| path.text), Some("a@b.de".into()));
        let quoted = mail_of("MAIL FROM:<\"a>\\\"b\"@b.de> SIZE=1").sender;
        assert_eq!(
            quoted.map(|path| path.address.local().into()),
            Some("a>\"b".to_string())
        );
    }

    #[test]
    fn mail_says_when_how_and_how_urgently() {
        let mail = mail_of("MAIL FROM:<a@b.de> REQUIRETLS MT-PRIORITY=-3 BY=+120;rt");
        let by = DeliverBy {
            until: 120,
            returns: true,
            trace: true,
        };
        assert_eq!(mail.deliver_by, Some(by));
        assert_eq!(
            (mail.envelope.priority, mail.envelope.require_tls),
            (-3, true)
        );
        let late = mail_of("MAIL FROM:<a@b.de> BY=-120;N").deliver_by;
        assert_eq!(late.map(|by| (by.until, by.returns)), Some((-120, false)));
        for wrong in [
            "REQUIRETLS=1",
            "MT-PRIORITY",
            "MT-PRIORITY=10",
            "MT-PRIORITY=+1",
            "MT-PRIORITY=-",
            "BY=0;R",
            "BY=-1;R",
            "BY=1234567890;R",
            "BY=10",
            "BY=10;X",
            "BY=;N",
            "BY=--1;N",
        ] {
            assert_eq!(code(&format!("MAIL FROM:<a@b.de> {wrong}")), 501, "{wrong}");
        }
    }

    #[test]
    fn mail_says_how_long_it_is_held_back() {
        for (parameter, expected) in [
            ("HOLDFOR=1", Hold::For(1)),
            ("holdfor=999999999", Hold::For(999_999_999)),
            ("HOLDUNTIL=1970-01-02T00:00:00Z", Hold::Until(86_400)),
            ("HOLDUNTIL=1970-01-02t01:00:00.5+01:00", Hold::Until(86_400)),
        ] {
            let mail = mail_of(&format!("MAIL FROM:<a@b.de> {parameter}"));
            assert_eq!(mail.hold, Some(expected));
        }
        for wrong in [
            "HOLDFOR",
            "HOLDFOR=0",
            "HOLDFOR=-1",
            "HOLDFOR=1000000000",
            "HOLDFOR=1h",
            "HOLDUNTIL=86400",
            "HOLDUNTIL=1970-01-02",
            "HOLDUNTIL=1970-01-02T00:00:00",
            "HOLDUNTIL=1970-13-02T00:00:00Z",
            "HOLDUNTIL=1970-01-02T00:00:00Z[UTC]",
            "HOLDFOR=1 HOLDUNTIL=1970-01-02T00:00:00Z",
            "HOLDFOR=1 HOLDFOR=2",
        ] {
            assert_eq!(code(&format!("MAIL FROM:<a@b.de> {wrong}")), 501, "{wrong}");
        }
    }

    #[test]
    fn rcpt_says_what_to_tell() {
        let notify = |line: &str| match parse(line.as_bytes()) {
            Ok(Command::Rcpt(_, wishes)) => {
                let it = wishes.notify;
                (it.success, it.failure, it.delay, it.given)
            }
            other => panic!("{line}: {other:?}"),
        };
        for (parameter, expected) in [
            ("", (false, true, true, false)),
            (" NOTIFY=never", (false, false, false, true)),
            (" NOTIFY=SUCCESS,delay", (true, false, true, true)),
            (" NOTIFY=FAILURE", (false, true, false, true)),
        ] {
            assert_eq!(notify(&format!("RCPT TO:<a@b.de>{parameter}")), expected);
        }
    }

    #[test]
    fn what_mail_and_rcpt_refuse() {
        for (line, expected) in [
            ("MAIL FROM:a@b.de", 501),
            ("MAIL TO:<a@b.de>", 501),
            ("MAIL", 501),
            ("MAIL FROM:<a@b.de", 501),
            ("MAIL FROM:<a b@c.de>", 501),
            ("MAIL FROM:<a@b.de>SIZE=1", 501),
            ("MAIL FROM:<a@b.de> SIZE=-1", 501),
            ("MAIL FROM:<a@b.de> SIZE=", 501),
            ("MAIL FROM:<a@b.de> SIZE", 501),
            ("MAIL FROM:<a@b.de> SIZE=1 size=2", 501),
            ("MAIL FROM:<a@b.de> BODY=9BITMIME", 504),
            ("MAIL FROM:<a@b.de> SMTPUTF8=1", 501),
            ("MAIL FROM:<a@b.de> RET=ALL", 501),
            ("MAIL FROM:<a@b.de> ENVID=a=b", 501),
            ("MAIL FROM:<a@b.de> ENVID=a+zz", 501),
            ("MAIL FROM:<a@b.de> X-TRA=1", 555),
            ("MAIL FROM:<ä@b.de>", 553),
            ("RCPT TO:<>", 501),
            ("RCPT TO:<a@b.de> NOTIFY=NEVER,DELAY", 501),
            ("RCPT TO:<a@b.de> NOTIFY=", 501),
            ("RCPT TO:<a@b.de> ORCPT=rfc822", 501),
            ("RCPT TO:<a@b.de> ORCPT=rfc822;a=b", 501),
            ("RCPT TO:<a@b.de> SIZE=1", 555),
            ("BDAT", 501),
            ("BDAT x", 501),
            ("BDAT 1 FIRST", 501),
            ("AUTH", 501),
            ("AUTH PLAIN a b", 501),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
        for line in [
            "RCPT TO:<a@b.de> NOTIFY=success,FAILURE ORCPT=rfc822;a+2Bb@c.de",
            "RCPT TO:<postmaster>",
            "RCPT TO:<Postmaster@b.de>",
            "BDAT 0 LAST",
            "BDAT 18446744073709551615",
            "AUTH PLAIN =",
        ] {
            assert_eq!(code(line), 250, "{line}");
        }
    }
}
