//! What is said over the control socket: one line a request, words between spaces, every
//! byte of a word that is no printable ASCII escaped as `%XX`. Pure but for the reader.

use super::{
    Addressing, Administrator, Auditing, Certificate, Certificates, Checking, Choosing, Collecting,
    Homes, Keys, Lifecycle, Queue, Routing, SettingUp, Updating, World, addressing, administrator,
    auditing, certificates, checking, collecting, homes, keys, lifecycle, queue, routing, settings,
    setup, tls,
};
use crate::address::Address;
use crate::secret::Secret;
use std::io::{self, BufRead, Read};

/// Longest line of an answer, bytes.
const MAX_ROW: u64 = 64 << 10;
/// Most rows of an answer.
const MAX_ROWS: usize = 100_000;

/// Verbs of requests that change nothing.
const READING: [&str; 12] = [
    "list",
    "show",
    "get",
    "changes",
    "check",
    "test",
    "status",
    "authority",
    "state",
    "last",
    "try",
    "facts",
];

/// The requests that come in groups, a file of `control/` each: a line here is all that a
/// further group takes beside its file. A group is a type that has `words` and `read`; the
/// line says what logs show of it and who performs it in a [`World`].
macro_rules! groups {
    (in $world:ident; $($group:ident: |$it:ident| $described:expr, $performed:expr;)+) => {
        /// What the owner asks for.
        #[derive(Debug)]
        pub enum Request {
            AddAccount {
                address: Address,
                password: Secret<String>,
            },
            /// Rows of address, messages, bytes.
            ListAccounts,
            SetPassword {
                address: Address,
                password: Secret<String>,
            },
            DeleteAccount {
                address: Address,
            },
            /// Rows of name, value.
            ShowAccount {
                address: Address,
            },
            /// An option by its name, as [`crate::mail::option`] has them.
            SetOption {
                address: Address,
                option: String,
                value: String,
            },
            /// Rows as [`super::Vitals`] and the store have them; see `control/status.rs`.
            Status,
            AddAlias {
                alias: Address,
                account: Address,
            },
            RemoveAlias {
                alias: Address,
            },
            /// Rows of alias, account.
            ListAliases,
            $($group($group),)+
        }

        /// What logs show of a group's request.
        fn describe_group(request: &Request) -> String {
            match request {
                $(Request::$group($it) => $described,)+
                _ => String::new(),
            }
        }

        /// The words of a group's request.
        fn group_words(request: &Request) -> Option<Secret<Vec<String>>> {
            Some(match request {
                $(Request::$group(it) => it.words().into(),)+
                _ => return None,
            })
        }

        fn read_group(words: &[&str]) -> Option<Result<Request, String>> {
            $(if let Some(read) = $group::read(words) {
                return Some(read.map(Request::$group));
            })+
            None
        }

        /// What is of no group comes back.
        pub(super) async fn perform_group(
            $world: &World<'_>,
            request: Request,
        ) -> Result<Reply, Request> {
            Ok(match request {
                $(Request::$group($it) => $performed,)+
                request => return Err(request),
            })
        }
    };
}

groups! {
    in world;
    Addressing: |it| it.words().join(" "), addressing::perform(world.store, it).await;
    Administrator: |it| it.describe(), administrator::perform(
        world.store,
        world.running.map(|it| &it.guesses),
        world.live(),
        it,
    )
    .await;
    Queue: |it| it.words().join(" "), queue::perform(world.store, it).await;
    Routing: |it| it.describe(), {
        let transport = world.running.map(|it| &*it.transport);
        routing::perform(world.store, transport, it).await
    };
    Collecting: |it| it.describe(), collecting::perform(world.store, it).await;
    Keys: |it| it.words().join(" "), keys::perform(world.store, it).await;
    Certificates: |it| it.words().join(" "), certificates::perform(world.store, it).await;
    Homes: |it| it.describe(), homes::perform(world.store, it).await;
    Choosing: |it| it.describe(), {
        settings::perform(world.store, world.live(), world.who, it).await
    };
    SettingUp: |it| it.describe(), {
        setup::perform(world.store, world.live(), world.who, it).await
    };
    Auditing: |it| it.words().join(" "), auditing::perform(world.store, it).await;
    Certificate: |it| it.word().replace('-', " "), {
        tls::perform(world.running.map(|it| &*it.keeper), it)
    };
    Checking: |it| it.words().join(" "), {
        checking::perform(world.store, world.running.map(|it| &it.checks), it).await
    };
    Lifecycle: |it| it.words().join(" "), {
        lifecycle::perform(world.store, world.live(), world.who, it).await
    };
    // What there is to do is the note of it.
    Updating: |it| it.words().join(" "), {
        drop(it);
        Ok(Vec::new())
    };
}

