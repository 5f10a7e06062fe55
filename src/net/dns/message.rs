//! DNS messages (RFC 1035, 4; EDNS(0) of RFC 6891): questions out, answers in. Pure.

use domain::base::iana::{Class, Rcode};
use domain::base::message::RecordSection;
use domain::base::name::ToName;
use domain::base::rdata::{ParseRecordData, UnknownRecordData};
use domain::base::record::ParsedRecord;
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, Name, ParsedName};
use domain::rdata;
use std::fmt;
use std::io;
use std::net::IpAddr;

pub use domain::base::iana::Rtype;

/// Most records of one answer; one with more is refused.
pub const MAX_RECORDS: usize = 100;
/// Records of any kind that are looked at in one message.
const MAX_LOOKED_AT: usize = 1000;
/// What a server may send in one datagram: fits any path unfragmented (DNS flag day 2020).
pub const MAX_DATAGRAM: usize = 1232;

/// A name and what is asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    name: Name<Vec<u8>>,
    rtype: Rtype,
}

/// What an answer is kept under: the name in lower case, and the type.
pub type Key = (String, Rtype);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Address(IpAddr),
    Mx(Mx),
    Text(Vec<u8>),
    Tlsa(Tlsa),
    Srv(Srv),
    Name(String),
}

/// A mail exchange (RFC 1035, 3.3.9).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// The lowest comes first.
    pub preference: u16,
    /// Empty in a null MX (RFC 7505).
    pub exchange: String,
}

/// A certificate association (RFC 6698, 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    pub usage: u8,
    pub selector: u8,
    pub matching: u8,
    pub data: Vec<u8>,
}

/// Where a service is (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// Empty where the service is decidedly not available.
    pub target: String,
}

/// A message that answers our question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Reading(Reading),
    /// To be asked again over TCP.
    Truncated,
    Refused(Code),
}

/// What the answer comes to. `seconds`: how long it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    Found {
        records: Vec<Data>,
        /// Whose records they are, aliases followed.
        name: String,
        authentic: bool,
        seconds: u32,
    },
    /// The name is an alias, and the server has left it to us to ask for the other.
    Alias {
        to: Question,
        authentic: bool,
        seconds: u32,
    },
    NoName {
        seconds: u32,
    },
    NoData {
        seconds: u32,
    },
}

/// Why a server doesn't answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// As it says itself.
    Said(Rcode),
    Malformed,
    TooMany,
    TooManyAliases,
}

impl Question {
    /// `None` for what is no name in the DNS. U-labels become A-labels.
    pub fn new(name: &str, rtype: Rtype) -> Option<Question> {
        let ascii = match name.is_ascii() {
            true => name.to_ascii_lowercase(),
            false => idna::domain_to_ascii(name).ok()?,
        };
        let name = Name::vec_from_str(&ascii).ok()?;
        Some(Question { name, rtype })
    }

    pub fn key(&self) -> Key {
        (text(&self.name), self.rtype)
    }

    /// The query. It asks for validation's outcome too (AD: RFC 6840, 5.7).
    pub fn write(&self, id: u16, edns: bool) -> io::Result<Vec<u8>> {
        let short = |_| io::Error::other("the query does not fit");
        let mut builder = MessageBuilder::new_vec();
        let header = builder.header_mut();
        header.set_id(id);
        header.set_rd(true);
        header.set_ad(true);
        let mut question = builder.question();
        question.push((&self.name, self.rtype)).map_err(short)?;
        let mut additional = question.additional();
        if edns {
            let size = |opt: &mut domain::base::message_builder::OptBuilder<'_, Vec<u8>>| {
                opt.set_udp_payload_size(MAX_DATAGRAM as u16);
                Ok(())
            };
            additional.opt(size).map_err(short)?;
        }
        Ok(additional.finish())
    }
}

