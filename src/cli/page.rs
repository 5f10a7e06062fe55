//! Man pages, in roff: one for `pillarbox`, one for each command, one for each topic of the
//! manual. A command with a topic of its name has both in one page.

use super::help::{TOPICS, topic_text};
use super::usage::{Usage, walk};
use std::fmt::Write;

/// The page of that name; `None` if neither a command nor a topic has it.
pub fn page(name: Option<&str>) -> Option<String> {
    let Some(name) = name else {
        return Some(overview());
    };
    let command = Usage::of(&[name]).filter(|_| !name.starts_with('-'));
    let topic = TOPICS.iter().find(|it| it.0 == name);
    let mut out = String::new();
    match (&command, topic) {
        (None, None) => return None,
        (Some(usage), _) => {
            head(&mut out, &format!("pillarbox-{name}"), 1, &usage.about);
            command_sections(&mut out, name);
        }
        (None, Some((_, about, _))) => head(&mut out, &format!("pillarbox-{name}"), 7, about),
    }
    if let Some(text) = topic_text(name) {
        markdown(&mut out, &text);
    }
    out += ".SH SEE ALSO\n.BR pillarbox (1)\n";
    Some(out)
}

fn overview() -> String {
    let usage = Usage::of(&[]).unwrap_or_default();
    let mut out = String::new();
    head(&mut out, "pillarbox", 1, &usage.about);
    let _ = write!(out, ".SH SYNOPSIS\n.B {}\n", escape(&usage.line));
    out += ".SH OPTIONS\n";
    entries(&mut out, &usage.options);
    out += ".SH COMMANDS\n";
    out += "Each has a page of its own: pillarbox\\-COMMAND(1).\n";
    entries(&mut out, &usage.commands);
    out += ".SH TOPICS\nThe manual: pillarbox help TOPIC, and pillarbox\\-TOPIC(1) or (7).\n";
    let topics = TOPICS.iter().map(|it| (it.0.to_string(), it.1.to_string()));
    entries(&mut out, &topics.collect::<Vec<_>>());
    out += ".SH FILES\n.TP\n.I /var/lib/pillarbox\nThe data directory, unless \\-\\-dir says otherwise.\n";
    out += ".SH EXIT STATUS\n0 where it went well, 1 where it did not; pillarbox\\-check(1) has more.\n";
    out
}

fn head(out: &mut String, name: &str, section: u8, about: &str) {
    let version = env!("CARGO_PKG_VERSION");
    let upper = name.to_uppercase();
    let about = about.split(". ").next().unwrap_or_default();
    let about = escape(about.trim_end_matches('.'));
    let _ = write!(
        out,
        ".TH \"{}\" {section} \"\" \"pillarbox {version}\" \"pillarbox\"\n.SH NAME\n{} \\- {about}\n",
        escape(&upper),
        escape(name)
    );
}

/// The command, and those below it.
fn command_sections(out: &mut String, name: &str) {
    let mut below = String::new();
    out.push_str(".SH SYNOPSIS\n");
    walk(&mut |words, usage| {
        if words.first() != Some(&name) {
            return;
        }
        if usage.commands.is_empty() {
            let _ = write!(out, ".br\n.B {}\n", escape(&usage.line));
        }
        let title = format!("pillarbox {}", words.join(" "));
        let _ = write!(
            below,
            ".SS {}\n{}\n",
            escape(&title),
            escape_line(&usage.about)
        );
        entries(&mut below, &usage.positional);
        entries(&mut below, &usage.options);
    });
    out.push_str(".SH COMMANDS\n");
    out.push_str(&below);
}

fn entries(out: &mut String, entries: &[(String, String)]) {
    for (name, meaning) in entries {
        let _ = write!(out, ".TP\n.B {}\n{}\n", escape(name), escape_line(meaning));
    }
}

/// The manual's markdown: headings, paragraphs, lists, and blocks that are indented.
fn markdown(out: &mut String, text: &str) {
    let mut block = false;
    let mut first = true;
    for line in text.lines() {
        let indented = line.strip_prefix("    ");
        if block && indented.is_none() && !line.is_empty() {
            out.push_str(".fi\n.RE\n");
            block = false;
        }
        if let Some(code) = indented {
            if !block {
                out.push_str(".PP\n.RS 4\n.nf\n");
                block = true;
            }
            let _ = writeln!(out, "{}", escape_line(code));
        } else if let Some(title) = line.strip_prefix("# ") {
            let title = if first { "DESCRIPTION" } else { title };
            let _ = writeln!(out, ".SH {}", escape(title));
            first = false;
        } else if let Some(title) = line.strip_prefix("## ") {
            let _ = writeln!(out, ".SS {}", escape(title));
        } else if let Some(item) = line.strip_prefix("- ") {
            let _ = writeln!(out, ".IP \\(bu 2\n{}", escape_line(item));
        } else if line.is_empty() {
            out.push_str(if block { "\n" } else { ".PP\n" });
        } else {
            let _ = writeln!(out, "{}", escape_line(line.trim_start()));
        }
    }
    if block {
        out.push_str(".fi\n.RE\n");
    }
    // No more space than is needed, and none that roff warns of.
    while out.contains(".PP\n.PP\n") {
        *out = out.replace(".PP\n.PP\n", ".PP\n");
    }
    for heading in [".SH ", ".SS ", ".IP ", ".RE\n"] {
        *out = out.replace(&format!(".PP\n{heading}"), heading);
    }
}

/// As text within a line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '"' => out.push_str("\\(dq"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            c => out.push(c),
        }
    }
    out
}

/// As a line of its own, which must not look like a request.
fn escape_line(text: &str) -> String {
    match text.starts_with('.') {
        true => format!("\\&{}", escape(text)),
        false => escape(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// All names that have a page.
    fn names() -> Vec<Option<String>> {
        let commands = Usage::of(&[]).unwrap().commands.into_iter().map(|it| it.0);
        let topics = TOPICS.iter().map(|it| it.0.to_string());
        let all = commands.chain(topics).map(Some);
        std::iter::once(None).chain(all).collect()
    }

    #[test]
    fn every_command_and_topic_has_a_page() {
        for name in names() {
            let page = page(name.as_deref()).unwrap();
            assert!(page.starts_with(".TH \"PILLARBOX"), "{name:?}");
            for line in page.lines() {
                let request = line.strip_prefix('.').and_then(|it| it.split(' ').next());
                let known = [
                    "TH", "SH", "SS", "TP", "PP", "RS", "RE", "IP", "B", "BR", "I",
                ];
                let known = request
                    .is_none_or(|it| known.contains(&it) || ["nf", "fi", "br"].contains(&it));
                assert!(known, "{name:?}: {line}");
                assert!(!line.starts_with('\''), "{name:?}: {line}");
            }
        }
        assert_eq!(page(Some("nothing")), None);
        assert_eq!(page(Some("--dir")), None);
        let check = page(Some("check")).unwrap();
        assert!(
            check.contains(".B pillarbox check [\\-\\-quick]"),
            "{check}"
        );
        assert!(check.contains(".SS What a repair does"), "{check}");
    }

    #[test]
    fn groff_has_nothing_against_them() {
        for name in names() {
            let child = Command::new("groff")
                .args(["-man", "-ww", "-Tutf8", "-z", "-Kutf8"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            // Not on every machine.
            let Ok(mut child) = child else { return };
            let page = page(name.as_deref()).unwrap();
            child
                .stdin
                .take()
                .unwrap()
                .write_all(page.as_bytes())
                .unwrap();
            let said = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(said.status.success() && text.is_empty(), "{name:?}: {text}");
        }
    }
}
