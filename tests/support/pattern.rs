//! What a transcript expects of one line: text with placeholders.
//!
//! `<any>` is any text, also none; `<n>` a number; `<any:NAME>` and `<n:NAME>` also keep
//! it, and `<NAME>` later on stands for what was kept. Anything else in `<>` is itself.

use std::collections::BTreeMap;

pub type Kept = BTreeMap<String, String>;

enum Piece {
    Text(String),
    Any(Option<String>),
    Number(Option<String>),
}

/// Puts what was kept into a line.
pub fn fill_in(line: &str, kept: &Kept) -> String {
    kept.iter().fold(line.to_owned(), |line, (name, value)| {
        line.replace(&format!("<{name}>"), value)
    })
}

/// Whether `line` is as `pattern` says; adds to `kept` if so.
pub fn matches(pattern: &str, line: &str, kept: &mut Kept) -> bool {
    let pieces = parse(&fill_in(pattern, kept));
    let mut found = Kept::new();
    let matched = follow(&pieces, line, &mut found);
    if matched {
        kept.extend(found);
    }
    matched
}

fn parse(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        match placeholder(rest) {
            Some((piece, length)) => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(piece);
                rest = &rest[length..];
            }
            None => {
                text.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    pieces.push(Piece::Text(text));
    pieces
}

fn placeholder(rest: &str) -> Option<(Piece, usize)> {
    let end = rest.find('>')?;
    let (kind, name) = match rest[..end].strip_prefix('<')?.split_once(':') {
        Some((kind, name)) => (kind, Some(name.to_owned())),
        None => (&rest[1..end], None),
    };
    let piece = match kind {
        "any" => Piece::Any(name),
        "n" => Piece::Number(name),
        _ => return None,
    };
    Some((piece, end + 1))
}

/// Shortest match first; a transcript's lines are too short for that to cost.
fn follow(pieces: &[Piece], line: &str, found: &mut Kept) -> bool {
    let Some((first, others)) = pieces.split_first() else {
        return line.is_empty();
    };
    let (name, lengths): (_, Vec<usize>) = match first {
        Piece::Text(text) => {
            return line
                .strip_prefix(text.as_str())
                .is_some_and(|rest| follow(others, rest, found));
        }
        Piece::Any(name) => {
            let ends = line.char_indices().map(|(at, _)| at);
            (name, ends.chain([line.len()]).collect())
        }
        Piece::Number(name) => {
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            (name, (digits > 0).then_some(digits).into_iter().collect())
        }
    };
    for length in lengths {
        if follow(others, &line[length..], found) {
            if let Some(name) = name {
                found.insert(name.clone(), line[..length].to_owned());
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        let mut kept = Kept::new();
        assert!(matches("+OK <n:uid> <any>.", "+OK 17 a.b.", &mut kept));
        assert!(matches("<a@b> is <uid>", "<a@b> is 17", &mut kept));
        assert!(!matches("<a@b> is <uid>", "<a@b> is 18", &mut kept));
        assert!(!matches("+OK <n>", "+OK ", &mut kept));
        assert!(!matches("+OK <n>", "+OK 17 ", &mut kept));
        assert!(!matches("+OK", "+OK 17", &mut kept));
        assert!(matches("<any>", "", &mut kept));
    }
}