/// `1.2.0.192.in-addr.arpa` and the like (RFC 1035, 3.5; RFC 3596, 2.5).
pub fn reverse(address: IpAddr) -> Option<String> {
    let name = Name::<Vec<u8>>::reverse_from_addr(address.to_canonical()).ok()?;
    Some(text(&name))
}

/// Reads a message. `None` if it does not answer that question: then it is a stray, a late or
/// a forged one, and the right one may still come.
pub fn read(bytes: &[u8], question: &Question, id: u16) -> Option<Incoming> {
    let message = Message::from_octets(bytes).ok()?;
    let header = message.header();
    if !header.qr() || header.id() != id {
        return None;
    }
    let asked = message.sole_question().ok();
    let ours = asked.as_ref().is_some_and(|asked| {
        asked.qname().name_eq(&question.name)
            && asked.qtype() == question.rtype
            && asked.qclass() == Class::IN
    });
    // A server that understood nothing may give the question back empty.
    let without = header.rcode() == Rcode::FORMERR && message.header_counts().qdcount() == 0;
    if !ours && !without {
        return None;
    }
    if header.tc() {
        return Some(Incoming::Truncated);
    }
    Some(match header.rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => match answer(&message, question) {
            Ok(reading) => Incoming::Reading(reading),
            Err(code) => Incoming::Refused(code),
        },
        code => Incoming::Refused(Code::Said(code)),
    })
}

fn answer(message: &Message<&[u8]>, question: &Question) -> Result<Reading, Code> {
    let authentic = message.header().ad();
    let mut seconds = u32::MAX;
    let name = canonical(message, question, &mut seconds)?;
    let mut records = Vec::new();
    for record in section(message.answer())? {
        let record = record?;
        if record.rtype() != question.rtype || !record.owner().name_eq(&name) {
            continue;
        }
        if records.len() >= MAX_RECORDS {
            return Err(Code::TooMany);
        }
        seconds = seconds.min(record.ttl().as_secs());
        records.push(data(&record).ok_or(Code::Malformed)?);
    }
    if !records.is_empty() {
        return Ok(Reading::Found {
            records,
            name: text(&name),
            authentic,
            seconds,
        });
    }
    let negative = negative_seconds(message)?;
    let stands = seconds.min(negative.unwrap_or(0));
    if message.header().rcode() == Rcode::NXDOMAIN {
        return Ok(Reading::NoName { seconds: stands });
    }
    if negative.is_none() && name != question.name {
        let to = Question {
            name,
            rtype: question.rtype,
        };
        return Ok(Reading::Alias {
            to,
            authentic,
            seconds,
        });
    }
    Ok(Reading::NoData { seconds: stands })
}

/// The name that the answer's chain of aliases leads to.
fn canonical(
    message: &Message<&[u8]>,
    question: &Question,
    seconds: &mut u32,
) -> Result<Name<Vec<u8>>, Code> {
    let mut name = question.name.clone();
    if question.rtype == Rtype::CNAME {
        return Ok(name);
    }
    for _ in 0..=super::MAX_ALIASES {
        let mut next = None;
        for record in section(message.answer())? {
            let record = record?;
            if record.rtype() == Rtype::CNAME && record.owner().name_eq(&name) {
                let alias: rdata::Cname<_> = parsed(&record).ok_or(Code::Malformed)?;
                *seconds = (*seconds).min(record.ttl().as_secs());
                next = Some(alias.cname().to_name::<Vec<u8>>());
                break;
            }
        }
        match next {
            Some(next) => name = next,
            None => return Ok(name),
        }
    }
    Err(Code::TooManyAliases)
}

/// How long "there is none" stands, by the SOA that came with it (RFC 2308, 5).
fn negative_seconds(message: &Message<&[u8]>) -> Result<Option<u32>, Code> {
    for record in section(message.authority())? {
        let record = record?;
        if record.rtype() == Rtype::SOA {
            let soa: rdata::Soa<_> = parsed(&record).ok_or(Code::Malformed)?;
            let least = record.ttl().as_secs().min(soa.minimum().as_secs());
            return Ok(Some(least));
        }
    }
    Ok(None)
}