/// Rows of words, or a sentence that says why not.
pub type Reply = Result<Vec<Vec<String>>, String>;

impl Request {
    /// For logs: what, and to whom, without secrets.
    pub fn describe(&self) -> String {
        match self {
            Request::AddAccount { address, .. } => format!("account add {address}"),
            Request::ListAccounts => "account list".to_string(),
            Request::SetPassword { address, .. } => format!("account password {address}"),
            Request::DeleteAccount { address } => format!("account delete {address}"),
            Request::ShowAccount { address } => format!("account show {address}"),
            Request::SetOption {
                address,
                option,
                value,
            } => format!("account set {address} {option} {value}"),
            Request::AddAlias { alias, account } => format!("alias add {alias} {account}"),
            Request::RemoveAlias { alias } => format!("alias remove {alias}"),
            Request::ListAliases => "alias list".to_string(),
            Request::Status => "status show".to_string(),
            group => describe_group(group),
        }
    }

    /// Whether it changes anything: then the audit log has it.
    pub fn changes(&self) -> bool {
        let text = self.describe();
        let mut words = text.split(' ');
        let first = words.next().unwrap_or_default();
        let verb = match first.rsplit_once('-') {
            Some((_, verb)) => verb,
            None => words.next().unwrap_or(first),
        };
        !READING.contains(&verb)
    }

    /// The request's line.
    pub fn write(&self) -> Secret<Vec<u8>> {
        let mut line = Vec::new();
        let mut put = |words: &[&str]| {
            for word in words {
                line.extend_from_slice(if line.is_empty() { b"" } else { b" " });
                escape(word, &mut line);
            }
        };
        match self {
            Request::AddAccount { address, password } => {
                put(&["account-add", &address.to_string(), password.reveal()]);
            }
            Request::ListAccounts => put(&["account-list"]),
            Request::SetPassword { address, password } => {
                put(&["account-password", &address.to_string(), password.reveal()]);
            }
            Request::DeleteAccount { address } => put(&["account-delete", &address.to_string()]),
            Request::ShowAccount { address } => put(&["account-show", &address.to_string()]),
            Request::SetOption {
                address,
                option,
                value,
            } => put(&["account-set", &address.to_string(), option, value]),
            Request::AddAlias { alias, account } => {
                put(&["alias-add", &alias.to_string(), &account.to_string()]);
            }
            Request::RemoveAlias { alias } => put(&["alias-remove", &alias.to_string()]),
            Request::ListAliases => put(&["alias-list"]),
            Request::Status => put(&["status"]),
            group => {
                if let Some(words) = group_words(group) {
                    let words = words.reveal().iter().map(String::as_str);
                    put(&words.collect::<Vec<_>>());
                }
            }
        }
        line.push(b'\n');
        Secret::new(line)
    }

    /// Reads a line without its end.
    pub fn read(line: &[u8]) -> Result<Request, String> {
        let words = unescape_all(line).ok_or("the request is malformed")?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let address = |text: &str| Address::parse(text).map_err(|error| error.to_string());
        let secret = |text: &str| Secret::new(text.to_string());
        Ok(match words.as_slice() {
            ["account-add", to, password] => Request::AddAccount {
                address: address(to)?,
                password: secret(password),
            },
            ["account-list"] => Request::ListAccounts,
            ["account-password", to, password] => Request::SetPassword {
                address: address(to)?,
                password: secret(password),
            },
            ["account-delete", who] => Request::DeleteAccount {
                address: address(who)?,
            },
            ["account-show", who] => Request::ShowAccount {
                address: address(who)?,
            },
            ["account-set", who, option, value] => Request::SetOption {
                address: address(who)?,
                option: option.to_string(),
                value: value.to_string(),
            },
            ["alias-add", alias, account] => Request::AddAlias {
                alias: address(alias)?,
                account: address(account)?,
            },
            ["alias-remove", alias] => Request::RemoveAlias {
                alias: address(alias)?,
            },
            ["alias-list"] => Request::ListAliases,
            ["status"] => Request::Status,
            words => {
                return read_group(words)
                    .unwrap_or_else(|| Err("the server does not know this request".to_string()));
            }
        })
    }
}

/// `row WORD …` lines, then `ok` or `error TEXT`.
pub fn write_reply(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    match reply {
        Ok(rows) => {
            for row in rows {
                out.extend_from_slice(b"row");
                for word in row {
                    out.push(b' ');
                    escape(word, &mut out);
                }
                out.push(b'\n');
            }
            out.extend_from_slice(b"ok\n");
        }
        Err(error) => {
            out.extend_from_slice(b"error ");
            escape(error, &mut out);
            out.push(b'\n');
        }
    }
    out
}

