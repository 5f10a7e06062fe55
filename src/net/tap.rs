//! What is said on a connection, for the log: commands and how they were answered, cut short,
//! without passwords and without mail. What is not known to be harmless is told by its size.

use std::mem::take;

/// Bytes of a line that are shown.
const SHOWN: usize = 200;
/// Longest line that is looked at, bytes; behind a longer one the client's words are not told.
const MAX_LINE: usize = 8 << 10;

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Imap,
    Pop3,
    /// With submission and LMTP.
    Smtp,
}

impl Dialect {
    /// Commands whose words may be shown after login, in SMTP always …
    fn open(self) -> &'static str {
        match self {
            Dialect::Imap => {
                "CAPABILITY NOOP LOGOUT ID STARTTLS ENABLE SELECT EXAMINE CREATE DELETE RENAME \
                 SUBSCRIBE UNSUBSCRIBE LIST LSUB XLIST NAMESPACE STATUS APPEND IDLE CHECK CLOSE \
                 UNSELECT EXPUNGE SEARCH SORT THREAD FETCH STORE COPY MOVE UID"
            }
            Dialect::Pop3 => {
                "CAPA NOOP QUIT STAT LIST UIDL RETR TOP DELE RSET LAST LANG UTF8 STLS XCLIENT"
            }
            Dialect::Smtp => {
                "EHLO HELO LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS XCLIENT"
            }
        }
    }

    /// … and those of which never more is told than that they came.
    fn closed(self) -> &'static str {
        match self {
            Dialect::Imap => "LOGIN AUTHENTICATE GENURLAUTH URLFETCH RESETKEY",
            Dialect::Pop3 => "USER PASS AUTH",
            Dialect::Smtp => "AUTH BURL",
        }
    }
}

/// Listens in on one connection.
pub struct Tap {
    dialect: Dialect,
    logged_in: bool,
    client: Lines,
    server: Lines,
    /// IMAP: of the last command.
    tag: Vec<u8>,
    /// SMTP: a message comes, up to its dot.
    in_message: bool,
    /// POP3: a command came, and no answer yet.
    asked: bool,
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    /// Bytes of a message or literal that are still to pass.
    skip: u64,
    /// The last line ended in CRLF, as the one before it did.
    is_whole: bool,
    had_crlf: bool,
    /// A line was too long to know what came behind it.
    lost: bool,
}

impl Tap {
    pub fn new(dialect: Dialect) -> Tap {
        Tap {
            dialect,
            logged_in: dialect == Dialect::Smtp,
            client: Lines::default(),
            server: Lines::default(),
            tag: Vec::new(),
            in_message: false,
            // The greeting.
            asked: true,
        }
    }

    pub fn logged_in(&mut self) {
        self.logged_in = true;
    }

    /// What the client has sent; each line for the log goes to `tell`.
    pub fn client(&mut self, mut bytes: &[u8], tell: &mut dyn FnMut(&str)) {
        while let Some(line) = self.client.next(&mut bytes) {
            self.command(&line, tell);
        }
    }

    /// What the server sends.
    pub fn server(&mut self, mut bytes: &[u8], tell: &mut dyn FnMut(&str)) {
        while let Some(line) = self.server.next(&mut bytes) {
            self.answer(&line, tell);
        }
    }

    fn command(&mut self, line: &[u8], tell: &mut dyn FnMut(&str)) {
        if self.in_message {
            // Nothing else ends a message (RFC 5321, 4.1.1.4).
            self.in_message = line != b"." || !self.client.is_whole;
            return;
        }
        self.asked = true;
        let mut words = line.split(|byte| *byte == b' ');
        let tag = match self.dialect {
            Dialect::Imap => words.next().unwrap_or_default(),
            Dialect::Pop3 | Dialect::Smtp => &[],
        };
        let verb = words.next().unwrap_or_default();
        let verb = String::from_utf8_lossy(verb).to_ascii_uppercase();
        let is_among = |verbs: &str| verbs.split_whitespace().any(|it| it == verb);
        let literal = literal(line).filter(|_| self.dialect == Dialect::Imap);
        if is_among(self.dialect.open()) && self.logged_in {
            tell(&format!("C: {}", shown(line)));
        } else if is_among(self.dialect.open()) || is_among(self.dialect.closed()) {
            let space = if tag.is_empty() { "" } else { " " };
            tell(&format!("C: {}{space}{verb} ...", shown(tag)));
        } else {
            tell(&format!("C: ({} bytes)", line.len()));
        }
        if !tag.is_empty() {
            self.tag = tag.to_vec();
        }
        self.client.skip = match (self.dialect, verb.as_str()) {
            (Dialect::Smtp, "BDAT") => size(words.next()),
            _ => literal.unwrap_or(0),
        };
        self.in_message = self.dialect == Dialect::Smtp && verb == "DATA";
    }

