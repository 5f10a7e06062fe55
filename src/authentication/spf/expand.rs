//! Macros (RFC 7208, 7).
//!
//! ```text
//! macro-expand     = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
//! macro-letter     = "s" / "l" / "o" / "d" / "i" / "p" / "h" / "c" / "r" / "t" / "v"
//! transformers     = *DIGIT [ "r" ]
//! delimiter        = "." / "-" / "+" / "," / "/" / "_" / "="
//! ```

use super::Query;
use std::fmt::Write;
use std::net::IpAddr;

/// Longest expansion, bytes: beyond, what is left of a text is not expanded.
const MAX_EXPANSION: usize = 4096;

/// A text with macros in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Macro {
        letter: char,
        /// The capital letter asks for it.
        escaped: bool,
        /// So many parts from the right; all if `None`.
        keep: Option<usize>,
        reverse: bool,
        delimiters: String,
    },
}

impl Text {
    /// `domain-spec`: it ends with a macro or with a label that is no number.
    pub fn parse_domain(text: &str) -> Option<Text> {
        let parsed = Text::parse(text, "slodiphv")?;
        let ends_well = match parsed.0.last()? {
            Part::Macro { .. } => true,
            Part::Literal(_) => {
                let text = text.strip_suffix('.').unwrap_or(text);
                let (_, label) = text.rsplit_once('.')?;
                let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
                label.chars().all(fits)
                    && label.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && label.ends_with(|c: char| c.is_ascii_alphanumeric())
                    && !label.bytes().all(|b| b.is_ascii_digit())
            }
        };
        ends_well.then_some(parsed)
    }

    /// `macro-string`
    pub fn parse_macro(text: &str) -> Option<Text> {
        Text::parse(text, "slodiphv")
    }

    /// `explain-string`: spaces, and three letters more.
    pub fn parse_explanation(text: &[u8]) -> Option<Text> {
        let text = std::str::from_utf8(text).ok()?;
        Text::parse(text, "slodiphvcrt")
    }

    fn parse(text: &str, letters: &str) -> Option<Text> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = rest.get(c.len_utf8()..)?;
            if c != '%' {
                if !matches!(c, ' '..='~') {
                    return None;
                }
                literal.push(c);
                continue;
            }
            let (next, after) = rest.split_at_checked(1)?;
            rest = after;
            match next {
                "%" => literal.push('%'),
                "_" => literal.push(' '),
                "-" => literal.push_str("%20"),
                "{" => {
                    let (inner, after) = rest.split_once('}')?;
                    rest = after;
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::parse(inner, letters)?);
                }
                _ => return None,
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Some(Text(parts))
    }

    /// Whether it has `%{p}`: that is asked of DNS, so only where it is needed.
    pub fn asks_for_names(&self) -> bool {
        let is_p = |part: &Part| matches!(part, Part::Macro { letter: 'p', .. });
        self.0.iter().any(is_p)
    }
}

impl Part {
    /// What stands between the braces.
    fn parse(inner: &str, letters: &str) -> Option<Part> {
        let mut chars = inner.chars();
        let first = chars.next()?;
        let letter = first.to_ascii_lowercase();
        if !letters.contains(letter) {
            return None;
        }
        let rest = chars.as_str();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, rest) = rest.split_at_checked(digits)?;
        let keep = match digits {
            "" => None,
            // Beyond counting is just all of them; none at all is not allowed.
            digits => Some(digits.parse().unwrap_or(usize::MAX)).filter(|it| *it > 0),
        };
        if keep.is_none() && !digits.is_empty() {
            return None;
        }
        let delimiters = rest.strip_prefix(['r', 'R']);
        let reverse = delimiters.is_some();
        let delimiters = delimiters.unwrap_or(rest);
        delimiters
            .chars()
            .all(|c| ".-+,/_=".contains(c))
            .then(|| Part::Macro {
                letter,
                escaped: first.is_ascii_uppercase(),
                keep,
                reverse,
                delimiters: delimiters.into(),
            })
    }
}

/// What the letters stand for.
pub struct Expansion<'a> {
    pub query: &'a Query,
    pub address: IpAddr,
    /// The current domain.
    pub domain: &'a str,
    /// The client's validated names.
    pub validated: &'a [String],
}

impl Expansion<'_> {
    pub fn expand(&self, text: &Text) -> String {
        let mut out = String::new();
        for part in &text.0 {
            if out.len() > MAX_EXPANSION {
                break;
            }
            match part {
                Part::Literal(text) => out += text,
                Part::Macro {
                    letter,
                    escaped,
                    keep,
                    reverse,
                    delimiters,
                } => {
                    let value = self.value(*letter);
                    let value = transformed(&value, *keep, *reverse, delimiters);
                    match escaped {
                        true => escape(&value, &mut out),
                        false => out += &value,
                    }
                }
            }
        }
        out
    }

    fn value(&self, letter: char) -> String {
        let query = self.query;
        match letter {
            's' => format!("{}@{}", query.local, query.domain),
            'l' => query.local.clone(),
            'o' => query.domain.clone(),
            'd' => self.domain.into(),
            'i' => dotted(self.address),
            'p' => self.name(),
            'v' => match self.address {
                IpAddr::V4(_) => "in-addr".into(),
                IpAddr::V6(_) => "ip6".into(),
            },
            'h' => query.helo.clone(),
            'c' => self.address.to_string(),
            'r' => query.receiver.clone(),
            't' => query.now.to_string(),
            _ => String::new(),
        }
    }

    /// The domain itself if it is among the names, else one below it, else any (7.3).
    fn name(&self) -> String {
        let domain = self.domain.to_ascii_lowercase();
        let names = self.validated;
        let exact = names.iter().find(|it| **it == domain);
        let below = || names.iter().find(|it| super::super::is_within(it, &domain));
        let found = exact.or_else(below).or(names.first());
        found.cloned().unwrap_or_else(|| "unknown".into())
    }
}

/// IPv6 by nibbles.
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(four) => four.to_string(),
        IpAddr::V6(six) => {
            let digits = format!("{:032X}", u128::from(six));
            let digits: Vec<String> = digits.chars().map(String::from).collect();
            digits.join(".")
        }
    }
}

fn transformed(value: &str, keep: Option<usize>, reverse: bool, delimiters: &str) -> String {
    if keep.is_none() && !reverse && delimiters.is_empty() {
        return value.to_owned();
    }
    let delimiters = if delimiters.is_empty() {
        "."
    } else {
        delimiters
    };
    let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
    if reverse {
        parts.reverse();
    }
    let first = parts.len().saturating_sub(keep.unwrap_or(usize::MAX));
    parts.get(first..).unwrap_or_default().join(".")
}

/// All but unreserved characters (RFC 3986, 2.3).
fn escape(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}
