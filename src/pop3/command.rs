//! A client's commands as types (RFC 1939, 2449, 2595, 5034, 6856).

use super::text::Text;
use crate::secret::Secret;

#[derive(Debug)]
pub enum Command {
    Capa,
    Stls,
    /// Without a mechanism it asks which there are. The initial response is in base64.
    Auth {
        mechanism: Option<String>,
        initial: Option<String>,
    },
    User(String),
    Pass(Secret<String>),
    /// `NAME=value`, and more of them (as Dovecot has it).
    Xclient(String),
    Stat,
    List(Option<u32>),
    Uidl(Option<u32>),
    Retr(u32),
    Top {
        number: u32,
        lines: u32,
    },
    Dele(u32),
    Utf8,
    /// Without a language it asks which there are.
    Lang(Option<String>),
    Noop,
    Rset,
    Quit,
}

/// Reads one line without its end. The error is what to reply.
pub fn parse(line: &[u8]) -> Result<Command, Text> {
    let line = std::str::from_utf8(line).map_err(|_| Text::NotText)?;
    let (keyword, argument) = line.split_once(' ').unwrap_or((line, ""));
    let alone = |command| match argument.trim() {
        "" => Ok(command),
        _ => Err(Text::NoArgument),
    };
    match keyword.trim_end().to_ascii_uppercase().as_str() {
        "CAPA" => alone(Command::Capa),
        "STLS" => alone(Command::Stls),
        "AUTH" => auth(argument),
        "USER" if argument.trim().is_empty() => Err(Text::UserName),
        "USER" => Ok(Command::User(argument.trim().into())),
        // Spaces may be of the password.
        "PASS" if argument.is_empty() => Err(Text::PassPassword),
        "PASS" => Ok(Command::Pass(Secret::new(argument.into()))),
        "XCLIENT" => Ok(Command::Xclient(argument.into())),
        "STAT" => alone(Command::Stat),
        "LIST" => optional(argument).map(Command::List),
        "UIDL" => optional(argument).map(Command::Uidl),
        "RETR" => number(argument).map(Command::Retr),
        "TOP" => top(argument),
        "DELE" => number(argument).map(Command::Dele),
        "UTF8" => alone(Command::Utf8),
        "LANG" => lang(argument).map(Command::Lang),
        "NOOP" => alone(Command::Noop),
        "RSET" => alone(Command::Rset),
        "QUIT" => alone(Command::Quit),
        _ => Err(Text::Unknown),
    }
}

/// `AUTH [mechanism [initial-response]]`; `=` is an empty response (RFC 5034, 4).
fn auth(argument: &str) -> Result<Command, Text> {
    let mut words = argument.split_ascii_whitespace();
    let mechanism = words.next().map(String::from);
    let initial = words.next().map(|word| match word {
        "=" => String::new(),
        word => word.into(),
    });
    match words.next() {
        Some(_) => Err(Text::AuthArguments),
        None => Ok(Command::Auth { mechanism, initial }),
    }
}

/// `LANG [language-range]` (RFC 6856, 3.1).
fn lang(argument: &str) -> Result<Option<String>, Text> {
    let mut words = argument.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (language, None) => Ok(language.map(String::from)),
        (_, Some(_)) => Err(Text::LangArgument),
    }
}

fn top(argument: &str) -> Result<Command, Text> {
    let (message, lines) = argument.trim().split_once(' ').ok_or(Text::TopArguments)?;
    Ok(Command::Top {
        number: number(message)?,
        lines: number(lines)?,
    })
}

fn optional(argument: &str) -> Result<Option<u32>, Text> {
    match argument.trim() {
        "" => Ok(None),
        argument => number(argument).map(Some),
    }
}

fn number(text: &str) -> Result<u32, Text> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(Text::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_in_any_case() {
        assert!(matches!(parse(b"retr 7"), Ok(Command::Retr(7))));
        assert!(matches!(parse(b"LIST "), Ok(Command::List(None))));
        assert!(matches!(parse(b"uidl 3 "), Ok(Command::Uidl(Some(3)))));
        assert!(matches!(
            parse(b"TOP 1  0"),
            Ok(Command::Top {
                number: 1,
                lines: 0
            })
        ));
        assert!(matches!(
            parse(b"AUTH"),
            Ok(Command::Auth {
                mechanism: None,
                ..
            })
        ));
        match parse(b"AUTH plain =") {
            Ok(Command::Auth { initial, .. }) => assert_eq!(initial.as_deref(), Some("")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn spaces_belong_to_the_password_and_it_is_not_printed() {
        let Ok(command) = parse(b"PASS  two words ") else {
            panic!("not parsed")
        };
        assert!(!format!("{command:?}").contains("words"));
        match command {
            Command::Pass(password) => assert_eq!(password.reveal(), " two words "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for line in [
            "",
            "RETR",
            "RETR x",
            "RETR -1",
            "RETR 99999999999",
            "RETR +1",
            "RETR 1 2",
            "TOP 1",
            "TOP 1 x",
            "STAT 1",
            "USER",
            "USER ",
            "PASS",
            "AUTH a b c",
            "APOP a b",
            "\u{e4}",
            "LIST 1,2",
            "UTF8 now",
            "LANG en ru",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse(b"USER \xff").is_err());
    }
}