    fn answer(&mut self, line: &[u8], tell: &mut dyn FnMut(&str)) {
        let is_told = match self.dialect {
            Dialect::Imap => {
                self.server.skip = literal(line).unwrap_or(0);
                let tagged = line.strip_prefix(self.tag.as_slice());
                let tagged =
                    tagged.filter(|rest| !self.tag.is_empty() && rest.first() == Some(&b' '));
                tagged.is_some()
                    || line.starts_with(b"* BYE")
                    || take(&mut self.asked) && self.tag.is_empty()
            }
            // What follows the first line may be mail.
            Dialect::Pop3 => take(&mut self.asked),
            Dialect::Smtp => {
                match line.first() {
                    Some(b'4' | b'5') => self.in_message = false,
                    _ if line.starts_with(b"354") => self.in_message = true,
                    _ => {}
                }
                true
            }
        };
        if line.starts_with(b"334") || line.starts_with(b"+ ") {
            tell("S: (a challenge)");
        } else if is_told {
            tell(&format!("S: {}", shown(line)));
        }
    }
}

impl Lines {
    /// The next whole line, without its end.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Vec<u8>> {
        loop {
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            *bytes = bytes.get(skipped as usize..).unwrap_or_default();
            if bytes.is_empty() || self.lost {
                return None;
            }
            let end = memchr::memchr(b'\n', bytes);
            let (part, rest) = match end {
                Some(end) => (bytes.get(..end)?, bytes.get(end + 1..)?),
                None => (*bytes, &[][..]),
            };
            *bytes = rest;
            if self.line.len() + part.len() > MAX_LINE {
                self.lost = true;
                self.line = Vec::new();
                return None;
            }
            self.line.extend_from_slice(part);
            end?;
            let mut line = take(&mut self.line);
            let has_crlf = line.last() == Some(&b'\r');
            self.is_whole = has_crlf && self.had_crlf;
            self.had_crlf = has_crlf;
            if has_crlf {
                line.pop();
            }
            if !line.is_empty() {
                return Some(line);
            }
        }
    }
}

