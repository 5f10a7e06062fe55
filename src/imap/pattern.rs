//! LIST and LSUB patterns (RFC 3501, 6.3.8): `*` is any run, `%` any run without separator.

use crate::mail::SEPARATOR;

/// Longest pattern that is looked at, in characters; a longer one matches nothing, as no
/// name is that long.
pub const MAX_PATTERN: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `%`
    Level,
    /// `*`
    Any,
}

/// A pattern with its reference put before it.
#[derive(Clone, Debug)]
pub struct Pattern(Option<Vec<Token>>);

impl Pattern {
    /// `reference` and `pattern` are simply joined, as every server with one namespace does;
    /// a separator is put between neither.
    pub fn new(reference: &str, pattern: &str) -> Pattern {
        let mut tokens = Vec::new();
        for c in reference.chars().chain(pattern.chars()) {
            let token = match c {
                '*' => Token::Any,
                '%' => Token::Level,
                c => Token::Char(c),
            };
            if token == Token::Any && tokens.last() == Some(&Token::Level) {
                tokens.pop();
            }
            // Runs of wildcards mean no more than their strongest.
            let idle = match tokens.last() {
                Some(Token::Any) => !matches!(token, Token::Char(_)),
                Some(Token::Level) => token == Token::Level,
                _ => false,
            };
            if !idle {
                tokens.push(token);
            }
            if tokens.len() > MAX_PATTERN {
                return Pattern(None);
            }
        }
        Pattern(Some(tokens))
    }

    /// Whether the pattern names one mailbox, without wildcards.
    pub fn is_plain(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|tokens| tokens.iter().all(|t| matches!(t, Token::Char(_))))
    }

    /// Whether all of `name` matches. INBOX, alone or as the first part, matches in any
    /// case. Takes time in the product of the lengths at worst: all places that the pattern
    /// can have reached go forward together, and none is tried twice.
    pub fn matches(&self, name: &str) -> bool {
        let Some(tokens) = &self.0 else {
            return false;
        };
        let inbox = if has_inbox(name) { "INBOX".len() } else { 0 };
        let mut places = Vec::with_capacity(4);
        let mut next = Vec::with_capacity(4);
        reach(tokens, 0, &mut places);
        for (at, c) in name.char_indices() {
            for &place in &places {
                match tokens.get(place) {
                    Some(Token::Any) => reach(tokens, place, &mut next),
                    Some(Token::Level) if c != SEPARATOR => reach(tokens, place, &mut next),
                    Some(&Token::Char(want))
                        if want == c || at < inbox && want.eq_ignore_ascii_case(&c) =>
                    {
                        reach(tokens, place + 1, &mut next);
                    }
                    _ => {}
                }
            }
            std::mem::swap(&mut places, &mut next);
            next.clear();
            if places.is_empty() {
                return false;
            }
        }
        places.contains(&tokens.len())
    }
}

/// Adds a place and, as a wildcard may be empty, those behind it. Places come ascending
/// and each once.
fn reach(tokens: &[Token], mut place: usize, places: &mut Vec<usize>) {
    loop {
        if places.last().is_none_or(|&last| last < place) {
            places.push(place);
        }
        match tokens.get(place) {
            Some(Token::Any | Token::Level) => place += 1,
            _ => return,
        }
    }
}

/// Names hold the part INBOX in upper case (`MailboxName`).
fn has_inbox(name: &str) -> bool {
    name.strip_prefix("INBOX")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(SEPARATOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches() {
        let cases = [
            ("*", "a/b/c", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("%/%", "a/b", true),
            ("%/%", "a/b/c", false),
            ("a/%", "a/b", true),
            ("a/%", "a", false),
            ("a*", "a/b", true),
            ("*b", "a/b", true),
            ("*a%b", "xx/a/ayb", true),
            ("*a%b", "xx/a/b", false),
            ("%*", "a/b", true),
            ("*%", "a/b", true),
            ("%%a", "xa", true),
            ("a%c%e", "abcde", true),
            ("a%c%e", "abc/de", false),
            ("", "", true),
            ("", "a", false),
            ("a", "A", false),
            ("inbox", "INBOX", true),
            ("InBox/%", "INBOX/a", true),
            ("inb%", "INBOX", true),
            ("%x", "INBOX", true),
            ("inbox", "INBOXES", false),
            ("a/inbox", "a/INBOX", false),
            ("Entwürf%", "Entwürfe", true),
            ("%ü%", "Entwürfe", true),
        ];
        for (pattern, name, want) in cases {
            assert_eq!(
                Pattern::new("", pattern).matches(name),
                want,
                "{pattern} {name}"
            );
        }
        assert!(Pattern::new("a/", "%").matches("a/b"));
        assert!(Pattern::new("", "a").is_plain());
        assert!(!Pattern::new("%", "a").is_plain());
    }

    /// The definition, without care for time.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match (pattern.first(), name.first()) {
            (None, None) => true,
            (Some('*'), _) if naive(&pattern[1..], name) => true,
            (Some('%'), _) if naive(&pattern[1..], name) => true,
            (Some('*'), Some(_)) => naive(pattern, &name[1..]),
            (Some('%'), Some(&c)) => c != '/' && naive(pattern, &name[1..]),
            (Some(p), Some(c)) => p == c && naive(&pattern[1..], &name[1..]),
            _ => false,
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        let words = |letters: &[char], longest: usize| {
            let mut all = vec![String::new()];
            let mut from = 0;
            for _ in 0..longest {
                let to = all.len();
                for n in from..to {
                    for &c in letters {
                        all.push(format!("{}{c}", all[n]));
                    }
                }
                from = to;
            }
            all
        };
        for pattern in words(&['a', '/', '%', '*'], 5) {
            let compiled = Pattern::new("", &pattern);
            let p: Vec<char> = pattern.chars().collect();
            for name in words(&['a', 'b', '/'], 4) {
                let n: Vec<char> = name.chars().collect();
                assert_eq!(compiled.matches(&name), naive(&p, &n), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn many_wildcards_take_no_time() {
        let start = std::time::Instant::now();
        let pattern = Pattern::new("", &"*a%a".repeat(200));
        assert!(!pattern.matches(&("a".repeat(999) + "b")));
        assert!(!Pattern::new("", &"a".repeat(MAX_PATTERN + 1)).matches("a"));
        assert!(start.elapsed() < std::time::Duration::from_secs(5));
    }
}
