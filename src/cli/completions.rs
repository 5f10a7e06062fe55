//! `pillarbox completions`: a shell asks the program itself what may come next.

use super::Error;
use super::help::TOPICS;
use super::usage::Usage;
use crate::settings::SETTINGS;
use argh::FromArgs;

/// Print what makes a shell complete commands, options, settings and topics.
#[derive(FromArgs)]
#[argh(subcommand, name = "completions")]
pub struct Completions {
    /// bash, zsh or fish
    #[argh(positional)]
    shell: String,
    /// for the shells: the words so far, of which the last is to be completed
    #[argh(positional, greedy)]
    words: Vec<String>,
}

const BASH: &str = r#"_pillarbox() {
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$(pillarbox completions words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _pillarbox pillarbox
"#;

const ZSH: &str = r#"#compdef pillarbox
_pillarbox() {
    local -a found
    found=("${(@f)$(pillarbox completions words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -a found || _files
}
compdef _pillarbox pillarbox
"#;

const FISH: &str = r#"function __pillarbox_words
    set -l words (commandline -opc) (commandline -ct)
    pillarbox completions words -- $words[2..-1] 2>/dev/null
end
complete -c pillarbox -a '(__pillarbox_words)'
"#;

impl Completions {
    pub fn run(self) -> Result<(), Error> {
        let text = match self.shell.as_str() {
            "bash" => BASH.into(),
            "zsh" => ZSH.into(),
            "fish" => FISH.into(),
            "words" => {
                let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
                next(&words).join("\n")
            }
            other => {
                return Err(format!("{other} is no shell that is known: bash, zsh, fish").into());
            }
        };
        say!("{}", text.trim_end());
        Ok(())
    }
}

/// What the last of these words may be.
fn next(words: &[&str]) -> Vec<String> {
    let (begun, before) = words.split_last().unwrap_or((&"", &[]));
    let fits = |it: &String| it.starts_with(begun);
    if before.first() == Some(&"help") {
        let topics = TOPICS.iter().map(|it| it.0.to_string());
        return topics.chain(["--man".into()]).filter(fits).collect();
    }
    let mut command: Vec<&str> = Vec::new();
    let mut usage = Usage::of(&[]).unwrap_or_default();
    for word in before {
        if usage.commands.iter().any(|it| it.0 == *word) {
            command.push(word);
            usage = Usage::of(&command).unwrap_or_default();
        }
    }
    // Of the value of an option the shell knows more: it is a file, mostly.
    if before
        .last()
        .is_some_and(|it| it.starts_with("--") && usage.takes_value(it))
    {
        return Vec::new();
    }
    let commands = usage.commands.iter().map(|it| it.0.clone());
    let options = usage.options.iter().map(|it| it.0.clone());
    let mut found: Vec<String> = commands.chain(options).collect();
    if command.is_empty() {
        found.push("help".into());
    }
    if let ["settings", "get" | "set" | "reset"] = command.as_slice() {
        found.extend(SETTINGS.iter().map(|it| it.name.to_string()));
    }
    found.retain(fits);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_come_next() {
        assert_eq!(next(&["que"]), ["queue"]);
        assert_eq!(next(&["queue", "re"]), ["release", "retry"]);
        assert_eq!(next(&["queue", "list", "--do"]), ["--domain"]);
        assert_eq!(next(&["queue", "list", "--dir", ""]), Vec::<String>::new());
        assert_eq!(next(&["help", "stor"]), ["storage"]);
        assert_eq!(next(&["settings", "set", "queue.retry-after"]).len(), 1);
        assert!(next(&[]).contains(&"check".to_string()));
        assert!(next(&[""]).contains(&"--version".to_string()));
    }
}