/// How many bytes of a literal follow (RFC 3501, 4.3; RFC 7888).
fn literal(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"}")?;
    let begin = memchr::memrchr(b'{', line)?;
    let number = line.get(begin + 1..)?;
    let number = number.strip_suffix(b"+").unwrap_or(number);
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn size(word: Option<&[u8]>) -> u64 {
    let text = word.and_then(|it| std::str::from_utf8(it).ok());
    text.and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn shown(line: &[u8]) -> String {
    let shown = line.get(..SHOWN).unwrap_or(line);
    let more = if shown.len() < line.len() { " ..." } else { "" };
    format!("{}{more}", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays lines of `C: ` and `S: `; what the log would have, cut at every place there is.
    fn heard(dialect: Dialect, talk: &[&str], login_before: usize) -> Vec<String> {
        let mut cuts: Vec<Vec<String>> = Vec::new();
        for size in [1, 3, 1000] {
            let mut tap = Tap::new(dialect);
            let mut log = Vec::new();
            for (n, line) in talk.iter().enumerate() {
                if n == login_before {
                    tap.logged_in();
                }
                let (who, text) = line.split_at(3);
                let bytes = format!("{text}\r\n");
                for part in bytes.as_bytes().chunks(size) {
                    let mut tell = |line: &str| log.push(line.to_string());
                    match who {
                        "C: " => tap.client(part, &mut tell),
                        _ => tap.server(part, &mut tell),
                    }
                }
            }
            cuts.push(log);
        }
        cuts.dedup();
        assert_eq!(cuts.len(), 1, "{cuts:?}");
        cuts.remove(0)
    }

    #[test]
    fn imap_is_told_without_passwords_and_mail() {
        let talk = [
            "S: * OK ready",
            "C: a LOGIN ann secret",
            "S: a NO wrong",
            "C: b LOGIN ann {6}\r\nsecret",
            "S: b OK in",
            "C: c AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=",
            "C: AGFubgBzZWNyZXQ=",
            "C: d SELECT secret",
            "C: e SELECT INBOX",
            "S: * 1 EXISTS",
            "S: e OK open",
            "C: f APPEND Sent {20}\r\nSubject: secret\r\n\r\nx",
            "S: * 1 FETCH (BODY[] {14}\r\nf OK a secret\n)",
            "S: f OK done",
            "C: g URLFETCH imap://secret",
            "C: secret",
        ];
        let log = heard(Dialect::Imap, &talk, 8);
        assert!(log.iter().all(|line| !line.contains("secret")), "{log:?}");
        assert_eq!(
            log,
            [
                "S: * OK ready",
                "C: a LOGIN ...",
                "S: a NO wrong",
                "C: b LOGIN ...",
                "S: b OK in",
                "C: c AUTHENTICATE ...",
                "C: (16 bytes)",
                "C: d SELECT ...",
                "C: e SELECT INBOX",
                "S: e OK open",
                "C: f APPEND Sent {20}",
                "S: f OK done",
                "C: g URLFETCH ...",
                "C: (6 bytes)",
            ]
        );
    }

    #[test]
    fn a_dot_between_bare_line_feeds_ends_no_message() {
        for dot in ["\n.\n", "\n.\r\n", "\r\n.\n"] {
            let text = format!("C: Subject: x{dot}RCPT TO:<secret>");
            let talk = [
                "C: DATA",
                "S: 354 go on",
                &text,
                "C: .",
                "S: 250 taken",
                "C: QUIT",
            ];
            let log = heard(Dialect::Smtp, &talk, 0);
            let told = ["C: DATA", "S: 354 go on", "S: 250 taken", "C: QUIT"];
            assert_eq!(log, told, "{dot:?}");
        }
    }

    #[test]
    fn pop3_and_smtp_likewise() {
        let talk = [
            "S: +OK hi",
            "C: USER secret",
            "S: +OK go on",
            "C: PASS secret",
            "S: +OK in",
            "C: RETR 1",
            "S: +OK 30 octets",
            "S: +OK secret",
            "S: .",
            "C: QUIT",
        ];
        assert_eq!(
            heard(Dialect::Pop3, &talk, 5),
            [
                "S: +OK hi",
                "C: USER ...",
                "S: +OK go on",
                "C: PASS ...",
                "S: +OK in",
                "C: RETR 1",
                "S: +OK 30 octets",
                "C: QUIT",
            ]
        );
        let talk = [
            "S: 220 hi",
            "C: AUTH LOGIN",
            "S: 334 VXNlcm5hbWU6",
            "C: c2VjcmV0",
            "S: 235 in",
            "C: MAIL FROM:<a@b.test>",
            "C: BDAT 8\r\nsecret",
            "C: DATA",
            "S: 250 ok",
            "S: 354 send",
            "C: QUIT, he said, secret",
            "C: .",
            "S: 250 taken",
            "C: DATA",
            "S: 503 no",
            "C: QUIT",
        ];
        let log = heard(Dialect::Smtp, &talk, 99);
        assert_eq!(
            log,
            [
                "S: 220 hi",
                "C: AUTH ...",
                "S: (a challenge)",
                "C: (8 bytes)",
                "S: 235 in",
                "C: MAIL FROM:<a@b.test>",
                "C: BDAT 8",
                "C: DATA",
                "S: 250 ok",
                "S: 354 send",
                "S: 250 taken",
                "C: DATA",
                "S: 503 no",
                "C: QUIT",
            ]
        );
    }

    #[test]
    fn behind_a_line_without_end_nothing_is_told() {
        let mut tap = Tap::new(Dialect::Imap);
        tap.logged_in();
        let mut log = Vec::new();
        let long = vec![b'x'; MAX_LINE + 1];
        tap.client(&long, &mut |line| log.push(line.to_string()));
        tap.client(b"\r\na NOOP\r\n", &mut |line| log.push(line.to_string()));
        assert_eq!(log, Vec::<String>::new());
        let mut tap = Tap::new(Dialect::Smtp);
        tap.client(&[&long[..SHOWN * 2], b"\r\n"].concat(), &mut |line| {
            log.push(line.to_string());
        });
        assert_eq!(log, ["C: (400 bytes)"]);
    }
}
