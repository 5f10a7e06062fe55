//! A client's commands as types (RFC 1939, 2449, 2595, 5034).

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
    Stat,
    List(Option<u32>),
    Uidl(Option<u32>),
    Retr(u32),
    Top {
        number: u32,
        lines: u32,
    },
    Dele(u32),
    Noop,
    Rset,
    Quit,
}

/// Reads one line without its end. The error is the text of the reply.
pub fn parse(line: &[u8]) -> Result<Command, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "A command is a line of text")?;
    let (keyword, argument) = line.split_once(' ').unwrap_or((line, ""));
    let alone = |command| match argument.trim() {
        "" => Ok(command),
        _ => Err("This command takes no argument"),
    };
    match keyword.trim_end().to_ascii_uppercase().as_str() {
        "CAPA" => alone(Command::Capa),
        "STLS" => alone(Command::Stls),
        "AUTH" => auth(argument),
        "USER" if argument.trim().is_empty() => Err("USER takes a name"),
        "USER" => Ok(Command::User(argument.trim().into())),
        // Spaces may be of the password.
        "PASS" if argument.is_empty() => Err("PASS takes a password"),
        "PASS" => Ok(Command::Pass(Secret::new(argument.into()))),
        "STAT" => alone(Command::Stat),
        "LIST" => optional(argument).map(Command::List),
        "UIDL" => optional(argument).map(Command::Uidl),
        "RETR" => number(argument).map(Command::Retr),
        "TOP" => top(argument),
        "DELE" => number(argument).map(Command::Dele),
        "NOOP" => alone(Command::Noop),
        "RSET" => alone(Command::Rset),
        "QUIT" => alone(Command::Quit),
        _ => Err("Command not recognized"),
    }
}

/// `AUTH [mechanism [initial-response]]`; `=` is an empty response (RFC 5034, 4).
fn auth(argument: &str) -> Result<Command, &'static str> {
    let mut words = argument.split_ascii_whitespace();
    let mechanism = words.next().map(String::from);
    let initial = words.next().map(|word| match word {
        "=" => String::new(),
        word => word.into(),
    });
    match words.next() {
        Some(_) => Err("AUTH takes a mechanism and one response"),
        None => Ok(Command::Auth { mechanism, initial }),
    }
}

fn top(argument: &str) -> Result<Command, &'static str> {
    let (message, lines) = argument
        .trim()
        .split_once(' ')
        .ok_or("TOP takes a message number and a number of lines")?;
    Ok(Command::Top {
        number: number(message)?,
        lines: number(lines)?,
    })
}

fn optional(argument: &str) -> Result<Option<u32>, &'static str> {
    match argument.trim() {
        "" => Ok(None),
        argument => number(argument).map(Some),
    }
}

fn number(text: &str) -> Result<u32, &'static str> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err("A number is due"),
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
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse(b"USER \xff").is_err());
    }
}