type Octets<'a> = &'a [u8];

fn section<'a>(
    section: Result<RecordSection<'a, Octets<'a>>, ParseError>,
) -> Result<impl Iterator<Item = Result<ParsedRecord<'a, Octets<'a>>, Code>>, Code> {
    let section = section.map_err(|_| Code::Malformed)?;
    Ok(section
        .take(MAX_LOOKED_AT)
        .map(|record| record.map_err(|_| Code::Malformed)))
}

fn parsed<'a, T: ParseRecordData<'a, Octets<'a>>>(
    record: &ParsedRecord<'a, Octets<'a>>,
) -> Option<T> {
    let record = record.to_record::<T>().ok().flatten()?;
    Some(record.into_data())
}

fn data(record: &ParsedRecord<'_, Octets<'_>>) -> Option<Data> {
    Some(match record.rtype() {
        Rtype::A => Data::Address(IpAddr::V4(parsed::<rdata::A>(record)?.addr())),
        Rtype::AAAA => Data::Address(IpAddr::V6(parsed::<rdata::Aaaa>(record)?.addr())),
        Rtype::MX => {
            let mx: rdata::Mx<ParsedName<_>> = parsed(record)?;
            Data::Mx(Mx {
                preference: mx.preference(),
                exchange: text(mx.exchange()),
            })
        }
        Rtype::TXT => {
            let txt: rdata::Txt<_> = parsed(record)?;
            Data::Text(txt.text())
        }
        Rtype::TLSA => {
            let bytes: UnknownRecordData<&[u8]> = parsed(record)?;
            let (&[usage, selector, matching], data) = bytes.data().split_first_chunk()?;
            Data::Tlsa(Tlsa {
                usage,
                selector,
                matching,
                data: data.to_vec(),
            })
        }
        Rtype::SRV => {
            let srv: rdata::Srv<ParsedName<_>> = parsed(record)?;
            Data::Srv(Srv {
                priority: srv.priority(),
                weight: srv.weight(),
                port: srv.port(),
                target: text(srv.target()),
            })
        }
        Rtype::PTR => Data::Name(text(
            parsed::<rdata::Ptr<ParsedName<_>>>(record)?.ptrdname(),
        )),
        Rtype::CNAME => Data::Name(text(parsed::<rdata::Cname<ParsedName<_>>>(record)?.cname())),
        _ => return None,
    })
}

/// In lower case and without the last dot: the root is empty.
fn text(name: &impl ToName) -> String {
    let name: Name<Vec<u8>> = name.to_name();
    match name.is_root() {
        true => String::new(),
        false => name.to_string().to_ascii_lowercase(),
    }
}

impl Reading {
    pub fn seconds(&self) -> u32 {
        match self {
            Reading::Found { seconds, .. }
            | Reading::Alias { seconds, .. }
            | Reading::NoName { seconds }
            | Reading::NoData { seconds } => *seconds,
        }
    }
}

impl Data {
    pub fn into_name(self) -> Option<String> {
        match self {
            Data::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Bytes, about.
    pub fn size(&self) -> usize {
        match self {
            Data::Address(_) => 16,
            Data::Mx(mx) => mx.exchange.len() + 2,
            Data::Text(text) => text.len(),
            Data::Tlsa(tlsa) => tlsa.data.len() + 3,
            Data::Srv(srv) => srv.target.len() + 6,
            Data::Name(name) => name.len(),
        }
    }
}

impl Code {
    pub fn is_format_error(self) -> bool {
        matches!(self, Code::Said(Rcode::FORMERR | Rcode::NOTIMP))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Code::Said(code) => write!(f, "{code}"),
            Code::Malformed => f.write_str("with bytes that are no DNS message"),
            Code::TooMany => write!(f, "with more than {MAX_RECORDS} records"),
            Code::TooManyAliases => f.write_str("with too many aliases"),
        }
    }
}
