//! The clients that fetch from providers, against servers that say anything at all.

use super::fuzz_sessions;
use pillarbox::imap::client as imap;
use pillarbox::mail::UidSet;
use pillarbox::pop3::client as pop3;

const IMAP: [&[u8]; 9] = [
    b"* OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n* 172 EXISTS\r\n* OK [UIDVALIDITY 3857529045] x\r\np1 OK [READ-WRITE] done\r\n",
    b"* PREAUTH hi\r\n* 3 FETCH (FLAGS (\\Seen $Work) BODY[] {11}\r\nab)\r\n{3}\r\nx UID 17)\r\np1 OK\r\n",
    b"* OK x\r\n* 1 FETCH (UID 5 MODSEQ (77) X (\"a)\\\"\" (b {2}\r\n()) NIL) BODY[] \"h\\\\i\" RFC822.SIZE 4)\r\n",
    b"* OK x\r\n* 2 FETCH (BODY[] NIL INTERNALDATE \" 2-Feb-2026 10:00:00 +0100\" UID 6)\r\n",
    b"* OK x\r\n* 1 FETCH (BODY[] {1}\r\nx BODY[] {1}\r\ny)\r\n",
    b"* OK x\r\n* 1 FETCH (BODY[HEADER.FIELDS (A)] {3}\r\nabc BODY[] {0}\r\n)\r\np1 NO [TRYCREATE] no\r\n",
    b"* OK x\r\n* LIST () \"/\" {3}\r\nfoo\r\n* BYE bye\r\n",
    b"* BYE [UNAVAILABLE] later\r\n",
    b"* OK x\r\n* 1 FETCH (X (((((((((((((((((((((())))))))))))))))))))))\r\n* 4294967296 EXISTS\r\n",
];

const POP3: [&[u8]; 8] = [
    b"+OK hi\r\n+OK\r\none\r\n.\r\n-ERR gone\r\n+OK deleted\r\n+OK\r\n1 x\r\n.\r\n",
    b"+OK hi\r\n+OK 99\r\n..\r\na\r\n..b\r\n\n.\r\nbare\n.\r\n.\r\n",
    b"+OK hi\r\n+OK\r\n1 whqtswO00WBw418f9t5JxYwZ\r\n2 x y\r\n.\r\n",
    b"+OK hi\r\n+OK\r\nSASL PLAIN SCRAM-SHA-256\r\nUIDL\r\n..x\r\n.\r\n",
    b"+OK hi\r\n+ cGxlYXNl\r\n-ERR [AUTH] no\r\n",
    b"-ERR [SYS/TEMP] later\r\n",
    b"+OK hi\r\n+OK\r\n.\r\n+OK\r\n",
    b"+OK\n+OK\n..\n.\n",
];

/// A command for each kind of world.
const KINDS: u8 = 4;
/// And for POP3 several at once.
const TOGETHER: u8 = KINDS;

#[test]
fn imap_servers() {
    fuzz_sessions("imap client", &IMAP, KINDS, |bytes, kind, size| {
        let mut client = imap::Client::default();
        let mut told = Vec::new();
        let mut data = Vec::new();
        // Announced and not yet there.
        let mut left: u64 = 0;
        let uids = UidSet::from_ranges(vec![(1, 1)]);
        let mut rest = bytes;
        for _ in 0..16 * bytes.len() + 64 {
            match client.step() {
                Ok(imap::Step::NeedInput) if rest.is_empty() => break,
                Ok(imap::Step::NeedInput) => {
                    let (slice, more) = rest.split_at(size().clamp(1, rest.len()));
                    client.input().push(slice);
                    rest = more;
                }
                Ok(imap::Step::Data(bytes)) => {
                    left = left.checked_sub(bytes.len() as u64).expect("announced");
                    data.extend_from_slice(bytes);
                }
                Ok(imap::Step::Event(event)) => {
                    assert_eq!(left, 0, "{event:?} inside of a message");
                    if let imap::Event::Body(size) = event {
                        left = size;
                    }
                    if let imap::Event::Greeting { .. } = event {
                        let command = match kind {
                            0 => imap::Command::Fetch(&uids),
                            1 => imap::Command::Select("x"),
                            2 => imap::Command::Idle,
                            _ => imap::Command::Capability,
                        };
                        client.command(&command, &mut Vec::new());
                    }
                    told.push(format!("{event:?} {}", data.escape_ascii()));
                    data.clear();
                }
                Err(error) => {
                    told.push(error.to_string());
                    return told;
                }
            }
        }
        told.push(format!("{left} {}", data.escape_ascii()));
        told
    });
}

#[test]
fn pop3_servers() {
    fuzz_sessions("pop3 client", &POP3, KINDS + 1, |bytes, kind, size| {
        let mut client = pop3::Client::default();
        let mut told = Vec::new();
        let mut data = Vec::new();
        let mut greeted = false;
        let mut rest = bytes;
        for _ in 0..16 * bytes.len() + 64 {
            match client.step() {
                Ok(pop3::Step::NeedInput) if rest.is_empty() => break,
                Ok(pop3::Step::NeedInput) => {
                    let (slice, more) = rest.split_at(size().clamp(1, rest.len()));
                    client.input().push(slice);
                    rest = more;
                }
                Ok(pop3::Step::Data(bytes)) => {
                    let asked = kind == 0 || kind == TOGETHER;
                    assert!(greeted && asked, "data that nobody asked for");
                    data.extend_from_slice(bytes);
                }
                Ok(pop3::Step::Event(event)) => {
                    if !greeted {
                        greeted = true;
                        let command = match kind {
                            0 | TOGETHER => pop3::Command::Retr(1),
                            1 => pop3::Command::Uidl,
                            2 => pop3::Command::Capa,
                            _ => pop3::Command::Auth {
                                mechanism: "PLAIN",
                                initial: None,
                            },
                        };
                        client.command(&command, &mut Vec::new());
                        if kind == TOGETHER {
                            for command in [
                                pop3::Command::Retr(2),
                                pop3::Command::Dele(1),
                                pop3::Command::Uidl,
                            ] {
                                client.command(&command, &mut Vec::new());
                            }
                        }
                    }
                    told.push(format!("{event:?} {}", data.escape_ascii()));
                    data.clear();
                }
                Err(error) => {
                    told.push(error.to_string());
                    return told;
                }
            }
        }
        told.push(data.escape_ascii().to_string());
        told
    });
}
