//! What every command says of itself with `--help`, read again: man pages and completions are
//! made from that, so there is one source.

use super::Arguments;
use argh::FromArgs;

/// A command's help, in parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What follows `Usage: `.
    pub line: String,
    pub about: String,
    /// Name and meaning of each.
    pub positional: Vec<(String, String)>,
    pub options: Vec<(String, String)>,
    pub commands: Vec<(String, String)>,
}

impl Usage {
    /// Of `pillarbox` and these words; `None` if they are no command.
    pub fn of(words: &[&str]) -> Option<Usage> {
        let asked: Vec<&str> = words.iter().copied().chain(["--help"]).collect();
        match Arguments::from_args(&["pillarbox"], &asked) {
            Err(early) if early.status.is_ok() => Some(read(&early.output)),
            _ => None,
        }
    }

    /// Whether an option takes a value.
    pub fn takes_value(&self, option: &str) -> bool {
        self.line.contains(&format!("{option} <"))
    }
}

fn read(help: &str) -> Usage {
    let mut usage = Usage::default();
    let mut heading = "";
    for line in help.lines() {
        if let Some(rest) = line.strip_prefix("Usage: ") {
            usage.line = rest.into();
        } else if !line.is_empty() && !line.starts_with(' ') && line.ends_with(':') {
            heading = line;
        } else if let Some(entry) = line.strip_prefix("  ") {
            let list = match heading {
                "Positional Arguments:" => &mut usage.positional,
                "Options:" => &mut usage.options,
                "Commands:" => &mut usage.commands,
                _ => continue,
            };
            put(list, entry);
        } else if heading.is_empty() && !line.is_empty() {
            let gap = if usage.about.is_empty() { "" } else { " " };
            usage.about += gap;
            usage.about += line;
        }
    }
    // Everything has that.
    usage.options.retain(|it| !it.0.starts_with("--help"));
    usage
}

/// A line of a list: it begins an entry, or goes on with the one before.
fn put(list: &mut Vec<(String, String)>, line: &str) {
    if let (true, Some(last)) = (line.starts_with(' '), list.last_mut()) {
        let gap = if last.1.is_empty() { "" } else { " " };
        last.1 += gap;
        last.1 += line.trim();
        return;
    }
    // A long name has but one space behind it.
    let (name, meaning) = line.split_once(' ').unwrap_or((line, ""));
    list.push((name.trim().into(), meaning.trim().into()));
}

/// Calls `f` with each command and its help, from the top.
pub fn walk(f: &mut dyn FnMut(&[&str], &Usage)) {
    fn go(words: &mut Vec<&str>, f: &mut dyn FnMut(&[&str], &Usage)) {
        let Some(usage) = Usage::of(words) else {
            return;
        };
        f(words, &usage);
        for (name, _) in &usage.commands {
            let mut below = words.clone();
            below.push(name);
            go(&mut below, f);
        }
    }
    go(&mut Vec::new(), f);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_comes_apart() {
        let usage = Usage::of(&["device", "add"]).unwrap();
        assert!(usage.line.starts_with("pillarbox device add "));
        assert_eq!(usage.positional.len(), 2);
        let dir = usage.options.iter().find(|it| it.0 == "--dir").unwrap();
        assert_eq!(dir.1, "data directory (default /var/lib/pillarbox)");
        assert!(usage.takes_value("--dir") && !usage.takes_value("--no-tls"));
        assert_eq!(Usage::of(&["device", "eat"]), None);
        let mut seen = Vec::new();
        walk(&mut |words, usage| {
            assert!(!usage.about.is_empty(), "{words:?}");
            seen.push(words.join(" "));
        });
        for command in ["", "queue", "queue drop", "check"] {
            assert!(seen.iter().any(|it| it == command), "{command}");
        }
    }
}