/// Reads what [`write_reply`] wrote.
pub fn read_reply(from: &mut impl BufRead) -> io::Result<Reply> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut rows = Vec::new();
    while rows.len() < MAX_ROWS {
        let mut line = Vec::new();
        from.by_ref().take(MAX_ROW).read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\n").ok_or_else(malformed)?;
        let mut words = unescape_all(line).ok_or_else(malformed)?.into_iter();
        match words.next().as_deref() {
            Some("row") => rows.push(words.collect()),
            Some("ok") => return Ok(Ok(rows)),
            Some("error") => return Ok(Err(words.next().unwrap_or_default())),
            _ => break,
        }
    }
    Err(malformed())
}

fn escape(word: &str, out: &mut Vec<u8>) {
    for &byte in word.as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

fn unescape_all(line: &[u8]) -> Option<Vec<String>> {
    line.split(|&byte| byte == b' ').map(unescape).collect()
}

fn unescape(word: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let password = || Secret::new("two words, 100%\n and an é".to_string());
        let requests = [
            Request::AddAccount {
                address: address("\"odd one\"@example.org"),
                password: password(),
            },
            Request::ListAccounts,
            Request::SetPassword {
                address: address("bücher@bücher.example"),
                password: password(),
            },
            Request::DeleteAccount {
                address: address("a@example.org"),
            },
            Request::ShowAccount {
                address: address("a@example.org"),
            },
            Request::SetOption {
                address: address("a@example.org"),
                option: "pop3-order".to_string(),
                value: "a b".to_string(),
            },
            Request::AddAlias {
                alias: address("b@example.org"),
                account: address("a@example.org"),
            },
            Request::RemoveAlias {
                alias: address("b@example.org"),
            },
            Request::ListAliases,
            Request::Addressing(Addressing::RemoveGroup {
                group: address("team@example.org"),
            }),
            Request::Queue(Queue::List(crate::control::Which::All)),
        ];
        for request in requests {
            let line = request.write();
            let line = line.reveal().strip_suffix(b"\n").unwrap().to_vec();
            assert!(!line.contains(&b'\n'));
            let again = Request::read(&line).unwrap();
            assert_eq!(again.write().reveal(), request.write().reveal());
            assert_eq!(again.describe(), request.describe());
            for text in [format!("{again:?}"), again.describe()] {
                assert!(!text.contains("two words"), "{text}");
            }
        }
    }

    #[test]
    fn what_changes_something_is_known_by_its_verb() {
        for (line, changes) in [
            ("account-list", false),
            ("account-show list@b.de", false),
            ("account-delete list@b.de", true),
            ("alias-add list@b.de a@b.de", true),
            ("alias-list", false),
            ("device-remove list", true),
            ("catch-all-set b.de a@b.de", true),
            ("catch-all-list", false),
            ("queue-drop all", true),
            ("queue-list all", false),
            ("setting-list", false),
            ("setting-set smtp.tarpit 1s", true),
            ("setting-changes", false),
            ("route-list", false),
            ("status", false),
            ("check-state", false),
            ("check-last", false),
            ("check-start quick repair", true),
            ("route-remove default", true),
            ("log-show x 1 login 9", false),
            ("update-install 0.2.0", true),
            ("update-confirm list", true),
            ("setup-facts", false),
            ("setup-apply language en", true),
        ] {
            let request = Request::read(line.as_bytes()).unwrap();
            assert_eq!(request.changes(), changes, "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for line in [
            "",
            " ",
            "account-add",
            "account-list x",
            "alias-add a@x%zz",
            "%",
        ] {
            assert!(Request::read(line.as_bytes()).is_err(), "{line}");
        }
        assert!(Request::read(b"account-delete no-domain").is_err());
        assert!(Request::read(b"\xff\xfe").is_err());
    }

    #[test]
    fn every_reply_is_read_as_it_was_written() {
        let rows = vec![
            vec!["a b".to_string(), "".to_string()],
            vec!["c%".to_string()],
        ];
        for reply in [Ok(rows), Ok(vec![]), Err("no, that\nis it".to_string())] {
            let bytes = write_reply(&reply);
            assert_eq!(read_reply(&mut bytes.as_slice()).unwrap(), reply);
            // A server that dies half-way is an error, not an empty answer.
            let cut = &bytes[..bytes.len() - 1];
            assert!(read_reply(&mut &cut[..]).is_err());
        }
    }
}
